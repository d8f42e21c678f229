/*-------------------------------------------------------------------------
 *
 * hash.c
 *		XXH3 of bytes (128 or 64 bits), of the xxHash library,
 *		https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 *
 * The library is inlined from its header.  Of long inputs it makes the same hash
 * with wider registers in half the time, so on processors that have them those
 * are hashed by hash_avx2.c.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

/* Up to here XXH3 takes no loop that wide registers would help. */
#define LONGEST_SHORT 240

SyncstateHash
syncstate_hash_bytes(const char *bytes, Size length)
{
	XXH128_hash_t hash;

#ifdef SYNCSTATE_HASH_AVX2
	/* Reads a variable that is set when the process starts. */
	if (length > LONGEST_SHORT && __builtin_cpu_supports("avx2"))
		return syncstate_hash_long_avx2(bytes, length);
#endif
	/* Cases for any length vanish where it is known: so long is a packed number, as keys are. */
	hash = length == 9 ? XXH3_128bits(bytes, 9) : XXH3_128bits(bytes, length);
	return (SyncstateHash){.low = hash.low64, .high = hash.high64};
}

uint64
syncstate_hash64_bytes(const char *bytes, Size length)
{
#ifdef SYNCSTATE_HASH_AVX2
	if (length > LONGEST_SHORT && __builtin_cpu_supports("avx2"))
		return syncstate_hash64_long_avx2(bytes, length);
#endif
	return XXH3_64bits(bytes, length);
}
