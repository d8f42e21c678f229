/*
 * What the detectors and the deployment have to know of a content type: how its
 * two sides are measured, and how one is made like the other.
 */
import type { Queryable } from "../database";

/** `push` makes the other side like ours, `pull` ours like the other. */
export type Direction = "push" | "pull";

export interface Hashes {
  /** Null: there is nothing on this side. */
  localHash: string | null;
  remoteHash: string | null;
}

export interface ContentType {
  readonly typeKey: string;

  /**
   * Copied in one transaction, which a failure undoes; or in batches, each with its
   * checkpoint, where a failure stops and the next run goes on.
   */
  readonly atomic: boolean;

  /** Both sides at one moment.  Sides that are equal have equal hashes. */
  measure(db: Queryable): Promise<Hashes>;

  countBatches(db: Queryable, direction: Direction): Promise<number>;

  /**
   * Makes what follows `after` in the target like the source, up to some position;
   * returns that, or null if this was the last batch.  "" is before everything.
   * Does no harm when it is repeated.
   */
  copyBatch(db: Queryable, direction: Direction, after: string): Promise<string | null>;
}
