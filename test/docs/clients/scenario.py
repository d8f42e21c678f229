"""What every page's worker and follower promise, whatever the client.

The calls of a page: sync(key), recover() and follow().  After each, what counts is what
the database holds.  Triggers of the test's own note which transaction did what,
and stop a batch at a row, until something has happened to it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Iterator, Protocol

from harness import Database, Reply, check, checks, equal, wait_until

ROWS = 1200             # three batches of 500
STOP = 700              # a row of the second batch

INSTRUMENTS = """
CREATE SCHEMA test;
CREATE TABLE test.audit (n bigserial, xid xid8 DEFAULT pg_current_xact_id(), what text, detail text);
CREATE TABLE test.stop (id int, fails boolean);

CREATE FUNCTION test.note_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stop test.stop;
BEGIN
    INSERT INTO test.audit (what, detail) VALUES ('row', NEW.id);
    SELECT * INTO stop FROM test.stop s WHERE s.id = NEW.id;
    IF stop.fails THEN
        RAISE 'made to fail at row %', NEW.id;
    ELSIF FOUND THEN
        PERFORM pg_advisory_xact_lock(1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON site FOR EACH ROW EXECUTE FUNCTION test.note_row();

CREATE FUNCTION test.note_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.run_id IS DISTINCT FROM OLD.run_id AND NEW.run_id IS NOT NULL THEN
        INSERT INTO test.audit (what, detail) VALUES ('begin', NEW.lease_expires_at - clock_timestamp());
    ELSIF NEW.lease_expires_at > OLD.lease_expires_at THEN
        INSERT INTO test.audit (what, detail) VALUES ('checkpoint', NEW.sync_progress);
    ELSIF NEW.sync_status = 'in_sync' AND OLD.sync_status = 'syncing' THEN
        INSERT INTO test.audit (what) VALUES ('mark');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER UPDATE ON syncstate.sync_state FOR EACH ROW EXECUTE FUNCTION test.note_state();

CREATE FUNCTION test.note_follower() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.audit (what) VALUES (TG_TABLE_NAME);
    IF TG_TABLE_NAME = 'search' AND to_jsonb(NEW) ->> 'type_key' = 'bad' THEN
        RAISE 'made to fail at key bad';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON search FOR EACH ROW EXECUTE FUNCTION test.note_follower();
CREATE TRIGGER note AFTER UPDATE ON follower FOR EACH ROW
WHEN (OLD.cursor IS DISTINCT FROM NEW.cursor AND NEW.cursor IS NOT NULL) EXECUTE FUNCTION test.note_follower();
"""


class Client(Protocol):
    def start(self, name: str, *arguments: Any) -> None: ...
    def reply(self) -> Reply: ...
    def call(self, name: str, *arguments: Any) -> Reply: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class Scenario:
    """`reports`: the client catches errors, and so calls sync_state_fail and repeats what
    could not be serialised; psql does not."""

    def __init__(self, db: Database, make: Callable[[], Client], owner: str, reports: bool = True) -> None:
        self.db, self.make, self.owner, self.reports = db, make, owner, reports
        self.client = make()
        # Gets in between, as another worker would.
        self.other = Database(dbname="cms")

    def close(self) -> None:
        self.client.close()
        self.other.close()

    # The state of things

    def fresh(self, rows: int = ROWS) -> None:
        """Nothing was ever synced."""
        self.db.value("SELECT sync_state_forget('article', force => true)")
        self.db.rows("DELETE FROM site; DELETE FROM article; DELETE FROM test.stop; DELETE FROM test.audit")
        self.db.rows("INSERT INTO article SELECT g, 'title ' || g FROM generate_series(1, %s) g", rows)

    def synced(self) -> None:
        """A sync is behind us, and then every title was edited."""
        self.fresh()
        self.db.rows("INSERT INTO site TABLE article")
        self.db.rows("SELECT sync_state_observe('article')")
        self.db.rows("UPDATE article SET title = upper(title); DELETE FROM test.audit")

    def state(self) -> Any:
        return self.db.row("SELECT * FROM sync_state_get('article')")

    def runs(self) -> list[Any]:
        return self.db.rows("SELECT * FROM syncstate.sync_run WHERE type_key = 'article' ORDER BY run_number")

    def done_upto(self) -> Any:
        """Up to which row ours are on the other side, if all before it are, and none behind it."""
        return self.db.value("""
            SELECT CASE WHEN count(*) = max(id) OR count(*) = 0 THEN count(*) END
            FROM article JOIN site USING (id, title)
            """)

    def equal_sides(self) -> bool:
        return self.db.value("""SELECT NOT EXISTS (TABLE article EXCEPT TABLE site)
                                AND NOT EXISTS (TABLE site EXCEPT TABLE article)""")

    def expire(self) -> None:
        """As if the lease had ended."""
        self.db.rows("""UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() - interval '1 s'
                        WHERE type_key = 'article' AND sync_status = 'syncing'""")

    # Getting in between

    @contextmanager
    def stopped(self, at: int = STOP) -> Iterator[int]:
        """Within, the client's sync has come as far as this row, in a transaction that waits.
        The backend that does."""
        self.db.rows("INSERT INTO test.stop VALUES (%s, false)", at)
        self.db.rows("SELECT pg_advisory_lock(1)")
        try:
            self.client.start("sync", "article")
            yield wait_until(lambda: self.db.value(
                """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""),
                "batch at the row")
        finally:
            self.db.rows("DELETE FROM test.stop; SELECT pg_advisory_unlock(1)")

    def gone(self, pid: int) -> None:
        wait_until(lambda: not self.db.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid), "end of the backend")

    # What is promised

    def check_batches(self) -> None:
        """Each batch and its checkpoint are one transaction; begin, and the mark, are others."""
        by_transaction: dict[str, list[str]] = {}
        for entry in self.db.rows("SELECT xid, what, count(*) FROM test.audit GROUP BY 1, 2 ORDER BY min(n)"):
            what = entry.what if entry.what == "row" else f"{entry.count} {entry.what}"
            by_transaction.setdefault(entry.xid, []).append(what)
        equal("begin, batches each with a checkpoint, mark are transactions of their own",
              list(by_transaction.values()), [["1 begin"], *[["row", "1 checkpoint"]] * 3, ["1 mark"]])

    def checkpoints(self) -> list[int | None]:
        """The last rows of the batches since the audit was emptied."""
        return self.db.column("SELECT (detail::jsonb ->> 'after')::int FROM test.audit WHERE what = 'checkpoint' ORDER BY n")

    def check_synced(self, runs: int, start: Any) -> None:
        """`start`: the checkpoint from which the last of the runs started."""
        state, history = self.state(), self.runs()
        equal("the state is in_sync", state.sync_status, "in_sync")
        check("both sides are equal", self.equal_sides())
        equal("the bases are what they are", (state.last_synced_hash, state.last_synced_remote_hash),
              (self.db.value("SELECT sync_digest(id, title) FROM article"),
               self.db.value("SELECT sync_digest(id, title) FROM site")))
        equal("no progress is left", state.sync_progress, None)
        equal("number of runs", len(history), runs)
        equal("the last run", (history[-1].outcome, history[-1].owner, history[-1].sync_progress),
              ("synced", self.owner, start))

    def whole(self) -> None:
        self.fresh()
        equal("sync", self.client.call("sync", "article"), Reply("synced"))
        self.check_synced(runs=1, start=None)
        self.check_batches()
        equal("the lease was two minutes",
              self.db.value("""SELECT detail::interval BETWEEN '1 min 50 s' AND '2 min' FROM test.audit
                               WHERE what = 'begin'"""), True)

        equal("again", self.client.call("sync", "article"), Reply("nothing to do"))
        equal("no run was begun for nothing", len(self.runs()), 1)

        self.db.rows("""UPDATE article SET title = 'edited' WHERE id % 100 = 0;
                        DELETE FROM article WHERE id > 1150 OR id = 3; INSERT INTO article VALUES (2000, 'new')""")
        equal("an edit, a deletion, a new row", self.client.call("sync", "article"), Reply("synced"))
        self.check_synced(runs=2, start=None)

        self.db.rows("UPDATE article SET title = 'ours' WHERE id = 1; UPDATE site SET title = 'theirs' WHERE id = 1")
        equal("a conflict", self.client.call("sync", "article"), Reply("nothing to do"))
        equal("... is recorded", self.state().sync_status, "conflict")
        equal("... and left", self.db.value("SELECT title FROM site WHERE id = 1"), "theirs")

    def held(self) -> None:
        self.synced()
        self.other.rows("SELECT sync_state_begin('article', owner => 'other')")
        before = self.state()
        equal("sync", self.client.call("sync", "article"), Reply("held"))
        equal("the state is as it was", self.state(), before)
        equal("nothing was written", self.db.value("SELECT count(*) FROM test.audit WHERE what = 'row'"), 0)

    def fails(self) -> None:
        """Something goes wrong in a batch."""
        self.synced()
        self.db.rows("INSERT INTO test.stop VALUES (%s, true)", STOP)
        reply = self.client.call("sync", "article")
        check("the error comes out", "made to fail" in reply.message and reply.code == "P0001", reply)
        state, runs = self.state(), self.runs()
        equal("the batch before it is there, and no more", self.done_upto(), 500)
        equal("the checkpoint says so", state.sync_progress, {"after": 500})
        if self.reports:
            equal("the run has failed", (state.sync_status, runs[0].outcome), ("failed", "failed"))
            check("... and says why", "made to fail" in (runs[0].error or ""), runs[0].error)
        else:
            equal("the run is in hand", (state.sync_status, runs[0].outcome), ("syncing", None))
            self.expire()

        self.db.rows("DELETE FROM test.stop; DELETE FROM test.audit")
        equal("sync", self.client.call("sync", "article"), Reply("synced"))
        self.check_synced(runs=2, start={"after": 500})
        equal("it went on at the checkpoint", self.checkpoints(), [1000, None])

    def killed(self) -> None:
        """The client's process is killed within a batch."""
        self.synced()
        with self.stopped() as backend:
            self.client.kill()
            self.client = self.make()
            if not self.reports:
                # What runs is in the server, and would go on: it has to notice by itself.
                self.gone(backend)
        self.gone(backend)
        equal("the batch before it is there, and no more", self.done_upto(), 500)
        equal("the run is in hand", (self.state().sync_status, self.state().sync_progress), ("syncing", {"after": 500}))
        equal("its lease lasts", self.client.call("sync", "article"), Reply("held"))
        equal("... so there is nothing to recover", self.db.column("SELECT sync_state_detect_interrupted()"), [])

        self.expire()
        self.db.rows("DELETE FROM test.audit")
        reply = self.client.call("recover")
        if self.reports:
            equal("recover", reply, Reply({"article": "synced"}))
        else:
            equal("recover", reply, Reply("synced"))
        self.check_synced(runs=2, start={"after": 500})
        equal("the run before was superseded", self.runs()[0].outcome, "superseded")
        equal("it went on at the checkpoint", self.checkpoints(), [1000, None])

    def disconnected(self) -> None:
        """The connection breaks within a batch, and our side is edited before the next run."""
        self.synced()
        with self.stopped() as backend:
            self.db.rows("SELECT pg_terminate_backend(%s)", backend)
            reply = self.client.reply()
        check("the error comes out", reply.message != "", reply)
        state = self.state()
        equal("the batch before it is there, and no more", self.done_upto(), 500)
        equal("the checkpoint is kept", state.sync_progress, {"after": 500})
        # Who has another connection can say that it failed.
        check("the run is in hand, or has failed", state.sync_status in ("syncing", "failed"), state.sync_status)

        self.expire()
        self.db.rows("UPDATE article SET title = 'edited' WHERE id = 3; DELETE FROM test.audit")
        equal("sync, by the same process", self.client.call("sync", "article"), Reply("synced"))
        self.check_synced(runs=2, start={"after": 500})
        equal("the content has moved", self.runs()[1].content_moved, True)
        equal("... so it began at the beginning", self.checkpoints(), [500, 1000, None])

    def superseded(self) -> None:
        """Another worker takes the key over, while a batch is written."""
        self.synced()
        with self.stopped():
            self.expire()
            other = self.other.row("SELECT * FROM sync_state_begin('article', owner => 'other')")
        equal("sync", self.client.reply(), Reply("superseded"))
        equal("the batch was rolled back", self.done_upto(), 500)
        state, runs = self.state(), self.runs()
        equal("the other run has the key", (state.sync_status, state.run_id), ("syncing", other.run_id))
        equal("... from the checkpoint", other.sync_progress, {"after": 500})
        equal("ours is superseded, and did not fail", (runs[0].outcome, runs[0].error), ("superseded", None))

    def forgotten(self) -> None:
        self.synced()
        with self.stopped():
            self.other.rows("SELECT sync_state_forget('article', force => true)")
        equal("sync", self.client.reply(), Reply("superseded"))
        equal("the batch was rolled back", self.done_upto(), 500)
        equal("the key is still unknown", self.state(), None)

    def edited(self) -> None:
        """An article is edited that was copied already."""
        self.synced()
        with self.stopped():
            self.other.rows("UPDATE article SET title = 'edited' WHERE id = 3")
        equal("sync", self.client.reply(), Reply("look again"))
        equal("the run has failed", (self.state().sync_status, self.runs()[0].outcome), ("failed", "failed"))
        equal("sync again", self.client.call("sync", "article"), Reply("synced"))
        self.check_synced(runs=2, start={"after": None})

    def edited_there(self) -> None:
        """Somebody edits on the other side what was copied already."""
        self.synced()
        with self.stopped():
            self.other.rows("UPDATE site SET title = 'theirs' WHERE id = 3")
        equal("sync", self.client.reply(), Reply("look again"))
        equal("the run was rolled back", (self.state().sync_status, self.runs()[0].outcome), ("failed", "rolled_back"))
        equal("sync again", self.client.call("sync", "article"), Reply("nothing to do"))
        equal("it is a conflict", self.db.column("""SELECT action FROM syncstate.sync_overview
                                                    WHERE type_key = 'article'"""), ["CONFLICT"])
        equal("the edit is still there", self.db.value("SELECT title FROM site WHERE id = 3"), "theirs")

    def unserialisable(self) -> None:
        """40001: at REPEATABLE READ the row changes within a batch."""
        self.db.rows("ALTER DATABASE cms SET default_transaction_isolation = 'repeatable read'")
        try:
            self.client.close()
            self.client = self.make()
            self.synced()
            with self.stopped():
                # A heartbeat, which is too short to move the lease.
                self.other.rows("SELECT sync_state_checkpoint('article', %s, NULL, '1 s')", self.state().run_id)
            reply = self.client.reply()
            if not self.reports:
                equal("the error comes out", reply.code, "40001")
                self.expire()
                reply = self.client.call("sync", "article")
                equal("sync again", reply, Reply("synced"))
                self.check_synced(runs=2, start={"after": 500})
                return
            equal("sync", reply, Reply("synced"))
            self.check_synced(runs=1, start=None)
            self.check_batches()
            # The numbers of what was rolled back are missing.
            equal("a batch was repeated", self.db.value("""
                SELECT max(n) - min(n) - count(*) + 1 >= 200 FROM test.audit"""), True)
        finally:
            self.db.rows("ALTER DATABASE cms RESET default_transaction_isolation")
            self.client.close()
            self.client = self.make()

    def follows(self) -> None:
        copy = "SELECT type_key, hash FROM search ORDER BY 1"
        states = "SELECT type_key, local_hash FROM syncstate.sync_state ORDER BY 1"
        position = "SELECT cursor FROM follower"

        self.db.rows("UPDATE follower SET cursor = NULL; DELETE FROM search; DELETE FROM test.audit")
        self.db.rows("SELECT sync_state_observe_many('{a,b,c,d}', '{a1,b1,c1,d1}', '{a1,b1,c1,NULL}')")
        count = self.follow_on()
        equal("it applies every key once", count, self.db.value("SELECT count(*) FROM syncstate.sync_state"))
        equal("the copy is like the original", self.db.rows(copy), self.db.rows(states))

        self.db.rows("SELECT sync_state_observe('b', 'b2'), sync_state_forget('c')")
        equal("an edit and a deletion", self.follow_on(), 2)
        equal("... are in the copy", self.db.rows(copy), self.db.rows(states))
        equal("nothing new", self.client.call("follow"), Reply(0 if self.reports else "0"))
        equal("what was applied and its cursor are one transaction, always",
              self.db.value("""SELECT count(*) FROM (
                  SELECT xid FROM test.audit WHERE what IN ('search', 'follower')
                  GROUP BY xid HAVING count(DISTINCT what) = 1) x"""), 0)

        before = self.db.value(position), self.db.rows(copy)
        self.db.rows("SELECT sync_state_observe_many('{bad,e}', '{x,e1}', NULL)")
        reply = self.client.call("follow")
        check("what cannot be applied", "made to fail" in reply.message, reply)
        equal("... leaves the copy and the cursor alone", (self.db.value(position), self.db.rows(copy)), before)
        self.db.rows("SELECT sync_state_forget('bad')")
        self.follow_on()
        equal("... and is made up for", self.db.rows(copy), self.db.rows(states))

        self.db.rows("INSERT INTO search VALUES ('long gone', 'x')")
        self.db.rows("UPDATE syncstate.sync_feed SET incarnation = gen_random_uuid()")
        if not self.reports:
            reply = self.client.call("follow")
            check("a script says: resync required", reply.code == "55000" and "resync required" in reply.message, reply)
            self.db.rows("UPDATE follower SET cursor = NULL WHERE name = 'search'")
        self.follow_on()
        equal("resync: the copy is made anew", self.db.rows(copy), self.db.rows(states))

    def follow_on(self) -> int:
        """Until there is nothing new; how many changes."""
        total = 0
        while True:
            reply = self.client.call("follow")
            if reply.message:
                raise RuntimeError(reply.message)
            if int(reply.value) == 0:
                return total
            total += int(reply.value)

    PARTS = ("whole", "held", "fails", "killed", "disconnected", "superseded", "forgotten", "edited",
             "edited_there", "unserialisable", "follows")
    # By way of a pooler that is shared with nobody, these suffice.
    POOLED_PARTS = ("whole", "held", "fails", "killed", "superseded", "follows")

    def play(self, about: str, parts: tuple[str, ...] = PARTS) -> None:
        for part in parts:
            with checks.part(f"{about}, {part}"):
                getattr(self, part)()
