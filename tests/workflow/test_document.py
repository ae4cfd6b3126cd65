"""Documents at the door: what is accepted, and what is said about what is not."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.workflow.document import SCHEMES, DocumentError, parse
from functions.workflow.environment import Environment, grant
from functions.workflow.quantity import parse_quantity
from functions.workflow.stage_options import GIB

PROVIDERS_OWN: dict[str, Any] = {  # the Provider's recorded POST body, its workflow
    "stages": [
        {
            "index": 0,
            "input": [{"index": 0, "id": "did:op:1", "remote": {"txId": "0xtx1795315035023807451", "serviceId": "s"}}],
            "compute": {"Instances": 1, "namespace": "ocean-compute", "maxtime": 3600},
            "algorithm": {
                "id": "",
                "url": None,
                "rawcode": "console.log('hello world')",
                "container": {"checksum": "sha256:abc", "entrypoint": "node $ALGO", "image": "node", "tag": "10"},
            },
            "output": {"metadataUri": "http://127.0.0.1:5000"},
        }
    ]
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The Provider's document with one value changed; `path` like `input.0.url`, from the stage."""
    document = copy.deepcopy(PROVIDERS_OWN)
    *steps, last = path.split(".")
    at: Any = document["stages"][0]
    for step in steps:
        at = at[int(step)] if step.isdigit() else at[step]
    at[int(last) if last.isdigit() else last] = value
    return document


def refusal(document: Any, **options: Any) -> DocumentError:
    with pytest.raises(DocumentError) as refused:
        parse(document, **options)
    return refused.value


def test_what_the_provider_sends_is_accepted() -> None:
    stage = parse(PROVIDERS_OWN).stage
    assert stage.algorithm.container.reference == "node@sha256:abc"
    assert stage.input[0].folder == "1"
    assert stage.compute.maxtime == 3600


def test_fields_that_nothing_reads_are_dropped() -> None:
    output = {"nodeUri": "https://nile", "brizoUri": 7, "whitelist": ["0x0"], "metadataUri": "https://aquarius"}
    assert parse(changed("output", output)).stage.output.metadataUri == "https://aquarius"


@pytest.mark.parametrize("rawcode", ["x", "print(1)", "é" * 100_000])
def test_rawcode_of_any_length_is_an_algorithm(rawcode: str) -> None:
    assert parse(changed("algorithm.rawcode", rawcode)).stage.algorithm.rawcode == rawcode


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("input.0.id", "../../etc", "$.stages[0].input[0].id"),
        ("input.0.id", "a/b", "$.stages[0].input[0].id"),
        ("input.0.id", "a..b", "$.stages[0].input[0].id"),
        ("input.0.id", "a\nb", "$.stages[0].input[0].id"),
        ("input.0.id", ".hidden", "$.stages[0].input[0].id"),
        ("input.0.id", "algoCustomData.json", "$.stages[0].input[0].id"),
        ("input.0.id", "x" * 201, "$.stages[0].input[0].id"),
        ("input.0.id", "did:op:" + "x" * 201, "$.stages[0].input[0].id"),
        ("input.0.id", "did:op:.", "$.stages[0].input[0].id"),
        ("input.0.id", "did:op:.hidden", "$.stages[0].input[0].id"),
        ("input.0.id", "did:op:", "$.stages[0].input[0].id"),
        ("algorithm.id", "did:op:.", "$.stages[0].algorithm.id"),
        ("input.0", {"index": 10**300, "url": "https://data.example/a"}, "$.stages[0].input[0].index"),
        ("input.0", {"index": -1, "url": "https://data.example/a"}, "$.stages[0].input[0].index"),
        ("input.0.remote", None, "$.stages[0].input[0]"),
        ("input.0.remote", {"serviceId": "s"}, "$.stages[0].input[0].remote.txId"),
        ("input.0.url", "https://both.example/x", "$.stages[0].input[0]"),
        ("algorithm.rawcode", "", "$.stages[0].algorithm"),
        ("algorithm.rawcode", 7, "$.stages[0].algorithm.rawcode"),
        ("algorithm.container.entrypoint", " ", "$.stages[0].algorithm.container.entrypoint"),
        ("algorithm.container.entrypoint", "é" * 4097, "$.stages[0].algorithm.container.entrypoint"),
        ("algorithm.container.entrypoint", "a\nb", "$.stages[0].algorithm.container.entrypoint"),
        ("algorithm.container.image", "UPPER", "$.stages[0].algorithm.container.image"),
        ("algorithm.container.image", "a b", "$.stages[0].algorithm.container.image"),
        ("algorithm.container.image", "-rm", "$.stages[0].algorithm.container.image"),
        ("algorithm.container.tag", "a b", "$.stages[0].algorithm.container.tag"),
        ("algorithm.container", {"image": "node"}, "$.stages[0].algorithm.container"),
        ("compute.maxtime", 0, "$.stages[0].compute.maxtime"),
        ("compute.maxtime", "1h", "$.stages[0].compute.maxtime"),
        ("output.publicKey", "ssh-rsa AAAA", "$.stages[0].output.publicKey"),
        ("output.metadataUri", "gopher://x", "$.stages[0].output.metadataUri"),
    ],
)
def test_a_bad_value_is_refused_with_its_place(path: str, value: Any, where: str) -> None:
    error = refusal(changed(path, value))
    assert error.path == where
    assert error.expected


@pytest.mark.parametrize("id", ["a", "did:op:a", "did:op:" + "x" * 200, "did:op:did:op:a", "urn:x-1._"])
def test_an_id_names_a_folder(id: str) -> None:
    assert parse(changed("input.0.id", id)).stage.input[0].folder == id.removeprefix("did:op:")


def test_what_is_missing_is_named() -> None:
    document = copy.deepcopy(PROVIDERS_OWN)
    del document["stages"][0]["algorithm"]["container"]["entrypoint"]
    assert refusal(document).expected == "the field `entrypoint`"
    assert refusal(changed("input", "x")).expected == "`array`, got `str`"


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://h/x", "gopher://h", "javascript:1", "http://", "https://h/a b", "https://h:99999/", "https://h/\x00"),
        *("x", "s3://b:80/x", "gs://b:/x", "file://h/x", "file:x"),
    ],
)
def test_urls_that_cannot_be_fetched_are_refused(url: str) -> None:
    document = changed("input.0", {"id": "d", "url": ["https://ok.example/1", url]})
    assert refusal(document).path == "$.stages[0].input[0].url[1]"


def test_only_the_schemes_of_this_deployment_are_accepted() -> None:
    document = changed("input.0", {"id": "d", "url": "file:///etc/passwd"})
    assert parse(document)
    assert "file" not in refusal(document, schemes=SCHEMES - {"file"}).expected.split()


def test_two_inputs_cannot_share_a_folder() -> None:
    twice = [{"id": "did:op:a", "url": "https://h/1"}, {"id": "a", "url": "https://h/2"}]
    assert refusal(changed("input", twice)).path == "$.stages[0].input[1].id"


def test_checksums_belong_to_urls_one_by_one() -> None:
    digest = "a" * 64
    assert parse(changed("input.0", {"id": "d", "url": "https://h/1", "checksum": f"sha256:{digest}"}))
    assert refusal(changed("input.0", {"id": "d", "url": "https://h/1", "checksum": "md5:1"})).path.endswith(
        "checksum[0]"
    )
    two = {"id": "d", "url": "https://h/1", "checksum": [digest, digest]}
    assert refusal(changed("input.0", two)).expected == "as many checksums as URLs"


def test_an_algorithm_may_have_several_urls_with_a_checksum_each() -> None:
    digest = "a" * 64
    container = PROVIDERS_OWN["stages"][0]["algorithm"]["container"]
    urls = {"container": container, "url": ["https://h/1", "https://h/2"]}
    assert parse(changed("algorithm", urls | {"checksum": [digest, digest]})).stage.algorithm.urls[1] == "https://h/2"
    for wrong, where in (
        ({"checksum": digest}, "checksum"),
        ({"checksum": [digest, "md5:1"]}, "checksum[1]"),
        ({"url": ["https://h/1", "gopher://h"]}, "url[1]"),
        ({"url": []}, ""),
        ({"url": "", "rawcode": "1", "checksum": [digest, digest]}, "checksum"),
    ):
        path = refusal(changed("algorithm", urls | wrong)).path
        assert path == ".".join(filter(None, ("$.stages[0].algorithm", where)))


@pytest.mark.parametrize("stages", [[], [PROVIDERS_OWN["stages"][0]] * 2, None, {}])
def test_there_is_one_stage(stages: Any) -> None:
    assert refusal({"stages": stages}).path == "$.stages"


def test_a_document_nested_beyond_reason_is_refused_before_anything_reads_it() -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    assert "levels" in refusal(changed("algorithm.algocustomdata", deep)).expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=4),
    max_leaves=20,
)
PATHS = ["input", "input.0", "input.0.id", "algorithm", "algorithm.container", "algorithm.url", "compute", "output"]


@given(st.sampled_from(PATHS), json_values)
def test_any_json_is_accepted_or_refused_with_a_place_and_never_fails_otherwise(path: str, value: Any) -> None:
    try:
        definition = parse(changed(path, value))
    except DocumentError as e:
        assert e.path.startswith("$")  # noqa: PT017 - either way out is fine, another exception is not
    else:
        for item in definition.stage.input:
            assert "/" not in item.folder
            assert item.folder not in ("", ".", "..")


@given(json_values)
def test_anything_at_all_as_a_document(value: Any) -> None:
    with pytest.raises(DocumentError):
        parse(value)


# --- what is granted ------------------------------------------------------------------------


def test_what_is_asked_for_is_granted_up_to_the_environments_limits() -> None:
    environment = Environment(id="e", cpu_number=2, ram_gb=4, max_job_duration=600, gpu_number=1)
    asked = {"maxtime": 60, "resources": {"requests_cpu": "500m", "requests_memory": "512Mi", "gpus": 0}}
    limits = grant(environment, parse(changed("compute", asked)))
    assert (limits.algorithm_seconds, limits.cpu, limits.memory, limits.gpus) == (60, 0.5, 512 << 20, 0)
    greedy = {"maxtime": 9999, "resources": {"requests_cpu": 64, "requests_memory": "1Ti", "gpus": 8}}
    limits = grant(environment, parse(changed("compute", greedy)))
    assert (limits.algorithm_seconds, limits.cpu, limits.memory, limits.gpus) == (600, 2, 4 * GIB, 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requests_cpu", "many"),
        ("requests_memory", "lots"),
        ("requests_cpu", "-1"),
        # Kubernetes reads 0, and what it rounds to 0, as no limit.
        ("requests_cpu", "0.1m"),
        ("requests_cpu", 0.0009),
        ("requests_memory", "0.5"),
        ("requests_memory", "15Mi"),
    ],
)
def test_resources_that_are_no_quantities_or_next_to_nothing_are_refused_at_the_door(
    field: str, value: str | float
) -> None:
    error = refusal(changed("compute", {"resources": {field: value}}))
    assert error.path == f"$.stages[0].compute.resources.{field}"
    assert "at least `1" in error.expected


quantities = st.builds(
    "{}{}".format,
    st.floats(0, 1e6, allow_subnormal=False).map(lambda value: f"{value:.9f}"),
    st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi"]),
)


@given(quantities, quantities)
def test_nobody_can_ask_his_limits_away(cpu: str, memory: str) -> None:
    asked = {"resources": {"requests_cpu": cpu, "requests_memory": memory}}
    try:
        definition = parse(changed("compute", asked))
    except DocumentError:
        return
    limits = grant(Environment(id="e", cpu_number=2, ram_gb=4), definition)
    assert (0.001 <= limits.cpu <= 2, 16 << 20 <= limits.memory <= 4 * GIB) == (True, True)


@pytest.mark.parametrize(("text", "size"), [("1Gi", 1 << 30), ("1.5Gi", 3 << 29), ("2G", 2 * 10**9), ("10", 10)])
def test_quantities_are_kubernetes_own(text: str, size: int) -> None:
    assert parse_quantity(text) == size


def test_chain_ids_compare_as_numbers() -> None:
    environment = Environment(id="e", allowed_chain_id=(8996,))
    assert environment.accepts_chain("8996")
    assert environment.accepts_chain(8996)
    assert not environment.accepts_chain(1)
    assert Environment(id="e").accepts_chain(None)


def test_a_parsed_document_survives_its_own_encoding() -> None:
    import msgspec

    definition = parse(PROVIDERS_OWN)
    assert parse(json.loads(msgspec.json.encode(definition))) == definition
