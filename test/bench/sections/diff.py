"""Two copies of a table in two databases, joined by postgres_fdw over the Unix socket. The digest of
the foreign table, computed there (the server's option `extensions` names syncstate), against that
of the local one, and against fetching the rows (the same without that option; both with fetch_size
10000 and async_capable).
Then the rows that differ, by `sync_source_diff`, against what SQL has for it: EXCEPT both ways.
Wall time, for two backends work."""

from sections.digest import COLUMNS, DOCUMENTS

SERVER = """
    CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw
        OPTIONS (host %(host)s, port %(port)s, dbname %(dbname)s, fetch_size '10000', async_capable 'true' {options});
    CREATE USER MAPPING FOR CURRENT_USER SERVER {name};
    IMPORT FOREIGN SCHEMA public LIMIT TO (document) FROM SERVER {name} INTO {schema}"""


def run(bench):
    rows, changed = bench.size(1_000_000), 90
    bench.create_database("_remote")
    remote = bench.session("_remote")
    session = bench.session()
    for side in (session, remote):
        side.run("BEGIN;" + DOCUMENTS.format(table="document", rows=rows) + "COMMIT")
        side.run("ALTER TABLE document ADD PRIMARY KEY (id)")
    # Thirty of each kind: edited there, only here, only there.
    third = "mod(id, {0}) = {1} AND id / {0} < 30"
    remote.run("UPDATE document SET title = title || '!' WHERE " + third.format(rows // 30, 1))
    remote.run("DELETE FROM document WHERE " + third.format(rows // 30, 2))
    session.run("DELETE FROM document WHERE " + third.format(rows // 30, 3))
    for side in (session, remote):
        side.vacuum("document")

    session.run("CREATE EXTENSION postgres_fdw; CREATE SCHEMA pushed; CREATE SCHEMA pulled")
    where = {"host": session.value("SHOW unix_socket_directories").split(",")[0].strip(),
             "port": session.value("SHOW port"), "dbname": bench.database + "_remote"}
    for schema, options in (("pushed", ", extensions 'syncstate'"), ("pulled", "")):
        session.cursor.execute(SERVER.format(name=schema, schema=schema, options=options), where)
        session.run(f"ANALYZE {schema}.document")

    def digest_of(table):
        return lambda: session.cost(f"SELECT sync_digest({COLUMNS}) FROM {table}")

    # A small difference: many rounds.
    costs = bench.compare({"local": digest_of("document"), "pushed": digest_of("pushed.document")}, rounds=31)
    bench.ratio("digest pushed down ÷ local", costs, "pushed", "local", "≤ 1.05", by="wall")
    costs = bench.compare({"pushed": digest_of("pushed.document"), "pulled": digest_of("pulled.document")})
    bench.faster("digest pushed down, faster than pulling the rows", costs, "pushed", "pulled",
                 "≥ 15", by="wall")

    session.run("SELECT sync_source_attach('document', 'document', 'pushed.document')")
    ours = "SELECT count(*) FROM sync_source_diff('document')"
    theirs = ("SELECT count(DISTINCT id) FROM ("
              "(SELECT * FROM document EXCEPT SELECT * FROM pulled.document) UNION ALL"
              "(SELECT * FROM pulled.document EXCEPT SELECT * FROM document)) AS d")
    for statement in (ours, theirs):
        found = session.value(statement)
        if found != changed:
            raise RuntimeError(f"{found} rows found, not {changed}: {statement}")
    costs = bench.compare({
        "ours": lambda: session.cost(ours),
        "theirs": lambda: session.cost(theirs),
    }, rounds=3)
    bench.faster(f"find {changed} changed keys, faster than EXCEPT both ways", costs, "ours", "theirs",
                 "≥ 20", by="wall")
