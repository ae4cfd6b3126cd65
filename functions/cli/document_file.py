"""Workflow documents in files: reads them, resolves their relative paths, and checks them before anything starts.

A `url` in the document may be a path relative to the document's folder (`data/a.csv` or `file:data/a.csv`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

from functions.cli.command_errors import fail
from functions.workflow.document import DocumentError, parse
from functions.yaml_files import load_yaml

# Replaces a relative path: gets the file and the object whose `url` names it, returns the new URL, or None to drop it.
Resolver = Callable[[Path, dict[str, Any]], str | None]


@dataclass(frozen=True)
class Document:
    """A document as read. `workflow` is Ocean's workflow, found at `path` in the file.

    `request` has the other fields if the file holds the whole body of a POST, such as `environment` and `owner`.
    """

    file: Path
    workflow: Any
    request: dict[str, Any]
    path: str = "$"

    @property
    def name(self) -> str:
        """A name for the results: the file's name without suffix, or its folder's name for `workflow.json`."""
        return self.file.resolve().parent.name if self.file.stem == "workflow" else self.file.stem

    def served(self, base: str) -> tuple[Any, dict[str, Path]]:
        """The workflow with relative paths replaced by URLs below `base`, and the files to serve, by URL path.

        Raises DocumentError.
        """
        files: dict[str, Path] = {}

        def serve(path: Path, holder: dict[str, Any]) -> str:
            name = path.relative_to(self._folder).as_posix()
            files["/" + name] = path
            return f"{base}/{quote(name)}"

        return self._rewritten(serve), files

    def standalone(self) -> Any:
        """The workflow without relative paths: the algorithm becomes `rawcode`, data sets become file: URLs.

        Raises DocumentError.
        """

        def absolute(path: Path, holder: dict[str, Any]) -> str | None:
            if "container" not in holder:
                return path.as_uri()
            try:
                holder["rawcode"] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return path.as_uri()
            return None

        return self._rewritten(absolute)

    @property
    def _folder(self) -> Path:
        return self.file.resolve().parent

    def _rewritten(self, resolve: Resolver) -> Any:
        """A checked copy with each relative path replaced. Raises DocumentError."""
        workflow = json.loads(json.dumps(self.workflow))
        try:
            for holder, at in _holders(workflow):
                self._rewrite_urls(holder, at, resolve)
            parse(workflow)
        except DocumentError as e:
            raise DocumentError(self.path + e.path.removeprefix("$"), e.expected) from None
        return workflow

    def _rewrite_urls(self, holder: dict[str, Any], at: str, resolve: Resolver) -> None:
        url = holder.get("url")
        if isinstance(url, list):
            holder["url"] = [self._resolved(item, f"{at}[{n}]", holder, resolve) for n, item in enumerate(url)]
        else:
            holder["url"] = self._resolved(url, at, holder, resolve)
        if holder["url"] is None:
            del holder["url"]

    def _resolved(self, url: Any, at: str, holder: dict[str, Any], resolve: Resolver) -> Any:
        relative = _relative(url)
        if relative is None:
            return url
        path = (self._folder / relative).resolve()
        if not path.is_relative_to(self._folder):
            raise DocumentError(at, f"a path below the document's folder, not {relative}")
        if not path.is_file():
            raise DocumentError(at, f"a URL, or a file in the document's folder; {relative} does not exist")
        return resolve(path, holder)


def read(file: Path) -> Document:
    """Read a workflow, the whole body of a POST, or a WorkFlow object, as JSON or YAML. Raises DocumentError.

    Ends the command if the file cannot be read.
    """
    content = parse_file(file)
    if not isinstance(content, dict):
        raise DocumentError("$", 'an object: {"stages": […]}, the whole body of a POST, or a WorkFlow object')
    if "stages" in content:
        return Document(file, content, {})
    if "workflow" in content:
        return Document(file, content["workflow"], {k: v for k, v in content.items() if k != "workflow"}, "$.workflow")
    if "kind" in content:
        return _workflow_object(file, content)
    if is_task(content):
        raise DocumentError(
            "$", "the field `stages`; this looks like a task of GA4GH TES: use `sluice tes run` or `sluice tes submit`"
        )
    return Document(file, content, {})


def _workflow_object(file: Path, content: dict[str, Any]) -> Document:
    """The document in an object of Kubernetes, as `kubectl` reads and prints it."""
    if content["kind"] != "WorkFlow":
        raise DocumentError("$.kind", f"`WorkFlow`, not {content['kind']}")
    spec = content.get("spec")
    if not isinstance(spec, dict) or "metadata" not in spec:
        raise DocumentError("$.spec.metadata", "the workflow")
    return Document(file, spec["metadata"], {}, "$.spec.metadata")


def is_task(content: Any) -> bool:
    """Whether the content of a file is a task of GA4GH TES."""
    return isinstance(content, dict) and "executors" in content and not {"stages", "workflow", "kind"} & content.keys()


def parse_file(file: Path) -> Any:
    """Return the content of a JSON or YAML file. Raises DocumentError. Ends the command if it cannot be read."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        return _parse_yaml(file, text) if _is_yaml(file, text) else json.loads(text)
    except OSError as e:
        fail(f"{file}: {e.strerror}")
    except UnicodeDecodeError:
        raise DocumentError(str(file), "JSON or YAML in UTF-8") from None
    except json.JSONDecodeError as e:
        raise DocumentError(f"{file}, line {e.lineno}, column {e.colno}", f"JSON ({e.msg})") from None
    except RecursionError:
        raise DocumentError(str(file), "a document with less nesting") from None


def _is_yaml(file: Path, text: str) -> bool:
    """By the suffix; without a known one, by the first character."""
    if file.suffix in (".yaml", ".yml", ".json"):
        return file.suffix != ".json"
    return not text.lstrip().startswith(("{", "["))


def _parse_yaml(file: Path, text: str) -> Any:
    """The content of a YAML file as JSON would hold it. Raises DocumentError."""
    import yaml

    try:
        return json.loads(json.dumps(load_yaml(text, plain=True), allow_nan=False))
    except yaml.MarkedYAMLError as e:
        at = f", line {e.problem_mark.line + 1}, column {e.problem_mark.column + 1}" if e.problem_mark else ""
        raise DocumentError(f"{file}{at}", f"YAML ({e.problem})") from None
    except (yaml.YAMLError, TypeError, ValueError) as e:
        raise DocumentError(str(file), f"YAML that JSON could hold too ({e})") from None


# The forms of msgspec's messages: "`int | null`, got `str`", and "`array` of length >= 1".
_TYPES = re.compile(r"`([a-z]+(?: \| [a-z]+)*)`(?:, got `([a-z]+)`)?")
_LENGTH = re.compile(r"`array` of length ([<>])= ([0-9]+)")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def refuse(file: Path, kind: str, error: DocumentError) -> NoReturn:
    """End the command with the place of an error in a file. `kind`: what the file was expected to hold."""
    fail(f"{file} is not a valid {kind}\n  at        {error.path}\n  expected  {in_plain_words(error.expected)}")


def in_plain_words(expected: str) -> str:
    """A DocumentError's `expected` for people: JSON's words for types instead of Python's."""
    if found := _LENGTH.fullmatch(expected):
        items = "one item" if found[2] == "1" else f"{found[2]} items"
        return f"a list of at {'least' if found[1] == '>' else 'most'} {items}"
    found = _TYPES.fullmatch(expected)
    if not found or not {*(wanted := found[1].split(" | ")), found[2] or "null"} <= _WORDS.keys():
        return expected
    instead = f", not {_WORDS[found[2]]}" if found[2] else ""
    return " or ".join(_WORDS[name] for name in wanted) + instead


def _holders(workflow: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of the first stage that may have a `url`, each with the path of that `url`.

    Skips objects of the wrong type; the check of the whole document reports them.
    """
    stages = workflow.get("stages") if isinstance(workflow, dict) else None
    stage = stages[0] if isinstance(stages, list) and stages else None
    if not isinstance(stage, dict):
        return
    inputs = stage.get("input")
    for n, item in enumerate(inputs if isinstance(inputs, list) else []):
        if isinstance(item, dict):
            yield item, f"$.stages[0].input[{n}].url"
    if isinstance(stage.get("algorithm"), dict):
        yield stage["algorithm"], "$.stages[0].algorithm.url"


def _relative(url: Any) -> str | None:
    """The relative path in a `url`, or None if it holds none."""
    if not isinstance(url, str) or not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme == "file" and not parts.netloc and not parts.path.startswith("/"):
        return unquote(parts.path)
    if parts.scheme or parts.netloc or "\0" in url:
        return None
    return url
