"""The layout below a storage URL, and the manifest as JSON. All adapters share it."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import msgspec

from functions.results.ports import NotFound, StorageUnavailable
from functions.workflow.model import Manifest, WorkflowId
from functions.workflow.volume_layout import ADMIN_LOGS

MANIFEST = "manifest.json"
MANIFEST_TYPE = "application/json"
_ENCRYPTED = ".age"  # the ending of files that are encrypted for their reader

_WORKFLOW = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def folder(workflow: WorkflowId) -> str:
    """Return the folder of a workflow. Raises ValueError if the id is not a single folder name."""
    if not _WORKFLOW.fullmatch(workflow) or ".." in workflow:
        raise ValueError(f"{workflow!r} is not the id of a workflow")
    return workflow


def attempt_folder(workflow: WorkflowId, attempt: int) -> str:
    """Return the folder of one attempt."""
    return f"{folder(workflow)}/{attempt}"


def held_path(path: str) -> str:
    """Return the path of an encrypted file in the quarantine."""
    return f"{path}{_ENCRYPTED}"


def plain_path(path: str) -> str:
    """Return the path of a held file as the algorithm wrote it."""
    return path.removesuffix(_ENCRYPTED)


def is_admin_log(key: str) -> bool:
    """Whether `<workflow>/<attempt>/…` is an admin log."""
    parts = key.split("/", 3)
    return len(parts) > 3 and parts[2] == ADMIN_LOGS


# Made at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_MANIFEST = msgspec.json.Decoder(Manifest)


def encode(manifest: Manifest) -> bytes:
    """Encode a manifest as JSON."""
    return msgspec.json.encode(manifest)


def decode(content: bytes) -> Manifest | None:
    """Decode a manifest. None if it is invalid: then the attempt counts as not published."""
    try:
        return _MANIFEST.decode(content)
    except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeError are ValueErrors
        return None


def url_of(root: str, key: str) -> str:
    """Return the URL of a key below the storage URL `root`."""
    return f"{root}/{quote(key)}"


def key_of(root: str, url: str) -> str:
    """Return the key of a URL made by `url_of`. Raises StorageUnavailable if the URL is of another storage."""
    if not url.startswith(f"{root}/"):
        raise StorageUnavailable("the file is in another storage than the one that RESULTS_URL names")
    key = unquote(url[len(root) + 1 :])
    if not all(part not in ("", ".", "..") for part in key.split("/")):
        raise NotFound
    return key
