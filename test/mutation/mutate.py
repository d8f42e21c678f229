#!/usr/bin/python3
"""Breaks the extension in small ways and sees whether the tests notice.

    mutate.py [--check] [--list] [NAME | AREA | PATTERN]...

Each mutant of the files in mutants/ is one sensible mistake: a lock that is not
taken, a comparison turned round, a NULL that is not thought of.  It is made in
this copy of the tree, built, installed beside the running server and handed to
the tests that concern it, until one fails.  What a test lets pass that should not
be, no test of the project would notice.

A test must have passed without a mutant before it is run with one.  And a test
that fails with a mutant is run again without it: only if it passes then, the
mutant was the reason and counts as caught, be it by a wrong answer, by a crash or
by never coming to an end.  A file of pgTAP is broken off at its first failure;
being of one session, where nothing is left to chance, it is run again once in the
end, for all that it has caught.

A file of mutants is an area; the format:

    tests: KIND NAME...; KIND NAME...     those that concern what follows
    == NAME: FILE
    What breaks, in a sentence.
    survives: why no test can notice, if that is so
     a line of the old text and the new
    -a line of the old text
    +a line of the new text

The old text must occur exactly once in the file, or the list has gone stale,
which is an error, whatever was asked for; --check looks for just that, and needs
no server.

Kinds: regress, isolation, pgtap, tap (names as the files are called, with * and
?), model (name:argument...), input (argument:argument...), lint.

Most mutants are caught by one test of many: --after takes what earlier runs have
printed, and each test that caught a mutant then is the first that it gets now.

script/sandbox gives the server.  The last line is
"mutants: N caught, N survived, N survive for a reason".  Exits with 0 if at least
95 of 100 were caught, and all others have a reason or are named.
"""

import argparse
import fnmatch
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DATABASE = "syncstate_mutation"
SHARE = 0.95

# A test that takes so much longer than without a mutant does not end.
SLOWER, GRACE = 6, 20
# What the tests of one mutant may take, when none of them notices.
LONGEST = 120

HANGS, CRASHES = "does not end", "the server crashed"

FILES = {"regress": "test/sql/%s.sql", "isolation": "test/isolation/specs/%s.spec",
         "pgtap": "test/pgtap/%s.sql", "tap": "test/t/%s.pl"}


class Stale(Exception):
    pass


class Mutant:
    def __init__(self, area, name, file, tests):
        self.area, self.name, self.file, self.tests = area, name, file, tests
        self.sentence, self.survives = "", ""
        self.old, self.new = [], []

    def apply(self, text):
        """The text with the mistake in it."""
        old = "".join(line + "\n" for line in self.old)
        found = ("\n" + text).count("\n" + old)
        if not self.old or found != 1:
            raise Stale("%s: the old text occurs %d times in %s" % (self.name, found, self.file))
        at = ("\n" + text).index("\n" + old)
        return text[:at] + "".join(line + "\n" for line in self.new) + text[at + len(old):]


def read_tests(line, where):
    """The tests that a line names, as (kind, name)."""
    tests = []
    for group in line.split(";"):
        kind, *patterns = group.split()
        for pattern in patterns or [""]:
            if kind not in FILES:
                tests.append((kind, pattern))
                continue
            names = sorted(re.sub(r"^.*/|\.\w+$", "", path)
                           for path in glob.glob(os.path.join(ROOT, FILES[kind] % pattern)))
            if not names:
                raise Stale("%s: there is no %s test %s" % (where, kind, pattern))
            tests += [(kind, name) for name in names]
    return tests


def read_mutants(path):
    area = os.path.basename(path)
    mutants, tests, mutant = [], [], None
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("tests: "):
                tests, mutant = read_tests(line[len("tests: "):], area), None
            elif line.startswith("== "):
                name, file = line[len("== "):].split(": ")
                mutant = Mutant(area, name, file, tests)
                mutants.append(mutant)
            elif mutant is None or not line:
                continue
            elif line[0] in " -+":
                if line[0] != "+":
                    mutant.old.append(line[1:])
                if line[0] != "-":
                    mutant.new.append(line[1:])
            elif line.startswith("survives: ") or mutant.survives:
                mutant.survives = (mutant.survives + " " + re.sub("^survives: ", "", line)).strip()
            else:
                mutant.sentence = (mutant.sentence + " " + line).strip()
    return mutants


def read_all():
    """All mutants, after a look at whether they still fit the files."""
    mutants = [m for path in sorted(glob.glob(os.path.join(HERE, "mutants", "*"))) for m in read_mutants(path)]
    wrong, seen = [], set()
    for mutant in mutants:
        try:
            with open(os.path.join(ROOT, mutant.file), encoding="utf-8") as file:
                text = file.read()
            if mutant.apply(text) == text:
                raise Stale("%s: changes nothing" % mutant.name)
            if mutant.name in seen or not mutant.tests or not mutant.sentence:
                raise Stale("%s: is there twice, or without tests, or does not say what breaks" % mutant.name)
        except (Stale, OSError) as e:
            wrong.append(str(e))
        seen.add(mutant.name)
    if wrong:
        raise Stale("\n".join(wrong))
    return mutants


class Tree:
    """This copy of the tree, and the installation that the server looks into."""

    FILES = ("src", "sql", "syncstate.so")

    def __init__(self):
        self.pristine = os.path.join(os.environ["SYNCSTATE_ROOT"], "pristine")
        self.libraries = os.environ["SYNCSTATE_STAGE"] + self.pg_config("--pkglibdir")
        self.scripts = os.path.join(os.environ["SYNCSTATE_STAGE"] + self.pg_config("--sharedir"), "extension")
        self.changed = False
        os.makedirs(self.pristine)
        for name in self.files():
            os.makedirs(os.path.dirname(os.path.join(self.pristine, name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(self.pristine, name))

    def files(self):
        for name in self.FILES:
            path = os.path.join(ROOT, name)
            if os.path.isdir(path):
                yield from sorted(os.path.join(name, entry) for entry in os.listdir(path))
            else:
                yield name

    @staticmethod
    def pg_config(option):
        return subprocess.run([os.environ["PG_CONFIG"], option], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    def build(self, mutant):
        """Only what the mutant's file is part of is compiled; once made, it stays until restored."""
        if self.changed:
            return
        path = os.path.join(ROOT, mutant.file)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.changed = True
        with open(path, "w", encoding="utf-8") as file:
            file.write(mutant.apply(text))
        made = subprocess.run(["make", "-s", "-j2", "PG_CONFIG=" + os.environ["PG_CONFIG"], "with_llvm=no", "all"],
                              cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if made.returncode != 0:
            raise Stale("it cannot be built: %s" % made.stdout)
        self.install("syncstate.so" if mutant.file.startswith("src/") else mutant.file)

    def restore(self):
        """Times of files as they were, so that nothing is compiled again."""
        for name in self.files() if self.changed else []:
            ours, theirs = os.path.join(ROOT, name), os.path.join(self.pristine, name)
            if os.stat(ours).st_mtime_ns != os.stat(theirs).st_mtime_ns:
                shutil.copy2(theirs, ours)
                if name == "syncstate.so" or name.startswith("sql/"):
                    self.install(name)
        self.changed = False

    def install(self, name):
        """Replaces a file, and never writes into it: backends have the library mapped."""
        installed = os.path.join(self.scripts if name.endswith(".sql") else self.libraries, os.path.basename(name))
        shutil.copy(os.path.join(ROOT, name), installed + ".new")
        os.rename(installed + ".new", installed)


def psql(sql, database="postgres"):
    """Whatever hangs is no answer, either."""
    return subprocess.run(["timeout", "60", "psql", "-X", "-q", "-At", "-d", database, "-c", sql], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def wait_for_server():
    """After a crash it comes back by itself."""
    for _ in range(600):
        if psql("SELECT 1").returncode == 0:
            return
        time.sleep(0.1)
    sys.exit("the server does not come back")


def make_database():
    wait_for_server()
    psql("DROP DATABASE IF EXISTS %s WITH (FORCE)" % DATABASE)
    psql("CREATE DATABASE %s" % DATABASE)
    if psql("CREATE EXTENSION pgtap", DATABASE).returncode != 0:
        sys.exit("there is no pgTAP")


def clear_up():
    """What a test that broke off has left in the cluster, for the next one to trip over."""
    wait_for_server()
    psql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
         " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
    left = psql("SELECT database || ' ' || gid FROM pg_prepared_xacts")
    for line in left.stdout.splitlines():
        database, gid = line.split(" ", 1)
        psql("ROLLBACK PREPARED '%s'" % gid.replace("'", "''"), database)


def end_servers_of_tests():
    """Servers that a test of prove could not end itself."""
    for path in glob.glob(os.path.join(ROOT, "tmp_check", "*", "pgdata", "postmaster.pid")):
        with open(path, encoding="utf-8") as file:
            pid = int(file.readline())
        try:
            os.kill(pid, signal.SIGQUIT)
        except ProcessLookupError:
            pass


def end_what_hangs(process):
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
            break
        except subprocess.TimeoutExpired:
            pass
    end_servers_of_tests()
    hung = psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
    for pid in hung.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    wait_for_server()


def command(kind, names):
    make = ["make", "-s", "installcheck", "PG_CONFIG=" + os.environ["PG_CONFIG"]]
    if kind == "regress":
        return make + ["ISOLATION=", "REGRESS=" + " ".join(names)]
    if kind == "isolation":
        return make + ["REGRESS=", "ISOLATION=" + " ".join(names)]
    if kind == "pgtap":
        return ["pg_prove", "--nocolor", "-d", DATABASE] + [FILES[kind] % name for name in names]
    if kind == "tap":
        return make + ["REGRESS=", "ISOLATION=", "PROVE_FLAGS=--nocolor",
                       "PROVE_TESTS=" + " ".join(FILES[kind] % name for name in names)]
    if kind == "model":
        name, *arguments = names[0].split(":")
        return ["test/model/%s.py" % name] + [part for argument in arguments for part in argument.split("=")]
    if kind == "input":
        return ["test/input/input.py"] + [part for argument in names[0].split(":") for part in argument.split("=")]
    if kind == "lint":
        return ["test/lint/scripts.py"]
    raise Stale("there is no kind of test %s" % kind)


def what_failed(output):
    """The line of a runner that says it best."""
    for pattern in (r"^(?:not ok \d+|# *Failed test).*", r"^test \S+ +\.\.\. FAILED.*", r"^.*\.py --seed.*",
                    r"server closed the connection.*", r"^\S+: .*(?:ERROR|FATAL):.*", r".*ERROR: .*", r".*No plan found.*"):
        found = re.search(pattern, output, re.MULTILINE)
        if found:
            return re.sub(r"\s+", " ", found.group(0)).strip()[:150]
    return ""


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Unit:
    """What is run at once: a file of pgTAP, or all that is named of another runner."""

    def __init__(self, kind, names):
        self.kind, self.names = kind, names
        self.label = "%s %s" % (kind, " ".join(names))
        self.normal = None
        self.caught = []            # mutants, since it was last run without one

    def learn(self):
        """Does it pass without a mutant, and how long does that take?"""
        good, how = self.run()
        if not good:
            raise Stale("without a mutant, %s fails: %s" % (self.label, how))
        self.normal = self.last
        self.caught = []

    def run(self):
        """(passed, how it failed)"""
        limit = LONGEST * 3 if self.normal is None else min(GRACE + SLOWER * self.normal, max(LONGEST, 2 * self.normal))
        environment = dict(os.environ, PGOPTIONS="-c client_min_messages=warning") if self.kind == "pgtap" else None
        start = time.monotonic()
        log = os.path.join(os.environ["SYNCSTATE_LOG"], "last")
        with open(log, "w", encoding="utf-8") as output, \
                subprocess.Popen(command(self.kind, self.names), cwd=ROOT, env=environment,
                                 stdout=output, stderr=subprocess.STDOUT, start_new_session=True) as process:
            while process.poll() is None:
                if time.monotonic() > start + limit:
                    end_what_hangs(process)
                    return False, HANGS
                if self.kind == "pgtap" and "# Failed test" in read(log):
                    os.killpg(process.pid, signal.SIGTERM)
                    break
                time.sleep(0.05)
        if process.returncode == 0:
            self.last = time.monotonic() - start
            return True, ""
        if psql("SELECT 1").returncode != 0:
            wait_for_server()
            return False, CRASHES
        return False, what_failed(read(log))


class Units:
    """Units are shared by the mutants that they concern."""

    def __init__(self):
        self.units = {}

    def of(self, tests):
        result = []
        for kind in dict.fromkeys(kind for kind, _ in tests):
            names = [name for k, name in tests if k == kind]
            groups = [names] if kind in ("regress", "isolation") else [[name] for name in names]
            for group in groups:
                result.append(self.units.setdefault((kind, *group), Unit(kind, group)))
        return result


def catch(mutant, tree, units):
    """Which unit notices, and how; None: none."""
    try:
        for unit in units:
            if unit.normal is None:
                tree.restore()
                unit.learn()
            tree.build(mutant)
            good, how = unit.run()
            if good:
                continue
            tree.restore()
            clear_up()
            if how in (HANGS, CRASHES):
                make_database()
            unit.caught.append(mutant)
            if unit.kind != "pgtap" or how in (HANGS, CRASHES):
                unit.learn()
            return unit.label if unit.kind != "isolation" else "isolation", how
        together = sum(unit.normal for unit in units)
        if together > LONGEST:
            print("          the tests of %s take %.0f s together" % (mutant.name, together), flush=True)
        return None
    finally:
        tree.restore()


def read_reports(paths):
    """What caught each mutant in earlier runs."""
    caught = {}
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                found = re.match(r"caught +(\S+) +\S+ s  (isolation|[^:]+(?::-[^ ]*)?): ", line)
                if found:
                    caught[found.group(1)] = found.group(2)
    return caught


def likeliest_first(units, label):
    return sorted(units, key=lambda unit: label not in (unit.label, unit.kind))


def report(mutant, caught, seconds):
    if caught:
        print("caught    %-36s %5.1f s  %s: %s" % (mutant.name, seconds, *caught), flush=True)
        if mutant.survives:
            print("          (it was said to survive: %s)" % mutant.survives, flush=True)
    else:
        print("SURVIVED  %-36s %5.1f s  %s" % (mutant.name, seconds, mutant.survives or mutant.sentence), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="only whether the list still fits")
    parser.add_argument("--list", action="store_true", help="only what there is")
    parser.add_argument("--after", action="append", default=[], metavar="FILE", help="the report of an earlier run")
    parser.add_argument("--kinds", help="only tests of these kinds, separated by commas: for a quick look")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no mutant later than that")
    parser.add_argument("--part", default="0/1", help="K/N: of those chosen, each N-th from the K-th on")
    parser.add_argument("chosen", nargs="*", help="names, areas or patterns of names; none: all")
    arguments = parser.parse_args()

    mutants = read_all()
    if arguments.chosen:
        mutants = [m for m in mutants
                   if any(m.area == c or fnmatch.fnmatchcase(m.name, c) for c in arguments.chosen)]
    part, parts = map(int, arguments.part.split("/"))
    mutants = mutants[part::parts]
    if arguments.kinds:
        for mutant in mutants:
            mutant.tests = [test for test in mutant.tests if test[0] in arguments.kinds.split(",")]
    if not mutants:
        raise Stale("no mutant is called that")
    if arguments.check or arguments.list:
        for mutant in mutants if arguments.list else []:
            print("%-12s %-36s %s" % (mutant.area, mutant.name, mutant.sentence))
        print("%d mutants" % len(mutants))
        return 0

    start = time.monotonic()
    tree, units = Tree(), Units()
    make_database()
    caught_before = read_reports(arguments.after)
    caught, survived, errors = 0, [], []
    tried = 0
    for mutant in mutants:
        begin = time.monotonic()
        if begin > start + 60 * arguments.minutes:
            break
        tried += 1
        try:
            how = catch(mutant, tree, likeliest_first(units.of(mutant.tests), caught_before.get(mutant.name)))
        except Stale as e:
            print("ERROR     %s: %s" % (mutant.name, e), flush=True)
            errors.append(mutant)
            clear_up()
            make_database()
            continue
        report(mutant, how, time.monotonic() - begin)
        if how:
            caught += 1
        else:
            survived.append(mutant)
    for unit in [unit for unit in units.units.values() if unit.caught]:
        suspects = unit.caught
        try:
            unit.learn()
        except Stale as e:
            print("ERROR     %s: %s" % (" ".join(m.name for m in suspects), e), flush=True)
            errors += suspects
            caught -= len(suspects)
    expected = [m for m in survived if m.survives]
    print("%d of %d mutants in %.0f s: %.1f %% caught"
          % (tried, len(mutants), time.monotonic() - start, 100 * caught / max(tried, 1)))
    print("mutants: %d caught, %d survived, %d survive for a reason%s"
          % (caught, len(survived) - len(expected), len(expected), ", %d failed" % len(errors) if errors else ""))
    return 0 if not errors and caught + len(expected) == tried and caught >= SHARE * tried else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Stale as stale:
        sys.exit(str(stale))
