"""Ocean's `remote`: files behind a Provider, and the DDOs of the metadata service."""

import pytest
from support.configuring import Configure
from support.datahost import DataHost, File, Held, Pattern
from support.ocean_provider import ADDRESS, KEY, OPERATOR, Provider


def test_all_files_of_an_asset_are_fetched_with_the_operators_signature(
    configure_listed: Configure, provider: Provider
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one"), Pattern(3 << 20), Held(b"")]
    outcome = configure_listed(provider.remote(), credentials=OPERATOR)
    assert outcome.code == 0, outcome.message
    assert [outcome.read(f"inputs/aa/{n}")[:3] for n in range(3)] == [b"one", b"\0\1\2", b""]
    assert provider.questions == [{"did": "did:op:aa", "serviceId": "svc"}]
    first = next(d for d in provider.downloads if d["fileIndex"] == "0")
    assert (first["consumerAddress"], first["transferTxId"], first["serviceId"]) == (ADDRESS, "0xtx", "svc")
    assert "userdata" not in first
    hashes = {f["path"]: f["sha256"] for f in outcome.json("provenance.json")["files"]}
    assert hashes["inputs/aa/1"] == Pattern(3 << 20).sha256


def test_nonces_grow_across_parallel_downloads(configure_listed: Configure, provider: Provider) -> None:
    provider.assets["did:op:aa"] = [Held(bytes([n])) for n in range(12)]
    assert configure_listed(provider.remote(), credentials=OPERATOR).code == 0
    nonces = [int(d["nonce"]) for d in provider.downloads]
    assert nonces == sorted(set(nonces))
    assert len(nonces) == 12


def test_a_request_whose_nonce_another_job_overtook_is_retried(configure_listed: Configure, provider: Provider) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    provider.overtaken = True
    assert configure_listed(provider.remote(), credentials=OPERATOR).read("inputs/aa/0") == b"one"
    assert len(provider.downloads) == 2


@pytest.mark.parametrize("spelling", ["userdata", "userData", "algouserdata"])
def test_userdata_is_forwarded_in_every_spelling(
    configure_listed: Configure, provider: Provider, spelling: str
) -> None:
    provider.assets |= {"did:op:aa": [Held(b"one")], "did:op:bb": [Held(b"two"), Held(b"three")]}
    outcome = configure_listed(
        provider.remote(userdata={"a": 1}),
        algorithm=provider.remote("did:op:bb", **{spelling: {"b": 2}}),
        credentials=OPERATOR,
    )
    assert outcome.read("transformations/algorithm") == b"two"
    assert outcome.read("transformations/1") == b"three"
    assert {(d["documentId"], d["userdata"]) for d in provider.downloads} == {
        ("did:op:aa", '{"a": 1}'),
        ("did:op:bb", '{"b": 2}'),
    }


def test_userdata_beside_the_algorithm_is_forwarded_too(configure_listed: Configure, provider: Provider) -> None:
    provider.assets["did:op:bb"] = [Held(b"two")]
    algorithm = provider.remote("did:op:bb") | {"algouserdata": [1]}
    assert configure_listed(algorithm=algorithm, credentials=OPERATOR).code == 0
    assert provider.downloads[0]["userdata"] == "[1]"


@pytest.mark.parametrize("listed", [None, []], ids=["an error object", "an empty list"])
def test_an_asset_without_files_fails(
    configure_listed: Configure, provider: Provider, listed: list[Held] | None
) -> None:
    if listed is not None:
        provider.assets["did:op:aa"] = list(listed)
    outcome = configure_listed(provider.remote(), credentials=OPERATOR)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")
    assert configure_listed(algorithm=provider.remote(), credentials=OPERATOR).reason == "AlgorithmUnavailable"


@pytest.mark.parametrize("root", [b"", b"<html>", b"[]", b"{}", b'{"serviceEndpoints": {"fileinfo": "x"}}'])
def test_a_server_that_is_not_a_provider_fails(configure_listed: Configure, host: DataHost, root: bytes) -> None:
    host.routes["/"] = lambda request: request.answer(200, root)
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": 0, "serviceEndpoint": host.url}}
    assert configure_listed(item, credentials=OPERATOR).reason == "DataUnavailable"


@pytest.mark.parametrize("key", [None, "hunter2"])
def test_a_missing_or_malformed_operator_key_is_reported_but_not_shown(
    configure_listed: Configure, provider: Provider, key: str | None
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    outcome = configure_listed(provider.remote(), credentials={"OPERATOR_PRIVATE_KEY": key} if key else {})
    assert (outcome.code, outcome.reason) == (31, "NotConfigured")
    assert "OPERATOR_PRIVATE_KEY" in outcome.message
    assert "hunter2" not in outcome.everything_told()


def test_the_log_contains_neither_signature_nor_key(
    configure_listed: Configure, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    with caplog.at_level("INFO"):
        configure_listed(provider.remote(), credentials=OPERATOR)
    assert provider.downloads[0]["signature"][2:] not in caplog.text
    assert KEY[2:] not in caplog.text


@pytest.mark.parametrize("service", ["svc", 1])
def test_without_a_service_endpoint_the_ddo_names_the_provider(
    configure_listed: Configure, host: DataHost, provider: Provider, service: str | int
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": service}}
    outcome = configure_listed(item, output=provider.metadata(host), credentials=OPERATOR)
    assert outcome.code == 0, outcome.message
    assert outcome.json("ddos/aa")["id"] == "did:op:aa"


@pytest.mark.parametrize("output", [{}, {"metadataUri": "http://127.0.0.1:1"}, {"metadataUri": "HOST"}])
def test_an_asset_with_neither_service_endpoint_nor_ddo_fails(
    configure_listed: Configure, host: DataHost, output: dict[str, str]
) -> None:
    output = {k: v.replace("HOST", host.url) for k, v in output.items()}
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": "svc"}}
    outcome = configure_listed(item, output=output, credentials=OPERATOR)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")


def test_the_ddo_of_a_url_input_is_kept_if_the_service_gives_it(
    configure_listed: Configure, host: DataHost, provider: Provider
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    items = [{"id": f"did:op:{name}", "index": n, "url": f"{host.url}/a"} for n, name in enumerate(("aa", "bb"))]
    outcome = configure_listed(*items, output=provider.metadata(host))
    assert outcome.code == 0
    assert [name for name in outcome.tree() if name.startswith("ddos/")] == ["ddos/aa"]


def test_a_metadata_service_that_is_down_is_asked_once_and_does_not_fail_the_stage(
    configure_listed: Configure, host: DataHost
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    with DataHost() as service:
        service.routes["/api/aquarius/assets/ddo/did:op:0"] = lambda request: request.answer(503)
        outcome = configure_listed(
            {"id": "did:op:0", "url": f"{host.url}/a"},
            algorithm={"id": "did:op:alg", "rawcode": "1"},
            output={"metadataUri": service.url},
        )
        assert (outcome.code, len(service.seen)) == (0, 1)


@pytest.mark.parametrize("answer", [b"[" * 100_000, b'["\\ud800"]', b'[{"index": ' + b"9" * 5000 + b"}]", b"\xff"])
def test_a_hostile_list_of_files_is_a_named_failure(
    configure_listed: Configure, provider: Provider, host: DataHost, answer: bytes
) -> None:
    host.routes["/api/services/fileinfo"] = lambda request: request.answer(200, answer)
    outcome = configure_listed(provider.remote(), credentials=OPERATOR)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")


def test_a_provider_that_redirects_the_question_for_its_files_elsewhere_is_refused(
    configure_listed: Configure, provider: Provider, host: DataHost
) -> None:
    host.routes["/api/services/fileinfo"] = lambda r: r.answer(
        307, Location=f"http://localhost:{host.port}/api/v0/shutdown"
    )
    outcome = configure_listed(provider.remote(), credentials=OPERATOR)
    assert outcome.message == "DataForbidden: inputs/aa: the server redirects a POST to another host"
    assert "/api/v0/shutdown" not in host.paths()
