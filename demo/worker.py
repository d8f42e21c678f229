#!/usr/bin/python3
"""A worker: brings content types to the same state here and on the other side.

    worker.py [--lease INTERVAL] [--batch ROWS] [--owner NAME] (--recover | TYPE...)

Take it as a model of how the functions of syncstate are used.  The rules:

- No hash is computed here: both sides are attached as sources, and the database
  measures them where the rows are.
- Ask first (delta), then record what was seen (observe), then take the key
  (begin) and commit: others must see that it is taken before the work starts.
- Each batch and its checkpoint are one transaction.  Whatever kills the worker,
  the checkpoint says exactly which rows are there.
- A lease longer than the longest batch.  Each checkpoint renews it.
- Compare both sides before mark_synced: what is marked is what is there.
- Error 55000 means that another worker has taken over.  Stop; write nothing.

The connection is given by the environment (PGHOST ...); the database is `cms`,
with the other side's tables in schema `remote`.
"""

import argparse
import sys

import psycopg2
import psycopg2.errors
import psycopg2.extras

# The columns beside the key, which is always "code".
COLUMNS = {
    "country": ("alpha_2", "number", "name", "official_name"),
    "subdivision": ("name", "kind", "parent"),
    "language": ("alpha_2", "name", "scope", "kind"),
    "currency": ("number", "name"),
    "script": ("number", "name"),
}

HERE, THERE = "public", "remote"


class ContentMoved(Exception):
    """The sides differ after a copy: somebody has edited in the meantime."""

    def __init__(self, source_edited):
        super().__init__("the content was edited while it was copied")
        # The side that is read: all has to be copied once more.  If it was the
        # other one, the key has to be decided anew: no checkpoint.
        self.ending = "sync_state_fail" if source_edited else "sync_state_rollback"


class Worker:
    def __init__(self, owner="worker", lease="1 min", batch=500):
        self.owner, self.lease, self.batch = owner, lease, batch
        self.connection = psycopg2.connect(
            dbname="cms",
            application_name=owner,
            cursor_factory=psycopg2.extras.NamedTupleCursor,
            # Should this process be killed in the middle of a statement, the
            # server notices, and gives up the transaction with its locks.
            options="-c client_connection_check_interval=1s",
        )

    def rows(self, query, *args):
        with self.connection.cursor() as cursor:
            cursor.execute(query, args)
            return cursor.fetchall()

    def row(self, query, *args):
        rows = self.rows(query, *args)
        return rows[0] if rows else None

    # Seeing

    def delta(self, type_key):
        """What is to be done, by what both sides hold now; writes nothing."""
        return self.row("SELECT sync_state_delta(%s) AS delta", type_key).delta

    def hashes(self, type_key):
        """What both sides hold now; None: no rows."""
        delta = self.delta(type_key)
        return delta["local_hash"], delta["remote_hash"]

    def observe(self, type_key):
        """Measures both sides and records what was seen; what is to be done."""
        return self.row("SELECT sync_state_observe(%s) AS delta", type_key).delta

    def state(self, type_key):
        return self.row("SELECT * FROM sync_state_get(%s)", type_key)

    # Doing

    def sync(self, type_key):
        """Does what a content type needs; returns whether it is all right."""
        try:
            with self.connection:
                state = self.state(type_key)
                stopped = state is not None and state.sync_progress is not None
                run, direction = (self.resume if stopped else self.begin)(type_key)
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.NoDataFound) as error:
            # A live run has it (55P03), or another worker has just resumed and
            # finished it (P0002).
            self.say(type_key, f"left alone: {error.diag.message_primary}", end="\n")
            return True
        return run is None or self.work(run, direction)

    def begin(self, type_key):
        delta = self.delta(type_key)
        action, detail = delta["action"], delta["detail"]
        self.say(type_key, f"{action} {detail}")

        # This records a conflict, and settles what both sides agree on: there
        # is nothing to copy then.
        self.observe(type_key)
        if action == "PUSH" or (action, detail) == ("INITIAL_SYNC", "push"):
            direction = "push"
        elif action == "PULL" or (action, detail) == ("INITIAL_SYNC", "pull"):
            direction = "pull"
        else:
            print(flush=True)
            return None, None
        run = self.row(
            "SELECT * FROM sync_state_begin(%s, %s, %s)", type_key, self.lease, self.owner
        )
        return run, direction

    def resume(self, type_key):
        """Goes on with a run that another worker left at a checkpoint."""
        direction = self.state(type_key).sync_progress["direction"]

        # Look at the side which is copied from, and only at that: the other
        # one holds half a copy.  If it is not what the old run saw, the new one
        # is told (content_moved) and begins at the beginning.
        ours, theirs = self.hashes(type_key)
        if direction == "push":
            self.row("SELECT sync_state_observe(%s, local_hash => %s, local_absent => %s)",
                     type_key, ours, ours is None)
        else:
            self.row("SELECT sync_state_observe(%s, remote_hash => %s, remote_absent => %s)",
                     type_key, theirs, theirs is None)
        run = self.row(
            "SELECT * FROM sync_state_resume(%s, %s, %s)", type_key, self.lease, self.owner
        )
        self.say(type_key, "resumed after batch {step} of {total}, "
                           "at \"{after}\"".format(**run.sync_progress))
        return run, direction

    def work(self, run, direction):
        """Copies and records how it went.  All transactions are its own."""
        type_key = run.type_key
        try:
            self.copy(run, direction)
            self.mark(run, direction)
        except psycopg2.errors.ObjectNotInPrerequisiteState as error:    # 55000
            print(f" stopped: {error.diag.message_primary}", flush=True)
            return False
        except ContentMoved as error:
            with self.connection:
                self.row(f"SELECT {error.ending}(%s, %s, %s)", type_key, run.run_id, str(error))
            print(f" given up: {error}", flush=True)
            return False
        except psycopg2.Error as error:
            # The next pass resumes at the last checkpoint.
            with self.connection:
                self.row("SELECT sync_state_fail(%s, %s, %s)",
                         type_key, run.run_id, error.diag.message_primary)
            print(f" failed: {error.diag.message_primary}", flush=True)
            return False
        return True

    def copy(self, run, direction):
        source, target = (HERE, THERE) if direction == "push" else (THERE, HERE)
        progress = run.sync_progress
        if progress is None or run.content_moved:
            with self.connection:
                rows = self.row(f"SELECT count(*) FROM {source}.{run.type_key}").count
            # The last batch has no end, for what the target has beyond it.
            progress = {"direction": direction, "step": 0,
                        "total": rows // self.batch + 1, "after": ""}

        while progress["step"] < progress["total"]:
            with self.connection:    # the batch and its checkpoint: both or neither
                upto = self.copy_batch(source, target, run.type_key, progress["after"])
                progress = {**progress, "step": progress["step"] + 1, "after": upto}
                self.row("SELECT sync_state_checkpoint(%s, %s, %s, %s)", run.type_key, run.run_id,
                         psycopg2.extras.Json(progress), self.lease)
            print(".", end="", flush=True)
            if upto is None:
                break

    def copy_batch(self, source, target, type_key, after):
        """Makes the rows behind a key like the source's; returns the last key,
        or None if there are no more.  Can be repeated without harm."""
        end = self.row(f"""SELECT code FROM {source}.{type_key} WHERE code > %s
                           ORDER BY code OFFSET %s LIMIT 1""", after, self.batch - 1)
        names = {
            "source": f"{source}.{type_key}",
            "target": f"{target}.{type_key}",
            "columns": ", ".join(COLUMNS[type_key]),
            "s_columns": ", ".join(f"s.{c}" for c in COLUMNS[type_key]),
            "t_columns": ", ".join(f"t.{c}" for c in COLUMNS[type_key]),
            "s_range": "s.code > %s" + (" AND s.code <= %s" if end else ""),
            "t_range": "t.code > %s" + (" AND t.code <= %s" if end else ""),
        }
        bounds = (after, end.code) if end else (after,)

        with self.connection.cursor() as cursor:
            cursor.execute("""
                DELETE FROM {target} t WHERE {t_range}
                AND NOT EXISTS (SELECT FROM {source} s WHERE s.code = t.code AND {s_range})
                """.format(**names), bounds * 2)
            cursor.execute("""
                UPDATE {target} t SET ({columns}) = ROW({s_columns}) FROM {source} s
                WHERE s.code = t.code AND {s_range} AND {t_range}
                AND ROW({s_columns}) IS DISTINCT FROM ROW({t_columns})
                """.format(**names), bounds * 2)
            cursor.execute("""
                INSERT INTO {target} (code, {columns})
                SELECT s.code, {s_columns} FROM {source} s WHERE {s_range}
                AND NOT EXISTS (SELECT FROM {target} t WHERE t.code = s.code AND {t_range})
                """.format(**names), bounds * 2)
        return end.code if end else None

    def mark(self, run, direction):
        with self.connection:
            ours, theirs = self.hashes(run.type_key)
            if ours != theirs:
                raise ContentMoved(ours != run.local_hash if direction == "push" else theirs != run.remote_hash)
            self.row("SELECT sync_state_mark_synced(%s, %s, %s, %s)",
                     run.type_key, ours, theirs, run.run_id)
        print(" done", flush=True)

    def say(self, type_key, text, end=" "):
        print(f"    {type_key:<12} {text}", end=end, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--owner", default="worker")
    parser.add_argument("--lease", default="1 min")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--recover", action="store_true",
                        help="take the keys of interrupted runs")
    parser.add_argument("type", nargs="*")
    args = parser.parse_args()

    worker = Worker(args.owner, args.lease, args.batch)
    keys = args.type
    if args.recover:
        with worker.connection:
            keys = [row.key for row in
                    worker.rows("SELECT * FROM sync_state_detect_interrupted() AS key")]
    return 0 if all([worker.sync(key) for key in keys]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
