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
#include "input.h"

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

#endif							/* SYNCSTATE_DIGEST_H */
