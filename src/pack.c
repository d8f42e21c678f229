/*-------------------------------------------------------------------------
 *
 * pack.c
 *		Rows as bytes, and the hashes of those.
 *
 * A row becomes a string of bytes that depends on what its values are, never on
 * how they are stored or displayed: a value is a tag for its kind, then its
 * bytes, with their number in front where that varies; NULL is a tag of its
 * own.  No packed value is the beginning of another one, so no two rows of
 * different values are packed alike.  Numbers are little-endian on every
 * machine.
 *
 * Kinds are wider than types: integers of every width are one kind, and so are
 * floats, and all that is text, labels of enums too.  A type that is not known
 * here is packed as its binary send function gives it, under its name; one
 * without such a function, or whose values are OIDs, which mean another object
 * in another database, is refused.
 *
 * The bytes are hashed in one go with XXH3 (128 bits), see hash.c.  It finds what
 * differs by accident; it does not withstand somebody who looks for rows of equal
 * hash.
 *
 * Text is packed in UTF-8, whatever the database's encoding (SQL_ASCII has none), so
 * that two databases can be compared.
 *
 * The bytes, and so all hashes, are the same in every version of the extension:
 * bases that were recorded with an older one must still compare equal.
 *
 * A packer lives in the memory context that it was made in and keeps its buffer
 * from row to row.  What detoasting and send functions allocate is left to the
 * caller's context, which is reset for every row.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "pack.h"
#include "syncstate.h"

/* What a packed value begins with. */
typedef enum Tag
{
	TAG_NULL = 0,
	TAG_BOOL,					/* 1 byte */
	TAG_INTEGER,				/* 8 bytes */
	TAG_FLOAT,					/* 8 bytes, IEEE 754 double */
	TAG_NUMERIC,				/* see write_numeric() */
	TAG_TEXT,					/* length, bytes */
	TAG_BYTEA,					/* length, bytes */
	TAG_JSON,					/* length, bytes */
	TAG_JSONB,					/* see write_jsonb_container() */
	TAG_UUID,					/* 16 bytes */
	TAG_DATE,					/* 8 bytes */
	TAG_TIME,					/* 8 bytes */
	TAG_TIMETZ,					/* 8 bytes, 4 bytes */
	TAG_TIMESTAMP,				/* 8 bytes */
	TAG_TIMESTAMPTZ,			/* 8 bytes */
	TAG_INTERVAL,				/* 8 bytes, 4 bytes, 4 bytes */
	TAG_ARRAY,					/* see pack_array() */
	TAG_COMPOSITE,				/* number of fields, fields */
	TAG_RANGE,					/* flags, bounds */
	TAG_MULTIRANGE,				/* number of ranges, ranges */
	TAG_OTHER					/* type's name, what its send function gives */
} Tag;

typedef enum Kind
{
	KIND_UNKNOWN,				/* not looked up yet */
	KIND_BOOL,
	KIND_INT2,
	KIND_INT4,
	KIND_INT8,
	KIND_OID,
	KIND_FLOAT4,
	KIND_FLOAT8,
	KIND_NUMERIC,
	KIND_TEXT,
	KIND_BPCHAR,
	KIND_CSTRING,
	KIND_NAME,
	KIND_CHAR,
	KIND_ENUM,
	KIND_BYTEA,
	KIND_JSON,
	KIND_JSONB,
	KIND_CONVERTED_TEXT,		/* text and jsonb of a database that is not in UTF-8 */
	KIND_CONVERTED_JSONB,
	KIND_UUID,
	KIND_DATE,
	KIND_TIME,
	KIND_TIMETZ,
	KIND_TIMESTAMP,
	KIND_TIMESTAMPTZ,
	KIND_INTERVAL,
	KIND_ARRAY,
	KIND_COMPOSITE,
	KIND_RANGE,
	KIND_MULTIRANGE,
	KIND_OTHER
} Kind;

struct SyncstateTypePacker
{
	Oid			type;			/* the base type, if that of the column is a domain */
	Kind		kind;
	bool		by_reference;	/* of a column */

	/* KIND_ARRAY: of the elements; KIND_RANGE, KIND_MULTIRANGE: of the bounds, the ranges */
	SyncstateTypePacker *element;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	TypeCacheEntry *typcache;

	/* KIND_COMPOSITE: of each row type that came */
	struct RowPacker *rows;

	/* KIND_OTHER */
	FmgrInfo	send;
	char	   *name;
};

/* How the fields of one row type are packed; records of several may come in one column. */
typedef struct RowPacker
{
	struct RowPacker *next;
	Oid			type;
	int32		typmod;
	int			nfields;
	SyncstateTypePacker *fields;	/* of dropped ones, the type is InvalidOid */
} RowPacker;

static inline void pack_value(SyncstatePacker *packer, SyncstateTypePacker *type, Datum value);

/* ------------------------------------------------------------------ types */

static void
refuse_type(Oid type, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("values of type %s cannot be hashed", format_type_be(type)),
			 errhint("%s", hint)));
}

/* Kinds of the types that every server has; KIND_UNKNOWN: look closer. */
static Kind
kind_of_builtin(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return KIND_BOOL;
		case INT2OID:
			return KIND_INT2;
		case INT4OID:
			return KIND_INT4;
		case INT8OID:
			return KIND_INT8;
		case OIDOID:
			return KIND_OID;
		case FLOAT4OID:
			return KIND_FLOAT4;
		case FLOAT8OID:
			return KIND_FLOAT8;
		case NUMERICOID:
			return KIND_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case XMLOID:
			return KIND_TEXT;
		case BPCHAROID:
			return KIND_BPCHAR;
		case UNKNOWNOID:
			return KIND_CSTRING;
		case NAMEOID:
			return KIND_NAME;
		case CHAROID:
			return KIND_CHAR;
		case BYTEAOID:
			return KIND_BYTEA;
		case JSONOID:
			return KIND_JSON;
		case JSONBOID:
			return KIND_JSONB;
		case UUIDOID:
			return KIND_UUID;
		case DATEOID:
			return KIND_DATE;
		case TIMEOID:
			return KIND_TIME;
		case TIMETZOID:
			return KIND_TIMETZ;
		case TIMESTAMPOID:
			return KIND_TIMESTAMP;
		case TIMESTAMPTZOID:
			return KIND_TIMESTAMPTZ;
		case INTERVALOID:
			return KIND_INTERVAL;
		default:
			return KIND_UNKNOWN;
	}
}

/* OIDs of objects: they say nothing outside this database. */
static bool
is_object_identifier(Oid type)
{
	switch (type)
	{
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGROLEOID:
		case REGTYPEOID:
			return true;
		default:
			return false;
	}
}

static void set_up_type(SyncstatePacker *packer, SyncstateTypePacker *t);

static SyncstateTypePacker *
make_element_packer(SyncstatePacker *packer, Oid type)
{
	SyncstateTypePacker *element = MemoryContextAllocZero(packer->context, sizeof(SyncstateTypePacker));

	element->type = getBaseType(type);
	set_up_type(packer, element);
	return element;
}

static Oid
field_type(TupleDesc desc, int i)
{
	Form_pg_attribute att = TupleDescAttr(desc, i);

	return att->attisdropped ? InvalidOid : getBaseType(att->atttypid);
}

/* Are these still the types of the fields? */
static bool
fields_fit(const RowPacker *row, TupleDesc desc)
{
	if (row->nfields != desc->natts)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		if (row->fields[i].type != field_type(desc, i))
			return false;
	}
	return true;
}

static void
set_up_fields(SyncstatePacker *packer, RowPacker *row, TupleDesc desc)
{
	SyncstateTypePacker *fields = MemoryContextAllocZero(packer->context,
														 Max(desc->natts, 1) * sizeof(SyncstateTypePacker));

	for (int i = 0; i < desc->natts; i++)
	{
		fields[i].type = field_type(desc, i);
		if (OidIsValid(fields[i].type))
			set_up_type(packer, &fields[i]);
	}
	row->fields = fields;
	row->nfields = desc->natts;
}

/* The packers of the fields of a row type. */
static SyncstateTypePacker *
field_packers(SyncstatePacker *packer, SyncstateTypePacker *t, TupleDesc desc)
{
	RowPacker  *row = t->rows;

	while (row != NULL && (row->type != desc->tdtypeid || row->typmod != desc->tdtypmod))
		row = row->next;
	if (row == NULL)
	{
		row = MemoryContextAllocZero(packer->context, sizeof(RowPacker));
		row->type = desc->tdtypeid;
		row->typmod = desc->tdtypmod;
		set_up_fields(packer, row, desc);
		row->next = t->rows;
		t->rows = row;
	}
	else if (!fields_fit(row, desc))
		set_up_fields(packer, row, desc);
	return row->fields;
}

static void
set_up_composite(SyncstatePacker *packer, SyncstateTypePacker *t)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(t->type, -1);

	(void) field_packers(packer, t, desc);
	ReleaseTupleDesc(desc);
}

static void
set_up_other(SyncstatePacker *packer, SyncstateTypePacker *t)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(t->type));
	Form_pg_type form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", t->type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	if (!OidIsValid(form->typsend) || form->typtype == TYPTYPE_PSEUDO)
		refuse_type(t->type, "The type has no binary form. Cast the value to text.");
	fmgr_info_cxt(form->typsend, &t->send, packer->context);
	t->name = MemoryContextStrdup(packer->context, NameStr(form->typname));
	ReleaseSysCache(tuple);
	t->kind = KIND_OTHER;
}

/* Looks up how values of a type are packed, and what they consist of. */
static void
set_up_type(SyncstatePacker *packer, SyncstateTypePacker *t)
{
	Oid			element;

	check_stack_depth();
	t->kind = kind_of_builtin(t->type);
	if (packer->converts && t->kind == KIND_TEXT)
		t->kind = KIND_CONVERTED_TEXT;
	if (packer->converts && t->kind == KIND_JSONB)
		t->kind = KIND_CONVERTED_JSONB;
	if (t->kind != KIND_UNKNOWN)
		return;
	if (is_object_identifier(t->type))
		refuse_type(t->type, "OIDs differ from database to database. Cast the value to text.");

	element = get_element_type(t->type);
	if (OidIsValid(element))
	{
		t->element = make_element_packer(packer, element);
		get_typlenbyvalalign(element, &t->typlen, &t->typbyval, &t->typalign);
		t->kind = KIND_ARRAY;
		return;
	}

	switch (get_typtype(t->type))
	{
		case TYPTYPE_ENUM:
			t->kind = KIND_ENUM;
			return;
		case TYPTYPE_RANGE:
			t->typcache = lookup_type_cache(t->type, TYPECACHE_RANGE_INFO);
			t->element = make_element_packer(packer, t->typcache->rngelemtype->type_id);
			t->kind = KIND_RANGE;
			return;
		case TYPTYPE_MULTIRANGE:
			t->typcache = lookup_type_cache(t->type, TYPECACHE_MULTIRANGE_INFO);
			t->element = make_element_packer(packer, t->typcache->rngtype->type_id);
			t->kind = KIND_MULTIRANGE;
			return;
		case TYPTYPE_COMPOSITE:
			set_up_composite(packer, t);
			t->kind = KIND_COMPOSITE;
			return;
	}
	if (t->type == RECORDOID)
		t->kind = KIND_COMPOSITE;
	else
		set_up_other(packer, t);
}

static bool
is_composite_packable(Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	bool		result = true;

	for (int i = 0; result && i < desc->natts; i++)
		result = TupleDescAttr(desc, i)->attisdropped || syncstate_is_packable(TupleDescAttr(desc, i)->atttypid);
	ReleaseTupleDesc(desc);
	return result;
}

static bool
has_send_function(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		result = HeapTupleIsValid(tuple) && OidIsValid(((Form_pg_type) GETSTRUCT(tuple))->typsend);

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

/* Can values of a type be packed, and what they consist of?  For those who must not fail. */
bool
syncstate_is_packable(Oid type)
{
	Oid			base = getBaseType(type);
	Oid			element = get_element_type(base);

	check_stack_depth();
	if (kind_of_builtin(base) != KIND_UNKNOWN)
		return true;
	if (is_object_identifier(base))
		return false;
	if (OidIsValid(element))
		return syncstate_is_packable(element);
	switch (get_typtype(base))
	{
		case TYPTYPE_ENUM:
			return true;
		case TYPTYPE_RANGE:
			return syncstate_is_packable(get_range_subtype(base));
		case TYPTYPE_MULTIRANGE:
			return syncstate_is_packable(get_multirange_range(base));
		case TYPTYPE_COMPOSITE:
			return is_composite_packable(base);
		case TYPTYPE_BASE:
			return has_send_function(base);
		default:
			return false;
	}
}

/*
 * A packer for rows of so many columns; types that cannot be packed, or whose
 * elements or fields cannot, are refused here and not only when the first value
 * comes.  What a record consists of is told by its values only.
 */
SyncstatePacker *
syncstate_make_packer(MemoryContext context, int ncolumns, const Oid *types)
{
	SyncstatePacker *packer = MemoryContextAllocZero(context, sizeof(SyncstatePacker));

	packer->context = context;
	packer->ncolumns = ncolumns;
	packer->converts = GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
	packer->columns = MemoryContextAllocZero(context, ncolumns * sizeof(SyncstateTypePacker));
	packer->size = 1024;
	packer->buffer = MemoryContextAlloc(context, packer->size);
	packer->first_by_reference = ncolumns;
	for (int i = 0; i < ncolumns; i++)
	{
		packer->columns[i].type = getBaseType(types[i]);
		packer->columns[i].by_reference = !get_typbyval(types[i]);
		if (packer->columns[i].by_reference && packer->first_by_reference == ncolumns)
			packer->first_by_reference = i;
		set_up_type(packer, &packer->columns[i]);
	}
	return packer;
}

/*
 * The packer for the arguments of a call from number "from" on: those of a
 * function with a VARIADIC "any".
 */
SyncstatePacker *
syncstate_packer_of_args(FunctionCallInfo fcinfo, MemoryContext context, int from)
{
	int			n = PG_NARGS() - from;
	Oid		   *types = palloc_array(Oid, Max(n, 1));

	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns must be given one by one, not as a VARIADIC array")));
	for (int i = 0; i < n; i++)
	{
		types[i] = get_fn_expr_argtype(fcinfo->flinfo, from + i);
		if (!OidIsValid(types[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("could not determine the types of the columns")));
	}
	return syncstate_make_packer(context, n, types);
}

/* ---------------------------------------------------------------- storing */

static void
enlarge(SyncstatePacker *packer, Size needed)
{
	Size		size = packer->size;

	while (size - packer->used < needed)
		size *= 2;
	packer->buffer = repalloc_huge(packer->buffer, size);
	packer->size = size;
}

/* Room for so many bytes at the end of the buffer, which then counts as used. */
static inline char *
append(SyncstatePacker *packer, Size length)
{
	char	   *start;

	if (unlikely(packer->size - packer->used < length))
		enlarge(packer, length);
	start = packer->buffer + packer->used;
	packer->used += length;
	return start;
}

/*
 * memcpy for what is most often short: a call, or what the compiler makes of it
 * for a length that it does not know, would take longer than to copy a few words.
 * The last ones overlap where the length is no multiple.
 */
static inline void
copy_bytes(char *to, const char *from, Size length)
{
	if (length > 128)
		memcpy(to, from, length);
	else if (length >= 16)
	{
		for (Size i = 0; i + 16 <= length; i += 16)
			memcpy(to + i, from + i, 16);
		memcpy(to + length - 16, from + length - 16, 16);
	}
	else if (length >= 8)
	{
		memcpy(to, from, 8);
		memcpy(to + length - 8, from + length - 8, 8);
	}
	else if (length >= 4)
	{
		memcpy(to, from, 4);
		memcpy(to + length - 4, from + length - 4, 4);
	}
	else
	{
		for (Size i = 0; i < length; i++)
			to[i] = from[i];
	}
}

static inline uint64
little_endian(uint64 value)
{
#ifdef WORDS_BIGENDIAN
	return pg_bswap64(value);
#else
	return value;
#endif
}

static inline void
store64(char *out, uint64 value)
{
	value = little_endian(value);
	memcpy(out, &value, sizeof(value));
}

static inline void
store32(char *out, uint32 value)
{
#ifdef WORDS_BIGENDIAN
	value = pg_bswap32(value);
#endif
	memcpy(out, &value, sizeof(value));
}

static inline void
store16(char *out, uint16 value)
{
#ifdef WORDS_BIGENDIAN
	value = pg_bswap16(value);
#endif
	memcpy(out, &value, sizeof(value));
}

static inline void
pack_tag(SyncstatePacker *packer, Tag tag)
{
	*append(packer, 1) = (char) tag;
}

static inline void
pack_tagged64(SyncstatePacker *packer, Tag tag, uint64 value)
{
	char	   *out = append(packer, 1 + sizeof(uint64));

	out[0] = (char) tag;
	store64(out + 1, value);
}

static inline void
pack_uint32(SyncstatePacker *packer, uint32 value)
{
	store32(append(packer, sizeof(uint32)), value);
}

static inline void
pack_bytes(SyncstatePacker *packer, const char *bytes, Size length)
{
	char	   *out = append(packer, sizeof(uint32) + length);

	store32(out, (uint32) length);
	copy_bytes(out + sizeof(uint32), bytes, length);
}

static inline void
pack_tagged_bytes(SyncstatePacker *packer, Tag tag, const char *bytes, Size length)
{
	char	   *out = append(packer, 1 + sizeof(uint32) + length);

	out[0] = (char) tag;
	store32(out + 1, (uint32) length);
	copy_bytes(out + 1 + sizeof(uint32), bytes, length);
}

/* Text in UTF-8; it is not copied if it is that already. */
static const char *
in_utf8(const char *text, Size *length)
{
	char	   *converted;

	/* ASCII is the same in all encodings that a database can have. */
	for (Size i = 0; i < *length; i++)
	{
		if (!IS_HIGHBIT_SET(text[i]))
			continue;
		converted = pg_server_to_any(text, (int) *length, PG_UTF8);
		*length = strlen(converted);
		return converted;
	}
	return text;
}

static inline void
pack_text(SyncstatePacker *packer, Tag tag, const char *text, Size length)
{
	if (unlikely(packer->converts))
		text = in_utf8(text, &length);
	pack_tagged_bytes(packer, tag, text, length);
}

/* ----------------------------------------------------------------- values */

/* One zero, and one NaN whatever its bits. */
static void
pack_float(SyncstatePacker *packer, double value)
{
	uint64		bits;

	if (value == 0)
		value = 0;
	memcpy(&bits, &value, sizeof(bits));
	if (isnan(value))
		bits = UINT64CONST(0x7ff8000000000000);
	pack_tagged64(packer, TAG_FLOAT, bits);
}

/*
 * numeric, as it is on disk behind its length word: the format that pg_upgrade
 * relies on (utils/adt/numeric.c, "struct NumericData").  A word with sign and
 * display scale, a weight, or both in a word if they are small; then digits to
 * the base of 10,000.  The display scale is left out, and so are zeros at
 * either end, which it might have brought.
 */
#define NUMERIC_KIND_MASK 0xC000
#define NUMERIC_KIND_SHORT 0x8000
#define NUMERIC_KIND_NEGATIVE 0x4000
#define NUMERIC_KIND_SPECIAL 0xC000
#define NUMERIC_SHORT_NEGATIVE 0x2000
#define NUMERIC_SHORT_WEIGHT_SIGN 0x0040
#define NUMERIC_SHORT_WEIGHT 0x003F

static inline uint16
native16(const char *in)
{
	uint16		value;

	memcpy(&value, in, sizeof(value));
	return value;
}

/* The most bytes that a number of so many bytes is written as. */
#define WRITTEN_NUMERIC(length) (6 + (length))

static char *
write_numeric(char *out, const char *data, Size length)
{
	uint16		header = native16(data);
	bool		negative;
	int			weight;
	int			ndigits;
	const char *digits;

	*out++ = TAG_NUMERIC;
	if (likely((header & NUMERIC_KIND_MASK) == NUMERIC_KIND_SHORT))
	{
		negative = (header & NUMERIC_SHORT_NEGATIVE) != 0;
		weight = header & NUMERIC_SHORT_WEIGHT;
		if (header & NUMERIC_SHORT_WEIGHT_SIGN)
			weight -= NUMERIC_SHORT_WEIGHT + 1;
		digits = data + sizeof(uint16);
	}
	else if ((header & NUMERIC_KIND_MASK) == NUMERIC_KIND_SPECIAL)
	{
		/* NaN, infinity or minus infinity, by the first four bits */
		*out++ = (char) (header >> 12);
		return out;
	}
	else
	{
		negative = (header & NUMERIC_KIND_MASK) == NUMERIC_KIND_NEGATIVE;
		weight = (int16) native16(data + sizeof(uint16));
		digits = data + 2 * sizeof(uint16);
	}

	ndigits = (int) ((length - (digits - data)) / sizeof(uint16));
	while (ndigits > 0 && native16(digits) == 0)
	{
		digits += sizeof(uint16);
		ndigits--;
		weight--;
	}
	while (ndigits > 0 && native16(digits + (ndigits - 1) * sizeof(uint16)) == 0)
		ndigits--;
	if (ndigits == 0)
	{
		negative = false;
		weight = 0;
	}

	*out++ = negative;
	store16(out, (uint16) weight);
	store16(out + 2, (uint16) ndigits);
	out += 4;
	for (int i = 0; i < ndigits; i++)
		store16(out + i * sizeof(uint16), native16(digits + i * sizeof(uint16)));
	return out + ndigits * sizeof(uint16);
}

static void
pack_numeric(SyncstatePacker *packer, const char *data, Size length)
{
	char	   *start = append(packer, WRITTEN_NUMERIC(length));

	packer->used = write_numeric(start, data, length) - packer->buffer;
}

/*
 * jsonb, from its tree of containers (utils/jsonb.h), whose keys are unique and
 * in an order of their own.  A letter for what comes, then:
 *
 *	o	number of pairs, then keys and values in turn; a key is length and bytes
 *	a	number of elements, elements
 *	s	length and bytes
 *	d	a number, as numeric
 *	t f n	true, false, null
 */
static char *write_jsonb_container(char *out, const char *container, int depth);

/* A value with a short length word may be anywhere: no word of it is aligned. */
static inline uint32
native32(const char *in)
{
	uint32		value;

	memcpy(&value, in, sizeof(value));
	return value;
}

static inline char *
write_string(char *out, const char *string, uint32 length)
{
	store32(out, length);
	out += sizeof(uint32);
	copy_bytes(out, string, length);
	return out + length;
}

/* The number itself is a value with a length word of its own. */
static inline char *
write_jsonb_number(char *out, const char *number, const char *end)
{
	*out++ = 'd';
	number += VARATT_IS_1B(number) ? VARHDRSZ_SHORT : VARHDRSZ;
	return write_numeric(out, number, end - number);
}

static inline char *
write_jsonb_entry(char *out, JEntry entry, const char *base, uint32 offset, uint32 end, int depth)
{
	switch (entry & JENTRY_TYPEMASK)
	{
		case JENTRY_ISSTRING:
			*out++ = 's';
			return write_string(out, base + offset, end - offset);
		case JENTRY_ISNUMERIC:
			return write_jsonb_number(out, base + INTALIGN(offset), base + end);
		case JENTRY_ISBOOL_TRUE:
			*out++ = 't';
			return out;
		case JENTRY_ISBOOL_FALSE:
			*out++ = 'f';
			return out;
		case JENTRY_ISNULL:
			*out++ = 'n';
			return out;
		default:
			return write_jsonb_container(out, base + INTALIGN(offset), depth + 1);
	}
}

static char *
write_jsonb_array(char *out, const char *entries, uint32 n, bool scalar, int depth)
{
	const char *base = entries + (Size) n * sizeof(JEntry);
	uint32		offset = 0;

	/* A scalar is kept as an array of one, which is flagged. */
	*out++ = scalar ? 'S' : 'a';
	store32(out, n);
	out += sizeof(uint32);
	for (uint32 i = 0; i < n; i++)
	{
		JEntry		entry = native32(entries + i * sizeof(JEntry));
		uint32		end = offset;

		JBE_ADVANCE_OFFSET(end, entry);
		out = write_jsonb_entry(out, entry, base, offset, end, depth);
		offset = end;
	}
	return out;
}

static char *
write_jsonb_object(char *out, const char *keys, uint32 n, int depth)
{
	const char *values = keys + (Size) n * sizeof(JEntry);
	const char *base = values + (Size) n * sizeof(JEntry);
	uint32		key_offset = 0;
	uint32		value_offset = 0;

	*out++ = 'o';
	store32(out, n);
	out += sizeof(uint32);

	/* All keys come before all values. */
	for (uint32 i = 0; i < n; i++)
		JBE_ADVANCE_OFFSET(value_offset, native32(keys + i * sizeof(JEntry)));
	for (uint32 i = 0; i < n; i++)
	{
		JEntry		value = native32(values + i * sizeof(JEntry));
		uint32		key_end = key_offset;
		uint32		value_end = value_offset;

		JBE_ADVANCE_OFFSET(key_end, native32(keys + i * sizeof(JEntry)));
		out = write_string(out, base + key_offset, key_end - key_offset);
		key_offset = key_end;

		JBE_ADVANCE_OFFSET(value_end, value);
		out = write_jsonb_entry(out, value, base, value_offset, value_end, depth);
		value_offset = value_end;
	}
	return out;
}

static char *
write_jsonb_container(char *out, const char *container, int depth)
{
	uint32		header = native32(container);
	const char *entries = container + offsetof(JsonbContainer, children);

	/* A frame is small, so it does to look now and then. */
	if (unlikely(depth % 8 == 7))
	{
		CHECK_FOR_INTERRUPTS();
		check_stack_depth();
	}
	if (header & JB_FOBJECT)
		return write_jsonb_object(out, entries, header & JB_CMASK, depth);
	return write_jsonb_array(out, entries, header & JB_CMASK, (header & JB_FSCALAR) != 0, depth);
}

/*
 * The most bytes that a jsonb of so many bytes is written as: one or two more for
 * a node than the four that it has of its own there, besides its bytes.
 */
#define WRITTEN_JSONB(length) (2 * (length) + 16)

/* A jsonb with its strings in UTF-8, by which the keys of its objects are sorted. */
static Jsonb *
jsonb_in_utf8(Jsonb *jsonb)
{
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	bool		scalar = it->isScalar;
	JsonbInState state = {0};
	JsonbIteratorToken token;
	JsonbValue	v;

	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		bool		has_value = token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM;

		if (has_value && v.type == jbvString)
		{
			Size		length = v.val.string.len;

			v.val.string.val = unconstify(char *, in_utf8(v.val.string.val, &length));
			v.val.string.len = (int) length;
		}
		pushJsonbValue(&state, token, has_value ? &v : NULL);
	}
	if (state.result->type == jbvArray)
		state.result->val.array.rawScalar = scalar;
	return JsonbValueToJsonb(state.result);
}

static void
pack_jsonb(SyncstatePacker *packer, const char *data, Size length)
{
	char	   *out = append(packer, 1 + WRITTEN_JSONB(length));

	*out++ = TAG_JSONB;
	out = write_jsonb_container(out, data, 0);
	Assert(out <= packer->buffer + packer->used);
	packer->used = out - packer->buffer;
}

static inline void
pack_or_null(SyncstatePacker *packer, SyncstateTypePacker *type, Datum value, bool isnull)
{
	if (isnull)
		pack_tag(packer, TAG_NULL);
	else
		pack_value(packer, type, value);
}

/* Number of dimensions, length and lower bound of each, elements in storage order. */
static void
pack_array(SyncstatePacker *packer, SyncstateTypePacker *type, ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	pack_tag(packer, TAG_ARRAY);
	pack_uint32(packer, ARR_NDIM(array));
	for (int i = 0; i < ARR_NDIM(array); i++)
	{
		pack_uint32(packer, ARR_DIMS(array)[i]);
		pack_uint32(packer, ARR_LBOUND(array)[i]);
	}
	deconstruct_array(array, ARR_ELEMTYPE(array), type->typlen, type->typbyval, type->typalign,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		pack_or_null(packer, type->element, values[i], nulls[i]);
}

static void
pack_composite(SyncstatePacker *packer, SyncstateTypePacker *type, HeapTupleHeader header)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											  HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {0};
	Datum	   *values = palloc_array(Datum, Max(desc->natts, 1));
	bool	   *nulls = palloc_array(bool, Max(desc->natts, 1));
	SyncstateTypePacker *fields;
	uint32		n = 0;

	check_stack_depth();
	fields = field_packers(packer, type, desc);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, desc, values, nulls);

	for (int i = 0; i < desc->natts; i++)
		n += !TupleDescAttr(desc, i)->attisdropped;
	pack_tag(packer, TAG_COMPOSITE);
	pack_uint32(packer, n);
	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			pack_or_null(packer, &fields[i], values[i], nulls[i]);
	}
	ReleaseTupleDesc(desc);
}

/*
 * Flags that say what the range is like, then the bounds that are not infinite;
 * an infinite one is NULL.  Flags that say how it is stored are left out.
 */
static void
pack_range(SyncstatePacker *packer, SyncstateTypePacker *type, TypeCacheEntry *typcache, const RangeType *range)
{
	RangeBound	lower;
	RangeBound	upper;
	bool		empty;
	char	   *out = append(packer, 2);

	range_deserialize(typcache, range, &lower, &upper, &empty);
	out[0] = TAG_RANGE;
	out[1] = empty ? 1
		: (lower.inclusive ? 2 : 0) | (upper.inclusive ? 4 : 0) |
			(lower.infinite ? 8 : 0) | (upper.infinite ? 16 : 0);
	if (empty)
		return;
	pack_or_null(packer, type, lower.val, lower.infinite);
	pack_or_null(packer, type, upper.val, upper.infinite);
}

static void
pack_multirange(SyncstatePacker *packer, SyncstateTypePacker *type, const MultirangeType *multirange)
{
	int32		n;
	RangeType **ranges;

	multirange_deserialize(type->typcache->rngtype, multirange, &n, &ranges);
	pack_tag(packer, TAG_MULTIRANGE);
	pack_uint32(packer, n);
	for (int i = 0; i < n; i++)
		pack_value(packer, type->element, RangeTypePGetDatum(ranges[i]));
}

/*
 * Send functions convert text to the client's encoding; let that be UTF-8
 * meanwhile, so that the session's settings do not matter.
 */
static bytea *
send_value(SyncstateTypePacker *type, Datum value)
{
	int			encoding = pg_get_client_encoding();
	bytea *volatile sent = NULL;

	int			wanted = GetDatabaseEncoding() == PG_SQL_ASCII ? PG_SQL_ASCII : PG_UTF8;

	if (encoding == wanted)
		return SendFunctionCall(&type->send, value);

	if (PrepareClientEncoding(wanted) < 0 || SetClientEncoding(wanted) < 0)
		elog(ERROR, "cannot convert to UTF-8");
	PG_TRY();
	{
		sent = SendFunctionCall(&type->send, value);
	}
	PG_FINALLY();
	{
		SetClientEncoding(encoding);
	}
	PG_END_TRY();
	return sent;
}

static void
pack_other(SyncstatePacker *packer, SyncstateTypePacker *type, Datum value)
{
	bytea	   *sent = send_value(type, value);

	pack_tagged_bytes(packer, TAG_OTHER, type->name, strlen(type->name));
	pack_bytes(packer, VARDATA(sent), VARSIZE(sent) - VARHDRSZ);
}

static void
pack_enum(SyncstatePacker *packer, Oid label)
{
	HeapTuple	tuple = SearchSysCache1(ENUMOID, ObjectIdGetDatum(label));
	const char *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid internal value for enum: %u", label)));
	name = NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel);
	pack_text(packer, TAG_TEXT, name, strlen(name));
	ReleaseSysCache(tuple);
}

static void
pack_varlena(SyncstatePacker *packer, Kind kind, struct varlena *value)
{
	const char *bytes = VARDATA_ANY(value);
	Size		length = VARSIZE_ANY_EXHDR(value);
	Jsonb	   *jsonb;

	switch (kind)
	{
		case KIND_CONVERTED_TEXT:
			pack_text(packer, TAG_TEXT, bytes, length);
			break;
		case KIND_CONVERTED_JSONB:
			jsonb = jsonb_in_utf8(DatumGetJsonbP(PointerGetDatum(value)));
			pack_jsonb(packer, VARDATA(jsonb), VARSIZE(jsonb) - VARHDRSZ);
			break;
		case KIND_BPCHAR:
			pack_text(packer, TAG_TEXT, bytes, bpchartruelen(unconstify(char *, bytes), (int) length));
			break;
		case KIND_BYTEA:
			pack_tagged_bytes(packer, TAG_BYTEA, bytes, length);
			break;
		case KIND_JSON:
			pack_text(packer, TAG_JSON, bytes, length);
			break;
		default:
			Assert(kind == KIND_NUMERIC);
			pack_numeric(packer, bytes, length);
			break;
	}
}

static void
pack_char(SyncstatePacker *packer, char c)
{
	pack_tagged_bytes(packer, TAG_TEXT, &c, c == '\0' ? 0 : 1);
}

static void
pack_timetz(SyncstatePacker *packer, const TimeTzADT *time)
{
	pack_tagged64(packer, TAG_TIMETZ, (uint64) time->time);
	pack_uint32(packer, (uint32) time->zone);
}

static void
pack_interval(SyncstatePacker *packer, const Interval *interval)
{
	pack_tagged64(packer, TAG_INTERVAL, (uint64) interval->time);
	pack_uint32(packer, (uint32) interval->day);
	pack_uint32(packer, (uint32) interval->month);
}

static void
pack_uuid(SyncstatePacker *packer, const pg_uuid_t *uuid)
{
	char	   *out = append(packer, 1 + UUID_LEN);

	out[0] = TAG_UUID;
	memcpy(out + 1, uuid->data, UUID_LEN);
}

/* Values of the kinds that pack_value() leaves to us. */
static pg_noinline void
pack_other_kind(SyncstatePacker *packer, SyncstateTypePacker *type, Datum value)
{
	switch (type->kind)
	{
		case KIND_OID:
			pack_tagged64(packer, TAG_INTEGER, (uint64) DatumGetObjectId(value));
			break;
		case KIND_FLOAT4:
			pack_float(packer, (double) DatumGetFloat4(value));
			break;
		case KIND_FLOAT8:
			pack_float(packer, DatumGetFloat8(value));
			break;
		case KIND_NUMERIC:
		case KIND_CONVERTED_TEXT:
		case KIND_CONVERTED_JSONB:
		case KIND_BPCHAR:
		case KIND_BYTEA:
		case KIND_JSON:
			pack_varlena(packer, type->kind, PG_DETOAST_DATUM_PACKED(value));
			break;
		case KIND_CSTRING:
			pack_text(packer, TAG_TEXT, DatumGetCString(value), strlen(DatumGetCString(value)));
			break;
		case KIND_NAME:
			pack_text(packer, TAG_TEXT, NameStr(*DatumGetName(value)), strlen(NameStr(*DatumGetName(value))));
			break;
		case KIND_CHAR:
			pack_char(packer, DatumGetChar(value));
			break;
		case KIND_ENUM:
			pack_enum(packer, DatumGetObjectId(value));
			break;
		case KIND_UUID:
			pack_uuid(packer, DatumGetUUIDP(value));
			break;
		case KIND_DATE:
			pack_tagged64(packer, TAG_DATE, (uint64) (int64) DatumGetDateADT(value));
			break;
		case KIND_TIME:
			pack_tagged64(packer, TAG_TIME, (uint64) DatumGetTimeADT(value));
			break;
		case KIND_TIMETZ:
			pack_timetz(packer, DatumGetTimeTzADTP(value));
			break;
		case KIND_INTERVAL:
			pack_interval(packer, DatumGetIntervalP(value));
			break;
		case KIND_ARRAY:
			pack_array(packer, type, DatumGetArrayTypeP(value));
			break;
		case KIND_COMPOSITE:
			pack_composite(packer, type, DatumGetHeapTupleHeader(value));
			break;
		case KIND_RANGE:
			pack_range(packer, type->element, type->typcache, DatumGetRangeTypeP(value));
			break;
		case KIND_MULTIRANGE:
			pack_multirange(packer, type, DatumGetMultirangeTypeP(value));
			break;
		case KIND_OTHER:
			pack_other(packer, type, value);
			break;
		default:				/* those of pack_value(); no type was left unknown */
			Assert(false);
			break;
	}
}

/* The kinds that most columns are of; nothing here needs a frame to speak of. */
static inline void
pack_value(SyncstatePacker *packer, SyncstateTypePacker *type, Datum value)
{
	struct varlena *varlena;

	switch (type->kind)
	{
		case KIND_TEXT:
			varlena = PG_DETOAST_DATUM_PACKED(value);
			pack_tagged_bytes(packer, TAG_TEXT, VARDATA_ANY(varlena), VARSIZE_ANY_EXHDR(varlena));
			break;
		case KIND_JSONB:
			varlena = PG_DETOAST_DATUM_PACKED(value);
			pack_jsonb(packer, VARDATA_ANY(varlena), VARSIZE_ANY_EXHDR(varlena));
			break;
		case KIND_INT8:
			pack_tagged64(packer, TAG_INTEGER, (uint64) DatumGetInt64(value));
			break;
		case KIND_INT4:
			pack_tagged64(packer, TAG_INTEGER, (uint64) (int64) DatumGetInt32(value));
			break;
		case KIND_INT2:
			pack_tagged64(packer, TAG_INTEGER, (uint64) (int64) DatumGetInt16(value));
			break;
		case KIND_TIMESTAMPTZ:
			pack_tagged64(packer, TAG_TIMESTAMPTZ, (uint64) DatumGetTimestampTz(value));
			break;
		case KIND_TIMESTAMP:
			pack_tagged64(packer, TAG_TIMESTAMP, (uint64) DatumGetTimestamp(value));
			break;
		case KIND_BOOL:
			pack_tag(packer, TAG_BOOL);
			pack_tag(packer, DatumGetBool(value) ? 1 : 0);
			break;
		default:
			pack_other_kind(packer, type, value);
			break;
	}
}

/* Appends columns from <= i < to of a row; there is one copy of it, for it is large. */
static pg_noinline void
pack_columns(SyncstatePacker *packer, const NullableDatum *values, int from, int to)
{
	for (int i = from; i < to; i++)
		pack_or_null(packer, &packer->columns[i], values[i].value, values[i].isnull);
}

static void
pack_row(SyncstatePacker *packer, const NullableDatum *values)
{
	packer->used = 0;
	pack_columns(packer, values, 0, packer->ncolumns);
}

/* How many bytes a value is packed into that is not NULL; 0 if that varies. */
static Size
packed_length(Kind kind)
{
	switch (kind)
	{
		case KIND_BOOL:
			return 1 + 1;
		case KIND_INT2:
		case KIND_INT4:
		case KIND_INT8:
		case KIND_OID:
		case KIND_FLOAT4:
		case KIND_FLOAT8:
		case KIND_DATE:
		case KIND_TIME:
		case KIND_TIMESTAMP:
		case KIND_TIMESTAMPTZ:
			return 1 + sizeof(uint64);
		case KIND_UUID:
			return 1 + UUID_LEN;
		default:
			return 0;
	}
}

/* The same of so many first columns. */
static Size
packed_key_length(const SyncstatePacker *packer, int key_columns)
{
	Size		sum = 0;

	for (int i = 0; i < key_columns; i++)
	{
		Size		length = packed_length(packer->columns[i].kind);

		if (length == 0)
			return 0;
		sum += length;
	}
	return sum;
}

static bool
has_null(const NullableDatum *values, int n)
{
	for (int i = 0; i < n; i++)
	{
		if (values[i].isnull)
			return true;
	}
	return false;
}

/*
 * Packs a row of which the first columns are the key; returns how many bytes those
 * take, which for most keys is known before.
 */
Size
syncstate_pack_row_with_key(SyncstatePacker *packer, const NullableDatum *values, int key_columns)
{
	Size		key_length;

	if (unlikely(packer->key_columns != key_columns))
	{
		packer->key_columns = key_columns;
		packer->key_length = packed_key_length(packer, key_columns);
	}
	if (likely(packer->key_length > 0 && !has_null(values, key_columns)))
	{
		pack_row(packer, values);
		return packer->key_length;
	}
	packer->used = 0;
	pack_columns(packer, values, 0, key_columns);
	key_length = packer->used;
	pack_columns(packer, values, key_columns, packer->ncolumns);
	return key_length;
}

/* The hash of a row. */
SyncstateHash
syncstate_pack_and_hash(SyncstatePacker *packer, const NullableDatum *values)
{
	pack_row(packer, values);
	return syncstate_hash_bytes(packer->buffer, packer->used);
}

/* A buffer that was needed for a large row is not kept for longer than that. */
#define MOST_KEPT (1024 * 1024)

void
syncstate_trim_packer(SyncstatePacker *packer)
{
	if (likely(packer->size <= MOST_KEPT))
		return;
	packer->size = MOST_KEPT;
	packer->buffer = repalloc(packer->buffer, packer->size);
}

/* Asks for the rows that come next, by the first value that points into this one's page. */
void
syncstate_prefetch_next_row(SyncstatePacker *packer, const NullableDatum *values)
{
	for (int i = packer->first_by_reference; i < packer->ncolumns; i++)
	{
		if (!values[i].isnull && packer->columns[i].by_reference)
		{
			syncstate_prefetch_row((const char *) DatumGetPointer(values[i].value), &packer->prefetch);
			return;
		}
	}
}

/* Big-endian, as hashes are written. */
char *
syncstate_store_uint64(char *out, uint64 value)
{
	uint64		big = pg_hton64(value);

	memcpy(out, &big, sizeof(big));
	return out + sizeof(big);
}

const char *
syncstate_load_uint64(const char *in, uint64 *value)
{
	uint64		big;

	memcpy(&big, in, sizeof(big));
	*value = pg_ntoh64(big);
	return in + sizeof(big);
}

char *
syncstate_store_hash(char *out, SyncstateHash hash)
{
	return syncstate_store_uint64(syncstate_store_uint64(out, hash.high), hash.low);
}

const char *
syncstate_load_hash(const char *in, SyncstateHash *hash)
{
	in = syncstate_load_uint64(in, &hash->high);
	return syncstate_load_uint64(in, &hash->low);
}
