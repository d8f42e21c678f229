/*
 * From rows to objects.  A query asks for `to_jsonb(row)`: one value, whatever the
 * row type, in which a time keeps its microseconds and a 64-bit number is not
 * needed.  Here its keys become camelCase and its times UTC.
 */
import type { Instant, Json, SyncConflict, SyncDelta, SyncRun, SyncState, SyncStatePatch } from "../types";

export type Row = { [key: string]: Json };

const TIMES = new Set([
  "createdAt", "updatedAt", "lastSyncAt", "leaseExpiresAt", "startedAt", "finishedAt", "detectedAt",
  "resolvedAt", "interruptedSince", "generatedAt",
]);

export function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * A time as JSON has it, with the offset of the session, in UTC with six digits.
 * Years that JavaScript cannot count are left as they are.
 */
export function toInstant(time: string): Instant {
  const fraction = /\.(\d{1,6})/.exec(time)?.[1] ?? "";
  const seconds = Date.parse(time.replace(/\.\d+/, ""));
  if (Number.isNaN(seconds)) {
    return time;
  }
  return new Date(seconds).toISOString().replace(/\.\d+Z$/, `.${fraction.padEnd(6, "0")}Z`);
}

/** A row's own keys become camelCase; what is inside a checkpoint stays as it is. */
export function fromRow(row: Row): Row {
  const object: Row = {};
  for (const [column, value] of Object.entries(row)) {
    const name = camelCase(column);
    object[name] = typeof value === "string" && TIMES.has(name) ? toInstant(value) : value;
  }
  return object;
}

export function toSyncState(row: Row): SyncState {
  const { changedXid: _, ...state } = fromRow(row);
  return state as unknown as SyncState;
}

export function toSyncRun(row: Row): SyncRun {
  return fromRow(row) as unknown as SyncRun;
}

export function toSyncDelta(row: Row): SyncDelta {
  return fromRow(row) as unknown as SyncDelta;
}

export function toSyncConflict(row: Row): SyncConflict {
  return fromRow(row) as unknown as SyncConflict;
}

/** A state as `sync_state_update` and `sync_state_compare` take it. */
export function toStateJson(state: SyncStatePatch | Partial<SyncState>): string {
  const row: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(state)) {
    row[snakeCase(name)] = value;
  }
  return JSON.stringify(row);
}
