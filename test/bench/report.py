"""The report of a run of the benchmarks: Markdown, and a chart."""

import dataclasses
import html
import math
import os
import re
import statistics
import typing

MISSED = "Missed targets"
BEGIN, END = "<!-- make bench DOC=1: begin -->\n", "<!-- make bench DOC=1: end -->\n"


@dataclasses.dataclass
class Row:
    """A comparison: a value for each round, with its target such as "≤ 1.2"."""
    what: str
    by: str
    values: list
    unit: str
    ours: str
    theirs: str
    wall: str
    target: typing.Optional[str]
    reason: typing.Optional[str]

    @property
    def median(self):
        return statistics.median(self.values)

    def met(self):
        relation, limit = self.limit()
        return self.median <= limit if relation == "≤" else self.median >= limit

    def limit(self):
        relation, limit = self.target.split()
        return relation, float(limit)

    def excess(self, value):
        """How far from the target: 1 is at it, more is worse."""
        relation, limit = self.limit()
        value, limit = max(value, 1e-9), max(limit, 1e-9)
        return value / limit if relation == "≤" else limit / value

    def result(self):
        unit = "" if not self.unit else " " + self.unit
        spread = "" if len(self.values) == 1 else f" ({number(min(self.values))}–{number(max(self.values))})"
        return f"{number(self.median)}{spread}{unit}"

    def verdict(self):
        if self.target is None:
            return ""
        return "met" if self.met() else "**missed**"

    def text(self):
        """A line for the terminal."""
        sides = f"  [{self.ours} against {self.theirs}]" if self.ours else ""
        wall = f", wall {self.wall}" if self.wall else ""
        target = "" if self.target is None else f"  target {self.target}: {self.verdict().strip('*')}"
        return f"{self.what}: {self.result()}{wall}{sides}{target}"

    def cells(self):
        target = "" if self.target is None else self.target + (" " + self.unit if self.unit else "")
        return [self.what, self.ours, self.theirs, self.by, self.result(), self.wall, target,
                self.verdict()]


def number(value):
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - max(0, math.floor(math.log10(abs(value)))))}f}"


def quantity(value, by):
    """Seconds in a unit that suits; a rate."""
    if by == "rate":
        return f"{value:.0f}/s"
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{number(value * factor)} {unit}"
    return f"{number(value * 1e9)} ns"


def table(rows):
    lines = [["what", "ours", "theirs", "by", "result", "wall", "target", ""], ["---"] * 8]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines + [row.cells() for row in rows])


def summary(facts, sections, failed):
    """Everything but the title."""
    text = "| | |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in facts)
    text += ("\nMedians of rounds that took turns; the result is the median of the rounds' ratios, or of"
             " the\nfigure itself, with the least and the greatest. `cpu`: what the kernel charged to the"
             " backend;\n`wall`: ratio of the wall times beside it.\n")
    for section in sections:
        text += f"\n## {section.name}\n\n{section.module.__doc__.strip()}\n\n"
        if section.name in failed:
            text += "Could not run to its end.\n\n"
        text += table(section.rows)
        text += "".join(f"\n{note}\n" for note in section.notes)
    return text + f"\n## {MISSED}\n\n" + ("".join(missed_targets(sections)) or "None.\n")


def missed_targets(sections):
    """A line for each."""
    return [f"- {section.name}, {row.what}: {row.result()}, target {row.target}."
            f"{' ' + row.reason if row.reason else ''}\n"
            for section in sections for row in section.rows if row.target is not None and not row.met()]


def chart(sections):
    """A line per row that has a target: how far it is from it, on a logarithmic scale."""
    rows = [(section.name, row) for section in sections for row in section.rows if row.target]
    left, width, height, top = 560, 480, 22, 50

    def x(excess):
        return left + width / 2 * (1 + max(-1, min(1, math.log(excess, 4))))

    lines = [f'<text x="{x(mark):.0f}" y="{top - 12}" text-anchor="middle">{text}</text>'
             f'<line x1="{x(mark):.0f}" x2="{x(mark):.0f}" y1="{top - 6}" y2="{top + height * len(rows)}"'
             f' stroke="{"black" if mark == 1 else "#ddd"}"/>'
             for mark, text in ((0.25, "4× better"), (0.5, "2× better"), (1, "target"),
                                (2, "2× worse"), (4, "4× worse"))]
    for index, (name, row) in enumerate(rows):
        y = top + height * index + height / 2
        color = "#2a7f3f" if row.met() else "#c0392b"
        ends = sorted(x(row.excess(value)) for value in (min(row.values), max(row.values)))
        lines.append(
            f'<text x="8" y="{y + 4:.0f}">{html.escape(name)}: {html.escape(row.what)}</text>'
            f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="3"'
            f' opacity="0.4"/><circle cx="{x(row.excess(row.median)):.1f}" cy="{y}" r="5" fill="{color}"/>'
            f'<text x="{left + width + 10}" y="{y + 4:.0f}">{number(row.median)} {row.unit}'
            f' ({html.escape(row.target)})</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 140}"'
            f' height="{top + height * len(rows) + 10}" font-family="sans-serif" font-size="12">\n'
            '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(lines) + "\n</svg>\n")


def write(directory, facts, sections, failed):
    with open(os.path.join(directory, "report.md"), "w", encoding="utf-8") as file:
        file.write("# Benchmarks\n\n![Results against their targets](chart.svg)\n\n"
                   + summary(facts, sections, failed))
    with open(os.path.join(directory, "chart.svg"), "w", encoding="utf-8") as file:
        file.write(chart(sections))


def parts(body):
    """What is before the first heading of the third level, and what is under each."""
    head, *rest = re.split(r"^### (.*)\n", body, flags=re.MULTILINE)
    return head, dict(zip(rest[::2], rest[1::2]))


def write_doc(path, facts, sections, failed):
    """Puts the tables between the two marks; those of sections that did not run stay."""
    of_machine = [fact for fact in facts if fact[0] in ("machine", "settings")]
    of_run = ", ".join(f"{name}: {value}" for name, value in facts if name not in ("machine", "settings"))
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(BEGIN)
    old, after = rest.split(END)
    _, kept = parts(old)
    head, new = parts(re.sub(r"^## ", "### ", summary(of_machine, sections, failed), flags=re.MULTILINE))
    names = [section.name for section in sections]
    new.pop(MISSED)
    missed = [line for line in kept.pop(MISSED, "").splitlines(keepends=True)
              if line.startswith("- ") and line[2:].split(",")[0] not in names] + missed_targets(sections)
    for name in names:
        kept[name] = f"{new[name].rstrip()}\n\nOf the run: {of_run}.\n\n"
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "\n" + head + "".join(f"### {name}\n{text}" for name, text in kept.items())
                   + f"### {MISSED}\n\n" + ("".join(missed) or "None.\n") + "\n" + END + after)
