--
-- A tour: one content type from its first sight to a conflict, by the public functions only.
--
-- Times and tokens differ from run to run; what is printed does not contain any.
--
CREATE EXTENSION syncstate;
SELECT sync_state_version() = extversion AS library_and_script_are_of_one_version FROM pg_extension WHERE extname = 'syncstate';

--
-- 1. What is there to do? delta compares the hashes of both sides with those of the last sync.
--
SELECT sync_state_delta('article', local_hash => 'a1');
-- Asking writes nothing. An observation is recorded.
SELECT type_key, local_hash, sync_status FROM sync_state_list();
SELECT sync_state_observe('article', local_hash => 'a1')->>'detail' AS detail;
SELECT type_key, local_hash, sync_status, conflict_status FROM sync_state_list();

--
-- 2. A run: begin takes the key, checkpoint says how far it got, mark_synced ends it.
--
SELECT run_id AS run FROM sync_state_begin('article', owner => 'worker-1') \gset
SELECT type_key, run_number, owner, outcome, sync_progress, content_moved FROM syncstate.sync_run;
SELECT sync_state_checkpoint('article', :'run', '{"step": 1, "total": 3}') > now() AS lease_is_good;
-- Nobody else can have it.
\set VERBOSITY terse
SELECT run_number FROM sync_state_begin('article', owner => 'worker-2');
SELECT run_number FROM sync_state_try_begin('article', owner => 'worker-2');
SELECT local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, sync_status, sync_progress
  FROM sync_state_mark_synced('article', 'a1', 'a1', :'run');
SELECT sync_state_delta('article');

--
-- 3. Edits: on our side, on the other, on both, and the same on both.
--
SELECT d->>'action' AS action, d->>'detail' AS detail FROM sync_state_observe('article', 'a2') AS d;
SELECT d->>'action' AS action, d->>'detail' AS detail FROM sync_state_observe('article', 'a1', 'a3') AS d;
SELECT d->>'action' AS action, d->>'detail' AS detail FROM sync_state_observe('article', 'a2', 'a3') AS d;
SELECT type_key, sync_status, conflict_status FROM sync_state_list();
SELECT conflict_number, kind, base_local_hash, local_hash, remote_hash, resolution FROM syncstate.sync_conflict;
SELECT d->>'action' AS action, d->>'detail' AS detail FROM sync_state_delta('article', 'a4', 'a4') AS d;
SELECT d->>'action' AS action, d->>'detail' AS detail FROM sync_state_observe('article', 'a4', 'a4') AS d;
SELECT type_key, last_synced_hash, last_synced_remote_hash, sync_status, conflict_status FROM sync_state_list();
SELECT conflict_number, kind, base_local_hash, local_hash, remote_hash, resolution FROM syncstate.sync_conflict;

--
-- 4. An interruption. A run leaves a checkpoint, then its worker dies and its lease ends.
--
SELECT run_id AS dead FROM sync_state_begin('article', owner => 'worker-1') \gset
SELECT sync_state_checkpoint('article', :'dead', '{"step": 2, "total": 3}') > now() AS lease_is_good;
SELECT sync_state_detect_interrupted() AS interrupted_now;
SELECT sync_state_detect_interrupted(now() + '10 minutes') AS interrupted_in_ten_minutes;
-- Ten minutes later (so that the test need not wait, the lease is moved into the past).
UPDATE syncstate.sync_state SET lease_expires_at = lease_expires_at - interval '10 minutes' WHERE type_key = 'article';
SELECT sync_state_detect_interrupted() AS interrupted_now;
SELECT type_key, owner, reason, sync_progress, run_number FROM syncstate.sync_interrupted;
-- Another worker goes on where the first one stopped, and the first one is refused.
SELECT run_number, owner, sync_progress, content_moved FROM sync_state_resume('article', owner => 'worker-2');
DO $$
BEGIN
	PERFORM sync_state_checkpoint('article', (SELECT run_id FROM syncstate.sync_run WHERE run_number = 2), '{"step": 3}');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RAISE NOTICE 'refused: %', regexp_replace(SQLERRM, '[0-9a-f-]{36}', '(its token)');
END $$;
SELECT sync_status, sync_progress, last_synced_hash FROM sync_state_fail('article', (SELECT run_id FROM sync_state_get('article')), 'the network went away');
SELECT run_number, owner, outcome, error, sync_progress FROM syncstate.sync_run ORDER BY run_number;

--
-- 5. Many at once, and the plan for all.
--
SELECT sync_state_observe_many('{author,page,tag}', '{h1,h1,NULL}', '{h1,h2,h3}');
SELECT type_key, action, detail, sync_status, conflict_status FROM sync_state_plan() ORDER BY type_key;
SELECT type_key, action, detail FROM sync_state_plan_for('{author,page}', '{h1,h2}', '{h9,h2}', complete => true) ORDER BY type_key;
SELECT sync_state_mark_synced_many('{author,page,tag}', '{h1,h2,h3}', '{h1,h2,h3}');
SELECT type_key, action, detail, sync_status FROM sync_state_plan() ORDER BY type_key;
SELECT field, before, after
  FROM sync_state_compare('{"local_hash": "h1", "sync_status": "new"}', '{"local_hash": "h2", "sync_status": "new", "remote_hash": "h2"}');

--
-- 6. What goes wrong says what and why.
--
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT sync_state_update('article', '{"localHash": "a5"}');
SELECT sync_state_update('article', '{"local_hash": 5}');
SELECT sync_state_update('', '{}');
SELECT sync_state_begin('article', lease => '25 days');
SELECT sync_state_resume('page');
SELECT sync_state_checkpoint('page', '00000000-0000-0000-0000-000000000001', '{}');
SELECT sync_state_observe('article', 'a5', local_absent => true);
TRUNCATE syncstate.sync_state;

--
-- 7. Forgetting.
--
SELECT sync_status, conflict_status, last_sync_at, last_synced_hash, local_hash FROM sync_state_reset('article');
SELECT sync_state_forget('article'), sync_state_forget('article');
SELECT type_key FROM syncstate.sync_tombstone;

DROP EXTENSION syncstate;
