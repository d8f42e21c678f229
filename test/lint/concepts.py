#!/usr/bin/python3
"""Has the extension decide what doc/concepts.md says that it decides.

    test/lint/concepts.py       (on the server of PGHOST, PGPORT ...)

The page's tables of examples are carried out: hashes and a base, and the decision; a
conflict, how it is resolved, what that sets, and the next decision.
"""

from __future__ import annotations

import re
import sys

from pages import Page, Table, Verdict, codes
from reference import own_database

ABSENT = "–"


def hash_of(text: str) -> str | None:
    return None if text.strip() == ABSENT else text.strip()


def table_with(page: Page, column: str) -> Table:
    found = [table for table in page.tables() if any(name.startswith(column) for name in table.columns)]
    if len(found) != 1:
        raise SystemExit(f"{page.path}: {len(found)} tables with a column \"{column}\"")
    return found[0]


def check_decisions(cursor, page: Page, verdict: Verdict) -> None:
    table = table_with(page, "base, ours, theirs")
    verdict.check(len(table.rows) >= 5, f"{page.path}: hardly an example of a decision")
    for line, row in table.rows:
        base, ours, theirs = map(hash_of, row["base, ours, theirs"].split(","))
        cursor.execute("SELECT sync_state_action(%s, %s, %s, %s), sync_state_detail(%s, %s, %s, %s)", (ours, theirs, base, base) * 2)
        action, detail = cursor.fetchone()
        verdict.check(row["decision"].startswith(action) and codes(row["decision"]) == [detail],
                      f"{page.path}:{line}: the decision is {action} {detail}")


def check_resolutions(cursor, page: Page, verdict: Verdict) -> None:
    """The heading has what they begin with: "… with ours = 2, theirs = 3, bases 1 and 1"."""
    table = table_with(page, "what is set")
    heading = next(name for name in table.columns if name.startswith("what is set"))
    ours, theirs, ours_base, theirs_base = re.search(r"ours = (\w+), theirs = (\w+), bases (\w+) and (\w+)", heading).groups()
    verdict.check(len(table.rows) >= 3, f"{page.path}: hardly an example of a resolution")
    for number, (line, row) in enumerate(table.rows):
        key = f"example {number}"
        resolution = codes(row["`resolution`"])[0]
        merged = re.search(r"with hash (\w+)", row["`resolution`"])
        cursor.execute("SELECT sync_state_mark_synced(%s, %s, %s)", (key, ours_base, theirs_base))
        cursor.execute("SELECT sync_state_observe(%s, %s, %s) ->> 'action'", (key, ours, theirs))
        verdict.check(cursor.fetchone()[0] == "CONFLICT", f"{page.path}:{line}: no conflict to begin with")

        cursor.execute("SELECT local_hash, last_synced_hash, last_synced_remote_hash FROM sync_state_resolve(%s, %s, %s)",
                       (key, resolution, merged[1] if merged else None))
        real = dict(zip(("ours", "our base", "their base"), cursor.fetchone()))
        said = {"ours": ours, "our base": ours_base, "their base": theirs_base}
        for what, value in re.findall(r"(ours|our base|their base|both bases) := (\w+)", row[heading]):
            for name in ("our base", "their base") if what == "both bases" else (what,):
                said[name] = value
        verdict.check(real == said, f"{page.path}:{line}: {resolution} makes {real}")
        cursor.execute("SELECT sync_state_delta(%s) ->> 'action'", (key,))
        action = cursor.fetchone()[0]
        verdict.check(row["next decision"] == action, f"{page.path}:{line}: the next decision is {action}")


def main() -> int:
    verdict = Verdict()
    page = Page("doc/concepts.md")
    with own_database() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION syncstate")
        check_decisions(cursor, page, verdict)
        check_resolutions(cursor, page, verdict)
    return verdict.end()


if __name__ == "__main__":
    sys.exit(main())
