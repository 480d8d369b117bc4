# The programs that say whether an exposition is valid.

package ExpositionTest;

use strict;
use warnings FATAL => 'all';

use IPC::Run qw(run);
use Test::More;

use parent 'Exporter';
our @EXPORT = qw(accepts find_promtool find_python);

# A program that reads text and says nothing if it likes it
sub accepts
{
	my ($command, $text, $name) = @_;
	my $said = '';

	run $command, '<', \$text, '>&', \$said;
	is("$said(" . ($? >> 8) . ')', '(0)', $name);
	return;
}

sub find_promtool
{
	return (grep { -x $_ } map { "$_/promtool" } split /:/, $ENV{PATH})[0];
}

# A python that has the OpenMetrics parser of the Prometheus project
sub find_python
{
	return (grep { run [ $_, '-c', 'import prometheus_client.openmetrics.parser' ], '>&', \my $ignored }
		  'python3', '/usr/bin/python3')[0];
}

1;
