/*
 * syncstate 0.2.0 to 0.3.0: fingerprints that the database computes itself.
 *
 * The same rules as in the install script; and no DML on the tables, for a
 * trigger that their owner made would run as the superuser who runs this.
 */
\echo Use "ALTER EXTENSION syncstate UPDATE TO '0.3.0'" to load this file. \quit

/* ------------------------------------------------------------------------
 * Fingerprints of documents
 * ------------------------------------------------------------------------ */

/* ------------------------------------------------------------------------
 * Fingerprints of rows
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_row_hash(VARIADIC pg_catalog."any")
RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_row_hash';
COMMENT ON FUNCTION @extschema@.sync_row_hash(VARIADIC pg_catalog."any") IS
'Hash of one row''s columns: 16 bytes, XXH3-128 of their values, whatever their storage or the session''s settings. What sync_digest adds up. Finds drift, not forgery. Errors: 22023 (a type that cannot be hashed).';

CREATE FUNCTION syncstate.digest_add(pg_catalog.internal, VARIADIC pg_catalog."any")
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_add';
COMMENT ON FUNCTION syncstate.digest_add(pg_catalog.internal, VARIADIC pg_catalog."any") IS
'Internal: transition function of sync_digest.';
CREATE FUNCTION syncstate.digest_remove(pg_catalog.internal, VARIADIC pg_catalog."any")
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_remove';
COMMENT ON FUNCTION syncstate.digest_remove(pg_catalog.internal, VARIADIC pg_catalog."any") IS
'Internal: inverse transition function of sync_digest.';
CREATE FUNCTION syncstate.digest_combine(pg_catalog.internal, pg_catalog.internal)
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_combine';
COMMENT ON FUNCTION syncstate.digest_combine(pg_catalog.internal, pg_catalog.internal) IS
'Internal: combine function of sync_digest.';
CREATE FUNCTION syncstate.digest_serialize(pg_catalog.internal)
RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_serialize';
COMMENT ON FUNCTION syncstate.digest_serialize(pg_catalog.internal) IS
'Internal: serialization function of sync_digest.';
CREATE FUNCTION syncstate.digest_deserialize(pg_catalog.bytea, pg_catalog.internal)
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_deserialize';
COMMENT ON FUNCTION syncstate.digest_deserialize(pg_catalog.bytea, pg_catalog.internal) IS
'Internal: deserialization function of sync_digest.';
CREATE FUNCTION syncstate.digest_final(pg_catalog.internal)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_final';
COMMENT ON FUNCTION syncstate.digest_final(pg_catalog.internal) IS
'Internal: final function of sync_digest.';

CREATE AGGREGATE @extschema@.sync_digest(VARIADIC pg_catalog."any") (
	sfunc = syncstate.digest_add,
	stype = pg_catalog.internal,
	sspace = 24,
	finalfunc = syncstate.digest_final,
	combinefunc = syncstate.digest_combine,
	serialfunc = syncstate.digest_serialize,
	deserialfunc = syncstate.digest_deserialize,
	msfunc = syncstate.digest_add,
	minvfunc = syncstate.digest_remove,
	mstype = pg_catalog.internal,
	msspace = 24,
	mfinalfunc = syncstate.digest_final,
	parallel = safe
);
COMMENT ON AGGREGATE @extschema@.sync_digest(VARIADIC pg_catalog."any") IS
'Fingerprint of a multiset of rows: the sum of their sync_row_hash modulo 2^128 in 32 hex digits, a colon, and how many they are. Their order does not matter. Finds drift, not forgery. Errors: 22023 (a type that cannot be hashed).';

/* ------------------------------------------------------------------------
 * Sketches
 * ------------------------------------------------------------------------ */
CREATE FUNCTION syncstate.sketch_add(pg_catalog.internal, cells pg_catalog.int4, key_columns pg_catalog.int4, VARIADIC pg_catalog."any")
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_sketch_add';
COMMENT ON FUNCTION syncstate.sketch_add(pg_catalog.internal, pg_catalog.int4, pg_catalog.int4, VARIADIC pg_catalog."any") IS
'Internal: transition function of sync_sketch.';
CREATE FUNCTION syncstate.sketch_combine(pg_catalog.internal, pg_catalog.internal)
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_sketch_combine';
COMMENT ON FUNCTION syncstate.sketch_combine(pg_catalog.internal, pg_catalog.internal) IS
'Internal: combine function of sync_sketch.';
CREATE FUNCTION syncstate.sketch_serialize(pg_catalog.internal)
RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_sketch_serialize';
COMMENT ON FUNCTION syncstate.sketch_serialize(pg_catalog.internal) IS
'Internal: serialization function of sync_sketch.';
CREATE FUNCTION syncstate.sketch_deserialize(pg_catalog.bytea, pg_catalog.internal)
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_sketch_deserialize';
COMMENT ON FUNCTION syncstate.sketch_deserialize(pg_catalog.bytea, pg_catalog.internal) IS
'Internal: deserialization function of sync_sketch.';
CREATE FUNCTION syncstate.sketch_final(pg_catalog.internal)
RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_sketch_final';
COMMENT ON FUNCTION syncstate.sketch_final(pg_catalog.internal) IS
'Internal: final function of sync_sketch.';

CREATE AGGREGATE @extschema@.sync_sketch(cells pg_catalog.int4, key_columns pg_catalog.int4, VARIADIC pg_catalog."any") (
	sfunc = syncstate.sketch_add,
	stype = pg_catalog.internal,
	sspace = 42000,
	finalfunc = syncstate.sketch_final,
	combinefunc = syncstate.sketch_combine,
	serialfunc = syncstate.sketch_serialize,
	deserialfunc = syncstate.sketch_deserialize,
	parallel = safe
);
COMMENT ON AGGREGATE @extschema@.sync_sketch(pg_catalog.int4, pg_catalog.int4, VARIADIC pg_catalog."any") IS
'Sketch of rows of which the first key_columns columns are the key: 40 bytes a cell, at least 32 and at most 1048576 cells. Two of them tell by sync_sketch_diff what differs, if there are about 2 cells for each row that one side lacks. Errors: 22004, 22023.';

CREATE TYPE syncstate.sync_sketch_key AS (
	key_hash pg_catalog.bytea,
	difference pg_catalog.text
);
COMMENT ON TYPE syncstate.sync_sketch_key IS 'A key that differs: sync_row_hash of its columns, and local_only, remote_only or different.';

CREATE FUNCTION @extschema@.sync_sketch_diff(a pg_catalog.bytea, b pg_catalog.bytea)
RETURNS SETOF syncstate.sync_sketch_key LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 100
AS 'MODULE_PATHNAME', 'sync_sketch_diff';
COMMENT ON FUNCTION @extschema@.sync_sketch_diff(pg_catalog.bytea, pg_catalog.bytea) IS
'Keys that differ between the rows of two sketches (a: local, b: remote), in order of their hash. Exactly those, or refused. Errors: 22004, 22023 (not a sketch, of another size, or too small for that many differences).';

/* ------------------------------------------------------------------------
 * Sources
 * ------------------------------------------------------------------------ */
