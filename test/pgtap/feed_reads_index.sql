-- Following 100 changes among 1,000,000 keys reads through the index, on every page.
--
-- What is shown is what reading really did, by the server's own counters: scans of the tables from
-- end to end, and entries read from each index; and the plans, as auto_explain tells them.
SET client_min_messages = warning;
\set home :DBNAME
DROP DATABASE IF EXISTS syncstate_t_index;
CREATE DATABASE syncstate_t_index TEMPLATE template0;
\c syncstate_t_index
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION syncstate;
-- The server is to plan by what this test lets it know.
ALTER TABLE syncstate.sync_state SET (autovacuum_enabled = off);
ALTER TABLE syncstate.sync_tombstone SET (autovacuum_enabled = off);

SELECT plan(43);

CREATE SCHEMA t;
CREATE TYPE t.counters AS (full_scans bigint, entries bigint);
CREATE FUNCTION t.counters() RETURNS t.counters LANGUAGE sql AS $$
	SELECT sum(CASE WHEN relkind = 'r' THEN pg_stat_get_xact_numscans(oid) END),
	       sum(CASE WHEN relkind = 'i' THEN pg_stat_get_xact_tuples_returned(oid) END)
	  FROM pg_class
	 WHERE relnamespace = 'syncstate'::regnamespace AND relname ~ '^sync_(state|tombstone)(_.*_idx)?$' $$;
-- Reads page after page: of each, the rows, the table scans, and the index entries read.
CREATE FUNCTION t.pages(cursor text, max_rows int, most int DEFAULT 1000) RETURNS TABLE (page int, rows bigint, full_scans bigint, entries bigint) LANGUAGE plpgsql AS $$
	#variable_conflict use_variable
	DECLARE
		before t.counters;
		after t.counters;
		cursors text[];
	BEGIN
		FOR n IN 1 .. most LOOP
			before = t.counters();
			SELECT array_agg(c.cursor) INTO cursors FROM sync_state_changes(cursor, max_rows) AS c;
			after = t.counters();
			page = n;
			rows = coalesce(cardinality(cursors), 0);
			full_scans = after.full_scans - before.full_scans;
			entries = after.entries - before.entries;
			RETURN NEXT;
			EXIT WHEN cursors IS NULL;
			cursor = cursors[cardinality(cursors)];
		END LOOP;
	END $$;
-- In sum; a page may take as many entries of each index as it has rows, and a few to find its place.
CREATE FUNCTION t.summary(cursor text, max_rows int, most int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s rows in %s pages, %s full scans, %s', sum(rows), count(*) FILTER (WHERE rows > 0), sum(full_scans),
	              CASE WHEN max(entries - 2 * rows) <= 8 THEN 'few entries' ELSE max(entries) || ' entries' END)
	  FROM t.pages($1, $2, $3) $$;
CREATE FUNCTION t.key(n int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'content-' || lpad(n::text, 7, '0') $$;

-- A reader that has been there since the table had five rows, and was known to have no more.
INSERT INTO syncstate.sync_state (type_key, local_hash) SELECT 'early-' || n, 'h' FROM generate_series(1, 5) AS n;
SELECT sync_state_forget('early-1') \g /dev/null
VACUUM ANALYZE syncstate.sync_state, syncstate.sync_tombstone;
SELECT is(t.summary(NULL, 2), '4 rows in 2 pages, 0 full scans, few entries', 'a reader of five rows');
-- Stands for one that was opened before the load, and forgotten.
SELECT pg_current_xact_id() AS forgotten \gset

-- The load: no ANALYZE, and the reader's plans are as they were.
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, last_sync_at, sync_status, conflict_status)
	SELECT t.key(n), 'h', 'h', 'h', 'h', now(), 'in_sync', 'none' FROM generate_series(1, 1000000) AS n;
SELECT is((SELECT count(*) FROM syncstate.sync_state), 1000004::bigint, 'a million keys');
SELECT sync_state_cursor() AS loaded \gset
CREATE PROCEDURE t.change(first int, hash text) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN 0 .. 99 LOOP
			PERFORM sync_state_observe(t.key(first + n * 9973), hash);
			COMMIT;
		END LOOP;
	END $$;
CALL t.change(1, 'h2');
SELECT sync_state_cursor() AS changed \gset
CREATE PROCEDURE t.delete(first int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR n IN 0 .. 99 LOOP
			PERFORM sync_state_forget(t.key(first + n * 9973));
			COMMIT;
		END LOOP;
	END $$;
CALL t.delete(2);

-- What each kind of reader reads: who follows changes, deletions, both, who has stopped at
-- the forgotten transaction, and who starts from nothing.
SELECT array_to_string((string_to_array(:'loaded', ':'))[1:5], ':') || ':' || to_hex(:forgotten) || '-'
       || split_part(split_part(:'loaded', ':', 6), '-', 2) || '-' || to_hex(:forgotten) AS held \gset
CREATE FUNCTION t.readers(stage text, changed text, loaded text, held text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT is(t.summary(loaded, 10), '200 rows in 20 pages, 0 full scans, few entries', stage || ': changes and deletions, ten at a time')
	UNION ALL SELECT is(t.summary(loaded, 1000), '200 rows in 1 pages, 0 full scans, few entries', stage || ': in one page')
	UNION ALL SELECT is(t.summary(loaded, 1, 5), '5 rows in 5 pages, 0 full scans, few entries', stage || ': one by one')
	UNION ALL SELECT is(t.summary(changed, 10), '100 rows in 10 pages, 0 full scans, few entries', stage || ': deletions')
	UNION ALL SELECT is(t.summary(held, 10), '200 rows in 20 pages, 0 full scans, few entries', stage || ': with a transaction in progress since before the load')
	UNION ALL SELECT is(t.summary(NULL, 10, 5), '50 rows in 5 pages, 0 full scans, few entries', stage || ': from nothing')
	UNION ALL SELECT is(t.summary(NULL, 1000, 5), '5000 rows in 5 pages, 0 full scans, few entries', stage || ': from nothing in large pages')
	UNION ALL SELECT is(t.summary(sync_state_cursor(), 10), '0 rows in 0 pages, 0 full scans, few entries', stage || ': nothing new') $$;
-- A psql of its own follows the changes, ten at a time, and tells the plans of all that it reads.
CREATE TABLE t.plan (plan text);
INSERT INTO t.plan VALUES
('Limit
  ->  Index Scan using sync_state_changed_xid_idx on sync_state t
        Index Cond: ((ROW(changed_xid, type_key) > ROW($1, $2)) AND (changed_xid < $3))
        Filter: (changed_xid <> ALL ($4))'),
('Limit
  ->  Index Scan using sync_tombstone_changed_xid_idx on sync_tombstone t
        Index Cond: ((ROW(changed_xid, type_key) > ROW($1, $2)) AND (changed_xid < $3))
        Filter: ((changed_xid <> ALL ($4)) AND ((SubPlan 1) IS NULL))
        SubPlan 1
          ->  Limit
                ->  Index Only Scan using sync_state_pkey on sync_state s
                      Index Cond: (type_key = t.type_key)');
-- From 16 on the parameters are told as well.
CREATE FUNCTION t.plans(told text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT btrim(regexp_replace(regexp_replace(p, '^[^\n]*\n(Query Parameters: [^\n]*\n)?', ''), ' *\(cost=[^)]*\)', '', 'g'), E'\n')
	  FROM regexp_split_to_table(told, 'NOTICE:  duration: [^\n]*\n') AS p WHERE p LIKE 'Query Text: SELECT t.changed_xid,%' $$;
\setenv PGDATABASE syncstate_t_index
\setenv CURSOR :loaded
\set explain 'psql -XAtq -c "LOAD ''auto_explain''" -c "SET auto_explain.log_min_duration = 0" -c "SET auto_explain.log_nested_statements = on" -c "SET auto_explain.log_level = notice" -c "SET client_min_messages = notice" -c "SELECT sum(rows) || '' rows in '' || count(*) || '' pages'' FROM t.pages(''$CURSOR'', 10)" 2>&1'
\setenv EXPLAIN :explain

SELECT t.readers('a reader that was there before', :'changed', :'loaded', :'held');
\set told `eval "$EXPLAIN"`
SELECT alike(:'told'::text, '%200 rows in 21 pages%', 'after the load: another reader follows, and tells its plans');
SELECT cmp_ok((SELECT count(*) FROM t.plans(:'told')), '>=', 2 * 20::bigint, '... of each page that has rows');
SELECT set_eq(format('SELECT t.plans(%L)', :'told'), 'SELECT plan FROM t.plan', '... which are these');
DISCARD PLANS;
SELECT t.readers('a reader that comes after the load', :'changed', :'loaded', :'held');
ANALYZE syncstate.sync_state, syncstate.sync_tombstone;
SELECT t.readers('after ANALYZE', :'changed', :'loaded', :'held');
\set told `eval "$EXPLAIN"`
SELECT alike(:'told'::text, '%200 rows in 21 pages%', 'after ANALYZE: another reader follows, and tells its plans');
SELECT cmp_ok((SELECT count(*) FROM t.plans(:'told')), '>=', 2 * 20::bigint, '... of each page that has rows');
SELECT set_eq(format('SELECT t.plans(%L)', :'told'), 'SELECT plan FROM t.plan', '... which are these');
-- Many tombstones, most of which the readers have behind them.
DELETE FROM syncstate.sync_state WHERE type_key > t.key(988000);
ANALYZE syncstate.sync_tombstone;
SELECT sync_state_cursor() AS loaded \gset
CALL t.change(3, 'h3');
SELECT sync_state_cursor() AS changed \gset
CALL t.delete(4);
SELECT array_to_string((string_to_array(:'loaded', ':'))[1:5], ':') || ':' || to_hex(:forgotten) || '-'
       || split_part(split_part(:'loaded', ':', 6), '-', 2) || '-' || to_hex(:forgotten) AS held \gset
SELECT t.readers('after many deletions', :'changed', :'loaded', :'held');
\setenv CURSOR :loaded
\set told `eval "$EXPLAIN"`
SELECT alike(:'told'::text, '%200 rows in 21 pages%', 'after many deletions: another reader follows, and tells its plans');
SELECT cmp_ok((SELECT count(*) FROM t.plans(:'told')), '>=', 2 * 20::bigint, '... of each page that has rows');
SELECT set_eq(format('SELECT t.plans(%L)', :'told'), 'SELECT plan FROM t.plan', '... which are these');

SELECT * FROM finish();
\c :home
DROP DATABASE syncstate_t_index;
