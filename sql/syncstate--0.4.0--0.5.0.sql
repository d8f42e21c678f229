/*
 * syncstate 0.4.0 to 0.5.0: sketches of another form.
 *
 * The library makes them, and does not compare them with older ones; here is only
 * what is said about them.
 */
\echo Use "ALTER EXTENSION syncstate UPDATE TO '0.5.0'" to load this file. \quit

COMMENT ON AGGREGATE @extschema@.sync_sketch(pg_catalog.int4, pg_catalog.int4, VARIADIC pg_catalog."any") IS
'Sketch of rows of which the first key_columns columns are the key: 32 bytes a cell, at least 192 and at most 1048576 cells. Two of them, of the same version, tell by sync_sketch_diff what differs, if there are about 2 cells for each row that one side lacks. Errors: 22004, 22023.';
