"""The publish stage: `python -m functions.staging.publish --task FILE --volume DIR --attempt N --scope all`.

Uploads the files that may leave, and the manifest last. It can run again at any time, as the same attempt or the next:
the manifest lists every file once, and the files of earlier attempts are removed after the manifest is written.
Exits with 0, or with 62 and a reason: ResultTooLarge, TooManyResults, DiskFull, ResultUploadFailed.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from functions.results.layout import attempt_folder
from functions.results.ports import Storage, StorageUnavailable
from functions.settings import SettingsError, variables
from functions.staging.progress import ProgressReporter
from functions.staging.publish.tree import Entry, Skip, TreeChanged, TreeRefused, walk
from functions.staging.publish.upload import OpenFile, Uploader, upload_failure
from functions.staging.report import StageFailure, finish, log_to
from functions.workflow.codes import Code
from functions.workflow.environment import PublishPolicy
from functions.workflow.model import Manifest, ResultFile, Scope, WorkflowId
from functions.workflow.stage_task import Task
from functions.workflow.volume_layout import (
    ADMIN_LOGS,
    ALGORITHM_LOG,
    FILTER_LOG,
    LOGS,
    OUTPUTS,
    POD_FILTER_LOG,
    PUBLISH_LOG,
    UNFILTERED_LOG,
)

WORKERS = 8
LEAST_NAMES, LONG_NAME = 4 << 20, 400  # characters of all names together, and of one on average
_NOTED = 100  # skipped files that the log names one by one


@dataclass
class Survey:
    """Counts the files to publish, before anything is uploaded."""

    files: int = 0
    bytes: int = 0
    names: int = 0  # characters of all names; the manifest grows by them
    skipped: Counter[str] = field(default_factory=Counter)

    def skip(self, path: str, kind: str) -> None:
        self.skipped[kind] += 1
        if self.skipped.total() <= _NOTED:
            logging.warning("%s is not published: it is %s", path, kind)

    def count(self, entry: Entry, policy: PublishPolicy) -> None:
        """Count one file. Raises StageFailure above the environment's limits."""
        self.files += 1
        self.bytes += entry.size
        self.names += len(entry.path)
        if self.names > max(LEAST_NAMES, policy.max_files * LONG_NAME):
            raise StageFailure(
                "TooManyResults",
                "the names of all files together are too long: write fewer files, or use shorter names",
            )
        if self.files > policy.max_files:
            more = "write fewer files, for example one archive, or ask the operator to raise publish.maxFiles"
            raise StageFailure("TooManyResults", f"more than {policy.max_files} files: {more}")
        if entry.size > policy.max_file_bytes:
            limit = policy.max_file_bytes
            raise StageFailure(
                "ResultTooLarge", f"{entry.path} has {entry.size} bytes; the environment allows {limit} for one file"
            )
        if self.bytes > policy.max_bytes:
            raise StageFailure(
                "ResultTooLarge", f"the results have more than the {policy.max_bytes} bytes that the environment allows"
            )


def publish(task: Task, volume: Path, attempt: int, scope: Scope, storage: Storage) -> Manifest:
    """Upload all that `scope` allows, then the manifest. Raises StageFailure, TreeRefused and TreeChanged."""
    workflow = WorkflowId(task.workflow)
    survey = _survey(volume, scope, task.publish)
    logging.info("publishing files: %d, bytes: %d", survey.files, survey.bytes)
    progress = ProgressReporter()
    progress.set_totals(survey.files, survey.bytes)
    progress.report()
    uploader = Uploader(storage, attempt_folder(workflow, attempt))
    again = Survey()
    files = _upload(_open_files(volume, scope, task, again), replace(uploader, progress=progress))
    if (again.files, again.bytes) != (survey.files, survey.bytes):
        raise TreeChanged("the outputs changed while they were published")
    progress.report()
    logs = _upload(_admin_logs(volume, scope, task.publish), uploader)
    logging.info("published files: %d, bytes: %d", again.files, again.bytes)
    logs += _upload(_publish_log(volume, task.publish), uploader)
    manifest = Manifest(tuple(files), tuple(logs))
    try:
        storage.put_manifest(workflow, attempt, manifest)
    except StorageUnavailable as e:
        raise upload_failure("the manifest", e) from e
    _remove_earlier(storage, workflow, attempt)
    return manifest


def _survey(volume: Path, scope: Scope, policy: PublishPolicy) -> Survey:
    survey = Survey()
    for entry in _entries(volume, scope, survey.skip):
        survey.count(entry, policy)
    if survey.skipped.total() > _NOTED:
        kinds = ", ".join(f"{kind}: {n}" for kind, n in sorted(survey.skipped.items()))
        logging.warning("files not published, by kind: %s", kinds)
    return survey


def _entries(volume: Path, scope: Scope, skip: Skip) -> Iterator[Entry]:
    """Yield the files that the consumer gets."""
    if scope is not Scope.ADMIN_LOGS:
        yield from walk(volume, OUTPUTS, skip)
    if scope is Scope.ALL:
        yield from walk(volume, LOGS, skip)


def _open_files(volume: Path, scope: Scope, task: Task, survey: Survey) -> Iterator[OpenFile]:
    recipient = task.definition.stage.output.publicKey
    for entry in _entries(volume, scope, _quiet):
        survey.count(entry, task.publish)
        if entry.path == ALGORITHM_LOG:
            yield OpenFile(entry.path, entry.open(), cut_at=task.publish.max_log_bytes)
        else:
            yield OpenFile(entry.path, entry.open(), recipient=recipient)


def _admin_logs(volume: Path, scope: Scope, policy: PublishPolicy) -> Iterator[OpenFile]:
    for entry in walk(volume, ADMIN_LOGS, _quiet):
        if entry.path != PUBLISH_LOG:
            path = FILTER_LOG if entry.path == POD_FILTER_LOG else entry.path
            yield OpenFile(path, entry.open(), cut_at=policy.max_log_bytes)
    for entry in walk(volume, LOGS, _quiet) if scope is not Scope.ALL else ():
        if entry.path == ALGORITHM_LOG:
            yield OpenFile(UNFILTERED_LOG, entry.open(), cut_at=policy.max_log_bytes)


def _publish_log(volume: Path, policy: PublishPolicy) -> Iterator[OpenFile]:
    for entry in walk(volume, ADMIN_LOGS, _quiet):
        if entry.path == PUBLISH_LOG:
            yield OpenFile(entry.path, entry.open(), cut_at=policy.max_log_bytes)


def _quiet(path: str, kind: str) -> None:
    """The first walk of a tree has named the skipped files already."""


def _upload(files: Iterable[OpenFile], uploader: Uploader) -> list[ResultFile]:
    """Upload several files at once and list them in their order. The first that fails ends the stage."""
    done: list[ResultFile] = []
    waiting: deque[tuple[OpenFile, Future[ResultFile]]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for file in files:
                waiting.append((file, pool.submit(uploader.upload, file)))
                # Not too many ahead: each holds an open file.
                if len(waiting) >= 2 * WORKERS:
                    done.append(waiting.popleft()[1].result())
            while waiting:
                done.append(waiting.popleft()[1].result())
        finally:
            for file, upload in waiting:
                if upload.cancel():
                    os.close(file.fd)
    return done


def _remove_earlier(storage: Storage, workflow: WorkflowId, attempt: int) -> None:
    try:
        storage.remove(workflow, before=attempt)
    except StorageUnavailable as e:
        # No manifest lists them, and they are removed with the workflow's results.
        logging.warning("files of earlier attempts cannot be removed now: %s", e)


def main(arguments: list[str] | None = None) -> int:
    """Run the stage from the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="publish", description="Upload the results of a workflow.")
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--volume", type=Path, required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--scope", type=Scope, choices=list(Scope), required=True)
    options = parser.parse_args(arguments)
    # Process 1 of a container ignores SIGTERM by default. There is nothing to clean up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    log_to(options.volume / PUBLISH_LOG)
    reason, text = _run(options)
    return finish(Code.UPLOAD_FAILED if reason else 0, reason or "Published", text, options.volume)


def _run(options: argparse.Namespace) -> tuple[str, str]:
    """Run the stage. Return the reason of its failure (empty if there is none) and a text."""
    from functions.results.storage import open_url, results_url

    try:
        task = msgspec.json.decode(options.task.read_bytes(), type=Task)
        known = variables(os.environ.get("SLUICE_CREDENTIALS", ""), os.environ)
        storage = open_url(results_url(task.results, known), known)
        manifest = publish(task, options.volume, options.attempt, options.scope, storage)
    except StageFailure as e:
        return e.reason, e.text
    except (TreeRefused, TreeChanged) as e:
        return "ResultUploadFailed", str(e)
    except (OSError, msgspec.MsgspecError, SettingsError) as e:
        return "ResultUploadFailed", f"publish cannot start: {e}"
    return "", f"files: {len(manifest.files)}"
