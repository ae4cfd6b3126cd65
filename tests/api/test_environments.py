"""The environments: from a file, or from operator-engine's variables; and how they are announced."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from support.api import Api

from functions import ethereum
from functions.environments import load
from functions.settings import Settings, SettingsError
from functions.workflow.environment import Environment

ROOT = Path(__file__).parents[2]
KEY = "0x" + "33" * 32


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


def test_nothing_set_means_operator_engines_defaults() -> None:
    environment = from_variables()
    expected = Environment(id="ocean-compute", max_jobs=10, max_job_duration=60, pull_policy="Always")
    assert environment == expected
    assert from_variables(ALGO_POD_TIMEOUT="3600").max_job_duration == 3600


def test_the_documented_example_is_a_file_that_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs/environments.md").read_text()
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    environments = from_file(tmp_path, found[1])
    assert list(environments) == ["ocean-compute", "second-environment"]
    shown = yaml.safe_load(found[1])[0]
    fields = {field.encode_name for field in msgspec.structs.fields(Environment)}
    assert set(shown) == fields, "the example shows every field"


def test_the_file_of_the_cluster_loads(tmp_path: Path) -> None:
    config_map = yaml.safe_load((ROOT / "knative/base/environments.yaml").read_text())
    assert from_file(tmp_path, config_map["data"]["environments.yaml"])


def test_who_pays_to_whom_is_filled_in_where_it_is_left_out(tmp_path: Path) -> None:
    assert from_file(tmp_path, "- id: a", OPERATOR_ADDRESS="0xabc")["a"].consumer_address == "0xabc"
    assert from_file(tmp_path, "- id: a", OPERATOR_PRIVATE_KEY=KEY)["a"].consumer_address == ethereum.address(KEY)
    assert from_file(tmp_path, "- {id: a, consumerAddress: x}", OPERATOR_ADDRESS="y")["a"].consumer_address == "x"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a: [", "is not YAML"),
        ("environments: []", "ENVIRONMENTS_FILE: must hold a list of environments"),
        ("[]", "lists no environment"),
        ("- desc: x", "ENVIRONMENTS_FILE: environment '?': Object missing required field `id`"),
        ("- text", "ENVIRONMENTS_FILE: environment '?': Expected `object`, got `str`"),
        ("- {id: a, maxjobs: 3}", "ENVIRONMENTS_FILE: environment 'a': Object contains unknown field `maxjobs`"),
        ("- {id: a, ramGB: many}", "ENVIRONMENTS_FILE: environment 'a': ramGB: Expected `float`, got `str`"),
        ("- {id: a}\n- {id: a}", "'a' is there twice"),
        ("- {id: ''}", "an entry has an empty id"),
        ("- {id: a, cpuNumber: 0}", "cpu_number must be above 0"),
        ("- {id: a, cpuNumber: 0.0001}", "cpuNumber must be at least 0.001"),
        ("- {id: a, ramGB: 0.01}", "ramGB at least 0.016"),
        ("- {id: a, maxJobs: -1}", "max_jobs must not be below 0"),
        ("- {id: a, pullPolicy: sometimes}", "pullPolicy must be one of Always, IfNotPresent, Never"),
    ],
)
def test_a_wrong_file_is_told_by_entry_and_field(tmp_path: Path, content: str, text: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(text)):
        from_file(tmp_path, content)


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"ENVIRONMENTS_FILE": "/nowhere"}, "ENVIRONMENTS_FILE: cannot be read: No such file"),
        ({"nCPU": "two"}, "from variables: nCPU: Expected `float`"),
        ({"maxJobs": "1.5"}, "from variables: maxJobs: Expected `int`"),
        ({"OPERATOR_PRIVATE_KEY": "short"}, "OPERATOR_PRIVATE_KEY: a private key is"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(environ: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(text)):
        load(Settings.load(environ))


# --- announced ------------------------------------------------------------------------------


def announced(api: Api, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(api.get("/environments", params).text)
    return found


@pytest.mark.parametrize("spelling", ["chainId", "chain_id"])
def test_only_environments_for_the_chain_are_announced(api: Api, spelling: str) -> None:
    def ids(**params: Any) -> list[str]:
        return [offer["id"] for offer in announced(api, **params)]

    assert ids() == ids(**{spelling: 1}) == ["ocean-compute", "mainnet"]
    assert ids(**{spelling: 8996}) == ["ocean-compute"]
    body = api.status.get("/api/v1/operator/environments", json={spelling: 8996})
    assert [offer["id"] for offer in json.loads(body.text)] == ["ocean-compute"]


def test_running_jobs_are_counted_and_queued_ones_are_not(api: Api) -> None:
    for number in range(6):
        api.start(agreementId=f"0x{number}")
    assert announced(api)[0]["currentJobs"] == announced(api)[0]["maxJobs"] == 4


def test_last_seen_is_now(api: Api) -> None:
    before = int(announced(api)[0]["lastSeen"])
    api.app.clock.pass_(seconds=7)  # type: ignore[attr-defined]
    assert int(announced(api)[0]["lastSeen"]) == before + 7
