-- The rules of runs: taking a key, proving to be alive, ending, taking over. A token fences; the
-- clock only decides whether somebody else may take the key. Two sessions at once are the isolation
-- specs' concern; here the order is given.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL application_name = 'tests';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(189);

CREATE SCHEMA t;
CREATE FUNCTION t.end_lease(type_key text) RETURNS text LANGUAGE sql AS $$
	UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '1 second'
	 WHERE type_key = $1 RETURNING sync_status $$;
CREATE FUNCTION t.run(type_key text) RETURNS uuid LANGUAGE sql AS $$ SELECT run_id FROM sync_state_get($1) $$;
CREATE FUNCTION t.begin(type_key text) RETURNS int LANGUAGE sql AS $$ SELECT run_number FROM sync_state_begin($1) $$;
CREATE FUNCTION t.carried(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s: %s, moved %s', run_number, coalesce(sync_progress::text, 'from the beginning'), coalesce(content_moved::text, 'unknown'))
	  FROM sync_state_begin($1) $$;
CREATE FUNCTION t.history(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(run_number || ' ' || CASE WHEN finished_at IS NULL THEN 'running' ELSE outcome END, ', ' ORDER BY run_number)
	  FROM syncstate.sync_run r WHERE r.type_key = $1 $$;
CREATE FUNCTION t.error(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE detail text; hint text;
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, detail, hint);
END $$;

-- ---------------------------------------------------------------------------------------------
-- 1. begin takes the key
-- ---------------------------------------------------------------------------------------------
SELECT is((sync_state_mark_synced('a', 'l', 'r')).run_number, 0, 'a key that never had a run');
CREATE TABLE t.clock AS SELECT clock_timestamp() AS before;
CREATE TABLE t.first AS SELECT * FROM sync_state_begin('a');
SELECT results_eq(
	$$ SELECT type_key, run_number, owner, backend_pid, finished_at, outcome, error, sync_progress, content_moved, local_hash, remote_hash FROM t.first $$,
	$$ VALUES ('a' COLLATE "C", 1, 'tests', pg_backend_pid(), NULL::timestamptz, NULL, NULL, NULL::jsonb, false, 'l', 'r') $$,
	'its first run: number, owner (application_name), backend, and the hashes it saw');
SELECT results_eq('SELECT * FROM t.first', $$ SELECT * FROM syncstate.sync_run WHERE type_key = 'a' $$, 'begin returns the row of the history');
SELECT results_eq(
	$$ SELECT s.sync_status, s.run_id, s.run_number, s.lease_expires_at - f.started_at, s.sync_progress
	     FROM syncstate.sync_state s JOIN t.first f USING (type_key) $$,
	$$ SELECT 'syncing', run_id, 1, interval '5 min', NULL::jsonb FROM t.first $$,
	'the key is syncing, under the token of the run, for five minutes from its start');
SELECT ok(started_at >= before AND started_at <= clock_timestamp() AND started_at > now(), 'the start is the clock of the call') FROM t.first, t.clock;
SELECT matches((SELECT run_id::text FROM t.first), '^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$', 'the token is a random uuid');
SELECT results_eq($$ SELECT last_synced_hash, last_synced_remote_hash, local_hash, remote_hash FROM sync_state_get('a') $$,
	$$ VALUES ('l', 'r', 'l', 'r') $$, 'hashes and bases are untouched');
SELECT is((SELECT owner FROM sync_state_begin('b', owner => 'worker-1')), 'worker-1', 'an owner can be given');
SET LOCAL application_name = '';
SELECT is((SELECT owner FROM sync_state_begin('b2')), NULL, 'who has no name is not told');
SELECT unalike(t.error($$ SELECT * FROM sync_state_begin('b2') $$), '%owner%', '... nor named to others');
SET LOCAL application_name = 'tests';
SELECT is((SELECT run_number FROM sync_state_begin('c', '90 seconds')), 1, 'a run with a lease');
SELECT is((SELECT s.lease_expires_at - r.started_at FROM syncstate.sync_state s JOIN syncstate.sync_run r USING (type_key, run_id) WHERE type_key = 'c'),
          interval '90 seconds', '... counts from its start');
SET LOCAL syncstate.lease = '30s';
SELECT is(t.begin('d'), 1, 'and a default can be set: syncstate.lease');
SELECT is((SELECT s.lease_expires_at - r.started_at FROM syncstate.sync_state s JOIN syncstate.sync_run r USING (type_key, run_id) WHERE type_key = 'd'),
          interval '30 seconds', '... which counts where none is given');
SELECT is((SELECT run_number FROM sync_state_begin('d2', lease => '1 hour')), 1, 'with a setting, a lease given');
SELECT is((SELECT s.lease_expires_at - r.started_at FROM syncstate.sync_state s JOIN syncstate.sync_run r USING (type_key, run_id) WHERE type_key = 'd2'),
          interval '1 hour', '... still counts');
RESET syncstate.lease;
SELECT isnt((SELECT run_id FROM t.first), t.run('b'), 'tokens differ');
SELECT is((SELECT count(DISTINCT run_id) FROM syncstate.sync_run), (SELECT count(*) FROM syncstate.sync_run), '... all of them');
SELECT is((SELECT run_number FROM sync_state_begin('longest', '24 days')), 1, 'a lease of 24 days is the longest');
SELECT is((SELECT run_number FROM sync_state_begin('shortest', '1 microsecond')), 1, 'and of a microsecond the shortest');

-- ---------------------------------------------------------------------------------------------
-- 2. A live run is not taken over
-- ---------------------------------------------------------------------------------------------
SELECT throws_ok($$ SELECT * FROM sync_state_begin('a') $$, '55P03', '"a" is held by a live run', 'begin on a key that is held');
SELECT matches(t.error($$ SELECT * FROM sync_state_begin('b') $$), 'worker-1', '... names the owner');
SELECT matches(t.error($$ SELECT * FROM sync_state_begin('b') $$),
	(SELECT to_char(lease_expires_at, 'YYYY-MM-DD HH24:MI:SS') FROM syncstate.sync_state WHERE type_key = 'b'), '... and the expiry');
SELECT throws_ok($$ SELECT * FROM sync_state_resume('a') $$, '55P03', '"a" is held by a live run', 'resume does not take it either');
SELECT is_empty($$ SELECT * FROM sync_state_try_begin('a') $$, 'try_begin has no row');
SELECT is(t.run('a'), (SELECT run_id FROM t.first), 'the run has not lost its token');
SELECT is(t.history('a'), '1 running', 'and the history is as it was');
SELECT is((SELECT count(*) FROM sync_state_try_begin('tried', '2 minutes', 'worker-2')), 1::bigint, 'try_begin on a free key has one');
SELECT results_eq($$ SELECT r.owner, s.lease_expires_at - r.started_at, s.sync_status FROM syncstate.sync_run r JOIN syncstate.sync_state s USING (type_key, run_id) WHERE type_key = 'tried' $$,
	$$ VALUES ('worker-2', interval '2 minutes', 'syncing') $$, '... and is a begin in all else');

-- ---------------------------------------------------------------------------------------------
-- 3. checkpoint: progress and lease
-- ---------------------------------------------------------------------------------------------
SELECT is(t.begin('p'), 1, 'a run');
SELECT lease_expires_at AS expiry, run_id AS run FROM syncstate.sync_state WHERE type_key = 'p' \gset
SELECT is(sync_state_checkpoint('p', :'run', '{"step": 1}', '1 second'), :'expiry'::timestamptz, 'a shorter lease does not shorten the one that runs');
SELECT is((sync_state_get('p')).lease_expires_at, :'expiry'::timestamptz, '... in the row either');
SELECT is((sync_state_get('p')).sync_progress, '{"step": 1}'::jsonb, '... and the progress is stored');
SELECT sync_state_checkpoint('p', :'run', '{"step": 2}', '1 hour') AS renewed \gset
SELECT cmp_ok(:'renewed'::timestamptz, '>', :'expiry'::timestamptz + interval '54 minutes', 'a longer one renews it');
SELECT is((sync_state_get('p')).lease_expires_at, :'renewed'::timestamptz, 'what is returned is what is stored');
SELECT is(sync_state_checkpoint('p', :'run', NULL), :'renewed'::timestamptz, 'a heartbeat');
SELECT is((sync_state_get('p')).sync_progress, '{"step": 2}'::jsonb, '... keeps the progress');
SELECT is(sync_state_checkpoint('p', :'run', 'null'), :'renewed'::timestamptz, 'a JSON null');
SELECT is((sync_state_get('p')).sync_progress, 'null'::jsonb, '... is a progress like any other JSON');
SELECT is(t.end_lease('p'), 'syncing', 'the lease ends');
SELECT sync_state_checkpoint('p', :'run', '{"step": 3}') AS renewed \gset
SELECT ok(:'renewed'::timestamptz > clock_timestamp() + interval '4 minutes' AND :'renewed'::timestamptz <= clock_timestamp() + interval '5 minutes',
          'an expired token that nobody took over is still valid, and the checkpoint renews the lease by the default');
SELECT results_eq($$ SELECT sync_status, run_number FROM sync_state_get('p') $$, $$ VALUES ('syncing', 1) $$, 'status and number stay');
SELECT is(t.history('p'), '1 running', 'and a checkpoint leaves no history');
SELECT clock_timestamp() AS called \gset
SELECT ok(expiry >= :'called'::timestamptz + interval '2 hours' AND expiry <= clock_timestamp() + interval '2 hours', 'a renewed lease counts from the clock of the call')
  FROM sync_state_checkpoint('p', :'run', NULL, '2 hours') AS expiry;
SELECT throws_ok($$ SELECT sync_state_checkpoint('p', '00000000-0000-0000-0000-000000000001', '{}') $$, '55000',
	'run 00000000-0000-0000-0000-000000000001 of "p" was superseded', 'another token is refused');
SELECT throws_ok($$ SELECT sync_state_checkpoint('nobody', '00000000-0000-0000-0000-000000000001', '{}') $$, 'P0002', NULL, 'an unknown key has no run');

-- ---------------------------------------------------------------------------------------------
-- 4. The end of a run, by its token: also when the lease has ended
-- ---------------------------------------------------------------------------------------------
SELECT is(t.end_lease('p'), 'syncing', 'the lease ends again');
SELECT is((sync_state_mark_synced('p', 'h', 'h', :'run')).sync_status, 'in_sync', 'mark_synced by an expired token that nobody took over');
SELECT is(t.history('p'), '1 synced', '... ends the run');
SELECT results_eq($$ SELECT r.finished_at, r.error, r.marked_local_hash, r.marked_remote_hash FROM syncstate.sync_run r WHERE r.type_key = 'p' $$,
	$$ SELECT last_sync_at, NULL, 'h', 'h' FROM sync_state_get('p') $$, 'one "now" per call: it finished when it was synced; the history has what it marked');
SELECT results_eq($$ SELECT sync_progress, run_id, lease_expires_at, run_number FROM sync_state_get('p') $$,
	$$ VALUES (NULL::jsonb, NULL::uuid, NULL::timestamptz, 1) $$, 'progress, token and lease are cleared, the number stays');
SELECT is(t.begin('p'), 2, 'the next run');
SELECT is(t.end_lease('p'), 'syncing', '... expires');
SELECT is((sync_state_fail('p', t.run('p'), 'late')).sync_status, 'failed', 'fail by an expired token');
SELECT is(t.begin('p'), 3, 'the next run');
SELECT is(t.end_lease('p'), 'syncing', '... expires');
SELECT is((sync_state_rollback('p', t.run('p'), 'later')).sync_status, 'failed', 'rollback by an expired token');
SELECT is(t.history('p'), '1 synced, 2 failed, 3 rolled_back', 'each by its outcome');
SELECT results_eq($$ SELECT error FROM syncstate.sync_run WHERE type_key = 'p' ORDER BY run_number $$, ARRAY[NULL, 'late', 'later'], '... and its error');

-- ---------------------------------------------------------------------------------------------
-- 5. Without the token a held key is left alone; force revokes the run and keeps the bases
-- ---------------------------------------------------------------------------------------------
SELECT is((sync_state_mark_synced('held', 'h', 'h')).sync_status, 'in_sync', 'a key in sync');
SELECT is(t.begin('held'), 1, '... taken by a run');
CREATE TABLE t.held AS SELECT * FROM syncstate.sync_state WHERE type_key = 'held';
SELECT throws_ok(call, '55P03', '"held" is held by a live run', 'refused: ' || call)
  FROM unnest(ARRAY[
	$$ SELECT sync_state_mark_synced('held', 'h2', 'h2') $$,
	$$ SELECT sync_state_mark_synced('held', 'h', 'h') $$,
	$$ SELECT sync_state_mark_synced_many('{held}', '{h2}', '{h2}') $$,
	$$ SELECT sync_state_mark_synced_many('{held}', '{h2}', '{h2}', '{NULL}') $$,
	$$ SELECT sync_state_fail('held') $$,
	$$ SELECT sync_state_fail('held', error => 'x') $$,
	$$ SELECT sync_state_rollback('held') $$,
	$$ SELECT sync_state_reset('held') $$,
	$$ SELECT sync_state_forget('held') $$,
	$$ SELECT sync_state_update('held', '{"sync_status": "modified"}') $$,
	$$ SELECT sync_state_update('held', '{"sync_status": null}') $$,
	$$ SELECT sync_state_update('held', '{"conflict_status": "detected"}') $$,
	$$ SELECT sync_state_update('held', '{"sync_progress": {"step": 9}}') $$,
	$$ SELECT sync_state_update('held', '{"last_synced_hash": "x"}') $$,
	$$ SELECT sync_state_update('held', '{"last_synced_remote_hash": "x"}') $$,
	$$ SELECT sync_state_update('held', '{"last_sync_at": "2199-01-01T00:00:00Z"}') $$,
	$$ SELECT sync_state_update('held', '{"last_sync_at": null}') $$,
	$$ SELECT sync_state_update('held', '{"local_hash": "x", "sync_status": "failed"}') $$,
	$$ SELECT sync_state_update_many('{"held": {"sync_status": "modified"}}') $$
       ]) WITH ORDINALITY AS c (call, n) ORDER BY n;
SELECT results_eq($$ SELECT * FROM syncstate.sync_state WHERE type_key = 'held' $$, 'SELECT * FROM t.held', 'the row is untouched');
SELECT is((sync_state_update('held', '{"sync_status": "syncing", "last_synced_hash": "h", "conflict_status": "none", "sync_progress": null}')).run_id,
          t.run('held'), 'an update that writes the values that are there changes nothing and is no intrusion');
SELECT is((sync_state_update('held', '{"local_hash": "h2", "remote_hash": "h3"}')).local_hash, 'h2', 'what is known of the content may be updated during a run');
SELECT is((sync_state_get('held')).run_id, (SELECT run_id FROM t.held), '... and the run goes on');

SELECT is((sync_state_fail('held', error => 'given up by hand', force => true)).sync_status, 'failed', 'fail with force');
SELECT results_eq($$ SELECT run_id, lease_expires_at, last_synced_hash, last_synced_remote_hash FROM sync_state_get('held') $$,
	$$ VALUES (NULL::uuid, NULL::timestamptz, 'h', 'h') $$, '... revokes the run and keeps the bases');
SELECT is(t.history('held'), '1 failed', '... and ends it in the history');
SELECT throws_ok(format('SELECT sync_state_checkpoint(%L, %L, NULL)', 'held', run_id), '55000', format('run %s of "held" was superseded', run_id),
	'... so that its next checkpoint is refused') FROM t.held;
SELECT is(t.begin('held'), 2, 'another run');
SELECT is((sync_state_rollback('held', force => true)).last_synced_hash, 'h', 'rollback with force keeps the bases');
SELECT is(t.history('held'), '1 failed, 2 rolled_back', '... and ends the run');
SELECT is(t.begin('held'), 3, 'another run');
SELECT t.run('held') AS run \gset
SELECT isnt(sync_state_checkpoint('held', :'run', '{"step": 1}'), NULL, '... with a checkpoint');
SELECT results_eq($$ SELECT sync_status, run_id, last_sync_at, last_synced_hash, last_synced_remote_hash, sync_progress FROM sync_state_reset('held', force => true) $$,
	$$ VALUES ('new', NULL::uuid, NULL::timestamptz, NULL, NULL, NULL::jsonb) $$, 'reset with force forgets bases, time and progress');
SELECT is(t.history('held'), '1 failed, 2 rolled_back, 3 superseded', '... and ends the run');
SELECT throws_ok(format('SELECT sync_state_mark_synced(%L, %L, %L, %L)', 'held', 'x', 'x', :'run'), '55000', format('run %s of "held" was superseded', :'run'),
	'... whose success comes too late');
SELECT is(t.begin('held'), 4, 'another run');
SELECT t.run('held') AS run \gset
SELECT is(sync_state_forget('held', force => true), true, 'forget with force');
SELECT is_empty($$ SELECT type_key FROM syncstate.sync_run WHERE type_key = 'held' $$, '... takes the history along');
SELECT is((SELECT count(*) FROM syncstate.sync_tombstone WHERE type_key = 'held'), 1::bigint, '... leaves a tombstone');
SELECT is(sync_state_forget('held'), false, 'forgotten is forgotten');
SELECT throws_ok(format('SELECT sync_state_mark_synced(%L, %L, %L, %L)', 'held', 'x', 'x', :'run'), '55000', format('run %s of "held" was superseded', :'run'),
	'the forgotten run cannot bring the key back');
SELECT is_empty($$ SELECT * FROM sync_state_get('held') $$, '... and has not');
SELECT is(t.begin('held'), 1, 'a key that comes back starts counting anew');

-- An interrupted run is not in the way.
SELECT is(t.end_lease('held'), 'syncing', 'an interrupted run');
SELECT is((sync_state_mark_synced('held', 'h', 'h')).sync_status, 'in_sync', 'mark_synced without a token is allowed');
SELECT is(t.history('held'), '1 superseded', '... and the interrupted run was superseded');
SELECT is(t.begin('held') || t.end_lease('held'), '2syncing', 'an interrupted run');
SELECT is((sync_state_fail('held')).sync_status, 'failed', 'fail without a token');
SELECT is(t.begin('held') || t.end_lease('held'), '3syncing', 'an interrupted run');
SELECT is((sync_state_rollback('held')).sync_status, 'failed', 'rollback without a token');
SELECT is(t.begin('held') || t.end_lease('held'), '4syncing', 'an interrupted run');
SELECT is((sync_state_reset('held')).sync_status, 'new', 'reset without force');
SELECT is(t.history('held'), '1 superseded, 2 failed, 3 rolled_back, 4 superseded', 'each left its mark in the history');
SELECT is(t.begin('held') || t.end_lease('held'), '5syncing', 'an interrupted run');
SELECT is(sync_state_forget('held'), true, 'forget without force');

-- Nor is a run without a lease.
SELECT is((sync_state_update('bare', '{"sync_status": "syncing"}')).lease_expires_at, NULL, 'a run set by an update has no lease');
SELECT is((sync_state_update('bare', '{"sync_status": "modified"}')).sync_status, 'modified', '... and can be updated away');

-- ---------------------------------------------------------------------------------------------
-- 6. What a run carries on
-- ---------------------------------------------------------------------------------------------
SELECT is((sync_state_mark_synced('chain', 'h', 'h')).sync_status, 'in_sync', 'a key in sync');
SELECT is(t.carried('chain'), '1: from the beginning, moved false', 'a first run');
SELECT isnt(sync_state_checkpoint('chain', t.run('chain'), '{"at": 1}'), NULL, '... leaves checkpoint 1, having seen h');
SELECT is(t.end_lease('chain'), 'syncing', '... and is interrupted');
SELECT is(t.carried('chain'), '2: {"at": 1}, moved false', 'taken over: the checkpoint is carried, the content as it was');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', 'the second run fails without a checkpoint of its own');
SELECT is(sync_state_observe('chain', 'h2')->>'local_hash', 'h2', 'an edit is observed');
SELECT is(t.carried('chain'), '3: {"at": 1}, moved true', 'the third run: content moved since the run that left checkpoint 1');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', 'it fails without a checkpoint of its own');
SELECT is(t.carried('chain'), '4: {"at": 1}, moved true', 'the fourth: nothing moved since the third, but the checkpoint is still that of the first');
SELECT isnt(sync_state_checkpoint('chain', t.run('chain'), '{"at": 4}'), NULL, '... it leaves checkpoint 4, having seen h2');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', '... and fails');
SELECT is(t.carried('chain'), '5: {"at": 4}, moved false', 'the fifth: nothing moved since the fourth, which left checkpoint 4');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', 'fails');
SELECT is(sync_state_observe('chain', 'h3')->>'local_hash', 'h3', 'an edit');
SELECT is(t.carried('chain'), '6: {"at": 4}, moved true', 'moved');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', 'fails');
SELECT is(sync_state_observe('chain', 'h2')->>'local_hash', 'h2', 'the edit is taken back');
SELECT is(t.carried('chain'), '7: {"at": 4}, moved false', 'as the fourth run had seen it');
SELECT is(sync_state_observe('chain', 'h9')->>'local_hash', 'h9', 'an edit is observed during a run');
SELECT isnt(sync_state_checkpoint('chain', t.run('chain'), '{"at": 7}'), NULL, '... which leaves a checkpoint');
SELECT is(t.end_lease('chain'), 'syncing', '... and is interrupted');
SELECT is(t.carried('chain'), '8: {"at": 7}, moved true', 'what counts is what the run had seen when it began');
SELECT isnt(sync_state_checkpoint('chain', t.run('chain'), '{"at": 8}'), NULL, 'the eighth leaves a checkpoint');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', '... and fails');
SELECT is(sync_state_observe('chain', remote_hash => 'r2')->>'remote_hash', 'r2', 'the other side is edited');
SELECT is(t.carried('chain'), '9: {"at": 8}, moved true', '... which counts as well');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', 'fails');
SELECT is(sync_state_observe('chain', remote_absent => true)->>'remote_hash', NULL, 'the other side is deleted');
SELECT is(t.carried('chain'), '10: {"at": 8}, moved true', '... and so does that');
SELECT is((sync_state_rollback('chain', t.run('chain'))).sync_progress, NULL, 'a rollback');
SELECT is(t.carried('chain'), '11: from the beginning, moved false', '... leaves nothing to carry, so nothing that could mislead');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_progress, NULL, 'a failure without a checkpoint');
SELECT is(t.carried('chain'), '12: from the beginning, moved false', '... neither');
SELECT isnt(sync_state_checkpoint('chain', t.run('chain'), '{"at": 12}'), NULL, 'a checkpoint');
SELECT is((sync_state_fail('chain', t.run('chain'))).sync_status, 'failed', '... of a run that fails');
DELETE FROM syncstate.sync_run WHERE type_key = 'chain';
SELECT is(t.carried('chain'), '13: {"at": 12}, moved unknown', 'the run that left the checkpoint is not in the history: nobody can say');
SELECT is((sync_state_update('byhand', '{"sync_status": "modified", "sync_progress": {"at": 1}}')).sync_progress, '{"at": 1}'::jsonb,
          'a checkpoint on a key that is neither interrupted nor failed');
SELECT is(t.carried('byhand'), '1: from the beginning, moved false', '... is not carried');
SELECT is((sync_state_get('byhand')).sync_progress, NULL, '... nor kept');

-- A run number is above any in the history, whatever the row says.
INSERT INTO syncstate.sync_run (type_key, run_number, run_id, started_at, finished_at, outcome)
VALUES ('restored', 41, gen_random_uuid(), '2026-01-01Z', '2026-01-02Z', 'synced');
SELECT is(t.begin('restored'), 42, 'a history that came back without its row is not overwritten');
SELECT is((sync_state_update('behind', '{"local_hash": "a"}')).run_number, 0, 'nor is one whose row is behind:');
INSERT INTO syncstate.sync_run (type_key, run_number, run_id, started_at, finished_at, outcome)
VALUES ('behind', 41, gen_random_uuid(), '2026-01-01Z', '2026-01-02Z', 'synced');
SELECT is(t.begin('behind'), 42, '... the next run is above both');
SELECT is((sync_state_update('behind', '{"local_hash": "a"}')).run_number, 42, '... and the row has caught up');
SELECT isnt(sync_state_checkpoint('behind', t.run('behind'), '{"at": 1}'), NULL, 'that run leaves a checkpoint');
SELECT is((sync_state_fail('behind', t.run('behind'))).sync_status, 'failed', '... and fails');
INSERT INTO syncstate.sync_run (type_key, run_number, run_id, started_at, finished_at, outcome)
VALUES ('behind', 50, gen_random_uuid(), '2026-01-01Z', '2026-01-02Z', 'synced');
SELECT is((SELECT run_number FROM sync_state_resume('behind')), 51, 'resume goes above the history, too');

-- ---------------------------------------------------------------------------------------------
-- 7. claim, for worker pools
-- ---------------------------------------------------------------------------------------------
DELETE FROM syncstate.sync_state;
SELECT is(sync_state_update_many('{
	"c1": {"sync_status": "new"}, "c2": {"sync_status": "modified"}, "c3": {"sync_status": "in_sync"},
	"c4": {"sync_status": "conflict", "conflict_status": "detected"}, "c5": {"sync_status": "syncing"}, "c6": {"sync_status": "modified"},
	"c9": {}, "d_1": {"sync_status": "new"}, "dx1": {"sync_status": "new"}}'), 9, 'keys in every status');
SELECT is(sync_state_observe('ca', 'x', 'y')->>'detail', 'conflict', 'one is in conflict');
SELECT is(t.begin('ca'), 1, '... and was taken by a run nevertheless');
SELECT is(t.end_lease('ca'), 'syncing', '... that was interrupted: there is still a conflict, which no worker can decide');
SELECT is(t.begin('c7'), 1, 'one is held by a live run');
SELECT is(t.begin('c8'), 1, 'one was');
SELECT is((sync_state_fail('c8', t.run('c8'))).sync_status, 'failed', '... until it failed a moment ago');
CREATE FUNCTION t.claim(max_keys int, prefix text DEFAULT NULL, retry_after interval DEFAULT '5 min') RETURNS text[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(type_key), '{}') FROM sync_state_claim(max_keys, prefix, retry_after => retry_after) $$;
SELECT is((SELECT array_agg(type_key) FROM sync_state_claim()), '{c1}', 'one key by default, the first in key order');
SELECT is((sync_state_get('c1')).sync_status, 'syncing', '... which is now syncing');
SELECT is((SELECT r.run_id FROM syncstate.sync_run r WHERE r.type_key = 'c1'), t.run('c1'), '... under the token of a run');
SELECT is(t.claim(2), '{c2,c5}', 'the next two: a modified one and an interrupted one');
SELECT is(t.claim(10, 'd_'), '{d_1}', 'by prefix, in which an underscore is an underscore');
SELECT is(t.claim(10), '{c6,dx1}', 'the rest: never one in sync, in conflict, without a status, alive, or just failed');
SELECT is(t.claim(10), '{}', 'there is nothing left to claim');
SELECT is(t.claim(10, retry_after => '0'), '{c8}', 'the failed one, for who does not want to wait');
SELECT is((sync_state_fail('c8', t.run('c8'))).sync_status, 'failed', 'it fails again');
UPDATE syncstate.sync_run SET finished_at = finished_at - interval '4 minutes' WHERE type_key = 'c8' AND run_number = 2;
SELECT is(t.claim(10), '{}', 'four minutes ago is not long enough');
UPDATE syncstate.sync_run SET finished_at = finished_at - interval '2 minutes' WHERE type_key = 'c8' AND run_number = 2;
-- From 17 on an interval may be infinite.
SELECT current_setting('server_version_num')::int >= 170000 AS infinite \gset
\if :infinite
SELECT is(t.claim(10, retry_after => 'infinity'), '{}', 'six are not for who never retries');
SELECT throws_ok($$ SELECT t.claim(10, retry_after => '-infinity') $$, '22023', NULL, 'nor can time be waited for backwards, for ever');
\else
SELECT skip('no infinite intervals', 2);
\endif
SELECT is(t.claim(10), '{c8}', 'six are; the end of the latest run counts');
SELECT is(t.end_lease('c8') || t.end_lease('c1'), 'syncingsyncing', 'two of the claimed runs are interrupted');
SELECT results_eq($$ SELECT type_key, run_number, owner, outcome FROM sync_state_claim(10, owner => 'pool', lease => '1 minute') $$,
	$$ VALUES ('c1' COLLATE "C", 2, 'pool', NULL), ('c8', 4, 'pool', NULL) $$, 'they are claimed again, in key order');
SELECT is(t.history('c8'), '1 failed, 2 failed, 3 superseded, 4 running', 'the history knows');
SELECT is((SELECT s.lease_expires_at - r.started_at FROM syncstate.sync_state s JOIN syncstate.sync_run r USING (type_key, run_id) WHERE type_key = 'c8'),
          interval '1 minute', 'with the lease that was asked for');

SELECT * FROM finish();
ROLLBACK;
