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
