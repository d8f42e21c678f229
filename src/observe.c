/*-------------------------------------------------------------------------
 *
 * observe.c
 *		Recording what a change detector saw, and the log of conflicts.
 *
 * The upsert derives hashes, status and bases under the row's lock; a row that
 * it would leave as it is, it does not write.  Afterwards, under the same lock,
 * the conflict log is made to agree: a key in conflict has one open row, with
 * the hashes that conflict now; a key out of conflict has none.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "source.h"

PG_FUNCTION_INFO_V1(sync_state_observe);
PG_FUNCTION_INFO_V1(sync_state_observe_many);

static NullableDatum
single_key(Datum type_key)
{
	return syncstate_key_array(&type_key, 1);
}

/*
 * Keys (text[], or 0) that are in conflict now, and keys that are not: those
 * have an open conflict closed, under the given resolution.
 */
void
syncstate_log_conflicts(Datum opened, Datum closed, TimestampTz now, const char *resolution)
{
	NullableDatum args[] = {
		syncstate_datum(closed),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(CStringGetTextDatum(resolution)),
		syncstate_current_role(),
	};

	/* Under the lock of the key's row, nobody else logs a conflict of it. */
	if (closed != (Datum) 0 && !syncstate_table_is_empty(TABLE_CONFLICT))
		syncstate_execute(STMT_CLOSE_CONFLICTS, args, false);
	if (opened != (Datum) 0)
	{
		args[0] = syncstate_datum(opened);
		syncstate_execute(STMT_CLOSE_STALE_CONFLICTS, args, false);
		syncstate_execute(STMT_OPEN_CONFLICTS, args, false);
	}
}

/*
 * By the status in column 1: is there a conflict to be open, is there none, or
 * does that wait for the end of a run?
 */
typedef enum ConflictChange
{
	CONFLICT_OPENED,
	CONFLICT_CLOSED,
	CONFLICT_LEFT
} ConflictChange;

static ConflictChange
conflict_change(uint64 row)
{
	NullableDatum status = syncstate_result(row, 1);
	const char *name = status.isnull ? "" : TextDatumGetCString(status.value);

	if (strcmp(name, "conflict") == 0)
		return CONFLICT_OPENED;
	if (strcmp(name, "syncing") == 0 || strcmp(name, "failed") == 0)
		return CONFLICT_LEFT;
	return CONFLICT_CLOSED;
}

/* Brings the conflict log in line with rows: status and key are columns 1 and 2. */
static void
log_returned_conflicts(uint64 nrows, TimestampTz now)
{
	Datum	   *opened = palloc_array(Datum, nrows + 1);
	Datum	   *closed = palloc_array(Datum, nrows + 1);
	int			nopened = 0;
	int			nclosed = 0;

	for (uint64 row = 0; row < nrows; row++)
	{
		Datum		key = syncstate_result(row, 2).value;
		ConflictChange change = conflict_change(row);

		if (change == CONFLICT_OPENED)
			opened[nopened++] = key;
		else if (change == CONFLICT_CLOSED)
			closed[nclosed++] = key;
	}
	syncstate_log_conflicts(nopened > 0 ? syncstate_key_array(opened, nopened).value : (Datum) 0,
							nclosed > 0 ? syncstate_key_array(closed, nclosed).value : (Datum) 0,
							now, "vanished");
}

/*
 * Plain writes leave the log alone, so that it may disagree with rows which an
 * observation does not change.
 */
static void
correct_log(NullableDatum keys, bool all, TimestampTz now)
{
	uint64		n = syncstate_execute(all ? STMT_WRONG_LOG_OF_ALL : STMT_WRONG_LOG, &keys, false);

	if (n > 0)
		log_returned_conflicts(n, now);
}

/* What was observed must be what is stored, else something ate the write. */
static void
check_recorded(Datum key, const SyncstateObserved *observed, const SyncstateSides *stored)
{
	const text *hashes[2] = {stored->local, stored->remote};

	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		const text *seen = observed->hash[side].isnull ? NULL : DatumGetTextPP(observed->hash[side].value);

		if (observed->given[side] && !syncstate_same_text(seen, hashes[side]))
			syncstate_report_suppressed(key);
	}
}

/*
 * Measures both sides of a key that has a source.  The row is locked first and
 * the snapshot taken then: of two that measure at once, the later one to record
 * must not have looked earlier.  A key that is unknown gets a row to lock.
 */
static bool
measure_locked(Datum key, TimestampTz now, SyncstateObserved *observed)
{
	bool		measured;
	SyncstateSource source;
	NullableDatum args[] = {
		syncstate_datum(key),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_null(),
		syncstate_null(),
		syncstate_datum(BoolGetDatum(false)),
		syncstate_datum(BoolGetDatum(false)),
	};

	if (syncstate_table_is_empty(TABLE_SOURCE) ||
		!syncstate_find_source(DatumGetTextPP(key), GetActiveSnapshot(), &source))
		return false;
	if (syncstate_execute(STMT_LOCK, args, false) == 0)
		syncstate_execute(STMT_OBSERVE, args, false);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	measured = syncstate_measure_sides(key, observed);
	PopActiveSnapshot();
	return measured;
}

/*
 * sync_state_observe(type_key, local_hash, remote_hash, local_absent, remote_absent)
 */
Datum
sync_state_observe(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	SyncstateObserved observed = syncstate_arg_observed(fcinfo, 1);
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext caller = CurrentMemoryContext;
	NullableDatum args[6];
	bool		measured = false;
	SyncstateSides sides;
	MemoryContext spi;
	Jsonb	   *delta;

	PreventCommandIfReadOnly("sync_state_observe()");

	syncstate_connect();
	if (!observed.given[SIDE_LOCAL] && !observed.given[SIDE_REMOTE])
		measured = measure_locked(key, now, &observed);
	args[0] = syncstate_datum(key);
	args[1] = syncstate_datum(TimestampTzGetDatum(now));
	args[2] = observed.hash[SIDE_LOCAL];
	args[3] = observed.hash[SIDE_REMOTE];
	args[4] = syncstate_datum(BoolGetDatum(observed.given[SIDE_LOCAL]));
	args[5] = syncstate_datum(BoolGetDatum(observed.given[SIDE_REMOTE]));
	if (syncstate_execute(STMT_OBSERVE, args, false) > 0)
	{
		ConflictChange change = conflict_change(0);

		sides = syncstate_result_sides(0, 2);
		if (change == CONFLICT_OPENED)
			syncstate_log_conflicts(single_key(key).value, (Datum) 0, now, "vanished");
		else if (change == CONFLICT_CLOSED)
			syncstate_log_conflicts((Datum) 0, single_key(key).value, now, "vanished");

		/* Equal sides have become the bases, unless a run's end decides; then so do their rows. */
		if (measured && syncstate_same_text(sides.local, sides.remote) &&
			syncstate_same_text(sides.local, sides.local_base) &&
			syncstate_same_text(sides.remote, sides.remote_base))
			syncstate_move_row_bases(key);
	}
	else
	{
		/* Nothing to write; the row is locked, so this reads what was compared. */
		bool		logged;

		if (syncstate_execute(STMT_GET_OBSERVED, args, false) == 0)
			syncstate_report_suppressed(key);
		logged = DatumGetBool(syncstate_result(0, 1).value);
		sides = syncstate_result_sides(0, 2);
		check_recorded(key, &observed, &sides);
		if (logged || syncstate_decide(&sides).conflict)
			correct_log(single_key(key), false, now);
	}

	spi = MemoryContextSwitchTo(caller);
	delta = syncstate_delta_json(DatumGetTextPP(key), &sides);
	MemoryContextSwitchTo(spi);
	SPI_finish();

	PG_RETURN_JSONB_P(delta);
}

/*
 * Did the upsert make a row that is not of the listing?  Keys that are not
 * listed come from our snapshot; one that was forgotten while the upsert waited
 * for it would be made anew.
 */
static bool
made_unlisted(uint64 nrows, const SyncstateBatch *batch)
{
	for (uint64 row = 0; row < nrows; row++)
	{
		if (DatumGetBool(syncstate_result(row, 3).value) &&
			syncstate_position(batch->keys, batch->nrows, syncstate_result(row, 2).value) < 0)
			return true;
	}
	return false;
}

/*
 * Observes a listing; returns how many rows changed, or -1 if it has made a row
 * that it should not have.
 */
static int64
observe_listing(const SyncstateBatch *batch, bool complete)
{
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum args[] = {
		syncstate_key_array(batch->keys, batch->nrows),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(syncstate_text_array(batch->columns[0], batch->nrows)),
		syncstate_datum(syncstate_text_array(batch->columns[1], batch->nrows)),
		syncstate_datum(BoolGetDatum(batch->columns[0] != NULL)),
		syncstate_datum(BoolGetDatum(batch->columns[1] != NULL)),
		syncstate_datum(BoolGetDatum(complete)),
	};
	uint64		changed = syncstate_execute(STMT_OBSERVE_MANY, args, false);

	if (complete && made_unlisted(changed, batch))
		return -1;
	log_returned_conflicts(changed, now);
	correct_log(args[0], complete, now);
	return (int64) changed;
}

/*
 * Observes a complete listing in a subtransaction, so that an attempt which
 * made a forgotten key anew can be undone.  The next one has a snapshot that
 * knows of the deletion; above READ COMMITTED there is no such snapshot.
 */
static int64
observe_complete_listing(const SyncstateBatch *batch)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	for (;;)
	{
		int64		changed;

		BeginInternalSubTransaction(NULL);
		MemoryContextSwitchTo(context);
		changed = observe_listing(batch, true);
		if (changed >= 0)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;

		if (changed >= 0)
			return changed;
		if (IsolationUsesXactSnapshot())
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent delete")));
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * sync_state_observe_many(type_keys, local_hashes, remote_hashes, complete)
 */
Datum
sync_state_observe_many(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"local_hashes", "remote_hashes"};
	static const bool required[] = {false, false};
	SyncstateBatch *batch = syncstate_arg_batch(fcinfo, 2, names, required);
	bool		complete = syncstate_arg_bool(fcinfo, 3, "complete");
	int64		changed;

	PreventCommandIfReadOnly("sync_state_observe_many()");

	syncstate_connect();
	changed = complete ? observe_complete_listing(batch) : observe_listing(batch, false);
	SPI_finish();

	PG_RETURN_INT32((int32) changed);
}
