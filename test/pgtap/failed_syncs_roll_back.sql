-- Failed syncs roll back: state and application data share the transaction, so whatever the
-- failure, either both are there or neither; and a failure that is recorded keeps the bases, so
-- that the next sync does the same work again.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(36);

CREATE SCHEMA t;
CREATE TABLE t.target (n int PRIMARY KEY CHECK (n < 5));
-- Everything the extension remembers about a key, times and tokens included, as one value.
CREATE FUNCTION t.memory(type_key text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object(
		'state', (SELECT to_jsonb(s) FROM syncstate.sync_state s WHERE s.type_key = $1),
		'runs', (SELECT jsonb_agg(r ORDER BY r.run_number) FROM syncstate.sync_run r WHERE r.type_key = $1),
		'conflicts', (SELECT jsonb_agg(c ORDER BY c.conflict_number) FROM syncstate.sync_conflict c WHERE c.type_key = $1),
		'tombstone', (SELECT to_jsonb(d) FROM syncstate.sync_tombstone d WHERE d.type_key = $1)) $$;
CREATE TABLE t.saved (memory jsonb);
CREATE FUNCTION t.save() RETURNS text LANGUAGE sql AS $$ DELETE FROM t.saved; INSERT INTO t.saved VALUES (t.memory('article')) RETURNING 'saved' $$;
CREATE FUNCTION t.as_saved() RETURNS boolean LANGUAGE sql AS $$ SELECT t.memory('article') = memory FROM t.saved $$;

SELECT is((sync_state_mark_synced('article', 'h1', 'h1')).sync_status, 'in_sync', 'article was synchronised');
SELECT is(sync_state_observe('article', 'h2')->>'action', 'PUSH', '... and edited since');

-- 1. The failure aborts the transaction: every writing function leaves no trace.
SELECT run_id AS run FROM sync_state_begin('article') \gset
SELECT isnt(sync_state_checkpoint('article', :'run', '{"n": 1}'), NULL, 'a run is under way');
SELECT is(t.save(), 'saved', 'what is remembered at this point');
CREATE FUNCTION t.undone(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE changed boolean;
BEGIN
	BEGIN
		EXECUTE call;
		changed := NOT t.as_saved();
		RAISE EXCEPTION USING ERRCODE = 'UNDO0';
	EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
	END;
	RETURN CASE WHEN changed THEN 'changed' ELSE 'did nothing' END
	       || CASE WHEN t.as_saved() THEN ', undone' ELSE ', left traces' END;
END $$;
SELECT is(t.undone(format(call, 'article', :'run')), 'changed, undone', split_part(call, '(', 1) || ' is undone with its transaction')
  FROM unnest(ARRAY[
	'SELECT sync_state_checkpoint(%L, %L, ''{"n": 2}'')',
	'SELECT sync_state_mark_synced(%L, ''h2'', ''h2'', %L)',
	'SELECT sync_state_mark_synced_many(ARRAY[%L], ''{h2}'', ''{h2}'', ARRAY[%L]::uuid[])',
	'SELECT sync_state_fail(%L, %L, ''reason'')',
	'SELECT sync_state_rollback(%L, %L, ''reason'')',
	'SELECT sync_state_reset(%1$L, force => true)',
	'SELECT sync_state_forget(%1$L, force => true)',
	'SELECT sync_state_observe(%1$L, ''h3'', ''h4'')',
	'SELECT sync_state_observe_many(ARRAY[%1$L], ''{h3}'', ''{h4}'')',
	'SELECT sync_state_update(%1$L, ''{"local_hash": "h3"}'')',
	'SELECT sync_state_update_many(jsonb_build_object(%1$L, ''{"local_hash": "h3"}''::jsonb))'
       ]) WITH ORDINALITY AS c (call, n)
 ORDER BY n;

-- 2. A batch of the application fails in the middle: its rows and its checkpoint go together.
CREATE FUNCTION t.batch(run uuid, first int, last int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sync_state_checkpoint('article', run, jsonb_build_object('n', last));
	INSERT INTO t.target SELECT generate_series(first, last);
END $$;
SELECT lives_ok(format('SELECT t.batch(%L, 1, 3)', :'run'), 'a good batch');
SELECT is(t.save(), 'saved', 'what is remembered after it');
SELECT throws_ok(format('SELECT t.batch(%L, 4, 6)', :'run'), '23514', NULL, 'a bad batch');
SELECT is((SELECT max(n) FROM t.target), 3, 'none of its rows is there');
SELECT ok(t.as_saved(), 'nor is its checkpoint');
SELECT is((sync_state_get('article')).sync_progress, '{"n": 3}'::jsonb, 'the last good one stands');

-- 3. The failure is recorded: bases stay, the work is still to be done, the checkpoint is kept.
SELECT results_eq(
	format($$ SELECT sync_status, run_id, lease_expires_at, sync_progress, last_synced_hash, last_synced_remote_hash
	            FROM sync_state_fail('article', %L, 'row 5 refused') $$, :'run'),
	$$ VALUES ('failed', NULL::uuid, NULL::timestamptz, '{"n": 3}'::jsonb, 'h1', 'h1') $$,
	'fail: status failed, token and lease gone, progress and bases kept');
SELECT results_eq($$ SELECT outcome, error, finished_at IS NOT NULL FROM syncstate.sync_run WHERE type_key = 'article' $$,
	$$ VALUES ('failed', 'row 5 refused', true) $$, 'the history knows what happened');
SELECT is(sync_state_delta('article')->>'action', 'PUSH', 'the edit is still to be pushed');
SELECT throws_ok(format('SELECT sync_state_checkpoint(%L, %L, %L)', 'article', :'run', '{}'), '55000',
	format('run %s of "article" was superseded', :'run'), 'a run that failed cannot go on');

-- 4. Or rolled back: the same, and the progress is discarded.
SELECT run_id AS run FROM sync_state_begin('article') \gset
SELECT is((SELECT sync_progress FROM syncstate.sync_run WHERE run_id = :'run'), '{"n": 3}'::jsonb, 'the next run starts from the checkpoint');
SELECT results_eq(
	format($$ SELECT sync_status, run_id, lease_expires_at, sync_progress, local_hash, last_synced_hash, last_synced_remote_hash
	            FROM sync_state_rollback('article', %L, 'target was restored') $$, :'run'),
	$$ VALUES ('failed', NULL::uuid, NULL::timestamptz, NULL::jsonb, 'h2', 'h1', 'h1') $$,
	'rollback: status failed, token, lease and progress gone, hashes and bases kept');
SELECT results_eq($$ SELECT outcome, error, finished_at IS NOT NULL FROM syncstate.sync_run WHERE type_key = 'article' AND run_number = 2 $$,
	$$ VALUES ('rolled_back', 'target was restored', true) $$, 'the history tells it from a failure');
SELECT is(sync_state_delta('article')->>'action', 'PUSH', 'the edit is still to be pushed');
SELECT results_eq($$ SELECT run_number, sync_progress, content_moved FROM sync_state_begin('article') $$,
	$$ VALUES (3, NULL::jsonb, false) $$, 'the next run starts from the beginning');

-- 5. A batch of marks is all or nothing.
SELECT is((sync_state_mark_synced('author', 'h1', 'h1')).sync_status, 'in_sync', 'two more content types, one is free');
SELECT is(t.save(), 'saved', 'what is remembered');
SELECT throws_ok($$ SELECT sync_state_mark_synced_many('{author,article}', '{h9,h9}', '{h9,h9}') $$, '55P03', NULL,
	'article is held by a live run: the batch is refused');
SELECT is((sync_state_get('author')).local_hash, 'h1', 'author was not marked either');
SELECT throws_ok($$ SELECT sync_state_update_many('{"author": {"local_hash": "h9"}, "page": {"local_hash": 5}}') $$, '22023', NULL,
	'one bad element in a batch of updates');
SELECT is((sync_state_get('author')).local_hash, 'h1', '... and none of it is written');

SELECT * FROM finish();
ROLLBACK;
