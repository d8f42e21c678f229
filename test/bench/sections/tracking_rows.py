"""The cost of keeping a table's digest by triggers, for whoever changes single rows: UPDATE of one row
by its primary key, each in a transaction of its own and many in one (plpgsql loops, with and without
COMMIT, so that no client is part of it), against the same table without and against one with a row
trigger that finds nothing to do; and 16 clients (pgbench, prepared) that wait for the disk at each
commit, a tenth of a second for those of the one table and a tenth for those of the other.  The
differences are small, so there are many rounds, and each is short; and three tables take turns at
being tracked and not, for where a table lies in memory matters as much."""

import contextlib
import random

from sections.digest import DOCUMENTS
from sections.tracking import idle, tracked

UPDATE = "UPDATE {} SET public = NOT public WHERE id = "
LOOP = "DO $$ BEGIN FOR i IN 1..{} LOOP " + UPDATE + "1 + (i * 7919::bigint + {}) % {}; {} END LOOP; END $$"
ENDS = {"a transaction each": "COMMIT;", "many in a transaction": ""}


def run(bench):
    rows = bench.size(1_000_000)
    # Who commits writes the WAL, rather than to wake somebody who does: how often
    # that has to be woken depends on how long the transactions take.
    session = bench.session(synchronous_commit="on")
    session.run("BEGIN;" + DOCUMENTS.format(table="source", rows=rows) + "COMMIT")
    tables = ["first", "second", "third"]
    for table in tables:
        session.run(f"CREATE TABLE {table} (LIKE source, PRIMARY KEY (id)) WITH (fillfactor = 80);"
                    f"INSERT INTO {table} SELECT * FROM source")
        session.vacuum(table)

    costs = {what: {"plain": [], "idle": [], "tracked": []} for what in ENDS}
    costs["clients"] = {"plain": [], "tracked": []}
    for _ in range(6):
        tables = tables[1:] + tables[:1]
        with roles(session, tables) as table_of:
            for what, end in ENDS.items():
                collect(costs[what], one_row_updates(bench, session, rows, table_of, end))
            collect(costs["clients"], clients(bench, rows, table_of))
    for what in ENDS:
        bench.added(f"one-row UPDATE, {what}: CPU added", costs[what], "tracked", "plain", target="≤ 2.0")
        bench.added(f"one-row UPDATE, {what}: CPU added by an idle trigger", costs[what], "idle", "plain")
    bench.ratio("16 clients, synchronous commit: transactions/s, tracked ÷ untracked", costs["clients"],
                "tracked", "plain", "≥ 0.94", by="rate")


def collect(costs, more):
    for role, taken in more.items():
        costs[role] += taken


@contextlib.contextmanager
def roles(session, tables):
    """One table as it is, one with a trigger that does nothing, one tracked; what was kept is right."""
    table_of = dict(zip(("plain", "idle", "tracked"), tables))
    with idle(session, table_of["idle"]), tracked(session, table_of["tracked"]):
        yield table_of


def one_row_updates(bench, session, rows, table_of, end):
    updates = bench.size(500)

    def update(table):
        return session.cost(LOOP.format(updates, table, random.randrange(rows), rows, end), per=updates)

    return bench.compare({role: lambda table=table: update(table) for role, table in table_of.items()}, rounds=201)


def clients(bench, rows, table_of):
    script = f"\\set id random(1, {rows})\n" + UPDATE + ":id;\n"
    with bench.server(fsync="on"):
        return bench.take_turns({role: script.format(table_of[role]) for role in ("plain", "tracked")}, rounds=250,
                                clients=16, synchronous_commit="on")
