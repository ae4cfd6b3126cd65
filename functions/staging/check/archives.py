"""Lists what an archive holds. Nothing is unpacked to a disk, and no more is read than the policy allows.

A module of its own: most outputs are not archives, and its libraries take longer to import than the rules.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from itertools import islice

from functions.staging.check.containers import archive_kind
from functions.staging.check.inflated import Inflated

_LISTED = 3
MOST_ENTRIES = 10_000  # of an archive
MOST_INSIDE = 4 << 20  # bytes of what a gzip file holds that are opened in turn


def listing(content: bytes, depth: int, ratio: int) -> list[str]:
    """List the content of an archive: opened `depth` deep, and reading at most `ratio` times its size."""
    kind = archive_kind(content[:512])
    try:
        match kind:
            case "zip":
                return _zip_listing(content, depth, ratio)
            case "tar":
                return _tar_listing(content)
            case "gzip":
                return _gzip_listing(content, depth, ratio)
            case _:
                return ["it cannot be opened here"]
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, ValueError, RuntimeError, EOFError) as e:
        return [f"it cannot be opened: {type(e).__name__}"]


def _gzip_listing(content: bytes, depth: int, ratio: int) -> list[str]:
    inside = Inflated(zlib.decompressobj(31))
    inside.feed([content], len(content) * ratio, keep=MOST_INSIDE)
    if inside.size > len(content) * ratio:
        return [f"it unpacks to more than {ratio} times its size"]
    deeper = listing(inside.head, depth - 1, ratio) if depth > 1 and archive_kind(inside.head[:512]) else []
    return [f"{inside.size} bytes inside", *deeper]


def _zip_listing(content: bytes, depth: int, ratio: int) -> list[str]:
    if content.count(b"PK\1\2") > MOST_ENTRIES:
        return [f"more than {MOST_ENTRIES} entries"]
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        entries = opened.infolist()
        found = [f"{len(entries)} entries: {', '.join(entry.filename for entry in entries[:_LISTED])}"]
        if any(entry.flag_bits & 1 for entry in entries):
            return [*found, "encrypted"]
        if sum(entry.file_size for entry in entries) > len(content) * ratio:
            return [*found, f"it unpacks to more than {ratio} times its size"]
        for entry in entries if depth > 1 else []:
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                continue
            with opened.open(entry) as member:
                head = member.read(512)
            if archive_kind(head):
                found.append(f"an archive inside: {entry.filename}")
    return found


def _tar_listing(content: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as opened:
        members = list(islice(opened, 1000))
    return [f"{len(members)} entries: {', '.join(member.name for member in members[:_LISTED])}"]
