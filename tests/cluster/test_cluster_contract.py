"""The contract of every cluster: in memory, as processes, on Kubernetes (fake or real)."""

from __future__ import annotations

from uuid import uuid4

import pytest
from msgspec.structs import replace
from support.clusters import PRINTED, Driver, eventually, until

from functions.cluster.ports import JobRef, JobStatus, NameConflict, State
from functions.workflow.model import JobUid, Outcome, Stage, WorkflowId
from functions.workflow.tick import TickLevel


@pytest.fixture
def workflow() -> str:
    return uuid4().hex


def ended(driver: Driver, ref: JobRef) -> JobStatus:
    return until(lambda: driver.cluster.read(ref), lambda status: status.state is State.ENDED)


def gone(driver: Driver, ref: JobRef) -> bool:
    return until(lambda: driver.cluster.read(ref), lambda status: status.state is State.GONE).state is State.GONE


def test_a_created_job_runs(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    uid = cluster_under_test.create(job)
    status = cluster_under_test.cluster.read(replace(job.ref, uid=uid))
    assert (status.state, status.uid) == (State.RUNNING, uid)


def test_creating_a_job_again_is_the_same_job(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    assert cluster_under_test.create(job) == cluster_under_test.cluster.create(job)


def test_creating_a_job_that_has_ended_is_the_same_job(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow, ends_with=0)
    uid = cluster_under_test.create(job)
    ended(cluster_under_test, job.ref)
    assert cluster_under_test.cluster.create(job) == uid


def test_exit_code_zero_is_success(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow, ends_with=0)
    uid = cluster_under_test.create(job)
    status = ended(cluster_under_test, job.ref)
    assert (status.outcome, status.exit_code, status.uid) == (Outcome.SUCCEEDED, 0, uid)


def test_the_exit_code_of_a_failure_is_the_programs_own(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow, ends_with=3)
    cluster_under_test.create(job)
    status = ended(cluster_under_test, job.ref)
    assert (status.outcome, status.exit_code, status.oom_killed) == (Outcome.FAILED, 3, False)


def test_a_job_that_was_never_created_is_gone(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    assert cluster_under_test.cluster.read(job.ref).state is State.GONE


def test_a_job_that_somebody_deleted_is_gone(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    cluster_under_test.create(job)
    cluster_under_test.lose(job.ref)
    assert gone(cluster_under_test, job.ref)


def test_a_job_of_the_same_name_with_another_uid_does_not_count(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow, ends_with=0)
    cluster_under_test.create(job)
    other = replace(job.ref, uid=JobUid(str(uuid4())))
    assert cluster_under_test.cluster.read(other).state is State.GONE


def test_deleting_a_running_job_ends_it(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    uid = cluster_under_test.create(job)
    cluster_under_test.cluster.delete(replace(job.ref, uid=uid))
    assert gone(cluster_under_test, job.ref)
    # On Kubernetes the Job is gone a moment after its last Pod has ended.
    assert eventually(lambda: cluster_under_test.cluster.delete(job.ref))


def test_deleting_a_job_that_never_existed_returns_true(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    assert cluster_under_test.cluster.delete(job.ref) is True


def test_deleting_by_another_uid_leaves_the_job_alone(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    uid = cluster_under_test.create(job)
    assert cluster_under_test.cluster.delete(replace(job.ref, uid=JobUid(str(uuid4())))) is True
    assert cluster_under_test.cluster.read(job.ref).uid == uid


def test_each_attempt_is_a_job_of_its_own(cluster_under_test: Driver, workflow: str) -> None:
    first, second = (cluster_under_test.job(workflow, ends_with=0, attempt=n) for n in (1, 2))
    assert cluster_under_test.create(first) != cluster_under_test.create(second)


def test_a_foreign_job_of_our_name_is_a_name_conflict_and_stays(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    if not cluster_under_test.occupy(job.ref):
        pytest.skip("names are ours alone here")
    with pytest.raises(NameConflict):
        cluster_under_test.cluster.create(job)
    assert cluster_under_test.cluster.read(job.ref).state is State.GONE
    assert cluster_under_test.cluster.delete(job.ref) is True
    with pytest.raises(NameConflict):  # it is still there
        cluster_under_test.cluster.create(job)


def test_cleaning_up_leaves_nothing_of_the_workflow(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    cluster_under_test.create(job)
    namespace = job.ref.namespace
    assert workflow in cluster_under_test.cluster.orphans(namespace, 100)
    for _ in range(2):
        cluster_under_test.cluster.clean_up(WorkflowId(workflow), namespace)
    assert gone(cluster_under_test, job.ref)
    assert workflow not in cluster_under_test.cluster.orphans(namespace, 100)


def test_cleaning_up_spares_other_workflows(cluster_under_test: Driver, workflow: str) -> None:
    one, other = (cluster_under_test.job(name) for name in (workflow, uuid4().hex))
    cluster_under_test.create(one)
    uid = cluster_under_test.create(other)
    cluster_under_test.cluster.clean_up(one.workflow, one.ref.namespace)
    assert cluster_under_test.cluster.read(other.ref).uid == uid


def test_orphans_are_limited_to_the_number_asked_for(cluster_under_test: Driver) -> None:
    for name in (uuid4().hex, uuid4().hex, uuid4().hex):
        job = cluster_under_test.job(name)
        cluster_under_test.create(job)
    assert len(cluster_under_test.cluster.orphans(job.ref.namespace, 2)) == 2


def test_the_end_of_a_log_can_be_read_by_lines_and_by_bytes(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow, ends_with=0)
    cluster_under_test.create(job)
    ended(cluster_under_test, job.ref)

    def read(lines: int, max_bytes: int) -> bytes:
        return b"".join(cluster_under_test.cluster.logs(job.ref, lines, max_bytes))

    assert read(100, 100) == PRINTED
    assert read(1, 100) == b"there\n"
    assert read(1, 3) == b"the"
    assert read(2, 8) == PRINTED[:8]


def test_a_job_that_is_gone_has_no_log(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow)
    assert b"".join(cluster_under_test.cluster.logs(job.ref, 100, 100)) == b""


def test_a_log_is_followed_to_the_end_of_its_job(cluster_under_test: Driver, workflow: str) -> None:
    job = cluster_under_test.job(workflow, ends_with=0)
    uid = cluster_under_test.create(job)
    ended(cluster_under_test, job.ref)
    ref = replace(job.ref, uid=uid)
    assert b"".join(cluster_under_test.cluster.follow(ref, 0)) == PRINTED
    assert b"".join(cluster_under_test.cluster.follow(ref, 6)) == PRINTED[6:]
    assert b"".join(cluster_under_test.cluster.follow(ref, len(PRINTED))) == b""


def test_a_job_that_is_gone_has_no_log_to_follow(cluster_under_test: Driver, workflow: str) -> None:
    assert list(cluster_under_test.cluster.follow(cluster_under_test.job(workflow).ref, 0)) == []


def test_a_workflow_object_that_does_not_exist_is_none(cluster_under_test: Driver) -> None:
    ref = cluster_under_test.job(uuid4().hex).ref
    if ref.namespace.startswith("sluice-test-"):
        pytest.skip("the cluster may lack the kind")
    assert cluster_under_test.cluster.workflow_object(f"{ref.namespace}/absent") is None


def test_every_stage_and_attempt_has_its_own_name() -> None:
    names = {JobRef(WorkflowId("w"), stage, n, "demo").name for stage in Stage for n in (1, 2)}
    assert len(names) == 2 * len(Stage)


def test_ticks_come_at_the_level_that_was_set_last(cluster_under_test: Driver) -> None:
    if cluster_under_test.tick() is None:
        pytest.skip("no ticks here")
    fast, medium, slow, none = TickLevel.FAST, TickLevel.MEDIUM, TickLevel.SLOW, TickLevel.NONE
    for level in (none, fast, fast, medium, medium, slow, slow, fast, none, none, slow, none):
        cluster_under_test.cluster.set_tick(level)
        assert cluster_under_test.tick() is level
