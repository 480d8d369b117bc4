--
-- Audit log: the integrity part of the compliance report
--
-- Whether rows are those that were sealed.  To verify them is to read all of
-- them, so a report says what the newest verification in the log found, and
-- whether it saw the seals of the period; or, if it is asked to, it verifies.
-- Each time it looks at what costs little: the last seal, how many operations
-- rollups have of removed partitions, and days whose rows have gone without a
-- record.
--
-- Verdicts: "violations", whatever found them, and those found against an anchor
-- until that finds none; "verified", if a verification of the whole period found
-- none and saw all seals of its rows; "verified in part", if some rows were sealed
-- later, or are not, as those of adopted sources; "not verified".  Who does not see all rows gets none:
-- findings are about rows of whatever tenant.
--
-- Entries about verifications are what a verification has found: nobody can
-- append others (audit_verified.c), so they stand whatever becomes of the role
-- that has verified.
--

-- Does an entry say that all of a period was verified, or that something is
-- wrong?  What it says may be anything.
CREATE FUNCTION audit_says_verified(details jsonb, since timestamptz, until timestamptz)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- who rolled it back may have verified what never was
    RETURN coalesce(
        NOT details ? '_failed' AND jsonb_typeof(details->'violations') = 'number'
        AND (details->'violations' > '0'
             OR jsonb_typeof(details->'seals') = 'number' AND NOT details ? 'old_snapshot'
                AND coalesce((details->>'since')::timestamptz, '-infinity') <= since
                AND coalesce((details->>'until')::timestamptz, 'infinity') >= until),
        false);
EXCEPTION WHEN data_exception THEN
    RETURN false;
END
$$;
COMMENT ON FUNCTION audit_says_verified(jsonb, timestamptz, timestamptz) IS
'Whether details of an entry are those of a verification of a whole period, or of one that found violations';

-- The newest of those, and of them that meet a condition and had a result
CREATE FUNCTION audit_newest_verification(
    since timestamptz,
    until timestamptz,
    condition text DEFAULT 'true',
    outcome text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO, YMD'
AS $$
    SELECT entry->'details' || jsonb_build_object(
               'at', entry->'created_at', 'by', entry->'db_role', 'entry_id', entry->'id')
    FROM jsonb_array_elements(@extschema@.audit_accesses(
        1, '-infinity', 'infinity', 'audit.verified',
        format('@extschema@.audit_says_verified(details, %L, %L) AND %s',
               since, until, condition),
        outcome)) AS entry
$$;
COMMENT ON FUNCTION audit_newest_verification(timestamptz, timestamptz, text, text) IS
'What the newest verification in the audit log found that was of a whole period, or that found violations; null if there is none';

-- What was found against an anchor stands until that finds nothing: without one
-- it cannot be seen.
CREATE FUNCTION audit_anchor_finding(since timestamptz, until timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT finding
    FROM @extschema@.audit_newest_verification(
             since, until, 'details ? ''anchor_size'' AND details->''violations'' > ''0''', 'failure') AS finding
    WHERE finding IS NOT NULL
      AND @extschema@.audit_newest_verification(
              since, until, 'details ? ''anchor_size''')->'entry_id' = finding->'entry_id'
$$;
COMMENT ON FUNCTION audit_anchor_finding(timestamptz, timestamptz) IS
'The newest verification with an anchor that found violations, unless a later one with an anchor has found none of the whole period; else null';

-- What metrics and health say of verifications, for a server that has just been
-- started (audit_upkeep.c), and for whoever asks without the library.  It takes
-- milliseconds for each newer one that found nothing in a part of the log.
CREATE FUNCTION audit_last_findings()
RETURNS jsonb
AS 'MODULE_PATHNAME', 'fraiseql_obs_audit_read'
LANGUAGE C STABLE;
COMMENT ON FUNCTION audit_last_findings() IS
'How many violations the newest verification found that was of all of the audit log or found any, how many one with an anchor that stand, and when one last found nothing';

CREATE FUNCTION audit_do_audit_last_findings()
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    newest jsonb := @extschema@.audit_newest_verification('-infinity', 'infinity');
    stands jsonb;
    clean jsonb := newest;
BEGIN
    IF newest IS NOT NULL THEN
        stands := @extschema@.audit_anchor_finding('-infinity', 'infinity');
    END IF;
    IF stands IS NOT NULL OR newest->'violations' > '0' THEN
        clean := @extschema@.audit_newest_verification(
            '-infinity', 'infinity',
            format('details->''violations'' = ''0'' AND created_at < %L',
                   coalesce(stands->>'at', 'infinity')), 'success');
    END IF;
    RETURN jsonb_build_object('violations', newest->'violations',
                              'anchor_violations', stands->'violations',
                              'verified_at', clean->'at');
END
$$;
COMMENT ON FUNCTION audit_do_audit_last_findings() IS
'What audit_last_findings() does';

-- The same of one that is made now, with its first findings.
CREATE FUNCTION audit_verify_period(since timestamptz, until timestamptz)
RETURNS jsonb
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH size AS MATERIALIZED (
        SELECT @extschema@.audit_seal_count() AS seals),
    findings AS MATERIALIZED (
        SELECT f.*, row_number() OVER (ORDER BY f.severity <> 'violation', f.n) AS place
        FROM size, @extschema@.verify_audit_log(since, until)
                   WITH ORDINALITY AS f (severity, kind, seal_no, partition, row_id, at, message, n))
    SELECT jsonb_build_object(
        'at', clock_timestamp(), 'by', session_user, 'since', since, 'until', until,
        'seals', (SELECT seals FROM size),
        'violations', count(*) FILTER (WHERE severity = 'violation'),
        'gaps', count(*) FILTER (WHERE severity = 'gap'),
        'unchecked', count(*) FILTER (WHERE severity = 'unchecked'),
        'findings', coalesce(jsonb_agg(
            jsonb_strip_nulls(to_jsonb(f) - '{n,place}'::text[]) ORDER BY place)
            FILTER (WHERE place <= 100), '[]'))
    FROM findings f
$$;
COMMENT ON FUNCTION audit_verify_period(timestamptz, timestamptz) IS
'Verifies a period of the audit log for a compliance report';

-- The tree of all seals, and the checkpoint of it that was published last
CREATE FUNCTION audit_head(log regclass)
RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head jsonb;
BEGIN
    EXECUTE format($query$
        SELECT jsonb_build_object(
            'origin', origin, 'size', seals, 'sealed_at', refreshed_at,
            'root', encode(@extschema@.audit_tree_root(tree, seals), 'base64'),
            'is_last', last_hash IS NOT DISTINCT FROM
                (SELECT hash FROM %2$s ORDER BY seal_no DESC LIMIT 1),
            'checkpoint', (
                SELECT jsonb_build_object('size', size, 'signed', note ~ E'\n\n.', 'made_at', made_at)
                FROM %3$s ORDER BY size DESC LIMIT 1))
        FROM %1$s
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_rollup_state'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_seals'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_checkpoints'))
    INTO head;
    RETURN head;
END
$$;
COMMENT ON FUNCTION audit_head(regclass) IS
'The part of a compliance report on the tree of all seals';

-- Seals of the partitions that have rows of a period, those of removed ones
-- included, and how many of its rows are sealed and not.  Rollups have what is
-- sealed.
CREATE FUNCTION audit_report_seals(
    log regclass,
    since timestamptz,
    until timestamptz,
    rolled_up bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tail text := @extschema@.audit_tail_condition(log);
    seals jsonb;
    unsealed bigint;
BEGIN
    EXECUTE format($query$
        SELECT jsonb_build_object('first', min(first_seal), 'last', max(last_seal))
        FROM (SELECT (SELECT min(seal_no) FROM %1$s s WHERE s.range_from = p.range_from) AS first_seal,
                     (SELECT max(seal_no) FROM %1$s s WHERE s.range_from = p.range_from) AS last_seal
              FROM @extschema@.audit_partitions($1) p
              WHERE range_to > $2 AND range_from < $3
              UNION ALL
              SELECT first_seal, last_seal FROM %2$s WHERE range_to > $2 AND range_from < $3) AS parts
        $query$, @extschema@.audit_table_name(log, 'fraiseql_audit_seals'),
        @extschema@.audit_table_name(log, 'fraiseql_audit_partitions'))
    INTO seals USING log, since, until;
    -- what this transaction has written is no row yet
    IF tail IS NOT NULL THEN
        EXECUTE format('SELECT count(*) FROM %s WHERE created_at >= $1 AND created_at < $2 AND %s
                          AND xact IS DISTINCT FROM pg_current_xact_id_if_assigned()', log, tail)
        INTO unsealed USING since, until;
    END IF;
    RETURN seals || jsonb_build_object(
        'rows', CASE WHEN tail IS NOT NULL THEN rolled_up END, 'unsealed', unsealed);
END
$$;
COMMENT ON FUNCTION audit_report_seals(regclass, timestamptz, timestamptz, bigint) IS
'The part of a compliance report on the seals of its period';

-- Do rollups have of removed partitions as many operations as was recorded?
-- Whether they have the same by user and else, a verification finds out.
CREATE FUNCTION audit_check_removed(removed jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'checked', count(*),
        'differing', coalesce(jsonb_agg(r->'partition') FILTER (WHERE r->'counts_agree' = 'false'), '[]'))
    FROM jsonb_array_elements(removed) r
$$;
COMMENT ON FUNCTION audit_check_removed(jsonb) IS
'The part of a compliance report on whether what was recorded of removed partitions still holds';

-- The verdict and the reason for it: the first that applies.
CREATE FUNCTION audit_verdict(
    verification jsonb,
    anchor_finding jsonb,
    seals jsonb,
    head jsonb,
    removed jsonb,
    days_without_record jsonb,
    adopted jsonb,
    is_over boolean,
    is_empty boolean,
    limited boolean)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT concat_ws(' ',
                   'The newest verification found violations: '
                       || nullif(verification->>'violations', '0') || '.',
                   CASE WHEN anchor_finding->'entry_id' IS DISTINCT FROM verification->'entry_id' THEN
                       'A verification with an anchor found violations: ' || (anchor_finding->>'violations')
                       || '. None with an anchor has found none since.' END,
                   CASE WHEN head->'is_last' = 'false' THEN
                       'The last seal is not the one that was made last.' END,
                   'Rollups do not say what was recorded of removed partitions: '
                       || (SELECT string_agg(p, ', ') FROM jsonb_array_elements_text(removed->'differing') p) || '.',
                   'Rows of these days (UTC) have gone without a record: '
                       || (SELECT string_agg(d, ', ') FROM jsonb_array_elements_text(days_without_record) d) || '.'
               ) AS violations,
               @extschema@.audit_adopted_text(adopted) AS adopted_rows,
               (verification->>'seals')::numeric < (seals->>'last')::numeric AS later,
               coalesce((seals->>'unsealed')::numeric, 1) > 0 AS unsealed)
    SELECT CASE WHEN limited THEN jsonb_build_object(
               'verdict', NULL,
               'reason', 'Row security hides rows of the log from the role that made this report, which may not verify it.')
           WHEN violations <> '' THEN jsonb_build_object(
               'verdict', 'violations', 'reason', violations)
           WHEN coalesce(head->'size', '0') = '0' THEN jsonb_build_object(
               'verdict', 'not verified', 'reason', 'The log has no seals.')
           WHEN is_empty THEN jsonb_build_object(
               'verdict', 'not verified',
               'reason', 'The log has nothing of the period that could be verified.')
           WHEN verification IS NULL THEN jsonb_build_object(
               'verdict', 'not verified',
               'reason', 'No verification of the whole period is in the log.')
           WHEN later OR unsealed OR adopted_rows IS NOT NULL THEN jsonb_build_object(
               'verdict', 'verified in part',
               'reason', concat_ws(' ',
                   CASE WHEN seals->'unsealed' = 'null'
                   THEN 'No violation was found; which rows are sealed is known once this copy of the log is.'
                   ELSE 'No violation was found, but some rows of the period '
                        || CASE WHEN later AND unsealed THEN 'were sealed later or are not sealed.'
                           WHEN later THEN 'were sealed later.'
                           ELSE 'are not sealed.' END END,
                   'Rows of adopted sources have no seals: ' || adopted_rows || '.'))
           ELSE jsonb_build_object(
               'verdict', 'verified',
               'reason', 'All seals of rows of the period were verified, and no violation was found.'
                         || CASE WHEN is_over THEN '' ELSE ' The period is not over.' END)
           END
    FROM known
$$;
COMMENT ON FUNCTION audit_verdict(jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, boolean, boolean, boolean) IS
'The verdict of a compliance report on the integrity of its period';

-- verification: one that was made for the report, or null
CREATE FUNCTION audit_integrity(
    log regclass,
    since timestamptz,
    until timestamptz,
    rolled_up bigint,
    removed jsonb,
    days_without_record jsonb,
    adopted jsonb,
    gaps jsonb,
    verification jsonb)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    limited boolean := row_security_active(log);
    head jsonb;
    seals jsonb;
    removals jsonb;
    anchor_finding jsonb;
BEGIN
    IF NOT limited THEN
        head := @extschema@.audit_head(log);
        seals := @extschema@.audit_report_seals(log, since, until, rolled_up);
        removals := @extschema@.audit_check_removed(removed);
        IF verification IS NULL AND head->'size' > '0' THEN
            verification := @extschema@.audit_newest_verification(since, until);
        END IF;
        anchor_finding := @extschema@.audit_anchor_finding(since, until);
    END IF;
    RETURN @extschema@.audit_verdict(verification, anchor_finding, seals, head, removals,
            days_without_record, adopted, (gaps->'is_over')::boolean,
            -- seals of the rest of a month say nothing of days without the log
            seals->'rows' = '0' AND seals->'unsealed' = '0'
            AND (seals->'first' = 'null' OR since > now()
                 OR until <= (gaps->>'log_begins')::timestamptz),
            limited)
        || jsonb_build_object(
            'verification', verification || jsonb_build_object(
                'seals_since', (head->>'size')::numeric - (verification->>'seals')::numeric),
            'anchor_finding', anchor_finding, 'seals', seals, 'head', head - 'is_last', 'removed_partitions', removals);
END
$$;
COMMENT ON FUNCTION audit_integrity(regclass, timestamptz, timestamptz, bigint, jsonb, jsonb, jsonb, jsonb, jsonb) IS
'The part of a compliance report on whether rows are those that were sealed';
