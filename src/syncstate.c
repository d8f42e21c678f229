/*-------------------------------------------------------------------------
 *
 * syncstate.c
 *		Module magic, settings, version.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#include "source.h"

#ifndef SYNCSTATE_VERSION
#error "SYNCSTATE_VERSION comes from syncstate.control, by way of the Makefile"
#endif

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(sync_state_version);

void		_PG_init(void);

/* 24 days is the most that fits into an integer of milliseconds. */
#define MAX_LEASE_MS (24 * 24 * 60 * 60 * 1000)

int			syncstate_lease = 5 * 60 * 1000;
int			syncstate_notify = NOTIFY_NONE;

static const struct config_enum_entry notify_options[] = {
	{"none", NOTIFY_NONE, false},
	{"changes", NOTIFY_CHANGES, false},
	{"all", NOTIFY_ALL, false},
	{NULL, 0, false}};

void
_PG_init(void)
{
	DefineCustomIntVariable("syncstate.lease",
							"How long a run holds its key without a checkpoint or heartbeat.",
							"Used where a call names no lease of its own. It must outlast the longest batch transaction.",
							&syncstate_lease,
							5 * 60 * 1000,
							1,
							MAX_LEASE_MS,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomEnumVariable("syncstate.notify",
							 "Which writes of this session notify channel syncstate.",
							 "none; changes: those that the change feed reports; all: checkpoints and heartbeats too.",
							 &syncstate_notify,
							 NOTIFY_NONE,
							 notify_options,
							 PGC_USERSET,
							 0,
							 NULL, NULL, NULL);
	MarkGUCPrefixReserved("syncstate");

	syncstate_init_plans();
	syncstate_init_tracking();
}

/*
 * sync_state_version() returns text
 *
 * The version that the library was built as; the catalogue may lag behind it
 * until ALTER EXTENSION ... UPDATE.
 */
Datum
sync_state_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(SYNCSTATE_VERSION));
}
