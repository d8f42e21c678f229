/*
 * What the tests of the page have in common: a browser, a session of the database,
 * what is seen on the page, and waiting for it.
 *
 *	BASE_URL		where the application answers
 *	DATABASE_URL	its database, by its owner, who is no superuser
 *	CHROMIUM		the browser, if it is not Debian's
 *
 * Nothing waits for a time.  `eventually` looks until the page shows what it is to
 * show; its deadline is only for the failure.  It is far below the half minute after
 * which the page would look by itself, unasked: what appears in time was told of.
 */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import pg from "pg";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const DEADLINE_MS = 15_000;

export function baseUrl(): string {
  const url = process.env["BASE_URL"];

  assert.ok(url, "BASE_URL has to say where the application answers");
  return url.replace(/\/$/, "");
}

/** The sandbox of the browser keeps hostile pages in; ours is the only one that it sees. */
export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}

export class Database {
  private constructor(private readonly client: pg.Client) {}

  /** A session that tells of all that it writes, as the application's own do. */
  static async connect(): Promise<Database> {
    const url = process.env["DATABASE_URL"];
    const client = new pg.Client({ ...(url && { connectionString: url }), application_name: "browser test" });

    await client.connect();
    const session = new Database(client);
    await session.rows("SELECT sync_state_version()");
    await session.rows("SET syncstate.notify = 'all'");
    return session;
  }

  end(): Promise<void> {
    return this.client.end();
  }

  async rows<R extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<R[]> {
    return (await this.client.query<R>(sql, values)).rows;
  }

  /** The only column of the only row. */
  async value<V>(sql: string, values: unknown[] = []): Promise<V> {
    const [row, ...more] = await this.rows<{ value: V }>(`SELECT (${sql}) AS value`, values);

    assert.ok(row && more.length === 0);
    return row.value;
  }

  async forgetAll(): Promise<void> {
    await this.rows("SELECT sync_state_forget(type_key, force => true) FROM syncstate.sync_state");
  }

  /** As the application writes a time. */
  async lastSyncs(): Promise<Record<string, string | null>> {
    const rows = await this.rows<{ type_key: string; at: string | null }>(
      `SELECT type_key, to_char(last_sync_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at
       FROM syncstate.sync_state`,
    );
    return Object.fromEntries(rows.map(({ type_key, at }) => [type_key, at]));
  }
}

export interface OpenPage {
  page: Page;
  /** What went wrong on the page so far, such as an exception or a failed hydration. */
  errors: string[];
  close(): Promise<void>;
}

/**
 * The deployment page in a window of its own.  It is in another language and zone
 * than the server on purpose, and nothing moves unless a test wants it.
 */
export async function open(browser: Browser, options: BrowserContextOptions = {}, url = baseUrl()): Promise<OpenPage> {
  const context = await browser.newContext({
    locale: "de-DE",
    timezoneId: "America/New_York",
    reducedMotion: "reduce",
    ...options,
  });
  const page = await context.newPage();
  const errors: string[] = [];

  page.setDefaultTimeout(DEADLINE_MS);
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  // The compiler wraps named functions by one that keeps their names, in the page too.
  await page.addInitScript("globalThis.__name = (named) => named");
  await page.goto(`${url}/deployment`);
  return { page, errors, close: () => context.close() };
}

/** Opens the page, waits until it is live, does the work, and wants no error to have come up. */
export async function withLivePage(
  browser: Browser,
  work: (page: Page) => Promise<void>,
  options: BrowserContextOptions = {},
): Promise<void> {
  const { page, errors, close } = await open(browser, options);

  try {
    await isLive(page);
    await work(page);
    assert.deepEqual(errors, []);
  } finally {
    await close();
  }
}

export async function eventually<T>(probe: () => Promise<T>, expected: T, what: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;

  for (;;) {
    const found = await probe();

    if (isDeepStrictEqual(found, expected)) {
      return;
    }
    if (Date.now() > deadline) {
      assert.deepEqual(found, expected, what);
    }
    await pause(25);
  }
}

export function link(page: Page): Promise<string> {
  return page.locator(".link").textContent().then((text) => text ?? "");
}

export function isLive(page: Page): Promise<void> {
  return eventually(() => link(page), "Connection: Live", "the page listens");
}

/** A content type as somebody reads it off the page. */
export interface Seen {
  status: string[];
  note: string;
  /** The progress bar as it is read out: null where there is none. */
  progress: string | null;
  percent: string;
  run: string;
  step: string;
  /** The exact time that belongs to "3 min ago"; null for "Never". */
  lastSync: string | null;
}

export function seen(page: Page): Promise<Record<string, Seen>> {
  return page.locator("tbody tr[data-key]").evaluateAll((rows) =>
    Object.fromEntries(
      rows.map((row) => [
        row.querySelector("[role=rowheader]")?.textContent ?? "",
        {
          status: [...row.querySelectorAll(".badge")].map((badge) => badge.textContent ?? ""),
          note: row.querySelector(".status .note")?.textContent ?? "",
          progress: row.querySelector("[role=progressbar]")?.getAttribute("aria-valuetext") ?? null,
          percent: row.querySelector(".percent")?.textContent ?? "",
          run: row.querySelector(".run .note")?.textContent ?? "",
          step: [...row.querySelectorAll(".step > *")].map((part) => part.textContent).join(": "),
          lastSync: row.querySelector(".last > time")?.getAttribute("datetime") ?? null,
        },
      ]),
    ),
  );
}

/** Waits until the page shows these parts of a content type. */
export function shows(page: Page, typeKey: string, part: Partial<Seen>): Promise<void> {
  return eventually(
    async () => {
      const row = (await seen(page))[typeKey];
      return row && Object.fromEntries(Object.keys(part).map((name) => [name, row[name as keyof Seen]]));
    },
    part,
    `what the page shows of ${typeKey}`,
  );
}

export function status(page: Page, typeKey: string, ...words: string[]): Promise<void> {
  return shows(page, typeKey, { status: words });
}

export function announced(page: Page): Promise<string> {
  return page.getByRole("status").textContent().then((text) => text ?? "");
}

/**
 * Refreshes.  What is shown then was read after this call, and no other reading is
 * under way: what nobody tells the page after that, it does not know for half a minute.
 */
export async function refresh(page: Page): Promise<void> {
  const button = page.getByRole("button", { name: "Refresh" });

  await button.click();
  await eventually(() => button.getAttribute("aria-disabled"), "false", "the page has been refreshed");
}

/** When what is shown was read, in milliseconds. */
export async function readAt(page: Page): Promise<number> {
  return Date.parse((await page.locator(".as-of time").getAttribute("datetime")) ?? "");
}
