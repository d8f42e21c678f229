/*-------------------------------------------------------------------------
 *
 * prefetch.c
 *		Rows that are asked for before a scan comes to them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "prefetch.h"

/*
 * Asks for memory that a scan comes to next, so that it is in the processor's cache
 * by then.  "pointer" is to the same place of every row.
 *
 * A page is filled from its end: the next row lies before this one, about as far
 * away as this one from the last.  It was asked for already; now it is the one after
 * it.  With the first row of a page, that is both; and what a scan reads when it
 * comes to the next page, which most often is the next one in memory, too: its
 * header and line pointers, and its first row.
 *
 * After a jump to somewhere else, nothing is asked for until two rows lie together
 * again: who changes single rows all over a table would only be held up.
 */
void
syncstate_prefetch_row(const char *pointer, SyncstatePrefetch *prefetch)
{
	ptrdiff_t	stride = prefetch->last - pointer;

	prefetch->last = pointer;
	if (stride > 0 && stride <= SYNCSTATE_LONGEST_PREFETCH)
	{
		prefetch->stride = stride;
		syncstate_prefetch(pointer - 2 * stride, stride);
	}
	else if (prefetch->stride > 0)
	{
		stride = prefetch->stride;
		prefetch->stride = 0;
		syncstate_prefetch(pointer - 2 * stride, 2 * stride);
		syncstate_prefetch(pointer + stride - SYNCSTATE_CACHE_LINE, 3 * SYNCSTATE_CACHE_LINE);
		syncstate_prefetch(pointer + BLCKSZ - SYNCSTATE_CACHE_LINE, stride);
	}
}
