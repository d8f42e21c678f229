-- Repair: what a restore past the triggers leaves.  What the feed makes of it is in
-- feed_refused.sql; a real dump and restore in test/t.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(43);

CREATE SCHEMA t;
CREATE FUNCTION t.triggers() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(tgenabled::text, '' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'syncstate.sync_state'::regclass AND NOT tgisinternal $$;
CREATE FUNCTION t.incarnation() RETURNS uuid LANGUAGE sql AS $$ SELECT incarnation FROM syncstate.sync_feed $$;
-- Everything but what is to be mended.
CREATE FUNCTION t.content() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_agg(to_jsonb(s) - 'changed_xid' ORDER BY type_key) FROM syncstate.sync_state AS s $$;
CREATE FUNCTION t.own_xid() RETURNS bigint LANGUAGE sql AS $$ SELECT pg_current_xact_id()::text::bigint $$;
-- Restores rows past the triggers, with transaction ids that far ahead.
CREATE PROCEDURE t.restore(keys text[], ahead bigint[]) LANGUAGE plpgsql AS $$
	BEGIN
		ALTER TABLE syncstate.sync_state DISABLE TRIGGER USER;
		INSERT INTO syncstate.sync_state (type_key, local_hash, created_at, updated_at, changed_xid)
			SELECT k, 'h', '2020-01-01Z', '2020-01-02Z', t.own_xid() + a FROM unnest(keys, ahead) AS r (k, a);
		ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER "~syncstate_touch", ENABLE ALWAYS TRIGGER "~syncstate_entomb",
			ENABLE ALWAYS TRIGGER "~syncstate_refuse_truncate", ENABLE ALWAYS TRIGGER "~syncstate_announce";
	END $$;

SELECT is(t.triggers(), 'AAAA', 'four triggers, all enabled always');

-- ---------------------------------------------------------------------------------------------
-- Nothing amiss
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_state_repair(), 0, 'an empty table');
SELECT sync_state_observe('article', 'h'), sync_state_begin('author'), sync_state_observe('page', 'l', 'r'), sync_state_forget('page') \g /dev/null
CREATE TABLE t.before AS SELECT t.content(), t.incarnation(), (SELECT jsonb_agg(to_jsonb(s)) FROM syncstate.sync_state s) AS rows;
SELECT is(sync_state_repair(), 0, 'and one that is whole');
SELECT results_eq('SELECT * FROM t.before', 'SELECT t.content(), t.incarnation(), (SELECT jsonb_agg(to_jsonb(s)) FROM syncstate.sync_state s)',
	'nothing is changed, so cursors stay good');

-- ---------------------------------------------------------------------------------------------
-- Triggers
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.switch (n int GENERATED ALWAYS AS IDENTITY, command text);
INSERT INTO t.switch (command)
	SELECT format(c, tg)
	  FROM unnest('{~syncstate_touch,~syncstate_entomb,~syncstate_refuse_truncate,~syncstate_announce}'::text[]) AS tg,
	       unnest('{DISABLE TRIGGER %I,ENABLE TRIGGER %I,ENABLE REPLICA TRIGGER %I}'::text[]) AS c
	UNION ALL
	SELECT unnest('{DISABLE TRIGGER ALL,ENABLE TRIGGER ALL}'::text[]);
CREATE FUNCTION t.repaired(command text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		incarnation uuid = t.incarnation();
		mended int;
	BEGIN
		EXECUTE 'ALTER TABLE syncstate.sync_state ' || command;
		IF t.triggers() = 'AAAA' THEN
			RETURN 'nothing was amiss';
		END IF;
		mended = sync_state_repair();
		RETURN format('%s rows, triggers %s, %s incarnation', mended, t.triggers(), CASE WHEN t.incarnation() = incarnation THEN 'same' ELSE 'new' END);
	END $$;
SELECT is(t.repaired(command), '0 rows, triggers AAAA, new incarnation', command) FROM t.switch ORDER BY n;
SELECT is(t.content(), (SELECT content FROM t.before), 'the rows are what they were');
-- Triggers of others are theirs.
CREATE FUNCTION t.noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER mine BEFORE UPDATE ON syncstate.sync_state FOR EACH ROW EXECUTE FUNCTION t.noop();
ALTER TABLE syncstate.sync_state DISABLE TRIGGER mine, DISABLE TRIGGER "~syncstate_touch";
SELECT is(sync_state_repair(), 0, 'a trigger of somebody else');
SELECT is(t.triggers(), 'DAAAA', '... is left as it is');
SELECT t.incarnation() AS incarnation \gset
ALTER TABLE syncstate.sync_state ENABLE TRIGGER mine;
SELECT is(sync_state_repair(), 0, 'enabled as usual, it');
SELECT is(t.incarnation(), :'incarnation', '... is nothing amiss');
DROP TRIGGER mine ON syncstate.sync_state;

-- ---------------------------------------------------------------------------------------------
-- Transaction ids
-- ---------------------------------------------------------------------------------------------
CALL t.restore('{r1,r2,r3,r4}', '{100000,1000000,2000000000000,-1}');
SELECT is(t.triggers(), 'AAAA', 'the triggers are as they should be');
SELECT t.content() AS content, t.incarnation() AS incarnation \gset
SELECT is(sync_state_repair(), 3, 'three rows bear ids that were not given out here');
SELECT results_eq('SELECT type_key, changed_xid - t.own_xid() FROM syncstate.sync_state WHERE type_key LIKE ''r_'' ORDER BY type_key',
	$$ VALUES ('r1' COLLATE "C", 0::bigint), ('r2', 0), ('r3', 0), ('r4', -1) $$, '... they get that of the repair; one that may be from here is left');
SELECT is(t.content(), :'content'::jsonb, 'nothing else of them is touched, updated_at least of all');
SELECT is(t.triggers(), 'AAAA', 'the triggers are back on');
SELECT isnt(t.incarnation(), :'incarnation', 'a new incarnation');
SELECT t.incarnation() AS incarnation \gset
SELECT is(sync_state_repair(), 0, 'a second time');
SELECT is(t.incarnation(), :'incarnation', '... there is nothing to do');
UPDATE syncstate.sync_state SET local_hash = 'x' WHERE type_key = 'r1';
SELECT cmp_ok(updated_at, '>', '2020-01-02Z'::timestamptz, 'the trigger works again') FROM sync_state_get('r1');
-- Both at once.
CALL t.restore('{r5}', '{5000}');
ALTER TABLE syncstate.sync_state DISABLE TRIGGER USER, ENABLE TRIGGER USER;
SELECT is(sync_state_repair(), 1, 'a row, and triggers that are not ALWAYS');
SELECT is(t.triggers(), 'AAAA', '... all mended');

-- ---------------------------------------------------------------------------------------------
-- The row of sync_feed
-- ---------------------------------------------------------------------------------------------
DELETE FROM syncstate.sync_feed;
SELECT is(sync_state_repair(), 0, 'a missing row of sync_feed');
SELECT results_eq('SELECT singleton, incarnation IS NOT NULL, pruned_xid FROM syncstate.sync_feed', 'VALUES (true, true, 0::bigint)', '... is made anew');
SELECT isnt(t.incarnation(), :'incarnation', '... of another incarnation');
SELECT isnt(sync_state_cursor(), NULL, '... and the feed works');
UPDATE syncstate.sync_feed SET pruned_xid = 77;
ALTER TABLE syncstate.sync_state DISABLE TRIGGER USER;
SELECT is(sync_state_repair(), 0, 'triggers again');
SELECT is((SELECT pruned_xid FROM syncstate.sync_feed), 77::bigint, 'what was pruned stays known');

-- ---------------------------------------------------------------------------------------------
-- Who may
-- ---------------------------------------------------------------------------------------------
CREATE ROLE syncstate_t_owner;
CREATE ROLE syncstate_t_other;
GRANT USAGE, CREATE ON SCHEMA syncstate TO syncstate_t_owner;
GRANT USAGE ON SCHEMA syncstate, t TO syncstate_t_owner, syncstate_t_other;
GRANT ALL ON ALL TABLES IN SCHEMA syncstate TO syncstate_t_other;
SET LOCAL ROLE syncstate_t_other;
SELECT throws_ok('SELECT sync_state_repair()', '42501', NULL, 'every privilege, but not the owner');
RESET ROLE;
ALTER TABLE syncstate.sync_state OWNER TO syncstate_t_owner;
ALTER TABLE syncstate.sync_feed OWNER TO syncstate_t_owner;
CALL t.restore('{r6}', '{6000}');
SET LOCAL ROLE syncstate_t_owner;
SELECT is(sync_state_repair(), 1, 'the owner, who is no superuser');
SET LOCAL transaction_read_only = on;
SELECT throws_ok('SELECT sync_state_repair()', '25006', NULL, 'in a READ ONLY transaction');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
