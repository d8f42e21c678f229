#!/usr/bin/python3
"""Installs examples/api.sql as doc/api.md says, and asks it: the catalogue, whether the
schema keeps to what PostgREST, PostGraphile and pg_graphql can show; the database, as
the two roles; and PostGraphile, over HTTP, with the configuration and the requests of
the page.  PostGraphile comes from npm.

    script/sandbox test/docs/api.py
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pglast
import psycopg2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lint"))

from operations import Checks, Connection, Database, Program, free_port, log_directory, psql, wait_until
from page import Page
from scripts import Lint, makes_in_place

PAGE = Page("doc/api.md")
SCRIPT = Path("examples/api.sql")
DATABASE = "syncstate_api"
COPY = "syncstate_api_copy"
AS_OWNER = {"PGUSER": "owner", "PGPASSWORD": "owner"}
TOKEN = "of the test"
READER, WORKER = "api_reader", "api_worker"
READS = {"delta", "plan", "detect_interrupted", "changes", "cursor"}
WRITES = {"observe", "observe_many", "mark_synced", "resolve", "begin_run", "try_begin_run", "claim", "resume", "checkpoint", "fail",
          "rollback"}
VIEWS = {"sync_state", "sync_overview", "sync_summary", "sync_run", "sync_interrupted", "sync_conflict", "sync_delta"}

checks = Checks()


# ---------------------------------------------------------------------------
# The script
# ---------------------------------------------------------------------------

def statements_of(text: str) -> str:
    """The script as the server sees it: psql's variables put in, its commands left out."""
    variables = dict(re.findall(r"^\\set (\w+) '(.*)'$", text, re.M))
    text = re.sub(r"^\\(?!gset).*$", "", text, flags=re.M).replace("\n\\gset", ";")
    text = re.sub(r'(?<!:):"(\w+)"', r"\1", text)
    return re.sub(r"(?<!:):([a-z]\w*)", lambda match: variables[match[1]], text)


def check_lint() -> None:
    tree = pglast.parse_sql(statements_of(SCRIPT.read_text("utf-8")))
    lint = Lint()
    lint(tree)
    checks.equal("every name has its schema, nothing has settings of its own", lint.found, [])
    checks.equal("no row is written", lint.written, [])
    checks.equal("nothing is made in place of what is there", [
        what for statement in tree for what in makes_in_place(statement(skip_none=True))], [])


def install(database: str, *options: str) -> subprocess.CompletedProcess[str]:
    """As the page does it, as the owner of the extension."""
    command = PAGE.code("sh", "install").replace("-d cms", f"-d {database}").strip() + " " + " ".join(options)
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, **AS_OWNER})


def made(db: Database) -> list[tuple[Any, ...]]:
    return db.rows("""SELECT classid::regclass::text, objid FROM (
        SELECT 'pg_class'::regclass AS classid, oid AS objid FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^api')
        UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^api')
        UNION ALL SELECT 'pg_namespace'::regclass, oid FROM pg_namespace WHERE nspname ~ '^api') o ORDER BY 1, 2""")


def check_install(db: Database) -> None:
    """The owner of the extension is no superuser, and the functions may be anywhere."""
    db.run(PAGE.code("sql", "roles"))
    db.run(PAGE.code("sql", "authenticator"))
    db.run("CREATE ROLE owner LOGIN PASSWORD 'owner'")
    db.run(f"GRANT CREATE ON DATABASE {DATABASE} TO owner")
    db.run("CREATE SCHEMA elsewhere AUTHORIZATION owner")
    psql(DATABASE, "CREATE EXTENSION syncstate SCHEMA elsewhere", environment=AS_OWNER)
    done = install(DATABASE)
    checks.equal("it is installed by an owner who is no superuser, with functions in another schema",
                 (done.returncode, done.stderr), (0, ""))
    before = made(db)
    again = install(DATABASE)
    checks.true("a second time it fails, since there is such a schema", again.returncode != 0 and 'schema "api" already exists' in again.stderr,
                again.stderr)
    checks.equal("and leaves all as it was", made(db), before)
    psql(DATABASE, PAGE.code("sql", "again"), environment=AS_OWNER)
    checks.equal("after the DROP nothing is left", made(db), [])
    done = install(DATABASE)
    checks.equal("then it is installed again", (done.returncode, done.stderr, len(made(db))), (0, "", len(before)))
    psql(DATABASE, PAGE.code("sql", "again"), environment=AS_OWNER)
    db.run("CREATE ROLE people; CREATE ROLE workers")
    done = install(DATABASE, "-v", "reader=people", "-v", "worker=workers")
    checks.equal("roles of other names can be given", (done.returncode, db.value("SELECT has_schema_privilege('people', 'api', 'USAGE')"),
                 db.value("SELECT has_schema_privilege('api_reader', 'api', 'USAGE')")), (0, True, False))
    psql(DATABASE, PAGE.code("sql", "again"), environment=AS_OWNER)
    checks.true("it is installed for what follows", install(DATABASE).returncode == 0)


def check_catalogue(db: Database) -> None:
    functions = {row[0]: row for row in db.rows("""
        SELECT p.proname, p.provolatile, p.prosecdef, p.proretset, p.proargmodes, format_type(p.prorettype, NULL), t.typtype, t.typname,
            p.proargnames, p.proconfig, obj_description(p.oid), p.prorettype,
            (SELECT array_agg(format_type(a, NULL)) FROM unnest(p.proargtypes) a)
        FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype WHERE p.pronamespace = 'api'::regnamespace""")}
    count = db.value("SELECT count(*) FROM pg_proc WHERE pronamespace = 'api'::regnamespace")
    checks.equal("the functions, none overloaded", (set(functions), count), (READS | WRITES, len(READS | WRITES)))
    views = {row[0]: row for row in db.rows("""
        SELECT relname, reloptions, obj_description(oid, 'pg_class') FROM pg_class WHERE relnamespace = 'api'::regnamespace AND relkind = 'v'""")}
    checks.equal("the views", set(views), VIEWS)
    checks.equal("read: STABLE; write: VOLATILE", {name: row[1] for name, row in functions.items()},
                 {**dict.fromkeys(READS, "s"), **dict.fromkeys(WRITES, "v")})
    checks.equal("none runs as its owner or with settings of its own", [name for name, row in functions.items() if row[2] or row[9]], [])
    checks.equal("none has OUT parameters or returns a table", [name for name, row in functions.items() if row[4]], [])
    rows_of = {name: row[5] for name, row in functions.items() if row[6] == "c"}
    checks.equal("rows are those of views here", [name for name, kind in rows_of.items() if kind.removeprefix("api.") not in VIEWS], [])
    checks.equal("sets are of such rows", [name for name, row in functions.items() if row[3] and name not in rows_of], [])
    plain = {"text", "text[]", "integer", "boolean", "uuid", "jsonb", "timestamp with time zone"}
    checks.equal("arguments and scalars are of plain types", {kind for row in functions.values() for kind in [*(row[12] or []), *([row[5]] if row[6] != "c" else [])]} - plain, set())
    columns = {row[0] for row in db.rows("""SELECT DISTINCT format_type(atttypid, NULL) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'api'::regnamespace AND attnum > 0""")}
    checks.equal("columns are of plain types", columns - plain - {"double precision"}, set())
    checks.equal("no argument has a name that a tool uses itself", {argument for row in functions.values() for argument in row[8] or []}
                 & {"first", "last", "offset", "before", "after", "filter", "condition", "orderBy", "order", "limit", "select"}, set())
    checks.equal("all has a comment", [name for name, row in functions.items() if not row[10]] + [name for name, row in views.items() if not row[2]], [])
    checks.equal("views are security_invoker", [name for name, row in views.items() if row[1] != ["security_invoker=true"]], [])
    for name, row in views.items():
        # As PostGraphile reads its own line, and pg_graphql its: by this expression.
        key = re.search(r"^@primaryKey (.*)$", row[2], re.M)[1].split(",")
        theirs = db.value(r"SELECT ((regexp_match(%s, '@graphql\((.+)\)'))[1]::jsonb) -> 'primary_key_columns'", row[2])
        checks.equal(f"{name}: both are told of the same key", theirs, key)
        checks.equal(f"{name}: which is unique and not null", db.rows(
            f"SELECT {', '.join(key)} FROM api.{name} GROUP BY {', '.join(key)} HAVING count(*) > 1 OR num_nulls({', '.join(key)}) > 0"), [])
    text = Path(PAGE.path).read_text("utf-8")
    described = {name: (arguments.split(", ") if arguments else [], kind, role) for name, arguments, kind, role in re.findall(
        r"^\| `(\w+)\(([^)]*)\)` \| (\w+) \|[^|]*\| (\w+) \|$", text, re.M)}
    checks.equal("the page describes these functions", described, {
        name: (row[8] or [], "read" if name in READS else "write", "reader" if name in READS else "worker") for name, row in functions.items()})
    checks.equal("and these views", set(re.findall(r"^\| `(sync_\w+)` \| `", text, re.M)), VIEWS)
    may = {(row[0], row[1]) for row in db.rows("""
        SELECT p.proname, r.rolname FROM pg_proc p CROSS JOIN LATERAL (
            SELECT rolname FROM pg_roles WHERE rolname IN ('api_reader', 'api_worker', 'people')) r
        WHERE p.pronamespace = 'api'::regnamespace AND has_function_privilege(r.rolname, p.oid, 'EXECUTE')""")}
    checks.equal("who may execute what: a third role, nothing", may,
                 {*((name, READER) for name in READS), *((name, WORKER) for name in READS | WRITES)})
    depends = db.rows("SELECT 1 FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_proc'::regclass AND objid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'api'::regnamespace)")
    checks.equal("nothing of it belongs to the extension", depends, [])
    checks.refused("which cannot be dropped under it", "2BP01", lambda: db.run("DROP EXTENSION syncstate"))


# ---------------------------------------------------------------------------
# The roles, in SQL
# ---------------------------------------------------------------------------

def acting(db: Database, role: str, query: str, *values: object) -> Any:
    db.run(f"SET ROLE {role}")
    try:
        return db.value(query, *values)
    finally:
        db.run("RESET ROLE")


def check_roles(db: Database) -> None:
    """Every function as both roles and as neither: what a reader may, what a worker may."""
    db.run("CREATE ROLE stranger")
    calls = {
        "delta": "api.delta('article')", "plan": "api.plan()", "detect_interrupted": "api.detect_interrupted()",
        "changes": "api.changes()", "cursor": "api.cursor()",
        "observe": "api.observe('article', 'a', remote_absent => true)", "observe_many": "api.observe_many('{a}', '{a}')",
        "begin_run": "api.begin_run('article', 1000, 'w')", "try_begin_run": "api.try_begin_run('article')",
        "checkpoint": "api.checkpoint('article', (SELECT run_id FROM api.sync_state WHERE type_key = 'article'), '1')",
        "fail": "api.fail('article', (SELECT run_id FROM api.sync_state WHERE type_key = 'article'), 'e')",
        "resume": "api.resume('article')", "rollback": "api.rollback('article', (SELECT run_id FROM api.sync_state WHERE type_key = 'article'))",
        "mark_synced": "api.mark_synced('article', 'a', 'a')", "claim": "api.claim(1, 'a')",
        "resolve": "api.resolve('conflict', 'local')"}
    checks.equal("every function is called", set(calls), READS | WRITES)
    db.run("SELECT elsewhere.sync_state_observe('conflict', 'a', 'b')")
    for name, call in calls.items():
        checks.refused(f"a stranger: {name}", "42501", lambda call=call: acting(db, "stranger", f"SELECT count(*) FROM {call}"))
        if name in WRITES:
            checks.refused(f"a reader: {name}", "42501", lambda call=call: acting(db, READER, f"SELECT count(*) FROM {call}"))
        role = READER if name in READS else WORKER
        checks.true(f"{role}: {name}", acting(db, role, f"SELECT count(*) FROM {call}") is not None)
    for view in sorted(VIEWS):
        checks.refused(f"a stranger: {view}", "42501", lambda view=view: acting(db, "stranger", f"SELECT count(*) FROM api.{view}"))
        for role in (READER, WORKER):
            checks.true(f"{role}: {view}", acting(db, role, f"SELECT count(*) FROM api.{view}") is not None)
    # The others cannot be written by anybody.
    for view in ("sync_state", "sync_run", "sync_conflict"):
        for write in (f"DELETE FROM api.{view}", f"UPDATE api.{view} SET local_hash = 'x'", f"INSERT INTO api.{view} (type_key) VALUES ('x')"):
            checks.refused(f"a worker: {write}", "42501", lambda write=write: acting(db, WORKER, f"{write} RETURNING 1"))
    for query in ("SELECT elsewhere.sync_state_forget('article', true)", "DELETE FROM syncstate.sync_run RETURNING 1",
                  "SELECT count(*) FROM elsewhere.sync_state_prune('1 day')", "SELECT count(*) FROM syncstate.sync_source",
                  "SELECT elsewhere.sync_state_repair()"):
        checks.refused(f"a worker: {query}", "42501", lambda query=query: acting(db, WORKER, query))
    # What reads, in a transaction that must not write.
    db.run("SET default_transaction_read_only = on")
    for name in sorted(READS):
        checks.true(f"{name} runs in a READ ONLY transaction", acting(db, READER, f"SELECT count(*) FROM {calls[name]}") is not None)
    db.run("SET default_transaction_read_only = off")
    db.run("DROP ROLE stranger")


def check_functions(db: Database) -> None:
    """What differs from the functions of the extension."""
    db.run("SET search_path = ''")
    refused: Callable[[str, str, str], None] = lambda text, state, query: checks.refused(text, state, lambda: db.run(query))
    refused("mark_synced: a side of which nothing is said", "22004", "SELECT api.mark_synced('m', 'a')")
    refused("mark_synced: a hash for an absent side", "22023", "SELECT api.mark_synced('m', 'a', 'b', remote_absent => true)")
    checks.equal("mark_synced: a side that is absent", db.rows(
        "SELECT last_synced_hash, last_synced_remote_hash, sync_status FROM api.mark_synced('m', 'a', remote_absent => true)"), [("a", None, "in_sync")])
    checks.equal("delta of a key that is not known, null as if not given", db.rows(
        "SELECT action, detail FROM api.delta('nobody', 'a', NULL, NULL, true)"), [("INITIAL_SYNC", "push")])
    db.run("SELECT api.begin_run('b', 3600)")
    checks.equal("a lease in seconds", db.value(
        "SELECT lease_expires_at - clock_timestamp() BETWEEN '59 min' AND '1 h' FROM api.sync_state WHERE type_key = 'b'"), True)
    refused("of no time", "22023", "SELECT api.begin_run('c', 0)")
    checks.equal("try_begin of a held key", db.rows("SELECT * FROM api.try_begin_run('b')"), [])
    checks.equal("retry_after in seconds", db.rows("""
        SELECT (api.fail('b', (SELECT run_id FROM api.sync_state WHERE type_key = 'b'))).sync_status;
        SELECT type_key FROM api.claim(1, 'b', retry_after_seconds => 3600)"""), [])
    checks.equal("retry_after of nothing", db.rows("SELECT type_key FROM api.claim(1, 'b', retry_after_seconds => 0)"), [("b",)])
    # The feed, in pages.
    cursor = db.value("SELECT api.cursor()")
    checks.equal("no changes: the same cursor", db.value("SELECT api.changes(%s)", cursor), {"changes": [], "cursor": cursor, "more": False})
    for key in ("f3", "f1", "f2"):
        db.run("SELECT api.observe(%s, 'a', remote_absent => true)", key)
    db.run("SELECT elsewhere.sync_state_forget('f1')")
    pages = [db.value("SELECT api.changes(%s, 2)", cursor)]
    pages.append(db.value("SELECT api.changes(%s, 2)", pages[0]["cursor"]))
    checks.equal("changes in pages", [([(c["type_key"], c["deleted"]) for c in page["changes"]], page["more"]) for page in pages],
                 [([("f3", False), ("f2", False)], True), ([("f1", True)], False)])
    checks.equal("a change has", sorted(pages[0]["changes"][0]), sorted(
        ["type_key", "deleted", "sync_status", "conflict_status", "local_hash", "remote_hash", "last_sync_at", "updated_at"]))
    db.run("""SELECT elsewhere.sync_state_update('huge', '{"sync_progress": {"step": 1e400, "total": 1e401}}'),
        elsewhere.sync_state_update('half', '{"sync_progress": {"step": 1, "total": 2}}')""")
    checks.equal("progress; what is too large is none", db.rows(
        "SELECT type_key, step, total, percent FROM api.sync_overview WHERE type_key IN ('half', 'huge') ORDER BY 1"),
        [("half", 1.0, 2.0, 50.0), ("huge", None, None, None)])
    checks.equal("keys without a status are counted", db.rows("SELECT count FROM api.sync_summary WHERE sync_status = 'unknown'"), [(2,)])
    db.run("RESET search_path")


def check_dump(db: Database) -> None:
    """A dump has the schema, and what comes back works."""
    dumped = subprocess.run(["pg_dump", DATABASE], check=True, capture_output=True, text=True)
    copy = Database.create(COPY)
    psql(COPY, dumped.stdout)
    checks.equal("all is restored, and nothing else", len(made(copy)), len(made(db)))
    checks.equal("and works", acting(copy, READER, "SELECT detail FROM api.delta('article', 'x', 'y')"), acting(db, READER, "SELECT detail FROM api.delta('article', 'x', 'y')"))
    checks.refused("with the privileges", "42501", lambda: acting(copy, READER, "SELECT api.begin_run('article')"))


def check_row_security(db: Database) -> None:
    """Views and functions run as who asks: a policy of the table holds in them."""
    db.run("""ALTER TABLE syncstate.sync_state ENABLE ROW LEVEL SECURITY;
        CREATE POLICY part ON syncstate.sync_state TO api_reader USING (type_key ^@ 'f')""")
    checks.equal("a reader sees what the policy lets through", (
        acting(db, READER, "SELECT array_agg(type_key ORDER BY 1) FROM api.sync_state"),
        acting(db, READER, "SELECT array_agg(type_key ORDER BY 1) FROM api.sync_delta"),
        acting(db, READER, "SELECT count(*) FROM api.plan('h')"),
        acting(db, READER, "SELECT detail FROM api.delta('half')")), (["f2", "f3"], ["f2", "f3"], 0, "empty"))
    db.run("DROP POLICY part ON syncstate.sync_state; ALTER TABLE syncstate.sync_state DISABLE ROW LEVEL SECURITY")


def check_status(db: Database) -> None:
    """PostgREST makes the answer of such an error; what it is made of is here."""
    db.run(PAGE.code("sql", "status"))
    acting(db, WORKER, "SELECT run_id FROM rest.begin_run('status', 1000, 'first')")
    try:
        acting(db, WORKER, "SELECT rest.begin_run('status')")
        checks.true("the wrapped function is refused", False)
    except psycopg2.Error as error:
        checks.equal("the wrapped function chooses a status and keeps the code", (
            error.pgcode, json.loads(error.diag.message_primary)["code"], json.loads(error.diag.message_detail)), (
            "PGRST", "55P03", {"status": 409, "headers": {}}))
        checks.true("and what it says", 'owner "first"' in json.loads(error.diag.message_primary)["details"])


# ---------------------------------------------------------------------------
# PostGraphile
# ---------------------------------------------------------------------------

class PostGraphile:
    """The one from npm, with a configuration, in a directory of its own."""

    installed: Path | None = None

    @classmethod
    def install(cls) -> Path:
        if cls.installed is None:
            directory = Path(tempfile.mkdtemp(prefix="postgraphile."))
            for name in ("package.json", "package-lock.json"):
                shutil.copy(Path("test/docs/api") / name, directory)
            with open(log_directory() / "npm", "w", encoding="utf-8") as log:
                subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=directory, stdout=log, stderr=log, check=True)
            cls.installed = directory
        return cls.installed

    def __init__(self, name: str, configuration: str, connection: Connection, user: str, password: str):
        installed = self.install()
        directory = installed / name
        directory.mkdir()
        (directory / "graphile.config.mjs").write_text(configuration, "utf-8")
        # Of another kind of machine there is no such package: then its own must be new enough.
        node = next(installed.glob("node_modules/node-linux-*/bin/node"), "node")
        parameters = connection.get_dsn_parameters()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/graphql"
        self.program = Program(name, [str(node), "../node_modules/postgraphile/dist/cli-run.js", "-n", "127.0.0.1", "-p", str(port)], {
            "DATABASE_URL": f"postgres://{user}:{password}@{parameters['host']}:{parameters['port']}/{DATABASE}",
            "WORKER_TOKEN": TOKEN, "NODE_ENV": "production", "GRAPHILE_ENV": "production"}, cwd=directory)
        wait_until("PostGraphile answers", self.answers)

    def answers(self) -> bool:
        self.program.running()
        try:
            return "data" in self.ask("{ __typename }")
        except (urllib.error.URLError, ConnectionError):
            return False

    def ask(self, query: str, token: str | None = None, **variables: object) -> dict[str, Any]:
        """The answer, whatever it is, with the status of HTTP."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url, json.dumps({"query": query, "variables": variables}).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return {**json.load(answer), "status": answer.status}
        except urllib.error.HTTPError as error:
            return {**json.load(error), "status": error.code}

    def work(self, block: str, **variables: object) -> dict[str, Any]:
        """A request of the page, as a worker."""
        return self.ask(PAGE.code("graphql", block), TOKEN, **variables)

    def fields(self, kind: str) -> set[str]:
        answer = self.ask('{ __type(name: "%s") { fields { name } } }' % kind)
        return {field["name"] for field in (answer["data"]["__type"] or {"fields": []})["fields"]}


def code(answer: dict[str, Any]) -> object:
    """The SQLSTATE that PostGraphile tells."""
    return [error.get("extensions", {}).get("code") for error in answer.get("errors", [])]


def check_postgraphile(db: Database) -> None:
    db.run("DELETE FROM syncstate.sync_state")
    db.run("ALTER ROLE authenticator PASSWORD 'authenticator'")
    configuration = PAGE.code("js", "graphile.config.mjs")
    server = PostGraphile("postgraphile", configuration, db.connection, "authenticator", "authenticator")

    camel: Callable[[str], str] = lambda name: re.sub(r"_(\w)", lambda match: match[1].upper(), name)
    checks.equal("what reads is a query, and what writes a mutation, and there are no others", (
        {name for name in server.fields("Query") if not re.search(r"^(all|sync|query$|id$|node$)", name)}, server.fields("Mutation")),
        ({camel(name) for name in READS}, {camel(name) for name in WRITES}))
    checks.true("views can be asked for by their keys", {"syncStateByTypeKey", "syncRunByTypeKeyAndRunNumber"} <= server.fields("Query"),
                server.fields("Query"))

    # A detector and a worker.
    seen = server.work("observe", key="article", ours="a1", theirs=None)
    checks.equal("observe, of one side only", seen["data"]["observe"]["result"], {"action": "INITIAL_SYNC", "detail": "push"})
    run = server.work("begin", key="article")["data"]["beginRun"]["result"]
    checks.equal("begin", (run["runNumber"], run["syncProgress"], run["contentMoved"]), (1, None, False))
    at = server.work("checkpoint", key="article", run=run["runId"], progress={"step": 1, "total": 4})
    checks.true("checkpoint: the end of the lease", at["data"]["checkpoint"]["result"] is not None, at)
    checks.equal("it is stored as JSON", db.value("SELECT sync_progress FROM syncstate.sync_state"), {"step": 1, "total": 4})
    db.run("SELECT elsewhere.sync_state_observe('other', 'a', 'b')")
    page = server.ask(PAGE.code("graphql", "overview"))["data"]
    checks.equal("the status page", [(n["typeKey"], n["syncStatus"], n["runOwner"], n["percent"]) for n in page["allSyncOverviews"]["nodes"]],
                 [("article", "syncing", "worker 1", 25.0), ("other", "conflict", None, None)])
    checks.equal("its conflicts, and what is interrupted", ([(n["typeKey"], n["kind"]) for n in page["allSyncConflicts"]["nodes"]],
                 page["detectInterrupted"]), ([("other", "create/create")], []))

    # Refusals come with their SQLSTATE.
    held = server.work("begin", key="article")
    checks.equal("a held key", (code(held), held["status"]), (["55P03"], 200))
    checks.true("says who holds it", 'owner "worker 1"' in held["errors"][0]["extensions"]["detail"], held)
    checks.equal("a superseded run", code(server.work("checkpoint", key="article", run="00000000-0000-0000-0000-000000000000", progress=1)), ["55000"])
    checks.equal("a key that is not known", code(server.ask('mutation { fail(input: {typeKey: "nobody"}) { clientMutationId } }', TOKEN)), ["P0002"])
    checks.equal("an empty key", code(server.ask('{ delta(typeKey: "") { action } }')), ["22023"])
    checks.equal("a forgotten hash", code(server.work("mark-synced", key="article", run=run["runId"], ours="a1")), ["22004"])
    hidden = server.ask('{ changes(cursor: "\\u0000") }')
    checks.true("what is none of the caller's business stays hidden", code(hidden) == [None] and "0x00" not in json.dumps(hidden), hidden)

    marked = server.work("mark-synced", key="article", run=run["runId"], ours="a1", theirs="a1")
    checks.equal("mark_synced", marked["data"]["markSynced"]["result"]["syncStatus"], "in_sync")
    first = server.ask(PAGE.code("graphql", "changes"))["data"]["changes"]
    checks.equal("changes", sorted(change["type_key"] for change in first["changes"]), ["article", "other"])
    server.work("observe", key="article", ours="a2", theirs=None)
    then = server.ask(PAGE.code("graphql", "changes"), cursor=first["cursor"])["data"]["changes"]
    checks.equal("and what comes after its cursor", [(c["type_key"], c["sync_status"]) for c in then["changes"]], [("article", "modified")])
    claimed = server.ask('mutation { claim(input: {maxKeys: 5, owner: "pool"}) { result { typeKey owner } } }', TOKEN)
    checks.equal("claim", claimed["data"]["claim"]["result"], [{"typeKey": "article", "owner": "pool"}])
    tried = server.ask('mutation { tryBeginRun(input: {typeKey: "article"}) { result { typeKey } } }', TOKEN)
    checks.equal("try_begin of a held key", tried["data"]["tryBeginRun"]["result"], [])
    resolved = server.ask('mutation { resolve(input: {typeKey: "other", resolution: "local"}) { result { conflictStatus } } }', TOKEN)
    checks.equal("resolve", resolved["data"]["resolve"]["result"]["conflictStatus"], "resolved")

    both = server.ask("""mutation {
        first: observe(input: {typeKey: "both", localHash: "a"}) { clientMutationId }
        second: beginRun(input: {typeKey: "article"}) { clientMutationId } }""", TOKEN)
    checks.equal("of two mutations, the first stays when the second is refused", (code(both), db.value(
        "SELECT count(*) FROM syncstate.sync_state WHERE type_key = 'both'")), (["55P03"], 1))

    # Who may what.
    for who, token in (("nobody", None), ("with a wrong token", "guess")):
        answer = server.ask(PAGE.code("graphql", "begin"), token, key="free")
        checks.equal(f"{who} may not begin", (answer["data"], code(answer)), ({"beginRun": None}, ["42501"]))
    checks.equal("and nothing came of it", db.value("SELECT count(*) FROM syncstate.sync_run WHERE type_key = 'free'"), 0)
    for name in sorted(WRITES):
        arguments = {"observe_many": 'typeKeys: ["x"]', "claim": "maxKeys: 1", "resolve": 'typeKey: "article", resolution: "local"',
                     "checkpoint": 'typeKey: "article", runId: "00000000-0000-0000-0000-000000000000"'}.get(name, 'typeKey: "article"')
        answer = server.ask("mutation { %s(input: {%s}) { clientMutationId } }" % (camel(name), arguments))
        checks.equal(f"a reader may not {name}", code(answer), ["42501"])
    checks.equal("there is no way to write a view", {name for name in server.fields("Mutation") if re.match("create|update|delete", name)}, set())
    server.program.stop()


def check_hidden(db: Database) -> None:
    """Given the schemas of the extension itself, even as a superuser, PostGraphile shows nothing of it."""
    db.run("CREATE FUNCTION elsewhere.own_function() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'own' $$")
    db.run("CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'admin'")
    configuration = PAGE.code("js", "graphile.config.mjs").replace('schemas: ["api"]', 'schemas: ["elsewhere", "syncstate"]').replace(
        "pgSettings: { role: roleOf(request.node?.req) }", "pgSettings: {}")
    server = PostGraphile("hidden", configuration, db.connection, "admin", "admin")
    checks.equal("of those schemas, only what does not belong to the extension is shown",
                 (server.fields("Query") - {"query", "nodeId", "node", "id"}, server.fields("Mutation")), ({"ownFunction"}, set()))
    checks.equal("which works", server.ask("{ ownFunction }")["data"], {"ownFunction": "own"})
    server.program.stop()


def main() -> int:
    db = Database.create(DATABASE)
    checks.part("the script", check_lint)
    checks.part("installation", lambda: check_install(db))
    checks.part("the catalogue", lambda: check_catalogue(db))
    checks.part("the roles", lambda: check_roles(db))
    checks.part("the functions", lambda: check_functions(db))
    checks.part("dump and restore", lambda: check_dump(db))
    checks.part("row security", lambda: check_row_security(db))
    checks.part("the status of HTTP", lambda: check_status(db))
    checks.part("PostGraphile", lambda: check_postgraphile(db))
    checks.part("PostGraphile and the extension itself", lambda: check_hidden(db))
    checks.equal("all code of the page was run", [str(block) for block in PAGE.left()], [])
    if PostGraphile.installed is not None:
        shutil.rmtree(PostGraphile.installed)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
