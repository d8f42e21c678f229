/*
 * GET	one state by `typeKey`, or all
 * POST	sets what the body has of a state, and keeps the rest
 */
import { NotFoundError } from "@/lib/sync/errors";
import { answer, jsonResponse, queriedTypeKey, statePatch } from "@/lib/sync/http";
import { syncStates } from "@/lib/sync/services";

export const dynamic = "force-dynamic";

export async function GET(request: Request): Promise<Response> {
  return answer(async () => {
    const typeKey = queriedTypeKey(request.url);
    if (typeKey === undefined) {
      return jsonResponse({ states: await syncStates().getAllSyncStates() });
    }
    const state = await syncStates().getSyncState(typeKey);
    if (!state) {
      throw new NotFoundError(`"${typeKey}" is unknown`);
    }
    return jsonResponse({ state });
  });
}

export async function POST(request: Request): Promise<Response> {
  return answer(async () => {
    const { typeKey, patch } = await statePatch(request);
    return jsonResponse({ state: await syncStates().updateSyncState(typeKey, patch) });
  });
}
