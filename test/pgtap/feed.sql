-- The change feed: each change is delivered, none is missed, none comes twice.
--
-- Only what has been committed is in the feed, so this runs outside a transaction, in a database
-- of its own.  Concurrent writers are in test/isolation; here their place is taken by cursors that
-- say which transactions were in progress.
SET client_min_messages = warning;
\set home :DBNAME
DROP DATABASE IF EXISTS syncstate_t_feed;
CREATE DATABASE syncstate_t_feed TEMPLATE template0;
\c syncstate_t_feed
SET client_min_messages = warning;
CREATE EXTENSION pgtap;
CREATE EXTENSION syncstate;

SELECT plan(120);

CREATE SCHEMA t;
-- A page in its order; "-" before a key that was deleted.
CREATE FUNCTION t.page(cursor text, max_rows int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(CASE WHEN c.deleted THEN '-' ELSE '' END || c.type_key, ' ' ORDER BY c.ordinality)
	  FROM sync_state_changes($1, $2) WITH ORDINALITY AS c $$;
-- The cursor to go on from, after a page.
CREATE FUNCTION t.after(cursor text, max_rows int DEFAULT 1000) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT c.cursor FROM sync_state_changes($1, $2) WITH ORDINALITY AS c ORDER BY c.ordinality DESC LIMIT 1), $1) $$;
-- Everything from a cursor on, page by page.
CREATE FUNCTION t.follow(cursor text, max_rows int) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		pages text[] = '{}';
		page text;
	BEGIN
		LOOP
			page = t.page(cursor, max_rows);
			EXIT WHEN page IS NULL;
			pages = pages || page;
			cursor = t.after(cursor, max_rows);
		END LOOP;
		RETURN array_to_string(pages, ' ');
	END $$;

-- ---------------------------------------------------------------------------------------------
-- From nothing
-- ---------------------------------------------------------------------------------------------
SELECT is(t.page(NULL), NULL, 'an empty table has an empty feed');
SELECT sync_state_cursor() AS start \gset
SELECT is(t.page(:'start'), NULL, 'nothing has changed since now');
SELECT is(t.after(:'start'), :'start', 'no rows: the cursor is kept');
SELECT sync_state_observe('c', 'c1', 'c1') \g /dev/null
SELECT sync_state_observe('a', 'a1') \g /dev/null
SELECT sync_state_update_many('{"y": {}, "b": {"local_hash": "b1"}, "x": {}}') \g /dev/null
SELECT sync_state_mark_synced('é', 'e1', 'e1') \g /dev/null
SELECT is(t.page(NULL), 'c a b x y é', 'transaction by transaction, within one in key order');
SELECT is((SELECT count(*) FROM sync_state_changes()), 6::bigint, 'both arguments may be left out');
SELECT is(t.page(:'start'), t.page(NULL), 'the cursor from before any of it leads to the same');
SELECT is(t.page(:'start'), t.page(:'start'), 'reading does not move anything: the reader keeps the cursor');
SELECT results_eq(
	$$ SELECT type_key, deleted, sync_status, conflict_status, local_hash, remote_hash, last_sync_at, updated_at FROM sync_state_changes() ORDER BY type_key COLLATE "C" $$,
	$$ SELECT type_key COLLATE "default", false, sync_status, conflict_status, local_hash, remote_hash, last_sync_at, updated_at FROM syncstate.sync_state ORDER BY type_key $$,
	'a change tells the state that the row is in');

-- ---------------------------------------------------------------------------------------------
-- Paging
-- ---------------------------------------------------------------------------------------------
SELECT is(t.page(NULL, 2), 'c a', 'a page');
SELECT is(t.page(t.after(NULL, 2), 3), 'b x y', '... and the next');
SELECT is(t.page(t.after(t.after(NULL, 2), 3), 10), 'é', '... and the rest');
SELECT is(t.page(t.after(t.after(NULL, 2), 4), 10), NULL, 'and then nothing, also where the last page was full');
SELECT is(t.follow(NULL, n), 'c a b x y é', 'from nothing in pages of ' || n) FROM generate_series(1, 7) AS n;
SELECT is(t.follow(:'start', n), 'c a b x y é', 'from a cursor in pages of ' || n) FROM generate_series(1, 7) AS n;
SELECT is(t.follow(NULL, 2147483647), 'c a b x y é', 'in one page of any size');
-- Every row's cursor is the position after that row, whichever page it was read in.
SELECT is_empty($$
	SELECT n, c.ordinality, c.type_key, t.follow(c.cursor, m)
	  FROM generate_series(1, 7) AS n, generate_series(1, 7) AS m, (VALUES (NULL), ($$ || quote_literal(:'start') || $$)) AS s (start),
	       sync_state_changes(start, n) WITH ORDINALITY AS c
	 WHERE t.follow(c.cursor, m) <> array_to_string((ARRAY['c', 'a', 'b', 'x', 'y', 'é'])[c.ordinality + 1:], ' ') $$,
	'any row of any page: from its cursor on comes what follows it');
SELECT t.after(:'start') AS cursor \gset
SELECT is(t.page(:'cursor'), NULL, 'nothing comes twice');

-- ---------------------------------------------------------------------------------------------
-- What is a change: each statement in a transaction of its own, then a page
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.step (n int GENERATED ALWAYS AS IDENTITY, statement text, expected text, name text, got text);
CREATE FUNCTION t.run_id(type_key text) RETURNS uuid LANGUAGE sql AS $$ SELECT run_id FROM sync_state_get($1) $$;
CREATE TABLE t.orm (type_key text, local_hash text);
INSERT INTO t.orm VALUES ('i1', 'h'), ('i2', 'h'), ('article', 'h');
INSERT INTO t.step (statement, expected, name) VALUES
	($$ SELECT sync_state_observe('article', 'l1', 'r1') $$, 'article', 'a key is seen for the first time'),
	($$ SELECT sync_state_observe('article', 'l1', 'r1') $$, NULL, 'seen again with nothing new: no change'),
	($$ SELECT sync_state_observe('article', 'l2') $$, 'article', 'a hash moves'),
	($$ SELECT sync_state_observe('article', 'l3'), sync_state_observe('article', 'l4') $$, 'article', 'two moves in one transaction are one change'),
	($$ SELECT sync_state_resolve('article', 'local') $$, 'article', 'resolve'),
	($$ SELECT sync_state_begin('article') $$, 'article', 'begin'),
	($$ SELECT sync_state_checkpoint('article', t.run_id('article'), '{"step": 1}') $$, NULL, 'a checkpoint is none'),
	($$ SELECT sync_state_checkpoint('article', t.run_id('article'), NULL, '1 day') $$, NULL, 'nor a heartbeat'),
	($$ SELECT sync_state_try_begin('article') $$, NULL, 'nor a begin that was refused'),
	($$ SELECT sync_state_mark_synced('article', 'l4', 'l4', t.run_id('article')) $$, 'article', 'mark_synced'),
	($$ SELECT sync_state_mark_synced('article', 'l4', 'l4', run_id) FROM syncstate.sync_run WHERE type_key = 'article' $$, NULL, 'asking for a lost acknowledgement is none'),
	($$ SELECT sync_state_mark_synced('article', 'l4', 'l4') $$, 'article', 'the same hashes marked anew: last_sync_at has moved'),
	($$ SELECT sync_state_begin('article'); SELECT sync_state_checkpoint('article', t.run_id('article'), '{"step": 2}') $$, 'article', 'begin and checkpoint in one'),
	($$ SELECT sync_state_fail('article', t.run_id('article'), 'oops') $$, 'article', 'fail'),
	($$ SELECT sync_state_resume('article') $$, 'article', 'resume'),
	($$ SELECT sync_state_rollback('article', t.run_id('article')) $$, 'article', 'rollback'),
	($$ SELECT sync_state_reset('article') $$, 'article', 'reset'),
	($$ SELECT sync_state_update('article', '{"sync_progress": {"step": 1}}') $$, NULL, 'update of the checkpoint alone'),
	($$ SELECT sync_state_update('article', '{"sync_status": "modified"}') $$, 'article', 'update of a status'),
	($$ SELECT sync_state_update('article', '{"sync_status": "modified"}') $$, NULL, '... to what it was'),
	($$ SELECT sync_state_update_many('[{"type_key": "b", "local_hash": "b2"}, {"type_key": "a", "local_hash": "a2"}]') $$, 'a b', 'update_many'),
	($$ SELECT sync_state_observe_many('{a,b,x}', '{a3,b2,NULL}', NULL) $$, 'a b x', 'observe_many: two hashes and a first status'),
	($$ SELECT sync_state_observe_many('{a,b,x}', '{a4,b2,NULL}', NULL) $$, 'a', '... and only what moved'),
	($$ SELECT sync_state_claim(2, 'a') $$, 'a article', 'claim'),
	($$ SELECT sync_state_mark_synced_many('{a,x}', '{a5,x5}', '{a5,x5}') $$, NULL, 'a call that fails: a run holds one of the keys'),
	($$ SELECT sync_state_mark_synced_many('{a,b}', '{a5,b5}', '{a5,b5}', ARRAY[t.run_id('a'), NULL]) $$, 'a b', 'mark_synced_many'),
	($$ SELECT sync_state_import('t.orm') $$, 'i1 i2', 'import, of the keys that were not there'),
	($$ UPDATE syncstate.sync_state SET local_hash = 'raw' WHERE type_key = 'c' $$, 'c', 'plain SQL'),
	($$ UPDATE syncstate.sync_state SET local_hash = local_hash, changed_xid = 1, updated_at = now() $$, NULL, '... that changes nothing, whatever it sets changed_xid to'),
	($$ INSERT INTO syncstate.sync_state (type_key, changed_xid) VALUES ('raw', 3) $$, 'raw', '... an INSERT with a changed_xid of its own'),
	($$ INSERT INTO syncstate.sync_state (type_key) VALUES ('c'), ('raw2') ON CONFLICT (type_key) DO UPDATE SET local_hash = 'orm' $$, 'c raw2', 'an upsert'),
	($$ SET session_replication_role = replica; UPDATE syncstate.sync_state SET local_hash = 'replica' WHERE type_key = 'c'; RESET session_replication_role $$, 'c', 'what replication applies'),
	-- Deletions.
	($$ SELECT sync_state_forget('raw') $$, '-raw', 'forget'),
	($$ SELECT sync_state_forget('raw') $$, NULL, '... a key that is unknown'),
	($$ SELECT sync_state_observe('raw', 'h') $$, 'raw', 'made again'),
	($$ SELECT sync_state_forget('raw') $$, '-raw', '... and deleted again'),
	($$ DELETE FROM syncstate.sync_state WHERE type_key IN ('x', 'raw2', 'y') $$, '-raw2 -x -y', 'plain DELETE of several'),
	($$ SELECT sync_state_forget('i1'); SELECT sync_state_observe('i1', 'h') $$, 'i1', 'deleted and made again in one transaction: it is there'),
	($$ SELECT sync_state_forget('i1'); SELECT sync_state_observe('i1', 'h'); SELECT sync_state_forget('i1') $$, '-i1', '... and deleted once more: it is gone'),
	($$ SELECT sync_state_observe('i1', 'h'); SELECT sync_state_forget('i1') $$, '-i1', 'made and deleted in one transaction'),
	($$ SET session_replication_role = replica; DELETE FROM syncstate.sync_state WHERE type_key = 'i2'; RESET session_replication_role $$, '-i2', 'deleted by replication'),
	($$ SELECT sync_state_observe('z', 'h'), sync_state_forget('c'), sync_state_observe('b', 'h'), sync_state_forget('é') $$, 'b -c z -é', 'rows and deletions of one transaction, in one order'),
	-- Subtransactions.
	($$ DO 'BEGIN PERFORM sync_state_observe(''s1'', ''h''); EXCEPTION WHEN no_data_found THEN NULL; END' $$, 's1', 'written by a subtransaction'),
	($$ DO 'BEGIN PERFORM sync_state_observe(''s1'', ''h2''); RAISE no_data_found; EXCEPTION WHEN no_data_found THEN NULL; END' $$, NULL, '... that was rolled back'),
	($$ DO 'BEGIN BEGIN PERFORM sync_state_forget(''s1''); EXCEPTION WHEN no_data_found THEN NULL; END; PERFORM sync_state_observe(''s2'', ''h''); RAISE no_data_found; EXCEPTION WHEN no_data_found THEN PERFORM sync_state_observe(''s3'', ''h''); END' $$,
	    's3', '... by one within that, and by what caught the error'),
	-- What is not content.
	($$ SELECT sync_state_prune('0') $$, NULL, 'prune'),
	($$ SELECT sync_state_repair() $$, NULL, 'repair of what is whole'),
	($$ ALTER TABLE syncstate.sync_state SET (fillfactor = 60) $$, NULL, 'a table rewritten') ,
	($$ ALTER TABLE syncstate.sync_state ADD note text; UPDATE syncstate.sync_state SET note = 'mine' WHERE type_key = 'a' $$, 'a', 'a column that somebody added is content');
CREATE PROCEDURE t.run_steps(cursor text) LANGUAGE plpgsql AS $$
	DECLARE
		s t.step;
	BEGIN
		FOR s IN SELECT * FROM t.step ORDER BY n LOOP
			BEGIN
				EXECUTE s.statement;
			EXCEPTION WHEN object_not_in_prerequisite_state OR lock_not_available THEN NULL;
			END;
			COMMIT;
			UPDATE t.step SET got = t.page(cursor) WHERE n = s.n;
			COMMIT;
			cursor = t.after(cursor);
		END LOOP;
	END $$;
CALL t.run_steps(:'cursor');
SELECT is(got, expected, name) FROM t.step ORDER BY n;
SELECT sync_state_cursor() AS cursor \gset
SELECT is(t.page(NULL), 'article b z s1 s3 a', 'from nothing: what is there, and no deletions');

-- A deletion tells the key and the time.
SELECT sync_state_forget('z') \g /dev/null
SELECT results_eq(format('SELECT type_key, deleted, sync_status, conflict_status, local_hash, remote_hash, last_sync_at, updated_at FROM sync_state_changes(%L)', :'cursor'),
	$$ SELECT 'z', true, NULL, NULL, NULL, NULL, NULL::timestamptz, deleted_at FROM syncstate.sync_tombstone WHERE type_key = 'z' $$,
	'a deletion tells the key and when it was deleted');

-- ---------------------------------------------------------------------------------------------
-- The reader's own transaction
-- ---------------------------------------------------------------------------------------------
SELECT sync_state_cursor() AS cursor \gset
SELECT sync_state_observe('b', 'before') \g /dev/null
BEGIN;
SELECT sync_state_observe('own', '1'), sync_state_observe('b', 'own'), sync_state_forget('s1') \g /dev/null
SELECT is(t.page(:'cursor'), NULL, 'what the reader itself has written is not committed, so not in the feed');
SELECT is(t.page(NULL), 'article s3 a', '... nor at the start');
SELECT sync_state_cursor() AS own \gset
SELECT sync_state_observe('own2', '1') \g /dev/null
COMMIT;
SELECT is(t.page(:'cursor'), 'b own own2 -s1', '... but once it is');
SELECT is(t.page(:'own'), 'b own own2 -s1', '... also from a cursor that was read in between');
SELECT t.after(:'cursor') AS cursor \gset
BEGIN;
SELECT sync_state_observe('own', '2') \g /dev/null
ROLLBACK;
SELECT is(t.page(:'cursor'), NULL, 'what was rolled back never comes');
BEGIN;
SAVEPOINT s;
SELECT sync_state_observe('a', 'sub'), sync_state_forget('own') \g /dev/null
ROLLBACK TO s;
SELECT sync_state_observe('b', 'top') \g /dev/null
SAVEPOINT s2;
SELECT sync_state_observe('article', 'sub') \g /dev/null
SELECT is(t.page(:'cursor'), NULL, 'own subtransactions are not committed either');
SELECT sync_state_cursor() AS own \gset
RELEASE s2;
COMMIT;
SELECT is(t.page(:'cursor'), 'article b', 'a savepoint that was released counts, one rolled back does not');
SELECT is(t.page(:'own'), 'article b', '... from a cursor read under it, too');
SELECT t.after(:'cursor') AS cursor \gset
BEGIN READ ONLY;
SELECT is(t.page(:'cursor'), NULL, 'the feed is read in a READ ONLY transaction');
SELECT isnt(sync_state_cursor(), NULL, '... and the position');
COMMIT;

-- ---------------------------------------------------------------------------------------------
-- While a set is read page by page, the table changes
-- ---------------------------------------------------------------------------------------------
DELETE FROM syncstate.sync_state;
SELECT sync_state_cursor() AS start \gset
SELECT sync_state_observe_many('{k1,k2,k3}', '{1,1,1}', NULL) \g /dev/null
SELECT sync_state_observe_many('{k4,k5}', '{1,1}', NULL) \g /dev/null
SELECT t.after(:'start', 2) AS cursor, t.after(NULL, 2) AS cursor0 \gset
SELECT sync_state_observe('k4', '2') \g /dev/null
SELECT sync_state_observe('k1', '2') \g /dev/null
SELECT sync_state_forget('k5'), sync_state_forget('k2') \g /dev/null
SELECT is(t.page(:'cursor'), 'k3 k4 k1 -k2 -k5', 'what is left of the set, and what changed meanwhile, in one page');
SELECT is(t.follow(:'cursor', n), 'k3 k4 k1 -k2 -k5', '... in pages of ' || n) FROM generate_series(1, 5) AS n;
SELECT is(t.follow(:'cursor0', n), 'k3 k4 k1 -k2 -k5', '... of one who started from nothing, in pages of ' || n) FROM generate_series(1, 5) AS n;

-- ---------------------------------------------------------------------------------------------
-- Transactions that were in progress: every set of them
-- ---------------------------------------------------------------------------------------------
DELETE FROM syncstate.sync_state;
SELECT sync_state_cursor() AS start \gset
SELECT sync_state_observe_many('{a,b,c,d,e}', '{1,1,1,1,1}', NULL) \g /dev/null
SELECT sync_state_observe_many('{b,f}', '{2,2}', NULL) \g /dev/null
SELECT sync_state_observe('g', '3'), sync_state_forget('a'), sync_state_forget('c') \g /dev/null
SELECT sync_state_observe_many('{a,h}', '{4,4}', NULL) \g /dev/null
SELECT sync_state_forget('d'), sync_state_forget('f') \g /dev/null
CREATE TABLE t.expected AS
	SELECT changed_xid, type_key, type_key AS shown FROM syncstate.sync_state
	UNION ALL
	SELECT changed_xid, type_key, '-' || type_key FROM syncstate.sync_tombstone WHERE type_key NOT IN (SELECT type_key FROM syncstate.sync_state)
	                                           AND changed_xid > (SELECT min(changed_xid) FROM syncstate.sync_state);
CREATE TABLE t.writer AS
	SELECT x, row_number() OVER (ORDER BY x) AS n
	  FROM (SELECT changed_xid FROM syncstate.sync_state UNION SELECT changed_xid FROM t.expected UNION SELECT max(changed_xid) + 1 FROM t.expected) AS s (x);
-- A snapshot as a cursor has it; its list in no order.
CREATE FUNCTION t.snapshot(ahead bigint, running bigint[]) RETURNS text LANGUAGE sql AS $$
	SELECT to_hex(least((SELECT min(x) FROM unnest(running) AS x), ahead)) || '-' || to_hex(ahead)
	       || coalesce('-' || (SELECT string_agg(to_hex(x), ',' ORDER BY random()) FROM unnest(running) AS x), '') $$;
CREATE FUNCTION t.before(cursor text) RETURNS text LANGUAGE sql AS $$ SELECT array_to_string((string_to_array($1, ':'))[1:5], ':') || ':' $$;
-- Of n transactions, those whose bit is set.
CREATE FUNCTION t.chosen(bits int, n int) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(x), '{}') FROM t.writer AS w WHERE w.n <= $2 AND bits >> (w.n::int - 1) & 1 = 1 $$;
CREATE FUNCTION t.unseen(ahead bigint, running bigint[], to_ahead bigint DEFAULT 9223372036854775807, to_running bigint[] DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(shown, ' ' ORDER BY changed_xid, type_key) FROM t.expected
	 WHERE (changed_xid >= $1 OR changed_xid = ANY ($2)) AND changed_xid < $3 AND changed_xid <> ALL ($4) $$;
SELECT is((SELECT count(*) FROM t.writer), 6::bigint, 'five transactions, and one that is to come');
SELECT is(t.unseen(0, '{}'), t.page(:'start'), 'all that they changed');
CREATE TABLE t.cursor AS
	SELECT w.x AS ahead, t.chosen(bits, w.n::int - 1) AS running
	  FROM t.writer AS w, LATERAL generate_series(0, (1 << (w.n::int - 1)) - 1) AS bits;
SELECT is((SELECT count(*) FROM t.cursor), 63::bigint, 'a reader may have seen them end in 63 ways');
SELECT is_empty(format($$
	SELECT ahead, running, n FROM t.cursor, unnest('{1,2,3,1000}'::int[]) AS n
	 WHERE t.follow(t.before(%L) || t.snapshot(ahead, running), n) IS DISTINCT FROM coalesce(t.unseen(ahead, running), '') $$, :'start'),
	'whichever it was: what it has not seen comes, once, in order, in pages of any size');
-- The same within a set that ends where fewer were in progress, and the set after that.
CREATE TABLE t.pair AS
	SELECT f.ahead, f.running, s.ahead AS to_ahead, s.running AS to_running
	  FROM t.cursor AS f, t.cursor AS s
	 WHERE f.ahead <= s.ahead AND NOT EXISTS (SELECT FROM unnest(s.running) AS x WHERE x < f.ahead AND x <> ALL (f.running));
SELECT is_empty(format($$
	SELECT * FROM t.pair, unnest('{1,2,1000}'::int[]) AS n
	 WHERE t.follow(t.before(%L) || t.snapshot(ahead, running) || ':' || t.snapshot(to_ahead, to_running) || ':0:', n)
	       IS DISTINCT FROM concat_ws(' ', t.unseen(ahead, running, to_ahead, to_running), t.unseen(to_ahead, to_running)) $$, :'start'),
	'... and if others ended while it read');
SELECT cmp_ok((SELECT count(*) FROM t.pair), '>', 300::bigint, '... in all ways there are');

-- ---------------------------------------------------------------------------------------------
-- A transaction that keeps an old snapshot
-- ---------------------------------------------------------------------------------------------
\setenv PGDATABASE syncstate_t_feed
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT sync_state_cursor() AS old \gset
\set newer `psql -XAtqc "SELECT FROM sync_state_observe('new', '1')" -c 'SELECT sync_state_cursor()'`
SELECT is(t.page(:'old'), NULL, 'an old snapshot does not see what was committed after it');
SELECT throws_ok(format('SELECT sync_state_changes(%L)', :'newer'), '55000', 'the snapshot of this transaction is older than the cursor',
	'a cursor that has read it is refused, lest the new be skipped');
COMMIT;
SELECT is(t.page(:'old'), 'new', 'what it did not see comes next');
SELECT is(t.page(:'newer'), NULL, '... and the newer cursor is good in a new transaction');

-- ---------------------------------------------------------------------------------------------
-- Arguments and surroundings
-- ---------------------------------------------------------------------------------------------
SELECT throws_ok('SELECT sync_state_changes(NULL, 0)', '22023', NULL, 'max_rows 0');
SELECT throws_ok('SELECT sync_state_changes(NULL, -1)', '22023', NULL, 'max_rows -1');
SELECT throws_ok('SELECT sync_state_changes(NULL, NULL)', '22004', NULL, 'max_rows NULL');
SELECT throws_ok($$ SELECT sync_state_changes('') $$, '22023', NULL, 'an empty cursor');
SELECT lives_ok($$ SELECT c.type_key, s.local_hash FROM syncstate.sync_state s JOIN sync_state_changes() c USING (type_key) WHERE c.deleted IS FALSE $$, 'it can be joined');
SELECT is((SELECT array_agg((c).type_key) FROM (SELECT sync_state_changes(NULL, 2) AS c) s), t.keys, 'it can stand in a SELECT list')
  FROM (SELECT string_to_array(t.page(NULL, 2), ' ') AS keys) t;
SELECT is(current_setting('enable_seqscan') || current_setting('enable_sort') || current_setting('enable_bitmapscan'), 'ononon', 'reading leaves the settings of the session alone');
DROP EXTENSION syncstate;
CREATE EXTENSION syncstate;
SELECT is(t.page(NULL), NULL, 'made anew in the same session: an empty feed');
SELECT sync_state_observe('k', '1') \g /dev/null
SELECT is(t.page(NULL), 'k', '... that is alive');

SELECT * FROM finish();
\c :home
DROP DATABASE syncstate_t_feed;
