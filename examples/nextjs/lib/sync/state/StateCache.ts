/*
 * Of the states that are asked for again and again, the latest: a small cache
 * that is only used while somebody listens to what changes.
 *
 * What keeps it right:
 *
 * - It answers only while `isFresh()`, which is the ChangeListener's word that
 *   notifications arrive.  A gap in listening empties it, since what was told
 *   meanwhile was told to nobody.
 * - A state that is being read when its key changes may be the one before the
 *   change.  So each read in progress is noted under its key, a change strikes
 *   those notes out, and a read whose note is gone leaves nothing behind.  The
 *   server notifies after the commit, so a read that begins after the
 *   notification sees the change.
 * - A writer that does not notify (`syncstate.notify` is a setting of sessions,
 *   and anybody's to change) is noticed after `maxAge` at the latest.
 *
 * Nothing is kept of unknown keys, so that asking for many of them costs no room.
 */
import type { SyncState } from "../types";

export interface StateCacheOptions {
  /** How many states are kept; the one that was not asked for the longest goes first. */
  capacity?: number;
  /** Milliseconds. */
  maxAge?: number;
  isFresh: () => boolean;
}

interface Entry {
  state: SyncState;
  readAt: number;
}

export class StateCache {
  readonly #capacity: number;
  readonly #maxAge: number;
  readonly #isFresh: () => boolean;
  /** In the order in which they were last asked for. */
  readonly #entries = new Map<string, Entry>();
  readonly #reads = new Map<string, Set<symbol>>();

  hits = 0;
  misses = 0;

  constructor(options: StateCacheOptions) {
    this.#capacity = options.capacity ?? 500;
    this.#maxAge = options.maxAge ?? 60_000;
    this.#isFresh = options.isFresh;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The state of a key: the kept one, or else what `read` gives. */
  async get(typeKey: string, read: () => Promise<SyncState | null>): Promise<SyncState | null> {
    const kept = this.#lookUp(typeKey);
    if (kept) {
      this.hits++;
      return structuredClone(kept);
    }
    this.misses++;
    const note = this.#noteRead(typeKey);
    try {
      const readAt = performance.now();
      const state = await read();
      if (state && this.#isFresh() && this.#reads.get(typeKey)?.has(note)) {
        this.#keep(typeKey, { state: structuredClone(state), readAt });
      }
      return state;
    } finally {
      this.#strikeOut(typeKey, note);
    }
  }

  /** A key has changed, or may have. */
  drop(typeKey: string): void {
    this.#entries.delete(typeKey);
    this.#reads.delete(typeKey);
  }

  /** Everything may have changed. */
  clear(): void {
    this.#entries.clear();
    this.#reads.clear();
  }

  #lookUp(typeKey: string): SyncState | undefined {
    const entry = this.#entries.get(typeKey);
    if (!entry || !this.#isFresh()) {
      return undefined;
    }
    this.#entries.delete(typeKey);
    if (performance.now() - entry.readAt >= this.#maxAge) {
      return undefined;
    }
    this.#entries.set(typeKey, entry);
    return entry.state;
  }

  #keep(typeKey: string, entry: Entry): void {
    this.#entries.delete(typeKey);
    this.#entries.set(typeKey, entry);
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#capacity) {
        break;
      }
      this.#entries.delete(oldest);
    }
  }

  #noteRead(typeKey: string): symbol {
    const note = Symbol();
    const notes = this.#reads.get(typeKey) ?? new Set();
    this.#reads.set(typeKey, notes.add(note));
    return note;
  }

  #strikeOut(typeKey: string, note: symbol): void {
    const notes = this.#reads.get(typeKey);
    if (notes?.delete(note) && notes.size === 0) {
      this.#reads.delete(typeKey);
    }
  }
}
