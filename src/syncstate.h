/*-------------------------------------------------------------------------
 *
 * syncstate.h
 *		What the files of the extension share.
 *
 * The rooms, from the inside out:
 *
 *	decide.c	the three-way decision on hashes; no table, no SPI
 *	args.c		checks of arguments, and errors that several functions raise
 *	plans.c		every SQL statement, prepared and kept
 *	lookup.c	a row of sync_state by its key, past SPI
 *	partial.c	partial states in JSON
 *	delta.c		deciding on stored rows: delta, plan_for
 *	observe.c	recording what a change detector saw
 *	state.c		recording and reading states
 *	mark.c		recording a sync
 *	run.c		begin, checkpoint, finish, interruption
 *	resolve.c	resolving conflicts
 *	cursor.c	positions in the change feed, as text
 *	feed.c		the change feed
 *	notify.c	telling listeners of changes
 *	touch.c		the triggers of sync_state
 *	hash.c		XXH3 of bytes; hash_avx2.c, with wider registers
 *	pack.c		rows as bytes, and their hashes
 *	input.c		the rows of a page, for an aggregate, past the executor; prefetch.c
 *	digest.c	fingerprints of rows: sync_row_hash, sync_digest
 *	sketch.c	sketches of rows, from which differences can be read
 *	source.c	attached sources, and measuring them
 *	track.c		the triggers that keep the digest of a table
 *	direct.c	rows that are counted where they are written, past the triggers' queue
 *	pending.c	what a transaction has done to digests that are kept
 *	tracking.c	whether a digest that was kept counts: track, verify
 *	diff.c		rows that differ between the sides of a source
 *	import.c	adopting a hand-made table
 *	admin.c		pruning and repairing
 *	canonical.c	hashes of documents (RFC 8785) and of text
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_H
#define SYNCSTATE_H

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "compat.h"

/* Columns of syncstate.sync_state, in the order of the install script. */
enum SyncstateColumn
{
	Anum_sync_state_type_key = 1,
	Anum_sync_state_local_hash,
	Anum_sync_state_remote_hash,
	Anum_sync_state_last_synced_hash,
	Anum_sync_state_last_sync_at,
	Anum_sync_state_sync_status,
	Anum_sync_state_conflict_status,
	Anum_sync_state_sync_progress,
	Anum_sync_state_created_at,
	Anum_sync_state_updated_at,
	Anum_sync_state_last_synced_remote_hash,
	Anum_sync_state_run_id,
	Anum_sync_state_run_number,
	Anum_sync_state_lease_expires_at,
	Anum_sync_state_changed_xid,
	Natts_sync_state = Anum_sync_state_changed_xid
};

/* Triggers of syncstate.sync_state, as the install script names them. */
#define SYNCSTATE_TOUCH_TRIGGER "~syncstate_touch"
#define SYNCSTATE_ENTOMB_TRIGGER "~syncstate_entomb"
#define SYNCSTATE_TRUNCATE_TRIGGER "~syncstate_refuse_truncate"
#define SYNCSTATE_ANNOUNCE_TRIGGER "~syncstate_announce"

/* syncstate.c */
extern int	syncstate_lease;	/* syncstate.lease, milliseconds */
extern int	syncstate_notify;	/* syncstate.notify */

enum SyncstateNotify
{
	NOTIFY_NONE,
	NOTIFY_CHANGES,
	NOTIFY_ALL
};

/*
 * decide.c
 *
 * Hashes of both sides and their bases; NULL means absent.  The texts may be
 * short (packed) but not compressed or out of line.
 */
typedef struct SyncstateSides
{
	const text *local;
	const text *remote;
	const text *local_base;
	const text *remote_base;
	bool		synced;			/* false: never synced, the bases say nothing */
} SyncstateSides;

typedef struct SyncstateDecision
{
	const char *action;
	const char *detail;
	const char *status;			/* sync_status that follows from it */
	bool		settles;		/* both sides agree: the bases must move */
	bool		conflict;
} SyncstateDecision;

extern SyncstateDecision syncstate_decide(const SyncstateSides *sides);
extern bool syncstate_same_text(const text *a, const text *b);

/*
 * args.c
 */
#define SYNCSTATE_MAX_KEY_LENGTH 512

extern void syncstate_check_type_key(const text *type_key);
extern Datum syncstate_arg_type_key(FunctionCallInfo fcinfo, int argno);
extern NullableDatum syncstate_arg(FunctionCallInfo fcinfo, int argno);
extern bool syncstate_arg_bool(FunctionCallInfo fcinfo, int argno, const char *name);
extern int32 syncstate_arg_positive(FunctionCallInfo fcinfo, int argno, const char *name);
extern Datum syncstate_arg_required(FunctionCallInfo fcinfo, int argno, const char *name);
extern TimestampTz syncstate_arg_lease(FunctionCallInfo fcinfo, int argno, TimestampTz now);
extern NullableDatum syncstate_arg_owner(FunctionCallInfo fcinfo, int argno);
extern NullableDatum syncstate_datum(Datum value);
extern NullableDatum syncstate_null(void);
extern NullableDatum syncstate_current_role(void);

/* Both sides as a caller observed them. */
typedef struct SyncstateObserved
{
	bool		given[2];		/* was this side observed? */
	NullableDatum hash[2];		/* its hash; NULL: absent */
} SyncstateObserved;

enum SyncstateSide
{
	SIDE_LOCAL,
	SIDE_REMOTE
};

extern SyncstateObserved syncstate_arg_observed(FunctionCallInfo fcinfo, int argno);

/* Keys with what belongs to each, sorted by key, without NULL or duplicates. */
typedef struct SyncstateBatch
{
	int			nrows;
	int			ncolumns;		/* beside the key */
	Datum	   *keys;
	NullableDatum *columns[3];	/* NULL: the whole array was NULL */
} SyncstateBatch;

extern SyncstateBatch *syncstate_arg_batch(FunctionCallInfo fcinfo, int ncolumns,
										   const char *const *names,
										   const bool *required);
extern int	syncstate_position(const Datum *keys, int n, Datum key);
extern Datum syncstate_text_array(const NullableDatum *values, int n);
extern Datum syncstate_array(const NullableDatum *values, int n, Oid elemtype);
extern NullableDatum syncstate_key_array(const Datum *keys, int n);
extern int	syncstate_compare_keys(const text *a, const text *b);

extern char *syncstate_key_cstring(Datum type_key);
pg_noreturn extern void syncstate_report_suppressed(Datum type_key);
pg_noreturn extern void syncstate_report_unknown(Datum type_key);
pg_noreturn extern void syncstate_report_superseded(Datum type_key, Datum run_id);
pg_noreturn extern void syncstate_report_held(Datum type_key, const char *owner,
											  int32 run_number, TimestampTz expires);

/*
 * plans.c
 */
typedef enum SyncstateStatement
{
	STMT_GET,
	STMT_GET_HASHES,
	STMT_GET_OBSERVED,
	STMT_HOLDER,
	STMT_HOLDER_LOCKED,
	STMT_LOCK,
	STMT_PLAN_FOR,
	STMT_CHANGED_SINCE,
	STMT_DETECT_INTERRUPTED,
	STMT_OBSERVE,
	STMT_OBSERVE_MANY,
	STMT_CLOSE_CONFLICTS,
	STMT_CLOSE_STALE_CONFLICTS,
	STMT_WRONG_LOG,
	STMT_WRONG_LOG_OF_ALL,
	STMT_OPEN_CONFLICTS,
	STMT_MARK_KNOWN,
	STMT_MARK_RUN_KNOWN,
	STMT_MARK,
	STMT_MARK_RUN,
	STMT_MARK_MANY,
	STMT_MARK_RUN_MANY,
	STMT_MARKED_BEFORE,
	STMT_FINISH_MARKED,
	STMT_RESET,
	STMT_FORGET,
	STMT_BEGIN,
	STMT_RESUME,
	STMT_RECORD_RUN,
	STMT_CLAIM,
	STMT_CHECKPOINT,
	STMT_STOP,
	STMT_CREATE_FAILED,
	STMT_FINISH_RUN,
	STMT_ENTOMB,
	STMT_FORGET_RUNS,
	STMT_FORGET_CONFLICTS,
	STMT_DISTRIBUTED,
	STMT_FEED_STATE,
	STMT_FEED_STATES,
	STMT_FEED_TOMBSTONES,
	STMT_LOCK_CONFLICT,
	STMT_RESOLVE,
	STMT_LOG_RESOLUTION,
	STMT_PRUNE_RUNS,
	STMT_PRUNE_CONFLICTS,
	STMT_PRUNE_TOMBSTONES,
	STMT_NOTE_PRUNED,
	STMT_NEW_INCARNATION,
	STMT_FIRST_INCARNATION,
	STMT_ATTACH,
	STMT_DETACH,
	STMT_FORGET_ROW_BASES,
	STMT_ROW_BASES,
	STMT_SET_ROW_BASES,
	STMT_DROP_ROW_BASES,
	STMT_ROWS_SYNCED,
	STMT_NOTE_TRACKING,
	STMT_FORGET_TRACKING,
	STMT_FORGET_DELTAS,
	STMT_TAKE_DELTAS,
	STMT_PUT_DELTA,
	STMT_MEND_CHANGED_XID,
	NUM_STATEMENTS
} SyncstateStatement;

/* Tables that are also reached by OID. */
typedef enum SyncstateTable
{
	TABLE_STATE,
	TABLE_SOURCE,
	TABLE_TRACKING,
	TABLE_TRACKING_DELTA,
	TABLE_ROW_BASE,
	TABLE_CONFLICT,
	NUM_TABLES
} SyncstateTable;

extern void syncstate_init_plans(void);
extern Oid	syncstate_lock_table_if_exists(SyncstateTable table, int lockmode);
extern Oid	syncstate_lock_table(SyncstateTable table, int lockmode);
extern bool syncstate_table_is_empty(SyncstateTable table);
extern void syncstate_execute_utility(const char *command);
extern void syncstate_connect(void);
extern Oid	syncstate_state_relid(void);
extern uint64 syncstate_execute(SyncstateStatement statement,
								const NullableDatum *args, bool read_only);
extern uint64 syncstate_execute_plan(SPIPlanPtr plan, const char *name, int nargs,
									 const NullableDatum *args, bool read_only);
extern SPIPlanPtr syncstate_prepare(const char *text, int nargs, Oid *argtypes);
extern NullableDatum syncstate_result(uint64 row, int column);
extern Datum syncstate_return_datum(uint64 row, int column);

/* Who holds a key, read anew. */
typedef struct SyncstateHolder
{
	bool		known;			/* is there a row? */
	bool		live;			/* does a live run hold it? */
	bool		resumable;		/* stopped, with a checkpoint */
	int32		run_number;
	TimestampTz lease_expires_at;
	char	   *owner;			/* NULL: not told */
} SyncstateHolder;

extern SyncstateHolder syncstate_read_holder(Datum type_key, TimestampTz now, bool lock);
extern void syncstate_refuse_if_held(const SyncstateHolder *holder, Datum type_key);
extern bool syncstate_execute_unless_held(SyncstateStatement statement,
										  const NullableDatum *args, TimestampTz now);
extern void syncstate_return_rows(FunctionCallInfo fcinfo);

/*
 * partial.c
 */
enum SyncstateField
{
	FIELD_LOCAL_HASH,
	FIELD_REMOTE_HASH,
	FIELD_LAST_SYNCED_HASH,
	FIELD_LAST_SYNCED_REMOTE_HASH,
	FIELD_LAST_SYNC_AT,
	FIELD_SYNC_STATUS,
	FIELD_CONFLICT_STATUS,
	FIELD_SYNC_PROGRESS,
	NUM_FIELDS
};

typedef struct SyncstatePartial
{
	Datum		type_key;
	uint32		given;			/* bit mask of SyncstateField */
	NullableDatum values[NUM_FIELDS];
} SyncstatePartial;

extern const char *const syncstate_field_names[NUM_FIELDS];
extern const Oid syncstate_field_types[NUM_FIELDS];

extern void syncstate_parse_partial(JsonbContainer *object, SyncstatePartial *partial);
extern SyncstatePartial *syncstate_parse_partials(Jsonb *states, int *n);

/* lookup.c */

/* A row of sync_state; values by Anum_sync_state_... - 1. */
typedef struct SyncstateStateRow
{
	bool		found;			/* false: there is none, and no values */
	int			natts;
	Datum	   *values;
	bool	   *nulls;
} SyncstateStateRow;

extern bool syncstate_lookup_state(Datum type_key, SyncstateStateRow *row);

/* touch.c */
extern bool syncstate_has_columns_of_state(TupleDesc desc);

/* delta.c */
extern SyncstateSides syncstate_result_sides(uint64 row, int first);
extern Jsonb *syncstate_delta_json(const text *type_key, const SyncstateSides *sides);

/* observe.c */
extern void syncstate_log_conflicts(Datum opened, Datum closed, TimestampTz now,
									const char *resolution);

/* notify.c */
extern void syncstate_announce_change(Datum type_key, NullableDatum sync_status);

/* run.c */
extern Datum syncstate_new_uuid(void);
extern void syncstate_finish_run(Datum type_key, TimestampTz now,
								 const char *outcome, NullableDatum error);

#endif							/* SYNCSTATE_H */
