"""F13, F19, F20, F23 and I9 on real processes: Postgres is stopped and functions are killed while workflows run.

Everything goes over HTTP: clients that ask again until they are answered, a broker that drops, doubles, reorders and
redelivers. The long profile (`make faults`) has 2 000 workflows.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.monkey import Deployment, Monkey, pause, send, under_fire
from support.world import DOCUMENT, ENVIRONMENT

from functions.ethereum import sign
from functions.store.ports import StoreUnavailable
from functions.store.sql import SqlStore
from functions.store.values import Query
from functions.workflow.codes import Code
from functions.workflow.model import Outcome, Stage, Stop, WorkflowId

LONG = bool(os.environ.get("SLUICE_LONG"))
SEED = int(os.environ.get("SLUICE_SEED", "0"))
WORKFLOWS, CLIENTS, A_SECOND, EVERY = (2000, 10, 25, 3.0) if LONG else (60, 4, 15, 1.0)
MAX_JOBS = 20
PATIENCE = 600 if LONG else 60
API = "/api/v1/operator/compute"
OWNER = "0xA78deb2Fa79463945C247991075E2a0e98Ba7A09"
UNDISTURBED = ["submitted", "admitted", "configure succeeded", "algorithm succeeded", "publish succeeded"]


@dataclass
class Client:
    """Submits workflows one after another, stops some, and asks again until it is answered. Has a key of its own."""

    number: int
    port: int
    monkey: Monkey
    acknowledged: list[WorkflowId] = field(default_factory=list)
    stopped: set[WorkflowId] = field(default_factory=set)

    def run(self, count: int) -> None:
        dice = random.Random(f"{SEED}/{self.number}")
        for n in range(count):
            time.sleep(CLIENTS / A_SECOND)
            agreement = f"agreement-{self.number}-{n}"
            asked = {"workflow": DOCUMENT, "agreementId": agreement, "owner": OWNER, "environment": ENVIRONMENT}
            job = WorkflowId(self._answer("POST", asked, OWNER, agreement)[0]["jobId"])
            self.acknowledged.append(job)
            if dice.random() < 0.1:
                self._answer("PUT", {"owner": OWNER, "jobId": job}, f"{OWNER}{job}", "")
                self.stopped.add(job)

    def _answer(self, method: str, body: dict[str, Any], message: str, key: str) -> Any:
        for tries in range(PATIENCE):
            assert not self.monkey.failed, "the monkey has broken the deployment for good"
            nonce = time.time_ns()
            signed = {
                **body,
                "nonce": nonce,
                "providerSignature": sign(f"0x{self.number + 1:064x}", f"{message}{nonce}"),
            }
            headers = {"Content-Type": "application/json", **({"Idempotency-Key": key} if key else {})}
            status, text = send(self.port, method, API, signed, headers)
            if status == 200:
                return json.loads(text)
            assert status == 0 or status >= 500, f"{status}: {text!r}"
            pause(tries)
        raise AssertionError("never answered")


@pytest.mark.timeout(900 if LONG else 120)
def test_no_workflow_is_lost_doubled_or_stuck_while_postgres_and_functions_are_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    with under_fire(tmp_path, random.Random(SEED), EVERY, MAX_JOBS) as (deployment, broker, monkey):
        clients = [Client(number, deployment.submit.port, monkey) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda client: client.run(WORKFLOWS // CLIENTS), clients))
        monkey.close()
        with closing(SqlStore(deployment.postgres.url)) as store:
            settled(store)
            check(store, clients)
        figures(deployment, monkey, broker.done, clients, time.monotonic() - began)


def settled(store: SqlStore) -> None:
    """Wait until nothing is open any more; slots hold meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while open_ := len(store.find(Query(unfinished=True, limit=WORKFLOWS))):
        assert time.monotonic() < deadline, f"stuck: {open_} workflows"
        with suppress(StoreUnavailable):
            assert sum(store.running().values()) <= MAX_JOBS
        time.sleep(0.2)


def check(store: SqlStore, clients: Sequence[Client]) -> None:
    acknowledged = [job for client in clients for job in client.acknowledged]
    assert len(acknowledged) == len(set(acknowledged)) == WORKFLOWS
    found = {record.workflow.id: record for record in store.find(Query(limit=2 * WORKFLOWS))}
    assert set(found) == set(acknowledged), "lost (I9) or doubled"
    stopped = {job for client in clients for job in client.stopped}
    for job, record in found.items():
        lines = [line for line, _ in store.history(job)]
        assert [line.step for line in lines] == list(range(1, record.workflow.step + 1))  # I4
        assert all(one.after is next_.before for one, next_ in pairwise(lines))
        assert record.workflow.status == Code.FINISHED
        attempts = Counter(attempt.stage for attempt in store.attempts(job))
        assert set(attempts.values()) <= {1}, f"{job} did a stage twice: {attempts}"
        if record.workflow.stop is Stop.NONE:
            assert [line.event for line in lines] == UNDISTURBED
            assert set(attempts) == {Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH}
            assert {a.end.outcome for a in store.attempts(job) if a.end} == {Outcome.SUCCEEDED}
            assert [file.path for file in record.manifest.files] == ["outputs/a.csv"]  # I7
        else:
            assert job in stopped


def figures(
    deployment: Deployment, monkey: Monkey, broker: Counter[str], clients: Sequence[Client], seconds: float
) -> None:
    print(f"\nmonkey: seed {SEED}, {WORKFLOWS} workflows, 0 lost, 0 doubled, 0 stuck, in {seconds:.0f} s")
    print(f"  monkey: {dict(monkey.done)}")
    print(f"  events: {dict(sorted(broker.items()))}")
    print(f"  stops acknowledged: {sum(len(client.stopped) for client in clients)}")
    print(f"  repaired by sweeps: {dict(deployment.repairs())}")
    assert monkey.done["database stopped"]
    assert monkey.done["function killed"]
