"""Private memory (RssAnon) of a backend: over 1,000,000 calls in 100 statements, and over 200,000 calls
in one statement, after the first tenth and at the end. Nothing is compared. Flat means that it has not
grown by more than 0.5 MB."""

RSS = r"substring(pg_read_file('/proc/self/status') from 'RssAnon:\s+(\d+)')::int"
CALLS = ["sync_state_update(k, '{\"local_hash\": \"a\", \"sync_status\": \"modified\"}')",
         "sync_state_observe(k, l, 'b')", "sync_state_delta(k)", "sync_state_get(k)",
         "sync_state_mark_synced(k, l, 'c')", "sync_state_action(k, l, l, k)", "sync_row_hash(k, l)",
         "sync_hash(jsonb_build_object(k, l))", "sync_state_fail(k)",
         "sync_state_begin(k)", "sync_state_reset(k, true)"]


def run(bench):
    session, other = bench.session(), bench.session()
    keys = bench.size(10_000)
    session.run(f"CREATE TABLE keys AS SELECT 'key-' || i AS k, md5(i::text) AS l FROM generate_series(1, {keys}) AS i")
    measured = []
    # First each of them once, for plans and catalogue entries are kept.
    for number in range(-len(CALLS), 100):
        call = CALLS[number % len(CALLS)]
        session.run(f"SELECT count(f) FROM (SELECT {call} AS f FROM keys OFFSET 0) AS s")
        if number >= 0 and number % 10 == 9:
            measured.append((session.value("SELECT " + RSS),
                             session.value("SELECT sum(total_bytes)::int / 1024 FROM pg_backend_memory_contexts")))
            other.vacuum("syncstate.sync_state", "syncstate.sync_run", "syncstate.sync_conflict")
    resident, allocated = zip(*measured)
    bench.figure(f"growth over {100 * keys:,} calls in 100 statements", [(resident[-1] - resident[0]) / 1024], "MB", "≤ 0.5")
    bench.note("RssAnon / total of pg_backend_memory_contexts in kB after each tenth: "
               + ", ".join(f"{a} / {b}" for a, b in zip(resident, allocated)) + ".")

    rows = bench.size(200_000)
    session.run("CREATE TABLE many AS SELECT 'many-' || i AS k, md5(i::text) AS l, i FROM generate_series"
                f"(1, {rows}) AS i; INSERT INTO syncstate.sync_state (type_key) SELECT k FROM many")
    for call in CALLS[:4]:
        resident = session.value(
            f"SELECT array_agg(rss) FILTER (WHERE rss IS NOT NULL) FROM (SELECT {call} AS f,"
            f" CASE WHEN i % ({rows} / 10) = 0 THEN {RSS} END AS rss FROM many OFFSET 0) AS s WHERE f IS NOT NULL"
            " OR rss IS NOT NULL")
        name = call.split("(", maxsplit=1)[0]
        bench.figure(f"growth over {rows:,} calls of {name} in one statement",
                     [(resident[-1] - resident[0]) / 1024], "MB", "≤ 0.5")
        other.vacuum("syncstate.sync_state", "syncstate.sync_conflict")
