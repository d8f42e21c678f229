"""What calls the code of psycopg.md."""

import os
import uuid

from sync import *

if os.environ.get("POOLED"):
    from pooled import pooled as connect_it
else:
    connect_it = connect

connection = None


def connected():
    global connection
    if connection is None or connection.closed:
        connection = connect_it()
    return connection


heard = []


def start_listening():
    global listening
    listening = listen()
    listening.add_notify_handler(heard.append)


def waits(seconds):
    wait(listening, seconds)
    return [notify.payload for notify in heard]


def refused(query, *values):
    try:
        row(connected(), query, *values)
    except psycopg.Error as error:
        return f"{type(error).__name__} {error.sqlstate}"
    return "taken"


def types():
    """What is said of them, as far as it can be seen from here."""
    c = connected()
    run = row(c, "SELECT * FROM sync_state_begin(%s, %s)", "types", "90 seconds")
    checkpoint = "SELECT sync_state_checkpoint(%s, %s, %s) AS lease"
    told = {"dict": refused(checkpoint, "types", run.run_id, {"a": 1}),
             "list": refused(checkpoint, "types", run.run_id, [1])}
    lease = row(c, checkpoint, "types", str(run.run_id), Jsonb([1, 2])).lease
    row(c, checkpoint, "types", run.run_id, None)
    state = row(c, "SELECT * FROM sync_state_get(%s)", "types")
    told["heartbeat keeps"] = state.sync_progress
    row(c, checkpoint, "types", run.run_id, Jsonb(None))
    told["null"] = row(c, "SELECT sync_progress::text AS p FROM sync_state_get('types')").p
    told["uuid"] = isinstance(run.run_id, uuid.UUID)
    told["zone"] = lease.tzinfo is not None
    updated = row(c, "SELECT * FROM sync_state_get('types')").updated_at
    told["microseconds"] = row(c, "SELECT updated_at = %s AS same FROM sync_state_get('types')", updated).same
    told["interval"] = row(c, "SELECT lease_expires_at - updated_at AS i FROM sync_state_get('types')").i > 2 * LEASE
    told["array"] = row(c, "SELECT sync_state_observe_many(%s, %s, %s) AS n", ["t1", "t2"], ["h", None], None).n
    told["array of None"] = row(c, "SELECT sync_state_observe_many(%s, %s, %s) AS n", ["t1", "t2"], [None, None], None).n
    return told


def savepoint_only(key):
    """How many see that the key is taken, if autocommit is off and there was a SELECT before."""
    other = psycopg.connect()
    other.execute("SELECT 1")
    with other.transaction():
        other.execute("SELECT * FROM sync_state_begin(%s)", (key,))
    seen = row(connected(), "SELECT count(*) AS n FROM sync_state_get(%s)", key).n
    other.rollback()
    other.close()
    return seen


def lookup(code, name, base):
    found = errors.lookup(code)
    return found is getattr(errors, name) and base in [parent.__name__ for parent in found.__mro__]


calls = {
    "sync": lambda key: sync(connected(), key),
    "recover": lambda: recover(connected()),
    "follow": lambda: follow(connected(), 3),
    "listen": start_listening,
    "wait": waits,
    "types": types,
    "savepoint_only": savepoint_only,
    "lookup": lookup,
}
