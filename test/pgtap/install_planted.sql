-- The trusted installation gives away nothing: neither to who plants objects where the scripts make
-- theirs, before CREATE EXTENSION or before an update, nor to who installs and is no superuser.
-- What is planted, and what must belong to whom, comes from the catalogue.
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = public, pg_temp;
CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(33);

CREATE ROLE syncstate_test_owner;
CREATE ROLE syncstate_test_planter;
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO syncstate_test_owner', current_database()); END $$;
CREATE SCHEMA t;
CREATE SCHEMA target AUTHORIZATION syncstate_test_owner;
GRANT USAGE ON SCHEMA t TO PUBLIC;
GRANT CREATE, USAGE ON SCHEMA target TO syncstate_test_planter;

CREATE VIEW t.member AS
	SELECT d.classid, d.objid FROM pg_depend d
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate');
CREATE TABLE t.way (n serial, name text, statements text[]);
INSERT INTO t.way (name, statements) VALUES
	('0.3.0', '{CREATE EXTENSION syncstate SCHEMA target VERSION ''0.3.0''}'),
	('0.1.0, 0.2.0, 0.3.0', '{CREATE EXTENSION syncstate SCHEMA target VERSION ''0.1.0'',ALTER EXTENSION syncstate UPDATE TO ''0.2.0'',ALTER EXTENSION syncstate UPDATE TO ''0.3.0''}'),
	('0.5.0', '{CREATE EXTENSION syncstate SCHEMA target VERSION ''0.5.0''}'),
	('0.1.0, 0.2.0, 0.3.0, 0.4.0, 0.5.0', '{CREATE EXTENSION syncstate SCHEMA target VERSION ''0.1.0'',ALTER EXTENSION syncstate UPDATE TO ''0.2.0'',ALTER EXTENSION syncstate UPDATE TO ''0.3.0'',ALTER EXTENSION syncstate UPDATE TO ''0.4.0'',ALTER EXTENSION syncstate UPDATE TO ''0.5.0''}'),
	('0.1.0, 0.3.0', '{CREATE EXTENSION syncstate SCHEMA target VERSION ''0.1.0'',ALTER EXTENSION syncstate UPDATE TO ''0.3.0''}');

-- Runs statements as a role; the outcome, and nothing of it stays.
CREATE FUNCTION t.as_role(role name, statements text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE statement text;
BEGIN
	PERFORM set_config('role', role, true);
	FOREACH statement IN ARRAY statements LOOP EXECUTE statement; END LOOP;
	PERFORM set_config('role', 'none', true);
END $$;
CREATE FUNCTION t.outcome(VARIADIC steps text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE step text; role text;
BEGIN
	-- Each step: a role, a colon, a statement.
	FOREACH step IN ARRAY steps LOOP
		role := split_part(step, ':', 1);
		PERFORM t.as_role(role, ARRAY[substr(step, length(role) + 2)]);
	END LOOP;
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN 'ok';
	WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
CREATE FUNCTION t.steps(statements text[]) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg('syncstate_test_owner:' || s ORDER BY n) FROM unnest(statements) WITH ORDINALITY AS u (s, n) $$;

-- What the last version has, as statements that plant the like.
SELECT t.as_role('syncstate_test_owner', (SELECT statements FROM t.way WHERE n = 1));
CREATE TABLE t.made AS
	SELECT pg_describe_object(classid, objid, 0) AS object, 'target' AS schema, '42723' AS refusal,
	       format('CREATE FUNCTION target.%I(%s) RETURNS int LANGUAGE sql AS ''SELECT 1''', proname, args) AS plant
	  FROM t.member JOIN pg_proc ON (classid, objid) = ('pg_proc'::regclass, pg_proc.oid),
	       LATERAL (SELECT string_agg(format_type(a, NULL), ', ' ORDER BY n) AS args FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS u (a, n)) AS x
	 WHERE pronamespace = 'target'::regnamespace AND provariadic = 0
	UNION ALL
	SELECT pg_describe_object(classid, objid, 0), 'syncstate', '42723', format('CREATE FUNCTION syncstate.%I(%s) RETURNS int LANGUAGE sql AS ''SELECT 1''', proname, args)
	  FROM t.member JOIN pg_proc ON (classid, objid) = ('pg_proc'::regclass, pg_proc.oid),
	       LATERAL (SELECT coalesce(string_agg(format_type(a, NULL), ', ' ORDER BY n), '') AS args FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS u (a, n)) AS x
	 WHERE pronamespace = 'syncstate'::regnamespace AND provariadic = 0 AND NOT proargtypes::oid[] @> ARRAY['internal'::regtype::oid]
	UNION ALL
	SELECT pg_describe_object(classid, objid, 0), 'syncstate', '42P07', format('CREATE TABLE syncstate.%I ()', relname)
	  FROM t.member JOIN pg_class ON (classid, objid) = ('pg_class'::regclass, pg_class.oid) WHERE relkind IN ('r', 'v')
	UNION ALL
	SELECT pg_describe_object(classid, objid, 0), 'syncstate', '42710', format('CREATE TYPE syncstate.%I AS ENUM (''planted'')', typname)
	  FROM t.member JOIN pg_type ON (classid, objid) = ('pg_type'::regclass, pg_type.oid)
	 WHERE typtype = 'c' AND EXISTS (SELECT FROM pg_class WHERE pg_class.oid = typrelid AND relkind = 'c');
DROP EXTENSION syncstate;
SELECT t.as_role('syncstate_test_owner', '{CREATE EXTENSION syncstate SCHEMA target VERSION ''0.1.0''}');
ALTER TABLE t.made ADD since text DEFAULT 'later';
UPDATE t.made SET since = '0.1.0' FROM t.member WHERE object = pg_describe_object(classid, objid, 0);
DROP EXTENSION syncstate;
SELECT cmp_ok((SELECT count(*) FROM t.made WHERE schema = 'target'), '>', 40::bigint, 'functions of the target schema');
SELECT cmp_ok((SELECT count(*) FROM t.made WHERE schema = 'syncstate' AND since = 'later'), '>', 10::bigint, 'objects that updates make in schema syncstate');

-- ---------------------------------------------------------------------------------------------
-- 1. What is planted is never adopted
-- ---------------------------------------------------------------------------------------------
-- (All ways run the same scripts, in one go or in several.)
SELECT is_empty(format($$ SELECT plant, outcome FROM t.made, LATERAL t.outcome(VARIADIC ARRAY['syncstate_test_planter:' || plant] || t.steps(%L)) AS outcome
                           WHERE schema = 'target' AND outcome <> refusal $$, statements),
	'planted in the target schema, the like of any function: refused')
  FROM t.way WHERE name = '0.5.0';
SELECT is_empty(format($$ SELECT plant, outcome FROM t.made,
                                 LATERAL t.outcome(VARIADIC ARRAY['syncstate_test_owner:' || %L, 'syncstate_test_owner:GRANT CREATE, USAGE ON SCHEMA syncstate TO syncstate_test_planter',
                                                                  'syncstate_test_planter:' || plant] || t.steps(%L)) AS outcome
                           WHERE schema = 'syncstate' AND since = 'later' AND outcome <> refusal $$, statements[1], statements[2:]),
	'planted in schema syncstate before an update, the like of what it makes: refused')
  FROM t.way WHERE name = '0.1.0, 0.2.0, 0.3.0, 0.4.0, 0.5.0';
SELECT is(t.outcome('syncstate_test_owner:CREATE SCHEMA syncstate', 'syncstate_test_owner:CREATE EXTENSION syncstate'), '42P06', 'a schema syncstate that is there is not adopted');

-- What does not stand in the way: names that the scripts mention, in the target schema and in pg_temp.
CREATE FUNCTION t.caught() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = 'PLANT'; END $$;
CREATE FUNCTION t.plant(target name) RETURNS void LANGUAGE plpgsql AS $$
DECLARE o record;
BEGIN
	FOR o IN SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typelem = 0 LOOP
		EXECUTE format('CREATE DOMAIN %I.%I AS pg_catalog.%2$I CHECK (t.caught())', target, o.typname);
	END LOOP;
	FOR o IN SELECT DISTINCT ON (proname, args) proname, (SELECT string_agg(format_type(a, NULL), ', ' ORDER BY n) FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS u (a, n)) AS args
	           FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('f', 'a') AND provariadic = 0
	            AND proname IN ('octet_length', 'isfinite', 'clock_timestamp', 'gen_random_uuid', 'pg_extension_config_dump', 'date_part', 'jsonb_typeof', 'round', 'abs', 'count', 'min')
	            AND NOT proargtypes::oid[] && ARRAY['"any"'::regtype, 'anyenum'::regtype]::oid[] LOOP
		EXECUTE format('CREATE FUNCTION %I.%I(%s) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RETURN t.caught(); END''', target, o.proname, o.args);
	END LOOP;
	FOR o IN SELECT oprname, format_type(oprleft, NULL) AS l, format_type(oprright, NULL) AS r, row_number() OVER () AS n FROM pg_operator
	          WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprleft <> 0 AND oprname IN ('=', '<', '>', '<=', '>=', '-', '*', '/', '->', '->>', '^@')
	            AND oprleft::regtype::text ~ '^(integer|text|numeric|jsonb|uuid|bigint|boolean|timestamp with time zone|double precision)$' LOOP
		EXECUTE format('CREATE FUNCTION %I.op%s(%s, %s) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RETURN t.caught(); END''', target, o.n, o.l, o.r);
		EXECUTE format('CREATE OPERATOR %I.%s (FUNCTION = %I.op%s, LEFTARG = %s, RIGHTARG = %s)', target, o.oprname, target, o.n, o.l, o.r);
	END LOOP;
	FOR o IN SELECT unnest('{sync_state,sync_run,sync_conflict,sync_tombstone,sync_feed,sync_source,sync_tracking,sync_tracking_delta,sync_row_base}'::name[]) AS relname LOOP
		EXECUTE format('CREATE TABLE %I.%I (lie int)', target, o.relname);
	END LOOP;
	EXECUTE format('CREATE COLLATION %I."C" (PROVIDER = libc, LOCALE = ''POSIX'')', target);
	EXECUTE format('CREATE FUNCTION %I.better(numeric, int) RETURNS boolean LANGUAGE plpgsql AS ''BEGIN RETURN t.caught(); END''', target);
	EXECUTE format('CREATE OPERATOR %I.> (FUNCTION = %I.better, LEFTARG = numeric, RIGHTARG = int)', target, target);
END $$;
GRANT TEMPORARY ON DATABASE :"DBNAME" TO syncstate_test_planter;
SELECT lives_ok($$ SELECT t.as_role('syncstate_test_planter', '{SELECT t.plant(''target'')}') $$, 'somebody plants types, functions, operators and tables');
CREATE TEMPORARY TABLE sync_state (lie int);
CREATE TEMPORARY TABLE sync_feed (lie int);
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (t.caught());

-- What depends on anything of the target schema or of pg_temp that is not the extension's own.
CREATE VIEW t.dependent AS
	WITH RECURSIVE part AS (
		SELECT classid, objid FROM t.member
		UNION SELECT d.classid, d.objid FROM part p JOIN pg_depend d ON (d.refclassid, d.refobjid) = (p.classid, p.objid) AND d.deptype IN ('i', 'a', 'n') AND d.classid <> 'pg_extension'::regclass)
	SELECT DISTINCT pg_describe_object(p.classid, p.objid, 0) AS object, pg_describe_object(i.classid, i.objid, 0) AS planted
	  FROM part p JOIN pg_depend d ON (d.classid, d.objid) = (p.classid, p.objid)
	  JOIN pg_depend i ON (i.classid, i.objid) = (d.refclassid, d.refobjid) AND i.refclassid = 'pg_namespace'::regclass AND i.classid <> 'pg_extension'::regclass
	   AND i.refobjid IN ('target'::regnamespace, pg_my_temp_schema())
	 WHERE (i.classid, i.objid) NOT IN (SELECT classid, objid FROM part);
-- Who must own what: tables, views, their indexes and the schema are the installer's; code and types are
-- of the superuser as whom the script ran, so that nobody else can change them.
CREATE VIEW t.owned_wrongly AS
	SELECT pg_describe_object('pg_class'::regclass, c.oid, 0) AS object, relowner::regrole AS owner FROM pg_class c
	 WHERE c.relnamespace = to_regnamespace('syncstate') AND c.relkind <> 'c' AND c.relowner <> to_regrole('syncstate_test_owner')
	UNION ALL SELECT pg_describe_object(classid, objid, 0), proowner::regrole FROM t.member JOIN pg_proc p ON (classid, objid) = ('pg_proc'::regclass, p.oid)
	 WHERE NOT (SELECT rolsuper FROM pg_roles WHERE oid = proowner) OR prosecdef OR proconfig IS NOT NULL OR proacl IS NOT NULL
	UNION ALL SELECT pg_describe_object(classid, objid, 0), typowner::regrole FROM t.member JOIN pg_type y ON (classid, objid) = ('pg_type'::regclass, y.oid)
	 WHERE typtype = 'c' AND typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c') AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = typowner)
	UNION ALL SELECT 'schema', nspowner::regrole FROM pg_namespace WHERE nspname = 'syncstate' AND nspowner <> to_regrole('syncstate_test_owner')
	UNION ALL SELECT 'extension', extowner::regrole FROM pg_extension WHERE extname = 'syncstate' AND extowner <> to_regrole('syncstate_test_owner')
	-- what is in the schema, and nobody's
	UNION ALL SELECT pg_describe_object('pg_class'::regclass, oid, 0), relowner::regrole FROM pg_class
	 WHERE relnamespace = to_regnamespace('syncstate') AND relkind IN ('r', 'v', 'S', 'm', 'f') AND oid NOT IN (SELECT objid FROM t.member WHERE classid = 'pg_class'::regclass);
-- A trigger of the owner's on every table there is: an update that wrote a row would run it as a superuser.
CREATE FUNCTION t.mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trigger of the owner''s, run by %', current_user USING ERRCODE = 'PLANT'; END $$;
CREATE FUNCTION t.add_triggers() RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text; timing text;
BEGIN
	FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'syncstate'::regnamespace AND relkind = 'r' AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid AND tgname = 'mine') LOOP
		EXECUTE format('CREATE TRIGGER mine BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON syncstate.%I FOR EACH STATEMENT EXECUTE FUNCTION t.mine()', name);
		EXECUTE format('ALTER TABLE syncstate.%I ENABLE ALWAYS TRIGGER mine', name);
	END LOOP;
END $$;
CREATE FUNCTION t.go(number int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE statement text; seen text := '';
BEGIN
	FOREACH statement IN ARRAY (SELECT w.statements FROM t.way w WHERE w.n = number) LOOP
		PERFORM t.as_role('syncstate_test_owner', ARRAY[statement, 'SELECT t.add_triggers()']);
	END LOOP;
	seen := (SELECT coalesce(string_agg(object || ' uses ' || planted, '; '), '') FROM t.dependent) ||
	        (SELECT coalesce(string_agg(object || ' is owned by ' || owner, '; '), '') FROM t.owned_wrongly);
	RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN seen;
	WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT is(t.go(n), '', 'nothing planted is used, all belongs to whom it must, and no trigger of the owner''s runs: by way of ' || name) FROM t.way ORDER BY n;

-- ---------------------------------------------------------------------------------------------
-- 2. Who installs it gets nothing that a superuser owns
-- ---------------------------------------------------------------------------------------------
DROP SCHEMA target CASCADE;
DROP DOMAIN pg_temp.text;
DROP TABLE pg_temp.sync_state, pg_temp.sync_feed;
CREATE TABLE t.secret (type_key text PRIMARY KEY, local_hash text);
INSERT INTO t.secret VALUES ('secret', 'hidden');
CREATE TABLE t.tracked (id int PRIMARY KEY);
SELECT t.as_role('syncstate_test_owner', '{CREATE EXTENSION syncstate}');
SELECT is((SELECT extversion FROM pg_extension WHERE extname = 'syncstate'), '0.5.0', 'there is no later version that this does not know of');
SELECT sync_source_attach('tracked', 't.tracked');
SELECT sync_source_track('tracked');
SELECT is(t.outcome('syncstate_test_owner:' || statement), '42501', 'the owner cannot: ' || left(statement, 90))
  FROM (SELECT 1, unnest(ARRAY[
	'ALTER FUNCTION sync_state_version() SECURITY DEFINER',
	'ALTER FUNCTION sync_state_version() OWNER TO syncstate_test_owner',
	'ALTER FUNCTION syncstate.touch() SET search_path = public',
	'CREATE OR REPLACE FUNCTION sync_state_version() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS ''SELECT 1''',
	'CREATE OR REPLACE FUNCTION syncstate.is_sync_status(sync_status text) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS ''SELECT true''',
	'CREATE FUNCTION mine() RETURNS text LANGUAGE c AS ''syncstate'', ''sync_state_version''',
	'ALTER EXTENSION syncstate DROP FUNCTION sync_state_version()',
	'ALTER EXTENSION syncstate ADD TABLE t.secret',
	'ALTER TYPE syncstate.sync_delta ADD ATTRIBUTE x int',
	'ALTER TABLE syncstate.sync_tracking_delta OWNER TO ' || quote_ident(current_user),
	'SELECT sync_state_import(''t.secret'')',
	'DO $x$ BEGIN PERFORM sync_source_attach(''x'', ''t.secret''); PERFORM sync_state_delta(''x''); END $x$',
	'DO $x$ BEGIN PERFORM sync_source_attach(''x'', ''t.secret''); PERFORM sync_state_observe(''x''); END $x$',
	'DO $x$ BEGIN PERFORM sync_source_attach(''x'', ''t.secret'', ''t.secret''); PERFORM sync_source_diff(''x''); END $x$',
	'DO $x$ BEGIN PERFORM sync_source_attach(''x'', ''t.secret'', ''t.secret'', row_base => true); PERFORM sync_state_mark_synced(''x'', NULL, NULL); END $x$',
	'DO $x$ BEGIN PERFORM sync_source_attach(''x'', ''t.secret''); PERFORM sync_source_track(''x''); END $x$',
	'SELECT sync_source_untrack(''tracked'')',
	'SELECT sync_source_verify(''tracked'')',
	'SELECT sync_state_delta(''tracked'')'])) AS c (n, statement);
SELECT is(t.outcome('syncstate_test_owner:DROP FUNCTION ' || f), '2BP01', '... nor drop a function, though the schema is the owner''s: ' || f)
  FROM unnest('{sync_state_version(),syncstate.touch()}'::text[]) f;

SELECT * FROM finish();
ROLLBACK;
