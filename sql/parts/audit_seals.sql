--
-- Audit log: seals
--
-- A call of seal_audit_log() seals what has become visible since the last one,
-- in a seal for each partition that has some of it: how many rows, how they
-- ended, the root of their Merkle tree, and the hash of the seal before.  See
-- audit_seal.c for which rows those are.  Tables beside the log:
--
-- fraiseql_audit_seals: numbered from 1 without gaps, never changed.  A seal
--    without rows (heartbeat) says that there was nothing to seal.
-- fraiseql_audit_checkpoints: notes on the tree of seals that were published.
-- fraiseql_audit_rollup_state: where the chain of seals has got to; the rollups
--    have the rows that are sealed.
--
-- Transaction ids mean nothing in another cluster.  Where a dump was restored,
-- or the database was copied or upgraded, seals go on as a new incarnation: a
-- seal of kind "baseline" that has no rows, then those (baseline, too) of rows
-- that the cluster before had not sealed, and from then on rows with ids after
-- all of these.
--
-- One session seals at a time (row lock on the state), and where there is
-- nothing to seal it takes no lock and writes nothing.  Writers of the log never
-- wait for it, nor it for them, but for an instant when an incarnation begins.
--

CREATE FUNCTION audit_create_evidence(log regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
    seals text := @extschema@.audit_table_name(log, 'fraiseql_audit_seals');
    checkpoints text := @extschema@.audit_table_name(log, 'fraiseql_audit_checkpoints');
    state text := @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state');
BEGIN
    IF to_regclass(seals) IS NOT NULL THEN
        RETURN;
    END IF;
    -- a column's number is its tag in the hash of the seal
    EXECUTE format($table$
        CREATE TABLE %s (
            seal_no bigint PRIMARY KEY,
            incarnation uuid NOT NULL,
            kind text NOT NULL CHECK (kind IN ('rows', 'heartbeat', 'baseline')),
            sealed_at timestamptz NOT NULL,
            since_at timestamptz,
            since pg_snapshot,
            snapshot pg_snapshot NOT NULL,
            after_id bigint NOT NULL,
            until_id bigint,
            seen_id bigint,
            range_from timestamptz,
            range_to timestamptz,
            n bigint NOT NULL,
            results jsonb,
            min_id bigint,
            max_id bigint,
            min_created_at timestamptz,
            max_created_at timestamptz,
            root bytea NOT NULL,
            rollup_root bytea,
            previous bytea NOT NULL,
            hash bytea NOT NULL)
        $table$, seals);
    EXECUTE format('CREATE INDEX ON %s (range_from, seal_no)', seals);
    EXECUTE format('COMMENT ON TABLE %s IS %L', seals,
                   'Audit log: what was sealed, a chain of hashes');
    PERFORM @extschema@.audit_dress_table(log, seals::regclass);

    EXECUTE format($table$
        CREATE TABLE %s (
            size bigint PRIMARY KEY,
            root bytea NOT NULL,
            note text NOT NULL,
            made_at timestamptz NOT NULL DEFAULT clock_timestamp())
        $table$, checkpoints);
    EXECUTE format('COMMENT ON TABLE %s IS %L', checkpoints,
                   'Audit log: checkpoints of the seals that were published');
    PERFORM @extschema@.audit_dress_table(log, checkpoints::regclass);

    EXECUTE format($columns$
        ALTER TABLE %s
            ADD origin uuid,
            ADD incarnation uuid,
            ADD database_oid oid,
            ADD seals bigint NOT NULL DEFAULT 0,
            ADD tree bytea[] NOT NULL DEFAULT '{}',
            ADD last_hash bytea,
            ADD seen_id bigint NOT NULL DEFAULT 0
        $columns$, state);
    -- what was counted before there were seals is counted anew as it is sealed
    EXECUTE format('UPDATE %s SET snapshot = NULL, baseline_id = 0,
                    tail_since = ''-infinity''', state);
    EXECUTE format('TRUNCATE %s, %s',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_counts'),
                   @extschema@.audit_table_name(log, 'fraiseql_audit_actor_days'));
END
$$;
COMMENT ON FUNCTION audit_create_evidence(regclass) IS
'Makes the tables of seals beside an audit log where they are missing';

-- Partitions with their bounds, null where these are no times: one without an
-- end, or that ends at infinity, is none that we make, and neither sealed nor
-- counted.  Settings are fixed because bounds are read from text.
CREATE FUNCTION audit_partitions(log regclass)
RETURNS TABLE (partition regclass, range_from timestamptz, range_to timestamptz)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
    SELECT oid, bounds[1]::timestamptz, bounds[2]::timestamptz
    FROM (SELECT c.oid, regexp_match(pg_get_expr(c.relpartbound, 0),
                                     'FROM [(]''(\d[^'']+)''[)] TO [(]''(\d[^'']+)''[)]') AS bounds
          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent = log) AS partitions
$$;
COMMENT ON FUNCTION audit_partitions(regclass) IS
'The partitions of an audit log, and the times that they are for';

-- Rows of one that is being detached are there, and the log has them no more.
CREATE FUNCTION audit_shown_partitions(log regclass)
RETURNS TABLE (partition regclass, range_from timestamptz, range_to timestamptz)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.*
    FROM @extschema@.audit_partitions(log) p
    JOIN pg_inherits i ON i.inhrelid = p.partition
    WHERE NOT i.inhdetachpending
$$;
COMMENT ON FUNCTION audit_shown_partitions(regclass) IS
'The partitions of an audit log whose rows are seen in it';

CREATE FUNCTION audit_leaf_hash(event audit_event)
RETURNS bytea
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_leaf_hash'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION audit_leaf_hash(audit_event) IS
'The leaf of a row of the audit log in the Merkle tree of its seal';

CREATE FUNCTION audit_seal_hash(seal record)
RETURNS bytea
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_seal_hash'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION audit_seal_hash(record) IS
'The hash of a seal, which is its leaf in the Merkle tree of seals';

CREATE FUNCTION audit_tree_append(tree bytea[], size bigint, leaves bytea[])
RETURNS bytea[]
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_tree_append'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION audit_tree_append(bytea[], bigint, bytea[]) IS
'Appends leaves to a Merkle tree, which is given and returned as the roots of its full subtrees, largest first';

CREATE FUNCTION audit_tree_root(tree bytea[], size bigint)
RETURNS bytea
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_tree_root'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION audit_tree_root(bytea[], bigint) IS
'The root of a Merkle tree that is given as the roots of its full subtrees';

CREATE FUNCTION audit_rollup_root(log regclass, range_from timestamptz, range_to timestamptz)
RETURNS bytea
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_rollup_root'
LANGUAGE C STABLE STRICT
SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION audit_rollup_root(regclass, timestamptz, timestamptz) IS
'The hash of what the rollups have of the time of a partition';

CREATE FUNCTION audit_seal_rows(
    log regclass,
    partition regclass,
    baseline boolean,
    after_id bigint,
    until_id bigint,
    seen_id bigint,
    since pg_snapshot,
    snapshot pg_snapshot,
    OUT n bigint,
    OUT results jsonb,
    OUT min_id bigint,
    OUT max_id bigint,
    OUT min_created_at timestamptz,
    OUT max_created_at timestamptz,
    OUT root bytea,
    OUT rollup_root bytea)
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_seal_rows'
LANGUAGE C VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off;
COMMENT ON FUNCTION audit_seal_rows(regclass, regclass, boolean, bigint, bigint, bigint, pg_snapshot, pg_snapshot) IS
'What a seal says of the rows of a partition; adds them to the rollups';

-- The last id for which all rows are there: for an instant nobody writes, and
-- ids are given out by those who do.  The lock goes with the subtransaction, also
-- if it cannot be had for 200 ms, so that writers wait no longer behind us.
CREATE FUNCTION audit_last_id(log regclass)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms'
AS $$
DECLARE
    last_id bigint;
BEGIN
    BEGIN
        EXECUTE format('LOCK TABLE ONLY %s IN SHARE MODE', log);
        last_id := coalesce(pg_sequence_last_value(
            pg_get_serial_sequence(log::text, 'id')), 0);
        RAISE SQLSTATE 'FOBS1';
    EXCEPTION WHEN SQLSTATE 'FOBS1' THEN
        RETURN last_id;
    END;
END
$$;
COMMENT ON FUNCTION audit_last_id(regclass) IS
'An id up to which all rows of the audit log are committed';

-- Without a lock: is there a row that is not sealed, or a heartbeat due?  The
-- newest are looked at first: where there are any, it is they.  One is due where the
-- clock has been set back, too, so that what follows is compared with that.
CREATE FUNCTION audit_is_due(log regclass, heartbeat_after interval)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    tail text := @extschema@.audit_tail_condition(log);
    due boolean;
BEGIN
    EXECUTE format('SELECT %s OR refreshed_at < clock_timestamp() - $1
                           OR refreshed_at > clock_timestamp() + interval ''1 minute'' FROM %s',
                   CASE WHEN tail IS NULL THEN 'true'
                   ELSE format('(SELECT true FROM %s WHERE %s ORDER BY created_at DESC, id DESC LIMIT 1) IS NOT NULL',
                               log, tail) END,
                   @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
    INTO due USING heartbeat_after;
    RETURN coalesce(due, false);
END
$$;
COMMENT ON FUNCTION audit_is_due(regclass, interval) IS
'Whether there is something to seal in the audit log';

-- Appends a seal to the chain.
CREATE FUNCTION audit_append_seal(
    log regclass,
    incarnation uuid,
    kind text,
    sealed_at timestamptz,
    since pg_snapshot,
    snapshot pg_snapshot,
    after_id bigint,
    until_id bigint,
    seen_id bigint,
    range_from timestamptz,
    range_to timestamptz,
    content record)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format($query$
        WITH appended AS (
            INSERT INTO %1$s
            SELECT s.*, @extschema@.audit_seal_hash(s)
            FROM (SELECT seals + 1 AS seal_no, $1, $2, $3,
                         CASE WHEN $4 IS NOT NULL THEN refreshed_at END, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                         $17, $18, coalesce(last_hash, decode(repeat('00', 32), 'hex'))
                  FROM %2$s) AS s
            RETURNING seal_no, hash, max_id)
        UPDATE %2$s AS state
        SET seals = seal_no, last_hash = hash,
            tree = @extschema@.audit_tree_append(tree, seals, ARRAY[hash]),
            seen_id = greatest(state.seen_id, max_id)
        FROM appended
        $query$,
        @extschema@.audit_table_name(log, 'fraiseql_audit_seals'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
    USING incarnation, kind, sealed_at, since, snapshot, after_id, until_id,
          seen_id, range_from, range_to, content.n, content.results,
          content.min_id, content.max_id, content.min_created_at,
          content.max_created_at, content.root, content.rollup_root;
END
$$;
COMMENT ON FUNCTION audit_append_seal(regclass, uuid, text, timestamptz, pg_snapshot, pg_snapshot, bigint, bigint, bigint, timestamptz, timestamptz, record) IS
'Appends a seal to those of the audit log';

-- The work of seal_audit_log() and refresh_audit_rollups(): one batch.
CREATE FUNCTION audit_seal(
    heartbeat_after interval,
    OUT last_seal bigint,
    OUT sealed bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    state_table text := @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state');
    state record;
    last record;
    native boolean;
    incarnation uuid;
    baseline_id bigint;
    at timestamptz;
    seen pg_snapshot;
    part record;
    content record;
    appended bigint := 0;
BEGIN
    PERFORM @extschema@.audit_check_isolation('sealing the audit log');

    sealed := 0;
    IF NOT @extschema@.audit_is_due(log, heartbeat_after) THEN
        EXECUTE format('SELECT seals FROM %s', state_table) INTO last_seal;
        RETURN;
    END IF;

    EXECUTE format('SELECT * FROM %s FOR UPDATE', state_table) INTO STRICT state;
    EXECUTE format('SELECT seal_no, hash FROM %s ORDER BY seal_no DESC LIMIT 1',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_seals')) INTO last;
    IF (coalesce(last.seal_no, 0), last.hash) IS DISTINCT FROM (state.seals, state.last_hash) THEN
        RAISE data_corrupted USING
            MESSAGE = 'cannot seal the audit log: its last seal is not the one that was made last',
            DETAIL = format('Seal %s was made last, seal %s is there.', state.seals, coalesce(last.seal_no, 0)),
            HINT = 'Find out what was changed with: SELECT * FROM fraiseql_obs.verify_audit_log();';
    END IF;

    native := coalesce(@extschema@.audit_is_native(
        state.snapshot, state.system_identifier, state.database_oid), false);
    incarnation := CASE WHEN native THEN state.incarnation ELSE gen_random_uuid() END;
    baseline_id := CASE WHEN native THEN state.baseline_id ELSE @extschema@.audit_last_id(log) END;
    -- before the snapshot: what begins after it is written at a later time
    at := clock_timestamp();
    seen := @extschema@.audit_snapshot();
    -- Rows of this incarnation are in the newest partitions, whatever the clock
    -- has done.  Seals without rows are for no partition.
    FOR part IN
        SELECT 1 AS place, 'baseline' AS kind, NULL::regclass AS partition,
               NULL::timestamptz AS range_from, NULL::timestamptz AS range_to
        WHERE NOT native
        UNION ALL
        SELECT 2, 'baseline', p.*
        FROM @extschema@.audit_partitions(log) p
        WHERE NOT native AND baseline_id > state.baseline_id AND p.range_to IS NOT NULL
        UNION ALL
        SELECT 3, 'rows', p.*
        FROM @extschema@.audit_partitions(log) p
        WHERE p.range_to > CASE WHEN native THEN least(state.tail_since, at) ELSE at END - interval '1 day'
        UNION ALL
        SELECT 4, 'heartbeat', NULL, NULL, NULL
        WHERE at - state.refreshed_at >= heartbeat_after
           OR state.refreshed_at > at + interval '1 minute'
        ORDER BY place, range_from
    LOOP
        CONTINUE WHEN part.kind = 'heartbeat' AND appended > 0;
        IF part.partition IS NULL THEN
            SELECT 0::bigint AS n, NULL::jsonb AS results, NULL::bigint AS min_id,
                   NULL::bigint AS max_id, NULL::timestamptz AS min_created_at,
                   NULL::timestamptz AS max_created_at, sha256('') AS root,
                   NULL::bytea AS rollup_root
            INTO content;
        ELSIF part.kind = 'baseline' THEN
            content := @extschema@.audit_seal_rows(
                log, part.partition, true, state.baseline_id, baseline_id,
                state.seen_id, state.snapshot, seen);
            CONTINUE WHEN content.n = 0;
        ELSE
            content := @extschema@.audit_seal_rows(
                log, part.partition, false, baseline_id, NULL, NULL,
                CASE WHEN native THEN state.snapshot END, seen);
            CONTINUE WHEN content.n = 0;
        END IF;
        PERFORM @extschema@.audit_append_seal(
            log, incarnation, part.kind, at,
            CASE WHEN native OR part.kind = 'baseline' THEN state.snapshot::pg_snapshot END, seen,
            CASE part.kind WHEN 'baseline' THEN state.baseline_id ELSE baseline_id END,
            CASE part.kind WHEN 'baseline' THEN baseline_id END,
            CASE part.kind WHEN 'baseline' THEN state.seen_id::bigint END,
            part.range_from, part.range_to, content);
        appended := appended + 1;
        sealed := sealed + content.n;
    END LOOP;

    IF appended > 0 THEN
        PERFORM @extschema@.audit_rank_actors(
            log, (state.refreshed_at AT TIME ZONE 'UTC')::date, (at AT TIME ZONE 'UTC')::date);
        EXECUTE format($query$
            UPDATE %s
            SET snapshot = $1, refreshed_at = $2, incarnation = $3, baseline_id = $4,
                origin = coalesce(origin, $3),
                system_identifier = (SELECT system_identifier FROM pg_control_system()),
                database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()),
                tail_since = CASE WHEN $5 AND pg_snapshot_xmin($1) < horizon_xact
                             THEN least(tail_since, $2 - interval '1 hour')
                             WHEN $5 THEN least(horizon_at, $2) - interval '1 hour'
                             ELSE '-infinity' END,
                horizon_xact = CASE WHEN $5 AND pg_snapshot_xmin($1) < horizon_xact
                               THEN horizon_xact ELSE pg_current_xact_id() END,
                horizon_at = CASE WHEN $5 AND pg_snapshot_xmin($1) < horizon_xact
                             THEN least(horizon_at, $2) ELSE now() END
            $query$, state_table)
        USING seen, at, incarnation, baseline_id, native;
    END IF;
    last_seal := state.seals + appended;
END
$$;
COMMENT ON FUNCTION audit_seal(interval) IS
'Seals what is new in the audit log; returns the number of the last seal and how many rows were sealed';

CREATE FUNCTION seal_audit_log(heartbeat_after interval DEFAULT '5 minutes')
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION seal_audit_log(interval) IS
'Seals what is new in the audit log, or, if the last seal is older than that, that nothing is; returns the number of the last seal';

CREATE FUNCTION audit_do_seal_audit_log(heartbeat_after interval)
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT last_seal FROM @extschema@.audit_seal(heartbeat_after)
$$;
COMMENT ON FUNCTION audit_do_seal_audit_log(interval) IS
'What seal_audit_log() does';

CREATE FUNCTION refresh_audit_rollups()
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_keep'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION refresh_audit_rollups() IS
'Adds what is new in the audit log to its rollups, which is to seal it; returns how many rows';

CREATE FUNCTION audit_do_refresh_audit_rollups()
RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sealed FROM @extschema@.audit_seal(NULL)
$$;
COMMENT ON FUNCTION audit_do_refresh_audit_rollups() IS
'What refresh_audit_rollups() does';

CREATE FUNCTION audit_seal_count()
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION audit_seal_count() IS
'How many seals of the audit log have been made; null for who may not see all rows';

CREATE FUNCTION audit_do_audit_seal_count()
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seals bigint;
BEGIN
    EXECUTE format('SELECT seals FROM %s',
                   @extschema@.audit_table_name(@extschema@.audit_log(), 'fraiseql_audit_rollup_state'))
    INTO seals;
    RETURN seals;
END
$$;
COMMENT ON FUNCTION audit_do_audit_seal_count() IS
'What audit_seal_count() does';

-- SECURITY DEFINER because the setting is shown to superusers alone.
CREATE FUNCTION audit_is_signing()
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(current_setting('fraiseql_obs.audit_signing_key_file', true), '') <> ''
$$;
COMMENT ON FUNCTION audit_is_signing() IS
'Whether checkpoints of the audit log are to be signed';

-- C2SP tlog-checkpoint: what the log is, how many seals, the root of their tree.
CREATE FUNCTION audit_checkpoint_note()
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    state record;
    note text;
BEGIN
    IF row_security_active(log) THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'cannot give the checkpoint of an audit log of which row security hides rows',
            HINT = 'Have it made by a member of its owner, or by a reader with BYPASSRLS.';
    END IF;
    EXECUTE format('SELECT * FROM %s',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state')) INTO state;
    IF state IS NULL OR state.seals = 0 THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = 'there is no seal of the audit log',
            HINT = 'Seal it with: SELECT fraiseql_obs.seal_audit_log();';
    END IF;
    EXECUTE format('SELECT note FROM %s WHERE size = $1',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_checkpoints'))
    INTO note USING state.seals;
    RETURN coalesce(note, format(E'fraiseql_obs/%s/%s\n%s\n%s\n', state.origin,
        regexp_replace(current_database(), '[^A-Za-z0-9._~-]', '_', 'g'), state.seals,
        encode(@extschema@.audit_tree_root(state.tree, state.seals), 'base64')));
END
$$;
COMMENT ON FUNCTION audit_checkpoint_note() IS
'The checkpoint of the audit log''s seals, as audit_checkpoint() returns it';

-- Between a seal and its signature is a moment: that the newest one is not
-- signed means nothing, if the one before it is.
CREATE FUNCTION audit_checkpoint()
RETURNS text
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION audit_checkpoint() IS
'The checkpoint of the audit log''s seals, to be kept elsewhere and given to verify_audit_log(); signed if the newest one that was published is';

CREATE FUNCTION audit_do_audit_checkpoint()
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    note text := @extschema@.audit_checkpoint_note();
    signed bigint;
    seals bigint;
    sealed_at timestamptz;
BEGIN
    IF strpos(note, E'\n\n') = 0 AND @extschema@.audit_is_signing() THEN
        EXECUTE format('SELECT coalesce(max(size), 0) FROM %s',
                       @extschema@.audit_table_name(log, 'fraiseql_audit_checkpoints'))
        INTO signed;
        EXECUTE format('SELECT seals, refreshed_at FROM %s',
                       @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
        INTO seals, sealed_at;
        IF signed < seals - 1 OR sealed_at < clock_timestamp() - interval '10 seconds' THEN
            RAISE WARNING USING
                MESSAGE = 'checkpoint of the audit log is not signed',
                DETAIL = format(CASE signed WHEN 0 THEN 'It is of %s seals, and none is signed.'
                                ELSE 'It is of %s seals, and the newest one that is signed of %s.' END, seals, signed),
                HINT = 'Only the audit worker signs checkpoints, every "fraiseql_obs.audit_seal_interval"; if it cannot, the server log says why.';
        END IF;
    END IF;
    RETURN note;
END
$$;
COMMENT ON FUNCTION audit_do_audit_checkpoint() IS
'What audit_checkpoint() does';

-- The tree of the first seals, of which those that are collapsed are known as
-- a whole only.  Of all seals it is at hand.
CREATE FUNCTION audit_checkpoint_number(size bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION audit_checkpoint_number(bigint) IS
'What the metric fraiseql_obs_audit_checkpoint_root is when there are so many seals of the audit log: the first 48 bits of the root of their tree; null if they are not known';

CREATE FUNCTION audit_do_audit_checkpoint_number(size bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    tree bytea[];
    appended bigint;
BEGIN
    EXECUTE format('SELECT tree FROM %s WHERE seals = $1',
                   @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'))
    INTO tree USING size;
    IF tree IS NULL THEN
        EXECUTE format($query$
            SELECT @extschema@.audit_tree_append(nodes, seal_count, hashes), seal_count + n
            FROM %s, (SELECT coalesce(array_agg(hash ORDER BY seal_no), '{}') AS hashes, count(*) AS n
                      FROM %s WHERE seal_no <= $1) AS s
            $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_collapsed'),
            @extschema@.audit_table_name(log, 'fraiseql_audit_seals'))
        INTO tree, appended USING size;
    END IF;
    IF size > 0 AND coalesce(appended, size) = size THEN
        RETURN ('x' || encode(substring(@extschema@.audit_tree_root(tree, size), 1, 6), 'hex'))::bit(48)::bigint;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_do_audit_checkpoint_number(bigint) IS
'What audit_checkpoint_number() does';

-- What the worker has signed takes the place of what was signed before.
CREATE FUNCTION audit_publish_checkpoint(note text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    log regclass := @extschema@.audit_log();
    checkpoints text := @extschema@.audit_table_name(log, 'fraiseql_audit_checkpoints');
    lines text[] := string_to_array(note, E'\n');
BEGIN
    EXECUTE format('DELETE FROM %s', checkpoints);
    EXECUTE format('INSERT INTO %s (size, root, note) VALUES ($1, $2, $3)', checkpoints)
    USING lines[2]::bigint, decode(lines[3], 'base64'), note;
END
$$;
COMMENT ON FUNCTION audit_publish_checkpoint(text) IS
'Keeps a signed checkpoint for audit_checkpoint() to return';

CREATE FUNCTION audit_sign_checkpoint()
RETURNS boolean
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_sign_checkpoint'
LANGUAGE C VOLATILE;
COMMENT ON FUNCTION audit_sign_checkpoint() IS
'Signs the checkpoint of the audit log, if that has not been done; only the audit worker can';
