/*
 * GET	what the deployment page shows, see SyncStatusReport
 */
import { answer, jsonResponse } from "@/lib/sync/http";
import { readStatus } from "@/lib/sync/status";

export const dynamic = "force-dynamic";

export async function GET(): Promise<Response> {
  return answer(async () => jsonResponse(await readStatus()));
}
