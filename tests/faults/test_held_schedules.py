"""I10: no byte reaches the results that no decision covers, whatever goes wrong while results are held.

Random schedules as in `test_schedules`, with holds, signed decisions, freezes and revocations between the other
troubles.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from support.api import ADMIN, API, function
from support.chaos import Chaos
from support.death import Mortal
from support.world import MemoryStorage, record
from werkzeug.test import Client

from functions import ethereum
from functions.results.ports import Storage
from functions.trust import policy
from functions.trust.canonical import encode
from functions.trust.policy import Approval, Policy
from functions.workflow.decision import Verdict
from functions.workflow.model import Hold, Manifest, Outcome, Phase, Record, ResultFile, Stage, Workflow, WorkflowId
from functions.workflow.observation import Revoked

LONG = bool(os.environ.get("SLUICE_LONG"))
SCHEDULES = 10_000 if LONG else 200
STEPS = 60
FIRST_SEED = int(os.environ.get("SLUICE_SEED", "0"))

KEYS = tuple("0x" + digits * 32 for digits in ("44", "55"))
PEOPLE = tuple(ethereum.address(key).lower() for key in KEYS)
PATHS = ("outputs/a.csv", "outputs/b.csv")
FILES = tuple(
    ResultFile(f"{path}.age", 300, "output", f"memory:{path}", "aa" * 32, None, digit * 64, 100)
    for path, digit in zip(PATHS, "bc", strict=True)
)


class Review(Chaos):
    """A Chaos in which the results of most workflows are held, and two checkers decide."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice, MORE)
        self.met: set[str] = set()
        self.quarantine = MemoryStorage()
        self.app.quarantine = cast(Storage, Mortal(self.quarantine, self.fate, "quarantine"))
        self.app.settings = replace(self.app.settings, quarantine_url="memory:held", allowed_admins=(ADMIN["Admin"],))
        self.needed = dice.choice((1, 1, 2))
        approvals = (Approval(PEOPLE, self.needed),)
        self.policy = policy.encode(Policy(names=("p",), hold=Hold.ALWAYS, approvals=approvals, hold_seconds=7200))
        self.door = Client(function("submit", self.app))

    def submit(self, **options: Any) -> WorkflowId:
        new = record(self.app, next(self._numbers), **options)
        if self.dice.random() < 0.8:
            limits = replace(new.workflow.limits, hold=Hold.ALWAYS, hold_seconds=7200)
            new = Record(replace(new.workflow, limits=limits), replace(new.submission, policy=self.policy))
        return self.app.transitions.submit(new, "test").workflow.id

    def end_job(self, workflow: WorkflowId, exit_code: int | None = 0, **how: Any) -> None:
        ref = self.job(workflow)
        if exit_code == 0 and ref.stage is Stage.PUBLISH and self.is_held_back(self.state(workflow)):
            self.quarantine.put_manifest(workflow, ref.attempt, Manifest(FILES))
            return self.cluster.finish(ref, exit_code, **how)
        if exit_code == 0 and ref.stage is Stage.RELEASE:
            request = self.cluster.request(ref)
            assert request is not None
            held = request.held
            assert held is not None
            leaving = tuple(replace(f, path=f.path.removesuffix(".age")) for f in held.files)
            self.storage.put_manifest(workflow, ref.attempt, Manifest(leaving))
            self.met.add("released")
            return self.cluster.finish(ref, exit_code, **how)
        return super().end_job(workflow, exit_code, **how)

    def is_held_back(self, w: Workflow) -> bool:
        """Results of a workflow that is stopped or has failed are logs alone, and no hold is about them."""
        return w.limits.hold is Hold.ALWAYS and w.ending is None

    def step(self) -> None:
        frozen, let_out = bool(self.store.freezes()), self.jobs_that_let_out()
        super().step()
        if frozen and self.store.freezes():
            assert self.jobs_that_let_out() == let_out, "a Job that lets results out was created while frozen"
        self.nothing_undecided_leaves()

    def jobs_that_let_out(self) -> int:
        names = (f"-{Stage.PUBLISH}-", f"-{Stage.RELEASE}-")
        return sum(n for name, n in self.cluster.created.items() if any(each in name for each in names))

    # --- what can happen

    def some_held(self) -> Workflow | None:
        held = [w for w in self.workflows() if w.phase is Phase.HELD]
        return self.dice.choice(held) if held else None

    def act_decide(self) -> None:
        if w := self.some_held():
            head = self.dice.choice((self.held_head(w), self.held_head(w), self.held_head(w), "0" * 64))
            number = self.dice.randrange(2)
            files = [
                {
                    "path": path,
                    "sha256": f.plain_sha256,
                    "verdict": self.dice.choice(("release", "release", "withhold")),
                }
                for path, f in zip(PATHS, FILES, strict=True)
            ]
            signed = {
                "v": 1,
                "job": w.id,
                "head": head,
                "verdict": self.dice.choice(("release", "release", "release", "reject")),
                "files": files,
                "reason": "",
                "by": PEOPLE[number],
                "at": "2026-11-27T02:40:00.000000Z",
                "nonce": str(self.dice.randrange(10**9)),
            }
            key = KEYS[number] if self.dice.random() < 0.8 else KEYS[1 - number]
            self.ask("/decisions", {"decision": signed, "signature": ethereum.sign_text(key, encode(signed).decode())})

    def held_head(self, w: Workflow) -> str:
        held = self.store.held(w.id)
        assert held is not None
        return held.head

    def act_reject(self) -> None:
        if w := self.some_held():
            self.ask("/decisions", {"jobId": w.id, "verdict": self.dice.choice(("reject", "release"))})

    def act_release_again(self) -> None:
        if w := self.some_held():
            self.ask("/release", {"jobId": w.id})

    def act_freeze(self) -> None:
        self.met.add("frozen")
        self.ask("/freeze", {"scope": self.dice.choice(("all", "environment:ocean-compute")), "reason": "r"})

    def act_unfreeze(self) -> None:
        self.unfreeze()

    def act_revoke(self) -> None:
        w = self.some()
        if w and self.app.transitions.apply(w.id, Revoked(), "test") is Verdict.APPLIED:
            self.met.add("revoked")

    def ask(self, path: str, body: Mapping[str, Any]) -> None:
        headers = {} if "decision" in body else ADMIN
        answered = self.door.post(f"{API}{path}", json=body, headers=headers)
        assert answered.status_code in (200, 403, 404, 409, 503), answered.text
        self.met.add(f"{path} {answered.status_code}")

    def unfreeze(self) -> None:
        for freeze in list(self.store.freezes()):
            self.store.unfreeze(freeze.scope)

    # --- what must hold

    def nothing_undecided_leaves(self) -> None:
        for found in self.records():
            w = found.workflow
            if w.limits.hold is not Hold.ALWAYS:
                continue
            covered = self.covered(w.id)
            stored = [self.storage.manifests[key] for key in self.storage.manifests if key[0] == w.id]
            if w.phase is Phase.HELD and stored:
                ended = [a.end.outcome for a in self.store.attempts(w.id) if a.stage is Stage.RELEASE and a.end]
                assert ended, f"{w.id} has results while it is held"
            if self.was_held(w.id):
                left = {file.path for manifest in (found.manifest, *stored) for file in manifest.files}
                assert left <= covered, f"{left - covered} left without a decision"
            if w.phase is Phase.HELD:
                assert not found.manifest.files

    def was_held(self, w: WorkflowId) -> bool:
        return any(line.after is Phase.HELD for line, _ in self.store.history(w))

    def covered(self, w: WorkflowId) -> set[str]:
        """The paths that enough checkers release, none withholds, and of a job that nobody rejects."""
        given = [json.loads(each.text) for each in self.store.decisions(w)]
        assert len({each["by"] for each in given}) == len(given), "somebody decided twice"
        if len(given) < self.needed or any(each["verdict"] != "release" for each in given):
            return set()
        agreed = [{f["path"] for f in each["files"] if f["verdict"] == "release"} for each in given]
        return set.intersection(*agreed)

    def settle(self) -> None:
        self.fate.at = 0
        self.cluster.fail_no_more()
        self.unfreeze()
        super().settle()
        self.nothing_undecided_leaves()
        for w in self.workflows():
            held = self.store.held(w.id)
            assert held is None or held.key.identity == "", f"the key of {w.id} outlives it"
            assert not [key for key in self.quarantine.manifests if key[0] == w.id], f"{w.id} left files in quarantine"
            self.met.add(f"ended {w.ending.reason if w.ending else Outcome.SUCCEEDED}")


MORE = [
    (Review.act_decide, 12),
    (Review.act_reject, 1),
    (Review.act_release_again, 2),
    (Review.act_freeze, 2),
    (Review.act_unfreeze, 6),
    (Review.act_revoke, 1),
]


@pytest.mark.timeout(3600 if LONG else 120)
def test_nothing_leaves_that_no_decision_covers_whatever_goes_wrong() -> None:
    met: set[str] = set()
    for seed in range(FIRST_SEED, FIRST_SEED + SCHEDULES):
        review = Review(random.Random(seed))
        try:
            review.head_start()
            for _ in range(STEPS):
                review.step()
            review.settle()
        except BaseException:
            print(f"\nseed {seed}: SLUICE_SEED={seed} repeats it")
            raise
        met |= review.met
    print(f"\n{SCHEDULES} schedules from seed {FIRST_SEED}, 0 violations; met {sorted(met)}")
    wanted = {
        "released",
        "frozen",
        "revoked",
        "/decisions 200",
        "/decisions 403",
        "ended Rejected",
        "ended HoldExpired",
    }
    assert wanted <= met, f"never met: {sorted(wanted - met)}"
