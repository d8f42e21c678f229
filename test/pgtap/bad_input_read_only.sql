-- READ ONLY transactions (and with them standbys): every read works, every write is 25006; and
-- nothing that is called is left out.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(42);

CREATE SCHEMA t;
-- The result of a call in a READ ONLY transaction: a subtransaction that is made READ ONLY and then undone.
CREATE FUNCTION t.read_only(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('transaction_read_only', 'on', true);
	EXECUTE call;
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN 'works';
	WHEN OTHERS THEN RETURN SQLSTATE;
END $$;

SELECT is((sync_state_mark_synced('article', 'a', 'a')).sync_status, 'in_sync', 'a key in sync');
SELECT is((SELECT run_number FROM sync_state_begin('held')), 1, 'a key held by a run');

SELECT is(sync_state_observe('torn', 'a', 'b')->>'detail', 'conflict', 'a key in conflict');
CREATE TABLE t.hand_made (type_key text, local_hash text);
INSERT INTO t.hand_made VALUES ('imported', 'a');

CREATE TABLE t.call (n serial, expected text, call text);
INSERT INTO t.call (expected, call) VALUES
	('works', $$SELECT sync_state_action('a', 'b', 'c', 'd')$$),
	('works', $$SELECT sync_state_detail('a', 'b', 'c', 'd')$$),
	('works', $$SELECT sync_state_delta('article')$$),
	('works', $$SELECT * FROM sync_state_plan()$$),
	('works', $$SELECT * FROM sync_state_plan_for('{article,x}', '{a,b}', NULL, true)$$),
	('works', $$SELECT * FROM sync_state_get('article')$$),
	('works', $$SELECT * FROM sync_state_list()$$),
	('works', $$SELECT * FROM sync_state_compare('{"a": 1}', '{}')$$),
	('works', $$SELECT * FROM sync_state_changed_since('-infinity')$$),
	('works', $$SELECT * FROM sync_state_detect_interrupted()$$),
	('works', $$SELECT * FROM syncstate.sync_interrupted$$),
	('works', $$SELECT * FROM syncstate.sync_overview$$),
	('works', $$SELECT * FROM syncstate.sync_summary$$),
	('works', $$SELECT sync_state_cursor()$$),
	('works', $$SELECT * FROM sync_state_changes()$$),
	('works', $$SELECT * FROM sync_state_changes(sync_state_cursor(), 10)$$),
	('works', $$SELECT sync_state_version()$$),
	('works', $$SELECT sync_hash('{}'), sync_hash_text('')$$),
	('25006', $$SELECT sync_state_update('article', '{"local_hash": "b"}')$$),
	('25006', $$SELECT sync_state_update_many('{"article": {"local_hash": "b"}}')$$),
	('25006', $$SELECT sync_state_observe('article', 'b')$$),
	('25006', $$SELECT sync_state_observe_many('{article}', '{b}', NULL)$$),
	('25006', $$SELECT sync_state_mark_synced('article', 'b', 'b')$$),
	('25006', $$SELECT sync_state_mark_synced_many('{article}', '{b}', '{b}')$$),
	('25006', $$SELECT sync_state_reset('article')$$),
	('25006', $$SELECT sync_state_forget('article')$$),
	('25006', $$SELECT sync_state_begin('article')$$),
	('25006', $$SELECT sync_state_try_begin('article')$$),
	('25006', $$SELECT sync_state_resume('article')$$),
	('25006', $$SELECT sync_state_claim()$$),
	('25006', $$SELECT sync_state_checkpoint('held', (SELECT run_id FROM sync_state_get('held')), '{}')$$),
	('25006', $$SELECT sync_state_fail('article')$$),
	('25006', $$SELECT sync_state_rollback('article')$$),
	('25006', $$SELECT sync_state_resolve('torn', 'local')$$),
	('25006', $$SELECT sync_state_import('t.hand_made')$$),
	('25006', $$SELECT sync_state_prune('1 day')$$),
	('25006', $$SELECT sync_state_repair()$$);
SELECT is(t.read_only(call), expected, call) FROM t.call ORDER BY n;
SELECT is_empty(
	$$ SELECT p.proname FROM pg_depend d JOIN pg_proc p ON (p.oid = d.objid)
	    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate') AND p.pronamespace <> 'syncstate'::regnamespace
	      AND NOT EXISTS (SELECT FROM t.call WHERE call ~ ('\m' || p.proname || '\(')) $$,
	'every public function was called');
SELECT is((SELECT local_hash FROM sync_state_get('article')), 'a', 'nothing was written');

SELECT * FROM finish();
ROLLBACK;
