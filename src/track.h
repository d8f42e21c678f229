/*-------------------------------------------------------------------------
 *
 * track.h
 *		What tracking consists of: triggers, pending deltas, and what counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_TRACK_H
#define SYNCSTATE_TRACK_H

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/uuid.h"

#include "source.h"

/* Columns of syncstate.sync_tracking_delta. */
enum
{
	Anum_delta_source_id = 1,
	Anum_delta_row_count,
	Anum_delta_sum_high,
	Anum_delta_sum_low,
	Natts_delta = Anum_delta_sum_low
};

/* What this transaction did to the digest of a source, at one level of nesting. */
typedef struct SyncstatePendingDelta
{
	struct SyncstatePendingDelta *next;
	pg_uuid_t	source_id;
	int			level;			/* as GetCurrentTransactionNestLevel() */
	CommandId	last_command;	/* the latest that it stands for */
	bool		ahead;			/* of rows that the transaction's snapshot may not see */
	SyncstateDigest digest;
} SyncstatePendingDelta;

static inline bool
syncstate_same_uuid(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN) == 0;
}

/* pending.c */
extern SyncstatePendingDelta *syncstate_pending_delta(const pg_uuid_t *source_id);
extern void syncstate_forget_pending(const pg_uuid_t *source_id);
extern bool syncstate_add_pending(const pg_uuid_t *source_id, Snapshot snapshot, SyncstateDigest *digest);
extern void syncstate_init_pending(void);

/* track.c */
#define TRIGGER_PREFIX "~syncstate_"
#define ROW_TRIGGER "track"
#define TRUNCATE_TRIGGER "track_truncate"

extern Datum syncstate_track(PG_FUNCTION_ARGS);
extern Datum syncstate_track_truncate(PG_FUNCTION_ARGS);
extern char *syncstate_trigger_name(const SyncstateSource *source, const char *what);
extern void syncstate_count_row(const Trigger *trigger, Relation rel, TupleTableSlot *old, TupleTableSlot *new);

/* direct.c */
extern void syncstate_init_direct(void);

#endif							/* SYNCSTATE_TRACK_H */
