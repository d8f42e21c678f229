#!/usr/bin/python3
"""Compares the reference with the catalogue of a database that has the extension.

    test/lint/reference.py      (on the server of PGHOST, PGPORT ...)

- doc/reference.md has each public function with its parameters, their names, types and
  defaults, and its result; each column of each table, view and row type, in order; each
  setting with unit, default and values; and the version that first had it.  And nothing
  else.
- The README has a line for each function and setting, with the same version and a link
  to where the reference has it.

A version is what the install and upgrade scripts make it: each is installed.  All of it
happens in a database of its own, and in transactions that are rolled back.
"""

from __future__ import annotations

import contextlib
import glob
import re
import sys
from dataclasses import dataclass, field

import psycopg2

from pages import LINK, Page, Table, Verdict, codes, slug

DATABASE = "syncstate_reference"
# Names of the catalogue, and what the page calls them.
SHORT = {"timestamp with time zone": "timestamptz"}

MEMBERS = """
    SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'syncstate'"""

FUNCTIONS = f"""
    SELECT p.proname, pg_get_function_result(p.oid),
        ARRAY(SELECT jsonb_build_array(coalesce(p.proargmodes[n], 'i'), p.proargnames[n], format_type(t, NULL),
                  pg_get_function_arg_default(p.oid, n::int))
              FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a (t, n) ORDER BY n)
    FROM ({MEMBERS}) AS m JOIN pg_proc AS p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    WHERE p.pronamespace <> 'syncstate'::regnamespace"""

COLUMNS = f"""
    SELECT c.relname, c.relkind, ARRAY(SELECT ARRAY[a.attname, format_type(a.atttypid, a.atttypmod)] FROM pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
    FROM ({MEMBERS}) AS m
    LEFT JOIN pg_type AS y ON m.classid = 'pg_type'::regclass AND y.oid = m.objid
    JOIN pg_class AS c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid OR c.oid = y.typrelid AND c.relkind = 'c'
    WHERE c.relkind IN ('r', 'v', 'c')"""


@dataclass
class Parameter:
    mode: str
    name: str
    type: str
    default: str | None

    def __str__(self) -> str:
        return f"{'VARIADIC ' if self.mode == 'v' else ''}{self.name} {self.type}" + \
            (f" DEFAULT {self.default}" if self.default is not None else "")


@dataclass
class Catalogue:
    """What a version has; columns are named "relation.column"."""

    functions: dict[str, tuple[list[Parameter], str]] = field(default_factory=dict)
    relations: dict[str, tuple[str, list[tuple[str, str]]]] = field(default_factory=dict)
    settings: set[str] = field(default_factory=set)

    def names(self) -> set[str]:
        return set(self.functions) | self.settings | \
            {f"{relation}.{column}" for relation, (_, columns) in self.relations.items() for column, _ in columns}


def short(name: str) -> str:
    for long, brief in SHORT.items():
        name = name.replace(long, brief)
    return name


def read_catalogue(cursor, version: str) -> Catalogue:
    found = Catalogue()
    cursor.execute("CREATE EXTENSION syncstate VERSION %s", (version,))
    cursor.execute(FUNCTIONS)
    for name, result, parameters in cursor.fetchall():
        found.functions[name] = ([Parameter(mode, given, short(kind), default) for mode, given, kind, default in parameters],
                                 short(result))
    cursor.execute(COLUMNS)
    for name, kind, columns in cursor.fetchall():
        found.relations["syncstate." + name] = (kind, [(column, short(type)) for column, type in columns])
    return found


def order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def versions() -> list[str]:
    found = {part for script in glob.glob("sql/syncstate--*.sql") for part in script[len("sql/syncstate--"):-len(".sql")].split("--")}
    return sorted(found, key=order)


def first_versions(connection) -> tuple[Catalogue, dict[str, str]]:
    """The catalogue of the newest version, and of each name in it the first version that had it."""
    catalogues = {}
    for version in versions():
        with connection.cursor() as cursor:
            catalogues[version] = read_catalogue(cursor, version)
        connection.rollback()
    newest = catalogues[versions()[-1]]
    first = {name: next(version for version in versions() if name in catalogues[version].names()) for name in newest.names()}
    return newest, first


# --------------------------------------------------------------- functions

SIGNATURE = re.compile(r"(\w+)\((.*)\)")
PARAMETER = re.compile(r"(?:(VARIADIC) )?(\w+) (.+?)(?: DEFAULT (.+))?")


def told_parameters(text: str) -> list[Parameter] | None:
    found = []
    for part in re.split(r", (?![^()]*\))", text) if text else []:
        match = PARAMETER.fullmatch(part)
        if match is None:
            return None
        found.append(Parameter("v" if match[1] else "i", match[2], match[3], match[4]))
    return found


def same_default(cursor, one: str, other: str, type: str) -> bool:
    """'5 minutes' and '00:05:00'::interval are the same."""
    if one == other:
        return True
    try:
        cursor.execute(f"SELECT ({one})::{type} IS NOT DISTINCT FROM ({other})::{type}")
        return cursor.fetchone()[0]
    except psycopg2.Error:
        cursor.connection.rollback()
        return False


def check_functions(cursor, page: Page, newest: Catalogue, first: dict[str, str], verdict: Verdict) -> dict[str, str]:
    """Returns under which heading each function is."""
    headings: dict[str, str] = {}
    for table in page.tables():
        if table.columns[0] != "function":
            continue
        for line, row in table.rows:
            where = f"{page.path}:{line}"
            signature = SIGNATURE.fullmatch(codes(row["function"])[0])
            if not verdict.check(signature is not None, f"{where}: no signature"):
                continue
            name = signature[1]
            if not verdict.check(name in newest.functions and name not in headings, f"{where}: there is no {name}, or it is here twice"):
                continue
            headings[name] = table.under[-1]
            parameters, result = newest.functions[name]
            told = told_parameters(signature[2])
            if verdict.check(told is not None and len(told) == len(parameters), f"{where}: {name} has {len(parameters)} parameters"):
                for said, real in zip(told, parameters):
                    right = (said.mode, said.name, said.type) == (real.mode, real.name, real.type) and \
                        (said.default is None) == (real.default is None) and \
                        (said.default is None or same_default(cursor, said.default, real.default, real.type))
                    verdict.check(right, f"{where}: {name}: \"{said}\", but it is \"{real}\"")
            verdict.check(codes(row["returns"]) == [result], f"{where}: {name} returns {result}")
            verdict.check(row["added"] == first[name], f"{where}: {name} was added in {first[name]}")
    for name in newest.functions:
        verdict.check(name in headings, f"{page.path}: {name} is missing")
    return headings


# ----------------------------------------------------------------- columns

KINDS = {"Tables": "r", "Views": "v", "Row types": "c"}


def check_columns(page: Page, newest: Catalogue, first: dict[str, str], verdict: Verdict) -> None:
    seen = set()
    for table in page.tables():
        if table.columns[0] != "column":
            continue
        relation = codes(table.under[-1])[0]
        where = f"{page.path}:{table.rows[0][0]}: {relation}"
        kind = KINDS.get(table.under[-2], "")
        if not verdict.check(newest.relations.get(relation, ("", []))[0] == kind != "" and relation not in seen,
                             f"{where}: there is none, or not under \"{table.under[-2]}\", or it is here twice"):
            continue
        seen.add(relation)
        columns = newest.relations[relation][1]
        told = [(codes(row["column"])[0], codes(row["type"])[0]) for _, row in table.rows]
        verdict.check([name for name, _ in told] == [name for name, _ in columns],
                      f"{where}: its columns are {', '.join(name for name, _ in columns)}")
        types = dict(columns)
        for (name, type), (line, row) in zip(told, table.rows):
            verdict.check(types.get(name) == type, f"{page.path}:{line}: {relation}.{name} is of type {types.get(name)}")
            added = first.get(f"{relation}.{name}")
            verdict.check(row["added"] == added, f"{page.path}:{line}: {relation}.{name} was added in {added}")
    for relation in newest.relations:
        verdict.check(relation in seen, f"{page.path}: {relation} is missing")


# ---------------------------------------------------------------- settings

def table_of_settings(page: Page) -> Table:
    return next(table for table in page.tables() if table.columns[0] == "setting")


def check_settings(cursor, page: Page, verdict: Verdict) -> dict[str, str]:
    """Returns the default of each."""
    # The library defines them when it is loaded.
    cursor.execute("CREATE EXTENSION syncstate")
    cursor.execute("SELECT sync_state_version()")
    cursor.execute("SELECT name, coalesce(unit, ''), min_val, max_val, enumvals FROM pg_settings WHERE name LIKE 'syncstate.%'")
    real = {name: rest for name, *rest in cursor.fetchall()}
    defaults = {}
    for name in real:
        cursor.execute(f"RESET {name}")
        cursor.execute(f"SHOW {name}")
        defaults[name] = cursor.fetchone()[0]

    told = set()
    for line, row in table_of_settings(page).rows:
        name = codes(row["setting"])[0]
        where = f"{page.path}:{line}: {name}"
        told.add(name)
        if not verdict.check(name in real, f"{where}: there is none"):
            continue
        unit, least, most, values = real[name]
        verdict.check(row["unit"] == unit, f"{where} is in \"{unit}\"")
        verdict.check(codes(row["default"]) == [defaults[name]], f"{where} is {defaults[name]} by default")
        if values is not None:
            verdict.check(codes(row["values"]) == values, f"{where} can be {values}")
        else:
            for bound, limit in zip(codes(row["values"]), (least, most)):
                cursor.execute(f"SET {name} = '{bound}'")
                cursor.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,))
                verdict.check(cursor.fetchone()[0] == limit, f"{where}: {bound} is not its limit, which is {limit}{unit}")
            verdict.check(len(codes(row["values"])) == 2, f"{where} has two limits")
    verdict.same(page.path, told, set(real), "there is none", "it is missing")
    return defaults


# ------------------------------------------------------------------ README

def check_readme(newest: Catalogue, first: dict[str, str], headings: dict[str, str], defaults: dict[str, str],
                 reference: Page, verdict: Verdict) -> None:
    page = Page("README.md")
    added = {codes(row["setting"])[0]: row["added"] for _, row in table_of_settings(reference).rows}
    for table in page.tables():
        what = table.columns[0]
        if what not in ("function", "table or view", "setting"):
            continue
        names = []
        for line, row in table.rows:
            where = f"{page.path}:{line}"
            name = codes(row[what])[0]
            names.append(name)
            link = LINK.search(row[what])
            if what == "function":
                anchor, version = slug(headings.get(name, "")), first.get(name)
            elif what == "setting":
                anchor, version = "settings", added.get(name)
                verdict.check(codes(row["default"]) == [defaults.get(name)], f"{where}: {name} is {defaults.get(name)} by default")
            else:
                anchor, version = slug(f"`{name}`"), first.get(f"{name}.sync_status", first.get(f"{name}.type_key"))
            verdict.check(row["added"] == version, f"{where}: {name} was added in {version}")
            verdict.check(link is not None and link[2] == f"{reference.path}#{anchor}", f"{where}: {name} is at {reference.path}#{anchor}")
        verdict.check(len(names) == len(set(names)), f"{page.path}: a {what} is there twice")
        if what != "table or view":
            verdict.same(page.path, set(names), set(newest.functions) if what == "function" else set(defaults),
                         "there is none", "it is missing")


@contextlib.contextmanager
def own_database():
    """A connection to a database that is made for it."""
    administration = psycopg2.connect(dbname="postgres")
    administration.autocommit = True
    with administration.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    connection = psycopg2.connect(dbname=DATABASE)
    try:
        yield connection
    finally:
        connection.close()
        with administration.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {DATABASE}")
        administration.close()


def main() -> int:
    verdict = Verdict()
    reference = Page("doc/reference.md")
    with own_database() as connection:
        newest, first = first_versions(connection)
        with connection.cursor() as cursor:
            headings = check_functions(cursor, reference, newest, first, verdict)
            check_columns(reference, newest, first, verdict)
            defaults = check_settings(cursor, reference, verdict)
    check_readme(newest, first, headings, defaults, reference, verdict)
    return verdict.end()


if __name__ == "__main__":
    sys.exit(main())
