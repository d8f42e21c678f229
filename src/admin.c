/*-------------------------------------------------------------------------
 *
 * admin.c
 *		Upkeep: sync_state_prune, sync_state_repair.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "source.h"

PG_FUNCTION_INFO_V1(sync_state_prune);
PG_FUNCTION_INFO_V1(sync_state_repair);

/* ------------------------------------------------------------------- prune */

static void
put_removed(ReturnSetInfo *rsinfo, const char *kind, int64 removed)
{
	Datum		values[2];
	bool		nulls[2] = {false, false};

	values[0] = CStringGetTextDatum(kind);
	values[1] = Int64GetDatum(removed);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * Removes tombstones and notes up to where, in one transaction: a reader of the
 * feed sees the tombstones, or that they are gone.
 */
static int64
prune_tombstones(const NullableDatum *before)
{
	int64		removed;
	NullableDatum newest;

	syncstate_execute(STMT_PRUNE_TOMBSTONES, before, false);
	removed = DatumGetInt64(syncstate_result(0, 1).value);
	newest = syncstate_result(0, 2);
	if (!newest.isnull && syncstate_execute(STMT_NOTE_PRUNED, &newest, false) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the row of syncstate.sync_feed could not be written"),
				 errhint("sync_state_repair() makes it anew.")));
	return removed;
}

/*
 * sync_state_prune(older_than)
 */
Datum
sync_state_prune(PG_FUNCTION_ARGS)
{
	Datum		older_than = syncstate_arg_required(fcinfo, 0, "older_than");
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum before = syncstate_datum(DirectFunctionCall2(timestamptz_mi_interval,
															   TimestampTzGetDatum(now), older_than));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	if (DatumGetTimestampTz(before.value) > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("older_than must not be negative")));
	PreventCommandIfReadOnly("sync_state_prune()");
	InitMaterializedSRF(fcinfo, 0);

	syncstate_connect();
	put_removed(rsinfo, "run", syncstate_execute(STMT_PRUNE_RUNS, &before, false));
	put_removed(rsinfo, "conflict", syncstate_execute(STMT_PRUNE_CONFLICTS, &before, false));
	put_removed(rsinfo, "tombstone", prune_tombstones(&before));
	if (!syncstate_table_is_empty(TABLE_TRACKING_DELTA))
		put_removed(rsinfo, "tracking_delta", syncstate_fold_deltas());
	SPI_finish();

	return (Datum) 0;
}

/* ------------------------------------------------------------------ repair */

static const char *const state_triggers[] = {
	SYNCSTATE_TOUCH_TRIGGER,
	SYNCSTATE_ENTOMB_TRIGGER,
	SYNCSTATE_TRUNCATE_TRIGGER,
	SYNCSTATE_ANNOUNCE_TRIGGER,
};

/* Is this one of ours, and not enabled always? */
static bool
is_slack(const Trigger *trigger)
{
	if (trigger->tgenabled == TRIGGER_FIRES_ALWAYS)
		return false;
	for (int i = 0; i < (int) lengthof(state_triggers); i++)
	{
		if (strcmp(trigger->tgname, state_triggers[i]) == 0)
			return true;
	}
	return false;
}

static bool
any_slack_trigger(void)
{
	Relation	rel = table_open(syncstate_state_relid(), AccessShareLock);
	bool		slack = false;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		slack = slack || is_slack(&rel->trigdesc->triggers[i]);
	table_close(rel, NoLock);
	return slack;
}

static void
enable_triggers_always(void)
{
	for (int i = 0; i < (int) lengthof(state_triggers); i++)
		syncstate_execute_utility(psprintf("ALTER TABLE syncstate.sync_state ENABLE ALWAYS TRIGGER \"%s\"",
										   state_triggers[i]));
}

/*
 * Rows that bear a transaction id which was not given out here get that of this
 * transaction.  The trigger would put the old one back, so it is off meanwhile;
 * the lock that this takes keeps writers out, and a failure puts it on again.
 */
static int64
mend_changed_xid(NullableDatum newest)
{
	int64		own = (int64) U64FromFullTransactionId(GetTopFullTransactionId());
	int64		next = (int64) U64FromFullTransactionId(ReadNextFullTransactionId());
	NullableDatum args[] = {syncstate_datum(Int64GetDatum(own)), syncstate_datum(Int64GetDatum(next))};
	int64		mended;

	if (newest.isnull || DatumGetInt64(newest.value) < next)
		return 0;
	syncstate_execute_utility("ALTER TABLE syncstate.sync_state DISABLE TRIGGER \"" SYNCSTATE_TOUCH_TRIGGER "\"");
	mended = (int64) syncstate_execute(STMT_MEND_CHANGED_XID, args, false);
	enable_triggers_always();
	return mended;
}

/*
 * sync_state_repair(): rows mended
 *
 * What pg_restore --disable-triggers leaves: changed_xid of another database,
 * and triggers that are enabled, but not always.  If anything was amiss, the
 * tables begin a new incarnation, so that every reader of the feed starts anew.
 */
Datum
sync_state_repair(PG_FUNCTION_ARGS)
{
	NullableDatum incarnation;
	bool		has_feed_row;
	bool		slack;
	int64		mended;

	PreventCommandIfReadOnly("sync_state_repair()");

	syncstate_connect();
	if (!syncstate_owns_relation(syncstate_state_relid(), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, "sync_state");
	LockRelationOid(syncstate_state_relid(), ShareRowExclusiveLock);

	slack = any_slack_trigger();
	if (slack)
		enable_triggers_always();

	syncstate_execute(STMT_FEED_STATE, NULL, false);
	has_feed_row = !syncstate_result(0, 1).isnull;
	mended = mend_changed_xid(syncstate_result(0, 3));

	if (slack || mended > 0 || !has_feed_row)
	{
		incarnation = syncstate_datum(syncstate_new_uuid());
		syncstate_execute(has_feed_row ? STMT_NEW_INCARNATION : STMT_FIRST_INCARNATION,
						  &incarnation, false);
	}
	SPI_finish();

	PG_RETURN_INT32((int32) mended);
}
