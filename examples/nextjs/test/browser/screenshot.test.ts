/*
 * The picture of the page in the documentation, doc/deployment-page.png: SCREENSHOT
 * names the file to write.  With SCREENSHOTS, a directory, there are others for who
 * works on the page: on a phone, dark, in trouble.
 */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { BrowserContextOptions, Page } from "playwright-core";
import { type Scene, sceneOfEveryStatus, WORDS } from "./fixture";
import { eventually, seen, withLivePage } from "./harness";

const DESKTOP: BrowserContextOptions = { viewport: { width: 1080, height: 800 }, colorScheme: "light" };
const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true };

let scene: Scene;

before(async () => {
  scene = await sceneOfEveryStatus();
});

after(() => scene.close());

test("a picture for the documentation", async () => {
  const { SCREENSHOT: file } = process.env;

  await withLivePage(scene.browser, async (page) => {
    await eventually(async () => Object.keys(await seen(page)).length, Object.keys(WORDS).length, "all is there");
    const table = await page.getByRole("table").boundingBox();
    const picture = await page.screenshot({
      fullPage: true, clip: { x: 0, y: 0, width: 1080, height: Math.ceil((table?.y ?? 0) + (table?.height ?? 0)) + 16 },
    });

    assert.ok(picture.length < 150_000, `${picture.length} bytes`);
    if (file) {
      await writeFile(file, picture);
    }
  }, DESKTOP);
});

async function inTrouble(page: Page): Promise<void> {
  await page.route("**/api/v1/sync/status", (route) => route.fulfill({ status: 503, json: {} }));
  await page.getByRole("button", { name: "Refresh" }).click();
  await page.getByText("The database cannot be reached.").first().waitFor();
}

const { SCREENSHOTS: directory } = process.env;

if (directory) {
  test("pictures for who works on the page", async () => {
    await mkdir(directory, { recursive: true });
    for (const [name, options] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      for (const colorScheme of ["light", "dark"] as const) {
        await withLivePage(scene.browser, async (page) => {
          await page.screenshot({ path: join(directory, `${name}-${colorScheme}.png`), fullPage: true });
        }, { ...options, colorScheme });
        await withLivePage(scene.browser, async (page) => {
          await inTrouble(page);
          await page.screenshot({ path: join(directory, `${name}-${colorScheme}-trouble.png`) });
        }, { ...options, colorScheme }).catch(() => undefined);
      }
    }
  });
}
