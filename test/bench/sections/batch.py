"""One statement for 100,000 keys in random order, as a client sends them: `mark_synced_many` (arrays)
and `update_many` (JSON) against INSERT … SELECT FROM unnest … ON CONFLICT, with arrays, unsorted, on a
table of the same columns and indexes with a plpgsql touch trigger; JSON also against the same from
jsonb_to_recordset."""

import json
import random

MARK = """INSERT INTO byhand.sync_state (type_key, local_hash, remote_hash, last_synced_hash,
    last_synced_remote_hash, last_sync_at, sync_status, conflict_status)
SELECT k, l, r, l, r, now(), 'in_sync', 'none'
FROM unnest(%s::text[], %s::text[], %s::text[]) AS u(k, l, r)
ON CONFLICT (type_key) DO UPDATE SET local_hash = EXCLUDED.local_hash, remote_hash = EXCLUDED.remote_hash,
    last_synced_hash = EXCLUDED.last_synced_hash, last_synced_remote_hash = EXCLUDED.last_synced_remote_hash,
    last_sync_at = EXCLUDED.last_sync_at, sync_status = EXCLUDED.sync_status,
    conflict_status = EXCLUDED.conflict_status, sync_progress = NULL"""
UPSERT = """INSERT INTO byhand.sync_state (type_key, local_hash, sync_status)
SELECT k, l, s FROM {} AS u(k, l, s)
ON CONFLICT (type_key) DO UPDATE SET local_hash = EXCLUDED.local_hash, sync_status = EXCLUDED.sync_status"""
UNNEST = UPSERT.format("unnest(%s::text[], %s::text[], %s::text[])")
RECORDSET = ("INSERT INTO byhand.sync_state (type_key, local_hash, sync_status)"
             " SELECT type_key, local_hash, sync_status FROM jsonb_to_recordset(%s)"
             " AS u(type_key text, local_hash text, sync_status text)" + UPSERT[UPSERT.index("\nON"):])


def run(bench):
    session = bench.session()
    bench.load(session, "byhand.sql")
    count = bench.size(100_000)
    keys = [f"key-{number:06}" for number in range(count)]
    random.Random(1).shuffle(keys)
    tables = ("syncstate.sync_state", "byhand.sync_state")
    for table in tables:
        session.run(f"INSERT INTO {table} (type_key, local_hash, sync_status)"
                    " SELECT k, 'hash', 'modified' FROM unnest(%s) AS k ORDER BY k", keys)
    number = 0

    def hashes():
        nonlocal number
        number += 1
        return [f"{number:08x}{index:024x}" for index in range(count)]

    def mark(statement):
        ours = hashes()
        return session.cost(statement, keys, ours, ours, per=count)

    def arrays(statement):
        return session.cost(statement, keys, hashes(), ["modified"] * count, per=count)

    def document(statement):
        states = [{"type_key": key, "local_hash": value, "sync_status": "modified"}
                  for key, value in zip(keys, hashes())]
        return session.cost(statement, json.dumps(states), per=count)

    def vacuum():
        session.vacuum(*tables)

    costs = bench.compare({
        "ours": lambda: mark("SELECT sync_state_mark_synced_many(%s, %s, %s)"),
        "theirs": lambda: mark(MARK),
    }, rounds=7, before=vacuum)
    bench.ratio("mark_synced_many (arrays) ÷ unnest, per key", costs, "ours", "theirs", "≤ 0.7")
    costs = bench.compare({
        "ours": lambda: document("SELECT sync_state_update_many(%s)"),
        "unnest": lambda: arrays(UNNEST),
        "recordset": lambda: document(RECORDSET),
    }, rounds=7, before=vacuum)
    bench.ratio("update_many (JSON) ÷ unnest, per key", costs, "ours", "unnest", "≤ 1.0")
    bench.ratio("update_many (JSON) ÷ jsonb_to_recordset, per key", costs, "ours", "recordset")
