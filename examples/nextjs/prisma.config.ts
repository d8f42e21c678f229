/*
 * Prisma's command line.  The extension's tables are external: Migrate is not to
 * create, alter or drop them; CREATE EXTENSION in the first migration makes them,
 * in the shadow database too.  All are named, since any that Migrate finds in a
 * schema of the datasource and in no model would be drift to it.
 *
 * DATABASE_URL may be missing: `prisma generate` needs no database.
 */
import { defineConfig } from "prisma/config";

export default defineConfig({
  schema: "prisma/schema.prisma",
  migrations: { path: "prisma/migrations" },
  datasource: { url: process.env.DATABASE_URL ?? "" },
  experimental: { externalTables: true },
  tables: {
    external: [
      "syncstate.sync_state",
      "syncstate.sync_run",
      "syncstate.sync_conflict",
      "syncstate.sync_tombstone",
      "syncstate.sync_feed",
      "syncstate.sync_source",
      "syncstate.sync_row_base",
      "syncstate.sync_tracking",
      "syncstate.sync_tracking_delta",
    ],
  },
});
