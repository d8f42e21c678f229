#!/usr/bin/python3
"""Shows the reports of valgrind that have a frame of this extension.

    test/memory/valgrind_reports.py SOURCES LOG...

SOURCES is the path of its source files as it was compiled, as valgrind shows it
with --fullpath-after=; each LOG is of one process.  A report without such a frame
is the server's own.  The last line counts the processes without one of ours, and
those with one: "rounds: N passed, M failed".
"""

import re
import sys
from pathlib import Path

LIBRARY = "syncstate.so"
# "==123==    at 0x1234: function (/path/file.c:12)", or, without what was compiled
# with -g, "(in /path/library.so)"; the first frame of a stack is "at", all others "by".
FRAME = re.compile(r"^==\d+==    (?:at|by) 0x[0-9A-F]+: (.*)$")
# A report ends where a line has nothing but the number of the process.
END = re.compile(r"^==\d+== *$")


def reports(log: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in log.splitlines():
        if END.match(line):
            found.append([])
        elif line.startswith("=="):
            found[-1].append(line)
        # Others are marked with "**", of what the program asked to say.
    return [report for report in found if report]


def has_frame_of(report: list[str], sources: str) -> bool:
    frames = [match[1] for match in map(FRAME.match, report) if match]
    return any(f"({sources}" in frame or LIBRARY in frame for frame in frames)


def main() -> int:
    sources, logs = sys.argv[1], [Path(log) for log in sys.argv[2:]]
    shown: set[str] = set()
    failed = others = 0
    for log in logs:
        found = reports(log.read_text(errors="replace"))
        ours = [report for report in found if has_frame_of(report, sources)]
        others += len(found) - len(ours)
        failed += bool(ours)
        for report in ours:
            text = re.sub(r"^==\d+== ?", "", "\n".join(report), flags=re.M)
            # The same place in another process has other addresses.
            place = re.sub(r"0x[0-9A-F]+", "0x", text)
            if place not in shown:
                shown.add(place)
                print(f"{log.name}:\n{text}\n")
    print(f"{len(logs)} processes, {others} reports without a frame of ours, {len(shown)} different ones with one")
    print(f"rounds: {len(logs) - failed} passed, {failed} failed")
    return 1 if failed or not logs else 0


if __name__ == "__main__":
    sys.exit(main())
