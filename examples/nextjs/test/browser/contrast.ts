/*
 * Contrast as WCAG 2.2 defines it, of what a page really shows: each text against
 * what lies behind it, each edge of a control and each bar against its ground.
 *
 * Colours are computed ones.  A ground that lets something through is laid over
 * what is behind it, up to the canvas.
 */
import type { Page } from "playwright-core";

export interface Contrast {
  what: string;
  colour: string;
  against: string;
  ratio: number;
  /** 4.5 for text, 3 for what is no text: criteria 1.4.3 and 1.4.11. */
  atLeast: number;
}

export function contrasts(page: Page): Promise<Contrast[]> {
  return page.evaluate(() => {
    type Colour = [red: number, green: number, blue: number, alpha: number];

    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    if (canvas === null) {
      throw new Error("no canvas to ask for colours");
    }
    const parsed = (css: string): Colour => {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = css;
      canvas.fillRect(0, 0, 1, 1);
      const [red = 0, green = 0, blue = 0, alpha = 0] = canvas.getImageData(0, 0, 1, 1).data;
      return [red, green, blue, alpha / 255];
    };
    const over = (top: Colour, below: Colour): Colour => [
      top[0] * top[3] + below[0] * (1 - top[3]),
      top[1] * top[3] + below[1] * (1 - top[3]),
      top[2] * top[3] + below[2] * (1 - top[3]),
      1,
    ];
    const ground = (element: Element | null): Colour => {
      if (element === null) {
        return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0, 1] : [255, 255, 255, 1];
      }
      const own = parsed(getComputedStyle(element).backgroundColor);
      return own[3] === 1 ? own : over(own, ground(element.parentElement));
    };
    const linear = (channel: number): number => {
      const share = channel / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    const luminance = ([red, green, blue]: Colour): number =>
      0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
    const compared = (what: string, css: string, behind: Colour, atLeast: number): Contrast => {
      const colour = over(parsed(css), behind);
      const [light = 0, dark = 0] = [luminance(colour), luminance(behind)].sort((one, other) => other - one);
      return {
        what,
        colour: colour.map(Math.round).join(" "),
        against: behind.map(Math.round).join(" "),
        ratio: Math.round(((light + 0.05) / (dark + 0.05)) * 100) / 100,
        atLeast,
      };
    };
    const found: Contrast[] = [];

    for (const element of document.body.querySelectorAll("*")) {
      const style = getComputedStyle(element);
      const text = [...element.childNodes]
        .filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.textContent ?? "").join("").trim();

      if (element.closest(".hidden, script, style") !== null || element.getClientRects().length === 0) {
        continue;
      }
      if (style.opacity !== "1" && element.className !== "flash") {
        throw new Error(`${element.outerHTML} lets through what is behind it: its contrast is not known`);
      }
      if (text !== "" && element.closest("svg") === null) {
        found.push(compared(`text ${text.slice(0, 40)}`, style.color, ground(element), 4.5));
      }
      if (element instanceof SVGElement && element.classList.contains("icon")) {
        found.push(compared(`picture ${element.dataset["icon"]}`, style.stroke, ground(element), 3));
      }
      if (element.classList.contains("dot")) {
        found.push(compared("dot", style.borderTopColor, ground(element.parentElement), 3));
      }
      if (element.classList.contains("refresh") || element.getAttribute("aria-pressed") === "true") {
        found.push(compared(`edge of ${text}`, style.borderTopColor, ground(element.parentElement), 3));
      }
      if (element.classList.contains("fill")) {
        // A striped one has its colour in the stripes.
        found.push(compared("bar", style.getPropertyValue("--tone"), ground(element.parentElement), 3));
      }
    }
    // The focus, on the grounds on which it can be.
    for (const button of document.querySelectorAll("button")) {
      const accent = getComputedStyle(document.documentElement).getPropertyValue("--accent");
      found.push(compared("focus", accent, ground(button.parentElement), 3));
    }
    return found;
  });
}
