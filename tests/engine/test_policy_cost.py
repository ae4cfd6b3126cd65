"""A workflow whose data no policy names costs what it costs where there are no policies: no statement, no call more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from support.api import Api, app
from support.death import Fate, Mortal
from support.statements import statements
from support.world import MemoryStorage

from functions.advance.sweep import sweep
from functions.cluster.ports import Cluster
from functions.results.ports import Storage
from functions.store.sql import SqlStore
from functions.trust.policy import Checker, Policies, WrittenPolicy
from functions.workflow.decision import Verdict
from functions.workflow.model import Hold, Manifest, Outcome, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded

CHECKERS = (Checker(name="anna", address="0x" + "44" * 20),)
MANIFEST = Manifest((ResultFile("outputs/a.csv", 3, "output", "memory:a", "aa" * 32),))


@pytest.fixture(params=["sqlite", "postgres"])
def sql_store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"))) as store:
        yield store


def policy_of(data: str) -> Policies:
    return Policies((WrittenPolicy(id="p", data=(data,), hold=Hold.ALWAYS, checkers=CHECKERS),))


def cost(store: SqlStore, policies: Policies | None, agreement: str) -> tuple[list[str], list[str]]:
    """The statements, without their values, and the calls of a workflow from its submission to its end."""
    fate, number = Fate(), int(agreement, 16)
    api = Api(app(store, quarantine_url="file:///quarantine"))
    if policies is not None:
        api.app.policies = policies
    api.app.storage, api.app.quarantine = (
        cast(Storage, Mortal(MemoryStorage(), fate, name)) for name in ("results", "quarantine")
    )
    api.app.cluster = cast(Cluster, Mortal(api.app.cluster, fate, "cluster"))
    for _ in range(number * 100):
        api.nonce()  # those before were used by others
    api.app.new_id = lambda: agreement.removeprefix("0x")
    with statements(store) as sent:
        job = WorkflowId(api.start(agreementId=agreement)["jobId"])
        for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
            state = store.state(job)
            assert state is not None
            end = StageEnded(stage, 1, state.job_uid, Outcome.SUCCEEDED, 0, manifest=MANIFEST)
            assert api.app.transitions.apply(job, end, "test") is Verdict.APPLIED
        api.jobs(job)
        api.get("/environments", {"chainId": 8996})
        sweep(api.app)
        api.stop("DELETE", jobId=job)
        ended = store.state(job)
        assert ended is not None
    return [shape(statement) for statement, _ in sent], fate.calls


def shape(statement: Any) -> str:
    return re.sub(r"\s+", " ", str(statement))


def test_a_workflow_without_a_policy_costs_neither_a_statement_nor_a_call(sql_store: SqlStore) -> None:
    cost(sql_store, None, "0x01")  # makes the environment's row
    without = cost(sql_store, None, "0x02")
    assert cost(sql_store, policy_of("did:op:another"), "0x03") == without
    assert not [each for each in without[0] if re.search(r"\b(holds|decisions|policy_runs)\b", each)]
    assert not [each for each in without[1] if each.startswith("quarantine.")]


def test_a_workflow_with_a_policy_costs_something_so_that_the_test_above_can_fail(sql_store: SqlStore) -> None:
    cost(sql_store, None, "0x01")
    statements_, calls = cost(sql_store, policy_of("did:op:1"), "0x02")
    assert [each for each in statements_ if re.search(r"\bholds\b", each)]
    assert "quarantine.remove" in calls
