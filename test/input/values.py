"""Bad and odd values of each type that a function of the extension takes.

A Value is how it is written in SQL and what it is, for the rules to judge: None
for NULL, bytes for a text, and so on.  What is no value of its type is refused
by the type's input function whatever the function, so it says by which SQLSTATE.
A generator is a list of kinds, each of which makes one at random.
"""

import datetime
import decimal
import json
import re
import string


class Value:
    def __init__(self, sql, fact=None, refused=None):
        self.sql = sql if isinstance(sql, bytes) else sql.encode()
        self.fact = fact
        self.refused = refused

    def __repr__(self):
        return self.sql[:200].decode("utf-8", "backslashreplace")


def refused(sql, *states):
    return Value(sql, refused=set(states))


def quoted(data, type_name):
    """Bytes as a literal; the quotes and backslashes in them are doubled."""
    return b"E'" + data.replace(b"\\", b"\\\\").replace(b"'", b"''") + b"'::" + type_name.encode()


def text(data):
    return Value(quoted(data, "pg_catalog.text"), data)


# ------------------------------------------------------------------- text

# Not UTF-8: continuation alone, overlong, surrogate, beyond Unicode, cut off.
NOT_UTF8 = [b"\x80", b"\xff", b"\xfe\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf",
            b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"a\xe9b", b"\xc3\x28"]
ODD_TEXTS = [b" ", b"   ", b"\t", b"\n", b"\r\n", b"\x01", b"\x7f", b"'", b'"', b"\\", b"%", b"%s%n%d", b"_", b"$1", b"--",
             b"'; DROP TABLE syncstate.sync_state; --", b"NULL", b"null", b"{}", b"[]", b"0", b"-1", b"true", b"a" * 63, b"a" * 64,
             "é".encode(), "e\u0301".encode(), "щука".encode(), "\u202eabc".encode(), "\ufeff".encode(), "\u2028".encode(),
             "\U0001f600".encode(), "\U0010ffff".encode(), "\ufdd0".encode(), b"@extschema@", b"pg_catalog.text", b"../../etc/passwd"]
SIZES = [511, 512, 513, 1023, 8000, 65536]


def random_text(rng):
    alphabet = string.printable + "éщ語\U0001f600"
    return text("".join(rng.choice(alphabet) for _ in range(rng.choice([1, 3, 20, 200]))).encode())


def of_size(rng):
    character = rng.choice(["k", "é", "語", "\U0001f600", " "])
    return text((character * (rng.choice(SIZES) // len(character.encode()) + rng.randrange(2))).encode())


def texts(world):
    kinds = [
        lambda rng: Value("NULL::pg_catalog.text"),
        lambda rng: text(b""),
        lambda rng: text(rng.choice(ODD_TEXTS)),
        of_size,
        random_text,
        lambda rng: Value("pg_catalog.repeat('k', 1048576)", b"k" * 1048576),
        lambda rng: text(rng.choice(sorted(world.keys))),
        lambda rng: refused(rng.choice(["E'a\\000b'", "U&'\\0000'", "'\\x00'::pg_catalog.bytea::pg_catalog.text::pg_catalog.uuid::pg_catalog.text",
                                        "pg_catalog.convert_from('\\x6100', 'UTF8')", "pg_catalog.chr(0)"]),
                            "22021", "42601", "22P02", "54000"),
        lambda rng: (lambda data: text(data) if world.sql_ascii else refused(quoted(data, "pg_catalog.text"), "22021"))(
            rng.choice([b"", b"article"]) + rng.choice(NOT_UTF8) + rng.choice([b"", b"x"])),
    ]
    return kinds


def words(world, *expected):
    """A text of which only some words make sense."""
    return texts(world) + [lambda rng, word=word: text(word) for word in expected] + [
        lambda rng: text(rng.choice(expected).upper()), lambda rng: text(rng.choice(expected) + b" ")]


# ---------------------------------------------------------------- numbers

def integers(*expected):
    def literal(rng):
        return rng.choice([-2 ** 31, -2 ** 31 + 1, -1000, -2, -1, 0, 1, 2, 3, 47, 48, 49, 50, 1000, 32768, 65536, 2 ** 20, 2 ** 20 + 1, 2 ** 31 - 1])
    return [
        lambda rng: Value("NULL::pg_catalog.int4"),
        lambda rng: (lambda n: Value("'%d'::pg_catalog.int4" % n, n))(literal(rng)),
        lambda rng: (lambda n: Value("'%d'::pg_catalog.int4" % n, n))(rng.choice(expected or (0, 1))),
        lambda rng: (lambda n: Value("'%d'::pg_catalog.int4" % n, n))(rng.randrange(-2 ** 31, 1)),
        lambda rng: refused("'%d'::pg_catalog.int4" % rng.choice([2 ** 31, -2 ** 31 - 1, 10 ** 30]), "22003"),
        lambda rng: refused("'%s'::pg_catalog.int4" % rng.choice(["", "x", "1.5", "1e3", "NaN", "--1"]), "22P02"),
    ]


BOOLEANS = [
    lambda rng: Value("NULL::pg_catalog.bool"),
    lambda rng: Value("'%s'::pg_catalog.bool" % rng.choice(["t", "true", "on", "1", "yes", " true "]), True),
    lambda rng: Value("'%s'::pg_catalog.bool" % rng.choice(["f", "false", "off", "0", "no"]), False),
    lambda rng: refused("'%s'::pg_catalog.bool" % rng.choice(["", "maybe", "2", "o", "NULL"]), "22P02"),
]


def uuids(world):
    def some(rng):
        return "%032x" % rng.getrandbits(128)
    return [
        lambda rng: Value("NULL::pg_catalog.uuid"),
        lambda rng: (lambda u: Value("'%s'::pg_catalog.uuid" % u, u))(some(rng)),
        lambda rng: (lambda u: Value("'%s'::pg_catalog.uuid" % u, u))(rng.choice(["0" * 32, "f" * 32])),
        lambda rng: Value("'{%s}'::pg_catalog.uuid" % world.run_id.upper(), world.run_id),
        lambda rng: refused("'%s'::pg_catalog.uuid" % rng.choice(["", "x", some(rng)[1:], some(rng) + "0", "g" + some(rng)[1:]]), "22P02"),
    ]


# ------------------------------------------------------------------ times

INFINITE, FINITE = "infinite", "finite"
# What last_sync_at may be in JSON, and what it leads to.
TIMES = {
    "2026-01-01T00:00:00Z": FINITE, "0001-01-01 00:00:00+00": FINITE, "0001-01-01 00:00:00+00 BC": FINITE, "4713-01-01 00:00:00+00 BC": FINITE,
    "294276-12-31 23:59:59+00": FINITE, "epoch": FINITE, "now": FINITE, "1999-12-31 24:00:00+00": FINITE, "2026-01-01 00:00:00.0000004+00": FINITE,
    "infinity": INFINITE, "-infinity": INFINITE,
    "": "22007", "x": "22007", "never": "22007", "2026-01-01T00:00:00Z or so": "22007", "{}": "22007", "١٩٩٩-٠١-٠١": "22007",
    "2026-13-01 00:00:00+00": "22008", "2026-02-30 00:00:00+00": "22008", "2026-01-01 25:00:00+00": "22008", "294277-01-01 00:00:00+00": "22008",
    "4715-01-01 00:00:00+00 BC": "22008", "2026-01-01 00:00:00+99": "22009",
}


def some_time(rng):
    moment = datetime.datetime(1, 1, 1) + datetime.timedelta(seconds=rng.randrange(86400 * 365 * 9998), microseconds=rng.randrange(10 ** 6))
    return moment.isoformat(" ") + "+%02d" % rng.randrange(15) + rng.choice(["", "", " BC"] if moment.year < 4000 else [""])


def times(rng):
    literal = rng.choice(list(TIMES) + [some_time(rng)] * 5)
    fact = TIMES.get(literal, FINITE)
    sql = "'%s'::pg_catalog.timestamptz" % literal
    return Value(sql, fact) if fact in (FINITE, INFINITE) else refused(sql, fact)


TIMESTAMPS = [lambda rng: Value("NULL::pg_catalog.timestamptz"), times, times, times,
              lambda rng: Value("'%s'::pg_catalog.timestamptz" % rng.choice(["infinity", "-infinity"]), INFINITE)]

DAY = 86400 * 10 ** 6


def interval(months, days, microseconds):
    return Value("'%d mon %d day %d us'::interval" % (months, days, microseconds), (months, days, microseconds))


def intervals(world):
    def infinite(rng):
        sign = rng.choice(["", "-"])
        return Value("'%sinfinity'::interval" % sign, sign + INFINITE) if world.version >= 170000 \
            else refused("'%sinfinity'::interval" % sign, "22007")
    return [
        lambda rng: Value("NULL::interval"),
        lambda rng: interval(0, 0, rng.choice([-1, 0, 1, 1000, DAY, 24 * DAY - 1, 24 * DAY, 24 * DAY + 1, 25 * DAY, -DAY])),
        lambda rng: interval(0, rng.choice([-25, -1, 0, 1, 23, 24, 25, 1000, 10 ** 6]), 0),
        lambda rng: interval(rng.choice([-1, 1, 12]), 0, 0),
        lambda rng: interval(rng.choice([-1, 1]), rng.choice([-40, 40]), rng.choice([-DAY, DAY])),
        lambda rng: interval(0, rng.choice([-2 ** 31, 2 ** 31 - 1]), rng.choice([-2 ** 63 + 1, 2 ** 63 - 1]) if world.version >= 170000 else 0),
        lambda rng: interval(rng.choice([-2 ** 31 + 1, 2 ** 31 - 2, 12 * 10000, -12 * 10000]), 0, 0),
        lambda rng: interval(0, 0, rng.randrange(-30 * DAY, 30 * DAY)),
        infinite, infinite,
        lambda rng: refused("'%s'::interval" % rng.choice(["", "x", "soon", "1 fortnight"]), "22007"),
        lambda rng: refused("'%s'::interval" % rng.choice(["300000000 years", "99999999999 days"]), "22015", "22008"),
    ]


# ----------------------------------------------------------------- arrays

class Array:
    """elements: what is in it, None for NULL; a flat list whatever the dimensions."""

    def __init__(self, elements, dimensions=1):
        self.elements = elements
        self.dimensions = dimensions if elements else 0


def array(elements, element_type="pg_catalog.text", lower=None):
    """elements: Values that are no refused ones."""
    if not elements:
        return Value("'{}'::%s[]" % element_type, Array([]))
    sql = b"ARRAY[" + b", ".join(e.sql for e in elements) + b"]::" + element_type.encode() + b"[]"
    if lower is not None:
        sql = b"('[%d:%d]=' || %s::pg_catalog.text)::%s[]" % (lower, lower + len(elements) - 1, sql, element_type.encode())
    return Value(sql, Array([e.fact for e in elements]))


def deeper(value, element_type, dimensions):
    open_, close = b"ARRAY[" * (dimensions - 1), b"]" * (dimensions - 1)
    inner = value.sql.rsplit(b"::", 1)[0]
    return Value(open_ + inner + close + b"::" + element_type.encode() + b"[]", Array(value.fact.elements, dimensions))


def arrays(world, makers, element_type, good):
    """good: a list of Values as the function would like it; makers: of other elements."""
    def other(rng):
        while True:
            value = rng.choice(makers)(rng)
            if not value.refused:
                return value

    def null():
        return Value("NULL::%s" % element_type)

    def altered(rng):
        elements = list(good)
        elements[rng.randrange(len(elements))] = rng.choice([null(), other(rng), rng.choice(good)])
        return array(elements, element_type)
    kinds = [
        lambda rng: Value("NULL::%s[]" % element_type),
        lambda rng: array([], element_type),
        lambda rng: Value("'{{}}'::%s[]" % element_type, Array([])) if world.version >= 170000 else refused("'{{}}'::%s[]" % element_type, "22P02"),
        lambda rng: array(good, element_type),
        lambda rng: array(good[::-1], element_type),
        lambda rng: array(good, element_type, lower=rng.choice([-2 ** 31, -5, 0, 2, 2 ** 31 - 10])),
        lambda rng: array(good[:-1], element_type),
        lambda rng: array(good + [other(rng)], element_type),
        lambda rng: array([null() for _ in good], element_type),
        altered, altered, altered,
        lambda rng: deeper(array(good, element_type), element_type, rng.randrange(2, 7)),
        lambda rng: array([other(rng) for _ in range(rng.randrange(1, 5))], element_type),
        lambda rng: Value("pg_catalog.array_fill(NULL::%s, ARRAY[100000])" % element_type, Array([None] * 100000)),
        # More than fit into an allocation of a pointer and a flag each; how many more is the same to every rule.
        lambda rng: Value("pg_catalog.array_fill(NULL::%s, ARRAY[70000000])" % element_type, Array([None] * 100000)),
        lambda rng: refused("'%s'::%s[]" % (rng.choice(["", "{", "}", "{a", "{a}}", "{{a},b}", "{{a,b},{c}}", "[1:3]={a,b}", "[x]={a}"]), element_type), "22P02"),
        lambda rng: refused("'{{{{{{{a}}}}}}}'::%s[]" % element_type, "54000", "22P02"),
        lambda rng: refused("'[%d:%d]={a,b}'::%s[]" % (2 ** 31 - 1, 2 ** 31, element_type), "22P02", "22003", "54000", "2202E"),
    ]
    if element_type == "pg_catalog.text":
        kinds.append(lambda rng: Value("ARRAY[pg_catalog.repeat('k', 1048576), 'b']", Array([b"k" * 1048576, b"b"])))
    return kinds


# ------------------------------------------------------------------- JSON

class Deep:
    """An array that is nested too deeply to be looked at here."""


class Null:
    """JSON's own, which is not NULL."""


def parsed(source):
    fact = json.loads(source, parse_float=decimal.Decimal, parse_int=decimal.Decimal)
    return Null() if fact is None else fact


def document(value):
    return Value(quoted(json.dumps(value, ensure_ascii=False).encode(), "pg_catalog.jsonb"), parsed(json.dumps(value)))


def numbers(rng):
    number = rng.choice(["0", "-0", "1", "0.1", "1e23", "1.50", "9007199254740992", "9007199254740993", "0.10000000000000001", "1e400", "-1e400",
                         "1e-400", "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "5e-324", "2e-324", "333333333.33333329",
                         "1" + "0" * 400, "0." + "0" * 400 + "1", "%d" % rng.getrandbits(60), "%r" % rng.uniform(-1e9, 1e9), "1e100000", "1." + "0" * 1000])
    container = rng.choice(["%s", "[%s]", '{"a": %s}', '[1, {"b": [%s, null]}]'])
    source = container % number
    return Value(quoted(source.encode(), "pg_catalog.jsonb"), parsed(source))


class NotUtf8(list):
    """JSON with a string that is not UTF-8, which SQL_ASCII lets pass."""


def json_refused(world):
    def make(rng):
        source, *states = rng.choice([
            (b"", "22P02"), (b"{", "22P02"), (b"not json", "22P02"), (b"NaN", "22P02"), (b"[1,]", "22P02"), (b"{'a': 1}", "22P02"),
            (b"01", "22P02"), (b'"\\ud800"', "22P02"), (b'"\\u12"', "22P02"), (b'"\\x"', "22P02"), (b'"\x01"', "22P02"), (b"{}{}", "22P02"),
            (b'"\\u0000"', "22P05"), (b'{"\\u0000": 1}', "22P05"), (b"1e1000000", "22003"),
            (b"[" * 100000 + b"]" * 100000, "54001"), (b'{"a":' * 100000 + b"1" + b"}" * 100000, "54001")])
        return refused(quoted(source, "pg_catalog.jsonb"), *states)
    def not_utf8(rng):
        sql = quoted(b'["' + rng.choice(NOT_UTF8) + b'"]', "pg_catalog.jsonb")
        return Value(sql, NotUtf8([None])) if world.sql_ascii else refused(sql, "22021")

    def escape(rng):
        sql = quoted(b'["\\u00e9"]', "pg_catalog.jsonb")
        return refused(sql, "22P05", "0A000") if world.sql_ascii else Value(sql, ["é"])
    return [make, make, not_utf8, escape]


SHAPES = [None, True, False, 0, -1.5, "", "text", "{}", [], {}, [[]], [{}], [None], [1, "a"], {"": ""}, {"a": {"b": [None]}}, {"a": 1}, [{"type_key": "x"}],
          {"x": {}}, {"x": None}, {"x": []}, [{"type_key": None}], [{"type_key": 5}], [{"type_key": ""}], {"k" * 513: {}}, {"k" * 512: {}}, {"é" * 257: {}},
          ["x" * 1000000], {"x" * 100000: 1}, [None] * 10000]
FIELDS = ["local_hash", "remote_hash", "last_synced_hash", "last_synced_remote_hash", "last_sync_at", "sync_status", "conflict_status", "sync_progress"]
NO_FIELDS = ["type_key", "run_id", "run_number", "lease_expires_at", "changed_xid", "updated_at", "created_at", "localHash", "LOCAL_HASH", " local_hash",
             "local_hash ", "", "a", "\U0001f600", "k" * 300]
STATUSES = ["new", "modified", "conflict", "in_sync", "syncing", "failed"]
CONFLICT_STATUSES = ["none", "detected", "resolved"]


def some_state(rng):
    state = {}
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        field = rng.choice(FIELDS)
        if field == "last_sync_at":
            value = rng.choice(list(TIMES) + [some_time(rng)] * 10)
        elif field == "sync_status":
            value = rng.choice(STATUSES * 2 + ["done", "", "NEW", "new "])
        elif field == "conflict_status":
            value = rng.choice(CONFLICT_STATUSES * 2 + ["yes", ""])
        else:
            value = rng.choice(["h", "", "é", "h" * 100000])
        state[field] = value
    for _ in range(rng.choice([0, 0, 0, 1])):
        state[rng.choice(FIELDS)] = rng.choice([None, 5, True, [], {}, ["a"], 1e300])
    for _ in range(rng.choice([0, 0, 0, 1])):
        state[rng.choice(NO_FIELDS)] = rng.choice([None, "x", 5])
    return state


def some_states(world):
    def make(rng):
        keys = [rng.choice(["a", "b", "c", "é", " ", "article", "", "k" * 512, "k" * 513]) for _ in range(rng.randrange(4))]
        if rng.random() < 0.5:
            return document({key: rng.choice([some_state(rng)] * 8 + [None, 5, []]) for key in keys})
        states = []
        for key in keys:
            state = some_state(rng)
            state.pop("type_key", None)
            states.append(dict([("type_key", key)], **state))
        return document(states + rng.choice([[]] * 6 + [[None], [{}], [{"type_key": 5}]]))
    del world
    return [make] * 6


def documents(world, *makers):
    return [
        lambda rng: Value("NULL::pg_catalog.jsonb"),
        lambda rng: document(rng.choice(SHAPES)),
        lambda rng: document(rng.choice(SHAPES)),
        numbers,
        lambda rng: Value("(pg_catalog.repeat('[', %d) || pg_catalog.repeat(']', %d))::pg_catalog.jsonb" % ((1000,) * 2), Deep()),
    ] + json_refused(world) + list(makers)


# ------------------------------------------------------------------ bytea

class Sketch:
    """One that the aggregate made, of so many cells."""

    def __init__(self, cells):
        self.cells = cells


class Damaged:
    """One that something was changed in, which need not show."""


def byteas(sketches):
    """sketches: with how many cells each has."""
    def literal(data, fact):
        return Value("'\\x%s'::pg_catalog.bytea" % data.hex(), fact)

    def damaged(rng):
        data = bytearray(rng.choice(sketches)[0])
        for _ in range(rng.choice([1, 1, 2, 8])):
            data[rng.choice([rng.randrange(len(data)), rng.randrange(16)])] = rng.randrange(256)
        return literal(bytes(data), Damaged())

    def cut(rng):
        data = rng.choice(sketches)[0]
        return literal(data[:rng.choice([rng.randrange(len(data)), 1, 15, 16, 17, len(data) - 1])], b"")
    return [
        lambda rng: Value("NULL::pg_catalog.bytea"),
        lambda rng: literal(b"", b""),
        lambda rng: (lambda data, cells: literal(data, Sketch(cells)))(*rng.choice(sketches)),
        damaged, damaged, damaged, cut, cut,
        lambda rng: literal(rng.choice(sketches)[0] + rng.choice([b"\0", b"\0" * 40, b"\0" * 1000]), b""),
        lambda rng: literal(rng.getrandbits(8 * 100).to_bytes(100, "big"), b""),
        lambda rng: literal(b"\0" * rng.choice([1, 8, 40, 48, 1000, 2008]), b""),
        lambda rng: literal(b"\xff" * rng.choice([1, 8, 40, 48, 1000, 2008]), b""),
        lambda rng: Value("pg_catalog.decode(pg_catalog.repeat('00ff', 524288), 'hex')", b""),
        lambda rng: refused("'%s'::pg_catalog.bytea" % rng.choice(["\\x0", "\\xzz"]), "22P02", "22023"),
    ]


# ----------------------------------------------------------------- cursors

class Cursor:
    def __init__(self, data, good=False):
        self.data, self.good = data, good

    # What has this form may be a cursor of somebody; what has not, is none.
    FORM = re.compile(r"1(:[0-9a-f]+){3}:[0-9a-f]{32}:S(:S:[0-9a-f]+:([0-9a-f]{2})*)?$".replace("S", r"[0-9a-f]+-[0-9a-f]+(-[0-9a-f]+(,[0-9a-f]+)*)?"))

    def has_form(self):
        return self.FORM.match(self.data.decode("latin-1")) is not None


def cursors(world):
    def plain(data):
        return Value(quoted(data, "pg_catalog.text"), Cursor(data))

    def damaged(rng):
        data = bytearray(rng.choice(world.cursors))
        data[rng.randrange(len(data))] = rng.randrange(1, 128)
        return plain(bytes(data))

    def number(rng):
        parts = rng.choice(world.cursors).split(b":")
        parts[rng.randrange(len(parts))] = rng.choice([b"", b"0", b"ffffffff", b"7fffffffffffffff", b"8000000000000000", b"f" * 16, b"f" * 17, b"-1", b"f" * 100000])
        return plain(b":".join(parts))
    others = [kind for kind in texts(world)]

    def other(rng):
        value = rng.choice(others)(rng)
        if value.fact is not None:
            value.fact = Cursor(value.fact)
        return value
    return [
        lambda rng: Value("NULL::pg_catalog.text"),
        lambda rng: (lambda data: Value(quoted(data, "pg_catalog.text"), Cursor(data, good=True)))(rng.choice(world.cursors)),
        damaged, damaged, damaged, number, other,
        lambda rng: plain(rng.choice(world.cursors)[:rng.randrange(40)]),
        lambda rng: plain(rng.choice(world.cursors) + rng.choice([b" ", b":", b"0", b"x", b"\n"])),
    ]


# --------------------------------------------------------------- relations

class Relation:
    """columns: name to whether it can be hashed; None: nobody knows, or not such a kind."""

    def __init__(self, kind, columns=None, key=(), temporary=False, readable=True, shape=None):
        self.kind, self.columns, self.key, self.temporary, self.readable, self.shape = kind, columns, key, temporary, readable, shape


def relations(world):
    return [
        lambda rng: Value("NULL::pg_catalog.regclass"),
        lambda rng: (lambda name: Value("'%s'::pg_catalog.regclass" % name, world.relations[name]))(rng.choice(sorted(world.relations))),
        lambda rng: (lambda name: Value("'%s'::pg_catalog.regclass" % name, world.relations[name]))(rng.choice(sorted(world.relations))),
        lambda rng: Value("'%d'::pg_catalog.regclass" % rng.choice([0, 1, 4294967295, world.dropped, rng.randrange(2 ** 31, 2 ** 32)]), Relation("none")),
        lambda rng: refused("'%s'::pg_catalog.regclass" % rng.choice(["w.missing", "missing", "w.rows.x.y.z", "", "a b", '"', "other.w.rows", "99999999999"]),
                            "42P01", "42602", "0A000", "3F000", "22003", "42601"),
    ]
