/*-------------------------------------------------------------------------
 *
 * touch.c
 *		The triggers of syncstate.sync_state.
 *
 * They hold for every writer: the extension's functions, an ORM, plain SQL.
 * Columns are known by number, as the install script made them; columns that
 * somebody added come after them and count as content.
 *
 * The row trigger fires last of its kind, so that it sees the row as it will
 * be stored, and is ENABLE ALWAYS, so that a replica's rows bear transaction
 * ids of the replica.  Which bases an UPDATE sets is read from its SET list,
 * never from values: setting a base to what it was is setting it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(syncstate_touch);
PG_FUNCTION_INFO_V1(syncstate_entomb);
PG_FUNCTION_INFO_V1(syncstate_refuse_truncate);
PG_FUNCTION_INFO_V1(syncstate_announce);

/* A tuple taken apart; columns are addressed by number. */
typedef struct Row
{
	Datum	   *values;
	bool	   *nulls;
} Row;

static Row
take_apart(HeapTuple tuple, TupleDesc desc)
{
	Row			row;

	row.values = palloc_array(Datum, desc->natts);
	row.nulls = palloc_array(bool, desc->natts);
	heap_deform_tuple(tuple, desc, row.values, row.nulls);
	return row;
}

static bool
is_null(const Row *row, int column)
{
	return row->nulls[column - 1];
}

static Datum
value_of(const Row *row, int column)
{
	return row->values[column - 1];
}

static void
set_value(Row *row, int column, Datum value)
{
	row->values[column - 1] = value;
	row->nulls[column - 1] = false;
}

static void
set_null(Row *row, int column)
{
	row->nulls[column - 1] = true;
}

static void
copy_value(Row *to, int to_column, const Row *from, int from_column)
{
	to->values[to_column - 1] = from->values[from_column - 1];
	to->nulls[to_column - 1] = from->nulls[from_column - 1];
}

/* Puts a changed row together, as heap_modify_tuple would. */
static HeapTuple
put_together(const Row *row, HeapTuple original, TupleDesc desc)
{
	HeapTuple	tuple = heap_form_tuple(desc, row->values, row->nulls);

	tuple->t_data->t_ctid = original->t_data->t_ctid;
	tuple->t_self = original->t_self;
	tuple->t_tableOid = original->t_tableOid;
	return tuple;
}

static int64
top_xid(void)
{
	return (int64) U64FromFullTransactionId(GetTopFullTransactionId());
}

static bool
differs(const Row *a, const Row *b, int column, TupleDesc desc)
{
	Form_pg_attribute att = TupleDescAttr(desc, column - 1);

	if (is_null(a, column) || is_null(b, column))
		return is_null(a, column) != is_null(b, column);
	return !datum_image_eq(value_of(a, column), value_of(b, column), att->attbyval, att->attlen);
}

/* Would the change feed report it?  Not what a checkpoint or the trigger itself writes. */
static bool
is_feed_change(const Row *old, const Row *new, TupleDesc desc)
{
	for (int column = 1; column <= desc->natts; column++)
	{
		switch (column)
		{
			case Anum_sync_state_sync_progress:
			case Anum_sync_state_lease_expires_at:
			case Anum_sync_state_updated_at:
			case Anum_sync_state_changed_xid:
				continue;
		}
		if (differs(old, new, column, desc))
			return true;
	}
	return false;
}

static bool
status_is(const Row *row, const char *status)
{
	text	   *value;

	if (is_null(row, Anum_sync_state_sync_status))
		return false;
	value = DatumGetTextPP(value_of(row, Anum_sync_state_sync_status));
	return VARSIZE_ANY_EXHDR(value) == strlen(status) &&
		memcmp(VARDATA_ANY(value), status, strlen(status)) == 0;
}

static bool
set_list_names(const TriggerData *trigdata, int column)
{
	return bms_is_member(column - FirstLowInvalidHeapAttributeNumber, trigdata->tg_updatedcols);
}

static void
touch_insert(Row *row)
{
	bool		restored = !is_null(row, Anum_sync_state_changed_xid);

	set_value(row, Anum_sync_state_changed_xid, Int64GetDatum(top_xid()));
	if (restored || SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
		is_null(row, Anum_sync_state_last_sync_at))
		return;

	if (is_null(row, Anum_sync_state_last_synced_hash))
		copy_value(row, Anum_sync_state_last_synced_hash, row, Anum_sync_state_local_hash);
	if (is_null(row, Anum_sync_state_last_synced_remote_hash))
		copy_value(row, Anum_sync_state_last_synced_remote_hash, row, Anum_sync_state_remote_hash);
}

/* Is last_sync_at set to a later value, or from NULL? */
static bool
records_sync(const Row *old, const Row *new)
{
	if (is_null(new, Anum_sync_state_last_sync_at))
		return false;
	if (is_null(old, Anum_sync_state_last_sync_at))
		return true;
	return DatumGetTimestampTz(value_of(new, Anum_sync_state_last_sync_at)) >
		DatumGetTimestampTz(value_of(old, Anum_sync_state_last_sync_at));
}

/* Grows strictly per key, also when the clock has stepped back. */
static TimestampTz
next_updated_at(const Row *old)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz before = DatumGetTimestampTz(value_of(old, Anum_sync_state_updated_at));

	if (now > before)
		return now;
	if (!IS_VALID_TIMESTAMP(before + 1))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("updated_at cannot grow any more")));
	return before + 1;
}

/* Tells listeners of a row, if this session is to. */
static void
announce(const Row *row, bool changed)
{
	NullableDatum status;

	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
		syncstate_notify == NOTIFY_NONE || (syncstate_notify == NOTIFY_CHANGES && !changed))
		return;
	status.value = value_of(row, Anum_sync_state_sync_status);
	status.isnull = is_null(row, Anum_sync_state_sync_status);
	syncstate_announce_change(value_of(row, Anum_sync_state_type_key), status);
}

static void
touch_update(const TriggerData *trigdata, const Row *old, Row *new, TupleDesc desc)
{
	bool		changed;

	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
	{
		if (differs(old, new, Anum_sync_state_type_key, desc))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("type_key of a state cannot be changed"),
					 errhint("Forget the key and record the new one.")));

		copy_value(new, Anum_sync_state_created_at, old, Anum_sync_state_created_at);
		set_value(new, Anum_sync_state_updated_at, TimestampTzGetDatum(next_updated_at(old)));

		if (records_sync(old, new))
		{
			if (!set_list_names(trigdata, Anum_sync_state_last_synced_hash))
				copy_value(new, Anum_sync_state_last_synced_hash, new, Anum_sync_state_local_hash);
			if (!set_list_names(trigdata, Anum_sync_state_last_synced_remote_hash))
				copy_value(new, Anum_sync_state_last_synced_remote_hash, new, Anum_sync_state_remote_hash);
		}
		if (status_is(old, "syncing") && !status_is(new, "syncing"))
		{
			set_null(new, Anum_sync_state_run_id);
			set_null(new, Anum_sync_state_lease_expires_at);
		}
	}

	changed = is_feed_change(old, new, desc);
	if (changed)
		set_value(new, Anum_sync_state_changed_xid, Int64GetDatum(top_xid()));
	else
		copy_value(new, Anum_sync_state_changed_xid, old, Anum_sync_state_changed_xid);
	announce(new, changed);
}

static void
check_trigger(FunctionCallInfo fcinfo, const char *name, TriggerEvent timing, bool row)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(trigdata->tg_event & TRIGGER_EVENT_TIMINGMASK) != timing ||
		(TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) != 0) != row)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by its trigger", name)));
}

/*
 * Anybody can make a trigger on a table of theirs that calls these functions.
 * A table with columns of these types is safe to read by number; it need not be
 * syncstate.sync_state itself, for a shard of that bears another name.
 */
bool
syncstate_has_columns_of_state(TupleDesc desc)
{
	static const Oid types[Natts_sync_state] = {
		[Anum_sync_state_type_key - 1] = TEXTOID,
		[Anum_sync_state_local_hash - 1] = TEXTOID,
		[Anum_sync_state_remote_hash - 1] = TEXTOID,
		[Anum_sync_state_last_synced_hash - 1] = TEXTOID,
		[Anum_sync_state_last_sync_at - 1] = TIMESTAMPTZOID,
		[Anum_sync_state_sync_status - 1] = TEXTOID,
		[Anum_sync_state_conflict_status - 1] = TEXTOID,
		[Anum_sync_state_sync_progress - 1] = JSONBOID,
		[Anum_sync_state_created_at - 1] = TIMESTAMPTZOID,
		[Anum_sync_state_updated_at - 1] = TIMESTAMPTZOID,
		[Anum_sync_state_last_synced_remote_hash - 1] = TEXTOID,
		[Anum_sync_state_run_id - 1] = UUIDOID,
		[Anum_sync_state_run_number - 1] = INT4OID,
		[Anum_sync_state_lease_expires_at - 1] = TIMESTAMPTZOID,
		[Anum_sync_state_changed_xid - 1] = INT8OID,
	};

	if (desc->natts < Natts_sync_state)
		return false;
	for (int i = 0; i < Natts_sync_state; i++)
	{
		if (TupleDescAttr(desc, i)->atttypid != types[i])
			return false;
	}
	return true;
}

static void
check_state_table(const TriggerData *trigdata, const char *name)
{
	if (!syncstate_has_columns_of_state(RelationGetDescr(trigdata->tg_relation)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" is for triggers of syncstate.sync_state", name)));
}

/*
 * Times are finite, or nothing could be later.  Here rather than in a CHECK, which
 * the server would parse for every statement.
 */
static void
require_finite_times(const Row *row, Relation rel)
{
	static const int columns[] = {
		Anum_sync_state_last_sync_at,
		Anum_sync_state_created_at,
		Anum_sync_state_updated_at,
	};

	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		if (!is_null(row, columns[i]) && TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value_of(row, columns[i]))))
			ereport(ERROR,
					(errcode(ERRCODE_CHECK_VIOLATION),
					 errmsg("%s of a state must be finite",
							NameStr(TupleDescAttr(RelationGetDescr(rel), columns[i] - 1)->attname)),
					 errtablecol(rel, columns[i])));
	}
}

/*
 * syncstate.touch(): BEFORE INSERT OR UPDATE, for each row
 */
Datum
syncstate_touch(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	original;
	Row			row;

	check_trigger(fcinfo, "syncstate.touch", TRIGGER_EVENT_BEFORE, true);
	check_state_table(trigdata, "syncstate.touch");
	desc = RelationGetDescr(trigdata->tg_relation);

	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		Row			old = take_apart(trigdata->tg_trigtuple, desc);

		original = trigdata->tg_newtuple;
		row = take_apart(original, desc);
		touch_update(trigdata, &old, &row, desc);
	}
	else
	{
		original = trigdata->tg_trigtuple;
		row = take_apart(original, desc);
		touch_insert(&row);
	}
	require_finite_times(&row, trigdata->tg_relation);
	return PointerGetDatum(put_together(&row, original, desc));
}

/*
 * syncstate.entomb(): AFTER DELETE, for each row
 */
Datum
syncstate_entomb(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	bool		isnull;
	NullableDatum args[3];

	check_trigger(fcinfo, "syncstate.entomb", TRIGGER_EVENT_AFTER, true);
	check_state_table(trigdata, "syncstate.entomb");
	desc = RelationGetDescr(trigdata->tg_relation);

	args[0] = syncstate_datum(heap_getattr(trigdata->tg_trigtuple, Anum_sync_state_type_key, desc, &isnull));
	args[1] = syncstate_datum(Int64GetDatum(top_xid()));
	args[2] = syncstate_datum(TimestampTzGetDatum(GetCurrentTimestamp()));

	if (syncstate_notify != NOTIFY_NONE && SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		syncstate_announce_change(args[0].value, syncstate_null());

	syncstate_connect();
	syncstate_execute(STMT_ENTOMB, args, false);
	syncstate_execute(STMT_FORGET_RUNS, args, false);
	syncstate_execute(STMT_FORGET_CONFLICTS, args, false);
	if (!syncstate_table_is_empty(TABLE_ROW_BASE))
		syncstate_execute(STMT_FORGET_ROW_BASES, args, false);
	SPI_finish();

	return PointerGetDatum(NULL);
}

/*
 * syncstate.refuse_truncate(): BEFORE TRUNCATE, for each statement
 */
Datum
syncstate_refuse_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	check_trigger(fcinfo, "syncstate.refuse_truncate", TRIGGER_EVENT_BEFORE, false);
	check_state_table(trigdata, "syncstate.refuse_truncate");
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("syncstate.sync_state cannot be truncated"),
			 errdetail("A change feed would never tell of the deletions."),
			 errhint("Use DELETE, or sync_state_forget.")));
	return (Datum) 0;			/* not reached */
}

/*
 * syncstate.announce(): AFTER INSERT, for each row
 *
 * An INSERT ... ON CONFLICT fires the BEFORE trigger for a row that it may then
 * not insert, so inserted rows are announced here.
 */
Datum
syncstate_announce(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	check_trigger(fcinfo, "syncstate.announce", TRIGGER_EVENT_AFTER, true);
	check_state_table(trigdata, "syncstate.announce");

	if (syncstate_notify != NOTIFY_NONE)
	{
		Row			row = take_apart(trigdata->tg_trigtuple, RelationGetDescr(trigdata->tg_relation));

		announce(&row, true);
	}
	return PointerGetDatum(NULL);
}
