-- get and delta look one row up past SPI, but only where that says what a SELECT would.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(30);

CREATE SCHEMA t;
CREATE ROLE syncstate_t_reader;
GRANT USAGE ON SCHEMA t, public, syncstate TO syncstate_t_reader;

-- Whether a statement of get's or delta's was prepared: then SPI was asked.
CREATE FUNCTION t.asked_spi() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$
	SELECT count(*) > 0 FROM pg_backend_memory_contexts WHERE name = 'CachedPlanSource' AND ident ~ '^SELECT s(\.local_hash.*)? FROM syncstate\.sync_state s WHERE s\.type_key'
$$;

SELECT sync_state_update('a', '{"local_hash": "1", "remote_hash": "2"}'), sync_state_mark_synced('b', 'h', 'h') \g /dev/null
SELECT sync_state_update('big', jsonb_build_object('local_hash', string_agg(md5(i::text), ''))) FROM generate_series(1, 5000) AS i \g /dev/null
SELECT results_eq($$ SELECT g FROM sync_state_get('a') AS g $$, $$ SELECT s FROM syncstate.sync_state AS s WHERE type_key = 'a' $$, 'the row as it is');
SELECT is_empty($$ SELECT * FROM sync_state_get('A') $$, 'a key that is not there');
SELECT is_empty($$ SELECT * FROM sync_state_get('aa') $$, 'nor are its neighbours');
SELECT is(sync_state_delta('a')->>'detail', 'conflict', 'delta of two hashes never synced');
SELECT is(sync_state_delta('b')->>'detail', 'unchanged', '... of two that were');
SELECT is(sync_state_delta('c')->>'detail', 'empty', '... and of none');
SELECT results_eq($$ SELECT g.local_hash, sync_state_delta('big')->>'local_hash' FROM sync_state_get('big') AS g $$,
                  $$ SELECT local_hash, local_hash FROM syncstate.sync_state WHERE type_key = 'big' $$, 'a hash that is stored out of line');
SELECT is(t.asked_spi(), false, 'no statement was needed for that');

-- The snapshot is the calling statement's.
SELECT results_eq($$ WITH w AS (UPDATE syncstate.sync_state SET local_hash = 'new' WHERE type_key = 'a' RETURNING local_hash)
                     SELECT w.local_hash, g.local_hash, sync_state_delta('a')->>'local_hash' FROM w, sync_state_get('a') AS g $$,
                  $$ VALUES ('new', '1', '1') $$, 'what the calling statement writes is not seen by it');
SELECT is((sync_state_get('a')).local_hash, 'new', '... but by the next');
CREATE FUNCTION t.inside() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	UPDATE syncstate.sync_state SET local_hash = 'newer' WHERE type_key = 'a';
	RETURN sync_state_delta('a')->>'local_hash';
END $$;
SELECT is(t.inside(), 'newer', 'a volatile function sees what it has written');
SELECT is(t.asked_spi(), false, 'still no statement');

-- A column of the user's.
ALTER TABLE syncstate.sync_state ADD COLUMN note text DEFAULT 'mine';
SELECT is((SELECT note FROM sync_state_get('b')), 'mine', 'a column that was added');
SELECT is((SELECT note FROM sync_state_get('a')), 'mine', '... to rows written since, too');
ALTER TABLE syncstate.sync_state DROP COLUMN note;
SELECT results_eq($$ SELECT g FROM sync_state_get('b') AS g $$, $$ SELECT s FROM syncstate.sync_state AS s WHERE type_key = 'b' $$, '... and dropped again');

-- Privileges.
SET LOCAL ROLE syncstate_t_reader;
SELECT throws_ok($$ SELECT sync_state_get('a') $$, '42501', 'permission denied for table sync_state', 'get without SELECT');
SELECT throws_ok($$ SELECT sync_state_delta('a') $$, '42501', 'permission denied for table sync_state', 'delta without SELECT');
RESET ROLE;
GRANT SELECT (type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, last_sync_at) ON syncstate.sync_state TO syncstate_t_reader;
SET LOCAL ROLE syncstate_t_reader;
SELECT is(sync_state_delta('b')->>'action', 'NO_CHANGE', 'delta with SELECT on the columns that it reads');
SELECT throws_ok($$ SELECT sync_state_get('a') $$, '42501', 'permission denied for table sync_state', 'get not: it reads all');
RESET ROLE;
SELECT is(t.asked_spi(), true, 'that is for SPI to tell');
GRANT SELECT ON syncstate.sync_state, syncstate.sync_source TO syncstate_t_reader;
SET LOCAL ROLE syncstate_t_reader;
SELECT is((SELECT count(*) FROM sync_state_get('a')), 1::bigint, 'get with SELECT on the table');
RESET ROLE;

-- Row security.
CREATE POLICY only_b ON syncstate.sync_state FOR SELECT TO syncstate_t_reader USING (type_key = 'b');
ALTER TABLE syncstate.sync_state ENABLE ROW LEVEL SECURITY;
SET LOCAL ROLE syncstate_t_reader;
SELECT is_empty($$ SELECT sync_state_get('a') $$, 'a row that a policy hides');
SELECT is(sync_state_delta('a')->>'detail', 'empty', '... from delta too');
SELECT is((SELECT count(*) FROM sync_state_get('b')), 1::bigint, 'one that it does not hide');
RESET ROLE;
ALTER TABLE syncstate.sync_state DISABLE ROW LEVEL SECURITY;

-- Rows elsewhere.
CREATE TABLE t.child () INHERITS (syncstate.sync_state);
INSERT INTO t.child (type_key, local_hash, changed_xid) VALUES ('in child', 'c', 0);
SELECT is((SELECT local_hash FROM sync_state_get('in child')), 'c', 'a row of a table that inherits');
SELECT is(sync_state_delta('in child')->>'detail', 'push', '... for delta');
DROP TABLE t.child;

-- Without its primary key.
ALTER TABLE syncstate.sync_state DROP CONSTRAINT sync_state_pkey;
SELECT is((SELECT local_hash FROM sync_state_get('a')), 'newer', 'without the primary key');
SELECT is(sync_state_delta('b')->>'detail', 'unchanged', '... delta');

-- Another one.
DROP EXTENSION syncstate CASCADE;
CREATE EXTENSION syncstate;
SELECT is_empty($$ SELECT * FROM sync_state_get('a') $$, 'made anew, in the same session: empty');
SELECT is(sync_state_delta('b')->>'detail', 'empty', '... for delta');

SELECT * FROM finish();
ROLLBACK;
