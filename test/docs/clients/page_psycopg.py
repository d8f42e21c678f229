"""What psycopg.md says besides: types, errors, autocommit; and psycopg2."""

from __future__ import annotations

import re

from harness import Reply, check, checks, equal
from page import Page
from places import DOC, Place, notifies, place, played
from scenario import Scenario


def run() -> None:
    with place("psycopg") as at:
        at.write("sync.py", "psycopg2.py")
        (at.directory / "psycopg2.py").rename(at.directory / "once.py")
        at.put("pooled.py", Page(DOC / "pgbouncer.md").code(name="pooled.py"))
        with played(at, "psycopg.py") as process:
            with checks.part("psycopg, what the page says of types"):
                equal("types", process.call("types").value, {
                    "dict": "ProgrammingError None", "list": "UndefinedFunction 42883", "heartbeat keeps": [1, 2],
                    "null": "null", "uuid": True, "zone": True, "microseconds": True,
                    "interval": True, "array": 2, "array of None": 1})
            with checks.part("psycopg, without autocommit"):
                equal("nobody sees what was taken in a savepoint", process.call("savepoint_only", "nobody").value, 0)
            with checks.part("psycopg, the table of errors"):
                table = re.findall(r"^\| (\w{5}) \| `(\w+)` \| `(\w+)` \|$", (DOC / "psycopg.md").read_text(), re.M)
                equal("its size", len(table), 6)
                for line in table:
                    equal(f"{line}", process.call("lookup", *line).value, True)
            with checks.part("psycopg, notifications"):
                notifies(at, process)
        with checks.part("psycopg2"):
            once(at)


def once(at: Place) -> None:
    scenario = Scenario(at.db, lambda: at.client("psycopg2.py"), "unused")
    scenario.synced()
    equal("it pushes", scenario.client.call("push_once", "article"), Reply("synced"))
    check("both sides are equal", scenario.equal_sides())
    equal("the state", scenario.state().sync_status, "in_sync")
    equal("three transactions", at.db.value("SELECT count(DISTINCT xid) FROM test.audit"), 3)
    equal("the rows and their checkpoint are one", at.db.value("""
        SELECT count(DISTINCT xid) FROM test.audit WHERE what IN ('row', 'checkpoint')"""), 1)
    at.db.rows("SELECT sync_state_begin('article')")
    equal("held", scenario.client.call("push_once", "article"), Reply("held"))
    equal("types", scenario.client.call("types").value, {"uuid": True, "UUID": "refused", "pgcode": "55P03"})
    scenario.close()
