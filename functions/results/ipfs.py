"""Results in IPFS, through a node's RPC API (`/api/v0`), with the headers and prefixes of operator-engine.

Every file is added inside a directory that names its workflow. Each pin therefore belongs to one workflow, and removing
it keeps the same bytes of another workflow. IPFS cannot find files by name, so manifests are stored in the node's own
file system (MFS), at /sluice/<workflow>/<attempt>/manifest.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode
from uuid import uuid4

from functions.results import layout
from functions.results.http_files import errors, pool, read
from functions.results.ports import Content, NotFound, StorageRefused, StorageUnavailable
from functions.untrusted import parse_json
from functions.workflow.model import Manifest, ResultFile, WorkflowId

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_MFS = "/sluice"
# A node answers every error with 500. Only the text tells them apart.
_MISSING = ("does not exist", "not found", "no link named", "not pinned")


class IpfsStorage:
    """Results behind the RPC API at `api`.

    The URL of every file begins with `prefix`: `ipfs://`, or a gateway such as `https://ipfs.example/ipfs/`.
    `expire_in` is a duration, such as `60m`, for services that unpin by themselves.
    """

    def __init__(self, api: str, prefix: str, headers: Mapping[str, str], expire_in: str = "") -> None:
        self._api = api.rstrip("/")
        self._prefix = prefix if prefix.endswith("/") else f"{prefix}/"
        self._headers = dict(headers)
        self._expire_in = expire_in

    @cached_property
    def _pool(self) -> PoolManager:
        return pool()

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        workflow, _, path = key.split("/", 2)
        name = f"{workflow}/{path}"  # without the attempt, so that a repeated upload pins the same CID
        options = {"pin": "true", "wrap-with-directory": "true", "stream-channels": "true", "progress": "false"}
        if self._expire_in:
            options["expire-in"] = self._expire_in
        added = self._call("add", options, _Form(name, chunks, content_type))
        return f"{self._prefix}{_directory(added)}/{quote(name)}"

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        options = {"arg": _mfs_path(workflow, attempt), "create": "true", "parents": "true", "truncate": "true"}
        self._call("files/write", options, _Form(layout.MANIFEST, [layout.encode(manifest)], layout.MANIFEST_TYPE))

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        try:
            return layout.decode(self._call("files/read", {"arg": _mfs_path(workflow, attempt)}))
        except NotFound:
            return None

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        options = {"arg": unquote(file.url.removeprefix(self._prefix).removeprefix("ipfs://"))}
        if start:
            options["offset"] = str(start)
        if end is not None:
            options["length"] = str(end - start)
        response = self._request("cat", options)
        return Content(read(response), file.size, response.close)

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        folder = f"{_MFS}/{layout.folder(workflow)}"
        try:
            listed = parse_json(self._call("files/ls", {"arg": folder}))["Entries"] or []
            attempts = [int(entry["Name"]) for entry in listed]
        except NotFound:
            return
        except (ValueError, KeyError, TypeError) as e:
            raise StorageUnavailable("the answer of the IPFS API is not a list of files") from e
        manifests = {attempt: self.manifest(workflow, attempt) or Manifest() for attempt in attempts}
        gone = [attempt for attempt in attempts if before is None or attempt < before]
        kept = {cid for attempt in attempts if attempt not in gone for cid in self._pins(manifests[attempt])}
        for attempt in gone:
            # Delete the manifest last: only it lists the pins.
            for cid in self._pins(manifests[attempt]) - kept:
                self._drop("pin/rm", {"arg": cid})
            self._drop("files/rm", {"arg": f"{folder}/{attempt}", "recursive": "true"})
        if before is None:
            self._drop("files/rm", {"arg": folder, "recursive": "true"})

    def _pins(self, manifest: Manifest) -> set[str]:
        urls = [file.url for file in (*manifest.files, *manifest.admin_files)]
        return {url.removeprefix(self._prefix).split("/", 1)[0] for url in urls if url.startswith(self._prefix)}

    def _drop(self, command: str, options: Mapping[str, str]) -> None:
        with suppress(NotFound):  # already removed
            self._call(command, options)

    def _call(self, command: str, options: Mapping[str, str], body: _Form | None = None) -> bytes:
        return b"".join(read(self._request(command, options, body)))

    def _request(self, command: str, options: Mapping[str, str], body: _Form | None = None) -> BaseHTTPResponse:
        form = {"Content-Type": f"multipart/form-data; boundary={body.boundary}"} if body else {}
        url = f"{self._api}/api/v0/{command}?{urlencode(options)}"
        with errors():
            response = self._pool.request(
                "POST",
                url,
                body=iter(body) if body else None,
                headers=self._headers | form,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            if response.status == 200:
                return response
            text = response.read(2000).decode(errors="replace")
            response.close()
        if response.status == 500 and any(missing in text for missing in _MISSING):
            raise NotFound
        kind = StorageRefused if response.status in (401, 403) else StorageUnavailable
        raise kind(f"the IPFS API answered {response.status} to {command}: {text[:200]}")


def _mfs_path(workflow: WorkflowId, attempt: int) -> str:
    return f"{_MFS}/{layout.attempt_folder(workflow, attempt)}/{layout.MANIFEST}"


def _directory(added: bytes) -> str:
    """Return the CID of the directory around the added file: the last line of the answer, which has no name."""
    try:
        last = parse_json(added.strip().split(b"\n")[-1])
        cid = last["Hash"] if last["Name"] == "" else ""
    except (ValueError, KeyError, TypeError):
        cid = ""
    if not isinstance(cid, str) or not cid.isalnum():
        raise StorageUnavailable("the answer of the IPFS API has no CID")
    return cid


class _Form:
    """A file as a form. Its boundary is random, so that no file can contain it."""

    def __init__(self, name: str, chunks: Iterable[bytes], content_type: str) -> None:
        self.boundary = uuid4().hex
        self._chunks = chunks
        self._head = (
            f'Content-Disposition: form-data; name="file"; filename="{quote(name, safe="")}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        )

    def __iter__(self) -> Iterator[bytes]:
        yield f"--{self.boundary}\r\n{self._head}".encode()
        yield from self._chunks
        yield f"\r\n--{self.boundary}--\r\n".encode()
