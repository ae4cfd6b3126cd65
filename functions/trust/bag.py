"""A BagIt 1.0 bag: the files of a crate below `data/`, and the manifests that cover them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from msgspec import Struct

from functions.workflow.model import ResultFile

PAYLOAD = "data/"
MANIFEST = "manifest-sha512.txt"
TAG_MANIFEST = "tagmanifest-sha512.txt"
BAGIT = "bagit.txt"
BAG_INFO = "bag-info.txt"


class Part(Struct, frozen=True):
    """One file of a crate. Its content is at hand, or a published file whose bytes are streamed."""

    path: str  # below `data/`
    name: str
    media_type: str
    description: str
    content: bytes | ResultFile
    size: int
    sha256: str
    sha512: str

    @classmethod
    def of_bytes(cls, path: str, name: str, media_type: str, description: str, content: bytes) -> Part:
        """Return a file that was made here."""
        sha256, sha512 = hashlib.sha256(content).hexdigest(), hashlib.sha512(content).hexdigest()
        return cls(path, name, media_type, description, content, len(content), sha256, sha512)

    @classmethod
    def of_result(cls, file: ResultFile, description: str) -> Part:
        """Return a published file, whose digests are recorded."""
        media_type = file.content_type or "application/octet-stream"
        name, sha256, sha512 = file.filename, file.sha256 or "", file.sha512 or ""
        return cls(file.path, name, media_type, description, file, file.size, sha256, sha512)


def manifest(parts: Sequence[Part]) -> str:
    """Return `manifest-sha512.txt`, which `sha512sum -c` reads."""
    return "".join(f"{part.sha512}  {encoded(PAYLOAD + part.path)}\n" for part in parts)


def tag_files(parts: Sequence[Part], identifier: str, made_on: str) -> Mapping[str, bytes]:
    """Return the files beside `data/`, by name. `identifier`: a URI; `made_on`: a date."""
    texts = {
        BAGIT: "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        BAG_INFO: (
            f"Bagging-Date: {made_on}\n"
            f"External-Identifier: {identifier}\n"
            f"Payload-Oxum: {sum(part.size for part in parts)}.{len(parts)}\n"
        ),
        MANIFEST: manifest(parts),
    }
    files = {name: text.encode() for name, text in texts.items()}
    sums = "".join(f"{hashlib.sha512(content).hexdigest()}  {name}\n" for name, content in files.items())
    return {**files, TAG_MANIFEST: sums.encode()}


def encoded(path: str) -> str:
    """Return a path as manifests spell it: line breaks and `%` are percent-encoded."""
    return path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def decoded(path: str) -> str:
    """Return the path that `encoded` spelled."""
    return path.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")


def as_iri(path: str) -> str:
    """Return a path as a relative IRI."""
    return quote(path)
