/*-------------------------------------------------------------------------
 *
 * digest.c
 *		sync_row_hash, and the aggregate sync_digest.
 *
 * The digest of a multiset of rows is how many they are, and the sum of their
 * hashes modulo 2^128.  A sum and not an exclusive or, in which two equal
 * changes would cancel each other; and a sum of good hashes and not of checksums
 * that are linear.  (An additive multiset hash in the sense of Clarke et al.,
 * "Incremental Multiset Hash Functions", 2003, with a hash that is not
 * cryptographic: it finds drift, not forgery.)
 *
 * Addition knows no order and has an inverse, so the digest can be computed in
 * parallel, moved along a window and kept up to date row by row.
 *
 * The state of the aggregate is just the two numbers; the packer, which is
 * costly to make, is kept per call site, for all groups.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "digest.h"
#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_row_hash);
PG_FUNCTION_INFO_V1(syncstate_row_hash);
PG_FUNCTION_INFO_V1(syncstate_digest_add);
PG_FUNCTION_INFO_V1(syncstate_digest_remove);
PG_FUNCTION_INFO_V1(syncstate_digest_combine);
PG_FUNCTION_INFO_V1(syncstate_digest_serialize);
PG_FUNCTION_INFO_V1(syncstate_digest_deserialize);
PG_FUNCTION_INFO_V1(syncstate_digest_final);

#define SERIALIZED_LETTER 'D'
#define SERIALIZED_LENGTH (1 + sizeof(uint64) + SYNCSTATE_HASH_LENGTH)

/* As people and functions see it: the sum in hex, and how many rows. */
text *
syncstate_digest_text(const SyncstateDigest *digest)
{
	return cstring_to_text(psprintf("%016llx%016llx:%lld",
									(unsigned long long) digest->sum.high,
									(unsigned long long) digest->sum.low,
									(long long) digest->rows));
}

/* The digest that syncstate_digest_text() wrote; false if it wrote something else. */
bool
syncstate_parse_digest(const text *digest, SyncstateDigest *result)
{
	char	   *string = text_to_cstring(digest);
	unsigned long long high;
	unsigned long long low;
	long long rows;

	if (sscanf(string, "%16llx%16llx:%lld", &high, &low, &rows) != 3)
		return false;
	result->sum.high = high;
	result->sum.low = low;
	result->rows = rows;
	return rows >= 0 && strcmp(text_to_cstring(syncstate_digest_text(result)), string) == 0;
}

/* The context that the state of an aggregate lives in; refuses any other call. */
MemoryContext
syncstate_aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the function is a part of an aggregate and cannot be called by itself")));
	return context;
}

/* A state came from another process, but not as this extension wrote it. */
void
syncstate_report_bad_state(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid serialized state of an aggregate")));
}

/*
 * sync_row_hash(VARIADIC "any") returns bytea: 16 bytes, most significant first
 */
Datum
sync_row_hash(PG_FUNCTION_ARGS)
{
	SyncstatePacker *packer = syncstate_kept_input(fcinfo, 0)->packer;
	bytea	   *result = palloc(VARHDRSZ + SYNCSTATE_HASH_LENGTH);

	SET_VARSIZE(result, VARHDRSZ + SYNCSTATE_HASH_LENGTH);
	syncstate_store_hash(VARDATA(result), syncstate_pack_and_hash(packer, fcinfo->args));
	PG_RETURN_BYTEA_P(result);
}

/*
 * syncstate.sync_row_hash(VARIADIC "any"): the same, for the extension's statements
 */
Datum
syncstate_row_hash(PG_FUNCTION_ARGS)
{
	return sync_row_hash(fcinfo);
}

static pg_noinline SyncstateDigest *
new_digest(FunctionCallInfo fcinfo)
{
	return MemoryContextAllocZero(syncstate_aggregate_context(fcinfo), sizeof(SyncstateDigest));
}

/*
 * syncstate.digest_add(internal, VARIADIC "any"): one more row, or several (input.c)
 */
Datum
syncstate_digest_add(PG_FUNCTION_ARGS)
{
	SyncstateDigest *digest = PG_ARGISNULL(0) ? new_digest(fcinfo)
		: (SyncstateDigest *) PG_GETARG_POINTER(0);
	SyncstateInput *input = syncstate_kept_input(fcinfo, 1);
	const NullableDatum *row = syncstate_first_row(input, fcinfo->args + 1);

	for (; row != NULL; row = syncstate_next_row(input))
	{
		syncstate_hash_add(&digest->sum, syncstate_pack_and_hash(input->packer, row));
		digest->rows++;
	}
	PG_RETURN_POINTER(digest);
}

/*
 * syncstate.digest_remove(internal, VARIADIC "any"): a row that leaves the window
 */
Datum
syncstate_digest_remove(PG_FUNCTION_ARGS)
{
	SyncstateDigest *digest = PG_ARGISNULL(0) ? new_digest(fcinfo)
		: (SyncstateDigest *) PG_GETARG_POINTER(0);
	SyncstatePacker *packer = syncstate_kept_input(fcinfo, 1)->packer;

	syncstate_hash_subtract(&digest->sum, syncstate_pack_and_hash(packer, fcinfo->args + 1));
	digest->rows--;
	PG_RETURN_POINTER(digest);
}

/*
 * syncstate.digest_combine(internal, internal)
 *
 * Either may be NULL: that one has seen no row.  The first is ours to change;
 * the second may live in a context that is gone after the call.
 */
Datum
syncstate_digest_combine(PG_FUNCTION_ARGS)
{
	SyncstateDigest *total;
	SyncstateDigest *other;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	total = PG_ARGISNULL(0) ? new_digest(fcinfo) : (SyncstateDigest *) PG_GETARG_POINTER(0);
	other = (SyncstateDigest *) PG_GETARG_POINTER(1);

	syncstate_add_digest(total, other);
	PG_RETURN_POINTER(total);
}

/*
 * syncstate.digest_serialize(internal) returns bytea
 */
Datum
syncstate_digest_serialize(PG_FUNCTION_ARGS)
{
	SyncstateDigest *digest;
	bytea	   *result = palloc(VARHDRSZ + SERIALIZED_LENGTH);
	char	   *out = VARDATA(result);

	(void) syncstate_aggregate_context(fcinfo);
	digest = (SyncstateDigest *) PG_GETARG_POINTER(0);
	SET_VARSIZE(result, VARHDRSZ + SERIALIZED_LENGTH);
	*out++ = SERIALIZED_LETTER;
	out = syncstate_store_uint64(out, (uint64) digest->rows);
	syncstate_store_hash(out, digest->sum);
	PG_RETURN_BYTEA_P(result);
}

/*
 * syncstate.digest_deserialize(bytea, internal) returns internal
 */
Datum
syncstate_digest_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *serialized;
	SyncstateDigest *digest;
	const char *in;
	uint64		rows;

	(void) syncstate_aggregate_context(fcinfo);
	serialized = PG_GETARG_BYTEA_PP(0);
	in = VARDATA_ANY(serialized);
	if (VARSIZE_ANY_EXHDR(serialized) != SERIALIZED_LENGTH || *in++ != SERIALIZED_LETTER)
		syncstate_report_bad_state();

	digest = palloc_object(SyncstateDigest);
	in = syncstate_load_uint64(in, &rows);
	digest->rows = (int64) rows;
	syncstate_load_hash(in, &digest->sum);
	PG_RETURN_POINTER(digest);
}

/*
 * syncstate.digest_final(internal) returns text
 *
 * No rows are a digest too: an empty table is not one that is absent.
 */
Datum
syncstate_digest_final(PG_FUNCTION_ARGS)
{
	SyncstateDigest none = {0};

	(void) syncstate_aggregate_context(fcinfo);
	PG_RETURN_TEXT_P(syncstate_digest_text(PG_ARGISNULL(0) ? &none : (SyncstateDigest *) PG_GETARG_POINTER(0)));
}
