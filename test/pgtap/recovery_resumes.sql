-- Recovery resumes: a checkpoint is stored in the transaction that writes the data. After an
-- interruption the next run starts from the last one that was committed, and the worker that was
-- given up can do no harm.
--
-- The "crash" is a rollback to a savepoint: what a dying worker had not committed is lost, in the
-- application's table and in the checkpoint alike. Real crashes are tested in test/t.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(43);

CREATE SCHEMA t;
CREATE TABLE t.source AS SELECT n, 'row ' || n AS body FROM generate_series(1, 10) AS n;
CREATE TABLE t.target (n int PRIMARY KEY, body text);
-- One batch of a worker: three rows and the checkpoint, in one statement's transaction.
CREATE FUNCTION t.copy_batch(run uuid, done int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE last int;
BEGIN
	WITH copied AS (
		INSERT INTO t.target SELECT * FROM t.source WHERE n > done ORDER BY n LIMIT 3 RETURNING n)
	SELECT max(n) INTO last FROM copied;
	PERFORM sync_state_checkpoint('article', run, jsonb_build_object('position', coalesce(last, done)));
	RETURN last;
END $$;
CREATE FUNCTION t.end_lease(type_key text) RETURNS text LANGUAGE sql AS $$
	UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '1 second'
	 WHERE type_key = $1 RETURNING sync_status $$;

SELECT is(sync_state_observe('article', 'h1')->>'detail', 'push', 'there is something to copy');

-- The first worker.
SELECT run_id AS first FROM sync_state_begin('article', owner => 'first') \gset
SELECT is((SELECT sync_progress FROM syncstate.sync_run WHERE run_id = :'first'), NULL, 'a first run starts from the beginning');
SELECT is((SELECT content_moved FROM syncstate.sync_run WHERE run_id = :'first'), false, '... so no offset can mislead it');
SELECT is(t.copy_batch(:'first', 0), 3, 'batch 1');
SELECT is(t.copy_batch(:'first', 3), 6, 'batch 2');
SAVEPOINT crash;
SELECT is(t.copy_batch(:'first', 6), 9, 'batch 3 is written, but not committed');
ROLLBACK TO crash;
SELECT is((SELECT max(n) FROM t.target), 6, 'the worker dies: its rows are gone');
SELECT is((sync_state_get('article')).sync_progress, '{"position": 6}'::jsonb, '... and so is their checkpoint');

-- Nobody can take the key while the lease lasts.
SELECT throws_ok($$ SELECT * FROM sync_state_begin('article') $$, '55P03', '"article" is held by a live run', 'the run still counts as alive');
SELECT throws_ok($$ SELECT * FROM sync_state_resume('article') $$, '55P03', '"article" is held by a live run', '... for resume too');
SELECT is_empty($$ SELECT * FROM sync_state_try_begin('article') $$, '... and try_begin has no row');
SELECT is_empty($$ SELECT * FROM sync_state_claim(10) $$, '... and claim passes it by');
SELECT is(t.end_lease('article'), 'syncing', 'then its lease ends');
SELECT set_eq('SELECT sync_state_detect_interrupted()', ARRAY['article'], 'the interruption is detected');

-- The second worker resumes.
CREATE TABLE t.second AS SELECT * FROM sync_state_resume('article', owner => 'second');
SELECT run_id AS second FROM t.second \gset
SELECT results_eq('SELECT type_key, run_number, owner, sync_progress, content_moved, finished_at, outcome FROM t.second',
	$$ VALUES ('article' COLLATE "C", 2, 'second', '{"position": 6}'::jsonb, false, NULL::timestamptz, NULL) $$,
	'the next run, from the last committed checkpoint, the content as it was');
SELECT isnt(:'second'::uuid, :'first'::uuid, 'under a token of its own');
SELECT is((sync_state_get('article')).run_id, :'second'::uuid, '... which is now the one that counts');
SELECT is((sync_state_get('article')).sync_progress, '{"position": 6}'::jsonb, 'the checkpoint is kept in the row as well');
SELECT results_eq($$ SELECT outcome, finished_at IS NOT NULL FROM syncstate.sync_run WHERE type_key = 'article' AND run_number = 1 $$,
	$$ VALUES ('superseded', true) $$, 'the first run is history');

-- The first worker was only asleep. Whatever it does, it is too late.
SELECT throws_ok(format('SELECT t.copy_batch(%L, 6)', :'first'), '55000',
	format('run %s of "article" was superseded', :'first'), 'its batch is refused, rows and checkpoint');
SELECT is((SELECT max(n) FROM t.target), 6, '... so nothing is copied twice');
SELECT throws_ok(format('SELECT sync_state_mark_synced(%L, %L, %L, %L)', 'article', 'h1', 'h1', :'first'), '55000',
	format('run %s of "article" was superseded', :'first'), 'its success is refused');
SELECT throws_ok(format('SELECT sync_state_fail(%L, %L)', 'article', :'first'), '55000',
	format('run %s of "article" was superseded', :'first'), 'its failure is refused');
SELECT throws_ok(format('SELECT sync_state_rollback(%L, %L)', 'article', :'first'), '55000',
	format('run %s of "article" was superseded', :'first'), 'its rollback is refused');
SELECT is((sync_state_get('article')).run_id, :'second'::uuid, 'the second run has not noticed any of it');

-- The second worker gets to the end.
SELECT is(t.copy_batch(:'second', 6), 9, 'batch 3 again');
SELECT is(t.copy_batch(:'second', 9), 10, 'batch 4');
SELECT is((sync_state_mark_synced('article', 'h1', 'h1', :'second')).sync_status, 'in_sync', 'the sync is complete');
SELECT results_eq('SELECT * FROM t.target ORDER BY n', 'SELECT * FROM t.source ORDER BY n', 'every row was copied once');
SELECT is((sync_state_get('article')).sync_progress, NULL, 'a finished run leaves no checkpoint');
SELECT throws_ok($$ SELECT * FROM sync_state_resume('article') $$, 'P0002', 'no sync progress found to resume', 'so there is nothing to resume');

-- After a failure that was reported, the same.
SELECT run_id AS third FROM sync_state_begin('article') \gset
SELECT isnt(sync_state_checkpoint('article', :'third', '{"position": 2}'), NULL, 'another run gets as far as 2');
SELECT is((sync_state_fail('article', :'third', 'disk full')).sync_progress, '{"position": 2}'::jsonb, 'it fails, and its checkpoint is kept');
SELECT is((SELECT sync_progress FROM sync_state_begin('article')), '{"position": 2}'::jsonb, 'begin resumes there');

-- The content moved in between: the offsets may mislead, and the run is told so.
SELECT is(t.end_lease('article'), 'syncing', 'that run is interrupted');
SELECT is(sync_state_observe('article', 'h2')->>'action', 'PUSH', 'an edit is observed');
SELECT results_eq($$ SELECT sync_progress, content_moved FROM sync_state_resume('article') $$,
	$$ VALUES ('{"position": 2}'::jsonb, true) $$, 'the checkpoint is carried, with the warning');

-- What resume insists on.
SELECT throws_ok($$ SELECT * FROM sync_state_resume('nobody') $$, 'P0002', NULL, 'an unknown key cannot be resumed');
SELECT is((sync_state_mark_synced('page', 'h', 'h')).sync_status, 'in_sync', 'a key in sync');
SELECT throws_ok($$ SELECT * FROM sync_state_resume('page') $$, 'P0002', 'no sync progress found to resume', '... has nothing to resume');
SELECT is((SELECT run_number FROM sync_state_begin('page')), 1, 'a run without any checkpoint');
SELECT is((sync_state_fail('page', force => true)).sync_status, 'failed', '... fails');
SELECT throws_ok($$ SELECT * FROM sync_state_resume('page') $$, 'P0002', 'no sync progress found to resume', '... and has nothing to resume either');

SELECT * FROM finish();
ROLLBACK;
