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

extern text *syncstate_digest_text(const SyncstateDigest *digest);
extern bool syncstate_parse_digest(const text *digest, SyncstateDigest *result);
extern SyncstatePacker *syncstate_kept_packer(FunctionCallInfo fcinfo, int from);
extern MemoryContext syncstate_aggregate_context(FunctionCallInfo fcinfo);
pg_noreturn extern void syncstate_report_bad_state(void);

#endif							/* SYNCSTATE_DIGEST_H */
