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
CREATE FUNCTION @extschema@.sync_hash(doc pg_catalog.jsonb)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_hash';
COMMENT ON FUNCTION @extschema@.sync_hash(pg_catalog.jsonb) IS
'SHA-256, in hexadecimal, of the canonical form (RFC 8785, JCS) of a document, in UTF-8. Equal hashes mean equal documents: a number that the canonical form would change is refused. Touches no table. Errors: 22023 (a number beyond the precision or range of IEEE 754 doubles).';

CREATE FUNCTION @extschema@.sync_hash_text(value pg_catalog.text)
RETURNS pg_catalog.text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_hash_text';
COMMENT ON FUNCTION @extschema@.sync_hash_text(pg_catalog.text) IS
'SHA-256, in hexadecimal, of the bytes of a text in the encoding of the database. Touches no table.';

/* ------------------------------------------------------------------------
 * Fingerprints of rows
 * ------------------------------------------------------------------------ */
CREATE FUNCTION @extschema@.sync_row_hash(VARIADIC columns pg_catalog."any")
RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'sync_row_hash';
COMMENT ON FUNCTION @extschema@.sync_row_hash(VARIADIC pg_catalog."any") IS
'Hash of one row''s columns: 16 bytes, XXH3-128 of their values, whatever their storage or the session''s settings. What sync_digest adds up. Finds drift, not forgery. Errors: 22023 (a type that cannot be hashed).';

/*
 * The same for the extension's own statements, where nobody else can create
 * functions: in the target schema, one with the very types of a table's columns
 * would be preferred to one with VARIADIC "any".
 */
CREATE FUNCTION syncstate.sync_row_hash(VARIADIC columns pg_catalog."any")
RETURNS pg_catalog.bytea LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_row_hash';
COMMENT ON FUNCTION syncstate.sync_row_hash(VARIADIC pg_catalog."any") IS
'Internal: sync_row_hash, for the extension''s own statements.';

CREATE FUNCTION syncstate.digest_add(pg_catalog.internal, VARIADIC columns pg_catalog."any")
RETURNS pg_catalog.internal LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_digest_add';
COMMENT ON FUNCTION syncstate.digest_add(pg_catalog.internal, VARIADIC pg_catalog."any") IS
'Internal: transition function of sync_digest.';
CREATE FUNCTION syncstate.digest_remove(pg_catalog.internal, VARIADIC columns pg_catalog."any")
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

CREATE AGGREGATE @extschema@.sync_digest(VARIADIC columns pg_catalog."any") (
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

CREATE AGGREGATE syncstate.sync_digest(VARIADIC columns pg_catalog."any") (
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
COMMENT ON AGGREGATE syncstate.sync_digest(VARIADIC pg_catalog."any") IS
'Internal: sync_digest, for the extension''s own statements.';

/* ------------------------------------------------------------------------
 * Sketches
 * ------------------------------------------------------------------------ */
CREATE FUNCTION syncstate.sketch_add(pg_catalog.internal, cells pg_catalog.int4, key_columns pg_catalog.int4, VARIADIC columns pg_catalog."any")
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

CREATE AGGREGATE @extschema@.sync_sketch(cells pg_catalog.int4, key_columns pg_catalog.int4, VARIADIC columns pg_catalog."any") (
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
'Sketch of rows of which the first key_columns columns are the key: 40 bytes a cell, at least 48 and at most 1048576 cells. Two of them tell by sync_sketch_diff what differs, if there are about 2 cells for each row that one side lacks. Errors: 22004, 22023.';

CREATE AGGREGATE syncstate.sync_sketch(cells pg_catalog.int4, key_columns pg_catalog.int4, VARIADIC columns pg_catalog."any") (
	sfunc = syncstate.sketch_add,
	stype = pg_catalog.internal,
	sspace = 42000,
	finalfunc = syncstate.sketch_final,
	combinefunc = syncstate.sketch_combine,
	serialfunc = syncstate.sketch_serialize,
	deserialfunc = syncstate.sketch_deserialize,
	parallel = safe
);
COMMENT ON AGGREGATE syncstate.sync_sketch(pg_catalog.int4, pg_catalog.int4, VARIADIC pg_catalog."any") IS
'Internal: sync_sketch, for the extension''s own statements.';

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
CREATE TABLE syncstate.sync_source (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	local pg_catalog.regclass NOT NULL,
	remote pg_catalog.regclass,
	columns pg_catalog.text[],
	key_columns pg_catalog.text[],
	row_base pg_catalog.bool NOT NULL DEFAULT false,
	source_id pg_catalog.uuid NOT NULL,
	attached_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT sync_source_pkey PRIMARY KEY (type_key),
	CONSTRAINT sync_source_type_key_length CHECK (
		pg_catalog.octet_length(type_key) OPERATOR(pg_catalog.>=) 1
		AND pg_catalog.octet_length(type_key) OPERATOR(pg_catalog.<=) 512)
);
ALTER TABLE syncstate.sync_source OWNER TO @extowner@;
SELECT pg_catalog.pg_extension_config_dump('syncstate.sync_source', '');

COMMENT ON TABLE syncstate.sync_source IS 'Where the rows of a content type are, so that the database computes its hashes itself.';
COMMENT ON COLUMN syncstate.sync_source.type_key IS 'The content type.';
COMMENT ON COLUMN syncstate.sync_source.local IS 'Table or view with our side''s rows.';
COMMENT ON COLUMN syncstate.sync_source.remote IS 'Table, view or foreign table with the other side''s rows; NULL: its hash is recorded by somebody else.';
COMMENT ON COLUMN syncstate.sync_source.columns IS 'The columns that count; NULL: all that the local table has but for generated ones.';
COMMENT ON COLUMN syncstate.sync_source.key_columns IS 'The columns that name a row; NULL: the primary key of the local table.';
COMMENT ON COLUMN syncstate.sync_source.row_base IS 'Whether sync_row_base keeps a base for each row.';
COMMENT ON COLUMN syncstate.sync_source.source_id IS 'Names this attachment; made anew when a source is attached anew.';
COMMENT ON COLUMN syncstate.sync_source.attached_at IS 'When it was attached.';
COMMENT ON INDEX syncstate.sync_source_pkey IS 'One source per content type.';

CREATE TABLE syncstate.sync_tracking (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	source_id pg_catalog.uuid NOT NULL,
	signature pg_catalog.text NOT NULL,
	verified_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT sync_tracking_pkey PRIMARY KEY (type_key)
);
ALTER TABLE syncstate.sync_tracking OWNER TO @extowner@;
COMMENT ON TABLE syncstate.sync_tracking IS 'Sources whose digest is kept by triggers, as last verified. Not part of a dump.';
COMMENT ON COLUMN syncstate.sync_tracking.type_key IS 'The content type.';
COMMENT ON COLUMN syncstate.sync_tracking.source_id IS 'The attachment that was verified.';
COMMENT ON COLUMN syncstate.sync_tracking.signature IS 'Columns, types, partitions and triggers as they were then; where they are others now, the triggers'' sum does not count.';
COMMENT ON COLUMN syncstate.sync_tracking.verified_at IS 'When it was last verified.';
COMMENT ON INDEX syncstate.sync_tracking_pkey IS 'One per content type.';

/* No index: writers only append, and readers want all of it. */
CREATE TABLE syncstate.sync_tracking_delta (
	source_id pg_catalog.uuid NOT NULL,
	row_count pg_catalog.int8 NOT NULL,
	sum_high pg_catalog.int8 NOT NULL,
	sum_low pg_catalog.int8 NOT NULL
);
ALTER TABLE syncstate.sync_tracking_delta OWNER TO @extowner@;
COMMENT ON TABLE syncstate.sync_tracking_delta IS 'What each transaction did to the digest of a tracked source; the digest is their sum. sync_state_prune folds them. Not part of a dump.';
COMMENT ON COLUMN syncstate.sync_tracking_delta.source_id IS 'The attachment.';
COMMENT ON COLUMN syncstate.sync_tracking_delta.row_count IS 'By how many the rows have grown.';
COMMENT ON COLUMN syncstate.sync_tracking_delta.sum_high IS 'By how much the sum of their hashes has grown modulo 2^128: the upper 64 bits.';
COMMENT ON COLUMN syncstate.sync_tracking_delta.sum_low IS 'The lower 64 bits of that.';

CREATE TABLE syncstate.sync_row_base (
	type_key pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	key_hash pg_catalog.bytea NOT NULL,
	row_hash pg_catalog.bytea NOT NULL,
	CONSTRAINT sync_row_base_pkey PRIMARY KEY (type_key, key_hash)
);
ALTER TABLE syncstate.sync_row_base OWNER TO @extowner@;
SELECT pg_catalog.pg_extension_config_dump('syncstate.sync_row_base', '');
COMMENT ON TABLE syncstate.sync_row_base IS 'Base of each row of a source with row_base: what both sides had when a sync was last recorded and they agreed.';
COMMENT ON COLUMN syncstate.sync_row_base.type_key IS 'The content type.';
COMMENT ON COLUMN syncstate.sync_row_base.key_hash IS 'sync_row_hash of the row''s key columns.';
COMMENT ON COLUMN syncstate.sync_row_base.row_hash IS 'Sum of sync_row_hash over the rows with that key: of one, where the key is unique.';
COMMENT ON INDEX syncstate.sync_row_base_pkey IS 'One base per row.';

CREATE FUNCTION @extschema@.sync_source_attach(type_key pg_catalog.text, local pg_catalog.regclass, remote pg_catalog.regclass DEFAULT NULL, columns pg_catalog.text[] DEFAULT NULL, key_columns pg_catalog.text[] DEFAULT NULL, row_base pg_catalog.bool DEFAULT false)
RETURNS syncstate.sync_source LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_source_attach';
COMMENT ON FUNCTION @extschema@.sync_source_attach(pg_catalog.text, pg_catalog.regclass, pg_catalog.regclass, pg_catalog.text[], pg_catalog.text[], pg_catalog.bool) IS
'Says where the rows of a content type are; sync_state_delta and sync_state_observe measure them from then on; a side without rows is absent. Replaces what was attached. A notice tells of a foreign table whose rows would have to be fetched. Errors: 22004, 22023 (not a table or view, a column that is missing or cannot be hashed), 42501, 55000 (tracked: untrack first).';

CREATE FUNCTION @extschema@.sync_source_detach(type_key pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_source_detach';
COMMENT ON FUNCTION @extschema@.sync_source_detach(pg_catalog.text) IS
'Forgets where the rows are, with their tracking and the bases of single rows; false if there was no source. Recorded hashes stay. Errors: 22004, 22023, 42501.';

CREATE FUNCTION syncstate.track()
RETURNS pg_catalog.trigger LANGUAGE c
AS 'MODULE_PATHNAME', 'syncstate_track';
COMMENT ON FUNCTION syncstate.track() IS
'Row trigger of a tracked table: adds up what the transaction does to the digest.';
CREATE FUNCTION syncstate.track_truncate()
RETURNS pg_catalog.trigger LANGUAGE c
AS 'MODULE_PATHNAME', 'syncstate_track_truncate';
COMMENT ON FUNCTION syncstate.track_truncate() IS
'Statement trigger of a tracked table: takes out of the digest what TRUNCATE is about to remove.';

CREATE FUNCTION @extschema@.sync_source_track(type_key pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_source_track';
COMMENT ON FUNCTION @extschema@.sync_source_track(pg_catalog.text) IS
'Keeps the digest of the local table by triggers from now on, so that measuring it takes no scan; false if it was tracked already. Locks the table against writers (SHARE ROW EXCLUSIVE) until the transaction ends, and reads it once. Errors: 22004, 22023 (a table that cannot be tracked), 42501 (not the owner of the table), 55000 (no source).';

CREATE FUNCTION @extschema@.sync_source_untrack(type_key pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_source_untrack';
COMMENT ON FUNCTION @extschema@.sync_source_untrack(pg_catalog.text) IS
'Removes the triggers of sync_source_track and what they noted; false if it was not tracked. Locks the table (ACCESS EXCLUSIVE). Errors: 22004, 22023, 42501, 55000 (no source).';

CREATE FUNCTION @extschema@.sync_source_verify(type_key pg_catalog.text)
RETURNS pg_catalog.jsonb LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'sync_source_verify';
COMMENT ON FUNCTION @extschema@.sync_source_verify(pg_catalog.text) IS
'Compares the tracked digest with one that is measured at the same moment, and sets it right: {"type_key", "valid" (was it), "tracked" (null: did not count), "measured"}. Reads the table once; writers go on meanwhile if the digest counted, else they wait (SHARE ROW EXCLUSIVE). Errors: 22004, 22023 (row security hides rows, a table that cannot be tracked), 42501, 55000 (no source, not tracked, or in use by this session).';

CREATE TYPE syncstate.sync_row_diff AS (
	key pg_catalog.jsonb,
	difference pg_catalog.text
);
COMMENT ON TYPE syncstate.sync_row_diff IS 'A row that differs: its key columns, and local_only, remote_only or different.';

CREATE FUNCTION @extschema@.sync_source_diff(type_key pg_catalog.text)
RETURNS SETOF syncstate.sync_row_diff LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'sync_source_diff';
COMMENT ON FUNCTION @extschema@.sync_source_diff(pg_catalog.text) IS
'Rows that differ between the two sides of a source, in no order: by sketches, and above some 100,000 differences by lists of all keys and hashes. Writes and locks nothing. Errors: 22004, 22023, 55000 (no source, no remote side, no key).';

CREATE TYPE syncstate.sync_row_plan AS (
	key pg_catalog.jsonb,
	action pg_catalog.text,
	detail pg_catalog.text
);
COMMENT ON TYPE syncstate.sync_row_plan IS 'What is to be done about a row that differs: its key columns, and the decision as sync_state_action and sync_state_detail make it.';

CREATE FUNCTION @extschema@.sync_source_diff3(type_key pg_catalog.text)
RETURNS SETOF syncstate.sync_row_plan LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 100
AS 'MODULE_PATHNAME', 'sync_source_diff3';
COMMENT ON FUNCTION @extschema@.sync_source_diff3(pg_catalog.text) IS
'sync_source_diff with the decision on each row, by its base: which side moved since both last agreed at a recorded sync. Needs a source with row_base. Writes and locks nothing. Errors: as sync_source_diff.';

/* It may now read tables of the user's and foreign tables. */
ALTER FUNCTION @extschema@.sync_state_delta(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.bool) PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.sync_state_delta(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.bool) IS
'What is to be done about a key: {"type_key", "action", "detail", "local_hash", "remote_hash", "last_synced_hash", "last_synced_remote_hash"}. A hash given is what was just observed, NULL the stored one; with a source attached and nothing given, both sides are measured. Writes and locks nothing. Errors: 22004, 22023, 55000 (a source that is gone or altered).';
COMMENT ON FUNCTION @extschema@.sync_state_observe(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool, pg_catalog.bool) IS
'Records what a change detector saw, derives the status, logs conflicts; returns the delta after it. Arguments as sync_state_delta; with a source attached and nothing given, both sides are measured, while the row is locked. Locks the row. Errors: 22004, 22023, 55000 (a source that is gone or altered).';
COMMENT ON FUNCTION @extschema@.sync_state_prune(interval) IS
'Removes finished runs, closed conflicts and tombstones that ended longer ago than older_than, and folds what tracking noted, however old. A reader of the feed that has not read a removed tombstone must resync. Of a key that stopped, the runs that recovery needs stay; of each key, the latest conflict. Locks the rows it removes. Errors: 22004, 22023.';
COMMENT ON TYPE syncstate.sync_prune_result IS 'How many rows of a kind (run, conflict, tombstone, tracking_delta) were removed.';
COMMENT ON FUNCTION @extschema@.sync_state_resolve(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.int4) IS
'Resolves a conflict by moving bases: local (the next delta is PUSH), remote (PULL), merged (our hash becomes merged_hash, then PUSH); where a source keeps bases of rows, those of the rows in conflict, too. With conflict_number only if that conflict is still the open one with the same hashes. Locks the row. Errors: 22004, 22023, P0002 (unknown key), 55000 (not, or no longer, in conflict), 55P03 (a live run holds the key).';
