#!/usr/bin/python3
"""Calls broken off at random instants: nothing by halves, and the session goes on.

    cancel.py [--rounds N] [--seed N]

In each round a worker (see workers.py) works, and makes larger calls than in the
other tests: batches of hundreds of keys, digests, sketches, comparisons.  One of its
calls is broken off

- by pg_cancel_backend, from another session (two rounds of four), at times within a
  block that catches it, so that the transaction goes on;
- by statement_timeout (one of four);
- by pg_terminate_backend (one of four).

Rounds last until a call has been hit, not a COMMIT or a statement of the test's.
After an error, every row is what it was, to the byte, with its address and writer;
if the connection is lost, what was acknowledged or what was in flight (that can
only be the end of a transaction).  The tables do not contradict each other, and
the tracked digest is that of the rows.  Then the same session must go on working,
and answer one call at least of every function as a new session does.

Rounds and seeds are as in crash.py.  Ends with "rounds: N passed, N failed".
"""

import random
import sys
import threading
import time

import psycopg2
import psycopg2.errors
from psycopg2.extensions import TRANSACTION_STATUS_INERROR

import answers
import crash
import promises
import rounds
from workers import Worker, Wrong

CANCELLED = "57014"
KINDS = ["cancel", "statement_timeout", "cancel", "terminate"]
FUNCTIONS = {"cancel": "pg_cancel_backend", "terminate": "pg_terminate_backend"}
BIG = 150
# Transactions, undisturbed, that the session goes on with.
AFTERWARDS = 4
SCHEMA = """
CREATE TABLE m.big (id int PRIMARY KEY, title text);
CREATE TABLE m.far (id int PRIMARY KEY, title text);
INSERT INTO m.big SELECT g, 'title ' || g FROM generate_series(1, %d) g;
INSERT INTO m.far SELECT * FROM m.big;
SELECT sync_source_attach('big', 'm.big', 'm.far', row_base => true);
""" % BIG


class Victim(Worker):
    """A worker whose calls can be seen, to break them off."""

    def __init__(self, runs):
        super().__init__("w0", runs, (CANCELLED,), batch=120)
        self.batch.append("big")        # its key, too
        self.timeouts = False
        self.calling = threading.Event()
        # Held to strike, and to end a call: after a call nobody strikes any more.
        self.lock = threading.Lock()
        self.struck_at = False
        self.hits = 0

    def call(self, statement):
        self.last_call = statement
        if self.timeouts:
            timeout = self.random.randint(1, 6)
            self.execute("SET statement_timeout = %s", timeout)
            if "m.caught" not in statement and "claim" not in statement:
                # It returns nothing that is of use here.
                statement = self.sql("SELECT m.late(%s, %s)", max(0.0, timeout - self.random.random() * 3) / 1000, statement)
        try:
            self.calling.set()
            self.cursor.execute(statement)
            rows = self.cursor.fetchall() if self.cursor.description else []
        except psycopg2.Error as error:
            if self.is_lost(error) or error.pgcode == CANCELLED:
                self.hits += 1
            raise
        finally:
            with self.lock:
                self.calling.clear()
        if self.struck_at:
            self.meet_what_came_late()
        if self.timeouts:
            self.end_timeout()
        return rows

    def end_timeout(self):
        """This may take too long itself; what was called has been answered then, and stands unless a transaction is lost."""
        while True:
            try:
                return self.execute("SET statement_timeout = 0")
            except psycopg2.errors.QueryCanceled:
                if self.connection.info.transaction_status == TRANSACTION_STATUS_INERROR:
                    raise

    def meet_what_came_late(self):
        """A cancellation that missed the call strikes here at the latest; the transaction, if any, is lost."""
        self.struck_at = False
        try:
            self.execute("SELECT")
        except psycopg2.errors.QueryCanceled:
            if self.connection.info.transaction_status == TRANSACTION_STATUS_INERROR:
                raise

    def settle(self):
        self.struck_at = False
        try:
            self.execute("ROLLBACK")
        except psycopg2.errors.QueryCanceled:
            # The second one at the same call.
            self.execute("ROLLBACK")
        self.end_timeout()
        super().settle()

    def choose(self, image, rehearsed):
        kind = self.random.choices(["as others", "content", "large"], [5, 2, 4])[0]
        if kind == "content":
            return self.content(), {self.name}
        return self.large(image) if kind == "large" else super().choose(image, rehearsed)

    def large(self, image):
        """A call that takes longer, and the keys that it writes."""
        pick = self.random
        n = pick.randint(2, 9)
        key = pick.choice(self.keys)
        keys, hashes = self.batch[:-1], [self.value() for _ in self.batch[:-1]]
        change = "UPDATE m.%s SET title = title || 'x' WHERE id %% %d = 0;" % (pick.choice(["big", "far"]), n)
        return pick.choice([
            (self.sql("SELECT sync_state_observe_many(%s, %s, NULL)", keys, hashes), set(keys)),
            (change + "SELECT sync_state_observe('big')", {"big"}),
            (change + "SELECT FROM sync_state_mark_synced('big', 'a', 'b')", {"big"}),
            ("INSERT INTO m.far SELECT * FROM m.big ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title;"
             "SELECT sync_state_observe('big')", {"big"}),
            ("INSERT INTO m.content SELECT g, 'bulk', 'x' FROM generate_series(100000, 100600) g"
             " ON CONFLICT (id) DO UPDATE SET title = m.content.title || 'z'", set()),
            ("DELETE FROM m.content WHERE id >= 100000 AND id %% %d = 0" % n, set()),
            ("SELECT sync_source_verify('content')", set()),
            (change + "SELECT count(*) FROM sync_source_diff('big')", set()),
            (change + "SELECT count(*) FROM sync_source_diff3('big')", set()),
            ("SELECT sync_digest(id, title), length(sync_sketch(900, 1, id, title)) FROM m.big, generate_series(1, 10)", set()),
            ("SELECT count(*) FROM sync_sketch_diff((SELECT sync_sketch(1000, 1, id, title) FROM m.big),"
             " (SELECT sync_sketch(1000, 1, id, title || 'x') FROM m.far))", set()),
            ("SELECT sync_hash(jsonb_agg(to_jsonb(b))) FROM m.big b", set()),
            ("SELECT count(*) FROM sync_state_plan()", set()),
            (self.sql("SELECT count(*) FROM sync_state_plan_for(%s, %s, NULL)", keys, hashes), set()),
            ("SELECT count(*) FROM sync_state_changes(NULL)", set()),
            ("SELECT sync_state_prune('1 day')", set()),
            ("SELECT count(*) FROM sync_state_detect_interrupted()", set())
            if image.get(("syncstate.sync_state", key), {}).get("run_id") else (self.begin("sync_state_begin", key), {key})])


class Interrupter(threading.Thread):
    """Breaks off calls of the victim, after a random while each, until it is told to stop."""

    def __init__(self, cursor, victim, function, seed):
        super().__init__(daemon=True)
        self.cursor = cursor
        self.victim = victim
        self.statement = "SELECT %s(%d)" % (function, victim.connection.info.backend_pid)
        self.random = random.Random(seed)
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.is_set():
            if self.victim.calling.wait(0.1) and not self.stopped.is_set():
                time.sleep(self.random.random() ** 2 * 0.006)
                self.strike()

    def strike(self):
        with self.victim.lock:
            if self.victim.calling.is_set() and self.random.random() < 0.7:
                self.victim.struck_at = True
                self.cursor.execute(self.statement)


class Model(crash.Model):
    name = "cancel"
    settings = "fsync = off\nlog_line_prefix = '%m [%p] %e '\n"

    def make_server(self):
        super().make_server()
        self.victim = Victim(self.runs)
        self.workers = self.actors = [self.victim]
        self.control = self.server.connect()
        with self.control.cursor() as cursor:
            cursor.execute(SCHEMA)
            cursor.execute(answers.FIXTURE)
            missing = answers.never_called(cursor)
        if missing:
            raise Wrong("no call of " + ", ".join(missing))
        self.expected = answers.answers(self.control)
        self.victim.connect(self.server.connect(), 0)
        self.victim.acked.image = self.victim.image()

    def round(self, seed):
        pick = random.Random(seed)
        kind = KINDS[seed % len(KINDS)]
        since = self.server.log_size()
        victim = self.victim
        victim.random = random.Random(pick.random())
        victim.timeouts = kind == "statement_timeout"
        try:
            if victim.timeouts:
                self.work_until_hit(may_be_lost=False)
            else:
                self.work_beside(Interrupter(self.control.cursor(), victim, FUNCTIONS[kind], pick.random()), kind == "terminate")
            victim.timeouts = False
            self.count("calls broken off by " + kind)
            self.check_session(kind)
            self.check_log(since)
        except (Wrong, psycopg2.Error) as error:
            return "%s: %s; the last call was: %s" % (type(error).__name__, str(error)[:2000], str(victim.last_call)[:200])
        return None

    def work_until_hit(self, may_be_lost):
        """The victim's connection may be lost if it is terminated; nothing else may go wrong."""
        victim = self.victim
        before = victim.hits + victim.caught
        while victim.hits + victim.caught == before:
            try:
                victim.act_or_settle()
                self.count("transactions")
            except psycopg2.Error as error:
                if not (may_be_lost and victim.is_lost(error)):
                    raise
                self.count("connections lost")
                victim.connect(self.wait_until_gone(), victim.random.random())
                self.check_journal()
                return

    def wait_until_gone(self):
        """A new connection, after the end of the old one's process, which goes on for a moment."""
        pid = self.victim.connection.info.backend_pid
        with self.control.cursor() as cursor:
            while True:
                cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (pid,))
                if cursor.rowcount == 0:
                    return self.server.connect()

    def work_beside(self, interrupter, may_be_lost):
        interrupter.start()
        try:
            self.work_until_hit(may_be_lost)
        finally:
            interrupter.stopped.set()
            interrupter.join()

    def check_journal(self):
        with self.control.cursor() as cursor:
            self.victim.check(self.victim.image_by(cursor))
            promises.check_tables(cursor)
            promises.check_digest(cursor)
            promises.check_shared(cursor, self.runs, self.workers)
            promises.settle(cursor, self.workers)
            promises.forget_history(cursor, self.runs)

    def check_session(self, kind):
        victim = self.victim
        self.count("of them caught within the transaction", victim.caught)
        victim.caught = 0
        for _ in range(AFTERWARDS):
            victim.act()
        wrong = answers.difference(self.expected, answers.answers(victim.connection))
        if wrong:
            raise Wrong("after " + kind + ": " + wrong)
        self.check_journal()

    def restart(self):
        self.control.close()
        super().restart()


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
