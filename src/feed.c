/*-------------------------------------------------------------------------
 *
 * feed.c
 *		The change feed: sync_state_changes, sync_state_cursor.
 *
 * Every row says in changed_xid which transaction last changed it, by the
 * 64-bit id of the top-level transaction.  A reader remembers, in its cursor, a
 * snapshot: which transactions had ended when it last read.  What it has not
 * seen is then exactly what was written by transactions that had not ended in
 * its snapshot ("from") and have ended in the present one ("to").  No clock and
 * no sequence is asked, so it does not matter how long a writer took, and a
 * transaction that stays open holds back nothing but its own changes.
 *
 * That set is read in the order of (changed_xid, type_key), through the index.
 * It may be read in pages: a row that is changed again meanwhile leaves the set,
 * and comes with the next one.  When a set is exhausted, "to" becomes "from".
 * Rows and the snapshot "to" of a new set come from one moment, the snapshot of
 * the calling query.
 *
 * Snapshots mean something only among the transaction ids that they were taken
 * from, so a cursor names those, and whatever may have mixed them up (another
 * cluster, a restore, a promotion, a trigger switched off) is refused, with
 * "resync required".  And before a cursor is handed out, WAL is flushed: the
 * transactions below its xmax are then on disk, so that no crash can give their
 * ids to others.  (Ids above it that a crash gives again are those of
 * transactions which the cursor says it has not seen.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "cursor.h"
#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_state_changes);
PG_FUNCTION_INFO_V1(sync_state_cursor);

/* What the tables say of the feed. */
typedef struct FeedState
{
	pg_uuid_t	incarnation;
	uint64		pruned_xid;		/* tombstones up to here may be gone */
} FeedState;

/* One page: a set, where to go on in it, and how much is still wanted. */
typedef struct FeedPage
{
	ReturnSetInfo *rsinfo;
	SyncstateOrigin origin;
	SyncstateSnapshot from;
	SyncstateSnapshot to;
	uint64		xid;
	text	   *key;
	int64		wanted;
	bool		more;			/* the set has rows beyond what was wanted */
	StringInfoData cursor;		/* of a row of the set */
	int			cursor_base;	/* so much of it is the same for all rows */

	/* The row read last, which is put out when it is known whether it ends the set. */
	bool		held;
	Datum		values[9];
	bool		nulls[9];
} FeedPage;

/* ---------------------------------------------------------------- refusals */

static void
report_resync(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("resync required"),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

static const char *const start_anew = "Call sync_state_changes(NULL) and read everything anew.";
static const char *const repair_first = "Let the owner of the table call sync_state_repair(), then read everything anew.";

static void
refuse_standby(void)
{
	if (RecoveryInProgress())
		report_resync("On a standby a snapshot does not list the transactions that are running.",
					  "Read the change feed on the primary.");
}

/*
 * Is the table distributed?  Then its rows bear the transaction ids of several
 * nodes.  Citus lists such tables in pg_dist_partition.
 */
static void
refuse_distributed(void)
{
	NullableDatum relid = syncstate_datum(ObjectIdGetDatum(syncstate_state_relid()));

	if (!OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE)))
		return;
	if (syncstate_execute(STMT_DISTRIBUTED, &relid, true) > 0)
		report_resync("The table syncstate.sync_state is distributed: transaction ids of several nodes cannot be compared.",
					  "Follow a distributed table with sync_state_changed_since, or node by node.");
}

static bool
is_enabled_always(const TriggerDesc *triggers, const char *name)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (strcmp(triggers->triggers[i].tgname, name) == 0)
			return triggers->triggers[i].tgenabled == TRIGGER_FIRES_ALWAYS;
	}
	return false;
}

static void
refuse_disabled_triggers(void)
{
	Relation	rel = table_open(syncstate_state_relid(), AccessShareLock);
	bool		enabled = is_enabled_always(rel->trigdesc, SYNCSTATE_TOUCH_TRIGGER) &&
		is_enabled_always(rel->trigdesc, SYNCSTATE_ENTOMB_TRIGGER);

	table_close(rel, NoLock);
	if (!enabled)
		report_resync("A trigger of syncstate.sync_state is not enabled always, so changes may not have been noted.",
					  repair_first);
}

/* Reads sync_feed; refuses rows whose transaction ids cannot be of this database. */
static FeedState
read_feed_state(void)
{
	FeedState	state;
	NullableDatum newest;

	syncstate_execute(STMT_FEED_STATE, NULL, true);
	if (syncstate_result(0, 1).isnull)
		report_resync("The row of syncstate.sync_feed is missing.", repair_first);

	state.incarnation = *DatumGetUUIDP(syncstate_result(0, 1).value);
	state.pruned_xid = (uint64) DatumGetInt64(syncstate_result(0, 2).value);
	newest = syncstate_result(0, 3);
	if (!newest.isnull &&
		(uint64) DatumGetInt64(newest.value) >= U64FromFullTransactionId(ReadNextFullTransactionId()))
		report_resync("A row bears a transaction id that was not yet given out here: it was restored past the triggers.",
					  repair_first);
	return state;
}

static SyncstateOrigin
current_origin(const FeedState *state)
{
	SyncstateOrigin origin;

	origin.system = GetSystemIdentifier();
	origin.database = MyDatabaseId;
	origin.timeline = GetWALInsertionTimeLine();
	origin.incarnation = state->incarnation;
	return origin;
}

static void
refuse_foreign_cursor(const SyncstateCursor *cursor, const SyncstateOrigin *here)
{
	const SyncstateOrigin *there = &cursor->origin;

	if (there->system != here->system)
		report_resync("The cursor is from another cluster.", start_anew);
	if (there->database != here->database)
		report_resync("The cursor is from another database.", start_anew);
	if (there->timeline != here->timeline)
		report_resync("The cursor is from another timeline: a standby was promoted, or a backup recovered.", start_anew);
	if (memcmp(there->incarnation.data, here->incarnation.data, UUID_LEN) != 0)
		report_resync("The cursor is from another incarnation of the tables: they were restored, made anew or repaired.",
					  start_anew);
}

static void
refuse_unreachable_cursor(const SyncstateCursor *cursor, const FeedState *state)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	const SyncstateSnapshot *unread = &cursor->from;

	/* Who starts from nothing reads no tombstones, until the first set is exhausted. */
	if (cursor->open && cursor->from.xmax == 0)
		unread = &cursor->to;

	if (cursor->from.xmax > next || (cursor->open && cursor->to.xmax > next))
		report_resync("The cursor is from the future: it knows of transactions that are not yet here.", start_anew);
	if (unread->xmin <= state->pruned_xid)
		report_resync("Tombstones that the cursor had not read were pruned.", start_anew);
}

static bool
had_ended(const SyncstateSnapshot *snapshot, uint64 xid)
{
	for (int i = 0; i < snapshot->nxip; i++)
	{
		if (snapshot->xip[i] == xid)
			return false;
	}
	return xid < snapshot->xmax;
}

/* Had everything that had ended in a also ended in b? */
static bool
precedes_or_equals(const SyncstateSnapshot *a, const SyncstateSnapshot *b)
{
	if (a->xmax > b->xmax)
		return false;
	for (int i = 0; i < b->nxip; i++)
	{
		if (had_ended(a, b->xip[i]))
			return false;
	}
	return true;
}

/*
 * A transaction that keeps an old snapshot (REPEATABLE READ) cannot see what a
 * cursor read later knows of, and would take it for absent.
 */
static void
refuse_older_snapshot(const SyncstateCursor *cursor, const SyncstateSnapshot *now)
{
	if (!precedes_or_equals(cursor->open ? &cursor->to : &cursor->from, now))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the snapshot of this transaction is older than the cursor"),
				 errhint("Read the change feed in a new transaction.")));
}

/* ----------------------------------------------------------------- reading */

/*
 * Flushes WAL up to what has been inserted by now.  The position of the next
 * record lies behind a page's header when a page has just been filled; a flush
 * cannot reach that, so go back to where the last record ended.
 */
static void
flush_wal(void)
{
	XLogRecPtr	end = GetXLogInsertRecPtr();

	if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= SizeOfXLogLongPHD;
	else if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		end -= SizeOfXLogShortPHD;
	XLogFlush(end);
}

static NullableDatum
xid_array(const SyncstateSnapshot *snapshot)
{
	NullableDatum *xids = palloc_array(NullableDatum, snapshot->nxip + 1);

	for (int i = 0; i < snapshot->nxip; i++)
		xids[i] = syncstate_datum(Int64GetDatum((int64) snapshot->xip[i]));
	return syncstate_datum(syncstate_array(xids, snapshot->nxip, INT8OID));
}

/* A set begins before its first possible row; no key is empty. */
static void
begin_set(FeedPage *page)
{
	page->xid = page->from.xmin;
	page->key = cstring_to_text("");
}

/* The first result of a statement whose rows begin with (changed_xid, type_key). */
typedef struct FeedRows
{
	SPITupleTable *table;
	uint64		next;
} FeedRows;

static Datum
feed_value(const FeedRows *rows, int column, bool *isnull)
{
	return SPI_getbinval(rows->table->vals[rows->next], rows->table->tupdesc, column, isnull);
}

static bool
exhausted(const FeedRows *rows)
{
	return rows->table == NULL || rows->next >= rows->table->numvals;
}

/* Does the next row of a come before the next row of b? */
static bool
comes_first(const FeedRows *a, const FeedRows *b)
{
	bool		isnull;
	int64		axid;
	int64		bxid;

	if (exhausted(a) || exhausted(b))
		return exhausted(b);

	axid = DatumGetInt64(feed_value(a, 1, &isnull));
	bxid = DatumGetInt64(feed_value(b, 1, &isnull));
	if (axid != bxid)
		return axid < bxid;
	return syncstate_compare_keys(DatumGetTextPP(feed_value(a, 2, &isnull)),
								  DatumGetTextPP(feed_value(b, 2, &isnull))) < 0;
}

/*
 * Puts the held row into the result, with the position after it.  After the
 * last row of a set that is simply the snapshot "to": all before it was read,
 * so that this cursor asks for nothing that may be pruned.
 */
static void
put_held(FeedPage *page, bool ends_set)
{
	StringInfo	cursor = &page->cursor;

	if (!page->held)
		return;
	if (ends_set)
	{
		resetStringInfo(cursor);
		syncstate_append_cursor_base(cursor, &page->origin, &page->to);
	}
	else
	{
		cursor->len = page->cursor_base;
		syncstate_append_cursor_position(cursor, page->xid, page->key);
	}
	page->values[8] = PointerGetDatum(cstring_to_text_with_len(cursor->data, cursor->len));
	page->nulls[8] = false;

	tuplestore_putvalues(page->rsinfo->setResult, page->rsinfo->setDesc, page->values, page->nulls);
	pfree(DatumGetPointer(page->values[8]));
	page->held = false;
}

/* Takes the next of rows, as a row of syncstate.sync_change. */
static void
take_change(FeedPage *page, FeedRows *rows, bool deleted)
{
	bool		isnull;

	put_held(page, false);

	page->xid = (uint64) DatumGetInt64(feed_value(rows, 1, &isnull));
	page->key = DatumGetTextPP(feed_value(rows, 2, &isnull));
	page->values[0] = PointerGetDatum(page->key);
	page->nulls[0] = false;
	page->values[1] = BoolGetDatum(deleted);
	page->nulls[1] = false;
	for (int i = 2; i < 8; i++)
		page->values[i] = feed_value(rows, i + 1, &page->nulls[i]);
	page->held = true;
	rows->next++;
	page->wanted--;
}

static FeedRows
fetch_rows(SyncstateStatement statement, const NullableDatum *args)
{
	FeedRows	rows = {0};

	if (syncstate_execute(statement, args, true) > 0)
		rows.table = SPI_tuptable;
	else
		SPI_freetuptable(SPI_tuptable);
	return rows;
}

static int
compare_xids(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Reads on in the open set, from xid first to before xid end, none of which had
 * ended in "from"; running lists those that had not ended in "to".
 */
static void
read_range(FeedPage *page, uint64 first, uint64 end, NullableDatum running)
{
	bool		begun = page->xid >= first;
	NullableDatum args[] = {
		syncstate_datum(Int64GetDatum((int64) (begun ? page->xid : first))),
		syncstate_datum(PointerGetDatum(begun ? page->key : cstring_to_text(""))),
		syncstate_datum(Int64GetDatum((int64) end)),
		running,
		syncstate_datum(Int64GetDatum(page->wanted + 1)),
	};
	FeedRows	states;
	FeedRows	tombs = {0};

	if (page->more || page->xid >= end)
		return;
	states = fetch_rows(STMT_FEED_STATES, args);

	/* Who starts from nothing has nothing to delete. */
	if (page->from.xmax != 0)
		tombs = fetch_rows(STMT_FEED_TOMBSTONES, args);

	while (page->wanted > 0 && !(exhausted(&states) && exhausted(&tombs)))
	{
		CHECK_FOR_INTERRUPTS();
		if (comes_first(&states, &tombs))
			take_change(page, &states, false);
		else
			take_change(page, &tombs, true);
	}
	page->more = !(exhausted(&states) && exhausted(&tombs));
}

/*
 * Reads on in the open set; true when it is exhausted.
 *
 * Transactions that "from" lists are looked up one by one: one that stays open
 * while a million rows change must not make every reader pass over those.
 */
static bool
read_set(FeedPage *page)
{
	NullableDatum running = xid_array(&page->to);

	qsort(page->from.xip, page->from.nxip, sizeof(uint64), compare_xids);

	resetStringInfo(&page->cursor);
	syncstate_append_cursor_base(&page->cursor, &page->origin, &page->from);
	syncstate_append_cursor_set(&page->cursor, &page->to);
	page->cursor_base = page->cursor.len;

	for (int i = 0; i < page->from.nxip; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (had_ended(&page->to, page->from.xip[i]))
			read_range(page, page->from.xip[i], page->from.xip[i] + 1, running);
	}
	read_range(page, page->from.xmax, page->to.xmax, running);
	put_held(page, !page->more);
	return !page->more;
}

/*
 * sync_state_changes(cursor, max_rows)
 */
Datum
sync_state_changes(PG_FUNCTION_ARGS)
{
	bool		start = PG_ARGISNULL(0);
	SyncstateCursor cursor = {0};
	SyncstateSnapshot now;
	FeedState	state;
	FeedPage	page;

	page.held = false;
	page.more = false;
	page.wanted = syncstate_arg_positive(fcinfo, 1, "max_rows");
	if (!start)
		cursor = syncstate_parse_cursor(TextDatumGetCString(PG_GETARG_DATUM(0)));
	refuse_standby();

	InitMaterializedSRF(fcinfo, 0);
	page.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	syncstate_connect();
	initStringInfo(&page.cursor);
	refuse_distributed();
	refuse_disabled_triggers();
	state = read_feed_state();
	page.origin = current_origin(&state);
	if (!start)
	{
		refuse_foreign_cursor(&cursor, &page.origin);
		refuse_unreachable_cursor(&cursor, &state);
	}

	now = syncstate_take_snapshot(GetActiveSnapshot());
	if (!start)
		refuse_older_snapshot(&cursor, &now);
	page.from = cursor.from;
	if (cursor.open)
	{
		page.to = cursor.to;
		page.xid = cursor.xid;
		page.key = cursor.key;
		if (read_set(&page) && page.wanted > 0)
		{
			page.from = page.to;
			page.to = now;
			begin_set(&page);
			read_set(&page);
		}
	}
	else
	{
		page.to = now;
		begin_set(&page);
		read_set(&page);
	}
	SPI_finish();

	flush_wal();
	return (Datum) 0;
}

/*
 * sync_state_cursor(): the position "now"
 */
Datum
sync_state_cursor(PG_FUNCTION_ARGS)
{
	SyncstateSnapshot now;
	SyncstateOrigin origin;
	FeedState	state;
	StringInfoData cursor;
	MemoryContext caller = CurrentMemoryContext;

	refuse_standby();

	syncstate_connect();
	refuse_distributed();
	refuse_disabled_triggers();
	state = read_feed_state();
	SPI_finish();

	MemoryContextSwitchTo(caller);
	now = syncstate_take_snapshot(GetActiveSnapshot());
	origin = current_origin(&state);
	initStringInfo(&cursor);
	syncstate_append_cursor_base(&cursor, &origin, &now);

	flush_wal();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(cursor.data, cursor.len));
}
