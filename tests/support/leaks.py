"""Small files that leak, and honest ones: what a hostile or careless algorithm leaves in its outputs."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import zlib
from collections import Counter
from collections.abc import Sequence

from support.leak_files import jpeg, noise, notebook, page, penguins, png, svg, table, tarred, zipped

ROWS = penguins()
NAMES = "abcdefgh"
MARKS = (
    "_",
    "/",
    ":",
    "~",
    "&",
    "-",
    "#",
    "..",
    "--",
    " - ",
    "*",
    "§",
    "\x1f",
    "\N{EM SPACE}",
)  # between the cells of a row
NUMBERS = [[float(cell) for cell in row[2:6]] for row in ROWS[:60] if row[5].isdigit()]
COLUMNS = [[row[n] for row in ROWS[4:14]] for n in (2, 3, 4, 5, 7)]
STATISTICS = [["Adelie", "151", "38.8"], ["Gentoo", "123", "47.5"], ["Chinstrap", "68", "48.8"]]


def _named(between: str, row: Sequence[str]) -> str:
    return between.join(f"{name}={cell}" for name, cell in zip(NAMES, row, strict=True))


def _paired(row: Sequence[str]) -> str:
    return "\n".join(f"column_{name}_x: {cell}" for name, cell in zip(NAMES, row, strict=True))


# The rule that must find it, the name of the file, its bytes.
LEAKS: list[tuple[str, str, bytes]] = [
    ("copies", "whole.csv", table(ROWS)),
    ("copies", "reordered.csv", table([row[::-1] for row in ROWS[::-1]])),
    ("copies", "column-dropped.csv", table([row[:4] + row[5:] for row in ROWS])),
    ("overlaps", "one-row.csv", table([*STATISTICS, ROWS[17][:3]])),
    ("copies", "one-row-of-five.csv", table([*([*row, "", ""] for row in STATISTICS), ROWS[17][:5]])),
    ("copies", "one-whole-row.csv", table([*(row + [""] * 5 for row in STATISTICS), ROWS[17]])),
    ("copies", "one-row-and-more.csv", table([*(row + [""] * 6 for row in STATISTICS), [*ROWS[17], "Total"]])),
    ("copies", "one-row.json", json.dumps({"mean": 38.8, "most typical": ROWS[17]}).encode()),
    ("copies", "arrays.json", json.dumps([{"values": row} for row in ROWS[:9]]).encode()),
    ("copies", "series.csv", table([*zip("abcdefgh", ROWS[17], strict=True)], ["", "17"])),
    (
        "copies",
        "series.json",
        json.dumps([{"name": n, "value": v} for n, v in zip(NAMES, ROWS[17], strict=True)]).encode(),
    ),
    ("copies", "one-row.txt", b"The mean is 38.8 mm.\n" + table([ROWS[17]])),
    ("copies", "other-case.csv", table([[cell.upper() + " " for cell in row] for row in ROWS[:20]])),
    ("copies", "as-json.json", json.dumps([dict(zip("abcdefgh", row, strict=True)) for row in ROWS[:30]]).encode()),
    ("copies", "nested.json", json.dumps({"a": {"b": [{"rows": ROWS[:30]}]}}).encode()),
    ("copies", "tabs.tsv", table(ROWS[:40], delimiter="\t")),
    ("copies", "semicolons.csv", table(ROWS[:60], delimiter=";")),
    ("copies", "tabs.csv", table(ROWS[:60], delimiter="\t")),
    ("copies", "spaces.csv", table(ROWS[:60], delimiter=" ")),
    ("copies", "cells-in-cells.csv", table([["x", ";".join(row)] for row in ROWS[:60]])),
    *(
        ("copies", f"joined-by-{n}.csv", table([["x", by.join(row)] for row in ROWS[:60]]))
        for n, by in enumerate(MARKS)
    ),
    *(("copies", f"joined-by-{n}.txt", "\n".join(map(by.join, ROWS[:60])).encode()) for n, by in enumerate(MARKS)),
    ("copies", "joined-in-one.csv", table([["_".join(row)] for row in ROWS[:60]])),
    ("copies", "turned.csv", table([[row[n] for row in ROWS[:60]] for n in range(8)])),
    ("copies", "lines.txt", table(ROWS[:60])),
    ("copies", "printed.txt", "\n".join("  ".join(row) for row in ROWS[:60]).encode()),
    ("copies", "table.md", "\n".join(f"| {' | '.join(row)} |" for row in ROWS[:60]).encode()),
    ("copies", "by-columns.json", json.dumps({f"c{n}": [row[n] for row in ROWS[:60]] for n in range(8)}).encode()),
    (
        "copies",
        "pandas.json",
        json.dumps({f"c{n}": {i: r[n] for i, r in enumerate(ROWS[:60])} for n in range(8)}).encode(),
    ),
    ("copies", "arrays-in-arrays.json", json.dumps({"batches": [[ROWS[:5]], [ROWS[5:9]]]}).encode()),
    ("copies", "without-header.csv", table(ROWS[17:18]).split(b"\r\n", 1)[1]),
    ("copies", "first-row-without-header.csv", table([ROWS[17], *STATISTICS]).split(b"\r\n", 1)[1]),
    ("copies", "one-line.csv", table([[cell for row in ROWS[:5] for cell in row]]).split(b"\r\n", 1)[1]),
    ("copies", "lists.txt", "\n".join(map(str, ROWS[:5])).encode()),
    ("copies", "dictionaries.txt", "\n".join(str(dict(zip(NAMES, row, strict=True))) for row in ROWS[:5]).encode()),
    ("copies", "tuples.csv", table([[str(tuple(row))] for row in ROWS[:5]])),
    ("copies", "objects.txt", "\n".join(f"Row({_named(', ', row)})" for row in ROWS[:5]).encode()),
    ("copies", "key-value.txt", "\n".join(_named(" ", row) for row in ROWS[:5]).encode()),
    (
        "copies",
        "numpy.txt",
        "\n".join(f"[{', '.join(f'np.str_({cell!r})' for cell in row)}]" for row in ROWS[:5]).encode(),
    ),
    ("copies", "values.txt", "\n".join(ROWS[17]).encode()),
    ("copies", "series.txt", "\n".join(f"{n:12}{v}" for n, v in zip(NAMES, ROWS[17], strict=True)).encode()),
    ("copies", "record.txt", "\n".join(f"{n}: {v}" for r in ROWS[:5] for n, v in zip(NAMES, r, strict=True)).encode()),
    ("copies", "lines.svg", svg("".join(f"<text>{','.join(row)}</text>" for row in ROWS[:5]))),
    ("copies", "cells.svg", svg("".join(f"<text>{cell}</text>" for cell in ROWS[17]))),
    ("copies", "escaped.svg", svg(f"<desc>{''.join(f'&#{ord(each)};' for each in ';'.join(ROWS[17]))}</desc>")),
    ("copies", "pandas.html", page(ROWS[:5])),
    ("copies", "tooltips.svg", svg("".join(f"<g><title>{_paired(row)}</title></g>" for row in ROWS[:5]))),
    ("copies", "yaml.txt", "".join(f"- {_paired(row)}\n" for row in ROWS[:5]).encode()),
    (
        "copies",
        "xml.txt",
        "\n".join(f"<row>{''.join(f'<x>{cell}</x>' for cell in row)}</row>" for row in ROWS[:5]).encode(),
    ),
    ("copies", "numpy.csv", "\n".join(" ".join(f"{n:.18e}" for n in row) for row in NUMBERS).encode()),
    ("copies", "exponents.csv", table([[f"{n:.3e}" for n in row] for row in NUMBERS])),
    ("copies", "table-in-json.json", json.dumps({"table": table(ROWS[:20]).decode()}).encode()),
    ("copies", "table-in-a-cell.csv", table([["x", table(ROWS[:20]).decode()]])),
    ("copies", "tuples.txt", str([tuple(row) for row in ROWS[:20]]).encode()),
    ("copies", "dput.txt", ", ".join(f"x_{n} = c({', '.join(column)})" for n, column in enumerate(COLUMNS)).encode()),
    (
        "copies",
        "str.txt",
        "\n".join(f" $ x_{n}_mm: num  {' '.join(column)} ..." for n, column in enumerate(COLUMNS)).encode(),
    ),
    ("columns", "identifiers.csv", table(STATISTICS, ["Patient-ID", "a", "b"])),
    ("columns", "key.csv", table(STATISTICS, ["penguin_no", "a", "b"])),
    ("rows", "long.csv", table([[n] for n in range(5001)])),
    ("cells", "small-cells.csv", table([["Adelie", "3"], ["Gentoo", "120"]], ["species", "n"])),
    ("cells", "small-cells.json", json.dumps({"Adelie": {"count": 9}}).encode()),
    ("cells", "crosstab.csv", table([["Adelie", 73, 3], ["Gentoo", 58, 61]], ["species", "female", "male"])),
    ("cells", "sizes.csv", table([["Adelie", "Biscoe", 4], ["Gentoo", "Dream", 68]], ["species", "island", "0"])),
    ("cells", "described.csv", table([["count", "7.0", "7.0"], ["mean", "38.8", "18.3"]], ["", "bill", "depth"])),
    ("extremes", "described.csv", table([["mean", "38.8"], ["Min.", "32.1"], ["Max.", "59.6"]], ["", "bill"])),
    ("extremes", "extremes.csv", table(STATISTICS, ["species", "body_mass_min", "mean"])),
    ("extremes", "extremes.json", json.dumps({"Adelie": {"mass": {"max": 4775, "mean": 3700}}}).encode()),
    ("precision", "digits.csv", table([["Adelie", "38.79139072847682"]])),
    ("precision", "digits.json", json.dumps({"mean": 38.79139072847682}).encode()),
    ("models", "model.pkl", pickle.dumps({"rows": ROWS[:5]})),
    ("models", "hidden.txt", pickle.dumps(ROWS[:5])),
    ("models", "model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100)),
    ("models", "matrix.npy", b"\x93NUMPY" + bytes(100)),
    ("archives", "all.zip", zipped(data=table(ROWS))),
    ("archives", "zip-inside.zip", zipped(inner=zipped(data=b"x"))),
    ("archives", "renamed.csv", zipped(data=table(ROWS))),
    ("archives", "report.xlsx", zipped(**{"xl/workbook.xml": b"<x/>"})),
    ("archives", "all.tar", tarred("data.csv", table(ROWS))),
    ("archives", "all.csv.gz", gzip.compress(table(ROWS))),
    ("archives", "bomb.gz", gzip.compress(bytes(30 << 20))),
    ("metadata", "comment.png", png((b"tEXt", b"Comment\0" + table(ROWS[:3])))),
    ("metadata", "exif.png", png((b"eXIf", b"MM\0*"))),
    ("metadata", "unknown-chunk.png", png((b"daTa", b"anything"))),
    ("metadata", "after-the-end.png", png(after=table(ROWS))),
    ("metadata", "exif.jpg", jpeg((0xE1, b"Exif\0\0MM"))),
    ("metadata", "comment.jpg", jpeg((0xFE, b"anything"))),
    ("metadata", "after-the-end.jpg", jpeg(after=b"anything")),
    ("metadata", "comment.svg", svg("<!-- anything -->")),
    ("metadata", "metadata.svg", svg("<metadata>anything</metadata>")),
    ("metadata", "data-attribute.svg", svg('<g data-rows="anything"/>')),
    ("active", "script.svg", svg("<script>alert(1)</script>")),
    ("active", "handler.svg", svg('<g onload="alert(1)"/>')),
    ("active", "foreign.svg", svg("<foreignObject/>")),
    ("active", "external.svg", svg('<image href="https://example.org/x.png"/>')),
    ("active", "style.svg", svg("<style>@import url(https://example.org/x.css)</style>")),
    ("active", "javascript.svg", svg('<a href="javascript:alert(1)"/>')),
    ("active", "page.html", b"<p>x<script>alert(1)</script>"),
    ("type", "entities.svg", b'<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + svg()),
    ("type", "page.html", b"<p>x"),
    ("type", "broken.csv", b'a,b\n"1,2\n'),
    ("type", "not-utf8.csv", b"a,b\n\xff\xfe,1\n"),
    ("type", "broken.json", b'{"a": 1'),
    ("type", "twice.json", b'{"a": 1, "a": 2}'),
    ("type", "deep.json", b"[" * 100_000 + b"]" * 100_000),
    ("type", "truncated.png", png()[:-8]),
    ("type", "a-program.txt", b"\x7fELF" + bytes(64)),
    ("type", "no-ending", b"anything"),
    ("type", "picture.csv", png()),
    ("type", "nul.txt", b"a\0b"),
    ("marks", "scatter.svg", svg(marks=342)),
    ("density", "encrypted.txt", noise(20_000)),
    ("density", "encoded.csv", b"a\n" + b"\n".join(noise(60).hex().encode() for _ in range(1)) + noise(3000)),
    ("notebooks", "run.ipynb", notebook(outputs=[{"text": "rows"}])),
    ("notebooks", "counted.ipynb", notebook(execution_count=3)),
    ("notebooks", "attached.ipynb", notebook(attachments={"a.png": {}})),
    ("names", "row 17: Adelie, male.txt", b"x"),
    ("names", "a/b/c/d/deep.txt", b"x"),
    ("names", "x" * 65 + ".txt", b"x"),
    ("text", "long-line.txt", b"a" * 501),
    ("text", "digits.txt", b"3817 1910 4712\n" * 20),
    ("size", "large.txt", b"a\n" * (9 << 20)),
]

# What `summary` of R and `classification_report` of scikit-learn print.
SUMMARY = """
 species          island      bill_length_mm     sex           year
 Adelie   :152   Biscoe   :168   Min.   :32.10   female:165   Min.   :2007
 Chinstrap: 68   Dream    :124   1st Qu.:39.23   male  :168   1st Qu.:2007
 Gentoo   :124   Torgersen: 52   Median :44.45   NA's  : 11   Median :2008
                                 Mean   :43.92                Mean   :2008
                                 Max.   :59.60                Max.   :2009
"""
SCORES = """
              precision    recall  f1-score   support

      Adelie       0.97      0.97      0.97        34
      Gentoo       1.00      0.93      0.97        30

    accuracy                           0.98        84
   macro avg       0.97      0.97      0.97        84
"""

MODES = [Counter(column).most_common(1)[0][0] for column in zip(*ROWS, strict=True)]
CATEGORIES = Counter((row[0], row[6], row[7]) for row in ROWS)

HONEST: list[tuple[str, bytes]] = [
    ("modes.csv", table([MODES])),
    ("modes.json", json.dumps({f"c{n}": mode for n, mode in enumerate(MODES)}).encode()),
    ("groups.csv", table([[*group, n] for group, n in CATEGORIES.items() if n >= 10])),
    ("statistics.csv", table(STATISTICS, ["species", "n", "mean"])),
    ("statistics.json", json.dumps({"Adelie": {"n": 151, "mean": 38.8}}).encode()),
    ("statistics.tsv", table(STATISTICS, ["species", "n", "mean"], delimiter="\t")),
    ("mean.txt", b"The mean bill length is 38.8 mm for Adelie, 47.5 for Gentoo.\n"),
    ("summary.md", b"# Penguins\n\nThree species, 342 birds.\n"),
    ("semicolons.csv", table(STATISTICS, ["species", "n", "mean"], delimiter=";")),
    ("by-columns.json", json.dumps({"species": ["Adelie", "Gentoo"], "n": [151, 123], "mean": [38.8, 47.5]}).encode()),
    ("prose.txt", b"Adelie, Gentoo, Chinstrap: the means are 38.8, 47.5, 48.8 mm.\n" * 40),
    (
        "days.csv",
        table([[f"2007-11-{n}", "Adelie", n + 20, "38.8"] for n in range(11, 29)], ["day", "kind", "n", "mean"]),
    ),
    ("ranges.csv", table([[f"{n}-{n + 9}", n + 20, f"(0.1, 0.{n}]"] for n in range(11, 29)], ["age", "n", "interval"])),
    ("crosstab.csv", table([["Adelie", 73, 0], ["Gentoo", 58, 61]], ["species", "female", "male"])),
    ("importance.csv", table([["bill", "0.4"], ["size", "0.6"]], ["", "0"])),
    ("folds.csv", table([[n, 3 * n, n % 2] for n in range(9)], ["fold", "epoch", "rank"])),
    ("classes.csv", table([["first", "38.8"], ["last", "47.5"]], ["class", "mean"])),
    ("summary.txt", SUMMARY.encode()),
    ("scores.txt", SCORES.encode()),
    ("scores.json", json.dumps({"report": SCORES, "accuracy": 0.98}).encode()),
    ("log.txt", "\n".join(f"10:00:{n} epoch {n}: loss={1 / n:.4f} acc=0.9" for n in range(10, 60)).encode()),
    ("hyphens.txt", b"A state-of-the-art model of well-known, easy-to-measure sizes.\n" * 40),
    ("labels.svg", svg("".join(f"<text>{cell}</text>" for row in STATISTICS for cell in row))),
    ("chart.png", png()),
    ("chart.svg", svg(marks=12)),
]

# What no rule here finds; docs/trust.md says so, and what bounds it.
UNFOUND: list[tuple[str, bytes]] = [
    ("noise.csv", table([[f"{float(row[5]) * 1.013:.0f}"] for row in ROWS[:300] if row[5].isdigit()])),
    ("xor.txt", bytes(((each ^ 0x05) | 0x40) & 0x7F for each in table(ROWS[:3]))),
    ("base64.txt", b"\n".join(base64.b64encode(zlib.compress(table(ROWS[:5])))[n : n + 76] for n in range(0, 400, 76))),
    ("colours.svg", svg("".join(f'<text fill="#{n:06x}">x</text>' for n in range(50)))),
]
