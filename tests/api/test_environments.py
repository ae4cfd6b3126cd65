"""The environments: from a file, or from operator-engine's variables; and how they are announced."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from support.api import Api

from functions import ethereum
from functions.environments import load, schema
from functions.settings import Settings
from functions.variables import SettingsError
from functions.workflow.environment import Environment
from functions.workflow.stage_options import FetchOptions, PublishOptions

ROOT = Path(__file__).parents[2]
KEY = "0x" + "33" * 32
CONFIG_MAPS = sorted(
    str(file.relative_to(ROOT))
    for file in (ROOT / "knative").rglob("*.yaml")
    if "environments.yaml: |" in file.read_text()
)


def from_file(folder: Path, content: str, **environ: str) -> dict[str, Environment]:
    path = folder / "environments.yaml"
    path.write_text(content)
    return load(Settings.load({"ENVIRONMENTS_FILE": str(path), **environ}))


def from_variables(**environ: str) -> Environment:
    (environment,) = load(Settings.load(environ)).values()
    return environment


def test_without_a_file_there_is_operator_engines_one_environment() -> None:
    environment = from_variables(
        nCPU="2",
        ramGB="4",
        diskGB="8",
        nGPU="1",
        cpuType="Xeon",
        gpuType="A100",
        priceMinute="0.5",
        description="fast",
        maxJobs="3",
        STORAGE_EXPIRY="60",
        maxJobDuration="600",
        ALGO_POD_TIMEOUT="3600",
        STORAGE_CLASS="gp2",
        NODE_SELECTOR="compute",
        PULL_SECRET="registry",
        PULL_POLICY="Never",
        FILTERING_CONTAINER="filter:1",
        DEFAULT_NAMESPACE="withgpu",
        OPERATOR_PRIVATE_KEY=KEY,
    )
    expected = {
        "id": "withgpu",
        "cpu_number": 2,
        "ram_gb": 4,
        "disk_gb": 8,
        "gpu_number": 1,
        "cpu_type": "Xeon",
        "gpu_type": "A100",
        "price_min": 0.5,
        "desc": "fast",
        "max_jobs": 3,
        "storage_expiry": 60,
        "max_job_duration": 600,
        "storage_class": "gp2",
        "node_selector": {"scope": "compute"},
        "pull_secret": "registry",
        "pull_policy": "Never",
        "filter_image": "filter:1",
        "consumer_address": ethereum.address(KEY),
    }
    assert {name: getattr(environment, name) for name in expected} == expected


def test_without_any_variable_operator_engines_defaults_hold() -> None:
    environment = from_variables()
    expected = Environment(id="ocean-compute", max_jobs=10, max_job_duration=60, pull_policy="Always")
    assert environment == expected
    assert from_variables(ALGO_POD_TIMEOUT="3600").max_job_duration == 3600


def test_the_documented_example_loads_and_shows_every_key(tmp_path: Path) -> None:
    text = (ROOT / "docs/environments.md").read_text()
    found = re.search(r"```yaml\n(- id: .*?)```", text, re.DOTALL)
    assert found is not None
    environments = from_file(tmp_path, found[1])
    assert list(environments) == ["ocean-compute", "second-environment"]
    shown = yaml.safe_load(found[1])[0]
    for content, kind in ((shown, Environment), (shown["fetch"], FetchOptions), (shown["publish"], PublishOptions)):
        keys = {field.encode_name for field in msgspec.structs.fields(kind)}
        assert set(content) == keys, "the example shows every key"


@pytest.mark.parametrize("file", CONFIG_MAPS)
def test_the_environments_of_a_cluster_load(tmp_path: Path, file: str) -> None:
    config_map = yaml.safe_load((ROOT / file).read_text())
    assert from_file(tmp_path, config_map["data"]["environments.yaml"])


def test_a_missing_consumer_address_comes_from_the_operators_key_or_address(tmp_path: Path) -> None:
    assert from_file(tmp_path, "- id: a", OPERATOR_ADDRESS="0xabc")["a"].consumer_address == "0xabc"
    assert from_file(tmp_path, "- id: a", OPERATOR_PRIVATE_KEY=KEY)["a"].consumer_address == ethereum.address(KEY)
    assert from_file(tmp_path, "- {id: a, consumerAddress: x}", OPERATOR_ADDRESS="y")["a"].consumer_address == "x"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a: [", "is not YAML"),
        ("environments: []", "must hold a list of at least one environment"),
        ("[]", "must hold a list of at least one environment"),
        ("- desc: x", "environments[0].id is missing"),
        ("- text", "environments[0] must be a mapping, not text"),
        ("- {id: a, maxjobs: 3}", "environments[0].maxjobs is not a known key; did you mean maxJobs?"),
        ("- {id: a, max_jobs: 3}", "environments[0].max_jobs is not a known key; did you mean maxJobs?"),
        (
            "- id: a\n- {id: b, fetch: {max_bytes: 1}}",
            "environments[1].fetch.max_bytes is not a known key; did you mean maxBytes?",
        ),
        ("- {id: a, colour: red}", "environments[0].colour is not a known key"),
        ("- {id: a, 5: 3}", "environments[0] (a key) must be text"),
        ("- {id: a, ramGB: many}", "environments[0].ramGB must be a number, not text"),
        ("- {id: a, maxJobs: 1.5}", "environments[0].maxJobs must be a whole number, not a number"),
        ("- {id: a, fetch: }", "environments[0].fetch has no value; give it one or remove the key"),
        ("- {id: a, nodeSelector: {pool: 1}}", "environments[0].nodeSelector[...] must be text, not a whole number"),
        ("- {id: a, tolerations: [{key: []}]}", "environments[0].tolerations[0][...] must be a whole number or text"),
        ("- id: a\n  maxJobs: 3\n  maxJobs: 4", "is not YAML: line 3: the key 'maxJobs' is given twice in one mapping"),
        (
            "- {id: a, fetch: {maxBytes: 3, maxBytes: 4}}",
            "is not YAML: line 1: the key 'maxBytes' is given twice in one mapping",
        ),
        ("- {id: a}\n- {id: a}", "environments[1].id 'a' is taken by an earlier environment"),
        ("- {id: ''}", "environments[0].id must not be empty"),
        ("- {id: ' '}", "environments[0].id must not be empty"),
        ("- {id: a, cpuNumber: 0}", "environments[0].cpuNumber must be above 0"),
        ("- {id: a, cpuNumber: 0.0001}", "environments[0].cpuNumber must be at least 0.001"),
        ("- {id: a, ramGB: 0.01}", "environments[0].ramGB must be at least 0.016"),
        ("- {id: a, diskGB: .inf}", "environments[0].diskGB must be a finite number"),
        ("- {id: a, maxJobs: -1}", "environments[0].maxJobs must be at least 0"),
        ("- {id: a, storageExpiry: 1000000001}", "environments[0].storageExpiry must be at most 1000000000"),
        ("- {id: a, publish: {maxFiles: 0}}", "environments[0].publish.maxFiles must be at least 1"),
        ("- {id: a, pullPolicy: sometimes}", "environments[0].pullPolicy must be one of Always, IfNotPresent, Never"),
        (
            '- {id: a, tes: {outputs: ["s3://b/", "s3://{owner}/"]}}',
            "environments[0].tes.outputs[1] must name a bucket, a host or a folder before {owner}, such as s3://bucket/",
        ),
        ('- {id: a, tes: {outputs: ["file:///{owner}"]}}', "environments[0].tes.outputs[0] must name a bucket, a host"),
        (
            '- {id: a, tes: {outputs: ["s3://b/x-{owner}"]}}',
            "environments[0].tes.outputs[0] must have {owner} as a whole",
        ),
        (
            '- {id: a, tes: {outputs: ["s3://b/{Owner}"]}}',
            "environments[0].tes.outputs[0] must have {owner} as a whole",
        ),
        (
            '- {id: a, tes: {outputs: ["b/x"]}}',
            "environments[0].tes.outputs[0] must be a URL with one of the schemes az, file",
        ),
        (
            '- {id: a, tes: {outputs: ["s4://b/x"]}}',
            "environments[0].tes.outputs[0] must be a URL with one of the schemes",
        ),
        (
            '- {id: a, tes: {outputs: ["s3:///x"]}}',
            "environments[0].tes.outputs[0] must be a URL with a bucket or a host",
        ),
        (
            '- {id: a, tes: {outputs: ["s3://b/../x"]}}',
            "environments[0].tes.outputs[0] must be a URL whose path has no",
        ),
        ("- {id: a, tes: {endpoints: {s3: minio}}}", "environments[0].tes.endpoints.s3 must be an http: or https: URL"),
        (
            "- {id: a, fetch: {endpoints: {S3: 'http://x'}}}",
            "environments[0].fetch.endpoints.S3 is no scheme of a storage",
        ),
        (
            '- {id: a, fetch: {buckets: ["s3://b/"]}}',
            "environments[0].fetch.buckets[0] must be a scheme and a bucket alone",
        ),
        ("- {id: a, fetch: {schemes: [htps]}}", "environments[0].fetch.schemes[0] must be one of ar, az, file"),
    ],
)
def test_an_error_in_the_file_names_the_path_of_the_key_and_what_it_must_be(
    tmp_path: Path, content: str, text: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"ENVIRONMENTS_FILE: {text}")):
        from_file(tmp_path, content)


def test_an_environment_may_allow_every_url_and_the_places_of_owners(tmp_path: Path) -> None:
    outputs = ("*", "s3://b/{owner}", "s3://b/x/{owner}/y/", "file:///mnt/{owner}/", "https://h/", "gs://b", "file:///")
    (environment,) = from_file(tmp_path, f"- {{id: a, tes: {{outputs: {json.dumps(outputs)}}}}}").values()
    assert environment.tes.outputs == outputs


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"ENVIRONMENTS_FILE": "/nowhere"}, "ENVIRONMENTS_FILE: cannot be read: No such file"),
        ({"AQUARIUS_URL": "aquarius"}, "AQUARIUS_URL must be an http: or https: URL"),
        ({"PROVIDER_URLS": "https://a.example ftp://b"}, "PROVIDER_URLS must be an http: or https: URL"),
        ({"nCPU": "two"}, "nCPU must be a number, not text"),
        ({"nCPU": "0.0001"}, "nCPU must be at least 0.001"),
        ({"maxJobs": "1.5"}, "maxJobs must be a whole number"),
        ({"ALGO_POD_TIMEOUT": "-1"}, "ALGO_POD_TIMEOUT must be at least 1"),
        ({"PULL_POLICY": "sometimes"}, "PULL_POLICY must be one of Always, IfNotPresent, Never"),
        ({"OPERATOR_PRIVATE_KEY": "short"}, "OPERATOR_PRIVATE_KEY: a private key must be"),
    ],
)
def test_an_error_in_a_variable_names_the_variable(environ: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(text)}"):
        load(Settings.load(environ))


# --- the JSON Schema ------------------------------------------------------------------------

SCHEMA = ROOT / "functions/environments.schema.json"


def test_the_shipped_schema_is_generated_from_the_types() -> None:
    """`UPDATE_DOCS=1` writes it anew."""
    generated = json.dumps(schema(), indent=2) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        SCHEMA.write_text(generated)
    assert SCHEMA.read_text() == generated


def test_every_key_of_the_schema_is_camel_case_and_described() -> None:
    for name, described in schema()["$defs"].items():
        for key, value in described["properties"].items():
            assert re.fullmatch("[a-z]+([A-Z]+[a-z]*)*", key), f"{name}.{key}"
            assert "description" in value or "$ref" in value, f"{name}.{key}"


@pytest.mark.parametrize("file", ["functions/local/environments.yaml", *CONFIG_MAPS])
def test_the_environments_that_are_shipped_match_the_schema(file: str) -> None:
    content = yaml.safe_load((ROOT / file).read_text())
    if isinstance(content, dict):
        content = yaml.safe_load(content["data"]["environments.yaml"])
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(content)] == []
    assert [error.message for error in validator.iter_errors([{**content[0], "maxjobs": 1}])]


def test_the_editor_finds_the_schema_that_a_file_names() -> None:
    file = ROOT / "functions/local/environments.yaml"
    named = re.search(r"^# yaml-language-server: \$schema=(.*)$", file.read_text(), re.MULTILINE)
    assert named is not None
    assert (file.parent / named[1]).resolve() == SCHEMA


# --- announced ------------------------------------------------------------------------------


def announced(api: Api, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(api.get("/environments", params).text)
    return found


@pytest.mark.parametrize("spelling", ["chainId", "chain_id"])
def test_only_environments_that_accept_the_chain_are_listed(api: Api, spelling: str) -> None:
    def ids(**params: Any) -> list[str]:
        return [offer["id"] for offer in announced(api, **params)]

    assert ids() == ids(**{spelling: 1}) == ["ocean-compute", "mainnet"]
    assert ids(**{spelling: 8996}) == ["ocean-compute"]
    body = api.status.get("/api/v1/operator/environments", json={spelling: 8996})
    assert [offer["id"] for offer in json.loads(body.text)] == ["ocean-compute"]


def test_current_jobs_counts_running_jobs_but_not_queued_ones(api: Api) -> None:
    for number in range(6):
        api.start(agreementId=f"0x{number}")
    assert announced(api)[0]["currentJobs"] == announced(api)[0]["maxJobs"] == 4


def test_last_seen_is_the_current_time(api: Api) -> None:
    before = int(announced(api)[0]["lastSeen"])
    api.app.clock.pass_(seconds=7)  # type: ignore[attr-defined]
    assert int(announced(api)[0]["lastSeen"]) == before + 7
