"""What node-postgres.md says besides: types, and errors that are swallowed."""

from __future__ import annotations

import subprocess

from harness import HERE, checks, equal
from places import notifies, place, played


def run() -> None:
    with place("node-postgres") as at:
        modules = HERE / "node_modules"
        if not modules.exists():
            print("== npm ci", flush=True)
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, check=True)
        (at.directory / "node_modules").symlink_to(modules)
        at.write("sync.mjs")
        with played(at, "node-postgres.mjs") as process:
            with checks.part("node-postgres, what the page says of types"):
                equal("types", process.call("types").value, {
                    "uuid": "string", "array": "22P02", "stringified": "[1, 2]", "heartbeat": "[1, 2]",
                    "undefined": "[1, 2]", "string": "22P02", "arrays": 2, "bigint": "string", "interval": "object",
                    "date": "2026-01-02T03:04:05.678Z", "base": "old", "again": True,
                    "text": at.db.value("SELECT last_sync_at::text FROM sync_state_get('t1')")})
            with checks.part("node-postgres, an error that was swallowed"):
                equal("COMMIT answers", process.call("swallowed").value, "ROLLBACK")
            with checks.part("node-postgres, notifications"):
                notifies(at, process)
