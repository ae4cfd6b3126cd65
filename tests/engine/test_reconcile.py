"""What the state of a Job means for its workflow, and what is read besides."""

from datetime import UTC, datetime, timedelta

import pytest
from support.memory_cluster import MemoryCluster
from support.world import World

from functions.advance.reconcile import observation_of, reconcile
from functions.cluster.ports import JobRef, JobStatus, State
from functions.results.ports import StorageUnavailable
from functions.telemetry import Span, Telemetry
from functions.workflow.codes import Code
from functions.workflow.model import JobUid, Manifest, Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded, StageLost, StageObservation, StageStuck, Tick

REF = JobRef(WorkflowId("w"), Stage.ALGORITHM, 1, "ocean-compute", executor=2)
UID = JobUid("uid-1")
BEGIN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
END = BEGIN + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("status", "observation"),
    [
        (JobStatus(State.RUNNING, UID), Tick()),
        (JobStatus(State.RUNNING, UID, since=BEGIN), Tick(runs_since=BEGIN)),
        (JobStatus(State.SUSPENDED, UID), Tick(suspended=True)),
        (
            JobStatus(State.STUCK, UID, reason="ErrImagePull", since=BEGIN, definitive=True),
            StageStuck(Stage.ALGORITHM, 1, UID, "ErrImagePull", BEGIN, definitive=True, executor=2),
        ),
        (JobStatus(State.STUCK, UID, reason="ErrImagePull"), Tick()),  # nobody knows since when
        (JobStatus(State.GONE), StageLost(Stage.ALGORITHM, 1, executor=2)),
        (
            JobStatus(
                State.ENDED, UID, Outcome.FAILED, 137, "OOMKilled", True, BEGIN, END, facts={"image": "sha256:a"}
            ),
            StageEnded(
                Stage.ALGORITHM,
                1,
                UID,
                Outcome.FAILED,
                exit_code=137,
                reason="OOMKilled",
                oom_killed=True,
                executor=2,
                started_at=BEGIN,
                ended_at=END,
                facts={"image": "sha256:a"},
            ),
        ),
        # A Job that has ended, and does not say how, has not succeeded.
        (JobStatus(State.ENDED, UID), StageEnded(Stage.ALGORITHM, 1, UID, Outcome.FAILED, executor=2)),
    ],
)
def test_the_state_of_a_job_becomes_an_observation(status: JobStatus, observation: StageObservation | Tick) -> None:
    assert observation_of(REF, status) == observation


def test_the_facts_of_a_published_manifest_join_those_of_the_job() -> None:
    ended = observation_of(REF, JobStatus(State.ENDED, UID, Outcome.SUCCEEDED, facts={"image": "sha256:a"}), Manifest())
    assert isinstance(ended, StageEnded)
    assert ended.manifest == Manifest()
    assert ended.facts["image"] == "sha256:a"
    assert ended.facts["files"] == "0"


def test_a_publish_that_failed_is_seen_to_end_although_the_storage_does_not_answer() -> None:
    world = World()
    w = world.reached(Stage.PUBLISH)

    def manifest(*_: object) -> None:
        raise StorageUnavailable("s3 is away")

    world.storage.manifest = manifest  # type: ignore[assignment]
    world.cluster.finish(world.job(w), 62, "ResultTooLarge")
    world.deliver()
    assert world.state(w).status == Code.UPLOAD_FAILED


def test_an_end_that_is_read_twice_is_told_to_telemetry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Span] = []
    world = World()
    world.app.telemetry = Telemetry(lambda: lambda spans, _: told.extend(spans), delay=0)
    w = world.state(world.submit())
    ended = JobStatus(State.ENDED, w.job_uid, Outcome.SUCCEEDED, 0, scheduled=world.clock())
    monkeypatch.setattr(MemoryCluster, "read", lambda *_: ended)
    for _ in range(2):
        reconcile(world.app, w, "test")
    world.app.telemetry.close()
    assert [span.name for span in told].count("schedule") == 1
