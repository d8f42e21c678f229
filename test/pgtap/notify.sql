-- syncstate.notify: none, changes or all; and what a listener then hears.
--
-- Notifications are sent at commit, so this runs outside a transaction, in a database of its own.
-- The listener is this session: psql writes what it hears to where query results go.
SET client_min_messages = warning;
\set home :DBNAME
DROP DATABASE IF EXISTS syncstate_t_notify;
CREATE DATABASE syncstate_t_notify TEMPLATE template0;
\c syncstate_t_notify
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION syncstate;

SELECT plan(73);

-- ---------------------------------------------------------------------------------------------
-- The setting
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_state_version() IS NOT NULL, true, 'the library is loaded');
SELECT results_eq($$ SELECT setting, context, vartype, boot_val, array_to_string(enumvals, ',') FROM pg_settings WHERE name = 'syncstate.notify' $$,
	$$ VALUES ('none', 'user', 'enum', 'none', 'none,changes,all') $$, 'none unless told otherwise; for everybody to set');
SELECT lives_ok(format('SET syncstate.notify = %L', v), v) FROM unnest('{changes,all,none,ALL}'::text[]) AS v;
SELECT throws_ok(format('SET syncstate.notify = %L', v), '22023', NULL, format('not %L', v)) FROM unnest(ARRAY['', 'on', 'true', '1', 'change', 'everything']) AS v;
RESET syncstate.notify;

-- ---------------------------------------------------------------------------------------------
-- What is heard: each statement in a transaction of its own, under each value
-- ---------------------------------------------------------------------------------------------
CREATE SCHEMA t;
CREATE FUNCTION t.run_id(type_key text) RETURNS uuid LANGUAGE sql AS $$ SELECT run_id FROM sync_state_get($1) $$;
CREATE TABLE t.step (n int, statement text, heard text, sort text, name text);
-- sort: change, or other for what the feed does not report, or never.
INSERT INTO t.step VALUES
	(1, $$ SELECT sync_state_observe('article', 'h', 'h2') $$, 'article=conflict', 'change', 'a new key'),
	(2, $$ SELECT sync_state_observe('article', 'h', 'h2') $$, NULL, 'never', 'nothing new'),
	(3, $$ SELECT sync_state_resolve('article', 'local') $$, 'article=modified', 'change', 'an update'),
	(4, $$ SELECT sync_state_begin('article') $$, 'article=syncing', 'change', 'begin'),
	(5, $$ SELECT sync_state_checkpoint('article', t.run_id('article'), '{"step": 1}') $$, 'article=syncing', 'other', 'a checkpoint'),
	(6, $$ SELECT sync_state_checkpoint('article', t.run_id('article'), NULL) $$, 'article=syncing', 'other', 'a heartbeat'),
	(7, $$ SELECT sync_state_try_begin('article') $$, NULL, 'never', 'a begin that was refused'),
	(8, $$ SELECT sync_state_mark_synced('article', 'h', 'h', t.run_id('article')) $$, 'article=in_sync', 'change', 'the end of a run'),
	(9, $$ SELECT sync_state_update_many('[{"type_key": "b", "sync_status": "new"}, {"type_key": "a"}]') $$, 'a=null b=new', 'change', 'several keys; a status of NULL'),
	(10, $$ SELECT sync_state_update('a', '{"local_hash": "1"}'), sync_state_update('a', '{"local_hash": "2"}'), sync_state_update('a', '{"sync_status": "failed"}') $$, 'a=null a=failed', 'change', 'the same twice in one transaction is told once'),
	(11, $$ INSERT INTO syncstate.sync_state (type_key, sync_status) VALUES ('b', 'new'), ('c', 'new') ON CONFLICT (type_key) DO NOTHING $$, 'c=new', 'change', 'an INSERT: of the row that was inserted'),
	(12, $$ INSERT INTO syncstate.sync_state (type_key, sync_status) VALUES ('b', 'new') ON CONFLICT (type_key) DO UPDATE SET sync_status = 'modified' $$, 'b=modified', 'change', 'an upsert: what became of it'),
	(13, $$ UPDATE syncstate.sync_state SET local_hash = local_hash WHERE type_key = 'c' $$, 'c=new', 'other', 'an UPDATE of nothing'),
	(14, $$ DELETE FROM syncstate.sync_state WHERE type_key = 'c' $$, 'c=null', 'change', 'a deletion: no status'),
	(15, $$ SELECT sync_state_forget('c') $$, NULL, 'never', '... of a key that is unknown'),
	(16, $$ DO 'BEGIN PERFORM sync_state_observe(''sub'', ''h''); RAISE no_data_found; EXCEPTION WHEN no_data_found THEN NULL; END' $$, NULL, 'never', 'a subtransaction that was rolled back'),
	(17, $$ SET session_replication_role = replica; UPDATE syncstate.sync_state SET local_hash = 'replica' WHERE type_key = 'a'; INSERT INTO syncstate.sync_state (type_key) VALUES ('d'); DELETE FROM syncstate.sync_state WHERE type_key = 'd'; RESET session_replication_role $$, NULL, 'never', 'what replication applies: whoever wrote it has told'),
	(18, $$ SELECT sync_state_forget('a'), sync_state_forget('b'), sync_state_forget('article') $$, 'a=null b=null article=null', 'change', 'the rest deleted');
-- What a listener hears of these rows.
CREATE FUNCTION t.payloads(heard text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('{"type_key": "%s", "sync_status": %s}', split_part(h, '=', 1), coalesce('"' || nullif(split_part(h, '=', 2), 'null') || '"', 'null')), E'\n' ORDER BY n), '')
	  FROM string_to_table(heard, ' ') WITH ORDINALITY AS s (h, n) $$;
CREATE TABLE t.heard (value text, n int, got text);
\set file `mktemp`
\setenv HEARD :file
-- A script of the steps: each with a file for what psql hears after it.
\set payloads 'sed -n ''s/.*"syncstate" with payload "\\(.*\\)" received from server process.*/\\1/p'' "$HEARD"'
LISTEN syncstate;
SELECT format($$
SET syncstate.notify = %1$L;
\o %2$s
%3$s;
SELECT;
\o
\set got `%4$s`
INSERT INTO t.heard VALUES (%1$L, %5$s, :'got');
$$, value, :'file', statement, :'payloads', n) FROM t.step, unnest('{none,changes,all}'::text[]) AS value ORDER BY value, n
\g :file.steps
\i :file.steps
SET syncstate.notify = none;
SELECT is(h.got, t.payloads(CASE WHEN h.value = 'all' OR h.value = 'changes' AND s.sort = 'change' THEN s.heard END), h.value || ': ' || s.name)
  FROM t.step AS s JOIN t.heard AS h USING (n) ORDER BY h.value, n;

-- ---------------------------------------------------------------------------------------------
-- Once committed
-- ---------------------------------------------------------------------------------------------
SET syncstate.notify = changes;
\o :file
BEGIN;
SELECT sync_state_observe('article', 'h');
ROLLBACK;
SELECT;
\o
\set got `:payloads`
SELECT is(:'got'::text, '', 'what is rolled back is never heard of');
\o :file
BEGIN;
SELECT sync_state_observe('article', 'h');
SELECT;
\o
\set got `:payloads`
SELECT is(:'got'::text, '', 'nor what is not committed yet');
\o :file
COMMIT;
\o
\set got `:payloads`
SELECT is(:'got'::text, '{"type_key": "article", "sync_status": "new"}', '... but once it is');

-- ---------------------------------------------------------------------------------------------
-- Any key is good JSON
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.key AS SELECT n, k FROM unnest(ARRAY['"', '\', E'a\nb\tc\x01', '{}', '''', 'щука 鱼', repeat(E'\x01', 512), repeat('"', 512)]) WITH ORDINALITY AS s (k, n);
\o :file
SELECT sync_state_observe(k, 'h') FROM t.key ORDER BY n;
SELECT;
\o
\set got `:payloads`
SELECT results_eq(format('SELECT n, (j::jsonb)->>''type_key'' FROM string_to_table(%L, E''\n'') WITH ORDINALITY AS s (j, n)', :'got'), 'SELECT n, k FROM t.key ORDER BY n', 'eight keys');
-- What the table refuses is refused for that reason.
SELECT throws_ok($$ UPDATE syncstate.sync_state SET sync_status = repeat('x', 9000) $$, '23514', NULL, 'a status that is none, and longer than a notification');
SELECT throws_ok($$ SELECT sync_state_observe(repeat('k', 9000)) $$, '22023', NULL, 'a key of 9,000 bytes');
SELECT throws_ok($$ INSERT INTO syncstate.sync_state (type_key) VALUES (repeat('k', 9000)) $$, '23514', NULL, '... by plain SQL');

\! rm -f "$HEARD" "$HEARD.steps"
SELECT * FROM finish();
\c :home
DROP DATABASE syncstate_t_notify;
