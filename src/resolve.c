/*-------------------------------------------------------------------------
 *
 * resolve.c
 *		Resolving conflicts: sync_state_resolve.
 *
 * A resolution moves bases, so that the next decision does what was resolved:
 *
 *		local	base of the other side := its hash; only ours has moved: PUSH
 *		remote	base of our side := its hash; only theirs has moved: PULL
 *		merged	our hash := the merged one, both bases := theirs: PUSH, or
 *				NO_CHANGE if the merged hash is theirs
 *
 * It is taken under the row's lock, and only for what conflicts at that moment;
 * a caller that names the conflict it has looked at is refused if the sides
 * have moved since.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "source.h"

PG_FUNCTION_INFO_V1(sync_state_resolve);

typedef struct Resolution
{
	Datum		type_key;
	Datum		how;			/* local, remote, merged */
	NullableDatum merged_hash;
	NullableDatum conflict_number;
} Resolution;

static Resolution
resolution_from_args(FunctionCallInfo fcinfo)
{
	Resolution	r;
	char	   *how;
	bool		merged;

	r.type_key = syncstate_arg_type_key(fcinfo, 0);
	r.how = syncstate_arg_required(fcinfo, 1, "resolution");
	r.merged_hash = syncstate_arg(fcinfo, 2);
	r.conflict_number = syncstate_arg(fcinfo, 3);

	how = TextDatumGetCString(r.how);
	merged = strcmp(how, "merged") == 0;
	if (!merged && strcmp(how, "local") != 0 && strcmp(how, "remote") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown resolution \"%s\"", how),
				 errhint("Allowed are local, remote and merged.")));
	if (merged && r.merged_hash.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("merged_hash must not be null when resolution is merged")));
	if (!merged && !r.merged_hash.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("merged_hash is given although resolution is \"%s\"", how)));
	return r;
}

static void
report_not_in_conflict(const Resolution *r)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" is not in conflict", syncstate_key_cstring(r->type_key)),
			 errdetail("The conflict was resolved, or the sides have moved on.")));
}

static void
report_other_conflict(const Resolution *r, NullableDatum open)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("conflict %d of \"%s\" is no longer the open one",
					DatumGetInt32(r->conflict_number.value), syncstate_key_cstring(r->type_key)),
			 open.isnull
			 ? errdetail("The sides have moved on, and no conflict was logged since.")
			 : errdetail("Open is conflict %d, or its sides have moved on.", DatumGetInt32(open.value)),
			 errhint("Look at the key again before you resolve it.")));
}

/*
 * Locks the row and makes sure that it may be resolved.  Where the log has no
 * open row for these hashes, because nobody observed them, it gets one.
 */
static void
lock_conflict(const Resolution *r, TimestampTz now)
{
	NullableDatum key = syncstate_datum(r->type_key);
	SyncstateHolder holder = syncstate_read_holder(r->type_key, now, true);
	NullableDatum open;
	bool		logged;

	if (!holder.known)
		syncstate_report_unknown(r->type_key);
	syncstate_refuse_if_held(&holder, r->type_key);

	if (syncstate_execute(STMT_LOCK_CONFLICT, &key, false) == 0)
		syncstate_report_unknown(r->type_key);
	if (!DatumGetBool(syncstate_result(0, 1).value))
		report_not_in_conflict(r);
	open = syncstate_result(0, 2);
	logged = DatumGetBool(syncstate_result(0, 3).value);

	if (!r->conflict_number.isnull &&
		(!logged || DatumGetInt32(open.value) != DatumGetInt32(r->conflict_number.value)))
		report_other_conflict(r, open);
	if (!logged)
		syncstate_log_conflicts(syncstate_key_array(&r->type_key, 1).value, (Datum) 0, now, "vanished");
}

/*
 * sync_state_resolve(type_key, resolution, merged_hash, conflict_number)
 */
Datum
sync_state_resolve(PG_FUNCTION_ARGS)
{
	Resolution	r = resolution_from_args(fcinfo);
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum args[] = {
		syncstate_datum(r.type_key),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(r.how),
		r.merged_hash,
		syncstate_current_role(),
	};
	Datum		result;

	PreventCommandIfReadOnly("sync_state_resolve()");

	syncstate_connect();
	lock_conflict(&r, now);
	if (syncstate_execute(STMT_RESOLVE, args, false) == 0)
		syncstate_report_suppressed(r.type_key);
	result = syncstate_return_datum(0, 1);
	syncstate_execute(STMT_LOG_RESOLUTION, args, false);
	syncstate_finish_run(r.type_key, now, "superseded", syncstate_null());
	if (!syncstate_table_is_empty(TABLE_SOURCE))
		syncstate_resolve_row_bases(r.type_key, strcmp(TextDatumGetCString(r.how), "remote") != 0);
	SPI_finish();

	PG_RETURN_DATUM(result);
}
