"""Which Providers get the operator's signature."""

import json

import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure
from support.datahost import DataHost, Held
from support.ocean_provider import DDO, KEY, OPERATOR, Provider

from functions.staging.configure.provider import DownloadSigner
from functions.staging.report import StageFailure


def test_a_provider_that_only_the_document_names_gets_no_request(
    configure_listed: Configure, provider: Provider, host: DataHost
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    data = configure_listed(provider.remote(), options=LOOPBACK, credentials=OPERATOR)
    assert (data.code, data.reason) == (31, "DataForbidden")
    assert "fetch.providers" in data.message
    algorithm = configure_listed(algorithm=provider.remote(), options=LOOPBACK, credentials=OPERATOR)
    assert (algorithm.code, algorithm.reason) == (32, "AlgorithmForbidden")
    assert host.seen == []


def test_a_metadata_service_that_the_document_names_cannot_introduce_a_provider(
    configure_listed: Configure, provider: Provider, host: DataHost
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    item = {"id": "did:op:aa", "remote": {"txId": "t", "serviceId": "svc"}}
    outcome = configure_listed(item, output=provider.metadata(host), options=LOOPBACK, credentials=OPERATOR)
    assert (outcome.reason, provider.downloads, provider.questions) == ("DataForbidden", [], [])


@pytest.mark.parametrize(
    "spelling", ["{url}/", "HTTP://127.0.0.1:{port}", "http://user:pass@127.0.0.1:{port}", "http://127.0.0.1:{port}/#x"]
)
def test_an_allowed_provider_may_be_spelled_in_another_way(
    configure_listed: Configure, provider: Provider, host: DataHost, spelling: str
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    endpoint = spelling.format(url=host.url, port=host.port)
    outcome = configure_listed(provider.remote(serviceEndpoint=endpoint), credentials=OPERATOR)
    assert outcome.code == 0, outcome.message
    assert "authorization" not in host.seen[0].headers


@pytest.mark.parametrize("spelling", ["{url}/other", "{url}?x", "https://127.0.0.1:{port}", "http://localhost:{port}"])
def test_another_path_scheme_or_host_is_another_provider(
    configure_listed: Configure, provider: Provider, host: DataHost, spelling: str
) -> None:
    endpoint = spelling.format(url=host.url, port=host.port)
    outcome = configure_listed(provider.remote(serviceEndpoint=endpoint), credentials=OPERATOR)
    assert (outcome.reason, host.seen) == ("DataForbidden", [])


def test_the_operators_metadata_service_names_the_provider_whatever_the_document_says(
    configure_listed: Configure, provider: Provider, host: DataHost
) -> None:
    provider.assets["did:op:aa"] = [Held(b"one")]
    options = replace(LOOPBACK, metadata_uri=provider.metadata(host)["metadataUri"])
    with DataHost() as attacker:
        item = provider.remote(serviceEndpoint=attacker.url)
        outcome = configure_listed(item, output={"metadataUri": attacker.url}, options=options, credentials=OPERATOR)
        assert outcome.read("inputs/aa/0") == b"one"
        assert attacker.seen == []


def test_the_operators_metadata_service_may_have_a_private_address(
    configure_listed: Configure, provider: Provider, host: DataHost
) -> None:
    """The Provider that it names may not, unless the environment allows it."""
    options = replace(LOOPBACK, metadata_uri=provider.metadata(host)["metadataUri"], allow_private_addresses=False)
    outcome = configure_listed(provider.remote(), options=options, credentials=OPERATOR)
    assert outcome.message.startswith("DataForbidden: inputs/aa: 127.0.0.1 is not a public address")
    assert host.paths() == ["/api/aquarius/assets/ddo/did:op:aa"]


def test_the_ddo_of_another_asset_names_no_provider(
    configure_listed: Configure, provider: Provider, host: DataHost
) -> None:
    ddo = json.dumps({**DDO, "id": "did:op:bb"}).replace("PROVIDER", provider.url).encode()
    host.routes["/api/aquarius/assets/ddo/did:op:aa"] = lambda request: request.answer(200, ddo)
    outcome = configure_listed(
        provider.remote(), options=replace(LOOPBACK, metadata_uri=host.url), credentials=OPERATOR
    )
    assert (outcome.reason, provider.questions) == ("DataUnavailable", [])
    assert "another asset" in outcome.message


@pytest.mark.parametrize("id", ["0xOwner", "0xOwner8f6e", "None", "op:did:aa"])
def test_only_dids_are_signed(configure_listed: Configure, provider: Provider, host: DataHost, id: str) -> None:
    """Requests to Sluice's own API are signed over an owner and a job. No document may produce such a signature."""
    outcome = configure_listed(provider.remote(id), credentials=OPERATOR)
    assert (outcome.code, outcome.reason, host.seen) == (31, "DataForbidden", [])
    with pytest.raises(StageFailure, match="not a DID"):
        DownloadSigner(KEY).sign(id)
