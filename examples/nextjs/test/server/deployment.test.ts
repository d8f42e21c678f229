/*
 * The deployment service: what is copied, what is recorded, and what is left after
 * each kind of failure.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import type { Entries } from "@/lib/content/entries";
import { ChangeDetector } from "@/lib/sync/ChangeDetector";
import { ContentMovedError, DeploymentService } from "@/lib/sync/DeploymentService";
import type { SyncRun } from "@/lib/sync/types";

import { Disturbed, newEntries, slugOf, titles, write } from "./content";
import { endLease, prisma, sql, states } from "./setup";

const deployment = new DeploymentService(states, { owner: "deployment under test" });
const changes = new ChangeDetector(states);

type Run = Pick<SyncRun, "outcome" | "error">;

function runs(typeKey: string): Promise<Run[]> {
  return sql<Run>("SELECT outcome, error FROM syncstate.sync_run WHERE type_key = $1 ORDER BY run_number", typeKey);
}

async function inStep(content: Parameters<typeof titles>[0]): Promise<void> {
  assert.deepEqual(await titles(content, "published_entry"), await titles(content, "entry"));
  assert.equal((await changes.detect(content)).action, "NO_CHANGE");
  assert.equal((await states.getSyncState(content.typeKey))?.syncStatus, "in_sync");
}

const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));

describe("without trouble", () => {
  for (const atomic of [false, true]) {
    test(`${atomic ? "at once" : "in batches"}: creates, edits and deletes`, async () => {
      const articles = await newEntries("article", 5, { batchSize: 2, atomic });
      const first = await deployment.deploy(articles);
      assert.deepEqual(first, {
        typeKey: articles.typeKey, outcome: "synced", direction: "push", syncStatus: "in_sync", resumedAt: null,
      });
      await inStep(articles);

      await prisma.entry.delete({ where: { typeKey_slug: { typeKey: articles.typeKey, slug: slugOf(5) } } });
      await prisma.entry.delete({ where: { typeKey_slug: { typeKey: articles.typeKey, slug: slugOf(2) } } });
      await write(articles, "entry", slugOf(3), "Edited");
      assert.equal((await deployment.deploy(articles)).outcome, "synced");
      await inStep(articles);
      assert.equal((await deployment.deploy(articles)).outcome, "unchanged");

      await prisma.entry.deleteMany({ where: { typeKey: articles.typeKey } });
      assert.equal((await deployment.deploy(articles)).outcome, "synced");
      assert.deepEqual(await titles(articles, "published_entry"), []);
      assert.deepEqual((await runs(articles.typeKey)).map(({ outcome }) => outcome), ["synced", "synced", "synced"]);
    });
  }

  test("the overview has its progress while it works", async () => {
    const articles = await newEntries("article", 5);
    const seen: object[] = [];
    await deployment.deploy(new Disturbed(articles, {
      before: async () => seen.push(...await sql(`
        SELECT run_owner, step::int, total::int, percent::float8 FROM syncstate.sync_overview
        WHERE type_key = $1 AND step IS NOT NULL`, articles.typeKey)),
    }));
    const owner = { run_owner: "deployment under test", total: 3 };
    assert.deepEqual(seen, [{ ...owner, step: 1, percent: 33.3 }, { ...owner, step: 2, percent: 66.7 }]);
  });
});

describe("failures", () => {
  test("one type fails: its error is recorded, the others go on", async () => {
    const [good, bad, unmeasurable, alsoGood] = [
      await newEntries("a", 3), await newEntries("b", 5), await newEntries("c", 1), await newEntries("d", 3),
    ];
    const results = await deployment.deployAll([
      good,
      new Disturbed(bad, { before: (batch) => { if (batch === 2) throw new Error("disk full"); } }),
      new Disturbed(unmeasurable, { measure: () => { throw new Error("no such directory"); } }),
      alsoGood,
    ]);
    assert.deepEqual(results.map(({ outcome }) => outcome), ["synced", "failed", "failed", "synced"]);
    await inStep(good);
    await inStep(alsoGood);
    assert.deepEqual(await runs(bad.typeKey), [{ outcome: "failed", error: "disk full" }]);
    assert.deepEqual(await runs(unmeasurable.typeKey), [{ outcome: "failed", error: "no such directory" }]);

    // What was copied is there, and the checkpoint says how much it is.
    assert.deepEqual(await titles(bad, "published_entry"), ["Title 1", "Title 2"]);
    const state = await states.getSyncState(bad.typeKey);
    assert.equal(state?.syncStatus, "failed");
    assert.deepEqual(state?.syncProgress, { direction: "push", step: 1, total: 3, after: slugOf(2) });

    const again = await deployment.deploy(bad);
    assert.ok(again.outcome === "synced" && again.resumedAt?.after === slugOf(2));
    await inStep(bad);
    assert.equal((await deployment.deploy(unmeasurable)).outcome, "synced");
  });

  test("a statement that fails in a batch undoes the batch, not the ones before", async () => {
    const articles = await newEntries("article", 5);
    const result = await deployment.deploy(new Disturbed(articles, {
      after: async (batch) => { if (batch === 2) throw new Error("in the middle of a transaction"); },
    }));
    assert.equal(result.outcome, "failed");
    assert.deepEqual(await titles(articles, "published_entry"), ["Title 1", "Title 2"]);
  });

  test("an atomic type is rolled back: nothing is half there, and nothing is left to resume", async () => {
    const articles = await newEntries("article", 5, { batchSize: 2, atomic: true });
    const result = await deployment.deploy(new Disturbed(articles, {
      before: (batch) => { if (batch === 3) throw new Error("disk full"); },
    }));
    assert.equal(result.outcome, "failed");
    assert.deepEqual(await titles(articles, "published_entry"), []);
    const state = await states.getSyncState(articles.typeKey);
    assert.equal(state?.syncStatus, "failed");
    assert.equal(state?.syncProgress, null);
    assert.deepEqual(await runs(articles.typeKey), [{ outcome: "rolled_back", error: "disk full" }]);
    assert.equal((await deployment.deploy(articles)).outcome, "synced");
    await inStep(articles);
  });

  test("mended by other means after a failure: nothing to copy, and in step again", async () => {
    const articles = await newEntries("article", 1, { batchSize: 2, atomic: true });
    await deployment.deploy(new Disturbed(articles, { before: () => { throw new Error("no"); } }));
    await write(articles, "published_entry", slugOf(1), "Title 1");
    assert.equal((await deployment.deploy(articles)).outcome, "unchanged");
    await inStep(articles);
  });
});

describe("other runs", () => {
  test("a key that a live run has is left alone", async () => {
    const articles = await newEntries("article", 3);
    await states.beginSync(articles.typeKey, { owner: "somebody else" });
    const before = await states.getSyncState(articles.typeKey);
    const result = await deployment.deploy(articles);
    assert.ok(result.outcome === "held" && result.error.message.includes("is held by a live run"));
    assert.deepEqual(await states.getSyncState(articles.typeKey), before);
    assert.deepEqual(await titles(articles, "published_entry"), []);
  });

  test("a run that is taken over stops: its batch is undone, and it fails nobody's run", async () => {
    const articles = await newEntries("article", 5);
    let taken: SyncRun | undefined;
    const result = await deployment.deploy(new Disturbed(articles, {
      before: async (batch) => {
        if (batch === 2) {
          await endLease(articles.typeKey);
          taken = await states.resumeSync(articles.typeKey, { owner: "somebody else" });
        }
      },
    }));
    assert.equal(result.outcome, "superseded");
    assert.deepEqual(await titles(articles, "published_entry"), ["Title 1", "Title 2"]);
    assert.equal((await states.getSyncState(articles.typeKey))?.runId, taken?.runId);
  });

  test("a process that is killed: its run is resumed at the checkpoint, with exactly the rows of it", async () => {
    const articles = await newEntries("article", 7);
    const { typeKey } = articles;
    const worker = spawn(process.execPath, [...process.execArgv, WORKER, typeKey, "3"], { stdio: ["ignore", "pipe", "inherit"] });
    // It has written its third batch, and not committed.
    const [line] = await once(worker.stdout, "data") as [Buffer];
    assert.equal(String(line), "batch 3\n");
    assert.equal((await deployment.deploy(articles)).outcome, "held");
    worker.kill("SIGKILL");
    await once(worker, "exit");

    await endLease(typeKey);
    assert.ok((await states.detectInterruptedSync()).includes(typeKey));
    assert.deepEqual(await titles(articles, "published_entry"), ["Title 1", "Title 2", "Title 3", "Title 4"]);
    assert.equal((await changes.detect(articles)).action, "INITIAL_SYNC");

    const resuming = new Disturbed(articles, {});
    const result = await deployment.deploy(resuming);
    assert.ok(result.outcome === "synced");
    assert.deepEqual(result.resumedAt, { direction: "push", step: 2, total: 4, after: slugOf(4) });
    assert.equal(resuming.batches, 2);
    await inStep(articles);
    assert.deepEqual(await runs(typeKey), [{ outcome: "superseded", error: null }, { outcome: "synced", error: null }]);
  });

  test("if the content has changed since, the new run begins at the beginning", async () => {
    const articles = await newEntries("article", 5);
    await deployment.deploy(new Disturbed(articles, { before: (batch) => { if (batch === 3) throw new Error("no"); } }));
    await write(articles, "entry", slugOf(1), "Edited since");
    const result = await deployment.deploy(articles);
    assert.ok(result.outcome === "synced" && result.resumedAt === null);
    await inStep(articles);
  });
});

describe("edits during a run are not lost", () => {
  /** Seven entries in batches of two; an edit before the batch of that number. */
  async function deployAnd(edit: (batch: number, articles: Entries) => unknown) {
    const articles = await newEntries("article", 7);
    const disturbed = new Disturbed(articles, { before: (batch) => edit(batch, articles) });
    const result = await deployment.deploy(disturbed);
    return { articles, result, batches: disturbed.batches };
  }

  async function nextDeploymentPushes(articles: Entries) {
    assert.deepEqual(await changes.detect(articles).then(({ action, detail }) => [action, detail]), ["PUSH", "edit"]);
    assert.equal((await deployment.deploy(articles)).outcome, "synced");
    await inStep(articles);
  }

  test("behind the copy, and seen by the detector: the status says so at once", async () => {
    const { articles, result } = await deployAnd(async (batch, articles) => {
      if (batch === 3) {
        await write(articles, "entry", slugOf(1), "Edited meanwhile");
        await changes.detect(articles);
      }
    });
    assert.ok(result.outcome === "synced" && result.syncStatus === "modified");
    assert.equal((await titles(articles, "published_entry"))[0], "Title 1");
    await nextDeploymentPushes(articles);
  });

  test("behind the copy, and seen by nobody: the next look finds it", async () => {
    const { articles, result } = await deployAnd(async (batch, articles) => {
      if (batch === 3) {
        await write(articles, "entry", slugOf(1), "Edited meanwhile");
      }
    });
    assert.ok(result.outcome === "synced" && result.syncStatus === "in_sync");
    await nextDeploymentPushes(articles);
  });

  test("ahead of the copy: it comes along", async () => {
    const { articles, result, batches } = await deployAnd(async (batch, articles) => {
      if (batch === 2) {
        await write(articles, "entry", slugOf(7), "Edited meanwhile");
      }
    });
    assert.equal(result.outcome, "synced");
    assert.equal(batches, 4);
    await inStep(articles);
  });

  test("on both sides of the copy: it goes round once more", async () => {
    const { articles, result, batches } = await deployAnd(async (batch, articles) => {
      if (batch === 3) {
        await write(articles, "entry", slugOf(1), "Edited meanwhile");
        await write(articles, "entry", slugOf(7), "Edited meanwhile");
      }
    });
    assert.equal(result.outcome, "synced");
    assert.equal(batches, 8);
    await inStep(articles);
  });

  test("again and again: the run gives up, and the next one starts over", async () => {
    const { articles, result } = await deployAnd(async (batch, articles) => {
      if (batch % 4 === 3) {
        await write(articles, "entry", slugOf(1), `Edited before batch ${batch}`);
        await write(articles, "entry", slugOf(7), `Edited before batch ${batch}`);
      }
    });
    assert.ok(result.outcome === "failed" && result.error instanceof ContentMovedError);
    assert.deepEqual(await runs(articles.typeKey), [{ outcome: "failed", error: result.error.message }]);
    const next = await deployment.deploy(articles);
    assert.ok(next.outcome === "synced" && next.resumedAt === null);
    await inStep(articles);
  });
});
