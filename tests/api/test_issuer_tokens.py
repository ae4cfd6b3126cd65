"""Who calls: JWTs of an OpenID Connect issuer."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.api import app
from support.issuer import AUDIENCE, KEY, OTHER_KEY, Issuer, key_set, signed_in
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.api.auth import oidc
from functions.api.auth.principal import MAX_TOKEN, Principal, require_principal, sign_in
from functions.api.http import Call
from functions.variables import SettingsError


def test_a_jwt_of_the_issuer_names_its_subject(issuer: Issuer) -> None:
    found = signed_in(issuer.token(exp=datetime(2100, 1, 1, tzinfo=UTC)), issuer)
    assert found == Principal("oidc:u-1")
    assert found.until == datetime(2100, 1, 1, tzinfo=UTC).timestamp()
    headers = [("Authorization", f"Bearer {issuer.token()}")]
    parts = app(oidc_issuer=issuer.url, oidc_audience=AUDIENCE)
    call = Call(Request(EnvironBuilder(headers=headers).get_environ()), parts, {})
    assert require_principal(call).owner == "oidc:u-1"


def test_groups_lead_to_environments(issuer: Issuer) -> None:
    mapped: dict[str, Any] = {"oidc_groups": ("lab=ocean-compute", "lab=second", "a=b=third"), "oidc_admin_group": "op"}
    member = signed_in(issuer.token(groups=["lab", 7]), issuer, **mapped)
    assert member == Principal("oidc:u-1", frozenset({"ocean-compute", "second"}))
    assert signed_in(issuer.token(groups="a=b op"), issuer, **mapped) == Principal(
        "oidc:u-1", frozenset({"third"}), admin=True
    )
    assert signed_in(issuer.token(), issuer, **mapped) == Principal("oidc:u-1", frozenset())
    assert signed_in(issuer.token(roles=["lab"]), issuer, oidc_groups_claim="roles", **mapped) == member
    without_admins = signed_in(issuer.token(groups=[""]), issuer)  # no group is set for them
    assert without_admins == Principal("oidc:u-1", admin=False)


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
        {"padding": "x" * MAX_TOKEN},
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


def test_an_issuer_without_an_audience_is_a_fault_of_the_settings() -> None:
    with pytest.raises(SettingsError, match="OIDC_AUDIENCE"):
        sign_in("a.b.c", app(oidc_issuer="https://issuer.example"))


def test_a_token_of_the_file_and_an_issuer_go_together(issuer: Issuer, token_file: Path) -> None:
    both = {"tes_tokens_file": str(token_file)}
    assert signed_in("secret-b", issuer, **both) == Principal("bob")
    assert signed_in(issuer.token(), issuer, **both) == Principal("oidc:u-1")
