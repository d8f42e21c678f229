#!/usr/bin/python3
"""Overlapping batches in opposite order: no deadlock, and one after the other.

    overlap.py [--rounds N] [--seed N] [--writers N]

In each round four connections call sync_state_update_many, observe_many or
mark_synced_many at the same moment, each once, with most of the same sixty keys:
every other one in descending order, the rest ascending, or all shuffled.  Some
of the keys are there, others are new; some batches give other fields for other
keys, some are complete listings, some name the runs that hold keys, and fail
where they do not.  A trigger of the test's makes rows slow, so that the batches
meet in the middle.

None may deadlock (a batch locks in key order, whatever the order it was given
in), nor fail but for a key that is held; and a batch that failed has written
nothing.  What is left must be as if the batches had run one after the other: the
last writers of all keys agree on an order.

The database is that of PGHOST, PGPORT ..., in which a database of its own is
made.  A round that fails prints its seed, with which it can be run alone; how
the threads interleave is not in the seed, so that may take several attempts:
--rounds 100 --repeat runs the same seed again and again.  Exits with 0 if all
rounds passed.  Ends with "rounds: N passed, N failed".
"""

import json
import os
import random
import sys
import threading

import psycopg2
import psycopg2.errors

import rounds

DATABASE = "syncstate_model_overlap"
KEYS = ["k%02d" % n for n in range(60)]

SETUP = """
CREATE EXTENSION syncstate;
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.05 THEN
        PERFORM pg_sleep(random() * 0.003);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON syncstate.sync_state FOR EACH ROW EXECUTE FUNCTION slow();
"""


def connect():
    # A deadlock is to be found at once, and not to resolve itself otherwise.
    connection = psycopg2.connect(dbname=DATABASE, application_name="overlap.py",
                                  options="-c deadlock_timeout=20ms -c client_min_messages=warning")
    connection.autocommit = True
    return connection


class Batch(threading.Thread):
    """One call, with hashes that name it."""

    def __init__(self, connection, start_together, pick, name, order, runs):
        super().__init__(name=name)
        self.cursor = connection.cursor()
        self.start_together = start_together
        self.keys = pick.sample(KEYS, pick.randint(len(KEYS) // 2, len(KEYS)))
        if order:
            self.keys.sort(reverse=order < 0)
        self.error = None
        self.held = False
        self.call = getattr(self, pick.choice(["update", "observe", "mark"]))(pick, runs)

    def update(self, pick, runs):
        states = {}
        mixed = pick.random() < 0.3
        for key in self.keys:
            states[key] = {"local_hash": self.name}
            if mixed and pick.random() < 0.3 and key not in runs:
                states[key]["sync_progress"] = {"by": self.name}
        if pick.random() < 0.5:
            return "sync_state_update_many(%s)", [json.dumps(states)]
        return "sync_state_update_many(%s)", [json.dumps([dict(state, type_key=key) for key, state in states.items()])]

    def observe(self, pick, _runs):
        hashes = [self.name] * len(self.keys)
        return ("sync_state_observe_many(%s, %s, %s, %s)",
                [self.keys, hashes, hashes if pick.random() < 0.3 else None, pick.random() < 0.2])

    def mark(self, pick, runs):
        hashes = [self.name] * len(self.keys)
        if not runs or pick.random() < 0.3:
            return "sync_state_mark_synced_many(%s, %s, %s)", [self.keys, hashes, hashes]
        return ("sync_state_mark_synced_many(%s, %s, %s, %s::uuid[])",
                [self.keys, hashes, hashes, [runs.get(key) for key in self.keys]])

    def run(self):
        self.start_together.wait()
        try:
            self.cursor.execute("SELECT count(*) FROM (SELECT %s) AS x" % self.call[0], self.call[1])
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.ObjectNotInPrerequisiteState):
            # A key is held by a run, or the run was ended by another batch.
            self.held = True
        except Exception as error:      # pylint: disable=broad-except
            self.error = error


def has_cycle(before):
    """before: of each batch, those that must have come before it."""
    done, path = set(), set()

    def visit(batch):
        if batch in path:
            return True
        if batch in done:
            return False
        path.add(batch)
        found = any(visit(other) for other in before.get(batch, ()))
        path.discard(batch)
        done.add(batch)
        return found

    return any(visit(batch) for batch in before)


class Model:
    def __init__(self, writers):
        self.number_of_writers = writers
        self.batches = self.held = self.deadlocks = 0
        self.make_database()

    def make_database(self):
        connection = psycopg2.connect(dbname=os.environ.get("PGDATABASE", "postgres"))
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("DROP DATABASE IF EXISTS %s WITH (FORCE)" % DATABASE)
        cursor.execute("CREATE DATABASE %s TEMPLATE template0" % DATABASE)
        connection.close()
        self.control = connect()
        self.control.cursor().execute(SETUP)
        self.connections = [connect() for _ in range(self.number_of_writers)]

    def query(self, statement, *values):
        with self.control.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def begin_runs(self, pick):
        """What is there before: some keys are gone, and now and then some are held."""
        self.control.cursor().execute("DELETE FROM syncstate.sync_state WHERE type_key = ANY (%s)",
                                      (pick.sample(KEYS, pick.choice([0, 20, len(KEYS)])),))
        self.control.cursor().execute("UPDATE syncstate.sync_state SET sync_status = 'failed' WHERE sync_status = 'syncing'")
        if pick.random() < 0.7:
            return {}
        return {key: self.query("SELECT run_id FROM sync_state_begin(%s)", key)[0][0] for key in pick.sample(KEYS, 2)}

    def round(self, seed):
        """Runs one round; what was wrong with it, or None."""
        pick = random.Random(seed)
        runs = self.begin_runs(pick)
        together = threading.Barrier(self.number_of_writers)
        shuffled = pick.random() < 0.3
        batches = [Batch(connection, together, pick, "b%d.%d" % (seed, n), 0 if shuffled else (1, -1)[n % 2], runs)
                   for n, connection in enumerate(self.connections)]
        for batch in batches:
            batch.start()
        for batch in batches:
            batch.join()
        self.batches += len(batches)
        self.held += sum(batch.held for batch in batches)
        self.deadlocks += sum(isinstance(batch.error, psycopg2.errors.DeadlockDetected) for batch in batches)
        for batch in batches:
            if batch.error is not None:
                return "%s: %s: %s" % (batch.call[0], type(batch.error).__name__, str(batch.error).split("\n", maxsplit=1)[0])
        return self.end_of_round(batches, runs)

    def end_of_round(self, batches, runs):
        hashes = dict(self.query("SELECT type_key, local_hash FROM syncstate.sync_state"))
        written = {batch.name: batch for batch in batches if not batch.held}
        before = {}
        for batch in batches:
            if batch.held and batch.name in hashes.values():
                return "%s failed, and has written" % batch.name
        for key in KEYS:
            wanted = [batch.name for batch in written.values() if key in batch.keys]
            if not wanted or key in runs or hashes.get(key) is None:
                # Nobody's; kept as an observer saw it; absent from a complete listing.
                continue
            if hashes[key] not in wanted:
                return "%s is %s, written by %s" % (key, hashes[key], " ".join(wanted))
            before.setdefault(hashes[key], set()).update(name for name in wanted if name != hashes[key])
        if has_cycle(before):
            return "no order of the batches leaves this: %s" % hashes
        return None

    def restart(self):
        """After a round that failed, nothing of it is left."""
        for connection in [self.control] + self.connections:
            connection.close()
        self.make_database()

    def summary(self):
        return "%d batches, %d of them refused for a key that is held, %d deadlocks" % (self.batches, self.held, self.deadlocks)


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
