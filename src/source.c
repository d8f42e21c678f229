/*-------------------------------------------------------------------------
 *
 * source.c
 *		Attached sources: where the rows of a content type are, and what their
 *		digest is.
 *
 * What is attached is read past SPI, so that whoever may ask for a delta may,
 * without a right on one more table; it decides nothing but what is measured.
 * The rows themselves are read as the caller, by a statement that leaves the
 * aggregate to the side where the rows are: if that is a foreign table whose
 * server knows the extension, one row crosses the wire.  It calls the aggregate in
 * schema syncstate: beside the one in the extension's target schema, anybody who
 * may create functions there could put another one that fits the columns better.
 *
 * The columns of a digest are in the order of their names, whatever the order in
 * which a table has them, and do not depend on which are the key: so it stays
 * comparable when a table is made anew or gets another key.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "source.h"

PG_FUNCTION_INFO_V1(sync_source_attach);
PG_FUNCTION_INFO_V1(sync_source_detach);

/* Columns of syncstate.sync_source. */
enum
{
	Anum_sync_source_type_key = 1,
	Anum_sync_source_local,
	Anum_sync_source_remote,
	Anum_sync_source_columns,
	Anum_sync_source_key_columns,
	Anum_sync_source_row_base,
	Anum_sync_source_source_id,
	Anum_sync_source_attached_at,
	Natts_sync_source = Anum_sync_source_attached_at
};

static const char *const side_names[2] = {"local", "remote"};

/*
 * Columns of a digest and of a key, together.  A function takes 100 arguments;
 * sync_sketch has two before the columns, and its transition function one more.
 */
#define MOST_COLUMNS (FUNC_MAX_ARGS - 4)

/* jsonb_build_object, which makes a key of them, takes two arguments for each. */
#define MOST_KEY_COLUMNS INDEX_MAX_KEYS

/* ---------------------------------------------------------------- reading */

static List *
names_of_array(Datum array)
{
	List	   *names = NIL;
	Datum	   *values;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (int i = 0; i < n; i++)
		names = lappend(names, TextDatumGetCString(values[i]));
	return names;
}

static void
read_source_row(TupleTableSlot *slot, SyncstateSource *source)
{
	Datum	   *values;
	bool	   *nulls;

	slot_getallattrs(slot);
	values = slot->tts_values - 1;
	nulls = slot->tts_isnull - 1;
	source->type_key = DatumGetTextPCopy(values[Anum_sync_source_type_key]);
	source->relid[SIDE_LOCAL] = DatumGetObjectId(values[Anum_sync_source_local]);
	source->relid[SIDE_REMOTE] = nulls[Anum_sync_source_remote] ? InvalidOid
		: DatumGetObjectId(values[Anum_sync_source_remote]);
	source->columns = nulls[Anum_sync_source_columns] ? NIL
		: names_of_array(values[Anum_sync_source_columns]);
	source->key_columns = nulls[Anum_sync_source_key_columns] ? NIL
		: names_of_array(values[Anum_sync_source_key_columns]);
	source->row_base = DatumGetBool(values[Anum_sync_source_row_base]);
	source->id = *DatumGetUUIDP(values[Anum_sync_source_source_id]);
	source->attached_at = DatumGetTimestampTz(values[Anum_sync_source_attached_at]);
}

/*
 * The source of a key, as the snapshot sees it; false if there is none.  The
 * table is read from end to end: it has few rows, and is empty for most.
 */
bool
syncstate_find_source(const text *type_key, Snapshot snapshot, SyncstateSource *source)
{
	Relation	rel = table_open(syncstate_lock_table(TABLE_SOURCE, AccessShareLock), NoLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = syncstate_beginscan(rel, snapshot);
	bool		found = false;

	while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		key = slot_getattr(slot, Anum_sync_source_type_key, &isnull);

		found = syncstate_same_text(DatumGetTextPP(key), type_key);
	}
	if (found)
		read_source_row(slot, source);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

/*
 * For who is about to change what is attached under a key, or the triggers of it:
 * keeps others who do that out until the transaction ends, and finds the source as
 * it is then; false if there is none.
 *
 * The row itself would not do, for it may not be there yet; and to lock it takes a
 * privilege that who tracks a table need not have.
 */
bool
syncstate_lock_source(Datum type_key, SyncstateSource *source)
{
	Oid			relid = syncstate_lock_table(TABLE_SOURCE, AccessShareLock);
	const text *key = DatumGetTextPP(type_key);
	Snapshot	snapshot;
	bool		found;

	LockDatabaseObject(relid, DatumGetUInt32(hash_any((const unsigned char *) VARDATA_ANY(key), (int) VARSIZE_ANY_EXHDR(key))),
					   0, ExclusiveLock);
	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	found = syncstate_find_source(key, snapshot, source);
	UnregisterSnapshot(snapshot);
	return found;
}

/* Is that a source, as of now? */
bool
syncstate_source_exists(const pg_uuid_t *id)
{
	Relation	rel = table_open(syncstate_lock_table(TABLE_SOURCE, AccessShareLock), NoLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	bool		found = false;

	while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, Anum_sync_source_source_id, &isnull);

		found = memcmp(DatumGetUUIDP(value), id, UUID_LEN) == 0;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return found;
}

static void
report_no_source(Datum type_key)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s\" has no source", syncstate_key_cstring(type_key)),
			 errhint("sync_source_attach tells where its rows are.")));
}

/* The source of a key for functions that need one: 55000 if there is none. */
void
syncstate_get_source(Datum type_key, SyncstateSource *source)
{
	if (!syncstate_find_source(DatumGetTextPP(type_key), GetActiveSnapshot(), source))
		report_no_source(type_key);
}

void
syncstate_get_source_locked(Datum type_key, SyncstateSource *source)
{
	if (!syncstate_lock_source(type_key, source))
		report_no_source(type_key);
}

/* ---------------------------------------------------------------- columns */

bool
syncstate_has_column(List *columns, const char *name)
{
	ListCell   *cell;

	foreach(cell, columns)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static char *
source_key_cstring(const SyncstateSource *source)
{
	return text_to_cstring(source->type_key);
}

/* The table of a side, locked for reading; 55000 if it is gone. */
static Relation
open_side(const SyncstateSource *source, int side)
{
	Relation	rel = try_relation_open(source->relid[side], AccessShareLock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the %s source of \"%s\" does not exist any more",
						side_names[side], source_key_cstring(source)),
				 errdetail("It was the relation with OID %u.", source->relid[side]),
				 errhint("Attach another one with sync_source_attach, or detach it.")));
	return rel;
}

static void
report_missing_column(const SyncstateSource *source, int side, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the %s source of \"%s\" has no column \"%s\"",
					side_names[side], source_key_cstring(source), column),
			 errhint("Attach the source anew with the columns that both sides have.")));
}

/*
 * A column was of a type that can be hashed when the source was attached; 55000
 * if it is not any more.
 */
static void
require_hashable(const SyncstateSource *source, int side, const char *column, Oid type)
{
	if (syncstate_is_packable(type))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of the %s source of \"%s\" cannot be hashed",
					column, side_names[side], source_key_cstring(source)),
			 errdetail("It is of type %s now.", format_type_be(type)),
			 errhint("Attach the source anew with other columns.")));
}

/* A side must have these columns; 55000 if they were altered since. */
void
syncstate_require_columns(const SyncstateSource *source, int side, List *columns)
{
	Relation	rel = open_side(source, side);
	ListCell   *cell;

	foreach(cell, columns)
	{
		AttrNumber	attnum = get_attnum(source->relid[side], lfirst(cell));

		if (attnum <= 0)
			report_missing_column(source, side, lfirst(cell));
		require_hashable(source, side, lfirst(cell), get_atttype(source->relid[side], attnum));
	}
	relation_close(rel, NoLock);
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* All columns of a table but for generated ones. */
static List *
own_columns(Relation rel)
{
	List	   *columns = NIL;
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->attgenerated == '\0')
			columns = lappend(columns, pstrdup(NameStr(att->attname)));
	}
	return columns;
}

static List *
sorted_columns(const SyncstateSource *source)
{
	Relation	rel = open_side(source, SIDE_LOCAL);
	List	   *columns = source->columns != NIL ? list_copy(source->columns) : own_columns(rel);

	relation_close(rel, NoLock);
	list_sort(columns, compare_names);
	return columns;
}

/* The same, but no error if there is no digest of so many: NIL. */
List *
syncstate_columns_to_track(const SyncstateSource *source)
{
	List	   *columns = sorted_columns(source);

	return list_length(columns) <= MOST_COLUMNS ? columns : NIL;
}

/* The columns that the digest is of, in their order (of char *). */
List *
syncstate_source_columns(const SyncstateSource *source)
{
	List	   *columns = sorted_columns(source);

	if (columns == NIL || list_length(columns) > MOST_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" has %d columns", source_key_cstring(source), list_length(columns)),
				 errdetail("A digest is of 1 to %d columns.", MOST_COLUMNS),
				 errhint("Attach it with the columns that count.")));
	return columns;
}

static List *
primary_key(Relation rel)
{
	List	   *columns = NIL;
	Oid			index = syncstate_primary_key_index(rel);
	HeapTuple	tuple;
	Form_pg_index form;

	if (!OidIsValid(index))
		return NIL;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < form->indnkeyatts; i++)
		columns = lappend(columns, get_attname(RelationGetRelid(rel), form->indkey.values[i], false));
	ReleaseSysCache(tuple);
	return columns;
}

/* The columns that name a row (of char *); 55000 if there are none. */
List *
syncstate_source_key(const SyncstateSource *source)
{
	Relation	rel = open_side(source, SIDE_LOCAL);
	List	   *key = source->key_columns != NIL ? source->key_columns : primary_key(rel);

	relation_close(rel, NoLock);
	if (key == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" has no key", source_key_cstring(source)),
				 errdetail("The local table has no primary key."),
				 errhint("Attach it with key_columns.")));
	return key;
}

/* -------------------------------------------------------------- measuring */

static char *
qualified_name(Relation rel)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
}

/* The table of a side, as it is written in a statement. */
char *
syncstate_source_table(const SyncstateSource *source, int side)
{
	Relation	rel = open_side(source, side);
	char	   *name = qualified_name(rel);

	relation_close(rel, NoLock);
	return name;
}

/* Columns, separated by commas, each put into a format (%s: quoted). */
char *
syncstate_column_list(List *columns, const char *format)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, columns)
	{
		if (list.len > 0)
			appendStringInfoString(&list, ", ");
		appendStringInfo(&list, format, quote_identifier(lfirst(cell)));
	}
	return list.data;
}

typedef struct MeasureContext
{
	const SyncstateSource *source;
	int			side;
} MeasureContext;

static void
say_what_is_measured(void *arg)
{
	const MeasureContext *context = arg;

	if (context->side == BOTH_SIDES)
		errcontext("reading the sources of \"%s\"", source_key_cstring(context->source));
	else
		errcontext("reading the %s source of \"%s\"",
				   side_names[context->side], source_key_cstring(context->source));
}

static bool
is_foreign(const SyncstateSource *source, int side)
{
	return get_rel_relkind(source->relid[side]) == RELKIND_FOREIGN_TABLE;
}

/* Does a table of foreign options say that the server answers while others work? */
static bool
async_capable(List *options, bool otherwise)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem	   *option = lfirst(cell);

		if (strcmp(option->defname, "async_capable") == 0)
			return defGetBoolean(option);
	}
	return otherwise;
}

/*
 * Can the server that has the remote side work on it while we read ours?  As
 * postgres_fdw is told it, for the server or the table.
 */
bool
syncstate_is_asynchronous(const SyncstateSource *source)
{
	ForeignTable *table;

	if (!is_foreign(source, SIDE_REMOTE))
		return false;
	table = GetForeignTable(source->relid[SIDE_REMOTE]);
	return async_capable(table->options, async_capable(GetForeignServer(table->serverid)->options, false));
}

/*
 * Runs a statement that reads a side, or both, with the snapshot that is
 * active; its rows are the last result.  Errors name the key.
 */
void
syncstate_run_query(const SyncstateSource *source, int side, const char *query,
					int nargs, Oid *argtypes, const NullableDatum *args)
{
	MeasureContext context = {source, side};
	ErrorContextCallback callback = {error_context_stack, say_what_is_measured, &context};
	SPIPlanPtr	plan;

	error_context_stack = &callback;
	plan = SPI_prepare_cursor(query, nargs, argtypes, CURSOR_OPT_PARALLEL_OK);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s", query, SPI_result_code_string(SPI_result));
	(void) syncstate_execute_plan(plan, query, nargs, args, true);
	SPI_freeplan(plan);
	error_context_stack = callback.previous;
}

/* "SELECT aggregate FROM the side's table"; label: a column before that, or "" */
static char *
aggregate_query(const SyncstateSource *source, int side, const char *label, const char *aggregate)
{
	return psprintf("SELECT %s%s FROM %s AS x", label, aggregate, syncstate_source_table(source, side));
}

/* The one value that was asked for; another server can answer anything. */
static NullableDatum
the_answer(void)
{
	return SPI_processed == 1 ? syncstate_result(0, 1) : syncstate_null();
}

/* Answers of both sides, whichever was ready first; what does not say which is none. */
static void
tell_answers_apart(NullableDatum result[2])
{
	result[SIDE_LOCAL] = result[SIDE_REMOTE] = syncstate_null();
	if (SPI_processed != 2)
		return;
	for (int row = 0; row < 2; row++)
	{
		NullableDatum side = syncstate_result(row, 1);

		if (!side.isnull && (DatumGetInt32(side.value) == SIDE_LOCAL || DatumGetInt32(side.value) == SIDE_REMOTE))
			result[DatumGetInt32(side.value)] = syncstate_result(row, 2);
	}
}

/*
 * Runs an aggregate over each side; the results live until SPI_finish, and NULL is
 * no answer.  On both at once, if the other server can do that: Append waits for
 * it only when our side is done.
 */
void
syncstate_aggregate_sides(const SyncstateSource *source, const char *aggregate, NullableDatum result[2])
{
	if (syncstate_is_asynchronous(source))
	{
		char	   *query = psprintf("%s UNION ALL %s",
									 aggregate_query(source, SIDE_LOCAL, "0, ", aggregate),
									 aggregate_query(source, SIDE_REMOTE, "1, ", aggregate));

		syncstate_run_query(source, BOTH_SIDES, query, 0, NULL, NULL);
		tell_answers_apart(result);
		return;
	}
	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		syncstate_run_query(source, side, aggregate_query(source, side, "", aggregate), 0, NULL, NULL);
		result[side] = the_answer();
	}
}

static char *
digest_of(List *columns)
{
	return psprintf("syncstate.sync_digest(%s)", syncstate_column_list(columns, "x.%s"));
}

static SyncstateDigest
parse_answer(const SyncstateSource *source, int side, NullableDatum answer)
{
	SyncstateDigest digest;

	if (answer.isnull || !syncstate_parse_digest(DatumGetTextPP(answer.value), &digest))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("what was computed of the %s source of \"%s\" is not a digest",
						side_names[side], source_key_cstring(source)),
				 errhint("Look at the extension where the rows are.")));
	return digest;
}

/* The digest of a side, by reading its rows. */
SyncstateDigest
syncstate_scan_digest(const SyncstateSource *source, int side)
{
	List	   *columns = syncstate_source_columns(source);

	syncstate_require_columns(source, side, columns);
	syncstate_run_query(source, side, aggregate_query(source, side, "", digest_of(columns)), 0, NULL, NULL);
	return parse_answer(source, side, the_answer());
}

/* The digests of the sides: ours as its triggers keep it if that counts, else by reading the rows. */
static void
measure(const SyncstateSource *source, SyncstateDigest digest[2])
{
	List	   *columns = syncstate_source_columns(source);
	NullableDatum result[2];

	if (syncstate_tracked_digest(source, columns, &digest[SIDE_LOCAL]))
	{
		if (OidIsValid(source->relid[SIDE_REMOTE]))
			digest[SIDE_REMOTE] = syncstate_scan_digest(source, SIDE_REMOTE);
	}
	else if (!OidIsValid(source->relid[SIDE_REMOTE]))
		digest[SIDE_LOCAL] = syncstate_scan_digest(source, SIDE_LOCAL);
	else
	{
		for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
			syncstate_require_columns(source, side, columns);
		syncstate_aggregate_sides(source, digest_of(columns), result);
		for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
			digest[side] = parse_answer(source, side, result[side]);
	}
}

/*
 * Measures both sides of a key that has a source, as if the caller had observed
 * them; false if it has none.  By the active snapshot; connected to SPI.
 *
 * A side without rows is absent: what has never been copied is to be pushed, not
 * in conflict with nothing; and who deletes all rows deletes the content.
 */
bool
syncstate_measure_sides(Datum type_key, SyncstateObserved *observed)
{
	SyncstateSource source;
	SyncstateDigest digest[2];

	if (syncstate_table_is_empty(TABLE_SOURCE) ||
		!syncstate_find_source(DatumGetTextPP(type_key), GetActiveSnapshot(), &source))
		return false;
	measure(&source, digest);
	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		if (!OidIsValid(source.relid[side]))
			continue;
		if (digest[side].rows != 0)
			observed->hash[side] = syncstate_datum(PointerGetDatum(syncstate_digest_text(&digest[side])));
		observed->given[side] = true;
	}
	return true;
}

/* -------------------------------------------------------- attach, detach */

static void
refuse_relation(const char *argument, Relation rel, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s cannot be \"%s\"", argument, RelationGetRelationName(rel)),
			 errdetail("%s", why)));
}

/* What can be read like a table, by every session. */
static void
check_relation(int side, Relation rel)
{
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			break;
		default:
			refuse_relation(side_names[side], rel, "It is neither a table nor a view.");
	}
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		refuse_relation(side_names[side], rel, "A temporary table is there for one session only.");
}

/* A list of columns as it was given; a NULL list is NIL. */
static List *
arg_columns(FunctionCallInfo fcinfo, int argno, const char *name, int most)
{
	ArrayType  *array;
	List	   *columns;
	List	   *seen = NIL;
	ListCell   *cell;

	if (PG_ARGISNULL(argno))
		return NIL;
	array = PG_GETARG_ARRAYTYPE_P(argno);
	if (ARR_NDIM(array) != 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a list of names, without null", name),
				 errhint("Leave it null for the default.")));
	columns = names_of_array(PointerGetDatum(array));
	if (list_length(columns) > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has %d elements", name, list_length(columns)),
				 errdetail("It can have %d.", most)));
	foreach(cell, columns)
	{
		if (syncstate_has_column(seen, lfirst(cell)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s contains \"%s\" more than once", name, (char *) lfirst(cell))));
		seen = lappend(seen, lfirst(cell));
	}
	return columns;
}

static void
say_which_column(void *arg)
{
	errcontext("column \"%s\"", (const char *) arg);
}

/* Each column is there, and can be hashed. */
static void
check_columns(int side, Relation rel, List *columns)
{
	ListCell   *cell;

	foreach(cell, columns)
	{
		ErrorContextCallback callback = {error_context_stack, say_which_column, lfirst(cell)};
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), lfirst(cell));
		Oid			type;

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s has no column \"%s\"", side_names[side], (char *) lfirst(cell)),
					 errhint("Give the columns that both sides have.")));
		type = get_atttype(RelationGetRelid(rel), attnum);
		error_context_stack = &callback;
		(void) syncstate_make_packer(CurrentMemoryContext, 1, &type);
		error_context_stack = callback.previous;
	}
}

/* Rows are grouped by their key, so its types must have an equality. */
static void
check_key_types(int side, Relation rel, List *columns)
{
	ListCell   *cell;

	foreach(cell, columns)
	{
		Oid			type = get_atttype(RelationGetRelid(rel), get_attnum(RelationGetRelid(rel), lfirst(cell)));
		TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_HASH_PROC);

		if (!OidIsValid(entry->eq_opr) || (!OidIsValid(entry->lt_opr) && !OidIsValid(entry->hash_proc)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot be part of a key", (char *) lfirst(cell)),
					 errdetail("Values of type %s cannot be told to be equal.", format_type_be(type)),
					 errhint("On the %s side, use a view that casts it to text.", side_names[side])));
	}
}

/* The columns of a digest and of a key must fit into a call, together. */
static void
check_number_of_columns(List *columns, List *key)
{
	ListCell   *cell;
	int			n = list_length(columns);

	if (columns == NIL || n > MOST_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("local has %d columns", n),
				 errdetail("A digest is of 1 to %d columns.", MOST_COLUMNS),
				 errhint("Give the columns that count.")));
	foreach(cell, key)
		n += !syncstate_has_column(columns, lfirst(cell));
	if (n > MOST_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns and key_columns are %d columns together", n),
				 errdetail("They can be %d.", MOST_COLUMNS)));
}

/* Does the aggregate run where a foreign table's rows are?  Asks for the plan. */
static bool
is_pushed_down(const SyncstateSource *source, int side, List *columns)
{
	char	   *query = psprintf("EXPLAIN (VERBOSE, COSTS off) %s",
								 aggregate_query(source, side, "", digest_of(columns)));

	if (SPI_execute(query, false, 0) < 0)
		elog(ERROR, "SPI_execute failed for \"%s\"", query);
	for (uint64 row = 0; row < SPI_tuptable->numvals; row++)
	{
		char	   *line = TextDatumGetCString(syncstate_result(row, 1).value);
		char	   *remote = strstr(line, "Remote SQL:");

		if (remote != NULL && strstr(remote, "sync_digest(") != NULL)
			return true;
	}
	return false;
}

static void
notice_fetching(const SyncstateSource *source, int side, List *columns)
{
	if (!is_foreign(source, side) ||
		is_pushed_down(source, side, columns))
		return;
	ereport(NOTICE,
			(errmsg("all rows of the foreign table \"%s\" will be fetched to be hashed",
					get_rel_name(source->relid[side])),
			 errdetail("Its server does not compute sync_digest of these columns."),
			 errhint("With postgres_fdw, create extension syncstate over there, and set the option extensions 'syncstate' for the foreign server; declare columns of types that are neither built in nor of such an extension, enums for instance, as text.")));
}

/* The relation that is given for a side, opened and checked. */
static Relation
open_given_side(const SyncstateSource *source, int side)
{
	Relation	rel = try_relation_open(source->relid[side], AccessShareLock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a relation", side_names[side]),
				 errdetail("There is none with OID %u.", source->relid[side])));
	check_relation(side, rel);
	return rel;
}

/* The source that the arguments describe, checked. */
static SyncstateSource
source_from_args(FunctionCallInfo fcinfo, Datum type_key)
{
	SyncstateSource source = {0};
	List	   *columns = NIL;
	List	   *key = NIL;

	source.type_key = DatumGetTextPP(type_key);
	source.relid[SIDE_LOCAL] = DatumGetObjectId(syncstate_arg_required(fcinfo, 1, "local"));
	source.relid[SIDE_REMOTE] = PG_ARGISNULL(2) ? InvalidOid : PG_GETARG_OID(2);
	source.columns = arg_columns(fcinfo, 3, "columns", MOST_COLUMNS);
	source.key_columns = arg_columns(fcinfo, 4, "key_columns", MOST_KEY_COLUMNS);
	source.row_base = syncstate_arg_bool(fcinfo, 5, "row_base");
	source.id = *DatumGetUUIDP(syncstate_new_uuid());

	if (source.row_base && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("row_base needs a remote side"),
				 errdetail("The base of a row is what both sides had.")));
	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		Relation	rel;

		if (side == SIDE_REMOTE && PG_ARGISNULL(2))
			continue;
		rel = open_given_side(&source, side);
		if (side == SIDE_LOCAL)
		{
			columns = source.columns != NIL ? source.columns : own_columns(rel);
			key = source.key_columns != NIL ? source.key_columns : primary_key(rel);
			check_number_of_columns(columns, key);
		}
		check_columns(side, rel, columns);
		if (source.key_columns != NIL || source.row_base)
		{
			check_columns(side, rel, source.row_base ? syncstate_source_key(&source) : key);
			check_key_types(side, rel, key);
		}
		relation_close(rel, NoLock);
	}
	return source;
}

static bool
same_names(List *a, List *b)
{
	ListCell   *cell;

	if (list_length(a) != list_length(b))
		return false;
	foreach(cell, a)
	{
		if (!syncstate_has_column(b, lfirst(cell)))
			return false;
	}
	return true;
}

/* Are the bases of rows of one source those of another one? */
static bool
same_bases(const SyncstateSource *a, const SyncstateSource *b)
{
	return a->row_base && b->row_base &&
		same_names(a->columns, b->columns) && same_names(a->key_columns, b->key_columns);
}

/*
 * sync_source_attach(type_key, local, remote, columns, key_columns, row_base)
 */
Datum
sync_source_attach(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	SyncstateSource source;
	SyncstateSource before;
	bool		replaces;
	NullableDatum args[8];
	Datum		result;

	PreventCommandIfReadOnly("sync_source_attach()");

	/* Before any table, as everybody does. */
	replaces = syncstate_lock_source(key, &before);
	source = source_from_args(fcinfo, key);
	if (replaces && syncstate_is_tracked(&before))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" is tracked", syncstate_key_cstring(key)),
				 errhint("Call sync_source_untrack first.")));

	args[0] = syncstate_datum(key);
	for (int i = 1; i < 6; i++)
		args[i] = syncstate_arg(fcinfo, i);
	args[6] = syncstate_datum(UUIDPGetDatum(&source.id));
	args[7] = syncstate_datum(TimestampTzGetDatum(GetCurrentTimestamp()));

	syncstate_connect();
	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		if (OidIsValid(source.relid[side]))
			notice_fetching(&source, side, syncstate_source_columns(&source));
	}
	if (syncstate_execute(STMT_ATTACH, args, false) == 0)
		syncstate_report_suppressed(key);
	result = syncstate_return_datum(0, 1);
	if (!replaces || !same_bases(&before, &source))
		syncstate_execute(STMT_FORGET_ROW_BASES, args, false);
	SPI_finish();

	PG_RETURN_DATUM(result);
}

/*
 * sync_source_detach(type_key): false if there is none
 */
Datum
sync_source_detach(PG_FUNCTION_ARGS)
{
	NullableDatum key = syncstate_datum(syncstate_arg_type_key(fcinfo, 0));
	SyncstateSource source;
	bool		found;

	PreventCommandIfReadOnly("sync_source_detach()");

	syncstate_connect();
	found = syncstate_lock_source(key.value, &source);
	if (found)
	{
		syncstate_untrack(&source);
		syncstate_execute(STMT_FORGET_ROW_BASES, &key, false);
		found = syncstate_execute(STMT_DETACH, &key, false) > 0;
	}
	SPI_finish();

	PG_RETURN_BOOL(found);
}
