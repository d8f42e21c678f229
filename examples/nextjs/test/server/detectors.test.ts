/*
 * The change detector and the conflict detector, on content in both tables.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { ChangeDetector } from "@/lib/sync/ChangeDetector";
import { ConflictDetector } from "@/lib/sync/ConflictDetector";
import { DeploymentService } from "@/lib/sync/DeploymentService";
import { PreconditionError } from "@/lib/sync/errors";

import { Disturbed, newEntries, slugOf, titles, write } from "./content";
import { endLease, prisma, rejection, sql, states } from "./setup";

const changes = new ChangeDetector(states);
const conflicts = new ConflictDetector(states, changes);
const deployment = new DeploymentService(states);

describe("ChangeDetector", () => {
  test("records what it sees, and says what is to be done", async () => {
    const articles = await newEntries("article", 3);
    const first = await changes.detect(articles);
    assert.deepEqual([first.action, first.detail], ["INITIAL_SYNC", "push"]);
    const state = await states.getSyncState(articles.typeKey);
    assert.equal(state?.syncStatus, "new");
    assert.equal(state?.localHash, first.localHash);

    await deployment.deploy(articles);
    assert.equal((await changes.detect(articles)).action, "NO_CHANGE");

    await write(articles, "published_entry", slugOf(1), "Edited there");
    assert.deepEqual(await changes.detect(articles).then(({ action, detail }) => [action, detail]), ["PULL", "edit"]);
    await write(articles, "published_entry", slugOf(1), "Title 1");
    assert.equal((await changes.detect(articles)).action, "NO_CHANGE");

    await prisma.entry.deleteMany({ where: { typeKey: articles.typeKey } });
    assert.deepEqual(await changes.detect(articles).then(({ action, detail }) => [action, detail]), ["PUSH", "delete"]);
    assert.equal((await states.getSyncState(articles.typeKey))?.syncStatus, "modified");
  });

  test("one type that cannot be measured does not stop the others", async () => {
    const [good, bad, alsoGood] = [await newEntries("a", 1), await newEntries("b", 1), await newEntries("c", 1)];
    const broken = new Disturbed(bad, { measure: () => { throw new Error("no such directory"); } });
    const detections = await changes.detectAll([good, broken, alsoGood]);
    assert.deepEqual(detections.map((detection) => "delta" in detection ? detection.delta.detail : String(detection.error)),
      ["push", "Error: no such directory", "push"]);
    assert.equal(await states.getSyncState(bad.typeKey), null);
  });

  test("does not look at the side that a run is writing, or has left half-way", async () => {
    const articles = await newEntries("article", 4);
    await deployment.deploy(articles);
    await write(articles, "entry", slugOf(1), "New title 1");
    await write(articles, "entry", slugOf(4), "New title 4");

    const before = await states.getSyncState(articles.typeKey);
    const seen: string[] = [];
    const watched = new Disturbed(articles, {
      before: async (batch) => {
        const { action } = await changes.detect(articles);
        const state = await states.getSyncState(articles.typeKey);
        seen.push(`${batch}: ${action}, ${state?.remoteHash === before?.remoteHash ? "as before" : "half a copy"}`);
        if (batch === 2) {
          throw new Error("the network is down");
        }
      },
    });
    assert.equal((await deployment.deploy(watched)).outcome, "failed");
    assert.deepEqual(seen, ["1: PUSH, as before", "2: PUSH, as before"]);
    assert.equal((await changes.detect(articles)).action, "PUSH");
    assert.equal((await states.getSyncState(articles.typeKey))?.remoteHash, before?.remoteHash);
  });
});

describe("ConflictDetector", () => {
  async function collide() {
    const articles = await newEntries("article", 2);
    await deployment.deploy(articles);
    await write(articles, "entry", slugOf(1), "Ours");
    await write(articles, "published_entry", slugOf(1), "Theirs");
    const conflict = await conflicts.detect(articles);
    assert.ok(conflict);
    return { articles, conflict };
  }

  test("three ways: an edit on one side is none, on both sides is", async () => {
    const articles = await newEntries("article", 2);
    await deployment.deploy(articles);
    await write(articles, "entry", slugOf(1), "Ours");
    assert.equal(await conflicts.wouldConflict(articles), false);
    assert.equal(await conflicts.detect(articles), null);

    await write(articles, "published_entry", slugOf(2), "Theirs");
    assert.equal(await conflicts.wouldConflict(articles), true);
    assert.equal((await states.getSyncState(articles.typeKey))?.conflictStatus, "none");
    const conflict = await conflicts.detect(articles);
    const state = await states.getSyncState(articles.typeKey);
    assert.equal(conflict?.kind, "edit/edit");
    assert.equal(conflict?.localHash, state?.localHash);
    assert.equal(conflict?.remoteHash, state?.remoteHash);
    assert.equal(conflict?.baseLocalHash, state?.lastSyncedHash);
    assert.equal(state?.syncStatus, "conflict");
    assert.equal(state?.conflictStatus, "detected");
    assert.equal((await deployment.deploy(articles)).outcome, "conflict");
    assert.ok((await conflicts.open()).some(({ typeKey }) => typeKey === articles.typeKey));
  });

  test("different content that was never synced is a conflict, equal content is none", async () => {
    const articles = await newEntries("article", 1);
    await write(articles, "published_entry", slugOf(1), "Another title");
    assert.equal((await conflicts.detect(articles))?.kind, "create/create");
    await write(articles, "published_entry", slugOf(1), "Title 1");
    assert.equal(await conflicts.detect(articles), null);
    assert.deepEqual(await sql("SELECT resolution FROM syncstate.sync_conflict WHERE type_key = $1", articles.typeKey),
      [{ resolution: "vanished" }]);
  });

  test("settled for ours, the next deployment pushes", async () => {
    const { articles, conflict } = await collide();
    const state = await conflicts.resolve(conflict, "local");
    assert.equal(state.conflictStatus, "resolved");
    const result = await deployment.deploy(articles);
    assert.ok(result.outcome === "synced" && result.direction === "push");
    assert.deepEqual(await titles(articles, "published_entry"), ["Ours", "Title 2"]);
    assert.equal(await conflicts.find(articles.typeKey), null);
  });

  test("settled for theirs, it pulls", async () => {
    const { articles, conflict } = await collide();
    await conflicts.resolve(conflict, "remote");
    const result = await deployment.deploy(articles);
    assert.ok(result.outcome === "synced" && result.direction === "pull");
    assert.deepEqual(await titles(articles, "entry"), ["Theirs", "Title 2"]);
  });

  test("merged, it pushes the third version", async () => {
    const { articles, conflict } = await collide();
    await write(articles, "entry", slugOf(1), "Ours and theirs");
    const { localHash } = await articles.measure(prisma);
    await conflicts.resolve(conflict, "merged", localHash ?? assert.fail());
    assert.equal((await deployment.deploy(articles)).outcome, "synced");
    assert.deepEqual(await titles(articles, "published_entry"), ["Ours and theirs", "Title 2"]);
    assert.deepEqual(
      await sql("SELECT resolution, resolved_hash FROM syncstate.sync_conflict WHERE type_key = $1", articles.typeKey),
      [{ resolution: "merged", resolved_hash: localHash }]);
  });

  test("who has looked at another conflict is refused", async () => {
    const { articles, conflict } = await collide();
    await write(articles, "published_entry", slugOf(1), "Theirs, once more");
    assert.notEqual((await conflicts.detect(articles))?.conflictNumber, conflict.conflictNumber);
    await rejection(conflicts.resolve(conflict, "local"), PreconditionError, "55000");
  });

  test("an interrupted run can be settled, too", async () => {
    const { articles, conflict } = await collide();
    const { runId } = await states.beginSync(articles.typeKey);
    await endLease(articles.typeKey);
    await conflicts.resolve(conflict, "local");
    await assert.rejects(states.checkpoint(articles.typeKey, runId, {}));
  });
});
