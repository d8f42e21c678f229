-- A run that stopped half-way leaves sides that look like a conflict, and may have met a real one:
-- what a pool of workers takes up, what it leaves to people, and what they see of it.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(36);

CREATE SCHEMA t;
CREATE FUNCTION t.claimed() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(type_key, ' ' ORDER BY type_key), '-') FROM sync_state_claim(10, retry_after => '0') $$;
CREATE FUNCTION t.action(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT sync_state_delta($1)->>'action' $$;

-- All were in sync; then a run pushed a part of ours, and an observer saw the other side move.
SELECT sync_state_mark_synced(k, 'b', 'b') FROM unnest('{interrupted,failed_midway,failed_at_once,detected}'::text[]) AS k \g /dev/null
SELECT sync_state_begin(k) FROM unnest('{interrupted,failed_midway,failed_at_once}'::text[]) AS k \g /dev/null
SELECT sync_state_checkpoint(k, run_id, '{"step": 1}') FROM sync_state_list('syncing') AS s(k) WHERE k <> 'failed_at_once' \g /dev/null
SELECT sync_state_fail('failed_midway', run_id), sync_state_fail('failed_at_once', (SELECT run_id FROM sync_state_get('failed_at_once')))
  FROM sync_state_get('failed_midway') \g /dev/null
SELECT sync_state_observe(k, 'l', 'r') FROM unnest('{interrupted,failed_midway,failed_at_once,detected}'::text[]) AS k \g /dev/null
UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '1 hour' WHERE type_key = 'interrupted';

SELECT is(t.action(k), 'CONFLICT', k || ' looks like a conflict')
  FROM unnest('{interrupted,failed_midway,failed_at_once,detected}'::text[]) AS k;
SELECT is(t.claimed(), 'failed_midway interrupted',
	'claimed is what stopped half-way; not what was in conflict, nor what failed before it had done anything');

-- A key whose conflict was known before the run is left to people, however the run ended.
SELECT sync_state_begin('detected') \g /dev/null
UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '1 hour';
SELECT is(t.claimed(), 'failed_midway interrupted', 'a conflict that was detected is never claimed, interrupted or not');

-- People see it, resolve it, and the pool goes on, from the beginning.
SELECT is((SELECT action FROM syncstate.sync_overview WHERE type_key = 'failed_at_once'), 'CONFLICT', 'the overview tells of it');
SELECT is((sync_state_resolve('failed_at_once', 'local')).sync_status, 'modified', 'it can be resolved');
SELECT is((SELECT resolution FROM syncstate.sync_conflict WHERE type_key = 'failed_at_once'), 'local', '... which is logged, though nobody had logged the conflict');
SELECT is(t.claimed(), 'failed_at_once', '... and it is claimed');

SELECT sync_state_fail('failed_midway', run_id) FROM sync_state_get('failed_midway') \g /dev/null
SELECT isnt((SELECT sync_progress FROM sync_state_get('failed_midway')), NULL, 'a checkpoint of a run that failed');
SELECT is((sync_state_resolve('failed_midway', 'remote')).sync_progress, NULL, 'resolving drops it: it was on the way to something else');
SELECT throws_ok($$ SELECT sync_state_resume('failed_midway') $$, 'P0002', 'no sync progress found to resume', '... so there is nothing to resume');
SELECT is((sync_state_begin('failed_midway')).sync_progress, NULL, '... and the next run starts from the beginning');

-- ---------------------------------------------------------------------------------------------
-- No conflict stays unlogged, no observation is swallowed
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_update('raw', '{"local_hash": "l", "remote_hash": "r", "sync_status": "conflict", "conflict_status": "detected"}') \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_conflict WHERE type_key = 'raw'), 0::bigint, 'a raw update derives nothing');
SELECT sync_state_observe('raw', 'l', 'r') \g /dev/null
SELECT is((SELECT string_agg(kind, ' ') FROM syncstate.sync_conflict WHERE type_key = 'raw'), 'create/create', 'observing the same hashes logs the conflict');
SELECT sync_state_update('raw2', '{"local_hash": "l", "remote_hash": "r", "sync_status": "conflict", "conflict_status": "detected"}') \g /dev/null
SELECT is(sync_state_observe_many('{raw,raw2}', '{l,l}', '{r,r}'), 0, 'a listing of the same hashes changes no row');
SELECT is((SELECT string_agg(type_key || ' ' || kind, ', ' ORDER BY type_key) FROM syncstate.sync_conflict WHERE type_key ~ '^raw'),
	'raw create/create, raw2 create/create', '... and logs what was not logged');

-- What a plain write has moved under an open conflict, the next observation settles, though it changes no row.
CREATE FUNCTION t.log(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', conflict_number, kind, coalesce(remote_hash, '-'), coalesce(resolution, 'open')), ', ' ORDER BY conflict_number)
	  FROM syncstate.sync_conflict c WHERE c.type_key = $1 $$;
SELECT sync_state_mark_synced(k, 'b', 'b'), sync_state_observe(k, 'l', 'r') FROM unnest('{one,many,all,one_over,many_over,all_over}'::text[]) AS k \g /dev/null
UPDATE syncstate.sync_state SET remote_hash = 'r2' WHERE type_key IN ('one', 'many', 'all');
UPDATE syncstate.sync_state SET remote_hash = NULL, local_hash = NULL, last_synced_hash = NULL, last_synced_remote_hash = NULL,
       sync_status = 'in_sync', conflict_status = 'none' WHERE type_key LIKE '%\_over';
SELECT is(sync_state_observe('one')->>'action', 'CONFLICT', 'the other side has moved on by a plain write, and is observed as it is');
SELECT is(t.log('one'), '1 edit/edit r vanished, 2 edit/edit r2 open', '... which logs what conflicts now');
SELECT is(sync_state_observe_many('{many}', NULL, NULL), 0, '... in a listing');
SELECT is(t.log('many'), '1 edit/edit r vanished, 2 edit/edit r2 open', '... likewise');
SELECT is(sync_state_observe('one_over')->>'action', 'NO_CHANGE', 'a plain write has ended the conflict');
SELECT is(t.log('one_over'), '1 edit/edit r vanished', '... which the log tells then');
SELECT is(sync_state_observe_many('{many_over}', NULL, NULL), 0, '... in a listing');
SELECT is(t.log('many_over'), '1 edit/edit r vanished', '... likewise');
SELECT is(t.log('all') || '; ' || t.log('all_over'), '1 edit/edit r open; 1 edit/edit r open', 'what is not observed is left alone');
SELECT is(sync_state_observe_many('{}', NULL, NULL, complete => true), 0, 'a complete listing observes what it does not list');
SELECT is(t.log('all') || '; ' || t.log('all_over'), '1 edit/edit r vanished, 2 edit/edit r2 open; 1 edit/edit r vanished', '... and so their log is right, too');

-- An observation during a run leaves the log to the end of the run, whatever a plain write made of conflict_status.
SELECT sync_state_begin('one') \g /dev/null
UPDATE syncstate.sync_state SET conflict_status = NULL WHERE type_key = 'one';
SELECT is(sync_state_observe('one', 'l3')->>'action', 'CONFLICT', 'during a run an edit is observed');
SELECT is(t.log('one'), '1 edit/edit r vanished, 2 edit/edit r2 open', '... and the log is left alone');

-- A stray checkpoint does not make a run that stopped half-way.
DELETE FROM syncstate.sync_state;
SELECT sync_state_update('stray', '{"local_hash": "l", "remote_hash": "r", "sync_status": "modified", "sync_progress": {"step": 1}}') \g /dev/null
SELECT is(t.action('stray'), 'INITIAL_SYNC', 'hashes that conflict, unobserved, and a checkpoint that no run has left');
SELECT is(t.claimed(), '-', '... are not claimed');

CREATE FUNCTION t.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER a_swallow BEFORE INSERT OR UPDATE ON syncstate.sync_state FOR EACH ROW WHEN (NEW.type_key ~ '^swallowed') EXECUTE FUNCTION t.swallow();
SELECT throws_ok($$ SELECT sync_state_observe('swallowed', 'l') $$, '55000', 'the row of "swallowed" could not be written', 'a trigger that swallows a new row is told of');
ALTER TABLE syncstate.sync_state DISABLE TRIGGER a_swallow;
SELECT sync_state_observe('swallowed', 'l') \g /dev/null
ALTER TABLE syncstate.sync_state ENABLE TRIGGER a_swallow;
SELECT throws_ok($$ SELECT sync_state_observe('swallowed', 'm') $$, '55000', 'the row of "swallowed" could not be written', '... and one that swallows a change');
SELECT lives_ok($$ SELECT sync_state_observe('swallowed', 'l') $$, '... but where there is nothing to write, nothing is missed');

SELECT * FROM finish();
ROLLBACK;
