/*
 * Every method of the SyncStateManager: what it returns, what the table has
 * afterwards, and the errors that it makes of the extension's.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { PrismaClient } from "@/generated/prisma/client";
import { createPrismaClient } from "@/lib/database";
import {
  ForbiddenError, HeldError, InvalidInputError, NotFoundError, PreconditionError, RetryError, SupersededError,
  UnavailableError,
} from "@/lib/sync/errors";
import { SyncStateManager } from "@/lib/sync/state/SyncStateManager";

import { endLease, holdRow, newKey, prisma, rejection, sql, states } from "./setup";

const NO_RUN = "00000000-0000-4000-8000-000000000000";
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;

describe("updateSyncState", () => {
  test("makes a key, sets what is given, keeps the rest", async () => {
    const key = newKey();
    const made = await states.updateSyncState(key, { localHash: "l1", syncProgress: { deep: { snake_key: [1, null] } } });
    assert.equal(made.typeKey, key);
    assert.equal(made.localHash, "l1");
    assert.equal(made.remoteHash, null);
    assert.deepEqual(made.syncProgress, { deep: { snake_key: [1, null] } });
    assert.match(made.createdAt, INSTANT);
    assert.equal(made.runId, null);
    assert.ok(!("changedXid" in made));

    const changed = await states.updateSyncState(key, { remoteHash: "r1", syncStatus: "modified" });
    assert.equal(changed.localHash, "l1");
    assert.equal(changed.remoteHash, "r1");
    assert.equal(changed.syncStatus, "modified");
    assert.ok(changed.updatedAt > made.updatedAt);

    const cleared = await states.updateSyncState(key, { localHash: null, syncProgress: null });
    assert.equal(cleared.localHash, null);
    assert.equal(cleared.syncProgress, null);
    assert.deepEqual(await sql("SELECT local_hash, remote_hash FROM syncstate.sync_state WHERE type_key = $1", key),
      [{ local_hash: null, remote_hash: "r1" }]);
  });

  test("a time is kept to the microsecond, and given back in UTC", async () => {
    const key = newKey();
    const { lastSyncAt } = await states.updateSyncState(key, { lastSyncAt: "2026-11-22T13:18:44.042031+02:00" });
    assert.equal(lastSyncAt, "2026-11-22T11:18:44.042031Z");
    const date = new Date("2026-11-23T00:00:00.125Z");
    assert.equal((await states.updateSyncState(key, { lastSyncAt: date })).lastSyncAt, "2026-11-23T00:00:00.125000Z");
  });

  test("what is not accepted is InvalidInputError", async () => {
    const key = newKey();
    await rejection(states.updateSyncState(key, { syncStatus: "done" as "new" }), InvalidInputError, "23514");
    await rejection(states.updateSyncState(key, { lastSyncAt: "yesterday week" }), InvalidInputError, "22007");
    await rejection(states.updateSyncState(key, { colour: "red" } as object), InvalidInputError, "22023");
    await rejection(states.updateSyncState("", {}), InvalidInputError, "22023");
    await rejection(states.updateSyncState("x".repeat(513), {}), InvalidInputError, "22023");
    await rejection(states.updateSyncState("nul\0", {}), InvalidInputError, "22021");
    await rejection(states.updateSyncState("half \ud800", {}), InvalidInputError);
    assert.equal(await states.getSyncState(key), null);
  });

  test("while a live run has the key, its status is not to be changed: HeldError", async () => {
    const key = newKey();
    await states.beginSync(key, { owner: "worker 1" });
    const error = await rejection(states.updateSyncState(key, { syncStatus: "in_sync" }), HeldError, "55P03");
    assert.match(error.detail ?? "", /owner "worker 1" has a lease until/);
    await states.updateSyncState(key, { localHash: "seen meanwhile" });
  });
});

describe("getSyncState, getAllSyncStates", () => {
  test("one, or null", async () => {
    const key = newKey();
    assert.equal(await states.getSyncState(key), null);
    const made = await states.updateSyncState(key, { localHash: "l1" });
    assert.deepEqual(await states.getSyncState(key), made);
    await rejection(states.getSyncState("half \udc00"), InvalidInputError);
  });

  test("all, by status and by prefix, in the order of their keys", async () => {
    const prefix = newKey("100%_");
    await states.updateSyncState(`${prefix}b`, { syncStatus: "new" });
    await states.updateSyncState(`${prefix}a`, { syncStatus: "failed" });
    await states.updateSyncState(`${prefix}B`, { syncStatus: "failed" });
    const keysOf = async (filter: Parameters<typeof states.getAllSyncStates>[0]) =>
      (await states.getAllSyncStates(filter)).map(({ typeKey }) => typeKey);

    assert.deepEqual(await keysOf({ prefix }), [`${prefix}B`, `${prefix}a`, `${prefix}b`]);
    assert.deepEqual(await keysOf({ prefix, syncStatus: "failed" }), [`${prefix}B`, `${prefix}a`]);
    const all = await keysOf({});
    assert.ok(all.includes(`${prefix}a`));
    assert.deepEqual(all, all.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
  });
});

describe("compareSyncStates", () => {
  test("names the fields that differ", async () => {
    const key = newKey();
    const before = await states.updateSyncState(key, { localHash: "l1", syncProgress: { step: 1 } });
    assert.deepEqual(await states.compareSyncStates(before, before), []);
    const after = await states.updateSyncState(key, { localHash: "l2", syncProgress: null });
    assert.deepEqual(await states.compareSyncStates(before, after), [
      { field: "localHash", before: "l1", after: "l2" },
      { field: "syncProgress", before: '{"step": 1}', after: null },
    ]);
  });
});

describe("getContentTypesSince", () => {
  test("what has changed later, to the microsecond", async () => {
    const [first, second] = [newKey("a"), newKey("b")];
    const since = (await states.updateSyncState(first, { localHash: "1" })).updatedAt;
    const { updatedAt } = await states.updateSyncState(second, { localHash: "1" });
    const ours = async (time: string | Date) =>
      (await states.getContentTypesSince(time)).filter((key) => key === first || key === second);

    assert.deepEqual(await ours(since), [second]);
    assert.deepEqual(await ours(updatedAt), []);
    assert.deepEqual(await ours(new Date(Date.parse(since) - 1_000)), [first, second]);
    await rejection(states.getContentTypesSince("never"), InvalidInputError, "22007");
  });
});

describe("calculateDelta", () => {
  test("decides by what is stored, by what is seen, and writes nothing", async () => {
    const key = newKey();
    assert.deepEqual(await states.calculateDelta(key), {
      typeKey: key, action: "INITIAL_SYNC", detail: "empty",
      localHash: null, remoteHash: null, lastSyncedHash: null, lastSyncedRemoteHash: null,
    });
    const { updatedAt } = await states.markAsSynced(key, "l1", "r1");
    const decide = async (seen: Parameters<typeof states.calculateDelta>[1]) => {
      const { action, detail } = await states.calculateDelta(key, seen);
      return `${action} ${detail}`;
    };
    assert.equal(await decide({}), "NO_CHANGE unchanged");
    assert.equal(await decide({ localHash: "l2" }), "PUSH edit");
    assert.equal(await decide({ localHash: null }), "PUSH delete");
    assert.equal(await decide({ remoteHash: "r2" }), "PULL edit");
    assert.equal(await decide({ localHash: "l2", remoteHash: null }), "CONFLICT edit/delete");
    assert.equal((await states.getSyncState(key))?.updatedAt, updatedAt);
    await rejection(states.calculateDelta(""), InvalidInputError, "22023");
  });
});

describe("markAsSynced", () => {
  test("without a run: these hashes are the bases now", async () => {
    const key = newKey();
    const state = await states.markAsSynced(key, "l1", null);
    assert.equal(state.syncStatus, "in_sync");
    assert.equal(state.lastSyncedHash, "l1");
    assert.equal(state.lastSyncedRemoteHash, null);
    assert.match(state.lastSyncAt ?? "", INSTANT);
  });

  test("with its run, again after a lost answer, and not with another one", async () => {
    const key = newKey();
    const { runId } = await states.beginSync(key);
    await rejection(states.markAsSynced(key, "h", "h"), HeldError, "55P03");
    await rejection(states.markAsSynced(key, "h", "h", NO_RUN), SupersededError, "55000");
    const marked = await states.markAsSynced(key, "h", "h", runId);
    assert.equal(marked.syncStatus, "in_sync");
    assert.equal(marked.runId, null);
    assert.deepEqual(await states.markAsSynced(key, "h", "h", runId), marked);
    await rejection(states.markAsSynced(key, "h", "h", "no uuid"), InvalidInputError, "22P02");
  });

  test("what was observed during the run is kept", async () => {
    const key = newKey();
    await states.observe(key, { localHash: "l1", remoteHash: null });
    const { runId } = await states.beginSync(key);
    await states.observe(key, { localHash: "l2" });
    const state = await states.markAsSynced(key, "l1", "l1", runId);
    assert.equal(state.syncStatus, "modified");
    assert.equal(state.localHash, "l2");
    assert.equal(state.lastSyncedHash, "l1");
  });
});

describe("runs: beginSync, checkpoint, detectInterruptedSync, resumeSync", () => {
  test("an interrupted run is found, and taken over at its checkpoint", async () => {
    const key = newKey();
    const first = await states.beginSync(key, { owner: "worker 1", leaseSeconds: 120 });
    assert.equal(first.runNumber, 1);
    assert.equal(first.owner, "worker 1");
    assert.equal(first.syncProgress, null);
    const expiry = await states.checkpoint(key, first.runId, { step: 2, total: 5 }, { leaseSeconds: 240 });
    assert.match(expiry, INSTANT);
    const seconds = (Date.parse(expiry) - Date.parse((await states.getSyncState(key))?.updatedAt ?? "")) / 1_000;
    assert.ok(Math.abs(seconds - 240) < 5, `lease of ${seconds} s`);

    assert.ok(!(await states.detectInterruptedSync()).includes(key));
    assert.ok((await states.detectInterruptedSync(new Date(Date.now() + 300_000))).includes(key));
    await rejection(states.beginSync(key), HeldError, "55P03");
    await rejection(states.resumeSync(key), HeldError, "55P03");

    await endLease(key);
    assert.ok((await states.detectInterruptedSync()).includes(key));
    const second = await states.resumeSync(key, { owner: "worker 2" });
    assert.equal(second.runNumber, 2);
    assert.notEqual(second.runId, first.runId);
    assert.deepEqual(second.syncProgress, { step: 2, total: 5 });
    assert.equal(second.contentMoved, false);
    await rejection(states.checkpoint(key, first.runId, { step: 3 }), SupersededError, "55000");
    assert.ok(!(await states.detectInterruptedSync()).includes(key));
  });

  test("nothing to resume, unknown keys, leases that are none", async () => {
    const key = newKey();
    const error = await rejection(states.resumeSync(key), NotFoundError, "P0002");
    assert.equal(error.message, "no sync progress found to resume");
    await rejection(states.checkpoint(key, NO_RUN, {}), NotFoundError, "P0002");
    await rejection(states.beginSync(key, { leaseSeconds: 0 }), InvalidInputError, "22023");
    await rejection(states.beginSync(key, { leaseSeconds: 25 * 86_400 }), InvalidInputError, "22023");
    await rejection(states.detectInterruptedSync("some time"), InvalidInputError, "22007");
  });
});

describe("failSync, rollbackPartialSync", () => {
  test("fail keeps the checkpoint, rollback discards it, both record the error", async () => {
    const key = newKey();
    const first = await states.beginSync(key);
    await states.checkpoint(key, first.runId, { step: 1 });
    const failed = await states.failSync(key, first.runId, { error: "disk full" });
    assert.equal(failed.syncStatus, "failed");
    assert.deepEqual(failed.syncProgress, { step: 1 });

    const second = await states.resumeSync(key);
    assert.deepEqual(second.syncProgress, { step: 1 });
    const rolledBack = await states.rollbackPartialSync(key, second.runId, { error: "undone" });
    assert.equal(rolledBack.syncStatus, "failed");
    assert.equal(rolledBack.syncProgress, null);
    await rejection(states.resumeSync(key), NotFoundError, "P0002");
    assert.deepEqual(await sql("SELECT outcome, error FROM syncstate.sync_run WHERE type_key = $1 ORDER BY run_number", key),
      [{ outcome: "failed", error: "disk full" }, { outcome: "rolled_back", error: "undone" }]);
  });

  test("without the run's id only where no live run is, or by force", async () => {
    const key = newKey();
    const { runId } = await states.beginSync(key);
    await rejection(states.rollbackPartialSync(key), HeldError, "55P03");
    await rejection(states.failSync(key), HeldError, "55P03");
    await rejection(states.rollbackPartialSync(key, NO_RUN), SupersededError, "55000");
    assert.equal((await states.rollbackPartialSync(key, undefined, { force: true })).syncStatus, "failed");
    await rejection(states.checkpoint(key, runId, {}), SupersededError, "55000");
    assert.equal((await states.rollbackPartialSync(newKey())).syncStatus, "failed");
    await rejection(states.failSync(newKey()), NotFoundError, "P0002");
  });
});

describe("observe, resolveConflict, getOpenConflicts, forgetSyncState", () => {
  test("a conflict is logged and settled once", async () => {
    const key = newKey();
    await states.markAsSynced(key, "b", "b");
    assert.equal((await states.observe(key, { localHash: "l", remoteHash: "r" })).action, "CONFLICT");
    const [conflict] = await states.getOpenConflicts(key);
    assert.equal(conflict?.kind, "edit/edit");
    assert.equal(conflict?.baseLocalHash, "b");
    assert.ok((await states.getOpenConflicts()).some(({ typeKey }) => typeKey === key));

    await rejection(states.resolveConflict(key, "merged"), InvalidInputError, "22004");
    await rejection(states.resolveConflict(key, "local", { conflictNumber: 7 }), PreconditionError, "55000");
    const settled = await states.resolveConflict(key, "local", { conflictNumber: conflict?.conflictNumber });
    assert.equal(settled.conflictStatus, "resolved");
    assert.equal((await states.calculateDelta(key)).action, "PUSH");
    assert.deepEqual(await states.getOpenConflicts(key), []);
    await rejection(states.resolveConflict(key, "local"), PreconditionError, "55000");
    await rejection(states.resolveConflict(newKey(), "local"), NotFoundError, "P0002");
  });

  test("forget", async () => {
    const key = newKey();
    assert.equal(await states.forgetSyncState(key), false);
    await states.beginSync(key);
    await rejection(states.forgetSyncState(key), HeldError, "55P03");
    assert.equal(await states.forgetSyncState(key, true), true);
    assert.equal(await states.getSyncState(key), null);
  });
});

describe("in a transaction", () => {
  class Undo extends Error {}

  test("the state commits with the data, or neither does", async () => {
    const key = newKey();
    const write = (undo: boolean) => prisma.$transaction(async (tx) => {
      await tx.entry.create({ data: { typeKey: key, slug: "a", title: "A", body: "" } });
      await states.within(tx).markAsSynced(key, "l1", "l1");
      assert.equal((await states.within(tx).getSyncState(key))?.localHash, "l1");
      if (undo) {
        throw new Undo();
      }
    });
    await assert.rejects(write(true), Undo);
    assert.equal(await states.getSyncState(key), null);
    assert.equal(await prisma.entry.count({ where: { typeKey: key } }), 0);
    await write(false);
    assert.equal((await states.getSyncState(key))?.syncStatus, "in_sync");
    assert.equal(await prisma.entry.count({ where: { typeKey: key } }), 1);
  });

  test("transaction() passes errors on as they are, and as SyncErrors if they are Prisma's", async () => {
    const key = newKey();
    await assert.rejects(states.transaction(async () => { throw new Undo(); }), Undo);
    await rejection(states.transaction((tx) => tx.$executeRaw`SELECT 1 / 0`), InvalidInputError, "22012");
    await rejection(states.transaction(async (_tx, inner) => {
      await inner.updateSyncState(key, { syncStatus: "done" as "new" }).catch(() => undefined);
      await inner.updateSyncState(key, {});
    }), UnavailableError, "25P02");
    assert.equal(await states.getSyncState(key), null);
  });

  test("one in another is a savepoint: what it undoes is undone, and the rest goes on", async () => {
    const [outer, undone] = [newKey(), newKey()];
    await states.transaction(async (_tx, inner) => {
      await inner.updateSyncState(outer, {});
      await rejection(inner.transaction(async (_savepoint, innermost) => {
        await innermost.updateSyncState(undone, {});
        await innermost.updateSyncState(outer, { syncStatus: "done" as "new" });
      }), InvalidInputError, "23514");
      assert.equal(await inner.getSyncState(undone), null);
      await inner.updateSyncState(outer, { localHash: "1" });
    });
    assert.equal((await states.getSyncState(outer))?.localHash, "1");
    assert.equal(await states.getSyncState(undone), null);
  });

  test("a serialization failure is RetryError", async () => {
    const key = newKey();
    await states.updateSyncState(key, { localHash: "1" });
    await rejection(states.transaction(async (_tx, inner) => {
      await inner.getSyncState(key);
      await states.updateSyncState(key, { localHash: "2" });
      await inner.updateSyncState(key, { localHash: "3" });
    }, { isolationLevel: "RepeatableRead" }), RetryError, "40001");
    assert.equal((await states.getSyncState(key))?.localHash, "2");
  });

  test("a lock that is not to be had in time is RetryError, though its SQLSTATE is that of a held key", async () => {
    const key = newKey();
    await states.updateSyncState(key, {});
    const { release } = await holdRow(key);
    try {
      await rejection(states.transaction(async (tx, inner) => {
        await tx.$executeRaw`SET LOCAL lock_timeout = '50ms'`;
        await inner.updateSyncState(key, { localHash: "1" });
      }), RetryError, "55P03");
    } finally {
      await release();
    }
  });

  test("statement_timeout, and a transaction that may not write, are UnavailableError", async () => {
    await rejection(states.transaction(async (tx) => {
      await tx.$executeRaw`SET LOCAL statement_timeout = '20ms'`;
      await tx.$queryRaw`SELECT 1 FROM pg_sleep(10)`;
    }), UnavailableError, "57014");
    await rejection(states.transaction(async (tx, inner) => {
      await tx.$executeRaw`SET TRANSACTION READ ONLY`;
      await inner.updateSyncState(newKey(), {});
    }), UnavailableError, "25006");
  });
});

describe("privileges and connections", () => {
  test("a role without privileges is ForbiddenError", async () => {
    await rejection(states.transaction(async (tx, inner) => {
      // Even an owner can do without, until this is rolled back.
      await tx.$executeRaw`REVOKE ALL ON syncstate.sync_state FROM CURRENT_USER`;
      await inner.updateSyncState(newKey(), {});
    }), ForbiddenError, "42501");
  });

  test("a server that is not there is UnavailableError", async () => {
    const nobody: PrismaClient = createPrismaClient({ host: "127.0.0.1", port: 1, user: "x", password: "x", database: "x" });
    const error = await rejection(new SyncStateManager(nobody).getSyncState("x"), UnavailableError);
    assert.equal(error.code, "unavailable");
    await rejection(new SyncStateManager(nobody).transaction(async () => undefined), UnavailableError);
    await nobody.$disconnect();
  });

  test("a connection that breaks in a call is UnavailableError, and the next call works", async () => {
    const key = newKey();
    await assert.rejects(states.transaction(async (tx, inner) => {
      const [backend] = await tx.$queryRaw<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
      await sql("SELECT pg_terminate_backend($1, 5000)", backend?.pid);
      await inner.updateSyncState(key, {});
    }), UnavailableError);
    assert.equal(await states.getSyncState(key), null);
  });
});
