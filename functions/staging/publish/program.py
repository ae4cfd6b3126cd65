"""The publish stage: `python -m functions.staging.publish.program --task FILE --volume DIR --attempt N --scope all`.

Uploads what may leave, and the manifest last. Run it again at any time, as the same attempt or the next:
the manifest lists every file once, and the files of earlier attempts are removed after it.
Ends with 0, or with 62 and a reason: ResultTooLarge, TooManyResults, DiskFull, ResultUploadFailed.
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
from functions.staging.publish.tally import Tally
from functions.staging.publish.tree import Entry, Skip, TreeChanged, TreeRefused, walk
from functions.staging.publish.upload import Source, Uploader, failure
from functions.staging.report import Failure, finish, log_to
from functions.workflow.codes import Code
from functions.workflow.environment import PublishPolicy
from functions.workflow.model import Manifest, ResultFile, Scope, WorkflowId
from functions.workflow.stage_task import Task

WORKERS = 8
OUTPUTS, LOGS, ADMIN_LOGS = "outputs", "logs", "adminlogs"
ALGORITHM_LOG = "logs/algorithm.log"
UNFILTERED_LOG = "adminlogs/algorithm.log"  # the same, where only the operator may read it
PUBLISH_LOG = "adminlogs/publish.log"
FILTER_LOG = "adminlogs/filter.log"
_FILTERS_OWN_LOG = "adminlogs/filter/filter.log"  # the same, in a cluster: in the one folder that the filter sees
LEAST_NAMES, LONG_NAME = 4 << 20, 400  # characters of all names together, of one on average
_NOTED = 100  # things skipped that are named in the log, one by one


@dataclass
class Survey:
    """What there is to publish, seen before anything is uploaded."""

    files: int = 0
    bytes: int = 0
    names: int = 0  # their length, which the manifest grows by
    skipped: Counter[str] = field(default_factory=Counter)

    def skip(self, path: str, kind: str) -> None:
        self.skipped[kind] += 1
        if self.skipped.total() <= _NOTED:
            logging.warning("%s is not published: it is %s", path, kind)

    def count(self, entry: Entry, policy: PublishPolicy) -> None:
        """Add one file. Raises Failure where the environment's limits end."""
        self.files += 1
        self.bytes += entry.size
        self.names += len(entry.path)
        if self.names > max(LEAST_NAMES, policy.max_files * LONG_NAME):
            raise Failure(
                "TooManyResults", "the names of all files together are too long: write fewer, or shorter ones"
            )
        if self.files > policy.max_files:
            more = "write fewer, such as one archive, or have the environment's publish.maxFiles raised"
            raise Failure("TooManyResults", f"more than {policy.max_files} files: {more}")
        if entry.size > policy.max_file_bytes:
            limit = policy.max_file_bytes
            raise Failure("ResultTooLarge", f"{entry.path} has {entry.size} bytes; the environment allows {limit}")
        if self.bytes > policy.max_bytes:
            raise Failure("ResultTooLarge", f"more than {policy.max_bytes} bytes; the environment allows no more")


def publish(task: Task, volume: Path, attempt: int, scope: Scope, storage: Storage) -> Manifest:
    """Upload everything `scope` lets out, then the manifest. Raises Failure, TreeRefused and TreeChanged."""
    workflow = WorkflowId(task.workflow)
    survey = _survey(volume, scope, task.publish)
    logging.info("publishing files: %d, bytes: %d", survey.files, survey.bytes)
    progress = Tally(survey.files, survey.bytes)
    uploader = Uploader(storage, attempt_folder(workflow, attempt))
    again = Survey()
    files = _upload(_sources(volume, scope, task, again), replace(uploader, progress=progress))
    if (again.files, again.bytes) != (survey.files, survey.bytes):
        raise TreeChanged("the outputs changed while they were published")
    progress.end()
    logs = _upload(_admin_logs(volume, scope, task.publish), uploader)
    logging.info("published files: %d, bytes: %d", again.files, again.bytes)
    logs += _upload(_publish_log(volume, task.publish), uploader)
    manifest = Manifest(tuple(files), tuple(logs))
    try:
        storage.put_manifest(workflow, attempt, manifest)
    except StorageUnavailable as e:
        raise failure("the manifest", e) from e
    _remove_earlier(storage, workflow, attempt)
    return manifest


def _survey(volume: Path, scope: Scope, policy: PublishPolicy) -> Survey:
    survey = Survey()
    for entry in _entries(volume, scope, survey.skip):
        survey.count(entry, policy)
    if survey.skipped.total() > _NOTED:
        kinds = ", ".join(f"{kind}: {n}" for kind, n in sorted(survey.skipped.items()))
        logging.warning("not published in all: %s", kinds)
    return survey


def _entries(volume: Path, scope: Scope, skip: Skip) -> Iterator[Entry]:
    """What the consumer gets."""
    if scope is not Scope.ADMIN_LOGS:
        yield from walk(volume, OUTPUTS, skip)
    if scope is Scope.ALL:
        yield from walk(volume, LOGS, skip)


def _sources(volume: Path, scope: Scope, task: Task, survey: Survey) -> Iterator[Source]:
    recipient = task.definition.stage.output.publicKey
    for entry in _entries(volume, scope, _quiet):
        survey.count(entry, task.publish)
        if entry.path == ALGORITHM_LOG:
            yield Source(entry.path, entry.open(), cut_at=task.publish.max_log_bytes)
        else:
            yield Source(entry.path, entry.open(), recipient=recipient)


def _admin_logs(volume: Path, scope: Scope, policy: PublishPolicy) -> Iterator[Source]:
    for entry in walk(volume, ADMIN_LOGS, _quiet):
        if entry.path != PUBLISH_LOG:
            path = FILTER_LOG if entry.path == _FILTERS_OWN_LOG else entry.path
            yield Source(path, entry.open(), cut_at=policy.max_log_bytes)
    for entry in walk(volume, LOGS, _quiet) if scope is not Scope.ALL else ():
        if entry.path == ALGORITHM_LOG:
            yield Source(UNFILTERED_LOG, entry.open(), cut_at=policy.max_log_bytes)


def _publish_log(volume: Path, policy: PublishPolicy) -> Iterator[Source]:
    for entry in walk(volume, ADMIN_LOGS, _quiet):
        if entry.path == PUBLISH_LOG:
            yield Source(entry.path, entry.open(), cut_at=policy.max_log_bytes)


def _quiet(path: str, kind: str) -> None:
    """The second look at a tree names nothing again."""


def _upload(sources: Iterable[Source], uploader: Uploader) -> list[ResultFile]:
    """Several at once, listed in their order; the first that cannot be uploaded ends it."""
    done: list[ResultFile] = []
    waiting: deque[tuple[Source, Future[ResultFile]]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for source in sources:
                waiting.append((source, pool.submit(uploader.upload, source)))
                # Few ahead: each holds an open file.
                if len(waiting) >= 2 * WORKERS:
                    done.append(waiting.popleft()[1].result())
            while waiting:
                done.append(waiting.popleft()[1].result())
        finally:
            for source, upload in waiting:
                if upload.cancel():
                    os.close(source.fd)
    return done


def _remove_earlier(storage: Storage, workflow: WorkflowId, attempt: int) -> None:
    try:
        storage.remove(workflow, before=attempt)
    except StorageUnavailable as e:
        # They are listed nowhere, and go when the workflow's results go.
        logging.warning("files of earlier attempts are left behind: %s", e)


def main(arguments: list[str] | None = None) -> int:
    """Run the stage; returns its exit code."""
    parser = argparse.ArgumentParser(prog="publish", description="Upload the results of a workflow.")
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--volume", type=Path, required=True)
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--scope", type=Scope, choices=list(Scope), required=True)
    options = parser.parse_args(arguments)
    # As process 1 of a container it would not end on SIGTERM; and there is nothing to tidy up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    log_to(options.volume / PUBLISH_LOG)
    reason, text = _run(options)
    return finish(Code.UPLOAD_FAILED if reason else 0, reason or "Published", text, options.volume)


def _run(options: argparse.Namespace) -> tuple[str, str]:
    """The reason of a failure, or nothing, and a text."""
    from functions.results.storage import open_url, results_url

    try:
        task = msgspec.json.decode(options.task.read_bytes(), type=Task)
        known = variables(os.environ.get("SLUICE_CREDENTIALS", ""), os.environ)
        storage = open_url(results_url(task.results, known), known)
        manifest = publish(task, options.volume, options.attempt, options.scope, storage)
    except Failure as e:
        return e.reason, e.text
    except (TreeRefused, TreeChanged) as e:
        return "ResultUploadFailed", str(e)
    except (OSError, msgspec.MsgspecError, SettingsError) as e:
        return "ResultUploadFailed", f"publish cannot start: {e}"
    return "", f"files: {len(manifest.files)}"
