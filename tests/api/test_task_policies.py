"""The data holders' policies count for tasks of GA4GH TES as they do for Ocean's workflows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace
from support.tes import HELLO, TesApi, tes_app

from functions.trust import policy
from functions.trust.disclosure import Checks
from functions.trust.policy import AllowedAlgorithm, Checker, Policies, WrittenPolicy
from functions.workflow.model import Hold, Record, WorkflowId

DATA = {"url": "s3://b/patients/a.csv", "path": "/in/a"}
DIGEST = "sha256:" + "ab" * 32
PINNED = {"image": f"alpine@{DIGEST}", "command": ["count", "/in/a"]}
CHECKERS = (Checker(name="anna", address="0x" + "a" * 40),)


def tes(*policies: WrittenPolicy, environment: str = "", **settings: Any) -> TesApi:
    """A server with these policies. `environment`: the id of its environment's policy."""
    made = TesApi(tes_app(quarantine_url="file:///quarantine", **settings))
    made.app.policies = Policies(policies)
    made.app.environments = {e.id: replace(e, policy=environment) for e in made.app.environments.values()}
    return made


def written(**asks: Any) -> WrittenPolicy:
    return WrittenPolicy(**{"id": "p", "data": ("s3://b/patients",), **asks})


def recorded(api: TesApi, **task: Any) -> Record:
    """The record of a task that is let in."""
    record = api.app.store.get(WorkflowId(api.create(**{"inputs": [DATA], **task})))
    assert record is not None
    return record


def test_a_task_on_guarded_data_is_checked_and_held_as_the_policy_asks() -> None:
    asks = written(hold=Hold.ALWAYS, checkers=CHECKERS, hold_seconds=3600, checks=Checks())
    record = recorded(tes(asks))
    limits = record.workflow.limits
    assert (limits.hold, limits.hold_seconds, limits.checked, limits.guarded) == (Hold.ALWAYS, 3600, True, True)
    kept = policy.decode(record.submission.policy)
    assert kept.names == ("p",)
    assert kept.checkers == {CHECKERS[0].address}


def test_a_task_on_other_data_is_free() -> None:
    record = recorded(
        tes(written(hold=Hold.ALWAYS, checkers=CHECKERS)), inputs=[{**DATA, "url": "s3://b/patients2/a.csv"}]
    )
    assert record.workflow.limits.hold is Hold.NEVER
    assert record.submission.policy == ""


def test_a_folder_that_holds_guarded_data_is_guarded() -> None:
    above = {"url": "s3://b", "path": "/in", "type": "DIRECTORY"}
    record = recorded(tes(written(hold=Hold.ALWAYS, checkers=CHECKERS)), inputs=[above])
    assert record.workflow.limits.hold is Hold.ALWAYS


def test_the_environments_policy_counts_for_a_task_without_data() -> None:
    asks = written(data=(), hold=Hold.ALWAYS, checkers=CHECKERS)
    assert recorded(tes(asks, environment="p"), inputs=[]).workflow.limits.hold is Hold.ALWAYS
    assert recorded(tes(asks), inputs=[]).workflow.limits.hold is Hold.NEVER


@pytest.mark.parametrize(
    ("asks", "executors", "place", "why"),
    [
        (
            {"algorithms": (AllowedAlgorithm(image=DIGEST, entrypoint="count /in/a"),)},
            [PINNED, {**PINNED, "command": ["cat", "/in/a"]}],
            "$.executors[1]",
            "the policy p does not list this algorithm",
        ),
        (
            {"algorithms": (AllowedAlgorithm(image=DIGEST),)},
            [HELLO["executors"][0]],
            "$.executors[0]",
            "does not list this algorithm; name its image by digest (sha256:…), a tag may change",
        ),
        ({"custom_data": False}, [{**PINNED, "env": {"A": "b"}}], "$.executors[0]", "refuses data of the consumer's"),
        ({"algorithms": ()}, [PINNED], "$.executors[0]", "does not list this algorithm"),
    ],
)
def test_an_executor_that_no_policy_lists_is_refused_with_its_place(
    asks: dict[str, Any], executors: list[Any], place: str, why: str
) -> None:
    api = tes(written(**asks))
    error = api.refused({**HELLO, "inputs": [DATA], "executors": executors})
    assert place in error
    assert why in error
    assert api.listed() == []


def test_the_image_that_a_policy_lists_is_the_only_one_that_may_run_where_images_run() -> None:
    listed = written(algorithms=(AllowedAlgorithm(image=DIGEST),))
    two = {"executors": [PINNED, PINNED]}
    api = tes(listed)
    assert recorded(api, **two).workflow.limits.images == ()
    api.app.settings = dataclasses.replace(api.app.settings, cluster="kubernetes")
    assert recorded(api, **two).workflow.limits.images == (DIGEST, DIGEST)


def test_a_policy_that_holds_needs_a_quarantine_before_anything_is_recorded() -> None:
    api = tes(written(hold=Hold.ALWAYS, checkers=CHECKERS))
    api.app.settings = dataclasses.replace(api.app.settings, quarantine_url="")
    answer = api.post("/tasks", json={**HELLO, "inputs": [DATA]})
    assert answer.status_code >= 500
    assert "QUARANTINE_URL" not in answer.text
    assert api.listed() == []


def test_a_task_that_fits_no_secret_is_refused_with_what_to_do() -> None:
    large = {"content": "x" * 600_000, "path": "/in/x"}
    held = tes(written(hold=Hold.ALWAYS, checkers=CHECKERS))
    error = held.refused({**HELLO, "inputs": [DATA, large]})
    assert error.startswith("$: expected a task of at most 520192 bytes, not 60")
    assert "put a large `content` behind a `url`" in error
    recorded(tes(), inputs=[DATA, large])  # the list of held files needs no room where nothing is held
