-- Reading and writing raw state: update, update_many, get, list, compare, forget.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(63);

CREATE SCHEMA t;

-- ---------------------------------------------------------------------------------------------
-- update: a partial state; present is set, missing is kept, nothing is derived
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.full AS SELECT * FROM sync_state_update('article', '{
	"local_hash": "l", "remote_hash": "r", "last_synced_hash": "bl", "last_synced_remote_hash": "br",
	"last_sync_at": "2026-01-02T03:04:05.678901Z", "sync_status": "in_sync", "conflict_status": "resolved",
	"sync_progress": {"step": 1, "list": [1, null, "x"]}}');
SELECT results_eq(
	$$ SELECT type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, last_sync_at, sync_status,
	          conflict_status, sync_progress, run_id, run_number, lease_expires_at FROM t.full $$,
	$$ VALUES ('article' COLLATE "C", 'l', 'r', 'bl', 'br', '2026-01-02 03:04:05.678901Z'::timestamptz, 'in_sync',
	           'resolved', '{"step": 1, "list": [1, null, "x"]}'::jsonb, NULL::uuid, 0, NULL::timestamptz) $$,
	'all eight fields, as given');
SELECT results_eq('SELECT * FROM t.full', 'SELECT * FROM syncstate.sync_state', 'update returns the row as stored');
SELECT results_eq($$ SELECT * FROM sync_state_get('article') $$, 'SELECT * FROM syncstate.sync_state', 'get returns it too');
SELECT isnt((sync_state_update('article', '{"local_hash": "l2"}')).updated_at, (SELECT updated_at FROM t.full), 'a partial update');
SELECT results_eq(
	$$ SELECT field, before, after FROM t.full f, syncstate.sync_state s, sync_state_compare(to_jsonb(f), to_jsonb(s)) $$,
	$$ VALUES ('local_hash', 'l', 'l2') $$, '... changes what it names and nothing else');
-- Each field alone, set and cleared.
CREATE FUNCTION t.one(field text, value jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT to_jsonb(sync_state_update('one', jsonb_build_object(field, value))) -> field $$;
SELECT is(t.one(field, to_jsonb(value)), to_jsonb(value), field || ' is set')
  FROM unnest('{local_hash,remote_hash,last_synced_hash,last_synced_remote_hash}'::text[], '{a,b,c,d}'::text[]) AS f (field, value);
SELECT is(t.one('sync_status', to_jsonb(status)), to_jsonb(status), 'sync_status ' || status)
  FROM unnest('{new,modified,conflict,in_sync,syncing,failed}'::text[]) AS status;
SELECT is(t.one('conflict_status', to_jsonb(status)), to_jsonb(status), 'conflict_status ' || status)
  FROM unnest('{none,detected,resolved}'::text[]) AS status;
SELECT is(t.one(field, 'null'), 'null', field || ' is cleared by null')
  FROM unnest('{local_hash,remote_hash,last_synced_hash,last_synced_remote_hash,sync_status,conflict_status,sync_progress,last_sync_at}'::text[]) AS field;
SELECT is((sync_state_get('one')).sync_progress, NULL, 'sync_progress by null is no checkpoint, not a JSON null');
SELECT results_eq($$ SELECT local_hash, sync_status, conflict_status, run_number FROM sync_state_update('empty', '{}') $$,
	$$ VALUES (NULL, NULL, NULL, 0) $$, 'an empty object creates an unknown key, deriving nothing');
SELECT is(octet_length((sync_state_update(repeat('k', 512), '{}')).type_key), 512, 'the longest key that there can be');
SELECT is((sync_state_update('raw', '{"local_hash": "a", "remote_hash": "b"}')).sync_status, NULL, 'two different hashes: still nothing is derived');
SELECT is_empty('SELECT * FROM syncstate.sync_conflict', '... nor logged');
SELECT is((sync_state_update('raw', '{"last_sync_at": "2026-01-01"}')).last_sync_at, '2026-01-01Z'::timestamptz, 'a date is a time, in the TimeZone of the session');

-- ---------------------------------------------------------------------------------------------
-- update_many: array of objects, or object of objects
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_state_update_many('[{"type_key": "m2", "local_hash": "2"}, {"type_key": "m1", "remote_hash": "1", "sync_status": "new"}]'), 2, 'an array of objects');
SELECT results_eq($$ SELECT type_key, local_hash, remote_hash, sync_status FROM sync_state_list(prefix => 'm') ORDER BY type_key $$,
	$$ VALUES ('m1' COLLATE "C", NULL, '1', 'new'), ('m2', '2', NULL, NULL) $$, '... each with its own fields');
SELECT is(sync_state_update_many('{"m1": {"local_hash": "1"}, "m3": {}}'), 2, 'an object keyed by type_key');
SELECT results_eq($$ SELECT type_key, local_hash, remote_hash, sync_status FROM sync_state_list(prefix => 'm') ORDER BY type_key $$,
	$$ VALUES ('m1' COLLATE "C", '1', '1', 'new'), ('m2', '2', NULL, NULL), ('m3', NULL, NULL, NULL) $$, '... what is missing is kept');
SELECT is(sync_state_update_many('{"m1": {"local_hash": null}}'), 1, 'a null');
SELECT is((sync_state_get('m1')).local_hash, NULL, '... is written');
SELECT is(sync_state_update_many('[]') + sync_state_update_many('{}'), 0, 'nothing to do is no error');
SELECT is(sync_state_update_many((SELECT jsonb_agg(jsonb_build_object('type_key', 'bulk' || n, 'local_hash', n::text)) FROM generate_series(1, 2000) n)),
          2000, 'two thousand at once');
SELECT is((SELECT count(*) FROM sync_state_list(prefix => 'bulk') WHERE type_key = 'bulk' || local_hash), 2000::bigint, '... are there');

-- ---------------------------------------------------------------------------------------------
-- get and list
-- ---------------------------------------------------------------------------------------------
SELECT is_empty($$ SELECT * FROM sync_state_get('nobody') $$, 'no row for an unknown key');
DELETE FROM syncstate.sync_state;
SELECT is(sync_state_update_many('{"a": {"sync_status": "new"}, "a%b": {"sync_status": "new"}, "a_b": {"sync_status": "failed"}, "axb": {"sync_status": "failed"}, "b": {}}'),
          5, 'five keys');
CREATE FUNCTION t.list(sync_status text DEFAULT NULL, prefix text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(type_key, ' ' ORDER BY type_key) FROM sync_state_list($1, $2) $$;
SELECT is(t.list(), 'a a%b a_b axb b', 'list: all');
SELECT is(t.list('new'), 'a a%b', 'by status');
SELECT is(t.list(NULL, 'a'), 'a a%b a_b axb', 'by prefix');
SELECT is(t.list(prefix => 'a_'), 'a_b', 'an underscore is an underscore');
SELECT is(t.list(prefix => 'a%'), 'a%b', 'a percent sign is a percent sign');
SELECT is(t.list('failed', 'ax'), 'axb', 'by both');
SELECT is(t.list(prefix => ''), 'a a%b a_b axb b', 'the empty prefix is every key');
SELECT is(t.list('nonsense'), NULL, 'no row has an unknown status');
-- The function is inlined, so that filters reach the indexes.
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
CREATE FUNCTION t.explain(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP plan := plan || line || E'\n'; END LOOP;
	RETURN plan;
END $$;
SELECT matches(t.explain($$ SELECT * FROM sync_state_list('failed') $$), 'Index Cond: \(sync_status = ''failed''', 'by status: through the index');
SELECT matches(t.explain($$ SELECT * FROM sync_state_list(prefix => 'ax') $$), 'Index Cond: .*type_key >= ''ax''', 'by prefix: through the index');
SELECT matches(t.explain($$ SELECT * FROM sync_state_list() WHERE type_key = 'axb' $$), 'Index Cond: \(type_key = ''axb''', 'a filter of the caller: through the index');
SELECT matches(t.explain($$ SELECT * FROM sync_state_list() WHERE last_sync_at < '2026-01-01' $$), 'Index Cond: \(last_sync_at < ', 'by time: through the index');

-- ---------------------------------------------------------------------------------------------
-- compare
-- ---------------------------------------------------------------------------------------------
SELECT results_eq($$ SELECT * FROM sync_state_compare('{"b": "1", "a": 1, "same": [1], "gone": "x", "B": null}',
                                                      '{"b": "2", "a": {"k": [1, 2]}, "same": [1], "come": true, "B": null}') $$,
	$$ VALUES ('a', '1', '{"k": [1, 2]}'), ('b', '1', '2'), ('come', NULL, 'true'), ('gone', 'x', NULL) $$,
	'fields that differ, in byte order; strings without quotes, other JSON as text, missing as NULL');
SELECT results_eq($$ SELECT field FROM sync_state_compare('{"a": 1, "B": 1, "é": 1}', '{}') $$, ARRAY['B', 'a', 'é'], 'byte order: capitals first, letters beyond ASCII last');
SELECT is_empty($$ SELECT * FROM sync_state_compare('{"updated_at": 1, "changed_xid": 2, "x": null}', '{"updated_at": 2, "y": null}') $$,
	'updated_at and changed_xid do not count, and a null is like a missing key');
SELECT is_empty($$ SELECT * FROM sync_state_compare('{}', '{}') $$, 'nothing differs from nothing');

-- ---------------------------------------------------------------------------------------------
-- forget, version
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_state_forget('a'), true, 'a known key is forgotten');
SELECT is(sync_state_forget('a'), false, 'an unknown one is not');
SELECT is((SELECT count(*) FROM syncstate.sync_tombstone WHERE type_key = 'a'), 1::bigint, 'it leaves a tombstone');
SELECT is(sync_state_version(), (SELECT extversion FROM pg_extension WHERE extname = 'syncstate'), 'the library is of the version that is installed');

SELECT * FROM finish();
ROLLBACK;
