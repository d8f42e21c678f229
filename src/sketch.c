/*-------------------------------------------------------------------------
 *
 * sketch.c
 *		The aggregate sync_sketch, and sync_sketch_diff.
 *
 * A sketch is an invertible Bloom lookup table: an element is added to a few
 * cells, which its own hash chooses; a cell holds sums.  In the difference of
 * two sketches, what both sets have cancels out.  A cell in which a single
 * element is left gives that away; taken out of its other cells, it may leave
 * others alone in theirs, and so on, until all cells are empty.  (D. Eppstein,
 * M. Goodrich, F. Uyeda, G. Varghese: "What's the Difference? Efficient Set
 * Reconciliation without Prior Context", SIGCOMM 2011; see also L. Yang, Y. Gilad,
 * M. Alizadeh: "Practical Rateless Set Reconciliation", 2024, arXiv 2402.02668,
 * for what costs of that kind can be.)
 *
 * An element is a row, by the hash of its key columns (128 bits) and the hash of
 * all its columns (64 bits).  A row that differs is two elements, one of
 * each side, with the same key.  Cells are sums, not exclusive ors, so that rows
 * which occur twice do not vanish; they are not found here either, but reported
 * as a sketch that cannot be decoded.
 *
 * Every element is in three cells, all different, of at least 192: with fewer, a
 * few elements would too often share theirs with one another.  About 1.3 cells for
 * each element suffice when there are many; two do in more than 99 cases of 100,
 * however many there are (the worst is 96 elements in 192 cells: 99.5).
 *
 * Whether a cell holds a single element, and of which side, is told by a sum of
 * 64-bit checks; and a decoding counts only if nothing at all is left over.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "digest.h"
#include "sketch.h"
#include "syncstate.h"

PG_FUNCTION_INFO_V1(syncstate_sketch_add);
PG_FUNCTION_INFO_V1(syncstate_sketch_combine);
PG_FUNCTION_INFO_V1(syncstate_sketch_serialize);
PG_FUNCTION_INFO_V1(syncstate_sketch_deserialize);
PG_FUNCTION_INFO_V1(syncstate_sketch_final);
PG_FUNCTION_INFO_V1(sync_sketch_diff);

#define PLACES 3				/* cells that an element is in */

/* A row, as a sketch knows it. */
typedef struct Element
{
	SyncstateHash key;
	uint64		row;
} Element;

/*
 * Elements of one side less those of the other one, with their checks: each word
 * is a sum of its own, so that a processor can add several at once.
 */
typedef struct Cell
{
	Element		sum;
	uint64		check;
} Cell;

typedef struct Sketch
{
	uint32		ncells;
	uint32		key_columns;	/* 0 if ncells is 0: without rows, neither is known */
	Cell		cells[FLEXIBLE_ARRAY_MEMBER];
} Sketch;

#define SKETCH_SIZE(ncells) (offsetof(Sketch, cells) + (Size) (ncells) * sizeof(Cell))

/*
 * As bytes: a letter, how many of the columns are the key and how many cells
 * there are (32 bits each), and four words of 64 bits for each cell.  Up to 0.4
 * there was a fifth one, how many elements a cell holds, and the letter was S.
 */
#define SERIALIZED_LETTER 'T'
#define SERIALIZED_LETTER_0_4 'S'
#define SERIALIZED_CELL (4 * sizeof(uint64))
#define SERIALIZED_HEADER (1 + sizeof(uint64))

/* What is derived from an element: where it is, and what its check is. */
typedef struct Derived
{
	uint32		places[PLACES];
	uint64		check;
} Derived;

/* The finalizer of MurmurHash3 (A. Appleby, public domain): each bit depends on all. */
static inline uint64
mix(uint64 x)
{
	x ^= x >> 33;
	x *= UINT64CONST(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64CONST(0xc4ceb9fe1a85ec53);
	return x ^ (x >> 33);
}

/* A random word, as a number below n: by multiplication, which is faster than a remainder. */
static inline uint32
place_of(uint32 word, uint32 n)
{
	return (uint32) (((uint64) word * n) >> 32);
}

/* Moves a place that is taken on to the next one that is not. */
static pg_noinline void
make_distinct(uint32 *places, uint32 ncells)
{
	for (int i = 1; i < PLACES; i++)
	{
		for (int j = 0; j < i; j++)
		{
			if (places[j] == places[i])
			{
				places[i] = places[i] + 1 == ncells ? 0 : places[i] + 1;
				j = -1;
			}
		}
	}
}

/*
 * The hash of a row is a random word already, and another one for each row of a key:
 * it says where the row goes, by each of its halves, and by both.  But no sum of
 * elements may look like one, so their check takes more.
 */
static inline void
derive(Derived *derived, const Element *element, uint32 ncells)
{
	uint64		both = (element->row ^ (element->row >> 32)) * UINT64CONST(0xd1b54a32d192ed03);
	uint32		a = place_of((uint32) element->row, ncells);
	uint32		b = place_of((uint32) (element->row >> 32), ncells);
	uint32		c = place_of((uint32) (both >> 32), ncells);

	derived->check = mix((element->key.low * UINT64CONST(0xaef17502108ef2d9)) ^ (element->key.high + element->row));
	derived->places[0] = a;
	derived->places[1] = b;
	derived->places[2] = c;
	if (unlikely(a == b || a == c || b == c))
		make_distinct(derived->places, ncells);
}

static inline void
add_to_cell(Cell *cell, const Element *element, uint64 check)
{
	cell->sum.key.low += element->key.low;
	cell->sum.key.high += element->key.high;
	cell->sum.row += element->row;
	cell->check += check;
}

static void
take_from_cell(Cell *cell, const Element *element, uint64 check)
{
	cell->sum.key.low -= element->key.low;
	cell->sum.key.high -= element->key.high;
	cell->sum.row -= element->row;
	cell->check -= check;
}

static bool
is_empty(const Cell *cell)
{
	return cell->sum.key.low == 0 && cell->sum.key.high == 0 && cell->sum.row == 0 && cell->check == 0;
}

/* -------------------------------------------------------------- aggregate */

static int32
arg_between(FunctionCallInfo fcinfo, int argno, const char *name, int32 most)
{
	int32		value = DatumGetInt32(syncstate_arg_required(fcinfo, argno, name));

	if (value < 1 || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 1 and %d", name, most)));
	return value;
}

static Sketch *
new_sketch(MemoryContext context, uint32 ncells, uint32 key_columns)
{
	Sketch	   *sketch = MemoryContextAllocExtended(context, SKETCH_SIZE(ncells), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	sketch->ncells = ncells;
	sketch->key_columns = key_columns;
	return sketch;
}

static void
check_same_shape(const Sketch *sketch, uint32 ncells, uint32 key_columns)
{
	if (sketch->ncells != ncells || sketch->key_columns != key_columns)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cells and key_columns must be the same for every row")));
}

/* Checks the arguments of a call; returns the sketch that there is, or a new one. */
static pg_noinline Sketch *
sketch_for_args(FunctionCallInfo fcinfo, Sketch *sketch, int ncolumns)
{
	int32		cells = Max(arg_between(fcinfo, 1, "cells", SYNCSTATE_MOST_CELLS), SYNCSTATE_LEAST_CELLS);
	int32		key_columns = arg_between(fcinfo, 2, "key_columns", ncolumns);

	if (sketch == NULL)
		return new_sketch(syncstate_aggregate_context(fcinfo), cells, key_columns);
	check_same_shape(sketch, cells, key_columns);
	return sketch;
}

static inline void
add_row(Sketch *sketch, SyncstatePacker *packer, const NullableDatum *row)
{
	Size		key_length = syncstate_pack_row_with_key(packer, row, (int) sketch->key_columns);
	Element		element;
	Derived		derived;

	element.row = syncstate_hash64_bytes(packer->buffer, packer->used);
	element.key = syncstate_hash_bytes(packer->buffer, key_length);
	derive(&derived, &element, sketch->ncells);
	for (int i = 0; i < PLACES; i++)
		add_to_cell(&sketch->cells[derived.places[i]], &element, derived.check);
}

/*
 * syncstate.sketch_add(internal, cells int, key_columns int, VARIADIC "any")
 */
Datum
syncstate_sketch_add(PG_FUNCTION_ARGS)
{
	SyncstateInput *input = syncstate_kept_input(fcinfo, 3);
	Sketch	   *sketch = PG_ARGISNULL(0) ? NULL : (Sketch *) PG_GETARG_POINTER(0);
	const NullableDatum *row;

	/* Nothing new is what nearly every row says. */
	if (unlikely(sketch == NULL || PG_ARGISNULL(1) || PG_ARGISNULL(2) ||
				 (uint32) PG_GETARG_INT32(1) != sketch->ncells ||
				 (uint32) PG_GETARG_INT32(2) != sketch->key_columns))
		sketch = sketch_for_args(fcinfo, sketch, input->packer->ncolumns);

	for (row = syncstate_first_row(input, fcinfo->args + 3); row != NULL; row = syncstate_next_row(input))
		add_row(sketch, input->packer, row);
	PG_RETURN_POINTER(sketch);
}

/*
 * syncstate.sketch_combine(internal, internal)
 *
 * Either may be NULL: that one has seen no row.  The second may live in a
 * context that is gone after the call.
 */
Datum
syncstate_sketch_combine(PG_FUNCTION_ARGS)
{
	Sketch	   *total;
	Sketch	   *other;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	other = (Sketch *) PG_GETARG_POINTER(1);
	if (PG_ARGISNULL(0))
		total = new_sketch(syncstate_aggregate_context(fcinfo), other->ncells, other->key_columns);
	else
		total = (Sketch *) PG_GETARG_POINTER(0);
	check_same_shape(total, other->ncells, other->key_columns);

	for (uint32 i = 0; i < total->ncells; i++)
		add_to_cell(&total->cells[i], &other->cells[i].sum, other->cells[i].check);
	PG_RETURN_POINTER(total);
}

static bytea *
sketch_bytes(const Sketch *sketch)
{
	Size		size = VARHDRSZ + SERIALIZED_HEADER + (Size) sketch->ncells * SERIALIZED_CELL;
	bytea	   *result = palloc(size);
	char	   *out = VARDATA(result);

	SET_VARSIZE(result, size);
	*out++ = SERIALIZED_LETTER;
	out = syncstate_store_uint64(out, (uint64) sketch->key_columns << 32 | sketch->ncells);
	for (uint32 i = 0; i < sketch->ncells; i++)
	{
		const Cell *cell = &sketch->cells[i];

		out = syncstate_store_hash(out, cell->sum.key);
		out = syncstate_store_uint64(out, cell->sum.row);
		out = syncstate_store_uint64(out, cell->check);
	}
	return result;
}

/* The sketch that such bytes are; NULL if they are none. */
static Sketch *
sketch_of_bytes(const char *in, Size length)
{
	uint64		header;
	uint32		ncells;
	uint32		key_columns;
	Sketch	   *sketch;

	if (length < SERIALIZED_HEADER || *in++ != SERIALIZED_LETTER)
		return NULL;
	in = syncstate_load_uint64(in, &header);
	ncells = (uint32) header;
	key_columns = (uint32) (header >> 32);
	if (ncells == 0 ? key_columns != 0
		: ncells < SYNCSTATE_LEAST_CELLS || ncells > SYNCSTATE_MOST_CELLS ||
		key_columns < 1 || key_columns > FUNC_MAX_ARGS)
		return NULL;
	if (length != SERIALIZED_HEADER + (Size) ncells * SERIALIZED_CELL)
		return NULL;

	sketch = new_sketch(CurrentMemoryContext, ncells, key_columns);
	for (uint32 i = 0; i < ncells; i++)
	{
		Cell	   *cell = &sketch->cells[i];

		in = syncstate_load_hash(in, &cell->sum.key);
		in = syncstate_load_uint64(in, &cell->sum.row);
		in = syncstate_load_uint64(in, &cell->check);
	}
	return sketch;
}

/*
 * syncstate.sketch_serialize(internal) returns bytea: as it is returned at the end
 */
Datum
syncstate_sketch_serialize(PG_FUNCTION_ARGS)
{
	(void) syncstate_aggregate_context(fcinfo);
	PG_RETURN_BYTEA_P(sketch_bytes((const Sketch *) PG_GETARG_POINTER(0)));
}

/*
 * syncstate.sketch_deserialize(bytea, internal) returns internal
 */
Datum
syncstate_sketch_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *serialized;
	Sketch	   *sketch;

	(void) syncstate_aggregate_context(fcinfo);
	serialized = PG_GETARG_BYTEA_PP(0);
	sketch = sketch_of_bytes(VARDATA_ANY(serialized), VARSIZE_ANY_EXHDR(serialized));
	if (sketch == NULL || sketch->ncells == 0)
		syncstate_report_bad_state();
	PG_RETURN_POINTER(sketch);
}

/*
 * syncstate.sketch_final(internal) returns bytea
 *
 * Without any row it is not known how many cells were wanted: a sketch of none,
 * which can be compared with every other one.
 */
Datum
syncstate_sketch_final(PG_FUNCTION_ARGS)
{
	const Sketch none = {0};

	(void) syncstate_aggregate_context(fcinfo);
	PG_RETURN_BYTEA_P(sketch_bytes(PG_ARGISNULL(0) ? &none : (const Sketch *) PG_GETARG_POINTER(0)));
}

/* ------------------------------------------------------------- difference */

/* An element that is in one of the sets only. */
typedef struct Found
{
	Element		element;
	bool		in_a;
} Found;

/* Is that what an element and its check are?  Nothing at all is none. */
static bool
is_element(const Cell *cell, uint32 ncells, Derived *derived)
{
	derive(derived, &cell->sum, ncells);
	return derived->check == cell->check && !is_empty(cell);
}

/*
 * The single element that is left in a cell; false if there is none, or several.
 * One of b is there with its sign reversed.
 */
static bool
single_element(const Cell *cell, uint32 ncells, Found *found, Derived *derived)
{
	Cell		reversed = {0};

	take_from_cell(&reversed, &cell->sum, cell->check);
	found->in_a = is_element(cell, ncells, derived);
	found->element = found->in_a ? cell->sum : reversed.sum;
	return found->in_a || is_element(&reversed, ncells, derived);
}

static int
compare_found(const void *a, const void *b)
{
	const SyncstateHash *x = &((const Found *) a)->element.key;
	const SyncstateHash *y = &((const Found *) b)->element.key;

	if (x->high != y->high)
		return x->high < y->high ? -1 : 1;
	return x->low < y->low ? -1 : x->low > y->low;
}

/*
 * Takes out one element after the other, as long as there is a cell with a
 * single one.  Every element that is taken out was alone in a cell and leaves
 * that empty, so there are at most as many as cells; more are a sign of sketches
 * that nobody made from rows.
 */
static int
peel(Sketch *sketch, Found *found)
{
	uint32	   *queue = MemoryContextAllocHuge(CurrentMemoryContext, (Size) (sketch->ncells + 1) * sizeof(uint32));
	bool	   *queued = palloc0(sketch->ncells + 1);
	uint32		first = 0;
	uint32		nqueued = 0;
	uint32		nfound = 0;

	for (uint32 i = 0; i < sketch->ncells; i++)
	{
		queue[nqueued++] = i;
		queued[i] = true;
	}
	while (nqueued > 0 && nfound < sketch->ncells)
	{
		uint32		i = queue[first];
		Derived		derived;
		Found	   *next = &found[nfound];

		first = first + 1 == sketch->ncells ? 0 : first + 1;
		nqueued--;
		queued[i] = false;
		if (!single_element(&sketch->cells[i], sketch->ncells, next, &derived))
			continue;
		nfound++;
		for (int j = 0; j < PLACES; j++)
		{
			uint32		place = derived.places[j];

			if (next->in_a)
				take_from_cell(&sketch->cells[place], &next->element, derived.check);
			else
				add_to_cell(&sketch->cells[place], &next->element, derived.check);
			if (!queued[place])
			{
				queue[(first + nqueued) % sketch->ncells] = place;
				nqueued++;
				queued[place] = true;
			}
		}
		if (nfound % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	pfree(queue);
	pfree(queued);
	return (int) nfound;
}

static uint32
count_empty(const Sketch *sketch)
{
	uint32		n = 0;

	for (uint32 i = 0; i < sketch->ncells; i++)
		n += is_empty(&sketch->cells[i]);
	return n;
}

/*
 * About how many elements there are; 0 if too few cells are left empty to tell.  In
 * m cells, d elements leave a share of exp(-PLACES d / m) empty.
 */
static double
estimate_elements(const Sketch *sketch)
{
	uint32		empty = count_empty(sketch);

	return empty < PLACES ? 0 : -log((double) empty / sketch->ncells) * sketch->ncells / PLACES;
}

/* Elements by key: one of each side is a row that differs. */
static void
collect_keys(SyncstateSketchDiff *diff, Found *found, int nfound)
{
	qsort(found, nfound, sizeof(Found), compare_found);
	diff->keys = MemoryContextAllocHuge(CurrentMemoryContext, (Size) (nfound + 1) * sizeof(SyncstateSketchKey));
	for (int i = 0; i < nfound; i++)
	{
		SyncstateSketchKey *key = &diff->keys[diff->nkeys];

		if (i == 0 || compare_found(&found[i - 1], &found[i]) != 0)
		{
			diff->nkeys++;
			key->key = found[i].element.key;
			key->in_a = key->in_b = false;
		}
		else
			key--;
		if (found[i].in_a)
			key->in_a = true;
		else
			key->in_b = true;
	}
}

static Sketch *
sketch_arg(bytea *bytes, const char *name)
{
	const char *in = VARDATA_ANY(bytes);
	Size		length = VARSIZE_ANY_EXHDR(bytes);
	Sketch	   *sketch = sketch_of_bytes(in, length);

	if (sketch == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a sketch", name),
				 length > 0 && *in == SERIALIZED_LETTER_0_4
				 ? errhint("It looks like one of syncstate 0.4 or older, which cannot be compared with a newer one: let both sides have the same version.")
				 : errhint("sync_sketch makes one.")));
	return sketch;
}

/*
 * What differs between the rows of two sketches.  Errors: 22023 for what is not
 * a sketch, or of another size or key.
 */
SyncstateSketchDiff
syncstate_sketch_diff(bytea *bytes_a, bytea *bytes_b)
{
	Sketch	   *a = sketch_arg(bytes_a, "a");
	Sketch	   *b = sketch_arg(bytes_b, "b");
	SyncstateSketchDiff diff = {0};
	Found	   *found;
	int			nfound;

	if (a->ncells == 0)
		a = new_sketch(CurrentMemoryContext, b->ncells, b->key_columns);
	if (b->ncells == 0)
		b = new_sketch(CurrentMemoryContext, a->ncells, a->key_columns);
	if (a->ncells != b->ncells)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the sketches have different numbers of cells"),
				 errdetail("One has %u cells, the other one %u.", a->ncells, b->ncells)));
	if (a->key_columns != b->key_columns)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the sketches have different numbers of key columns"),
				 errdetail("One has %u, the other one %u.", a->key_columns, b->key_columns)));

	for (uint32 i = 0; i < a->ncells; i++)
		take_from_cell(&a->cells[i], &b->cells[i].sum, b->cells[i].check);
	diff.elements = estimate_elements(a);
	found = MemoryContextAllocHuge(CurrentMemoryContext, (Size) (a->ncells + 1) * sizeof(Found));
	nfound = peel(a, found);
	diff.decoded = count_empty(a) == a->ncells;
	if (diff.decoded)
		collect_keys(&diff, found, nfound);
	return diff;
}

/*
 * sync_sketch_diff(a, b): keys that differ, in order of their hash
 */
Datum
sync_sketch_diff(PG_FUNCTION_ARGS)
{
	bytea	   *a = DatumGetByteaPP(syncstate_arg_required(fcinfo, 0, "a"));
	bytea	   *b = DatumGetByteaPP(syncstate_arg_required(fcinfo, 1, "b"));
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SyncstateSketchDiff diff;
	char		hash[VARHDRSZ + SYNCSTATE_HASH_LENGTH];

	InitMaterializedSRF(fcinfo, 0);
	diff = syncstate_sketch_diff(a, b);
	if (!diff.decoded)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the sketches are too small for their differences"),
				 errhint("Make both with more cells, about 2 for each row of either side that the other one lacks; rows that occur more than once cannot be told apart at any size.")));

	SET_VARSIZE(hash, sizeof(hash));
	for (int i = 0; i < diff.nkeys; i++)
	{
		const SyncstateSketchKey *key = &diff.keys[i];
		Datum		values[2];
		bool		nulls[2] = {false, false};

		syncstate_store_hash(VARDATA(hash), key->key);
		values[0] = PointerGetDatum(hash);
		values[1] = CStringGetTextDatum(key->in_a && key->in_b ? SYNCSTATE_DIFFERENT
										: key->in_a		   ? SYNCSTATE_LOCAL_ONLY
										: SYNCSTATE_REMOTE_ONLY);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
