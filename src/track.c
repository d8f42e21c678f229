/*-------------------------------------------------------------------------
 *
 * track.c
 *		The triggers that keep the digest of a table, when they fire.
 *
 * A digest is a sum, so it can be kept up to date: a row trigger adds the hash of
 * what came and takes away the hash of what went.
 *
 * The trigger functions may be called by anybody's trigger, so they make sure
 * that their table is the one which is attached under the key that the trigger
 * names; where it is not, they do nothing.  They need no privilege of the
 * writer's: they read sync_source and append to sync_tracking_delta past SPI,
 * and run no code of anybody's.
 *
 * What is kept from call to call: a tracker for each trigger that has fired in
 * this backend, until the relation cache entry of its table is invalidated.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/partition.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "track.h"

PG_FUNCTION_INFO_V1(syncstate_track);
PG_FUNCTION_INFO_V1(syncstate_track_truncate);


/* The name of a source's triggers: several sources may be of one table. */
char *
syncstate_trigger_name(const SyncstateSource *source, const char *what)
{
	return psprintf(TRIGGER_PREFIX "%s_%02x%02x%02x%02x", what, source->id.data[0],
					source->id.data[1], source->id.data[2], source->id.data[3]);
}

/* What a trigger has to do, as last looked up. */
typedef struct Tracker
{
	Oid			trigger;		/* hash key */
	bool		valid;
	Oid			relid;			/* the table that it is on */
	bool		attached;		/* false: nothing */
	pg_uuid_t	source_id;
	MemoryContext context;		/* of what follows */
	int			ncolumns;
	AttrNumber *attnums;
	AttrNumber	last_attnum;
	SyncstatePacker *packer;
	NullableDatum *values;
	SyncstatePrefetch old_rows;
	SyncstatePrefetch new_rows;
} Tracker;

static HTAB *trackers = NULL;

/* The trigger that fired last, most often the next one too. */
static Tracker *last_tracker = NULL;

static void
invalidate_trackers(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Tracker	   *tracker;

	if (trackers == NULL)
		return;
	hash_seq_init(&status, trackers);
	while ((tracker = hash_seq_search(&status)) != NULL)
	{
		if (relid == InvalidOid || relid == tracker->relid)
			tracker->valid = false;
	}
}

/*
 * Where the columns are in a table, whose partitions may have them elsewhere.
 * False if rows cannot be hashed, because of what was done to the columns since
 * they were attached: then nobody counts on the sum, and writers must go on.
 */
static bool
set_up_columns(Tracker *tracker, Relation rel, List *columns)
{
	int			n = list_length(columns);
	Oid		   *types = palloc_array(Oid, Max(n, 1));
	int			i = 0;
	ListCell   *cell;

	if (n == 0)
		return false;
	tracker->ncolumns = n;
	tracker->last_attnum = 0;
	tracker->attnums = MemoryContextAlloc(tracker->context, n * sizeof(AttrNumber));
	tracker->values = MemoryContextAlloc(tracker->context, n * sizeof(NullableDatum));
	foreach(cell, columns)
	{
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), lfirst(cell));

		if (attnum <= 0)
			return false;
		tracker->attnums[i] = attnum;
		tracker->last_attnum = Max(tracker->last_attnum, attnum);
		types[i] = TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid;
		if (!syncstate_is_packable(types[i]))
			return false;
		i++;
	}
	tracker->packer = syncstate_make_packer(tracker->context, n, types);
	return true;
}

/* Is rel the table, or a partition of it? */
static bool
belongs_to(Relation rel, Oid table)
{
	return RelationGetRelid(rel) == table ||
		(rel->rd_rel->relispartition &&
		 list_member_oid(get_partition_ancestors(RelationGetRelid(rel)), table));
}

/* Whether it is a source's own trigger, and not one that somebody made besides. */
static bool
is_named_by(const Trigger *trigger, const SyncstateSource *source)
{
	return strcmp(trigger->tgname, syncstate_trigger_name(source, ROW_TRIGGER)) == 0 ||
		strcmp(trigger->tgname, syncstate_trigger_name(source, TRUNCATE_TRIGGER)) == 0;
}

static void
set_up_tracker(Tracker *tracker, Relation rel, const Trigger *trigger)
{
	MemoryContext context;
	Snapshot	snapshot;
	SyncstateSource source;

	/* Begin with nothing: any step may fail, and then it is tried again. */
	if (tracker->context != NULL)
		MemoryContextDelete(tracker->context);
	tracker->context = NULL;
	tracker->attached = false;
	tracker->relid = RelationGetRelid(rel);

	/* Invalidations that arrive from here on are of something newer. */
	tracker->valid = true;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	PG_TRY();
	{
		if (syncstate_find_source(cstring_to_text(trigger->tgargs[0]), snapshot, &source) &&
			is_named_by(trigger, &source) &&
			belongs_to(rel, source.relid[SIDE_LOCAL]))
		{
			context = AllocSetContextCreate(TopMemoryContext, "syncstate tracker", ALLOCSET_SMALL_SIZES);
			tracker->context = context;
			tracker->source_id = source.id;
			tracker->attached = set_up_columns(tracker, rel, syncstate_columns_to_track(&source));
		}
	}
	PG_CATCH();
	{
		tracker->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	UnregisterSnapshot(snapshot);
}

/*
 * Forgets what is out of date: a trigger that is still there is looked up again
 * when it fires, but one that was dropped never will be.
 */
static void
forget_invalid_trackers(void)
{
	HASH_SEQ_STATUS status;
	Tracker	   *tracker;

	last_tracker = NULL;
	hash_seq_init(&status, trackers);
	while ((tracker = hash_seq_search(&status)) != NULL)
	{
		if (tracker->valid)
			continue;
		if (tracker->context != NULL)
			MemoryContextDelete(tracker->context);
		hash_search(trackers, &tracker->trigger, HASH_REMOVE, NULL);
	}
}

static Tracker *
find_tracker(const Trigger *trigger, Relation rel)
{
	Tracker	   *tracker = last_tracker;

	if (tracker != NULL && tracker->trigger == trigger->tgoid && tracker->valid)
		return tracker;

	tracker = hash_search(trackers, &trigger->tgoid, HASH_FIND, NULL);
	if (tracker == NULL)
	{
		forget_invalid_trackers();
		tracker = hash_search(trackers, &trigger->tgoid, HASH_ENTER, NULL);
		tracker->valid = false;
		tracker->context = NULL;
		tracker->old_rows = tracker->new_rows = (SyncstatePrefetch){0};
	}
	if (!tracker->valid)
	{
		if (trigger->tgnargs != 1)
			ereport(ERROR,
					(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					 errmsg("trigger \"%s\" must name a type_key", trigger->tgname)));
		set_up_tracker(tracker, rel, trigger);
	}
	last_tracker = tracker;
	return tracker;
}

static SyncstateHash
hash_slot(const Tracker *tracker, TupleTableSlot *slot)
{
	SyncstateHash hash;

	slot_getsomeattrs(slot, tracker->last_attnum);
	for (int i = 0; i < tracker->ncolumns; i++)
	{
		int			column = tracker->attnums[i] - 1;

		tracker->values[i] = (NullableDatum){.value = slot->tts_values[column], .isnull = slot->tts_isnull[column]};
	}
	hash = syncstate_pack_and_hash(tracker->packer, tracker->values);
	syncstate_trim_packer(tracker->packer);
	return hash;
}

/* Rows of one statement come back in the order in which they lie in the table. */
static void
prefetch(TupleTableSlot *slot, SyncstatePrefetch *rows)
{
	if (TTS_IS_BUFFERTUPLE(slot))
		syncstate_prefetch_row((const char *) ((BufferHeapTupleTableSlot *) slot)->base.tuple->t_data, rows);
}

static void
check_called_as(FunctionCallInfo fcinfo, const char *name, bool row)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		(row
		 ? !TRIGGER_FIRED_AFTER(trigdata->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event)
		 : !TRIGGER_FIRED_BEFORE(trigdata->tg_event) || !TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by its trigger", name)));
}

/* A row became another one; either may be NULL or empty. */
static void
count_row(const Tracker *tracker, TupleTableSlot *old, TupleTableSlot *new)
{
	SyncstatePendingDelta *delta = syncstate_pending_delta(&tracker->source_id);

	if (!TupIsNull(old))
	{
		syncstate_hash_subtract(&delta->digest.sum, hash_slot(tracker, old));
		delta->digest.rows--;
	}
	if (!TupIsNull(new))
	{
		syncstate_hash_add(&delta->digest.sum, hash_slot(tracker, new));
		delta->digest.rows++;
	}
}

/* Counts what a trigger of rel's would be called for. */
void
syncstate_count_row(const Trigger *trigger, Relation rel, TupleTableSlot *old, TupleTableSlot *new)
{
	Tracker	   *tracker = find_tracker(trigger, rel);

	if (tracker->attached)
		count_row(tracker, old, new);
}

/*
 * syncstate.track('type_key'): AFTER INSERT OR UPDATE OR DELETE, for each row
 */
Datum
syncstate_track(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Tracker	   *tracker;
	TupleTableSlot *old = NULL;
	TupleTableSlot *new = NULL;

	check_called_as(fcinfo, "syncstate.track", true);
	tracker = find_tracker(trigdata->tg_trigger, trigdata->tg_relation);
	if (!tracker->attached)
		return PointerGetDatum(NULL);

	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		new = trigdata->tg_trigslot;
	else
		old = trigdata->tg_trigslot;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		new = trigdata->tg_newslot;
	if (old != NULL)
		prefetch(old, &tracker->old_rows);
	if (new != NULL)
		prefetch(new, &tracker->new_rows);
	count_row(tracker, old, new);
	return PointerGetDatum(NULL);
}

/* The digest of a table's rows, as the latest snapshot sees them. */
static SyncstateDigest
scan_table(const Tracker *tracker, Relation rel)
{
	SyncstateDigest digest = {0};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = syncstate_beginscan(rel, snapshot);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "syncstate row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(per_row);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		syncstate_hash_add(&digest.sum, hash_slot(tracker, slot));
		digest.rows++;
		MemoryContextReset(per_row);
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(per_row);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return digest;
}

/*
 * syncstate.track_truncate('type_key'): BEFORE TRUNCATE, for each statement
 *
 * On the tables that hold rows: a partition may be truncated alone, and no sum is
 * kept for each.  Nobody else is at work on the table then.
 */
Datum
syncstate_track_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Tracker	   *tracker;

	check_called_as(fcinfo, "syncstate.track_truncate", false);
	tracker = find_tracker(trigdata->tg_trigger, trigdata->tg_relation);
	if (tracker->attached)
	{
		SyncstateDigest digest = scan_table(tracker, trigdata->tg_relation);

		syncstate_subtract_digest(&syncstate_pending_delta(&tracker->source_id)->digest, &digest);
	}
	return PointerGetDatum(NULL);
}

void
syncstate_init_tracking(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Tracker)};

	trackers = hash_create("syncstate trackers", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(invalidate_trackers, (Datum) 0);
	syncstate_init_direct();
	syncstate_init_pending();
}
