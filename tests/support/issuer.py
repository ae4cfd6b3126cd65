"""An OpenID Connect issuer, and what it signs."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from support.api import app

from functions.api.auth.principal import Principal, sign_in

AUDIENCE = "sluice"
KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def key_set(**keys: Any) -> dict[str, Any]:
    return {"keys": [_public(key) | {"kid": name, "use": "sig"} for name, key in keys.items()]}


def _public(key: Any) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return dict(kind.to_jwk(key.public_key(), as_dict=True))


class Issuer:
    """An OpenID Connect issuer on loopback. Its answers may be changed."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}  # instead of 200
        self.asked: list[str] = []
        self.agents: list[str | None] = []
        self.drips = ""  # `headers` or `body`: this part of each answer comes byte by byte, and takes long
        self.heard_out = False  # somebody has waited for the end of such an answer
        self.pause = threading.Event()  # never set
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                issuer.agents.append(self.headers.get("User-Agent"))
                body = issuer.answers.get(self.path)
                self.send_response(issuer.statuses.get(self.path, 200) if body is not None else 404)
                self.send_header("Location", "/moved")
                with suppress(ConnectionError):
                    if issuer.drips == "headers":
                        self.flush_headers()
                        self.drip(b"X-More: ")
                        self.wfile.write(b"\r\n")
                    self.end_headers()
                    if issuer.drips == "body":
                        self.drip(b"")
                    self.wfile.write(body or b"")

            def drip(self, start: bytes) -> None:
                self.wfile.write(start)
                for _ in range(300):
                    self.wfile.write(b" ")
                    issuer.pause.wait(0.02)
                issuer.heard_out = True

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.publish(key_set(one=KEY))

    def publish(self, keys: Any) -> None:
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        self.answers = {
            "/.well-known/openid-configuration": json.dumps(discovery).encode(),
            "/keys": json.dumps(keys).encode(),
        }

    def token(self, key: Any = KEY, *, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
        now = datetime.now(UTC)
        said = {"iss": self.url, "aud": AUDIENCE, "sub": "u-1", "exp": now + timedelta(minutes=5), **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def signed_in(token: str, issuer: Issuer, **settings: Any) -> Principal | None:
    return sign_in(token, app(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, **settings))
