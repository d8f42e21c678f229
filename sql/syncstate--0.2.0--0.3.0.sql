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

/* ------------------------------------------------------------------------
 * Sketches
 * ------------------------------------------------------------------------ */

/* ------------------------------------------------------------------------
 * Sources
 * ------------------------------------------------------------------------ */
