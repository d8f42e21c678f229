#!/usr/bin/python3
"""A follower: keeps a copy of the state of all content types, by the change feed.

    follower.py [--page ROWS] [--poll SECONDS]

Take it as a model of how the feed is read.  The rules:

- The cursor is kept beside the copy, and moves in the transaction that applies
  what was read: both or neither.  Whatever kills the follower, it goes on there.
- Read in a transaction that is committed before the cursor is kept: a cursor
  counts only then.  Here each read is one (autocommit).
- Go on from the cursor of the last row.  No rows: keep the cursor you have.
- NULL is the beginning: every row there is, and no deletions.  So empty the copy.
- Error 55000, "resync required", means that the cursor is of no use any more.
  Begin at the beginning.
- A notification says that there is something to read, not what, and none comes
  while nobody listens: listen first, then read, and look now and then unasked.
  (Sessions notify if syncstate.notify is set in them: see cms.sql.)

The connection is given by the environment (PGHOST ...); the feed is read in the
database `cms`, the copy is in `remote`, in the tables of follower.sql.
"""

import argparse
import select
import sys

import psycopg2
import psycopg2.errors
import psycopg2.extras

KEPT = ("type_key", "sync_status", "conflict_status", "local_hash", "remote_hash", "last_sync_at")

UPSERT = f"""
    INSERT INTO state_copy ({', '.join(KEPT)}) VALUES ({', '.join(['%s'] * len(KEPT))})
    ON CONFLICT (type_key) DO UPDATE
    SET ({', '.join(KEPT)}) = ROW({', '.join('EXCLUDED.' + column for column in KEPT)})
    """


class Follower:
    def __init__(self, page=1000):
        self.page = page
        self.source, self.target = (
            psycopg2.connect(dbname=dbname, application_name="follower",
                             cursor_factory=psycopg2.extras.NamedTupleCursor)
            for dbname in ("cms", "remote"))
        self.source.autocommit = True
        with self.source.cursor() as source:
            source.execute("LISTEN syncstate")

    def follow(self):
        """Reads and applies one page; returns its changes, none if there is nothing new."""
        with self.target, self.target.cursor() as target:
            # Locked: two followers would apply the same page.
            target.execute("SELECT cursor FROM feed_cursor FOR UPDATE")
            cursor = target.fetchone().cursor
            try:
                changes = self.read(cursor)
            except psycopg2.errors.ObjectNotInPrerequisiteState as error:    # 55000
                if cursor is None:
                    raise    # not the cursor's fault; the hint says what to do
                print(f"    {error.diag.message_primary}: {error.diag.message_detail}", flush=True)
                cursor = None
                changes = self.read(cursor)

            if cursor is None:
                target.execute("DELETE FROM state_copy")
            for change in changes:
                self.apply(target, change)
                cursor = change.cursor
            target.execute("UPDATE feed_cursor SET cursor = %s WHERE cursor IS DISTINCT FROM %s",
                           (cursor, cursor))
        return changes

    def read(self, cursor):
        with self.source.cursor() as source:
            source.execute("SELECT * FROM sync_state_changes(%s, %s)", (cursor, self.page))
            return source.fetchall()

    def apply(self, target, change):
        if change.deleted:
            target.execute("DELETE FROM state_copy WHERE type_key = %s", (change.type_key,))
        else:
            target.execute(UPSERT, [getattr(change, column) for column in KEPT])

    def catch_up(self):
        """Page by page, until there is nothing new; returns all changes."""
        return [change for changes in iter(self.follow, []) for change in changes]

    def wait(self, seconds):
        """Until there is a notification, or so many seconds have passed."""
        self.source.poll()
        if not self.source.notifies:
            select.select([self.source], [], [], seconds)
            self.source.poll()
        self.source.notifies.clear()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--page", type=int, default=1000)
    parser.add_argument("--poll", type=float, default=60)
    args = parser.parse_args()

    follower = Follower(args.page)
    print("listening", flush=True)
    while True:
        for change in follower.catch_up():
            print(change.type_key, "deleted" if change.deleted else change.sync_status, flush=True)
        follower.wait(args.poll)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
