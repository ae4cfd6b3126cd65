"""Images that a consumer chooses: the operator's pull secret, the pull policy, and the pull ahead of time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from kubernetes_validate.utils import validate
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import FakeKube, Fault
from support.kube_objects import KubeObjects
from support.kube_world import KubeWorld
from support.stage_objects import DOCUMENT, OWNER_UID, RICH, SETTINGS, container, make, spec

from functions.advance.event_filter import hint_of
from functions.cluster.kubernetes import job_manifests
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.labels import MANAGED_BY, MANAGER
from functions.cluster.ports import StageJob
from functions.workflow.document import parse
from functions.workflow.environment import Environment
from functions.workflow.model import Stage

REGISTRY = "registry.example"


def with_image(image: str, environment: Environment, stage: Stage = Stage.ALGORITHM) -> StageJob:
    document = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    document["stages"][0]["algorithm"]["container"]["image"] = image
    return make(stage, environment, definition=parse(document))


def private(*images: str) -> Environment:
    return Environment(id="e", filter_image="filter:1", pull_secret="registry", pull_secret_images=images)


# --- the pull secret ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "attached"),
    [
        (f"{REGISTRY}/team/model", True),
        (f"{REGISTRY}/open/a", True),
        (f"{REGISTRY}/open/b/c", True),
        (f"{REGISTRY}/team/model-2", False),
        (f"{REGISTRY}/team/model/x", False),
        (f"{REGISTRY}/open", False),
        (f"{REGISTRY}/secret/model", False),
        (f"{REGISTRY}.evil.example/team/model", False),
        (f"evil.example/{REGISTRY}/team/model", False),
        ("python", False),
    ],
)
def test_the_pull_secret_is_attached_only_to_algorithms_that_the_environment_names(image: str, attached: bool) -> None:
    job = with_image(image, private(f"{REGISTRY}/team/model", f"{REGISTRY}/open/"))
    assert ("imagePullSecrets" in spec(job)) is attached


def test_without_a_list_no_algorithm_gets_the_pull_secret() -> None:
    assert "imagePullSecrets" not in spec(with_image(f"{REGISTRY}/a", private()))


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.FILTER, Stage.PUBLISH])
def test_the_operators_own_images_get_the_pull_secret(stage: Stage) -> None:
    assert spec(make(stage, private()))["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("image", [f"{REGISTRY}/team/model", "python"])
def test_a_node_that_holds_a_private_image_still_asks_the_registry(image: str) -> None:
    """Otherwise any consumer could run an image that another Pod has pulled with the secret."""
    job = with_image(image, private(f"{REGISTRY}/team/model"))
    assert container(job)["imagePullPolicy"] == "Always"
    assert container(with_image(image, Environment(id="e")))["imagePullPolicy"] == "IfNotPresent"


# --- the pull ahead of time -----------------------------------------------------------------

EARLY = msgspec.structs.replace(RICH, prefetch=True, queue_name="")


def prefetch(**changes: Any) -> dict[str, Any]:
    return job_manifests.prefetch_pod(make(Stage.CONFIGURE, msgspec.structs.replace(EARLY, **changes)), OWNER_UID)


def test_the_prefetch_pod_pulls_the_algorithms_image_on_the_node_of_configure() -> None:
    algorithm = make(Stage.ALGORITHM, EARLY)
    pod = prefetch()
    [only] = pod["spec"]["containers"]
    assert (only["image"], only["imagePullPolicy"]) == (
        container(algorithm)["image"],
        container(algorithm)["imagePullPolicy"],
    )
    [term] = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    configure = job_manifests.stage_job(make(Stage.CONFIGURE, EARLY), OWNER_UID, SETTINGS)
    labels = configure["spec"]["template"]["metadata"]["labels"]
    assert term["labelSelector"]["matchLabels"].items() <= labels.items()
    assert term["labelSelector"]["matchLabels"].keys() == {"workflow", "component"}


def test_the_prefetch_pod_is_restricted_like_the_algorithm() -> None:
    pod, algorithm = prefetch()["spec"], spec(make(Stage.ALGORITHM, EARLY))
    for key in (
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "restartPolicy",
        "runtimeClassName",
        "nodeSelector",
        "tolerations",
    ):
        assert pod[key] == algorithm[key], key
    assert pod["containers"][0]["securityContext"] == algorithm["containers"][0]["securityContext"]
    assert prefetch()["metadata"]["labels"]["component"] == "algorithm"  # what the network policies select


def test_the_prefetch_pod_gets_the_pull_secret_only_if_the_algorithm_does() -> None:
    assert "imagePullSecrets" not in prefetch(pull_secret_images=())["spec"]
    assert prefetch()["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_the_prefetch_pod_is_tiny_sees_nothing_and_cannot_stay() -> None:
    pod = prefetch()["spec"]
    [only] = pod["containers"]
    assert only["resources"]["limits"] == only["resources"]["requests"]
    assert only["resources"]["limits"] == {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi"}
    assert "volumes" not in pod
    assert "env" not in only
    assert pod["activeDeadlineSeconds"] <= 600
    assert pod["restartPolicy"] == "Never"  # a command that does not exist ends it, too


def test_kubernetes_accepts_the_prefetch_pod_and_its_owner_removes_it() -> None:
    pod = prefetch()
    validate(pod, "1.36", strict=True)
    assert [owner["uid"] for owner in pod["metadata"]["ownerReferences"]] == [OWNER_UID]


def test_neither_sources_nor_rules_take_the_prefetch_pod_for_a_stage() -> None:
    pod = prefetch()
    assert pod["metadata"]["labels"][MANAGED_BY] != MANAGER
    ended = {**pod, "status": {"phase": "Succeeded"}}
    assert hint_of({"type": "dev.knative.apiserver.resource.update"}, ended) is None
    reference = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": "gpu-jobs"}
    assert hint_of({"type": "dev.knative.apiserver.ref.update"}, reference) is None


def test_a_workflow_costs_one_call_more_with_prefetch_and_none_without() -> None:
    calls = {}
    for prefetching in (False, True):
        world = KubeWorld(KubeObjects(), prefetch=prefetching)
        workflow = world.submit()
        while not world.state(workflow).finished:
            world.end_pod(workflow)
        calls[prefetching] = world.kube.calls
        assert world.kube.objects == {}
    assert calls[True] - calls[False] == {("create", "pods"): 1}
    assert calls[False].total() <= 12


@pytest.mark.parametrize("status", [0, 409, 403, 422, 500])
def test_a_prefetch_pod_that_cannot_be_created_does_not_delay_the_workflow(
    kube: FakeKube, kubernetes: KubernetesCluster, status: int
) -> None:
    job = stage_job("w", Stage.CONFIGURE)
    early = msgspec.structs.replace(job.environment, prefetch=True)
    kube.fail_next("create", "pods", *[Fault(status)] * 10)
    assert kubernetes.create(replace(job, environment=early))
    assert kube.names("jobs") == [job.ref.name]
