"""What the tests of the pages stand on: checks, the server, and clients in
processes of their own, with which a test can do what happens to them in real life:
kill them, break their connections, get in between two batches."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg2
import psycopg2.extras

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
sys.path.insert(0, str(HERE.parent))

DEADLINE = float(os.environ.get("DEADLINE", "60"))       # seconds; what takes longer will not come


class Checks:
    """Counts, and shows what failed."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.about = ""

    def check(self, what: str, right: bool, detail: Any = "") -> bool:
        if right:
            self.passed += 1
        else:
            self.failed += 1
            print(f"not ok - {self.about}: {what}" + (f"\n    {detail}" if detail != "" else ""), flush=True)
        return right

    def equal(self, what: str, found: Any, expected: Any) -> bool:
        return self.check(what, found == expected, f"found {found!r}\n    expected {expected!r}")

    @contextmanager
    def part(self, about: str) -> Iterator[None]:
        """A part that breaks off failed, and the others go on."""
        self.about, before, start = about, self.failed, time.monotonic()
        try:
            yield
        except Exception as error:
            self.check("runs to its end", False, f"{type(error).__name__}: {error}")
            if os.environ.get("TRACE"):
                raise
        print(f"{'ok' if self.failed == before else 'NOT OK'} - {about} ({time.monotonic() - start:.1f} s)", flush=True)


checks = Checks()
check, equal = checks.check, checks.equal


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise TimeoutError(f"in {DEADLINE} s there was no {what}")


class Database:
    """The test's own connection, which looks at what clients have left, and gets in
    their way.  Each statement is a transaction."""

    def __init__(self, **options: Any) -> None:
        self.connection = psycopg2.connect(cursor_factory=psycopg2.extras.NamedTupleCursor, **options)
        self.connection.autocommit = True

    def rows(self, query: str, *values: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def row(self, query: str, *values: Any) -> Any:
        return next(iter(self.rows(query, *values)), None)

    def value(self, query: str, *values: Any) -> Any:
        row = self.row(query, *values)
        return None if row is None else row[0]

    def column(self, query: str, *values: Any) -> list[Any]:
        return [row[0] for row in self.rows(query, *values)]

    def close(self) -> None:
        self.connection.close()


@dataclass
class Reply:
    value: Any = None
    code: str = ""          # SQLSTATE, if the driver knows one
    message: str = ""       # empty unless the call failed


class Process:
    """A client in a process of its own, through bridge.py or bridge.mjs."""

    def __init__(self, command: list[str], directory: Path, env: dict[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(command, cwd=directory, env=env, text=True, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors)
        self.log = log
        self.replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.replies.put(line)
        self.replies.put("")

    def start(self, name: str, *arguments: Any) -> None:
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()

    def reply(self) -> Reply:
        line = self.replies.get(timeout=DEADLINE)
        if not line:
            raise RuntimeError(f"the client has ended; see {self.log}")
        return Reply(**json.loads(line))

    def call(self, name: str, *arguments: Any) -> Reply:
        self.start(name, *arguments)
        return self.reply()

    def kill(self) -> None:
        """As a crash would: it says nothing to anybody."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Psql:
    """The scripts of psql's page, each call a process."""

    # A script does not catch these; what the page says about them.
    ANSWERS = {"55P03": "held", "55000": "superseded", "P0002": "superseded"}
    SCRIPTS = {"sync": "push.sql", "recover": "recover.sql", "follow": "follow.sql"}

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self.directory, self.env = directory, env
        self.process: subprocess.Popen[str] | None = None
        self.name = ""

    def start(self, name: str, *arguments: Any) -> None:
        self.name = name
        command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-f", self.SCRIPTS[name]]
        if name == "sync":
            command += ["-v", f"key={arguments[0]}"]
        self.process = subprocess.Popen(command, cwd=self.directory, env=self.env, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def reply(self) -> Reply:
        out, err = self.process.communicate(timeout=DEADLINE)
        if self.process.returncode != 0:
            found = re.search(r"(?:ERROR|FATAL): +(\w{5}): ", err)
            code = found[1] if found else ""
            if self.name == "sync" and code in self.ANSWERS:
                return Reply(self.ANSWERS[code])
            return Reply(code=code, message=err or "failed")
        return Reply(out.strip().rpartition("\n")[2])

    def call(self, name: str, *arguments: Any) -> Reply:
        self.start(name, *arguments)
        return self.reply()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def close(self) -> None:
        pass
