"""F24–F32: what goes wrong between us and the Kubernetes API, and in the cluster behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from support.clusters import stage_job
from support.fake_kube import FakeKube, Fault, now

from functions.cluster.kubernetes import client
from functions.cluster.kubernetes.cluster import KubernetesCluster, workflow_status
from functions.cluster.ports import JobStatus, NameConflict, Rejected, StageJob, State, Unavailable
from functions.settings import Settings
from functions.workflow.codes import Code
from functions.workflow.model import Ending, JobUid, Limits, Outcome, Phase, Stage, Workflow, WorkflowId

ALGORITHM = stage_job("w", Stage.ALGORITHM)


@pytest.fixture
def job(kubernetes: KubernetesCluster) -> StageJob:
    """An algorithm's Job that can be created: its volume is there."""
    kubernetes.create(stage_job("w", Stage.CONFIGURE))
    return ALGORITHM


@pytest.fixture
def uid(job: StageJob, kubernetes: KubernetesCluster) -> JobUid:
    """… and was."""
    return kubernetes.create(job)


@pytest.mark.parametrize("fault", [Fault(500, after=True), Fault(504, after=True), Fault(0, after=True)])
@pytest.mark.parametrize("resource", ["configmaps", "secrets", "persistentvolumeclaims", "jobs"])
def test_f24_a_create_that_failed_and_was_done_all_the_same_is_healed_by_the_next_try(
    kube: FakeKube, kubernetes: KubernetesCluster, resource: str, fault: Fault
) -> None:
    first = stage_job("w", Stage.CONFIGURE)
    kube.fail_next("create", resource, fault)
    with pytest.raises(Unavailable):
        kubernetes.create(first)
    uid = kubernetes.create(first)
    assert kubernetes.read(first.ref) == JobStatus(State.RUNNING, uid)
    assert kube.created == {first.ref.name: 1}
    owners = {o["metadata"]["ownerReferences"][0]["uid"] for k, o in kube.objects.items() if k[0] == "jobs"}
    assert owners == {kube.objects[("configmaps", "demo", "w")]["metadata"]["uid"]}


def test_f24_an_api_that_never_answers_is_given_up_after_a_time(
    kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.05)
    impatient = KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(tmp_path)))
    kube.fail_next("get", "jobs", Fault(-1))
    with pytest.raises(Unavailable, match="does not answer"):
        impatient.read(ALGORITHM.ref)


def test_f25_a_conflict_with_our_own_job_is_success(
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
def test_f25_a_conflict_with_somebody_elses_job_is_an_incident(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, labels: dict[str, str]
) -> None:
    alien = kube.put("jobs", {"metadata": {"name": job.ref.name, "labels": labels}, "spec": {"suspend": True}})
    with pytest.raises(NameConflict):
        kubernetes.create(job)
    assert kubernetes.delete(job.ref) is True
    assert kube.find("jobs", job.ref.name) == alien


def test_f25_somebody_elses_owner_of_our_name_is_an_incident(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    kube.put("configmaps", {"metadata": {"name": "w"}})
    with pytest.raises(NameConflict):
        kubernetes.create(stage_job("w", Stage.CONFIGURE))


def test_f25_a_job_that_is_being_deleted_is_not_taken_for_the_new_one(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.lingering = True
    assert kubernetes.delete(replace(job.ref, uid=uid)) is False
    with pytest.raises(Unavailable, match="being deleted"):
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
def test_f26_a_refusal_has_a_reason_and_says_whether_it_is_final(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, fault: Fault, reason: str, final: bool
) -> None:
    kube.fail_next("create", "jobs", fault)
    with pytest.raises(Rejected) as refused:
        kubernetes.create(job)
    assert (refused.value.reason, refused.value.final) == (reason, final)
    assert kubernetes.create(job)  # nothing was left half-done


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(Fault(429, headers={"Retry-After": "17"}), 17), (Fault(429), 5), (Fault(503, headers={"Retry-After": "2"}), 2)],
)
def test_f26_a_throttled_call_comes_again_when_the_api_says(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, fault: Fault, seconds: int
) -> None:
    kube.fail_next("create", "jobs", fault)
    with pytest.raises(Unavailable) as later:
        kubernetes.create(job)
    assert later.value.retry_after == seconds


@pytest.mark.parametrize("verb", ["get", "delete", "list"])
@pytest.mark.parametrize("fault", [Fault(500), Fault(401), Fault(0)])
def test_f26_no_method_takes_an_error_for_an_answer(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, verb: str, fault: Fault
) -> None:
    for resource in ("jobs", "pods", "configmaps"):
        kube.fail_next(verb, resource, fault)
    with pytest.raises(Unavailable):
        kubernetes.delete(replace(job.ref, uid=uid)) if verb == "delete" else kubernetes.read(job.ref)


@pytest.mark.parametrize(
    ("verb", "resource"), [("get", "jobs"), ("list", "pods"), ("delete", "jobs"), ("get", "pods/log")]
)
def test_a_missing_right_is_no_answer_and_is_named_for_the_operator(
    kube: FakeKube,
    kubernetes: KubernetesCluster,
    job: StageJob,
    uid: JobUid,
    verb: str,
    resource: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kube.fail_next(verb, resource, Fault(403, f'{resource} is forbidden: User "x" cannot {verb}'))
    ref = replace(job.ref, uid=uid)
    calls: dict[str, Callable[[], object]] = {
        "get jobs": lambda: kubernetes.read(ref),
        "list pods": lambda: kubernetes.read(ref),
        "delete jobs": lambda: kubernetes.delete(ref),
        "get pods/log": lambda: list(kubernetes.logs(ref, 10, 10)),
    }
    with pytest.raises(Unavailable, match="forbids it"):
        calls[f"{verb} {resource}"]()
    told = [vars(logged)["fields"] for logged in caplog.records if "refused a call" in logged.message]
    assert told == [{"verb": verb, "resource": resource, "namespace": "demo"}]


def test_an_api_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    fake = FakeKube()
    cluster = KubernetesCluster(Settings(kubeconfig=fake.kubeconfig(tmp_path)))
    fake.close()
    with pytest.raises(Unavailable, match="does not answer"):
        cluster.read(ALGORITHM.ref)


@pytest.mark.parametrize("lost", ["jobs", "configmaps"])
def test_f27_what_was_deleted_by_hand_is_gone(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, lost: str
) -> None:
    kube.remove(lost, job.ref.name if lost == "jobs" else "w")
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.GONE)


def test_f27_a_job_that_is_being_deleted_is_gone_with_its_last_pod(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.lingering = True
    kubernetes.delete(replace(job.ref, uid=uid))
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.RUNNING, uid)
    kube.pod_state(job.ref.name, {"terminated": {"exitCode": 137, "reason": "Error"}}, "Failed")
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.GONE)


def test_f27_an_algorithm_never_starts_on_a_new_empty_volume(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob
) -> None:
    kube.remove("configmaps", "w")
    with pytest.raises(Rejected, match="removed") as refused:
        kubernetes.create(job)
    assert (refused.value.reason, refused.value.final) == ("VolumeLost", True)


def test_f27_configure_lays_a_new_volume_where_the_old_one_was_removed(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob
) -> None:
    [before] = kube.names("persistentvolumeclaims")
    kube.remove("configmaps", "w")
    kubernetes.create(stage_job("w", Stage.CONFIGURE, attempt=2))
    [after] = kube.names("persistentvolumeclaims")
    assert before != after


@pytest.mark.parametrize(
    "reason", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError"]
)
@pytest.mark.parametrize("by_pod", [True, False])
def test_f28_a_pod_that_waits_for_ever_is_stuck_since_it_was_scheduled(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, reason: str, by_pod: bool
) -> None:
    pod = kube.pod_state(job.ref.name, {"waiting": {"reason": reason}}, "Pending")
    live = kubernetes.read(replace(job.ref, uid=uid), pod if by_pod else None)
    assert (live.state, live.reason, live.uid) == (State.STUCK, reason, uid)
    assert live.since is not None
    assert live.since.tzinfo == UTC


def test_f28_an_unschedulable_pod_is_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now()}
    pod = kube.objects[("pods", "demo", kube.pod_of(job.ref.name))]
    pod["status"] |= {"conditions": [condition]}
    live = kubernetes.read(job.ref)
    assert (live.state, live.reason) == (State.STUCK, "Unschedulable")


def test_f28_a_pod_whose_image_is_being_pulled_is_not_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    ready = [{"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": now()}]
    kube.pod_state(job.ref.name, {"waiting": {"reason": "ContainerCreating"}}, "Pending", conditions=ready)
    assert kubernetes.read(job.ref).state is State.RUNNING


def test_f28_a_job_that_gets_no_pod_at_all_is_stuck_since_it_began(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    held = kube.objects[("jobs", "demo", job.ref.name)]
    held["status"] = {"startTime": "2026-11-22T02:29:57Z", "active": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    since = datetime(2026, 11, 22, 2, 29, 57, tzinfo=UTC)
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.STUCK, uid, reason="NoPod", since=since)


@pytest.mark.parametrize(
    "status",
    [
        {},  # the Job controller has not seen it yet
        {"startTime": "2026-11-22T02:29:57Z", "active": 1},
        {"startTime": "2026-11-22T02:29:57Z", "terminating": 1},
        {"startTime": "2026-11-22T02:29:57Z", "failed": 1},
        {"startTime": "2026-11-22T02:29:57Z", "uncountedTerminatedPods": {"failed": ["x"]}},
    ],
)
def test_f28_a_job_that_has_or_had_pods_elsewhere_is_not_stuck_for_the_want_of_one(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, status: dict[str, object]
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    kube.objects[("jobs", "demo", job.ref.name)]["status"] = status
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.RUNNING, uid)


@pytest.mark.parametrize("by_pod", [True, False])
def test_a_container_that_runs_says_since_when(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, by_pod: bool
) -> None:
    pod = kube.pod_state(job.ref.name, {"running": {"startedAt": "2026-11-22T02:29:57Z"}})
    since = datetime(2026, 11, 22, 2, 29, 57, tzinfo=UTC)
    live = kubernetes.read(replace(job.ref, uid=uid), pod if by_pod else None)
    assert live == JobStatus(State.RUNNING, uid, since=since)


def test_f29_a_program_that_was_killed_for_its_memory_says_so(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.terminate(job.ref.name, 137, "OOMKilled")
    live = kubernetes.read(replace(job.ref, uid=uid), pod)
    assert live == JobStatus(State.ENDED, uid, Outcome.FAILED, 137, "OOMKilled", oom_killed=True)


def test_f29_a_pod_evicted_for_its_disk_use_has_failed(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.pod_state(job.ref.name, {"terminated": {"exitCode": 137, "reason": "Error"}}, "Failed", reason="Evicted")
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, 137, "Evicted")


def test_f29_a_pod_refused_by_its_node_has_failed_without_an_exit_code(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.objects[("pods", "demo", kube.pod_of(job.ref.name))]
    pod["status"] |= {"phase": "Failed", "reason": "OutOfcpu"}
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, None, "OutOfcpu")


def drained(kube: FakeKube, job: StageJob) -> str:
    """The Pod of a node that is being emptied; its name."""
    disrupted = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    killed = {"terminated": {"exitCode": 143, "reason": "Error"}}
    return kube.pod_state(job.ref.name, killed, "Failed", conditions=disrupted)


def test_f29_a_drained_pod_says_nothing_because_its_job_replaces_it(
    kube: FakeKube, kubernetes: KubernetesCluster
) -> None:
    job = stage_job("w", Stage.CONFIGURE)
    uid = kubernetes.create(job)
    pod = drained(kube, job)
    assert kubernetes.read(replace(job.ref, uid=uid), pod) == JobStatus(State.RUNNING, uid)
    kube.start_pod(job.ref.name)
    kube.terminate(job.ref.name, 0)
    assert kubernetes.read(replace(job.ref, uid=uid), pod).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("pod_is_gone", [True, False])
def test_f29_a_drained_algorithm_has_failed_and_says_that_it_was_disrupted(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, pod_is_gone: bool
) -> None:
    pod = drained(kube, job)
    assert kubernetes.read(replace(job.ref, uid=uid), pod) == JobStatus(
        State.RUNNING, uid
    )  # the Job has not decided yet
    said = f"Pod demo/{pod} has condition DisruptionTarget matching FailJob rule at index 0"
    if pod_is_gone:
        kube.remove("pods", pod)
    kube.job_condition(
        job.ref.name,
        ("FailureTarget", "PodFailurePolicy"),
        ("Failed", "PodFailurePolicy"),
        message=said if pod_is_gone else "",
    )
    assert kubernetes.read(replace(job.ref, uid=uid), pod) == JobStatus(
        State.ENDED, uid, Outcome.FAILED, None, "Disrupted"
    )


def test_f29_a_program_that_fails_after_its_first_pod_was_drained_says_its_own_reason(
    kube: FakeKube, kubernetes: KubernetesCluster
) -> None:
    job = stage_job("w", Stage.CONFIGURE)
    uid = kubernetes.create(job)
    drained(kube, job)
    kube.start_pod(job.ref.name)
    kube.finish(job.ref.name, 31, message="DataUnavailable: input 0 answered 404")
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, 31, "DataUnavailable")


def test_f29_the_deadline_is_a_time_out_whatever_the_killed_program_answers(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.terminate(job.ref.name, 137)
    kube.objects[("pods", "demo", pod)]["metadata"]["deletionTimestamp"] = now()
    kube.job_condition(job.ref.name, ("FailureTarget", "DeadlineExceeded"), ("Failed", "DeadlineExceeded"))
    live = kubernetes.read(replace(job.ref, uid=uid), pod)
    assert live == JobStatus(State.ENDED, uid, Outcome.TIMED_OUT, None, "DeadlineExceeded")


def test_f29_the_exit_code_stands_in_the_job_where_the_pod_is_gone(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    said = "Container main for pod demo/x failed with exit code 42 matching FailJob rule at index 1"
    kube.job_condition(
        job.ref.name, ("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy"), message=said
    )
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, 42, "Error")


def test_f29_a_failed_job_that_left_nothing_says_its_own_reason(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    kube.job_condition(job.ref.name, ("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded"))
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, None, "BackoffLimitExceeded")


def test_f29_our_own_programs_say_why_they_failed_and_no_other_is_believed(
    kube: FakeKube, kubernetes: KubernetesCluster
) -> None:
    first, second = stage_job("w", Stage.CONFIGURE), stage_job("w", Stage.ALGORITHM)
    reasons = []
    for each in (first, second):
        kubernetes.create(each)
        kube.terminate(each.ref.name, 31, "Error", "DataUnavailable: input 0 answered 404")
        reasons.append(kubernetes.read(each.ref).reason)
    assert reasons == ["DataUnavailable", "Error"]


@pytest.mark.parametrize(
    "conditions",
    [
        [{"type": "SuccessCriteriaMet", "status": "False"}, {"type": "Complete", "status": "False"}],
        [{"type": "Failed", "status": "Unknown"}],
        [{"type": "Suspended", "status": "False"}, {"type": "Novel", "status": "True"}],
    ],
)
def test_f30_a_condition_counts_only_where_it_is_known_and_true(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, conditions: list[dict[str, str]]
) -> None:
    kube.objects[("jobs", "demo", job.ref.name)]["status"]["conditions"] = conditions
    assert kubernetes.read(job.ref) == JobStatus(State.RUNNING, uid)


def test_f30_a_failure_target_is_no_end_while_a_pod_is_alive(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.job_condition(job.ref.name, ("FailureTarget", "DeadlineExceeded"), terminating=1)
    assert kubernetes.read(job.ref).state is State.RUNNING
    kube.job_condition(job.ref.name, ("FailureTarget", "DeadlineExceeded"), terminating=0)
    assert kubernetes.read(job.ref).outcome is Outcome.TIMED_OUT


def test_f30_the_suspended_condition_may_stand_first(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.job_condition(job.ref.name, ("Suspended", "JobResumed"), ("Complete", "CompletionsReached"))
    assert kubernetes.read(job.ref).outcome is Outcome.SUCCEEDED


def test_f31_a_claim_that_cannot_be_mounted_is_a_stuck_stage(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    since = datetime(2026, 11, 22, 2, 29, 57, tzinfo=UTC)
    waits = [{"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": "2026-11-22T02:29:57Z"}]
    kube.pod_state(job.ref.name, {"waiting": {"reason": "ContainerCreating"}}, "Pending", conditions=waits)
    assert kubernetes.read(job.ref) == JobStatus(State.STUCK, uid, reason="FailedMount", since=since)


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


def test_f32_kueue_holds_a_job_back_lets_it_go_and_takes_it_back(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob
) -> None:
    queued = replace(job, environment=msgspec.structs.replace(job.environment, queue_name="team"))
    uid = kubernetes.create(queued)
    held = kube.objects[("jobs", "demo", job.ref.name)]
    assert held["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert kubernetes.read(job.ref) == JobStatus(State.SUSPENDED, uid)
    held["spec"]["suspend"] = False
    kube.start_pod(job.ref.name)
    assert kubernetes.read(job.ref) == JobStatus(State.RUNNING, uid)
    held["spec"]["suspend"] = True  # evicted: its Pod is removed
    kube.remove("pods", kube.pod_of(job.ref.name))
    assert kubernetes.read(job.ref) == JobStatus(State.SUSPENDED, uid)


def test_f8_a_pod_that_somebody_else_made_with_our_labels_proves_nothing(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    ours = kube.find("pods", kube.pod_of(job.ref.name))
    assert ours is not None
    for owners in ([], [{**ours["metadata"]["ownerReferences"][0], "uid": "another"}]):
        ended = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}
        forged = {"metadata": {**ours["metadata"], "name": "forged", "ownerReferences": owners}, "status": ended}
        kube.put("pods", forged)
        assert kubernetes.read(replace(job.ref, uid=uid), "forged") == JobStatus(State.RUNNING, uid)


def test_f7_an_event_before_our_own_record_of_the_job_still_finds_the_truth(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.terminate(job.ref.name, 0)
    assert kubernetes.read(job.ref, pod) == JobStatus(State.ENDED, uid, Outcome.SUCCEEDED, 0)


# --- WorkFlow objects -----------------------------------------------------------------------


def workflow(phase: Phase, code: int = 40, ending: Ending | None = None) -> Workflow:
    at = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    end = at if phase is Phase.FINISHED else None
    return Workflow(
        WorkflowId("w"), "demo", Limits(), at, phase=phase, status=code, ending=ending, finished_at=end, reported=True
    )


CRASHED = Ending(Code.ALGORITHM_FAILED, "AlgorithmExit:3", 3)


@pytest.mark.parametrize(
    ("state", "phase", "succeeded", "reason"),
    [
        (workflow(Phase.ALGORITHM), "Algorithm", "Unknown", None),
        (workflow(Phase.FINISHED, 70), "Finished", "True", None),
        (workflow(Phase.FINISHED, 41, CRASHED), "Failed", "False", "AlgorithmExit:3"),
        (workflow(Phase.FINISHED, 70, Ending(Code.FINISHED, "StopRequested")), "Finished", "True", "StopRequested"),
    ],
)
def test_the_status_of_a_workflow_object_tells_phase_and_reason(
    kube: FakeKube, kubernetes: KubernetesCluster, state: Workflow, phase: str, succeeded: str, reason: str | None
) -> None:
    kube.put("workflows", {"metadata": {"name": "o"}})
    kubernetes.report("demo/o", state)
    found = kubernetes.workflow_object("demo/o")
    assert found is not None
    written = found["status"]
    assert (written["phase"], written.get("reason"), written["conditions"][0]["status"]) == (phase, reason, succeeded)


def test_a_workflow_object_that_was_corrected_starts_over(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    kube.put("workflows", {"metadata": {"name": "o"}})
    kubernetes.report("demo/o", workflow(Phase.FINISHED, 32, Ending(Code.ALGORITHM_PROVISIONING_FAILED, "Invalid: x")))
    kubernetes.report("demo/o", workflow(Phase.QUEUED, 1))
    found = kubernetes.workflow_object("demo/o")
    assert found is not None
    assert {"reason", "finishedAt", "exitCode"} & set(found["status"]) == set()


def test_reporting_to_an_object_that_is_gone_is_final(kubernetes: KubernetesCluster) -> None:
    with pytest.raises(Rejected) as refused:
        kubernetes.report("demo/absent", workflow(Phase.QUEUED))
    assert refused.value.final


def test_the_reason_of_a_condition_is_one_word() -> None:
    told = workflow_status(
        workflow(Phase.FINISHED, 32, Ending(Code.ALGORITHM_PROVISIONING_FAILED, "Invalid: $.stages: 1"))
    )
    [condition] = told["conditions"]
    assert (condition["reason"], condition["message"]) == ("Invalid", "Invalid: $.stages: 1")
