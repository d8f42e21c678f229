"""A table of documents whose digest is kept by triggers against the same table without: INSERT and
UPDATE of all rows in one statement, its commit included, also with a row trigger that finds nothing
to do, which is the least that an AFTER ROW trigger can cost; UPDATE of one row by its primary key, each
in a transaction of its own (prepared, pgbench), and many in one transaction (a plpgsql loop); and 16
clients that do the former and wait for the disk at each commit."""

from sections.digest import DOCUMENTS

IDLE_TRIGGER = ("CREATE TRIGGER idle AFTER INSERT OR UPDATE ON idle FOR EACH ROW"
                " EXECUTE FUNCTION syncstate.track('no source')")


def run(bench):
    rows = bench.size(1_000_000)
    session = bench.session()
    session.run("BEGIN;" + DOCUMENTS.format(table="source", rows=rows) + "COMMIT")
    session.run("CREATE TABLE narrow_source AS SELECT id, id * 7919 AS value FROM source")
    session.vacuum("source", "narrow_source")
    statements(bench, session, rows, "", "source", "UPDATE {} SET title = 'Another ' || title",
               "≤ 1.25", "≤ 1.30")
    statements(bench, session, rows, "two bigints: ", "narrow_source", "UPDATE {} SET value = value + 1")

    single_rows(bench, session, rows)


def statements(bench, session, rows, prefix, source, update, *targets):
    """One statement for all rows; what it leaves is removed outside of what is measured."""
    tables = ("plain", "idle", "tracked")
    for table in tables:
        session.run(f"DROP TABLE IF EXISTS {table};"
                    f"CREATE TABLE {table} (LIKE {source}, PRIMARY KEY (id)) WITH (fillfactor = 50)")
    session.run(IDLE_TRIGGER)
    session.run("SELECT sync_source_attach('tracked', 'tracked'); SELECT sync_source_track('tracked')")
    inserts = {table: [] for table in tables}

    def insert_and_update(table):
        session.run(f"TRUNCATE {table}")
        inserts[table].append(session.cost(f"INSERT INTO {table} SELECT * FROM {source}", per=rows))
        session.vacuum(table)
        return session.cost(update.format(table), per=rows)

    updates = bench.compare({table: lambda table=table: insert_and_update(table) for table in tables})
    inserts = {table: costs[1:] for table, costs in inserts.items()}
    for what, costs, target in zip(("INSERT", "UPDATE"), (inserts, updates), targets or (None, None)):
        bench.ratio(f"{prefix}{what} in one statement, tracked ÷ untracked, per row", costs,
                    "tracked", "plain", target)
        bench.ratio(f"{prefix}{what} in one statement, with an idle trigger ÷ untracked", costs, "idle", "plain")
    check(session)
    session.run("SELECT sync_source_untrack('tracked'); SELECT sync_source_detach('tracked')")


def single_rows(bench, session, rows):
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


def check(session):
    """What was kept is what there is."""
    if not session.value("SELECT sync_source_verify('tracked') ->> 'valid'") == "true":
        raise RuntimeError("the tracked digest is wrong")
