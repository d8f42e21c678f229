--
-- DROP and CREATE EXTENSION in one session, in another schema too. The library stays loaded and
-- keeps plans: none may survive the tables it was made for.
--
CREATE EXTENSION syncstate;
SELECT sync_status FROM sync_state_mark_synced('article', 'a', 'a');
SELECT run_number FROM sync_state_begin('article');
SELECT sync_state_observe('article', 'b')->>'action' AS action;
SELECT sync_state_forget('page');
DROP EXTENSION syncstate;
SELECT to_regnamespace('syncstate') IS NULL AS schema_is_gone;

-- A function of the library that outlives the extension finds no table, and does not go over to one
-- of that name which somebody has planted.
CREATE FUNCTION stray_forget(text, boolean) RETURNS boolean LANGUAGE c AS 'syncstate', 'sync_state_forget';
SELECT stray_forget('page', true);
CREATE SCHEMA syncstate;
CREATE TABLE syncstate.sync_state (type_key text PRIMARY KEY, sync_status text, lease_expires_at timestamptz);
INSERT INTO syncstate.sync_state VALUES ('page');
SELECT stray_forget('page', true);
SELECT type_key FROM syncstate.sync_state;
DROP TABLE syncstate.sync_state;
DROP SCHEMA syncstate;
DROP FUNCTION stray_forget;

-- The same schema: a fresh memory.
CREATE EXTENSION syncstate;
SELECT sync_state_delta('article')->>'action' AS action;
SELECT sync_state_observe('article', 'b')->>'detail' AS detail;
SELECT run_number FROM sync_state_begin('article');
SELECT sync_status FROM sync_state_fail('article', force => true);
SELECT type_key, sync_status, run_number FROM sync_state_list();
DROP EXTENSION syncstate;

-- Another schema: the functions move, the tables do not.
CREATE SCHEMA elsewhere;
CREATE EXTENSION syncstate SCHEMA elsewhere;
SELECT elsewhere.sync_state_observe('page', 'p')->>'detail' AS detail;
SELECT run_number FROM elsewhere.sync_state_begin('page');
SELECT sync_status, run_number FROM elsewhere.sync_state_fail('page', force => true);
SELECT type_key, sync_status FROM elsewhere.sync_state_list();
SELECT type_key, action FROM elsewhere.sync_state_plan();
SELECT type_key FROM syncstate.sync_state;
SELECT to_regproc('public.sync_state_get') IS NULL AS not_in_public;
-- Not relocatable.
ALTER EXTENSION syncstate SET SCHEMA public;

-- CREATE in a transaction that rolls back leaves nothing, and the session goes on.
DROP EXTENSION syncstate;
BEGIN;
CREATE EXTENSION syncstate;
SELECT sync_state_observe('draft', 'd')->>'detail' AS detail;
ROLLBACK;
SELECT to_regnamespace('syncstate') IS NULL AS schema_is_gone;
CREATE EXTENSION syncstate;
SELECT sync_state_observe('draft', 'd2')->>'detail' AS detail;
SELECT type_key, local_hash FROM sync_state_list();
-- A DROP that rolls back leaves all as it was.
BEGIN;
DROP EXTENSION syncstate;
ROLLBACK;
SELECT sync_state_observe('draft', 'd3')->>'detail' AS detail;
SELECT type_key, local_hash FROM sync_state_list();

DROP EXTENSION syncstate;
DROP SCHEMA elsewhere;
