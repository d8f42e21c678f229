--
-- DROP and CREATE EXTENSION in one session, in another schema too. The library stays loaded and
-- keeps plans: none may survive the tables it was made for.
--
CREATE EXTENSION syncstate;
SELECT sync_status FROM sync_state_mark_synced('article', 'a', 'a');
SELECT run_number FROM sync_state_begin('article');
SELECT sync_state_observe('article', 'b')->>'action' AS action;
DROP EXTENSION syncstate;
SELECT to_regnamespace('syncstate') IS NULL AS schema_is_gone;

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
