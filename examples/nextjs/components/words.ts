/*
 * How the page says things: the one state in which it shows a content type, the
 * words for it and for what is to be done, times and numbers.
 *
 * Pure functions of what the report says.  Server and browser have to come to the
 * same text, so nothing here asks for the language, the zone or the time.
 */
import type { Instant, OverviewRow } from "../lib/sync/types";

/** `sync_status`, with an interrupted run told apart from one that is alive. */
export type Shown = "conflict" | "interrupted" | "failed" | "syncing" | "modified" | "new" | "in_sync" | "unknown";

/** In the order in which the page counts them: what waits for somebody first. */
export const SHOWN: readonly Shown[] = [
  "conflict", "interrupted", "failed", "syncing", "modified", "new", "in_sync", "unknown",
];

export const WORD: Readonly<Record<Shown, string>> = {
  conflict: "Conflict",
  interrupted: "Interrupted",
  failed: "Failed",
  syncing: "Syncing",
  modified: "Modified",
  new: "New",
  in_sync: "In sync",
  unknown: "No status",
};

export function shownAs(row: OverviewRow): Shown {
  return row.interrupted ? "interrupted" : (row.syncStatus ?? "unknown");
}

/** The hashes conflict, whatever the status: a run that failed half-way hides a conflict. */
export function inConflict(row: OverviewRow): boolean {
  return row.action === "CONFLICT" || row.detail === "conflict" || row.syncStatus === "conflict";
}

/** Whether it is one of those counted under a state; a failed one in conflict is under both. */
export function countsAs(row: OverviewRow, shown: Shown): boolean {
  return shownAs(row) === shown || (shown === "conflict" && inConflict(row));
}

export function needsAttention(row: OverviewRow): boolean {
  const shown = shownAs(row);
  return shown === "failed" || shown === "interrupted" || inConflict(row);
}

export type Direction = "push" | "pull" | "decide" | "none";

export interface Step {
  direction: Direction;
  what: string;
  why: string;
}

const CONFLICT_WHY: Readonly<Record<string, string>> = {
  conflict: "different from the start",
  "create/create": "created on both sides",
  "edit/edit": "edited on both sides",
  "edit/delete": "edited here, deleted there",
  "delete/edit": "deleted here, edited there",
};

/** What the stored hashes ask for: the view's `action` and `detail`. */
export function nextStep({ action, detail, conflictKind }: OverviewRow): Step {
  switch (action) {
    case "PUSH":
      return { direction: "push", what: "Push", why: `${pastTense(detail)} here` };
    case "PULL":
      return { direction: "pull", what: "Pull", why: `${pastTense(detail)} there` };
    case "CONFLICT":
      return { direction: "decide", what: "Decide", why: CONFLICT_WHY[conflictKind ?? detail] ?? detail };
    case "INITIAL_SYNC":
      return firstSync(detail, conflictKind);
    case "NO_CHANGE":
      return noChange(detail);
  }
}

function firstSync(detail: OverviewRow["detail"], kind: OverviewRow["conflictKind"]): Step {
  switch (detail) {
    case "push":
      return { direction: "push", what: "First push", why: "only here" };
    case "pull":
      return { direction: "pull", what: "First pull", why: "only there" };
    case "adopt":
      return { direction: "none", what: "Adopt", why: "equal from the start" };
    case "conflict":
      return { direction: "decide", what: "Decide", why: CONFLICT_WHY[kind ?? detail] ?? detail };
    default:
      return { direction: "none", what: "Nothing yet", why: "on neither side" };
  }
}

function noChange(detail: OverviewRow["detail"]): Step {
  switch (detail) {
    case "converged":
      return { direction: "none", what: "Record it", why: "changed alike" };
    case "both_deleted":
      return { direction: "none", what: "Record it", why: "deleted on both sides" };
    default:
      return { direction: "none", what: "Nothing", why: "unchanged" };
  }
}

function pastTense(detail: string): string {
  return detail.endsWith("e") ? `${detail}d` : `${detail}ed`;
}

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

export function number(value: number): string {
  return NUMBER.format(value);
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** `2026-11-22 11:18:44 UTC` */
export function dateAndTime(at: Instant): string {
  return `${at.slice(0, 10)} ${timeOfDay(at)}`;
}

/** `2026-11-22 11:18 UTC` */
export function dateAndMinute(at: Instant): string {
  return `${at.slice(0, 10)} ${at.slice(11, 16)} UTC`;
}

/** `11:18:44 UTC` */
export function timeOfDay(at: Instant): string {
  return `${at.slice(11, 19)} UTC`;
}

/** Without the date where it is the date of `now`, in milliseconds. */
export function briefly(at: Instant, now: number): string {
  return new Date(now).toISOString().slice(0, 10) === at.slice(0, 10) ? timeOfDay(at) : dateAndTime(at);
}

const UNITS: readonly [seconds: number, one: string, many: string][] = [
  [86400, "day", "days"],
  [3600, "h", "h"],
  [60, "min", "min"],
];

/** How long before `now`, in milliseconds; nothing finer than minutes, so that the page is quiet. */
export function ago(at: Instant, now: number): string {
  const seconds = (now - Date.parse(at)) / 1000;
  for (const [size, one, many] of UNITS) {
    const count = Math.floor(seconds / size);
    if (count >= 1) {
      return `${plural(count, one, many)} ago`;
    }
  }
  return "just now";
}
