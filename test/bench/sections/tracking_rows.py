"""The cost of keeping a table's digest by triggers, for whoever changes single rows: UPDATE of one row
by its primary key, each in a transaction of its own (prepared, pgbench), and many in one transaction
(a plpgsql loop), against the same table without and against one with a row trigger that finds nothing
to do; and 16 clients that do the former and wait for the disk at each commit."""

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
    script = f"\\set id random(1, {rows})\nUPDATE {{}} SET public = NOT public WHERE id = :id;\n"
    loop = ("DO $$ BEGIN FOR i IN 1..{} LOOP"
            " UPDATE {} SET public = NOT public WHERE id = 1 + (i * 7919::bigint) % {}; END LOOP; END $$")

    # A small difference: many short rounds.
    updates = bench.size(4_000)
    costs = bench.compare({
        table: lambda table=table: bench.pgbench(script.format(table), transactions=updates)
        for table in tables}, rounds=31)
    bench.added("one-row UPDATE, a transaction each: CPU added", costs, "tracked", "plain", target="≤ 2.0")
    bench.added("one-row UPDATE, a transaction each: CPU added by an idle trigger", costs, "idle", "plain")
    updates = bench.size(20_000)
    costs = bench.compare({
        table: lambda table=table: session.cost(loop.format(updates, table, rows), per=updates)
        for table in tables}, rounds=31)
    bench.added("one-row UPDATE, many in a transaction: CPU added", costs, "tracked", "plain", target="≤ 2.0")
    bench.added("one-row UPDATE, many in a transaction: CPU added by an idle trigger", costs, "idle", "plain")
    with bench.server(fsync="on"):
        costs = bench.compare({
            table: lambda table=table: bench.pgbench(script.format(table), seconds=3, clients=16,
                                                     synchronous_commit="on")
            for table in ("plain", "tracked")}, rounds=9)
    bench.ratio("16 clients, synchronous commit: transactions/s, tracked ÷ untracked", costs,
                "tracked", "plain", "≥ 0.94", by="rate")
    check(session)
