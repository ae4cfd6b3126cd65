"""Creating a Job on Kubernetes: conflicts, rejections, and what a removed volume means (F24 to F27, F31)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import QUOTA_CONFLICT, FakeKube, Fault
from support.kube_objects import KubeObjects
from support.kube_world import KubeWorld

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import ClusterUnavailable, JobStatus, NameConflict, Rejected, StageJob, State
from functions.workflow.model import JobUid, Limits, Stage, Workflow, WorkflowId

ALGORITHM = stage_job("w", Stage.ALGORITHM)

KINDS = ["configmaps", "secrets", "persistentvolumeclaims", "jobs"]


@pytest.mark.parametrize("fault", [Fault(500, after=True), Fault(504, after=True), Fault(0, after=True)])
@pytest.mark.parametrize("resource", KINDS)
def test_f24_the_next_create_finds_an_object_whose_creation_was_answered_with_an_error(
    kube: FakeKube, kubernetes: KubernetesCluster, resource: str, fault: Fault
) -> None:
    first = stage_job("w", Stage.CONFIGURE)
    kube.fail_next("create", resource, fault)
    with pytest.raises(ClusterUnavailable):
        kubernetes.create(first)
    uid = kubernetes.create(first)
    assert kubernetes.read(first.ref) == JobStatus(State.RUNNING, uid)
    assert kube.created == {first.ref.name: 1}
    owners = {o["metadata"]["ownerReferences"][0]["uid"] for k, o in kube.objects.items() if k[0] == "jobs"}
    assert owners == {kube.objects[("configmaps", "demo", "w")]["metadata"]["uid"]}


def test_f25_creating_our_existing_job_succeeds(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    assert kubernetes.create(job) == uid
    assert kube.created[job.ref.name] == 1


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"app.kubernetes.io/managed-by": "sluice", "workflow": "other", "component": "algorithm", "attempt": "1"},
        {"app.kubernetes.io/managed-by": "argo", "workflow": "w", "component": "algorithm", "attempt": "1"},
    ],
)
def test_f25_a_foreign_job_of_the_same_name_is_a_name_conflict(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, labels: dict[str, str]
) -> None:
    alien = kube.put("jobs", {"metadata": {"name": job.ref.name, "labels": labels}, "spec": {"suspend": True}})
    with pytest.raises(NameConflict):
        kubernetes.create(job)
    assert kubernetes.delete(job.ref) is True
    assert kube.find("jobs", job.ref.name) == alien


def test_f25_a_foreign_config_map_of_our_name_is_a_name_conflict(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    kube.put("configmaps", {"metadata": {"name": "w"}})
    with pytest.raises(NameConflict):
        kubernetes.create(stage_job("w", Stage.CONFIGURE))


def test_f25_a_job_that_is_being_deleted_does_not_count_as_created(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.lingering = True
    assert kubernetes.delete(replace(job.ref, uid=uid)) is False
    with pytest.raises(ClusterUnavailable, match="being deleted"):
        kubernetes.create(job)
    kube.reap()
    assert kubernetes.create(job) != uid


@pytest.mark.parametrize(
    ("fault", "reason", "final"),
    [
        (Fault(403, 'jobs.batch "x" is forbidden: exceeded quota: environment'), "QuotaExceeded", False),
        (Fault(403, 'jobs.batch is forbidden: User "x" cannot create resource'), "Forbidden", False),
        (Fault(404, 'namespaces "demo" not found'), "NamespaceMissing", False),
        (Fault(422, "Job is invalid: spec.template"), "Invalid", True),
        (Fault(400, "strict decoding error"), "Invalid", True),
        (Fault(413, "too large"), "Invalid", True),
    ],
)
def test_f26_a_rejection_has_a_reason_and_says_whether_it_is_final(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, fault: Fault, reason: str, final: bool
) -> None:
    kube.fail_next("create", "jobs", fault)
    with pytest.raises(Rejected) as refused:
        kubernetes.create(job)
    assert (refused.value.reason, refused.value.final) == (reason, final)
    assert kubernetes.create(job)  # nothing was left half-done


def test_f27_an_algorithm_never_starts_on_a_new_empty_volume(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob
) -> None:
    kube.remove("configmaps", "w")
    with pytest.raises(Rejected, match="deleted") as refused:
        kubernetes.create(job)
    assert (refused.value.reason, refused.value.final) == ("VolumeLost", True)


def test_f27_configure_creates_a_new_volume_after_the_old_one_was_removed(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob
) -> None:
    [before] = kube.names("persistentvolumeclaims")
    kube.remove("configmaps", "w")
    kubernetes.create(stage_job("w", Stage.CONFIGURE, attempt=2))
    [after] = kube.names("persistentvolumeclaims")
    assert before != after


def test_f31_a_claim_that_is_being_removed_is_not_used_again(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    first = stage_job("w", Stage.CONFIGURE)
    kubernetes.create(first)
    [old] = kube.names("persistentvolumeclaims")
    claim = kube.objects[("persistentvolumeclaims", "demo", old)]
    kube.remove("configmaps", "w")
    kube.objects[("persistentvolumeclaims", "demo", old)] = claim  # held by a finalizer
    kubernetes.create(first)
    volumes = kube.objects[("jobs", "demo", first.ref.name)]["spec"]["template"]["spec"]["volumes"]
    used = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
    assert used != [old]


@pytest.mark.parametrize("resource", KINDS)
def test_f42_a_conflict_over_the_quota_is_tried_again_at_once(
    kube: FakeKube, kubernetes: KubernetesCluster, resource: str
) -> None:
    kube.fail_next("create", resource, QUOTA_CONFLICT, QUOTA_CONFLICT)
    first = stage_job("w", Stage.CONFIGURE)
    assert kubernetes.create(first)
    assert all(len(kube.names(kind)) == 1 for kind in KINDS)


@pytest.mark.parametrize("resource", KINDS)
def test_f42_a_conflict_that_stays_never_counts_as_created(
    kube: FakeKube, kubernetes: KubernetesCluster, resource: str
) -> None:
    first = stage_job("w", Stage.CONFIGURE)
    kube.chance = lambda verb, plural: QUOTA_CONFLICT if (verb, plural) == ("create", resource) else None
    with pytest.raises(ClusterUnavailable) as later:
        kubernetes.create(first)
    assert later.value.retry_after <= 1
    kube.chance = lambda verb, plural: None
    assert kubernetes.create(first)
    assert all(len(kube.names(kind)) == 1 for kind in KINDS)


def test_f42_a_delete_refused_for_another_reason_than_the_uid_is_tried_again(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.fail_next("delete", "jobs", Fault(409, "the object has been modified"))
    with pytest.raises(ClusterUnavailable):
        kubernetes.delete(replace(job.ref, uid=uid))
    kubernetes.delete(replace(job.ref, uid=uid))
    assert kube.find("jobs", job.ref.name) is None


def test_f42_a_report_that_meets_another_change_is_tried_again(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    kube.put("workflows", {"metadata": {"name": "o"}})
    kube.fail_next("patch", "workflows/status", Fault(409, "the object has been modified"))
    with pytest.raises(ClusterUnavailable):
        kubernetes.report("demo/o", Workflow(WorkflowId("w"), "demo", Limits(), datetime(2026, 11, 22, tzinfo=UTC)))


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.ALGORITHM])
def test_f42_nothing_is_created_below_an_owner_that_is_being_deleted(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, stage: Stage
) -> None:
    owner = kube.objects[("configmaps", "demo", "w")]
    owner["metadata"]["deletionTimestamp"] = kube.now()
    created = kube.created.total()
    with pytest.raises(ClusterUnavailable, match="being deleted"):
        kubernetes.create(stage_job("w", stage, attempt=2))
    assert kube.created.total() == created


@pytest.mark.parametrize("resource", ["secrets", "persistentvolumeclaims"])
def test_f42_a_volume_or_secret_that_is_being_deleted_does_not_count_as_created(
    kube: FakeKube, kubernetes: KubernetesCluster, resource: str
) -> None:
    first = stage_job("w", Stage.CONFIGURE)
    kubernetes.create(first)
    kube.remove("jobs", first.ref.name)
    [name] = kube.names(resource)
    kube.objects[(resource, "demo", name)]["metadata"]["deletionTimestamp"] = kube.now()
    with pytest.raises(ClusterUnavailable, match="being deleted"):
        kubernetes.create(first)
    kube.reap()
    assert kubernetes.create(first)
    assert kube.names(resource) == [name]


@pytest.mark.parametrize("resource", ["secrets", "persistentvolumeclaims"])
def test_f42_a_publish_after_a_stop_gets_the_volume_that_configure_could_not_create(resource: str) -> None:
    world = KubeWorld(KubeObjects())
    exceeded = Fault(403, "forbidden: exceeded quota: environment")
    world.kube.chance = lambda verb, plural: exceeded if (verb, plural) == ("create", resource) else None
    workflow = world.submit()
    assert world.kube.names("jobs") == []
    world.kube.chance = lambda verb, plural: None
    world.stop(workflow)
    assert world.state(workflow).stage is Stage.PUBLISH
    assert [len(world.kube.names(kind)) for kind in KINDS] == [1, 1, 1, 1]
