/*-------------------------------------------------------------------------
 *
 * diff.c
 *		Rows that differ between the two sides of a source: sync_source_diff,
 *		sync_source_diff3, and the bases of single rows.
 *
 * First both sides make a sketch, which costs hardly more than a digest and says
 * as well whether they are equal.  From how many of its cells are empty follows
 * how large the next one has to be, if it cannot be decoded.  It yields hashes of
 * keys; the keys themselves are then looked up by those.  Where a sketch would
 * have to be larger than MOST_SKETCH_CELLS, both sides list all keys with the
 * digest of their rows instead, and the lists are joined.  Either way what
 * crosses the wire is made where the rows are.
 *
 * All of it is by one snapshot, and a foreign server that keeps one for the
 * transaction (postgres_fdw does) is asked by one as well.
 *
 * Rows of one key are compared by their digest, so that a key which is not unique
 * does no harm.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "sketch.h"
#include "source.h"

PG_FUNCTION_INFO_V1(sync_source_diff);
PG_FUNCTION_INFO_V1(sync_source_diff3);

#define FIRST_SKETCH_CELLS 1024
#define MOST_SKETCH_CELLS 262144

/* Where nothing is known of how many differences there are, so much larger. */
#define SKETCH_GROWTH 16

/* A key that differs. */
typedef struct Difference
{
	bytea	   *key_hash;
	Datum		key;			/* jsonb */
	bool		here[2];		/* has this side rows of it? */
	text	   *digest[2];		/* of those; may be left out if both sides have some */
} Difference;

/* What the statements of a source are put together from. */
typedef struct DiffJob
{
	SyncstateSource source;
	char	   *table[2];
	List	   *columns;
	List	   *key;
	List	   *rest;			/* columns that are not of the key */

	/* The result. */
	int64		ndifferences;
	Difference *differences;
} DiffJob;

static void
begin_job(DiffJob *job, const SyncstateSource *source)
{
	ListCell   *cell;

	memset(job, 0, sizeof(DiffJob));
	job->source = *source;
	if (!OidIsValid(source->relid[SIDE_REMOTE]))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" has no remote side", text_to_cstring(source->type_key)),
				 errhint("Attach it with remote.")));
	job->columns = syncstate_source_columns(source);
	job->key = syncstate_source_key(source);
	foreach(cell, job->columns)
	{
		if (!syncstate_has_column(job->key, lfirst(cell)))
			job->rest = lappend(job->rest, lfirst(cell));
	}
	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		syncstate_require_columns(source, side, job->columns);
		syncstate_require_columns(source, side, job->key);
		job->table[side] = syncstate_source_table(source, side);
	}
}

/*
 * What a query returns may come from another server, which can answer anything:
 * it is looked at before it is taken for a hash, a digest or a sketch.
 */
static void
refuse_answer(const DiffJob *job)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("what was computed of a source of \"%s\" is not a hash, a digest or a sketch of rows",
					text_to_cstring(job->source.type_key)),
			 errhint("Look at the extension where the rows are.")));
}

static bytea *
hash_in_result(const DiffJob *job, uint64 row, int column)
{
	NullableDatum value = syncstate_result(row, column);
	bytea	   *hash = value.isnull ? NULL : DatumGetByteaPP(value.value);

	if (hash == NULL || VARSIZE_ANY_EXHDR(hash) != SYNCSTATE_HASH_LENGTH)
		refuse_answer(job);
	return hash;
}

static text *
digest_in_result(const DiffJob *job, uint64 row, int column)
{
	NullableDatum value = syncstate_result(row, column);
	text	   *digest = value.isnull ? NULL : DatumGetTextPP(value.value);
	SyncstateDigest parsed;

	if (digest == NULL || !syncstate_parse_digest(digest, &parsed))
		refuse_answer(job);
	return digest;
}

/* ---------------------------------------------------------------- sketches */

static SyncstateSketchDiff
compare_sketches(DiffJob *job, int cells)
{
	NullableDatum sketch[2];

	syncstate_aggregate_sides(&job->source,
							  psprintf("syncstate.sync_sketch(%d, %d, %s)", cells, list_length(job->key),
									   syncstate_column_list(list_concat_copy(job->key, job->rest), "x.%s")),
							  sketch);
	if (sketch[SIDE_LOCAL].isnull || sketch[SIDE_REMOTE].isnull)
		refuse_answer(job);
	return syncstate_sketch_diff(DatumGetByteaPP(sketch[SIDE_LOCAL].value),
								 DatumGetByteaPP(sketch[SIDE_REMOTE].value));
}

/* How many cells to try next. */
static int
next_cells(int cells, const SyncstateSketchDiff *diff)
{
	if (diff->elements == 0)
		return cells * SKETCH_GROWTH;
	return (int) Max(diff->elements * 1.7, cells * 1.5);
}

/* Keys that differ, by sketches; false: there are too many. */
static bool
diff_by_sketch(DiffJob *job, SyncstateSketchDiff *diff)
{
	int			cells = FIRST_SKETCH_CELLS;

	while (cells <= MOST_SKETCH_CELLS)
	{
		*diff = compare_sketches(job, cells);
		if (diff->decoded)
			return true;
		cells = next_cells(cells, diff);
	}
	return false;
}

static bytea *
hash_bytes(SyncstateHash hash)
{
	bytea	   *bytes = palloc(VARHDRSZ + SYNCSTATE_HASH_LENGTH);

	SET_VARSIZE(bytes, VARHDRSZ + SYNCSTATE_HASH_LENGTH);
	syncstate_store_hash(VARDATA(bytes), hash);
	return bytes;
}

/*
 * pg_catalog.jsonb_build_object('id', alias.k0, ...): the key of a row whose columns
 * bear numbers, or, if not numbered, their names.
 */
static char *
key_object(DiffJob *job, const char *alias, bool numbered)
{
	StringInfoData object;
	ListCell   *cell;

	initStringInfo(&object);
	appendStringInfoString(&object, "pg_catalog.jsonb_build_object(");
	foreach(cell, job->key)
	{
		int			i = foreach_current_index(cell);

		appendStringInfo(&object, "%s%s::pg_catalog.text, %s.%s", i > 0 ? ", " : "",
						 quote_literal_cstr(lfirst(cell)), alias,
						 numbered ? psprintf("k%d", i) : quote_identifier(lfirst(cell)));
	}
	appendStringInfoChar(&object, ')');
	return object.data;
}

/* The key of a side's rows x, numbered: x.id AS k0, ... */
static char *
numbered_key(DiffJob *job)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, job->key)
	{
		int			i = foreach_current_index(cell);

		appendStringInfo(&list, "%sx.%s AS k%d", i > 0 ? ", " : "", quote_identifier(lfirst(cell)), i);
	}
	return list.data;
}

/* The hash of a key, of the side's rows x. */
static char *
key_hash_of(DiffJob *job)
{
	return psprintf("syncstate.sync_row_hash(%s)", syncstate_column_list(job->key, "x.%s"));
}

/*
 * A side's keys (k0 ...), their hashes (h) and the digests of their rows (d).  A
 * foreign server does the grouping.
 *
 * By the hash as well as by the columns, whose equality may be coarser: where
 * 'a' = 'A' by a collation, they are two keys to us.
 */
static char *
grouped_side(DiffJob *job, int side)
{
	char	   *columns = syncstate_column_list(job->key, "x.%s");
	char	   *hash = key_hash_of(job);

	return psprintf("(SELECT %s, %s AS h, syncstate.sync_digest(%s) AS d FROM %s AS x GROUP BY %s, %s OFFSET 0)",
					numbered_key(job), hash,
					syncstate_column_list(job->columns, "x.%s"), job->table[side],
					columns, hash);
}

/*
 * Of the keys whose hashes are in parameter number "wanted": the side, the key, its
 * hash, and the digest of its rows.  Grouped in the same way, but such that Append
 * need not wait for another server: in one level, and with all that is grouped by
 * among the columns, where the other side, whose types may be others, has NULL.
 */
static char *
look_up_query(DiffJob *job, int side, int wanted)
{
	char	   *columns = syncstate_column_list(job->key, "x.%s");
	char	   *hash = key_hash_of(job);
	StringInfoData others;

	initStringInfo(&others);
	for (int i = 0; i < list_length(job->key); i++)
		appendStringInfoString(&others, i > 0 ? ", NULL" : "NULL");
	return psprintf("SELECT %d, %s, %s, syncstate.sync_digest(%s), %s, %s FROM %s AS x"
					" WHERE %s OPERATOR(pg_catalog.=) ANY ($%d) GROUP BY %s, %s",
					side, key_object(job, "x", false), hash, syncstate_column_list(job->columns, "x.%s"),
					side == SIDE_LOCAL ? columns : others.data, side == SIDE_LOCAL ? others.data : columns,
					job->table[side], hash, wanted, columns, hash);
}

static int
compare_differences(const void *a, const void *b)
{
	return memcmp(VARDATA_ANY(((const Difference *) a)->key_hash),
				  VARDATA_ANY(((const Difference *) b)->key_hash), SYNCSTATE_HASH_LENGTH);
}

static Difference *
find_difference(DiffJob *job, bytea *key_hash)
{
	Difference	wanted = {.key_hash = key_hash};

	return bsearch(&wanted, job->differences, job->ndifferences, sizeof(Difference), compare_differences);
}

/*
 * The hashes of keys to look up on a side.  A key of which a sketch told only one
 * side has to be asked for on the other side as well: where keys are not unique,
 * one row of it may be the same on both.
 */
static NullableDatum
hashes_to_look_up(DiffJob *job, int side, const SyncstateSketchDiff *diff, bool all, int *n)
{
	NullableDatum *hashes = palloc_array(NullableDatum, diff->nkeys + 1);

	*n = 0;
	for (int i = 0; i < diff->nkeys; i++)
	{
		const SyncstateSketchKey *key = &diff->keys[i];

		/* What a key of both sides is called, one of them knows. */
		if (all || side == SIDE_LOCAL || !key->in_a || !key->in_b)
			hashes[(*n)++] = syncstate_datum(PointerGetDatum(job->differences[i].key_hash));
	}
	return syncstate_datum(syncstate_array(hashes, *n, BYTEAOID));
}

/* The side that a row of the result says it is of. */
static int
side_in_result(const DiffJob *job, uint64 row)
{
	NullableDatum side = syncstate_result(row, 1);

	if (side.isnull || (DatumGetInt32(side.value) != SIDE_LOCAL && DatumGetInt32(side.value) != SIDE_REMOTE))
		refuse_answer(job);
	return DatumGetInt32(side.value);
}

static void
note_looked_up(DiffJob *job)
{
	for (uint64 row = 0; row < SPI_tuptable->numvals; row++)
	{
		int			side = side_in_result(job, row);
		Difference *difference = find_difference(job, hash_in_result(job, row, 3));

		if (difference == NULL)
			continue;
		difference->key = syncstate_result(row, 2).value;
		difference->here[side] = true;
		difference->digest[side] = digest_in_result(job, row, 4);
	}
}

/* Looks up keys by their hashes, with the digests of their rows; on both sides at once, if possible. */
static void
look_up_keys(DiffJob *job, const SyncstateSketchDiff *diff, bool all)
{
	Oid			argtypes[] = {BYTEAARRAYOID, BYTEAARRAYOID};
	NullableDatum wanted[2];
	int			n[2];

	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
		wanted[side] = hashes_to_look_up(job, side, diff, all, &n[side]);

	if (n[SIDE_LOCAL] > 0 && n[SIDE_REMOTE] > 0 && syncstate_is_asynchronous(&job->source))
	{
		syncstate_run_query(&job->source, BOTH_SIDES,
							psprintf("%s UNION ALL %s", look_up_query(job, SIDE_LOCAL, 1),
									 look_up_query(job, SIDE_REMOTE, 2)),
							2, argtypes, wanted);
		note_looked_up(job);
		return;
	}
	for (int side = SIDE_LOCAL; side <= SIDE_REMOTE; side++)
	{
		if (n[side] == 0)
			continue;
		syncstate_run_query(&job->source, side, look_up_query(job, side, 1), 1, argtypes, &wanted[side]);
		note_looked_up(job);
	}
}

/*
 * What a sketch told of must be found, or the other server did not look at the
 * same rows twice.
 */
static void
check_looked_up(const DiffJob *job, const SyncstateSketchDiff *diff, bool all)
{
	for (int i = 0; i < diff->nkeys; i++)
	{
		const SyncstateSketchKey *key = &diff->keys[i];
		Difference *difference = &job->differences[i];

		/* Only one of them was asked. */
		if (!all && key->in_a && key->in_b)
			difference->here[SIDE_REMOTE] = true;

		if ((key->in_a && !difference->here[SIDE_LOCAL]) || (key->in_b && !difference->here[SIDE_REMOTE]))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("rows of \"%s\" changed while they were compared", text_to_cstring(job->source.type_key)),
					 errdetail("A foreign server does not keep one snapshot for a transaction."),
					 errhint("Call the function again.")));
	}
}

/*
 * Differences out of a decoded sketch.  all: digests of both sides are wanted;
 * else only keys, and which side has them.
 */
static void
resolve_keys(DiffJob *job, const SyncstateSketchDiff *diff, bool all)
{
	job->ndifferences = diff->nkeys;
	job->differences = palloc0_array(Difference, diff->nkeys + 1);
	for (int i = 0; i < diff->nkeys; i++)
		job->differences[i].key_hash = hash_bytes(diff->keys[i].key);
	look_up_keys(job, diff, all);
	check_looked_up(job, diff, all);
}

/* -------------------------------------------------------------------- lists */

static void
diff_by_lists(DiffJob *job)
{
	char	   *side[2];

	for (int i = SIDE_LOCAL; i <= SIDE_REMOTE; i++)
		side[i] = grouped_side(job, i);
	syncstate_run_query(&job->source, BOTH_SIDES,
						psprintf("SELECT CASE WHEN l.h IS NULL THEN %s ELSE %s END, COALESCE(l.h, r.h), l.d, r.d"
								 " FROM %s AS l FULL JOIN %s AS r ON l.h OPERATOR(pg_catalog.=) r.h"
								 " WHERE (l.d COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.=) r.d) IS NOT TRUE",
								 key_object(job, "r", true), key_object(job, "l", true), side[0], side[1]),
						0, NULL, NULL);

	job->ndifferences = (int64) SPI_tuptable->numvals;
	job->differences = MemoryContextAllocHuge(CurrentMemoryContext, (job->ndifferences + 1) * sizeof(Difference));
	for (int64 i = 0; i < job->ndifferences; i++)
	{
		Difference *difference = &job->differences[i];
		NullableDatum local = syncstate_result(i, 3);
		NullableDatum remote = syncstate_result(i, 4);

		difference->key = syncstate_result(i, 1).value;
		difference->key_hash = hash_in_result(job, i, 2);
		difference->here[SIDE_LOCAL] = !local.isnull;
		difference->here[SIDE_REMOTE] = !remote.isnull;
		difference->digest[SIDE_LOCAL] = local.isnull ? NULL : digest_in_result(job, i, 3);
		difference->digest[SIDE_REMOTE] = remote.isnull ? NULL : digest_in_result(job, i, 4);
	}
	qsort(job->differences, job->ndifferences, sizeof(Difference), compare_differences);
}

/* Fills in the result of a job.  Connected to SPI; by the active snapshot. */
static void
find_differences(DiffJob *job, bool digests)
{
	SyncstateSketchDiff diff;

	if (diff_by_sketch(job, &diff))
		resolve_keys(job, &diff, digests);
	else
		diff_by_lists(job);
}

/*
 * sync_source_diff(type_key)
 */
Datum
sync_source_diff(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SyncstateSource source;
	DiffJob		job;

	InitMaterializedSRF(fcinfo, 0);

	syncstate_connect();
	syncstate_get_source(key, &source);
	begin_job(&job, &source);
	find_differences(&job, false);
	for (int64 i = 0; i < job.ndifferences; i++)
	{
		const Difference *d = &job.differences[i];
		Datum		values[2];
		bool		nulls[2] = {false, false};

		CHECK_FOR_INTERRUPTS();
		values[0] = d->key;
		values[1] = CStringGetTextDatum(!d->here[SIDE_REMOTE]	   ? SYNCSTATE_LOCAL_ONLY
										: !d->here[SIDE_LOCAL] ? SYNCSTATE_REMOTE_ONLY
										: SYNCSTATE_DIFFERENT);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();

	return (Datum) 0;
}

/* -------------------------------------------------------------- row bases */

/* The sum of a digest, as bytes; the number of rows is left out. */
#define SUM_OF(digest) "pg_catalog.decode(pg_catalog.left(" digest ", 32), 'hex')"

static NullableDatum
difference_hashes(const DiffJob *job)
{
	NullableDatum *hashes = palloc_array(NullableDatum, job->ndifferences + 1);

	for (int64 i = 0; i < job->ndifferences; i++)
		hashes[i] = syncstate_datum(PointerGetDatum(job->differences[i].key_hash));
	return syncstate_datum(syncstate_array(hashes, (int) job->ndifferences, BYTEAOID));
}

/*
 * Bases, in hex like the sum of a digest; NULL: there is none.  Whether rows were
 * ever synchronised is told by any base, or, since there may have been no row
 * then, by a sync that was recorded after the source was attached.
 */
static text **
read_row_bases(DiffJob *job, bool *synced)
{
	text	  **bases = MemoryContextAllocExtended(CurrentMemoryContext, (job->ndifferences + 1) * sizeof(text *),
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	NullableDatum args[] = {
		syncstate_datum(PointerGetDatum(job->source.type_key)),
		difference_hashes(job),
	};

	NullableDatum since[] = {args[0], syncstate_datum(TimestampTzGetDatum(job->source.attached_at))};

	*synced = syncstate_execute(STMT_ROWS_SYNCED, since, true) > 0;
	if (!*synced)
		return bases;
	syncstate_execute(STMT_ROW_BASES, args, true);
	for (uint64 row = 0; row < SPI_tuptable->numvals; row++)
	{
		Difference *difference = find_difference(job, hash_in_result(job, row, 1));

		if (difference != NULL)
			bases[difference - job->differences] =
				DatumGetTextPP(DirectFunctionCall2(binary_encode, syncstate_result(row, 2).value,
												   CStringGetTextDatum("hex")));
	}
	return bases;
}

/* The sum of a digest, in hex. */
static text *
sum_of(text *digest)
{
	return digest == NULL ? NULL : cstring_to_text_with_len(VARDATA_ANY(digest), 2 * SYNCSTATE_HASH_LENGTH);
}

static SyncstateDecision
decide_on_row(const Difference *d, const text *base, bool synced)
{
	SyncstateSides sides = {
		.local = sum_of(d->digest[SIDE_LOCAL]),
		.remote = sum_of(d->digest[SIDE_REMOTE]),
		.local_base = base,
		.remote_base = base,
		.synced = synced,
	};

	return syncstate_decide(&sides);
}

static void
refuse_without_row_base(const SyncstateSource *source)
{
	if (!source->row_base)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source of \"%s\" keeps no bases of rows", text_to_cstring(source->type_key)),
				 errhint("Attach it with row_base => true.")));
}

/*
 * sync_source_diff3(type_key)
 *
 * The three-way decision on each row.
 */
Datum
sync_source_diff3(PG_FUNCTION_ARGS)
{
	Datum		key = syncstate_arg_type_key(fcinfo, 0);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SyncstateSource source;
	DiffJob		job;
	text	  **bases;
	bool		synced;

	InitMaterializedSRF(fcinfo, 0);

	syncstate_connect();
	syncstate_get_source(key, &source);
	refuse_without_row_base(&source);
	begin_job(&job, &source);
	find_differences(&job, true);
	bases = read_row_bases(&job, &synced);
	for (int64 i = 0; i < job.ndifferences; i++)
	{
		const Difference *d = &job.differences[i];
		SyncstateDecision decision = decide_on_row(d, bases[i], synced);
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		CHECK_FOR_INTERRUPTS();
		values[0] = d->key;
		values[1] = CStringGetTextDatum(decision.action);
		values[2] = CStringGetTextDatum(decision.detail);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();

	return (Datum) 0;
}

/* Runs a statement that writes, but reads by the snapshot that is active. */
static void
write_by_snapshot(const char *query, int nargs, Oid *argtypes, const NullableDatum *args)
{
	Datum		values[2];
	char		nulls[2];
	SPIPlanPtr	plan = SPI_prepare(query, nargs, argtypes);
	int			code;

	Assert(nargs <= (int) lengthof(values));
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed for \"%s\": %s", query, SPI_result_code_string(SPI_result));
	for (int i = 0; i < nargs; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	code = SPI_execute_snapshot(plan, values, nulls, GetActiveSnapshot(), InvalidSnapshot, false, true, 0);
	if (code < 0)
		elog(ERROR, "SPI_execute_snapshot failed for \"%s\": %s", query, SPI_result_code_string(code));
	SPI_freeplan(plan);
}

/* Writes the bases of rows that do not differ; those of rows that are gone go. */
static void
write_row_bases(DiffJob *job)
{
	Oid			argtypes[] = {TEXTOID, BYTEAARRAYOID};
	NullableDatum args[] = {
		syncstate_datum(PointerGetDatum(job->source.type_key)),
		difference_hashes(job),
	};

	write_by_snapshot(psprintf("INSERT INTO syncstate.sync_row_base (type_key, key_hash, row_hash)"
							   " SELECT $1, g.h, " SUM_OF("g.d") " FROM %s AS g"
							   " WHERE NOT (g.h OPERATOR(pg_catalog.=) ANY ($2))"
							   " AND NOT EXISTS (SELECT FROM syncstate.sync_row_base b"
							   " WHERE b.type_key OPERATOR(pg_catalog.=) $1 AND b.key_hash OPERATOR(pg_catalog.=) g.h"
							   " AND b.row_hash OPERATOR(pg_catalog.=) " SUM_OF("g.d") ")"
							   " ON CONFLICT (type_key, key_hash) DO UPDATE SET row_hash = EXCLUDED.row_hash",
							   grouped_side(job, SIDE_LOCAL)),
					  2, argtypes, args);
	write_by_snapshot(psprintf("DELETE FROM syncstate.sync_row_base b WHERE b.type_key OPERATOR(pg_catalog.=) $1"
							   " AND NOT (b.key_hash OPERATOR(pg_catalog.=) ANY ($2))"
							   " AND NOT EXISTS (SELECT FROM %s AS x"
							   " WHERE syncstate.sync_row_hash(%s) OPERATOR(pg_catalog.=) b.key_hash)",
							   job->table[SIDE_LOCAL], syncstate_column_list(job->key, "x.%s")),
					  2, argtypes, args);
}

/*
 * Finds the differences of a key whose source keeps bases of rows, by a snapshot
 * that stays pushed; false: it has none such.  The snapshot is of now, not of the
 * calling query: we may have waited for the row's lock.
 */
static bool
begin_row_base_job(DiffJob *job, Datum type_key)
{
	SyncstateSource source;

	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!syncstate_find_source(DatumGetTextPP(type_key), GetActiveSnapshot(), &source) || !source.row_base)
	{
		PopActiveSnapshot();
		return false;
	}
	begin_job(job, &source);
	find_differences(job, true);
	return true;
}

/*
 * Where both sides agree on a row now, that is its base; where they differ, it
 * keeps the one it has; where neither has it any more, it has none.  For keys
 * whose source wants that; connected to SPI.
 *
 * The rows that differ are found by the same snapshot as those that do not are
 * read, so that nothing becomes a base which only one side had.
 */
void
syncstate_move_row_bases(Datum type_key)
{
	DiffJob		job;

	if (!begin_row_base_job(&job, type_key))
		return;
	write_row_bases(&job);
	PopActiveSnapshot();
}

/* The bases of rows in conflict become what a side has of them. */
static void
write_resolved_bases(DiffJob *job, int side)
{
	bool		synced;
	text	  **bases = read_row_bases(job, &synced);
	NullableDatum *set = palloc_array(NullableDatum, job->ndifferences + 1);
	NullableDatum *sums = palloc_array(NullableDatum, job->ndifferences + 1);
	NullableDatum *gone = palloc_array(NullableDatum, job->ndifferences + 1);
	int			nset = 0;
	int			ngone = 0;
	NullableDatum args[3];

	for (int64 i = 0; i < job->ndifferences; i++)
	{
		const Difference *d = &job->differences[i];
		NullableDatum hash = syncstate_datum(PointerGetDatum(d->key_hash));

		CHECK_FOR_INTERRUPTS();
		if (!decide_on_row(d, bases[i], synced).conflict)
			continue;
		if (d->digest[side] == NULL)
			gone[ngone++] = hash;
		else
		{
			set[nset] = hash;
			sums[nset++] = syncstate_datum(DirectFunctionCall2(binary_decode, PointerGetDatum(sum_of(d->digest[side])),
															   CStringGetTextDatum("hex")));
		}
	}
	args[0] = syncstate_datum(PointerGetDatum(job->source.type_key));
	args[1] = syncstate_datum(syncstate_array(set, nset, BYTEAOID));
	args[2] = syncstate_datum(syncstate_array(sums, nset, BYTEAOID));
	syncstate_execute(STMT_SET_ROW_BASES, args, false);
	args[1] = syncstate_datum(syncstate_array(gone, ngone, BYTEAOID));
	syncstate_execute(STMT_DROP_ROW_BASES, args, false);
}

/*
 * A conflict is resolved: where a row is in conflict, the side that is to follow
 * counts as if it had not moved.  So the base becomes what that side has, and the
 * next decision on the row is PUSH or PULL.  Rows that are equal have that as
 * their base, which they may lack before a first sync.  For keys whose source
 * keeps bases; connected to SPI.
 */
void
syncstate_resolve_row_bases(Datum type_key, bool ours)
{
	DiffJob		job;

	if (!begin_row_base_job(&job, type_key))
		return;
	write_row_bases(&job);
	write_resolved_bases(&job, ours ? SIDE_REMOTE : SIDE_LOCAL);
	PopActiveSnapshot();
}
