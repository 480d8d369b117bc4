/* fraiseql_obs--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION fraiseql_obs" to load this file. \quit

-- Functions that run with the rights of superusers call others of this schema:
-- it must not be somebody else's, for others to make functions in, or have any
-- of others, that could be taken for ours.
DO $$
DECLARE
    path pg_catalog.text := pg_catalog.current_setting('search_path');
    schema pg_catalog.pg_namespace;
    other pg_catalog.text;
BEGIN
    -- here, too, nothing of theirs may be taken for something else
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT * INTO STRICT schema FROM pg_namespace WHERE nspname = 'fraiseql_obs';
    IF EXISTS (SELECT FROM pg_roles
               WHERE oid = schema.nspowner AND NOT rolsuper AND rolname <> current_user)
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'schema "fraiseql_obs" belongs to another role',
            HINT = 'Drop the schema, or rename it.';
    END IF;
    SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(rolname) END INTO other
    FROM aclexplode(schema.nspacl) LEFT JOIN pg_roles r ON r.oid = grantee
    WHERE privilege_type = 'CREATE' AND NOT coalesce(rolsuper OR r.oid = schema.nspowner, false)
    LIMIT 1;
    IF FOUND THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s may create objects in schema "fraiseql_obs"', other),
            HINT = format('Take that away with: REVOKE CREATE ON SCHEMA fraiseql_obs FROM %s;', other);
    END IF;
    SELECT what INTO other
    FROM (SELECT 'function ' || oid::regprocedure, proowner FROM pg_proc WHERE pronamespace = schema.oid
          UNION ALL
          SELECT 'operator ' || oid::regoperator, oprowner FROM pg_operator WHERE oprnamespace = schema.oid
         ) AS objects (what, owner)
    JOIN pg_roles r ON r.oid = owner AND NOT rolsuper AND rolname <> current_user
    LIMIT 1;
    IF FOUND THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s belongs to another role', other),
            HINT = 'Drop it, or move it to another schema.';
    END IF;
    PERFORM set_config('search_path', path, true);
END
$$;

