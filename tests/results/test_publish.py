from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import msgspec
import pytest
from support.publishing import OUTPUTS, content, task, volume

from functions.results.age import new_identity
from functions.results.files import FileStorage
from functions.results.layout import encode
from functions.results.ports import Storage
from functions.staging.publish.program import publish
from functions.staging.publish.tree import TreeRefused
from functions.staging.report import StageFailure
from functions.workflow.endings import FINAL_REASONS
from functions.workflow.model import Manifest, ResultFile, Scope, WorkflowId
from functions.workflow.stage_options import PublishOptions
from functions.workflow.stage_task import MAX_HELD_LIST, HeldTask

W = WorkflowId("w1")
ESCAPED = "is published under this name: each %XX replaces a character that the name of a result cannot have"


def names(files: tuple[ResultFile, ...]) -> list[str]:
    return [file.path for file in files]


def test_the_whole_tree_is_published_with_sizes_hashes_and_types(storage: Storage, tmp_path: Path) -> None:
    manifest = publish(task(), volume(tmp_path / "v"), 1, Scope.ALL, storage)
    assert storage.manifest(W, 1) == manifest
    assert names(manifest.files) == [f"outputs/{name}" for name in sorted(OUTPUTS)] + ["logs/algorithm.log"]
    for file, expected in zip(manifest.files, [OUTPUTS[n] for n in sorted(OUTPUTS)] + [b"trained\n"], strict=True):
        assert content(storage, file) == expected
        assert (file.size, file.sha256) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert [file.type for file in manifest.files] == ["output"] * 5 + ["algorithmLog"]
    assert [file.content_type for file in manifest.files][:3] == [
        "text/csv",
        "application/octet-stream",
        "image/svg+xml",
    ]


def test_admin_logs_are_listed_separately_and_publish_log_last(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v")
    for name in ("filter.log", "publish.log", "zzz.json"):
        (root / "adminlogs" / name).write_text(name)
    manifest = publish(task(), root, 1, Scope.ALL, storage)
    assert [(file.filename, file.type) for file in manifest.admin_files] == [
        ("configure.log", "configrationLog"),
        ("filter.log", "filteringLog"),
        ("zzz.json", "output"),
        ("publish.log", "publishLog"),
    ]


def test_a_filters_log_from_its_cluster_folder_is_published(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v")
    (root / "adminlogs" / "filter").mkdir()
    (root / "adminlogs" / "filter" / "filter.log").write_text("refused")
    manifest = publish(task(), root, 1, Scope.ADMIN_LOGS, storage)
    found = next(file for file in manifest.admin_files if file.type == "filteringLog")
    assert (found.path, content(storage, found)) == ("adminlogs/filter.log", b"refused")


@pytest.mark.parametrize(
    ("scope", "published"),
    [(Scope.OUTPUTS, [f"outputs/{name}" for name in sorted(OUTPUTS)]), (Scope.ADMIN_LOGS, [])],
)
def test_only_files_in_scope_are_published(
    storage: Storage, tmp_path: Path, scope: Scope, published: list[str]
) -> None:
    root = volume(tmp_path / "v")
    (root / "logs" / "smuggled.csv").write_text("what no filter has seen")
    manifest = publish(task(), root, 1, scope, storage)
    assert names(manifest.files) == published
    assert [(file.path, file.type) for file in manifest.admin_files] == [
        ("adminlogs/configure.log", "configrationLog"),
        ("adminlogs/algorithm.log", "algorithmLog"),
    ]
    assert content(storage, manifest.admin_files[1]) == b"trained\n"


@pytest.mark.parametrize("scope", [Scope.OUTPUTS, Scope.ADMIN_LOGS])
def test_a_link_in_place_of_the_algorithms_log_is_not_followed(storage: Storage, tmp_path: Path, scope: Scope) -> None:
    root = volume(tmp_path / "v")
    (root / "logs" / "algorithm.log").unlink()
    (root / "logs" / "algorithm.log").symlink_to("/etc/passwd")
    assert names(publish(task(), root, 1, scope, storage).admin_files) == ["adminlogs/configure.log"]


def test_other_files_of_the_algorithms_log_folder_are_outputs(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {})
    (root / "logs" / "training.csv").write_text("1")
    manifest = publish(task(), root, 1, Scope.ALL, storage)
    assert [(f.path, f.type) for f in manifest.files] == [
        ("logs/algorithm.log", "algorithmLog"),
        ("logs/training.csv", "output"),
    ]


def test_a_volume_without_any_folder_publishes_an_empty_manifest(storage: Storage, tmp_path: Path) -> None:
    assert publish(task(), tmp_path, 1, Scope.ALL, storage) == Manifest()
    assert storage.manifest(W, 1) == Manifest()


def test_links_pipes_and_sockets_are_not_published_and_named_in_the_log(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = volume(tmp_path / "v", {"real": b"1"})
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("private")
    (root / "outputs" / "link").symlink_to(secret / "key")
    (root / "outputs" / "linked-folder").symlink_to(secret)
    os.mkfifo(root / "outputs" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(root / "outputs")
        try:
            listening.bind("socket")
        finally:
            os.chdir(before)
        manifest = publish(task(), root, 1, Scope.ALL, storage)
    assert names(manifest.files) == ["outputs/real", "logs/algorithm.log"]
    for name, kind in (
        ("link", "symbolic link"),
        ("linked-folder", "symbolic link"),
        ("pipe", "pipe"),
        ("socket", "socket"),
    ):
        assert sum(f"outputs/{name} is not published: it is a {kind}" in line for line in caplog.messages) == 1


def test_a_folder_replaced_by_a_link_is_not_followed(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {})
    (root / "outputs").rmdir()
    (root / "outputs").symlink_to("/etc")
    with pytest.raises(TreeRefused, match="outputs cannot be read: Not a directory"):
        publish(task(), root, 1, Scope.ALL, storage)
    assert storage.manifest(W, 1) is None


def test_folders_that_are_nested_too_deep_are_refused(storage: Storage, tmp_path: Path) -> None:
    deep = volume(tmp_path / "v", {}) / "outputs" / "/".join(["d"] * 101)
    deep.mkdir(parents=True)
    with pytest.raises(TreeRefused, match="deeper than 100") as refused:
        publish(task(), tmp_path / "v", 1, Scope.ALL, storage)
    assert refused.value.reason == "TreeTooDeep"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (PublishOptions(max_files=5), "TooManyResults"),
        (PublishOptions(max_file_bytes=8), "ResultTooLarge"),
        (PublishOptions(max_bytes=30), "ResultTooLarge"),
    ],
)
def test_outputs_above_the_environments_limits_fail_before_any_upload(
    storage: Storage, tmp_path: Path, options: PublishOptions, reason: str
) -> None:
    with pytest.raises(StageFailure) as failed:
        publish(task(options=options), volume(tmp_path / "v"), 1, Scope.ALL, storage)
    assert failed.value.reason == reason
    assert storage.manifest(W, 1) is None


def test_names_that_are_too_long_together_are_refused(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {})
    deep = root / "outputs" / "/".join(["\n" * 200] * 15)  # three characters each, once they can be printed
    deep.mkdir(parents=True)
    for n in range(500):
        (deep / str(n)).touch()
    with pytest.raises(StageFailure, match="names of all files") as failed:
        publish(task(), root, 1, Scope.ALL, storage)
    assert failed.value.reason == "TooManyResults"
    assert storage.manifest(W, 1) is None


@pytest.mark.parametrize(("files", "fits"), [(300, True), (400, False)])
def test_a_list_of_held_files_that_no_release_could_be_told_of_is_refused(
    tmp_path: Path, files: int, fits: bool
) -> None:
    storage = FileStorage(tmp_path / "results")
    root = volume(tmp_path / "v", {"/".join(["x" * 200] * 3) + f"/{n}": b"" for n in range(files)})
    quarantine = FileStorage(tmp_path / "quarantine")
    held = HeldTask(quarantine="", recipient=new_identity()[1])
    given = msgspec.structs.replace(task(), held=held)
    if fits:
        manifest = publish(given, root, 1, Scope.QUARANTINE, storage, quarantine)
        assert (len(manifest.files), len(encode(manifest)) <= MAX_HELD_LIST) == (files, True)
        return
    with pytest.raises(StageFailure, match=f"the list of {files} files takes [0-9]+ bytes, and {MAX_HELD_LIST}") as e:
        publish(given, root, 1, Scope.QUARANTINE, storage, quarantine)
    assert (e.value.reason, e.value.reason in FINAL_REASONS) == ("TooManyResults", True)
    assert quarantine.manifest(W, 1) is None, "what has no manifest is not held"


def test_the_manifest_of_the_most_files_allowed_can_be_served() -> None:
    """`status` has 384 MiB for several answers at once; a decoded manifest takes about three times its JSON."""
    options = PublishOptions()
    file = ResultFile("outputs/" + "x" * 100, 1, "output", "s3://bucket/" + "x" * 160, "0" * 64, "text/csv")
    assert len(encode(Manifest((file,) * options.max_files))) < 8 << 20


def test_outputs_exactly_at_the_limits_are_published(storage: Storage, tmp_path: Path) -> None:
    options = PublishOptions(max_files=6, max_file_bytes=9, max_bytes=35)
    assert len(publish(task(options=options), volume(tmp_path / "v"), 1, Scope.ALL, storage).files) == 6


def test_a_log_above_its_limit_is_cut_with_a_note(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {})
    (root / "logs" / "algorithm.log").write_bytes(b"0123456789" * 10)
    [log] = publish(task(options=PublishOptions(max_log_bytes=25)), root, 1, Scope.ALL, storage).files
    published = content(storage, log)
    assert (
        published
        == b"0123456789012345678901234\n[75 more bytes are not published: the environment allows 25 of a log]\n"
    )
    assert (log.size, log.sha256) == (len(published), hashlib.sha256(published).hexdigest())


def test_hostile_names_are_published_under_safe_and_unique_names(storage: Storage, tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {})
    hostile = [
        b"\xff\xfe",
        b"a\nb",
        b"..a",
        b"...",
        b"%2e%2e",
        b"x" * 255,
        "\u202egnp.exe".encode(),
        b"a\\b",
        b" ",
        b"\xc3",
    ]
    for name in hostile:
        (root / "outputs" / os.fsdecode(name)).write_bytes(name)
    published = publish(task(), root, 1, Scope.ALL, storage).files
    outputs = [file for file in published if file.type == "output"]
    assert len({file.path for file in outputs}) == len({file.url for file in outputs}) == len(hostile)
    assert {content(storage, file) for file in outputs} == set(hostile)
    assert all(file.path.isprintable() for file in outputs)


def _with_links(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / "outputs" / name).symlink_to("/etc/passwd")
    return root


def test_the_consumer_is_warned_of_skipped_and_renamed_outputs(storage: Storage, tmp_path: Path) -> None:
    root = _with_links(volume(tmp_path / "v", {"50%.csv": b"1", "plain": b"2"}), ["link", "x" * 250])
    (root / "outputs" / os.fsdecode(b"\xff")).mkdir()
    (root / "outputs" / os.fsdecode(b"\xff") / "inside").write_bytes(b"3")
    manifest = publish(task(), root, 1, Scope.ALL, storage)
    assert manifest.warnings == (
        f"outputs/50%25.csv {ESCAPED}",
        "outputs/link is not published: it is a symbolic link",
        f"outputs/{'x' * 192}… is not published: it is a symbolic link",
        f"outputs/%FF {ESCAPED}",
    )
    assert storage.manifest(W, 1) == manifest


def test_warnings_name_no_files_if_there_is_a_filter(storage: Storage, tmp_path: Path) -> None:
    """The name of a link could carry data past the filter, which looks at the files that are published."""
    root = _with_links(volume(tmp_path / "v"), ["the-data-themselves"])
    manifest = publish(task(), root, 1, Scope.OUTPUTS, storage)
    assert manifest.warnings == ("some outputs are not published, because each is a symbolic link",)


def test_the_number_of_warnings_is_limited(storage: Storage, tmp_path: Path) -> None:
    root = _with_links(volume(tmp_path / "v", {}), [f"{n:03}" for n in range(150)])
    warnings = publish(task(), root, 1, Scope.ALL, storage).warnings
    assert len(warnings) == 101
    assert warnings[-1] == "50 more such files: a symbolic link: 150 in all"
