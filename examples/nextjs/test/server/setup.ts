/*
 * What the tests of the server's side share.  They run beside the built application
 * at BASE_URL, on the database at DATABASE_URL, which is not theirs alone: each
 * test works with keys of its own.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { Client } from "pg";

import { connectionConfig, createPrismaClient } from "@/lib/database";
import { SyncError } from "@/lib/sync/errors";
import { SyncStateManager } from "@/lib/sync/state/SyncStateManager";

export const prisma = createPrismaClient();
export const states = new SyncStateManager(prisma);

/** Another client: psql, a worker in another language. */
const other = new Client(connectionConfig());
await other.connect();

after(async () => {
  await other.end();
  await prisma.$disconnect();
});

export async function sql<Row extends object>(query: string, ...parameters: unknown[]): Promise<Row[]> {
  return (await other.query<Row>(query, parameters)).rows;
}

let keys = 0;

/** A key that nobody else uses. */
export function newKey(name = "key"): string {
  return `${name}-${process.pid}-${++keys}`;
}

export function baseUrl(): string {
  const url = process.env.BASE_URL;
  assert.ok(url, "BASE_URL is not set");
  return url;
}

/** Waits until something holds; fails if it does not in time. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, milliseconds = 10_000): Promise<void> {
  const deadline = performance.now() + milliseconds;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `in ${milliseconds} ms it did not come to this: ${what}`);
    await delay(10);
  }
}

type ErrorType<T extends SyncError> = abstract new (...parameters: never[]) => T;

/** The error that a promise is rejected with; it has to be of that type and SQLSTATE. */
export async function rejection<T extends SyncError>(
  promise: Promise<unknown>, type: ErrorType<T>, sqlState?: string,
): Promise<T> {
  const error = await promise.then(() => assert.fail(`nothing was refused; expected ${type.name}`), (reason: unknown) => reason);
  assert.ok(error instanceof type, `expected ${type.name}, got ${String(error)}`);
  assert.equal(error.sqlState, sqlState);
  return error;
}

/** Ends the lease of a run, as time would. */
export async function endLease(typeKey: string): Promise<void> {
  await sql("UPDATE syncstate.sync_state SET lease_expires_at = clock_timestamp() WHERE type_key = $1", typeKey);
}

/** A transaction that holds the row of a key until `release` is called. */
export async function holdRow(typeKey: string): Promise<{ release: () => Promise<void> }> {
  const client = new Client(connectionConfig());
  await client.connect();
  await client.query("BEGIN");
  await client.query("SELECT FROM syncstate.sync_state WHERE type_key = $1 FOR UPDATE", [typeKey]);
  return { release: () => client.end() };
}

export interface Deferred<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
}

/** A promise to be resolved from outside. */
export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
