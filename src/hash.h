/*-------------------------------------------------------------------------
 *
 * hash.h
 *		XXH3 of bytes, by the fastest instructions that the processor has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_HASH_H
#define SYNCSTATE_HASH_H

/* A 128-bit number: a hash, or a sum of hashes modulo 2^128. */
typedef struct SyncstateHash
{
	uint64		low;
	uint64		high;
} SyncstateHash;

#define SYNCSTATE_HASH_LENGTH 16

/*
 * GCC can compile one file for a processor that has AVX2, whatever the rest is
 * compiled for.  (The server's bitcode is made by clang, which takes that
 * differently; it does without.  So does who builds with -DSYNCSTATE_NO_AVX2, to
 * test that the hashes are the same.)
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(SYNCSTATE_NO_AVX2)
#define SYNCSTATE_HASH_AVX2
extern SyncstateHash syncstate_hash_long_avx2(const char *bytes, Size length);
extern uint64 syncstate_hash64_long_avx2(const char *bytes, Size length);
#endif

extern SyncstateHash syncstate_hash_bytes(const char *bytes, Size length);
extern uint64 syncstate_hash64_bytes(const char *bytes, Size length);

#endif							/* SYNCSTATE_HASH_H */
