"""What psql.md says besides: by hand, errors, pitfalls."""

from __future__ import annotations

import subprocess

import psycopg2

from harness import Psql, check, checks, equal
from places import place, play
from scenario import INSTRUMENTS, Scenario


def run() -> None:
    with place("psql") as at:
        at.db.rows(at.page.code(name="procedure"))
        at.write("push.sql", "recover.sql", "follow.sql")
        at.db.rows(INSTRUMENTS)

        def make(env: dict[str, str] | None = None) -> Psql:
            return Psql(at.directory, {**at.env, **(env or {})})

        play(at, make, owner="push.sql", reports=False)
        scenario = Scenario(at.db, make, "push.sql", reports=False)

        def script(text: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(["psql", "-XAt", "-v", "ON_ERROR_STOP=1"], input=text, env=at.env, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        with checks.part("psql, the command line"):
            scenario.synced()
            said = at.shell(at.page.code(name="connect.sh"))
            check("it pushes", said.returncode == 0 and "synced" in said.stdout, said.stdout)
            scenario.check_synced(runs=1, start=None)
            at.db.rows("SELECT sync_state_begin('article')")
            equal("held: the exit status", at.shell(at.page.code(name="connect.sh")).returncode, 3)
        with checks.part("psql, step by step"):
            scenario.fresh(400)
            said = script("\n".join([at.page.take("sql")[0].text, at.page.code(name="steps")]))
            check("the decision is shown, and then it is in_sync",
                  said.returncode == 0 and "INITIAL_SYNC" in said.stdout and said.stdout.endswith("in_sync\n"), said.stdout)
            check("both sides are equal", scenario.equal_sides())
            run = scenario.runs()[0]
            equal("the run", (run.outcome, run.owner), ("synced", "by hand"))
            equal("rows and checkpoint are one transaction", at.db.value("""
                SELECT count(DISTINCT xid) FROM test.audit WHERE what IN ('row', 'checkpoint')"""), 1)
            scenario.synced()
            said = script(at.page.code(name="steps"))
            check("if the sides differ, it says so", "edited while it was copied" in said.stdout, said.stdout)
            equal("... and keeps the run", (scenario.state().sync_status, scenario.runs()[0].outcome), ("syncing", None))
        with checks.part("psql, errors"):
            scenario.synced()
            token = at.db.value("SELECT run_id FROM sync_state_begin('article', owner => 'other')")
            said = script(at.page.code(name="errors"))
            check("the code and the message are shown", '55P03 "article" is held by a live run' in said.stdout, said.stdout)
            said = script(at.page.code(name="revoke"))
            check("the owner is shown", said.returncode == 0 and "article|other|" in said.stdout, said.stdout)
            equal("the run is revoked", (scenario.state().sync_status, scenario.runs()[0].error),
                  ("failed", "its machine is gone"))
            try:
                at.db.rows("SELECT sync_state_checkpoint('article', %s, NULL)", token)
                check("its token is refused", False)
            except psycopg2.Error as error:
                equal("its token is refused", error.pgcode, "55000")
        with checks.part("psql, taking over by hand"):
            scenario.synced()
            at.db.rows("SELECT sync_state_observe('article')")
            token = at.db.value("SELECT run_id FROM sync_state_begin('article', owner => 'other')")
            at.db.rows("SELECT sync_state_checkpoint('article', %s, '{\"after\": 500}')", token)
            scenario.expire()
            said = script(at.page.code(name="resume"))
            check("it is shown whose run it was, and where to go on",
                  said.returncode == 0 and "article|other|lease_expired" in said.stdout and said.stdout.rstrip().endswith("f 500"),
                  said.stdout)
            equal("the runs", [run.outcome for run in scenario.runs()], ["superseded", None])
        with checks.part("psql, pitfalls"):
            said = script("SELECT NULL AS x \\gset\nSELECT :'x';\n")
            check("a variable of NULL is unset", said.returncode == 3 and "syntax error" in said.stdout, said.stdout)
            scenario.fresh()
            said = script("\\set VERBOSITY verbose\nBEGIN;\nCALL push('article');\n")
            check("CALL push within a transaction", "2D000" in said.stdout, said.stdout)
            equal("... takes nothing", scenario.runs(), [])
            said = script("SELECT (sync_state_begin('twice')).*;")
            check("(f()).* is refused", "is held by a live run" in said.stdout, said.stdout)
            equal("... and takes nothing", at.db.rows("SELECT * FROM sync_state_get('twice')"), [])
        scenario.close()
