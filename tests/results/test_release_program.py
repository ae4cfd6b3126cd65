"""F45: release copies the decided bytes and no others, whatever became of the quarantine meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pyrage
import pytest
from msgspec.structs import replace
from support.publishing import content, task, volume, write_task

from functions.results.age import decrypt, encrypt, new_identity
from functions.results.files import FileStorage
from functions.results.ports import Storage
from functions.staging.publish.program import publish
from functions.staging.release import program
from functions.staging.release.program import CHANGED, Release
from functions.staging.report import StageFailure
from functions.workflow.endings import FINAL_REASONS
from functions.workflow.model import Manifest, ResultFile, Scope, WorkflowId
from functions.workflow.stage_task import RELEASE_ATTEMPT, HeldTask, Task

W = WorkflowId("w1")
PLAIN = {"a.csv": b"n,mean\n12,3.4\n", "b.csv": b"n,mean\n15,3.3\n", "deep/c.txt": b"c" * 3_000_000}
IDENTITY, RECIPIENT = new_identity()


@pytest.fixture
def quarantine(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "quarantine")


def held(tmp_path: Path, storage: Storage, quarantine: Storage, public_key: str | None = None) -> Task:
    """The task of a release of all files, after a publish into quarantine."""
    given = task(public_key=public_key)
    waiting = HeldTask(quarantine="", recipient=RECIPIENT)
    root = volume(tmp_path / "volume", PLAIN)
    manifest = publish(msgspec.structs.replace(given, held=waiting), root, 1, Scope.QUARANTINE, storage, quarantine)
    decided = msgspec.structs.replace(
        waiting, identity=IDENTITY, files=manifest.files, admin_files=manifest.admin_files
    )
    return msgspec.structs.replace(given, held=decided)


def run(given: Task, storage: Storage, quarantine: Storage) -> Manifest:
    assert given.held is not None
    return Release(given, given.held, quarantine, storage).run()


def stored(root: Path) -> list[str]:
    """The files below a storage, without manifests and admin logs."""
    paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(path for path in paths if "adminlogs" not in path and not path.endswith("manifest.json"))


def test_nothing_of_what_is_held_lies_in_clear_and_nothing_in_the_results(
    storage: Storage, quarantine: FileStorage, tmp_path: Path
) -> None:
    held(tmp_path, storage, quarantine)
    assert storage.manifest(W, 1) is None
    kept = [path.read_bytes() for path in (tmp_path / "quarantine").rglob("*.age")]
    assert len(kept) == len(PLAIN)
    assert all(each.startswith(b"age-encryption.org/v1") for each in kept)


def test_a_release_copies_the_plain_bytes_and_lists_them(
    storage: Storage, quarantine: FileStorage, tmp_path: Path
) -> None:
    manifest = run(held(tmp_path, storage, quarantine), storage, quarantine)
    assert storage.manifest(W, RELEASE_ATTEMPT) == manifest
    assert {file.filename: content(storage, file) for file in manifest.files} == PLAIN
    assert [file.content_type for file in manifest.files] == ["text/csv", "text/csv", "text/plain"]


def test_a_release_leaves_out_what_is_withheld(storage: Storage, quarantine: FileStorage, tmp_path: Path) -> None:
    given = held(tmp_path, storage, quarantine)
    assert given.held is not None
    some = msgspec.structs.replace(given.held, files=given.held.files[:1])
    manifest = run(msgspec.structs.replace(given, held=some), storage, quarantine)
    assert [file.path for file in manifest.files] == ["outputs/a.csv"]


def test_a_release_encrypts_to_the_consumer_who_asked_for_it(
    storage: Storage, quarantine: FileStorage, tmp_path: Path
) -> None:
    consumer = pyrage.x25519.Identity.generate()  # type: ignore[attr-defined]
    given = held(tmp_path, storage, quarantine, str(consumer.to_public()))
    manifest = run(given, storage, quarantine)
    assert [file.path for file in manifest.files] == [f"outputs/{name}.age" for name in PLAIN]
    opened = {
        file.filename.removesuffix(".age"): b"".join(decrypt([content(storage, file)], str(consumer)))
        for file in manifest.files
    }
    assert opened == PLAIN


def test_a_release_that_runs_again_leaves_the_same(storage: Storage, quarantine: FileStorage, tmp_path: Path) -> None:
    given = held(tmp_path, storage, quarantine)
    assert run(given, storage, quarantine) == run(given, storage, quarantine)


def swapped(root: Path) -> None:
    one, other = sorted(root.rglob("*.csv.age"))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def overwritten(root: Path) -> None:
    """By somebody who may write to the bucket and knows the recipient, which is no secret."""
    (path,) = root.rglob("b.csv.age")
    path.write_bytes(b"".join(encrypt([b"id,name\n1,Anna\n"], RECIPIENT)))


def flipped(root: Path) -> None:
    (path,) = root.rglob("c.txt.age")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


def cut(root: Path) -> None:
    (path,) = root.rglob("c.txt.age")
    path.write_bytes(path.read_bytes()[:-100])


def emptied(root: Path) -> None:
    (path,) = root.rglob("b.csv.age")
    path.write_bytes(b"")


def removed(root: Path) -> None:
    (path,) = root.rglob("b.csv.age")
    path.unlink()


def in_clear(root: Path) -> None:
    (path,) = root.rglob("b.csv.age")
    path.write_bytes(PLAIN["b.csv"])


@pytest.mark.parametrize("change", [swapped, overwritten, flipped, cut, emptied, removed, in_clear])
@pytest.mark.parametrize("encrypted", [False, True])
def test_f45_bytes_that_changed_in_quarantine_do_not_leave(
    change: Callable[[Path], None], encrypted: bool, quarantine: FileStorage, tmp_path: Path
) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine, RECIPIENT if encrypted else None)
    change(tmp_path / "quarantine")
    with pytest.raises(StageFailure) as failed:
        run(given, results, quarantine)
    assert (failed.value.reason, failed.value.reason in FINAL_REASONS) == (CHANGED, True)
    assert results.manifest(W, RELEASE_ATTEMPT) is None
    left = set(stored(tmp_path / "results"))
    assert left <= {f"w1/0/outputs/{name}{'.age' if encrypted else ''}" for name in PLAIN}
    for path in left if not encrypted else ():
        assert (tmp_path / "results" / path).read_bytes() == PLAIN[path.removeprefix("w1/0/outputs/")]


def test_f45_what_somebody_puts_into_the_quarantine_does_not_leave(quarantine: FileStorage, tmp_path: Path) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine)
    more = ResultFile("outputs/more.csv.age", 1, "output", f"{(tmp_path / 'quarantine').as_uri()}/w1/1/outputs/more")
    quarantine.put("w1/1/outputs/more.csv.age", encrypt([b"x"], RECIPIENT), 1, "text/csv")
    known = quarantine.manifest(W, 1)
    assert known is not None
    quarantine.put_manifest(W, 1, replace(known, files=(*known.files, more)))
    run(given, results, quarantine)
    assert stored(tmp_path / "results") == sorted(f"w1/0/outputs/{name}" for name in PLAIN)


def test_another_workflows_key_opens_nothing(quarantine: FileStorage, tmp_path: Path) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine)
    assert given.held is not None
    other, _ = new_identity()
    with pytest.raises(StageFailure, match="cannot be decrypted"):
        run(
            msgspec.structs.replace(given, held=msgspec.structs.replace(given.held, identity=other)),
            results,
            quarantine,
        )


class Dying(FileStorage):
    """Results whose process dies after so many calls."""

    def __init__(self, root: Path, calls: int) -> None:
        super().__init__(root)
        self.calls = calls

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return super().put(key, chunks, size, content_type)


@pytest.mark.parametrize("calls", range(len(PLAIN)))
def test_f45_a_release_that_dies_half_way_lists_nothing_and_runs_again(
    calls: int, quarantine: FileStorage, tmp_path: Path
) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine)
    with pytest.raises(KeyboardInterrupt):
        run(given, Dying(tmp_path / "results", calls), quarantine)
    assert results.manifest(W, RELEASE_ATTEMPT) is None
    manifest = run(given, results, quarantine)
    assert {file.filename: content(results, file) for file in manifest.files} == PLAIN


def test_f45_what_a_later_decision_withholds_does_not_stay_from_an_earlier_release(
    quarantine: FileStorage, tmp_path: Path
) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine)
    assert given.held is not None
    with pytest.raises(KeyboardInterrupt):
        run(given, Dying(tmp_path / "results", 2), quarantine)
    assert stored(tmp_path / "results") == ["w1/0/outputs/a.csv", "w1/0/outputs/b.csv"]
    fewer = msgspec.structs.replace(given.held, files=given.held.files[1:])
    run(msgspec.structs.replace(given, held=fewer), results, quarantine)
    assert stored(tmp_path / "results") == ["w1/0/outputs/b.csv", "w1/0/outputs/deep/c.txt"]


@pytest.mark.parametrize("calls", range(len(PLAIN) + 1))
def test_what_a_broken_off_release_copied_can_be_removed_without_the_admin_logs(
    calls: int, quarantine: FileStorage, tmp_path: Path
) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine)
    assert given.held is not None
    with pytest.raises(KeyboardInterrupt):
        run(given, Dying(tmp_path / "results", calls), quarantine)
    begun = tmp_path / "results" / W / ".unfinished" / "x"  # by a process that was killed while it wrote
    begun.parent.mkdir(exist_ok=True)
    begun.write_bytes(b"id,name\n")
    results.remove(W, before=RELEASE_ATTEMPT + 1)
    assert stored(tmp_path / "results") == []
    assert [content(results, file) for file in given.held.admin_files]


def test_the_program_ends_with_62_and_names_neither_key_nor_storage(
    quarantine: FileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = FileStorage(tmp_path / "results")
    given = held(tmp_path, results, quarantine)
    assert given.held is not None
    where = msgspec.structs.replace(given.held, quarantine=(tmp_path / "quarantine").as_uri())
    given = msgspec.structs.replace(given, held=where, results=(tmp_path / "results").as_uri())
    message = tmp_path / "message"
    monkeypatch.setenv("TERMINATION_LOG", str(message))
    arguments = ["--task", str(write_task(tmp_path / "task", given)), "--volume", str(tmp_path / "volume")]
    assert (program.main(arguments), message.read_text()) == (0, "Released: files: 3")
    removed(tmp_path / "quarantine")
    assert program.main(arguments) == 62
    assert message.read_text().startswith(f"{CHANGED}: ")
    said = message.read_text() + (tmp_path / "volume" / "adminlogs" / "release.log").read_text()
    assert IDENTITY not in said
    assert "file:" not in said
