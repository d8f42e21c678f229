#!/usr/bin/python3
"""A disk that is full, of the data or of the WAL, while workers work: a clear error, nothing by halves.

    disk.py [--rounds N] [--seed N] [--writers N]

The workers, readers and promises are those of crash.py; checkpoints and titles
are larger, so that files grow.  At a random instant

- the disk with the data is full (every other round).  Who needs more of it gets
  53100, each time nothing has changed, and the session goes on, until there is
  room again;
- or the disk with the WAL is.  PostgreSQL cannot do without: it stops in a PANIC,
  and recovers as soon as there is room, started again if it gave up.

Then all promises must hold, and all workers must work again.  How a disk is made
full is told in full_disk.c, which needs no privilege.

Rounds and seeds are as in crash.py.  Ends with "rounds: N passed, N failed".
"""

import os
import subprocess
import sys
import time

import crash
import rounds
from server import PATIENCE
from workers import Wrong

DISK_FULL = "53100"
# Directories that are full.  Not all of the data directory: if it cannot note down
# at a checkpoint how far subscriptions are, PostgreSQL stops, as without WAL.
DISKS = {
    "data": ["data/base", "data/global", "data/pg_xact", "data/pg_subtrans", "data/pg_multixact"],
    "WAL": ["wal"],
}


class Model(crash.Model):
    name = "disk"
    # Small, so that new segments are needed.
    settings = crash.SETTINGS + "max_wal_size = 4MB\nmin_wal_size = 2MB\n"
    tolerated = (DISK_FULL,)
    weight = 3000
    batch = 40
    unanswered = 0

    @staticmethod
    def initdb(root):
        return ["--waldir", os.path.join(root, "wal"), "--wal-segsize", "1"]

    @staticmethod
    def environment(root):
        library = os.path.join(root, "full_disk.so")
        subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", library,
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "full_disk.c")], check=True)
        return {"LD_PRELOAD": library, "FULL_DISKS": ":".join(os.path.join(root, name) for disk in DISKS.values() for name in disk)}

    def strike(self, pick, seed):
        time.sleep(pick.uniform(0.02, 0.4))
        disk = ["data", "WAL"][seed % 2]
        since = self.server.log_size()
        before = self.struck()
        if disk == "WAL":
            # Else what is there would be used again and again.  This is how such disks get full.
            self.query("SELECT pg_create_physical_replication_slot('forgotten', true)")
        self.set_full(disk, True)
        if disk == "data":
            self.wait("nobody notices that the disk is full", lambda: self.struck() >= before + 3)
        else:
            self.wait("the server does without WAL", lambda: "PANIC" in self.server.read_log(since), may_be_lost=True)
        time.sleep(pick.random() ** 2)
        self.set_full(disk, False)
        if disk == "data":
            self.stop_working()
            self.recover = lambda since: None
        else:
            self.recover = self.recover_from_panic
        self.count("times that the disk of the %s was full" % disk)
        self.count("answers %s to workers" % DISK_FULL, self.struck() - before)

    def set_full(self, disk, full):
        for name in DISKS[disk]:
            flag = os.path.join(self.server.root, name + ".full")
            if full:
                with open(flag, "w", encoding="utf-8"):
                    pass
            else:
                os.unlink(flag)

    def struck(self):
        return sum(worker.struck for worker in self.workers)

    def wait(self, complaint, condition, may_be_lost=False):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            for actor in self.actors:
                if actor.error or actor.lost and not may_be_lost:
                    raise Wrong("%s: %s" % (actor.name, actor.error or actor.lost))
            if time.monotonic() > deadline:
                raise Wrong(complaint)
            time.sleep(0.01)

    def stop_working(self):
        """Once everybody has shown that he can."""
        before = [worker.transactions for worker in self.workers]
        self.wait("a worker does not work again", lambda: all(worker.transactions >= n + 3 for worker, n in zip(self.workers, before)))
        for actor in self.actors:
            actor.stopped.set()

    def recover_from_panic(self, since):
        """The server comes back by itself, or else it has given up and is started."""
        deadline = time.monotonic() + PATIENCE
        while not (self.server.running() and self.server.accepts(deadline)):
            self.server.start()
        self.query("SELECT pg_drop_replication_slot('forgotten')")

    def query(self, statement):
        connection = self.server.connect()
        connection.cursor().execute(statement)
        connection.close()

    def check(self, pick):
        super().check(pick)
        self.begin(pick)
        self.stop_working()
        self.join()
        super().check(pick)

    @staticmethod
    def is_expected(line):
        # An abort is what follows a PANIC; a failed checkpoint has no code of its own for that.
        return any(text in line for text in ("No space left on device", "signal 6", "checkpoint request failed"))


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
