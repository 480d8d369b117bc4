# Whoever may write to a captured table needs no right on the audit log, nor on
# the extension's schema, also where it is the first that his session does.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ObsTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('audit_capture_rights', 'fraiseql_obs.audit_worker = off');

$node->safe_psql('app', q(
	CREATE EXTENSION fraiseql_obs;
	SELECT fraiseql_obs.create_audit_log();
	CREATE TABLE customers (id int PRIMARY KEY);
	SELECT fraiseql_obs.audit_table('customers');
	CREATE ROLE clerk LOGIN;
	GRANT INSERT ON customers TO clerk));

my (undef, undef, $stderr) =
  $node->psql('app', 'INSERT INTO customers VALUES (1)', extra_params => [ '-U', 'clerk' ]);
is($stderr, '', 'who may write to the table does');
is($node->safe_psql('app', 'SELECT db_role, operation FROM fraiseql_audit.fraiseql_audit_log'),
	'clerk|create', 'and has left an entry');

$node->stop;
done_testing();
