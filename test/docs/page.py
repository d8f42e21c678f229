#!/usr/bin/python3
"""The code of a page of documentation, for tests that run what readers copy.

    page.py PAGE [--language LANGUAGE] [--name NAME]      shows it

A block is fenced by ``` or ~~~, and may be indented, as in a list.  A comment in
HTML, which no reader sees, tells a test about the block that follows it:

    <!-- test: name=worker.py -->       how the test calls it: a file, a task
    <!-- test: skip -->                 not run, and why should be in the text
    <!-- test: name=wrong error=55P03 --> whatever else a test wants to know

Blank lines may stand between the two, but nothing else may: a comment that stands
before no block is an error, and so is a fence that is not closed.

A test takes blocks out of a page, and asks in the end which are left: code that
nobody has run and that is not marked so.

    page = Page("doc/api.md")
    for block in page.take(language="sql"):
        run(block.text)
    assert not page.left()
"""

from __future__ import annotations

import argparse
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})\s*(?P<info>[^`]*)$")
MARK = re.compile(r"^\s*<!--\s*test:\s*(?P<words>.*?)\s*-->\s*$")


@dataclass(frozen=True)
class Block:
    """Code between fences.  `text` ends in a newline unless it is empty."""

    language: str                   # first word behind the fence, "" if there is none
    text: str
    page: str
    line: int                       # of the first line of code, from 1
    marks: dict[str, str]           # of the comment; a word without "=" is ""

    @property
    def name(self) -> str | None:
        return self.marks.get("name")

    @property
    def skipped(self) -> bool:
        return "skip" in self.marks

    def __str__(self) -> str:
        return f"{self.page}:{self.line}" + (f" ({self.name})" if self.name else "")


class Page:
    def __init__(self, path: str | Path, text: str | None = None):
        """Reads the file, unless its text is given."""
        self.path = str(path)
        self.blocks = parse(self.path, Path(path).read_text("utf-8") if text is None else text)
        self._taken: set[int] = set()

    def take(self, language: str | None = None, name: str | None = None) -> list[Block]:
        """The blocks of a language and of a name, in order, but not those that are
        skipped.  It is an error if there are none: the page is not what the test was
        written for."""
        found = [block for block in self.blocks
                 if not block.skipped and language in (None, block.language) and name in (None, block.name)]
        if not found:
            raise LookupError(f"{self.path} has no block of language {language or 'any'} and name {name or 'any'}")
        self._taken.update(block.line for block in found)
        return found

    def code(self, language: str | None = None, name: str | None = None) -> str:
        """The text of those blocks, with empty lines between them."""
        return "\n".join(block.text for block in self.take(language, name))

    def names(self, language: str | None = None) -> list[str]:
        """The names of blocks that are run, each once, in order."""
        names = [block.name for block in self.blocks
                 if block.name and not block.skipped and language in (None, block.language)]
        return list(dict.fromkeys(names))

    def left(self) -> list[Block]:
        """What was neither taken nor skipped."""
        return [block for block in self.blocks if not block.skipped and block.line not in self._taken]


def parse(path: str, text: str) -> list[Block]:
    blocks: list[Block] = []
    marks: dict[str, str] | None = None
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        mark, fence = MARK.match(lines[at]), FENCE.match(lines[at])
        at += 1
        if mark and marks is None:
            marks = {word.partition("=")[0]: word.partition("=")[2] for word in mark["words"].split()}
        elif fence:
            start = at
            while at < len(lines) and not closes(lines[at], fence["fence"]):
                at += 1
            if at == len(lines):
                raise ValueError(f"{path}:{start}: the block is not closed")
            words = fence["info"].split()
            code = textwrap.dedent("".join(line + "\n" for line in lines[start:at]))
            blocks.append(Block(words[0] if words else "", code, path, start + 1, marks or {}))
            marks = None
            at += 1
        elif marks is not None and (mark or lines[at - 1].strip()):
            break
    if marks is not None:
        raise ValueError(f"{path}:{at}: no block follows the comment before this line")
    return blocks


def closes(line: str, fence: str) -> bool:
    line = line.strip()
    return len(line) >= len(fence) and set(line) == {fence[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows the code of a page of documentation.")
    parser.add_argument("page")
    parser.add_argument("--language")
    parser.add_argument("--name")
    args = parser.parse_args()
    print(Page(args.page).code(args.language, args.name), end="")


if __name__ == "__main__":
    main()
