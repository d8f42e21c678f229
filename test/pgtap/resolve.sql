-- Resolving conflicts: the bases move so that the next delta does what was resolved; the log says
-- who, when and how; and nobody resolves what he has not seen.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(161);

CREATE SCHEMA t;
CREATE FUNCTION t.next(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT (d->>'action') || ' ' || (d->>'detail') FROM sync_state_delta($1) AS d $$;
CREATE FUNCTION t.hashes(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(local_hash, '-'), coalesce(remote_hash, '-'), coalesce(last_synced_hash, '-'), coalesce(last_synced_remote_hash, '-'))
	  FROM sync_state_get($1) $$;
CREATE FUNCTION t.status(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT concat_ws('/', sync_status, conflict_status) FROM sync_state_get($1) $$;
-- The log of a key: number, kind, how it ended, for what.
CREATE FUNCTION t.log(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(' ', conflict_number, kind, coalesce(resolution, 'open'), resolved_hash), ', ' ORDER BY conflict_number)
	  FROM syncstate.sync_conflict c WHERE c.type_key = $1 $$;
-- A row as it is, but for what every write moves.
CREATE FUNCTION t.row(type_key text) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(s) FROM sync_state_get($1) AS s $$;

-- ---------------------------------------------------------------------------------------------
-- Every kind of conflict, resolved in every way
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.case (kind text, l text, r text, how text, merged text, hashes text, next text, status text, resolved_hash text);
-- Synced as b/B, then our side became l and the other r; "create/create" was never synced.
INSERT INTO t.case VALUES
	('edit/edit',     'l1', 'r1', 'local',  NULL, 'l1 r1 b r1',  'PUSH edit', 'modified', 'l1'),
	('edit/edit',     'l1', 'r1', 'remote', NULL, 'l1 r1 l1 B',  'PULL edit', 'modified', 'r1'),
	('edit/edit',     'l1', 'r1', 'merged', 'm1', 'm1 r1 r1 r1', 'PUSH edit', 'modified', 'm1'),
	('edit/edit',     'l1', 'r1', 'merged', 'r1', 'r1 r1 r1 r1', 'NO_CHANGE unchanged', 'in_sync', 'r1'),
	('edit/edit',     'l1', 'r1', 'merged', 'l1', 'l1 r1 r1 r1', 'PUSH edit', 'modified', 'l1'),
	('edit/edit',     'l1', 'r1', 'merged', 'b',  'b r1 r1 r1',  'PUSH edit', 'modified', 'b'),
	('edit/edit',     'l1', 'r1', 'merged', '',   ' r1 r1 r1',   'PUSH edit', 'modified', ''),
	('edit/delete',   'l1', NULL, 'local',  NULL, 'l1 - b -',    'PUSH create', 'modified', 'l1'),
	('edit/delete',   'l1', NULL, 'remote', NULL, 'l1 - l1 B',   'PULL delete', 'modified', NULL),
	('edit/delete',   'l1', NULL, 'merged', 'm1', 'm1 - - -',    'PUSH create', 'modified', 'm1'),
	('delete/edit',   NULL, 'r1', 'local',  NULL, '- r1 b r1',   'PUSH delete', 'modified', NULL),
	('delete/edit',   NULL, 'r1', 'remote', NULL, '- r1 - B',    'PULL create', 'modified', 'r1'),
	('delete/edit',   NULL, 'r1', 'merged', 'm1', 'm1 r1 r1 r1', 'PUSH edit', 'modified', 'm1'),
	('delete/edit',   NULL, 'r1', 'merged', 'r1', 'r1 r1 r1 r1', 'NO_CHANGE unchanged', 'in_sync', 'r1'),
	('create/create', 'l1', 'r1', 'local',  NULL, 'l1 r1 - r1',  'PUSH edit', 'modified', 'l1'),
	('create/create', 'l1', 'r1', 'remote', NULL, 'l1 r1 l1 -',  'PULL edit', 'modified', 'r1'),
	('create/create', 'l1', 'r1', 'merged', 'm1', 'm1 r1 r1 r1', 'PUSH edit', 'modified', 'm1'),
	('create/create', 'l1', 'r1', 'merged', 'r1', 'r1 r1 r1 r1', 'NO_CHANGE unchanged', 'in_sync', 'r1');
ALTER TABLE t.case ADD key text;
UPDATE t.case SET key = concat_ws(' ', kind, how, merged, CASE WHEN merged = '' THEN 'empty' END);
SELECT sync_state_mark_synced(key, 'b', 'B') FROM t.case WHERE kind <> 'create/create' \g /dev/null
SELECT is(sync_state_observe(key, l, r, l IS NULL, r IS NULL)->>'action', CASE kind WHEN 'create/create' THEN 'INITIAL_SYNC' ELSE 'CONFLICT' END, key || ': conflict')
  FROM t.case ORDER BY key;
SELECT is(t.log(key), '1 ' || kind || ' open', key || ': logged') FROM t.case ORDER BY key;
SELECT is((sync_state_resolve(key, how, merged)).sync_status, status, key || ': resolved') FROM t.case ORDER BY key;
SELECT is(t.hashes(key), hashes, key || ': hashes and bases') FROM t.case ORDER BY key;
SELECT is(t.next(key), next, key || ': what comes next') FROM t.case ORDER BY key;
SELECT results_eq($$ SELECT key, t.status(key), t.log(key) FROM t.case ORDER BY key $$,
	$$ SELECT key, status || '/resolved', concat_ws(' ', '1', kind, how, resolved_hash) FROM t.case ORDER BY key $$, 'the status, and the log');
SELECT is_empty($$ SELECT key FROM t.case WHERE to_jsonb(sync_state_observe(key, l, r, l IS NULL, r IS NULL))->>'action' <> split_part(next, ' ', 1) AND merged IS NULL $$,
	'who observes the same again still finds what was resolved');
SELECT is_empty($$ SELECT key, t.log(key) FROM t.case WHERE merged IS NULL AND t.log(key) LIKE '%,%' $$, '... and no conflict');

-- ---------------------------------------------------------------------------------------------
-- What it returns, and the log
-- ---------------------------------------------------------------------------------------------
CREATE ROLE syncstate_t_resolver;
GRANT USAGE ON SCHEMA syncstate, t TO syncstate_t_resolver;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA syncstate TO syncstate_t_resolver;
SELECT sync_state_mark_synced('log', 'b', 'b'), sync_state_observe('log', 'l', 'r') \g /dev/null
SET LOCAL ROLE syncstate_t_resolver;
CREATE TEMPORARY TABLE returned AS SELECT * FROM sync_state_resolve('log', 'remote');
RESET ROLE;
SELECT results_eq('SELECT * FROM returned', $$ SELECT * FROM syncstate.sync_state WHERE type_key = 'log' $$, 'it returns the row as stored');
SELECT results_eq($$ SELECT kind, base_local_hash, base_remote_hash, local_hash, remote_hash, resolution, resolved_hash, resolved_by FROM syncstate.sync_conflict WHERE type_key = 'log' $$,
	$$ VALUES ('edit/edit', 'b', 'b', 'l', 'r', 'remote', 'r', 'syncstate_t_resolver') $$, 'the log tells what collided, how it was resolved, and who did');
SELECT ok(resolved_at BETWEEN now() AND clock_timestamp() AND resolved_at >= detected_at, '... and when') FROM syncstate.sync_conflict WHERE type_key = 'log';
SELECT is(last_sync_at, NULL, 'it is no sync: last_sync_at stays')
  FROM syncstate.sync_state WHERE type_key = 'create/create local';
SELECT throws_ok($$ SELECT sync_state_resolve('log', 'remote') $$, '55000', '"log" is not in conflict', 'resolved once, it is not in conflict any more');

-- A resolution is carried out, and the key is in sync.
SELECT is((sync_state_mark_synced('log', 'r', 'r')).conflict_status, 'none', 'the sync that carries it out');
SELECT is(t.status('log') || ' ' || t.next('log'), 'in_sync/none NO_CHANGE unchanged', '... leaves it in sync');
SELECT is(t.log('log'), '1 edit/edit remote r', '... and the log as it was');

-- ---------------------------------------------------------------------------------------------
-- conflict_number: for who has looked at one
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_mark_synced('page', 'b', 'b'), sync_state_observe('page', 'l1', 'r1') \g /dev/null
CREATE TABLE t.page AS SELECT t.row('page'), t.log('page');
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'local', NULL, 2) $$, '55000', 'conflict 2 of "page" is no longer the open one', 'a number that is not the open one');
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'local', NULL, 0) $$, '55000', NULL, '0');
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'local', NULL, -1) $$, '55000', NULL, '-1');
SELECT results_eq('SELECT * FROM t.page', $$ SELECT t.row('page'), t.log('page') $$, '... changes nothing');
SELECT sync_state_observe('page', 'l1', 'r1') \g /dev/null
SELECT is(t.log('page'), '1 edit/edit open', 'seen twice it is one row');
SELECT sync_state_observe('page', 'l2') \g /dev/null
SELECT is(t.log('page'), '1 edit/edit vanished, 2 edit/edit open', 'a side moves on: another conflict');
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'remote', NULL, 1) $$, '55000', NULL, 'who looked at the first is refused');
SELECT sync_state_update('page', '{"remote_hash": "r2"}') \g /dev/null
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'remote', NULL, 2) $$, '55000', NULL, 'the number is right, but a hash has moved under it, unobserved');
SELECT is(t.log('page'), '1 edit/edit vanished, 2 edit/edit open', '... and the log is as it was');
SELECT sync_state_update('page', '{"remote_hash": "r1", "last_synced_hash": "b2"}') \g /dev/null
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'remote', NULL, 2) $$, '55000', NULL, 'nor if a base has');
SELECT sync_state_update('page', '{"last_synced_hash": "b"}') \g /dev/null
SELECT is((sync_state_resolve('page', 'remote', NULL, 2)).conflict_status, 'resolved', 'moved back, it is what was looked at');
SELECT is(t.log('page'), '1 edit/edit vanished, 2 edit/edit remote r1', '... and is resolved');
SELECT throws_ok($$ SELECT sync_state_resolve('page', 'remote', NULL, 2) $$, '55000', NULL, 'with the number: once, too');
-- Without a number, what conflicts now is resolved, and logged as it was.
SELECT sync_state_mark_synced('moved', 'b', 'b'), sync_state_observe('moved', 'l1', 'r1'), sync_state_update('moved', '{"local_hash": "l2"}') \g /dev/null
SELECT is((sync_state_resolve('moved', 'local')).last_synced_remote_hash, 'r1', 'the sides moved on, unobserved; no number');
SELECT is(t.log('moved'), '1 edit/edit vanished, 2 edit/edit local l2', '... the log tells of the conflict that was resolved');

-- Nobody observed it: raw updates.
SELECT sync_state_update('raw', '{"local_hash": "l", "remote_hash": "r"}') \g /dev/null
SELECT is(t.log('raw'), NULL, 'two sides that differ, set by update: not logged');
SELECT throws_ok($$ SELECT sync_state_resolve('raw', 'local', NULL, 1) $$, '55000', NULL, '... so it has no number');
SELECT is((sync_state_resolve('raw', 'local')).sync_status, 'modified', '... but can be resolved');
SELECT is(t.log('raw') || '; ' || t.next('raw'), '1 create/create local l; PUSH edit', '... and is logged then');

-- ---------------------------------------------------------------------------------------------
-- Conflicts that end otherwise
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_mark_synced('gone', 'b', 'b'), sync_state_observe('gone', 'l', 'r') \g /dev/null
SELECT is(sync_state_observe('gone', 'r')->>'action', 'NO_CHANGE', 'our side becomes what theirs is');
SELECT is(t.log('gone') || '; ' || t.status('gone'), '1 edit/edit vanished; in_sync/none', '... the conflict has vanished');
SELECT throws_ok($$ SELECT sync_state_resolve('gone', 'local') $$, '55000', NULL, '... and cannot be resolved');
SELECT is(sync_state_observe('gone', 'l3', 'r3')->>'action', 'CONFLICT', 'the next one');
SELECT is(sync_state_observe('gone', 'r')->>'action', 'PULL', 'our edit is taken back');
SELECT is(t.log('gone'), '1 edit/edit vanished, 2 edit/edit vanished', '... vanished as well');
SELECT is(resolved_hash IS NULL AND resolved_by = current_user AND resolved_at IS NOT NULL, true, '... ended, but decided by nobody')
  FROM syncstate.sync_conflict WHERE type_key = 'gone' AND conflict_number = 2;
SELECT is(sync_state_observe_many('{gone}', '{l4}', '{r4}'), 1, 'by a batch');
SELECT is((sync_state_mark_synced('gone', 'm', 'm')).sync_status, 'in_sync', 'someone just syncs');
SELECT is(t.log('gone'), '1 edit/edit vanished, 2 edit/edit vanished, 3 edit/edit synced', '... settled by that');
SELECT sync_state_observe('gone', 'l5', 'r5'), sync_state_reset('gone') \g /dev/null
SELECT is(t.log('gone'), '1 edit/edit vanished, 2 edit/edit vanished, 3 edit/edit synced, 4 edit/edit vanished', 'reset: what collided is forgotten');
SELECT is((sync_state_resolve('gone', 'remote')).sync_status, 'modified', '... now it is a first sync that collides');
SELECT matches(t.log('gone'), ', 5 create/create remote r5$', '... and is resolved as one');

-- ---------------------------------------------------------------------------------------------
-- Runs
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_mark_synced('run', 'b', 'b') \g /dev/null
SELECT run_id AS run FROM sync_state_begin('run', '1 hour', 'worker-1') \gset
SELECT sync_state_observe('run', 'l', 'r') \g /dev/null
CREATE TABLE t.held AS SELECT t.row('run'), t.log('run');
SELECT throws_ok($$ SELECT sync_state_resolve('run', 'local') $$, '55P03', '"run" is held by a live run', 'a live run decides itself');
SELECT results_eq('SELECT * FROM t.held', $$ SELECT t.row('run'), t.log('run') $$, '... and nothing was changed');
-- Its lease ends.
UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '1 second', sync_progress = '{"step": 3}' WHERE type_key = 'run';
SELECT is((SELECT array_agg(k) FROM sync_state_detect_interrupted() AS k), '{run}', 'an interrupted run');
SELECT is((sync_state_resolve('run', 'local')).sync_status, 'modified', '... does not keep its key from being resolved');
SELECT is(t.status('run') || '; ' || t.log('run') || '; ' || t.next('run'), 'modified/resolved; 1 edit/edit local l; PUSH edit', '... as any');
SELECT results_eq($$ SELECT run_id, lease_expires_at FROM syncstate.sync_state WHERE type_key = 'run' $$, 'VALUES (NULL::uuid, NULL::timestamptz)', 'the run has lost it');
SELECT is(outcome, 'superseded', '... says the history') FROM syncstate.sync_run WHERE type_key = 'run';
SELECT throws_ok(format($$ SELECT sync_state_checkpoint('run', %L, '{}') $$, :'run'), '55000', NULL, '... and its checkpoints are refused');
SELECT is(sync_progress, NULL, 'the next run begins at the beginning: it has other content to move') FROM sync_state_begin('run');
-- Failed.
SELECT sync_state_mark_synced('failed', 'b', 'b') \g /dev/null
SELECT run_id AS run FROM sync_state_begin('failed') \gset
SELECT sync_state_checkpoint('failed', :'run', '{"step": 1}'), sync_state_fail('failed', :'run', 'the network'), sync_state_observe('failed', 'l', 'r') \g /dev/null
SELECT is(t.status('failed'), 'failed/none', 'a failed key whose sides collide');
SELECT is((sync_state_resolve('failed', 'remote')).sync_status, 'modified', '... can be resolved');
SELECT is(t.log('failed') || '; ' || t.next('failed'), '1 edit/edit remote r; PULL edit', '... like any');
SELECT is(outcome || ' ' || error, 'failed the network', '... the history of the run stays') FROM syncstate.sync_run WHERE type_key = 'failed';

-- ---------------------------------------------------------------------------------------------
-- Arguments
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_observe('arg', 'l', 'r') \g /dev/null
SELECT throws_ok(format('SELECT sync_state_resolve(%s)', args), state, NULL, args)
  FROM (VALUES (1, 'NULL, ''local''', '22004'),
               (2, ''''', ''local''', '22023'),
               (3, 'repeat(''k'', 513), ''local''', '22023'),
               (4, '''arg'', NULL', '22004'),
               (5, '''arg'', ''''', '22023'),
               (6, '''arg'', ''LOCAL''', '22023'),
               (7, '''arg'', ''ours''', '22023'),
               (8, '''arg'', ''vanished''', '22023'),
               (9, '''arg'', ''synced''', '22023'),
               (10, '''arg'', ''merged''', '22004'),
               (11, '''arg'', ''local'', ''m''', '22023'),
               (12, '''arg'', ''remote'', ''m''', '22023'),
               (13, '''unknown'', ''local''', 'P0002'),
               (14, '''gone'', ''local''', '55000')) AS v (n, args, state) ORDER BY n;
SELECT is(t.log('arg') || '; ' || t.status('arg'), '1 create/create open; conflict/detected', 'what was refused changed nothing');

SELECT * FROM finish();
ROLLBACK;
