"""The rule about types: the ending, the first bytes and a whole parse say the same. Pure."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping

from functions.staging.check import pictures
from functions.staging.check.containers import archive_kind
from functions.staging.check.output_files import OutputFile
from functions.trust import disclosure

MAGIC = {
    pictures.PNG: ".png",
    pictures.JPEG: ".jpg",
    pictures.PDF: ".pdf",
    b"GIF8": ".gif",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3": "a database",
    b"PAR1": ".parquet",
    b"\x89HDF": ".h5",
}
SAME = {".jpeg": ".jpg", ".htm": ".html"}


class Unparsable(ValueError):
    """The file does not parse as what its ending says."""


def kind_of(file: OutputFile) -> str:
    """Return what the first bytes are, or the ending where they say nothing: `.csv`, `zip`, `.png`."""
    head = file.head
    found = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "") or archive_kind(head)
    return found or SAME.get(file.extension, file.extension) or "unknown"


def types(file: OutputFile, settings: disclosure.Types, no_table: str = "") -> Iterator[str]:
    """Find files whose type is not allowed, or that are not what they are called.

    `no_table`: why a file that is called a table could not be read as one; "" if it could.
    """
    ending = SAME.get(file.extension, file.extension)
    allowed = {SAME.get(each, each) for each in settings.allow}
    if ending not in allowed:
        yield f"the type {ending or 'without an ending'} is not one of {', '.join(sorted(allowed)) or 'none'}"
    kind = kind_of(file)
    if ending and kind != ending:
        yield f"it is called {ending} but begins like {kind}"
    elif no_table:
        yield f"it is not a whole {ending} file: {no_table}"
    elif ending in PARSERS:
        try:
            PARSERS[ending](file)
        except ValueError as e:
            yield f"it is not a whole {ending} file: {e}"


def _text(file: OutputFile) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in file.chunks():
            if "\0" in decoder.decode(chunk):
                raise Unparsable("it holds NUL bytes")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Unparsable("it is not UTF-8 text") from None


def _png(file: OutputFile) -> None:
    pictures.png_pixels(file.whole())


def _svg(file: OutputFile) -> None:
    pictures.Svg.of(file)


def _jpeg(file: OutputFile) -> None:
    if b"\xff\xd9" not in file.whole()[-(1 << 16) :]:
        raise Unparsable("it has no end")


PARSERS: Mapping[str, Callable[[OutputFile], None]] = {
    ".txt": _text,
    ".md": _text,
    ".html": _text,
    ".png": _png,
    ".svg": _svg,
    ".jpg": _jpeg,
}
