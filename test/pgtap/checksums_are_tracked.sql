-- Checksums are tracked: for each content type the latest known hash of both sides and the hashes
-- of the last sync are kept, byte for byte, and it is their comparison that says what to do.
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION syncstate;

SELECT plan(38);

CREATE SCHEMA t;
-- The four hashes of a key, on one line.
CREATE FUNCTION t.hashes(type_key text) RETURNS text LANGUAGE sql AS $$
	SELECT format('L=%s R=%s BL=%s BR=%s', coalesce(local_hash, '-'), coalesce(remote_hash, '-'),
	              coalesce(last_synced_hash, '-'), coalesce(last_synced_remote_hash, '-'))
	  FROM sync_state_get($1) $$;
CREATE FUNCTION t.verdict(type_key text) RETURNS text LANGUAGE sql
	AS $$ SELECT (d->>'action') || ' ' || (d->>'detail') FROM sync_state_delta($1) AS d $$;

-- From the first sight of a content type to its first sync.
SELECT is(sync_state_observe('article', 'a1')->>'detail', 'push', 'our side is seen first');
SELECT is(t.hashes('article'), 'L=a1 R=- BL=- BR=-', 'one hash is known, nothing was synced');
SELECT is((sync_state_mark_synced('article', 'a1', 'a1')).sync_status, 'in_sync', 'a sync');
SELECT is(t.hashes('article'), 'L=a1 R=a1 BL=a1 BR=a1', '... sets both hashes and both bases');
SELECT is(t.verdict('article'), 'NO_CHANGE unchanged', 'and there is nothing to do');

-- Asking is not recording.
SELECT is(sync_state_delta('article', 'a2')->>'action', 'PUSH', 'a hash that the caller has just computed decides');
SELECT is(t.hashes('article'), 'L=a1 R=a1 BL=a1 BR=a1', '... and is not stored by asking');

-- Edits on either side.
SELECT is(sync_state_observe('article', 'a2')->>'action', 'PUSH', 'our side changed');
SELECT is(t.hashes('article'), 'L=a2 R=a1 BL=a1 BR=a1', 'the new hash is kept beside the base');
SELECT is(sync_state_observe('article', 'a1')->>'action', 'NO_CHANGE', 'the edit was taken back');
SELECT is(sync_state_observe('article', remote_hash => 'a3')->>'action', 'PULL', 'their side changed');
SELECT is(t.hashes('article'), 'L=a1 R=a3 BL=a1 BR=a1', '... and only their hash moved');
SELECT is(sync_state_observe('article', 'a2')->>'action', 'CONFLICT', 'now ours changed too');
SELECT is(t.hashes('article'), 'L=a2 R=a3 BL=a1 BR=a1', 'the base both edits started from is still known');
SELECT is((sync_state_mark_synced('article', 'a4', 'a4')).sync_status, 'in_sync', 'someone merged them and synced');
SELECT is(t.hashes('article'), 'L=a4 R=a4 BL=a4 BR=a4', 'the merged hash is the new base');

-- NULL means absent.
SELECT is(sync_state_observe('article', local_absent => true)->>'detail', 'delete', 'our side was deleted');
SELECT is(t.hashes('article'), 'L=- R=a4 BL=a4 BR=a4', 'an absence is kept as NULL');
SELECT is(sync_state_observe('article')->>'detail', 'delete', 'an observation of nothing changes nothing');
SELECT is((sync_state_mark_synced('article', NULL, NULL)).sync_status, 'in_sync', 'the deletion was carried over');
SELECT is(t.hashes('article'), 'L=- R=- BL=- BR=-', 'the content is gone on both sides');
SELECT is(t.verdict('article'), 'NO_CHANGE unchanged', '... which is a synced state, not an unknown one');
SELECT is(sync_state_observe('article', 'a5')->>'detail', 'create', 'so content that appears is a creation');

-- The two sides may hash differently.
SELECT is((sync_state_mark_synced('page', 'md5:1', 'sha:1')).sync_status, 'in_sync', 'each side has its own kind of hash');
SELECT is(t.hashes('page'), 'L=md5:1 R=sha:1 BL=md5:1 BR=sha:1', 'each has its own base');
SELECT is(t.verdict('page'), 'NO_CHANGE unchanged', 'and is compared with that one only');
SELECT is(sync_state_observe('page', remote_hash => 'sha:2')->>'action', 'PULL', 'a change on the other side is seen as such');

-- A partial write keeps the rest; an explicit null does not.
SELECT is((sync_state_update('page', '{"remote_hash": "sha:1"}')).sync_status, 'modified', 'update derives nothing');
SELECT is(t.hashes('page'), 'L=md5:1 R=sha:1 BL=md5:1 BR=sha:1', 'a key that is not given is kept');
SELECT is((sync_state_update('page', '{"remote_hash": null}')).remote_hash, NULL, 'a null is written');

-- Hashes are opaque text and compared as bytes.
CREATE FUNCTION t.stored(hash text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sync_state_observe('odd', $1);
	RETURN (SELECT local_hash FROM sync_state_get('odd'));
END $$;
SELECT ok(t.stored(hash) = hash COLLATE "C", what)
  FROM (VALUES
	(1, '', 'the empty string is a hash'),
	(2, 'A', 'upper case'),
	(3, 'a', 'is not lower case'),
	(4, 'a ', 'blanks count'),
	(5, E'\u00e9', 'precomposed'),
	(6, E'e\u0301', 'is not decomposed'),
	(7, E'tab\t"quote" \\ ''apostrophe''', 'characters that JSON and SQL quote'),
	(8, repeat('0123456789abcdef', 20000), 'a hash of 320,000 characters')
       ) AS example (n, hash, what)
 ORDER BY n;

SELECT * FROM finish();
ROLLBACK;
