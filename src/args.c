/*-------------------------------------------------------------------------
 *
 * args.c
 *		Checks of arguments, and the errors that several functions raise.
 *
 * The rules, for every function alike: a required NULL is 22004, a value that
 * no call can mean is 22023.  Messages name the argument as the SQL signature
 * does.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

#include "syncstate.h"

NullableDatum
syncstate_datum(Datum value)
{
	return (NullableDatum){.value = value, .isnull = false};
}

NullableDatum
syncstate_null(void)
{
	return (NullableDatum){.value = (Datum) 0, .isnull = true};
}

NullableDatum
syncstate_arg(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? syncstate_null()
		: syncstate_datum(PG_GETARG_DATUM(argno));
}

Datum
syncstate_arg_required(FunctionCallInfo fcinfo, int argno, const char *name)
{
	if (PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return PG_GETARG_DATUM(argno);
}

bool
syncstate_arg_bool(FunctionCallInfo fcinfo, int argno, const char *name)
{
	return DatumGetBool(syncstate_arg_required(fcinfo, argno, name));
}

/* A number of rows or keys: at least one. */
int32
syncstate_arg_positive(FunctionCallInfo fcinfo, int argno, const char *name)
{
	int32		value = DatumGetInt32(syncstate_arg_required(fcinfo, argno, name));

	if (value < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be at least 1", name)));
	return value;
}

void
syncstate_check_type_key(const text *type_key)
{
	size_t		length = VARSIZE_ANY_EXHDR(type_key);

	if (length < 1 || length > SYNCSTATE_MAX_KEY_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type_key must be 1 to %d bytes long", SYNCSTATE_MAX_KEY_LENGTH),
				 errdetail("It is %zu bytes long.", length)));
}

Datum
syncstate_arg_type_key(FunctionCallInfo fcinfo, int argno)
{
	Datum		key = syncstate_arg_required(fcinfo, argno, "type_key");
	text	   *detoasted = DatumGetTextPP(key);

	syncstate_check_type_key(detoasted);
	return PointerGetDatum(detoasted);
}

/*
 * Length of a lease in microseconds; 0 if it is not a lease: not more than
 * nothing, more than 24 days, infinite, or with a part in months, which have
 * no fixed length.
 */
static int64
lease_length(const Interval *lease)
{
	const int64 longest = INT64CONST(24) * USECS_PER_DAY;
	int64		length;

	if (lease->month != 0 ||
		pg_mul_s64_overflow(lease->day, USECS_PER_DAY, &length) ||
		pg_add_s64_overflow(length, lease->time, &length) ||
		length <= 0 || length > longest)
		return 0;
	return length;
}

/* When a lease taken now expires; NULL argument: syncstate.lease. */
TimestampTz
syncstate_arg_lease(FunctionCallInfo fcinfo, int argno, TimestampTz now)
{
	int64		length;

	if (PG_ARGISNULL(argno))
		return now + (int64) syncstate_lease * 1000;

	length = lease_length(PG_GETARG_INTERVAL_P(argno));
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be more than 0 and at most 24 days"),
				 errhint("Give it in days, hours, minutes or seconds; a month has no fixed length.")));
	return now + length;
}

/* Owner of a run: as given, else application_name, else not told. */
NullableDatum
syncstate_arg_owner(FunctionCallInfo fcinfo, int argno)
{
	if (!PG_ARGISNULL(argno))
		return syncstate_datum(PG_GETARG_DATUM(argno));
	if (application_name == NULL || application_name[0] == '\0')
		return syncstate_null();
	return syncstate_datum(CStringGetTextDatum(application_name));
}

NullableDatum
syncstate_current_role(void)
{
	return syncstate_datum(CStringGetTextDatum(GetUserNameFromId(GetUserId(), false)));
}

/*
 * The arguments (local_hash, remote_hash, local_absent, remote_absent) that
 * delta and observe share, from argno on.
 */
SyncstateObserved
syncstate_arg_observed(FunctionCallInfo fcinfo, int argno)
{
	static const char *const hash_names[2] = {"local_hash", "remote_hash"};
	static const char *const absent_names[2] = {"local_absent", "remote_absent"};
	SyncstateObserved observed;

	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		bool		absent = syncstate_arg_bool(fcinfo, argno + 2 + side, absent_names[side]);

		observed.hash[side] = syncstate_arg(fcinfo, argno + side);
		if (absent && !observed.hash[side].isnull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s is given although %s is true",
							hash_names[side], absent_names[side]),
					 errhint("An absent side has no hash.")));
		observed.given[side] = absent || !observed.hash[side].isnull;
	}
	return observed;
}

/* Order of collation "C", in which all batches lock rows. */
int
syncstate_compare_keys(const text *a, const text *b)
{
	size_t		alen = VARSIZE_ANY_EXHDR(a);
	size_t		blen = VARSIZE_ANY_EXHDR(b);
	int			cmp = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(alen, blen));

	if (cmp != 0)
		return cmp;
	return (alen > blen) - (alen < blen);
}

/* A key and its place in the arrays that the caller gave. */
typedef struct KeyPosition
{
	text	   *key;
	int			position;
} KeyPosition;

static int
compare_key_positions(const void *a, const void *b)
{
	return syncstate_compare_keys(((const KeyPosition *) a)->key,
								  ((const KeyPosition *) b)->key);
}

/*
 * Everything that is made of a batch has one of these for each key, and must fit
 * into an ordinary allocation.
 */
#define MOST_KEYS ((int) (MaxAllocSize / sizeof(NullableDatum)))

/* An array of at most one dimension; NULL if it is NULL. */
static ArrayType *
arg_array(FunctionCallInfo fcinfo, int argno, const char *name, bool required)
{
	ArrayType  *array;

	if (PG_ARGISNULL(argno) && !required)
		return NULL;

	array = DatumGetArrayTypeP(syncstate_arg_required(fcinfo, argno, name));
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not have more than one dimension", name)));
	return array;
}

static int
number_of_elements(ArrayType *array)
{
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

static NullableDatum *
array_elements(ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	NullableDatum *elements;
	int			n;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &typbyval, &typalign);
	deconstruct_array(array, ARR_ELEMTYPE(array), typlen, typbyval, typalign,
					  &values, &nulls, &n);
	elements = palloc_array(NullableDatum, Max(n, 1));
	for (int i = 0; i < n; i++)
		elements[i] = nulls[i] ? syncstate_null() : syncstate_datum(values[i]);
	return elements;
}

/*
 * Argument 0: the keys.  An array of nulls is small however many they are, so it
 * is looked at before it is taken apart.
 */
static NullableDatum *
arg_keys(FunctionCallInfo fcinfo, int *n)
{
	ArrayType  *array = arg_array(fcinfo, 0, "type_keys", true);

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type_keys must not contain null")));
	*n = number_of_elements(array);
	if (*n > MOST_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type_keys has %d elements", *n),
				 errdetail("It can have %d.", MOST_KEYS)));
	return array_elements(array);
}

/* What belongs to each of n keys; NULL if it is NULL. */
static NullableDatum *
arg_column(FunctionCallInfo fcinfo, int argno, const char *name, bool required, int n)
{
	ArrayType  *array = arg_array(fcinfo, argno, name, required);

	if (array == NULL)
		return NULL;
	if (number_of_elements(array) != n)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be as long as type_keys", name),
				 errdetail("type_keys has %d elements, %s has %d.", n, name, number_of_elements(array))));
	return array_elements(array);
}

static KeyPosition *
sorted_keys(const NullableDatum *keys, int n)
{
	KeyPosition *sorted = palloc_array(KeyPosition, Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		sorted[i].key = DatumGetTextPP(keys[i].value);
		sorted[i].position = i;
		syncstate_check_type_key(sorted[i].key);
	}

	qsort(sorted, n, sizeof(KeyPosition), compare_key_positions);

	for (int i = 1; i < n; i++)
	{
		if (compare_key_positions(&sorted[i - 1], &sorted[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("type_keys contains \"%s\" more than once",
							text_to_cstring(sorted[i].key))));
	}
	return sorted;
}

/*
 * Argument 0 holds keys, arguments 1 to ncolumns what belongs to each.  The
 * batch comes sorted by key: sorted once here, rows are reached in index
 * order, and any two batches lock what they share in the same order.
 */
SyncstateBatch *
syncstate_arg_batch(FunctionCallInfo fcinfo, int ncolumns,
					const char *const *names, const bool *required)
{
	SyncstateBatch *batch = palloc0(sizeof(SyncstateBatch));
	NullableDatum *keys;
	KeyPosition *sorted;

	Assert(ncolumns <= (int) lengthof(batch->columns));

	keys = arg_keys(fcinfo, &batch->nrows);
	sorted = sorted_keys(keys, batch->nrows);

	batch->ncolumns = ncolumns;
	batch->keys = palloc_array(Datum, Max(batch->nrows, 1));
	for (int i = 0; i < batch->nrows; i++)
		batch->keys[i] = PointerGetDatum(sorted[i].key);

	for (int c = 0; c < ncolumns; c++)
	{
		NullableDatum *given = arg_column(fcinfo, c + 1, names[c], required[c], batch->nrows);

		if (given == NULL)
			continue;
		batch->columns[c] = palloc_array(NullableDatum, Max(batch->nrows, 1));
		for (int i = 0; i < batch->nrows; i++)
			batch->columns[c][i] = given[sorted[i].position];
	}
	return batch;
}

/* Where a key stands in a batch, or -1. */
int
syncstate_position(const Datum *keys, int n, Datum key)
{
	int			low = 0;
	int			high = n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			cmp = syncstate_compare_keys(DatumGetTextPP(keys[middle]), DatumGetTextPP(key));

		if (cmp == 0)
			return middle;
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return -1;
}

Datum
syncstate_array(const NullableDatum *values, int n, Oid elemtype)
{
	Datum	   *datums = palloc_array(Datum, Max(n, 1));
	bool	   *nulls = palloc_array(bool, Max(n, 1));
	int			dims[1] = {n};
	int			lbs[1] = {1};
	int16		typlen;
	bool		typbyval;
	char		typalign;

	for (int i = 0; i < n; i++)
	{
		datums[i] = values[i].value;
		nulls[i] = values[i].isnull;
	}
	get_typlenbyvalalign(elemtype, &typlen, &typbyval, &typalign);
	return PointerGetDatum(construct_md_array(datums, nulls, 1, dims, lbs,
											  elemtype, typlen, typbyval, typalign));
}

/* text[]; a NULL list stands for a side that was not observed: all NULLs. */
Datum
syncstate_text_array(const NullableDatum *values, int n)
{
	NullableDatum *nulls;

	if (values != NULL)
		return syncstate_array(values, n, TEXTOID);

	nulls = palloc_array(NullableDatum, Max(n, 1));
	for (int i = 0; i < n; i++)
		nulls[i] = syncstate_null();
	return syncstate_array(nulls, n, TEXTOID);
}

NullableDatum
syncstate_key_array(const Datum *keys, int n)
{
	NullableDatum *values = palloc_array(NullableDatum, Max(n, 1));

	for (int i = 0; i < n; i++)
		values[i] = syncstate_datum(keys[i]);
	return syncstate_datum(syncstate_array(values, n, TEXTOID));
}

char *
syncstate_key_cstring(Datum type_key)
{
	return TextDatumGetCString(type_key);
}

void
syncstate_report_unknown(Datum type_key)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("\"%s\" is unknown", syncstate_key_cstring(type_key)),
			 errhint("sync_state_observe, sync_state_update or sync_state_begin make it known.")));
}

void
syncstate_report_superseded(Datum type_key, Datum run_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("run %s of \"%s\" was superseded",
					DatumGetCString(DirectFunctionCall1(uuid_out, run_id)),
					syncstate_key_cstring(type_key)),
			 errdetail("The key is in the hands of another run, or of none."),
			 errhint("Stop this run and roll its transaction back; sync_state_begin starts a new one.")));
}

void
syncstate_report_held(Datum type_key, const char *owner, int32 run_number, TimestampTz expires)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("\"%s\" is held by a live run", syncstate_key_cstring(type_key)),
			 owner == NULL
			 ? errdetail("Run number %d has a lease until %s.",
						 run_number, timestamptz_to_str(expires))
			 : errdetail("Run number %d of owner \"%s\" has a lease until %s.",
						 run_number, owner, timestamptz_to_str(expires)),
			 errhint("Wait for its end, or for the end of its lease.")));
}

/* A write that neither happened nor was refused: a trigger or a policy ate it. */
void
syncstate_report_suppressed(Datum type_key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the row of \"%s\" could not be written", syncstate_key_cstring(type_key)),
			 errhint("Look for a trigger on the tables of syncstate that returns NULL, or a row security policy.")));
}
