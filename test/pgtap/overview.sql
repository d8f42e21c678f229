-- The views for people: sync_overview, a row per key, and sync_summary.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(52);

CREATE SCHEMA t;
SELECT columns_are('syncstate', 'sync_overview',
	'{type_key,sync_status,conflict_status,action,detail,last_sync_at,last_sync_age,run_owner,lease_expires_at,step,total,percent}'::name[], 'the columns of sync_overview');
SELECT col_type_is('syncstate', 'sync_overview', 'last_sync_age', 'double precision', 'an age in seconds, for machines');
SELECT columns_are('syncstate', 'sync_summary', '{sync_status,count,oldest_sync_at}'::name[], 'the columns of sync_summary');
SELECT is_empty('SELECT * FROM syncstate.sync_overview', 'of an empty table');
SELECT is_empty('SELECT * FROM syncstate.sync_summary', '... both are');

-- ---------------------------------------------------------------------------------------------
-- The decision: that of delta, for every combination of hashes
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.value AS SELECT unnest('{NULL,a,b,c,""}'::text[]) AS v;
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, last_sync_at, changed_xid)
	SELECT concat_ws('|', coalesce(l.v, '-'), coalesce(r.v, '-'), coalesce(bl.v, '-'), coalesce(br.v, '-'), t), l.v, r.v, bl.v, br.v, t, 0
	  FROM t.value AS l, t.value AS r, t.value AS bl, t.value AS br, (VALUES (NULL), ('2026-01-01Z'::timestamptz)) AS at (t);
SELECT is((SELECT count(*) FROM syncstate.sync_overview), 1250::bigint, 'all combinations');
SELECT is_empty($$ SELECT o.type_key, o.action, o.detail, d FROM syncstate.sync_overview o, sync_state_delta(o.type_key) AS d
                    WHERE (o.action, o.detail) IS DISTINCT FROM (d->>'action', d->>'detail') $$, 'action and detail are those of delta');
SELECT results_eq('SELECT type_key, action, detail FROM syncstate.sync_overview ORDER BY type_key', 'SELECT type_key COLLATE "C", action, detail FROM sync_state_plan() ORDER BY type_key COLLATE "C"',
	'... and of plan');
SELECT is((SELECT count(DISTINCT (action, detail)) FROM syncstate.sync_overview), 17::bigint, 'every case there is occurs');
DELETE FROM syncstate.sync_state;

-- ---------------------------------------------------------------------------------------------
-- A key's life
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.row(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(sync_status, '-'), coalesce(conflict_status, '-'), action, detail,
	                 'age', CASE WHEN last_sync_age IS NULL THEN '-' WHEN last_sync_age BETWEEN 0 AND 60 THEN 'now' ELSE round(last_sync_age)::text END,
	                 'run', coalesce(run_owner, '-'), 'progress', coalesce(step || '/' || total || ' ' || percent || '%', '-'))
	  FROM syncstate.sync_overview AS o WHERE o.type_key = $1 $$;
SELECT sync_state_observe('article', 'h') \g /dev/null
SELECT is(t.row('article'), 'new none INITIAL_SYNC push age - run - progress -', 'new');
SELECT run_id AS run FROM sync_state_begin('article', '1 hour', 'worker-1') \gset
SELECT is(t.row('article'), 'syncing none INITIAL_SYNC push age - run worker-1 progress -', 'a run');
SELECT sync_state_checkpoint('article', :'run', '{"step": 2, "total": 7, "more": [1]}') \g /dev/null
SELECT is(t.row('article'), 'syncing none INITIAL_SYNC push age - run worker-1 progress 2/7 28.6%', '... that gets on');
SELECT is((SELECT lease_expires_at FROM syncstate.sync_overview), (sync_state_get('article')).lease_expires_at, '... and for how long it holds the key');
SELECT sync_state_fail('article', :'run') \g /dev/null
SELECT is(t.row('article'), 'failed none INITIAL_SYNC push age - run - progress 2/7 28.6%', 'failed: nobody runs it, and that is where it stopped');
SELECT sync_state_mark_synced('article', 'h', 'h') \g /dev/null
SELECT is(t.row('article'), 'in_sync none NO_CHANGE unchanged age now run - progress -', 'in sync');
SELECT sync_state_update('article', jsonb_build_object('last_sync_at', clock_timestamp() - interval '1 day 1 hour')) \g /dev/null
SELECT is(t.row('article'), 'in_sync none NO_CHANGE unchanged age 90000 run - progress -', 'a day and an hour ago');
SELECT sync_state_observe('article', 'l', 'r') \g /dev/null
SELECT is(t.row('article'), 'conflict detected CONFLICT edit/edit age 90000 run - progress -', 'a conflict');
SELECT sync_state_update('plain', '{"sync_status": "syncing"}') \g /dev/null
SELECT is(t.row('plain'), 'syncing - INITIAL_SYNC empty age - run - progress -', 'set to syncing by hand: a run of nobody');
SELECT sync_state_update('far', '{"last_sync_at": "4713-01-01 00:00:00+00 BC"}'), sync_state_update('future', '{"last_sync_at": "294276-01-01 00:00:00+00"}') \g /dev/null
SELECT cmp_ok((SELECT last_sync_age FROM syncstate.sync_overview WHERE type_key = 'far'), '>', 2e11::float8, 'the earliest time there is');
SELECT cmp_ok((SELECT last_sync_age FROM syncstate.sync_overview WHERE type_key = 'future'), '<', -9e12::float8, '... and the last');

-- ---------------------------------------------------------------------------------------------
-- sync_summary
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_mark_synced_many('{s1,s2,s3}', '{h,h,h}', '{h,h,h}'), sync_state_update('s2', '{"last_sync_at": "2020-01-01Z"}') \g /dev/null
SELECT set_eq('SELECT sync_status, count, oldest_sync_at FROM syncstate.sync_summary',
	$$ SELECT sync_status, count(*), min(last_sync_at) FROM syncstate.sync_state GROUP BY sync_status $$, 'a count per status, and the oldest sync');
SELECT results_eq($$ SELECT count, oldest_sync_at FROM syncstate.sync_summary WHERE sync_status = 'in_sync' $$, $$ VALUES (3::bigint, '2020-01-01Z'::timestamptz) $$, 'three are in sync, one since long');
SELECT results_eq($$ SELECT count FROM syncstate.sync_summary WHERE sync_status IS NULL $$, $$ VALUES (2::bigint) $$, 'no status counts as one');
DELETE FROM syncstate.sync_state;

-- ---------------------------------------------------------------------------------------------
-- Checkpoints are the worker's own: step, total and percent where there are numbers
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.checkpoint (n int GENERATED ALWAYS AS IDENTITY, progress jsonb, step text, total text, percent text);
INSERT INTO t.checkpoint (progress, step, total, percent) VALUES
	(NULL, NULL, NULL, NULL),
	('null', NULL, NULL, NULL),
	('true', NULL, NULL, NULL),
	('5', NULL, NULL, NULL),
	('"step"', NULL, NULL, NULL),
	('[]', NULL, NULL, NULL),
	('["step", 3, "total", 4]', NULL, NULL, NULL),
	('[{"step": 3, "total": 4}]', NULL, NULL, NULL),
	('{}', NULL, NULL, NULL),
	('{"step": 3}', '3', NULL, NULL),
	('{"total": 4}', NULL, '4', NULL),
	('{"step": 3, "total": 4}', '3', '4', '75.0'),
	('{"step": 0, "total": 4}', '0', '4', '0.0'),
	('{"step": 4, "total": 4}', '4', '4', '100.0'),
	('{"step": 5, "total": 4}', '5', '4', '125.0'),
	('{"step": 1, "total": 3}', '1', '3', '33.3'),
	('{"step": 0.5, "total": 2.50}', '0.5', '2.50', '20.0'),
	('{"step": "3", "total": 4}', NULL, '4', NULL),
	('{"step": 3, "total": "4"}', '3', NULL, NULL),
	('{"step": null, "total": 4}', NULL, '4', NULL),
	('{"step": true, "total": [4]}', NULL, NULL, NULL),
	('{"step": {"step": 1}, "total": {"total": 2}}', NULL, NULL, NULL),
	('{"step": 3, "total": 0}', '3', '0', NULL),
	('{"step": 0, "total": 0}', '0', '0', NULL),
	('{"step": 3, "total": -4}', '3', '-4', NULL),
	('{"STEP": 3, "Total": 4}', NULL, NULL, NULL);
INSERT INTO syncstate.sync_state (type_key, sync_progress) SELECT 'c' || n, progress FROM t.checkpoint;
SELECT is(concat_ws(' ', o.step, o.total, o.percent), concat_ws(' ', c.step, c.total, c.percent), 'checkpoint ' || coalesce(progress::text, 'NULL'))
  FROM t.checkpoint AS c JOIN syncstate.sync_overview AS o ON (o.type_key = 'c' || n) ORDER BY n;
-- Whatever a number is like, the view can be read.
INSERT INTO syncstate.sync_state (type_key, sync_progress)
	SELECT concat_ws('/', s, t), format('{"step": %s, "total": %s}', s, t)::jsonb
	  FROM unnest('{0,1,-1,0.5,1e-1000,-1e-1000,1e100,-1e100,1e1000,1e100000,-1e100000,1e131071,9e131071,1e-16383,1e-10000,123456789012345678901234567890}'::text[]) AS s,
	       unnest('{0,1,-1,0.5,1e-1000,-1e-1000,1e100,-1e100,1e1000,1e100000,-1e100000,1e131071,9e131071,1e-16383,1e-10000,123456789012345678901234567890}'::text[]) AS t;
SELECT lives_ok('SELECT * FROM syncstate.sync_overview', 'no number is too much for it');
SELECT is_empty($$ SELECT type_key FROM syncstate.sync_overview WHERE type_key LIKE '%/%' AND (step IS NULL OR total IS NULL OR percent IS NULL AND total >= 1 AND abs(step) <= 1e18) $$,
	'... and a percentage comes of those that are of any use');
SELECT is_empty($$ SELECT type_key, percent FROM syncstate.sync_overview WHERE total = 1e100000 AND abs(step) <= 1 AND percent <> 0 $$, 'a huge total: 0 percent');

SELECT * FROM finish();
ROLLBACK;
