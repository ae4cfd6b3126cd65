"""The Pods of functions, migrate and the try-out services: restricted, limited, and scaled as the documents say."""

from __future__ import annotations

import pytest
from support.deployment import (
    EVERYTHING,
    FUNCTIONS,
    SERVING,
    WITH_FUNCTIONS,
    environment,
    function_pods,
    of_kind,
    pods,
)


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
def test_every_mount_has_its_volume(name: str) -> None:
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


def test_migrate_runs_the_migrate_variant_of_the_functions_image() -> None:
    (image,) = {pod["containers"][0]["image"] for pod in function_pods("base").values()}
    assert dict(pods("install"))["Job migrate"]["containers"][0]["image"] == f"{image}-migrate"


@pytest.mark.parametrize("name", ["base", "kind", "production"])
def test_a_knative_service_has_no_field_that_knatives_webhook_refuses(name: str) -> None:
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


@pytest.mark.parametrize("name", ["base", "kind", "production"])
def test_container_concurrency_equals_the_servers_threads(name: str) -> None:
    for function, service in of_kind(name, "Service", SERVING).items():
        pod = service["spec"]["template"]["spec"]
        assert environment(pod)["THREADS"]["value"] == str(pod["containerConcurrency"]), function
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"


def test_min_scale_is_zero_except_for_submit_and_status_in_production() -> None:
    key = "autoscaling.knative.dev/min-scale"
    scales = {
        name: {f: s["spec"]["template"]["metadata"]["annotations"][key] for f, s in services.items()}
        for name in ("base", "kind", "production")
        if (services := of_kind(name, "Service", SERVING))
    }
    assert scales["base"] == scales["kind"] == {"submit": "0", "advance": "0", "status": "0"}
    assert scales["production"] == {"submit": "1", "advance": "0", "status": "1"}


def test_the_try_out_postgres_has_connections_for_two_revisions_at_full_scale() -> None:
    connections = 0
    for service in of_kind("base", "Service", SERVING).values():
        template = service["spec"]["template"]
        most = int(template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"])
        connections += most * template["spec"]["containerConcurrency"]
    args = dict(pods("install"))["StatefulSet postgres"]["containers"][0]["args"]
    limit = int(args[1].removeprefix("max_connections="))
    assert connections * 2 < limit


def test_deployments_run_the_same_containers_as_the_knative_services() -> None:
    services, deployments = function_pods("base"), function_pods("eventing-only")
    for function in FUNCTIONS:
        ours, theirs = services[function]["containers"][0], deployments[function]["containers"][0]
        for key in ("image", "env", "envFrom", "resources", "volumeMounts"):
            assert ours[key] == theirs[key], (function, key)
        assert services[function]["volumes"] == deployments[function]["volumes"]


def test_a_deployments_service_sends_to_its_own_pods() -> None:
    for function, service in of_kind("eventing-only", "Service", "v1").items():
        labels = of_kind("eventing-only", "Deployment")[function]["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()


def test_a_drain_takes_one_pod_of_a_deployment_at_a_time() -> None:
    budgets, deployments = of_kind("eventing-only", "PodDisruptionBudget"), of_kind("eventing-only", "Deployment")
    assert budgets.keys() == deployments.keys() == set(FUNCTIONS)
    for name, budget in budgets.items():
        assert budget["metadata"]["namespace"] == deployments[name]["metadata"]["namespace"]
        assert budget["spec"]["selector"] == deployments[name]["spec"]["selector"]
        assert 0 < budget["spec"]["maxUnavailable"] < deployments[name]["spec"]["replicas"]
