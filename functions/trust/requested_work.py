"""What a workflow was asked to do, read from its document: an Ocean workflow or a GA4GH TES task.

A document in a proof is redacted: addresses of data, user data and custom data are replaced by keyed digests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from functions.trust import chain
from functions.workflow.asset_ids import asset_ids
from functions.workflow.document import DocumentError, parse
from functions.workflow.model import Submission

# Fields of either kind of document that may hold a secret or say where data lie.
_REDACTED = frozenset(
    {
        *("url", "remote", "userdata", "userData", "algouserdata", "algocustomdata", "metadataUri", "secret"),
        *("content", "env", "rawcode"),
    }
)
_REFERENCE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[^:/@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


class ImageName(Struct, frozen=True):
    """An image as it was asked for."""

    registry: str
    name: str
    tag: str

    @classmethod
    def of(cls, reference: str) -> ImageName:
        """Read a reference such as `python:3.12-slim` or `ghcr.io/team/tool@sha256:…`."""
        found = _REFERENCE.fullmatch(reference)
        path, tag = (found["name"], found["tag"] or "") if found else (reference, "")
        first, slash, rest = path.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            return cls(first, rest, tag)
        return cls("docker.io", path if slash else f"library/{path}", tag)


class RequestedWork(Struct, frozen=True):
    """The parts of a document that a proof names. `images` and `commands`: one for each executor."""

    kind: str
    title: str
    inputs: Mapping[str, str]  # the folder below `inputs/` of each data set: what the document calls it
    images: Sequence[str] = ()
    commands: Sequence[str] = ()
    code: str = ""  # the algorithm, where it is part of the document


def of_submission(submission: Submission) -> RequestedWork:
    """Read a document. One that operator-service has recorded may be of any shape."""
    if submission.dialect == "tes":
        return _of_task(submission.document)
    algorithm, data = asset_ids(submission.document, unnamed=None)
    title = f"{algorithm or 'an algorithm without a name'}"
    try:
        stage = parse(submission.document).stage
    except DocumentError:
        return RequestedWork("Ocean workflow", title, {str(each): str(each) for each in data})
    inputs = {each.folder: each.id or f"input {each.index}" for each in stage.input}
    container = stage.algorithm.container
    return RequestedWork(
        "Ocean workflow",
        title,
        inputs,
        (container.reference,) if container.image else (),
        (container.entrypoint,),
        stage.algorithm.rawcode or "",
    )


def _of_task(document: Mapping[str, Any]) -> RequestedWork:
    executors = [each for each in document.get("executors", ()) if isinstance(each, Mapping)]
    inputs = [each for each in document.get("inputs", ()) if isinstance(each, Mapping)]
    return RequestedWork(
        "GA4GH TES task",
        str(document.get("name") or "a task without a name"),
        {str(n): str(each.get("name") or each.get("path", "")) for n, each in enumerate(inputs)},
        [str(each.get("image", "")) for each in executors],
        [" ".join(map(str, each.get("command", ()))) for each in executors],
    )


def redacted(submission: Submission, salt: str) -> bytes:
    """Return the document as JSON, with keyed digests in place of what must not leave."""
    return msgspec.json.format(msgspec.json.encode(_plain(submission.document, salt), order="deterministic"), indent=1)


def _plain(value: Any, salt: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _digest(each, salt) if key in _REDACTED else _plain(each, salt) for key, each in value.items()}
    return [_plain(each, salt) for each in value] if isinstance(value, list | tuple) else value


def _digest(value: Any, salt: str) -> Any:
    if not value:
        return value
    encoded = msgspec.json.encode(value, order="deterministic")
    return {"redacted": chain.keyed(bytes.fromhex(salt), encoded) if salt else True}
