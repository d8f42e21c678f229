/*
 * What the deployment page shows: the extension's views, read by one statement and
 * so at one moment.
 */
import type { PrismaClient } from "@/generated/prisma/client";

import { prisma } from "../database";
import { toSyncError } from "./errors";
import { fromRow, toInstant, type Row } from "./state/rows";
import type { OverviewRow, SyncStatusReport, SyncStatusSummary } from "./types";

export async function readStatus(db: Pick<PrismaClient, "$queryRaw"> = prisma()): Promise<SyncStatusReport> {
  const { generated_at, types } = await query(db);
  const rows = types.map(toOverviewRow);
  return { generatedAt: toInstant(generated_at), summary: summarise(rows), types: rows };
}

async function query(db: Pick<PrismaClient, "$queryRaw">): Promise<{ generated_at: string; types: Row[] }> {
  try {
    const [report] = await db.$queryRaw<{ generated_at: string; types: Row[] }[]>`
      SELECT to_jsonb(clock_timestamp()) AS generated_at, coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.type_key), '[]') AS types
      FROM (
        SELECT o.type_key, o.sync_status, o.conflict_status, o.action, o.detail, o.last_sync_at,
          o.last_sync_age AS age_seconds, o.run_owner AS owner, o.lease_expires_at, o.step, o.total, o.percent,
          i.type_key IS NOT NULL AS interrupted, i.reason AS interrupted_reason, i.since AS interrupted_since,
          c.kind AS conflict_kind
        FROM syncstate.sync_overview AS o
        LEFT JOIN syncstate.sync_interrupted AS i USING (type_key)
        LEFT JOIN syncstate.sync_conflict AS c ON c.type_key = o.type_key AND c.resolved_at IS NULL
      ) AS t`;
    return report as { generated_at: string; types: Row[] };
  } catch (error) {
    throw toSyncError(error);
  }
}

function toOverviewRow(row: Row): OverviewRow {
  const overview = fromRow(row) as unknown as OverviewRow;
  // A checkpoint may have numbers that are none in JavaScript.
  return {
    ...overview, step: finite(overview.step), total: finite(overview.total), percent: finite(overview.percent),
  };
}

function finite(value: number | null): number | null {
  return Number.isFinite(value) ? value : null;
}

function summarise(rows: OverviewRow[]): SyncStatusSummary {
  const byStatus: SyncStatusSummary["byStatus"] = {};
  for (const { syncStatus } of rows) {
    const status = syncStatus ?? "unknown";
    byStatus[status] = (byStatus[status] ?? 0) + 1;
  }
  return {
    total: rows.length,
    byStatus,
    conflicts: rows.filter((row) => row.conflictKind !== null || row.conflictStatus === "detected").length,
    interrupted: rows.filter((row) => row.interrupted).length,
    running: rows.filter((row) => row.syncStatus === "syncing" && !row.interrupted).length,
  };
}
