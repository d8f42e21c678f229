"""What the functions of syncstate promise, in plain Python: no SQL, no server.

It is written from the documentation (README.md, doc/) and the comments of the
objects, so that a test may ask two who do not know of each other.  It owns the
rules only; what calls there are, and how an answer is compared, is the affair of
those who use it: histories.py, one session after the other, and linearisable.py,
several at once.

What nobody can know before the call is a symbol: the time of a call (Moment),
the token of a run (Token), a transaction id (Xid).  A symbol stands for one
value, which it takes from the first answer that shows it (match), and which
must be the same wherever the symbol comes up again.  So "one idea of now per
call" and "a lease counts from the start of the call" are checked to the
microsecond although the microsecond is not known.

Where the documentation leaves open what happens, and where a comparison of times
is too close to call, a rule chooses (Context.choose).  outcomes() then goes
through all that may happen.

All states are values that are never changed in place: a savepoint is a
reference, and a search may keep as many as it likes.
"""

import datetime
import json
from collections import namedtuple

SYNC_STATUSES = ("new", "modified", "conflict", "in_sync", "syncing", "failed")
CONFLICT_STATUSES = ("none", "detected", "resolved")

# The tables, column by column.
Row = namedtuple("Row", "type_key local_hash remote_hash last_synced_hash last_sync_at sync_status conflict_status"
                        " sync_progress created_at updated_at last_synced_remote_hash run_id run_number"
                        " lease_expires_at changed_xid")
Run = namedtuple("Run", "type_key run_number run_id owner backend_pid started_at finished_at outcome error"
                        " sync_progress content_moved local_hash remote_hash marked_local_hash marked_remote_hash")
Conflict = namedtuple("Conflict", "type_key conflict_number kind base_local_hash base_remote_hash local_hash"
                                  " remote_hash detected_at resolved_at resolution resolved_hash resolved_by")
Tombstone = namedtuple("Tombstone", "type_key changed_xid deleted_at")

# All that is known of a key.  author: number of the run that left the checkpoint in
# row.sync_progress; ANYBODY: a plain write has, so that it is left open.  started_by:
# who left the one that the latest run started from.
Entry = namedtuple("Entry", "row runs conflicts tombstone author started_by")
NOTHING = Entry(None, (), (), None, None, None)
ANYBODY = "anybody"

FIELDS = ("local_hash", "remote_hash", "last_synced_hash", "last_synced_remote_hash", "last_sync_at", "sync_status",
          "conflict_status", "sync_progress")
# What a checkpoint may change without the feed reporting it.
UNREPORTED = ("changed_xid", "sync_progress", "lease_expires_at", "updated_at")
# Before the first and after the last time that there is.
FOREVER = 10 ** 18
LONGEST_LEASE = 24 * 86400 * 10 ** 6


# ----------------------------------------------------------------------------
# Symbols
# ----------------------------------------------------------------------------

class Moment:
    """A time in microseconds, of which two bounds are known until an answer shows it."""
    __slots__ = ("low", "high", "value")

    def __init__(self, low, high):
        self.low, self.high, self.value = low, high, None

    def bind(self, value):
        return isinstance(value, int) and self.low <= value <= self.high

    def __repr__(self):
        return "a time from %d to %d" % (self.low, self.high) if self.value is None else "time %d" % self.value


class Token:
    """The id of a run: new, whatever else it is."""
    __slots__ = ("value", "known")

    def __init__(self, known):
        self.value, self.known = None, known

    def bind(self, value):
        return isinstance(value, str) and len(value) == 36 and value not in self.known

    def __repr__(self):
        return "a new run_id" if self.value is None else "run_id %s" % self.value


class Xid:
    """The id of the number-th transaction of the session: above that of the one before."""
    __slots__ = ("number", "value", "above")

    def __init__(self, number, above=0):
        self.number, self.value, self.above = number, None, above

    def bind(self, value):
        return isinstance(value, int) and value > self.above

    def __repr__(self):
        return "the xid of transaction %d" % self.number


# Microseconds after a moment.
Time = namedtuple("Time", "moment offset")


def low(time):
    if isinstance(time, int):
        return time
    return (time.moment.low if time.moment.value is None else time.moment.value) + time.offset


def high(time):
    if isinstance(time, int):
        return time
    return (time.moment.high if time.moment.value is None else time.moment.value) + time.offset


def shift(time, by):
    if time is None:
        return None
    return time + by if isinstance(time, int) else Time(time.moment, time.offset + by)


def match(expected, actual, trail):
    """Whether an answer is the expected one.  Symbols that it binds go to trail."""
    if isinstance(expected, Position):
        return isinstance(actual, str)
    if isinstance(expected, Time):
        if not isinstance(actual, int):
            return False
        expected, actual = expected.moment, actual - expected.offset
    if isinstance(expected, (Moment, Token, Xid)):
        if expected.value is None:
            if not expected.bind(actual):
                return False
            expected.value = actual
            trail.append(expected)
            return True
        return expected.value == actual
    if isinstance(expected, (tuple, list)):
        return (isinstance(actual, (tuple, list)) and len(expected) == len(actual)
                and all(match(e, a, trail) for e, a in zip(expected, actual)))
    return type(expected) is type(actual) and expected == actual


def fits(expected, actual):
    """match that binds nothing: a time is one that it can be, and any transaction id goes."""
    if isinstance(expected, Time):
        return isinstance(actual, int) and low(expected) <= actual <= high(expected)
    if isinstance(expected, Xid):
        return True
    if isinstance(expected, Token):
        return expected.value is not None and expected.value == actual
    if isinstance(expected, (tuple, list)):
        return (isinstance(actual, (tuple, list)) and len(expected) == len(actual)
                and all(fits(e, a) for e, a in zip(expected, actual)))
    return type(expected) is type(actual) and expected == actual


def unbind(trail):
    for symbol in trail:
        symbol.value = None


def plain(value):
    """A value as it can be shown."""
    if isinstance(value, Time):
        return plain(value.moment.value + value.offset) if value.moment.value is not None else "%r + %d" % value
    if isinstance(value, (Moment, Token, Xid)):
        return repr(value) if value.value is None else value.value
    if isinstance(value, (tuple, list)):
        return tuple(plain(v) for v in value)
    return value


# ----------------------------------------------------------------------------
# Deciding
# ----------------------------------------------------------------------------

def decide(local, remote, base_local, base_remote, synced):
    """The action and the detail: the first case that fits."""
    if not synced:
        if local is None and remote is None:
            return "INITIAL_SYNC", "empty"
        if remote is None:
            return "INITIAL_SYNC", "push"
        if local is None:
            return "INITIAL_SYNC", "pull"
        return "INITIAL_SYNC", "adopt" if local == remote else "conflict"
    local_moved, remote_moved = local != base_local, remote != base_remote
    if not local_moved and not remote_moved:
        return "NO_CHANGE", "unchanged"
    if local == remote:
        return "NO_CHANGE", "both_deleted" if local is None else "converged"
    if local_moved and remote_moved:
        return "CONFLICT", "edit/delete" if remote is None else "delete/edit" if local is None else "edit/edit"
    if local_moved:
        return "PUSH", "delete" if local is None else "create" if remote is None else "edit"
    return "PULL", "delete" if remote is None else "create" if local is None else "edit"


def decision(row):
    synced = row.last_sync_at is not None or row.last_synced_hash is not None or row.last_synced_remote_hash is not None
    return decide(row.local_hash, row.remote_hash, row.last_synced_hash, row.last_synced_remote_hash, synced)


def delta_of(row):
    return (row.type_key,) + decision(row) + (row.local_hash, row.remote_hash, row.last_synced_hash,
                                              row.last_synced_remote_hash)


def delta_json(row):
    return dict(zip(("type_key", "action", "detail", "local_hash", "remote_hash", "last_synced_hash",
                     "last_synced_remote_hash"), delta_of(row)))


def conflict_kind(row):
    """Under which a conflict on the hashes of the row is logged; None: they do not conflict."""
    action, detail = decision(row)
    if action == "CONFLICT":
        return detail
    return "create/create" if detail == "conflict" else None


def hashes_of(row):
    """As a conflict has them."""
    return row.last_synced_hash, row.last_synced_remote_hash, row.local_hash, row.remote_hash


def status_of(row):
    """The sync_status that the decision leads to."""
    action, detail = decision(row)
    if action == "NO_CHANGE" or detail == "adopt":
        return "in_sync"
    if action in ("PUSH", "PULL"):
        return "modified"
    return "conflict" if conflict_kind(row) else "new"


def bases_must_move(row):
    return decision(row)[1] in ("adopt", "converged", "both_deleted")


# ----------------------------------------------------------------------------
# A call
# ----------------------------------------------------------------------------

class Refused(Exception):
    """The call raises one of these SQLSTATEs and changes nothing."""

    def __init__(self, *sqlstates):
        super().__init__(*sqlstates)
        self.sqlstates = frozenset(sqlstates)


class Environment:
    """What surrounds a call: between which times it runs, in which transaction, and who calls."""

    def __init__(self, began, ended, xid=None, known_tokens=frozenset(), user=None, application_name=None, pid=None,
                 snapshot_xmin=None, default_lease=300 * 10 ** 6, notify="none", replica=False, run_number=None):
        self.began, self.ended, self.xid = began, ended, xid
        self.known_tokens = known_tokens
        self.user, self.application_name, self.pid = user, application_name, pid
        self.snapshot_xmin = snapshot_xmin
        self.default_lease, self.notify = default_lease, notify
        self.replica = replica
        # Of a run that was begun while others were calling, as it was told.
        self.run_number = run_number
        self.now = Time(Moment(began, ended), 0)
        # What is taken from the clock in the course of the call, and new runs: one symbol for each use of it.
        self.clocks, self.tokens = {}, {}

    def clock(self, use):
        if use not in self.clocks:
            self.clocks[use] = Time(Moment(self.began, self.ended), 0)
        return self.clocks[use]

    def token(self, type_key):
        if type_key not in self.tokens:
            self.tokens[type_key] = Token(self.known_tokens)
        return self.tokens[type_key]


# notified: what listeners will be told when the transaction commits, as (key, sync_status).
State = namedtuple("State", "entries pruned_xid notified", defaults=(0, frozenset()))


class Context:
    """One way in which a call may go: the state that it makes, and the choices on the way."""

    def __init__(self, state, env, script):
        self.entries = dict(state.entries)
        self.pruned_xid = state.pruned_xid
        self.notified = state.notified
        self.env = env
        self.now = env.now
        self.script = list(script)
        self.sizes = []

    def state(self):
        return State(self.entries, self.pruned_xid, self.notified)

    def choose(self, options):
        """One of several that are all allowed."""
        options = list(options)
        step = len(self.sizes)
        if step == len(self.script):
            self.script.append(0)
        self.sizes.append(len(options))
        return options[self.script[step]]

    # --- times ---

    def later(self, a, b):
        """Whether a is later than b."""
        if low(a) > high(b):
            return True
        if high(a) <= low(b):
            return False
        if isinstance(a, Time) and isinstance(b, Time) and a.moment is b.moment:
            return a.offset > b.offset
        return self.choose([True, False])

    def live(self, row):
        """Held: syncing, with a lease that ends after the start of the call."""
        return (row is not None and row.sync_status == "syncing" and row.lease_expires_at is not None
                and self.later(row.lease_expires_at, self.now))

    def stopped(self, row):
        """Interrupted, or failed: the next run goes on at the checkpoint."""
        return row.sync_status == "failed" or row.sync_status == "syncing" and not self.live(row)

    def notify(self, key, sync_status, reported=True):
        """Of what the feed reports, or of all writes; not of what replication applies."""
        if not self.env.replica and (self.env.notify == "all" or self.env.notify == "changes" and reported):
            self.notified |= {(key, sync_status)}

    # --- the tables ---

    def entry(self, key):
        return self.entries.get(key, NOTHING)

    def row(self, key):
        return self.entry(key).row

    def set(self, key, **changes):
        self.entries[key] = self.entry(key)._replace(**changes)

    def keys(self):
        return sorted(key for key, entry in self.entries.items() if entry.row is not None)

    def insert(self, key, given, restored):
        """INSERT: the trigger, the CHECKs.  restored: with a changed_xid of its own."""
        clock = self.env.clock(("insert", key))
        row = Row(key, *[None] * 14)._replace(created_at=clock, updated_at=self.env.clock(("inserted", key)), run_number=0)
        row = row._replace(**given)
        if not self.env.replica and not restored and row.last_sync_at is not None:
            if row.last_synced_hash is None:
                row = row._replace(last_synced_hash=row.local_hash)
            if row.last_synced_remote_hash is None:
                row = row._replace(last_synced_remote_hash=row.remote_hash)
        row = row._replace(changed_xid=self.env.xid)
        check_row(row)
        self.set(key, row=row, author=None if row.sync_progress is None else ANYBODY)
        self.notify(key, row.sync_status)
        return row

    def write(self, key, may_rest=True, author=None, **changes):
        """UPDATE: the trigger, the CHECKs.  changes: the SET list.  may_rest: it is left
        open whether a row that does not change is written, and so whether updated_at
        moves.  author: number of the run that leaves a checkpoint."""
        old = self.row(key)
        new = old._replace(**changes)
        if self.env.replica:
            if all(getattr(old, c) == getattr(new, c) for c in Row._fields if c not in UNREPORTED):
                new = new._replace(changed_xid=self.choose([self.env.xid, old.changed_xid]))
            else:
                new = new._replace(changed_xid=self.env.xid)
        else:
            new = new._replace(created_at=old.created_at)
            if new.last_sync_at is not None and (old.last_sync_at is None or self.later(new.last_sync_at, old.last_sync_at)):
                if "last_synced_hash" not in changes:
                    new = new._replace(last_synced_hash=new.local_hash)
                if "last_synced_remote_hash" not in changes:
                    new = new._replace(last_synced_remote_hash=new.remote_hash)
            if old.sync_status == "syncing" and new.sync_status != "syncing":
                new = new._replace(run_id=None, lease_expires_at=None)
            same = all(getattr(old, c) == getattr(new, c) for c in Row._fields if c not in UNREPORTED)
            new = new._replace(changed_xid=old.changed_xid if same else self.env.xid)
            unchanged = new._replace(updated_at=old.updated_at) == old
            if unchanged and may_rest and self.choose([False, True]):
                return old
            new = new._replace(updated_at=self.grown(old.updated_at, key))
            self.notify(key, new.sync_status, not same)
        check_row(new)
        if "sync_progress" in changes:
            self.set(key, author=self.author(key, old, new, author))
        self.set(key, row=new)
        return new

    def author(self, key, old, new, run_number):
        """Who left the checkpoint.  One that equals that from which its run started counts as that one."""
        if new.sync_progress is None:
            return None
        if run_number is None:
            return self.entry(key).author if new.sync_progress == old.sync_progress else ANYBODY
        started_from = [r.sync_progress for r in self.entry(key).runs if r.run_number == run_number]
        return self.entry(key).started_by if new.sync_progress in started_from else run_number

    def grown(self, old, key):
        """The clock, or the next microsecond if the clock is not ahead."""
        clock = self.env.clock(("update", key))
        use = ("grown", key, old)
        if use not in self.env.clocks:
            self.env.clocks[use] = Time(Moment(max(low(clock), low(old) + 1), max(high(clock), high(old) + 1)), 0)
        return self.env.clocks[use]

    def delete(self, key):
        self.entries[key] = NOTHING._replace(
            tombstone=Tombstone(key, self.env.xid, self.env.clock(("delete", key))))
        self.notify(key, None)

    # --- history ---

    def finish_runs(self, key, outcome, run_id=None, error=None, marked=(None, None)):
        """Ends the run in hand; any other that is still open, because a plain write has revoked it, was superseded."""
        self.set(key, runs=tuple(r._replace(finished_at=self.now, **self.ending(r, run_id, outcome, error, marked))
                                 if r.outcome is None else r for r in self.entry(key).runs))

    def ending(self, run, run_id, outcome, error, marked):
        end = dict(outcome=outcome, error=error, marked_local_hash=marked[0], marked_remote_hash=marked[1])
        if run.run_id == run_id:
            return end
        superseded = dict(outcome="superseded")
        # Whether it is told of what somebody else has ended the work with is left open.
        return self.choose([superseded, end]) if outcome in ("failed", "rolled_back") else superseded

    def open_conflict(self, key):
        for conflict in self.entry(key).conflicts:
            if conflict.resolved_at is None:
                return conflict
        return None

    def close_conflict(self, key, resolution, resolved_hash=None):
        self.set(key, conflicts=tuple(
            c._replace(resolved_at=self.now, resolution=resolution, resolved_hash=resolved_hash, resolved_by=self.env.user)
            if c.resolved_at is None else c for c in self.entry(key).conflicts))

    def log_conflict(self, key, row):
        """Logs the conflict on the hashes of the row, unless it is the open one; closes another that is open."""
        found = hashes_of(row)
        open_one = self.open_conflict(key)
        if open_one is not None:
            if open_one[3:7] == found:
                return
            self.close_conflict(key, "vanished")
        conflicts = self.entry(key).conflicts
        number = max((c.conflict_number for c in conflicts), default=0) + 1
        conflict = Conflict(key, number, conflict_kind(row), *found, self.now, None, None, None, None)
        self.set(key, conflicts=conflicts + (conflict,))


def check_row(row):
    if (row.sync_status is not None and row.sync_status not in SYNC_STATUSES
            or row.conflict_status is not None and row.conflict_status not in CONFLICT_STATUSES
            or any(isinstance(t, int) and abs(t) >= FOREVER for t in (row.last_sync_at, row.created_at, row.updated_at))
            or row.run_id is not None and row.sync_status != "syncing"
            or not 1 <= len(row.type_key.encode()) <= 512):
        raise Refused("23514")


def outcomes(state, env, call, /, **arguments):
    """All that may come of a call: its answer or a Refused, and the state after it."""
    scripts = [[]]
    while scripts:
        script = scripts.pop()
        context = Context(state, env, script)
        try:
            answer, after = call(context, **arguments), context.state()
        except Refused as refused:
            answer, after = refused, state
        for step in range(len(script), len(context.sizes)):
            for option in range(1, context.sizes[step]):
                scripts.append(context.script[:step] + [option])
        yield answer, after


# ----------------------------------------------------------------------------
# Arguments
# ----------------------------------------------------------------------------

def need(**values):
    """Required arguments: a NULL is 22004."""
    if any(value is None for value in values.values()):
        raise Refused("22004")


def need_key(key):
    need(type_key=key)
    if not 1 <= len(key.encode()) <= 512:
        raise Refused("22023")


INTERVALS = {"1 microsecond": 1, "1 second": 10 ** 6, "10 minutes": 600 * 10 ** 6, "1 hour": 3600 * 10 ** 6,
             "2 hours": 7200 * 10 ** 6, "1 day": 86400 * 10 ** 6, "24 days": LONGEST_LEASE, "25 days": 25 * 86400 * 10 ** 6,
             "0": 0, "-1 second": -10 ** 6, "1 mon": None}


def lease_time(context, lease):
    """How long a run holds its key: more than 0, at most 24 days, without months."""
    if lease is None:
        return context.env.default_lease
    length = INTERVALS[lease]
    if length is None or not 0 < length <= LONGEST_LEASE:
        raise Refused("22023")
    return length


def observed(key, stored, local_hash, remote_hash, local_absent, remote_absent):
    """The hashes that count: what was just seen, else what is stored."""
    need_key(key)
    refused = {"22004"} if local_absent is None or remote_absent is None else set()
    if local_hash is not None and local_absent or remote_hash is not None and remote_absent:
        refused.add("22023")
    if refused:
        raise Refused(*refused)
    return (None if local_absent else local_hash if local_hash is not None else stored and stored.local_hash,
            None if remote_absent else remote_hash if remote_hash is not None else stored and stored.remote_hash)


def unknown_row(key):
    return Row(key, *[None] * 14)


def listed(context, type_keys, local_hashes, remote_hashes, complete):
    """The keys of a listing with their hashes; what was not observed is as stored."""
    check_keys(type_keys, local_hashes, remote_hashes, required=(complete,))
    found = {}
    for n, key in enumerate(type_keys):
        row = context.row(key) or unknown_row(key)
        found[key] = (row.local_hash if local_hashes is None else local_hashes[n],
                      row.remote_hash if remote_hashes is None else remote_hashes[n])
    if complete:
        for key in context.keys():
            if key not in found:
                row = context.row(key)
                found[key] = (row.local_hash if local_hashes is None else None,
                              row.remote_hash if remote_hashes is None else None)
    return sorted(found.items())


def check_keys(type_keys, *arrays, required=()):
    refused = {"22004"} if type_keys is None or None in required else set()
    if type_keys is not None and (
            any(key is None or not 1 <= len(key.encode()) <= 512 for key in type_keys)
            or len(set(type_keys)) < len(type_keys)
            or any(array is not None and len(array) != len(type_keys) for array in arrays)):
        refused.add("22023")
    if refused:
        raise Refused(*refused)


# ----------------------------------------------------------------------------
# Deciding, reading
# ----------------------------------------------------------------------------

def sync_state_action(_context, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, synced=True):
    need(synced=synced)
    return [decide(local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, synced)[:1]]


def sync_state_detail(_context, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, synced=True):
    need(synced=synced)
    return [decide(local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, synced)[1:]]


def sync_state_delta(context, type_key, local_hash=None, remote_hash=None, local_absent=False, remote_absent=False):
    stored = context.row(type_key)
    local, remote = observed(type_key, stored, local_hash, remote_hash, local_absent, remote_absent)
    return [(delta_json((stored or unknown_row(type_key))._replace(local_hash=local, remote_hash=remote)),)]


def planned(row):
    return delta_of(row) + (row.sync_status, row.conflict_status, row.run_id, row.lease_expires_at)


def sync_state_plan(context, prefix=None):
    return [planned(context.row(key)) for key in context.keys() if key.startswith(prefix or "")]


def sync_state_plan_for(context, type_keys, local_hashes, remote_hashes, complete=False):
    return [planned((context.row(key) or unknown_row(key))._replace(local_hash=local, remote_hash=remote))
            for key, (local, remote) in listed(context, type_keys, local_hashes, remote_hashes, complete)]


def sync_state_get(context, type_key):
    need_key(type_key)
    return [context.row(type_key)] if context.row(type_key) else []


def sync_state_list(context, sync_status=None, prefix=None):
    return [context.row(key) for key in context.keys()
            if key.startswith(prefix or "") and sync_status in (None, context.row(key).sync_status)]


def sync_state_changed_since(context, since):
    need(since=since)
    return [(key,) for key in context.keys() if context.later(context.row(key).updated_at, since)]


def sync_state_compare(_context, before, after):
    refused = {"22004" if text is None else "22023" for text in (before, after) if text is None or text[0] != "{"}
    if refused:
        raise Refused(*refused)
    before, after = json.loads(before), json.loads(after)
    return [(field, json_text(before.get(field)), json_text(after.get(field)))
            for field in sorted(set(before) | set(after), key=str.encode)
            if field not in ("updated_at", "changed_xid") and before.get(field) != after.get(field)]


def json_text(value):
    return value if value is None or isinstance(value, str) else json.dumps(value)


# ----------------------------------------------------------------------------
# Recording
# ----------------------------------------------------------------------------

def sync_state_observe(context, type_key, local_hash=None, remote_hash=None, local_absent=False, remote_absent=False):
    local, remote = observed(type_key, context.row(type_key), local_hash, remote_hash, local_absent, remote_absent)
    observe(context, type_key, local, remote)
    return [(delta_json(context.row(type_key)),)]


def sync_state_observe_many(context, type_keys, local_hashes, remote_hashes, complete=False):
    return [(sum(observe(context, key, local, remote)
                 for key, (local, remote) in listed(context, type_keys, local_hashes, remote_hashes, complete)),)]


def observe(context, key, local, remote):
    """Records what was seen and derives the status; whether the row has changed."""
    old = context.row(key)
    new = (old or unknown_row(key))._replace(local_hash=local, remote_hash=remote)
    if old is not None and old.sync_status in ("syncing", "failed"):
        changes = dict(local_hash=local, remote_hash=remote)
        conflict = None
    else:
        conflict = conflict_kind(new)
        changes = dict(local_hash=local, remote_hash=remote, sync_status=status_of(new),
                       conflict_status="detected" if conflict else "none")
        if bases_must_move(new):
            changes.update(last_synced_hash=local, last_synced_remote_hash=remote, last_sync_at=context.now)
        if conflict:
            context.log_conflict(key, new)
        else:
            context.close_conflict(key, "vanished")
    if old is None:
        context.insert(key, changes, restored=True)
        return 1
    if all(getattr(old, column) == value for column, value in changes.items()):
        return 0
    context.write(key, may_rest=False, **changes)
    return 1


def sync_state_mark_synced(context, type_key, local_hash, remote_hash, run_id=None):
    need_key(type_key)
    mark_synced(context, type_key, local_hash, remote_hash, run_id)
    return [context.row(type_key)]


def sync_state_mark_synced_many(context, type_keys, local_hashes, remote_hashes, run_ids=None):
    check_keys(type_keys, local_hashes, remote_hashes, run_ids,
               required=(None if local_hashes is None or remote_hashes is None else True,))
    refused, retried = set(), 0
    for n, key in sorted(enumerate(type_keys), key=lambda item: item[1]):
        try:
            retried += not mark_synced(context, key, local_hashes[n], remote_hashes[n], run_ids and run_ids[n])
        except Refused as error:
            refused |= error.sqlstates
    if refused:
        raise Refused(*refused)
    # Whether what a retry finds done counts is left open.
    return [(context.choose(range(len(type_keys), len(type_keys) - retried - 1, -1)),)]


def mark_synced(context, key, local, remote, run_id):
    """Records a sync; false if it was recorded before and this is only asked again."""
    old = context.row(key)
    kept_local, kept_remote = local, remote
    if run_id is not None:
        runs = [r for r in context.entry(key).runs if same(r.run_id, run_id)]
        if old is None or not same(old.run_id, run_id):
            if old is not None and runs and runs[0].outcome == "synced" and (
                    (runs[0].marked_local_hash, runs[0].marked_remote_hash) == (local, remote)):
                return False
            raise Refused("55000")
        # What an observer recorded during the run is kept.
        if old.local_hash not in (runs[0].local_hash, local):
            kept_local = old.local_hash
        if old.remote_hash not in (runs[0].remote_hash, remote):
            kept_remote = old.remote_hash
    elif context.live(old):
        raise Refused("55P03")
    new = (old or unknown_row(key))._replace(local_hash=kept_local, remote_hash=kept_remote, last_synced_hash=local,
                                             last_synced_remote_hash=remote, last_sync_at=context.now)
    changes = dict(local_hash=kept_local, remote_hash=kept_remote, last_synced_hash=local, last_synced_remote_hash=remote,
                   last_sync_at=context.now, sync_progress=None, sync_status=status_of(new),
                   conflict_status="detected" if conflict_kind(new) else "none")
    if bases_must_move(new):
        changes.update(last_synced_hash=kept_local, last_synced_remote_hash=kept_remote)
    context.close_conflict(key, "synced")
    if conflict_kind(new):
        context.log_conflict(key, new)
    context.finish_runs(key, "synced", old.run_id if run_id is not None else None, marked=(local, remote))
    if old is None:
        context.insert(key, changes, restored=True)
    else:
        context.write(key, may_rest=False, **changes)
    return True


def same(token, run_id):
    """Whether a token is this run_id."""
    return run_id is not None and (token == run_id or isinstance(token, Token) and token.value == run_id)


def sync_state_update(context, type_key, state):
    need_key(type_key)
    need(state=state)
    update(context, type_key, parse_state(state))
    return [context.row(type_key)]


def sync_state_update_many(context, states):
    """states: None, a JSON text that is no collection, a list of (key, state) or a dict of key: state."""
    need(states=states)
    if isinstance(states, str):
        raise Refused("22023")
    items = list(states.items()) if isinstance(states, dict) else states
    refused = set()
    for key, state in items:
        if key is None or not 1 <= len(key.encode()) <= 512:
            refused.add("22023")
    if len({key for key, _ in items}) < len(items):
        refused.add("22023")
    for key, state in sorted(items, key=lambda item: item[0] or ""):
        try:
            fields = parse_state(state)
            if "22023" not in refused:
                update(context, key, fields)
        except Refused as error:
            refused |= error.sqlstates
    if refused:
        raise Refused(*refused)
    return [(len(items),)]


def parse_state(state):
    """The columns that a partial state sets.  state: a JSON text that is no object, or a dict of field: JSON text."""
    if isinstance(state, str):
        raise Refused("22023")
    refused, fields = set(), {}
    for field, text in state.items():
        value = json.loads(text)
        if field not in FIELDS or value is not None and field != "sync_progress" and not isinstance(value, str):
            refused.add("22023")
        elif field == "sync_progress":
            fields[field] = None if value is None else text
        elif field == "last_sync_at" and value is not None:
            try:
                fields[field] = parse_time(value)
            except Refused as error:
                refused |= error.sqlstates
        else:
            fields[field] = value
    if refused:
        raise Refused(*refused)
    return fields


def parse_time(text):
    if text in ("infinity", "-infinity"):
        return FOREVER if text == "infinity" else -FOREVER
    try:
        time = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        # Whether it is no time, or none that there is.
        raise Refused("22008" if text[:1].isdigit() else "22007") from None
    return (time - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


def update(context, key, fields):
    """Sets what is given, derives nothing but the bases of a later last_sync_at."""
    old = context.row(key)
    if old is None:
        given = dict(fields)
        if given.get("last_sync_at") is not None:
            given.setdefault("last_synced_hash", given.get("local_hash"))
            given.setdefault("last_synced_remote_hash", given.get("remote_hash"))
        context.insert(key, given, restored=True)
        return
    intrusion = context.live(old) and any(
        getattr(old, field) != value for field, value in fields.items() if field not in ("local_hash", "remote_hash"))
    try:
        context.write(key, **fields)
    except Refused as error:
        raise Refused(*error.sqlstates | ({"55P03"} if intrusion else set())) from None
    if intrusion:
        raise Refused("55P03")


def sync_state_resolve(context, type_key, resolution, merged_hash=None, conflict_number=None):
    need_key(type_key)
    need(resolution=resolution)
    if resolution not in ("local", "remote", "merged"):
        raise Refused("22023")
    if resolution == "merged":
        need(merged_hash=merged_hash)
    elif merged_hash is not None:
        raise Refused("22023")
    old = context.row(type_key)
    if old is None:
        raise Refused("P0002")
    refused = {"55P03"} if context.live(old) else set()
    if conflict_kind(old) is None:
        refused.add("55000")
    if conflict_number is not None:
        known = context.open_conflict(type_key)
        if known is None or known.conflict_number != conflict_number or known[3:7] != hashes_of(old):
            refused.add("55000")
    if refused:
        raise Refused(*refused)
    context.log_conflict(type_key, old)
    if resolution == "local":
        changes = dict(last_synced_remote_hash=old.remote_hash)
        decided = old.local_hash
    elif resolution == "remote":
        changes = dict(last_synced_hash=old.local_hash)
        decided = old.remote_hash
    else:
        changes = dict(local_hash=merged_hash, last_synced_hash=old.remote_hash, last_synced_remote_hash=old.remote_hash)
        decided = merged_hash
    context.close_conflict(type_key, resolution, decided)
    context.finish_runs(type_key, "superseded")
    # "new": both bases are absent then, and the key was never synced.
    action = decision(old._replace(**changes))[0]
    status = {"NO_CHANGE": "in_sync", "INITIAL_SYNC": "new"}.get(action, "modified")
    return [context.write(type_key, sync_status=status, conflict_status="resolved", sync_progress=None, **changes)]


def sync_state_reset(context, type_key, force=False):
    need_key(type_key)
    need(force=force)
    old = context.row(type_key)
    if old is None:
        raise Refused("P0002")
    if context.live(old) and not force:
        raise Refused("55P03")
    context.close_conflict(type_key, "vanished")
    context.finish_runs(type_key, "superseded")
    return [context.write(type_key, last_synced_hash=None, last_synced_remote_hash=None, last_sync_at=None,
                          sync_progress=None, sync_status="new", conflict_status="none")]


def sync_state_forget(context, type_key, force=False):
    need_key(type_key)
    need(force=force)
    old = context.row(type_key)
    if old is None:
        return [(False,)]
    if context.live(old) and not force:
        raise Refused("55P03")
    context.delete(type_key)
    return [(True,)]


def sync_state_import(context, rows, columns):
    """rows: of a hand-made table with these columns, as tuples."""
    given = [dict(zip(columns, row)) for row in rows]
    refused = set()
    if len({row["type_key"] for row in given}) < len(given):
        refused.add("22023")
    imported = 0
    for row in sorted(given, key=lambda row: row["type_key"]):
        key = row.pop("type_key")
        if context.row(key) is not None:
            try:
                check_row(unknown_row(key)._replace(**row))
            except Refused as error:
                # A key that is left alone, with a value that would not be allowed.
                refused |= context.choose([set(), error.sqlstates])
            continue
        in_sync = row.get("sync_status") == "in_sync"
        row.setdefault("last_synced_hash", row.get("local_hash") if in_sync else None)
        row.setdefault("last_synced_remote_hash", row.get("remote_hash") if in_sync else row["last_synced_hash"])
        try:
            new = context.insert(key, row, restored=True)
        except Refused as error:
            refused |= error.sqlstates
            continue
        if new.sync_status == "conflict" and conflict_kind(new):
            context.log_conflict(key, new)
        imported += 1
    if refused:
        raise Refused(*refused)
    return [(imported,)]


def sync_state_prune(context, older_than):
    need(older_than=older_than)
    length = INTERVALS[older_than]
    if length is None or length < 0:
        raise Refused("22023")
    cutoff = shift(context.now, -length)
    removed = {"run": 0, "conflict": 0, "tombstone": 0}
    for key, entry in list(context.entries.items()):
        runs = tuple(r for r in entry.runs if r.finished_at is None or not context.later(cutoff, r.finished_at)
                     or context.choose(needed(entry, r)))
        latest = max((c.conflict_number for c in entry.conflicts), default=0)
        conflicts = tuple(c for c in entry.conflicts if not (c.resolved_at is not None and context.later(cutoff, c.resolved_at)
                                                             and c.conflict_number < latest))
        tombstone = entry.tombstone
        if tombstone is not None and context.later(cutoff, tombstone.deleted_at):
            context.pruned_xid = max(context.pruned_xid, tombstone.changed_xid.value)
            tombstone = None
            removed["tombstone"] += 1
        removed["run"] += len(entry.runs) - len(runs)
        removed["conflict"] += len(entry.conflicts) - len(conflicts)
        context.entries[key] = entry._replace(runs=runs, conflicts=conflicts, tombstone=tombstone)
    return list(removed.items())


def needed(entry, run):
    """Of a key that stopped: its latest run, and the one that left its checkpoint."""
    if entry.row is None or entry.row.sync_status not in ("syncing", "failed"):
        return [False]
    if run.run_number == entry.runs[-1].run_number:
        return [True]
    return [False, True] if entry.author == ANYBODY else [run.run_number == entry.author]


# ----------------------------------------------------------------------------
# Plain SQL, as an ORM writes it: the trigger holds, fencing does not
# ----------------------------------------------------------------------------

def plain_insert(context, type_key, columns):
    taken = context.row(type_key) is not None
    try:
        context.insert(type_key, columns, restored=columns.get("changed_xid") is not None)
    except Refused as refused:
        raise Refused(*refused.sqlstates | ({"23505"} if taken else set())) from None
    if taken:
        raise Refused("23505")
    return []


def plain_upsert(context, type_key, columns):
    """INSERT ... ON CONFLICT DO UPDATE SET each column = EXCLUDED.column: what the INSERT's trigger made of it."""
    old, notified = context.entry(type_key), context.notified
    proposed = context.insert(type_key, columns, restored=columns.get("changed_xid") is not None)
    if old.row is not None:
        context.entries[type_key], context.notified = old, notified
        context.write(type_key, may_rest=False, **{column: getattr(proposed, column) for column in columns})
    return []


def plain_update(context, type_key, columns):
    """type_key: None: of all keys."""
    for key in context.keys() if type_key is None else [type_key] if context.row(type_key) else []:
        if columns.get("type_key", key) != key:
            raise Refused("22023")
        context.write(key, may_rest=False, **columns)
    return []


def plain_delete(context, type_key):
    for key in context.keys() if type_key is None else [type_key] if context.row(type_key) else []:
        context.delete(key)
    return []


def set_lease(context, type_key, lease_expires_at):
    """The end of a lease is moved, by plain SQL; None: there is none."""
    row = context.row(type_key)
    if row is not None and row.sync_status == "syncing":
        context.write(type_key, may_rest=False, lease_expires_at=lease_expires_at)
    return []


def age(context, type_key, by):
    """Time passes, for the history of a key."""
    back = -INTERVALS[by]
    entry = context.entry(type_key)
    context.set(type_key,
                runs=tuple(r._replace(started_at=shift(r.started_at, back), finished_at=shift(r.finished_at, back))
                           for r in entry.runs),
                conflicts=tuple(c._replace(detected_at=shift(c.detected_at, back), resolved_at=shift(c.resolved_at, back))
                                for c in entry.conflicts),
                tombstone=entry.tombstone and entry.tombstone._replace(deleted_at=shift(entry.tombstone.deleted_at, back)))
    return []


# ----------------------------------------------------------------------------
# Runs
# ----------------------------------------------------------------------------

def sync_state_begin(context, type_key, lease=None, owner=None):
    need_key(type_key)
    length = lease_time(context, lease)
    if context.live(context.row(type_key)):
        raise Refused("55P03")
    return [begin(context, type_key, length, owner)]


def sync_state_try_begin(context, type_key, lease=None, owner=None):
    try:
        return sync_state_begin(context, type_key, lease, owner)
    except Refused as refused:
        if refused.sqlstates == {"55P03"}:
            return []
        raise


def sync_state_resume(context, type_key, lease=None, owner=None):
    need_key(type_key)
    length = lease_time(context, lease)
    row = context.row(type_key)
    if context.live(row):
        raise Refused("55P03")
    if row is None or not context.stopped(row) or row.sync_progress is None:
        raise Refused("P0002")
    return [begin(context, type_key, length, owner)]


def begin(context, key, length, owner):
    """Starts a run on a key that no live one holds."""
    old = context.row(key)
    context.finish_runs(key, "superseded")
    entry = context.entry(key)
    progress = old.sync_progress if old is not None and context.stopped(old) else None
    moved = False
    if progress is not None:
        moved = context.choose(moved_since(entry, old))
    number = max([r.run_number for r in entry.runs] + [old.run_number if old is not None else 0]) + 1
    if entry.tombstone is not None and context.env.run_number is not None:
        # Above any in the history, but who waits while the key is forgotten may still have seen what was forgotten.
        number = max(number, context.env.run_number)
    run = Run(key, number, context.env.token(key), owner or context.env.application_name or None, context.env.pid,
              context.now, None, None, None, progress, moved, old and old.local_hash, old and old.remote_hash, None, None)
    changes = dict(sync_status="syncing", run_id=run.run_id, run_number=number, sync_progress=progress,
                   lease_expires_at=shift(context.now, length))
    if old is None:
        context.insert(key, changes, restored=True)
    else:
        context.write(key, **changes)
    context.set(key, runs=entry.runs + (run,), started_by=context.entry(key).author)
    return run


def moved_since(entry, row):
    """Whether a hash differs from what the run had seen that left the checkpoint; None: it is not in the history."""
    if entry.author == ANYBODY:
        return [True, False, None]
    author = [r for r in entry.runs if r.run_number == entry.author]
    return [(author[0].local_hash, author[0].remote_hash) != (row.local_hash, row.remote_hash) if author else None]


def sync_state_claim(context, max_keys=1, prefix=None, lease=None, owner=None, retry_after="5 minutes"):
    need(max_keys=max_keys, retry_after=retry_after)
    length = lease_time(context, lease)
    wait = 300 * 10 ** 6 if retry_after == "5 minutes" else INTERVALS[retry_after]
    if max_keys < 1 or wait < 0:
        raise Refused("22023")
    runs = []
    for key in context.keys():
        if len(runs) < max_keys and key.startswith(prefix or "") and claimable(context, key, wait):
            runs.append(begin(context, key, length, owner))
    return runs


def claimable(context, key, wait):
    row = context.row(key)
    if row.conflict_status == "detected":
        return False
    if row.sync_status in ("new", "modified"):
        return conflict_kind(row) is None
    if row.sync_status == "syncing":
        return not context.live(row)
    if row.sync_status != "failed" or conflict_kind(row) is not None and row.sync_progress is None:
        return False
    runs = context.entry(key).runs
    latest = runs[-1] if runs else None
    if latest is None or latest.finished_at is None or latest.outcome not in ("failed", "rolled_back"):
        # Since when it has been failed, no run tells.
        return True if wait == 0 else context.choose([True, False])
    return not context.later(shift(latest.finished_at, wait), context.now)


def sync_state_checkpoint(context, type_key, run_id, sync_progress, lease=None):
    need_key(type_key)
    need(run_id=run_id)
    length = lease_time(context, lease)
    old = context.row(type_key)
    if old is None:
        raise Refused("P0002")
    if not same(old.run_id, run_id):
        raise Refused("55000")
    expiry = shift(context.now, length)
    if old.lease_expires_at is not None and context.later(old.lease_expires_at, expiry):
        expiry = old.lease_expires_at
    changes = {} if sync_progress is None else {"sync_progress": sync_progress}
    context.write(type_key, lease_expires_at=expiry, author=old.run_number, **changes)
    return [(expiry,)]


def sync_state_fail(context, type_key, run_id=None, error=None, force=False):
    return stop(context, "failed", type_key, run_id, error, force)


def sync_state_rollback(context, type_key, run_id=None, error=None, force=False):
    return stop(context, "rolled_back", type_key, run_id, error, force)


def stop(context, outcome, key, run_id, error, force):
    need_key(key)
    need(force=force)
    old = context.row(key)
    if old is None:
        if outcome == "failed":
            raise Refused("P0002")
        if run_id is not None:
            raise Refused("55000")
        return [context.insert(key, dict(sync_status="failed"), restored=True)]
    if run_id is not None and not same(old.run_id, run_id):
        raise Refused("55000")
    if run_id is None and not force and context.live(old):
        raise Refused("55P03")
    context.finish_runs(key, outcome, old.run_id, error)
    changes = {} if outcome == "failed" else {"sync_progress": None}
    return [context.write(key, sync_status="failed", **changes)]


def sync_state_detect_interrupted(context, as_of=None):
    return [(key,) for key in context.keys() if interrupted(context, context.row(key), context.now if as_of is None else as_of)]


def interrupted(context, row, as_of):
    return row.sync_status == "syncing" and (row.lease_expires_at is None
                                             or not context.later(row.lease_expires_at, as_of))


# ----------------------------------------------------------------------------
# The feed
# ----------------------------------------------------------------------------

# What had ended: the transactions of the session before this one; and the xmin of it.
Snapshot = namedtuple("Snapshot", "before xmin")
# Between two sets (until is None) or behind a row of one.  since: None: from the beginning.
Position = namedtuple("Position", "since until last")


def sync_state_cursor(context):
    return [(Position(here(context), None, None),)]


def here(context):
    return Snapshot(context.env.xid.number, context.env.snapshot_xmin)


def sync_state_changes(context, cursor=None, max_rows=1000):
    """cursor: None, a Position, or the SQLSTATE with which some text is refused."""
    need(max_rows=max_rows)
    if max_rows < 1:
        raise Refused("22023")
    if isinstance(cursor, str):
        raise Refused(cursor)
    now = here(context)
    since, until, last = cursor or (None, now, None)
    if cursor is not None:
        check_pruned(context, cursor)
    page = []
    while True:
        if until is None:
            until = now
        for change in changes_between(context, since, until, last):
            if len(page) == max_rows:
                return page
            page.append(change)
        if until.before >= now.before:
            return page
        since, until, last = until, None, None


def check_pruned(context, position):
    """Refused where tombstones may be gone that the cursor has not read."""
    first = position.since or position.until
    if first.xmin > context.pruned_xid:
        return
    # Behind the last row of a set it may stand as one between two sets.
    if (position.until is not None and position.until.xmin > context.pruned_xid
            and not changes_between(context, *position) and context.choose([True, False])):
        return
    raise Refused("55000")


def changes_between(context, since, until, last):
    """A set: what was changed by transactions that since has not seen and until has, behind last."""
    found = []
    for key, entry in context.entries.items():
        if entry.row is not None:
            row = entry.row
            found.append((row.changed_xid.number, key, (key, False, row.sync_status, row.conflict_status, row.local_hash,
                                                        row.remote_hash, row.last_sync_at, row.updated_at)))
        elif entry.tombstone is not None and since is not None:
            found.append((entry.tombstone.changed_xid.number, key,
                          (key, True, None, None, None, None, None, entry.tombstone.deleted_at)))
    return [change + (Position(since, until, (number, key)),) for number, key, change in sorted(found)
            if (since is None or number >= since.before) and number < until.before and (last is None or (number, key) > last)]
