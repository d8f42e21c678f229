"""Where the code of a page runs: a directory with its files, a new database `cms`, and
PgBouncer in front of it."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import psycopg2

from harness import HERE, ROOT, Database, Process, check, equal, wait_until
from page import Page
from scenario import INSTRUMENTS, Scenario

DOC = ROOT / "doc" / "clients"
LOG = Path(os.environ.get("SYNCSTATE_LOG", tempfile.gettempdir()))


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

    def client(self, glue: str, env: dict[str, str] | None = None) -> Process:
        """The page's code, called by a file of glue/."""
        bridge = ["node", "bridge.mjs"] if glue.endswith(".mjs") else ["/usr/bin/python3", "bridge.py"]
        return Process([bridge[0], str(HERE / bridge[1]), str(HERE / "glue" / glue)], self.directory,
                       {**self.env, **(env or {})}, LOG / f"clients-{self.name}")

    def close(self) -> None:
        self.db.close()
        shutil.rmtree(self.directory)


class Pooler:
    """PgBouncer, as its page has it, but for where it is and who may connect."""

    def __init__(self) -> None:
        self.page = Page(DOC / "pgbouncer.md")
        self.directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self.env = {"PGHOST": str(self.directory), "PGPORT": "6432", "POOLED": "1"}
        config = configparser.ConfigParser()
        config.read_string(self.page.code(name="pgbouncer.ini"))
        admin = Database(dbname="postgres")
        server = admin.connection.info
        self.user = server.user
        config["databases"] = {"cms": f"host={server.host} port={server.port} user={server.user} "
                                      f"password='{server.password or ''}'"}
        config["pgbouncer"].update({"listen_addr": "", "unix_socket_dir": str(self.directory), "auth_type": "any",
                                    "admin_users": self.user, "logfile": str(LOG / "clients-pgbouncer")})
        del config["pgbouncer"]["auth_file"]
        admin.close()
        self.config = config
        self.save()
        path = os.environ["PATH"] + ":/usr/sbin"
        self.process = subprocess.Popen(["pgbouncer", "-q", str(self.directory / "pgbouncer.ini")],
                                        env={**os.environ, "PATH": path},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(self.answers, "pooler")
        except Exception:
            self.close()
            raise

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
    """All that the page has is to be run within."""
    at = Place(page, example)
    try:
        yield at
        equal("what of the page was not run", [str(block) for block in at.page.left()], [])
    finally:
        at.close()


@contextmanager
def pooler() -> Iterator[Pooler]:
    pooler = Pooler()
    try:
        yield pooler
    finally:
        pooler.close()


@contextmanager
def client(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.close()


def play(at: Place, make: Any, owner: str = "articles", reports: bool = True) -> None:
    """The scenario, straight to the server and by way of PgBouncer."""
    scenario = Scenario(at.db, make, owner, reports)
    scenario.play(at.name)
    scenario.close()
    with pooler() as pooled:
        scenario = Scenario(at.db, lambda: make(pooled.env), owner, reports)
        # A script's setting that makes the server look for its client is none of the transaction's.
        scenario.play(f"{at.name} by way of PgBouncer",
                      tuple(part for part in Scenario.POOLED_PARTS if reports or part != "killed"))
        scenario.close()


@contextmanager
def played(at: Place, glue: str) -> Iterator[Process]:
    """The page's code by this file of glue/, which has played the scenario."""
    at.db.rows(INSTRUMENTS)
    play(at, lambda env=None: at.client(glue, env))
    with client(at.client(glue)) as process:
        yield process


def notifies(at: Place, listener: Process) -> None:
    """`listen`, then `wait`, which returns how often it was woken."""
    equal("it listens", listener.call("listen").message, "")
    at.db.rows("SET syncstate.notify = 'changes'; SELECT sync_state_observe('woken', gen_random_uuid()::text)")
    reply = listener.call("wait", 30)
    check("a notification wakes it", reply.message == "" and "woken" in str(reply.value), reply)
    at.db.rows("RESET syncstate.notify")
