
--
-- Health.  What it looks at, and from when on it warns or fails, is in the
-- settings; the HTTP endpoint answers with the same.
--

CREATE FUNCTION health()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_health'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION health() IS
'The server''s health: healthy, degraded or unhealthy, with what was checked';

CREATE FUNCTION liveness()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_liveness'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION liveness() IS
'Says that the server is alive; looks at nothing';

CREATE FUNCTION readiness(role text DEFAULT NULL, max_lag text DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_readiness'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION readiness(text, text) IS
'Whether clients should be sent here, ready or not_ready, with what was checked; as a primary or replica, as a replica that lags no more than so many bytes';

CREATE FUNCTION health_verdict(checks jsonb, role text DEFAULT NULL, max_lag text DEFAULT NULL)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_health_verdict'
LANGUAGE C VOLATILE PARALLEL SAFE;

COMMENT ON FUNCTION health_verdict(jsonb, text, text) IS
'What health() would say of values in the form of its own document or of its checks alone, with the settings as they are';

CREATE FUNCTION drain("on" boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'fraiseql_obs_drain'
LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION drain(boolean) IS
'Takes the server out of rotation, until drain(false) or a restart: it is not ready';

GRANT EXECUTE ON FUNCTION health() TO pg_monitor;
GRANT EXECUTE ON FUNCTION liveness() TO pg_monitor;
GRANT EXECUTE ON FUNCTION readiness(text, text) TO pg_monitor;
GRANT EXECUTE ON FUNCTION health_verdict(jsonb, text, text) TO pg_monitor;
