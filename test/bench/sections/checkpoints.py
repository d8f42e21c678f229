"""Checkpoints on 1,000 keys in random order, a transaction each, with autovacuum on: how many were
heap-only updates, and how much larger table and indexes are at the end than after the first tenth.
Nothing is compared. CHECKPOINTS=… makes it another number of them. Constant means within 2 %."""

RUN = "11111111-1111-1111-1111-111111111111"
SCRIPT = """\\set k random(1, 1000)
\\set step random(1, 1000000)
SELECT sync_state_checkpoint(:k, :run, jsonb_build_object('step', :step::int, 'total', 1000000));
"""


def run(bench):
    session = bench.session()
    clients, parts = 2, 10
    session.run("INSERT INTO syncstate.sync_state (type_key, local_hash, sync_status, run_id, lease_expires_at)"
                " SELECT i, md5(i::text), 'syncing', %s, now() + interval '1 day'"
                " FROM generate_series(1, 1000) AS i", RUN)
    session.vacuum("syncstate.sync_state")
    transactions = max(100, bench.size(bench.options.checkpoints) // clients // parts)
    table, index, rates = [], [], []
    with bench.server(autovacuum="on", autovacuum_naptime="10s"):
        for _ in range(parts):
            cost = bench.pgbench(SCRIPT, transactions=transactions, clients=clients, variables={"run": RUN})
            rates.append(cost.rate)
            for sizes, function in ((table, "pg_table_size"), (index, "pg_indexes_size")):
                sizes.append(session.value(f"SELECT {function}('syncstate.sync_state')"))
    hot = session.value("SELECT 100.0 * n_tup_hot_upd / n_tup_upd FROM pg_stat_user_tables"
                        " WHERE relid = 'syncstate.sync_state'::regclass")
    bench.figure(f"{transactions * clients * parts:,} checkpoints: heap-only", [float(hot)], "%", "≥ 99")
    bench.figure("table at the end ÷ after the first tenth", [table[-1] / table[0]], "", "≤ 1.02")
    bench.figure("indexes at the end ÷ after the first tenth", [index[-1] / index[0]], "", "≤ 1.02")
    bench.figure("checkpoints a second, two clients", rates, "/s", by="rate")
    bench.note("Sizes in kB after each tenth: " + ", ".join(
        f"{a // 1024} + {b // 1024}" for a, b in zip(table, index)) + ".")
