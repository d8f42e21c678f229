/*-------------------------------------------------------------------------
 *
 * pending.c
 *		What a transaction has done to the digests of tracked sources.
 *
 * It is added up in memory and written, when the transaction is about to commit or
 * to be prepared, as one row of syncstate.sync_tracking_delta for each source.  That
 * row is new, so no writer ever waits for another one; it is visible to whom the
 * transaction's rows are, so the sum of the deltas that a snapshot sees is the
 * digest of the rows that it sees.
 *
 * Pending deltas are kept apart by level of subtransactions: what is rolled back
 * goes, what is released becomes the parent's.  They go with the transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "track.h"

/* Those of this transaction, in TopTransactionContext. */
static SyncstatePendingDelta *pending = NULL;

SyncstatePendingDelta *
syncstate_pending_delta(const pg_uuid_t *source_id)
{
	int			level = GetCurrentTransactionNestLevel();
	SyncstatePendingDelta *delta;

	for (delta = pending; delta != NULL; delta = delta->next)
	{
		if (delta->level == level && syncstate_same_uuid(&delta->source_id, source_id))
			break;
	}
	if (delta == NULL)
	{
		delta = MemoryContextAllocZero(TopTransactionContext, sizeof(SyncstatePendingDelta));
		delta->source_id = *source_id;
		delta->level = level;
		delta->next = pending;
		pending = delta;
	}

	/* As used, so that the next command has another one. */
	delta->last_command = GetCurrentCommandId(true);
	return delta;
}

/* Takes back what is pending; by a delta of this level, for it may be rolled back. */
void
syncstate_forget_pending(const pg_uuid_t *source_id)
{
	SyncstateDigest total = {0};

	for (SyncstatePendingDelta *delta = pending; delta != NULL; delta = delta->next)
	{
		if (syncstate_same_uuid(&delta->source_id, source_id))
			syncstate_add_digest(&total, &delta->digest);
	}
	if (pending != NULL)
		syncstate_subtract_digest(&syncstate_pending_delta(source_id)->digest, &total);
}

/*
 * Adds what is pending to what the deltas of a snapshot amount to; false if the
 * snapshot may not see all of the rows that it stands for.
 */
bool
syncstate_add_pending(const pg_uuid_t *source_id, Snapshot snapshot, SyncstateDigest *digest)
{
	bool		whole = true;

	for (SyncstatePendingDelta *delta = pending; delta != NULL; delta = delta->next)
	{
		if (!syncstate_same_uuid(&delta->source_id, source_id))
			continue;
		whole = whole && delta->last_command < snapshot->curcid && !delta->ahead;
		syncstate_add_digest(digest, &delta->digest);
	}
	return whole;
}

/* A row of sync_tracking_delta, as it lies in its tuple: no column varies in length. */
typedef struct DeltaRow
{
	pg_uuid_t	source_id;
	int64		row_count;
	int64		sum_high;
	int64		sum_low;
} DeltaRow;

/*
 * A slot for rows of sync_tracking_delta, and the tuple that each of them is filled
 * into, made once: to make them takes half as long as to insert the row, which each
 * transaction does.  Columns that somebody added to the table are what they are in
 * older rows.
 */
static TupleTableSlot *delta_slot = NULL;
static HeapTuple delta_tuple = NULL;

static void
make_delta_slot(void)
{
	MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);
	TupleDesc	desc = CreateTemplateTupleDesc(Natts_delta);
	DeltaRow	nothing = {0};
	Datum		values[Natts_delta] = {UUIDPGetDatum(&nothing.source_id), Int64GetDatum(0), Int64GetDatum(0), Int64GetDatum(0)};
	bool		nulls[Natts_delta] = {0};

	TupleDescInitEntry(desc, Anum_delta_source_id, "source_id", UUIDOID, -1, 0);
	TupleDescInitEntry(desc, Anum_delta_row_count, "row_count", INT8OID, -1, 0);
	TupleDescInitEntry(desc, Anum_delta_sum_high, "sum_high", INT8OID, -1, 0);
	TupleDescInitEntry(desc, Anum_delta_sum_low, "sum_low", INT8OID, -1, 0);
	delta_tuple = heap_form_tuple(desc, values, nulls);
	delta_slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	MemoryContextSwitchTo(outer);
}

/* Appends a row to sync_tracking_delta. */
static void
append_delta(Relation rel, const SyncstatePendingDelta *delta)
{
	if (delta_slot == NULL)
		make_delta_slot();
	*(DeltaRow *) GETSTRUCT(delta_tuple) = (DeltaRow){
		.source_id = delta->source_id,
		.row_count = delta->digest.rows,
		.sum_high = (int64) delta->digest.sum.high,
		.sum_low = (int64) delta->digest.sum.low,
	};
	ExecStoreHeapTuple(delta_tuple, delta_slot, false);
	table_tuple_insert(rel, delta_slot, GetCurrentCommandId(true), 0, NULL);

	/* What is inserted is a copy, which the slot has made and frees. */
	ExecClearTuple(delta_slot);
}

/* The table that deltas go to; NULL if the extension was dropped. */
static Relation
open_delta_table(LOCKMODE lockmode)
{
	Oid			relid = syncstate_lock_table_if_exists(TABLE_TRACKING_DELTA, lockmode);
	Relation	rel;

	/* To look the extension up takes longer than to write the row: only if in doubt. */
	if (!OidIsValid(relid))
	{
		if (!OidIsValid(get_extension_oid("syncstate", true)))
			return NULL;
		relid = syncstate_lock_table(TABLE_TRACKING_DELTA, lockmode);
	}
	rel = table_open(relid, NoLock);

	/* An index would not be kept up to date by what appends here. */
	if (rel->rd_rel->relhasindex && RelationGetIndexList(rel) != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("syncstate.sync_tracking_delta must not have an index"),
				 errhint("Drop it.")));
	return rel;
}

static void
write_pending(void)
{
	Relation	rel = NULL;
	bool		has_snapshot = false;
	SyncstateDigest nothing = {0};

	/* Subtransactions are over: levels above 1 have been merged into it. */
	for (SyncstatePendingDelta *delta = pending; delta != NULL; delta = delta->next)
	{
		if (syncstate_digests_equal(&delta->digest, &nothing))
			continue;
		if (rel == NULL)
		{
			rel = open_delta_table(RowExclusiveLock);
			if (rel == NULL)
				break;

			/* Once somebody has added a column of varying length, the server wants one. */
			has_snapshot = OidIsValid(rel->rd_rel->reltoastrelid);
			if (has_snapshot)
				PushActiveSnapshot(GetTransactionSnapshot());
		}
		append_delta(rel, delta);
	}
	if (has_snapshot)
		PopActiveSnapshot();
	if (rel != NULL)
		table_close(rel, NoLock);
	pending = NULL;
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (pending != NULL)
				write_pending();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			pending = NULL;
			break;
		default:
			break;
	}
}

/* A subtransaction's deltas become those of its parent. */
static void
merge_into_parent(int level)
{
	for (SyncstatePendingDelta **link = &pending; *link != NULL;)
	{
		SyncstatePendingDelta *child = *link;
		SyncstatePendingDelta *parent;

		if (child->level < level)
		{
			link = &child->next;
			continue;
		}
		for (parent = pending; parent != NULL; parent = parent->next)
		{
			if (parent->level == level - 1 && syncstate_same_uuid(&parent->source_id, &child->source_id))
				break;
		}
		if (parent == NULL)
		{
			child->level = level - 1;
			link = &child->next;
			continue;
		}
		syncstate_add_digest(&parent->digest, &child->digest);
		parent->last_command = Max(parent->last_command, child->last_command);
		parent->ahead |= child->ahead;
		*link = child->next;
		pfree(child);
	}
}

static void
forget_level(int level)
{
	for (SyncstatePendingDelta **link = &pending; *link != NULL;)
	{
		SyncstatePendingDelta *delta = *link;

		if (delta->level < level)
		{
			link = &delta->next;
			continue;
		}
		*link = delta->next;
		pfree(delta);
	}
}

static void
at_subtransaction_event(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (pending == NULL)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		merge_into_parent(GetCurrentTransactionNestLevel());
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_level(GetCurrentTransactionNestLevel());
}

void
syncstate_init_pending(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
}
