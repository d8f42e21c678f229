"""A server of a test's own, which may be killed: made in a temporary directory,
reached by a Unix socket in it, gone with the test.

It finds the extension by the lines in the file SYNCSTATE_CONF; PG_CONFIG says of
which version it is.  Its log is kept in the directory SYNCSTATE_LOG, if there is
one.  The test is its parent, and so sees the end of a postmaster at once; of the
postmaster's orphans it sees it by the next one's refusal to start.
"""

import atexit
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import psycopg2

# No test waits longer than this for the server; none waits that long unless something is broken.
PATIENCE = 120
USER = "postgres"


class Server:
    """initdb: more of its arguments; environment: more of it.  Both are functions of the directory."""

    def __init__(self, name, settings, initdb=None, environment=None):
        self.root = os.path.realpath(tempfile.mkdtemp(prefix=name + "."))
        self.data = os.path.join(self.root, "data")
        self.log = os.path.join(os.environ.get("SYNCSTATE_LOG") or self.root, name + "-server")
        self.process = None
        atexit.register(self.destroy)
        self.environment = dict(os.environ, **(environment(self.root) if environment else {}))
        pg_config = os.environ.get("PG_CONFIG", "pg_config")
        self.bindir = subprocess.run([pg_config, "--bindir"], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run([os.path.join(self.bindir, "initdb"), "-D", self.data, "-U", USER, "-A", "trust", "--no-sync",
                        "-E", "UTF8", "--no-locale", *(initdb(self.root) if initdb else ())], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write("listen_addresses = ''\nunix_socket_directories = '%s'\n" % self.root)
            if os.environ.get("SYNCSTATE_CONF"):
                with open(os.environ["SYNCSTATE_CONF"], encoding="utf-8") as more:
                    conf.write(more.read())
            conf.write(settings)

    def connect(self, dbname="postgres", **parameters):
        connection = psycopg2.connect(host=self.root, user=USER, dbname=dbname, **parameters)
        connection.autocommit = True
        return connection

    def start(self):
        """Starts the server, again and again while a killed one's children keep it from starting."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with open(self.log, "a", encoding="utf-8") as log:
                # A session of its own: what is typed at the terminal is for the test.
                self.process = subprocess.Popen([os.path.join(self.bindir, "postgres"), "-D", self.data],
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                env=self.environment, start_new_session=True)
            if self.accepts(deadline):
                return
            time.sleep(0.05)
        raise TimeoutError("the server does not start; see " + self.log)

    def accepts(self, deadline):
        """Waits for a connection; false if the server ends before there is one."""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            try:
                self.connect().close()
                return True
            except psycopg2.OperationalError:
                time.sleep(0.01)
        return False

    def running(self):
        return self.process.poll() is None

    def children(self):
        """The process ids of the postmaster's children."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as stat:
                    # The name may contain anything; what follows its last parenthesis does not.
                    parent = int(stat.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == self.process.pid:
                found.append(int(entry))
        return found

    def kill(self, with_children=False):
        """kill -9 of the postmaster; its children notice and end by themselves, or die with it."""
        victims = self.children() if with_children else []
        self.process.kill()
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def log_size(self):
        return os.path.getsize(self.log)

    def read_log(self, since=0):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            log.seek(since)
            return log.read()

    def wait_until_reinitialized(self, since):
        """After the death of a backend: no connection is the old server's any more, new ones are accepted."""
        deadline = time.monotonic() + PATIENCE
        while not re.search("all server processes terminated; reinitializing", self.read_log(since)):
            if time.monotonic() > deadline or not self.running():
                raise TimeoutError("the server does not come back; see " + self.log)
            time.sleep(0.01)
        if not self.accepts(deadline):
            raise TimeoutError("the server does not come back; see " + self.log)

    def destroy(self):
        """Stops the server and removes what it has left."""
        if self.process is not None and self.running():
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill(with_children=True)
        self.process = None
        shutil.rmtree(self.root, ignore_errors=True)
