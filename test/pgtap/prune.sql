-- Pruning history: what has ended long enough ago, and nothing that somebody still needs.
-- What the feed makes of it is in feed_refused.sql.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(55);

CREATE SCHEMA t;
CREATE FUNCTION t.pruned(older_than interval) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(kind || ' ' || removed, ', ' ORDER BY ordinality) FROM sync_state_prune($1) WITH ORDINALITY $$;
CREATE FUNCTION t.runs() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(type_key || ' ' || run_number, ', ' ORDER BY type_key, run_number) FROM syncstate.sync_run $$;
CREATE FUNCTION t.conflicts() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(type_key || ' ' || conflict_number, ', ' ORDER BY type_key, conflict_number) FROM syncstate.sync_conflict $$;
CREATE FUNCTION t.tombstones() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(type_key, ', ' ORDER BY type_key) FROM syncstate.sync_tombstone $$;
CREATE FUNCTION t.run(type_key text, how text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		begun syncstate.sync_run = sync_state_begin(type_key);
		run uuid = begun.run_id;
	BEGIN
		IF how <> 'open' THEN
			PERFORM sync_state_checkpoint(type_key, run, to_jsonb(begun.run_number));
		END IF;
		IF how = 'synced' THEN
			PERFORM sync_state_mark_synced(type_key, 'h', 'h', run);
		ELSIF how = 'failed' THEN
			PERFORM sync_state_fail(type_key, run);
		ELSIF how = 'rolled_back' THEN
			PERFORM sync_state_rollback(type_key, run);
		END IF;
	END $$;
-- Time passes.
CREATE FUNCTION t.age(by interval) RETURNS void LANGUAGE sql AS $$
	UPDATE syncstate.sync_run SET started_at = started_at - by, finished_at = finished_at - by;
	UPDATE syncstate.sync_conflict SET detected_at = detected_at - by, resolved_at = resolved_at - by;
	UPDATE syncstate.sync_tombstone SET deleted_at = deleted_at - by $$;

SELECT incarnation FROM syncstate.sync_feed \gset
SELECT results_eq($$ SELECT * FROM sync_state_prune('0') $$, $$ VALUES ('run', 0::bigint), ('conflict', 0), ('tombstone', 0) $$, 'nothing to prune: each kind is told, with 0');

-- ---------------------------------------------------------------------------------------------
-- Runs
-- ---------------------------------------------------------------------------------------------
SELECT t.run('synced', 'synced'), t.run('synced', 'synced'),
       t.run('failed', 'failed'), t.run('failed', 'failed'), t.run('rolled', 'rolled_back'),
       t.run('recovered', 'failed'), t.run('recovered', 'synced'),
       t.run('stopped', 'failed'), t.run('stopped', 'interrupted'),
       t.run('open', 'synced'), t.run('open', 'open') \g /dev/null
UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '1 day' WHERE type_key = 'stopped';
SELECT is(t.runs(), 'failed 1, failed 2, open 1, open 2, recovered 1, recovered 2, rolled 1, stopped 1, stopped 2, synced 1, synced 2', 'a history');
SELECT is(t.pruned('1 day'), 'run 0, conflict 0, tombstone 0', 'nothing is a day old');
SELECT t.age('1 day 1 minute') \g /dev/null
SELECT is(t.pruned('2 days'), 'run 0, conflict 0, tombstone 0', 'now it is, but not two');
SELECT is(t.pruned('1 day'), 'run 7, conflict 0, tombstone 0', 'a day: finished runs');
SELECT is(t.runs(), 'failed 2, open 2, rolled 1, stopped 2', '... but neither one in hand or interrupted, nor the latest of a key that failed');
SELECT is(t.pruned('0'), 'run 0, conflict 0, tombstone 0', 'a second time there is nothing left');
-- What was kept is needed: has content moved since the checkpoint was made?
SELECT sync_state_observe('failed', 'moved') \g /dev/null
SELECT is(content_moved, true, 'the run that resumes knows what the one before had seen') FROM sync_state_resume('failed');
SELECT is(content_moved, false, '... also after an interruption') FROM sync_state_resume('stopped');
-- Numbers go on where they were.
SELECT is(run_number, 3, 'the next run of a key whose history is gone') FROM sync_state_begin('synced');
SELECT is(t.runs(), 'failed 2, failed 3, open 2, rolled 1, stopped 2, stopped 3, synced 3', 'the history goes on');
-- Ended, it goes.
SELECT sync_state_mark_synced('failed', 'h', 'h', run_id) FROM sync_state_get('failed') \g /dev/null
SELECT t.age('1 day') \g /dev/null
SELECT is(t.pruned('1 hour'), 'run 2, conflict 0, tombstone 0', 'once the key is in sync, the failed run goes as well');
SELECT is(t.runs(), 'open 2, rolled 1, stopped 2, stopped 3, synced 3', '... what is open stays, and who left the checkpoint it started from');
-- Of a row that was deleted and made anew, by plain SQL and past the trigger.
ALTER TABLE syncstate.sync_state DISABLE TRIGGER USER;
DELETE FROM syncstate.sync_state WHERE type_key = 'rolled';
ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_touch", ENABLE ALWAYS TRIGGER "~syncstate_entomb",
	ENABLE ALWAYS TRIGGER "~syncstate_refuse_truncate", ENABLE ALWAYS TRIGGER "~syncstate_announce";
SELECT is(t.pruned('1 hour'), 'run 1, conflict 0, tombstone 0', 'a run of no key');
-- What counts is when a run ended.
SELECT t.run('long', 'open'), t.run('left', 'open') \g /dev/null
UPDATE syncstate.sync_run SET started_at = started_at - interval '1 day' WHERE type_key IN ('long', 'left');
SELECT sync_state_mark_synced('long', 'h', 'h', run_id) FROM sync_state_get('long') \g /dev/null
UPDATE syncstate.sync_state SET sync_status = 'modified' WHERE type_key = 'left';
SELECT is(t.pruned('1 hour'), 'run 0, conflict 0, tombstone 0', 'one that took a day and has just ended stays, and one that nobody ended');
SELECT is(t.pruned('0'), 'run 1, conflict 0, tombstone 0', '... which is not pruned at all');
DELETE FROM syncstate.sync_state;
DELETE FROM syncstate.sync_tombstone;

-- ---------------------------------------------------------------------------------------------
-- Conflicts
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_observe('a', 'l1', 'r1'), sync_state_observe('a', 'l2', 'r1'), sync_state_resolve('a', 'local'),
       sync_state_observe('b', 'l', 'r'), sync_state_mark_synced('b', 'm', 'm'),
       sync_state_observe('c', 'l', 'r') \g /dev/null
SELECT is(t.conflicts(), 'a 1, a 2, b 1, c 1', 'a log of conflicts');
SELECT is(t.pruned('1 minute'), 'run 0, conflict 0, tombstone 0', 'not old enough');
SELECT t.age('1 minute 1 second') \g /dev/null
SELECT is(t.pruned('1 minute'), 'run 0, conflict 1, tombstone 0', 'a minute old');
SELECT is(t.conflicts(), 'a 2, b 1, c 1', 'what is open stays, and the latest of each key');
SELECT sync_state_observe('b', 'l', 'r') \g /dev/null
SELECT is(t.conflicts(), 'a 2, b 1, b 2, c 1', '... so that its number is not given again');
SELECT is((sync_state_resolve('c', 'remote', NULL, 1)).conflict_status, 'resolved', '... and can be resolved');

-- ---------------------------------------------------------------------------------------------
-- Tombstones
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_observe(k, 'h'), sync_state_forget(k) FROM unnest('{x,y,z}'::text[]) AS k \g /dev/null
SELECT is(t.tombstones(), 'x, y, z', 'tombstones');
SELECT is((SELECT pruned_xid FROM syncstate.sync_feed), 0::bigint, 'none was pruned');
UPDATE syncstate.sync_tombstone SET deleted_at = deleted_at - interval '1 hour', changed_xid = CASE type_key WHEN 'x' THEN 7 ELSE 5 END WHERE type_key IN ('x', 'y');
SELECT alike(t.pruned('30 minutes'), 'run 0, conflict %, tombstone 2', 'two are an hour old');
SELECT is(t.tombstones(), 'z', '... and are gone');
SELECT is((SELECT pruned_xid FROM syncstate.sync_feed), 7::bigint, '... up to the later one');
UPDATE syncstate.sync_tombstone SET deleted_at = deleted_at - interval '1 hour', changed_xid = 6 WHERE type_key = 'z';
SELECT alike(t.pruned('30 minutes'), '%tombstone 1', 'an earlier transaction that took longer');
SELECT is((SELECT pruned_xid FROM syncstate.sync_feed), 7::bigint, '... the mark does not go back');
SELECT alike(t.pruned('0'), '%tombstone 0', 'none');
SELECT is((SELECT pruned_xid FROM syncstate.sync_feed), 7::bigint, '... does not move it');
SELECT is((SELECT incarnation FROM syncstate.sync_feed), :'incarnation', 'the incarnation is the same');

-- ---------------------------------------------------------------------------------------------
-- Arguments
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_observe('k', 'h'), sync_state_forget('k') \g /dev/null
SELECT throws_ok('SELECT sync_state_prune(NULL)', '22004', NULL, 'NULL');
SELECT throws_ok(format('SELECT sync_state_prune(%L)', i), '22023', NULL, i) FROM unnest('{-1 second,-1 microsecond,-1 month,-100 years,1 day -25 hours}'::text[]) AS i;
SELECT throws_ok($$ SELECT sync_state_prune('290000 years') $$, '22008', NULL, 'longer than time');
-- From 17 on an interval may be infinite.
SELECT current_setting('server_version_num')::int >= 170000 AS infinite \gset
\if :infinite
SELECT is(t.pruned('infinity'), 'run 0, conflict 0, tombstone 0', 'nothing has ended for ever');
SELECT throws_ok($$ SELECT sync_state_prune('-infinity') $$, '22023', NULL, '-infinity');
\else
SELECT skip('no infinite intervals', 2);
\endif
SELECT is(t.pruned(i), 'run 0, conflict 0, tombstone 0', i::text) FROM unnest('{1 second,1 day,1 month -1 day,100 years}'::interval[]) AS i;
SELECT is(t.pruned('0'), 'run 0, conflict 0, tombstone 1', '0: whatever has ended');

-- ---------------------------------------------------------------------------------------------
-- Who may
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_observe('k', 'h'), sync_state_forget('k') \g /dev/null
DELETE FROM syncstate.sync_feed;
SELECT throws_ok($$ SELECT sync_state_prune('0') $$, '55000', NULL, 'where it cannot be noted what was pruned');
SELECT is(t.tombstones(), 'k', '... nothing is');
SELECT is(sync_state_repair(), 0, 'repair makes the row');
SELECT is(t.pruned('0'), 'run 0, conflict 0, tombstone 1', '... and it can be');
CREATE ROLE syncstate_t_pruner;
GRANT USAGE ON SCHEMA syncstate, t TO syncstate_t_pruner;
SET LOCAL ROLE syncstate_t_pruner;
SELECT throws_ok($$ SELECT sync_state_prune('0') $$, '42501', NULL, 'no privileges');
RESET ROLE;
GRANT SELECT, DELETE ON syncstate.sync_run, syncstate.sync_conflict, syncstate.sync_tombstone TO syncstate_t_pruner;
GRANT SELECT ON syncstate.sync_state TO syncstate_t_pruner;
SET LOCAL ROLE syncstate_t_pruner;
SELECT is(t.pruned('0'), 'run 0, conflict 0, tombstone 0', 'DELETE on the history is enough while there are no tombstones');
RESET ROLE;
SELECT sync_state_observe('k', 'h'), sync_state_forget('k') \g /dev/null
SET LOCAL ROLE syncstate_t_pruner;
SELECT throws_ok($$ SELECT sync_state_prune('0') $$, '42501', NULL, '... else what was pruned has to be noted');
RESET ROLE;
GRANT SELECT, UPDATE ON syncstate.sync_feed TO syncstate_t_pruner;
SET LOCAL ROLE syncstate_t_pruner;
SELECT is(t.pruned('0'), 'run 0, conflict 0, tombstone 1', 'with UPDATE on sync_feed');
RESET ROLE;
SET LOCAL transaction_read_only = on;
SELECT throws_ok($$ SELECT sync_state_prune('0') $$, '25006', NULL, 'in a READ ONLY transaction');

SELECT * FROM finish();
ROLLBACK;
