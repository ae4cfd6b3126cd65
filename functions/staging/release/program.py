"""The release stage: `python -m functions.staging.release --task FILE --volume DIR`.

Removes what an earlier attempt has copied, copies the files that were decided from the quarantine to the results, and
writes the manifest last. The bytes that leave must have the sha256 that was decided. It can run again at any time.
Exits with 0, or with 62 and a reason: QuarantineChanged (final), ResultUploadFailed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from functions.results.age import NotDecrypted, decrypt
from functions.results.layout import attempt_folder, plain_path
from functions.results.ports import NotFound, Storage, StorageUnavailable
from functions.staging.command_line import credentials_of, parse_arguments
from functions.staging.publish.deliver import destinations_of
from functions.staging.publish.tes_outputs import container_path, covered
from functions.staging.publish.upload import Destination, StreamFile, Uploader, upload_failure
from functions.staging.report import StageFailure, finish, log_to
from functions.untrusted import parse_json
from functions.variables import SettingsError
from functions.workflow.codes import Code
from functions.workflow.model import DeliveredFile, Manifest, ResultFile, WorkflowId
from functions.workflow.stage_task import RELEASE_ATTEMPT, HeldTask, Task
from functions.workflow.tes_task import TesTask
from functions.workflow.volume_layout import RELEASE_LOG

CHANGED = "QuarantineChanged"


class _Changed(Exception):
    """The bytes in quarantine are not those that were decided."""


class Release(Struct, frozen=True):
    """One run: from `quarantine` to `results`."""

    task: Task
    held: HeldTask
    quarantine: Storage
    results: Storage
    destinations: Destination | None = None  # where the outputs of a TES task go

    def run(self) -> Manifest:
        """Copy all files, then write the manifest. Raises StageFailure."""
        workflow = WorkflowId(self.task.workflow)
        try:
            # A release that was broken off may have copied files that a later decision withholds.
            self.results.remove(workflow, before=RELEASE_ATTEMPT + 1)
        except StorageUnavailable as e:
            raise upload_failure("the copies of an earlier attempt", e) from e
        uploader = Uploader(self.results, attempt_folder(workflow, RELEASE_ATTEMPT))
        files = tuple(self._copy(file, uploader) for file in self.held.files)
        manifest = Manifest(files, self.held.admin_files, delivered=tuple(self._deliver()))
        try:
            self.results.put_manifest(workflow, RELEASE_ATTEMPT, manifest)
        except StorageUnavailable as e:
            raise upload_failure("the manifest", e) from e
        return manifest

    def _copy(self, file: ResultFile, uploader: Uploader) -> ResultFile:
        path = plain_path(file.path)
        recipient = self.task.recipient
        try:
            return uploader.upload_stream(
                StreamFile(path, lambda: self._plain(file), lambda: file.plain_size or file.size, recipient)
            )
        except _Changed as e:
            raise StageFailure(CHANGED, f"{path}: {e}") from None

    def _deliver(self) -> Iterator[DeliveredFile]:
        """Write the files of a TES task to the URLs that its client gave."""
        task = self.task.definition
        if not isinstance(task, TesTask) or self.destinations is None:
            return
        uploader = Uploader(self.destinations, "")
        for file in self.held.files:
            path = plain_path(file.path)
            for url in covered(task, path):
                size = file.plain_size or file.size
                stream = StreamFile(path, partial(self._plain, file), partial(int, size), key=url)
                sent = uploader.upload_stream(stream)
                yield DeliveredFile(url, container_path(path), sent.size, sent.sha256 or "")

    def _plain(self, file: ResultFile) -> Iterator[bytes]:
        """Yield the decided bytes. Raises _Changed at the end if they are others, so that nothing is stored."""
        from functions.staging.publish.upload import Digest

        try:
            content = self.quarantine.open(file)
        except NotFound:
            raise _Changed("it is missing from the quarantine") from None
        try:
            digest = Digest(decrypt(content.chunks, self.held.identity))
            yield from digest
        except NotDecrypted as e:
            raise _Changed(str(e)) from None
        finally:
            content.close()
        if digest.sha256 != file.plain_sha256:
            raise _Changed("its sha256 is not the one that was decided")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage from the command line and return its exit code."""
    given = parse_arguments("release", ("task", "volume"), arguments)
    volume = Path(given["volume"])
    # Process 1 of a container ignores SIGTERM by default. There is nothing to clean up.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    log_to(volume / RELEASE_LOG)
    try:
        reason, text = "", _run(Path(given["task"]))
    except StageFailure as e:
        reason, text = e.reason, e.text
    except Exception as e:
        # Only the kind of error: its text may contain a URL with a password.
        return finish(1, "Crashed", f"{type(e).__name__} in release", volume)
    return finish(Code.UPLOAD_FAILED if reason else 0, reason or "Released", text, volume)


def _run(file: Path) -> str:
    """Run the stage and return a text for the termination message. Raises StageFailure."""
    from functions.results.storage import open_url, quarantine_variables, results_url

    try:
        task = parse_json(file.read_bytes(), Task)
    except ValueError as e:
        raise StageFailure("InvalidTask", f"the task cannot be used: {e}") from None
    if task.held is None:
        raise StageFailure("InvalidTask", "the task names no held results")
    try:
        known = credentials_of(os.environ)
        results = open_url(results_url(task.results, known), known)
        quarantine = open_url(task.held.quarantine, quarantine_variables(known))
    except (SettingsError, UnicodeError) as e:
        # Not final: the operator may correct the Secret before the last attempt.
        raise StageFailure("ResultUploadFailed", f"the storages cannot be used: {e}") from None
    manifest = Release(task, task.held, quarantine, results, destinations_of(task)).run()
    return f"files: {len(manifest.files)}"
