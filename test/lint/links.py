#!/usr/bin/python3
"""Checks what the pages refer to.

    test/lint/links.py

- each relative link leads to a file or directory of the tree, and its anchor, if any,
  to a heading there;
- each target of make that a page names exists;
- each target that the Makefile declares is in the README's table of commands.

Links to elsewhere are not followed: a test must not hang on somebody's server.
"""

import os
import re
import shlex
import sys
from urllib.parse import unquote

from pages import Page, Verdict, all_pages, codes

# What PGXS adds to the Makefile's own.
OF_PGXS = {"all", "install", "installcheck", "uninstall", "clean"}
WORD = re.compile(r"[a-z][\w-]*")


def check_links(pages: dict[str, Page], verdict: Verdict) -> None:
    anchors = {path: page.anchors() for path, page in pages.items()}
    for path, page in pages.items():
        for line, target in page.links():
            if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
                continue
            where = f"{path}:{line}: {target}"
            file, _, anchor = target.partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(path), unquote(file))) if file else path
            if not verdict.check(os.path.exists(file) and not file.startswith(".."), f"{where}: there is no {file}"):
                continue
            if anchor:
                verdict.check(anchor in anchors.get(file, set()), f"{where}: {file} has no such heading")


def targets_of(command: str) -> list[str]:
    """The targets of a command line, if it is one of make: what is no option and sets no variable."""
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        # A line of another language.
        return []
    while words and (re.fullmatch(r"[A-Z_]+=\S*", words[0]) or words[0] in ("sudo", "$")):
        words.pop(0)
    if not words or words[0] != "make":
        return []
    targets = []
    for word in words[1:]:
        if word in ("&&", "||", "|", ";"):
            break
        if WORD.fullmatch(word):
            targets.append(word)
    return targets


def declared() -> set[str]:
    with open("Makefile", encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    return {name for line in re.findall(r"^\.PHONY:(.*)$", text, re.M) for name in line.split()}


def check_targets(pages: dict[str, Page], verdict: Verdict) -> None:
    known = declared() | OF_PGXS
    for path, page in pages.items():
        # Examples have Makefiles of their own, or none.
        if path.startswith("examples/"):
            continue
        commands = [(number, line) for number, line in page.blocks]
        commands += [(number, code) for number, line in page.lines for code in codes(line)]
        for number, command in commands:
            for target in targets_of(command):
                verdict.check(target in known, f"{path}:{number}: make has no target {target}")

    told = {target for table in pages["README.md"].tables() if table.columns[0] == "command"
            for _, row in table.rows for code in codes(row["command"]) for target in targets_of(code)}
    verdict.same("README.md, commands", told - OF_PGXS, declared() - OF_PGXS, "not in the Makefile", "not in the table")


def main() -> int:
    verdict = Verdict()
    pages = {path: Page(path) for path in all_pages()}
    check_links(pages, verdict)
    check_targets(pages, verdict)
    return verdict.end()


if __name__ == "__main__":
    sys.exit(main())
