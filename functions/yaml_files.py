"""YAML files that people write: read strictly, and into types, with errors in the words of the file.

An error names the key by its path, `environments[0].cpuNumber`, and an unknown key the known one that is nearest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from functions.variables import SettingsError

T = TypeVar("T")


def read_list(path: str, of: type[T], name: str, one: str, page: str) -> list[T]:
    """Return the entries of a file that holds a list. Raises SettingsError.

    `name` is what errors call the list, `one` an entry of it: `environments`, `environment`. `page` documents the file.
    """
    import yaml

    try:
        content = load_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise SettingsError(f"cannot be read: {e.strerror}") from None
    except yaml.MarkedYAMLError as e:
        at = f"line {e.problem_mark.line + 1}: " if e.problem_mark else ""
        raise SettingsError(f"is not YAML: {at}{e.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise SettingsError(f"is not YAML: {e}") from None
    if not isinstance(content, list) or not content:
        raise SettingsError(f"must hold a list of at least one {one}; see {page}")
    try:
        return msgspec.convert(content, list[of])  # type: ignore[valid-type]
    except msgspec.ValidationError as e:
        message, place = error_parts(e)
        raise SettingsError(f"{name}{place}{explained(message, place, of)}") from None


def load_yaml(text: str, *, plain: bool = False) -> Any:
    """Return what a YAML text holds. Raises YAMLError, also for a key that is given twice in one mapping.

    `plain` is for documents that become JSON: dates stay text, and aliases are refused, because a small file of aliases
    can stand for a huge document.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            known = set()
            for key, _ in node.value:
                if (key.tag, str(key.value)) in known:
                    problem = f"the key {key.value!r} is given twice in one mapping"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                known.add((key.tag, str(key.value)))
            return super().construct_mapping(node, deep)

    class PlainLoader(Loader):
        yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own form
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
                raise yaml.MarkedYAMLError(problem="aliases are refused", problem_mark=mark)
            return super().compose_node(parent, index)

    return yaml.load(text, PlainLoader if plain else Loader)  # noqa: S506 - both are SafeLoaders


def json_schema(of: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema of a file that holds a list of `of`, for editors and linters."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**draft, **msgspec.json.schema(list[of]), "minItems": 1}  # type: ignore[valid-type]


_PLACE = re.compile(r"(.*?) - at `(key` in `)?\$(.*)`", re.DOTALL)
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_BOUNDS = {">=": "at least", ">": "above", "<=": "at most", "<": "below"}


def error_parts(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the message and the path (`[0].fetch.maxBytes`, or empty) of an error."""
    found = _PLACE.fullmatch(str(error))
    return (found[1], found[3] + (" (a key)" if found[2] else "")) if found else (str(error), "")


def explained(message: str, path: str, of: type) -> str:
    """Return what follows the path in our error: ` must be …`, or `.key is missing`."""
    match re.findall(r"`(.*?)`", message, re.DOTALL):
        case [key] if "unknown field" in message:
            return f".{key} is not a known key{_nearest(key, _schema_at(path, of)['properties'])}"
        case [key] if "missing required field" in message:
            return f".{key} is missing"
        case [_, "null"]:
            return " has no value; give it one or remove the key"
        case [expected, got]:
            return f" must be {_kind(expected)}, not {_kind(got)}"
        case [expected] if message == f"Expected `{expected}`":
            return f" must be {_kind(expected)}"
    if bound := re.fullmatch(r"Expected `.*` (>=|>|<=|<) (\S+)", message):
        return f" must be {_BOUNDS[bound[1]]} {bound[2].removesuffix('.0')}"
    if message.endswith("of length >= 1"):
        return " must not be empty"
    if message.startswith("Invalid enum value"):
        return f" must be one of {', '.join(_schema_at(path, of)['enum'])}"
    return f": {message}"


def _kind(name: str) -> str:
    return " or ".join(_KINDS.get(each, each) for each in name.split(" | "))


def _schema_at(path: str, of: type) -> dict[str, Any]:
    """Return the part of the JSON Schema that describes `path`, such as `[0].fetch.schemes[1]`."""
    whole = msgspec.json.schema(list[of])  # type: ignore[valid-type]
    found: dict[str, Any] = whole
    for index, key in re.findall(r"(\[.*?\])|\.(\w+)", path):
        found = (found.get("items") or found["additionalProperties"]) if index else found["properties"][key]
        found = whole["$defs"][found["$ref"].rsplit("/", 1)[1]] if "$ref" in found else found
    return found


def _nearest(key: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` if a known key is similar. Case and separators do not count."""
    import difflib

    plain = {name.lower(): name for name in known}
    close = difflib.get_close_matches(re.sub("[_-]", "", key.lower()), plain, n=1)
    return f"; did you mean {plain[close[0]]}?" if close else ""
