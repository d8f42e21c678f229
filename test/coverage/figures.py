#!/usr/bin/python3
"""Says how much of the C was executed, and checks that it was enough.

    test/coverage/figures.py [--part] LCOV-INFO

LCOV-INFO is what `lcov --capture` wrote with branches; the sources are those of the
working directory.  With --part, of a run of some suites only, nothing is checked.
Else the last line counts the checks that passed and failed:

- 95 % of all lines and 85 % of all branches are executed, nothing left out;
- each ereport() is, or stands in test/coverage/unreached.txt with a reason;
- none stands there that is executed, or is not there any more.

A second pair of figures leaves out what says nothing of the tests:

- lines of elog(ERROR, ...), which in this code is for what cannot happen, and
  those where such an ereport() of unreached.txt begins;
- branches within macros of the server which have some of their own: what they
  are of is told by OWN_BRANCHES, and the conditions that our code has beside
  them in a line are left out with them.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

LINES, BRANCHES = 95.0, 85.0
UNREACHED = Path("test/coverage/unreached.txt")

OWN_BRANCHES = re.compile(
    r"\b(ereport|elog|CHECK_FOR_INTERRUPTS|foreach|PG_TRY|PG_CATCH|PG_FINALLY|PG_END_TRY|Assert"
    r"|VARSIZE_ANY|VARSIZE_ANY_EXHDR|VARDATA_ANY|ReleaseTupleDesc|JBE_ADVANCE_OFFSET)\s*\(")
CANNOT_HAPPEN = re.compile(r"\belog\(ERROR\b")
EREPORT = re.compile(r"\bereport\(")
MESSAGE = re.compile(r'\berrmsg(?:_plural|_internal)?\(\s*"((?:[^"\\]|\\.)*)"')


@dataclass
class Ereport:
    line: int
    message: str


@dataclass
class Source:
    name: str
    text: list[str]
    lines: dict[int, int] = field(default_factory=dict)
    branches: dict[int, list[int]] = field(default_factory=dict)

    def ereports(self) -> list[Ereport]:
        """Those that were compiled, each with the first message that it may give."""
        whole = "\n".join(self.text)
        found = []
        for match in EREPORT.finditer(whole):
            line = whole.count("\n", 0, match.start()) + 1
            if line in self.lines:
                message = MESSAGE.search(whole, match.start())
                found.append(Ereport(line, message[1] if message else ""))
        return found


def read_info(path: str) -> list[Source]:
    sources: dict[str, Source] = {}
    source = None
    for entry in Path(path).read_text().splitlines():
        what, _, value = entry.partition(":")
        if what == "SF":
            name = Path(value).name
            text = Path("src", name).read_text().split("\n")
            source = sources.setdefault(name, Source(name, text))
        elif what == "DA":
            line, count = map(int, value.split(",")[:2])
            source.lines[line] = source.lines.get(line, 0) + count
        elif what == "BRDA":
            line, _, _, count = value.split(",")
            source.branches.setdefault(int(line), []).append(0 if count == "-" else int(count))
    return [sources[name] for name in sorted(sources)]


def read_unreached() -> dict[tuple[str, str], str]:
    """By file and message, the reason."""
    unreached = {}
    for number, line in enumerate(UNREACHED.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split("\t")
        if len(parts) != 3 or not parts[2].strip():
            raise SystemExit(f"{UNREACHED}:{number}: not a file, a message and a reason, with tabs between them")
        unreached[parts[0], parts[1]] = parts[2]
    return unreached


class Count:
    """Of lines and branches, those that there are and those that were executed."""

    def __init__(self) -> None:
        self.lines = self.lines_hit = self.branches = self.branches_hit = 0

    def add(self, source: Source, without_lines: set[int], without_branches: set[int]) -> "Count":
        lines = [count for line, count in source.lines.items() if line not in without_lines]
        branches = [count for line, counts in source.branches.items() if line not in without_branches
                    for count in counts]
        self.lines += len(lines)
        self.lines_hit += sum(count > 0 for count in lines)
        self.branches += len(branches)
        self.branches_hit += sum(count > 0 for count in branches)
        return self

    def of_lines(self) -> float:
        return 100.0 * self.lines_hit / self.lines if self.lines else 100.0

    def of_branches(self) -> float:
        return 100.0 * self.branches_hit / self.branches if self.branches else 100.0

    def __str__(self) -> str:
        return (f"{self.of_lines():6.1f} {self.lines_hit:5}/{self.lines:<5}"
                f"{self.of_branches():6.1f} {self.branches_hit:5}/{self.branches:<5}")


def print_figures(sources: list[Source], unreached: dict[tuple[str, str], str]) -> Count:
    all_of_it, filtered = Count(), Count()
    print(f"{'':14}{'lines, %':>18} {'branches, %':>18}   {'lines, filtered':>17} {'branches':>18}")
    for source in sources:
        numbered = list(enumerate(source.text, 1))
        own = {number for number, text in numbered if OWN_BRANCHES.search(text)}
        never = {number for number, text in numbered if CANNOT_HAPPEN.search(text)}
        never |= {e.line for e in source.ereports() if (source.name, e.message) in unreached}
        all_of_it.add(source, set(), set())
        filtered.add(source, never, own)
        print(f"{source.name:14}{Count().add(source, set(), set())}   {Count().add(source, never, own)}")
    print(f"{'all':14}{all_of_it}   {filtered}")
    return all_of_it


def complaints(sources: list[Source], unreached: dict[tuple[str, str], str]) -> list[str]:
    """About ereports, of which the same message may be given in several places."""
    found, seen, missed = [], set(), set()
    for source in sources:
        for e in source.ereports():
            key = (source.name, e.message)
            seen.add(key)
            if source.lines[e.line] == 0:
                missed.add(key)
                if key not in unreached:
                    found.append(f'src/{source.name}:{e.line}: no test reaches "{e.message}", nor does {UNREACHED} tell why')
    for key in unreached:
        if key not in seen:
            found.append(f'{UNREACHED}: {key[0]} has no "{key[1]}" any more')
        elif key not in missed:
            found.append(f'{UNREACHED}: "{key[1]}" of {key[0]} is reached')
    return found


def main() -> int:
    arguments = sys.argv[1:]
    part = arguments[:1] == ["--part"]
    sources, unreached = read_info(arguments[-1]), read_unreached()
    count = print_figures(sources, unreached)
    if part:
        return 0

    found = complaints(sources, unreached)
    ereports = sum(len(source.ereports()) for source in sources)
    if count.of_lines() < LINES:
        found.append(f"less than {LINES:g} % of the lines")
    if count.of_branches() < BRANCHES:
        found.append(f"less than {BRANCHES:g} % of the branches")
    print("\n".join(found + [f"{ereports} places report an error, {len(unreached)} of them listed as unreached"]))
    # One for each ereport, one for each of the figures.
    failed = len(found)
    print(f"{max(ereports + 2 - failed, 0)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
