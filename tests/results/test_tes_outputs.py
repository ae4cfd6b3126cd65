"""The outputs of a GA4GH TES task: which files leave, where they go, and what is said of the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from support.memory_folder import folder_in_memory
from support.publishing import Publish

from functions.results.age import encrypt, new_identity
from functions.results.files import FileStorage
from functions.staging.publish.deliver import Destinations
from functions.staging.publish.survey import Survey
from functions.staging.publish.tes_outputs import covered, entries
from functions.staging.release.program import Release
from functions.staging.report import StageFailure
from functions.workflow.model import ResultFile, Scope
from functions.workflow.stage_options import DeliveryOptions, PublishOptions
from functions.workflow.stage_task import HeldTask, Task
from functions.workflow.tes_checks import accept
from functions.workflow.tes_task import TesTask


def _task(*outputs: dict[str, Any], results: str = "file:///var/results", allowed: str = "*", **more: Any) -> Task:
    body = {"executors": [{"image": "a", "command": ["x"]}] * 2, "outputs": list(outputs)}
    deliver = DeliveryOptions(outputs=(allowed,))
    return Task(workflow="w1", definition=accept(body).task, results=results, deliver=deliver, owner="ann", **more)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    for name in ("outputs/work/sub", "outputs/vol/deep/er", "outputs/in", "logs/0", "logs/1", "adminlogs"):
        (root / name).mkdir(parents=True)
    for name in ("work/a.txt", "work/b.txt", "work/.hidden.txt", "work/sub/c.txt", "vol/x", "vol/deep/er/y", "in/data"):
        (root / "outputs" / name).write_text(name)
    (root / "logs/0/stdout").write_bytes(b"x" * 20_000 + b"end\xff\0")
    (root / "logs/1/stderr").write_bytes(b"oops\n")
    return root


@pytest.fixture
def scratch() -> Iterator[Path]:
    with TemporaryDirectory(dir=folder_in_memory()) as folder:
        yield Path(folder)


def peak() -> int:
    """The most bytes that this process has had in memory."""
    return getrusage(RUSAGE_SELF).ru_maxrss * 1024


def _output(path: str, url: Path | str, **more: Any) -> dict[str, Any]:
    return {"path": path, "url": url.as_uri() if isinstance(url, Path) else url, **more}


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_goes_to_its_url_and_a_folder_below_it(run: Publish, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    outputs = (_output("/work/a.txt", sent / "A"), _output("/vol", sent / "v", type="DIRECTORY"))
    manifest = run(_task(*outputs))
    assert _files(sent) == {"A": "work/a.txt", "v/x": "vol/x", "v/deep/er/y": "vol/deep/er/y"}
    assert [(each.path, each.size) for each in manifest.delivered] == [
        ("/work/a.txt", 10),
        ("/vol/deep/er/y", 13),
        ("/vol/x", 5),
    ]
    assert manifest.files == ()
    assert {file.path for file in manifest.admin_files} >= {"adminlogs/executor-1.stdout.log"}


@pytest.mark.parametrize(
    ("pattern", "prefix", "sent"),
    [
        ("/work/*.txt", "/work", {"a.txt", "b.txt"}),
        ("/work/?.txt", "/work/", {"a.txt", "b.txt"}),
        ("/work/[!a].txt", "/", {"work/b.txt"}),
        ("/work/.*.txt", "/work", {".hidden.txt"}),
        ("/work/**/c.txt", "/work", {"sub/c.txt"}),
        ("/work/*.nothing", "/work", set()),
    ],
)
def test_wildcards_are_those_of_a_shell(
    run: Publish, tmp_path: Path, pattern: str, prefix: str, sent: set[str]
) -> None:
    manifest = run(_task(_output(pattern, tmp_path / "sent", path_prefix=prefix)))
    assert set(_files(tmp_path / "sent")) == sent
    assert manifest.missing == ()


def test_a_folder_that_a_pattern_matches_is_skipped_with_a_warning(run: Publish, tmp_path: Path) -> None:
    manifest = run(_task(_output("/work/s*", tmp_path / "sent", path_prefix="/work")))
    assert manifest.warnings == ("/work/sub is not published: it is a folder",)


def test_links_are_skipped_with_a_warning_also_on_the_way(run: Publish, volume: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (volume / "outputs/work/link").symlink_to(tmp_path / "secret")
    (volume / "outputs/way").symlink_to(tmp_path)
    outputs = (_output("/work/link", tmp_path / "sent/1"), _output("/way/secret", tmp_path / "sent/2"))
    manifest = run(_task(*outputs))
    assert not (tmp_path / "sent").exists()
    assert manifest.missing == ("/work/link", "/way/secret")
    assert set(manifest.warnings) == {
        *(f"{path} is not published: it is a symbolic link" for path in ("/work/link", "/way")),
        *(f"output {path} is missing" for path in ("/work/link", "/way/secret")),
    }


def test_a_missing_file_is_named_and_the_others_are_delivered(run: Publish, tmp_path: Path) -> None:
    manifest = run(_task(_output("/work/never", tmp_path / "n"), _output("/work/a.txt", tmp_path / "a")))
    assert manifest.missing == ("/work/never",)
    assert manifest.warnings == ("output /work/never is missing",)
    assert (tmp_path / "a").exists()


def test_of_many_missing_files_the_first_are_named_and_behind_a_filter_none(run: Publish, tmp_path: Path) -> None:
    task = _task(*(_output(f"/work/never{n}", tmp_path / f"{n}") for n in range(25)))
    assert run(task).warnings[19:] == ("output /work/never19 is missing", "5 more outputs are missing")
    assert run(task, Scope.OUTPUTS).warnings == ()


def test_the_ends_of_the_streams_are_in_the_manifest(run: Publish) -> None:
    streams = run(_task()).streams
    assert len(streams) == 2
    assert streams[0].stdout == "x" * 9995 + "end\ufffd\ufffd"
    assert (streams[1].stdout, streams[1].stderr) == ("", "oops\n")


def test_behind_a_filter_nothing_that_was_printed_is_told(run: Publish, tmp_path: Path) -> None:
    manifest = run(_task(_output("/work/a.txt", tmp_path / "a")), Scope.OUTPUTS)
    assert manifest.streams == ()
    assert [each.path for each in manifest.delivered] == ["/work/a.txt"]


def test_after_a_filter_has_refused_nothing_leaves_and_nothing_is_missing(run: Publish, tmp_path: Path) -> None:
    manifest = run(_task(_output("/work/a.txt", tmp_path / "a")), Scope.ADMIN_LOGS)
    assert (manifest.delivered, manifest.missing, manifest.streams) == ((), (), ())
    assert not (tmp_path / "a").exists()


def test_a_failed_input_is_named_in_plain_text_and_only_where_no_executor_has_run(run: Publish, volume: Path) -> None:
    (volume / "failed-input").write_text("/in/\u202ex\n" + "y" * 2000)
    assert run(_task(), Scope.ADMIN_LOGS).warnings == ("input /in/?x?" + "y" * 993,)
    assert run(_task()).warnings == ()


def test_an_existing_file_is_replaced(run: Publish, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    run(_task(_output("/work/a.txt", tmp_path / "a")))
    assert (tmp_path / "a").read_text() == "work/a.txt"


def test_a_pattern_that_matches_a_hundred_thousand_files_holds_few_of_them_in_memory(scratch: Path) -> None:
    folder = scratch / "outputs/work"
    folder.mkdir(parents=True)
    at = os.open(folder, os.O_RDONLY)
    for n in range(100_000):
        os.mknod(f"{n:0>5}.txt", dir_fd=at)
    os.close(at)
    definition = _task(_output("/work/*.txt", "s3://b/x", path_prefix="/work")).definition
    assert isinstance(definition, TesTask)
    survey, before = Survey(), peak()
    for entry, _ in entries(definition, scratch, Scope.ALL, survey.notice):
        survey.count(entry, PublishOptions(max_files=100_000))
    assert survey.files == 100_000
    assert peak() - before < 64 << 20  # the names of one folder, and two numbers for each file


def test_too_many_files_end_the_stage(run: Publish, volume: Path, tmp_path: Path) -> None:
    for n in range(50):
        (volume / f"outputs/work/{n}.many").touch()
    task = _task(_output("/work/*.many", tmp_path / "s", path_prefix="/work"), publish=PublishOptions(max_files=49))
    with pytest.raises(StageFailure) as failure:
        run(task)
    assert failure.value.reason == "TooManyResults"


@pytest.mark.parametrize("url", ["file:///elsewhere/x", "s3://other/x", "https://user:pw@example.org/x"])
def test_a_url_that_the_environment_does_not_allow_is_refused_at_the_end_too(run: Publish, url: str) -> None:
    with pytest.raises(StageFailure) as failure:
        run(_task(_output("/work/a.txt", url), allowed="s3://tes/{owner}"))
    assert failure.value.reason == "OutputForbidden"


def test_nothing_is_written_below_the_results(run: Publish, tmp_path: Path) -> None:
    results = (tmp_path / "results").as_uri()
    with pytest.raises(StageFailure) as failure:
        run(_task(_output("/work/a.txt", f"{results}/w2/manifest.json"), results=results))
    assert failure.value.reason == "OutputForbidden"


@pytest.mark.parametrize("scope", [Scope.ALL, Scope.OUTPUTS])
def test_two_files_that_would_go_to_one_url_are_refused(
    run: Publish, volume: Path, tmp_path: Path, scope: Scope
) -> None:
    folders = [_output(path, tmp_path / "sent", type="DIRECTORY") for path in ("/work/sub", "/vol")]
    run(_task(*folders), scope)
    (volume / "outputs/work/sub/x").touch()
    with pytest.raises(StageFailure) as failure:
        run(_task(*folders), scope)
    assert failure.value.reason == "OutputForbidden"


def test_two_names_of_which_one_is_the_others_escaped_form_are_refused(
    run: Publish, volume: Path, tmp_path: Path
) -> None:
    (volume / "outputs/vol/a\u200b").touch()
    whole = _task(_output("/vol", tmp_path / "sent", type="DIRECTORY"))
    run(whole)
    (volume / "outputs/vol/a%E2%80%8B").touch()
    with pytest.raises(StageFailure) as failure:
        run(whole)
    assert failure.value.reason == "OutputForbidden"


def test_a_name_that_is_no_plain_text_is_delivered_by_its_published_name_also_after_a_hold(
    run: Publish, volume: Path, tmp_path: Path
) -> None:
    (volume / "outputs/vol/a\u200bb").touch()
    task = _task(_output("/vol/a?b", tmp_path / "sent", path_prefix="/vol"))
    (sent,) = run(task).delivered
    assert sent.url == f"{(tmp_path / 'sent').as_uri()}/a%25E2%2580%258Bb"
    assert isinstance(task.definition, TesTask)
    assert covered(task.definition, "outputs/vol/a%E2%80%8Bb") == [sent.url]


def test_a_file_that_two_outputs_send_to_one_url_is_fine(run: Publish, tmp_path: Path) -> None:
    outputs = (_output("/vol", tmp_path / "v", type="DIRECTORY"), _output("/vol/x", tmp_path / "v/x"))
    assert [each.path for each in run(_task(*outputs)).delivered] == ["/vol/deep/er/y", "/vol/x", "/vol/x"]


def test_no_output_goes_through_a_link_out_of_its_prefix(run: Publish, tmp_path: Path) -> None:
    (tmp_path / "real/ann").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sent").symlink_to(tmp_path / "real")  # the operator's own
    (tmp_path / "real/ann/link").symlink_to(tmp_path / "elsewhere")
    allowed = f"file://{tmp_path}/sent/{{owner}}"
    run(_task(_output("/work/a.txt", tmp_path / "sent/ann/new/a.txt"), allowed=allowed))
    with pytest.raises(StageFailure) as failure:
        run(_task(_output("/work/a.txt", tmp_path / "sent/ann/link/a.txt"), allowed=allowed))
    assert failure.value.reason == "OutputForbidden"
    assert _files(tmp_path / "real") == {"ann/new/a.txt": "work/a.txt"}
    assert _files(tmp_path / "elsewhere") == {}


def test_what_was_held_is_delivered_by_its_release(tmp_path: Path) -> None:
    identity, recipient = new_identity()
    quarantine, results = FileStorage(tmp_path / "quarantine"), FileStorage(tmp_path / "results")
    plain = b"work/a.txt"
    stored = b"".join(encrypt(iter([plain]), recipient))
    url = quarantine.put("w1/1/outputs/work/a.txt.age", iter([stored]), len(stored), "")
    file = ResultFile(
        "outputs/work/a.txt.age", len(stored), "output", url, plain_sha256=sha256(plain).hexdigest(), plain_size=10
    )
    held = HeldTask(quarantine="", recipient=recipient, identity=identity, files=(file,))
    task = _task(_output("/work/*.txt", tmp_path / "sent", path_prefix="/work"), held=held)
    manifest = Release(task, held, quarantine, results, Destinations(task, {}, task.results)).run()
    assert (tmp_path / "sent/a.txt").read_bytes() == plain
    assert [(each.path, each.size) for each in manifest.delivered] == [("/work/a.txt", 10)]
