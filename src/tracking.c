/*-------------------------------------------------------------------------
 *
 * tracking.c
 *		Whether the digest that triggers have kept counts: track, verify, untrack.
 *
 * The digest of a tracked source is the sum of the deltas that a snapshot sees.
 * A reader in a transaction that has written adds what is pending, where its
 * snapshot is later than what that stands for, and where no trigger has yet to fire.
 *
 * A sum counts only if nothing went past the triggers since it was last verified.
 * To be sure of that without having been there, we write down at verification
 * what the table's columns, types, partitions and triggers were, by the versions
 * of their catalogue rows (transaction id and place, as the server's own caches
 * of compiled functions do it).  Whoever disables a trigger, alters a column or
 * attaches a partition makes new versions, even if everything looks as before
 * afterwards; then the sum does not count, and the table is read, until
 * sync_source_verify has set it right.
 *
 * That takes no lock on rows: it adds the difference between the digest and the
 * sum of the deltas, both by one snapshot.  Whatever that snapshot does not see
 * has run under the triggers of now, for they cannot be altered while a writer
 * is at work, nor while we are; where other things have changed, which no lock on
 * the table protects, writers have to end first.
 *
 * Nothing is kept from call to call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "track.h"

PG_FUNCTION_INFO_V1(sync_source_track);
PG_FUNCTION_INFO_V1(sync_source_untrack);
PG_FUNCTION_INFO_V1(sync_source_verify);

/* Columns of syncstate.sync_tracking. */
enum
{
	Anum_tracking_type_key = 1,
	Anum_tracking_source_id,
	Anum_tracking_signature,
	Anum_tracking_verified_at
};

/* ---------------------------------------------------------------- triggers */

static const Trigger *
find_trigger(Relation rel, const char *name)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (strcmp(triggers->triggers[i].tgname, name) == 0)
			return &triggers->triggers[i];
	}
	return NULL;
}

/* The tables of the local side's tree, locked: itself, and what is below. */
static List *
table_tree(const SyncstateSource *source, LOCKMODE lockmode)
{
	LockRelationOid(source->relid[SIDE_LOCAL], lockmode);
	return find_all_inheritors(source->relid[SIDE_LOCAL], lockmode, NULL);
}

static char *
table_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/* Does a trigger, whatever its name, do what we make ours for? */
static bool
is_as_made(const Trigger *trigger, const SyncstateSource *source, bool row)
{
	int16		type = row
		? TRIGGER_TYPE_ROW | TRIGGER_TYPE_AFTER | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE
		: TRIGGER_TYPE_STATEMENT | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE;
	FmgrInfo	function;

	if (trigger->tgtype != type || trigger->tgnattr > 0 || trigger->tgqual != NULL || trigger->tgdeferrable ||
		trigger->tgnargs != 1 || !syncstate_same_text(cstring_to_text(trigger->tgargs[0]), source->type_key))
		return false;
	fmgr_info(trigger->tgfoid, &function);
	return function.fn_addr == (row ? syncstate_track : syncstate_track_truncate);
}

/* Makes a trigger where it is missing, and has it fire always. */
static void
ensure_trigger(const SyncstateSource *source, Oid relid, const char *function)
{
	bool		row = strcmp(function, ROW_TRIGGER) == 0;
	char	   *name = syncstate_trigger_name(source, function);
	Relation	rel = table_open(relid, NoLock);
	const Trigger *trigger = find_trigger(rel, name);
	bool		missing = trigger == NULL;
	bool		slack = missing || trigger->tgenabled != TRIGGER_FIRES_ALWAYS;

	table_close(rel, NoLock);
	if (missing)
		syncstate_execute_utility(psprintf("CREATE TRIGGER %s %s ON %s FOR EACH %s EXECUTE FUNCTION syncstate.%s(%s)",
										   quote_identifier(name),
										   row ? "AFTER INSERT OR UPDATE OR DELETE" : "BEFORE TRUNCATE",
										   table_name(relid), row ? "ROW" : "STATEMENT", function,
										   quote_literal_cstr(text_to_cstring(source->type_key))));
	if (slack)
		syncstate_execute_utility(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
										   table_name(relid), quote_identifier(name)));
}

static void
ensure_triggers(const SyncstateSource *source)
{
	Oid			root = source->relid[SIDE_LOCAL];
	ListCell   *cell;

	ensure_trigger(source, root, ROW_TRIGGER);
	foreach(cell, table_tree(source, AccessShareLock))
	{
		Oid			relid = lfirst_oid(cell);

		/* Partitions have got the row trigger from above; but was it disabled? */
		if (relid != root)
			ensure_trigger(source, relid, ROW_TRIGGER);
		if (get_rel_relkind(relid) == RELKIND_RELATION)
			ensure_trigger(source, relid, TRUNCATE_TRIGGER);
	}
}

static bool
has_triggers(const SyncstateSource *source)
{
	Relation	rel = try_relation_open(source->relid[SIDE_LOCAL], AccessShareLock);
	bool		result;

	if (rel == NULL)
		return false;
	result = find_trigger(rel, syncstate_trigger_name(source, ROW_TRIGGER)) != NULL;
	relation_close(rel, NoLock);
	return result;
}

/* Tables that have a trigger of that name for themselves, not from a table above. */
static List *
tables_with_trigger(const char *name)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	NameData	key_name;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *tables = NIL;

	namestrcpy(&key_name, name);
	ScanKeyInit(&key, Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ, NameGetDatum(&key_name));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (!OidIsValid(((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid))
			tables = lappend_oid(tables, ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return tables;
}

static void
drop_trigger(const SyncstateSource *source, const char *name, List *tables)
{
	ListCell   *cell;

	/* One that stays, on somebody else's former partition, does nothing. */
	foreach(cell, tables)
	{
		if (lfirst_oid(cell) == source->relid[SIDE_LOCAL] ||
			syncstate_owns_relation(lfirst_oid(cell), GetUserId()))
			syncstate_execute_utility(psprintf("DROP TRIGGER %s ON %s", quote_identifier(name),
											   table_name(lfirst_oid(cell))));
	}
}

/* From all tables: what was a partition once may still have one. */
static void
drop_triggers(const SyncstateSource *source)
{
	Oid			root = source->relid[SIDE_LOCAL];
	char	   *row = syncstate_trigger_name(source, ROW_TRIGGER);
	char	   *truncate = syncstate_trigger_name(source, TRUNCATE_TRIGGER);
	List	   *with_row = tables_with_trigger(row);
	List	   *with_truncate = tables_with_trigger(truncate);

	if (with_row == NIL && with_truncate == NIL)
		return;
	if (get_rel_relkind(root) != '\0')
	{
		if (!syncstate_owns_relation(root, GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(root));
		(void) table_tree(source, AccessExclusiveLock);
	}
	drop_trigger(source, row, with_row);
	drop_trigger(source, truncate, with_truncate);
}

/* --------------------------------------------------------------- signature */

/* The version of a catalogue row: by whom it was written, and where it is. */
static void
append_version(StringInfo out, HeapTuple tuple)
{
	appendStringInfo(out, " %u@%u.%u", HeapTupleHeaderGetRawXmin(tuple->t_data),
					 ItemPointerGetBlockNumberNoCheck(&tuple->t_self),
					 ItemPointerGetOffsetNumberNoCheck(&tuple->t_self));
}

/* What values of a type look like hashed: renamed labels are other labels. */
static void
append_type(StringInfo out, Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);

	check_stack_depth();
	appendStringInfo(out, " %u", base);

	/* Its name and its send function count, if it has no form of its own. */
	if (base >= FirstNormalObjectId && get_typtype(base) == TYPTYPE_BASE)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(base));

		if (HeapTupleIsValid(tuple))
		{
			append_version(out, tuple);
			ReleaseSysCache(tuple);
		}
	}
	if (OidIsValid(element))
	{
		append_type(out, element);
		return;
	}
	switch (get_typtype(base))
	{
		case TYPTYPE_ENUM:
			{
				CatCList   *labels = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(base));

				for (int i = 0; i < labels->n_members; i++)
					append_version(out, &labels->members[i]->tuple);
				ReleaseSysCacheList(labels);
				break;
			}
		case TYPTYPE_RANGE:
			append_type(out, get_range_subtype(base));
			break;
		case TYPTYPE_MULTIRANGE:
			append_type(out, get_multirange_range(base));
			break;
		case TYPTYPE_COMPOSITE:
			{
				TupleDesc	desc = lookup_rowtype_tupdesc(base, -1);

				for (int i = 0; i < desc->natts; i++)
				{
					if (TupleDescAttr(desc, i)->attisdropped)
						continue;
					appendStringInfo(out, " .%d", i + 1);
					append_type(out, TupleDescAttr(desc, i)->atttypid);
				}
				ReleaseTupleDesc(desc);
				break;
			}
	}
}

static bool
append_column(StringInfo out, Oid relid, const char *column)
{
	HeapTuple	tuple = SearchSysCacheAttName(relid, column);

	if (!HeapTupleIsValid(tuple))
		return false;
	appendStringInfo(out, "\n%s", quote_identifier(column));
	append_version(out, tuple);
	append_type(out, ((Form_pg_attribute) GETSTRUCT(tuple))->atttypid);
	ReleaseSysCache(tuple);
	return true;
}

/* A trigger's catalogue row; there is no syscache for it. */
static void
append_trigger_version(StringInfo out, Oid trigger)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	appendStringInfo(out, "\n%u", trigger);
	if (HeapTupleIsValid(tuple))
		append_version(out, tuple);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static bool
append_trigger(StringInfo out, const SyncstateSource *source, Relation rel, const char *what)
{
	const Trigger *trigger = find_trigger(rel, syncstate_trigger_name(source, what));

	if (trigger == NULL || trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
		!is_as_made(trigger, source, strcmp(what, ROW_TRIGGER) == 0))
		return false;
	append_trigger_version(out, trigger->tgoid);
	return true;
}

/* Is a partition being detached, while others go on?  What it counts as depends on who looks. */
static bool
is_being_detached_from(Relation rel)
{
	bool		detached_exist = false;

	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		find_inheritance_children_extended(RelationGetRelid(rel), true, NoLock, &detached_exist, NULL);
	return detached_exist;
}

/*
 * May a query of this session have written to the table, and the triggers not yet
 * have fired?  They do when the outermost query ends: what a foreign key cascades
 * to is written before by a query that is over by then.
 */
static bool
is_in_use(Relation rel)
{
	return rel->rd_refcnt > 1 || AfterTriggerPendingOnRel(RelationGetRelid(rel));
}

/*
 * What the sum depends on, as it is now; NULL if it cannot count, because a
 * trigger is missing or does not fire always, say.  in_use: *is set if a query of
 * this session is at work on one of the tables.
 */
static char *
signature(const SyncstateSource *source, List *columns, bool *in_use)
{
	StringInfoData out;
	ListCell   *cell;
	ListCell   *column;
	bool		usable = true;

	initStringInfo(&out);
	foreach(cell, table_tree(source, AccessShareLock))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);
		bool		rows = rel->rd_rel->relkind == RELKIND_RELATION;

		*in_use |= is_in_use(rel);
		appendStringInfo(&out, "\n\n%u", RelationGetRelid(rel));

		/* A column that was there for a while changed what was hashed meanwhile. */
		if (source->columns == NIL)
			appendStringInfo(&out, " %d", RelationGetNumberOfAttributes(rel));
		usable = usable && rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
			(rows || rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE) &&
			!is_being_detached_from(rel) &&
			append_trigger(&out, source, rel, ROW_TRIGGER) &&
			(!rows || append_trigger(&out, source, rel, TRUNCATE_TRIGGER));
		foreach(column, columns)
			usable = usable && append_column(&out, RelationGetRelid(rel), lfirst(column));
		table_close(rel, NoLock);
	}
	return usable ? out.data : NULL;
}

/* ----------------------------------------------------------------- reading */

/* The signature that was noted at the last verification; NULL: none. */
static char *
noted_signature(const SyncstateSource *source, Snapshot snapshot)
{
	Relation	rel = table_open(syncstate_lock_table(TABLE_TRACKING, AccessShareLock), NoLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = syncstate_beginscan(rel, snapshot);
	char	   *result = NULL;
	bool		isnull;

	while (result == NULL && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (syncstate_same_text(DatumGetTextPP(slot_getattr(slot, Anum_tracking_type_key, &isnull)), source->type_key) &&
			syncstate_same_uuid(DatumGetUUIDP(slot_getattr(slot, Anum_tracking_source_id, &isnull)), &source->id))
			result = TextDatumGetCString(slot_getattr(slot, Anum_tracking_signature, &isnull));
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);
	return result;
}

/* The sum of the deltas that a snapshot sees; false: it may not see part of ours. */
static bool
sum_deltas(const SyncstateSource *source, Snapshot snapshot, SyncstateDigest *digest)
{
	Relation	rel = table_open(syncstate_lock_table(TABLE_TRACKING_DELTA, AccessShareLock), NoLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = syncstate_beginscan(rel, snapshot);

	memset(digest, 0, sizeof(SyncstateDigest));
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		SyncstateDigest delta;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, Natts_delta);
		if (!syncstate_same_uuid(DatumGetUUIDP(slot->tts_values[Anum_delta_source_id - 1]), &source->id))
			continue;
		delta.rows = DatumGetInt64(slot->tts_values[Anum_delta_row_count - 1]);
		delta.sum.high = (uint64) DatumGetInt64(slot->tts_values[Anum_delta_sum_high - 1]);
		delta.sum.low = (uint64) DatumGetInt64(slot->tts_values[Anum_delta_sum_low - 1]);
		syncstate_add_digest(digest, &delta);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);

	return syncstate_add_pending(&source->id, snapshot, digest);
}

/* May the caller name the table in a statement? */
static bool
may_use_schema(Oid relid)
{
	return syncstate_schema_aclcheck(get_rel_namespace(relid), GetUserId(), ACL_USAGE) == ACLCHECK_OK;
}

/* May the caller read all of the rows?  What a statement that reads them would be asked. */
static bool
may_read(const SyncstateSource *source, List *columns)
{
	Oid			relid = source->relid[SIDE_LOCAL];
	ListCell   *cell;

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED || !may_use_schema(relid))
		return false;
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	foreach(cell, columns)
	{
		if (pg_attribute_aclcheck(relid, get_attnum(relid, lfirst(cell)), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
			return false;
	}
	return true;
}

/*
 * Has this transaction truncated or rewritten a table, while its snapshot is that of
 * its first statement?  What went with TRUNCATE, and what ALTER TABLE has written
 * again as the transaction's own, is what was there at that time, whatever deltas
 * the snapshot sees.
 */
static bool
is_ahead_of_snapshot(const SyncstateSource *source)
{
	ListCell   *cell;
	bool		result = false;

	if (!IsolationUsesXactSnapshot())
		return false;
	foreach(cell, table_tree(source, AccessShareLock))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		result |= syncstate_first_file_subid(rel) != InvalidSubTransactionId;
		table_close(rel, NoLock);
	}
	return result;
}

/*
 * The digest of the local side as the active snapshot sees it, from what the
 * triggers noted; false if that does not count, or is not for the caller's eyes:
 * then the rows have to be read.
 */
bool
syncstate_tracked_digest(const SyncstateSource *source, List *columns, SyncstateDigest *digest)
{
	Snapshot	snapshot = GetActiveSnapshot();
	char	   *noted;
	char	   *now;
	bool		in_use = false;

	if (!has_triggers(source))
		return false;
	noted = noted_signature(source, snapshot);
	if (noted == NULL || !may_read(source, columns) || is_ahead_of_snapshot(source))
		return false;
	now = signature(source, columns, &in_use);
	return now != NULL && !in_use && strcmp(now, noted) == 0 &&
		sum_deltas(source, snapshot, digest);
}

bool
syncstate_is_tracked(const SyncstateSource *source)
{
	return has_triggers(source);
}

/* ------------------------------------------- track, verify, untrack, fold */

static void
refuse_tracking(const SyncstateSource *source, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the source of \"%s\" cannot be tracked", text_to_cstring(source->type_key)),
			 errdetail("%s", why),
			 errhint("It is measured by reading its rows.")));
}

static void
check_trackable(const SyncstateSource *source)
{
	ListCell   *cell;
	List	   *tree;
	List	   *columns;

	switch (get_rel_relkind(source->relid[SIDE_LOCAL]))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		default:
			refuse_tracking(source, "Only a table has triggers for each row that is written.");
	}
	tree = table_tree(source, AccessShareLock);
	if (get_rel_relkind(source->relid[SIDE_LOCAL]) == RELKIND_RELATION && list_length(tree) > 1)
		refuse_tracking(source, "Other tables inherit from the table, but not its triggers.");
	foreach(cell, tree)
	{
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE)
			refuse_tracking(source, "A partition is a foreign table, which is also written to elsewhere.");
		if (lfirst_oid(cell) == syncstate_lock_table(TABLE_TRACKING_DELTA, AccessShareLock))
			refuse_tracking(source, "What triggers note is written there, past all triggers.");
		if (get_rel_persistence(lfirst_oid(cell)) != RELPERSISTENCE_PERMANENT)
			refuse_tracking(source, "An unlogged table is emptied after a crash, past all triggers.");
	}

	columns = syncstate_source_columns(source);
	foreach(cell, columns)
	{
		AttrNumber	attnum = get_attnum(source->relid[SIDE_LOCAL], lfirst(cell));
		char		generated = get_attgenerated(source->relid[SIDE_LOCAL], attnum);

		if (!syncstate_is_packable(get_atttype(source->relid[SIDE_LOCAL], attnum)))
			refuse_tracking(source, "It has a column whose values cannot be hashed.");
		if (generated != '\0' && generated != ATTRIBUTE_GENERATED_STORED)
			refuse_tracking(source, "A trigger does not see what a virtual column is generated as.");
	}
}

typedef struct Verification
{
	bool		counted;		/* did the sum count? */
	SyncstateDigest tracked;	/* the sum, if so */
	SyncstateDigest measured;
} Verification;

/* 42501 or 22023, before anything is locked, if the caller cannot read all of the rows. */
static void
check_readable(const SyncstateSource *source, List *columns)
{
	Oid			relid = source->relid[SIDE_LOCAL];

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		refuse_tracking(source, "Row security hides some of its rows from you.");
	if (!may_use_schema(relid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, get_namespace_name(get_rel_namespace(relid)));
	if (!may_read(source, columns))
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

/* Does the sum count, as the active snapshot sees it? */
static bool
sum_counts(const SyncstateSource *source, char *now)
{
	char	   *noted = noted_signature(source, GetActiveSnapshot());

	return noted != NULL && now != NULL && strcmp(noted, now) == 0;
}

/*
 * Locks the tables and pushes a snapshot that was made after that; returns the
 * signature as it is now, and whether the sum counts.
 *
 * The lock keeps the triggers as they are, and other verifications out, for two
 * of the same sum would correct it twice.  If the sum counts, all who write meanwhile
 * know what they do.  If not, somebody may be at work who does not: whose source
 * was not there yet, or who knows a label of an enum by its old name, which locks
 * no table.  So such writers have to end first, and new ones to look again.
 */
static char *
lock_and_look(const SyncstateSource *source, List **columns, bool *counts)
{
	LOCKMODE	lockmode = AccessShareLock;
	bool		in_use;
	char	   *now;

	*columns = syncstate_source_columns(source);
	check_readable(source, *columns);
	CommandCounterIncrement();
	for (;;)
	{
		(void) table_tree(source, lockmode);
		*columns = syncstate_source_columns(source);
		PushActiveSnapshot(GetLatestSnapshot());
		in_use = false;
		now = signature(source, *columns, &in_use);
		*counts = sum_counts(source, now);
		if (lockmode == ShareRowExclusiveLock || (lockmode == ShareUpdateExclusiveLock && *counts))
			break;
		PopActiveSnapshot();
		lockmode = *counts ? ShareUpdateExclusiveLock : ShareRowExclusiveLock;
	}
	if (in_use)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" is in use by another query of this session",
						text_to_cstring(source->type_key))));
	if (now == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" cannot be tracked as it is", text_to_cstring(source->type_key)),
				 errdetail("A trigger of sync_source_track was replaced by another one, or a partition is being detached."),
				 errhint("Drop the trigger, or finish what was begun, and try again.")));
	return now;
}

/* Has all backends look again at what their triggers have to do, once we commit. */
static void
invalidate_tables(const SyncstateSource *source)
{
	ListCell   *cell;

	foreach(cell, table_tree(source, AccessShareLock))
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
}

/*
 * Compares the sum with the rows by one snapshot, the latest, and sets the sum
 * right.  Connected to SPI.
 */
static Verification
verify(const SyncstateSource *source)
{
	Verification v = {0};
	List	   *columns;
	char	   *now = lock_and_look(source, &columns, &v.counted);
	SyncstateDigest correction;
	SyncstateDigest sum;
	SyncstatePendingDelta *delta;

	sum_deltas(source, GetActiveSnapshot(), &sum);
	v.measured = syncstate_scan_digest(source, SIDE_LOCAL);
	PopActiveSnapshot();
	if (!v.counted)
		invalidate_tables(source);

	v.tracked = sum;
	correction = v.measured;
	syncstate_subtract_digest(&correction, &sum);
	delta = syncstate_pending_delta(&source->id);
	syncstate_add_digest(&delta->digest, &correction);
	delta->ahead |= IsolationUsesXactSnapshot();
	{
		pg_uuid_t	id = source->id;
		NullableDatum args[] = {
			syncstate_datum(PointerGetDatum(source->type_key)),
			syncstate_datum(UUIDPGetDatum(&id)),
			syncstate_datum(CStringGetTextDatum(now)),
			syncstate_datum(TimestampTzGetDatum(GetCurrentTimestamp())),
		};

		if (syncstate_execute(STMT_NOTE_TRACKING, args, false) == 0)
			syncstate_report_suppressed(args[0].value);
	}
	return v;
}

/*
 * sync_source_track(type_key): false if it was tracked already
 */
Datum
sync_source_track(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	SyncstateSource source;
	bool		tracked;

	PreventCommandIfReadOnly("sync_source_track()");

	syncstate_connect();
	syncstate_get_source_locked(key, &source);
	(void) syncstate_source_columns(&source);
	tracked = has_triggers(&source);
	if (!tracked)
	{
		check_trackable(&source);
		ensure_triggers(&source);
		(void) verify(&source);
	}
	SPI_finish();

	PG_RETURN_BOOL(!tracked);
}

static void
push_pair(JsonbInState *state, const char *name, JsonbValue value)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static JsonbValue
text_value(text *value)
{
	JsonbValue	v = {.type = value == NULL ? jbvNull : jbvString};

	if (value != NULL)
	{
		v.val.string.val = VARDATA_ANY(value);
		v.val.string.len = VARSIZE_ANY_EXHDR(value);
	}
	return v;
}

static Jsonb *
verification_json(text *type_key, const Verification *v)
{
	JsonbInState state = {0};
	text	   *tracked = v->counted ? syncstate_digest_text(&v->tracked) : NULL;
	JsonbValue	valid = {.type = jbvBool};

	valid.val.boolean = v->counted && syncstate_digests_equal(&v->tracked, &v->measured);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_pair(&state, "type_key", text_value(type_key));
	push_pair(&state, "valid", valid);
	push_pair(&state, "tracked", text_value(tracked));
	push_pair(&state, "measured", text_value(syncstate_digest_text(&v->measured)));
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(state.result);
}

/*
 * sync_source_verify(type_key): whether the sum was right; it is now
 */
Datum
sync_source_verify(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	MemoryContext caller = CurrentMemoryContext;
	SyncstateSource source;
	Verification v;
	Jsonb	   *result;

	PreventCommandIfReadOnly("sync_source_verify()");

	syncstate_connect();
	syncstate_get_source_locked(key, &source);
	(void) syncstate_source_columns(&source);
	if (!has_triggers(&source))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" is not tracked", syncstate_key_cstring(key)),
				 errhint("sync_source_track makes the triggers.")));
	check_trackable(&source);
	ensure_triggers(&source);
	v = verify(&source);

	MemoryContextSwitchTo(caller);
	result = verification_json(source.type_key, &v);
	SPI_finish();

	PG_RETURN_JSONB_P(result);
}

/* Removes triggers and deltas; false if there were none.  Connected to SPI. */
bool
syncstate_untrack(const SyncstateSource *source)
{
	pg_uuid_t	id = source->id;
	NullableDatum key = syncstate_datum(PointerGetDatum(source->type_key));
	NullableDatum source_id = syncstate_datum(UUIDPGetDatum(&id));
	bool		tracked = has_triggers(source);

	drop_triggers(source);
	syncstate_forget_pending(&source->id);
	tracked |= syncstate_execute(STMT_FORGET_TRACKING, &key, false) > 0;
	if (tracked)
		syncstate_execute(STMT_FORGET_DELTAS, &source_id, false);
	return tracked;
}

/*
 * sync_source_untrack(type_key): false if it was not tracked
 */
Datum
sync_source_untrack(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	SyncstateSource source;
	bool		tracked;

	PreventCommandIfReadOnly("sync_source_untrack()");

	syncstate_connect();
	syncstate_get_source_locked(key, &source);
	tracked = syncstate_untrack(&source);
	SPI_finish();

	PG_RETURN_BOOL(tracked);
}

/*
 * The sum of the deltas of one source, while they are folded.  Whether there still
 * is such a source is seen past row security: who prunes may not see all.
 */
typedef struct Fold
{
	pg_uuid_t	source_id;		/* hash key */
	SyncstateDigest digest;
} Fold;

/*
 * Replaces all deltas by one for each source; returns how many less there are.
 * For sync_state_prune; connected to SPI.
 */
int64
syncstate_fold_deltas(void)
{
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t), .entrysize = sizeof(Fold), .hcxt = CurrentMemoryContext};
	HTAB	   *folds = hash_create("syncstate folds", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	uint64		n = syncstate_execute(STMT_TAKE_DELTAS, NULL, false);
	int64		kept = 0;
	HASH_SEQ_STATUS status;
	Fold	   *fold;

	for (uint64 row = 0; row < n; row++)
	{
		bool		found;
		SyncstateDigest delta;

		fold = hash_search(folds, DatumGetUUIDP(syncstate_result(row, 1).value), HASH_ENTER, &found);
		if (!found)
			memset(&fold->digest, 0, sizeof(SyncstateDigest));
		delta.rows = DatumGetInt64(syncstate_result(row, 2).value);
		delta.sum.high = (uint64) DatumGetInt64(syncstate_result(row, 3).value);
		delta.sum.low = (uint64) DatumGetInt64(syncstate_result(row, 4).value);
		syncstate_add_digest(&fold->digest, &delta);
	}

	hash_seq_init(&status, folds);
	while ((fold = hash_seq_search(&status)) != NULL)
	{
		NullableDatum args[] = {
			syncstate_datum(UUIDPGetDatum(&fold->source_id)),
			syncstate_datum(Int64GetDatum(fold->digest.rows)),
			syncstate_datum(Int64GetDatum((int64) fold->digest.sum.high)),
			syncstate_datum(Int64GetDatum((int64) fold->digest.sum.low)),
		};

		if (!syncstate_source_exists(&fold->source_id))
			continue;
		if (syncstate_execute(STMT_PUT_DELTA, args, false) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("a row of syncstate.sync_tracking_delta could not be written"),
					 errhint("Look for a trigger on it that returns NULL, or a row security policy.")));
		kept++;
	}
	return (int64) n - kept;
}
