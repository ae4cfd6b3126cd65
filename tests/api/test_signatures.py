"""Signatures of the Provider, and the admin header: who may do what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support.api import ADMIN, API, KEY, NOW, OTHER_KEY, OWNER, Api, app, settings
from support.memory_store import MemoryStore

from functions import ethereum
from functions.api.auth.guard import is_admin
from functions.api.auth.signature import NonceRefused, RequestSigner, SignatureRefused, verify
from functions.settings import Settings
from functions.staging.configure.provider import DownloadSigner

VECTORS = json.loads((Path(__file__).parents[1] / "data/provider-signatures.json").read_text())


BARE = {message for message in (v["message"] for v in VECTORS["vectors"]) if len(message) in (42, 74)}


NONCE = int(NOW.timestamp()) * 10**9


TIMES = st.builds(
    lambda second, unit: second * unit, st.integers(10**9, NONCE // 10**9), st.sampled_from([1, 10**3, 10**9])
)


KEYS = st.integers(1, 2**255).map(lambda number: f"0x{number:064x}")


def checked(message: str, signature: Any, nonce: Any, **other: Any) -> RequestSigner:
    asked = {"providerSignature": signature, "nonce": nonce}
    return verify(asked, message, settings(**other), NOW)


def refused(message: str, signature: Any, nonce: Any, **other: Any) -> SignatureRefused:
    with pytest.raises(SignatureRefused) as caught:
        checked(message, signature, nonce, **other)
    return caught.value


@pytest.mark.parametrize("vector", VECTORS["vectors"][:3], ids=["owner", "job, ns", "job, ms"])
def test_the_signatures_of_the_provider_are_accepted(vector: dict[str, str]) -> None:
    digits = 13 if vector["message"].endswith("ff1795312226446") else 19
    message, nonce = vector["message"][:-digits], vector["message"][-digits:]
    address = VECTORS["address"]
    for allowed in (address, address.lower(), address.upper(), address[2:]):
        signer = checked(message, vector["signature"], nonce, allowed_providers=(allowed,))
        assert signer.address == VECTORS["address"].lower()


@pytest.mark.parametrize("vector", [v for v in VECTORS["vectors"] if v["message"] in BARE], ids=["owner", "job"])
def test_a_signature_without_a_nonce_needs_its_setting(vector: dict[str, str]) -> None:
    allowed = (VECTORS["address"],)
    assert refused(vector["message"], vector["signature"], NONCE, allowed_providers=allowed).status == 401
    signer = checked(
        vector["message"], vector["signature"], NONCE, allowed_providers=allowed, accept_unsigned_nonce=True
    )
    assert signer.address == VECTORS["address"].lower()


def test_a_signature_for_a_download_from_a_provider_signs_no_request() -> None:
    """Configure signs a DID and a nonce with the operator's key, which may be an allowed signer here."""
    signed = DownloadSigner(KEY, lambda: NOW.timestamp()).sign("did:op:aa")
    allowed = (signed["consumerAddress"],)
    for message, accept in (("did:op:aa", False), (f"did:op:aa{signed['nonce']}", True)):
        error = refused(
            message, signed["signature"], signed["nonce"], allowed_providers=allowed, accept_unsigned_nonce=accept
        )
        assert (error.status, str(error)) == (400, "`owner` must not be a DID")


@hypothesis_settings(deadline=None)
@given(KEYS, st.text(max_size=50), TIMES)
def test_a_signature_is_valid_only_for_its_message_and_nonce(key: str, message: str, nonce: int) -> None:
    signature = ethereum.sign(key, f"{message}{nonce}")
    allowed = (ethereum.address(key),)
    assert checked(message, signature, nonce, allowed_providers=allowed).address == allowed[0].lower()
    assert checked(message, signature, str(nonce), allowed_providers=allowed).address == allowed[0].lower()
    assert refused(message + "x", signature, nonce, allowed_providers=allowed).status == 401
    assert refused(message, signature, nonce + 1, allowed_providers=allowed).status == 401


@pytest.mark.parametrize(
    "signature", [None, "", 7, ["0x"], "0x", "garbage", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64, "é" * 130]
)
def test_a_malformed_signature_is_refused_as_unrecoverable(signature: Any) -> None:
    error = refused(OWNER, signature, NONCE)
    assert (error.status, str(error)) == (400, "Failed to recover address")


def test_the_refusal_of_a_signer_does_not_repeat_the_whole_signature() -> None:
    signature = ethereum.sign(OTHER_KEY, f"{OWNER}{NONCE}")
    error = refused(OWNER, signature, NONCE)
    address = ethereum.address(OTHER_KEY).lower()
    assert (error.status, str(error)) == (
        401,
        f"Invalid signature {signature[:10]}… of documentId {OWNER}{NONCE},"
        f"the signing ethereum account {address} is not authorized to use this service.",
    )


def test_without_required_signatures_any_recoverable_signature_is_accepted() -> None:
    signature = ethereum.sign(OTHER_KEY, f"{OWNER}{NONCE}")
    signer = checked(OWNER, signature, NONCE, signature_required=False)
    assert signer.address == ethereum.address(OTHER_KEY).lower()
    assert refused(OWNER, "0x00", NONCE, signature_required=False).status == 400


def test_nobody_is_allowed_by_default() -> None:
    signature = ethereum.sign(KEY, f"{OWNER}{NONCE}")
    with pytest.raises(SignatureRefused):
        verify({"providerSignature": signature, "nonce": NONCE}, OWNER, Settings(), NOW)


def test_a_refused_request_does_not_consume_its_nonce() -> None:
    signer = checked(OWNER, ethereum.sign(KEY, f"{OWNER}{NONCE}"), NONCE)
    refused(OWNER, ethereum.sign(OTHER_KEY, f"{OWNER}{NONCE + 5}"), NONCE + 5)
    with MemoryStore().begin() as tx:
        signer.consume(tx)
        with pytest.raises(NonceRefused):
            signer.consume(tx)
        RequestSigner(signer.address, NONCE + 5).consume(tx)
        with pytest.raises(NonceRefused):
            signer.consume(tx)


ADMIN_ROUTES = ("/runningjobs", "/list", "/info?jobId=x1", "/logs?jobId=x1", "/history?jobId=x1", "/dead-letters")


@pytest.mark.parametrize("route", ADMIN_ROUTES)
def test_operator_routes_need_the_admin_header(api: Api, route: str) -> None:
    missing = api.get(route)
    assert (missing.status_code, missing.json) == (400, {"error": "Admin header is empty."})
    wrong = api.get(route, headers={"Admin": "other"})
    assert wrong.status_code == 401
    assert wrong.json == {"error": "Access admin route failed due to invalid admin address."}
    assert api.get(route, headers={"Admin": "MYADMINPASS"}).status_code in (200, 404)


def test_upgrading_the_database_needs_the_admin_header(api: Api) -> None:
    assert api.submit.post(f"{API}/pgsqlinit").status_code == 400
    assert api.submit.post(f"{API}/pgsqlinit", headers={"Admin": "x"}).status_code == 401


def test_admin_routes_are_open_only_with_the_setting_and_without_admins() -> None:
    assert Api(app(allowed_admins=(), open_admin=True)).get("/list").status_code == 200
    assert Api(app(allowed_admins=())).get("/list", headers={"Admin": ""}).status_code == 400
    assert Api(app(allowed_admins=())).get("/list", headers=ADMIN).status_code == 401
    assert Api(app(open_admin=True)).get("/list").status_code == 400
    assert Api(app(allowed_admins=("",))).get("/list", headers={"Admin": ""}).status_code == 400
    assert not is_admin("", settings(allowed_admins=("",)))  # such as an empty bearer token of `/metrics`
