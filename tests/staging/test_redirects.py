"""Where a redirect may lead, what goes along, and whom https proves."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.configuring import FEW_RETRIES, LOOPBACK, Configure
from support.datahost import DataHost, File, Held

from functions.staging.guarded_http import GuardedHttp

DATA = Path(__file__).parents[1] / "data"
CERTIFICATE, KEY = str(DATA / "data.example-cert.pem"), str(DATA / "data.example-key.pem")
GUARDED = replace(LOOPBACK, allow_private_addresses=False)


@pytest.fixture
def inner() -> Iterator[DataHost]:
    """A second server, which nobody may be led to."""
    with DataHost() as started:
        started.routes["/a"] = File(Held(b"inner"))
        yield started


def _redirect(location: str, status: int = 302) -> Any:
    return lambda request: request.answer(status, b"", Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_an_internal_address_is_refused_even_from_a_trusted_gateway(
    configure: Configure, host: DataHost, inner: DataHost, status: int
) -> None:
    host.routes["/ipfs/bafy"] = _redirect(f"{inner.url}/a", status)
    options = replace(GUARDED, ipfs_gateway=host.url)
    outcome = configure({"url": "ipfs://bafy"}, options=options)
    assert (outcome.code, outcome.reason) == (31, "DataForbidden")
    assert len(host.seen) == 1
    assert inner.seen == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://127.0.0.1/", "ftp://x/", "javascript:0"])
def test_a_redirect_to_another_scheme_is_refused(configure: Configure, host: DataHost, location: str) -> None:
    host.routes["/a"] = _redirect(location)
    assert configure({"url": f"{host.url}/a"}).reason == "DataForbidden"


def test_at_most_five_redirects_are_followed(configure: Configure, host: DataHost) -> None:
    for n in range(6):
        host.routes[f"/{n}"] = _redirect(f"/{n + 1}")
    host.routes["/5"] = File(Held(b"here"))
    assert configure({"url": f"{host.url}/0"}).read("inputs/0/0") == b"here"
    host.routes["/5"] = _redirect("/6")
    host.routes["/6"] = File(Held(b"too far"))
    outcome = configure({"url": f"{host.url}/0"})
    assert (outcome.code, "more than 5 redirects" in outcome.message) == (31, True)


def test_credentials_do_not_follow_a_redirect_to_another_host(
    configure: Configure, host: DataHost, inner: DataHost
) -> None:
    host.routes |= {"/a": _redirect("/b"), "/b": _redirect(f"{inner.url}/a")}
    address = host.url.replace("://", "://user:pass@")
    assert configure({"url": f"{address}/a"}).read("inputs/0/0") == b"inner"
    assert [s.headers.get("authorization") for s in host.seen] == ["Basic dXNlcjpwYXNz", "Basic dXNlcjpwYXNz"]
    assert "authorization" not in inner.seen[0].headers


def test_http_is_refused_where_the_environment_does_not_name_it(configure: Configure, host: DataHost) -> None:
    outcome = configure({"url": f"{host.url}/a"}, options=replace(LOOPBACK, schemes=("https",)))
    assert (outcome.reason, host.seen) == ("DataForbidden", [])


@pytest.fixture
def secure() -> Iterator[DataHost]:
    with DataHost(tls=(CERTIFICATE, KEY)) as started:
        yield started


def _https(schemes: set[str] | None = None) -> GuardedHttp:
    return GuardedHttp(
        frozenset(schemes or {"https"}),
        private=True,
        retries=FEW_RETRIES,
        lookup=lambda host, port, **_: [(0, 0, 0, "", ("127.0.0.1", port))],
        tls=ssl.create_default_context(cafile=CERTIFICATE),
    )


def test_https_checks_the_certificate_against_the_name_and_not_the_address(
    configure: Configure, secure: DataHost
) -> None:
    secure.routes["/a"] = File(Held(b"secure"))
    right = configure({"url": f"https://data.example:{secure.port}/a"}, http=_https())
    assert right.read("inputs/0/0") == b"secure"
    wrong = configure({"url": f"https://other.example:{secure.port}/a"}, http=_https())
    assert wrong.message == ("DataUnavailable: inputs/0/0: the server's TLS certificate is not valid for its name")
    assert len(secure.seen) == 1


def test_a_certificate_from_an_unknown_authority_is_refused(configure: Configure, secure: DataHost) -> None:
    outcome = configure({"url": f"{secure.url}/a"})
    assert "TLS certificate" in outcome.message


def test_a_redirect_from_https_to_http_is_refused_unless_http_is_allowed(
    configure: Configure, secure: DataHost, inner: DataHost
) -> None:
    secure.routes["/a"] = _redirect(f"{inner.url}/a")
    url = f"https://data.example:{secure.port}/a"
    assert configure({"url": url}, http=_https()).reason == "DataForbidden"
    assert inner.seen == []
    assert configure({"url": url}, http=_https({"http", "https"})).read("inputs/0/0") == b"inner"


def test_a_post_that_is_redirected_elsewhere_does_not_carry_its_body(host: DataHost, inner: DataHost) -> None:
    host.routes["/a"] = _redirect(f"{inner.url}/a", 303)
    with GuardedHttp(frozenset({"http"}), private=True).request("POST", f"{host.url}/a", body=b"{}") as answer:
        assert b"".join(answer.chunks()) == b"inner"
    assert (inner.seen[0].method, inner.seen[0].body) == ("GET", b"")


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_redirect_to_the_operators_gateway_is_not_trusted(configure: Configure, host: DataHost, status: int) -> None:
    host.routes |= {"/ipfs/bafy": _redirect("/api/v0/repo/gc", status), "/api/v0/repo/gc": File(Held(b"done"))}
    outcome = configure({"url": "ipfs://bafy"}, options=replace(GUARDED, ipfs_gateway=host.url))
    assert (outcome.reason, host.paths()) == ("DataForbidden", ["/ipfs/bafy"])


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirected_post_of_the_operators_node_is_not_trusted(
    configure: Configure, host: DataHost, status: int
) -> None:
    host.routes |= {"/api/v0/cat": _redirect("/api/v0/shutdown", status), "/api/v0/shutdown": File(Held(b"done"))}
    outcome = configure({"url": "ipfs://bafy"}, options=replace(GUARDED, ipfs_gateway=f"{host.url}/api/v0"))
    assert (outcome.reason, host.paths()) == ("DataForbidden", ["/api/v0/cat?arg=bafy"])
