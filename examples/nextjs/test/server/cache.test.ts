/*
 * The cache of states and what keeps it right: notifications, the connection that
 * they come by, and the order of a read and a change.
 *
 * The listeners here reach the server through a proxy of the test's own, which can
 * cut a connection, refuse new ones, or swallow all that passes without a word.
 */
import assert from "node:assert/strict";
import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { after, beforeEach, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { Client, type ClientConfig } from "pg";

import { connectionConfig } from "@/lib/database";
import { cacheFor } from "@/lib/sync/services";
import { ChangeListener, parseChange } from "@/lib/sync/state/ChangeListener";
import { StateCache } from "@/lib/sync/state/StateCache";
import { SyncStateManager } from "@/lib/sync/state/SyncStateManager";
import type { SyncState } from "@/lib/sync/types";

import { deferred, newKey, prisma, sql, states, until } from "./setup";

function state(typeKey: string, localHash: string): SyncState {
  return { typeKey, localHash, syncProgress: { step: 1 } } as unknown as SyncState;
}

/** Something that is read, and how often it was. */
function source(typeKey: string, localHash = "1") {
  const read = async () => {
    read.count++;
    return state(typeKey, read.localHash);
  };
  read.count = 0;
  read.localHash = localHash;
  return read;
}

describe("StateCache", () => {
  let fresh = true;
  let cache: StateCache;

  beforeEach(() => {
    fresh = true;
    cache = new StateCache({ capacity: 3, maxAge: 60_000, isFresh: () => fresh });
  });

  test("reads once, until the key is dropped", async () => {
    const read = source("a");
    assert.deepEqual(await cache.get("a", read), state("a", "1"));
    read.localHash = "2";
    assert.equal((await cache.get("a", read))?.localHash, "1");
    assert.equal(read.count, 1);
    cache.drop("b");
    assert.equal((await cache.get("a", read))?.localHash, "1");
    cache.drop("a");
    assert.equal((await cache.get("a", read))?.localHash, "2");
    assert.deepEqual([cache.hits, cache.misses], [2, 2]);
  });

  test("what a caller does to a state stays with the caller", async () => {
    const read = source("a");
    for (let i = 0; i < 3; i++) {
      const got = await cache.get("a", read);
      assert.deepEqual(got, state("a", "1"));
      (got?.syncProgress as { step: number }).step = 99;
    }
    assert.equal(read.count, 1);
  });

  test("keeps so many, and of those the ones that were asked for last", async () => {
    const reads = Object.fromEntries(["a", "b", "c", "d"].map((key) => [key, source(key)]));
    const get = (key: string) => cache.get(key, reads[key] ?? assert.fail());
    for (const key of ["a", "b", "c", "a", "d"]) {
      await get(key);
    }
    assert.equal(cache.size, 3);
    for (const key of ["a", "c", "d", "b"]) {
      await get(key);
    }
    assert.deepEqual(Object.values(reads).map(({ count }) => count), [1, 2, 1, 1]);
  });

  test("keeps nothing of unknown keys", async () => {
    for (let i = 0; i < 10; i++) {
      assert.equal(await cache.get(`unknown ${i}`, async () => null), null);
    }
    assert.equal(cache.size, 0);
  });

  test("a change while a state is read: the reader may have the earlier one, nobody after it", async () => {
    for (const change of [() => cache.drop("a"), () => cache.clear()]) {
      const read = source("a", "earlier");
      const reading = deferred<void>();
      const slow = async () => {
        const got = await read();
        await reading.promise;
        return got;
      };
      const first = cache.get("a", slow);
      change();
      // Another read, which began after the change, keeps what it has seen.
      read.localHash = "later";
      assert.equal((await cache.get("a", read))?.localHash, "later");
      reading.resolve();
      assert.equal((await first)?.localHash, "earlier");
      assert.equal((await cache.get("a", read))?.localHash, "later");
      assert.equal(read.count, 2);
      cache.clear();
    }
  });

  test("a read that fails leaves nothing behind", async () => {
    await assert.rejects(cache.get("a", () => Promise.reject(new Error("no"))), /no/);
    const read = source("a");
    await cache.get("a", read);
    await cache.get("a", read);
    assert.equal(read.count, 1);
  });

  test("while nobody listens it neither answers nor keeps", async () => {
    const read = source("a");
    await cache.get("a", read);
    fresh = false;
    await cache.get("a", read);
    await cache.get("b", source("b"));
    assert.equal(read.count, 2);
    assert.equal(cache.size, 1);
  });

  test("nothing gets older than maxAge, counted from before it was read", async () => {
    cache = new StateCache({ maxAge: 40, isFresh: () => true });
    const read = source("a");
    await cache.get("a", async () => {
      await delay(50);
      return read();
    });
    await cache.get("a", read);
    assert.equal(read.count, 2);
  });
});

test("what is no notification of the extension's is passed over", () => {
  assert.deepEqual(parseChange('{"type_key": "a\\"b", "sync_status": "new"}'), { typeKey: 'a"b', syncStatus: "new" });
  assert.deepEqual(parseChange('{"type_key": "a", "sync_status": null}'), { typeKey: "a", syncStatus: null });
  for (const payload of [undefined, "", "hello", "null", "[]", "{}", '{"type_key": 1, "sync_status": null}', '{"type_key": "a"}']) {
    assert.equal(parseChange(payload), null);
  }
});

// With a server

const cleanUps: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanUp of cleanUps.reverse()) {
    await cleanUp();
  }
});

/** Between a listener and the server. */
class Proxy {
  readonly server: Server;
  readonly pairs = new Set<[Socket, Socket]>();
  refusing = false;

  constructor(target: { host: string; port: number }) {
    this.server = createServer((near) => {
      if (this.refusing) {
        near.destroy();
        return;
      }
      const far = target.host.startsWith("/")
        ? connect(`${target.host}/.s.PGSQL.${target.port}`)
        : connect(target.port, target.host);
      const pair: [Socket, Socket] = [near, far];
      this.pairs.add(pair);
      near.pipe(far).pipe(near);
      for (const socket of pair) {
        socket.on("error", () => undefined).on("close", () => {
          this.pairs.delete(pair);
          near.destroy();
          far.destroy();
        });
      }
    });
  }

  async config(): Promise<ClientConfig> {
    await new Promise<void>((listening) => this.server.listen(0, "127.0.0.1", listening));
    const { port } = this.server.address() as AddressInfo;
    cleanUps.push(async () => {
      this.cut();
      this.server.close();
    });
    const url = new URL(connectionConfig().connectionString ?? "");
    url.searchParams.delete("host");
    url.hostname = "127.0.0.1";
    url.port = String(port);
    return { connectionString: url.href };
  }

  /** As when a server goes away. */
  cut(): void {
    this.pairs.forEach(([near, far]) => {
      near.destroy();
      far.destroy();
    });
  }

  /** As when a network does: nothing arrives, and nobody is told. */
  swallow(): void {
    this.pairs.forEach(([near, far]) => {
      near.unpipe(far);
      far.unpipe(near);
      near.resume();
      far.resume();
    });
  }
}

interface Listening {
  proxy: Proxy;
  listener: ChangeListener;
  cache: StateCache;
  cached: SyncStateManager;
}

async function listen(options: ConstructorParameters<typeof ChangeListener>[1] = {}): Promise<Listening> {
  const { host, port } = new Client(connectionConfig());
  const proxy = new Proxy({ host, port });
  const listener = new ChangeListener(await proxy.config(), { minRetry: 20, maxRetry: 50, ...options });
  const cache = cacheFor(listener);
  listener.start();
  cleanUps.push(() => listener.stop());
  await until("the listener listens", () => listener.isListening());
  return { proxy, listener, cache, cached: new SyncStateManager(prisma, cache) };
}

/** Reads until the answer comes from the cache. */
async function warm({ cached, cache }: Listening, typeKey: string): Promise<void> {
  const { hits } = cache;
  await until("the state is kept", async () => {
    await cached.getSyncState(typeKey);
    return cache.hits > hits;
  });
}

describe("cache and notifications", () => {
  test("a change by another client drops the state, a checkpoint and a deletion too", async () => {
    const here = await listen();
    const key = newKey('with "quotes" and ünicode');
    const { runId } = await states.beginSync(key);
    const changes: [string, string, (state: SyncState | null) => boolean][] = [
      ["update", "SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", (state) => state?.localHash === "2"],
      ["plain SQL", "UPDATE syncstate.sync_state SET remote_hash = '3' WHERE type_key = $1", (state) => state?.remoteHash === "3"],
      ["checkpoint", `SELECT sync_state_checkpoint($1, '${runId}', '{"step": 4}')`, (state) => state?.syncProgress !== null],
      ["forget", "SELECT sync_state_forget($1, true)", (state) => state === null],
    ];
    for (const [what, query, seen] of changes) {
      await warm(here, key);
      await sql(query, key);
      await until(`${what} is seen`, async () => seen(await here.cached.getSyncState(key)));
    }
  });

  test("is asked less than the database", async () => {
    const here = await listen();
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await warm(here, key);
    const { misses } = here.cache;
    for (let i = 0; i < 100; i++) {
      assert.equal((await here.cached.getSyncState(key))?.localHash, "1");
    }
    assert.equal(here.cache.misses, misses);
  });

  test("fresh asks the database in any case", async () => {
    const here = await listen();
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await warm(here, key);
    await sql("SET syncstate.notify = 'none'");
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", key);
    await sql("RESET syncstate.notify");
    assert.equal((await here.cached.getSyncState(key))?.localHash, "1");
    assert.equal((await here.cached.getSyncState(key, { fresh: true }))?.localHash, "2");
  });

  test("one's own writes are seen at once, in a transaction of transaction() too", async () => {
    const here = await listen();
    const key = newKey();
    for (let i = 0; i < 20; i++) {
      await here.cached.updateSyncState(key, { localHash: `a${i}` });
      assert.equal((await here.cached.getSyncState(key))?.localHash, `a${i}`);
      await here.cached.transaction(async (_tx, inner) => {
        await inner.updateSyncState(key, { localHash: `b${i}` });
        assert.equal((await inner.getSyncState(key))?.localHash, `b${i}`);
        assert.equal((await here.cached.getSyncState(key))?.localHash, `a${i}`);
      });
      assert.equal((await here.cached.getSyncState(key))?.localHash, `b${i}`);
    }
  });

  test("what a transaction sees before it commits is not kept, if it is rolled back either", async () => {
    const here = await listen();
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await here.cached.transaction(async (_tx, inner) => {
      await inner.updateSyncState(key, { localHash: "2" });
      await inner.getSyncState(key);
      throw new Error("undo");
    }).catch(() => undefined);
    assert.equal((await here.cached.getSyncState(key))?.localHash, "1");
  });

  test("a notification that overtakes the answer of a read", async () => {
    const here = await listen();
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });

    // The database has answered, and the change comes before the answer is taken.
    const answer = deferred<SyncState | null>();
    const taken = deferred<void>();
    const slow = here.cache.get(key, async () => {
      answer.resolve(await states.getSyncState(key));
      await taken.promise;
      return answer.promise;
    });
    assert.equal((await answer.promise)?.localHash, "1");
    const told = deferred<void>();
    here.listener.on("change", ({ typeKey }) => {
      if (typeKey === key) {
        told.resolve();
      }
    });
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", key);
    await told.promise;
    taken.resolve();
    assert.equal((await slow)?.localHash, "1");
    assert.equal((await here.cached.getSyncState(key))?.localHash, "2");
  });

  test("many readers and a writer: after its notification nobody sees an earlier state", async () => {
    const here = await listen();
    const key = newKey();
    // Each round commits, and is told of, by itself: after so many, what is read is no earlier.
    let told = -1;
    here.listener.on("change", ({ typeKey }) => {
      if (typeKey === key) {
        told++;
      }
    });
    await states.updateSyncState(key, { localHash: "0" });
    await until("the first state is told", () => told === 0);
    const rounds = 200;
    let reading = true;
    let reads = 0;
    const reader = async () => {
      while (reading) {
        const atLeast = told;
        const seen = Number((await here.cached.getSyncState(key))?.localHash);
        assert.ok(seen >= atLeast, `saw ${seen} after ${atLeast} was told`);
        reads++;
        await delay(0);
      }
    };
    const readers = Promise.all([reader(), reader(), reader(), reader()]);
    for (let round = 1; round <= rounds; round++) {
      await sql("SELECT sync_state_update($1, jsonb_build_object('local_hash', $2::text))", key, String(round));
    }
    await until("the last change is told", () => told === rounds);
    reading = false;
    await readers;
    assert.ok(here.cache.hits > 0 && here.cache.misses > 0, `${here.cache.hits} of ${reads} reads came from the cache`);
    assert.equal((await here.cached.getSyncState(key))?.localHash, String(rounds));
  });
});

describe("cache and a lost connection", () => {
  test("does not answer while nobody listens, and starts empty afterwards", async () => {
    const here = await listen();
    const { proxy, listener, cache, cached } = here;
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await warm(here, key);

    const events: string[] = [];
    listener.on("lost", () => events.push("lost")).on("ready", () => events.push("ready"));
    proxy.refusing = true;
    proxy.cut();
    await until("the loss is noticed", () => events.length > 0);
    assert.ok(!listener.isListening());
    assert.equal(cache.size, 0);
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", key);
    assert.equal((await cached.getSyncState(key))?.localHash, "2");
    assert.equal(cache.size, 0);
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"3\"}')", key);
    assert.equal((await cached.getSyncState(key))?.localHash, "3");

    proxy.refusing = false;
    await until("it listens again", () => listener.isListening());
    assert.deepEqual(events, ["lost", "ready"]);
    await warm(here, key);
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"4\"}')", key);
    await until("notifications arrive again", async () => (await cached.getSyncState(key))?.localHash === "4");
  });

  test("a read that began before the loss leaves nothing behind after it", async () => {
    const here = await listen();
    const { proxy, listener, cache, cached } = here;
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    const answer = deferred<SyncState | null>();
    const taken = deferred<void>();
    const slow = cache.get(key, async () => {
      answer.resolve(await states.getSyncState(key));
      await taken.promise;
      return answer.promise;
    });
    assert.equal((await answer.promise)?.localHash, "1");
    let lost = false;
    listener.on("lost", () => { lost = true; });
    proxy.cut();
    await until("the loss is noticed", () => lost);
    // Told to nobody.
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", key);
    await until("it listens again", () => listener.isListening());
    taken.resolve();
    assert.equal((await slow)?.localHash, "1");
    assert.equal((await cached.getSyncState(key))?.localHash, "2");
  });

  test("a backend that is terminated", async () => {
    const here = await listen();
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await warm(here, key);
    const lost = deferred<void>();
    here.listener.on("lost", lost.resolve);
    // All listeners of this database, the running application's too.
    await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'syncstate example: listener'`);
    await lost.promise;
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", key);
    assert.equal((await here.cached.getSyncState(key))?.localHash, "2");
    await until("it listens again", () => here.listener.isListening());
  });

  test("a network that swallows everything is noticed by the answer that does not come", async () => {
    const heartbeat = 150;
    const here = await listen({ heartbeat });
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await warm(here, key);
    const lost = deferred<void>();
    here.listener.on("lost", lost.resolve);
    here.proxy.swallow();
    await sql("SELECT sync_state_update($1, '{\"local_hash\": \"2\"}')", key);
    await lost.promise;
    assert.equal((await here.cached.getSyncState(key))?.localHash, "2");
    await until("it listens again, by another connection", () => here.listener.isListening());
  });

  test("a process that was stopped does not trust what it knew, before it has looked", async () => {
    const heartbeat = 150;
    const here = await listen({ heartbeat });
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await warm(here, key);
    // As long as this takes, no timer ends and nothing that has arrived is read.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * heartbeat);
    assert.equal(here.listener.isListening(), false);
    const { hits } = here.cache;
    await here.cached.getSyncState(key);
    assert.equal(here.cache.hits, hits);
  });

  test("a server that cannot be reached at the start is tried again", async () => {
    const { host, port } = new Client(connectionConfig());
    const proxy = new Proxy({ host, port });
    proxy.refusing = true;
    const listener = new ChangeListener(await proxy.config(), { minRetry: 10, maxRetry: 20 }).start();
    cleanUps.push(() => listener.stop());
    await delay(100);
    assert.ok(!listener.isListening());
    proxy.refusing = false;
    await until("it listens", () => listener.isListening());
  });

  test("stop ends it, connected or not", async () => {
    const here = await listen();
    await here.listener.stop();
    assert.ok(!here.listener.isListening());
    const nobody = new ChangeListener({ host: "127.0.0.1", port: 1 }, { minRetry: 60_000 }).start();
    await nobody.stop();
  });
});
