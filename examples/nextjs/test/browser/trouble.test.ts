/*
 * What the page does when the ways to its knowledge break: the stream of events,
 * the application's LISTEN, the database, the application itself.
 *
 * The database is out of reach when it allows no connections any more, which holds
 * for all but superusers, and those that there are have been ended, but the test's own.
 */
import assert from "node:assert/strict";
import { connect, createServer, type Server, type Socket } from "node:net";
import { after, before, beforeEach, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { editedHere } from "./fixture";
import {
  baseUrl, Database, eventually, isLive, launch, link, open, readAt, refresh, seen, status, withLivePage,
} from "./harness";

let browser: Browser;
let db: Database;
let name: string;

before(async () => {
  browser = await launch();
  db = await Database.connect();
  name = await db.value("SELECT quote_ident(current_database())");
});

after(async () => {
  await browser.close();
  await db.end();
});

beforeEach(async () => {
  await db.forgetAll();
  await db.rows("SELECT sync_state_mark_synced('article', 'h1', 'h1')");
});

function allowConnections(allowed: boolean): Promise<unknown> {
  return db.rows(`ALTER DATABASE ${name} CONNECTION LIMIT ${allowed ? -1 : 0}`);
}

/** Ends sessions of the application, and waits until they are gone. */
async function end(which: "all" | "listening"): Promise<void> {
  await db.rows(
    `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend'
     AND application_name <> 'browser test' AND ($1 OR query ILIKE 'LISTEN%')`,
    [which === "all"],
  );
}

async function withoutDatabase(work: () => Promise<void>): Promise<void> {
  await allowConnections(false);
  try {
    await end("all");
    await work();
  } finally {
    await allowConnections(true);
  }
}

function problem(page: Page): Promise<string> {
  return page.locator(".problem").innerText();
}

function isOld(page: Page): Promise<boolean> {
  return page.locator(".as-of").innerText().then((text) => text.startsWith("Old: as of "));
}

test("the database is gone: the page says so, and keeps what it knew, as old", async () => {
  const { page, close } = await open(browser);

  await isLive(page);
  const before = await seen(page);
  await withoutDatabase(async () => {
    await page.getByRole("button", { name: "Refresh" }).click();
    await eventually(() => isOld(page), true, "it is marked as old");
    assert.match(await problem(page), /^The database cannot be reached\. What is shown is the last known state\./);
    assert.deepEqual(await seen(page), before);
    assert.equal(await page.getByRole("table", { name: "Content types, last known state" }).count(), 1);
    await eventually(() => link(page), "Connection: Reconnecting", "nor does it listen");

    await editedHere(db, "article");
    assert.deepEqual((await seen(page))["article"]?.status, ["In sync"]);
  });
  // Nobody asks it to.
  await status(page, "article", "Modified");
  await isLive(page);
  assert.equal(await isOld(page), false);
  assert.equal(await problem(page), "");
  await close();
});

test("a reload while the database is gone still shows the last known state", async () => {
  const { page, close } = await open(browser);

  await isLive(page);
  const known = await readAt(page);
  await withoutDatabase(async () => {
    const answer = await page.reload();
    assert.equal(answer?.status(), 200);
    await status(page, "article", "In sync");
    await eventually(() => isOld(page), true, "it is marked as old");
    assert.ok((await readAt(page)) >= known);
    await eventually(() => problem(page).then((text) => text.split(".")[0]), "The database cannot be reached", "why");
  });
  await isLive(page);
  await eventually(() => isOld(page), false, "it is current again");
  await close();
});

test("opened while the database is gone, with nothing known", async () => {
  let opened = await open(browser);
  await opened.close();
  await withoutDatabase(async () => {
    opened = await open(browser);
    await opened.page.getByRole("heading", { name: "The status is not known" }).waitFor();
    await eventually(() => problem(opened.page), "The database cannot be reached. This page keeps trying.", "why");
    assert.equal(await opened.page.getByRole("table").count(), 0);
  });
  await status(opened.page, "article", "In sync");
  await isLive(opened.page);
  await opened.close();
});

test("what happens while nobody listens is caught up with", async () => {
  await withLivePage(browser, async (page) => {
    await allowConnections(false);
    try {
      await end("listening");
      await eventually(() => link(page), "Connection: Reconnecting", "it is told that nobody listens");
      // It looks once more, and from then on knows of nothing.
      await refresh(page);
      await editedHere(db, "article");
      assert.deepEqual((await seen(page))["article"]?.status, ["In sync"]);
    } finally {
      await allowConnections(true);
    }
    await status(page, "article", "Modified");
    await isLive(page);
    await db.rows("SELECT sync_state_mark_synced('article', 'h3', 'h3')");
    await status(page, "article", "In sync");
  });
});

/** Stands between the page and the application, and can be cut. */
class Wire {
  private readonly ends = new Set<Socket>();
  private cutOff = false;

  private constructor(private readonly server: Server, readonly url: string) {}

  static async stretch(): Promise<Wire> {
    const { hostname, port } = new URL(baseUrl());
    const server = createServer((near) => wire.join(near, connect(Number(port), hostname)));

    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const address = server.address();
    assert.ok(address !== null && typeof address === "object");
    const wire = new Wire(server, `http://127.0.0.1:${address.port}`);
    return wire;
  }

  private join(near: Socket, far: Socket): void {
    for (const [from, to] of [[near, far], [far, near]] as const) {
      this.ends.add(from);
      from.on("error", () => from.destroy());
      from.on("close", () => this.ends.delete(from) && to.destroy());
      from.pipe(to);
    }
    if (this.cutOff) {
      near.destroy();
    }
  }

  cut(): void {
    this.cutOff = true;
    this.ends.forEach((socket) => socket.destroy());
  }

  mend(): void {
    this.cutOff = false;
  }

  close(): void {
    this.cut();
    this.server.close();
  }
}

test("the connection to the application breaks, and comes back", async () => {
  const wire = await Wire.stretch();
  const { page, close } = await open(browser, {}, wire.url);

  try {
    await isLive(page);
    wire.cut();
    await eventually(() => link(page), "Connection: Reconnecting", "the stream is broken");
    await eventually(() => isOld(page), true, "it is marked as old");
    assert.match(await problem(page), /^The application does not answer\. What is shown is the last known state\./);
    await editedHere(db, "article");
    assert.deepEqual((await seen(page))["article"]?.status, ["In sync"]);

    wire.mend();
    await status(page, "article", "Modified");
    await isLive(page);
    assert.equal(await isOld(page), false);
    await db.rows("SELECT sync_state_mark_synced('article', 'h3', 'h3')");
    await status(page, "article", "In sync");
  } finally {
    await close();
    wire.close();
  }
});

test("a stream that is refused is asked for again", async () => {
  const { page, close } = await open(browser);
  let refused = 0;

  await isLive(page);
  await page.route("**/api/v1/sync/events", (route) => (++refused > 2 ? route.continue() : route.fulfill({ status: 502 })));
  await page.reload();
  await isLive(page);
  assert.equal(refused, 3);
  await close();
});

test("another failure is told in the words of the answer", async () => {
  const { page, close } = await open(browser);

  await isLive(page);
  await page.route("**/api/v1/sync/status", (route) =>
    route.fulfill({ status: 500, json: { error: { code: "internal", message: "something is amiss" } } }));
  await page.getByRole("button", { name: "Refresh" }).click();
  await eventually(() => problem(page),
    "The status cannot be read: something is amiss. What is shown is the last known state. This page keeps trying.",
    "the reason");
  await page.route("**/api/v1/sync/status", (route) => route.fulfill({ status: 500, body: "<html>" }));
  await page.getByRole("button", { name: "Refresh" }).click();
  await eventually(() => problem(page).then((text) => text.includes("status 500")), true, "or the status");
  await page.unroute("**/api/v1/sync/status");
  await eventually(() => isOld(page), false, "it recovers");
  await close();
});

test("nothing moves, come what may", async () => {
  await db.rows("SELECT sync_state_mark_synced(key, 'h1', 'h1') FROM unnest(ARRAY['author', 'page', 'tag']) AS key");
  for (const viewport of [{ width: 1280, height: 800 }, { width: 360, height: 740 }]) {
    const { page, close } = await open(browser, { viewport });

    await isLive(page);
    const places = () => page.locator("header > *, thead th, tbody tr, .summary button").evaluateAll((elements) =>
      elements.map((element) => {
        const { x, y } = element.getBoundingClientRect();
        return [Math.round(x), Math.round(y)];
      }));
    const before = await places();
    const wide = viewport.width > 1000;

    if (wide) {
      const [run] = await db.rows<{ run_id: string }>("SELECT run_id FROM sync_state_begin('author', owner => 'w')");
      await status(page, "author", "Syncing");
      await db.rows("SELECT sync_state_checkpoint('author', $1, $2)", [run?.run_id, { step: 123456, total: 999999 }]);
      await db.rows("SELECT sync_state_observe('article', 'h2', 'h3')");
      await status(page, "article", "Conflict");
      assert.deepEqual(await places(), before, "after changes");
    }
    await page.route("**/api/v1/sync/status", (route) => route.fulfill({ status: 503, json: {} }));
    await page.getByRole("button", { name: "Refresh" }).click();
    await eventually(() => isOld(page), true, "it is marked as old");
    assert.deepEqual(await places(), before, "in trouble");
    await close();
  }
});
