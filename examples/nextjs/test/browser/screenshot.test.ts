/*
 * Pictures of the page for the documentation and for who works on it, made on
 * demand: SCREENSHOT names a directory.  deployment-page.png is the one that is
 * shown in the documentation; it is committed as doc/deployment-page.png.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { everyStatus } from "./fixture";
import { Database, isLive, launch, open } from "./harness";

const directory = process.env["SCREENSHOT"];
const WINDOWS = {
  "deployment-page": { viewport: { width: 1080, height: 860 }, colorScheme: "light" },
  "deployment-page-dark": { viewport: { width: 1080, height: 860 }, colorScheme: "dark" },
  "deployment-page-phone": { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, colorScheme: "light" },
  "deployment-page-phone-dark": { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, colorScheme: "dark" },
} as const;

test("screenshots", { skip: directory ? false : "SCREENSHOT names no directory" }, async () => {
  const browser = await launch();
  const db = await Database.connect();

  await everyStatus(db);
  await mkdir(directory ?? "", { recursive: true });
  for (const [name, window] of Object.entries(WINDOWS)) {
    const { page, close } = await open(browser, window);

    await isLive(page);
    await page.screenshot({ path: join(directory ?? "", `${name}.png`), fullPage: true });
    await page.route("**/api/v1/sync/status", (route) => route.fulfill({ status: 503, json: {} }));
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("The database cannot be reached.").first().waitFor();
    await page.screenshot({ path: join(directory ?? "", `${name}-old.png`) });
    await close();
  }
  await browser.close();
  await db.end();
});
