"""What must be true of the tables after anything: of one another, and of the journal.

Each check raises Wrong, naming what is not.  They run when nobody writes.
"""

import datetime

from workers import LEASE, SHARED_KEYS, Outcome, SharedRun, Wrong

# The tables of one another: each of these queries finds nothing.
CONTRADICTIONS = {
    "a run in hand that the history does not have, or has ended":
        "SELECT s.type_key FROM syncstate.sync_state s WHERE s.run_id IS NOT NULL AND NOT EXISTS (SELECT FROM syncstate.sync_run r"
        " WHERE r.type_key = s.type_key AND r.run_number = s.run_number AND r.run_id = s.run_id AND r.outcome IS NULL)",
    "a run that is not finished, nor in hand":
        "SELECT r.type_key, r.run_number FROM syncstate.sync_run r WHERE r.outcome IS NULL AND NOT EXISTS"
        " (SELECT FROM syncstate.sync_state s WHERE s.type_key = r.type_key AND s.run_id = r.run_id AND s.sync_status = 'syncing')",
    "a run that has ended without an outcome, or the reverse":
        "SELECT r.type_key, r.run_number FROM syncstate.sync_run r WHERE (r.outcome IS NULL) <> (r.finished_at IS NULL)",
    "a run with a number that its key has not come to":
        "SELECT r.type_key, r.run_number FROM syncstate.sync_run r LEFT JOIN syncstate.sync_state s USING (type_key)"
        " WHERE r.run_number > coalesce(s.run_number, 0)",
    "a conflict of no key":
        "SELECT c.type_key FROM syncstate.sync_conflict c WHERE NOT EXISTS (SELECT FROM syncstate.sync_state s WHERE s.type_key = c.type_key)",
    "a conflict that is detected and not open, or the reverse":
        "SELECT s.type_key FROM syncstate.sync_state s LEFT JOIN syncstate.sync_conflict c ON c.type_key = s.type_key AND c.resolved_at IS NULL"
        " WHERE (s.conflict_status = 'detected') IS DISTINCT FROM (c.type_key IS NOT NULL) AND (s.conflict_status IS NOT NULL OR c.type_key IS NOT NULL)",
    "a conflict that is resolved without a resolution, or the reverse":
        "SELECT c.type_key FROM syncstate.sync_conflict c WHERE (c.resolved_at IS NULL) <> (c.resolution IS NULL)",
    "in sync with a checkpoint":
        "SELECT s.type_key FROM syncstate.sync_state s WHERE s.sync_status = 'in_sync' AND s.sync_progress IS NOT NULL",
    "a checkpoint that is not where the rows are":
        "SELECT s.type_key, s.sync_progress->>'offset', c.n FROM syncstate.sync_state s LEFT JOIN (SELECT type_key, count(*) AS n, max(n) AS last"
        " FROM m.copied GROUP BY 1) c USING (type_key) WHERE s.sync_progress ? 'offset' AND s.type_key NOT LIKE 'shared%'"
        " AND ((s.sync_progress->>'offset')::bigint, (s.sync_progress->>'offset')::bigint) IS DISTINCT FROM (c.n, c.last::bigint)",
}


def check_tables(cursor):
    for what, query in CONTRADICTIONS.items():
        cursor.execute(query)
        rows = cursor.fetchall()
        if rows:
            raise Wrong("%s: %s" % (what, rows[:5]))


def check_digest(cursor):
    """The digest that the triggers have kept is the one of the rows, and it counts: no crash made it invalid."""
    cursor.execute("SELECT sync_digest(id, title, type_key), count(*) FROM m.content")
    digest, count = cursor.fetchone()
    cursor.execute("SELECT sync_state_delta('content')->>'local_hash', sync_source_verify('content')")
    told, verified = cursor.fetchone()
    if verified["valid"] is not True or verified["tracked"] is None:
        raise Wrong("the tracked digest: %s" % verified)
    # No rows: absent.
    if count and not verified["tracked"] == verified["measured"] == told == digest:
        raise Wrong("the digest of the rows is %s; %s; told is %s" % (digest, verified, told))


def check_shared(cursor, runs, workers):
    """
    Every run of the shared keys: what was acknowledged is there, what was refused
    is not, each checkpoint came with its row, and each run goes on where the one
    before it stopped.
    """
    cursor.execute("""
        SELECT r.run_id, r.type_key, r.run_number, r.outcome, r.owner, r.sync_progress, s.run_id, s.sync_progress,
               (SELECT count(*) FROM m.shared c WHERE c.run_id = r.run_id), (SELECT coalesce(max(n), 0) FROM m.shared c WHERE c.run_id = r.run_id)
          FROM syncstate.sync_run r JOIN syncstate.sync_state s USING (type_key)
         WHERE r.type_key = ANY (%s) ORDER BY r.type_key, r.run_number""", (SHARED_KEYS,))
    claims_in_flight = {worker.name for worker in workers if worker.claiming}
    previous = None
    seen = set()
    for run_id, key, number, outcome, owner, start, current, progress, rows, last in cursor.fetchall():
        where = "run %d of %s, by %s" % (number, key, owner)
        seen.add(run_id)
        if rows != last:
            raise Wrong("%s: %d rows, the last is number %d" % (where, rows, last))
        if run_id not in runs:
            if owner not in claims_in_flight:
                raise Wrong("%s: nobody has begun it" % where)
            claims_in_flight.remove(owner)
            runs[run_id] = SharedRun(run_id, key, None)
        check_run(where, runs[run_id], outcome, rows)
        # What its own last checkpoint is, or the one that it started from.
        reached = {"run": run_id, "n": rows} if rows else start
        if run_id == current and progress != reached:
            raise Wrong("%s: the checkpoint is %s, the rows say %s" % (where, progress, reached))
        if previous and previous[0] == key:
            expected = None if previous[1] == "synced" else previous[2]
            if number != previous[3] + 1 or start != expected:
                raise Wrong("%s: follows run %d, which reached %s, and started from %s" % (where, previous[3], expected, start))
        previous = (key, outcome, reached, number)
    for run in runs.values():
        if run.run_id not in seen:
            raise Wrong("a run of %s that was acknowledged is lost: %s" % (run.key, run.run_id))


def retry_marks(cursor, workers):
    """
    A mark whose acknowledgement was lost can be repeated: it changes nothing if it
    was made, and is made if it was not.
    """
    for worker in workers:
        run = worker.shared_run
        if run and run.end_in_flight == "synced":
            query = "SELECT outcome, s FROM syncstate.sync_run r JOIN syncstate.sync_state s USING (type_key) WHERE r.run_id = %s"
            cursor.execute(query, (run.run_id,))
            outcome, row = cursor.fetchone()
            if outcome == "superseded":
                continue
            cursor.execute(worker.mark_shared(run))
            cursor.execute(query, (run.run_id,))
            again, row_again = cursor.fetchone()
            if again != "synced" or (outcome == "synced" and row != row_again):
                raise Wrong("a mark was repeated, whose outcome had been %s: %s, then %s" % (outcome, row, row_again))


def settle(cursor, workers):
    """What was in flight has come out; from here on the journal knows it."""
    for worker in workers:
        run = worker.shared_run
        if run:
            cursor.execute("SELECT outcome, (SELECT count(*) FROM m.shared c WHERE c.run_id = r.run_id) FROM syncstate.sync_run r WHERE run_id = %s",
                           (run.run_id,))
            run.end, run.checkpoints = cursor.fetchone()
            run.one_more, run.end_in_flight = False, None
            worker.shared_run = None
        worker.claiming = False
        worker.acked = Outcome(worker.image_by(cursor))


def check_run(where, run, outcome, rows):
    if rows != run.checkpoints and not (run.one_more and rows == run.checkpoints + 1):
        raise Wrong("%s: %d checkpoints were acknowledged, %s more in flight, %d are there"
                    % (where, run.checkpoints, "one" if run.one_more else "none", rows))
    if run.end:
        allowed = (run.end,)
    elif run.refused:
        allowed = ("superseded",)
    else:
        allowed = (None, "superseded", run.end_in_flight)
    if outcome not in allowed:
        raise Wrong("%s: its outcome is %s, not %s" % (where, outcome, " or ".join(map(str, allowed))))


def forget_history(cursor, runs):
    """Of the shared keys, all but the last run of each: the rounds would get longer and longer."""
    cursor.execute("DELETE FROM syncstate.sync_run r USING syncstate.sync_state s WHERE s.type_key = r.type_key AND r.run_number < s.run_number"
                   " AND r.type_key = ANY (%s) RETURNING r.run_id", (SHARED_KEYS,))
    gone = [run_id for run_id, in cursor.fetchall()]
    cursor.execute("DELETE FROM m.shared WHERE run_id = ANY (%s::uuid[])", (gone,))
    for run_id in gone:
        runs.pop(run_id, None)


def check_interrupted(cursor, pick, runs):
    """
    Every run in hand is reported once its lease has ended, not before; it resumes at
    its last committed checkpoint, which the rows that came with it tell; and its
    token is refused from then on.
    """
    cursor.execute("""
        SELECT s.type_key, s.run_id, s.lease_expires_at, r.owner, r.sync_progress,
               (SELECT count(*) FROM m.copied c WHERE c.type_key = s.type_key), (SELECT count(*) FROM m.shared c WHERE c.run_id = s.run_id)
          FROM syncstate.sync_state s JOIN syncstate.sync_run r USING (type_key, run_number) WHERE s.sync_status = 'syncing'""")
    held = cursor.fetchall()
    if not held:
        return 0
    leases = [row[2] for row in held]
    for lease, microseconds in ((pick.choice(leases), 1), (pick.choice(leases), -1), (max(leases), 1), (min(leases), -1)):
        instant = lease + datetime.timedelta(microseconds=microseconds)
        cursor.execute("SELECT sync_state_detect_interrupted(%s)", (instant,))
        found = {key for key, in cursor.fetchall()}
        expected = {row[0] for row in held if row[2] < instant}
        if found != expected:
            raise Wrong("interrupted at %s: %s, but reported are %s" % (instant, sorted(expected), sorted(found)))
    cursor.execute("SELECT pg_sleep(greatest(0, extract(epoch FROM %s - clock_timestamp()) + 0.001))", (max(leases),))
    cursor.execute("SELECT sync_state_detect_interrupted()")
    found = {key for key, in cursor.fetchall()}
    cursor.execute("SELECT type_key, owner, reason FROM syncstate.sync_interrupted")
    viewed = set(cursor.fetchall())
    if found != {row[0] for row in held} or viewed != {(row[0], row[3], "lease_expired") for row in held}:
        raise Wrong("interrupted: %s; reported are %s, and in the view %s" % (held, sorted(found), sorted(viewed)))
    for key, token, _, _, start, copied, shared in held:
        if key in SHARED_KEYS:
            reached = {"run": token, "n": shared} if shared else start
        else:
            reached = {"offset": copied} if copied else None
        resume(cursor, runs, key, token, reached)
    return len(held)


def resume(cursor, runs, key, token, reached):
    function = "sync_state_resume" if reached else "sync_state_begin"
    cursor.execute("SELECT run_id, sync_progress, local_hash FROM " + function + "(%s, %s, 'recovery')", (key, LEASE))
    run_id, progress, local_hash = cursor.fetchone()
    if progress:
        progress.pop("filling", None)
    if progress != reached:
        raise Wrong("%s resumes at %s, the rows say %s" % (key, progress, reached))
    cursor.execute("DO $$ BEGIN PERFORM sync_state_checkpoint('%s', '%s', '{}'); RAISE 'accepted'; EXCEPTION WHEN object_not_in_prerequisite_state THEN END $$"
                   % (key, token))
    if key in SHARED_KEYS:
        runs[run_id] = SharedRun(run_id, key, local_hash)
    if not reached:
        cursor.execute("DELETE FROM m.copied WHERE type_key = %s", (key,))
