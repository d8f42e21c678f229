"""page.py: what it takes out of a page, and what it refuses."""

from __future__ import annotations

from harness import check, checks, equal
from page import Page


def run() -> None:
    with checks.part("page.py"):
        page = Page("x.md", "<!-- test: skip -->\n\n```js\na\n```\n- x\n\n  <!-- test: name=w.py error=55P03 -->\n"
                            "  ```python title\n  if 1:\n      b\n\n  ```\n~~~~\n```\n~~~\n~~~~\n``inline`` ```code```\n")
        equal("blocks", [(b.language, b.text, b.line, b.marks) for b in page.blocks],
              [("js", "a\n", 4, {"skip": ""}), ("python", "if 1:\n    b\n\n", 10, {"name": "w.py", "error": "55P03"}),
               ("", "```\n~~~\n", 15, {})])
        equal("left are those that are not skipped", [b.line for b in page.left()], [10, 15])
        equal("names", page.names(), ["w.py"])
        page.take(name="w.py")
        equal("left is what was not taken", [b.line for b in page.left()], [15])
        for what, text in {"an open fence": "```\nx", "a comment before text": "<!-- test: skip -->\nx\n```\n```\n",
                           "a comment at the end": "<!-- test: skip -->\n",
                           "two comments": "<!-- test: skip -->\n<!-- test: name=x -->\n```\n```\n"}.items():
            try:
                Page("x.md", text)
                check(f"{what} is refused", False)
            except ValueError as error:
                check(f"{what} is refused, with the place", str(error).startswith("x.md:"), error)
        try:
            page.take(language="js")
            check("a block that is not there is an error", False)
        except LookupError:
            check("a block that is not there is an error", True)
