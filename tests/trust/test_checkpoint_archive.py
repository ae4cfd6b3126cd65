"""Checkpoints go to an archive: twice, late, or after a death in between, and never in the way."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.proofs import StoredBytes, logged, note_of, proof_api, signing_pem
from support.serving import serving

from functions.advance import checkpoint_copies, notifications
from functions.advance.sweep import sweep
from functions.results.ports import StorageUnavailable
from functions.results.storage import open_checkpoints
from functions.settings import Settings
from functions.trust.checkpoint import open_note
from functions.trust.signing import SigningKey
from functions.variables import SettingsError

KEY = SigningKey(signing_pem().encode())


class Down(StoredBytes):
    """A storage that does not answer until it is up."""

    def __init__(self) -> None:
        super().__init__()
        self.up = False

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        if not self.up:
            raise StorageUnavailable("down")
        return super().put(key, chunks, size, content_type)


def archived(storage: Any, **settings: Any) -> Any:
    proofs = proof_api(checkpoint_url="s3://locked/log", **settings)
    proofs.api.app.checkpoints = storage
    return proofs


def test_each_checkpoint_is_one_object_named_by_its_size() -> None:
    kept = StoredBytes()
    proofs = archived(kept)
    notes = []
    for _ in range(3):
        assert logged(proofs)["checkpoints archived"] == 1
        notes.append(note_of(proofs))
    assert kept.contents == {f"memory:checkpoints/{n}": note.encode() for n, note in enumerate(notes, start=1)}
    assert "checkpoints archived" not in sweep(proofs.api.app)


def test_an_archive_that_is_away_gets_every_checkpoint_later() -> None:
    kept = Down()
    proofs = archived(kept)
    for _ in range(3):
        done = logged(proofs)
        assert (done["heads logged"], done["postponed"]) == (1, 1)
    kept.up = True
    assert sweep(proofs.api.app)["checkpoints archived"] == 3
    assert sorted(kept.contents) == [f"memory:checkpoints/{n}" for n in (1, 2, 3)]


def test_a_death_after_an_object_is_written_writes_the_same_object_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = StoredBytes()
    proofs = archived(kept)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_copies, "_record", lambda *_: 1 / 0)
        logged(proofs)
    before = dict(kept.contents)
    assert len(before) == 1
    assert sweep(proofs.api.app)["checkpoints archived"] == 1
    assert kept.contents == before


class Slow(StoredBytes):
    """A storage that takes 25 seconds for each object, of the 40 that a sweep has."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.pass_: Any = None

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        self.events.append(key)
        self.pass_(seconds=25)
        return super().put(key, chunks, size, content_type)


def test_a_slow_archive_leaves_the_rest_to_the_next_sweep_and_delays_no_notification(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down, slow = Down(), Slow()
    proofs = archived(down, notify_stop_url="https://operator.example")

    def deliver(_: Any, event: Any) -> bool:
        slow.events.append(event.kind)
        return True

    monkeypatch.setattr(notifications, "deliver", deliver)
    for _ in range(2):
        logged(proofs)
    slow.events.clear()
    proofs.api.app.checkpoints, slow.pass_ = slow, proofs.api.app.clock.pass_
    assert logged(proofs)["checkpoints archived"] == 2
    assert slow.events == ["finished", "checkpoints/1", "checkpoints/2"]
    assert sweep(proofs.api.app)["checkpoints archived"] == 1
    assert slow.events[3:] == ["checkpoints/3"]


def test_an_archive_in_a_folder_has_a_file_for_each_checkpoint(tmp_path: Path) -> None:
    proofs = proof_api(checkpoint_url=tmp_path.as_uri())
    for _ in range(2):
        logged(proofs)
    assert (tmp_path / "checkpoints/2").read_text() == note_of(proofs)
    assert open_note((tmp_path / "checkpoints/1").read_text(), KEY.public).size == 1


def test_an_archive_cannot_be_in_ipfs() -> None:
    with pytest.raises(SettingsError, match="CHECKPOINT_URL"):
        open_checkpoints(Settings(checkpoint_url="ipfs://"))


def test_a_locked_bucket_gets_a_checksum_and_its_own_credentials() -> None:
    """S3 Object Lock refuses an object without one."""
    asked: list[Any] = []

    class Bucket(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            asked.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("ETag", '"1"')
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with serving(HTTPServer(("127.0.0.1", 0), Bucket)) as server:
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_REGION": "eu",
            "AWS_ACCESS_KEY_ID": "of-results",
            "AWS_SECRET_ACCESS_KEY": "x",
            "CHECKPOINT_AWS_ACCESS_KEY_ID": "of-the-archive",
        }
        proofs = proof_api(checkpoint_url="s3://locked/log", legacy=variables)
        logged(proofs)
    ((path, headers, content),) = asked
    assert (path, content.decode()) == ("/locked/log/checkpoints/1", note_of(proofs))
    assert "Credential=of-the-archive/" in headers["authorization"]
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
