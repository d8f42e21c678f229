#!/usr/bin/python3
"""Random writers and a reader of the change feed: nothing lost, nothing repeated.

    feed.py [--rounds N] [--seed N] [--writers N]

In each round, four writers run transactions of random length on a few keys:
observations, syncs, deletions, batches and plain SQL, in savepoints that are
released or rolled back and in blocks that catch errors; they commit, roll back,
or keep their transaction open over several of the other writers'.  A reader
follows meanwhile, in pages of random size, from NULL or from a cursor; now and
then it goes on from the middle of a page, writes a state in the transaction in
which it reads, is rolled back, or keeps a snapshot.  Once all writers have ended, the reader reads on to the end.
Then its copy must be what the table is, and it must have been told of no change
twice.

The database is that of PGHOST, PGPORT ..., in which a database of its own is
made.  A round that fails prints its seed, with which it can be run alone; how
the threads interleave is not in the seed, so that may take several attempts:
--rounds 100 --repeat runs the same seed again and again.  Exits with 0 if all
rounds passed.  Ends with "rounds: N passed, N failed".
"""

import os
import random
import sys
import threading
import time

import psycopg2
import psycopg2.errors

import rounds

DATABASE = "syncstate_model_feed"
KEYS = ["k%d" % n for n in range(8)]
# What may happen to a transaction among others; nothing else may.
EXPECTED = (psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure)


def connect():
    # Writers take their keys in any order, so they deadlock; not for long.
    connection = psycopg2.connect(dbname=DATABASE, application_name="feed.py",
                                  options="-c deadlock_timeout=10ms -c client_min_messages=warning")
    connection.autocommit = True
    return connection


class Writer(threading.Thread):
    """Runs transactions on a connection of its own."""

    def __init__(self, connection, name, seed):
        super().__init__(name=name)
        self.random = random.Random(seed)
        self.cursor = connection.cursor()
        self.writes = 0
        self.given_up = 0
        self.error = None

    def run(self):
        try:
            for _ in range(self.random.randint(1, 6)):
                self.transaction()
        except Exception as error:      # pylint: disable=broad-except
            self.error = error

    def transaction(self):
        """One transaction; most are short, some stay open for a while."""
        pick = self.random
        isolation = pick.choices(["READ COMMITTED", "REPEATABLE READ"], [9, 1])[0]
        self.execute("BEGIN ISOLATION LEVEL " + isolation)
        try:
            if pick.random() < 0.2:
                self.execute("SELECT pg_current_xact_id()")
                self.pause()
            for _ in range(pick.choices([1, 2, 3, 8], [5, 3, 2, 1])[0]):
                self.block(0)
                if pick.random() < 0.2:
                    self.pause()
            self.execute("ROLLBACK" if pick.random() < 0.15 else "COMMIT")
        except EXPECTED:
            self.execute("ROLLBACK")
            self.given_up += 1

    def pause(self):
        """Lets the others go on; not for long, but for some of their transactions."""
        time.sleep(self.random.random() ** 3 * 0.02)

    def block(self, depth):
        """A write, or some in a subtransaction."""
        pick = self.random
        if depth > 2 or pick.random() < 0.6:
            self.write()
            return
        savepoint = "s%d" % depth
        self.execute("SAVEPOINT " + savepoint)
        for _ in range(pick.randint(1, 3)):
            self.block(depth + 1)
        end = pick.random()
        if end < 0.3:
            self.execute("ROLLBACK TO " + savepoint)
            if pick.random() < 0.5:
                self.block(depth + 1)
        elif end < 0.8:
            self.execute("RELEASE " + savepoint)

    def write(self):
        pick = self.random
        key = pick.choice(KEYS)
        self.writes += 1
        value = "%s-%d" % (self.name, self.writes)
        kind = pick.choices(["observe", "mark", "forget", "batch", "upsert", "update", "delete", "caught"],
                            [6, 1, 4, 2, 1, 1, 1, 2])[0]
        if kind == "observe":
            self.execute("SELECT sync_state_observe(%s, %s)", key, value)
        elif kind == "mark":
            self.execute("SELECT sync_state_mark_synced(%s, %s, %s)", key, value, value)
        elif kind == "forget":
            self.execute("SELECT sync_state_forget(%s)", key)
        elif kind == "batch":
            keys = pick.sample(KEYS, pick.randint(1, 4))
            self.execute("SELECT sync_state_observe_many(%s, %s, NULL)", keys, [value] * len(keys))
        elif kind == "upsert":
            self.execute("INSERT INTO syncstate.sync_state (type_key, local_hash) VALUES (%s, %s)"
                         " ON CONFLICT (type_key) DO UPDATE SET local_hash = EXCLUDED.local_hash", key, value)
        elif kind == "update":
            self.execute("UPDATE syncstate.sync_state SET local_hash = %s WHERE type_key >= %s", value, key)
        elif kind == "delete":
            self.execute("DELETE FROM syncstate.sync_state WHERE type_key >= %s", key)
        else:
            self.execute("SELECT model.caught(%s, %s, %s)", key, value, pick.random() < 0.5)

    def execute(self, statement, *values):
        self.cursor.execute(statement, values)


class Reader(threading.Thread):
    """Follows the feed until it is told that all writers have ended, then to the end."""

    def __init__(self, connection, position, seed):
        super().__init__(name="reader")
        self.random = random.Random(seed)
        self.cursor = connection.cursor()
        self.position = position
        self.copy = {}
        self.told = set()
        self.writers_ended = threading.Event()
        self.pages = 0
        self.changes = 0
        self.error = None

    def run(self):
        try:
            while not self.writers_ended.is_set():
                self.transaction()
                if self.random.random() < 0.3:
                    time.sleep(self.random.random() ** 3 * 0.01)
            while self.page(self.random.randint(1, 5)):
                pass
        except Exception as error:      # pylint: disable=broad-except
            self.error = error

    def transaction(self):
        """Reads a page or some, in no transaction or in one, in which it may write."""
        pick = self.random
        if pick.random() < 0.5:
            self.page(self.page_size())
            return
        before = (self.position, dict(self.copy), set(self.told))
        isolation = pick.choices(["READ COMMITTED", "REPEATABLE READ"], [3, 1])[0]
        self.cursor.execute("BEGIN ISOLATION LEVEL " + isolation)
        try:
            for _ in range(pick.randint(1, 3)):
                if pick.random() < 0.4:
                    self.write()
                    if pick.random() < 0.3:
                        time.sleep(pick.random() ** 3 * 0.02)
                self.page(self.page_size())
            end = "ROLLBACK" if pick.random() < 0.2 else "COMMIT"
        except EXPECTED:
            end = "ROLLBACK"
        self.cursor.execute(end)
        if end == "ROLLBACK":
            self.position, self.copy, self.told = before

    def page_size(self):
        return self.random.choices([1, 2, 3, 1000], [4, 3, 2, 1])[0]

    def write(self):
        key = self.random.choice(KEYS)
        if self.random.random() < 0.3:
            self.cursor.execute("SELECT sync_state_forget(%s)", (key,))
        else:
            self.cursor.execute("SELECT sync_state_observe(%s, %s)", (key, "reader-%d" % self.random.randrange(10 ** 9)))

    def page(self, max_rows):
        """Applies a page to the copy, or the beginning of it; how many changes that were."""
        self.cursor.execute("SELECT type_key, deleted, local_hash, updated_at, cursor"
                            " FROM sync_state_changes(%s, %s)", (self.position, max_rows))
        rows = self.cursor.fetchall()
        if rows and self.random.random() < 0.2:
            rows = rows[:self.random.randint(1, len(rows))]
        for key, deleted, local_hash, updated_at, position in rows:
            # No two changes of a key are of the same time.
            if (key, deleted, updated_at) in self.told:
                raise AssertionError("told twice: %s %s %s" % (key, "deleted" if deleted else local_hash, updated_at))
            self.told.add((key, deleted, updated_at))
            if deleted:
                self.copy.pop(key, None)
            else:
                self.copy[key] = local_hash
            self.position = position
        self.pages += 1
        self.changes += len(rows)
        return len(rows)


class Model:
    def __init__(self, writers):
        self.make_database()
        self.control = connect()
        self.reader = connect()
        self.writers = [connect() for _ in range(writers)]
        self.pages = self.changes = self.writes = self.given_up = 0

    @staticmethod
    def make_database():
        connection = psycopg2.connect(dbname=os.environ.get("PGDATABASE", "postgres"))
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("DROP DATABASE IF EXISTS %s" % DATABASE)
        cursor.execute("CREATE DATABASE %s TEMPLATE template0" % DATABASE)
        connection.close()
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("""
                CREATE EXTENSION syncstate;
                CREATE SCHEMA model;
                -- Writes in a block that catches errors, and that may raise one.
                CREATE FUNCTION model.caught(key text, value text, fails boolean) RETURNS void LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM sync_state_observe(key, value);
                    IF fails THEN
                        RAISE division_by_zero;
                    END IF;
                EXCEPTION WHEN division_by_zero THEN
                    NULL;
                END $$""")
        connection.close()

    def query(self, statement):
        with self.control.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def round(self, seed):
        """Runs one round; what was wrong with it, or None."""
        pick = random.Random(seed)
        copy = dict(self.query("SELECT type_key, local_hash FROM syncstate.sync_state"))
        position = self.query("SELECT sync_state_cursor()")[0][0]
        if pick.random() < 0.2:
            copy, position = {}, None
        writers = [Writer(connection, "w%d" % n, pick.random()) for n, connection in enumerate(self.writers)]
        reader = Reader(self.reader, position, pick.random())
        reader.copy = copy

        reader.start()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        reader.writers_ended.set()
        reader.join()

        self.pages += reader.pages
        self.changes += reader.changes
        self.writes += sum(writer.writes for writer in writers)
        self.given_up += sum(writer.given_up for writer in writers)
        for thread in [reader] + writers:
            if thread.error is not None:
                return "%s: %s: %s" % (thread.name, type(thread.error).__name__, str(thread.error).split("\n", maxsplit=1)[0])
        table = dict(self.query("SELECT type_key, local_hash FROM syncstate.sync_state"))
        if table != reader.copy:
            return "the table has %s, the copy %s" % (sorted(set(table.items()) - set(reader.copy.items())),
                                                      sorted(set(reader.copy.items()) - set(table.items())))
        return None

    def restart(self):
        """After a round that failed, no transaction is left open."""
        for connection in [self.control, self.reader] + self.writers:
            connection.close()
        self.control = connect()
        self.reader = connect()
        self.writers = [connect() for _ in self.writers]

    def summary(self):
        return ("%d writes, %d transactions gave way to others, %d changes told in %d pages"
                % (self.writes, self.given_up, self.changes, self.pages))


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
