#!/usr/bin/python3
"""Benchmarks: what the extension does against what people write by hand.

    bench.py [--rows N] [--checkpoints N] [--doc] [--revision TEXT] [SECTION]...

Runs in a throwaway cluster (see script/sandbox and `make bench`).  Each file in
sections/ is a section; its docstring says what is compared with what, and why
that is what somebody would do instead.  Everything that is compared runs in
turn, A B C A B C ..., after one round for warming up, and a ratio is that of a
round: what slows the machine down for a while slows both sides.  Shown are
medians, and of ratios the least and the greatest too.

CPU is what the kernel charged to the backend, /proc/self/schedstat; wall time is
beside it.  No figure is asserted: exits with 1 only if a section could not run.

Leaves report.md and chart.svg in test/bench/results; with --doc, the tables
of doc/performance.md.
"""

import argparse
import collections
import contextlib
import datetime
import importlib
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

import psycopg2

import report

DIRECTORY = os.path.dirname(os.path.abspath(__file__))
SECTIONS = ["digest", "diff", "tracking", "tracking_rows", "calls", "orm", "bulk", "batch", "plan", "runs",
            "interrupted", "feed", "checkpoints", "trigger", "growth"]
# What one row, call or transaction took: seconds of CPU, seconds, and how many a second.
Cost = collections.namedtuple("Cost", "cpu wall rate", defaults=[None])
# How long a disk may take over one write, in seconds.
STANDSTILL = 60
CPU_NOW = "split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint"


class Session:
    """A connection in autocommit mode that knows what its backend has used."""

    def __init__(self, database, settings):
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self.connection = psycopg2.connect(dbname=database, options=options)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()

    def run(self, statement, *args):
        self.cursor.execute(statement, args or None)

    def rows(self, statement, *args):
        self.run(statement, *args)
        return self.cursor.fetchall()

    def value(self, statement, *args):
        return self.rows(statement, *args)[0][0]

    def cost(self, statement, *args, per=1, times=1):
        """Of the statement, its commit included, divided by `per`; run `times` times."""
        before, start = self.value("SELECT " + CPU_NOW), time.perf_counter()
        for _ in range(times):
            self.run(statement, *args)
        wall = time.perf_counter() - start
        cpu = (self.value("SELECT " + CPU_NOW) - before) / 1e9
        return Cost(cpu / times / per, wall / times / per)

    def vacuum(self, *tables):
        for table in tables:
            self.run(f"VACUUM (FREEZE, ANALYZE) {table}")

    def close(self):
        self.connection.close()


class Section:
    """What a section's run() is given: databases, sizes, measuring, and rows for the report."""

    def __init__(self, name, options):
        self.name, self.options = name, options
        self.module = importlib.import_module("sections." + name)
        self.database = "bench_" + name
        self.rows, self.notes, self.databases = [], [], []
        self.seconds = 0

    # Preparing

    def size(self, number):
        """A number of rows, keys or calls; smaller if --rows is."""
        return max(100, number * self.options.rows // 5_000_000)

    def create_database(self, suffix=""):
        name = self.database + suffix
        with contextlib.closing(Session("postgres", {})) as session:
            session.run(f"DROP DATABASE IF EXISTS {name}")
            session.run(f"CREATE DATABASE {name}")
        self.databases.append(name)
        with contextlib.closing(Session(name, {})) as session:
            session.run("CREATE EXTENSION syncstate")
            session.run("CREATE UNLOGGED TABLE bench_cpu (client int, cpu bigint)")

    def drop_databases(self):
        with contextlib.closing(Session("postgres", {})) as session:
            for name in self.databases:
                session.run(f"DROP DATABASE {name} WITH (FORCE)")
            # What has been written need not be remembered.
            session.run("CHECKPOINT")

    def session(self, suffix="", **settings):
        settings = {"synchronous_commit": "off", "max_parallel_workers_per_gather": 0,
                    "work_mem": "256MB", "client_min_messages": "warning", **settings}
        return Session(self.database + suffix, settings)

    def load(self, session, file):
        with open(os.path.join(DIRECTORY, file), encoding="utf-8") as script:
            session.run(script.read())

    @contextlib.contextmanager
    def server(self, **settings):
        """Settings of the server's for a while: those that a reload changes."""
        with contextlib.closing(Session("postgres", {})) as session:
            for name, value in settings.items():
                session.run(f"ALTER SYSTEM SET {name} = %s", value)
            session.run("SELECT pg_reload_conf()")
            try:
                yield
            finally:
                for name in settings:
                    session.run(f"ALTER SYSTEM RESET {name}")
                session.run("SELECT pg_reload_conf()")

    # Measuring

    def compare(self, contestants, rounds=5, before=None):
        """Runs each in turn, another one first in each round; a list of costs for each name.  `before` is not measured."""
        costs = {name: [] for name in contestants}
        names = list(contestants)
        for number in range(rounds + 1):
            for name in names[number % len(names):] + names[:number % len(names)]:
                if before:
                    before()
                cost = contestants[name]()
                if number > 0:
                    costs[name].append(cost)
        return costs

    @contextlib.contextmanager
    def clients(self, script, *limit, clients=1, mode="prepared", variables=(), **settings):
        """A running pgbench, and a list that its output is in at its end."""
        settings = {"synchronous_commit": "off", **settings}
        defined = [f"-D{name}={value}" for name, value in dict(variables).items()]
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        output = []
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
            file.write(script)
            file.flush()
            command = [os.path.join(bindir(), "pgbench"), "-n", "-M", mode, "-c", str(clients),
                       "-f", file.name, *map(str, limit), *defined, self.database]
            with subprocess.Popen(command, env={**os.environ, "PGOPTIONS": options}, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                yield process, output
                output += process.communicate()
                # It may have been stopped before it was through.
                if process.returncode not in (0, -signal.SIGTERM):
                    raise RuntimeError(f"pgbench: {output[1]}")

    def pgbench(self, script, transactions=None, seconds=None, clients=1, statements=1, variables=(),
                **options):
        """Runs a script of pgbench: what one of its `statements` took the backends.

        CPU is read by the backends when they have done a tenth, and at the end."""
        last = transactions or 0
        first = max(1, last // 10)
        script = (f"\\set n :n + 1\n\\if :n = {first} or :n = {last}\n"
                  f"INSERT INTO bench_cpu SELECT :client_id, {CPU_NOW};\n\\endif\n" + script)
        limit = ("-t", transactions) if transactions else ("-T", seconds)
        with contextlib.closing(self.session()) as session:
            session.run("TRUNCATE bench_cpu")
            with self.clients(script, *limit, clients=clients, variables={"n": 0, **dict(variables)},
                              **options) as (_, output):
                pass
            rate = float(re.search(r"tps = ([0-9.]+)", output[0]).group(1)) * statements
            cpu = session.value("SELECT sum(used) FROM (SELECT max(cpu) - min(cpu) AS used"
                                " FROM bench_cpu GROUP BY client) AS c")
        if transactions:
            cpu = float(cpu) / 1e9 / (clients * (last - first) * statements)
        return Cost(cpu, clients / rate, rate)

    def pace(self, script, counter, clients, warm_up, seconds, **options):
        """How fast a counter grows, by a query, once the clients have warmed up."""
        with contextlib.closing(self.session()) as session, \
                self.clients(script, "-T", math.ceil(warm_up + seconds), clients=clients, **options):
            readings = []
            for pause in (warm_up, seconds):
                time.sleep(pause)
                readings.append((session.value(counter), time.perf_counter()))
        (before, start), (after, end) = readings
        rate = (after - before) / (end - start)
        return Cost(None, 1 / rate if rate else None, rate)

    def take_turns(self, scripts, rounds, seconds=0.1, warm_up=2, **options):
        """Transactions per second of several pgbench of which one at a time runs, while the others are paused.

        Each round is one turn of each, in this order and then the other way round: what a disk can do changes
        within seconds, and short turns scatter no more than long ones.  What is counted are the transaction ids
        that were taken: all transactions must write."""
        rates = {name: [] for name in scripts}
        with contextlib.closing(self.session()) as session, contextlib.ExitStack() as running:
            processes = {}
            for name, script in scripts.items():
                # Longer than it will be asked for.
                processes[name], _ = running.enter_context(
                    self.clients(script, "-T", math.ceil(warm_up + 10 * rounds * len(scripts) * seconds), **options))
                running.callback(end_paused, processes[name])
                time.sleep(warm_up)
                processes[name].send_signal(signal.SIGSTOP)
            for number in range(rounds):
                for name in list(scripts)[::1 if number % 2 else -1]:
                    rates[name].append(self.turn(session, processes[name], seconds))
        return rates

    @staticmethod
    def turn(session, process, seconds):
        """How many transactions per second a paused pgbench carries out."""
        def now():
            return session.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"), time.perf_counter()
        # What the one before had begun ends meanwhile; and this one gets going.
        time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        before, start = now()
        after, end = before, start
        # A disk may take longer than a turn over one write; that counts.
        while after == before and end - start < STANDSTILL:
            time.sleep(seconds)
            after, end = now()
        process.send_signal(signal.SIGSTOP)
        if process.poll() is not None:
            raise RuntimeError("pgbench has ended")
        if after == before:
            raise RuntimeError(f"pgbench did nothing in {STANDSTILL} s")
        rate = (after - before) / (end - start)
        return Cost(None, 1 / rate, rate)

    # Reporting

    def ratio(self, what, costs, ours, theirs, target=None, by="cpu", reason=None):
        """How many times as much as theirs ours takes; of rates, does."""
        self._compare(what, costs, ours, theirs, target, by, reason, lambda a, b: a / b)

    def faster(self, what, costs, ours, theirs, target=None, by="cpu", reason=None):
        """How many times faster than theirs ours is."""
        self._compare(what, costs, ours, theirs, target, by, reason, lambda a, b: b / a)

    def _compare(self, what, costs, ours, theirs, target, by, reason, quotient):
        def of(measure):
            pairs = list(zip(costs[ours], costs[theirs]))
            return [quotient(getattr(a, measure), getattr(b, measure)) for a, b in pairs]
        def shown(name):
            return report.quantity(statistics.median(getattr(c, by) for c in costs[name]), by)
        wall = "" if by != "cpu" else f"{statistics.median(of('wall')):.2f}"
        self.add(report.Row(what, by, of(by), "", shown(ours), shown(theirs), wall, target, reason))

    def added(self, what, costs, with_it, without, unit="µs", target=None, reason=None):
        """CPU that is added, in microseconds."""
        values = [(a.cpu - b.cpu) * 1e6 for a, b in zip(costs[with_it], costs[without])]
        shown = [report.quantity(statistics.median(c.cpu for c in costs[name]), "cpu")
                 for name in (with_it, without)]
        self.add(report.Row(what, "cpu", values, unit, *shown, "", target, reason))

    def figure(self, what, values, unit, target=None, by="", reason=None):
        """A figure that is compared with nothing."""
        self.add(report.Row(what, by, values, unit, "", "", "", target, reason))

    def add(self, row):
        self.rows.append(row)
        print("    " + row.text(), flush=True)

    def note(self, text):
        self.notes.append(text)
        print("    " + text, flush=True)

    def run(self):
        start = time.monotonic()
        print(f"\n== {self.name}", flush=True)
        self.create_database()
        self.module.run(self)
        self.drop_databases()
        self.seconds = time.monotonic() - start
        print(f"    ({self.seconds:.0f} s)", flush=True)


def end_paused(process):
    process.send_signal(signal.SIGCONT)
    process.terminate()


def bindir():
    return subprocess.run([os.environ["PG_CONFIG"], "--bindir"], capture_output=True,
                          text=True, check=True).stdout.strip()


def use_socket():
    """Everything goes over the Unix socket."""
    with contextlib.closing(Session("postgres", {})) as session:
        directory = session.value("SHOW unix_socket_directories").split(",")[0].strip()
    os.environ["PGHOST"] = directory


def environment(options):
    """What the figures depend on."""
    with contextlib.closing(Session("postgres", {})) as session:
        server = session.value("SHOW server_version")
        settings = session.rows("SELECT name, current_setting(name) FROM pg_settings"
                                " WHERE source = 'configuration file' AND name = ANY (%s) ORDER BY name",
                                ["shared_buffers", "max_wal_size", "checkpoint_timeout", "wal_level",
                                 "autovacuum", "jit", "fsync"])
    with open(os.path.join(DIRECTORY, "../../syncstate.control"), encoding="utf-8") as control:
        extension = re.search(r"default_version = '(.*)'", control.read()).group(1)
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        model = re.search(r"model name\s*: (.*)", cpuinfo.read())
    with open("/proc/meminfo", encoding="utf-8") as meminfo:
        memory = int(re.search(r"MemTotal: *([0-9]+)", meminfo.read()).group(1)) / 2**20
    arguments = " ".join(([f"SECTIONS='{' '.join(options.sections)}'"] if options.partial else [])
                         + ([f"ROWS={options.rows}"] if options.rows != 5_000_000 else [])
                         + ([f"CHECKPOINTS={options.checkpoints}"] if options.checkpoints != 1_000_000 else [])
                         + (["DOC=1"] if options.doc else []))
    return [
        ("machine", f"{model.group(1) if model else os.uname().machine}, {os.cpu_count()} cores,"
                    f" {memory:.0f} GB, Linux {os.uname().release}"),
        ("load before", " ".join(f"{load:.1f}" for load in os.getloadavg())),
        ("versions", f"PostgreSQL {server}, syncstate {extension}"
                     + (f" ({options.revision})" if options.revision else "")),
        ("settings", ", ".join(f"{name} = {value}" for name, value in settings)),
        ("date", datetime.date.today().isoformat()),
        ("command", f"make bench {arguments}".strip()),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--checkpoints", type=int, default=1_000_000)
    parser.add_argument("--revision", default="")
    parser.add_argument("--doc", action="store_true")
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    options = parser.parse_args()
    options.partial = bool(options.sections)
    options.sections = options.sections or SECTIONS
    unknown = set(options.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {' '.join(SECTIONS)}")

    # Who is told to end does not leave a pgbench behind, and less so a paused one.
    for end in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda number, _: sys.exit(128 + number))

    use_socket()
    facts = environment(options)
    results = os.path.join(DIRECTORY, "results")
    os.makedirs(results, exist_ok=True)
    sections, failed = [], []
    for name in options.sections:
        section = Section(name, options)
        try:
            section.run()
        except Exception:       # pylint: disable=broad-except
            traceback.print_exc()
            failed.append(name)
        sections.append(section)
        report.write(results, facts, sections, failed)
    if options.doc:
        report.write_doc(os.path.join(DIRECTORY, "../../doc/performance.md"), facts, sections, failed)
    print(f"\nreport: {os.path.join('test/bench/results', 'report.md')}")
    if failed:
        print(f"could not run: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, DIRECTORY)
    sys.exit(main())
