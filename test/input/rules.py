"""What each function answers to which arguments, as the reference promises.

    a required NULL                                     22004
    a value that no call can mean                       22023
    a key that is unknown to who needs it known         P0002
    a key that a live run holds, without its token      55P03
    another token than that of the run in hand          55000
    a source, a conflict, a cursor that is not (there)  55000
    a status that does not exist, an infinite time      23514
    a text that is no time, a time that is none         22007, 22008, 22009
    everything else                                     works

A rule takes the facts of all arguments by name and gives the set of the errors
that it finds; none: the call must work.  Where there are several, any of them is
right, for which is looked at first is not promised.  UNDECIDED: whatever the
documentation lists, but nothing else.
"""

import decimal

import values

UNDECIDED = "undecided"
LEASE_LIMIT = 24 * values.DAY


def required(value):
    return {"22004"} if value is None else set()


def type_key(key):
    if key is None:
        return {"22004"}
    return set() if 1 <= len(key) <= 512 else {"22023"}


def lease(length):
    if length is None:
        return set()
    if isinstance(length, str):
        return {"22023"}
    months, days, microseconds = length
    return set() if months == 0 and 0 < days * values.DAY + microseconds <= LEASE_LIMIT else {"22023"}


def age(length):
    """How long ago: not negative, and not before the beginning of time."""
    if length is None:
        return {"22004"}
    if isinstance(length, str):
        return {"22023"} if length.startswith("-") else set()
    months, days, microseconds = length
    parts = [months, days, microseconds]
    if all(part >= 0 for part in parts):
        years = months / 12 + (days + microseconds / values.DAY) / 365
        return {"22008"} if years > 6800 else set()
    if all(part <= 0 for part in parts):
        return {"22023", "22008"}
    return {"22023", "22008", "ok"}


def at_least_one(number):
    if number is None:
        return {"22004"}
    return set() if number >= 1 else {"22023"}


def observed(a):
    errors = type_key(a["type_key"]) | required(a["local_absent"]) | required(a["remote_absent"])
    for side in ("local", "remote"):
        if a[side + "_absent"] and a[side + "_hash"] is not None:
            errors |= {"22023"}
    return errors


def keys_and(a, *columns):
    """Arrays of equal length; the keys without NULL, each once."""
    keys = a["type_keys"]
    if keys is None:
        return {"22004"}
    errors = set()
    if keys.dimensions > 1 or None in keys.elements or len(set(keys.elements)) < len(keys.elements):
        errors |= {"22023"}
    for key in keys.elements:
        if key is not None:
            errors |= type_key(key)
    for name, needed in columns:
        if a[name] is None:
            errors |= {"22004"} if needed else set()
        elif a[name].dimensions > 1 or len(a[name].elements) != len(keys.elements):
            errors |= {"22023"}
    return errors


# ------------------------------------------------------------- JSON states

def is_object(value):
    return isinstance(value, dict)


def state_fields(state, with_key=False):
    if not is_object(state):
        return {"22023"}
    errors = set()
    for field, value in state.items():
        if with_key and field == "type_key":
            continue
        if field not in values.FIELDS:
            errors |= {"22023"}
        elif value is None or field == "sync_progress":
            continue
        elif not isinstance(value, str):
            errors |= {"22023"}
        elif field == "last_sync_at":
            time = values.TIMES.get(value, values.FINITE if value[:1].isdigit() and len(value) > 18 else "22007")
            errors |= {values.FINITE: set(), values.INFINITE: {"23514"}}.get(time, {time})
        elif field == "sync_status" and value not in values.STATUSES:
            errors |= {"23514"}
        elif field == "conflict_status" and value not in values.CONFLICT_STATUSES:
            errors |= {"23514"}
    return errors


def state_key(key):
    return type_key(key.encode()) if isinstance(key, str) else {"22023"}


def states(value):
    if value is None:
        return {"22004"}
    errors = set()
    if is_object(value):
        for key, state in value.items():
            errors |= state_key(key) | state_fields(state)
    elif isinstance(value, list):
        keys = [state.get("type_key") for state in value if is_object(state)]
        if len(set(map(str, keys))) < len(value):
            errors |= {"22023"}
        for state in value:
            errors |= state_key(state.get("type_key")) | state_fields(state, True) if is_object(state) else {"22023"}
    else:
        errors |= {"22023"}
    return errors


def canonical_numbers(doc):
    """RFC 8785 knows doubles only: a number that its shortest double is not, is refused."""
    if doc is None or isinstance(doc, values.Deep):
        return set()
    if isinstance(doc, values.NotUtf8):
        return {"22021"}
    rest = [doc]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, decimal.Decimal):
            double = float(value)
            if double in (float("inf"), float("-inf")) or decimal.Decimal(repr(double)) != value:
                return {"22023"}
    return set()


# ---------------------------------------------------------------- functions

class Rules:
    def __init__(self, world):
        self.world = world

    def known(self, key):
        return key in self.world.keys and self.world.keys[key] is not None

    def of(self, name, a):
        """The outcomes that are right; {"ok"} where there is no error."""
        errors = getattr(self, name)(a)
        return errors if errors else {"ok"}

    # Deciding, reading

    def sync_state_action(self, a):
        return required(a["synced"])

    sync_state_detail = sync_state_action

    def any_text(self, a):
        return set()

    sync_state_plan = sync_state_list = sync_hash_text = any_text
    sync_state_version = sync_state_cursor = sync_state_repair = any_text

    def sync_state_delta(self, a):
        return observed(a)

    sync_state_observe = sync_state_delta

    def sync_state_plan_for(self, a):
        return keys_and(a, ("local_hashes", False), ("remote_hashes", False)) | required(a["complete"])

    sync_state_observe_many = sync_state_plan_for

    def sync_state_get(self, a):
        return type_key(a["type_key"])

    def sync_state_compare(self, a):
        errors = set()
        for name in ("before", "after"):
            errors |= required(a[name]) or (set() if is_object(a[name]) else {"22023"})
        return errors

    def sync_state_changed_since(self, a):
        return required(a["since"])

    def sync_state_detect_interrupted(self, a):
        return required(a["as_of"])

    def sync_state_changes(self, a):
        errors = at_least_one(a["max_rows"])
        cursor = a["cursor"]
        if cursor is not None and not cursor.good:
            errors |= {"22023", "55000", "ok"} if cursor.has_form() else {"22023"}
        return errors

    # Recording

    def sync_state_update(self, a):
        errors = type_key(a["type_key"])
        if a["state"] is None:
            return errors | {"22004"}
        errors |= state_fields(a["state"])
        if not errors and a["type_key"] == b"held" and set(a["state"]) - {"local_hash", "remote_hash"}:
            return {"55P03", "ok"}      # refused if it changes anything
        return errors

    def sync_state_update_many(self, a):
        return states(a["states"])

    def sync_state_mark_synced(self, a):
        return type_key(a["type_key"]) or self.token(a["type_key"], a["run_id"], False)

    def token(self, key, run_id, force):
        if run_id is not None:
            return set() if key == b"held" and run_id == self.world.run_id else {"55000"}
        return {"55P03"} if key == b"held" and not force else set()

    def sync_state_mark_synced_many(self, a):
        errors = keys_and(a, ("local_hashes", True), ("remote_hashes", True), ("run_ids", False))
        if errors:
            return errors
        runs = a["run_ids"].elements if a["run_ids"] is not None else [None] * len(a["type_keys"].elements)
        for key, run in zip(a["type_keys"].elements, runs):
            errors |= self.token(key, run, False)
        return errors

    def sync_state_resolve(self, a):
        errors = type_key(a["type_key"])
        how, merged = a["resolution"], a["merged_hash"]
        if how is None:
            errors |= {"22004"}
        elif how not in (b"local", b"remote", b"merged"):
            errors |= {"22023"}
        elif how == b"merged" and merged is None:
            errors |= {"22004"}
        elif how != b"merged" and merged is not None:
            errors |= {"22023"}
        if errors:
            return errors
        if not self.known(a["type_key"]):
            return {"P0002"}
        if a["type_key"] == b"held":
            return {"55P03"}
        return set() if a["type_key"] == b"torn" and a["conflict_number"] in (None, 1) else {"55000"}

    def sync_state_reset(self, a):
        errors = type_key(a["type_key"]) | required(a["force"])
        if errors:
            return errors
        return self.token(a["type_key"], None, a["force"]) if self.known(a["type_key"]) else {"P0002"}

    def sync_state_forget(self, a):
        return type_key(a["type_key"]) | required(a["force"]) or self.token(a["type_key"], None, a["force"])

    def sync_state_import(self, a):
        source = a["source"]
        if source is None:
            return {"22004"}
        if source.shape == "import":
            return set() if source.readable else {"55000"}
        return {"22023"}

    def sync_state_prune(self, a):
        return age(a["older_than"])

    # Runs

    def sync_state_begin(self, a):
        return type_key(a["type_key"]) | lease(a["lease"]) or self.token(a["type_key"], None, False)

    def sync_state_try_begin(self, a):
        return type_key(a["type_key"]) | lease(a["lease"])

    def sync_state_resume(self, a):
        errors = self.sync_state_begin(a)
        return errors or (set() if a["type_key"] == b"stopped" else {"P0002"})

    def sync_state_claim(self, a):
        return at_least_one(a["max_keys"]) | lease(a["lease"]) | age(a["retry_after"])

    def sync_state_checkpoint(self, a):
        errors = type_key(a["type_key"]) | required(a["run_id"]) | lease(a["lease"])
        if errors:
            return errors
        return self.token(a["type_key"], a["run_id"], False) if self.known(a["type_key"]) else {"P0002"}

    def sync_state_fail(self, a):
        errors = type_key(a["type_key"]) | required(a["force"])
        if errors:
            return errors
        return self.token(a["type_key"], a["run_id"], a["force"]) if self.known(a["type_key"]) else {"P0002"}

    def sync_state_rollback(self, a):
        return type_key(a["type_key"]) | required(a["force"]) or self.token(a["type_key"], a["run_id"], a["force"])

    # Fingerprints

    def sync_hash(self, a):
        return canonical_numbers(a["doc"])

    def rows(self, a):
        """Any type: hashed, or refused by its name."""
        return {"ok", "22023"} if any(fact == "other" for fact in a["columns"]) else \
            {"22023"} if "oid" in a["columns"] else set()

    sync_row_hash = sync_digest = rows

    def sync_sketch(self, a):
        errors = set()
        for name, most in (("cells", 2 ** 20), ("key_columns", len(a["columns"]))):
            errors |= required(a[name]) or (set() if 1 <= a[name] <= most else {"22023"})
        return errors | self.rows(a)

    def sync_sketch_diff(self, a):
        errors = required(a["a"]) | required(a["b"])
        for side in (a["a"], a["b"]):
            if isinstance(side, bytes):
                errors |= {"22023"}
            elif isinstance(side, values.Damaged):
                errors |= {"22023", "ok"}
        if isinstance(a["a"], values.Sketch) and isinstance(a["b"], values.Sketch) and a["a"].cells != a["b"].cells:
            errors |= {"22023"}
        return errors

    # Sources

    def sync_source_attach(self, a):
        errors = type_key(a["type_key"]) | required(a["row_base"]) | required(a["local"])
        if a["row_base"] and a["remote"] is None:
            errors |= {"22023"}
        named = []
        for name, most in (("columns", 96), ("key_columns", 32)):
            names = a[name]
            if names is None:
                continue
            elements = names.elements
            if names.dimensions != 1 or None in elements or len(set(elements)) < len(elements) or len(elements) > most:
                errors |= {"22023"}
            named += [n for n in elements if n is not None]
        for side in (a["local"], a["remote"]):
            if side is None:
                continue
            if side.kind not in "rpvmf" or side.temporary:
                errors |= {"22023"}
            elif side.columns is None:
                errors |= {"22023", "ok"}
                if a["row_base"] and a["key_columns"] is None:
                    errors |= {"55000"}     # it may have no key
            elif any(not side.columns.get(name.decode("latin-1")) for name in named):
                errors |= {"22023"}
            elif not side.readable:
                errors |= {"55000", "22023"}
        if errors:
            return errors
        local = a["local"]
        counted = set(local.columns) if a["columns"] is None else {n.decode() for n in a["columns"].elements}
        if not counted or not all(local.columns[n] for n in counted):
            errors |= {"22023"}
        if a["remote"] is not None and not all(a["remote"].columns.get(n) for n in counted):
            errors |= {"22023"}
        if a["row_base"] and a["key_columns"] is None:
            errors |= set() if local.key else {"55000"}
            if not all(a["remote"].columns.get(n) for n in local.key):
                errors |= {"22023"}
        return errors | ({"55000"} if a["type_key"] == b"tracked" else set())

    def sync_source_detach(self, a):
        return type_key(a["type_key"])

    def source(self, a, *good):
        return type_key(a["type_key"]) or (set() if a["type_key"] in good else {"55000"})

    def sync_source_track(self, a):
        return self.source(a, b"both", b"alone", b"tracked")

    sync_source_untrack = sync_source_track

    def sync_source_verify(self, a):
        return self.source(a, b"tracked")

    def sync_source_diff(self, a):
        return self.source(a, b"both")

    sync_source_diff3 = sync_source_diff

    # Internal ones that SQL can call: any text, NULL for unknown

    is_sync_status = is_conflict_status = is_run_outcome = is_type_key = may_have_run = kept_hash = any_text

    def decision(self, a):
        return {UNDECIDED} if a["synced"] is None else set()

    status_after = settles = conflict_kind = decision
