"""Who calls: JWTs of an OpenID Connect issuer."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.api import app
from support.serving import serving
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.api.auth import oidc
from functions.api.auth.principal import Principal, require_principal, sign_in
from functions.api.http import Call
from functions.errors import Unavailable
from functions.variables import SettingsError

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
        self.asked: list[str] = []
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                body = issuer.answers.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

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


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setattr(oidc, "_KEYS", oidc._Keys())
    made = Issuer()
    with serving(made.server):
        yield made


def signed_in(token: str, issuer: Issuer, **settings: Any) -> Principal | None:
    return sign_in(token, app(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, **settings))


def test_a_jwt_of_the_issuer_names_its_subject(issuer: Issuer) -> None:
    found = signed_in(issuer.token(exp=datetime(2100, 1, 1, tzinfo=UTC)), issuer)
    assert found == Principal("oidc:u-1")
    assert found.until == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    headers = [("Authorization", f"Bearer {issuer.token()}")]
    parts = app(oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    call = Call(Request(EnvironBuilder(headers=headers).get_environ()), parts, {})
    assert require_principal(call).owner == "oidc:u-1"


def test_the_keys_are_fetched_once(issuer: Issuer) -> None:
    for _ in range(5):
        assert signed_in(issuer.token(), issuer)
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_keys_of_a_file_need_no_call(issuer: Issuer, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(key_set(one=KEY, two=OTHER_KEY)))
    assert signed_in(issuer.token(), issuer, oidc_jwks_file=str(file))
    assert signed_in(issuer.token(OTHER_KEY, kid="two", algorithm="ES256"), issuer, oidc_jwks_file=str(file))
    assert issuer.asked == []


def test_groups_lead_to_environments(issuer: Issuer) -> None:
    mapped: dict[str, Any] = {"oidc_groups": ("lab=ocean-compute", "lab=second", "a=b=third"), "oidc_admin_group": "op"}
    member = signed_in(issuer.token(groups=["lab", 7]), issuer, **mapped)
    assert member == Principal("oidc:u-1", frozenset({"ocean-compute", "second"}))
    assert signed_in(issuer.token(groups="a=b op"), issuer, **mapped) == Principal(
        "oidc:u-1", frozenset({"third"}), admin=True
    )
    assert signed_in(issuer.token(), issuer, **mapped) == Principal("oidc:u-1", frozenset())
    assert signed_in(issuer.token(roles=["lab"]), issuer, oidc_groups_claim="roles", **mapped) == member


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
        {"exp": None},
        {"nbf": datetime(2100, 1, 1, tzinfo=UTC)},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 201},
    ],
)
def test_a_jwt_with_a_wrong_claim_is_refused(claims: dict[str, Any], issuer: Issuer) -> None:
    assert signed_in(issuer.token(**claims), issuer) is None


def test_a_jwt_of_another_key_is_refused(issuer: Issuer) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    assert signed_in(issuer.token(stranger), issuer) is None
    assert signed_in(issuer.token(stranger, kid="unknown"), issuer) is None
    assert signed_in(issuer.token()[:-4] + "AAAA", issuer) is None


def test_an_unsigned_jwt_and_one_signed_with_the_public_key_are_refused(issuer: Issuer) -> None:
    assert signed_in(issuer.token("", algorithm="none"), issuer) is None
    head, body, _ = issuer.token().split(".")
    head = _encoded(json.dumps({"alg": "HS256", "kid": "one"}).encode())
    secret = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = _encoded(hmac.digest(secret, f"{head}.{body}".encode(), "sha256"))
    assert signed_in(f"{head}.{body}.{forged}", issuer) is None


def _encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def test_a_jwt_without_a_key_id_needs_an_only_key(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signed_in(issuer.token(kid=None), issuer)
    issuer.publish(key_set(one=KEY, two=OTHER_KEY))
    monkeypatch.setattr(oidc, "_KEYS", oidc._Keys())
    assert signed_in(issuer.token(kid=None), issuer) is None


def test_a_new_key_is_found_but_unknown_keys_cause_no_flood(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("functions.api.auth.oidc.time.monotonic", lambda: now)
    assert signed_in(issuer.token(), issuer)
    issuer.publish(key_set(one=KEY, two=OTHER_KEY))
    token = issuer.token(OTHER_KEY, kid="two", algorithm="ES256")
    for _ in range(3):
        assert signed_in(token, issuer) is None
    assert len(issuer.asked) == 2
    now += 61
    assert signed_in(token, issuer)
    assert len(issuer.asked) == 4


def test_an_issuer_that_gives_no_keys_is_unavailable(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    right = issuer.answers
    no_key = right | {"/keys": b'{"keys": []}'}
    for answers, requests in (({}, 1), ({"/.well-known/openid-configuration": b"{}"}, 1), (no_key, 2)):
        monkeypatch.setattr(oidc, "_KEYS", oidc._Keys())
        issuer.answers, issuer.asked = dict(answers), []
        with pytest.raises(Unavailable):
            signed_in(issuer.token(), issuer)
        assert len(issuer.asked) == requests


def test_an_issuer_that_has_failed_is_left_alone_for_ten_seconds(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("functions.api.auth.oidc.time.monotonic", lambda: now)
    assert signed_in(issuer.token(), issuer)
    answers, issuer.answers, issuer.asked = issuer.answers, {}, []
    now += 61
    for number in range(3):
        with pytest.raises(Unavailable):
            signed_in(issuer.token(OTHER_KEY, kid=f"unknown-{number}", algorithm="ES256"), issuer)
        assert signed_in(issuer.token(), issuer)  # a key that is known needs no issuer
    assert len(issuer.asked) == 1
    issuer.answers = answers
    now += 11
    assert signed_in(issuer.token(OTHER_KEY, kid="unknown", algorithm="ES256"), issuer) is None
    assert len(issuer.asked) == 3


def test_known_keys_count_for_an_hour_more_if_the_issuer_does_not_answer(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("functions.api.auth.oidc.time.monotonic", lambda: now)
    token = issuer.token(exp=datetime(2100, 1, 1, tzinfo=UTC))
    assert signed_in(token, issuer)
    answers, issuer.answers, issuer.asked = issuer.answers, {}, []
    for later in (1601.0, 5199.0):
        now = later
        assert signed_in(token, issuer)
        with pytest.raises(Unavailable):
            signed_in(issuer.token(kid="unknown"), issuer)
    assert len(issuer.asked) == 2  # the issuer is asked again all the time
    now = 5201.0
    with pytest.raises(Unavailable):
        signed_in(token, issuer)
    issuer.answers, now = answers, 5220.0
    assert signed_in(token, issuer)


class SlowIssuer:
    """Stands in for the discovery. It begins to answer, and ends when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun, self.may_end = Event(), Event()

    def __call__(self, issuer: str) -> Any:
        self.asked += 1
        self.begun.set()
        assert self.may_end.wait(30)
        return jwt.PyJWKSet.from_dict(key_set(one=KEY, two=OTHER_KEY))


def test_a_slow_issuer_delays_nobody_whose_key_is_known(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("functions.api.auth.oidc.time.monotonic", lambda: now)
    assert signed_in(issuer.token(), issuer)
    now += 601
    monkeypatch.setattr(oidc, "_discovered", slow := SlowIssuer())
    new = issuer.token(OTHER_KEY, kid="two", algorithm="ES256")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(signed_in, new, issuer)
        assert slow.begun.wait(30)
        assert signed_in(issuer.token(), issuer)  # while the issuer does not answer
        with pytest.raises(Unavailable):
            signed_in(new, issuer)
        slow.may_end.set()
        assert first.result(30)
    assert signed_in(new, issuer)
    assert slow.asked == 1


def test_all_who_need_the_first_keys_wait_for_one_fetch(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "_discovered", slow := SlowIssuer())
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(signed_in, issuer.token(), issuer) for _ in range(4)]
        assert slow.begun.wait(30)
        slow.may_end.set()
        assert all(each.result(30) for each in found)
    assert slow.asked == 1


def test_keys_are_fetched_over_https_alone(issuer: Issuer) -> None:
    discovery = {"issuer": issuer.url, "jwks_uri": "http://keys.example/keys"}
    issuer.answers["/.well-known/openid-configuration"] = json.dumps(discovery).encode()
    with pytest.raises(Unavailable):
        signed_in(issuer.token(), issuer)


def test_an_issuer_without_an_audience_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="OIDC_AUDIENCE"):
        sign_in("a.b.c", app(oidc_issuer="https://issuer.example"))


def test_a_token_of_the_file_and_an_issuer_go_together(issuer: Issuer, token_file: Path) -> None:
    both = {"tes_tokens_file": str(token_file)}
    assert signed_in("secret-b", issuer, **both) == Principal("bob")
    assert signed_in(issuer.token(), issuer, **both) == Principal("oidc:u-1")
