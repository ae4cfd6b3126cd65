"""The inputs of a GA4GH TES task: each at its own path below one tree, whose folders are mounted in the executors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from functions.staging.configure.download_plan import Item
from functions.staging.configure.downloads import DRAFTS, Downloads, make_writable, prefixed, remove
from functions.staging.configure.local_sources import FileSource, TextSource
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy
from functions.workflow.container_paths import parents, plan
from functions.workflow.tes_task import Input, TesTask, url_of
from functions.workflow.volume_layout import ADMIN_LOGS, FAILED_INPUT, FILTER_FOLDER, LOGS, OUTPUTS

if TYPE_CHECKING:
    from functions.staging.configure.budget import FetchBudget
    from functions.staging.configure.fetch import DataSource
    from functions.staging.guarded_http import GuardedHttp
    from functions.workflow.stage_options import FetchOptions


class TesInputs:
    """Makes the folders of a task and fetches its inputs."""

    def __init__(
        self,
        task: TesTask,
        volume: Path,
        downloads: Downloads,
        options: FetchOptions,
        http: GuardedHttp | None,
        credentials: Mapping[str, str],
        retries: RetryPolicy,
        budget: FetchBudget,
    ) -> None:
        self._task = task
        self._volume = volume
        self._downloads = downloads
        self._options = options
        self._given_http = http
        self._budget = budget
        self._credentials = credentials
        self._retries = retries

    def data(self) -> None:
        """Make the folders, fetch the inputs, and write the provenance. Raises StageFailure."""
        self._make_folders()
        items = []
        try:
            for each in self._task.inputs:
                with prefixed(each.path):
                    items += list(self._items(each))
            self._downloads.fetch_all(items)
        except StageFailure as e:
            self._name(e)
            raise
        self._downloads.close()

    def _name(self, failure: StageFailure) -> None:
        """Write down which input failed. The publish stage reads that file and shows it to the owner."""
        told = f"{failure.path.removeprefix(OUTPUTS)}: {failure.reason}"
        with suppress(OSError):
            (self._volume / FAILED_INPUT).write_text(told, encoding="utf-8", errors="replace")

    def _make_folders(self) -> None:
        """Make each folder that a container mounts. The kubelet would make a missing one as root."""
        for name in (OUTPUTS, LOGS, DRAFTS):
            remove(self._volume / name)
        (self._volume / FAILED_INPUT).unlink(missing_ok=True)
        (self._volume / DRAFTS).mkdir()
        (self._volume / ADMIN_LOGS).mkdir(exist_ok=True)
        places = self._task.places
        wanted = [*(each.path for each in plan(places) if not each.is_file), *places.folders]
        for path in sorted({*parents(wanted), *parents(places.input_files), *wanted}):
            make_writable(self._volume / f"{OUTPUTS}{path}")
        for number in range(len(self._task.executors)):
            make_writable(self._volume / LOGS / str(number))
        make_writable(self._volume / FILTER_FOLDER)

    def _items(self, each: Input) -> Iterator[Item]:
        target = f"{OUTPUTS}{each.path.rstrip('/')}"
        if each.content:
            yield Item(target, TextSource(each.content, "the task", "content"))
        elif each.type == "FILE":
            yield Item(target, self._source(url_of(each.url)))
        else:
            yield from (Item(f"{target}/{name}", source) for name, source in self._files(url_of(each.url)))

    def _source(self, url: str) -> DataSource:
        from functions.staging.configure.sources import source

        return source(url, self._options, self._http, self._credentials, self._retries)

    @cached_property
    def _http(self) -> GuardedHttp:
        from functions.staging.guarded_http import GuardedHttp

        return self._given_http or GuardedHttp.for_options(self._options, self._retries, self._budget.time_left)

    def _files(self, url: str) -> Iterator[tuple[str, DataSource]]:
        """Yield the files of a folder, with their paths below it. Raises StageFailure."""
        scheme = urlsplit(url).scheme
        if scheme not in self._options.schemes:
            raise StageFailure("DataForbidden", f"this environment does not fetch {scheme or 'empty'}: URLs")
        if scheme == "file":
            found: Iterator[tuple[str, DataSource]] = _walk(unquote(urlsplit(url).path))
        elif scheme in ("s3", "gs", "az"):
            from functions.staging.configure.object_source import list_objects

            found = list_objects(url, self._options, self._credentials, self._retries)
        else:
            raise StageFailure("DataUnavailable", f"a {scheme}: URL names one file, not a DIRECTORY")
        for count, (name, source) in enumerate(found):
            if count == self._options.max_files:
                raise StageFailure("DataTooLarge", f"more than {self._options.max_files} files")
            if any(part in ("", ".", "..") or len(part.encode()) > 255 or "\0" in part for part in name.split("/")):
                raise StageFailure("DataUnavailable", f"{name!r} cannot be the name of a file")
            yield name, source


def _walk(folder: str) -> Iterator[tuple[str, DataSource]]:
    """Yield the regular files below a folder of this machine. Links are not followed."""
    if not os.path.isdir(folder):
        raise StageFailure("DataUnavailable", f"{folder}: there is no such folder")
    for here, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(here, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield os.path.relpath(path, folder), FileSource(path)
