#!/usr/bin/python3
"""Random sets of rows, their sketches, and what two of these tell: all of it, or nothing.

    sketch.py [--rounds N] [--seed N]

In each round, two sides have some rows in common and up to 5,000 differences:
rows that one of them lacks, and rows that both have but not alike.  Their
sketches are made in the database, of a size that is ample, or twice the number
of elements (a row that one side lacks is one element, a row that differs is
two), or less than it takes.  What is decoded must be exactly the differences,
by what Python knows of the two sets; or the sketches are refused as too small.
Some rounds have rows more than once, which are named or refused.

Besides, each round makes sets of 1 to 150 elements, and counts how many are
decoded by twice as many cells.  Of every number of elements that was tried 1,000
times, and of all together, 99 % must be.

The database is that of PGHOST, PGPORT ..., in which a database of its own is
made.  A round that fails prints its seed, with which it can be run alone.  Exits
with 0 if all rounds passed.  Ends with "rounds: N passed, N failed".
"""

import argparse
import os
import random
import sys
import time

import psycopg2
import psycopg2.errors

DATABASE = "syncstate_model_sketch"
TRIALS = 20                     # of a small number of elements, in each round
ENOUGH = 1000                   # trials to tell a rate by
RATE = 0.99

# Both sketches, their difference, and which of the keys it names; others are named by their hash.
DIFF = """
WITH a AS MATERIALIZED (SELECT sync_sketch(%(cells)s, 1, k, 'row ' || v) AS s FROM unnest(%(a)s::bigint[], %(av)s::int[]) AS r (k, v)),
     b AS MATERIALIZED (SELECT sync_sketch(%(cells)s, 1, k, 'row ' || v) AS s FROM unnest(%(b)s::bigint[], %(bv)s::int[]) AS r (k, v)),
     d AS MATERIALIZED (SELECT d.* FROM a, b, sync_sketch_diff(a.s, b.s) AS d)
SELECT k.k, d.difference, encode(d.key_hash, 'hex')
  FROM d LEFT JOIN (SELECT DISTINCT k FROM unnest(%(a)s::bigint[] || %(b)s::bigint[]) AS k) AS k ON sync_row_hash(k.k) = d.key_hash
"""

SETUP = """
CREATE EXTENSION syncstate;
CREATE SCHEMA model;
-- How many of some sets of so many elements are decoded; an error if one is decoded wrong.
CREATE FUNCTION model.decoded(elements int, trials int, seed bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    decoded int := 0;
    found int;
    other int;
BEGIN
    FOR trial IN 1 .. trials LOOP
        BEGIN
            SELECT count(*), count(*) FILTER (WHERE difference <> CASE WHEN n <= elements / 2 THEN 'local_only' ELSE 'remote_only' END OR n IS NULL) INTO found, other
              FROM sync_sketch_diff((SELECT sync_sketch(2 * elements, 3, seed, trial, n) FROM generate_series(1, elements / 2) AS n),
                                    (SELECT sync_sketch(2 * elements, 3, seed, trial, n) FROM generate_series(elements / 2 + 1, elements) AS n)) AS d
              LEFT JOIN generate_series(1, elements) AS n ON sync_row_hash(seed, trial, n) = d.key_hash;
            IF found <> elements OR other <> 0 THEN
                RAISE EXCEPTION '% of % elements, % of them wrong', found, elements, other;
            END IF;
            decoded := decoded + 1;
        EXCEPTION WHEN invalid_parameter_value THEN
            NULL;
        END;
    END LOOP;
    RETURN decoded;
END $$
"""


def connect(dbname):
    connection = psycopg2.connect(dbname=dbname, application_name="sketch.py", options="-c client_min_messages=warning")
    connection.autocommit = True
    return connection


def class_of(elements):
    """The size class that a number of elements is reported in."""
    for most in (50, 500):
        if elements <= most:
            return most
    return 10000


class Model:
    def __init__(self):
        control = connect(os.environ.get("PGDATABASE", "postgres"))
        control.cursor().execute("DROP DATABASE IF EXISTS %s" % DATABASE)
        control.cursor().execute("CREATE DATABASE %s TEMPLATE template0" % DATABASE)
        control.close()
        self.cursor = connect(DATABASE).cursor()
        self.cursor.execute(SETUP)
        self.exact = self.refused = self.differences = 0
        self.small = {}         # number of elements: trials, decoded
        self.double = {}        # size class: rounds with twice as many cells, decoded

    def round(self, seed):
        """Runs one round; what was wrong with it, or None."""
        try:
            return self.sets(random.Random(seed)) or self.rate(seed)
        except psycopg2.Error as error:
            return "%s %s" % (error.pgcode, str(error).split("\n", maxsplit=1)[0])

    def sets(self, pick):
        differences = pick.choice([0, pick.randint(1, 50), pick.randint(51, 500), pick.randint(501, 5000)])
        common = pick.choice([0, pick.randint(1, 50), pick.randint(1, 3000)])
        keys = pick.sample(range(-2 ** 60, 2 ** 60), differences + common)
        a = {key: pick.randrange(3) for key in keys}
        b = dict(a)
        elements = 0
        expected = {}
        for key in keys[:differences]:
            kind = pick.choice(["local_only", "remote_only", "different"])
            elements += 2 if kind == "different" else 1
            expected[key] = kind
            if kind == "local_only":
                del b[key]
            elif kind == "remote_only":
                del a[key]
            else:
                b[key] += pick.randint(1, 3)
        rows_a, rows_b = list(a.items()), list(b.items())
        doubled = pick.random() < 0.05 and self.double_rows(pick, rows_a, rows_b)
        pick.shuffle(rows_a)
        pick.shuffle(rows_b)

        factor = pick.choice([2, 2, 2, 4, 1.5, 1.3, 1, 0.5])
        cells = min(max(1, int(elements * factor)), 1048576)
        answer = self.diff(rows_a, rows_b, cells)
        if answer is not None:
            self.exact += 1
            self.differences += len(expected)
        else:
            self.refused += 1
        if factor == 2 and elements > 0 and not doubled:
            tried, decoded = self.double.get(class_of(elements), (0, 0))
            self.double[class_of(elements)] = (tried + 1, decoded + (answer is not None))
        if answer is None:
            return "too small for nothing" if elements == 0 and not doubled else None
        if doubled:
            return None if set(expected) <= {key for key, _ in answer} else "a difference was missed beside rows that are there twice"
        return None if sorted(answer) == sorted(expected.items()) else "%d differences, not %d, or others" % (len(answer), len(expected))

    @staticmethod
    def double_rows(pick, rows_a, rows_b):
        """Some rows are there more than once, on one side or on both."""
        for rows in (rows_a, rows_b):
            if rows:
                rows.extend(pick.choices(rows, k=pick.randint(0, 3)))
        return True

    def diff(self, rows_a, rows_b, cells):
        """What the sketches tell: keys and differences; None if they are too small."""
        values = {"cells": cells, "a": [key for key, _ in rows_a], "av": [value for _, value in rows_a],
                  "b": [key for key, _ in rows_b], "bv": [value for _, value in rows_b]}
        try:
            self.cursor.execute(DIFF, values)
        except psycopg2.errors.InvalidParameterValue as error:
            if "too small" not in str(error):
                raise
            return None
        return [(key if key is not None else key_hash, difference) for key, difference, key_hash in self.cursor.fetchall()]

    def rate(self, seed):
        elements = seed % 150 + 1
        self.cursor.execute("SELECT model.decoded(%s, %s, %s)", (elements, TRIALS, seed))
        tried, decoded = self.small.get(elements, (0, 0))
        self.small[elements] = (tried + TRIALS, decoded + self.cursor.fetchone()[0])

    def report_rates(self):
        """Prints how many were decoded by twice as many cells; whether these are enough."""
        total = [sum(column) for column in zip(*self.small.values())]
        rates = [("1 to 150 elements", *total)]
        rates += [("%d elements" % n, *self.small[n]) for n in sorted(self.small) if self.small[n][0] >= ENOUGH]
        rates += [("sets of up to %d elements" % most, *self.double[most]) for most in sorted(self.double)]
        enough = True
        worst = min(rates, key=lambda rate: rate[2] / rate[1])
        for what, tried, decoded in rates:
            too_few = decoded < RATE * tried and tried >= ENOUGH
            enough = enough and not too_few
            if too_few or what.startswith("sets") or (what, tried, decoded) in (rates[0], worst):
                print("decoded by 2 cells an element: %d of %d %s, %.2f %%%s"
                      % (decoded, tried, what, 100 * decoded / tried, ": too few" if too_few else ""))
        return enough


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; the next has the next")
    arguments = parser.parse_args()
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10 ** 9)

    model = Model()
    failed = 0
    start = time.monotonic()
    for seed in range(first, first + arguments.rounds):
        wrong = model.round(seed)
        if wrong:
            failed += 1
            print("sketch.py --seed %d: %s" % (seed, wrong), flush=True)
    print("%d rounds from seed %d: %d decoded with %d differences, %d refused, %d wrong, %.1f s"
          % (arguments.rounds, first, model.exact, model.differences, model.refused, failed, time.monotonic() - start))
    if not model.report_rates() and failed < arguments.rounds:
        failed += 1
    print("rounds: %d passed, %d failed" % (arguments.rounds - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
