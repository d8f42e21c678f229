/*-------------------------------------------------------------------------
 *
 * compat.h
 *		Every difference between server versions that the extension meets,
 *		each with its reason and when it can go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_COMPAT_H
#define SYNCSTATE_COMPAT_H

#include "utils/jsonb.h"

#if PG_VERSION_NUM < 150000
#error "syncstate needs PostgreSQL 15 or later"
#endif

/*
 * PostgreSQL 18 has pg_noreturn, before a declaration, in place of
 * pg_attribute_noreturn(), behind it.  Can go with support for 17.
 */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * PostgreSQL 16 merged the checks of ownership and of privileges of most kinds of
 * objects into one each.  Can go with support for 15.
 */
#if PG_VERSION_NUM < 160000
#define syncstate_owns_relation(relid, role) pg_class_ownercheck(relid, role)
#define syncstate_schema_aclcheck(schema, role, mode) pg_namespace_aclcheck(schema, role, mode)
#else
#define syncstate_owns_relation(relid, role) object_ownercheck(RelationRelationId, relid, role)
#define syncstate_schema_aclcheck(schema, role, mode) object_aclcheck(NamespaceRelationId, schema, role, mode)
#endif

/*
 * PostgreSQL 16 calls a relation's file by a locator, not by a node.  Can go with
 * support for 15.
 */
#if PG_VERSION_NUM < 160000
#define syncstate_first_file_subid(rel) ((rel)->rd_firstRelfilenodeSubid)
#else
#define syncstate_first_file_subid(rel) ((rel)->rd_firstRelfilelocatorSubid)
#endif

/*
 * PostgreSQL 18 asks whether a deferrable primary key will do as well.  Can go
 * with support for 17.
 */
#if PG_VERSION_NUM < 180000
#define syncstate_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#else
#define syncstate_primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, true)
#endif

/*
 * PostgreSQL 19 keeps the result of pushJsonbValue() in a JsonbInState, which
 * has the parse state too, rather than to return it.  (The name on the right is
 * the function's: a macro is not expanded in itself.)  Can go with support for 18.
 */
#if PG_VERSION_NUM < 190000
typedef struct JsonbInState
{
	JsonbValue *result;
	JsonbParseState *parseState;
} JsonbInState;

#define pushJsonbValue(state, token, value) \
	((void) ((state)->result = pushJsonbValue(&(state)->parseState, token, value)))
#endif

/*
 * PostgreSQL 19 lets who scans a table give flags; SO_NONE is what it was before.
 * Can go with support for 18.
 */
#if PG_VERSION_NUM < 190000
#define syncstate_beginscan(rel, snapshot) table_beginscan(rel, snapshot, 0, NULL)
#else
#define syncstate_beginscan(rel, snapshot) table_beginscan(rel, snapshot, 0, NULL, SO_NONE)
#endif

#endif							/* SYNCSTATE_COMPAT_H */
