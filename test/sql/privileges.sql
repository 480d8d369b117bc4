-- Nothing is for PUBLIC; pg_monitor reads; who may see all statistics sees the
-- text of others; nobody resets without a grant.
CREATE ROLE regress_fraiseql_none;
CREATE ROLE regress_fraiseql_monitor IN ROLE pg_monitor;
CREATE ROLE regress_fraiseql_reader IN ROLE pg_read_all_stats;
CREATE TEMP TABLE outcome (role text, call text, result text);
GRANT ALL ON outcome TO PUBLIC;
CREATE FUNCTION pg_temp.attempt(role text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    call text;
BEGIN
    FOR call IN SELECT format('SELECT FROM fraiseql_obs.%I(%s)', proname,
                              CASE proname WHEN 'reset_metrics' THEN $q$'errors'$q$ ELSE '' END)
                FROM pg_proc WHERE pronamespace = 'fraiseql_obs'::regnamespace
                  AND pronargs = pronargdefaults
                  -- the audit log's have their own test
                  AND proname || prosrc !~ 'audit'
                UNION ALL
                SELECT format('SELECT FROM fraiseql_obs.%I', relname)
                FROM pg_class WHERE relnamespace = 'fraiseql_obs'::regnamespace AND relkind = 'v'
    LOOP
        BEGIN
            EXECUTE call;
            INSERT INTO outcome VALUES (role, call, 'allowed');
        EXCEPTION WHEN insufficient_privilege THEN
            INSERT INTO outcome VALUES (role, call, 'refused');
        END;
    END LOOP;
END $$;

SET ROLE regress_fraiseql_none;
SELECT pg_temp.attempt('none');
SELECT fraiseql_obs.reset_metrics();
SET ROLE regress_fraiseql_monitor;
SELECT pg_temp.attempt('monitor');
SELECT fraiseql_obs.reset_metrics();
SET ROLE regress_fraiseql_reader;
SELECT pg_temp.attempt('reader');
RESET ROLE;
SELECT substring(call FROM 'fraiseql_obs\.(.*)') AS call,
       max(result) FILTER (WHERE role = 'none') AS none,
       max(result) FILTER (WHERE role = 'monitor') AS monitor,
       max(result) FILTER (WHERE role = 'reader') AS reader
FROM outcome GROUP BY call ORDER BY call COLLATE "C";

-- a grant is all that resetting needs
GRANT USAGE ON SCHEMA fraiseql_obs TO regress_fraiseql_none;
GRANT EXECUTE ON FUNCTION fraiseql_obs.reset_metrics(text) TO regress_fraiseql_none;
SET ROLE regress_fraiseql_none;
SELECT fraiseql_obs.reset_metrics() IS NOT NULL AS reset;
RESET ROLE;
DROP OWNED BY regress_fraiseql_none;
DROP ROLE regress_fraiseql_none, regress_fraiseql_monitor, regress_fraiseql_reader;
