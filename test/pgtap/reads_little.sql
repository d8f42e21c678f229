-- What concerns a few keys reads a few rows, however many the tables hold. (The feed is in
-- feed_reads_index.sql.)
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(9);

CREATE SCHEMA t;
-- Rows of a table that this transaction has read so far.
CREATE FUNCTION t.read(relation regclass) RETURNS bigint LANGUAGE sql AS $$
	SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relid = relation $$;
-- How many more a statement reads.
CREATE FUNCTION t.reads(relation regclass, statement text) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		before bigint = t.read(relation);
	BEGIN
		EXECUTE statement;
		RETURN t.read(relation) - before;
	END $$;

-- Every statement is planned while the tables are empty, and kept; and planned anew while they are
-- nearly so, because what is known of them has changed.
CREATE PROCEDURE t.plan() LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM sync_state_observe('first', 'a', 'b'), sync_state_observe('first', 'c'), sync_state_resolve('first', 'local');
		PERFORM sync_state_begin('first');
		PERFORM count(*) FROM sync_state_detect_interrupted();
	END $$;
CALL t.plan();
ANALYZE syncstate.sync_state, syncstate.sync_run, syncstate.sync_conflict;
SELECT sync_state_forget('first', true) \g /dev/null
CALL t.plan();
SELECT sync_state_forget('first', true) \g /dev/null

SELECT sync_state_mark_synced_many(array_agg('synced ' || i), array_agg('h'::text), array_agg('h'::text)) FROM generate_series(1, 5000) AS i \g /dev/null
SELECT sync_state_observe_many(array_agg('conflict ' || i), array_agg('l'::text), array_agg('r'::text)) FROM generate_series(1, 3000) AS i \g /dev/null
SELECT count(sync_state_begin('running ' || i)) FROM generate_series(1, 10) AS i \g /dev/null
UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '1 hour' WHERE type_key LIKE 'running%';

SELECT is((SELECT count(*) FROM sync_state_detect_interrupted()), 10::bigint, 'ten of some 8,000 keys are interrupted');
SELECT cmp_ok(t.reads('syncstate.sync_state', 'SELECT sync_state_detect_interrupted()'), '<=', 50::bigint, '... which are found without reading the others');
SELECT is((SELECT count(*) FROM syncstate.sync_conflict), 3000::bigint, '3,000 conflicts are open');
SELECT cmp_ok(t.reads('syncstate.sync_conflict', $$ SELECT sync_state_observe('one more', 'l', 'r') $$), '<=', 20::bigint, '... one more is logged without reading those');
SELECT is((SELECT count(*) FROM syncstate.sync_conflict WHERE type_key = 'one more'), 1::bigint, '... and is logged');
SELECT cmp_ok(t.reads('syncstate.sync_conflict', $$ SELECT sync_state_observe('one more', 'l2', 'r') $$), '<=', 20::bigint, '... moves on');
SELECT cmp_ok(t.reads('syncstate.sync_conflict', $$ SELECT sync_state_resolve('one more', 'local') $$), '<=', 20::bigint, '... is resolved');
SELECT cmp_ok(t.reads('syncstate.sync_run', $$ SELECT sync_state_begin('one more') $$), '<=', 20::bigint, '... and gets a run');
-- How that is planned is not how the rest of the transaction is.
SELECT is(concat_ws(' ', current_setting('enable_seqscan'), current_setting('enable_bitmapscan'), current_setting('enable_sort')), 'on on on', 'the settings of the session are as they were');

SELECT * FROM finish();
ROLLBACK;
