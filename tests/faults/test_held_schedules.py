"""I10: no byte reaches the results that no decision covers, whatever goes wrong while results are held.

Random schedules as in `test_schedules`, with holds, signed decisions, freezes and revocations between the other
troubles.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from support.api import ADMIN, API, function
from support.chaos import Chaos
from support.death import Mortal
from support.review import KEYS, PATHS, copy_half, held_record, leave_results, signed_decision
from support.schedules import LONG, run
from support.world import MemoryStorage, record
from werkzeug.test import Client

from functions.results.ports import Storage
from functions.workflow.decision import Verdict
from functions.workflow.model import Hold, Outcome, Phase, Stage, Workflow, WorkflowId
from functions.workflow.observation import Revoked

SCHEDULES = 10_000 if LONG else 200
STEPS = 60


class Review(Chaos):
    """A Chaos in which the results of most workflows are held, and two checkers decide."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(dice, MORE)
        self.met: set[str] = set()
        self.settled = False
        self.quarantine = MemoryStorage()
        self.app.quarantine = cast(Storage, Mortal(self.quarantine, self.fate, "quarantine"))
        self.app.settings = dataclasses.replace(
            self.app.settings, quarantine_url="memory:held", allowed_admins=(ADMIN["Admin"],)
        )
        self.needed = dice.choice((1, 1, 2))
        self.door = Client(function("submit", self.app))

    def submit(self, **options: Any) -> WorkflowId:
        number = next(self._numbers)
        if self.dice.random() < 0.8:
            new = held_record(self.app, number, self.needed, **options)
        else:
            new = record(self.app, number, **options)
        return self.app.transitions.submit(new, "test").workflow.id

    def head_start(self) -> None:
        """The trouble mostly begins while results are held, or while they are released."""
        super().head_start()
        if self.dice.random() < 0.2:
            return
        for w in self.workflows():
            while self.state(w.id).phase not in (Phase.HELD, Phase.FINISHED):
                self.end_job(w.id)
                self.deliver()
            if self.state(w.id).phase is Phase.HELD and self.dice.random() < 0.7:
                for person in range(self.needed):
                    self.ask("/decisions", signed_decision(w.id, self.held_head(w), person))

    def end_job(self, workflow: WorkflowId, exit_code: int | None = 0, **how: Any) -> None:
        if exit_code == 0 and leave_results(self, self.quarantine, workflow):
            if self.state(workflow).phase is Phase.RELEASE:
                self.met.add("released")
            self.cluster.finish(self.job(workflow), exit_code, **how)
        else:
            super().end_job(workflow, exit_code, **how)

    def step(self) -> None:
        frozen, let_out = bool(self.store.freezes()), self.jobs_that_let_out()
        super().step()
        for ref in self.cluster.running():
            if ref.stage is Stage.RELEASE and self.state(ref.workflow).phase is Phase.RELEASE:
                copy_half(self, ref.workflow)
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
            person = self.dice.randrange(2)
            body = signed_decision(
                w.id,
                self.dice.choice((self.held_head(w), self.held_head(w), self.held_head(w), "0" * 64)),
                person,
                self.dice.choice(("release", "release", "release", "reject")),
                frozenset(path for path in PATHS if self.dice.random() < 0.3),
                key=KEYS[person] if self.dice.random() < 0.8 else KEYS[1 - person],
                nonce=str(self.dice.randrange(10**9)),
            )
            self.ask("/decisions", body)

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

    def act_fail_release(self) -> None:
        """A release fails half-way, for now or for good."""
        for ref in self.cluster.running():
            if ref.stage is Stage.RELEASE and self.state(ref.workflow).stage is Stage.RELEASE:
                copy_half(self, ref.workflow)
                self.cluster.finish(ref, 62, self.dice.choice(("Error", "QuarantineChanged")))

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
        with self.store.begin() as tx:
            for freeze in tx.freezes():
                tx.unfreeze(freeze.scope)

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
                left = {file.path for file in found.manifest.files}
                assert left <= covered, f"{left - covered} left without a decision"
                copied = {file.path for manifest in stored for file in manifest.files}
                # A later decision may withhold more. The next release, or the end, removes what is copied already.
                allowed = covered if self.settled else self.covered_once(w.id)
                assert copied <= allowed, f"{copied - allowed} were copied without a decision"
            if w.phase is Phase.HELD:
                assert not found.manifest.files

    def was_held(self, w: WorkflowId) -> bool:
        return any(line.after is Phase.HELD for line, _ in self.store.history(w))

    def was_released(self, w: WorkflowId) -> bool:
        return any(line.after is Phase.RELEASE for line, _ in self.store.history(w))

    def covered(self, w: WorkflowId) -> set[str]:
        """The paths that enough checkers release, none withholds, and of a job that nobody rejects."""
        given = [json.loads(each.text) for each in self.store.decisions(w)]
        assert len({each["by"] for each in given}) == len(given), "somebody decided twice"
        return self.covered_by(given)

    def covered_once(self, w: WorkflowId) -> set[str]:
        """The paths that the decisions released at any time."""
        given = [json.loads(each.text) for each in self.store.decisions(w)]
        return set().union(*(self.covered_by(given[:count]) for count in range(len(given) + 1)))

    def covered_by(self, given: Sequence[Mapping[str, Any]]) -> set[str]:
        if len(given) < self.needed or any(each["verdict"] != "release" for each in given):
            return set()
        agreed = [{f["path"] for f in each["files"] if f["verdict"] == "release"} for each in given]
        return set.intersection(*agreed)

    def settle(self) -> None:
        self.fate.at = 0
        self.cluster.fail_no_more()
        self.unfreeze()
        super().settle()
        self.settled = True
        self.nothing_undecided_leaves()
        for w in self.workflows():
            held = self.store.held(w.id)
            assert held is None or held.key.identity == "", f"the key of {w.id} outlives it"
            assert not [key for key in self.quarantine.manifests if key[0] == w.id], f"{w.id} left files in quarantine"
            if self.was_held(w.id) and (w.ending or w.removed):
                assert w.id not in {key for key, _ in (*self.storage.files, *self.storage.manifests)}, (
                    f"{w.id} left files"
                )
                self.met.add("nothing left of a release") if self.was_released(w.id) else None
            self.met.add(f"ended {w.ending.reason if w.ending else Outcome.SUCCEEDED}")


MORE = [
    (Review.act_decide, 12),
    (Review.act_reject, 1),
    (Review.act_release_again, 2),
    (Review.act_fail_release, 3),
    (Review.act_freeze, 2),
    (Review.act_unfreeze, 6),
    (Review.act_revoke, 1),
]


@pytest.mark.timeout(3600 if LONG else 120)
def test_nothing_leaves_that_no_decision_covers_whatever_goes_wrong() -> None:
    met: set[str] = set()
    for review in run(Review, SCHEDULES, STEPS):
        met |= review.met
    print(f"met {sorted(met)}")
    wanted = {
        "released",
        "frozen",
        "revoked",
        "nothing left of a release",
        "/release 200",
        "ended QuarantineChanged",
        "/decisions 200",
        "/decisions 403",
        "ended Rejected",
        "ended HoldExpired",
    }
    assert wanted <= met, f"never met: {sorted(wanted - met)}"
