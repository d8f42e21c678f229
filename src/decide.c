/*-------------------------------------------------------------------------
 *
 * decide.c
 *		The three-way decision: what is to be done about a key.
 *
 * Pure: reads no table and keeps nothing.  Everything in the extension that
 * decides, in C or in one of its SQL statements, ends here.
 *
 * A side "moved" when its hash is distinct from its own base, so that sides
 * which hash differently can be compared each with its own past; NULL means
 * that the side is absent.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_state_action);
PG_FUNCTION_INFO_V1(sync_state_detail);
PG_FUNCTION_INFO_V1(syncstate_status_after);
PG_FUNCTION_INFO_V1(syncstate_settles);
PG_FUNCTION_INFO_V1(syncstate_conflict_kind);
PG_FUNCTION_INFO_V1(syncstate_kept_hash);
PG_FUNCTION_INFO_V1(syncstate_is_sync_status);
PG_FUNCTION_INFO_V1(syncstate_is_conflict_status);
PG_FUNCTION_INFO_V1(syncstate_is_type_key);
PG_FUNCTION_INFO_V1(syncstate_may_have_run);
PG_FUNCTION_INFO_V1(syncstate_is_run_outcome);

/* Equality in which NULL equals NULL; by bytes. */
bool
syncstate_same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static SyncstateDecision
initial_sync(const SyncstateSides *s)
{
	SyncstateDecision d = {.action = "INITIAL_SYNC", .status = "new"};

	if (s->local == NULL && s->remote == NULL)
		d.detail = "empty";
	else if (s->remote == NULL)
		d.detail = "push";
	else if (s->local == NULL)
		d.detail = "pull";
	else if (syncstate_same_text(s->local, s->remote))
	{
		d.detail = "adopt";
		d.status = "in_sync";
		d.settles = true;
	}
	else
	{
		d.detail = "conflict";
		d.status = "conflict";
		d.conflict = true;
	}
	return d;
}

static SyncstateDecision
no_change(const SyncstateSides *s, bool moved)
{
	SyncstateDecision d = {.action = "NO_CHANGE", .status = "in_sync", .settles = moved};

	if (!moved)
		d.detail = "unchanged";
	else
		d.detail = s->local == NULL ? "both_deleted" : "converged";
	return d;
}

/* One side moved: the other is to follow, in a deletion too. */
static SyncstateDecision
follow(const char *action, const text *mover, const text *follower)
{
	SyncstateDecision d = {.action = action, .status = "modified"};

	if (mover == NULL)
		d.detail = "delete";
	else if (follower == NULL)
		d.detail = "create";
	else
		d.detail = "edit";
	return d;
}

static SyncstateDecision
both_moved(const SyncstateSides *s)
{
	SyncstateDecision d = {.action = "CONFLICT", .status = "conflict", .conflict = true};

	if (s->remote == NULL)
		d.detail = "edit/delete";
	else if (s->local == NULL)
		d.detail = "delete/edit";
	else
		d.detail = "edit/edit";
	return d;
}

/* The decision; total over all combinations. */
SyncstateDecision
syncstate_decide(const SyncstateSides *s)
{
	bool		local_moved;
	bool		remote_moved;

	if (!s->synced)
		return initial_sync(s);

	local_moved = !syncstate_same_text(s->local, s->local_base);
	remote_moved = !syncstate_same_text(s->remote, s->remote_base);

	if (!local_moved && !remote_moved)
		return no_change(s, false);
	if (syncstate_same_text(s->local, s->remote))
		return no_change(s, true);
	if (!remote_moved)
		return follow("PUSH", s->local, s->remote);
	if (!local_moved)
		return follow("PULL", s->remote, s->local);
	return both_moved(s);
}

/* Arguments (local, remote, local base, remote base, synced), as all here have them. */
static SyncstateDecision
decide_on_args(FunctionCallInfo fcinfo)
{
	SyncstateSides sides;

	sides.local = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	sides.remote = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	sides.local_base = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	sides.remote_base = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	sides.synced = syncstate_arg_bool(fcinfo, 4, "synced");

	return syncstate_decide(&sides);
}

Datum
sync_state_action(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(decide_on_args(fcinfo).action));
}

Datum
sync_state_detail(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(decide_on_args(fcinfo).detail));
}

/* syncstate.status_after(...): the sync_status that the decision leads to. */
Datum
syncstate_status_after(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(decide_on_args(fcinfo).status));
}

/* syncstate.settles(...): do both sides agree while the bases say otherwise? */
Datum
syncstate_settles(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(decide_on_args(fcinfo).settles);
}

/* syncstate.conflict_kind(...): how a conflict is logged; NULL: there is none. */
Datum
syncstate_conflict_kind(PG_FUNCTION_ARGS)
{
	SyncstateDecision d = decide_on_args(fcinfo);

	if (!d.conflict)
		PG_RETURN_NULL();
	if (strcmp(d.detail, "conflict") == 0)
		PG_RETURN_TEXT_P(cstring_to_text("create/create"));
	PG_RETURN_TEXT_P(cstring_to_text(d.detail));
}

/*
 * syncstate.kept_hash(stored, seen, marked)
 *
 * A run that saw "seen" when it began now marks "marked" as synced, while
 * "stored" is recorded.  If that is neither, an observer recorded it during
 * the run: an edit that the run cannot know of, and that must not be lost.
 */
Datum
syncstate_kept_hash(PG_FUNCTION_ARGS)
{
	const text *stored = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	const text *seen = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	const text *marked = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	const text *kept = syncstate_same_text(stored, seen) ? marked : stored;

	if (kept == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(kept);
}

static bool
is_one_of(const text *value, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (strlen(names[i]) == VARSIZE_ANY_EXHDR(value) &&
			memcmp(names[i], VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)) == 0)
			return true;
	}
	return false;
}

/* syncstate.is_sync_status(sync_status), for the CHECK of sync_state */
Datum
syncstate_is_sync_status(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"new", "modified", "conflict", "in_sync", "syncing", "failed"};

	PG_RETURN_BOOL(is_one_of(PG_GETARG_TEXT_PP(0), names, lengthof(names)));
}

/* syncstate.is_conflict_status(conflict_status), for the CHECK of sync_state */
Datum
syncstate_is_conflict_status(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"none", "detected", "resolved"};

	PG_RETURN_BOOL(is_one_of(PG_GETARG_TEXT_PP(0), names, lengthof(names)));
}

/* syncstate.is_type_key(type_key), for the CHECK of sync_state */
Datum
syncstate_is_type_key(PG_FUNCTION_ARGS)
{
	Size		length = toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ;

	PG_RETURN_BOOL(length >= 1 && length <= SYNCSTATE_MAX_KEY_LENGTH);
}

/* syncstate.may_have_run(sync_status, run_id), for the CHECK of sync_state */
Datum
syncstate_may_have_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"syncing"};

	PG_RETURN_BOOL(PG_ARGISNULL(1) ||
				   (!PG_ARGISNULL(0) && is_one_of(PG_GETARG_TEXT_PP(0), names, lengthof(names))));
}

/* syncstate.is_run_outcome(outcome), for the CHECK of sync_run */
Datum
syncstate_is_run_outcome(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"synced", "failed", "rolled_back", "superseded"};

	PG_RETURN_BOOL(is_one_of(PG_GETARG_TEXT_PP(0), names, lengthof(names)));
}
