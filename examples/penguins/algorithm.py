"""Body size of three penguin species: statistics as JSON and CSV, and a chart as SVG.

Plain Python 3 without packages. It uses only the variables that every Ocean algorithm gets: DIDS (a JSON list of the
data sets' names), INPUTS (a folder with one folder per data set) and OUTPUTS (the folder for results).
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import correlation, fmean, linear_regression, median, stdev

MEASURES = {
    "bill_length_mm": "bill length, mm",
    "bill_depth_mm": "bill depth, mm",
    "flipper_length_mm": "flipper length, mm",
    "body_mass_g": "body mass, g",
}
# Colours that people with colour blindness can tell apart (Okabe–Ito, Tol), and a different mark for each species.
STYLES = [("#d07c0a", "circle"), ("#9b2f7a", "triangle"), ("#0068a8", "square")]


@dataclass(frozen=True)
class Penguin:
    species: str
    island: str
    sex: str
    year: int
    measures: dict[str, float]

    @property
    def flipper(self) -> float:
        return self.measures["flipper_length_mm"]

    @property
    def mass(self) -> float:
        return self.measures["body_mass_g"] / 1000


def main() -> None:
    inputs, outputs = Path(os.environ["INPUTS"]), Path(os.environ["OUTPUTS"])
    penguins: list[Penguin] = []
    for name in json.loads(os.environ["DIDS"]):
        for file in sorted((inputs / name).iterdir()):
            found = list(read(file))
            print(f"{name}/{file.name}: {len(found)} penguins with all measures")
            penguins += found
    groups = {name: [p for p in penguins if p.species == name] for name in sorted({p.species for p in penguins})}
    summaries = {name: summary(group) for name, group in groups.items()}

    (outputs / "statistics.json").write_text(json.dumps(summaries, indent=2) + "\n")
    write_csv(outputs / "statistics.csv", summaries)
    (outputs / "penguins.svg").write_text(Chart(groups).draw(), encoding="utf-8")
    print(f"{len(penguins)} penguins of {len(groups)} species: statistics.json, statistics.csv, penguins.svg")


def read(file: Path) -> Iterable[Penguin]:
    """The penguins of one CSV file. Skips rows with missing measurements (`NA`)."""
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if "NA" not in [row[name] for name in MEASURES]:
                measures = {name: float(row[name]) for name in MEASURES}
                yield Penguin(row["species"], row["island"], row["sex"], int(row["year"]), measures)


def summary(group: Sequence[Penguin]) -> dict[str, object]:
    columns = {name: [p.measures[name] for p in group] for name in MEASURES}
    return {
        "count": len(group),
        "islands": sorted({p.island for p in group}),
        "years": sorted({p.year for p in group}),
        "measures": {
            name: {
                "mean": round(fmean(values), 2),
                "sd": round(stdev(values), 2),
                "median": median(values),
                "min": min(values),
                "max": max(values),
            }
            for name, values in columns.items()
        },
        "flipper_mass_correlation": round(correlation(columns["flipper_length_mm"], columns["body_mass_g"]), 3),
    }


def write_csv(file: Path, summaries: dict[str, dict[str, object]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["species", "count", "measure", "mean", "sd", "median", "min", "max"])
        for species, about in summaries.items():
            for measure, numbers in about["measures"].items():  # type: ignore[attr-defined]
                writer.writerow([species, about["count"], MEASURES[measure], *numbers.values()])


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels; `first` and `last` are the pixels of `low` and `high`."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


class Chart:
    """Flipper length against body mass, with the distribution of each along the edges."""

    WIDTH, HEIGHT = 960, 700
    LEFT, RIGHT, TOP, BOTTOM = 78, 792, 216, 606  # the scatter plot
    RIDGE = 76  # height of the distributions beside it
    INK, SOFT, FAINT, PAPER = "#20262e", "#5c6672", "#e4e1da", "#fdfcf9"

    def __init__(self, groups: dict[str, list[Penguin]]) -> None:
        self.groups = groups
        everyone = [p for group in groups.values() for p in group]
        self.x_ticks = ticks([p.flipper for p in everyone], 5)
        self.y_ticks = ticks([p.mass for p in everyone], 0.5)
        self.x = Axis(self.x_ticks[0], self.x_ticks[-1], self.LEFT, self.RIGHT)
        self.y = Axis(self.y_ticks[0], self.y_ticks[-1], self.BOTTOM, self.TOP)
        self.style = dict(zip(groups, STYLES, strict=False))

    def draw(self) -> str:
        parts = [self.heading(), self.legend(), self.grid(), self.ridges()]
        parts += [self.points(name) for name in self.groups]
        parts += [self.trend(name) for name in self.groups]
        parts.append(self.footer())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.WIDTH} {self.HEIGHT}" '
            f'width="{self.WIDTH}" height="{self.HEIGHT}" role="img" aria-labelledby="title" '
            "font-family=\"'Source Sans 3', 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
            f'font-size="13" fill="{self.INK}">\n'
            f'<rect width="100%" height="100%" fill="{self.PAPER}"/>\n' + "\n".join(parts) + "\n</svg>\n"
        )

    def heading(self) -> str:
        heaviest = max(self.groups, key=lambda name: fmean(p.mass for p in self.groups[name]))
        left = self.LEFT - 38
        return (
            f'<text id="title" x="{left}" y="48" font-size="25" font-weight="600" letter-spacing="-0.2">'
            "Longer flippers, heavier penguins</text>\n"
            f'<text x="{left}" y="73" font-size="15" fill="{self.SOFT}">'
            "Within each species body mass grows with flipper length; "
            f"the {escape(heaviest)} stands apart in both.</text>"
        )

    def legend(self) -> str:
        parts, at = [], self.LEFT - 38
        for name, group in self.groups.items():
            colour, shape = self.style[name]
            mass = fmean(p.mass for p in group)
            note = f"{len(group)} birds, mean {mass:.1f} kg"
            parts.append(
                f'<g fill="{colour}">{mark(shape, at + 6, 105.5, 6)}</g>'
                f'<text x="{at + 19}" y="110" font-size="14" fill="{self.SOFT}">'
                f'<tspan font-weight="600" fill="{colour}">{escape(name)}</tspan>'
                f'<tspan dx="8">{note}</tspan></text>'
            )
            at += 278
        return "\n".join(parts)

    def grid(self) -> str:
        lines, labels = [], []
        for value in self.x_ticks:
            at = self.x(value)
            lines.append(f'<path d="M{at:.1f} {self.TOP}V{self.BOTTOM}"/>')
            labels.append(f'<text x="{at:.1f}" y="{self.BOTTOM + 21}" text-anchor="middle">{value:g}</text>')
        for value in self.y_ticks:
            at = self.y(value)
            lines.append(f'<path d="M{self.LEFT} {at:.1f}H{self.RIGHT}"/>')
            labels.append(f'<text x="{self.LEFT - 12}" y="{at + 4.5:.1f}" text-anchor="end">{value:.1f}</text>')
        middle = (self.LEFT + self.RIGHT) / 2
        height = (self.TOP + self.BOTTOM) / 2
        return (
            f'<g stroke="{self.FAINT}" fill="none">{"".join(lines)}</g>\n<g fill="{self.SOFT}">{"".join(labels)}</g>\n'
            f'<text x="{middle}" y="{self.BOTTOM + 46}" text-anchor="middle">Flipper length (mm)</text>\n'
            f'<text transform="translate({self.LEFT - 49} {height}) rotate(-90)" text-anchor="middle">'
            "Body mass (kg)</text>"
        )

    def points(self, name: str) -> str:
        colour, shape = self.style[name]
        marks = "".join(mark(shape, self.x(p.flipper), self.y(p.mass), 4.2) for p in self.groups[name])
        return (
            f'<g fill="{colour}" fill-opacity="0.62" stroke="{self.PAPER}" stroke-width="0.7">'
            f"<title>{escape(name)}</title>{marks}</g>"
        )

    def trend(self, name: str) -> str:
        """The least-squares line of the species, with a light outline so that it stands out from the points."""
        flippers = [p.flipper for p in self.groups[name]]
        slope, base = linear_regression(flippers, [p.mass for p in self.groups[name]])
        ends = [(self.x(v), self.y(base + slope * v)) for v in (min(flippers), max(flippers))]
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in ends)
        return "".join(
            f'<path d="{path}" stroke="{colour}" stroke-width="{width}" stroke-linecap="round" fill="none"/>'
            for colour, width in ((self.PAPER, 6), (self.style[name][0], 2.6))
        )

    def ridges(self) -> str:
        """The smoothed distributions: flipper length above the plot, body mass to its right."""

        def above(value: float, share: float) -> tuple[float, float]:
            return self.x(value), self.TOP - 10 - share * self.RIDGE

        def beside(value: float, share: float) -> tuple[float, float]:
            return self.RIGHT + 10 + share * self.RIDGE, self.y(value)

        return "\n".join(
            [
                self.ridge(lambda p: p.flipper, self.x_ticks, above),
                self.ridge(lambda p: p.mass, self.y_ticks, beside),
            ]
        )

    def ridge(
        self,
        measure: Callable[[Penguin], float],
        span: Sequence[float],
        place: Callable[[float, float], tuple[float, float]],
    ) -> str:
        steps = [span[0] + (span[-1] - span[0]) * n / 160 for n in range(161)]
        curves = {name: density([measure(p) for p in group], steps) for name, group in self.groups.items()}
        peak = max(max(curve) for curve in curves.values())
        parts = []
        for name, curve in curves.items():
            # Leave out the tails, which would only thicken the base line.
            shown = [(v, d / peak) for v, d in zip(steps, curve, strict=True) if d > peak / 400]
            outline = [place(v, share) for v, share in shown]
            area = [place(shown[0][0], 0), *outline, place(shown[-1][0], 0)]
            colour = self.style[name][0]
            parts.append(
                f'<path d="{polyline(area)}Z" fill="{colour}" fill-opacity="0.16"/>'
                f'<path d="{polyline(outline)}" stroke="{colour}" stroke-width="1.6" fill="none"/>'
            )
        return "".join(parts)

    def footer(self) -> str:
        years = sorted({p.year for group in self.groups.values() for p in group})
        islands = sorted({p.island for group in self.groups.values() for p in group})
        text = (
            f"Palmer Archipelago, Antarctica ({', '.join(islands)}), {years[0]}–{years[-1]}. "
            "Data: Gorman, Williams, Fraser (2014), Palmer Station LTER; CC0."
        )
        place = f'x="{self.LEFT - 38}" y="{self.HEIGHT - 20}"'
        return f'<text {place} font-size="11.5" fill="{self.SOFT}">{escape(text)}</text>'


def ticks(values: Sequence[float], step: float) -> list[float]:
    """Round numbers that enclose all values."""
    first, last = math.floor(min(values) / step), math.ceil(max(values) / step)
    return [n * step for n in range(first, last + 1)]


def density(values: Sequence[float], at: Sequence[float]) -> list[float]:
    """A Gaussian kernel estimate with Silverman's bandwidth."""
    width = 0.9 * stdev(values) * len(values) ** -0.2
    scale = 1 / (len(values) * width * math.sqrt(2 * math.pi))
    return [scale * sum(math.exp(-(((x - v) / width) ** 2) / 2) for v in values) for x in at]


def polyline(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def mark(shape: str, x: float, y: float, size: float) -> str:
    """A mark; all shapes have about the same area."""
    if shape == "triangle":
        up, side = size * 1.3, size * 1.2
        return f'<path d="M{x:.1f} {y - up:.1f}L{x + side:.1f} {y + up * 0.62:.1f}H{x - side:.1f}Z"/>'
    if shape == "square":
        half = size * 0.88
        return f'<rect x="{x - half:.1f}" y="{y - half:.1f}" width="{2 * half:.1f}" height="{2 * half:.1f}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}"/>'


if __name__ == "__main__":
    main()
