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
    address = "0x" + "ab" * 20
    assert from_file(tmp_path, "- id: a", OPERATOR_ADDRESS=address)["a"].consumer_address == address
    assert from_file(tmp_path, "- id: a", OPERATOR_PRIVATE_KEY=KEY)["a"].consumer_address == ethereum.address(KEY)
    assert from_file(tmp_path, "- {id: a, consumerAddress: x}", OPERATOR_ADDRESS=address)["a"].consumer_address == "x"


def test_an_environment_may_allow_every_url_and_the_places_of_owners(tmp_path: Path) -> None:
    outputs = ("*", "s3://b/{owner}", "s3://b/x/{owner}/y/", "file:///mnt/{owner}/", "https://h/", "gs://b", "file:///")
    (environment,) = from_file(tmp_path, f"- {{id: a, tes: {{outputs: {json.dumps(outputs)}}}}}").values()
    assert environment.tes.outputs == outputs


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
