"""Fingerprint of a table of documents: `sync_digest(columns)` against reading the rows and doing
nothing (`count` of the last column, which must reach it), against what people use who know the
server well (`sum(hash_record_extended(…))`: 64 bits, and other values on another machine or
version), and against what the data-diff tools send (sums of MD5 of the columns as text)."""

DOCUMENTS = """
    CREATE TABLE {table} (id bigint, title text, body text, meta jsonb, edited_at timestamptz, public boolean);
    INSERT INTO {table} SELECT i, rpad('Title of document number ' || i, 40, ' -'),
        substr(repeat(md5(i::text), 10), 1, 300),
        jsonb_build_object('views', i % 1000, 'lang', CASE i % 3 WHEN 0 THEN 'en' ELSE 'de' END,
                           'tags', jsonb_build_array('a', 'b')),
        timestamptz '2026-01-01 00:00+00' + i * interval '1 second', i % 2 = 0
    FROM generate_series(1, {rows}) AS i;"""
COLUMNS = "id, title, body, meta, edited_at, public"

# As data_diff/sqeleton writes it: each column as text in a normal form, 60 bits of the MD5.
MD5 = ("SELECT count(*), sum(('x' || substring(md5({columns}), 18))::bit(60)::bigint) FROM {table}")
MD5_DOCUMENT = " || '|' || ".join(f"coalesce({column}, '<null>')" for column in (
    "id::decimal(38, 0)::varchar", "title::varchar", "body::varchar", "meta::text",
    "to_char(edited_at::timestamp(6), 'YYYY-mm-dd HH24:MI:SS.US')", "public::int::varchar"))
MD5_NARROW = " || '|' || ".join(f"coalesce({column}, '<null>')" for column in (
    "id::decimal(38, 0)::varchar", "value::decimal(38, 0)::varchar"))


def run(bench):
    rows = bench.size(5_000_000)
    session = bench.session(TimeZone="UTC")
    # Made in the transaction that fills it, and so not logged.  Copies of rows are
    # quicker made than rows; but for id they repeat.
    part = rows // 5
    session.run("BEGIN;" + DOCUMENTS.format(table="document", rows=part)
                + f"INSERT INTO document SELECT {COLUMNS.replace('id', f'id + n * {part}', 1)}"
                  " FROM document, generate_series(1, 4) AS n; COMMIT")
    session.run("BEGIN; CREATE TABLE narrow AS SELECT i AS id, i * 7919 AS value"
                f" FROM generate_series(1::bigint, {rows}) AS i; COMMIT")
    session.vacuum("document", "narrow")

    costs = bench.compare({
        "count": lambda: session.cost("SELECT count(public) FROM document"),
        "digest": lambda: session.cost(f"SELECT sync_digest({COLUMNS}) FROM document"),
        "record": lambda: session.cost("SELECT sum(hash_record_extended(d, 0)) FROM document d"),
    }, rounds=9)
    bench.ratio("digest ÷ count(last column)", costs, "digest", "count", "≤ 1.20")
    bench.faster("digest, faster than sum(hash_record_extended)", costs, "digest", "record", "≥ 2.8")

    # Few per cent, of what scatters by a tenth and more: 61 rounds said 1.03 to just above 1.05 of the same code.
    costs = bench.compare({
        "digest": lambda: session.cost(f"SELECT sync_digest({COLUMNS}) FROM document"),
        "sketch": lambda: session.cost(f"SELECT sync_sketch(1024, 1, {COLUMNS}) FROM document"),
    }, rounds=181)
    bench.ratio("sketch of 1,024 cells ÷ digest", costs, "sketch", "digest", "≤ 1.05")

    costs = bench.compare({
        "digest": lambda: session.cost(f"SELECT sync_digest({COLUMNS}) FROM document"),
        "md5": lambda: session.cost(MD5.format(columns=MD5_DOCUMENT, table="document")),
    }, rounds=3)
    bench.faster("digest, faster than the MD5 sum", costs, "digest", "md5", "≥ 11")

    costs = bench.compare({
        "count": lambda: session.cost("SELECT count(value) FROM narrow"),
        "digest": lambda: session.cost("SELECT sync_digest(id, value) FROM narrow"),
        "record": lambda: session.cost("SELECT sum(hash_record_extended(n, 0)) FROM narrow n"),
        "md5": lambda: session.cost(MD5.format(columns=MD5_NARROW, table="narrow")),
    }, rounds=3)
    bench.ratio("two bigints: digest ÷ count(last column)", costs, "digest", "count")
    bench.faster("two bigints: digest, faster than sum(hash_record_extended)", costs, "digest", "record")
    bench.faster("two bigints: digest, faster than the MD5 sum", costs, "digest", "md5", "≥ 25")

    parallel = bench.session(max_parallel_workers_per_gather=2, parallel_setup_cost=0,
                             min_parallel_table_scan_size=0)
    costs = bench.compare({
        "none": lambda: session.cost(f"SELECT sync_digest({COLUMNS}) FROM document"),
        "two": lambda: parallel.cost(f"SELECT sync_digest({COLUMNS}) FROM document"),
    }, rounds=4)
    bench.faster("two workers, faster than none", costs, "two", "none", "≥ 1.35", by="wall",
                 reason="Needs two idle cores.")
    plan = "\n".join(line for line, in parallel.rows(f"EXPLAIN SELECT sync_digest({COLUMNS}) FROM document"))
    if "Workers Planned: 2" not in plan:
        raise RuntimeError("the planner did not plan two workers:\n" + plan)
