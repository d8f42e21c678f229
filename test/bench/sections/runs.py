"""Cycles of a worker, twelve transactions each: begin, ten checkpoints, mark_synced; against a lease
table by hand (SELECT … FOR UPDATE and UPDATE in a transaction to begin, UPDATE … WHERE run_id to renew
and to finish; no history of runs, no conflicts: it does less), with the same columns, indexes and a
plpgsql touch trigger. Each of 1, 2, 8 and 32 clients on a key of its own; then all on one key, where
who finds it held tries again after 1 ms. pgbench; the commit does not wait for the disk."""

STEP = '{"step": 100, "total": 1000}'
CHECKPOINTS = 10

OURS_BEGIN = "SELECT run_id FROM sync_state_begin(:key) \\gset\n"
OURS_TRY = """WITH run AS MATERIALIZED (SELECT run_id FROM sync_state_try_begin(:key))
SELECT count(*) AS won, max(run_id::text) AS run_id FROM run \\gset
"""
OURS_WORK = ("SELECT sync_state_checkpoint(:key, :run_id, :step);\n" * CHECKPOINTS
             + "SELECT * FROM sync_state_mark_synced(:key, :hash, :hash, :run_id);\n")

THEIRS_LOOK = """BEGIN;
SELECT (NOT coalesce(sync_status = 'syncing' AND lease_expires_at > clock_timestamp(), false))::int AS won
FROM byhand.sync_state WHERE type_key = :key FOR UPDATE \\gset
"""
THEIRS_TAKE = """UPDATE byhand.sync_state
SET sync_status = 'syncing', run_id = gen_random_uuid(), run_number = run_number + 1,
    lease_expires_at = clock_timestamp() + interval '5 minutes'
WHERE type_key = :key RETURNING run_id \\gset
COMMIT;
"""
THEIRS_WORK = ("""UPDATE byhand.sync_state
SET sync_progress = :step, lease_expires_at = clock_timestamp() + interval '5 minutes'
WHERE type_key = :key AND run_id = :run_id RETURNING lease_expires_at;
""" * CHECKPOINTS + """UPDATE byhand.sync_state
SET local_hash = :hash, remote_hash = :hash, last_synced_hash = :hash, last_synced_remote_hash = :hash,
    last_sync_at = now(), sync_status = 'in_sync', conflict_status = 'none', sync_progress = NULL,
    run_id = NULL, lease_expires_at = NULL
WHERE type_key = :key AND run_id = :run_id RETURNING *;
""")
ON_KEYS = {"ours": OURS_BEGIN + OURS_WORK, "theirs": THEIRS_LOOK + THEIRS_TAKE + THEIRS_WORK}
ON_ONE = {"ours": OURS_TRY + "\\if :won\n" + OURS_WORK + "\\else\n\\sleep 1 ms\n\\endif\n",
          "theirs": THEIRS_LOOK + "\\if :won\n" + THEIRS_TAKE + THEIRS_WORK
                    + "\\else\nCOMMIT;\n\\sleep 1 ms\n\\endif\n"}
TABLE = {"ours": "syncstate.sync_state", "theirs": "byhand.sync_state"}


def run(bench):
    session = bench.session()
    bench.load(session, "byhand.sql")

    def prepare():
        """No run in hand, no bloat."""
        session.run("DELETE FROM syncstate.sync_state; DELETE FROM byhand.sync_state")
        for table in TABLE.values():
            session.run(f"INSERT INTO {table} (type_key, local_hash, sync_status)"
                        " SELECT i, 'hash', 'modified' FROM generate_series(0, 31) AS i")
        session.vacuum(*TABLE.values(), "syncstate.sync_run", "syncstate.sync_tombstone")

    def cycles(side, clients, scripts, key):
        # Each backend first has to plan and to read the catalogue.
        return bench.pace(f"\\set key {key}\n" + scripts[side], clients=clients, warm_up=clients / 16, seconds=2,
                          counter=f"SELECT sum(run_number) FROM {TABLE[side]}",
                          variables={"step": STEP, "hash": "hash"})

    for clients in (1, 2, 8, 32):
        costs = bench.compare({side: lambda side=side: cycles(side, clients, ON_KEYS, ":client_id")
                               for side in TABLE}, rounds=3, before=prepare)
        bench.ratio(f"cycles/s, clients on keys of their own: {clients}", costs, "ours", "theirs",
                    "≥ 1.0", by="rate")
    costs = bench.compare({f"{side} {clients}": lambda side=side, clients=clients:
                           cycles(side, clients, ON_ONE, "0")
                           for clients in (2, 32) for side in TABLE}, rounds=3, before=prepare)
    for clients in (2, 32):
        bench.ratio(f"cycles/s, clients on one key: {clients}", costs, f"ours {clients}",
                    f"theirs {clients}", "≥ 1.0", by="rate")
    bench.ratio("on one key, cycles/s of 32 clients ÷ those of 2", costs, "ours 32", "ours 2", "≥ 0.7", by="rate")
    bench.ratio("the same by hand", costs, "theirs 32", "theirs 2", by="rate")
