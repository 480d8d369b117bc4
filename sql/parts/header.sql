/* fraiseql_obs--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION fraiseql_obs" to load this file. \quit

-- Functions that run with the rights of superusers call others of this schema:
-- it must not be somebody else's to add to.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_namespace n
               JOIN pg_catalog.pg_roles o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
               WHERE n.nspname OPERATOR(pg_catalog.=) 'fraiseql_obs'
                 AND NOT o.rolsuper AND o.rolname OPERATOR(pg_catalog.<>) CURRENT_USER)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = 'schema "fraiseql_obs" belongs to another role',
            HINT = 'Drop the schema, or rename it.';
    END IF;
END
$$;

