-- Bad input, call by call: the SQLSTATE, the message, and no trace left.
--
-- "message" is a regular expression. Every message of ours must also begin in lower case (or with
-- a quoted name) and end without a full stop.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

CREATE SCHEMA t;
CREATE FUNCTION t.attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION t.memory() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object(
		'state', (SELECT jsonb_agg(s ORDER BY s.type_key) FROM syncstate.sync_state s),
		'runs', (SELECT jsonb_agg(r ORDER BY r.type_key, r.run_number) FROM syncstate.sync_run r),
		'conflicts', (SELECT jsonb_agg(c ORDER BY c.type_key, c.conflict_number) FROM syncstate.sync_conflict c),
		'tombstones', (SELECT jsonb_agg(d ORDER BY d.type_key) FROM syncstate.sync_tombstone d),
		'sources', (SELECT jsonb_agg(s ORDER BY s.type_key) FROM syncstate.sync_source s),
		'tracking', (SELECT jsonb_agg(t ORDER BY t.type_key) FROM syncstate.sync_tracking t),
		'deltas', (SELECT jsonb_agg(d ORDER BY d.source_id) FROM syncstate.sync_tracking_delta d),
		'bases', (SELECT jsonb_agg(b ORDER BY b.type_key, b.key_hash) FROM syncstate.sync_row_base b)) $$;

CREATE TABLE t.bad (n serial, call text, state text, message text);

-- ---------------------------------------------------------------------------------------------
-- Keys: every function that takes one
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.keyed (call text);
INSERT INTO t.keyed VALUES
	('sync_state_delta(%s)'),
	('sync_state_get(%s)'),
	('sync_state_update(%s, ''{}'')'),
	('sync_state_observe(%s)'),
	('sync_state_mark_synced(%s, ''a'', ''b'')'),
	('sync_state_resolve(%s, ''local'')'),
	('sync_state_reset(%s)'),
	('sync_state_forget(%s)'),
	('sync_state_begin(%s)'),
	('sync_state_try_begin(%s)'),
	('sync_state_resume(%s)'),
	('sync_state_checkpoint(%s, gen_random_uuid(), ''{}'')'),
	('sync_state_fail(%s)'),
	('sync_state_rollback(%s)'),
	('sync_source_attach(%s, ''t.rows'')'),
	('sync_source_detach(%s)'),
	('sync_source_track(%s)'),
	('sync_source_untrack(%s)'),
	('sync_source_verify(%s)'),
	('sync_source_diff(%s)'),
	('sync_source_diff3(%s)');
INSERT INTO t.bad (call, state, message)
SELECT 'SELECT * FROM ' || format(call, arg), state, message
  FROM t.keyed, (VALUES (1, 'NULL', '22004', 'type_key'), (2, '''''', '22023', 'type_key|key'),
	               (3, 'repeat(''k'', 513)', '22023', '512'), (4, 'repeat(U&''\00e9'', 257)', '22023', '512'),
	               (5, 'repeat(''k'', 1048576)', '22023', '512')) AS arg (n, arg, state, message)
 ORDER BY call, n;
INSERT INTO t.bad (call, state, message)
SELECT 'SELECT * FROM ' || format(call, arg), state, message
  FROM (VALUES ('sync_state_observe_many(%s, ''{a}'', ''{b}'')'),
	       ('sync_state_plan_for(%s, ''{a}'', ''{b}'')'),
	       ('sync_state_mark_synced_many(%s, ''{a}'', ''{b}'')')) AS listed (call),
       (VALUES (1, 'NULL', '22004', 'type_keys'), (2, '''{NULL}''', '22023', 'null|NULL'), (3, 'ARRAY['''']', '22023', 'key'),
	       (4, 'ARRAY[repeat(''k'', 513)]', '22023', '512'), (5, '''{x,y}''', '22023', 'as long as type_keys'), (6, '''{}''', '22023', 'as long as type_keys'),
	       (7, '''{{x}}''', '22023', 'dimension')) AS arg (n, arg, state, message)
 ORDER BY call, n;

-- ---------------------------------------------------------------------------------------------
-- delta, observe
-- ---------------------------------------------------------------------------------------------
INSERT INTO t.bad (call, state, message)
SELECT 'SELECT ' || format(call, args), state, message
  FROM (VALUES ('sync_state_delta(''article'', %s)'), ('sync_state_observe(''article'', %s)')) AS f (call),
       (VALUES (1, 'local_hash => ''x'', local_absent => true', '22023', 'local'),
	       (2, 'remote_hash => ''x'', remote_absent => true', '22023', 'remote'),
	       (3, 'local_absent => NULL', '22004', 'local_absent'),
	       (4, 'remote_absent => NULL', '22004', 'remote_absent')) AS a (n, args, state, message)
 ORDER BY call, n;

-- ---------------------------------------------------------------------------------------------
-- The arrays of observe_many, plan_for, mark_synced_many
-- ---------------------------------------------------------------------------------------------
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_state_observe_many('{a,b,a}', '{1,2,3}', '{1,2,3}') $$, '22023', '"a"'),
	($$ SELECT sync_state_observe_many('{a,b}', '{1}', '{1,2}') $$, '22023', 'as long as type_keys'),
	($$ SELECT sync_state_observe_many('{a,b}', '{1,2}', '{1,2,3}') $$, '22023', 'as long as type_keys'),
	($$ SELECT sync_state_observe_many('{a,b}', '{{1},{2}}', '{1,2}') $$, '22023', 'dimension'),
	($$ SELECT sync_state_observe_many('{a}', '{1}', '{1}', complete => NULL) $$, '22004', 'complete'),
	($$ SELECT sync_state_observe_many(array_fill(''::text, '{67108864}'), '{}', '{}') $$, '22023', 'type_keys has 67108864 elements'),
	($$ SELECT * FROM sync_state_plan_for('{a,b,a}', '{1,2,3}', '{1,2,3}') $$, '22023', '"a"'),
	($$ SELECT * FROM sync_state_plan_for('{a,b}', '{1}', '{1,2}') $$, '22023', 'as long as type_keys'),
	($$ SELECT * FROM sync_state_plan_for('{a,b}', '{1,2}', '{1}') $$, '22023', 'as long as type_keys'),
	($$ SELECT * FROM sync_state_plan_for('{a}', '{1}', '{1}', complete => NULL) $$, '22004', 'complete'),
	($$ SELECT sync_state_mark_synced_many('{article,page,article}', '{1,2,3}', '{1,2,3}') $$, '22023', '"article"'),
	($$ SELECT sync_state_mark_synced_many('{article,page}', '{1}', '{1,2}') $$, '22023', 'as long as type_keys'),
	($$ SELECT sync_state_mark_synced_many('{article,page}', '{1,2}', '{1}') $$, '22023', 'as long as type_keys'),
	($$ SELECT sync_state_mark_synced_many('{article,page}', '{1,2}', '{1,2}', '{NULL}') $$, '22023', 'as long as type_keys'),
	($$ SELECT sync_state_mark_synced_many('{article}', NULL, '{1}') $$, '22004', 'local_hashes'),
	($$ SELECT sync_state_mark_synced_many('{article}', '{1}', NULL) $$, '22004', 'remote_hashes'),
	($$ SELECT sync_state_mark_synced_many('{article}', '{1}', '{1}', '{{00000000-0000-0000-0000-000000000001}}') $$, '22023', 'dimension');

-- ---------------------------------------------------------------------------------------------
-- update: the object
-- ---------------------------------------------------------------------------------------------
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_state_update('article', NULL) $$, '22004', 'state'),
	($$ SELECT sync_state_update('article', 'null') $$, '22023', 'object'),
	($$ SELECT sync_state_update('article', '[]') $$, '22023', 'object'),
	($$ SELECT sync_state_update('article', '"text"') $$, '22023', 'object'),
	($$ SELECT sync_state_update('article', '5') $$, '22023', 'object'),
	($$ SELECT sync_state_update('article', '{"localhash": "x"}') $$, '22023', '"localhash"'),
	($$ SELECT sync_state_update('article', '{"localHash": "x"}') $$, '22023', '"localHash"'),
	($$ SELECT sync_state_update('article', '{"": "x"}') $$, '22023', '""'),
	($$ SELECT sync_state_update('article', '{"type_key": "x"}') $$, '22023', '"type_key"'),
	($$ SELECT sync_state_update('article', '{"run_id": null}') $$, '22023', '"run_id"'),
	($$ SELECT sync_state_update('article', '{"run_number": 5}') $$, '22023', '"run_number"'),
	($$ SELECT sync_state_update('article', '{"lease_expires_at": null}') $$, '22023', '"lease_expires_at"'),
	($$ SELECT sync_state_update('article', '{"changed_xid": 5}') $$, '22023', '"changed_xid"'),
	($$ SELECT sync_state_update('article', '{"updated_at": "2026-01-01"}') $$, '22023', '"updated_at"'),
	($$ SELECT sync_state_update('article', '{"created_at": "2026-01-01"}') $$, '22023', '"created_at"'),
	($$ SELECT sync_state_update('article', '{"local_hash": "ok", "nonsense": null}') $$, '22023', '"nonsense"'),
	($$ SELECT sync_state_update('article', jsonb_build_object(repeat('x', 100000), 1)) $$, '22023', 'x'),
	($$ SELECT sync_state_update('article', ('{"sync_progress": ' || repeat('[', 100000) || repeat(']', 100000) || '}')::jsonb) $$, '54001', 'stack depth'),
	($$ SELECT sync_state_update('article', '{"sync_status": "done"}') $$, '23514', 'sync_status'),
	($$ SELECT sync_state_update('article', '{"sync_status": ""}') $$, '23514', 'sync_status'),
	($$ SELECT sync_state_update('article', '{"conflict_status": "yes"}') $$, '23514', 'conflict_status'),
	($$ SELECT sync_state_update('article', '{"last_sync_at": "infinity"}') $$, '23514', 'last_sync_at'),
	($$ SELECT sync_state_update('article', '{"last_sync_at": "-infinity"}') $$, '23514', 'last_sync_at'),
	($$ SELECT sync_state_update('article', '{"last_sync_at": "yesterday-ish"}') $$, '22007', 'yesterday-ish'),
	($$ SELECT sync_state_update('article', '{"last_sync_at": ""}') $$, '22007', 'timestamp'),
	($$ SELECT sync_state_update('article', '{"last_sync_at": "2026-02-30T00:00:00Z"}') $$, '22008', 'out of range'),
	($$ SELECT sync_state_update('article', '{"last_sync_at": "300000-01-01T00:00:00Z"}') $$, '22008', 'out of range');
-- The type of each value.
INSERT INTO t.bad (call, state, message)
SELECT format('SELECT sync_state_update(%L, %L)', 'article', jsonb_build_object(field, value)), '22023', field
  FROM unnest('{local_hash,remote_hash,last_synced_hash,last_synced_remote_hash,last_sync_at,sync_status,conflict_status}'::text[]) AS field,
       unnest('{5,true,"{\"a\": 1}","[\"a\"]"}'::jsonb[]) AS value;

-- ---------------------------------------------------------------------------------------------
-- update_many
-- ---------------------------------------------------------------------------------------------
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_state_update_many(NULL) $$, '22004', 'states'),
	($$ SELECT sync_state_update_many('null') $$, '22023', 'array|object'),
	($$ SELECT sync_state_update_many('"text"') $$, '22023', 'array|object'),
	($$ SELECT sync_state_update_many('5') $$, '22023', 'array|object'),
	($$ SELECT sync_state_update_many('[5]') $$, '22023', 'object'),
	($$ SELECT sync_state_update_many('[null]') $$, '22023', 'object'),
	($$ SELECT sync_state_update_many('[[]]') $$, '22023', 'object'),
	($$ SELECT sync_state_update_many('[{}]') $$, '22023', 'type_key'),
	($$ SELECT sync_state_update_many('[{"local_hash": "x"}]') $$, '22023', 'type_key'),
	($$ SELECT sync_state_update_many('[{"type_key": null}]') $$, '22023', 'type_key'),
	($$ SELECT sync_state_update_many('[{"type_key": 5}]') $$, '22023', 'type_key'),
	($$ SELECT sync_state_update_many('[{"type_key": ""}]') $$, '22023', 'key'),
	($$ SELECT sync_state_update_many('{"": {}}') $$, '22023', 'key'),
	($$ SELECT sync_state_update_many(jsonb_build_object(repeat('k', 513), '{}'::jsonb)) $$, '22023', '512'),
	($$ SELECT sync_state_update_many('{"article": 5}') $$, '22023', 'object'),
	($$ SELECT sync_state_update_many('{"article": null}') $$, '22023', 'object'),
	($$ SELECT sync_state_update_many('[{"type_key": "a"}, {"type_key": "b"}, {"type_key": "a"}]') $$, '22023', '"a"'),
	($$ SELECT sync_state_update_many('[{"type_key": "a", "colour": "x"}]') $$, '22023', '"colour"'),
	($$ SELECT sync_state_update_many('{"a": {"local_hash": "x"}, "b": {"local_hash": 5}}') $$, '22023', 'local_hash'),
	($$ SELECT sync_state_update_many('{"a": {"local_hash": "x"}, "b": {"sync_status": "done"}}') $$, '23514', 'sync_status'),
	($$ SELECT sync_state_update_many('{"a": {"last_sync_at": "never"}}') $$, '22007', 'never');

-- ---------------------------------------------------------------------------------------------
-- compare
-- ---------------------------------------------------------------------------------------------
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT * FROM sync_state_compare(NULL, '{}') $$, '22004', 'before'),
	($$ SELECT * FROM sync_state_compare('{}', NULL) $$, '22004', 'after'),
	($$ SELECT * FROM sync_state_compare('[]', '{}') $$, '22023', 'object'),
	($$ SELECT * FROM sync_state_compare('{}', '5') $$, '22023', 'object');

-- ---------------------------------------------------------------------------------------------
-- mark_synced, reset, forget
-- ---------------------------------------------------------------------------------------------
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_state_mark_synced('article', 'a', 'b', '00000000-0000-0000-0000-000000000001') $$, '55000', 'run 00000000-0000-0000-0000-000000000001 of "article" was superseded'),
	($$ SELECT sync_state_mark_synced('nobody', 'a', 'b', '00000000-0000-0000-0000-000000000001') $$, '55000', 'run 00000000-0000-0000-0000-000000000001 of "nobody" was superseded'),
	($$ SELECT sync_state_mark_synced('article', 'a', 'b', 'not-a-uuid') $$, '22P02', 'uuid'),
	($$ SELECT sync_state_reset('nobody') $$, 'P0002', '"nobody"'),
	($$ SELECT sync_state_reset('nobody', true) $$, 'P0002', '"nobody"'),
	($$ SELECT sync_state_reset('held') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT sync_state_reset('article', force => NULL) $$, '22004', 'force'),
	($$ SELECT sync_state_forget('held') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT sync_state_forget('article', force => NULL) $$, '22004', 'force');

-- ---------------------------------------------------------------------------------------------
-- Runs
-- ---------------------------------------------------------------------------------------------
-- A lease is more than 0 and at most 24 days, finite, without months.
CREATE TABLE t.leased (call text);
INSERT INTO t.leased VALUES
	('sync_state_begin(''page'', %s)'),
	('sync_state_try_begin(''page'', %s)'),
	('sync_state_resume(''stopped'', %s)'),
	('sync_state_claim(lease => %s)'),
	('sync_state_checkpoint(''held'', (SELECT run_id FROM sync_state_get(''held'')), ''{}'', %s)');
INSERT INTO t.bad (call, state, message)
SELECT 'SELECT * FROM ' || format(call, quote_literal(lease) || '::interval'), '22023', 'lease'
  FROM t.leased, unnest(ARRAY['0', '-1 second', '-1 microsecond', '25 days', '24 days 00:00:00.000001', '1 mon', '1 mon 1 day', '1 mon -25 days', '-1 mon 40 days', '178000000 years']) WITH ORDINALITY AS l (lease, n)
 ORDER BY call, n;
INSERT INTO t.bad (call, state, message)
SELECT 'SELECT * FROM ' || format(call, quote_literal(lease) || '::interval'),
       CASE WHEN current_setting('server_version_num')::int >= 170000 THEN '22023' ELSE '22007' END,	-- no infinite intervals before 17
       CASE WHEN current_setting('server_version_num')::int >= 170000 THEN 'lease' ELSE 'interval' END
  FROM t.leased, unnest(ARRAY['infinity', '-infinity']) AS lease
 ORDER BY call, lease;
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT * FROM sync_state_begin('held') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT * FROM sync_state_resume('held') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT * FROM sync_state_resume('nobody') $$, 'P0002', 'nobody|no sync progress found to resume'),
	($$ SELECT * FROM sync_state_resume('article') $$, 'P0002', 'no sync progress found to resume'),
	($$ SELECT sync_state_checkpoint('held', NULL, '{}') $$, '22004', 'run_id'),
	($$ SELECT sync_state_checkpoint('held', '00000000-0000-0000-0000-000000000001', '{}') $$, '55000', 'run 00000000-0000-0000-0000-000000000001 of "held" was superseded'),
	($$ SELECT sync_state_checkpoint('article', '00000000-0000-0000-0000-000000000001', '{}') $$, '55000', 'run 00000000-0000-0000-0000-000000000001 of "article" was superseded'),
	($$ SELECT sync_state_checkpoint('nobody', '00000000-0000-0000-0000-000000000001', '{}') $$, 'P0002', '"nobody"'),
	($$ SELECT sync_state_checkpoint('held', (SELECT run_id FROM sync_state_get('held')), 'not json') $$, '22P02', 'json'),
	($$ SELECT sync_state_fail('nobody') $$, 'P0002', '"nobody"'),
	($$ SELECT sync_state_fail('held') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT sync_state_fail('held', '00000000-0000-0000-0000-000000000001') $$, '55000', 'run 00000000-0000-0000-0000-000000000001 of "held" was superseded'),
	($$ SELECT sync_state_fail('article', force => NULL) $$, '22004', 'force'),
	($$ SELECT sync_state_rollback('held') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT sync_state_rollback('held', '00000000-0000-0000-0000-000000000001') $$, '55000', 'run 00000000-0000-0000-0000-000000000001 of "held" was superseded'),
	($$ SELECT sync_state_rollback('article', force => NULL) $$, '22004', 'force'),
	($$ SELECT * FROM sync_state_claim(NULL) $$, '22004', 'max_keys'),
	($$ SELECT * FROM sync_state_claim(0) $$, '22023', 'max_keys'),
	($$ SELECT * FROM sync_state_claim(-1) $$, '22023', 'max_keys'),
	($$ SELECT * FROM sync_state_claim(-2147483648) $$, '22023', 'max_keys'),
	($$ SELECT * FROM sync_state_claim(retry_after => NULL) $$, '22004', 'retry_after'),
	($$ SELECT * FROM sync_state_claim(retry_after => '-1 second') $$, '22023', 'retry_after'),
	($$ SELECT * FROM sync_state_claim(retry_after => '200000 years') $$, '22008', 'out of range'),
	($$ SELECT * FROM sync_state_detect_interrupted(NULL) $$, '22004', 'as_of'),
	($$ SELECT * FROM sync_state_changed_since(NULL) $$, '22004', 'since'),
	($$ SELECT sync_state_action('a', 'b', 'c', 'd', NULL) $$, '22004', 'synced'),
	($$ SELECT sync_state_detail('a', 'b', 'c', 'd', NULL) $$, '22004', 'synced');
-- ---------------------------------------------------------------------------------------------
-- Conflicts, feed, upkeep
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.no_key (id int, local_hash text);
CREATE TABLE t.twice (type_key text, local_hash text);
INSERT INTO t.twice VALUES ('x', '1'), ('x', '2');
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_state_resolve('torn', NULL) $$, '22004', 'resolution'),
	($$ SELECT sync_state_resolve('torn', 'theirs') $$, '22023', 'resolution'),
	($$ SELECT sync_state_resolve('torn', 'merged') $$, '22004|22023', 'merged_hash'),
	($$ SELECT sync_state_resolve('nobody', 'local') $$, 'P0002', '"nobody"'),
	($$ SELECT sync_state_resolve('torn', 'local', conflict_number => 2) $$, '55000', '.'),
	($$ SELECT sync_state_resolve('held', 'local') $$, '55P03', '"held" is held by a live run'),
	($$ SELECT * FROM sync_state_changes('nonsense') $$, '22023', 'cursor'),
	($$ SELECT * FROM sync_state_changes('') $$, '22023', 'cursor'),
	($$ SELECT * FROM sync_state_changes(sync_state_cursor() || 'x') $$, '22023', 'cursor'),
	($$ SELECT * FROM sync_state_changes(NULL, NULL) $$, '22004', 'max_rows'),
	($$ SELECT * FROM sync_state_changes(NULL, 0) $$, '22023', 'max_rows'),
	($$ SELECT * FROM sync_state_changes(NULL, -1) $$, '22023', 'max_rows'),
	($$ SELECT sync_state_import(NULL) $$, '22004', 'source'),
	($$ SELECT sync_state_import('t.no_key') $$, '22023', 'type_key'),
	($$ SELECT sync_state_import('t.twice') $$, '22023', '"x"|twice'),
	($$ SELECT sync_state_import('t.missing') $$, '42P01', 'missing'),
	($$ SELECT * FROM sync_state_prune(NULL) $$, '22004', 'older_than'),
	($$ SELECT * FROM sync_state_prune('-1 day') $$, '22023', 'older_than');
-- Documents with numbers that have no canonical form.
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_hash('[9007199254740993]') $$, '22023', '9007199254740993'),
	($$ SELECT sync_hash('{"a": 1e400}') $$, '22023', '1000');
-- Rows: types that have no hash, sizes of a sketch, what is none.
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_row_hash(1, 'int'::regtype) $$, '22023', 'values of type regtype cannot be hashed'),
	($$ SELECT sync_row_hash(VARIADIC ARRAY[1]) $$, '22023', 'VARIADIC array'),
	($$ SELECT sync_digest('pg_class'::regclass) $$, '22023', 'values of type regclass cannot be hashed'),
	($$ SELECT sync_digest(VARIADIC ARRAY[1]) $$, '22023', 'VARIADIC array'),
	($$ SELECT sync_sketch(NULL, 1, 1) $$, '22004', 'cells'),
	($$ SELECT sync_sketch(0, 1, 1) $$, '22023', 'cells'),
	($$ SELECT sync_sketch(1048577, 1, 1) $$, '22023', 'cells'),
	($$ SELECT sync_sketch(100, NULL, 1) $$, '22004', 'key_columns'),
	($$ SELECT sync_sketch(100, 2, 1) $$, '22023', 'key_columns'),
	($$ SELECT sync_sketch(100, 1, 'int'::regtype) $$, '22023', 'values of type regtype cannot be hashed'),
	($$ SELECT sync_sketch(1000 + n, 1, n) FROM generate_series(1, 2) n $$, '22023', 'cells and key_columns'),
	($$ SELECT * FROM sync_sketch_diff(NULL, '') $$, '22004', 'a must not be null'),
	($$ SELECT * FROM sync_sketch_diff((SELECT sync_sketch(100, 1, 1)), NULL) $$, '22004', 'b must not be null'),
	($$ SELECT * FROM sync_sketch_diff('nonsense', (SELECT sync_sketch(100, 1, 1))) $$, '22023', 'a is not a sketch'),
	($$ SELECT * FROM sync_sketch_diff((SELECT sync_sketch(100, 1, 1)), '') $$, '22023', 'b is not a sketch'),
	($$ SELECT * FROM sync_sketch_diff((SELECT sync_sketch(100, 1, 1)), (SELECT sync_sketch(200, 1, 1))) $$, '22023', 'numbers of cells');
-- Sources.
CREATE TABLE t.rows (id int PRIMARY KEY, body text, c regclass);
CREATE TABLE t.copy (id int, body text, c regclass);
CREATE TABLE t.keyless (id int);
CREATE VIEW t.seen AS SELECT * FROM t.keyless;
CREATE TABLE t.nothing ();
CREATE INDEX rows_body ON t.rows (body);
CREATE SEQUENCE t.numbers;
CREATE TYPE t.composite AS (id int);
CREATE TEMPORARY TABLE temporary (id int);
INSERT INTO t.bad (call, state, message) VALUES
	($$ SELECT sync_source_attach('x', NULL) $$, '22004', 'local'),
	($$ SELECT sync_source_attach('x', 't.keyless', row_base => NULL) $$, '22004', 'row_base'),
	($$ SELECT sync_source_attach('x', 't.missing') $$, '42P01', 'missing'),
	($$ SELECT sync_source_attach('x', 't.keyless', 't.missing') $$, '42P01', 'missing'),
	($$ SELECT sync_source_attach('x', 't.rows_body') $$, '22023', 'local cannot be "rows_body"'),
	($$ SELECT sync_source_attach('x', 't.numbers') $$, '22023', 'local cannot be "numbers"'),
	($$ SELECT sync_source_attach('x', 't.composite') $$, '22023', 'local cannot be "composite"'),
	($$ SELECT sync_source_attach('x', 'temporary') $$, '22023', 'local cannot be "temporary"'),
	($$ SELECT sync_source_attach('x', 't.keyless', 'temporary') $$, '22023', 'remote cannot be "temporary"'),
	($$ SELECT sync_source_attach('x', 't.keyless', 't.numbers') $$, '22023', 'remote cannot be "numbers"'),
	($$ SELECT sync_source_attach('x', 't.rows') $$, '22023', 'values of type regclass cannot be hashed'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id,colour}') $$, '22023', 'local has no column "colour"'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id,ctid}') $$, '22023', '"ctid"'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id,id}') $$, '22023', 'columns contains "id" more than once'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id,NULL}') $$, '22023', 'columns must be a list of names'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{}') $$, '22023', 'columns must be a list of names'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{{id},{body}}') $$, '22023', 'columns must be a list of names'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id}', key_columns => '{colour}') $$, '22023', 'local has no column "colour"'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id}', key_columns => '{id,id}') $$, '22023', 'key_columns contains "id" more than once'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id}', key_columns => '{}') $$, '22023', 'key_columns must be a list of names'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id}', key_columns => '{c}') $$, '22023', 'values of type regclass cannot be hashed'),
	($$ SELECT sync_source_attach('x', 't.rows', 't.keyless', '{id,body}') $$, '22023', 'remote has no column "body"'),
	($$ SELECT sync_source_attach('x', 't.rows', columns => '{id}', row_base => true) $$, '22023', 'row_base needs a remote side'),
	($$ SELECT sync_source_attach('x', 't.keyless', 't.copy', row_base => true) $$, '55000', 'has no key'),
	($$ SELECT sync_source_attach('x', 't.nothing') $$, '22023', '0 columns'),
	($$ SELECT sync_source_attach('tracked', 't.keyless') $$, '55000', 'the source of "tracked" is tracked'),
	($$ SELECT sync_source_track('article') $$, '55000', '"article" has no source'),
	($$ SELECT sync_source_untrack('article') $$, '55000', '"article" has no source'),
	($$ SELECT sync_source_verify('article') $$, '55000', '"article" has no source'),
	($$ SELECT * FROM sync_source_diff('article') $$, '55000', '"article" has no source'),
	($$ SELECT * FROM sync_source_diff3('article') $$, '55000', '"article" has no source'),
	($$ SELECT sync_source_track('seen') $$, '22023', 'seen'),
	($$ SELECT sync_source_verify('alone') $$, '55000', 'the source of "alone" is not tracked'),
	($$ SELECT * FROM sync_source_diff('alone') $$, '55000', '"alone"'),
	($$ SELECT * FROM sync_source_diff('keyless') $$, '55000', 'the source of "keyless" has no key'),
	($$ SELECT * FROM sync_source_diff3('tracked') $$, '55000', 'the source of "tracked" keeps no bases of rows'),
	($$ SELECT sync_state_delta('altered') $$, '55000', 'has no column "gone"'),
	($$ SELECT sync_state_observe('altered') $$, '55000', 'has no column "gone"'),
	($$ SELECT sync_state_delta('dropped') $$, '55000', 'the local source of "dropped" does not exist any more'),
	($$ SELECT sync_state_observe('dropped') $$, '55000', 'the local source of "dropped" does not exist any more'),
	($$ SELECT * FROM sync_source_diff('dropped') $$, '55000', 'the local source of "dropped" does not exist any more');
-- The setting has the same bounds, and the prefix no other setting.
INSERT INTO t.bad (call, state, message) VALUES
	($$ SET LOCAL syncstate.lease = 0 $$, '22023', 'syncstate\.lease'),
	($$ SET LOCAL syncstate.lease = -1 $$, '22023', 'syncstate\.lease'),
	($$ SET LOCAL syncstate.lease = '25d' $$, '22023', 'syncstate\.lease'),
	($$ SET LOCAL syncstate.lease = 'soon' $$, '22023', 'syncstate\.lease'),
	($$ SET LOCAL syncstate.leese = 5 $$, '42602', 'syncstate\.leese');

SELECT plan(441);

-- ---------------------------------------------------------------------------------------------
-- The state of things
-- ---------------------------------------------------------------------------------------------
SELECT is((sync_state_mark_synced('article', 'a', 'a')).sync_status, 'in_sync', 'article is in sync');
SELECT is(sync_state_observe('page', 'p')->>'action', 'INITIAL_SYNC', 'page is new');
SELECT is(sync_state_observe('torn', 'x', 'y')->>'detail', 'conflict', 'torn is in conflict');
SELECT is((SELECT run_number FROM sync_state_begin('held')), 1, 'held is held by a live run');
SELECT is((SELECT run_number FROM sync_state_begin('stopped')), 1, 'stopped had a run');
SELECT isnt(sync_state_checkpoint('stopped', (sync_state_get('stopped')).run_id, '{"step": 1}'), NULL, '... which left a checkpoint');
SELECT is((sync_state_fail('stopped', force => true)).sync_status, 'failed', '... and failed');
SELECT is(sync_state_forget('nobody'), false, 'nobody is unknown');
SELECT is((sync_source_attach('tracked', 't.rows', 't.copy', '{id,body}')).row_base, false, 'tracked has a source');
SELECT is(sync_source_track('tracked'), true, '... that is tracked');
SELECT is((sync_source_attach('alone', 't.rows', NULL, '{id}')).remote, NULL, 'alone has no remote side');
SELECT is((sync_source_attach('seen', 't.seen')).local, 't.seen'::regclass, 'seen is a view');
SELECT is((sync_source_attach('keyless', 't.keyless', 't.copy')).key_columns, NULL, 'keyless has no key');
CREATE TABLE t.altered (id int, gone int);
SELECT is((sync_source_attach('altered', 't.altered', columns => '{id,gone}')).columns, '{id,gone}', 'altered has lost a column');
ALTER TABLE t.altered DROP COLUMN gone;
CREATE TABLE t.dropped (id int PRIMARY KEY);
SELECT is((sync_source_attach('dropped', 't.dropped', 't.copy', '{id}')).local, 't.dropped'::regclass, 'dropped has lost its table');
DROP TABLE t.dropped;
CREATE TABLE t.before AS SELECT t.memory();

SELECT matches(t.attempt(call), '^(' || state || ') .*(' || message || ')', left(regexp_replace(call, '\s+', ' ', 'g'), 110))
  FROM t.bad ORDER BY n;

SELECT is_empty(
	$$ SELECT p.proname FROM pg_depend d JOIN pg_proc p ON (p.oid = d.objid)
	    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate') AND p.pronamespace <> 'syncstate'::regnamespace
	      -- any text is good for these, NULL too
	      AND p.pronargs > 0 AND p.proname NOT IN ('sync_state_plan', 'sync_state_list', 'sync_hash_text')
	      AND NOT EXISTS (SELECT FROM t.bad WHERE call ~ ('\m' || p.proname || '\(')) $$,
	'every public function was given bad input');
SELECT is_empty($$ SELECT call, t.attempt(call) FROM t.bad WHERE t.attempt(call) !~ '^..... [^A-Z].*[^.]$' $$,
	'messages begin in lower case and end without a full stop');
SELECT results_eq('SELECT t.memory()', 'SELECT memory FROM t.before', 'after all of this every row is what it was');

-- An unknown key in the JSON: the hint names the nearest and all that are allowed.
CREATE FUNCTION t.hint(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; RETURN hint;
END $$;
SELECT matches(t.hint(format('SELECT sync_state_update(%L, %L)', 'article', jsonb_build_object(typo, 'x'))), '"' || meant || '"', typo || ': perhaps ' || meant)
  FROM (VALUES (1, 'localhash', 'local_hash'), (2, 'remoteHash', 'remote_hash'), (3, 'last_sync', 'last_sync_at'),
	       (4, 'last_synced_remote_hsh', 'last_synced_remote_hash'), (5, 'conflict-status', 'conflict_status'), (6, 'syncProgress', 'sync_progress')) AS typo (n, typo, meant)
 ORDER BY n;
SELECT is_empty(
	$$ SELECT field FROM unnest('{local_hash,remote_hash,last_synced_hash,last_synced_remote_hash,last_sync_at,sync_status,conflict_status,sync_progress}'::text[]) AS field
	    WHERE t.hint('SELECT sync_state_update(''article'', ''{"zzzzzzzzzzzzzzz": 1}'')') !~ ('\m' || field || '\M') $$,
	'and the hint lists all eight');
SELECT matches(t.hint($$ SELECT sync_state_update_many('{"a": {"localhash": "x"}}') $$), 'local_hash', 'in a batch, too');
-- In a batch the context names the state.
CREATE FUNCTION t.context(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE context text;
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT; RETURN split_part(context, E'\n', 1);
END $$;
SELECT is(t.context(format('SELECT sync_state_update_many(%L)', states)), 'state of "b"', 'which state it is: ' || states)
  FROM (VALUES
	(1, '{"a": {"local_hash": "x"}, "b": {"local_hash": 5}}'),
	(2, '{"a": {}, "b": {"colour": "x"}, "c": {}}'),
	(3, '[{"type_key": "b", "a": 1}, {"type_key": "a"}]'),
	(4, '[{"type_key": "a"}, {"last_sync_at": "never", "type_key": "b"}]')) AS bad (n, states) ORDER BY n;
SELECT unalike(t.context($$ SELECT sync_state_update_many('[{"type_key": "a"}, {"local_hash": "x"}]') $$), 'state of%', 'where none is told, none is named');

-- Whatever failed, the next call works.
SELECT is((sync_state_update('article', '{"local_hash": "b"}')).local_hash, 'b', 'the session is as good as before');

SELECT * FROM finish();
ROLLBACK;
