"""The rules about pictures and documents: what they carry beside what they show. Pure."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from xml.parsers import expat

from functions.staging.check.inflated import Inflated
from functions.staging.check.output_files import OutputFile
from functions.trust import disclosure

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
PDF = b"%PDF-"
MARKS = frozenset({"circle", "ellipse", "path", "rect", "polygon", "polyline", "line", "use", "image"})
_PNG_TEXT = {b"tEXt": "text", b"zTXt": "text", b"iTXt": "text", b"eXIf": "EXIF data"}
_PNG_KNOWN = frozenset((
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"bKGD", b"sBIT", b"hIST",
    b"tIME", b"acTL", b"fcTL", b"fdAT", b"sPLT", b"cICP", b"iCCP",
))  # fmt: skip
_ACTIVE_ELEMENTS = frozenset((
    "script", "foreignobject", "iframe", "object", "embed", "handler", "set", "animate", "base", "link", "meta",
    "form", "portal", "video", "audio", "animatetransform", "animatemotion",
))  # fmt: skip
_PDF_PARTS = {b"/EmbeddedFile": "an attachment", b"/FileAttachment": "an attachment", b"/Metadata": "metadata"}
_PDF_ACTIVE = (b"/JavaScript", b"/JS", b"/Launch", b"/OpenAction", b"/AA", b"/SubmitForm", b"/RichMedia")
_EXTERNAL_STYLE = re.compile(r"url\s*\(\s*['\"]?\s*(?!#)(?!data:image/)|@import", re.IGNORECASE)

_W3C = "http://www.w3.org/"
_DOCUMENT_TYPES = frozenset((
    ("-//W3C//DTD SVG 1.0//EN", f"{_W3C}TR/2001/REC-SVG-20010904/DTD/svg10.dtd"),
    ("-//W3C//DTD SVG 1.1//EN", f"{_W3C}Graphics/SVG/1.1/DTD/svg11.dtd"),
))  # fmt: skip
# What Matplotlib says about itself in each picture. It is the same in all, apart from its version and the time.
_MATPLOTLIB = rb"Matplotlib v(?:ersion)?[0-9]{1,2}(?:\.[0-9]{1,3}){1,2}, https://matplotlib\.org/"
_PNG_SOFTWARE = re.compile(rb"Software\0" + _MATPLOTLIB)
_SVG_SOFTWARE = re.compile(
    rb"<metadata>\s*<rdf:RDF(?: xmlns:(?:dc|cc|rdf)=\"http://(?:purl\.org/dc/elements/1\.1/|creativecommons\.org/ns#|"
    rb"www\.w3\.org/1999/02/22-rdf-syntax-ns#)\"){3}>\s*<cc:Work>\s*"
    rb"<dc:type rdf:resource=\"http://purl\.org/dc/dcmitype/StillImage\"/>\s*"
    rb"(?:<dc:date>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}</dc:date>\s*)?"
    rb"<dc:format>image/svg\+xml</dc:format>\s*"
    rb"(?:<dc:creator>\s*<cc:Agent>\s*<dc:title>" + _MATPLOTLIB + rb"</dc:title>\s*</cc:Agent>\s*</dc:creator>\s*)?"
    rb"</cc:Work>\s*</rdf:RDF>\s*</metadata>"
)

# Bytes. Markup takes many times its size in memory, and a hostile HTML file takes the parser a time that grows with the
# square of its size.
LONGEST_MARKUP, LONGEST_HTML = 8 << 20, 256 << 10
_MOST_NOTED = 100
_DEEPEST = 1000


class Damaged(ValueError):
    """The file is not a whole picture of its kind; the text says where."""


def metadata(file: OutputFile) -> Iterator[str]:
    """Find comments, EXIF data, attachments, and bytes after the end."""
    if file.head.startswith(PNG):
        yield from _png_metadata(file.whole())
    elif file.head.startswith(JPEG):
        yield from _jpeg_metadata(file.whole())
    elif file.head.startswith(PDF):
        content = file.whole()
        for mark, what in _PDF_PARTS.items():
            if mark in content:
                yield f"{what} ({mark.decode()})"
        if content.count(b"%%EOF") > 1 or content.rpartition(b"%%EOF")[2].strip():
            yield "bytes after the end, or several versions in one file"
    elif file.extension == ".svg":
        yield from Svg.of(file).metadata


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """The chunks of a PNG: type, data, and where the chunk ends. Raises Damaged."""
    at = len(PNG)
    while at < len(content):
        if at + 12 > len(content):
            raise Damaged("a PNG that is cut off")
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        end = at + 12 + length
        if end > len(content):
            raise Damaged("a PNG that is cut off")
        if zlib.crc32(kind + data) != int.from_bytes(content[end - 4 : end]):
            raise Damaged(f"a PNG with a wrong checksum in {kind.decode('latin-1')}")
        yield kind, data, end
        if kind == b"IEND":
            return
        at = end
    raise Damaged("a PNG without an end")


def _png_metadata(content: bytes) -> Iterator[str]:
    picture = 0
    is_named = False
    for kind, data, end in png_chunks(content):
        picture = end
        if kind == b"tEXt" and not is_named and _PNG_SOFTWARE.fullmatch(data):
            is_named = True
        elif what := _PNG_TEXT.get(kind):
            yield f"{what} in the chunk {kind.decode()} ({len(data)} bytes)"
        elif kind not in _PNG_KNOWN:
            yield f"an unknown chunk {kind.decode('latin-1')!r} ({len(data)} bytes)"
    if picture < len(content):
        yield f"{len(content) - picture} bytes after the end of the picture"


def png_pixels(content: bytes, most: int = 256 << 20) -> None:
    """Inflate the picture and compare it with its dimensions. Raises Damaged. At most `most` bytes are inflated."""
    chunks = png_chunks(content)
    kind, header, _ = next(chunks)
    if kind != b"IHDR" or len(header) != 13:
        raise Damaged("a PNG without a header")
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour)
    if channels is None or not width or not height:
        raise Damaged("a PNG with a wrong header")
    expected = height * (1 + (width * depth * channels + 7) // 8)
    if expected > most:
        raise Damaged(f"a PNG of {width} × {height} pixels, too large to be checked")
    inflated = Inflated(zlib.decompressobj())
    try:
        inflated.feed((data for kind, data, _ in chunks if kind == b"IDAT"), expected)
    except zlib.error:
        raise Damaged("a PNG whose pixels cannot be read") from None
    interlaced = header[12] == 1
    if not inflated.size or (inflated.size != expected and not interlaced) or inflated.rest:
        raise Damaged("a PNG whose pixels do not fit its dimensions")


def _jpeg_metadata(content: bytes) -> Iterator[str]:
    at = 2
    while at + 4 <= len(content):
        marker = content[at : at + 2]
        if marker[0] != 0xFF:
            raise Damaged("a JPEG with a damaged segment")
        if marker == b"\xff\xda":  # the picture itself follows, to the end mark
            break
        length = int.from_bytes(content[at + 2 : at + 4])
        data = content[at + 4 : at + 2 + length]
        if marker == b"\xff\xfe":
            yield f"a comment ({len(data)} bytes)"
        elif 0xE1 <= marker[1] <= 0xEF and not data.startswith((b"ICC_PROFILE", b"Adobe")):
            yield f"metadata such as EXIF ({len(data)} bytes)"
        at += 2 + length
    end = content.rfind(b"\xff\xd9")
    if end < 0:
        raise Damaged("a JPEG without an end")
    first = content.find(b"\xff\xd9", at)
    if len(content) > first + 2:
        yield f"{len(content) - first - 2} bytes after the end of the picture"


class Svg:
    """The content of an SVG: its number of marks, active parts and metadata. Raises Damaged if it is no SVG."""

    @staticmethod
    def of(file: OutputFile) -> Svg:
        """Read a file, once for all rules. Raises Damaged and TooLarge."""
        return file.once(_svg)

    def __init__(self, content: bytes) -> None:
        self.marks = 0
        self.active: dict[str, None] = {}  # each once, in the order of the file
        self.metadata: dict[str, None] = {}
        self._root = ""
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._element
        parser.CommentHandler = lambda text: self._note(self.metadata, f"a comment ({len(text)} characters)")
        parser.ProcessingInstructionHandler = lambda target, _: self._note(self.active, f"an instruction {target!r}")
        parser.CharacterDataHandler = self._text
        self._inside: list[str] = []
        parser.EndElementHandler = lambda _: self._inside.pop() and None
        try:
            parser.Parse(_SVG_SOFTWARE.sub(b"", content, count=1), True)
        except expat.ExpatError as e:
            raise Damaged(f"an SVG that is not XML: {e}") from None
        if self._root != "svg":
            raise Damaged(f"an SVG whose first element is {self._root!r}")

    def _doctype(self, name: str, system: str | None, public: str | None, has_declarations: bool) -> None:
        del name
        if has_declarations or (public, system) not in _DOCUMENT_TYPES:
            raise Damaged("an SVG with a document type of its own; its entities could hide or multiply content")

    @staticmethod
    def _note(found: dict[str, None], what: str) -> None:
        if len(found) < _MOST_NOTED:
            found[what] = None

    def _element(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2].lower()
        self._root = self._root or name
        self._inside.append(name)
        if len(self._inside) > _DEEPEST:
            raise Damaged(f"an SVG whose elements are nested more than {_DEEPEST} deep")
        self.marks += name in MARKS
        if name in _ACTIVE_ELEMENTS:
            self._note(self.active, f"<{name}>")
        if name == "metadata":
            self._note(self.metadata, "<metadata>")
        for key, value in attributes.items():
            for what in active_attribute(key, value):
                self._note(self.active, what)
            if key.startswith("data-"):
                self._note(self.metadata, f"the attribute {key!r}")

    def _text(self, text: str) -> None:
        if self._inside and self._inside[-1] == "style" and _EXTERNAL_STYLE.search(text):
            self._note(self.active, "a reference to another place in <style>")


def _svg(file: OutputFile) -> Svg:
    return Svg(file.whole(LONGEST_MARKUP))


def active_attribute(key: str, value: str) -> list[str]:
    """Find an attribute that would run a script, or load something from elsewhere."""
    name = key.rpartition(":")[2].lower()
    if name.startswith("on"):
        return [f"the handler {key!r}"]
    target = value.strip().lower()
    if name in ("href", "src", "action", "data", "srcset", "poster", "background") and not _stays_inside(target):
        return [f"the reference {key}={value[:60]!r}"]
    if name in ("style", "fill", "stroke", "filter", "mask", "clip-path") and _EXTERNAL_STYLE.search(value):
        return [f"the reference {key}={value[:60]!r}"]
    return []


def _stays_inside(target: str) -> bool:
    return target.startswith(("#", "data:image/png;", "data:image/jpeg;")) or not target


def marks(file: OutputFile, settings: disclosure.Marks) -> Iterator[str]:
    """Find drawings with so many marks that each may be one individual."""
    if file.extension == ".svg":
        drawn = Svg.of(file).marks
        if drawn > settings.max:
            yield f"{drawn} marks, more than {settings.max}: each may be one individual"


def active(file: OutputFile) -> Iterator[str]:
    """Find scripts, foreign objects and references to other places."""
    if file.extension == ".svg":
        yield from Svg.of(file).active
    elif file.extension in (".html", ".htm", ".xhtml"):
        yield from dict.fromkeys(_active_html(file.whole(LONGEST_HTML).decode("utf-8", "replace")))
    elif file.head.startswith(PDF):
        content = file.whole()
        yield from (f"{mark.decode()} in a PDF" for mark in _PDF_ACTIVE if mark in content)


def _active_html(text: str) -> list[str]:
    """Return what a page would run or load, in its order."""
    from html.parser import HTMLParser

    found: list[str] = []

    class Page(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag in _ACTIVE_ELEMENTS:
                found.append(f"<{tag}>")
            for key, value in attrs:
                found.extend(active_attribute(key, value or ""))

    Page().feed(text)
    return found
