-- The database of examples/orders_service.py; run by a superuser:
--
--   psql -d shop -f examples/orders_service.sql
--
-- It makes the role "shop_service", which may write orders, append to the audit
-- log and record metrics, and read none of what the extension knows.

CREATE EXTENSION IF NOT EXISTS fraiseql_obs;
SELECT fraiseql_obs.create_audit_log();

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    amount numeric NOT NULL CONSTRAINT positive CHECK (amount > 0));

CREATE ROLE shop_service LOGIN;
GRANT SELECT, INSERT ON orders TO shop_service;
SELECT fraiseql_obs.grant_audit_writer('shop_service');
SELECT fraiseql_obs.grant_metrics_writer('shop_service');
