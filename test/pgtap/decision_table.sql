-- The decision table of the three-way comparison, walked in full.
--
-- L and R are the hashes of our side and of the other, BL and BR the bases.
-- Each takes every value of {NULL, a, b, c, d}, synced takes true and false:
-- 5^4 * 2 = 1250 combinations. Four letters are enough for all four arguments
-- to differ, so no equality pattern is left out.
--
-- The rules are stated a second time below, as predicates that do not depend
-- on an order; a test proves that exactly one of them fits each combination.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(36);

CREATE SCHEMA t;

CREATE TABLE t.combination AS
WITH hash (h) AS (VALUES (NULL), ('a'), ('b'), ('c'), ('d'))
SELECT row_number() OVER ()::int AS n, l.h AS l, r.h AS r, bl.h AS bl, br.h AS br, s.synced
  FROM hash l, hash r, hash bl, hash br, (VALUES (true), (false)) AS s (synced);

-- Independent statement of the rules: one row for each (combination, rule that fits).
CREATE VIEW t.ruling AS
WITH fact AS (
	SELECT c.*,
	       l IS NULL AS no_l, r IS NULL AS no_r,
	       l IS NOT DISTINCT FROM r AS same,
	       l IS DISTINCT FROM bl AS l_moved,
	       r IS DISTINCT FROM br AS r_moved
	  FROM t.combination c
)
SELECT n, l, r, bl, br, synced, rule.action, rule.detail
  FROM fact,
       LATERAL (VALUES
	('INITIAL_SYNC', 'empty',        NOT synced AND no_l AND no_r),
	('INITIAL_SYNC', 'push',         NOT synced AND NOT no_l AND no_r),
	('INITIAL_SYNC', 'pull',         NOT synced AND no_l AND NOT no_r),
	('INITIAL_SYNC', 'adopt',        NOT synced AND NOT no_l AND NOT no_r AND same),
	('INITIAL_SYNC', 'conflict',     NOT synced AND NOT no_l AND NOT no_r AND NOT same),
	('NO_CHANGE',    'unchanged',    synced AND NOT l_moved AND NOT r_moved),
	('NO_CHANGE',    'converged',    synced AND (l_moved OR r_moved) AND same AND NOT no_l),
	('NO_CHANGE',    'both_deleted', synced AND (l_moved OR r_moved) AND same AND no_l),
	('PUSH',         'delete',       synced AND l_moved AND NOT r_moved AND NOT same AND no_l),
	('PUSH',         'create',       synced AND l_moved AND NOT r_moved AND NOT same AND no_r),
	('PUSH',         'edit',         synced AND l_moved AND NOT r_moved AND NOT same AND NOT no_l AND NOT no_r),
	('PULL',         'delete',       synced AND r_moved AND NOT l_moved AND NOT same AND no_r),
	('PULL',         'create',       synced AND r_moved AND NOT l_moved AND NOT same AND no_l),
	('PULL',         'edit',         synced AND r_moved AND NOT l_moved AND NOT same AND NOT no_l AND NOT no_r),
	('CONFLICT',     'edit/delete',  synced AND l_moved AND r_moved AND NOT same AND no_r),
	('CONFLICT',     'delete/edit',  synced AND l_moved AND r_moved AND NOT same AND no_l),
	('CONFLICT',     'edit/edit',    synced AND l_moved AND r_moved AND NOT same AND NOT no_l AND NOT no_r)
       ) AS rule (action, detail, fits)
 WHERE rule.fits;

SELECT is((SELECT count(*) FROM t.combination), 1250::bigint, '1250 combinations');
SELECT is_empty(
	$$ SELECT c.n, count(r.n) FROM t.combination c LEFT JOIN t.ruling r USING (n)
	    GROUP BY c.n HAVING count(r.n) <> 1 $$,
	'the rules as stated here fit each combination exactly once');

-- How often each verdict must occur, counted by hand:
-- unsynced: of 25 pairs (L,R) 1 has neither, 4 only L, 4 only R, 4 are equal, 12 differ; times 25 pairs of bases.
-- synced: 25 unmoved; L = R = NULL with 24 other pairs of bases; 4 values L = R with 24 each;
-- L <> R with one side on its base: 4*4 deletes, 4*4 creates, 4*3*4 edits; both off: 4*16, 4*16, 12*16.
SELECT results_eq(
	$$ SELECT sync_state_action(l, r, bl, br, synced) COLLATE "C",
	          sync_state_detail(l, r, bl, br, synced) COLLATE "C", count(*)
	     FROM t.combination GROUP BY 1, 2 ORDER BY 1, 2 $$,
	$$ VALUES ('CONFLICT' COLLATE "C", 'delete/edit' COLLATE "C", 64::bigint),
	          ('CONFLICT', 'edit/delete', 64), ('CONFLICT', 'edit/edit', 192),
	          ('INITIAL_SYNC', 'adopt', 100), ('INITIAL_SYNC', 'conflict', 300), ('INITIAL_SYNC', 'empty', 25),
	          ('INITIAL_SYNC', 'pull', 100), ('INITIAL_SYNC', 'push', 100),
	          ('NO_CHANGE', 'both_deleted', 24), ('NO_CHANGE', 'converged', 96), ('NO_CHANGE', 'unchanged', 25),
	          ('PULL', 'create', 16), ('PULL', 'delete', 16), ('PULL', 'edit', 48),
	          ('PUSH', 'create', 16), ('PUSH', 'delete', 16), ('PUSH', 'edit', 48) $$,
	'each verdict occurs as often as counted by hand');

SELECT is_empty(
	$$ SELECT *, sync_state_action(l, r, bl, br, synced) AS got FROM t.ruling
	    WHERE sync_state_action(l, r, bl, br, synced) IS DISTINCT FROM action $$,
	'sync_state_action agrees with the rules on all combinations');
SELECT is_empty(
	$$ SELECT *, sync_state_detail(l, r, bl, br, synced) AS got FROM t.ruling
	    WHERE sync_state_detail(l, r, bl, br, synced) IS DISTINCT FROM detail $$,
	'sync_state_detail agrees with the rules on all combinations');
SELECT is_empty(
	$$ SELECT n FROM t.combination
	    WHERE sync_state_action(l, r, bl, br, synced) IS NULL OR sync_state_detail(l, r, bl, br, synced) IS NULL $$,
	'the table is total: never a NULL verdict');

-- PUSH and PULL are mirror images, and so are the details of a conflict.
SELECT is_empty(
	$$ SELECT n FROM t.combination
	    WHERE sync_state_action(r, l, br, bl, synced) IS DISTINCT FROM
	          CASE sync_state_action(l, r, bl, br, synced)
	               WHEN 'PUSH' THEN 'PULL' WHEN 'PULL' THEN 'PUSH'
	               ELSE sync_state_action(l, r, bl, br, synced) END $$,
	'swapping the sides swaps PUSH and PULL and nothing else');
SELECT is_empty(
	$$ SELECT n FROM t.combination
	    WHERE sync_state_detail(r, l, br, bl, synced) IS DISTINCT FROM
	          CASE sync_state_detail(l, r, bl, br, synced)
	               WHEN 'push' THEN 'pull' WHEN 'pull' THEN 'push'
	               WHEN 'edit/delete' THEN 'delete/edit' WHEN 'delete/edit' THEN 'edit/delete'
	               ELSE sync_state_detail(l, r, bl, br, synced) END $$,
	'swapping the sides swaps the details that name a side and nothing else');

-- The rows a reader would check first, by eye.
SELECT is(sync_state_action(l, r, bl, br) || ' ' || sync_state_detail(l, r, bl, br), verdict, verdict || ': ' || why)
  FROM (VALUES
	(1, 'a',  'x',  'a',  'x',  'NO_CHANGE unchanged',    'each side is where its own base is, though they hash differently'),
	(2, 'b',  'a',  'a',  'a',  'PUSH edit',              'only ours moved'),
	(3, 'a',  'b',  'a',  'a',  'PULL edit',              'only theirs moved'),
	(4, NULL, 'a',  'a',  'a',  'PUSH delete',            'ours was deleted'),
	(5, 'a',  NULL, 'a',  'a',  'PULL delete',            'theirs was deleted'),
	(6, 'b',  NULL, NULL, NULL, 'PUSH create',            'created on our side after a sync of nothing'),
	(7, NULL, 'b',  NULL, NULL, 'PULL create',            'created on theirs'),
	(8, 'b',  'c',  'a',  'a',  'CONFLICT edit/edit',     'both were edited, differently'),
	(9, 'b',  NULL, 'a',  'a',  'CONFLICT edit/delete',   'ours was edited, theirs deleted'),
	(10, NULL, 'b',  'a',  'a', 'CONFLICT delete/edit',   'ours was deleted, theirs edited'),
	(11, 'b',  'b',  'a',  'a', 'NO_CHANGE converged',    'the same edit on both sides'),
	(12, NULL, NULL, 'a',  'a', 'NO_CHANGE both_deleted', 'deleted on both sides'),
	(13, 'b',  'b',  'a',  'b', 'NO_CHANGE converged',    'only ours moved, and it moved to where theirs is'),
	(14, NULL, NULL, NULL, NULL, 'NO_CHANGE unchanged',   'nothing was synced, and nothing is there')
       ) AS example (n, l, r, bl, br, verdict, why)
 ORDER BY n;

-- Hashes are compared as bytes.
SELECT is(sync_state_action('a', 'a ', 'a', 'a'), 'PULL', 'a trailing blank is a difference');
SELECT is(sync_state_action('', NULL, NULL, NULL), 'PUSH', 'the empty string is a hash, not an absence');

SELECT is(sync_state_action('a', 'b', 'a', 'b', false), 'INITIAL_SYNC', 'without a sync, bases do not count');

-- What the planner may rely on.
SELECT results_eq(
	$$ SELECT proname::text COLLATE "default", provolatile::text, proparallel::text, l.lanname::text COLLATE "default"
	     FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	    WHERE proname IN ('sync_state_action', 'sync_state_detail') ORDER BY proname $$,
	$$ VALUES ('sync_state_action', 'i', 's', 'c'), ('sync_state_detail', 'i', 's', 'c') $$,
	'both are IMMUTABLE, PARALLEL SAFE and C');

-- The same verdicts on stored rows. changed_xid is given, as a restore does: the rows go in as they are.
-- A row counts as synced if it has a time or a base.
CREATE TABLE t.stored AS
SELECT 'k' || lpad(n::text, 4, '0') AS type_key, l, r, bl, br,
       synced AS has_time, (synced OR bl IS NOT NULL OR br IS NOT NULL) AS synced
  FROM t.combination;
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash,
                                  last_sync_at, changed_xid)
SELECT type_key, l, r, bl, br, CASE WHEN has_time THEN timestamptz '2026-01-01 00:00Z' END, 3 FROM t.stored;

CREATE VIEW t.expected AS
SELECT s.*, ruling.action, ruling.detail
  FROM t.stored s
  JOIN t.ruling ON (ruling.l IS NOT DISTINCT FROM s.l AND ruling.r IS NOT DISTINCT FROM s.r
	            AND ruling.bl IS NOT DISTINCT FROM s.bl AND ruling.br IS NOT DISTINCT FROM s.br
	            AND ruling.synced = s.synced);

SELECT is((SELECT count(*) FROM t.expected), 1250::bigint, '1250 rows are stored, each with one verdict');
SELECT is_empty(
	$$ SELECT * FROM t.expected e, sync_state_delta(e.type_key) AS d
	    WHERE d IS DISTINCT FROM jsonb_build_object('type_key', e.type_key, 'action', e.action, 'detail', e.detail,
	              'local_hash', e.l, 'remote_hash', e.r, 'last_synced_hash', e.bl, 'last_synced_remote_hash', e.br) $$,
	'sync_state_delta: the verdict, and all seven fields, on every stored row');
SELECT is_empty(
	$$ (SELECT type_key, action, detail, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash
	      FROM sync_state_plan()
	    EXCEPT SELECT type_key, action, detail, l, r, bl, br FROM t.expected)
	   UNION ALL
	   (SELECT type_key, action, detail, l, r, bl, br FROM t.expected
	    EXCEPT SELECT type_key, action, detail, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash
	      FROM sync_state_plan()) $$,
	'sync_state_plan says the same as the rules, for every key');

-- The same with the hashes observed by the caller, over rows that hold other ones.
CREATE TABLE t.base AS
SELECT DISTINCT ON (bl, br, has_time) * FROM t.stored WHERE l = 'd' AND r = 'c' ORDER BY bl, br, has_time, type_key;
CREATE TABLE t.observed AS
SELECT b.type_key, o.l, o.r, b.bl, b.br, b.synced
  FROM t.base b, (SELECT DISTINCT l, r FROM t.combination) AS o;
SELECT is((SELECT count(*) FROM t.observed), 1250::bigint, '1250 observations over 50 stored rows');
SELECT is_empty(
	$$ SELECT o.*, d FROM t.observed o,
	          sync_state_delta(o.type_key, o.l, o.r, local_absent => o.l IS NULL, remote_absent => o.r IS NULL) AS d
	    WHERE d->>'action' IS DISTINCT FROM sync_state_action(o.l, o.r, o.bl, o.br, o.synced)
	       OR d->>'detail' IS DISTINCT FROM sync_state_detail(o.l, o.r, o.bl, o.br, o.synced)
	       OR d->>'local_hash' IS DISTINCT FROM o.l OR d->>'remote_hash' IS DISTINCT FROM o.r $$,
	'sync_state_delta decides on what was observed, an absence included');
SELECT is_empty(
	$$ WITH listing AS (
	       SELECT l, r, array_agg(type_key ORDER BY type_key) AS keys,
	              array_agg(l ORDER BY type_key) AS ls, array_agg(r ORDER BY type_key) AS rs
	         FROM t.observed GROUP BY l, r),
	   planned AS (
	       SELECT p.type_key, listing.l, listing.r, p.action, p.detail, p.local_hash, p.remote_hash
	         FROM listing, sync_state_plan_for(keys, ls, rs) AS p)
	   SELECT * FROM t.observed o
	     LEFT JOIN planned p ON (p.type_key = o.type_key AND p.l IS NOT DISTINCT FROM o.l AND p.r IS NOT DISTINCT FROM o.r)
	    WHERE p.action IS DISTINCT FROM sync_state_action(o.l, o.r, o.bl, o.br, o.synced)
	       OR p.detail IS DISTINCT FROM sync_state_detail(o.l, o.r, o.bl, o.br, o.synced)
	       OR p.local_hash IS DISTINCT FROM o.l OR p.remote_hash IS DISTINCT FROM o.r $$,
	'sync_state_plan_for decides on listings, a NULL element being an absence');

-- NULL without "absent" means: not observed, take the stored hash.
SELECT is_empty(
	$$ SELECT s.type_key FROM t.stored s
	    WHERE sync_state_delta(s.type_key, local_hash => 'z')
	          IS DISTINCT FROM sync_state_delta(s.type_key, 'z', s.r, remote_absent => s.r IS NULL)
	       OR sync_state_delta(s.type_key, remote_hash => 'z')
	          IS DISTINCT FROM sync_state_delta(s.type_key, s.l, 'z', local_absent => s.l IS NULL) $$,
	'a side that was not observed counts as stored');
SELECT is(
	sync_state_delta('nobody'),
	'{"type_key": "nobody", "action": "INITIAL_SYNC", "detail": "empty", "local_hash": null, "remote_hash": null,
	  "last_synced_hash": null, "last_synced_remote_hash": null}'::jsonb,
	'an unknown key is decided as never synced');
SELECT is(sync_state_delta('nobody', 'a', 'b')->>'detail', 'conflict', 'also with observed hashes');
SELECT is((SELECT count(*) FROM syncstate.sync_state), 1250::bigint, 'none of this wrote a row');

SELECT * FROM finish();
ROLLBACK;
