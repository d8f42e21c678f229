-- What the follower keeps, on the other side: a copy of the state of all content
-- types, and the cursor up to which it has read.

CREATE TABLE state_copy (
	type_key text COLLATE "C" PRIMARY KEY,
	sync_status text,
	conflict_status text,
	local_hash text,
	remote_hash text,
	last_sync_at timestamptz
);

-- Always one row.  NULL: nothing was read yet.
CREATE TABLE feed_cursor (cursor text);
INSERT INTO feed_cursor VALUES (NULL);
