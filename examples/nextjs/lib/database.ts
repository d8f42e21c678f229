/*
 * The connections to PostgreSQL: one Prisma client for each process, over one
 * pool, and the settings that every connection of the application starts with.
 *
 * - TimeZone is UTC.  @prisma/adapter-pg sends and reads times as if it were, and
 *   would shift them in a session that has another one.
 * - syncstate.notify is `all`: what this application writes, checkpoints
 *   included, is told on the channel "syncstate".
 *
 * DATABASE_URL is the only setting of the application.  What it has in `options`
 * comes after these and so wins.
 */
import { PrismaPg } from "@prisma/adapter-pg";
import { Pool, type ClientConfig, type PoolConfig } from "pg";

import { PrismaClient, type Prisma } from "@/generated/prisma/client";

/** What a query can be sent to: the client, or a transaction of it. */
export type Queryable = Pick<Prisma.TransactionClient, "$queryRaw" | "$executeRaw">;

const SESSION_OPTIONS = "-c TimeZone=UTC -c syncstate.notify=all";

export function connectionConfig(databaseUrl = process.env.DATABASE_URL): ClientConfig {
  if (!databaseUrl) {
    throw new Error("DATABASE_URL is not set");
  }
  const url = new URL(databaseUrl);
  const given = url.searchParams.get("options") ?? process.env.PGOPTIONS ?? "";
  // node-postgres lets the URL's own parameters win: they have to be joined there.
  url.searchParams.set("options", `${SESSION_OPTIONS} ${given}`.trim());
  return { connectionString: url.href, application_name: "syncstate example" };
}

export function createPrismaClient(config: PoolConfig = connectionConfig()): PrismaClient {
  // A connection that breaks while it is idle is replaced; nothing else is lost.
  const pool = new Pool(config).on("error", () => undefined);
  return new PrismaClient({ adapter: new PrismaPg(pool, { disposeExternalPool: true }) });
}

/**
 * Keeps one object for the whole process, however often this module is loaded:
 * Next.js bundles it several times, and again after an edit in development.
 */
export function processWide<T>(name: string, create: () => T): T {
  const store = globalThis as unknown as Record<symbol, T | undefined>;
  const key = Symbol.for(`syncstate.example.${name}`);
  return (store[key] ??= create());
}

export function prisma(): PrismaClient {
  return processWide("prisma", createPrismaClient);
}
