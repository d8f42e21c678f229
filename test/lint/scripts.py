#!/usr/bin/python3
"""Lints the install and upgrade scripts by their syntax trees (pglast).

    test/lint/scripts.py [SCRIPT...]

A script runs with the rights of a superuser while anybody may have planted
objects in the schema that CREATE EXTENSION was given.  So in no script

- is anything created OR REPLACE or IF NOT EXISTS (CVE-2022-2625);
- is a relation, function, type or operator named without its schema;
- is a predicate used that looks an operator up by its bare name (IN, BETWEEN,
  IS DISTINCT FROM, NULLIF, LIKE);
- is there a SECURITY DEFINER function, or a setting attached to one;
- stands @extschema@ in a string or within quotes (CVE-2023-39417);
- is a table written, but for the one row that the install script makes.

Each script that passes counts as a test, and so does each made-up script that
must not, and so does each line here that found fault with one of those.
"""

import glob
import inspect
import re
import sys

import pglast
from pglast import ast, enums
from pglast.visitors import Visitor

# Stand for what CREATE EXTENSION puts in.
SCHEMA, OWNER = "extension_schema", "extension_owner"

# The grammar spells these out as functions of pg_catalog, or qualifies them.
LOOKS_UP_OPERATOR = {
    enums.A_Expr_Kind.AEXPR_IN: "IN",
    enums.A_Expr_Kind.AEXPR_DISTINCT: "IS DISTINCT FROM",
    enums.A_Expr_Kind.AEXPR_NOT_DISTINCT: "IS NOT DISTINCT FROM",
    enums.A_Expr_Kind.AEXPR_NULLIF: "NULLIF",
    enums.A_Expr_Kind.AEXPR_LIKE: "LIKE",
    enums.A_Expr_Kind.AEXPR_ILIKE: "ILIKE",
    enums.A_Expr_Kind.AEXPR_SIMILAR: "SIMILAR TO",
    enums.A_Expr_Kind.AEXPR_BETWEEN: "BETWEEN",
    enums.A_Expr_Kind.AEXPR_NOT_BETWEEN: "NOT BETWEEN",
    enums.A_Expr_Kind.AEXPR_BETWEEN_SYM: "BETWEEN SYMMETRIC",
    enums.A_Expr_Kind.AEXPR_NOT_BETWEEN_SYM: "NOT BETWEEN SYMMETRIC",
}

# What only names something that the statement itself has made, in its schema.
UNQUALIFIED_KINDS = {enums.ObjectType.OBJECT_SCHEMA, enums.ObjectType.OBJECT_EXTENSION,
                     enums.ObjectType.OBJECT_ACCESS_METHOD}


def dotted(names):
    return ".".join(getattr(name, "sval", "*") for name in names)


class Lint(Visitor):
    def __init__(self):
        super().__init__()
        self.found = []
        self.written = []
        self.with_names = set()

    used = set()        # lines of this file that found fault with something

    def complain(self, text):
        self.used.add(sys._getframe(1).f_lineno)
        self.found.append(text)

    def require_schema(self, what, names):
        if len(names) < 2:
            self.used.add(sys._getframe(1).f_lineno)
            self.complain(f"{what} {dotted(names)} has no schema")

    # Names

    def visit_CommonTableExpr(self, ancestors, node):
        self.with_names.add(node.ctename)

    def visit_RangeVar(self, ancestors, node):
        if node.schemaname is None and node.relname not in self.with_names:
            self.complain(f"relation {node.relname} has no schema")

    def visit_FuncCall(self, ancestors, node):
        self.require_schema("function", node.funcname)

    def visit_TypeName(self, ancestors, node):
        # "parallel = safe", of an aggregate, looks like a type to the grammar.
        parent = ancestors.node
        if isinstance(parent, ast.DefElem) and parent.defname == "parallel":
            return
        if node.names is not None:
            self.require_schema("type", node.names)

    def visit_A_Expr(self, ancestors, node):
        if node.kind in LOOKS_UP_OPERATOR:
            self.complain(f"{LOOKS_UP_OPERATOR[node.kind]} looks its operator up by name")
        else:
            self.require_schema("operator", node.name)

    def visit_SubLink(self, ancestors, node):
        if node.testexpr is not None and node.operName is None:
            self.complain("IN looks its operator up by name")
        elif node.operName is not None:
            self.require_schema("operator", node.operName)

    def visit_CaseExpr(self, ancestors, node):
        if node.arg is not None:
            self.complain("CASE x WHEN y looks its operator up by name")

    def visit_SortBy(self, ancestors, node):
        if node.useOp is not None:
            self.require_schema("operator", node.useOp)

    def visit_JoinExpr(self, ancestors, node):
        if node.usingClause is not None or node.isNatural:
            self.complain("JOIN USING looks its operators up by name")

    def visit_CollateClause(self, ancestors, node):
        self.require_schema("collation", node.collname)

    def visit_CreateFunctionStmt(self, ancestors, node):
        self.require_schema("function", node.funcname)
        for option in node.options or ():
            if option.defname == "security" and option.arg.boolval:
                self.complain(f"{dotted(node.funcname)} is SECURITY DEFINER")
            if option.defname == "set":
                self.complain(f"{dotted(node.funcname)} has a setting of its own")

    def visit_DefineStmt(self, ancestors, node):
        self.require_schema("object", node.defnames)

    def visit_CreateTrigStmt(self, ancestors, node):
        self.require_schema("function", node.funcname)

    def visit_CommentStmt(self, ancestors, node):
        names = getattr(node.object, "objname", None) or node.object
        if node.objtype in UNQUALIFIED_KINDS:
            return
        if isinstance(names, tuple) and len(names) < 2:
            self.complain(f"comment on {dotted(names)}, which has no schema")

    # What a script does to rows

    def visit_InsertStmt(self, ancestors, node):
        self.written.append(f"INSERT INTO {node.relation.relname}")

    def visit_UpdateStmt(self, ancestors, node):
        self.written.append(f"UPDATE {node.relation.relname}")

    def visit_DeleteStmt(self, ancestors, node):
        self.written.append(f"DELETE FROM {node.relation.relname}")

    def visit_DoStmt(self, ancestors, node):
        self.complain("DO runs what is not looked at here")


def makes_in_place(node):
    """Where a statement makes something in place of what is there, or leaves it."""
    if isinstance(node, dict):
        for field in ("replace", "if_not_exists"):
            if node.get(field):
                yield f"{node.get('@', 'a node')} with {field}"
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ():
        yield from makes_in_place(child)


def lint(text, may_write=()):
    """What is wrong with a script."""
    found = []
    if not text.lstrip().startswith("/*") and not text.lstrip().startswith("\\echo"):
        found.append("it does not begin by saying what it is")
    if not re.search(r"^\\echo .*\\quit$", text, re.M):
        found.append("it does not refuse to be run by psql")
    statements = re.sub(r"^\\.*$", "", text, flags=re.M)
    without_comments = re.sub(r"/\*.*?\*/", "", statements, flags=re.S)
    for quoted in re.findall(r"'(?:[^']|'')*'|\"[^\"]*\"", without_comments):
        if "@ext" in quoted:
            found.append(f"@…@ within quotes: {quoted[:60]}")
    statements = statements.replace("@extschema@", SCHEMA).replace("@extowner@", OWNER)
    tree = pglast.parse_sql(statements)
    found += [what for statement in tree for what in makes_in_place(statement(skip_none=True))]
    visitor = Lint()
    visitor(tree)
    return found + visitor.found + [f"writes: {w}" for w in visitor.written if w not in may_write]


HEAD = "/* x */\n\\echo x \\quit\n"
# Each of these must be found fault with; the word says by which complaint.
FAULTY = {
    "replace": "CREATE OR REPLACE FUNCTION @extschema@.f() RETURNS pg_catalog.int4 LANGUAGE c AS 'x', 'f';",
    "if_not_exists": "CREATE TABLE IF NOT EXISTS syncstate.t (a pg_catalog.int4);",
    "relation": "CREATE TABLE t (a pg_catalog.int4);",
    "type": "CREATE TABLE syncstate.t (a mytype);",
    "function": "SELECT lower('x'::pg_catalog.text);",
    "operator": "CREATE VIEW syncstate.v AS SELECT 1 + 1;",
    "IN": "CREATE VIEW syncstate.v AS SELECT 1 IN (1, 2);",
    "IS DISTINCT FROM": "CREATE VIEW syncstate.v AS SELECT 1 IS DISTINCT FROM 2;",
    "CASE": "CREATE VIEW syncstate.v AS SELECT CASE 1 WHEN 1 THEN 2 END;",
    "JOIN": "CREATE VIEW syncstate.v AS SELECT FROM syncstate.a JOIN syncstate.b USING (c);",
    "DEFINER": "CREATE FUNCTION @extschema@.f() RETURNS pg_catalog.int4 LANGUAGE c SECURITY DEFINER AS 'x', 'f';",
    "setting": "CREATE FUNCTION @extschema@.f() RETURNS pg_catalog.int4 LANGUAGE c SET search_path = x AS 'x', 'f';",
    "quotes": "SELECT pg_catalog.set_config('search_path', '@extschema@', false);",
    "writes": "INSERT INTO syncstate.sync_state DEFAULT VALUES;",
    "DO": "DO $$ BEGIN END $$;",
    "UPDATE": "UPDATE syncstate.sync_state SET local_hash = NULL;",
    "DELETE": "DELETE FROM syncstate.sync_state;",
    "by name": "CREATE VIEW syncstate.v AS SELECT FROM syncstate.a WHERE a.b IN (SELECT c.d FROM syncstate.c);",
    "operator >": "CREATE VIEW syncstate.v AS SELECT FROM syncstate.a WHERE a.b > ALL (SELECT c.d FROM syncstate.c);",
    "operator <": "CREATE VIEW syncstate.v AS SELECT FROM syncstate.a ORDER BY a.b USING <;",
    "collation": "CREATE TABLE syncstate.t (a pg_catalog.text COLLATE \"C\");",
    "function f": "CREATE FUNCTION f() RETURNS pg_catalog.int4 LANGUAGE c AS 'x', 'f';",
    "object": "CREATE AGGREGATE a(pg_catalog.int4) (sfunc = pg_catalog.int4pl, stype = pg_catalog.int4);",
    "function g": "CREATE TRIGGER t BEFORE INSERT ON syncstate.t FOR EACH ROW EXECUTE FUNCTION g();",
    "comment": "COMMENT ON TABLE t IS 'x';",
    "psql": "",
}


def main():
    passed = failed = 0
    for script in sys.argv[1:] or sorted(glob.glob("sql/*.sql")):
        may_write = ["INSERT INTO sync_feed"] if re.search(r"--[\d.]+\.sql$", script) and script.count("--") == 1 else []
        with open(script, encoding="utf-8") as file:
            found = lint(file.read(), may_write)
        print(f"{script}: {'ok' if not found else '; '.join(found)}")
        passed, failed = passed + (not found), failed + bool(found)
    for word, statement in FAULTY.items():
        found = lint("/* x */\n" if word == "psql" else HEAD + statement)
        if any(word in complaint for complaint in found):
            passed += 1
        else:
            print(f"not found fault with, by {word}: {statement} {found}")
            failed += 1
    # Every place that finds fault was seen to.
    lines, first = inspect.getsourcelines(Lint)
    for n, line in enumerate(lines, first):
        if re.match(r" +self\.(complain|require_schema)\(", line):
            if n in Lint.used:
                passed += 1
            else:
                print(f"line {n} never found fault with anything: {line.strip()}")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
