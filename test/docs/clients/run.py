#!/usr/bin/python3
"""The pages of doc/clients, as a reader would use them: their code is taken out, run
against a server, and judged by what the database holds afterwards.

    run.py [PAGE]...        all, or psql, psycopg, node-postgres, sqlalchemy, django, pgbouncer, page

script/sandbox gives it a cluster.  Each page begins with a new database `cms`.  What all
workers promise is in scenario.py, and what is particular to a page here.  A
block of a page that nothing runs is a failure, unless the page says that it is not run.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import psycopg2
import psycopg2.extensions

from harness import HERE, ROOT, Checks, Database, Process, Psql, Reply, wait_until
from page import Page
from scenario import INSTRUMENTS, Scenario

DOC = ROOT / "doc" / "clients"
LOG = Path(os.environ.get("SYNCSTATE_LOG", tempfile.gettempdir()))
PYTHON = "/usr/bin/python3"

checks = Checks()
check, equal = checks.check, checks.equal


# --------------------------------------------------------------------------- where a page runs

class Place:
    """A directory with a page's files, and its database."""

    def __init__(self, page: str, example: bool = True) -> None:
        """With `example`, the tables of the example are there."""
        self.page = Page(DOC / f"{page}.md")
        self.name = page
        self.directory = Path(tempfile.mkdtemp(prefix=f"{page}-"))
        self.env = {**os.environ, "PGDATABASE": "cms", "PATH": "/usr/bin:/bin:" + os.environ["PATH"],
                    "PYTHONDONTWRITEBYTECODE": "1"}
        admin = Database(dbname="postgres")
        admin.rows("DROP DATABASE IF EXISTS cms WITH (FORCE)")
        admin.rows("CREATE DATABASE cms")
        admin.close()
        self.db = Database(dbname="cms")
        if example:
            self.db.rows(Page(DOC / "README.md").code("sql"))

    def write(self, *names: str) -> None:
        """The page's files of these names."""
        for name in names:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.page.code(name=name))

    def put(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-e", "-c", script], cwd=self.directory, env=self.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def python(self, glue: str, env: dict[str, str] | None = None) -> Process:
        return Process([PYTHON, str(HERE / "bridge.py"), str(self.put("glue.py", glue))], self.directory,
                       {**self.env, **(env or {})}, LOG / f"clients-{self.name}")

    def node(self, glue: str, env: dict[str, str] | None = None) -> Process:
        return Process(["node", str(HERE / "bridge.mjs"), str(self.put("glue.mjs", glue))], self.directory,
                       {**self.env, **(env or {})}, LOG / f"clients-{self.name}")

    def close(self) -> None:
        for block in self.page.left():
            check("every block of the page is run", False, block)
        self.db.close()
        shutil.rmtree(self.directory)


class Pooler:
    """PgBouncer, as the page has it, but for where it is and who may connect."""

    def __init__(self) -> None:
        self.page = Page(DOC / "pgbouncer.md")
        self.directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self.env = {"PGHOST": str(self.directory), "PGPORT": "6432"}
        config = configparser.ConfigParser()
        config.read_string(self.page.code(name="pgbouncer.ini"))
        with psycopg2.connect(dbname="postgres") as connection:
            server = connection.info
        self.user = server.user
        config["databases"] = {"cms": f"host={server.host} port={server.port} user={server.user} "
                                      f"password='{server.password or ''}'"}
        config["pgbouncer"].update({"listen_addr": "", "unix_socket_dir": str(self.directory), "auth_type": "any",
                                    "admin_users": server.user, "logfile": str(LOG / "clients-pgbouncer")})
        del config["pgbouncer"]["auth_file"]
        self.config = config
        self.save()
        path = os.environ["PATH"] + ":/usr/sbin"
        self.process = subprocess.Popen(["pgbouncer", "-q", str(self.directory / "pgbouncer.ini")],
                                        env={**os.environ, "PATH": path},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, "pooler")

    def save(self) -> None:
        with (self.directory / "pgbouncer.ini").open("w") as file:
            self.config.write(file)

    def connect(self, dbname: str = "cms", **options: Any) -> Database:
        return Database(host=str(self.directory), port=6432, dbname=dbname, user=self.user, **options)

    def admin(self, command: str) -> list[Any]:
        """By the console, which knows neither transactions nor parameters."""
        connection = psycopg2.connect(host=str(self.directory), port=6432, dbname="pgbouncer", user=self.user)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(command)
            rows = cursor.fetchall() if cursor.description else []
        connection.close()
        return rows

    def answers(self) -> bool:
        try:
            return bool(self.admin("SHOW VERSION"))
        except psycopg2.OperationalError:
            if self.process.poll() is not None:
                raise RuntimeError("pgbouncer has ended")
            return False

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.directory)


@contextmanager
def place(page: str, example: bool = True) -> Iterator[Place]:
    at = Place(page, example)
    try:
        yield at
    finally:
        at.close()


@contextmanager
def client(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.close()


def play(at: Place, make: Any, owner: str = "articles", reports: bool = True) -> None:
    """The scenario, straight to the server and by way of PgBouncer."""
    scenario = Scenario(checks, at.db, make, owner, reports)
    scenario.play(at.name)
    scenario.close()
    pooler = Pooler()
    scenario = Scenario(checks, at.db, lambda: make(pooler.env), owner, reports)
    # A script's setting that makes the server look for its client is none of the transaction's.
    scenario.play(f"{at.name} by way of PgBouncer",
                  tuple(part for part in Scenario.POOLED_PARTS if reports or part != "killed"))
    scenario.close()
    pooler.close()


def notifies(at: Place, listener: Process) -> None:
    """`listen`, then `wait`, which returns how often it was woken."""
    equal("it listens", listener.call("listen").message, "")
    at.db.rows("SET syncstate.notify = 'changes'; SELECT sync_state_observe('woken', gen_random_uuid()::text)")
    reply = listener.call("wait", 30)
    check("a notification wakes it", reply.message == "" and "woken" in str(reply.value), reply)
    at.db.rows("RESET syncstate.notify")


# --------------------------------------------------------------------------- the extractor

def test_page() -> None:
    with checks.part("page.py"):
        page = Page("x.md", "<!-- test: skip -->\n\n```js\na\n```\n- x\n\n  <!-- test: name=w.py error=55P03 -->\n"
                            "  ```python title\n  if 1:\n      b\n\n  ```\n~~~~\n```\n~~~\n~~~~\n``inline`` ```code```\n")
        equal("blocks", [(b.language, b.text, b.line, b.marks) for b in page.blocks],
              [("js", "a\n", 4, {"skip": ""}), ("python", "if 1:\n    b\n\n", 10, {"name": "w.py", "error": "55P03"}),
               ("", "```\n~~~\n", 15, {})])
        equal("left are those that are not skipped", [b.line for b in page.left()], [10, 15])
        equal("names", page.names(), ["w.py"])
        page.take(name="w.py")
        equal("left is what was not taken", [b.line for b in page.left()], [15])
        for what, text in {"an open fence": "```\nx", "a comment before text": "<!-- test: skip -->\nx\n```\n```\n",
                           "a comment at the end": "<!-- test: skip -->\n",
                           "two comments": "<!-- test: skip -->\n<!-- test: name=x -->\n```\n```\n"}.items():
            try:
                Page("x.md", text)
                check(f"{what} is refused", False)
            except ValueError as error:
                check(f"{what} is refused, with the place", str(error).startswith("x.md:"), error)
        try:
            page.take(language="js")
            check("a block that is not there is an error", False)
        except LookupError:
            check("a block that is not there is an error", True)


# --------------------------------------------------------------------------- psycopg

PSYCOPG = """
from sync import *
import psycopg
from {module} import {connect} as connect_it
import uuid

connection = None

def connected():
    global connection
    if connection is None or connection.closed:
        connection = connect_it()
    return connection

heard = []

def start_listening():
    global listening
    listening = listen()
    listening.add_notify_handler(heard.append)

def waits(seconds):
    wait(listening, seconds)
    return [notify.payload for notify in heard]

def refused(query, *values):
    try:
        row(connected(), query, *values)
    except psycopg.Error as error:
        return f"{{type(error).__name__}} {{error.sqlstate}}"
    return "taken"

def types():
    c = connected()
    run = row(c, "SELECT * FROM sync_state_begin(%s, %s)", "types", "90 seconds")
    checkpoint = "SELECT sync_state_checkpoint(%s, %s, %s) AS lease"
    told = {{"dict": refused(checkpoint, "types", run.run_id, {{"a": 1}}),
             "list": refused(checkpoint, "types", run.run_id, [1])}}
    lease = row(c, checkpoint, "types", str(run.run_id), Jsonb([1, 2])).lease
    row(c, checkpoint, "types", run.run_id, None)
    state = row(c, "SELECT * FROM sync_state_get(%s)", "types")
    told["heartbeat keeps"] = state.sync_progress
    row(c, checkpoint, "types", run.run_id, Jsonb(None))
    told["null"] = row(c, "SELECT sync_progress::text AS p FROM sync_state_get('types')").p
    told["uuid"] = isinstance(run.run_id, uuid.UUID)
    told["zone"] = lease.tzinfo is not None
    told["microseconds"] = state.updated_at == row(c, "SELECT %s::timestamptz AS t", state.updated_at).t and \\
        row(c, "SELECT updated_at = %s AS same FROM sync_state_get('types')", row(c, "SELECT * FROM sync_state_get('types')").updated_at).same
    told["interval"] = row(c, "SELECT lease_expires_at - updated_at AS i FROM sync_state_get('types')").i > 2 * LEASE
    told["array"] = row(c, "SELECT sync_state_observe_many(%s, %s, %s) AS n", ["t1", "t2"], ["h", None], None).n
    told["array of None"] = row(c, "SELECT sync_state_observe_many(%s, %s, %s) AS n", ["t1", "t2"], [None, None], None).n
    return told

def savepoint_only(key):
    other = psycopg.connect()
    other.execute("SELECT 1")
    with other.transaction():
        other.execute("SELECT * FROM sync_state_begin(%s)", (key,))
    seen = row(connected(), "SELECT count(*) AS n FROM sync_state_get(%s)", key).n
    other.rollback()
    other.close()
    return seen

def lookup(code, name, base):
    found = errors.lookup(code)
    return found is getattr(errors, name) and base in [parent.__name__ for parent in found.__mro__]

calls = {{
    "sync": lambda key: sync(connected(), key),
    "recover": lambda: recover(connected()),
    "follow": lambda: follow(connected(), 3),
    "listen": start_listening,
    "wait": waits,
    "types": types,
    "savepoint_only": savepoint_only,
    "lookup": lookup,
}}
"""


def test_psycopg() -> None:
    with place("psycopg") as at:
        at.write("sync.py", "psycopg2.py")
        (at.directory / "psycopg2.py").rename(at.directory / "once.py")
        at.put("pooled.py", Page(DOC / "pgbouncer.md").code(name="pooled.py"))
        at.db.rows(INSTRUMENTS)

        def make(env: dict[str, str] | None = None) -> Process:
            where = ("pooled", "pooled") if env else ("sync", "connect")
            return at.python(PSYCOPG.format(module=where[0], connect=where[1]), env)

        play(at, make)
        with client(make()) as process:
            with checks.part("psycopg, what the page says of types"):
                equal("types", process.call("types").value, {
                    "dict": "ProgrammingError None", "list": "UndefinedFunction 42883", "heartbeat keeps": [1, 2],
                    "null": "null", "uuid": True, "zone": True, "microseconds": True,
                    "interval": True, "array": 2, "array of None": 1})
            with checks.part("psycopg, without autocommit"):
                equal("nobody sees what was taken in a savepoint", process.call("savepoint_only", "nobody").value, 0)
            with checks.part("psycopg, the table of errors"):
                table = re.findall(r"^\| (\w{5}) \| `(\w+)` \| `(\w+)` \|$", (DOC / "psycopg.md").read_text(), re.M)
                equal("its size", len(table), 6)
                for line in table:
                    equal(f"{line}", process.call("lookup", *line).value, True)
            with checks.part("psycopg, notifications"):
                notifies(at, process)
        with checks.part("psycopg2"):
            once(at)


ONCE = """
import uuid
from once import *

def types():
    connection = psycopg2.connect(dbname="cms", cursor_factory=psycopg2.extras.NamedTupleCursor)
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM sync_state_begin('types 2')")
    run = cursor.fetchone()
    told = {"uuid": isinstance(run.run_id, str)}
    try:
        cursor.execute("SELECT %s", (uuid.UUID(run.run_id),))
    except psycopg2.ProgrammingError:
        told["UUID"] = "refused"
    psycopg2.extras.register_uuid()
    cursor.execute("SELECT sync_state_checkpoint('types 2', %s, NULL)", (uuid.UUID(run.run_id),))
    try:
        cursor.execute("SELECT * FROM sync_state_begin('types 2')")
    except errors.LockNotAvailable as error:
        told["pgcode"] = error.pgcode
    connection.close()
    return told

calls = {"push_once": push_once, "types": types}
"""


def once(at: Place) -> None:
    scenario = Scenario(checks, at.db, lambda: at.python(ONCE), "unused")
    scenario.synced()
    equal("it pushes", scenario.client.call("push_once", "article"), Reply("synced"))
    check("both sides are equal", scenario.equal_sides())
    equal("the state", scenario.state().sync_status, "in_sync")
    equal("three transactions", at.db.value("SELECT count(DISTINCT xid) FROM test.audit"), 3)
    equal("the rows and their checkpoint are one", at.db.value("""
        SELECT count(DISTINCT xid) FROM test.audit WHERE what IN ('row', 'checkpoint')"""), 1)
    at.db.rows("SELECT sync_state_begin('article')")
    equal("held", scenario.client.call("push_once", "article"), Reply("held"))
    equal("types", scenario.client.call("types").value, {"uuid": True, "UUID": "refused", "pgcode": "55P03"})
    scenario.close()


# --------------------------------------------------------------------------- node-postgres

NODE = """
import pg from 'pg';
import { pool, sync, recover, follow, listen, transaction } from './sync.mjs';

const heard = [];
let woken;

async function types() {
  const one = async (query, ...values) => (await pool.query(query, values)).rows[0];
  const refused = async (query, ...values) => {
    try { await pool.query(query, values); } catch (error) { return error.code; }
    return 'taken';
  };
  const run = await one('SELECT * FROM sync_state_begin($1, $2)', 'types', '90 seconds');
  const checkpoint = 'SELECT sync_state_checkpoint($1, $2, $3) AS lease';
  const progress = async () => (await one("SELECT sync_progress::text FROM sync_state_get('types')")).sync_progress;
  const told = { uuid: typeof run.run_id };
  told.array = await refused(checkpoint, 'types', run.run_id, [1, 2]);
  await pool.query(checkpoint, ['types', run.run_id, JSON.stringify([1, 2])]);
  told.stringified = await progress();
  await pool.query(checkpoint, ['types', run.run_id, null]);
  told.heartbeat = await progress();
  await pool.query(checkpoint, ['types', run.run_id, undefined]);
  told.undefined = await progress();
  told.string = await refused(checkpoint, 'types', run.run_id, 'text');
  told.arrays = (await one('SELECT sync_state_observe_many($1, $2, $3) AS n', ['t1', 't2'], ['h', null], null)).n;
  told.bigint = typeof (await one("SELECT changed_xid FROM sync_state_get('types')")).changed_xid;
  told.interval = typeof (await one("SELECT interval '1 s' AS i")).i;

  // A time that has microseconds, as it was read.
  await pool.query(`UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02 03:04:05.678901Z', local_hash = 'old',
    last_synced_hash = 'old' WHERE type_key = 't1'`);
  const { last_sync_at: time, updated_at: updated } = await one("SELECT * FROM sync_state_get('t1')");
  told.date = time instanceof Date && time.toISOString();
  await pool.query("UPDATE syncstate.sync_state SET local_hash = 'new', last_sync_at = $1 WHERE type_key = 't1'", [time]);
  told.base = (await one("SELECT last_synced_hash FROM sync_state_get('t1')")).last_synced_hash;
  const again = await pool.query('SELECT sync_state_changed_since($1) AS key', [updated]);
  told.again = again.rows.some(({ key }) => key === 't1');
  told.text = (await one("SELECT last_sync_at::text AS t FROM sync_state_get('t1')")).t;
  return told;
}

async function swallowed() {
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('SELECT 1/0').catch(() => {});
  const { command } = await client.query('COMMIT');
  client.release();
  return command;
}

export const calls = {
  sync, recover, types, swallowed,
  follow: () => follow(3),
  async listen() {
    let wake;
    woken = new Promise((resolve) => { wake = resolve; });
    await listen((message) => { heard.push(message.payload); wake(); });
  },
  async wait(seconds) {
    await Promise.race([woken, new Promise((resolve) => { setTimeout(resolve, seconds * 1000); })]);
    return heard;
  },
};
"""


def test_node_postgres() -> None:
    with place("node-postgres") as at:
        modules = HERE / "node_modules"
        if not modules.exists():
            print("== npm ci", flush=True)
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, check=True)
        (at.directory / "node_modules").symlink_to(modules)
        at.write("sync.mjs")
        at.db.rows(INSTRUMENTS)

        def make(env: dict[str, str] | None = None) -> Process:
            return at.node(NODE, env)

        play(at, make)
        with client(make()) as process:
            with checks.part("node-postgres, what the page says of types"):
                equal("types", process.call("types").value, {
                    "uuid": "string", "array": "22P02", "stringified": "[1, 2]", "heartbeat": "[1, 2]",
                    "undefined": "[1, 2]", "string": "22P02", "arrays": 2, "bigint": "string", "interval": "object",
                    "date": "2026-01-02T03:04:05.678Z", "base": "old", "again": True,
                    "text": at.db.value("SELECT last_sync_at::text FROM sync_state_get('t1')")})
            with checks.part("node-postgres, an error that was swallowed"):
                equal("COMMIT answers", process.call("swallowed").value, "ROLLBACK")
            with checks.part("node-postgres, notifications"):
                notifies(at, process)


# --------------------------------------------------------------------------- SQLAlchemy and Alembic

SQLALCHEMY = """
from sync import *
from sqlalchemy import func
import uuid

def refused(write):
    try:
        with Session.begin() as session:
            write(session)
    except TypeError as error:
        return str(error)
    return "taken"

def change(session):
    session.get(SyncState, "types").local_hash = "x"

def delete_it(session):
    session.delete(session.get(SyncState, "types"))

def types():
    told = {}
    with Session.begin() as session:
        run = row(session, "SELECT * FROM sync_state_begin(:key, :lease)", key="types", lease="90 seconds")
        told["uuid"] = str(uuid.UUID(str(run.run_id))) == str(run.run_id)
    with Session.begin() as session:
        session.execute(CHECKPOINT, {"key": "types", "run_id": run.run_id, "progress": {"a": [1]}, "lease": None})
    with Session.begin() as session:
        session.execute(CHECKPOINT, {"key": "types", "run_id": run.run_id, "progress": None, "lease": None})
    with Session.begin() as session:
        state = session.get(SyncState, "types")
        told["model"] = [state.sync_progress, state.sync_status, state.created_at.tzinfo is not None]
        told["cast"] = row(session, "SELECT CAST(:x AS uuid) AS u", x=str(run.run_id)).u is not None
        # Behind the session's back.
        row(session, "SELECT sync_state_observe('types', 'seen')")
        told["loaded"] = state.local_hash
        session.refresh(state)
        told["refreshed"] = state.local_hash
    naive = text("SELECT sync_state_checkpoint(:key, :run_id, :progress)").bindparams(bindparam("progress", type_=JSONB))
    with Session.begin() as session:
        session.execute(naive, {"key": "types", "run_id": run.run_id, "progress": None})
        told["without none_as_null"] = row(session, "SELECT sync_progress::text AS p FROM sync_state_get('types')").p
        told["array"] = row(session, "SELECT sync_state_observe_many(:k, :l, NULL) AS n", k=["t1", "t2"], l=["h", None]).n
    with Session.begin() as session:
        told["func"] = type(session.execute(select(func.sync_state_begin("func"))).scalar()).__name__
    told["insert"] = refused(lambda session: session.add(SyncState(type_key="new")))
    told["update"] = refused(change)
    told["delete"] = refused(delete_it)
    return told

calls = {"sync": sync, "recover": recover, "follow": lambda: follow(3), "types": types}
"""


def revision(at: Place, env: str) -> tuple[str, str]:
    """What autogenerate finds with this env.py: the body of upgrade(), and what went wrong."""
    at.put("migrations/env.py", env)
    before = set((at.directory / "migrations/versions").glob("*.py"))
    said = at.shell("alembic revision --autogenerate -m check")
    made = list(set((at.directory / "migrations/versions").glob("*.py")) - before)
    if not made:
        return "", said.stdout
    tree = ast.parse(made[0].read_text())
    made[0].unlink()
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade").body
    return "\n".join(ast.unparse(statement) for statement in body), said.stdout


def test_sqlalchemy() -> None:
    with place("sqlalchemy", example=False) as at:
        with checks.part("sqlalchemy, Alembic"):
            alembic(at)
        at.write("sync.py")
        at.db.rows(INSTRUMENTS)

        def make(env: dict[str, str] | None = None) -> Process:
            return at.python(SQLALCHEMY, env)

        play(at, make)
        with client(make()) as process:
            with checks.part("sqlalchemy, what the page says of types"):
                refusal = "the state of '{}' is for the functions of syncstate to write"
                equal("types", process.call("types"), Reply({
                    "uuid": True, "model": [{"a": [1]}, "syncing", True], "cast": True, "loaded": None, "refreshed": "seen",
                    "without none_as_null": "null", "array": 2, "func": "str", "insert": refusal.format("new"),
                    "update": refusal.format("types"), "delete": refusal.format("types")}))
                equal("nothing was written by way of the model",
                      at.db.rows("SELECT type_key, local_hash FROM syncstate.sync_state WHERE type_key IN ('new', 'types')"),
                      [("types", "seen")])


def alembic(at: Place) -> None:
    equal("alembic init", at.shell("alembic init migrations").returncode, 0)
    at.write("models.py")
    env = at.page.code(name="env.py")
    at.put("migrations/env.py", env)
    at.put("migrations/versions/0001_articles.py", at.page.code(name="0001_articles.py"))

    said = at.shell(at.page.code(name="migrate.sh"))
    equal("the commands of the page", said.returncode, 0) or print(said.stdout)
    equal("the extension is there", at.db.value("SELECT count(*) FROM pg_extension WHERE extname = 'syncstate'"), 1)
    equal("the source is attached", at.db.value("SELECT count(*) FROM syncstate.sync_source"), 1)
    written = [path for path in (at.directory / "migrations/versions").glob("*.py") if path.name != "0001_articles.py"]
    equal("one revision was written", len(written), 1)
    for path in written:
        path.unlink()

    equal("no drift", revision(at, env)[0], "pass")
    at.put("models.py", at.page.code(name="models.py").replace("hash = Column(Text)\n", "hash = Column(Text)\n    seen = Column(Text)\n", 1))
    found, said = revision(at, env)
    check("a column of ours is found, and nothing else", found.count("op.") == 1 and "'seen'" in found, found or said)
    at.put("models.py", at.page.code(name="models.py"))

    def without(*lines: str) -> str:
        text = env
        for line in lines:
            if line not in text:
                raise LookupError(f"env.py has no {line!r}")
            text = text.replace(line, "")
        return text

    names, objects, schemas = ("include_name=include_name,", "include_object=include_object,", "include_schemas=True,")
    found, said = revision(at, without(names, objects))
    check("without both, the extension's tables would be dropped",
          "op.drop_table('sync_run', schema='syncstate')" in found, found or said)
    found, said = revision(at, without(objects))
    check("without include_object, the mapped one would be made anew",
          "op.create_table('sync_state'" in found and "drop" not in found, found or said)
    equal("without include_schemas, include_object is enough", revision(at, without(schemas, names))[0], "pass")

    at.put("migrations/env.py", env)
    said = at.shell("alembic downgrade base")
    equal("downgrade", said.returncode, 0) or print(said.stdout)
    equal("nothing of it is left", at.db.column("""
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'syncstate' OR (n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> 'alembic_version')"""), [])
    equal("upgrade again", at.shell("alembic upgrade head").returncode, 0)


# --------------------------------------------------------------------------- Django

SETTINGS = """
import os

SECRET_KEY = "test"
INSTALLED_APPS = ["cms"]
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "cms"}}
if os.environ.get("POOLED"):
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""

DJANGO = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()

import uuid
from datetime import datetime
from django.db import close_old_connections
from cms.sync import *

def new_connection_if_broken(call):
    # As between two requests, or two rounds of the worker.
    def wrapped(*arguments):
        close_old_connections()
        return call(*arguments)
    return wrapped

def refused(write):
    try:
        write()
    except (TypeError, RuntimeError) as error:
        return str(error)
    return "taken"

def nested():
    with atomic():
        begin("nested")

def types():
    told = {}
    run = row("SELECT * FROM sync_state_begin(%s, %s)", "types", "90 seconds")
    told["uuid"] = isinstance(run.run_id, uuid.UUID)
    row("SELECT sync_state_checkpoint(%s, %s, %s)", "types", str(run.run_id), json.dumps([1, 2]))
    row("SELECT sync_state_checkpoint(%s, %s, %s)", "types", run.run_id, None)
    told["cursor"] = row("SELECT * FROM sync_state_get('types')").sync_progress
    state = SyncState.objects.get(type_key="types")
    told["model"] = state.sync_progress
    told["zone"] = state.updated_at.tzinfo is not None
    told["microseconds"] = row("SELECT updated_at = %s FROM sync_state_get('types')", state.updated_at)[0]
    told["array"] = row("SELECT sync_state_observe_many(%s, %s, NULL)", ["t1", "t2"], ["h", None])[0]
    told["filter"] = SyncState.objects.filter(type_key__startswith="t", sync_status="syncing").count()
    told["save"] = refused(state.save)
    told["delete"] = refused(state.delete)
    told["nested"] = refused(nested)
    return told

calls = {name: new_connection_if_broken(call) for name, call in {
    "sync": sync, "recover": recover, "follow": lambda: follow(3), "types": types,
    "iterate": lambda: sum(1 for _ in Article.objects.order_by("id").iterator(chunk_size=100)),
}.items()}
"""


def test_django() -> None:
    with place("django", example=False) as at:
        with checks.part("django, migrations"):
            at.put("manage.py", MANAGE)
            at.put("settings.py", SETTINGS + at.page.code(name="settings"))
            for package in ("cms", "cms/migrations", "cms/management", "cms/management/commands"):
                at.put(f"{package}/__init__.py", "")
            at.write("cms/migrations/0001_syncstate.py", "cms/models.py")
            said = at.shell(at.page.code(name="makemigrations.sh"))
            equal("makemigrations", said.returncode, 0) or print(said.stdout)
            at.write("cms/migrations/0003_source.py")
            said = at.shell(at.page.code(name="migrate.sh"))
            equal("migrate, and nothing is missing", (said.returncode, "No changes detected" in said.stdout), (0, True)) \
                or print(said.stdout)
            equal("the extension is there", at.db.value("SELECT count(*) FROM pg_extension WHERE extname = 'syncstate'"), 1)
            equal("the source is attached", at.db.value("SELECT count(*) FROM syncstate.sync_source"), 1)
        at.write("cms/sync.py", "cms/management/commands/sync_worker.py")
        at.db.rows(INSTRUMENTS)

        def make(env: dict[str, str] | None = None) -> Process:
            return at.python(DJANGO, {**env, "POOLED": "1"} if env else None)

        play(at, make)
        with client(make()) as process:
            with checks.part("django, what the page says of types"):
                found = process.call("types")
                nested = (found.value or {}).pop("nested", "")
                equal("types", found, Reply({
                    "uuid": True, "cursor": "[1, 2]", "model": [1, 2], "zone": True, "microseconds": True, "array": 2,
                    "filter": 1, "save": "the state is for the functions of syncstate to write",
                    "delete": "use sync_state_forget"}))
                check("begin within a transaction is refused", "durable" in nested, nested)
                equal("... and takes nothing", at.db.rows("SELECT * FROM sync_state_get('nested')"), [])
        with checks.part("django, the worker"):
            scenario = Scenario(checks, at.db, make, "articles")
            scenario.synced()
            said = at.shell(at.page.code(name="worker.sh"))
            equal("it answers", (said.returncode, said.stdout), (0, "article: synced\n"))
            scenario.check_synced(runs=1, start=None)
            scenario.close()
        with checks.part("django, iterator() by way of PgBouncer"):
            pooler = Pooler()
            with client(make(pooler.env)) as process:
                equal("rows", process.call("iterate"), Reply(1200))
            pooler.close()


# --------------------------------------------------------------------------- psql

def test_psql() -> None:
    with place("psql") as at:
        at.db.rows(at.page.code(name="procedure"))
        at.write("push.sql", "recover.sql", "follow.sql")
        at.db.rows(INSTRUMENTS)

        def make(env: dict[str, str] | None = None) -> Psql:
            return Psql(at.directory, {**at.env, **(env or {})})

        play(at, make, owner="push.sql", reports=False)
        scenario = Scenario(checks, at.db, make, "push.sql", reports=False)

        def script(text: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(["psql", "-XAt", "-v", "ON_ERROR_STOP=1"], input=text, env=at.env, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        with checks.part("psql, the command line"):
            scenario.synced()
            said = at.shell(at.page.code(name="connect.sh"))
            check("it pushes", said.returncode == 0 and "synced" in said.stdout, said.stdout)
            scenario.check_synced(runs=1, start=None)
            at.db.rows("SELECT sync_state_begin('article')")
            equal("held: the exit status", at.shell(at.page.code(name="connect.sh")).returncode, 3)
        with checks.part("psql, step by step"):
            scenario.fresh(400)
            said = script("\n".join([at.page.take("sql")[0].text, at.page.code(name="steps")]))
            check("the decision is shown, and then it is in_sync",
                  said.returncode == 0 and "INITIAL_SYNC" in said.stdout and said.stdout.endswith("in_sync\n"), said.stdout)
            check("both sides are equal", scenario.equal_sides())
            run = scenario.runs()[0]
            equal("the run", (run.outcome, run.owner), ("synced", "by hand"))
            equal("rows and checkpoint are one transaction", at.db.value("""
                SELECT count(DISTINCT xid) FROM test.audit WHERE what IN ('row', 'checkpoint')"""), 1)
            scenario.synced()
            said = script(at.page.code(name="steps"))
            equal("if the sides differ, it is rolled back", (said.returncode, scenario.state().sync_status,
                                                            scenario.runs()[0].outcome), (0, "failed", "rolled_back"))
        with checks.part("psql, errors"):
            scenario.synced()
            token = at.db.value("SELECT run_id FROM sync_state_begin('article', owner => 'other')")
            said = script(at.page.code(name="errors"))
            check("the code and the message are shown", '55P03 "article" is held by a live run' in said.stdout, said.stdout)
            said = script(at.page.code(name="revoke"))
            check("the owner is shown", said.returncode == 0 and "article|other|" in said.stdout, said.stdout)
            equal("the run is revoked", (scenario.state().sync_status, scenario.runs()[0].error),
                  ("failed", "its machine is gone"))
            try:
                at.db.rows("SELECT sync_state_checkpoint('article', %s, NULL)", token)
                check("its token is refused", False)
            except psycopg2.Error as error:
                equal("its token is refused", error.pgcode, "55000")
        with checks.part("psql, taking over by hand"):
            scenario.synced()
            at.db.rows("SELECT sync_state_observe('article')")
            token = at.db.value("SELECT run_id FROM sync_state_begin('article', owner => 'other')")
            at.db.rows("SELECT sync_state_checkpoint('article', %s, '{\"after\": 500}')", token)
            scenario.expire()
            said = script(at.page.code(name="resume"))
            check("it is shown whose run it was, and where to go on",
                  said.returncode == 0 and "article|other|lease_expired" in said.stdout and said.stdout.rstrip().endswith("f 500"),
                  said.stdout)
            equal("the runs", [run.outcome for run in scenario.runs()], ["superseded", None])
        with checks.part("psql, pitfalls"):
            said = script("SELECT NULL AS x \\gset\nSELECT :'x';\n")
            check("a variable of NULL is unset", said.returncode == 3 and "syntax error" in said.stdout, said.stdout)
            scenario.fresh()
            said = script("\\set VERBOSITY verbose\nBEGIN;\nCALL push('article');\n")
            check("CALL push within a transaction", "2D000" in said.stdout, said.stdout)
            equal("... takes nothing", scenario.runs(), [])
            said = script("SELECT (sync_state_begin('twice')).*;")
            check("(f()).* is refused", "is held by a live run" in said.stdout, said.stdout)
            equal("... and takes nothing", at.db.rows("SELECT * FROM sync_state_get('twice')"), [])
        scenario.close()


# --------------------------------------------------------------------------- PgBouncer

PREPARES = """
import psycopg
import sync
from pooled import pooled

def many(connect):
    # Two clients, each with statements of its own that it repeats, on two server connections.
    first, second = connect(), connect()
    try:
        for round in range(3):
            for _ in range(8):
                first.execute("SELECT sync_state_delta(%s)", ("a",)).fetchall()
                second.execute("SELECT sync_state_get(%s)", ("a",)).fetchall()
            with (first, second)[round % 2].transaction():
                (first, second)[round % 2].execute("SELECT 1")
                for _ in range(8):
                    (second, first)[round % 2].execute("SELECT sync_state_list(%s)", ("new",)).fetchall()
    finally:
        first.close()
        second.close()
    return "fine"

calls = {"pooled": lambda: many(pooled), "plain": lambda: many(sync.connect)}
"""


def test_pgbouncer() -> None:
    with place("pgbouncer") as at:
        at.page.take("ini")
        at.put("sync.py", Page(DOC / "psycopg.md").code(name="sync.py"))
        at.write("pooled.py")
        pooler = Pooler()
        one, two, three = (pooler.connect(application_name=f"client {n}") for n in (1, 2, 3))

        @contextmanager
        def part(about: str) -> Iterator[None]:
            """With no transaction open, whatever became of the part before."""
            for database in (one, two, three):
                if database.connection.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
                    database.rows("ROLLBACK")
            with checks.part(f"pgbouncer, {about}"):
                yield

        with part("a run on several server connections"):
            run = one.row("SELECT *, pg_backend_pid() AS pid FROM sync_state_begin('across', owner => 'one')")
            two.rows("BEGIN")
            busy = two.value("SELECT pg_backend_pid()")
            pid = one.value("SELECT pg_backend_pid() FROM sync_state_checkpoint('across', %s, '{\"n\": 1}')", run.run_id)
            check("the other connection is another one", busy != pid)
            two.rows("COMMIT")
            one.rows("BEGIN")
            held = one.value("SELECT pg_backend_pid()")
            row = two.row("SELECT pg_backend_pid() AS pid, sync_status FROM sync_state_mark_synced('across', 'h', 'h', %s)",
                          run.run_id)
            one.rows("COMMIT")
            check("checkpoint and mark are on different ones, for different clients", held != row.pid)
            equal("it is marked", (row.sync_status, at.db.value(
                "SELECT outcome FROM syncstate.sync_run WHERE type_key = 'across'")), ("in_sync", "synced"))

        with part("application_name"):
            for client_, name in ((one, "client 1"), (two, "client 2"), (one, "client 1"), (three, "client 3")):
                equal("owner", client_.value("SELECT owner FROM sync_state_begin(gen_random_uuid()::text)"), name)

        def everywhere(query: str) -> list[Any]:
            """The answers of both server connections."""
            one.rows("BEGIN")
            first = one.value(query)
            second = two.value(query)
            one.rows("COMMIT")
            return [first, second]

        with part("SET LOCAL and notifications"):
            direct = psycopg2.connect(dbname="cms")
            direct.autocommit = True
            direct.cursor().execute("LISTEN syncstate")
            for statement in at.page.code("sql").split(";\n"):
                if statement.strip():
                    one.rows(statement)
            equal("the lease", at.db.value("""SELECT lease_expires_at - updated_at BETWEEN '9 min 50 s' AND '10 min'
                                              FROM sync_state_get('article')"""), True)
            wait_until(lambda: direct.poll() or direct.notifies, "notification")
            check("who listens directly is told", '"article"' in direct.notifies[0].payload, direct.notifies)
            equal("what was set LOCAL is gone", everywhere("SHOW syncstate.lease"), ["5min", "5min"])
            direct.close()

        with part("SET"):
            one.rows("BEGIN")
            two.rows("SET syncstate.lease = '3 h'")
            one.rows("COMMIT")
            equal("it is left on one connection, for whoever comes", sorted(everywhere("SHOW syncstate.lease")), ["3h", "5min"])
            at.db.rows("SELECT sync_state_version(); ALTER DATABASE cms SET syncstate.lease = '7 min'")
            pooler.admin("RECONNECT cms")
            new = ["7min", "7min"]
            check("ALTER DATABASE and RECONNECT",
                  wait_until(lambda: everywhere("SELECT current_setting('syncstate.lease') FROM sync_state_version()") == new, "new setting"))
            at.db.rows("ALTER DATABASE cms RESET syncstate.lease")
            pooler.admin("RECONNECT cms")

        with part("LISTEN"):
            one.rows("BEGIN")
            one.rows("LISTEN syncstate")
            listens = one.value("SELECT pg_backend_pid()")
            one.rows("COMMIT")
            # Whoever has that connection when the notification comes.
            two.rows("BEGIN")
            has = two
            if two.value("SELECT pg_backend_pid()") != listens:
                three.rows("BEGIN")
                equal("the other one is the one that listens", three.value("SELECT pg_backend_pid()"), listens)
                has = three
            at.db.rows("SET syncstate.notify = 'changes'; SELECT sync_state_observe('told', 'x'); RESET syncstate.notify")
            two.rows("COMMIT")
            three.rows("COMMIT")
            check("a client hears that has not listened", has.connection.notifies)
            one.rows("SELECT 1")
            equal("... and the one that has does not", one.connection.notifies, [])
            pooler.admin("RECONNECT cms")

        with part("options"):
            try:
                pooler.connect(options="-c syncstate.lease=1h")
                check("they are refused", False)
            except psycopg2.OperationalError as error:
                check("they are refused", "startup parameter" in str(error), error)
            pooler.config["pgbouncer"]["ignore_startup_parameters"] = "options"
            pooler.save()
            pooler.admin("RELOAD")
            ignored = pooler.connect(options="-c syncstate.lease=1h")
            equal("they are dropped if they are to be ignored",
                  ignored.value("SELECT current_setting('syncstate.lease') FROM sync_state_version()"), "5min")
            ignored.close()

        with part("a pool that is used up"):
            one.rows("BEGIN")
            two.rows("BEGIN")
            one.rows("SELECT 1")
            two.rows("SELECT 1")
            waiting = Process([PYTHON, str(HERE / "bridge.py"), str(at.put("wait.py", """
import psycopg2
connection = psycopg2.connect("")
connection.autocommit = True
def ask():
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM sync_state_try_begin('article')")
    return cursor.fetchone()[0]
calls = {"ask": ask}
"""))], at.directory, {**at.env, **pooler.env}, LOG / "clients-pgbouncer-wait")
            waiting.start("ask")
            wait_until(lambda: any(row[3] > 0 for row in pooler.admin("SHOW POOLS") if row[0] == "cms"), "waiting client")
            check("a third client waits", waiting.replies.empty())
            two.rows("COMMIT")
            equal("... until a transaction ends", waiting.reply(), Reply(0))
            one.rows("COMMIT")
            waiting.close()

        with part("prepared statements"):
            with client(at.python(PREPARES, pooler.env)) as process:
                reply = process.call("plain")
                check("without the setting, they fail", reply.code in ("26000", "42P05"), reply)
                pooler.admin("RECONNECT cms")
                equal("with it, they do not", process.call("pooled"), Reply("fine"))

        for database in (one, two, three):
            database.close()
        pooler.close()


# --------------------------------------------------------------------------- main

TESTS = {"page": test_page, "psql": test_psql, "psycopg": test_psycopg, "node-postgres": test_node_postgres,
         "sqlalchemy": test_sqlalchemy, "django": test_django, "pgbouncer": test_pgbouncer}


def main() -> int:
    os.environ["TMPDIR"] = tempfile.gettempdir()
    for name in sys.argv[1:] or TESTS:
        with checks.part(name):
            TESTS[name]()
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
