"""Makes small files of each kind that an algorithm may write."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = sorted((ROOT / "examples" / "penguins" / "data").glob("*.csv"))


def penguins() -> list[list[str]]:
    """The rows of the example's data sets, without header."""
    return [row for path in DATA for row in list(csv.reader(path.open(encoding="utf-8", newline="")))[1:]]


def table(rows: Sequence[Sequence[object]], header: Sequence[str] | None = None, delimiter: str = ",") -> bytes:
    """A delimited text; columns are called c0, c1, … without a header."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(header or [f"c{n}" for n in range(len(rows[0]))])
    writer.writerows(rows)
    return text.getvalue().encode()


def png(*chunks: tuple[bytes, bytes], after: bytes = b"") -> bytes:
    """A picture of 2 × 2 grey pixels, with further chunks and bytes after its end."""
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\x10\x20" * 2)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body + after


def jpeg(*segments: tuple[int, bytes], after: bytes = b"") -> bytes:
    """The skeleton of a JPEG with further segments and bytes after its end."""
    parts = b"".join(bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in segments)
    return b"\xff\xd8" + parts + b"\xff\xda\x00\x04\x00\x00scan\xff\xd9" + after


def svg(inside: str = "", marks: int = 3) -> bytes:
    """A drawing with so many circles."""
    circles = '<circle r="1"/>' * marks
    return f'<svg xmlns="http://www.w3.org/2000/svg">{inside}{circles}</svg>'.encode()


def page(rows: Sequence[Sequence[object]]) -> bytes:
    """A table as pandas and R write it."""
    lines = ["<table>"]
    for row in rows:
        lines += ["<tr>", *(f"  <td>{cell}</td>" for cell in row), "</tr>"]
    return "\n".join([*lines, "</table>"]).encode()


def zipped(**files: bytes) -> bytes:
    """A zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    """A tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def notebook(**cell: object) -> bytes:
    """A notebook of one cell."""
    code = {"cell_type": "code", "source": "1", "outputs": [], "execution_count": None, "metadata": {}, **cell}
    return json.dumps({"nbformat": 4, "cells": [code]}).encode()


def noise(size: int) -> bytes:
    """Bytes without any pattern, the same each time."""
    return random.Random(7).randbytes(size)
