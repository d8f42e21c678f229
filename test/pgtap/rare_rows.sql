-- Rows that are rare: large ones, deep ones, types within types, a table that answers differently
-- each time it is read. What is promised of all others holds for them.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(31);

CREATE SCHEMA t;

-- A row of several megabytes, and those after it: each has the hash that it has by itself.
CREATE TABLE t.large (id int PRIMARY KEY, body text);
ALTER TABLE t.large ALTER body SET STORAGE EXTERNAL;
INSERT INTO t.large VALUES (1, 'small'), (2, repeat('large', 800000)), (3, 'small again');
SELECT is((SELECT count(DISTINCT sync_row_hash(id, body)) FROM t.large), 3::bigint, 'three rows, three hashes');
SELECT is(sync_row_hash(id, body), sync_row_hash(3, 'small again'::text), 'a row after one of 4 MB')
  FROM (SELECT * FROM t.large ORDER BY id OFFSET 2) AS x;
SELECT is((SELECT sync_digest(id, body ORDER BY id) FROM t.large), (SELECT sync_digest(id, body ORDER BY id DESC) FROM t.large), 'a digest in either order');
SELECT is((SELECT sync_digest(id, body) FROM t.large WHERE id <> 2),
	(SELECT sync_digest(v.id, v.body) FROM (VALUES (1, 'small'), (3, 'small again')) AS v (id, body)), '... and without the large one');

-- Containers in containers, beyond where the depth of the stack is looked at.
CREATE FUNCTION t.nested(depth int, leaf text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT (repeat('{"a": [', $1) || $2 || repeat(']}', $1))::jsonb $$;
SELECT is(sync_row_hash(t.nested(50, '1.0')), sync_row_hash(t.nested(50, '1.00')), 'a document 100 deep: equal ones');
SELECT isnt(sync_row_hash(t.nested(50, '1')), sync_row_hash(t.nested(50, '2')), '... and ones that differ at the bottom');
SELECT isnt(sync_row_hash(t.nested(50, '1')), sync_row_hash(t.nested(51, '1')), '... and ones of another depth');
CREATE TABLE t.deep AS SELECT t.nested(4000, '1') AS doc;
SET LOCAL max_stack_depth = '200kB';
SELECT throws_ok($$ SELECT sync_row_hash(doc) FROM t.deep $$, '54001', NULL, 'a document too deep for the stack');
SET LOCAL max_stack_depth = '2MB';
SELECT lives_ok($$ SELECT sync_row_hash(doc) FROM t.deep $$, '... and not for one of the usual size');

-- An enum's value whose label is gone from the catalogue: nothing that can be hashed.
CREATE TYPE t.mood AS ENUM ('sad', 'glad');
CREATE TABLE t.moods (m t.mood);
INSERT INTO t.moods VALUES ('glad');
DELETE FROM pg_enum WHERE enumtypid = 't.mood'::regtype AND enumlabel = 'glad';
SELECT throws_ok($$ SELECT sync_row_hash(m) FROM t.moods $$, '22P03', NULL, 'a value of an enum that has no label');

-- A table that is not the same when it is read again, within one snapshot.
CREATE SEQUENCE t.reads;
CREATE FUNCTION t.another() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('t.reads') $$;
CREATE VIEW t.restless AS SELECT t.another() AS id, 'x'::text AS body;
CREATE TABLE t.steady (id bigint PRIMARY KEY, body text);
SELECT sync_source_attach('restless', 't.restless', 't.steady', key_columns => '{id}') \g /dev/null
SELECT throws_ok($$ SELECT * FROM sync_source_diff('restless') $$, '40001', 'rows of "restless" changed while they were compared',
	'a row that is not there any more when its key is looked up');

-- ---------------------------------------------------------------------------------------------
-- Tracking: columns of types within types
-- ---------------------------------------------------------------------------------------------
CREATE TYPE t.weather AS ENUM ('cold', 'hot');
CREATE TYPE t.point2 AS (x int, label text);
CREATE TYPE t.place AS (at t.point2, felt t.weather[], gone int, span int4range);
ALTER TYPE t.place DROP ATTRIBUTE gone;
CREATE DOMAIN t.places AS t.place[];
CREATE TYPE t.ports AS RANGE (subtype = int4, multirange_type_name = t.port_set);
CREATE TABLE t.composed (id int PRIMARY KEY, home t.place, visited t.places, open int4multirange, ports t.port_set, where_at point, tree tsvector);
INSERT INTO t.composed
SELECT i, ROW(ROW(i, 'label')::t.point2, '{cold}', int4range(1, i + 2))::t.place, ARRAY[ROW(ROW(1, NULL)::t.point2, NULL, NULL)::t.place]::t.places,
       int4multirange(int4range(1, 3), int4range(5, 5 + i)), t.port_set(t.ports(1, i + 1)), point(i, 2), 'a b'::tsvector
  FROM generate_series(1, 20) AS i;
CREATE FUNCTION t.valid(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT (sync_source_verify($1) ->> 'valid') $$;
SELECT sync_source_attach(k, 't.composed') FROM unnest('{composed,measured}'::text[]) AS k \g /dev/null
SELECT is(sync_source_track('composed'), true, 'a table of composite, array, range and multirange columns is tracked');
SELECT is(t.valid('composed'), 'true', '... validly');
UPDATE t.composed SET home.at.x = -1 WHERE id = 1;
UPDATE t.composed SET open = open + int4multirange(int4range(100, 200)), ports = '{}' WHERE id = 2;
UPDATE t.composed SET visited[2] = home WHERE id > 10;
DELETE FROM t.composed WHERE id = 4;
SELECT is(t.valid('composed'), 'true', '... through all sorts of writes');
SELECT is(sync_state_delta('composed') ->> 'local_hash',
	sync_state_delta('measured') ->> 'local_hash', '... and delta tells what is measured');
ALTER TYPE t.place ADD ATTRIBUTE since date CASCADE;
SELECT is(sync_state_delta('composed') ->> 'local_hash',
	sync_state_delta('measured') ->> 'local_hash', 'a composite type within that gets a field: never falsified');
ALTER TYPE t.weather ADD VALUE 'so so';
SELECT is(sync_state_delta('composed') ->> 'local_hash',
	sync_state_delta('measured') ->> 'local_hash', '... nor an enum that gets a label');

-- Not all that can be stored can be hashed: said of it when it is attached, or tracked later.
CREATE TYPE t.with_oid AS (a int, proc regprocedure);
CREATE TABLE t.unpackable (id int PRIMARY KEY, c t.with_oid);
SELECT throws_ok($$ SELECT sync_source_attach('unpackable', 't.unpackable') $$, '22023', NULL, 'a composite with an identifier of this database');
CREATE TYPE t.grows AS (a int);
CREATE TABLE t.packable (id int PRIMARY KEY, c t.grows, m int4multirange);
SELECT sync_source_attach('packable', 't.packable') \g /dev/null
ALTER TYPE t.grows ADD ATTRIBUTE proc regprocedure CASCADE;
SELECT throws_ok($$ SELECT sync_source_track('packable') $$, '22023', 'the source of "packable" cannot be tracked', '... or one that came to have one');
SELECT throws_ok($$ SELECT sync_state_delta('packable') $$, '55000', NULL, '... which cannot be measured either');

-- ---------------------------------------------------------------------------------------------
-- Attached anew: the bases of rows go with the columns that they are of
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.ours (a int UNIQUE NOT NULL, b int UNIQUE NOT NULL, body text);
CREATE TABLE t.theirs (LIKE t.ours INCLUDING ALL);
INSERT INTO t.ours SELECT i, 100 + i, 'x' FROM generate_series(1, 5) AS i;
INSERT INTO t.theirs SELECT * FROM t.ours;
CREATE FUNCTION t.bases() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'rows' $$;
CREATE FUNCTION t.attach(VARIADIC key_columns text[]) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
	PERFORM sync_source_attach('rows', 't.ours', 't.theirs', key_columns => $1, row_base => true);
	RETURN t.bases();
END $$;
SELECT is(t.attach('a'), 0::bigint, 'nothing is known of rows at first');
SELECT sync_state_mark_synced('rows', sync_state_delta('rows') ->> 'local_hash', sync_state_delta('rows') ->> 'remote_hash') \g /dev/null
SELECT is(t.bases(), 5::bigint, '... each has a base after a sync');
SELECT is(t.attach('a'), 5::bigint, 'attached as it is: they are kept');
SELECT is(t.attach('b'), 0::bigint, 'by another key column: they are of other keys, and go');
SELECT sync_state_mark_synced('rows', sync_state_delta('rows') ->> 'local_hash', sync_state_delta('rows') ->> 'remote_hash') \g /dev/null
SELECT is(t.bases(), 5::bigint, '... until the next sync');
SELECT is(t.attach('b', 'a'), 0::bigint, 'by more key columns: likewise');

-- ---------------------------------------------------------------------------------------------
-- Windows: rows that leave a frame are subtracted
-- ---------------------------------------------------------------------------------------------
SELECT is(framed, (SELECT sync_digest(id, body) FROM t.large WHERE id BETWEEN l.id AND l.id + 1), 'a moving frame, from row ' || id)
  FROM (SELECT id, sync_digest(id, body) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING) AS framed FROM t.large) AS l;
SELECT is(d, repeat('0', 32) || ':0', 'an empty frame')
  FROM (SELECT sync_digest(id, body) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) AS d FROM t.large ORDER BY id LIMIT 1) AS l;
SELECT is((SELECT sync_digest(id) FILTER (WHERE id > 3) FROM t.large), repeat('0', 32) || ':0', 'no rows but those that were filtered');

SELECT * FROM finish();
ROLLBACK;
