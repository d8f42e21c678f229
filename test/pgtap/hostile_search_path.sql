-- A hostile search_path: schemas with a planted copy of every function, operator and type name that
-- pg_catalog has, and of the extension's own relations, placed BEFORE pg_catalog and in pg_temp.
-- Whatever planted is called raises, or records that it was read or written. Every public function is called
-- under that path, its good ways and its refusals; the answers must be those of a clean path.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(123);

-- The tests' own path: pg_temp is searched last, so that what is planted there does not catch pgTAP.
SET LOCAL search_path = pg_catalog, public, pg_temp;

CREATE SCHEMA t;
SET LOCAL track_functions = 'all';

-- ---------------------------------------------------------------------------------------------
-- The trap
-- ---------------------------------------------------------------------------------------------
-- Copies of the functions and operators of pg_catalog that a PL/pgSQL function can stand in for.
CREATE FUNCTION t.plant(target name) RETURNS int LANGUAGE plpgsql SET check_function_bodies = off AS $$
DECLARE f record; done int := 0; result text;
BEGIN
	FOR f IN SELECT p.oid, p.proname, pg_get_function_identity_arguments(p.oid) AS args, p.prokind, p.proretset,
	                p.prorettype, ret.typtype AS rettype, p.proargtypes
	           FROM pg_proc p JOIN pg_type ret ON ret.oid = p.prorettype
	          WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'a', 'w')
	            AND p.provariadic = 0
	            AND NOT EXISTS (SELECT FROM unnest(p.proargtypes::oid[]) a JOIN pg_type ty ON ty.oid = a
	                             WHERE ty.typtype = 'p' AND ty.typname NOT LIKE 'any%' AND ty.typname <> 'record'
	                                OR ty.typname = 'any')
	            -- as trigger, input, handler function it could not be called from SQL anyway
	            AND (ret.typtype <> 'p' OR ret.typname LIKE 'any%' OR ret.typname IN ('void', 'record'))
	LOOP
		result := CASE WHEN f.rettype = 'p' AND format_type(f.prorettype, NULL) IN ('void', 'record') THEN 'pg_catalog.int4'
		               ELSE format_type(f.prorettype, NULL) END;
		BEGIN
			EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L',
				target, f.proname,
				(SELECT string_agg(format_type(a, NULL), ', ' ORDER BY n) FROM unnest(f.proargtypes::oid[]) WITH ORDINALITY AS x (a, n)),
				CASE WHEN f.proretset THEN 'SETOF' ELSE '' END, result,
				format('BEGIN RAISE EXCEPTION %L USING ERRCODE = ''PLANT''; END', 'planted function ' || replace(f.proname, '%', '%%')));
			done := done + 1;
		EXCEPTION WHEN duplicate_function OR invalid_function_definition OR feature_not_supported THEN NULL;
		END;
	END LOOP;
	FOR f IN SELECT o.oid, o.oprname, o.oprleft, o.oprright, o.oprresult
	           FROM pg_operator o
	          WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprcode <> 0
	LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', target, 'op' || f.oid,
				concat_ws(', ', format_type(nullif(f.oprleft, 0), NULL), format_type(f.oprright, NULL)),
				format_type(f.oprresult, NULL),
				format('BEGIN RAISE EXCEPTION %L USING ERRCODE = ''PLANT''; END', 'planted operator ' || replace(f.oprname, '%', '%%')));
			EXECUTE format('CREATE OPERATOR %I.%s (FUNCTION = %I.%I %s, RIGHTARG = %s)', target, f.oprname, target, 'op' || f.oid,
				CASE WHEN f.oprleft = 0 THEN '' ELSE ', LEFTARG = ' || format_type(f.oprleft, NULL) END, format_type(f.oprright, NULL));
			done := done + 1;
		EXCEPTION WHEN duplicate_function OR invalid_function_definition OR feature_not_supported OR undefined_function THEN NULL;
		END;
	END LOOP;
	RETURN done;
END $$;
CREATE SCHEMA hostile;
SELECT cmp_ok(t.plant('hostile'), '>', 2500, 'thousands of functions and operators are planted');
SELECT is((SELECT count(*) FROM pg_operator o WHERE o.oprnamespace = 'hostile'::regnamespace
            AND (o.oprname, o.oprleft::regtype::text) IN (('=', 'text'), ('<', 'text'), ('>', 'text'), ('>=', 'text'), ('<>', 'text'), ('||', 'text'), ('^@', 'text'), ('~~', 'text'),
	('=', 'timestamp with time zone'), ('<', 'timestamp with time zone'), ('>', 'timestamp with time zone'), ('<=', 'timestamp with time zone'), ('=', 'uuid'), ('<>', 'uuid'),
	('=', 'boolean'), ('=', 'jsonb'), ('=', 'integer'), ('=', 'bigint'), ('=', 'record'), ('=', 'anyarray'))
            AND (o.oprleft = o.oprright)), 20::bigint,
          '... among them = < > <> || ^@ ~~ of text, time, uuid, boolean, jsonb, numbers, record and arrays');
-- Types that catch a cast whose type is not qualified: domains with a CHECK that calls what is planted.
CREATE FUNCTION hostile.caught() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted type' USING ERRCODE = 'PLANT'; END $$;
CREATE FUNCTION t.plant_types(target name) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE type record; done bigint := 0;
BEGIN
	FOR type IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typelem = 0 LOOP
		EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.%2$I CHECK (hostile.caught())', target, type.typname);
		done := done + 1;
	END LOOP;
	RETURN done;
END $$;
SELECT cmp_ok(t.plant_types('hostile'), '>', 70::bigint, '... types, too');
-- Collations: "C" is looked up by name, too.
CREATE COLLATION hostile."C" (PROVIDER = libc, LOCALE = 'POSIX');
-- Relations: writing to them raises; so does reading those in pg_temp, which are found first.
CREATE FUNCTION hostile.written() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted table' USING ERRCODE = 'PLANT'; END $$;
-- All that the extension has in its schema, by name: a table, or in pg_temp a view, in place of a
-- table or a view; a type in place of a type.
CREATE VIEW t.own AS
	SELECT d.classid, d.objid FROM pg_depend d
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate');
CREATE FUNCTION t.plant_relations(target name) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE o record; done bigint := 0;
BEGIN
	FOR o IN SELECT c.relname FROM t.own JOIN pg_class c ON (classid, objid) = ('pg_class'::regclass, c.oid) WHERE c.relkind IN ('r', 'v') LOOP
		IF target ~ '^pg_temp' THEN
			EXECUTE format('CREATE FUNCTION hostile.%I() RETURNS SETOF hostile.%I LANGUAGE plpgsql AS %L', 'read_' || o.relname, o.relname,
			               $b$ BEGIN RAISE EXCEPTION 'planted view' USING ERRCODE = 'PLANT'; END $b$);
			EXECUTE format('CREATE TEMPORARY VIEW %I AS SELECT * FROM hostile.%I()', o.relname, 'read_' || o.relname);
			EXECUTE format('CREATE TRIGGER planted INSTEAD OF INSERT OR UPDATE OR DELETE ON %I.%I FOR EACH ROW EXECUTE FUNCTION hostile.written()', target, o.relname);
		ELSE
			EXECUTE format('CREATE TABLE %I.%I (LIKE syncstate.%2$I INCLUDING DEFAULTS)', target, o.relname);
			EXECUTE format('CREATE TRIGGER planted BEFORE INSERT OR UPDATE OR DELETE ON %I.%I FOR EACH STATEMENT EXECUTE FUNCTION hostile.written()', target, o.relname);
		END IF;
		done := done + 1;
	END LOOP;
	FOR o IN SELECT ty.typname FROM t.own JOIN pg_type ty ON (classid, objid) = ('pg_type'::regclass, ty.oid)
	          WHERE ty.typtype = 'c' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = ty.typrelid AND c.relkind <> 'c') LOOP
		EXECUTE format('CREATE TYPE %I.%I AS (lie pg_catalog.text)', target, o.typname);
		done := done + 1;
	END LOOP;
	RETURN done;
END $$;
SELECT cmp_ok(t.plant_relations('hostile'), '>', 15::bigint, 'relations and types of ours are planted before pg_catalog');
SELECT cmp_ok(t.plant_relations(pg_my_temp_schema()::regnamespace::name), '>', 15::bigint, '... and in pg_temp');
-- In a schema of their own, for the extension is to be made in the other one.
CREATE SCHEMA impostor;
CREATE FUNCTION t.plant_functions(target name) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE o record; done bigint := 0;
BEGIN
	FOR o IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args FROM t.own JOIN pg_proc p ON (classid, objid) = ('pg_proc'::regclass, p.oid)
	          WHERE p.prokind = 'f' AND p.provariadic = 0 AND p.prorettype <> 'trigger'::regtype AND NOT p.proargtypes::oid[] @> ARRAY['internal'::regtype::oid] LOOP
		EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS int LANGUAGE plpgsql AS %L', target, o.proname, o.args,
		               format('BEGIN RAISE EXCEPTION %L USING ERRCODE = ''PLANT''; END', 'planted function ' || o.proname));
		done := done + 1;
	END LOOP;
	RETURN done;
END $$;
SELECT cmp_ok(t.plant_functions('impostor'), '>', 40::bigint, '... and functions of ours');
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (hostile.caught());
CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (hostile.caught());
CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (hostile.caught());
CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (hostile.caught());

-- The caller: its body has no operator, no function and no type that could be caught itself.
CREATE FUNCTION t.hostile(call pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql
	SET search_path = pg_temp, hostile, impostor, pg_catalog, public AS $$
BEGIN
	EXECUTE call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;
CREATE FUNCTION t.clean(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;

-- The trap works.
SELECT is(t.hostile($$SELECT 'a'::pg_catalog.text = 'b'$$), 'planted operator =', 'an unqualified operator is caught');
SELECT is(t.hostile($$SELECT length('abc')$$), 'planted function length', 'an unqualified function is caught');
SELECT is(t.hostile($$SELECT 'a'::text$$), 'planted type', 'an unqualified cast is caught');
SELECT is(t.hostile($$INSERT INTO sync_state DEFAULT VALUES$$), 'planted table', 'an unqualified relation is caught');
SELECT is(t.hostile($$SELECT FROM sync_run$$), 'planted view', '... when it is read, too');

-- ---------------------------------------------------------------------------------------------
-- Every public function. Values that a call needs are put in by the clean side beforehand.
-- ---------------------------------------------------------------------------------------------
CREATE TYPE t.mood AS ENUM ('sad', 'ok');
CREATE TABLE t.hand_made ("typeKey" text, "localHash" text, "lastSyncAt" timestamp, sync_status text, "syncProgress" jsonb, other int);
INSERT INTO t.hand_made VALUES ('imported', 'a', '2026-01-01', 'in_sync', '{"a": 1}', 1);
-- (Partitioned, so that what is inserted is tracked through the queue of triggers, and what is updated without.)
CREATE TABLE t.content (id int PRIMARY KEY, body text, n numeric, mood t.mood, span numrange) PARTITION BY HASH (id);
CREATE TABLE t.all_content PARTITION OF t.content FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE t.copy (LIKE t.content INCLUDING ALL);
INSERT INTO t.content SELECT x, 'body', x, 'ok', numrange(x, x + 1) FROM generate_series(1, 20) x;
INSERT INTO t.copy SELECT * FROM t.content WHERE id > 3;
UPDATE t.copy SET body = 'other' WHERE id = 10;
-- In the functions' own schema, what fits the columns of that table better than VARIADIC "any" does.
CREATE FUNCTION public.sync_row_hash(pg_catalog.text, pg_catalog.int4, t.mood, pg_catalog.numeric, pg_catalog.numrange) RETURNS pg_catalog.bytea LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'planted function sync_row_hash' USING ERRCODE = 'PLANT'; END $$;
CREATE FUNCTION t.gather(pg_catalog.text, pg_catalog.text, pg_catalog.int4, t.mood, pg_catalog.numeric, pg_catalog.numrange) RETURNS pg_catalog.text LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'planted aggregate' USING ERRCODE = 'PLANT'; END $$;
CREATE AGGREGATE public.sync_digest(pg_catalog.text, pg_catalog.int4, t.mood, pg_catalog.numeric, pg_catalog.numrange) (sfunc = t.gather, stype = pg_catalog.text);
CREATE TABLE t.call (n serial, call text, expected text DEFAULT 'ok');
INSERT INTO t.call (call) VALUES
	($$SELECT public.sync_state_version()$$),
	($$SELECT public.sync_hash('{"b": [1.50, "x"], "a": null}'), public.sync_hash_text('x')$$),
	($$SELECT public.sync_row_hash(1, 'x', 1.50, '{"a": [1.0]}'::pg_catalog.jsonb, 'a b'::pg_catalog.tsvector, '{1,2}'::pg_catalog.int4[], '[1,2)'::pg_catalog.numrange)$$),
	($$SELECT public.sync_digest(id, body, n, mood, span), public.sync_sketch(100, 1, id, body, n, mood, span) FROM t.content$$),
	($$SELECT * FROM public.sync_sketch_diff((SELECT public.sync_sketch(100, 1, id, body) FROM t.content), (SELECT public.sync_sketch(100, 1, id, body) FROM t.copy))$$),
	($$SELECT public.sync_source_attach('rows', 't.content', 't.copy', row_base => true)$$),
	($$SELECT public.sync_state_delta('rows')$$),
	($$SELECT public.sync_state_observe('rows')$$),
	($$SELECT * FROM public.sync_source_diff('rows')$$),
	($$SELECT * FROM public.sync_source_diff3('rows')$$),
	($$SELECT public.sync_state_mark_synced('rows', 'a', 'b')$$),
	($$SELECT * FROM public.sync_source_diff3('rows')$$),
	($$SELECT public.sync_source_track('rows')$$),
	($$INSERT INTO t.content VALUES (21, 'new', 1.0, 'sad', NULL)$$),
	($$UPDATE t.content SET body = 'newer', mood = 'ok' WHERE body IS NULL OR mood IS NOT NULL$$),
	($$SELECT public.sync_state_delta('rows')$$),
	($$SELECT public.sync_source_verify('rows')$$),
	($$SELECT * FROM public.sync_source_diff('rows')$$),
	($$TRUNCATE t.content$$),
	($$SELECT * FROM public.sync_source_diff('rows')$$),
	($$SELECT public.sync_source_untrack('rows')$$),
	($$SELECT public.sync_source_attach('rows', 't.content', NULL, '{id,body}', '{body}')$$),
	($$SELECT public.sync_source_detach('rows')$$),
	($$SELECT syncstate.is_sync_status('new'), syncstate.is_conflict_status('none'), syncstate.status_after('a', 'b', 'c', 'd', true),
	          syncstate.settles('a', 'b', 'c', 'd', true), syncstate.conflict_kind('a', 'b', 'c', 'd', true), syncstate.kept_hash('a', 'b', 'c'),
	          syncstate.is_type_key('a'), syncstate.may_have_run('syncing', NULL), syncstate.is_run_outcome('synced')$$),
	($$SELECT syncstate.sync_row_hash(1, 'x'), syncstate.sync_digest(id, body), syncstate.sync_sketch(100, 1, id, body) FROM t.content GROUP BY id$$),
	($$SET LOCAL syncstate.notify = 'all'$$),
	($$SELECT public.sync_state_action('a', 'b', 'c', 'd'), public.sync_state_detail('a', 'b', 'c', 'd', true)$$),
	($$SELECT public.sync_state_observe('article', 'a', 'a')$$),
	($$SELECT public.sync_state_observe('article', 'b', 'c')$$),
	($$SELECT public.sync_state_observe('article', 'b', 'd')$$),
	($$SELECT public.sync_state_observe('article', 'a', 'a')$$),
	($$SELECT public.sync_state_delta('article')$$),
	($$SELECT public.sync_state_delta('article', 'x', 'y')$$),
	($$SELECT public.sync_state_delta('nobody', local_absent => true)$$),
	($$SELECT public.sync_state_observe_many('{a1,a2,a3}', '{1,2,NULL}', '{1,3,4}')$$),
	($$SELECT public.sync_state_observe_many('{a1,a2,a3,a4}', '{1,2,3,4}', NULL)$$),
	($$SELECT public.sync_state_observe_many('{a1,a2}', '{1,2}', '{1,2}', true)$$),
	($$SELECT * FROM public.sync_state_plan()$$),
	($$SELECT * FROM public.sync_state_plan('a')$$),
	($$SELECT * FROM public.sync_state_plan_for('{a1,b1}', '{1,2}', '{3,NULL}')$$),
	($$SELECT * FROM public.sync_state_plan_for('{a1,b1}', NULL, '{3,NULL}', true)$$),
	($$SELECT public.sync_state_update('article', '{"local_hash": "x", "last_sync_at": "2030-01-01T00:00:00Z", "sync_status": "modified", "conflict_status": "none", "sync_progress": {"a": 1}, "last_synced_hash": null}')$$),
	($$SELECT public.sync_state_update('fresh', '{"remote_hash": "x"}')$$),
	($$SELECT public.sync_state_update_many('[{"type_key": "u1", "local_hash": "1"}, {"type_key": "u2", "last_sync_at": "2026-01-01T00:00:00Z"}]')$$),
	($$SELECT public.sync_state_update_many('{"u1": {"local_hash": "2"}, "u2": {"sync_status": "new"}}')$$),
	($$SELECT * FROM public.sync_state_get('article')$$),
	($$SELECT * FROM public.sync_state_list()$$),
	($$SELECT * FROM public.sync_state_list('modified', 'a')$$),
	($$SELECT * FROM public.sync_state_compare('{"a": 1, "b": "x"}', '{"a": 2, "c": null}')$$),
	($$SELECT public.sync_state_mark_synced('article', 'm', 'm')$$),
	($$SELECT public.sync_state_mark_synced('unknown', 'm', NULL)$$),
	($$SELECT public.sync_state_mark_synced_many('{a1,a2,m1}', '{1,2,3}', '{1,2,3}')$$),
	($$SELECT * FROM public.sync_state_changed_since('2026-01-01')$$),
	($$SELECT * FROM public.sync_state_begin('article')$$),
	($$SELECT public.sync_state_checkpoint('article', (SELECT s.run_id FROM public.sync_state_get('article') AS s), '{"step": 1}', '1 hour')$$),
	($$SELECT public.sync_state_checkpoint('article', (SELECT s.run_id FROM public.sync_state_get('article') AS s), NULL)$$),
	($$SELECT public.sync_state_observe('article', 'n')$$),
	($$SELECT public.sync_state_mark_synced('article', 'm', 'm', (SELECT s.run_id FROM public.sync_state_get('article') AS s))$$),
	($$SELECT * FROM public.sync_state_begin('article', '1 microsecond', 'me')$$),
	($$SELECT * FROM public.sync_state_detect_interrupted()$$),
	($$SELECT * FROM public.sync_state_detect_interrupted('2026-01-01')$$),
	($$SELECT * FROM syncstate.sync_interrupted$$),
	($$SELECT * FROM public.sync_state_try_begin('article', '1 microsecond')$$),
	($$SELECT public.sync_state_checkpoint('article', (SELECT s.run_id FROM public.sync_state_get('article') AS s), '{"step": 2}')$$),
	($$SELECT public.sync_state_fail('article', (SELECT s.run_id FROM public.sync_state_get('article') AS s), 'reason')$$),
	($$SELECT * FROM public.sync_state_resume('article')$$),
	($$SELECT * FROM public.sync_state_try_begin('article')$$),
	($$SELECT public.sync_state_rollback('article', (SELECT s.run_id FROM public.sync_state_get('article') AS s), 'reason')$$),
	($$SELECT * FROM public.sync_state_claim(3, 'a', '1 minute', 'me', '0')$$),
	($$SELECT * FROM public.sync_state_claim()$$),
	($$SELECT public.sync_state_mark_synced_many('{a3}', '{1}', '{1}', ARRAY[(SELECT s.run_id FROM public.sync_state_get('a3') AS s)])$$),
	($$SELECT public.sync_state_fail('article', force => true)$$),
	($$SELECT * FROM public.sync_state_begin('held')$$),
	($$SELECT public.sync_state_observe('torn', 'a', 'b')$$),
	($$SELECT public.sync_state_resolve('torn', 'local')$$),
	($$SELECT public.sync_state_observe('torn2', 'a', 'b')$$),
	($$SELECT public.sync_state_resolve('torn2', 'merged', 'c', 1)$$),
	($$SELECT public.sync_state_observe('torn3', 'a', 'b')$$),
	($$SELECT public.sync_state_resolve('torn3', 'remote')$$),
	($$SELECT public.sync_state_cursor()$$),
	($$SELECT * FROM public.sync_state_changes()$$),
	($$SELECT * FROM public.sync_state_changes(public.sync_state_cursor(), 2)$$),
	($$SELECT * FROM syncstate.sync_overview$$),
	($$SELECT * FROM syncstate.sync_summary$$),
	($$SELECT public.sync_state_import('t.hand_made')$$),
	($$SELECT * FROM public.sync_state_prune('1 day')$$),
	($$SELECT * FROM public.sync_state_prune('0')$$),
	($$SELECT public.sync_state_repair()$$),
	($$SELECT public.sync_state_reset('article', true)$$),
	($$SELECT public.sync_state_forget('article', true)$$),
	($$SELECT public.sync_state_forget('article')$$),
	($$UPDATE syncstate.sync_state SET last_sync_at = '2031-01-01', sync_status = 'modified'$$),
	($$DELETE FROM syncstate.sync_state WHERE starts_with(type_key OPERATOR(pg_catalog.||) '', 'u')$$),
	($$SELECT * FROM public.sync_state_begin('held')$$);
UPDATE t.call SET call = replace(call, 'starts_with(', 'pg_catalog.starts_with(');
-- Refusals: the way to an error leads through queries as well.
INSERT INTO t.call (call, expected) VALUES
	($$TRUNCATE syncstate.sync_state$$, 'syncstate.sync_state cannot be truncated'),
	($$SELECT * FROM public.sync_state_begin('held')$$, '"held" is held by a live run'),
	($$SELECT public.sync_state_mark_synced('held', 'x', 'x')$$, '"held" is held by a live run'),
	($$SELECT public.sync_state_update('held', '{"sync_status": "new"}')$$, '"held" is held by a live run'),
	($$SELECT public.sync_state_checkpoint('held', '00000000-0000-0000-0000-000000000001', '{}')$$, 'run 00000000-0000-0000-0000-000000000001 of "held" was superseded'),
	($$SELECT public.sync_state_mark_synced('nobody', 'x', 'x', '00000000-0000-0000-0000-000000000001')$$, 'run 00000000-0000-0000-0000-000000000001 of "nobody" was superseded'),
	($$SELECT public.sync_state_fail('held', '00000000-0000-0000-0000-000000000001')$$, 'run 00000000-0000-0000-0000-000000000001 of "held" was superseded'),
	($$SELECT * FROM public.sync_state_resume('nobody2')$$, NULL),
	($$SELECT public.sync_state_reset('nobody2')$$, NULL),
	($$SELECT public.sync_state_update('held', '{"localhash": "new"}')$$, NULL);
SELECT is(t.hostile(call), coalesce(expected, t.clean(call)), left(call, 100)) FROM t.call ORDER BY n;

SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM t.own JOIN pg_proc p ON (classid, objid) = ('pg_proc'::regclass, p.oid)
	    WHERE p.prorettype <> 'trigger'::regtype AND NOT p.proargtypes::oid[] @> ARRAY['internal'::regtype::oid]
	      AND NOT EXISTS (SELECT FROM t.call WHERE call ~ (p.pronamespace::regnamespace || '\.' || p.proname || '\(')) $$,
	'every function that SQL can call was called');
SELECT is_empty(
	$$ SELECT p.oid::regprocedure FROM t.own JOIN pg_proc p ON (classid, objid) = ('pg_proc'::regclass, p.oid)
	    -- (of that which always raises its error, the message was seen)
	    WHERE p.prorettype = 'trigger'::regtype AND p.proname <> 'refuse_truncate' AND coalesce((SELECT calls FROM pg_stat_xact_user_functions WHERE funcid = p.oid), 0) = 0 $$,
	'every trigger function was run');

-- Plans that were made under the clean path are made again under this one, and the answers are the same.
CREATE FUNCTION t.snapshot() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(concat_ws(',', type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, sync_status, conflict_status, sync_progress, run_number), ';' ORDER BY type_key)
	  FROM syncstate.sync_state $$;
CREATE TABLE t.outcome (path text, state text, answers text);
CREATE FUNCTION t.all_calls(path text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answers text := ''; state text; c record; outcome text;
BEGIN
	BEGIN
		DELETE FROM syncstate.sync_state;
		FOR c IN SELECT * FROM t.call ORDER BY n LOOP
			outcome := CASE path WHEN 'hostile' THEN t.hostile(c.call) ELSE t.clean(c.call) END;
			answers := answers || c.n || ':' || outcome || E'\n';
		END LOOP;
		state := t.snapshot();
		RAISE EXCEPTION USING ERRCODE = 'UNDO0';	-- both begin with the same state
	EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
		INSERT INTO t.outcome VALUES (path, state, answers);
	END;
	RETURN answers;
END $$;
SELECT unalike(t.all_calls('clean') || t.all_calls('hostile'), '%planted%', 'all calls again, under a clean and then under the hostile path');
SELECT is((SELECT state || answers FROM t.outcome WHERE path = 'hostile'), (SELECT state || answers FROM t.outcome WHERE path = 'clean'),
          'both leave the same state and give the same answers');

-- ---------------------------------------------------------------------------------------------
-- Installed into that very schema: nothing that the scripts make goes by what is planted there
-- ---------------------------------------------------------------------------------------------
-- A script is run with pg_catalog first, so that only what fits better than pg_catalog's own could be taken.
CREATE FUNCTION hostile.better(numeric, int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'planted operator' USING ERRCODE = 'PLANT'; END $$;
CREATE OPERATOR hostile.> (FUNCTION = hostile.better, LEFTARG = numeric, RIGHTARG = int);
CREATE FUNCTION t.script_would_take() RETURNS text LANGUAGE plpgsql SET search_path = hostile, pg_temp AS $$
BEGIN RETURN 1.5 > 1; EXCEPTION WHEN SQLSTATE 'PLANT' THEN RETURN 'what is planted'; END $$;
SELECT is(t.script_would_take(), 'what is planted', 'under the path of a script an operator that fits better is taken');
DROP EXTENSION syncstate;
CREATE EXTENSION syncstate SCHEMA hostile;
SELECT is_empty(
	$$ WITH member AS (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	                      AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate')),
	   planted AS (SELECT i.classid, i.objid FROM pg_depend i WHERE i.refclassid = 'pg_namespace'::regclass AND i.classid <> 'pg_extension'::regclass
	                  AND i.refobjid IN ('hostile'::regnamespace, pg_my_temp_schema())
	                  AND (i.classid, i.objid) NOT IN (SELECT classid, objid FROM member)),
	   dependent AS (SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid FROM pg_depend d JOIN planted p ON (p.classid, p.objid) = (d.refclassid, d.refobjid))
	   SELECT pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, 0) FROM dependent
	    WHERE (classid, objid) IN (SELECT classid, objid FROM member)
	       OR (classid = 'pg_constraint'::regclass AND objid IN (SELECT oid FROM pg_constraint WHERE connamespace = 'syncstate'::regnamespace))
	       OR (classid = 'pg_attrdef'::regclass AND objid IN (SELECT a.oid FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid WHERE c.relnamespace = 'syncstate'::regnamespace))
	       OR (classid = 'pg_rewrite'::regclass AND objid IN (SELECT r.oid FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace = 'syncstate'::regnamespace)) $$,
	'no function, table, CHECK, default or view depends on anything planted');
UPDATE t.call SET call = replace(call, 'public.', 'hostile.');
SELECT is_empty($$ SELECT call, outcome FROM (SELECT call, n, t.hostile(call) AS outcome FROM t.call ORDER BY n) c WHERE outcome ~ 'planted' $$,
	'all calls once more, in the functions'' new place');
SELECT cmp_ok((SELECT count(*) FROM syncstate.sync_state), '>', 5::bigint, '... leave what they should');

SELECT * FROM finish();
ROLLBACK;
