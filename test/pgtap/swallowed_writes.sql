-- A trigger of somebody's that swallows rows of the extension's tables: no function says that it has
-- done what it has not. The SQLSTATE is 55000, and nothing of the call is left.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(27);

CREATE SCHEMA t;
CREATE TABLE t.rows (id int PRIMARY KEY, title text);
CREATE FUNCTION t.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
-- The rows of a table of the extension are swallowed from here on, or not any more.
CREATE FUNCTION t.swallow(tab text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE format('CREATE TRIGGER a_swallow BEFORE INSERT OR UPDATE OR DELETE ON syncstate.%I FOR EACH ROW EXECUTE FUNCTION t.swallow()', $1);
END $$;
CREATE FUNCTION t.let_pass(tab text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE format('DROP TRIGGER a_swallow ON syncstate.%I', $1);
END $$;
CREATE FUNCTION t.memory() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object(
		'state', (SELECT jsonb_agg(s ORDER BY s.type_key) FROM syncstate.sync_state s),
		'runs', (SELECT jsonb_agg(r ORDER BY r.type_key, r.run_number) FROM syncstate.sync_run r),
		'conflicts', (SELECT jsonb_agg(c ORDER BY c.type_key, c.conflict_number) FROM syncstate.sync_conflict c),
		'tombstones', (SELECT jsonb_agg(d ORDER BY d.type_key) FROM syncstate.sync_tombstone d),
		'sources', (SELECT jsonb_agg(s ORDER BY s.type_key) FROM syncstate.sync_source s),
		'tracking', (SELECT jsonb_agg(t ORDER BY t.type_key) FROM syncstate.sync_tracking t)) $$;
CREATE FUNCTION t.is_refused(call text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE before jsonb := t.memory();
BEGIN
	RETURN NEXT throws_ok('SELECT ' || call, '55000', 'the row of "k" could not be written', call);
	IF t.memory() IS DISTINCT FROM before THEN
		RETURN NEXT fail('... leaves a trace: ' || call);
	END IF;
END $$;

-- A new key.
SELECT t.swallow('sync_state');
SELECT t.is_refused(call) FROM unnest(ARRAY[
	$$ sync_state_update('k', '{"local_hash": "a"}') $$,
	$$ sync_state_observe('k', 'a') $$,
	$$ sync_state_mark_synced('k', 'a', 'a') $$,
	$$ sync_state_update_many('[{"type_key": "k", "local_hash": "a"}]') $$,
	$$ sync_state_mark_synced_many('{k}', '{a}', '{a}') $$,
	$$ sync_state_begin('k') $$,
	$$ sync_state_rollback('k') $$]) AS call;
SELECT t.let_pass('sync_state');

-- A listing tells how many rows it has changed, and means it.
SELECT t.swallow('sync_state');
SELECT is(sync_state_observe_many('{k}', '{a}', NULL), 0, 'a listing of which nothing is written has changed no row');
SELECT t.let_pass('sync_state');

-- One that is known, and in conflict; later with a checkpoint to resume from.
SELECT sync_state_mark_synced('k', 'a', 'a'), sync_state_observe('k', 'b', 'c') \g /dev/null
SELECT t.swallow('sync_state');
SELECT t.is_refused(call) FROM unnest(ARRAY[
	$$ sync_state_update('k', '{"local_hash": "z"}') $$,
	$$ sync_state_observe('k', 'z') $$,
	$$ sync_state_mark_synced('k', 'z', 'z') $$,
	$$ sync_state_update_many('[{"type_key": "k", "local_hash": "z"}]') $$,
	$$ sync_state_mark_synced_many('{k}', '{z}', '{z}') $$,
	$$ sync_state_begin('k') $$,
	$$ sync_state_fail('k') $$,
	$$ sync_state_rollback('k') $$,
	$$ sync_state_resolve('k', 'local') $$,
	$$ sync_state_reset('k') $$,
	$$ sync_state_forget('k') $$]) AS call;
SELECT t.let_pass('sync_state');

SELECT sync_state_begin('k') \g /dev/null
SELECT sync_state_checkpoint('k', run_id, '{"step": 1}'), sync_state_fail('k', run_id) FROM sync_state_get('k') \g /dev/null
SELECT t.swallow('sync_state');
SELECT t.is_refused($$ sync_state_resume('k') $$);
SELECT is((SELECT count(*) FROM sync_state_try_begin('k')), 0::bigint, 'trying to begin gets no run');
SELECT is((SELECT count(*) FROM sync_state_claim(10, retry_after => '0')), 0::bigint, '... and nothing is claimed');
SELECT t.let_pass('sync_state');

-- A run that would not be in the history.
SELECT t.swallow('sync_run');
SELECT t.is_refused(call) FROM unnest(ARRAY[$$ sync_state_begin('k') $$, $$ sync_state_resume('k') $$]) AS call;
SELECT t.let_pass('sync_run');

-- Sources, and what is noted of their tracking.
SELECT t.swallow('sync_source');
SELECT t.is_refused($$ sync_source_attach('k', 't.rows') $$);
SELECT t.let_pass('sync_source');
SELECT sync_source_attach('k', 't.rows') \g /dev/null
SELECT t.swallow('sync_tracking');
SELECT t.is_refused($$ sync_source_track('k') $$);
SELECT is(t.memory() -> 'tracking', 'null', '... so that it is not tracked');

SELECT * FROM finish();
ROLLBACK;
