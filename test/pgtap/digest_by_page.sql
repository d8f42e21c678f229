-- Aggregates that take the rows of a page from the scan below them: never another row than the executor would have handed over.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(86);

CREATE SCHEMA t;
SET LOCAL max_parallel_workers_per_gather = 0;
CREATE FUNCTION t.plan(query text, how text DEFAULT 'COSTS off') RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (' || how || ') ' || query LOOP plan := plan || line || E'\n'; END LOOP;
	RETURN plan;
END $$;
-- Digest and sketch of all rows, straight from the table, and behind LIMIT, where rows come one by one
CREATE FUNCTION t.same(relation text, columns text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	by_page text; one_by_one text; rows bigint;
BEGIN
	EXECUTE format('SELECT (SELECT sync_digest(%1$s) FROM %2$s) || '' '' || md5((SELECT sync_sketch(200, 1, %1$s) FROM %2$s))', columns, relation) INTO by_page;
	EXECUTE format('SELECT sync_digest(%1$s) || '' '' || md5(sync_sketch(200, 1, %1$s)) FROM (SELECT %3$s FROM %2$s LIMIT 1000000) AS x', columns, relation, columns) INTO one_by_one;
	EXECUTE format('SELECT count(*) FROM %s', relation) INTO rows;
	RETURN CASE WHEN by_page <> one_by_one THEN by_page || ' by page, ' || one_by_one || ' one by one'
	            WHEN split_part(split_part(by_page, ' ', 1), ':', 2) <> rows::text THEN by_page || ' of ' || rows || ' rows'
	            ELSE rows || ' rows' END;
END $$;

CREATE TABLE t.page (id int, title text, n numeric, doc jsonb, at timestamptz, ok boolean);
SELECT is(t.plan('SELECT sync_digest(id, title) FROM t.page'), E'Aggregate\n  ->  Seq Scan on page\n', '(the plan that this is about)');
SELECT is(t.plan('SELECT sync_digest(id, title) FROM (SELECT id, title FROM t.page LIMIT 1000000) AS x'), E'Aggregate\n  ->  Limit\n        ->  Seq Scan on page\n', '(and one where rows come one by one)');

-- ---------------------------------------------------------------------------------------------
-- 1. Which rows there are
-- ---------------------------------------------------------------------------------------------
SELECT is(t.same('t.page', 'id, title, n, doc, at, ok'), '0 rows', 'an empty table');
INSERT INTO t.page VALUES (1, 'one', 1, '1', now(), true);
SELECT is(t.same('t.page', 'id, title, n, doc, at, ok'), '1 rows', 'one row');
INSERT INTO t.page SELECT i, 'title ' || i, i / 7.0, jsonb_build_object('n', i, 'a', array[i, i + 1]), now() + i * interval '1 s', i % 3 = 0 FROM generate_series(2, 3000) AS i;
SELECT cmp_ok(pg_relation_size('t.page') / 8192, '>', 20::bigint, '(several pages)');
SELECT is(t.same('t.page', 'id, title, n, doc, at, ok'), '3000 rows', 'rows of several pages, of this transaction');
DELETE FROM t.page WHERE id % 5 = 0;
UPDATE t.page SET title = 'again ' || id WHERE id % 7 = 0;
SELECT is(t.same('t.page', 'id, title, n, doc, at, ok'), '2400 rows', 'rows among dead ones');
SAVEPOINT undone;
INSERT INTO t.page SELECT i, 'undone' FROM generate_series(1, 500) AS i;
DELETE FROM t.page WHERE id % 2 = 0;
UPDATE t.page SET ok = NOT ok;
ROLLBACK TO undone;
SELECT is(t.same('t.page', 'id, title, n, doc, at, ok'), '2400 rows', 'rows among those of a level that was rolled back');
UPDATE t.page SET title = NULL, n = NULL WHERE id % 11 = 0;
UPDATE t.page SET doc = NULL, at = NULL, ok = NULL WHERE id % 13 = 0;
SELECT is(t.same('t.page', 'id, title, n, doc, at, ok'), '2400 rows', 'values that are NULL');
-- A page of which no row is left, the first one and the last
DELETE FROM t.page WHERE ctid < '(2,1)' OR ctid > format('(%s,0)', pg_relation_size('t.page') / 8192 - 1)::tid;
SELECT matches(t.same('t.page', 'id, title, n, doc, at, ok'), '^[0-9]+ rows$', 'pages without a row');
-- What a cursor sees was decided when it was opened.
DECLARE before CURSOR FOR SELECT sync_digest(id, title), (SELECT count(*) FROM t.page) FROM t.page;
SELECT sync_digest(id, title) AS digest, count(*) FROM t.page \gset before_
INSERT INTO t.page SELECT i, 'later' FROM generate_series(1, 100) AS i;
DELETE FROM t.page WHERE id % 2 = 0;
FETCH before \gset fetched_
SELECT is(:'fetched_sync_digest'::text, :'before_digest', 'the rows of a snapshot');
CREATE TEMP TABLE page AS SELECT * FROM t.page;
SELECT matches(t.same('pg_temp.page', 'id, title, n, doc, at, ok'), '^[0-9]+ rows$', 'a temporary table');

-- ---------------------------------------------------------------------------------------------
-- 2. Which columns
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.columns (gone1 int, a int, b text, gone2 text, c int GENERATED ALWAYS AS (a * 2) STORED, d varchar(10), e int[], f char(3));
INSERT INTO t.columns (a, b, d, e, f) SELECT i, 'b' || i, 'd' || i, array[i, NULL], 'f' FROM generate_series(1, 1000) AS i;
SELECT is(t.same('t.columns', columns), '1000 rows', 'columns ' || columns) FROM unnest(array['a', 'a, b', 'b, a', 'f, e, d, c, b, a', 'a, c', 'c, a', 'gone2, f', 'd', 'gone1, gone2']) AS columns;
SELECT isnt((SELECT sync_digest(a, c) FROM t.columns), (SELECT sync_digest(c, a) FROM t.columns), '(their order counts)');
SELECT is((SELECT sync_digest(a, a, a) FROM t.columns), (SELECT sync_digest(a, b, c) FROM (SELECT a, a AS b, a AS c FROM t.columns LIMIT 1000000) AS x), 'a column several times');
-- Dropped ones, and those that rows lack which are older than them
ALTER TABLE t.columns DROP COLUMN gone1, DROP COLUMN gone2;
ALTER TABLE t.columns ADD COLUMN g text DEFAULT 'new', ADD COLUMN h int;
INSERT INTO t.columns (a, b, d, e, f, g, h) SELECT i, 'b' || i, 'd' || i, array[i, NULL], 'f', NULL, i FROM generate_series(1001, 1100) AS i;
SELECT is(t.same('t.columns', columns), '1100 rows', 'columns ' || columns || ', after others were dropped and added') FROM unnest(array['a', 'g', 'h', 'h, g', 'a, b, c, d, e, f, g, h', 'b, h']) AS columns;
SELECT is((SELECT sync_digest(g) FROM t.columns WHERE a <= 1000), (SELECT sync_digest('new'::text) FROM generate_series(1, 1000)), '(a default is the value)');
-- Where an argument is anything but a column, rows come one by one.
SELECT is((SELECT sync_digest(a + 1) FROM t.columns), (SELECT sync_digest(a) FROM (SELECT a + 1 AS a FROM t.columns LIMIT 1000000) AS x), 'an expression');
SELECT is((SELECT sync_digest(a, 7, b) FROM t.columns), (SELECT sync_digest(a, s, b) FROM (SELECT a, 7 AS s, b FROM t.columns LIMIT 1000000) AS x), 'a constant');
SELECT is((SELECT sync_digest(c) FROM t.columns AS c), (SELECT sync_digest(c) FROM (SELECT c FROM t.columns AS c LIMIT 1000000) AS x), 'whole rows');
SELECT is((SELECT sync_digest(ctid::text, a) FROM t.columns), (SELECT sync_digest(x.t, x.a) FROM (SELECT ctid::text AS t, a FROM t.columns LIMIT 1000000) AS x), 'the place of a row, as text');
SELECT is((SELECT sync_digest(ctid, xmin::text, a) FROM t.columns), (SELECT sync_digest(x.c, x.t, x.a) FROM (SELECT ctid AS c, xmin::text AS t, a FROM t.columns LIMIT 1000000) AS x), 'columns of the system');
SELECT is((SELECT sync_digest(x.p, x.a) FROM (SELECT a, 1 AS p FROM t.columns) AS x), (SELECT sync_digest(1, a) FROM t.columns), 'columns of a subquery that is pulled up');
SELECT is((SELECT sync_digest(x.b, x.a) FROM (SELECT a, b, c FROM t.columns OFFSET 0) AS x), (SELECT sync_digest(b, a) FROM (SELECT * FROM t.columns LIMIT 1000000) AS x), 'columns of one that is not, but leaves nothing in the plan');
SELECT is((SELECT sync_digest(a, (SELECT o.a)) FROM t.columns AS i), (SELECT sync_digest(a, o.a) FROM (SELECT a FROM t.columns LIMIT 1000000) AS x), 'a column of an outer query, ' || o.a) FROM (VALUES (1), (2)) AS o (a);
-- Values that are not in the row itself, and what is allocated for them
CREATE TABLE t.long (id int, body text);
ALTER TABLE t.long ALTER body SET STORAGE EXTERNAL;
INSERT INTO t.long SELECT i, repeat(md5(i::text), 3000) FROM generate_series(1, 60) AS i;
ALTER TABLE t.long ALTER body SET STORAGE EXTENDED;
INSERT INTO t.long SELECT i, repeat(md5(i::text), 30000) FROM generate_series(61, 600) AS i;
CREATE FUNCTION t.most_memory() RETURNS bigint LANGUAGE sql AS $$ SELECT (regexp_match(pg_read_file('/proc/self/status'), 'VmHWM:\s+(\d+) kB'))[1]::bigint $$;
SELECT t.most_memory() AS before \gset
SELECT sync_digest(id, body) AS digest, 540 * 960 AS kb FROM t.long \gset long_
SELECT cmp_ok(t.most_memory() - :before, '<', (:long_kb / 4)::bigint, 'one of them at a time');
SELECT is(t.same('t.long', 'id, body'), '600 rows', 'long values');

-- ---------------------------------------------------------------------------------------------
-- 3. Plans that pass the rows on to others, too
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.expected AS SELECT sync_digest(a, b) AS digest, md5(sync_sketch(240, 1, a, b)) AS sketch FROM (SELECT a, b FROM t.columns LIMIT 1000000) AS x;
SELECT results_eq(query, 'SELECT digest, count FROM t.expected, (SELECT count(*) FROM t.columns) AS c', query) FROM unnest(array[
	'SELECT sync_digest(a, b), count(*) FROM t.columns', 'SELECT sync_digest(a, b), count(a) FROM t.columns', 'SELECT sync_digest(a, b), sum(CASE WHEN a > 0 THEN 1 END) FROM t.columns']) AS query;
SELECT results_eq('SELECT sync_digest(a, b), sync_digest(b, a) FROM t.columns', $$ SELECT sync_digest(a, b), sync_digest(b, a) FROM (SELECT a, b FROM t.columns LIMIT 1000000) AS x $$, 'two digests');
SELECT results_eq('SELECT sync_digest(a, b), sync_digest(a, b) FROM t.columns', 'SELECT digest, digest FROM t.expected', 'one digest twice');
SELECT results_eq('SELECT sync_digest(a, b), md5(sync_sketch(240, 1, a, b)) FROM t.columns', 'SELECT digest, sketch FROM t.expected', 'a digest and a sketch');
SELECT results_eq('SELECT sync_digest(a) FILTER (WHERE a % 2 = 0) FROM t.columns', 'SELECT sync_digest(a) FROM (SELECT a FROM t.columns WHERE a % 2 = 0 LIMIT 1000000) AS x', 'a filter of the aggregate');
SELECT results_eq('SELECT sync_digest(a) FROM t.columns WHERE a % 2 = 0', 'SELECT sync_digest(a) FROM (SELECT a FROM t.columns WHERE a % 2 = 0 LIMIT 1000000) AS x', 'WHERE');
SELECT results_eq('SELECT sync_digest(DISTINCT g) FROM t.columns', $$ VALUES ((SELECT sync_digest(g) FROM (VALUES ('new'), (NULL)) AS v (g))) $$, 'DISTINCT');
SELECT results_eq('SELECT sync_digest(a, b ORDER BY b DESC) FROM t.columns', 'SELECT digest FROM t.expected', 'ORDER BY');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns HAVING count(*) > 2000', 'SELECT digest FROM t.expected WHERE false', 'HAVING');
SELECT set_eq('SELECT a % 3, sync_digest(a) FROM t.columns GROUP BY 1', 'SELECT m, sync_digest(a) FROM (SELECT a % 3 AS m, a FROM t.columns LIMIT 1000000) AS x GROUP BY 1', 'GROUP BY an expression');
SELECT set_eq('SELECT g, sync_digest(a) FROM t.columns GROUP BY g', 'SELECT g, sync_digest(a) FROM (SELECT g, a FROM t.columns LIMIT 1000000) AS x GROUP BY g', 'GROUP BY a column');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns GROUP BY GROUPING SETS ((), ())', 'SELECT digest FROM t.expected, generate_series(1, 2)', 'the whole twice');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns GROUP BY ()', 'SELECT digest FROM t.expected', 'the whole once');
SELECT results_eq('SELECT DISTINCT sync_digest(a, b) OVER () FROM t.columns', 'SELECT digest FROM t.expected', 'a window of all');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns TABLESAMPLE BERNOULLI (100)', 'SELECT digest FROM t.expected', 'a sample of all');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns LIMIT 1', 'SELECT digest FROM t.expected', 'LIMIT');
SELECT results_eq('WITH c AS (SELECT * FROM t.columns) SELECT sync_digest(a, b) FROM c', 'SELECT digest FROM t.expected', 'WITH');
SELECT results_eq('WITH c AS MATERIALIZED (SELECT * FROM t.columns) SELECT sync_digest(a, b) FROM c', 'SELECT digest FROM t.expected', 'WITH … AS MATERIALIZED');
SELECT results_eq('SELECT sync_digest(x.a, y.b) FROM t.columns x JOIN t.columns y ON (y.a = x.a)', 'SELECT digest FROM t.expected', 'a join');
SELECT results_eq('SELECT sync_digest(a, b) FROM ((SELECT a, b FROM t.columns WHERE a <= 300) UNION ALL (SELECT a, b FROM t.columns WHERE a > 300)) AS x', 'SELECT digest FROM t.expected', 'UNION ALL');
CREATE INDEX ON t.columns (a) INCLUDE (b);
SET LOCAL enable_seqscan = off;
SELECT alike(t.plan('SELECT sync_digest(a, b) FROM t.columns WHERE a > 0'), '%Index%', '(an index)');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns WHERE a > 0', 'SELECT digest FROM t.expected', 'a scan of an index');
SET LOCAL enable_indexscan = off;
SET LOCAL enable_indexonlyscan = off;
SELECT alike(t.plan('SELECT sync_digest(a, b) FROM t.columns WHERE a > 0'), '%Bitmap Heap%', '(a bitmap)');
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns WHERE a > 0', 'SELECT digest FROM t.expected', 'a scan of a bitmap');
SET LOCAL enable_seqscan = on;
CREATE TABLE t.heir () INHERITS (t.columns);
INSERT INTO t.heir (a, b) VALUES (-1, 'heir'), (-2, 'heir');
SELECT results_eq('SELECT sync_digest(a, b) FROM ONLY t.columns', 'SELECT digest FROM t.expected', 'ONLY a table');
SELECT is(t.same('t.columns', 'a, b'), '1102 rows', 'a table and its heir');
DROP TABLE t.heir;
-- EXPLAIN ANALYZE counts what passes.
SELECT alike(t.plan('SELECT sync_digest(a, b) FROM t.columns', 'ANALYZE, COSTS off, TIMING off, SUMMARY off, BUFFERS off'), '%Seq Scan on columns (actual rows=1100%', 'EXPLAIN ANALYZE sees all rows');
-- ... and so do the statistics.
SELECT pg_stat_get_xact_tuples_returned('t.columns'::regclass) AS read \gset
SELECT sync_digest(a, b) FROM t.columns \gset
SELECT is(pg_stat_get_xact_tuples_returned('t.columns'::regclass) - :read, 1100::bigint, 'rows read are counted') WHERE :read > 0;

-- ---------------------------------------------------------------------------------------------
-- 4. Scans that are begun again, and at other times
-- ---------------------------------------------------------------------------------------------
SELECT results_eq('SELECT o, (SELECT sync_digest(a, b) FROM t.columns WHERE o > 0) FROM generate_series(1, 3) AS o', 'SELECT o, digest FROM t.expected, generate_series(1, 3) AS o', 'a subquery, for each row of another query');
SELECT results_eq('SELECT o, x.digest FROM generate_series(1, 3) AS o, LATERAL (SELECT sync_digest(a, b) || o AS digest FROM t.columns) AS x', 'SELECT o, digest || o FROM t.expected, generate_series(1, 3) AS o', 'LATERAL');
CREATE FUNCTION t.again() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 8 LOOP
		RETURN NEXT (SELECT sync_digest(a, b) FROM t.columns);
		DELETE FROM t.columns WHERE a > 1100 - 100 * i;
		RETURN NEXT (SELECT sync_digest(a, b) FROM t.columns);
		BEGIN
			DELETE FROM t.columns;
			RETURN NEXT (SELECT sync_digest(a, b) FROM t.columns);
			RAISE 'undo';
		EXCEPTION WHEN raise_exception THEN
		END;
	END LOOP;
END $$;
SAVEPOINT undone;
SELECT results_eq('SELECT split_part(d, '':'', 2)::int FROM t.again() WITH ORDINALITY AS a (d, n) ORDER BY n',
	'SELECT r FROM generate_series(1, 8) AS i, unnest(array[1200 - 100 * i, 1100 - 100 * i, 0]) WITH ORDINALITY AS u (r, n) ORDER BY i, n', 'one statement of a function, time and again, while the rows change');
ROLLBACK TO undone;
PREPARE sketch(int, int) AS SELECT md5(sync_sketch($1, $2, a, b)) FROM t.columns;
SET LOCAL plan_cache_mode = force_generic_plan;
SELECT alike(t.plan('EXECUTE sketch(240, 1)', 'VERBOSE, COSTS off'), '%sync_sketch($1, $2, columns.a, columns.b)%', '(parameters that are not known to the plan)');
EXECUTE sketch(240, 1) \gset
SELECT is(:'md5'::text, sketch, 'parameters') FROM t.expected;
EXECUTE sketch(300, 2) \gset
SELECT is(:'md5'::text, md5((SELECT sync_sketch(300, 2, a, b) FROM (SELECT a, b FROM t.columns LIMIT 1000000) AS x)), 'other ones');
CREATE TABLE t.sizes AS SELECT 240 AS cells, 1 AS keys, a, b FROM t.columns;
SELECT is((SELECT md5(sync_sketch(cells, keys, a, b)) FROM t.sizes), sketch, 'sizes from columns') FROM t.expected;
UPDATE t.sizes SET cells = 241 WHERE a = 500;
SELECT throws_ok('SELECT sync_sketch(cells, keys, a, b) FROM t.sizes', '22023', 'cells and key_columns must be the same for every row', '... of which one is another');
UPDATE t.sizes SET cells = 240, keys = 2 WHERE a = 500;
SELECT throws_ok('SELECT sync_sketch(cells, keys, a, b) FROM t.sizes', '22023', 'cells and key_columns must be the same for every row', '... or a key');
-- A cursor that goes back and forth
DECLARE scroll SCROLL CURSOR FOR SELECT sync_digest(a, b) FROM t.columns;
FETCH scroll \gset first_
FETCH FORWARD 1 FROM scroll;
FETCH BACKWARD 1 FROM scroll \gset again_
SELECT is(:'first_sync_digest'::text || :'again_sync_digest', digest || digest, 'a cursor, forth and back') FROM t.expected;
CLOSE scroll;
-- JIT compiles what calls the aggregate.
SET LOCAL jit = on;
SET LOCAL jit_above_cost = 0;
SET LOCAL jit_inline_above_cost = 0;
SET LOCAL jit_optimize_above_cost = 0;
SELECT results_eq('SELECT sync_digest(a, b) FROM t.columns', 'SELECT digest FROM t.expected', 'with JIT');
SET LOCAL jit = off;

-- ---------------------------------------------------------------------------------------------
-- 5. Who may see which rows
-- ---------------------------------------------------------------------------------------------
CREATE ROLE syncstate_test_reader;
GRANT USAGE ON SCHEMA t TO syncstate_test_reader;
GRANT SELECT (a, b) ON t.columns TO syncstate_test_reader;
SET LOCAL ROLE syncstate_test_reader;
SELECT sync_digest(a, b) AS digest FROM t.columns \gset reader_
RESET ROLE;
SELECT is(:'reader_digest'::text, digest, 'who may read these columns') FROM t.expected;
SELECT isnt(has_column_privilege('syncstate_test_reader', 't.columns', 'g', 'SELECT'), true, '(but not that one)');
CREATE FUNCTION t.refused() RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text;
BEGIN
	SET LOCAL ROLE syncstate_test_reader;
	PERFORM sync_digest(a, g) FROM t.columns;
	RESET ROLE;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is(t.refused(), '42501', 'a column that may not be read');
ALTER TABLE t.columns ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON t.columns TO syncstate_test_reader USING (a <= 10);
SET LOCAL ROLE syncstate_test_reader;
SELECT sync_digest(a, b) AS digest FROM t.columns \gset reader_
RESET ROLE;
SELECT is(:'reader_digest'::text, (SELECT sync_digest(a, b) FROM t.columns WHERE a <= 10), 'who may read some rows only');

SELECT finish();
ROLLBACK;
