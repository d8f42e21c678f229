"""What the tests of doc/api.md and doc/monitoring.md share: checks that are counted,
waiting for a condition, programs that are ended with the test, databases and psql."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psycopg2
import psycopg2.extensions

Connection = psycopg2.extensions.connection

# Nothing waits longer than this for something that takes moments, unless it is broken.
PATIENCE = 60.0


class Checks:
    """Counts what is as it should be.  A part that breaks off is a failed check, and the
    next one is tried."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def true(self, text: str, condition: bool, details: object = "") -> None:
        if condition:
            self.passed += 1
            print(f"    ok: {text}", flush=True)
        else:
            self.failed += 1
            print(f"    NOT OK: {text}{': ' if details else ''}{details}", flush=True)

    def equal(self, text: str, actual: object, expected: object) -> None:
        self.true(text, actual == expected, f"{actual!r}, where {expected!r} was expected")

    def between(self, text: str, actual: float, low: float, high: float) -> None:
        self.true(text, low <= actual <= high, f"{actual!r}, where {low!r} to {high!r} was expected")

    def refused(self, text: str, sqlstate: str, call: Callable[[], object]) -> None:
        try:
            answer = call()
        except psycopg2.Error as error:
            self.equal(text, error.pgcode, sqlstate)
        else:
            self.true(text, False, f"not refused, but {answer!r}")

    def part(self, title: str, run: Callable[[], None]) -> None:
        print(f"{title}", flush=True)
        try:
            run()
        except Exception:
            self.true(f"{title}: it did not come to its end", False, traceback.format_exc())

    def finish(self) -> int:
        """The last line, and the status of the program."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


def wait_until(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true value that the condition gives."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} seconds in vain: {what}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def log_directory() -> Path:
    return Path(os.environ["SYNCSTATE_LOG"])


class Program:
    """A program that runs beside the test, and ends with it.  Its output is kept.  Only one
    that is made with libpq is given libpq's variables: others may trip over them."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None,
                 libpq: bool = False):
        self.log = log_directory() / name
        self.output: IO[bytes] = open(self.log, "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, cwd=cwd,
                                        start_new_session=True, env={
                                            **{name: value for name, value in os.environ.items() if libpq or not name.startswith("PG")},
                                            **(environment or {})})
        atexit.register(self.stop)

    def read(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def running(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.log.name} has ended with status {self.process.returncode}:\n{self.read()[-2000:]}")
        return True

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()


class Database:
    """A connection that commits each statement."""

    def __init__(self, connection: Connection):
        connection.autocommit = True
        self.connection = connection

    @classmethod
    def create(cls, name: str) -> Database:
        subprocess.run(["createdb", "--encoding=UTF8", "--template=template0", name], check=True)
        return cls(psycopg2.connect(dbname=name))

    def run(self, query: str, *values: object) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall()

    def value(self, query: str, *values: object) -> Any:
        return self.rows(query, *values)[0][0]


def psql(database: str, script: str, *options: str, environment: dict[str, str] | None = None) -> str:
    """What psql answers to a script; its first error ends it, and is raised."""
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, *options, "-f", "-"], input=script,
                          env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"psql: {done.stderr}")
    return done.stdout
