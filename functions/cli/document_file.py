"""Workflow documents as files: read, with what lies beside them found, and checked before anything is started.

A `url` in the document may be a path relative to the document's folder (`data/a.csv` or `file:data/a.csv`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from functions.cli.errors import fail
from functions.workflow.document import DocumentError, parse

# What becomes of a file beside the document: its URL, given the object that refers to it; None: no URL is needed.
Place = Callable[[Path, dict[str, Any]], str | None]


@dataclass(frozen=True)
class Document:
    """A document as it was read. `workflow` is Ocean's, at `path` in the file; `request` is what stood around it."""

    file: Path
    workflow: Any
    request: dict[str, Any]
    path: str = "$"

    @property
    def name(self) -> str:
        """What to call it: the file's name, or its folder's where the file is just `workflow.json`."""
        return self.file.resolve().parent.name if self.file.stem == "workflow" else self.file.stem

    def served(self, base: str) -> tuple[Any, dict[str, Path]]:
        """The workflow with URLs below `base` for its relative paths; and the files to serve there, by path."""
        files: dict[str, Path] = {}

        def serve(path: Path, holder: dict[str, Any]) -> str:
            name = path.relative_to(self._folder).as_posix()
            files["/" + name] = path
            return f"{base}/{quote(name)}"

        return self._rewritten(serve), files

    def standalone(self) -> Any:
        """The workflow with nothing relative in it: the algorithm's text inside, data as absolute file: URLs."""

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

    def _rewritten(self, place: Place) -> Any:
        """A checked copy, in which `place` says what becomes of each relative path. Raises DocumentError."""
        workflow = json.loads(json.dumps(self.workflow))
        try:
            for holder, at in _holders(workflow):
                self._rewrite_urls(holder, at, place)
            parse(workflow)
        except DocumentError as e:
            raise DocumentError(self.path + e.path.removeprefix("$"), e.expected) from None
        return workflow

    def _rewrite_urls(self, holder: dict[str, Any], at: str, place: Place) -> None:
        url = holder.get("url")
        if isinstance(url, list):
            holder["url"] = [self._placed(item, f"{at}[{n}]", holder, place) for n, item in enumerate(url)]
        else:
            holder["url"] = self._placed(url, at, holder, place)
        if holder["url"] is None:
            del holder["url"]

    def _placed(self, url: Any, at: str, holder: dict[str, Any], place: Place) -> Any:
        relative = _relative(url)
        if relative is None:
            return url
        path = (self._folder / relative).resolve()
        if not path.is_relative_to(self._folder):
            raise DocumentError(at, f"a path below the document's folder, not {relative}")
        if not path.is_file():
            raise DocumentError(at, f"a URL, or a file beside the document; {relative} is not there")
        return place(path, holder)


def read(file: Path) -> Document:
    """Read `{"stages": […]}` or the whole body of a POST. Raises DocumentError; without the file the command ends."""
    try:
        content = json.loads(file.read_bytes())
    except OSError as e:
        fail(f"{file}: {e.strerror}")
    except UnicodeDecodeError:
        raise DocumentError(str(file), "JSON in UTF-8") from None
    except json.JSONDecodeError as e:
        raise DocumentError(f"{file}, line {e.lineno}, column {e.colno}", f"JSON ({e.msg})") from None
    except RecursionError:
        raise DocumentError(str(file), "JSON that is not nested so deeply") from None
    if not isinstance(content, dict):
        raise DocumentError("$", 'an object: {"stages": […]}, or the whole body of a POST')
    if "workflow" in content and "stages" not in content:
        return Document(file, content["workflow"], {k: v for k, v in content.items() if k != "workflow"}, "$.workflow")
    return Document(file, content, {})


# What the check at the door says of types, as `int | null`, got `str`; or of the length of a list.
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


def spoken(expected: str) -> str:
    """What was expected in a document, for people: types have other names in JSON than in Python."""
    if found := _LENGTH.fullmatch(expected):
        items = "one item" if found[2] == "1" else f"{found[2]} items"
        return f"a list of at {'least' if found[1] == '>' else 'most'} {items}"
    found = _TYPES.fullmatch(expected)
    if not found or not {*(wanted := found[1].split(" | ")), found[2] or "null"} <= _WORDS.keys():
        return expected
    instead = f", not {_WORDS[found[2]]}" if found[2] else ""
    return " or ".join(_WORDS[name] for name in wanted) + instead


def _holders(workflow: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of the first stage that may have a `url`; what is misshapen is left to the check."""
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
    """The relative path that a `url` is, or None."""
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
