"""A witness of a log on this machine (C2SP tlog-witness). It verifies proofs with the code under test."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.serving import serving

from functions.trust import merkle
from functions.trust.checkpoint import CheckpointInvalid, open_note

NAME = "witness.example/w1"
AT = 1795747200  # the time of each cosignature, in seconds since 1970


class WitnessServer:
    """Cosigns a checkpoint that follows from the last one it saw.

    `answers` replaces its next answers, each a status and a text. While it is `away` it answers 503.
    """

    def __init__(self, log_key: bytes, seed: bytes = b"\7" * 32) -> None:
        self.log_key = log_key
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._hash = hashlib.sha256(f"{NAME}\n".encode() + b"\4" + self._public).digest()[:4]
        self.seen: tuple[int, bytes] = (0, merkle.EMPTY_ROOT)
        self.asked: list[int] = []  # the statuses that it has answered with
        self.answers: list[tuple[int, str]] = []
        self.away = False
        self.drips = False  # answers with one byte at a time, for much longer than anybody waits
        self.ended = False  # a client has waited for the last byte
        self.url = ""

    @property
    def verifier_key(self) -> str:
        key = base64.b64encode(b"\4" + self._public).decode()
        return f"{NAME}+{self._hash.hex()}+{key}"

    @property
    def setting(self) -> str:
        return f"{self.url} {self.verifier_key}"

    def answer(self, body: str) -> tuple[int, str]:
        head, _, note = body.partition("\n\n")
        first, *proof = head.split("\n")
        try:
            asked = open_note(note, self.log_key)
        except CheckpointInvalid:
            return 403, ""
        if first != f"old {self.seen[0]}":
            return 409, f"{self.seen[0]}\n"
        path = [base64.b64decode(line, validate=True) for line in proof]
        size, root = self.seen
        follows = merkle.is_consistent(size, root, asked.size, asked.root, path) if size else not path
        if not follows:
            return (409, f"{size}\n") if size == asked.size else (422, "")
        self.seen = (asked.size, asked.root)
        return 200, self.cosignature(asked.text)

    def cosignature(self, text: str) -> str:
        signature = self._key.sign(f"cosignature/v1\ntime {AT}\n{text}".encode())
        return f"— {NAME} {base64.b64encode(self._hash + AT.to_bytes(8) + signature).decode()}\n"


@contextmanager
def serve(witness: WitnessServer) -> Iterator[WitnessServer]:
    """Serve a witness over HTTP on a free port, and set its `url`."""
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if witness.away:
                status, text = 503, ""
            else:
                status, text = witness.answer(body) if self.path == "/api/add-checkpoint" else (404, "")
            if witness.answers:
                status, text = witness.answers.pop(0)
            witness.asked.append(status)
            self.send_response(status)
            self.end_headers()
            if witness.drips:
                self.drip()
            self.wfile.write(text.encode())

        def drip(self) -> None:
            with suppress(OSError):
                for _ in range(300):
                    self.wfile.write(b"\n")
                    gone.wait(0.05)
                witness.ended = True

        def log_message(self, *_: Any) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        witness.url = f"http://127.0.0.1:{server.server_port}/api"
        try:
            yield witness
        finally:
            gone.set()
