-- What people write by hand: a table with the columns and indexes of
-- syncstate.sync_state, a plpgsql trigger, and functions of the same meaning.
-- It has none of its CHECKs, which would slow it down.

CREATE SCHEMA byhand;

CREATE TABLE byhand.sync_state (
	type_key text COLLATE "C" PRIMARY KEY,
	local_hash text,
	remote_hash text,
	last_synced_hash text,
	last_sync_at timestamptz,
	sync_status text,
	conflict_status text,
	sync_progress jsonb,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
	last_synced_remote_hash text,
	run_id uuid,
	run_number int NOT NULL DEFAULT 0,
	lease_expires_at timestamptz,
	changed_xid bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX ON byhand.sync_state (sync_status);
CREATE INDEX ON byhand.sync_state (last_sync_at);
CREATE INDEX ON byhand.sync_state (changed_xid, type_key);

CREATE FUNCTION byhand.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.updated_at := clock_timestamp();
	-- A checkpoint is no change, so that its update can be heap-only.
	IF TG_OP = 'INSERT' OR
		(NEW.local_hash, NEW.remote_hash, NEW.last_synced_hash, NEW.last_synced_remote_hash,
			NEW.last_sync_at, NEW.sync_status, NEW.conflict_status, NEW.run_id)
		IS DISTINCT FROM
		(OLD.local_hash, OLD.remote_hash, OLD.last_synced_hash, OLD.last_synced_remote_hash,
			OLD.last_sync_at, OLD.sync_status, OLD.conflict_status, OLD.run_id)
	THEN
		NEW.changed_xid := pg_current_xact_id()::text::bigint;
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON byhand.sync_state
FOR EACH ROW EXECUTE FUNCTION byhand.touch();

-- The statement that an application would prepare, as a function.
CREATE FUNCTION byhand.upsert(key text, hash text, status text)
RETURNS byhand.sync_state LANGUAGE plpgsql AS $$
DECLARE
	result byhand.sync_state;
BEGIN
	INSERT INTO byhand.sync_state (type_key, local_hash, sync_status) VALUES (key, hash, status)
	ON CONFLICT (type_key) DO UPDATE
	SET local_hash = EXCLUDED.local_hash, sync_status = EXCLUDED.sync_status
	RETURNING * INTO result;
	RETURN result;
END $$;

CREATE FUNCTION byhand.mark_synced(key text, local text, remote text)
RETURNS byhand.sync_state LANGUAGE plpgsql AS $$
DECLARE
	result byhand.sync_state;
BEGIN
	INSERT INTO byhand.sync_state (type_key, local_hash, remote_hash, last_synced_hash,
		last_synced_remote_hash, last_sync_at, sync_status, conflict_status)
	VALUES (key, local, remote, local, remote, now(), 'in_sync', 'none')
	ON CONFLICT (type_key) DO UPDATE
	SET local_hash = EXCLUDED.local_hash, remote_hash = EXCLUDED.remote_hash,
		last_synced_hash = EXCLUDED.last_synced_hash,
		last_synced_remote_hash = EXCLUDED.last_synced_remote_hash,
		last_sync_at = EXCLUDED.last_sync_at, sync_status = EXCLUDED.sync_status,
		conflict_status = EXCLUDED.conflict_status, sync_progress = NULL
	RETURNING * INTO result;
	RETURN result;
END $$;

CREATE FUNCTION byhand.checkpoint(key text, run uuid, progress jsonb)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
	expiry timestamptz;
BEGIN
	UPDATE byhand.sync_state
	SET sync_progress = progress, lease_expires_at = clock_timestamp() + interval '5 minutes'
	WHERE type_key = key AND run_id = run
	RETURNING lease_expires_at INTO expiry;
	IF NOT FOUND THEN
		RAISE 'run % of "%" was superseded', run, key USING ERRCODE = '55000';
	END IF;
	RETURN expiry;
END $$;

-- sync_state_update: what is given is set, what is missing is kept.
CREATE FUNCTION byhand.update(key text, state jsonb)
RETURNS byhand.sync_state LANGUAGE plpgsql AS $$
DECLARE
	result byhand.sync_state;
BEGIN
	INSERT INTO byhand.sync_state AS s (type_key, local_hash, remote_hash, last_synced_hash,
		last_synced_remote_hash, last_sync_at, sync_status, conflict_status, sync_progress)
	VALUES (key, state ->> 'local_hash', state ->> 'remote_hash', state ->> 'last_synced_hash',
		state ->> 'last_synced_remote_hash', (state ->> 'last_sync_at')::timestamptz,
		state ->> 'sync_status', state ->> 'conflict_status', state -> 'sync_progress')
	ON CONFLICT (type_key) DO UPDATE
	SET local_hash = CASE WHEN state ? 'local_hash' THEN EXCLUDED.local_hash ELSE s.local_hash END,
		remote_hash = CASE WHEN state ? 'remote_hash' THEN EXCLUDED.remote_hash ELSE s.remote_hash END,
		last_synced_hash = CASE WHEN state ? 'last_synced_hash' THEN EXCLUDED.last_synced_hash ELSE s.last_synced_hash END,
		last_synced_remote_hash = CASE WHEN state ? 'last_synced_remote_hash' THEN EXCLUDED.last_synced_remote_hash ELSE s.last_synced_remote_hash END,
		last_sync_at = CASE WHEN state ? 'last_sync_at' THEN EXCLUDED.last_sync_at ELSE s.last_sync_at END,
		sync_status = CASE WHEN state ? 'sync_status' THEN EXCLUDED.sync_status ELSE s.sync_status END,
		conflict_status = CASE WHEN state ? 'conflict_status' THEN EXCLUDED.conflict_status ELSE s.conflict_status END,
		sync_progress = CASE WHEN state ? 'sync_progress' THEN EXCLUDED.sync_progress ELSE s.sync_progress END
	RETURNING * INTO result;
	RETURN result;
END $$;

CREATE FUNCTION byhand.action(l text, r text, bl text, br text, synced boolean DEFAULT true)
RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF NOT synced THEN
		RETURN 'INITIAL_SYNC';
	ELSIF l IS NOT DISTINCT FROM bl THEN
		IF r IS NOT DISTINCT FROM br THEN
			RETURN 'NO_CHANGE';
		END IF;
		RETURN CASE WHEN l IS NOT DISTINCT FROM r THEN 'NO_CHANGE' ELSE 'PULL' END;
	ELSIF l IS NOT DISTINCT FROM r THEN
		RETURN 'NO_CHANGE';
	ELSIF r IS NOT DISTINCT FROM br THEN
		RETURN 'PUSH';
	END IF;
	RETURN 'CONFLICT';
END $$;

CREATE FUNCTION byhand.delta(key text) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
DECLARE
	s byhand.sync_state;
	synced boolean;
	action text;
	detail text;
BEGIN
	SELECT * INTO s FROM byhand.sync_state WHERE type_key = key;
	synced := s.last_sync_at IS NOT NULL OR s.last_synced_hash IS NOT NULL
		OR s.last_synced_remote_hash IS NOT NULL;
	IF NOT synced THEN
		action := 'INITIAL_SYNC';
		detail := CASE WHEN s.local_hash IS NULL AND s.remote_hash IS NULL THEN 'empty'
			WHEN s.remote_hash IS NULL THEN 'push' WHEN s.local_hash IS NULL THEN 'pull'
			WHEN s.local_hash = s.remote_hash THEN 'adopt' ELSE 'conflict' END;
	ELSIF s.local_hash IS NOT DISTINCT FROM s.last_synced_hash
		AND s.remote_hash IS NOT DISTINCT FROM s.last_synced_remote_hash THEN
		action := 'NO_CHANGE';
		detail := 'unchanged';
	ELSIF s.local_hash IS NOT DISTINCT FROM s.remote_hash THEN
		action := 'NO_CHANGE';
		detail := CASE WHEN s.local_hash IS NULL THEN 'both_deleted' ELSE 'converged' END;
	ELSIF s.remote_hash IS NOT DISTINCT FROM s.last_synced_remote_hash THEN
		action := 'PUSH';
		detail := CASE WHEN s.local_hash IS NULL THEN 'delete' WHEN s.remote_hash IS NULL THEN 'create' ELSE 'edit' END;
	ELSIF s.local_hash IS NOT DISTINCT FROM s.last_synced_hash THEN
		action := 'PULL';
		detail := CASE WHEN s.remote_hash IS NULL THEN 'delete' WHEN s.local_hash IS NULL THEN 'create' ELSE 'edit' END;
	ELSE
		action := 'CONFLICT';
		detail := CASE WHEN s.remote_hash IS NULL THEN 'edit/delete' WHEN s.local_hash IS NULL THEN 'delete/edit' ELSE 'edit/edit' END;
	END IF;
	RETURN jsonb_build_object('type_key', key, 'action', action, 'detail', detail,
		'local_hash', s.local_hash, 'remote_hash', s.remote_hash, 'last_synced_hash', s.last_synced_hash,
		'last_synced_remote_hash', s.last_synced_remote_hash);
END $$;

CREATE FUNCTION byhand.get(key text) RETURNS SETOF byhand.sync_state LANGUAGE plpgsql STABLE ROWS 1 AS $$
BEGIN
	RETURN QUERY SELECT * FROM byhand.sync_state WHERE type_key = key;
END $$;
