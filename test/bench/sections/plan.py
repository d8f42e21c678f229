"""`sync_state_plan()` over 1,000,000 keys against the same decision as a CASE written by hand, over
the same table."""

BY_HAND = """
    SELECT type_key,
        CASE WHEN NOT synced THEN 'INITIAL_SYNC'
            WHEN l IS NOT DISTINCT FROM bl AND r IS NOT DISTINCT FROM br OR l IS NOT DISTINCT FROM r THEN 'NO_CHANGE'
            WHEN r IS NOT DISTINCT FROM br THEN 'PUSH'
            WHEN l IS NOT DISTINCT FROM bl THEN 'PULL'
            ELSE 'CONFLICT' END AS action,
        CASE WHEN NOT synced THEN
                CASE WHEN l IS NULL AND r IS NULL THEN 'empty' WHEN r IS NULL THEN 'push'
                    WHEN l IS NULL THEN 'pull' WHEN l = r THEN 'adopt' ELSE 'conflict' END
            WHEN l IS NOT DISTINCT FROM bl AND r IS NOT DISTINCT FROM br THEN 'unchanged'
            WHEN l IS NULL AND r IS NULL THEN 'both_deleted'
            WHEN l = r THEN 'converged'
            WHEN r IS NOT DISTINCT FROM br THEN
                CASE WHEN l IS NULL THEN 'delete' WHEN r IS NULL THEN 'create' ELSE 'edit' END
            WHEN l IS NOT DISTINCT FROM bl THEN
                CASE WHEN r IS NULL THEN 'delete' WHEN l IS NULL THEN 'create' ELSE 'edit' END
            WHEN r IS NULL THEN 'edit/delete' WHEN l IS NULL THEN 'delete/edit' ELSE 'edit/edit' END AS detail,
        l AS local_hash, r AS remote_hash, bl AS last_synced_hash, br AS last_synced_remote_hash,
        sync_status, conflict_status, run_id, lease_expires_at
    FROM (SELECT s.*, local_hash AS l, remote_hash AS r, last_synced_hash AS bl, last_synced_remote_hash AS br,
            last_sync_at IS NOT NULL OR last_synced_hash IS NOT NULL OR last_synced_remote_hash IS NOT NULL AS synced
        FROM syncstate.sync_state s) AS s"""


def run(bench):
    session = bench.session()
    keys = bench.size(1_000_000)
    # A third unchanged, and of every other case some.
    session.run("INSERT INTO syncstate.sync_state (type_key, local_hash, remote_hash, last_synced_hash,"
                " last_synced_remote_hash, last_sync_at, sync_status, conflict_status)"
                " SELECT 'key-' || i, CASE WHEN i % 7 <> 0 THEN md5((i + i % 3)::text) END,"
                " CASE WHEN i % 11 <> 0 THEN md5((i + i % 2)::text) END,"
                " CASE WHEN i % 5 <> 0 THEN md5(i::text) END, CASE WHEN i % 5 <> 0 THEN md5(i::text) END,"
                " CASE WHEN i % 5 <> 0 THEN now() END, 'modified', 'none'"
                f" FROM generate_series(1, {keys}) AS i")
    session.vacuum("syncstate.sync_state")
    differing = session.value("SELECT count(*) FROM (SELECT * FROM sync_state_plan() EXCEPT ALL" + BY_HAND + ") AS d")
    if differing:
        raise RuntimeError(f"{differing} decisions differ from those by hand")

    used = ", ".join(f"count({column})" for column in (
        "type_key", "action", "detail", "local_hash", "remote_hash", "last_synced_hash",
        "last_synced_remote_hash", "sync_status", "conflict_status"))
    costs = bench.compare({
        "ours": lambda: session.cost(f"SELECT {used} FROM sync_state_plan()"),
        "theirs": lambda: session.cost(f"SELECT {used} FROM ({BY_HAND}) AS p"),
    }, rounds=9)
    bench.ratio("plan ÷ CASE by hand", costs, "ours", "theirs", "≤ 1.0")
