/*
 * Conflicts: both sides have moved since the last sync, each from its own base.
 * The extension compares three ways, logs what collides, and settles it by moving
 * bases, so that the next deployment does what was decided.
 */
import type { ContentType } from "../content/ContentType";
import type { ChangeDetector } from "./ChangeDetector";
import type { SyncStateManager } from "./state/SyncStateManager";
import type { SyncConflict, SyncDelta, SyncState } from "./types";

export class ConflictDetector {
  readonly #states: SyncStateManager;
  readonly #changes: ChangeDetector;

  constructor(states: SyncStateManager, changes: ChangeDetector) {
    this.#states = states;
    this.#changes = changes;
  }

  /** Whether both sides as they are would collide.  Records nothing. */
  async wouldConflict(content: ContentType): Promise<boolean> {
    return this.#states.transaction(async (tx, states) =>
      isConflict(await states.calculateDelta(content.typeKey, await content.measure(tx))));
  }

  /** Looks, records, and returns the conflict as it was logged, or null. */
  async detect(content: ContentType): Promise<SyncConflict | null> {
    const delta = await this.#changes.detect(content);
    return isConflict(delta) ? this.find(content.typeKey) : null;
  }

  /** The open conflict of a key. */
  async find(typeKey: string): Promise<SyncConflict | null> {
    return (await this.#states.getOpenConflicts(typeKey))[0] ?? null;
  }

  async open(): Promise<SyncConflict[]> {
    return this.#states.getOpenConflicts();
  }

  /**
   * Settles the conflict that somebody has looked at; if it has been settled
   * meanwhile, or the sides have moved on, it throws a PreconditionError.  `merged`
   * needs the hash of the third version, which has been written to our side.
   */
  async resolve(
    conflict: Pick<SyncConflict, "typeKey" | "conflictNumber">,
    resolution: "local" | "remote" | "merged",
    mergedHash?: string,
  ): Promise<SyncState> {
    const { typeKey, conflictNumber } = conflict;
    return this.#states.resolveConflict(typeKey, resolution, { conflictNumber, mergedHash });
  }
}

export function isConflict({ action, detail }: Pick<SyncDelta, "action" | "detail">): boolean {
  return action === "CONFLICT" || (action === "INITIAL_SYNC" && detail === "conflict");
}
