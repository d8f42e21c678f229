#!/usr/bin/python3
"""Checks that all files state the version of the control file, and what else is said
of the package more than once.

    test/lint/versions.py

- syncstate.control, the library (which the Makefile tells), META.json, debian/changelog,
  the latest release in CHANGELOG.md, and the scripts agree on the version;
- from every version that has a script there is a way to it;
- the entries of CHANGELOG.md are in the form of Keep a Changelog 1.1.0;
- META.json has what the PGXN Meta Spec 1.0.0 requires, and names files that exist;
- debian/control is what debian/control.in says;
- the licence is the same everywhere.
"""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from pages import Verdict

SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
TERM = re.compile(r"[^\s/\\\x00-\x1f\x7f]{2,}")
CHANGES = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
LICENCES = ("agpl_3", "apache_1_1", "apache_2_0", "artistic_1", "artistic_2", "bsd", "freebsd", "gfdl_1_2", "gfdl_1_3", "gpl_1",
            "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit", "mozilla_1_0", "mozilla_1_1", "openssl", "perl_5", "postgresql",
            "qpl_1_0", "ssleay", "sun", "zlib", "open_source", "restricted", "unrestricted", "unknown")


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.M)
    return found[1] if found else ""


# ---------------------------------------------------------------- versions

def reachable(version: str) -> set[str]:
    """The versions from which scripts lead to one, itself included."""
    steps = [name[len("sql/syncstate--"):-len(".sql")].split("--") for name in glob.glob("sql/syncstate--*--*.sql")]
    found = {version}
    while more := {before for before, after in steps if after in found} - found:
        found |= more
    return found


def as_numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def check_versions(version: str, meta: dict, verdict: Verdict) -> None:
    verdict.check(SEMVER.fullmatch(version) is not None, f"syncstate.control: \"{version}\" is no version")
    told = {
        "META.json, version": meta.get("version"),
        "META.json, provides": meta.get("provides", {}).get("syncstate", {}).get("version"),
        "CHANGELOG.md, latest release": first(r"^## \[(\d[^]]*)\]", read("CHANGELOG.md")),
        "debian/changelog, latest entry": first(r"^postgresql-syncstate \((.*)-[\w.+~]+\)", read("debian/changelog")),
        "what the Makefile tells the library": subprocess.run(
            ["make", "--no-print-directory", "-s", "-f", "-", "tell"], input="include Makefile\ntell:\n\t@echo $(SYNCSTATE_VERSION)\n",
            capture_output=True, text=True, env={**os.environ, "MAKEFLAGS": ""}).stdout.strip(),
    }
    for where, other in told.items():
        verdict.check(other == version, f"{where}: {other}, but syncstate.control has {version}")

    names = [name[len("sql/syncstate--"):-len(".sql")] for name in glob.glob("sql/syncstate--*.sql")]
    known = {part for name in names for part in name.split("--")}
    newest = max(known, key=as_numbers)
    verdict.check(newest == version, f"sql/: the scripts lead to {newest}, but syncstate.control has {version}")
    verdict.check(any("--" not in name for name in names if name in reachable(version)), f"sql/: nothing installs {version}")
    for other in known:
        verdict.check(other in reachable(version), f"sql/: no way from {other} to {version}")
        verdict.check(f"## [{other}] - " in read("CHANGELOG.md"), f"CHANGELOG.md says nothing of {other}")


def check_changelog(verdict: Verdict) -> None:
    text = read("CHANGELOG.md")
    verdict.check(text.startswith("# Changelog\n"), "CHANGELOG.md: its heading is not \"Changelog\"")
    entries = re.findall(r"^## (.*)$", text, re.M)
    releases = []
    for entry in entries:
        release = re.fullmatch(r"\[(" + SEMVER.pattern + r")\] - \d{4}-\d\d-\d\d( \[YANKED\])?", entry)
        verdict.check(release is not None or entry == "[Unreleased]" == entries[0], f"CHANGELOG.md: \"{entry}\" is no release")
        if release:
            releases.append(release[1])
    verdict.check(releases == sorted(releases, key=as_numbers, reverse=True), "CHANGELOG.md: the latest release is not first")
    for heading in re.findall(r"^### (.*)$", text, re.M):
        verdict.check(heading in CHANGES, f"CHANGELOG.md: \"{heading}\" is none of {', '.join(CHANGES)}")


# -------------------------------------------------------------------- PGXN

def check_meta(meta: dict, verdict: Verdict) -> None:
    """The required fields of https://pgxn.org/meta/spec.txt, and those that we use besides."""
    def want(right: bool, what: str) -> None:
        verdict.check(bool(right), f"META.json: {what}")

    def is_text(value) -> bool:
        return isinstance(value, str) and value.strip() != ""

    want(TERM.fullmatch(str(meta.get("name", ""))), "name is a term: two characters or more, without blanks or slashes")
    want(is_text(meta.get("abstract")) and len(meta["abstract"]) < 100, "abstract is a line")
    want(SEMVER.fullmatch(str(meta.get("version", ""))), "version is a semantic version")
    maintainers = meta.get("maintainer")
    want(is_text(maintainers) or isinstance(maintainers, list) and maintainers and all(map(is_text, maintainers)),
         "maintainer is a text, or several")
    licence = meta.get("license")
    want(licence in LICENCES or isinstance(licence, dict) and licence, "license is one of the spec's, or names and addresses")
    want(meta.get("meta-spec", {}).get("version") == "1.0.0", "meta-spec has the version 1.0.0")
    want(meta.get("release_status", "stable") in ("stable", "testing", "unstable"), "release_status is one of three")

    provides = meta.get("provides")
    want(isinstance(provides, dict) and "syncstate" in provides, "provides has the extension")
    for name, provided in (provides or {}).items():
        want(SEMVER.fullmatch(str(provided.get("version", ""))), f"{name} has a version")
        want(is_text(provided.get("file")) and os.path.isfile(provided["file"]), f"{name} is in a file that exists")
        want("docfile" not in provided or os.path.isfile(provided["docfile"]), f"the docfile of {name} exists")
    for phase, relations in meta.get("prereqs", {}).items():
        want(phase in ("configure", "build", "test", "runtime", "develop"), f"{phase} is a phase")
        for relation, needed in relations.items():
            want(relation in ("requires", "recommends", "suggests", "conflicts"), f"{relation} is a relation")
            for name, least in needed.items():
                want(TERM.fullmatch(name) and re.fullmatch(r"0|" + SEMVER.pattern, str(least)), f"{name} {least} is needed")
    for directory in meta.get("no_index", {}).get("directory", []):
        want(is_text(directory), f"{directory!r} is a directory")
    want(all(isinstance(tag, str) and TERM.match(tag) and len(tag) < 256 for tag in meta.get("tags", [])), "tags are terms")
    known = {"name", "abstract", "version", "maintainer", "license", "meta-spec", "provides", "description", "generated_by", "tags",
             "no_index", "prereqs", "release_status", "resources"}
    want(all(key in known or key.lower().startswith("x_") for key in meta), "has no fields but those of the spec, and x_")


# ------------------------------------------------------------------ Debian

def check_debian(verdict: Verdict) -> None:
    """For the versions that it names, debian/control is debian/control.in."""
    control, template = read("debian/control"), read("debian/control.in")
    versions = re.findall(r"^Package: postgresql-(\d+)-syncstate$", control, re.M)
    source, _, package = template.partition("\n\n")
    expected = "\n\n".join([source.strip(), *(package.strip().replace("PGVERSION", version) for version in versions)])
    verdict.check(bool(versions) and control.strip() == expected,
                  "debian/control is not made of debian/control.in: pg_buildext updatecontrol")
    least = first(r"^(\d+)\+$", read("debian/pgversions"))
    verdict.check(least == first(r"PG_VERSION_NUM < (\d\d)0000\n#error", read("src/compat.h")),
                  f"debian/pgversions begins with {least}, but src/compat.h does not")


def check_licence(meta: dict, verdict: Verdict) -> None:
    def words(text: str) -> str:
        return " ".join(re.sub(r"^ \.$", "", text, flags=re.M).split())

    terms = read("LICENSE").split("\n\n", 2)[2]
    verdict.check(read("LICENSE").startswith("PostgreSQL License\n"), "LICENSE is not PostgreSQL's")
    verdict.check(words(terms) in words(read("debian/copyright").split("\nLicense: PostgreSQL\n")[-1]),
                  "debian/copyright has other terms than LICENSE")
    verdict.check(meta.get("license") == "postgresql", "META.json has another licence than LICENSE")
    comment = first(r"^comment = '(.*)'", read("syncstate.control"))
    verdict.check(meta.get("abstract", "").lower() == comment.lower(), "META.json has another abstract than the control file's comment")


def main() -> int:
    verdict = Verdict()
    version = first(r"^default_version *= *'([^']*)'", read("syncstate.control"))
    meta = json.loads(read("META.json"))
    check_versions(version, meta, verdict)
    check_changelog(verdict)
    check_meta(meta, verdict)
    check_debian(verdict)
    check_licence(meta, verdict)
    return verdict.end()


if __name__ == "__main__":
    sys.exit(main())
