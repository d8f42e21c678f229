#!/usr/bin/python3
"""Random histories of one session against the model of contract.py.

    histories.py [--rounds N] [--seed N] [--steps N]

A round is a history of 50 steps from an empty table: calls of every function that
keeps state, runs or the feed, and plain INSERT, UPDATE and DELETE, with few keys and
few hashes, so that they collide; NULLs and bad arguments, tokens that are stale,
leases that have lapsed, cursors that were pruned; in transactions, READ ONLY ones,
savepoints that are released or rolled back, under session_replication_role =
replica.  After each step, the answer or the SQLSTATE must be one that the model
allows, and so must all columns of all rows of sync_state, sync_run, sync_conflict
and sync_tombstone.  No times are left out: see contract.py.

The database is that of PGHOST, PGPORT ..., in which one of its own is made.  A
round that fails prints its seed and the steps that are needed to reproduce it: others
are dropped, one after the other, as long as it fails in the same way.  A step names
what it is about by its place (the run before the latest, the third cursor), not by
value, so that it still means something when others are gone.  Ends with "rounds: N
passed, N failed".

Steps are generated here and not by Hypothesis: its state machines run some 20 times
fewer steps a second, and keep what they choose in a database of examples, where here
a number is enough to run a history again.  What it would do better is shrinking the
arguments of a step; with so few values there is little to shrink.
"""

import collections
import json
import os
import random
import sys
import time

import psycopg2
import psycopg2.extensions

import contract
import rounds
from contract import Refused

DATABASE = "syncstate_model_histories"
SIBLING = "syncstate_model_sibling"
STEPS = 50

KEYS = ["a", "b", "ab"]
HASHES = ["h1", "h2", "h3"]
PROGRESS = ['{"at": 1}', '{"at": 2}', "null", "[]"]
TIMES = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00.000001Z", "2199-01-01T00:00:00Z"]
# Hand-made tables, with their columns as an application may have named and typed them.
HAND_MADE = {
    "model.snake": {"type_key": "text", "local_hash": "varchar", "remote_hash": "text", "last_synced_hash": "text",
                    "last_synced_remote_hash": "text", "last_sync_at": "timestamptz", "sync_status": "text",
                    "conflict_status": "text", "sync_progress": "jsonb"},
    "model.camel": {"typeKey": "text", "localHash": "text", "remoteHash": "text", "lastSyncedHash": "text",
                    "lastSyncAt": "timestamp", "syncStatus": "text", "syncProgress": "text"},
    "model.plain": {"type_key": "text", "local_hash": "text", "remote_hash": "text", "sync_status": "text"}}
NO_RUN = "00000000-0000-0000-0000-000000000001"

# The type of each argument that is not a text.
TYPES = {"run_id": "uuid", "run_ids": "uuid[]", "lease": "interval", "retry_after": "interval", "older_than": "interval",
         "type_keys": "text[]", "local_hashes": "text[]", "remote_hashes": "text[]", "complete": "boolean",
         "force": "boolean", "local_absent": "boolean", "remote_absent": "boolean", "synced": "boolean",
         "sync_progress": "jsonb", "state": "jsonb", "states": "jsonb", "before": "jsonb", "after": "jsonb",
         "max_keys": "int", "max_rows": "int", "conflict_number": "int", "since": "timestamptz", "as_of": "timestamptz"}
COLUMN_TYPES = {"last_sync_at": "timestamptz", "created_at": "timestamptz", "updated_at": "timestamptz",
                "sync_progress": "jsonb", "changed_xid": "bigint"}
READS = {"sync_state_action", "sync_state_detail", "sync_state_delta", "sync_state_plan", "sync_state_plan_for",
         "sync_state_get", "sync_state_list", "sync_state_changed_since", "sync_state_compare",
         "sync_state_detect_interrupted", "sync_state_changes", "sync_state_cursor"}
UNORDERED = {"sync_state_plan", "sync_state_list"}

# What a step is about, until it is run.
Named = collections.namedtuple("Named", "what n")
Step = collections.namedtuple("Step", "name arguments")


# ----------------------------------------------------------------------------
# Generating
# ----------------------------------------------------------------------------

def snake(name):
    """The name of a column that is written in camelCase."""
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


class Generator:
    """Makes up the steps of a history from a seed, and from nothing else."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def history(self, steps):
        kinds, weights = zip(*self.KINDS.items())
        history = []
        while len(history) < steps:
            kind = self.random.choices(kinds, weights)[0]
            scene = self.SCENES.get(kind, [kind])
            key = self.random.choice(KEYS) if len(scene) > 1 else None
            for name in scene:
                step = Step(*getattr(self, name)())
                if key is not None and "type_key" in step.arguments:
                    step.arguments["type_key"] = key
                if key is None or self.often(0.9):
                    history.append(step)
        return history[:steps]

    # What seldom comes about by chance: some steps on one key, of which one may be left out.
    SCENES = {"interruption": ["begin", "checkpoint", "observe", "set_lease", "resume"],
              "failure": ["begin", "checkpoint", "fail", "observe", "resume"],
              "conflict": ["mark_synced", "diverge", "resolve"],
              "pruning": ["cursor", "observe", "forget", "prune", "changes"]}

    # How often each comes.
    KINDS = {"observe": 14, "diverge": 6, "observe_many": 5, "mark_synced": 9, "mark_synced_many": 4, "update": 9,
             "update_many": 4, "resolve": 6, "reset": 2, "forget": 2, "begin": 20, "try_begin": 2, "resume": 5, "claim": 5,
             "checkpoint": 14, "fail": 6, "rollback": 3, "set_lease": 9, "prune": 4, "age": 3, "adopt": 2, "plain_update": 5,
             "plain_insert": 2, "plain_upsert": 3, "plain_delete": 1, "delta": 2, "plan": 1, "plan_for": 2, "get": 1,
             "list": 1, "compare": 1, "decide": 1, "changed_since": 2, "detect": 3, "cursor": 3, "changes": 10, "start": 6,
             "commit": 4, "abort": 2, "savepoint": 4, "rollback_to": 2, "release": 1, "set_default_lease": 1,
             "set_notify": 1, "interruption": 3, "failure": 3, "conflict": 3, "pruning": 2}

    def often(self, chance):
        return self.random.random() < chance

    def one(self, *options):
        return self.random.choice(options)

    def some(self, options):
        """Arguments with a default, of which some are given."""
        return {name: value for name, value in options.items() if self.often(0.5)}

    def key(self):
        if self.often(0.02):
            return self.one(None, "", "k" * 513)
        return self.random.choices(KEYS, [5, 3, 1])[0]

    def key_that(self, is_so):
        """Mostly a key of which it is true, where there is one: else too few calls would do what they are for."""
        return Named(is_so, self.random.randrange(3)) if self.often(0.6) else self.key()

    def hash(self):
        return self.one(*HASHES, *HASHES, None, "") if self.often(0.9) else None

    def run(self):
        """Mostly the run in hand, else one of before, or none."""
        return self.random.choices([Named("run", 0), Named("run", 1), Named("run", 2), NO_RUN, None], [20, 3, 1, 1, 3])[0]

    def lease(self):
        if self.often(0.03):
            return self.one("0", "-1 second", "25 days", "1 mon")
        return self.one("1 hour", "1 hour", "10 minutes", "1 microsecond", "24 days")

    def owner(self):
        return self.one("worker 1", "worker 2", None)

    def flag(self):
        return None if self.often(0.03) else self.often(0.5)

    def progress(self):
        return self.one(*PROGRESS, *PROGRESS[:2], None)

    def keys(self):
        if self.often(0.03):
            return self.one(None, [], ["a", "a"], [None], [""], ["a", "k" * 513])
        return self.random.sample(KEYS, self.random.randint(1, len(KEYS)))

    def array(self, keys):
        length = len(keys or "x")
        if self.often(0.02):
            length += 1
        return [self.hash() for _ in range(length)]

    def fields(self):
        """A partial state: JSON texts by field; or a JSON text that is no object."""
        if self.often(0.02):
            return self.one("[]", "null", "5", '"x"')
        fields = {}
        for _ in range(self.random.choices([0, 1, 2, 3], [1, 6, 6, 2])[0]):
            field = self.one(*contract.FIELDS)
            fields[field] = self.field(field)
        if self.often(0.03):
            fields[self.one("run_id", "localhash", "type_key", "updated_at", "changed_xid")] = '"x"'
        return fields

    def field(self, field):
        if field == "sync_progress":
            return self.progress() or "null"
        if self.often(0.03):
            return self.one("5", "true", "[]", "{}", '"x"')
        if field == "last_sync_at":
            value = self.one(*TIMES, None) if self.often(0.9) else self.one("infinity", "yesterday-ish", "2026-02-30T00:00:00Z")
        elif field == "sync_status":
            value = self.one(*contract.SYNC_STATUSES, None)
        elif field == "conflict_status":
            value = self.one(*contract.CONFLICT_STATUSES, None)
        else:
            value = self.hash()
        return json.dumps(value)

    def columns(self, least):
        columns = {}
        for _ in range(self.random.randint(least, 4)):
            column = self.one(*contract.FIELDS, *contract.FIELDS, "created_at", "updated_at", "changed_xid")
            if column == "changed_xid":
                columns[column] = 1
            elif column in ("created_at", "updated_at"):
                columns[column] = self.one(*TIMES[:2], "2199-01-01T00:00:00Z", "-infinity" if self.often(0.1) else TIMES[0])
            elif column == "sync_progress":
                columns[column] = self.progress()
            elif column == "last_sync_at":
                columns[column] = self.one(*TIMES, None) if self.often(0.95) else "infinity"
            else:
                value = json.loads(self.field(column))
                columns[column] = value if value is None or isinstance(value, str) else "x"
        return columns

    # --- functions ---

    def observe(self):
        return "sync_state_observe", {"type_key": self.key(), **self.some(
            {"local_hash": self.hash(), "remote_hash": self.hash(),
             **({"local_absent": self.flag(), "remote_absent": self.flag()} if self.often(0.4) else {})})}

    def diverge(self):
        local_hash, remote_hash = self.random.sample(HASHES, 2)
        return "sync_state_observe", {"type_key": self.key(), "local_hash": local_hash, "remote_hash": remote_hash}

    def delta(self):
        return "sync_state_delta", self.observe()[1]

    def observe_many(self):
        keys = self.keys()
        return "sync_state_observe_many", {
            "type_keys": keys, "local_hashes": self.array(keys) if self.often(0.8) else None,
            "remote_hashes": self.array(keys) if self.often(0.8) else None, **self.some({"complete": self.flag()})}

    def plan_for(self):
        return "sync_state_plan_for", self.observe_many()[1]

    def mark_synced(self):
        return "sync_state_mark_synced", {
            "type_key": self.key_that("is syncing"), "local_hash": self.hash(), "remote_hash": self.hash(),
            **({"run_id": self.run()} if self.often(0.7) else {})}

    def mark_synced_many(self):
        keys = self.keys()
        arguments = {"type_keys": keys, "local_hashes": self.array(keys), "remote_hashes": self.array(keys)}
        if self.often(0.02):
            arguments["local_hashes"] = None
        if self.often(0.6):
            arguments["run_ids"] = [self.run() for _ in range(len(keys or "x") + self.often(0.02))]
        return "sync_state_mark_synced_many", arguments

    def update(self):
        return "sync_state_update", {"type_key": self.key(), "state": None if self.often(0.02) else self.fields()}

    def update_many(self):
        if self.often(0.03):
            return "sync_state_update_many", {"states": self.one(None, "null", "5", '"x"')}
        keys = [self.key() or "a" for _ in range(self.random.randint(0, 3))]
        states = [(key, self.fields()) for key in keys]
        if self.often(0.5):
            states = dict(states)
        else:
            states = [(key, state if isinstance(state, str) else {f: v for f, v in state.items() if f != "type_key"})
                      for key, state in states]
            if self.often(0.03):
                states.append((None, {}))
        return "sync_state_update_many", {"states": states}

    def resolve(self):
        resolution = self.one("local", "remote", "merged")
        arguments = {"type_key": self.key_that("is in conflict"), "resolution": resolution}
        if self.often(0.03):
            arguments["resolution"] = self.one(None, "ours", "vanished")
        if (resolution == "merged") != self.often(0.05):
            arguments["merged_hash"] = self.hash()
        if self.often(0.4):
            arguments["conflict_number"] = self.one(Named("conflict", 0), Named("conflict", 0), 1, 2, 0, None)
        return "sync_state_resolve", arguments

    def reset(self):
        return "sync_state_reset", {"type_key": self.key(), **self.some({"force": self.flag()})}

    def forget(self):
        return "sync_state_forget", {"type_key": self.key(), **self.some({"force": self.flag()})}

    def begin(self):
        return "sync_state_begin", {"type_key": self.key(), **self.some({"lease": self.lease(), "owner": self.owner()})}

    def try_begin(self):
        return "sync_state_try_begin", self.begin()[1]

    def resume(self):
        return "sync_state_resume", {**self.begin()[1], "type_key": self.key_that("has stopped")}

    def claim(self):
        return "sync_state_claim", self.some({
            "max_keys": self.one(1, 2, 3) if self.often(0.95) else self.one(0, -1, None),
            "prefix": self.one("a", "", None, "_"), "lease": self.lease(), "owner": self.owner(),
            "retry_after": self.one("0", "1 hour") if self.often(0.95) else self.one(None, "-1 second")})

    def checkpoint(self):
        return "sync_state_checkpoint", {
            "type_key": self.key_that("is syncing"), "run_id": self.run(), "sync_progress": self.progress(),
            **self.some({"lease": self.lease()})}

    def fail(self):
        return "sync_state_fail", {
            "type_key": self.key_that("is syncing"), **self.some({"run_id": self.run(), "error": self.one("oops", None)}),
            **({"force": self.flag()} if self.often(0.3) else {})}

    def rollback(self):
        return "sync_state_rollback", self.fail()[1]

    def prune(self):
        return "sync_state_prune", {"older_than": self.one("0", "1 hour") if self.often(0.95) else self.one(None, "-1 second")}

    def plan(self):
        return "sync_state_plan", self.some({"prefix": self.one("a", "", "_", None)})

    def get(self):
        return "sync_state_get", {"type_key": self.key()}

    def list(self):
        return "sync_state_list", self.some({"sync_status": self.one(*contract.SYNC_STATUSES, "x", None),
                                             "prefix": self.one("a", "", "%", None)})

    def compare(self):
        texts = ['{"x": 1, "y": "s", "updated_at": 1}', '{"x": [1, 2], "z": null, "changed_xid": 5}', '{"y": "s", "z": true}',
                 "{}", "[]", None]
        return "sync_state_compare", {"before": self.one(*texts), "after": self.one(*texts)}

    def decide(self):
        return self.one("sync_state_action", "sync_state_detail"), {
            "local_hash": self.hash(), "remote_hash": self.hash(), "last_synced_hash": self.hash(),
            "last_synced_remote_hash": self.hash(), **self.some({"synced": self.flag()})}

    def changed_since(self):
        return "sync_state_changed_since", {"since": self.one("-infinity", "infinity", Named("updated", 0), Named("updated", 1),
                                                              Named("updated", -1), None if self.often(0.2) else "infinity")}

    def detect(self):
        return "sync_state_detect_interrupted", self.some({"as_of": self.one(
            "-infinity", "infinity", Named("lease", 0), Named("lease", 1), Named("lease", -1))})

    def cursor(self):
        return "sync_state_cursor", {}

    def changes(self):
        cursor = self.random.choices([Named("cursor", 0), Named("cursor", self.random.randrange(20)), None,
                                      Named("text", self.random.randrange(4))], [5, 10, 3, 1])[0]
        return "sync_state_changes", {"cursor": cursor, **self.some({"max_rows": self.one(1, 1, 2, 3, 1000) if self.often(0.97)
                                                                      else self.one(0, -1, None)})}

    # --- plain SQL ---

    def replica(self):
        return {"replica": True} if self.often(0.15) else {}

    def plain_insert(self):
        return "plain_insert", {"type_key": self.key() or "b", "columns": self.columns(0), **self.replica()}

    def plain_upsert(self):
        return "plain_upsert", {"type_key": self.key() or "b", "columns": self.columns(1), **self.replica()}

    def plain_update(self):
        columns, replica = self.columns(1), self.replica()
        if not replica and self.often(0.1):
            columns["type_key"] = self.one("a", "z")
        return "plain_update", {"type_key": None if self.often(0.1) else self.key(), "columns": columns, **replica}

    def plain_delete(self):
        return "plain_delete", {"type_key": None if self.often(0.1) else self.key(), **self.replica()}

    def set_lease(self):
        ends = [Named("now", -10 ** 6), Named("now", 3600 * 10 ** 6), None]
        return "set_lease", {"type_key": Named("is syncing", 0), "lease_expires_at": self.random.choices(ends, [8, 1, 1])[0]}

    def age(self):
        return "age", {"type_key": self.key() or "a", "by": "2 hours"}

    def adopt(self):
        table = self.one(*HAND_MADE)
        rows = [[key] + [self.value(snake(column)) for column in list(HAND_MADE[table])[1:]]
                for key in self.random.sample(KEYS, self.random.randint(0, 3))]
        if rows and self.often(0.05):
            rows.append(rows[0])
        return "sync_state_import", {"source": table, "rows": rows}

    def value(self, column):
        if column == "sync_progress":
            return self.one(*PROGRESS[:2], None)
        if column == "last_sync_at":
            return self.one(*TIMES, None)
        if column == "sync_status":
            return self.one(*contract.SYNC_STATUSES, None) if self.often(0.95) else "x"
        return self.one(*contract.CONFLICT_STATUSES, None) if column == "conflict_status" else self.hash()

    # --- transactions ---

    def start(self):
        mode = self.random.choices(["", "READ ONLY", "ISOLATION LEVEL REPEATABLE READ"], [10, 2, 2])[0]
        return "start", {"mode": mode, "guarded": self.often(0.7)}

    def commit(self):
        return "commit", {}

    def abort(self):
        return "abort", {}

    def savepoint(self):
        return "savepoint", {}

    def rollback_to(self):
        return "rollback_to", {}

    def release(self):
        return "release", {}

    def set_default_lease(self):
        return "set_default_lease", {"lease": self.one("10 minutes", "1 hour")}

    def set_notify(self):
        return "set_notify", {"notify": self.one("none", "changes", "changes", "all")}


# ----------------------------------------------------------------------------
# Running
# ----------------------------------------------------------------------------

def text_time(text, _cursor):
    """A timestamptz in UTC as microseconds."""
    return None if text is None else contract.parse_time(text + ":00" if text[-3] in "+-" else text)


def as_text(text, _cursor):
    return text


def connect(database=DATABASE):
    connection = psycopg2.connect(dbname=database, application_name="histories.py", sslmode="disable",
                                  options="-c client_min_messages=error -c TimeZone=UTC -c DateStyle=ISO")
    connection.autocommit = True
    connection.set_client_encoding("UTF8")
    for oid, name, caster in ((1184, "time", text_time), (3802, "jsonb", as_text), (2950, "uuid", as_text)):
        psycopg2.extensions.register_type(psycopg2.extensions.new_type((oid,), name, caster), connection)
    return connection


def clock():
    return time.time_ns() // 1000


def has_stopped(row):
    return row.sync_progress is not None and (
        row.sync_status == "failed" or row.sync_status == "syncing" and contract.low(row.lease_expires_at or 0) < clock())


TRUE_OF = {"is syncing": lambda row: row.sync_status == "syncing", "has stopped": has_stopped,
           "is in conflict": contract.conflict_kind}

# What a savepoint brings back.
Saved = collections.namedtuple("Saved", "state cursors default_lease notify")

TABLES = [("sync_state", contract.Row, "type_key"), ("sync_run", contract.Run, "type_key, run_number"),
          ("sync_conflict", contract.Conflict, "type_key, conflict_number"), ("sync_tombstone", contract.Tombstone, "type_key")]


def as_json(table):
    """The rows of a table in one value: times in microseconds, JSON as its text."""
    name, columns, order = table
    return ("coalesce((SELECT jsonb_agg(jsonb_build_array(%s) ORDER BY %s) FROM syncstate.%s), '[]')" % (", ".join(
        "(extract(epoch FROM %s) * 1000000)::bigint" % column if column.endswith("_at")
        else column + "::text" if column == "sync_progress" else column for column in columns._fields), order, name))


class Divergence(Exception):
    pass


class Session:
    """Runs a history here and there."""

    def __init__(self, connection, texts):
        self.connection, self.cursor = connection, connection.cursor()
        self.texts = texts
        self.cursor.execute("LISTEN syncstate")
        self.user, self.pid = self.query("SELECT current_user::text, pg_backend_pid()")[0]
        self.xid_number = self.xid_value = 0
        self.outcomes = collections.Counter()
        self.cursor.execute("PREPARE look AS SELECT jsonb_build_array(%s, (SELECT pruned_xid FROM syncstate.sync_feed))"
                            % ", ".join(map(as_json, TABLES)))

    def query(self, statement, values=None):
        self.cursor.execute(statement, values)
        return self.cursor.fetchall() if self.cursor.description else []

    def begin_history(self):
        self.cursor.execute("ROLLBACK; RESET ALL")
        self.connection.notifies.clear()
        self.query("DELETE FROM syncstate.sync_state; DELETE FROM syncstate.sync_tombstone")
        pruned = self.query("SELECT pruned_xid FROM syncstate.sync_feed")[0][0]
        self.saved = Saved(contract.State({}, pruned), (), 300 * 10 ** 6, "none")
        self.savepoints = []
        self.transaction = None
        self.read_only = self.guarded = False
        self.tokens = set()
        self.trace = []
        self.next_transaction()

    def next_transaction(self):
        """The transaction to come has another id."""
        if self.xid_number and self.xid.value is not None:
            self.xid_value = self.xid.value
        self.xid_number += 1
        self.xid = contract.Xid(self.xid_number, self.xid_value)

    def run(self, history):
        """What was wrong, or None."""
        self.begin_history()
        try:
            for step in history:
                self.step(step)
            if self.transaction is not None:
                self.step(Step("commit", {}))
        except Divergence as divergence:
            return str(divergence)
        return None

    def step(self, step):
        if hasattr(self, "do_" + step.name):
            getattr(self, "do_" + step.name)(**step.arguments)
            return
        guarded = self.guarded
        if guarded:
            self.do_savepoint()
        refused = self.call(step)
        if refused and self.transaction is not None:
            # As whoever catches the error.
            if self.savepoints:
                self.do_rollback_to()
            else:
                self.do_abort()
        if guarded:
            self.do_release()

    # --- transactions ---

    def command(self, statement):
        self.trace.append(statement)
        self.cursor.execute(statement)

    def do_start(self, mode, guarded):
        """guarded: each call is a subtransaction, as psql does it for ON_ERROR_ROLLBACK."""
        if self.transaction is None:
            self.command("BEGIN " + mode)
            self.transaction, self.read_only, self.guarded = self.saved, mode == "READ ONLY", guarded

    def do_set_notify(self, notify):
        self.command("SET syncstate.notify = '%s'" % notify)
        self.saved = self.saved._replace(notify=notify)

    def do_commit(self):
        if self.transaction is not None:
            self.command("COMMIT")
            self.hear()
            self.end_transaction()

    def do_abort(self):
        if self.transaction is not None:
            self.command("ROLLBACK")
            self.saved = self.transaction
            self.end_transaction()

    def hear(self):
        """What a transaction that has committed notifies of: each key and status once."""
        told = [json.loads(notification.payload) for notification in self.connection.notifies]
        self.outcomes["notification", None] += len(told)
        self.connection.notifies.clear()
        told = sorted((payload["type_key"], payload["sync_status"] or "") for payload in told)
        expected = sorted((key, status or "") for key, status in self.saved.state.notified)
        if told != expected:
            raise Divergence("%s: notifies of %s\nallowed is: %s" % (self.trace[-1], told, expected))
        self.saved = self.saved._replace(state=self.saved.state._replace(notified=frozenset()))

    def end_transaction(self):
        self.transaction, self.read_only, self.guarded, self.savepoints = None, False, False, []
        self.next_transaction()
        self.look()

    def do_savepoint(self):
        if self.transaction is not None:
            self.command("SAVEPOINT s%d" % len(self.savepoints))
            self.savepoints.append(self.saved)

    def do_rollback_to(self):
        if self.savepoints:
            self.command("ROLLBACK TO s%d" % (len(self.savepoints) - 1))
            self.saved = self.savepoints[-1]
            self.look()

    def do_release(self):
        if self.savepoints:
            self.savepoints.pop()
            self.command("RELEASE s%d" % len(self.savepoints))

    def do_set_default_lease(self, lease):
        self.command("SET syncstate.lease = '%s'" % lease.replace(" minutes", "min").replace("1 hour", "1h"))
        self.saved = self.saved._replace(default_lease=contract.INTERVALS[lease])

    # --- calls ---

    def resolve(self, arguments):
        """The values of arguments for SQL, and for the model."""
        sql, model = {}, {}
        if isinstance(arguments.get("type_key"), Named):
            arguments = {**arguments, "type_key": self.key_that(*arguments["type_key"])}
        for name, value in arguments.items():
            if name in ("local_hashes", "remote_hashes", "type_keys"):
                sql[name] = model[name] = value
            elif name == "run_ids":
                keys = arguments["type_keys"] or ["a"]
                sql[name] = model[name] = value and [self.name(v, keys[min(n, len(keys) - 1)])[0] for n, v in enumerate(value)]
            elif name == "state":
                sql[name], model[name] = self.json(value), value
            elif name == "states":
                sql[name], model[name] = self.json_many(value), value
            elif name == "rows":
                columns = [snake(column) for column in HAND_MADE[arguments["source"]]]
                sql[name] = value
                model["columns"] = columns
                model[name] = [[self.model_value(column, v) for column, v in zip(columns, row)] for row in value]
            elif name == "source":
                sql[name] = value
            elif name == "columns":
                sql[name] = value
                model[name] = {column: self.model_value(column, v) for column, v in value.items()}
            else:
                sql[name], model[name] = self.name(value, arguments.get("type_key"))
        return sql, model

    @staticmethod
    def model_value(column, value):
        is_time = value is not None and COLUMN_TYPES.get(column) == "timestamptz"
        return contract.parse_time(value) if is_time else value

    @staticmethod
    def json(state):
        if state is None or isinstance(state, str):
            return state
        return "{%s}" % ", ".join("%s: %s" % (json.dumps(field), text) for field, text in state.items())

    def json_many(self, states):
        if states is None or isinstance(states, str):
            return states
        if isinstance(states, dict):
            return "{%s}" % ", ".join("%s: %s" % (json.dumps(key), self.json(state)) for key, state in states.items())
        return "[%s]" % ", ".join(state if isinstance(state, str) else self.json(
            state if key is None else {"type_key": json.dumps(key), **state}) for key, state in states)

    def key_that(self, is_so, n):
        rows = [entry.row for _, entry in sorted(self.saved.state.entries.items()) if entry.row is not None]
        keys = [row.type_key for row in rows if TRUE_OF[is_so](row)] or [KEYS[0]]
        return keys[n % len(keys)]

    def name(self, value, key):
        """What a step names by its place: for SQL, and for the model."""
        entry = self.saved.state.entries.get(key, contract.NOTHING)
        if value in ("-infinity", "infinity"):
            return value, contract.parse_time(value)
        if not isinstance(value, Named):
            return value, value
        if value.what == "run":
            runs = [run.run_id.value for run in reversed(entry.runs)]
            run = runs[value.n] if value.n < len(runs) else NO_RUN
            return run, run
        if value.what == "conflict":
            number = max((c.conflict_number for c in entry.conflicts), default=1)
            return number, number
        if value.what == "cursor":
            if not self.saved.cursors:
                return None, None
            return self.saved.cursors[-1 - value.n % len(self.saved.cursors)]
        if value.what == "text":
            return self.texts[value.n]
        if value.what == "now":
            return self.time(clock() + value.n)
        column = "updated_at" if value.what == "updated" else "lease_expires_at"
        times = [getattr(e.row, column) for _, e in sorted(self.saved.state.entries.items())
                 if e.row is not None and getattr(e.row, column) is not None]
        return self.time(contract.low(times[0]) + value.n if times else 0)

    @staticmethod
    def time(microseconds):
        return "epoch %d" % microseconds, microseconds

    def literal(self, value, kind):
        if isinstance(value, str) and value.startswith("epoch "):
            return "timestamptz 'epoch' + interval '%s us'" % value[6:]
        return self.cursor.mogrify("%s" + ("::" + kind if kind else ""), (value,)).decode()

    def statement(self, name, sql):
        if name == "sync_state_cursor":
            return "SELECT sync_state_cursor(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        if name == "sync_state_import":
            kinds = HAND_MADE[sql["source"]].values()
            rows = [", ".join(map(self.literal, row, kinds)) for row in sql["rows"]]
            return "DELETE FROM {0}; {1}SELECT sync_state_import('{0}')".format(
                sql["source"], "".join("INSERT INTO %s VALUES (%s); " % (sql["source"], row) for row in rows))
        if name.startswith("sync_"):
            call = "SELECT * FROM %s(%s)" % (name, ", ".join(
                "%s => %s" % (argument, self.literal(value, TYPES.get(argument))) for argument, value in sql.items()))
            if name == "sync_state_changes":
                call = call.replace("*", "*, pg_snapshot_xmin(pg_current_snapshot())::text::bigint", 1)
            return call
        key = sql["type_key"]
        where = "" if key is None else " WHERE type_key = " + self.literal(key, None)
        if name == "set_lease":
            return "UPDATE syncstate.sync_state SET lease_expires_at = %s%s AND sync_status = 'syncing'" % (
                self.literal(sql["lease_expires_at"], "timestamptz"), where)
        if name == "age":
            return ("UPDATE syncstate.sync_run SET started_at = started_at - {0}, finished_at = finished_at - {0}{1};"
                    "UPDATE syncstate.sync_conflict SET detected_at = detected_at - {0}, resolved_at = resolved_at - {0}{1};"
                    "UPDATE syncstate.sync_tombstone SET deleted_at = deleted_at - {0}{1}"
                    .format(self.literal(sql["by"], "interval"), where))
        values = {column: self.literal(value, COLUMN_TYPES.get(column)) for column, value in sql.get("columns", {}).items()}
        if name == "plain_delete":
            statement = "DELETE FROM syncstate.sync_state" + where
        elif name == "plain_update":
            statement = "UPDATE syncstate.sync_state SET %s%s" % (", ".join("%s = %s" % item for item in values.items()), where)
        else:
            statement = "INSERT INTO syncstate.sync_state (%s) VALUES (%s)" % (
                ", ".join(["type_key"] + list(values)), ", ".join([self.literal(key, None)] + list(values.values())))
            if name == "plain_upsert":
                statement += " ON CONFLICT (type_key) DO UPDATE SET " + ", ".join("%s = EXCLUDED.%s" % (c, c) for c in values)
        if sql.get("replica"):
            statement = "SET session_replication_role TO replica; %s; SET session_replication_role TO origin" % statement
        return statement

    def call(self, step):
        """Runs a step on the server, and finds what the model allows that is the same; whether it was refused."""
        sql, model = self.resolve(step.arguments)
        statement = self.statement(step.name, sql)
        self.trace.append(statement)
        xmin = None
        began = clock()
        try:
            answer = self.query(statement)
            sqlstate = None
        except psycopg2.Error as error:
            answer, sqlstate, message = None, error.pgcode, str(error)
            if sqlstate is None:
                raise
        ended = clock()
        self.outcomes[step.name, sqlstate] += 1
        if answer is not None and step.name in ("sync_state_delta", "sync_state_observe"):
            answer = [(json.loads(answer[0][0]),)]
        if answer and step.name in ("sync_state_cursor", "sync_state_changes"):
            xmin = answer[0][-1]
            answer = [row[:-1] for row in answer]
        env = contract.Environment(began, ended, self.xid, self.tokens, self.user, "histories.py", self.pid, xmin,
                                   self.saved.default_lease, self.saved.notify, model.pop("replica", False))
        tables = None if sqlstate is not None and self.transaction is not None else self.tables()
        allowed = []
        for expected, state in self.allowed(step.name, env, model):
            trail = []
            if isinstance(expected, Refused):
                same = sqlstate in expected.sqlstates
            else:
                same = sqlstate is None and contract.match(*self.ordered(step.name, expected, answer), trail)
            if same and (tables is None or self.match_tables(state, tables, trail)):
                self.accept(env, expected, state, answer)
                break
            allowed.append(self.difference(expected, state, answer, sqlstate, tables, trail))
            contract.unbind(trail)
        else:
            came = "SQLSTATE %s: %s" % (sqlstate, message.split("\n")[0]) if sqlstate else contract.plain(answer)
            raise Divergence("\n".join(["%s: %s" % (statement, came)] + ["allowed is: %s" % text for text in allowed[:4]]))
        if self.transaction is None:
            self.hear()
            self.next_transaction()
        return sqlstate is not None

    def allowed(self, name, env, model):
        """What may come of it; in a READ ONLY transaction nothing that writes."""
        for expected, state in contract.outcomes(self.saved.state, env, getattr(contract, name), **model):
            if self.read_only and name not in READS:
                yield Refused("25006"), self.saved.state
                if not isinstance(expected, Refused) and state != self.saved.state:
                    continue
            yield expected, state

    @staticmethod
    def ordered(name, expected, answer):
        if name in UNORDERED:
            return sorted(expected, key=lambda row: row[0]), sorted(answer, key=lambda row: row[0])
        return expected, answer

    def accept(self, env, expected, state, answer):
        self.tokens.update(token.value for token in env.tokens.values() if token.value is not None)
        self.saved = self.saved._replace(state=state)
        if answer and isinstance(expected[0], tuple) and isinstance(expected[0][-1], contract.Position):
            self.saved = self.saved._replace(cursors=self.saved.cursors + tuple(
                (actual[-1], position[-1]) for actual, position in zip(answer, expected)))

    # --- rows ---

    def tables(self):
        return json.loads(self.query("EXECUTE look")[0][0])

    @staticmethod
    def expected_tables(state):
        entries = [entry for _, entry in sorted(state.entries.items())]
        return [[e.row for e in entries if e.row is not None], [run for e in entries for run in e.runs],
                [c for e in entries for c in e.conflicts], [e.tombstone for e in entries if e.tombstone is not None],
                state.pruned_xid]

    def match_tables(self, state, tables, trail):
        return contract.match(self.expected_tables(state), tables, trail)

    def look(self):
        """After the end of a transaction, or a part of one."""
        tables = self.tables()
        if not self.match_tables(self.saved.state, tables, []):
            raise Divergence("%s: %s" % (self.trace[-1], self.difference([], self.saved.state, [], None, tables, [])))

    def difference(self, expected, state, answer, sqlstate, tables, trail):
        """Where what was expected and what there is part.  Symbols that it binds go to trail."""
        if isinstance(expected, Refused):
            if sqlstate not in expected.sqlstates:
                return "SQLSTATE %s" % " or ".join(sorted(expected.sqlstates))
        elif sqlstate is not None or not contract.match(expected, answer, trail):
            return "%s" % (contract.plain(expected),)
        for (name, columns, _), rows, actual in zip(TABLES, self.expected_tables(state), tables):
            for row in rows[len(actual):]:
                return "%s has %s" % (name, contract.plain(row))
            for row in actual[len(rows):]:
                return "%s has no %s" % (name, row)
            for row, real in zip(rows, actual):
                for column, value, found in zip(columns._fields, row, real):
                    if not contract.match(value, found, trail):
                        return "%s of %s is %s, not %s" % (column, [name] + real[:2], contract.plain(value), found)
        return "pruned_xid is %s, not %s" % (state.pruned_xid, tables[-1])


# ----------------------------------------------------------------------------
# Rounds
# ----------------------------------------------------------------------------

class Model:
    def __init__(self, _writers):
        self.texts = self.make_databases()
        self.session = Session(connect(), self.texts)
        self.steps = 0
        self.outcomes = collections.Counter()

    @staticmethod
    def make_databases():
        """Cursors, and what is none, with the SQLSTATE that each is refused with."""
        control = connect(os.environ.get("PGDATABASE", "postgres"))
        for database in (DATABASE, SIBLING):
            control.cursor().execute("DROP DATABASE IF EXISTS %s" % database)
            control.cursor().execute("CREATE DATABASE %s TEMPLATE template0" % database)
            connection = connect(database)
            cursor = connection.cursor()
            cursor.execute("CREATE EXTENSION syncstate; CREATE SCHEMA model")
            for table, columns in HAND_MADE.items():
                cursor.execute("CREATE TABLE %s (%s)" % (table, ", ".join('"%s" %s' % column for column in columns.items())))
            cursor.execute("SELECT sync_state_cursor()")
            elsewhere = cursor.fetchone()[0]
            connection.close()
        control.cursor().execute("DROP DATABASE %s" % SIBLING)
        control.close()
        return [(elsewhere, "55000"), (elsewhere + "x", "22023"), ("", "22023"), ("cursor", "22023")]

    def round(self, seed):
        history = Generator(seed).history(STEPS)
        wrong = self.session.run(history)
        self.steps += len(history)
        self.outcomes.update(self.session.outcomes)
        self.session.outcomes.clear()
        if wrong is None:
            return None
        history, wrong = self.shrink(history, wrong)
        return "%s\n  %s" % (wrong.replace("\n", "\n  "), "\n  ".join(["after:"] + self.session.trace[:-1]))

    def shrink(self, history, wrong):
        """Drops steps as long as the same statement goes wrong."""
        kind = self.kind(wrong)
        size = len(history) // 2
        while size:
            start = 0
            while start < len(history):
                shorter = history[:start] + history[start + size:]
                self.restart()
                found = self.session.run(shorter)
                if found is not None and self.kind(found) == kind:
                    history = shorter
                else:
                    start += size
            size //= 2
        self.restart()
        return history, self.session.run(history) or wrong

    @staticmethod
    def kind(wrong):
        return wrong.split("(", maxsplit=1)[0].split(":", maxsplit=1)[0][:40]

    def restart(self):
        self.session.connection.close()
        self.session = Session(connect(), self.texts)

    def summary(self):
        refused = sum(n for (_, sqlstate), n in self.outcomes.items() if sqlstate)
        return "%d steps, %d calls, %d of them refused" % (self.steps, sum(self.outcomes.values()), refused)


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
