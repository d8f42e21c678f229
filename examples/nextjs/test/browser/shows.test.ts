/*
 * The page shows what the database holds: at first, after a refresh, and, without
 * being asked, whenever something happens.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Browser } from "playwright-core";
import { begin, checkpoint, editedHere, editedThere, everyStatus, WORDS } from "./fixture";
import { announced, Database, eventually, launch, open, readAt, refresh, seen, shows, status, withLivePage } from "./harness";

let browser: Browser;
let db: Database;

before(async () => {
  browser = await launch();
  db = await Database.connect();
});

after(async () => {
  await browser.close();
  await db.end();
});

beforeEach(() => db.forgetAll());

async function inSync(typeKey: string, hash = "h1"): Promise<void> {
  await db.rows("SELECT sync_state_mark_synced($1, $2, $2)", [typeKey, hash]);
}

test("each content type, in every state, with words", async () => {
  await everyStatus(db);
  await withLivePage(browser, async (page) => {
    const rows = await seen(page);

    assert.deepEqual(Object.keys(rows), Object.keys(WORDS), "all of them, by their keys");
    for (const [typeKey, expected] of Object.entries(WORDS)) {
      const { status, step, progress } = rows[typeKey] ?? {};
      assert.deepEqual({ status, step, progress }, expected, typeKey);
    }
    const times = Object.fromEntries(Object.entries(rows).map(([typeKey, row]) => [typeKey, row.lastSync]));
    assert.deepEqual(times, await db.lastSyncs());
  });
});

test("who runs it, until when, and since when it is interrupted", async () => {
  await everyStatus(db);
  const lease = (typeKey: string) =>
    db.value<string>(`SELECT to_char(lease_expires_at AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM sync_state_get($1)`, [typeKey]);

  await withLivePage(browser, async (page) => {
    const { article, media, translation, product, tag } = await seen(page);

    assert.ok(article?.note.endsWith(`${await lease("article")} UTC`), article?.note);
    assert.match(article?.note ?? "", /^lease until /);
    assert.equal(article?.run, "1,250 of 2,000 · deploy-1");
    assert.equal(article?.percent, "62.5 %");
    assert.match(media?.note ?? "", /^lease ended /);
    assert.ok(media?.note.endsWith(`${await lease("media")} UTC`), media?.note);
    assert.equal(media?.run, "18,230 of 41,006 · deploy-2");
    assert.equal(translation?.run, "under way · deploy-1");
    assert.equal(product?.note, "the next run goes on there");
    assert.equal(tag?.note, "the next run decides anew");
  });
});

test("a run that was never given a lease is interrupted, and says why", async () => {
  await inSync("article");
  await db.rows(`SELECT sync_state_update('article', '{"sync_status": "syncing"}')`);
  await withLivePage(browser, (page) =>
    shows(page, "article", { status: ["Interrupted"], note: "no lease: nobody works on it", progress: null }));
});

test("the first answer has it all, before a script has run", async () => {
  await everyStatus(db);
  const { page, close } = await open(browser, { javaScriptEnabled: false });

  assert.deepEqual(
    (await page.locator("tbody .badge").allTextContents()).sort(),
    Object.values(WORDS).flatMap((words) => words.status).sort(),
  );
  assert.ok((await readAt(page)) > 0);
  await close();
});

test("before and after a refresh, of which nobody was told", async (t) => {
  const silent = await Database.connect();

  t.after(() => silent.end());
  await silent.rows("SET syncstate.notify = 'none'");
  await inSync("article");
  await withLivePage(browser, async (page) => {
    await refresh(page);
    await status(page, "article", "In sync");
    await silent.rows("SELECT sync_state_observe('article', 'h2')");
    assert.deepEqual((await seen(page))["article"]?.status, ["In sync"]);

    await refresh(page);
    await shows(page, "article", { status: ["Modified"], step: "Push: edited here" });
    assert.match(await announced(page), /^Refreshed, as of \d\d:\d\d:\d\d UTC\. article: modified$/);

    await refresh(page);
    await eventually(async () => (await announced(page)).replace(/\d\d:\d\d:\d\d/, "…"),
      "Refreshed, as of … UTC. Nothing has changed.", "the second refresh");
  });
});

test("a run: each checkpoint at once, in sync at its end", async () => {
  await inSync("article");
  await withLivePage(browser, async (page) => {
    await editedHere(db, "article");
    await status(page, "article", "Modified");
    const run = await begin(db, "article", "worker 7");
    await shows(page, "article", { status: ["Syncing"], progress: "under way", run: "under way · worker 7" });
    for (const step of [100, 200, 399]) {
      await checkpoint(db, "article", run, { step, total: 400 });
      await shows(page, "article", {
        progress: `${step} of 400, ${step / 4 === 99.75 ? 99.8 : step / 4} %`,
        run: `${step} of 400 · worker 7`,
      });
    }
    const bar = page.getByRole("progressbar", { name: "Progress of article" });
    assert.equal(await bar.getAttribute("aria-valuenow"), "99.8");

    await db.rows("SELECT sync_state_mark_synced('article', 'h2', 'h2', $1)", [run]);
    await shows(page, "article", {
      status: ["In sync"], progress: null, note: "", lastSync: (await db.lastSyncs())["article"] ?? "none",
    });
    assert.equal(await announced(page), "article: in sync");
  });
});

test("a bar stays a bar, whatever the checkpoint says", async () => {
  const run = await begin(db, "article", "worker 7");

  await withLivePage(browser, async (page) => {
    for (const [progress, text, now] of [
      [{ step: 7, total: 5 }, "7 of 5, 140 %", "100"],
      [{ step: -1, total: 4 }, "-1 of 4, -25 %", "0"],
      [{ step: 3, total: 0 }, "3 of 0", null],
      [{ step: 3 }, "3", null],
      [{ step: "three", total: null }, "under way", null],
    ] as const) {
      await checkpoint(db, "article", run, progress);
      await shows(page, "article", { progress: text });
      assert.equal(await page.getByRole("progressbar").getAttribute("aria-valuenow"), now);
      const [bar, fill] = await Promise.all([
        page.locator(".bar").boundingBox(), page.locator(".fill").boundingBox(),
      ]);
      assert.ok(bar && (!fill || (fill.x >= bar.x && fill.x + fill.width <= bar.x + bar.width + 0.01)), text);
    }
  });
});

test("a conflict, and its resolution", async () => {
  await inSync("article");
  await inSync("author");
  await withLivePage(browser, async (page) => {
    await editedHere(db, "article");
    await editedThere(db, "article");
    await shows(page, "article", { status: ["Conflict"], step: "Decide: edited on both sides" });
    await status(page, "author", "In sync");
    await db.rows("SELECT sync_state_resolve('article', 'remote')");
    await shows(page, "article", { status: ["Modified"], step: "Pull: edited there", note: "conflict resolved" });
    await db.rows("SELECT sync_state_observe('author', local_absent => true)");
    await shows(page, "author", { step: "Push: deleted here" });
    await editedThere(db, "author");
    await shows(page, "author", { status: ["Conflict"], step: "Decide: deleted here, edited there" });
  });
});

test("a conflict that a run hides is shown beside the run", async () => {
  await inSync("article");
  await withLivePage(browser, async (page) => {
    await editedHere(db, "article");
    await begin(db, "article", "worker 7");
    await status(page, "article", "Syncing");
    await editedThere(db, "article");
    await status(page, "article", "Syncing", "Conflict");
  });
});

test("the end of a lease, of which nobody is notified", async () => {
  await inSync("article");
  await withLivePage(browser, async (page) => {
    const run = await begin(db, "article", "worker 7", "1500 ms");

    await checkpoint(db, "article", run, { step: 1, total: 4 }, "1500 ms");
    await shows(page, "article", { status: ["Syncing"], progress: "1 of 4, 25 %" });
    await shows(page, "article", { status: ["Interrupted"], progress: "stopped at 1 of 4, 25 %" });
    assert.equal(await announced(page), "article: interrupted");

    await db.rows("SELECT sync_state_resume('article', owner => 'worker 8')");
    await shows(page, "article", { status: ["Syncing"], progress: "1 of 4, 25 %", run: "1 of 4 · worker 8" });
  });
});

test("a run that goes on after its lease is not taken for interrupted", async () => {
  await withLivePage(browser, async (page) => {
    const run = await begin(db, "article", "worker 7", "800 ms");

    await status(page, "article", "Interrupted");
    await checkpoint(db, "article", run, { step: 1, total: 4 }, "10 min");
    await status(page, "article", "Syncing");
  });
});

test("a failed run", async () => {
  const run = await begin(db, "article", "worker 7");

  await withLivePage(browser, async (page) => {
    await status(page, "article", "Syncing");
    await db.rows("SELECT sync_state_fail('article', $1, 'no answer')", [run]);
    await status(page, "article", "Failed");
  });
});

test("what comes, and what is forgotten", async () => {
  await inSync("author");
  await withLivePage(browser, async (page) => {
    await inSync("article");
    await eventually(async () => Object.keys(await seen(page)), ["article", "author"], "the new one in its place");
    await db.rows("SELECT sync_state_forget('author')");
    await eventually(async () => Object.keys(await seen(page)), ["article"], "the old one gone");
    await eventually(() => announced(page), "author: forgotten", "it is told");
  });
});

test("an empty database, and its first content type", async () => {
  await withLivePage(browser, async (page) => {
    await page.getByRole("heading", { name: "No content types yet" }).waitFor();
    assert.equal(await page.getByRole("table").count(), 0);
    await inSync("article");
    await status(page, "article", "In sync");
    await db.forgetAll();
    await page.getByRole("heading", { name: "No content types yet" }).waitFor();
  });
});

test("keys are text, not markup", async () => {
  const odd = `<b onclick="x">&amp; "ähm" \u{1F4F0}`;

  await inSync(odd);
  await withLivePage(browser, (page) => status(page, odd, "In sync"));
});

test("a burst of changes ends in the last of them, by few readings", async () => {
  const run = await begin(db, "article", "worker 7");

  await withLivePage(browser, async (page) => {
    let readings = 0;
    page.on("request", (request) => request.url().endsWith("/sync/status") && readings++);
    for (let step = 1; step <= 300; step++) {
      await checkpoint(db, "article", run, { step, total: 300 });
    }
    await shows(page, "article", { progress: "300 of 300, 100 %" });
    assert.ok(readings < 100, `${readings} readings for 300 checkpoints`);
  });
});

test("only those of one state, and how many there are of each", async () => {
  await everyStatus(db);
  await withLivePage(browser, async (page) => {
    const buttons = page.getByRole("group", { name: "Show only" }).getByRole("button");

    assert.deepEqual(
      (await buttons.allInnerTexts()).map((text) => text.replace(/\s+/g, " ").trim()),
      ["All 12", "Conflict 2", "Interrupted 1", "Failed 2", "Syncing 2", "Modified 2", "New 1", "In sync 2", "No status 1"],
    );
    await page.getByRole("button", { name: "Conflict" }).click();
    assert.deepEqual(Object.keys(await seen(page)), ["navigation", "tag"]);
    assert.equal(await page.getByRole("button", { name: "Conflict" }).getAttribute("aria-pressed"), "true");

    await db.rows("SELECT sync_state_resolve('navigation', 'local')");
    await db.rows("SELECT sync_state_resolve('tag', 'local')");
    await page.getByText("No content type is shown under “Conflict” now.").waitFor();
    await page.getByRole("button", { name: "Conflict" }).click();
    assert.equal(Object.keys(await seen(page)).length, 12);
  });
});

test("the title of the window counts what waits for somebody", async () => {
  await inSync("article");
  await withLivePage(browser, async (page) => {
    await eventually(() => page.title(), "Deployment", "nothing waits");
    await editedHere(db, "article");
    await editedThere(db, "article");
    await eventually(() => page.title(), "(1) Deployment", "a conflict waits");
  });
});

test("the root leads to the page", async () => {
  const { page, close } = await open(browser);

  await page.goto(new URL("/", page.url()).href);
  assert.equal(new URL(page.url()).pathname, "/deployment");
  await close();
});
