-- Row security on the tables is honoured by the feed, the views and the reading functions; and by
-- those that resolve, prune and import.
--
-- Only what has been committed is in the feed, so this runs outside a transaction, in a database
-- of its own.
SET client_min_messages = warning;
\set home :DBNAME
DROP DATABASE IF EXISTS syncstate_t_rows;
CREATE DATABASE syncstate_t_rows TEMPLATE template0;
\c syncstate_t_rows
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION syncstate;
DROP ROLE IF EXISTS syncstate_t_red, syncstate_t_blue, syncstate_t_auditor, syncstate_t_viewer;
CREATE ROLE syncstate_t_red;
CREATE ROLE syncstate_t_blue;
CREATE ROLE syncstate_t_auditor BYPASSRLS;

SELECT plan(88);

-- Tenants: each role works on the keys that begin with its colour.
CREATE SCHEMA t;
CREATE FUNCTION t.mine(type_key text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT type_key LIKE replace(current_user, 'syncstate_t_', '') || '-%' $$;
GRANT USAGE ON SCHEMA syncstate, t TO syncstate_t_red, syncstate_t_blue, syncstate_t_auditor;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syncstate TO syncstate_t_red, syncstate_t_blue, syncstate_t_auditor;
ALTER TABLE syncstate.sync_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE syncstate.sync_run ENABLE ROW LEVEL SECURITY;
ALTER TABLE syncstate.sync_conflict ENABLE ROW LEVEL SECURITY;
ALTER TABLE syncstate.sync_tombstone ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON syncstate.sync_state USING (t.mine(type_key));
CREATE POLICY tenant ON syncstate.sync_run USING (t.mine(type_key));
CREATE POLICY tenant ON syncstate.sync_conflict USING (t.mine(type_key));
CREATE POLICY tenant ON syncstate.sync_tombstone USING (t.mine(type_key));
CREATE FUNCTION t.page(cursor text, max_rows int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN c.deleted THEN '-' ELSE '' END || c.type_key, ' ' ORDER BY c.ordinality)
	  FROM sync_state_changes($1, $2) WITH ORDINALITY AS c $$;
CREATE FUNCTION t.after(cursor text, max_rows int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT c.cursor FROM sync_state_changes($1, $2) WITH ORDINALITY AS c ORDER BY c.ordinality DESC LIMIT 1), $1) $$;
CREATE FUNCTION t.keys(query text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		EXECUTE format('SELECT string_agg(DISTINCT k::text, '' '') FROM (%s) AS q (k)', query) INTO result;
		RETURN result;
	END $$;

-- ---------------------------------------------------------------------------------------------
-- The feed
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS start \gset
SELECT sync_state_observe('blue-1', 'h'), sync_state_observe('red-1', 'l', 'r') \g /dev/null
SELECT sync_state_observe('blue-2', 'l', 'r') \g /dev/null
SELECT sync_state_observe('red-2', 'h') \g /dev/null
SELECT is(t.page(NULL), 'blue-1 red-1 blue-2 red-2', 'the owner sees all');
SET ROLE syncstate_t_auditor;
SELECT is(t.page(NULL), 'blue-1 red-1 blue-2 red-2', 'so does who bypasses row security');
SET ROLE syncstate_t_red;
SELECT is(t.page(NULL), 'red-1 red-2', 'a tenant sees its own keys');
SELECT is(t.page(:'start'), 'red-1 red-2', '... from a cursor, too');
SELECT is(t.page(:'start', 1), 'red-1', '... in pages: a page is of rows that it sees');
SELECT is(t.page(t.after(:'start', 1), 1), 'red-2', '... the next');
SELECT is(t.page(t.after(t.after(:'start', 1), 1), 1), NULL, '... and the end');
SELECT t.after(:'start') AS red \gset
SET ROLE syncstate_t_blue;
SELECT is(t.page(NULL), 'blue-1 blue-2', 'the other tenant');
SELECT t.after(:'start') AS blue \gset
-- The same backend, the same plans.
SET ROLE syncstate_t_red;
SELECT is(t.page(NULL), 'red-1 red-2', 'back again');
RESET ROLE;
SELECT sync_state_forget('red-2'), sync_state_forget('blue-2'), sync_state_observe('blue-3', 'h') \g /dev/null
SET ROLE syncstate_t_red;
SELECT is(t.page(:'red'), '-red-2', 'a tenant hears of its own deletions');
SELECT isnt(sync_state_cursor(), NULL, 'and may ask for the position');
SET ROLE syncstate_t_blue;
SELECT is(t.page(:'blue'), '-blue-2 blue-3', 'the other of its own');
SET ROLE syncstate_t_auditor;
SELECT is(t.page(:'red'), '-blue-2 blue-3 -red-2', 'who sees all, of all');
RESET ROLE;

-- ---------------------------------------------------------------------------------------------
-- The views, and functions that read
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_begin('red-1', '1 hour', 'red-worker'), sync_state_begin('blue-1', '1 hour', 'blue-worker') \g /dev/null
UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '1 minute' WHERE type_key = 'blue-1';
SET ROLE syncstate_t_red;
SELECT is(t.keys(query), expected, query)
  FROM (VALUES (1, 'SELECT type_key FROM syncstate.sync_overview', 'red-1'),
               (2, 'SELECT run_owner FROM syncstate.sync_overview', 'red-worker'),
               (3, 'SELECT sync_status || count FROM syncstate.sync_summary', 'syncing1'),
               (4, 'SELECT type_key FROM syncstate.sync_interrupted', NULL),
               (5, 'SELECT type_key FROM sync_state_list()', 'red-1'),
               (6, 'SELECT type_key FROM sync_state_list(NULL, ''blue'')', NULL),
               (7, 'SELECT type_key FROM sync_state_plan()', 'red-1'),
               (8, 'SELECT type_key FROM sync_state_get(''blue-1'')', NULL),
               (9, 'SELECT sync_state_delta(''blue-1'')->>''action''', 'INITIAL_SYNC'),
               (10, 'SELECT sync_state_changed_since(''-infinity'')', 'red-1'),
               (11, 'SELECT sync_state_detect_interrupted(''infinity'')', 'red-1'),
               (12, 'SELECT type_key FROM sync_state_plan_for(''{red-1}'', ''{x}'', ''{y}'', true)', 'red-1')) AS v (n, query, expected) ORDER BY n;
SET ROLE syncstate_t_blue;
SELECT is(t.keys(query), expected, query)
  FROM (VALUES (1, 'SELECT type_key FROM syncstate.sync_overview', 'blue-1 blue-3'),
               (2, 'SELECT run_owner FROM syncstate.sync_overview', 'blue-worker'),
               (3, 'SELECT sync_status || count FROM syncstate.sync_summary', 'new1 syncing1'),
               (4, 'SELECT type_key FROM syncstate.sync_interrupted', 'blue-1')) AS v (n, query, expected) ORDER BY n;
RESET ROLE;
-- What a role must have been granted for a view, it must have for the tables.
CREATE ROLE syncstate_t_viewer;
GRANT USAGE ON SCHEMA syncstate TO syncstate_t_viewer;
GRANT SELECT ON syncstate.sync_overview, syncstate.sync_summary TO syncstate_t_viewer;
SET ROLE syncstate_t_viewer;
SELECT throws_ok('SELECT * FROM syncstate.' || v, '42501', NULL, v || ': SELECT on the view is not SELECT on the tables') FROM unnest('{sync_overview,sync_summary}'::text[]) AS v;
SELECT throws_ok('SELECT sync_state_changes()', '42501', NULL, 'the feed: no SELECT on the tables');
RESET ROLE;
GRANT SELECT ON syncstate.sync_state TO syncstate_t_viewer;
SET ROLE syncstate_t_viewer;
SELECT throws_ok('SELECT sync_state_changes()', '42501', NULL, '... on the state only');
RESET ROLE;
GRANT SELECT ON syncstate.sync_feed TO syncstate_t_viewer;
SET ROLE syncstate_t_viewer;
SELECT lives_ok('SELECT sync_state_changes(), sync_state_cursor()', '... state and sync_feed are enough to start');
SELECT throws_ok(format('SELECT sync_state_changes(%L)', :'start'), '42501', NULL, '... to go on it takes the tombstones');
RESET ROLE;
GRANT SELECT ON syncstate.sync_tombstone TO syncstate_t_viewer;
SET ROLE syncstate_t_viewer;
SELECT is(t.page, NULL, 'with all three; no key begins with its colour') FROM (SELECT string_agg(type_key, ' ') FROM sync_state_changes(:'start')) AS t (page);
RESET ROLE;

-- ---------------------------------------------------------------------------------------------
-- Functions that write
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_rollback(k, NULL, NULL, true) FROM unnest('{red-1,blue-1}'::text[]) AS k \g /dev/null
SELECT sync_state_observe_many('{red-1,blue-1}', '{l2,l2}', '{r2,r2}') \g /dev/null
SET ROLE syncstate_t_red;
SELECT throws_ok($$ SELECT sync_state_resolve('blue-1', 'local') $$, 'P0002', NULL, 'resolve: a key of the other is unknown');
SELECT is((sync_state_resolve('red-1', 'local')).conflict_status, 'resolved', '... one of its own is not');
SELECT is(removed, 1::bigint, 'prune: its own tombstone') FROM sync_state_prune('0') WHERE kind = 'tombstone';
CREATE TEMPORARY TABLE source AS SELECT unnest('{red-7,blue-7}'::text[]) AS type_key;
SELECT throws_ok($$ SELECT sync_state_import('source') $$, '42501', NULL, 'import: of keys that it may not write');
DELETE FROM source WHERE type_key = 'blue-7';
SELECT is(sync_state_import('source'), 1, '... and of its own');
SELECT throws_ok('SELECT sync_state_repair()', '42501', NULL, 'repair is for the owner');
RESET ROLE;
SELECT is(string_agg(type_key, ' '), 'blue-2', 'the other''s tombstone is still there') FROM syncstate.sync_tombstone;
SELECT is((SELECT outcome FROM syncstate.sync_run WHERE type_key = 'blue-1'), 'rolled_back', '... and its runs are');
-- ---------------------------------------------------------------------------------------------
-- Every function there is, of a key of the other tenant: as if it were not there
-- ---------------------------------------------------------------------------------------------
DELETE FROM syncstate.sync_state;
DELETE FROM syncstate.sync_tombstone;
SELECT sync_state_cursor() AS start \gset
SELECT sync_state_mark_synced(k, 'secret', 'secret') FROM unnest('{blue-collides,blue-fails,blue-idle,red-1}'::text[]) AS k \g /dev/null
SELECT sync_state_observe('blue-collides', 'secret2', 'secret3'), sync_state_observe('blue-gone', 'secret'), sync_state_forget('blue-gone') \g /dev/null
SELECT sync_state_checkpoint('blue-runs', run_id, '"secret"', '1 ms') FROM sync_state_begin('blue-runs', '1 ms') \g /dev/null
SELECT sync_state_checkpoint('blue-fails', run_id, '"secret"') FROM sync_state_begin('blue-fails') \g /dev/null
SELECT sync_state_fail('blue-fails', run_id, 'secret') FROM sync_state_get('blue-fails') \g /dev/null
SELECT run_id AS run FROM sync_state_get('blue-runs') \gset
CREATE TABLE t.call (n int GENERATED ALWAYS AS IDENTITY, query text, expected text);
INSERT INTO t.call (query, expected) VALUES
	('sync_state_get(''blue-idle'')', NULL),
	('sync_state_list()', 'red-1'),
	('sync_state_list(NULL, ''blue'')', NULL),
	('sync_state_plan()', 'red-1'),
	('sync_state_plan_for(''{blue-idle}'', ''{h}'', NULL, true)', 'blue-idle red-1'),
	('(SELECT sync_state_delta(''blue-idle'')->>''detail'' AS type_key)', 'empty'),
	('(SELECT sync_state_changed_since(''-infinity'') AS type_key)', 'red-1'),
	('(SELECT sync_state_detect_interrupted(''infinity'') AS type_key)', NULL),
	('sync_state_changes()', 'red-1'),
	(format('sync_state_changes(%L)', :'start'), 'red-1'),
	('(SELECT CASE WHEN sync_state_cursor() LIKE ''%blue%'' THEN ''told'' END AS type_key)', NULL),
	('(SELECT sync_state_observe(''blue-idle'', ''h'') AS type_key)', '42501'),
	('(SELECT sync_state_observe(''blue-new'', ''h'') AS type_key)', '42501'),
	('(SELECT sync_state_observe_many(''{blue-idle}'', ''{h}'', NULL) AS type_key)', '42501'),
	('(SELECT sync_state_observe_many(''{red-1}'', ''{secret}'', ''{secret}'', true) AS type_key)', '0'),
	('sync_state_update(''blue-idle'', ''{"local_hash": "h"}'')', '42501'),
	('(SELECT sync_state_update_many(''{"red-1": {}, "blue-idle": {}}'') AS type_key)', '42501'),
	('sync_state_mark_synced(''blue-idle'', ''h'', ''h'')', '42501'),
	(format('sync_state_mark_synced(''blue-runs'', ''h'', ''h'', %L)', :'run'), '42501'),
	('(SELECT sync_state_mark_synced_many(''{blue-idle}'', ''{h}'', ''{h}'') AS type_key)', '42501'),
	('sync_state_begin(''blue-idle'')', '42501'),
	('sync_state_begin(''blue-runs'')', '42501'),
	('sync_state_try_begin(''blue-idle'')', '42501'),
	('sync_state_claim(10, ''blue'', NULL, NULL, ''0'')', NULL),
	('sync_state_resume(''blue-fails'')', 'P0002'),
	('sync_state_resume(''blue-runs'')', 'P0002'),
	(format('(SELECT sync_state_checkpoint(''blue-runs'', %L, ''1'') AS type_key)', :'run'), 'P0002'),
	(format('sync_state_fail(''blue-runs'', %L)', :'run'), 'P0002'),
	('sync_state_fail(''blue-runs'', NULL, NULL, true)', 'P0002'),
	(format('sync_state_rollback(''blue-runs'', %L)', :'run'), '55000'),
	('sync_state_rollback(''blue-runs'', NULL, NULL, true)', '42501'),
	('sync_state_reset(''blue-idle'', true)', 'P0002'),
	('sync_state_resolve(''blue-collides'', ''local'')', 'P0002'),
	('sync_state_resolve(''blue-collides'', ''local'', NULL, 1)', 'P0002'),
	('(SELECT nullif(sync_state_forget(''blue-idle'', true), false) AS type_key)', NULL),
	('(SELECT sum(removed) AS type_key FROM sync_state_prune(''0''))', '0'),
	('(SELECT sync_state_import(''t.foreign'') AS type_key)', '42501'),
	('(SELECT sync_state_repair() AS type_key)', '42501');
CREATE TABLE t.foreign AS SELECT 'blue-idle'::text AS type_key UNION ALL SELECT 'blue-imported';
GRANT SELECT ON t.call, t.foreign TO syncstate_t_red;
SELECT set_eq($$ SELECT DISTINCT (regexp_match(query, 'sync_state_[a-z_]+'))[1] FROM t.call $$,
	$$ SELECT proname::text FROM pg_proc JOIN pg_depend ON (objid = pg_proc.oid AND classid = 'pg_proc'::regclass AND deptype = 'e')
	    WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate') AND pronamespace <> 'syncstate'::regnamespace
	      AND proname NOT IN ('sync_state_action', 'sync_state_detail', 'sync_state_compare', 'sync_state_version') $$,
	'no function that reads or writes tables is left out');
CREATE FUNCTION t.outcome(query text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		EXECUTE format('SELECT string_agg(DISTINCT type_key::text, '' '' ORDER BY type_key::text) FROM %s AS q', query) INTO result;
		RETURN result;
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
-- All of the other's rows, where they are and who wrote them.
CREATE FUNCTION t.blue() RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		result jsonb = '{}';
		rows jsonb;
		tab text;
	BEGIN
		FOREACH tab IN ARRAY '{sync_state,sync_run,sync_conflict,sync_tombstone}'::text[] LOOP
			EXECUTE format('SELECT jsonb_agg(to_jsonb(s) || jsonb_build_object(''xmin'', s.xmin, ''ctid'', s.ctid) ORDER BY s.ctid) FROM syncstate.%I AS s WHERE type_key LIKE ''blue%%''', tab) INTO rows;
			result = result || jsonb_build_object(tab, rows);
		END LOOP;
		RETURN result;
	END $$;
SELECT cmp_ok((SELECT sum(jsonb_array_length(value)) FROM jsonb_each(t.blue())), '=', 8::bigint, 'the other has states, runs, a conflict and a tombstone');
SELECT t.blue() AS blue \gset
SET ROLE syncstate_t_red;
SELECT is(t.outcome(query), expected, query) FROM t.call ORDER BY n;
SELECT is_empty($$ SELECT query, o FROM t.call, t.outcome(replace(query, 'blue-', 'blue-no-')) AS o WHERE o IS DISTINCT FROM replace(expected, 'blue-', 'blue-no-') $$,
	'... and of a key that nobody has it is the same');
RESET ROLE;
SELECT is(t.blue(), :'blue'::jsonb, 'not one row of the other was touched');

-- Row security on sync_feed without a policy hides the row that every reader needs.
ALTER TABLE syncstate.sync_feed ENABLE ROW LEVEL SECURITY;
SET ROLE syncstate_t_red;
SELECT throws_ok('SELECT sync_state_changes()', '55000', 'resync required', 'a feed whose state is hidden is not read');
SELECT throws_ok($$ SELECT sync_state_observe('red-8', 'h'), sync_state_forget('red-8'), sync_state_prune('0') $$, '55000', NULL, '... nor are its tombstones pruned');
RESET ROLE;

SELECT * FROM finish();
\c :home
DROP DATABASE syncstate_t_rows;
DROP ROLE syncstate_t_red, syncstate_t_blue, syncstate_t_auditor, syncstate_t_viewer;
