/*
 * What the page knows, and how it keeps it true: one object that reads
 * /api/v1/sync/status whenever there is a reason to, and tells React of it.
 *
 * Reasons: the stream of events says that something has changed, or that it has
 * listened anew and may have missed something; somebody asks; the lease of a run
 * ends, of which nobody is notified; the last reading failed; and, now and then,
 * none, because a notification wakes but does not promise.
 *
 * One reading is under way at a time, so that an old answer never replaces a
 * newer one.  A reason that comes meanwhile leads to another reading after it.
 */
import type { ErrorBody, Instant, OverviewRow, SyncStatusReport } from "../lib/sync/types";
import { WORD, inConflict, plural, shownAs, timeOfDay } from "./words";

const STATUS_URL = "/api/v1/sync/status";
const EVENTS_URL = "/api/v1/sync/events";

/** Many checkpoints a second are no reason for as many readings. */
const GAP_MS = 250;
const UNASKED_MS = 30_000;
const GIVE_UP_MS = 10_000;
const LONGEST_RETRY_MS = 15_000;
const STORAGE_KEY = "syncstate.status";

/** `connecting` until the first time; the state of the stream, not of the last reading. */
export type Link = "connecting" | "live" | "reconnecting";

export interface Problem {
  /** The application does not answer; it cannot reach the database; or something else. */
  kind: "application" | "database" | "other";
  message: string;
}

export interface View {
  report: SyncStatusReport | null;
  /** The database's clock less ours, in milliseconds; null before the first reading. */
  skew: number | null;
  /** Why the last reading failed; while there is one, the report is old. */
  problem: Problem | null;
  link: Link;
  refreshing: boolean;
  /** For who does not see the page. */
  announcement: string;
  /** Grows for a content type each time it is shown in another state. */
  changes: ReadonlyMap<string, number>;
}

export class StatusFeed {
  private view: View;
  private readonly listeners = new Set<() => void>();
  private events: EventSource | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private reopening: ReturnType<typeof setTimeout> | undefined;
  private abort: AbortController | null = null;
  private reading = false;
  private again = false;
  private refreshWanted = false;
  private startedAt = 0;
  private failures = 0;
  private refusals = 0;

  constructor(initial: SyncStatusReport | null, problem: Problem | null) {
    this.view = {
      report: initial,
      skew: null,
      problem,
      link: "connecting",
      refreshing: false,
      announcement: "",
      changes: new Map(),
    };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): View => this.view;

  start(): void {
    if (this.view.report === null) {
      this.show({ report: recall() });
    } else {
      remember(this.view.report);
    }
    document.addEventListener("visibilitychange", this.onVisible);
    this.open();
    this.wake();
  }

  stop(): void {
    document.removeEventListener("visibilitychange", this.onVisible);
    clearTimeout(this.timer);
    clearTimeout(this.reopening);
    this.events?.close();
    this.events = null;
    this.abort?.abort();
    this.abort = null;
    this.reading = false;
  }

  /** As the button asks for it: what is shown then was read after this call. */
  readonly refresh = (): void => {
    this.refreshWanted = true;
    this.show({ refreshing: true });
    this.wake(0);
  };

  private show(part: Partial<View>): void {
    this.view = { ...this.view, ...part };
    this.listeners.forEach((listener) => listener());
  }

  private readonly onVisible = (): void => {
    if (document.visibilityState === "visible") {
      this.wake();
    }
  };

  /* The stream ------------------------------------------------------------- */

  private open(): void {
    const events = new EventSource(EVENTS_URL);

    this.events = events;
    events.addEventListener("ready", () => {
      this.refusals = 0;
      this.show({ link: "live" });
      this.wake();
    });
    events.addEventListener("change", () => this.wake());
    events.addEventListener("lost", () => this.onLost());
    events.addEventListener("error", () => {
      this.onLost();
      // The browser tries again by itself, unless it was refused.
      if (events.readyState === EventSource.CLOSED && this.events === events) {
        this.reopening = setTimeout(() => this.open(), backoff(++this.refusals));
      }
    });
  }

  private onLost(): void {
    if (this.view.link === "live") {
      this.show({ link: "reconnecting" });
      this.wake();
    }
  }

  /* Reading ---------------------------------------------------------------- */

  private wake(gap = GAP_MS): void {
    if (this.reading) {
      this.again = true;
      return;
    }
    this.planRead(Math.max(0, this.startedAt + gap - Date.now()));
  }

  private planRead(delay: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.read(), delay);
  }

  private async read(): Promise<void> {
    const abort = new AbortController();
    const timeout = setTimeout(() => abort.abort(), GIVE_UP_MS);
    const asked = this.refreshWanted;

    this.reading = true;
    this.again = this.refreshWanted = false;
    this.startedAt = Date.now();
    this.abort = abort;
    const answer = await fetchReport(abort.signal);
    clearTimeout(timeout);
    if (this.abort !== abort) {
      return;   // stopped meanwhile
    }
    this.reading = false;
    if ("report" in answer) {
      this.onReport(answer.report, asked);
    } else {
      this.onProblem(answer.problem, asked);
    }
    if (this.again) {
      this.wake(this.refreshWanted ? 0 : GAP_MS);
    } else {
      this.planRead(this.untilNextReading());
    }
  }

  private onReport(report: SyncStatusReport, asked: boolean): void {
    const { report: before, problem, changes } = this.view;
    const news = before === null ? [] : differences(before.types, report.types);
    const said = news.map(({ typeKey, now }) => `${typeKey}: ${now}`);

    this.failures = 0;
    remember(report);
    this.show({
      report,
      skew: Date.parse(report.generatedAt) - Date.now(),
      problem: null,
      refreshing: this.refreshWanted,
      changes: news.length === 0 ? changes : raised(changes, news),
      announcement: announcement(said, report, asked, problem !== null) ?? this.view.announcement,
    });
  }

  private onProblem(problem: Problem, asked: boolean): void {
    this.failures++;
    this.show({
      problem,
      refreshing: this.refreshWanted,
      // The page has an alert for it, which speaks once.
      announcement: asked ? `Not refreshed. ${problem.message}` : this.view.announcement,
    });
  }

  private untilNextReading(): number {
    const { report, skew } = this.view;

    if (this.failures > 0) {
      return backoff(this.failures);
    }
    const now = Date.now() + (skew ?? 0);
    const ends = (report?.types ?? [])
      .filter((row) => row.syncStatus === "syncing" && !row.interrupted && row.leaseExpiresAt !== null)
      .map((row) => Date.parse(row.leaseExpiresAt ?? "") - now);
    // A lease that has just ended by our reckoning and not by the database's: soon.
    return Math.min(UNASKED_MS, ...ends.map((left) => Math.max(left, GAP_MS) + 20));
  }
}

type Answer = { report: SyncStatusReport } | { problem: Problem };

async function fetchReport(signal: AbortSignal): Promise<Answer> {
  let response: Response;

  try {
    response = await fetch(STATUS_URL, { cache: "no-store", headers: { accept: "application/json" }, signal });
    if (response.ok) {
      return { report: (await response.json()) as SyncStatusReport };
    }
  } catch {
    return { problem: { kind: "application", message: "The application does not answer." } };
  }
  if (response.status === 503) {
    return { problem: { kind: "database", message: "The database cannot be reached." } };
  }
  const body = (await response.json().catch(() => null)) as ErrorBody | null;
  const reason = body?.error?.message ?? `status ${response.status}`;
  return { problem: { kind: "other", message: `The status cannot be read: ${reason}.` } };
}

function backoff(failures: number): number {
  return Math.min(LONGEST_RETRY_MS, 1000 * 2 ** Math.min(failures - 1, 10));
}

/** What somebody who watches the page would notice; progress alone is no news. */
function differences(before: OverviewRow[], after: OverviewRow[]): { typeKey: string; now: string }[] {
  const old = new Map(before.map((row) => [row.typeKey, said(row)]));
  const news = after
    .filter((row) => old.get(row.typeKey) !== said(row))
    .map((row) => ({ typeKey: row.typeKey, now: said(row) }));
  const kept = new Set(after.map((row) => row.typeKey));

  return [
    ...news,
    ...before.filter((row) => !kept.has(row.typeKey)).map(({ typeKey }) => ({ typeKey, now: "forgotten" })),
  ];
}

function said(row: OverviewRow): string {
  const word = WORD[shownAs(row)].toLowerCase();
  return inConflict(row) && row.syncStatus !== "conflict" ? `${word}, in conflict` : word;
}

function raised(changes: ReadonlyMap<string, number>, news: { typeKey: string }[]): Map<string, number> {
  const next = new Map(changes);

  for (const { typeKey } of news) {
    next.set(typeKey, (next.get(typeKey) ?? 0) + 1);
  }
  return next;
}

function announcement(news: string[], report: SyncStatusReport, asked: boolean, recovered: boolean): string | null {
  const changes = news.length > 3 ? `${plural(news.length, "content type")} have changed.` : news.join(". ");

  if (asked || recovered) {
    const what = recovered ? "Up to date again" : "Refreshed";
    return `${what}, as of ${timeOfDay(report.generatedAt as Instant)}. ${changes || "Nothing has changed."}`;
  }
  return changes || null;
}

/* The last report outlives a reload of the tab: a page that is opened again while
 * the database is down has something to show.  Storage may be full or forbidden. */

function remember(report: SyncStatusReport): void {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(report));
  } catch {
    // Then there is nothing to recall.
  }
}

function recall(): SyncStatusReport | null {
  try {
    return JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "null") as SyncStatusReport | null;
  } catch {
    return null;
  }
}
