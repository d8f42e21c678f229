/*-------------------------------------------------------------------------
 *
 * hash_avx2.c
 *		XXH3 of long inputs, compiled for processors with AVX2.
 *
 * Called only where there is one; see hash.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "hash.h"

#ifdef SYNCSTATE_HASH_AVX2

#pragma GCC target("avx2")
#define XXH_VECTOR XXH_AVX2
#define XXH_INLINE_ALL
#include <xxhash.h>

SyncstateHash
syncstate_hash_long_avx2(const char *bytes, Size length)
{
	XXH128_hash_t hash = XXH3_128bits(bytes, length);

	return (SyncstateHash){.low = hash.low64, .high = hash.high64};
}

uint64
syncstate_hash64_long_avx2(const char *bytes, Size length)
{
	return XXH3_64bits(bytes, length);
}

#endif							/* SYNCSTATE_HASH_AVX2 */
