"""The outputs of a GA4GH TES task: which files the client has declared, and where each goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from msgspec.structs import replace

from functions.staging.publish.tree import Entry, Notice, match, walk
from functions.staging.report import StageFailure
from functions.workflow.destinations import DestinationRefused, target
from functions.workflow.model import DeliveredFile, Manifest, ResultFile, Scope, Streams
from functions.workflow.tes_task import Output, TesTask
from functions.workflow.volume_layout import EXECUTOR_LOGS, FAILED_INPUT, LOGS, OUTPUTS

MOST_NAMED = 20  # missing outputs that are named one by one
MOST_REFUSED = 20  # files that storages may refuse; one more ends the stage
MAX_FAILED_INPUT = 1000  # characters
MAX_TAIL = 10_000  # bytes of each stream in the record


class Found(NamedTuple):
    """One file that leaves. `path` is that in the container."""

    entry: Entry
    path: str
    url: str


def declared(task: TesTask, volume: Path, notice: Notice) -> Iterator[Found]:
    """Yield the files of all outputs. One that two outputs cover comes twice. Raises as `walk`."""

    def of_container(path: str, kind: str | None) -> None:
        notice(path.removeprefix(OUTPUTS), kind)

    for output in task.outputs:
        parts = output.path.strip("/").split("/")
        for entry in match(volume, OUTPUTS, parts, of_container, folders=output.type == "DIRECTORY"):
            path = container_path(entry.path)
            yield Found(entry, path, output.url_for(path))


def entries(task: TesTask, volume: Path, scope: Scope, notice: Notice) -> Iterator[tuple[Entry, str]]:
    """Yield the files that leave, each with its URL; for the quarantine each file once, and without a URL.

    Raises StageFailure for two files that go to one URL, besides what `walk` raises.
    """
    if scope is Scope.ADMIN_LOGS:
        return
    # Hashes take less memory than many long names. Each process keys them, so nobody can choose names that collide.
    sources: dict[int, int] = {}
    seen: set[int] = set()
    for found in declared(task, volume, notice):
        file = hash(found.entry.path)
        if sources.setdefault(_target(found.url), file) != file:
            raise StageFailure("OutputForbidden", f"{found.path} and another file would go to one URL")
        if scope is not Scope.QUARANTINE:
            yield found.entry, found.url
        elif file not in seen:
            seen.add(file)
            yield found.entry, ""


def _target(url: str) -> int:
    try:
        return hash(target(url))
    except DestinationRefused as e:
        raise StageFailure("OutputForbidden", f"an output may not go to its URL: expected {e}") from None


def manifest(
    before: Manifest,
    task: TesTask,
    volume: Path,
    scope: Scope,
    files: Sequence[ResultFile],
    refused: Sequence[str] = (),
) -> Manifest:
    """Return the manifest with what was delivered, or put into quarantine, and what executors printed.

    `refused`: the files that storages refused.
    """
    quiet: Notice = lambda _path, _kind: None  # noqa: E731
    if scope is Scope.QUARANTINE:
        before = replace(before, files=tuple(files))
    else:
        sent = (DeliveredFile(each.url, container_path(each.path), each.size, each.sha256 or "") for each in files)
        closed = tuple(dict.fromkeys(map(container_path, refused)))
        notes = tuple(f"output {path} is not delivered: the storage at its URL refuses it" for path in closed)
        before = replace(before, delivered=tuple(sent), refused=closed, warnings=(*before.warnings, *notes))
    if scope is Scope.ADMIN_LOGS:
        return replace(before, warnings=(*before.warnings, *_failed_input(volume)))
    absent = missing(task, volume)
    told = _absent(absent) if scope is Scope.ALL else ()  # guarded results must not be described
    streams = tails(task, volume, scope, quiet)
    return replace(before, streams=streams, missing=absent, warnings=(*before.warnings, *told))


def _absent(paths: Sequence[str]) -> tuple[str, ...]:
    more = [f"{len(paths) - MOST_NAMED} more outputs are missing"] if len(paths) > MOST_NAMED else []
    return (*(f"output {path} is missing" for path in paths[:MOST_NAMED]), *more)


def _failed_input(volume: Path) -> tuple[str, ...]:
    """Return which input could not be fetched, and the reason that its owner may see. Texts of errors are left out."""
    try:
        with open(volume / FAILED_INPUT, encoding="utf-8", errors="replace") as file:
            told = file.read(MAX_FAILED_INPUT)
    except OSError:
        return ()
    return (f"input {''.join(letter if letter.isprintable() else '?' for letter in told)}",)


def container_path(published: str) -> str:
    """Return the path in the container of a published file.

    Escapes stay if the original name is not printable, or has a `\\`, which no URL of an output may have.
    """
    path = published.removeprefix(OUTPUTS)
    raw = unquote(path)
    return raw if raw.isprintable() and not set(raw) & set("\ufffd\\") else path


def covered(task: TesTask, published: str) -> list[str]:
    """Return the URLs that a file of `outputs/…` goes to; none if the client has not declared it."""
    path, name = container_path(published), unquote(published.removeprefix(OUTPUTS), errors="surrogateescape")
    return [output.url_for(path) for output in task.outputs if output.covers(name)]


def missing(task: TesTask, volume: Path) -> tuple[str, ...]:
    """Return the declared files that are not there. A folder may be empty, and a pattern may match nothing."""
    return tuple(each.path for each in task.outputs if each.is_file and not _exists(each, volume))


def kept_streams(volume: Path, notice: Notice) -> Iterator[tuple[int, str, Entry]]:
    """Yield what executors printed: the executor's number, `stdout` or `stderr`, and the file."""
    for entry in walk(volume, LOGS, notice):
        _, number, name = (*entry.path.split("/", 2), "", "")[:3]
        if number.isdecimal() and name in ("stdout", "stderr"):
            yield int(number), name, entry


def tails(task: TesTask, volume: Path, scope: Scope, notice: Notice) -> tuple[Streams, ...]:
    """Return the ends of what each executor printed; nothing if a filter, checks or a hold guard the results."""
    if scope is not Scope.ALL:
        return ()
    found = {(number, name): entry.tail(MAX_TAIL) for number, name, entry in kept_streams(volume, notice)}
    numbers = range(len(task.executors))
    return tuple(Streams(*(_text(found.get((n, name), b"")) for name in ("stdout", "stderr"))) for n in numbers)


def log_path(number: int, name: str) -> str:
    """Return where the operator finds what an executor printed."""
    return f"{EXECUTOR_LOGS}{number + 1}.{name}.log"


def _text(tail: bytes) -> str:
    """Decode the end of a stream. The record cannot hold NUL."""
    return tail.decode(errors="replace").replace("\0", "\ufffd")


def _exists(output: Output, volume: Path) -> bool:
    parts = output.path.strip("/").split("/")
    return any(True for _ in match(volume, OUTPUTS, parts, lambda _path, _kind: None, folders=False))
