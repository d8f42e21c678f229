-- The row trigger of syncstate.sync_state, which holds for every writer: the functions, an ORM that
-- maps the table, plain SQL, a restore.
--
-- changed_xid is compared with the transaction's own id. As this file is one transaction, a row is
-- first "aged" where it matters: its changed_xid is set to 3 with the trigger off.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(128);

CREATE SCHEMA t;
CREATE FUNCTION t.bases(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(last_synced_hash, '-') || ' ' || coalesce(last_synced_remote_hash, '-')
	  FROM syncstate.sync_state s WHERE s.type_key = $1 $$;
CREATE FUNCTION t.age(type_key text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE aged bigint;
BEGIN
	ALTER TABLE syncstate.sync_state DISABLE TRIGGER "~syncstate_touch";
	UPDATE syncstate.sync_state s SET changed_xid = 3 WHERE s.type_key = $1 RETURNING changed_xid INTO aged;
	ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_touch";
	RETURN aged;
END $$;
CREATE FUNCTION t.xid(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE changed_xid WHEN 3 THEN 'old' WHEN pg_current_xact_id()::text::bigint THEN 'current' ELSE changed_xid::text END
	  FROM syncstate.sync_state s WHERE s.type_key = $1 $$;
-- A synced row with bases of its own, so that a base that follows is told from one that stays.
CREATE FUNCTION t.row(type_key text, last_sync_at timestamptz DEFAULT '2026-01-01 00:00:00.123456Z') RETURNS text LANGUAGE sql AS $$
	DELETE FROM syncstate.sync_state s WHERE s.type_key = $1;
	INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash,
	                                  last_sync_at, sync_status, conflict_status, changed_xid)
	VALUES ($1, 'L', 'R', 'bl', 'br', $2, 'modified', 'none', 3);
	SELECT t.bases($1) $$;

-- ---------------------------------------------------------------------------------------------
-- 1. What the triggers are
-- ---------------------------------------------------------------------------------------------
SELECT results_eq(
	$$ SELECT tgname::text COLLATE "default", tgenabled::text, tgtype::int FROM pg_trigger
	    WHERE tgrelid = 'syncstate.sync_state'::regclass AND NOT tgisinternal ORDER BY tgname $$,
	-- tgtype: row 1, before 2, insert 4, delete 8, update 16, truncate 32
	$$ VALUES ('~syncstate_announce', 'A', 1 + 4), ('~syncstate_entomb', 'A', 1 + 8), ('~syncstate_refuse_truncate', 'A', 2 + 32), ('~syncstate_touch', 'A', 1 + 2 + 4 + 16) $$,
	'announce: after insert, entomb: after delete, refuse_truncate: before truncate, touch: before insert or update; all ENABLE ALWAYS');
SELECT is_empty(
	$$ SELECT * FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
	    WHERE t.tgrelid = 'syncstate.sync_state'::regclass AND (l.lanname <> 'c' OR p.pronamespace <> 'syncstate'::regnamespace) $$,
	'their functions are C and live in schema syncstate');

-- The functions read rows by the shape of sync_state, so they refuse every other shape, however many columns it has.
DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE t.other (' || string_agg('c' || n || ' bigint', ', ') || ')' FROM generate_series(1, 20) n); END $$;
INSERT INTO t.other SELECT;
CREATE TABLE t.short (type_key text);
CREATE TABLE t.like (LIKE syncstate.sync_state);
ALTER TABLE t.like ALTER changed_xid TYPE text;
SELECT throws_ok(format('CREATE TRIGGER misplaced_%s %s FOR EACH ROW EXECUTE FUNCTION syncstate.%I(); %s', n, timing, function, statement), '39P01', NULL, why)
  FROM (VALUES
	(1, 'BEFORE INSERT ON t.other', 'touch', 'INSERT INTO t.other (c2) VALUES (1)', 'touch is refused on the insert of another table'),
	(2, 'BEFORE UPDATE ON t.other', 'touch', 'UPDATE t.other SET c2 = 2', '... on its update'),
	(3, 'AFTER DELETE ON t.other', 'entomb', 'DELETE FROM t.other', 'entomb is refused on its delete'),
	(4, 'AFTER INSERT ON t.other', 'announce', 'SET LOCAL syncstate.notify = ''all''; INSERT INTO t.other (c2) VALUES (1)', 'announce is refused on its insert'),
	(5, 'AFTER UPDATE ON syncstate.sync_state', 'touch', 'INSERT INTO syncstate.sync_state (type_key) VALUES (''x''); UPDATE syncstate.sync_state SET local_hash = ''x''', 'touch is refused after the fact'),
	(6, 'BEFORE INSERT ON t.short', 'touch', 'INSERT INTO t.short VALUES (''x'')', 'touch is refused on a table that begins like it, and ends too soon'),
	(7, 'BEFORE INSERT ON t.like', 'touch', 'INSERT INTO t.like (type_key, changed_xid) VALUES (''x'', ''y'')', '... and on one whose last column is of another type')
       ) AS misplaced (n, timing, function, statement, why)
 ORDER BY n;

-- It fires last: after a trigger that an application named with its own idea of last.
CREATE FUNCTION t.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.updated_at := '2001-01-01Z'; NEW.created_at := '2001-01-01Z'; NEW.changed_xid := 3; NEW.sync_status := 'failed';
	RETURN NEW;
END $$;
SELECT isnt((sync_state_begin('meddled')).run_id, NULL, 'a run');
CREATE TRIGGER zzzz_last BEFORE UPDATE ON syncstate.sync_state FOR EACH ROW EXECUTE FUNCTION t.meddle();
UPDATE syncstate.sync_state SET local_hash = 'x' WHERE type_key = 'meddled';
DROP TRIGGER zzzz_last ON syncstate.sync_state;
SELECT results_eq(
	$$ SELECT updated_at > now(), created_at > now(), t.xid('meddled'), sync_status, run_id, lease_expires_at
	     FROM syncstate.sync_state WHERE type_key = 'meddled' $$,
	$$ VALUES (true, true, 'current', 'failed', NULL::uuid, NULL::timestamptz) $$,
	'the touch trigger has the last word over a trigger named zzzz_last');

-- ---------------------------------------------------------------------------------------------
-- 2. The last_sync_at rule on UPDATE: a later time (or the first) records a sync
-- ---------------------------------------------------------------------------------------------
SELECT is(t.row('u'), 'bl br', 'a row with bases bl, br and hashes L, R');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02Z' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'L R', 'a later time alone: both bases follow their hashes');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-01 00:00:00.123457Z' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'L R', 'later by a microsecond is later');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02Z', local_hash = 'L2', remote_hash = 'R2' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'L2 R2', 'hashes written with it: the bases follow the new ones');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02Z', last_synced_hash = 'mine' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'mine R', 'a base that is named is kept as given, the other follows');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02Z', last_synced_remote_hash = 'theirs' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'L theirs', '... and the other way round');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02Z', last_synced_hash = last_synced_hash,
       last_synced_remote_hash = last_synced_remote_hash WHERE type_key = 'u';
SELECT is(t.bases('u'), 'bl br', 'named with the value it has is named: values are not compared');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02Z', last_synced_hash = NULL WHERE type_key = 'u';
SELECT is(t.bases('u'), '- R', 'named as NULL is named: our side is absent in the base');

SELECT is(t.row('u'), 'bl br', 'again');
UPDATE syncstate.sync_state SET last_sync_at = last_sync_at, local_hash = 'L2' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'bl br', 'the same time records nothing');
UPDATE syncstate.sync_state SET last_sync_at = '2025-12-31Z' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'bl br', 'an earlier time records nothing');
SELECT is((sync_state_get('u')).last_sync_at, '2025-12-31Z'::timestamptz, '... and is stored as given');
UPDATE syncstate.sync_state SET last_sync_at = NULL WHERE type_key = 'u';
SELECT is(t.bases('u'), 'bl br', 'no time records nothing');
UPDATE syncstate.sync_state SET last_sync_at = '1999-01-01Z' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'L2 R', 'from NULL any time is a sync');
UPDATE syncstate.sync_state SET local_hash = 'L3', sync_status = 'modified' WHERE type_key = 'u';
SELECT is(t.bases('u'), 'L2 R', 'an update that does not mention the time records nothing');

-- An ORM reads a row (its time types end at milliseconds) and writes back every column.
SELECT is(t.row('orm'), 'bl br', 'a row as an ORM finds it, with a time to the microsecond');
UPDATE syncstate.sync_state SET
	type_key = 'orm', local_hash = 'L', remote_hash = 'R', last_synced_hash = 'bl',
	last_sync_at = '2026-01-01 00:00:00.123Z', sync_status = 'modified', conflict_status = 'none',
	sync_progress = NULL, created_at = date_trunc('milliseconds', created_at), updated_at = date_trunc('milliseconds', updated_at)
 WHERE type_key = 'orm';
SELECT is(t.bases('orm'), 'bl br', 'its write-back, truncated to milliseconds, records no sync');
UPDATE syncstate.sync_state SET
	type_key = 'orm', local_hash = 'L9', remote_hash = 'R9', last_synced_hash = 'L9',
	last_sync_at = '2026-01-02 00:00:00.5Z', sync_status = 'in_sync', conflict_status = 'none',
	sync_progress = NULL, created_at = date_trunc('milliseconds', created_at), updated_at = date_trunc('milliseconds', updated_at)
 WHERE type_key = 'orm';
SELECT is(t.bases('orm'), 'L9 R9', 'its sync names the base it knows; the one its model does not know follows');

-- Prisma's upsert, Django's update_or_create: INSERT ... ON CONFLICT DO UPDATE.
SELECT is(t.row('upsert'), 'bl br', 'a row for an upsert');
INSERT INTO syncstate.sync_state (type_key, last_sync_at) VALUES ('upsert', '2026-01-02Z')
	ON CONFLICT (type_key) DO UPDATE SET last_sync_at = EXCLUDED.last_sync_at;
SELECT is(t.bases('upsert'), 'L R', 'the columns named are those of DO UPDATE SET: both bases follow');

-- The functions go by the same rule.
SELECT is(t.row('f'), 'bl br', 'a row for sync_state_update');
SELECT is((sync_state_update('f', '{"last_sync_at": "2026-01-02T00:00:00Z"}')).last_sync_at, '2026-01-02Z'::timestamptz, 'a later time by update');
SELECT is(t.bases('f'), 'L R', '... both bases follow');
SELECT is((sync_state_update('f', '{"last_sync_at": "2026-01-03T00:00:00Z", "last_synced_hash": "mine", "remote_hash": "R2"}')).last_synced_hash,
          'mine', 'a later time with one base');
SELECT is(t.bases('f'), 'mine R2', '... the given one is kept, the other follows');
SELECT is((sync_state_update('f', '{"last_sync_at": "2026-01-04T00:00:00Z", "last_synced_hash": null, "last_synced_remote_hash": "theirs"}')).last_synced_hash,
          NULL, 'a later time with both');
SELECT is(t.bases('f'), '- theirs', '... an explicit null is a base given');
SELECT is(t.row('g') || ' ' || t.row('h'), 'bl br bl br', 'rows for sync_state_update_many');
SELECT is(sync_state_update_many('{"g": {"last_sync_at": "2026-01-02T00:00:00Z"},
                                   "h": {"last_sync_at": "2026-01-02T00:00:00Z", "last_synced_hash": "mine"}}'), 2,
          'a batch in which one names a base and one does not');
SELECT is(t.bases('g') || ', ' || t.bases('h'), 'L R, mine R', '... each by its own keys');
-- They insert with a changed_xid, as a restore does; for a key that is new to them the rule holds all the same.
SELECT is((sync_state_update(key, state::jsonb)).type_key, key, 'an unknown key by update: ' || state)
  FROM (VALUES ('n1', '{"local_hash": "L", "remote_hash": "R", "last_sync_at": "2026-01-01T00:00:00Z"}'),
	       ('n2', '{"local_hash": "L", "remote_hash": "R", "last_sync_at": "2026-01-01T00:00:00Z", "last_synced_hash": "mine"}'),
	       ('n3', '{"local_hash": "L", "remote_hash": "R", "last_sync_at": "2026-01-01T00:00:00Z", "last_synced_remote_hash": null}'),
	       ('n4', '{"local_hash": "L", "last_sync_at": "2026-01-01T00:00:00Z"}'),
	       ('n5', '{"local_hash": "L", "remote_hash": "R", "last_sync_at": null}'),
	       ('n6', '{"local_hash": "L", "remote_hash": "R"}')) AS new (key, state) ORDER BY key;
SELECT is(sync_state_update_many('{
	"o1": {"local_hash": "L", "remote_hash": "R", "last_sync_at": "2026-01-01T00:00:00Z"},
	"o2": {"local_hash": "L", "remote_hash": "R", "last_sync_at": null}}'), 2, 'two more in a batch');
SELECT results_eq($$ SELECT k || ': ' || t.bases(k) FROM unnest('{n1,n2,n3,n4,n5,n6,o1,o2}'::text[]) k ORDER BY k $$,
	ARRAY['n1: L R', 'n2: mine R', 'n3: L -', 'n4: L -', 'n5: - -', 'n6: - -', 'o1: L R', 'o2: - -'],
	'with a time, bases that are not given follow, and those that are stay, a null too; without one, none does');

-- ---------------------------------------------------------------------------------------------
-- 3. INSERT: an application's, and a restore
-- ---------------------------------------------------------------------------------------------
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_sync_at) VALUES ('i1', 'L', 'R', '2026-01-01Z');
SELECT is(t.bases('i1'), 'L R', 'an insert with a time: bases that are not given are filled');
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_sync_at, last_synced_hash) VALUES ('i2', 'L', 'R', '2026-01-01Z', 'mine');
SELECT is(t.bases('i2'), 'mine R', '... one that is given is kept');
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash) VALUES ('i3', 'L', 'R');
SELECT is(t.bases('i3'), '- -', 'an insert without a time is no sync');
SELECT is(t.xid('i1') || ' ' || t.xid('i2') || ' ' || t.xid('i3'), 'current current current', 'changed_xid is filled in');
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_sync_at, created_at, updated_at, changed_xid)
VALUES ('i4', 'L', 'R', '2026-01-01Z', '2020-01-01Z', '2020-01-02Z', 4711);
SELECT is(t.bases('i4'), '- -', 'a restore brings its changed_xid: bases stay as given, NULL too');
SELECT results_eq($$ SELECT created_at, updated_at FROM syncstate.sync_state WHERE type_key = 'i4' $$,
	$$ VALUES ('2020-01-01Z'::timestamptz, '2020-01-02Z'::timestamptz) $$, '... and so do its times');
SELECT is(t.xid('i4'), 'current', '... but the transaction id is of this cluster');

-- ---------------------------------------------------------------------------------------------
-- 4. updated_at strictly grows, created_at and type_key stay
-- ---------------------------------------------------------------------------------------------
SELECT created_at AS created, updated_at AS updated FROM syncstate.sync_state WHERE type_key = 'i1' \gset
UPDATE syncstate.sync_state SET local_hash = local_hash WHERE type_key = 'i1';
SELECT cmp_ok((sync_state_get('i1')).updated_at, '>', :'updated'::timestamptz, 'any update moves updated_at, also one that changes nothing');
UPDATE syncstate.sync_state SET updated_at = '2000-01-01Z', created_at = '2000-01-01Z' WHERE type_key = 'i1';
SELECT cmp_ok((sync_state_get('i1')).updated_at, '>', :'updated'::timestamptz, 'a time that the writer gives is not taken');
SELECT clock_timestamp() AS called \gset
UPDATE syncstate.sync_state SET local_hash = local_hash WHERE type_key = 'i1';
SELECT ok(updated_at >= :'called'::timestamptz AND updated_at <= clock_timestamp(), '... but the clock of the write') FROM sync_state_get('i1');
SELECT is((sync_state_get('i1')).created_at, :'created'::timestamptz, 'created_at is silently kept');
CREATE FUNCTION t.grows(type_key text, times int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE last timestamptz := '-infinity'; this timestamptz;
BEGIN
	FOR i IN 1 .. times LOOP
		UPDATE syncstate.sync_state s SET sync_progress = to_jsonb(i) WHERE s.type_key = $1 RETURNING updated_at INTO this;
		IF this <= last THEN RETURN false; END IF;
		last := this;
	END LOOP;
	RETURN true;
END $$;
SELECT ok(t.grows('i1', 1000), 'a thousand updates in a row: strictly growing, even where the clock stands still');
INSERT INTO syncstate.sync_state (type_key, updated_at, changed_xid) VALUES ('future', '2199-12-31 23:59:59.999999Z', 3);
UPDATE syncstate.sync_state SET local_hash = 'x' WHERE type_key = 'future';
SELECT is((sync_state_get('future')).updated_at, '2200-01-01Z'::timestamptz, 'the clock was stepped back: a microsecond after the stored time');
SELECT is((sync_state_update('future', '{"local_hash": "y"}')).updated_at, '2200-01-01 00:00:00.000001Z'::timestamptz, '... and another one');
INSERT INTO syncstate.sync_state (type_key, updated_at, changed_xid) VALUES ('end of time', '294276-12-31 23:59:59.999999Z', 3);
DO $$ BEGIN UPDATE syncstate.sync_state SET local_hash = 'x' WHERE type_key = 'end of time'; EXCEPTION WHEN datetime_field_overflow THEN NULL; END $$;
SELECT is_empty($$ SELECT updated_at FROM syncstate.sync_state WHERE updated_at > '294276-12-31 23:59:59.999999Z' $$,
	'no time is stored that could not be read back: the last microsecond of all has no successor');
SELECT throws_ok($$ UPDATE syncstate.sync_state SET type_key = 'renamed' WHERE type_key = 'i1' $$, '22023', NULL, 'type_key cannot be changed');
SELECT lives_ok($$ UPDATE syncstate.sync_state SET type_key = type_key WHERE type_key = 'i1' $$, '... but may be written back');

-- ---------------------------------------------------------------------------------------------
-- 5. changed_xid: what the feed reports
-- ---------------------------------------------------------------------------------------------
SELECT is(t.row('x'), 'bl br', 'a row');
SELECT is(t.age('x'), 3::bigint, '... whose last change was in transaction 3');
UPDATE syncstate.sync_state SET sync_progress = '{"step": 1}', lease_expires_at = '2026-01-01Z', updated_at = now() WHERE type_key = 'x';
SELECT is(t.xid('x'), 'old', 'progress, lease and updated_at are not reported');
UPDATE syncstate.sync_state SET local_hash = local_hash, sync_status = sync_status WHERE type_key = 'x';
SELECT is(t.xid('x'), 'old', 'a write that changes nothing is not');
UPDATE syncstate.sync_state SET changed_xid = 99 WHERE type_key = 'x';
SELECT is(t.xid('x'), 'old', 'a writer cannot set it');
CREATE FUNCTION t.xid_after(assignment text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM t.row('x'); PERFORM t.age('x');
	EXECUTE 'UPDATE syncstate.sync_state SET ' || assignment || ' WHERE type_key = ''x''';
	RETURN t.xid('x');
END $$;
SELECT is(t.xid_after(assignment), 'current', assignment || ' is reported')
  FROM unnest(ARRAY['local_hash = ''n''', 'local_hash = NULL', 'remote_hash = ''n''', 'last_synced_hash = ''n''', 'last_synced_remote_hash = ''n''',
	'last_sync_at = ''2025-01-01Z''', 'sync_status = ''failed''', 'conflict_status = ''resolved''', 'run_number = 5',
	'sync_status = ''syncing'', run_id = ''00000000-0000-0000-0000-000000000001''']) AS assignment;
-- The same through the functions.
SELECT run_id AS run FROM sync_state_begin('x') \gset
SELECT is(t.xid('x'), 'current', 'begin is reported');
SELECT is(t.age('x'), 3::bigint, '(aged)');
SELECT isnt(sync_state_checkpoint('x', :'run', '{"step": 2}'), NULL, 'a checkpoint');
SELECT is(t.xid('x'), 'old', '... is not reported');
SELECT isnt(sync_state_checkpoint('x', :'run', NULL), NULL, 'nor is a heartbeat');
SELECT is(t.xid('x'), 'old', '(still the old one)');
SELECT is((sync_state_mark_synced('x', 'L', 'R', :'run')).sync_status, 'in_sync', 'the end of the run');
SELECT is(t.xid('x'), 'current', '... is');
-- Inside a subtransaction the tuple carries the subtransaction's id, changed_xid the top-level one.
SAVEPOINT sub;
UPDATE syncstate.sync_state SET local_hash = 'sub' WHERE type_key = 'x';
SELECT isnt((SELECT xmin::text::bigint FROM syncstate.sync_state WHERE type_key = 'x'), pg_current_xact_id()::text::bigint % (2^32)::bigint,
            'a write in a subtransaction has an xmin of its own');
SELECT is(t.xid('x'), 'current', '... and the changed_xid of the top-level transaction');
RELEASE sub;

-- ---------------------------------------------------------------------------------------------
-- 6. A write that moves the status off "syncing" fences the run
-- ---------------------------------------------------------------------------------------------
SELECT run_id AS run FROM sync_state_begin('fence') \gset
UPDATE syncstate.sync_state SET local_hash = 'x' WHERE type_key = 'fence';
SELECT is((sync_state_get('fence')).run_id, :'run'::uuid, 'a write that leaves the status alone leaves the run alone');
UPDATE syncstate.sync_state SET sync_status = 'modified' WHERE type_key = 'fence';
SELECT results_eq($$ SELECT run_id, lease_expires_at FROM syncstate.sync_state WHERE type_key = 'fence' $$,
	$$ VALUES (NULL::uuid, NULL::timestamptz) $$, 'plain SQL moves it off syncing: token and lease are cleared');
SELECT throws_ok(format('SELECT sync_state_checkpoint(%L, %L, %L)', 'fence', :'run', '{}'), '55000',
	format('run %s of "fence" was superseded', :'run'), '... and the run is fenced');
SELECT run_id AS run FROM sync_state_begin('fence') \gset
UPDATE syncstate.sync_state SET sync_status = NULL WHERE type_key = 'fence';
SELECT is((sync_state_get('fence')).run_id, NULL, 'no status is off syncing, too');
SELECT throws_ok($$ UPDATE syncstate.sync_state SET run_id = gen_random_uuid() WHERE type_key = 'fence' $$, '23514', NULL,
	'a token without syncing violates a CHECK');

-- ---------------------------------------------------------------------------------------------
-- 7. DELETE leaves a tombstone and takes the key's history along
-- ---------------------------------------------------------------------------------------------
SELECT is((sync_state_observe('del', 'a', 'b'))->>'action', 'INITIAL_SYNC', 'a key with a conflict');
SELECT is((SELECT run_number FROM sync_state_begin('del')), 1, '... and a run');
SELECT is((SELECT count(*) FROM syncstate.sync_run WHERE type_key = 'del') + (SELECT count(*) FROM syncstate.sync_conflict WHERE type_key = 'del'),
          2::bigint, '... has a history');
DELETE FROM syncstate.sync_state WHERE type_key = 'del';
SELECT is_empty($$ SELECT type_key FROM syncstate.sync_run WHERE type_key = 'del'
                   UNION ALL SELECT type_key FROM syncstate.sync_conflict WHERE type_key = 'del' $$, 'deleted by plain SQL, its history goes too');
SELECT results_eq($$ SELECT changed_xid, deleted_at > now() FROM syncstate.sync_tombstone WHERE type_key = 'del' $$,
	$$ SELECT pg_current_xact_id()::text::bigint, true $$, 'and it leaves a tombstone, with transaction and time');
UPDATE syncstate.sync_tombstone SET changed_xid = 3, deleted_at = '2020-01-01Z' WHERE type_key = 'del';
INSERT INTO syncstate.sync_state (type_key) VALUES ('del');
DELETE FROM syncstate.sync_state WHERE type_key = 'del';
SELECT results_eq($$ SELECT changed_xid, deleted_at > now() FROM syncstate.sync_tombstone WHERE type_key = 'del' $$,
	$$ SELECT pg_current_xact_id()::text::bigint, true $$, 'deleted again: still one tombstone, the newer one');
DELETE FROM syncstate.sync_state WHERE type_key IN ('i1', 'i2', 'i3');
SELECT set_eq($$ SELECT type_key FROM syncstate.sync_tombstone WHERE type_key LIKE 'i%' $$, ARRAY['i1', 'i2', 'i3'], 'one tombstone for each row of a DELETE');

SELECT throws_ok('TRUNCATE syncstate.sync_state', '55000', NULL, 'TRUNCATE would leave no tombstones: it is refused');
CREATE FUNCTION t.hint(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	EXECUTE call; RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; RETURN hint;
END $$;
SELECT matches(t.hint('TRUNCATE syncstate.sync_state'), 'DELETE', '... with a hint to DELETE');

-- ---------------------------------------------------------------------------------------------
-- 8. session_replication_role = replica: changed_xid is set, nothing else
-- ---------------------------------------------------------------------------------------------
SELECT is(t.row('rep'), 'bl br', 'a row');
SELECT is(t.age('rep'), 3::bigint, '... aged');
SET LOCAL session_replication_role = replica;
UPDATE syncstate.sync_state SET last_sync_at = '2026-06-01Z', updated_at = '2020-01-02Z', created_at = '2020-01-01Z', local_hash = 'L2'
 WHERE type_key = 'rep';
SELECT results_eq($$ SELECT t.bases('rep'), last_sync_at, updated_at, created_at, t.xid('rep') FROM syncstate.sync_state WHERE type_key = 'rep' $$,
	$$ VALUES ('bl br', '2026-06-01Z'::timestamptz, '2020-01-02Z'::timestamptz, '2020-01-01Z'::timestamptz, 'current') $$,
	'an update as a replica is taken as it is; changed_xid is of this cluster');
INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_sync_at, updated_at) VALUES ('rep2', 'L', 'R', '2026-01-01Z', '2020-01-02Z');
SELECT results_eq($$ SELECT t.bases('rep2'), updated_at, t.xid('rep2') FROM syncstate.sync_state WHERE type_key = 'rep2' $$,
	$$ VALUES ('- -', '2020-01-02Z'::timestamptz, 'current') $$, 'so is an insert');
SELECT throws_ok('TRUNCATE syncstate.sync_state', '55000', NULL, 'TRUNCATE is refused to a replica as well');
DELETE FROM syncstate.sync_state WHERE type_key = 'rep2';
SELECT is((SELECT count(*) FROM syncstate.sync_tombstone WHERE type_key = 'rep2'), 1::bigint, 'a delete leaves its tombstone');
SET LOCAL session_replication_role = origin;

-- ---------------------------------------------------------------------------------------------
-- 9. The CHECKs hold for every writer
-- ---------------------------------------------------------------------------------------------
SELECT throws_ok('INSERT INTO syncstate.sync_state (type_key' || coalesce(', ' || nullif(cols, ''), '') || ') VALUES (' || vals || ')', state, NULL, what)
  FROM (VALUES
	(1, '', $$''$$, '23514', 'an empty key'),
	(2, '', $$repeat('k', 513)$$, '23514', 'a key of 513 bytes'),
	(3, '', $$repeat(U&'\00e9', 257)$$, '23514', 'a key of 257 characters in 514 bytes'),
	(4, '', 'NULL', '23502', 'no key'),
	(5, 'sync_status', $$'a', 'done'$$, '23514', 'an unknown status'),
	(6, 'conflict_status', $$'a', 'maybe'$$, '23514', 'an unknown conflict status'),
	(7, 'last_sync_at', $$'a', 'infinity'$$, '23514', 'an infinite last_sync_at'),
	(8, 'created_at', $$'a', '-infinity'$$, '23514', 'an infinite created_at'),
	(9, 'updated_at', $$'a', 'infinity'$$, '23514', 'an infinite updated_at'),
	(10, 'sync_status, run_id', $$'a', 'failed', gen_random_uuid()$$, '23514', 'a token on a failed row')
       ) AS bad (n, cols, vals, state, what)
 ORDER BY n;
SELECT lives_ok($$ INSERT INTO syncstate.sync_state (type_key) VALUES (repeat('k', 512)) $$, 'a key of 512 bytes is good');

SELECT * FROM finish();
ROLLBACK;
