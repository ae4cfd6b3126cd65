"""An Api whose jobs are held by a policy, and the people who look and decide."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import msgspec
from support.api import ADMIN, API, Api, app
from support.world import MemoryStorage

from functions import ethereum
from functions.api.auth.signature import checker_message
from functions.trust.canonical import encode
from functions.trust.policy import Checker, Policies, WrittenPolicy
from functions.workflow.decision import Verdict
from functions.workflow.model import Hold, Manifest, Outcome, Phase, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded

KEYS = ["0x" + digits * 32 for digits in ("44", "55", "66")]
ANNA, BEN, STRANGER = (ethereum.address(key).lower() for key in KEYS)
CHECKERS = (Checker(name="anna", address=ANNA), Checker(name="ben", address=BEN))
POLICY = WrittenPolicy(id="strict", hold=Hold.ALWAYS, checkers=CHECKERS, hold_seconds=86_400)
FILES = tuple(
    ResultFile(f"outputs/{name}.age", 300, "output", f"memory:{name}", "aa" * 32, None, digit * 64, 100)
    for name, digit in (("a.csv", "b"), ("b.svg", "c"))
)


MANIFEST = Manifest(FILES)


def held_api(**settings: Any) -> Api:
    made = Api(app(**settings))
    made.app.policies = Policies((POLICY,))
    environments = made.app.environments.values()
    made.app.environments = {each.id: replace_policy(each) for each in environments}
    made.app.quarantine = MemoryStorage()
    made.app.settings = dataclasses.replace(
        made.app.settings, quarantine_url="file:///quarantine", results_url="file:///results"
    )
    return made


def replace_policy(environment: Any) -> Any:
    return msgspec.structs.replace(environment, policy="strict")


def held(api: Api, manifest: Manifest = MANIFEST, **submission: Any) -> str:
    """A job whose results are held."""
    job = WorkflowId(api.start(**submission)["jobId"])
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        state = api.app.store.state(job)
        assert state is not None
        end = StageEnded(stage, 1, state.job_uid, Outcome.SUCCEEDED, 0, manifest=manifest)
        assert api.app.transitions.apply(job, end, "test") is Verdict.APPLIED
    assert phase(api, job) is Phase.HELD
    return job


def phase(api: Api, job: str) -> Phase:
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    return state.phase


def look(api: Api, path: str, key: str = KEYS[0]) -> Any:
    nonce = str(int(api.app.clock().timestamp() * 10**9) + time.time_ns() % 10**6)
    signature = ethereum.sign_text(key, checker_message("GET", f"{API}{path}", nonce))
    return api.status.get(f"{API}{path}", headers={"Authorization": f"Checker {nonce}:{signature}"})


def as_operator(api: Api, path: str) -> Any:
    return api.status.get(f"{API}{path}", headers=ADMIN).json


def decision(api: Api, job: str, key: str = KEYS[0], verdict: str = "release", **changes: Any) -> dict[str, Any]:
    return signed_decision(look(api, f"/held/{job}").json, key, job=job, verdict=verdict, **changes)


def signed_decision(shown: Any, key: str, *, job: str, verdict: str, **changes: Any) -> dict[str, Any]:
    """What a checker sends, who decides on what `shown` says is held."""
    signed = {
        "v": 1,
        "job": job,
        "head": shown["head"],
        "verdict": verdict,
        "files": [{"path": f["path"], "sha256": f["sha256"], "verdict": "release"} for f in shown["files"]],
        "reason": "",
        "by": ethereum.address(key).lower(),
        "at": "2026-11-27T02:40:00.000000Z",
        "nonce": "1",
        **changes,
    }
    return {"decision": signed, "signature": ethereum.sign_text(key, encode(signed).decode())}


def decide(api: Api, body: dict[str, Any], **headers: str) -> Any:
    return api.submit.post(f"{API}/decisions", json=body, headers=headers)


def fail_release(api: Api, job: str, outcome: Outcome = Outcome.FAILED, reason: str = "ResultUploadFailed") -> None:
    """The attempt of release that runs, or waits for its pause, fails: by default in a way that may pass."""
    api.app.clock.pass_(seconds=1000)  # type: ignore[attr-defined]
    api.app.transitions.carry_out(WorkflowId(job), "test")
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    end = StageEnded(Stage.RELEASE, state.attempt, state.job_uid, outcome, 62, reason)
    assert api.app.transitions.apply(WorkflowId(job), end, "test") is Verdict.APPLIED


def release_attempts(api: Api, job: str) -> list[tuple[int, Outcome | None]]:
    attempts = [each for each in api.app.store.attempts(WorkflowId(job)) if each.stage is Stage.RELEASE]
    assert len({each.job_uid for each in attempts}) == len(attempts)
    return [(each.attempt, each.end.outcome if each.end else None) for each in attempts]
