-- The matrix of privileges: which role may call which function, by exact SQLSTATE.
--
-- The rule: a function runs with the rights of its caller. So it works for who has what the table
-- under "Permissions" in the reference lists for it, and is 42501 for who lacks any of what it reads or
-- writes. "needs" is that: by what a call does, and no more; "may" is the reference's row, which must do.
-- As grants: S, I, U, D on a table; the schema syncstate: USAGE; OWN: to be its owner.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;
CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(23);

CREATE ROLE syncstate_test_owner;
CREATE ROLE syncstate_test_caller;
CREATE ROLE syncstate_test_super SUPERUSER;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO syncstate_test_owner', current_database()); END $$;
SET LOCAL ROLE syncstate_test_owner;
CREATE EXTENSION syncstate;
RESET ROLE;

CREATE SCHEMA t;
GRANT USAGE ON SCHEMA t TO PUBLIC;
CREATE TABLE t.rows (id int PRIMARY KEY, body text);
CREATE TABLE t.copy (id int PRIMARY KEY, body text);
CREATE TABLE t.tracked (id int PRIMARY KEY, body text);
CREATE TABLE t.hand_made (type_key text, local_hash text);
INSERT INTO t.rows VALUES (1, 'x'), (2, 'y');
INSERT INTO t.copy VALUES (1, 'x');
INSERT INTO t.hand_made VALUES ('imported', 'a');

-- What everybody may call, in this state.
SELECT sync_state_mark_synced('article', 'a', 'a');
SELECT sync_state_observe('torn', 'x', 'y');
SELECT sync_state_observe('page', 'p');
SELECT sync_state_begin('stopped');
SELECT sync_state_checkpoint('stopped', (sync_state_get('stopped')).run_id, '{"step": 1}');
SELECT sync_state_fail('stopped', force => true);
SELECT sync_state_begin('held');
SELECT sync_source_attach('rows', 't.rows', 't.copy', row_base => true);
SELECT sync_source_attach('tracked', 't.tracked');
SELECT sync_source_track('tracked');
SELECT sync_source_attach('free', 't.tracked');
-- The token, which a worker has in its hand.
CREATE TABLE t.token AS SELECT run_id FROM sync_state_get('held');
GRANT SELECT ON t.token TO PUBLIC;

CREATE TABLE t.call (n serial, call text, needs text[], may text[]);
-- Touches no table.
INSERT INTO t.call (call, needs, may) SELECT call, '{}', '{}' FROM unnest(ARRAY[
	'sync_state_version()', 'sync_state_action(NULL, NULL, NULL, NULL)', 'sync_state_detail(NULL, NULL, NULL, NULL)',
	'sync_hash(''{}'')', 'sync_hash_text(''x'')', 'sync_row_hash(1)', '(SELECT sync_digest(1)) x', '(SELECT sync_sketch(100, 1, 1)) x',
	'sync_sketch_diff((SELECT sync_sketch(100, 1, 1)), (SELECT sync_sketch(100, 1, 2)))']) call;
-- What needs nothing but USAGE for the type of its result.
INSERT INTO t.call (call, needs, may) VALUES ('sync_state_compare(''{}'', ''{}'')', '{}', '{}');
-- Reads.
INSERT INTO t.call (call, needs, may) SELECT call, '{sync_state:S}', '{sync_state:S}' FROM unnest(ARRAY[
	'sync_state_delta(''article'')', 'sync_state_plan()', 'sync_state_plan_for(''{article}'', ''{a}'', ''{a}'')', 'sync_state_get(''article'')', 'sync_state_list()',
	'sync_state_changed_since(''-infinity'')', 'sync_state_detect_interrupted()']) call;
-- Follows. Tombstones are read from a cursor on.
INSERT INTO t.call (call, needs, may) SELECT call, needs, '{sync_state:S,sync_tombstone:S,sync_feed:S}' FROM (VALUES
	('sync_state_cursor()', '{sync_state:S,sync_feed:S}'::text[]),
	('sync_state_changes()', '{sync_state:S,sync_feed:S}'),
	('sync_state_changes(sync_state_cursor())', '{sync_state:S,sync_tombstone:S,sync_feed:S}')) AS c (call, needs);
-- Upserts.
INSERT INTO t.call (call, needs, may) SELECT call, needs, '{sync_state:SIU}' FROM (VALUES
	('sync_state_update(''article'', ''{"local_hash": "c"}'')', '{sync_state:SU}'::text[]),
	('sync_state_update(''new'', ''{"local_hash": "c"}'')', '{sync_state:SIU}'),
	('sync_state_update_many(''{"article": {"local_hash": "d"}}'')', '{sync_state:SIU}')) AS c (call, needs);
-- Records, with what the log of conflicts and the history of runs need.
INSERT INTO t.call (call, needs, may) SELECT call, needs, '{sync_state:SIU,sync_run:SIU,sync_conflict:SIU}' FROM (VALUES
	(1, 'sync_state_observe(''article'', ''a'', ''a'')', '{sync_state:SIU}'::text[]),
	(2, 'sync_state_observe(''article'', ''p'', ''q'')', '{sync_state:SIU,sync_conflict:SI}'),
	(3, 'sync_state_observe_many(''{article,new}'', ''{p,p}'', ''{q,q}'')', '{sync_state:SIU,sync_conflict:SI}'),
	(4, 'sync_state_mark_synced(''article'', ''e'', ''e'')', '{sync_state:SU}'),
	(5, 'sync_state_mark_synced(''torn'', ''e'', ''e'')', '{sync_state:SU,sync_conflict:SU}'),
	(6, 'sync_state_mark_synced(''held'', ''e'', ''e'', (SELECT run_id FROM t.token))', '{sync_state:SU,sync_run:SU}'),
	(7, 'sync_state_mark_synced_many(''{article}'', ''{f}'', ''{f}'')', '{sync_state:SIU}'),
	(8, 'sync_state_mark_synced_many(''{held}'', ''{f}'', ''{f}'', ARRAY(SELECT run_id FROM t.token))', '{sync_state:SIU,sync_run:SU}'),
	(9, 'sync_state_resolve(''torn'', ''local'')', '{sync_state:SU,sync_conflict:SU}'),
	(10, 'sync_state_reset(''article'')', '{sync_state:SU}'),
	(11, 'sync_state_begin(''article'')', '{sync_state:SIU,sync_run:SI}'),
	(12, 'sync_state_try_begin(''article'')', '{sync_state:SIU,sync_run:SI}'),
	(13, 'sync_state_claim()', '{sync_state:SIU,sync_run:SI}'),
	(14, 'sync_state_resume(''stopped'')', '{sync_state:SU,sync_run:SI}'),
	(15, 'sync_state_checkpoint(''held'', (SELECT run_id FROM t.token), ''{}'')', '{sync_state:SU}'),
	(16, 'sync_state_fail(''held'', (SELECT run_id FROM t.token))', '{sync_state:SU,sync_run:SU}'),
	(17, 'sync_state_rollback(''held'', (SELECT run_id FROM t.token))', '{sync_state:SU,sync_run:SU}'),
	(18, 'sync_state_rollback(''unknown'')', '{sync_state:SIU}'),
	(19, 'sync_state_mark_synced(''new'', ''e'', ''e'')', '{sync_state:SIU}')) AS c (n, call, needs) ORDER BY n;
INSERT INTO t.call (call, needs, may) VALUES
	('sync_state_import(''t.hand_made'')', '{sync_state:SI,t.hand_made:S}', '{sync_state:SIU,sync_run:SIU,sync_conflict:SIU,t.hand_made:S}'),
	('sync_state_forget(''article'')', '{sync_state:SD,sync_run:SD,sync_conflict:SD,sync_tombstone:SIU}', '{sync_state:SIUD,sync_run:SIUD,sync_conflict:SIUD,sync_tombstone:SIU}'),
	('sync_state_prune(''1 day'')', '{sync_state:S,sync_run:SD,sync_conflict:SD,sync_tombstone:SD}', '{sync_state:S,sync_run:SD,sync_conflict:SD,sync_tombstone:SD,sync_feed:SU,sync_tracking_delta:SID}'),
	('sync_state_delta(''rows'')', '{sync_state:S,t.rows:S,t.copy:S}', '{sync_state:S,t.rows:S,t.copy:S}'),
	('sync_state_delta(''tracked'')', '{sync_state:S,t.tracked:S}', '{sync_state:S,t.tracked:S}'),
	('sync_state_observe(''rows'')', '{sync_state:SIU,t.rows:S,t.copy:S}', '{sync_state:SIU,sync_run:SIU,sync_conflict:SIU,sync_row_base:SIUD,t.rows:S,t.copy:S}'),
	('sync_state_mark_synced(''rows'', ''x'', ''x'')', '{sync_state:SIU,sync_row_base:SIUD,t.rows:S,t.copy:S}', '{sync_state:SIU,sync_run:SIU,sync_conflict:SIU,sync_row_base:SIUD,t.rows:S,t.copy:S}'),
	('sync_source_diff(''rows'')', '{t.rows:S,t.copy:S}', '{t.rows:S,t.copy:S}'),
	('sync_source_diff3(''rows'')', '{sync_state:S,sync_row_base:S,t.rows:S,t.copy:S}', '{sync_state:S,sync_row_base:S,t.rows:S,t.copy:S}'),
	('sync_source_attach(''new'', ''t.rows'')', '{sync_source:SIU}', '{sync_source:SIUD,sync_row_base:SD}'),
	('sync_source_detach(''rows'')', '{sync_source:SD,sync_row_base:SD,sync_tracking:SD}', '{sync_source:SIUD,sync_row_base:SD,sync_tracking:SD}'),
	('sync_source_track(''free'')', '{sync_tracking:SIU,t.tracked:OWN}', '{sync_tracking:SIUD,t.tracked:OWN}'),
	('sync_source_verify(''tracked'')', '{sync_tracking:SIU,t.tracked:S}', '{sync_tracking:SIUD,t.tracked:S}'),
	('sync_source_untrack(''tracked'')', '{sync_tracking:SD,sync_tracking_delta:SD,t.tracked:OWN}', '{sync_tracking:SIUD,sync_tracking_delta:SID,t.tracked:OWN}'),
	('sync_state_repair()', '{sync_state:OWN,sync_feed:OWN}', '{sync_state:OWN,sync_feed:OWN}'),
	('syncstate.sync_interrupted', '{sync_interrupted:S,sync_state:S,sync_run:S}', '{sync_interrupted:S,sync_state:S,sync_run:S}'),
	('syncstate.sync_overview', '{sync_overview:S,sync_state:S,sync_run:S}', '{sync_overview:S,sync_state:S,sync_run:S}'),
	('syncstate.sync_summary', '{sync_summary:S,sync_state:S}', '{sync_summary:S,sync_state:S}');
SELECT is_empty(
	$$ SELECT p.proname FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	    WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate') AND p.pronamespace <> 'syncstate'::regnamespace
	      AND NOT EXISTS (SELECT FROM t.call WHERE call ~ ('\m' || p.proname || '\(')) $$,
	'every public function is in the matrix');
SELECT is_empty(
	$$ SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
	    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'v')
	      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate')
	      AND NOT EXISTS (SELECT FROM t.call, unnest(needs) need WHERE need ~ ('^' || c.relname || ':')) AND c.relname <> 'sync_feed' $$,
	'so is every table and view');

-- "sync_state:SIU" as one row for each privilege.
CREATE FUNCTION t.privileges(grants text[]) RETURNS TABLE (relation text, privilege text) LANGUAGE sql STABLE AS $$
	SELECT CASE WHEN split_part(g, ':', 1) LIKE '%.%' THEN split_part(g, ':', 1) ELSE 'syncstate.' || split_part(g, ':', 1) END,
	       CASE p WHEN 'S' THEN 'SELECT' WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' ELSE p END
	  FROM unnest(grants) g, regexp_split_to_table(replace(split_part(g, ':', 2), 'OWN', 'O'), '') p $$;
CREATE FUNCTION t.give(role name, relation text, privilege text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF privilege = 'O' THEN
		EXECUTE format('ALTER TABLE %s OWNER TO %I', relation, role);
	ELSE
		EXECUTE format('GRANT %s ON %s TO %I', privilege, relation, role);
	END IF;
END $$;
-- What a call leads to for a role that has been prepared; all of it is undone.
CREATE FUNCTION t.outcome(preparation text, role name, call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE preparation;
	PERFORM set_config('role', role, true);
	EXECUTE 'SELECT * FROM ' || call;
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN 'ok';
	WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
-- The statements that grant these to the caller, and USAGE of the schema.
CREATE FUNCTION t.granting(grants text[], but_relation text DEFAULT '', but_privilege text DEFAULT '', usage boolean DEFAULT true) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT 'SELECT 1' || coalesce(string_agg(format('; SELECT t.give(''syncstate_test_caller'', %L, %L)', p.relation, p.privilege), ''), '')
	       || CASE WHEN usage THEN '; GRANT USAGE ON SCHEMA syncstate TO syncstate_test_caller' ELSE '' END
	  FROM t.privileges(grants) p WHERE (p.relation, p.privilege) <> (but_relation, but_privilege) $$;

-- ---------------------------------------------------------------------------------------------
-- 1. What the reference lists is enough; who lacks any of what a call needs is refused
-- ---------------------------------------------------------------------------------------------
SELECT is_empty($$ SELECT call, t.outcome(t.granting(may), 'syncstate_test_caller', call) FROM t.call
                    WHERE t.outcome(t.granting(may), 'syncstate_test_caller', call) <> 'ok' $$,
	'who has what the reference lists can call it');
SELECT is_empty($$ SELECT call, p.relation, p.privilege, outcome FROM t.call, t.privileges(needs) p,
                          LATERAL t.outcome(t.granting(may, p.relation, p.privilege), 'syncstate_test_caller', call) AS outcome WHERE outcome <> '42501' $$,
	'who lacks one privilege of those it needs: 42501');
SELECT cmp_ok((SELECT count(*) FROM t.call, t.privileges(needs)), '>', 130::bigint, '... (more than a hundred cells)');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome(t.granting(may, usage => false), 'syncstate_test_caller', call) AS outcome
                    -- As views, functions with a body in SQL were bound when they were made.
                    WHERE needs <> '{}' AND call !~ 'sync_source_diff\(|sync_state_(plan|list)\(' AND outcome <> '42501' $$,
	'who has all of it but USAGE of the schema: 42501');

-- ---------------------------------------------------------------------------------------------
-- 2. Roles of other kinds
-- ---------------------------------------------------------------------------------------------
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('SELECT 1', 'syncstate_test_caller', call) AS outcome
                    WHERE outcome <> CASE WHEN needs = '{}' THEN 'ok' ELSE '42501' END $$,
	'no privilege at all: only what touches no table');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('GRANT USAGE ON SCHEMA syncstate TO syncstate_test_caller; GRANT SELECT ON ALL TABLES IN SCHEMA syncstate, t TO syncstate_test_caller',
                           'syncstate_test_caller', call) AS outcome
                    WHERE outcome <> CASE WHEN needs::text !~ '[IUDO]' THEN 'ok' ELSE '42501' END $$,
	'SELECT on all tables: what only reads');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('GRANT pg_read_all_data TO syncstate_test_caller', 'syncstate_test_caller', call) AS outcome
                    WHERE outcome <> CASE WHEN needs::text !~ '[IUDO]' THEN 'ok' ELSE '42501' END $$,
	'pg_read_all_data: the same');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('GRANT pg_write_all_data TO syncstate_test_caller', 'syncstate_test_caller', call) AS outcome
                    WHERE outcome <> CASE WHEN needs = '{}' THEN 'ok' ELSE '42501' END $$,
	'pg_write_all_data alone: nothing can be written that is not read');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('GRANT pg_read_all_data, pg_write_all_data TO syncstate_test_caller', 'syncstate_test_caller', call) AS outcome
                    WHERE outcome <> CASE WHEN needs::text ~ 'OWN' THEN '42501' ELSE 'ok' END $$,
	'both: all but what takes an owner');
SELECT is_empty($$ SELECT call, relation, outcome
                     FROM t.call, (SELECT DISTINCT p.relation FROM t.call, t.privileges(needs) p WHERE p.relation LIKE 'syncstate.%') AS r,
                          LATERAL t.outcome(format('GRANT USAGE ON SCHEMA syncstate TO syncstate_test_caller; GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO syncstate_test_caller', relation),
                           'syncstate_test_caller', call) AS outcome
                    WHERE EXISTS (SELECT FROM t.privileges(needs) p WHERE p.relation <> r.relation OR p.privilege = 'O') AND outcome <> '42501' $$,
	'the writer of one table can call nothing that needs another');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('GRANT SELECT ON ALL TABLES IN SCHEMA t TO syncstate_test_owner; ALTER TABLE t.tracked OWNER TO syncstate_test_owner',
                           'syncstate_test_owner', call) AS outcome
                    WHERE outcome <> 'ok' $$,
	'the owner of the extension, who may read the content: everything');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('SELECT 1', 'syncstate_test_owner', call) AS outcome
                    WHERE outcome <> CASE WHEN needs::text ~ '\mt\.' THEN '42501' ELSE 'ok' END $$,
	'... and who may not: all but what reads it, for to own the extension opens no table of others');
SELECT is_empty($$ SELECT call, outcome FROM t.call, LATERAL t.outcome('SELECT 1', 'syncstate_test_super', call) AS outcome WHERE outcome <> 'ok' $$,
	'a superuser: everything');

-- ---------------------------------------------------------------------------------------------
-- 3. A writer of content needs no privilege of ours, and gets none
-- ---------------------------------------------------------------------------------------------
SELECT is(t.outcome('GRANT INSERT, UPDATE, DELETE, SELECT, TRUNCATE ON t.tracked TO syncstate_test_caller', 'syncstate_test_caller',
	'(SELECT 1) x; INSERT INTO t.tracked VALUES (1, ''x''); UPDATE t.tracked SET body = ''y''; DELETE FROM t.tracked; TRUNCATE t.tracked'), 'ok',
	'a tracked table is written without any privilege of the extension''s');
SELECT is(t.outcome('GRANT INSERT ON t.tracked TO syncstate_test_caller', 'syncstate_test_caller',
	'(SELECT 1) x; INSERT INTO t.tracked VALUES (1, ''x''); INSERT INTO syncstate.sync_tracking_delta SELECT NULL, 0, 0, 0'), '42501',
	'... and not the table of deltas');
SELECT is(t.outcome('GRANT SELECT, TRIGGER ON t.hand_made TO syncstate_test_caller; GRANT USAGE ON SCHEMA syncstate TO syncstate_test_caller', 'syncstate_test_caller',
	'(SELECT 1) x; CREATE TRIGGER mine AFTER INSERT ON t.hand_made FOR EACH ROW EXECUTE FUNCTION syncstate.track(''tracked''); RESET ROLE; INSERT INTO t.hand_made VALUES (''x'', ''y'');
	 SELECT 1 / (sync_state_delta(''tracked'')->''local_hash'' = ''null'')::int'),
	'ok', 'as a trigger of somebody''s own, its function notes nothing');
SELECT is(t.outcome('SELECT 1', 'syncstate_test_caller', 'syncstate.is_sync_status(''new'')'), '42501', 'internal functions are for who has USAGE of the schema');

-- ---------------------------------------------------------------------------------------------
-- 4. Row security: a key that a policy hides is unknown, and can be made by nobody
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.hidden (call text, expected text);
INSERT INTO t.hidden VALUES
	('sync_state_update(''held'', ''{}'')', '42501'), ('sync_state_update_many(''{"held": {}}'')', '42501'), ('sync_state_observe(''held'', ''a'')', '42501'),
	('sync_state_observe_many(''{held}'', ''{a}'', NULL)', '42501'), ('sync_state_mark_synced(''held'', ''a'', ''a'')', '42501'),
	('sync_state_mark_synced(''held'', ''a'', ''a'', (SELECT run_id FROM t.token))', '42501'),
	('sync_state_mark_synced_many(''{held}'', ''{a}'', ''{a}'')', '42501'), ('sync_state_begin(''held'')', '42501'), ('sync_state_try_begin(''stopped'')', '42501'),
	('sync_state_rollback(''stopped'')', '42501'),
	('sync_state_checkpoint(''held'', (SELECT run_id FROM t.token), ''{}'')', 'P0002'), ('sync_state_fail(''held'', (SELECT run_id FROM t.token))', 'P0002'),
	('sync_state_resume(''stopped'')', 'P0002'), ('sync_state_resolve(''torn'', ''local'')', 'P0002'), ('sync_state_reset(''article'')', 'P0002'),
	('sync_state_fail(''held'', force => true)', 'P0002'), ('sync_state_reset(''held'', true)', 'P0002');
CREATE VIEW t.nothing AS	-- and what must answer as if there was nothing
	SELECT 'SELECT 1 / (count(*) = 0)::int FROM ' || call AS call FROM unnest(ARRAY['sync_state_get(''held'')', 'sync_state_list()', 'sync_state_plan()',
		'sync_state_changed_since(''-infinity'')', 'sync_state_detect_interrupted(''infinity'')', 'sync_state_changes()', 'sync_state_claim(10)', 'syncstate.sync_overview',
		'syncstate.sync_interrupted', 'syncstate.sync_summary', 'sync_state_prune(''0'') WHERE removed > 0']) call
	UNION ALL SELECT 'SELECT 1 / (NOT sync_state_forget(''held'', true))::int'
	UNION ALL SELECT 'SELECT 1 / (sync_state_delta(''article'')->''last_synced_hash'' = ''null'')::int';
SELECT t.give('syncstate_test_caller', 'syncstate.' || relname, privilege) FROM pg_class, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) privilege
 WHERE relnamespace = 'syncstate'::regnamespace AND relkind IN ('r', 'v');
GRANT USAGE ON SCHEMA syncstate TO syncstate_test_caller;
SELECT is_empty($$ SELECT call, outcome FROM t.nothing, LATERAL t.outcome('SELECT 1', 'syncstate_test_caller', '(SELECT 1) x; ' || call) AS outcome
                    WHERE outcome <> '22012' AND call !~ 'prune|interrupted|sync_state_changes\(' $$,	-- (the feed does not tell what this transaction wrote)
	'without a policy there is something for who has all privileges');
DO $$
DECLARE relation text;
BEGIN
	FOREACH relation IN ARRAY '{sync_state,sync_run,sync_conflict,sync_tombstone}'::text[] LOOP
		EXECUTE format('ALTER TABLE syncstate.%I ENABLE ROW LEVEL SECURITY', relation);
		EXECUTE format('CREATE POLICY mine ON syncstate.%I USING (starts_with(type_key, ''mine/''))', relation);
	END LOOP;
END $$;
SELECT is_empty($$ SELECT call, outcome FROM t.nothing, LATERAL t.outcome('SELECT 1', 'syncstate_test_caller', '(SELECT 1) x; ' || call) AS outcome WHERE outcome <> 'ok' $$,
	'with one that hides all of it, nothing');
SELECT is_empty($$ SELECT call, outcome, expected FROM t.hidden, LATERAL t.outcome('SELECT 1', 'syncstate_test_caller', call) AS outcome WHERE outcome <> expected $$,
	'calls on a hidden key: as on an unknown one, but it cannot be made');
SELECT is(t.outcome('SELECT 1', 'syncstate_test_caller', 'sync_state_observe(''mine/1'', ''a'', ''b'')'), 'ok', 'a key that the policy allows can be');

SELECT * FROM finish();
ROLLBACK;
