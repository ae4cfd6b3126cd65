"""Nonces: a time in some unit, used once by one provider."""

from __future__ import annotations

import itertools
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.api import API, KEY, NOW, OTHER_KEY, OWNER, Api, app, settings

from functions import ethereum
from functions.advance.sweep import sweep
from functions.api.auth.nonce import nanoseconds, too_far_ahead
from functions.api.auth.signature import SignatureRefused, verify
from functions.store.ports import Store

NONCE = int(NOW.timestamp()) * 10**9


@pytest.mark.parametrize(
    "nonce",
    [1795312226, "1795312226", "1795312226.0", 1795312226000, "1795312226000000", 1795312226000000000, 1795312226.0],
)
def test_a_nonce_is_the_same_time_in_every_unit_and_type(nonce: Any) -> None:
    assert nanoseconds(nonce) == 1795312226 * 10**9


@pytest.mark.parametrize(("digits", "below", "from_it_on"), [(11, 10**9, 10**6), (14, 10**6, 10**3), (17, 10**3, 1)])
def test_the_number_of_digits_tells_the_unit(digits: int, below: int, from_it_on: int) -> None:
    limit = 10**digits
    assert (nanoseconds(limit - 1), nanoseconds(limit)) == ((limit - 1) * below, limit * from_it_on)


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
    assert not too_far_ahead(at(timedelta(days=1)), NOW.replace(microsecond=0))
    assert not too_far_ahead(at(timedelta(minutes=-5)), NOW)
    assert too_far_ahead(at(timedelta(days=2)), NOW)
    nonce = at(timedelta(days=2))
    signed = {"providerSignature": ethereum.sign(KEY, f"{OWNER}{nonce}"), "nonce": nonce}
    with pytest.raises(SignatureRefused, match="a day ahead") as refused:
        verify(signed, OWNER, settings(), NOW)
    assert refused.value.status == 400


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
