"""Each leak is found by the rule that should find it, and honest results pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.leak_files import DATA, penguins, table
from support.leaks import HONEST, LEAKS, UNFOUND

from functions.staging.check import copies
from functions.staging.check.output_files import OutputFile, walk
from functions.staging.check.rule_runner import Checked, check
from functions.trust.disclosure import Checks, Columns, Level, Types
from functions.trust.findings import CheckVerdict

TYPES = Types(allow=(".csv", ".tsv", ".json", ".txt", ".md", ".png", ".svg", ".jpg"))
CHECKS = Checks(type=TYPES, columns=Columns(identifiers=("penguin_no",)))


def judge(tmp_path: Path, files: dict[str, bytes], checks: Checks = CHECKS) -> Checked:
    for name, content in files.items():
        path = tmp_path / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    inputs = [OutputFile(f"inputs/{path.name}", path) for path in DATA]
    return check(list(walk(tmp_path, "outputs")), inputs, checks)


@pytest.mark.parametrize(("rule", "name", "content"), LEAKS, ids=[f"{rule}-{name}" for rule, name, _ in LEAKS])
def test_a_leak_is_found_by_its_rule(tmp_path: Path, rule: str, name: str, content: bytes) -> None:
    (file,) = judge(tmp_path, {name: content}).files
    found = [finding for finding in file.findings if finding.rule == rule]
    assert found, file.findings
    assert file.verdict is not CheckVerdict.PASS
    level: Level = getattr(CHECKS, rule).level
    assert {finding.level for finding in found} <= {level, Level.BLOCK}


@pytest.mark.parametrize(("name", "content"), HONEST, ids=[name for name, _ in HONEST])
def test_an_honest_result_passes(tmp_path: Path, name: str, content: bytes) -> None:
    (file,) = judge(tmp_path, {name: content}).files
    assert (file.verdict, file.findings) == (CheckVerdict.PASS, ())


@pytest.mark.parametrize(("name", "content"), UNFOUND, ids=[name for name, _ in UNFOUND])
def test_what_rules_cannot_find_is_known(tmp_path: Path, name: str, content: bytes) -> None:
    (file,) = judge(tmp_path, {name: content}).files
    assert {finding.rule for finding in file.findings} & {"copies", "values", "archives", "metadata"} == set()


def test_a_text_of_more_lines_than_are_compared_needs_a_review(tmp_path: Path) -> None:
    """Otherwise rows below a hundred thousand short lines would pass."""
    checked = judge(tmp_path, {"a.txt": b"a\n" * 100_000 + table(penguins())})
    part = "only a part of the lines, split cells, arrays and transposed tables was compared"
    assert checked.notes == (f"outputs/a.txt: from this file on, {part}",)
    assert judge(tmp_path / "whole", {"a.txt": b"a\n" * 100_000}).notes == ()


def compare(tmp_path: Path, column: list[str], theirs: list[str]) -> set[str]:
    """The rules that find something in a column of output beside one of input."""
    (tmp_path / "0").write_bytes(table([[value, "a"] for value in theirs], ["code", "group"]))
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "column.csv").write_bytes(table([[value] for value in column], ["x"]))
    checked = check(list(walk(tmp_path, "outputs")), [OutputFile("inputs/0", tmp_path / "0")], CHECKS)
    return {finding.rule for finding in checked.files[0].findings}


def test_a_column_of_values_that_name_individuals_is_found(tmp_path: Path) -> None:
    codes = [f"{n * 7919:06d}" for n in range(300)]
    assert "values" in compare(tmp_path, [*codes[:30], *(f"x{n}" for n in range(20))], codes)


def test_an_input_column_that_begins_with_empty_cells_is_compared(tmp_path: Path) -> None:
    codes = [f"{n * 7919:06d}" for n in range(3000)]
    assert "values" in compare(tmp_path, [*codes[-30:], *(f"x{n}" for n in range(25))], [*[""] * 200, *codes])


def test_an_input_column_whose_first_rows_repeat_a_value_is_compared(tmp_path: Path) -> None:
    """Its first two blocks, each of a thousand rows of fifty columns, hold more repeated values than others."""
    codes = [f"{n * 7919:06d}" for n in range(12_000)]
    theirs = [[code, *["a"] * 49] for code in [*["0"] * 1200, *codes]]
    (tmp_path / "0").write_bytes(table(theirs))
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "column.csv").write_bytes(table([[code] for code in codes[:500]]))
    checked = check(list(walk(tmp_path, "outputs")), [OutputFile("inputs/0", tmp_path / "0")], CHECKS)
    assert "values" in {finding.rule for finding in checked.files[0].findings}


def test_only_a_part_of_very_many_shared_values_is_compared_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MOST_SHARED", 100)
    (tmp_path / "0").write_bytes(table([[f"{n * 7919:06d}"] * 30 for n in range(50)]))
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.csv").write_bytes(table([[f"{n * 7919:06d}"] * 30 for n in range(40)]))
    checked = check(list(walk(tmp_path, "outputs")), [OutputFile("inputs/0", tmp_path / "0")], CHECKS)
    assert "inputs/0: only 100 of the values that outputs share with it were compared" in checked.notes


def test_a_column_of_counts_is_not_taken_for_a_column_of_serial_numbers(tmp_path: Path) -> None:
    assert compare(tmp_path, [str(n) for n in range(40, 80)], [str(n) for n in range(1000)]) == set()


def test_a_rule_that_is_off_finds_nothing(tmp_path: Path) -> None:
    off = {name: type(getattr(CHECKS, name))(level=Level.OFF) for name in Checks.__struct_fields__}
    checked = judge(tmp_path, {name: content for _, name, content in LEAKS[:20]}, Checks(**off))
    assert {file.verdict for file in checked.files} == {CheckVerdict.PASS}


def test_a_rule_that_fails_blocks_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("functions.staging.check.file_rules.names", broken)
    (file,) = judge(tmp_path, {"a.txt": b"x"}).files
    assert [(f.rule, f.level, f.text) for f in file.findings] == [
        ("names", Level.BLOCK, "the rule cannot judge this file: MemoryError")
    ]


def test_too_many_files_and_too_many_bytes_are_found_from_where_on_they_are(tmp_path: Path) -> None:
    checked = judge(tmp_path, {f"{n:03}.txt": b"x" for n in range(52)})
    assert [file.path for file in checked.files if file.verdict is CheckVerdict.BLOCK] == [
        "outputs/050.txt",
        "outputs/051.txt",
    ]


def test_links_are_neither_followed_nor_listed(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "link.csv").symlink_to(DATA[0])
    (tmp_path / "outputs" / "folder").symlink_to(DATA[0].parent)
    assert judge(tmp_path, {"a.txt": b"x"}).files[0].path == "outputs/a.txt"


def test_a_named_model_may_leave(tmp_path: Path) -> None:
    from functions.trust.disclosure import Models

    named = Checks(type=Types(allow=(".onnx",)), models=Models(allow=("model.onnx",)))
    verdicts = {file.path: file.verdict for file in judge(tmp_path, {"model.onnx": b"x", "b.onnx": b"x"}, named).files}
    assert verdicts == {"outputs/model.onnx": CheckVerdict.PASS, "outputs/b.onnx": CheckVerdict.BLOCK}
