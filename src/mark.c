/*-------------------------------------------------------------------------
 *
 * mark.c
 *		Recording a sync: sync_state_mark_synced and its batch form.
 *
 * Without a run the given hashes win, unless a live run holds the key.  With a
 * run the row must carry its token, and a hash that an observer recorded during
 * the run is kept, so that an edit made meanwhile shows in the status.  Both
 * are one statement under the row's lock (an upsert costs more than an UPDATE, so
 * a single key is first taken to be known); then the run's history row is finished
 * and the conflict log is brought in line, and the bases of single rows follow
 * where the key has a source that keeps them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "source.h"

PG_FUNCTION_INFO_V1(sync_state_mark_synced);
PG_FUNCTION_INFO_V1(sync_state_mark_synced_many);

/* Rows [0, nrows) of a batch, all with a run or all without. */
typedef struct Marks
{
	int			nrows;
	const Datum *keys;
	const NullableDatum *local;
	const NullableDatum *remote;
	const NullableDatum *runs;
	bool		with_run;
} Marks;

/* What an upsert returned in columns 2 and 3, if not the key. */
typedef struct Marked
{
	Datum	   *opened;			/* keys in conflict now */
	int			nopened;
	Datum	   *closed;			/* all keys: what was in conflict before is settled */
	int			nclosed;
	bool		had_runs;		/* is there a history to finish? */
} Marked;

static bool
status_is(uint64 row, const char *status)
{
	NullableDatum d = syncstate_result(row, 2);

	return !d.isnull && strcmp(TextDatumGetCString(d.value), status) == 0;
}

/* Notes a returned row; one still "syncing" was inserted: a run of an unknown key. */
static void
note_marked(Marked *marked, uint64 row, Datum key, NullableDatum run)
{
	if (status_is(row, "syncing"))
		syncstate_report_superseded(key, run.value);
	if (status_is(row, "conflict"))
		marked->opened[marked->nopened++] = key;
	marked->closed[marked->nclosed++] = key;
	if (DatumGetInt32(syncstate_result(row, 3).value) > 0)
		marked->had_runs = true;
}

static void
init_marked(Marked *marked, int nrows)
{
	memset(marked, 0, sizeof(Marked));
	marked->opened = palloc_array(Datum, nrows);
	marked->closed = palloc_array(Datum, nrows);
}

/* Runs a statement that takes the marks as arrays: keys, now, hashes, runs. */
static uint64
execute_on_arrays(SyncstateStatement statement, const Marks *marks, TimestampTz now)
{
	NullableDatum args[] = {
		syncstate_key_array(marks->keys, marks->nrows),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(syncstate_array(marks->local, marks->nrows, TEXTOID)),
		syncstate_datum(syncstate_array(marks->remote, marks->nrows, TEXTOID)),
		syncstate_datum(syncstate_array(marks->runs, marks->nrows, UUIDOID)),
	};

	return syncstate_execute(statement, args, false);
}

/*
 * Second part: history, conflict log and bases of single rows, under the locks
 * that the upsert took.
 */
static void
finish_marked(const Marks *marks, const Marked *marked, TimestampTz now)
{
	if (marked->had_runs)
		execute_on_arrays(STMT_FINISH_MARKED, marks, now);

	/* What was in conflict is settled; what the run did not know of is new. */
	syncstate_log_conflicts(marked->nopened > 0
							? syncstate_key_array(marked->opened, marked->nopened).value
							: (Datum) 0,
							syncstate_key_array(marked->closed, marked->nclosed).value,
							now, "synced");

	if (syncstate_table_is_empty(TABLE_SOURCE))
		return;
	for (int i = 0; i < marks->nrows; i++)
		syncstate_move_row_bases(marks->keys[i]);
}

/* A key that the upsert refused: why? */
static void
report_refused(Datum key, NullableDatum run, TimestampTz now)
{
	SyncstateHolder holder;

	if (!run.isnull)
		syncstate_report_superseded(key, run.value);
	holder = syncstate_read_holder(key, now, false);
	syncstate_refuse_if_held(&holder, key);
	syncstate_report_suppressed(key);
}

/*
 * A run's token that the row does not carry: if that very run has marked these
 * very hashes before, its acknowledgement was lost and the row is the answer.
 */
static Datum
marked_before(Datum key, NullableDatum run, NullableDatum local, NullableDatum remote)
{
	NullableDatum args[] = {syncstate_datum(key), run, local, remote};

	if (syncstate_execute(STMT_MARKED_BEFORE, args, false) == 0)
		return (Datum) 0;
	return syncstate_return_datum(0, 1);
}

static Datum
mark_one(Datum key, NullableDatum local, NullableDatum remote,
		 NullableDatum run, TimestampTz now)
{
	NullableDatum args[] = {
		syncstate_datum(key),
		syncstate_datum(TimestampTzGetDatum(now)),
		local,
		remote,
		run,
	};
	Marks		marks = {1, &key, &local, &remote, &run, !run.isnull};
	Marked		marked;
	Datum		result;

	if (syncstate_execute(run.isnull ? STMT_MARK_KNOWN : STMT_MARK_RUN_KNOWN, args, false) == 0 &&
		syncstate_execute(run.isnull ? STMT_MARK : STMT_MARK_RUN, args, false) == 0)
	{
		result = run.isnull ? (Datum) 0 : marked_before(key, run, local, remote);
		if (result == (Datum) 0)
			report_refused(key, run, now);
		return result;
	}

	init_marked(&marked, 1);
	note_marked(&marked, 0, key, run);
	result = syncstate_return_datum(0, 1);
	finish_marked(&marks, &marked, now);
	return result;
}

/*
 * sync_state_mark_synced(type_key, local_hash, remote_hash, run_id)
 */
Datum
sync_state_mark_synced(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	TimestampTz now = GetCurrentTimestamp();
	Datum		result;

	PreventCommandIfReadOnly("sync_state_mark_synced()");

	syncstate_connect();
	result = mark_one(key, syncstate_arg(fcinfo, 1), syncstate_arg(fcinfo, 2),
					  syncstate_arg(fcinfo, 3), now);
	SPI_finish();

	PG_RETURN_DATUM(result);
}

/* Keys that the upsert refused must all be repetitions of what was marked before. */
static void
check_refused(const Marks *marks, const bool *returned, TimestampTz now)
{
	for (int i = 0; i < marks->nrows; i++)
	{
		if (returned[i])
			continue;
		if (marks->runs[i].isnull ||
			marked_before(marks->keys[i], marks->runs[i],
						  marks->local[i], marks->remote[i]) == (Datum) 0)
			report_refused(marks->keys[i], marks->runs[i], now);
	}
}

/* The marks that the upsert made; what was marked before stays out of it. */
static Marks
only_returned(const Marks *marks, const bool *returned)
{
	Datum	   *keys = palloc_array(Datum, marks->nrows);
	NullableDatum *local = palloc_array(NullableDatum, marks->nrows);
	NullableDatum *remote = palloc_array(NullableDatum, marks->nrows);
	NullableDatum *runs = palloc_array(NullableDatum, marks->nrows);
	Marks		result = {0, keys, local, remote, runs, marks->with_run};

	for (int i = 0; i < marks->nrows; i++)
	{
		if (!returned[i])
			continue;
		keys[result.nrows] = marks->keys[i];
		local[result.nrows] = marks->local[i];
		remote[result.nrows] = marks->remote[i];
		runs[result.nrows] = marks->runs[i];
		result.nrows++;
	}
	return result;
}

static void
mark_segment(const Marks *marks, TimestampTz now)
{
	uint64		nreturned = execute_on_arrays(marks->with_run ? STMT_MARK_RUN_MANY : STMT_MARK_MANY,
											  marks, now);
	bool	   *returned = palloc0_array(bool, marks->nrows);
	Marked		marked;

	init_marked(&marked, marks->nrows);
	for (uint64 row = 0; row < nreturned; row++)
	{
		int			i = syncstate_position(marks->keys, marks->nrows, syncstate_result(row, 1).value);

		Assert(i >= 0);
		note_marked(&marked, row, marks->keys[i], marks->runs[i]);
		returned[i] = true;
	}

	if (nreturned == (uint64) marks->nrows)
	{
		finish_marked(marks, &marked, now);
		return;
	}
	check_refused(marks, returned, now);
	if (nreturned > 0)
	{
		Marks		done = only_returned(marks, returned);

		finish_marked(&done, &marked, now);
	}
}

/*
 * sync_state_mark_synced_many(type_keys, local_hashes, remote_hashes, run_ids)
 *
 * Keys with a run and keys without take different statements; neighbours in
 * key order that are alike share one, so that an ordinary batch is one
 * statement and a mixed one still locks in key order.
 */
Datum
sync_state_mark_synced_many(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"local_hashes", "remote_hashes", "run_ids"};
	static const bool required[] = {true, true, false};
	SyncstateBatch *batch = syncstate_arg_batch(fcinfo, 3, names, required);
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum *runs = batch->columns[2];

	PreventCommandIfReadOnly("sync_state_mark_synced_many()");

	if (runs == NULL)
	{
		runs = palloc_array(NullableDatum, Max(batch->nrows, 1));
		for (int i = 0; i < batch->nrows; i++)
			runs[i] = syncstate_null();
	}

	syncstate_connect();
	for (int from = 0, to; from < batch->nrows; from = to)
	{
		Marks		marks;

		for (to = from + 1; to < batch->nrows; to++)
		{
			if (runs[to].isnull != runs[from].isnull)
				break;
		}
		marks.nrows = to - from;
		marks.keys = batch->keys + from;
		marks.local = batch->columns[0] + from;
		marks.remote = batch->columns[1] + from;
		marks.runs = runs + from;
		marks.with_run = !runs[from].isnull;
		mark_segment(&marks, now);
	}
	SPI_finish();

	PG_RETURN_INT32(batch->nrows);
}
