#!/usr/bin/python3
"""kill -9 of the server, or of one of its processes, while workers work: nothing lost, nothing by halves.

    crash.py [--rounds N] [--seed N] [--writers N]

In each round four workers and two readers of the feed are at work (see
workers.py), beside checkpoints, VACUUM and the folding of tracked digests, until
at a random instant

- the postmaster is killed (three rounds of five; in half of them with all its
  children at once, else these go on until they notice), and started again.  At
  times a reader has just seen what is not on disk yet: transactions that were
  rolled back, whose ids others will get;
- or the process of one worker is (two of five), whereupon the server ends all
  the others and recovers by itself.

Some commits are on disk by then, but not answered.  Now every worker's tables
must be what was acknowledged to it, or what was in flight; the tables must not
contradict each other; the tracked digest is that of the rows, and still counts;
both readers read on to the end, and have missed nothing and been told nothing
twice; a mark that was not answered can be repeated; every run in hand is reported
as interrupted, once its lease has ended, and resumes at its last committed
checkpoint.  The next round goes on from there.

The server is one of the test's own.  Its fsync is off: what a process has written
survives that process without it.  A round that fails prints its seed, with which
it can be run alone; how the processes interleave is not in the seed, so that may
take several attempts: --rounds 100 --repeat runs the same seed again and again.
Exits with 0 if all rounds passed.  Ends with "rounds: N passed, N failed".
"""

import os
import random
import re
import signal
import sys
import time

import psycopg2

import promises
import rounds
from server import PATIENCE, Server
from workers import SCHEMA, Caretaker, FollowerInside, Reader, Worker, Wrong

SETTINGS = """
fsync = off
# Pages are written by whoever needs room, in any order.
shared_buffers = 1MB
max_wal_size = 32MB
min_wal_size = 32MB
# What nobody has waited for is not on disk.
wal_writer_delay = 10s
log_min_messages = warning
log_line_prefix = '%m [%p] %e '
restart_after_crash = on
# Who asks for more than local gets no answer.
synchronous_standby_names = 'nobody'
synchronous_commit = local
autovacuum_naptime = 1s
"""
KINDS = ["postmaster", "backend", "postmaster", "backend", "postmaster"]
UNEXPECTED = re.compile(r"^.*(?:PANIC|TRAP|XX00\d (?:ERROR|FATAL)|invalid page|terminated by signal (?!9\b|3\b)).*$", re.MULTILINE)


class Model:
    """tolerated, weight, batch, unanswered: of the workers."""

    name = "crash"
    settings = SETTINGS
    initdb = environment = None
    tolerated = ()
    weight = 0
    batch = 12
    unanswered = 0.1

    def __init__(self, writers):
        self.number_of_writers = writers
        self.totals = {}
        self.make_server()

    def make_server(self):
        self.server = Server(self.name, self.settings, self.initdb, self.environment)
        self.server.start()
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute(SCHEMA)
        connection.close()
        self.runs = {}
        self.workers = [Worker("w%d" % n, self.runs, self.tolerated, self.weight, self.batch) for n in range(self.number_of_writers)]
        self.readers = [Reader(self.tolerated), FollowerInside(self.tolerated)]
        self.actors = self.workers + self.readers + [Caretaker(self.tolerated)]

    def count(self, what, n=1):
        self.totals[what] = self.totals.get(what, 0) + n

    def round(self, seed):
        """Runs one round; what was wrong with it, or None."""
        pick = random.Random(seed)
        since = self.server.log_size()
        try:
            self.begin(pick)
            self.strike(pick, seed)
            self.join()
            self.recover(since)
            self.check(pick)
            self.check_log(since)
        except (Wrong, TimeoutError, psycopg2.Error) as error:
            return "%s: %s" % (type(error).__name__, error)
        finally:
            for actor in self.actors:
                actor.stopped.set()
        return None

    def begin(self, pick):
        # Those that are to be stopped before the end must not wait for an answer.
        self.stops_first = pick.random() < 0.4
        for worker in self.workers:
            worker.unanswered = 0 if self.stops_first else self.unanswered
        for actor in self.actors:
            actor.connect(self.server.connect(application_name=actor.name), pick.random())
        for actor in self.actors:
            actor.start()

    def strike(self, pick, seed):
        """Breaks them off; sets recover, which returns when the server is back."""
        time.sleep(pick.uniform(0.02, 0.4))
        kind = KINDS[seed % len(KINDS)]
        if kind == "backend":
            os.kill(pick.choice(self.workers).connection.info.backend_pid, signal.SIGKILL)
            self.recover = self.server.wait_until_reinitialized
        else:
            with_children = pick.random() < 0.5
            if with_children and self.stops_first:
                self.read_beyond_the_disk()
            self.server.kill(with_children)
            self.recover = lambda since: self.server.start()
            if with_children:
                kind = "postmaster and all its children"
        self.count("kills of " + ("a backend" if kind == "backend" else "the " + kind))

    def read_beyond_the_disk(self):
        """The last that happens: transactions that are rolled back, for which nobody writes to disk; and a reader sees them ended."""
        for actor in self.actors:
            actor.stopped.set()
        self.join_threads()
        reader = self.readers[0]
        connection = self.server.connect()
        for _ in range(3):
            connection.cursor().execute("BEGIN; SELECT sync_state_observe('first-0', 'rolled back'); ROLLBACK")
        reader.up_to_now()
        connection.close()

    def join_threads(self):
        for actor in self.actors:
            actor.thread.join(PATIENCE)
            if actor.thread.is_alive():
                raise Wrong("%s hangs" % actor.name)

    def join(self):
        """
        All have lost their connection; one that has not yet, and whose process has
        been left over, may have been answered once more.
        """
        self.join_threads()
        for actor in self.actors:
            if actor.error:
                raise Wrong(actor.error)
            actor.connection.close()

    def check(self, pick):
        for worker in self.workers:
            self.count("transactions", worker.transactions)
            worker.transactions = 0
        connection = self.server.connect()
        with connection.cursor() as cursor:
            self.use_first_xids(cursor)
            for worker in self.workers:
                if worker.in_flight:
                    self.count("transactions in flight")
                    self.count("transactions in flight that were committed", worker.acked.difference(worker.image_by(cursor)) is not None)
                worker.check(worker.image_by(cursor))
            promises.check_tables(cursor)
            promises.check_digest(cursor)
            self.check_readers(cursor)
            promises.check_shared(cursor, self.runs, self.workers)
            promises.retry_marks(cursor, self.workers)
            promises.settle(cursor, self.workers)
            self.count("interrupted runs", promises.check_interrupted(cursor, pick, self.runs))
            promises.settle(cursor, self.workers)
            promises.check_tables(cursor)
            promises.forget_history(cursor, self.runs)
        connection.close()

    @staticmethod
    def use_first_xids(cursor):
        """
        Transaction ids that were assigned, but of which nothing had been written to
        disk, are assigned again.  A reader that took one for ended must not have kept
        that: else it misses what these write.
        """
        for n in range(5):
            cursor.execute("SELECT sync_state_observe(%s, clock_timestamp()::text)", ("first-%d" % n,))

    def check_readers(self, cursor):
        for reader in self.readers:
            wrong = reader.finish(cursor)
            if wrong:
                raise Wrong(wrong)

    def check_log(self, since):
        for line in UNEXPECTED.findall(self.server.read_log(since)):
            if not self.is_expected(line):
                raise Wrong("in the server's log: " + line)

    @staticmethod
    def is_expected(line):
        return False

    def restart(self):
        """After a round that failed, nothing of it is left."""
        for actor in self.actors:
            if actor.connection:
                actor.connection.close()
        self.server.destroy()
        self.make_server()

    def summary(self):
        return ", ".join("%s: %d" % item for item in sorted(self.totals.items()))


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
