-- Interrupted syncs are detected: a run proves by its lease that it is alive. One whose lease has
-- ended, and a "syncing" without any lease, is reported; detecting writes nothing.
--
-- A lease is made to end by moving its time into the past, so that no test waits.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL application_name = 'worker-7';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(39);

CREATE SCHEMA t;
CREATE FUNCTION t.end_lease(type_key text) RETURNS timestamptz LANGUAGE sql AS $$
	UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '2 minutes'
	 WHERE type_key = $1 RETURNING lease_expires_at $$;

SELECT is_empty('SELECT sync_state_detect_interrupted()', 'nothing is interrupted where nothing runs');

-- One key in each situation.
CREATE TABLE t.run AS
	SELECT * FROM sync_state_begin('alive')
	UNION ALL SELECT * FROM sync_state_begin('dead', owner => 'worker-9')
	UNION ALL SELECT * FROM sync_state_begin('dead-too', lease => '1 hour')
	UNION ALL SELECT * FROM sync_state_begin('failed')
	UNION ALL SELECT * FROM sync_state_begin('finished')
	UNION ALL SELECT * FROM sync_state_begin('stopped');
CREATE FUNCTION t.run(type_key text) RETURNS uuid LANGUAGE sql AS $$ SELECT run_id FROM t.run WHERE type_key = $1 $$;
SELECT isnt(sync_state_checkpoint('dead', t.run('dead'), '{"step": 3, "total": 7}'), NULL, 'a run leaves a checkpoint');
SELECT is((sync_state_fail('failed', t.run('failed'))).sync_status, 'failed', 'a run fails');
SELECT is((sync_state_mark_synced('finished', 'h', 'h', t.run('finished'))).sync_status, 'in_sync', 'a run finishes');
SELECT is((sync_state_rollback('stopped', t.run('stopped'))).sync_status, 'failed', 'a run is rolled back');
SELECT is((sync_state_update('by-hand', '{"sync_status": "syncing", "sync_progress": {"page": 1}}')).sync_status, 'syncing',
          'an application sets "syncing" itself, without a lease');
SELECT is((sync_state_observe('idle', 'h')) ->> 'detail', 'push', 'and one key is just waiting');

SELECT set_eq('SELECT sync_state_detect_interrupted()', ARRAY['by-hand'],
              'a run without a lease has no proof of life; the leased ones are alive');

SELECT cmp_ok(t.end_lease('dead'), '<', clock_timestamp(), 'the lease of one run ends');
SELECT cmp_ok(t.end_lease('dead-too'), '<', clock_timestamp(), 'and of another');
SELECT set_eq('SELECT sync_state_detect_interrupted()', ARRAY['by-hand', 'dead', 'dead-too'],
              'runs whose lease has ended are interrupted; failed, finished and stopped ones are not');

-- Another moment can be asked about.
SELECT set_eq($$ SELECT sync_state_detect_interrupted(clock_timestamp() + interval '6 minutes') $$,
              ARRAY['alive', 'by-hand', 'dead', 'dead-too'], 'six minutes from now the default lease of five will have ended too');
SELECT set_eq($$ SELECT sync_state_detect_interrupted(clock_timestamp() - interval '3 minutes') $$,
              ARRAY['by-hand'], 'three minutes ago all leases were good');
SELECT results_eq($$ SELECT k, i FROM syncstate.sync_state s, unnest('{-1,0}'::int[]) i,
                             sync_state_detect_interrupted(s.lease_expires_at + i * interval '1 microsecond') k
                      WHERE s.type_key = 'alive' AND k = 'alive' $$,
                  $$ VALUES ('alive', 0) $$, 'a lease is good until its end, and not at its end');
SELECT results_eq($$ SELECT sync_state_detect_interrupted(as_of => 'infinity') $$,
                  $$ VALUES ('alive'), ('by-hand'), ('dead'), ('dead-too') $$, 'they come in key order');
SELECT set_eq($$ SELECT sync_state_detect_interrupted(as_of => 'infinity') $$,
              ARRAY['alive', 'by-hand', 'dead', 'dead-too'], 'at the end of time none will be');

-- The view says who, why, since when, and where it can go on.
SELECT results_eq(
	$$ SELECT i.type_key, i.owner, i.reason, i.sync_progress, i.run_number
	     FROM syncstate.sync_interrupted i ORDER BY i.type_key $$,
	$$ VALUES ('by-hand' COLLATE "C", NULL, 'no_lease', '{"page": 1}'::jsonb, 0),
	          ('dead', 'worker-9', 'lease_expired', '{"step": 3, "total": 7}', 1),
	          ('dead-too', 'worker-7', 'lease_expired', NULL, 1) $$,
	'sync_interrupted: owner, reason, checkpoint, number');
SELECT results_eq(
	$$ SELECT i.type_key, i.run_id FROM syncstate.sync_interrupted i WHERE i.run_id IS NOT NULL ORDER BY i.type_key $$,
	$$ SELECT type_key, run_id FROM t.run WHERE type_key LIKE 'dead%' ORDER BY type_key $$,
	'the token of the run that stopped');
SELECT results_eq(
	$$ SELECT i.since FROM syncstate.sync_interrupted i WHERE i.type_key = 'dead' $$,
	$$ SELECT lease_expires_at FROM syncstate.sync_state WHERE type_key = 'dead' $$,
	'it is interrupted since its lease ended');
SELECT cmp_ok((sync_state_update('by-hand', '{"sync_progress": {"page": 1}}')).updated_at, '>', (sync_state_get('by-hand')).created_at,
              'a run without a lease was last heard of when its row was last written');
SELECT is((SELECT since FROM syncstate.sync_interrupted WHERE type_key = 'by-hand'), (sync_state_get('by-hand')).updated_at, '... and is interrupted since then');

SELECT is((sync_state_update('stopped', '{"sync_status": "syncing"}')).run_number, 1, 'another "syncing" by hand, on a key that has had a run');
SELECT results_eq($$ SELECT owner, reason, run_id FROM syncstate.sync_interrupted WHERE type_key = 'stopped' $$,
	$$ VALUES (NULL::text, 'no_lease', NULL::uuid) $$, '... is not said to be by who ran that one');
SELECT is((sync_state_rollback('stopped')).sync_status, 'failed', '(stopped again)');

-- Detection writes nothing.
CREATE TABLE t.before AS SELECT * FROM syncstate.sync_state;
CREATE FUNCTION t.detect_read_only() RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE found text[];
BEGIN
	BEGIN
		PERFORM set_config('transaction_read_only', 'on', true);
		found := ARRAY(SELECT sync_state_detect_interrupted() ORDER BY 1);
		RAISE EXCEPTION USING ERRCODE = 'UNDO0';
	EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
		RETURN found;
	END;
END $$;
SELECT is(t.detect_read_only(), ARRAY['by-hand', 'dead', 'dead-too'], 'it works in a READ ONLY transaction');
SELECT results_eq('SELECT * FROM syncstate.sync_state ORDER BY type_key', 'SELECT * FROM t.before ORDER BY type_key',
                  'no row has changed by looking');

-- A worker that was only slow is not interrupted any more once it proves to be alive.
SELECT cmp_ok(sync_state_checkpoint('dead', t.run('dead'), NULL), '>', clock_timestamp(), 'a heartbeat of the run renews its lease');
SELECT set_eq('SELECT sync_state_detect_interrupted()', ARRAY['by-hand', 'dead-too'], '... and it is not reported any more');

-- Nor is a key that another worker took over, or that was given up.
SELECT is((SELECT run_number FROM sync_state_begin('dead-too')), 2, 'a new run takes over');
SELECT is((SELECT outcome FROM syncstate.sync_run WHERE type_key = 'dead-too' AND run_number = 1), 'superseded',
          'the interrupted run goes into the history as superseded');
SELECT set_eq('SELECT sync_state_detect_interrupted()', ARRAY['by-hand'], 'the key is in good hands again');
SELECT is((sync_state_fail('by-hand')).sync_status, 'failed', 'the run by hand is declared failed');
SELECT is_empty('SELECT sync_state_detect_interrupted()', 'and nothing is interrupted');
SELECT is_empty('SELECT * FROM syncstate.sync_interrupted', '... in the view neither');
SELECT is((sync_state_get('by-hand')).sync_progress, '{"page": 1}'::jsonb, 'its checkpoint is still there for the next run');

-- Time goes on in a transaction that stays open: a lease that ends after it began has ended.
SELECT is((SELECT run_number FROM sync_state_begin('slow')), 1, 'a run begins');
UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() WHERE type_key = 'slow';
SELECT cmp_ok((sync_state_get('slow')).lease_expires_at, '>', now(), '... whose lease ends after this transaction began');
SELECT set_eq('SELECT sync_state_detect_interrupted()', ARRAY['slow'], '... is detected');
SELECT set_eq('SELECT type_key FROM syncstate.sync_interrupted', ARRAY['slow'], '... and in the view');

SELECT * FROM finish();
ROLLBACK;
