-- The trace of a statement: from its comment, else the setting, else
-- application_name; and none that belongs to a request that is over.
CREATE VIEW traced AS
SELECT operation AS statement, trace_id, span_id
FROM fraiseql_obs.slow_queries() WHERE datname = current_database()
ORDER BY finished_at;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
\set VERBOSITY terse

-- each carrier, and which comes first
SELECT 1 / 0 /*action='1 nothing'*/;
SELECT 1 / 0 /*action='2 comment',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT 1 / 0 /*action='3 setting'*/;
SET application_name = '00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00';
SELECT 1 / 0 /*action='4 setting before application_name'*/;
SELECT 1 / 0 /*action='5 comment before setting',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
RESET fraiseql_obs.traceparent;
SELECT 1 / 0 /*action='6 application_name'*/;
RESET application_name;
SELECT 1 / 0 /*action='7 nothing left'*/;
SELECT * FROM traced;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

-- one that is not valid carries nothing, and the next is asked
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01';
SET application_name = '00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00';
SELECT 1 / 0 /*action='1',traceparent='00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01'*/;
SET application_name = '00-80f198ee56343ba864fe8b2a57d3eff7';
SELECT 1 / 0 /*action='2'*/;
SELECT * FROM traced;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
RESET ALL;

-- a request is over when its transaction is, or its connection is given back
SET fraiseql_obs.operation_name = '1 SET LOCAL';
BEGIN;
SET LOCAL fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT 1 / 0;
ROLLBACK;
SET fraiseql_obs.operation_name = '2 rolled back';
SELECT 1 / 0;
BEGIN;
SET LOCAL fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT 1;
COMMIT;
SET fraiseql_obs.operation_name = '3 committed';
SELECT 1 / 0;
BEGIN;
SAVEPOINT s;
SET LOCAL fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
ROLLBACK TO s;
SET LOCAL fraiseql_obs.operation_name = '4 rolled back to a savepoint';
SELECT 1 / 0;
ROLLBACK;
SET application_name = '00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00';
SET fraiseql_obs.operation_name = '5 application_name';
SELECT 1 / 0;
SET application_name = '00-90f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00';
SELECT 1 / 0 /*6 another*/;
SET application_name = 'pool';
SELECT 1 / 0 /*7 none*/;
BEGIN;
SELECT set_config('application_name', '00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00', true) IS NOT NULL AS set;
SELECT 1 / 0 /*8 for the transaction*/;
ROLLBACK;
SELECT 1 / 0 /*9 none*/;
SET application_name = '00-80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-00';
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SELECT 1;
DISCARD ALL;
SET fraiseql_obs.operation_name = '10 DISCARD ALL';
SELECT 1 / 0;
RESET fraiseql_obs.operation_name;
SELECT * FROM traced;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

-- comments: beside others, before or behind the statement, never in a literal
SELECT 1 / 0 /* a comment */ /*action='1',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/ ;
/*+ SeqScan(t) */ /*action='2',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/ SELECT 1 / 0;
SELECT 1 / 0 -- a remark
/*action='3',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/
;
SELECT '/*traceparent=''00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01''*/', 1 / 0 /*action='4'*/;
SELECT $$ /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/ $$, 1 / 0 /*action='5'*/;
SELECT /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/ 1 / 0 /*action='6'*/;
SELECT 1 / 0 /*action='7',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/;
SELECT 1 / 0 /*action='8',traceparent='00%2D0af7651916cd43dd8448eb211c80319c%2Db7ad6b7169203331%2D01'*/;
SELECT * FROM traced;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

-- what is prepared keeps its text, so its trace is that of no execution; but
-- the setting's is
PREPARE failing AS SELECT 1 / $1 /*action='1',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
EXECUTE failing (0);
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
EXECUTE failing (0);
RESET fraiseql_obs.traceparent;
EXECUTE failing (0);
DEALLOCATE failing;
PREPARE failing AS SELECT 1 / ($1 + (random() * 0)::int) /*action='2',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
EXECUTE failing (0);
DEALLOCATE failing;
EXPLAIN (ANALYZE) SELECT 1 / 0 /*action='3',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
DECLARE c CURSOR FOR SELECT 1 / 0 /*action='4',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
SELECT * FROM traced;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;

-- the switch
SET fraiseql_obs.traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
SET fraiseql_obs.tracing_enabled = off;
SELECT 1 / 0 /*action='1 off',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/;
RESET fraiseql_obs.tracing_enabled;
SELECT 1 / 0 /*action='2 on'*/;
SELECT * FROM traced;
SET fraiseql_obs.trace_sample_rate = 1.5;
SET ROLE regress_fraiseql_app;
SET fraiseql_obs.tracing_enabled = off;
SET fraiseql_obs.trace_sample_rate = 0;
RESET ROLE;
RESET fraiseql_obs.traceparent;
DROP VIEW traced;
