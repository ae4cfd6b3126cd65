"""The manifests agree with their schemas, with each other, with the settings and with the code."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.clusters import stage_job
from support.deployment import (
    EVERYTHING,
    FUNCTIONS,
    OVERLAYS,
    ROOT,
    SERVING,
    function_pods,
    of_kind,
    pods,
    rendered,
)
from support.kustomize import render
from support.schemas import DATA, errors

from functions.cluster.kubernetes.pods import pod as stage_pod
from functions.cluster.labels import MANAGED_BY, MANAGER
from functions.environments import load
from functions.settings import Settings
from functions.workflow.environment import GIB, Environment, grant
from functions.workflow.model import Stage
from functions.workflow.quantity import cores, quantity

VARIABLES = {f.metadata["variable"]: f for f in fields(Settings) if f.metadata}
WITH_FUNCTIONS = ("base", *OVERLAYS)


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_object_passes_a_strict_schema(name: str) -> None:
    found = {f"{obj['kind']} {obj['metadata']['name']}": errors(obj) for obj in rendered(name)}
    assert {key: value for key, value in found.items() if value} == {}


def test_the_schemas_refuse_a_misspelt_field() -> None:
    for obj in (*rendered("kind"), *rendered("install")):
        if obj["kind"] not in ("ConfigMap", "Secret", "ServiceAccount", "WorkFlow"):
            assert errors({**obj, "spec": {**obj.get("spec", {}), "misspelt": 1}, "rulez": []}), obj["kind"]


def test_the_install_kustomization_holds_what_every_cluster_needs() -> None:
    kinds = {obj["kind"] for obj in render(ROOT / "k8s_install")}
    assert {"Namespace", "CustomResourceDefinition", "Role", "NetworkPolicy", "ResourceQuota"} <= kinds
    assert not kinds & {"Secret", "StatefulSet", "Job", "WorkFlow"}


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_namespaced_object_names_its_namespace(name: str) -> None:
    cluster_wide = {"Namespace", "CustomResourceDefinition", "GatewayClass"}
    assert [o for o in rendered(name) if o["kind"] not in cluster_wide and "namespace" not in o["metadata"]] == []


# --- Pods -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_pod_is_restricted_and_limited(name: str) -> None:
    for label, pod in pods(name):
        for container in pod["containers"]:
            security = {**pod.get("securityContext", {}), **container["securityContext"]}
            assert security["runAsNonRoot"] is True, label
            assert security["runAsUser"] > 0, label
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, label
            assert security["allowPrivilegeEscalation"] is False, label
            assert security["capabilities"] == {"drop": ["ALL"]}, label
            assert security["readOnlyRootFilesystem"] is True, label
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), label
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], label
        assert pod["enableServiceLinks"] is False, label


@pytest.mark.parametrize("name", EVERYTHING)
def test_only_the_functions_get_a_token(name: str) -> None:
    for label, pod in pods(name):
        if label.split()[1] not in FUNCTIONS:
            assert pod["automountServiceAccountToken"] is False, label


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_volume_that_is_mounted_is_there(name: str) -> None:
    for label, pod in pods(name):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {mount["name"] for c in pod["containers"] for mount in c["volumeMounts"]}
        assert mounted == volumes, label


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_each_function_has_an_account_of_its_own(name: str) -> None:
    accounts = of_kind("install", "ServiceAccount")
    for function, pod in function_pods(name).items():
        assert pod["serviceAccountName"] == function
        assert accounts[function]["metadata"]["namespace"] == "sluice"


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_functions_and_stages_run_the_same_image(name: str) -> None:
    images = {pod["containers"][0]["image"] for pod in function_pods(name).values()}
    assert images == {of_kind(name, "ConfigMap")["sluice-settings"]["data"]["SLUICE_IMAGE"]}


def test_migrate_runs_the_image_of_the_base() -> None:
    (image,) = {pod["containers"][0]["image"] for pod in function_pods("base").values()}
    assert dict(pods("install"))["Job migrate"]["containers"][0]["image"] == image


@pytest.mark.parametrize("name", ["base", "kind", "production"])
def test_nothing_that_knatives_webhook_refuses_and_no_schema_knows(name: str) -> None:
    for function, service in of_kind(name, "Service", SERVING).items():
        spec = service["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        written = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
        for mount in container["volumeMounts"]:
            assert mount["name"] in written or mount["readOnly"], (function, mount)
            assert mount["mountPath"] not in ("/", "/dev", "/dev/log", "/var", "/var/log")
        assert not environment(spec).keys() & {"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"}
        (port,) = container["ports"]
        assert port.get("name", "") in ("", "h2c", "http1")
        assert container["readinessProbe"].keys() <= {"httpGet"}  # without a period nothing else may be set
        assert "securityContext" not in spec, "behind a feature flag that is off"
        assert spec["timeoutSeconds"] <= 600, "max-revision-timeout-seconds"


# --- functions and settings -----------------------------------------------------------------


def environment(pod: Mapping[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in pod["containers"][0]["env"]}


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_variable_is_a_setting(name: str) -> None:
    named = set(of_kind(name, "ConfigMap")["sluice-settings"]["data"])
    for pod in function_pods(name).values():
        named |= environment(pod).keys() - {"FUNCTION_TARGET"}
    assert named <= VARIABLES.keys()


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_no_secret_setting_stands_in_plain_text(name: str) -> None:
    plain = set(of_kind(name, "ConfigMap")["sluice-settings"]["data"])
    for pod in function_pods(name).values():
        plain |= {key for key, entry in environment(pod).items() if "value" in entry}
    assert {key for key, field in VARIABLES.items() if field.metadata["secret"]} & plain == set()


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_settings_of_each_overlay_can_be_read(name: str) -> None:
    settings = Settings.load(of_kind(name, "ConfigMap")["sluice-settings"]["data"])
    assert settings.cluster == "kubernetes"
    assert settings.signature_required is (name != "kind")
    assert not settings.open_admin


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


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_environments_of_each_overlay_can_be_read(name: str, tmp_path: Path) -> None:
    namespaces = of_kind("install", "Namespace")
    for each in environments_of(name, tmp_path).values():
        assert namespaces[each.namespace]["metadata"]["labels"]["oceanprotocol.com/environment"] == "true"


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_as_many_workflows_as_may_run_at_once_fit_into_the_quota(name: str, tmp_path: Path) -> None:
    hard = of_kind("install", "ResourceQuota")["environment"]["spec"]["hard"]
    largest = of_kind("install", "LimitRange")["environment"]["spec"]["limits"][-1]["max"]["storage"]
    for each in environments_of(name, tmp_path).values():
        needed = {"cpu": 0.0, "memory": 0.0}
        for stage in Stage:
            job = stage_job("w1", stage)
            job = replace(job, environment=each, limits=grant(each, job.definition))
            (container,) = stage_pod(job, Settings(), "w1")["spec"]["containers"]
            limits = container["resources"]["limits"]
            needed["cpu"] = max(needed["cpu"], cores(limits["cpu"]))
            needed["memory"] = max(needed["memory"], quantity(limits["memory"]))
        assert each.max_jobs * needed["cpu"] <= cores(hard["limits.cpu"])
        assert each.max_jobs * needed["memory"] <= quantity(hard["limits.memory"])
        assert each.max_jobs * each.disk_gb * GIB <= quantity(hard["requests.storage"])
        assert each.disk_gb * GIB <= quantity(largest)
        assert each.max_jobs <= int(hard["persistentvolumeclaims"])


def test_the_environment_for_trying_out_finds_room_beside_knative(tmp_path: Path) -> None:
    (small,) = environments_of("kind", tmp_path).values()
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
def test_every_secret_that_must_be_there_has_a_template(name: str) -> None:
    templates = {
        (o["metadata"]["name"], key) for o in rendered("install") if o["kind"] == "Secret" for key in o["stringData"]
    }
    for pod in function_pods(name).values():
        for entry in environment(pod).values():
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                assert (reference["name"], reference["key"]) in templates


def test_try_out_passwords_are_in_the_kind_overlay_alone_and_say_so() -> None:
    for name in ("base", "production", "eventing-only"):
        assert of_kind(name, "Secret") == {}
    for secret in of_kind("kind", "Secret").values():
        values = " ".join(secret["stringData"].values())
        assert "try-out-only" in values


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
    from functions.engine.app import App

    container = function_pods(name)[function]["containers"][0]
    paths = {container[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")}
    assert [answer(function, "GET", path, App(Settings())) for path in paths] == [200]


def answer(function: str, method: str, path: str, app: Any) -> int:
    """What the function's own router says, without a server."""
    import importlib

    from werkzeug.test import EnvironBuilder
    from werkzeug.wrappers import Request

    from functions.api.http import Router

    module = importlib.import_module(f"functions.{function}.main")
    (router,) = [value for value in vars(module).values() if isinstance(value, Router)]
    status: int = router.answer(Request(EnvironBuilder(path, method=method).get_environ()), lambda: app).status_code
    return status


# --- scale ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["base", "kind", "production"])
def test_concurrency_is_threads_is_pool_size(name: str) -> None:
    for function, service in of_kind(name, "Service", SERVING).items():
        pod = service["spec"]["template"]["spec"]
        assert environment(pod)["THREADS"]["value"] == str(pod["containerConcurrency"]), function
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


def test_functions_sleep_at_zero_unless_production_says_otherwise() -> None:
    key = "autoscaling.knative.dev/min-scale"
    scales = {
        name: {f: s["spec"]["template"]["metadata"]["annotations"][key] for f, s in services.items()}
        for name in ("base", "kind", "production")
        if (services := of_kind(name, "Service", SERVING))
    }
    assert scales["base"] == scales["kind"] == {"submit": "0", "advance": "0", "status": "0"}
    assert scales["production"] == {"submit": "1", "advance": "0", "status": "1"}


def test_the_try_out_database_has_a_connection_for_every_thread_twice() -> None:
    connections = 0
    for service in of_kind("base", "Service", SERVING).values():
        template = service["spec"]["template"]
        most = int(template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])
        connections += most * template["spec"]["containerConcurrency"]
    args = dict(pods("install"))["StatefulSet postgres"]["containers"][0]["args"]
    limit = int(args[1].removeprefix("max_connections="))
    assert connections * 2 < limit


def test_deployments_are_the_same_functions_as_the_knative_services() -> None:
    services, deployments = function_pods("base"), function_pods("eventing-only")
    for function in FUNCTIONS:
        ours, theirs = services[function]["containers"][0], deployments[function]["containers"][0]
        for key in ("image", "env", "envFrom", "resources", "volumeMounts"):
            assert ours[key] == theirs[key], (function, key)
        assert services[function]["volumes"] == deployments[function]["volumes"]


# --- events ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_reference_names_an_object_that_is_there(name: str) -> None:
    there = {(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in rendered(name)}
    for obj in rendered(name):
        for reference in references(obj.get("spec", {})):
            assert (reference["apiVersion"], reference["kind"], reference["name"]) in there, obj["metadata"]["name"]


def references(node: Any) -> list[Mapping[str, str]]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    own = [node["ref"]] if isinstance(node.get("ref"), dict) else []
    return own + [found for value in node.values() for found in references(value)]


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_recorded_event_wakes_the_one_right_function(name: str) -> None:
    expected = {"Job": "advance", "Pod": "advance", "WorkFlow": "submit"}
    seen = set()
    for file in ("resource", "pods", "workflow"):
        for line in (DATA / f"recorded/apiserversource-{file}.jsonl").read_text().splitlines():
            event = json.loads(line)["headers"]
            attributes = {key.removeprefix("ce-"): value for key, value in event.items() if key.startswith("ce-")}
            assert woken(name, attributes) == [expected[attributes["kind"]]]
            seen.add(attributes["kind"])
    assert seen == expected.keys()
    assert woken(name, {"type": "dev.knative.sources.ping", "source": "/apis/v1/x"}) == ["advance"]
    assert woken(name, {"type": "dev.knative.apiserver.resource.add", "kind": "Node", "apiversion": "v1"}) == []


def woken(name: str, attributes: Mapping[str, str]) -> list[str]:
    return [
        trigger["spec"]["subscriber"]["ref"]["name"]
        for trigger in of_kind(name, "Trigger").values()
        if trigger["spec"]["filter"]["attributes"].items() <= attributes.items()
    ]


def test_what_cannot_be_delivered_lands_where_advance_keeps_it() -> None:
    from functions.engine.app import App

    for name, trigger in of_kind("base", "Trigger").items():
        delivery = trigger["spec"]["delivery"]
        assert delivery["retry"] >= 1
        if name != "ticks-to-advance":  # the next one comes within the minute
            sink = delivery["deadLetterSink"]
            assert answer(sink["ref"]["name"], "GET", sink["uri"], App(Settings())) == 405  # POST alone


def test_the_sources_watch_what_our_jobs_are_labelled_with() -> None:
    for resource in of_kind("base", "ApiServerSource")["jobs"]["spec"]["resources"]:
        assert resource["selector"]["matchLabels"] == {MANAGED_BY: MANAGER}
    for source in of_kind("base", "ApiServerSource").values():
        assert source["spec"]["mode"] == "Resource"
        assert source["spec"]["serviceAccountName"] in of_kind("install", "ServiceAccount")


def test_the_event_policy_admits_exactly_the_sources() -> None:
    (policy,) = render(ROOT / "knative/components/event-policy")
    assert errors(policy) == []
    admitted = {(entry["ref"]["kind"], entry["ref"]["name"]) for entry in policy["spec"]["from"]}
    sources = {(o["kind"], o["metadata"]["name"]) for o in rendered("base") if o["apiVersion"].startswith("sources.")}
    assert admitted == sources
    assert policy["spec"]["to"] == [
        {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "sluice"}}
    ]


def test_every_source_may_watch_what_it_watches() -> None:
    rights = {
        (group, resource)
        for rule in of_kind("install", "Role")["sluice-events"]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if rule["verbs"] == ["get", "list", "watch"]
    }
    watched = {
        (r["apiVersion"].rpartition("/")[0].removesuffix("v1"), r["kind"].lower() + "s")
        for source in of_kind("base", "ApiServerSource").values()
        for r in source["spec"]["resources"]
    }
    assert watched == rights


# --- the route ------------------------------------------------------------------------------


def reached(name: str, method: str, path: str) -> str | None:
    """The function that the gateway calls, by Gateway API's precedence: exact before prefix, then the first."""
    hits = []
    for number, rule in enumerate(of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]):
        for match in rule["matches"]:
            wanted = match["path"]["value"]
            exact = match["path"]["type"] == "Exact"
            prefix = not exact and (path == wanted or path.startswith(f"{wanted}/"))
            if match.get("method", method) == method and ((exact and path == wanted) or prefix):
                hits.append((not exact, -len(wanted), "method" not in match, number, function_of(rule)))
    return min(hits)[-1] if hits else None


def function_of(rule: Mapping[str, Any]) -> str:
    (backend,) = rule["backendRefs"]
    for rewrite in rule.get("filters", []):
        host: str = rewrite["urlRewrite"]["hostname"]
        function, namespace, *_ = host.split(".")
        assert namespace == "sluice"
        return function
    return str(backend["name"])


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("POST", "/api/v1/operator/compute", "submit"),
        ("PUT", "/api/v1/operator/compute", "submit"),
        ("DELETE", "/api/v1/operator/compute", "submit"),
        ("GET", "/api/v1/operator/compute", "status"),
        ("POST", "/api/v1/operator/pgsqlinit", "submit"),
        ("GET", "/api/v1/operator/getResult", "status"),
        ("GET", "/api/v1/operator/environments", "status"),
        ("GET", "/api/v1/operator/runningjobs", "status"),
        ("GET", "/api/v1/docs/", "status"),
        ("GET", "/spec", "status"),
        ("GET", "/", "status"),
        ("POST", "/dead-letters", None),
        ("GET", "/healthz", None),
    ],
)
def test_a_request_reaches_its_function(name: str, method: str, path: str, function: str | None) -> None:
    assert reached(name, method, path) == function


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_no_request_from_outside_reaches_a_path_that_takes_events(name: str) -> None:
    for path in ("/", "/dead-letters", "//", "/api/v1/docs/", "/spec"):
        assert reached(name, "POST", path) in (None, "status")
    assert "advance" not in {function_of(r) for r in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]}


def test_every_route_of_submit_is_reached_and_every_other_one_is_of_status() -> None:
    from functions.status.main import ROUTES as READS
    from functions.submit.main import ROUTES as CHANGES

    for routes, function in ((CHANGES, "submit"), (READS, "status")):
        for method, path in published(routes):
            if path not in ("/healthz",) and (method, path, function) != ("POST", "/", "submit"):
                assert reached("base", method, path) == function, (method, path)


def published(router: Any) -> list[tuple[str, str]]:
    """Method and path of everything a function answers."""
    rules = next(value for value in vars(router).values() if hasattr(value, "iter_rules")).iter_rules()
    return [
        (method, rule.rule.split("<")[0].rstrip("/") or "/" if "<" in rule.rule else rule.rule)
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]


def test_a_backend_in_another_namespace_has_its_grant() -> None:
    for name in ("kind", "production"):
        (grant,) = of_kind(name, "ReferenceGrant").values()
        for rule in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]:
            (backend,) = rule["backendRefs"]
            assert backend["namespace"] == grant["metadata"]["namespace"]
            assert {"group": "", "kind": "Service", "name": backend["name"]} in grant["spec"]["to"]
            assert function_of(rule) in ("submit", "status")


@pytest.mark.parametrize("name", ["base", "kind", "production"])
def test_the_gateway_waits_as_long_as_the_function_may_take(name: str) -> None:
    services = of_kind(name, "Service", SERVING)
    for rule in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]:
        seconds = services[function_of(rule)]["spec"]["template"]["spec"]["timeoutSeconds"]
        assert rule["timeouts"] == {"request": f"{seconds}s"}


def test_a_deployments_service_sends_to_its_own_pods() -> None:
    for function, service in of_kind("eventing-only", "Service", "v1").items():
        labels = of_kind("eventing-only", "Deployment")[function]["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()


def test_the_sample_secrets_hold_no_secret() -> None:
    text = (ROOT / "k8s_install/secrets.yml.sample").read_text()
    for secret in yaml.safe_load_all(text):
        assert all(value in ("", "[]") or "USER:PASSWORD" in value for value in secret["stringData"].values())
