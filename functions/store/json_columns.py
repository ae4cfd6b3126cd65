"""The columns that hold JSON, in operator-service's shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, overload

import msgspec

from functions.trust.canonical import storable
from functions.workflow.model import ResultFile, Submission, Workflow

# operator-service stores file names without their folder; the folder follows from the type.
# Fields of ResultFile that only some files have.
_PROOFS = ("plain_sha256", "plain_size", "sha512")
_FOLDERS = {"output": "outputs", "algorithmLog": "logs"}


# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])


def encode(value: object) -> str | None:
    """The value as JSON. None becomes NULL, and an unpaired surrogate U+FFFD."""
    if value is None:
        return None
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return storable(json.dumps(msgspec.to_builtins(value), ensure_ascii=False))


def encode_document(workflow: Workflow, submission: Submission) -> str | None:
    """The document in the shape in which operator-service stores a job and its tools look for it."""
    return encode(
        {
            "apiVersion": "v0.0.1",
            "kind": "WorkFlow",
            "metadata": {
                "name": workflow.id,
                "namespace": workflow.environment,
                "labels": {"workflow": workflow.id},
                "secret": submission.secret,
            },
            "spec": {"metadata": submission.document},
        }
    )


def decode_document(text: str | None) -> tuple[Mapping[str, Any], str]:
    """The submitted document and the workflow's secret. An old row may hold anything: read non-objects as empty."""
    stored = _object(_decode(text))
    document = _object(_object(stored.get("spec")).get("metadata"))
    return document, str(_object(stored.get("metadata")).get("secret") or "")


def encode_files(files: tuple[ResultFile, ...]) -> str | None:
    """operator-service's list of files, with our fields as further keys."""
    return encode(
        [
            {
                "filename": file.filename,
                "filesize": file.size,
                "url": file.url,
                "type": file.type,
                "path": file.path,
                "sha256": file.sha256,
                "content_type": file.content_type,
                **{name: value for name in _PROOFS if (value := getattr(file, name)) is not None},
            }
            for file in files
        ]
    )


def decode_files(text: str | None) -> tuple[ResultFile, ...]:
    """The files of a list. Ignores what is not a list, and entries that are not objects."""
    entries = _decode(text)
    return tuple(_file(entry) for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()


class LazyFiles(Sequence[ResultFile]):
    """What `decode_files` returns, with each file decoded when it is asked for: a list may have 10 000."""

    def __init__(self, text: str | None) -> None:
        try:
            entries = _ENTRIES.decode(text or "[]")
        except (ValueError, RecursionError):
            entries = []
        self._entries = [entry for entry in entries if memoryview(entry)[0] == ord("{")]

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> ResultFile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ResultFile]: ...

    def __getitem__(self, index: int | slice) -> ResultFile | Sequence[ResultFile]:
        if isinstance(index, slice):
            return [_file(msgspec.json.decode(entry)) for entry in self._entries[index]]
        return _file(msgspec.json.decode(self._entries[index]))


def decode_texts(text: str | None) -> tuple[str, ...]:
    """A list of texts; empty if the column holds anything else."""
    entries = _decode(text)
    return tuple(map(str, entries)) if isinstance(entries, list) else ()


def _file(entry: Mapping[str, Any]) -> ResultFile:
    kind, size, path = str(entry.get("type", "output")), entry.get("filesize"), entry.get("path")
    return ResultFile(
        path=str(path or f"{_FOLDERS.get(kind, 'adminlogs')}/{entry.get('filename', '')}"),
        size=size if isinstance(size, int) else 0,
        type=kind,
        url=str(entry.get("url", "")),
        sha256=entry.get("sha256"),
        content_type=entry.get("content_type"),
        **{name: entry[name] for name in _PROOFS if name in entry},
    )


def _decode(text: str | None) -> Any:
    try:
        return msgspec.json.decode(text or "null")
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
