"""What a history line states: digests and counts, which nobody can guess back without the workflow's salt."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace
from support.records import record

from functions.cluster.kubernetes.job_status import status_of_job, status_of_pod
from functions.trust import canonical, chain, facts
from functions.workflow import reported_facts
from functions.workflow.model import DeliveredFile, FetchedFile, Manifest, ResultFile, Stage

SALT = "5a" * 32
ADDRESS = "0x19E7E376E7C213B7E7E7E46CC70A5DD086DAFF2A"
SHA = "ab" * 32
IMAGE = "sha256:" + "cd" * 32


def new_record(**other: Any) -> Any:
    made = record(**other)
    return replace(made, workflow=replace(made.workflow, salt=SALT))


def test_a_submission_states_who_asked_for_what_as_keyed_digests() -> None:
    stated = facts.of_submission(new_record(owner=ADDRESS))
    assert set(stated) == {"document", "owner", "provider"}
    assert stated["owner"] == chain.salted(bytes.fromhex(SALT), ADDRESS.lower())
    other = new_record(owner=ADDRESS)
    other = replace(other, workflow=replace(other.workflow, salt="5b" * 32))
    assert facts.of_submission(other)["owner"] != stated["owner"]


def test_a_submission_under_a_policy_states_the_policys_version() -> None:
    assert facts.of_submission(new_record(policy="{}"))["policy"] == canonical.digest({})


def test_an_address_in_a_cause_is_kept_as_its_keyed_digest_and_can_be_named_again() -> None:
    workflow = new_record().workflow
    cause = chain.recorded_cause(workflow, ADDRESS)
    assert ADDRESS.lower() not in cause.lower()
    assert chain.named_cause(workflow, cause, ["0x" + "1" * 40, ADDRESS]) == ADDRESS
    assert chain.named_cause(replace(workflow, salt=""), cause, [ADDRESS]) == cause
    assert chain.recorded_cause(workflow, "sweep") == "sweep"


@pytest.mark.parametrize("cause", ["a\0b", "a\ud800b", "x" * 300])
def test_any_cause_can_be_chained(cause: str) -> None:
    recorded = chain.recorded_cause(new_record().workflow, cause)
    assert len(recorded) <= chain.MAX_CAUSE
    assert canonical.digest(recorded)


names = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.builds(FetchedFile, names, st.just("https"), st.integers(0, 2**53 - 1), st.just(SHA)), max_size=4))
def test_the_digest_of_a_list_is_that_of_its_canonical_json(files: list[FetchedFile]) -> None:
    listed = sorted(
        ({"path": f.path, "sha256": f.sha256, "size": f.size} for f in files), key=lambda each: str(each["path"])
    )
    assert reported_facts.digest_of(listed) == canonical.digest(listed)


def test_the_algorithm_has_the_digest_of_its_one_file() -> None:
    files = [
        FetchedFile("transformations/algorithm", "rawcode", 3, SHA),
        FetchedFile("inputs/0/0", "https", 1, "cd" * 32),
    ]
    found = reported_facts.of_fetched(map(asdict, files))
    assert found["algorithm"] == SHA
    assert found["inputs"] == canonical.digest([{"path": "inputs/0/0", "sha256": "cd" * 32, "size": 1}])
    assert reported_facts.of_fetched(map(asdict, [*files, files[0]]))["algorithm"] != SHA


def test_published_files_are_stated_as_they_were_before_encryption() -> None:
    plain = ResultFile("outputs/a.csv", 3, "output", "file:///a", SHA)
    sealed = ResultFile("outputs/a.csv.age", 90, "output", "file:///b", "ef" * 32, plain_sha256=SHA, plain_size=3)
    assert facts.of_manifest(Manifest((plain,))) == facts.of_manifest(Manifest((sealed,)))
    assert facts.of_manifest(Manifest((plain,)))["files"] == "1"


def test_what_a_program_reports_is_read_back() -> None:
    told = {"inputs": SHA, "blocked": "2"}
    message = b"Completed: done" + reported_facts.line(told)
    assert reported_facts.read(message.decode()) == told
    assert reported_facts.line({}) == b""


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Completed: done",
        "a\n[]",
        "a\n{",
        "a\n" + "[" * 5000,
        '\n{"inputs": 1}',
        '\n{"secret": "12"}',
        '\n{"inputs": "x y"}',
    ],
)
def test_anything_else_is_no_fact(message: str) -> None:
    assert reported_facts.read(message) == {}


@given(st.text(max_size=60))
def test_no_termination_message_raises(message: str) -> None:
    assert set(reported_facts.read(message)) <= set(reported_facts.NAMES)


def pod(message: str, exit_code: int = 0) -> dict[str, Any]:
    ended = {"exitCode": exit_code, "reason": "Completed", "message": message}
    status = {"name": "main", "imageID": f"docker.io/library/python@{IMAGE}", "state": {"terminated": ended}}
    owner = {"controller": True, "kind": "Job", "uid": "u"}
    return {
        "metadata": {"name": "p", "ownerReferences": [owner]},
        "status": {"phase": "Succeeded", "containerStatuses": [status]},
    }


def test_a_pod_tells_the_image_that_ran_and_what_our_program_reported() -> None:
    message = "Completed: done\n" + json.dumps({"algorithm": SHA})
    assert status_of_pod(pod(message), Stage.CONFIGURE).facts == {"image": IMAGE, "algorithm": SHA}
    assert status_of_pod(pod(message), Stage.ALGORITHM).facts == {"image": IMAGE}
    assert status_of_pod(pod(message, 3), Stage.ALGORITHM).facts == {"image": IMAGE}


def test_a_job_whose_event_was_lost_still_tells_the_image() -> None:
    job = {"metadata": {"uid": "u"}, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    assert status_of_job(job, [pod("")], Stage.ALGORITHM).facts == {"image": IMAGE}
    assert status_of_job(job, [], Stage.ALGORITHM).facts == {}


def test_a_line_with_facts_is_chained_with_them() -> None:
    from functions.workflow.decision import HistoryEntry
    from functions.workflow.model import Phase, WorkflowId

    at = datetime(2026, 11, 27, tzinfo=UTC)
    entry = HistoryEntry(1, at, Phase.QUEUED, Phase.QUEUED, 1, "submitted")
    job = WorkflowId("w")
    bare = chain.digest(chain.line(job, entry, "sweep", chain.genesis(job)))
    assert chain.digest(chain.line(job, replace(entry, facts={"image": IMAGE}), "sweep", chain.genesis(job))) != bare


def test_the_delivered_files_of_a_task_are_stated_each_once_without_their_urls() -> None:
    files = [DeliveredFile(f"s3://b/{n}?key=secret", "/out/a.csv", 3, SHA) for n in range(2)]
    other = DeliveredFile("s3://b/z", "/out/z.csv", 3, "cd" * 32)
    stated = facts.of_manifest(Manifest(delivered=(*files, other)))
    assert stated["files"] == "2"
    assert stated == facts.of_manifest(Manifest(delivered=(other, files[0])))
    assert stated != facts.of_manifest(Manifest(delivered=(replace(other, sha256=SHA), files[0])))
