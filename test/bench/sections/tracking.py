"""A table of documents whose digest is kept by triggers against the same table without: INSERT and
UPDATE of all rows in one statement, its commit included. Also with a row trigger that finds nothing
to do, which is the least that an AFTER ROW trigger can cost that goes through the server's queue of
triggers. The session has the library from the beginning, and so ours does not. Two tables at a time
take turns at being the one with triggers, and in each round at being first; an UPDATE finds the room
that the one before it left."""

import contextlib

from sections.digest import DOCUMENTS

# Of a function that is not syncstate.track itself, whose triggers need no queue.
IDLE_TRIGGER = ("CREATE OR REPLACE FUNCTION idle() RETURNS trigger LANGUAGE c AS '$libdir/syncstate', 'syncstate_track';"
                "CREATE TRIGGER idle AFTER INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION idle('no source')")
TABLES = ("first", "second")
# How often the tables change places.
TURNS = 2


def run(bench):
    rows = bench.size(1_000_000)
    session = bench.session()
    session.run("BEGIN;" + DOCUMENTS.format(table="source", rows=rows) + "COMMIT")
    session.run("CREATE TABLE narrow_source AS SELECT id, id * 7919 AS value FROM source")
    session.vacuum("source", "narrow_source")
    documents = ("source", "UPDATE {} SET title = 'Another ' || title")
    numbers = ("narrow_source", "UPDATE {} SET value = value + 1")

    costs = statements(bench, session, rows, tracked, *documents, rounds=(2, 6))
    for what, target in (("INSERT", "≤ 1.25"), ("UPDATE", "≤ 1.30")):
        bench.ratio(f"{what} in one statement, tracked ÷ untracked, per row", costs[what], "with", "without", target)
    costs = statements(bench, session, rows, idle, *documents, rounds=(2, 2))
    for what in costs:
        bench.ratio(f"{what} in one statement, with an idle trigger ÷ untracked", costs[what], "with", "without")
    costs = statements(bench, session, rows, tracked, *numbers, rounds=(2, 2))
    for what in costs:
        bench.ratio(f"two bigints: {what} in one statement, tracked ÷ untracked, per row", costs[what], "with", "without")


def statements(bench, session, rows, triggers, source, update, rounds):
    """Costs of one statement for all rows, with triggers and without; rounds of INSERT and of UPDATE for each turn."""
    costs = {what: {"with": [], "without": []} for what in ("INSERT", "UPDATE")}
    for table in TABLES:
        session.run(f"DROP TABLE IF EXISTS {table};"
                    f"CREATE TABLE {table} (LIKE {source}, PRIMARY KEY (id)) WITH (fillfactor = 50)")
    for turn in range(TURNS):
        roles = dict(zip(("with", "without"), TABLES if turn % 2 else reversed(TABLES)))
        with triggers(session, roles["with"]):
            for what, measure, number in zip(costs, (insert, change), rounds):
                taken = bench.compare({role: lambda table=table, measure=measure: measure(session, rows, table, source, update)
                                       for role, table in roles.items()}, rounds=number)
                for role, more in taken.items():
                    costs[what][role] += more
    return costs


def insert(session, rows, table, source, _update):
    session.run(f"TRUNCATE {table}")
    cost = session.cost(f"INSERT INTO {table} SELECT * FROM {source}", per=rows)
    session.run(f"VACUUM {table}")
    return cost


def change(session, rows, table, _source, update):
    cost = session.cost(update.format(table), per=rows)
    session.run(f"VACUUM {table}")
    return cost


@contextlib.contextmanager
def tracked(session, table):
    session.run(f"SELECT sync_source_attach('tracked', '{table}'); SELECT sync_source_track('tracked')")
    yield
    check(session)
    session.run("SELECT sync_source_untrack('tracked'); SELECT sync_source_detach('tracked')")


@contextlib.contextmanager
def idle(session, table):
    session.run(IDLE_TRIGGER.format(table))
    yield
    session.run(f"DROP TRIGGER idle ON {table}")


def check(session):
    """What was kept is what there is."""
    if not session.value("SELECT sync_source_verify('tracked') ->> 'valid'") == "true":
        raise RuntimeError("the tracked digest is wrong")
