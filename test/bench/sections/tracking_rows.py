"""The cost of keeping a table's digest by triggers, for whoever changes single rows: UPDATE of one row
by its primary key, each in a transaction of its own and many in one (plpgsql loops, with and without
COMMIT, so that no client is part of it), against the same table without and against one with a row
trigger that finds nothing to do; and 16 clients (pgbench, prepared) that wait for the disk at each
commit.  The differences are small, so there are many rounds, and each is short."""

import random

from sections.digest import DOCUMENTS
from sections.tracking import IDLE_TRIGGER, check


def run(bench):
    rows = bench.size(1_000_000)
    session = bench.session()
    session.run("BEGIN;" + DOCUMENTS.format(table="source", rows=rows) + "COMMIT")
    tables = ("plain", "idle", "tracked")
    for table in tables:
        session.run(f"DROP TABLE IF EXISTS {table};"
                    f"CREATE TABLE {table} (LIKE source, PRIMARY KEY (id)) WITH (fillfactor = 80);"
                    f"INSERT INTO {table} SELECT * FROM source")
        session.vacuum(table)
    session.run(IDLE_TRIGGER)
    session.run("SELECT sync_source_attach('tracked', 'tracked'); SELECT sync_source_track('tracked')")
    statement = "UPDATE {} SET public = NOT public WHERE id = "
    loop = "DO $$ BEGIN FOR i IN 1..{} LOOP " + statement + "1 + (i * 7919::bigint + {}) % {}; {} END LOOP; END $$"
    updates = bench.size(500)

    def update(table, commit):
        first = random.randrange(rows)
        return session.cost(loop.format(updates, table, first, rows, commit), per=updates)

    for what, commit in (("a transaction each", "COMMIT;"), ("many in a transaction", "")):
        costs = bench.compare({table: lambda table=table, commit=commit: update(table, commit) for table in tables},
                              rounds=301)
        bench.added(f"one-row UPDATE, {what}: CPU added", costs, "tracked", "plain", target="≤ 2.0")
        bench.added(f"one-row UPDATE, {what}: CPU added by an idle trigger", costs, "idle", "plain")
    script = f"\\set id random(1, {rows})\n" + statement + ":id;\n"
    with bench.server(fsync="on"):
        costs = bench.compare({
            table: lambda table=table: bench.pgbench(script.format(table), seconds=3, clients=16,
                                                     synchronous_commit="on")
            for table in ("plain", "tracked")}, rounds=25)
    bench.ratio("16 clients, synchronous commit: transactions/s, tracked ÷ untracked", costs,
                "tracked", "plain", "≥ 0.94", by="rate")
    check(session)
