"""Runs the Python of a page in a process of its own, which can be killed.

    bridge.py GLUE

GLUE is a file that imports the code of the page and makes `calls`, functions by
name.  Each line that is read is [name, arguments...] in JSON; each that is written
is {"value": ...}, or {"code": the SQLSTATE or "", "message": ...} for an error.
"""

import json
import os
import runpy
import sys
import traceback


def sqlstate(error):
    """Wherever a driver, or what wraps it, keeps it."""
    for source in (error, getattr(error, "orig", None), error.__cause__):
        code = getattr(source, "sqlstate", None) or getattr(source, "pgcode", None)
        if code:
            return code
    return ""


def main():
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stdout = sys.stderr
    sys.path.insert(0, os.getcwd())
    calls = runpy.run_path(sys.argv[1])["calls"]
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            reply = {"value": calls[name](*arguments)}
        except Exception as error:
            traceback.print_exc()
            reply = {"code": sqlstate(error), "message": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply, default=str) + "\n")


main()
