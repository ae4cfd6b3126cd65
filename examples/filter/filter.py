"""A filter: decides which of an algorithm's outputs may leave. Plain Python, no dependencies.

It runs between algorithm and publish, in the operator's container. The files that it leaves below /data/outputs are
published. If it exits with another code than 0, nothing is (Ocean status 51). The algorithm's log is never published.

    FILTER_MAX_FILES=100  FILTER_MAX_BYTES=10000000  FILTER_TYPES=.csv,.json,.png  python3 filter.py

It deletes files of other types, and prints their names. It refuses more files or bytes than allowed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path


def main(environ: Mapping[str, str]) -> int:
    max_files = int(environ.get("FILTER_MAX_FILES", "100"))
    max_bytes = int(environ.get("FILTER_MAX_BYTES", "10000000"))
    types = tuple(environ.get("FILTER_TYPES", ".csv,.json,.png,.svg,.txt").lower().split(","))
    volume = Path(environ.get("VOLUME", "/data"))
    outputs = Path(environ.get("OUTPUTS", volume / "outputs"))
    files = bytes_left = 0
    for path in list(entries(outputs)):
        if path.is_symlink() or not path.is_file() or not path.name.lower().endswith(types):
            print(f"deleted, its type may not leave: {path!s}")
            path.unlink()
            continue
        files += 1
        bytes_left += path.stat().st_size
    if files > max_files or bytes_left > max_bytes:
        print(f"refused: {files} files, {bytes_left} bytes; at most {max_files} files, {max_bytes} bytes may leave")
        return 1
    print(f"passed: {files} files, {bytes_left} bytes")
    return 0


def entries(folder: Path) -> Iterator[Path]:
    """All entries below `folder` that are not folders. Includes symbolic links, and does not follow them."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in sorted(files))
        yield from (Path(place, name) for name in sorted(folders) if Path(place, name).is_symlink())


if __name__ == "__main__":
    sys.exit(main(os.environ))
