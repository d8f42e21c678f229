#!/usr/bin/python3
"""Four sessions at once: is there an order of their calls that explains all answers?

    linearisable.py [--rounds N] [--seed N] [--writers N]

In each round, four sessions call the functions that keep state and runs, each call
a transaction of its own, on two keys, with tokens of their own and of the others.
Of each call is recorded when it began, when it ended and what it answered.  Then,
for each key, an order is looked for in which the model of contract.py gives the same
answers, in which no call comes before one that had ended when it began, and which ends
in the rows that are there: state, runs, conflicts, tombstone.  If there is none, two
have won that must not both win, a write was lost, or something was seen half done.

The search is that of Wing and Gong (Testing and Verifying Concurrent Objects, 1993)
with the memory of Lowe (Testing for Linearizability, 2017): calls that may come next
are tried one after the other, and a set of calls with the state that it led to is not
tried twice.  The keys are searched one by one, which is enough: an object is
linearisable if all of its independent parts are (Herlihy and Wing, 1990).

A trigger in the database of the test holds up some writes for a moment, under the
row's lock, so that others come in between.  It adds nothing that could not happen.

The database is that of PGHOST, PGPORT ..., in which one of its own is made.  Before
the rounds, the search is tried on histories made by hand, of which it must accept and
refuse the right ones.  A round that fails prints its seed and the calls on the key; how
the sessions interleave is not in the seed, so that it may take several attempts:
--rounds 100 --repeat runs the same seed again and again.  Ends with "rounds: N passed,
N failed".
"""

import json
import os
import random
import sys
import threading
import time

import psycopg2

import contract
import rounds
from contract import Refused
from histories import TABLES, connect

DATABASE = "syncstate_model_linearisable"
KEYS = ["a", "b"]
HASHES = ["h1", "h2", "h3"]
CALLS = 6
TYPES = {"run_id": "uuid", "lease": "interval", "sync_progress": "jsonb", "state": "jsonb"}
# Hours before a lease that counts ends, a moment after one that does not.
LEASES = ["1 hour", "1 hour", "1 microsecond"]


class Call:
    """A call with what came of it: the answer, or an SQLSTATE."""

    def __init__(self, name, key, arguments, pid=0):
        self.name, self.key, self.arguments, self.pid = name, key, arguments, pid
        self.answer = self.sqlstate = None
        # For the order of calls, and as the server's clock shows it.
        self.began = self.ended = self.clock_began = self.clock_ended = 0

    def start(self):
        self.clock_began = time.time_ns() // 1000
        self.began = time.monotonic_ns()
        return self

    def end(self, answer=None, sqlstate=None):
        self.ended = time.monotonic_ns()
        self.clock_ended = time.time_ns() // 1000
        self.answer, self.sqlstate = answer, sqlstate
        return self

    def environment(self, user, xid):
        """One for all orders, so that states of different orders can be found equal."""
        begun = self.name == "sync_state_begin" and self.sqlstate is None
        environment = contract.Environment(self.clock_began, self.clock_ended, xid, user=user, pid=self.pid,
                                           application_name="histories.py", run_number=self.answer[0][1] if begun else None)
        if begun:
            environment.token(self.key).value = self.answer[0][2]
        return environment

    def __str__(self):
        arguments = ", ".join("%s => %s" % item for item in self.arguments.items())
        return "%d to %d: %s(%s, %s): %s" % (self.began // 1000, self.ended // 1000, self.name, self.key, arguments,
                                             self.sqlstate or contract.plain(self.answer))


# ----------------------------------------------------------------------------
# Searching for an order
# ----------------------------------------------------------------------------

def look(context, type_key):
    """The rows that a round has left: the last call of all."""
    entry = context.entry(type_key)
    return [(entry.row, entry.runs, entry.conflicts, entry.tombstone)]


class Search:
    """An order of the calls on a key, from the state in which it is unknown."""

    def __init__(self, calls, user):
        self.calls = sorted(calls, key=lambda call: call.began)
        xid = contract.Xid(1)
        self.environments = [call.environment(user, xid) for call in self.calls]
        self.everything = (1 << len(self.calls)) - 1
        self.tried = set()
        self.longest = 0

    def found(self):
        stack = [(0, contract.NOTHING)]
        while stack:
            done, entry = stack.pop()
            if done == self.everything:
                return True
            self.longest = max(self.longest, bin(done).count("1"))
            for n in self.next_ones(done):
                for after in self.after(n, entry):
                    step = (done | 1 << n, after)
                    if step not in self.tried:
                        self.tried.add(step)
                        stack.append(step)
        return False

    def next_ones(self, done):
        """Calls that began before any of those that are left had ended."""
        left = [n for n in range(len(self.calls)) if not done >> n & 1]
        first_end = min(self.calls[n].ended for n in left)
        return [n for n in left if self.calls[n].began <= first_end]

    def after(self, n, entry):
        """What the key may be after the call, if the model gives its answer."""
        call = self.calls[n]
        function = look if call.name == "look" else getattr(contract, call.name)
        state = contract.State({call.key: entry})
        for expected, after in contract.outcomes(state, self.environments[n], function, type_key=call.key, **call.arguments):
            if isinstance(expected, Refused):
                same = call.sqlstate in expected.sqlstates
            else:
                same = call.sqlstate is None and contract.fits(expected, call.answer)
            if same:
                yield after.entries.get(call.key, contract.NOTHING)


def violation(calls, user):
    """What is wrong with the calls on a key, or None."""
    search = Search(calls, user)
    if search.found():
        return None
    return "no order of these calls on a key; at most %d of %d could be put in one:\n  %s" % (
        search.longest, len(calls), "\n  ".join(str(call) for call in search.calls))


# ----------------------------------------------------------------------------
# Histories made by hand
# ----------------------------------------------------------------------------

def told(name, began, ended, answer=None, sqlstate=None, **arguments):
    call = Call(name, "a", arguments)
    call.began, call.ended, call.clock_began, call.clock_ended = began, ended, began, ended
    call.answer, call.sqlstate = answer, sqlstate
    return call


def state_row(created, updated, **columns):
    row = contract.Row("a", *[None] * 14)
    return row._replace(run_number=0, created_at=created, updated_at=updated, changed_xid=3, **columns)


def self_test():
    """Whether the search tells right from wrong."""
    first, second = "%08d-0000-0000-0000-000000000000" % 1, "%08d-0000-0000-0000-000000000000" % 2

    def begun(began, ended, run_id, number):
        run = contract.Run("a", number, run_id, "histories.py", 0, began, *[None] * 4, False, *[None] * 4)
        return told("sync_state_begin", began, ended, [run], lease="1 hour")

    def refused(began, ended):
        return told("sync_state_begin", began, ended, sqlstate="55P03", lease="1 hour")

    def updated(began, ended, value, created):
        return told("sync_state_update", began, ended, [state_row(created, ended, local_hash=value)],
                    state={"local_hash": json.dumps(value)})

    def got(began, ended, value, created, at):
        return told("sync_state_get", began, ended, [state_row(created, at, local_hash=value)])

    right = {
        "one of two takes the key": [begun(10, 20, first, 1), refused(12, 18)],
        "... though the other one was there first": [refused(10, 30), begun(12, 28, first, 1)],
        "a read sees a write that has not ended": [
            updated(10, 20, "x", 10), updated(30, 60, "y", 10), got(40, 50, "y", 10, 60)],
        "... or does not": [updated(10, 20, "x", 10), updated(30, 60, "y", 10), got(40, 50, "x", 10, 20)],
    }
    wrong = {
        "two take the key at once": [begun(10, 20, first, 1), begun(12, 18, second, 2)],
        "a key that is free is refused": [refused(10, 20), begun(30, 40, first, 1)],
        "a read misses a write that has ended": [updated(10, 20, "x", 10), updated(30, 40, "y", 10), got(50, 60, "x", 10, 20)],
        "a write that is seen and gone again": [updated(10, 20, "x", 10), updated(30, 90, "y", 10),
                                                got(40, 50, "y", 10, 90), got(60, 70, "x", 10, 20)],
        "a run that was never begun leaves a checkpoint": [
            begun(10, 20, first, 1),
            told("sync_state_checkpoint", 30, 40, [(3600000030,)], run_id=second, sync_progress=None, lease="1 hour")],
    }
    failed = []
    for histories, expected in ((right, True), (wrong, False)):
        for name, calls in histories.items():
            if (violation(calls, None) is None) != expected:
                failed.append("%s is %s" % (name, "refused" if expected else "accepted"))
    return failed


# ----------------------------------------------------------------------------
# Sessions
# ----------------------------------------------------------------------------

class Writer(threading.Thread):
    """Calls functions, one after the other."""

    def __init__(self, connection, seed, start, tokens):
        super().__init__()
        self.connection, self.cursor = connection, connection.cursor()
        self.random = random.Random(seed)
        self.start_together = start
        # What all sessions have begun, by key; and the last that this one has.
        self.tokens, self.own = tokens, {}
        self.calls = []
        self.error = None

    def run(self):
        try:
            self.start_together.wait()
            for _ in range(CALLS):
                name = self.random.choices(*self.NAMES)[0]
                key = self.random.choice(KEYS)
                call = Call("sync_state_" + name, key, getattr(self, name)(key), self.connection.info.backend_pid)
                self.calls.append(self.call(call))
        except Exception as error:      # pylint: disable=broad-except
            self.error = error

    NAMES = (["update", "observe", "mark_synced", "begin", "checkpoint", "fail", "rollback", "resolve", "forget", "get"],
             [3, 6, 5, 8, 4, 2, 2, 2, 1, 2])

    def call(self, call):
        arguments = {"type_key": call.key, **call.arguments}
        if call.name == "sync_state_update":
            arguments["state"] = "{%s}" % ", ".join('"%s": %s' % item for item in call.arguments["state"].items())
        statement = "SELECT * FROM %s(%s)" % (call.name, ", ".join(
            "%s => %%(%s)s::%s" % (name, name, TYPES.get(name, "text")) for name in arguments))
        call.start()
        try:
            self.cursor.execute(statement, arguments)
            call.end(self.cursor.fetchall())
        except psycopg2.Error as error:
            if error.pgcode is None:
                raise
            call.end(sqlstate=error.pgcode)
        if call.name == "sync_state_observe" and call.answer:
            call.answer = [(json.loads(call.answer[0][0]),)]
        if call.name == "sync_state_begin" and call.answer:
            self.own[call.key] = call.answer[0][2]
            self.tokens[call.key].append(call.answer[0][2])
        return call

    def hash(self):
        return self.random.choice(HASHES + [None])

    def token(self, key):
        """Mostly the own run, else anybody's latest, or none."""
        kind = self.random.choices(["own", "latest", None], [6, 3, 1])[0]
        known = self.tokens[key]
        if kind == "own" and key in self.own:
            return self.own[key]
        return known[-1] if kind and known else None

    # --- arguments ---

    def update(self, _key):
        field = self.random.choice(["local_hash", "remote_hash", "sync_status", "sync_progress"])
        status = self.random.choice(["new", "modified", "in_sync"])
        value = {"sync_status": status, "sync_progress": {"at": 0}}.get(field, self.hash())
        return {"state": {field: json.dumps(value)}}

    def observe(self, _key):
        return {"local_hash": self.hash(), "remote_hash": self.hash()}

    def mark_synced(self, key):
        return {"local_hash": self.hash(), "remote_hash": self.hash(), "run_id": self.token(key)}

    def begin(self, _key):
        return {"lease": self.random.choice(LEASES)}

    def checkpoint(self, key):
        return {"run_id": self.token(key) or "00000000-0000-0000-0000-000000000001",
                "sync_progress": '{"at": %d}' % self.random.randint(1, 9), "lease": self.random.choice(LEASES)}

    def fail(self, key):
        return {"run_id": self.token(key)}

    def rollback(self, key):
        return {"run_id": self.token(key)}

    def resolve(self, _key):
        return {"resolution": self.random.choice(["local", "remote"])}

    def forget(self, _key):
        return {}

    def get(self, _key):
        return {}


class Model:
    def __init__(self, writers):
        failed = self_test()
        if failed:
            raise AssertionError("the search is wrong: " + "; ".join(failed))
        self.make_database()
        self.control = connect(DATABASE).cursor()
        self.writers = [connect(DATABASE) for _ in range(writers)]
        self.control.execute("SELECT current_user::text")
        self.user = self.control.fetchone()[0]
        self.calls = self.overlapping = self.refused = 0

    @staticmethod
    def make_database():
        control = connect(os.environ.get("PGDATABASE", "postgres"))
        control.cursor().execute("DROP DATABASE IF EXISTS %s" % DATABASE)
        control.cursor().execute("CREATE DATABASE %s TEMPLATE template0" % DATABASE)
        control.close()
        connection = connect(DATABASE)
        connection.cursor().execute("""
            CREATE EXTENSION syncstate;
            CREATE SCHEMA model;
            CREATE FUNCTION model.hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_sleep(random() * 0.003);
                RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
            END $$;
            CREATE TRIGGER hold_up BEFORE INSERT OR UPDATE OR DELETE ON syncstate.sync_state
                FOR EACH ROW WHEN (random() < 0.3) EXECUTE FUNCTION model.hold_up();
            CREATE TRIGGER hold_up BEFORE INSERT OR UPDATE ON syncstate.sync_run
                FOR EACH ROW WHEN (random() < 0.1) EXECUTE FUNCTION model.hold_up()""")
        connection.close()

    def round(self, seed):
        """Runs one round; what was wrong with it, or None."""
        pick = random.Random(seed)
        self.control.execute("DELETE FROM syncstate.sync_state; DELETE FROM syncstate.sync_tombstone")
        start = threading.Barrier(len(self.writers))
        tokens = {key: [] for key in KEYS}
        writers = [Writer(connection, pick.random(), start, tokens) for connection in self.writers]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        for writer in writers:
            if writer.error is not None:
                return "%s: %s" % (type(writer.error).__name__, writer.error)
        for key in KEYS:
            calls = [call for writer in writers for call in writer.calls if call.key == key]
            self.count(calls)
            wrong = violation(calls + [self.look(key)], self.user)
            if wrong is not None:
                return wrong
        return None

    def count(self, calls):
        self.calls += len(calls)
        self.refused += sum(call.sqlstate is not None for call in calls)
        self.overlapping += sum(any(a is not b and a.began <= b.ended and b.began <= a.ended for b in calls) for a in calls)

    def look(self, key):
        """The rows of a key, as a last call."""
        call = Call("look", key, {}).start()
        rows = []
        for name, columns, order in TABLES:
            self.control.execute("SELECT %s FROM syncstate.%s WHERE type_key = %%s ORDER BY %s"
                                 % (", ".join(columns._fields), name, order), (key,))
            rows.append(self.control.fetchall())
        state, runs, conflicts, tombstone = rows
        return call.end([(state[0] if state else None, runs, conflicts, tombstone[0] if tombstone else None)])

    def restart(self):
        for connection in [self.control.connection] + self.writers:
            connection.close()
        self.control = connect(DATABASE).cursor()
        self.writers = [connect(DATABASE) for _ in self.writers]

    def summary(self):
        return ("%d calls, %d of them while another one was on the key, %d refused"
                % (self.calls, self.overlapping, self.refused))


if __name__ == "__main__":
    sys.exit(rounds.main(Model, __doc__))
