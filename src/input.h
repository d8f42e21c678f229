/*-------------------------------------------------------------------------
 *
 * input.h
 *		The rows that an aggregate is called for.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_INPUT_H
#define SYNCSTATE_INPUT_H

#include "pack.h"

/* A sequential scan whose rows an aggregate takes by itself: see input.c. */
typedef struct SyncstateScan SyncstateScan;

/* What is kept from row to row for a call site, for all groups. */
typedef struct SyncstateInput
{
	SyncstatePacker *packer;
	SyncstateScan *scan;		/* NULL: the rows come one by one */
} SyncstateInput;

extern SyncstateInput *syncstate_make_input(FunctionCallInfo fcinfo, int from);
extern void syncstate_begin_page(SyncstateScan *scan);
extern const NullableDatum *syncstate_next_on_page(SyncstateScan *scan);

/* For a function whose arguments are columns from number "from" on. */
static inline SyncstateInput *
syncstate_kept_input(FunctionCallInfo fcinfo, int from)
{
	if (unlikely(fcinfo->flinfo->fn_extra == NULL))
		fcinfo->flinfo->fn_extra = syncstate_make_input(fcinfo, from);
	return (SyncstateInput *) fcinfo->flinfo->fn_extra;
}

/* The row that an aggregate is called for: the first one of this call. */
static inline const NullableDatum *
syncstate_first_row(SyncstateInput *input, const NullableDatum *row)
{
	if (input->scan != NULL)
		syncstate_begin_page(input->scan);
	else
		syncstate_prefetch_next_row(input->packer, row);
	return row;
}

/*
 * The next row of this call, or NULL.  Rows are in a memory context of their own, but
 * for the first one; the caller's is current again behind the last one.
 */
static inline const NullableDatum *
syncstate_next_row(SyncstateInput *input)
{
	return input->scan == NULL ? NULL : syncstate_next_on_page(input->scan);
}

#endif							/* SYNCSTATE_INPUT_H */
