"""Nothing of held results reaches anybody but their checkers, by whatever route, in whatever state."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from support.api import ADMIN, OWNER, Api
from support.held_api import KEYS, decide, decision, fail_release, held, held_api, look
from werkzeug.test import TestResponse

from functions.advance import notifications
from functions.advance.sweep import sweep
from functions.api.ocean.answers import status
from functions.cluster.kubernetes.workflow_status import workflow_status
from functions.store.values import Outgoing
from functions.trust.disclosure import Level
from functions.trust.findings import CheckedFile, CheckVerdict, Finding, PolicyVersion, Report
from functions.workflow.decision import Verdict
from functions.workflow.model import Hold, Limits, Manifest, Outcome, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded

NAMES = ("salaries-of-anna.csv", "chart-of-ben.svg")
QUOTED = "3141592653"
STORED_BYTES, PLAIN_BYTES = 7_701_770_177, 6_601_660_166  # long enough to be in no random digest by chance
FILES = tuple(
    ResultFile(
        f"outputs/{name}.age", STORED_BYTES, "output", f"s3://inner/{name}", "aa" * 32, None, digit * 64, PLAIN_BYTES
    )
    for name, digit in zip(NAMES, "bc", strict=True)
)
FOUND = (Finding("cells", Level.REVIEW, QUOTED),)
REPORT = Report(
    PolicyVersion(("strict",), "0" * 64),
    "test",
    CheckVerdict.REVIEW,
    tuple(
        CheckedFile(
            f"outputs/{name}",
            digit * 64,
            PLAIN_BYTES,
            ".csv",
            CheckVerdict.REVIEW,
            (Finding("cells", Level.REVIEW, QUOTED),),
        )
        for name, digit in zip(NAMES, "bc", strict=True)
    ),
)
MANIFEST = Manifest(FILES, report=msgspec.json.encode(REPORT).decode())
SECRETS = (
    *NAMES,
    "salaries",
    str(STORED_BYTES),
    str(PLAIN_BYTES),
    "b" * 64,
    "c" * 64,
    "s3:",
    "quarantine",
    "AGE-SECRET-KEY",
    QUOTED,
)


def held_job(api: Api) -> str:
    return held(api, MANIFEST)


def released(api: Api) -> str:
    """Its release is decided, and has not ended."""
    job = held_job(api)
    assert decide(api, decision(api, job)).status_code == 200
    return job


def held_again(api: Api) -> str:
    job = released(api)
    for _ in range(5):
        fail_release(api, job)
    return job


def rejected(api: Api) -> str:
    job = held_job(api)
    assert decide(api, decision(api, job, verdict="reject")).status_code == 200
    return job


def expired(api: Api) -> str:
    job = held_job(api)
    api.app.clock.pass_(seconds=86_401)  # type: ignore[attr-defined]
    sweep(api.app)
    return job


def stopped(api: Api) -> str:
    job = held_job(api)
    assert api.stop(jobId=job).status_code == 200
    return job


def deleted(api: Api) -> str:
    job = held_job(api)
    assert api.stop("DELETE", jobId=job).status_code == 200
    return job


def looked_at(api: Api) -> str:
    job = held_job(api)
    assert look(api, f"/held/{job}").status_code == 200
    return job


STATES = (held_job, released, held_again, rejected, expired, stopped, deleted, looked_at)


def told_to_others(api: Api, job: str) -> list[str]:
    """All that the owner, a stranger, a receiver of events and the cluster are told."""
    own = {"owner": OWNER, "jobId": job}
    answers = [
        api.get("/compute", api.signed(f"{OWNER}{job}", **own)),
        *(api.get("/getResult", api.signed(f"{OWNER}{job}", **own, index=n)) for n in (-1, 0, 1, 99)),
        *(api.get("/logs", api.signed(f"{OWNER}{job}", **own, component=stage)) for stage in Stage),
        api.get("/logs", api.signed(f"{OWNER}{job}", **own, follow=1)),
        *(api.get(path, api.signed(f"{OWNER}{job}", **own)) for path in ("/crate", "/attestation")),
        *(look(api, f"{path}?jobId={job}", KEYS[2]) for path in ("/crate", "/attestation")),
        *(api.get(path, {"jobId": job}) for path in ("/info", "/history", "/logs", "/runningjobs", "/list", "/held")),
        *(look(api, path, KEYS[2]) for path in ("/held", f"/held/{job}", f"/heldFile?jobId={job}&index=0", "/freeze")),
        api.get(f"/held/{job}"),
        api.get("/heldFile", {"jobId": job, "index": 0}),
        api.status.get("/"),
        api.get("/environments", {"chainId": 8996}),
        decide(api, decision_of_a_stranger(job)),
        decide(api, {"jobId": job, "verdict": "release"}),
        api.post(api.start_body()),  # the same agreement again
    ]
    record = api.app.store.get(WorkflowId(job))
    assert record is not None
    events = [
        notifications.hold_event(api.app, record, Outgoing(1, WorkflowId(job), kind, 0, api.app.clock()))
        for kind in ("held", "decided", "release-failed", "released", "rejected", "expired", "revoked")
    ]
    payload = notifications.payload(record, "")
    told = [json.dumps(each) for each in (*events, payload, workflow_status(record.workflow))]
    return [*(f"{answer.status} {answer.headers} {body_of(answer)}" for answer in answers), *told]


def body_of(answer: TestResponse) -> str:
    """Its text; of a zip file the names and contents of all that is inside."""
    if not answer.data.startswith(b"PK"):
        return answer.text
    with zipfile.ZipFile(io.BytesIO(answer.data)) as opened:
        return "\n".join(f"{name} {opened.read(name).decode(errors='replace')}" for name in opened.namelist())


def decision_of_a_stranger(job: str) -> dict[str, Any]:
    from functions import ethereum
    from functions.trust.canonical import encode

    made = {
        "v": 1,
        "job": job,
        "head": "0" * 64,
        "verdict": "release",
        "files": [],
        "reason": "",
        "by": ethereum.address(KEYS[2]).lower(),
        "at": "now",
        "nonce": "1",
    }
    return {"decision": made, "signature": ethereum.sign_text(KEYS[2], encode(made).decode())}


@pytest.mark.parametrize("state", STATES, ids=[state.__name__ for state in STATES])
def test_nobody_but_a_checker_learns_a_name_a_size_a_digest_or_a_finding(
    state: Callable[[Api], str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api = held_api()
    job = state(api)
    for text in told_to_others(api, job):
        assert not [secret for secret in SECRETS if secret in text], text
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert not [secret for secret in SECRETS if secret in logged]


def test_the_checker_learns_them_all_so_that_the_test_above_can_fail() -> None:
    api = held_api()
    shown = look(api, f"/held/{held_job(api)}").text
    assert {secret for secret in SECRETS if secret in shown} >= {*NAMES, str(PLAIN_BYTES), "b" * 64, QUOTED}


def test_an_operator_sees_the_list_and_the_report_but_no_content() -> None:
    api = held_api()
    job = held_job(api)
    assert NAMES[0] in api.get(f"/held/{job}", headers=ADMIN).text
    assert api.get("/heldFile", {"jobId": job, "index": 0}, headers=ADMIN).status_code == 403


@pytest.mark.parametrize("index", ["0 ", "+0", "٠", "1e0", "", "-1", "2", "9" * 30, "../0", "0?"])
def test_a_held_file_is_found_by_its_number_alone(index: str) -> None:
    """The quarantine has no path that anybody could guess."""
    api = held_api()
    job = held_job(api)
    answered = look(api, f"/heldFile?jobId={job}&index={index}")
    assert answered.status_code in (404, 401)
    assert not [secret for secret in SECRETS if secret in answered.text]


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(), {"reason": "AlgorithmExit:37", "code": 37}),
        (Limits(filtered=True), {"reason": "AlgorithmExit:37", "code": 37}),
        (Limits(checked=True), {"reason": "AlgorithmExit", "code": None}),
        (Limits(hold=Hold.ALWAYS), {"reason": "AlgorithmExit", "code": None}),
        (Limits(hold=Hold.ON_FINDINGS), {"reason": "AlgorithmExit", "code": None}),
    ],
)
def test_an_algorithm_under_a_policy_passes_nothing_on_in_its_exit_code(limits: Limits, told: dict[str, Any]) -> None:
    api = held_api()
    api.app.policies = None
    job = WorkflowId(api.start()["jobId"])
    for stage, code in ((Stage.CONFIGURE, 0), (Stage.ALGORITHM, 37), (Stage.PUBLISH, 0)):
        outcome = Outcome.FAILED if code else Outcome.SUCCEEDED
        with api.app.store.begin() as tx:
            current = tx.lock(job)
        assert current is not None
        end = StageEnded(stage, 1, current.job_uid, outcome, code, manifest=Manifest())
        assert api.app.transitions.apply(job, end, "test") is Verdict.APPLIED
    record = api.app.store.get(job)
    assert record is not None
    under_policy = replace(record.workflow, limits=limits)
    answered = status(replace(record, workflow=under_policy))
    assert (answered["reason"], answered["terminationDetails"]["exitCode"]) == (told["reason"], told["code"])
    shown = workflow_status(under_policy)
    assert (shown["reason"], shown["exitCode"]) == (told["reason"], told["code"])
    assert shown["conditions"][0]["message"] == told["reason"]
