/*-------------------------------------------------------------------------
 *
 * sketch.h
 *		Sketches of rows, and the differences that two of them tell.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNCSTATE_SKETCH_H
#define SYNCSTATE_SKETCH_H

#include "pack.h"

/* No sketch is smaller or larger. */
#define SYNCSTATE_LEAST_CELLS 192
#define SYNCSTATE_MOST_CELLS 1048576

/* A key that differs: hash of its key columns, and which side has rows of it. */
typedef struct SyncstateSketchKey
{
	SyncstateHash key;
	bool		in_a;
	bool		in_b;
} SyncstateSketchKey;

typedef struct SyncstateSketchDiff
{
	bool		decoded;		/* false: too small for that many differences */
	int			nkeys;
	SyncstateSketchKey *keys;	/* in order of the hash */
	double		elements;		/* about as many, if not decoded; 0: too many to tell */
} SyncstateSketchDiff;

extern SyncstateSketchDiff syncstate_sketch_diff(bytea *a, bytea *b);

/* Names of differences, as all functions that tell of some give them. */
#define SYNCSTATE_LOCAL_ONLY "local_only"
#define SYNCSTATE_REMOTE_ONLY "remote_only"
#define SYNCSTATE_DIFFERENT "different"

#endif							/* SYNCSTATE_SKETCH_H */
