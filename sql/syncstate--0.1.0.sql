/*
 * syncstate 0.1.0: the install script.
 *
 * Tables, views, row types and internal functions live in the schema
 * syncstate; public functions in the target schema of CREATE EXTENSION.
 * Whatever somebody planted in the target schema must not be reached from
 * here, so every object, operator and cast is qualified and nothing is
 * created with OR REPLACE or IF NOT EXISTS.
 */
\echo Use "CREATE EXTENSION syncstate" to load this file. \quit

CREATE SCHEMA syncstate;
COMMENT ON SCHEMA syncstate IS
'Tables, views and row types of the extension syncstate; its public functions are in the schema that CREATE EXTENSION was given.';

/* ------------------------------------------------------------------------
 * sync_state: one row per content type
 * ------------------------------------------------------------------------ */

/*
 * What a status may be.  The server reads a CHECK anew for every statement, and
 * a list of texts takes it longer than all that the statement does; so the lists
 * are in C.
 */
CREATE FUNCTION syncstate.is_sync_status(sync_status pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_is_sync_status';
COMMENT ON FUNCTION syncstate.is_sync_status(pg_catalog.text) IS
'Internal: whether this is new, modified, conflict, in_sync, syncing or failed.';

CREATE FUNCTION syncstate.is_conflict_status(conflict_status pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_is_conflict_status';
COMMENT ON FUNCTION syncstate.is_conflict_status(pg_catalog.text) IS
'Internal: whether this is none, detected or resolved.';

/*
 * A checkpoint changes sync_progress, lease_expires_at and updated_at, none of
 * which any index contains; with the room that the fillfactor leaves it is a
 * heap-only update.  Keep it so: no index on these three.
 */
CREATE TABLE syncstate.sync_state (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	local_hash pg_catalog.text,
	remote_hash pg_catalog.text,
	last_synced_hash pg_catalog.text,
	last_sync_at pg_catalog.timestamptz,
	sync_status pg_catalog.text,
	conflict_status pg_catalog.text,
	sync_progress pg_catalog.jsonb,
	created_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	updated_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	last_synced_remote_hash pg_catalog.text,
	run_id pg_catalog.uuid,
	run_number pg_catalog.int4 NOT NULL DEFAULT 0,
	lease_expires_at pg_catalog.timestamptz,
	changed_xid pg_catalog.int8 NOT NULL,
	CONSTRAINT sync_state_pkey PRIMARY KEY (type_key),
	CONSTRAINT sync_state_type_key_length CHECK (
		pg_catalog.octet_length(type_key) OPERATOR(pg_catalog.>=) 1
		AND pg_catalog.octet_length(type_key) OPERATOR(pg_catalog.<=) 512),
	CONSTRAINT sync_state_sync_status_known CHECK (syncstate.is_sync_status(sync_status)),
	CONSTRAINT sync_state_conflict_status_known CHECK (syncstate.is_conflict_status(conflict_status)),
	CONSTRAINT sync_state_last_sync_at_finite CHECK (pg_catalog.isfinite(last_sync_at)),
	CONSTRAINT sync_state_created_at_finite CHECK (pg_catalog.isfinite(created_at)),
	CONSTRAINT sync_state_updated_at_finite CHECK (pg_catalog.isfinite(updated_at)),
	CONSTRAINT sync_state_run_id_only_while_syncing CHECK (
		run_id IS NULL OR (sync_status IS NOT NULL AND sync_status OPERATOR(pg_catalog.=) 'syncing'))
) WITH (fillfactor = 70);
ALTER TABLE syncstate.sync_state OWNER TO @extowner@;

CREATE INDEX sync_state_sync_status_idx ON syncstate.sync_state (sync_status);
CREATE INDEX sync_state_last_sync_at_idx ON syncstate.sync_state (last_sync_at);
CREATE INDEX sync_state_changed_xid_idx ON syncstate.sync_state (changed_xid, type_key);
SELECT pg_catalog.pg_extension_config_dump('syncstate.sync_state', '');

COMMENT ON TABLE syncstate.sync_state IS 'What is known of each content type: hashes of both sides, bases of the last sync, status, and the run in hand.';
COMMENT ON COLUMN syncstate.sync_state.type_key IS 'The content type (or any unit of synchronisation), 1 to 512 bytes.';
COMMENT ON COLUMN syncstate.sync_state.local_hash IS 'Latest known hash of our side; NULL: absent, or never seen.';
COMMENT ON COLUMN syncstate.sync_state.remote_hash IS 'Latest known hash of the other side; NULL: absent, or never seen.';
COMMENT ON COLUMN syncstate.sync_state.last_synced_hash IS 'Base of our side: local_hash as of the last sync.';
COMMENT ON COLUMN syncstate.sync_state.last_sync_at IS 'When the last sync was recorded. Never synced means: this and both bases are NULL.';
COMMENT ON COLUMN syncstate.sync_state.sync_status IS 'new, modified, conflict, in_sync, syncing, failed, or NULL (not told).';
COMMENT ON COLUMN syncstate.sync_state.conflict_status IS 'none, detected, resolved, or NULL (not told).';
COMMENT ON COLUMN syncstate.sync_state.sync_progress IS 'Checkpoint of the run in hand, or of the one that stopped; its shape is the worker''s own.';
COMMENT ON COLUMN syncstate.sync_state.created_at IS 'When the row was made; an update keeps it.';
COMMENT ON COLUMN syncstate.sync_state.updated_at IS 'Kept by the trigger; grows strictly with every update of the row, even if the clock steps back.';
COMMENT ON COLUMN syncstate.sync_state.last_synced_remote_hash IS 'Base of the other side: remote_hash as of the last sync.';
COMMENT ON COLUMN syncstate.sync_state.run_id IS 'Fencing token of the run in hand; NULL unless sync_status is syncing.';
COMMENT ON COLUMN syncstate.sync_state.run_number IS 'Number of the latest run of this key, 0 before the first.';
COMMENT ON COLUMN syncstate.sync_state.lease_expires_at IS 'Until when the run in hand has proved to be alive.';
COMMENT ON COLUMN syncstate.sync_state.changed_xid IS 'Top-level 64-bit transaction id of the last change that a change feed reports; set by the trigger. Checkpoints do not count as changes.';
COMMENT ON INDEX syncstate.sync_state_pkey IS 'One row per content type; in collation C, so that every batch locks rows in the same order.';
COMMENT ON INDEX syncstate.sync_state_sync_status_idx IS 'Finds interrupted runs and work to claim.';
COMMENT ON INDEX syncstate.sync_state_last_sync_at_idx IS 'Finds the keys that were not synchronised for longest.';
COMMENT ON INDEX syncstate.sync_state_changed_xid_idx IS 'The order of the change feed.';

/* ------------------------------------------------------------------------
 * sync_run: history, one row per run
 * ------------------------------------------------------------------------ */
CREATE TABLE syncstate.sync_run (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	run_number pg_catalog.int4 NOT NULL,
	run_id pg_catalog.uuid NOT NULL,
	owner pg_catalog.text DEFAULT pg_catalog.current_setting('application_name'),
	backend_pid pg_catalog.int4,
	started_at pg_catalog.timestamptz NOT NULL,
	finished_at pg_catalog.timestamptz,
	outcome pg_catalog.text,
	error pg_catalog.text,
	sync_progress pg_catalog.jsonb,
	content_moved pg_catalog.bool,
	local_hash pg_catalog.text,
	remote_hash pg_catalog.text,
	marked_local_hash pg_catalog.text,
	marked_remote_hash pg_catalog.text,
	CONSTRAINT sync_run_pkey PRIMARY KEY (type_key, run_number),
	CONSTRAINT sync_run_outcome_known CHECK (
		outcome OPERATOR(pg_catalog.=) ANY (ARRAY['synced', 'failed', 'rolled_back', 'superseded']::pg_catalog.text[])),
	CONSTRAINT sync_run_finished_with_outcome CHECK (
		(finished_at IS NULL) OPERATOR(pg_catalog.=) (outcome IS NULL))
) WITH (fillfactor = 80);
ALTER TABLE syncstate.sync_run OWNER TO @extowner@;

CREATE INDEX sync_run_open_idx ON syncstate.sync_run (type_key) WHERE outcome IS NULL;
SELECT pg_catalog.pg_extension_config_dump('syncstate.sync_run', '');

COMMENT ON TABLE syncstate.sync_run IS 'History of runs, one row each; sync_state_forget removes a key''s rows.';
COMMENT ON COLUMN syncstate.sync_run.type_key IS 'The content type that the run synchronised.';
COMMENT ON COLUMN syncstate.sync_run.run_number IS 'Counts the runs of the key from 1.';
COMMENT ON COLUMN syncstate.sync_run.run_id IS 'The run''s fencing token.';
COMMENT ON COLUMN syncstate.sync_run.owner IS 'Who ran it, as the caller said; else its application_name.';
COMMENT ON COLUMN syncstate.sync_run.backend_pid IS 'Server process that began it. For people to read; nothing is decided by it.';
COMMENT ON COLUMN syncstate.sync_run.started_at IS 'When sync_state_begin was called.';
COMMENT ON COLUMN syncstate.sync_run.finished_at IS 'When it ended, or was found to have been superseded.';
COMMENT ON COLUMN syncstate.sync_run.outcome IS 'synced, failed, rolled_back, superseded; NULL: not finished.';
COMMENT ON COLUMN syncstate.sync_run.error IS 'What sync_state_fail or sync_state_rollback was told.';
COMMENT ON COLUMN syncstate.sync_run.sync_progress IS 'The checkpoint it started from; NULL: from the beginning.';
COMMENT ON COLUMN syncstate.sync_run.content_moved IS 'True: a hash differs from what the run that left that checkpoint had seen, so offsets in it may mislead. NULL: that run is not in the history.';
COMMENT ON COLUMN syncstate.sync_run.local_hash IS 'Hash of our side as known when it began.';
COMMENT ON COLUMN syncstate.sync_run.remote_hash IS 'Hash of the other side as known when it began.';
COMMENT ON COLUMN syncstate.sync_run.marked_local_hash IS 'Hash of our side that it marked as synced; lets a lost acknowledgement be asked for again.';
COMMENT ON COLUMN syncstate.sync_run.marked_remote_hash IS 'Hash of the other side that it marked as synced.';
COMMENT ON INDEX syncstate.sync_run_pkey IS 'History of a key in order.';
COMMENT ON INDEX syncstate.sync_run_open_idx IS 'Finds a key''s unfinished run without reading its history.';

/* ------------------------------------------------------------------------
 * sync_conflict: log of conflicts
 * ------------------------------------------------------------------------ */
CREATE TABLE syncstate.sync_conflict (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	conflict_number pg_catalog.int4 NOT NULL,
	kind pg_catalog.text NOT NULL,
	base_local_hash pg_catalog.text,
	base_remote_hash pg_catalog.text,
	local_hash pg_catalog.text,
	remote_hash pg_catalog.text,
	detected_at pg_catalog.timestamptz NOT NULL,
	resolved_at pg_catalog.timestamptz,
	resolution pg_catalog.text,
	resolved_hash pg_catalog.text,
	resolved_by pg_catalog.text,
	CONSTRAINT sync_conflict_pkey PRIMARY KEY (type_key, conflict_number),
	CONSTRAINT sync_conflict_kind_known CHECK (
		kind OPERATOR(pg_catalog.=) ANY (ARRAY['create/create', 'edit/edit', 'edit/delete', 'delete/edit']::pg_catalog.text[])),
	CONSTRAINT sync_conflict_resolution_known CHECK (
		resolution OPERATOR(pg_catalog.=) ANY (ARRAY['local', 'remote', 'merged', 'vanished', 'synced']::pg_catalog.text[])),
	CONSTRAINT sync_conflict_resolved_with_resolution CHECK (
		(resolved_at IS NULL) OPERATOR(pg_catalog.=) (resolution IS NULL))
);
ALTER TABLE syncstate.sync_conflict OWNER TO @extowner@;

CREATE UNIQUE INDEX sync_conflict_open_idx ON syncstate.sync_conflict (type_key) WHERE resolved_at IS NULL;
SELECT pg_catalog.pg_extension_config_dump('syncstate.sync_conflict', '');

COMMENT ON TABLE syncstate.sync_conflict IS 'Log of conflicts; at most one of a key is open.';
COMMENT ON COLUMN syncstate.sync_conflict.type_key IS 'The content type.';
COMMENT ON COLUMN syncstate.sync_conflict.conflict_number IS 'Counts the conflicts of the key from 1.';
COMMENT ON COLUMN syncstate.sync_conflict.kind IS 'What our side did / what the other side did: create/create, edit/edit, edit/delete, delete/edit.';
COMMENT ON COLUMN syncstate.sync_conflict.base_local_hash IS 'Base of our side when it was detected.';
COMMENT ON COLUMN syncstate.sync_conflict.base_remote_hash IS 'Base of the other side when it was detected.';
COMMENT ON COLUMN syncstate.sync_conflict.local_hash IS 'Hash of our side when it was detected; NULL: absent.';
COMMENT ON COLUMN syncstate.sync_conflict.remote_hash IS 'Hash of the other side when it was detected; NULL: absent.';
COMMENT ON COLUMN syncstate.sync_conflict.detected_at IS 'When it was detected.';
COMMENT ON COLUMN syncstate.sync_conflict.resolved_at IS 'When it ended; NULL: open.';
COMMENT ON COLUMN syncstate.sync_conflict.resolution IS 'local, remote, merged: how it was resolved; vanished: the sides moved on; synced: a sync settled it.';
COMMENT ON COLUMN syncstate.sync_conflict.resolved_hash IS 'The hash that was decided for; NULL: deletion, or not resolved by anybody.';
COMMENT ON COLUMN syncstate.sync_conflict.resolved_by IS 'The role under which it ended.';
COMMENT ON INDEX syncstate.sync_conflict_pkey IS 'Conflicts of a key in order.';
COMMENT ON INDEX syncstate.sync_conflict_open_idx IS 'At most one open conflict per key.';

/* ------------------------------------------------------------------------
 * sync_tombstone and sync_feed: for the change feed.  Neither is dumped: a
 * restored database numbers its transactions anew, so that old positions in
 * the feed mean nothing there.
 * ------------------------------------------------------------------------ */
CREATE TABLE syncstate.sync_tombstone (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	changed_xid pg_catalog.int8 NOT NULL,
	deleted_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT sync_tombstone_pkey PRIMARY KEY (type_key)
);
ALTER TABLE syncstate.sync_tombstone OWNER TO @extowner@;

CREATE INDEX sync_tombstone_changed_xid_idx ON syncstate.sync_tombstone (changed_xid, type_key);

COMMENT ON TABLE syncstate.sync_tombstone IS 'Keys that were deleted, so that a change feed can tell of it.';
COMMENT ON COLUMN syncstate.sync_tombstone.type_key IS 'The key that was deleted.';
COMMENT ON COLUMN syncstate.sync_tombstone.changed_xid IS 'Top-level 64-bit transaction id of the deletion.';
COMMENT ON COLUMN syncstate.sync_tombstone.deleted_at IS 'When it was deleted.';
COMMENT ON INDEX syncstate.sync_tombstone_pkey IS 'One tombstone per key: the latest.';
COMMENT ON INDEX syncstate.sync_tombstone_changed_xid_idx IS 'The order of the change feed.';

CREATE TABLE syncstate.sync_feed (
	singleton pg_catalog.bool NOT NULL DEFAULT true,
	incarnation pg_catalog.uuid NOT NULL,
	pruned_xid pg_catalog.int8 NOT NULL,
	CONSTRAINT sync_feed_pkey PRIMARY KEY (singleton),
	CONSTRAINT sync_feed_one_row CHECK (singleton)
);
INSERT INTO syncstate.sync_feed (incarnation, pruned_xid) VALUES (pg_catalog.gen_random_uuid(), 0);
ALTER TABLE syncstate.sync_feed OWNER TO @extowner@;

COMMENT ON TABLE syncstate.sync_feed IS 'One row: which life of these tables this is, and from where on the feed is whole.';
COMMENT ON COLUMN syncstate.sync_feed.singleton IS 'Always true: there is one row.';
COMMENT ON COLUMN syncstate.sync_feed.incarnation IS 'Made anew by every CREATE EXTENSION, a restore''s too.';
COMMENT ON COLUMN syncstate.sync_feed.pruned_xid IS 'Tombstones up to this transaction id may have been removed.';
COMMENT ON INDEX syncstate.sync_feed_pkey IS 'Allows one row.';

/* ------------------------------------------------------------------------
 * Row types of results
 * ------------------------------------------------------------------------ */
CREATE TYPE syncstate.sync_delta AS (
	type_key pg_catalog.text,
	action pg_catalog.text,
	detail pg_catalog.text,
	local_hash pg_catalog.text,
	remote_hash pg_catalog.text,
	last_synced_hash pg_catalog.text,
	last_synced_remote_hash pg_catalog.text,
	sync_status pg_catalog.text,
	conflict_status pg_catalog.text,
	run_id pg_catalog.uuid,
	lease_expires_at pg_catalog.timestamptz
);
COMMENT ON TYPE syncstate.sync_delta IS 'What is to be done about a key, and what it was decided from.';

CREATE TYPE syncstate.sync_field_change AS (
	field pg_catalog.text,
	before pg_catalog.text,
	after pg_catalog.text
);
COMMENT ON TYPE syncstate.sync_field_change IS 'A field in which two states differ.';

/* ------------------------------------------------------------------------
 * Internal functions: for the extension's own statements and triggers
 * ------------------------------------------------------------------------ */
CREATE FUNCTION syncstate.status_after(local_hash pg_catalog.text, remote_hash pg_catalog.text, last_synced_hash pg_catalog.text, last_synced_remote_hash pg_catalog.text, synced pg_catalog.bool)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_status_after';
COMMENT ON FUNCTION syncstate.status_after(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'Internal: the sync_status that the decision on these hashes leads to.';

CREATE FUNCTION syncstate.settles(local_hash pg_catalog.text, remote_hash pg_catalog.text, last_synced_hash pg_catalog.text, last_synced_remote_hash pg_catalog.text, synced pg_catalog.bool)
RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_settles';
COMMENT ON FUNCTION syncstate.settles(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'Internal: whether both sides agree although the bases say otherwise, so that the bases must move.';

CREATE FUNCTION syncstate.conflict_kind(local_hash pg_catalog.text, remote_hash pg_catalog.text, last_synced_hash pg_catalog.text, last_synced_remote_hash pg_catalog.text, synced pg_catalog.bool)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_conflict_kind';
COMMENT ON FUNCTION syncstate.conflict_kind(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'Internal: the kind under which a conflict on these hashes is logged; NULL if they do not conflict.';

CREATE FUNCTION syncstate.kept_hash(stored pg_catalog.text, seen pg_catalog.text, marked pg_catalog.text)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_kept_hash';
COMMENT ON FUNCTION syncstate.kept_hash(pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Internal: the hash that stays when a run marks one: the stored one if an observer recorded it during the run, else the marked one.';

CREATE FUNCTION syncstate.touch()
RETURNS pg_catalog.trigger LANGUAGE c
AS 'MODULE_PATHNAME', 'syncstate_touch';
COMMENT ON FUNCTION syncstate.touch() IS
'Row trigger of sync_state: keeps updated_at, created_at, changed_xid, the bases of a recorded sync, and the fence.';

CREATE FUNCTION syncstate.entomb()
RETURNS pg_catalog.trigger LANGUAGE c
AS 'MODULE_PATHNAME', 'syncstate_entomb';
COMMENT ON FUNCTION syncstate.entomb() IS
'Row trigger of sync_state: a deleted key leaves a tombstone and takes its runs and conflicts with it.';

CREATE FUNCTION syncstate.refuse_truncate()
RETURNS pg_catalog.trigger LANGUAGE c
AS 'MODULE_PATHNAME', 'syncstate_refuse_truncate';
COMMENT ON FUNCTION syncstate.refuse_truncate() IS
'Statement trigger of sync_state: TRUNCATE would leave no tombstones, so it is refused.';

/*
 * Triggers fire in the order of their names, bytewise; "~" sorts behind every
 * letter, so that ours sees what other BEFORE triggers made of the row.
 */
CREATE TRIGGER "~syncstate_touch" BEFORE INSERT OR UPDATE ON syncstate.sync_state
FOR EACH ROW EXECUTE FUNCTION syncstate.touch();
CREATE TRIGGER "~syncstate_entomb" AFTER DELETE ON syncstate.sync_state
FOR EACH ROW EXECUTE FUNCTION syncstate.entomb();
CREATE TRIGGER "~syncstate_refuse_truncate" BEFORE TRUNCATE ON syncstate.sync_state
FOR EACH STATEMENT EXECUTE FUNCTION syncstate.refuse_truncate();
ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_touch";
ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_entomb";
ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_refuse_truncate";
COMMENT ON TRIGGER "~syncstate_touch" ON syncstate.sync_state IS 'Keeps what no writer should have to think of; fires last.';
COMMENT ON TRIGGER "~syncstate_entomb" ON syncstate.sync_state IS 'Leaves a tombstone for the change feed.';
COMMENT ON TRIGGER "~syncstate_refuse_truncate" ON syncstate.sync_state IS 'Deletions must leave tombstones.';

/* ------------------------------------------------------------------------
 * Deciding
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_state_action(local_hash pg_catalog.text, remote_hash pg_catalog.text, last_synced_hash pg_catalog.text, last_synced_remote_hash pg_catalog.text, synced pg_catalog.bool DEFAULT true)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_state_action';
COMMENT ON FUNCTION @extschema@.sync_state_action(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'What is to be done: INITIAL_SYNC, PUSH, PULL, CONFLICT or NO_CHANGE. NULL hashes mean absent. Touches no table. Errors: 22004 when synced is NULL.';

CREATE FUNCTION @extschema@.sync_state_detail(local_hash pg_catalog.text, remote_hash pg_catalog.text, last_synced_hash pg_catalog.text, last_synced_remote_hash pg_catalog.text, synced pg_catalog.bool DEFAULT true)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_state_detail';
COMMENT ON FUNCTION @extschema@.sync_state_detail(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'The case behind the action: empty, push, pull, adopt, conflict; unchanged, converged, both_deleted; create, edit, delete; edit/edit, edit/delete, delete/edit. Touches no table. Errors: 22004 when synced is NULL.';

CREATE FUNCTION @extschema@.sync_state_delta(type_key pg_catalog.text, local_hash pg_catalog.text DEFAULT NULL, remote_hash pg_catalog.text DEFAULT NULL, local_absent pg_catalog.bool DEFAULT false, remote_absent pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.jsonb LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_state_delta';
COMMENT ON FUNCTION @extschema@.sync_state_delta(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.bool) IS
'Decides what is to be done about a key. A hash given is what the caller has just observed, NULL means not observed (the stored one counts), ..._absent that the side is known to be gone. Unknown key: as never synced. Writes and locks nothing. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_plan(prefix pg_catalog.text DEFAULT NULL)
RETURNS SETOF syncstate.sync_delta LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.type_key,
		@extschema@.sync_state_action(s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash,
			s.last_sync_at IS NOT NULL OR s.last_synced_hash IS NOT NULL OR s.last_synced_remote_hash IS NOT NULL),
		@extschema@.sync_state_detail(s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash,
			s.last_sync_at IS NOT NULL OR s.last_synced_hash IS NOT NULL OR s.last_synced_remote_hash IS NOT NULL),
		s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash,
		s.sync_status, s.conflict_status, s.run_id, s.lease_expires_at
	FROM syncstate.sync_state s
	WHERE $1 IS NULL OR s.type_key OPERATOR(pg_catalog.^@) $1;
END;
COMMENT ON FUNCTION @extschema@.sync_state_plan(pg_catalog.text) IS
'The decision on every stored key, or those that start with prefix (no wildcards): the dry run. Writes and locks nothing.';

CREATE FUNCTION @extschema@.sync_state_plan_for(type_keys pg_catalog.text[], local_hashes pg_catalog.text[], remote_hashes pg_catalog.text[], complete pg_catalog.bool DEFAULT false)
RETURNS SETOF syncstate.sync_delta LANGUAGE c STABLE PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'sync_state_plan_for';
COMMENT ON FUNCTION @extschema@.sync_state_plan_for(pg_catalog.text[], pg_catalog.text[], pg_catalog.text[], pg_catalog.bool) IS
'The decision on listings of both sides, in key order: a NULL element means absent, a NULL array that this side was not observed; complete: stored keys that are not listed count as absent on the observed sides. Writes and locks nothing. Errors: 22004, 22023.';

/* ------------------------------------------------------------------------
 * Recording
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_state_update(type_key pg_catalog.text, state pg_catalog.jsonb)
RETURNS syncstate.sync_state LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_update';
COMMENT ON FUNCTION @extschema@.sync_state_update(pg_catalog.text, pg_catalog.jsonb) IS
'Raw upsert of a partial state: a key present is set (JSON null sets NULL), a missing one kept. Locks the row. Errors: 22004, 22023 (unknown key, wrong type), 22007 and 22008 (not a time), 23514 (value not allowed), 55P03 (a live run holds the key).';

CREATE FUNCTION @extschema@.sync_state_update_many(states pg_catalog.jsonb)
RETURNS pg_catalog.int4 LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_update_many';
COMMENT ON FUNCTION @extschema@.sync_state_update_many(pg_catalog.jsonb) IS
'sync_state_update for an array of objects with type_key, or an object of objects keyed by type_key; returns how many. All or nothing; locks rows in key order. Errors: as sync_state_update; 22023 for a key given twice.';

CREATE FUNCTION @extschema@.sync_state_observe(type_key pg_catalog.text, local_hash pg_catalog.text DEFAULT NULL, remote_hash pg_catalog.text DEFAULT NULL, local_absent pg_catalog.bool DEFAULT false, remote_absent pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.jsonb LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_observe';
COMMENT ON FUNCTION @extschema@.sync_state_observe(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.bool) IS
'Records what a change detector saw, derives the status, logs conflicts; returns the delta after it. Arguments as sync_state_delta. Locks the row. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_observe_many(type_keys pg_catalog.text[], local_hashes pg_catalog.text[], remote_hashes pg_catalog.text[], complete pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.int4 LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_observe_many';
COMMENT ON FUNCTION @extschema@.sync_state_observe_many(pg_catalog.text[], pg_catalog.text[], pg_catalog.text[], pg_catalog.bool) IS
'sync_state_observe for listings; arguments as sync_state_plan_for; returns how many rows changed. Locks rows in key order. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_mark_synced(type_key pg_catalog.text, local_hash pg_catalog.text, remote_hash pg_catalog.text, run_id pg_catalog.uuid DEFAULT NULL)
RETURNS syncstate.sync_state LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_mark_synced';
COMMENT ON FUNCTION @extschema@.sync_state_mark_synced(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.uuid) IS
'Records a sync: the bases become these hashes (NULL: absent), the run ends as synced. With a run, a hash observed during it is kept and the status tells of it. Locks the row. Errors: 22004, 22023, 55000 (the run was superseded), 55P03 (a live run holds the key).';

CREATE FUNCTION @extschema@.sync_state_mark_synced_many(type_keys pg_catalog.text[], local_hashes pg_catalog.text[], remote_hashes pg_catalog.text[], run_ids pg_catalog.uuid[] DEFAULT NULL)
RETURNS pg_catalog.int4 LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_mark_synced_many';
COMMENT ON FUNCTION @extschema@.sync_state_mark_synced_many(pg_catalog.text[], pg_catalog.text[], pg_catalog.text[], pg_catalog.uuid[]) IS
'sync_state_mark_synced for many keys; returns how many. All or nothing; locks rows in key order. Errors: as sync_state_mark_synced; 22023 for a key given twice or arrays of unequal length.';

CREATE FUNCTION @extschema@.sync_state_get(type_key pg_catalog.text)
RETURNS SETOF syncstate.sync_state LANGUAGE c STABLE PARALLEL SAFE ROWS 1
AS 'MODULE_PATHNAME', 'sync_state_get';
COMMENT ON FUNCTION @extschema@.sync_state_get(pg_catalog.text) IS
'The stored state of a key; no row when unknown. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_list(sync_status pg_catalog.text DEFAULT NULL, prefix pg_catalog.text DEFAULT NULL)
RETURNS SETOF syncstate.sync_state LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.*
	FROM syncstate.sync_state s
	WHERE ($1 IS NULL OR s.sync_status OPERATOR(pg_catalog.=) $1)
		AND ($2 IS NULL OR s.type_key OPERATOR(pg_catalog.^@) $2);
END;
COMMENT ON FUNCTION @extschema@.sync_state_list(pg_catalog.text, pg_catalog.text) IS
'Stored states, of one status and/or with keys that start with prefix (no wildcards). Inlined into the caller''s query, so that its filters reach the indexes.';

CREATE FUNCTION @extschema@.sync_state_compare(before pg_catalog.jsonb, after pg_catalog.jsonb)
RETURNS SETOF syncstate.sync_field_change LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'sync_state_compare';
COMMENT ON FUNCTION @extschema@.sync_state_compare(pg_catalog.jsonb, pg_catalog.jsonb) IS
'The fields in which two states, as JSON objects, differ; updated_at and changed_xid are left out. Touches no table. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_reset(type_key pg_catalog.text, force pg_catalog.bool DEFAULT false)
RETURNS syncstate.sync_state LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_reset';
COMMENT ON FUNCTION @extschema@.sync_state_reset(pg_catalog.text, pg_catalog.bool) IS
'Forgets bases, time and progress and revokes a run, so that the next delta is INITIAL_SYNC. Locks the row. Errors: 22004, 22023, P0002 (unknown key), 55P03 (a live run holds the key and force is false).';

CREATE FUNCTION @extschema@.sync_state_forget(type_key pg_catalog.text, force pg_catalog.bool DEFAULT false)
RETURNS pg_catalog.bool LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_forget';
COMMENT ON FUNCTION @extschema@.sync_state_forget(pg_catalog.text, pg_catalog.bool) IS
'Deletes a key with its runs and conflicts and leaves a tombstone; false when unknown. Locks the row. Errors: 22004, 22023, 55P03 (a live run holds the key and force is false).';

CREATE FUNCTION @extschema@.sync_state_version()
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_state_version';
COMMENT ON FUNCTION @extschema@.sync_state_version() IS
'Version of the library that is loaded.';

/* ------------------------------------------------------------------------
 * What has changed
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_state_changed_since(since pg_catalog.timestamptz)
RETURNS SETOF pg_catalog.text LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_state_changed_since';
COMMENT ON FUNCTION @extschema@.sync_state_changed_since(pg_catalog.timestamptz) IS
'Keys with updated_at later than since, in key order. A sequential scan; and, as everything that goes by clock, blind to a transaction that commits late. Errors: 22004.';

/* ------------------------------------------------------------------------
 * Runs
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_state_begin(type_key pg_catalog.text, lease interval DEFAULT NULL, owner pg_catalog.text DEFAULT NULL)
RETURNS syncstate.sync_run LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_begin';
COMMENT ON FUNCTION @extschema@.sync_state_begin(pg_catalog.text, interval, pg_catalog.text) IS
'Takes a key for a new run, with a lease (NULL: syncstate.lease) and a fencing token, run_id. Commit before the work. Locks the row. Errors: 22004, 22023 (lease not more than 0 and at most 24 days), 55P03 (a live run holds the key).';

CREATE FUNCTION @extschema@.sync_state_try_begin(type_key pg_catalog.text, lease interval DEFAULT NULL, owner pg_catalog.text DEFAULT NULL)
RETURNS SETOF syncstate.sync_run LANGUAGE c VOLATILE ROWS 1
AS 'MODULE_PATHNAME', 'sync_state_try_begin';
COMMENT ON FUNCTION @extschema@.sync_state_try_begin(pg_catalog.text, interval, pg_catalog.text) IS
'sync_state_begin that returns no row where a live run holds the key; a row that is visibly live is neither waited for nor locked. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_claim(max_keys pg_catalog.int4 DEFAULT 1, prefix pg_catalog.text DEFAULT NULL, lease interval DEFAULT NULL, owner pg_catalog.text DEFAULT NULL, retry_after interval DEFAULT '5 minutes')
RETURNS SETOF syncstate.sync_run LANGUAGE c VOLATILE ROWS 1
AS 'MODULE_PATHNAME', 'sync_state_claim';
COMMENT ON FUNCTION @extschema@.sync_state_claim(pg_catalog.int4, pg_catalog.text, interval, pg_catalog.text, interval) IS
'Begins runs on up to max_keys keys that need one (new, modified, interrupted, or failed for longer than retry_after), in key order, skipping what others have locked. Never a conflict. Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.sync_state_resume(type_key pg_catalog.text, lease interval DEFAULT NULL, owner pg_catalog.text DEFAULT NULL)
RETURNS syncstate.sync_run LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_resume';
COMMENT ON FUNCTION @extschema@.sync_state_resume(pg_catalog.text, interval, pg_catalog.text) IS
'sync_state_begin that insists on an interrupted or failed run with a checkpoint to go on from. Locks the row. Errors: as sync_state_begin; P0002 when there is nothing to resume.';

CREATE FUNCTION @extschema@.sync_state_checkpoint(type_key pg_catalog.text, run_id pg_catalog.uuid, sync_progress pg_catalog.jsonb, lease interval DEFAULT NULL)
RETURNS pg_catalog.timestamptz LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_checkpoint';
COMMENT ON FUNCTION @extschema@.sync_state_checkpoint(pg_catalog.text, pg_catalog.uuid, pg_catalog.jsonb, interval) IS
'Stores progress and renews the lease (never shortens it); returns when it expires. Call it in the transaction that writes the data. NULL progress: a heartbeat. Locks the row. Errors: 22004, 22023, P0002 (unknown key), 55000 (the run was superseded).';

CREATE FUNCTION @extschema@.sync_state_fail(type_key pg_catalog.text, run_id pg_catalog.uuid DEFAULT NULL, error pg_catalog.text DEFAULT NULL, force pg_catalog.bool DEFAULT false)
RETURNS syncstate.sync_state LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_fail';
COMMENT ON FUNCTION @extschema@.sync_state_fail(pg_catalog.text, pg_catalog.uuid, pg_catalog.text, pg_catalog.bool) IS
'Ends a run as failed and keeps its progress: the next begin goes on there. Locks the row. Errors: 22004, 22023, P0002 (unknown key), 55000 (the run was superseded), 55P03 (no run_id, a live run holds the key and force is false).';

CREATE FUNCTION @extschema@.sync_state_rollback(type_key pg_catalog.text, run_id pg_catalog.uuid DEFAULT NULL, error pg_catalog.text DEFAULT NULL, force pg_catalog.bool DEFAULT false)
RETURNS syncstate.sync_state LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_state_rollback';
COMMENT ON FUNCTION @extschema@.sync_state_rollback(pg_catalog.text, pg_catalog.uuid, pg_catalog.text, pg_catalog.bool) IS
'Ends a run as failed and discards its progress; the bases stay. Locks the row. Errors: as sync_state_fail, but an unknown key is created.';

CREATE FUNCTION @extschema@.sync_state_detect_interrupted(as_of pg_catalog.timestamptz DEFAULT pg_catalog.clock_timestamp())
RETURNS SETOF pg_catalog.text LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'sync_state_detect_interrupted';
COMMENT ON FUNCTION @extschema@.sync_state_detect_interrupted(pg_catalog.timestamptz) IS
'Keys that are syncing with no lease, or with one that ended before as_of, in key order. Writes and locks nothing, works on a standby. Errors: 22004.';

/* ------------------------------------------------------------------------
 * For people to look at
 * ------------------------------------------------------------------------ */
CREATE VIEW syncstate.sync_interrupted WITH (security_invoker = true) AS
SELECT s.type_key,
	r.owner,
	CASE WHEN s.lease_expires_at IS NULL THEN 'no_lease' ELSE 'lease_expired' END AS reason,
	COALESCE(s.lease_expires_at, s.updated_at) AS since,
	s.sync_progress,
	s.run_id,
	s.run_number
FROM syncstate.sync_state s
LEFT JOIN syncstate.sync_run r
	ON r.type_key OPERATOR(pg_catalog.=) s.type_key
	AND r.run_number OPERATOR(pg_catalog.=) s.run_number
	AND r.run_id OPERATOR(pg_catalog.=) s.run_id
WHERE s.sync_status OPERATOR(pg_catalog.=) 'syncing'
	AND (s.lease_expires_at IS NULL OR s.lease_expires_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp());
ALTER VIEW syncstate.sync_interrupted OWNER TO @extowner@;
COMMENT ON VIEW syncstate.sync_interrupted IS 'Runs that stopped without an end: the keys of sync_state_detect_interrupted(), with owner, reason, since when, and checkpoint.';
COMMENT ON COLUMN syncstate.sync_interrupted.type_key IS 'The content type.';
COMMENT ON COLUMN syncstate.sync_interrupted.owner IS 'Who ran it.';
COMMENT ON COLUMN syncstate.sync_interrupted.reason IS 'no_lease: set to syncing by a plain update, nothing proves that it lives; lease_expired: it proved to be alive until since.';
COMMENT ON COLUMN syncstate.sync_interrupted.since IS 'End of the lease, or the last update of a row without one.';
COMMENT ON COLUMN syncstate.sync_interrupted.sync_progress IS 'The checkpoint that the next run goes on from.';
COMMENT ON COLUMN syncstate.sync_interrupted.run_id IS 'Token of the run; still valid until somebody takes the key over.';
COMMENT ON COLUMN syncstate.sync_interrupted.run_number IS 'Number of the run.';

/* Last, so that the script itself could still create things in it. */
ALTER SCHEMA syncstate OWNER TO @extowner@;
