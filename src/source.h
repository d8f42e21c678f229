/*-------------------------------------------------------------------------
 *
 * source.h
 *		Attached sources: where the rows of a content type are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_SOURCE_H
#define SYNCSTATE_SOURCE_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "digest.h"
#include "syncstate.h"

/* A row of syncstate.sync_source. */
typedef struct SyncstateSource
{
	text	   *type_key;
	Oid			relid[2];		/* by SyncstateSide; remote: may be InvalidOid */
	List	   *columns;		/* of char *; NIL: whatever the local table has */
	List	   *key_columns;	/* of char *; NIL: the primary key */
	bool		row_base;
	pg_uuid_t	id;
	TimestampTz attached_at;
} SyncstateSource;

/* Beside a SyncstateSide: what is read has to do with both. */
#define BOTH_SIDES (-1)

/* source.c */
extern bool syncstate_find_source(const text *type_key, Snapshot snapshot, SyncstateSource *source);
extern void syncstate_get_source(Datum type_key, SyncstateSource *source);
extern bool syncstate_lock_source(Datum type_key, SyncstateSource *source);
extern void syncstate_get_source_locked(Datum type_key, SyncstateSource *source);
extern bool syncstate_source_exists(const pg_uuid_t *id);
extern List *syncstate_source_columns(const SyncstateSource *source);
extern List *syncstate_columns_to_track(const SyncstateSource *source);
extern List *syncstate_source_key(const SyncstateSource *source);
extern bool syncstate_has_column(List *columns, const char *name);
extern void syncstate_require_columns(const SyncstateSource *source, int side, List *columns);
extern char *syncstate_source_table(const SyncstateSource *source, int side);
extern char *syncstate_column_list(List *columns, const char *format);
extern void syncstate_run_query(const SyncstateSource *source, int side, const char *query,
								int nargs, Oid *argtypes, const NullableDatum *args);
extern bool syncstate_is_asynchronous(const SyncstateSource *source);
extern void syncstate_aggregate_sides(const SyncstateSource *source, const char *aggregate, NullableDatum result[2]);
extern SyncstateDigest syncstate_scan_digest(const SyncstateSource *source, int side);
extern bool syncstate_measure_sides(Datum type_key, SyncstateObserved *observed);

/* track.c */
extern void syncstate_init_tracking(void);

/* tracking.c */
extern bool syncstate_tracked_digest(const SyncstateSource *source, List *columns, SyncstateDigest *digest);
extern bool syncstate_is_tracked(const SyncstateSource *source);
extern bool syncstate_untrack(const SyncstateSource *source);
extern int64 syncstate_fold_deltas(void);

/* diff.c */
extern void syncstate_move_row_bases(Datum type_key);
extern void syncstate_resolve_row_bases(Datum type_key, bool ours);

#endif							/* SYNCSTATE_SOURCE_H */
