"""The publish stage: `python -m functions.staging.publish --task FILE --volume DIR --attempt N --scope all`.

Uploads the files that may leave, and the manifest last. It can run again at any time, as the same attempt or the next:
the manifest lists every file once, and the files of earlier attempts are removed after the manifest is written.
Exits with 0, or with 62 and a reason (docs/results.md). Any other exit code is a crash whose cause may go away.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from functions.results.layout import attempt_folder, encode
from functions.results.ports import Storage, StorageUnavailable
from functions.staging.command_line import credentials_of, parse_arguments
from functions.staging.progress import ProgressReporter
from functions.staging.publish import tes_outputs, unfiltered
from functions.staging.publish.survey import MOST_WARNINGS, Survey
from functions.staging.publish.tree import Entry, Notice, TreeChanged, walk
from functions.staging.publish.upload import Destination, OpenFile, Uploader, upload_failure
from functions.staging.report import StageFailure, finish, log_to
from functions.untrusted import Malformed, parse_json
from functions.variables import SettingsError
from functions.workflow.codes import Code
from functions.workflow.model import FetchedFile, Manifest, ResultFile, Scope, WorkflowId
from functions.workflow.stage_options import PublishOptions
from functions.workflow.stage_task import MAX_HELD_LIST, Task
from functions.workflow.tes_task import TesTask
from functions.workflow.volume_layout import (
    ADMIN_LOGS,
    ALGORITHM_LOG,
    CHECKS_REPORT,
    FILTER_LOG,
    LOGS,
    OUTPUTS,
    POD_FILTER_LOG,
    PROVENANCE,
    PUBLISH_LOG,
    UNFILTERED_LOG,
)

WORKERS = 8
MAX_PROVENANCE = 8 << 20  # bytes


class Provenance(Struct, frozen=True):
    """provenance.json."""

    files: tuple[FetchedFile, ...] = ()


def publish(
    task: Task,
    volume: Path,
    attempt: int,
    scope: Scope,
    storage: Storage,
    quarantine: Storage | None = None,
    destinations: Destination | None = None,
) -> Manifest:
    """Upload all that `scope` allows, then the manifest. Raises StageFailure and TreeChanged.

    With a `quarantine`, the outputs and the manifest go there, and only the admin logs go to the results. Otherwise
    those of a TES task go to `destinations`.
    """
    workflow = WorkflowId(task.workflow)
    survey = _survey(volume, scope, task)
    logging.info("publishing files: %d, bytes: %d", survey.files, survey.bytes)
    progress = ProgressReporter()
    progress.set_totals(survey.files, survey.bytes)
    progress.report()
    uploader = Uploader(storage, attempt_folder(workflow, attempt))
    destination = quarantine or storage
    again = Survey()
    outputs = replace(uploader, storage=quarantine or destinations or storage, progress=progress)
    refused: list[str] = []
    files = _upload(_open_files(volume, scope, task, again), outputs, refused)
    if (again.files, again.bytes) != (survey.files, survey.bytes):
        raise TreeChanged("the outputs changed while they were published")
    progress.report()
    logs = _upload(_admin_logs(volume, scope, task), uploader)
    logging.info("published files: %d, bytes: %d", again.files, again.bytes)
    logs += _upload(_publish_log(volume, task.publish), uploader)
    manifest = Manifest((), tuple(logs), survey.warnings(scope), _report(volume), fetched=_fetched(volume))
    if isinstance(task.definition, TesTask):
        manifest = tes_outputs.manifest(manifest, task.definition, volume, scope, files, refused)
    else:
        manifest = replace(manifest, files=tuple(files))
    if quarantine is not None:
        manifest = _held(manifest, files)
    _put_manifest(destination, workflow, attempt, manifest)
    return manifest


def _put_manifest(destination: Storage, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
    """Write the manifest, which makes the results valid, and then remove what earlier attempts left."""
    try:
        destination.put_manifest(workflow, attempt, manifest)
    except StorageUnavailable as e:
        raise upload_failure("the manifest", e) from e
    try:
        destination.remove(workflow, before=attempt)
    except StorageUnavailable as e:
        # No manifest lists them, and they are removed with the workflow's results.
        logging.warning("files of earlier attempts cannot be removed now: %s", e)


def _held(manifest: Manifest, files: Iterable[ResultFile]) -> Manifest:
    """Return the manifest of a quarantine. Raises StageFailure if its list does not fit into the task of a release."""
    # The stored bytes never leave as they are: release encrypts anew, or not at all.
    manifest = replace(manifest, files=tuple(replace(file, sha512=None) for file in files))
    if (size := len(encode(replace(manifest, report="", fetched=())))) > MAX_HELD_LIST:
        text = f"the list of {len(manifest.files)} files takes {size} bytes, and {MAX_HELD_LIST} can be held"
        raise StageFailure("TooManyResults", f"{text}; write fewer files")
    return manifest


def _report(volume: Path) -> str:
    """The report of the disclosure checks, if there were any."""
    try:
        return (volume / CHECKS_REPORT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _fetched(volume: Path) -> tuple[FetchedFile, ...]:
    """What configure has fetched. An algorithm may have changed the list; the history has its digest."""
    try:
        with open(volume / PROVENANCE, "rb") as file:
            return parse_json(file.read(MAX_PROVENANCE), Provenance).files
    except (OSError, Malformed):
        return ()


def _survey(volume: Path, scope: Scope, task: Task) -> Survey:
    survey = Survey()
    for entry, _ in _entries(volume, scope, task, survey.notice):
        survey.count(entry, task.publish)
    if survey.kinds.total() > MOST_WARNINGS:
        logging.warning("files with a warning, by kind: %s", survey.summary())
    return survey


def _entries(volume: Path, scope: Scope, task: Task, notice: Notice) -> Iterator[tuple[Entry, str]]:
    """Yield the files that the consumer gets, and where each goes if that is not the storage of results."""
    if isinstance(task.definition, TesTask):
        yield from tes_outputs.entries(task.definition, volume, scope, notice)
        return
    if scope is not Scope.ADMIN_LOGS:
        yield from ((entry, "") for entry in walk(volume, OUTPUTS, notice))
    if scope is Scope.ALL:
        yield from ((entry, "") for entry in walk(volume, LOGS, notice))


def _open_files(volume: Path, scope: Scope, task: Task, survey: Survey) -> Iterator[OpenFile]:
    held = task.held if scope is Scope.QUARANTINE else None
    recipient = held.recipient if held else task.recipient
    for entry, key in _entries(volume, scope, task, _quiet):
        survey.count(entry, task.publish)
        if entry.path == ALGORITHM_LOG:
            yield OpenFile(entry.path, entry.open(), cut_at=task.publish.max_log_bytes)
        else:
            yield OpenFile(entry.path, entry.open(), recipient=recipient, key=key)


def _admin_logs(volume: Path, scope: Scope, task: Task) -> Iterator[OpenFile]:
    options = task.publish
    for entry in walk(volume, ADMIN_LOGS, _quiet):
        if entry.path != PUBLISH_LOG:
            path = FILTER_LOG if entry.path == POD_FILTER_LOG else entry.path
            yield OpenFile(path, entry.open(), cut_at=options.max_log_bytes)
    if isinstance(task.definition, TesTask):
        for number, name, entry in tes_outputs.kept_streams(volume, _quiet):
            yield OpenFile(tes_outputs.log_path(number, name), entry.open(), cut_at=options.max_log_bytes)
        return
    for entry in walk(volume, LOGS, _quiet) if scope is not Scope.ALL else ():
        if entry.path == ALGORITHM_LOG:
            yield OpenFile(UNFILTERED_LOG, entry.open(), cut_at=options.max_log_bytes)


def _publish_log(volume: Path, options: PublishOptions) -> Iterator[OpenFile]:
    for entry in walk(volume, ADMIN_LOGS, _quiet):
        if entry.path == PUBLISH_LOG:
            yield OpenFile(entry.path, entry.open(), cut_at=options.max_log_bytes)


def _quiet(path: str, kind: str | None) -> None:
    """The first walk of a tree has named the skipped files already."""


def _upload(files: Iterable[OpenFile], uploader: Uploader, refused: list[str] | None = None) -> list[ResultFile]:
    """Upload several files at once and list them in their order. The first that fails ends the stage.

    `refused` collects the first files that a task's storages refuse: these do not end the stage.
    """
    done: list[ResultFile] = []
    waiting: deque[tuple[OpenFile, Future[ResultFile]]] = deque()

    def take() -> None:
        path = waiting[0][0].path
        try:
            done.append(waiting.popleft()[1].result())
        except StageFailure as e:
            if e.reason != "OutputRefused" or refused is None or len(refused) == tes_outputs.MOST_REFUSED:
                raise
            refused.append(path)

    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            for file in files:
                waiting.append((file, pool.submit(uploader.upload, file)))
                # Not too many ahead: each holds an open file.
                if len(waiting) >= 2 * WORKERS:
                    take()
            while waiting:
                take()
        finally:
            for file, upload in waiting:
                if upload.cancel():
                    os.close(file.fd)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage from the command line and return its exit code."""
    given = parse_arguments("publish", ("task", "volume", "attempt", "scope"), arguments)
    volume = Path(given["volume"])
    # Process 1 of a container ignores SIGTERM by default. There is nothing to clean up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    log_to(volume / PUBLISH_LOG)
    try:
        text, facts = _run(given, volume)
        return finish(0, "Published", text, volume, facts)
    except StageFailure as e:
        reason, text = e.reason, e.text
    except TreeChanged as e:
        reason, text = "ResultUploadFailed", str(e)
    except (OSError, MemoryError) as e:
        # Only the kind of error: its text may contain a URL with a password.
        return finish(1, "Crashed", f"{type(e).__name__} in publish", volume)
    except Exception as e:
        reason, text = "InternalError", f"{type(e).__name__} in publish; please report this bug"
    return finish(Code.UPLOAD_FAILED, reason, text, volume)


def _run(given: Mapping[str, str], volume: Path) -> tuple[str, dict[str, str]]:
    """Run the stage and return a text and facts for the termination message.

    Raises StageFailure, TreeChanged and OSError.
    """
    from functions.results.storage import open_url, quarantine_variables, results_url

    try:
        task = parse_json(Path(given["task"]).read_bytes(), Task)
        attempt, scope = int(given["attempt"]), Scope(given["scope"])
    except ValueError as e:
        raise StageFailure("InvalidTask", f"the task cannot be used: {e}") from None
    try:
        known = credentials_of(os.environ)
        storage = open_url(results_url(task.results, known), known)
        held = task.held if scope is Scope.QUARANTINE else None
        quarantine = open_url(held.quarantine, quarantine_variables(known)) if held else None
    except (SettingsError, UnicodeError) as e:
        # Not final: the operator may correct the Secret before the last attempt.
        raise StageFailure("ResultUploadFailed", f"the storage of results cannot be used: {e}") from None
    destinations = _destinations(task)
    manifest = publish(task, volume, attempt, scope, storage, quarantine, destinations)
    return f"files: {len(manifest.files or manifest.delivered)}", unfiltered.facts_of(volume)


def _destinations(task: Task) -> Destination | None:
    if not isinstance(task.definition, TesTask):
        return None
    from functions.staging.publish.deliver import destinations_of

    return destinations_of(task)
