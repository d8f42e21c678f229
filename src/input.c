/*-------------------------------------------------------------------------
 *
 * input.c
 *		The rows that an aggregate is called for.
 *
 * An aggregate is called for each row, and to hand one row after the other through
 * the executor takes the server longer than it takes us to hash a short one.  But in
 *
 *		SELECT sync_digest(id, title) FROM article
 *
 * nothing happens to the rows on their way, and the scan knows all those of a page
 * which the statement sees as soon as it comes to the page.  So when it hands over
 * the first one, the aggregate takes the others from the page by itself, and leaves
 * the scan at the last one, from where that goes on to the next page.  Workers of a
 * parallel scan do so, too, for they are given pages, not rows.
 *
 * That is done only where no one misses the rows: the plan is a plain Agg over a
 * sequential scan of a heap by pages (as of every MVCC snapshot), ours is its only
 * aggregate, the arguments are columns as they are, and nothing filters, sorts or
 * counts (EXPLAIN ANALYZE) what passes.  Else they come one by one.
 *
 * It takes fields of HeapScanDescData and AggState, from public headers of the
 * server; that a scan by pages goes on behind rs_cindex is so in 15 to 18.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "input.h"
#include "syncstate.h"

struct SyncstateScan
{
	SeqScanState *node;
	MemoryContext row_context;	/* of what packing a row allocates */
	MemoryContext caller;		/* what was current before */
	TupleTableSlot *slot;
	HeapTupleData tuple;		/* that the slot holds */
	AttrNumber	last_attnum;
	int			ncolumns;
	AttrNumber *attnums;
	NullableDatum *values;
};

/* The column that an argument of the aggregate is, as it is in the table; else 0. */
static AttrNumber
column_of_argument(const Expr *argument, const SeqScanState *node)
{
	const Var  *var = (const Var *) argument;

	if (!IsA(var, Var) || var->varno != OUTER_VAR || var->varattno <= 0)
		return 0;
	var = (const Var *) list_nth_node(TargetEntry, node->ss.ps.plan->targetlist, var->varattno - 1)->expr;
	return IsA(var, Var) ? Max(var->varattno, 0) : 0;
}

/* Is it the same for all rows? */
static bool
is_constant(const Expr *argument)
{
	return IsA(argument, Const) ||
		(IsA(argument, Param) && ((const Param *) argument)->paramkind == PARAM_EXTERN);
}

/* The sequential scan whose rows go to this aggregate and nowhere else, as they are; or NULL. */
static SeqScanState *
scan_below(const AggState *aggregate, const Aggref *aggref)
{
	SeqScanState *node = (SeqScanState *) outerPlanState(aggregate);

	if (aggregate->aggstrategy != AGG_PLAIN || aggregate->maxsets != 1 || aggregate->numtrans != 1 ||
		aggref->aggfilter != NULL || aggref->aggorder != NIL || aggref->aggdistinct != NIL)
		return NULL;
	if (node == NULL || !IsA(node, SeqScanState) ||
		node->ss.ps.qual != NULL || node->ss.ps.instrument != NULL ||
		node->ss.ps.state->es_epq_active != NULL ||
		!ScanDirectionIsForward(node->ss.ps.state->es_direction) ||
		node->ss.ss_currentRelation->rd_tableam != GetHeapamTableAmRoutine() ||
		(node->ss.ss_currentScanDesc->rs_flags & SO_ALLOW_PAGEMODE) == 0)
		return NULL;
	return node;
}

/* Fills in where the columns are; false if not all of the arguments are what is needed. */
static bool
find_columns(SyncstateScan *scan, const Aggref *aggref, int from)
{
	for (int i = 0; i < list_length(aggref->args); i++)
	{
		const Expr *argument = list_nth_node(TargetEntry, aggref->args, i)->expr;
		int			column = i + 1 - from;
		AttrNumber	attnum;

		if (column < 0 && is_constant(argument))
			continue;
		attnum = column < 0 ? 0 : column_of_argument(argument, scan->node);
		if (attnum == 0)
			return false;
		scan->attnums[column] = attnum;
		scan->last_attnum = Max(scan->last_attnum, attnum);
	}
	return true;
}

/* The scan that the aggregate of a call may take rows from, or NULL. */
static SyncstateScan *
make_scan(FunctionCallInfo fcinfo, int from)
{
	const Aggref *aggref;
	SeqScanState *node;
	SyncstateScan *scan;

	if (AggCheckCallContext(fcinfo, NULL) != AGG_CONTEXT_AGGREGATE)
		return NULL;
	aggref = AggGetAggref(fcinfo);
	node = aggref == NULL ? NULL : scan_below((const AggState *) fcinfo->context, aggref);
	if (node == NULL)
		return NULL;

	scan = palloc0_object(SyncstateScan);
	scan->node = node;
	scan->ncolumns = PG_NARGS() - from;
	scan->attnums = palloc_array(AttrNumber, scan->ncolumns);
	scan->values = palloc_array(NullableDatum, scan->ncolumns);
	if (!find_columns(scan, aggref, from))
		return NULL;
	/* A copy of the descriptor needs no resource owner to release it. */
	scan->slot = MakeTupleTableSlot(CreateTupleDescCopyConstr(RelationGetDescr(node->ss.ss_currentRelation)),
									&TTSOpsHeapTuple);
	scan->row_context = AllocSetContextCreate(CurrentMemoryContext, "syncstate row", ALLOCSET_DEFAULT_SIZES);
	return scan;
}

SyncstateInput *
syncstate_make_input(FunctionCallInfo fcinfo, int from)
{
	MemoryContext old_context = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	SyncstateInput *input = palloc_object(SyncstateInput);

	input->packer = syncstate_packer_of_args(fcinfo, CurrentMemoryContext, from);
	input->scan = make_scan(fcinfo, from);
	MemoryContextSwitchTo(old_context);
	return input;
}

/* ------------------------------------------------------------- rows of a page */

static HeapScanDesc
heap_of(const SyncstateScan *scan)
{
	return (HeapScanDesc) scan->node->ss.ss_currentScanDesc;
}

/* Rows that are asked for before they are needed: less is late, more has no use. */
#define ROWS_AHEAD 2

static pg_attribute_always_inline void
prefetch_tuple(Page page, const HeapScanDesc heap, int index, ptrdiff_t offset)
{
	ItemId		item = PageGetItemId(page, heap->rs_vistuples[index]);

	syncstate_prefetch((const char *) PageGetItem(page, item) + offset,
					   Min(ItemIdGetLength(item), SYNCSTATE_LONGEST_PREFETCH));
}

/*
 * Asks for the row of that number.  Behind the last one comes the next page, most
 * often the next one in memory, too: its header and line pointers, and its first
 * rows, which lie about where they do here.
 */
static pg_attribute_always_inline void
prefetch_row(Page page, const HeapScanDesc heap, int index)
{
	int			ntuples = (int) heap->rs_ntuples;

	if (index < ntuples)
		prefetch_tuple(page, heap, index, 0);
	else if (index - ntuples < ntuples)
	{
		if (index == ntuples)
			syncstate_prefetch((const char *) page + BLCKSZ,
							   SizeOfPageHeaderData + ntuples * sizeof(ItemIdData));
		prefetch_tuple(page, heap, index - ntuples, BLCKSZ);
	}
}

/* The scan has come to a page and handed over its first row. */
void
syncstate_begin_page(SyncstateScan *scan)
{
	HeapScanDesc heap = heap_of(scan);
	Page		page = BufferGetPage(heap->rs_cbuf);

	scan->caller = CurrentMemoryContext;
	for (int i = 1; i <= ROWS_AHEAD; i++)
		prefetch_row(page, heap, (int) heap->rs_cindex + i);
}

/* The row that the scan would hand over next, if it is on the same page. */
const NullableDatum *
syncstate_next_on_page(SyncstateScan *scan)
{
	HeapScanDesc heap = heap_of(scan);
	int			index = (int) heap->rs_cindex + 1;
	Page		page;
	ItemId		item;

	if (index >= (int) heap->rs_ntuples)
	{
		MemoryContextSwitchTo(scan->caller);
		return NULL;
	}
	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(scan->row_context);
	MemoryContextSwitchTo(scan->row_context);

	heap->rs_cindex = index;
	pgstat_count_heap_getnext(heap->rs_base.rs_rd);
	page = BufferGetPage(heap->rs_cbuf);
	prefetch_row(page, heap, index + ROWS_AHEAD);

	item = PageGetItemId(page, heap->rs_vistuples[index]);
	scan->tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
	scan->tuple.t_len = ItemIdGetLength(item);
	ExecStoreHeapTuple(&scan->tuple, scan->slot, false);
	slot_getsomeattrs(scan->slot, scan->last_attnum);
	for (int i = 0; i < scan->ncolumns; i++)
	{
		int			column = scan->attnums[i] - 1;

		scan->values[i] = (NullableDatum){.value = scan->slot->tts_values[column],
										  .isnull = scan->slot->tts_isnull[column]};
	}
	return scan->values;
}
