/*-------------------------------------------------------------------------
 *
 * plans.c
 *		Every SQL statement of the extension, prepared and kept.
 *
 * Statements run as the caller, through SPI, so that privileges, row security,
 * triggers of the user's and distributed tables work as for any statement.
 * They must mean the same under every search_path: each table, function,
 * type and operator is written with its schema, and constructs that look an
 * operator up by its bare name (IN, BETWEEN, IS DISTINCT FROM, NULLIF) do not
 * occur.  Values that change from call to call are parameters; times and
 * uuids too, so that a call has one idea of "now".
 *
 * A decision about a row is one statement, taken under the row's lock:
 * INSERT ... ON CONFLICT DO UPDATE ... WHERE, or UPDATE ... WHERE.  Statements
 * that write history run after it, with a snapshot that sees what the lock
 * protects.
 *
 * What is kept: one plan per statement, for the life of the backend, always
 * generic.  A plan is bound to the tables by name, and the server's plan cache
 * binds it anew when a table changes or is dropped.  It must not then bind to
 * whatever else bears that name, so syncstate_connect() first makes sure that
 * syncstate.sync_state is the extension's own and locks it; under that lock
 * the extension cannot be dropped.  The answer is remembered until a relcache
 * invalidation of that table; the callback only clears a flag.  (Tables that are
 * read or written without SPI are found in the same way.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "syncstate.h"

#define MAX_STATEMENT_ARGS 8

typedef struct StatementText
{
	const char *text;
	int			nargs;
	Oid			argtypes[MAX_STATEMENT_ARGS];
	bool		scans;			/* reads whole tables, or lists against them */
} StatementText;

/* Operators and predicates, spelled out. */
#define EQ " OPERATOR(pg_catalog.=) "
#define LT " OPERATOR(pg_catalog.<) "
#define LE " OPERATOR(pg_catalog.<=) "
#define GT " OPERATOR(pg_catalog.>) "

/* Equality in which NULL equals NULL; never NULL itself. */
#define SAME(a, b) "COALESCE(" a EQ b ", " a " IS NULL AND " b " IS NULL)"

/* A live run holds row s; $2 is now.  NULL counts as no. */
#define LIVE "(s.sync_status" EQ "'syncing' AND s.lease_expires_at" GT "$2)"

/* Row s is of a run that stopped, or is in hand. */
#define STOPPED "(s.sync_status" EQ "ANY ('{syncing,failed}'::pg_catalog.text[]))"

#define SYNCED(s) "(" s ".last_sync_at IS NOT NULL OR " s ".last_synced_hash IS NOT NULL" \
	" OR " s ".last_synced_remote_hash IS NOT NULL)"

#define HASHES "s.local_hash, s.remote_hash, s.last_synced_hash, s.last_synced_remote_hash"

/* The hashes of row s are those of conflict c. */
#define SAME_CONFLICT "(" SAME("s.local_hash", "c.local_hash") " AND " SAME("s.remote_hash", "c.remote_hash") \
	" AND " SAME("s.last_synced_hash", "c.base_local_hash") \
	" AND " SAME("s.last_synced_remote_hash", "c.base_remote_hash") ")"

/* Keys whose open conflict, or the lack of one, does not go with their status. */
#define WRONG_LOG "SELECT s.sync_status, s.type_key FROM syncstate.sync_state s" \
	" LEFT JOIN syncstate.sync_conflict c ON c.type_key" EQ "s.type_key AND c.resolved_at IS NULL" \
	" WHERE s.sync_status OPERATOR(pg_catalog.<>) ALL ('{syncing,failed}'::pg_catalog.text[])" \
	" AND CASE WHEN s.sync_status" EQ "'conflict'" \
	"  THEN c.type_key IS NULL OR NOT " SAME_CONFLICT " ELSE c.type_key IS NOT NULL END"

/* Row s is not in the listing $1; an anti-join, which the server hashes. */
#define UNLISTED "NOT EXISTS (SELECT FROM pg_catalog.unnest($1) AS u(k) WHERE u.k" EQ "s.type_key)"

/*
 * Observing.  Parameters: $1 key(s), $2 now, $3 and $4 hashes, $5 and $6 which
 * sides were observed.  On a new row there is nothing to compare with.
 */
#define OBSERVE_COLUMNS \
	"INSERT INTO syncstate.sync_state AS s (type_key, local_hash, remote_hash," \
	" last_synced_hash, last_synced_remote_hash, last_sync_at," \
	" sync_status, conflict_status, created_at, updated_at, changed_xid)" \
	" SELECT d.k, d.l, d.r," \
	" CASE WHEN d.adopt THEN d.l END, CASE WHEN d.adopt THEN d.r END, CASE WHEN d.adopt THEN $2 END," \
	" d.status, CASE WHEN d.status" EQ "'conflict' THEN 'detected' ELSE 'none' END, $2, $2, 0" \
	" FROM (SELECT o.k, o.l, o.r," \
	"  syncstate.settles(o.l, o.r, NULL, NULL, false) AS adopt," \
	"  syncstate.status_after(o.l, o.r, NULL, NULL, false) AS status FROM "
#define OBSERVED_LOCAL "CASE WHEN $5 THEN EXCLUDED.local_hash ELSE s.local_hash END"
#define OBSERVED_REMOTE "CASE WHEN $6 THEN EXCLUDED.remote_hash ELSE s.remote_hash END"
#define OBSERVED_ARGS OBSERVED_LOCAL ", " OBSERVED_REMOTE \
	", s.last_synced_hash, s.last_synced_remote_hash, " SYNCED("s")
#define OBSERVED_SETTLES "(" STOPPED " IS NOT TRUE AND syncstate.settles(" OBSERVED_ARGS "))"
#define OBSERVED_STATUS "CASE WHEN " STOPPED " THEN s.sync_status ELSE syncstate.status_after(" OBSERVED_ARGS ") END"
#define OBSERVED_CONFLICT "CASE WHEN " STOPPED " THEN s.conflict_status" \
	" WHEN syncstate.conflict_kind(" OBSERVED_ARGS ") IS NULL THEN 'none' ELSE 'detected' END"
#define OBSERVE_ON_CONFLICT \
	" ON CONFLICT (type_key) DO UPDATE SET" \
	" local_hash = " OBSERVED_LOCAL ", remote_hash = " OBSERVED_REMOTE "," \
	" last_synced_hash = CASE WHEN " OBSERVED_SETTLES " THEN " OBSERVED_LOCAL " ELSE s.last_synced_hash END," \
	" last_synced_remote_hash = CASE WHEN " OBSERVED_SETTLES " THEN " OBSERVED_REMOTE " ELSE s.last_synced_remote_hash END," \
	" last_sync_at = CASE WHEN " OBSERVED_SETTLES " THEN $2 ELSE s.last_sync_at END," \
	" sync_status = " OBSERVED_STATUS ", conflict_status = " OBSERVED_CONFLICT \
	" WHERE NOT (" SAME("(" OBSERVED_LOCAL ")", "s.local_hash") \
	" AND " SAME("(" OBSERVED_REMOTE ")", "s.remote_hash") \
	" AND " SAME("(" OBSERVED_STATUS ")", "s.sync_status") \
	" AND " SAME("(" OBSERVED_CONFLICT ")", "s.conflict_status") \
	" AND NOT " OBSERVED_SETTLES ")"

/*
 * Marking without a run: the given hashes win, unless a live run holds the
 * key.  Parameters: $1 key(s), $2 now, $3 and $4 hashes.
 */
#define MARK_COLUMNS \
	"INSERT INTO syncstate.sync_state AS s (type_key, local_hash, remote_hash," \
	" last_synced_hash, last_synced_remote_hash, last_sync_at," \
	" sync_status, conflict_status, created_at, updated_at, changed_xid)"
#define MARK_SET(l, r) \
	" SET local_hash = " l ", remote_hash = " r ", last_synced_hash = " l ", last_synced_remote_hash = " r "," \
	" last_sync_at = $2, sync_progress = NULL, sync_status = 'in_sync', conflict_status = 'none'," \
	" run_id = NULL, lease_expires_at = NULL"
#define MARK_ON_CONFLICT \
	" ON CONFLICT (type_key) DO UPDATE" MARK_SET("EXCLUDED.local_hash", "EXCLUDED.remote_hash") \
	" WHERE " LIVE " IS NOT TRUE"

/*
 * Marking with a run, $5: the row must carry its token.  The row that an upsert
 * proposes is "syncing", which is the only status that may carry one; where it is
 * really inserted the key was unknown, and the caller raises an error on seeing
 * that status come back.  What the run saw when it began is in its history row.
 */
#define MARK_RUN_COLUMNS \
	"INSERT INTO syncstate.sync_state AS s (type_key, local_hash, remote_hash," \
	" sync_status, run_id, created_at, updated_at, changed_xid)"
#define MARK_RUN_SET(l, r) \
	" SET (local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, sync_status, conflict_status) =" \
	" (SELECT k.l, k.r," \
	"  CASE WHEN k.settles THEN k.l ELSE " l " END," \
	"  CASE WHEN k.settles THEN k.r ELSE " r " END," \
	"  k.status, CASE WHEN k.status" EQ "'conflict' THEN 'detected' ELSE 'none' END" \
	"  FROM (SELECT h.l, h.r," \
	"   syncstate.settles(h.l, h.r, " l ", " r ", true) AS settles," \
	"   syncstate.status_after(h.l, h.r, " l ", " r ", true) AS status" \
	"   FROM (SELECT syncstate.kept_hash(s.local_hash, r.local_hash, " l ") AS l," \
	"    syncstate.kept_hash(s.remote_hash, r.remote_hash, " r ") AS r" \
	"    FROM (SELECT) one LEFT JOIN syncstate.sync_run r" \
	"    ON r.type_key" EQ "s.type_key AND r.run_number" EQ "s.run_number OFFSET 0) h OFFSET 0) k)," \
	" last_sync_at = $2, sync_progress = NULL, run_id = NULL, lease_expires_at = NULL"
#define MARK_RUN_ON_CONFLICT \
	" ON CONFLICT (type_key) DO UPDATE" MARK_RUN_SET("EXCLUDED.local_hash", "EXCLUDED.remote_hash") \
	" WHERE s.run_id" EQ "EXCLUDED.run_id"

#define SELECT_HOLDER \
	"SELECT " LIVE " IS TRUE, (" STOPPED " AND s.sync_progress IS NOT NULL) IS TRUE," \
	" s.run_number, s.lease_expires_at," \
	" (SELECT r.owner FROM syncstate.sync_run r" \
	"  WHERE r.type_key" EQ "s.type_key AND r.run_number" EQ "s.run_number)" \
	" FROM syncstate.sync_state s WHERE s.type_key" EQ "$1"

/* Above every run that the key's history knows, in case the row was made anew. */
#define NEXT_RUN_NUMBER "1 OPERATOR(pg_catalog.+) COALESCE((SELECT pg_catalog.max(r.run_number)" \
	" FROM syncstate.sync_run r WHERE r.type_key" EQ "$1), 0)"

/*
 * Some rows t of the feed, from a position on.  Parameters: $1 and $2 the
 * position, that is the last (changed_xid, type_key) read; $3 the transaction
 * id to stop before; $4 those to leave out; $5 how many.  A scalar subquery, not
 * NOT EXISTS: the planner is offered nothing but to walk the index in order and
 * to stop at the limit, however little a generic plan knows.  Its own LIMIT is
 * for who keeps a snapshot and makes a key again that others have deleted since:
 * that sees two rows of it.
 */
#define IN_FEED_RANGE \
	" WHERE ROW(t.changed_xid, t.type_key)" GT "ROW($1, $2)" \
	" AND t.changed_xid" LT "$3 AND t.changed_xid OPERATOR(pg_catalog.<>) ALL ($4)"
#define IN_FEED_ORDER " ORDER BY t.changed_xid, t.type_key LIMIT $5"
#define FEED_ARGS 5, {INT8OID, TEXTOID, INT8OID, INT8ARRAYOID, INT8OID}

#define STOP_SET " SET sync_status = 'failed', run_id = NULL, lease_expires_at = NULL," \
	" sync_progress = CASE WHEN $5 THEN s.sync_progress END"

/* clang-format off */
static const StatementText statements[NUM_STATEMENTS] = {
	[STMT_GET] = {
		"SELECT s FROM syncstate.sync_state s WHERE s.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_GET_HASHES] = {
		"SELECT " HASHES ", " SYNCED("s")
		" FROM syncstate.sync_state s WHERE s.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_GET_OBSERVED] = {
		"SELECT EXISTS (SELECT FROM syncstate.sync_conflict c"
		"  WHERE c.type_key" EQ "$1 AND c.resolved_at IS NULL), " HASHES ", " SYNCED("s")
		" FROM syncstate.sync_state s WHERE s.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_HOLDER] = {
		SELECT_HOLDER,
		2, {TEXTOID, TIMESTAMPTZOID}
	},
	[STMT_HOLDER_LOCKED] = {
		SELECT_HOLDER " FOR NO KEY UPDATE OF s",
		2, {TEXTOID, TIMESTAMPTZOID}
	},
	[STMT_LOCK] = {
		"SELECT FROM syncstate.sync_state s WHERE s.type_key" EQ "$1 FOR NO KEY UPDATE OF s",
		1, {TEXTOID}
	},
	[STMT_PLAN_FOR] = {
		"SELECT d.k,"
		" CASE WHEN $4 THEN d.l ELSE s.local_hash END, CASE WHEN $5 THEN d.r ELSE s.remote_hash END,"
		" s.last_synced_hash, s.last_synced_remote_hash, " SYNCED("s") ","
		" s.sync_status, s.conflict_status, s.run_id, s.lease_expires_at"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS d(k, l, r)"
		" LEFT JOIN syncstate.sync_state s ON s.type_key" EQ "d.k"
		" UNION ALL"
		" SELECT s.type_key,"
		" CASE WHEN $4 THEN NULL ELSE s.local_hash END, CASE WHEN $5 THEN NULL ELSE s.remote_hash END,"
		" s.last_synced_hash, s.last_synced_remote_hash, " SYNCED("s") ","
		" s.sync_status, s.conflict_status, s.run_id, s.lease_expires_at"
		" FROM syncstate.sync_state s WHERE $6 AND " UNLISTED
		" ORDER BY 1",
		6, {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, BOOLOID, BOOLOID},
		.scans = true
	},
	[STMT_CHANGED_SINCE] = {
		"SELECT s.type_key FROM syncstate.sync_state s WHERE s.updated_at" GT "$1 ORDER BY s.type_key",
		1, {TIMESTAMPTZOID},
		.scans = true
	},
	/* Fenced off from the order, or the planner would read all keys in theirs: it must not sort. */
	[STMT_DETECT_INTERRUPTED] = {
		"SELECT i.type_key FROM (SELECT s.type_key FROM syncstate.sync_state s"
		"  WHERE s.sync_status" EQ "'syncing'"
		"  AND (s.lease_expires_at IS NULL OR s.lease_expires_at" LE "$1) OFFSET 0) i"
		" ORDER BY i.type_key",
		1, {TIMESTAMPTZOID}
	},

	[STMT_OBSERVE] = {
		OBSERVE_COLUMNS "(VALUES ($1, $3, $4)) AS o(k, l, r)) d" OBSERVE_ON_CONFLICT
		" RETURNING s.sync_status, " HASHES ", " SYNCED("s"),
		6, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID}
	},
	[STMT_OBSERVE_MANY] = {
		OBSERVE_COLUMNS
		"(SELECT u.k, u.l, u.r FROM"
		"  ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS u(k, l, r)"
		"  UNION ALL SELECT s.type_key, NULL, NULL FROM syncstate.sync_state s"
		"  WHERE $7 AND " UNLISTED ") AS o) d"
		" ORDER BY d.k COLLATE pg_catalog.\"C\"" OBSERVE_ON_CONFLICT
		" RETURNING s.sync_status, s.type_key, s.created_at" EQ "$2",
		7, {TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, BOOLOID, BOOLOID},
		.scans = true
	},
	[STMT_CLOSE_CONFLICTS] = {
		"UPDATE syncstate.sync_conflict c SET resolved_at = $2, resolution = $3, resolved_by = $4"
		" WHERE c.type_key" EQ "ANY ($1) AND c.resolved_at IS NULL",
		4, {TEXTARRAYOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	},
	[STMT_CLOSE_STALE_CONFLICTS] = {
		"UPDATE syncstate.sync_conflict c SET resolved_at = $2, resolution = $3, resolved_by = $4"
		" FROM syncstate.sync_state s"
		" WHERE c.type_key" EQ "ANY ($1) AND c.resolved_at IS NULL AND s.type_key" EQ "c.type_key"
		" AND NOT " SAME_CONFLICT,
		4, {TEXTARRAYOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	},
	[STMT_WRONG_LOG] = {
		WRONG_LOG " AND s.type_key" EQ "ANY ($1)",
		1, {TEXTARRAYOID},
		.scans = true
	},
	[STMT_WRONG_LOG_OF_ALL] = {
		WRONG_LOG,
		0, {0},
		.scans = true
	},
	/* A scalar subquery and not NOT EXISTS, for which it would read all open conflicts, too. */
	[STMT_OPEN_CONFLICTS] = {
		"INSERT INTO syncstate.sync_conflict (type_key, conflict_number, kind,"
		" base_local_hash, base_remote_hash, local_hash, remote_hash, detected_at)"
		" SELECT s.type_key, 1 OPERATOR(pg_catalog.+) COALESCE((SELECT pg_catalog.max(c.conflict_number)"
		"  FROM syncstate.sync_conflict c WHERE c.type_key" EQ "s.type_key), 0),"
		" syncstate.conflict_kind(" HASHES ", " SYNCED("s") "),"
		" s.last_synced_hash, s.last_synced_remote_hash, s.local_hash, s.remote_hash, $2"
		" FROM syncstate.sync_state s WHERE s.type_key" EQ "ANY ($1)"
		" AND syncstate.conflict_kind(" HASHES ", " SYNCED("s") ") IS NOT NULL"
		" AND (SELECT c.conflict_number FROM syncstate.sync_conflict c"
		"  WHERE c.type_key" EQ "s.type_key AND c.resolved_at IS NULL LIMIT 1) IS NULL",
		2, {TEXTARRAYOID, TIMESTAMPTZOID}
	},

	/* What the upserts below do if the row exists, for less. */
	[STMT_MARK_KNOWN] = {
		"UPDATE syncstate.sync_state AS s" MARK_SET("$3", "$4")
		" WHERE s.type_key" EQ "$1 AND " LIVE " IS NOT TRUE RETURNING s, s.sync_status, s.run_number",
		4, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	},
	[STMT_MARK] = {
		MARK_COLUMNS " VALUES ($1, $3, $4, $3, $4, $2, 'in_sync', 'none', $2, $2, 0)" MARK_ON_CONFLICT
		" RETURNING s, s.sync_status, s.run_number",
		4, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	},
	[STMT_MARK_RUN_KNOWN] = {
		"UPDATE syncstate.sync_state AS s" MARK_RUN_SET("$3", "$4")
		" WHERE s.type_key" EQ "$1 AND s.run_id" EQ "$5 RETURNING s, s.sync_status, s.run_number",
		5, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, UUIDOID}
	},
	[STMT_MARK_RUN] = {
		MARK_RUN_COLUMNS " VALUES ($1, $3, $4, 'syncing', $5, $2, $2, 0)" MARK_RUN_ON_CONFLICT
		" RETURNING s, s.sync_status, s.run_number",
		5, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, UUIDOID}
	},
	[STMT_MARK_MANY] = {
		MARK_COLUMNS " SELECT d.k, d.l, d.r, d.l, d.r, $2, 'in_sync', 'none', $2, $2, 0"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS d(k, l, r)"
		" ORDER BY d.k COLLATE pg_catalog.\"C\"" MARK_ON_CONFLICT
		" RETURNING s.type_key, s.sync_status, s.run_number",
		4, {TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[STMT_MARK_RUN_MANY] = {
		MARK_RUN_COLUMNS " SELECT d.k, d.l, d.r, 'syncing', d.run, $2, $2, 0"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5)) AS d(k, l, r, run)"
		" ORDER BY d.k COLLATE pg_catalog.\"C\"" MARK_RUN_ON_CONFLICT
		" RETURNING s.type_key, s.sync_status, s.run_number",
		5, {TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, UUIDARRAYOID}
	},
	[STMT_MARKED_BEFORE] = {
		"SELECT s FROM syncstate.sync_run r JOIN syncstate.sync_state s ON s.type_key" EQ "r.type_key"
		" WHERE r.type_key" EQ "$1 AND r.run_id" EQ "$2 AND r.outcome" EQ "'synced'"
		" AND " SAME("r.marked_local_hash", "$3") " AND " SAME("r.marked_remote_hash", "$4"),
		4, {TEXTOID, UUIDOID, TEXTOID, TEXTOID}
	},
	[STMT_FINISH_MARKED] = {
		"UPDATE syncstate.sync_run r SET finished_at = $2,"
		" outcome = CASE WHEN r.run_id" EQ "d.run THEN 'synced' ELSE 'superseded' END,"
		" marked_local_hash = CASE WHEN r.run_id" EQ "d.run THEN d.l END,"
		" marked_remote_hash = CASE WHEN r.run_id" EQ "d.run THEN d.r END"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5)) AS d(k, l, r, run)"
		" WHERE r.type_key" EQ "d.k AND r.outcome IS NULL",
		5, {TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID, UUIDARRAYOID}
	},

	[STMT_RESET] = {
		"UPDATE syncstate.sync_state AS s SET last_synced_hash = NULL, last_synced_remote_hash = NULL,"
		" last_sync_at = NULL, sync_progress = NULL, sync_status = 'new', conflict_status = 'none',"
		" run_id = NULL, lease_expires_at = NULL"
		" WHERE s.type_key" EQ "$1 AND ($3 OR " LIVE " IS NOT TRUE) RETURNING s",
		3, {TEXTOID, TIMESTAMPTZOID, BOOLOID}
	},
	[STMT_FORGET] = {
		"DELETE FROM syncstate.sync_state AS s"
		" WHERE s.type_key" EQ "$1 AND ($3 OR " LIVE " IS NOT TRUE) RETURNING true",
		3, {TEXTOID, TIMESTAMPTZOID, BOOLOID}
	},

	[STMT_BEGIN] = {
		"INSERT INTO syncstate.sync_state AS s (type_key, sync_status, run_id, run_number,"
		" lease_expires_at, created_at, updated_at, changed_xid)"
		" VALUES ($1, 'syncing', $3, " NEXT_RUN_NUMBER ", $4, $2, $2, 0)"
		" ON CONFLICT (type_key) DO UPDATE SET sync_status = 'syncing',"
		" run_id = EXCLUDED.run_id, lease_expires_at = EXCLUDED.lease_expires_at,"
		" run_number = GREATEST(s.run_number OPERATOR(pg_catalog.+) 1, EXCLUDED.run_number),"
		" sync_progress = CASE WHEN " STOPPED " THEN s.sync_progress END"
		" WHERE " LIVE " IS NOT TRUE RETURNING s.run_number",
		4, {TEXTOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID}
	},
	[STMT_RESUME] = {
		"UPDATE syncstate.sync_state AS s SET sync_status = 'syncing',"
		" run_id = $3, lease_expires_at = $4,"
		" run_number = GREATEST(s.run_number OPERATOR(pg_catalog.+) 1, " NEXT_RUN_NUMBER ")"
		" WHERE s.type_key" EQ "$1 AND " LIVE " IS NOT TRUE"
		" AND " STOPPED " AND s.sync_progress IS NOT NULL RETURNING s.run_number",
		4, {TEXTOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID}
	},

	/*
	 * p is the run that left the checkpoint which the new one starts from: the
	 * latest that did not itself start from it.
	 */
	[STMT_RECORD_RUN] = {
		"WITH ended AS (UPDATE syncstate.sync_run r SET finished_at = $2, outcome = 'superseded'"
		"  WHERE r.type_key" EQ "$1 AND r.outcome IS NULL)"
		" INSERT INTO syncstate.sync_run AS n (type_key, run_number, run_id, owner, backend_pid,"
		" started_at, sync_progress, content_moved, local_hash, remote_hash)"
		" SELECT s.type_key, s.run_number, s.run_id, $4, $5, $2, s.sync_progress,"
		" CASE WHEN s.sync_progress IS NULL THEN false WHEN p.run_number IS NULL THEN NULL"
		" ELSE NOT " SAME("s.local_hash", "p.local_hash") " OR NOT " SAME("s.remote_hash", "p.remote_hash") " END,"
		" s.local_hash, s.remote_hash"
		" FROM syncstate.sync_state s LEFT JOIN LATERAL"
		"  (SELECT q.run_number, q.local_hash, q.remote_hash"
		"   FROM syncstate.sync_run q WHERE q.type_key" EQ "s.type_key AND q.run_number" LT "s.run_number"
		"   AND s.sync_progress IS NOT NULL AND NOT " SAME("q.sync_progress", "s.sync_progress")
		"   ORDER BY q.run_number DESC LIMIT 1) p ON true"
		" WHERE s.type_key" EQ "$1 AND s.run_id" EQ "$3"
		" RETURNING n",
		5, {TEXTOID, TIMESTAMPTZOID, UUIDOID, TEXTOID, INT4OID}
	},
	/*
	 * Failed since its latest run ended.  A run that ended after our snapshot
	 * is not found, when the row is looked at again under its lock; then the
	 * row's own time counts, which is later still.
	 *
	 * Never a conflict; but a run that stopped half-way leaves sides that may
	 * look like one, and is to be taken up.
	 */
	[STMT_CLAIM] = {
		"SELECT s.type_key FROM syncstate.sync_state s"
		" WHERE s.sync_status" EQ "ANY ('{new,modified,syncing,failed}'::pg_catalog.text[])"
		" AND (s.sync_status" EQ "ANY ('{new,modified}'::pg_catalog.text[])"
		"  OR (s.sync_status" EQ "'syncing' AND " LIVE " IS NOT TRUE)"
		"  OR (s.sync_status" EQ "'failed' AND COALESCE((SELECT r.finished_at FROM syncstate.sync_run r"
		"   WHERE r.type_key" EQ "s.type_key AND r.run_number" EQ "s.run_number"
		"   AND r.outcome" EQ "ANY ('{failed,rolled_back}'::pg_catalog.text[])), s.updated_at)" LE "$5))"
		" AND s.conflict_status OPERATOR(pg_catalog.<>) 'detected' IS NOT FALSE"
		" AND (syncstate.conflict_kind(" HASHES ", " SYNCED("s") ") IS NULL"
		"  OR s.sync_status" EQ "'syncing' OR (s.sync_status" EQ "'failed' AND s.sync_progress IS NOT NULL))"
		" AND ($3 IS NULL OR s.type_key OPERATOR(pg_catalog.^@) $3)"
		" ORDER BY s.type_key LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED",
		5, {TEXTOID, TIMESTAMPTZOID, TEXTOID, INT8OID, TIMESTAMPTZOID},
		.scans = true
	},
	[STMT_CHECKPOINT] = {
		"UPDATE syncstate.sync_state AS s SET sync_progress = COALESCE($3, s.sync_progress),"
		" lease_expires_at = GREATEST(s.lease_expires_at, $4)"
		" WHERE s.type_key" EQ "$1 AND s.run_id" EQ "$2 RETURNING s.lease_expires_at",
		4, {TEXTOID, UUIDOID, JSONBOID, TIMESTAMPTZOID}
	},

	/* $3 the run or NULL, $4 force, $5 keep the progress. */
	[STMT_STOP] = {
		"UPDATE syncstate.sync_state AS s" STOP_SET
		" WHERE s.type_key" EQ "$1 AND CASE WHEN $3 IS NULL THEN $4 OR " LIVE " IS NOT TRUE"
		" ELSE s.run_id" EQ "$3 END RETURNING s",
		5, {TEXTOID, TIMESTAMPTZOID, UUIDOID, BOOLOID, BOOLOID}
	},
	[STMT_CREATE_FAILED] = {
		"INSERT INTO syncstate.sync_state AS s (type_key, sync_status, created_at, updated_at, changed_xid)"
		" VALUES ($1, 'failed', $2, $2, 0) ON CONFLICT (type_key) DO UPDATE" STOP_SET
		" WHERE $4 OR " LIVE " IS NOT TRUE RETURNING s",
		5, {TEXTOID, TIMESTAMPTZOID, UUIDOID, BOOLOID, BOOLOID}
	},
	[STMT_FINISH_RUN] = {
		"UPDATE syncstate.sync_run r SET finished_at = $2, outcome = $3, error = $4"
		" WHERE r.type_key" EQ "$1 AND r.outcome IS NULL",
		4, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	},

	[STMT_ENTOMB] = {
		"INSERT INTO syncstate.sync_tombstone (type_key, changed_xid, deleted_at) VALUES ($1, $2, $3)"
		" ON CONFLICT (type_key) DO UPDATE SET changed_xid = EXCLUDED.changed_xid, deleted_at = EXCLUDED.deleted_at",
		3, {TEXTOID, INT8OID, TIMESTAMPTZOID}
	},
	[STMT_FORGET_RUNS] = {
		"DELETE FROM syncstate.sync_run r WHERE r.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_FORGET_CONFLICTS] = {
		"DELETE FROM syncstate.sync_conflict c WHERE c.type_key" EQ "$1",
		1, {TEXTOID}
	},

	[STMT_DISTRIBUTED] = {
		"SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid::pg_catalog.oid" EQ "$1",
		1, {OIDOID}
	},
	[STMT_FEED_STATE] = {
		"SELECT f.incarnation, f.pruned_xid,"
		" (SELECT pg_catalog.max(s.changed_xid) FROM syncstate.sync_state s)"
		" FROM (SELECT) one LEFT JOIN syncstate.sync_feed f ON true",
		0, {0}
	},
	[STMT_FEED_STATES] = {
		"SELECT t.changed_xid, t.type_key, t.sync_status, t.conflict_status,"
		" t.local_hash, t.remote_hash, t.last_sync_at, t.updated_at"
		" FROM syncstate.sync_state t" IN_FEED_RANGE IN_FEED_ORDER,
		FEED_ARGS
	},
	[STMT_FEED_TOMBSTONES] = {
		"SELECT t.changed_xid, t.type_key, NULL::pg_catalog.text, NULL::pg_catalog.text,"
		" NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.timestamptz, t.deleted_at"
		" FROM syncstate.sync_tombstone t" IN_FEED_RANGE
		" AND (SELECT s.type_key FROM syncstate.sync_state s WHERE s.type_key" EQ "t.type_key"
		" LIMIT 1) IS NULL" IN_FEED_ORDER,
		FEED_ARGS
	},

	/* Is it held, is it in conflict, and is that the open one that is logged? */
	[STMT_LOCK_CONFLICT] = {
		"SELECT syncstate.conflict_kind(" HASHES ", " SYNCED("s") ") IS NOT NULL,"
		" c.conflict_number,"
		" c.conflict_number IS NOT NULL"
		" AND " SAME("s.local_hash", "c.local_hash") " AND " SAME("s.remote_hash", "c.remote_hash")
		" AND " SAME("s.last_synced_hash", "c.base_local_hash")
		" AND " SAME("s.last_synced_remote_hash", "c.base_remote_hash")
		" FROM syncstate.sync_state s LEFT JOIN syncstate.sync_conflict c"
		" ON c.type_key" EQ "s.type_key AND c.resolved_at IS NULL"
		" WHERE s.type_key" EQ "$1",
		1, {TEXTOID}
	},

	/*
	 * $3 local, remote or merged; $4 the merged hash.  Ours stands: the base of
	 * the other side moves up to it, so that only our side has moved.
	 */
	[STMT_RESOLVE] = {
		"UPDATE syncstate.sync_state AS s SET (local_hash, last_synced_hash, last_synced_remote_hash,"
		" sync_status, conflict_status) ="
		" (SELECT v.l, v.bl, v.br, syncstate.status_after(v.l, s.remote_hash, v.bl, v.br,"
		"  s.last_sync_at IS NOT NULL OR v.bl IS NOT NULL OR v.br IS NOT NULL), 'resolved'"
		"  FROM (SELECT CASE WHEN $3" EQ "'merged' THEN $4 ELSE s.local_hash END AS l,"
		"   CASE WHEN $3" EQ "'remote' THEN s.local_hash WHEN $3" EQ "'merged' THEN s.remote_hash"
		"    ELSE s.last_synced_hash END AS bl,"
		"   CASE WHEN $3" EQ "'remote' THEN s.last_synced_remote_hash ELSE s.remote_hash END AS br"
		"   OFFSET 0) v), sync_progress = NULL, run_id = NULL, lease_expires_at = NULL"
		" WHERE s.type_key" EQ "$1 AND " LIVE " IS NOT TRUE RETURNING s",
		4, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID}
	},
	[STMT_LOG_RESOLUTION] = {
		"UPDATE syncstate.sync_conflict c SET resolved_at = $2, resolution = $3,"
		" resolved_hash = CASE WHEN $3" EQ "'merged' THEN $4 WHEN $3" EQ "'remote' THEN c.remote_hash"
		"  ELSE c.local_hash END, resolved_by = $5"
		" WHERE c.type_key" EQ "$1 AND c.resolved_at IS NULL",
		5, {TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID}
	},

	/*
	 * Recovery still needs two runs of a key that stopped: the latest, and the
	 * one that left the checkpoint, for what it had seen.
	 */
	[STMT_PRUNE_RUNS] = {
		"DELETE FROM syncstate.sync_run r WHERE r.finished_at" LT "$1"
		" AND NOT EXISTS (SELECT FROM syncstate.sync_state s WHERE s.type_key" EQ "r.type_key"
		"  AND " STOPPED " AND (r.run_number" EQ "s.run_number OR r.run_number" EQ
		"   (SELECT pg_catalog.max(q.run_number) FROM syncstate.sync_run q"
		"    WHERE q.type_key" EQ "s.type_key AND q.run_number" LE "s.run_number"
		"    AND s.sync_progress IS NOT NULL AND NOT " SAME("q.sync_progress", "s.sync_progress") ")))",
		1, {TIMESTAMPTZOID},
		.scans = true
	},

	/* The latest of a key stays: its number must not be given to another one. */
	[STMT_PRUNE_CONFLICTS] = {
		"DELETE FROM syncstate.sync_conflict c WHERE c.resolved_at" LT "$1"
		" AND c.conflict_number" LT "(SELECT pg_catalog.max(d.conflict_number)"
		"  FROM syncstate.sync_conflict d WHERE d.type_key" EQ "c.type_key)",
		1, {TIMESTAMPTZOID},
		.scans = true
	},
	[STMT_PRUNE_TOMBSTONES] = {
		"WITH gone AS (DELETE FROM syncstate.sync_tombstone t WHERE t.deleted_at" LT "$1"
		"  RETURNING t.changed_xid)"
		" SELECT pg_catalog.count(*), pg_catalog.max(g.changed_xid) FROM gone g",
		1, {TIMESTAMPTZOID},
		.scans = true
	},
	[STMT_NOTE_PRUNED] = {
		"UPDATE syncstate.sync_feed f SET pruned_xid = GREATEST(f.pruned_xid, $1)",
		1, {INT8OID}
	},
	[STMT_NEW_INCARNATION] = {
		"UPDATE syncstate.sync_feed f SET incarnation = $1",
		1, {UUIDOID}
	},
	[STMT_ATTACH] = {
		"INSERT INTO syncstate.sync_source AS s (type_key, local, remote, columns, key_columns, row_base, source_id, attached_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (type_key) DO UPDATE SET"
		" local = EXCLUDED.local, remote = EXCLUDED.remote, columns = EXCLUDED.columns,"
		" key_columns = EXCLUDED.key_columns, row_base = EXCLUDED.row_base,"
		" source_id = EXCLUDED.source_id, attached_at = EXCLUDED.attached_at RETURNING s",
		8, {TEXTOID, REGCLASSOID, REGCLASSOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, UUIDOID, TIMESTAMPTZOID}
	},
	[STMT_DETACH] = {
		"DELETE FROM syncstate.sync_source s WHERE s.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_FORGET_ROW_BASES] = {
		"DELETE FROM syncstate.sync_row_base b WHERE b.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_SET_ROW_BASES] = {
		"INSERT INTO syncstate.sync_row_base (type_key, key_hash, row_hash)"
		" SELECT $1, u.k, u.r FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u(k, r)"
		" ORDER BY u.k ON CONFLICT (type_key, key_hash) DO UPDATE SET row_hash = EXCLUDED.row_hash",
		3, {TEXTOID, BYTEAARRAYOID, BYTEAARRAYOID},
		.scans = true
	},
	[STMT_DROP_ROW_BASES] = {
		"DELETE FROM syncstate.sync_row_base b WHERE b.type_key" EQ "$1 AND b.key_hash" EQ "ANY ($2)",
		2, {TEXTOID, BYTEAARRAYOID},
		.scans = true
	},
	[STMT_ROW_BASES] = {
		"SELECT b.key_hash, b.row_hash FROM syncstate.sync_row_base b"
		" WHERE b.type_key" EQ "$1 AND b.key_hash" EQ "ANY ($2)",
		2, {TEXTOID, BYTEAARRAYOID}
	},
	[STMT_ROWS_SYNCED] = {
		"SELECT WHERE EXISTS (SELECT FROM syncstate.sync_row_base b WHERE b.type_key" EQ "$1)"
		" OR EXISTS (SELECT FROM syncstate.sync_state s WHERE s.type_key" EQ "$1"
		"  AND s.last_sync_at OPERATOR(pg_catalog.>=) $2)",
		2, {TEXTOID, TIMESTAMPTZOID}
	},
	[STMT_NOTE_TRACKING] = {
		"INSERT INTO syncstate.sync_tracking AS t (type_key, source_id, signature, verified_at)"
		" VALUES ($1, $2, $3, $4) ON CONFLICT (type_key) DO UPDATE SET source_id = EXCLUDED.source_id,"
		" signature = EXCLUDED.signature, verified_at = EXCLUDED.verified_at",
		4, {TEXTOID, UUIDOID, TEXTOID, TIMESTAMPTZOID}
	},
	[STMT_FORGET_TRACKING] = {
		"DELETE FROM syncstate.sync_tracking t WHERE t.type_key" EQ "$1",
		1, {TEXTOID}
	},
	[STMT_FORGET_DELTAS] = {
		"DELETE FROM syncstate.sync_tracking_delta d WHERE d.source_id" EQ "$1",
		1, {UUIDOID},
		.scans = true
	},

	/* What is deleted here is what is added up: a delta that somebody else folds counts once. */
	[STMT_TAKE_DELTAS] = {
		"DELETE FROM syncstate.sync_tracking_delta d RETURNING d.source_id, d.row_count, d.sum_high, d.sum_low",
		0, {0},
		.scans = true
	},
	[STMT_PUT_DELTA] = {
		"INSERT INTO syncstate.sync_tracking_delta (source_id, row_count, sum_high, sum_low)"
		" VALUES ($1, $2, $3, $4)",
		4, {UUIDOID, INT8OID, INT8OID, INT8OID},
		.scans = true
	},
	[STMT_FIRST_INCARNATION] = {
		"INSERT INTO syncstate.sync_feed (incarnation, pruned_xid) VALUES ($1, 0)",
		1, {UUIDOID}
	},
	[STMT_MEND_CHANGED_XID] = {
		"UPDATE syncstate.sync_state s SET changed_xid = $1 WHERE s.changed_xid OPERATOR(pg_catalog.>=) $2",
		2, {INT8OID, INT8OID},
		.scans = true
	},
};
/* clang-format on */

/*
 * A statement as it is kept.  A generic plan lives until one of its tables
 * changes, so one that suits an empty table must not be made: the table may have
 * grown to a million rows before anything makes the server plan anew.  All but
 * those that scan are therefore planned as if there were nothing but indexes.
 */
static SPIPlanPtr plans[NUM_STATEMENTS];
static bool planned[NUM_STATEMENTS];

/* Tables of the extension, as last looked up and found to be its own. */
static const char *const table_names[NUM_TABLES] = {
	[TABLE_STATE] = "sync_state",
	[TABLE_SOURCE] = "sync_source",
	[TABLE_TRACKING] = "sync_tracking",
	[TABLE_TRACKING_DELTA] = "sync_tracking_delta",
	[TABLE_ROW_BASE] = "sync_row_base",
	[TABLE_CONFLICT] = "sync_conflict",
};
static Oid	table_oids[NUM_TABLES];
static bool table_oids_valid[NUM_TABLES];

static void
invalidate_table_oids(Datum arg, Oid relid)
{
	for (int i = 0; i < NUM_TABLES; i++)
	{
		if (relid == InvalidOid || relid == table_oids[i])
			table_oids_valid[i] = false;
	}
}

void
syncstate_init_plans(void)
{
	CacheRegisterRelcacheCallback(invalidate_table_oids, (Datum) 0);
}

/* OID of a table in schema syncstate, if it is one of this extension; InvalidOid: it is not. */
static Oid
find_table(const char *name)
{
	Oid			namespace = get_namespace_oid("syncstate", true);
	Oid			extension = get_extension_oid("syncstate", true);
	Oid			relid = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;

	if (!OidIsValid(relid) || !OidIsValid(extension) ||
		getExtensionOfObject(RelationRelationId, relid) != extension)
		return InvalidOid;
	return relid;
}

static void
report_missing_table(SyncstateTable table)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table syncstate.%s of extension syncstate does not exist", table_names[table]),
			 errhint("CREATE EXTENSION syncstate makes it.")));
}

/*
 * Locks a table of the extension and returns its OID; InvalidOid if there is
 * none.
 *
 * Taking the lock is what makes invalidations arrive, so look again after it:
 * only a lock on what is still ours lets the plans be used.  What is still the
 * same table then is so for good, whatever was invalidated, even if that is
 * everything each time that a lock is taken (debug_discard_caches).  The lock
 * stays until the transaction ends, as any statement's would.
 */
Oid
syncstate_lock_table_if_exists(SyncstateTable table, int lockmode)
{
	Oid			locked = InvalidOid;

	for (;;)
	{
		Oid			relid;

		if (!table_oids_valid[table])
		{
			table_oids[table] = find_table(table_names[table]);
			table_oids_valid[table] = OidIsValid(table_oids[table]);
		}
		relid = table_oids[table];
		if (relid == locked)
			return relid;

		if (OidIsValid(locked))
			UnlockRelationOid(locked, lockmode);
		if (!OidIsValid(relid))
			return InvalidOid;
		LockRelationOid(relid, lockmode);
		locked = relid;
	}
}

/* The same for a table that must be there. */
Oid
syncstate_lock_table(SyncstateTable table, int lockmode)
{
	Oid			relid = syncstate_lock_table_if_exists(table, lockmode);

	if (!OidIsValid(relid))
		report_missing_table(table);
	return relid;
}

/* OID of syncstate.sync_state; after syncstate_connect(). */
Oid
syncstate_state_relid(void)
{
	Assert(OidIsValid(table_oids[TABLE_STATE]));
	return table_oids[TABLE_STATE];
}

/* SPI_connect, ready for this file's statements. */
void
syncstate_connect(void)
{
	(void) syncstate_lock_table(TABLE_STATE, AccessShareLock);
	SPI_connect();
}

/*
 * Has a table never had a row, or did VACUUM give all of it back?  Cheap, and
 * needs no snapshot.  A table that is not there, because the extension has not
 * been updated yet to the version of its library, is empty.
 */
bool
syncstate_table_is_empty(SyncstateTable table)
{
	Oid			relid = syncstate_lock_table_if_exists(table, AccessShareLock);
	Relation	rel;
	bool		empty;

	if (!OidIsValid(relid))
		return true;
	rel = table_open(relid, NoLock);
	empty = RelationGetNumberOfBlocks(rel) == 0;
	table_close(rel, NoLock);
	return empty;
}

/* Runs a utility command, which needs no plan. */
void
syncstate_execute_utility(const char *command)
{
	int			code = SPI_execute(command, false, 0);

	if (code != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute failed for \"%s\": %s", command, SPI_result_code_string(code));
}

/* A plan that is kept for the life of the backend. */
SPIPlanPtr
syncstate_prepare(const char *text, int nargs, Oid *argtypes)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(text, nargs, argtypes, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s", text, SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	return plan;
}

/*
 * Runs a plan and returns the number of rows that it processed; the rows are
 * in SPI_tuptable.  read_only: with the snapshot of the calling query, for
 * functions that are STABLE; else with a new one, as each statement at READ
 * COMMITTED gets it.
 */
uint64
syncstate_execute_plan(SPIPlanPtr plan, const char *name, int nargs,
					   const NullableDatum *args, bool read_only)
{
	Datum		values[MAX_STATEMENT_ARGS + NUM_FIELDS] = {0};
	char		nulls[lengthof(values)] = {0};
	int			code;

	Assert(nargs <= (int) lengthof(values));
	for (int i = 0; i < nargs; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}

	code = SPI_execute_plan(plan, values, nulls, read_only, 0);
	if (code < 0)
		elog(ERROR, "SPI_execute_plan failed for \"%s\": %s", name, SPI_result_code_string(code));
	return SPI_processed;
}

/*
 * Settings for planning by index, until AtEOXact_GUC(true, result) or the end of
 * the (sub)transaction.  What has no index for it seems so dear to the planner
 * then that it would be worth compiling, so no JIT.
 */
static int
insist_on_index(void)
{
	static const char *const settings[] = {"enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

uint64
syncstate_execute(SyncstateStatement statement, const NullableDatum *args, bool read_only)
{
	const StatementText *s = &statements[statement];
	uint64		processed;
	int			level;

	Assert(s->nargs <= MAX_STATEMENT_ARGS);
	if (plans[statement] == NULL)
		plans[statement] = syncstate_prepare(s->text, s->nargs, (Oid *) s->argtypes);
	if (s->scans || (planned[statement] && SPI_plan_is_valid(plans[statement])))
		return syncstate_execute_plan(plans[statement], s->text, s->nargs, args, read_only);

	level = insist_on_index();
	processed = syncstate_execute_plan(plans[statement], s->text, s->nargs, args, read_only);
	AtEOXact_GUC(true, level);
	planned[statement] = true;
	return processed;
}

/* Value of a column (from 1) of the last result; lives until SPI_finish. */
NullableDatum
syncstate_result(uint64 row, int column)
{
	NullableDatum result;

	result.value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
								 column, &result.isnull);
	return result;
}

/* The same for a value by reference that is not NULL, copied for the caller of SPI_connect. */
Datum
syncstate_return_datum(uint64 row, int column)
{
	NullableDatum result = syncstate_result(row, column);

	Assert(!result.isnull);
	return SPI_datumTransfer(result.value, false, -1);
}

SyncstateHolder
syncstate_read_holder(Datum type_key, TimestampTz now, bool lock)
{
	NullableDatum args[] = {syncstate_datum(type_key), syncstate_datum(TimestampTzGetDatum(now))};
	SyncstateHolder holder = {0};
	NullableDatum expires;
	NullableDatum owner;

	if (syncstate_execute(lock ? STMT_HOLDER_LOCKED : STMT_HOLDER, args, false) == 0)
		return holder;

	holder.known = true;
	holder.live = DatumGetBool(syncstate_result(0, 1).value);
	holder.resumable = DatumGetBool(syncstate_result(0, 2).value);
	holder.run_number = DatumGetInt32(syncstate_result(0, 3).value);
	expires = syncstate_result(0, 4);
	holder.lease_expires_at = expires.isnull ? DT_NOBEGIN : DatumGetTimestampTz(expires.value);
	owner = syncstate_result(0, 5);
	holder.owner = owner.isnull ? NULL : TextDatumGetCString(owner.value);
	return holder;
}

void
syncstate_refuse_if_held(const SyncstateHolder *holder, Datum type_key)
{
	if (holder->live)
		syncstate_report_held(type_key, holder->owner, holder->run_number,
							  holder->lease_expires_at);
}

/*
 * Runs an UPDATE or DELETE of the key args[0] that passes over a row which a
 * live run holds; raises the error if it did.  False: the key is unknown.  By
 * the time we look, the row may have changed again; so look under its lock,
 * and under that lock try once more.
 */
bool
syncstate_execute_unless_held(SyncstateStatement statement, const NullableDatum *args, TimestampTz now)
{
	SyncstateHolder holder;

	if (syncstate_execute(statement, args, false) > 0)
		return true;

	holder = syncstate_read_holder(args[0].value, now, true);
	if (!holder.known)
		return false;
	syncstate_refuse_if_held(&holder, args[0].value);
	if (syncstate_execute(statement, args, false) == 0)
		syncstate_report_suppressed(args[0].value);
	return true;
}

/*
 * Appends the last result to the set that the function returns: a composite
 * value in column 1 as a row of its type, else the columns as they are.
 */
void
syncstate_return_rows(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		composite = type_is_rowtype(TupleDescAttr(SPI_tuptable->tupdesc, 0)->atttypid);

	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
	{
		HeapTupleData row;
		HeapTupleHeader header;

		if (!composite)
		{
			tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
			continue;
		}
		header = DatumGetHeapTupleHeader(syncstate_result(i, 1).value);
		row.t_len = HeapTupleHeaderGetDatumLength(header);
		ItemPointerSetInvalid(&row.t_self);
		row.t_tableOid = InvalidOid;
		row.t_data = header;
		tuplestore_puttuple(rsinfo->setResult, &row);
	}
}
