"""What pgbouncer.md says works, and what it says does not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

import psycopg2
import psycopg2.extensions

from harness import Reply, check, checks, equal, wait_until
from page import Page
from places import DOC, client, place, pooler


def run() -> None:
    with place("pgbouncer") as at, pooler() as pooled:
        at.page.take("ini")
        at.put("sync.py", Page(DOC / "psycopg.md").code(name="sync.py"))
        at.write("pooled.py")
        one, two, three = (pooled.connect(application_name=f"client {n}") for n in (1, 2, 3))

        @contextmanager
        def part(about: str) -> Iterator[None]:
            """With no transaction open, whatever became of the part before."""
            for database in (one, two, three):
                if database.connection.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
                    database.rows("ROLLBACK")
            with checks.part(f"pgbouncer, {about}"):
                yield

        with part("a run on several server connections"):
            run = one.row("SELECT *, pg_backend_pid() AS pid FROM sync_state_begin('across', owner => 'one')")
            two.rows("BEGIN")
            busy = two.value("SELECT pg_backend_pid()")
            pid = one.value("SELECT pg_backend_pid() FROM sync_state_checkpoint('across', %s, '{\"n\": 1}')", run.run_id)
            check("the other connection is another one", busy != pid)
            two.rows("COMMIT")
            one.rows("BEGIN")
            held = one.value("SELECT pg_backend_pid()")
            row = two.row("SELECT pg_backend_pid() AS pid, sync_status FROM sync_state_mark_synced('across', 'h', 'h', %s)",
                          run.run_id)
            one.rows("COMMIT")
            check("checkpoint and mark are on different ones, for different clients", held != row.pid)
            equal("it is marked", (row.sync_status, at.db.value(
                "SELECT outcome FROM syncstate.sync_run WHERE type_key = 'across'")), ("in_sync", "synced"))

        with part("application_name"):
            for client_, name in ((one, "client 1"), (two, "client 2"), (one, "client 1"), (three, "client 3")):
                equal("owner", client_.value("SELECT owner FROM sync_state_begin(gen_random_uuid()::text)"), name)

        def everywhere(query: str) -> list[Any]:
            """The answers of both server connections."""
            one.rows("BEGIN")
            first = one.value(query)
            second = two.value(query)
            one.rows("COMMIT")
            return [first, second]

        with part("SET LOCAL and notifications"):
            direct = psycopg2.connect(dbname="cms")
            direct.autocommit = True
            direct.cursor().execute("LISTEN syncstate")
            for statement in at.page.code("sql").split(";\n"):
                if statement.strip():
                    one.rows(statement)
            equal("the lease", at.db.value("""SELECT lease_expires_at - updated_at BETWEEN '9 min 50 s' AND '10 min'
                                              FROM sync_state_get('article')"""), True)
            wait_until(lambda: direct.poll() or direct.notifies, "notification")
            check("who listens directly is told", '"article"' in direct.notifies[0].payload, direct.notifies)
            equal("what was set LOCAL is gone", everywhere("SHOW syncstate.lease"), ["5min", "5min"])
            direct.close()

        with part("SET"):
            one.rows("BEGIN")
            two.rows("SET syncstate.lease = '3 h'")
            one.rows("COMMIT")
            equal("it is left on one connection, for whoever comes", sorted(everywhere("SHOW syncstate.lease")), ["3h", "5min"])
            at.db.rows("SELECT sync_state_version(); ALTER DATABASE cms SET syncstate.lease = '7 min'")
            pooled.admin("RECONNECT cms")
            new = ["7min", "7min"]
            check("ALTER DATABASE and RECONNECT",
                  wait_until(lambda: everywhere("SELECT current_setting('syncstate.lease') FROM sync_state_version()") == new, "new setting"))
            at.db.rows("ALTER DATABASE cms RESET syncstate.lease")
            pooled.admin("RECONNECT cms")

        with part("LISTEN"):
            one.rows("BEGIN")
            one.rows("LISTEN syncstate")
            listens = one.value("SELECT pg_backend_pid()")
            one.rows("COMMIT")
            # Whoever has that connection when the notification comes.
            two.rows("BEGIN")
            has = two
            if two.value("SELECT pg_backend_pid()") != listens:
                three.rows("BEGIN")
                equal("the other one is the one that listens", three.value("SELECT pg_backend_pid()"), listens)
                has = three
            at.db.rows("SET syncstate.notify = 'changes'; SELECT sync_state_observe('told', 'x'); RESET syncstate.notify")
            two.rows("COMMIT")
            three.rows("COMMIT")
            check("a client hears that has not listened", has.connection.notifies)
            one.rows("SELECT 1")
            equal("... and the one that has does not", one.connection.notifies, [])
            pooled.admin("RECONNECT cms")

        with part("options"):
            try:
                pooled.connect(options="-c syncstate.lease=1h")
                check("they are refused", False)
            except psycopg2.OperationalError as error:
                check("they are refused", "startup parameter" in str(error), error)
            pooled.config["pgbouncer"]["ignore_startup_parameters"] = "options"
            pooled.save()
            pooled.admin("RELOAD")
            ignored = pooled.connect(options="-c syncstate.lease=1h")
            equal("they are dropped if they are to be ignored",
                  ignored.value("SELECT current_setting('syncstate.lease') FROM sync_state_version()"), "5min")
            ignored.close()

        with part("a pool that is used up"):
            one.rows("BEGIN")
            two.rows("BEGIN")
            one.rows("SELECT 1")
            two.rows("SELECT 1")
            waiting = at.client("pgbouncer.py", pooled.env)
            waiting.start("ask")
            wait_until(lambda: any(row[3] > 0 for row in pooled.admin("SHOW POOLS") if row[0] == "cms"), "waiting client")
            check("a third client waits", waiting.replies.empty())
            two.rows("COMMIT")
            equal("... until a transaction ends", waiting.reply(), Reply(0))
            one.rows("COMMIT")
            waiting.close()

        with part("prepared statements"):
            with client(at.client("pgbouncer.py", pooled.env)) as process:
                reply = process.call("plain")
                check("without the setting, they fail", reply.code in ("26000", "42P05"), reply)
                pooled.admin("RECONNECT cms")
                equal("with it, they do not", process.call("pooled"), Reply("fine"))

        for database in (one, two, three):
            database.close()
