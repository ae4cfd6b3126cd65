"""The rules about any file: its name, its size, how dense its bytes are, and what its text looks like. Pure."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

from functions.staging.check.output_files import OutputFile
from functions.trust import disclosure

PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}")
COMPRESSED = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"})  # dense by nature
TEXTS = frozenset({".txt", ".md", ".html", ".svg"})
SAMPLE = 4 << 20
_DIGITS = b"0123456789"
_LEAST = 1024  # bytes; of less, density says nothing


def names(file: OutputFile, settings: disclosure.Names) -> Iterator[str]:
    """Find names that the policy does not list, or that could carry data."""
    if settings.allow is not None:
        if file.name not in settings.allow:
            yield f"{file.name!r} is not one of the names that the policy lists"
        return
    parts = file.name.split("/")
    if len(parts) > settings.depth:
        yield f"it lies {len(parts)} deep, more than {settings.depth}"
    for part in parts:
        if not PLAIN.fullmatch(part):
            yield f"{part!r} holds other characters than letters, digits, `.`, `_` and `-`, or more than 64"


def size(file: OutputFile, settings: disclosure.Size) -> Iterator[str]:
    """Find a file that is too large."""
    if file.size > settings.max_file_bytes:
        yield f"{file.size} bytes, more than {settings.max_file_bytes}"


def sizes(files: Sequence[OutputFile], settings: disclosure.Size) -> dict[str, str]:
    """Find the files, by path, from which on there are too many or too many bytes in all."""
    found: dict[str, str] = {}
    total = 0
    for number, file in enumerate(files, start=1):
        total += file.size
        if number > settings.max_files:
            found[file.path] = f"file {number} of at most {settings.max_files}"
        elif total > settings.max_total_bytes:
            found[file.path] = f"{total} bytes in all with this file, more than {settings.max_total_bytes}"
    return found


def density(file: OutputFile, settings: disclosure.Density) -> Iterator[str]:
    """Find bytes that look compressed or encrypted in a file whose kind is not."""
    if file.extension in COMPRESSED or file.size < _LEAST:
        return
    with file.open() as stream:
        sample = stream.read(SAMPLE)
    percent = entropy(sample) / 8 * 100
    if percent > settings.entropy:
        yield f"{percent:.0f} % of 8 bits a byte, more than {settings.entropy} %: compressed or encrypted"
    ratio = len(zlib.compress(sample, 6)) / len(sample) * 100
    if ratio > settings.ratio:
        yield f"it compresses to {ratio:.0f} % of its size, more than {settings.ratio} %"


def entropy(data: bytes) -> float:
    """Return the bits a byte, 0 to 8."""
    total = len(data)
    return -sum(n / total * math.log2(n / total) for n in Counter(data).values()) if total else 0.0


def text(file: OutputFile, settings: disclosure.Text) -> Iterator[str]:
    """Find text that is not prose: long lines, mostly digits."""
    if file.extension not in TEXTS:
        return
    longest = open_line = digits = 0  # bytes: of the longest line, of the line that is still open, and of all digits
    for chunk in file.chunks():
        digits += len(chunk) - len(chunk.translate(None, _DIGITS))
        lines = chunk.splitlines(keepends=True)
        longest = max(longest, open_line + len(lines[0]), max(map(len, lines)))
        unended = 0 if chunk.endswith((b"\n", b"\r")) else len(lines[-1])
        open_line = open_line + unended if unended == len(chunk) else unended
    if longest > settings.max_line and file.extension != ".svg":
        yield f"a line of {longest} bytes, more than {settings.max_line}"
    if file.size and digits / file.size * 100 > settings.digits:
        yield f"{digits / file.size * 100:.0f} % of its bytes are digits, more than {settings.digits} %"
