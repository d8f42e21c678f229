/*
 * The content of this example: entries of several types, in one table for our
 * side and one for what is published.  Both are in this database, so that a batch
 * and its checkpoint are one transaction.
 */
import { Prisma } from "@/generated/prisma/client";

import type { Queryable } from "../database";
import type { ContentType, Direction, Hashes } from "./ContentType";

const OURS = Prisma.raw(`"entry"`);
const PUBLISHED = Prisma.raw(`"published_entry"`);

export interface EntriesOptions {
  batchSize?: number;
  atomic?: boolean;
}

export class Entries implements ContentType {
  readonly typeKey: string;
  readonly atomic: boolean;
  readonly #batchSize: number;

  constructor(typeKey: string, { batchSize = 500, atomic = false }: EntriesOptions = {}) {
    this.typeKey = typeKey;
    this.atomic = atomic;
    this.#batchSize = batchSize;
  }

  /** The database hashes the rows where they are; their order does not matter. */
  async measure(db: Queryable): Promise<Hashes> {
    const [hashes] = await db.$queryRaw<Hashes[]>`
      SELECT (SELECT CASE WHEN count(*) > 0 THEN sync_digest(slug, title, body) END
              FROM ${OURS} WHERE type_key = ${this.typeKey}) AS "localHash",
             (SELECT CASE WHEN count(*) > 0 THEN sync_digest(slug, title, body) END
              FROM ${PUBLISHED} WHERE type_key = ${this.typeKey}) AS "remoteHash"`;
    return hashes as Hashes;
  }

  async countBatches(db: Queryable, direction: Direction): Promise<number> {
    const { source } = tables(direction);
    const [{ rows } = { rows: 0 }] = await db.$queryRaw<{ rows: number }[]>`
      SELECT count(*)::int AS rows FROM ${source} WHERE type_key = ${this.typeKey}`;
    // The last batch has no end, for what the target has beyond it.
    return Math.floor(rows / this.#batchSize) + 1;
  }

  /** One statement, so that it works on one state of the source. */
  async copyBatch(db: Queryable, direction: Direction, after: string): Promise<string | null> {
    const { source, target } = tables(direction);
    const [{ upto } = { upto: null }] = await db.$queryRaw<{ upto: string | null }[]>`
      WITH batch AS (
        SELECT slug FROM ${source} WHERE type_key = ${this.typeKey} AND slug > ${after}
        ORDER BY slug LIMIT ${this.#batchSize}
      ), bound AS (
        SELECT CASE WHEN count(*) = ${this.#batchSize} THEN max(slug) END AS upto FROM batch
      ), removed AS (
        DELETE FROM ${target} AS t USING bound
        WHERE t.type_key = ${this.typeKey} AND t.slug > ${after} AND (upto IS NULL OR t.slug <= upto)
          AND NOT EXISTS (SELECT FROM ${source} AS s WHERE s.type_key = t.type_key AND s.slug = t.slug)
      ), written AS (
        INSERT INTO ${target} AS t (type_key, slug, title, body)
        SELECT s.type_key, s.slug, s.title, s.body FROM ${source} AS s, bound
        WHERE s.type_key = ${this.typeKey} AND s.slug > ${after} AND (upto IS NULL OR s.slug <= upto)
        ON CONFLICT (type_key, slug) DO UPDATE SET title = excluded.title, body = excluded.body
        WHERE (t.title, t.body) IS DISTINCT FROM (excluded.title, excluded.body)
      )
      SELECT upto FROM bound`;
    return upto;
  }
}

function tables(direction: Direction): { source: Prisma.Sql; target: Prisma.Sql } {
  return direction === "push" ? { source: OURS, target: PUBLISHED } : { source: PUBLISHED, target: OURS };
}

/** The content types that there are, on either side. */
export async function allEntries(db: Queryable, options?: EntriesOptions): Promise<Entries[]> {
  const rows = await db.$queryRaw<{ typeKey: string }[]>`
    SELECT type_key AS "typeKey" FROM ${OURS} UNION SELECT type_key FROM ${PUBLISHED} ORDER BY 1`;
  return rows.map(({ typeKey }) => new Entries(typeKey, options));
}
