"""A World in which results are held: its policy, its checkers, what they sign, and what publish and release leave."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from support.api import API, function
from support.world import MemoryStorage, World, record
from werkzeug.test import Client

from functions import ethereum
from functions.engine.app import App
from functions.trust import policy
from functions.trust.canonical import encode
from functions.trust.policy import Approval, Policy
from functions.workflow.model import Hold, Manifest, Phase, Record, ResultFile, Stage, WorkflowId
from functions.workflow.stage_task import RELEASE_ATTEMPT

KEYS = tuple("0x" + digits * 32 for digits in ("44", "55"))
PEOPLE = tuple(ethereum.address(key).lower() for key in KEYS)
PATHS = ("outputs/a.csv", "outputs/b.csv")
FILES = tuple(
    ResultFile(f"{path}.age", 300, "output", f"memory:{path}", "aa" * 32, None, digit * 64, 100)
    for path, digit in zip(PATHS, "bc", strict=True)
)
HOLD_SECONDS = 7200


def held_record(app: App, number: int | str, approvals: int = 1, **options: Any) -> Record:
    """A submission whose results are always held."""
    new = record(app, number, **options)
    needed = (Approval(PEOPLE, approvals),)
    merged = Policy(names=("p",), hold=Hold.ALWAYS, approvals=needed, hold_seconds=HOLD_SECONDS)
    limits = replace(new.workflow.limits, hold=Hold.ALWAYS, hold_seconds=HOLD_SECONDS)
    submission = replace(new.submission, policy=policy.encode(merged))
    return Record(replace(new.workflow, limits=limits), submission)


class HeldWorld(World):
    """A World that holds results, and a door to `submit` for those who decide."""

    def __init__(self, store: Any = None) -> None:
        super().__init__(store=store, max_jobs=1000)
        self.quarantine = MemoryStorage()
        self.app.quarantine = self.quarantine
        self.app.settings = dataclasses.replace(self.app.settings, quarantine_url="memory:held")
        self.door = Client(function("submit", self.app))

    def until_held(self, approvals: int = 1) -> WorkflowId:
        """A new workflow whose results are held."""
        new = held_record(self.app, self.app.new_id(), approvals)
        w = self.app.transitions.submit(new, "test").workflow.id
        while self.state(w).phase is not Phase.HELD:
            self.end_job(w)
            self.deliver()
        return w

    def end_job(self, workflow: WorkflowId, exit_code: int | None = 0, **how: Any) -> None:
        if exit_code == 0 and leave_results(self, self.quarantine, workflow):
            self.cluster.finish(self.job(workflow), exit_code, **how)
        else:
            super().end_job(workflow, exit_code, **how)

    def decide(self, body: Mapping[str, Any]) -> int:
        """The status of the answer."""
        return self.door.post(f"{API}/decisions", json=body).status_code


def leave_results(world: World, quarantine: MemoryStorage, workflow: WorkflowId) -> bool:
    """What the current stage's program leaves if it succeeds; False if it leaves what every workflow's does."""
    ref, w = world.job(workflow), world.state(workflow)
    if ref.stage is Stage.PUBLISH and w.limits.hold is Hold.ALWAYS and w.ending is None:
        quarantine.put_manifest(workflow, ref.attempt, Manifest(FILES))
        return True
    if ref.stage is Stage.RELEASE:
        request = world.cluster.request(ref)
        assert request is not None
        assert request.held is not None
        left = tuple(replace(file, path=file.path.removesuffix(".age")) for file in request.held.files)
        world.storage.put_manifest(workflow, RELEASE_ATTEMPT, Manifest(left))
        return True
    return False


def copy_half(world: World, workflow: WorkflowId) -> None:
    """What the release program leaves that dies at its work."""
    world.storage.files.add((workflow, RELEASE_ATTEMPT))


def signed_decision(
    job: str, head: str, person: int = 0, verdict: str = "release", withheld: frozenset[str] = frozenset(), **how: Any
) -> dict[str, Any]:
    """The body of POST /decisions. `how`: `key`, if another one signs, and `nonce`."""
    verdicts = {path: "withhold" if path in withheld else "release" for path in PATHS}
    decision: Mapping[str, Any] = {
        "v": 1,
        "job": job,
        "head": head,
        "verdict": verdict,
        "files": [
            {"path": p, "sha256": f.plain_sha256, "verdict": verdicts[p]} for p, f in zip(PATHS, FILES, strict=True)
        ],
        "reason": "",
        "by": PEOPLE[person],
        "at": "2026-11-27T02:40:00.000000Z",
        "nonce": how.get("nonce", "1"),
    }
    signature = ethereum.sign_text(how.get("key", KEYS[person]), encode(decision).decode())
    return {"decision": decision, "signature": signature}
