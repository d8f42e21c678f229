#!/usr/bin/python3
"""sqlsmith on a database that has the extension, with two writers beside it.

    smith.py [--queries N] [--seed N]

sqlsmith makes up queries out of what the catalogue has.  Drawn evenly, one
function in forty would be ours, and those that return sets never; so it sees
pg_proc through a view, which shows it ours, scalar functions that count what the
others return, and a few hundred of the server's that do nothing but compute.  One
writer calls functions with the values of values.py and commits, the other writes
rows of tables that are sources, one of them tracked.

Faults are: a backend that died of a signal, a restart, and an internal error
(class XX) that comes from us.  The server's own can be had by such queries, too;
the log tells the file and the function that raised one.  What was not raised in a
file of ours is run again with backtrace_functions set to that function, and is
the server's if no frame of the stack is ours.  What does not come again counts as
ours unless its statement has nothing of ours in it.  All of them are shown.

Ends with "rounds: N passed, N failed", where a round is a query of sqlsmith.
"""

import argparse
import collections
import glob
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

import psycopg2

import input as bad_input

ROLE = "syncstate_smith"
HERE = os.path.dirname(os.path.abspath(__file__))
OURS = set(map(os.path.basename, glob.glob(os.path.join(HERE, "../../src/*.[ch]"))))

# What sqlsmith sees; it looks pg_proc up by its search_path.
SEEN = """
CREATE SCHEMA shadow;
CREATE VIEW shadow.pg_proc AS
SELECT p.* FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname IN ('public', 'syncstate', 'counted')
    OR n.nspname = 'pg_catalog' AND p.provolatile = 'i' AND p.prokind = 'f' AND p.proname ~ '^(text|int4|numeric|jsonb|array|timestamptz|bytea|uuid|interval)'
       AND p.proname !~ '(_in|_recv|_support)$';
CREATE SCHEMA counted;
DO $$
DECLARE f record;
BEGIN
	FOR f IN SELECT p.oid, p.proname, p.proretset, p.provariadic <> 0 AS variadic, p.prokind, p.pronargs,
	                (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, n)) AS types,
	                (SELECT string_agg('$' || n, ', ') FROM generate_series(1, p.pronargs) n) AS parameters
	           FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
	          WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND p.pronamespace = 'public'::regnamespace
	            AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'syncstate')
	LOOP
		IF f.variadic THEN
			f.types := replace(f.types, '"any"', 'text, jsonb, timestamptz, numeric');
			f.parameters := (SELECT string_agg('$' || n, ', ') FROM generate_series(1, f.pronargs + 3) n);
			EXECUTE format('CREATE FUNCTION counted.%I(%s) RETURNS text LANGUAGE sql AS %L', f.proname, f.types, format('SELECT public.%I(%s)::text', f.proname, f.parameters));
		ELSIF f.proretset THEN
			EXECUTE format('CREATE FUNCTION counted.%I(%s) RETURNS bigint LANGUAGE sql AS %L', f.proname, f.types, format('SELECT count(*) FROM public.%I(%s)', f.proname, f.parameters));
		END IF;
	END LOOP;
END $$;
CREATE VIEW w.feed AS SELECT * FROM sync_state_changes();
CREATE VIEW w.plan AS SELECT * FROM sync_state_plan();
CREATE VIEW w.difference AS SELECT * FROM sync_source_diff3('both');
CREATE VIEW w.interrupted AS SELECT * FROM sync_state_detect_interrupted() AS type_key;
"""


class Log:
    """The server's log from now on, entry by entry."""

    ENTRY = re.compile(r"^\d{4}-\d\d-\d\d .*? \[(\d+)\] (?:\S+@(\S+) )?([A-Z]+):  (.*)$")

    def __init__(self):
        files = glob.glob(os.path.join(os.path.dirname(os.environ["PGSYSCONFDIR"]), "log", "*.log"))
        if len(files) != 1:
            raise SystemExit("smith.py: no log of the server, or more than one: %s" % files)
        self.path, self.offset = files[0], os.path.getsize(files[0])

    def entries(self):
        """Dicts of what was said of one event: ERROR (with its SQLSTATE), LOCATION, CONTEXT, STATEMENT ..."""
        entry = None
        last = None
        with open(self.path, encoding="utf-8", errors="replace") as file:
            file.seek(self.offset)
            for line in file:
                match = self.ENTRY.match(line.rstrip("\n"))
                if match is None:
                    if entry is not None:
                        entry[last] += "\n" + line.strip()
                    continue
                pid, database, severity, message = match.groups()
                if severity in ("ERROR", "FATAL", "PANIC", "LOG", "WARNING", "NOTICE"):
                    if entry is not None:
                        yield entry
                    entry = {"severity": severity, "pid": pid, "database": database, "message": message}
                    last = "message"
                elif entry is not None:
                    entry[severity], last = message, severity
        if entry is not None:
            yield entry


class Writer(threading.Thread):
    def __init__(self, world, seed):
        super().__init__(daemon=True)
        self.world, self.random = world, random.Random(seed)
        self.connection = world.connect()
        self.connection.autocommit = True
        self.done = threading.Event()
        self.states = collections.Counter()

    def run(self):
        while not self.done.is_set():
            try:
                self.connection.cursor().execute(self.statement())
                self.states["ok"] += 1
            except psycopg2.Error as error:
                self.states[error.pgcode or "connection lost"] += 1
                if self.connection.closed:
                    time.sleep(1)
                    self.connection = self.world.connect()
                    self.connection.autocommit = True


class Caller(Writer):
    def __init__(self, world, seed):
        super().__init__(world, seed)
        self.makers = bad_input.Makers(world)
        self.functions = [f for f in bad_input.functions_of(world)
                          if f.result != "trigger" and not any(a.type == "internal" for a in f.arguments)]

    def statement(self):
        function = self.random.choice(self.functions)
        given = [self.makers.good(a, function) for a in function.arguments]
        for position, argument in enumerate(function.arguments):
            if self.random.random() < 0.3:
                given[position] = self.makers.make(argument, self.random.choice(self.makers.kinds(argument, function)), self.random)
        return function.call(given)


class ContentWriter(Writer):
    def statement(self):
        pick = self.random
        table = pick.choice(["w.tracked", "w.tracked", "w.rows", "w.copy"])
        n = pick.randrange(1000)
        return pick.choice([
            "INSERT INTO %s SELECT n, 'x' || n FROM generate_series(%d, %d) n ON CONFLICT DO NOTHING" % (table, n, n + 20),
            "UPDATE %s SET body = body || 'y' WHERE id %% 10 = %d" % (table, n % 10), "UPDATE %s SET body = left(body, 10)" % table,
            "DELETE FROM %s WHERE id %% 7 = %d" % (table, n % 7), "DELETE FROM %s WHERE id = %d" % (table, n),
            "SELECT sync_state_observe('tracked')", "SELECT sync_source_verify('tracked')", "SELECT sync_state_prune('1 hour')"])


class Judge:
    """Whose an internal error is."""

    def __init__(self, world):
        self.connection = psycopg2.connect(dbname=world.name, options="-c statement_timeout=60s")
        self.connection.autocommit = True
        self.backtraces = {}

    def is_ours(self, entry):
        function, file = re.match(r"(\S+), (?:.*/)?(\S+):\d+", entry.get("LOCATION", "?, ?:0")).groups()
        if file in OURS:
            return True
        if not re.search(r"syncstate|sync_|counted\.|w\.", entry.get("STATEMENT", "") + entry.get("CONTEXT", "")):
            return False
        return self.stack_has_us(function, entry)

    def stack_has_us(self, function, entry):
        log = Log()
        cursor = self.connection.cursor()
        cursor.execute("SET backtrace_functions = %s", (function,))
        # So that it is planned and run as it was.
        cursor.execute("SET ROLE %s; BEGIN" % ROLE)
        try:
            cursor.execute(entry.get("STATEMENT", ""))
        except psycopg2.Error:
            pass
        cursor.execute("ROLLBACK; RESET ROLE")
        for again in log.entries():
            if again["message"] == entry["message"] and "BACKTRACE" in again:
                return "syncstate.so" in again["BACKTRACE"]
        return True


def sqlsmith(world, queries, seed):
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.run(["sqlsmith", "--target=dbname=%s user=%s" % (world.name, ROLE), "--max-queries=%d" % queries, "--seed=%d" % seed,
                                  "--exclude-catalog", "--verbose"], stdout=output, stderr=subprocess.STDOUT, check=False)
        output.seek(0)
        said = output.read()
    done = re.findall(r"^queries: (\d+)", said, re.M)
    return process.returncode, int(done[-1]) if done else 0, said


def prepare():
    world = bad_input.World("smith", "UTF8")
    world.execute(SEEN)
    world.execute("""
        DROP ROLE IF EXISTS {role};
        CREATE ROLE {role} LOGIN PASSWORD '{password}';
        GRANT USAGE ON SCHEMA syncstate, w, shadow, counted TO {role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA syncstate, w TO {role};
        GRANT SELECT ON ALL TABLES IN SCHEMA shadow TO {role};
        REVOKE ALL ON w.far, w.hand_far FROM {role};
        ALTER ROLE {role} SET search_path = shadow, pg_catalog, public;
        ALTER DATABASE {database} SET log_error_verbosity = verbose;
        ALTER DATABASE {database} SET track_functions = 'all';
        """.format(role=ROLE, password=os.environ.get("PGPASSWORD", ""), database=world.name))
    return world


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--queries", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10 ** 9)
    start = time.monotonic()
    world = prepare()
    log = Log()
    writers = [Caller(world, seed), ContentWriter(world, seed + 1)]
    for writer in writers:
        writer.start()
    status, queries, said = sqlsmith(world, arguments.queries, seed)
    for writer in writers:
        writer.done.set()
    for writer in writers:
        writer.join(60)

    faults = []
    states = collections.Counter()
    others = collections.Counter()
    judge = Judge(world)
    for entry in list(log.entries()):
        if re.search(r"terminated by signal|PANIC|all server processes terminated|database system was (not properly|interrupted)", entry["message"]) \
                or entry["severity"] == "PANIC":
            faults.append("%s (%s)" % (entry["message"][:200], entry.get("DETAIL", "")[:500]))
        if entry["severity"] not in ("ERROR", "FATAL") or entry["database"] != world.name:
            continue
        state = entry["message"][:5]
        states[state] += 1
        if state.startswith("XX"):
            where = "%s at %s" % (entry["message"].split("\n", maxsplit=1)[0], entry.get("LOCATION"))
            others[where] += 1
            if judge.is_ours(entry):
                faults.append("%s\n%s\n%s" % (where, entry.get("CONTEXT", "")[:500], entry.get("STATEMENT", "")[:3000]))
    if world.one("SELECT pg_postmaster_start_time()") != world.started:
        faults.append("the server was restarted")
    if status != 0 or queries < arguments.queries:
        faults.append("sqlsmith ended with %d after %d queries: %s" % (status, queries, said[-500:]))
    # Statistics arrive a moment later.
    calls = world.execute("""
        SELECT count(*), coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE schemaname IN ('public', 'syncstate')""").fetchone()

    for fault in faults[:20]:
        print("seed %d: %s" % (seed, fault), flush=True)
    for where, n in others.most_common():
        print("internal error, %d times: %s" % (n, where))
    print("%d queries of sqlsmith; %d calls of %d functions of ours; writers: %s; errors in the log: %s" % (
        queries, calls[1], calls[0], "; ".join("%d statements, %d ok" % (sum(w.states.values()), w.states["ok"]) for w in writers),
        ", ".join("%s %d" % pair for pair in states.most_common(12))))
    print("seed %d, %.1f s" % (seed, time.monotonic() - start))
    print("rounds: %d passed, %d failed" % (max(queries - len(faults), 0), len(faults)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
