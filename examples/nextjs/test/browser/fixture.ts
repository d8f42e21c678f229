/*
 * Content types in every state that the page knows, made as workers make them, and
 * the words in which each is to be shown.
 */
import type { Browser } from "playwright-core";
import { Database, launch } from "./harness";

/** Synchronised so long ago, and unchanged since. */
async function synced(db: Database, typeKey: string, ago: string): Promise<void> {
  await db.rows(
    `SELECT sync_state_update($1, jsonb_build_object(
       'local_hash', md5($1), 'remote_hash', md5($1), 'last_sync_at', clock_timestamp() - $2::interval,
       'sync_status', 'in_sync', 'conflict_status', 'none'))`,
    [typeKey, ago],
  );
}

export async function editedHere(db: Database, typeKey: string): Promise<void> {
  await db.rows("SELECT sync_state_observe($1, md5($1 || 'here'))", [typeKey]);
}

export async function editedThere(db: Database, typeKey: string): Promise<void> {
  await db.rows("SELECT sync_state_observe($1, NULL, md5($1 || 'there'))", [typeKey]);
}

export async function begin(db: Database, typeKey: string, owner: string, lease = "10 min"): Promise<string> {
  return db.value("SELECT run_id FROM sync_state_begin($1, $3::interval, $2)", [typeKey, owner, lease]);
}

export async function checkpoint(
  db: Database, typeKey: string, run: string, progress: object | null, lease = "10 min",
): Promise<void> {
  await db.rows("SELECT sync_state_checkpoint($1, $2, $3, $4)", [typeKey, run, progress, lease]);
}

/** Begun, and never heard of again: by the time that this returns, its lease has ended. */
export async function interrupted(db: Database, typeKey: string, owner: string, progress: object): Promise<void> {
  const run = await begin(db, typeKey, owner, "1 ms");

  await checkpoint(db, typeKey, run, progress, "1 ms");
  while (!(await db.value<boolean>("SELECT $1 IN (SELECT sync_state_detect_interrupted())", [typeKey])));
}

/** Both sides edited, one of them while a run was at work, which gave up. */
async function failedInConflict(db: Database, typeKey: string): Promise<void> {
  await editedHere(db, typeKey);
  const run = await begin(db, typeKey, "deploy-2");
  await editedThere(db, typeKey);
  await db.rows("SELECT sync_state_rollback($1, $2, 'the other side has changed')", [typeKey, run]);
}

async function failedHalfWay(db: Database, typeKey: string): Promise<void> {
  await editedHere(db, typeKey);
  const run = await begin(db, typeKey, "deploy-2");
  await checkpoint(db, typeKey, run, { step: 310, total: 1200 });
  await db.rows("SELECT sync_state_fail($1, $2, 'status 502 from the other side')", [typeKey, run]);
}

export async function everyStatus(db: Database): Promise<void> {
  await db.forgetAll();
  await synced(db, "article", "2 hours");
  await editedHere(db, "article");
  await checkpoint(db, "article", await begin(db, "article", "deploy-1"), { step: 1250, total: 2000 });
  await synced(db, "author", "4 minutes");
  await synced(db, "category", "4 minutes");
  await synced(db, "event", "1 day 3 hours");
  await editedThere(db, "event");
  await synced(db, "media", "3 days");
  await editedHere(db, "media");
  await interrupted(db, "media", "deploy-2", { step: 18230, total: 41006 });
  await synced(db, "navigation", "26 hours");
  await editedHere(db, "navigation");
  await editedThere(db, "navigation");
  await synced(db, "page", "50 minutes");
  await editedHere(db, "page");
  await synced(db, "product", "5 hours");
  await failedHalfWay(db, "product");
  await db.rows("SELECT sync_state_observe('redirect', 'r1', remote_absent => true)");
  await db.rows("SELECT sync_state_update('snippet', '{}')");
  await synced(db, "tag", "9 days");
  await failedInConflict(db, "tag");
  await synced(db, "translation", "65 minutes");
  await editedThere(db, "translation");
  await checkpoint(db, "translation", await begin(db, "translation", "deploy-1"), { after: "fr" });
}

export interface Scene {
  browser: Browser;
  db: Database;
  close(): Promise<void>;
}

/** A browser, and a session of a database that has a key in every status. */
export async function sceneOfEveryStatus(): Promise<Scene> {
  const [browser, db] = await Promise.all([launch(), Database.connect()]);

  await everyStatus(db);
  return {
    browser,
    db,
    close: async () => {
      await browser.close();
      await db.end();
    },
  };
}

export const WORDS: Readonly<Record<string, { status: string[]; step: string; progress: string | null }>> = {
  article: { status: ["Syncing"], step: "Push: edited here", progress: "1,250 of 2,000, 62.5 %" },
  author: { status: ["In sync"], step: "Nothing: unchanged", progress: null },
  category: { status: ["In sync"], step: "Nothing: unchanged", progress: null },
  event: { status: ["Modified"], step: "Pull: edited there", progress: null },
  media: { status: ["Interrupted"], step: "Push: edited here", progress: "stopped at 18,230 of 41,006, 44.5 %" },
  navigation: { status: ["Conflict"], step: "Decide: edited on both sides", progress: null },
  page: { status: ["Modified"], step: "Push: edited here", progress: null },
  product: { status: ["Failed"], step: "Push: edited here", progress: "stopped at 310 of 1,200, 25.8 %" },
  redirect: { status: ["New"], step: "First push: only here", progress: null },
  snippet: { status: ["No status"], step: "Nothing yet: on neither side", progress: null },
  tag: { status: ["Failed", "Conflict"], step: "Decide: edited on both sides", progress: null },
  translation: { status: ["Syncing"], step: "Pull: edited there", progress: "under way" },
};
