"""One `sync_state_update` against what Prisma (7, with its adapter for node-postgres) sends for
`upsert`, one INSERT … ON CONFLICT … RETURNING, and for the common find-then-update in a transaction.
As that adapter does it, no statement is prepared by name (pgbench -M extended). Once on a table of the
model's own (ten columns, the same two indexes, no trigger, no change feed: it does less), once on the
model mapped onto syncstate.sync_state. One client, 1,000 keys; the commit does not wait for the disk."""

COLUMNS = ["type_key", "local_hash", "remote_hash", "last_synced_hash", "last_sync_at", "sync_status",
           "conflict_status", "sync_progress", "created_at", "updated_at"]
MODEL = """
    CREATE TABLE model (type_key text PRIMARY KEY, local_hash text, remote_hash text, last_synced_hash text,
        last_sync_at timestamptz, sync_status text, conflict_status text, sync_progress jsonb,
        created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at timestamptz NOT NULL);
    CREATE INDEX ON model (sync_status);
    CREATE INDEX ON model (last_sync_at);"""
VARIABLES = {"a": "hash a", "b": "hash b", "status": "modified", "now": "2026-01-01 00:00:00.000+00:00",
             "json_a": '{"local_hash": "hash a", "sync_status": "modified"}',
             "json_b": '{"local_hash": "hash b", "sync_status": "modified"}', "one": 1, "zero": 0}


def statements(schema, table):
    name = f'"{schema}"."{table}"'
    columns = ", ".join(f'{name}."{column}"' for column in COLUMNS)
    upsert = (f'INSERT INTO {name} ("type_key","local_hash","sync_status","created_at","updated_at")'
              ' VALUES (:k,:{0},:status,:now,:now) ON CONFLICT ("type_key") DO UPDATE'
              ' SET "local_hash" = :{0}, "sync_status" = :status, "updated_at" = :now'
              f' WHERE ({name}."type_key" = :k AND 1=1) RETURNING {columns};\n')
    find = f'SELECT {columns} FROM {name} WHERE ({name}."type_key" = :k AND 1=1) LIMIT :one OFFSET :zero;\n'
    update = (f'UPDATE {name} SET "local_hash" = :{{0}}, "sync_status" = :status, "updated_at" = :now'
              f' WHERE ({name}."type_key" = :k AND 1=1) RETURNING {columns};\n')
    return upsert, "BEGIN;\n" + find + update + "COMMIT;\n"


def run(bench):
    session = bench.session()
    session.run(MODEL)
    keys, pairs = 1000, bench.size(4_000)
    ours = "SELECT * FROM sync_state_update(:k, :json_{0});\n"
    session.run("INSERT INTO syncstate.sync_state (type_key, local_hash, sync_status)"
                f" SELECT i, 'hash', 'modified' FROM generate_series(1, {keys}) AS i")
    session.run("INSERT INTO model (type_key, local_hash, sync_status, updated_at)"
                f" SELECT i, 'hash', 'modified', now() FROM generate_series(1, {keys}) AS i")

    def call(statement):
        script = f"\\set k random(1, {keys})\n" + statement.format("a") + statement.format("b")
        return bench.pgbench(script, transactions=pairs, statements=2, mode="extended", variables=VARIABLES)

    own, mapped = statements("public", "model"), statements("syncstate", "sync_state")
    costs = bench.compare({
        side: lambda statement=statement: call(statement)
        for side, statement in zip(("ours", "own upsert", "own find", "mapped upsert", "mapped find"),
                                   (ours, *own, *mapped))
    }, rounds=9, before=lambda: session.vacuum("syncstate.sync_state", "model"))
    for where, text in (("mapped", "on sync_state"), ("own", "on a plain table")):
        bench.ratio(f"update ÷ upsert {text}", costs, "ours", f"{where} upsert", "≤ 1.0")
        bench.faster(f"update, faster than find-then-update {text}", costs, "ours", f"{where} find",
                     "≥ 2.5", by="wall")
