-- When the feed cannot tell what a cursor has missed, it refuses, with "resync required": it never
-- answers wrongly.  A standby, a promotion, dump and restore are in test/t.
--
-- Only what has been committed is in the feed, so this runs outside a transaction, in a database
-- of its own; a second one has a cursor that is good only there.
SET client_min_messages = warning;
\set home :DBNAME
DROP DATABASE IF EXISTS syncstate_t_sibling;
DROP DATABASE IF EXISTS syncstate_t_refused;
CREATE DATABASE syncstate_t_sibling TEMPLATE template0;
\c syncstate_t_sibling
SET client_min_messages = warning;
CREATE EXTENSION syncstate;
SELECT sync_state_cursor() AS sibling \gset
-- The whole of it, copied: what is not copied is the name that the server knows the database by.
\c :home
SET client_min_messages = warning;
CREATE DATABASE syncstate_t_refused TEMPLATE syncstate_t_sibling;
\c syncstate_t_refused
SET client_min_messages = warning;
CREATE EXTENSION pgtap;

SELECT plan(87);

CREATE SCHEMA t;
CREATE FUNCTION t.page(cursor text, max_rows int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN c.deleted THEN '-' ELSE '' END || c.type_key, ' ' ORDER BY c.ordinality)
	  FROM sync_state_changes($1, $2) WITH ORDINALITY AS c $$;
CREATE FUNCTION t.after(cursor text, max_rows int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT c.cursor FROM sync_state_changes($1, $2) WITH ORDINALITY AS c ORDER BY c.ordinality DESC LIMIT 1), $1) $$;
CREATE FUNCTION t.refused(cursor text, detail text, name text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		got_detail text;
		got_hint text;
	BEGIN
		PERFORM sync_state_changes(cursor);
		RETURN fail(name) || E'\n' || diag('it was not refused');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS got_detail = PG_EXCEPTION_DETAIL, got_hint = PG_EXCEPTION_HINT;
		RETURN is(concat_ws('; ', SQLSTATE, SQLERRM, CASE WHEN got_detail ~ detail THEN detail ELSE got_detail END, CASE WHEN got_hint = '' THEN 'no hint' END),
		          '55000; resync required; ' || detail, name);
	END $$;
-- The cursor with a field of it (from 1) set to another value.
CREATE FUNCTION t.edited(cursor text, field int, value text) RETURNS text LANGUAGE sql AS $$
	SELECT array_to_string(f[:field - 1] || value || f[field + 1:], ':') FROM string_to_array(cursor, ':') AS f $$;
-- Waits until all that was begun before now has ended, elsewhere too, so that it can be pruned
-- behind a cursor that is read now.
CREATE PROCEDURE t.settle() LANGUAGE plpgsql AS $$
	DECLARE
		now xid8 = pg_current_xact_id();
	BEGIN
		COMMIT;
		FOR n IN 1 .. 1000 LOOP
			EXIT WHEN pg_snapshot_xmin(pg_current_snapshot()) > now;
			PERFORM pg_sleep(0.01);
			COMMIT;
		END LOOP;
	END $$;
SELECT sync_state_observe('article', 'h'), sync_state_observe('author', 'h') \g /dev/null
SELECT sync_state_cursor() AS cursor \gset
SELECT t.after(NULL, 1) AS open \gset
SELECT sync_state_observe('author', 'h2') \g /dev/null
SELECT is(t.page(:'cursor'), 'author', 'a cursor that is good');
SELECT is(t.page(:'open'), 'author', 'and one within a set');

-- ---------------------------------------------------------------------------------------------
-- From elsewhere
-- ---------------------------------------------------------------------------------------------
SELECT t.refused(:'sibling', 'another database', 'a cursor of another database, be it the one that this is a copy of');
SELECT t.refused(t.edited(:'cursor', 2, 'abcdef0123456789'), 'another cluster', 'of another cluster');
SELECT t.refused(t.edited(:'cursor', 3, '1'), 'another database', 'of a template');
SELECT t.refused(t.edited(:'cursor', 4, 'ff'), 'another timeline', 'of another timeline');
SELECT t.refused(t.edited(:'cursor', 5, repeat('0', 32)), 'another incarnation', 'of another incarnation');
SELECT t.refused(t.edited(:'open', 5, repeat('f', 32)), 'another incarnation', '... within a set');
SELECT is(t.page(t.after(:'cursor')), NULL, 'the good one is still good');

-- ---------------------------------------------------------------------------------------------
-- From the future
-- ---------------------------------------------------------------------------------------------
SELECT to_hex(pg_current_xact_id()::text::bigint + 1000000) AS future \gset
SELECT t.refused(t.edited(:'cursor', 6, :'future' || '-' || :'future'), 'from the future', 'a cursor from the future');
SELECT t.refused(t.edited(:'cursor', 6, '3-' || :'future' || '-3'), 'from the future', '... by its end');
SELECT t.refused(t.edited(:'cursor', 6, '3-7fffffffffffffff'), 'from the future', '... very far away');
SELECT t.refused(:'cursor' || ':3-' || :'future' || ':3:', 'from the future', '... by the end of its set');

-- ---------------------------------------------------------------------------------------------
-- Beyond what prune has removed
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS behind \gset
SELECT t.after(NULL, 1) AS starting \gset
SELECT sync_state_forget('author') \g /dev/null
SELECT is(t.page(:'cursor'), '-author', 'a deletion');
CALL t.settle();
SELECT t.after(:'cursor') AS read_it, sync_state_cursor() AS caught_up \gset
SELECT is((SELECT removed FROM sync_state_prune('1 hour') WHERE kind = 'tombstone'), 0::bigint, 'nothing is old enough');
SELECT is(t.page(:'cursor'), '-author', '... so whoever has not read it still can');
SELECT is((SELECT removed FROM sync_state_prune('0') WHERE kind = 'tombstone'), 1::bigint, 'its tombstone is pruned');
SELECT t.refused(:'behind', 'pruned', 'who has not read it must resync');
SELECT t.refused(:'cursor', 'pruned', '... or who is still further behind');
SELECT t.refused(:'starting', 'pruned', '... or who has begun to read everything before it');
SELECT is(t.page(:'caught_up'), NULL, 'not who was past it');
SELECT is(t.page(:'read_it'), NULL, '... nor who has read it');
SELECT is(t.page(NULL), 'article', 'nor who starts now');
SELECT sync_state_observe('page', 'h') \g /dev/null
SELECT is(t.page(:'caught_up'), 'page', 'the caught-up goes on');
SELECT is(t.page(t.after(NULL, 1)), 'page', '... and who starts now, page by page');
SELECT is((SELECT removed FROM sync_state_prune('0') WHERE kind = 'tombstone'), 0::bigint, 'pruning again, of nothing');
SELECT is(t.page(:'caught_up'), 'page', '... is nothing to the reader');

-- ---------------------------------------------------------------------------------------------
-- Triggers that were off
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS cursor \gset
CREATE TABLE t.switch (n int GENERATED ALWAYS AS IDENTITY, command text, back text);
INSERT INTO t.switch (command, back)
	SELECT format(c, tg), format('ENABLE ALWAYS TRIGGER %I', tg)
	  FROM unnest('{~syncstate_touch,~syncstate_entomb}'::text[]) AS tg, unnest('{DISABLE TRIGGER %I,ENABLE TRIGGER %I,ENABLE REPLICA TRIGGER %I}'::text[]) AS c;
INSERT INTO t.switch (command, back)
	SELECT c, 'ENABLE ALWAYS TRIGGER "~syncstate_touch", ENABLE ALWAYS TRIGGER "~syncstate_entomb", ENABLE ALWAYS TRIGGER "~syncstate_refuse_truncate", ENABLE ALWAYS TRIGGER "~syncstate_announce"'
	  FROM unnest('{DISABLE TRIGGER USER,DISABLE TRIGGER ALL,ENABLE TRIGGER ALL,ENABLE TRIGGER USER}'::text[]) AS c;
CREATE FUNCTION t.switched(command text, back text) RETURNS SETOF text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE 'ALTER TABLE syncstate.sync_state ' || command;
		RETURN NEXT t.refused(NULL, 'trigger', command || ': who starts');
		RETURN NEXT throws_ok('SELECT sync_state_cursor()', '55000', 'resync required', '... and the position');
		EXECUTE 'ALTER TABLE syncstate.sync_state ' || back;
		RETURN NEXT lives_ok('SELECT sync_state_changes(), sync_state_cursor()', '... until it is enabled always');
	END $$;
SELECT s.* FROM t.switch, t.switched(command, back) AS s;
-- What was written meanwhile is lost to the old cursor, and it cannot know: repair makes it know.
ALTER TABLE syncstate.sync_state DISABLE TRIGGER USER;
SELECT t.refused(:'cursor', 'trigger', 'who goes on is refused like who starts');
UPDATE syncstate.sync_state SET local_hash = 'unnoticed' WHERE type_key = 'article';
SELECT is(sync_state_repair(), 0, 'repair: no row bears a wrong transaction id');
SELECT t.refused(:'cursor', 'another incarnation', '... but every cursor is of an earlier life of the tables');
SELECT is(t.page(NULL), 'article page', '... and reading everything anew works');

-- ---------------------------------------------------------------------------------------------
-- Transaction ids of another database
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS cursor \gset
ALTER TABLE syncstate.sync_state DISABLE TRIGGER USER;
UPDATE syncstate.sync_state SET changed_xid = pg_current_xact_id()::text::bigint + 1000000 WHERE type_key = 'page';
ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_touch", ENABLE ALWAYS TRIGGER "~syncstate_entomb",
	ENABLE ALWAYS TRIGGER "~syncstate_refuse_truncate", ENABLE ALWAYS TRIGGER "~syncstate_announce";
SELECT t.refused(:'cursor', 'not yet given out', 'a row with a transaction id that is not from here');
SELECT t.refused(NULL, 'not yet given out', '... also for who starts');
SELECT throws_ok('SELECT sync_state_cursor()', '55000', 'resync required', '... and for the position');
SELECT is(sync_state_repair(), 1, 'repair gives it one that is');
SELECT t.refused(:'cursor', 'another incarnation', 'cursors are of an earlier life');
SELECT is(t.page(NULL), 'article page', 'and reading everything anew works');

-- ---------------------------------------------------------------------------------------------
-- A distributed table
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS cursor \gset
SELECT sync_state_observe('image', 'h') \g /dev/null
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass PRIMARY KEY, partmethod "char");
RESET allow_system_table_mods;
SELECT is(t.page(:'cursor'), 'image', 'other tables may be distributed: none is');
INSERT INTO pg_catalog.pg_dist_partition VALUES ('t.switch', 'h');
SELECT is(t.page(:'cursor'), 'image', '... another is');
INSERT INTO pg_catalog.pg_dist_partition VALUES ('syncstate.sync_state', 'h');
SELECT t.refused(:'cursor', 'distributed', 'this one is: transaction ids are per node');
SELECT t.refused(NULL, 'distributed', '... for who starts, too');
SELECT throws_ok('SELECT sync_state_cursor()', '55000', 'resync required', '... and for the position');
SELECT lives_ok($$ SELECT sync_state_changed_since('-infinity'), sync_state_delta('image') $$, '... the rest of the functions work');
DELETE FROM pg_catalog.pg_dist_partition WHERE logicalrelid = 'syncstate.sync_state'::regclass;
SELECT is(t.page(:'cursor'), 'image', 'undistributed');
-- A table of that name elsewhere says nothing.
SET allow_system_table_mods = on;
DROP TABLE pg_catalog.pg_dist_partition;
RESET allow_system_table_mods;
CREATE TABLE public.pg_dist_partition AS SELECT 'syncstate.sync_state'::regclass AS logicalrelid;
SELECT is(t.page(:'cursor'), 'image', 'a table of that name that is not of the catalogue');

-- ---------------------------------------------------------------------------------------------
-- The row of sync_feed
-- ---------------------------------------------------------------------------------------------
DELETE FROM syncstate.sync_feed;
SELECT t.refused(:'cursor', 'sync_feed', 'without it');
SELECT t.refused(NULL, 'sync_feed', '... who starts');
SELECT throws_ok('SELECT sync_state_cursor()', '55000', 'resync required', '... and the position');
SELECT is(sync_state_repair(), 0, 'repair makes one');
SELECT t.refused(:'cursor', 'another incarnation', '... of another life');

-- Who has read everything, a tombstone last, needs nothing of what is pruned; however many rows a
-- page was to have, for a page that is just full ends the set as well.
CALL t.settle();
SELECT sync_state_cursor() AS start \gset
SELECT sync_state_observe('end1', 'h') \g /dev/null
SELECT sync_state_forget('end1') \g /dev/null
SELECT t.after(:'start', 1) AS full_page, t.after(:'start', 2) AS page, t.after(:'start') AS large_page \gset
CALL t.settle();
SELECT is((SELECT removed FROM sync_state_prune('0') WHERE kind = 'tombstone'), 1::bigint, 'the tombstone that was read last is pruned');
SELECT is(t.page(:'full_page'), NULL, 'its reader goes on, from a page of one row');
SELECT is(t.page(:'page'), NULL, '... from a page with room for one more');
SELECT is(t.page(:'large_page'), NULL, '... from a large one');
SELECT t.refused(:'start', 'pruned', '... and who has not read it must resync');

-- ---------------------------------------------------------------------------------------------
-- Made anew
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS cursor \gset
SELECT is(t.page(:'cursor'), NULL, 'a good cursor');
DROP EXTENSION syncstate;
CREATE EXTENSION syncstate;
SELECT t.refused(:'cursor', 'another incarnation', 'DROP EXTENSION and CREATE EXTENSION: other tables');

SELECT * FROM finish();
\c :home
DROP DATABASE syncstate_t_refused;
DROP DATABASE syncstate_t_sibling;
