/*-------------------------------------------------------------------------
 *
 * cursor.c
 *		Positions in the change feed: snapshots, and their form as text.
 *
 * A cursor is text that its holder keeps and gives back; nothing is kept here.
 * Its form, for whoever debugs one:
 *
 *		1:SYSTEM:DATABASE:TIMELINE:INCARNATION:FROM[:TO:XID:KEY]
 *
 * with numbers in hexadecimal, a snapshot as XMIN-XMAX[-XIP,XIP...] and the key
 * as the hexadecimal digits of its bytes.  What comes back is untrusted: it is
 * read strictly, and whatever does not have this form is 22023.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "cursor.h"

#define CURSOR_FORMAT 1

/*
 * The 64-bit id of a 32-bit one that is not ahead of the next id to be given
 * out and not further behind it than ids go before they are frozen.
 */
static uint64
widen_xid(TransactionId xid, uint64 next)
{
	return next - (uint32) ((uint32) next - xid);
}

/*
 * A snapshot of the server's, made portable.  It leaves the transaction that
 * took it out of its list; what that has written is not yet committed, so here
 * it counts as in progress.
 */
SyncstateSnapshot
syncstate_take_snapshot(Snapshot snapshot)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	uint64		own = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	SyncstateSnapshot result;

	Assert(!snapshot->takenDuringRecovery);

	result.xmin = widen_xid(snapshot->xmin, next);
	result.xmax = widen_xid(snapshot->xmax, next);
	result.xip = palloc_array(uint64, snapshot->xcnt + 1);
	result.nxip = 0;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		result.xip[result.nxip++] = widen_xid(snapshot->xip[i], next);
	if (own != 0 && own < result.xmax)
		result.xip[result.nxip++] = own;
	if (own != 0 && own < result.xmin)
		result.xmin = own;
	return result;
}

/* ------------------------------------------------------------------ writing */

/* A separator and a number. */
static void
append_number(StringInfo out, char separator, uint64 number)
{
	appendStringInfo(out, "%c%llx", separator, (unsigned long long) number);
}

static void
append_snapshot(StringInfo out, const SyncstateSnapshot *snapshot)
{
	append_number(out, ':', snapshot->xmin);
	append_number(out, '-', snapshot->xmax);
	for (int i = 0; i < snapshot->nxip; i++)
		append_number(out, i == 0 ? '-' : ',', snapshot->xip[i]);
}

void
syncstate_append_cursor_base(StringInfo out, const SyncstateOrigin *origin, const SyncstateSnapshot *from)
{
	appendStringInfo(out, "%x", CURSOR_FORMAT);
	append_number(out, ':', origin->system);
	append_number(out, ':', origin->database);
	append_number(out, ':', origin->timeline);
	appendStringInfoChar(out, ':');
	for (int i = 0; i < UUID_LEN; i++)
		appendStringInfo(out, "%02x", origin->incarnation.data[i]);
	append_snapshot(out, from);
}

void
syncstate_append_cursor_set(StringInfo out, const SyncstateSnapshot *to)
{
	append_snapshot(out, to);
}

void
syncstate_append_cursor_position(StringInfo out, uint64 xid, const text *key)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = (const unsigned char *) VARDATA_ANY(key);

	append_number(out, ':', xid);
	appendStringInfoChar(out, ':');
	for (size_t i = 0; i < VARSIZE_ANY_EXHDR(key); i++)
	{
		appendStringInfoCharMacro(out, digits[bytes[i] >> 4]);
		appendStringInfoCharMacro(out, digits[bytes[i] & 0xf]);
	}
}

/* ------------------------------------------------------------------ reading */

static void
report_malformed(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cursor"),
			 errdetail("%s", detail),
			 errhint("Give back a cursor as sync_state_changes or sync_state_cursor returned it, or NULL to start anew.")));
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* A hexadecimal number; *p moves behind it. */
static uint64
read_number(const char **p, uint64 most)
{
	const char *start = *p;
	uint64		value = 0;

	for (; digit_value(**p) >= 0; (*p)++)
	{
		if (value > (most >> 4))
			report_malformed("A number in it is too large.");
		value = (value << 4) | digit_value(**p);
	}
	if (*p == start)
		report_malformed("A number is missing.");
	if (value > most)
		report_malformed("A number in it is too large.");
	return value;
}

static void
expect(const char **p, char c)
{
	if (**p != c)
		report_malformed("It is cut off, or has something in it that does not belong there.");
	(*p)++;
}

static SyncstateSnapshot
read_snapshot(const char **p)
{
	const uint64 most = PG_INT64_MAX;
	SyncstateSnapshot s = {0};
	const char *list;
	int			n = 1;

	s.xmin = read_number(p, most);
	expect(p, '-');
	s.xmax = read_number(p, most);
	if (s.xmin > s.xmax)
		report_malformed("A snapshot in it ends before it begins.");
	if (**p != '-')
		return s;

	(*p)++;
	for (list = *p; *list != '\0' && *list != ':'; list++)
		n += *list == ',';
	s.xip = palloc_array(uint64, n);
	for (;;)
	{
		uint64		xid = read_number(p, most);

		if (xid < s.xmin || xid >= s.xmax)
			report_malformed("A snapshot in it lists a transaction outside its bounds.");
		s.xip[s.nxip++] = xid;
		if (**p != ',')
			return s;
		(*p)++;
	}
}

static void
read_bytes(const char **p, unsigned char *bytes, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			high = digit_value((*p)[0]);
		int			low = high < 0 ? -1 : digit_value((*p)[1]);

		if (low < 0)
			report_malformed("It is cut off, or has something in it that does not belong there.");
		bytes[i] = (high << 4) | low;
		*p += 2;
	}
}

static text *
read_key(const char **p)
{
	size_t		length = strlen(*p) / 2;
	text	   *key;

	if (length > SYNCSTATE_MAX_KEY_LENGTH)
		report_malformed("The key in it is too long.");
	key = palloc(VARHDRSZ + length);
	SET_VARSIZE(key, VARHDRSZ + length);
	read_bytes(p, (unsigned char *) VARDATA(key), length);
	if (memchr(VARDATA(key), '\0', length) != NULL ||
		!pg_verifymbstr(VARDATA(key), length, true))
		report_malformed("The key in it is not text.");
	return key;
}

SyncstateCursor
syncstate_parse_cursor(const char *string)
{
	SyncstateCursor c = {0};
	const char *p = string;

	if (read_number(&p, PG_UINT32_MAX) != CURSOR_FORMAT)
		report_malformed("Its format is of another version.");
	expect(&p, ':');
	c.origin.system = read_number(&p, PG_UINT64_MAX);
	expect(&p, ':');
	c.origin.database = (Oid) read_number(&p, PG_UINT32_MAX);
	expect(&p, ':');
	c.origin.timeline = (uint32) read_number(&p, PG_UINT32_MAX);
	expect(&p, ':');
	read_bytes(&p, c.origin.incarnation.data, UUID_LEN);
	expect(&p, ':');
	c.from = read_snapshot(&p);
	if (*p != '\0')
	{
		c.open = true;
		expect(&p, ':');
		c.to = read_snapshot(&p);
		expect(&p, ':');
		c.xid = read_number(&p, PG_INT64_MAX);
		expect(&p, ':');
		c.key = read_key(&p);
		expect(&p, '\0');
	}
	return c;
}
