-- Rows that differ: sync_source_diff against a join of the rows themselves, by every way that it takes;
-- and sync_source_diff3, by bases of single rows, against bases that the test keeps by the rule.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT no_plan();

CREATE SCHEMA t;
CREATE FUNCTION t.error(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' | ' || SQLERRM;
END $$;
CREATE FUNCTION t.diff(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(difference || ' ' || key, ', ' ORDER BY key), 'none') FROM sync_source_diff($1) $$;

-- ---------------------------------------------------------------------------------------------
-- Errors
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.l (id int PRIMARY KEY, v text);
CREATE TABLE t.r (v text, id int PRIMARY KEY);
CREATE TABLE t.keyless (id int, v text);
SELECT sync_source_attach('one', 't.l'), sync_source_attach('keyless', 't.keyless', 't.r'), sync_source_attach('s', 't.l', 't.r') \g /dev/null
SELECT is(t.error(format('SELECT %s(NULL)', f)), '22004 | type_key must not be null', f || ': a key is required') FROM unnest('{sync_source_diff,sync_source_diff3}'::text[]) f;
SELECT is(t.error(format('SELECT %s(%L)', f, '')), '22023 | type_key must be 1 to 512 bytes long', f || ': an empty key') FROM unnest('{sync_source_diff,sync_source_diff3}'::text[]) f;
SELECT is(t.error(format('SELECT %s(%L)', f, 'nobody')), '55000 | "nobody" has no source', f || ': no source') FROM unnest('{sync_source_diff,sync_source_diff3}'::text[]) f;
SELECT is(t.error($$ SELECT sync_source_diff('one') $$), '55000 | the source of "one" has no remote side', 'no remote side');
SELECT is(t.error($$ SELECT sync_source_diff('keyless') $$), '55000 | the source of "keyless" has no key', 'no key');
SELECT is(t.error($$ SELECT sync_source_diff3('s') $$), '55000 | the source of "s" keeps no bases of rows', 'no bases of rows');

-- ---------------------------------------------------------------------------------------------
-- Every kind of difference
-- ---------------------------------------------------------------------------------------------
SELECT is(t.diff('s'), 'none', 'two empty tables');
INSERT INTO t.l VALUES (1, 'a'), (2, NULL), (3, '');
SELECT is(t.diff('s'), 'local_only {"id": 1}, local_only {"id": 2}, local_only {"id": 3}', 'the other side is empty');
INSERT INTO t.r (id, v) TABLE t.l;
SELECT is(t.diff('s'), 'none', 'equal, whatever the order of columns');
DELETE FROM t.l;
SELECT is(t.diff('s'), 'remote_only {"id": 1}, remote_only {"id": 2}, remote_only {"id": 3}', 'our side is empty');
INSERT INTO t.l (id, v) SELECT id, v FROM t.r;
UPDATE t.l SET v = '' WHERE id = 2;
SELECT is(t.diff('s'), 'different {"id": 2}', 'NULL and an empty text differ');
UPDATE t.l SET id = 4 WHERE id = 1;
SELECT is(t.diff('s'), 'remote_only {"id": 1}, different {"id": 2}, local_only {"id": 4}', 'a row that got another key is two differences');
UPDATE t.l SET v = 'x', id = CASE id WHEN 4 THEN 1 ELSE id END;
SELECT is(t.diff('s'), 'different {"id": 1}, different {"id": 2}, different {"id": 3}', 'all rows differ');

-- ---------------------------------------------------------------------------------------------
-- Keys of all kinds
-- ---------------------------------------------------------------------------------------------
CREATE TYPE t.mood AS ENUM ('sad', 'ok');
CREATE TABLE t.many (n int, s text, u uuid, m t.mood, d numeric, b boolean, at date, raw bytea, a int[], v int);
CREATE TABLE t.many_r (LIKE t.many);
INSERT INTO t.many VALUES (1, 'q"\ é', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'ok', 1.50, true, '2001-02-03', '\x00ff', '{1,2}', 1);
SELECT sync_source_attach('many', 't.many', 't.many_r', key_columns => '{u,n,s,m,d,b,at,raw,a}') \g /dev/null
SELECT is((SELECT key FROM sync_source_diff('many')), '{"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "n": 1, "s": "q\"\\ é", "m": "ok", "d": 1.50, "b": true, "at": "2001-02-03", "raw": "\\x00ff", "a": [1, 2]}'::jsonb,
	'a key is a JSON object of its columns, numbers as numbers');
SELECT is((SELECT difference FROM sync_source_diff('many')), 'local_only', '... of any type');
INSERT INTO t.many_r SELECT n, s, u, m, 1.5, b, at, raw, a, 2 FROM t.many;
SELECT is((SELECT difference FROM sync_source_diff('many')), 'different', '... and 1.5 is 1.50');
UPDATE t.many_r SET v = 1;
SELECT is(t.diff('many'), 'none', '... equal');
-- A key of each type alone.
CREATE FUNCTION t.key_alone(k text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sync_source_attach('many', 't.many', 't.many_r', key_columns => ARRAY[k]);
	RETURN t.diff('many');
END $$;
SELECT is(t.key_alone(k), 'none', 'key ' || k) FROM unnest('{n,s,u,m,d,b,at,raw,a}'::text[]) k;
DELETE FROM t.many_r;
SELECT sync_source_attach('many', 't.many', 't.many_r', '{v}', '{s,n}') \g /dev/null
SELECT is(t.diff('many'), 'local_only {"n": 1, "s": "q\"\\ é"}', 'a key of columns that do not count');
INSERT INTO t.many_r (n, s, v) SELECT n, s, v FROM t.many;
SELECT is(t.diff('many'), 'none', '... the others may differ');

-- NULL is a value of a key.
CREATE TABLE t.nulls (a int, b text, v int);
CREATE TABLE t.nulls_r (LIKE t.nulls);
INSERT INTO t.nulls VALUES (NULL, NULL, 1), (NULL, '', 1), (1, NULL, 1), (2, NULL, 2);
INSERT INTO t.nulls_r VALUES (NULL, NULL, 2), (NULL, '', 1), (2, '', 2);
SELECT sync_source_attach('nulls', 't.nulls', 't.nulls_r', key_columns => '{a,b}') \g /dev/null
SELECT set_eq($$ SELECT difference, key->>'a' AS a, key->>'b' AS b FROM sync_source_diff('nulls') $$,
	$$ VALUES ('different', NULL, NULL), ('local_only', '1', NULL), ('local_only', '2', NULL), ('remote_only', '2', '') $$, 'NULL in a key');

-- Keys that are not unique: a key differs if its rows do, as a bag.
CREATE TABLE t.bag (k int, v text);
CREATE TABLE t.bag_r (LIKE t.bag);
SELECT sync_source_attach('bag', 't.bag', 't.bag_r', key_columns => '{k}') \g /dev/null
CREATE TABLE t.bags (k int, l text[], r text[], difference text);
INSERT INTO t.bags VALUES
	(1, '{a,b}', '{a}', 'different'), (2, '{a}', '{a,b}', 'different'), (3, '{a,a}', '{a}', 'different'),
	(4, '{a}', '{a,a}', 'different'), (5, '{a,a}', '{a,a}', NULL), (6, '{a,b}', '{b,a}', NULL),
	(7, '{a,a}', '{a,b}', 'different'), (8, '{a,a}', '{}', 'local_only'), (9, '{}', '{a,b}', 'remote_only'),
	(10, '{a,b,c}', '{b,c,d}', 'different'), (11, '{a,a,a}', '{b}', 'different'), (12, '{a,b}', '{}', 'local_only');
INSERT INTO t.bag SELECT k, unnest(l) FROM t.bags;
INSERT INTO t.bag_r SELECT k, unnest(r) FROM t.bags;
SELECT set_eq($$ SELECT (key->>'k')::int AS k, difference FROM sync_source_diff('bag') $$, 'SELECT k, difference FROM t.bags WHERE difference IS NOT NULL', 'keys that are not unique');
CREATE FUNCTION t.only_bag(k int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM t.bag; DELETE FROM t.bag_r;
	INSERT INTO t.bag SELECT b.k, unnest(l) FROM t.bags b WHERE b.k = only_bag.k;
	INSERT INTO t.bag_r SELECT b.k, unnest(r) FROM t.bags b WHERE b.k = only_bag.k;
	RETURN (SELECT difference FROM sync_source_diff('bag'));
END $$;
SELECT is(t.only_bag(k), difference, format('... one by one: %s and %s', l, r)) FROM t.bags ORDER BY k;

-- A collation by which other texts are equal: they are other keys all the same.
CREATE COLLATION t.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t.folds (k text COLLATE t.folded, v int, w text COLLATE "C");
CREATE TABLE t.folds_r (LIKE t.folds);
INSERT INTO t.folds VALUES ('a', 1), ('B', 1), ('c', 1), ('C', 2);
INSERT INTO t.folds_r VALUES ('A', 1), ('B', 1), ('c', 2), ('C', 1);
SELECT sync_source_attach('folds', 't.folds', 't.folds_r', key_columns => '{k}') \g /dev/null
SELECT is((SELECT string_agg(difference || ' ' || (key->>'k'), ', ' ORDER BY key->>'k' COLLATE "C") FROM sync_source_diff('folds')),
	'remote_only A, different C, local_only a, different c', 'keys are compared by what they are, not by a collation');

-- ---------------------------------------------------------------------------------------------
-- Many differences, by ever larger sketches and then by lists, against a join
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.big (id int, v text COLLATE "C", w text COLLATE "POSIX", PRIMARY KEY (id));
CREATE TABLE t.big_r (LIKE t.big INCLUDING ALL);
SELECT sync_source_attach('big', 't.big', 't.big_r') \g /dev/null
-- Makes n keys that differ, of all kinds, beside so many that do not; what is told and is not so.
CREATE FUNCTION t.wrong(same int, n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE t.big, t.big_r;
	INSERT INTO t.big SELECT i, 'v' || i, 'w' FROM generate_series(1, same + n) i WHERE i <= same OR i % 3 <> 1;
	INSERT INTO t.big_r SELECT i, CASE WHEN i > same AND i % 3 = 2 THEN 'changed' ELSE 'v' || i END, 'w'
	  FROM generate_series(1, same + n) i WHERE i <= same OR i % 3 <> 0;
	CREATE TEMPORARY TABLE told ON COMMIT DROP AS SELECT (key->>'id')::int AS id, difference FROM sync_source_diff('big');
	CREATE TEMPORARY TABLE so ON COMMIT DROP AS
		SELECT coalesce(l.id, r.id) AS id, CASE WHEN r.id IS NULL THEN 'local_only' WHEN l.id IS NULL THEN 'remote_only' ELSE 'different' END AS difference
		  FROM t.big l FULL JOIN t.big_r r ON l.id = r.id WHERE ROW(l.v, l.w) IS DISTINCT FROM ROW(r.v, r.w) OR l.id IS NULL OR r.id IS NULL;
	RETURN (SELECT format('%s of %s told, %s wrong', (SELECT count(*) FROM told), (SELECT count(*) FROM so),
		(SELECT count(*) FROM ((TABLE told EXCEPT ALL TABLE so) UNION ALL (TABLE so EXCEPT ALL TABLE told)) x)));
END $$;
CREATE FUNCTION t.check_diff(same int, n int) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS told, so;
	RETURN NEXT is(t.wrong(same, n), format('%s of %s told, 0 wrong', n, n), format('%s keys of %s', n, same + n));
END $$;
-- How often the rows are read until there is an answer.
CREATE FUNCTION t.reads(same int, n int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE before bigint;
BEGIN
	DROP TABLE IF EXISTS told, so;
	PERFORM t.wrong(same, n);
	before := pg_stat_get_xact_numscans('t.big'::regclass);
	PERFORM sync_source_diff('big');
	RETURN pg_stat_get_xact_numscans('t.big'::regclass) - before;
END $$;
SELECT is(t.reads(1000, 10), 2::bigint, 'few differences: a sketch, and the keys that it tells of');
SELECT is(t.reads(1000, 800), 3::bigint, 'more of them: from the first sketch it is known how large the second has to be');
SELECT cmp_ok(t.reads(2000, 12000), '<=', 4::bigint, 'many: one to begin with, one that grows at a guess, and one that fits');
SELECT t.check_diff(same, n) FROM (VALUES (0, 0), (1, 1), (1000, 0), (1000, 1), (1000, 2), (1000, 3), (0, 100), (1000, 300), (1000, 480), (1000, 600), (100, 1000), (2000, 2000), (2000, 7000), (2000, 12000), (0, 30000), (1000, 100000)) c(same, n);
-- More than any sketch is made for.
SELECT t.check_diff(1000, 170000);

-- Rows with keys that are not unique, by lists.
SELECT sync_source_attach('big', 't.big', 't.big_r', '{v}', '{w}') \g /dev/null
SELECT is((SELECT string_agg(difference || ' ' || key, ', ') FROM sync_source_diff('big')), 'different {"w": "w"}', 'many rows of one key');

-- ---------------------------------------------------------------------------------------------
-- Bases of rows
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.a (id int PRIMARY KEY, v int);
CREATE TABLE t.b (v int, id int PRIMARY KEY);
SELECT sync_source_attach('rows', 't.a', 't.b', row_base => true) \g /dev/null
CREATE FUNCTION t.plan() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', key->>'id', action, detail), ', ' ORDER BY (key->>'id')::int), 'none') FROM sync_source_diff3('rows') $$;
CREATE FUNCTION t.bases() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'rows' $$;
SELECT is(t.plan(), 'none', 'two empty tables');
INSERT INTO t.a VALUES (1, 1), (2, 2), (3, 3); INSERT INTO t.b (id, v) VALUES (2, 2), (3, 0), (4, 4);
SELECT is(t.plan(), '1 INITIAL_SYNC push, 3 INITIAL_SYNC conflict, 4 INITIAL_SYNC pull', 'never synchronised');
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
SELECT is(t.bases(), 1::bigint, 'where both sides agree, that is the base');
SELECT results_eq($$ SELECT key_hash, row_hash FROM syncstate.sync_row_base WHERE type_key = 'rows' $$, 'SELECT sync_row_hash(2), sync_row_hash(2, 2)', '... by the hashes of the key and of the row');
SELECT is(t.plan(), '1 PUSH create, 3 CONFLICT edit/edit, 4 PULL create', 'differing rows have none');
DELETE FROM t.b WHERE id = 2;
SELECT is(t.plan(), '1 PUSH create, 2 PULL delete, 3 CONFLICT edit/edit, 4 PULL create', 'a row that was deleted over there');
UPDATE t.a SET v = 20 WHERE id = 2;
SELECT is(t.plan(), '1 PUSH create, 2 CONFLICT edit/delete, 3 CONFLICT edit/edit, 4 PULL create', '... and changed here');
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
SELECT is(t.plan(), '1 PUSH create, 2 CONFLICT edit/delete, 3 CONFLICT edit/edit, 4 PULL create', 'marked, differing rows keep their bases');
DELETE FROM t.a WHERE id = 2;
SELECT is(t.plan(), '1 PUSH create, 3 CONFLICT edit/edit, 4 PULL create', 'deleted on both sides');
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
SELECT is(t.bases(), 0::bigint, '... and marked, there is no base');
SELECT is(t.plan(), '1 PUSH create, 3 CONFLICT edit/edit, 4 PULL create', 'without any base, rows are still known to have been synchronised');
DELETE FROM t.a; DELETE FROM t.b; INSERT INTO t.a VALUES (1, 1), (2, 2); INSERT INTO t.b (id, v) TABLE t.a;
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
UPDATE t.a SET v = 10 WHERE id = 1; UPDATE t.b SET v = 10 WHERE id = 1; UPDATE t.b SET v = 20 WHERE id = 2;
SELECT is(t.plan(), '2 PULL edit', 'the same edit on both sides is none');
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
UPDATE t.a SET v = 11 WHERE id = 1;
SELECT is(t.plan(), '1 PUSH edit, 2 PULL edit', '... and is the base from the next mark on');
UPDATE t.a SET v = 2 WHERE id = 2; UPDATE t.b SET v = 2 WHERE id = 2; UPDATE t.a SET v = 10 WHERE id = 1;

-- Who moves them, and who does not.
CREATE FUNCTION t.edit_base() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE t.a SET v = v + 100; UPDATE t.b SET v = v + 100;
	RETURN (SELECT string_agg(encode(row_hash, 'hex'), ' ' ORDER BY key_hash) FROM syncstate.sync_row_base WHERE type_key = 'rows');
END $$;
CREATE FUNCTION t.moved(before text) RETURNS boolean LANGUAGE sql AS $$
	SELECT string_agg(encode(row_hash, 'hex'), ' ' ORDER BY key_hash) IS DISTINCT FROM $1 FROM syncstate.sync_row_base WHERE type_key = 'rows' $$;
SELECT t.edit_base() AS was \gset
SELECT sync_state_mark_synced_many('{rows,other}', '{x,x}', '{y,y}') \g /dev/null
SELECT is(t.moved(:'was'), true, 'mark_synced_many moves them');
SELECT t.edit_base() AS was \gset
SELECT sync_state_observe('rows') \g /dev/null
SELECT is(t.moved(:'was'), true, 'observe does, if it adopts what it measured');
SELECT t.edit_base() AS was \gset
SELECT sync_state_observe('rows', 'same', 'same') \g /dev/null
SELECT is(t.moved(:'was'), false, '... not if it was told');
SELECT sync_state_delta('rows'), sync_source_diff3('rows'), sync_state_update('rows', '{"local_hash": "u"}') \g /dev/null
SELECT is(t.moved(:'was'), false, 'delta, diff3 and update do not');
SELECT sync_state_observe('rows') \g /dev/null
UPDATE t.a SET v = 1000 WHERE id = 1;
SELECT sync_state_observe('rows') \g /dev/null
SELECT t.edit_base() AS was \gset
SELECT sync_state_observe('rows') \g /dev/null
SELECT is(t.moved(:'was'), false, 'observe of sides that differ does not');
UPDATE t.a SET v = (SELECT v FROM t.b WHERE id = 1) WHERE id = 1;
SELECT run_id FROM sync_state_begin('rows') \gset
SELECT sync_state_observe('rows') \g /dev/null
SELECT is(t.moved(:'was'), false, 'observe during a run leaves them to the end of the run');
SELECT sync_state_mark_synced('rows', 'x', 'y', :'run_id') \g /dev/null
SELECT is(t.moved(:'was'), true, '... which moves them');
SELECT t.edit_base() AS was \gset
SELECT sync_state_mark_synced('rows', 'x', 'y', :'run_id') \g /dev/null
SELECT is(t.moved(:'was'), false, 'a mark that is repeated for a lost answer changes nothing');
SELECT sync_state_mark_synced_many('{rows}', '{x}', '{y}', ARRAY[:'run_id']::uuid[]) \g /dev/null
SELECT is(t.moved(:'was'), false, '... nor in a batch');
SELECT run_id FROM sync_state_begin('rows') \gset
SELECT sync_state_mark_synced_many('{rows}', '{x}', '{y}', ARRAY[:'run_id']::uuid[]) \g /dev/null
SELECT is(t.moved(:'was'), true, 'a run in a batch moves them');
-- What the same statement writes on one side only is no base.
SELECT t.edit_base() AS was \gset
WITH w AS (UPDATE t.a SET v = 5000 WHERE id = 1 RETURNING 1) SELECT sync_state_mark_synced('rows', 'x', 'y') FROM w \g /dev/null
SELECT is(t.plan(), '1 CONFLICT edit/edit', 'a row that the same statement changed on one side keeps its base');
UPDATE t.a SET v = (SELECT v FROM t.b WHERE id = 1) WHERE id = 1;

-- Who clears them.
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
SELECT is(t.bases(), 2::bigint, 'marked');
SAVEPOINT clear;
SELECT sync_state_reset('rows') \g /dev/null
SELECT is(t.bases(), 0::bigint, 'reset clears them');
UPDATE t.a SET v = 0 WHERE id = 1;
SELECT is(t.plan(), '1 INITIAL_SYNC conflict', '... as if they had never been synchronised');
ROLLBACK TO clear;
SELECT sync_state_forget('rows') \g /dev/null
SELECT is(t.bases(), 0::bigint, 'forget does');
ROLLBACK TO clear;
DELETE FROM syncstate.sync_state WHERE type_key = 'rows';
SELECT is(t.bases(), 0::bigint, 'DELETE does');
ROLLBACK TO clear;
SELECT is(t.bases(), 2::bigint, '... unless rolled back');
SELECT sync_state_mark_synced('another', 'x', 'y'), sync_source_attach('another', 't.a', 't.b', row_base => true), sync_state_mark_synced('another', 'x', 'y') \g /dev/null
SELECT sync_state_reset('another') \g /dev/null
SELECT is(t.bases(), 2::bigint, 'those of another key stay');
-- What does not change is not written.
CREATE TEMPORARY TABLE written AS SELECT ctid::text AS a, xmax::text AS b FROM syncstate.sync_row_base WHERE type_key = 'rows';
SELECT sync_state_mark_synced('rows', 'x', 'y') \g /dev/null
SELECT set_eq($$ SELECT ctid::text AS a, xmax::text AS b FROM syncstate.sync_row_base WHERE type_key = 'rows' $$, 'TABLE written', 'a base that stays as it is is not written');

-- Keys that are not unique have a base too: of all their rows.
SELECT sync_source_attach('bag', 't.bag', 't.bag_r', key_columns => '{k}', row_base => true) \g /dev/null
DELETE FROM t.bag; DELETE FROM t.bag_r;
INSERT INTO t.bag VALUES (1, 'a'), (1, 'b'), (2, 'a'); INSERT INTO t.bag_r TABLE t.bag;
SELECT sync_state_mark_synced('bag', 'x', 'y') \g /dev/null
INSERT INTO t.bag VALUES (1, 'b'); DELETE FROM t.bag_r WHERE k = 2;
SELECT is((SELECT string_agg(concat_ws(' ', key, action, detail), ', ' ORDER BY key) FROM sync_source_diff3('bag')), '{"k": 1} PUSH edit, {"k": 2} PULL delete', 'keys that are not unique');

-- ---------------------------------------------------------------------------------------------
-- At random, against bases that are kept by the rule
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.m (part text, id int, v int, w text, PRIMARY KEY (part, id));
CREATE TABLE t.n (id int, w text, v int, part text, PRIMARY KEY (id, part));
CREATE TABLE t.base (part text, id int, row_is text, PRIMARY KEY (part, id));
-- Both sides beside each other, with the base.
CREATE VIEW t.sides AS
	SELECT part, id, l.row_is AS l, r.row_is AS r, b.row_is AS b
	  FROM (SELECT part, id, ROW(v, w)::text AS row_is FROM t.m) l
	  FULL JOIN (SELECT part, id, ROW(v, w)::text AS row_is FROM t.n) r USING (part, id)
	  FULL JOIN t.base b USING (part, id);
CREATE VIEW t.told AS SELECT key->>'part' AS part, (key->>'id')::int AS id, action, detail FROM sync_source_diff3('random');
CREATE FUNCTION t.touch(side text, how text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	p text := chr(97 + (random() * 2)::int); i int := (random() * 40)::int; x int := (random() * 3)::int;
	sides text[] := CASE side WHEN 'both' THEN '{m,n}'::text[] ELSE ARRAY[side] END; s text;
BEGIN
	FOREACH s IN ARRAY sides LOOP
		IF how = 'delete' THEN
			EXECUTE format('DELETE FROM t.%I WHERE part = $1 AND id = $2', s) USING p, i;
		ELSE
			EXECUTE format('INSERT INTO t.%I AS t (part, id, v, w) VALUES ($1, $2, $3, $4) ON CONFLICT (part, id) DO UPDATE SET v = EXCLUDED.v, w = EXCLUDED.w', s)
			  USING p, i, x, CASE WHEN x > 1 THEN 'w' END;
		END IF;
	END LOOP;
END $$;
CREATE FUNCTION t.rounds(seed float8, n int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	wrong bigint; synced boolean := false; total bigint := 0;
BEGIN
	PERFORM setseed(seed);
	FOR round IN 1 .. n LOOP
		-- Edits of either side, and some that both make alike.
		PERFORM t.touch((ARRAY['m', 'n', 'both'])[1 + floor(random() * 3)], (ARRAY['write', 'write', 'delete'])[1 + floor(random() * 3)])
		   FROM generate_series(1, 1 + (random() * 40)::int);
		SELECT count(*) INTO wrong FROM (
			SELECT part, id, sync_state_action(l, r, b, b, synced) AS action, sync_state_detail(l, r, b, b, synced) AS detail
			  FROM t.sides WHERE l IS DISTINCT FROM r) o FULL JOIN t.told USING (part, id, action, detail)
		 WHERE o IS NULL OR told IS NULL;
		RETURN NEXT is(wrong, 0::bigint, format('round %s: %s decisions', round, (SELECT count(*) FROM t.told)));
		total := total + (SELECT count(*) FROM t.told);
		-- A part of what is to be done is done.
		INSERT INTO t.n (part, id, v, w) SELECT m.part, m.id, m.v, m.w FROM t.m JOIN t.told USING (part, id) WHERE action = 'PUSH' AND random() < 0.6
			ON CONFLICT (part, id) DO UPDATE SET v = EXCLUDED.v, w = EXCLUDED.w;
		DELETE FROM t.m USING t.told WHERE told.part = m.part AND told.id = m.id AND action = 'PULL' AND detail = 'delete' AND random() < 0.6;
		-- A sync is recorded; by the rule, bases move where both sides agree.
		CONTINUE WHEN random() < 0.3;
		IF random() < 0.5 THEN
			PERFORM sync_state_mark_synced('random', 'l' || round, 'r' || round);
		ELSE
			PERFORM sync_state_mark_synced_many('{random}', ARRAY['l' || round], ARRAY['r' || round]);
		END IF;
		DELETE FROM t.base USING t.sides s WHERE s.part = base.part AND s.id = base.id AND s.l IS NULL AND s.r IS NULL;
		INSERT INTO t.base SELECT part, id, l FROM t.sides WHERE l = r ON CONFLICT (part, id) DO UPDATE SET row_is = EXCLUDED.row_is;
		synced := true;
		RETURN NEXT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'random'), (SELECT count(*) FROM t.base), format('round %s: as many bases', round));
	END LOOP;
	RETURN NEXT cmp_ok(total, '>', (n * 5)::bigint, 'there was something to decide');
END $$;
SELECT sync_source_attach('random', 't.m', 't.n', row_base => true) \g /dev/null
SELECT t.rounds(0.42, 40);
-- The same by lists: so many rows that differ beside them that no sketch holds them.
SELECT sync_source_detach('random'), sync_state_forget('random') \g /dev/null
DELETE FROM t.base; DELETE FROM t.m; DELETE FROM t.n;
INSERT INTO t.m SELECT 'filler', i, 1, 'x' FROM generate_series(1, 230000) i;
SELECT sync_source_attach('random', 't.m', 't.n', row_base => true) \g /dev/null
SELECT sync_state_mark_synced('random', 'x', 'y') \g /dev/null
INSERT INTO t.n (part, id, v, w) VALUES ('filler', 1, 1, 'x'), ('filler', 2, 0, 'x'), ('a', 1, 1, 'x');
SELECT is((SELECT string_agg(concat_ws(' ', part, id, action, detail), ', ' ORDER BY part, id) FROM t.told WHERE part = 'a' OR id < 4), 'a 1 PULL create, filler 2 CONFLICT edit/edit, filler 3 PUSH create', 'by lists');
SELECT sync_state_mark_synced('random', 'x', 'y') \g /dev/null
DELETE FROM t.n WHERE part = 'filler' AND id = 1;
SELECT is((SELECT string_agg(concat_ws(' ', part, id, action, detail), ', ' ORDER BY part, id) FROM t.told WHERE part = 'a' OR id < 4), 'a 1 PULL create, filler 1 PULL delete, filler 2 CONFLICT edit/edit, filler 3 PUSH create', '... bases too');

-- ---------------------------------------------------------------------------------------------
-- A conflict that is resolved is resolved for its rows, too
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.ours (id int PRIMARY KEY, v text);
CREATE TABLE t.theirs (id int PRIMARY KEY, v text);
CREATE FUNCTION t.rows() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(concat_ws(' ', key ->> 'id', action, detail), ', ' ORDER BY (key ->> 'id')::int), 'none') FROM sync_source_diff3('settled') $$;
INSERT INTO t.ours SELECT i, 'v' FROM generate_series(1, 6) i;
INSERT INTO t.theirs TABLE t.ours;
SELECT sync_source_attach('settled', 't.ours', 't.theirs', row_base => true) \g /dev/null
SELECT sync_state_observe('settled') \g /dev/null
-- 1: both edited; 2: ours edited, theirs deleted; 3: the reverse; 4: only ours; 5: only theirs; 7: both new
UPDATE t.ours SET v = 'o' WHERE id IN (1, 2, 4);
UPDATE t.theirs SET v = 't' WHERE id IN (1, 3, 5);
DELETE FROM t.theirs WHERE id = 2;
DELETE FROM t.ours WHERE id = 3;
INSERT INTO t.ours VALUES (7, 'o');
INSERT INTO t.theirs VALUES (7, 't');
SELECT is(sync_state_observe('settled') ->> 'action', 'CONFLICT', 'both sides were edited');
SELECT is(t.rows(), '1 CONFLICT edit/edit, 2 CONFLICT edit/delete, 3 CONFLICT delete/edit, 4 PUSH edit, 5 PULL edit, 7 CONFLICT edit/edit', '... four rows on both');
SAVEPOINT a;
SELECT sync_state_resolve('settled', 'local') \g /dev/null
SELECT is(t.rows(), '1 PUSH edit, 2 PUSH create, 3 PUSH delete, 4 PUSH edit, 5 PULL edit, 7 PUSH edit', 'local: ours are pushed, what only they edited is still theirs');
ROLLBACK TO a;
SELECT sync_state_resolve('settled', 'remote') \g /dev/null
SELECT is(t.rows(), '1 PULL edit, 2 PULL delete, 3 PULL create, 4 PUSH edit, 5 PULL edit, 7 PULL edit', 'remote: the reverse');
ROLLBACK TO a;
UPDATE t.ours SET v = 'm' WHERE id = 1;
SELECT sync_state_resolve('settled', 'merged', sync_state_delta('settled') ->> 'local_hash') \g /dev/null
SELECT is(t.rows(), '1 PUSH edit, 2 PUSH create, 3 PUSH delete, 4 PUSH edit, 5 PULL edit, 7 PUSH edit', 'merged: what was made of them is pushed');
ROLLBACK TO a;
-- A first sync: nobody knows a base.
SELECT sync_state_reset('settled') \g /dev/null
SELECT sync_state_observe('settled') \g /dev/null
SELECT is(t.rows(), '1 INITIAL_SYNC conflict, 2 INITIAL_SYNC push, 3 INITIAL_SYNC pull, 4 INITIAL_SYNC conflict, 5 INITIAL_SYNC conflict, 7 INITIAL_SYNC conflict', 'before a first sync');
SELECT sync_state_resolve('settled', 'remote') \g /dev/null
SELECT is(t.rows(), '1 PULL edit, 2 PUSH create, 3 PULL create, 4 PULL edit, 5 PULL edit, 7 PULL edit', '... remote: what is there on both sides is pulled');
UPDATE t.ours SET v = 'o' WHERE id = 6;
SELECT is((SELECT concat_ws(' ', action, detail) FROM sync_source_diff3('settled') WHERE key ->> 'id' = '6'), 'PUSH edit', '... and what was equal then is known');

-- ---------------------------------------------------------------------------------------------
-- Functions that somebody planted beside the extension's, and that fit the columns better
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.here (id int PRIMARY KEY, v text);
CREATE TABLE t.there (id int PRIMARY KEY, v text);
INSERT INTO t.here VALUES (1, 'a'), (2, 'b');
INSERT INTO t.there VALUES (1, 'a'), (2, 'c');
CREATE FUNCTION t.spring(text, int, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$;
CREATE FUNCTION public.sync_row_hash(int) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'planted'; END $$;
CREATE AGGREGATE public.sync_digest(int, text) (sfunc = t.spring, stype = text);
SELECT throws_ok($$ SELECT public.sync_digest(id, v) FROM t.here $$, 'P0001', 'planted', 'what is planted would be called by its name');
SELECT sync_source_attach('planted', 't.here', 't.there', row_base => true) \g /dev/null
SELECT is(sync_state_delta('planted') ->> 'detail', 'conflict', '... but not by delta');
SELECT is(sync_state_observe('planted') ->> 'detail', 'conflict', '... by observe');
SELECT is(t.diff('planted'), 'different {"id": 2}', '... by diff');
SELECT is((SELECT string_agg(concat_ws(' ', key, action, detail), ', ') FROM sync_source_diff3('planted')), '{"id": 2} INITIAL_SYNC conflict', '... by diff3');
SELECT is(sync_source_track('planted'), true, '... by track');
SELECT is(sync_source_verify('planted') ->> 'valid', 'true', '... by verify');
SELECT is((sync_state_mark_synced('planted', 'x', 'y')).sync_status, 'in_sync', '... by mark_synced, which reads both sides for their bases');

-- A sync from before there was a source says nothing of its rows.
CREATE TABLE t.early (id int PRIMARY KEY, v text);
CREATE TABLE t.early_r (LIKE t.early INCLUDING ALL);
INSERT INTO t.early VALUES (1, 'x');
SELECT sync_state_mark_synced('early', 'x', 'y') \g /dev/null
SELECT sync_source_attach('early', 't.early', 't.early_r', row_base => true) \g /dev/null
SELECT is((SELECT action || ' ' || detail FROM sync_source_diff3('early')), 'INITIAL_SYNC push', 'a sync from before a source was attached is none of its rows');

SELECT * FROM finish();
ROLLBACK;
