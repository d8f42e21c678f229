/*
 * syncstate 0.3.0 to 0.4.0: less for the server to read at each write.
 *
 * The server parses the CHECKs of a table anew in every statement that writes it:
 * with one row a statement, as an application does it, that was a sixth of all
 * the time.  What is now a call of one function says the same as before; and what
 * concerns times is told by the row trigger, which looks at them anyhow.
 *
 * The same rules as in the install script; and no DML on the tables, for a
 * trigger that their owner made would run as the superuser who runs this.
 */
\echo Use "ALTER EXTENSION syncstate UPDATE TO '0.4.0'" to load this file. \quit

CREATE FUNCTION syncstate.is_type_key(type_key pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_is_type_key';
COMMENT ON FUNCTION syncstate.is_type_key(pg_catalog.text) IS
'Internal: whether this has 1 to 512 bytes.';

CREATE FUNCTION syncstate.may_have_run(sync_status pg_catalog.text, run_id pg_catalog.uuid)
RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_may_have_run';
COMMENT ON FUNCTION syncstate.may_have_run(pg_catalog.text, pg_catalog.uuid) IS
'Internal: whether run_id is NULL unless sync_status is syncing.';

CREATE FUNCTION syncstate.is_run_outcome(outcome pg_catalog.text)
RETURNS pg_catalog.bool LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'syncstate_is_run_outcome';
COMMENT ON FUNCTION syncstate.is_run_outcome(pg_catalog.text) IS
'Internal: whether this is synced, failed, rolled_back or superseded.';

ALTER TABLE syncstate.sync_state
	DROP CONSTRAINT sync_state_last_sync_at_finite,
	DROP CONSTRAINT sync_state_created_at_finite,
	DROP CONSTRAINT sync_state_updated_at_finite,
	DROP CONSTRAINT sync_state_type_key_length,
	DROP CONSTRAINT sync_state_run_id_only_while_syncing,
	ADD CONSTRAINT sync_state_type_key_length CHECK (syncstate.is_type_key(type_key)),
	ADD CONSTRAINT sync_state_run_id_only_while_syncing CHECK (syncstate.may_have_run(sync_status, run_id));

ALTER TABLE syncstate.sync_run
	DROP CONSTRAINT sync_run_outcome_known,
	ADD CONSTRAINT sync_run_outcome_known CHECK (syncstate.is_run_outcome(outcome));
