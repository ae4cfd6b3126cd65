"""What becomes of held files in the storages, and what their release is given."""

from __future__ import annotations

from support.review import FILES, HeldWorld, copy_half, signed_decision
from support.world import MemoryStorage

from functions.workflow.model import Manifest, Phase, Scope, Stage, WorkflowId
from functions.workflow.stage_task import RELEASE_ATTEMPT

ADMIN_LOGS = Manifest(())


def decided(world: HeldWorld, verdict: str) -> WorkflowId:
    """A workflow whose held results a checker has decided about. Its logs for the operator are among the results."""
    w = world.until_held()
    world.storage.put_manifest(w, 1, ADMIN_LOGS)
    waiting = world.app.store.held(w)
    assert waiting is not None
    assert world.decide(signed_decision(w, waiting.head, verdict=verdict)) == 200
    return w


def quarantine(world: HeldWorld) -> MemoryStorage:
    return world.quarantine


def test_rejected_results_are_removed_from_the_quarantine_and_the_logs_stay() -> None:
    world = HeldWorld()
    w = decided(world, "reject")
    assert world.state(w).phase is Phase.FINISHED
    assert quarantine(world).removed == [w]
    assert quarantine(world).manifests == {}
    assert set(world.storage.manifests) == {(w, 1)}


def test_a_release_gets_the_key_the_files_and_the_policy_and_publish_gets_no_key() -> None:
    world = HeldWorld()
    w = world.until_held()
    waiting = world.app.store.held(w)
    assert waiting is not None
    assert world.decide(signed_decision(w, waiting.head)) == 200
    asked = world.cluster.request(world.job(w))
    assert asked is not None
    assert asked.held is not None
    assert (asked.stage, asked.scope) == (Stage.RELEASE, Scope.QUARANTINE)
    assert (asked.held.identity, asked.held.files) == (waiting.key.identity, FILES)
    assert '"names":["p"]' in asked.policy


def test_a_release_that_succeeds_empties_the_quarantine() -> None:
    world = HeldWorld()
    w = decided(world, "release")
    world.end_job(w)
    world.deliver()
    assert world.state(w).phase is Phase.FINISHED
    assert quarantine(world).removed == [w]
    assert (w, RELEASE_ATTEMPT) in world.storage.manifests


def test_what_a_failed_release_has_written_is_removed_and_the_logs_stay() -> None:
    world = HeldWorld()
    w = decided(world, "release")
    for _ in range(10):
        if world.state(w).phase is not Phase.RELEASE:
            break
        world.wait_for_job(w)
        copy_half(world, w)
        world.end_job(w, 62, reason="QuarantineChanged")
        world.deliver()
    assert world.state(w).phase is not Phase.RELEASE
    world.stop(w)
    world.pass_time(8 * 86_400)
    assert world.state(w).finished
    assert world.storage.files == set()
    assert set(world.storage.manifests) == {(w, 1)}
