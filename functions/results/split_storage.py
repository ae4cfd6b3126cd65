"""One storage made of several: results, admin logs, and files with https: URLs."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from functions.results import layout
from functions.results.http_files import HttpFiles
from functions.results.ports import Content, Storage
from functions.workflow.model import Manifest, ResultFile, WorkflowId
from functions.workflow.volume_layout import ADMIN_LOGS


class SplitStorage(Struct, frozen=True):
    """Sends admin logs to their own storage. `admin_logs` is `results` if the operator has only one storage."""

    results: Storage
    admin_logs: Storage
    http: HttpFiles

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        storage = self.admin_logs if layout.is_admin_log(key) else self.results
        return storage.put(key, chunks, size, content_type)

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        if self.admin_logs is not self.results:
            # IPFS needs the manifest to know what to remove.
            self.admin_logs.put_manifest(workflow, attempt, Manifest(admin_files=manifest.admin_files))
        self.results.put_manifest(workflow, attempt, manifest)

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        return self.results.manifest(workflow, attempt)

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        if file.url.startswith(("https://", "http://")):
            return self.http.open(file, start, end)
        storage = self.admin_logs if file.path.startswith(f"{ADMIN_LOGS}/") else self.results
        return storage.open(file, start, end)

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        self.results.remove(workflow, before)
        if self.admin_logs is not self.results:
            self.admin_logs.remove(workflow, before)
