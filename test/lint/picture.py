#!/usr/bin/python3
"""Checks that the README's picture can be read, on light and on dark paper.

    test/lint/picture.py [SVG...]

- every text is at least 14 units high (a README shows the picture at about nine tenths
  of its size), lies within the box that it begins in, or else within the picture, and
  does not run into another text;
- every colour of text has a contrast of 4.5 or more, in both colour schemes, against
  whatever text can lie on (WCAG 2.1, success criterion 1.4.3);
- there is a title and a description, and nothing is fetched from elsewhere.

How wide a text is depends on the reader's fonts; what is taken here is more than the
common ones need.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

from pages import Verdict

SVG = "{http://www.w3.org/2000/svg}"
LEAST_SIZE, LEAST_CONTRAST = 14.0, 4.5
PAPERS = (".paper", ".box", ".heart")


@dataclass
class Box:
    left: float
    top: float
    right: float
    bottom: float

    def has(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def encloses(self, other: Box) -> bool:
        return self.has(other.left, other.top) and self.has(other.right, other.bottom)

    def meets(self, other: Box) -> bool:
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{(.*?)^\s*\}\s*$", re.S | re.M)


def rules(style: str) -> dict[str, str]:
    """The declarations by their selectors."""
    return {selector: declarations for selector, declarations in re.findall(r"^\s*([.\w]+) \{([^}]*)\}", style, re.M)}


def colours(declared: dict[str, str]) -> dict[str, str]:
    """The fill of each selector."""
    found = {selector: re.search(r"fill: (#[0-9a-f]{6})", text) for selector, text in declared.items()}
    return {selector: match[1] for selector, match in found.items() if match}


def luminance(colour: str) -> float:
    parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class Picture:
    def __init__(self, path: str) -> None:
        self.root = ElementTree.parse(path).getroot()
        self.style = "".join(element.text or "" for element in self.root.iter(SVG + "style"))
        dark = DARK.search(self.style)
        self.light = rules(DARK.sub("", self.style))
        self.dark = rules(dark[1]) if dark else {}
        left, top, width, height = map(float, self.root.attrib["viewBox"].split())
        self.paper = Box(left, top, left + width, top + height)
        self.boxes = [self.box_of(element) for element in self.root.iter(SVG + "rect")]

    @staticmethod
    def box_of(rect: ElementTree.Element) -> Box:
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        return Box(x, y, x + width, y + height)

    def rule(self, element: ElementTree.Element, name: str) -> str:
        """A property of a text: of its class, or else of texts."""
        value = ""
        for selector in ["text", *("." + word for word in element.attrib.get("class", "").split())]:
            found = re.search(rf"(?:^|[;\s]){name}: ([^;]+)", self.light.get(selector, ""))
            value = found[1] if found else value
        return value

    def extent(self, text: ElementTree.Element) -> Box:
        size = float(self.rule(text, "font-size").removesuffix("px"))
        wide = 0.62 if "mono" in self.rule(text, "font-family") or self.rule(text, "font-weight") else 0.57
        x, y = float(text.attrib["x"]), float(text.attrib["y"])
        return Box(x, y - 0.8 * size, x + wide * size * len(text.text or ""), y + 0.25 * size)


def check(path: str, verdict: Verdict) -> None:
    picture = Picture(path)
    texts = [(element, picture.extent(element)) for element in picture.root.iter(SVG + "text")]
    verdict.check(len(texts) > 5, f"{path}: hardly a text")
    for element, extent in texts:
        where = f"{path}: \"{element.text}\""
        verdict.check(float(picture.rule(element, "font-size").removesuffix("px")) >= LEAST_SIZE, f"{where} is too small")
        around = min((box for box in picture.boxes if box.has(extent.left, (extent.top + extent.bottom) / 2)), key=Box.area)
        verdict.check(around.encloses(extent), f"{where} reaches beyond its box: {extent}, {around}")
        met = [other.text for other, that in texts if other is not element and extent.meets(that)]
        verdict.check(not met, f"{where} runs into {met}")

    light, dark = colours(picture.light), colours(picture.dark)
    verdict.check(set(light) == set(dark), f"{path}: not the same things have a colour in both schemes: {set(light) ^ set(dark)}")
    inks = {"text", ".head", *("." + word for element, _ in texts for word in element.attrib.get("class", "").split())}
    for name, scheme in (("light", light), ("dark", dark)):
        for ink in sorted(inks & set(scheme)):
            for paper in PAPERS:
                ratio = contrast(scheme[ink], scheme[paper])
                verdict.check(ratio >= LEAST_CONTRAST, f"{path}: {ink} on {paper}, {name}: contrast {ratio:.1f}")

    for name in ("title", "desc"):
        element = picture.root.find(SVG + name)
        verdict.check(element is not None and bool((element.text or "").strip()), f"{path}: no {name}")
    fetched = [value for element in picture.root.iter() for name, value in element.attrib.items()
               if "://" in value or name.endswith("href")]
    verdict.check(not fetched, f"{path}: refers to {fetched}")


def main() -> int:
    verdict = Verdict()
    for path in sys.argv[1:] or ["doc/overview.svg"]:
        check(path, verdict)
    return verdict.end()


if __name__ == "__main__":
    sys.exit(main())
