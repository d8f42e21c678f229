/*-------------------------------------------------------------------------
 *
 * direct.c
 *		Rows of tracked tables that are counted where they are written.
 *
 * Of what an AFTER ROW trigger costs, most is the server's: each row is noted in a
 * queue, read again when the statement ends, and handed to the function.  But a
 * sum may be added to at once: in whatever order, and if the statement fails, what
 * it has added goes with its level.  So in statements that begin once the library
 * is in the session, the rows are counted while the statement writes them, in one
 * of two ways.  The executor has a copy of a table's triggers for each statement;
 * nothing else is touched.
 *
 * Where the trigger is asked.  The server looks whether a trigger is to be queued
 * after the row was written and with both of its versions at hand: where a condition
 * (WHEN) would be evaluated.  It has a place for what each condition was compiled
 * to; there we put a function of ours, which counts, and says no.
 *
 * Where the next row is asked for.  For that an UPDATE reads the old version of each
 * row a second time, only to show it to triggers.  If ours are the only ones to be
 * asked, the server is told that there are none, and when it asks the plan below for
 * the next row, the last one is counted: both of its versions are still in the slots
 * that the row was made in.  That they belong together can be seen: the old one, in
 * its page, points to the new one.  And when the statement ends, as many rows have
 * been counted as it says that it wrote, or it fails.
 *
 * Rows that the executor writes without being asked by a statement (COPY, logical
 * replication), or to partitions which it finds while it runs, go through the queue.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "track.h"

/* ------------------------------------------------------------ which are ours */

/* The function syncstate.track, as last looked up; InvalidOid: it is not ours now. */
static Oid	track_function = InvalidOid;
static bool track_function_is_known = false;

static void
forget_track_function(Datum arg, int cacheid, uint32 hashvalue)
{
	track_function_is_known = false;
}

static void
look_up_track_function(void)
{
	oidvector  *no_arguments = buildoidvector(NULL, 0);
	Oid			found;
	FmgrInfo	function;

	/* An invalidation that arrives meanwhile is of something newer; an error leaves none. */
	track_function = InvalidOid;
	track_function_is_known = true;
	found = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("track"),
							PointerGetDatum(no_arguments),
							ObjectIdGetDatum(get_namespace_oid("syncstate", true)));
	if (!OidIsValid(found))
		return;
	fmgr_info(found, &function);
	if (function.fn_addr == syncstate_track)
		track_function = found;
}

static bool
calls_track_function(const Trigger *trigger)
{
	static const char prefix[] = TRIGGER_PREFIX ROW_TRIGGER "_";

	/* Of the triggers of others, only those that are named like ours are worth a look. */
	if (!track_function_is_known)
	{
		if (strncmp(trigger->tgname, prefix, strlen(prefix)) != 0)
			return false;
		look_up_track_function();
	}
	return trigger->tgfoid == track_function;
}

/* Is it one of ours, which asks for nothing but each row after it was written? */
static bool
may_count_directly(const Trigger *trigger)
{
	return TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
		trigger->tgqual == NULL && calls_track_function(trigger);
}

/* ----------------------------------------------- where the trigger is asked */

typedef struct DirectTrigger
{
	ExprState	condition;		/* what the server takes it for; must be first */
	EState	   *estate;
	ResultRelInfo *written;
	const Trigger *trigger;
} DirectTrigger;

/*
 * The slot that a row was written from is most often of the table's own kind.  But
 * INSERT … SELECT * may hand over a row of another table as it lies there, and if
 * that is shorter (columns were added there, too), it has NULL where the same bytes in
 * this table have the default of a column that was added here.
 */
static bool
may_be_read_differently(const TupleTableSlot *slot, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	return desc->constr != NULL && desc->constr->missing != NULL && slot->tts_tupleDescriptor != desc;
}

/* Counts a row that was written as it is read from the table. */
static void
count_stored_row(const DirectTrigger *direct, TupleTableSlot *old, TupleTableSlot *new)
{
	Relation	rel = direct->written->ri_RelationDesc;
	TupleTableSlot *stored = ExecGetTriggerNewSlot(direct->estate, direct->written);

	if (!table_tuple_fetch_row_version(rel, &new->tts_tid, SnapshotAny, stored))
		elog(ERROR, "could not read the row that was written");
	syncstate_count_row(direct->trigger, rel, old, stored);
	ExecClearTuple(stored);
}

static Datum
count_when_asked(ExprState *state, ExprContext *econtext, bool *isnull)
{
	const DirectTrigger *direct = (const DirectTrigger *) state;
	Relation	rel = direct->written->ri_RelationDesc;
	TupleTableSlot *old = econtext->ecxt_innertuple;
	TupleTableSlot *new = econtext->ecxt_outertuple;

	if (!TupIsNull(new) && may_be_read_differently(new, rel))
		count_stored_row(direct, old, new);
	else
		syncstate_count_row(direct->trigger, rel, old, new);
	*isnull = false;
	return BoolGetDatum(false);
}

/* Has the triggers of ours on a table that a statement writes asked so. */
static void
ask_our_triggers(EState *estate, ResultRelInfo *written)
{
	TriggerDesc *triggers = written->ri_TrigDesc;

	/* A partitioned table has no rows; the triggers that it passes on are not for itself. */
	if (triggers == NULL || written->ri_RelationDesc->rd_rel->relkind != RELKIND_RELATION)
		return;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger	   *trigger = &triggers->triggers[i];
		DirectTrigger *direct;

		if (!may_count_directly(trigger))
			continue;

		direct = MemoryContextAllocZero(estate->es_query_cxt, sizeof(DirectTrigger));
		direct->condition.type = T_ExprState;
		direct->condition.flags = EEO_FLAG_IS_QUAL;
		direct->condition.evalfunc = count_when_asked;
		direct->estate = estate;
		direct->written = written;
		direct->trigger = trigger;
		written->ri_TrigWhenExprs[i] = &direct->condition;

		/* Whatever is not NULL: it is not read, for it has been compiled. */
		trigger->tgqual = trigger->tgname;
	}
}

/* --------------------------------------------- where the next row is asked for */

/* An UPDATE that runs, or has failed and is about to be cleared away. */
typedef struct DirectUpdate
{
	struct DirectUpdate *next;
	EState	   *estate;
	ResultRelInfo *written;
	PlanState  *source;			/* what the rows to be updated come from */
	ExecProcNodeMtd next_row;	/* what it did before */
	uint64		counted;
	MemoryContextCallback callback;
} DirectUpdate;

/* The innermost first. */
static DirectUpdate *updates = NULL;

static void
forget_update(void *arg)
{
	for (DirectUpdate **link = &updates; *link != NULL; link = &(*link)->next)
	{
		if (*link == arg)
		{
			*link = (*link)->next;
			break;
		}
	}
}

/*
 * Counts the row that was updated last.  The slot of its new version is emptied as the
 * next one is made, and has no place as long as that has not been written.
 */
static void
count_last_row(DirectUpdate *update)
{
	ResultRelInfo *written = update->written;
	TupleTableSlot *old = written->ri_oldTupleSlot;
	TupleTableSlot *new = written->ri_newTupleSlot;
	const TriggerDesc *triggers = written->ri_TrigDesc;

	if (new == NULL || TTS_EMPTY(new) || !ItemPointerIsValid(&new->tts_tid))
		return;
	if (TTS_EMPTY(old) || !TTS_IS_BUFFERTUPLE(old) ||
		!ItemPointerEquals(&((BufferHeapTupleTableSlot *) old)->base.tuple->t_data->t_ctid, &new->tts_tid))
		elog(ERROR, "the new version of a row does not belong to the old one");

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_UPDATE(trigger->tgtype) && TRIGGER_FOR_ROW(trigger->tgtype))
			syncstate_count_row(trigger, written->ri_RelationDesc, old, new);
	}
	update->counted++;
}

static TupleTableSlot *
count_and_go_on(PlanState *source)
{
	DirectUpdate *update = updates;

	while (update->source != source)
		update = update->next;
	count_last_row(update);
	return update->next_row(source);
}

/* Are the row triggers of an UPDATE, of whatever time, all ours? */
static bool
are_all_ours(const TriggerDesc *triggers)
{
	bool		any = false;

	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (!TRIGGER_FOR_UPDATE(trigger->tgtype) || !TRIGGER_FOR_ROW(trigger->tgtype))
			continue;
		if (!may_count_directly(trigger) || trigger->tgenabled != TRIGGER_FIRES_ALWAYS || trigger->tgnattr > 0)
			return false;
		any = true;
	}
	return any;
}

/*
 * A plan that is an UPDATE of one table, with nothing to be done after a row was
 * written but to count it.  Who measures the nodes of the plan would be told that
 * the one below is what takes the time, so there the triggers are asked.
 */
static bool
updates_only_for_us(const PlanState *plan)
{
	const ModifyTableState *update = (const ModifyTableState *) plan;
	const ResultRelInfo *written;

	if (!IsA(plan, ModifyTableState) || update->operation != CMD_UPDATE || !update->canSetTag ||
		outerPlanState(plan)->instrument != NULL)
		return false;
	written = update->resultRelInfo;

	/* There may be other ones if it is below one that is partitioned or inherited from. */
	return written == update->rootResultRelInfo &&
		written->ri_RelationDesc->rd_rel->relkind == RELKIND_RELATION &&
		written->ri_RelationDesc->rd_rel->relam == HEAP_TABLE_AM_OID &&
		written->ri_projectReturning == NULL &&
		written->ri_TrigDesc != NULL &&
		are_all_ours(written->ri_TrigDesc);
}

static ResultRelInfo *
count_between_rows(EState *estate, ModifyTableState *plan)
{
	DirectUpdate *update = MemoryContextAllocZero(estate->es_query_cxt, sizeof(DirectUpdate));
	PlanState  *source = outerPlanState(plan);

	update->estate = estate;
	update->written = plan->resultRelInfo;
	update->source = source;
	update->next_row = source->ExecProcNodeReal;
	update->callback.func = forget_update;
	update->callback.arg = update;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, &update->callback);
	update->next = updates;
	updates = update;

	source->ExecProcNodeReal = count_and_go_on;
	update->written->ri_TrigDesc->trig_update_after_row = false;
	return update->written;
}

/* ------------------------------------------------------- statements begin, and end */

static ExecutorStart_hook_type next_ExecutorStart = NULL;
static ExecutorFinish_hook_type next_ExecutorFinish = NULL;

static void
start_executor(QueryDesc *query, int eflags)
{
	EState	   *estate;
	ResultRelInfo *between_rows = NULL;
	ListCell   *cell;

	if (next_ExecutorStart != NULL)
		next_ExecutorStart(query, eflags);
	else
		standard_ExecutorStart(query, eflags);

	estate = query->estate;
	if (updates_only_for_us(query->planstate))
		between_rows = count_between_rows(estate, (ModifyTableState *) query->planstate);
	foreach(cell, estate->es_opened_result_relations)
	{
		ResultRelInfo *written = lfirst(cell);

		if (written != between_rows)
			ask_our_triggers(estate, written);
	}
}

static void
finish_executor(QueryDesc *query)
{
	for (DirectUpdate *update = updates; update != NULL; update = update->next)
	{
		if (update->estate == query->estate && update->counted != query->estate->es_processed)
			elog(ERROR, "counted " UINT64_FORMAT " rows, but " UINT64_FORMAT " were updated",
				 update->counted, query->estate->es_processed);
	}
	if (next_ExecutorFinish != NULL)
		next_ExecutorFinish(query);
	else
		standard_ExecutorFinish(query);
}

void
syncstate_init_direct(void)
{
	CacheRegisterSyscacheCallback(PROCOID, forget_track_function, (Datum) 0);
	next_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
	next_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish_executor;
}
