-- Sketches of rows, and what two of them tell: exactly what differs, or that they are too small.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(170);

CREATE SCHEMA t;
CREATE FUNCTION t.attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- Two sides of a table: 1,000 rows that both have, and some that one lacks or has otherwise
CREATE TABLE t.local (id int, sub text, body text, n numeric, doc jsonb, PRIMARY KEY (id, sub));
INSERT INTO t.local SELECT n, 'x', 'body ' || n, n / 4.0, to_jsonb(n) FROM generate_series(1, 1000) n;
CREATE TABLE t.remote AS SELECT * FROM t.local;
DELETE FROM t.remote WHERE id IN (1, 500, 1000);
INSERT INTO t.remote VALUES (1001, 'x', 'body 1001', 1, '1'), (1, 'y', NULL, NULL, NULL);
UPDATE t.remote SET body = 'other' WHERE id IN (2, 3);
UPDATE t.remote SET n = n + 0.001 WHERE id = 4;
UPDATE t.remote SET doc = NULL WHERE id = 5;
-- Another scale is no difference.
UPDATE t.remote SET n = round(n, 10), doc = to_jsonb(round(doc::numeric, 3)) WHERE id BETWEEN 6 AND 400;
CREATE VIEW t.expected AS
	SELECT sync_row_hash(coalesce(l.id, r.id), coalesce(l.sub, r.sub)) AS key_hash, CASE WHEN r.id IS NULL THEN 'local_only' WHEN l.id IS NULL THEN 'remote_only' ELSE 'different' END AS difference
	  FROM t.local l FULL JOIN t.remote r ON (r.id = l.id AND r.sub = l.sub)
	 WHERE l.id IS NULL OR r.id IS NULL OR (l.body, l.n, l.doc) IS DISTINCT FROM (r.body, r.n, r.doc);
CREATE FUNCTION t.local(cells int) RETURNS bytea LANGUAGE sql AS 'SELECT sync_sketch(cells, 2, id, sub, body, n, doc) FROM t.local';
CREATE FUNCTION t.remote(cells int) RETURNS bytea LANGUAGE sql AS 'SELECT sync_sketch(cells, 2, id, sub, body, n, doc) FROM t.remote';

-- ---------------------------------------------------------------------------------------------
-- 1. What differs
-- ---------------------------------------------------------------------------------------------
SELECT set_eq('SELECT difference, count(*) FROM t.expected GROUP BY difference', $$ VALUES ('local_only', 3), ('remote_only', 2), ('different', 4) $$, '(nine keys differ)');
SELECT results_eq('SELECT * FROM sync_sketch_diff(t.local(240), t.remote(240))', 'SELECT * FROM t.expected ORDER BY key_hash', 'those, in order of their hash, which is sync_row_hash of the key columns');
SELECT results_eq('SELECT * FROM sync_sketch_diff(t.remote(240), t.local(240))',
	$$ SELECT key_hash, CASE difference WHEN 'local_only' THEN 'remote_only' WHEN 'remote_only' THEN 'local_only' ELSE difference END FROM t.expected ORDER BY key_hash $$, 'the other way round');
SELECT is_empty('SELECT * FROM sync_sketch_diff(t.local(1), t.local(1))', 'no difference, whatever the size');
SELECT results_eq(format('SELECT * FROM sync_sketch_diff(t.local(%s), t.remote(%1$s))', cells), 'SELECT * FROM t.expected ORDER BY key_hash', 'by ' || cells || ' cells') FROM unnest('{193,300,1000,99999}'::int[]) AS cells;
SELECT is(t.local(5), t.local(192), 'fewer than 192 cells are 192');
SELECT is(octet_length(t.local(cells)), 9 + 32 * cells, 'a sketch of ' || cells || ' cells has 32 bytes for each') FROM unnest('{192,193,1048576}'::int[]) AS cells;
SELECT is_empty('SELECT * FROM sync_sketch_diff(t.local(1048576), t.local(1048576))', 'as large as they can be');
SELECT is((SELECT sync_sketch(240, 2, id, sub, body, n, doc) FROM (SELECT * FROM t.local ORDER BY id DESC) AS l), t.local(240), 'the order of rows does not matter');
SELECT is((SELECT sync_sketch(192, 1, n, s) FROM (VALUES (1::int2, 'x')) AS v (n, s)), (SELECT sync_sketch(192, 1, n, s) FROM (VALUES (1::int8, 'x'::char(5))) AS v (n, s)), 'values are compared as sync_row_hash does');
-- 192 cells are few enough for the places of many rows to fall together at first; of the last two, twice.
SELECT is_empty($$ SELECT n FROM (SELECT n, sync_sketch(192, 1, n) AS s FROM (SELECT generate_series(1, 6000) UNION ALL VALUES (23887), (151470)) AS v (n) GROUP BY n) AS one
                    WHERE (SELECT count(*) FROM generate_series(0, 191) c WHERE substr(s, 10 + 32 * c, 16) = sync_row_hash(n)) <> 3 $$, 'a row is in three cells, once in each');
-- Where a key ends is a matter of the columns.
SELECT isnt((SELECT sync_sketch(192, 1, 'ab'::text, 'c'::text)), (SELECT sync_sketch(192, 2, 'ab'::text, 'c'::text)), 'key_columns counts');
CREATE FUNCTION t.keyed(k int, rows int) RETURNS bytea LANGUAGE sql AS $$ SELECT sync_sketch(192, k, n, NULL::text, 'x'::text) FROM generate_series(1, rows) n $$;
SELECT is((SELECT key_hash FROM sync_sketch_diff(t.keyed(k, 1), t.keyed(k, 0))),
	CASE k WHEN 1 THEN sync_row_hash(1) WHEN 2 THEN sync_row_hash(1, NULL::text) ELSE sync_row_hash(1, NULL::text, 'x'::text) END, 'a key of ' || k || ' columns') FROM generate_series(1, 3) k;
-- Of whatever type, and whatever is NULL
CREATE FUNCTION t.key_hash(key text, columns int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE same boolean;
BEGIN
	EXECUTE format('SELECT d.key_hash = sync_row_hash(%1$s) FROM sync_sketch_diff((SELECT sync_sketch(192, %2$s, %1$s, ''rest''::text)), (SELECT sync_sketch(192, %2$s, %1$s, ''rest''::text) WHERE false)) AS d', key, columns) INTO STRICT same;
	RETURN CASE WHEN same THEN 'that of the key' ELSE 'another one' END;
END $$;
SELECT is(t.key_hash(value || '::' || type, 1), 'that of the key', 'a key of type ' || type || ', ' || value)
  FROM unnest('{bool,int2,int4,int8,oid,float4,float8,numeric,text,bytea,json,jsonb,uuid,date,time,timetz,timestamp,timestamptz,interval,int4range,int[]}'::text[],
              ARRAY['true','7','7','7','7','7.5','7.5','7.5','''seven''','''\x07''','''[7]''','''[7]''','''00000000-0000-0000-0000-000000000007''','''2026-07-07''','''07:07''','''07:07+07''','''2026-07-07 07:07''','''2026-07-07 07:07+07''','''7 days''','''[7,8)''','''{7}''']) AS key (type, given),
       LATERAL unnest(ARRAY[given, 'NULL']) AS value;
SELECT is(t.key_hash(key, columns), 'that of the key', 'a key ' || key) FROM (VALUES ('1, 2::bigint, true', 3), ('1, NULL::int, true', 3), ('NULL::bool, NULL::uuid', 2), ('1, ''x''::text', 2), ('''x''::text, 1', 2), ('1, NULL::text', 2)) AS c (key, columns);
-- All columns are the key: rows are there or not.
SELECT set_eq($$ SELECT difference, count(*) FROM sync_sketch_diff((SELECT sync_sketch(240, 5, id, sub, body, n, doc) FROM t.local), (SELECT sync_sketch(240, 5, id, sub, body, n, doc) FROM t.remote)) GROUP BY difference $$,
	$$ VALUES ('local_only', 7), ('remote_only', 6) $$, 'where all columns are the key, a row that differs is two');
-- Fixed vectors, made as those of digest.sql, for SHA-256 of the sketch
SELECT is(encode(sha256(sync_sketch(192, 1, n, 'row ' || n)), 'hex'), '1deec85a106d8cfcf461d8d1deb64875fe7aeb61ed66f0bf7b7863408b61df7f', 'fixed vector: 100 rows, 192 cells') FROM generate_series(1, 100) n;
SELECT is(encode(sha256(sync_sketch(240, 1, n, 'row ' || n)), 'hex'), '1caf43aee0d82ee58b495c3f13854b238d99ac4383c2871da2b9ab38befe7f08', 'fixed vector: 100 rows, 240 cells') FROM generate_series(1, 100) n;

-- ---------------------------------------------------------------------------------------------
-- 2. No rows
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.none(cells int) RETURNS bytea LANGUAGE sql AS 'SELECT sync_sketch(cells, 2, id, sub, body, n, doc) FROM t.local WHERE false';
CREATE FUNCTION t.few(cells int) RETURNS bytea LANGUAGE sql AS 'SELECT sync_sketch(cells, 2, id, sub, body, n, doc) FROM t.local WHERE id <= 10';
SELECT is(t.none(100), '\x540000000000000000'::bytea, 'a sketch of no rows is not NULL');
SELECT is(t.none(0), t.none(NULL), '... whatever was asked for, which nobody saw');
SELECT is_empty('SELECT * FROM sync_sketch_diff(t.none(192), t.none(240))', 'nothing and nothing');
SELECT results_eq('SELECT * FROM sync_sketch_diff(t.few(240), t.none(1))', $$ SELECT sync_row_hash(id, sub), 'local_only' FROM t.local WHERE id <= 10 ORDER BY 1 $$, 'some rows and nothing');
SELECT results_eq('SELECT * FROM sync_sketch_diff(t.none(1), t.few(240))', $$ SELECT sync_row_hash(id, sub), 'remote_only' FROM t.local WHERE id <= 10 ORDER BY 1 $$, 'nothing and some rows');
SELECT is(t.attempt('SELECT * FROM sync_sketch_diff(t.none(1), t.local(100))'), '22023 the sketches are too small for their differences', 'nothing and too many');
SELECT is((SELECT sync_sketch(240, 1, id) FILTER (WHERE id < 0) FROM t.local), t.none(240), 'all rows left out');

-- ---------------------------------------------------------------------------------------------
-- 3. Rows that are there more than once: named or refused, never missed
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.copies(rows int[]) RETURNS bytea LANGUAGE sql AS $$ SELECT sync_sketch(240, 1, id, 'row ' || id) FROM unnest(rows) AS id $$;
CREATE FUNCTION t.diff(a int[], b int[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT coalesce(string_agg(id || ' ' || difference, ', ' ORDER BY id), 'none') FROM sync_sketch_diff(t.copies(a), t.copies(b)) AS d, generate_series(1, 10) id WHERE d.key_hash = sync_row_hash(id));
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is(t.diff(a::int[], b::int[]), expected, a || ' and ' || b) FROM (VALUES
	(1, '{1,1}', '{}', '22023'), (2, '{}', '{1,1}', '22023'), (3, '{1,1,2}', '{2}', '22023'), (4, '{1,1,1}', '{}', '22023'), (5, '{1,1,1}', '{1}', '22023'), (6, '{1,1,2,3}', '{3}', '22023'), (7, '{1,1}', '{2,2}', '22023'),
	(8, '{1,1}', '{1,1}', 'none'), (9, '{1,1,1,2}', '{1,1,1}', '2 local_only'), (10, '{1,1}', '{1}', '1 local_only'), (11, '{1,1,2}', '{1,1,1}', '1 remote_only, 2 local_only'), (12, '{1,2}', '{2,1}', 'none'), (13, '{1,1,1,1}', '{2}', '22023')) AS c (n, a, b, expected) ORDER BY n;
SELECT is((SELECT string_agg(difference, ',') FROM sync_sketch_diff((SELECT sync_sketch(240, 1, 1, s) FROM (VALUES ('a'), ('b')) AS v (s)), (SELECT sync_sketch(240, 1, 1, s) FROM (VALUES ('c')) AS v (s)))), 'different', 'a key with several rows is told of once');

-- ---------------------------------------------------------------------------------------------
-- 4. Too small
-- ---------------------------------------------------------------------------------------------
SELECT is(t.attempt(format('SELECT * FROM sync_sketch_diff((SELECT sync_sketch(%s, 1, n) FROM generate_series(1, %s) n), (SELECT sync_sketch(%1$s, 1, n) FROM generate_series(0, -1) n))', cells, rows)),
	'22023 the sketches are too small for their differences', rows || ' differences in ' || cells || ' cells') FROM (VALUES (192, 193), (192, 400), (192, 10000), (200, 201), (1000, 1001), (5000, 100000)) AS c (cells, rows);
SELECT is((SELECT count(*) FROM sync_sketch_diff((SELECT sync_sketch(8000, 1, n) FROM generate_series(1, 5000) n), (SELECT sync_sketch(8000, 1, n) FROM generate_series(0, -1) n))), 5000::bigint, '5,000 in 8,000');

-- ---------------------------------------------------------------------------------------------
-- 5. Arguments
-- ---------------------------------------------------------------------------------------------
SELECT is(t.attempt(call), expected, call) FROM (VALUES
	(1, 'SELECT sync_sketch(NULL, 1, 1)', '22004 cells must not be null'), (2, 'SELECT sync_sketch(192, NULL, 1)', '22004 key_columns must not be null'),
	(3, 'SELECT sync_sketch(0, 1, 1)', '22023 cells must be between 1 and 1048576'), (4, 'SELECT sync_sketch(-1, 1, 1)', '22023 cells must be between 1 and 1048576'), (5, 'SELECT sync_sketch(-2147483648, 1, 1)', '22023 cells must be between 1 and 1048576'),
	(6, 'SELECT sync_sketch(1048577, 1, 1)', '22023 cells must be between 1 and 1048576'), (7, 'SELECT sync_sketch(2147483647, 1, 1)', '22023 cells must be between 1 and 1048576'),
	(8, 'SELECT sync_sketch(192, 0, 1)', '22023 key_columns must be between 1 and 1'), (9, 'SELECT sync_sketch(192, -1, 1)', '22023 key_columns must be between 1 and 1'), (10, 'SELECT sync_sketch(192, 2, 1)', '22023 key_columns must be between 1 and 1'), (11, 'SELECT sync_sketch(192, 4, 1, 2, 3)', '22023 key_columns must be between 1 and 3'),
	(12, 'SELECT sync_sketch(n, 1, n) FROM generate_series(192, 193) n', '22023 cells and key_columns must be the same for every row'), (13, 'SELECT sync_sketch(240, n, n, n) FROM generate_series(1, 2) n', '22023 cells and key_columns must be the same for every row'),
	(14, 'SELECT sync_sketch(CASE n WHEN 1 THEN 40 END, 1, n) FROM generate_series(1, 2) n', '22004 cells must not be null'), (15, 'SELECT sync_sketch(40, CASE n WHEN 1 THEN 1 END, n) FROM generate_series(1, 2) n', '22004 key_columns must not be null'), (16, 'SELECT sync_sketch(n, 1, n) FROM generate_series(1, 192) n', 'no error'),
	(17, 'SELECT sync_sketch(192, 1)', '42883 function sync_sketch(integer, integer) does not exist'), (18, 'SELECT sync_sketch(192, 1, VARIADIC ARRAY[1])', '22023 columns must be given one by one, not as a VARIADIC array'),
	(19, 'SELECT sync_sketch(192, 1, 1, ''int''::regtype)', '22023 values of type regtype cannot be hashed'),
	(20, 'SELECT * FROM sync_sketch_diff(NULL, t.local(192))', '22004 a must not be null'), (21, 'SELECT * FROM sync_sketch_diff(t.local(192), NULL)', '22004 b must not be null'),
	(22, 'SELECT * FROM sync_sketch_diff(t.local(192), t.local(193))', '22023 the sketches have different numbers of cells'),
	(23, 'SELECT * FROM sync_sketch_diff((SELECT sync_sketch(192, 1, 1, 2)), (SELECT sync_sketch(192, 2, 1, 2)))', '22023 the sketches have different numbers of key columns')) AS c (n, call, expected) ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- 6. Bytes that are no sketch
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.header(key_columns bigint, cells bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT 'T'::bytea || decode(lpad(to_hex(key_columns), 8, '0') || lpad(to_hex(cells), 8, '0'), 'hex') $$;
SELECT is(substr(t.few(192), 1, 9), t.header(2, 192), '(as a sketch begins)');
CREATE TABLE t.forged (n serial, what text, bytes bytea);
INSERT INTO t.forged (what, bytes) VALUES
	('nothing', ''), ('a letter', 'T'), ('half a header', '\x5400000002'), ('a header without cells', t.header(2, 192)), ('one byte too few', substr(t.few(192), 1, 6152)), ('one byte too many', t.few(192) || '\x00'), ('a cell too many', t.few(192) || substr(t.few(192), 10, 32)),
	('a cell too few', substr(t.few(192), 1, 6121)), ('another letter', overlay(t.few(192) PLACING '\x44' FROM 1)), ('a small letter', overlay(t.few(192) PLACING '\x74' FROM 1)), ('that of 0.4', overlay(t.few(192) PLACING '\x53' FROM 1)), ('letter zero', overlay(t.few(192) PLACING '\x00' FROM 1)),
	('no cells, but their bytes', overlay(t.few(192) PLACING t.header(2, 0) FROM 1)), ('fewer cells than there are', t.header(2, 191) || substr(t.few(192), 10, 191 * 32)), ('one cell', t.header(2, 1) || substr(t.few(192), 10, 32)),
	('more cells than may be', t.header(2, 1048577) || decode(repeat('00', 32), 'hex')), ('as many as can be told', t.header(2, 4294967295)), ('as many, with bytes', t.header(2, 4294967295) || substr(t.few(192), 10)),
	('a number of cells whose bytes overflow', t.header(2, 134217729) || substr(t.few(192), 10)), ('no key', t.header(0, 192) || substr(t.few(192), 10)), ('a key of 101 columns', t.header(101, 192) || substr(t.few(192), 10)), ('a key of all columns there are', t.header(4294967295, 192) || substr(t.few(192), 10)),
	('a key of no cells', t.header(1, 0)), ('text', 'hello, this is not a sketch'), ('a megabyte of zeros', decode(repeat('00', 1048576), 'hex'));
SELECT is(t.attempt(format('SELECT * FROM sync_sketch_diff(%L, t.few(192))', bytes)), '22023 a is not a sketch', 'not a sketch: ' || what) FROM t.forged ORDER BY n;
SELECT is_empty($$ SELECT what, a FROM t.forged, t.attempt(format('SELECT * FROM sync_sketch_diff(t.few(192), %L)', bytes)) AS a WHERE a <> '22023 b is not a sketch' $$, 'nor on the other side');
-- Cells that nobody made of rows: whatever bit is flipped, it is noticed.
SELECT is_empty($$ SELECT bit, a FROM generate_series(0, 8 * (octet_length(t.few(192)) - 9) - 1, 29) AS bit, set_bit(t.few(192), 72 + bit, 1 - get_bit(t.few(192), 72 + bit)) AS forged, t.attempt(format('SELECT * FROM sync_sketch_diff(%L, t.few(192))', forged)) AS a
                    WHERE a <> '22023 the sketches are too small for their differences' $$, 'one bit of a cell is another: refused');
SELECT is_empty($$ SELECT n, a FROM generate_series(1, 300) n, t.attempt(format('SELECT * FROM sync_sketch_diff(%L, t.few(192))', t.header(2, 192) || (SELECT string_agg(sha256((n || ' ' || m)::bytea), '' ORDER BY m) FROM generate_series(1, 192) m))) AS a
                    WHERE a <> '22023 the sketches are too small for their differences' $$, 'cells of random bytes: refused');
SELECT is_empty($$ SELECT word, n, a FROM unnest('{0000000000000001,ffffffffffffffff,7fffffffffffffff,8000000000000000}'::text[]) AS word, generate_series(0, 3) AS n, t.attempt(format('SELECT * FROM sync_sketch_diff(%L, t.none(1))', t.header(2, 192) || decode(repeat(repeat('00', 8 * n) || word || repeat('00', 24 - 8 * n), 192), 'hex'))) AS a
                    WHERE a <> '22023 the sketches are too small for their differences' $$, 'cells of one word: refused');
-- One of 0.4, which had another word in each cell, is known for what it is.
CREATE FUNCTION t.hint(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; RETURN hint;
END $$;
SELECT is(t.hint(format('SELECT * FROM sync_sketch_diff(%L, t.few(192))', 'S'::bytea || substr(t.header(2, 48), 2) || decode(repeat('00', 40 * 48), 'hex'))), 'It looks like one of syncstate 0.4 or older, which cannot be compared with a newer one: let both sides have the same version.', 'a sketch of 0.4');
SELECT is(t.hint('SELECT * FROM sync_sketch_diff(t.few(192), ''x'')'), 'sync_sketch makes one.', '... and what is none at all');

-- ---------------------------------------------------------------------------------------------
-- 7. However it is computed
-- ---------------------------------------------------------------------------------------------
-- force_parallel_mode is called debug_parallel_query from PostgreSQL 16 on.
CREATE FUNCTION t.force_parallel(value text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config(CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'force_parallel_mode' ELSE 'debug_parallel_query' END, value, true);
END $$;
CREATE FUNCTION t.plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP plan := plan || line || E'\n'; END LOOP;
	RETURN plan;
END $$;
CREATE TABLE t.how (what text, sketch bytea);
INSERT INTO t.how SELECT 'serial', sync_sketch(250, 2, id, sub, body, n, doc) FROM t.local;
INSERT INTO t.how SELECT 'sorted', sync_sketch(250, 2, id, sub, body, n, doc ORDER BY n DESC) FROM t.local;
INSERT INTO t.how SELECT 'distinct', sync_sketch(DISTINCT 250, 2, id, sub, body, n, doc) FROM (SELECT * FROM t.local UNION ALL SELECT * FROM t.local) AS twice;
INSERT INTO t.how SELECT 'filtered', sync_sketch(250, 2, id, sub, body, n, doc) FILTER (WHERE which = 1) FROM t.local, generate_series(1, 2) which;
INSERT INTO t.how SELECT DISTINCT 'as a window of all', sync_sketch(250, 2, id, sub, body, n, doc) OVER () FROM t.local;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 3;
ALTER TABLE t.local SET (parallel_workers = 3);
SELECT alike(t.plan('SELECT sync_sketch(250, 2, id, sub, body, n, doc) FROM t.local'), '%Finalize Aggregate%Gather%Partial Aggregate%', '(in parallel)');
INSERT INTO t.how SELECT 'parallel', s FROM (SELECT sync_sketch(250, 2, id, sub, body, n, doc) AS s FROM t.local) AS x;
SET LOCAL parallel_leader_participation = off;
DO $$ BEGIN PERFORM t.force_parallel('on'); END $$;
INSERT INTO t.how SELECT 'parallel, forced', s FROM (SELECT sync_sketch(250, 2, id, sub, body, n, doc) AS s FROM t.local) AS x;
SELECT is((SELECT sync_sketch(250, 1, id) FROM t.local WHERE id < 0), t.none(1), 'no rows, in parallel');
SELECT results_eq('SELECT * FROM sync_sketch_diff((SELECT sync_sketch(240, 2, id, sub, body, n, doc) FROM t.local), (SELECT sync_sketch(240, 2, id, sub, body, n, doc) FROM t.remote))', 'SELECT * FROM t.expected ORDER BY key_hash', 'a difference of two that were made in parallel');
DO $$ BEGIN PERFORM t.force_parallel('off'); END $$;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL enable_partitionwise_aggregate = on;
CREATE TABLE t.parts (LIKE t.local, cells int, keys int) PARTITION BY RANGE (id);
CREATE TABLE t.part0 PARTITION OF t.parts FOR VALUES FROM (-10) TO (1);
CREATE TABLE t.part1 PARTITION OF t.parts FOR VALUES FROM (1) TO (300);
CREATE TABLE t.part2 PARTITION OF t.parts FOR VALUES FROM (300) TO (2000);
CREATE TABLE t.part3 PARTITION OF t.parts FOR VALUES FROM (2000) TO (3000);
INSERT INTO t.parts SELECT l.*, CASE WHEN id < 300 THEN 240 ELSE 250 END, CASE WHEN id < 300 THEN 1 ELSE 2 END FROM t.local l;
ANALYZE t.parts;
SELECT alike(t.plan('SELECT sync_sketch(250, 2, id, sub, body, n, doc) FROM t.parts'), '%Finalize Aggregate%Append%Partial Aggregate%Partial Aggregate%', '(partition by partition)');
INSERT INTO t.how SELECT 'partitions', sync_sketch(250, 2, id, sub, body, n, doc) FROM t.parts;
SELECT is(sketch, t.local(250), what) FROM t.how ORDER BY what;
SELECT is((SELECT count(*) FROM t.how), 8::bigint, 'each of them');
-- Each partition for itself is in order; together they are not.
SELECT is(t.attempt('SELECT sync_sketch(cells, 2, id, sub) FROM t.parts'), '22023 cells and key_columns must be the same for every row', 'sizes that differ from partition to partition');
SELECT is(t.attempt('SELECT sync_sketch(250, keys, id, sub) FROM t.parts'), '22023 cells and key_columns must be the same for every row', '... and keys');

-- ---------------------------------------------------------------------------------------------
-- 8. At random, with more cells than it takes: all of it, or nothing
-- ---------------------------------------------------------------------------------------------
-- test/model/sketch.py does that at length.
CREATE FUNCTION t.decodes(elements int, cells int, round int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) FROM sync_sketch_diff((SELECT sync_sketch(cells, 1, round, n) FROM generate_series(1, elements) n WHERE n % 3 > 0), (SELECT sync_sketch(cells, 1, round, n) FROM generate_series(1, elements) n WHERE n % 3 = 0)))
		<> least(1, elements) THEN
		RAISE EXCEPTION 'wrong: % elements in % cells, round %', elements, cells, round USING ERRCODE = 'WRONG';
	END IF;
	RETURN true;
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN false;
END $$;
SELECT cmp_ok((SELECT count(*) FILTER (WHERE t.decodes(elements, 2 * elements, round)) FROM generate_series(0, 50) elements, generate_series(1, 40) round), '>=', 2020::bigint, '0 to 50 elements in twice as many cells: 99 % are decoded');

SELECT * FROM finish();
ROLLBACK;
