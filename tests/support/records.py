"""Records and decisions for the store's tests, made by the real rules."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

from functions.store.ports import Store
from functions.store.transaction_port import Transaction
from functions.workflow import decide as rules
from functions.workflow.decision import Decision
from functions.workflow.model import JobUid, Limits, Manifest, Outcome, Record, Stage, Submission, Workflow, WorkflowId
from functions.workflow.observation import Admitted, Observation, StageEnded

T = TypeVar("T")
NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
DOCUMENT = {"stages": [{"index": 0, "input": [], "algorithm": {"rawcode": "print('ü')"}}], "chainId": 80001}


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def record(
    created: datetime = NOW,
    *,
    environment: str = "ocean-compute",
    agreement: str | None = None,
    limits: Limits | None = None,
    **submission: str | None,
) -> Record:
    """A workflow that was not submitted yet."""
    id_ = WorkflowId(uuid4().hex)
    workflow = Workflow(id_, environment, limits or Limits(), created)
    asked = {"owner": "0xOwner", "provider": "0xprovider", "secret": "s3cret", **submission}
    return Record(workflow, Submission(agreement_id=agreement or f"agreement-{id_}", document=DOCUMENT, **asked))  # type: ignore[arg-type]


def submit(store: Store, new: Record) -> Workflow:
    """Record a workflow as queued."""
    with store.begin() as tx:
        return add(tx, new)


def add(tx: Transaction, new: Record) -> Workflow:
    decision = rules.submit(new.workflow, new.workflow.created_at)
    tx.add(new, [(decision, "test")])
    return decision.workflow


def apply(store: Store, workflow: WorkflowId, seen: Observation, now: datetime = NOW) -> Decision:
    with store.begin() as tx:
        current = tx.lock(workflow)
        assert current is not None
        decision = rules.decide(current, seen, now)
        tx.save(decision, f"event {type(seen).__name__}")
    return decision


def start(store: Store, new: Record | None = None, now: datetime = NOW) -> Workflow:
    """A workflow that runs its first stage."""
    workflow = submit(store, new or record(now))
    return apply(store, workflow.id, Admitted(), now).workflow


def ended(workflow: Workflow, manifest: Manifest | None = None, job_uid: JobUid | None = None) -> StageEnded:
    """The running stage made it."""
    assert workflow.stage is not None
    return StageEnded(workflow.stage, workflow.attempt, job_uid, Outcome.SUCCEEDED, 0, manifest=manifest)


def finish(store: Store, workflow: Workflow, manifest: Manifest | None = None, now: datetime = NOW) -> Workflow:
    """Run a started workflow through its remaining stages."""
    while not workflow.finished:
        last = workflow.stage is Stage.PUBLISH
        workflow = apply(store, workflow.id, ended(workflow, manifest if last else None), now).workflow
    return workflow


def at_once(threads: int, action: Callable[[int], T]) -> list[T]:
    """The results of `action` in so many threads, which start together."""
    ready = Barrier(threads)

    def run(number: int) -> T:
        ready.wait()
        return action(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
