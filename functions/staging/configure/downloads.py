"""The downloads of one run of configure: several at once, counted, and recorded in the provenance."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from functions.staging.configure.budget import FetchBudget
from functions.staging.configure.download_plan import Item
from functions.staging.configure.fetch import Fetched, fetch, write_atomically
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy
from functions.workflow.volume_layout import PROVENANCE

AT_ONCE = 4  # downloads
DRAFTS = ".fetching"
A = TypeVar("A")
B = TypeVar("B")


class Downloads:
    """Fetches files onto the volume."""

    def __init__(self, volume: Path, budget: FetchBudget, retries: RetryPolicy) -> None:
        self._volume = volume
        self._budget = budget
        self._retries = retries
        self.fetched: list[dict[str, str | int]] = []

    def fetch_all(self, items: Sequence[Item]) -> None:
        """Fetch all files. Raises StageFailure."""
        self._budget.expect(len(items))
        self.at_once(self._fetch_one, items)

    def at_once(self, action: Callable[[A], B], things: Sequence[A]) -> list[B]:
        """Run `action` on all `things`, several at once. The first failure stops the others and is raised."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = [pool.submit(action, thing) for thing in things]
            try:
                for future in as_completed(running):
                    future.result()
            except BaseException:
                self._budget.stop()
                pool.shutdown(cancel_futures=True)
                raise
            return [future.result() for future in running]

    def write(self, path: str, data: bytes, kind: str) -> None:
        """Write a small file that needs no download."""
        write_atomically(self._volume / path, data)
        self._record(path, Fetched(len(data), hashlib.sha256(data).hexdigest()), kind)

    def close(self) -> None:
        """Write the provenance, once every file is complete."""
        (self._volume / DRAFTS).rmdir()
        content = {"files": sorted(self.fetched, key=path_of)}
        encoded = msgspec.json.format(msgspec.json.encode(content), indent=1)
        write_atomically(self._volume / PROVENANCE, encoded)

    def _fetch_one(self, item: Item) -> None:
        target = self._volume / item.path
        target.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        logging.info("%s: from %s", item.path, item.source.where)
        drafts = self._volume / DRAFTS
        with prefixed(item.path):
            got = fetch(item.path, item.source, target, drafts, self._budget, self._retries, item.sha256)
        logging.info("%s: %d bytes in %.3f s", item.path, got.size, time.monotonic() - began)
        self._record(item.path, got, item.source.kind)

    def _record(self, path: str, got: Fetched, kind: str) -> None:
        # Without the URL: the algorithm can read this file, and must not learn where a data set lies.
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.fetched.append({"path": path, "source": kind, "size": got.size, "sha256": got.sha256, "fetched_at": at})


def path_of(entry: Mapping[str, str | int]) -> str:
    """Return the path of an entry of the provenance, relative to the volume."""
    return str(entry["path"])


def remove(folder: Path) -> None:
    """Remove what an earlier attempt left. A new volume has nothing, so that usually nothing is imported."""
    if folder.exists():
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def make_writable(folder: Path) -> None:
    """Make a folder that the group may write to: algorithm and filter may run as another user of that group."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o2775)


@contextmanager
def prefixed(name: str) -> Iterator[None]:
    """Put `name` before the text of a StageFailure."""
    try:
        yield
    except StageFailure as e:
        raise StageFailure(e.reason, f"{name}: {e.text}", e.path or name) from None
