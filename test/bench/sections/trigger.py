"""CPU that the touch trigger adds to each row of an UPDATE, against what `moddatetime` of PostgreSQL's
contrib adds, which does one thing of many: set updated_at. Tables with the columns of sync_state and
no index, so that it is the triggers that are compared: changed_xid is indexed in sync_state."""

TRIGGERS = {
    "none": None,
    "touch": "CREATE TRIGGER t BEFORE INSERT OR UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION syncstate.touch()",
    "moddatetime": "CREATE TRIGGER t BEFORE UPDATE ON {} FOR EACH ROW EXECUTE FUNCTION moddatetime(updated_at)",
}


def run(bench):
    session = bench.session()
    rows = bench.size(200_000)
    session.run("CREATE EXTENSION moddatetime")
    tables = [f"with_{name}" for name in TRIGGERS]
    for table, trigger in zip(tables, TRIGGERS.values()):
        session.run(f"CREATE TABLE {table} (LIKE syncstate.sync_state INCLUDING DEFAULTS) WITH (fillfactor = 50);"
                    f"INSERT INTO {table} (type_key, local_hash, sync_status, changed_xid)"
                    f" SELECT 'key-' || i, md5(i::text), 'modified', 1 FROM generate_series(1, {rows}) AS i")
        if trigger:
            session.run(trigger.format(table))
    number = 0

    def update(table, assignment):
        nonlocal number
        number += 1
        return session.cost(f"UPDATE {table} SET {assignment.format(number)}", per=rows)

    for what, assignment in (("a change of a hash", "local_hash = 'hash {}'"),
                             ("a checkpoint", """sync_progress = '{{"step": {}}}'""")):
        costs = bench.compare({
            name: lambda table=table: update(table, assignment) for name, table in zip(TRIGGERS, tables)
        }, rounds=15, before=lambda: session.vacuum(*tables))
        added = {name: [type(cost)(cost.cpu - none.cpu, cost.wall - none.wall)
                        for cost, none in zip(costs[name], costs["none"])]
                 for name in ("touch", "moddatetime")}
        bench.ratio(f"{what}: CPU added per row ÷ moddatetime", added, "touch", "moddatetime", "≤ 1.0")
