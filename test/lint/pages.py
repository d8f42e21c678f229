"""Pages in Markdown, as far as the checks of the documentation look at them.

What stands in a fenced block or a code span is not looked at, but for what is asked
for: cells of tables keep their code.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

SPAN = re.compile(r"(`+)(.+?)\1", re.S)
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(\s*<?([^()\s<>]*(?:\([^()\s]*\)[^()\s<>]*)*)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^(#{1,6}) +(.*?)\s*#*$")
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


@dataclass
class Table:
    """A table: under which headings, its columns, its rows, each with its line."""

    under: list[str]
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)


def cells(line: str) -> list[str]:
    """The cells of a row, whose code may hold an escaped bar."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def codes(cell: str) -> list[str]:
    """The code spans of a cell."""
    return [span[1].strip() for span in SPAN.findall(cell)]


def slug(heading: str) -> str:
    """The anchor that a heading gets where it is shown."""
    text = LINK.sub(lambda link: link[1], heading)
    text = re.sub(r"[^\w\- ]", "", text.lower().strip())
    return text.replace(" ", "-")


class Page:
    def __init__(self, path: str) -> None:
        self.path = path
        self.lines: list[tuple[int, str]] = []      # what is no code block
        self.blocks: list[tuple[int, str]] = []     # lines of code blocks
        self.headings: list[tuple[int, int, str]] = []
        with open(path, encoding="utf-8") as file:
            self._read(file.read().split("\n"))

    def _read(self, lines: list[str]) -> None:
        fence = ""
        for number, line in enumerate(lines, 1):
            mark = FENCE.match(line)
            if fence:
                if mark and mark[1].startswith(fence) and line.strip() == mark[1]:
                    fence = ""
                else:
                    self.blocks.append((number, line))
            elif mark:
                fence = mark[1]
            else:
                self.lines.append((number, line))
                heading = HEADING.match(line)
                if heading:
                    self.headings.append((number, len(heading[1]), heading[2]))

    def anchors(self) -> set[str]:
        seen: dict[str, int] = {}
        found = set()
        for _, _, heading in self.headings:
            name = slug(heading)
            count = seen.get(name, 0)
            seen[name] = count + 1
            found.add(f"{name}-{count}" if count else name)
        for _, line in self.lines:
            found.update(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", line))
        return found

    def links(self) -> list[tuple[int, str]]:
        """The targets of all links and pictures, each with its line."""
        text = "\n".join(f"{number}\0{line}" for number, line in self.lines)
        text = SPAN.sub(lambda span: "`" * len(span[1]) if "\0" not in span[2] else span[0], text)
        found = []
        number = 0
        for match in re.finditer(r"^(\d+)\0|" + LINK.pattern + r"|<img [^>]*src=\"([^\"]+)\"|^\[[^\]]+\]:\s*(\S+)", text, re.M):
            if match[1]:
                number = int(match[1])
            else:
                found.append((number, next(target for target in match.groups()[2:] if target is not None)))
        return found

    def tables(self) -> list[Table]:
        found: list[Table] = []
        under: list[tuple[int, str]] = []
        levels = {number: (level, heading) for number, level, heading in self.headings}
        table = None
        previous = ""
        for number, line in self.lines:
            if number in levels:
                level, heading = levels[number]
                under = [(other, text) for other, text in under if other < level] + [(level, heading)]
            if not line.startswith("|"):
                table = None
            elif table is None and re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line) and previous.startswith("|"):
                table = Table([text for _, text in under], cells(previous))
                found.append(table)
            elif table is not None:
                table.rows.append((number, dict(zip(table.columns, cells(line)))))
            previous = line
        return found


def all_pages() -> list[str]:
    """The Markdown files of the tree, but for what was installed or built there."""
    found = []
    for directory, below, names in os.walk("."):
        below[:] = sorted(name for name in below if name not in ("node_modules", "tmp_check", "log", "results", "coverage")
                          and not name.startswith(".") and (directory, name) != (".", "build"))
        found += [os.path.normpath(os.path.join(directory, name)) for name in sorted(names) if name.endswith(".md")]
    return found


class Verdict:
    """Counts what was found right and wrong, and says the latter."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, right: bool, wrong: str) -> bool:
        if right:
            self.passed += 1
        else:
            self.failed += 1
            print(wrong)
        return right

    def same(self, what: str, got: set, want: set, unexpected: str, missing: str) -> None:
        """Each element of either set is in the other."""
        for element in sorted(got | want, key=str):
            self.check(element in got and element in want,
                       f"{what}: {element}: {unexpected if element in got else missing}")

    def end(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0
