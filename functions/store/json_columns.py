"""What stands as JSON in a column, in the shapes that operator-service has for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from functions.workflow.model import ResultFile, Submission, Workflow

# operator-service lists names without their folder; it follows from the type.
_FOLDERS = {"output": "outputs", "algorithmLog": "logs"}


def packed(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def stored_document(workflow: Workflow, submission: Submission) -> str | None:
    """The shape in which operator-service stores a job, and in which its tools look for it."""
    return packed(
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


def document(text: str | None) -> tuple[Mapping[str, Any], str]:
    """What was asked for, and the workflow's secret. An old row may hold anything; what is no object is empty."""
    stored = _object(_decoded(text))
    asked = _object(_object(stored.get("spec")).get("metadata"))
    return asked, str(_object(stored.get("metadata")).get("secret") or "")


def stored_files(listed: tuple[ResultFile, ...]) -> str | None:
    """operator-service's list, with what it does not know as further keys."""
    return packed(
        [
            {
                "filename": file.filename,
                "filesize": file.size,
                "url": file.url,
                "type": file.type,
                "path": file.path,
                "sha256": file.sha256,
                "content_type": file.content_type,
            }
            for file in listed
        ]
    )


def files(text: str | None) -> tuple[ResultFile, ...]:
    entries = _decoded(text)
    return tuple(_file(entry) for entry in entries if isinstance(entry, dict)) if isinstance(entries, list) else ()


def _file(entry: Mapping[str, Any]) -> ResultFile:
    kind, size, path = str(entry.get("type", "output")), entry.get("filesize"), entry.get("path")
    return ResultFile(
        path=str(path or f"{_FOLDERS.get(kind, 'adminlogs')}/{entry.get('filename', '')}"),
        size=size if isinstance(size, int) else 0,
        type=kind,
        url=str(entry.get("url", "")),
        sha256=entry.get("sha256"),
        content_type=entry.get("content_type"),
    )


def _decoded(text: str | None) -> Any:
    try:
        return msgspec.json.decode(text or "null")
    except msgspec.DecodeError:
        return None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
