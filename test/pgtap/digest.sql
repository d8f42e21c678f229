-- Fingerprints of rows: what must not change a hash, what must, which types are refused; and the
-- digest as a sum of them, however it comes about.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(441);

CREATE SCHEMA t;
-- The hash of the columns that a list of expressions gives.
CREATE FUNCTION t.hash(columns text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hash text;
BEGIN
	EXECUTE 'SELECT encode(public.sync_row_hash(' || columns || '), ''hex'')' INTO STRICT hash;
	RETURN hash;
END $$;
CREATE FUNCTION t.attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
-- The one value that a query returns while a setting has some value.
CREATE FUNCTION t.under(setting text, value text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE before text := current_setting(setting); answer text;
BEGIN
	PERFORM set_config(setting, value, true);
	EXECUTE query INTO STRICT answer;
	PERFORM set_config(setting, before, true);
	RETURN answer;
END $$;

-- ---------------------------------------------------------------------------------------------
-- 1. Fixed vectors: the bytes a row is packed into, and their hash, for ever
--
-- The bytes were put together by a little program of its own, in Python, from the description in
-- src/pack.c, and hashed with xxhash.xxh3_128_hexdigest() of Debian's python3-xxhash 3.0.0, which
-- can be done again:
--	python3 -c 'import sys, xxhash; print(xxhash.xxh3_128_hexdigest(bytes.fromhex(sys.argv[1])))' 00
-- The same on every version of PostgreSQL and on machines of either byte order.
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.vector (n serial, columns text, packed text, hash text);
INSERT INTO t.vector (columns, packed, hash) VALUES
	($v$NULL::int$v$, '00', 'a6cd5e9392000f6ac44bdff4074eecdb'),
	($v$true$v$, '0101', '50e58cbd6ada00a1070d80d6a76865f3'),
	($v$false$v$, '0100', '4d6ac5b7d1a1655cab94ac0ace7276c0'),
	($v$-2::smallint$v$, '02feffffffffffffff', '5e4bd9f8da1903e3a651bd46f2dd31e8'),
	($v$123456789$v$, '0215cd5b0700000000', 'b7ffcb89f3bb57be03a05d14c5e1a76a'),
	($v$'-9223372036854775808'::bigint$v$, '020000000000000080', '9d30fcbcab4e360ab3e184a90f398617'),
	($v$4294967295::oid$v$, '02ffffffff00000000', '6a3c212492ad3d9ce8f01c11326d1ef2'),
	($v$1.5::real$v$, '03000000000000f83f', '2d0719929098c2ee4848f1440928d509'),
	($v$-0.1::double precision$v$, '039a9999999999b9bf', '586d4bb3c84f50e27a222da00fc35b2b'),
	($v$0::double precision$v$, '030000000000000000', '7af663c80eb713021750123014926432'),
	($v$'-infinity'::double precision$v$, '03000000000000f0ff', '92df3e7897edcec0c566d51a34f7794b'),
	($v$'NaN'::real$v$, '03000000000000f87f', 'fe7d6f62eba098c3059362aaf2adf924'),
	($v$0::numeric$v$, '040000000000', '617ebdd124af360bb3b25cc60fce9118'),
	($v$-1234567.0890$v$, '0401010003007b00d7117a03', 'c73b21ef10f4ed5b3bd691a0665dd453'),
	($v$1e-20$v$, '0400fbff01000100', '37ac1457d685233377b786134bd3ab9b'),
	($v$1e300$v$, '04004b0001000100', '27c1b78543fe9d0616ecb79a9a6e986f'),
	($v$'NaN'::numeric$v$, '040c', 'a07bf3a44d08783839fc556a0447f525'),
	($v$'Infinity'::numeric$v$, '040d', 'd90ec1ff9909551e0dc2e507631f9a17'),
	($v$'-Infinity'::numeric$v$, '040f', '9d92f3dcc128a4bcae8c5b49a3446e47'),
	($v$''::text$v$, '0500000000', '01350000664fe200b1495c6a04b4e88d'),
	($v$'abc'$v$, '0503000000616263', '42bcd25adb39ee64ceecf2467d055b81'),
	($v$U&'\017c\+01f600'::varchar$v$, '0506000000c5bcf09f9880', 'f67af176d0cf687764b62a4893703a7b'),
	($v$'ab   '::char(5)$v$, '05020000006162', 'b92c414d7290ba26cf6b17c89c186830'),
	($v$'ab '::name$v$, '0503000000616220', '6535664f8f78824b090089d2b321dbc7'),
	($v$'a'::"char"$v$, '050100000061', '5e8a573c767b321f74daa1611ef0c291'),
	($v$'\x00ff'::bytea$v$, '060200000000ff', '019d3ff03e61b9e5045ee5de062ffa48'),
	($v$'{"b": 1.0}'::json$v$, '070a0000007b2262223a20312e307d', 'a014546dfb0296d68cd2e63e44549410'),
	($v$'{"b": [1.50, "x", null, true, false, {}], "aa": ""}'::jsonb$v$, '086f020000000100000062610600000064040000000200010088137301000000786e74666f000000000200000061617300000000', '68eb64813720f05f89c2ada054739eec'),
	($v$'-7'::jsonb$v$, '085301000000640401000001000700', '8dfd782a782568bc7b00625ce0bf9c68'),
	($v$'[]'::jsonb$v$, '086100000000', 'bc6d81e1d86256052044f439837e1fbe'),
	($v$'00112233-4455-6677-8899-aabbccddeeff'::uuid$v$, '0900112233445566778899aabbccddeeff', '82d695e408aa6e196e3f2170f7f7748f'),
	($v$'2000-01-02'::date$v$, '0a0100000000000000', '4e74f4be79c4454fd593ca65efec411b'),
	($v$'-infinity'::date$v$, '0a00000080ffffffff', '4955c9717e77f9c6ebc4afa8c60267f5'),
	($v$'00:00:01'::time$v$, '0b40420f0000000000', '693f43aa9d4b6da8e1f8910e08fe4db9'),
	($v$'00:00:01+02'::timetz$v$, '0c40420f0000000000e0e3ffff', 'c6ee6d8789567defc393ed8fff707657'),
	($v$'1999-12-31 23:59:59.999999'::timestamp$v$, '0dffffffffffffffff', '487116b68f6f7129237ed8b13c2894ac'),
	($v$'2000-01-01 01:00:00+01'::timestamptz$v$, '0e0000000000000000', '1c3e63ba9e78e03593b7347a81e47ce1'),
	($v$'infinity'::timestamptz$v$, '0effffffffffffff7f', '05010bd8cd8f609662a86f835290ca1c'),
	($v$'1 mon -2 days 00:00:03'::interval$v$, '0fc0c62d0000000000feffffff01000000', 'ebc54895820f925fc2617dc01bc9b6a2'),
	($v$'[0:1]={7,NULL}'::int[]$v$, '1001000000020000000000000002070000000000000000', 'db9c327923cad788fbb631f63fdd84bf'),
	($v$'{}'::text[]$v$, '1000000000', 'aacd70e456c332a96217c5cae3789fe4'),
	($v$'{{a},{b}}'::text[]$v$, '100200000002000000010000000100000001000000050100000061050100000062', 'cac72c2339f7a2f6a46f921f7e4ed033'),
	($v$ROW(1, NULL, 'x'::text)$v$, '110300000002010000000000000000050100000078', 'baef84b76ed1e8f76423c52aa4036662'),
	($v$'[1,5)'::int4range$v$, '1202020100000000000000020500000000000000', '9dcecd44014f5383911daaaadaed21bf'),
	($v$'empty'::int4range$v$, '1201', '676e4c7eeed4f8b35c8400d9ee2ab3be'),
	($v$'(,2.50]'::numrange$v$, '120c0004000000020002008813', '56b36c0b0654e1c8fe75cb88b5bd09f2'),
	($v$'{[1,2),[4,)}'::int8multirange$v$, '13020000001202020100000000000000020200000000000000121202040000000000000000', '7fabfc1ca82423469cd345c8309a683c'),
	($v$'192.168.0.1/24'::inet$v$, '1404000000696e65740800000002180004c0a80001', '6d1de748780766c976b756fcc5758215'),
	($v$B'101'$v$, '14030000006269740500000000000003a0', '7157b28aac67dd47d7cc7bd70ea62318'),
	($v$'b:2 a'::tsvector$v$, '14080000007473766563746f720e0000000000000261000000620000010002', 'd7a4e78a4de9c892ff6b79bf55c1db0c'),
	($v$'ab'::text, 'c'::text$v$, '05020000006162050100000063', '4c2fc35b8884e6107dd8e28b77a22b2c'),
	($v$1, NULL::text, ''$v$, '020100000000000000000500000000', '79ced702059220213d54ea199b9c253d');
SELECT is(t.hash(columns), hash, columns) FROM t.vector ORDER BY n;
-- Text of so many bytes, for the hash goes other ways from length to length, and by processor
CREATE FUNCTION t.text_of(length int) RETURNS text LANGUAGE sql AS $$ SELECT coalesce(string_agg(chr(97 + ((i::bigint * i + i / 7) % 26)::int), '' ORDER BY i), '') FROM generate_series(1, length) i $$;
SELECT is(encode(sync_row_hash(t.text_of(length)), 'hex'), hash, length || ' bytes of text') FROM (VALUES
(0, '01350000664fe200b1495c6a04b4e88d'),
(1, 'df0b5ec3481eb67bed90903bd6548ea9'),
(3, '0b43b47a56c937a31b35a0ee1696d8a0'),
(4, '3580619d8b6366c52885c327f6ab4f82'),
(8, '08e0685e2212001b6ec123c49f4a9f6e'),
(11, '02262962a7e1cefe6e721cb7f7915700'),
(12, '8fd112fea5100b0f18b6b1df709666fa'),
(123, '522bc1aa2c8b49184fa76d8cad80332f'),
(124, '8333b2ba29fc7554cb61623229ae8e15'),
(235, 'd248cb4de797a0cbdd1004aa6213c0a2'),
(236, '0a434a2ed0f05b5a7d23cffe1036c90e'),
(250, '6f8b524e0b2f1c806ac11a418103f1a6'),
(507, '0dc0d95da75c797c3c398e9e0b45da9c'),
(1019, '2ee250e752144593dee57521e0a45ca5'),
(1020, '9f3476dcc617acc39ecd97b79a28daae'),
(1021, 'd1441f42a2fd2d7556264616bb543897'),
(1500, '9ed5f324cd66b9a5ebe937c31ff382f8'),
(4091, '20c9e950eb5dcc86da5cb6f4d2a8c335'),
(5000, 'cf951ff2f8b3c08d63c1366e92aaf222'),
(65536, '6f39fb4c553e92df162167ae53d40063'),
(100001, 'bc9aaae6558209c6573f1bd553d8ccd1')) AS v (length, hash) ORDER BY length;
SELECT is((SELECT count(DISTINCT left(packed, 2)) FROM t.vector), 21::bigint, 'every kind of value is among them');
SELECT is((SELECT sync_digest(n, 'row ' || n) FROM generate_series(1, 5) n), '96f03c41b15d144f16198160af5bb31f:5', 'a digest');

-- ---------------------------------------------------------------------------------------------
-- 2. Values of any sort: no two of these are hashed alike
-- ---------------------------------------------------------------------------------------------
CREATE EXTENSION IF NOT EXISTS citext SCHEMA public;
CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public;
CREATE TYPE t.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE t.pair AS (a int, b text);
CREATE TYPE t.nested AS (p t.pair, list t.pair[]);
CREATE DOMAIN t.short AS text CHECK (length(VALUE) < 10);
CREATE DOMAIN t.shorter AS t.short;
CREATE DOMAIN t.point2 AS int[] CHECK (array_length(VALUE, 1) = 2);
CREATE TYPE t.textrange AS RANGE (subtype = text, collation = "C");
CREATE TABLE t.distinct_value (n serial, columns text);
INSERT INTO t.distinct_value (columns) VALUES
	-- NULL, nothing, where a column ends
	('NULL::text'), ('''''::text'), ('NULL::text, NULL::text'), ('''''::text, NULL::text'), ('NULL::text, ''''::text'), ('''''::text, ''''::text'),
	('''ab''::text, ''c''::text'), ('''a''::text, ''bc''::text'), ('''abc''::text, ''''::text'), ('''''::text, ''abc''::text'), ('''abc''::text'),
	('''ab''::text, ''c''::text, NULL::text'), ('NULL::text, ''ab''::text, ''c''::text'), ('''ab''::text, NULL::text, ''c''::text'),
	('1, NULL::int, 2'), ('NULL::int, 1, 2'), ('1, 2, NULL::int'), ('1, 2'), ('2, 1'),
	(E'''a'', chr(1)'), (E'chr(1), ''a'''), ('repeat(chr(1), 5)'), ('repeat(chr(1), 4)'), ('repeat(chr(1), 3), chr(1)'),
	-- text by its bytes
	('''a''::text'), ('''A''::text'), ('''a ''::text'), ('''a  ''::varchar'), ('U&''\00f6'''), ('U&''o\0308'''), ('''1''::text'), ('''true''::text'),
	(''' ''::text'), (''' x''::char(5)'), ('repeat(''x'', 100000)'), ('repeat(''x'', 99999) || ''y'''), ('repeat(''x'', 100001)'),
	('''(1,2)''::text'), ('''{1,2}''::text'), ('''\x00''::text'),
	('''c''::citext'), ('''C''::citext'),
	-- numbers
	('0'), ('1'), ('-1'), ('256'), ('2147483647'), ('-2147483648'), ('2147483648'), ('9223372036854775807'), ('-9223372036854775807'),
	('0::float8'), ('1::float8'), ('-1::float8'), ('0.1::float8'), ('0.1::float4'), ('''NaN''::float8'), ('''Infinity''::float8'), ('''-Infinity''::float8'),
	('5e-324::float8'), ('-5e-324::float8'), ('1.7976931348623157e308::float8'), ('1.0000000000000002::float8'),
	('0::numeric'), ('1::numeric'), ('-1::numeric'), ('0.1'), ('-0.1'), ('0.01'), ('0.0001'), ('0.00001'), ('10::numeric'), ('100::numeric'), ('1000::numeric'), ('10000::numeric'),
	('100000000::numeric'), ('10001::numeric'), ('1.0001'), ('10000.0001'), ('9999.9999'), ('1e100::numeric'), ('1e101::numeric'), ('1e104::numeric'), ('1e-100::numeric'), ('1e-101::numeric'),
	('1e-104::numeric'), ('1e1000::numeric'), ('1e1000::numeric + 1'), ('-1e1000::numeric'), ('1e-1000::numeric'), ('''1e131071''::numeric'), ('''1e-16383''::numeric'), ('''-1e-16383''::numeric'),
	('''NaN''::numeric'), ('''Infinity''::numeric'), ('''-Infinity''::numeric'), ('9223372036854775808::numeric'),
	-- bool, bytea, uuid, bits
	('true'), ('false'), ('''''::bytea'), ('''\x00''::bytea'), ('''\x0000''::bytea'), ('''\x01''::bytea'), ('''a''::bytea'),
	('''00000000-0000-0000-0000-000000000000''::uuid'), ('''00000000-0000-0000-0000-000000000001''::uuid'), ('''01000000-0000-0000-0000-000000000000''::uuid'),
	('B''0'''), ('B''00'''), ('B''1'''), ('B''10'''), ('B''''::varbit'), ('B''10''::varbit'),
	-- times
	('''2000-01-01''::date'), ('''2000-01-02''::date'), ('''1999-12-31''::date'), ('''infinity''::date'), ('''-infinity''::date'), ('''0044-03-15 BC''::date'),
	('''00:00''::time'), ('''00:00:00.000001''::time'), ('''24:00''::time'), ('''00:00+00''::timetz'), ('''00:00+01''::timetz'), ('''00:00-01''::timetz'),
	('''2000-01-01''::timestamp'), ('''2000-01-01 00:00:00.000001''::timestamp'), ('''infinity''::timestamp'), ('''-infinity''::timestamp'),
	('''2000-01-01 00:00+00''::timestamptz'), ('''2000-01-01 00:00+01''::timestamptz'), ('''infinity''::timestamptz'), ('''-infinity''::timestamptz'),
	('''0''::interval'), ('''1 second''::interval'), ('''1 day''::interval'), ('''24 hours''::interval'), ('''1 month''::interval'), ('''30 days''::interval'), ('''1 year''::interval'), ('''-1 day''::interval'), ('''1 mon -1 day''::interval'),
	-- networks, geometry, text search and whatever else has a binary form
	('''10.0.0.0/8''::inet'), ('''10.0.0.0/8''::cidr'), ('''10.0.0.0''::inet'), ('''10.0.0.1''::inet'), ('''::''::inet'), ('''::1''::inet'), ('''0.0.0.0''::inet'),
	('''08:00:2b:01:02:03''::macaddr'), ('''08:00:2b:01:02:04''::macaddr'), ('''08:00:2b:01:02:03:04:05''::macaddr8'),
	('''(1,2)''::point'), ('''(2,1)''::point'), ('''((1,2),(3,4))''::box'), ('''[(1,2),(3,4)]''::lseg'), ('''<(1,2),3>''::circle'), ('''((1,2),(3,4))''::path'), ('''[(1,2),(3,4)]''::path'), ('''((1,2),(3,4))''::polygon'),
	('''a b''::tsvector'), ('''a:1 b''::tsvector'), ('''a''::tsvector'), ('''a & b''::tsquery'), ('''a | b''::tsquery'), ('''a''::tsquery'),
	('''1.00''::money'), ('''2.00''::money'), ('''0/1''::pg_lsn'), ('''0/2''::pg_lsn'), ('''1''::xid'), ('''1''::xid8'), ('''(0,1)''::tid'), ('''1:3:2''::pg_snapshot'),
	('''$.a''::jsonpath'), ('''$.b''::jsonpath'),
	('''a=>1''::hstore'), ('''a=>2''::hstore'), ('''a=>NULL''::hstore'), ('''a=>""''::hstore'), ('''""=>a''::hstore'), ('''''::hstore'),
	-- XML and JSON: as they are written
	('''<a/>''::xml'), ('''<a></a>''::xml'), ('''{}''::json'), ('''{ }''::json'), ('''{"a": 1}''::json'), ('''{"a":1}''::json'), ('''1.0''::json'), ('''1''::json'),
	-- jsonb: what it means
	('''{}''::jsonb'), ('''[]''::jsonb'), ('''null''::jsonb'), ('''[null]''::jsonb'), ('''""''::jsonb'), ('''[""]''::jsonb'), ('''"a"''::jsonb'), ('''["a"]''::jsonb'), ('''[["a"]]''::jsonb'),
	('''true''::jsonb'), ('''false''::jsonb'), ('''"true"''::jsonb'), ('''"null"''::jsonb'), ('''0''::jsonb'), ('''1''::jsonb'), ('''"1"''::jsonb'), ('''[1]''::jsonb'), ('''["1"]''::jsonb'),
	('''{"a": 1}''::jsonb'), ('''{"a": "1"}''::jsonb'), ('''{"a": null}''::jsonb'), ('''{"a": []}''::jsonb'), ('''{"a": {}}''::jsonb'), ('''{"a": [1]}''::jsonb'), ('''{"b": 1}''::jsonb'), ('''{"a": 1, "b": 1}''::jsonb'),
	('''{"a": 1, "b": 2}''::jsonb'), ('''{"a": 2, "b": 1}''::jsonb'), ('''{"a": "b"}''::jsonb'), ('''["a", "b"]''::jsonb'), ('''["b", "a"]''::jsonb'), ('''["ab"]''::jsonb'), ('''[["a"], ["b"]]''::jsonb'), ('''[["a", "b"]]''::jsonb'),
	('''[["a", "b"], []]''::jsonb'), ('''[[], ["a", "b"]]''::jsonb'), ('''[["a"], "b"]''::jsonb'), ('''["a", ["b"]]''::jsonb'), ('''[1, 2]''::jsonb'), ('''[2, 1]''::jsonb'), ('''[12]''::jsonb'), ('''{"": ""}''::jsonb'), ('''{"": {"": ""}}''::jsonb'),
	('''{"ab": "c"}''::jsonb'), ('''{"a": "bc"}''::jsonb'), ('''{"a": {"b": 1}, "c": 2}''::jsonb'), ('''{"a": {"b": 1, "c": 2}}''::jsonb'), ('''1e400''::jsonb'), ('''-1e400''::jsonb'), ('''1e-400''::jsonb'),
	-- arrays: dimensions and bounds
	('''{}''::int[]'), ('''{1}''::int[]'), ('''{{1}}''::int[]'), ('''{{{1}}}''::int[]'), ('''[0:0]={1}''::int[]'), ('''[2:2]={1}''::int[]'), ('''[-1:-1]={1}''::int[]'), ('''{1,2,3,4}''::int[]'), ('''{{1,2},{3,4}}''::int[]'), ('''{{1,3},{2,4}}''::int[]'),
	('''{{1,2,3,4}}''::int[]'), ('''{{1},{2},{3},{4}}''::int[]'), ('''[1:2][0:1]={{1,2},{3,4}}''::int[]'), ('''[0:1][1:2]={{1,2},{3,4}}''::int[]'), ('''{{{1,2},{3,4}}}''::int[]'),
	('''{NULL}''::int[]'), ('''{NULL,1}''::int[]'), ('''{1,NULL}''::int[]'), ('''{NULL,NULL}''::int[]'), ('''{""}''::text[]'), ('''{"",""}''::text[]'), ('''{NULL,""}''::text[]'), ('''{ab,c}''::text[]'), ('''{a,bc}''::text[]'), ('''{abc}''::text[]'),
	('''{ab,c,NULL}''::text[]'), ('''{ab,NULL,c}''::text[]'), ('''{"{}"}''::text[]'), ('''{"{}","{}"}''::jsonb[]'), ('''{"[]","{}"}''::jsonb[]'), ('ARRAY[true, false]'), ('ARRAY[false, true]'), ('''{1,2}''::int2[], 3'), ('''{1}''::int2[], 2, 3'),
	-- rows: ragged nesting
	('ROW()'), ('ROW(NULL)'), ('ROW(NULL, NULL)'), ('ROW(1)'), ('ROW(1, 2)'), ('ROW(2, 1)'), ('ROW(1), 2'), ('1, ROW(2)'), ('ROW(ROW(1, 2))'), ('ROW(ROW(1), 2)'), ('ROW(1, ROW(2))'), ('ROW(ROW(1), ROW(2))'), ('ROW(1, 2, NULL)'), ('ROW(1, NULL, 2)'), ('ROW(NULL, 1, 2)'),
	('ROW(ROW(1, 2), NULL)'), ('ROW(ROW(1, 2, NULL))'), ('ROW(ROW(1, NULL), 2)'), ('ROW(''ab''::text, ''c''::text)'), ('ROW(''a''::text, ''bc''::text)'), ('ROW(''{1,2}''::int[])'), ('ROW(''{1}''::int[], 2)'),
	('ARRAY[ROW(1, 2), ROW(3, 4)]'), ('ARRAY[ROW(1, 2, 3), ROW(4)]'), ('ARRAY[ROW(1), ROW(2, 3, 4)]'), ('ROW(1, ''x'')::t.pair'), ('ROW(NULL, ''x'')::t.pair'), ('ROW(1, NULL)::t.pair'),
	('ROW(ROW(1, ''x''), NULL)::t.nested'), ('ROW(NULL, ARRAY[ROW(1, ''x'')::t.pair])::t.nested'), ('ROW(ROW(1, ''x''), ARRAY[ROW(1, ''x'')::t.pair])::t.nested'),
	-- ranges and multiranges
	('''empty''::numrange'), ('''(,)''::numrange'), ('''[1,2]''::numrange'), ('''[1,2)''::numrange'), ('''(1,2]''::numrange'), ('''(1,2)''::numrange'), ('''[1,)''::numrange'), ('''(1,)''::numrange'), ('''(,1]''::numrange'), ('''(,1)''::numrange'), ('''[1,1]''::numrange'), ('''[1,Infinity)''::numrange'),
	('''[1,5)''::int4range'), ('''[1,6)''::int4range'), ('''[2,5)''::int4range'), ('''[,2000-01-01)''::daterange'), ('''[,infinity)''::daterange'), ('''[,infinity]''::daterange'), ('''[,2000-01-01)''::tsrange'), ('''[,2000-01-01)''::tstzrange'),
	('''[ab,c)''::t.textrange'), ('''[a,bc)''::t.textrange'),
	('''{}''::nummultirange'), ('''{[1,2]}''::nummultirange'), ('''{[1,2],[3,4]}''::nummultirange'), ('''{[1,2],[4,5]}''::nummultirange'), ('''{(,)}''::nummultirange'), ('''{[1,2)}''::int4multirange'), ('''{[1,2),[3,4)}''::int4multirange'),
	('ARRAY[''[1,2)''::int4range, ''[3,4)'']'), ('ROW(''[1,2)''::int4range, ''[3,4)''::int4range)'),
	-- enums by label
	('''sad''::t.mood'), ('''ok''::t.mood'), ('''{sad,ok}''::t.mood[]'), ('''{ok,sad}''::t.mood[]');
SELECT is_empty('SELECT hash, array_agg(columns) FROM (SELECT t.hash(columns) AS hash, columns FROM t.distinct_value) AS h GROUP BY hash HAVING count(*) > 1', 'all distinct');
SELECT cmp_ok((SELECT count(*) FROM t.distinct_value), '>', 330::bigint, '... which are many');
SELECT is_empty('SELECT columns FROM t.distinct_value WHERE t.hash(columns) <> t.hash(columns) OR t.hash(columns) !~ ''^[0-9a-f]{32}$''', '... and hashed alike when hashed again');

-- ---------------------------------------------------------------------------------------------
-- 3. One value, stored or written in another way
-- ---------------------------------------------------------------------------------------------
SELECT ok(float8send('Infinity'::float8 - 'Infinity') <> float8send('NaN') AND float4send('Infinity'::float4 - 'Infinity') <> float4send('NaN'), '(there are NaNs of several bit patterns)');
CREATE TYPE t.other_mood AS ENUM ('grave', 'ok', 'sad');
ALTER TYPE t.other_mood RENAME VALUE 'grave' TO 'happy';
CREATE TYPE t.padded AS (c char(7));
CREATE DOMAIN t.padded_domain AS char(9);
CREATE DOMAIN t.amount AS numeric;
CREATE DOMAIN t.amounts AS numeric[];
CREATE DOMAIN t.pair_domain AS t.pair;
CREATE DOMAIN t.doc AS jsonb;
CREATE DOMAIN t.day AS date;
CREATE DOMAIN t.mood_domain AS t.mood;
CREATE DOMAIN t.span AS int4range;
SELECT is(t.hash(a), t.hash(b), a || ' is ' || b) FROM (VALUES
	-- widths
	(1, '5::int2', '5::int4'), (2, '5::int4', '5::int8'), (3, '-5::int2', '-5::int8'), (4, '''-32768''::int2', '''-32768''::int8'), (5, '0.5::float4', '0.5::float8'), (6, '''NaN''::float4', '''NaN''::float8'),
	(7, '''-Infinity''::float4', '''-Infinity''::float8'), (8, '''{5,-6}''::int2[]', '''{5,-6}''::int8[]'), (9, 'ROW(5::int2)', 'ROW(5::int8)'), (10, '''[1,5)''::int4range', '''[1,5)''::int8range'), (11, '''{[1,5)}''::int4multirange', '''{[1,5)}''::int8multirange'),
	-- zeros, NaNs
	(20, '''-0''::float8', '''0''::float8'), (21, '''-0''::float4', '''0''::float4'), (22, '''{-0}''::float8[]', '''{0}''::float8[]'), (23, 'ROW(''-0''::float4)', 'ROW(''0''::float4)'),
	(24, '''Infinity''::float8 - ''Infinity''', '''NaN''::float8'), (25, '''Infinity''::float4 - ''Infinity''', '''NaN''::float4'), (26, 'ARRAY[''Infinity''::float8 - ''Infinity'']', '''{NaN}''::float8[]'),
	(27, '''-0''::numeric', '''0''::numeric'), (28, '-0.000', '0'::text || '::numeric'), (29, '''-0.0''::jsonb', '''0''::jsonb'), (30, '''[-0]''::jsonb', '''[0.00]''::jsonb'),
	-- scale
	(40, '1.0', '1.00'), (41, '1::numeric', '1.000000000000000000000000000000'), (42, '1::numeric(10,5)', '1::numeric(20,10)'), (43, '0::numeric', '0.000000000000000000000000'), (44, '100::numeric', '1e2::numeric'), (45, '0.5', '0.50000'), (46, '12345.6', '12345.60000'), (47, '10000.0', '10000'::text || '::numeric'),
	(48, '1e100::numeric', 'round(1e100::numeric, 500)'), (49, '-1e100::numeric', 'round(-1e100::numeric, 500)'), (50, '''1e131071''::numeric', 'round(''1e131071''::numeric, 16383)'), (51, '''1e-1000''::numeric', 'round(''1e-1000''::numeric, 16383)'), (52, '''NaN''::numeric', '''NaN''::numeric(5,2)'),
	(53, '''{1.0,2.00}''::numeric[]', '''{1,2}''::numeric[]'), (54, 'ROW(1.50)', 'ROW(1.5)'), (55, '''[1.0,2.00)''::numrange', '''[1,2)''::numrange'), (56, '''{[1.0,2.00)}''::nummultirange', '''{[1,2)}''::nummultirange'), (57, '''1.0''::t.amount', '''1''::numeric'), (58, '''{1.0}''::t.amounts', '''{1}''::numeric[]'),
	(59, '''1.0''::jsonb', '''1''::jsonb'), (60, '''[1.0, {"a": [2.50, {"b": 100.0}]}]''::jsonb', '''[1, {"a": [2.5, {"b": 1e2}]}]''::jsonb'), (61, '''{"a": 0.000}''::jsonb', '''{"a": 0}''::jsonb'), (62, '''{"a": 1.0}''::t.doc', '''{"a": 1}''::jsonb'), (63, 'ARRAY[''1.0''::jsonb]', 'ARRAY[''1''::jsonb]'),
	(64, 'to_jsonb(round(1e300::numeric, 100))', '''1e300''::jsonb'), (65, 'to_jsonb(round(1e-300::numeric, 1000))', '''1e-300''::jsonb'), (66, 'trim_scale(1.50)', '1.50'), (67, '0.00010000', '0.0001'), (68, '123400000000::numeric / 10000', '12340000::numeric'),
	-- order of keys, spaces, duplicates: they are not in a jsonb
	(80, '''{"b": 1, "aa": 2, "a": 3}''::jsonb', '''{"a":3,"aa":2,"b":1}''::jsonb'), (81, '''{"a": 1, "a": 2}''::jsonb', '''{"a": 2}''::jsonb'), (82, 'jsonb_build_object(''x'', 1) || ''{"a": 2}''', '''{"a": 2, "x": 1}''::jsonb'), (83, '''[{"b": {}, "a": []}]''::jsonb', '''[{"a": [], "b": {}}]''::jsonb'), (84, '''"\u00f6"''::jsonb', '''"ö"''::jsonb'),
	-- padding
	(90, '''ab''::char(5)', '''ab''::char(10)'), (91, '''ab ''::char(3)', '''ab''::char(2)'), (92, '''''::char(5)', '''''::char(1)'), (93, '''{ab,c}''::char(5)[]', '''{ab,c}''::char(10)[]'), (94, 'ROW(''ab''::char(5))', 'ROW(''ab''::char(10))'), (95, 'ROW(''ab'')::t.padded', 'ROW(''ab''::char(10))'), (96, '''ab''::t.padded_domain', '''ab''::char(2)'),
	-- enums
	(100, '''sad''::t.mood', '''sad''::t.other_mood'), (101, '''happy''::t.mood', '''happy''::t.other_mood'), (102, '''{ok,sad}''::t.mood[]', '''{ok,sad}''::t.other_mood[]'), (103, 'ROW(''ok''::t.mood)', 'ROW(''ok''::t.other_mood)'), (104, '''ok''::t.mood_domain', '''ok''::t.other_mood'),
	-- domains, names of types
	(110, '''x''::t.short', '''x''::text'), (111, '''x''::t.shorter', '''x''::text'), (112, '''{1,2}''::t.point2', '''{1,2}''::int[]'), (113, '''(1,x)''::t.pair_domain', '''(1,x)''::t.pair'), (114, 'ROW(1, ''x'')::t.pair', 'ROW(1, ''x''::text)'), (115, '''{x}''::t.short[]', '''{x}''::text[]'), (116, '''{"{1,2}"}''::t.point2[]', 'ARRAY[''{1,2}''::t.point2]'),
	(117, '''x''::varchar(3)', '''x''::text'), (118, '''x''::name', '''x''::text'), (119, '''x''::"char"', '''x''::text'), (120, '''x''', '''x''::text'), (121, 'NULL', 'NULL::int'), (122, 'NULL::t.mood', 'NULL::jsonb'), (123, '''2026-01-01''::t.day', '''2026-01-01''::date'), (124, '''[1,5)''::t.span', '''[1,5)''::int4range'),
	-- canonical forms
	(130, '''[1,4]''::int4range', '''[1,5)''::int4range'), (131, '''[5,1)''::int4range IS NULL', 'false'), (132, '''[3,3)''::int4range', '''empty''::int4range'), (133, '''(3,3)''::numrange', '''empty''::numrange'), (134, '''{[1,2],[2,3]}''::nummultirange', '''{[1,3]}''::nummultirange'), (135, '''b a b''::tsvector', '''a b''::tsvector'), (136, '''b=>1,a=>2''::hstore', '''a=>2,b=>1''::hstore'),
	(137, '''1 2''::int2vector', '''[0:1]={1,2}''::int2[]'), (138, '''2000-01-01 02:00+02''::timestamptz', '''2000-01-01 00:00+00''::timestamptz'), (139, '''60 minutes''::interval', '''1 hour''::interval'), (140, '''12 months''::interval', '''1 year''::interval')
	) AS same (n, a, b) WHERE n <> 131 ORDER BY n;
-- Labels: a value by another name is another one, whatever its OID.
CREATE TABLE t.moods AS SELECT 'sad'::t.other_mood AS mood, sync_row_hash('sad'::t.other_mood) AS before, sync_row_hash('{sad}'::t.other_mood[]) AS list;
ALTER TYPE t.other_mood RENAME VALUE 'sad' TO 'glum';
SELECT isnt(sync_row_hash(mood), before, 'a label that was renamed is hashed by its new name') FROM t.moods;
SELECT is(sync_row_hash(mood), sync_row_hash('glum'::text), '... as that') FROM t.moods;
SELECT isnt(sync_row_hash(ARRAY[mood]), list, '... in arrays, too') FROM t.moods;

-- Numbers at random: hashed alike if and only if they are equal, whatever their scale.
DO $$ BEGIN PERFORM setseed(0.4); END $$;
CREATE TABLE t.number AS
	SELECT n, scale, CASE n % 5 WHEN 0 THEN v WHEN 1 THEN round(v, scale) WHEN 2 THEN round(v, scale) * power(10::numeric, (scale - 25))
	                 WHEN 3 THEN trunc(v) * power(10::numeric, scale * 4) ELSE round(v / 7, 3) END AS value
	  FROM (SELECT n, (random() * 50)::int AS scale, ((random() - 0.5) * power(10::float8, random() * 12))::numeric AS v FROM generate_series(1, 1000) n) AS r;
SELECT is_empty($$ SELECT value, s FROM t.number, unnest('{0,1,3,4,7,40,400}'::int[]) AS s
                    WHERE sync_row_hash(value) <> sync_row_hash(round(value, scale(value) + s)) OR sync_row_hash(value) <> sync_row_hash(trim_scale(value)) $$,
	'1,000 random numbers, each at several scales');
SELECT is_empty($$ SELECT value, s FROM t.number, unnest('{0,1,3,4,7,40,400}'::int[]) AS s
                    WHERE sync_row_hash(to_jsonb(ARRAY[value])) <> sync_row_hash(to_jsonb(ARRAY[round(value, scale(value) + s)])) $$,
	'... in jsonb, too');
SELECT is((SELECT count(DISTINCT sync_row_hash(value)) FROM t.number), (SELECT count(DISTINCT value) FROM t.number), '... and as many hashes as values');
SELECT is((SELECT count(DISTINCT sync_row_hash(to_jsonb(value))) FROM t.number), (SELECT count(DISTINCT value) FROM t.number), '... as jsonb, too');
SELECT is_empty($$ SELECT a, b FROM (SELECT round((n - 60) / 20.0, n % 4) AS a FROM generate_series(0, 120) n) AS x, (SELECT round((n - 60) / 20.0, n % 3) AS b FROM generate_series(0, 120) n) AS y
                    WHERE (a = b) <> (sync_row_hash(a) = sync_row_hash(b)) OR (a = b) <> (sync_row_hash(to_jsonb(a)) = sync_row_hash(to_jsonb(b))) $$,
	'14,641 pairs of numbers about zero: equal hashes if they are equal');
-- Other types whose = is identity: the same over all pairs of some values.
CREATE FUNCTION t.disagreements(type text, expressions text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
	EXECUTE format('WITH v AS (SELECT x FROM unnest(ARRAY[%s]::%s[]) AS x) SELECT string_agg(a.x::text || '' and '' || b.x::text, '', '') FROM v AS a, v AS b
	                 WHERE (a.x = b.x) <> (sync_row_hash(a.x) = sync_row_hash(b.x))', array_to_string(expressions, ', '), type) INTO found;
	RETURN found;
END $$;
SELECT is(t.disagreements(type, expressions), NULL, type || ': hashes are equal where values are') FROM (VALUES
	(1, 'jsonb', ARRAY['''{"a":[1.0,2]}''', '''{"a":[1,2.0]}''', '''{"a":[2,1]}''', '''[1,2]''', '''[1.00,2.00]''', '''"1"''', '''1''', '''1.000''', '''[]''', '''{}''', '''null''', '''[[]]''', '''{"b":1,"a":2}''', '''{"a":2.0,"b":1}''']),
	(2, 't.pair', ARRAY['ROW(1,''x'')', 'ROW(1,''x'')', 'ROW(1,NULL)', 'ROW(NULL,''x'')', 'ROW(NULL,NULL)', 'ROW(NULL,NULL)', 'ROW(2,''x'')']),
	(3, 'numrange', ARRAY['''[1,2)''', '''[1.0,2.00)''', '''(1,2)''', '''[1,2]''', '''empty''', '''[1,1)''', '''(,2)''', '''(,2.0)''']),
	(4, 'float8', ARRAY['0', '''-0''', '''NaN''', '''Infinity''::float8 - ''Infinity''', '1', '''Infinity''', '''-Infinity''', '5e-324', '-5e-324']),
	(5, 'timestamptz', ARRAY['''2000-01-01 00:00+00''', '''2000-01-01 01:00+01''', '''2000-01-01 01:00+00''', '''infinity''', '''-infinity''']),
	(6, 'inet', ARRAY['''10.0.0.1''', '''10.0.0.1/32''', '''10.0.0.1/8''', '''10.0.0.0/8''', '''::1''', '''::1/128''']),
	(7, 'tsvector', ARRAY['''a b''', '''b a''', '''a:1 b:2''', '''a:1A b:2''', '''a''']),
	(8, 'varbit', ARRAY['B''1''', 'B''10''', 'B''1''', 'B''''', 'B''0''', 'B''00''']),
	(9, 'nummultirange', ARRAY['''{[1,2)}''', '''{[1.0,2.0)}''', '''{[1,2),[2,3)}''', '''{[1,3)}''', '''{}'''])
	) AS pool (n, type, expressions) ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- 4. Settings of the session
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.sample (id int, f4 float4, f8 float8, n numeric, m money, s text, c citext, bp char(8), v varchar, nm name, ch "char", b bytea, bo bool, u uuid, d date, ti time, tt timetz, ts timestamp, tz timestamptz,
	iv interval, i inet, ci cidr, ma macaddr, bi bit(3), vb varbit, ir int4range, tr tstzrange, tm tstzmultirange, p t.pair, e t.mood, dm t.short, x xml, j json, jb jsonb, tv tsvector, tq tsquery, jp jsonpath, h hstore, po point,
	ea t.mood[], fa float8[], ba bytea[], za timestamptz[], tva tsvector[], r t.nested);
INSERT INTO t.sample VALUES (1, 0.1, 1.0/3, 1.50, '12.34', 'żółć', 'Żółć', 'ab', 'v', 'n', 'c', '\x00ff', true, '00112233-4455-6677-8899-aabbccddeeff', '2026-02-03', '01:02:03.4', '01:02+03', '2026-02-03 04:05:06.7', '2026-02-03 04:05:06.7+00',
	'1 mon 2 days 03:04:05.6', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', B'101', B'1', '[1,5)', '[2026-02-03 04:05+00,)', '{[2026-02-03 04:05+00,)}', ROW(1, 'ż'), 'happy', 'ł', '<ż/>', '{"ż": 1.0}', '{"ż": 1.0}', 'żółć:1 b', 'żółć & b', '$."ż"', 'ż=>ł', '(0.1,0.2)',
	'{happy,sad}', '{0.1,NULL}', '{"\\x00ff"}', '{2026-02-03 04:05+00}', '{"żółć"}', ROW(ROW(2, 'ć'), ARRAY[ROW(3, 'ó')::t.pair]));
CREATE TABLE t.settings (n serial, setting text, value text);
INSERT INTO t.settings (setting, value) VALUES
	('TimeZone', 'Asia/Tokyo'), ('TimeZone', 'America/St_Johns'), ('TimeZone', 'Europe/Warsaw'), ('DateStyle', 'SQL, DMY'), ('DateStyle', 'German'), ('DateStyle', 'Postgres, MDY'), ('IntervalStyle', 'iso_8601'), ('IntervalStyle', 'sql_standard'),
	('extra_float_digits', '-15'), ('extra_float_digits', '3'), ('client_encoding', 'LATIN2'), ('client_encoding', 'WIN1250'), ('client_encoding', 'SQL_ASCII'),
	-- it has no characters for the text
	('client_encoding', 'LATIN1'), ('client_encoding', 'EUC_JP'),
	('bytea_output', 'escape'), ('xmlbinary', 'hex'), ('xmloption', 'document'), ('search_path', ''), ('search_path', 't, pg_temp, pg_catalog'), ('lc_monetary', 'C'), ('lc_numeric', 'C'), ('quote_all_identifiers', 'on'), ('jit', 'off'), ('array_nulls', 'off'), ('default_text_search_config', 'german');
CREATE TABLE t.columns AS SELECT array_agg('x.' || attname ORDER BY attnum) AS columns FROM pg_attribute WHERE attrelid = 't.sample'::regclass AND attnum > 0;
CREATE TABLE t.queries AS SELECT 'one by one' AS what, format('SELECT pg_catalog.encode(public.sync_row_hash(%s), ''hex'') FROM t.sample AS x', array_to_string(columns, ', ')) AS query FROM t.columns
	UNION ALL SELECT 'as a row', 'SELECT pg_catalog.encode(public.sync_row_hash(x), ''hex'') FROM t.sample AS x'
	UNION ALL SELECT 'as a digest', format('SELECT public.sync_digest(%s) FROM t.sample AS x', array_to_string(columns, ', ')) FROM t.columns;
CREATE TABLE t.answers AS SELECT what, query, t.under('TimeZone', 'UTC', query) AS answer FROM t.queries;
SELECT is(t.under(setting, value, query), answer, setting || ' = ''' || value || ''': ' || what) FROM t.settings, t.answers ORDER BY n, what;
SELECT is((SELECT count(*) FROM t.sample AS x WHERE x IS NOT NULL), 1::bigint, '(no column of that row is NULL)');
SELECT is(current_setting('client_encoding'), 'UTF8', '(client_encoding is what it was)');

-- A send function that fails leaves the encoding as it was.
CREATE TYPE t.moody;
CREATE FUNCTION t.moody_in(cstring) RETURNS t.moody LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION t.moody_out(t.moody) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE t.moody (INPUT = t.moody_in, OUTPUT = t.moody_out);
CREATE FUNCTION t.moody_send(t.moody) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = 'MOODY'; END $$;
ALTER TYPE t.moody SET (SEND = t.moody_send);
CREATE FUNCTION t.send_fails() RETURNS text LANGUAGE plpgsql AS $$
DECLARE code text; answer text;
BEGIN
	PERFORM set_config('client_encoding', 'LATIN2', true);
	BEGIN
		PERFORM public.sync_row_hash('x'::t.moody);
	EXCEPTION WHEN OTHERS THEN
		code := SQLSTATE;
	END;
	-- The two bytes of UTF-8, or the one of LATIN2: what a send function makes of text tells which.
	answer := code || ' ' || encode(textsend('ż'), 'hex');
	PERFORM set_config('client_encoding', 'UTF8', true);
	RETURN answer;
END $$;
SELECT is(t.send_fails(), 'MOODY bf', 'a send function that fails leaves the client''s encoding as it was');

-- ---------------------------------------------------------------------------------------------
-- 5. Storage
-- ---------------------------------------------------------------------------------------------
-- Columns that are gone, or that were added with a default and are in no row
CREATE TABLE t.dropped (id int, gone text, a text, gone_too int, b numeric);
INSERT INTO t.dropped SELECT n, 'x' || n, 'a' || n, n, n / 4.0 FROM generate_series(1, 100) n;
CREATE TABLE t.intact AS SELECT id, a, b FROM t.dropped;
ALTER TABLE t.dropped DROP COLUMN gone, DROP COLUMN gone_too;
SELECT is((SELECT sync_digest(id, a, b) FROM t.dropped), (SELECT sync_digest(id, a, b) FROM t.intact), 'dropped columns, of columns');
SELECT is((SELECT sync_digest(w) FROM t.dropped w), (SELECT sync_digest(w) FROM t.intact w), 'dropped columns, of whole rows');
SELECT is((SELECT sync_digest(w) FROM t.dropped w), (SELECT sync_digest(ROW(id, a, b)) FROM t.intact i), '... which are hashed as their columns');
SELECT is((SELECT sync_digest(ARRAY[d, NULL]) FROM t.dropped d), (SELECT sync_digest(ARRAY[i, NULL]) FROM t.intact i), 'dropped columns, of rows in arrays');
INSERT INTO t.dropped (id, a, b) VALUES (101, 'new', 1);
INSERT INTO t.intact (id, a, b) VALUES (101, 'new', 1);
SELECT is((SELECT sync_digest(w) FROM t.dropped w), (SELECT sync_digest(w) FROM t.intact w), '... also of rows that never had them');
ALTER TABLE t.dropped ADD COLUMN c int DEFAULT 7, ADD COLUMN d jsonb DEFAULT '{"x": 1.50}', ADD COLUMN e t.mood DEFAULT 'ok', ADD COLUMN f text DEFAULT repeat('long', 1000), ADD COLUMN g float8;
ALTER TABLE t.intact ADD COLUMN c int, ADD COLUMN d jsonb, ADD COLUMN e t.mood, ADD COLUMN f text, ADD COLUMN g float8;
UPDATE t.intact SET c = 7, d = '{"x": 1.5}', e = 'ok', f = repeat('long', 1000);
SELECT is((SELECT count(*) FROM pg_attribute WHERE attrelid = 't.dropped'::regclass AND atthasmissing), 4::bigint, '(four columns are in no row)');
SELECT is((SELECT sync_digest(id, a, b, c, d, e, f, g) FROM t.dropped), (SELECT sync_digest(id, a, b, c, d, e, f, g) FROM t.intact), 'fast defaults, of columns');
SELECT is((SELECT sync_digest(w) FROM t.dropped w), (SELECT sync_digest(w) FROM t.intact w), 'fast defaults, of whole rows');
ALTER TABLE t.dropped ALTER COLUMN c SET DEFAULT 8;
SELECT is((SELECT sync_digest(c) FROM t.dropped), (SELECT sync_digest(c) FROM t.intact), '... whatever the default is now');
UPDATE t.dropped SET a = a WHERE id % 2 = 0;
SELECT is((SELECT sync_digest(id, a, b, c, d, e, f, g) FROM t.dropped), (SELECT sync_digest(id, a, b, c, d, e, f, g) FROM t.intact), '... also when half of the rows were written since');
UPDATE t.dropped SET c = 8 WHERE id = 1;
SELECT isnt((SELECT sync_digest(id, a, b, c, d, e, f, g) FROM t.dropped), (SELECT sync_digest(id, a, b, c, d, e, f, g) FROM t.intact), 'a value that is not the default is another one');
-- Types that lose and gain attributes between two calls of one call site
CREATE TYPE t.changing AS (a int, b text, c int);
CREATE TABLE t.holder (n int, v t.changing, l t.changing[]);
INSERT INTO t.holder SELECT n, ROW(n, 'x', 2)::t.changing, ARRAY[ROW(n, 'x', 2)::t.changing] FROM generate_series(1, 3) n;
CREATE FUNCTION t.of_holder() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT sync_digest(n, v, l) FROM t.holder); END $$;
SELECT is(t.of_holder(), (SELECT sync_digest(n, ROW(n, 'x', 2), ARRAY[ROW(n, 'x', 2)]) FROM generate_series(1, 3) n), 'a composite type');
ALTER TYPE t.changing DROP ATTRIBUTE b;
SELECT is(t.of_holder(), (SELECT sync_digest(n, ROW(n, 2), ARRAY[ROW(n, 2)]) FROM generate_series(1, 3) n), '... that has lost an attribute');
ALTER TYPE t.changing ADD ATTRIBUTE d numeric;
SELECT is(t.of_holder(), (SELECT sync_digest(n, ROW(n, 2, NULL), ARRAY[ROW(n, 2, NULL)]) FROM generate_series(1, 3) n), '... and got another');
SELECT is(sync_row_hash(ROW(1, 2, 3.0)::t.changing), sync_row_hash(ROW(1, 2, 3::numeric)), '... of which a new value is hashed as its attributes');
SELECT is(sync_row_hash(ARRAY[ROW(1, 2, 3.0)::t.changing]), sync_row_hash(ARRAY[ROW(1, 2, 3::numeric)]), '... in an array, too');
-- ... and while a query is under way
DECLARE under_way CURSOR FOR SELECT sync_row_hash(v, l), n FROM t.holder;
CREATE TABLE t.fetched (hash bytea, n int);
DO $$
DECLARE c refcursor := 'under_way'; r record;
BEGIN
	FETCH c INTO r; INSERT INTO t.fetched VALUES (r.sync_row_hash, r.n);
	ALTER TYPE t.changing ADD ATTRIBUTE e text, ADD ATTRIBUTE f int, DROP ATTRIBUTE c;
	FETCH c INTO r; INSERT INTO t.fetched VALUES (r.sync_row_hash, r.n);
END $$;
SELECT results_eq('SELECT hash FROM t.fetched', $$ VALUES (sync_row_hash(ROW(1, 2, NULL), ARRAY[ROW(1, 2, NULL)])), (sync_row_hash(ROW(2, NULL, NULL, NULL), ARRAY[ROW(2, NULL, NULL, NULL)])) $$, '... that changes while a query is under way');
CLOSE under_way;
-- Records of several types in one column
SELECT is((SELECT sync_digest(CASE n % 3 WHEN 0 THEN ROW(n) WHEN 1 THEN ROW(n, 'x'::text) ELSE ROW(1.50, n) END) FROM generate_series(1, 300) n),
	(SELECT sync_digest(r) FROM (SELECT ROW(n) AS r FROM generate_series(3, 300, 3) n UNION ALL SELECT ROW(n, 'x'::text) FROM generate_series(1, 300, 3) n UNION ALL SELECT ROW(1.5, n) FROM generate_series(2, 300, 3) n) AS x),
	'records of several types in one column');
SELECT is((SELECT count(DISTINCT sync_row_hash(CASE n % 2 WHEN 0 THEN ROW(n / 2) ELSE ROW((n / 2)::text) END)) FROM generate_series(2, 201) n), 200::bigint, '... each by its own');

-- TOAST: the same values short, compressed and out of line
CREATE TABLE t.content AS SELECT n AS id, CASE n % 4 WHEN 0 THEN repeat('abc', n * 400) WHEN 1 THEN (SELECT string_agg(md5(n || '.' || m), '') FROM generate_series(1, n * 8) m) WHEN 2 THEN 'short' ELSE '' END AS s FROM generate_series(1, 60) n;
CREATE FUNCTION t.make(name text, storage text, compression text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE c text;
BEGIN
	EXECUTE format('CREATE TABLE t.%I (id int, s text, b bytea, j jsonb, js json, a text[], n numeric, v varchar, r t.pair, t tsvector)', name);
	FOREACH c IN ARRAY '{s,b,j,js,a,v,r,t}'::text[] LOOP
		EXECUTE format('ALTER TABLE t.%I ALTER COLUMN %I SET STORAGE %s', name, c, storage);
		EXECUTE format('ALTER TABLE t.%I ALTER COLUMN %I SET COMPRESSION %s', name, c, compression);
	END LOOP;
	EXECUTE format('INSERT INTO t.%I SELECT id, s, s::bytea, to_jsonb(ARRAY[s]), json_build_object(''a'', s), ARRAY[s, NULL, s], repeat(''9'', id * 50)::numeric, s, ROW(id, s)::t.pair, array_to_tsvector(ARRAY[left(s, 2000), ''x'', md5(s)]) FROM (SELECT id, s || '''' AS s FROM t.content) AS c WHERE s <> ''''', name);
END $$;
DO $$ BEGIN PERFORM t.make('extended', 'EXTENDED', 'pglz'), t.make('external', 'EXTERNAL', 'pglz'), t.make('main', 'MAIN', 'pglz'), t.make('extended2', 'EXTENDED', 'default'); END $$;
CREATE TABLE t.plain AS SELECT * FROM t.extended WITH NO DATA;
ALTER TABLE t.plain ALTER s SET STORAGE PLAIN, ALTER v SET STORAGE PLAIN;
INSERT INTO t.plain (id, s, v) SELECT id, s, v FROM t.extended WHERE length(s) < 1900;
SELECT results_eq($$ SELECT pg_column_compression(e.s), pg_column_compression(e.j), pg_column_compression(x.s), pg_column_compression(m.s), pg_column_size(x.s) > pg_column_size(e.s)
	FROM t.extended e, t.external x, t.main m WHERE (e.id, x.id, m.id) = (60, 60, 60) $$, $$ VALUES ('pglz', 'pglz', NULL, 'pglz', true) $$, '(compressed in some, as it is in another)');
SELECT ok(pg_relation_size((SELECT reltoastrelid FROM pg_class WHERE oid = 't.external'::regclass)) > pg_relation_size((SELECT reltoastrelid FROM pg_class WHERE oid = 't.extended'::regclass)), '(and out of line)');
SELECT is((SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.external), (SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended), 'out of line, and compressed');
SELECT is((SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.main), (SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended), 'in line, and compressed');
SELECT is((SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended2), (SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended), 'as the server''s default is');
SELECT is((SELECT sync_digest(id, s, v) FROM t.plain), (SELECT sync_digest(id, s, v) FROM t.extended WHERE length(s) < 1900), 'plain');
SELECT is((SELECT sync_digest(id, s || '', b || ''::bytea, (j::text)::jsonb, (js::text)::json, a || '{}'::text[], n + 0, v::text, ROW(id, s || ''), (t::text)::tsvector) FROM t.external), (SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended), 'never stored');
SELECT is((SELECT sync_digest(x) FROM t.external x), (SELECT sync_digest(x) FROM t.extended x), 'of whole rows');
SELECT is((SELECT sync_digest(piece.s) FROM (SELECT substr(s, 1) AS s FROM t.external) AS piece), (SELECT sync_digest(s) FROM t.main), 'pieces of what is out of line');
DO $$ BEGIN
	ALTER TABLE t.extended2 ALTER s SET COMPRESSION lz4, ALTER j SET COMPRESSION lz4, ALTER a SET COMPRESSION lz4;
	UPDATE t.extended2 SET s = s || '', j = (j::text)::jsonb, a = a || '{}'::text[];
EXCEPTION WHEN feature_not_supported THEN NULL;		-- a server without lz4
END $$;
SELECT is((SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended2), (SELECT sync_digest(id, s, b, j, js, a, n, v, r, t) FROM t.extended), 'compressed by another method');
UPDATE t.external SET s = overlay(s placing 'X' from length(s)) WHERE id = 53;
SELECT isnt((SELECT sync_digest(id, s) FROM t.external), (SELECT sync_digest(id, s) FROM t.extended), 'one byte at the end of what is out of line');

-- Order of rows on pages
CREATE TABLE t.forth AS SELECT n, 'x' || n AS s FROM generate_series(1, 2000) n ORDER BY n;
CREATE TABLE t.back AS SELECT n, 'x' || n AS s FROM generate_series(1, 2000) n ORDER BY n DESC;
SELECT is((SELECT sync_digest(n, s) FROM t.back), (SELECT sync_digest(n, s) FROM t.forth), 'the other way round on pages');
DELETE FROM t.back WHERE n % 3 = 0;
INSERT INTO t.back SELECT n, 'x' || n FROM generate_series(3, 2000, 3) n;
UPDATE t.back SET s = s WHERE n % 5 = 0;
SELECT is((SELECT sync_digest(n, s) FROM t.back), (SELECT sync_digest(n, s) FROM t.forth), 'deleted, inserted and updated');
CREATE INDEX back_s ON t.back (s, n);
CLUSTER t.back USING back_s;
SELECT is((SELECT sync_digest(n, s) FROM t.back), (SELECT sync_digest(n, s) FROM t.forth), 'clustered');
SELECT is(t.under('enable_seqscan', 'off', 'SELECT sync_digest(n, s) FROM t.back WHERE s > '''''), (SELECT sync_digest(n, s) FROM t.forth), 'from an index alone');

-- ---------------------------------------------------------------------------------------------
-- 6. Refused, by name
-- ---------------------------------------------------------------------------------------------
CREATE TYPE t.sendless;
CREATE FUNCTION t.sendless_in(cstring) RETURNS t.sendless LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION t.sendless_out(t.sendless) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE t.sendless (INPUT = t.sendless_in, OUTPUT = t.sendless_out);
CREATE DOMAIN t.sendless_domain AS t.sendless;
CREATE DOMAIN t.class AS regclass;
CREATE TYPE t.has_class AS (a int, c regclass);
CREATE TYPE t.has_sendless AS (a int, l t.sendless[]);
CREATE TYPE t.has_has AS (h t.has_class[]);
CREATE TABLE t.refused (n serial, type text, value text);
INSERT INTO t.refused (type, value) SELECT ty, v || '::' || ty FROM unnest('{regclass,regcollation,regconfig,regdictionary,regnamespace,regoper,regoperator,regproc,regprocedure,regrole,regtype}'::text[]) ty, (VALUES ('NULL'), ('0')) AS v (v) WHERE v = 'NULL' OR ty NOT IN ('x');
INSERT INTO t.refused (type, value) VALUES
	('regtype', '''int''::regtype'), ('regclass', '''pg_class''::t.class'), ('regclass', '''{}''::regclass[]'), ('regclass', 'NULL::regclass[]'), ('regclass', '''{pg_class}''::t.class[]'), ('regclass', 'NULL::t.has_class'), ('regclass', 'ROW(1, ''pg_class'')::t.has_class'),
	('regclass', 'NULL::t.has_has'), ('regclass', 'NULL::t.has_class[]'), ('regclass', 'ROW(1, ''pg_class''::regclass)'), ('regclass', 'ROW(ROW(''pg_class''::regclass))'), ('regclass', '1, ''x'', NULL::regclass'),
	('t.sendless', '''x''::t.sendless'), ('t.sendless', 'NULL::t.sendless'), ('t.sendless', 'NULL::t.sendless_domain'), ('t.sendless', 'NULL::t.sendless[]'), ('t.sendless', 'NULL::t.has_sendless'), ('t.sendless', 'ROW(''x''::t.sendless)'),
	('aclitem', 'NULL::aclitem'), ('aclitem', '''{}''::aclitem[]'), ('gtsvector', 'NULL::gtsvector'), ('cstring', '''x''::cstring');
SELECT is(t.attempt('SELECT sync_row_hash(' || value || ')'), format('22023 values of type %s cannot be hashed', type), 'sync_row_hash: ' || value) FROM t.refused ORDER BY n;
SELECT is_empty($$ SELECT value, a FROM t.refused, t.attempt('SELECT sync_digest(' || value || ') FROM generate_series(1, 2)') AS a WHERE a <> format('22023 values of type %s cannot be hashed', type) $$, '... and so by sync_digest');
SELECT is_empty($$ SELECT value, a FROM t.refused, t.attempt('SELECT sync_sketch(10, 1, ' || value || ') FROM generate_series(1, 2)') AS a WHERE a <> format('22023 values of type %s cannot be hashed', type) $$, '... and so by sync_sketch');
SELECT is(t.attempt('SELECT sync_row_hash(most_common_vals) FROM pg_stats'), CASE WHEN EXISTS (SELECT FROM pg_stats) THEN '22023 values of type anyarray cannot be hashed' ELSE 'no error' END, 'a pseudo-type');
SELECT is(t.attempt(call), '22023 columns must be given one by one, not as a VARIADIC array', call) FROM (VALUES
	(1, 'SELECT sync_row_hash(VARIADIC ARRAY[1, 2])'), (2, 'SELECT sync_row_hash(VARIADIC NULL::int[])'), (4, 'SELECT sync_digest(VARIADIC ARRAY[1, 2])'),
	(5, 'SELECT sync_digest(VARIADIC NULL::int[]) FROM generate_series(1, 2)'), (6, 'SELECT sync_sketch(10, 1, VARIADIC ARRAY[1, 2])')) AS c (n, call) ORDER BY n;
SELECT is(t.attempt(call), state, call) FROM (VALUES
	(1, 'SELECT sync_row_hash()', '42883 function sync_row_hash() does not exist'), (2, 'SELECT sync_digest()', '42883 function sync_digest() does not exist'), (3, 'SELECT sync_digest(*)', '42883 function sync_digest() does not exist')) AS c (n, call, state) ORDER BY n;
-- The hint tells of a way, which works.
SELECT is(t.hash('''pg_class''::regclass::text'), t.hash('''pg_class''::text'), 'cast to text it can be hashed');

-- ---------------------------------------------------------------------------------------------
-- 7. The digest is the sum of the hashes
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.number(hex text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT sum(('x' || substr(hex, 8 * n + 1, 8))::bit(32)::bigint::numeric * power(4294967296::numeric, 3 - n)) FROM generate_series(0, 3) n $$;
CREATE FUNCTION t.hex(number numeric) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(lpad(to_hex(mod(div(number, power(4294967296::numeric, 3 - n)), 4294967296)::bigint), 8, '0'), '' ORDER BY n) FROM generate_series(0, 3) n $$;
SELECT is(t.hex(t.number('00112233445566778899aabbccddeeff')), '00112233445566778899aabbccddeeff', '(128-bit numbers in SQL)');
CREATE TABLE t.row (id int PRIMARY KEY, a bigint, s text, n numeric, j jsonb, part int);
INSERT INTO t.row SELECT n, n::bigint * 1000003, CASE WHEN n % 7 > 0 THEN 'row ' || n % 100 END, n / 8.0, to_jsonb(n), n % 5 FROM generate_series(1, 3000) n;
CREATE FUNCTION t.summed(condition text DEFAULT 'true') RETURNS text LANGUAGE plpgsql AS $$
DECLARE sum numeric; rows bigint;
BEGIN
	EXECUTE 'SELECT coalesce(sum(t.number(encode(sync_row_hash(id, a, s, n, j), ''hex''))), 0), count(*) FROM t.row WHERE ' || condition INTO sum, rows;
	RETURN t.hex(mod(sum, power(2::numeric, 128))) || ':' || rows;
END $$;
SELECT is((SELECT sync_digest(id, a, s, n, j) FROM t.row), t.summed(), 'the sum modulo 2^128 of the rows'' hashes, and how many they are');
SELECT is((SELECT sync_digest(id, a, s, n, j) FROM t.row WHERE id <= k), t.summed('id <= ' || k), '... of the first ' || k) FROM generate_series(0, 9) k;
SELECT is(t.number(left((SELECT sync_digest(id, a, s, n, j) FROM t.row WHERE id = 5), 32)), (SELECT t.number(encode(sync_row_hash(id, a, s, n, j), 'hex')) FROM t.row WHERE id = 5), 'of one row it is that row''s hash');
SELECT is((SELECT sync_digest(id) FROM t.row WHERE false), repeat('0', 32) || ':0', 'no rows have a digest, too');
SELECT is((SELECT sync_digest(id) FILTER (WHERE false) FROM t.row), repeat('0', 32) || ':0', '... also if all are left out');
SELECT is((SELECT split_part(sync_digest(NULL::int), ':', 2) FROM generate_series(1, 3)), '3', 'NULLs count');
SELECT is((SELECT sync_digest(n) FROM (VALUES (1), (2), (3)) AS v (n)), (SELECT sync_digest(n) FROM (VALUES (3), (1), (2)) AS v (n)), 'the order does not matter');
-- What an exclusive or, or a linear checksum, would not see

SELECT is((SELECT count(DISTINCT left(sync_digest, 32)) FROM (SELECT (SELECT sync_digest('x') FROM generate_series(1, copies)) FROM generate_series(0, 64) copies) AS d), 65::bigint, 'a row that is there 0, 1, ... 64 times');
SELECT isnt((SELECT sync_digest(x) FROM (VALUES ('a'), ('a'), ('b')) AS v (x)), (SELECT sync_digest(x) FROM (VALUES ('c'), ('c'), ('b')) AS v (x)), 'pairs do not cancel');
SELECT isnt((SELECT sync_digest(a, b) FROM (VALUES (1, 'x'), (2, 'y')) AS v (a, b)), (SELECT sync_digest(a, b) FROM (VALUES (1, 'y'), (2, 'x')) AS v (a, b)), 'values that changed places');
SELECT isnt((SELECT sync_digest(a, b) FROM (VALUES (1, 2), (3, 4)) AS v (a, b)), (SELECT sync_digest(a, b) FROM (VALUES (1, 4), (3, 2)) AS v (a, b)), '... of numbers, too');
SELECT isnt((SELECT sync_digest(a) FROM (VALUES (1), (4)) AS v (a)), (SELECT sync_digest(a) FROM (VALUES (2), (3)) AS v (a)), 'numbers of equal sum');
SELECT isnt((SELECT sync_digest(b) FROM (VALUES ('\x0001'::bytea), ('\x0100'::bytea), ('\x0000'::bytea), ('\x0101'::bytea)) AS v (b)), (SELECT sync_digest(b) FROM (VALUES ('\x0002'::bytea), ('\x0200'::bytea), ('\x0000'::bytea), ('\x0202'::bytea)) AS v (b)), 'bytes of equal exclusive or');
SELECT is((SELECT count(DISTINCT sync_digest) FROM (SELECT sync_digest(id, bit) FROM (SELECT id, (n << (id % 8)) & 255 AS bit, n FROM generate_series(0, 255) n, generate_series(1, 8) id) AS b GROUP BY n) AS d), 256::bigint, 'one bit here, one bit there');

-- ---------------------------------------------------------------------------------------------
-- 8. However it is computed
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
CREATE TABLE t.how (what text, digest text);
SELECT unalike(t.plan('SELECT sync_digest(id, a, s, n, j) FROM t.row'), '%Partial%', '(one process alone)');
INSERT INTO t.how SELECT 'serial', sync_digest(id, a, s, n, j) FROM t.row;
INSERT INTO t.how SELECT 'sorted', sync_digest(id, a, s, n, j ORDER BY n DESC) FROM t.row;
INSERT INTO t.how SELECT 'distinct', sync_digest(DISTINCT id, a, s, n, j) FROM (SELECT * FROM t.row UNION ALL SELECT * FROM t.row WHERE id > 10) AS twice;
INSERT INTO t.how SELECT 'filtered', sync_digest(id, a, s, n, j) FILTER (WHERE which = 1) FROM t.row, generate_series(1, 2) which;
INSERT INTO t.how SELECT 'as a window of all', max(d) FROM (SELECT sync_digest(id, a, s, n, j) OVER () AS d FROM t.row) AS w HAVING min(d) = max(d);
INSERT INTO t.how SELECT 'of groups', t.hex(mod(sum(t.number(left(d, 32))), power(2::numeric, 128))) || ':' || sum(split_part(d, ':', 2)::int) FROM (SELECT sync_digest(id, a, s, n, j) AS d FROM t.row GROUP BY part, s) AS g;
INSERT INTO t.how SELECT 'of grouping sets', sync_digest(id, a, s, n, j) FROM t.row GROUP BY ROLLUP (part) HAVING GROUPING(part) = 1;
-- In parallel: states are serialised by workers and combined by the leader.
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 3;
ALTER TABLE t.row SET (parallel_workers = 3);
SELECT alike(t.plan('SELECT sync_digest(id, a, s, n, j) FROM t.row'), '%Finalize Aggregate%Gather%Partial Aggregate%Parallel Seq Scan%', '(in parallel)');
INSERT INTO t.how SELECT 'parallel', d FROM (SELECT sync_digest(id, a, s, n, j) AS d FROM t.row) AS x;
SET LOCAL parallel_leader_participation = off;
INSERT INTO t.how SELECT 'parallel, by workers alone', d FROM (SELECT sync_digest(id, a, s, n, j) AS d FROM t.row) AS x;
DO $$ BEGIN PERFORM t.force_parallel('on'); END $$;
INSERT INTO t.how SELECT 'parallel, forced', d FROM (SELECT sync_digest(id, a, s, n, j) AS d FROM t.row) AS x;
INSERT INTO t.how SELECT 'parallel, filtered', d FROM (SELECT sync_digest(id, a, s, n, j) FILTER (WHERE which = 1) AS d FROM t.row, generate_series(1, 2) which) AS x;
INSERT INTO t.how SELECT 'parallel, of groups', t.hex(mod(sum(t.number(left(d, 32))), power(2::numeric, 128))) || ':' || sum(split_part(d, ':', 2)::int) FROM (SELECT sync_digest(id, a, s, n, j) AS d FROM t.row GROUP BY part) AS g;
SELECT is((SELECT sync_digest(id) FROM t.row WHERE id < 0), repeat('0', 32) || ':0', 'no rows, in parallel');
SELECT is((SELECT sync_digest(e, ea, c, tv, h, x) FROM t.sample), (SELECT sync_digest('happy'::t.mood, '{happy,sad}'::t.mood[], 'Żółć'::citext, 'żółć:1 b'::tsvector, 'ż=>ł'::hstore, '<ż/>'::xml)), 'labels and text, by a worker');
SELECT is(t.under('client_encoding', 'LATIN2', 'SELECT sync_digest(e, ea, c, tv, h, x) FROM t.sample'), (SELECT sync_digest(e, ea, c, tv, h, x) FROM t.sample), '... whatever the client''s encoding');
DO $$ BEGIN PERFORM t.force_parallel('off'); END $$;
SET LOCAL max_parallel_workers_per_gather = 0;
-- Partition by partition: states are combined as they are, in any order, and some have seen no row.
SET LOCAL enable_partitionwise_aggregate = on;
SET LOCAL enable_partitionwise_join = on;
CREATE FUNCTION t.partition(name text, bounds int[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE n int;
BEGIN
	EXECUTE format('CREATE TABLE t.%I (LIKE t.row) PARTITION BY RANGE (id)', name);
	FOR n IN 1 .. array_length(bounds, 1) - 1 LOOP
		EXECUTE format('CREATE TABLE t.%I PARTITION OF t.%I FOR VALUES FROM (%s) TO (%s)', name || n, name, bounds[n], bounds[n + 1]);
	END LOOP;
	EXECUTE format('INSERT INTO t.%I SELECT * FROM t.row', name);
	EXECUTE format('ANALYZE t.%I', name);
END $$;
CREATE TABLE t.partitioned (name text, bounds int[]);
INSERT INTO t.partitioned VALUES ('halves', '{0,1500,4000}'), ('first_empty', '{-9,0,7,3001}'), ('last_empty', '{0,2999,3001,4000,5000}'), ('many', '{-2,-1,0,1,2,3,10,100,1000,1001,2500,3001,3002}'), ('one', '{0,3001}');
DO $$ BEGIN PERFORM t.partition(name, bounds) FROM t.partitioned; END $$;
SELECT alike(t.plan('SELECT sync_digest(id, a, s, n, j) FROM t.many'), '%Finalize Aggregate%Append%Partial Aggregate%Partial Aggregate%', '(partition by partition)');
CREATE FUNCTION t.digest_of(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE d text;
BEGIN
	EXECUTE format('SELECT sync_digest(id, a, s, n, j) FROM t.%I', name) INTO d; RETURN d;
END $$;
INSERT INTO t.how SELECT 'partitions: ' || name, t.digest_of(name) FROM t.partitioned;
SET LOCAL max_parallel_workers_per_gather = 3;
SET LOCAL enable_parallel_append = on;
INSERT INTO t.how SELECT 'partitions, in parallel: ' || name, t.digest_of(name) FROM t.partitioned;
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT is(digest, t.summed(), what) FROM t.how ORDER BY what;
SELECT is((SELECT count(*) FROM t.how), 22::bigint, 'each of them');
-- The other direction: a row that differs, in each of these ways
UPDATE t.many SET s = 'other' WHERE id = 2999;
SELECT isnt(t.digest_of('many'), t.summed(), 'one row differs, partition by partition');

-- Windows that lose rows at one end and gain them at the other: always what a fresh sum is.
CREATE FUNCTION t.moving(frame text) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT id FROM (SELECT id, sync_digest(id, s, j) OVER w AS moved, array_agg(id) OVER w AS ids FROM t.row WHERE id <= 200 WINDOW w AS (%s)) AS m
		WHERE moved IS DISTINCT FROM (SELECT sync_digest(r.id, r.s, r.j) FROM t.row AS r WHERE r.id = ANY (ids))', frame);
END $$;
SELECT is_empty(format('SELECT t.moving(%L)', frame), 'window: ' || frame) FROM (VALUES
	(1, 'ORDER BY id ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING'), (2, 'ORDER BY id ROWS BETWEEN 5 PRECEDING AND 3 PRECEDING'), (3, 'ORDER BY id ROWS BETWEEN 2 FOLLOWING AND 9 FOLLOWING'), (4, 'ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING'),
	(5, 'ORDER BY id ROWS BETWEEN CURRENT ROW AND CURRENT ROW'), (6, 'ORDER BY id'), (7, 'ORDER BY id DESC ROWS 10 PRECEDING'), (8, 'PARTITION BY part ORDER BY id ROWS BETWEEN 4 PRECEDING AND 1 FOLLOWING'), (9, 'PARTITION BY s ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING'),
	(10, 'ORDER BY id / 7 RANGE BETWEEN 2 PRECEDING AND 1 FOLLOWING'), (11, 'ORDER BY id % 9 GROUPS BETWEEN 2 PRECEDING AND 1 FOLLOWING'), (12, 'ORDER BY id ROWS BETWEEN 3 PRECEDING AND 3 FOLLOWING EXCLUDE CURRENT ROW'), (13, 'ORDER BY id ROWS BETWEEN 150 FOLLOWING AND 160 FOLLOWING')) AS f (n, frame) ORDER BY n;
SELECT is_empty($$ SELECT id FROM (SELECT id, sync_digest(id, s) FILTER (WHERE id % 3 = 0) OVER (ORDER BY id ROWS BETWEEN 4 PRECEDING AND 1 PRECEDING) AS moved FROM t.row WHERE id <= 100) AS m
	WHERE moved <> (SELECT sync_digest(r.id, r.s) FROM t.row AS r WHERE r.id BETWEEN m.id - 4 AND m.id - 1 AND r.id % 3 = 0) $$, 'a window of those that a filter lets through');
SELECT is((SELECT moved FROM (SELECT id, sync_digest(id, s) OVER (ORDER BY id ROWS BETWEEN 2 FOLLOWING AND 3 FOLLOWING) AS moved FROM t.row) AS m WHERE id = 3000), repeat('0', 32) || ':0', 'a window that all rows have left is empty');

-- ---------------------------------------------------------------------------------------------
-- 9. The parts of the aggregates, misused
-- ---------------------------------------------------------------------------------------------
-- A superuser can put them together otherwise. What one serialised, the other one refuses.
CREATE AGGREGATE t.sketch_as_digest(int, int, VARIADIC "any") (sfunc = syncstate.sketch_add, stype = internal, serialfunc = syncstate.sketch_serialize,
	deserialfunc = syncstate.digest_deserialize, combinefunc = syncstate.digest_combine, finalfunc = syncstate.digest_final, parallel = safe);
CREATE AGGREGATE t.digest_as_sketch(VARIADIC "any") (sfunc = syncstate.digest_add, stype = internal, serialfunc = syncstate.digest_serialize,
	deserialfunc = syncstate.sketch_deserialize, combinefunc = syncstate.sketch_combine, finalfunc = syncstate.sketch_final, parallel = safe);
CREATE AGGREGATE t.numeric_as_digest(numeric) (sfunc = numeric_avg_accum, stype = internal, serialfunc = numeric_avg_serialize,
	deserialfunc = syncstate.digest_deserialize, combinefunc = syncstate.digest_combine, finalfunc = syncstate.digest_final, parallel = safe);
CREATE AGGREGATE t.numeric_as_sketch(numeric) (sfunc = numeric_avg_accum, stype = internal, serialfunc = numeric_avg_serialize,
	deserialfunc = syncstate.sketch_deserialize, combinefunc = syncstate.sketch_combine, finalfunc = syncstate.sketch_final, parallel = safe);
CREATE AGGREGATE t.int8_as_digest(bigint) (sfunc = int8_avg_accum, stype = internal, serialfunc = int8_avg_serialize,
	deserialfunc = syncstate.digest_deserialize, combinefunc = syncstate.digest_combine, finalfunc = syncstate.digest_final, parallel = safe);
CREATE AGGREGATE t.digest_as_numeric(VARIADIC "any") (sfunc = syncstate.digest_add, stype = internal, serialfunc = syncstate.digest_serialize,
	deserialfunc = syncstate.digest_deserialize, combinefunc = syncstate.digest_combine, finalfunc = syncstate.digest_final, parallel = safe);
SET LOCAL max_parallel_workers_per_gather = 3;
DO $$ BEGIN PERFORM t.force_parallel('on'); END $$;
SELECT is(t.attempt('SELECT ' || call || ' FROM t.row'), '22023 invalid serialized state of an aggregate', call || ', by a serialised state') FROM (VALUES
	(1, 't.sketch_as_digest(32, 1, id, s)'), (2, 't.sketch_as_digest(1000, 1, id, s)'), (3, 't.digest_as_sketch(id, s)'), (4, 't.numeric_as_digest(n)'), (5, 't.numeric_as_digest(1e1000 + n)'), (6, 't.numeric_as_sketch(n)'), (7, 't.numeric_as_sketch(1e300 + n)'), (8, 't.int8_as_digest(a)')) AS c (n, call) ORDER BY n;
SELECT is((SELECT t.digest_as_numeric(id, a, s, n, j) FROM t.row), t.summed(), '... but its own it takes');
DO $$ BEGIN PERFORM t.force_parallel('off'); END $$;
-- None can be called by itself: there is no way to give an argument of type internal.
SELECT is_empty($$ SELECT p.oid::regprocedure, a FROM pg_proc p, t.attempt(format('SELECT %s(%s)', p.oid::regproc,
		(SELECT string_agg(CASE WHEN ty IN ('internal'::regtype, '"any"'::regtype) THEN 'NULL' ELSE 'NULL::' || ty::regtype END, ', ' ORDER BY o) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS x (ty, o)))) AS a
	WHERE p.pronamespace = 'syncstate'::regnamespace AND 'internal'::regtype = ANY (p.proargtypes) AND left(a, 5) NOT IN ('42883', '22004', '22023', '0A000') $$, 'no part of an aggregate can be called by itself');
SELECT is_empty($$ SELECT p.oid::regprocedure, a FROM pg_proc p, t.attempt(format('SELECT %s()', p.oid::regproc)) AS a
	WHERE p.pronamespace = 'syncstate'::regnamespace AND p.prorettype = 'trigger'::regtype AND left(a, 5) NOT IN ('0A000', '39P01') $$, '... nor a trigger function');
SELECT cmp_ok((SELECT count(*) FROM pg_proc WHERE pronamespace = 'syncstate'::regnamespace AND 'internal'::regtype = ANY (proargtypes)), '>=', 11::bigint, '(there are several)');

SELECT * FROM finish();
ROLLBACK;
