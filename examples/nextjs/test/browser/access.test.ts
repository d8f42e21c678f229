/*
 * The page for everybody: by keyboard, on a phone, in light and dark, by a screen
 * reader, without seeing colours.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { type Scene, sceneOfEveryStatus, WORDS } from "./fixture";
import { announced, eventually, open, shows, withLivePage } from "./harness";
import { type Contrast, contrasts } from "./contrast";

let scene: Scene;

before(async () => {
  scene = await sceneOfEveryStatus();
});

after(() => scene.close());

const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 3, isMobile: true, hasTouch: true };

/** The name of what has the focus, as a screen reader would say it. */
function focused(page: Page): Promise<string> {
  return page.evaluate(() => document.activeElement?.textContent?.replace(/\s+/g, " ").trim() ?? "");
}

test("by keyboard: everything in the order in which it is seen, and the focus shows", async () => {
  await withLivePage(scene.browser, async (page) => {
    const expected = ["Refresh", "All 12", "Conflict 2", "Interrupted 1", "Failed 2", "Syncing 2", "Modified 2", "New 1",
      "In sync 2", "No status 1"];

    for (const name of expected) {
      await page.keyboard.press("Tab");
      assert.equal(await focused(page), name);
      const outline = await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement ?? document.body);
        return { outlineStyle, outlineWidth };
      });
      assert.deepEqual(outline, { outlineStyle: "solid", outlineWidth: "2px" }, name);
    }
    await page.keyboard.press("Tab");
    assert.ok(!expected.includes(await focused(page)), "and it is not trapped");
  });
});

test("by keyboard: refresh by Enter and by Space, and the focus stays", async () => {
  await withLivePage(scene.browser, async (page) => {
    await page.keyboard.press("Tab");
    for (const key of ["Enter", "Space"]) {
      const read = page.waitForResponse("**/api/v1/sync/status");
      await page.keyboard.press(key);
      assert.equal((await read).status(), 200);
      await eventually(async () => /^Refreshed, as of /.test(await announced(page)), true, `${key} refreshes`);
      assert.equal(await focused(page), "Refresh");
    }
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("tbody tr").count(), 2, "only conflicts");
    await page.keyboard.press("Enter");
    assert.equal(await page.locator("tbody tr").count(), 12, "all again");
  });
});

test("a screen reader finds the page's parts by role and name, on a phone too", async () => {
  for (const options of [{}, PHONE]) {
    await withLivePage(scene.browser, async (page) => {
      const tree = await page.locator("body").ariaSnapshot();

      for (const line of [
        /^- banner:/m,
        /- heading "Deployment" \[level=1\]/,
        /- button "Refresh"/,
        /^- main:/m,
        /- group "Show only":/,
        /- button "All 12" \[pressed\]/,
        /- table "Content types":/,
        /- columnheader "Content type"/,
        /- columnheader "Last sync"/,
        /- rowheader "article"/,
        /- cell "Conflict"/,
        /- progressbar "Progress of article"/,
        /^- status/m,
        /^- alert/m,
      ]) {
        assert.match(tree, line);
      }
      for (const [typeKey, { status }] of Object.entries(WORDS)) {
        const name = await page.getByRole("row", { name: new RegExp(`^${typeKey} ${status.join(" ?")}`) }).count();
        assert.equal(name, 1, `a row "${typeKey} ${status.join(" ")} …"`);
      }
      const bar = page.getByRole("progressbar", { name: "Progress of media" });
      assert.equal(await bar.getAttribute("aria-valuetext"), WORDS["media"]?.progress);
      assert.equal(await page.locator("svg:not([aria-hidden=true])").count(), 0, "pictures only repeat words");
      assert.equal(await page.locator("html").getAttribute("lang"), "en");
    }, options);
  }
});

/** How often each role occurs in the tree that the browser itself hands to a screen reader. */
async function roles(page: Page): Promise<Record<string, number>> {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const counts: Record<string, number> = {};

  for (const { ignored, role } of nodes) {
    const name = String(role?.value);
    counts[name] = (counts[name] ?? 0) + (ignored ? 0 : 1);
  }
  return counts;
}

test("the table is one for the browser too, even where it is laid out as cards", async () => {
  for (const options of [{}, PHONE]) {
    await withLivePage(scene.browser, async (page) => {
      const { table, row, columnheader, rowheader, cell, progressbar } = await roles(page);

      assert.deepEqual({ table, row, columnheader, rowheader, cell, progressbar },
        { table: 1, row: 13, columnheader: 5, rowheader: 12, cell: 48, progressbar: 4 });
    }, options);
  }
});

test("each state has a word and a picture of its own: colours may be missing", async () => {
  await withLivePage(scene.browser, async (page) => {
    const badges = await page.locator("tbody .badge").evaluateAll((all) =>
      all.map((badge) => [badge.textContent ?? "", badge.querySelector("svg")?.innerHTML ?? ""] as const));
    const pictures = new Map(badges);

    assert.deepEqual([...pictures.keys()].sort(),
      ["Conflict", "Failed", "In sync", "Interrupted", "Modified", "New", "No status", "Syncing"]);
    assert.equal(new Set(pictures.values()).size, pictures.size, "no two alike");
    for (const [word, picture] of badges) {
      assert.ok(picture.length > 0 && pictures.get(word) === picture, word);
    }
  });
});

test("on a phone: nothing beyond its edges, nothing too small for a finger", async () => {
  const long = "k".repeat(512);

  await scene.db.rows("SELECT sync_state_begin($1, owner => repeat('o', 200))", [long]);
  await withLivePage(scene.browser, async (page) => {
    await shows(page, long, { status: ["Syncing"] });
    for (const width of [360, 320]) {
      await page.setViewportSize({ width, height: 740 });
      const beyond = await page.evaluate(() => ({
        page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        parts: [...document.querySelectorAll("header *, main *")]
          .filter((part) => part.closest(".hidden, thead") === null)
          .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
          .map((part) => part.outerHTML.slice(0, 100)),
      }));
      assert.deepEqual(beyond, { page: 0, parts: [] });
      for (const button of await page.getByRole("button").all()) {
        const box = await button.boundingBox();
        assert.ok(box && box.height >= 40 && box.width >= 40, await button.innerText());
      }
    }
  }, PHONE);
  await scene.db.rows("SELECT sync_state_forget($1, force => true)", [long]);
});

test("between phone and desktop, and enlarged, there is no sideways scrolling either", async () => {
  await withLivePage(scene.browser, async (page) => {
    for (const width of [480, 640, 767, 768, 900, 1280, 2560]) {
      await page.setViewportSize({ width, height: 800 });
      assert.equal(await page.evaluate(() =>
        document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, `${width} pixels`);
      const cut = await page.locator(".badge, .what, .percent, .summary button, thead th").evaluateAll((parts) =>
        parts.filter((part) => part.scrollWidth > part.clientWidth + 1).map((part) => part.textContent));
      assert.deepEqual(cut, [], `${width} pixels`);
      // The ground of a badge reaches by half a letter into the room between cells.
      const overlap = await page.locator("tbody td").evaluateAll((cells) =>
        cells.filter((cell) => [...cell.querySelectorAll("*")].some((part) =>
          part.getBoundingClientRect().right > cell.getBoundingClientRect().right + 8)).map((cell) => cell.textContent));
      assert.deepEqual(overlap, [], `${width} pixels`);
    }
  });
});

function tooFaint(found: Contrast[]): Contrast[] {
  return found.filter(({ ratio, atLeast }) => ratio < atLeast);
}

for (const colorScheme of ["light", "dark"] as const) {
  test(`contrast of everything that is shown: ${colorScheme}`, async () => {
    const { page, close } = await open(scene.browser, { colorScheme });

    await page.getByRole("button", { name: "Conflict" }).hover();
    const found = await contrasts(page);
    assert.ok(found.length > 100, `${found.length} texts and edges`);
    assert.deepEqual(tooFaint(found), []);

    await page.route("**/api/v1/sync/status", (route) => route.fulfill({ status: 503, json: {} }));
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("The database cannot be reached.").first().waitFor();
    assert.deepEqual(tooFaint(await contrasts(page)), [], "marked as old");
    await close();
  });
}

test("light and dark are not the same", async () => {
  await withLivePage(scene.browser, async (page) => {
    const grounds = new Set<string>();

    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    }
    assert.equal(grounds.size, 2);
  });
});

test("who does not want motion gets none", async () => {
  await withLivePage(scene.browser, async (page) => {
    for (const [reducedMotion, moving] of [["reduce", false], ["no-preference", true]] as const) {
      await page.emulateMedia({ reducedMotion });
      const duration = await page.locator(".fill").first().evaluate((fill) => getComputedStyle(fill).transitionDuration);
      assert.equal(duration !== "0s", moving, reducedMotion);
    }
  });
});
