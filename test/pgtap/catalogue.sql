-- The shape of the API, asserted over the catalogue: where things live, what the signatures are,
-- what planners, dumps, ORMs and REST layers may rely on.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(61);

CREATE SCHEMA t;
CREATE VIEW t.member AS
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON (e.oid = d.refobjid)
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'syncstate';
CREATE VIEW t.function AS
	SELECT p.*, p.pronamespace = 'syncstate'::regnamespace AS internal
	  FROM t.member m JOIN pg_proc p ON (m.classid = 'pg_proc'::regclass AND m.objid = p.oid);
CREATE VIEW t.relation AS
	SELECT c.* FROM t.member m JOIN pg_class c ON (m.classid = 'pg_class'::regclass AND m.objid = c.oid);

-- ---------------------------------------------------------------------------------------------
-- 1. The signatures, once released for ever
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.signature (name text, arguments text, result text, volatility text);
INSERT INTO t.signature VALUES
('sync_digest', 'VARIADIC columns "any"', 'text', 'immutable'),
('sync_hash', 'doc jsonb', 'text', 'immutable'),
('sync_hash_text', 'value text', 'text', 'immutable'),
('sync_row_hash', 'VARIADIC columns "any"', 'bytea', 'immutable'),
('sync_sketch', 'cells integer, key_columns integer, VARIADIC columns "any"', 'bytea', 'immutable'),
('sync_sketch_diff', 'a bytea, b bytea', 'SETOF syncstate.sync_sketch_key', 'immutable'),
('sync_source_attach', 'type_key text, local regclass, remote regclass DEFAULT NULL::regclass, columns text[] DEFAULT NULL::text[], key_columns text[] DEFAULT NULL::text[], row_base boolean DEFAULT false', 'syncstate.sync_source', 'volatile'),
('sync_source_detach', 'type_key text', 'boolean', 'volatile'),
('sync_source_diff', 'type_key text', 'SETOF syncstate.sync_row_diff', 'stable'),
('sync_source_diff3', 'type_key text', 'SETOF syncstate.sync_row_plan', 'stable'),
('sync_source_track', 'type_key text', 'boolean', 'volatile'),
('sync_source_untrack', 'type_key text', 'boolean', 'volatile'),
('sync_source_verify', 'type_key text', 'jsonb', 'volatile'),
('sync_state_changes', 'cursor text DEFAULT NULL::text, max_rows integer DEFAULT 1000', 'SETOF syncstate.sync_change', 'stable'),
('sync_state_cursor', '', 'text', 'stable'),
('sync_state_import', 'source regclass', 'integer', 'volatile'),
('sync_state_prune', 'older_than interval', 'SETOF syncstate.sync_prune_result', 'volatile'),
('sync_state_repair', '', 'integer', 'volatile'),
('sync_state_resolve', 'type_key text, resolution text, merged_hash text DEFAULT NULL::text, conflict_number integer DEFAULT NULL::integer', 'syncstate.sync_state', 'volatile'),
('sync_state_action', 'local_hash text, remote_hash text, last_synced_hash text, last_synced_remote_hash text, synced boolean DEFAULT true', 'text', 'immutable'),
('sync_state_begin', 'type_key text, lease interval DEFAULT NULL::interval, owner text DEFAULT NULL::text', 'syncstate.sync_run', 'volatile'),
('sync_state_changed_since', 'since timestamp with time zone', 'SETOF text', 'stable'),
('sync_state_checkpoint', 'type_key text, run_id uuid, sync_progress jsonb, lease interval DEFAULT NULL::interval', 'timestamp with time zone', 'volatile'),
('sync_state_claim', 'max_keys integer DEFAULT 1, prefix text DEFAULT NULL::text, lease interval DEFAULT NULL::interval, owner text DEFAULT NULL::text, retry_after interval DEFAULT ''00:05:00''::interval', 'SETOF syncstate.sync_run', 'volatile'),
('sync_state_compare', 'before jsonb, after jsonb', 'SETOF syncstate.sync_field_change', NULL),
('sync_state_delta', 'type_key text, local_hash text DEFAULT NULL::text, remote_hash text DEFAULT NULL::text, local_absent boolean DEFAULT false, remote_absent boolean DEFAULT false', 'jsonb', 'stable'),
('sync_state_detail', 'local_hash text, remote_hash text, last_synced_hash text, last_synced_remote_hash text, synced boolean DEFAULT true', 'text', 'immutable'),
('sync_state_detect_interrupted', 'as_of timestamp with time zone DEFAULT clock_timestamp()', 'SETOF text', 'stable'),
('sync_state_fail', 'type_key text, run_id uuid DEFAULT NULL::uuid, error text DEFAULT NULL::text, force boolean DEFAULT false', 'syncstate.sync_state', 'volatile'),
('sync_state_forget', 'type_key text, force boolean DEFAULT false', 'boolean', 'volatile'),
('sync_state_get', 'type_key text', 'SETOF syncstate.sync_state', 'stable'),
('sync_state_list', 'sync_status text DEFAULT NULL::text, prefix text DEFAULT NULL::text', 'SETOF syncstate.sync_state', 'stable'),
('sync_state_mark_synced', 'type_key text, local_hash text, remote_hash text, run_id uuid DEFAULT NULL::uuid', 'syncstate.sync_state', 'volatile'),
('sync_state_mark_synced_many', 'type_keys text[], local_hashes text[], remote_hashes text[], run_ids uuid[] DEFAULT NULL::uuid[]', 'integer', 'volatile'),
('sync_state_observe', 'type_key text, local_hash text DEFAULT NULL::text, remote_hash text DEFAULT NULL::text, local_absent boolean DEFAULT false, remote_absent boolean DEFAULT false', 'jsonb', 'volatile'),
('sync_state_observe_many', 'type_keys text[], local_hashes text[], remote_hashes text[], complete boolean DEFAULT false', 'integer', 'volatile'),
('sync_state_plan', 'prefix text DEFAULT NULL::text', 'SETOF syncstate.sync_delta', 'stable'),
('sync_state_plan_for', 'type_keys text[], local_hashes text[], remote_hashes text[], complete boolean DEFAULT false', 'SETOF syncstate.sync_delta', 'stable'),
('sync_state_reset', 'type_key text, force boolean DEFAULT false', 'syncstate.sync_state', 'volatile'),
('sync_state_resume', 'type_key text, lease interval DEFAULT NULL::interval, owner text DEFAULT NULL::text', 'syncstate.sync_run', 'volatile'),
('sync_state_rollback', 'type_key text, run_id uuid DEFAULT NULL::uuid, error text DEFAULT NULL::text, force boolean DEFAULT false', 'syncstate.sync_state', 'volatile'),
('sync_state_try_begin', 'type_key text, lease interval DEFAULT NULL::interval, owner text DEFAULT NULL::text', 'SETOF syncstate.sync_run', 'volatile'),
('sync_state_update', 'type_key text, state jsonb', 'syncstate.sync_state', 'volatile'),
('sync_state_update_many', 'states jsonb', 'integer', 'volatile'),
('sync_state_version', '', 'text', NULL);
SELECT set_eq(
	$$ SELECT proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid) FROM t.function WHERE NOT internal $$,
	'SELECT name, arguments, result FROM t.signature',
	'the public functions, their parameters and results');
SELECT is_empty(
	$$ SELECT f.proname, f.provolatile FROM t.function f JOIN t.signature s ON (s.name = f.proname)
	    WHERE f.provolatile <> coalesce(left(s.volatility, 1), CASE WHEN f.provolatile = 'v' THEN 's' ELSE f.provolatile::text END)::"char" $$,
	'reads are STABLE or IMMUTABLE, writers are VOLATILE');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE NOT internal AND pronamespace <> 'public'::regnamespace $$,
	'they live in the target schema, which is public');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE NOT internal AND proname NOT LIKE 'sync\_%' $$,
	'under names that begin with sync_');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE EXISTS (SELECT FROM unnest(proargmodes) m WHERE m NOT IN ('i', 'v')) $$, 'no OUT, INOUT or TABLE parameters');
SELECT set_eq($$ SELECT proname::text FROM t.function WHERE NOT internal AND (provariadic <> 0 OR 'v' = ANY (proargmodes)) $$, ARRAY['sync_row_hash', 'sync_digest', 'sync_sketch'],
	'VARIADIC for columns of any type, and for nothing else');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE NOT internal AND prorettype IN ('void'::regtype, 'record'::regtype) $$,
	'nothing returns void or record');
SELECT is_empty($$ SELECT oid::regprocedure, prorettype::regtype FROM t.function AS f WHERE NOT internal
                    AND prorettype NOT IN ('text'::regtype, 'jsonb'::regtype, 'bytea'::regtype, 'boolean'::regtype, 'integer'::regtype, 'bigint'::regtype, 'timestamptz'::regtype)
                    AND NOT EXISTS (SELECT FROM pg_type AS y JOIN pg_class AS c ON (c.oid = y.typrelid) WHERE y.oid = f.prorettype AND c.relnamespace = 'syncstate'::regnamespace) $$,
	'what is returned is a scalar, jsonb or a row type of the extension');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE NOT internal
                    AND EXISTS (SELECT FROM generate_series(1, pronargs) n WHERE coalesce(proargnames[n], '') !~ '^[a-z][a-z_]*$') $$,
	'every parameter has a name, in snake_case');
SELECT is_empty($$ SELECT proname, count(*) FROM t.function WHERE NOT internal GROUP BY proname HAVING count(*) > 1 $$, 'no name is overloaded');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'sql') AND prosqlbody IS NULL $$,
	'SQL bodies were parsed when they were made: no name in them depends on the caller');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE prokind <> 'a' AND prolang NOT IN (SELECT oid FROM pg_language WHERE lanname IN ('c', 'sql')) $$, 'no other language is needed');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE prosecdef $$, 'all are SECURITY INVOKER');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE proconfig IS NOT NULL $$, 'none needs a setting of its own, a search_path least of all');
SELECT is_empty($$ SELECT oid::regprocedure FROM t.function WHERE proisstrict AND pronargdefaults > 0 $$, 'nothing is STRICT where an argument has a default');
SELECT set_eq($$ SELECT proname::text, prorows::int FROM t.function WHERE proname IN ('sync_state_get', 'sync_state_try_begin') $$,
	$$ VALUES ('sync_state_get', 1), ('sync_state_try_begin', 1) $$, 'ROWS 1 for those that return a row or none');
SELECT is_empty($$ SELECT proname, prosrc, count(*) FROM t.function WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'c')
                    GROUP BY GROUPING SETS ((proname, prosrc), (prosrc)) HAVING count(*) > 1 $$, 'one C symbol per signature');
SELECT is_empty($$ SELECT prosrc FROM t.function WHERE prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') AND probin NOT IN ('$libdir/syncstate', 'syncstate') $$,
	'all from one library');
SELECT results_eq($$ SELECT aggfnoid::regproc::text COLLATE "default", proparallel, aggkind, aggcombinefn::regproc::text COLLATE "default", aggserialfn::regproc::text COLLATE "default", aggdeserialfn::regproc::text COLLATE "default", aggminvtransfn::regproc::text COLLATE "default", aggfinalmodify
                       FROM pg_aggregate JOIN t.function f ON (f.oid = aggfnoid) ORDER BY 1 $$,
	$$ VALUES ('sync_digest', 's'::"char", 'n'::"char", 'syncstate.digest_combine', 'syncstate.digest_serialize', 'syncstate.digest_deserialize', 'syncstate.digest_remove', 'r'::"char"),
	          ('sync_sketch', 's', 'n', 'syncstate.sketch_combine', 'syncstate.sketch_serialize', 'syncstate.sketch_deserialize', '-', 'r'),
	          ('syncstate.sync_digest', 's', 'n', 'syncstate.digest_combine', 'syncstate.digest_serialize', 'syncstate.digest_deserialize', 'syncstate.digest_remove', 'r'),
	          ('syncstate.sync_sketch', 's', 'n', 'syncstate.sketch_combine', 'syncstate.sketch_serialize', 'syncstate.sketch_deserialize', '-', 'r') $$,
	'aggregates can be computed in parallel and by partition, and the digest moved along a window');
SELECT set_eq($$ SELECT proname::text FROM t.function WHERE NOT internal AND provolatile = 'i' AND proparallel <> 's' $$, ARRAY[]::text[], 'what is immutable is parallel safe');

-- ---------------------------------------------------------------------------------------------
-- 2. Schema, tables, views, types
-- ---------------------------------------------------------------------------------------------
SELECT set_eq($$ SELECT relname::text FROM t.relation WHERE relkind = 'r' $$,
	ARRAY['sync_state', 'sync_run', 'sync_conflict', 'sync_tombstone', 'sync_feed', 'sync_source', 'sync_tracking', 'sync_tracking_delta', 'sync_row_base'], 'the tables');
SELECT set_eq($$ SELECT relname::text FROM t.relation WHERE relkind = 'v' $$, ARRAY['sync_interrupted', 'sync_overview', 'sync_summary'], 'the views');
SELECT is_empty($$ SELECT oid::regclass FROM t.relation WHERE relnamespace <> 'syncstate'::regnamespace $$, 'all in schema syncstate');
CREATE FUNCTION t.columns(relation regclass) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END, ', ' ORDER BY attnum)
	  FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped $$;
SELECT is(t.columns('syncstate.sync_state'),
	'type_key text not null, local_hash text, remote_hash text, last_synced_hash text, last_sync_at timestamp with time zone, '
	'sync_status text, conflict_status text, sync_progress jsonb, created_at timestamp with time zone not null, updated_at timestamp with time zone not null, '
	'last_synced_remote_hash text, run_id uuid, run_number integer not null, lease_expires_at timestamp with time zone, changed_xid bigint not null',
	'sync_state: the ten columns of an ORM model first');
SELECT is(t.columns('syncstate.sync_run'),
	'type_key text not null, run_number integer not null, run_id uuid not null, owner text, backend_pid integer, started_at timestamp with time zone not null, '
	'finished_at timestamp with time zone, outcome text, error text, sync_progress jsonb, content_moved boolean, local_hash text, remote_hash text, '
	'marked_local_hash text, marked_remote_hash text',
	'sync_run');
SELECT is(t.columns('syncstate.sync_conflict'),
	'type_key text not null, conflict_number integer not null, kind text not null, base_local_hash text, base_remote_hash text, local_hash text, remote_hash text, '
	'detected_at timestamp with time zone not null, resolved_at timestamp with time zone, resolution text, resolved_hash text, resolved_by text',
	'sync_conflict');
SELECT is(t.columns('syncstate.sync_tombstone'), 'type_key text not null, changed_xid bigint not null, deleted_at timestamp with time zone not null', 'sync_tombstone');
SELECT alike(t.columns('syncstate.sync_feed'), '%incarnation uuid not null, pruned_xid bigint%', 'sync_feed');
SELECT results_eq('SELECT count(*), count(incarnation) FROM syncstate.sync_feed', 'VALUES (1::bigint, 1::bigint)', '... has one row, with an incarnation');
SELECT is(t.columns('syncstate.sync_source'),
	'type_key text not null, local regclass not null, remote regclass, columns text[], key_columns text[], row_base boolean not null, source_id uuid not null, attached_at timestamp with time zone not null',
	'sync_source');
SELECT is(t.columns('syncstate.sync_tracking'), 'type_key text not null, source_id uuid not null, signature text not null, verified_at timestamp with time zone not null', 'sync_tracking');
SELECT is(t.columns('syncstate.sync_tracking_delta'), 'source_id uuid not null, row_count bigint not null, sum_high bigint not null, sum_low bigint not null', 'sync_tracking_delta');
SELECT is_empty($$ SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'syncstate.sync_tracking_delta'::regclass $$, '... has no index: writers only append');
SELECT is(t.columns('syncstate.sync_row_base'), 'type_key text not null, key_hash bytea not null, row_hash bytea not null', 'sync_row_base');
SELECT is(t.columns('syncstate.sync_sketch_key'), 'key_hash bytea, difference text', 'sync_sketch_key');
SELECT is(t.columns('syncstate.sync_row_diff'), 'key jsonb, difference text', 'sync_row_diff');
SELECT is(t.columns('syncstate.sync_row_plan'), 'key jsonb, action text, detail text', 'sync_row_plan');
SELECT is(t.columns('syncstate.sync_delta'),
	'type_key text, action text, detail text, local_hash text, remote_hash text, last_synced_hash text, last_synced_remote_hash text, '
	'sync_status text, conflict_status text, run_id uuid, lease_expires_at timestamp with time zone', 'sync_delta');
SELECT is(t.columns('syncstate.sync_change'),
	'type_key text, deleted boolean, sync_status text, conflict_status text, local_hash text, remote_hash text, '
	'last_sync_at timestamp with time zone, updated_at timestamp with time zone, cursor text', 'sync_change');
SELECT alike(t.columns('syncstate.sync_prune_result'), 'kind text, removed %', 'sync_prune_result');
SELECT is(t.columns('syncstate.sync_field_change'), 'field text, before text, after text', 'sync_field_change');
SELECT is(t.columns('syncstate.sync_interrupted'),
	'type_key text, owner text, reason text, since timestamp with time zone, sync_progress jsonb, run_id uuid, run_number integer', 'sync_interrupted');
SELECT is_empty($$ SELECT c.oid::regclass FROM t.relation c JOIN pg_attribute a ON (a.attrelid = c.oid) JOIN pg_collation l ON (l.oid = a.attcollation)
                    WHERE c.relkind = 'r' AND a.attname = 'type_key' AND (l.collname <> 'C' OR l.collnamespace <> 'pg_catalog'::regnamespace) $$,
	'type_key is COLLATE "C" everywhere: one lock order, prefixes by index');
SELECT set_eq($$ SELECT pg_get_indexdef(indexrelid, 1, true) || coalesce(' ' || nullif(pg_get_indexdef(indexrelid, 2, true), ''), '')
                        || CASE WHEN indisprimary THEN ' primary key' WHEN indisunique THEN ' unique' ELSE '' END
                   FROM pg_index WHERE indrelid = 'syncstate.sync_state'::regclass $$,
	ARRAY['type_key primary key', 'sync_status', 'last_sync_at', 'changed_xid type_key'],
	'the indexes of sync_state: a checkpoint changes no indexed column');
SELECT ok(coalesce((SELECT option_value::int FROM pg_class c, pg_options_to_table(c.reloptions) WHERE c.oid = 'syncstate.sync_state'::regclass AND option_name = 'fillfactor'), 100) < 100,
	'... and its pages have room for it');
SELECT set_eq($$ SELECT c.relname::text, pg_get_indexdef(i.indexrelid, 1, true) || coalesce(' ' || nullif(pg_get_indexdef(i.indexrelid, 2, true), ''), '')
                   FROM t.relation c JOIN pg_index i ON (i.indrelid = c.oid AND i.indisprimary) WHERE c.relname <> 'sync_feed' $$,
	$$ VALUES ('sync_state', 'type_key'), ('sync_run', 'type_key run_number'), ('sync_conflict', 'type_key conflict_number'), ('sync_tombstone', 'type_key'), ('sync_source', 'type_key'), ('sync_tracking', 'type_key'), ('sync_row_base', 'type_key key_hash') $$,
	'primary keys start with type_key, so that the tables can be sharded by it');
SELECT is((SELECT count(*) FROM pg_index WHERE indrelid = 'syncstate.sync_conflict'::regclass AND indisunique AND NOT indisprimary AND indpred IS NOT NULL),
	1::bigint, 'a partial unique index: one open conflict per key');
SELECT throws_ok($$ INSERT INTO syncstate.sync_conflict (type_key, conflict_number, kind, detected_at) VALUES ('k', 1, 'edit/edit', now()), ('k', 2, 'edit/edit', now()) $$,
	'23505', NULL, '... which refuses a second one');
SELECT is_empty($$ SELECT c.conname FROM pg_constraint c JOIN t.relation r ON (r.oid = c.conrelid) WHERE c.contype = 'f' $$, 'no foreign keys between the tables');
SELECT is_empty($$ SELECT conname FROM pg_constraint WHERE conrelid = 'syncstate.sync_state'::regclass AND contype = 'c' AND conname ~ '_check\d*$' $$,
	'the CHECKs have names of their own');
SELECT is_empty($$ SELECT c.relname FROM t.relation c JOIN pg_class s ON (s.relkind = 'S') JOIN pg_depend d ON (d.objid = s.oid AND d.refobjid = c.oid) $$, 'no sequences to get out of step');
SELECT is_empty($$ SELECT relname FROM t.relation WHERE relkind = 'v' AND NOT coalesce(reloptions::text[] @> '{security_invoker=true}', false) $$, 'views are security_invoker');

-- ---------------------------------------------------------------------------------------------
-- 3. The extension itself
-- ---------------------------------------------------------------------------------------------
SELECT results_eq($$ SELECT extrelocatable, extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'syncstate' $$,
	$$ VALUES (false, 'public') $$, 'not relocatable, in the schema it was told');
SELECT set_eq($$ SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'syncstate' $$,
	ARRAY['syncstate.sync_state', 'syncstate.sync_run', 'syncstate.sync_conflict', 'syncstate.sync_source', 'syncstate.sync_row_base'],
	'the tables that a dump has rows of; cursors die with a restore and tracking must be verified, so not the others');
SELECT is_empty($$ SELECT unnest(extcondition) FROM pg_extension WHERE extname = 'syncstate' EXCEPT SELECT '' $$, '... all of their rows');
SELECT is_empty($$ SELECT 1 FROM syncstate.sync_state UNION ALL SELECT 1 FROM syncstate.sync_run UNION ALL SELECT 1 FROM syncstate.sync_conflict UNION ALL SELECT 1 FROM syncstate.sync_source UNION ALL SELECT 1 FROM syncstate.sync_row_base $$,
	'the script puts no row into them');
-- Every object has a comment: every member of the extension, the triggers and columns of its tables.
SELECT is_empty(
	$$ SELECT pg_describe_object(m.classid, m.objid, 0) FROM t.member m
	    LEFT JOIN pg_type ty ON (m.classid = 'pg_type'::regclass AND ty.oid = m.objid)
	    LEFT JOIN pg_class row_of ON (row_of.oid = ty.typrelid)
	    WHERE obj_description(m.objid, (SELECT relname FROM pg_class WHERE oid = m.classid)) IS NULL
	      -- row types of tables and array types have none of their own
	      AND NOT coalesce(row_of.relkind <> 'c' OR ty.typelem <> 0, false)
	   UNION ALL
	   SELECT 'trigger ' || tgname FROM pg_trigger JOIN t.relation c ON (c.oid = tgrelid)
	    WHERE NOT tgisinternal AND obj_description(pg_trigger.oid, 'pg_trigger') IS NULL
	   UNION ALL
	   SELECT 'column ' || c.relname || '.' || a.attname FROM t.relation c JOIN pg_attribute a ON (a.attrelid = c.oid AND a.attnum > 0)
	    WHERE c.relkind IN ('r', 'v') AND col_description(c.oid, a.attnum) IS NULL $$,
	'every object has a COMMENT');
-- Settings.
SELECT results_eq($$ SELECT name COLLATE "default", setting, unit, context, min_val, max_val FROM pg_settings WHERE name = 'syncstate.lease' AND sync_state_version() IS NOT NULL $$,
	$$ VALUES ('syncstate.lease', '300000', 'ms', 'user', '1', '2073600000') $$,
	'syncstate.lease: five minutes, from a millisecond to 24 days, for everybody');
SELECT results_eq($$ SELECT name COLLATE "default", setting, context, enumvals FROM pg_settings WHERE name = 'syncstate.notify' $$,
	$$ VALUES ('syncstate.notify', 'none', 'user', '{none,changes,all}'::text[]) $$, 'syncstate.notify: off unless asked for');
SELECT is((SELECT count(*) FROM pg_settings WHERE name LIKE 'syncstate.%'), 2::bigint, 'there are no other settings');
SELECT throws_ok($$ SET syncstate.lease_time = '5s' $$, '42602', NULL, 'the prefix is reserved: a misspelt setting is an error');

SELECT * FROM finish();
ROLLBACK;
