-- Tracking: after any history the sum that the triggers keep is the digest of the rows, or it does not count.
-- What needs several sessions is in test/isolation, what needs a server of its own in test/t/009_track.pl.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(314);

CREATE SCHEMA t;

-- How often the tables below one were read from end to end.
CREATE FUNCTION t.scans(relid regclass) RETURNS bigint LANGUAGE sql AS $$
	SELECT sum(s.seq_scan) FROM pg_stat_xact_user_tables s
	 WHERE s.relid = scans.relid OR s.relid IN (SELECT p.relid FROM pg_partition_tree(scans.relid) p)
	    OR s.relid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = scans.relid) $$;
-- What the digest of a source is, from its rows.
CREATE FUNCTION t.measured(key text) RETURNS text LANGUAGE plpgsql STABLE AS $$
	DECLARE
		source syncstate.sync_source;
		names text[];
		list text;
		result text;
	BEGIN
		SELECT * INTO STRICT source FROM syncstate.sync_source WHERE type_key = key;
		names := coalesce(source.columns, (SELECT array_agg(attname) FROM pg_attribute
			WHERE attrelid = source.local AND attnum > 0 AND NOT attisdropped AND attgenerated = ''));
		SELECT string_agg(format('x.%I', n), ', ' ORDER BY n COLLATE "C") INTO list FROM unnest(names) n;
		EXECUTE format('SELECT sync_digest(%s) FROM %s x', list, source.local) INTO result;
		RETURN result;
	END $$;
-- Is the digest that a delta tells the right one, and where is it from?  tracked: no row was read.
CREATE FUNCTION t.exact(key text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		source regclass = (SELECT local FROM syncstate.sync_source WHERE type_key = key);
		before bigint = t.scans(source);
		told text = coalesce(sync_state_delta(key)->>'local_hash', repeat('0', 32) || ':0');
		after bigint = t.scans(source);
		measured text = t.measured(key);
	BEGIN
		IF told IS DISTINCT FROM measured THEN
			RETURN format('WRONG (%s): %s is %s', CASE after WHEN before THEN 'tracked' ELSE 'read' END, told, measured);
		END IF;
		RETURN CASE after WHEN before THEN 'tracked' ELSE 'read' END;
	END $$;
CREATE FUNCTION t.verify(key text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		v jsonb = sync_source_verify(key);
	BEGIN
		IF v->>'measured' IS DISTINCT FROM t.measured(key) THEN
			RETURN 'WRONG: measured ' || v;
		ELSIF (v->>'valid')::boolean <> (v->>'tracked' IS NOT DISTINCT FROM v->>'measured') THEN
			RETURN 'WRONG: ' || v;
		END IF;
		RETURN CASE WHEN (v->>'valid')::boolean THEN 'valid' WHEN v->>'tracked' IS NULL THEN 'did not count' ELSE 'off' END;
	END $$;
CREATE FUNCTION t.deltas(key text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM syncstate.sync_tracking_delta d JOIN syncstate.sync_source s USING (source_id) WHERE s.type_key = key $$;
CREATE FUNCTION t.triggers() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~syncstate%' $$;
-- Name of a trigger of a source, quoted.
CREATE FUNCTION t.trigger(key text, what text DEFAULT 'track') RETURNS text LANGUAGE sql AS $$
	SELECT quote_ident('~syncstate_' || what || '_' || left(s.source_id::text, 8)) FROM syncstate.sync_source s WHERE s.type_key = key $$;
CREATE FUNCTION t.alter(command text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE command; END $$;

-- ---------------------------------------------------------------------------------------------
-- Plain statements
-- ---------------------------------------------------------------------------------------------
CREATE TYPE t.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE t.plain (gone int, id int PRIMARY KEY, title text, price numeric, mood t.mood DEFAULT 'ok', note text,
	twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE t.plain DROP COLUMN gone;
INSERT INTO t.plain SELECT i, 'title ' || i, i FROM generate_series(1, 100) i;
SELECT sync_source_attach('plain', 't.plain'), sync_source_attach('some', 't.plain', columns => ARRAY['title', 'id', 'twice']) \g /dev/null
SELECT is(t.exact('plain'), 'read', 'without tracking the rows are read');
SELECT is(sync_source_track('plain'), true, 'track');
SELECT is(sync_source_track('plain'), false, '... once');
SELECT is(sync_source_track('some'), true, 'a second source of that table, with other columns');
SELECT is(t.exact('plain'), 'tracked', 'now they are not');
SELECT is(t.exact('some'), 'tracked', '... for neither');
SELECT is(t.verify('plain'), 'valid', 'and what is told is right');
SELECT is(t.verify('some'), 'valid', '... for both');

-- Runs a command and looks at both sources.
CREATE FUNCTION t.after(command text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		first text;
		second text;
	BEGIN
		EXECUTE command;
		first := t.exact('plain');
		second := t.exact('some');
		RETURN CASE first WHEN second THEN first ELSE first || ', ' || second END;
	END $$;

SELECT is(t.after($$ INSERT INTO t.plain SELECT i, 'title ' || i, i FROM generate_series(101, 110) i $$), 'tracked', 'INSERT');
SELECT is(t.after($$ INSERT INTO t.plain VALUES (0, NULL, NULL, NULL) $$), 'tracked', 'INSERT of NULLs');
SELECT is(t.after($$ UPDATE t.plain SET title = title || '!' WHERE id < 10 $$), 'tracked', 'UPDATE of a column of both');
SELECT is(t.after($$ UPDATE t.plain SET price = price + 1 $$), 'tracked', 'UPDATE of a column of one');
SELECT is(t.after($$ UPDATE t.plain SET id = id + 1000 WHERE id < 5 $$), 'tracked', 'UPDATE of the key, and what is generated from it');
SELECT is(t.after($$ UPDATE t.plain SET title = title $$), 'tracked', 'UPDATE that changes nothing');
SELECT is(t.after($$ DELETE FROM t.plain WHERE id BETWEEN 20 AND 30 $$), 'tracked', 'DELETE');
SELECT is(t.after($$ DELETE FROM t.plain WHERE false $$), 'tracked', 'DELETE of nothing');
SELECT is(t.after($$ INSERT INTO t.plain VALUES (50, 'conflict', 1), (20, 'new', 2) ON CONFLICT DO NOTHING $$), 'tracked', 'ON CONFLICT DO NOTHING');
SELECT is(t.after($$ INSERT INTO t.plain VALUES (50, 'conflict', 1), (21, 'new', 2) ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, price = NULL $$),
	'tracked', 'ON CONFLICT DO UPDATE');
SELECT is(t.after($$ MERGE INTO t.plain p USING (VALUES (50, 'merged'), (51, NULL), (22, 'merged in')) v(id, title) ON v.id = p.id
	WHEN MATCHED AND v.title IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET title = v.title
	WHEN NOT MATCHED THEN INSERT (id, title) VALUES (v.id, v.title) $$), 'tracked', 'MERGE that inserts, updates and deletes');
COPY t.plain (id, title, mood) FROM stdin;
2001	copied	happy
2002	\N	sad
\.
SELECT is(t.exact('plain'), 'tracked', 'COPY');
SELECT is(t.after($$ WITH gone AS (DELETE FROM t.plain WHERE id < 40 RETURNING id, title) INSERT INTO t.plain SELECT id + 3000, title FROM gone $$),
	'tracked', 'a statement that deletes and inserts');
SELECT is(t.after($$ WITH a AS (UPDATE t.plain SET note = 'x' WHERE id = 60 RETURNING id), b AS (UPDATE t.plain SET note = 'y' WHERE id = 61)
	DELETE FROM t.plain WHERE id = 62 $$), 'tracked', '... that updates twice and deletes');
SELECT is(t.after($$ UPDATE t.plain SET note = repeat('long ', 100000) || id WHERE id IN (63, 64) $$), 'tracked', 'values that are stored elsewhere');
SELECT is(t.after($$ UPDATE t.plain SET title = 'short' WHERE id IN (63, 64) $$), 'tracked', '... and stay there, unchanged, in an UPDATE');
SELECT is(t.after($$ DELETE FROM t.plain WHERE id = 63 $$), 'tracked', '... and go');
SELECT is(t.after($$ ALTER TABLE t.plain ALTER note SET STORAGE EXTERNAL $$), 'read, tracked', 'a column that was altered: only who has it reads');
SELECT is(t.verify('plain'), 'did not count', '... until verified');
SELECT is(t.exact('plain'), 'tracked', '... from then on');
CREATE VIEW t.writable AS SELECT id, title FROM t.plain WHERE id < 100000;
SELECT is(t.after($$ UPDATE t.writable SET title = 'through a view' WHERE id = 64 $$), 'tracked', 'through a view');
PREPARE change(int) AS UPDATE t.plain SET price = $1 WHERE id = 64;
EXECUTE change(7);
SELECT is(t.exact('plain'), 'tracked', 'a prepared statement');
SELECT is(t.after($$ SET LOCAL session_replication_role = replica; UPDATE t.plain SET title = 'replica' WHERE id = 65;
	DELETE FROM t.plain WHERE id = 66; RESET session_replication_role $$), 'tracked', 'session_replication_role = replica');
SELECT is(t.after($$ CREATE TEMP TABLE own AS SELECT * FROM t.plain; DROP TABLE own $$), 'tracked', 'DDL elsewhere');

-- A row of another table that is handed over as it lies there, shorter than ours: the same bytes, read otherwise.
CREATE TABLE t.lengthened (id int);
INSERT INTO t.lengthened VALUES (1), (2), (3);
CREATE TABLE t.other (id int);
INSERT INTO t.other SELECT i FROM generate_series(10, 14) i;
ALTER TABLE t.lengthened ADD x text DEFAULT 'ours';
ALTER TABLE t.other ADD x text;
SELECT sync_source_attach('lengthened', 't.lengthened', key_columns => '{id}'), sync_source_track('lengthened') \g /dev/null
SELECT is(t.exact('lengthened'), 'tracked', 'a column that was added with a default');
INSERT INTO t.lengthened SELECT * FROM t.other;
SELECT is(t.exact('lengthened'), 'tracked', '... and short rows of another table');
INSERT INTO t.lengthened SELECT * FROM t.other WHERE id = 10 UNION ALL SELECT * FROM t.other WHERE id = 11;
INSERT INTO t.lengthened SELECT * FROM t.other LIMIT 1;
SELECT is(t.exact('lengthened'), 'tracked', '... by other ways');
CREATE FUNCTION t.short_row() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		SELECT * INTO NEW FROM t.lengthened WHERE id = 1;
		RETURN NEW;
	END $$;
CREATE TRIGGER short_row BEFORE INSERT ON t.lengthened FOR EACH ROW EXECUTE FUNCTION t.short_row();
INSERT INTO t.lengthened SELECT * FROM t.other;
UPDATE t.lengthened SET id = id + 1 WHERE id < 12;
SELECT is(t.exact('lengthened'), 'tracked', '... and with a trigger that puts one of ours in its place');
SELECT sync_source_detach('lengthened') \g /dev/null
DROP TABLE t.lengthened;

-- Triggers of the table's own, which change, suppress and write more.
CREATE FUNCTION t.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF TG_OP = 'DELETE' THEN
			RETURN CASE WHEN OLD.id % 2 = 0 THEN OLD END;
		END IF;
		IF NEW.title = 'suppress' THEN
			RETURN NULL;
		END IF;
		NEW.title := 'meddled ' || NEW.title;
		RETURN NEW;
	END $$;
CREATE TRIGGER meddle BEFORE INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION t.meddle();
SELECT is(t.after($$ INSERT INTO t.plain VALUES (4001, 'a'), (4002, 'suppress'), (4003, 'b') $$), 'tracked', 'a BEFORE trigger that changes and suppresses');
SELECT is(t.after($$ UPDATE t.plain SET title = CASE WHEN id = 4001 THEN 'suppress' ELSE 'c' END WHERE id > 4000 $$), 'tracked', '... at UPDATE');
SELECT is(t.after($$ DELETE FROM t.plain WHERE id > 4000 OR id BETWEEN 70 AND 75 $$), 'tracked', '... at DELETE');
DROP TRIGGER meddle ON t.plain;
CREATE FUNCTION t.write_more() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.id BETWEEN 5000 AND 5005 THEN
			INSERT INTO t.plain VALUES (NEW.id + 1, 'more');
			UPDATE t.plain SET price = 5 WHERE id = 80;
		END IF;
		RETURN NULL;
	END $$;
CREATE TRIGGER write_more AFTER INSERT ON t.plain FOR EACH ROW EXECUTE FUNCTION t.write_more();
SELECT is(t.after($$ INSERT INTO t.plain VALUES (5000, 'first') $$), 'tracked', 'an AFTER trigger that writes to the table, which fires it again');
SELECT throws_ok($$ INSERT INTO t.plain VALUES (4999, 'written'), (5000, 'there') $$, '23505');
SELECT is(t.exact('plain'), 'tracked', 'an error in a statement that had written');
DROP TRIGGER write_more ON t.plain;

-- ---------------------------------------------------------------------------------------------
-- Subtransactions
-- ---------------------------------------------------------------------------------------------
SAVEPOINT a;
INSERT INTO t.plain VALUES (6001, 'a');
SELECT is(t.exact('plain'), 'tracked', 'in a savepoint');
SAVEPOINT b;
UPDATE t.plain SET title = 'b' WHERE id = 6001;
SAVEPOINT c;
DELETE FROM t.plain WHERE id > 2000;
SELECT is(t.exact('plain'), 'tracked', '... the third');
ROLLBACK TO b;
SELECT is(t.exact('plain'), 'tracked', 'two of three rolled back');
INSERT INTO t.plain VALUES (6002, 'b again');
RELEASE b;
SELECT is(t.exact('plain'), 'tracked', 'released, after a rollback to it');
ROLLBACK TO a;
SELECT is(t.exact('plain'), 'tracked', 'what was released is rolled back with the one around it');
RELEASE a;
SAVEPOINT a; SAVEPOINT b; SAVEPOINT c;
UPDATE t.plain SET title = 'c' WHERE id < 100;
RELEASE c; RELEASE b; RELEASE a;
SELECT is(t.exact('plain'), 'tracked', 'released by three levels');
SAVEPOINT a; UPDATE t.plain SET title = 'd' WHERE id = 90; SAVEPOINT b; RELEASE a;
SELECT is(t.exact('plain'), 'tracked', 'released with what is in it');
SAVEPOINT a; SAVEPOINT b; UPDATE t.plain SET title = 'e' WHERE id = 90; RELEASE b; ROLLBACK TO a;
SELECT is(t.exact('plain'), 'tracked', 'released, and the one around it rolled back');

CREATE FUNCTION t.caught(fails boolean, from_id int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN from_id .. from_id + 5 LOOP
			BEGIN
				INSERT INTO t.plain VALUES (i, 'caught');
				BEGIN
					UPDATE t.plain SET title = 'inner' WHERE id = i;
					IF i % 2 = 0 THEN
						RAISE division_by_zero;
					END IF;
				EXCEPTION WHEN division_by_zero THEN
					UPDATE t.plain SET price = i WHERE id = i;
				END;
				IF fails AND i % 3 = 0 THEN
					RAISE unique_violation;
				END IF;
			EXCEPTION WHEN unique_violation THEN
				DELETE FROM t.plain WHERE id = i - 1;
			END;
		END LOOP;
	END $$;
SELECT is(t.after($$ SELECT t.caught(false, 7000) $$), 'tracked', 'blocks that catch errors');
SELECT is(t.after($$ SELECT t.caught(true, 7100) $$), 'tracked', '... inside one another');
SELECT is(t.after($$ SELECT t.caught(true, 7100) $$), 'tracked', '... and a statement that fails in one');
SELECT throws_ok($$ INSERT INTO t.plain SELECT i, 'x' FROM generate_series(7999, 7990, -1) i UNION ALL SELECT 90, 'there' $$, '23505');
SELECT is(t.exact('plain'), 'tracked', 'a statement that failed half-way');

-- ---------------------------------------------------------------------------------------------
-- Where in a statement, or beside one, it is asked
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.seen (n int GENERATED ALWAYS AS IDENTITY, told text, measured text);
CREATE FUNCTION t.look(key text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		told text = coalesce(sync_state_delta(key)->>'local_hash', repeat('0', 32) || ':0');
	BEGIN
		INSERT INTO t.seen (told, measured) VALUES (told, t.measured(key));
		RETURN told;
	END $$;
CREATE FUNCTION t.look_stable(key text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
	BEGIN
		RETURN coalesce(sync_state_delta(key)->>'local_hash', repeat('0', 32) || ':0') = t.measured(key);
	END $$;
CREATE FUNCTION t.seen() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text = (SELECT count(*) || ' seen, ' || count(*) FILTER (WHERE told IS DISTINCT FROM measured) || ' wrong' FROM t.seen);
	BEGIN
		DELETE FROM t.seen;
		RETURN result;
	END $$;
CREATE FUNCTION t.look_from_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM t.look(TG_ARGV[0]);
		RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
	END $$;
CREATE TRIGGER look_before BEFORE INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION t.look_from_trigger('plain');
CREATE TRIGGER look_after AFTER INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION t.look_from_trigger('plain');
CREATE TRIGGER "~~look_last" AFTER INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION t.look_from_trigger('plain');
CREATE TRIGGER look_statement AFTER INSERT OR UPDATE OR DELETE ON t.plain FOR EACH STATEMENT EXECUTE FUNCTION t.look_from_trigger('plain');
INSERT INTO t.plain VALUES (8001, 'a'), (8002, 'b'), (8003, 'c');
SELECT is(t.seen(), '10 seen, 0 wrong', 'in triggers, before, after and last, of INSERT');
UPDATE t.plain SET title = 'd' WHERE id > 8001;
SELECT is(t.seen(), '7 seen, 0 wrong', '... of UPDATE');
DELETE FROM t.plain WHERE id > 8000;
SELECT is(t.seen(), '10 seen, 0 wrong', '... of DELETE');
DROP TRIGGER look_before ON t.plain; DROP TRIGGER look_after ON t.plain; DROP TRIGGER "~~look_last" ON t.plain; DROP TRIGGER look_statement ON t.plain;
WITH w AS (INSERT INTO t.plain VALUES (8001, 'a') RETURNING id) SELECT t.look('plain') FROM w \g /dev/null
WITH w AS (UPDATE t.plain SET title = 'b' WHERE id = 8001 RETURNING t.look('plain')) SELECT t.look('plain') FROM w \g /dev/null
UPDATE t.plain SET title = t.look('plain') WHERE id BETWEEN 90 AND 92;
SELECT is(t.seen(), '6 seen, 0 wrong', 'in a statement that writes, and beside one');
WITH w AS (INSERT INTO t.plain VALUES (8002, 'a') RETURNING id) SELECT is(t.look_stable('plain'), true, 'by the statement''s own snapshot') FROM w;
CREATE FUNCTION t.write(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t.plain VALUES (id, 'written'); RETURN id; END $$;
SELECT is((SELECT array_agg(t.look_stable('plain')) FROM (SELECT t.write(i) FROM generate_series(8010, 8012) i OFFSET 0) w), ARRAY[true, true, true], '... while functions write');
SELECT t.look('plain') FROM (SELECT t.write(i) FROM generate_series(8020, 8022) i OFFSET 0) w \g /dev/null
SELECT is(t.seen(), '3 seen, 0 wrong', '... by a new one for each call');

SELECT t.measured('plain') AS before \gset
DECLARE old CURSOR FOR SELECT coalesce(sync_state_delta('plain')->>'local_hash', repeat('0', 32) || ':0') AS told FROM generate_series(1, 3);
UPDATE t.plain SET title = 'after the cursor' WHERE id = 95;
FETCH 1 FROM old \gset first_
SELECT is(:'first_told'::text, :'before'::text, 'a cursor that was opened before a write: what was');
SAVEPOINT a;
DELETE FROM t.plain WHERE id = 95;
FETCH 1 FROM old \gset second_
SELECT is(:'second_told'::text, :'before'::text, '... in a savepoint too');
ROLLBACK TO a;
FETCH 1 FROM old \gset third_
SELECT is(:'third_told'::text, :'before'::text, '... and when that was rolled back');
CLOSE old;
SELECT is(t.exact('plain'), 'tracked', 'beside it, what is');
DECLARE open CURSOR FOR SELECT id FROM t.plain;
FETCH 1 FROM open \g /dev/null
SELECT is(t.exact('plain'), 'read', 'a query of ours at work on the table: its rows are read');
SELECT throws_ok($$ SELECT sync_source_verify('plain') $$, '55000', 'the source of "plain" is in use by another query of this session', '... and not verified');
CLOSE open;
SELECT is(t.exact('plain'), 'tracked', '... as long as it lasts');

-- ---------------------------------------------------------------------------------------------
-- UPDATE with no row trigger but ours: the old versions are not read again
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.updated (id int, title text, note text);
INSERT INTO t.updated SELECT i, 'title ' || i FROM generate_series(1, 60) i;
CREATE TABLE t.updated_too (LIKE t.updated);
INSERT INTO t.updated_too TABLE t.updated;
SELECT sync_source_attach('updated', 't.updated') \g /dev/null
SELECT sync_source_track('updated') \g /dev/null
-- Blocks of the tracked table that a statement asks for, beyond those that it asks for of another one of the same rows.
CREATE FUNCTION t.more_blocks(command text) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		before bigint[] = ARRAY[pg_stat_get_xact_blocks_fetched('t.updated'::regclass), pg_stat_get_xact_blocks_fetched('t.updated_too'::regclass)];
		tracked bigint;
	BEGIN
		EXECUTE replace(command, '{}', 't.updated');
		tracked := pg_stat_get_xact_blocks_fetched('t.updated'::regclass) - before[1];
		EXECUTE replace(command, '{}', 't.updated_too');
		RETURN tracked - (pg_stat_get_xact_blocks_fetched('t.updated_too'::regclass) - before[2]);
	END $$;
CREATE FUNCTION t.idle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION t.with_trigger(create_trigger text, command text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		more bigint;
	BEGIN
		EXECUTE create_trigger || ' EXECUTE FUNCTION t.idle()';
		more := t.more_blocks(command);
		DROP TRIGGER idle ON t.updated;
		RETURN more || ' more, ' || t.exact('updated');
	END $$;
SELECT is(t.more_blocks($$ UPDATE {} SET title = 'a' WHERE id <= 10 $$), 0::bigint, 'UPDATE asks for no block more than without tracking');
SELECT is(t.exact('updated'), 'tracked', '... and is right');
SELECT is(t.with_trigger('CREATE TRIGGER idle AFTER UPDATE ON t.updated FOR EACH ROW', $$ UPDATE {} SET title = 'b' WHERE id <= 10 $$),
	'30 more, tracked', '... with another trigger: one for each row, and two more when that fires');
SELECT is(t.with_trigger('CREATE TRIGGER idle BEFORE UPDATE ON t.updated FOR EACH ROW', $$ UPDATE {} SET title = 'c' WHERE id <= 10 $$) ~ ', tracked$', true, '... one before the row');
SELECT is(t.with_trigger('CREATE TRIGGER idle AFTER UPDATE ON t.updated REFERENCING NEW TABLE AS n FOR EACH STATEMENT', $$ UPDATE {} SET title = 'd' WHERE id <= 10 $$) ~ ', tracked$',
	true, '... one that is given all rows');
SELECT is(t.with_trigger('CREATE TRIGGER idle AFTER UPDATE ON t.updated FOR EACH STATEMENT', $$ UPDATE {} SET title = 'e' WHERE id <= 10 $$),
	'0 more, tracked', '... one for the statement does not matter');
SELECT is(t.with_trigger('CREATE TRIGGER idle AFTER INSERT OR DELETE ON t.updated FOR EACH ROW', $$ UPDATE {} SET title = 'f' WHERE id <= 10 $$),
	'0 more, tracked', '... nor one of other events');
SELECT is(t.more_blocks($$ UPDATE {} SET title = 'none' WHERE id < 0 $$), 0::bigint, 'no row');
SELECT is(t.exact('updated'), 'tracked', '... changes nothing');
SELECT is(t.more_blocks($$ UPDATE {} u SET title = u.title || o.id FROM {} o WHERE o.id / 10 = u.id / 10 $$), 0::bigint, 'rows that come several times, and are updated once');
SELECT is(t.exact('updated'), 'tracked', '... are counted once');
SELECT is(t.more_blocks($$ UPDATE {} u SET title = o.id FROM (VALUES (7), (7), (8), (7), (9), (9)) o(id) WHERE o.id = u.id $$), 0::bigint, '... as the last one, too');
SELECT is(t.exact('updated'), 'tracked', '... likewise');
SELECT is(t.more_blocks($$ UPDATE {} SET note = repeat('long ', 20000) || id WHERE id BETWEEN 20 AND 22 $$), 0::bigint, 'values that are stored elsewhere');
UPDATE t.updated SET title = 'g' WHERE id BETWEEN 21 AND 23;
SELECT is(t.exact('updated'), 'tracked', '... and stay there');
ALTER TABLE t.updated ADD COLUMN later int DEFAULT 5;
SELECT t.verify('updated') \g /dev/null
UPDATE t.updated SET title = 'h' WHERE id % 2 = 0;
SELECT is(t.exact('updated'), 'tracked', 'rows that are shorter than the table');

-- A statement that is begun by a row of another one, of the same table.
CREATE FUNCTION t.update_another(id int, by int) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE t.updated u SET title = 'inner' WHERE u.id = update_another.id + by;
		RETURN 'outer';
	END $$;
UPDATE t.updated SET title = t.update_another(id, 30) WHERE id <= 5;
SELECT is(t.exact('updated'), 'tracked', 'an UPDATE in each row of another one');
CREATE FUNCTION t.fail_inside(id int) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		UPDATE t.updated u SET title = (1 / (u.id - 45))::text WHERE u.id BETWEEN 40 AND 50;
		RETURN 'not reached';
	EXCEPTION WHEN division_by_zero THEN
		RETURN 'caught ' || id;
	END $$;
UPDATE t.updated SET title = t.fail_inside(id) WHERE id <= 5;
SELECT is(t.exact('updated'), 'tracked', '... that fails half way, and is caught');
SELECT throws_ok($$ UPDATE t.updated SET title = (1 / (id - 30))::text $$, '22012', NULL, 'an error half way');
SELECT is(t.exact('updated'), 'tracked', '... leaves nothing');
WITH a AS (UPDATE t.updated SET note = 'a' WHERE id <= 10 RETURNING id), b AS (UPDATE t.updated SET note = 'b' WHERE id BETWEEN 5 AND 15)
	UPDATE t.updated SET note = 'c' WHERE id BETWEEN 8 AND 20;
SELECT is(t.exact('updated'), 'tracked', 'three at once, of the same rows');
WITH a AS (UPDATE t.updated SET note = 'd' WHERE id <= 3) SELECT;
SELECT is(t.exact('updated'), 'tracked', 'one that belongs to a SELECT');
CREATE VIEW t.checked AS SELECT * FROM t.updated WHERE t.look('updated') IS NOT NULL WITH CHECK OPTION;
UPDATE t.checked SET title = 'i' WHERE id <= 3;
SELECT is(t.seen() ~ '^[1-9]\d* seen, 0 wrong$', true, 'a condition that looks, before a row was written and after it');
DECLARE current CURSOR FOR SELECT id FROM t.updated WHERE id <= 4 FOR UPDATE;
FETCH 2 FROM current \g /dev/null
UPDATE t.updated SET title = 'current' WHERE CURRENT OF current;
CLOSE current;
SELECT is(t.exact('updated'), 'tracked', 'WHERE CURRENT OF');
PREPARE updated_again(int) AS UPDATE t.updated SET title = $1::text WHERE id <= $1;
EXECUTE updated_again(1); EXECUTE updated_again(0); EXECUTE updated_again(9); EXECUTE updated_again(60);
SELECT is(t.exact('updated'), 'tracked', 'a prepared statement, of few rows and of many');
CREATE TABLE t.inherits () INHERITS (t.updated);
INSERT INTO t.inherits SELECT i, 'child' FROM generate_series(1, 5) i;
UPDATE t.updated SET title = 'both' WHERE id <= 5;
SELECT is(t.measured('updated') = coalesce(sync_state_delta('updated')->>'local_hash', ''), true, 'a table that others inherit from');
DROP TABLE t.inherits;
SELECT t.verify('updated') \g /dev/null
UPDATE t.updated SET title = 'alone again';
SELECT is(t.exact('updated'), 'tracked', '... and no more');

-- ---------------------------------------------------------------------------------------------
-- Foreign keys
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.parent (id int PRIMARY KEY);
CREATE TABLE t.child (id int PRIMARY KEY, parent int REFERENCES t.parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE t.orphan (id int PRIMARY KEY, child int REFERENCES t.child ON DELETE SET NULL ON UPDATE CASCADE, parent int DEFAULT 0 REFERENCES t.parent ON DELETE SET DEFAULT ON UPDATE CASCADE);
INSERT INTO t.parent SELECT generate_series(0, 10);
INSERT INTO t.child SELECT i, i FROM generate_series(1, 10) i;
INSERT INTO t.orphan SELECT i, i, i FROM generate_series(1, 10) i;
SELECT sync_source_attach('child', 't.child'), sync_source_attach('orphan', 't.orphan') \g /dev/null
SELECT sync_source_track('child'), sync_source_track('orphan') \g /dev/null
DELETE FROM t.parent WHERE id IN (1, 2);
SELECT is((SELECT count(*) FROM t.child), 8::bigint, 'rows are deleted by a foreign key');
SELECT is(t.exact('child'), 'tracked', 'ON DELETE CASCADE');
SELECT is(t.exact('orphan'), 'tracked', '... then SET NULL and SET DEFAULT');
UPDATE t.parent SET id = 100 WHERE id = 3;
UPDATE t.child SET id = 200 WHERE id = 4;
SELECT is(t.exact('child'), 'tracked', 'ON UPDATE CASCADE');
SELECT is(t.exact('orphan'), 'tracked', '... of another column');
-- The rows are gone then, but the triggers that tell of them fire later.
CREATE TRIGGER zzz_look AFTER DELETE OR UPDATE ON t.parent FOR EACH ROW EXECUTE FUNCTION t.look_from_trigger('child');
CREATE TRIGGER zzz_look_too AFTER DELETE OR UPDATE ON t.parent FOR EACH ROW EXECUTE FUNCTION t.look_from_trigger('orphan');
DELETE FROM t.parent WHERE id IN (5, 6);
UPDATE t.parent SET id = 101 WHERE id = 7;
SELECT is(t.seen(), '6 seen, 0 wrong', 'in triggers beside those that cascade');
CREATE FUNCTION t.verify_from_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM sync_source_verify('child');
		RETURN NULL;
	END $$;
CREATE TRIGGER zzz_verify AFTER DELETE ON t.parent FOR EACH ROW EXECUTE FUNCTION t.verify_from_trigger();
SELECT throws_ok($$ DELETE FROM t.parent WHERE id = 8 $$, '55000', 'the source of "child" is in use by another query of this session', 'verify refuses to count rows whose triggers have not fired');
SELECT is(t.exact('child'), 'tracked', '... and leaves all as it was');
DROP TRIGGER zzz_verify ON t.parent;
SELECT is(t.verify('child'), 'valid', 'in the end all is counted');
SELECT is(t.verify('orphan'), 'valid', '... everywhere');
CREATE TABLE t.later (id int PRIMARY KEY, child int REFERENCES t.child ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
SELECT sync_source_attach('later', 't.later') \g /dev/null
SELECT sync_source_track('later') \g /dev/null
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO t.later VALUES (1, 9);
SELECT is(t.exact('later'), 'read', 'a check that is deferred is a trigger that has not fired');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is(t.exact('later'), 'tracked', '... now it has');
DELETE FROM t.child WHERE id = 9;
SELECT is(t.exact('later'), 'tracked', 'deferrable or not, it cascades');

-- ---------------------------------------------------------------------------------------------
-- TRUNCATE
-- ---------------------------------------------------------------------------------------------
SAVEPOINT truncate;
TRUNCATE t.plain;
SELECT is(t.exact('plain'), 'tracked', 'TRUNCATE');
SELECT is(coalesce(sync_state_delta('plain')->>'local_hash', repeat('0', 32) || ':0'), repeat('0', 32) || ':0', '... leaves nothing');
INSERT INTO t.plain VALUES (1, 'new');
TRUNCATE t.plain;
SELECT is(t.exact('plain'), 'tracked', '... twice');
INSERT INTO t.plain VALUES (1, 'new'), (2, 'new');
TRUNCATE t.plain RESTART IDENTITY;
INSERT INTO t.plain VALUES (3, 'new');
SELECT is(t.exact('some'), 'tracked', '... and again, for both');
ROLLBACK TO truncate;
SELECT is(t.exact('plain'), 'tracked', '... and back');
SELECT is(t.exact('some'), 'tracked', '... both');
TRUNCATE t.parent, t.child CASCADE;
SELECT is(t.exact('child'), 'tracked', 'TRUNCATE of several');
SELECT is(t.exact('orphan'), 'tracked', '... CASCADE');
SELECT is(t.exact('later'), 'tracked', '... all');
ROLLBACK TO truncate;
SET LOCAL session_replication_role = replica;
TRUNCATE t.plain;
RESET session_replication_role;
SELECT is(t.exact('plain'), 'tracked', 'TRUNCATE as a replica');
ROLLBACK TO truncate;
CREATE TABLE t.fresh (id int);
INSERT INTO t.fresh SELECT generate_series(1, 10);
SELECT sync_source_attach('fresh', 't.fresh') \g /dev/null
SELECT sync_source_track('fresh') \g /dev/null
INSERT INTO t.fresh VALUES (11);
TRUNCATE t.fresh;
INSERT INTO t.fresh VALUES (12);
SELECT is(t.exact('fresh'), 'tracked', 'TRUNCATE in the transaction that made the table');
SAVEPOINT fresh;
TRUNCATE t.fresh;
INSERT INTO t.fresh VALUES (13), (14);
SELECT is(t.exact('fresh'), 'tracked', '... in a savepoint');
ROLLBACK TO fresh;
SELECT is(t.exact('fresh'), 'tracked', '... and back');
RELEASE truncate;

-- ---------------------------------------------------------------------------------------------
-- Partitions
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.parted (id int, region text, title text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE t.north PARTITION OF t.parted FOR VALUES IN ('north');
CREATE TABLE t.south (title text, junk int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (region, id));
ALTER TABLE t.south DROP COLUMN junk;
ALTER TABLE t.parted ATTACH PARTITION t.south FOR VALUES IN ('south');
CREATE TABLE t.rest PARTITION OF t.parted DEFAULT PARTITION BY RANGE (id);
CREATE TABLE t.rest_low PARTITION OF t.rest FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE t.rest_high PARTITION OF t.rest FOR VALUES FROM (100) TO (MAXVALUE);
INSERT INTO t.parted SELECT i, (ARRAY['north', 'south', 'east', 'west'])[i % 4 + 1], 'title ' || i FROM generate_series(1, 200) i;
SELECT sync_source_attach('parted', 't.parted'), sync_source_attach('leaf', 't.south') \g /dev/null
SELECT is(sync_source_track('parted'), true, 'a table with partitions, of partitions, and columns in another order');
SELECT is(sync_source_track('leaf'), true, '... and one of them for itself');
CREATE FUNCTION t.after_parted(command text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		first text;
		second text;
	BEGIN
		EXECUTE command;
		first := t.exact('parted');
		second := t.exact('leaf');
		RETURN CASE first WHEN second THEN first ELSE first || ', ' || second END;
	END $$;
SELECT is(t.after_parted($$ INSERT INTO t.parted VALUES (1001, 'north', 'a'), (1002, 'south', 'b'), (1003, 'else', 'c'), (-1, 'else', 'd') $$), 'tracked', 'INSERT');
SELECT is(t.after_parted($$ UPDATE t.parted SET title = 'e' WHERE id > 190 $$), 'tracked', 'UPDATE');
SELECT is(t.after_parted($$ UPDATE t.parted SET region = 'south', title = 'moved' WHERE region = 'north' AND id < 20 $$), 'tracked', 'rows that move to another partition');
SELECT is(t.after_parted($$ UPDATE t.parted SET region = 'east' WHERE region = 'south' AND id < 30 $$), 'tracked', '... and on');
SELECT is(t.after_parted($$ UPDATE t.rest SET id = id + 500 WHERE id BETWEEN 50 AND 90 $$), 'tracked', '... below a partition');
SELECT is(t.after_parted($$ INSERT INTO t.parted VALUES (1001, 'north', 'f'), (2001, 'south', 'g') ON CONFLICT (region, id) DO UPDATE SET title = EXCLUDED.title $$), 'tracked', 'ON CONFLICT');
SELECT is(t.after_parted($$ MERGE INTO t.parted p USING (VALUES (1001, 'north'), (1002, 'south')) v(id, region) ON v.id = p.id AND v.region = p.region
	WHEN MATCHED THEN UPDATE SET region = 'west' $$), 'tracked', 'MERGE that moves rows');
SELECT is(t.after_parted($$ DELETE FROM t.parted WHERE id % 7 = 0 $$), 'tracked', 'DELETE');
SELECT is(t.after_parted($$ INSERT INTO t.south (id, region, title) VALUES (3001, 'south', 'direct') $$), 'tracked', 'INSERT into a partition');
SELECT is(t.after_parted($$ UPDATE t.south SET title = 'direct' WHERE id % 3 = 0 $$), 'tracked', '... UPDATE');
SELECT is(t.after_parted($$ DELETE FROM t.rest_high WHERE id % 3 = 0 $$), 'tracked', '... DELETE');
COPY t.parted FROM stdin;
4001	north	copied
4002	south	copied
4003	nowhere	copied
\.
SELECT is(t.after_parted(''), 'tracked', 'COPY');
-- A foreign key to it makes a move an UPDATE for the key, and yet no other one for us.
CREATE TABLE t.refers (id int, region text, FOREIGN KEY (region, id) REFERENCES t.parted ON UPDATE CASCADE);
INSERT INTO t.refers VALUES (4001, 'north');
SELECT is(t.after_parted($$ UPDATE t.parted SET region = 'south' WHERE id = 4001 $$), 'tracked', 'a row that moves and is referred to');
DROP TABLE t.refers;
SELECT is(t.verify('parted'), 'valid', 'all of that was counted');
SELECT is(t.verify('leaf'), 'valid', '... in the partition too');
SAVEPOINT truncate;
SELECT is(t.after_parted($$ TRUNCATE t.south $$), 'tracked', 'TRUNCATE of one partition');
SELECT is(t.after_parted($$ TRUNCATE t.rest $$), 'tracked', '... of one that has some');
SELECT is(t.after_parted($$ INSERT INTO t.parted VALUES (1, 'south', 'x'), (1, 'x', 'x'); TRUNCATE t.parted $$), 'tracked', '... of all');
ROLLBACK TO truncate;
SELECT is(t.after_parted(''), 'tracked', '... and back');
RELEASE truncate;

CREATE TABLE t.up PARTITION OF t.parted FOR VALUES IN ('up');
SELECT is(t.after_parted($$ INSERT INTO t.parted VALUES (1, 'up', 'x'), (1, 'south', 'x') $$), 'read, tracked', 'a new partition: does not count');
SELECT is(t.verify('parted'), 'did not count', '... until verified');
SELECT is(t.after_parted($$ UPDATE t.parted SET title = 'y' WHERE region = 'up'; TRUNCATE t.up $$), 'tracked', '... with its TRUNCATE');
INSERT INTO t.parted VALUES (1, 'up', 'x');
ALTER TABLE t.parted DETACH PARTITION t.up;
SELECT is(t.after_parted($$ INSERT INTO t.up VALUES (2, 'up', 'x') $$), 'read, tracked', 'a partition that was detached');
SELECT is(t.verify('parted'), 'did not count', '... until verified');
SELECT is(t.after_parted($$ UPDATE t.up SET title = 'z'; TRUNCATE t.up $$), 'tracked', '... does not matter any more');
INSERT INTO t.up VALUES (1, 'up', 'attached');
ALTER TABLE t.parted ATTACH PARTITION t.up FOR VALUES IN ('up');
SELECT is(t.after_parted(''), 'read, tracked', 'attached again');
SELECT is(t.verify('parted'), 'did not count', '... until verified');
SELECT is(t.after_parted(''), 'tracked', '... again');
SAVEPOINT a;
ALTER TABLE t.parted DETACH PARTITION t.up;
UPDATE t.up SET title = 'while detached';
ALTER TABLE t.parted ATTACH PARTITION t.up FOR VALUES IN ('up');
SELECT is(t.after_parted(''), 'read, tracked', 'detached, written to and attached again looks as before, but does not count');
ROLLBACK TO a;
SELECT is(t.after_parted(''), 'tracked', '... nor if all of that is rolled back, which counts again');
DROP TABLE t.up;
SELECT is(t.after_parted(''), 'read, tracked', 'a partition that was dropped');
SELECT is(t.verify('parted'), 'did not count', '... until verified');
SELECT t.alter('ALTER TABLE t.south DISABLE TRIGGER ' || t.trigger('parted')) \g /dev/null
SELECT is(t.after_parted($$ UPDATE t.parted SET title = 'unnoticed' $$), 'read, tracked', 'a trigger that is off on one partition');
SELECT is(t.verify('parted'), 'did not count', '... is on again');
SELECT is(t.after_parted($$ UPDATE t.parted SET title = 'noticed' $$), 'tracked', '... after verify');
CREATE TABLE t.stray PARTITION OF t.parted FOR VALUES IN ('stray');
SELECT t.verify('parted') \g /dev/null
ALTER TABLE t.parted DETACH PARTITION t.stray;
SELECT is(sync_source_untrack('parted'), true, 'untrack');
SELECT is((SELECT count(*) FROM pg_trigger WHERE tgname LIKE '~syncstate%' AND tgrelid::regclass::text LIKE 't.stray'), 0::bigint, '... leaves no trigger on what was a partition');
SELECT is(t.after_parted(''), 'read, tracked', '... and those of the other source');
SELECT is(sync_source_track('parted'), true, 'and track again');
SELECT is(t.after_parted($$ UPDATE t.parted SET title = 'again' WHERE id < 50 $$), 'tracked', '... and all is as before');

-- ---------------------------------------------------------------------------------------------
-- What makes it not count: each is undone at the end, with a write in between that nobody noticed
-- ---------------------------------------------------------------------------------------------
CREATE FUNCTION t.invalidated(command text, key text DEFAULT 'plain') RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		IF t.exact(key) <> 'tracked' THEN
			RETURN 'not tracked to begin with';
		END IF;
		EXECUTE replace(replace(command, '~truncate', t.trigger(key, 'track_truncate')), '~row', t.trigger(key));
		result := t.exact(key) || ', ' || t.verify(key) || ', ' || t.exact(key);
		UPDATE t.plain SET title = title || '.' WHERE id BETWEEN 90 AND 99;
		RETURN result || ', ' || t.exact(key);
	END $$;
\set again '''read, did not count, tracked, tracked'''
SELECT is(t.invalidated($$ ALTER TABLE t.plain DISABLE TRIGGER ~row; UPDATE t.plain SET title = 'unnoticed 1' WHERE id = 90 $$), :again, 'DISABLE TRIGGER');
SELECT is(t.invalidated($$ ALTER TABLE t.plain DISABLE TRIGGER ~row; UPDATE t.plain SET title = 'unnoticed 2' WHERE id = 90;
	ALTER TABLE t.plain ENABLE ALWAYS TRIGGER ~row $$), :again, '... and ENABLE ALWAYS: as before, to look at');
SELECT is(t.invalidated($$ ALTER TABLE t.plain DISABLE TRIGGER ALL; UPDATE t.plain SET title = 'unnoticed 3' WHERE id = 90; ALTER TABLE t.plain ENABLE TRIGGER ALL $$), :again, 'DISABLE and ENABLE TRIGGER ALL');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ENABLE TRIGGER ~row $$), :again, 'ENABLE, but not ALWAYS');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ENABLE REPLICA TRIGGER ~row; UPDATE t.plain SET title = 'unnoticed 4' WHERE id = 90 $$), :again, 'ENABLE REPLICA');
SELECT is(t.invalidated($$ ALTER TABLE t.plain DISABLE TRIGGER ~truncate; TRUNCATE t.plain; INSERT INTO t.plain SELECT i, 'new' FROM generate_series(1, 100) i;
	ALTER TABLE t.plain ENABLE ALWAYS TRIGGER ~truncate $$), :again, 'the trigger of TRUNCATE disabled');
SELECT is(t.invalidated($$ ALTER TRIGGER ~row ON t.plain RENAME TO other; UPDATE t.plain SET title = 'unnoticed 5' WHERE id = 90; ALTER TRIGGER other ON t.plain RENAME TO ~row $$), :again, 'a trigger renamed, and back');
SELECT is(t.invalidated($$ DROP TRIGGER ~truncate ON t.plain $$), :again, 'the trigger of TRUNCATE dropped');
SELECT is(t.invalidated($$ DROP TRIGGER ~truncate ON t.plain; TRUNCATE t.plain; INSERT INTO t.plain SELECT i, 'new' FROM generate_series(1, 100) i;
	CREATE TRIGGER ~truncate BEFORE TRUNCATE ON t.plain EXECUTE FUNCTION syncstate.track_truncate('plain'); ALTER TABLE t.plain ENABLE ALWAYS TRIGGER ~truncate $$), :again, '... and made again');
SELECT is(t.invalidated($$ DROP TRIGGER ~row ON t.plain; UPDATE t.plain SET title = 'unnoticed 6' WHERE id = 90;
	CREATE TRIGGER ~row AFTER INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain'); ALTER TABLE t.plain ENABLE ALWAYS TRIGGER ~row $$), :again, 'that of rows dropped and made again');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ADD COLUMN extra int $$), :again, 'ADD COLUMN');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ADD COLUMN extra2 int DEFAULT 7 $$), :again, '... with a default');
SELECT is(t.invalidated($$ CLUSTER t.plain USING plain_pkey $$), :again, 'CLUSTER, which writes that default into the rows');
CLUSTER t.plain USING plain_pkey;
SELECT is(t.exact('plain'), 'tracked', '... and again, when it is there');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ADD COLUMN extra3 float8 DEFAULT random() $$), :again, 'ADD COLUMN that writes the table anew');
SELECT is(t.invalidated($$ ALTER TABLE t.plain DROP COLUMN extra $$), :again, 'DROP COLUMN');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ADD COLUMN passing int DEFAULT 1; UPDATE t.plain SET title = 'hashed with it' WHERE id BETWEEN 90 AND 95;
	INSERT INTO t.plain VALUES (9001, 'hashed with it'); ALTER TABLE t.plain DROP COLUMN passing $$), :again, 'ADD COLUMN, writes and DROP COLUMN');
SELECT is(t.invalidated($$ ALTER TABLE t.plain RENAME note TO remark $$), :again, 'RENAME COLUMN');
SELECT is(t.invalidated($$ ALTER TABLE t.plain RENAME remark TO note; ALTER TABLE t.plain RENAME note TO remark $$), :again, '... and back');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ALTER price TYPE text $$), :again, 'ALTER TYPE');
SELECT is(t.invalidated($$ ALTER TABLE t.plain ALTER remark TYPE text USING 'other ' || id $$), :again, '... USING other values of the same type');
SELECT is(t.invalidated($$ ALTER TYPE t.mood RENAME VALUE 'ok' TO 'fine' $$), :again, 'RENAME VALUE of an enum');
SELECT is(t.invalidated($$ ALTER TYPE t.mood RENAME VALUE 'fine' TO 'ok'; ALTER TYPE t.mood RENAME VALUE 'ok' TO 'fine' $$), :again, '... and back');
SELECT is(t.exact('some'), 'read', 'the triggers of the other source were off too');
SELECT is(t.verify('some'), 'did not count', '... until verified');
SELECT is(t.invalidated($$ CREATE TABLE t.heir () INHERITS (t.plain); INSERT INTO t.heir (id, title) VALUES (1, 'inherited'); DROP TABLE t.heir; ALTER TABLE t.plain DISABLE TRIGGER ~row $$), :again, 'a table that inherits, for a while');
SAVEPOINT a;
CREATE TABLE t.heir () INHERITS (t.plain);
INSERT INTO t.heir (id, title) VALUES (1, 'inherited');
SELECT is(t.exact('plain'), 'read', 'a table that inherits: rows are read');
SELECT throws_ok($$ SELECT sync_source_verify('plain') $$, '22023', 'the source of "plain" cannot be tracked', '... and verify refuses it');
ALTER TABLE t.heir NO INHERIT t.plain;
SELECT is(t.exact('plain'), 'tracked', 'when it does not any more, the table''s own rows were counted all the time');
ROLLBACK TO a;
CREATE TYPE t.pair AS (a int, b text);
CREATE TABLE t.composite (id int, pair t.pair, pairs t.pair[], moods t.mood[]);
INSERT INTO t.composite VALUES (1, (1, 'b'), ARRAY[(1, 'b')::t.pair], '{sad}');
SELECT sync_source_attach('composite', 't.composite') \g /dev/null
SELECT sync_source_track('composite') \g /dev/null
INSERT INTO t.composite VALUES (2, (2, 'b'), ARRAY[(1, 'b')::t.pair, (2, NULL)::t.pair], '{sad,fine}');
SELECT is(t.exact('composite'), 'tracked', 'composite types and arrays');
SELECT is(t.invalidated($$ ALTER TYPE t.mood RENAME VALUE 'sad' TO 'blue' $$, 'composite'), :again, 'a label of an array''s elements');
SELECT is(t.verify('plain'), 'did not count', '... and of another table');
SELECT is(t.invalidated($$ ALTER TYPE t.pair ADD ATTRIBUTE c int $$, 'composite'), :again, 'an attribute more');
SELECT is(t.invalidated($$ ALTER TYPE t.pair DROP ATTRIBUTE c; ALTER TYPE t.pair ADD ATTRIBUTE d int $$, 'composite'), :again, '... another one in its place');
UPDATE t.composite SET pair = (1, 'b', 3);
SELECT is(t.exact('composite'), 'tracked', '... which is written to');
SELECT is(t.invalidated($$ ALTER TYPE t.pair DROP ATTRIBUTE d; ALTER TYPE t.pair ADD ATTRIBUTE d int $$, 'composite'), :again, '... and of the same name');
SAVEPOINT a;
ALTER TABLE t.composite SET UNLOGGED;
SELECT is(t.exact('composite'), 'read', 'SET UNLOGGED');
SELECT throws_ok($$ SELECT sync_source_verify('composite') $$, '22023', 'the source of "composite" cannot be tracked', '... and verify refuses it');
ROLLBACK TO a;
-- Columns that nobody can hash stop the digest, but no writer.
SELECT is(t.exact('composite'), 'tracked', 'before a column that cannot be hashed');
ALTER TABLE t.composite ADD COLUMN class regclass;
SELECT lives_ok($$ INSERT INTO t.composite (id, class) VALUES (3, 't.plain') $$, '... comes: writers go on');
SELECT throws_ok($$ SELECT sync_state_delta('composite') $$, '55000', 'column "class" of the local source of "composite" cannot be hashed');
ALTER TABLE t.composite DROP COLUMN class;
SELECT is(t.exact('composite'), 'read', '... and what they did has not counted when it is gone');
SELECT is(t.verify('composite'), 'did not count', '... until verified');
SELECT t.alter((SELECT 'ALTER TABLE t.composite ' || string_agg('ADD c' || i || ' int', ', ') FROM generate_series(1, 100) i)) \g /dev/null
SELECT lives_ok($$ INSERT INTO t.composite (id, c100) VALUES (4, 1) $$, 'nor do more columns than a digest can have');
SELECT throws_ok($$ SELECT sync_state_delta('composite') $$, '55000');

-- What does not matter
CREATE FUNCTION t.kept(command text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE command;
		RETURN t.exact('plain') || ', ' || t.verify('plain');
	END $$;
SELECT is(t.verify('plain'), 'valid', 'still right');
SELECT is(t.kept($$ CREATE INDEX ON t.plain (title) $$), 'tracked, valid', 'CREATE INDEX');
SELECT is(t.kept($$ REINDEX TABLE t.plain $$), 'tracked, valid', 'REINDEX');
SELECT is(t.kept($$ CLUSTER t.plain USING plain_pkey $$), 'tracked, valid', 'CLUSTER');
SELECT is(t.kept($$ ANALYZE t.plain $$), 'tracked, valid', 'ANALYZE');
SELECT is(t.kept($$ ALTER TABLE t.plain RENAME TO simple $$), 'tracked, valid', 'another name of the table');
SELECT is(t.kept($$ ALTER TABLE t.simple SET SCHEMA public; ALTER TABLE public.simple RENAME TO plain; ALTER TABLE public.plain SET SCHEMA t $$), 'tracked, valid', '... another schema, and back');
SELECT is(t.kept($$ ALTER TABLE t.plain SET (fillfactor = 50) $$), 'tracked, valid', 'storage parameters');
SELECT is(t.kept($$ CREATE TABLE t.beside (id int REFERENCES t.plain) $$), 'tracked, valid', 'a foreign key');
SELECT is(t.kept($$ COMMENT ON TABLE t.plain IS 'tracked' $$), 'tracked, valid', 'a comment');
SELECT is(t.kept($$ CREATE TRIGGER aaa BEFORE UPDATE ON t.plain FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); UPDATE t.plain SET title = title; DROP TRIGGER aaa ON t.plain $$), 'tracked, valid', 'other triggers');
SELECT is(t.after($$ ALTER TABLE t.plain ADD COLUMN unrelated int $$), 'read, tracked', 'a column more matters only to who takes all');
SELECT t.verify('plain') \g /dev/null

-- ---------------------------------------------------------------------------------------------
-- Triggers that somebody else made
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.strange (LIKE t.plain INCLUDING GENERATED);
CREATE TRIGGER count AFTER INSERT OR UPDATE OR DELETE ON t.strange FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain');
CREATE TRIGGER count_truncate BEFORE TRUNCATE ON t.strange EXECUTE FUNCTION syncstate.track_truncate('plain');
SELECT t.alter(format('CREATE TRIGGER %s AFTER INSERT ON t.strange FOR EACH ROW EXECUTE FUNCTION syncstate.track(%L)', t.trigger('plain'), 'plain')) \g /dev/null
INSERT INTO t.strange (id, title) VALUES (1, 'strange'), (2, 'strange');
SELECT is(t.exact('plain'), 'tracked', 'a trigger on another table changes nothing');
TRUNCATE t.strange;
SELECT is(t.exact('plain'), 'tracked', '... nor at TRUNCATE');
DROP TABLE t.strange;
CREATE TRIGGER count AFTER INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain');
CREATE TRIGGER count_truncate BEFORE TRUNCATE ON t.plain EXECUTE FUNCTION syncstate.track_truncate('plain');
SELECT is(t.after($$ INSERT INTO t.plain VALUES (9101, 'twice'); UPDATE t.plain SET title = 'twice or once' WHERE id = 9101 $$), 'tracked', 'one more on the table itself does not count twice');
SAVEPOINT a;
TRUNCATE t.plain CASCADE;
SELECT is(t.exact('plain'), 'tracked', '... nor at TRUNCATE');
ROLLBACK TO a;
DROP TRIGGER count ON t.plain;
DROP TRIGGER count_truncate ON t.plain;
CREATE FUNCTION t.replaced(definition text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		EXECUTE format('DROP TRIGGER %s ON t.plain', t.trigger('plain'));
		EXECUTE replace(definition, '~row', t.trigger('plain'));
		EXECUTE format('ALTER TABLE t.plain ENABLE ALWAYS TRIGGER %s', t.trigger('plain'));
		UPDATE t.plain SET title = 'before' WHERE id = 91;
		INSERT INTO t.plain (id, title) VALUES ((SELECT max(id) + 1 FROM t.plain), 'inserted');
		result := t.exact('plain');
		BEGIN
			RETURN result || ', ' || t.verify('plain') || ', ' || t.exact('plain');
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			RETURN result || ', ' || SQLERRM;
		END;
	END $$;
\set refused '''read, the source of "plain" cannot be tracked as it is'''
SELECT is(t.replaced($$ CREATE TRIGGER ~row AFTER INSERT ON t.plain FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain') $$), :refused, 'ours, replaced by one for INSERT only, is never trusted');
SELECT is(t.replaced($$ CREATE TRIGGER ~row AFTER INSERT OR DELETE OR UPDATE OF price ON t.plain FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain') $$), :refused, '... for one column');
SELECT is(t.replaced($$ CREATE TRIGGER ~row AFTER INSERT OR DELETE OR UPDATE ON t.plain FOR EACH ROW WHEN (pg_trigger_depth() > 5) EXECUTE FUNCTION syncstate.track('plain') $$), :refused, '... for some rows');
SELECT is(t.replaced($$ CREATE TRIGGER ~row AFTER INSERT OR DELETE OR UPDATE ON t.plain FOR EACH ROW EXECUTE FUNCTION syncstate.track('some') $$), :refused, '... for another source');
SELECT is(t.replaced($$ CREATE CONSTRAINT TRIGGER ~row AFTER INSERT OR DELETE OR UPDATE ON t.plain DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain') $$), :refused, '... deferred');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is(t.replaced($$ CREATE TRIGGER ~row AFTER INSERT OR DELETE OR UPDATE ON t.plain FOR EACH ROW EXECUTE FUNCTION t.look_from_trigger('child') $$), :refused, '... by another function');
SELECT is(t.replaced($$ CREATE TRIGGER ~row AFTER INSERT OR UPDATE OR DELETE ON t.plain FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain') $$), 'read, did not count, tracked', '... by one like it: it is, once verified');

SELECT throws_ok($$ SELECT syncstate.track() $$, '39P01', 'function "syncstate.track" was not called by its trigger', 'outside of a trigger');
SELECT throws_ok($$ SELECT syncstate.track_truncate() $$, '39P01', 'function "syncstate.track_truncate" was not called by its trigger', '... both');
CREATE TABLE t.wrong (id int);
CREATE FUNCTION t.wrong(definition text, command text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE 'CREATE TRIGGER wrong ' || definition;
		BEGIN
			EXECUTE command;
			EXECUTE 'DROP TRIGGER wrong ON t.wrong';
			RETURN 'no error';
		EXCEPTION WHEN OTHERS THEN
			EXECUTE 'DROP TRIGGER wrong ON t.wrong';
			RETURN SQLSTATE || ' ' || SQLERRM;
		END;
	END $$;
\set insert '''INSERT INTO t.wrong VALUES (1)'''
SELECT is(t.wrong($$ BEFORE INSERT ON t.wrong FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain') $$, :insert), '39P01 function "syncstate.track" was not called by its trigger', 'a BEFORE trigger');
SELECT is(t.wrong($$ AFTER INSERT ON t.wrong EXECUTE FUNCTION syncstate.track('plain') $$, :insert), '39P01 function "syncstate.track" was not called by its trigger', '... for each statement');
SELECT is(t.wrong($$ AFTER INSERT ON t.wrong FOR EACH ROW EXECUTE FUNCTION syncstate.track() $$, :insert), '39P01 trigger "wrong" must name a type_key', '... without a key');
SELECT is(t.wrong($$ AFTER INSERT ON t.wrong FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain', 'some') $$, :insert), '39P01 trigger "wrong" must name a type_key', '... with two');
SELECT is(t.wrong($$ AFTER INSERT ON t.wrong FOR EACH ROW EXECUTE FUNCTION syncstate.track_truncate('plain') $$, :insert), '39P01 function "syncstate.track_truncate" was not called by its trigger', '... that of TRUNCATE');
SELECT is(t.wrong($$ AFTER TRUNCATE ON t.wrong EXECUTE FUNCTION syncstate.track_truncate('plain') $$, 'TRUNCATE t.wrong'), '39P01 function "syncstate.track_truncate" was not called by its trigger', '... after it');
SELECT is(t.wrong($$ BEFORE TRUNCATE ON t.wrong EXECUTE FUNCTION syncstate.track_truncate() $$, 'TRUNCATE t.wrong'), '39P01 trigger "wrong" must name a type_key', '... without a key');
SELECT is(t.wrong($$ AFTER INSERT ON t.wrong FOR EACH ROW EXECUTE FUNCTION syncstate.track('unknown') $$, :insert), 'no error', 'of a key that is not attached: nothing');

-- ---------------------------------------------------------------------------------------------
-- Rolled back, untracked, attached anew
-- ---------------------------------------------------------------------------------------------
SAVEPOINT a;
UPDATE t.plain SET title = 'pending' WHERE id < 95;
SAVEPOINT b;
SELECT is(sync_source_untrack('plain'), true, 'untrack, with changes that were not committed');
UPDATE t.plain SET title = 'untracked' WHERE id < 95;
SELECT is(t.exact('plain'), 'read', '... and more');
ROLLBACK TO b;
SELECT is(t.exact('plain'), 'tracked', '... rolled back: those changes still count');
SELECT is(t.verify('plain'), 'valid', '... as they did');
SELECT sync_source_untrack('plain') \g /dev/null
UPDATE t.plain SET title = 'untracked' WHERE id < 95;
SELECT is(sync_source_track('plain'), true, 'untracked and tracked again');
SELECT is(t.exact('plain'), 'tracked', '... counts from anew');
ROLLBACK TO b;
SELECT is(t.exact('plain'), 'tracked', '... rolled back');
SELECT sync_source_verify('plain') \g /dev/null
ALTER TABLE t.plain ADD COLUMN passing2 int;
SELECT sync_source_verify('plain') \g /dev/null
SELECT is(t.exact('plain'), 'tracked', 'verified after a change');
ROLLBACK TO a;
SELECT is(t.exact('plain'), 'tracked', '... and both rolled back');

SELECT throws_ok($$ SELECT sync_source_attach('plain', 't.child') $$, '55000', 'the source of "plain" is tracked', 'a source that is tracked is not attached anew');
CREATE TABLE t.brief (id int);
INSERT INTO t.brief VALUES (1);
SELECT sync_source_attach('brief', 't.brief') \g /dev/null
SELECT throws_ok($$ SELECT sync_source_verify('brief') $$, '55000', 'the source of "brief" is not tracked', 'verify of what is not tracked');
SELECT throws_ok($$ SELECT sync_source_verify('nothing') $$, '55000', '"nothing" has no source', '... or not attached');
SELECT throws_ok($$ SELECT sync_source_track('nothing') $$, '55000', '"nothing" has no source', 'track of that');
SELECT throws_ok($$ SELECT sync_source_untrack('nothing') $$, '55000', '"nothing" has no source', 'untrack of that');
SELECT is(sync_source_untrack('brief'), false, 'untrack of what is not tracked');
SELECT t.triggers() AS triggers \gset
SELECT sync_source_track('brief') \g /dev/null
INSERT INTO t.brief VALUES (2);
SELECT is(t.triggers(), :triggers + 2::bigint, 'two triggers');
SELECT is((SELECT array_agg(tgenabled ORDER BY tgname)::text FROM pg_trigger WHERE tgrelid = 't.brief'::regclass), '{A,A}', '... that fire always');
SELECT is(sync_source_untrack('brief'), true, 'untrack');
SELECT is(t.triggers(), :triggers::bigint, '... leaves no trigger');
SELECT is((SELECT count(*) FROM syncstate.sync_tracking WHERE type_key = 'brief') + t.deltas('brief'), 0::bigint, '... and no row');
SELECT sync_source_track('brief') \g /dev/null
SELECT is(sync_source_detach('brief'), true, 'detach of what is tracked');
SELECT is(t.triggers(), :triggers::bigint, '... takes the triggers');
SELECT is((SELECT count(*) FROM syncstate.sync_tracking WHERE type_key = 'brief'), 0::bigint, '... and what was noted');
SELECT sync_source_attach('brief', 't.brief') \g /dev/null
SELECT sync_source_track('brief') \g /dev/null
SELECT is(t.exact('brief'), 'tracked', 'attached and tracked again');
SELECT t.alter('DROP TRIGGER ' || t.trigger('brief') || ' ON t.brief') \g /dev/null
SELECT is(t.exact('brief'), 'read', 'one trigger dropped by hand');
SELECT is(sync_source_untrack('brief'), true, '... untrack takes the other one');
SELECT is(t.triggers(), :triggers::bigint, '... too');
SELECT sync_source_track('brief') \g /dev/null
DROP TABLE t.brief;
SELECT throws_ok($$ SELECT sync_state_delta('brief') $$, '55000');
SELECT is(sync_source_detach('brief'), true, 'a table that was dropped can be detached');

-- ---------------------------------------------------------------------------------------------
-- What cannot be tracked
-- ---------------------------------------------------------------------------------------------
CREATE VIEW t.view AS SELECT id, title FROM t.plain;
CREATE MATERIALIZED VIEW t.matview AS SELECT 1 AS id;
CREATE FOREIGN DATA WRAPPER none;
CREATE SERVER none FOREIGN DATA WRAPPER none;
CREATE FOREIGN TABLE t.far (id int) SERVER none;
CREATE TABLE t.far_parted (id int) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE t.far_part PARTITION OF t.far_parted FOR VALUES FROM (0) TO (10) SERVER none;
CREATE UNLOGGED TABLE t.unlogged (id int);
CREATE TABLE t.ancestor (id int);
CREATE TABLE t.descendant () INHERITS (t.ancestor);
CREATE TEMP TABLE temporary (id int);
CREATE FUNCTION t.track_refused(relation regclass) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		why text;
	BEGIN
		PERFORM sync_source_attach('refused', relation);
		PERFORM sync_source_track('refused');
		RETURN 'tracked';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
		RETURN SQLSTATE || ' ' || why;
	END $$;
-- Attaching a foreign table asks for a plan, which this wrapper cannot make: without it, then.
INSERT INTO syncstate.sync_source (type_key, local, source_id, attached_at) VALUES ('far', 't.far', gen_random_uuid(), now());
SELECT throws_ok($$ SELECT sync_source_track('far') $$, '22023', 'the source of "far" cannot be tracked', 'a foreign table');
INSERT INTO syncstate.sync_source (type_key, local, source_id, attached_at) VALUES ('far_parted', 't.far_parted', gen_random_uuid(), now());
SELECT throws_ok($$ SELECT sync_source_track('far_parted') $$, '22023', 'the source of "far_parted" cannot be tracked', 'a foreign partition');
SELECT sync_source_attach('noted', 'syncstate.sync_tracking_delta');
SELECT throws_ok($$ SELECT sync_source_track('noted') $$, '22023', 'the source of "noted" cannot be tracked', 'the table that triggers write to, past all triggers');
SELECT is(t.track_refused('t.view'), '22023 Only a table has triggers for each row that is written.', 'a view');
SELECT is(t.track_refused('t.matview'), '22023 Only a table has triggers for each row that is written.', 'a materialized view');
SELECT is(t.track_refused('t.unlogged'), '22023 An unlogged table is emptied after a crash, past all triggers.', 'an unlogged table');
SELECT is(t.track_refused('t.ancestor'), '22023 Other tables inherit from the table, but not its triggers.', 'a table that others inherit from');
SELECT is(t.track_refused('temporary'), '22023 A temporary table is there for one session only.', 'a temporary table');
CREATE TYPE t.with_class AS (id int, class regclass);
CREATE TABLE t.unhashable (id int, classes t.with_class[]);
SELECT is(left(t.track_refused('t.unhashable'), 5), '22023', 'a column that cannot be hashed, deep inside');
SELECT is(t.track_refused('t.descendant'), 'tracked', 'a table that inherits from another one can be');

-- ---------------------------------------------------------------------------------------------
-- Privileges
-- ---------------------------------------------------------------------------------------------
CREATE ROLE track_writer;
CREATE ROLE track_reader;
CREATE ROLE track_stranger;
REVOKE ALL ON SCHEMA syncstate FROM PUBLIC;
GRANT USAGE ON SCHEMA t TO track_writer, track_reader, track_stranger;
GRANT INSERT, UPDATE, DELETE, TRUNCATE, SELECT ON t.child, t.later, t.orphan TO track_writer;
GRANT USAGE ON SCHEMA syncstate TO track_reader, track_stranger;
GRANT SELECT ON ALL TABLES IN SCHEMA syncstate TO track_reader, track_stranger;
GRANT SELECT ON t.child TO track_reader;
SELECT ok(NOT has_schema_privilege('track_writer', 'syncstate', 'USAGE') AND NOT has_table_privilege('track_writer', 'syncstate.sync_tracking_delta', 'INSERT'), 'a writer without any privilege');
SET LOCAL ROLE track_writer;
INSERT INTO t.child VALUES (300, NULL), (301, NULL);
UPDATE t.child SET id = 302 WHERE id = 301;
DELETE FROM t.child WHERE id = 300;
RESET ROLE;
SELECT is(t.exact('child'), 'tracked', '... writes, and it counts');
SET LOCAL ROLE track_writer;
SAVEPOINT a;
TRUNCATE t.child, t.later, t.orphan;
RESET ROLE;
SELECT is(t.exact('child'), 'tracked', '... and truncates');
ROLLBACK TO a;
RESET ROLE;
SELECT t.scans('t.child') AS scans \gset
SELECT coalesce(sync_state_delta('child')->>'local_hash', repeat('0', 32) || ':0') AS told \gset
SET LOCAL ROLE track_reader;
SELECT is(coalesce(sync_state_delta('child')->>'local_hash', repeat('0', 32) || ':0'), :'told'::text, 'who may read the table is told');
SELECT is(t.scans('t.child'), :scans::bigint, '... without reading it');
RESET ROLE;
REVOKE USAGE ON SCHEMA t FROM track_reader;
SET LOCAL ROLE track_reader;
SELECT throws_ok($$ SELECT sync_state_delta('child') $$, '42501', 'permission denied for schema t', 'who may not use its schema is refused');
SELECT throws_ok($$ SELECT sync_source_verify('child') $$, '42501', 'permission denied for schema t', '... nor verify');
RESET ROLE;
GRANT USAGE ON SCHEMA t TO track_reader;
SET LOCAL ROLE track_reader;
SELECT throws_ok($$ SELECT sync_state_delta('orphan') $$, '42501', 'permission denied for table orphan', 'who may not is refused');
SELECT throws_ok($$ SELECT sync_source_verify('orphan') $$, '42501', 'permission denied for table orphan', '... verify too');
SELECT throws_ok($$ SELECT sync_source_verify('child') $$, '42501', 'permission denied for table sync_tracking', '... who may not write down what was verified');
SELECT throws_ok($$ SELECT sync_source_track('descendant') $$, '55000');
SELECT throws_ok($$ SELECT sync_source_untrack('child') $$, '42501', 'must be owner of table child', 'untrack is for the owner');
RESET ROLE;
GRANT SELECT (id) ON t.orphan TO track_reader;
SET LOCAL ROLE track_reader;
SELECT throws_ok($$ SELECT sync_state_delta('orphan') $$, '42501', 'permission denied for table orphan', 'one column is not enough');
RESET ROLE;
GRANT SELECT (child, parent) ON t.orphan TO track_reader;
SELECT coalesce(sync_state_delta('orphan')->>'local_hash', repeat('0', 32) || ':0') AS told \gset
SET LOCAL ROLE track_reader;
SELECT is(coalesce(sync_state_delta('orphan')->>'local_hash', repeat('0', 32) || ':0'), :'told'::text, 'all of them are');
RESET ROLE;
ALTER TABLE t.child ENABLE ROW LEVEL SECURITY;
CREATE POLICY part ON t.child TO track_reader USING (id > 300);
SELECT sync_digest(id, parent) AS part FROM t.child WHERE id > 300 \gset
SELECT is(t.exact('child'), 'tracked', 'row security, and one who is above it');
SET LOCAL ROLE track_reader;
SELECT is(coalesce(sync_state_delta('child')->>'local_hash', repeat('0', 32) || ':0'), :'part'::text, '... one who is not: what that role sees');
RESET ROLE;
GRANT INSERT, UPDATE ON syncstate.sync_tracking TO track_reader;
SET LOCAL ROLE track_reader;
SELECT throws_ok($$ SELECT sync_source_verify('child') $$, '22023', 'the source of "child" cannot be tracked', '... and cannot verify');
RESET ROLE;
ALTER TABLE t.child DISABLE ROW LEVEL SECURITY;
SET LOCAL ROLE track_reader;
SELECT is(sync_source_verify('child')->>'valid', 'true', 'who may read all and write that down can');
RESET ROLE;
SELECT is(t.exact('child'), 'tracked', '... and it counts');

-- ---------------------------------------------------------------------------------------------
-- Folding
-- ---------------------------------------------------------------------------------------------
SELECT is((SELECT removed FROM sync_state_prune('1 day') WHERE kind = 'tracking_delta'), NULL, 'nothing is there to fold before COMMIT');
-- What other transactions would have left.
INSERT INTO syncstate.sync_tracking_delta SELECT s.source_id, d.n, d.high, d.low
  FROM syncstate.sync_source s, (VALUES (5, 9223372036854775807, 9223372036854775807), (-5, '-9223372036854775808', -9223372036854775807), (0, 0, 0)) d(n, high, low)
 WHERE s.type_key IN ('plain', 'child');
INSERT INTO syncstate.sync_tracking_delta VALUES (gen_random_uuid(), 1, 1, 1), (gen_random_uuid(), 2, 2, 2);
SELECT is(t.exact('plain'), 'tracked', 'deltas whose sum is nothing');
SELECT is((SELECT removed FROM sync_state_prune('1 day') WHERE kind = 'tracking_delta'), 6::bigint, 'folded into one for each, and those of sources that are gone');
SELECT is((SELECT count(*) FROM syncstate.sync_tracking_delta), 2::bigint, '... two are left');
SELECT is(t.exact('plain'), 'tracked', '... with the same sum');
SELECT is(t.exact('child'), 'tracked', '... each');
SELECT is((SELECT removed FROM sync_state_prune('1 day') WHERE kind = 'tracking_delta'), 0::bigint, 'there is nothing more to fold');
-- Who prunes may not see all sources.
CREATE ROLE track_pruner;
GRANT USAGE ON SCHEMA syncstate TO track_pruner;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syncstate TO track_pruner;
ALTER TABLE syncstate.sync_source ENABLE ROW LEVEL SECURITY;
INSERT INTO syncstate.sync_tracking_delta SELECT source_id, 1, 2, 3 FROM syncstate.sync_source WHERE type_key = 'plain';
INSERT INTO syncstate.sync_tracking_delta SELECT source_id, -1, -3, -3 FROM syncstate.sync_source WHERE type_key = 'plain';
SET LOCAL ROLE track_pruner;
SELECT is((SELECT count(*) FROM syncstate.sync_source), 0::bigint, 'a role that sees no source');
SELECT is((SELECT removed FROM sync_state_prune('1 day') WHERE kind = 'tracking_delta'), 2::bigint, '... folds');
RESET ROLE;
SELECT is((SELECT sum(row_count) || ' ' || sum(sum_high) || ' ' || count(*) FROM syncstate.sync_tracking_delta d JOIN syncstate.sync_source s USING (source_id) WHERE type_key = 'plain'), '0 0 1', '... and drops none of them');
ALTER TABLE syncstate.sync_source DISABLE ROW LEVEL SECURITY;
-- A backend keeps what a trigger has to do, but not for ever.
CREATE TABLE t.renewed (id int PRIMARY KEY);
SELECT sync_source_attach('renewed', 't.renewed');
DO $$
	BEGIN
		FOR i IN 1 .. 30 LOOP
			PERFORM sync_source_track('renewed');
			INSERT INTO t.renewed VALUES (i);
			PERFORM sync_source_untrack('renewed');
		END LOOP;
	END $$;
SELECT cmp_ok((SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'syncstate tracker'), '<', 25::bigint, 'nothing is kept of triggers that are gone');
-- Nor does untrack leave what earlier transactions noted.
SELECT sync_source_track('renewed');
INSERT INTO syncstate.sync_tracking_delta SELECT source_id, 1, 2, 3 FROM syncstate.sync_source WHERE type_key = 'renewed';
SELECT sync_source_untrack('renewed');
SELECT is_empty($$ SELECT * FROM syncstate.sync_tracking_delta d JOIN syncstate.sync_source s USING (source_id) WHERE type_key = 'renewed' $$, 'untrack takes what was noted along');
-- Nor the room that a single large row took.
CREATE TABLE t.large (id int PRIMARY KEY, v text);
SELECT sync_source_attach('large', 't.large');
SELECT sync_source_track('large');
INSERT INTO t.large VALUES (1, repeat('x', 16 * 1024 * 1024));
SELECT cmp_ok((SELECT max(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'syncstate tracker'), '<', 4 * 1024 * 1024::bigint, '... nor of how large a row was');
-- What is taken out and not let in again would be lost.
CREATE FUNCTION t.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON syncstate.sync_tracking_delta FOR EACH ROW EXECUTE FUNCTION t.swallow();
SELECT throws_ok($$ SELECT sync_state_prune('1 day') $$, '55000', 'a row of syncstate.sync_tracking_delta could not be written', 'a trigger that swallows deltas is told of');
DROP TRIGGER swallow ON syncstate.sync_tracking_delta;

SELECT * FROM finish();
ROLLBACK;
