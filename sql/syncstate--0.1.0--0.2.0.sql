/*
 * syncstate 0.1.0 to 0.2.0: the change feed, resolving conflicts, upkeep.
 *
 * The same rules as in the install script; and no DML on the tables, for a
 * trigger that their owner made would run as the superuser who runs this.
 */
\echo Use "ALTER EXTENSION syncstate UPDATE TO '0.2.0'" to load this file. \quit

/* ------------------------------------------------------------------------
 * What has changed: the feed
 * ------------------------------------------------------------------------ */
CREATE TYPE syncstate.sync_change AS (
	type_key pg_catalog.text,
	deleted pg_catalog.bool,
	sync_status pg_catalog.text,
	conflict_status pg_catalog.text,
	local_hash pg_catalog.text,
	remote_hash pg_catalog.text,
	last_sync_at pg_catalog.timestamptz,
	updated_at pg_catalog.timestamptz,
	cursor pg_catalog.text
);
COMMENT ON TYPE syncstate.sync_change IS 'A change in the feed, and the position after it. Of a deleted key only type_key, updated_at (when it was deleted) and cursor are told.';

CREATE FUNCTION @extschema@.sync_state_changes(cursor pg_catalog.text DEFAULT NULL, max_rows pg_catalog.int4 DEFAULT 1000)
RETURNS SETOF syncstate.sync_change LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'sync_state_changes';
COMMENT ON FUNCTION @extschema@.sync_state_changes(pg_catalog.text, pg_catalog.int4) IS
'The change feed from a cursor on, at most max_rows: each change once, none missed, however long its transaction was open. NULL: every row, to start or to resync. Go on from the cursor of the last row; no rows: keep the cursor you have. A cursor counts only if the (sub)transaction that read it commits. Flushes WAL; locks nothing. Errors: 22004, 22023 (not a cursor), 55000 (resync required).';

CREATE FUNCTION @extschema@.sync_state_cursor()
RETURNS pg_catalog.text LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'sync_state_cursor';
COMMENT ON FUNCTION @extschema@.sync_state_cursor() IS
'The position "now" in the change feed: what has ended is behind it, what is in progress before it. Flushes WAL; locks nothing. Errors: 55000 (resync required).';

CREATE FUNCTION syncstate.announce()
RETURNS pg_catalog.trigger LANGUAGE c
AS 'MODULE_PATHNAME', 'syncstate_announce';
COMMENT ON FUNCTION syncstate.announce() IS
'Row trigger of sync_state: notifies listeners of an inserted row, if syncstate.notify says so.';

CREATE TRIGGER "~syncstate_announce" AFTER INSERT ON syncstate.sync_state
FOR EACH ROW EXECUTE FUNCTION syncstate.announce();
ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_announce";
COMMENT ON TRIGGER "~syncstate_announce" ON syncstate.sync_state IS 'Notifies listeners of inserted rows.';

/* ------------------------------------------------------------------------
 * Conflicts
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_state_resolve(type_key pg_catalog.text, resolution pg_catalog.text, merged_hash pg_catalog.text DEFAULT NULL, conflict_number pg_catalog.int4 DEFAULT NULL)
RETURNS syncstate.sync_state LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_resolve';
COMMENT ON FUNCTION @extschema@.sync_state_resolve(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.int4) IS
'Resolves a conflict by moving bases: local (the next delta is PUSH), remote (PULL), merged (our hash becomes merged_hash, then PUSH). With conflict_number only if that conflict is still the open one with the same hashes. Locks the row. Errors: 22004, 22023, P0002 (unknown key), 55000 (not, or no longer, in conflict), 55P03 (a live run holds the key).';

/* ------------------------------------------------------------------------
 * Upkeep
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_state_import(source pg_catalog.regclass)
RETURNS pg_catalog.int4 LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_import';
COMMENT ON FUNCTION @extschema@.sync_state_import(pg_catalog.regclass) IS
'Adopts the rows of a hand-made table and returns how many: columns by name, in snake_case or camelCase, others are ignored with a notice; keys that exist are left alone; times without a zone are UTC. Errors: 22004, 22023 (no type_key, a key twice, a column of another type), 23514 (a value not allowed).';

CREATE TYPE syncstate.sync_prune_result AS (
	kind pg_catalog.text,
	removed pg_catalog.int8
);
COMMENT ON TYPE syncstate.sync_prune_result IS 'How many rows of a kind (run, conflict, tombstone) were removed.';

CREATE FUNCTION @extschema@.sync_state_prune(older_than interval)
RETURNS SETOF syncstate.sync_prune_result LANGUAGE c VOLATILE ROWS 3
AS 'MODULE_PATHNAME', 'sync_state_prune';
COMMENT ON FUNCTION @extschema@.sync_state_prune(interval) IS
'Removes finished runs, closed conflicts and tombstones that ended longer ago than older_than. A reader of the feed that has not read a removed tombstone must resync. Of a key that stopped, the runs that recovery needs stay; of each key, the latest conflict. Locks the rows it removes. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_repair()
RETURNS pg_catalog.int4 LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_repair';
COMMENT ON FUNCTION @extschema@.sync_state_repair() IS
'Mends what a restore past the triggers leaves: triggers that are not enabled always, changed_xid of another database; returns how many rows were mended. If anything was amiss, every reader of the feed must resync. Only the owner of the table may call it; locks the table against writers. Errors: 42501.';

/* ------------------------------------------------------------------------
 * For people to look at
 * ------------------------------------------------------------------------ */
CREATE VIEW syncstate.sync_overview WITH (security_invoker = true) AS
SELECT s.type_key,
	s.sync_status,
	s.conflict_status,
	d.action,
	d.detail,
	s.last_sync_at,
	pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) s.last_sync_at) AS last_sync_age,
	r.owner AS run_owner,
	s.lease_expires_at,
	p.step,
	p.total,
	CASE WHEN p.total OPERATOR(pg_catalog.>) 0
			AND pg_catalog.abs(p.step) OPERATOR(pg_catalog.<=) 1e18
			AND p.total OPERATOR(pg_catalog.>=) 1e-18
		THEN pg_catalog.round(100::pg_catalog.numeric OPERATOR(pg_catalog.*) p.step OPERATOR(pg_catalog./) p.total, 1)
	END AS percent
FROM syncstate.sync_state s
CROSS JOIN LATERAL (
	SELECT @extschema@.sync_state_action(s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash, k.synced) AS action,
		@extschema@.sync_state_detail(s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash, k.synced) AS detail
	FROM (SELECT s.last_sync_at IS NOT NULL OR s.last_synced_hash IS NOT NULL OR s.last_synced_remote_hash IS NOT NULL AS synced) k) d
CROSS JOIN LATERAL (
	SELECT CASE WHEN pg_catalog.jsonb_typeof(s.sync_progress OPERATOR(pg_catalog.->) 'step'::pg_catalog.text) OPERATOR(pg_catalog.=) 'number'
			THEN (s.sync_progress OPERATOR(pg_catalog.->>) 'step'::pg_catalog.text)::pg_catalog.numeric END AS step,
		CASE WHEN pg_catalog.jsonb_typeof(s.sync_progress OPERATOR(pg_catalog.->) 'total'::pg_catalog.text) OPERATOR(pg_catalog.=) 'number'
			THEN (s.sync_progress OPERATOR(pg_catalog.->>) 'total'::pg_catalog.text)::pg_catalog.numeric END AS total) p
LEFT JOIN syncstate.sync_run r
	ON r.type_key OPERATOR(pg_catalog.=) s.type_key
	AND r.run_number OPERATOR(pg_catalog.=) s.run_number
	AND r.run_id OPERATOR(pg_catalog.=) s.run_id;
ALTER VIEW syncstate.sync_overview OWNER TO @extowner@;
COMMENT ON VIEW syncstate.sync_overview IS 'Every key at a glance: what is to be done, what is being done, how far it is.';
COMMENT ON COLUMN syncstate.sync_overview.type_key IS 'The content type.';
COMMENT ON COLUMN syncstate.sync_overview.sync_status IS 'As in sync_state.';
COMMENT ON COLUMN syncstate.sync_overview.conflict_status IS 'As in sync_state.';
COMMENT ON COLUMN syncstate.sync_overview.action IS 'The decision on the stored hashes, as sync_state_action makes it.';
COMMENT ON COLUMN syncstate.sync_overview.detail IS 'The case behind the action.';
COMMENT ON COLUMN syncstate.sync_overview.last_sync_at IS 'When the last sync was recorded.';
COMMENT ON COLUMN syncstate.sync_overview.last_sync_age IS 'How long ago that was, in seconds.';
COMMENT ON COLUMN syncstate.sync_overview.run_owner IS 'Who runs the run in hand.';
COMMENT ON COLUMN syncstate.sync_overview.lease_expires_at IS 'Until when that run has proved to be alive.';
COMMENT ON COLUMN syncstate.sync_overview.step IS 'Number "step" of the checkpoint, if it has one.';
COMMENT ON COLUMN syncstate.sync_overview.total IS 'Number "total" of the checkpoint, if it has one.';
COMMENT ON COLUMN syncstate.sync_overview.percent IS 'step of total in percent, to one decimal place.';

CREATE VIEW syncstate.sync_summary WITH (security_invoker = true) AS
SELECT s.sync_status,
	pg_catalog.count(*) AS count,
	pg_catalog.min(s.last_sync_at) AS oldest_sync_at
FROM syncstate.sync_state s
GROUP BY s.sync_status;
ALTER VIEW syncstate.sync_summary OWNER TO @extowner@;
COMMENT ON VIEW syncstate.sync_summary IS 'How many keys have each status, and the oldest sync among them.';
COMMENT ON COLUMN syncstate.sync_summary.sync_status IS 'As in sync_state.';
COMMENT ON COLUMN syncstate.sync_summary.count IS 'How many keys have it.';
COMMENT ON COLUMN syncstate.sync_summary.oldest_sync_at IS 'The earliest last_sync_at among them; keys that were never synchronised do not count.';
