-- mark_synced and an edit made during a sync: it is never lost. And the retry of a call whose
-- acknowledgement was lost.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(72);

CREATE SCHEMA t;
CREATE FUNCTION t.state(s syncstate.sync_state) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s/%s L=%s R=%s BL=%s BR=%s', s.sync_status, s.conflict_status, coalesce(s.local_hash, '-'), coalesce(s.remote_hash, '-'),
	              coalesce(s.last_synced_hash, '-'), coalesce(s.last_synced_remote_hash, '-')) $$;
CREATE FUNCTION t.verdict(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT (d->>'action') || ' ' || (d->>'detail') FROM sync_state_delta($1) AS d $$;
CREATE FUNCTION t.run(type_key text) RETURNS uuid LANGUAGE sql AS $$ SELECT run_id FROM sync_state_get($1) $$;
CREATE FUNCTION t.conflicts(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(conflict_number || ' ' || kind || ' ' || coalesce(resolution, 'open'), ', ' ORDER BY conflict_number)
	  FROM syncstate.sync_conflict c WHERE c.type_key = $1 $$;

-- ---------------------------------------------------------------------------------------------
-- 1. Without a run the given hashes win
-- ---------------------------------------------------------------------------------------------
SELECT is(t.state(sync_state_mark_synced('plain', 'a', 'b')), 'in_sync/none L=a R=b BL=a BR=b', 'an unknown key is created, in sync');
SELECT is(sync_state_observe('plain', 'x', 'y')->>'action', 'CONFLICT', 'edits on both sides');
SELECT is(t.state(sync_state_mark_synced('plain', 'm', 'm')), 'in_sync/none L=m R=m BL=m BR=m', 'the given hashes win');
SELECT is(t.conflicts('plain'), '1 edit/edit synced', 'the conflict is closed as synced');
SELECT is(t.state(sync_state_mark_synced('plain', NULL, 'm')), 'in_sync/none L=- R=m BL=- BR=m', 'NULL is an absence');
SELECT is(t.state(sync_state_mark_synced('plain', NULL, NULL)), 'in_sync/none L=- R=- BL=- BR=-', '... on both sides, too');
SELECT is(t.verdict('plain'), 'NO_CHANGE unchanged', '... and that is a synced state');
SELECT is((sync_state_update('plain', '{"sync_progress": {"x": 1}}')).sync_progress, '{"x": 1}'::jsonb, 'a stray checkpoint');
SELECT is((sync_state_mark_synced('plain', 'a', 'a')).sync_progress, NULL, '... is cleared');
SELECT is((sync_state_get('plain')).run_number, 0, 'no run is invented');
SELECT is_empty('SELECT * FROM syncstate.sync_run', '... in the history neither');

-- ---------------------------------------------------------------------------------------------
-- 2. With a run: what an observer recorded during it is kept
-- ---------------------------------------------------------------------------------------------
-- Each example starts from L = R = base = a; before the run ours was edited to b; the run pushes b
-- and marks (b, b). In between an observer may have seen something else.
CREATE TABLE t.example (key text PRIMARY KEY, seen_l text, seen_r text, l_gone boolean, r_gone boolean, state text, verdict text, log text, why text);
INSERT INTO t.example VALUES
	('k1', NULL, NULL, false, false, 'in_sync/none L=b R=b BL=b BR=b', 'NO_CHANGE unchanged', NULL, 'nobody looked'),
	('k2', 'b', 'a', false, false, 'in_sync/none L=b R=b BL=b BR=b', 'NO_CHANGE unchanged', NULL, 'what was seen is what the run saw at its start'),
	('k3', 'b', 'b', false, false, 'in_sync/none L=b R=b BL=b BR=b', 'NO_CHANGE unchanged', NULL, 'what was seen is what the run itself wrote'),
	('k4', 'c', NULL, false, false, 'modified/none L=c R=b BL=b BR=b', 'PUSH edit', NULL, 'ours was edited again'),
	('k5', NULL, 'c', false, false, 'modified/none L=b R=c BL=b BR=b', 'PULL edit', NULL, 'theirs was edited'),
	('k6', 'c', 'd', false, false, 'conflict/detected L=c R=d BL=b BR=b', 'CONFLICT edit/edit', '1 edit/edit open', 'both were edited'),
	('k7', 'c', 'c', false, false, 'in_sync/none L=c R=c BL=c BR=c', 'NO_CHANGE unchanged', NULL, 'both got the same edit: the bases follow'),
	('k8', NULL, NULL, true, false, 'modified/none L=- R=b BL=b BR=b', 'PUSH delete', NULL, 'ours was deleted'),
	('k9', NULL, NULL, false, true, 'modified/none L=b R=- BL=b BR=b', 'PULL delete', NULL, 'theirs was deleted'),
	('l1', 'c', NULL, false, true, 'conflict/detected L=c R=- BL=b BR=b', 'CONFLICT edit/delete', '1 edit/delete open', 'edited here, deleted there'),
	('l2', NULL, 'c', true, false, 'conflict/detected L=- R=c BL=b BR=b', 'CONFLICT delete/edit', '1 delete/edit open', 'deleted here, edited there');
CREATE FUNCTION t.play(one_by_one boolean) RETURNS int LANGUAGE plpgsql AS $$
DECLARE e t.example; done int := 0;
BEGIN
	DELETE FROM syncstate.sync_state;
	FOR e IN SELECT * FROM t.example ORDER BY key LOOP
		PERFORM sync_state_mark_synced(e.key, 'a', 'a');
		PERFORM sync_state_observe(e.key, 'b');
		PERFORM sync_state_begin(e.key);
		PERFORM sync_state_observe(e.key, e.seen_l, e.seen_r, e.l_gone, e.r_gone);
		IF one_by_one THEN
			PERFORM sync_state_mark_synced(e.key, 'b', 'b', t.run(e.key));
			done := done + 1;
		END IF;
	END LOOP;
	IF NOT one_by_one THEN
		done := sync_state_mark_synced_many(array_agg(x.key), array_agg('b'::text), array_agg('b'::text), array_agg(t.run(x.key)))
		   FROM t.example x;
	END IF;
	RETURN done;
END $$;
SELECT is(t.play(true), 11, 'the examples, marked one by one');
SELECT is(t.state(sync_state_get(key)) || '; ' || t.verdict(key) || '; ' || coalesce(t.conflicts(key), 'no conflict'),
          state || '; ' || verdict || '; ' || coalesce(log, 'no conflict'), why)
  FROM t.example ORDER BY key;
SELECT is((SELECT count(*) FROM syncstate.sync_run WHERE outcome = 'synced' AND marked_local_hash = 'b' AND marked_remote_hash = 'b'), 11::bigint,
          'each run is finished as synced, with what it marked');
SELECT is_empty($$ SELECT * FROM syncstate.sync_state WHERE run_id IS NOT NULL OR lease_expires_at IS NOT NULL OR last_sync_at < now() $$,
          'each key is free and has the time of its sync');
SELECT is(t.play(false), 11, 'the same, marked in one batch');
SELECT is(t.state(sync_state_get(key)) || '; ' || t.verdict(key) || '; ' || coalesce(t.conflicts(key), 'no conflict'),
          state || '; ' || verdict || '; ' || coalesce(log, 'no conflict'), 'batch: ' || why)
  FROM t.example ORDER BY key;

-- The conflict that the run resolved is closed before the one that arose during it is opened.
SELECT is((sync_state_observe('two', 'x', 'y'))->>'action', 'INITIAL_SYNC', 'a key in conflict');
SELECT is((SELECT run_number FROM sync_state_begin('two')), 1, '... and a run that merges both sides into m');
SELECT is((sync_state_observe('two', 'x2', 'y2'))->>'detail', 'conflict', 'meanwhile both sides go on');
SELECT is(t.state(sync_state_mark_synced('two', 'm', 'm', t.run('two'))), 'conflict/detected L=x2 R=y2 BL=m BR=m', 'there is a conflict again, from the new base');
SELECT is(t.conflicts('two'), '1 create/create synced, 2 edit/edit open', 'the first is closed as synced, the second open');

-- ---------------------------------------------------------------------------------------------
-- 3. A lost acknowledgement
-- ---------------------------------------------------------------------------------------------
SELECT run_id AS run FROM sync_state_begin('ack') \gset
SELECT is((sync_state_mark_synced('ack', 'a', 'b', :'run')).sync_status, 'in_sync', 'a run is marked; the answer is lost');
CREATE TABLE t.ack AS SELECT * FROM syncstate.sync_state WHERE type_key = 'ack';
CREATE TABLE t.ack_run AS SELECT * FROM syncstate.sync_run WHERE type_key = 'ack';
SELECT results_eq(format($$ SELECT * FROM sync_state_mark_synced('ack', 'a', 'b', %L) $$, :'run'), 'SELECT * FROM t.ack', 'the same call again returns the row');
SELECT results_eq($$ SELECT * FROM syncstate.sync_state WHERE type_key = 'ack' $$, 'SELECT * FROM t.ack', '... and changes nothing, not even updated_at');
SELECT results_eq($$ SELECT * FROM syncstate.sync_run WHERE type_key = 'ack' $$, 'SELECT * FROM t.ack_run', '... in the history neither');
SELECT throws_ok(format($$ SELECT sync_state_mark_synced('ack', 'a', 'c', %L) $$, :'run'), '55000', format('run %s of "ack" was superseded', :'run'),
	'with another hash it is no retry');
SELECT throws_ok(format($$ SELECT sync_state_mark_synced('ack', 'a', NULL, %L) $$, :'run'), '55000', format('run %s of "ack" was superseded', :'run'),
	'an absence is another hash');
SELECT throws_ok($$ SELECT sync_state_mark_synced('ack', 'a', 'b', '00000000-0000-0000-0000-000000000001') $$, '55000',
	'run 00000000-0000-0000-0000-000000000001 of "ack" was superseded', 'another run cannot retry it');
SELECT throws_ok(format($$ SELECT sync_state_mark_synced('other', 'a', 'b', %L) $$, :'run'), '55000', format('run %s of "other" was superseded', :'run'),
	'nor can the run on another key');
SELECT is_empty($$ SELECT * FROM sync_state_get('other') $$, '... which is not created by trying');
SELECT is((sync_state_observe('ack', 'edited'))->>'action', 'PUSH', 'then an edit');
SELECT is(t.state(sync_state_mark_synced('ack', 'a', 'b', :'run')), 'modified/none L=edited R=b BL=a BR=b', 'a late retry returns the row and does not undo the edit');
SELECT is((SELECT run_number FROM sync_state_begin('ack')), 2, 'then the next run');
SELECT is((sync_state_mark_synced('ack', 'a', 'b', :'run')).run_number, 2, 'a very late retry returns the row and does not end the next run');
SELECT isnt(t.run('ack'), NULL, '... which still holds the key');
SELECT is(sync_state_mark_synced_many('{ack}', '{a}', '{b}', ARRAY[:'run']::uuid[]) IS NOT NULL, true, 'a batch can be retried, too');
SELECT is((sync_state_get('ack')).run_number || ' ' || (sync_state_get('ack')).sync_status, '2 syncing', '... with the same effect: none');
SELECT throws_ok(format($$ SELECT sync_state_mark_synced_many('{ack}', '{z}', '{b}', ARRAY[%L]::uuid[]) $$, :'run'), '55000', NULL, '... and other hashes are refused');
SELECT run_id AS failed FROM sync_state_get('ack') \gset
SELECT is((sync_state_fail('ack', :'failed')).sync_status, 'failed', 'a run that failed');
SELECT throws_ok(format($$ SELECT sync_state_mark_synced('ack', 'a', 'b', %L) $$, :'failed'), '55000', NULL, '... cannot be marked: there is nothing to retry');
SELECT throws_ok(format($$ SELECT sync_state_mark_synced('ack', NULL, NULL, %L) $$, :'failed'), '55000', NULL, '... nor as one that found nothing on either side');

-- ---------------------------------------------------------------------------------------------
-- 4. Batches
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_state_mark_synced_many('{}', '{}', '{}'), 0, 'an empty batch');
SELECT is(sync_state_mark_synced_many('{b3,b1,b2}', '{3,1,NULL}', '{3,1,2}'), 3, 'keys in any order');
SELECT is((SELECT string_agg(p.type_key || ' ' || t.state(s), '; ' ORDER BY p.type_key) FROM sync_state_plan('b') p JOIN syncstate.sync_state s USING (type_key)),
	'b1 in_sync/none L=1 R=1 BL=1 BR=1; b2 in_sync/none L=- R=2 BL=- BR=2; b3 in_sync/none L=3 R=3 BL=3 BR=3', 'each with its own hashes');
SELECT is((SELECT run_number FROM sync_state_begin('b2')), 1, 'one is taken by a run');
SELECT is(sync_state_mark_synced_many('{b1,b2}', '{9,9}', '{9,9}', ARRAY[NULL, t.run('b2')]), 2, 'a batch with a token where one is needed');
SELECT results_eq($$ SELECT type_key, outcome FROM syncstate.sync_run WHERE type_key LIKE 'b%' $$, $$ VALUES ('b2' COLLATE "C", 'synced') $$, '... ends that run');
SELECT is((SELECT run_number FROM sync_state_begin('b2')), 2, 'taken again');
SELECT throws_ok($$ SELECT sync_state_mark_synced_many('{b1,b2,b3}', '{5,5,5}', '{5,5,5}', '{NULL,00000000-0000-0000-0000-000000000001,NULL}') $$, '55000',
	'run 00000000-0000-0000-0000-000000000001 of "b2" was superseded', 'one wrong token fails the batch');
SELECT throws_ok($$ SELECT sync_state_mark_synced_many('{b1,b2,b3}', '{5,5,5}', '{5,5,5}') $$, '55P03', '"b2" is held by a live run', 'so does one held key');
SELECT is((sync_state_get('b1')).local_hash || (sync_state_get('b3')).local_hash, '93', '... and no other key was marked');

SELECT * FROM finish();
ROLLBACK;
