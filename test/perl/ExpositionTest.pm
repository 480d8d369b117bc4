# The samples of an exposition, and the programs that say whether it is valid.

package ExpositionTest;

use strict;
use warnings FATAL => 'all';

use IPC::Run qw(run);
use JSON::PP;
use Test::More;

use parent 'Exporter';
our @EXPORT = qw(export sample samples_of_text samples_of_json samples_of_rows
  accepts find_promtool find_python);

sub export
{
	my ($node, $format, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT fraiseql_obs.export_metrics('$format')");
}

# One sample as a string: its name and its labels in order
sub sample
{
	my ($name, $labels) = @_;
	my $json = JSON::PP->new->canonical->ascii->pretty(0);
	return $name . ' ' . $json->encode($labels);
}

# The samples of text: (sample => value)
sub samples_of_text
{
	my ($text) = @_;
	my %samples;

	utf8::decode($text);
	foreach my $line (split /\n/, $text)
	{
		next if $line =~ /^#/;
		my ($name, $labels, $value) =
		  $line =~ /^(\w+)(?:\{(.*)\})? (\S+)$/ or die $line;
		my %labels;
		while (defined $labels && $labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g)
		{
			my ($label, $content) = ($1, $2);
			$content =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
			$labels{$label} = $content;
		}
		$samples{ sample($name, \%labels) } = $value;
	}
	return %samples;
}

# The samples of the JSON export, named as the text formats name them
sub samples_of_json
{
	my ($text) = @_;
	my %samples;

	foreach my $family (@{ decode_json($text)->{metrics} })
	{
		my $name = $family->{name};
		foreach my $sample (@{ $family->{samples} })
		{
			my $labels = $sample->{labels};
			if (!exists $sample->{buckets})
			{
				$samples{ sample($name, $labels) } = $sample->{value};
				next;
			}
			foreach my $bound (keys %{ $sample->{buckets} })
			{
				$samples{ sample("${name}_bucket",
						{ %$labels, le => $bound }) } =
				  $sample->{buckets}{$bound};
			}
			foreach my $part ('sum', 'count')
			{
				$samples{ sample("${name}_$part", $labels) } =
				  $sample->{$part};
			}
		}
	}
	return %samples;
}

sub samples_of_rows
{
	my ($node, $database) = @_;
	my $rows = $node->safe_psql($database,
			'SELECT json_agg(json_build_array(name, labels, value))'
		  . ' FROM fraiseql_obs.metrics()');
	return
	  map { sample($_->[0], $_->[1]) => $_->[2] } @{ decode_json($rows) };
}

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
