-- Installation by the owner of a database who is no superuser: the extension is trusted. What it
-- makes is the owner's, who can grant, refuse and enable row security; functions run with the
-- rights of their caller.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;
CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(195);

CREATE ROLE syncstate_test_owner;
CREATE ROLE syncstate_test_reader;
CREATE ROLE syncstate_test_writer;
CREATE ROLE syncstate_test_nobody;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO syncstate_test_owner', current_database()); END $$;

CREATE SCHEMA t;
GRANT USAGE ON SCHEMA t TO PUBLIC;
-- The outcome of a call as another role: "ok", or the SQLSTATE. pgTAP itself stays with the tests' own role.
CREATE FUNCTION t.as_role(role name, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE call;
	PERFORM set_config('role', 'none', true);
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
-- The one value that a query returns to another role.
CREATE FUNCTION t.answer(role name, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE query INTO answer;
	PERFORM set_config('role', 'none', true);
	RETURN answer;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- ---------------------------------------------------------------------------------------------
-- 1. Installing
-- ---------------------------------------------------------------------------------------------
SELECT is((SELECT rolsuper FROM pg_roles WHERE rolname = 'syncstate_test_owner'), false, 'the owner of the database is no superuser');
SELECT is(t.as_role('syncstate_test_nobody', 'CREATE EXTENSION syncstate'), '42501', 'who may not create in the database may not install');
SELECT is(t.as_role('syncstate_test_owner', 'CREATE EXTENSION syncstate'), 'ok', 'the owner of the database may');
SELECT is((SELECT extowner::regrole::text FROM pg_extension WHERE extname = 'syncstate'), 'syncstate_test_owner', '... and owns the extension');

-- A role that may create a schema of that name, or a function of that signature, cannot have it adopted.
CREATE FUNCTION t.install_over(preparation text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	DROP EXTENSION syncstate;
	EXECUTE preparation;
	CREATE EXTENSION syncstate;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is(t.install_over('SELECT 1'), 'ok', 'it can be dropped and created again');
SELECT is(t.as_role('syncstate_test_owner', 'DROP EXTENSION syncstate'), '42501', '(as created by a superuser it is not the owner''s to drop)');
DROP EXTENSION syncstate;
SELECT is(t.as_role('syncstate_test_owner', 'CREATE EXTENSION syncstate'), 'ok', 'the owner installs it again');
SELECT is(t.install_over('CREATE SCHEMA syncstate'), '42P06', 'a schema "syncstate" that is there already is not adopted');
SELECT is(t.install_over($$ CREATE FUNCTION public.sync_state_forget(text, boolean DEFAULT false) RETURNS boolean LANGUAGE sql AS 'SELECT true' $$), '42723',
          'nor is a function of the same signature');

-- ---------------------------------------------------------------------------------------------
-- 2. Ownership
-- ---------------------------------------------------------------------------------------------
SELECT schema_owner_is('syncstate', 'syncstate_test_owner', 'the schema is the owner''s');
SELECT is_empty($$ SELECT relname FROM pg_class WHERE relnamespace = 'syncstate'::regnamespace AND relkind IN ('r', 'v') AND relowner <> 'syncstate_test_owner'::regrole $$,
	'so are all tables and views');
SELECT is_empty($$ SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'syncstate'::regnamespace AND c.relkind = 'i' AND c.relowner <> 'syncstate_test_owner'::regrole $$,
	'... and their indexes');
SELECT is(t.as_role('syncstate_test_owner', call), 'ok', 'the owner can: ' || call)
  FROM unnest(ARRAY[
	'GRANT USAGE ON SCHEMA syncstate TO syncstate_test_reader, syncstate_test_writer',
	'GRANT SELECT ON ALL TABLES IN SCHEMA syncstate TO syncstate_test_reader',
	'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syncstate TO syncstate_test_writer',
	'COMMENT ON TABLE syncstate.sync_state IS ''ours''',
	'CREATE INDEX ON syncstate.sync_state (remote_hash)',
	-- as pg_dump does
	'LOCK TABLE syncstate.sync_state, syncstate.sync_run, syncstate.sync_conflict, syncstate.sync_tombstone, syncstate.sync_feed IN ACCESS SHARE MODE'
       ]) WITH ORDINALITY AS c (call, n) ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- 3. Rights are the caller's
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.call (n serial, kind text, call text);
INSERT INTO t.call (kind, call) VALUES
	('pure', $$SELECT sync_state_version()$$),
	('pure', $$SELECT sync_hash('{}'), sync_hash_text('')$$),
	('pure', $$SELECT sync_row_hash(1, 'x'), sync_digest(1, 'x'), sync_sketch(100, 1, 1, 'x')$$),
	('pure', $$SELECT * FROM sync_sketch_diff((SELECT sync_sketch(100, 1, 1)), (SELECT sync_sketch(100, 1, 2)))$$),
	-- what is attached is no secret; the rows are read by the caller's rights
	('read', $$SELECT * FROM sync_source_diff('rows')$$),
	('pure', $$SELECT sync_state_action('a', 'b', 'c', 'd')$$),
	('pure', $$SELECT sync_state_detail('a', 'b', 'c', 'd')$$),
	('pure', $$SELECT * FROM sync_state_compare('{"a": 1}', '{}')$$),
	('read', $$SELECT sync_state_delta('article')$$),
	('read', $$SELECT * FROM sync_state_plan()$$),
	('read', $$SELECT * FROM sync_state_plan_for('{article}', '{a}', '{a}')$$),
	('read', $$SELECT * FROM sync_state_get('article')$$),
	('read', $$SELECT * FROM sync_state_list()$$),
	('read', $$SELECT * FROM sync_state_changed_since('-infinity')$$),
	('read', $$SELECT * FROM sync_state_detect_interrupted()$$),
	('read', $$SELECT * FROM syncstate.sync_interrupted$$),
	('read', $$SELECT * FROM syncstate.sync_overview$$),
	('read', $$SELECT * FROM syncstate.sync_summary$$),
	('read', $$SELECT sync_state_cursor()$$),
	('read', $$SELECT sync_state_delta('rows')$$),
	('read', $$SELECT * FROM sync_source_diff3('rows')$$),
	('read', $$SELECT * FROM sync_state_changes()$$),
	('read', $$SELECT * FROM sync_state_changes(sync_state_cursor(), 1)$$),
	('write', $$SELECT sync_state_observe('article', 'a', 'b')$$),
	('write', $$SELECT sync_state_resolve('article', 'local')$$),
	('write', $$SELECT sync_state_observe_many('{page,tag}', '{a,a}', '{b,NULL}')$$),
	('write', $$SELECT sync_state_update('article', '{"local_hash": "c"}')$$),
	('write', $$SELECT sync_state_update_many('{"article": {"local_hash": "d"}}')$$),
	('write', $$SELECT sync_state_mark_synced('article', 'e', 'e')$$),
	('write', $$SELECT sync_state_mark_synced_many('{article,page}', '{f,f}', '{f,f}')$$),
	('write', $$SELECT sync_state_begin('article')$$),
	('write', $$SELECT sync_state_checkpoint('article', coalesce((SELECT run_id FROM sync_state_get('article')), gen_random_uuid()), '{"step": 1}')$$),
	('write', $$SELECT sync_state_fail('article', force => true)$$),
	('write', $$SELECT sync_state_resume('article')$$),
	('write', $$SELECT sync_state_rollback('article', force => true)$$),
	('write', $$SELECT * FROM sync_state_try_begin('article')$$),
	('write', $$SELECT * FROM sync_state_claim(5)$$),
	('write', $$SELECT sync_state_reset('article', true)$$),
	('write', $$SELECT sync_state_forget('article', true)$$),
	('write', $$SELECT sync_state_import('t.hand_made')$$),
	('write', $$SELECT * FROM sync_state_prune('1 day')$$),
	('write', $$SELECT sync_state_observe('rows')$$),
	('write', $$SELECT sync_source_attach('hand_made', 't.hand_made')$$),
	('write', $$SELECT sync_source_detach('attached')$$),
	('own', $$SELECT sync_source_track('owned')$$),
	('write', $$SELECT sync_source_verify('tracked')$$),
	('own', $$SELECT sync_source_untrack('tracked')$$),
	('own', $$SELECT sync_state_repair()$$);
CREATE TABLE t.hand_made (type_key text, local_hash text);
INSERT INTO t.hand_made VALUES ('imported', 'a');
GRANT SELECT ON t.hand_made TO PUBLIC;
CREATE TABLE t.owned (id int PRIMARY KEY, body text);
CREATE TABLE t.tracked (id int PRIMARY KEY, body text);
ALTER TABLE t.owned OWNER TO syncstate_test_owner;
ALTER TABLE t.tracked OWNER TO syncstate_test_owner;
CREATE TABLE t.rows (id int PRIMARY KEY, body text);
CREATE TABLE t.copy (id int PRIMARY KEY, body text);
INSERT INTO t.rows VALUES (1, 'x');
GRANT SELECT ON t.owned, t.tracked, t.rows, t.copy TO PUBLIC;
SELECT is((sync_source_attach('owned', 't.owned')).type_key, 'owned', 'a source that is a table of the owner''s');
SELECT is((sync_source_attach('tracked', 't.tracked')).type_key, 'tracked', '... another');
SELECT is(sync_source_track('tracked'), true, '... that is tracked');
SELECT is((sync_source_attach('attached', 't.owned')).type_key, 'attached', '... another');
SELECT is((sync_source_attach('rows', 't.rows', 't.copy', row_base => true)).type_key, 'rows', '... and one with two sides');
-- Whoever runs all of them in this order finds what is needed; what is left is undone.
CREATE FUNCTION t.all_calls(role name) RETURNS TABLE (n int, kind text, call text, outcome text) LANGUAGE plpgsql AS $$
DECLARE outcomes text[] := '{}'; c record;
BEGIN
	BEGIN
		FOR c IN SELECT * FROM t.call ORDER BY t.call.n LOOP
			outcomes := outcomes || t.as_role(role, c.call);
		END LOOP;
		RAISE EXCEPTION USING ERRCODE = 'UNDO0';
	EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
	END;
	RETURN QUERY SELECT x.n, x.kind, x.call, outcomes[x.n] FROM t.call x;
END $$;
SELECT is(outcome, CASE kind WHEN 'pure' THEN 'ok' ELSE '42501' END, 'without any grant: ' || call) FROM t.all_calls('syncstate_test_nobody') ORDER BY n;
SELECT is(outcome, CASE WHEN kind IN ('write', 'own') THEN '42501' ELSE 'ok' END, 'a reader, by USAGE and SELECT: ' || call) FROM t.all_calls('syncstate_test_reader') ORDER BY n;
SELECT is(outcome, CASE kind WHEN 'own' THEN '42501' ELSE 'ok' END, 'a writer, by SELECT, INSERT, UPDATE and DELETE: ' || call) FROM t.all_calls('syncstate_test_writer') ORDER BY n;
SELECT is(t.as_role('syncstate_test_owner', call), 'ok', 'the owner can: ' || call) FROM t.call WHERE kind = 'own';
SELECT is_empty(
	$$ SELECT p.proname FROM pg_depend d JOIN pg_proc p ON (p.oid = d.objid)
	    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate') AND p.pronamespace <> 'syncstate'::regnamespace
	      AND NOT EXISTS (SELECT FROM t.call WHERE call ~ ('\m' || p.proname || '\(')) $$,
	'every public function was called');

-- ---------------------------------------------------------------------------------------------
-- 4. Row security: each tenant has the keys of its prefix
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_state_update_many('{"a/1": {"local_hash": "h", "sync_status": "new"}, "a/2": {"sync_status": "syncing"},
                                   "b/1": {"local_hash": "secret", "sync_status": "new"}, "b/2": {"sync_status": "syncing"}}'), 4, 'keys of two tenants');
SELECT is((SELECT run_number FROM sync_state_begin('b/3')), 1, 'one of them in hand');
SELECT is(t.as_role('syncstate_test_owner', call), 'ok', 'the owner can: ' || call)
  FROM unnest(ARRAY[
	'ALTER TABLE syncstate.sync_state ENABLE ROW LEVEL SECURITY',
	'CREATE POLICY tenant ON syncstate.sync_state USING (starts_with(type_key, ''a/''))'
       ]) WITH ORDINALITY AS c (call, n) ORDER BY n;
SELECT is(t.answer('syncstate_test_reader', query), expected, 'under a policy: ' || query)
  FROM (VALUES
	(1, $$SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_list()$$, 'a/1 a/2'),
	(2, $$SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_plan()$$, 'a/1 a/2'),
	(3, $$SELECT string_agg(k, ' ' ORDER BY k) FROM sync_state_changed_since('-infinity') k$$, 'a/1 a/2'),
	(4, $$SELECT string_agg(k, ' ' ORDER BY k) FROM sync_state_detect_interrupted('infinity') k$$, 'a/2'),
	(5, $$SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM syncstate.sync_interrupted$$, 'a/2'),
	(6, $$SELECT count(*) FROM sync_state_get('b/1')$$, '0'),
	(7, $$SELECT sync_state_delta('b/1')->>'local_hash'$$, NULL),
	(8, $$SELECT string_agg(type_key || ' ' || detail, ', ' ORDER BY type_key) FROM sync_state_plan_for('{b/1}', NULL, '{x}', true)$$,
	    'a/1 push, a/2 empty, b/1 pull')
       ) AS r (n, query, expected) ORDER BY n;
SELECT is(t.as_role('syncstate_test_writer', call), expected, 'under a policy: ' || call)
  FROM (VALUES
	(1, $$SELECT sync_state_observe('a/1', 'h2')$$, 'ok'),
	(2, $$SELECT sync_state_observe('b/1', 'h2')$$, '42501'),
	(3, $$SELECT sync_state_update('b/1', '{"local_hash": "x"}')$$, '42501'),
	(4, $$SELECT sync_state_mark_synced('b/1', 'x', 'x')$$, '42501'),
	(5, $$SELECT sync_state_begin('b/1')$$, '42501'),
	(6, $$SELECT sync_state_begin('b/new')$$, '42501'),
	(7, $$SELECT sync_state_fail('b/1')$$, 'P0002'),
	(8, $$SELECT sync_state_update_many('{"a/1": {"local_hash": "x"}, "b/1": {"local_hash": "x"}}')$$, '42501'),
	(9, $$SELECT sync_state_mark_synced_many('{a/1,b/1}', '{x,x}', '{x,x}')$$, '42501')
       ) AS w (n, call, expected) ORDER BY n;
SELECT is(t.answer('syncstate_test_writer', $$SELECT sync_state_forget('b/1')$$), 'false', 'under a policy: what is not seen cannot be forgotten');
SELECT is(t.answer('syncstate_test_writer', $$SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_claim(10)$$), 'a/1 a/2', '... nor claimed');
SELECT is((SELECT string_agg(type_key || '=' || coalesce(local_hash, '-'), ' ' ORDER BY type_key) FROM syncstate.sync_state WHERE type_key LIKE 'b/%'),
	'b/1=secret b/2=- b/3=-', 'the other tenant''s rows are as they were');

SELECT * FROM finish();
ROLLBACK;
