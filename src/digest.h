/*-------------------------------------------------------------------------
 *
 * digest.h
 *		Digests of rows, and what aggregates over rows share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_DIGEST_H
#define SYNCSTATE_DIGEST_H

#include "compat.h"
#include "pack.h"

/* How many rows, and the sum of their hashes. */
typedef struct SyncstateDigest
{
	int64		rows;
	SyncstateHash sum;
} SyncstateDigest;

static inline void
syncstate_add_digest(SyncstateDigest *total, const SyncstateDigest *other)
{
	total->rows += other->rows;
	syncstate_hash_add(&total->sum, other->sum);
}

static inline void
syncstate_subtract_digest(SyncstateDigest *total, const SyncstateDigest *other)
{
	total->rows -= other->rows;
	syncstate_hash_subtract(&total->sum, other->sum);
}

static inline bool
syncstate_digests_equal(const SyncstateDigest *a, const SyncstateDigest *b)
{
	return a->rows == b->rows && syncstate_hash_equal(a->sum, b->sum);
}

extern text *syncstate_digest_text(const SyncstateDigest *digest);
extern bool syncstate_parse_digest(const text *digest, SyncstateDigest *result);
extern MemoryContext syncstate_aggregate_context(FunctionCallInfo fcinfo);
pg_noreturn extern void syncstate_report_bad_state(void);

/* The packer of a call site, for arguments from number "from" on. */
static inline SyncstatePacker *
syncstate_kept_packer(FunctionCallInfo fcinfo, int from)
{
	if (unlikely(fcinfo->flinfo->fn_extra == NULL))
		fcinfo->flinfo->fn_extra = syncstate_packer_of_args(fcinfo, fcinfo->flinfo->fn_mcxt, from);
	return (SyncstatePacker *) fcinfo->flinfo->fn_extra;
}

#endif							/* SYNCSTATE_DIGEST_H */
