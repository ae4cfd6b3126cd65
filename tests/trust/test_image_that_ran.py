"""A policy that names images: what is told of the image that ran decides whether anything leaves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from support.api import DOCUMENT, Api, app
from support.rules import NOW, UID, new

from functions.cluster.kubernetes.job_status import status_of_pod
from functions.trust import allow_list, policy
from functions.trust.allow_list import Candidate
from functions.trust.policy import AllowedAlgorithm, Policies, WrittenPolicy
from functions.workflow.decide import decide
from functions.workflow.hold_rules import scope
from functions.workflow.model import Limits, Outcome, Phase, Scope, Stage, Stop, Workflow, WorkflowId
from functions.workflow.observation import StageEnded, StageLost, StopRequested

LISTED, OTHER = (f"sha256:{digit * 64}" for digit in "ab")


def running(limits: Limits | None = None) -> Workflow:
    """A workflow whose algorithm runs, under a policy that lists one image."""
    return replace(
        new(limits or Limits(images=(LISTED,))), phase=Phase.ALGORITHM, attempt=1, job_uid=UID, job_created_at=NOW
    )


def ended(
    w: Workflow, facts: Mapping[str, str], outcome: Outcome = Outcome.SUCCEEDED, code: int | None = 0
) -> Workflow:
    end = StageEnded(Stage.ALGORITHM, 1, UID, outcome, code, "" if code == 0 else "Error", facts=facts)
    return decide(w, end, NOW).workflow


@pytest.mark.parametrize("facts", [{"image": LISTED}, {"image": OTHER, "imageAsked": LISTED}])
def test_an_algorithm_that_ran_with_the_listed_image_goes_on(facts: dict[str, str]) -> None:
    w = ended(running(), facts)
    assert (w.phase, w.ending, scope(w)) == (Phase.PUBLISH, None, Scope.ALL)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"image": OTHER}, "AlgorithmNotAllowed"), ({"imageAsked": OTHER}, "AlgorithmNotAllowed"), ({}, "ImageUnknown")],
)
@pytest.mark.parametrize("ignored", [(), (True,)], ids=["", "its errors are ignored"])
def test_nothing_is_published_of_an_algorithm_that_ran_with_another_image(
    facts: dict[str, str], reason: str, ignored: tuple[bool, ...]
) -> None:
    w = ended(running(Limits(images=(LISTED,), ignore_errors=ignored)), facts)
    assert w.ending is not None
    assert (w.ending.reason, w.ending.code, w.ending.exit_code) == (reason, 41, None)
    assert (w.phase, scope(w)) == (Phase.PUBLISH, Scope.ADMIN_LOGS)


def test_nothing_is_published_of_an_algorithm_that_another_image_makes_fail() -> None:
    w = ended(running(), {"image": OTHER}, Outcome.FAILED, 3)
    assert w.ending is not None
    assert (w.ending.reason, scope(w)) == ("AlgorithmNotAllowed", Scope.ADMIN_LOGS)


def test_nothing_is_published_where_nobody_saw_which_image_ran() -> None:
    stopped = decide(running(), StopRequested(), NOW).workflow
    for w in (
        decide(stopped, StageLost(Stage.ALGORITHM, 1), NOW).workflow,
        decide(running(), StageLost(Stage.ALGORITHM, 1), NOW).workflow,
        ended(running(), {}, Outcome.FAILED, 3),
        ended(running(), {}, Outcome.TIMED_OUT, None),
    ):
        assert w.phase is Phase.PUBLISH
        assert scope(w) is Scope.ADMIN_LOGS
    assert stopped.stop is Stop.REQUESTED


def test_each_executor_is_compared_with_its_own_image() -> None:
    limits = Limits(images=("", LISTED), ignore_errors=(False, False))
    first = ended(running(limits), {"image": OTHER})
    assert (first.phase, first.executor) == (Phase.ALGORITHM, 1)
    end = StageEnded(Stage.ALGORITHM, first.attempt, UID, Outcome.SUCCEEDED, 0, executor=1, facts={"image": OTHER})
    second = decide(replace(first, job_uid=UID, job_created_at=NOW), end, NOW).workflow
    assert second.ending is not None
    assert second.ending.reason == "AlgorithmNotAllowed"


def test_without_a_policy_the_image_does_not_matter() -> None:
    assert ended(running(Limits()), {"image": OTHER}).ending is None
    assert ended(running(Limits()), {}).ending is None


BY_IMAGE = AllowedAlgorithm(image=LISTED)
BY_SECTION = AllowedAlgorithm(
    container_section_checksum=allow_list._section(Candidate(image=LISTED, entrypoint="python $ALGO"))
)
BY_CODE = AllowedAlgorithm(sha256="c" * 64)


@pytest.mark.parametrize(
    ("lists", "pinned"),
    [
        ([None], ""),
        ([(BY_IMAGE,)], LISTED),
        ([(BY_SECTION,)], LISTED),
        ([(BY_CODE,)], ""),
        ([(BY_CODE, BY_IMAGE)], ""),
        ([(BY_CODE,), (BY_IMAGE,)], LISTED),
    ],
)
def test_an_image_is_pinned_where_each_entry_that_fits_names_it(
    lists: list[tuple[AllowedAlgorithm, ...] | None], pinned: str
) -> None:
    candidate = Candidate(image=LISTED, entrypoint="python $ALGO")
    merged = policy.NO_POLICY
    for n, entries in enumerate(lists):
        merged = policy.merge(merged, policy.of_written(WrittenPolicy(id=f"p{n}", algorithms=entries)))
    assert allow_list.pinned_image(merged, candidate) == pinned


def pod(image_id: str, image: str) -> dict[str, Any]:
    ended = {"exitCode": 0, "reason": "Completed"}
    sidecar = {"name": "mesh", "imageID": f"mesh@{OTHER}", "image": f"mesh@{OTHER}"}
    return {
        "metadata": {"name": "p", "ownerReferences": [{"controller": True, "kind": "Job", "uid": "u"}]},
        "spec": {"containers": [sidecar, {"name": "main", "image": image}]},
        "status": {
            "containerStatuses": [sidecar, {"name": "main", "imageID": image_id, "state": {"terminated": ended}}]
        },
    }


@pytest.mark.parametrize(
    ("image_id", "image", "facts"),
    [
        (f"docker.io/library/python@{LISTED}", f"python@{LISTED}", {"image": LISTED}),
        (f"docker.io/library/python@{OTHER}", f"python@{LISTED}", {"image": OTHER, "imageAsked": LISTED}),
        (f"docker.io/library/python@{OTHER}", "python:3.11", {"image": OTHER}),
        (OTHER, "python:3.11", {"image": OTHER}),
        ("", f"python@{LISTED}", {"imageAsked": LISTED}),
        ("", "python", {}),
    ],
)
def test_a_pod_tells_the_image_that_ran_and_the_one_that_it_asked_for(
    image_id: str, image: str, facts: dict[str, str]
) -> None:
    assert status_of_pod(pod(image_id, image), Stage.ALGORITHM).facts == facts


@pytest.mark.parametrize(("cluster", "pinned"), [("kubernetes", (LISTED,)), ("processes", ())])
def test_a_submission_pins_the_image_where_images_run(cluster: str, pinned: tuple[str, ...]) -> None:
    api = Api(app(cluster=cluster))
    api.app.policies = Policies((WrittenPolicy(id="strict", data=("did:op:1",), algorithms=(BY_IMAGE,)),))
    document = copy.deepcopy(DOCUMENT)
    document["stages"][0]["algorithm"]["container"]["checksum"] = LISTED
    state = api.app.store.state(WorkflowId(api.start(workflow=document)["jobId"]))
    assert state is not None
    assert state.limits.images == pinned
