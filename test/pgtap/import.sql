-- Adopting a hand-made table: as ORMs make them, and as nobody should.

-- A notice is for who looks on, so a psql of its own shows it.
\setenv PGDATABASE :DBNAME
\set aside 'CREATE TABLE orm (id int, "typeKey" text, name text, "a ""b""" int); ALTER TABLE orm DROP name;'
\setenv ASIDE :aside
\set notice `psql -XAtqc "SET client_min_messages = warning; BEGIN; CREATE EXTENSION syncstate; $ASIDE SET LOCAL client_min_messages = notice; SELECT sync_state_import('orm'); ROLLBACK" 2>&1`
\set silence `psql -XAtqc "SET client_min_messages = warning; BEGIN; CREATE EXTENSION syncstate; CREATE TABLE orm (type_key text); SET LOCAL client_min_messages = notice; SELECT sync_state_import('orm'); ROLLBACK" 2>&1`

BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(94);

CREATE SCHEMA t;
CREATE FUNCTION t.hashes(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', coalesce(local_hash, '-'), coalesce(remote_hash, '-'), coalesce(last_synced_hash, '-'), coalesce(last_synced_remote_hash, '-'))
	  FROM sync_state_get($1) $$;
CREATE FUNCTION t.next(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT (d->>'action') || ' ' || (d->>'detail') FROM sync_state_delta($1) AS d $$;

-- ---------------------------------------------------------------------------------------------
-- snake_case, as an ORM makes it: timestamp(3) without zone, in UTC
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.snake (
	id serial PRIMARY KEY,
	type_key text NOT NULL UNIQUE,
	local_hash text,
	remote_hash text,
	last_synced_hash text,
	last_sync_at timestamp(3),
	sync_status text NOT NULL DEFAULT 'new',
	conflict_status text DEFAULT 'none',
	sync_progress jsonb,
	created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
	updated_at timestamp(3) NOT NULL);
INSERT INTO t.snake (type_key, local_hash, remote_hash, last_synced_hash, last_sync_at, sync_status, conflict_status, sync_progress, created_at, updated_at) VALUES
	('article', 'a2', 'a1', 'a1', '2026-07-01 12:00:00.123', 'modified', 'none', NULL, '2026-01-01 00:00:00', '2026-07-02 08:30:00'),
	('author', 'u1', 'md5:u1', 'u1', '2026-03-29 02:30:00', 'in_sync', 'none', NULL, '2026-01-01 00:00:00', '2026-07-02 08:30:00'),
	('page', 'p2', 'p3', 'p1', '2026-07-01 12:00:00', 'conflict', 'detected', NULL, '2026-01-01 00:00:00', '2026-07-02 08:30:00'),
	('image', NULL, 'i1', NULL, NULL, 'new', NULL, NULL, '2026-01-01 00:00:00', '2026-07-02 08:30:00'),
	('video', 'v1', 'v1', NULL, NULL, 'syncing', 'none', '{"step": 3, "total": 7}', '2026-01-01 00:00:00', '2026-07-02 08:30:00'),
	('menu', 'm2', 'm1', 'm1', '2026-07-01 12:00:00', 'failed', 'resolved', '{"step": 1}', '2026-01-01 00:00:00', '2026-07-02 08:30:00');
SELECT is(sync_state_import('t.snake'), 6, 'all rows are adopted');
SELECT results_eq('SELECT type_key, local_hash, remote_hash, last_synced_hash, last_sync_at, sync_status, conflict_status, sync_progress, created_at, updated_at FROM syncstate.sync_state ORDER BY type_key',
	$$ SELECT type_key COLLATE "C", local_hash, remote_hash, last_synced_hash, last_sync_at AT TIME ZONE 'UTC', sync_status, conflict_status, sync_progress,
	          created_at AT TIME ZONE 'UTC', updated_at AT TIME ZONE 'UTC' FROM t.snake ORDER BY type_key COLLATE "C" $$, '... column by column');
SELECT is((sync_state_get('article')).last_sync_at, '2026-07-01 12:00:00.123Z'::timestamptz, 'a time without a zone is in UTC');
SELECT is(t.hashes('article') || '; ' || t.next('article'), 'a2 a1 a1 a1; PUSH edit', 'the missing base of the other side: the one base there was');
SELECT is(t.hashes('author') || '; ' || t.next('author'), 'u1 md5:u1 u1 md5:u1; NO_CHANGE unchanged', '... or, of what is in sync, the hash it has');
SELECT is(t.hashes('page') || '; ' || t.next('page'), 'p2 p3 p1 p1; CONFLICT edit/edit', 'a conflict');
SELECT results_eq('SELECT type_key, conflict_number, kind, local_hash, remote_hash, base_local_hash, resolved_at FROM syncstate.sync_conflict',
	$$ VALUES ('page' COLLATE "C", 1, 'edit/edit', 'p2', 'p3', 'p1', NULL::timestamptz) $$, '... is logged');
SELECT is((sync_state_resolve('page', 'local', NULL, 1)).sync_status, 'modified', '... and can be resolved');
SELECT is(t.hashes('image') || '; ' || t.next('image'), '- i1 - -; INITIAL_SYNC pull', 'never synced');
SELECT is((SELECT array_agg(k) FROM sync_state_detect_interrupted() AS k), '{video}', 'a run without proof of life is an interrupted one');
SELECT is(sync_progress, '{"step": 3, "total": 7}', '... that can be resumed') FROM sync_state_resume('video');
SELECT is(sync_progress, '{"step": 1}', 'as can one that failed') FROM sync_state_resume('menu');
SELECT is_empty($$ SELECT type_key FROM syncstate.sync_state WHERE changed_xid <> pg_current_xact_id()::text::bigint $$, 'the feed will tell of them');
SELECT is(sync_state_import('t.snake'), 0, 'a second time: they are there already');

-- What is there is left alone.
DELETE FROM syncstate.sync_state WHERE type_key IN ('author', 'menu');
UPDATE syncstate.sync_state SET local_hash = 'mine' WHERE type_key = 'article';
SELECT is(sync_state_import('t.snake'), 2, 'only the keys that are missing');
SELECT is(t.hashes('article'), 'mine a1 a1 a1', '... the others are left alone');
DELETE FROM syncstate.sync_state;

-- The session's TimeZone is not asked.
CREATE FUNCTION t.imported_under(zone text) RETURNS timestamptz[] LANGUAGE plpgsql AS $$
	DECLARE
		result timestamptz[];
	BEGIN
		PERFORM set_config('TimeZone', zone, true);
		DELETE FROM syncstate.sync_state;
		PERFORM sync_state_import('t.snake');
		SELECT array_agg(last_sync_at ORDER BY type_key) || min(created_at) || max(updated_at) INTO result FROM syncstate.sync_state;
		PERFORM set_config('TimeZone', 'UTC', true);
		RETURN result;
	END $$;
SELECT is(t.imported_under(zone), t.imported_under('UTC'), 'TimeZone ' || zone)
  FROM unnest('{Europe/Berlin,America/New_York,Asia/Kolkata,Pacific/Apia,UTC}'::text[]) AS zone;
SELECT is(to_char((sync_state_get('author')).last_sync_at, 'YYYY-MM-DD HH24:MI'), '2026-03-29 02:30', 'an hour that the clocks of Berlin skipped');
DELETE FROM syncstate.sync_state;

-- ---------------------------------------------------------------------------------------------
-- camelCase, quoted, as an ORM makes it without a mapping
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t."SyncState" (
	id text PRIMARY KEY DEFAULT gen_random_uuid(),
	"typeKey" text NOT NULL UNIQUE,
	"localHash" text,
	"remoteHash" text,
	"lastSyncedHash" text,
	"lastSyncedRemoteHash" text,
	"lastSyncAt" timestamptz(3),
	"syncStatus" text,
	"conflictStatus" text,
	"syncProgress" jsonb,
	"createdAt" timestamptz(3) DEFAULT now(),
	"updatedAt" timestamptz(3));
INSERT INTO t."SyncState" ("typeKey", "localHash", "remoteHash", "lastSyncedHash", "lastSyncedRemoteHash", "lastSyncAt", "syncStatus", "conflictStatus", "syncProgress", "createdAt", "updatedAt") VALUES
	('article', 'a', 'A', 'b', 'B', '2026-07-01 12:00:00+02', 'conflict', 'detected', '[1]', '2026-01-01 00:00:00+02', NULL),
	('author', 'a', 'A', 'a', NULL, '2026-07-01 12:00:00+02', 'in_sync', 'none', NULL, NULL, NULL);
SELECT is(sync_state_import('t."SyncState"'), 2, 'camelCase');
SELECT results_eq($$ SELECT local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, last_sync_at, sync_status, conflict_status, sync_progress, created_at FROM sync_state_get('article') $$,
	$$ VALUES ('a', 'A', 'b', 'B', '2026-07-01 10:00:00Z'::timestamptz, 'conflict', 'detected', '[1]'::jsonb, '2025-12-31 22:00:00Z'::timestamptz) $$, '... every column');
SELECT is(created_at BETWEEN now() AND clock_timestamp() AND updated_at = created_at, true, 'a missing time of creation or update is the present') FROM sync_state_get('author');
SELECT is(t.hashes('author'), 'a A a -', 'a base that the table has, and that is NULL, is NULL');
DELETE FROM syncstate.sync_state;
-- A mixture, in another order; columns once dropped do not count.
CREATE TABLE t.mixed (dropped int, "syncStatus" text, type_key text, gone timestamp, local_hash text, "remoteHash" text);
ALTER TABLE t.mixed DROP dropped, DROP gone;
INSERT INTO t.mixed VALUES ('new', 'article', 'l', 'r');
SELECT is(sync_state_import('t.mixed') || ' ' || t.hashes('article'), '1 l r - -', 'a mixture of spellings');
DELETE FROM syncstate.sync_state;

-- ---------------------------------------------------------------------------------------------
-- The older form: five columns, no times
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.older (type_key varchar(255), local_hash char(8), remote_hash char(8), last_synced_hash char(8), sync_status varchar(20));
INSERT INTO t.older VALUES ('article', 'aaaa', 'AAAA', 'aaaa', 'in_sync'), ('author', 'bb', 'aaaa', 'aaaa', 'modified'), ('page', 'l', 'r', NULL, 'conflict'), ('image', 'x', NULL, NULL, NULL);
SELECT is(sync_state_import('t.older'), 4, 'five columns without times');
SELECT is(t.hashes('article') || '; ' || t.next('article'), 'aaaa AAAA aaaa AAAA; NO_CHANGE unchanged', 'in sync; char(n) without its padding');
SELECT is(t.hashes('author') || '; ' || t.next('author'), 'bb aaaa aaaa aaaa; PUSH edit', 'modified');
SELECT is(t.next('page'), 'INITIAL_SYNC conflict', 'no base: a first sync that collides');
SELECT is((SELECT kind FROM syncstate.sync_conflict WHERE type_key = 'page'), 'create/create', '... logged');
SELECT is((sync_state_get('image')).sync_status, NULL, 'a status that is NULL stays NULL');
SELECT is_empty($$ SELECT 1 FROM syncstate.sync_state WHERE last_sync_at IS NOT NULL OR created_at < now() OR updated_at < now() OR created_at > clock_timestamp() $$, 'when it was synced is not known; the rows are made now');
DELETE FROM syncstate.sync_state;
-- Without any base, and what is in sync is so on both sides.
CREATE TABLE t.baseless (type_key text, local_hash text, remote_hash text, sync_status text, conflict_status text);
INSERT INTO t.baseless VALUES ('article', 'a', 'A', 'in_sync', 'none'), ('author', 'a', 'A', 'modified', NULL);
SELECT is(sync_state_import('t.baseless'), 2, 'a table without bases');
SELECT is(t.hashes('article') || '; ' || t.next('article'), 'a A a A; NO_CHANGE unchanged', 'what is in sync has nothing to transfer');
SELECT is(t.hashes('author') || '; ' || t.next('author'), 'a A - -; INITIAL_SYNC conflict', 'what is not was never synced');
DELETE FROM syncstate.sync_state;
CREATE TABLE t.keys (type_key text);
INSERT INTO t.keys VALUES ('b'), ('a');
SELECT is(sync_state_import('t.keys'), 2, 'keys alone');
SELECT is(t.hashes('a') || '; ' || t.next('a'), '- - - -; INITIAL_SYNC empty', '... and nothing known of them');
DELETE FROM t.keys;
SELECT is(sync_state_import('t.keys'), 0, 'an empty table');
DELETE FROM syncstate.sync_state;

-- ---------------------------------------------------------------------------------------------
-- Types of columns
-- ---------------------------------------------------------------------------------------------
CREATE TYPE t.status AS ENUM ('new', 'in_sync', 'archived');
CREATE DOMAIN t.hash AS varchar(64) CHECK (VALUE <> '');
CREATE DOMAIN t.moment AS timestamp(0);
CREATE TABLE t.typed (type_key uuid, local_hash t.hash, remote_hash name, last_synced_hash uuid, sync_status t.status, sync_progress json, last_sync_at t.moment);
INSERT INTO t.typed VALUES ('6F9619FF-8B86-D011-B42D-00C04FC964FF', 'h', 'n', '00000000-0000-0000-0000-000000000001', 'in_sync', '{"a": 1, "a": 2}', '2026-07-01 12:00:00');
SELECT is(sync_state_import('t.typed'), 1, 'uuid, domain, name, enum, json');
SELECT results_eq($$ SELECT type_key, local_hash, remote_hash, last_synced_hash, sync_status, sync_progress, last_sync_at FROM syncstate.sync_state $$,
	$$ VALUES ('6f9619ff-8b86-d011-b42d-00c04fc964ff' COLLATE "C", 'h', 'n', '00000000-0000-0000-0000-000000000001', 'in_sync', '{"a": 2}'::jsonb, '2026-07-01 12:00:00Z'::timestamptz) $$, '... by their text');
DELETE FROM syncstate.sync_state;
CREATE TABLE t.progress (type_key text, sync_progress text);
INSERT INTO t.progress VALUES ('a', '{"step": 1}'), ('b', NULL);
SELECT is(sync_state_import('t.progress'), 2, 'a checkpoint kept as text');
SELECT is((sync_state_get('a')).sync_progress, '{"step": 1}', '... is JSON');
UPDATE t.progress SET type_key = 'c', sync_progress = 'step 1' WHERE type_key = 'a';
SELECT throws_ok($$ SELECT sync_state_import('t.progress') $$, '22P02', NULL, '... if it is');
DELETE FROM syncstate.sync_state;
CREATE FUNCTION t.wrong(columns text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE format('CREATE TABLE t.wrong (%s)', columns);
		PERFORM sync_state_import('t.wrong');
		RETURN 'imported';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
	END $$;
SELECT is(t.wrong(columns), '22023 ' || message, columns)
  FROM (VALUES (1, 'type_key int', 'column "type_key" has type integer'),
               (2, 'type_key text[]', 'column "type_key" has type text[]'),
               (3, 'type_key text, local_hash bytea', 'column "local_hash" has type bytea'),
               (4, 'type_key text, sync_status boolean', 'column "sync_status" has type boolean'),
               (5, 'type_key text, last_sync_at date', 'column "last_sync_at" has type date'),
               (6, 'type_key text, "lastSyncAt" bigint', 'column "lastSyncAt" has type bigint'),
               (7, 'type_key text, updated_at text', 'column "updated_at" has type text'),
               (8, 'type_key text, sync_progress int', 'column "sync_progress" has type integer'),
               (9, 'id text', 't.wrong has no column type_key or "typeKey"'),
               (10, '"Type_Key" text, "TYPE_KEY" text, typekey text', 't.wrong has no column type_key or "typeKey"'),
               (11, 'type_key text, "typeKey" text', 'the table has both "type_key" and "typeKey"'),
               (12, 'type_key text, "localHash" text, local_hash text', 'the table has both "local_hash" and "localHash"')) AS v (n, columns, message) ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- Keys
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.bad (type_key text, sync_status text, last_sync_at timestamp);
SELECT is((SELECT count(*) FROM syncstate.sync_state), 0::bigint, 'nothing is there');
INSERT INTO t.bad VALUES ('a'), ('b'), ('a');
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '22023', 't.bad has type_key "a" more than once', 'a key twice: whose row would it be');
UPDATE t.bad SET type_key = NULL WHERE type_key = 'a';
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '22023', 't.bad has a row without a type_key', 'rows without a key');
UPDATE t.bad SET type_key = '' WHERE type_key IS NULL;
DELETE FROM t.bad WHERE ctid = (SELECT max(ctid) FROM t.bad WHERE type_key = '');
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '22023', NULL, 'an empty key');
UPDATE t.bad SET type_key = repeat('k', 600) WHERE type_key = '';
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '22023', NULL, 'a key of 600 bytes');
UPDATE t.bad SET type_key = repeat('é', 257) WHERE length(type_key) = 600;
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '22023', NULL, '... of 257 letters and 514 bytes');
UPDATE t.bad SET type_key = repeat('é', 256) WHERE length(type_key) = 257;
SELECT is(sync_state_import('t.bad'), 2, '... of 512 bytes');
DELETE FROM syncstate.sync_state;
UPDATE t.bad SET sync_status = 'archived' WHERE type_key = 'b';
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '23514', NULL, 'a status that is not allowed');
UPDATE t.bad SET sync_status = NULL, last_sync_at = 'infinity' WHERE type_key = 'b';
SELECT throws_ok($$ SELECT sync_state_import('t.bad') $$, '23514', NULL, 'a time without end');
SELECT is_empty('SELECT type_key FROM syncstate.sync_state', 'none of these was adopted by half');
-- Keys are compared by their bytes, whatever the collation of their column.
SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') AS icu \gset
\if :icu
CREATE COLLATION t.folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t.folded (type_key text COLLATE t.folding, sync_status text COLLATE t.folding, remote_hash text COLLATE "POSIX", last_synced_hash text COLLATE t.folding);
INSERT INTO t.folded VALUES ('Article', 'in_sync', 'r', 'r'), ('article', 'modified', 'r', 's');
SELECT is((SELECT count(*) FROM t.folded WHERE type_key = 'article'), 2::bigint, 'a column that takes A for a');
SELECT is(sync_state_import('t.folded'), 2, '... has two keys');
DELETE FROM syncstate.sync_state;
DELETE FROM t.folded WHERE sync_status = 'modified';
UPDATE t.folded SET sync_status = 'IN_SYNC';
SELECT throws_ok($$ SELECT sync_state_import('t.folded') $$, '23514', NULL, '... but no statuses in capitals');
\else
SELECT skip('a server without ICU', 3);
\endif

-- ---------------------------------------------------------------------------------------------
-- What a source can be
-- ---------------------------------------------------------------------------------------------
CREATE VIEW t.view AS SELECT 'view-' || type_key AS type_key, local_hash || remote_hash AS local_hash FROM t.snake WHERE type_key IN ('article', 'page');
SELECT is(sync_state_import('t.view'), 2, 'a view');
SELECT is((sync_state_get('view-page')).local_hash, 'p2p3', '... with its expressions');
CREATE MATERIALIZED VIEW t.materialized AS SELECT 'materialized' AS type_key;
SELECT is(sync_state_import('t.materialized'), 1, 'a materialized view');
CREATE TABLE t.partitioned (type_key text, local_hash text) PARTITION BY LIST (local_hash);
CREATE TABLE t.part1 (local_hash text, type_key text);
ALTER TABLE t.partitioned ATTACH PARTITION t.part1 FOR VALUES IN ('1');
CREATE TABLE t.part2 PARTITION OF t.partitioned DEFAULT;
INSERT INTO t.partitioned VALUES ('in part 1', '1'), ('in part 2', '2');
SELECT is(sync_state_import('t.partitioned'), 2, 'a partitioned table');
CREATE TEMPORARY TABLE temporary AS SELECT 'temporary' AS type_key;
SELECT is(sync_state_import('temporary'), 1, 'a temporary table');
CREATE EXTENSION postgres_fdw;
CREATE SERVER nowhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/nowhere');
CREATE USER MAPPING FOR CURRENT_USER SERVER nowhere;
CREATE FOREIGN TABLE t.foreign (type_key text) SERVER nowhere;
SELECT throws_ok($$ SELECT sync_state_import('t.foreign') $$, '08001', NULL, 'a foreign table: its server is asked');
SELECT is(sync_state_import('syncstate.sync_state'), 0, 'the table itself has nothing that it has not');
CREATE SEQUENCE t.sequence;
CREATE TYPE t.composite AS (type_key text);
SELECT throws_ok(format('SELECT sync_state_import(%L)', relation), '22023', NULL, relation || ' is no table')
  FROM unnest('{t.snake_pkey,t.sequence,t.composite}'::text[]) AS relation;
SELECT throws_ok('SELECT sync_state_import(NULL)', '22004', NULL, 'NULL');
SELECT throws_ok('SELECT sync_state_import(0)', '22023', NULL, 'no table at all');
SELECT throws_ok('SELECT sync_state_import(4294967295)', '22023', NULL, 'an OID that no table has');
SELECT throws_ok($$ SELECT sync_state_import('t.nowhere') $$, '42P01', NULL, 'a name that no table has');

-- ---------------------------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------------------------
CREATE SCHEMA "t; DROP";
CREATE TABLE "t; DROP"."a ""b"" 'c' $1 \d"
	("type_key" text, "typekey""; DROP TABLE t.snake; --" text, "i" text, "$1" text, "1); SELECT 1" int, "select" text, "local_hash" text);
INSERT INTO "t; DROP"."a ""b"" 'c' $1 \d" (type_key, i, local_hash) VALUES ('hostile''"; --', 'i', 'h');
SELECT is(sync_state_import($$"t; DROP"."a ""b"" 'c' $1 \d"$$), 1, 'names with quotes, blanks and statements in them');
SELECT is((sync_state_get('hostile''"; --')).local_hash, 'h', '... are names');
SELECT is((SELECT count(*) FROM t.snake), 6::bigint, 'the other tables are as they were');

-- Columns that are left aside are named in a notice.
SELECT is(:'notice'::text, E'NOTICE:  columns of public.orm that were not imported: "id", "a "b""\n0', 'what is left aside is told');
SELECT is(:'silence'::text, '0', 'where nothing is, nothing is told');

-- ---------------------------------------------------------------------------------------------
-- Who may
-- ---------------------------------------------------------------------------------------------
CREATE ROLE syncstate_t_importer;
CREATE TABLE t.secret (type_key text, local_hash text, ssn text);
INSERT INTO t.secret VALUES ('secret', 'h', '123');
GRANT USAGE ON SCHEMA syncstate, t TO syncstate_t_importer;
SET LOCAL ROLE syncstate_t_importer;
SELECT throws_ok($$ SELECT sync_state_import('t.secret') $$, '42501', NULL, 'who may not read the source');
RESET ROLE;
GRANT SELECT ON t.secret TO syncstate_t_importer;
SET LOCAL ROLE syncstate_t_importer;
SELECT throws_ok($$ SELECT sync_state_import('t.secret') $$, '42501', NULL, '... or not write the state');
RESET ROLE;
REVOKE SELECT ON t.secret FROM syncstate_t_importer;
GRANT SELECT (type_key, local_hash) ON t.secret TO syncstate_t_importer;
GRANT SELECT, INSERT ON syncstate.sync_state TO syncstate_t_importer;
SET LOCAL ROLE syncstate_t_importer;
SELECT is(sync_state_import('t.secret'), 1, 'the columns that are adopted are enough');
RESET ROLE;
ALTER TABLE t.secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON t.secret TO syncstate_t_importer USING (ssn = '');
INSERT INTO t.secret VALUES ('hidden', 'h', '124'), ('shown', 'h', '');
SET LOCAL ROLE syncstate_t_importer;
SELECT is(sync_state_import('t.secret'), 1, 'row security of the source holds');
RESET ROLE;
SELECT is((sync_state_get('hidden')).type_key, NULL, '... what is hidden is not adopted');
SET LOCAL transaction_read_only = on;
SELECT throws_ok($$ SELECT sync_state_import('t.snake') $$, '25006', NULL, 'in a READ ONLY transaction');

SELECT * FROM finish();
ROLLBACK;
