/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		One row of sync_state by its key, past SPI.
 *
 * An executor takes longer to set up than to read one row, and that is all that
 * delta and get do.  So where the table is an ordinary local heap, without row
 * security, and the caller may read all of it, the row is looked up through the
 * primary key right away, by the snapshot that the statement would use.  In any
 * other case (policies, privileges on columns only, a distributed table, children,
 * another access method, columns changed) the caller is told to let SPI answer,
 * which knows all that.
 *
 * Nothing is kept from call to call.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "syncstate.h"

/* On a node that coordinates others, what looks like a table may be a shell. */
static bool
may_be_distributed(void)
{
	return OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE));
}

static bool
is_plain_heap(Relation rel)
{
	return rel->rd_rel->relkind == RELKIND_RELATION &&
		rel->rd_tableam == GetHeapamTableAmRoutine() &&
		!rel->rd_rel->relrowsecurity &&
		!rel->rd_rel->relhassubclass &&
		!may_be_distributed() &&
		syncstate_has_columns_of_state(RelationGetDescr(rel));
}

/* May the caller name the table, and read all of it? */
static bool
may_read(Oid relid)
{
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		syncstate_schema_aclcheck(get_rel_namespace(relid), GetUserId(), ACL_USAGE) == ACLCHECK_OK;
}

/*
 * Looks the row up, and copies it.  False: ask SPI.  The table is locked as by a
 * SELECT.
 */
bool
syncstate_lookup_state(Datum type_key, SyncstateStateRow *row)
{
	Oid			relid = syncstate_lock_table(TABLE_STATE, AccessShareLock);
	Relation	rel;
	Oid			index;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (!may_read(relid))
		return false;
	rel = table_open(relid, NoLock);
	index = is_plain_heap(rel) ? syncstate_primary_key_index(rel) : InvalidOid;
	if (!OidIsValid(index))
	{
		table_close(rel, NoLock);
		return false;
	}

	ScanKeyInit(&key, Anum_sync_state_type_key, BTEqualStrategyNumber, F_TEXTEQ, type_key);
	scan = systable_beginscan(rel, index, true, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	row->found = tuple != NULL;
	if (row->found)
	{
		TupleDesc	desc = RelationGetDescr(rel);

		row->natts = desc->natts;
		row->values = palloc_array(Datum, desc->natts);
		row->nulls = palloc_array(bool, desc->natts);
		heap_deform_tuple(heap_copytuple(tuple), desc, row->values, row->nulls);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return true;
}
