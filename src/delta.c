/*-------------------------------------------------------------------------
 *
 * delta.c
 *		Deciding on stored rows: sync_state_delta, sync_state_plan_for.
 *
 * Reads only, with the snapshot of the calling query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "source.h"

PG_FUNCTION_INFO_V1(sync_state_delta);
PG_FUNCTION_INFO_V1(sync_state_plan_for);

static const text *
text_or_null(NullableDatum d)
{
	return d.isnull ? NULL : DatumGetTextPP(d.value);
}

/* Sides out of the last result: columns first .. first + 4 are hashes, bases, synced. */
SyncstateSides
syncstate_result_sides(uint64 row, int first)
{
	SyncstateSides sides;
	NullableDatum synced = syncstate_result(row, first + 4);

	sides.local = text_or_null(syncstate_result(row, first));
	sides.remote = text_or_null(syncstate_result(row, first + 1));
	sides.local_base = text_or_null(syncstate_result(row, first + 2));
	sides.remote_base = text_or_null(syncstate_result(row, first + 3));
	sides.synced = !synced.isnull && DatumGetBool(synced.value);
	return sides;
}

static void
push_pair(JsonbInState *state, const char *name, const char *value, int length)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, name);
	v.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &v);

	if (value == NULL)
		v.type = jbvNull;
	else
	{
		v.val.string.val = unconstify(char *, value);
		v.val.string.len = length;
	}
	pushJsonbValue(state, WJB_VALUE, &v);
}

static void
push_text(JsonbInState *state, const char *name, const text *value)
{
	if (value == NULL)
		push_pair(state, name, NULL, 0);
	else
		push_pair(state, name, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/* The decision as JSON: always all seven fields. */
Jsonb *
syncstate_delta_json(const text *type_key, const SyncstateSides *sides)
{
	SyncstateDecision d = syncstate_decide(sides);
	JsonbInState state = {0};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "type_key", type_key);
	push_pair(&state, "action", d.action, strlen(d.action));
	push_pair(&state, "detail", d.detail, strlen(d.detail));
	push_text(&state, "local_hash", sides->local);
	push_text(&state, "remote_hash", sides->remote);
	push_text(&state, "last_synced_hash", sides->local_base);
	push_text(&state, "last_synced_remote_hash", sides->remote_base);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

/* The sides of a row that was looked up. */
static SyncstateSides
sides_of_row(const SyncstateStateRow *row)
{
	static const int columns[] = {
		Anum_sync_state_local_hash,
		Anum_sync_state_remote_hash,
		Anum_sync_state_last_synced_hash,
		Anum_sync_state_last_synced_remote_hash,
	};
	SyncstateSides sides;
	text	   *values[lengthof(columns)];

	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		int			column = columns[i] - 1;

		values[i] = row->nulls[column] ? NULL : DatumGetTextPP(row->values[column]);
	}
	sides.local = values[0];
	sides.remote = values[1];
	sides.local_base = values[2];
	sides.remote_base = values[3];
	sides.synced = !row->nulls[Anum_sync_state_last_sync_at - 1] || values[2] != NULL || values[3] != NULL;
	return sides;
}

/*
 * What is stored of a key.  Leaves us connected to SPI if that was needed; true if so.
 */
static bool
read_sides(NullableDatum key, SyncstateSides *sides)
{
	SyncstateStateRow row;

	if (syncstate_lookup_state(key.value, &row))
	{
		if (row.found)
			*sides = sides_of_row(&row);
		return false;
	}
	syncstate_connect();
	if (syncstate_execute(STMT_GET_HASHES, &key, true) > 0)
		*sides = syncstate_result_sides(0, 1);
	return true;
}

/*
 * sync_state_delta(type_key, local_hash, remote_hash, local_absent, remote_absent)
 *
 * What a caller has just observed counts for more than what is stored; and where
 * nobody observed anything but the key has a source, we look ourselves.
 */
Datum
sync_state_delta(PG_FUNCTION_ARGS)
{
	NullableDatum key = syncstate_datum(syncstate_arg_type_key(fcinfo, 0));
	SyncstateObserved observed = syncstate_arg_observed(fcinfo, 1);
	MemoryContext caller = CurrentMemoryContext;
	SyncstateSides sides = {0};
	bool		connected = read_sides(key, &sides);
	Jsonb	   *delta;

	if (!observed.given[SIDE_LOCAL] && !observed.given[SIDE_REMOTE] && !syncstate_table_is_empty(TABLE_SOURCE))
	{
		if (!connected)
			syncstate_connect();
		connected = true;
		(void) syncstate_measure_sides(key.value, &observed);
	}
	if (observed.given[SIDE_LOCAL])
		sides.local = text_or_null(observed.hash[SIDE_LOCAL]);
	if (observed.given[SIDE_REMOTE])
		sides.remote = text_or_null(observed.hash[SIDE_REMOTE]);

	MemoryContextSwitchTo(caller);
	delta = syncstate_delta_json(DatumGetTextPP(key.value), &sides);
	if (connected)
		SPI_finish();

	PG_RETURN_JSONB_P(delta);
}

/* One row of syncstate.sync_delta out of a row of STMT_PLAN_FOR. */
static void
put_delta(ReturnSetInfo *rsinfo, uint64 row)
{
	Datum		values[11];
	bool		nulls[11];
	SyncstateSides sides = syncstate_result_sides(row, 2);
	SyncstateDecision d = syncstate_decide(&sides);

	for (int i = 3; i < 11; i++)
	{
		/* hashes and bases, columns 2 to 5; then what follows "synced" */
		NullableDatum v = syncstate_result(row, i < 7 ? i - 1 : i);

		values[i] = v.value;
		nulls[i] = v.isnull;
	}
	values[0] = syncstate_result(row, 1).value;
	values[1] = CStringGetTextDatum(d.action);
	values[2] = CStringGetTextDatum(d.detail);
	nulls[0] = nulls[1] = nulls[2] = false;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[1]));
	pfree(DatumGetPointer(values[2]));
}

/*
 * sync_state_plan_for(type_keys, local_hashes, remote_hashes, complete)
 */
Datum
sync_state_plan_for(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"local_hashes", "remote_hashes"};
	static const bool required[] = {false, false};
	SyncstateBatch *batch = syncstate_arg_batch(fcinfo, 2, names, required);
	bool		complete = syncstate_arg_bool(fcinfo, 3, "complete");
	NullableDatum args[] = {
		syncstate_key_array(batch->keys, batch->nrows),
		syncstate_datum(syncstate_text_array(batch->columns[0], batch->nrows)),
		syncstate_datum(syncstate_text_array(batch->columns[1], batch->nrows)),
		syncstate_datum(BoolGetDatum(batch->columns[0] != NULL)),
		syncstate_datum(BoolGetDatum(batch->columns[1] != NULL)),
		syncstate_datum(BoolGetDatum(complete)),
	};

	InitMaterializedSRF(fcinfo, 0);

	syncstate_connect();
	syncstate_execute(STMT_PLAN_FOR, args, true);
	for (uint64 row = 0; row < SPI_tuptable->numvals; row++)
	{
		CHECK_FOR_INTERRUPTS();
		put_delta((ReturnSetInfo *) fcinfo->resultinfo, row);
	}
	SPI_finish();

	return (Datum) 0;
}
