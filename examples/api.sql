/*
 * A schema `api` on top of syncstate, for tools that make an HTTP interface out of
 * a schema: PostgREST (REST), PostGraphile and pg_graphql (GraphQL).  doc/api.md
 * says how each of them is set up, and what was tried.
 *
 *	psql -X -1 -v ON_ERROR_STOP=1 -d DATABASE -f examples/api.sql
 *
 * Why a schema of its own.  Such a tool shows what is in the schemas it is given.
 * Of an extension, PostGraphile shows nothing, and PostgREST all, with functions that
 * are for an administrator.  What is here is chosen, belongs to you, and stays as it
 * is when the extension gets another version.
 *
 * How things are made here, and why.
 *
 *	- Views are security_invoker and functions SECURITY INVOKER: the privileges and
 *	  row security policies of who asks hold.
 *	- What only reads is STABLE, so that it is a GET or a query; the rest is VOLATILE,
 *	  a POST or a mutation.
 *	- A result is a scalar, an array, jsonb, or a row of a view; pg_graphql knows no
 *	  other rows.
 *	- Types are those that JSON and GraphQL have: seconds in place of intervals,
 *	  integer and float8 in place of bigint and numeric, which become strings.
 *	- Bodies are BEGIN ATOMIC: names are looked up once, here, and never by the
 *	  search_path of who calls.
 *	- The lines of a comment that begin with @ are for PostGraphile, and
 *	  @pg_graphql for pg_graphql.
 *
 * Left out on purpose, as being for an administrator: `force`, reset, forget, prune,
 * repair, import, update, sources.
 *
 * Run it once, as the owner of the extension, who needs CREATE on the database and
 * nothing else.  It replaces nothing: where there is a schema `api` already, it fails
 * and leaves all as it was.  It holds no data, so that it can be made anew after
 * DROP SCHEMA api, api_internal CASCADE.
 *
 * Two roles must exist: one for who reads, one for who reads and works.  Other names
 * are given by -v reader=NAME -v worker=NAME.
 */
\if :{?reader}
\else
\set reader api_reader
\endif
\if :{?worker}
\else
\set worker api_worker
\endif

/* The functions of the extension may be in any schema. */
SELECT n.nspname AS extension_schema
FROM pg_catalog.pg_extension e
INNER JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
WHERE e.extname OPERATOR(pg_catalog.=) 'syncstate'
\gset

CREATE SCHEMA api;
COMMENT ON SCHEMA api IS 'What is synchronised, what has changed, and who works on it. @graphql({"inflect_names": true})';

/* The tools are not told of this one. */
CREATE SCHEMA api_internal;
COMMENT ON SCHEMA api_internal IS 'What the functions of the schema api use.';

/* ------------------------------------------------------------------------
 * Views
 * ------------------------------------------------------------------------ */

/* The columns of a view, in order, of the row s, r or d. */
\set state_columns 's.type_key, s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash, s.last_sync_at, s.sync_status, s.conflict_status, s.sync_progress, s.run_id, s.run_number, s.lease_expires_at, s.created_at, s.updated_at'
\set run_columns 'r.type_key, r.run_number, r.run_id, r.owner, r.started_at, r.finished_at, r.outcome, r.error, r.sync_progress, r.content_moved, r.local_hash, r.remote_hash'
\set delta_columns 'd.type_key, d.action, d.detail, d.local_hash, d.remote_hash, d.last_synced_hash, d.last_synced_remote_hash'

CREATE VIEW api.sync_state WITH (security_invoker = true) AS
SELECT :state_columns
FROM syncstate.sync_state s;
COMMENT ON VIEW api.sync_state IS
'@primaryKey type_key
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["type_key"]})
What is known of each key: hashes of both sides, bases of the last sync, status, and the run in hand.';

CREATE VIEW api.sync_overview WITH (security_invoker = true) AS
SELECT o.type_key,
	o.sync_status,
	o.conflict_status,
	o.action,
	o.detail,
	o.last_sync_at,
	o.last_sync_age AS last_sync_age_seconds,
	o.run_owner,
	o.lease_expires_at,
	/* What is larger counts nothing, and might not fit. */
	CASE WHEN pg_catalog.abs(o.step) OPERATOR(pg_catalog.<=) 1e15 THEN o.step::pg_catalog.float8 END AS step,
	CASE WHEN pg_catalog.abs(o.total) OPERATOR(pg_catalog.<=) 1e15 THEN o.total::pg_catalog.float8 END AS total,
	o.percent::pg_catalog.float8 AS percent
FROM syncstate.sync_overview o;
COMMENT ON VIEW api.sync_overview IS
'@primaryKey type_key
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["type_key"]})
Every key at a glance: what is to be done, what is being done, how far it is.';

CREATE VIEW api.sync_summary WITH (security_invoker = true) AS
SELECT COALESCE(s.sync_status, 'unknown') AS sync_status,
	s.count::pg_catalog.int4 AS count,
	s.oldest_sync_at
FROM syncstate.sync_summary s;
COMMENT ON VIEW api.sync_summary IS
'@primaryKey sync_status
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["sync_status"]})
How many keys have each status, and the oldest sync among them.';

CREATE VIEW api.sync_run WITH (security_invoker = true) AS
SELECT :run_columns
FROM syncstate.sync_run r;
COMMENT ON VIEW api.sync_run IS
'@primaryKey type_key,run_number
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["type_key", "run_number"]})
History of runs. sync_progress is the checkpoint that a run started from.';

CREATE VIEW api.sync_interrupted WITH (security_invoker = true) AS
SELECT i.type_key, i.owner, i.reason, i.since, i.sync_progress, i.run_number
FROM syncstate.sync_interrupted i;
COMMENT ON VIEW api.sync_interrupted IS
'@primaryKey type_key
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["type_key"]})
Runs that stopped without an end.';

CREATE VIEW api.sync_conflict WITH (security_invoker = true) AS
SELECT c.type_key, c.conflict_number, c.kind, c.base_local_hash, c.base_remote_hash, c.local_hash, c.remote_hash,
	c.detected_at, c.resolved_at, c.resolution, c.resolved_hash, c.resolved_by
FROM syncstate.sync_conflict c;
COMMENT ON VIEW api.sync_conflict IS
'@primaryKey type_key,conflict_number
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["type_key", "conflict_number"]})
Log of conflicts; the open ones have no resolved_at.';

CREATE VIEW api.sync_delta WITH (security_invoker = true) AS
SELECT :delta_columns
FROM :"extension_schema".sync_state_plan() d;
COMMENT ON VIEW api.sync_delta IS
'@primaryKey type_key
@behavior -insert -update -delete
@pg_graphql @graphql({"primary_key_columns": ["type_key"]})
The decision on every key by its stored hashes.';

/* ------------------------------------------------------------------------
 * Reading: GET, query
 * ------------------------------------------------------------------------ */
CREATE FUNCTION api.delta(type_key pg_catalog.text, local_hash pg_catalog.text DEFAULT NULL, remote_hash pg_catalog.text DEFAULT NULL, local_absent boolean DEFAULT false, remote_absent boolean DEFAULT false)
RETURNS api.sync_delta LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT pg_catalog.jsonb_populate_record(NULL::api.sync_delta,
		:"extension_schema".sync_state_delta($1, $2, $3, COALESCE($4, false), COALESCE($5, false)));
END;
COMMENT ON FUNCTION api.delta IS
'What is to be done about a key. A hash that is not given is the stored one; local_absent and remote_absent say that a side is gone.';

CREATE FUNCTION api.plan(prefix pg_catalog.text DEFAULT NULL)
RETURNS SETOF api.sync_delta LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT :delta_columns
	FROM :"extension_schema".sync_state_plan($1) d;
END;
COMMENT ON FUNCTION api.plan IS
'The decision on every key that starts with prefix.';

CREATE FUNCTION api.detect_interrupted(as_of pg_catalog.timestamptz DEFAULT NULL)
RETURNS pg_catalog.text[] LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT COALESCE(pg_catalog.array_agg(k.type_key ORDER BY k.n), ARRAY[]::pg_catalog.text[])
	FROM :"extension_schema".sync_state_detect_interrupted(COALESCE($1, pg_catalog.clock_timestamp()))
		WITH ORDINALITY AS k (type_key, n);
END;
COMMENT ON FUNCTION api.detect_interrupted IS
'Keys whose run stopped without an end, in key order.';

/*
 * One document, and not rows: who filters or sorts rows may lose the last one, whose
 * cursor says where to go on.
 */
CREATE FUNCTION api.changes(cursor pg_catalog.text DEFAULT NULL, max_rows integer DEFAULT 1000)
RETURNS pg_catalog.jsonb LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT pg_catalog.jsonb_build_object(
		'changes', COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
			'type_key', c.type_key,
			'deleted', c.deleted,
			'sync_status', c.sync_status,
			'conflict_status', c.conflict_status,
			'local_hash', c.local_hash,
			'remote_hash', c.remote_hash,
			'last_sync_at', c.last_sync_at,
			'updated_at', c.updated_at) ORDER BY c.n), '[]'::pg_catalog.jsonb),
		'cursor', COALESCE((pg_catalog.array_agg(c.cursor ORDER BY c.n DESC))[1], $1),
		'more', pg_catalog.count(*) OPERATOR(pg_catalog.>=) COALESCE($2, 1000))
	FROM :"extension_schema".sync_state_changes($1, COALESCE($2, 1000)) WITH ORDINALITY
		AS c (type_key, deleted, sync_status, conflict_status, local_hash, remote_hash, last_sync_at, updated_at, cursor, n);
END;
COMMENT ON FUNCTION api.changes IS
'What has changed after a cursor, or without one every key: {"changes", "cursor": where to go on, "more": whether there may be more}.';

CREATE FUNCTION api.cursor()
RETURNS pg_catalog.text LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT :"extension_schema".sync_state_cursor();
END;
COMMENT ON FUNCTION api.cursor IS
'The position "now" in the changes.';

/* ------------------------------------------------------------------------
 * Recording: POST, mutation
 * ------------------------------------------------------------------------ */
CREATE FUNCTION api.observe(type_key pg_catalog.text, local_hash pg_catalog.text DEFAULT NULL, remote_hash pg_catalog.text DEFAULT NULL, local_absent boolean DEFAULT false, remote_absent boolean DEFAULT false)
RETURNS api.sync_delta LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT pg_catalog.jsonb_populate_record(NULL::api.sync_delta,
		:"extension_schema".sync_state_observe($1, $2, $3, COALESCE($4, false), COALESCE($5, false)));
END;
COMMENT ON FUNCTION api.observe IS
'Records what was seen, and returns what is to be done. Arguments as for delta.';

CREATE FUNCTION api.observe_many(type_keys pg_catalog.text[], local_hashes pg_catalog.text[] DEFAULT NULL, remote_hashes pg_catalog.text[] DEFAULT NULL, complete boolean DEFAULT false)
RETURNS integer LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :"extension_schema".sync_state_observe_many($1, $2, $3, COALESCE($4, false));
END;
COMMENT ON FUNCTION api.observe_many IS
'Records listings, and returns how many keys changed. A null element: absent. No array: that side was not looked at. complete: every key that is not listed is absent.';

/*
 * In SQL, NULL says that a side is absent.  In JSON a field that somebody forgot looks
 * the same, so that here absence must be said.
 */
CREATE FUNCTION api_internal.given(side pg_catalog.text, hash pg_catalog.text, absent boolean)
RETURNS pg_catalog.text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
	IF hash IS NULL AND absent IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
			MESSAGE = pg_catalog.format('%s_hash must not be null', side),
			HINT = pg_catalog.format('Set %s_absent to true if that side is absent.', side);
	ELSIF hash IS NOT NULL AND absent THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = pg_catalog.format('%1$s_hash is given although %1$s_absent is true', side);
	END IF;
	RETURN hash;
END
$$;
COMMENT ON FUNCTION api_internal.given IS 'The hash of a side, which must be given or said to be absent.';

CREATE FUNCTION api.mark_synced(type_key pg_catalog.text, local_hash pg_catalog.text DEFAULT NULL, remote_hash pg_catalog.text DEFAULT NULL, run_id pg_catalog.uuid DEFAULT NULL, local_absent boolean DEFAULT false, remote_absent boolean DEFAULT false)
RETURNS api.sync_state LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :state_columns
	FROM :"extension_schema".sync_state_mark_synced($1,
		api_internal.given('local', $2, $5), api_internal.given('remote', $3, $6), $4) s;
END;
COMMENT ON FUNCTION api.mark_synced IS
'Records a sync: these are the hashes of both sides now. Name the run that did it; it ends.';

CREATE FUNCTION api.resolve(type_key pg_catalog.text, resolution pg_catalog.text, merged_hash pg_catalog.text DEFAULT NULL, conflict_number integer DEFAULT NULL)
RETURNS api.sync_state LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :state_columns
	FROM :"extension_schema".sync_state_resolve($1, $2, $3, $4) s;
END;
COMMENT ON FUNCTION api.resolve IS
'Decides a conflict: local, remote or merged. With conflict_number, only if that one is still open.';

/* ------------------------------------------------------------------------
 * Runs: POST, mutation.  No function is called `begin`: psql takes that word, in CREATE
 * FUNCTION, for the beginning of a body, and could not restore a dump in plain SQL.
 * ------------------------------------------------------------------------ */
CREATE FUNCTION api.begin_run(type_key pg_catalog.text, lease_seconds integer DEFAULT NULL, owner pg_catalog.text DEFAULT NULL)
RETURNS api.sync_run LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :run_columns
	FROM :"extension_schema".sync_state_begin($1, pg_catalog.make_interval(secs => $2), $3) r;
END;
COMMENT ON FUNCTION api.begin_run IS
'Takes a key for a new run. Keep its run_id: the other calls ask for it. Refused while a live run holds the key.';

CREATE FUNCTION api.try_begin_run(type_key pg_catalog.text, lease_seconds integer DEFAULT NULL, owner pg_catalog.text DEFAULT NULL)
RETURNS SETOF api.sync_run LANGUAGE sql VOLATILE ROWS 1
BEGIN ATOMIC
	SELECT :run_columns
	FROM :"extension_schema".sync_state_try_begin($1, pg_catalog.make_interval(secs => $2), $3) r;
END;
COMMENT ON FUNCTION api.try_begin_run IS
'The same, with an empty answer in place of an error while a live run holds the key.';

CREATE FUNCTION api.claim(max_keys integer DEFAULT 1, prefix pg_catalog.text DEFAULT NULL, lease_seconds integer DEFAULT NULL, owner pg_catalog.text DEFAULT NULL, retry_after_seconds integer DEFAULT 300)
RETURNS SETOF api.sync_run LANGUAGE sql VOLATILE ROWS 1
BEGIN ATOMIC
	SELECT :run_columns
	FROM :"extension_schema".sync_state_claim(COALESCE($1, 1), $2, pg_catalog.make_interval(secs => $3), $4,
		pg_catalog.make_interval(secs => COALESCE($5, 300))) r;
END;
COMMENT ON FUNCTION api.claim IS
'Begins runs on keys that need one: new, modified, interrupted, or failed for longer than retry_after_seconds. Never a conflict.';

CREATE FUNCTION api.resume(type_key pg_catalog.text, lease_seconds integer DEFAULT NULL, owner pg_catalog.text DEFAULT NULL)
RETURNS api.sync_run LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :run_columns
	FROM :"extension_schema".sync_state_resume($1, pg_catalog.make_interval(secs => $2), $3) r;
END;
COMMENT ON FUNCTION api.resume IS
'begin_run that insists on an interrupted or failed run with a checkpoint to go on from.';

CREATE FUNCTION api.checkpoint(type_key pg_catalog.text, run_id pg_catalog.uuid, sync_progress pg_catalog.jsonb DEFAULT NULL, lease_seconds integer DEFAULT NULL)
RETURNS pg_catalog.timestamptz LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :"extension_schema".sync_state_checkpoint($1, $2, $3, pg_catalog.make_interval(secs => $4));
END;
COMMENT ON FUNCTION api.checkpoint IS
'Stores progress and renews the lease; returns its end. Without progress: a heartbeat.';

CREATE FUNCTION api.fail(type_key pg_catalog.text, run_id pg_catalog.uuid DEFAULT NULL, error pg_catalog.text DEFAULT NULL)
RETURNS api.sync_state LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :state_columns
	FROM :"extension_schema".sync_state_fail($1, $2, $3) s;
END;
COMMENT ON FUNCTION api.fail IS
'Ends a run as failed; the next one goes on at its checkpoint.';

CREATE FUNCTION api.rollback(type_key pg_catalog.text, run_id pg_catalog.uuid DEFAULT NULL, error pg_catalog.text DEFAULT NULL)
RETURNS api.sync_state LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT :state_columns
	FROM :"extension_schema".sync_state_rollback($1, $2, $3) s;
END;
COMMENT ON FUNCTION api.rollback IS
'Ends a run as failed and discards its progress; the next one starts from the beginning.';

/* ------------------------------------------------------------------------
 * Privileges.  By default everybody may execute a new function; these, nobody else.
 * ------------------------------------------------------------------------ */
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA api, api_internal FROM PUBLIC;

GRANT USAGE ON SCHEMA api, syncstate TO :"reader", :"worker";
GRANT SELECT ON api.sync_state, api.sync_overview, api.sync_summary, api.sync_run, api.sync_interrupted,
	api.sync_conflict, api.sync_delta TO :"reader", :"worker";
GRANT EXECUTE ON FUNCTION api.delta, api.plan, api.detect_interrupted, api.changes, api.cursor
	TO :"reader", :"worker";

/* What all that reads, with the privileges of who asks. */
GRANT SELECT ON syncstate.sync_state, syncstate.sync_run, syncstate.sync_conflict, syncstate.sync_tombstone,
	syncstate.sync_feed, syncstate.sync_overview, syncstate.sync_summary, syncstate.sync_interrupted
	TO :"reader", :"worker";

GRANT EXECUTE ON FUNCTION api.observe, api.observe_many, api.mark_synced, api.resolve, api.begin_run, api.try_begin_run,
	api.claim, api.resume, api.checkpoint, api.fail, api.rollback TO :"worker";
GRANT USAGE ON SCHEMA api_internal TO :"worker";
GRANT EXECUTE ON FUNCTION api_internal.given TO :"worker";

/* And what that writes. */
GRANT INSERT, UPDATE ON syncstate.sync_state, syncstate.sync_run, syncstate.sync_conflict TO :"worker";
