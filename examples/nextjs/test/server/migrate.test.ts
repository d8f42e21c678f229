/*
 * What Prisma Migrate makes of the migrations and of the model: its engine, of the
 * same version as the command line, asked as `migrate deploy`, `migrate dev` and
 * `migrate diff` ask it.
 *
 * The command line's own engine is a program that it downloads; this is the same in
 * WebAssembly, from npm, over @prisma/adapter-pg.  Three things of that adapter are
 * put right for it here: a script is sent as a whole instead of being cut at each
 * semicolon; the catalogue's one-byte type "char" is known; and a shadow database is
 * dropped after the connections to it have ended.
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { after, describe, test } from "node:test";

import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum, type SqlQuery } from "@prisma/driver-adapter-utils";
import type { DiffTarget, MigrationList, SchemaEngine } from "@prisma/schema-engine-wasm";
import * as glue from "@prisma/schema-engine-wasm/schema_engine_bg";
import { Pool, type QueryArrayResult } from "pg";

import { connectionConfig } from "@/lib/database";
import prismaConfig from "@/prisma.config";

import { sql } from "./setup";

const ROOT = new URL("../../", import.meta.url);
const MIGRATIONS = new URL("prisma/migrations/", ROOT);
const DATABASE = `example_migrate_${process.pid}`;
const SHADOW = `${DATABASE}_shadow`;

// The adapter

type PgAdapter = Awaited<ReturnType<PrismaPg["connect"]>>;

function adapterFor(database: string): PrismaPg {
  const url = new URL(connectionConfig().connectionString ?? "");
  url.pathname = `/${database}`;
  return new PrismaPg(new Pool({ connectionString: url.href }), { disposeExternalPool: true });
}

class MigrationAdapter {
  readonly provider = "postgres";
  readonly adapterName = "@prisma/adapter-pg";

  async connect(): Promise<PgAdapter> {
    return putRight(await adapterFor(DATABASE).connect());
  }

  async connectToShadowDb(): Promise<PgAdapter> {
    await sql(`CREATE DATABASE ${SHADOW}`);
    const adapter = putRight(await adapterFor(SHADOW).connect());
    const dispose = adapter.dispose.bind(adapter);
    adapter.dispose = async () => {
      await dispose();
      await sql(`DROP DATABASE ${SHADOW} WITH (FORCE)`);
    };
    return adapter;
  }
}

/** The types of PostgreSQL's catalogue, by their OIDs. */
const CHAR = 18;
const TEXT = 25;

function putRight(adapter: PgAdapter): PgAdapter {
  const pool = adapter.underlyingDriver();
  const query = pool.query.bind(pool) as (...parameters: unknown[]) => Promise<QueryArrayResult>;
  const queryRaw = adapter.queryRaw.bind(adapter);
  const charColumns = new WeakMap<unknown[], number[]>();

  adapter.executeScript = async (script: string) => {
    await query(script);
  };
  // The adapter is told of text, and the engine of what it was.
  pool.query = (async (...parameters: unknown[]) => {
    const result = await query(...parameters);
    for (const [i, field] of (result.fields ?? []).entries()) {
      if (field.dataTypeID === CHAR) {
        field.dataTypeID = TEXT;
        charColumns.set(result.rows, [...(charColumns.get(result.rows) ?? []), i]);
      }
    }
    return result;
  }) as typeof pool.query;
  adapter.queryRaw = async (sqlQuery: SqlQuery) => {
    const result = await queryRaw(sqlQuery);
    for (const i of charColumns.get(result.rows) ?? []) {
      result.columnTypes[i] = ColumnTypeEnum.Character;
    }
    return result;
  };
  return adapter;
}

// The engine

const schema = { files: [{ path: "schema.prisma", content: await readFile(new URL("prisma/schema.prisma", ROOT), "utf8") }] };
const filters = { externalTables: prismaConfig.tables?.external ?? [], externalEnums: [] };

async function migrations(): Promise<MigrationList> {
  const names = (await readdir(MIGRATIONS, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  return {
    baseDir: "prisma/migrations",
    shadowDbInitScript: prismaConfig.migrations?.initShadowDb ?? "",
    lockfile: { path: "migration_lock.toml", content: await readFile(new URL("migration_lock.toml", MIGRATIONS), "utf8") },
    migrationDirectories: await Promise.all(names.sort().map(async (path) => ({
      path,
      migrationFile: {
        path: "migration.sql",
        content: { tag: "ok" as const, value: await readFile(new URL(`${path}/migration.sql`, MIGRATIONS), "utf8") },
      },
    }))),
  };
}

const wasm = new URL("schema_engine_bg.wasm", import.meta.resolve("@prisma/schema-engine-wasm"));
const { instance } = await WebAssembly.instantiate(await readFile(wasm), {
  "./schema_engine_bg.js": glue as unknown as WebAssembly.ModuleImports,
});
glue.__wbg_set_wasm(instance.exports);
(instance.exports as { __wbindgen_start: () => void }).__wbindgen_start();

function engine(): Promise<SchemaEngine> {
  const datamodels = schema.files.map(({ path, content }): [string, string] => [path, content]);
  return glue.SchemaEngine.new({ datamodels }, () => undefined, bindMigrationAwareSqlAdapterFactory(new MigrationAdapter()));
}

async function diff(from: DiffTarget, externalTables: string[]): Promise<string> {
  const { stdout } = await (await engine()).diff({
    from, to: { tag: "schemaDatamodel", ...schema }, script: true, exitCode: null, filters: { ...filters, externalTables },
  });
  return stdout ?? "";
}

describe("Prisma Migrate", () => {
  after(() => sql(`DROP DATABASE IF EXISTS ${DATABASE} WITH (FORCE)`));

  test("its engine is of the version of the command line", async () => {
    const { version } = JSON.parse(
      await readFile(new URL("node_modules/@prisma/engines-version/package.json", ROOT), "utf8")) as { version: string };
    assert.equal(version.split(".").at(-1), glue.version());
  });

  test("migrate deploy applies both migrations, and then there is nothing to do", async () => {
    await sql(`CREATE DATABASE ${DATABASE}`);
    const migrationsList = await migrations();
    const applied = await (await engine()).applyMigrations({ migrationsList, filters });
    assert.deepEqual(applied, { appliedMigrationNames: ["20260101000000_syncstate", "20260101000001_content"] });
    const again = await (await engine()).applyMigrations({ migrationsList, filters });
    assert.deepEqual(again, { appliedMigrationNames: [] });
  });

  test("migrate dev sees no drift between the database and the migrations, and wants no reset", async () => {
    const { action } = await (await engine()).devDiagnostic({ migrationsList: await migrations(), filters });
    assert.deepEqual(action, { tag: "createMigration" });
  });

  test("between the migrations and the model there is no difference", async () => {
    assert.equal(await diff({ tag: "migrations", ...await migrations() }, filters.externalTables), "-- This is an empty migration.\n");
  });

  test("without the list of external tables it would drop them", async () => {
    const script = await diff({ tag: "migrations", ...await migrations() }, []);
    assert.match(script, /DROP TABLE "syncstate"\."sync_run"/);
    assert.match(script, /DROP COLUMN "run_id"/);
  });

  test("a table of ours that the model does not have is noticed all the same", async () => {
    const list = await migrations();
    const content = { tag: "ok" as const, value: "CREATE TABLE more (id int)" };
    const more = { path: "20260101000002_more", migrationFile: { path: "migration.sql", content } };
    const script = await diff(
      { tag: "migrations", ...list, migrationDirectories: [...list.migrationDirectories, more] }, filters.externalTables);
    assert.match(script, /DROP TABLE "more"/);
  });
});
