"""F39, F40, F41: publish stopped at every boundary, storages that fail, trees that change."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.publishing import task, volume

from functions.backoff import Backoff
from functions.results.files import FileStorage
from functions.results.ports import Storage, StorageFull, StorageRefused, StorageUnavailable
from functions.staging.publish import upload
from functions.staging.publish.program import publish
from functions.staging.publish.tree import TreeChanged, TreeRefused, walk
from functions.staging.report import StageFailure
from functions.workflow.model import Manifest, Scope, WorkflowId

W = WorkflowId("w1")
CALLS = 6 + 2 + 2  # files, admin logs, manifest and removal


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "BACKOFF", Backoff(0, 1, 0))


class Meddling:
    """A storage that does something before and after each call that writes."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.calls = 0
        self._lock = threading.Lock()

    def before(self, number: int, key: str) -> None: ...

    def after(self, number: int, key: str) -> None: ...

    def _call(self, key: str, work: Any) -> Any:
        with self._lock:
            number, self.calls = self.calls, self.calls + 1
        self.before(number, key)
        result = work()
        self.after(number, key)
        return result

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        url: str = self._call(key, lambda: self.storage.put(key, chunks, size, content_type))
        return url

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        self._call("manifest", lambda: self.storage.put_manifest(workflow, attempt, manifest))

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        self._call("remove", lambda: self.storage.remove(workflow, before))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)


def in_a_process_that_dies(root: Path, results: Path, attempt: int, at: int, *, after: bool) -> bool:
    """Publish in a child that is killed before or after its `at`-th call. Whether it died."""

    class Deadly(Meddling):
        def before(self, number: int, key: str) -> None:
            if number == at and not after:
                os._exit(9)

        def after(self, number: int, key: str) -> None:
            if number == at and after:
                os._exit(9)

    child = os.fork()
    if child == 0:
        try:
            publish(task(), root, attempt, Scope.ALL, Deadly(FileStorage(results)))
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 9


def facts(manifest: Manifest) -> bytes:
    """A manifest without the URLs, which name the attempt."""
    files = [(f.path, f.size, f.sha256, f.type, f.content_type) for f in (*manifest.files, *manifest.admin_files)]
    return msgspec.json.encode(files)


def stored(results: Path) -> set[Path]:
    return {path for path in results.rglob("*") if path.is_file()}


@pytest.mark.parametrize("same_attempt", [True, False], ids=["same attempt", "next attempt"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(CALLS))
def test_a_publish_after_a_kill_at_any_call_publishes_every_file_once(
    tmp_path: Path, at: int, after: bool, same_attempt: bool
) -> None:
    root = volume(tmp_path / "v")
    (root / "adminlogs" / "publish.log").write_text("p")
    undisturbed = publish(task(), root, 1, Scope.ALL, FileStorage(tmp_path / "undisturbed"))
    results = tmp_path / "results"
    assert in_a_process_that_dies(root, results, 1, at, after=after)
    attempt = 1 if same_attempt else 2
    manifest = publish(task(), root, attempt, Scope.ALL, FileStorage(results))
    assert facts(manifest) == facts(undisturbed)
    assert FileStorage(results).manifest(W, attempt) == manifest
    listed = {Path(file.url.removeprefix("file://")) for file in (*manifest.files, *manifest.admin_files)}
    assert len(listed) == len(manifest.files) + len(manifest.admin_files)
    assert stored(results) == listed | {results / "w1" / str(attempt) / "manifest.json"}


def test_a_late_earlier_attempt_removes_nothing_of_a_later_one(tmp_path: Path) -> None:
    storage, root = FileStorage(tmp_path / "results"), volume(tmp_path / "v")
    later = publish(task(), root, 2, Scope.ALL, storage)
    publish(task(), root, 1, Scope.ALL, storage)
    assert storage.manifest(W, 2) == later
    assert all(b"".join(storage.open(file).chunks) is not None for file in later.files)


def test_failed_uploads_are_retried(tmp_path: Path) -> None:
    failures: Counter[str] = Counter()

    class Shaky(Meddling):
        def before(self, number: int, key: str) -> None:
            failures[key] += 1
            if failures[key] <= 4 and key not in ("manifest", "remove"):
                raise StorageUnavailable("503 from storage.internal:9000")

    root = volume(tmp_path / "v")
    manifest = publish(task(), root, 1, Scope.ALL, Shaky(FileStorage(tmp_path / "results")))
    assert facts(manifest) == facts(publish(task(), root, 1, Scope.ALL, FileStorage(tmp_path / "undisturbed")))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StorageUnavailable("http://storage.internal:9000 is down"), "ResultUploadFailed"),
        (StorageRefused("403 for key AKIA123"), "ResultUploadFailed"),
        (StorageFull("quota of storage.internal"), "DiskFull"),
    ],
)
@pytest.mark.parametrize("victim", ["outputs/empty", "logs/algorithm.log", "adminlogs/configure.log", "manifest"])
def test_one_file_that_cannot_be_uploaded_fails_the_stage(
    tmp_path: Path, error: Exception, reason: str, victim: str
) -> None:
    class Broken(Meddling):
        def before(self, number: int, key: str) -> None:
            if key.endswith(victim):
                raise error

    storage = Broken(FileStorage(tmp_path / "results"))
    with pytest.raises(StageFailure) as failed:
        publish(task(), volume(tmp_path / "v"), 1, Scope.ALL, storage)
    assert failed.value.reason == reason
    assert "internal" not in failed.value.text
    assert "AKIA" not in failed.value.text
    assert storage.manifest(W, 1) is None


def test_an_upload_that_the_storage_refuses_is_not_retried(tmp_path: Path) -> None:
    class Refusing(Meddling):
        def before(self, number: int, key: str) -> None:
            raise StorageRefused("no")

    storage = Refusing(FileStorage(tmp_path / "results"))
    with pytest.raises(StageFailure):
        publish(task(), volume(tmp_path / "v", {}), 1, Scope.ALL, storage)
    assert storage.calls == 1


def test_results_are_published_even_if_earlier_attempts_cannot_be_removed(tmp_path: Path) -> None:
    class Sticky(Meddling):
        def before(self, number: int, key: str) -> None:
            if key == "remove":
                raise StorageUnavailable("down")

    storage = Sticky(FileStorage(tmp_path / "results"))
    manifest = publish(task(), volume(tmp_path / "v"), 1, Scope.ALL, storage)
    assert storage.manifest(W, 1) == manifest


def test_a_full_results_folder_fails_with_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    root = volume(tmp_path / "v")
    monkeypatch.setattr("functions.results.files.os.replace", full)
    with pytest.raises(StageFailure) as failed:
        publish(task(), root, 1, Scope.ALL, FileStorage(tmp_path / "results"))
    assert failed.value.reason == "DiskFull"
    assert not stored(tmp_path / "results")


def test_a_file_that_grows_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"growing": b"x" * 3_000_000})

    class Growing(Meddling):
        def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
            if key.endswith("growing") and size == 3_000_000:
                chunks = iter(chunks)
                first = next(chunks)
                with (root / "outputs" / "growing").open("ab") as file:
                    file.write(b"more")
                chunks = itertools.chain([first], chunks)
            return self.storage.put(key, chunks, size, content_type)

    manifest = publish(task(), root, 1, Scope.ALL, Growing(FileStorage(tmp_path / "r")))
    assert manifest.files[0].size == 3_000_004
    assert manifest.files[0].sha256 == hashlib.sha256(b"x" * 3_000_000 + b"more").hexdigest()


def test_a_file_that_appears_after_the_survey_fails_the_stage(tmp_path: Path) -> None:
    root = volume(tmp_path / "v")

    class Adding(Meddling):
        def before(self, number: int, key: str) -> None:
            (root / "logs" / "late").write_text("after all limits were checked")

    storage = Adding(FileStorage(tmp_path / "r"))
    with pytest.raises(TreeChanged, match="changed while they were published"):
        publish(task(), root, 1, Scope.ALL, storage)
    assert storage.manifest(W, 1) is None


def test_a_file_that_changes_at_every_read_fails_the_stage(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"restless": b"x" * 10})

    class Restless(Meddling):
        def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
            def restless() -> Iterable[bytes]:
                for chunk in chunks:
                    yield chunk
                    with (root / "outputs" / "restless").open("ab") as file:
                        file.write(b"y")

            return self.storage.put(key, restless() if "restless" in key else chunks, size, content_type)

    storage = Restless(FileStorage(tmp_path / "r"))
    with pytest.raises(StageFailure, match="it changed while it was read"):
        publish(task(), root, 1, Scope.ALL, storage)
    assert storage.manifest(W, 1) is None


def test_a_file_replaced_between_walk_and_open_is_not_read(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"a": b"1"})
    entries = walk(root, "outputs", lambda path, kind: None)
    entry = next(entries)
    (root / "outputs" / "a").unlink()
    (root / "outputs" / "a").symlink_to("/etc/passwd")
    with pytest.raises(TreeChanged):
        entry.open()
    (root / "outputs" / "a").unlink()
    os.mkfifo(root / "outputs" / "a")
    with pytest.raises(TreeChanged, match="no longer a regular file"):
        entry.open()
    entries.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_fails_the_stage(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"secret": b"1"})
    (root / "outputs" / "secret").chmod(0)
    with pytest.raises(TreeRefused, match="outputs/secret cannot be read") as refused:
        publish(task(), root, 1, Scope.ALL, FileStorage(tmp_path / "r"))
    assert refused.value.reason == "OutputUnreadable"


def opened() -> list[Path]:
    """The files that this process holds open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that lists them
            found.append(descriptor.readlink())
    return found


def test_no_descriptor_is_left_open_after_a_failure(tmp_path: Path) -> None:
    class Broken(Meddling):
        def before(self, number: int, key: str) -> None:
            raise StorageRefused("no")

    root = volume(tmp_path / "v", {f"{n:03}": b"x" for n in range(100)})
    with pytest.raises(StageFailure):
        publish(task(), root, 1, Scope.ALL, Broken(FileStorage(tmp_path / "r")))
    # By name: other tests' garbage in the same process comes and goes.
    assert [path for path in opened() if path.is_relative_to(tmp_path)] == []
