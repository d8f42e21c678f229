/*
 * Listens on the channel "syncstate", with a connection of its own, and tells
 * whoever is interested.
 *
 *	ready	LISTEN is in force.  What changed before was not told: read everything.
 *	change	A key has changed.
 *	lost	The connection is gone; another one is being made.
 *
 * `isListening()` is true only while notifications are known to arrive: the
 * connection is up, and has proved it by an answer not long ago.  A network that
 * swallows packets without a word would otherwise look like a quiet one.  What was
 * sent before the answer has arrived before it, so nothing older than the last
 * proof is missing.
 *
 * LISTEN belongs to a session: this connection goes straight to the server, not
 * through a pooler in transaction mode.
 */
import { EventEmitter } from "node:events";
import { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import { Client, type ClientConfig, type Notification } from "pg";

import type { ChangeEvent, SyncStatus } from "../types";

interface Events {
  ready: [];
  change: [ChangeEvent];
  lost: [];
}

export interface ChangeListenerOptions {
  /** Milliseconds between two proofs, and for how long one is waited for. */
  heartbeat?: number;
  /** Milliseconds until the first attempt to connect again; it doubles up to `maxRetry`. */
  minRetry?: number;
  maxRetry?: number;
}

export class ChangeListener extends EventEmitter<Events> {
  readonly #config: ClientConfig;
  readonly #heartbeat: number;
  readonly #minRetry: number;
  readonly #maxRetry: number;
  readonly #stop = new AbortController();
  #provedAt = -Infinity;
  #up = false;
  #running: Promise<void> | undefined;

  constructor(config: ClientConfig, options: ChangeListenerOptions = {}) {
    super();
    this.setMaxListeners(0); // one for each open page
    this.#config = config;
    this.#heartbeat = options.heartbeat ?? 5_000;
    this.#minRetry = options.minRetry ?? 250;
    this.#maxRetry = options.maxRetry ?? 10_000;
  }

  isListening(): boolean {
    return this.#up && performance.now() - this.#provedAt < 2 * this.#heartbeat;
  }

  start(): this {
    this.#running ??= this.#run();
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let retry = this.#minRetry;
    while (!this.#stop.signal.aborted) {
      if (await this.#session()) {
        retry = this.#minRetry;
      }
      await delay(retry, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      retry = Math.min(retry * 2, this.#maxRetry);
    }
  }

  /** One connection, from its beginning to its end; whether it came to listening. */
  async #session(): Promise<boolean> {
    const socket = new Socket();
    const client = new Client({
      ...this.#config,
      stream: () => socket,
      application_name: "syncstate example: listener",
      connectionTimeoutMillis: this.#heartbeat,
      query_timeout: this.#heartbeat,
      keepAlive: true,
    });
    const ended = new AbortController();
    const over = () => {
      ended.abort();
      this.#lose();
    };
    client.on("error", over).on("end", over).on("notification", (message) => this.#tell(message));
    this.#stop.signal.addEventListener("abort", over, { once: true });

    let listened = false;
    try {
      await client.connect();
      await this.#prove(client, "LISTEN syncstate");
      listened = true;
      if (!ended.signal.aborted) {
        this.#up = true;
        this.emit("ready");
      }
      while (!ended.signal.aborted) {
        await delay(this.#heartbeat, undefined, { signal: ended.signal });
        await this.#prove(client, "SELECT 1");
      }
    } catch {
      // Whatever it was, the connection is of no use any more.
    } finally {
      this.#stop.signal.removeEventListener("abort", over);
      over();
      socket.destroy();
    }
    return listened;
  }

  /** The time of a proof is that of the question: what came later may be on its way. */
  async #prove(client: Client, query: string): Promise<void> {
    const askedAt = performance.now();
    await client.query(query);
    this.#provedAt = askedAt;
  }

  #lose(): void {
    if (this.#up) {
      this.#up = false;
      this.emit("lost");
    }
  }

  #tell(message: Notification): void {
    const change = parseChange(message.payload);
    if (message.channel === "syncstate" && change) {
      this.emit("change", change);
    }
  }
}

/** Anybody may notify the channel: what is not as the extension writes it is passed over. */
export function parseChange(payload: string | undefined): ChangeEvent | null {
  try {
    const { type_key, sync_status } = JSON.parse(payload ?? "") as { type_key?: unknown; sync_status?: unknown };
    if (typeof type_key === "string" && (typeof sync_status === "string" || sync_status === null)) {
      return { typeKey: type_key, syncStatus: sync_status as SyncStatus | null };
    }
  } catch {
    // no JSON
  }
  return null;
}
