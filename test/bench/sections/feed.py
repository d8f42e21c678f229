"""`sync_state_changes` from a cursor, 100 changes among 10,000, 100,000 and 1,000,000 keys, against
`updated_at > …` with a btree index, which misses what commits late, knows of no deletions, and takes
HOT away from every update. Constant means that it takes no more than 1.3 times as long."""

THEIRS = ("SELECT type_key, false, sync_status, conflict_status, local_hash, remote_hash, last_sync_at,"
          " updated_at FROM byhand.sync_state WHERE updated_at > $1 ORDER BY updated_at LIMIT 1000")


def run(bench):
    sizes = [bench.size(size) for size in (10_000, 100_000, 1_000_000)]
    contestants = {}
    for size in sizes:
        bench.create_database(f"_{size}")
        session = bench.session(f"_{size}")
        bench.load(session, "byhand.sql")
        session.run("CREATE INDEX ON byhand.sync_state (updated_at)")
        tables = ("syncstate.sync_state", "byhand.sync_state")
        for table in tables:
            session.run(f"INSERT INTO {table} (type_key, local_hash, sync_status)"
                        f" SELECT 'key-' || i, md5(i::text), 'in_sync' FROM generate_series(1, {size}) AS i")
        session.vacuum(*tables)
        cursor, since = session.rows("SELECT sync_state_cursor(), clock_timestamp()")[0]
        for table in tables:
            session.run(f"UPDATE {table} SET local_hash = 'changed' WHERE type_key IN"
                        f" (SELECT 'key-' || i * ({size} / 100) FROM generate_series(1, 100) AS i)")
        session.run("PREPARE ours(text) AS SELECT * FROM sync_state_changes($1, 1000)")
        session.run("PREPARE theirs(timestamptz) AS " + THEIRS)
        for side, position in (("ours", cursor), ("theirs", since)):
            found = len(session.rows(f"EXECUTE {side}(%s)", position))
            if found != 100:
                raise RuntimeError(f"{side} found {found} changes among {size}")
            contestants[side, size] = lambda session=session, side=side, position=position: session.cost(
                f"EXECUTE {side}(%s)", position, times=100)

    costs = bench.compare(contestants, rounds=9)
    for size in sizes:
        bench.ratio(f"100 changes among {size:,} keys ÷ updated_at", costs, ("ours", size), ("theirs", size), "≤ 1.5")
    bench.ratio(f"among {sizes[-1]:,} keys ÷ among {sizes[0]:,}", costs, ("ours", sizes[-1]), ("ours", sizes[0]), "≤ 1.3")
