"""`sync_state_detect_interrupted()` with 10 keys syncing without a lease among 10,000, 100,000 and
1,000,000, against a sequential scan. Constant means that it takes no more than 1.3 times as long."""

SCAN = ("SELECT type_key FROM syncstate.sync_state WHERE sync_status = 'syncing'"
        " AND (lease_expires_at IS NULL OR lease_expires_at <= clock_timestamp())")


def run(bench):
    sizes = [bench.size(size) for size in (10_000, 100_000, 1_000_000)]
    sessions = {}
    for size in sizes:
        bench.create_database(f"_{size}")
        session = sessions[size] = bench.session(f"_{size}")
        session.run("INSERT INTO syncstate.sync_state (type_key, local_hash, sync_status)"
                    f" SELECT 'key-' || i, md5(i::text), CASE WHEN i % ({size} / 10) = 1 THEN 'syncing'"
                    f" ELSE 'in_sync' END FROM generate_series(1, {size}) AS i")
        session.vacuum("syncstate.sync_state")
        session.run("PREPARE ours AS SELECT * FROM sync_state_detect_interrupted()")
    scanning = bench.session(f"_{sizes[-1]}", enable_indexscan="off", enable_bitmapscan="off")
    scanning.run("PREPARE theirs AS " + SCAN)

    costs = bench.compare({
        **{size: lambda session=session: session.cost("EXECUTE ours", times=20)
           for size, session in sessions.items()},
        "scan": lambda: scanning.cost("EXECUTE theirs", times=2),
    }, rounds=9)
    bench.figure(f"10 of {sizes[-1]:,} keys: wall time of a call", [cost.wall * 1e3 for cost in costs[sizes[-1]]],
                 "ms", "≤ 1.0", by="wall")
    bench.ratio(f"among {sizes[-1]:,} keys ÷ among {sizes[0]:,}", costs, sizes[-1], sizes[0], "≤ 1.3")
    bench.faster(f"faster than a sequential scan of {sizes[-1]:,}", costs, sizes[-1], "scan")
