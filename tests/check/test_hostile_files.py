"""Files that are made to harm whoever looks at them: each is judged, with bounded memory, and does not pass."""

from __future__ import annotations

import csv
import gzip
import io
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from xml.parsers import expat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.peak import measured
from support.publishing import task, volume, write_task

from functions.results.files import FileStorage
from functions.staging.check import pictures, tables
from functions.staging.check.program import run
from functions.staging.check.rule_runner import LONGEST_TEXT, MOST_TEXT
from functions.staging.check.tables import rows_of
from functions.staging.publish.program import publish
from functions.trust import findings, policy
from functions.trust.disclosure import Checks, Columns, Copies, Density, Level, Overlaps, Rows, Size, Types, Values
from functions.trust.findings import CheckVerdict
from functions.trust.policy import Policy
from functions.workflow.model import Scope

MIB = 1 << 20
LIMIT = 256 * MIB  # half of what the Pod has; the interpreter takes 50
TYPES = Types(allow=(".csv", ".json", ".txt", ".md", ".png", ".svg", ".html", ".zip", ".gz", ".pkl", ".ipynb"))


class Exploit:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch /tmp/was-loaded",)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    def packed(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + b"".join(packed(kind, data) for kind, data in chunks)


def header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)


def zipped(files: dict[str, bytes], levels: int = 1) -> bytes:
    for _ in range(levels):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        files = {"inside.zip": buffer.getvalue()}
    return files["inside.zip"]


def laughs() -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE svg [<!ENTITY a0 "ha">{entities}]><svg>&a11;</svg>'.encode()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "endless-line.csv": lambda: b"a,b\n" + b"x" * (40 * MIB),
    "endless-row.csv": lambda: b"a,b\n" + b'"x\n",' * (4 * MIB),
    "endless-cell.csv": lambda: b'a,b\n"' + b"x\n" * (20 * MIB),
    "wide-header.csv": lambda: b"a," * 500_000 + b"\n",
    "wide-rows.csv": lambda: b"a\n" + (b"," * 300_000 + b"\n") * 60,
    "long-cells.csv": lambda: b"a\n" + (b"x" * 120_000 + b"\n") * 300,
    "many-rows.csv": lambda: b"a,b\n" + b"1,2\n" * (2 * MIB),
    "short-rows.csv": lambda: b"a," * 9_999 + b"a\n" + b"1\n" * 250_000,
    "split-cells.csv": lambda: b'a\n"' + b"1;" * 60_000 + b'"\n' + b"1;2;3\n" * 60_000,
    "nul.csv": lambda: b"a,b\n1,\0\n",
    "deep.json": lambda: b"[" * (4 * MIB),
    "deep-objects.json": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "shapes.json": lambda: b"[" + b",".join(b'{"a%d":1}' % n for n in range(130_000)) + b"]",
    "empty-lists.json": lambda: b"[" + b"[]," * (5 * MIB) + b"[]]",
    "empty-objects.json": lambda: b"[" + b"{}," * (5 * MIB) + b"{}]",
    "digits.json": lambda: b"[" + b"9" * (8 * MIB) + b"]",
    "notebook.ipynb": lambda: b'{"cells":[' + b"{}," * (5 * MIB) + b"{}]}",
    "bomb.gz": lambda: gzip.compress(bytes(320 * MIB), 1),
    "bomb.zip": lambda: zipped({f"{n}.csv": bytes(MIB) for n in range(300)}, 3),
    "entries.zip": lambda: zipped({str(n): b"" for n in range(60_000)}),
    "pixels.png": lambda: png(header(15_000, 15_000), (b"IDAT", zlib.compress(bytes(300 * MIB), 1)), (b"IEND", b"")),
    "too-many-pixels.png": lambda: png(header(2**31 - 1, 2**31 - 1), (b"IDAT", b""), (b"IEND", b"")),
    "long-chunk.png": lambda: png(header(1, 1)) + struct.pack(">I", 2**31) + b"IDAT",
    "many-chunks.png": lambda: png(header(1, 1), *[(b"tEXt", b"")] * 500_000, (b"IEND", b"")),
    "unknown-chunks.png": lambda: png(header(1, 1), *[(b"aa%02d" % (n % 100), b"") for n in range(500_000)]),
    "laughs.svg": laughs,
    "comments.svg": lambda: b"<svg>" + b"<!---->" * (MIB // 2) + b"</svg>",
    "deep.svg": lambda: b"<svg>" + b"<g>" * (2 * MIB),
    "attributes.svg": lambda: b"<svg " + b"".join(b'a%d="" ' % n for n in range(150_000)) + b"/>",
    "lines.txt": lambda: b"ab\n" * (6 * MIB),
    "line.txt": lambda: b"x" * (40 * MIB),
    "open.html": lambda: b"<!--" * 60_000,
    "tags.html": lambda: b"<a " * 80_000,
    "exploit.pkl": lambda: pickle.dumps(Exploit()),
    "exploit.txt": lambda: pickle.dumps(Exploit()),
    "opcodes.pkl": lambda: b"\x80\x04" + b"N0" * (8 * MIB),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_judged_with_bounded_memory_and_does_not_pass(tmp_path: Path, name: str) -> None:
    root = volume(tmp_path / "v", {name: HOSTILE[name]()})
    rules = Policy(names=("p",), checks=Checks(type=TYPES))
    given = msgspec.structs.replace(task(), policy=msgspec.Raw(policy.encode(rules).encode()))
    command = [sys.executable, "-m", "functions.staging.check", "--volume", str(root)]
    command += ["--task", str(write_task(tmp_path / "task", given))]
    environment = {**os.environ, "TERMINATION_LOG": str(tmp_path / "message")}
    code, memory = measured(command, environment, tmp_path / "stderr")
    assert (code, (tmp_path / "message").read_text().split(":")[0]) in ((10, "Review"), (11, "Blocked"))
    assert memory < LIMIT, f"{memory / MIB:.0f} MiB"
    written = (root / "adminlogs" / "checks.json").read_bytes()
    assert len(written) < 64 << 10
    (file,) = findings.read(written).files
    assert file.verdict is not CheckVerdict.PASS
    assert not Path("/tmp/was-loaded").exists()


MANY = {  # twenty would fill more than LIMIT if all were kept
    "cells.csv": lambda: b"a\n" + (b"x" * 100_000 + b"\n") * 140,
    "cells.json": lambda: b"[" + (b'{"a":"' + b"x" * 100_000 + b'"},') * 140 + b"{}]",
    "lines.txt": lambda: b"".join(b"%080d,%080d,%080d\n" % (n, n, n) for n in range(40_000)),
    "place.json": lambda: b'{"' + b"k" * MIB + b'":[' + b",".join(b'{"a%d":1}' % n for n in range(1000)) + b"]}",
    "shapes.json": lambda: b"[" + b",".join(b'{"a%d":1}' % n for n in range(16_000)) + b"]",
    "name.json": lambda: b'{"' + b"k" * MIB + b'":[[' + b"1," * 1000 + b"1]]}",
}


@pytest.mark.parametrize("name", MANY)
def test_of_twenty_large_files_no_more_is_kept_than_fits(tmp_path: Path, name: str) -> None:
    content = MANY[name]()
    root = volume(tmp_path / "v", {f"{n:02}{name}": content for n in range(20)})
    assert memory_of(root, tmp_path) < LIMIT


def test_an_input_of_twenty_thousand_columns_is_compared_with_bounded_memory(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"a.csv": b"a,b,c\n1,2,3\n"})
    (root / "inputs").mkdir()
    with (root / "inputs" / "genes.csv").open("w") as file:
        for row in range(60):
            file.write(",".join(f"{row}.{column:040}" for column in range(20_000)) + "\n")
    assert memory_of(root, tmp_path) < 160 * MIB


def memory_of(root: Path, folder: Path) -> int:
    """The most bytes of memory that the check of a volume takes.

    Density is off: it takes long, and it holds 4 MiB of one file at a time, as it does in the first test too.
    """
    off = Density(level=Level.OFF)
    checks = Checks(rows=Rows(max=10**9), size=Size(max_total_bytes=10**9), density=off)
    rules = Policy(names=("p",), checks=checks)
    given = msgspec.structs.replace(task(), policy=msgspec.Raw(policy.encode(rules).encode()))
    command = [sys.executable, "-m", "functions.staging.check", "--volume", str(root)]
    command += ["--task", str(write_task(folder / "task", given))]
    environment = {**os.environ, "TERMINATION_LOG": str(folder / "message")}
    code, memory = measured(command, environment, folder / "stderr")
    assert code in (0, 10, 11)
    return memory


def judge(root: Path, files: dict[bytes, bytes], checks: Checks) -> findings.Report:
    """The report about files whose names are bytes."""
    volume(root, {})
    for name, content in files.items():
        (root / "outputs" / os.fsdecode(name)).write_bytes(content)
    rules = Policy(names=("p",), checks=checks)
    given = msgspec.structs.replace(task(), policy=msgspec.Raw(policy.encode(rules).encode()))
    report = run(given, root, "test")
    assert findings.read((root / "adminlogs" / "checks.json").read_bytes()) == report
    return report


NAMES = [b"a\nb.txt", b"\xff.txt", b"a%b.txt", "\u202ea.txt".encode(), b"\x1b[31m.txt", b"n" * 200 + b".txt"]


def test_a_file_is_judged_under_the_name_under_which_it_is_published(tmp_path: Path) -> None:
    root = tmp_path / "v"
    report = judge(root, dict.fromkeys(NAMES, b"x"), Checks())
    storage = FileStorage(tmp_path / "results")
    manifest = publish(task(), root, 1, Scope.OUTPUTS, storage)
    assert {file.path for file in report.files} == {file.path for file in manifest.files}
    assert report.locked({file.path: file.sha256 or "" for file in manifest.files}) == {f.path for f in manifest.files}


def test_a_drawing_is_parsed_once_for_all_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: list[None] = []

    def counted() -> expat.XMLParserType:
        parsers.append(None)
        return expat.ParserCreate()

    monkeypatch.setattr(pictures, "expat", SimpleNamespace(ParserCreate=counted, ExpatError=expat.ExpatError))
    report = judge(tmp_path / "v", {b"a.svg": b"<svg/>"}, Checks(type=TYPES))
    assert (report.verdict, len(parsers)) == (CheckVerdict.PASS, 1)


def test_what_the_checks_have_not_seen_cannot_be_released(tmp_path: Path) -> None:
    report = judge(tmp_path / "v", {b"a.txt": b"x"}, Checks())
    (seen,) = report.files
    assert report.locked({seen.path: seen.sha256}) == set()
    assert report.locked({seen.path: "0" * 64, "outputs/b.txt": seen.sha256}) == {seen.path, "outputs/b.txt"}


def test_a_report_stays_small_whatever_the_files_hold(tmp_path: Path) -> None:
    identifiers = tuple(f"{'id' * 6_000}{n}" for n in range(2))
    row = ",".join(identifiers) + "\n"
    names = {b"%03d.csv" % n: row.encode() + b"1.23456789,2\n" * 30 for n in range(300)}
    report = judge(tmp_path / "v", names, Checks(columns=Columns(identifiers=identifiers)))
    texts = [finding.text for file in report.files for finding in file.findings]
    assert max(map(len, texts)) <= LONGEST_TEXT + 1
    assert sum(map(len, texts)) < MOST_TEXT + (64 << 10)


def test_an_input_that_cannot_be_compared_asks_for_a_persons_eye(tmp_path: Path) -> None:
    root = tmp_path / "v"
    (root / "inputs" / "0").mkdir(parents=True)
    (root / "inputs" / "0" / "0").write_bytes(b"\x00\x01binary")
    table = {b"a.csv": b"n,mean\n12,3.4\n"}
    report = judge(root, table, Checks())
    assert (report.verdict, [file.verdict for file in report.files]) == (CheckVerdict.REVIEW, [CheckVerdict.PASS])
    assert "its kind is not known" in report.notes[0]


def test_inputs_are_not_read_where_no_rule_compares_with_them(tmp_path: Path) -> None:
    root = tmp_path / "v"
    (root / "inputs").mkdir(parents=True)
    (root / "inputs" / "0").write_bytes(b"\x00\x01binary")
    off = Checks(copies=Copies(level=Level.OFF), overlaps=Overlaps(level=Level.OFF), values=Values(level=Level.OFF))
    assert judge(root, {b"a.csv": b"n,mean\n12,3.4\n"}, off).verdict is CheckVerdict.PASS


def test_rows_that_no_rule_can_look_at_keep_a_table_in(tmp_path: Path) -> None:
    long = b"n,mean\n" + b"12,3.4\n" * 300_000
    report = judge(tmp_path / "v", {b"a.csv": long}, Checks(rows=Rows(max=10**9)))
    found = [finding.text for finding in report.files[0].findings if finding.rule == "rows"]
    kept = -(-tables.KEPT // (2 * tables.CELL + len("123.4")))
    assert found == [f"only {kept} of 300000 rows can be checked"]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"a,b\r1,2\r", [["a", "b"], ["1", "2"]]),
        (b"a,b\r\n1,2\r\n\r\n3,4", [["a", "b"], ["1", "2"], ["3", "4"]]),
        (b'\xef\xbb\xbfa,b\n"1\n\n2",3\n', [["a", "b"], ["1\n\n2", "3"]]),
        ('ä,"b""c"\n'.encode(), [["ä", 'b"c']]),
        (b"", []),
    ],
)
def test_rows_are_read_as_spreadsheets_write_them(content: bytes, rows: list[list[str]]) -> None:
    assert [list(row) for row in rows_of(io.BytesIO(content), ",")] == rows


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_the_size_of_a_block_does_not_change_the_rows(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'a,b\r\n1,"x\r\ny"\n\n"",ß\n"q""q",2\n3,4\r5,6'.encode()
    whole = list(rows_of(io.BytesIO(text), ","))
    monkeypatch.setattr(tables, "BLOCK", block)
    assert list(rows_of(io.BytesIO(text), ",")) == whole


@given(
    st.lists(st.lists(st.text('a1,"\n\r é', max_size=6), min_size=1, max_size=4), min_size=1, max_size=30),
    st.booleans(),
    st.sampled_from(("\r\n", "\n", "\r")),
)
def test_the_rest_of_a_table_is_counted_as_it_is_parsed(written: list[list[str]], quoted: bool, end: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator=end).writerows(written)
    content = buffer.getvalue().encode()
    expected = sum(1 for row in csv.reader(io.StringIO(buffer.getvalue(), newline="")) if row)
    for kept in (0, 1, 3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "BLOCK", 16)
            source = tables._Delimited(io.BytesIO(content), ",")
            rows = iter(source)
            before = sum(1 for _ in islice(rows, kept))
            assert before + source.count_rest(rows) == expected
