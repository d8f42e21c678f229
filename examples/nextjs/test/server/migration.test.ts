/*
 * The database that the migrations have made, by psql and as a role without special
 * rights, and what Prisma is told of it.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import prismaConfig from "@/prisma.config";

import { sql } from "./setup";

test("the extension is there, owned by who applied the migration, who is no superuser", async () => {
  assert.deepEqual(
    await sql(`SELECT pg_get_userbyid(extowner) = current_user AS ours, rolsuper
               FROM pg_extension, pg_roles WHERE extname = 'syncstate' AND rolname = current_user`),
    [{ ours: true, rolsuper: false }]);
});

test("every session of the database notifies, one without the application's options too", async () => {
  const [row] = await sql<{ settings: string[] }>(`
    SELECT setconfig AS settings FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
    WHERE datname = current_database() AND setrole = 0`);
  assert.deepEqual(row?.settings, ["syncstate.notify=all"]);
});

test("all tables of the schema syncstate are external to Prisma Migrate, and no others", async () => {
  const tables = await sql<{ name: string }>(`
    SELECT 'syncstate.' || relname AS name FROM pg_class
    WHERE relnamespace = 'syncstate'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname`);
  assert.deepEqual(prismaConfig.tables?.external?.toSorted(), tables.map(({ name }) => name));
});

test("the models' columns and types are the database's", async () => {
  const columns = await sql<{ table: string; column: string; type: string; nullable: boolean }>(`
    SELECT c.relname AS table, attname AS column, format_type(atttypid, atttypmod) AS type, NOT attnotnull AS nullable
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE attrelid IN ('syncstate.sync_state'::regclass, 'entry'::regclass, 'published_entry'::regclass) AND attnum > 0`);
  const models = parseModels(await readFile(new URL("../../prisma/schema.prisma", import.meta.url), "utf8"));
  assert.deepEqual(models.map(({ table }) => table), ["sync_state", "entry", "published_entry"]);
  for (const { table, fields } of models) {
    for (const field of fields) {
      const column = columns.find((candidate) => candidate.table === table && candidate.column === field.column);
      assert.deepEqual(column, { table, ...field });
    }
  }
});

const TYPES: Record<string, string> = { String: "text", Json: "jsonb", DateTime: "timestamp with time zone" };

/** So much of Prisma's schema language as these models use. */
function parseModels(schema: string) {
  return [...schema.matchAll(/^model \w+ \{\n(.*?)^\}/gms)].map(([, body = ""]) => ({
    table: /@@map\("(\w+)"\)/.exec(body)?.[1],
    fields: [...body.matchAll(/^ {2}(\w+) +(\w+)(\?)?(.*)$/gm)].map(([, name, type = "", optional, attributes = ""]) => ({
      column: /@map\("(\w+)"\)/.exec(attributes)?.[1] ?? name,
      type: TYPES[type],
      nullable: optional === "?",
    })),
  }));
}
