/*-------------------------------------------------------------------------
 *
 * canonical.c
 *		Hashes of documents: SHA-256 of their canonical form, and of bytes.
 *
 * The canonical form is that of RFC 8785 (JCS), in UTF-8 whatever the
 * encoding of the database: no white space, members sorted by the UTF-16 code
 * units of their names, strings with the fewest escapes, numbers as
 * ECMAScript's Number::toString writes them.  It is hashed while it is being
 * written and never held as a whole.
 *
 * JCS knows only the numbers that are IEEE 754 doubles, jsonb has any decimal.
 * A number is accepted if its canonical text denotes that very number, which
 * makes 0.1 acceptable though no double equals it; all others are refused.
 * Rounding them would give different documents one hash.  As it is, equal
 * hashes mean documents that are equal by jsonb's own "=".
 *
 * The walk reads jsonb's on-disk format, which pg_upgrade obliges to stay as
 * it is.  A JsonbIterator would hand out the members in jsonb's order, so that
 * each object would have to be copied to be sorted; and it keeps no path to
 * name in an error.  What an object costs here is an array of 24 bytes per
 * member, which for the largest object that jsonb admits stays below
 * MaxAllocSize.  Nothing recurses.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "syncstate.h"

PG_FUNCTION_INFO_V1(sync_hash);
PG_FUNCTION_INFO_V1(sync_hash_text);

/* ------------------------------------------------------------------ hashing */

typedef struct Hasher
{
	pg_cryptohash_ctx *context; /* freed with the resource owner on an error */
	size_t		used;			/* bytes waiting in the buffer */
	char		buffer[8192];
} Hasher;

static void
report_hash_failure(const Hasher *hasher)
{
	elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hasher->context));
}

static void
begin_hash(Hasher *hasher)
{
	hasher->used = 0;
	hasher->context = pg_cryptohash_create(PG_SHA256);
	if (hasher->context == NULL || pg_cryptohash_init(hasher->context) < 0)
		report_hash_failure(hasher);
}

static void
hash_bytes(Hasher *hasher, const char *bytes, size_t length)
{
	if (pg_cryptohash_update(hasher->context, (const uint8 *) bytes, length) < 0)
		report_hash_failure(hasher);
}

/* Adds bytes to what is hashed; small pieces are gathered. */
static void
put(Hasher *hasher, const char *bytes, size_t length)
{
	const size_t slice = 1024 * 1024;

	if (length > sizeof(hasher->buffer) - hasher->used)
	{
		hash_bytes(hasher, hasher->buffer, hasher->used);
		hasher->used = 0;
	}
	/* What does not fit into the empty buffer goes past it. */
	for (; length > sizeof(hasher->buffer); bytes += Min(length, slice), length -= Min(length, slice))
	{
		CHECK_FOR_INTERRUPTS();
		hash_bytes(hasher, bytes, Min(length, slice));
	}
	memcpy(hasher->buffer + hasher->used, bytes, length);
	hasher->used += length;
}

static void
put_char(Hasher *hasher, char c)
{
	put(hasher, &c, 1);
}

/* The hash of all that was put, in hexadecimal. */
static text *
end_hash(Hasher *hasher)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	text	   *result = palloc(VARHDRSZ + 2 * sizeof(digest));

	hash_bytes(hasher, hasher->buffer, hasher->used);
	if (pg_cryptohash_final(hasher->context, digest, sizeof(digest)) < 0)
		report_hash_failure(hasher);
	pg_cryptohash_free(hasher->context);

	SET_VARSIZE(result, VARHDRSZ + 2 * sizeof(digest));
	hex_encode((const char *) digest, sizeof(digest), VARDATA(result));
	return result;
}

/* ------------------------------------------------------------------ numbers */

/* No double needs more digits than these to be told from all others. */
#define MAX_DIGITS 17

/* Room for any number in canonical form. */
#define NUMBER_LENGTH 32

/* The number 0.digits * 10^point; no digit is 0 at either end, zero has none. */
typedef struct Decimal
{
	bool		negative;
	int			point;
	int			ndigits;
	char		digits[MAX_DIGITS];
} Decimal;

/*
 * Reads digits with or without a decimal point and an exponent.  False: there
 * are more digits than a double can have, or it is not a finite number.
 */
static bool
read_decimal(const char *text, Decimal *decimal)
{
	bool		fraction = false;
	int			zeros = 0;		/* which count if another digit follows */

	memset(decimal, 0, sizeof(Decimal));
	if (*text == '-')
	{
		decimal->negative = true;
		text++;
	}
	for (; *text != '\0' && *text != 'e'; text++)
	{
		if (*text == '.')
			fraction = true;
		else if (*text < '0' || *text > '9')
			return false;
		else if (*text == '0' && decimal->ndigits == 0)
			decimal->point -= fraction;
		else
		{
			decimal->point += !fraction;
			if (*text == '0')
			{
				zeros++;
				continue;
			}
			if (decimal->ndigits + zeros >= MAX_DIGITS)
				return false;
			for (; zeros > 0; zeros--)
				decimal->digits[decimal->ndigits++] = '0';
			decimal->digits[decimal->ndigits++] = *text;
		}
	}
	if (*text == 'e')
		decimal->point += atoi(text + 1);
	if (decimal->ndigits == 0)
		memset(decimal, 0, sizeof(Decimal));
	return true;
}

static bool
same_decimal(const Decimal *a, const Decimal *b)
{
	return a->negative == b->negative && a->point == b->point &&
		a->ndigits == b->ndigits && memcmp(a->digits, b->digits, a->ndigits) == 0;
}

static double
nearest_double(const Decimal *decimal)
{
	char		text[NUMBER_LENGTH];

	snprintf(text, sizeof(text), "%s0.%.*se%d", decimal->negative ? "-" : "",
			 decimal->ndigits, decimal->digits, decimal->point);
	return strtod(text, NULL);
}

/*
 * The decimal that ECMAScript writes for a finite double: of those that are
 * read back as this double the shortest, and of these the nearest.
 *
 * The server's own shortest form is just this with one exception.  It never
 * uses a number that lies exactly between two doubles, where reading goes by
 * "ties to even": of 1e23 it makes 9.999999999999999e22.  Such a midpoint is an
 * odd number of at least 54 bits times a power of two, and with 17 digits at
 * most there are none of those below 2^53, nor from 10^40 on.  If one is
 * shorter than the server's form, it is the nearest of all decimals that are a
 * digit shorter.
 */
static void
shortest_decimal(double value, Decimal *decimal)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	double_to_shortest_decimal_buf(value, text);
	if (!read_decimal(text, decimal))
		elog(ERROR, "unexpected form of a double: %s", text);

	if (decimal->ndigits > 1 && fabs(value) >= 9007199254740992.0 && fabs(value) < 1e40)
	{
		snprintf(text, sizeof(text), "%.*e", decimal->ndigits - 2, value);
		if (strtod(text, NULL) == value)
			read_decimal(text, decimal);
	}
}

/* Writes a number as ECMA-262, Number::toString, has it; returns the length. */
static int
format_decimal(const Decimal *decimal, char *out)
{
	const char *digits = decimal->digits;
	int			k = decimal->ndigits;
	int			n = decimal->point;
	char	   *start = out;

	if (k == 0)
		*out++ = '0';
	if (decimal->negative)
		*out++ = '-';

	if (k > 0 && n > 0 && n <= 21)
	{
		int			whole = Min(k, n);

		memcpy(out, digits, whole);
		memset(out + whole, '0', n - whole);
		out += n;
		if (k > n)
		{
			*out++ = '.';
			memcpy(out, digits + n, k - n);
			out += k - n;
		}
	}
	else if (k > 0 && n > -6 && n <= 0)
	{
		memcpy(out, "0.00000", 2 - n);
		out += 2 - n;
		memcpy(out, digits, k);
		out += k;
	}
	else if (k > 0)
	{
		*out++ = digits[0];
		if (k > 1)
		{
			*out++ = '.';
			memcpy(out, digits + 1, k - 1);
			out += k - 1;
		}
		out += sprintf(out, "e%c%d", n > 0 ? '+' : '-', abs(n - 1));
	}
	*out = '\0';
	Assert(out - start < NUMBER_LENGTH);
	return out - start;
}

/*
 * Is the number, as a decimal, what is written for its nearest double?
 *
 * It is, without a look at that double, if it has at most DBL_DIG digits: of
 * such numbers no two are read as one double.  The bounds on the exponent keep
 * clear of where doubles end, or have fewer bits.
 */
static bool
is_exact(const Decimal *decimal)
{
	double		value;
	Decimal		canonical;

	if (decimal->ndigits <= DBL_DIG && abs(decimal->point) <= 300)
		return true;

	value = nearest_double(decimal);
	if (isinf(value))
		return false;
	shortest_decimal(value, &canonical);
	return same_decimal(decimal, &canonical);
}

/* ----------------------------------------------------------------- the walk */

/* A member of an object. */
typedef struct Member
{
	const char *name;			/* in UTF-8 */
	int			length;
	bool		converted;		/* the name is a copy */
	uint32		position;		/* in jsonb's order */
	uint32		offset;			/* of its value in the container's data */
} Member;

/* A container that is being written. */
typedef struct Frame
{
	struct Frame *parent;
	const JsonbContainer *container;
	uint32		count;			/* elements, or members */
	uint32		next;			/* which of them comes next */
	uint32		offset;			/* of an array's next element */
	Member	   *members;		/* of an object, sorted by name; NULL: an array */
} Frame;

/* A container's data, behind the entries of its children. */
static const char *
container_data(const JsonbContainer *container)
{
	uint32		count = JsonContainerSize(container);

	return (const char *) &container->children[JsonContainerIsObject(container) ? 2 * count : count];
}

/* Text in UTF-8: the same pointer, or a copy. */
static const char *
to_utf8(const char *string, int *length)
{
	const char *utf8 = pg_server_to_any(string, *length, PG_UTF8);

	if (utf8 != string)
		*length = strlen(utf8);
	return utf8;
}

/*
 * Order of UTF-16 code units, found in UTF-8.  Bytes are in the order of code
 * points; UTF-16 differs from it in having U+10000 and above (which begin with
 * a byte from 0xF0 on) as surrogates, below U+E000 (0xEE) to U+FFFF (0xEF).
 */
static int
compare_members(const void *a, const void *b)
{
	const Member *ma = a;
	const Member *mb = b;
	int			shorter = Min(ma->length, mb->length);

	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < shorter; i++)
	{
		unsigned char ca = ma->name[i];
		unsigned char cb = mb->name[i];

		if (ca == cb)
			continue;
		if (ca >= 0xEE && cb >= 0xEE && (ca >= 0xF0) != (cb >= 0xF0))
			return ca >= 0xF0 ? -1 : 1;
		return ca < cb ? -1 : 1;
	}
	return (ma->length > mb->length) - (ma->length < mb->length);
}

static Member *
sorted_members(const JsonbContainer *container)
{
	uint32		count = JsonContainerSize(container);
	const char *data = container_data(container);
	Member	   *members = palloc_array(Member, Max(count, 1));
	uint32		offset = 0;

	for (uint32 i = 0; i < count; i++)
	{
		const char *name = data + offset;
		uint32		start = offset;

		JBE_ADVANCE_OFFSET(offset, container->children[i]);
		members[i].length = offset - start;
		members[i].name = to_utf8(name, &members[i].length);
		members[i].converted = members[i].name != name;
		members[i].position = i;
	}
	for (uint32 i = 0; i < count; i++)
	{
		members[i].offset = offset;
		JBE_ADVANCE_OFFSET(offset, container->children[count + i]);
	}
	qsort(members, count, sizeof(Member), compare_members);
	return members;
}

static Frame *
enter(Frame *parent, const JsonbContainer *container)
{
	Frame	   *frame = palloc0(sizeof(Frame));

	frame->parent = parent;
	frame->container = container;
	frame->count = JsonContainerSize(container);
	if (JsonContainerIsObject(container))
		frame->members = sorted_members(container);
	return frame;
}

static Frame *
leave(Frame *frame)
{
	Frame	   *parent = frame->parent;

	if (frame->members != NULL)
	{
		for (uint32 i = 0; i < frame->count; i++)
		{
			if (frame->members[i].converted)
				pfree(unconstify(char *, frame->members[i].name));
		}
		pfree(frame->members);
	}
	pfree(frame);
	return parent;
}

/* Appends a frame's part of the path to the child that it is at. */
static void
append_step(StringInfo path, const Frame *frame)
{
	uint32		at = frame->next - 1;

	if (frame->members != NULL)
	{
		int			position = frame->members[at].position;
		const char *name = container_data(frame->container) + getJsonbOffset(frame->container, position);
		int			length = getJsonbLength(frame->container, position);
		int			shown = pg_mbcliplen(name, length, 60);

		appendStringInfoChar(path, '.');
		escape_json(path, pnstrdup(name, shown));
		if (shown < length)
			appendStringInfoString(path, "...");
	}
	else if (!JsonContainerIsScalar(frame->container))
		appendStringInfo(path, "[%u]", at);
}

/* Where in the document the walk is, as a JSON path; cut off if it is long. */
static char *
path_to(Frame *frame)
{
	const int	longest = 300;
	size_t		depth = 0;
	Frame	  **frames;
	StringInfoData path;

	for (Frame *f = frame; f != NULL; f = f->parent)
		depth++;
	frames = palloc_extended(depth * sizeof(Frame *), MCXT_ALLOC_HUGE);
	for (size_t i = depth; i > 0; frame = frame->parent)
		frames[--i] = frame;

	initStringInfo(&path);
	appendStringInfoChar(&path, '$');
	for (size_t i = 0; i < depth; i++)
	{
		if (path.len > longest)
		{
			appendStringInfoString(&path, "...");
			break;
		}
		append_step(&path, frames[i]);
	}
	return path.data;
}

static void
report_inexact(const char *number, Frame *frame)
{
	double		value = strtod(number, NULL);
	char		nearest[NUMBER_LENGTH];
	Decimal		decimal;
	const int	shown = 60;

	if (isfinite(value))
	{
		shortest_decimal(value, &decimal);
		format_decimal(&decimal, nearest);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("canonical JSON cannot carry the number %.*s%s exactly",
					shown, number, strlen(number) > shown ? "..." : ""),
			 isfinite(value)
			 ? errdetail("It is at %s. RFC 8785 has IEEE 754 doubles only, and writes the nearest one as %s.",
						 path_to(frame), nearest)
			 : errdetail("It is at %s. RFC 8785 has IEEE 754 doubles only, and they end before it.",
						 path_to(frame)),
			 errhint("Give it fewer digits, or make it a string.")));
}

static void
put_number(Hasher *hasher, Numeric number, Frame *frame)
{
	char	   *text = numeric_normalize(number);
	Decimal		decimal;
	char		canonical[NUMBER_LENGTH];

	if (!read_decimal(text, &decimal) || !is_exact(&decimal))
		report_inexact(text, frame);
	put(hasher, canonical, format_decimal(&decimal, canonical));
	pfree(text);
}

/* The escape of a character that must not stand in a string; NULL: it may. */
static const char *
escape(unsigned char c, char *buffer)
{
	switch (c)
	{
		case '"':
			return "\\\"";
		case '\\':
			return "\\\\";
		case '\b':
			return "\\b";
		case '\t':
			return "\\t";
		case '\n':
			return "\\n";
		case '\f':
			return "\\f";
		case '\r':
			return "\\r";
		default:
			if (c >= 0x20)
				return NULL;
			sprintf(buffer, "\\u%04x", c);
			return buffer;
	}
}

/* Puts a string that is in UTF-8. */
static void
put_utf8(Hasher *hasher, const char *string, int length)
{
	int			done = 0;
	char		buffer[8];

	put_char(hasher, '"');
	for (int i = 0; i < length; i++)
	{
		const char *escaped = escape(string[i], buffer);

		if (escaped == NULL)
			continue;
		put(hasher, string + done, i - done);
		put(hasher, escaped, strlen(escaped));
		done = i + 1;
	}
	put(hasher, string + done, length - done);
	put_char(hasher, '"');
}

static void
put_string(Hasher *hasher, const char *string, int length)
{
	const char *utf8 = to_utf8(string, &length);

	put_utf8(hasher, utf8, length);
	if (utf8 != string)
		pfree(unconstify(char *, utf8));
}

/*
 * Puts a child of the container that is being written, or what comes before
 * the first one of it if it is a container itself.  Returns the frame to go on
 * with.
 */
static Frame *
put_child(Hasher *hasher, Frame *frame, uint32 index, uint32 offset)
{
	JEntry		entry = frame->container->children[index];
	const char *data = container_data(frame->container);

	if (JBE_ISCONTAINER(entry))
	{
		frame = enter(frame, (const JsonbContainer *) (data + INTALIGN(offset)));
		put_char(hasher, frame->members != NULL ? '{' : '[');
	}
	else if (JBE_ISSTRING(entry))
		put_string(hasher, data + offset, getJsonbLength(frame->container, index));
	else if (JBE_ISNUMERIC(entry))
		put_number(hasher, (Numeric) (data + INTALIGN(offset)), frame);
	else if (JBE_ISBOOL_TRUE(entry))
		put(hasher, "true", 4);
	else if (JBE_ISBOOL_FALSE(entry))
		put(hasher, "false", 5);
	else
	{
		Assert(JBE_ISNULL(entry));
		put(hasher, "null", 4);
	}
	return frame;
}

/* Puts the next child of a container; returns the frame to go on with. */
static Frame *
put_next(Hasher *hasher, Frame *frame)
{
	uint32		at = frame->next++;
	uint32		offset = frame->offset;

	if (at > 0)
		put_char(hasher, ',');
	if (frame->members != NULL)
	{
		const Member *member = &frame->members[at];

		put_utf8(hasher, member->name, member->length);
		put_char(hasher, ':');
		return put_child(hasher, frame, frame->count + member->position, member->offset);
	}
	JBE_ADVANCE_OFFSET(frame->offset, frame->container->children[at]);
	return put_child(hasher, frame, at, offset);
}

/* Puts the canonical form of a document. */
static void
put_document(Hasher *hasher, const JsonbContainer *root)
{
	Frame	   *frame = enter(NULL, root);

	/* A scalar is stored as the one element of an array that is none. */
	if (!JsonContainerIsScalar(root))
		put_char(hasher, frame->members != NULL ? '{' : '[');
	while (frame != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (frame->next < frame->count)
			frame = put_next(hasher, frame);
		else
		{
			if (!JsonContainerIsScalar(frame->container))
				put_char(hasher, frame->members != NULL ? '}' : ']');
			frame = leave(frame);
		}
	}
}

/* ---------------------------------------------------------- entry points */

/*
 * sync_hash(doc): SHA-256 of the canonical form, in hexadecimal
 */
Datum
sync_hash(PG_FUNCTION_ARGS)
{
	Jsonb	   *doc = PG_GETARG_JSONB_P(0);
	Hasher		hasher;

	begin_hash(&hasher);
	put_document(&hasher, &doc->root);
	PG_RETURN_TEXT_P(end_hash(&hasher));
}

/*
 * sync_hash_text(value): SHA-256 of the bytes, as the database encodes them
 */
Datum
sync_hash_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	Hasher		hasher;

	begin_hash(&hasher);
	put(&hasher, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	PG_RETURN_TEXT_P(end_hash(&hasher));
}
