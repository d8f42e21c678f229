"""Workers which keep a journal of what they were told, for tests that break them off.

Each worker has keys, and rows of a tracked table, that nobody else writes: begins
runs, copies rows with checkpoints, marks, fails, observes, updates, resolves,
forgets, in batches and one by one, in transactions with savepoints and without.
The journal, which is not in the database, has two entries:

- `acked`: what was there after the last transaction whose end was acknowledged;
- `in_flight`: what is there if the one does commit whose answer is awaited.

Whatever happens, one of them is what is there, and the first one if an error was
answered: nothing lost, nothing by halves.  "What is there" is the image of all
tables, to the byte, with the address of each tuple and its writer, as the
transaction itself saw it before its COMMIT.  The outcome of a call without a
transaction is known from a rehearsal that was rolled back: all but times, tokens
and tuples.

Besides, all workers share some keys, for which they claim runs with leases so
short that they take them from each other.  Of each run the journal has how many
checkpoints, and which end, were acknowledged, and whether one more may have been
made.  The rows that were copied with a checkpoint say which one was the last.

Two readers follow by the feed: one keeps its copy and its cursor outside, in
the journal; the other one in the database, in the transaction that reads.
"""

import random
import threading
import time

import psycopg2
import psycopg2.extras

SCHEMA = """
CREATE EXTENSION syncstate;
CREATE SCHEMA m;
-- What a worker copies in its runs, one row after the other.
CREATE TABLE m.copied (type_key text, n int, PRIMARY KEY (type_key, n));
CREATE TABLE m.shared (run_id uuid, n int, PRIMARY KEY (run_id, n));
-- type_key: whose row it is.
CREATE TABLE m.content (id int PRIMARY KEY, type_key text, title text);
SELECT sync_source_attach('content', 'm.content'), sync_source_track('content');
CREATE TABLE m.followed (type_key text PRIMARY KEY, change jsonb);
CREATE TABLE m.position (cursor text);
INSERT INTO m.position VALUES (NULL);
-- Runs a statement in a block that catches errors, and that may raise one: was it left to stand?
CREATE FUNCTION m.caught(statement text, fails boolean) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    IF fails THEN
        RAISE division_by_zero;
    END IF;
    RETURN true;
EXCEPTION WHEN division_by_zero OR query_canceled THEN
    RETURN false;
END $$;
-- Runs a statement after a while.
CREATE FUNCTION m.late(delay float8, statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(delay);
    EXECUTE statement;
END $$;
"""

IDENTITY = {
    "syncstate.sync_state": ("type_key",),
    "syncstate.sync_run": ("type_key", "run_number"),
    "syncstate.sync_conflict": ("type_key", "conflict_number"),
    "syncstate.sync_tombstone": ("type_key",),
    "syncstate.sync_row_base": ("type_key", "key_hash"),
    "m.copied": ("type_key", "n"),
    "m.content": ("id",),
}
IMAGE = " UNION ALL ".join(
    "SELECT '%s', to_jsonb(t) || jsonb_build_object('ctid', t.ctid, 'xmin', t.xmin::text)"
    " FROM %s t WHERE t.type_key = ANY (%%(keys)s)" % (table, table) for table in IDENTITY)

# What a rehearsal cannot know, and of what it knows only whether it is there.
UNKNOWN = ("ctid", "xmin", "created_at", "updated_at", "changed_xid", "started_at", "backend_pid", "detected_at", "deleted_at")
ONLY_WHETHER = ("last_sync_at", "run_id", "lease_expires_at", "finished_at", "resolved_at")

FEED = ("SELECT type_key, deleted, updated_at, cursor,"
        " jsonb_build_array(sync_status, conflict_status, local_hash, remote_hash, last_sync_at)"
        " FROM sync_state_changes(%s, %s)")
TABLE_AS_FED = ("SELECT type_key, jsonb_build_array(sync_status, conflict_status, local_hash, remote_hash, last_sync_at)"
                " FROM syncstate.sync_state")

SHARED_KEYS = ["shared%d" % n for n in range(3)]
LEASE = "150 ms"


class Wrong(Exception):
    """A promise was broken."""


def roughly(row):
    return {column: value is not None if column in ONLY_WHETHER else value
            for column, value in row.items() if column not in UNKNOWN}


def in_conflict(state):
    """Both sides have moved, and not to the same; bases are NULL if it was never synced."""
    local, remote = state["local_hash"], state["remote_hash"]
    return local != remote and local != state["last_synced_hash"] and remote != state["last_synced_remote_hash"]


class Outcome:
    """An image; of the keys in `estimated`, what a rehearsal can know of it."""

    def __init__(self, image, estimated=frozenset()):
        self.image = image
        self.estimated = estimated

    def difference(self, found):
        """What is different in what was found, or None."""
        for identity in sorted(set(self.image) | set(found), key=str):
            here, there = self.image.get(identity), found.get(identity)
            if here and there and here["type_key"] in self.estimated:
                here, there = roughly(here), roughly(there)
            if here != there:
                return "%s was %s, is %s" % (identity, here, there)
        return None


class Actor:
    """
    Does one thing after the other on a connection, until it is stopped or broken
    off.  tolerated: SQLSTATEs of interruptions after which it goes on.
    """

    def __init__(self, name, tolerated=()):
        self.name = name
        self.tolerated = tolerated
        self.struck = 0
        self.random = random.Random()
        self.connection = self.cursor = self.thread = None
        self.stopped = threading.Event()
        self.lost = self.error = None

    def connect(self, connection, seed):
        self.random = random.Random(seed)
        self.connection = connection
        self.cursor = connection.cursor()
        self.lost = self.error = None

    def start(self):
        self.stopped.clear()
        self.thread = threading.Thread(target=self.run, name=self.name, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stopped.is_set():
                self.act_or_settle()
        except Exception as error:      # pylint: disable=broad-except
            if isinstance(error, psycopg2.Error) and self.is_lost(error):
                self.lost = error
            else:
                self.error = "%s: %s: %s" % (self.name, type(error).__name__, error)

    def act_or_settle(self):
        try:
            self.act()
        except psycopg2.Error as error:
            if self.is_lost(error) or not self.is_tolerated(error):
                raise
            self.settle()
            self.struck += 1

    def is_tolerated(self, error):
        return error.pgcode in self.tolerated

    def settle(self):
        """After an interruption that was answered."""
        self.execute("ROLLBACK")

    def is_lost(self, error):
        """Is the connection gone?  The server may have said so (57P01, 57P02), or nobody."""
        return (self.connection.closed or error.pgcode in ("57P01", "57P02")
                or error.pgcode is None and "connection" in str(error))

    def act(self):
        raise NotImplementedError

    def execute(self, statement, *values):
        self.cursor.execute(statement, values or None)

    def query(self, statement, *values):
        self.execute(statement, *values)
        return self.cursor.fetchall()


class SharedRun:
    """What a worker knows of a run of a key that all share."""

    def __init__(self, run_id, key, local_hash):
        self.run_id = run_id
        self.key = key
        self.local_hash = local_hash
        self.checkpoints = 0            # acknowledged
        self.one_more = False           # in flight
        self.end = self.end_in_flight = None
        self.refused = False


class Worker(Actor):
    """
    weight: bytes that are added to a checkpoint and a title.  batch: keys in a
    large batch; 0: there are none.  unanswered: how many of its commits are to wait
    for an answer that does not come (see hold_back_answer).
    """

    unanswered = 0.0

    def __init__(self, name, runs, tolerated=(), weight=0, batch=0):
        super().__init__(name, tolerated)
        self.keys = ["%s-%d" % (name, n) for n in range(3)]
        self.batch = ["%s-batch-%03d" % (name, n) for n in range(batch)]
        self.ids = [1000 * (int(name[1:]) + 1) + n for n in range(20)]
        self.runs = runs                # of all workers, by token
        self.weight = weight
        self.acked = Outcome({})
        self.in_flight = None
        self.shared_run = None
        self.claiming = False
        self.transactions = self.caught = 0
        self.last_call = None

    # ------------------------------------------------------------ the journal

    def image(self):
        with self.connection.cursor() as cursor:
            return self.image_by(cursor)

    def image_by(self, cursor):
        cursor.execute(IMAGE, {"keys": self.keys + self.batch + [self.name]})
        return {(table,) + tuple(row[column] for column in IDENTITY[table]): row for table, row in cursor}

    def check(self, found):
        """After an end that was not answered: is it one of the two?  It is the one, from now on."""
        wrong = self.acked.difference(found)
        if wrong and self.in_flight:
            wrong_too = self.in_flight.difference(found)
            if wrong_too:
                wrong = "not what was acknowledged: %s; nor what was in flight: %s" % (wrong, wrong_too)
            else:
                wrong = None
        elif wrong:
            wrong = "not what was acknowledged, and nothing was in flight: " + wrong
        if wrong:
            raise Wrong("%s: %s; the last call was: %s" % (self.name, wrong, str(self.last_call)[:200]))
        self.acked = Outcome(found)
        self.in_flight = None

    def settle(self):
        """After an error that was answered: it is as it was, and this session knows it."""
        self.execute("ROLLBACK")
        self.in_flight = None
        if self.shared_run:
            self.shared_run.one_more = False
            self.shared_run.end_in_flight = None
        self.claiming = False
        self.check(self.image())

    # ----------------------------------------------------------- what it does

    def act(self):
        self.random.choices([self.alone, self.together, self.shared], [3, 5, 2])[0]()
        self.transactions += 1

    def call(self, statement):
        """A statement that calls, and its rows; statements of the test's own do not come here."""
        self.last_call = statement
        self.cursor.execute(statement)
        return self.cursor.fetchall() if self.cursor.description else []

    def alone(self):
        """One call in no transaction, of whose outcome a rehearsal tells."""
        statement, keys = self.choose(self.acked.image, rehearsed=True)
        self.execute("BEGIN")
        self.execute(statement)
        outcome = Outcome(self.image(), keys)
        self.execute("ROLLBACK")
        self.hold_back_answer("SESSION")
        self.in_flight = outcome
        self.call(statement)
        self.acked, self.in_flight = self.in_flight, None
        self.check(self.image())

    def together(self):
        """Some calls in a transaction, which knows their outcome before it commits."""
        self.execute("BEGIN")
        image = self.acked.image
        for _ in range(self.random.choices([1, 2, 4], [4, 2, 1])[0]):
            image = self.block(image)
        if self.random.random() < 0.15:
            self.execute("ROLLBACK")
            return
        self.hold_back_answer("LOCAL")
        self.in_flight = Outcome(image)
        self.execute("COMMIT")
        self.acked, self.in_flight = self.in_flight, None

    def hold_back_answer(self, scope):
        """
        A commit that is on disk is answered so fast that hardly ever something
        happens in between.  One that waits for a standby, while there is none, is
        on disk, and stays unanswered until something does.
        """
        if self.random.random() < self.unanswered:
            self.execute("SET " + scope + " synchronous_commit = remote_write")

    def block(self, image):
        """A call, which stands or is undone; the image after it."""
        statement, _ = self.choose(image, rehearsed=False)
        kind = self.random.choices(["plain", "released", "undone", "caught", "fails", "refused"], [6, 1, 1, 1, 1, 1])[0]
        stands = kind in ("plain", "released")
        if kind == "plain":
            self.call(statement)
        elif kind in ("caught", "fails"):
            stands = self.call(self.sql("SELECT m.caught(%s, %s)", statement, kind == "fails"))[0][0]
            if kind == "caught" and not stands:
                # By an interruption, then.
                self.caught += 1
        else:
            self.execute("SAVEPOINT s")
            if kind == "refused":
                self.refused()
            else:
                self.call(statement)
            self.execute("RELEASE s" if stands else "ROLLBACK TO s")
        after = self.image()
        if not stands and after != image:
            raise Wrong("%s: undone, but %s; the call was: %s" % (self.name, Outcome(image).difference(after), statement[:200]))
        return after

    def refused(self):
        """A call with a token that is nobody's."""
        try:
            self.call(self.sql("SELECT sync_state_checkpoint(%s, gen_random_uuid(), '{}')", self.random.choice(self.keys)))
            raise Wrong("a token that is nobody's was accepted")
        except psycopg2.Error as error:
            # P0002: the key is unknown.
            if error.pgcode not in ("55000", "P0002"):
                raise

    def sql(self, text, *values):
        return self.cursor.mogrify(text, values).decode()

    def choose(self, image, rehearsed):
        """
        A statement that may come next, and the keys that it writes.  A rehearsed one
        must not depend on the time.
        """
        pick = self.random
        key = pick.choice(self.keys)
        state = image.get(("syncstate.sync_state", key))
        kind = pick.choices(["key", "content", "some", "batch"], [14, 3, 2, 2 if self.batch else 0])[0]
        if kind == "content":
            return self.content(), {self.name}
        if kind in ("some", "batch"):
            return self.many(image, self.keys if kind == "some" else self.batch)
        if state and state["run_id"]:
            return self.in_a_run(key, state, rehearsed), {key}
        return self.without_a_run(key, state), {key}

    def content(self):
        pick = self.random
        row = pick.choice(self.ids)
        return self.sql(*pick.choice([
            ("INSERT INTO m.content VALUES (%s, %s, %s), (%s, %s, 'x') ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title",
             row, self.name, self.filling("title"), row + 20, self.name),
            ("UPDATE m.content SET title = title || 'y' WHERE id BETWEEN %s AND %s AND type_key = %s", row, row + 3, self.name),
            ("DELETE FROM m.content WHERE id IN (%s, %s)", row, row + 20)]))

    def filling(self, text):
        """Incompressible."""
        return text + str(self.random.randrange(10 ** 6)) + self.random.randbytes(self.weight // 2).hex()

    def value(self):
        return self.random.choice("abc")

    def in_a_run(self, key, state, rehearsed):
        pick = self.random
        run = state["run_id"]
        offset = (state["sync_progress"] or {}).get("offset", 0)
        to = offset + pick.randint(1, 3)
        kind = pick.choices(["checkpoint", "heartbeat", "mark", "fail", "rollback", "observe", "reset", "forget", "again"],
                            [8, 1, 2, 1, 0.5, 2, 0.3, 0.3, 0 if rehearsed else 1])[0]
        if kind == "checkpoint":
            return self.sql("INSERT INTO m.copied SELECT %s, g FROM generate_series(%s, %s) g;"
                            "SELECT sync_state_checkpoint(%s, %s, %s, lease => %s)",
                            key, offset + 1, to, key, run,
                            psycopg2.extras.Json({"offset": to, "filling": self.filling("")}), LEASE)
        if kind == "again":
            return self.begin("sync_state_try_begin", key)
        return self.sql(*{
            "heartbeat": ("SELECT sync_state_checkpoint(%s, %s, NULL, %s)", key, run, LEASE),
            "mark": ("SELECT FROM sync_state_mark_synced(%s, %s, %s, %s)", key, self.value(), self.value(), run),
            "fail": ("SELECT FROM sync_state_fail(%s, %s, 'failed')", key, run),
            "rollback": ("SELECT FROM sync_state_rollback(%s, %s, 'rolled back')", key, run),
            "observe": ("SELECT FROM sync_state_observe(%s, %s, %s)", key, self.value(), self.value()),
            "reset": ("SELECT FROM sync_state_reset(%s, force => true)", key),
            "forget": ("SELECT FROM sync_state_forget(%s, force => true)", key)}[kind])

    def begin(self, function, key):
        """A run that begins at the beginning has copied nothing."""
        return self.sql("SELECT FROM " + function + "(%s, lease => %s, owner => %s);"
                        "DELETE FROM m.copied c USING sync_state_get(%s) s WHERE c.type_key = s.type_key AND s.sync_progress IS NULL",
                        key, LEASE, self.name, key)

    def without_a_run(self, key, state):
        pick = self.random
        kinds = {"begin": 5, "observe": 4, "absent": 1, "mark": 1, "update": 2, "forget": 1, "rollback": 0.3}
        if state:
            kinds.update(reset=0.3, fail=0.3)
            if state["sync_status"] == "failed" and state["sync_progress"]:
                kinds.update(resume=4)
            if in_conflict(state):
                kinds.update(resolve=4)
        kind = pick.choices(list(kinds), list(kinds.values()))[0]
        if kind in ("begin", "resume"):
            return self.begin("sync_state_" + kind, key)
        return self.sql(*{
            "observe": ("SELECT FROM sync_state_observe(%s, %s, %s)", key, self.value(), self.value()),
            "absent": ("SELECT FROM sync_state_observe(%s, %s, remote_absent => true)", key, self.value()),
            "mark": ("SELECT FROM sync_state_mark_synced(%s, %s, %s)", key, self.value(), self.value()),
            "update": ("SELECT FROM sync_state_update(%s, %s)", key,
                       psycopg2.extras.Json({"local_hash": self.value(), "remote_hash": self.value()})),
            "forget": ("SELECT FROM sync_state_forget(%s)", key),
            "rollback": ("SELECT FROM sync_state_rollback(%s)", key),
            "reset": ("SELECT FROM sync_state_reset(%s)", key),
            "fail": ("SELECT FROM sync_state_fail(%s)", key),
            "resolve": ("SELECT FROM sync_state_resolve(%s, %s)", key, pick.choice(["local", "remote"]))}[kind])

    def many(self, image, keys):
        """A batch: all or nothing."""
        pick = self.random
        keys = sorted(pick.sample(keys, pick.randint(1, len(keys))))
        runs = [image.get(("syncstate.sync_state", key), {}).get("run_id") for key in keys]
        here, there = ([self.value() for _ in keys] for _ in range(2))
        states = {key: {"local_hash": self.value(), "remote_hash": self.value()} for key in keys}
        return self.sql(*pick.choice([
            ("SELECT sync_state_observe_many(%s, %s, %s)", keys, here, there),
            ("SELECT sync_state_mark_synced_many(%s, %s, %s, %s::uuid[])", keys, here, there, runs),
            ("SELECT sync_state_update_many(%s)", psycopg2.extras.Json(states))])), set(keys)

    # ------------------------------------------------------------ shared keys

    def shared(self):
        run = self.shared_run
        if run is None:
            self.claim()
            return
        kind = self.random.choices(["checkpoint", "mark", "fail", "observe"], [6, 1, 1, 1])[0]
        try:
            if kind == "checkpoint":
                self.shared_checkpoint(run)
            elif kind == "observe":
                self.observe_shared()
            else:
                self.shared_end(run, "synced" if kind == "mark" else "failed")
        except psycopg2.errors.ObjectNotInPrerequisiteState:
            # 55000: superseded.
            self.execute("ROLLBACK")
            run.refused = True
            run.one_more, run.end_in_flight = False, None
            self.shared_run = None

    def observe_shared(self):
        self.call(self.sql("SELECT sync_state_observe(%s, %s)", self.random.choice(SHARED_KEYS), self.filling("")[:20]))

    def claim(self):
        self.observe_shared()
        self.hold_back_answer("SESSION")
        self.claiming = True
        rows = self.call(self.sql("SELECT run_id, type_key, local_hash FROM sync_state_claim(1, 'shared', %s, %s, '0')", LEASE, self.name))
        self.claiming = False
        if rows:
            self.shared_run = SharedRun(*rows[0])
            self.runs[self.shared_run.run_id] = self.shared_run

    def shared_checkpoint(self, run):
        n = run.checkpoints + 1
        self.execute("BEGIN")
        self.execute("INSERT INTO m.shared VALUES (%s, %s)", run.run_id, n)
        self.call(self.sql("SELECT sync_state_checkpoint(%s, %s, %s, %s)", run.key, run.run_id,
                           psycopg2.extras.Json({"run": run.run_id, "n": n}), LEASE))
        self.hold_back_answer("LOCAL")
        run.one_more = True
        self.execute("COMMIT")
        run.checkpoints, run.one_more = n, False

    def shared_end(self, run, how):
        self.hold_back_answer("SESSION")
        run.end_in_flight = how
        if how == "synced":
            self.call(self.mark_shared(run))
        else:
            self.call(self.sql("SELECT FROM sync_state_fail(%s, %s, 'failed')", run.key, run.run_id))
        run.end, run.end_in_flight = how, None
        self.shared_run = None

    def mark_shared(self, run):
        return self.sql("SELECT FROM sync_state_mark_synced(%s, %s, %s, %s)", run.key, run.local_hash, run.local_hash, run.run_id)


class Reader(Actor):
    """Follows by the feed; the copy and the cursor are here, outside."""

    def __init__(self, tolerated=()):
        super().__init__("reader outside", tolerated)
        self.position = None
        self.copy = {}
        self.told = set()

    def act(self):
        if self.random.random() < 0.5:
            self.page(self.cursor, self.random.choice([1, 3, 20, 1000]))
        else:
            self.up_to_now()
        time.sleep(self.random.random() ** 3 * 0.01)

    def up_to_now(self):
        """All that a snapshot shows, and the position of that snapshot: all transactions that have ended count as read."""
        before = (self.position, dict(self.copy), set(self.told))
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            while self.page(self.cursor, 1000):
                pass
            position = self.query("SELECT sync_state_cursor()")[0][0]
            self.execute("COMMIT")
        except psycopg2.Error:
            # A cursor counts only if the transaction that read it commits.
            self.position, self.copy, self.told = before
            raise
        self.position = position

    def page(self, cursor, max_rows):
        cursor.execute(FEED, (self.position, max_rows))
        rows = cursor.fetchall()
        for key, deleted, updated_at, position, change in rows:
            if (key, deleted, updated_at) in self.told:
                raise Wrong("told twice: %s, deleted: %s, of %s" % (key, deleted, updated_at))
            self.told.add((key, deleted, updated_at))
            if deleted:
                self.copy.pop(key, None)
            else:
                self.copy[key] = change
            self.position = position
        return len(rows)

    def finish(self, cursor):
        """Reads on to the end; what is wrong with the copy, or None."""
        while self.page(cursor, 1000):
            pass
        return difference(cursor, self.copy, self.name)


class FollowerInside(Actor):
    """Follows by the feed; the copy and the cursor are in the database."""

    def __init__(self, tolerated=()):
        super().__init__("reader inside", tolerated)

    def act(self):
        self.page(self.cursor, self.random.choice([1, 3, 20, 1000]))
        time.sleep(self.random.random() ** 3 * 0.01)

    @staticmethod
    def page(cursor, max_rows):
        cursor.execute("BEGIN")
        cursor.execute("SELECT cursor FROM m.position FOR UPDATE")
        position = cursor.fetchone()[0]
        cursor.execute(FEED, (position, max_rows))
        rows = cursor.fetchall()
        for key, deleted, _, position, change in rows:
            if deleted:
                cursor.execute("DELETE FROM m.followed WHERE type_key = %s", (key,))
            else:
                cursor.execute("INSERT INTO m.followed VALUES (%s, %s) ON CONFLICT (type_key) DO UPDATE SET change = EXCLUDED.change",
                               (key, psycopg2.extras.Json(change)))
        cursor.execute("UPDATE m.position SET cursor = %s", (position,))
        cursor.execute("COMMIT")
        return len(rows)

    def finish(self, cursor):
        while self.page(cursor, 1000):
            pass
        cursor.execute("SELECT type_key, change FROM m.followed")
        return difference(cursor, dict(cursor.fetchall()), self.name)


def difference(cursor, copy, name):
    cursor.execute(TABLE_AS_FED)
    table = dict(cursor.fetchall())
    if table == copy:
        return None
    keys = [key for key in sorted(set(table) | set(copy)) if table.get(key) != copy.get(key)]
    return "%s: %s" % (name, "; ".join("of %s the table has %s, the copy %s" % (key, table.get(key), copy.get(key)) for key in keys))


class Caretaker(Actor):
    """What goes on in a server besides."""

    def __init__(self, tolerated=()):
        super().__init__("caretaker", tolerated)

    def is_tolerated(self, error):
        # Why a checkpoint failed, the checkpointer knows.
        return super().is_tolerated(error) or self.tolerated and "checkpoint request failed" in str(error)

    def act(self):
        kind = self.random.choice(["CHECKPOINT", "VACUUM syncstate.sync_state", "VACUUM m.content", "SELECT sync_source_verify('content')",
                                   "SELECT sync_state_prune('1 day')", "ANALYZE syncstate.sync_run"])
        self.execute(kind)
        time.sleep(self.random.random() ** 2 * 0.1)
