#!/usr/bin/python3
"""Builds what others install, and tests what is in it.

    script/sandbox test/packages/packages.py [debian | pgxn | image]...

- debian: the package, built from a private copy of the tree as debian/rules says, which
  runs regression and isolation tests on a throwaway cluster that has the files of the
  package.  Then the .deb itself: its version, dependencies, owners and files; lintian
  finds no error; and, unpacked, it passes the regression tests.
- pgxn: the archive for PGXN, by its client: installed from it into a directory, and the
  regression and isolation tests on a throwaway cluster that has that ("pgxn check").
- image: the Dockerfile, as far as that can be told without its base image.

Nothing is installed on the machine, and no network is needed.  What a step prints is in
SYNCSTATE_LOG.  The last line is "N passed, M failed".
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LOG = Path(os.environ.get("SYNCSTATE_LOG", tempfile.gettempdir()))
PG_CONFIG = os.environ.get("PG_CONFIG", "pg_config")
META = json.loads(Path("META.json").read_text(encoding="utf-8"))
VERSION = re.search(r"^default_version *= *'(.*)'", Path("syncstate.control").read_text(encoding="utf-8"), re.M)[1]
SUITES = {"regress": len(glob.glob("test/sql/*.sql")), "isolation": len(glob.glob("test/isolation/specs/*.spec"))}

passed = failed = 0


def check(right: bool, what: str, hint: str = "") -> bool:
    global passed, failed
    if right:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}{': ' + hint if hint else ''}")
    return bool(right)


def asked(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def pg(option: str) -> str:
    return asked(PG_CONFIG, "--" + option)


def major() -> str:
    return re.match(r"PostgreSQL (\d+)", pg("version"))[1]


def outside() -> dict[str, str]:
    """The environment without the sandbox's own server: each step makes one."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("PG", "MAKE")) and name != "MFLAGS"}


def run(name: str, command: list[str], cwd: Path, **extra: str) -> str:
    """Runs a step, and counts whether it succeeded; returns what it printed."""
    with open(LOG / f"packages-{name}", "w+", encoding="utf-8") as log:
        status = subprocess.run(command, cwd=cwd, env={**outside(), **extra}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                check=False).returncode
        log.seek(0)
        output = log.read()
    if not check(status == 0, f"{name}: {shlex.join(command)}: status {status}"):
        print("\n".join(output.splitlines()[-40:]))
    return output


def count_tests(name: str, output: str, suites: list[str]) -> None:
    """As pg_regress sums them up; from 16 on with "# "."""
    global passed, failed
    summaries = re.findall(r"^[# ]*(?:All (\d+) tests? passed|(\d+) of (\d+) tests? failed)", output, re.M)
    ran = [int(all_of or of) for all_of, _, of in summaries]
    check(sorted(ran) == sorted(SUITES[suite] for suite in suites), f"{name}: ran {ran}, not {suites} of {SUITES}")
    failures = sum(int(some or 0) for _, some, _ in summaries)
    passed, failed = passed + sum(ran) - failures, failed + failures


def on_cluster_with(stage: Path, command: list[str]) -> list[str]:
    """A command beside a throwaway cluster that finds the extension under a directory."""
    share = stage / pg("sharedir").lstrip("/")
    if int(major()) >= 18:
        found = f"extension_control_path={share}:$system"
    else:
        found = f"extension_destdir={stage}"        # Debian's own setting
    return ["pg_virtualenv", "-t", "-v", major(), "-o", found,
            "-o", f"dynamic_library_path={stage / pg('pkglibdir').lstrip('/')}:$libdir", *command]


def copy_tree(to: Path) -> Path:
    to.mkdir(parents=True)
    subprocess.run(["script/copy-tree", str(to)], check=True)
    return to


def files_of_extension() -> set[str]:
    """Where a package must have put them."""
    extension = pg("sharedir") + "/extension/"
    return {pg("pkglibdir") + "/syncstate.so", extension + "syncstate.control",
            *(extension + os.path.basename(script) for script in glob.glob("sql/*.sql"))}


# ------------------------------------------------------------------ Debian

def debian(work: Path) -> None:
    tree = copy_tree(work / "debian" / f"postgresql-syncstate-{VERSION}")
    if f"postgresql-{major()}-syncstate" not in (tree / "debian/control").read_text(encoding="utf-8"):
        # Another release of Debian than the one that debian/control was last made on.
        run("deb-control", ["pg_buildext", "updatecontrol"], tree)
    output = run("deb-build", ["dpkg-buildpackage", "-us", "-uc", "-b"], tree,
                 DEB_BUILD_OPTIONS=f"parallel={os.cpu_count()}", MAKEFLAGS=f"-j{os.cpu_count()}")
    count_tests("deb-build", output, ["regress", "isolation"])

    package = f"postgresql-{major()}-syncstate"
    debs = sorted((work / "debian").glob(f"{package}_*.deb"))
    if not check(len(debs) == 1, f"one {package}", str(debs)):
        return
    deb = str(debs[0])
    version, depends = asked("dpkg-deb", "-f", deb, "Version"), asked("dpkg-deb", "-f", deb, "Depends")
    needed = {re.split(r"[ :(]", each.strip())[0] for each in depends.split(",")}
    check(version.rpartition("-")[0] == VERSION, f"{package} has version {VERSION}", version)
    check({f"postgresql-{major()}", "libc6"} <= needed, "it depends on the server and the C library", depends)
    check(not any("xxhash" in name for name in needed), "xxHash is inlined: it depends on no library for it", depends)

    listing = [line.split(maxsplit=5) for line in asked("dpkg-deb", "-c", deb).splitlines()]
    files = {entry[5].lstrip(".") for entry in listing if entry[0].startswith("-")}
    check(all(entry[1] == "root/root" for entry in listing), "all its files are root's")
    check(files_of_extension() <= files, "it has the library, the control file and each script", str(files_of_extension() - files))
    documents = f"/usr/share/doc/{package}/"
    check({documents + name for name in ("copyright", "changelog.Debian.gz", "changelog.gz")} <= files,
          "it has its copyright and changelogs", str(files))
    examples = {f"{documents}examples/{name}" for name in ("demo/run.py", "api.sql", "monitoring/queries.yaml")}
    check(examples <= {name.removesuffix(".gz") for name in files}, "it has the examples", str(examples - files))
    strangers = {name for name in files - files_of_extension()
                 if not name.startswith((documents, pg("pkglibdir") + "/bitcode/"))}
    check(not strangers, "it has nothing else, but for documents and bitcode", str(strangers))

    found = run("deb-lintian", ["lintian", "--fail-on", "error", "--info", "--allow-root",
                                *map(str, (work / "debian").glob("*.changes"))], tree)
    for line in re.findall(r"^[EW]: .*$", found, re.M):
        print(f"lintian: {line}")

    stage = work / "unpacked"
    subprocess.run(["dpkg-deb", "-x", deb, str(stage)], check=True)
    output = run("deb-installcheck",
                 on_cluster_with(stage, ["make", "-s", f"PG_CONFIG={PG_CONFIG}", "installcheck", "ISOLATION="]), tree)
    count_tests("deb-installcheck", output, ["regress"])


# -------------------------------------------------------------------- PGXN

def pgxn(work: Path) -> None:
    name = f"{META['name']}-{META['version']}"
    tree = copy_tree(work / "pgxn" / name)
    archive = tree.with_suffix(tree.suffix + ".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(tree.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                file.write(path, path.relative_to(tree.parent))
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
    check(all(each.startswith(name + "/") for each in names), f"all of the archive is in {name}/")
    wanted = {"META.json", "Makefile", "README.md", "LICENSE", "syncstate.control",
              *(provided[part] for provided in META["provides"].values() for part in ("file", "docfile"))}
    check({f"{name}/{each}" for each in wanted} <= names, "it has what META.json names", str(wanted))

    stage = work / "pgxn" / "stage"
    # Bitcode is for servers that inline; a test has no use for it.
    flags = f"-j{os.cpu_count()} -- with_llvm=no DESTDIR={stage}"
    # It wants to be somebody who may write where the server is; here nobody needs to.
    run("pgxn-install", ["pgxn", "install", "--sudo", "env", "--pg_config", PG_CONFIG, str(archive)], work, MAKEFLAGS=flags)
    installed = {"/" + str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file()}
    check(files_of_extension() <= installed, "it installs the library, the control file and each script",
          str(files_of_extension() - installed))
    output = run("pgxn-check", on_cluster_with(stage, ["pgxn", "check", "--pg_config", PG_CONFIG, str(archive)]), work)
    count_tests("pgxn-check", output, ["regress", "isolation"])


# ------------------------------------------------------------------- image

INSTRUCTIONS = {"ARG", "FROM", "COPY", "RUN"}


def instructions(text: str) -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines.splitlines() if line.strip())]


def packages_of(command: str, action: str) -> set[str]:
    """The packages that a line installs or removes with apt-get."""
    return {word for each in re.findall(rf"apt-get {action} ([^&]*)", command)
            for word in each.split() if not word.startswith("-")}


def image(_: Path) -> None:
    steps = instructions(Path("Dockerfile").read_text(encoding="utf-8"))
    words = [word for word, _ in steps]
    check(set(words) <= INSTRUCTIONS, "the Dockerfile has no other instructions", str(words))
    check(words[:3] == ["ARG", "FROM", "ARG"] and steps[1][1] == "postgres:$PG_MAJOR" and
          steps[0][1].startswith("PG_MAJOR=") and steps[2][1] == "PG_MAJOR",
          "PG_MAJOR is an argument of the base image, and of what follows", str(steps[:3]))
    check(steps[0][1].partition("=")[2] in re.findall(r"^\| (\d+) \| Debian", Path("README.md").read_text(encoding="utf-8"), re.M),
          "PostgreSQL is one of the supported versions", steps[0][1])
    for word, rest in steps:
        if word == "RUN":
            check(subprocess.run(["sh", "-n", "-c", rest], check=False).returncode == 0, "the shell can read it", rest)
            installed, removed = packages_of(rest, "install"), packages_of(rest, "remove")
            check(installed == removed and bool(installed), "what it installs to build, it removes", str(installed ^ removed))
            for package in installed:
                name = package.replace("$PG_MAJOR", major())
                check(asked("apt-cache", "pkgnames", name).split().count(name) == 1, f"Debian has {name}")

    # What .dockerignore lets through is enough to build, and has what the image copies.
    kept = [line[1:] for line in Path(".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")]
    for path in kept:
        check(os.path.exists(path), f".dockerignore: {path} exists")
    run_steps = " ".join(rest for word, rest in steps if word == "RUN")
    for path in re.findall(r"/tmp/syncstate/(\S+)", run_steps):
        check(path in kept, f".dockerignore lets {path} through")
    check({"Makefile", "src", "sql", "syncstate.control"} <= set(kept), ".dockerignore lets the sources through", str(kept))


def main() -> int:
    parts = {"debian": debian, "pgxn": pgxn, "image": image}
    with tempfile.TemporaryDirectory() as work:
        for name in sys.argv[1:] or parts:
            before = passed + failed
            parts[name](Path(work))
            print(f"{name}: {passed + failed - before} tests")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
