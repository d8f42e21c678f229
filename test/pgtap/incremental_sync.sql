-- Incremental sync: after the first time, only what changed is looked at and moved.
-- changed_since finds the keys touched after a moment, observe and plan_for compare listings with
-- what is remembered, plan is the dry run over everything.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(45);

CREATE SCHEMA t;
CREATE FUNCTION t.plan() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s/%s', p.type_key, p.action, p.detail), ' ' ORDER BY p.type_key) FROM sync_state_plan() AS p $$;

-- The initial sync of three content types.
SELECT is(t.plan(), NULL, 'an empty memory has an empty plan');
SELECT is(sync_state_observe_many('{article,author,page}', '{h1,h1,h1}', '{NULL,NULL,NULL}'), 3, 'three content types are seen');
SELECT is(t.plan(), 'article:INITIAL_SYNC/push author:INITIAL_SYNC/push page:INITIAL_SYNC/push', 'the plan is to push them all');
SELECT is(sync_state_mark_synced_many('{article,author,page}', '{h1,h1,h1}', '{h1,h1,h1}'), 3, 'done');
SELECT is(t.plan(), 'article:NO_CHANGE/unchanged author:NO_CHANGE/unchanged page:NO_CHANGE/unchanged', 'nothing is left to do');

-- changed_since: strictly after the moment, in key order.
SELECT max(updated_at) AS mark FROM syncstate.sync_state \gset
SELECT is_empty(format('SELECT sync_state_changed_since(%L)', :'mark'), 'nothing has changed since the last change');
SELECT is(sync_state_observe('page', 'h2')->>'action', 'PUSH', 'page is edited');
SELECT is(sync_state_observe('article', remote_hash => 'h2')->>'action', 'PULL', 'article is edited on the other side');
SELECT is(sync_state_observe('author', 'h1', 'h1')->>'action', 'NO_CHANGE', 'author is looked at and found unchanged');
SELECT results_eq(format('SELECT sync_state_changed_since(%L)', :'mark'),
                  $$ VALUES ('article'), ('page') $$,
                  'the two that changed, in key order; being looked at is no change');
SELECT results_eq($$ SELECT sync_state_changed_since('-infinity') $$,
                  $$ VALUES ('article'), ('author'), ('page') $$, 'since ever: all');
SELECT is_empty($$ SELECT sync_state_changed_since('infinity') $$, 'since the end of time: none');
SELECT updated_at AS article_at FROM sync_state_get('article') \gset
SELECT is_empty(format('SELECT sync_state_changed_since(%L)', :'article_at'),
                'the moment itself is excluded: article was the last to change');
SELECT results_eq(format('SELECT sync_state_changed_since(%L::timestamptz - interval ''1 microsecond'')', :'article_at'),
                  $$ VALUES ('article') $$, '... and a microsecond before it is not');

-- plan: what to do about each, with the state a scheduler wants to see.
SELECT is(t.plan(), 'article:PULL/edit author:NO_CHANGE/unchanged page:PUSH/edit', 'the dry run says what an incremental sync does');
SELECT results_eq(
	$$ SELECT p.type_key, p.sync_status, p.conflict_status FROM sync_state_plan('a') AS p ORDER BY p.type_key $$,
	$$ VALUES ('article' COLLATE "C", 'modified', 'none'), ('author', 'in_sync', 'none') $$,
	'a prefix selects keys');
SELECT is_empty($$ SELECT * FROM sync_state_plan('a%') $$, 'a percent sign in a prefix is a percent sign');
SELECT is_empty($$ SELECT * FROM sync_state_plan('_') $$, 'an underscore is an underscore');
SELECT is((SELECT count(*) FROM sync_state_plan('')), 3::bigint, 'the empty prefix selects all');
SELECT run_id AS run FROM sync_state_begin('page') \gset
SELECT results_eq(
	$$ SELECT p.action, p.sync_status, p.run_id, p.lease_expires_at FROM sync_state_plan('page') AS p $$,
	$$ SELECT 'PUSH', s.sync_status, s.run_id, s.lease_expires_at FROM syncstate.sync_state s WHERE s.type_key = 'page' $$,
	'a key in hand shows its run and lease');
SELECT is((SELECT p.sync_status FROM sync_state_plan('page') p), 'syncing', '... and its status');
SELECT is((sync_state_mark_synced('page', 'h2', 'h2', :'run')).sync_status, 'in_sync', 'the push is done');
SELECT is((sync_state_mark_synced('article', 'h2', 'h2')).sync_status, 'in_sync', 'so is the pull');
SELECT is(t.plan(), 'article:NO_CHANGE/unchanged author:NO_CHANGE/unchanged page:NO_CHANGE/unchanged', 'nothing is left to do');

-- plan_for: two listings against the memory, without writing anything.
CREATE TABLE t.before AS SELECT * FROM syncstate.sync_state;
CREATE FUNCTION t.plan_for(keys text[], l text[], r text[], complete boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s:%s/%s', p.type_key, p.action, p.detail), ' ' ORDER BY p.type_key)
	  FROM sync_state_plan_for($1, $2, $3, $4) AS p $$;
SELECT is(t.plan_for('{article,tag}', '{h3,h1}', '{h2,NULL}'), 'article:PUSH/edit tag:INITIAL_SYNC/push',
          'the keys of the listing: an edit, and one never seen before');
SELECT is(t.plan_for('{article,page}', '{NULL,h2}', '{h2,NULL}'), 'article:PUSH/delete page:PULL/delete',
          'a NULL element says that the content is absent');
SELECT is(t.plan_for('{article,page}', NULL, '{h5,h2}'), 'article:PULL/edit page:NO_CHANGE/unchanged',
          'a NULL array says that the side was not observed: the stored hashes count');
SELECT is(t.plan_for('{article}', NULL, NULL), 'article:NO_CHANGE/unchanged', 'neither side was: the stored state');
SELECT results_eq($$ SELECT type_key FROM sync_state_plan_for('{tag,page,b}', '{h1,h2,h1}', NULL, true) $$,
                  $$ VALUES ('article'), ('author'), ('b'), ('page'), ('tag') $$, 'in key order, what is listed and what is not');
SELECT is(t.plan_for('{article}', '{h2}', '{h2}', true),
          'article:NO_CHANGE/unchanged author:NO_CHANGE/both_deleted page:NO_CHANGE/both_deleted',
          'complete listings: what is not in them is gone');
SELECT is(t.plan_for('{article,page}', '{h2,h2}', NULL, true),
          'article:NO_CHANGE/unchanged author:PUSH/delete page:NO_CHANGE/unchanged',
          'a complete listing of our side only: absent there, as stored on the other');
SELECT is(t.plan_for('{}', NULL, '{}', true), 'article:PULL/delete author:PULL/delete page:PULL/delete', 'a complete and empty listing');
SELECT is(t.plan_for('{}', '{}', '{}'), NULL, 'an empty listing that is not complete says nothing');
SELECT results_eq(
	$$ SELECT type_key, local_hash, remote_hash, last_synced_hash, last_synced_remote_hash, sync_status, conflict_status
	     FROM sync_state_plan_for('{tag}', '{x}', '{y}') $$,
	$$ VALUES ('tag', 'x', 'y', NULL, NULL, NULL, NULL) $$,
	'an unknown key has the observed hashes and no state');
SELECT results_eq('SELECT * FROM syncstate.sync_state ORDER BY type_key', 'SELECT * FROM t.before ORDER BY type_key',
                  'planning wrote nothing');

-- observe_many records the same listings and counts the rows that changed.
SELECT is(sync_state_observe_many('{article,author,page}', '{h2,h1,h2}', '{h2,h1,h2}'), 0, 'unchanged listings change no row');
SELECT is(sync_state_observe_many('{article,author,page}', '{h2,h9,h2}', '{h2,h1,h9}'), 2, 'two of three have changed');
SELECT is(t.plan(), 'article:NO_CHANGE/unchanged author:PUSH/edit page:PULL/edit', 'and the plan knows');
SELECT is(sync_state_observe_many('{article,page}', NULL, '{h8,h9}'), 1, 'only the other side was listed');
SELECT is((sync_state_get('article')).local_hash, 'h2', '... so our hash is kept');
SELECT is(sync_state_observe_many('{article,page}', '{h2,h2}', NULL, complete => true), 1, 'a complete listing of our side');
SELECT is((sync_state_get('author')).local_hash, NULL, '... lacks author, so author is absent there');
SELECT is((sync_state_get('author')).remote_hash, 'h1', '... and as it was on the other side');
SELECT is(t.plan(), 'article:PULL/edit author:PUSH/delete page:PULL/edit', 'the plan is to carry the deletion over');
SELECT is(sync_state_observe_many('{}', '{}', '{}'), 0, 'an empty listing changes nothing');

SELECT * FROM finish();
ROLLBACK;
