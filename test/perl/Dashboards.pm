# The Grafana dashboards, as tests look at them

package Dashboards;

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Utils;

use parent 'Exporter';
our @EXPORT = qw(dashboards expression);

# By the name of the file
sub dashboards
{
	return map { m{([^/]+)\.json$} => decode_json(slurp_file($_)) }
	  sort glob "'$FindBin::RealBin/../../dashboards'/*.json";
}

# PromQL as Grafana sends it when everything is chosen, for so long a time
sub expression
{
	my ($expression, $time) = @_;

	$expression =~ s/\$__(?:rate_interval|range)\b/$time/g;
	$expression =~ s/\$(?:instance|datname|operation)\b/.*/g;
	return $expression;
}

1;
