"""Pictures, documents and archives are looked into as far as they can be read; damage and excess are named."""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from functions.staging.check import archives, pictures, program
from functions.staging.check.archives import listing
from functions.staging.check.output_files import OutputFile
from functions.staging.check.pictures import Damaged, png_pixels
from functions.trust import policy
from functions.trust.disclosure import Checks, Types
from functions.trust.policy import Policy
from functions.workflow.stage_task import Task
from functions.workflow.tes_checks import accept

# --- pictures and documents -----------------------------------------------------------------


def chunk(kind: bytes, data: bytes = b"", *, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(kind + data) ^ damaged
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(
    width: int = 2,
    height: int = 2,
    colour: int = 0,
    pixels: bytes | None = None,
    more: bytes = b"",
    interlaced: int = 0,
) -> bytes:
    """A grey picture. `pixels`: of its IDAT; `more`: further chunks before the end."""
    rows = zlib.compress(bytes(height * (1 + width))) if pixels is None else pixels
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced))
    return pictures.PNG + header + chunk(b"IDAT", rows) + more + chunk(b"IEND")


def test_a_whole_png_is_sound() -> None:
    png_pixels(png())
    png_pixels(png(pixels=zlib.compress(b"\0" * 9), interlaced=1))  # its rows are of other lengths


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png()[:40], "cut off"),
        (png()[:-8], "cut off"),
        (pictures.PNG + chunk(b"IHDR", bytes(13)), "a wrong header"),
        (pictures.PNG + chunk(b"IHDR", bytes(12)), "without a header"),
        (pictures.PNG + chunk(b"IDAT"), "without a header"),
        (pictures.PNG, "without an end"),
        (pictures.PNG + chunk(b"IHDR", bytes(13), damaged=True), "a wrong checksum in IHDR"),
        (png(colour=5), "a wrong header"),
        (png(width=0), "a wrong header"),
        (png(width=1 << 20, height=1 << 20, pixels=b""), "1048576 × 1048576 pixels, too large to be checked"),
        (png(pixels=b"no zlib"), "pixels cannot be read"),
        (png(pixels=zlib.compress(bytes(5))), "do not fit its dimensions"),
        (png(pixels=zlib.compress(bytes(7))), "do not fit its dimensions"),
        (png(pixels=zlib.compress(bytes(6)) + b"hidden"), "do not fit its dimensions"),
        (png(pixels=b""), "do not fit its dimensions"),
    ],
)
def test_a_png_that_is_not_whole_is_damaged(content: bytes, why: str) -> None:
    with pytest.raises(Damaged, match=why):
        png_pixels(content)


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., list[str]]:
    """What a rule finds in a file of this name and content."""

    def find(rule: Callable[..., Any], name: str, content: bytes, *settings: object) -> list[str]:
        (tmp_path / name).write_bytes(content)
        return list(rule(OutputFile(f"outputs/{name}", tmp_path / name), *settings))

    return find


JPEG = b"\xff\xd8\xff\xe0\0\x04JF"
COMMENT = b"\xff\xfe\0\x07hello"
PICTURE = b"\xff\xda\0\x02pixels\xff\xd9"
MATPLOTLIB = chunk(b"tEXt", b"Software\0Matplotlib version3.10.1, https://matplotlib.org/")
# A chart as Matplotlib draws it.
DRAWING = b"""<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
  "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata>
  <rdf:RDF xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://creativecommons.org/ns#" \
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
   <cc:Work>
    <dc:type rdf:resource="http://purl.org/dc/dcmitype/StillImage"/>
    <dc:date>2026-11-27T20:24:53.753388</dc:date>
    <dc:format>image/svg+xml</dc:format>
    <dc:creator>
     <cc:Agent>
      <dc:title>Matplotlib v3.11.2, https://matplotlib.org/</dc:title>
     </cc:Agent>
    </dc:creator>
   </cc:Work>
  </rdf:RDF>
 </metadata>
 <g/>
</svg>"""
PDF = b"%PDF-1.7\n1 0 obj << >> endobj\n%%EOF\n"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.png", png(), []),
        ("a.png", png(more=chunk(b"tEXt", b"patient\0Anna")), ["text in the chunk tEXt (12 bytes)"]),
        ("a.png", png(more=MATPLOTLIB), []),
        ("a.png", png(more=MATPLOTLIB + MATPLOTLIB), ["text in the chunk tEXt (58 bytes)"]),
        ("a.svg", DRAWING, []),
        ("a.svg", DRAWING.replace(b"image/", b"Anna/"), ["<metadata>"]),
        ("a.svg", DRAWING.replace(b" <g", DRAWING[DRAWING.index(b"<metadata>"):-11] + b"<g"), ["<metadata>"]),
        ("a.png", png(more=chunk(b"prIV", b"1234")), ["an unknown chunk 'prIV' (4 bytes)"]),
        ("a.png", png() + b"hidden", ["6 bytes after the end of the picture"]),
        ("a.jpg", JPEG + PICTURE, []),
        ("a.jpg", JPEG + COMMENT + PICTURE, ["a comment (5 bytes)"]),
        ("a.jpg", JPEG + b"\xff\xe1\0\x06Exif" + PICTURE, ["metadata such as EXIF (4 bytes)"]),
        ("a.jpg", JPEG + b"\xff\xe2\0\x0dICC_PROFILE" + PICTURE, []),
        ("a.jpg", JPEG + PICTURE + b"hidden", ["6 bytes after the end of the picture"]),
        ("a.pdf", PDF, []),
        ("a.pdf", PDF + PDF, ["bytes after the end, or several versions in one file"]),
        ("a.pdf", PDF + b"hidden", ["bytes after the end, or several versions in one file"]),
        ("a.pdf", PDF.replace(b"<<", b"<< /EmbeddedFile"), ["an attachment (/EmbeddedFile)"]),
        ("a.svg", b"<svg data-name='Anna'><metadata/><!-- Ben --></svg>",
         ["the attribute 'data-name'", "<metadata>", "a comment (5 characters)"]),
        ("a.csv", b"a,b\n1,2\n", []),
    ],
)  # fmt: skip
def test_what_a_file_carries_beside_what_it_shows_is_found(
    found: Callable[..., list[str]], name: str, content: bytes, what: list[str]
) -> None:
    assert found(pictures.metadata, name, content) == what


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jpg", JPEG + b"no marker", "a damaged segment"),
        ("a.jpg", JPEG + PICTURE[:-2], "without an end"),
        ("a.svg", b"<svg>", "not XML"),
        ("a.svg", b"<html/>", "whose first element is 'html'"),
        ("a.svg", b"<!DOCTYPE svg><svg/>", "a document type"),
        ("a.svg", DRAWING.replace(b"svg11", b"Anna"), "a document type"),
        ("a.svg", DRAWING.replace(b'.dtd">', b'.dtd" [<!ENTITY a "Anna">]>'), "a document type"),
        ("a.svg", b"<svg>" + b"<g>" * 2000 + b"</g>" * 2000 + b"</svg>", "more than 1000 deep"),
    ],
)
def test_a_picture_that_cannot_be_read_is_damaged(
    found: Callable[..., list[str]], name: str, content: bytes, why: str
) -> None:
    with pytest.raises(Damaged, match=why):
        found(pictures.metadata, name, content)


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.svg", b"<svg><circle onclick='x()'/><a href='#here'/><image href='data:image/png;base64,AA'/></svg>",
         ["the handler 'onclick'"]),
        ("a.svg", b"<svg><a href='//evil.example/'/><rect fill='url(#x)'/></svg>",
         ["the reference href='//evil.example/'"]),
        ("a.svg", b"<svg><rect fill='url(//evil.example/x)'/></svg>", ["the reference fill='url(//evil.example/x)'"]),
        ("a.svg", b"<svg><style>@import 'x'</style></svg>", ["a reference to another place in <style>"]),
        ("a.svg", b"<?xml-stylesheet href='x'?><svg/>", ["an instruction 'xml-stylesheet'"]),
        ("a.html", b"<p onload='x()'><script>y()</script><p onload='x()'>", ["the handler 'onload'", "<script>"]),
        ("a.pdf", PDF.replace(b"<<", b"<< /OpenAction"), ["/OpenAction in a PDF"]),
        ("a.pdf", PDF, []),
        ("a.txt", b"<script>", []),
    ],
)  # fmt: skip
def test_what_would_run_or_load_something_is_found(
    found: Callable[..., list[str]], name: str, content: bytes, what: list[str]
) -> None:
    assert found(pictures.active, name, content) == what


# --- archives -------------------------------------------------------------------------------


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def encrypted(content: bytes) -> bytes:
    """Set the flag of an encrypted entry in the archive's list."""
    at = content.index(b"PK\1\2") + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (zipped(("a.csv", b"x"), ("b", b""), ("c", b""), ("d", b"")), ["4 entries: a.csv, b, c"]),
        (zipped(("in.zip", zipped(("a", b"")))), ["1 entries: in.zip", "an archive inside: in.zip"]),
        (zipped(("in.zip", zipped(("a", b""))), method=zipfile.ZIP_BZIP2), ["1 entries: in.zip"]),
        (encrypted(zipped(("a", b"x"))), ["1 entries: a", "encrypted"]),
        (zipped(("a", bytes(1 << 20))), ["1 entries: a", "it unpacks to more than 100 times its size"]),
        (zipped(("a", b"x"))[:-10], ["it cannot be opened: BadZipFile"]),
        (tarred("a", "b"), ["2 entries: a, b"]),
        (gzip.compress(b"x" * 50), ["50 bytes inside"]),
        (gzip.compress(tarred("a")), ["10240 bytes inside", "1 entries: a"]),
        (gzip.compress(bytes(10 << 20)), ["it unpacks to more than 100 times its size"]),
        (b"\x1f\x8bdamaged", ["it cannot be opened: error"]),
        (b"BZh9", ["it cannot be opened here"]),
        (b"7z\xbc\xaf\x27\x1c", ["it cannot be opened here"]),
    ],
    ids=itertools.count(),  # archives hold the time at which they were made
)
def test_an_archive_is_listed_as_far_as_it_can_be_opened(content: bytes, what: list[str]) -> None:
    assert listing(content, 2, 200 if content.startswith(b"\x1f\x8b") and len(what) > 1 else 100) == what


def test_only_as_many_levels_are_opened_as_the_policy_says() -> None:
    inside = gzip.compress(tarred("a"))
    assert listing(inside, 1, 1000) == ["10240 bytes inside"]
    assert listing(zipped(("in.zip", zipped(("a", b"")))), 1, 100) == ["1 entries: in.zip"]


def test_an_archive_of_very_many_entries_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 2)
    assert listing(zipped(("a", b""), ("b", b"")), 2, 100) == ["2 entries: a, b"]
    assert listing(zipped(("a", b""), ("b", b""), ("c", b"")), 2, 100) == ["more than 2 entries"]


# --- tasks of GA4GH TES ---------------------------------------------------------------------


def tes_task(*outputs: dict[str, str]) -> Task:
    inputs = [
        {"path": "/in/data.csv", "url": "s3://b/d.csv"},
        {"path": "/in/d", "url": "s3://b/d", "type": "DIRECTORY"},
    ]
    body = {"executors": [{"image": "a", "command": ["x"]}], "inputs": inputs, "outputs": list(outputs)}
    rules = policy.encode(Policy(names=("p",), checks=Checks(type=Types(allow=(".csv", ".txt")))))
    return Task(workflow="w1", definition=accept(body).task, results="", policy=msgspec.Raw(rules.encode()))


def test_the_declared_outputs_of_a_task_are_judged_and_compared_with_its_inputs(tmp_path: Path) -> None:
    rows = "id,name,city,age\n" + "".join(f"{n},person{n},city{n % 7},{20 + n % 50}\n" for n in range(200))
    files = {"in/data.csv": rows, "in/d/more.txt": "x", "out/copy.csv": rows, "out/fine.txt": "fine\n", "tmp/x": "no"}
    for name, content in files.items():
        path = tmp_path / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "adminlogs").mkdir()
    task = tes_task({"path": "/out", "url": "s3://b/out", "type": "DIRECTORY"})
    report = program.run(task, tmp_path, "test")
    assert [file.path for file in report.files] == ["outputs/out/copy.csv", "outputs/out/fine.txt"]
    assert "copies" in {finding.rule for finding in report.files[0].findings}
    assert report.files[1].findings == ()
    assert [each.location for each in program._files(task, tmp_path)[1]] == [
        tmp_path / "outputs/in/data.csv",
        tmp_path / "outputs/in/d/more.txt",
    ]


def test_a_check_that_crashes_says_what_kind_of_error_and_quotes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adminlogs").mkdir()
    (tmp_path / "task.json").write_text('{"workflow": "secret of Anna"}')
    monkeypatch.setenv("TERMINATION_LOG", str(tmp_path / "message"))
    assert program.main(["--task", str(tmp_path / "task.json"), "--volume", str(tmp_path)]) == 1
    assert (tmp_path / "message").read_text() == "Crashed: Malformed in check"
    assert "Anna" not in "".join(path.read_text() for path in (tmp_path / "adminlogs").iterdir())
