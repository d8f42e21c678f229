#!/usr/bin/python3
"""Bad input for every function of the extension, by rules.

    input.py [--inputs N] [--seed N] [--part N/M]

The functions are those that the catalogue says belong to the extension.  Each
argument of each gets every kind of value that values.py has for its type and
name, the others being good; then arguments at random, one or several bad ones,
until the function has had N inputs.  Whether the call must work, or by which
SQLSTATE it must fail, is told by rules.py; a function without a rule, or an
argument without values, is a failure.  All of it in a database in UTF-8 and in
one in SQL_ASCII.  Besides

- functions with internal arguments cannot be called from SQL, nor made an
  aggregate of by who is no superuser;
- trigger functions refuse to be called as anything else, and by other tables;
- texts with a zero byte or not in the encoding are refused as binary
  parameters, too;
- settings refuse what they refuse.

Whatever else is said, XX000, the loss of a connection and a restart of the server
are failures.  A failure prints the seed and the call.  The database is that of
PGHOST, PGPORT ..., in which databases of its own are made.  Ends with
"rounds: N passed, N failed", where a round is an input.
"""

import argparse
import ctypes
import collections
import itertools
import os
import random
import re
import sys
import time

import psycopg2
import psycopg2.extensions

import rules
import values
from values import Relation, Value, text

DATABASE = "syncstate_input"
HERE = os.path.dirname(os.path.abspath(__file__))

SETUP = """
CREATE EXTENSION syncstate;
CREATE SCHEMA w;
CREATE TABLE w.rows (id int PRIMARY KEY, body text);
CREATE TABLE w.copy (id int PRIMARY KEY, body text);
CREATE TABLE w.tracked (id int PRIMARY KEY, body text);
CREATE TABLE w.keyless (id int, body text);
CREATE TABLE w.half (id int PRIMARY KEY);
CREATE TABLE w.unhashable (id int PRIMARY KEY, body regclass);
CREATE TABLE w.nothing ();
CREATE VIEW w.seen AS SELECT id, body FROM w.rows;
CREATE MATERIALIZED VIEW w.stored AS SELECT id, body FROM w.rows;
CREATE TABLE w.parted (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE w.part PARTITION OF w.parted DEFAULT;
CREATE FOREIGN DATA WRAPPER w_none;
CREATE SERVER w_none FOREIGN DATA WRAPPER w_none;
CREATE FOREIGN TABLE w.far (id int, body text) SERVER w_none;
CREATE INDEX rows_body ON w.rows (body);
CREATE INDEX parted_body ON w.parted (body);
CREATE SEQUENCE w.numbers;
CREATE TYPE w.composite AS (id int, body text);
CREATE TYPE w.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN w.named AS text CHECK (VALUE <> '');
CREATE TYPE w.span AS RANGE (subtype = numeric);
CREATE TABLE w.hand (type_key text, local_hash text);
CREATE FOREIGN TABLE w.hand_far (type_key text, local_hash text) SERVER w_none;
CREATE VIEW w.hand_twice AS SELECT 'a' AS type_key FROM generate_series(1, 2);
CREATE VIEW w.hand_null AS SELECT NULL::text AS type_key;
CREATE VIEW w.hand_empty AS SELECT '' AS type_key;
CREATE VIEW w.hand_long AS SELECT repeat('k', 513) AS type_key;
CREATE VIEW w.hand_number AS SELECT 1 AS type_key;
CREATE VIEW w.hand_both AS SELECT 'a' AS type_key, 'b' AS "typeKey";
INSERT INTO w.rows SELECT n, 'x' FROM generate_series(1, 5) n;
INSERT INTO w.copy SELECT n, 'x' FROM generate_series(3, 7) n;
INSERT INTO w.hand VALUES ('imported', 'h');
DO $$ BEGIN EXECUTE 'CREATE TABLE w.wide (' || (SELECT string_agg('c' || n || ' int', ', ') FROM generate_series(1, 97) n) || ')'; END $$;
CREATE TABLE w.shape (LIKE syncstate.sync_state INCLUDING DEFAULTS);
CREATE TABLE w.dropped ();
SELECT sync_state_mark_synced('article', 'a', 'a'), sync_state_observe('page', 'p'), sync_state_observe('torn', 'x', 'y'),
       sync_state_begin('held'), sync_state_begin('stopped');
SELECT sync_state_checkpoint('stopped', (SELECT run_id FROM sync_state_get('stopped')), '{"step": 1}');
SELECT sync_state_fail('stopped', force => true);
SELECT sync_source_attach('both', 'w.rows', 'w.copy', row_base => true), sync_source_attach('alone', 'w.rows'),
       sync_source_attach('tracked', 'w.tracked');
SELECT sync_source_track('tracked');
"""

TWO = {"id": True, "body": True}
RELATIONS = {
    "w.rows": Relation("r", TWO, ["id"]), "w.copy": Relation("r", TWO, ["id"]), "w.keyless": Relation("r", TWO),
    "w.half": Relation("r", {"id": True}, ["id"]), "w.unhashable": Relation("r", {"id": True, "body": False}, ["id"]),
    "w.nothing": Relation("r", {}), "w.wide": Relation("r", {}), "w.seen": Relation("v", TWO), "w.stored": Relation("m", TWO),
    "w.parted": Relation("p", TWO, ["id"]), "w.part": Relation("r", TWO, ["id"]), "w.far": Relation("f", TWO, readable=False),
    "w.rows_body": Relation("i"), "w.parted_body": Relation("I"), "w.numbers": Relation("S"), "w.composite": Relation("c"),
    "pg_temp.temporary": Relation("r", TWO, ["id"], temporary=True), "pg_toast.pg_toast_1255": Relation("t"),
    "pg_catalog.pg_class": Relation("r"), "pg_catalog.pg_stat_activity": Relation("v"),
    "syncstate.sync_state": Relation("r", shape="import"), "syncstate.sync_overview": Relation("v", shape="import"),
    "w.hand": Relation("r", shape="import"), "w.hand_far": Relation("f", {"type_key": True, "local_hash": True}, readable=False, shape="import"),
    "w.hand_twice": Relation("v"), "w.hand_null": Relation("v"), "w.hand_empty": Relation("v"), "w.hand_long": Relation("v"),
    "w.hand_number": Relation("v"), "w.hand_both": Relation("v"),
}

# Values of which the reference says that they are hashed, and types that it refuses.
HASHED = ["1", "1::smallint", "'1'::bigint", "'x'", "''", "NULL", "'x'::text", "'x'::name", "'x '::char(5)", "1.50", "'NaN'::numeric", "1e300", "'NaN'::float8",
          "'-0'::float4", "'Infinity'::float8", "true", "'{}'::jsonb", "'[1.0, {\"a\": null}]'::jsonb", "'\\x00'::bytea", "now()", "'infinity'::timestamptz",
          "'-infinity'::date", "'0001-01-01 BC'::date", "'24:00'::time", "'1 mon'::interval", "gen_random_uuid()", "'{}'::int[]", "'{{1,NULL},{2,3}}'::int[]",
          "'[5:6]={a,b}'::text[]", "'[1,2)'::int4range", "'empty'::numrange", "'{[1,2)}'::int4multirange", "'ok'::w.mood", "'[1,2]'::w.span", "'x'::w.named",
          "repeat('x', 1048576)", "1e130000"]


class World:
    """What there is in the database, for values and rules to know."""

    def __init__(self, name, encoding):
        self.name = "%s_%s" % (DATABASE, name)
        self.sql_ascii = encoding == "SQL_ASCII"
        admin = psycopg2.connect(dbname="postgres")
        admin.autocommit = True
        cursor = admin.cursor()
        cursor.execute("DROP DATABASE IF EXISTS %s" % self.name)
        cursor.execute("CREATE DATABASE %s ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0" % (self.name, encoding))
        admin.close()
        self.connection = self.connect()
        self.connection.autocommit = True
        self.version = self.connection.server_version
        self.keys = dict.fromkeys([b"article", b"page", b"torn", b"held", b"stopped"], True)
        self.keys.update(dict.fromkeys([b"both", b"alone", b"tracked"]))
        self.relations = RELATIONS
        self.execute(SETUP)
        self.dropped = self.one("SELECT 'w.dropped'::regclass::oid")
        self.execute("DROP TABLE w.dropped")
        self.run_id = self.one("SELECT replace(run_id::text, '-', '') FROM syncstate.sync_state WHERE type_key = 'held'")
        self.sketches = [(bytes(self.one("SELECT sync_sketch(%d, 1, id, body) FROM w.%s" % (cells, table))), cells)
                         for cells, table in ((200, "rows"), (200, "copy"), (210, "rows"))]
        cursor = self.one("SELECT sync_state_cursor()")
        snapshot = cursor.split(":")[5]
        self.cursors = [cursor.encode(), ("%s:%s:3:" % (cursor, snapshot)).encode(), ("%s:%s:3:%s" % (cursor, snapshot, b"article".hex())).encode()]
        self.started = self.one("SELECT pg_postmaster_start_time()")

    def connect(self):
        connection = psycopg2.connect(dbname=self.name, options="-c statement_timeout=30s -c client_min_messages=error -c timezone=UTC")
        if self.sql_ascii:
            connection.set_client_encoding("SQL_ASCII")
        connection.cursor().execute("CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY, body text)")
        connection.commit()
        return connection

    def execute(self, query):
        cursor = self.connection.cursor()
        cursor.execute(query)
        return cursor

    def one(self, query):
        return self.execute(query).fetchone()[0]

    def outcome(self, call):
        """What a call leads to; nothing of it stays."""
        cursor = self.connection.cursor()
        try:
            cursor.execute(b"BEGIN")
            cursor.execute(call)
            return "ok", ""
        except psycopg2.Error as error:
            return error.pgcode or "connection lost", str(error).strip()
        finally:
            if self.connection.closed:
                time.sleep(2)
                self.connection = self.connect()
                self.connection.autocommit = True
            else:
                cursor.execute(b"ROLLBACK")


class Argument:
    def __init__(self, name, type_name):
        self.name, self.type = name, type_name


class Function:
    def __init__(self, row):
        self.schema, self.name, self.kind, self.result, types, names = row
        self.arguments = [Argument(n, t) for n, t in zip(names or [""] * len(types), types)]
        self.label = "%s.%s(%s)" % (self.schema, self.name, ", ".join(types))

    def call(self, given):
        """given: for each argument, a Value, or a list of them where it is variadic."""
        flat = itertools.chain.from_iterable(v if isinstance(v, list) else [v] for v in given)
        source = b"FROM " if self.kind == "f" and self.result != "trigger" else b""
        return b"SELECT %s%s.%s(%s)" % (b"* " + source if source else b"", self.schema.encode(), self.name.encode(), b", ".join(v.sql for v in flat))


def functions_of(world):
    rows = world.execute("""
        SELECT n.nspname, p.proname, p.prokind::text, p.prorettype::regtype::text,
               ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, n) ORDER BY n), p.proargnames
          FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate')
         ORDER BY 1, 2""").fetchall()
    return [Function(row) for row in rows]


def documented():
    """The SQLSTATEs of the reference's troubleshooting table."""
    with open(os.path.join(HERE, "../../README.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| ((?:[0-9A-Z]{5}(?:, )?)+) \|", file.read(), re.M)
    return set(itertools.chain.from_iterable(row.split(", ") for row in rows))


# ------------------------------------------------------- values by argument

class Makers:
    """For each argument: a good value, and the kinds of others."""

    def __init__(self, world):
        self.world = world
        self.any = self.kinds_of_any()

    def kinds_of_any(self):
        types = self.world.execute("""
            SELECT quote_ident(n.nspname) || '.' || quote_ident(t.typname), t.typsend = 0 OR t.typname LIKE 'reg%%' AND t.typtype = 'b'
              FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype <> 'p' AND t.typisdefined
               AND n.nspname NOT LIKE 'pg_temp%%' AND n.nspname NOT LIKE 'pg_toast%%'""").fetchall()
        return [lambda rng: Value(rng.choice(HASHED), "hashed"),
                lambda rng: Value("NULL::" + rng.choice([name for name, refused in types if not refused]), "other"),
                lambda rng: Value("NULL::" + rng.choice([name for name, refused in types if refused]), "oid"),
                lambda rng: Value("ROW(%s)" % ", ".join(rng.choice(HASHED) for _ in range(3)), "other"),
                lambda rng: Value("VARIADIC ARRAY[%s]" % rng.choice(["1", "'a'", "NULL::text"]), "oid"),
                lambda rng: Value(rng.choice(HASHED), "hashed")]

    def good(self, argument, function):
        world = self.world
        key = {"sync_state_checkpoint": b"held", "sync_state_resume": b"stopped", "sync_state_resolve": b"torn", "sync_source_verify": b"tracked",
               "sync_source_track": b"alone", "sync_source_untrack": b"tracked", "sync_source_diff": b"both", "sync_source_diff3": b"both"}
        token = Value("'%s'::pg_catalog.uuid" % world.run_id, world.run_id) if function.name == "sync_state_checkpoint" else Value("NULL::pg_catalog.uuid")
        null_array = Value("NULL::pg_catalog.text[]")
        by_name = {
            "type_key": text(key.get(function.name, b"article")), "resolution": text(b"local"), "merged_hash": Value("NULL::pg_catalog.text"),
            "run_id": token, "lease": Value("NULL::interval"), "columns": null_array, "key_columns": null_array, "cursor": Value("NULL::pg_catalog.text"),
            "type_keys": self.list(b"article", b"page", b"fresh"), "local_hashes": self.list(b"a", b"b", b"c"), "remote_hashes": self.list(b"a", b"b", b"d"),
            "run_ids": Value("NULL::pg_catalog.uuid[]"), "prefix": Value("NULL::pg_catalog.text"), "conflict_number": Value("NULL::pg_catalog.int4"),
            "source": Value("'w.hand'::pg_catalog.regclass", RELATIONS["w.hand"]), "local": Value("'w.rows'::pg_catalog.regclass", RELATIONS["w.rows"]),
            "remote": Value("'w.copy'::pg_catalog.regclass", RELATIONS["w.copy"]), "cells": Value("50", 50), "max_keys": Value("1", 1), "max_rows": Value("10", 10),
            "state": values.document({"local_hash": "b"}), "states": values.document({"article": {"local_hash": "b"}}),
            "a": Value("'\\x%s'::pg_catalog.bytea" % world.sketches[0][0].hex(), values.Sketch(200)),
            "b": Value("'\\x%s'::pg_catalog.bytea" % world.sketches[1][0].hex(), values.Sketch(200)), "synced": Value("true", True),
        }
        if function.name.startswith("sync_sketch") and argument.name == "key_columns":
            return Value("1", 1)
        by_type = {"text": text(b"h"), "boolean": Value("false", False), "jsonb": values.document({"a": 1}), "uuid": token,
                   "interval": values.interval(0, 1, 0), "timestamp with time zone": Value("'2026-01-01 00:00:00+00'::pg_catalog.timestamptz", values.FINITE),
                   '"any"': [Value("1", "hashed"), Value("'x'", "hashed")], "integer": Value("1", 1)}
        return by_name.get(argument.name if argument.type != '"any"' else "", by_type.get(argument.type))

    @staticmethod
    def list(*elements):
        return values.array([text(element) for element in elements])

    def kinds(self, argument, function):
        world, name = self.world, argument.name
        if argument.type == "text":
            special = {"resolution": (b"local", b"remote", b"merged"), "sync_status": [s.encode() for s in values.STATUSES],
                       "conflict_status": [s.encode() for s in values.CONFLICT_STATUSES]}
            if name == "cursor":
                return values.cursors(world)
            return values.words(world, *special[name]) if name in special else values.texts(world)
        if argument.type == "text[]":
            good = {"columns": (b"id", b"body"), "key_columns": (b"id",), "type_keys": (b"article", b"page", b"fresh")}.get(name, (b"a", b"b", b"c"))
            makers = values.texts(world)
            if name.endswith("columns"):
                makers = [lambda rng: text(rng.choice([b"id", b"body", b"ctid", b"tableoid", b"ID", b"c1", b"missing", b"x" * 100]))] * 5 + makers
            return values.arrays(world, makers, "pg_catalog.text", [text(g) for g in good])
        if argument.type == "uuid[]":
            return values.arrays(world, values.uuids(world), "pg_catalog.uuid", [Value("NULL::pg_catalog.uuid")] * 3)
        if argument.type == "jsonb":
            extra = {"state": [lambda rng: values.document(values.some_state(rng))] * 6, "states": values.some_states(world)}
            return values.documents(world, *extra.get(name, ()))
        return {
            "integer": values.integers(*{"cells": (50, 100, 1000), "key_columns": (1, 2)}.get(name, ())), "boolean": values.BOOLEANS,
            "uuid": values.uuids(world), "timestamp with time zone": values.TIMESTAMPS, "interval": values.intervals(world),
            "bytea": values.byteas(world.sketches), "regclass": values.relations(world), '"any"': self.any,
        }.get(argument.type)

    def make(self, argument, kind, rng):
        if argument.type != '"any"':
            return kind(rng)
        first = kind(rng)
        if first.sql.startswith(b"VARIADIC"):
            return [first]
        return [first] + [rng.choice(self.any[:2])(rng) for _ in range(rng.choice([0, 0, 1, 3, 96]))]


# --------------------------------------------------------------- the test

def shortened(call):
    """What a value was repeated to fill is of no interest."""
    return re.sub(r"(.)\1{40,}", r"\1\1\1...", call.decode("utf-8", "backslashreplace").replace("pg_catalog.", ""))[:1000]


class Test:
    def __init__(self, world, seed):
        self.world, self.seed = world, seed
        self.rules = rules.Rules(world)
        self.makers = Makers(world)
        self.documented = documented()
        self.passed = self.failed = 0
        self.inputs = collections.Counter()
        self.states = collections.Counter()

    def fail(self, what):
        self.failed += 1
        if self.failed <= 50:
            print("%s, seed %d: %s" % (self.world.name, self.seed, what), flush=True)

    def expect(self, call, right, label):
        got, message = self.world.outcome(call)
        self.inputs[label] += 1
        self.states[got] += 1
        if rules.UNDECIDED in right:
            right = (right | self.documented | {"ok"}) - {rules.UNDECIDED}
        if got in right and not got.startswith("XX"):
            self.passed += 1
        else:
            self.fail("%s: %s %s, not %s" % (shortened(call), got, message.split("\n", maxsplit=1)[0][:200], " or ".join(sorted(right))))

    def right(self, function, given):
        """The outcomes that are right for these arguments."""
        flat = list(itertools.chain.from_iterable(v if isinstance(v, list) else [v] for v in given))
        states = set().union(*(v.refused or () for v in flat))
        if states:
            # Whichever argument is looked at first; or a function that the query never gets to.
            return states | ({"22023"} if any("oid" == v.fact for v in flat) else set())
        facts = {a.name: [v.fact for v in value] if isinstance(value, list) else value.fact for a, value in zip(function.arguments, given)}
        return self.rules.of(function.name, facts)

    def one_bad(self, function, position, kind, rng):
        given = [self.makers.good(a, function) for a in function.arguments]
        given[position] = self.makers.make(function.arguments[position], kind, rng)
        self.expect(function.call(given), self.right(function, given), function.label)

    def some_bad(self, function, rng):
        given = [self.makers.good(a, function) for a in function.arguments]
        for position in rng.sample(range(len(given)), min(len(given), rng.choice([1, 1, 2, 3]))):
            argument = function.arguments[position]
            given[position] = self.makers.make(argument, rng.choice(self.makers.kinds(argument, function)), rng)
        self.expect(function.call(given), self.right(function, given), function.label)

    def callable(self, function, inputs):
        if not hasattr(rules.Rules, function.name):
            self.fail("%s has no rule" % function.label)
            return
        for argument in function.arguments:
            if self.makers.kinds(argument, function) is None or self.makers.good(argument, function) is None:
                self.fail("%s: no values for argument %s %s" % (function.label, argument.name, argument.type))
                return
        rng = random.Random("%d %s %s" % (self.seed, self.world.name, function.label))
        given = [self.makers.good(a, function) for a in function.arguments]
        self.expect(function.call(given), {"ok"}, function.label)
        for position, argument in enumerate(function.arguments):
            for kind in self.makers.kinds(argument, function):
                self.one_bad(function, position, kind, rng)
        while function.arguments and self.inputs[function.label] < inputs:
            self.some_bad(function, rng)

    def internal(self, function, inputs):
        """No value of type internal can be made in SQL: not by a literal, a cast or another function."""
        rng = random.Random("%d %s" % (self.seed, function.label))
        others = values.byteas(self.world.sketches) + values.texts(self.world) + self.makers.any[:2]
        literals = ["NULL", "'x'", "NULL::internal", "'\\x00'::internal", "1", "NULL::pg_catalog.cstring", "ROW(1)", "''::bytea"]
        for n in range(inputs):
            given = []
            for argument in function.arguments:
                value = Value(rng.choice(literals)) if argument.type == "internal" else rng.choice(others)(rng)
                while value.refused:
                    value = rng.choice(others)(rng)
                given.append(value)
            if n == 0:
                given = [Value("NULL") for _ in function.arguments]
            self.expect(function.call(given), {"0A000", "42883", "42846"}, function.label)

    def trigger(self, function):
        """On a table of another shape always refused; on one of the right shape, or with an argument, it may do its work or be refused."""
        self.expect(function.call([]), {"39P01"}, function.label)
        other, like = {"39P01"}, {"39P01", rules.UNDECIDED}
        for (table, argument, right), row, when, event in itertools.product(
                (("w.rows", "", other), ("w.half", "", other), ("w.shape", "", like), ("w.rows", "'both'", like), ("w.half", "'both'", like),
                 ("w.rows", "'', 'x'", like), ("w.tracked", "'tracked'", like), ("w.rows", "'%s'" % ("k" * 10000), like)),
                ("ROW", "STATEMENT"), ("BEFORE", "AFTER"), ("INSERT", "UPDATE", "DELETE", "TRUNCATE")):
            if row == "ROW" and event == "TRUNCATE":
                continue
            columns, row_values = ("type_key, changed_xid", "'new', 1") if table == "w.shape" else ("id", "1000")
            fire = {"INSERT": "INSERT INTO %s (%s) VALUES (%s)" % (table, columns, row_values), "UPDATE": "UPDATE %s SET %s = %s" % (table, *[columns[-11:]] * 2),
                    "DELETE": "DELETE FROM " + table, "TRUNCATE": "TRUNCATE " + table}[event]
            self.expect(("INSERT INTO w.half VALUES (1); INSERT INTO w.tracked VALUES (1); INSERT INTO w.shape (type_key, changed_xid) VALUES ('old', 0); "
                         "CREATE TRIGGER t %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s.%s(%s); %s"
                         % (when, event, table, row, function.schema, function.name, argument, fire)).encode(), right, function.label)

    def settings(self):
        for name, bad, good in (("lease", ["0", "-1", "''", "soon", "'25d'", "2147483648", "NaN", "1e100"], ["1", "'24d'", "'5min'", "DEFAULT", "' 7 h'"]),
                                ("notify", ["''", "'some'", "1", "yes", "'none,all'"], ["none", "changes", "'ALL'", "DEFAULT"])):
            for value in bad + good:
                self.expect(("SET LOCAL syncstate.%s = %s" % (name, value)).encode(), {"22023"} if value in bad else {"ok"}, "settings")
        for name in ("leese", "lease.x", '"x y"', "x"):
            self.expect(("SET LOCAL syncstate.%s = 1" % name).encode(), {"42602"}, "settings")

    def no_aggregates(self):
        """Who is no superuser makes no aggregate of ours whose state he hands in himself."""
        for call in ("CREATE AGGREGATE w.mine(bytea) (sfunc = syncstate.sketch_combine, stype = internal)",
                     "CREATE AGGREGATE w.mine(\"any\") (sfunc = syncstate.digest_add, stype = internal)",
                     "CREATE AGGREGATE w.mine(bytea) (sfunc = pg_catalog.byteacat, stype = bytea, finalfunc = syncstate.sketch_final)",
                     "CREATE AGGREGATE w.mine(int) (sfunc = pg_catalog.int4pl, stype = int, finalfunc = syncstate.digest_final)",
                     "CREATE AGGREGATE w.mine(int) (sfunc = pg_catalog.int4pl, stype = int, serialfunc = syncstate.digest_serialize, deserialfunc = syncstate.digest_deserialize)",
                     "CREATE CAST (bytea AS internal) WITHOUT FUNCTION",
                     "CREATE FUNCTION w.mine(internal) RETURNS text LANGUAGE sql AS 'SELECT NULL::text'",
                     "CREATE FUNCTION w.mine() RETURNS internal LANGUAGE sql AS 'SELECT NULL'"):
            self.expect(("CREATE ROLE syncstate_input_user; GRANT ALL ON SCHEMA w TO syncstate_input_user; SET LOCAL ROLE syncstate_input_user; " + call).encode(),
                        {"42501", "42P13", "42883", "0A000", "42804", "42809"}, "aggregates of others")

    def restarted(self):
        if self.world.one("SELECT pg_postmaster_start_time()") != self.world.started:
            self.fail("the server was restarted")


class Libpq:
    """Parameters in binary, as drivers of other languages send them."""

    def __init__(self, world):
        self.pq = ctypes.CDLL("libpq.so.5")
        for name in ("PQconnectdb", "PQexecParams"):
            getattr(self.pq, name).restype = ctypes.c_void_p
        self.pq.PQresultErrorField.restype = ctypes.c_char_p
        encoding = "SQL_ASCII" if world.sql_ascii else "UTF8"
        self.connection = ctypes.c_void_p(self.pq.PQconnectdb(("dbname=%s client_encoding=%s" % (world.name, encoding)).encode()))

    def outcome(self, query, data):
        result = ctypes.c_void_p(self.pq.PQexecParams(
            self.connection, query, 1, (ctypes.c_uint * 1)(25), (ctypes.c_char_p * 1)(data), (ctypes.c_int * 1)(len(data)), (ctypes.c_int * 1)(1), 1))
        state = self.pq.PQresultErrorField(result, ord("C"))
        self.pq.PQclear(result)
        return state.decode() if state else "ok"


def binary_texts(test, functions):
    wire = Libpq(test.world)
    for function in functions:
        for position, argument in enumerate(function.arguments):
            if argument.type != "text":
                continue
            given = [test.makers.good(a, function) for a in function.arguments]
            given[position] = Value("$1")
            for data in [b"\0", b"a\0b", b"\0" * 600] + ([] if test.world.sql_ascii else values.NOT_UTF8):
                got = wire.outcome(b"EXPLAIN ANALYZE " + function.call(given), data)
                test.inputs[function.label] += 1
                if got == "22021":
                    test.passed += 1
                else:
                    test.fail("%s with %r in binary: %s, not 22021" % (function.label, data, got))
    wire.pq.PQfinish(wire.connection)


def run(name, encoding, inputs, seed, part):
    test = Test(World(name, encoding), seed)
    functions = functions_of(test.world)[part[0]::part[1]]
    called = [f for f in functions if f.result != "trigger" and not any(a.type == "internal" for a in f.arguments)]
    for function in functions:
        if function.result == "trigger":
            test.trigger(function)
        elif function in called:
            test.callable(function, inputs)
        else:
            test.internal(function, max(inputs // 10, 20))
    test.settings()
    test.no_aggregates()
    binary_texts(test, called)
    test.restarted()
    print("%s: %d functions, %d of them callable; %d inputs; outcomes: %s" % (
        encoding, len(functions), len(called), sum(test.inputs.values()), ", ".join("%s %d" % pair for pair in test.states.most_common())))
    few = [f for f in called if f.arguments and test.inputs[f.label] < inputs]
    if few:
        test.fail("less than %d inputs: %s" % (inputs, ", ".join(f.label for f in few)))
    return test


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--inputs", type=int, default=300, help="of each function, at least")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--part", default="0/1", help="N/M: each M-th function from the N-th (from 0) on")
    arguments = parser.parse_args()
    part = tuple(map(int, arguments.part.split("/")))
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10 ** 9)
    start = time.monotonic()
    tests = [run(name, encoding, arguments.inputs, seed, part) for name, encoding in (("utf8", "UTF8"), ("ascii", "SQL_ASCII"))]
    passed, failed = sum(t.passed for t in tests), sum(t.failed for t in tests)
    print("seed %d, %.1f s" % (seed, time.monotonic() - start))
    print("rounds: %d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
