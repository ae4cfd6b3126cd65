"""Who may do what, and how often: signatures, nonces, the admin header."""

from __future__ import annotations

import itertools
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support.api import ADMIN, API, KEY, NOW, OTHER_KEY, OWNER, Api, app, settings
from support.memory_store import MemoryStore

from functions import ethereum
from functions.advance.sweep import sweep
from functions.api.auth.nonce import nanoseconds, too_far_ahead
from functions.api.auth.signature import NonceRefused, RequestSigner, SignatureRefused, verify
from functions.settings import Settings
from functions.staging.configure.provider import DownloadSigner
from functions.store.ports import Store

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


# --- signatures -----------------------------------------------------------------------------


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


# --- nonces ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonce",
    [1795312226, "1795312226", "1795312226.0", 1795312226000, "1795312226000000", 1795312226000000000, 1795312226.0],
)
def test_a_nonce_is_the_same_time_in_every_unit_and_type(nonce: Any) -> None:
    assert nanoseconds(nonce) == 1795312226 * 10**9


def test_the_fraction_of_seconds_counts() -> None:
    assert nanoseconds("1795312226.446271") == nanoseconds(1795312226.446271) == 1795312226446271000


@pytest.mark.parametrize(
    "nonce",
    [None, True, "", "now", "-1", -1, "1e30", "١٢٣", " 1", "1_0", "0x10", "1.", "1" * 21, [], {}, 1e300],
)
def test_a_nonce_that_is_not_a_time_is_refused(nonce: Any) -> None:
    with pytest.raises(ValueError, match="nonce must be"):
        nanoseconds(nonce)


@given(st.integers(10**9, 10**10), st.integers(10**9, 10**10), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_a_later_nonce_is_larger_in_every_unit(earlier: int, later: int, unit: int) -> None:
    assert (nanoseconds(earlier * unit) < nanoseconds(later)) == (earlier < later)


def test_a_nonce_may_be_minutes_ahead_but_not_days() -> None:
    def at(ahead: timedelta) -> int:
        return int((NOW + ahead).timestamp()) * 10**9

    assert not too_far_ahead(at(timedelta(minutes=5)), NOW)
    assert not too_far_ahead(at(timedelta(minutes=-5)), NOW)
    assert too_far_ahead(at(timedelta(days=2)), NOW)
    nonce = at(timedelta(days=2))
    error = refused(OWNER, ethereum.sign(KEY, f"{OWNER}{nonce}"), nonce)
    assert (error.status, "a day ahead" in str(error)) == (400, True)


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


def test_nonces_of_one_provider_may_arrive_out_of_order(store: Store) -> None:
    api = Api(app(store))
    asked = [api.signed(OWNER, owner=OWNER, nonce=NONCE + turn) for turn in range(24)]
    secrets.SystemRandom().shuffle(asked)
    with ThreadPoolExecutor(8) as pool:
        assert {pool.submit(api.get, "/compute", one).result().status_code for one in asked[:4]} == {200}
        answers = list(pool.map(lambda one: api.get("/compute", one).status_code, asked[4:]))
    assert answers == [200] * 20
    assert {api.get("/compute", one).status_code for one in asked} == {400}


def test_a_nonce_below_the_pruning_watermark_is_refused(store: Store) -> None:
    api = Api(app(store))

    def answered(nonce: int) -> int:
        return api.get("/compute", api.signed(OWNER, owner=OWNER, nonce=nonce)).status_code

    assert answered(NONCE) == 200
    for minutes, unused in [(10, 200), (10, 400), (60, 400)]:
        api.app.clock.pass_(minutes=minutes)  # type: ignore[attr-defined]
        sweep(api.app)
        assert (answered(NONCE), answered(NONCE - minutes)) == (400, unused)
    assert answered(NONCE + 1) == 200, "a provider whose clock stands still may go on"


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9], ids=["ns", "µs", "ms", "s"])
def test_nonces_of_a_provider_whose_clock_is_late_may_arrive_out_of_order(unit: int) -> None:
    api = Api(app())
    now = NONCE // unit
    for nonce in (now + 2, now + 1, now):
        assert api.get("/compute", api.signed(OWNER, owner=OWNER, nonce=nonce)).status_code == 200
        api.app.clock.pass_(minutes=3)  # type: ignore[attr-defined]
        sweep(api.app)


def test_of_twenty_concurrent_requests_with_one_nonce_exactly_one_passes(store: Store) -> None:
    api = Api(app(store))
    asked = [api.signed(OWNER, owner=OWNER, nonce=NONCE - turn) for turn in (2, 1, 0)]
    with ThreadPoolExecutor(20) as pool:
        for one in asked:
            answers = list(pool.map(lambda _, one=one: api.get("/compute", one).status_code, range(20)))
            assert sorted(answers) == [200, *[400] * 19]


def test_every_route_refuses_a_replay_in_json(api: Api) -> None:
    job = api.start()["jobId"]
    message = f"{OWNER}{job}"
    for client, method, path, prefix in [
        (api.submit, "PUT", "/compute", "Exception when stopping compute job: "),
        (api.submit, "DELETE", "/compute", "Exception when stopping compute job: "),
        (api.status, "GET", "/compute", "Error getting the status: "),
        (api.status, "GET", "/getResult", "Error getResult: "),
    ]:
        asked = api.signed(message, owner=OWNER, jobId=job, index=0)
        client.open(f"{API}{path}", method=method, query_string=asked)
        again = client.open(f"{API}{path}", method=method, query_string=asked)
        assert again.status_code == 400
        assert again.json is not None
        assert again.json["error"].startswith(f"{prefix}Invalid signature expected nonce > current nonce")
    body = api.start_body(agreementId="0xanother")
    api.post(body)
    again = api.post({**body, "agreementId": "0xthird"})
    assert again.status_code == 400
    assert again.json is not None
    assert again.json["error"].startswith("Invalid signature expected nonce")


def test_nonces_of_one_provider_do_not_count_for_another() -> None:
    providers = (ethereum.address(KEY), ethereum.address(OTHER_KEY))
    one = Api(app(allowed_providers=providers))
    for key in (KEY, OTHER_KEY):
        one.key = key
        assert one.get("/compute", one.signed(OWNER, owner=OWNER, nonce=NONCE)).status_code == 200


def test_of_many_concurrent_mixed_requests_exactly_the_valid_ones_pass(store: Store, rounds: int) -> None:
    """Valid, replayed, forged and missing signatures; each valid one by a provider of its own, so that all may pass."""
    keys = [f"0x{secrets.token_hex(31):0>64}" for _ in range(rounds)]
    api = Api(app(store, allowed_providers=tuple(ethereum.address(key) for key in keys)))
    requests: list[tuple[str, dict[str, Any]]] = []
    for key, kind in itertools.product(keys, ("valid", "replayed", "forged", "missing")):
        signature = ethereum.sign(OTHER_KEY if kind == "forged" else key, f"{OWNER}{NONCE}")
        asked = {"owner": OWNER, "nonce": NONCE, "providerSignature": signature}
        if kind == "missing":
            del asked["providerSignature"]
        requests.append((kind, asked))
    secrets.SystemRandom().shuffle(requests)
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda request: api.get("/compute", request[1]).status_code, requests))
    by_kind = {
        kind: [code for (each, _), code in zip(requests, codes, strict=True) if each == kind]
        for kind in ("valid", "replayed", "forged", "missing")
    }
    assert by_kind["forged"] == [401] * rounds
    assert by_kind["missing"] == [400] * rounds
    # A replayed request is the same request: which of the two comes first is the one that passes.
    once = sorted(by_kind["valid"] + by_kind["replayed"])
    assert once == [200] * rounds + [400] * rounds


# --- admins ---------------------------------------------------------------------------------

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
