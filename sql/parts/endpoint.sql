--
-- HTTP endpoint
--

CREATE FUNCTION http_restart()
RETURNS boolean
AS 'MODULE_PATHNAME', 'fraiseql_obs_http_restart'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;

COMMENT ON FUNCTION http_restart() IS
'Has the process of the HTTP endpoint begin anew, or starts it; false if that is impossible';

