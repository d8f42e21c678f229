/*-------------------------------------------------------------------------
 *
 * state.c
 *		Reading, comparing, resetting and forgetting states.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_state_get);
PG_FUNCTION_INFO_V1(sync_state_changed_since);
PG_FUNCTION_INFO_V1(sync_state_compare);
PG_FUNCTION_INFO_V1(sync_state_reset);
PG_FUNCTION_INFO_V1(sync_state_forget);

/*
 * sync_state_get(type_key): the stored row, or none
 */
Datum
sync_state_get(PG_FUNCTION_ARGS)
{
	NullableDatum key = syncstate_datum(syncstate_arg_type_key(fcinfo, 0));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SyncstateStateRow row;

	InitMaterializedSRF(fcinfo, 0);

	if (syncstate_lookup_state(key.value, &row))
	{
		/* Column by column: a row may be older than the latest of them. */
		if (row.found && row.natts != rsinfo->setDesc->natts)
			elog(ERROR, "row of sync_state has %d columns, not %d", row.natts, rsinfo->setDesc->natts);
		if (row.found)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row.values, row.nulls);
		return (Datum) 0;
	}
	syncstate_connect();
	syncstate_execute(STMT_GET, &key, true);
	syncstate_return_rows(fcinfo);
	SPI_finish();

	return (Datum) 0;
}

/*
 * sync_state_changed_since(since): keys in key order
 */
Datum
sync_state_changed_since(PG_FUNCTION_ARGS)
{
	NullableDatum since = syncstate_datum(syncstate_arg_required(fcinfo, 0, "since"));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	syncstate_connect();
	syncstate_execute(STMT_CHANGED_SINCE, &since, true);
	syncstate_return_rows(fcinfo);
	SPI_finish();

	return (Datum) 0;
}

/* ---------------------------------------------------------------- compare */

/* A field of a state; value NULL: JSON null. */
typedef struct Field
{
	text	   *name;
	text	   *value;
} Field;

typedef struct Fields
{
	Field	   *fields;
	int			n;
} Fields;

static text *
value_as_text(JsonbValue *v)
{
	switch (v->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return cstring_to_text_with_len(v->val.string.val, v->val.string.len);
		default:
			{
				Jsonb	   *jsonb = JsonbValueToJsonb(v);

				return cstring_to_text(JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb)));
			}
	}
}

/* Fields that every write changes say nothing about what differs. */
static bool
is_bookkeeping(const JsonbValue *key)
{
	static const char *const names[] = {"updated_at", "changed_xid"};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (strlen(names[i]) == (size_t) key->val.string.len &&
			memcmp(names[i], key->val.string.val, key->val.string.len) == 0)
			return true;
	}
	return false;
}

static int
compare_fields(const void *a, const void *b)
{
	return syncstate_compare_keys(((const Field *) a)->name, ((const Field *) b)->name);
}

static Fields
read_fields(FunctionCallInfo fcinfo, int argno, const char *name)
{
	Jsonb	   *state = DatumGetJsonbP(syncstate_arg_required(fcinfo, argno, name));
	Fields		result = {0};
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	if (!JB_ROOT_IS_OBJECT(state))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", name)));

	result.fields = palloc_array(Field, Max(JB_ROOT_COUNT(state), 1));
	it = JsonbIteratorInit(&state->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		JsonbValue	key = v;

		if (token != WJB_KEY)
			continue;
		JsonbIteratorNext(&it, &v, true);
		if (is_bookkeeping(&key))
			continue;
		result.fields[result.n].name = cstring_to_text_with_len(key.val.string.val, key.val.string.len);
		result.fields[result.n].value = value_as_text(&v);
		result.n++;
	}
	qsort(result.fields, result.n, sizeof(Field), compare_fields);
	return result;
}

static void
put_if_changed(ReturnSetInfo *rsinfo, const text *name, const text *before, const text *after)
{
	Datum		values[3];
	bool		nulls[3] = {false, before == NULL, after == NULL};

	if (syncstate_same_text(before, after))
		return;
	values[0] = PointerGetDatum(name);
	values[1] = PointerGetDatum(before);
	values[2] = PointerGetDatum(after);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * sync_state_compare(before, after): the fields that differ, in order of name
 *
 * A field that is missing on one side counts as null there.
 */
Datum
sync_state_compare(PG_FUNCTION_ARGS)
{
	Fields		before = read_fields(fcinfo, 0, "before");
	Fields		after = read_fields(fcinfo, 1, "after");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			b = 0;
	int			a = 0;

	InitMaterializedSRF(fcinfo, 0);

	while (b < before.n || a < after.n)
	{
		int			cmp = b == before.n ? 1 : a == after.n ? -1
			: compare_fields(&before.fields[b], &after.fields[a]);

		if (cmp < 0)
		{
			put_if_changed(rsinfo, before.fields[b].name, before.fields[b].value, NULL);
			b++;
		}
		else if (cmp > 0)
		{
			put_if_changed(rsinfo, after.fields[a].name, NULL, after.fields[a].value);
			a++;
		}
		else
		{
			put_if_changed(rsinfo, before.fields[b].name, before.fields[b].value, after.fields[a].value);
			b++;
			a++;
		}
	}
	return (Datum) 0;
}

/* ------------------------------------------------------- reset and forget */

/*
 * sync_state_reset(type_key, force): as if it had never been synchronised
 */
Datum
sync_state_reset(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	bool		force = syncstate_arg_bool(fcinfo, 1, "force");
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum args[] = {
		syncstate_datum(key),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(BoolGetDatum(force)),
	};
	Datum		result;

	PreventCommandIfReadOnly("sync_state_reset()");

	syncstate_connect();
	if (!syncstate_execute_unless_held(STMT_RESET, args, now))
		syncstate_report_unknown(key);
	result = syncstate_return_datum(0, 1);
	syncstate_finish_run(key, now, "superseded", syncstate_null());
	syncstate_log_conflicts((Datum) 0, syncstate_key_array(&key, 1).value, now, "vanished");
	if (!syncstate_table_is_empty(TABLE_ROW_BASE))
		syncstate_execute(STMT_FORGET_ROW_BASES, args, false);
	SPI_finish();

	PG_RETURN_DATUM(result);
}

/*
 * sync_state_forget(type_key, force): deletes; false when unknown
 *
 * Runs, conflicts and the tombstone are the delete trigger's business.
 */
Datum
sync_state_forget(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	bool		force = syncstate_arg_bool(fcinfo, 1, "force");
	TimestampTz now = GetCurrentTimestamp();
	NullableDatum args[] = {
		syncstate_datum(key),
		syncstate_datum(TimestampTzGetDatum(now)),
		syncstate_datum(BoolGetDatum(force)),
	};
	bool		known;

	PreventCommandIfReadOnly("sync_state_forget()");

	syncstate_connect();
	known = syncstate_execute_unless_held(STMT_FORGET, args, now);
	SPI_finish();

	PG_RETURN_BOOL(known);
}
