-- The table "Status after a call", row by row: what a call leaves in sync_status and
-- conflict_status, what it logs in sync_conflict, and which bases it moves.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(95);

CREATE SCHEMA t;
CREATE FUNCTION t.status(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(sync_status, '-') || '/' || coalesce(conflict_status, '-') FROM sync_state_get($1) $$;
CREATE FUNCTION t.status(s syncstate.sync_state) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(s.sync_status, '-') || '/' || coalesce(s.conflict_status, '-') $$;
CREATE FUNCTION t.bases(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(last_synced_hash, '-') || ' ' || coalesce(last_synced_remote_hash, '-') FROM sync_state_get($1) $$;
-- The conflict log of a key, one line a row: number, kind, bases, hashes, how it was closed.
CREATE FUNCTION t.log(type_key text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s base=%s,%s seen=%s,%s %s', conflict_number, kind,
	              coalesce(base_local_hash, '-'), coalesce(base_remote_hash, '-'),
	              coalesce(local_hash, '-'), coalesce(remote_hash, '-'),
	              CASE WHEN resolved_at IS NULL THEN 'open' ELSE resolution END)
	  FROM syncstate.sync_conflict WHERE sync_conflict.type_key = $1 ORDER BY conflict_number $$;
-- A key as it is after a sync of content with this hash.
CREATE FUNCTION t.synced(type_key text, hash text DEFAULT 'a') RETURNS text LANGUAGE sql AS $$
	SELECT (sync_state_mark_synced($1, $2, $2)).sync_status $$;
CREATE FUNCTION t.verdict(d jsonb) RETURNS text LANGUAGE sql AS $$ SELECT (d->>'action') || ' ' || (d->>'detail') $$;

-- ---------------------------------------------------------------------------------------------
-- observe -> NO_CHANGE, or INITIAL_SYNC adopt: in_sync / none
-- ---------------------------------------------------------------------------------------------
SELECT is(t.synced('unchanged'), 'in_sync', 'unchanged: after a sync');
SELECT last_sync_at AS at, updated_at AS touched FROM sync_state_get('unchanged') \gset
SELECT is(t.verdict(sync_state_observe('unchanged', 'a', 'a')), 'NO_CHANGE unchanged', '... the same is seen');
SELECT is(t.status('unchanged'), 'in_sync/none', '... in_sync / none');
SELECT is((sync_state_get('unchanged')).last_sync_at, :'at'::timestamptz, '... no base had to move, so last_sync_at stays');
SELECT is((sync_state_get('unchanged')).updated_at, :'touched'::timestamptz, '... and the row was not written at all');

SELECT is(t.synced('converged'), 'in_sync', 'converged: after a sync');
SELECT last_sync_at AS at FROM sync_state_get('converged') \gset
SELECT is(t.verdict(sync_state_delta('converged', 'b', 'b')), 'NO_CHANGE converged', '... the same edit on both sides');
SELECT is(t.verdict(sync_state_observe('converged', 'b', 'b')), 'NO_CHANGE unchanged', '... is observed; the delta after it has nothing left');
SELECT is(t.status('converged') || ' ' || t.bases('converged'), 'in_sync/none b b', '... in_sync / none, and the bases have moved');
SELECT cmp_ok((sync_state_get('converged')).last_sync_at, '>', :'at'::timestamptz, '... so has last_sync_at');

SELECT is(t.synced('gone'), 'in_sync', 'both_deleted: after a sync');
SELECT last_sync_at AS at FROM sync_state_get('gone') \gset
SELECT is(t.verdict(sync_state_observe('gone', local_absent => true, remote_absent => true)), 'NO_CHANGE unchanged', '... both sides are gone');
SELECT is(t.status('gone') || ' ' || t.bases('gone'), 'in_sync/none - -', '... in_sync / none, bases absent');
SELECT cmp_ok((sync_state_get('gone')).last_sync_at, '>', :'at'::timestamptz, '... and last_sync_at has moved: this is not "never synced"');

SELECT is(t.verdict(sync_state_delta('adopted', 'a', 'a')), 'INITIAL_SYNC adopt', 'adopt: an unknown key, equal on both sides');
SELECT is(t.verdict(sync_state_observe('adopted', 'a', 'a')), 'NO_CHANGE unchanged', '... is observed and thereby in sync');
SELECT is(t.status('adopted') || ' ' || t.bases('adopted'), 'in_sync/none a a', '... in_sync / none, with bases');
SELECT isnt((sync_state_get('adopted')).last_sync_at, NULL, '... and a time');

-- ---------------------------------------------------------------------------------------------
-- observe -> PUSH, PULL: modified / none
-- ---------------------------------------------------------------------------------------------
SELECT is(t.synced('m'), 'in_sync', 'modified: after a sync');
SELECT is(t.verdict(sync_state_observe('m', 'b')), 'PUSH edit', 'PUSH edit');
SELECT is(t.status('m') || ' ' || t.bases('m'), 'modified/none a a', '... modified / none, bases kept');
SELECT is(t.verdict(sync_state_observe('m', 'a', 'b')), 'PULL edit', 'PULL edit');
SELECT is(t.status('m') || ' ' || t.bases('m'), 'modified/none a a', '... modified / none, bases kept');
SELECT is(t.verdict(sync_state_observe('m', 'a', remote_absent => true)), 'PULL delete', 'PULL delete');
SELECT is(t.status('m'), 'modified/none', '... modified / none');
SELECT is(t.verdict(sync_state_observe('m', remote_hash => 'a', local_absent => true)), 'PUSH delete', 'PUSH delete');
SELECT is(t.status('m'), 'modified/none', '... modified / none');
SELECT is(t.verdict(sync_state_observe('m', 'a', 'a')), 'NO_CHANGE unchanged', 'all is taken back');
SELECT is(t.status('m'), 'in_sync/none', '... in_sync / none');

-- ---------------------------------------------------------------------------------------------
-- observe -> INITIAL_SYNC empty, push, pull: new / none
-- ---------------------------------------------------------------------------------------------
SELECT is(t.verdict(sync_state_observe('n')), 'INITIAL_SYNC empty', 'an unknown key of which nothing was seen');
SELECT is(t.status('n'), 'new/none', '... new / none');
SELECT is(t.verdict(sync_state_observe('n', 'a')), 'INITIAL_SYNC push', 'our side has it');
SELECT is(t.status('n'), 'new/none', '... new / none');
SELECT is(t.verdict(sync_state_observe('n', local_absent => true, remote_hash => 'a')), 'INITIAL_SYNC pull', 'the other side has it');
SELECT is(t.status('n'), 'new/none', '... new / none');
SELECT is((sync_state_get('n')).last_sync_at, NULL, 'it is still never synced');

-- ---------------------------------------------------------------------------------------------
-- observe -> CONFLICT, INITIAL_SYNC conflict: conflict / detected, logged once
-- ---------------------------------------------------------------------------------------------
SELECT is(t.verdict(sync_state_observe('c', 'a', 'b')), 'INITIAL_SYNC conflict', 'created on both sides, differently');
SELECT is(t.status('c'), 'conflict/detected', '... conflict / detected');
SELECT is(t.verdict(sync_state_observe('c', 'a', 'b')), 'INITIAL_SYNC conflict', 'seen again');
SELECT results_eq($$ SELECT t.log('c') $$, ARRAY['1 create/create base=-,- seen=a,b open'], '... logged once, as create/create');

SELECT is(sync_state_mark_synced_many('{c,d,e}', '{a,a,a}', '{a,a,a}'), 3, 'three keys in sync, one of them by ending its conflict');
SELECT is(t.status('c'), 'in_sync/none', 'mark_synced over a conflict: in_sync / none');
SELECT results_eq($$ SELECT t.log('c') $$, ARRAY['1 create/create base=-,- seen=a,b synced'], '... and the log row is closed as synced');
SELECT is(t.verdict(sync_state_observe('c', 'b', 'c')), 'CONFLICT edit/edit', 'edit/edit');
SELECT is(t.verdict(sync_state_observe('d', 'b', remote_absent => true)), 'CONFLICT edit/delete', 'edit/delete');
SELECT is(t.verdict(sync_state_observe('e', remote_hash => 'b', local_absent => true)), 'CONFLICT delete/edit', 'delete/edit');
SELECT is(t.status('c') || ' ' || t.status('d') || ' ' || t.status('e'),
          'conflict/detected conflict/detected conflict/detected', '... each conflict / detected');
SELECT is(t.bases('c') || ' ' || t.bases('d') || ' ' || t.bases('e'), 'a a a a a a', '... bases kept');
SELECT results_eq($$ SELECT k || ': ' || l FROM unnest('{c,d,e}'::text[]) k, t.log(k) l ORDER BY k, l $$,
	ARRAY['c: 1 create/create base=-,- seen=a,b synced',
	      'c: 2 edit/edit base=a,a seen=b,c open',
	      'd: 1 edit/delete base=a,a seen=b,- open',
	      'e: 1 delete/edit base=a,a seen=-,b open'],
	'... the log has kind, number within the key, bases and hashes');
SELECT is(sync_state_observe_many('{c,d,e}', '{b,b,NULL}', '{c,NULL,b}'), 0, 'seen again, in bulk: nothing changes');
SELECT is((SELECT count(*) FROM syncstate.sync_conflict), 4::bigint, '... no log row is added');

-- The conflict changes while it is open.
SELECT is(t.verdict(sync_state_observe('c', 'd')), 'CONFLICT edit/edit', 'our side is edited again');
SELECT results_eq($$ SELECT t.log('c') $$,
	ARRAY['1 create/create base=-,- seen=a,b synced', '2 edit/edit base=a,a seen=b,c vanished', '3 edit/edit base=a,a seen=d,c open'],
	'the old log row is closed as vanished, a new one opened');
SELECT is(t.verdict(sync_state_observe('c', remote_absent => true)), 'CONFLICT edit/delete', 'the other side is deleted');
SELECT is((SELECT l FROM t.log('c') l WHERE l LIKE '% open'), '4 edit/delete base=a,a seen=d,- open', '... which is a conflict of another kind');
SELECT is((SELECT count(*) FROM syncstate.sync_conflict WHERE type_key = 'c' AND resolved_at IS NULL), 1::bigint, 'one open row per key');

-- "likewise": whatever is not a conflict closes an open one as vanished.
SELECT is(t.verdict(sync_state_observe('c', 'a', 'a')), 'NO_CHANGE unchanged', 'NO_CHANGE');
SELECT is(t.verdict(sync_state_observe('d', 'a')), 'PULL delete', 'PULL');
SELECT is(t.verdict(sync_state_observe('e', remote_hash => 'a')), 'PUSH delete', 'PUSH');
SELECT is(t.status('c') || ' ' || t.status('d') || ' ' || t.status('e'), 'in_sync/none modified/none modified/none',
          '... the conflict is over: none');
SELECT results_eq($$ SELECT k || ': ' || l FROM unnest('{c,d,e}'::text[]) k, t.log(k) l
                      WHERE l NOT LIKE '% synced' ORDER BY k, l $$,
	ARRAY['c: 2 edit/edit base=a,a seen=b,c vanished', 'c: 3 edit/edit base=a,a seen=d,c vanished',
	      'c: 4 edit/delete base=a,a seen=d,- vanished',
	      'd: 1 edit/delete base=a,a seen=b,- vanished', 'e: 1 delete/edit base=a,a seen=-,b vanished'],
	'... and closed as vanished');
SELECT is(t.verdict(sync_state_observe('f', 'a', 'b')), 'INITIAL_SYNC conflict', 'a conflict of the initial sync');
SELECT is(t.verdict(sync_state_observe('f', remote_absent => true)), 'INITIAL_SYNC push', '... of which one side goes away');
SELECT is(t.status('f') || ' ' || (SELECT string_agg(l, ';') FROM t.log('f') l), 'new/none 1 create/create base=-,- seen=a,b vanished',
          '... is new / none, and vanished');
SELECT is((SELECT count(*) FROM syncstate.sync_conflict
            WHERE resolution = 'vanished' AND detected_at <= resolved_at AND resolved_by = current_user), 6::bigint,
          'all six have the times of their beginning and end, and by whom');

-- ---------------------------------------------------------------------------------------------
-- observe on syncing (live or not) or failed: kept / kept, the hashes are recorded
-- ---------------------------------------------------------------------------------------------
SELECT is(t.synced('s'), 'in_sync', 'a key in sync');
SELECT run_id AS run FROM sync_state_begin('s') \gset
SELECT is(t.status('s'), 'syncing/none', 'begin: syncing, conflict_status kept');
SELECT is(t.verdict(sync_state_observe('s', 'b', 'c')), 'CONFLICT edit/edit', 'an observation during the run sees a conflict');
SELECT is(t.status('s') || ' ' || t.bases('s'), 'syncing/none a a', '... but the run decides: status kept, bases too');
SELECT is((sync_state_get('s')).local_hash || (sync_state_get('s')).remote_hash, 'bc', '... the hashes are recorded');
SELECT is((sync_state_get('s')).run_id, :'run'::uuid, '... and the run keeps its token');
SELECT is_empty($$ SELECT t.log('s') $$, '... nothing is logged yet');
UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE type_key = 's';
SELECT is(t.verdict(sync_state_observe('s', 'a', 'd')), 'PULL edit', 'an observation after the lease has ended');
SELECT is(t.status('s'), 'syncing/none', '... keeps the status as well');
SELECT is(t.status(sync_state_fail('s', :'run')), 'failed/none', 'fail: failed, conflict_status kept');
SELECT is(t.verdict(sync_state_observe('s', 'b', 'c')), 'CONFLICT edit/edit', 'an observation after a failure');
SELECT is(t.status('s'), 'failed/none', '... keeps it failed');
SELECT is(t.verdict(sync_state_observe('s', 'b', 'b')), 'NO_CHANGE converged', 'even one that finds both sides equal');
SELECT is(t.status('s') || ' ' || t.bases('s'), 'failed/none a a', '... keeps status and bases');

-- ---------------------------------------------------------------------------------------------
-- begin, fail and rollback keep conflict_status; reset clears it; mark_synced goes by the table
-- ---------------------------------------------------------------------------------------------
SELECT is(t.verdict(sync_state_observe('r', 'a', 'b')), 'INITIAL_SYNC conflict', 'a key in conflict');
CREATE TABLE t.run AS SELECT * FROM sync_state_begin('r');
SELECT is(t.status('r'), 'syncing/detected', 'begin: syncing / kept');
SELECT is(t.status(sync_state_fail('r', run_id)), 'failed/detected', 'fail: failed / kept')
  FROM t.run;
SELECT is(t.status(sync_state_rollback('r')), 'failed/detected', 'rollback: failed / kept');
SELECT results_eq($$ SELECT t.log('r') $$, ARRAY['1 create/create base=-,- seen=a,b open'], '... and the conflict is still open');
SELECT is(t.status(sync_state_reset('r')), 'new/none', 'reset: new / none');
SELECT results_eq($$ SELECT t.log('r') $$, ARRAY['1 create/create base=-,- seen=a,b vanished'], '... which closes the conflict as vanished');
SELECT is((sync_state_rollback('brand-new')).sync_status, 'failed', 'rollback creates an unknown key, as failed');

-- ---------------------------------------------------------------------------------------------
-- observe, walked in full: every pair of stored bases, synced or not, and every observation,
-- through observe one by one and through observe_many at once.
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.walk AS
WITH hash (h) AS (VALUES (NULL), ('a'), ('b'), ('c'), ('d'))
SELECT how || lpad((row_number() OVER (PARTITION BY how))::text, 4, '0') AS type_key, how,
       l.h AS l, r.h AS r, bl.h AS bl, br.h AS br,
       CASE WHEN timed THEN timestamptz '2026-01-01 00:00Z' END AS synced_at,
       v.action, v.detail
  FROM (VALUES ('one'), ('many')) AS h (how), hash l, hash r, hash bl, hash br, (VALUES (true), (false)) AS s (timed),
       LATERAL (SELECT timed OR bl.h IS NOT NULL OR br.h IS NOT NULL AS synced) AS y,
       LATERAL (SELECT sync_state_action(l.h, r.h, bl.h, br.h, synced) AS action,
                       sync_state_detail(l.h, r.h, bl.h, br.h, synced) AS detail) AS v;
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash,
                                  last_sync_at, changed_xid)
SELECT type_key, 'y', 'z', bl, br, synced_at, 3 FROM t.walk;
CREATE FUNCTION t.observe_all() RETURNS int LANGUAGE sql AS $$
	SELECT count(sync_state_observe(type_key, l, r, local_absent => l IS NULL, remote_absent => r IS NULL))::int
	  FROM t.walk WHERE how = 'one' $$;
SELECT is(t.observe_all(), 1250, '1250 observations one by one');
SELECT is(sync_state_observe_many(array_agg(type_key), array_agg(l), array_agg(r)), 1250, '1250 observations at once')
  FROM t.walk WHERE how = 'many';
CREATE VIEW t.walked AS
	SELECT w.*, s.local_hash, s.remote_hash, s.sync_status, s.conflict_status, s.last_sync_at,
	       s.last_synced_hash, s.last_synced_remote_hash, c.kind, c.conflict_number
	  FROM t.walk w JOIN syncstate.sync_state s USING (type_key)
	  LEFT JOIN syncstate.sync_conflict c ON (c.type_key = w.type_key AND c.resolved_at IS NULL);
SELECT is_empty($$ SELECT * FROM t.walked WHERE local_hash IS DISTINCT FROM l OR remote_hash IS DISTINCT FROM r $$,
	'what was observed is recorded');
SELECT is_empty($$ SELECT * FROM t.walked WHERE sync_status IS DISTINCT FROM
	CASE WHEN action = 'NO_CHANGE' OR detail = 'adopt' THEN 'in_sync' WHEN action IN ('PUSH', 'PULL') THEN 'modified'
	     WHEN action = 'CONFLICT' OR detail = 'conflict' THEN 'conflict' ELSE 'new' END $$,
	'sync_status follows from the verdict');
SELECT is_empty($$ SELECT * FROM t.walked WHERE conflict_status IS DISTINCT FROM
	CASE WHEN action = 'CONFLICT' OR detail = 'conflict' THEN 'detected' ELSE 'none' END $$,
	'so does conflict_status');
SELECT is_empty($$ SELECT * FROM t.walked WHERE kind IS DISTINCT FROM
	CASE WHEN action = 'CONFLICT' THEN detail WHEN detail = 'conflict' THEN 'create/create' END
	OR conflict_number > 1 $$,
	'each conflict is logged, by its kind, as the first of its key');
SELECT is_empty($$ SELECT * FROM t.walked
	WHERE detail IN ('adopt', 'converged', 'both_deleted')
	  AND (last_synced_hash IS DISTINCT FROM l OR last_synced_remote_hash IS DISTINCT FROM r
	       OR last_sync_at IS NULL OR last_sync_at < now()) $$,
	'where a base had to move, bases and last_sync_at have moved');
SELECT is_empty($$ SELECT * FROM t.walked
	WHERE detail NOT IN ('adopt', 'converged', 'both_deleted')
	  AND (last_synced_hash IS DISTINCT FROM bl OR last_synced_remote_hash IS DISTINCT FROM br
	       OR last_sync_at IS DISTINCT FROM synced_at) $$,
	'everywhere else they are as they were');

SELECT * FROM finish();
ROLLBACK;
