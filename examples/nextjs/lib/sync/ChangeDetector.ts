/*
 * Looks at the content and records what it sees; the extension derives what is to
 * be done.  To be called after edits, or now and then.
 */
import type { ContentType } from "../content/ContentType";
import { directionOf } from "./progress";
import type { SyncStateManager } from "./state/SyncStateManager";
import type { SyncDelta } from "./types";

export type Detection = { typeKey: string; delta: SyncDelta } | { typeKey: string; error: unknown };

export class ChangeDetector {
  readonly #states: SyncStateManager;

  constructor(states: SyncStateManager) {
    this.#states = states;
  }

  /** One content type after the other.  One that cannot be measured does not keep the others waiting. */
  async detectAll(contents: Iterable<ContentType>): Promise<Detection[]> {
    const detections: Detection[] = [];
    for (const content of contents) {
      try {
        detections.push({ typeKey: content.typeKey, delta: await this.detect(content) });
      } catch (error) {
        detections.push({ typeKey: content.typeKey, error });
      }
    }
    return detections;
  }

  /**
   * Measures and records in one transaction.  While a run is at work, or has stopped
   * half-way, the side that it writes is half a copy, which is not to be recorded:
   * then only the side that it reads is looked at, and neither while it has not
   * told which that is.
   */
  async detect(content: ContentType): Promise<SyncDelta> {
    return this.#states.transaction(async (tx, states) => {
      const { typeKey } = content;
      const state = await states.getSyncState(typeKey);
      const direction = directionOf(state?.syncProgress);
      if (state?.syncStatus === "syncing" && !direction) {
        return states.calculateDelta(typeKey);
      }
      const { localHash, remoteHash } = await content.measure(tx);
      if ((state?.syncStatus === "syncing" || state?.syncStatus === "failed") && direction) {
        return states.observe(typeKey, direction === "push" ? { localHash } : { remoteHash });
      }
      return states.observe(typeKey, { localHash, remoteHash });
    });
  }
}
