"""A table of documents whose digest is kept by triggers against the same table without: INSERT and
UPDATE of all rows in one statement, its commit included. Also with a row trigger that finds nothing
to do, which is the least that an AFTER ROW trigger can cost that goes through the server's queue of
triggers. The session has the library from the beginning, and so ours does not."""

from sections.digest import DOCUMENTS

# Of a function that is not syncstate.track itself, whose triggers need no queue.
IDLE_TRIGGER = ("CREATE OR REPLACE FUNCTION idle() RETURNS trigger LANGUAGE c AS '$libdir/syncstate', 'syncstate_track';"
                "CREATE TRIGGER idle AFTER INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION idle('no source')")


def run(bench):
    rows = bench.size(1_000_000)
    session = bench.session()
    session.run("BEGIN;" + DOCUMENTS.format(table="source", rows=rows) + "COMMIT")
    session.run("CREATE TABLE narrow_source AS SELECT id, id * 7919 AS value FROM source")
    session.vacuum("source", "narrow_source")
    statements(bench, session, rows, ("plain", "idle", "tracked"), "", "source",
               "UPDATE {} SET title = 'Another ' || title", "≤ 1.25", "≤ 1.30")
    statements(bench, session, rows, ("plain", "tracked"), "two bigints: ", "narrow_source",
               "UPDATE {} SET value = value + 1")


def statements(bench, session, rows, tables, prefix, source, update, *targets):
    """One statement for all rows; what it leaves is removed outside of what is measured."""
    for table in tables:
        session.run(f"DROP TABLE IF EXISTS {table};"
                    f"CREATE TABLE {table} (LIKE {source}, PRIMARY KEY (id)) WITH (fillfactor = 50)")
    if "idle" in tables:
        session.run(IDLE_TRIGGER.format("idle"))
    session.run("SELECT sync_source_attach('tracked', 'tracked'); SELECT sync_source_track('tracked')")
    inserts = {table: [] for table in tables}

    def insert_and_update(table):
        session.run(f"TRUNCATE {table}")
        inserts[table].append(session.cost(f"INSERT INTO {table} SELECT * FROM {source}", per=rows))
        session.vacuum(table)
        return session.cost(update.format(table), per=rows)

    updates = bench.compare({table: lambda table=table: insert_and_update(table) for table in tables}, rounds=21)
    inserts = {table: costs[1:] for table, costs in inserts.items()}
    for what, costs, target in zip(("INSERT", "UPDATE"), (inserts, updates), targets or (None, None)):
        bench.ratio(f"{prefix}{what} in one statement, tracked ÷ untracked, per row", costs,
                    "tracked", "plain", target)
        if "idle" in tables:
            bench.ratio(f"{prefix}{what} in one statement, with an idle trigger ÷ untracked", costs, "idle", "plain")
    check(session)
    session.run("SELECT sync_source_untrack('tracked'); SELECT sync_source_detach('tracked')")


def check(session):
    """What was kept is what there is."""
    if not session.value("SELECT sync_source_verify('tracked') ->> 'valid'") == "true":
        raise RuntimeError("the tracked digest is wrong")
