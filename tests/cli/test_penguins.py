"""The example: its data files, the statistics that its algorithm computes, and its chart."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "penguins"
STAGE = json.loads((EXAMPLE / "workflow.json").read_text())["stages"][0]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of the algorithm, run on Ocean's folder layout by a Python without packages."""
    volume = tmp_path_factory.mktemp("data")
    folders = [item["id"].removeprefix("did:op:") for item in STAGE["input"]]
    for folder, item in zip(folders, STAGE["input"], strict=True):
        (volume / "inputs" / folder).mkdir(parents=True)
        (volume / "inputs" / folder / "0").write_bytes((EXAMPLE / item["url"][0]).read_bytes())
    (volume / "outputs").mkdir()
    variables = {"DIDS": json.dumps(folders), "INPUTS": f"{volume}/inputs", "OUTPUTS": f"{volume}/outputs"}
    subprocess.run([sys.executable, "-I", "-S", EXAMPLE / "algorithm.py"], env={**os.environ, **variables}, check=True)
    return volume / "outputs"


def test_the_data_files_have_the_checksums_in_the_document() -> None:
    for item in STAGE["input"]:
        assert [hashlib.sha256((EXAMPLE / url).read_bytes()).hexdigest() for url in item["url"]] == item["checksum"]


def test_the_statistics_match_the_known_values_of_the_palmer_penguins(outputs: Path) -> None:
    found = json.loads((outputs / "statistics.json").read_text())
    assert {name: about["count"] for name, about in found.items()} == {"Adelie": 151, "Chinstrap": 68, "Gentoo": 123}
    means = {name: round(about["measures"]["body_mass_g"]["mean"]) for name, about in found.items()}
    assert means == {"Adelie": 3701, "Chinstrap": 3733, "Gentoo": 5076}
    assert all(about["years"] == [2007, 2008, 2009] for about in found.values())


def test_the_table_has_a_row_for_each_species_and_measure(outputs: Path) -> None:
    with (outputs / "statistics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3 * 4
    assert {row["species"] for row in rows} == {"Adelie", "Chinstrap", "Gentoo"}


def test_the_chart_shows_every_penguin_inside_its_frame(outputs: Path) -> None:
    chart = ElementTree.parse(outputs / "penguins.svg").getroot()
    titled = ((group.findtext(f"{SVG}title"), group) for group in chart.iter(f"{SVG}g"))
    groups = {title: group for title, group in titled if title}
    assert {name: len(group) - 1 for name, group in groups.items()} == {"Adelie": 151, "Chinstrap": 68, "Gentoo": 123}
    circles = list(groups["Adelie"].iter(f"{SVG}circle"))
    assert all(78 <= float(circle.get("cx", 0)) <= 792 for circle in circles)
    assert all(216 <= float(circle.get("cy", 0)) <= 606 for circle in circles)
