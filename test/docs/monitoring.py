#!/usr/bin/python3
"""Runs what doc/monitoring.md tells an administrator to do, and looks whether it shows
what is there: the exporter's numbers against a scenario whose numbers are known, the
alerts by promtool, the queries for psql, and the jobs of pg_cron in a server of their
own, one of them by its clock.

    script/sandbox test/docs/monitoring.py
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import psycopg2
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "model"))

from operations import Checks, Database, Program, free_port, psql, wait_until
from page import Page
from server import USER, Server

PAGE = Page("doc/monitoring.md")
QUERIES = Path("examples/monitoring/queries.yaml")
ALERTS = Path("examples/monitoring/alerts.yaml")
DATABASE = "syncstate_monitoring"
DAY = 86400.0

Series = tuple[str, tuple[tuple[str, str], ...]]

checks = Checks()


def series(metric: str, **labels: str) -> Series:
    return metric, tuple(sorted(labels.items()))


# ---------------------------------------------------------------------------
# A database in which everything is to be seen.  What is counted stands beside it.
# ---------------------------------------------------------------------------

def interrupt(db: Database, key: str, owner: str = "worker") -> str:
    """Begins a run, and waits until its lease has ended."""
    run_id = str(db.value("SELECT run_id FROM sync_state_begin(%s, '1 ms', %s)", key, owner))
    wait_until("the lease ends", lambda: db.value("SELECT %s = ANY (array(SELECT sync_state_detect_interrupted()))", key))
    return run_id


def make_states(db: Database) -> None:
    db.run("CREATE EXTENSION syncstate")
    for key in ("cms:new 1", "cms:new 2", "shop:new"):
        db.run("SELECT sync_state_observe(%s, 'a', remote_absent => true)", key)
    for key in ("cms:synced", "shop:synced"):
        db.run("SELECT sync_state_mark_synced(%s, 'a', 'a')", key)
    db.run("SELECT sync_state_mark_synced('cms:modified', 'a', 'a')")
    db.run("SELECT sync_state_update('cms:modified', jsonb_build_object('last_sync_at', now() - interval '2 days'))")
    db.run("SELECT sync_state_observe('cms:modified', 'b')")
    # Conflicts: two open ones of different kinds, one that is settled.
    db.run("SELECT sync_state_observe('cms:conflict', 'a', 'b')")
    db.run("SELECT sync_state_mark_synced('shop:conflict', 'a', 'a')")
    db.run("SELECT sync_state_observe('shop:conflict', 'b', 'c')")
    db.run("SELECT sync_state_observe('shop:settled', 'a', 'b')")
    db.run("SELECT sync_state_mark_synced('shop:settled', 'a', 'a')")
    # Runs: two live ones, two whose lease has ended, one that never had one.
    db.run("SELECT sync_state_begin('cms:live', '10 minutes', 'worker 1')")
    db.run("SELECT sync_state_begin('shop:live', '2 hours', 'worker 2')")
    interrupt(db, "cms:interrupted")
    interrupt(db, "shop:interrupted")
    db.run("""SELECT sync_state_update('cms:plain', '{"sync_status": "syncing"}')""")
    # Ended runs: one synced, one failed, two rolled back, one superseded.
    db.run("SELECT sync_state_mark_synced('cms:done', 'a', 'a', (SELECT run_id FROM sync_state_begin('cms:done')))")
    db.run("SELECT sync_state_fail('cms:failed', (SELECT run_id FROM sync_state_begin('cms:failed', NULL, 'worker 3')), 'no answer')")
    for _ in range(2):
        db.run("SELECT sync_state_rollback('cms:rolled', (SELECT run_id FROM sync_state_begin('cms:rolled')), 'refused')")
    interrupt(db, "cms:taken over")
    db.run("SELECT sync_state_mark_synced('cms:taken over', 'a', 'a', (SELECT run_id FROM sync_state_begin('cms:taken over')))")
    # No status at all.
    db.run("SELECT sync_state_update('shop:untold', '{}')")
    # A deleted key, and a table whose digest is kept by triggers.
    db.run("SELECT sync_state_observe('cms:gone', 'a')")
    db.run("SELECT sync_state_forget('cms:gone')")
    db.run("CREATE TABLE article (id int PRIMARY KEY, title text)")
    db.run("SELECT sync_source_attach('cms:synced', 'article')")
    db.run("SELECT sync_source_track('cms:synced')")
    db.run("INSERT INTO article VALUES (1, 'Apples')")
    db.run("INSERT INTO article VALUES (2, 'Pears')")
    # The past, which no function makes.
    db.run("UPDATE syncstate.sync_run SET started_at = now() - interval '100 minutes' WHERE type_key = 'cms:live'")
    db.run("UPDATE syncstate.sync_run SET finished_at = now() - interval '3 hours' WHERE type_key = 'cms:done'")
    db.run("UPDATE syncstate.sync_conflict SET detected_at = now() - interval '5 days' WHERE type_key = 'cms:conflict'")
    db.run("UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '4 hours' WHERE type_key = 'shop:interrupted'")
    db.run("UPDATE syncstate.sync_tombstone SET deleted_at = now() - interval '6 days'")


KEYS = {"new": 3, "modified": 1, "conflict": 2, "in_sync": 5, "syncing": 5, "failed": 2, "unknown": 1}
# Without a sync: the new ones; one conflict; all that are syncing; what failed; what nothing is known of.
NEVER = {"new": 3, "modified": 0, "conflict": 1, "in_sync": 0, "syncing": 5, "failed": 2, "unknown": 1}
OPEN = {"create/create": 1, "edit/edit": 1, "edit/delete": 0, "delete/edit": 0}
OUTCOMES = {"synced": (2, 1), "failed": (1, 1), "rolled_back": (2, 2), "superseded": (1, 1)}
HISTORY = {"run": 6, "conflict": 1, "tombstone": 1, "tracking_delta": 2}
TABLES = ["sync_conflict", "sync_feed", "sync_row_base", "sync_run", "sync_source", "sync_state", "sync_tombstone",
          "sync_tracking", "sync_tracking_delta"]


def numbers() -> dict[Series, float]:
    """Metrics whose value is a matter of counting."""
    found: dict[Series, float] = {}
    for status, count in KEYS.items():
        found[series("syncstate_status_keys", sync_status=status)] = count
        found[series("syncstate_status_never_synced", sync_status=status)] = NEVER[status]
    found[series("syncstate_runs_live")] = 2
    found[series("syncstate_interrupted_runs", reason="lease_expired")] = 2
    found[series("syncstate_interrupted_runs", reason="no_lease")] = 1
    for kind, count in OPEN.items():
        found[series("syncstate_conflicts_open", kind=kind)] = count
    for outcome, (runs, last_hour) in OUTCOMES.items():
        found[series("syncstate_outcomes_runs", outcome=outcome)] = runs
        found[series("syncstate_outcomes_last_hour", outcome=outcome)] = last_hour
    for kind, count in HISTORY.items():
        found[series("syncstate_history_rows", kind=kind)] = count
    return found


def times() -> dict[Series, float | None]:
    """Metrics that are a time in seconds: how much when the states were made; None for NaN."""
    found: dict[Series, float | None] = {}
    for status in KEYS:
        found[series("syncstate_status_oldest_sync_age_seconds", sync_status=status)] = {
            "modified": 2 * DAY, "conflict": 0, "in_sync": 0}.get(status)
    found[series("syncstate_runs_lease_remaining_seconds")] = 600
    found[series("syncstate_runs_longest_seconds")] = 6000
    found[series("syncstate_interrupted_age_seconds", reason="lease_expired")] = 4 * 3600
    found[series("syncstate_interrupted_age_seconds", reason="no_lease")] = 0
    for kind in OPEN:
        found[series("syncstate_conflicts_age_seconds", kind=kind)] = {"create/create": 5 * DAY, "edit/edit": 0}.get(kind)
    found[series("syncstate_history_oldest_seconds", kind="run")] = 3 * 3600
    found[series("syncstate_history_oldest_seconds", kind="conflict")] = 0
    found[series("syncstate_history_oldest_seconds", kind="tombstone")] = 6 * DAY
    found[series("syncstate_history_oldest_seconds", kind="tracking_delta")] = None
    return found


# ---------------------------------------------------------------------------
# The exporter
# ---------------------------------------------------------------------------

class Exporter:
    def __init__(self, data_source: str, arguments: list[str]):
        self.url = f"http://127.0.0.1:{(port := free_port())}/metrics"
        self.program = Program("exporter", ["prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{port}", *arguments],
                               {"DATA_SOURCE_NAME": data_source})
        wait_until("the exporter answers", self.answers)

    def answers(self) -> bool:
        self.program.running()
        try:
            return bool(self.text())
        except urllib.error.URLError:
            return False

    def text(self) -> str:
        with urllib.request.urlopen(self.url, timeout=30) as answer:
            return str(answer.read(), "utf-8")

    def scrape(self) -> dict[Series, float]:
        """All series; the exporter's own label, the server, is left out."""
        found: dict[Series, float] = {}
        for line in self.text().splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match is None:
                continue
            labels = {name: value for name, value in re.findall(r'(\w+)="([^"]*)"', match[2] or "") if name != "server"}
            found[series(match[1], **labels)] = float(match[3])
        return found


def ours(found: dict[Series, float]) -> dict[Series, float]:
    return {key: value for key, value in found.items() if key[0].startswith("syncstate_")}


def start_exporter(db: Database) -> Exporter:
    """As the page has it, with this server's address and a password in place of Debian's socket."""
    db.run(PAGE.code("sql", "role"))
    db.run("ALTER ROLE sync_monitor PASSWORD 'of-the-test'")
    shown = subprocess.run(["bash", "-c", PAGE.code("sh", "defaults") + 'printf "%s\\n" "$DATA_SOURCE_NAME" "$ARGS"'],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    data_source = dict(part.split("=") for part in shlex.split(shown[0]))
    parameters = db.connection.get_dsn_parameters()
    data_source |= {"host": parameters["host"], "port": parameters["port"], "dbname": DATABASE, "password": "of-the-test"}
    arguments = [f"--extend.query-path={QUERIES}" if argument.startswith("--extend.query-path=") else argument
                 for argument in shlex.split(shown[1])]
    return Exporter(" ".join(f"{name}={value}" for name, value in data_source.items()), arguments)


def check_exporter(db: Database) -> None:
    exporter = start_exporter(db)
    found = exporter.scrape()
    checks.equal("every query was answered", found[series("pg_exporter_last_scrape_error")], 0)
    for key, number in numbers().items():
        checks.equal(f"{key[0]} {dict(key[1])}", found.get(key), number)
    for key, seconds in times().items():
        value = found[key]
        if seconds is None:
            checks.true(f"{key[0]} {dict(key[1])} is NaN", value != value, value)
        else:
            # What has gone by since: an age grows, a lease shrinks.
            checks.between(f"{key[0]} {dict(key[1])}", value, seconds - 120, seconds + 120)
    version = db.value("SELECT extversion FROM pg_extension WHERE extname = 'syncstate'")
    checks.equal("syncstate_extension_info", found.get(series("syncstate_extension_info", version=version)), 1)
    for table in TABLES:
        checks.equal(f"syncstate_table_bytes of {table}", found.get(series("syncstate_table_bytes", name=table)),
                     db.value(f"SELECT pg_total_relation_size('syncstate.{table}')"))
    expected = {*numbers(), *times(), series("syncstate_extension_info", version=version),
                *(series("syncstate_table_bytes", name=table) for table in TABLES)}
    checks.equal("there are no other series", sorted(set(ours(found)) - expected), [])
    told = re.search(r"All series together are (\d+)", Path(PAGE.path).read_text("utf-8"))
    checks.equal("which are as many as the page says", told and int(told[1]), len(ours(found)))
    checks.true("no key is in what the exporter tells", not re.search(r"cms:|shop:", exporter.text()))

    # The states change.
    db.run("SELECT sync_state_resolve('cms:conflict', 'local')")
    run_id = db.value("SELECT run_id FROM sync_state_begin('cms:interrupted', '20 minutes')")
    db.run("SELECT sync_state_mark_synced('cms:interrupted', 'a', 'a', %s)", run_id)
    db.run("SELECT sync_state_begin('cms:plain', '1 minute')")
    db.run("SELECT sync_state_prune('1 hour')")
    changed = exporter.scrape()
    changes = {key: (number, changed[key]) for key, number in numbers().items() if changed[key] != number}
    checks.equal("after that, these have changed and no others", changes, {
        series("syncstate_status_keys", sync_status="conflict"): (2, 1),
        series("syncstate_status_keys", sync_status="modified"): (1, 2),
        series("syncstate_status_keys", sync_status="in_sync"): (5, 6),
        series("syncstate_status_keys", sync_status="syncing"): (5, 4),
        series("syncstate_status_never_synced", sync_status="conflict"): (1, 0),
        series("syncstate_status_never_synced", sync_status="modified"): (0, 1),
        series("syncstate_status_never_synced", sync_status="syncing"): (5, 4),
        series("syncstate_runs_live"): (2, 3),
        series("syncstate_interrupted_runs", reason="lease_expired"): (2, 1),
        series("syncstate_interrupted_runs", reason="no_lease"): (1, 0),
        series("syncstate_conflicts_open", kind="create/create"): (1, 0),
        series("syncstate_outcomes_runs", outcome="superseded"): (1, 2),
        series("syncstate_outcomes_last_hour", outcome="superseded"): (1, 2),
        series("syncstate_outcomes_last_hour", outcome="synced"): (1, 2),
        series("syncstate_history_rows", kind="conflict"): (1, 2),
        series("syncstate_history_rows", kind="run"): (6, 7),
        series("syncstate_history_rows", kind="tombstone"): (1, 0),
        series("syncstate_history_rows", kind="tracking_delta"): (2, 1)})
    checks.between("the shortest lease is the new one", changed[series("syncstate_runs_lease_remaining_seconds")], 0, 60)

    db.run("""SELECT sync_state_observe_many(k, k, k) FROM (SELECT array_agg('many:' || n) FROM generate_series(1, 1000) n) m (k)""")
    many = exporter.scrape()
    checks.equal("a thousand keys more make no series more", set(ours(many)), set(ours(changed)))
    checks.equal("but are counted", many[series("syncstate_status_keys", sync_status="in_sync")], 1006)
    exporter.program.stop()


def check_role(db: Database) -> None:
    """The exporter's role can do what it must, and no more."""
    db.run("SET ROLE sync_monitor")
    try:
        for query in ("SELECT local_hash FROM syncstate.sync_state", "SELECT run_id FROM syncstate.sync_run",
                      "SELECT sync_progress FROM syncstate.sync_state", "SELECT error FROM syncstate.sync_run",
                      "SELECT * FROM syncstate.sync_conflict", "SELECT * FROM syncstate.sync_source",
                      "DELETE FROM syncstate.sync_tombstone", "SELECT sync_state_observe('x', 'a')"):
            checks.refused(f"refused to the exporter's role: {query}", "42501", lambda query=query: db.run(query))
    finally:
        db.run("RESET ROLE")


def metrics_of_queries() -> dict[str, tuple[str, list[str]]]:
    """For each metric of the query file its usage, and its labels."""
    metrics: dict[str, tuple[str, list[str]]] = {}
    for name, query in yaml.safe_load(QUERIES.read_text("utf-8")).items():
        columns = {column: told for entry in query["metrics"] for column, told in entry.items()}
        labels = [column for column, told in columns.items() if told["usage"] == "LABEL"]
        for column, told in columns.items():
            if column not in labels:
                metrics[f"{name}_{column}"] = (told["usage"], labels)
    return metrics


def check_page() -> None:
    """The page's tables and the rules name what there is."""
    text = Path(PAGE.path).read_text("utf-8")
    metrics = metrics_of_queries()
    table = {name: re.findall(r"`(\w+)`", labels) for name, labels in re.findall(r"^\| `(syncstate_\w+)` \|([^|]*)\|", text, re.M)}
    checks.equal("the page has every metric with its labels, and no other", table, {name: labels for name, (_, labels) in metrics.items()})
    checks.equal("all of them are gauges", {usage for usage, _ in metrics.values()}, {"GAUGE"})
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    used = {name for rule in rules for name in re.findall(r"syncstate_\w+", rule["expr"])}
    checks.equal("alerts use metrics that there are", sorted(used - set(metrics)), [])
    checks.equal("the page has every alert, and no other", re.findall(r"^\| `(Syncstate\w+)` \|", text, re.M),
                 [rule["alert"] for rule in rules])


def check_alerts() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    checks.equal("promtool accepts the rules", (checked.returncode, checked.stderr), (0, ""))
    tested = subprocess.run(["promtool", "test", "rules", "test/docs/alerts.test.yaml"], capture_output=True, text=True, check=False)
    checks.true("each alert comes when it should, and not before", tested.returncode == 0, tested.stdout + tested.stderr)
    rules = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    tests = yaml.safe_load(Path("test/docs/alerts.test.yaml").read_text("utf-8"))["tests"]
    for rule in rules:
        seen = {bool(test.get("exp_alerts")) for part in tests for test in part["alert_rule_test"] if test["alertname"] == rule}
        checks.equal(f"{rule} is seen to come, and not to come", seen, {True, False})


# ---------------------------------------------------------------------------
# psql
# ---------------------------------------------------------------------------

def check_psql(db: Database) -> None:
    def answer(name: str) -> list[str]:
        return psql(DATABASE, PAGE.code("sql", name), "-A", "-F", " | ", "-P", "footer=off").splitlines()

    checks.equal("status by prefix", answer("status-by-prefix"), [
        "prefix | new | modified | conflict | syncing | failed | in_sync | ",
        "cms | 2 | 1 | 1 | 3 | 2 | 3 | ",
        "shop | 1 |  | 1 | 2 |  | 2 | 1"])
    day = db.value("SELECT (now())::date::text")
    # Within three hours of midnight, one of them ended yesterday.
    yesterday = db.value("SELECT (now() - interval '3 hours')::date::text")
    by_day = answer("outcomes-by-day")
    if day == yesterday:
        checks.equal("outcomes by day", by_day, ["day | failed | rolled_back | superseded | synced", f"{day} | 1 | 2 | 1 | 2"])
    else:
        checks.equal("outcomes by day", by_day, ["day | failed | rolled_back | superseded | synced", f"{day} | 1 | 2 | 1 | 1",
                                                 f"{yesterday} |  |  |  | 1"])
    failed = [line.split(" | ") for line in answer("failed")[1:]]
    checks.equal("what has failed, and why", [(line[0], line[2], line[3]) for line in failed],
                 [("cms:failed", "worker 3", "no answer"), ("cms:rolled", "", "refused")])
    behind = [line.split(" | ")[0] for line in answer("behind")[1:]]
    checks.equal("what is behind: those without a sync, then the oldest, then the rest", (set(behind[:12]), behind[12:]), (
        {"cms:new 1", "cms:new 2", "shop:new", "cms:conflict", "cms:live", "shop:live", "cms:interrupted", "shop:interrupted",
         "cms:plain", "cms:failed", "cms:rolled", "shop:untold"}, ["cms:modified", "shop:conflict"]))


def check_watch(db: Database) -> None:
    """\\watch is let go on until it has shown a change."""
    script = Path(os.environ["SYNCSTATE_LOG"]) / "watch.sql"
    script.write_text(PAGE.code("sql", "watch"), "utf-8")
    watching = Program("watch", ["psql", "-X", "-A", "-d", DATABASE, "-f", str(script)], libpq=True)
    run_id = db.value("SELECT run_id FROM syncstate.sync_state WHERE type_key = 'cms:live'")

    def shown() -> list[list[str]]:
        watching.running()
        return [line.split("|") for line in watching.read().splitlines() if line.startswith("cms:live|")]

    wait_until("\\watch has shown something", shown)
    db.run("""SELECT sync_state_checkpoint('cms:live', %s, '{"step": 1, "total": 4}')""", run_id)
    wait_until("\\watch shows the progress", lambda: shown()[-1][4] == "25.0")
    watching.stop(signal.SIGINT)
    lines = [line for line in watching.read().splitlines() if line.startswith("cms:live|")]
    checks.equal("\\watch: a live run before and after a checkpoint", [lines[0].split("|")[:5], lines[-1].split("|")[:5]],
                 [["cms:live", "syncing", "INITIAL_SYNC", "worker 1", ""], ["cms:live", "syncing", "INITIAL_SYNC", "worker 1", "25.0"]])
    checks.true("\\watch leaves out what is in sync", "cms:synced" not in watching.read())


# ---------------------------------------------------------------------------
# pg_cron
# ---------------------------------------------------------------------------

class Cron:
    def __init__(self) -> None:
        self.server = Server("monitoring", PAGE.code("text", "conf"))
        self.server.start()
        Database(self.server.connect()).run("CREATE DATABASE cms")
        self.db = Database(self.server.connect("cms"))
        self.db.run("CREATE EXTENSION syncstate")
        self.db.run(PAGE.code("sql", "cron-role"))

    def session(self, role: str = USER) -> Database:
        db = Database(self.server.connect("cms"))
        db.run(f"SET ROLE {role}")
        return db

    def schedule(self, *names: str) -> None:
        janitor = self.session("sync_janitor")
        for name in names:
            janitor.run(PAGE.code("sql", name))

    def command(self, job: str) -> str:
        """Its text, from where pg_cron takes it."""
        return str(self.db.value("SELECT command FROM cron.job WHERE jobname = %s", job))


def check_cron() -> None:
    cron = Cron()
    db = cron.db
    interrupt(db, "article")
    interrupt(db, "long ago", owner="worker 9")
    db.run("""UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '2 hours' WHERE type_key = 'long ago'""")
    db.run("SELECT sync_state_begin('alive', '1 hour')")

    listener = cron.session()
    listener.run("LISTEN sync_interrupted")
    cron.schedule("wake")
    checks.equal("who the jobs run as", db.rows("SELECT DISTINCT username, database FROM cron.job"), [("sync_janitor", "cms")])

    # By the clock.
    told: set[str] = set()

    def notified() -> bool:
        select.select([listener.connection], [], [], 0.5)
        listener.connection.poll()
        while listener.connection.notifies:
            told.add(listener.connection.notifies.pop(0).payload)
        return {"article", "long ago"} <= told

    wait_until("the job is run by the clock", notified, 90)
    checks.equal("workers are told of interrupted runs, and of no others", told, {"article", "long ago"})
    first = wait_until("the run is in the log of jobs", lambda: [
        row for row in db.rows(PAGE.code("sql", "jobs")) if row[0] == "syncstate: wake workers" and row[2] == "succeeded"])
    checks.equal("the log says that it has succeeded", first[0][1:3], ("* * * * *", "succeeded"))
    checks.equal("it has changed nothing", db.rows("SELECT type_key, sync_status FROM syncstate.sync_state ORDER BY 1"),
                 [("alive", "syncing"), ("article", "syncing"), ("long ago", "syncing")])

    # The others by their own text, as their own role; the clock may bring them besides.
    cron.schedule("end", "prune")
    janitor = cron.session("sync_janitor")
    janitor.run(cron.command("syncstate: end interrupted runs"))
    checks.equal("what has been interrupted for an hour has failed", db.rows(
        "SELECT type_key, sync_status FROM syncstate.sync_state ORDER BY 1"),
        [("alive", "syncing"), ("article", "syncing"), ("long ago", "failed")])
    checks.true("its error says whose it was", db.value("SELECT error FROM syncstate.sync_run WHERE type_key = 'long ago'").startswith(
        "interrupted: nothing was heard of worker 9 since 2"))
    check_end_spares_the_living(cron, janitor)

    db.run("UPDATE syncstate.sync_run SET finished_at = now() - interval '91 days' WHERE type_key = 'long ago'")
    db.run("SELECT sync_state_mark_synced('long ago', 'a', 'a', (SELECT run_id FROM sync_state_begin('long ago')))")
    db.run("SELECT sync_state_observe('gone', 'a')")
    db.run("SELECT sync_state_forget('gone')")
    db.run("UPDATE syncstate.sync_tombstone SET deleted_at = now() - interval '91 days'")
    janitor.run(cron.command("syncstate: prune"))
    checks.equal("what is older than 90 days is gone, what is not is there", (
        db.rows("SELECT run_number, outcome FROM syncstate.sync_run WHERE type_key = 'long ago'"),
        db.value("SELECT count(*) FROM syncstate.sync_tombstone")), ([(2, "synced")], 0))
    logged = db.value("SELECT count(*) FROM cron.job_run_details")
    db.run("UPDATE cron.job_run_details SET end_time = now() - interval '31 days' WHERE runid = 1")
    janitor.run(cron.command("syncstate: prune the log of jobs"))
    checks.equal("what is older than 30 days is gone from the log of jobs",
                 (db.value("SELECT count(*) FROM cron.job_run_details WHERE runid = 1"), logged > 0), (0, True))

    for query in ("SELECT sync_state_repair()", "DELETE FROM syncstate.sync_state", "SELECT * FROM syncstate.sync_source"):
        checks.refused(f"refused to the jobs' role: {query}", "42501", lambda query=query: janitor.run(query))
    cron.server.destroy()


def check_end_spares_the_living(cron: Cron, janitor: Database) -> None:
    """A worker renews its lease while the job, which has seen it ended, wants the row."""
    db = cron.db
    run_id = interrupt(db, "slow")
    db.run("UPDATE syncstate.sync_state SET lease_expires_at = now() - interval '2 hours' WHERE type_key = 'slow'")
    worker = psycopg2.connect(host=cron.server.root, user=USER, dbname="cms")
    with worker.cursor() as cursor:
        cursor.execute("SELECT sync_state_checkpoint('slow', %s, '1', '1 hour')", (run_id,))
    ended: list[object] = []
    command = cron.command("syncstate: end interrupted runs")

    def job() -> None:
        try:
            janitor.run(command)
            ended.append("well")
        except psycopg2.Error as error:
            ended.append(error)

    thread = threading.Thread(target=job)
    thread.start()
    wait_until("the job waits for the worker's transaction", lambda: db.value(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = %s", janitor.connection.get_backend_pid()))
    worker.commit()
    thread.join(60)
    checks.equal("a run that renews its lease while the job looks is not ended", (
        ended, db.rows("SELECT sync_status, run_id::text FROM syncstate.sync_state WHERE type_key = 'slow'")),
        (["well"], [("syncing", run_id)]))
    worker.close()


def main() -> int:
    db = Database.create(DATABASE)
    make_states(db)
    checks.part("the page", check_page)
    checks.part("psql", lambda: check_psql(db))
    checks.part("\\watch", lambda: check_watch(db))
    checks.part("the exporter", lambda: check_exporter(db))
    checks.part("its role", lambda: check_role(db))
    checks.part("the alerts", check_alerts)
    checks.part("pg_cron", check_cron)
    checks.equal("all code of the page was run", [str(block) for block in PAGE.left()], [])
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
