/*
 * What the library, the endpoints and the page tell each other.
 *
 * The names are those of the extension in camelCase.  A time is a string: ISO
 * 8601 in UTC with all six digits of PostgreSQL's microseconds, which a Date
 * would cut to three; then `updated_at > since` would find the very row that
 * `since` was read from.  A hash is a string, or null for a side that is absent.
 *
 * Nothing here runs: the page can import it without drawing in the server's part.
 */

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** ISO 8601 in UTC, such as `2026-11-22T11:18:44.042030Z`. */
export type Instant = string;

export const SYNC_STATUSES = ["new", "modified", "conflict", "in_sync", "syncing", "failed"] as const;
export type SyncStatus = (typeof SYNC_STATUSES)[number];

export const CONFLICT_STATUSES = ["none", "detected", "resolved"] as const;
export type ConflictStatus = (typeof CONFLICT_STATUSES)[number];

export type SyncAction = "INITIAL_SYNC" | "NO_CHANGE" | "PUSH" | "PULL" | "CONFLICT";

/** What the action is about; see "Deciding" in the extension's README. */
export type SyncDetail =
  | "empty" | "push" | "pull" | "adopt" | "conflict"
  | "unchanged" | "converged" | "both_deleted"
  | "create" | "edit" | "delete"
  | "edit/edit" | "edit/delete" | "delete/edit";

export type ConflictKind = "create/create" | "edit/edit" | "edit/delete" | "delete/edit";

/** A row of `syncstate.sync_state`, all of it but the bookkeeping of the feed. */
export interface SyncState {
  typeKey: string;
  localHash: string | null;
  remoteHash: string | null;
  lastSyncedHash: string | null;
  lastSyncedRemoteHash: string | null;
  lastSyncAt: Instant | null;
  syncStatus: SyncStatus | null;
  conflictStatus: ConflictStatus | null;
  syncProgress: Json;
  createdAt: Instant;
  updatedAt: Instant;
  runId: string | null;
  runNumber: number;
  leaseExpiresAt: Instant | null;
}

/** What `updateSyncState` can set: a missing field is kept, null sets NULL. */
export interface SyncStatePatch {
  localHash?: string | null;
  remoteHash?: string | null;
  lastSyncedHash?: string | null;
  lastSyncedRemoteHash?: string | null;
  lastSyncAt?: Instant | Date | null;
  syncStatus?: SyncStatus | null;
  conflictStatus?: ConflictStatus | null;
  syncProgress?: Json;
}

/** A row of `syncstate.sync_run`. */
export interface SyncRun {
  typeKey: string;
  runNumber: number;
  /** The token by which checkpoints and the end of the run are accepted. */
  runId: string;
  owner: string | null;
  backendPid: number | null;
  startedAt: Instant;
  finishedAt: Instant | null;
  outcome: "synced" | "failed" | "rolled_back" | "superseded" | null;
  error: string | null;
  /** The checkpoint that the run started from; null: from the beginning. */
  syncProgress: Json;
  /** Whether a hash has changed since that checkpoint, so that offsets in it may mislead. */
  contentMoved: boolean | null;
  localHash: string | null;
  remoteHash: string | null;
}

export interface SyncDelta {
  typeKey: string;
  action: SyncAction;
  detail: SyncDetail;
  localHash: string | null;
  remoteHash: string | null;
  lastSyncedHash: string | null;
  lastSyncedRemoteHash: string | null;
}

/**
 * What has just been seen of both sides: a hash, null for "it is not there", or
 * nothing for "not looked at", in which case the stored hash counts.
 */
export interface Observation {
  localHash?: string | null;
  remoteHash?: string | null;
}

export interface FieldChange {
  field: string;
  before: string | null;
  after: string | null;
}

/** A row of `syncstate.sync_conflict`. */
export interface SyncConflict {
  typeKey: string;
  conflictNumber: number;
  kind: ConflictKind;
  baseLocalHash: string | null;
  baseRemoteHash: string | null;
  localHash: string | null;
  remoteHash: string | null;
  detectedAt: Instant;
  resolvedAt: Instant | null;
  resolution: "local" | "remote" | "merged" | "vanished" | "synced" | null;
  resolvedHash: string | null;
  resolvedBy: string | null;
}

/** One content type as the deployment page shows it. */
export interface OverviewRow {
  typeKey: string;
  syncStatus: SyncStatus | null;
  conflictStatus: ConflictStatus | null;
  action: SyncAction;
  detail: SyncDetail;
  lastSyncAt: Instant | null;
  /** Seconds since the last sync, when the report was made. */
  ageSeconds: number | null;
  /** Whose run has the key: of the run in hand, interrupted or not. */
  owner: string | null;
  /**
   * Until when that run counts as alive.  Nothing is written when it ends, so
   * nobody is notified: who shows it has to look again at that time.
   */
  leaseExpiresAt: Instant | null;
  /** Of a checkpoint with the numbers `step` and `total`. */
  step: number | null;
  total: number | null;
  percent: number | null;
  interrupted: boolean;
  interruptedReason: "no_lease" | "lease_expired" | null;
  interruptedSince: Instant | null;
  /** Of the open conflict. */
  conflictKind: ConflictKind | null;
}

export interface SyncStatusSummary {
  total: number;
  /** Only those that occur; the key of a NULL status is `unknown`. */
  byStatus: Partial<Record<SyncStatus | "unknown", number>>;
  /** Content types with an open conflict. */
  conflicts: number;
  interrupted: number;
  /** Runs in hand that are alive. */
  running: number;
}

/** `GET /api/v1/sync/status` */
export interface SyncStatusReport {
  generatedAt: Instant;
  summary: SyncStatusSummary;
  types: OverviewRow[];
}

/** Event `change` of `GET /api/v1/sync/events`; the status is null after a deletion, too. */
export interface ChangeEvent {
  typeKey: string;
  syncStatus: SyncStatus | null;
}

export type ErrorCode =
  | "invalid_input" | "not_found" | "held" | "superseded" | "precondition"
  | "retry" | "forbidden" | "unavailable" | "internal";

/** The body of every answer that is not 200. */
export interface ErrorBody {
  error: { code: ErrorCode; message: string; field?: string };
}
