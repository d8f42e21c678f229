/*
 * The endpoints of the running application, over HTTP.
 */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";

import { RetryError, SyncError, UnavailableError } from "@/lib/sync/errors";
import { errorResponse, LARGEST_BODY } from "@/lib/sync/http";
import type { ErrorBody, OverviewRow, SyncState, SyncStatusReport } from "@/lib/sync/types";

import { baseUrl, endLease, newKey, sql, states, until } from "./setup";

const STATE = `${baseUrl()}/api/v1/sync/state`;
const STATUS = `${baseUrl()}/api/v1/sync/status`;
const EVENTS = `${baseUrl()}/api/v1/sync/events`;

async function get<Body>(url: string, status = 200): Promise<Body> {
  return body(await fetch(url), status);
}

async function post<Body>(
  content: unknown, status = 200, headers: HeadersInit = { "Content-Type": "application/json" },
): Promise<Body> {
  const text = typeof content === "string" ? content : JSON.stringify(content);
  return body(await fetch(STATE, { method: "POST", headers, body: text }), status);
}

async function body<Body>(response: Response, status: number): Promise<Body> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.match(response.headers.get("Content-Type") ?? "", /^application\/json/);
  assert.equal(response.headers.get("Cache-Control"), "no-store");
  return JSON.parse(text) as Body;
}

const stateUrl = (typeKey: string) => `${STATE}?typeKey=${encodeURIComponent(typeKey)}`;

describe("GET /api/v1/sync/state", () => {
  test("one, by its key", async () => {
    const key = newKey("with ünicode & spaces?");
    const made = await states.updateSyncState(key, { localHash: "l1", syncProgress: { step: 1 } });
    assert.deepEqual(await get(stateUrl(key)), { state: made });
  });

  test("all", async () => {
    const key = newKey();
    await states.updateSyncState(key, { localHash: "l1" });
    const { states: all } = await get<{ states: SyncState[] }>(STATE);
    assert.deepEqual(all.find(({ typeKey }) => typeKey === key), await states.getSyncState(key));
    assert.equal(String(all.length), (await sql<{ n: string }>("SELECT count(*) AS n FROM syncstate.sync_state"))[0]?.n);
  });

  test("an unknown one is 404", async () => {
    const key = newKey();
    assert.deepEqual(await get(stateUrl(key), 404), { error: { code: "not_found", message: `"${key}" is unknown` } });
  });

  test("a key that is none is 400", async () => {
    for (const query of ["typeKey=", `typeKey=${"x".repeat(513)}`, "typeKey=%00", "typeKey=a&typeKey=b"]) {
      const { error } = await get<ErrorBody>(`${STATE}?${query}`, 400);
      assert.equal(error.code, "invalid_input");
      assert.equal(error.field, "typeKey");
    }
  });

  test("what another client has written is seen, however often it was asked for before", async () => {
    const key = newKey();
    await states.updateSyncState(key, { localHash: "0" });
    for (let i = 1; i <= 5; i++) {
      for (let n = 0; n < 5; n++) {
        await get(stateUrl(key));
      }
      await sql("SELECT sync_state_update($1, jsonb_build_object('local_hash', $2::text))", key, String(i));
      await until("the change is seen", async () => {
        const { state } = await get<{ state: SyncState }>(stateUrl(key));
        return state.localHash === String(i);
      });
    }
  });
});

describe("POST /api/v1/sync/state", () => {
  test("makes a key and sets what is given", async () => {
    const typeKey = newKey();
    const fields = {
      localHash: "l1", remoteHash: null, lastSyncedHash: "l0", lastSyncedRemoteHash: "r0",
      lastSyncAt: "2026-11-22T11:18:44.042031Z", syncStatus: "conflict", conflictStatus: "detected", syncProgress: { step: 1 },
    } as const;
    const { state } = await post<{ state: SyncState }>({ typeKey, ...fields });
    assert.deepEqual({ ...state, ...fields }, state);
    assert.deepEqual(await states.getSyncState(typeKey), state);

    const { state: changed } = await post<{ state: SyncState }>({ typeKey, localHash: null });
    assert.deepEqual({ ...changed, updatedAt: state.updatedAt, localHash: "l1" }, state);
    assert.deepEqual(await get(stateUrl(typeKey)), { state: changed });
  });

  test("wrong input is 400, says why and what is meant, and changes nothing", async () => {
    const typeKey = newKey();
    const wrong: [string, unknown, string | undefined, RegExp][] = [
      ["no JSON", "{", undefined, /not JSON/],
      ["nothing", "", undefined, /not JSON/],
      ["an array", [], undefined, /must be a JSON object/],
      ["null", "null", undefined, /must be a JSON object/],
      ["no key", { localHash: "1" }, "typeKey", /non-empty string/],
      ["a number as key", { typeKey: 1 }, "typeKey", /non-empty string/],
      ["a key that is too long", { typeKey: "ü".repeat(257) }, "typeKey", /at most 512 bytes/],
      ["U+0000 in the key", { typeKey: "a\0" }, "typeKey", /U\+0000/],
      ["half a character in the key", '{"typeKey": "\\ud800"}', "typeKey", /well-formed/],
      ["a field that there is not", { typeKey, colour: "red" }, "colour", /there are localHash, /],
      ["a field that is not to be set", { typeKey, runNumber: 7 }, "runNumber", /not a field that can be set/],
      ["a field of Object.prototype", `{"typeKey": "${typeKey}", "__proto__": "x"}`, "__proto__", /not a field/],
      ["a number as hash", { typeKey, localHash: 1 }, "localHash", /string or null/],
      ["a status that there is not", { typeKey, syncStatus: "done" }, "syncStatus", /one of new, modified/],
      ["a conflict status that there is not", { typeKey, conflictStatus: "maybe" }, "conflictStatus", /none, detected/],
      ["a time without a zone", { typeKey, lastSyncAt: "2026-11-22T11:18:44" }, "lastSyncAt", /ISO 8601/],
      ["no time", { typeKey, lastSyncAt: "infinity" }, "lastSyncAt", /ISO 8601/],
      ["a day that there is not", { typeKey, lastSyncAt: "2026-02-30T00:00:00Z" }, undefined, /out of range/],
      ["a hash that PostgreSQL cannot store", { typeKey, localHash: "a\0" }, undefined, /Unicode escape/],
    ];
    for (const [what, content, field, reason] of wrong) {
      const { error } = await post<ErrorBody>(content, 400);
      assert.equal(error.code, "invalid_input", what);
      assert.equal(error.field, field, what);
      assert.match(error.message, reason, what);
    }
    assert.equal(await states.getSyncState(typeKey), null);
  });

  test("another Content-Type, no UTF-8, or too much of it is 400", async () => {
    const typeKey = newKey();
    await post({ typeKey }, 400, { "Content-Type": "text/plain" });
    await post({ typeKey }, 400, {});
    await post({ typeKey, syncProgress: "x".repeat(LARGEST_BODY) }, 400);
    const latin1 = await fetch(STATE, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: Buffer.from(`{"typeKey": "${typeKey}\xfc"}`, "latin1"),
    });
    assert.equal(latin1.status, 400);
    assert.equal(await states.getSyncState(typeKey), null);
    await post({ typeKey, syncProgress: "x".repeat(LARGEST_BODY - 1_000) }, 200, { "Content-Type": "Application/JSON; charset=utf-8" });
  });

  test("a key that a live run has is 409, and says whose and until when", async () => {
    const typeKey = newKey();
    const run = await states.beginSync(typeKey, { owner: "worker 7", leaseSeconds: 300 });
    const { error } = await post<ErrorBody>({ typeKey, syncStatus: "in_sync" }, 409);
    assert.equal(error.code, "held");
    assert.match(error.message, /^".*" is held by a live run: Run number 1 of owner "worker 7" has a lease until \d{4}-/);
    assert.equal((await states.getSyncState(typeKey))?.runId, run.runId);
    await post({ typeKey, localHash: "seen meanwhile" });
    await endLease(typeKey);
    await post({ typeKey, syncStatus: "failed" });
  });

  test("there is no other method", async () => {
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      assert.equal((await fetch(STATE, { method })).status, 405);
    }
  });
});

describe("GET /api/v1/sync/status", () => {
  const prefix = newKey("status");

  async function report(): Promise<{ report: SyncStatusReport; row: (name: string) => OverviewRow }> {
    const report = await get<SyncStatusReport>(STATUS);
    return { report, row: (name) => report.types.find(({ typeKey }) => typeKey === `${prefix}${name}`) ?? assert.fail(name) };
  }

  test("each kind of state, as the page shows it", async () => {
    const before = (await report()).report.summary;
    await states.markAsSynced(`${prefix}synced`, "1", "1");
    await states.markAsSynced(`${prefix}conflict`, "1", "1");
    await states.observe(`${prefix}conflict`, { localHash: "2", remoteHash: null });
    const running = await states.beginSync(`${prefix}running`, { owner: "worker 1" });
    await states.checkpoint(running.typeKey, running.runId, { step: 1, total: 3 });
    await states.beginSync(`${prefix}interrupted`, { owner: "worker 2" });
    await endLease(`${prefix}interrupted`);
    await states.updateSyncState(`${prefix}unproved`, { syncStatus: "syncing" });
    await states.updateSyncState(`${prefix}unknown`, { syncProgress: { step: 1e300, total: "three" } });

    const { report: { generatedAt, summary, types }, row } = await report();
    assert.match(generatedAt, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/);
    const names = types.map(({ typeKey }) => typeKey);
    assert.deepEqual(names, names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));

    const nothing = {
      conflictStatus: null, action: "INITIAL_SYNC", detail: "empty", lastSyncAt: null, ageSeconds: null, owner: null,
      leaseExpiresAt: null, step: null, total: null, percent: null, interrupted: false, interruptedReason: null,
      interruptedSince: null, conflictKind: null,
    };
    const stateOf = async (name: string) => (await states.getSyncState(`${prefix}${name}`)) ?? assert.fail(name);

    const { ageSeconds, ...synced } = row("synced");
    assert.deepEqual({ ageSeconds: null, ...synced }, {
      ...nothing, typeKey: `${prefix}synced`, syncStatus: "in_sync", conflictStatus: "none", action: "NO_CHANGE",
      detail: "unchanged", lastSyncAt: (await stateOf("synced")).lastSyncAt,
    });
    assert.ok(ageSeconds !== null && ageSeconds >= 0 && ageSeconds < 60);
    assert.deepEqual({ ...row("conflict"), ageSeconds: null, lastSyncAt: null }, {
      ...nothing, typeKey: `${prefix}conflict`, syncStatus: "conflict", conflictStatus: "detected", action: "CONFLICT",
      detail: "edit/delete", conflictKind: "edit/delete",
    });
    assert.deepEqual(row("running"), {
      ...nothing, typeKey: `${prefix}running`, syncStatus: "syncing", owner: "worker 1", step: 1, total: 3, percent: 33.3,
      leaseExpiresAt: (await stateOf("running")).leaseExpiresAt,
    });
    const { leaseExpiresAt } = await stateOf("interrupted");
    assert.deepEqual(row("interrupted"), {
      ...nothing, typeKey: `${prefix}interrupted`, syncStatus: "syncing", owner: "worker 2", leaseExpiresAt,
      interrupted: true, interruptedReason: "lease_expired", interruptedSince: leaseExpiresAt,
    });
    assert.deepEqual(row("unproved"), {
      ...nothing, typeKey: `${prefix}unproved`, syncStatus: "syncing",
      interrupted: true, interruptedReason: "no_lease", interruptedSince: (await stateOf("unproved")).updatedAt,
    });
    assert.deepEqual(row("unknown"), { ...nothing, typeKey: `${prefix}unknown`, syncStatus: null, step: 1e300 });

    const grown = (count: (summary: SyncStatusReport["summary"]) => number | undefined) =>
      (count(summary) ?? 0) - (count(before) ?? 0);
    assert.deepEqual([
      grown(({ total }) => total), grown(({ conflicts }) => conflicts), grown(({ interrupted }) => interrupted),
      grown(({ running }) => running), grown(({ byStatus }) => byStatus.in_sync), grown(({ byStatus }) => byStatus.conflict),
      grown(({ byStatus }) => byStatus.syncing), grown(({ byStatus }) => byStatus.unknown),
    ], [6, 1, 2, 1, 1, 1, 3, 1]);
  });
});

describe("errors that are not the caller's", () => {
  test("an unexpected one is 500, goes to the log, and tells nothing of what is inside", async (t) => {
    const log = t.mock.method(console, "error", () => undefined);
    for (const error of [new Error("secret"), new SyncError("relation \"secret\" does not exist", { sqlState: "42P01" })]) {
      const answer = await body<ErrorBody>(errorResponse(error), 500);
      assert.deepEqual(answer, { error: { code: "internal", message: "internal error" } });
    }
    assert.equal(log.mock.callCount(), 2);
  });

  test("one that passes is 503, and says when to come again", () => {
    for (const error of [new RetryError("deadlock detected"), new UnavailableError("the database cannot be reached")]) {
      const { status, headers } = errorResponse(error);
      assert.deepEqual([status, headers.get("Retry-After")], [503, "1"]);
    }
  });
});

// Events

interface Event {
  event: string;
  data: unknown;
}

/** Reads server-sent events as they come. */
class EventReader {
  readonly events: Event[] = [];
  readonly headers: Headers;
  readonly #abort: AbortController;
  ended = false;

  static async open(): Promise<EventReader> {
    const abort = new AbortController();
    const response = await fetch(EVENTS, { signal: abort.signal, headers: { "Accept-Encoding": "gzip, br" } });
    assert.equal(response.status, 200);
    return new EventReader(response, abort);
  }

  private constructor(response: Response, abort: AbortController) {
    this.headers = response.headers;
    this.#abort = abort;
    open.push(this);
    void this.#read(response.body ?? assert.fail("no body")).catch(() => undefined).finally(() => { this.ended = true; });
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      const messages = text.split("\n\n");
      text = messages.pop() ?? "";
      for (const message of messages) {
        const [, event] = /^event: (.*)$/m.exec(message) ?? [];
        const [, data] = /^data: (.*)$/m.exec(message) ?? [];
        if (event) {
          this.events.push({ event, data: JSON.parse(data ?? "null") });
        }
      }
    }
  }

  async wait(what: string, found: (event: Event) => boolean): Promise<void> {
    await until(what, () => this.events.some(found), 15_000);
  }

  changes(typeKey: string): unknown[] {
    return this.events.filter(({ data }) => (data as { typeKey?: string }).typeKey === typeKey).map(({ data }) => data);
  }

  close(): void {
    this.#abort.abort();
  }
}

const open: EventReader[] = [];
after(() => open.forEach((reader) => reader.close()));

describe("GET /api/v1/sync/events", () => {
  test("ready, then each change: of this application, of other clients, checkpoints, deletions", async () => {
    const reader = await EventReader.open();
    assert.match(reader.headers.get("Content-Type") ?? "", /^text\/event-stream/);
    assert.equal(reader.headers.get("Content-Encoding"), null);
    await reader.wait("ready", ({ event }) => event === "ready");

    const typeKey = newKey('with "quotes"\nand a line');
    const steps: [() => Promise<unknown>, string | null][] = [
      [() => post({ typeKey, localHash: "1", syncStatus: "new" }), "new"],
      [() => sql("UPDATE syncstate.sync_state SET sync_status = 'modified' WHERE type_key = $1", typeKey), "modified"],
      [() => states.beginSync(typeKey), "syncing"],
      [() => sql(`SELECT sync_state_checkpoint(type_key, run_id, '{"step": 1}') FROM sync_state_get($1)`, typeKey), "syncing"],
      [() => sql("SELECT sync_state_forget($1, true)", typeKey), null],
    ];
    for (const [n, [step, syncStatus]] of steps.entries()) {
      await step();
      await until(`event ${n}`, () => reader.changes(typeKey).length === n + 1);
      assert.deepEqual(reader.changes(typeKey)[n], { typeKey, syncStatus });
    }
  });

  test("several readers, and one that goes away", async () => {
    const [one, two, gone] = [await EventReader.open(), await EventReader.open(), await EventReader.open()];
    for (const reader of [one, two, gone]) {
      await reader.wait("ready", ({ event }) => event === "ready");
    }
    gone.close();
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await until("both are told", () => one.changes(key).length === 1 && two.changes(key).length === 1);
    assert.deepEqual(gone.changes(key), []);
  });

  test("what is rolled back is not told", async () => {
    const reader = await EventReader.open();
    await reader.wait("ready", ({ event }) => event === "ready");
    const [undone, done] = [newKey(), newKey()];
    await states.transaction(async (_tx, inner) => {
      await inner.updateSyncState(undone, {});
      throw new Error("undo");
    }).catch(() => undefined);
    await states.updateSyncState(done, {});
    await until("the next change is told", () => reader.changes(done).length === 1);
    assert.deepEqual(reader.changes(undone), []);
  });

  test("when the database's connection is lost: lost, then ready again, and changes again", async () => {
    const reader = await EventReader.open();
    await reader.wait("ready", ({ event }) => event === "ready");
    const seen = reader.events.length;
    await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'syncstate example: listener'`);
    await reader.wait("ready again", (event) => reader.events.indexOf(event) > seen && event.event === "ready");
    assert.deepEqual(reader.events.slice(seen).map(({ event }) => event).filter((event) => event !== "change"), ["lost", "ready"]);
    assert.ok(!reader.ended);
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await until("changes are told again", () => reader.changes(key).length === 1);
    assert.equal((await get<{ state: SyncState }>(stateUrl(key))).state.localHash, "1");
  });
});
