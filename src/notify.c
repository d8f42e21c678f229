/*-------------------------------------------------------------------------
 *
 * notify.c
 *		Telling listeners of changes, on channel "syncstate".
 *
 * A notification says that there is something to read, and of which key; what
 * has changed is read from the table or the feed.  The server delivers it when
 * the transaction commits, and once however often a transaction repeats it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "syncstate.h"

/* As async.c defines it, for itself. */
#define NOTIFY_PAYLOAD_MAX_LENGTH (BLCKSZ - NAMEDATALEN - 128)

/*
 * {"type_key": ..., "sync_status": ...}; a deleted key has the status null.
 *
 * An UPDATE is announced before the table's CHECKs are asked.  What does not
 * fit into a notification has a status that they refuse: let them say so.
 */
void
syncstate_announce_change(Datum type_key, NullableDatum sync_status)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"type_key\": ");
	escape_json(&payload, TextDatumGetCString(type_key));
	appendStringInfoString(&payload, ", \"sync_status\": ");
	if (sync_status.isnull)
		appendStringInfoString(&payload, "null");
	else
		escape_json(&payload, TextDatumGetCString(sync_status.value));
	appendStringInfoChar(&payload, '}');

	if (payload.len < NOTIFY_PAYLOAD_MAX_LENGTH)
		Async_Notify("syncstate", payload.data);
}
