/*-------------------------------------------------------------------------
 *
 * update.c
 *		Raw upserts of partial states: sync_state_update, sync_state_update_many.
 *
 * The trigger's rule on last_sync_at goes by which columns a SET list names, so
 * a statement must name exactly the fields that are given: one plan for each
 * set of fields that occurs, kept (256 at most, of each statement).  In a batch,
 * neighbours in key order that give the same fields share a statement; an
 * ordinary batch is one statement, a mixed one still locks in key order.
 *
 * A single state is first taken to be of a key that is known: an UPDATE costs
 * less than the upsert, which makes a row and has it refused.  Only if there is
 * none, or a live run holds it, the upsert decides.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_state_update);
PG_FUNCTION_INFO_V1(sync_state_update_many);

/* What only the holder of a live run may change: all but the hashes. */
#define PROTECTED_FIELDS \
	(~((1u << FIELD_LOCAL_HASH) | (1u << FIELD_REMOTE_HASH)) & ((1u << NUM_FIELDS) - 1))

#define NUM_FIELD_SETS (1 << NUM_FIELDS)

/* Parameters before those of the fields: key(s), now. */
#define FIRST_FIELD_PARAMETER 3

/* The statements that there are for a set of fields. */
typedef enum UpdateStatement
{
	UPDATE_KNOWN,				/* one state, if the key is known */
	UPSERT_ONE,
	UPSERT_MANY
} UpdateStatement;

static SPIPlanPtr update_plans[UPSERT_MANY + 1][NUM_FIELD_SETS];

/* Appends prefix and name of each given field, with separators before each. */
static void
append_fields(StringInfo sql, uint32 given, const char *format)
{
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		const char *name = syncstate_field_names[f];

		if (given & (1u << f))
			appendStringInfo(sql, format, name, name);
	}
}

/*
 * On insertion a base that is not given follows its side's hash if the state
 * records a sync.  The trigger would do that too, but it cannot tell a base
 * that is not given from one that is given as null; where changed_xid is given
 * it leaves the bases alone.
 */
static void
append_following_bases(StringInfo sql, uint32 given, bool values)
{
	static const int sides[2][2] = {
		{FIELD_LAST_SYNCED_HASH, FIELD_LOCAL_HASH},
		{FIELD_LAST_SYNCED_REMOTE_HASH, FIELD_REMOTE_HASH},
	};

	if ((given & (1u << FIELD_LAST_SYNC_AT)) == 0)
		return;
	for (int i = 0; i < 2; i++)
	{
		int			base = sides[i][0];
		int			hash = sides[i][1];

		if ((given & (1u << base)) != 0 || (given & (1u << hash)) == 0)
			continue;
		if (values)
			appendStringInfo(sql, ", CASE WHEN d.last_sync_at IS NOT NULL THEN d.%s END",
							 syncstate_field_names[hash]);
		else
			appendStringInfo(sql, ", %s", syncstate_field_names[base]);
	}
}

/* The given states as a table d, of one row or many. */
static void
append_source(StringInfo sql, uint32 given, bool many)
{
	int			parameter = FIRST_FIELD_PARAMETER;

	appendStringInfoString(sql, many ? " FROM ROWS FROM (pg_catalog.unnest($1)" : " FROM (VALUES ($1");
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		if (given & (1u << f))
			appendStringInfo(sql, many ? ", pg_catalog.unnest($%d)" : ", $%d", parameter++);
	}
	appendStringInfoString(sql, many ? ") AS d(type_key" : ")) AS d(type_key");
	append_fields(sql, given, ", %s");
	appendStringInfoString(sql, many ? ") ORDER BY d.type_key COLLATE pg_catalog.\"C\"" : ")");
}

/*
 * A row that a live run holds is passed over if a protected field would change.
 * proposed: what is given is in the row EXCLUDED; else in the parameters.
 */
static void
append_guard(StringInfo sql, uint32 given, bool proposed)
{
	int			parameter = FIRST_FIELD_PARAMETER;

	if ((given & PROTECTED_FIELDS) == 0)
		return;
	appendStringInfoString(sql, "((s.sync_status OPERATOR(pg_catalog.=) 'syncing'"
						   " AND s.lease_expires_at OPERATOR(pg_catalog.>) $2) IS NOT TRUE OR (true");
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		const char *name = syncstate_field_names[f];
		char	   *value;

		if ((given & (1u << f)) == 0)
			continue;
		value = proposed ? psprintf("EXCLUDED.%s", name) : psprintf("$%d", parameter);
		parameter++;
		if (PROTECTED_FIELDS & (1u << f))
			appendStringInfo(sql, " AND COALESCE(s.%1$s OPERATOR(pg_catalog.=) %2$s,"
							 " s.%1$s IS NULL AND %2$s IS NULL)",
							 name, value);
	}
	appendStringInfoString(sql, "))");
}

/* What the upsert does if the row exists. */
static char *
update_statement(uint32 given)
{
	StringInfoData sql;
	int			parameter = FIRST_FIELD_PARAMETER;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "UPDATE syncstate.sync_state AS s SET created_at = s.created_at");
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		if (given & (1u << f))
			appendStringInfo(&sql, ", %s = $%d", syncstate_field_names[f], parameter++);
	}
	appendStringInfoString(&sql, " WHERE s.type_key OPERATOR(pg_catalog.=) $1");
	if ((given & PROTECTED_FIELDS) != 0)
		appendStringInfoString(&sql, " AND ");
	append_guard(&sql, given, false);
	appendStringInfoString(&sql, " RETURNING s");
	return sql.data;
}

static char *
upsert_statement(uint32 given, bool many)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "INSERT INTO syncstate.sync_state AS s"
						   " (type_key, created_at, updated_at, changed_xid");
	append_fields(&sql, given, ", %s");
	append_following_bases(&sql, given, false);
	appendStringInfoString(&sql, ") SELECT d.type_key, $2, $2, 0");
	append_fields(&sql, given, ", d.%s");
	append_following_bases(&sql, given, true);
	append_source(&sql, given, many);
	appendStringInfoString(&sql, " ON CONFLICT (type_key) DO UPDATE SET created_at = s.created_at");
	append_fields(&sql, given, ", %s = EXCLUDED.%s");
	if ((given & PROTECTED_FIELDS) != 0)
		appendStringInfoString(&sql, " WHERE ");
	append_guard(&sql, given, true);
	appendStringInfoString(&sql, many ? " RETURNING s.type_key" : " RETURNING s");
	return sql.data;
}

/* Runs the statement for these fields; args: key(s), now, then the fields in order. */
static uint64
execute_update(UpdateStatement statement, uint32 given, const NullableDatum *args, int nargs)
{
	SPIPlanPtr *plan = &update_plans[statement][given];

	if (*plan == NULL)
	{
		bool		many = statement == UPSERT_MANY;
		Oid			types[FIRST_FIELD_PARAMETER - 1 + NUM_FIELDS];
		int			n = 0;

		types[n++] = many ? TEXTARRAYOID : TEXTOID;
		types[n++] = TIMESTAMPTZOID;
		for (int f = 0; f < NUM_FIELDS; f++)
		{
			if (given & (1u << f))
				types[n++] = many ? get_array_type(syncstate_field_types[f]) : syncstate_field_types[f];
		}
		*plan = syncstate_prepare(statement == UPDATE_KNOWN ? update_statement(given) : upsert_statement(given, many),
								  n, types);
	}
	return syncstate_execute_plan(*plan, "sync_state_update", nargs, args, false);
}

/* A key that the upsert passed over: a live run holds it. */
static void
report_refused(Datum key, TimestampTz now)
{
	SyncstateHolder holder = syncstate_read_holder(key, now, false);

	syncstate_refuse_if_held(&holder, key);
	syncstate_report_suppressed(key);
}

static Datum
update_one(const SyncstatePartial *partial, TimestampTz now)
{
	NullableDatum args[FIRST_FIELD_PARAMETER - 1 + NUM_FIELDS];
	int			n = 0;

	args[n++] = syncstate_datum(partial->type_key);
	args[n++] = syncstate_datum(TimestampTzGetDatum(now));
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		if (partial->given & (1u << f))
			args[n++] = partial->values[f];
	}
	if (execute_update(UPDATE_KNOWN, partial->given, args, n) == 0 &&
		execute_update(UPSERT_ONE, partial->given, args, n) == 0)
		report_refused(partial->type_key, now);
	return syncstate_return_datum(0, 1);
}

/*
 * sync_state_update(type_key, state)
 */
Datum
sync_state_update(PG_FUNCTION_ARGS)
{
	SyncstatePartial partial = {.type_key = syncstate_arg_type_key(fcinfo, 0)};
	Jsonb	   *state = DatumGetJsonbP(syncstate_arg_required(fcinfo, 1, "state"));
	TimestampTz now = GetCurrentTimestamp();
	Datum		result;

	PreventCommandIfReadOnly("sync_state_update()");
	syncstate_parse_partial(&state->root, &partial);

	syncstate_connect();
	result = update_one(&partial, now);
	SPI_finish();

	PG_RETURN_DATUM(result);
}

/* The first state whose key the upsert did not return; both in key order. */
static Datum
first_passed_over(const SyncstatePartial *partials, int n, uint64 nreturned)
{
	for (uint64 i = 0; i < nreturned && i < (uint64) n; i++)
	{
		if (syncstate_compare_keys(DatumGetTextPP(partials[i].type_key),
								   DatumGetTextPP(syncstate_result(i, 1).value)) != 0)
			return partials[i].type_key;
	}
	return partials[nreturned].type_key;
}

/* States that give the same fields, in one statement. */
static void
update_segment(const SyncstatePartial *partials, int n, TimestampTz now)
{
	NullableDatum args[FIRST_FIELD_PARAMETER - 1 + NUM_FIELDS];
	NullableDatum *column = palloc_array(NullableDatum, n);
	uint32		given = partials[0].given;
	uint64		nreturned;
	int			nargs = 0;

	for (int i = 0; i < n; i++)
		column[i] = syncstate_datum(partials[i].type_key);
	args[nargs++] = syncstate_datum(syncstate_array(column, n, TEXTOID));
	args[nargs++] = syncstate_datum(TimestampTzGetDatum(now));
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		if ((given & (1u << f)) == 0)
			continue;
		for (int i = 0; i < n; i++)
			column[i] = partials[i].values[f];
		args[nargs++] = syncstate_datum(syncstate_array(column, n, syncstate_field_types[f]));
	}

	nreturned = execute_update(UPSERT_MANY, given, args, nargs);
	if (nreturned < (uint64) n)
		report_refused(first_passed_over(partials, n, nreturned), now);
}

/*
 * sync_state_update_many(states)
 */
Datum
sync_state_update_many(PG_FUNCTION_ARGS)
{
	Jsonb	   *states = DatumGetJsonbP(syncstate_arg_required(fcinfo, 0, "states"));
	TimestampTz now = GetCurrentTimestamp();
	int			n;
	SyncstatePartial *partials;

	PreventCommandIfReadOnly("sync_state_update_many()");
	partials = syncstate_parse_partials(states, &n);

	syncstate_connect();
	for (int from = 0, to; from < n; from = to)
	{
		for (to = from + 1; to < n; to++)
		{
			if (partials[to].given != partials[from].given)
				break;
		}
		update_segment(partials + from, to - from, now);
	}
	SPI_finish();

	PG_RETURN_INT32(n);
}
