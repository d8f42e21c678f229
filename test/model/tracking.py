#!/usr/bin/python3
"""Random writers of tracked tables, and readers: no digest is ever wrong.

    tracking.py [--rounds N] [--seed N] [--writers N]

A round is a history: four writers run transactions of random statements on a
plain table, on one with partitions of partitions, and on a parent that cascades
to a child: INSERT, UPDATE, DELETE, MERGE, COPY, ON CONFLICT, moves between
partitions, TRUNCATE; in savepoints that are released or rolled back, in blocks
that catch errors; they commit, roll back, or prepare and leave the end to
somebody later.  In between come disabled and enabled triggers, columns that are
added, dropped, and of another type, renamed labels of an enum, partitions that
are detached, attached and made, folds and verifications, at READ COMMITTED and
above; and new sessions, for in those that have the library the triggers do their
work at once, else through the queue.

At random instants two checkers, and the writers in their own transactions,
compare in one snapshot what a delta tells with what the rows are.  After the
round each sum that still counts is compared once more, and verified: valid must
be what the comparison found.

The database is that of PGHOST, PGPORT ..., in which a database of its own is
made.  A round that fails prints its seed, with which it can be run alone; how
the threads interleave is not in the seed, so that may take several attempts:
--rounds 100 --repeat runs the same seed again and again.  Exits with 0 if all
rounds passed.  Ends with "rounds: N passed, N failed".
"""

import io
import os
import random
import sys
import threading
import time

import psycopg2
import psycopg2.errors
import psycopg2.extensions

import rounds

DATABASE = "syncstate_model_tracking"
SOURCES = {"plain": "m.plain", "few": "m.plain", "parted": "m.parted", "child": "m.child", "leaf": "m.south"}
REGIONS = ["north", "south", "east", "west", "extra"]
IDS = 60
# What may happen to a transaction among others, or for what others have altered; nothing else may.
EXPECTED = (psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure, psycopg2.errors.LockNotAvailable,
            psycopg2.errors.UniqueViolation, psycopg2.errors.ForeignKeyViolation, psycopg2.errors.CheckViolation,
            psycopg2.errors.UndefinedColumn, psycopg2.errors.DuplicateColumn, psycopg2.errors.UndefinedTable,
            psycopg2.errors.DuplicateTable, psycopg2.errors.InvalidTextRepresentation, psycopg2.errors.InvalidParameterValue,
            psycopg2.errors.ObjectNotInPrerequisiteState, psycopg2.errors.ObjectInUse, psycopg2.errors.CardinalityViolation,
            psycopg2.errors.UndefinedObject, psycopg2.errors.DuplicateObject, psycopg2.errors.InvalidObjectDefinition, psycopg2.errors.InvalidTableDefinition,
            psycopg2.errors.FeatureNotSupported, psycopg2.errors.WrongObjectType)

SCHEMA = """
CREATE EXTENSION syncstate;
CREATE SCHEMA m;
CREATE TYPE m.mood AS ENUM ('one', 'two');
CREATE TABLE m.plain (id int PRIMARY KEY, title text, price numeric, mood m.mood DEFAULT 'one', spare int);
CREATE TABLE m.parted (id int, region text, title text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE m.north PARTITION OF m.parted FOR VALUES IN ('north');
CREATE TABLE m.south (title text, junk int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (region, id));
ALTER TABLE m.south DROP COLUMN junk;
ALTER TABLE m.parted ATTACH PARTITION m.south FOR VALUES IN ('south');
CREATE TABLE m.extra (region text NOT NULL, id int NOT NULL, title text, PRIMARY KEY (region, id), CHECK (region = 'extra'));
ALTER TABLE m.parted ATTACH PARTITION m.extra FOR VALUES IN ('extra');
CREATE TABLE m.rest PARTITION OF m.parted DEFAULT PARTITION BY RANGE (id);
CREATE TABLE m.low PARTITION OF m.rest FOR VALUES FROM (MINVALUE) TO (30);
CREATE TABLE m.high PARTITION OF m.rest FOR VALUES FROM (30) TO (MAXVALUE);
CREATE TABLE m.parent (id int PRIMARY KEY);
CREATE TABLE m.child (id int PRIMARY KEY, parent int REFERENCES m.parent ON DELETE CASCADE ON UPDATE CASCADE);

-- What a source's rows are, by the snapshot of the caller's statement.
CREATE FUNCTION m.measured(key text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    source syncstate.sync_source;
    list text;
    result text;
BEGIN
    SELECT * INTO STRICT source FROM syncstate.sync_source WHERE type_key = key;
    SELECT string_agg(format('x.%I', n), ', ' ORDER BY n COLLATE "C") INTO list
      FROM unnest(coalesce(source.columns, (SELECT array_agg(attname) FROM pg_attribute
        WHERE attrelid = source.local AND attnum > 0 AND NOT attisdropped))) n;
    EXECUTE format('SELECT sync_digest(%s) FROM %s x', list, source.local) INTO result;
    RETURN result;
END $$;
-- In triggers, in functions, wherever: is what is told what is there?  By one snapshot.
CREATE FUNCTION m.right(key text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(sync_state_delta(key)->>'local_hash', repeat('0', 32) || ':0') = m.measured(key);
END $$;
CREATE FUNCTION m.look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.2 THEN
        LOCK TABLE m.plain, m.parted, m.child IN ACCESS SHARE MODE;
        IF NOT m.right(TG_ARGV[0]) THEN
            RAISE 'wrong in a trigger: %', TG_ARGV[0] USING ERRCODE = 'XX999';
        END IF;
    END IF;
    RETURN NULL;
END $$;
-- Runs a statement in a block that catches errors, and that may raise one.
CREATE FUNCTION m.caught(statement text, fails boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    IF fails THEN
        RAISE division_by_zero;
    END IF;
EXCEPTION WHEN division_by_zero OR unique_violation OR foreign_key_violation OR check_violation THEN
    NULL;
END $$;
CREATE FUNCTION m.trigger(key text, what text) RETURNS text LANGUAGE sql AS $$
    SELECT quote_ident('~syncstate_' || what || '_' || left(source_id::text, 8)) FROM syncstate.sync_source WHERE type_key = key $$;
CREATE FUNCTION m.set_trigger(key text, what text, relation text, how text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s %s TRIGGER %s', relation, how, m.trigger(key, what));
END $$;
INSERT INTO m.plain SELECT i, 'title ' || i FROM generate_series(1, 40) i;
INSERT INTO m.parted SELECT i, (ARRAY['north', 'south', 'east', 'west', 'extra'])[i % 5 + 1], 'title ' || i FROM generate_series(1, 50) i;
INSERT INTO m.parent SELECT generate_series(1, 20);
INSERT INTO m.child SELECT i, i % 20 + 1 FROM generate_series(1, 40) i;
SELECT sync_source_attach('plain', 'm.plain'), sync_source_attach('few', 'm.plain', columns => '{id,title,mood}'),
       sync_source_attach('parted', 'm.parted'), sync_source_attach('child', 'm.child'), sync_source_attach('leaf', 'm.south');
SELECT sync_source_track(k) FROM unnest('{plain,few,parted,child,leaf}'::text[]) k;
CREATE TRIGGER zz_look AFTER UPDATE OR DELETE ON m.parent FOR EACH ROW EXECUTE FUNCTION m.look('child');
"""
# Row triggers of others, beside which an UPDATE is counted in another way than without: in every other history.
LOOK = """
DROP TRIGGER IF EXISTS zz_look ON m.plain;
DROP TRIGGER IF EXISTS "~~look" ON m.parted;
"""
LOOK_FOR_EACH_ROW = """
CREATE TRIGGER zz_look AFTER INSERT OR UPDATE OR DELETE ON m.plain FOR EACH ROW EXECUTE FUNCTION m.look('plain');
CREATE TRIGGER "~~look" AFTER INSERT OR UPDATE OR DELETE ON m.parted FOR EACH ROW EXECUTE FUNCTION m.look('parted');
"""


def is_expected(error):
    # That of DDL beside DDL on a type has no code of its own.
    return isinstance(error, EXPECTED) or "tuple concurrently" in str(error)


def connect(application="tracking.py"):
    # Writers take their rows in any order, so they deadlock; not for long.  DDL gives way.
    connection = psycopg2.connect(dbname=DATABASE, application_name=application,
                                  options="-c deadlock_timeout=10ms -c lock_timeout=1s -c client_min_messages=error")
    connection.autocommit = True
    return connection


class Prepared:
    """Prepared transactions that somebody has yet to end."""

    def __init__(self):
        self.lock = threading.Lock()
        self.names = []
        self.count = 0

    def new_name(self):
        with self.lock:
            self.count += 1
            return "tracking_%d" % self.count

    def put(self, name):
        with self.lock:
            self.names.append(name)

    def take(self):
        with self.lock:
            return self.names.pop(random.randrange(len(self.names))) if self.names else None


class Wrong(Exception):
    pass


class Worker(threading.Thread):
    def __init__(self, model, connection, name, seed):
        super().__init__(name=name)
        self.model = model
        self.random = random.Random(seed)
        self.connection = connection
        self.cursor = connection.cursor()
        self.error = None
        self.statements = self.gave_up = self.checks = 0

    def execute(self, statement, *values):
        self.cursor.execute(statement, values or None)
        self.statements += 1

    def pause(self):
        time.sleep(self.random.random() ** 3 * 0.01)

    def check(self):
        """
        One comparison, by the snapshot of one statement.  The lock comes first, for
        a table that is truncated after the snapshot is empty for it too, and what
        is told is what was in it before.
        """
        key = self.random.choice(list(SOURCES))
        self.execute("LOCK TABLE %s IN ACCESS SHARE MODE" % SOURCES[key])
        self.execute("SELECT coalesce(sync_state_delta(%s)->>'local_hash', repeat('0', 32) || ':0'), m.measured(%s)", key, key)
        told, measured = self.cursor.fetchone()
        self.checks += 1
        if told != measured:
            self.execute("SELECT coalesce(sync_state_delta(%s)->>'local_hash', repeat('0', 32) || ':0'), m.measured(%s)", key, key)
            raise Wrong("%s was told as %s, is %s; once more: %s, %s" % ((key, told, measured) + self.cursor.fetchone()))


class Writer(Worker):
    def run(self):
        try:
            for _ in range(self.random.randint(2, 5)):
                self.transaction()
        except Exception as error:      # pylint: disable=broad-except
            self.error = error

    def connect_anew(self):
        """A session without the library: what its first statement writes goes through the queue of triggers."""
        connections = self.model.connections
        mine = connections.index(self.connection)
        self.connection.close()
        connections[mine] = self.connection = connect()
        self.cursor = self.connection.cursor()

    def transaction(self):
        pick = self.random
        if pick.random() < 0.15:
            self.connect_anew()
        isolation = pick.choices(["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"], [8, 2, 1])[0]
        self.execute("BEGIN ISOLATION LEVEL " + isolation)
        try:
            if isolation != "READ COMMITTED":
                # Before there is a snapshot: TRUNCATE empties a table for older ones too.
                self.execute("LOCK TABLE m.plain, m.parted, m.child, m.parent IN ACCESS SHARE MODE")
            if pick.random() < 0.1:
                self.execute("SET LOCAL session_replication_role = replica")
            for _ in range(pick.choices([1, 2, 3, 8], [4, 3, 2, 1])[0]):
                self.block(0)
                if pick.random() < 0.2:
                    self.pause()
            self.end()
        except psycopg2.Error as error:
            if not is_expected(error):
                raise
            self.execute("ROLLBACK")
            self.gave_up += 1

    def end(self):
        kind = self.random.choices(["COMMIT", "ROLLBACK", "PREPARE"], [7, 2, 1])[0]
        if kind != "PREPARE":
            self.execute(kind)
            return
        name = self.model.prepared.new_name()
        self.execute("PREPARE TRANSACTION '%s'" % name)
        self.model.prepared.put(name)

    def block(self, depth):
        """A statement, or some in a subtransaction."""
        pick = self.random
        if depth > 2 or pick.random() < 0.7:
            self.statement()
            return
        savepoint = "s%d" % depth
        self.execute("SAVEPOINT " + savepoint)
        try:
            for _ in range(pick.randint(1, 3)):
                self.block(depth + 1)
        except psycopg2.Error as error:
            if not is_expected(error) or error.pgcode in ("40001", "40P01"):
                raise
            self.execute("ROLLBACK TO " + savepoint)
            return
        end = pick.random()
        if end < 0.35:
            self.execute("ROLLBACK TO " + savepoint)
            if pick.random() < 0.5:
                self.block(depth + 1)
        elif end < 0.85:
            self.execute("RELEASE " + savepoint)

    def statement(self):
        pick = self.random
        kind = pick.choices(["write", "caught", "check", "copy", "truncate", "verify", "fold", "ddl", "finish"],
                            [60, 8, 12, 4, 3, 3, 4, 4, 6])[0]
        if kind == "write":
            self.execute(self.write())
        elif kind == "caught":
            self.execute("SELECT m.caught(%s, %s)", self.write(), pick.random() < 0.5)
        elif kind == "check":
            self.check()
        elif kind == "copy":
            lines = "".join("%d\tcopied %d\n" % (n, n) for n in pick.sample(range(IDS * 2), 2))
            self.cursor.copy_expert("COPY m.plain (id, title) FROM STDIN", io.StringIO(lines))
        elif kind == "truncate":
            table = pick.choice(["m.plain", "m.parted", "m.south", "m.rest", "m.low", "m.child", "m.parent CASCADE"])
            self.execute("TRUNCATE " + table)
        elif kind == "verify":
            self.execute("SELECT sync_source_verify(%s)", pick.choice(list(SOURCES)))
        elif kind == "fold":
            self.execute("SELECT sync_state_prune('1 day')")
        elif kind == "ddl":
            self.ddl()
        else:
            self.execute("SELECT 1")

    def write(self):
        pick = self.random
        n, other, title = pick.randrange(IDS), pick.randrange(IDS), "t%d" % pick.randrange(10 ** 6)
        region, to = pick.choice(REGIONS), pick.choice(REGIONS)
        return pick.choice([
            "INSERT INTO m.plain (id, title) VALUES (%d, '%s') ON CONFLICT DO NOTHING" % (n, title),
            "INSERT INTO m.plain (id, title) VALUES (%d, '%s'), (%d, 'x') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title" % (n, title, n + 1),
            "INSERT INTO m.plain (id, title) VALUES (%d, '%s')" % (n, title),
            "UPDATE m.plain SET title = '%s' WHERE id BETWEEN %d AND %d" % (title, n, n + 3),
            "UPDATE m.plain SET price = coalesce(price, 0) + 1.5 WHERE id > %d" % n,
            "UPDATE m.plain SET mood = (enum_range(NULL::m.mood))[%d] WHERE id %% 7 = %d" % (pick.randint(1, 2), n % 7),
            "UPDATE m.plain SET id = %d WHERE id = %d" % (other + IDS, n),
            "UPDATE m.plain p SET title = o.title FROM m.plain o WHERE o.id %% 5 = p.id %% 5 AND p.id BETWEEN %d AND %d" % (n, n + 5),
            "DELETE FROM m.plain WHERE id BETWEEN %d AND %d" % (n, n + 2),
            "DELETE FROM m.plain WHERE id >= %d" % IDS,
            "MERGE INTO m.plain p USING (VALUES (%d, '%s'), (%d, NULL)) v(id, title) ON v.id = p.id WHEN MATCHED AND v.title IS NULL THEN DELETE"
            " WHEN MATCHED THEN UPDATE SET title = v.title WHEN NOT MATCHED THEN INSERT (id, title) VALUES (v.id, v.title)" % (n, title, n + 1),
            "WITH gone AS (DELETE FROM m.plain WHERE id = %d RETURNING title) UPDATE m.plain SET title = '%s' WHERE id = %d" % (n, title, n + 1),
            "WITH w AS (UPDATE m.plain SET title = '%s' WHERE id = %d RETURNING m.right('few')) SELECT m.right('plain') FROM w" % (title, n),
            "INSERT INTO m.parted VALUES (%d, '%s', '%s') ON CONFLICT (region, id) DO UPDATE SET title = EXCLUDED.title" % (n, region, title),
            "UPDATE m.parted SET region = '%s', title = '%s' WHERE region = '%s' AND id = %d" % (to, title, region, n),
            "UPDATE m.parted SET id = id + 1 WHERE region = 'east' AND id = %d" % n,
            "UPDATE m.parted SET title = '%s' WHERE id %% 5 = %d" % (title, n % 5),
            "DELETE FROM m.parted WHERE id = %d" % n,
            "INSERT INTO m.south (id, region, title) VALUES (%d, 'south', '%s') ON CONFLICT DO NOTHING" % (n, title),
            "UPDATE m.south SET title = '%s' WHERE id BETWEEN %d AND %d" % (title, n, n + 9),
            "DELETE FROM m.rest WHERE id = %d" % n,
            "UPDATE m.extra SET title = '%s' WHERE id > %d" % (title, n),
            "INSERT INTO m.extra (id, region, title) VALUES (%d, 'extra', '%s') ON CONFLICT DO NOTHING" % (n, title),
            "INSERT INTO m.parent VALUES (%d) ON CONFLICT DO NOTHING" % n,
            "INSERT INTO m.child VALUES (%d, (SELECT id FROM m.parent ORDER BY random() LIMIT 1)) ON CONFLICT DO NOTHING" % n,
            "DELETE FROM m.parent WHERE id = %d" % n,
            "UPDATE m.parent SET id = %d WHERE id = %d" % (other, n),
            "UPDATE m.child SET id = %d WHERE id = %d" % (other, n)])

    def ddl(self):
        """What makes a sum not count, most of it undone in the same transaction, with a write in between."""
        pick = self.random
        kind = pick.randrange(12)
        if kind == 0:
            self.execute("SELECT m.set_trigger('plain', 'track', 'm.plain', 'DISABLE')")
            self.execute(self.write())
            if pick.random() < 0.7:
                self.execute("SELECT m.set_trigger('plain', 'track', 'm.plain', 'ENABLE ALWAYS')")
        elif kind == 1:
            self.execute("SELECT m.set_trigger('parted', 'track', 'm.south', 'DISABLE')")
            self.execute("UPDATE m.south SET title = 'unnoticed %d'" % pick.randrange(10 ** 6))
            self.execute("SELECT m.set_trigger('parted', 'track', 'm.south', 'ENABLE ALWAYS')")
        elif kind == 2:
            self.execute("SELECT m.set_trigger('plain', 'track_truncate', 'm.plain', 'DISABLE')")
            self.execute("TRUNCATE m.plain")
            self.execute("SELECT m.set_trigger('plain', 'track_truncate', 'm.plain', 'ENABLE ALWAYS')")
        elif kind == 3:
            self.execute("ALTER TABLE m.plain ADD COLUMN passing int DEFAULT %d" % pick.randrange(9))
            self.execute(self.write())
            self.execute("ALTER TABLE m.plain DROP COLUMN passing")
        elif kind == 4:
            self.execute("ALTER TABLE m.plain ALTER spare TYPE %s" % pick.choice(["int", "bigint", "int USING %d" % pick.randrange(9)]))
        elif kind == 5:
            old, new = pick.sample(["one", "two", "three", "four"], 2)
            # Labels are not of a snapshot: not between what is told and what is measured.
            self.execute("LOCK TABLE m.plain IN ACCESS EXCLUSIVE MODE")
            self.execute("ALTER TYPE m.mood RENAME VALUE '%s' TO '%s'" % (old, new))
        elif kind == 6:
            self.execute("ALTER TABLE m.parted DETACH PARTITION m.extra")
            self.execute("INSERT INTO m.extra (id, region, title) VALUES (%d, 'extra', 'unnoticed') ON CONFLICT DO NOTHING" % pick.randrange(IDS))
            if pick.random() < 0.8:
                self.execute("ALTER TABLE m.parted ATTACH PARTITION m.extra FOR VALUES IN ('extra')")
        elif kind == 7:
            self.execute("ALTER TABLE m.parted ATTACH PARTITION m.extra FOR VALUES IN ('extra')")
        elif kind == 8:
            key = pick.choice(list(SOURCES))
            self.execute("SELECT sync_source_untrack(%s)", key)
            self.execute(self.write())
            self.execute("SELECT sync_source_track(%s)", key)
        elif kind == 9:
            self.execute("SELECT sync_source_track(%s)", pick.choice(list(SOURCES)))
        elif kind == 10:
            self.execute("CREATE INDEX ON m.plain (title)")
            self.execute("CLUSTER m.plain USING plain_pkey")
            self.execute("DROP INDEX m.plain_title_idx")
        else:
            self.execute("CREATE OR REPLACE TRIGGER again AFTER INSERT OR UPDATE OR DELETE ON m.plain"
                         " FOR EACH ROW EXECUTE FUNCTION syncstate.track('plain')")
        self.execute(self.write())


class Checker(Worker):
    """Compares until it is told that all writers have ended; ends prepared transactions in between."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.writers_ended = threading.Event()

    def run(self):
        try:
            while not self.writers_ended.is_set():
                self.look()
                name = self.model.prepared.take()
                if name:
                    self.pause()
                    self.execute("%s PREPARED '%s'" % (self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]), name))
        except Exception as error:      # pylint: disable=broad-except
            self.error = error

    def look(self):
        """Several comparisons in one snapshot, while writers go on."""
        try:
            self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.execute("LOCK TABLE m.plain, m.parted, m.child IN ACCESS SHARE MODE")
            for _ in range(self.random.randint(1, 4)):
                self.check()
                if self.random.random() < 0.3:
                    self.pause()
            self.execute("COMMIT")
        except psycopg2.Error as error:
            if not is_expected(error):
                raise
            self.execute("ROLLBACK")
            self.gave_up += 1


class Model:
    def __init__(self, writers):
        self.prepared = Prepared()
        self.number_of_writers = writers
        self.totals = {"statements": 0, "gave_up": 0, "checks": 0, "counted": 0, "did not count": 0}
        self.make_database()

    def make_database(self):
        connection = psycopg2.connect(dbname=os.environ.get("PGDATABASE", "postgres"))
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", (DATABASE,))
        if cursor.rowcount:
            left = cursor.fetchall()
            with connect() as inner:
                inner.autocommit = True
                for (gid,) in left:
                    inner.cursor().execute("ROLLBACK PREPARED %s", (gid,))
            inner.close()
        cursor.execute("DROP DATABASE IF EXISTS %s WITH (FORCE)" % DATABASE)
        cursor.execute("CREATE DATABASE %s TEMPLATE template0" % DATABASE)
        connection.close()
        self.control = connect()
        self.control.cursor().execute(SCHEMA)
        self.connections = [connect() for _ in range(self.number_of_writers + 2)]

    def query(self, statement, *values):
        with self.control.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall()

    def round(self, seed):
        """Runs one history; what was wrong with it, or None."""
        pick = random.Random(seed)
        self.control.cursor().execute(LOOK + (LOOK_FOR_EACH_ROW if pick.random() < 0.5 else ""))
        writers = [Writer(self, connection, "w%d" % n, pick.random())
                   for n, connection in enumerate(self.connections[:self.number_of_writers])]
        checkers = [Checker(self, connection, "c%d" % n, pick.random())
                    for n, connection in enumerate(self.connections[self.number_of_writers:])]
        for thread in checkers + writers:
            thread.start()
        for writer in writers:
            writer.join()
        for checker in checkers:
            checker.writers_ended.set()
            checker.join()
        for thread in checkers + writers:
            self.totals["statements"] += thread.statements
            self.totals["gave_up"] += thread.gave_up
            self.totals["checks"] += thread.checks
        for thread in checkers + writers:
            if thread.error is not None:
                return "%s: %s: %s" % (thread.name, type(thread.error).__name__, str(thread.error).split("\n", maxsplit=1)[0])
        return self.end_of_round(pick)

    def end_of_round(self, pick):
        while True:
            name = self.prepared.take()
            if not name:
                break
            self.control.cursor().execute("%s PREPARED '%s'" % (pick.choice(["COMMIT", "ROLLBACK"]), name))
        for key in SOURCES:
            told, measured = self.query("SELECT coalesce(sync_state_delta(%s)->>'local_hash', repeat('0', 32) || ':0'), m.measured(%s)", key, key)[0]
            if told != measured:
                return "in the end %s is told as %s, is %s" % (key, told, measured)
        if pick.random() < 0.5:
            # Else the next round begins with sums that do not count, or that do since long.
            return None
        # What is off must be set right, so that most rounds begin with sums that count.
        if not self.query("SELECT FROM pg_inherits WHERE inhrelid = 'm.extra'::regclass"):
            self.control.cursor().execute("DELETE FROM m.rest WHERE region = 'extra';"
                                          "ALTER TABLE m.parted ATTACH PARTITION m.extra FOR VALUES IN ('extra')")
        for key in SOURCES:
            self.query("SELECT sync_source_track(%s)", key)
            verified = self.query("SELECT v->>'valid', v->>'tracked', v->>'measured' FROM sync_source_verify(%s) v", key)[0]
            if verified[1] is not None and verified[0] != "true":
                return "%s was counted as %s, is %s" % (key, verified[1], verified[2])
            self.totals["did not count" if verified[1] is None else "counted"] += 1
            if self.query("SELECT v->>'valid' FROM sync_source_verify(%s) v", key)[0][0] != "true":
                return "%s is not right after verification" % key
        return None

    def restart(self):
        """After a round that failed, nothing of it is left."""
        for connection in [self.control] + self.connections:
            connection.close()
        self.prepared = Prepared()
        self.make_database()

    def summary(self):
        totals = self.totals
        return ("%d statements, %d transactions gave way, %d comparisons, sums verified: %d that counted, %d that did not"
                % (totals["statements"], totals["gave_up"], totals["checks"], totals["counted"], totals["did not count"]))


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
