"""The errors that the C sources raise: what test/lint/errors.py reads of them.

Nothing is compiled: calls of ereport() are found in the text, with strings, comments
and parentheses taken for what they are.
"""

from __future__ import annotations

import glob
import re
import subprocess
from dataclasses import dataclass

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|/\*.*?\*/|//[^\n]*|[()]', re.S)
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
# A conversion of printf, the server's %m included.
CONVERSION = re.compile(r"%(?:[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|z|j|t)?[diouxXeEfgGcspm]|%)")


@dataclass(frozen=True)
class Report:
    """One ereport(): where, of which level, and what it says."""

    place: str
    level: str
    errcode: str        # the macro; empty: none is given
    message: str        # the format
    detail: str         # likewise; empty: none, or not a literal


def call_at(text: str, start: int) -> str:
    """The call that begins at start, to its closing parenthesis."""
    depth = 0
    for token in TOKEN.finditer(text, start):
        if token[0] == "(":
            depth += 1
        elif token[0] == ")":
            depth -= 1
            if depth == 0:
                return text[start:token.end()]
    raise ValueError("a call without an end")


def literal(call: str, function: str) -> str:
    """The first argument of a function that is called in there: adjacent literals, joined."""
    match = re.search(r"\b" + function + r"\s*\(\s*((?:" + STRING.pattern.replace("(", "(?:", 1) + r"\s*)+)", call)
    if match is None:
        return ""
    joined = "".join(STRING.findall(match[1]))
    return re.sub(r"\\(.)", lambda escape: ESCAPES[escape[1]], joined)


def without_comments(text: str) -> str:
    """The text, with as many lines, and without comments."""
    return TOKEN.sub(lambda token: re.sub(r"[^\n]", " ", token[0]) if token[0].startswith("/") else token[0], text)


def reports(pattern: str = "src/*.c") -> list[Report]:
    found = []
    for name in sorted(glob.glob(pattern)):
        with open(name, encoding="utf-8") as file:
            text = without_comments(file.read())
        for match in re.finditer(r"\bereport(?:_domain)?\s*\(", text):
            call = call_at(text, match.start())
            level = re.match(r"\w+\s*\(\s*(\w+)", call)
            errcode = re.search(r"\berrcode\s*\(\s*(\w+)", call)
            found.append(Report(f"{name}:{text.count(chr(10), 0, match.start()) + 1}", level[1] if level else "",
                                errcode[1] if errcode else "", literal(call, "errmsg"), literal(call, "errdetail")))
    return found


def sqlstates(pg_config: str) -> dict[str, str]:
    """What the server's header makes of the names of its error codes."""
    include = subprocess.run([pg_config, "--includedir-server"], check=True, capture_output=True, text=True).stdout.strip()
    with open(f"{include}/utils/errcodes.h", encoding="utf-8") as file:
        defined = re.findall(r"#define (ERRCODE_\w+) MAKE_SQLSTATE\(((?:'.',?){5})\)", file.read())
    return {name: re.sub(r"[^0-9A-Z]", "", code) for name, code in defined}


def matches(template: str, said: str) -> bool:
    """Can this format give what is said, with anything in place of its values?"""
    parts = re.split(f"(?:{CONVERSION.pattern})+", template)
    return re.fullmatch(".+".join(re.escape(part) for part in parts), said, re.S) is not None
