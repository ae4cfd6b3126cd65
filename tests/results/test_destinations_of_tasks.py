"""An output of a task goes only where its client may write, appears whole, and its storage's refusal is final."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.publishing import task, write_task

from functions.results.files import FileStorage
from functions.results.ports import StorageFull, StorageRefused, StorageUnavailable
from functions.staging.publish.deliver import Destinations
from functions.staging.release import program
from functions.staging.release.program import Release
from functions.staging.report import StageFailure
from functions.workflow.stage_options import DeliveryOptions
from functions.workflow.stage_task import HeldTask


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """The folder that clients may write to."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    return folder


@pytest.fixture
def destinations(allowed: Path) -> Destinations:
    given = replace(task(), owner="ann", deliver=DeliveryOptions(outputs=(allowed.as_uri(), "s3://b/")))
    return Destinations(given, {}, (allowed / "results").as_uri())


def anywhere() -> Destinations:
    return Destinations(replace(task(), owner="ann", deliver=DeliveryOptions(outputs=("*",))), {}, "file:///results")


def put(destinations: Destinations, url: str, *chunks: bytes) -> None:
    destinations.put(url, iter(chunks or (b"one", b"two")), 6, "text/plain")


def failure(destinations: Destinations, url: str) -> tuple[str, str]:
    with pytest.raises(StageFailure) as failed:
        put(destinations, url)
    return failed.value.reason, failed.value.text


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_is_written_below_new_folders_and_then_replaced(destinations: Destinations, allowed: Path) -> None:
    url = f"{allowed.as_uri()}/new/a%20b.csv"
    put(destinations, url)
    assert (allowed / "new" / "a b.csv").read_bytes() == b"onetwo"
    put(destinations, url, b"other")
    assert (allowed / "new" / "a b.csv").read_bytes() == b"other"
    assert files(allowed) == ["new/a b.csv"]


def test_a_url_outside_of_what_is_allowed_is_forbidden(destinations: Destinations, allowed: Path) -> None:
    for url in (f"{allowed.as_uri()}-other/x", f"{allowed.as_uri()}/../x", "s3://c/x", "https://h/x"):
        reason, text = failure(destinations, url)
        assert reason == "OutputForbidden"
        assert text.startswith("an output may not go to its URL: expected ")


def test_the_place_of_the_results_is_forbidden(destinations: Destinations, allowed: Path) -> None:
    reason, text = failure(destinations, f"{allowed.as_uri()}/results/w1/x")
    assert (reason, text) == ("OutputForbidden", "an output may not go where Sluice keeps results")


def test_a_link_leads_nowhere_else(destinations: Destinations, allowed: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (allowed / "link").symlink_to(tmp_path / "private")
    reason, text = failure(destinations, f"{allowed.as_uri()}/link/x")
    assert (reason, text) == ("OutputForbidden", "an output may not go through a link to another folder")
    assert files(tmp_path / "private") == []


def test_a_link_with_the_outputs_own_name_is_replaced_and_not_followed(
    destinations: Destinations, allowed: Path, tmp_path: Path
) -> None:
    (tmp_path / "private").write_text("mine")
    (allowed / "x").symlink_to(tmp_path / "private")
    put(destinations, f"{allowed.as_uri()}/x")
    assert (tmp_path / "private").read_text() == "mine"
    assert (allowed / "x").read_bytes() == b"onetwo"


def test_a_place_that_its_storage_refuses_is_final(destinations: Destinations, allowed: Path) -> None:
    (allowed / "folder").mkdir()
    (allowed / "file").touch()
    for place in ("folder", "file/x"):
        reason, text = failure(destinations, f"{allowed.as_uri()}/{place}")
        assert (reason, text) == ("OutputRefused", "the storage at the URL of an output refuses it")
    assert files(allowed) == ["file"]


@pytest.mark.parametrize("place", ["/proc/none/x", "/sys/x", "/dev/null/x", f"/dev/shm/{'n' * 300}"])
def test_a_place_of_this_machine_that_takes_no_file_is_final(place: str) -> None:
    reason, _ = failure(anywhere(), f"file://{place}")
    assert reason == "OutputRefused"


@pytest.mark.parametrize(
    ("error", "final"),
    [(errno.EROFS, True), (errno.ENAMETOOLONG, True), (errno.EACCES, True), (errno.EIO, False), (errno.ESTALE, False)],
)
def test_an_error_of_a_file_system_is_final_if_another_attempt_meets_it_again(
    destinations: Destinations, allowed: Path, monkeypatch: pytest.MonkeyPatch, error: int, final: bool
) -> None:
    def replace(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("functions.staging.publish.deliver.os.replace", replace)
    with pytest.raises(StageFailure if final else StorageUnavailable):
        put(destinations, f"{allowed.as_uri()}/x")
    assert files(allowed) == []


def test_a_full_file_system_may_have_room_later(
    destinations: Destinations, allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_: object) -> None:
        raise OSError(errno.EDQUOT, "quota")

    monkeypatch.setattr("functions.staging.publish.deliver.os.replace", replace)
    with pytest.raises(StorageFull):
        put(destinations, f"{allowed.as_uri()}/x")


def test_a_source_that_breaks_off_leaves_nothing(destinations: Destinations, allowed: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise StorageUnavailable("the quarantine does not answer")

    (allowed / "x").write_text("before")
    with pytest.raises(StorageUnavailable, match="the quarantine"):
        destinations.put(f"{allowed.as_uri()}/x", chunks(), 6, "text/plain")
    assert (allowed / "x").read_text() == "before"
    assert files(allowed) == ["x"]


@pytest.mark.parametrize(("raised", "seen"), [(StorageFull("full"), StorageFull), (StorageRefused("no"), StageFailure)])
def test_a_full_storage_may_have_room_later_and_a_refusal_stays(
    destinations: Destinations, allowed: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, seen: type[Exception]
) -> None:
    def refuse(*_: object) -> None:
        raise raised

    monkeypatch.setattr(destinations, "_put", refuse)
    with pytest.raises(seen):
        put(destinations, f"{allowed.as_uri()}/x")


def test_an_object_store_without_credentials_says_whose_they_are(
    destinations: Destinations, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    destinations._credentials = {"AWS_REGION": "", "AWS_ACCESS_KEY_ID": "only half"}
    reason, text = failure(destinations, "s3://b/x")
    assert reason == "OutputUploadFailed"
    assert text.endswith("; they belong into the Secret for outputs")


# --- the program that releases --------------------------------------------------------------


class Broken(FileStorage):
    """A storage whose method of this name does not answer."""

    def __init__(self, root: Path, method: str) -> None:
        super().__init__(root)
        setattr(self, method, self._fail)

    def _fail(self, *_: object, **__: object) -> None:
        raise StorageUnavailable("no answer")


@pytest.mark.parametrize(
    ("method", "what"), [("remove", "the copies of an earlier attempt"), ("put_manifest", "the manifest")]
)
def test_a_release_says_what_its_storage_did_not_take(tmp_path: Path, method: str, what: str) -> None:
    given = task()
    release = Release(
        given, HeldTask(quarantine="", recipient=""), FileStorage(tmp_path / "q"), Broken(tmp_path / "r", method)
    )
    with pytest.raises(StageFailure) as failed:
        release.run()
    assert failed.value.reason == "ResultUploadFailed"
    assert what in failed.value.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no task", "InvalidTask: the task cannot be used: "),
        (None, "InvalidTask: the task names no held results"),
        (b"held elsewhere", "ResultUploadFailed: the storages cannot be used: "),
    ],
    ids=["malformed", "nothing held", "unknown storage"],
)
def test_the_program_says_why_it_cannot_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, reason: str
) -> None:
    monkeypatch.setenv("TERMINATION_LOG", str(tmp_path / "message"))
    (tmp_path / "adminlogs").mkdir()
    file = tmp_path / "task"
    if content == b"no task":
        file.write_bytes(content)
    else:
        held = HeldTask(quarantine="ftp://nowhere", recipient="") if content else None
        write_task(file, replace(task(tmp_path.as_uri()), held=held))
    assert program.main(["--task", str(file), "--volume", str(tmp_path)]) == 62
    assert (tmp_path / "message").read_text().startswith(reason)


def test_a_crash_of_the_program_names_the_kind_of_error_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERMINATION_LOG", str(tmp_path / "message"))
    (tmp_path / "adminlogs").mkdir()
    assert program.main(["--task", str(tmp_path / "secret-place"), "--volume", str(tmp_path)]) == 1
    assert (tmp_path / "message").read_text() == "Crashed: FileNotFoundError in release"
