"""What django.md says besides: migrations, the model, the command, types."""

from __future__ import annotations

from harness import Reply, check, checks, equal
from places import client, place, played, pooler
from scenario import Scenario


SETTINGS = """
import os

SECRET_KEY = "test"
INSTALLED_APPS = ["cms"]
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "cms"}}
if os.environ.get("POOLED"):
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
"""

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
execute_from_command_line(sys.argv)
"""


def run() -> None:
    with place("django", example=False) as at:
        with checks.part("django, migrations"):
            at.put("manage.py", MANAGE)
            at.put("settings.py", SETTINGS + at.page.code(name="settings"))
            for package in ("cms", "cms/migrations", "cms/management", "cms/management/commands"):
                at.put(f"{package}/__init__.py", "")
            at.write("cms/migrations/0001_syncstate.py", "cms/models.py")
            said = at.shell(at.page.code(name="makemigrations.sh"))
            equal("makemigrations", said.returncode, 0) or print(said.stdout)
            at.write("cms/migrations/0003_source.py")
            said = at.shell(at.page.code(name="migrate.sh"))
            equal("migrate, and nothing is missing", (said.returncode, "No changes detected" in said.stdout), (0, True)) \
                or print(said.stdout)
            equal("the extension is there", at.db.value("SELECT count(*) FROM pg_extension WHERE extname = 'syncstate'"), 1)
            equal("the source is attached", at.db.value("SELECT count(*) FROM syncstate.sync_source"), 1)
        at.write("cms/sync.py", "cms/management/commands/sync_worker.py")
        with played(at, "django.py") as process:
            with checks.part("django, what the page says of types"):
                found = process.call("types")
                nested = (found.value or {}).pop("nested", "")
                equal("types", found, Reply({
                    "uuid": True, "cursor": "[1, 2]", "model": [1, 2], "zone": True, "microseconds": True, "array": 2,
                    "filter": 1, "save": "the state is for the functions of syncstate to write",
                    "delete": "use sync_state_forget"}))
                check("begin within a transaction is refused", "durable" in nested, nested)
                equal("... and takes nothing", at.db.rows("SELECT * FROM sync_state_get('nested')"), [])
        with checks.part("django, the worker"):
            scenario = Scenario(at.db, lambda: at.client("django.py"), "articles")
            scenario.synced()
            said = at.shell(at.page.code(name="worker.sh"))
            equal("it answers", (said.returncode, said.stdout), (0, "article: synced\n"))
            scenario.check_synced(runs=1, start=None)
            scenario.close()
        with checks.part("django, what a TransactionTestCase does in the end"):
            before = at.db.column("SELECT type_key FROM syncstate.sync_state ORDER BY 1")
            said = at.shell("python3 manage.py flush --no-input")
            equal("flush", said.returncode, 0) or print(said.stdout)
            equal("a managed table is empty", at.db.value("SELECT count(*) FROM article"), 0)
            equal("the state is kept", at.db.column("SELECT type_key FROM syncstate.sync_state ORDER BY 1"), before)
        with checks.part("django, iterator() by way of PgBouncer"):
            with pooler() as pooled, client(at.client("django.py", pooled.env)) as process:
                at.db.rows("INSERT INTO article SELECT g, 'x' FROM generate_series(1, 1200) g")
                equal("rows", process.call("iterate"), Reply(1200))
