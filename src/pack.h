/*-------------------------------------------------------------------------
 *
 * pack.h
 *		Rows as bytes, and their hashes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_PACK_H
#define SYNCSTATE_PACK_H

#include "fmgr.h"

#include "hash.h"
#include "prefetch.h"

static inline void
syncstate_hash_add(SyncstateHash *sum, SyncstateHash hash)
{
	sum->low += hash.low;
	sum->high += hash.high + (sum->low < hash.low);
}

static inline void
syncstate_hash_subtract(SyncstateHash *sum, SyncstateHash hash)
{
	uint64		borrow = sum->low < hash.low;

	sum->low -= hash.low;
	sum->high -= hash.high + borrow;
}

static inline bool
syncstate_hash_equal(SyncstateHash a, SyncstateHash b)
{
	return a.low == b.low && a.high == b.high;
}

/* How the values of one type are packed. */
typedef struct SyncstateTypePacker SyncstateTypePacker;

/* Packs rows of so many columns, one after the other into one buffer. */
typedef struct SyncstatePacker
{
	MemoryContext context;		/* of all that is kept from row to row */
	int			ncolumns;
	bool		converts;		/* is the database's encoding not UTF-8? */
	SyncstateTypePacker *columns;
	char	   *buffer;
	Size		used;
	Size		size;
	int			first_by_reference; /* column; ncolumns if there is none */
	SyncstatePrefetch prefetch;
	int			key_columns;	/* of a sketch */
	Size		key_length;		/* of those, packed, where none is NULL; 0: it varies */
} SyncstatePacker;

extern bool syncstate_is_packable(Oid type);
extern SyncstatePacker *syncstate_make_packer(MemoryContext context, int ncolumns, const Oid *types);
extern SyncstatePacker *syncstate_packer_of_args(FunctionCallInfo fcinfo, MemoryContext context, int from);
extern Size syncstate_pack_row_with_key(SyncstatePacker *packer, const NullableDatum *values, int key_columns);
extern SyncstateHash syncstate_pack_and_hash(SyncstatePacker *packer, const NullableDatum *values);
extern void syncstate_trim_packer(SyncstatePacker *packer);
extern void syncstate_prefetch_next_row(SyncstatePacker *packer, const NullableDatum *values);

extern char *syncstate_store_uint64(char *out, uint64 value);
extern const char *syncstate_load_uint64(const char *in, uint64 *value);
extern char *syncstate_store_hash(char *out, SyncstateHash hash);
extern const char *syncstate_load_hash(const char *in, SyncstateHash *hash);

#endif							/* SYNCSTATE_PACK_H */
