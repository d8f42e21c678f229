/*-------------------------------------------------------------------------
 *
 * run.c
 *		Runs: begin, checkpoint, finish; interruption and recovery.
 *
 * A run holds its key by a lease, for others to see that it is alive, and by a
 * token, run_id, which every later call must show.  The lease says when the key
 * may be taken over; only the token says who holds it: a run whose lease has
 * ended, but whose key nobody took, goes on unharmed, and a run that was
 * superseded is refused whatever the clock says.
 *
 * Nothing here depends on the session, a process id, an advisory lock or the
 * isolation level.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_state_begin);
PG_FUNCTION_INFO_V1(sync_state_try_begin);
PG_FUNCTION_INFO_V1(sync_state_resume);
PG_FUNCTION_INFO_V1(sync_state_claim);
PG_FUNCTION_INFO_V1(sync_state_checkpoint);
PG_FUNCTION_INFO_V1(sync_state_fail);
PG_FUNCTION_INFO_V1(sync_state_rollback);
PG_FUNCTION_INFO_V1(sync_state_detect_interrupted);

/* A run about to begin. */
typedef struct NewRun
{
	Datum		type_key;
	TimestampTz now;
	TimestampTz expires;
	NullableDatum owner;
} NewRun;

/* A random uuid, for what must not be guessed or repeated. */
Datum
syncstate_new_uuid(void)
{
	pg_uuid_t  *uuid = palloc_object(pg_uuid_t);

	if (!pg_strong_random(uuid->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));

	/* RFC 9562, version 4: random but for version and variant. */
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x40;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
	return UUIDPGetDatum(uuid);
}

/*
 * Takes the key with the given statement (STMT_BEGIN or STMT_RESUME) and
 * records the run; its history row is then the last result.  False if the
 * statement passed over the row.
 */
static bool
take_key(SyncstateStatement statement, const NewRun *run)
{
	Datum		run_id = syncstate_new_uuid();
	NullableDatum take[] = {
		syncstate_datum(run->type_key),
		syncstate_datum(TimestampTzGetDatum(run->now)),
		syncstate_datum(run_id),
		syncstate_datum(TimestampTzGetDatum(run->expires)),
	};
	NullableDatum record[] = {
		take[0],
		take[1],
		take[2],
		run->owner,
		syncstate_datum(Int32GetDatum(MyProcPid)),
	};

	if (syncstate_execute(statement, take, false) == 0)
		return false;
	if (syncstate_execute(STMT_RECORD_RUN, record, false) == 0)
		syncstate_report_suppressed(run->type_key);
	return true;
}

/*
 * Arguments (type_key, lease, owner), as begin, try_begin and resume have them.
 */
static NewRun
new_run_from_args(FunctionCallInfo fcinfo)
{
	NewRun		run;

	run.type_key = syncstate_arg_type_key(fcinfo, 0);
	run.now = GetCurrentTimestamp();
	run.expires = syncstate_arg_lease(fcinfo, 1, run.now);
	run.owner = syncstate_arg_owner(fcinfo, 2);
	return run;
}

/* A live run holds the row, as LIVE in plans.c has it. */
static bool
row_is_live(const SyncstateStateRow *row, TimestampTz now)
{
	int			status = Anum_sync_state_sync_status - 1;
	int			expires = Anum_sync_state_lease_expires_at - 1;

	return row->found && !row->nulls[status] && !row->nulls[expires] &&
		strcmp(TextDatumGetCString(row->values[status]), "syncing") == 0 &&
		DatumGetTimestampTz(row->values[expires]) > now;
}

/*
 * Is the key visibly held?  Who waits for a key asks often, and so past SPI where
 * that may be; with a snapshot of its own, as a statement would have it.
 */
static bool
is_visibly_held(Datum type_key, TimestampTz now)
{
	SyncstateStateRow row;
	bool		answered;

	PushActiveSnapshot(GetTransactionSnapshot());
	answered = syncstate_lookup_state(type_key, &row);
	PopActiveSnapshot();
	return answered ? row_is_live(&row, now) : syncstate_read_holder(type_key, now, false).live;
}

/*
 * sync_state_begin(type_key, lease, owner)
 *
 * A key that is visibly held is refused without touching its row, so that
 * losers cost the winner nothing.  One that is not may still be taken by
 * somebody else first; the upsert decides, and leaves its row locked.
 */
Datum
sync_state_begin(PG_FUNCTION_ARGS)
{
	NewRun		run = new_run_from_args(fcinfo);
	SyncstateHolder holder;
	Datum		result;

	PreventCommandIfReadOnly("sync_state_begin()");

	syncstate_connect();
	if (is_visibly_held(run.type_key, run.now))
	{
		holder = syncstate_read_holder(run.type_key, run.now, false);
		syncstate_refuse_if_held(&holder, run.type_key);
	}
	if (!take_key(STMT_BEGIN, &run))
	{
		holder = syncstate_read_holder(run.type_key, run.now, false);
		syncstate_refuse_if_held(&holder, run.type_key);
		syncstate_report_suppressed(run.type_key);
	}
	result = syncstate_return_datum(0, 1);
	SPI_finish();

	PG_RETURN_DATUM(result);
}

/*
 * sync_state_try_begin(type_key, lease, owner): no row where begin would refuse
 */
Datum
sync_state_try_begin(PG_FUNCTION_ARGS)
{
	NewRun		run = new_run_from_args(fcinfo);

	PreventCommandIfReadOnly("sync_state_try_begin()");
	InitMaterializedSRF(fcinfo, 0);

	syncstate_connect();
	if (!is_visibly_held(run.type_key, run.now) && take_key(STMT_BEGIN, &run))
		syncstate_return_rows(fcinfo);
	SPI_finish();

	return (Datum) 0;
}

static void
report_nothing_to_resume(Datum type_key, bool known)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("no sync progress found to resume"),
			 known
			 ? errdetail("\"%s\" has no interrupted or failed run with a checkpoint.",
						 syncstate_key_cstring(type_key))
			 : errdetail("\"%s\" is unknown.", syncstate_key_cstring(type_key)),
			 errhint("sync_state_begin starts from the beginning.")));
}

/*
 * sync_state_resume(type_key, lease, owner)
 */
Datum
sync_state_resume(PG_FUNCTION_ARGS)
{
	NewRun		run = new_run_from_args(fcinfo);
	Datum		result;

	PreventCommandIfReadOnly("sync_state_resume()");

	syncstate_connect();
	if (!take_key(STMT_RESUME, &run))
	{
		SyncstateHolder holder = syncstate_read_holder(run.type_key, run.now, true);

		syncstate_refuse_if_held(&holder, run.type_key);
		if (!holder.resumable)
			report_nothing_to_resume(run.type_key, holder.known);
		if (!take_key(STMT_RESUME, &run))
			syncstate_report_suppressed(run.type_key);
	}
	result = syncstate_return_datum(0, 1);
	SPI_finish();

	PG_RETURN_DATUM(result);
}

/* Keys that failed at this time or earlier may be tried again. */
static TimestampTz
arg_retry_before(FunctionCallInfo fcinfo, int argno, TimestampTz now)
{
	Datum		retry_after = syncstate_arg_required(fcinfo, argno, "retry_after");
	TimestampTz before = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
																 TimestampTzGetDatum(now), retry_after));

	if (before > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retry_after must not be negative")));
	return before;
}

/*
 * sync_state_claim(max_keys, prefix, lease, owner, retry_after)
 *
 * The keys are locked first, skipping what others have locked; what is locked
 * needs a run and stays so until it has one.
 */
Datum
sync_state_claim(PG_FUNCTION_ARGS)
{
	NewRun		run = {0};
	NullableDatum args[5];
	uint64		n;
	Datum	   *keys;

	PreventCommandIfReadOnly("sync_state_claim()");

	run.now = GetCurrentTimestamp();
	args[0] = syncstate_null();
	args[1] = syncstate_datum(TimestampTzGetDatum(run.now));
	args[2] = syncstate_arg(fcinfo, 1);
	args[3] = syncstate_datum(Int64GetDatum(syncstate_arg_positive(fcinfo, 0, "max_keys")));
	args[4] = syncstate_datum(TimestampTzGetDatum(arg_retry_before(fcinfo, 4, run.now)));
	run.expires = syncstate_arg_lease(fcinfo, 2, run.now);
	run.owner = syncstate_arg_owner(fcinfo, 3);

	InitMaterializedSRF(fcinfo, 0);

	syncstate_connect();
	n = syncstate_execute(STMT_CLAIM, args, false);
	keys = palloc_array(Datum, n + 1);
	for (uint64 i = 0; i < n; i++)
		keys[i] = syncstate_result(i, 1).value;
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		run.type_key = keys[i];
		if (take_key(STMT_BEGIN, &run))
			syncstate_return_rows(fcinfo);
	}
	SPI_finish();

	return (Datum) 0;
}

/*
 * sync_state_checkpoint(type_key, run_id, sync_progress, lease)
 *
 * In the caller's transaction, so that data and checkpoint both commit or
 * neither does.
 */
Datum
sync_state_checkpoint(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	Datum		run_id = syncstate_arg_required(fcinfo, 1, "run_id");
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum args[] = {
		syncstate_datum(key),
		syncstate_datum(run_id),
		syncstate_arg(fcinfo, 2),
		syncstate_datum(TimestampTzGetDatum(syncstate_arg_lease(fcinfo, 3, now))),
	};
	Datum		expires;

	PreventCommandIfReadOnly("sync_state_checkpoint()");

	syncstate_connect();
	if (syncstate_execute(STMT_CHECKPOINT, args, false) == 0)
	{
		if (!syncstate_read_holder(key, now, false).known)
			syncstate_report_unknown(key);
		syncstate_report_superseded(key, run_id);
	}
	expires = syncstate_result(0, 1).value;
	SPI_finish();

	PG_RETURN_DATUM(expires);
}

/* Ends the key's unfinished runs in the history. */
void
syncstate_finish_run(Datum type_key, TimestampTz now, const char *outcome, NullableDatum error)
{
	NullableDatum args[] = {
		syncstate_datum(type_key),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(CStringGetTextDatum(outcome)),
		error,
	};

	syncstate_execute(STMT_FINISH_RUN, args, false);
}

/*
 * Ends a run as failed.  With a token, only if the row carries it; without,
 * only if no live run holds the key, or by force.  The row is the last result;
 * false if the key is unknown.
 */
static bool
stop_run(const NullableDatum *args, TimestampTz now)
{
	NullableDatum run_id = args[2];

	if (run_id.isnull)
		return syncstate_execute_unless_held(STMT_STOP, args, now);

	if (syncstate_execute(STMT_STOP, args, false) > 0)
		return true;
	if (!syncstate_read_holder(args[0].value, now, false).known)
		return false;
	syncstate_report_superseded(args[0].value, run_id.value);
	return false;				/* not reached */
}

/* sync_state_fail and sync_state_rollback: (type_key, run_id, error, force) */
static Datum
stop(FunctionCallInfo fcinfo, bool keep_progress, bool create, const char *outcome)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum args[] = {
		syncstate_datum(key),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_arg(fcinfo, 1),
		syncstate_datum(BoolGetDatum(syncstate_arg_bool(fcinfo, 3, "force"))),
		syncstate_datum(BoolGetDatum(keep_progress)),
	};
	Datum		result;

	syncstate_connect();
	if (!stop_run(args, now))
	{
		if (!create)
			syncstate_report_unknown(key);
		if (!args[2].isnull)
			syncstate_report_superseded(key, args[2].value);
		/* An upsert: others may make the key meanwhile, and forget it again. */
		if (syncstate_execute(STMT_CREATE_FAILED, args, false) == 0)
		{
			SyncstateHolder holder = syncstate_read_holder(key, now, false);

			syncstate_refuse_if_held(&holder, key);
			syncstate_report_suppressed(key);
		}
	}
	result = syncstate_return_datum(0, 1);
	syncstate_finish_run(key, now, outcome, syncstate_arg(fcinfo, 2));
	SPI_finish();

	return result;
}

/*
 * sync_state_fail(type_key, run_id, error, force): the progress stays
 */
Datum
sync_state_fail(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("sync_state_fail()");
	PG_RETURN_DATUM(stop(fcinfo, true, false, "failed"));
}

/*
 * sync_state_rollback(type_key, run_id, error, force): the progress goes
 */
Datum
sync_state_rollback(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("sync_state_rollback()");
	PG_RETURN_DATUM(stop(fcinfo, false, true, "rolled_back"));
}

/*
 * sync_state_detect_interrupted(as_of)
 */
Datum
sync_state_detect_interrupted(PG_FUNCTION_ARGS)
{
	NullableDatum as_of = syncstate_datum(syncstate_arg_required(fcinfo, 0, "as_of"));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	syncstate_connect();
	syncstate_execute(STMT_DETECT_INTERRUPTED, &as_of, true);
	syncstate_return_rows(fcinfo);
	SPI_finish();

	return (Datum) 0;
}
