/*-------------------------------------------------------------------------
 *
 * import.c
 *		Adopting a hand-made table: sync_state_import.
 *
 * Columns are found by name, in snake_case or in camelCase as an ORM writes
 * them; what is missing keeps its default, what is not known is left aside with
 * a notice.  The statement is made for the table at hand, so it is not kept:
 * names in it are quoted, and the only value is a parameter.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_state_import);

typedef enum ColumnKind
{
	KIND_TEXT,
	KIND_TIME,
	KIND_JSON
} ColumnKind;

typedef struct ImportColumn
{
	const char *name;			/* in syncstate.sync_state */
	const char *camel;			/* as an ORM may write it */
	ColumnKind	kind;
} ImportColumn;

enum
{
	IMPORT_TYPE_KEY,
	IMPORT_LOCAL_HASH,
	IMPORT_REMOTE_HASH,
	IMPORT_LAST_SYNCED_HASH,
	IMPORT_LAST_SYNCED_REMOTE_HASH,
	IMPORT_LAST_SYNC_AT,
	IMPORT_SYNC_STATUS,
	IMPORT_CONFLICT_STATUS,
	IMPORT_SYNC_PROGRESS,
	IMPORT_CREATED_AT,
	IMPORT_UPDATED_AT,
	NUM_IMPORT_COLUMNS
};

static const ImportColumn import_columns[NUM_IMPORT_COLUMNS] = {
	[IMPORT_TYPE_KEY] = {"type_key", "typeKey", KIND_TEXT},
	[IMPORT_LOCAL_HASH] = {"local_hash", "localHash", KIND_TEXT},
	[IMPORT_REMOTE_HASH] = {"remote_hash", "remoteHash", KIND_TEXT},
	[IMPORT_LAST_SYNCED_HASH] = {"last_synced_hash", "lastSyncedHash", KIND_TEXT},
	[IMPORT_LAST_SYNCED_REMOTE_HASH] = {"last_synced_remote_hash", "lastSyncedRemoteHash", KIND_TEXT},
	[IMPORT_LAST_SYNC_AT] = {"last_sync_at", "lastSyncAt", KIND_TIME},
	[IMPORT_SYNC_STATUS] = {"sync_status", "syncStatus", KIND_TEXT},
	[IMPORT_CONFLICT_STATUS] = {"conflict_status", "conflictStatus", KIND_TEXT},
	[IMPORT_SYNC_PROGRESS] = {"sync_progress", "syncProgress", KIND_JSON},
	[IMPORT_CREATED_AT] = {"created_at", "createdAt", KIND_TIME},
	[IMPORT_UPDATED_AT] = {"updated_at", "updatedAt", KIND_TIME},
};

/* A source table: for each of our columns, its expression, or NULL. */
typedef struct ImportSource
{
	char	   *table;			/* qualified and quoted */
	char	   *expressions[NUM_IMPORT_COLUMNS];
	StringInfoData ignored;
} ImportSource;

static bool
has_rows(char relkind)
{
	return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE ||
		relkind == RELKIND_VIEW || relkind == RELKIND_MATVIEW || relkind == RELKIND_FOREIGN_TABLE;
}

static void
report_column_type(Form_pg_attribute att, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" has type %s", NameStr(att->attname), format_type_be(att->atttypid)),
			 errhint("It must be %s; cast it in a view, and import that.", wanted)));
}

/* Our value out of a column of theirs; a time without a zone is in UTC. */
static char *
column_expression(Form_pg_attribute att, ColumnKind kind)
{
	const char *name = quote_identifier(NameStr(att->attname));
	Oid			type = getBaseType(att->atttypid);
	char		category;
	bool		preferred;

	get_type_category_preferred(type, &category, &preferred);
	switch (kind)
	{
		case KIND_TIME:
			if (type == TIMESTAMPTZOID)
				return psprintf("i.%s::pg_catalog.timestamptz", name);
			if (type == TIMESTAMPOID)
				return psprintf("pg_catalog.timezone('UTC', i.%s::pg_catalog.timestamp)", name);
			report_column_type(att, "timestamp with or without time zone");
			break;
		case KIND_JSON:
			if (type == JSONBOID || type == JSONOID || category == TYPCATEGORY_STRING)
				return psprintf("i.%s::pg_catalog.text::pg_catalog.jsonb", name);
			report_column_type(att, "json, jsonb or text");
			break;
		case KIND_TEXT:
			if (category == TYPCATEGORY_STRING || category == TYPCATEGORY_ENUM || type == UUIDOID)
				return psprintf("i.%s::pg_catalog.text", name);
			report_column_type(att, "text, varchar, char, uuid or an enum");
			break;
	}
	return NULL;				/* not reached */
}

static void
read_column(ImportSource *source, Form_pg_attribute att)
{
	for (int c = 0; c < NUM_IMPORT_COLUMNS; c++)
	{
		if (strcmp(NameStr(att->attname), import_columns[c].name) != 0 &&
			strcmp(NameStr(att->attname), import_columns[c].camel) != 0)
			continue;
		if (source->expressions[c] != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the table has both \"%s\" and \"%s\"",
							import_columns[c].name, import_columns[c].camel)));
		source->expressions[c] = column_expression(att, import_columns[c].kind);
		return;
	}
	appendStringInfo(&source->ignored, "%s\"%s\"", source->ignored.len > 0 ? ", " : "", NameStr(att->attname));
}

static ImportSource
read_source(Oid relid)
{
	ImportSource source = {0};
	Relation	rel = try_relation_open(relid, AccessShareLock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no table with OID %u", relid)));
	if (!has_rows(rel->rd_rel->relkind))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a table or view", RelationGetRelationName(rel))));

	initStringInfo(&source.ignored);
	source.table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
											  RelationGetRelationName(rel));
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped)
			read_column(&source, att);
	}
	relation_close(rel, NoLock);

	if (source.expressions[IMPORT_TYPE_KEY] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has no column type_key or \"typeKey\"", source.table)));
	return source;
}

/* A base that the table does not have: of what is in sync, the hash that side has. */
static char *
base_expression(const ImportSource *source, int hash, const char *otherwise)
{
	const char *status = source->expressions[IMPORT_SYNC_STATUS];
	const char *value = source->expressions[hash];

	if (otherwise == NULL)
		otherwise = "NULL::pg_catalog.text";
	if (status == NULL || value == NULL)
		return pstrdup(otherwise);
	return psprintf("CASE WHEN %s OPERATOR(pg_catalog.=) 'in_sync' THEN %s ELSE %s END",
					status, value, otherwise);
}

/*
 * Rows are inserted in key order, as every batch is.  Those that exist are left
 * alone.  changed_xid is given, so that the trigger takes the bases as they are.
 */
static char *
import_statement(const ImportSource *source)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "INSERT INTO syncstate.sync_state AS s (changed_xid");
	for (int c = 0; c < NUM_IMPORT_COLUMNS; c++)
		appendStringInfo(&sql, ", %s", import_columns[c].name);
	appendStringInfoString(&sql, ") SELECT 0");
	for (int c = 0; c < NUM_IMPORT_COLUMNS; c++)
	{
		const char *e = source->expressions[c];

		if (c == IMPORT_LAST_SYNCED_HASH && e == NULL)
			e = base_expression(source, IMPORT_LOCAL_HASH, NULL);
		if (c == IMPORT_LAST_SYNCED_REMOTE_HASH && e == NULL)
			e = base_expression(source, IMPORT_REMOTE_HASH, source->expressions[IMPORT_LAST_SYNCED_HASH]);
		if (c == IMPORT_CREATED_AT || c == IMPORT_UPDATED_AT)
			e = e == NULL ? "$1" : psprintf("COALESCE(%s, $1)", e);
		appendStringInfo(&sql, ", %s", e == NULL ? "NULL" : e);
	}
	appendStringInfo(&sql, " FROM %s i ORDER BY %s COLLATE pg_catalog.\"C\""
					 " ON CONFLICT (type_key) DO NOTHING"
					 " RETURNING s.type_key, s.sync_status",
					 source->table, source->expressions[IMPORT_TYPE_KEY]);
	return sql.data;
}

/* Which of two rows of one key would be adopted is nobody's guess: none. */
static void
refuse_ambiguous_keys(const ImportSource *source)
{
	const char *key = psprintf("%s COLLATE pg_catalog.\"C\"", source->expressions[IMPORT_TYPE_KEY]);
	const char *sql = psprintf("SELECT %s FROM %s i GROUP BY 1"
							   " HAVING %s IS NULL OR pg_catalog.count(*) OPERATOR(pg_catalog.>) 1"
							   " OR pg_catalog.octet_length(%s) OPERATOR(pg_catalog.=) 0"
							   " OR pg_catalog.octet_length(%s) OPERATOR(pg_catalog.>) %d LIMIT 1",
							   key, source->table, key, key, key, SYNCSTATE_MAX_KEY_LENGTH);
	NullableDatum found;

	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "SPI_execute failed for \"%s\"", sql);
	if (SPI_processed == 0)
		return;

	found = syncstate_result(0, 1);
	if (found.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has a row without a type_key", source->table)));
	syncstate_check_type_key(DatumGetTextPP(found.value));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s has type_key \"%s\" more than once", source->table,
					syncstate_key_cstring(found.value))));
}

static uint64
adopt_rows(const ImportSource *source, TimestampTz now)
{
	char	   *sql = import_statement(source);
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		values[1] = {TimestampTzGetDatum(now)};

	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) < 0)
		elog(ERROR, "SPI_execute_with_args failed for \"%s\"", sql);
	return SPI_processed;
}

/* Keys that came in as being in conflict get their row in the log. */
static void
log_imported_conflicts(uint64 nrows, TimestampTz now)
{
	Datum	   *keys = palloc_array(Datum, nrows + 1);
	int			n = 0;

	for (uint64 row = 0; row < nrows; row++)
	{
		NullableDatum status = syncstate_result(row, 2);

		if (!status.isnull && strcmp(TextDatumGetCString(status.value), "conflict") == 0)
			keys[n++] = syncstate_result(row, 1).value;
	}
	if (n > 0)
		syncstate_log_conflicts(syncstate_key_array(keys, n).value, (Datum) 0, now, "vanished");
}

/*
 * sync_state_import(source): rows adopted
 */
Datum
sync_state_import(PG_FUNCTION_ARGS)
{
	Oid			relid = DatumGetObjectId(syncstate_arg_required(fcinfo, 0, "source"));
	TimestampTz now = GetCurrentTimestamp();
	ImportSource source;
	uint64		adopted;

	PreventCommandIfReadOnly("sync_state_import()");

	syncstate_connect();
	source = read_source(relid);
	refuse_ambiguous_keys(&source);
	adopted = adopt_rows(&source, now);
	log_imported_conflicts(adopted, now);
	if (source.ignored.len > 0)
		ereport(NOTICE,
				(errmsg("columns of %s that were not imported: %s", source.table, source.ignored.data)));
	SPI_finish();

	PG_RETURN_INT32((int32) adopted);
}
