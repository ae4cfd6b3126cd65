"""A 503 says "try again": what was answered so may be sent again as it is, and what was not so is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.api import API, OTHER_KEY, OWNER, Api, app
from support.death import Fate, MortalStore
from werkzeug.test import TestResponse

from functions.advance.sweep import sweep
from functions.store.ports import StoreUnavailable
from functions.store.values import Query
from functions.workflow.model import Manifest, ResultFile, Stop, WorkflowId

ROUTES = ["POST /compute", "GET /compute", "PUT /compute", "DELETE /compute", "GET /getResult"]


class Trial:
    """One signed request to a platform whose record can fail at any of its calls."""

    def __init__(self, route: str, folder: Path) -> None:
        self.api = Api(app(results_url=f"file://{folder}"))
        self.record = self.api.app.store
        self.method, self.path = route.split()
        self.asked = self.api.start_body() if self.method == "POST" else self._about_a_job()

    def _about_a_job(self) -> dict[str, Any]:
        url = self.api.app.storage.put("j/1/outputs/a", [b"a"], 1, "text/plain")
        done = Manifest(files=(ResultFile("outputs/a", 1, "output", url),))
        start = self.api.start if self.method == "PUT" else lambda: {"jobId": self.api.finished(done)}
        job = start()["jobId"]
        return self.api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, index=0)

    def send(self, fate: Fate | None = None) -> TestResponse:
        """The very same request each time, with a record that fails as `fate` has it."""
        self.api.app.store = MortalStore(self.record, fate or Fate(), "store")
        client = self.api.status if self.method == "GET" else self.api.submit
        return client.open(f"{API}{self.path}", method=self.method, json=self.asked)


@pytest.mark.parametrize("route", ROUTES)
def test_a_request_answered_with_503_succeeds_unchanged_and_any_other_took_effect(route: str, tmp_path: Path) -> None:
    undisturbed = Fate()
    assert Trial(route, tmp_path).send(undisturbed).status_code == 200
    assert "tx.use_nonce" in undisturbed.calls
    codes = []
    for at in range(1, len(undisturbed.calls) + 1):
        trial = Trial(route, tmp_path)
        first = trial.send(Fate(at, error=StoreUnavailable))
        codes.append(first.status_code)
        again = trial.send()
        failed = f"the record was away at call {at} of {undisturbed.calls}"
        assert (first.status_code, again.status_code) in ((503, 200), (200, 400)), failed
        assert trial.send().status_code == 400, failed
    # What comes after the commit of a submission is left to the sweep.
    committed = undisturbed.calls.index("commit") + 1 if route.startswith("POST") else len(codes)
    assert codes == [503] * committed + [200] * (len(codes) - committed)


def test_a_recorded_job_is_answered_and_runs_whatever_fails_afterwards(tmp_path: Path) -> None:
    calls = Fate()
    Trial("POST /compute", tmp_path).send(calls)
    committed = calls.calls.index("commit") + 1
    assert len(calls.calls) > committed
    for at in range(committed + 1, len(calls.calls) + 1):
        trial = Trial("POST /compute", tmp_path)
        answered = trial.send(Fate(at, error=StoreUnavailable))
        assert answered.json is not None
        job = WorkflowId(answered.json[0]["jobId"])
        trial.send()
        trial.api.app.clock.pass_(seconds=60)  # type: ignore[attr-defined]
        sweep(trial.api.app)
        assert [record.workflow.id for record in trial.record.find(Query())] == [job]
        assert f"{job}-configure-1" in trial.api.cluster.created


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_replayed_stop_does_not_stop_later_jobs(method: str, tmp_path: Path) -> None:
    trial = Trial(f"{method} /compute", tmp_path)
    trial.asked = trial.api.signed(OWNER, owner=OWNER, agreementId="0xagreement")
    assert trial.send().status_code == 200
    for ref in trial.api.cluster.running():
        trial.api.end_stage(ref.workflow, ref.stage)
    later = trial.api.start()["jobId"]
    assert trial.send().status_code == 400
    record = trial.record.get(later)
    assert record is not None
    assert (record.workflow.stop, record.workflow.removed) == (Stop.NONE, False)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_stop_checks_the_signature_first_and_reads_documents_once(method: str, tmp_path: Path) -> None:
    trial, forged, signed = Trial(f"{method} /compute", tmp_path), Fate(), Fate()
    good = trial.asked
    trial.api.key = OTHER_KEY
    trial.asked = trial.api.signed(f"{OWNER}{good['jobId']}", owner=OWNER, jobId=good["jobId"])
    assert (trial.send(forged).status_code, forged.calls) == (401, [])
    trial.asked = good
    assert trial.send(signed).status_code == 200
    assert [call for call in signed.calls if call in ("store.find_in_pages", "store.get")] == ["store.find_in_pages"]
