#!/usr/bin/python3
"""Compares the errors that the README explains with those that the sources raise.

    test/lint/errors.py     (PG_CONFIG names the server)

- Each message of an ereport(ERROR) in src/ is in the table of the extension's errors,
  under its SQLSTATE, or stands in test/lint/unexplained.txt with a reason; each NOTICE
  and WARNING is in the table of notices.
- Each message of these tables is one that the sources have, with that SQLSTATE.
- Each message of the server's table is in the server's program, and each SQLSTATE
  there is one that the server knows.
- Each DETAIL with which the feed refuses a cursor is in the how-to, and none else.

elog() is for what cannot happen, and is not looked at.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pages import Page, Table, Verdict, codes
from sources import CONVERSION, Report, call_at, literal, matches, reports, sqlstates, without_comments

UNEXPLAINED = Path("test/lint/unexplained.txt")
PG_CONFIG = os.environ.get("PG_CONFIG", "pg_config")
GAP = "…"


def table_under(page: Page, heading: str) -> Table:
    found = [table for table in page.tables() if table.under[-1:] == [heading]]
    if len(found) != 1:
        raise SystemExit(f"{page.path}: {len(found)} tables under \"{heading}\"")
    return found[0]


def told(table: Table, with_state: bool) -> list[tuple[int, str, str]]:
    """Line, SQLSTATE and message of each that a table has; of several SQLSTATEs, with each."""
    found = []
    for line, row in table.rows:
        states = re.findall(r"\b[0-9A-Z]{5}\b", row["SQLSTATE"]) if with_state else [""]
        found += [(line, state, message) for state in states or ["none"] for message in codes(row["message"])]
    return found


def read_unexplained() -> dict[tuple[str, str], str]:
    found = {}
    for number, line in enumerate(UNEXPLAINED.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            state, message, reason = (line.split("\t") + ["", ""])[:3]
            if not reason.strip():
                raise SystemExit(f"{UNEXPLAINED}:{number}: not an SQLSTATE, a message and a reason, with tabs between them")
            found[state, message] = reason
    return found


def check_own(raised: list[Report], states: dict[str, str], verdict: Verdict, page: Page) -> None:
    table = told(table_under(page, "Errors of the extension"), True)
    unexplained = read_unexplained()
    errors = [(report, states.get(report.errcode, "")) for report in raised if report.level == "ERROR"]
    for report, state in errors:
        where = f"{report.place}: \"{report.message}\""
        verdict.check(bool(state and report.message), f"{where}: without an SQLSTATE, or without a message in one piece")
        known = (state, report.message) in unexplained or \
            any(other == state and matches(report.message, message) for _, other, message in table)
        verdict.check(known, f"{where} ({state}) is not in the README")
    for line, state, message in table:
        verdict.check(any(other == state and matches(report.message, message) for report, other in errors),
                      f"{page.path}:{line}: the sources do not raise {state} \"{message}\"")
    for state, message in unexplained:
        verdict.check(any((other, report.message) == (state, message) for report, other in errors),
                      f"{UNEXPLAINED}: the sources do not raise {state} \"{message}\"")

    notices = told(table_under(page, "Notices"), False)
    softer = [report for report in raised if report.level != "ERROR"]
    for report in softer:
        verdict.check(any(matches(report.message, message) for _, _, message in notices),
                      f"{report.place}: {report.level} \"{report.message}\" is not in the README")
    for line, _, message in notices:
        verdict.check(any(matches(report.message, message) for report in softer),
                      f"{page.path}:{line}: the sources do not say \"{message}\"")


def check_servers(states: dict[str, str], verdict: Verdict, page: Page) -> None:
    bindir = os.popen(f"{PG_CONFIG} --bindir").read().strip()
    program = Path(bindir, "postgres").read_bytes()
    known = set(states.values())
    for line, state, message in told(table_under(page, "Errors of the server"), True):
        verdict.check(state in known, f"{page.path}:{line}: there is no SQLSTATE {state}")
        # As the program has it: conversions of printf where the page has a gap.
        pattern = rb"(?:%[-+ #0-9.*lzhjt]*[a-zA-Z]|[\"'])*".join(
            re.escape(part.strip('"').encode()) for part in re.split(f"\"?{GAP}\"?", message))
        verdict.check(re.search(pattern, program) is not None,
                      f"{page.path}:{line}: {bindir}/postgres does not say \"{message}\"")


def check_refusals(verdict: Verdict) -> None:
    """The feed's DETAILs, which are passed to report_resync() rather than written in its ereport()."""
    page = Page("doc/how-to.md")
    text = without_comments(Path("src/feed.c").read_text(encoding="utf-8"))
    details = {literal(call_at(text, match.start()), "report_resync")
               for match in re.finditer(r"\breport_resync\s*\(\s*\"", text)}
    table = [(line, codes(row["DETAIL"])[0]) for line, row in table_under(page, "When a cursor is refused").rows]
    verdict.check(len(details) > 5, "src/feed.c: no refusals found")

    def same(detail: str, said: str) -> bool:
        return detail.startswith(said[:-1]) if said.endswith(GAP) else detail == said

    for detail in sorted(details):
        verdict.check(any(same(detail, said) for _, said in table), f"src/feed.c: \"{detail}\" is not in {page.path}")
    for line, said in table:
        verdict.check(any(same(detail, said) for detail in details), f"{page.path}:{line}: the feed does not say \"{said}\"")


def main() -> int:
    verdict = Verdict()
    page = Page("README.md")
    states = sqlstates(PG_CONFIG)
    raised = reports()
    verdict.check(len(raised) > 50, f"only {len(raised)} calls of ereport() found in src/")
    # What is said once in so many words is no pattern for everything.
    for report in raised:
        verdict.check(len(CONVERSION.sub("", report.message).strip()) >= 10, f"{report.place}: hardly a message")
    check_own(raised, states, verdict, page)
    check_servers(states, verdict, page)
    check_refusals(verdict)
    return verdict.end()


if __name__ == "__main__":
    sys.exit(main())
