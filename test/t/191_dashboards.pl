# The Grafana dashboards are whole: what Grafana needs is there, panels are beside
# each other, and they ask for metrics that README.md has.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Dashboards;
use MetricNames;
use PostgreSQL::Test::Utils;
use Test::More;

my %dashboards = dashboards();
my %documented = documented_metrics();
my %uids;

# Panels that cover a place which another has
sub overlaps
{
	my @panels = @_;
	my (%taken, @found);

	foreach my $panel (@panels)
	{
		my ($x, $y, $w, $h) = @{ $panel->{gridPos} }{qw(x y w h)};
		my @places = map { my $row = $_; map { "$row $_" } $x .. $x + $w - 1 } $y .. $y + $h - 1;

		push @found, $panel->{title} if $x + $w > 24 || grep { $taken{$_}++ } @places;
	}
	return @found;
}

# Queries of a panel or variable: those that have nothing wrong are no lines
sub wrong_queries
{
	my ($where, %variables) = @_;
	my @wrong;

	foreach my $target (@{ $where->{targets} })
	{
		my $query = $target->{expr};

		push @wrong, "$query: no variable $_" foreach grep { !$variables{$_} } $query =~ /\$(\w+)/g;
		push @wrong, "$query: no metric $_ in README.md" foreach grep { !$documented{$_} } metrics_of($query);
		push @wrong, "$query: no choice of a server"
		  if $query =~ /fraiseql_obs_\w+(?:\{(?!instance=~"\$instance")|[^\w{])/;
		push @wrong, "$query: another data source" if $target->{datasource}{uid} ne '${datasource}';
		push @wrong, "$query: no legend" if !exists $target->{legendFormat};
	}
	return @wrong;
}

is(join(' ', sort keys %dashboards), 'audit overview queries server', 'the dashboards');
foreach my $name (sort keys %dashboards)
{
	my $dashboard = $dashboards{$name};
	my @panels = @{ $dashboard->{panels} };
	my @variables = @{ $dashboard->{templating}{list} };
	my %known = map { $_ => 1 } qw(__rate_interval __range), map { $_->{name} } @variables;
	my %ids;

	like($dashboard->{uid}, qr/^fraiseql-obs-[a-z]+$/, "$name: uid");
	ok(!$uids{ $dashboard->{uid} }++, "$name: of its own");
	like($dashboard->{title}, qr/^fraiseql_obs: /, "$name: title");
	ok(!exists $dashboard->{id} && !exists $dashboard->{__inputs}, "$name: for any Grafana");
	is("$variables[0]{name} $variables[0]{type} $variables[0]{query}",
		'datasource datasource prometheus', "$name: the data source is chosen");
	foreach my $variable (grep { $_->{type} eq 'query' } @variables)
	{
		is(join("\n", grep { !$documented{$_} } metrics_of($variable->{query}{query})),
			'', "$name: choices of $variable->{name}");
	}
	is(join(', ', grep { $ids{$_}++ } map { $_->{id} } @panels), '', "$name: each panel has an id");
	is(join(', ', overlaps(@panels)), '', "$name: panels do not overlap");
	foreach my $panel (grep { $_->{type} ne 'row' } @panels)
	{
		is( join(' ', grep { ($panel->{$_} // '') eq '' } qw(title description type)),
			'', "$name: $panel->{title}: says what it is");
		ok($panel->{fieldConfig}{defaults}{unit}, "$name: $panel->{title}: has a unit");
		ok(@{ $panel->{targets} }, "$name: $panel->{title}: asks something");
		is(join("\n", wrong_queries($panel, %known)), '', "$name: $panel->{title}: its queries");
	}
}

done_testing();
