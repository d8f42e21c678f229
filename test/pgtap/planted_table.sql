-- A table in schema syncstate is the extension's, or it is none: what somebody put in place of one is
-- neither read nor written.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(3);

ALTER EXTENSION syncstate DROP TABLE syncstate.sync_state;
SELECT throws_ok($$ SELECT sync_state_get('article') $$, '55000', 'table syncstate.sync_state of extension syncstate does not exist',
                 'a table that is not the extension''s is not read');
SELECT throws_ok($$ SELECT sync_state_observe('article', 'h') $$, '55000', NULL, '... nor written');
SELECT is_empty('SELECT * FROM syncstate.sync_state', '... at all');

SELECT * FROM finish();
ROLLBACK;
