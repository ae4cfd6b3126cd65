"""Counts the files to publish and collects warnings, before anything is uploaded."""

from __future__ import annotations

import logging
from collections import Counter

from msgspec import Struct, field

from functions.staging.publish.tree import Entry
from functions.staging.report import StageFailure
from functions.workflow.model import Scope
from functions.workflow.stage_options import PublishOptions

LEAST_NAMES, LONG_NAME = 4 << 20, 400  # characters of all names together, and of one on average
MOST_WARNINGS = 100  # files that are named one by one
_LONGEST_PATH = 200  # characters of a path in a warning
_RENAMED = "published under another name"
_ESCAPED = "is published under this name: each %XX replaces a character that the name of a result cannot have"


class Survey(Struct):
    """The number of files, their size, and what the consumer should know about the others."""

    files: int = 0
    bytes: int = 0
    names: int = 0  # characters of all names; the manifest grows by them
    kinds: Counter[str] = field(default_factory=Counter)  # of the files with a warning
    named: list[str] = field(default_factory=list)  # the first warnings

    def notice(self, path: str, kind: str | None) -> None:
        """Add a warning; a Notice for `walk`."""
        self.kinds[kind or _RENAMED] += 1
        if len(self.named) < MOST_WARNINGS:
            shown = path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
            self.named.append(f"{shown} is not published: it is {kind}" if kind else f"{shown} {_ESCAPED}")
            logging.warning("%s", self.named[-1])

    def warnings(self, scope: Scope) -> tuple[str, ...]:
        """Return the warnings for the consumer.

        If there is a filter, they name no files: a skipped file's name could carry data that the filter has not seen.
        """
        kinds = [kind for kind in sorted(self.kinds) if kind != _RENAMED]
        if scope is not Scope.ALL:
            return tuple(f"some outputs are not published, because each is {kind}" for kind in kinds)
        more = self.kinds.total() - len(self.named)
        return (*self.named, *([f"{more} more such files: {self.summary()} in all"] if more else []))

    def summary(self) -> str:
        """Return the number of warnings by kind."""
        return ", ".join(f"{kind}: {count}" for kind, count in sorted(self.kinds.items()))

    def count(self, entry: Entry, options: PublishOptions) -> None:
        """Count one file. Raises StageFailure above the environment's limits."""
        self.files += 1
        self.bytes += entry.size
        self.names += len(entry.path)
        if self.names > max(LEAST_NAMES, options.max_files * LONG_NAME):
            text = "the names of all files together are too long: write fewer files, or use shorter names"
            raise StageFailure("TooManyResults", text)
        if self.files > options.max_files:
            more = "write fewer files, for example one archive, or ask the operator to raise publish.maxFiles"
            raise StageFailure("TooManyResults", f"more than {options.max_files} files: {more}")
        if entry.size > options.max_file_bytes:
            limit = f"the environment allows {options.max_file_bytes} for one file"
            raise StageFailure("ResultTooLarge", f"{entry.path} has {entry.size} bytes; {limit}")
        if self.bytes > options.max_bytes:
            limit = f"the {options.max_bytes} bytes that the environment allows"
            raise StageFailure("ResultTooLarge", f"the results have more than {limit}")
