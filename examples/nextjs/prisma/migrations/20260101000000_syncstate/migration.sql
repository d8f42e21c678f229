-- The extension has to be installed on the server; CREATE on the database is
-- privilege enough to make it.
CREATE EXTENSION syncstate;

-- Whoever writes the state, this application or psql, notifies the channel
-- "syncstate", on which the application's cache and its page rely.  `all` counts
-- checkpoints too.  The first call makes the setting known to this session, which
-- may then keep it for the database.
DO $$
BEGIN
	PERFORM sync_state_version();
	EXECUTE format('ALTER DATABASE %I SET syncstate.notify = %L', current_database(), 'all');
END
$$;
