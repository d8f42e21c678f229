/*
 * The functions of the extension, as methods.  Each is one call of one function,
 * in one statement; what is to be decided, the extension decides.
 *
 * Errors are those of ../errors.  After an error inside a transaction, PostgreSQL
 * accepts nothing more in it: let the error leave the transaction.
 *
 * `within(tx)` is the same for a transaction of the application's, so that the
 * state commits with the data or not at all.  In a transaction nothing is read
 * from the cache or kept in it: it may see what nobody else sees yet, or what is
 * over already.  `transaction` begins one, and drops what was written in it from
 * the cache before it returns.  (After a transaction that was begun otherwise, this
 * process may read the earlier state until the notification has come, which is a
 * matter of milliseconds.)
 */
import { Prisma, type PrismaClient } from "@/generated/prisma/client";

import { InvalidInputError, toSyncError } from "../errors";
import type {
  FieldChange, Instant, Json, Observation, SyncConflict, SyncDelta, SyncRun, SyncState, SyncStatePatch, SyncStatus,
} from "../types";
import { camelCase, toInstant, toStateJson, toSyncConflict, toSyncDelta, toSyncRun, toSyncState, type Row } from "./rows";
import type { StateCache } from "./StateCache";

export interface RunOptions {
  /** How long the run has its key without a checkpoint; else `syncstate.lease`. */
  leaseSeconds?: number;
  /** For people to read; else the connection's application_name. */
  owner?: string;
}

export interface EndOptions {
  /** For the history of runs. */
  error?: string;
  /** Revokes a live run whose id was not given. */
  force?: boolean;
}

export interface TransactionOptions {
  isolationLevel?: Prisma.TransactionIsolationLevel;
  /** Milliseconds after which Prisma rolls it back; a lease has to be longer. */
  timeout?: number;
  /** Milliseconds to wait for a connection. */
  maxWait?: number;
}

export class SyncStateManager {
  readonly #db: PrismaClient | Prisma.TransactionClient;
  readonly #cache: StateCache | undefined;
  /** The keys that were written, where this is a part of a transaction. */
  readonly #written: Set<string> | undefined;

  constructor(db: PrismaClient | Prisma.TransactionClient, cache?: StateCache, written?: Set<string>) {
    this.#db = db;
    this.#cache = cache;
    this.#written = written;
  }

  // Transactions

  /** The same calls as a part of a transaction of Prisma's. */
  within(tx: Prisma.TransactionClient): SyncStateManager {
    return new SyncStateManager(tx);
  }

  /** `$transaction`, whose work gets these calls too.  In a transaction it is a savepoint. */
  async transaction<T>(
    work: (tx: Prisma.TransactionClient, states: SyncStateManager) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T> {
    const written = this.#written ?? new Set<string>();
    try {
      return await this.#db.$transaction((tx) => work(tx, new SyncStateManager(tx, undefined, written)), options);
    } catch (error) {
      throw toSyncError(error);
    } finally {
      // Whether it was committed is not known after every error.
      written.forEach((typeKey) => this.#cache?.drop(typeKey));
    }
  }

  // Recording

  /** Sets what the patch has and keeps the rest; makes a key that is unknown. */
  async updateSyncState(typeKey: string, patch: SyncStatePatch): Promise<SyncState> {
    return toSyncState(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(s) AS value FROM sync_state_update(${typeKey}, ${toStateJson(patch)}::jsonb) AS s`));
  }

  /** Records what was seen of both sides, and derives the status; what is to be done now. */
  async observe(typeKey: string, seen: Observation = {}): Promise<SyncDelta> {
    return toSyncDelta(await this.#write(typeKey, Prisma.sql`
      SELECT sync_state_observe(${typeKey}, ${seen.localHash ?? null}, ${seen.remoteHash ?? null},
        ${seen.localHash === null}, ${seen.remoteHash === null}) AS value`));
  }

  /**
   * Both sides are as these hashes say (null: absent).  With the id of the run that
   * has brought them there, an edit which was observed meanwhile is kept, and
   * the status says so.  Can be repeated if the answer was lost.
   */
  async markAsSynced(
    typeKey: string, localHash: string | null, remoteHash: string | null, runId?: string,
  ): Promise<SyncState> {
    return toSyncState(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(s) AS value
      FROM sync_state_mark_synced(${typeKey}, ${localHash}, ${remoteHash}, ${runId ?? null}::uuid) AS s`));
  }

  /** Settles a conflict: ours counts, theirs does, or a third version that was made of both. */
  async resolveConflict(
    typeKey: string, resolution: "local" | "remote" | "merged",
    options: { mergedHash?: string; conflictNumber?: number } = {},
  ): Promise<SyncState> {
    return toSyncState(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(s) AS value
      FROM sync_state_resolve(${typeKey}, ${resolution}, ${options.mergedHash ?? null},
        ${options.conflictNumber ?? null}::int) AS s`));
  }

  /** Deletes a key with its history; false if it was unknown. */
  async forgetSyncState(typeKey: string, force = false): Promise<boolean> {
    return await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(sync_state_forget(${typeKey}, ${force})) AS value`) as Json as boolean;
  }

  // Reading

  /**
   * Null if the key is unknown.  May come from the cache, where there is one, unless
   * `fresh` asks for the database's own answer.
   */
  async getSyncState(typeKey: string, { fresh = false } = {}): Promise<SyncState | null> {
    wellFormed(typeKey);
    const read = async () => {
      const [row] = await this.#rows(Prisma.sql`SELECT to_jsonb(s) AS value FROM sync_state_get(${typeKey}) AS s`);
      return row ? toSyncState(row) : null;
    };
    return this.#cache && !fresh ? this.#cache.get(typeKey, read) : read();
  }

  /** All, or those of a status, or whose keys begin like this; in key order. */
  async getAllSyncStates(filter: { syncStatus?: SyncStatus; prefix?: string } = {}): Promise<SyncState[]> {
    const rows = await this.#rows(Prisma.sql`
      SELECT to_jsonb(s) AS value FROM sync_state_list(${filter.syncStatus ?? null}, ${filter.prefix ?? null}) AS s
      ORDER BY s.type_key`);
    return rows.map(toSyncState);
  }

  /** The fields in which two states differ. */
  async compareSyncStates(before: Partial<SyncState>, after: Partial<SyncState>): Promise<FieldChange[]> {
    const rows = await this.#rows(Prisma.sql`
      SELECT to_jsonb(c) AS value
      FROM sync_state_compare(${toStateJson(before)}::jsonb, ${toStateJson(after)}::jsonb) AS c`);
    return rows.map((row) => ({ ...(row as unknown as FieldChange), field: camelCase(String(row.field)) }));
  }

  /**
   * The keys with a later `updatedAt`, in key order.  By the clock, and so blind to a
   * transaction that commits after somebody has looked; to follow changes without
   * missing one there is sync_state_changes.
   */
  async getContentTypesSince(since: Instant | Date): Promise<string[]> {
    return this.#keys(Prisma.sql`
      SELECT to_jsonb(key) AS value FROM sync_state_changed_since(${asText(since)}::timestamptz) AS key`);
  }

  /** What is to be done, by what is stored, or by what has just been seen.  Writes nothing. */
  async calculateDelta(typeKey: string, seen: Observation = {}): Promise<SyncDelta> {
    return toSyncDelta(await this.#row(Prisma.sql`
      SELECT sync_state_delta(${wellFormed(typeKey)}, ${seen.localHash ?? null}, ${seen.remoteHash ?? null},
        ${seen.localHash === null}, ${seen.remoteHash === null}) AS value`));
  }

  /** The conflicts that are open, of one key or of all. */
  async getOpenConflicts(typeKey?: string): Promise<SyncConflict[]> {
    const rows = await this.#rows(Prisma.sql`
      SELECT to_jsonb(c) AS value FROM syncstate.sync_conflict AS c
      WHERE c.resolved_at IS NULL AND (${typeKey ?? null}::text IS NULL OR c.type_key = ${typeKey ?? null})
      ORDER BY c.type_key`);
    return rows.map(toSyncConflict);
  }

  // Runs

  /** Takes a key; refused with HeldError while another run has it. */
  async beginSync(typeKey: string, options: RunOptions = {}): Promise<SyncRun> {
    return toSyncRun(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(r) AS value
      FROM sync_state_begin(${typeKey}, ${lease(options)}, ${options.owner ?? null}) AS r`));
  }

  /** Stores how far the run is and renews its lease; until when. */
  async checkpoint(typeKey: string, runId: string, progress: Json, options: RunOptions = {}): Promise<Instant> {
    const expiry = await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(sync_state_checkpoint(${typeKey}, ${runId}::uuid, ${JSON.stringify(progress)}::jsonb,
        ${lease(options)})) AS value`);
    return toInstant(String(expiry));
  }

  /** The keys whose run has stopped without a word.  Asked again and again: nothing is written when a lease ends. */
  async detectInterruptedSync(asOf?: Instant | Date): Promise<string[]> {
    return this.#keys(Prisma.sql`
      SELECT to_jsonb(key) AS value
      FROM sync_state_detect_interrupted(coalesce(${asOf ? asText(asOf) : null}::timestamptz, clock_timestamp())) AS key`);
  }

  /**
   * Takes an interrupted or failed run over: a new run, with an id of its own, which
   * goes on at the checkpoint in `syncProgress`.  NotFoundError if there is none.
   */
  async resumeSync(typeKey: string, options: RunOptions = {}): Promise<SyncRun> {
    return toSyncRun(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(r) AS value
      FROM sync_state_resume(${typeKey}, ${lease(options)}, ${options.owner ?? null}) AS r`));
  }

  /** Ends a run as failed; the next one goes on at its checkpoint. */
  async failSync(typeKey: string, runId?: string, options: EndOptions = {}): Promise<SyncState> {
    return toSyncState(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(s) AS value
      FROM sync_state_fail(${typeKey}, ${runId ?? null}::uuid, ${options.error ?? null}, ${options.force ?? false}) AS s`));
  }

  /** Ends a run as failed and discards its checkpoint; the next one starts from the beginning. */
  async rollbackPartialSync(typeKey: string, runId?: string, options: EndOptions = {}): Promise<SyncState> {
    return toSyncState(await this.#write(typeKey, Prisma.sql`
      SELECT to_jsonb(s) AS value
      FROM sync_state_rollback(${typeKey}, ${runId ?? null}::uuid, ${options.error ?? null}, ${options.force ?? false}) AS s`));
  }

  // Each query answers with one column, `value`.

  async #rows(query: Prisma.Sql): Promise<Row[]> {
    try {
      const rows = await this.#db.$queryRaw<{ value: Row }[]>(query);
      return rows.map((row) => row.value);
    } catch (error) {
      throw toSyncError(error);
    }
  }

  async #row(query: Prisma.Sql): Promise<Row> {
    const [row] = await this.#rows(query);
    return row as Row;
  }

  async #keys(query: Prisma.Sql): Promise<string[]> {
    return (await this.#rows(query)) as unknown[] as string[];
  }

  async #write(typeKey: string, query: Prisma.Sql): Promise<Row> {
    wellFormed(typeKey);
    try {
      return await this.#row(query);
    } finally {
      // After an error, too: the answer may have been lost, not the write.
      this.#cache?.drop(typeKey);
      this.#written?.add(typeKey);
    }
  }
}

/**
 * Half a surrogate pair cannot be sent: it would become U+FFFD on its way, and the
 * key another one.
 */
function wellFormed(typeKey: string): string {
  if (!typeKey.isWellFormed()) {
    throw new InvalidInputError("type_key is not well-formed Unicode");
  }
  return typeKey;
}

function lease({ leaseSeconds }: RunOptions): Prisma.Sql {
  return Prisma.sql`make_interval(secs => ${leaseSeconds ?? null}::float8)`;
}

function asText(time: Instant | Date): string {
  return typeof time === "string" ? time : time.toISOString();
}
