"""One call at least of every function, and what a new session answers to it.

For sessions to which something has happened: the same call must get the same
answer.  Each call is undone.  What changes from call to call, such as times and
tokens, is not asked for.
"""

import psycopg2

FIXTURE = """
CREATE TABLE m.here (id int PRIMARY KEY, title text);
CREATE TABLE m.there (id int PRIMARY KEY, title text);
INSERT INTO m.here SELECT g, 'title ' || g FROM generate_series(1, 20) g;
INSERT INTO m.there SELECT g, 'title ' || g / 7 * 7 FROM generate_series(3, 22) g;
CREATE TABLE m.handmade (type_key text, "localHash" text);
INSERT INTO m.handmade VALUES ('fixed/hand', 'l1'), ('fixed/a', 'other');
SELECT sync_state_mark_synced('fixed/a', 'l1', 'r1'), sync_state_observe('fixed/a', 'l2', 'r1'), sync_state_observe('fixed/c', 'l1', 'r1');
SELECT sync_state_checkpoint('fixed/r', run_id, '{"step": 1}', '1 day') FROM sync_state_begin('fixed/r', '1 day', 'runner');
SELECT sync_state_checkpoint('fixed/i', run_id, '{"step": 2}', '1 ms') FROM sync_state_begin('fixed/i', '1 ms', 'gone');
SELECT sync_source_attach('fixed/s', 'm.here', 'm.there', row_base => true), sync_source_attach('fixed/t', 'm.here');
SELECT sync_state_observe('fixed/s'), sync_source_track('fixed/t');
SELECT pg_sleep_until(lease_expires_at) FROM sync_state_get('fixed/i');
"""

CALLS = [
    "SELECT sync_state_version()",
    "SELECT sync_state_action('a', 'b', 'a', 'c'), sync_state_detail('a', NULL, 'a', 'c')",
    "SELECT sync_state_delta('fixed/a'), sync_state_delta('fixed/s'), sync_state_delta('fixed/t')",
    "SELECT type_key, action, detail, sync_status FROM sync_state_plan('fixed/') ORDER BY 1",
    "SELECT type_key, action FROM sync_state_plan_for('{fixed/a,fixed/z}', '{l1,l1}', NULL) ORDER BY 1",
    "SELECT local_hash, sync_status FROM sync_state_update('fixed/a', '{\"local_hash\": \"l9\", \"sync_status\": \"new\"}')",
    "SELECT sync_state_update('fixed/a', '{\"lokal_hash\": 1}')",
    "SELECT sync_state_update_many('{\"fixed/a\": {\"local_hash\": \"l9\"}, \"fixed/n\": {}}')",
    "SELECT sync_state_observe('fixed/a', 'l9', 'r9'), sync_state_observe('fixed/s')",
    "SELECT sync_state_observe_many('{fixed/a,fixed/n}', '{l9,l9}', '{r9,NULL}')",
    "SELECT sync_status, last_synced_hash FROM sync_state_mark_synced('fixed/a', 'l9', 'r9')",
    "SELECT sync_state_mark_synced('fixed/r', 'l9', 'r9')",
    "SELECT sync_status FROM sync_state_get('fixed/r') r, sync_state_mark_synced('fixed/r', 'l9', 'r9', r.run_id)",
    "SELECT sync_state_mark_synced_many('{fixed/a,fixed/s,fixed/n}', '{a,b,c}', '{a,b,c}')",
    "SELECT type_key, local_hash, run_number, sync_progress FROM sync_state_get('fixed/r')",
    "SELECT type_key, sync_status FROM sync_state_list('syncing', 'fixed/') ORDER BY 1",
    "SELECT sync_state_compare('{\"a\": 1}', '{\"b\": 2}')",
    "SELECT sync_status, last_synced_remote_hash FROM sync_state_resolve('fixed/c', 'local')",
    "SELECT sync_state_resolve('fixed/a', 'local')",
    "SELECT sync_status, run_number FROM sync_state_reset('fixed/r', true)",
    "SELECT sync_state_forget('fixed/c'), sync_state_forget('fixed/z')",
    "SELECT sync_state_import('m.handmade')",
    "SELECT kind, removed FROM sync_state_prune('1000 days') WHERE kind <> 'tracking_delta' ORDER BY 1",
    "SELECT sync_state_repair() IS NULL",
    "SELECT k FROM sync_state_changed_since('-infinity') k WHERE k LIKE 'fixed/%'",
    "SELECT type_key, deleted, sync_status FROM sync_state_changes(NULL, 1000000) WHERE type_key LIKE 'fixed/%' ORDER BY 1",
    "SELECT count(*) FROM sync_state_changes(sync_state_cursor())",
    "SELECT run_number, owner, sync_progress FROM sync_state_begin('fixed/a', '1 day', 'other')",
    "SELECT sync_state_begin('fixed/r')",
    "SELECT run_number, owner, sync_progress, content_moved FROM sync_state_try_begin('fixed/i', '1 day', 'other')",
    "SELECT sync_state_try_begin('fixed/r')",
    "SELECT type_key, run_number, sync_progress FROM sync_state_claim(100, 'fixed/') ORDER BY 1",
    "SELECT run_number, sync_progress FROM sync_state_resume('fixed/i')",
    "SELECT sync_state_resume('fixed/a')",
    "SELECT sync_state_checkpoint('fixed/r', run_id, '{\"step\": 3}') > clock_timestamp() FROM sync_state_get('fixed/r')",
    "SELECT sync_state_checkpoint('fixed/r', '00000000-0000-4000-8000-000000000000', NULL)",
    "SELECT s.sync_status, s.sync_progress FROM sync_state_get('fixed/r') r, sync_state_fail('fixed/r', r.run_id, 'x') s",
    "SELECT sync_status, sync_progress FROM sync_state_rollback('fixed/r', force => true)",
    "SELECT k FROM sync_state_detect_interrupted() k WHERE k LIKE 'fixed/%' ORDER BY 1",
    "SELECT type_key, owner, reason, sync_progress FROM syncstate.sync_interrupted WHERE type_key LIKE 'fixed/%' ORDER BY 1",
    "SELECT sync_hash('{\"b\": [1, 2.5, null], \"a\": \"x\"}'), sync_hash_text('x')",
    "SELECT sync_row_hash(1, 'a'::text, NULL::int), sync_digest(id, title), sync_digest(id) FROM m.here",
    "SELECT sync_sketch(20, 1, id, title) FROM m.here",
    "SELECT sync_sketch_diff((SELECT sync_sketch(80, 1, id, title) FROM m.here), (SELECT sync_sketch(80, 1, id, title) FROM m.there)) ORDER BY 1",
    "SELECT sync_sketch_diff((SELECT sync_sketch(1, 1, id, title) FROM m.here), (SELECT sync_sketch(1, 1, id, title) FROM m.there))",
    "SELECT local, remote, row_base FROM sync_source_attach('fixed/a', 'm.here', 'm.there')",
    "SELECT sync_source_detach('fixed/s'), sync_source_detach('fixed/z')",
    "SELECT sync_source_track('fixed/s'), sync_source_untrack('fixed/t')",
    "SELECT sync_source_verify('fixed/t')->'valid'",
    "DELETE FROM m.here WHERE id < 4; SAVEPOINT b; INSERT INTO m.here VALUES (1); ROLLBACK TO b; SELECT sync_state_delta('fixed/t')",
    "SELECT sync_source_diff('fixed/s') ORDER BY 1",
    "SELECT sync_source_diff3('fixed/s') ORDER BY 1",
]


def answers(connection):
    """What the session answers: to each call rows, or an SQLSTATE."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute("BEGIN; SAVEPOINT a")
        for call in CALLS:
            try:
                cursor.execute("ROLLBACK TO a; " + call)
                found.append([tuple(bytes(value) if isinstance(value, memoryview) else value for value in row) for row in cursor.fetchall()])
            except psycopg2.Error as error:
                if error.pgcode is None:
                    raise
                found.append(error.pgcode)
        cursor.execute("ROLLBACK")
    return found


def difference(expected, found):
    for call, one, other in zip(CALLS, expected, found):
        if one != other:
            return "%s: a new session answers %s, this one %s" % (call, one, other)
    return None


def never_called(cursor):
    """Functions of the extension that no call is of."""
    cursor.execute("""
        SELECT DISTINCT p.proname FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
          JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'syncstate' AND p.pronamespace = 'public'::regnamespace""")
    return sorted(name for name, in cursor.fetchall() if not any(name + "(" in call for call in CALLS))
