/*-------------------------------------------------------------------------
 *
 * prefetch.h
 *		Memory that is asked for before it is needed.
 *
 * To ask for an address is harmless whatever is there, so all of this may guess.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_PREFETCH_H
#define SYNCSTATE_PREFETCH_H

/* Longer rows need not be asked for whole: the processor sees by itself how that goes on. */
#define SYNCSTATE_LONGEST_PREFETCH 1024
#define SYNCSTATE_CACHE_LINE 64

/* Always inlined, for GCC takes a call that only prefetches for one without effect, and drops it. */
static pg_attribute_always_inline void
syncstate_prefetch(const char *from, ptrdiff_t length)
{
	for (ptrdiff_t i = 0; i < length; i += SYNCSTATE_CACHE_LINE)
		__builtin_prefetch(from + i);
}

/* Where the rows of a scan were: see syncstate_prefetch_row(). */
typedef struct SyncstatePrefetch
{
	const char *last;			/* the row before */
	ptrdiff_t	stride;			/* how far apart the last two rows were; 0: not known, or too far */
} SyncstatePrefetch;

extern void syncstate_prefetch_row(const char *pointer, SyncstatePrefetch *prefetch);

#endif							/* SYNCSTATE_PREFETCH_H */
