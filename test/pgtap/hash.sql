-- Hashes of documents and of text. What the canonical form of a document is, is written out here;
-- its SHA-256 is computed by the server's own sha256(). `make test-jcs` compares with another
-- implementation, on random documents.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(152);

CREATE SCHEMA t;
CREATE FUNCTION t.sha256(canonical text) RETURNS text LANGUAGE sql AS $$ SELECT encode(sha256(convert_to(canonical, 'UTF8')), 'hex') $$;
CREATE FUNCTION t.attempt(doc jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
	RETURN sync_hash(doc);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, detail, hint);
END $$;

-- ---------------------------------------------------------------------------------------------
-- SHA-256: the known answers of FIPS 180
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_hash_text(value), hash, left(value, 60)) FROM (VALUES
	(1, '', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'),
	(2, 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'),
	(3, 'abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq', '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1'),
	(4, repeat('a', 1000000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0')) AS known (n, value, hash) ORDER BY n;
SELECT is(sync_hash_text('Żółć €😀'), t.sha256('Żółć €😀'), 'text by its bytes');
SELECT isnt(sync_hash_text(U&'\00f6'), sync_hash_text(U&'o\0308'), '... which are not normalised');
SELECT is(sync_hash_text(repeat('x', n)), t.sha256(repeat('x', n)), n || ' bytes')
  FROM unnest('{8191,8192,8193,16384,2097153}'::int[]) AS n ORDER BY n;
SELECT is(sync_hash_text(NULL), NULL, 'NULL has no hash');
SELECT is(sync_hash(NULL), NULL, 'nor has it as a document');
SELECT matches(sync_hash('null'), '^[0-9a-f]{64}$', 'JSON null has: 64 digits, in lower case');

-- ---------------------------------------------------------------------------------------------
-- RFC 8785, Appendix B: bits of a double, and how it is written
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.number (n serial, bits text, canonical text);
INSERT INTO t.number (bits, canonical) VALUES
	('0000000000000000', '0'), ('8000000000000000', '0'), ('0000000000000001', '5e-324'), ('8000000000000001', '-5e-324'),
	('7fefffffffffffff', '1.7976931348623157e+308'), ('ffefffffffffffff', '-1.7976931348623157e+308'),
	('4340000000000000', '9007199254740992'), ('c340000000000000', '-9007199254740992'), ('4430000000000000', '295147905179352830000'),
	('44b52d02c7e14af5', '9.999999999999997e+22'), ('44b52d02c7e14af6', '1e+23'), ('44b52d02c7e14af7', '1.0000000000000001e+23'),
	('444b1ae4d6e2ef4e', '999999999999999700000'), ('444b1ae4d6e2ef4f', '999999999999999900000'), ('444b1ae4d6e2ef50', '1e+21'),
	('3eb0c6f7a0b5ed8c', '9.999999999999997e-7'), ('3eb0c6f7a0b5ed8d', '0.000001'),
	('41b3de4355555553', '333333333.3333332'), ('41b3de4355555554', '333333333.33333325'), ('41b3de4355555555', '333333333.3333333'),
	('41b3de4355555556', '333333333.3333334'), ('41b3de4355555557', '333333333.33333343'),
	('becbf647612f3696', '-0.0000033333333333333333'), ('43143ff3c1cb0959', '1424953923781206.2');
SELECT is(encode(float8send(canonical::float8), 'hex'), regexp_replace(bits, '^80*$', '0000000000000000'), 'double ' || bits || ' is ' || canonical)
  FROM t.number ORDER BY n;
SELECT is(sync_hash(canonical::jsonb), t.sha256(canonical), '... and written so') FROM t.number ORDER BY n;
-- The server prints a double as its nearest shortest decimal, except where that lies between two doubles.
SELECT is(sync_hash(to_jsonb(canonical::float8)), t.sha256(canonical), 'also from float8: ' || canonical)
  FROM t.number WHERE bits <> '44b52d02c7e14af6' AND canonical <> '295147905179352830000' ORDER BY n;
-- Where Number::toString changes its form.
SELECT is(sync_hash(doc::jsonb), t.sha256(canonical), doc || ' is written ' || canonical) FROM (VALUES
	(1, '1E30', '1e+30'), (2, '4.50', '4.5'), (3, '2e-3', '0.002'), (4, '0.000000000000000000000000001', '1e-27'), (5, '-0', '0'), (6, '-0.000', '0'), (7, '0e100', '0'),
	(8, '1.0', '1'), (9, '100', '100'), (10, '1e20', '100000000000000000000'), (11, '123456789012345e7', '1.23456789012345e+21'), (12, '123456789012345e6', '123456789012345000000'),
	(13, '1e-6', '0.000001'), (14, '1e-7', '1e-7'), (15, '-1.5e-7', '-1.5e-7'), (16, '0.1', '0.1'), (17, '10.01', '10.01'), (18, '1e308', '1e+308'), (19, '9007199254740991', '9007199254740991')) AS form (n, doc, canonical) ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- RFC 8785, the examples of the text and its companion test data
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_hash($${
	"numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
	"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
	"literals": [null, true, false] }$$),
	t.sha256($${"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}$$),
	'the sample of section 3.2, but for its first number');
SELECT matches(t.attempt('{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]}'),
	'^22023 canonical JSON cannot carry the number 333333333.33333329 exactly\n.* at \$\."numbers"\[0\]\..* 333333333\.3333333\.',
	'... which the RFC rounds, and which is refused');
-- Section 3.2.3: sorted by UTF-16 code units, which puts U+1F600 before U+FB33. jsonb sorts by length.
SELECT is(sync_hash($${
	"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
	"\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis" }$$),
	t.sha256(U&'{"\005cr":"Carriage Return","1":"One","\0080":"Control","\00f6":"Latin Small Letter O With Diaeresis",'
		'"\20ac":"Euro Sign","\+01f600":"Emoji: Grinning Face","\fb33":"Hebrew Letter Dalet With Dagesh"}'), 'the order of names, section 3.2.3');
SELECT is(sync_hash($${"1": {"f": {"f": "hi", "F": 5}, "\n": 56.0}, "10": { }, "": "empty", "a": { }, "111": [ { } ], "A": { }}$$),
	t.sha256($${"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{}],"A":{},"a":{}}$$), 'structures');
SELECT is(sync_hash($$[ 56, { "d": true, "10": null, "1": [ ] } ]$$), t.sha256($$[56,{"1":[],"10":null,"d":true}]$$), 'arrays');
SELECT is(sync_hash($${"peach": "This sorting order", "péché": "is wrong according to French", "pêche": "but canonicalization MUST", "sin": "ingnore locale"}$$),
	t.sha256($${"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ingnore locale"}$$), 'French');
SELECT is(sync_hash($${"Unnormalized Unicode": "\u1e0d\u0307"}$$), t.sha256(U&'{"Unnormalized Unicode":"\1e0d\0307"}'), 'nothing is normalised');
SELECT is(sync_hash(doc::jsonb), t.sha256(canonical), doc || ' alone') FROM (VALUES
	(1, 'null', 'null'), (2, ' true ', 'true'), (3, 'false', 'false'), (4, '5.0', '5'), (5, '""', '""'), (6, '"\u00e9/\u007f"', U&'"\00e9/\007f"'), (7, '[]', '[]'), (8, '{}', '{}')) AS scalar (n, doc, canonical) ORDER BY n;
SELECT is(sync_hash('["\u0001\b\t\n\u000b\f\r\u001f \"\\\/<\u007f"]'), t.sha256('["\u0001\b\t\n\u000b\f\r\u001f \"\\/<' || chr(127) || '"]'), 'the fewest escapes, in lower case');
-- Names that differ late, in plane 0 above the surrogates and beyond it.
SELECT is(sync_hash($${"a\uffff": 1, "a\ud800\udc00": 2, "a\ue000": 3, "a\ud7ff": 4, "a": 5, "ab": 6, "a\udbff\udfff": 7}$$),
	t.sha256(U&'{"a":5,"ab":6,"a\d7ff":4,"a\+010000":2,"a\+10ffff":7,"a\e000":3,"a\ffff":1}'), 'surrogates sort below U+E000');

-- ---------------------------------------------------------------------------------------------
-- What must not change a hash, and what must
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.hash AS SELECT sync_hash('{"title": "Äpfel", "price": 1.5, "tags": ["a", "b"], "n": 100}') AS hash;
SELECT is(sync_hash(doc), hash, 'the same: ' || label) FROM t.hash, (VALUES
	(1, 'the order of members', '{"n": 100, "tags": ["a", "b"], "price": 1.5, "title": "Äpfel"}'::jsonb),
	(2, 'white space', E'{ "title" :\n"Äpfel",\t"price":1.5,"tags":[ "a","b" ],"n":100 }'),
	(3, 'the scale of numbers', '{"title": "Äpfel", "price": 1.5000, "tags": ["a", "b"], "n": 100.00}'),
	(4, 'exponents', '{"title": "Äpfel", "price": 15e-1, "tags": ["a", "b"], "n": 1E2}'),
	(5, 'escapes', '{"t\u0069tle": "\u00c4pfel", "price": 1.5, "tags": ["a", "b"], "n": 100}'),
	(6, 'a member that is given twice: the last counts', '{"title": "Birnen", "price": 1.5, "tags": ["a", "b"], "n": 100, "title": "Äpfel"}'),
	(7, 'how it came about', jsonb_build_object('price', 1.50::numeric(10, 4), 'n', 100::bigint, 'tags', ARRAY['a', 'b'], 'title', 'Äpfel'::varchar(20)))) AS same (n, label, doc) ORDER BY n;
SELECT isnt(sync_hash(doc::jsonb), hash, 'another: ' || label) FROM t.hash, (VALUES
	(1, 'the order of elements', '{"title": "Äpfel", "price": 1.5, "tags": ["b", "a"], "n": 100}'),
	(2, 'a number as a string', '{"title": "Äpfel", "price": "1.5", "tags": ["a", "b"], "n": 100}'),
	(3, 'null added', '{"title": "Äpfel", "price": 1.5, "tags": ["a", "b"], "n": 100, "x": null}'),
	(4, 'nesting', '{"title": "Äpfel", "price": 1.5, "tags": [["a", "b"]], "n": 100}')) AS other (n, label, doc) ORDER BY n;
CREATE TABLE t.stored (doc jsonb);
INSERT INTO t.stored SELECT jsonb_object_agg(n::text, to_jsonb(repeat('ä' || n, 40))) FROM generate_series(1, 3000) AS n;
SELECT is((SELECT sync_hash(doc) FROM t.stored),
	(SELECT t.sha256('{' || string_agg(format('"%s":"%s"', n, repeat('ä' || n, 40)), ',' ORDER BY n::text COLLATE "C") || '}') FROM generate_series(1, 3000) AS n),
	'compressed and out of line');
SET LOCAL TimeZone = 'Asia/Kathmandu';
SET LOCAL DateStyle = 'German';
SET LOCAL extra_float_digits = -15;
SET LOCAL IntervalStyle = 'sql_standard';
SET LOCAL bytea_output = 'escape';
SELECT is(sync_hash('{"title": "Äpfel", "price": 1.5, "tags": ["a", "b"], "n": 100}'), hash, 'no setting changes it') FROM t.hash;
SELECT is(sync_hash('[1424953923781206.2, 1e23]'), t.sha256('[1424953923781206.2,1e+23]'), '... not even of numbers');
RESET extra_float_digits;

-- ---------------------------------------------------------------------------------------------
-- Numbers that are refused
-- ---------------------------------------------------------------------------------------------
SELECT matches(t.attempt(number::jsonb), '^22023 canonical JSON cannot carry the number ' || regexp_replace(shown, '[.]', '\.', 'g') || ' exactly\nIt is at \$\. .*' || nearest,
	left(number, 40) || ' is refused') FROM (VALUES
	(1, '9007199254740993', '9007199254740993', 'as 9007199254740992\.'), (2, '12345678901234567890', '12345678901234567890', 'as 12345678901234567000\.'),
	(3, '0.10000000000000001', '0.10000000000000001', 'as 0\.1\.'), (4, '3.14159265358979323846', '3.14159265358979323846', 'as 3\.141592653589793\.'),
	-- A power of two, and a double; but the canonical form of that is another decimal.
	(5, '295147905179352825856', '295147905179352825856', 'as 295147905179352830000\.'), (6, '9.999999999999999e22', '99999999999999990000000', 'as 1e\+23\.'),
	(7, '1e400', '1' || repeat('0', 59) || '...', 'they end before it'), (8, '-1.7976931348623159e308', '-17976931348623159' || repeat('0', 42) || '...', 'they end before it'),
	(9, '1e-400', '0.' || repeat('0', 58) || '...', 'as 0\.'), (10, '4e-324', '0.' || repeat('0', 58) || '...', 'as 5e-324\.')) AS refused (n, number, shown, nearest) ORDER BY n;
SELECT is(t.attempt('{"a": [1, {"b \"c\"": [[], 9007199254740993]}]}'),
	E'22023 canonical JSON cannot carry the number 9007199254740993 exactly\n'
	'It is at $."a"[1]."b \\"c\\""[1]. RFC 8785 has IEEE 754 doubles only, and writes the nearest one as 9007199254740992.\n'
	'Give it fewer digits, or make it a string.', 'the error says which number, where, and what to do');
SELECT matches(t.attempt((repeat('[', 500) || '1e999' || repeat(']', 500))::jsonb), '\$(\[0\])+\.\.\.\.', '... and cuts a long path off');
SELECT matches(t.attempt(jsonb_build_object(repeat('ä', 1000), 1e999)), '\$\."(ä){20,40}"\.\.\.', '... and a long name');
SELECT is(sync_hash('{"a": "9007199254740993"}'), t.sha256('{"a":"9007199254740993"}'), 'as a string it is welcome');

-- ---------------------------------------------------------------------------------------------
-- Sizes
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_hash((repeat('[', 1000) || repeat(']', 1000))::jsonb), t.sha256(repeat('[', 1000) || repeat(']', 1000)), '1,000 levels');
SELECT is(sync_hash(jsonb_agg(n)), t.sha256('[' || string_agg(n::text, ',' ORDER BY n) || ']'), '100,000 elements') FROM generate_series(1, 100000) AS n;
SELECT is(sync_hash(jsonb_object_agg(n::text, n)), t.sha256('{' || string_agg(format('"%s":%s', n, n), ',' ORDER BY n::text COLLATE "C") || '}'), '100,000 members') FROM generate_series(1, 100000) AS n;
SELECT is(sync_hash(to_jsonb(repeat(E'"\n', 1000000))), t.sha256('"' || repeat('\"\n', 1000000) || '"'), 'a long string');

SELECT * FROM finish();
ROLLBACK;
