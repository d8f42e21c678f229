--
-- A checkpoint touches no index: it changes no indexed column and finds room on its page, so it is
-- a heap-only (HOT) update. Shown over short transactions, as a worker makes them.
--
CREATE EXTENSION syncstate;
SELECT sync_state_mark_synced_many(array_agg('type' || n), array_agg(n::text), array_agg(n::text)) FROM generate_series(1, 50) AS n;
SELECT count(run_id) FROM generate_series(1, 50) AS n, sync_state_begin('type' || n, lease => '1 hour');
VACUUM syncstate.sync_state;

CREATE TEMP TABLE before AS
	SELECT sum(pg_relation_size(indexrelid)) AS index_bytes FROM pg_index WHERE indrelid = 'syncstate.sync_state'::regclass;
SELECT pg_stat_force_next_flush();
SELECT pg_stat_reset_single_table_counters('syncstate.sync_state'::regclass);

-- 500 checkpoints over 50 keys, each in a transaction of its own.
DO $$
BEGIN
	FOR step IN 1 .. 10 LOOP
		FOR key IN 1 .. 50 LOOP
			PERFORM sync_state_checkpoint(s.type_key, s.run_id, jsonb_build_object('step', step, 'total', 10, 'last', repeat('x', 100)))
			   FROM syncstate.sync_state AS s WHERE s.type_key = 'type' || key;
			COMMIT;
		END LOOP;
	END LOOP;
END $$;

SELECT pg_stat_force_next_flush();
SELECT n_tup_upd AS updates, n_tup_hot_upd >= 0.99 * n_tup_upd AS at_least_99_percent_hot
  FROM pg_stat_user_tables WHERE relid = 'syncstate.sync_state'::regclass;
SELECT sum(pg_relation_size(indexrelid)) = (SELECT index_bytes FROM before) AS indexes_have_not_grown
  FROM pg_index WHERE indrelid = 'syncstate.sync_state'::regclass;
SELECT count(*) AS keys, min(sync_progress->>'step') AS step FROM sync_state_list() WHERE sync_status = 'syncing';

-- A heartbeat is one, too.
SELECT pg_stat_reset_single_table_counters('syncstate.sync_state'::regclass);
DO $$
BEGIN
	FOR beat IN 1 .. 100 LOOP
		PERFORM sync_state_checkpoint('type7', (SELECT run_id FROM sync_state_get('type7')), NULL);
		COMMIT;
	END LOOP;
END $$;
SELECT pg_stat_force_next_flush();
SELECT n_tup_upd AS updates, n_tup_hot_upd >= 0.99 * n_tup_upd AS at_least_99_percent_hot
  FROM pg_stat_user_tables WHERE relid = 'syncstate.sync_state'::regclass;

-- The measure can tell: the end of a run changes indexed columns, so this is no HOT update.
SELECT pg_stat_reset_single_table_counters('syncstate.sync_state'::regclass);
SELECT sync_status FROM sync_state_mark_synced('type7', '8', '8', (SELECT run_id FROM sync_state_get('type7')));
SELECT pg_stat_force_next_flush();
SELECT n_tup_upd AS updates, n_tup_hot_upd >= 0.99 * n_tup_upd AS at_least_99_percent_hot
  FROM pg_stat_user_tables WHERE relid = 'syncstate.sync_state'::regclass;

DROP EXTENSION syncstate;
