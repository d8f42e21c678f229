-- Attached sources: what can be attached, and that delta and observe then measure the rows as they are
-- now, with the caller's rights and by the caller's snapshot.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT no_plan();

CREATE SCHEMA t;
-- What an error says: SQLSTATE, message, and where.
CREATE FUNCTION t.error(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; context text;
BEGIN
	EXECUTE query;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws(' | ', state, message, substring(context FROM '(?n)reading the .*$'));
END $$;
CREATE FUNCTION t.next(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT (d->>'action') || ' ' || (d->>'detail') FROM sync_state_delta($1) AS d $$;
CREATE FUNCTION t.local(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT sync_state_delta($1)->>'local_hash' $$;
CREATE FUNCTION t.remote(type_key text) RETURNS text LANGUAGE sql AS $$ SELECT sync_state_delta($1)->>'remote_hash' $$;

CREATE TABLE t.here (id int PRIMARY KEY, title text, body text NOT NULL DEFAULT 'b', up text GENERATED ALWAYS AS (upper(title)) STORED);
-- The same columns in another order, with one that was dropped; ids are wider.
CREATE TABLE t.there (gone int, body text NOT NULL DEFAULT 'b', title varchar(40), id bigint PRIMARY KEY);
ALTER TABLE t.there DROP COLUMN gone;
INSERT INTO t.here SELECT i, 'title ' || i FROM generate_series(1, 20) i;
INSERT INTO t.there (id, title) SELECT i, 'title ' || i FROM generate_series(20, 1, -1) i;

-- ---------------------------------------------------------------------------------------------
-- Attach: what it stores
-- ---------------------------------------------------------------------------------------------
CREATE TEMPORARY TABLE attached AS SELECT * FROM sync_source_attach('article', 't.here', 't.there');
SELECT results_eq('SELECT * FROM attached', $$ SELECT * FROM syncstate.sync_source WHERE type_key = 'article' $$, 'attach returns the row as stored');
SELECT results_eq('SELECT local::text, remote::text, columns, key_columns, row_base FROM attached',
	$$ VALUES ('t.here'::text, 't.there'::text, NULL::text[], NULL::text[], false) $$, 'defaults are kept as such');
SELECT ok(attached_at BETWEEN now() AND clock_timestamp() AND source_id IS NOT NULL, '... with a time and an id of its own') FROM attached;

SELECT is(sync_state_delta('article')->>'local_hash', (SELECT sync_digest(body, id, title) FROM t.here),
	'by default the digest is of all columns but generated ones, in the order of their names');
SELECT is(t.remote('article'), t.local('article'), 'the order of columns, and the width of numbers, do not matter');
SELECT is(t.next('article'), 'INITIAL_SYNC adopt', 'delta measures both sides');
SELECT is((SELECT count(*) FROM syncstate.sync_state), 0::bigint, '... and writes nothing');

SELECT results_eq($$ SELECT columns, key_columns, row_base FROM sync_source_attach('article', 't.here', 't.there', ARRAY['title', 'id'], ARRAY['id'], true) $$,
	$$ VALUES (ARRAY['title', 'id'], ARRAY['id'], true) $$, 'attaching again replaces what was attached');
SELECT is((SELECT count(*) FROM syncstate.sync_source), 1::bigint, '... it is still one');
SELECT isnt((SELECT source_id FROM syncstate.sync_source), (SELECT source_id FROM attached), '... of another id');
SELECT is(t.local('article'), (SELECT sync_digest(id, title) FROM t.here), 'columns that are given count, in the order of their names');
CREATE TEMPORARY TABLE order_given AS SELECT t.local('article') AS digest;
SELECT sync_source_attach('article', 't.here', 't.there', ARRAY['id', 'title'], ARRAY['title']) \g /dev/null
SELECT is(t.local('article'), (SELECT digest FROM order_given),
	'... whatever the order in which they are given, and whichever are the key');
SELECT sync_source_attach('article', 't.here', columns => ARRAY['up', 'title']) \g /dev/null
SELECT is(t.local('article'), (SELECT sync_digest(title, up) FROM t.here), 'generated ones too, if given');
SELECT is(remote, NULL, 'what is not given again is gone') FROM syncstate.sync_source;
SELECT is((sync_source_attach(repeat('k', 512), 't.here')).row_base, false, 'a key of 512 bytes');
SELECT ok(sync_source_detach(repeat('k', 512)), '... detached');

-- ---------------------------------------------------------------------------------------------
-- Attach: what it refuses
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.odd (id int PRIMARY KEY, place regclass, label text, shape json);
CREATE SEQUENCE t.seq;
CREATE TYPE t.pair AS (a int, b int);
CREATE TEMPORARY TABLE passing (id int PRIMARY KEY);
CREATE TABLE t.empty ();
SELECT 'CREATE TABLE t.wide (' || string_agg(format('c%s int', i), ', ') || ')' FROM generate_series(1, 97) i \gexec
SELECT 'CREATE TABLE t.keyed (' || string_agg(format('c%s int', i), ', ') || ', PRIMARY KEY (c1, c2, c3, c4, c5))' FROM generate_series(1, 96) i \gexec

CREATE TABLE t.refused (call text, error text);
INSERT INTO t.refused VALUES
	($$(NULL, 't.here')$$, '22004 | type_key must not be null'),
	($$('k', NULL)$$, '22004 | local must not be null'),
	($$('k', 't.here', row_base => NULL)$$, '22004 | row_base must not be null'),
	($$('', 't.here')$$, '22023 | type_key must be 1 to 512 bytes long'),
	($$(repeat('k', 513), 't.here')$$, '22023 | type_key must be 1 to 512 bytes long'),
	($$('k', 't.nosuch')$$, '42P01 | relation "t.nosuch" does not exist'),
	($$('k', 0::regclass)$$, '22023 | local is not a relation'),
	($$('k', 4294967295::oid::regclass)$$, '22023 | local is not a relation'),
	($$('k', 't.here', 0::regclass)$$, '22023 | remote is not a relation'),
	($$('k', 't.here_pkey')$$, '22023 | local cannot be "here_pkey"'),
	($$('k', 't.seq')$$, '22023 | local cannot be "seq"'),
	($$('k', 't.pair')$$, '22023 | local cannot be "pair"'),
	($$('k', 'passing')$$, '22023 | local cannot be "passing"'),
	($$('k', 't.here', 't.seq')$$, '22023 | remote cannot be "seq"'),
	($$('k', 't.here', 'passing')$$, '22023 | remote cannot be "passing"'),
	($$('k', 't.here', columns => '{id,nosuch}')$$, '22023 | local has no column "nosuch"'),
	($$('k', 't.here', columns => '{ID}')$$, '22023 | local has no column "ID"'),
	($$('k', 't.here', columns => '{id,ctid}')$$, '22023 | local has no column "ctid"'),
	($$('k', 't.here', columns => '{}')$$, '22023 | columns must be a list of names, without null'),
	($$('k', 't.here', columns => '{id,null}')$$, '22023 | columns must be a list of names, without null'),
	($$('k', 't.here', columns => '{{id,title}}')$$, '22023 | columns must be a list of names, without null'),
	($$('k', 't.here', columns => '{id,title,id}')$$, '22023 | columns contains "id" more than once'),
	($$('k', 't.here', key_columns => '{nosuch}')$$, '22023 | local has no column "nosuch"'),
	($$('k', 't.here', key_columns => '{}')$$, '22023 | key_columns must be a list of names, without null'),
	($$('k', 't.here', key_columns => '{null}')$$, '22023 | key_columns must be a list of names, without null'),
	($$('k', 't.here', key_columns => '{id,id}')$$, '22023 | key_columns contains "id" more than once'),
	($$('k', 't.here', 't.odd')$$, '22023 | remote has no column "title"'),
	($$('k', 't.here', 't.odd', columns => '{id}', key_columns => '{title}')$$, '22023 | remote has no column "title"'),
	($$('k', 't.odd')$$, '22023 | values of type regclass cannot be hashed'),
	($$('k', 't.here', 't.odd', columns => '{id,place}')$$, '22023 | local has no column "place"'),
	($$('k', 't.odd', columns => '{id,label}', key_columns => '{shape}')$$, '22023 | column "shape" cannot be part of a key'),
	($$('k', 't.empty')$$, '22023 | local has 0 columns'),
	($$('k', 't.wide')$$, '22023 | local has 97 columns'),
	($$('k', 't.here', row_base => true)$$, '22023 | row_base needs a remote side'),
	($$('k', 't.wide', 't.wide', columns => '{c1}', row_base => true)$$, '55000 | the source of "k" has no key');
INSERT INTO t.refused SELECT format('(%L, %L, columns => %L)', 'k', 't.wide', array_agg('c' || i)), '22023 | columns has 97 elements' FROM generate_series(1, 97) i;
INSERT INTO t.refused SELECT format('(%L, %L, columns => %L, key_columns => %L)', 'k', 't.wide', '{c1}', array_agg('c' || i)), '22023 | key_columns has 33 elements' FROM generate_series(1, 33) i;
INSERT INTO t.refused SELECT format('(%L, %L, columns => %L, key_columns => %L)', 'k', 't.wide', array_agg('c' || i), '{c97}'), '22023 | columns and key_columns are 97 columns together' FROM generate_series(1, 96) i;
SELECT is(t.error('SELECT sync_source_attach' || call), error, left('refused: ' || call, 100)) FROM t.refused;
SELECT is((SELECT count(*) FROM syncstate.sync_source WHERE type_key = 'k'), 0::bigint, 'what is refused leaves nothing');

SELECT is((sync_source_attach('keyed', 't.keyed', 't.keyed')).row_base, false, '96 columns, of which five are the key');
INSERT INTO t.keyed (c1, c2, c3, c4, c5, c96) VALUES (1, 2, 3, 4, 5, 6);
SELECT is(t.local('keyed'), t.remote('keyed'), '... are measured');
SELECT is_empty($$ SELECT sync_source_diff('keyed') $$, '... and compared row by row');

-- ---------------------------------------------------------------------------------------------
-- Measuring: delta and observe
-- ---------------------------------------------------------------------------------------------
SELECT sync_source_attach('article', 't.here', 't.there') \g /dev/null
SELECT is(d->>'action' || ' ' || (d->>'detail'), 'NO_CHANGE unchanged', 'observe measures both sides, and adopts them') FROM sync_state_observe('article') d;
SELECT results_eq($$ SELECT local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, sync_status, conflict_status FROM syncstate.sync_state $$,
	$$ SELECT d, d, d, d, 'in_sync', 'none' FROM (SELECT sync_digest(body, id, title) FROM t.here) x(d) $$, '... and records what it saw');
INSERT INTO t.here VALUES (21, 'new');
SELECT is(t.next('article'), 'PUSH edit', 'a row that was just written is measured: uncommitted, our own');
SELECT is((SELECT sync_status FROM sync_state_get('article')), 'in_sync', '... by delta, which records nothing');
SELECT is(sync_state_observe('article')->>'action', 'PUSH', '... by observe');
SELECT is((SELECT sync_status FROM sync_state_get('article')), 'modified', '... which does');
UPDATE t.there SET title = 'other' WHERE id = 3;
SELECT is(t.next('article'), 'CONFLICT edit/edit', 'both sides have changed');
SELECT is(sync_state_observe('article')->>'action', 'CONFLICT', '... observed');
SELECT results_eq($$ SELECT sync_status, conflict_status FROM sync_state_get('article') $$, $$ VALUES ('conflict', 'detected') $$, '... recorded');
SAVEPOINT undo;
DELETE FROM t.here WHERE id = 21;
SELECT is(t.next('article'), 'PULL edit', 'deleted again, it has not changed');
ROLLBACK TO undo;
SELECT is(t.next('article'), 'CONFLICT edit/edit', 'what a rollback undoes is undone');
UPDATE t.there SET title = 'title 3' WHERE id = 3;
INSERT INTO t.there (id, title) VALUES (21, 'new');
SELECT is(t.next('article'), 'NO_CHANGE converged', 'equal again');
SELECT is(sync_state_observe('article')->>'detail', 'unchanged', '... observed, the bases have moved');
SELECT ok(last_synced_hash = t.local('article') AND sync_status = 'in_sync' AND conflict_status = 'none', '... and the conflict is gone') FROM sync_state_get('article');
SELECT is((SELECT resolution FROM syncstate.sync_conflict), 'vanished', '... as vanished');
DELETE FROM t.here;
SELECT is(t.local('article'), NULL, 'a table without rows is absent');
SELECT is(t.next('article'), 'PUSH delete', '... so that emptying it deletes the content');
INSERT INTO t.here (id, title, body) SELECT id, title, body FROM t.there;
SELECT is(t.next('article'), 'NO_CHANGE unchanged', 'filled again');

-- What the caller observed counts.
SELECT is(d->>'local_hash' || ' ' || (d->>'remote_hash'), 'mine ' || t.remote('article'), 'a local hash that is given beats measuring') FROM sync_state_delta('article', 'mine') d;
UPDATE t.there SET title = 'moved' WHERE id = 1;
SELECT is(d->>'remote_hash', (SELECT remote_hash FROM sync_state_get('article')), '... and then the other side is not measured either') FROM sync_state_delta('article', 'mine') d;
SELECT is(d->>'action' || ' ' || (d->>'detail'), 'PUSH delete', '... an absent one too') FROM sync_state_delta('article', local_absent => true) d;
SELECT is(d->>'action', 'PULL', '... and a remote one') FROM sync_state_delta('article', remote_hash => 'theirs') d;
SELECT is(d->>'remote_hash', 'theirs', 'given to observe, it is what is recorded') FROM sync_state_observe('article', remote_hash => 'theirs') d;
SELECT is(sync_state_observe('article')->>'remote_hash', t.remote('article'), '... until it measures again');

-- Only our side has a source.
SELECT sync_source_attach('half', 't.here'), sync_state_observe('half', remote_hash => 'r') \g /dev/null
SELECT is(t.remote('half'), 'r', 'without a remote source its hash is what was recorded');
SELECT is(t.local('half'), t.local('article'), '... and ours is measured');
SELECT is(sync_state_observe('half')->>'detail', 'conflict', 'observed');
SELECT results_eq($$ SELECT local_hash, remote_hash FROM sync_state_get('half') $$, $$ SELECT t.local('article'), 'r' $$, '... and recorded, the other one kept');

-- Without a source nothing is measured; unknown keys are decided on all the same.
SELECT is(t.next('nobody'), 'INITIAL_SYNC empty', 'an unknown key without a source');
SELECT sync_source_attach('unseen', 't.here', 't.there') \g /dev/null
SELECT is(t.next('unseen'), 'INITIAL_SYNC conflict', 'an unknown key with a source is measured');
SELECT is(sync_state_observe('unseen')->>'action', 'INITIAL_SYNC', '... and observed');
SELECT results_eq($$ SELECT sync_status, conflict_status, local_hash, remote_hash FROM sync_state_get('unseen') $$,
	$$ SELECT 'conflict', 'detected', t.local('article'), t.remote('article') $$, '... recorded');
SELECT is((SELECT kind FROM syncstate.sync_conflict WHERE type_key = 'unseen'), 'create/create', '... and logged once');

-- A run's end decides, observe records.
SELECT run_id FROM sync_state_begin('article') \gset
SELECT sync_state_observe('article') \g /dev/null
SELECT is((SELECT sync_status FROM sync_state_get('article')), 'syncing', 'observed during a run, the status stays');
SELECT is((SELECT remote_hash FROM sync_state_get('article')), t.remote('article'), '... and the hashes are recorded');
SELECT sync_state_mark_synced('article', t.local('article'), t.remote('article'), :'run_id') \g /dev/null
SELECT is(t.next('article'), 'NO_CHANGE unchanged', 'marked with what delta measured, nothing is left to do');

-- ---------------------------------------------------------------------------------------------
-- Detach
-- ---------------------------------------------------------------------------------------------
SELECT is(sync_source_detach('half'), true, 'detached');
SELECT is(sync_source_detach('half'), false, '... only once');
SELECT is(t.local('half'), (SELECT local_hash FROM sync_state_get('half')), 'recorded hashes stay');
SELECT is(sync_source_detach('never'), false, 'no source, no error');
SELECT is(t.error('SELECT sync_source_detach(NULL)'), '22004 | type_key must not be null', 'a key is required');
SELECT is(t.error($$ SELECT sync_source_detach(repeat('k', 513)) $$), '22023 | type_key must be 1 to 512 bytes long', '... of at most 512 bytes');
SELECT sync_source_attach('based', 't.here', 't.here', row_base => true), sync_state_mark_synced('based', 'x', 'x') \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'based'), 21::bigint, 'with row_base, marking notes the base of each row');
SELECT sync_source_attach('based', 't.here', 't.there', row_base => true) \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'based'), 21::bigint, 'attached again with the same columns, bases stay');
SELECT sync_source_attach('based', 't.here', 't.there', columns => '{id,title}', row_base => true) \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'based'), 0::bigint, 'of other columns, they would compare with nothing: they go');
SELECT sync_state_mark_synced('based', 'x', 'x'), sync_source_attach('based', 't.here', 't.there', columns => '{id,title}', key_columns => '{title}', row_base => true) \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'based'), 0::bigint, '... with another key too');
SELECT sync_state_mark_synced('based', 'x', 'x') \g /dev/null
SELECT sync_source_attach('based', 't.here', 't.there', columns => '{id,title}', key_columns => '{title}') \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'based'), 0::bigint, '... and without row_base');
SELECT sync_source_attach('based', 't.here', 't.there', row_base => true), sync_state_mark_synced('based', 'x', 'x') \g /dev/null
SELECT is(sync_source_detach('based'), true, 'detached');
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = 'based'), 0::bigint, '... and so are the bases of rows');
SELECT ok(sync_state_forget('based'), 'forgotten');
SELECT is(sync_source_detach('based'), false, 'no source came back');
SELECT sync_source_attach('based', 't.here'), sync_state_forget('based') \g /dev/null
SELECT ok(sync_source_detach('based'), 'a source needs no state, and outlives it');

-- ---------------------------------------------------------------------------------------------
-- What can be a side
-- ---------------------------------------------------------------------------------------------
CREATE VIEW t.view AS SELECT id, title, body FROM t.here;
CREATE MATERIALIZED VIEW t.matview AS SELECT id, title, body FROM t.here;
CREATE TABLE t.parted (id int, title text, body text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE t.low PARTITION OF t.parted FOR VALUES FROM (MINVALUE) TO (10);
CREATE TABLE t.high (body text, id int NOT NULL, title text);
ALTER TABLE t.parted ATTACH PARTITION t.high FOR VALUES FROM (10) TO (MAXVALUE);
CREATE TABLE t.parent (id int, title text, body text);
CREATE TABLE t.child (extra int) INHERITS (t.parent);
CREATE UNLOGGED TABLE t.unlogged (id int, title text, body text);
INSERT INTO t.parted SELECT id, title, body FROM t.here;
INSERT INTO t.parent SELECT id, title, body FROM t.here WHERE id % 2 = 0;
INSERT INTO t.child SELECT id, title, body FROM t.here WHERE id % 2 = 1;
INSERT INTO t.unlogged SELECT id, title, body FROM t.here;
SELECT sync_source_attach(s, ('t.' || s)::regclass, 't.here', key_columns => '{id}') FROM unnest('{view,matview,parted,parent,unlogged}'::text[]) s \g /dev/null
SELECT sync_source_attach('as remote ' || s, 't.here', ('t.' || s)::regclass) FROM unnest('{view,matview,parted,parent,unlogged}'::text[]) s \g /dev/null
SELECT is(t.local(s), t.local('article'), 'a ' || s || ' is measured') FROM unnest('{view,matview,parted,parent,unlogged}'::text[]) s;
SELECT is(t.remote('as remote ' || s), t.local('article'), '... on the other side too') FROM unnest('{view,matview,parted,parent,unlogged}'::text[]) s;
INSERT INTO t.parted VALUES (-1, 'low', 'b'), (99, 'high', 'b');
INSERT INTO t.child VALUES (-1, 'low', 'b'), (99, 'high', 'b');
SELECT is(t.local('parted'), t.local('parent'), 'partitions and children are measured with their parent');
SELECT is((SELECT string_agg(concat_ws(' ', key, difference), ', ' ORDER BY key) FROM sync_source_diff('parted')), '{"id": -1} local_only, {"id": 99} local_only', '... and compared');
SELECT is((SELECT string_agg(concat_ws(' ', key, difference), ', ' ORDER BY key) FROM sync_source_diff('parent')), '{"id": -1} local_only, {"id": 99} local_only', '... those of a parent too');
UPDATE t.here SET title = 'seen through' WHERE id = 5;
SELECT is(t.local('view'), t.remote('view'), 'a view shows what its table has');
SELECT isnt(t.local('matview'), t.remote('matview'), '... a materialised one what it had');
UPDATE t.here SET title = 'title 5' WHERE id = 5;

-- ---------------------------------------------------------------------------------------------
-- Names
-- ---------------------------------------------------------------------------------------------
CREATE SCHEMA "Odd 'schema"" %s";
CREATE TABLE "Odd 'schema"" %s"."Table %1$s ""x"" é" ("Id" int, "a 'b' ""c"" %s %" text, "select" int, "x" int, "k0" int, "d" int, "h" int, "g" int, "ключ\" text, PRIMARY KEY ("Id", "a 'b' ""c"" %s %", "ключ\"));
CREATE TABLE "Odd 'schema"" %s"."%" AS TABLE "Odd 'schema"" %s"."Table %1$s ""x"" é";
INSERT INTO "Odd 'schema"" %s"."Table %1$s ""x"" é" VALUES (1, 'x', 1, 2, 3, 4, 5, 6, 'y'), (2, '%s"''', 1, 2, 3, 4, 5, 6, '\');
INSERT INTO "Odd 'schema"" %s"."%" VALUES (1, 'x', 1, 2, 3, 4, 5, 6, 'y'), (2, '%s"''', 1, 2, 3, 4, 5, 0, '\'), (3, '', 1, 2, 3, 4, 5, 6, '');
SELECT sync_source_attach('Odd "key" %s %n ''é', '"Odd ''schema"" %s"."Table %1$s ""x"" é"', '"Odd ''schema"" %s"."%"', row_base => true) \g /dev/null
SELECT is(t.local('Odd "key" %s %n ''é'), (SELECT sync_digest("Id", "a 'b' ""c"" %s %", d, g, h, k0, "select", x, "ключ\") FROM "Odd 'schema"" %s"."Table %1$s ""x"" é"), 'names of all kinds');
SELECT is((SELECT string_agg(concat_ws(' ', difference, key->>'Id', key->>'a ''b'' "c" %s %', key->>'ключ\'), ', ' ORDER BY key) FROM sync_source_diff('Odd "key" %s %n ''é')),
	'different 2 %s"'' \, remote_only 3  ', '... compared row by row');
SELECT sync_state_mark_synced('Odd "key" %s %n ''é', 'x', 'y') \g /dev/null
SELECT is((SELECT count(*) FROM syncstate.sync_row_base WHERE type_key LIKE 'Odd%'), 1::bigint, '... and as bases');
SELECT is((SELECT string_agg(action || ' ' || detail, ', ' ORDER BY key) FROM sync_source_diff3('Odd "key" %s %n ''é')), 'CONFLICT edit/edit, PULL create', '... by which is decided');
ALTER TABLE "Odd 'schema"" %s"."%" DROP COLUMN "select";
SELECT is(t.error($$ SELECT sync_state_delta('Odd "key" %s %n ''é') $$), '55000 | the remote source of "Odd "key" %s %n ''é" has no column "select"', '... and named in errors');

-- ---------------------------------------------------------------------------------------------
-- Tables that change
-- ---------------------------------------------------------------------------------------------
CREATE TABLE t.a (id int PRIMARY KEY, v text, w int);
CREATE TABLE t.b (id int PRIMARY KEY, v text, w int);
INSERT INTO t.a VALUES (1, 'v', 1); INSERT INTO t.b VALUES (1, 'v', 1);
SELECT sync_source_attach('moves', 't.a', 't.b'), sync_source_attach('fixed', 't.a', 't.b', '{id,v}', '{id}', true) \g /dev/null
CREATE FUNCTION t.all_errors(type_key text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT DISTINCT t.error(format('SELECT %s(%L)', f, $1)) FROM unnest('{sync_state_delta,sync_state_observe,sync_source_diff}'::text[]) f $$;
CREATE SCHEMA elsewhere;
ALTER TABLE t.a RENAME TO renamed;
ALTER TABLE t.renamed SET SCHEMA elsewhere;
CREATE TABLE t.a (id int PRIMARY KEY, v text, w int);
SELECT is(t.next(k), 'INITIAL_SYNC adopt', k || ': a table that was renamed and moved is still the one') FROM unnest('{moves,fixed}'::text[]) k;
SELECT is((SELECT local::text FROM syncstate.sync_source WHERE type_key = 'moves'), 'elsewhere.renamed', '... under its new name');

SAVEPOINT change;
ALTER TABLE elsewhere.renamed RENAME v TO vv;
SELECT results_eq($$ SELECT t.all_errors('fixed') $$, ARRAY['55000 | the local source of "fixed" has no column "v"'], 'a renamed column');
SELECT results_eq($$ SELECT t.all_errors('moves') $$, ARRAY['55000 | the remote source of "moves" has no column "vv"'], '... which the other side has not got');
ALTER TABLE t.b RENAME v TO vv;
SELECT is(t.next('moves'), 'INITIAL_SYNC adopt', 'renamed on both sides, all columns are all columns');
ROLLBACK TO change;
ALTER TABLE t.b DROP v;
SELECT results_eq($$ SELECT t.all_errors('fixed') $$, ARRAY['55000 | the remote source of "fixed" has no column "v"'], 'a dropped column');
SELECT is(t.error($$ SELECT sync_state_mark_synced('fixed', 'x', 'x') $$), '55000 | the remote source of "fixed" has no column "v"', '... when marking too, which notes bases');
ROLLBACK TO change;
ALTER TABLE t.b DROP id;
SELECT results_eq($$ SELECT t.all_errors('fixed') $$, ARRAY['55000 | the remote source of "fixed" has no column "id"'], 'a dropped key column');
ROLLBACK TO change;
ALTER TABLE t.b ALTER v TYPE regclass USING NULL;
SELECT results_eq($$ SELECT t.all_errors('fixed') $$, ARRAY['55000 | column "v" of the remote source of "fixed" cannot be hashed'], 'a type that cannot be hashed any more');
ROLLBACK TO change;
ALTER TABLE t.b ALTER w TYPE bigint, ALTER v TYPE varchar(9);
SELECT is(t.next('moves'), 'INITIAL_SYNC adopt', 'a type that hashes alike');
ALTER TABLE t.b ALTER w TYPE text;
SELECT is(t.next('moves'), 'INITIAL_SYNC conflict', '... and one that does not: the values differ');
ROLLBACK TO change;
ALTER TABLE elsewhere.renamed DROP CONSTRAINT a_pkey;
SELECT is(t.next('moves'), 'INITIAL_SYNC adopt', 'without its primary key it can be measured');
SELECT is(t.error($$ SELECT sync_source_diff('moves') $$), '55000 | the source of "moves" has no key', '... but rows not be told');
ROLLBACK TO change;
DROP TABLE t.b;
SELECT results_eq($$ SELECT t.all_errors('fixed') $$, ARRAY['55000 | the remote source of "fixed" does not exist any more'], 'a dropped table');
SELECT is(t.error($$ SELECT sync_state_mark_synced('fixed', 'x', 'x') $$), '55000 | the remote source of "fixed" does not exist any more', '... when marking too');
SELECT is(sync_state_delta('fixed', 'l', 'r')->>'action', 'INITIAL_SYNC', 'hashes that are given need no table');
DROP TABLE elsewhere.renamed;
SELECT results_eq($$ SELECT t.all_errors('fixed') $$, ARRAY['55000 | the local source of "fixed" does not exist any more'], 'both dropped');
SELECT sync_source_attach('fixed', 't.here', 't.there', row_base => true) \g /dev/null
SELECT is(t.local('fixed'), t.local('article'), 'attached to others, it can be measured again');
SELECT is(sync_source_detach('moves'), true, 'and one whose tables are gone can be detached');
ROLLBACK TO change;

-- ---------------------------------------------------------------------------------------------
-- Whose rights, which rows, and no writing
-- ---------------------------------------------------------------------------------------------
CREATE ROLE syncstate_t_reader;
CREATE ROLE syncstate_t_writer;
GRANT USAGE ON SCHEMA syncstate, t TO syncstate_t_reader, syncstate_t_writer;
GRANT SELECT ON syncstate.sync_state TO syncstate_t_reader;
GRANT SELECT, INSERT, UPDATE ON syncstate.sync_state TO syncstate_t_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON syncstate.sync_conflict TO syncstate_t_writer;
CREATE TABLE t.owned (id int PRIMARY KEY, who text, secret text);
INSERT INTO t.owned VALUES (1, 'syncstate_t_reader', 's'), (2, 'other', 's');
SELECT sync_source_attach('owned', 't.owned', 't.owned'), sync_source_attach('part', 't.owned', 't.owned', '{id,who}') \g /dev/null
SELECT sync_state_update('plain', '{"local_hash": "l"}') \g /dev/null
SET LOCAL ROLE syncstate_t_reader;
SELECT is(t.next('plain'), 'INITIAL_SYNC push', 'a key without a source needs no further right');
SELECT is(t.error($$ SELECT sync_state_delta('owned') $$), '42501 | permission denied for table owned | reading the local source of "owned"', 'a table that the caller may not read');
SELECT is(t.error($$ SELECT sync_source_diff('owned') $$), '42501 | permission denied for table owned | reading the local source of "owned"', '... row by row neither');
SELECT is(t.error($$ SELECT sync_source_attach('mine', 't.owned') $$), '42501 | permission denied for table sync_source', 'who may not write sync_source attaches nothing');
SELECT is(left(t.error($$ SELECT sync_source_detach('owned') $$), 5), '42501', '... and detaches nothing');
RESET ROLE;
GRANT SELECT (id, who) ON t.owned TO syncstate_t_reader, syncstate_t_writer;
SET LOCAL ROLE syncstate_t_reader;
SELECT is(t.next('part'), 'INITIAL_SYNC adopt', 'who may read the columns that count may measure them');
SELECT is(t.error($$ SELECT sync_state_delta('owned') $$), '42501 | permission denied for table owned | reading the local source of "owned"', '... but no others');
RESET ROLE;
SET LOCAL ROLE syncstate_t_writer;
SELECT is(sync_state_observe('part')->>'detail', 'unchanged', 'observe needs the rights on the state and the content, not on the sources');
RESET ROLE;
GRANT SELECT ON t.owned TO syncstate_t_reader;
CREATE TEMPORARY TABLE whole AS SELECT t.local('owned') AS digest, (SELECT sync_digest(id, secret, who) FROM t.owned WHERE id = 1) AS mine;
GRANT SELECT ON whole TO syncstate_t_reader;
ALTER TABLE t.owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON t.owned USING (who = current_user);
SET LOCAL ROLE syncstate_t_reader;
SELECT is(t.local('owned'), (SELECT mine FROM whole), 'row security: the rows that the caller sees are what is measured');
RESET ROLE;
SELECT is(t.local('owned'), (SELECT digest FROM whole), '... the owner sees all');
SET LOCAL row_security = off;
SET LOCAL ROLE syncstate_t_reader;
SELECT is(t.error($$ SELECT sync_state_delta('owned') $$), '42501 | query would be affected by row-level security policy for table "owned" | reading the local source of "owned"', '... unless an incomplete answer is not wanted');
RESET ROLE;
SET LOCAL row_security = on;

-- Objects of the caller's that bear the names of what is called.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.trap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION hostile.sync_digest(text, int, text) RETURNS text LANGUAGE sql AS 'SELECT hostile.trap()::text';
CREATE TABLE hostile.here (id int);
CREATE FUNCTION hostile.eq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.trap() = 0';
CREATE FUNCTION hostile.eq(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT hostile.trap() = 0';
CREATE FUNCTION hostile.eq(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT pg_catalog.int4eq(hostile.trap(), 0)';
CREATE OPERATOR hostile.= (leftarg = text, rightarg = text, function = hostile.eq);
CREATE OPERATOR hostile.= (leftarg = bytea, rightarg = bytea, function = hostile.eq);
CREATE OPERATOR hostile.<> (leftarg = bytea, rightarg = bytea, function = hostile.eq);
CREATE FUNCTION hostile.jsonb_build_object(VARIADIC "any") RETURNS jsonb LANGUAGE internal AS 'jsonb_build_object';
CREATE FUNCTION hostile.decode(text, text) RETURNS bytea LANGUAGE sql AS $$ SELECT hostile.trap()::text::bytea $$;
CREATE FUNCTION hostile.sync_row_hash(VARIADIC int[]) RETURNS bytea LANGUAGE sql AS $$ SELECT hostile.trap()::text::bytea $$;
SELECT sync_source_attach('article', 't.here', 't.there', row_base => true) \g /dev/null
CREATE TABLE t.got (n serial, result pg_catalog.text);
UPDATE t.there SET title = 'differs' WHERE id = 2;
SET LOCAL search_path = hostile, pg_catalog, public;
INSERT INTO t.got (result) SELECT public.sync_state_delta('article')->>'local_hash';
INSERT INTO t.got (result) SELECT difference FROM public.sync_source_diff('article') LIMIT 1;
INSERT INTO t.got (result) SELECT last_synced_hash FROM public.sync_state_mark_synced('article', 'a', 'a');
INSERT INTO t.got (result) SELECT detail FROM public.sync_source_diff3('article') LIMIT 1;
INSERT INTO t.got (result) SELECT public.sync_state_observe('article')->>'detail';
INSERT INTO t.got (result) SELECT remote::pg_catalog.text FROM public.sync_source_attach('article', 't.here', 't.there');
SET LOCAL search_path = public;
SELECT results_eq('SELECT result FROM t.got ORDER BY n', $$ VALUES (t.local('article')), ('different'), ('a'), ('edit/edit'), ('edit/edit'), ('t.there') $$, 'under a search_path of hostile objects, none of them is called');
UPDATE t.there SET title = 'title 2' WHERE id = 2;

-- STABLE and read only.
SELECT is(provolatile::text, 's', proname || ' is STABLE') FROM pg_proc WHERE proname IN ('sync_state_delta', 'sync_source_diff', 'sync_source_diff3') ORDER BY proname;
SELECT sync_source_attach('based', 't.here', 't.there', row_base => true) \g /dev/null
CREATE TEMPORARY TABLE results (n text);
SAVEPOINT read_only;
SET TRANSACTION READ ONLY;
SELECT is(t.next('article'), 'CONFLICT edit/edit', 'delta works in a READ ONLY transaction');
SELECT lives_ok($$ SELECT sync_source_diff('based'), sync_source_diff3('based') $$, '... and diff and diff3');
SELECT is(t.error(format('SELECT %s', call)), '25006 | cannot execute ' || split_part(call, '(', 1) || '() in a read-only transaction', call || ' does not')
  FROM unnest(ARRAY['sync_source_attach(''article'', ''t.here'')', 'sync_source_detach(''article'')', 'sync_state_observe(''article'')']) call;
ROLLBACK TO read_only;

-- STABLE: a query sees one state, whatever it does itself.
CREATE FUNCTION t.write_and_look() RETURNS text LANGUAGE sql AS $$
	WITH w AS (INSERT INTO t.here VALUES (1000, 'late') RETURNING 1) SELECT sync_state_delta('article')->>'local_hash' FROM w $$;
SELECT is(t.write_and_look(), before, 'what a statement writes is not yet there for a delta in the same statement') FROM (SELECT t.local('article') AS before OFFSET 0) b;
SELECT isnt(t.local('article'), t.remote('article'), '... and is for the next');

SELECT * FROM finish();
ROLLBACK;
