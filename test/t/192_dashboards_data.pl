# Each query of each panel has an answer from a real Prometheus that scrapes a
# loaded server and its standby.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Dashboards;
use HttpTest;
use IPC::Run ();
use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use PrometheusTest;
use Test::More;

PrometheusTest::program();
my $folder = PostgreSQL::Test::Utils::tempdir;

# A primary that archives, has an audit log, and a standby that uses a slot
my ($primary, $port) = start_http_node('primary', q(
track_io_timing = on
fraiseql_obs.audit_worker = on
fraiseql_obs.audit_seal_interval = 1s
), allows_streaming => 1, has_archiving => 1);
$primary->safe_psql('postgres', q(SELECT pg_create_physical_replication_slot('follower')));
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
my $standby_port = free_port();
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', qq(
primary_slot_name = 'follower'
fraiseql_obs.http_port = $standby_port));
$standby->start;
$primary->safe_psql('app', 'CREATE EXTENSION fraiseql_obs');
$primary->safe_psql('app', 'SELECT fraiseql_obs.create_audit_log()');
$primary->safe_psql('app', 'SELECT * FROM fraiseql_obs.verify_audit_log()');
$primary->psql('app', op(getUser => 'SELECT 1 / 0'));

my $prometheus = PrometheusTest->new($folder, qq(
  - job_name: postgresql
    static_configs: [ { targets: [ '127.0.0.1:$port', '127.0.0.1:$standby_port' ] } ]
));

append_to_file("$folder/load.sql", q(
SELECT fraiseql_obs.record_http_request('GET', '/users/{id}', 200, 0.01),
	fraiseql_obs.record_cache('query', 9, 1, 1024), fraiseql_obs.record_pool('main', 3, 7, 0, 20);
SELECT count(*) FROM pg_class /*action='getUser'*/;
SELECT fraiseql_obs.log_operation('getUser', user_id => 'ann') /*action='logUser'*/;
SELECT pg_sleep(0.11);
));
my $load = IPC::Run::start [ 'pgbench', '-n', '-c', '2', '-T', '600', '-f', "$folder/load.sql", $primary->connstr('app') ],
  '>', \my $out, '2>', \my $err;

# Whether there is a number among the values; without a call there is none
sub has_number
{
	my ($result) = @_;
	return grep { $_->{value}[1] ne 'NaN' } @$result;
}

my %dashboards = dashboards();
foreach my $name (sort keys %dashboards)
{
	foreach my $panel (@{ $dashboards{$name}{panels} })
	{
		foreach my $target (@{ $panel->{targets} // [] })
		{
			my $promql = expression($target->{expr}, '10s');

			ok(@{ $prometheus->query($promql, \&has_number) }, "$name: $panel->{title}: $target->{refId}")
			  or diag("$promql: ", $prometheus->answer_to($promql)->{error} // 'no data');
		}
	}
	foreach my $variable (grep { $_->{type} eq 'query' } @{ $dashboards{$name}{templating}{list} })
	{
		my ($series, $label) = $variable->{query}{query} =~ /^label_values\((.*), (\w+)\)$/;

		ok(exists $prometheus->query(expression($series))->[0]{metric}{$label}, "$name: choices of $variable->{name}");
	}
}

# And the rules, as Prometheus has them
my @rules = slurp_file("$FindBin::RealBin/../../dashboards/rules.yml") =~ /- record: (\S+)\n +expr: (>-\n(?:          .*\n)+|.*\n)/g;
while (my ($record, $expression) = splice @rules, 0, 2)
{
	$expression =~ s/^>-//;
	next if $expression =~ /instance:|operation:/;
	$expression =~ s/\[\w+\]/[10s]/g;
	ok(@{ $prometheus->query($expression, \&has_number) }, "records $record");
}

is($prometheus->complaints, '', 'Prometheus has nothing to say of its scrapes');
$load->kill_kill;
$prometheus->stop;
$standby->stop;
$primary->stop;
done_testing();
