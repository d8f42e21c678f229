"""One call per transaction, prepared, over the Unix socket (pgbench, one client), on 1,000 keys:
`sync_state_update`, `mark_synced` and `checkpoint` against the statement that somebody would prepare
instead (`INSERT … ON CONFLICT DO UPDATE … RETURNING *`; for a checkpoint an UPDATE that checks the
run) on a table of the same columns and indexes with a plpgsql touch trigger, and against the same
statement in a plpgsql function. Every call changes the row. The commit does not wait for the disk."""

RUN = "11111111-1111-1111-1111-111111111111"
VARIABLES = {"run": RUN, "a": "hash a", "b": "hash b", "status": "modified",
             "json_a": '{"local_hash": "hash a", "sync_status": "modified"}',
             "json_b": '{"local_hash": "hash b", "sync_status": "modified"}',
             "step_a": '{"step": 100, "total": 1000}', "step_b": '{"step": 200, "total": 1000}'}

UPSERT = """INSERT INTO byhand.sync_state (type_key, local_hash, sync_status) VALUES (:k, :{0}, :status)
ON CONFLICT (type_key) DO UPDATE SET local_hash = EXCLUDED.local_hash, sync_status = EXCLUDED.sync_status
RETURNING *;
"""
MARK = """INSERT INTO byhand.sync_state (type_key, local_hash, remote_hash, last_synced_hash,
    last_synced_remote_hash, last_sync_at, sync_status, conflict_status)
VALUES (:k, :{0}, :{0}, :{0}, :{0}, now(), 'in_sync', 'none')
ON CONFLICT (type_key) DO UPDATE SET local_hash = EXCLUDED.local_hash, remote_hash = EXCLUDED.remote_hash,
    last_synced_hash = EXCLUDED.last_synced_hash, last_synced_remote_hash = EXCLUDED.last_synced_remote_hash,
    last_sync_at = EXCLUDED.last_sync_at, sync_status = EXCLUDED.sync_status,
    conflict_status = EXCLUDED.conflict_status, sync_progress = NULL
RETURNING *;
"""
CHECKPOINT = """UPDATE byhand.sync_state
SET sync_progress = :step_{0}, lease_expires_at = clock_timestamp() + interval '5 minutes'
WHERE type_key = :k AND run_id = :run RETURNING lease_expires_at;
"""

# Ours, the prepared statement, the plpgsql function; each is sent with a and with b.
CALLS = {
    "update": ("SELECT * FROM sync_state_update(:k, :json_{0});\n", UPSERT,
               "SELECT * FROM byhand.upsert(:k, :{0}, :status);\n"),
    "mark_synced": ("SELECT * FROM sync_state_mark_synced(:k, :{0}, :{0});\n", MARK,
                    "SELECT * FROM byhand.mark_synced(:k, :{0}, :{0});\n"),
    "checkpoint": ("SELECT sync_state_checkpoint(:k, :run, :step_{0});\n", CHECKPOINT,
                   "SELECT byhand.checkpoint(:k, :run, :step_{0});\n"),
}


def run(bench):
    session = bench.session()
    bench.load(session, "byhand.sql")
    keys, pairs = 1000, bench.size(5_000)
    for name, statements in CALLS.items():
        # A run is in hand only where it makes checkpoints.
        status, run_id = ("syncing", RUN) if name == "checkpoint" else ("modified", None)
        for table in ("syncstate.sync_state", "byhand.sync_state"):
            session.run(f"DELETE FROM {table}")
            session.run(f"INSERT INTO {table} (type_key, local_hash, sync_status, run_id, lease_expires_at)"
                        " SELECT i, 'hash', %s, %s, CASE WHEN %s IS NOT NULL THEN now() + interval '1 day' END"
                        " FROM generate_series(1, %s) AS i", status, run_id, run_id, keys)

        def call(statement):
            script = f"\\set k random(1, {keys})\n" + statement.format("a") + statement.format("b")
            return bench.pgbench(script, transactions=pairs, statements=2, variables=VARIABLES)

        costs = bench.compare({
            side: lambda statement=statement: call(statement)
            for side, statement in zip(("ours", "prepared", "plpgsql"), statements)
        }, rounds=9, before=lambda: session.vacuum("syncstate.sync_state", "byhand.sync_state"))
        bench.ratio(f"{name} ÷ prepared statement", costs, "ours", "prepared", "≤ 1.0")
        bench.ratio(f"{name} ÷ plpgsql function", costs, "ours", "plpgsql", "≤ 0.97")
