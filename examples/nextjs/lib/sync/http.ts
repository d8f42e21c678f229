/*
 * What the endpoints share: how an error is answered, and what a request may say.
 *
 * A request is checked here as far as its shape goes, so that the answer can name
 * the field; what a value means, the extension and the table's CHECKs decide.
 */
import { HeldError, InvalidInputError, SyncError } from "./errors";
import { CONFLICT_STATUSES, SYNC_STATUSES, type ErrorBody, type ErrorCode, type SyncStatePatch } from "./types";

const HTTP_STATUS: Record<ErrorCode, number> = {
  invalid_input: 400,
  forbidden: 403,
  not_found: 404,
  held: 409,
  superseded: 409,
  precondition: 409,
  internal: 500,
  retry: 503,
  unavailable: 503,
};

export const LARGEST_BODY = 1_000_000;

export function jsonResponse(body: object): Response {
  return Response.json(body, { headers: { "Cache-Control": "no-store" } });
}

/** Runs an endpoint; what it throws becomes the answer. */
export async function answer(work: () => Promise<Response>): Promise<Response> {
  try {
    return await work();
  } catch (error) {
    return errorResponse(error);
  }
}

export function errorResponse(error: unknown): Response {
  const body = toErrorBody(error);
  const status = HTTP_STATUS[body.error.code];
  const headers = new Headers({ "Cache-Control": "no-store" });
  if (status === 503) {
    headers.set("Retry-After", "1");
  }
  return Response.json(body, { status, headers });
}

function toErrorBody(error: unknown): ErrorBody {
  if (!(error instanceof SyncError) || error.code === "internal") {
    // The log is for those who run the application; the caller learns nothing of it.
    console.error(error);
    return { error: { code: "internal", message: "internal error" } };
  }
  const { code, message, detail } = error;
  const told = error instanceof HeldError && detail ? `${message}: ${detail}` : message;
  const field = error instanceof InvalidInputError ? error.field : undefined;
  return { error: { code, message: told, ...(field === undefined ? {} : { field }) } };
}

// Requests

function invalid(message: string, field?: string): InvalidInputError {
  const error = new InvalidInputError(message);
  error.field = field;
  return error;
}

/** The `typeKey` of a query string; undefined if there is none. */
export function queriedTypeKey(url: string): string | undefined {
  const given = new URL(url).searchParams.getAll("typeKey");
  if (given.length > 1) {
    throw invalid("typeKey is given more than once", "typeKey");
  }
  return given.length === 0 ? undefined : checkTypeKey(given[0]);
}

function checkTypeKey(value: unknown): string {
  if (typeof value !== "string" || value === "") {
    throw invalid("typeKey must be a non-empty string", "typeKey");
  }
  if (Buffer.byteLength(value) > 512) {
    throw invalid("typeKey must be at most 512 bytes long", "typeKey");
  }
  if (!value.isWellFormed() || value.includes("\0")) {
    throw invalid("typeKey must be well-formed Unicode without U+0000", "typeKey");
  }
  return value;
}

type Check = (value: unknown) => string | undefined;

const hash: Check = (value) =>
  value === null || typeof value === "string" ? undefined : "must be a string or null";

const oneOf = (allowed: readonly string[]): Check => (value) =>
  value === null || (typeof value === "string" && allowed.includes(value))
    ? undefined
    : `must be null or one of ${allowed.join(", ")}`;

/** With its zone, so that it means the same to everybody. */
const ISO_8601 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})$/;

const time: Check = (value) =>
  value === null || (typeof value === "string" && ISO_8601.test(value) && !Number.isNaN(Date.parse(value)))
    ? undefined
    : "must be null or a time as ISO 8601 with a zone, such as 2026-11-22T11:18:44Z";

const CHECKS: Record<keyof SyncStatePatch, Check> = {
  localHash: hash,
  remoteHash: hash,
  lastSyncedHash: hash,
  lastSyncedRemoteHash: hash,
  lastSyncAt: time,
  syncStatus: oneOf(SYNC_STATUSES),
  conflictStatus: oneOf(CONFLICT_STATUSES),
  syncProgress: () => undefined,
};

/** The body of `POST /api/v1/sync/state`. */
export async function statePatch(request: Request): Promise<{ typeKey: string; patch: SyncStatePatch }> {
  const { typeKey, ...fields } = await jsonObject(request);
  for (const [field, value] of Object.entries(fields)) {
    if (!Object.hasOwn(CHECKS, field)) {
      throw invalid(`${field} is not a field that can be set; there are ${Object.keys(CHECKS).join(", ")}`, field);
    }
    const wrong = CHECKS[field as keyof SyncStatePatch](value);
    if (wrong) {
      throw invalid(`${field} ${wrong}`, field);
    }
  }
  return { typeKey: checkTypeKey(typeKey), patch: fields as SyncStatePatch };
}

async function jsonObject(request: Request): Promise<Record<string, unknown>> {
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get("Content-Type") ?? "")) {
    // A form on another site cannot send this without being asked.
    throw invalid("Content-Type must be application/json");
  }
  let body: unknown;
  try {
    body = JSON.parse(await bodyText(request));
  } catch (error) {
    throw error instanceof SyncError ? error : invalid("the body is not JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw invalid("the body must be a JSON object");
  }
  return body as Record<string, unknown>;
}

async function bodyText(request: Request): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = request.body?.getReader();
  let text = "";
  let size = 0;
  for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read()) {
    size += chunk.value.byteLength;
    if (size > LARGEST_BODY) {
      throw invalid(`the body must be at most ${LARGEST_BODY} bytes long`);
    }
    text += decoder.decode(chunk.value, { stream: true });
  }
  return text + decoder.decode();
}
