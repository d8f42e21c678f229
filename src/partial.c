/*-------------------------------------------------------------------------
 *
 * partial.c
 *		Partial states in JSON, as sync_state_update and sync_state_update_many
 *		take them: which fields are given, and their values.
 *
 * JSON null is a value: it sets NULL.  What the column's CHECK can tell (a
 * status that does not exist, an infinite time) is left to it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "syncstate.h"

const char *const syncstate_field_names[NUM_FIELDS] = {
	[FIELD_LOCAL_HASH] = "local_hash",
	[FIELD_REMOTE_HASH] = "remote_hash",
	[FIELD_LAST_SYNCED_HASH] = "last_synced_hash",
	[FIELD_LAST_SYNCED_REMOTE_HASH] = "last_synced_remote_hash",
	[FIELD_LAST_SYNC_AT] = "last_sync_at",
	[FIELD_SYNC_STATUS] = "sync_status",
	[FIELD_CONFLICT_STATUS] = "conflict_status",
	[FIELD_SYNC_PROGRESS] = "sync_progress",
};

const Oid	syncstate_field_types[NUM_FIELDS] = {
	[FIELD_LOCAL_HASH] = TEXTOID,
	[FIELD_REMOTE_HASH] = TEXTOID,
	[FIELD_LAST_SYNCED_HASH] = TEXTOID,
	[FIELD_LAST_SYNCED_REMOTE_HASH] = TEXTOID,
	[FIELD_LAST_SYNC_AT] = TIMESTAMPTZOID,
	[FIELD_SYNC_STATUS] = TEXTOID,
	[FIELD_CONFLICT_STATUS] = TEXTOID,
	[FIELD_SYNC_PROGRESS] = JSONBOID,
};

/* Name of the field that a misspelt key most resembles; NULL if none does. */
static const char *
nearest_field(const char *key, int keylen)
{
	const char *nearest = NULL;
	int			best = Max(keylen / 2, 2) + 1;

	/* Longer keys than this are no misspellings, and the server refuses them. */
	if (keylen > 255)
		return NULL;

	for (int f = 0; f < NUM_FIELDS; f++)
	{
		const char *name = syncstate_field_names[f];
		int			distance = varstr_levenshtein_less_equal(key, keylen, name, strlen(name),
															 1, 1, 1, best, true);

		if (distance < best)
		{
			best = distance;
			nearest = name;
		}
	}
	return nearest;
}

static void
report_unknown_field(const JsonbValue *key)
{
	const char *nearest = nearest_field(key->val.string.val, key->val.string.len);
	const char *allowed = "Allowed are local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, "
		"last_sync_at, sync_status, conflict_status, sync_progress.";

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown key \"%.*s\" in state",
					pg_mbcliplen(key->val.string.val, key->val.string.len, 100),
					key->val.string.val),
			 nearest == NULL ? errhint("%s", allowed)
			 : errhint("Perhaps you mean \"%s\". %s", nearest, allowed)));
}

static int
find_field(const JsonbValue *key)
{
	for (int f = 0; f < NUM_FIELDS; f++)
	{
		if (strlen(syncstate_field_names[f]) == (size_t) key->val.string.len &&
			memcmp(syncstate_field_names[f], key->val.string.val, key->val.string.len) == 0)
			return f;
	}
	report_unknown_field(key);
	return -1;					/* not reached */
}

static void
require_string(int field, const JsonbValue *value)
{
	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON string or null", syncstate_field_names[field])));
}

static NullableDatum
field_value(int field, JsonbValue *value)
{
	if (value->type == jbvNull)
		return syncstate_null();

	switch (syncstate_field_types[field])
	{
		case JSONBOID:
			return syncstate_datum(JsonbPGetDatum(JsonbValueToJsonb(value)));
		case TIMESTAMPTZOID:
			require_string(field, value);
			return syncstate_datum(DirectFunctionCall3(timestamptz_in,
													   CStringGetDatum(pnstrdup(value->val.string.val,
																				value->val.string.len)),
													   ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
		default:
			require_string(field, value);
			return syncstate_datum(PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
																			value->val.string.len)));
	}
}

/* Is this key "type_key", which only elements of an array may hold? */
static bool
is_type_key(const JsonbValue *key)
{
	return key->val.string.len == 8 && memcmp(key->val.string.val, "type_key", 8) == 0;
}

static void
set_type_key(SyncstatePartial *partial, const JsonbValue *value)
{
	text	   *key;

	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type_key must be a JSON string")));
	key = cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	syncstate_check_type_key(key);
	partial->type_key = PointerGetDatum(key);
}

static void
parse_object(JsonbContainer *object, SyncstatePartial *partial, bool with_type_key)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	JsonbValue	key;

	if (!JsonContainerIsObject(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("state must be a JSON object")));

	partial->given = 0;
	it = JsonbIteratorInit(object);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		int			field;

		if (token != WJB_KEY)
			continue;
		key = v;
		JsonbIteratorNext(&it, &v, true);
		if (with_type_key && is_type_key(&key))
		{
			set_type_key(partial, &v);
			continue;
		}
		field = find_field(&key);
		partial->given |= 1 << field;
		partial->values[field] = field_value(field, &v);
	}
}

/* One state; its type_key comes from elsewhere. */
void
syncstate_parse_partial(JsonbContainer *object, SyncstatePartial *partial)
{
	parse_object(object, partial, false);
}

/* In a batch, the context of an error names the state that it is in. */
static void
name_state(void *arg)
{
	const JsonbValue *key = arg;

	if (key->type == jbvString)
		errcontext("state of \"%.*s\"",
				   pg_mbcliplen(key->val.string.val, key->val.string.len, 100),
				   key->val.string.val);
}

static void
parse_keyed(JsonbContainer *states, SyncstatePartial *partials)
{
	JsonbIterator *it = JsonbIteratorInit(states);
	JsonbIteratorToken token;
	JsonbValue	v;
	JsonbValue	key = {.type = jbvNull};
	SyncstatePartial *p = partials;
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = name_state,
		.arg = &key,
	};

	error_context_stack = &context;
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		key = v;
		set_type_key(p, &key);
		JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvBinary)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("state must be a JSON object")));
		syncstate_parse_partial(v.val.binary.data, p++);
	}
	error_context_stack = context.previous;
}

/* The type_key of an element, wherever in it; not a string if there is none. */
static void
find_type_key(JsonbContainer *element, JsonbValue *key)
{
	if (!JsonContainerIsObject(element) ||
		getKeyJsonValueFromContainer(element, "type_key", 8, key) == NULL)
		key->type = jbvNull;
}

static void
parse_list(JsonbContainer *states, SyncstatePartial *partials)
{
	JsonbIterator *it = JsonbIteratorInit(states);
	JsonbIteratorToken token;
	JsonbValue	v;
	JsonbValue	key = {.type = jbvNull};
	SyncstatePartial *p = partials;
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = name_state,
		.arg = &key,
	};

	error_context_stack = &context;
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		key.type = jbvNull;
		if (v.type != jbvBinary)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("state must be a JSON object")));
		find_type_key(v.val.binary.data, &key);
		p->type_key = (Datum) 0;
		parse_object(v.val.binary.data, p, true);
		if (p->type_key == (Datum) 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("an element of states has no type_key")));
		p++;
	}
	error_context_stack = context.previous;
}

static int
compare_partials(const void *a, const void *b)
{
	return syncstate_compare_keys(DatumGetTextPP(((const SyncstatePartial *) a)->type_key),
								  DatumGetTextPP(((const SyncstatePartial *) b)->type_key));
}

/*
 * Many states: an array of objects that hold their type_key, or an object of
 * objects under theirs.  They come sorted by key, without duplicates.
 */
SyncstatePartial *
syncstate_parse_partials(Jsonb *states, int *n)
{
	SyncstatePartial *partials;

	if (JB_ROOT_IS_SCALAR(states))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("states must be a JSON array or object")));

	*n = JB_ROOT_COUNT(states);
	partials = (SyncstatePartial *)
		MemoryContextAllocHuge(CurrentMemoryContext, sizeof(SyncstatePartial) * Max(*n, 1));
	if (JB_ROOT_IS_OBJECT(states))
		parse_keyed(&states->root, partials);
	else
		parse_list(&states->root, partials);

	qsort(partials, *n, sizeof(SyncstatePartial), compare_partials);
	for (int i = 1; i < *n; i++)
	{
		if (compare_partials(&partials[i - 1], &partials[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("type_key \"%s\" is given more than once",
							syncstate_key_cstring(partials[i].type_key))));
	}
	return partials;
}
