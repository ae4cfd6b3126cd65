"""Configure fetches for strangers; it must not become their way inside (SSRF)."""

import socket
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.configuring import FEW_RETRIES, LOOPBACK, Configure
from support.datahost import DataHost, File, Held, endless

from functions.staging.addresses import is_public, resolve
from functions.staging.guarded_http import GuardedHttp
from functions.staging.report import StageFailure
from functions.staging.retry import TransientError
from functions.untrusted import parse_url

GUARDED = replace(LOOPBACK, allow_private_addresses=False)
INSIDE = [
    *("0.0.0.0", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.1", "192.0.0.192", "198.18.0.1", "192.0.2.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.88.99.1"),
    "168.63.129.16",
    *("::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "2600::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1"),
    *("ff02::1", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "100::1", "3fff::1", "5f00::1", "4000::1"),
    "no-address",
]


OUTSIDE = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_internal_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_a_mapping_is_as_public_as_the_address_inside_it(number: int) -> None:
    plain = IPv4Address(number)
    mapped = ip_address(0xFFFF << 32 | number)
    translated = ip_address(0x64FF9B << 96 | number)
    assert is_public(str(mapped)) == is_public(str(translated)) == is_public(str(plain))


SPELLINGS = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1", "0", "localhost"),
    *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]", "LOCALHOST", "localhost.", "127.0.0.1."),
    *("①②⑦.0.0.1", "127。0。0。1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "169.254.169.254"),
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_an_internal_address_is_fetched(configure: Configure, host: DataHost, spelling: str) -> None:
    outcome = configure({"url": f"http://{spelling}:{host.port}/a"}, options=GUARDED)
    assert outcome.code == 31
    assert outcome.reason in ("DataForbidden", "DataUnavailable")  # unavailable: the resolver does not know it
    assert host.seen == []


@pytest.mark.parametrize("spelling", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
def test_a_refused_address_has_its_own_reason_and_is_not_retried(
    configure: Configure, host: DataHost, spelling: str
) -> None:
    outcome = configure({"url": f"http://{spelling}:{host.port}/a"}, options=GUARDED)
    assert outcome.reason == "DataForbidden"


@pytest.mark.parametrize(
    "url",
    [
        "http://data.example\\@127.0.0.1/",
        "http://data.example#@127.0.0.1/",
        "http://127.0.0.1?@data.example/",
        "http://data.example:80@127.0.0.1/",
    ],
)
def test_the_checked_host_is_the_host_that_is_connected_to(url: str) -> None:
    judged: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        judged.append(host)
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    with (
        pytest.raises(StageFailure, match="not a public address"),
        GuardedHttp(frozenset({"http"}), lookup=lookup).request("GET", url),
    ):
        pass
    assert judged == [parse_url(url).host]


def test_one_internal_address_among_public_ones_refuses_the_host() -> None:
    def lookup(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        return [(0, 0, 0, "", (address, port)) for address in ("8.8.8.8", "10.0.0.1")]

    with pytest.raises(StageFailure) as caught:
        resolve("two.example", 80, private=False, lookup=lookup)
    assert caught.value.reason == "DataForbidden"


def test_a_name_without_an_address_may_get_one_later() -> None:
    with pytest.raises(TransientError) as caught:
        resolve("none.example", 80, private=False, lookup=lambda *_, **__: [])
    assert caught.value.absent


class Rebinding:
    """A name server that answers differently the second time."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.answers[len(self.asked) - 1], port))]


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_checked_address(host: DataHost) -> None:
    host.routes["/a"] = File(Held(b"one"))
    rebinding = Rebinding("127.0.0.1")  # a second look-up would be an IndexError
    http = GuardedHttp(frozenset({"http"}), private=True, lookup=rebinding)
    with http.request("GET", f"http://data.example:{host.port}/a") as answer:
        assert b"".join(answer.chunks()) == b"one"
    assert rebinding.asked == ["data.example"]
    assert host.seen[0].headers["host"] == f"data.example:{host.port}"


def test_a_name_that_becomes_internal_between_two_connections_is_refused(
    configure: Configure, host: DataHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    rebinding = Rebinding("198.51.100.7", "127.0.0.1")
    # The first answer counts as public here, and nobody is there: connecting to it fails at once.
    monkeypatch.setattr("functions.staging.addresses.is_public", lambda address: address == "198.51.100.7")
    monkeypatch.setattr("urllib3.util.connection.create_connection", _unreachable)
    outcome = configure(
        {"url": f"http://data.example:{host.port}/a"},
        http=GuardedHttp(frozenset({"http"}), retries=FEW_RETRIES, lookup=rebinding),
    )
    assert (outcome.reason, len(rebinding.asked), host.seen) == ("DataForbidden", 2, [])


def _unreachable(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
    assert address[0] == "198.51.100.7"
    raise OSError("unreachable")


def test_an_answer_above_its_size_limit_is_refused(host: DataHost) -> None:
    host.routes["/a"] = endless
    with pytest.raises(StageFailure, match="more than 1000 bytes"):
        GuardedHttp(frozenset({"http"}), private=True).read("GET", f"{host.url}/a", limit=1000)


@pytest.mark.parametrize("path", ["/api/v0/repo/gc", "/api/v0/shutdown", "/ipfs/bafy", "/"])
def test_a_document_url_at_the_operators_gateway_is_not_trusted(
    configure: Configure, host: DataHost, path: str
) -> None:
    host.routes[path] = File(Held(b"done"))
    for gateway in ({"ipfs_gateway": host.url}, {"ipfs_gateway": f"{host.url}/api/v0"}, {"arweave_gateway": host.url}):
        outcome = configure({"url": f"{host.url}{path}"}, options=replace(GUARDED, **gateway))
        assert (outcome.reason, host.seen) == ("DataForbidden", [])


@pytest.mark.parametrize(
    "url",
    [
        *("ipfs://bafy/../../api/v0/shutdown", "ipfs://bafy/%2e%2e/x", "ipfs://../api/v0/shutdown", "ipfs://bafy//x"),
        *("ipfs://bafy/a%2f..%2fb", "ipfs://bafy/a\\..\\b", "ipfs://user@host/x", "ipfs://a:1/x", "ipfs://bafy/%00"),
        *("ar://graphql", "ar://metrics", "ar://ar-io/admin/queue", f"ar://{'x' * 43}/../mine", f"ar://{'x' * 44}"),
    ],
)
def test_only_content_ids_and_paths_below_them_are_asked_of_a_gateway(
    configure: Configure, host: DataHost, url: str
) -> None:
    options = replace(GUARDED, ipfs_gateway=host.url, arweave_gateway=host.url)
    outcome = configure({"url": url}, options=options)
    assert (outcome.code, host.seen) == (31, [])


def test_an_operators_node_of_ipfs_gets_the_whole_path_as_one_argument(configure: Configure, host: DataHost) -> None:
    host.routes["/api/v0/cat"] = File(Held(b"one"))
    outcome = configure({"url": "ipfs://bafy/a&b=c%26d"}, options=replace(GUARDED, ipfs_gateway=f"{host.url}/api/v0"))
    assert (outcome.code, host.paths()) == (0, ["/api/v0/cat?arg=bafy%2Fa%26b%3Dc%26d"])
