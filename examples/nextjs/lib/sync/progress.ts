/*
 * What this application keeps in a checkpoint.  `step` and `total` are what the
 * extension's overview makes a percentage of; where to go on, and which way, is in
 * `after` and `direction`: a later run cannot find the direction out, since the side
 * that was being written is half done by then.
 */
import type { Direction } from "../content/ContentType";
import type { Json } from "./types";

export type Progress = {
  direction: Direction;
  step: number;
  total: number;
  /** The last position that was copied. */
  after: string;
};

/** A checkpoint as one of ours, or null: others may have written something else. */
export function toProgress(checkpoint: Json | undefined): Progress | null {
  const direction = directionOf(checkpoint);
  const { step, total, after } = (checkpoint ?? {}) as { [key: string]: Json };
  return direction && typeof step === "number" && typeof total === "number" && typeof after === "string"
    ? { direction, step, total, after }
    : null;
}

export function directionOf(checkpoint: Json | undefined): Direction | null {
  const direction = typeof checkpoint === "object" && checkpoint !== null && !Array.isArray(checkpoint)
    ? checkpoint.direction
    : undefined;
  return direction === "push" || direction === "pull" ? direction : null;
}
