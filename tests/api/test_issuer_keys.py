"""The keys of an OpenID Connect issuer: where they come from, and how long they count."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import jwt
import pytest
from support.issuer import KEY, OTHER_KEY, Issuer, key_set, signed_in

from functions.api.auth import oidc
from functions.errors import Unavailable


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


def test_a_key_that_the_issuer_has_withdrawn_counts_for_ten_minutes_at_most(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("functions.api.auth.oidc.time.monotonic", lambda: now)
    token = issuer.token(exp=datetime(2100, 1, 1, tzinfo=UTC))
    assert signed_in(token, issuer)
    issuer.publish(key_set(two=OTHER_KEY))
    now += 600
    assert signed_in(token, issuer)
    now += 1
    assert signed_in(token, issuer) is None


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
@pytest.mark.parametrize("status", [302, 500])
def test_keys_come_only_from_a_successful_answer_at_the_address_itself(issuer: Issuer, path: str, status: int) -> None:
    issuer.answers["/moved"] = issuer.answers[path]
    issuer.statuses[path] = status
    with pytest.raises(Unavailable):
        signed_in(issuer.token(), issuer)
    assert "/moved" not in issuer.asked


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("https://[2001:db8::a]/keys", "2001:db8::a", 443),
        ("http://[::1]/keys", "::1", 80),
        ("https://login.example/keys", "login.example", 443),
        ("https://[2001:db8::a]:8443/keys", "2001:db8::a", 8443),
    ],
)
def test_an_issuer_may_have_an_ipv6_address_without_a_port(
    monkeypatch: pytest.MonkeyPatch, address: str, host: str, port: int
) -> None:
    asked: list[Any] = []

    def connect(self: HTTPConnection) -> None:
        asked.append((self.host, self.port))
        raise ConnectionRefusedError

    monkeypatch.setattr(HTTPConnection, "connect", connect)
    monkeypatch.setattr(HTTPSConnection, "connect", connect)
    with pytest.raises(Unavailable):
        oidc._fetch(address, monotonic() + 10)
    assert asked == [(host, port)]


def test_a_request_to_the_issuer_names_its_sender(issuer: Issuer) -> None:
    """Some web application firewalls refuse requests without `User-Agent`."""
    assert signed_in(issuer.token(), issuer)
    assert set(issuer.agents) == {"sluice"}


def test_a_discovery_document_of_another_issuer_gives_no_keys(issuer: Issuer) -> None:
    discovery = {"issuer": "https://other.example", "jwks_uri": f"{issuer.url}/keys"}
    issuer.answers["/.well-known/openid-configuration"] = json.dumps(discovery).encode()
    with pytest.raises(Unavailable):
        signed_in(issuer.token(), issuer)


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


@pytest.mark.parametrize("part", ["headers", "body"])
def test_an_issuer_that_answers_byte_by_byte_holds_nobody_for_long(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(oidc, "_ANSWERS", 0.3)
    issuer.drips = part
    with pytest.raises(Unavailable):
        signed_in(issuer.token(), issuer)
    assert not issuer.heard_out


@pytest.mark.parametrize("address", ["https://[", "https://issuer.example:port", "https://issuer.example:1/a b", ""])
def test_an_address_of_keys_that_is_no_url_gives_no_keys(issuer: Issuer, address: str) -> None:
    discovery = {"issuer": issuer.url, "jwks_uri": address}
    issuer.answers["/.well-known/openid-configuration"] = json.dumps(discovery).encode()
    with pytest.raises(Unavailable):
        signed_in(issuer.token(), issuer)


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
