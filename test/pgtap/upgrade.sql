-- An upgraded extension is what a fresh one is: the same objects, to the last comment.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(40);

CREATE SCHEMA t;
-- Everything that the catalogue says of the extension's objects, by name and without any OID.
CREATE VIEW t.member AS
	SELECT d.classid, d.objid, o.type, o.identity
	  FROM pg_depend AS d JOIN pg_extension AS e ON (d.refobjid = e.oid AND e.extname = 'syncstate'), pg_identify_object(d.classid, d.objid, 0) AS o
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e';
CREATE VIEW t.relation AS SELECT c.* FROM pg_class AS c JOIN t.member AS m ON (m.classid = 'pg_class'::regclass AND m.objid = c.oid);
CREATE VIEW t.dump (object, property, value) AS
	SELECT type || ' ' || identity, 'comment', obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) FROM t.member
	UNION ALL
	SELECT 'extension', 'tables that are dumped', string_agg(c::regclass || ' where ' || w, ', ' ORDER BY c::regclass::text)
	  FROM pg_extension, unnest(extconfig, extcondition) AS u (c, w) WHERE extname = 'syncstate'
	UNION ALL
	SELECT 'extension', 'properties', concat_ws(' ', extowner::regrole, extnamespace::regnamespace, extrelocatable, extversion) FROM pg_extension WHERE extname = 'syncstate'
	UNION ALL
	SELECT 'schema ' || nspname, 'properties', concat_ws(' ', nspowner::regrole, nspacl) FROM pg_namespace WHERE oid IN (SELECT objid FROM t.member WHERE classid = 'pg_namespace'::regclass)
	-- Functions: all of the definition, and what that does not show.
	UNION ALL
	SELECT 'function ' || p.oid::regprocedure, v.property, v.value
	  FROM pg_proc AS p JOIN t.member AS m ON (m.classid = 'pg_proc'::regclass AND m.objid = p.oid),
	       LATERAL (VALUES ('definition', CASE WHEN prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE pg_get_function_arguments(p.oid) || ' returns ' || pg_get_function_result(p.oid) END), ('source', prosrc), ('library', probin), ('properties', concat_ws(' ', proowner::regrole, proacl, procost, prorows, proparallel, provolatile, proisstrict, proleakproof, prosecdef, proconfig, prosupport))) AS v (property, value)
	UNION ALL
	SELECT 'function ' || aggfnoid::regprocedure, 'aggregate', concat_ws(' ', aggkind, aggnumdirectargs, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn, aggmfinalfn, aggfinalextra, aggmfinalextra,
	       aggfinalmodify, aggmfinalmodify, aggsortop, aggtranstype::regtype, aggtransspace, aggmtranstype::regtype, aggmtransspace, agginitval, aggminitval)
	  FROM pg_aggregate JOIN t.member AS m ON (m.classid = 'pg_proc'::regclass AND m.objid = aggfnoid)
	-- Tables, views and composite types, with what belongs to them.
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'properties', concat_ws(' ', relowner::regrole, relacl, relpersistence, reloptions, relrowsecurity, relforcerowsecurity, relreplident, reltablespace) FROM t.relation AS c
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'view', pg_get_viewdef(c.oid) FROM t.relation AS c WHERE relkind = 'v'
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'column ' || attname,
	       concat_ws(' ', attnum, format_type(atttypid, atttypmod), CASE WHEN attcollation <> 0 THEN attcollation::regcollation::text END, attnotnull, attstorage, attstattarget, attidentity, attgenerated, attacl,
	                 pg_get_expr(adbin, adrelid), 'comment', col_description(c.oid, attnum))
	  FROM t.relation AS c JOIN pg_attribute AS a ON (a.attrelid = c.oid AND attnum > 0) LEFT JOIN pg_attrdef AS d ON (d.adrelid = c.oid AND d.adnum = a.attnum)
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'constraint ' || conname, concat_ws(' ', pg_get_constraintdef(k.oid), convalidated, connoinherit, obj_description(k.oid, 'pg_constraint'))
	  FROM t.relation AS c JOIN pg_constraint AS k ON (k.conrelid = c.oid)
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'index ' || i.indexrelid::regclass, concat_ws(' ', pg_get_indexdef(i.indexrelid), indisvalid, indisreplident, indisclustered, obj_description(i.indexrelid, 'pg_class'))
	  FROM t.relation AS c JOIN pg_index AS i ON (i.indrelid = c.oid)
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'trigger ' || tgname, concat_ws(' ', pg_get_triggerdef(g.oid), tgenabled, obj_description(g.oid, 'pg_trigger'))
	  FROM t.relation AS c JOIN pg_trigger AS g ON (g.tgrelid = c.oid)
	UNION ALL
	SELECT relkind::text || ' ' || c.oid::regclass, 'policy or rule', count(*)::text FROM t.relation AS c LEFT JOIN pg_policy ON (polrelid = c.oid) LEFT JOIN pg_rewrite AS w ON (w.ev_class = c.oid) GROUP BY relkind, c.oid
	UNION ALL
	SELECT 'type ' || y.oid::regtype, 'properties', concat_ws(' ', typowner::regrole, typacl, typtype, typcategory) FROM pg_type AS y JOIN t.member AS m ON (m.classid = 'pg_type'::regclass AND m.objid = y.oid)
	UNION ALL
	SELECT m.type || ' ' || m.identity, 'initial privileges', i.initprivs::text FROM t.member AS m JOIN pg_init_privs AS i ON (i.classoid = m.classid AND i.objoid = m.objid AND i.objsubid = 0);
-- Every row, where it is and who wrote it.
CREATE FUNCTION t.rows() RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		result jsonb = '{}';
		rows jsonb;
		tab text;
	BEGIN
		FOREACH tab IN ARRAY '{sync_state,sync_run,sync_conflict,sync_tombstone,sync_feed}'::text[] LOOP
			EXECUTE format('SELECT jsonb_agg(to_jsonb(s) || jsonb_build_object(''xmin'', s.xmin, ''ctid'', s.ctid) ORDER BY s.ctid) FROM syncstate.%I AS s', tab) INTO rows;
			result = result || jsonb_build_object(tab, rows);
		END LOOP;
		RETURN result;
	END $$;

-- ---------------------------------------------------------------------------------------------
-- Fresh
-- ---------------------------------------------------------------------------------------------
CREATE EXTENSION syncstate;
CREATE TABLE t.fresh AS SELECT * FROM t.dump;
SELECT extversion AS newest FROM pg_extension WHERE extname = 'syncstate' \gset
SELECT is(sync_state_version(), :'newest', 'CREATE EXTENSION makes the version that the library is of');
SELECT is((SELECT path FROM pg_extension_update_paths('syncstate') WHERE source = '0.1.0' AND target = :'newest') IS NOT NULL, true, 'there is a path to it from the first');
SELECT is_empty($$ SELECT source, target FROM pg_extension_update_paths('syncstate') WHERE source > target AND path IS NOT NULL $$, 'and none back');
SELECT cmp_ok((SELECT count(*) FROM t.fresh), '>', 500::bigint, 'a dump of all its objects');
SELECT is((SELECT count(*) FROM t.fresh WHERE property = 'aggregate'), 4::bigint, '... aggregates, too');
SELECT is_empty($$ SELECT object, property, count(*) FROM t.fresh GROUP BY object, property HAVING count(*) > 1 $$, '... each once');
DROP EXTENSION syncstate;
SELECT hasnt_schema('syncstate', 'DROP EXTENSION leaves nothing');

-- ---------------------------------------------------------------------------------------------
-- Upgraded, with data, and an owner's trigger
-- ---------------------------------------------------------------------------------------------
CREATE EXTENSION syncstate VERSION '0.1.0';
SELECT isnt((SELECT count(*) FROM t.dump), (SELECT count(*) FROM t.fresh), 'the first version has other objects');
SELECT sync_state_observe('article', 'l', 'r'), sync_state_mark_synced('author', 'h', 'h'), sync_state_begin('page', '1 hour', 'worker'), sync_state_observe('gone', 'h'), sync_state_forget('gone') \g /dev/null
SELECT run_id AS run FROM sync_state_get('page') \gset
SELECT sync_state_checkpoint('page', :'run', '{"step": 1, "total": 2}') \g /dev/null
CREATE TABLE t.called (what text);
CREATE FUNCTION t.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t.called VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON syncstate.sync_state FOR EACH ROW EXECUTE FUNCTION t.trap();
CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON syncstate.sync_feed FOR EACH ROW EXECUTE FUNCTION t.trap();
CREATE TABLE t.data AS SELECT t.rows();
ALTER EXTENSION syncstate UPDATE;
SELECT is((SELECT extversion FROM pg_extension WHERE extname = 'syncstate'), :'newest', 'ALTER EXTENSION UPDATE makes it the newest');
SELECT results_eq('SELECT * FROM t.data', 'SELECT t.rows()', 'not one row was touched, not even in place');
SELECT is_empty('SELECT * FROM t.called', 'no trigger of the owner''s ran as superuser');
DROP TRIGGER trap ON syncstate.sync_state;
DROP TRIGGER trap ON syncstate.sync_feed;
SELECT is_empty('SELECT * FROM t.dump EXCEPT ALL SELECT * FROM t.fresh', 'the upgraded has nothing that the fresh one has not');
SELECT is_empty('SELECT * FROM t.fresh EXCEPT ALL SELECT * FROM t.dump', 'and lacks nothing');
-- It works, in the same session, with what was there.
SELECT is((sync_state_checkpoint('page', :'run', '{"step": 2, "total": 2}')) > now(), true, 'the run that was begun before goes on');
SELECT is((SELECT percent FROM syncstate.sync_overview WHERE type_key = 'page'), 100.0, '... and is seen in the new view');
SELECT is((sync_state_resolve('article', 'local', NULL, 1)).conflict_status, 'resolved', 'a conflict logged before is resolved');
SELECT is((SELECT removed FROM sync_state_prune('0') WHERE kind = 'tombstone'), 1::bigint, 'a tombstone is pruned');
SELECT is(sync_state_repair(), 0, 'nothing is amiss');
SELECT isnt(sync_state_cursor(), NULL, 'the feed can be read');
SELECT alike((SELECT sync_digest(type_key, local_hash) FROM syncstate.sync_state), '%:3', 'an aggregate that was not there before can be used');
CREATE TABLE t.content (id int PRIMARY KEY, body text);
INSERT INTO t.content VALUES (1, 'x');
SELECT is((sync_source_attach('article', 't.content')).type_key, 'article', 'a source is attached to what was there before');
SELECT is(sync_state_delta('article')->>'local_hash', (SELECT sync_digest(body, id) FROM t.content), '... and measured');
SELECT is(sync_source_track('article'), true, '... and tracked');
INSERT INTO t.content VALUES (2, 'y');
SELECT is(sync_state_delta('article')->>'local_hash', (SELECT sync_digest(body, id) FROM t.content), '... by triggers');
SELECT is(sync_source_detach('article'), true, '... and detached');
DROP EXTENSION syncstate;

-- ---------------------------------------------------------------------------------------------
-- Step by step, from every version there was
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.step_by_step(steps text[]) RETURNS SETOF t.dump LANGUAGE plpgsql AS $$
DECLARE step text;
BEGIN
	EXECUTE format('CREATE EXTENSION syncstate VERSION %L', steps[1]);
	PERFORM sync_state_observe('article', 'l', 'r'), sync_state_mark_synced('author', 'h', 'h');
	FOREACH step IN ARRAY steps[2:] LOOP
		EXECUTE format('ALTER EXTENSION syncstate UPDATE TO %L', step);
	END LOOP;
	RETURN QUERY SELECT * FROM t.dump;
	IF (SELECT count(*) FROM syncstate.sync_state) <> 2 THEN
		RAISE EXCEPTION 'states are lost';
	END IF;
	DROP EXTENSION syncstate;
END $$;
CREATE TABLE t.path (n int, steps text[]);
INSERT INTO t.path VALUES (1, '{0.1.0,0.2.0,0.3.0,0.4.0,0.5.0}'), (2, '{0.2.0,0.3.0,0.4.0,0.5.0}'), (3, '{0.3.0,0.4.0,0.5.0}'), (4, '{0.4.0,0.5.0}'), (5, '{0.1.0,0.5.0}');
SELECT is_empty(format('SELECT * FROM t.step_by_step(%L) EXCEPT ALL SELECT * FROM t.fresh', steps), array_to_string(steps, ' to ') || ': nothing that the fresh one has not') FROM t.path ORDER BY n;
SELECT is_empty(format('SELECT * FROM t.fresh EXCEPT ALL SELECT * FROM t.step_by_step(%L)', steps), array_to_string(steps, ' to ') || ': and it lacks nothing') FROM t.path ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- In another schema, by the owner of the database, who is no superuser
-- ---------------------------------------------------------------------------------------------
CREATE SCHEMA "Sync; DROP %I schema";
CREATE ROLE syncstate_t_installer;
GRANT USAGE, CREATE ON SCHEMA "Sync; DROP %I schema", public TO syncstate_t_installer;
SELECT format('GRANT CREATE ON DATABASE %I TO syncstate_t_installer', current_database()) \gexec
GRANT USAGE ON SCHEMA t TO syncstate_t_installer;
SET LOCAL ROLE syncstate_t_installer;
CREATE EXTENSION syncstate SCHEMA "Sync; DROP %I schema";
RESET ROLE;
CREATE TABLE t.fresh_elsewhere AS SELECT * FROM t.dump;
DROP EXTENSION syncstate;
SET LOCAL ROLE syncstate_t_installer;
CREATE EXTENSION syncstate SCHEMA "Sync; DROP %I schema" VERSION '0.1.0';
ALTER EXTENSION syncstate UPDATE;
SELECT is("Sync; DROP %I schema".sync_state_repair(), 0, 'the installer owns the tables');
RESET ROLE;
SELECT bag_eq('SELECT * FROM t.dump', 'SELECT * FROM t.fresh_elsewhere', 'upgraded there, it is what a fresh one is there');
SELECT is((SELECT count(DISTINCT relowner) FROM t.relation WHERE relkind IN ('r', 'v')), 1::bigint, 'one owner of all tables and views');
SELECT is((SELECT DISTINCT relowner::regrole::text FROM t.relation WHERE relkind IN ('r', 'v')), 'syncstate_t_installer', '... who installed it');
SELECT is_empty($$ SELECT object FROM t.dump WHERE value LIKE '%@ext%' $$, 'nothing was left to be substituted');

SELECT * FROM finish();
ROLLBACK;
