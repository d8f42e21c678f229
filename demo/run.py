#!/usr/bin/python3
"""The demo: a content management system and another system, kept in step.

    demo/run.py [--shell]

Runs in a throwaway cluster (see script/sandbox): makes the databases `cms` and
`remote`, lets workers (worker.py) bring about 13,000 rows over, edits here and
there, kills a worker in the middle, and has another one go on.  A follower
(follower.py) is told all of it by the change feed; last, a conflict is resolved.
Checks each step and exits with 1 if anything is not as it should be.  With
--shell, psql in `cms` is open afterwards.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time

import psycopg2
import psycopg2.errors

from follower import KEPT, Follower
from worker import COLUMNS, HERE, THERE, Worker

DIRECTORY = os.path.dirname(os.path.abspath(__file__))
TYPES = list(COLUMNS)
BATCH = 500
# Short, so that nobody has to wait for the end of a dead worker's lease.
LEASE = "2 s"
# Small, so that there is more than one.
PAGE = 2


class Deviation(Exception):
    """Something is not as it should be."""


def title(text):
    print(f"\n{text}", flush=True)


def check(text, actual, expected):
    if actual != expected:
        raise Deviation(f"{text}: {actual!r}, where {expected!r} was expected")
    print(f"    ok: {text}", flush=True)


def wait_until(text, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Deviation(f"waited {seconds} seconds in vain: {text}")
        time.sleep(0.05)


class Demo:
    def __init__(self):
        self.make_database("remote", "content.sql", "remote.sql", "follower.sql")
        self.make_database("cms", "content.sql", "cms.sql")
        # Sees and decides as a worker does, but does no work.
        self.cms = Worker("demo")
        self.cms.connection.autocommit = True
        self.remote = psycopg2.connect(dbname="remote")
        self.remote.autocommit = True
        self.follower = Follower(PAGE)

    @staticmethod
    def make_database(name, *scripts):
        subprocess.run(["createdb", "--encoding=UTF8", "--template=template0", name], check=True)
        for script in scripts:
            subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name, "-f",
                            os.path.join(DIRECTORY, script)], check=True)

    def here(self, query, *args):
        """One value, from the database `cms`."""
        return self.cms.row(query, *args)[0]

    def there(self, query, *args):
        """One value, from the database `remote`."""
        with self.remote.cursor() as cursor:
            cursor.execute(query, args)
            return cursor.fetchone()[0]

    def edit_here(self, query):
        with self.cms.connection.cursor() as cursor:
            cursor.execute(query)

    def edit_there(self, query):
        with self.remote.cursor() as cursor:
            cursor.execute(query)

    def worker(self, owner, *args):
        return subprocess.Popen(
            [sys.executable, os.path.join(DIRECTORY, "worker.py"),
             "--owner", owner, "--lease", LEASE, "--batch", str(BATCH), *args])

    def run_worker(self, owner, *args):
        check(f"{owner} ended well", self.worker(owner, *args).wait(), 0)

    def decisions(self):
        deltas = {key: self.cms.delta(key) for key in TYPES}
        return {key: f"{delta['action']} {delta['detail']}" for key, delta in deltas.items()}

    def row_diff(self, type_key):
        """The rows that differ, and what is to be done about each."""
        rows = self.cms.rows(
            "SELECT d.key ->> 'code' AS code, d.difference, p.action, p.detail"
            " FROM sync_source_diff(%s) d JOIN sync_source_diff3(%s) p USING (key)"
            " ORDER BY code", type_key, type_key)
        for row in rows:
            print(f"    row diff:   {type_key} {row.code}: {row.difference},"
                  f" {row.action} {row.detail}")
        return [tuple(row) for row in rows]

    def check_equal(self, *types):
        for key in types:
            ours, theirs = self.cms.hashes(key)
            check(f"{key}: equal on both sides, in sync, with that hash",
                  (theirs, self.cms.state(key).sync_status, self.cms.state(key).last_synced_hash,
                   self.cms.state(key).last_synced_remote_hash),
                  (ours, "in_sync", ours, ours))

    def rows_written(self, type_key):
        """How many rows were written on the other side since the log was emptied,
        and how many different ones."""
        return (self.there("SELECT count(*) FROM written WHERE content_type = %s", type_key),
                self.there("SELECT count(DISTINCT code) FROM written WHERE content_type = %s",
                           type_key))

    def check_followed(self, *types):
        """The feed tells of these, each once, and the copy is equal then."""
        pages = itertools.islice(iter(self.follower.follow, []), 10)    # four are enough
        told = [change.type_key + (" (deleted)" if change.deleted else "")
                for changes in pages for change in changes]
        check(f"the feed tells of {', '.join(types) or 'nothing'}; the copy equals the table",
              (sorted(told), self.copied_state() == self.stored_state()), (sorted(types), True))

    def stored_state(self):
        return self.cms.rows(
            f"SELECT {', '.join(KEPT)} FROM syncstate.sync_state ORDER BY type_key")

    def copied_state(self):
        with self.remote.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(KEPT)} FROM state_copy ORDER BY type_key")
            return cursor.fetchall()

    @contextlib.contextmanager
    def running_follower(self):
        """A follower that polls once an hour: what it hears of before that, it was
        woken for by a notification.  Gives a function that returns what it said."""
        with tempfile.TemporaryFile("a+") as output:
            def said():
                output.seek(0)
                return output.read().splitlines()
            follower = subprocess.Popen(
                [sys.executable, os.path.join(DIRECTORY, "follower.py"), "--poll", "3600"],
                stdout=output)
            try:
                wait_until("the follower is listening", said)
                yield said
            finally:
                follower.terminate()
                follower.wait()

    @contextlib.contextmanager
    def editor(self, code):
        """Somebody over there has a language open: a worker waits for that row,
        and so stands still in the middle of that batch, as long as it takes."""
        with psycopg2.connect(dbname="remote") as connection:
            with connection.cursor() as cursor:
                cursor.execute("SELECT FROM language WHERE code = %s FOR UPDATE", (code,))
                yield
            connection.rollback()
        connection.close()

    # The six parts

    def initial_sync(self):
        title("1. Initial sync: all content is here, nothing on the other side")
        check("delta says INITIAL_SYNC for all five", self.decisions(),
              dict.fromkeys(TYPES, "INITIAL_SYNC push"))
        self.run_worker("first worker", *TYPES)
        self.check_equal(*TYPES)
        for key in TYPES:
            rows = self.here(f"SELECT count(*) FROM {key}")
            check(f"{key}: {rows} rows, each written once",
                  self.rows_written(key), (rows, rows))
        print("    a follower begins, with a cursor that is NULL")
        self.check_followed(*TYPES)

    def second_pass(self):
        title("2. A second pass, then edits here, there, on both sides")
        before = self.here("SELECT clock_timestamp()")
        self.run_worker("second worker", *TYPES)
        check("nothing to do, and nothing was written",
              (self.decisions(),
               self.cms.rows("SELECT * FROM sync_state_changed_since(%s)", before)),
              (dict.fromkeys(TYPES, "NO_CHANGE unchanged"), []))
        self.check_followed()

        print("    here:       Iceland gets a longer name, Atlantis is a new country")
        self.edit_here("""
            UPDATE country SET name = 'The Republic of Iceland' WHERE code = 'ISL';
            INSERT INTO country VALUES ('XAT', 'XA', NULL, 'Atlantis', NULL);
            """)
        print("    over there: a subdivision is renamed, another deleted")
        self.edit_there("""
            UPDATE subdivision SET name = 'Canillo (Andorra)' WHERE code = 'AD-02';
            DELETE FROM subdivision WHERE code = 'AD-03';
            """)
        print("    on both:    the euro, differently; the script Latin, alike")
        self.edit_here("UPDATE currency SET name = 'Euro (our name)' WHERE code = 'EUR'")
        self.edit_there("UPDATE currency SET name = 'Euro (their name)' WHERE code = 'EUR'")
        for edit in self.edit_here, self.edit_there:
            edit("UPDATE script SET name = 'Latin, or Roman' WHERE code = 'Latn'")

        check("delta finds PUSH, PULL, CONFLICT, converged, unchanged", self.decisions(), {
            "country": "PUSH edit",
            "subdivision": "PULL edit",
            "language": "NO_CHANGE unchanged",
            "currency": "CONFLICT edit/edit",
            "script": "NO_CHANGE converged",
        })
        check("the row diff names just the rows that were edited",
              {key: self.row_diff(key) for key in TYPES}, {
                  "country": [("ISL", "different", "PUSH", "edit"),
                              ("XAT", "local_only", "PUSH", "create")],
                  "subdivision": [("AD-02", "different", "PULL", "edit"),
                                  ("AD-03", "local_only", "PULL", "delete")],
                  "language": [],
                  "currency": [("EUR", "different", "CONFLICT", "edit/edit")],
                  "script": [],
              })
        self.edit_there("TRUNCATE written")
        self.run_worker("third worker", *TYPES)
        self.check_equal("country", "subdivision", "language", "script")
        check("just the two edited countries were written over there",
              self.rows_written("country"), (2, 2))
        check("the deleted subdivision is gone here",
              self.here("SELECT count(*) FROM subdivision WHERE code = 'AD-03'"), 0)
        state = self.cms.state("currency")
        check("the conflict is recorded, and both names of the euro are kept",
              (state.sync_status, state.conflict_status,
               self.here("SELECT name FROM currency WHERE code = 'EUR'"),
               self.there("SELECT name FROM currency WHERE code = 'EUR'")),
              ("conflict", "detected", "Euro (our name)", "Euro (their name)"))
        self.check_followed("country", "subdivision", "currency", "script")

    def killed_worker(self):
        title("3. All languages are edited here; the worker is killed in the middle")
        self.edit_here("UPDATE language SET name = format('%s [%s]', name, code)")
        self.edit_there("TRUNCATE written")
        languages = self.here("SELECT count(*) FROM language")
        check("delta says PUSH", self.decisions()["language"], "PUSH edit")

        with self.editor(self.code_in_batch(6)):
            victim = self.worker("killed worker", "language")
            self.wait_for_step(5)
            state = self.cms.state("language")
            victim.send_signal(signal.SIGKILL)
            print(" killed")
            check("killed by SIGKILL, in batch 6", victim.wait(), -signal.SIGKILL)
        check("five batches are over there, of the sixth nothing",
              self.rows_written("language"), (5 * BATCH, 5 * BATCH))

        print("    waiting for the end of its lease")
        wait_until("detect_interrupted names the languages", self.interrupted)
        check("detect_interrupted names the languages, and only them",
              self.interrupted(), ["language"])

        with self.editor(self.code_in_batch(9)):
            successor = self.worker("new worker", "--recover")
            self.wait_for_step(8)
            check("the old worker's token is refused, while the new one is at work",
                  self.checkpoint_error(state.run_id), "55000")
        check("the new worker ended well", successor.wait(), 0)
        check("the old worker's token is refused, now that the run is finished",
              self.checkpoint_error(state.run_id), "55000")
        check("it was one more run", self.cms.state("language").run_number, state.run_number + 1)
        self.check_equal("language")
        check(f"nothing was lost or copied twice: {languages} languages, each written once",
              self.rows_written("language"), (languages, languages))
        check("there are as many over there as here",
              self.there("SELECT count(*) FROM language"), languages)
        self.check_followed("language")

    def code_in_batch(self, number):
        """A code from the middle of a batch."""
        return self.here("SELECT code FROM language ORDER BY code OFFSET %s LIMIT 1",
                         (number - 1) * BATCH + BATCH // 2)

    def wait_for_step(self, step):
        def reached():
            progress = self.cms.state("language").sync_progress
            return progress is not None and progress["step"] == step
        wait_until(f"the languages are at batch {step}", reached)

    def interrupted(self):
        return [row.key for row in
                self.cms.rows("SELECT * FROM sync_state_detect_interrupted() AS key")]

    def checkpoint_error(self, run_id):
        """What a checkpoint with this token is answered."""
        print()
        return self.error("SELECT sync_state_checkpoint('language', %s, '{\"step\": 99}')", run_id)

    def error(self, query, *args):
        """The SQLSTATE of what fails, or None."""
        try:
            self.here(query, *args)
        except psycopg2.Error as error:
            print(f"    {error.diag.message_primary}")
            return error.pgcode
        return None

    def change_feed(self):
        title("4. The change feed: a transaction that commits late, and deletions")
        print("    somebody adds glossary and thesaurus, and does not commit yet")
        late = Worker("late")
        late.row("SELECT sync_state_observe_many(%s, %s, NULL)",
                 ["glossary", "thesaurus"], ["g1", "t1"])
        since = self.here("SELECT clock_timestamp()")
        print("    here:       Atlantis gets a longer name")
        self.edit_here("UPDATE country SET name = 'Republic of Atlantis' WHERE code = 'XAT'")
        self.run_worker("fourth worker", "country")
        self.check_followed("country")
        late.connection.commit()
        print("    committed")
        check("changed_since, which goes by time, never tells of them",
              [row.key for row in
               self.cms.rows("SELECT * FROM sync_state_changed_since(%s) AS key", since)],
              ["country"])
        self.check_followed("glossary", "thesaurus")

        check("glossary is forgotten", self.here("SELECT sync_state_forget('glossary')"), True)
        self.check_followed("glossary (deleted)")
        check("thesaurus, too", self.here("SELECT sync_state_forget('thesaurus')"), True)
        check("both tombstones are pruned, one before the follower has read it",
              self.here("SELECT removed FROM sync_state_prune('0 s') WHERE kind = 'tombstone'"), 2)
        self.check_followed(*TYPES)

    def resolution(self):
        title("5. The conflict is resolved, while a follower is listening")
        with self.running_follower() as said:
            conflict = self.cms.row("SELECT * FROM syncstate.sync_conflict"
                                    " WHERE type_key = 'currency' AND resolved_at IS NULL")
            print("    here:       the euro gets a name that both can live with")
            with self.cms.connection:    # the edit and the resolution: both or neither
                self.edit_here("UPDATE currency SET name = 'Euro (our common name)'"
                               " WHERE code = 'EUR'")
                merged, _ = self.cms.hashes("currency")
                self.here("SELECT sync_state_resolve('currency', 'merged', %s, %s)",
                          merged, conflict.conflict_number)
            check("it cannot be resolved once more",
                  self.error("SELECT sync_state_resolve('currency', 'remote',"
                             " conflict_number => %s)", conflict.conflict_number), "55000")
            check("delta says PUSH", self.decisions()["currency"], "PUSH edit")
            self.run_worker("fifth worker", "currency")
            self.check_equal(*TYPES)
            check("that name is over there",
                  self.there("SELECT name FROM currency WHERE code = 'EUR'"),
                  "Euro (our common name)")
            wait_until("the follower says that the currencies are in sync",
                       lambda: said()[-1] == "currency in_sync")
            for line in said():
                print(f"    follower:   {line}")
            check("it was woken by notifications; its copy equals the table",
                  self.copied_state(), self.stored_state())

        log = self.cms.rows("SELECT * FROM syncstate.sync_conflict")
        for row in log:
            print(f"    conflict log: {row.type_key} {row.conflict_number}, {row.kind},"
                  f" {row.resolution} by {row.resolved_by}")
        check("the log shows how it was resolved, and by whom",
              [(row.type_key, row.kind, row.resolution, row.resolved_hash, row.resolved_by)
               for row in log],
              [("currency", "edit/edit", "merged", merged, self.here("SELECT current_user"))])

    def final_state(self):
        title("6. Where things are now")
        line = "    {:<12} {:>7} {:>7}  {:<5}  {:<9}  {:<8}  {:<21}  {:>9}"
        print(line.format("content", "here", "there", "equal", "status", "conflict", "to be done",
                          "last sync"))
        overview = self.cms.rows("SELECT * FROM syncstate.sync_overview ORDER BY type_key")
        for state in overview:
            key = state.type_key
            ours, theirs = self.cms.hashes(key)
            print(line.format(
                key,
                self.here(f"SELECT count(*) FROM {HERE}.{key}"),
                self.here(f"SELECT count(*) FROM {THERE}.{key}"),
                "yes" if ours == theirs else "no",
                state.sync_status, state.conflict_status or "",
                f"{state.action} {state.detail}", f"{state.last_sync_age:.0f} s ago"))
        check("the digests that triggers keep here are those of the rows",
              [self.here("SELECT sync_source_verify(%s) ->> 'valid'", key) for key in TYPES],
              ["true"] * len(TYPES))
        check("all five are in sync",
              {state.type_key: state.sync_status for state in overview},
              dict.fromkeys(TYPES, "in_sync"))

    def run(self):
        started = time.monotonic()
        self.initial_sync()
        self.second_pass()
        self.killed_worker()
        self.change_feed()
        self.resolution()
        self.final_state()
        print(f"\nAll as it should be, in {time.monotonic() - started:.0f} seconds.")


def shell():
    print("\npsql, in the database cms; try SELECT * FROM syncstate.sync_overview;"
          " \\q ends it and removes the cluster.", flush=True)
    # Ctrl-C is for psql.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subprocess.run(["psql", "-d", "cms", "-P", "pager=off"], check=False)


def main():
    status = 0
    try:
        Demo().run()
    except Deviation as deviation:
        print(f"\nNOT AS IT SHOULD BE: {deviation}", file=sys.stderr, flush=True)
        print(f"logs: {os.environ.get('SYNCSTATE_LOG')}", file=sys.stderr, flush=True)
        status = 1
    except KeyboardInterrupt:
        return 130
    if "--shell" in sys.argv[1:]:
        shell()
    return status


if __name__ == "__main__":
    sys.exit(main())
