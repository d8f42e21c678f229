-- A cursor that comes back is untrusted: whatever does not have the form of one is 22023, and
-- nothing that one can be turned into does worse than be refused.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(76);

CREATE SCHEMA t;
-- What reading from a cursor leads to: an SQLSTATE, or ok.
CREATE FUNCTION t.outcome(cursor text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM sync_state_changes(cursor);
		RETURN 'ok';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;

-- A cursor between two sets, and two within one: behind a key of one-byte characters, and of longer ones.
SELECT sync_state_cursor() AS closed \gset
SELECT array_to_string((string_to_array(:'closed', ':'))[1:5], ':') || ':' AS before, split_part(:'closed', ':', 6) AS snapshot \gset
SELECT :'closed' || ':' || :'snapshot' || ':3:' AS open \gset
SELECT :'open' || encode('article', 'hex') AS ascii, :'open' || encode(convert_to('щука', 'UTF8'), 'hex') AS utf8 \gset
SELECT matches(:'closed'::text, '^1(:[0-9a-f]+){3}:[0-9a-f]{32}:[0-9a-f]+-[0-9a-f]+(-[0-9a-f]+(,[0-9a-f]+)*)?$', 'the form of a cursor');
SELECT is(t.outcome(c), 'ok', 'a cursor: ' || name)
  FROM (VALUES (1, :'closed', 'between sets'), (2, :'open', 'at the beginning of a set'), (3, :'ascii', 'behind a key'), (4, :'utf8', 'behind another')) AS v (n, c, name) ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- Cut off, at every position
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.cut(cursor text) RETURNS TABLE (prefix text) LANGUAGE sql AS $$ SELECT left($1, n) FROM generate_series(0, length($1) - 1) AS n $$;
-- A list of transactions, cut off, is a shorter list; so take it out first.
SELECT :'before' || regexp_replace(:'snapshot', '^([^-]*-[^-]*).*', '\1') AS bare \gset
SELECT is_empty(format('SELECT prefix, t.outcome(prefix) FROM t.cut(%L) WHERE t.outcome(prefix) <> ''22023''', :'bare'), 'between sets, it is not a cursor, wherever it is cut off');
SELECT bag_eq(format('SELECT replace(prefix, %L, '''') FROM t.cut(%L) WHERE t.outcome(prefix) <> ''22023''', :'bare', :'bare' || ':0-3:3:' || encode('abc', 'hex')),
	$$ VALUES (''), (':0-3:3:'), (':0-3:3:61'), (':0-3:3:6162') $$, 'within a set, only where that makes another cursor');
SELECT bag_eq(format('SELECT replace(prefix, %L, '''') FROM t.cut(%L) WHERE t.outcome(prefix) <> ''22023''', :'bare', :'bare' || ':0-3:3:' || encode(convert_to('aщ', 'UTF8'), 'hex')),
	$$ VALUES (''), (':0-3:3:'), (':0-3:3:61') $$, '... and not within a character');
SELECT is_empty(format($$ SELECT cursor || extra FROM unnest(ARRAY[%L, %L, %L]) AS cursor, unnest('{" ",:,-,g,0:,:0,;,é}'::text[]) AS extra
                           WHERE t.outcome(cursor || extra) <> '22023' $$, :'bare', :'open' || '61', :'ascii'), 'nor with something behind it');
SELECT is_empty(format($$ SELECT substr(cursor, n) FROM unnest(ARRAY[%L, %L]) AS cursor, generate_series(2, length(cursor)) AS n
                           WHERE t.outcome(substr(cursor, n)) NOT IN ('22023') $$, :'bare', :'ascii'), 'nor without its beginning');

-- ---------------------------------------------------------------------------------------------
-- By kind
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.bad (n int GENERATED ALWAYS AS IDENTITY, cursor text, name text);
-- S stands for the part before the snapshots.
INSERT INTO t.bad (cursor, name) VALUES
	('', 'nothing'),
	(' ', 'a blank'),
	('NULL', 'the word NULL'),
	('0', 'a number'),
	('1', 'a format'),
	(':', 'a separator'),
	(repeat(':', 10), 'separators'),
	('{}', 'JSON'),
	('article', 'a key'),
	('2026-01-01 00:00:00+00', 'a time'),
	(repeat('1', 100000), 'a long number'),
	(repeat('f', 1000000), 'a longer one'),
	(repeat('щ', 1000), 'letters'),
	('S', 'no snapshot'),
	('S:', 'another separator'),
	('S-', 'a snapshot without numbers'),
	('S5', 'a snapshot of one number'),
	('S5-', 'a snapshot without its end'),
	('S-5', 'a snapshot without its beginning'),
	('S5-4', 'a snapshot that ends before it begins'),
	('S5--6', 'a negative number'),
	('S+5-6', 'a sign'),
	('S0x5-6', 'a prefix of hexadecimal numbers'),
	('S5-6 ', 'a blank behind it'),
	('S 5-6', 'a blank before it'),
	('SA-B', 'upper case'),
	('S5.0-6', 'a fraction'),
	('S5-8000000000000000', 'a transaction id that no bigint holds'),
	('S5-ffffffffffffffff', 'the largest number of 64 bits'),
	('S5-10000000000000000', 'one more'),
	('S0-' || repeat('0', 100) || 'g', 'many zeros and no digit'),
	('S5-9-', 'an empty list'),
	('S5-9-,', 'a list of nothing'),
	('S5-9-5,', 'a list with a comma behind it'),
	('S5-9-,5', 'a list with a comma before it'),
	('S5-9-5,,6', 'a gap in a list'),
	('S5-9-4', 'a listed transaction before the snapshot'),
	('S5-9-9', 'a listed transaction behind the snapshot'),
	('S5-5-5', 'a listed transaction in an empty snapshot'),
	('S5-9-5-6', 'two lists'),
	('S5-9-' || repeat('5,', 100000) || 'x', 'a long list that ends badly'),
	('S5-6:', 'the beginning of a second snapshot'),
	('S5-6:5-6', 'two snapshots and no position'),
	('S5-6:5-6:', 'a position of nothing'),
	('S5-6:5-6:5', 'a position without a key'),
	('S5-6:5-4:5:', 'a second snapshot that ends before it begins'),
	('S5-6:5-6:x:61', 'a position that is no number'),
	('S5-6:5-6:8000000000000000:61', 'a position that no bigint holds'),
	('S5-6:5-6:5:6', 'half a byte'),
	('S5-6:5-6:5:6g', 'a byte that is none'),
	('S5-6:5-6:5:61:', 'something behind the key'),
	('S5-6:5-6:5:6100', 'a zero byte in the key'),
	('S5-6:5-6:5:00', 'a zero byte for a key'),
	('S5-6:5-6:5:ff', 'a key that is not UTF-8'),
	('S5-6:5-6:5:c3', 'half a character'),
	('S5-6:5-6:5:c0af', 'an overlong character'),
	('S5-6:5-6:5:eda080', 'a surrogate'),
	('S5-6:5-6:5:f4908080', 'a character beyond Unicode'),
	('S5-6:5-6:5:' || repeat('61', 513), 'a key of 513 bytes'),
	('S5-6:5-6:5:' || repeat('61', 1000000), 'a key of a megabyte');
SELECT is(t.outcome(CASE WHEN left(cursor, 1) = 'S' THEN :'before' || substr(cursor, 2) ELSE cursor END), '22023', name) FROM t.bad ORDER BY n;
SELECT is_empty(format($$ SELECT part, value FROM generate_series(1, 4) AS part, unnest('{"",g,-1,1.5,ffffffffffffffff1,"1 "}'::text[]) AS value,
	                                     LATERAL (SELECT string_to_array(%L, ':') AS f) AS s
	                       WHERE t.outcome(array_to_string(f[:part - 1] || value || f[part + 1:], ':')) <> '22023' $$, :'closed'),
	'the numbers before the incarnation');
SELECT is(t.outcome(regexp_replace(:'closed', '^1:', '2:')), '22023', 'a format of a later version');
SELECT is(t.outcome(array_to_string((string_to_array(:'closed', ':'))[1:2] || '100000000'::text || (string_to_array(:'closed', ':'))[4:], ':')), '22023', 'a database of more than 32 bits');
SELECT is_empty(format($$ SELECT digits FROM unnest(ARRAY['', '0', repeat('0', 31), repeat('0', 33), repeat('0', 31) || 'g', repeat('A', 32)]) AS digits
	                       WHERE t.outcome(array_to_string((string_to_array(%L, ':'))[1:4] || digits || (string_to_array(%1$L, ':'))[6:], ':')) <> '22023' $$, :'closed'),
	'an incarnation that is none');

-- ---------------------------------------------------------------------------------------------
-- Any character, at any position, in place of what is there
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.mutation AS
	SELECT c.name, n, overlay(c.cursor PLACING x FROM n FOR 1) AS cursor
	  FROM (VALUES ('closed', :'closed'), ('ascii', :'ascii'), ('utf8', :'utf8')) AS c (name, cursor),
	       generate_series(1, length(c.cursor)) AS n, unnest(ARRAY['', '0', '9', 'f', 'g', ':', '-', ',', ' ', 'é', E'\x01', '00', 'ffffffff']) AS x;
SELECT set_eq('SELECT DISTINCT t.outcome(cursor) FROM t.mutation', ARRAY['ok', '22023', '55000'], 'is not a cursor, is refused, or is another cursor');
SELECT is((SELECT (d->>'type_key') FROM sync_state_observe('alive', 'h') AS d), 'alive', 'and the session lives');

SELECT * FROM finish();
ROLLBACK;
