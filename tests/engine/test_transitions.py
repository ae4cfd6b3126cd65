"""Workflows from submission to end: which Jobs run, with what, and what is left behind."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from support.world import DOCUMENT, ENVIRONMENT, World, environment

from functions.cluster.ports import ClusterUnavailable, StageJob, job_ref
from functions.cluster.stage_command import ocean
from functions.results.ports import StorageUnavailable
from functions.settings import Settings
from functions.workflow.codes import Code
from functions.workflow.decision import Verdict
from functions.workflow.document import parse
from functions.workflow.model import Limits, Phase, Scope, Stage, Stop, Waiting, Workflow, WorkflowId


def test_a_workflow_runs_through_its_stages_and_leaves_nothing_behind() -> None:
    world = World()
    w = world.submit()
    world.run(w)
    assert world.state(w).status == Code.FINISHED
    assert list(world.lines(w)) == [
        "submitted",
        "admitted",
        "configure succeeded",
        "algorithm succeeded",
        "publish succeeded",
    ]
    assert world.cluster.present() == []
    found = world.app.store.get(w)
    assert found is not None
    assert [f.path for f in found.manifest.files] == ["outputs/a.csv"]


def test_a_fault_free_workflow_costs_few_calls_to_the_cluster() -> None:
    world = World()
    world.run(world.submit())
    assert sum(world.cluster.calls.values()) <= 8  # 3 creations, 3 reads, 1 clean-up, 1 in reserve


def test_stages_run_with_the_document_and_the_terms_of_the_submission() -> None:
    world = World(ram_gb=2)
    w = world.submit()
    requested = world.cluster.request(world.job(w))
    assert requested is not None
    assert (requested.stage, requested.attempt, requested.limits.memory) == (Stage.CONFIGURE, 1, 2 << 30)
    assert ocean(requested).stage.algorithm.rawcode == "print(1)"


def test_a_job_whose_environment_was_taken_out_of_the_file_is_still_found_and_cleaned_up() -> None:
    world = World(namespace="jobs")
    w = world.submit()
    world.end_job(w)
    world.deliver()
    algorithm = world.job(w)
    assert (algorithm.stage, algorithm.namespace) == (Stage.ALGORITHM, "jobs")
    world.app.environments = {"another": environment(id="another")}
    world.tick()
    assert world.state(w).stage is Stage.ALGORITHM
    assert world.cluster.running() == [algorithm]
    world.end_job(w, 3)
    world.deliver()
    ending = world.state(w).ending
    assert ending is not None
    assert (world.state(w).finished, ending.reason, world.cluster.present()) == (True, "AlgorithmExit:3", [])


def test_publish_is_told_of_the_bucket_that_only_the_mounted_secret_names(tmp_path: Path) -> None:
    (tmp_path / "AWS_BUCKET_OUTPUT").write_text("mounted\n")
    world = World()
    world.app.settings = Settings.load({"SLUICE_CREDENTIALS": str(tmp_path)})
    w = world.submit()
    requested = world.cluster.request(world.job(w))
    assert requested is not None
    assert requested.results == "s3://mounted"


def test_all_stages_run_where_the_first_did_whatever_the_environments_file_says_by_now() -> None:
    world = World(namespace="before")
    w = world.submit()
    world.app.environments = {ENVIRONMENT: environment(namespace="after")}
    world.run(w)
    assert world.state(w).status == Code.FINISHED
    assert world.cluster.present() == []


@pytest.mark.parametrize(("environments", "place"), [({ENVIRONMENT: "jobs"}, "jobs"), ({}, ENVIRONMENT)])
def test_a_record_from_before_namespaces_were_recorded_goes_by_its_environment(
    environments: dict[str, str], place: str
) -> None:
    world = World()
    world.app.environments = {id: environment(namespace=name) for id, name in environments.items()}
    stored = msgspec.json.decode(b'{"algorithm_seconds": 60}', type=Limits)
    old = Workflow(WorkflowId("w"), ENVIRONMENT, stored, world.clock())
    assert job_ref(old, Stage.CONFIGURE, 1, world.app.environments).namespace == place


def test_a_stop_deletes_the_job_and_publishes_what_there_is() -> None:
    world = World()
    w = world.submit()
    world.end_job(w)
    world.deliver()
    assert world.stop(w) is Verdict.APPLIED
    assert [ref.stage for ref in world.cluster.running()] == [Stage.PUBLISH]
    world.run(w)
    assert (world.state(w).status, world.state(w).stop) == (70, Stop.REQUESTED)


def test_while_a_deleted_pod_lingers_nothing_else_starts() -> None:
    world = World(lingering=True)
    w = world.submit()
    world.stop(w)
    assert world.state(w).phase is Phase.CONFIGURE
    assert len(world.cluster.present()) == 1
    world.cluster.vanish(world.job(w))
    world.deliver()
    assert world.state(w).phase is Phase.PUBLISH


def test_a_deleted_workflow_ends_and_its_results_go() -> None:
    world = World()
    w = world.submit()
    world.delete(w)
    assert world.state(w).finished
    assert world.state(w).removed
    assert world.storage.removed == [w]
    assert world.cluster.present() == []


def test_a_workflow_that_was_stopped_and_deleted_during_an_outage_frees_its_slot_at_once_afterwards() -> None:
    world = World(max_jobs=1)
    first, second = world.submit(), world.submit()
    for request in (world.stop, world.delete):
        world.cluster.fail_next("delete", ClusterUnavailable("away"))
        with pytest.raises(ClusterUnavailable):
            request(first)
    world.app.transitions.carry_out(first, "test")  # two deletions of one Job; the second changes nothing more
    assert world.state(first).finished
    assert world.storage.removed == [first]
    assert [(ref.workflow, ref.stage) for ref in world.cluster.present()] == [(second, Stage.CONFIGURE)]


def test_a_publish_without_a_manifest_has_published_nothing_and_runs_again() -> None:
    world = World()
    w = world.submit()
    for _ in range(2):
        world.end_job(w)
        world.deliver()
    world.cluster.finish(world.job(w), 0)
    world.deliver()
    assert (world.state(w).phase, world.state(w).attempt) == (Phase.PUBLISH, 2)


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "Unschedulable", "NoPod"])
def test_an_algorithm_that_never_starts_fails_with_what_it_waited_for_under_default_limits(reason: str) -> None:
    world = World()
    w = world.reached(Stage.ALGORITHM)
    world.cluster.stick(world.job(w), reason, world.clock())
    while world.state(w).phase is Phase.ALGORITHM:
        world.tick()
        waiting = world.state(w).waiting
        assert waiting is None or waiting.reason == reason
    world.run(w)
    ending = world.state(w).ending
    assert ending is not None
    assert (ending.code, ending.reason, world.state(w).stop) == (Code.ALGORITHM_FAILED, reason, Stop.NONE)


def test_an_algorithm_that_started_late_runs_as_long_as_it_may() -> None:
    world = World(max_job_duration=120)
    w = world.reached(Stage.ALGORITHM)
    since = world.clock()
    world.cluster.stick(world.job(w), "Unschedulable", since)
    for _ in range(9):
        world.tick()
    assert world.state(w).waiting == Waiting("Unschedulable", since)
    world.cluster.begin(world.job(w), world.clock())
    world.tick()
    assert (world.state(w).waiting, world.state(w).halt) == (None, None)
    world.tick()
    world.run(w)
    assert (world.state(w).status, world.state(w).stop) == (Code.FINISHED, Stop.TIMED_OUT)


def test_a_manifest_that_cannot_be_read_now_is_read_later() -> None:
    world = World()
    w = world.submit()
    for _ in range(2):
        world.end_job(w)
        world.deliver()
    world.end_job(w)
    world.events.clear()
    reading, down = world.storage.manifest, True

    def manifest(*arguments: object) -> object:
        if down:
            raise StorageUnavailable("s3 is away")
        return reading(*arguments)  # type: ignore[arg-type]

    world.storage.manifest = manifest  # type: ignore[assignment,method-assign]
    world.tick()
    assert world.state(w).phase is Phase.PUBLISH
    down = False
    world.tick()
    assert world.state(w).status == Code.FINISHED


def test_with_every_event_lost_workflows_finish_all_the_same() -> None:
    world = World(max_jobs=2)
    ids = [world.submit() for _ in range(4)]
    for _ in range(20):
        for ref in world.cluster.running():
            world.end_job(ref.workflow)
        world.events.clear()
        world.tick()
    assert all(world.state(w).status == Code.FINISHED for w in ids)


def test_expired_results_are_removed_by_the_sweep_once() -> None:
    world = World(storage_expiry=3600)
    w = world.submit()
    world.run(w)
    world.tick(3599)
    assert world.storage.removed == []
    world.tick(1)
    world.tick(3600)
    assert world.storage.removed == [w]
    assert list(world.lines(w))[-1] == "results expired"


def test_orphans_of_a_finished_workflow_are_removed_but_not_those_of_an_unknown_one() -> None:
    world = World()
    w = world.submit()
    world.run(w)

    def stray(workflow: str) -> StageJob:
        limits = world.state(w).limits
        return StageJob(
            WorkflowId(workflow), Stage.ALGORITHM, 1, environment(), limits, parse(DOCUMENT), "s", Scope.ALL, "memory:"
        )

    world.cluster.create(stray(w))
    world.cluster.create(stray("f" * 32))
    world.tick()
    assert [ref.workflow for ref in world.cluster.present()] == ["f" * 32]


def test_a_notification_is_stored_only_if_a_url_is_set() -> None:
    quiet, told = World(), World()
    told.app.settings = dataclasses.replace(told.app.settings, notify_stop_url="http://127.0.0.1:1/stop")
    for world in (quiet, told):
        world.run(world.submit())
    later = told.clock() + timedelta(days=1)
    assert quiet.app.store.claim_events(later, later, 10) == []
    assert [event.kind for event in told.app.store.claim_events(later, later, 10)] == ["finished"]
