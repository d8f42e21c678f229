/*
 * Without the library: the table written by plain Prisma.  What the extension
 * promises of it then is kept by the table's trigger and its CHECKs.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Prisma } from "@/generated/prisma/client";
import type { SyncStateUncheckedCreateInput } from "@/generated/prisma/models";

import { newKey, prisma, sql, states } from "./setup";

type Fields = Omit<SyncStateUncheckedCreateInput, "typeKey">;

function upsert(typeKey: string, fields: Fields) {
  return prisma.syncState.upsert({ where: { typeKey }, create: { typeKey, ...fields }, update: fields });
}

interface Bookkeeping {
  changed_xid: string;
  run_id: string | null;
  lease_expires_at: Date | null;
  last_synced_remote_hash: string | null;
}

/** The columns that the model does not have. */
async function bookkeeping(typeKey: string): Promise<Bookkeeping> {
  const [row] = await sql<Bookkeeping>(`
    SELECT changed_xid::text, run_id, lease_expires_at, last_synced_remote_hash
    FROM syncstate.sync_state WHERE type_key = $1`, typeKey);
  return row ?? assert.fail(`${typeKey} is unknown`);
}

/** Prisma's errors of ours: the SQLSTATE, and what it violates. */
async function refused(promise: Promise<unknown>, sqlState: string, message: RegExp): Promise<void> {
  const error: unknown = await promise.then(() => assert.fail("nothing was refused"), (reason: unknown) => reason);
  assert.ok(error instanceof Prisma.PrismaClientKnownRequestError, String(error));
  const { cause } = error.meta?.driverAdapterError as { cause: { originalCode: string; originalMessage: string } };
  assert.equal(cause.originalCode, sqlState);
  assert.match(cause.originalMessage, message);
}

test("the model has the ten columns, as text, times and JSON", async () => {
  assert.deepEqual(Object.keys(Prisma.SyncStateScalarFieldEnum), [
    "typeKey", "localHash", "remoteHash", "lastSyncedHash", "lastSyncAt", "syncStatus", "conflictStatus", "syncProgress",
    "createdAt", "updatedAt",
  ]);
  const time = new Date("2026-11-22T11:18:44.042Z");
  const fields = {
    localHash: "l", remoteHash: "r", lastSyncedHash: "l", lastSyncAt: time, syncStatus: "in_sync", conflictStatus: "none",
    syncProgress: { step: 1, of: ["a", null] },
  };
  const { typeKey, createdAt, updatedAt, ...rest } = await upsert(newKey(), fields);
  assert.deepEqual(rest, fields);
  assert.ok(createdAt instanceof Date && updatedAt instanceof Date);
  assert.ok(Math.abs(Date.now() - createdAt.getTime()) < 60_000);
  assert.deepEqual(await prisma.syncState.findUnique({ where: { typeKey } }), { typeKey, createdAt, updatedAt, ...fields });
  await prisma.syncState.delete({ where: { typeKey } });
  assert.equal(await prisma.syncState.findUnique({ where: { typeKey } }), null);
  assert.equal((await sql("SELECT FROM syncstate.sync_tombstone WHERE type_key = $1", typeKey)).length, 1);
});

describe("the trigger", () => {
  test("updated_at grows with each write, whatever the write says; created_at stays", async () => {
    const key = newKey();
    await upsert(key, { localHash: "1" });
    const times = async () => {
      const [row] = await sql<{ created_at: string; updated_at: string }>(
        "SELECT created_at::text, updated_at::text FROM syncstate.sync_state WHERE type_key = $1", key);
      return row ?? assert.fail();
    };
    const made = await times();
    for (const fields of [{}, { localHash: "2" }, { updatedAt: new Date(0) }, { createdAt: new Date(0) }] as Fields[]) {
      const before = await times();
      await upsert(key, { ...fields, syncProgress: { fields: Object.keys(fields) } });
      const { created_at, updated_at } = await times();
      assert.ok(updated_at > before.updated_at, `${updated_at} after ${before.updated_at}`);
      assert.equal(created_at, made.created_at);
    }
  });

  test("a later lastSyncAt records a sync: bases that are not named follow their hashes", async () => {
    const key = newKey();
    await upsert(key, { localHash: "l1", remoteHash: "r1", lastSyncAt: new Date("2026-11-01T00:00:00Z") });
    assert.equal((await states.calculateDelta(key)).action, "NO_CHANGE");

    await upsert(key, { localHash: "l2", remoteHash: "r2" });
    assert.equal((await states.calculateDelta(key)).action, "CONFLICT");
    const state = await upsert(key, { lastSyncAt: new Date("2026-11-02T00:00:00Z") });
    assert.equal(state.lastSyncedHash, "l2");
    assert.equal((await bookkeeping(key)).last_synced_remote_hash, "r2");
    assert.equal((await states.calculateDelta(key)).action, "NO_CHANGE");

    const named = await upsert(key, { localHash: "l3", lastSyncedHash: "mine", lastSyncAt: new Date("2026-11-03T00:00:00Z") });
    assert.equal(named.lastSyncedHash, "mine");
  });

  test("a time that is written back as it was read, cut to milliseconds, records nothing", async () => {
    const key = newKey();
    await states.markAsSynced(key, "l1", "r1");
    await states.updateSyncState(key, { localHash: "l2" });
    const read = await prisma.syncState.findUniqueOrThrow({ where: { typeKey: key } });
    const { lastSyncedHash: _, ...fields } = read;
    await upsert(key, { ...fields, syncProgress: Prisma.DbNull });
    assert.deepEqual(await states.calculateDelta(key).then(({ action, detail }) => [action, detail]), ["PUSH", "edit"]);
  });

  test("a status other than syncing revokes the run", async () => {
    const key = newKey();
    const { runId } = await states.beginSync(key);
    await upsert(key, { localHash: "seen" });
    assert.equal((await bookkeeping(key)).run_id, runId);
    await upsert(key, { syncStatus: "failed" });
    const { run_id, lease_expires_at } = await bookkeeping(key);
    assert.deepEqual([run_id, lease_expires_at], [null, null]);
    await assert.rejects(states.checkpoint(key, runId, {}), /was superseded/);
  });

  test("the change feed sees it, but no mere checkpoint", async () => {
    const key = newKey();
    await upsert(key, { localHash: "1" });
    const { changed_xid } = await bookkeeping(key);
    await upsert(key, { syncProgress: { step: 1 } });
    assert.equal((await bookkeeping(key)).changed_xid, changed_xid);
    await upsert(key, { localHash: "2" });
    assert.ok(BigInt((await bookkeeping(key)).changed_xid) > BigInt(changed_xid));
  });

  test("a key is not to be renamed", async () => {
    const typeKey = newKey();
    await upsert(typeKey, {});
    await refused(prisma.syncState.update({ where: { typeKey }, data: { typeKey: newKey() } }), "22023", /cannot be changed/);
  });
});

describe("the CHECKs", () => {
  const violations: [string, string, Fields, RegExp][] = [
    ["an unknown status", newKey(), { syncStatus: "done" }, /sync_state_sync_status_known/],
    ["an unknown conflict status", newKey(), { conflictStatus: "maybe" }, /sync_state_conflict_status_known/],
    ["an empty key", "", {}, /sync_state_type_key_length/],
    ["a key of 513 bytes", "ü".repeat(256) + "x", {}, /sync_state_type_key_length/],
  ];
  for (const [what, typeKey, fields, constraint] of violations) {
    test(what, async () => {
      await refused(upsert(typeKey, fields), "23514", constraint);
      assert.equal(await prisma.syncState.findUnique({ where: { typeKey } }), null);
    });
  }

  test("what was there stays as it was", async () => {
    const key = newKey();
    const before = await upsert(key, { syncStatus: "new" });
    await refused(upsert(key, { syncStatus: "done" }), "23514", /sync_state_sync_status_known/);
    assert.deepEqual(await prisma.syncState.findUnique({ where: { typeKey: key } }), before);
  });
});

test("several writes in a transaction, or none", async () => {
  const [first, second] = [newKey(), newKey()];
  await assert.rejects(prisma.$transaction([
    prisma.syncState.create({ data: { typeKey: first, syncStatus: "new" } }),
    prisma.syncState.create({ data: { typeKey: second, syncStatus: "done" } }),
  ]));
  assert.equal(await prisma.syncState.count({ where: { typeKey: { in: [first, second] } } }), 0);
});
