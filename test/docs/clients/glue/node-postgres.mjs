// What calls the code of node-postgres.md.
const { pool, sync, recover, follow, listen } = await import(`file://${process.cwd()}/sync.mjs`);

const heard = [];
let woken;

async function types() {
  const one = async (query, ...values) => (await pool.query(query, values)).rows[0];
  const refused = async (query, ...values) => {
    try { await pool.query(query, values); } catch (error) { return error.code; }
    return 'taken';
  };
  const run = await one('SELECT * FROM sync_state_begin($1, $2)', 'types', '90 seconds');
  const checkpoint = 'SELECT sync_state_checkpoint($1, $2, $3) AS lease';
  const progress = async () => (await one("SELECT sync_progress::text FROM sync_state_get('types')")).sync_progress;
  const told = { uuid: typeof run.run_id };
  told.array = await refused(checkpoint, 'types', run.run_id, [1, 2]);
  await pool.query(checkpoint, ['types', run.run_id, JSON.stringify([1, 2])]);
  told.stringified = await progress();
  await pool.query(checkpoint, ['types', run.run_id, null]);
  told.heartbeat = await progress();
  await pool.query(checkpoint, ['types', run.run_id, undefined]);
  told.undefined = await progress();
  told.string = await refused(checkpoint, 'types', run.run_id, 'text');
  told.arrays = (await one('SELECT sync_state_observe_many($1, $2, $3) AS n', ['t1', 't2'], ['h', null], null)).n;
  told.bigint = typeof (await one("SELECT changed_xid FROM sync_state_get('types')")).changed_xid;
  told.interval = typeof (await one("SELECT interval '1 s' AS i")).i;

  // A time that has microseconds, as it was read.
  await pool.query(`UPDATE syncstate.sync_state SET last_sync_at = '2026-01-02 03:04:05.678901Z', local_hash = 'old',
    last_synced_hash = 'old' WHERE type_key = 't1'`);
  const { last_sync_at: time, updated_at: updated } = await one("SELECT * FROM sync_state_get('t1')");
  told.date = time instanceof Date && time.toISOString();
  await pool.query("UPDATE syncstate.sync_state SET local_hash = 'new', last_sync_at = $1 WHERE type_key = 't1'", [time]);
  told.base = (await one("SELECT last_synced_hash FROM sync_state_get('t1')")).last_synced_hash;
  const again = await pool.query('SELECT sync_state_changed_since($1) AS key', [updated]);
  told.again = again.rows.some(({ key }) => key === 't1');
  told.text = (await one("SELECT last_sync_at::text AS t FROM sync_state_get('t1')")).t;
  return told;
}

async function swallowed() {
  const client = await pool.connect();
  await client.query('BEGIN');
  await client.query('SELECT 1/0').catch(() => {});
  const { command } = await client.query('COMMIT');
  client.release();
  return command;
}

export const calls = {
  sync, recover, types, swallowed,
  follow: () => follow(3),
  async listen() {
    let wake;
    woken = new Promise((resolve) => { wake = resolve; });
    await listen((message) => { heard.push(message.payload); wake(); });
  },
  async wait(seconds) {
    await Promise.race([woken, new Promise((resolve) => { setTimeout(resolve, seconds * 1000); })]);
    return heard;
  },
};
