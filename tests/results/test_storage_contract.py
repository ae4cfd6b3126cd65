"""What every storage does, whatever it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from functions.results.ports import NotFound, Storage
from functions.workflow.model import Manifest, ResultFile, WorkflowId

W = WorkflowId("w1")
KEY = "w1/1/outputs/table.csv"


def file(url: str, size: int = 0, path: str = "outputs/table.csv") -> ResultFile:
    return ResultFile(path, size, "output", url)


def put(storage: Storage, key: str, content: bytes) -> ResultFile:
    return file(storage.put(key, [content], len(content), "text/csv"), len(content), key.split("/", 2)[2])


def read(storage: Storage, found: ResultFile, start: int = 0, end: int | None = None) -> bytes:
    content = storage.open(found, start, end)
    try:
        return b"".join(content.chunks)
    finally:
        content.close()


def test_a_stored_file_is_read_back(storage: Storage) -> None:
    found = put(storage, KEY, b"a,b\n1,2\n")
    assert read(storage, found) == b"a,b\n1,2\n"
    assert storage.open(found).size == 8


def test_an_empty_file_is_stored(storage: Storage) -> None:
    assert read(storage, put(storage, KEY, b"")) == b""


@pytest.mark.parametrize(("start", "end", "part"), [(0, 1, b"0"), (3, 7, b"3456"), (8, None, b"89"), (9, 10, b"9")])
def test_a_range_returns_its_part_and_the_size_of_the_whole_file(
    storage: Storage, start: int, end: int | None, part: bytes
) -> None:
    found = put(storage, KEY, b"0123456789")
    assert read(storage, found, start, end) == part
    assert storage.open(found, start, end).size == 10


def test_storing_the_same_key_again_replaces_the_file(storage: Storage) -> None:
    put(storage, KEY, b"first, and longer")
    assert read(storage, put(storage, KEY, b"second")) == b"second"


def test_a_large_file_is_uploaded_in_parts(storage: Storage) -> None:
    size = 20_000_000

    def chunks() -> Iterator[bytes]:
        for n in range(20):
            yield bytes([n]) * 1_000_000

    found = file(storage.put(KEY, chunks(), size, "text/csv"), size)
    content = storage.open(found)
    digest, expected = hashlib.sha256(), hashlib.sha256(b"".join(chunks()))
    for chunk in content.chunks:
        digest.update(chunk)
    assert digest.digest() == expected.digest()


@pytest.mark.parametrize("size", [3, 20_000_000])
def test_an_exception_of_the_source_passes_through_and_nothing_is_stored(storage: Storage, size: int) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (size - 1)
        raise KeyError("the source")

    with pytest.raises(KeyError, match="the source"):
        storage.put(KEY, broken(), size, "text/csv")
    whole = put(storage, "w1/1/outputs/other", b"1")
    with pytest.raises(NotFound):
        storage.open(file(whole.url.replace("other", "table.csv"), size))


@pytest.mark.parametrize("name", ["a b", "ü/日本", "100%25", "%long/x", "a#b?c&d=e", "...", "~", "'\"<>|*", "+", ";"])
def test_names_survive_the_storage_unchanged(storage: Storage, name: str) -> None:
    found = put(storage, f"w1/1/outputs/{name}", name.encode())
    assert read(storage, found) == name.encode()


def test_names_that_look_alike_are_different_files(storage: Storage) -> None:
    names = ["a b", "a%20b", "a+b", "A b", "a b "]
    found = [put(storage, f"w1/1/outputs/{name}", name.encode()) for name in names]
    assert [read(storage, one) for one in found] == [name.encode() for name in names]


def test_each_attempt_has_its_own_manifest(storage: Storage) -> None:
    manifest = Manifest((put(storage, KEY, b"1"),), (put(storage, "w1/1/adminlogs/publish.log", b"2"),))
    storage.put_manifest(W, 1, manifest)
    assert storage.manifest(W, 1) == manifest
    assert storage.manifest(W, 2) is None
    assert storage.manifest(WorkflowId("w2"), 1) is None


def test_an_attempt_without_a_manifest_counts_as_not_published(storage: Storage) -> None:
    put(storage, KEY, b"1")
    assert storage.manifest(W, 1) is None


def test_removing_a_workflow_removes_only_its_own_files(storage: Storage) -> None:
    ours = put(storage, KEY, b"the same content")
    theirs = put(storage, "w12/1/outputs/table.csv", b"the same content")
    storage.put_manifest(W, 1, Manifest((ours,)))
    storage.put_manifest(WorkflowId("w12"), 1, Manifest((theirs,)))
    storage.remove(W)
    assert storage.manifest(W, 1) is None
    with pytest.raises(NotFound):
        storage.open(ours)
    assert read(storage, theirs) == b"the same content"
    storage.remove(W)
    storage.remove(WorkflowId("never-published"))


def test_removing_earlier_attempts_keeps_the_current_and_later_ones(storage: Storage) -> None:
    found = {}
    for attempt in (1, 2, 3):
        found[attempt] = put(storage, f"w1/{attempt}/outputs/n", str(attempt).encode())
        same = put(storage, f"w1/{attempt}/outputs/same", b"in all attempts")
        storage.put_manifest(W, attempt, Manifest((found[attempt], same)))
    storage.remove(W, before=2)
    assert storage.manifest(W, 1) is None
    with pytest.raises(NotFound):
        storage.open(found[1])
    for attempt in (2, 3):
        manifest = storage.manifest(W, attempt)
        assert manifest is not None
        assert [read(storage, one) for one in manifest.files] == [str(attempt).encode(), b"in all attempts"]


@pytest.mark.parametrize("workflow", ["", ".", "..", "../x", "a/b", "/etc"])
def test_an_id_that_is_not_a_single_folder_name_removes_nothing(storage: Storage, workflow: str) -> None:
    with pytest.raises(ValueError, match="not the id of a workflow"):
        storage.remove(WorkflowId(workflow))


def test_an_opened_file_that_is_not_read_leaves_nothing_open(storage: Storage) -> None:
    content = storage.open(put(storage, KEY, b"x" * 100_000))
    content.close()
    content.close()
