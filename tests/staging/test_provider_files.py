"""Ocean's `remote`: files behind a Provider, and the DDOs of the metadata service."""

import json
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure
from support.datahost import DataHost, File, Held, Pattern, Request

from functions import ethereum
from functions.staging.configure.provider import DownloadSigner
from functions.staging.report import StageFailure

KEY = "0xc594c6e5def4bab63ac29eed19a134c130388f74f019bc74b8f4389df2837a58"
ADDRESS = "0xe2DD09d719Da89e5a3D0F2549c7E24566e947260"
OPERATOR = {"OPERATOR_PRIVATE_KEY": KEY}


class Provider:
    """As Ocean's: routes at its root, files listed by `fileinfo`, nonces that must grow."""

    def __init__(self, host: DataHost) -> None:
        self.url = host.url
        self.assets: dict[str, list[Pattern | Held]] = {}
        self.nonce = 0
        self.overtaken = False
        self.downloads: list[dict[str, str]] = []
        self.questions: list[Any] = []
        routes = {"fileinfo": ["POST", "/api/services/fileinfo"], "download": ["GET", "/api/services/download"]}
        host.routes |= {
            "/": lambda r: r.answer(200, json.dumps({"serviceEndpoints": routes}).encode()),
            "/api/services/fileinfo": self.fileinfo,
            "/api/services/download": self.download,
        }

    def fileinfo(self, request: Request) -> None:
        question = json.loads(request.body)
        self.questions.append(question)
        files = self.assets.get(question["did"])
        answer: Any = [{"index": n, "valid": True} for n, _ in enumerate(files or ())]
        request.answer(200, json.dumps(answer if files is not None else {"error": "no such asset"}).encode())

    def download(self, request: Request) -> None:
        asked = {k: v[0] for k, v in parse_qs(urlsplit(request.path).query).items()}
        self.downloads.append(asked)
        signer = ethereum.recover(asked["documentId"] + asked["nonce"], asked["signature"])
        if signer != asked["consumerAddress"].lower():
            return request.answer(400, b'{"error": "Invalid signature"}')
        if self.overtaken or int(asked["nonce"]) <= self.nonce:
            self.overtaken = False
            return request.answer(400, b'{"error": "Invalid signature expected nonce > current nonce"}')
        self.nonce = int(asked["nonce"])
        return File(self.assets[asked["documentId"]][int(asked["fileIndex"])], break_after=1 << 20)(request)


@pytest.fixture
def provider(host: DataHost) -> Provider:
    return Provider(host)


@pytest.fixture
def configure(configure: Configure, host: DataHost) -> Configure:
    """Configure in an environment that lists the Provider."""
    return partial(configure, policy=replace(LOOPBACK, providers=(host.url,)))


def _remote(provider: Provider, did: str = "did:op:aa", **more: Any) -> dict[str, Any]:
    endpoint = {"serviceEndpoint": provider.url}
    return {"id": did, "remote": {"txId": "0xtx", "serviceId": "svc", **endpoint, **more}}


def test_all_files_of_an_asset_are_fetched_with_the_operators_signature(
    configure: Configure, provider: Provider
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one"), Pattern(3 << 20), Held(b"")]
    outcome = configure(_remote(provider), credentials=OPERATOR)
    assert outcome.code == 0, outcome.message
    assert [outcome.read(f"inputs/aa/{n}")[:3] for n in range(3)] == [b"one", b"\0\1\2", b""]
    assert provider.questions == [{"did": "did:op:aa", "serviceId": "svc"}]
    first = next(d for d in provider.downloads if d["fileIndex"] == "0")
    assert (first["consumerAddress"], first["transferTxId"], first["serviceId"]) == (ADDRESS, "0xtx", "svc")
    assert "userdata" not in first
    hashes = {f["path"]: f["sha256"] for f in outcome.json("provenance.json")["files"]}
    assert hashes["inputs/aa/1"] == Pattern(3 << 20).sha256


def test_nonces_grow_across_parallel_downloads(configure: Configure, provider: Provider) -> None:
    provider.assets["did:op:aa"] = [Held(bytes([n])) for n in range(12)]
    assert configure(_remote(provider), credentials=OPERATOR).code == 0
    nonces = [int(d["nonce"]) for d in provider.downloads]
    assert nonces == sorted(set(nonces))
    assert len(nonces) == 12


def test_a_request_whose_nonce_another_job_overtook_is_retried(configure: Configure, provider: Provider) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    provider.overtaken = True
    assert configure(_remote(provider), credentials=OPERATOR).read("inputs/aa/0") == b"one"
    assert len(provider.downloads) == 2


@pytest.mark.parametrize("spelling", ["userdata", "userData", "algouserdata"])
def test_userdata_is_forwarded_in_every_spelling(configure: Configure, provider: Provider, spelling: str) -> None:
    provider.assets |= {"did:op:aa": [Held(b"one")], "did:op:bb": [Held(b"two"), Held(b"three")]}
    outcome = configure(
        _remote(provider, userdata={"a": 1}),
        algorithm=_remote(provider, "did:op:bb", **{spelling: {"b": 2}}),
        credentials=OPERATOR,
    )
    assert outcome.read("transformations/algorithm") == b"two"
    assert outcome.read("transformations/1") == b"three"
    assert {(d["documentId"], d["userdata"]) for d in provider.downloads} == {
        ("did:op:aa", '{"a": 1}'),
        ("did:op:bb", '{"b": 2}'),
    }


def test_userdata_beside_the_algorithm_is_forwarded_too(configure: Configure, provider: Provider) -> None:
    provider.assets["did:op:bb"] = [Held(b"two")]
    algorithm = _remote(provider, "did:op:bb") | {"algouserdata": [1]}
    assert configure(algorithm=algorithm, credentials=OPERATOR).code == 0
    assert provider.downloads[0]["userdata"] == "[1]"


@pytest.mark.parametrize("listed", [None, []], ids=["an error object", "an empty list"])
def test_an_asset_without_files_fails(configure: Configure, provider: Provider, listed: list[Held] | None) -> None:
    if listed is not None:
        provider.assets["did:op:aa"] = list(listed)
    outcome = configure(_remote(provider), credentials=OPERATOR)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")
    assert configure(algorithm=_remote(provider), credentials=OPERATOR).reason == "AlgorithmUnavailable"


@pytest.mark.parametrize("root", [b"", b"<html>", b"[]", b"{}", b'{"serviceEndpoints": {"fileinfo": "x"}}'])
def test_a_server_that_is_not_a_provider_fails(configure: Configure, host: DataHost, root: bytes) -> None:
    host.routes["/"] = lambda request: request.answer(200, root)
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": 0, "serviceEndpoint": host.url}}
    assert configure(item, credentials=OPERATOR).reason == "DataUnavailable"


@pytest.mark.parametrize("key", [None, "hunter2"])
def test_a_missing_or_malformed_operator_key_is_reported_but_not_shown(
    configure: Configure, provider: Provider, key: str | None
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    outcome = configure(_remote(provider), credentials={"OPERATOR_PRIVATE_KEY": key} if key else {})
    assert (outcome.code, outcome.reason) == (31, "NotConfigured")
    assert "OPERATOR_PRIVATE_KEY" in outcome.message
    assert "hunter2" not in outcome.everything_told()


def test_the_log_contains_neither_signature_nor_key(
    configure: Configure, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    with caplog.at_level("INFO"):
        configure(_remote(provider), credentials=OPERATOR)
    assert provider.downloads[0]["signature"][2:] not in caplog.text
    assert KEY[2:] not in caplog.text


DDO = {"id": "did:op:aa", "services": [{"id": "other"}, {"id": "svc", "serviceEndpoint": "PROVIDER"}]}


def _metadata(host: DataHost, provider: Provider) -> dict[str, str]:
    ddo = json.dumps(DDO).replace("PROVIDER", provider.url).encode()
    host.routes["/api/aquarius/assets/ddo/did:op:aa"] = lambda request: request.answer(200, ddo)
    return {"metadataUri": host.url}


@pytest.mark.parametrize("service", ["svc", 1])
def test_without_a_service_endpoint_the_ddo_names_the_provider(
    configure: Configure, host: DataHost, provider: Provider, service: str | int
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": service}}
    outcome = configure(item, output=_metadata(host, provider), credentials=OPERATOR)
    assert outcome.code == 0, outcome.message
    assert outcome.json("ddos/aa")["id"] == "did:op:aa"


@pytest.mark.parametrize("output", [{}, {"metadataUri": "http://127.0.0.1:1"}, {"metadataUri": "HOST"}])
def test_an_asset_with_neither_service_endpoint_nor_ddo_fails(
    configure: Configure, host: DataHost, output: dict[str, str]
) -> None:
    output = {k: v.replace("HOST", host.url) for k, v in output.items()}
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": "svc"}}
    outcome = configure(item, output=output, credentials=OPERATOR)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")


def test_the_ddo_of_a_url_input_is_kept_if_the_service_gives_it(
    configure: Configure, host: DataHost, provider: Provider
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    items = [{"id": f"did:op:{name}", "index": n, "url": f"{host.url}/a"} for n, name in enumerate(("aa", "bb"))]
    outcome = configure(*items, output=_metadata(host, provider))
    assert outcome.code == 0
    assert [name for name in outcome.tree() if name.startswith("ddos/")] == ["ddos/aa"]


def test_a_metadata_service_that_is_down_is_asked_once_and_does_not_fail_the_stage(
    configure: Configure, host: DataHost
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    with DataHost() as service:
        service.routes["/api/aquarius/assets/ddo/did:op:0"] = lambda request: request.answer(503)
        outcome = configure(
            {"id": "did:op:0", "url": f"{host.url}/a"},
            algorithm={"id": "did:op:alg", "rawcode": "1"},
            output={"metadataUri": service.url},
        )
        assert (outcome.code, len(service.seen)) == (0, 1)


# --- who gets the operator's signature ------------------------------------------------------


def test_a_provider_that_only_the_document_names_gets_no_request(
    configure: Configure, provider: Provider, host: DataHost
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    data = configure(_remote(provider), policy=LOOPBACK, credentials=OPERATOR)
    assert (data.code, data.reason) == (31, "DataForbidden")
    assert "fetch.providers" in data.message
    algorithm = configure(algorithm=_remote(provider), policy=LOOPBACK, credentials=OPERATOR)
    assert (algorithm.code, algorithm.reason) == (32, "AlgorithmForbidden")
    assert host.seen == []


def test_a_metadata_service_that_the_document_names_cannot_introduce_a_provider(
    configure: Configure, provider: Provider, host: DataHost
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": "svc"}}
    outcome = configure(item, output=_metadata(host, provider), policy=LOOPBACK, credentials=OPERATOR)
    assert (outcome.reason, provider.downloads, provider.questions) == ("DataForbidden", [], [])


@pytest.mark.parametrize(
    "spelling", ["{url}/", "HTTP://127.0.0.1:{port}", "http://user:pass@127.0.0.1:{port}", "http://127.0.0.1:{port}/#x"]
)
def test_an_allowed_provider_may_be_spelled_in_another_way(
    configure: Configure, provider: Provider, host: DataHost, spelling: str
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    endpoint = spelling.format(url=host.url, port=host.port)
    outcome = configure(_remote(provider, serviceEndpoint=endpoint), credentials=OPERATOR)
    assert outcome.code == 0, outcome.message
    assert "authorization" not in host.seen[0].headers


@pytest.mark.parametrize("spelling", ["{url}/other", "{url}?x", "https://127.0.0.1:{port}", "http://localhost:{port}"])
def test_another_path_scheme_or_host_is_another_provider(
    configure: Configure, provider: Provider, host: DataHost, spelling: str
) -> None:
    endpoint = spelling.format(url=host.url, port=host.port)
    outcome = configure(_remote(provider, serviceEndpoint=endpoint), credentials=OPERATOR)
    assert (outcome.reason, host.seen) == ("DataForbidden", [])


def test_the_operators_metadata_service_names_the_provider_whatever_the_document_says(
    configure: Configure, provider: Provider, host: DataHost
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    policy = replace(LOOPBACK, metadata_uri=_metadata(host, provider)["metadataUri"])
    with DataHost() as attacker:
        item = _remote(provider, serviceEndpoint=attacker.url)
        outcome = configure(item, output={"metadataUri": attacker.url}, policy=policy, credentials=OPERATOR)
        assert outcome.read("inputs/aa/0") == b"one"
        assert attacker.seen == []


def test_the_operators_metadata_service_may_have_a_private_address(
    configure: Configure, provider: Provider, host: DataHost
) -> None:
    """The Provider that it names may not, unless the environment allows it."""
    policy = replace(LOOPBACK, metadata_uri=_metadata(host, provider)["metadataUri"], allow_private_addresses=False)
    outcome = configure(_remote(provider), policy=policy, credentials=OPERATOR)
    assert outcome.message.startswith("DataForbidden: inputs/aa: 127.0.0.1 is not a public address")
    assert host.paths() == ["/api/aquarius/assets/ddo/did:op:aa"]


def test_the_ddo_of_another_asset_names_no_provider(configure: Configure, provider: Provider, host: DataHost) -> None:
    ddo = json.dumps({**DDO, "id": "did:op:bb"}).replace("PROVIDER", provider.url).encode()
    host.routes["/api/aquarius/assets/ddo/did:op:aa"] = lambda request: request.answer(200, ddo)
    outcome = configure(_remote(provider), policy=replace(LOOPBACK, metadata_uri=host.url), credentials=OPERATOR)
    assert (outcome.reason, provider.questions) == ("DataUnavailable", [])
    assert "another asset" in outcome.message


@pytest.mark.parametrize("id", ["0xOwner", "0xOwner8f6e", "None", "op:did:aa"])
def test_only_dids_are_signed(configure: Configure, provider: Provider, host: DataHost, id: str) -> None:
    """Requests to Sluice's own API are signed over an owner and a job. No document may produce such a signature."""
    outcome = configure(_remote(provider, id), credentials=OPERATOR)
    assert (outcome.code, outcome.reason, host.seen) == (31, "DataForbidden", [])
    with pytest.raises(StageFailure, match="not a DID"):
        DownloadSigner(KEY).sign(id)


@pytest.mark.parametrize("answer", [b"[" * 100_000, b'["\\ud800"]', b'[{"index": ' + b"9" * 5000 + b"}]", b"\xff"])
def test_a_hostile_list_of_files_is_a_named_failure(
    configure: Configure, provider: Provider, host: DataHost, answer: bytes
) -> None:
    host.routes["/api/services/fileinfo"] = lambda request: request.answer(200, answer)
    outcome = configure(_remote(provider), credentials=OPERATOR)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")


def test_a_provider_that_redirects_the_question_for_its_files_elsewhere_is_refused(
    configure: Configure, provider: Provider, host: DataHost
) -> None:
    host.routes["/api/services/fileinfo"] = lambda r: r.answer(
        307, Location=f"http://localhost:{host.port}/api/v0/shutdown"
    )
    outcome = configure(_remote(provider), credentials=OPERATOR)
    assert outcome.message == "DataForbidden: inputs/aa: the server redirects a POST to another host"
    assert "/api/v0/shutdown" not in host.paths()
