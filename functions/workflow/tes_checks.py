"""The checks of a GA4GH TES task at the door. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import dirname
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from functions.workflow.container_paths import PathRefused, check_path, plan
from functions.workflow.document import MAX_DEPTH, DocumentError
from functions.workflow.field_checks import depth_left, place_problem
from functions.workflow.tes_task import (
    BACKEND_PARAMETERS,
    FOLDER_SCHEMES,
    MAX_TEXT,
    WILDCARDS,
    Executor,
    Output,
    Resources,
    TesTask,
    is_image,
    url_of,
)

MAX_WORD = (128 << 10) - 1  # bytes: Linux starts no program with a longer word or variable
STREAMS = ("stdin", "stdout", "stderr")
MAX_SHOWN = 100  # characters of a key in a path
_STEP = re.compile(r"\.(\w+)|\[([0-9]+)\]")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")  # every version of Kubernetes accepts these names


class AcceptedTask(Struct, frozen=True):
    """A task that passed the checks: typed, as it is kept, and what was dropped with a warning."""

    task: TesTask
    kept: Mapping[str, Any]
    dropped: tuple[str, ...]  # backend parameters that are not supported


def accept(body: Any) -> AcceptedTask:
    """Check the body of a create request. Raises DocumentError, which says where and what was expected."""
    if not isinstance(body, dict):
        raise DocumentError("$", "a task: a JSON object with `executors`")
    if depth_left(body, MAX_DEPTH) < 0:
        raise DocumentError("$", f"at most {MAX_DEPTH} levels of nesting")
    kept = {key: each for key, each in _without_nulls(body).items() if key in TesTask.__struct_fields__}
    try:
        task = msgspec.convert(kept, TesTask)
    except msgspec.ValidationError as e:
        fault, _, path = str(e).partition(" - at `")
        raise DocumentError(_with_key(path.rstrip("`") or "$", kept), _expected(fault)) from None
    for path, expected in _problems(task):
        raise DocumentError(path, expected)
    dropped = _unsupported(task.resources)
    if "resources" in kept:
        kept["resources"] = _keep_supported(kept["resources"], dropped)
    return AcceptedTask(task, kept, tuple(dropped))


def _without_nulls(value: Any) -> Any:
    """Remove fields that are null. TES treats them as absent."""
    match value:
        case dict():
            return {key: _without_nulls(each) for key, each in value.items() if each is not None}
        case list():
            return [_without_nulls(each) for each in value]
        case _:
            return value


def _expected(fault: str) -> str:
    missing = fault.removeprefix("Expected ").replace("Object missing required field", "the field")
    return missing.replace("Object contains unknown field", "only fields that TES has here, not")


def _with_key(path: str, task: Mapping[str, Any]) -> str:
    """Replace `[...]` in a path of msgspec by the key of the wrong value. All maps of a task hold texts."""
    above, unnamed, _ = path.partition("[...]")
    if not unnamed:
        return path
    holder: Any = task
    for name, index in _STEP.findall(above):
        holder = holder[name] if name else holder[int(index)]
    key = next(key for key, value in holder.items() if not isinstance(value, str) or len(value) > MAX_TEXT)
    return f"{above}.{key}" if len(key) <= MAX_SHOWN else f"{above}.{key[:MAX_SHOWN]}…"


def _problems(task: TesTask) -> Iterator[tuple[str, str]]:
    for n, executor in enumerate(task.executors):
        yield from _executor_problems(executor, f"$.executors[{n}]")
        if task.uses_entrypoint and (name := next((name for name in STREAMS if getattr(executor, name)), "")):
            yield f"$.executors[{n}].{name}", "nothing, as `use_entrypoint` leaves the image's streams as they are"
    for n, item in enumerate(task.inputs):
        here = f"$.inputs[{n}]"
        if not item.url and not item.content:
            yield here, "`url`, or the file itself in `content`"
        if item.content and item.type == "DIRECTORY":
            yield f"{here}.type", "FILE, as `content` is one file"
        if not item.content:
            yield from _url_problems(item.url, f"{here}.url", one_file=item.type == "FILE")
        yield from _path_problems(item.path, f"{here}.path")
    for n, output in enumerate(task.outputs):
        yield from _output_problems(output, f"$.outputs[{n}]")
    for n, volume in enumerate(task.volumes):
        yield from _path_problems(volume, f"$.volumes[{n}]")
    if "" in task.tags:
        yield "$.tags", "keys that are not empty"
    yield from _resource_problems(task.resources, "$.resources")
    yield from _place_problems(task)


def _place_problems(task: TesTask) -> Iterator[tuple[str, str]]:
    """Yield the first path whose folder cannot be mounted in a container."""
    try:
        plan(task.places)
    except PathRefused as e:
        at = next((at for at, path in _declared(task) if e.path in (path.rstrip("/"), dirname(path))), "$")
        yield at, f"{e.expected}, not {e.path}"


def _declared(task: TesTask) -> Iterator[tuple[str, str]]:
    """Yield the JSON path and the value of every path in the task: first the paths that are written to."""
    yield from ((f"$.outputs[{n}].path", each.path) for n, each in enumerate(task.outputs))
    for n, each in enumerate(task.executors):
        yield from ((f"$.executors[{n}].{name}", getattr(each, name)) for name in ("workdir", "stdout", "stderr"))
    yield from ((f"$.volumes[{n}]", path) for n, path in enumerate(task.volumes))
    yield from ((f"$.inputs[{n}].path", each.path) for n, each in enumerate(task.inputs))


def _executor_problems(executor: Executor, here: str) -> Iterator[tuple[str, str]]:
    if not is_image(executor.image):
        yield f"{here}.image", "a container image, such as `alpine` or `quay.io/team/tool:1.0`"
    if not executor.command[0]:
        yield f"{here}.command[0]", "a program"
    for n, word in enumerate(executor.command):
        if _is_unusable(word):
            yield f"{here}.command[{n}]", f"at most {MAX_WORD} bytes without NUL; put a longer text into an input"
    for name, value in executor.env.items():
        if not _ENV_NAME.fullmatch(name):
            yield f"{here}.env", f"names of ASCII letters, digits, `_`, `-` and `.` without a digit first, not {name!r}"
        if _is_unusable(f"{name}={value}"):
            yield f"{here}.env", f"names and values of at most {MAX_WORD} bytes without NUL"
    yield from _stream_problems(executor, here)


def _stream_problems(executor: Executor, here: str) -> Iterator[tuple[str, str]]:
    for field in ("workdir", *STREAMS):
        if path := getattr(executor, field):
            yield from _path_problems(path, f"{here}.{field}")
    named = [path for path in (executor.stdin, executor.stdout, executor.stderr) if path]
    if len(set(named)) != len(named):
        yield here, "a different file for each of `stdin`, `stdout` and `stderr`: they would overwrite each other"


def _is_unusable(word: str) -> bool:
    return "\0" in word or len(word.encode()) > MAX_WORD


def _url_problems(url: str, here: str, *, one_file: bool) -> Iterator[tuple[str, str]]:
    try:
        parts = urlsplit(url_of(url))
    except ValueError:
        yield here, "a URL"
        return
    if parts.fragment or (parts.query and not (one_file and parts.scheme in ("http", "https"))):
        yield here, "a URL without `?` and `#`; in a name they are %3F and %23"
    if any(letter < " " or letter == "\x7f" for letter in url):
        yield here, "a URL without control characters"
    yield from _place_of_url_problems(parts, here, one_file=one_file)


def _place_of_url_problems(parts: SplitResult, here: str, *, one_file: bool) -> Iterator[tuple[str, str]]:
    """Find a URL that does not name a place exactly, or names a folder in place of a file."""
    if expected := place_problem(parts):
        yield here, expected
    if one_file and parts.scheme in FOLDER_SCHEMES and (parts.path.endswith("/") or not parts.path):
        yield here, "the URL of a file; that of a folder needs the type DIRECTORY"


def _output_problems(output: Output, here: str) -> Iterator[tuple[str, str]]:
    if not output.url:
        yield f"{here}.url", "where the output goes"
    yield from _url_problems(output.url, f"{here}.url", one_file=output.is_file)
    yield from _path_problems(output.path, f"{here}.path")
    if not output.is_pattern:
        return
    if output.folder == "/":
        yield f"{here}.path", "a folder of your own before the first wildcard, as in `/work/*`: `/` is the image's"
    literal = WILDCARDS.split(output.path, maxsplit=1)[0]
    if not output.path_prefix:
        yield f"{here}.path_prefix", "the part of `path` that is not repeated below `url`, as `path` has wildcards"
    elif not literal.startswith(output.path_prefix):
        yield f"{here}.path_prefix", f"a beginning of `path` before its first wildcard, {literal!r}"


def _path_problems(path: str, here: str) -> Iterator[tuple[str, str]]:
    try:
        check_path(path)
    except PathRefused as e:
        yield here, e.expected


def _resource_problems(resources: Resources, here: str) -> Iterator[tuple[str, str]]:
    for name in ("cpu_cores", "ram_gb", "disk_gb"):
        value = getattr(resources, name)
        if value is not None and not 0 < value < 1e9:
            yield f"{here}.{name}", "a number above 0"
    lowered = [key.lower() for key in resources.backend_parameters]
    if len(set(lowered)) != len(lowered):
        yield f"{here}.backend_parameters", "each key once; keys are compared without case"
    if _unsupported(resources) and resources.backend_parameters_strict:
        known = ", ".join(BACKEND_PARAMETERS)
        yield f"{here}.backend_parameters", f"no other keys than {known}, as `backend_parameters_strict` is set"
    for key, value in resources.backend_parameters.items():
        if expected := _expected_of_parameter(key.lower(), value):
            yield f"{here}.backend_parameters.{key}", expected


def _expected_of_parameter(name: str, value: str) -> str:
    """Return what a backend parameter should have been; empty if it is valid."""
    match name:
        case "gpus" | "maxtime":
            least = 1 if name == "maxtime" else 0
            valid = re.fullmatch(r"[0-9]{1,9}", value) is not None and int(value) >= least
            return "" if valid else f"a whole number from {least}"
        case "use_entrypoint":
            return "" if value.lower() in ("true", "false") else "`true` or `false`"
        case _:
            return ""


def _unsupported(resources: Resources) -> list[str]:
    return [key for key in resources.backend_parameters if key.lower() not in BACKEND_PARAMETERS]


def _keep_supported(resources: Any, dropped: list[str]) -> dict[str, Any]:
    """Remove unsupported backend parameters: the standard asks servers neither to store nor to return them."""
    given = resources.get("backend_parameters")
    if given is None:
        return dict(resources)
    kept = {key: value for key, value in given.items() if key not in dropped}
    rest = {key: value for key, value in resources.items() if key != "backend_parameters"}
    return {**rest, "backend_parameters": kept} if kept else rest
