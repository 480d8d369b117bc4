# The names of metrics: those that README.md has in its table, and those that a
# query in PromQL asks for.

package MetricNames;

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Utils;

use parent 'Exporter';
our @EXPORT = qw(documented_metrics metrics_of);

# Name and type of each
sub documented_metrics
{
	my ($section) = slurp_file("$FindBin::RealBin/../../README.md") =~ /^## Metrics\n(.*?)^## /ms
	  or die 'README.md has no metrics';
	return $section =~ /^\| `(fraiseql_obs_\w+)` \| (\w+) \|/mg;
}

# The families in a text; the names of recorded rules, which have colons, are
# none.
sub metrics_of
{
	my ($text) = @_;
	my %type = documented_metrics();
	my %found;

	while ($text =~ /(?<![\w:])(fraiseql_obs_[a-z0-9_]+)(?![\w:])/g)
	{
		my $name = $1;
		my $family = $name =~ s/_(?:bucket|sum|count)$//r;

		$name = $family if ($type{$family} // '') eq 'histogram';
		$found{$name} = 1;
	}
	return sort keys %found;
}

1;
