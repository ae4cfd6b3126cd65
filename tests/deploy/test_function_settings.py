"""Variables, Secrets, environments and probes of the functions agree with the settings and the code."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace
from support.clusters import stage_job
from support.deployment import (
    FILLED_IN,
    FUNCTIONS,
    ROOT,
    TRY_OUT,
    WITH_FUNCTIONS,
    answer,
    environment,
    function_pods,
    of_kind,
    pods,
    rendered,
)

from functions import policies
from functions.cluster.kubernetes.pods import pod_template
from functions.cluster.stage_command import ocean
from functions.engine.app import App
from functions.environments import load
from functions.settings import Settings
from functions.variables import SettingsError
from functions.workflow.environment import Environment, grant
from functions.workflow.model import Stage
from functions.workflow.quantity import parse_cores, parse_quantity
from functions.workflow.stage_options import GIB

VARIABLES = {f.metadata["variable"]: f for f in fields(Settings) if f.metadata}
SECRETS = {name for name, field in VARIABLES.items() if field.metadata["secret"]}


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_variable_is_a_setting(name: str) -> None:
    named = set(of_kind(name, "ConfigMap")["sluice-settings"]["data"])
    for pod in function_pods(name).values():
        named |= environment(pod).keys() - {"FUNCTION_TARGET"}
    assert named <= VARIABLES.keys() | {f"{name}_FILE" for name in SECRETS}


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_secrets_are_files_and_never_variables(name: str) -> None:
    variables = set(of_kind(name, "ConfigMap")["sluice-settings"]["data"])
    for pod in function_pods(name).values():
        variables |= environment(pod).keys()
        assert "secretRef" not in str(pod["containers"][0]["envFrom"])
    assert variables & SECRETS == set()


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_secret_file_is_mounted_from_a_key_of_its_secret(name: str) -> None:
    for function, pod in {**function_pods(name), "migrate": dict(pods("install"))["Job migrate"]}.items():
        files = {key.removesuffix("_FILE"): entry["value"] for key, entry in environment(pod).items() if "_FILE" in key}
        assert "DATABASE_URL" in files, function
        for variable, path in files.items():
            folder, _, key = path.rpartition("/")
            assert key == variable
            secret, optional = source(pod, folder, key)
            # A missing one must hold the Pod back, not open what it closes, unless it is expected to be missing.
            assert optional is VARIABLES[variable].metadata["optional"], variable
            assert optional or (secret, key) in templates()


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_tokens_of_tes_are_mounted_where_the_settings_say(name: str) -> None:
    folder, _, key = of_kind(name, "ConfigMap")["sluice-settings"]["data"]["TES_TOKENS_FILE"].rpartition("/")
    for function in ("submit", "status"):
        secret, optional = source(function_pods(name)[function], folder, key)
        assert not optional
        assert (secret, key) in templates()


def source(pod: Mapping[str, Any], folder: str, key: str) -> tuple[str, bool]:
    """The Secret of which a key is mounted into a folder of the Pod, and whether it may lack the key."""
    volume = mounted(pod, folder)
    projected = [each["secret"] for each in volume["projected"]["sources"]] if "projected" in volume else []
    plain = [{**volume["secret"], "name": volume["secret"]["secretName"]}] if "secret" in volume else []
    item = {"key": key, "path": key}
    (found,) = [each for each in (*projected, *plain) if item in each.get("items", [item])]
    return found["name"], found.get("optional", False)


def mounted(pod: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The volume at a folder of the Pod."""
    names = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == names[folder]]
    return dict(volume)


def templates() -> set[tuple[str, str]]:
    """The keys of the sample Secrets."""
    return {
        (o["metadata"]["name"], key) for o in rendered("install") if o["kind"] == "Secret" for key in o["stringData"]
    }


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_settings_of_each_overlay_are_valid(name: str) -> None:
    variables = of_kind(name, "ConfigMap")["sluice-settings"]["data"]
    settings = Settings.load({key: filled_in(value) for key, value in variables.items()})
    assert settings.cluster == "kubernetes"
    assert settings.signature_required is (name not in TRY_OUT)
    assert not settings.open_admin


@pytest.mark.parametrize("variable", ["ALLOWED_PROVIDERS", "OPERATOR_ADDRESS"])
def test_an_address_that_was_not_filled_in_is_refused(variable: str) -> None:
    shipped = of_kind("production", "ConfigMap")["sluice-settings"]["data"][variable]
    with pytest.raises(SettingsError, match=f"^{variable}.* must be an address: 0x and 40 hexadecimal digits$"):
        Settings.load({variable: shipped})
    Settings.load({variable: filled_in(shipped)})


def filled_in(value: str) -> str:
    """A value of the production overlay as an operator completes it."""
    for placeholder, address in FILLED_IN.items():
        value = value.replace(placeholder, address)
    return value


def environments_of(name: str, folder: Path) -> dict[str, Environment]:
    """What the functions of an overlay read from the ConfigMap that is mounted into them."""
    maps = of_kind(name, "ConfigMap")
    path, _, key = maps["sluice-settings"]["data"]["ENVIRONMENTS_FILE"].rpartition("/")
    for pod in function_pods(name).values():
        volume = {v["name"]: v for v in pod["volumes"]}["environments"]
        assert volume["configMap"]["name"] == "sluice-environments"
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert mounts["environments"] == path
    file = folder / key
    file.write_text(maps["sluice-environments"]["data"][key])
    return load(Settings(environments_file=str(file)))


def test_the_policies_of_production_are_valid_and_mounted_into_the_functions_that_read_them(tmp_path: Path) -> None:
    maps = of_kind("production", "ConfigMap")
    folder, _, key = maps["sluice-settings"]["data"]["POLICIES_FILE"].rpartition("/")
    file = tmp_path / key
    file.write_text(maps["sluice-policies"]["data"][key])
    assert [each.checks is not None for each in policies.load(str(file)).written] == [True]
    for function, pod in function_pods("production").items():
        if function == "status":
            assert "policies" not in {volume["name"] for volume in pod["volumes"]}
        else:
            assert mounted(pod, folder)["configMap"] == {"name": "sluice-policies"}


@pytest.mark.parametrize("name", [name for name in WITH_FUNCTIONS if name != "production"])
def test_no_policy_is_set_where_none_is_mounted(name: str) -> None:
    assert "POLICIES_FILE" not in of_kind(name, "ConfigMap")["sluice-settings"]["data"]
    assert not {volume["name"] for pod in function_pods(name).values() for volume in pod["volumes"]} & {"policies"}


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_environments_of_each_overlay_are_valid(name: str, tmp_path: Path) -> None:
    namespaces = of_kind("install", "Namespace")
    for each in environments_of(name, tmp_path).values():
        assert namespaces[each.namespace]["metadata"]["labels"]["oceanprotocol.com/environment"] == "true"


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_quota_has_room_for_max_jobs_workflows(name: str, tmp_path: Path) -> None:
    hard = of_kind("install", "ResourceQuota")["environment"]["spec"]["hard"]
    largest = of_kind("install", "LimitRange")["environment"]["spec"]["limits"][-1]["max"]["storage"]
    for each in environments_of(name, tmp_path).values():
        needed = {"cpu": 0.0, "memory": 0.0}
        for stage in Stage:
            job = stage_job("w1", stage)
            job = replace(job, environment=each, limits=grant(each, ocean(job)))
            (container,) = pod_template(job, Settings(), "w1")["spec"]["containers"]
            resources = container["resources"]
            needed["cpu"] = max(needed["cpu"], parse_cores(resources["requests"]["cpu"]))
            needed["memory"] = max(needed["memory"], parse_quantity(resources["limits"]["memory"]))
        assert each.max_jobs * needed["cpu"] <= parse_cores(hard["requests.cpu"])
        assert each.max_jobs * needed["memory"] <= parse_quantity(hard["limits.memory"])
        assert each.max_jobs * each.disk_gb * GIB <= parse_quantity(hard["requests.storage"])
        assert each.disk_gb * GIB <= parse_quantity(largest)
        assert each.max_jobs <= int(hard["persistentvolumeclaims"])


def test_quota_and_limit_range_leave_our_own_stages_without_a_cpu_limit() -> None:
    """A quota over limits would refuse their Pods, and a default limit would be added to them."""
    assert "limits.cpu" not in of_kind("install", "ResourceQuota")["environment"]["spec"]["hard"]
    for limit in of_kind("install", "LimitRange")["environment"]["spec"]["limits"]:
        assert "cpu" not in {**limit.get("default", {}), **limit.get("max", {})}


@pytest.mark.parametrize("name", TRY_OUT)
def test_the_environment_for_trying_out_fits_beside_knative(name: str, tmp_path: Path) -> None:
    (small,) = environments_of(name, tmp_path).values()
    assert small.cpu_number <= 0.25
    assert small.ram_gb <= 1
    assert small.disk_gb <= 1


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_storage_secret_is_mounted_where_the_settings_look(name: str) -> None:
    folder = of_kind(name, "ConfigMap")["sluice-settings"]["data"]["SLUICE_CREDENTIALS"]
    for pod in function_pods(name).values():
        mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
        volumes = {v["name"]: v for v in pod["volumes"]}
        assert volumes[mounts[folder]]["secret"]["secretName"] == "sluice-storage"


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_only_the_try_out_overlays_hold_passwords_and_they_say_try_out_only(name: str) -> None:
    secrets = of_kind(name, "Secret")
    assert bool(secrets) is (name in TRY_OUT)
    for secret in secrets.values():
        assert "try-out-only" in " ".join(secret["stringData"].values())


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_target_is_a_function_of_its_file(name: str, function: str) -> None:
    pod = function_pods(name)[function]
    assert environment(pod)["FUNCTION_TARGET"]["value"] == function
    tree = ast.parse((ROOT / "functions" / function / "main.py").read_text())
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    assert "http" in ast.dump(defined[0].decorator_list[0])


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_probes_ask_a_path_that_the_function_answers(name: str, function: str) -> None:
    container = function_pods(name)[function]["containers"][0]
    paths = [container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")]
    assert [answer(function, "GET", path, App(Settings())) for path in paths] == [200, 200]


def test_the_sample_secrets_hold_no_secret() -> None:
    text = (ROOT / "k8s_install/secrets.yml.sample").read_text()
    for secret in yaml.safe_load_all(text):
        assert all(value in ("", "[]") or "USER:PASSWORD" in value for value in secret["stringData"].values())
