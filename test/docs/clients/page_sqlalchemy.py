"""What sqlalchemy.md says besides: Alembic, which is to find nothing to do; the model; types."""

from __future__ import annotations

import ast

from harness import Reply, check, checks, equal
from places import Place, place, played


def revision(at: Place, env: str) -> tuple[str, str]:
    """What autogenerate finds with this env.py: the body of upgrade(), and what went wrong."""
    at.put("migrations/env.py", env)
    before = set((at.directory / "migrations/versions").glob("*.py"))
    said = at.shell("alembic revision --autogenerate -m check")
    made = list(set((at.directory / "migrations/versions").glob("*.py")) - before)
    if not made:
        return "", said.stdout
    tree = ast.parse(made[0].read_text())
    made[0].unlink()
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade").body
    return "\n".join(ast.unparse(statement) for statement in body), said.stdout


def run() -> None:
    with place("sqlalchemy", example=False) as at:
        with checks.part("sqlalchemy, Alembic"):
            alembic(at)
        at.write("sync.py")
        with played(at, "sqlalchemy.py") as process:
            with checks.part("sqlalchemy, what the page says of types"):
                refusal = "the state of '{}' is for the functions of syncstate to write"
                equal("types", process.call("types"), Reply({
                    "uuid": True, "model": [{"a": [1]}, "syncing", True], "cast": True, "loaded": None, "refreshed": "seen",
                    "without none_as_null": "null", "array": 2, "func": "str", "parameters of :x::uuid": 0, "insert": refusal.format("new"),
                    "update": refusal.format("types"), "delete": refusal.format("types")}))
                equal("nothing was written by way of the model",
                      at.db.rows("SELECT type_key, local_hash FROM syncstate.sync_state WHERE type_key IN ('new', 'types')"),
                      [("types", "seen")])


def alembic(at: Place) -> None:
    equal("alembic init", at.shell("alembic init migrations").returncode, 0)
    at.write("models.py")
    env = at.page.code(name="env.py")
    at.put("migrations/env.py", env)
    at.put("migrations/versions/0001_articles.py", at.page.code(name="0001_articles.py"))

    said = at.shell(at.page.code(name="migrate.sh"))
    equal("the commands of the page", said.returncode, 0) or print(said.stdout)
    equal("the extension is there", at.db.value("SELECT count(*) FROM pg_extension WHERE extname = 'syncstate'"), 1)
    equal("the source is attached", at.db.value("SELECT count(*) FROM syncstate.sync_source"), 1)
    written = [path for path in (at.directory / "migrations/versions").glob("*.py") if path.name != "0001_articles.py"]
    equal("one revision was written", len(written), 1)
    for path in written:
        path.unlink()

    equal("no drift", revision(at, env)[0], "pass")
    at.put("models.py", at.page.code(name="models.py").replace("hash = Column(Text)\n", "hash = Column(Text)\n    seen = Column(Text)\n", 1))
    found, said = revision(at, env)
    check("a column of ours is found, and nothing else", found.count("op.") == 1 and "'seen'" in found, found or said)
    at.put("models.py", at.page.code(name="models.py"))

    def without(*lines: str) -> str:
        text = env
        for line in lines:
            if line not in text:
                raise LookupError(f"env.py has no {line!r}")
            text = text.replace(line, "")
        return text

    names, objects, schemas = ("include_name=include_name,", "include_object=include_object,", "include_schemas=True,")
    found, said = revision(at, without(names, objects))
    check("without both, the extension's tables would be dropped",
          "op.drop_table('sync_run', schema='syncstate')" in found, found or said)
    found, said = revision(at, without(objects))
    check("without include_object, the mapped one would be made anew",
          "op.create_table('sync_state'" in found and "drop" not in found, found or said)
    equal("without include_schemas, include_object is enough", revision(at, without(schemas, names))[0], "pass")

    at.put("migrations/env.py", env)
    said = at.shell("alembic downgrade base")
    equal("downgrade", said.returncode, 0) or print(said.stdout)
    equal("nothing of it is left", at.db.column("""
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'syncstate' OR (n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> 'alembic_version')"""), [])
    equal("upgrade again", at.shell("alembic upgrade head").returncode, 0)
