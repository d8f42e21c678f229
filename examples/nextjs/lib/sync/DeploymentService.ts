/*
 * Brings both sides of each content type together, one type after the other.
 *
 *	look	measure, record what was seen, take the key: one transaction
 *	copy	each batch with its checkpoint: one transaction
 *	mark	compare both sides and record the sync: one transaction
 *
 * or, for a content type that is `atomic`, copy and mark in one.  Whatever stops a
 * run, the checkpoint says exactly what was copied.  What goes wrong with one type
 * is recorded in the history of its runs and does not stop the others.
 *
 * While a run copies, its target is its own.  The source may be edited: what is
 * marked as synced is what was copied, so that a later look finds the edit.
 */
import type { ContentType, Direction } from "../content/ContentType";
import type { Queryable } from "../database";
import { isConflict } from "./ConflictDetector";
import { HeldError, NotFoundError, SupersededError } from "./errors";
import { toProgress, type Progress } from "./progress";
import type { RunOptions, SyncStateManager } from "./state/SyncStateManager";
import type { SyncDelta, SyncRun, SyncState } from "./types";

export type DeploymentResult = { typeKey: string } & (
  /** `syncStatus` is `modified` if an edit was seen meanwhile. */
  | { outcome: "synced"; direction: Direction; syncStatus: SyncState["syncStatus"]; resumedAt: Progress | null }
  | { outcome: "unchanged" }
  /** Somebody has to decide: see ConflictDetector. */
  | { outcome: "conflict"; detail: SyncDelta["detail"] }
  /** Another run is at work. */
  | { outcome: "held"; error: Error }
  /** Another run has taken over; this one has stopped. */
  | { outcome: "superseded"; error: Error }
  | { outcome: "failed"; error: Error }
);

type Work = { run: SyncRun; direction: Direction };

/** The source changed while it was copied, and the target is neither the old nor the new. */
export class ContentMovedError extends Error {}

const ROUNDS = 3;

export class DeploymentService {
  readonly #states: SyncStateManager;
  readonly #runOptions: RunOptions;

  constructor(states: SyncStateManager, runOptions: RunOptions = {}) {
    this.#states = states;
    this.#runOptions = { owner: "deployment", leaseSeconds: 60, ...runOptions };
  }

  async deployAll(contents: Iterable<ContentType>): Promise<DeploymentResult[]> {
    const results: DeploymentResult[] = [];
    for (const content of contents) {
      results.push(await this.deploy(content));
    }
    return results;
  }

  async deploy(content: ContentType): Promise<DeploymentResult> {
    const { typeKey } = content;
    let work: Work | DeploymentResult;
    try {
      work = await this.#look(content);
    } catch (error) {
      return this.#notBegun(typeKey, asError(error));
    }
    if (!("run" in work)) {
      return work;
    }
    try {
      const state = content.atomic ? await this.#copyAtOnce(content, work) : await this.#copyInBatches(content, work);
      return {
        typeKey, outcome: "synced", direction: work.direction, syncStatus: state.syncStatus,
        resumedAt: startOf(work.run),
      };
    } catch (error) {
      return this.#broken(content, work.run, asError(error));
    }
  }

  // Look

  async #look(content: ContentType): Promise<Work | DeploymentResult> {
    return this.#states.transaction(async (tx, states) => {
      const state = await states.getSyncState(content.typeKey);
      const stopped = state?.syncStatus === "syncing" || state?.syncStatus === "failed";
      const progress = stopped ? toProgress(state.syncProgress) : null;
      return progress
        ? this.#resume(content, progress.direction, tx, states)
        : this.#begin(content, stopped, tx, states);
    });
  }

  async #begin(
    content: ContentType, stopped: boolean, tx: Queryable, states: SyncStateManager,
  ): Promise<Work | DeploymentResult> {
    const { typeKey } = content;
    const delta = await states.observe(typeKey, await content.measure(tx));
    const direction = neededDirection(delta);
    if (direction) {
      return { run: await states.beginSync(typeKey, this.#runOptions), direction };
    }
    if (isConflict(delta)) {
      return { typeKey, outcome: "conflict", detail: delta.detail };
    }
    if (stopped) {
      // It was put right by other means, after a failure.
      await states.markAsSynced(typeKey, delta.localHash, delta.remoteHash);
    }
    return { typeKey, outcome: "unchanged" };
  }

  /**
   * Only the side that is read is looked at: the other one is half a copy.  If it is
   * not what the old run saw, the new one is told (`contentMoved`).
   */
  async #resume(content: ContentType, direction: Direction, tx: Queryable, states: SyncStateManager): Promise<Work> {
    const { localHash, remoteHash } = await content.measure(tx);
    await states.observe(content.typeKey, direction === "push" ? { localHash } : { remoteHash });
    return { run: await states.resumeSync(content.typeKey, this.#runOptions), direction };
  }

  // Copy

  async #copyInBatches(content: ContentType, { run, direction }: Work): Promise<SyncState> {
    let aim = direction === "push" ? run.localHash : run.remoteHash;
    let progress = startOf(run);
    for (let round = 1; ; round++) {
      progress ??= await this.#states.transaction((tx) => beginning(content, direction, tx));
      for (let more = true; more;) {
        const from: Progress = progress;
        const upto = await this.#states.transaction((tx, states) => this.#batch(content, run, from, tx, states));
        progress = next(from, upto);
        more = upto !== null;
      }
      try {
        return await this.#states.transaction((tx, states) => this.#mark(content, run, direction, aim, tx, states));
      } catch (error) {
        if (!(error instanceof ContentMovedError) || round === ROUNDS) {
          throw error;
        }
      }
      // Once more from the beginning, towards what the source is now.
      aim = await this.#states.transaction(async (tx) => sides(await content.measure(tx), direction).source);
      progress = null;
    }
  }

  async #copyAtOnce(content: ContentType, { run, direction }: Work): Promise<SyncState> {
    const aim = direction === "push" ? run.localHash : run.remoteHash;
    const timeout = 1_000 * (this.#runOptions.leaseSeconds ?? 60);
    return this.#states.transaction(async (tx, states) => {
      let progress = await beginning(content, direction, tx);
      for (let more = true; more;) {
        const upto = await content.copyBatch(tx, direction, progress.after);
        progress = next(progress, upto);
        more = upto !== null;
      }
      return this.#mark(content, run, direction, aim, tx, states);
    }, { timeout });
  }

  /** Both or neither: a run that was superseded is refused its checkpoint, and so its batch. */
  async #batch(
    content: ContentType, run: SyncRun, progress: Progress, tx: Queryable, states: SyncStateManager,
  ): Promise<string | null> {
    const upto = await content.copyBatch(tx, progress.direction, progress.after);
    await states.checkpoint(run.typeKey, run.runId, next(progress, upto), this.#runOptions);
    return upto;
  }

  /**
   * What was copied is marked.  It is what the source is now, or what it was when
   * the run set out; then an edit has come after its batch, and stays to be done.
   */
  async #mark(
    content: ContentType, run: SyncRun, direction: Direction, aim: string | null, tx: Queryable, states: SyncStateManager,
  ): Promise<SyncState> {
    const { source, target } = sides(await content.measure(tx), direction);
    if (target !== source && target !== aim) {
      throw new ContentMovedError("the content was edited while it was copied");
    }
    return states.markAsSynced(run.typeKey, target, target, run.runId);
  }

  // Failure

  async #notBegun(typeKey: string, error: Error): Promise<DeploymentResult> {
    if (error instanceof HeldError || error instanceof NotFoundError) {
      // A live run has it, or has just resumed and finished it.
      return { typeKey, outcome: "held", error };
    }
    await quietly(() => this.#states.transaction(async (_tx, states) => {
      const run = await states.beginSync(typeKey, this.#runOptions);
      await states.failSync(typeKey, run.runId, { error: error.message });
    }));
    return { typeKey, outcome: "failed", error };
  }

  /** The transaction that failed is rolled back.  If not even this can be recorded, the lease ends by itself. */
  async #broken(content: ContentType, run: SyncRun, error: Error): Promise<DeploymentResult> {
    const { typeKey } = content;
    if (error instanceof SupersededError) {
      return { typeKey, outcome: "superseded", error };
    }
    await quietly(() => content.atomic
      ? this.#states.rollbackPartialSync(typeKey, run.runId, { error: error.message })
      : this.#states.failSync(typeKey, run.runId, { error: error.message }));
    return { typeKey, outcome: "failed", error };
  }
}

function neededDirection({ action, detail }: SyncDelta): Direction | null {
  if (action === "PUSH" || (action === "INITIAL_SYNC" && detail === "push")) {
    return "push";
  }
  return action === "PULL" || (action === "INITIAL_SYNC" && detail === "pull") ? "pull" : null;
}

/** Where a run goes on; null: from the beginning. */
function startOf(run: SyncRun): Progress | null {
  return run.contentMoved === false ? toProgress(run.syncProgress) : null;
}

async function beginning(content: ContentType, direction: Direction, db: Queryable): Promise<Progress> {
  return { direction, step: 0, total: await content.countBatches(db, direction), after: "" };
}

function next(progress: Progress, upto: string | null): Progress {
  // There may be more batches than were counted: the content grows meanwhile.
  const step = upto === null ? Math.max(progress.total, progress.step + 1) : progress.step + 1;
  return { ...progress, step, total: Math.max(progress.total, step), after: upto ?? progress.after };
}

function sides({ localHash, remoteHash }: { localHash: string | null; remoteHash: string | null }, direction: Direction) {
  return direction === "push"
    ? { source: localHash, target: remoteHash }
    : { source: remoteHash, target: localHash };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

async function quietly(work: () => Promise<unknown>): Promise<void> {
  await work().catch(() => undefined);
}
