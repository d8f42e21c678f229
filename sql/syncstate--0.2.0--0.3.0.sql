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

/* ------------------------------------------------------------------------
 * Sketches
 * ------------------------------------------------------------------------ */

/* ------------------------------------------------------------------------
 * Sources
 * ------------------------------------------------------------------------ */
