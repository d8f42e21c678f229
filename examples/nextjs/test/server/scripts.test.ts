/*
 * The commands that the README shows.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { prisma, states } from "./setup";

async function run(script: string): Promise<string> {
  const path = fileURLToPath(new URL(`../../scripts/${script}.ts`, import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, path]);
  return stdout;
}

test("seed writes content, sync publishes it and says so", async () => {
  await prisma.entry.deleteMany();
  await prisma.publishedEntry.deleteMany();
  assert.equal(await run("seed"), "article: 1200 entries written\nauthor: 40 entries written\npage: 12 entries written\n");
  assert.equal(await run("seed"), "article: 0 entries written\nauthor: 0 entries written\npage: 0 entries written\n");
  assert.equal(await run("sync"), "article: synced\nauthor: synced\npage: synced\n");
  assert.equal(await prisma.publishedEntry.count(), 1252);
  assert.equal((await states.getSyncState("article"))?.syncStatus, "in_sync");
  assert.equal(await run("sync"), "article: unchanged\nauthor: unchanged\npage: unchanged\n");
});
