/*
 * What can go wrong, as types.  A call of the library throws a SyncError or, if
 * the cause is not the database, what was thrown.
 *
 * The SQLSTATE decides, not the wording.  Only 55P03 and 55000 have several
 * causes, the server's own among them; these are told apart by the messages of
 * the extension, which are never translated.
 */
import { Prisma } from "@/generated/prisma/client";

import type { ErrorCode } from "./types";

export interface Cause {
  /** SQLSTATE; undefined if the server was not reached. */
  sqlState?: string;
  /** The server's DETAIL and HINT. */
  detail?: string;
  hint?: string;
}

export class SyncError extends Error {
  readonly code: ErrorCode = "internal";
  readonly sqlState: string | undefined;
  readonly detail: string | undefined;
  readonly hint: string | undefined;

  constructor(message: string, cause: Cause = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = "SyncError";
    this.sqlState = cause.sqlState;
    this.detail = cause.detail;
    this.hint = cause.hint;
  }
}

/** A value that the extension, or the table, does not accept. */
export class InvalidInputError extends SyncError {
  override readonly code = "invalid_input";
  /** The field which is meant, where it is known. */
  field?: string;
}

/** The key is unknown, or has nothing to resume. */
export class NotFoundError extends SyncError {
  override readonly code = "not_found";
}

/** A live run has the key; `detail` names its owner and the end of its lease. */
export class HeldError extends SyncError {
  override readonly code = "held";
}

/** The run is over: another one has the key, or none.  Stop; write nothing more. */
export class SupersededError extends SyncError {
  override readonly code = "superseded";
}

/** The state is not one in which this can be done: not in conflict, no source ... */
export class PreconditionError extends SyncError {
  override readonly code = "precondition";
}

/** Somebody was faster, or has a lock: the transaction can be tried again. */
export class RetryError extends SyncError {
  override readonly code = "retry";
}

/** A privilege is missing, or row security forbids it. */
export class ForbiddenError extends SyncError {
  override readonly code = "forbidden";
}

/** The database cannot be reached, refuses to write, or was stopped meanwhile. */
export class UnavailableError extends SyncError {
  override readonly code = "unavailable";
}

type ErrorClass = new (message: string, cause?: Cause, options?: ErrorOptions) => SyncError;

function classOf(sqlState: string, message: string): ErrorClass {
  switch (sqlState) {
    case "P0002":
      return NotFoundError;
    case "55P03":
      return message.endsWith("is held by a live run") ? HeldError : RetryError;
    case "55000":
      return message.endsWith("was superseded") ? SupersededError : PreconditionError;
    case "40001":
    case "40P01":
      return RetryError;
    case "42501":
      return ForbiddenError;
    case "25006": // a standby, or a READ ONLY transaction
    case "25P02": // a statement of the transaction has failed before
    case "57014": // a timeout of the server's
      return UnavailableError;
    case "54001": // nested too deeply
      return InvalidInputError;
  }
  switch (sqlState.slice(0, 2)) {
    case "22":
    case "23":
      return InvalidInputError;
    case "08":
    case "53":
    case "57":
      return UnavailableError;
    default:
      return SyncError;
  }
}

/** What @prisma/adapter-pg says of an error; `detail` is there for most SQLSTATEs. */
interface DriverCause {
  kind?: string;
  originalCode?: string;
  originalMessage?: string;
  detail?: string;
  hint?: string;
}

/** Of Prisma itself: no connection in time, no answer, a transaction that took too long ... */
const UNAVAILABLE = new Set(["P1001", "P1002", "P1008", "P1011", "P1017", "P2024", "P2028", "P2037"]);

/** What node-postgres says, without a code, of a connection that is gone or does not come about. */
const NO_CONNECTION =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|timeout exceeded when trying to connect)/;

/** Makes a SyncError of what Prisma or its driver has thrown; anything else is returned as it is. */
export function toSyncError(error: unknown): unknown {
  if (error instanceof Prisma.PrismaClientKnownRequestError) {
    const driver = (error.meta?.driverAdapterError as { cause?: DriverCause } | undefined)?.cause;
    const sqlState = driver?.originalCode;
    const message = driver?.originalMessage ?? error.message;
    if (sqlState && /^[0-9A-Z]{5}$/.test(sqlState)) {
      return new (classOf(sqlState, message))(
        message, { sqlState, detail: driver.detail, hint: driver.hint }, { cause: error });
    }
    if (UNAVAILABLE.has(error.code) || isConnectionKind(driver?.kind)) {
      return new UnavailableError("the database cannot be reached", {}, { cause: error });
    }
    return new SyncError(message, {}, { cause: error });
  }
  if (
    error instanceof Prisma.PrismaClientInitializationError ||
    (error instanceof Error && NO_CONNECTION.test(error.message))
  ) {
    return new UnavailableError("the database cannot be reached", {}, { cause: error });
  }
  return error;
}

function isConnectionKind(kind: string | undefined): boolean {
  return kind === "DatabaseNotReachable" || kind === "ConnectionClosed" || kind === "SocketTimeout";
}
