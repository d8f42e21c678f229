/*
 * Content for the tests: entries of a type of their own, and ways to disturb what
 * copies them.
 */
import { Entries, type EntriesOptions } from "@/lib/content/entries";
import type { ContentType, Direction, Hashes } from "@/lib/content/ContentType";
import type { Queryable } from "@/lib/database";

import { newKey, prisma } from "./setup";

type Side = "entry" | "published_entry";

/** Entries of a new type, of which our side has `count`. */
export async function newEntries(name: string, count: number, options: EntriesOptions = { batchSize: 2 }): Promise<Entries> {
  const entries = new Entries(newKey(name), options);
  for (let i = 1; i <= count; i++) {
    await write(entries, "entry", slugOf(i), `Title ${i}`);
  }
  return entries;
}

export function slugOf(i: number): string {
  return `entry-${String(i).padStart(3, "0")}`;
}

export async function write({ typeKey }: ContentType, side: Side, slug: string, title: string): Promise<void> {
  const where = { typeKey_slug: { typeKey, slug } };
  const row = { typeKey, slug, title, body: `Body of ${slug}` };
  if (side === "entry") {
    await prisma.entry.upsert({ where, create: row, update: row });
  } else {
    await prisma.publishedEntry.upsert({ where, create: row, update: row });
  }
}

export async function titles({ typeKey }: ContentType, side: Side): Promise<string[]> {
  const query = { where: { typeKey }, orderBy: { slug: "asc" } } as const;
  const rows = side === "entry" ? await prisma.entry.findMany(query) : await prisma.publishedEntry.findMany(query);
  return rows.map(({ title }) => title);
}

/** A content type that does something before or after its batches. */
export class Disturbed implements ContentType {
  readonly typeKey: string;
  readonly atomic: boolean;
  batches = 0;

  constructor(
    private readonly inner: Entries,
    private readonly disturb: { before?: (batch: number) => unknown; after?: (batch: number) => unknown; measure?: () => unknown },
  ) {
    this.typeKey = inner.typeKey;
    this.atomic = inner.atomic;
  }

  async measure(db: Queryable): Promise<Hashes> {
    await this.disturb.measure?.();
    return this.inner.measure(db);
  }

  countBatches(db: Queryable, direction: Direction): Promise<number> {
    return this.inner.countBatches(db, direction);
  }

  async copyBatch(db: Queryable, direction: Direction, after: string): Promise<string | null> {
    const batch = ++this.batches;
    await this.disturb.before?.(batch);
    const upto = await this.inner.copyBatch(db, direction, after);
    await this.disturb.after?.(batch);
    return upto;
  }
}
