-- Sync timestamps persist: when a content type was last synchronised is remembered,
-- exactly, per content type, until the next sync; and nothing but a sync moves it.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(36);

CREATE SCHEMA t;
CREATE FUNCTION t.last_sync(type_key text) RETURNS timestamptz LANGUAGE sql
	AS $$ SELECT last_sync_at FROM sync_state_get($1) $$;

-- A content type that was never synchronised.
SELECT is_empty($$ SELECT * FROM sync_state_get('article') $$, 'an unknown content type has no row');
SELECT is((sync_state_update('article', '{"local_hash": "a1", "remote_hash": "a1"}')).last_sync_at,
          NULL, 'knowing hashes is not a sync: last_sync_at is NULL');
SELECT is(sync_state_delta('article')->>'action', 'INITIAL_SYNC', 'so the next sync is the initial one');

-- The first sync: the time is that of the call, not of the transaction.
CREATE TABLE t.clock AS SELECT clock_timestamp() AS before;
SELECT isnt((sync_state_mark_synced('article', 'a1', 'a1')).last_sync_at, NULL, 'a sync leaves its time');
SELECT cmp_ok(t.last_sync('article'), '>=', (SELECT before FROM t.clock), 'not before the call');
SELECT cmp_ok(t.last_sync('article'), '<=', clock_timestamp(), 'not after it');
SELECT cmp_ok(t.last_sync('article'), '>', now(), 'it is the clock of the call, not the start of the transaction');
SELECT is((sync_state_get('article')).last_sync_at, (SELECT last_sync_at FROM syncstate.sync_state WHERE type_key = 'article'),
          'sync_state_get reads what the table holds');

-- What is not a sync does not move it.
CREATE TABLE t.kept AS SELECT last_sync_at, created_at, updated_at FROM sync_state_get('article');
CREATE FUNCTION t.kept() RETURNS boolean LANGUAGE sql
	AS $$ SELECT t.last_sync('article') = (SELECT last_sync_at FROM t.kept) $$;
SELECT is(sync_state_observe('article', 'a1', 'a1')->>'detail', 'unchanged', 'an observation that finds nothing');
SELECT ok(t.kept(), '... keeps it');
SELECT is(sync_state_observe('article', 'a2', 'a1')->>'action', 'PUSH', 'an observation that finds an edit');
SELECT ok(t.kept(), '... keeps it');
SELECT is((sync_state_update('article', '{"local_hash": "a3"}')).local_hash, 'a3', 'a partial update of a hash');
SELECT ok(t.kept(), '... keeps it');
SELECT run_id AS run FROM sync_state_begin('article') \gset
SELECT ok(t.kept(), 'beginning a run keeps it');
SELECT isnt(sync_state_checkpoint('article', :'run', '{"step": 1}'), NULL, 'a checkpoint');
SELECT ok(t.kept(), '... keeps it');
SELECT is((sync_state_fail('article', :'run', 'connection lost')).sync_status, 'failed', 'a failed run');
SELECT ok(t.kept(), '... keeps it');
SELECT is((sync_state_rollback('article')).sync_status, 'failed', 'a run rolled back');
SELECT ok(t.kept(), '... keeps it');

-- The next sync does.
SELECT cmp_ok((sync_state_mark_synced('article', 'a3', 'a3')).last_sync_at, '>', (SELECT last_sync_at FROM t.kept),
              'the next sync moves it on');
SELECT is((sync_state_get('article')).created_at, (SELECT created_at FROM t.kept), 'created_at stays');
SELECT cmp_ok((sync_state_get('article')).updated_at, '>', (SELECT updated_at FROM t.kept), 'updated_at grows');

-- The same edit found on both sides is as good as a sync.
SELECT last_sync_at AS third FROM sync_state_get('article') \gset
SELECT is(sync_state_observe('article', 'a4', 'a4')->>'detail', 'unchanged', 'both sides made the same edit: bases have moved');
SELECT cmp_ok(t.last_sync('article'), '>', :'third'::timestamptz, '... which counts as a sync');

-- Per content type.
CREATE TABLE t.article AS SELECT * FROM sync_state_get('article');
SELECT isnt((sync_state_mark_synced('page', 'p1', 'p1')).last_sync_at, NULL, 'a sync of another content type');
SELECT results_eq($$ SELECT * FROM sync_state_get('article') $$, $$ SELECT * FROM t.article $$,
                  '... leaves this one as it is');

-- A time that an application brings along is kept to the microsecond, in any TimeZone.
SET LOCAL TimeZone = 'Asia/Kathmandu';
SET LOCAL DateStyle = 'German, DMY';
SELECT is((sync_state_update('imported', '{"last_sync_at": "2026-03-29T02:30:00.123457+01:00"}')).last_sync_at,
          '2026-03-29 01:30:00.123457+00'::timestamptz, 'a given time is stored exactly');
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, MDY';
SELECT is((SELECT last_sync_at::text FROM sync_state_get('imported')), '2026-03-29 01:30:00.123457+00', '... and reads back exactly');
SELECT is((sync_state_update('imported', '{"sync_status": "modified"}')).last_sync_at, '2026-03-29 01:30:00.123457+00'::timestamptz,
          'a partial update without the time keeps it');
SELECT is((sync_state_update('imported', '{"last_sync_at": null}')).last_sync_at, NULL, 'an explicit null clears it');

-- It lives and dies with the transaction that wrote it.
SAVEPOINT application;
SELECT isnt((sync_state_mark_synced('page', 'p2', 'p2')).last_sync_at, NULL, 'a sync in a (sub)transaction');
ROLLBACK TO application;
SELECT is((sync_state_get('page')).local_hash, 'p1', '... that rolls back has not happened');

-- Forgetting.
SELECT is((sync_state_reset('article')).last_sync_at, NULL, 'a reset forgets the time');
SELECT is(sync_state_delta('article')->>'action', 'INITIAL_SYNC', '... and the next sync is an initial one again');

SELECT * FROM finish();
ROLLBACK;
