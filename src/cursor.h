/*-------------------------------------------------------------------------
 *
 * cursor.h
 *		Positions in the change feed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_CURSOR_H
#define SYNCSTATE_CURSOR_H

#include "lib/stringinfo.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "syncstate.h"

/*
 * Which transactions had ended at a moment: those below xmax that are not in
 * xip.  Top-level transactions only, as 64-bit ids.  xmax 0: none had; that is
 * where the feed starts.
 */
typedef struct SyncstateSnapshot
{
	uint64		xmin;			/* all below it had ended */
	uint64		xmax;			/* none from it on had */
	int			nxip;
	uint64	   *xip;			/* in progress between the two */
} SyncstateSnapshot;

/* Whose transaction ids these are. */
typedef struct SyncstateOrigin
{
	uint64		system;			/* system identifier of the cluster */
	Oid			database;
	uint32		timeline;
	pg_uuid_t	incarnation;	/* of the tables, see sync_feed */
} SyncstateOrigin;

/*
 * Everything up to "from" has been read.  While the changes between "from" and
 * "to" are read page by page, so has everything up to (xid, key) in the order
 * of the feed.
 */
typedef struct SyncstateCursor
{
	SyncstateOrigin origin;
	SyncstateSnapshot from;
	bool		open;			/* are the following in use? */
	SyncstateSnapshot to;
	uint64		xid;
	text	   *key;			/* may be empty: before every key */
} SyncstateCursor;

extern SyncstateSnapshot syncstate_take_snapshot(Snapshot snapshot);
extern SyncstateCursor syncstate_parse_cursor(const char *string);
extern void syncstate_append_cursor_base(StringInfo out, const SyncstateOrigin *origin,
										 const SyncstateSnapshot *from);
extern void syncstate_append_cursor_set(StringInfo out, const SyncstateSnapshot *to);
extern void syncstate_append_cursor_position(StringInfo out, uint64 xid, const text *key);

#endif							/* SYNCSTATE_CURSOR_H */
