#!/usr/bin/python3
"""Rows that differ between two large tables: exactly those, however many they are.

    diff.py [--rows N] [--seed N]

Two equal tables of N rows; in each round, 0, 1, 90, N/100 or 2N/5 keys are made
to differ: changed, deleted or new on either side, at random.  sync_source_diff
must tell what two EXCEPTs tell, and sync_source_diff3, with the bases of when all
was equal, on which side it was done.  Once with both tables in one database, and
twice with one of them behind postgres_fdw, which is asked after our side or at the
same time.  In the end a sync is recorded, which must not move the base of any row
that differs.

The databases are made on the server of PGHOST, PGPORT ...; shows how long
everything took.  Ends with "rounds: N passed, N failed"; exits with 0 if all
passed.
"""

import argparse
import random
import sys
import time

import psycopg2

HERE = "syncstate_model_diff"
FAR = "syncstate_model_diff_far"

TABLE = """
CREATE TABLE %s (id bigint PRIMARY KEY, title text NOT NULL, body text, doc jsonb, at timestamptz, flag boolean)
"""
FOREIGN_TABLE = """
CREATE FOREIGN TABLE %s (id bigint, title text, body text, doc jsonb, at timestamptz, flag boolean)
    SERVER far OPTIONS (table_name 'other'%s)
"""
ROWS = """
SELECT i, 'title ' || i, repeat(md5(i::text), 3), jsonb_build_object('n', i, 'tags', ARRAY['a', 'b']),
       '2001-02-03 UTC'::timestamptz + i * interval '1 s', i %% 3 = 0
  FROM generate_series(1, %d) i
"""
# k of an edit: what is done where.
EDITS = {
    "article": """
        UPDATE article a SET title = 'changed here' FROM edit e WHERE a.id = e.id AND e.k IN (0, 6);
        DELETE FROM article a USING edit e WHERE a.id = e.id AND e.k = 1;
        INSERT INTO article (id, title) SELECT id + 100000000, 'new here' FROM edit WHERE k = 2""",
    "other": """
        UPDATE other a SET body = NULL FROM edit e WHERE a.id = e.id AND e.k IN (3, 6);
        DELETE FROM other a USING edit e WHERE a.id = e.id AND e.k = 4;
        INSERT INTO other (id, title) SELECT id + 200000000, 'new there' FROM edit WHERE k = 5""",
}
PLANNED = """
SELECT CASE k WHEN 2 THEN id + 100000000 WHEN 5 THEN id + 200000000 ELSE id END,
       (ARRAY['PUSH edit', 'PUSH delete', 'PUSH create', 'PULL edit', 'PULL delete', 'PULL create', 'CONFLICT edit/edit'])[k + 1]
  FROM edit
"""
# The way without the extension.
EXCEPT = """
WITH ours AS (SELECT * FROM article EXCEPT SELECT * FROM {remote}),
     theirs AS (SELECT * FROM {remote} EXCEPT SELECT * FROM article)
SELECT coalesce(o.id, t.id), CASE WHEN t.id IS NULL THEN 'local_only' WHEN o.id IS NULL THEN 'remote_only' ELSE 'different' END
  FROM ours o FULL JOIN theirs t ON o.id = t.id
"""
# Keys, and where their remote side is.
SOURCES = {"local": "other", "postgres_fdw": "far_other", "async_capable": "far_other_async"}
DIFF = "SELECT (key->>'id')::bigint, difference FROM sync_source_diff(%s)"
DIFF3 = "SELECT (key->>'id')::bigint, action || ' ' || detail FROM sync_source_diff3(%s)"


def connect(dbname):
    connection = psycopg2.connect(dbname=dbname, options="-c client_min_messages=warning")
    connection.autocommit = True
    return connection


class Model:
    """Both databases, and what was counted."""

    def __init__(self, rows):
        self.rows = rows
        self.passed = self.failed = 0
        maintenance = connect("postgres")
        for name in (HERE, FAR):
            maintenance.cursor().execute("DROP DATABASE IF EXISTS %s" % name)
            maintenance.cursor().execute("CREATE DATABASE %s" % name)
        self.here, self.far = connect(HERE), connect(FAR)
        for connection in (self.here, self.far):
            self.run(connection, "CREATE EXTENSION syncstate; CREATE TABLE edit (id bigint, k int)")
            self.run(connection, "SET work_mem = '256MB'")
        for table in ("article", "other"):
            self.run(self.here, TABLE % table)
        self.run(self.far, TABLE % "other")
        info = self.here.info
        self.run(self.here, """
            CREATE EXTENSION postgres_fdw;
            CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw
                OPTIONS (host %s, port %s, dbname %s, extensions 'syncstate', fetch_size '10000');
            CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user %s, password %s);
            """, (info.host, str(info.port), FAR, info.user, info.password or ""))
        for table, options in (("far_other", ""), ("far_other_async", ", async_capable 'true'")):
            self.run(self.here, FOREIGN_TABLE % (table, options))
        self.fill()
        for key, remote in SOURCES.items():
            self.run(self.here, "SELECT sync_source_attach(%s, 'article', %s, row_base => true)", (key, remote))

    @staticmethod
    def run(connection, sql, args=None):
        with connection.cursor() as cursor:
            cursor.execute(sql, args)
            return set(cursor.fetchall()) if cursor.description else None

    def timed(self, sql, args=None):
        start = time.monotonic()
        result = self.run(self.here, sql, args)
        return result, time.monotonic() - start

    def fill(self):
        for connection, tables in ((self.here, ("article", "other")), (self.far, ("other",))):
            for table in tables:
                self.run(connection, "TRUNCATE %s" % table)
                self.run(connection, "INSERT INTO %s %s" % (table, ROWS % self.rows))
                self.run(connection, "VACUUM ANALYZE %s" % table)

    def edit(self, n, rng):
        edits = [(i, rng.randrange(7)) for i in rng.sample(range(1, self.rows + 1), n)]
        for connection, tables in ((self.here, ("article", "other")), (self.far, ("other",))):
            self.run(connection, "TRUNCATE edit")
            for start in range(0, n, 10000):
                part = edits[start:start + 10000]
                self.run(connection, "INSERT INTO edit SELECT * FROM unnest(%s::bigint[], %s::int[])",
                         ([i for i, _ in part], [k for _, k in part]))
            for table in tables:
                self.run(connection, EDITS[table])

    def check(self, what, ok, detail):
        print("%-6s %s: %s" % ("ok" if ok else "FAILED", what, detail), flush=True)
        if ok:
            self.passed += 1
        else:
            self.failed += 1

    def round(self, n):
        planned = self.run(self.here, PLANNED)
        for key, remote in SOURCES.items():
            if key != "async_capable":
                so, except_time = self.timed(EXCEPT.format(remote=remote))
            told, diff_time = self.timed(DIFF, (key,))
            decided, diff3_time = self.timed(DIFF3, (key,))
            self.check("%s: %d of %d keys" % (key, n, self.rows),
                       told == so and len(so) == n and decided == planned,
                       "%d told, %d so, %d decided; diff %.2f s, diff3 %.2f s, EXCEPT %.2f s"
                       % (len(told), len(so), len(decided), diff_time, diff3_time, except_time))

    def mark(self, n):
        """Records a sync; what is decided about rows that differ stays."""
        for key in SOURCES:
            before = self.run(self.here, DIFF3, (key,))
            _, elapsed = self.timed("SELECT 1 FROM sync_state_mark_synced(%s, 'l', 'r')", (key,))
            after = self.run(self.here, DIFF3, (key,))
            bases = self.run(self.here, "SELECT count(*) FROM syncstate.sync_row_base WHERE type_key = %s", (key,))
            self.check("%s: marked with %d keys that differ" % (key, n), n == 0 or before == after,
                       "%d decided, %d bases; mark %.2f s" % (len(after), bases.pop()[0], elapsed))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = parser.parse_args()
    print("seed %d" % args.seed)
    rng = random.Random(args.seed)

    model = Model(args.rows)
    model.mark(0)
    model.mark(0)
    for n in (0, 1, 90, args.rows // 100, args.rows * 2 // 5):
        model.edit(n, rng)
        model.round(n)
        if n < args.rows * 2 // 5:
            model.fill()
    model.mark(n)
    print("rounds: %d passed, %d failed" % (model.passed, model.failed))
    return 0 if model.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
