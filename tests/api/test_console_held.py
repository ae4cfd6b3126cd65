"""The console of the owner of held results: it tells nothing of the hold, and nothing of what is held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.api import ADMIN, OWNER, Api
from support.console import PAGE, read, sign_in
from support.held_api import MANIFEST, held, held_api, phase

from functions.api.auth.tokens import Entry, digest
from functions.workflow.decision import Verdict
from functions.workflow.model import Manifest, Outcome, Phase, Stage, WorkflowId
from functions.workflow.observation import StageEnded

TOKEN = "t" * 43
DIGEST = "d" * 64  # over the held files


@pytest.fixture
def api(tmp_path: Path) -> Api:
    file = tmp_path / "tokens"
    file.write_text(Entry(digest(TOKEN), OWNER).line)
    return held_api(tes_tokens_file=str(file))


def end(api: Api, job: str, stage: Stage, outcome: Outcome, code: int, **more: Any) -> None:
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    ended = StageEnded(stage, 1, state.job_uid, outcome, code, **more)
    assert api.app.transitions.apply(WorkflowId(job), ended, "test") is Verdict.APPLIED


def held_with_facts(api: Api) -> str:
    job: str = api.start()["jobId"]
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM):
        end(api, job, stage, Outcome.SUCCEEDED, 0)
    end(api, job, Stage.PUBLISH, Outcome.SUCCEEDED, 0, manifest=MANIFEST, facts={"outputs": DIGEST, "files": "2"})
    assert phase(api, job) is Phase.HELD
    return job


def test_the_owner_of_held_results_learns_neither_their_digest_nor_how_long_they_are_held(api: Api) -> None:
    job = held_with_facts(api)
    sign_in(api, TOKEN)
    shown = read(api, f"workflows/{job}")
    assert (shown["state"], shown["phase"]) == ("running", "publish")
    assert (shown["deadline"], shown["runsSince"], shown["waiting"]) == (None, None, None)
    assert DIGEST not in str(shown)
    sign_in(api, ADMIN["Admin"])
    assert DIGEST in str(read(api, f"workflows/{job}"))


def test_the_owner_finds_held_results_among_the_running_workflows_and_nowhere_else(api: Api) -> None:
    job = held(api)
    sign_in(api, TOKEN)
    assert [each["id"] for each in read(api, "workflows", state="running")["workflows"]] == [job]
    assert api.status.get("/console/api/workflows?state=held", headers=PAGE).status_code == 400
    assert {each["held"] for each in read(api, "overview")["environments"]} == {0}
    sign_in(api, ADMIN["Admin"])
    assert [each["id"] for each in read(api, "workflows", state="held")["workflows"]] == [job]
    assert read(api, "workflows", state="running")["workflows"] == []
    assert 1 in {each["held"] for each in read(api, "overview")["environments"]}


def test_an_algorithm_under_a_policy_passes_nothing_on_to_the_console_in_its_exit_code(api: Api) -> None:
    job: str = api.start()["jobId"]
    end(api, job, Stage.CONFIGURE, Outcome.SUCCEEDED, 0)
    end(api, job, Stage.ALGORITHM, Outcome.FAILED, 37)
    end(api, job, Stage.PUBLISH, Outcome.SUCCEEDED, 0, manifest=Manifest())

    def told() -> tuple[list[Any], list[Any]]:
        shown, (listed,) = read(api, f"workflows/{job}"), read(api, "workflows")["workflows"]
        attempt = next(each for each in shown["attempts"] if each["stage"] == "algorithm")
        return [shown["reason"], listed["reason"], attempt["reason"]], [shown["exitCode"], attempt["exitCode"]]

    sign_in(api, TOKEN)
    assert told() == (["AlgorithmExit"] * 3, [None, None])
    sign_in(api, ADMIN["Admin"])
    assert told() == (["AlgorithmExit:37"] * 3, [37, 37])
