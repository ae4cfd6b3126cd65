"""GET /logs?follow=1: a log while it grows, for operators, and for the owner where nothing guards the results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.api import ADMIN, NOW, OTHER_KEY, OWNER, Api, app
from werkzeug.test import TestResponse

from functions import ethereum
from functions.cluster.ports import ClusterUnavailable, JobRef
from functions.status import followed_log, log_stream
from functions.status.log_stream import Position
from functions.store.values import Freeze
from functions.workflow.model import Hold, Manifest, Outcome, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded

EVENTS = {"Accept": "text/event-stream"}
PROVIDERS = (ethereum.address("0x" + "11" * 32), ethereum.address(OTHER_KEY))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "PAUSE", 0.001)
    monkeypatch.setattr(followed_log, "_STREAMS", followed_log._Streams())


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(app(results_url=f"file://{tmp_path}", allowed_providers=PROVIDERS, pool_size=4))


def at_algorithm(api: Api) -> tuple[str, JobRef]:
    """A job that runs its algorithm."""
    job = api.start()["jobId"]
    api.end_stage(job, Stage.CONFIGURE)
    return job, JobRef(WorkflowId(job), Stage.ALGORITHM, 1, "ocean-compute")


def follow(api: Api, job: str, *, headers: Any = None, **params: Any) -> TestResponse:
    return api.get("/logs", {"jobId": job, "follow": 1, **params}, headers={**ADMIN, **(headers or {})}, buffered=False)


def follow_as_owner(api: Api, job: str, **params: Any) -> TestResponse:
    signed = api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, follow=1, **params)
    return api.get("/logs", signed, buffered=False)


def events(answered: TestResponse) -> Iterator[dict[str, str]]:
    """The server-sent events, without comments."""
    text = ""
    for piece in answered.iter_encoded():
        text += piece.decode()
        while "\n\n" in text:
            event, _, text = text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in event.split("\n") if not line.startswith(":"))
            if fields:
                yield fields


def test_a_log_arrives_while_its_job_prints_and_ends_with_its_stage(api: Api) -> None:
    job, ref = at_algorithm(api)
    answered = follow(api, job)
    assert (answered.status_code, answered.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    pieces = (piece for piece in answered.iter_encoded() if piece)
    api.cluster.print(ref, b"epoch 1\n")
    assert next(pieces) == b"epoch 1\n"
    api.cluster.print(ref, b"epoch 2\n")
    assert next(pieces) == b"epoch 2\n"
    api.end_stage(job, Stage.ALGORITHM)
    assert list(pieces) == []


def test_events_carry_positions_and_an_end(api: Api) -> None:
    job, ref = at_algorithm(api)
    answered = follow(api, job, headers=EVENTS)
    assert answered.headers["Content-Type"] == "text/event-stream"
    found = events(answered)
    api.cluster.print(ref, "größe\r\n".encode())
    assert next(found) == {"id": "1:9", "data": '"gr\\u00f6\\u00dfe\\r\\n"'}
    api.cluster.print(ref, b"\xff\x1b[2J")
    assert json.loads(next(found)["data"]).encode("utf-8", "surrogateescape") == b"\xff\x1b[2J"
    api.end_stage(job, Stage.ALGORITHM)
    assert list(found) == [{"event": "end", "data": '{"stage": "algorithm"}'}]


def test_a_character_that_arrives_in_two_pieces_is_sent_whole(api: Api) -> None:
    job, ref = at_algorithm(api)
    found = events(follow(api, job, headers=EVENTS))
    api.cluster.print(ref, b"a\xc3")
    assert next(found) == {"id": "1:1", "data": '"a"'}
    api.cluster.print(ref, b"\xa4")
    assert next(found) == {"id": "1:3", "data": '"\\u00e4"'}


@pytest.mark.parametrize("since", ["1:4", "4", "0:4"])
def test_a_stream_goes_on_where_it_broke_off(api: Api, since: str) -> None:
    job, ref = at_algorithm(api)
    api.cluster.print(ref, b"one\ntwo\n")
    api.end_stage(job, Stage.ALGORITHM)
    assert follow(api, job, since=since).data == b"two\n"
    again = events(follow(api, job, headers={**EVENTS, "Last-Event-ID": since}))
    assert next(again) == {"id": "1:8", "data": '"two\\n"'}


def test_a_stage_is_followed_through_its_attempts(api: Api) -> None:
    job = api.start()["jobId"]
    ref = JobRef(WorkflowId(job), Stage.CONFIGURE, 1, "ocean-compute")
    found = events(follow(api, job, component="configure", headers=EVENTS))
    api.cluster.print(ref, b"first\n")
    assert next(found)["id"] == "1:6"
    api.cluster.finish(ref, 1)
    api.app.transitions.apply(WorkflowId(job), StageEnded(Stage.CONFIGURE, 1, None, Outcome.FAILED, 1), "test")
    api.app.clock.pass_(minutes=1)  # type: ignore[attr-defined]
    api.app.transitions.carry_out(WorkflowId(job), "test")
    api.cluster.print(replace(ref, attempt=2), b"second\n")
    assert next(found) == {"id": "2:7", "data": '"second\\n"'}


def test_a_stage_that_is_yet_to_come_is_waited_for(api: Api) -> None:
    job = api.start()["jobId"]
    pieces = follow(api, job).iter_encoded()
    assert next(pieces) == b""
    api.end_stage(job, Stage.CONFIGURE)
    api.cluster.print(JobRef(WorkflowId(job), Stage.ALGORITHM, 1, "ocean-compute"), b"begun\n")
    assert next(pieces) == b"begun\n"


def test_a_job_that_ended_long_ago_sends_its_published_log(api: Api) -> None:
    url = api.app.storage.put("j/1/logs/algorithm.log", [b"0123456789"], 10, "text/plain")
    job = api.finished(Manifest(files=(ResultFile("logs/algorithm.log", 10, "algorithmLog", url),)))
    for ref in api.cluster.present():
        api.cluster.vanish(ref)
    for since, rest in (("0", b"0123456789"), ("1:7", b"789")):
        with follow(api, job, since=since) as answered:
            assert answered.data == rest
    *_, last = events(follow(api, job, headers=EVENTS))
    assert last["event"] == "end"


def test_an_outage_of_the_cluster_pauses_the_stream(api: Api) -> None:
    job, ref = at_algorithm(api)
    api.cluster.print(ref, b"one\n")
    pieces = (piece for piece in follow(api, job).iter_encoded() if piece)
    assert next(pieces) == b"one\n"
    api.cluster.fail_next("follow", ClusterUnavailable("down"), times=3)
    api.cluster.print(ref, b"two\n")
    assert next(pieces) == b"two\n"


def test_a_stream_ends_after_its_time_without_an_end_event(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_log, "STREAM_SECONDS", 0.0)
    job, _ = at_algorithm(api)
    assert list(events(follow(api, job, headers=EVENTS))) == []


def test_silence_is_filled_with_signs_of_life(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_log, "HEARTBEAT", 0.0)
    job, _ = at_algorithm(api)
    pieces = follow(api, job, headers=EVENTS).iter_encoded()
    assert [next(pieces) for _ in range(3)] == [b": \n\n"] * 3


def test_only_half_of_the_threads_follow_logs(api: Api) -> None:
    job, ref = at_algorithm(api)
    streams = [follow(api, job) for _ in range(2)]
    refused = follow(api, job)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    api.cluster.finish(ref)
    streams[0].close()
    assert follow(api, job, since=0).status_code == 200


@pytest.mark.parametrize("wrong", [{"follow": "yes"}, {"since": "x"}, {"since": "-1"}, {"since": "1:2:3"}])
def test_a_wrong_parameter_is_refused(api: Api, wrong: dict[str, str]) -> None:
    assert follow(api, at_algorithm(api)[0], **wrong).status_code == 400


def test_since_needs_follow(api: Api) -> None:
    job, _ = at_algorithm(api)
    answered = api.get("/logs", {"jobId": job, "since": 0}, headers=ADMIN)
    assert (answered.status_code, answered.json) == (400, {"error": "`since` needs `follow=1`"})


def test_a_position_is_read_and_written() -> None:
    assert (Position.parse("7"), Position.parse("2:7")) == (Position(0, 7), Position(2, 7))
    assert str(Position(2, 7)) == "2:7"


# --- the owner ------------------------------------------------------------------------------


def test_the_owner_follows_the_algorithm(api: Api) -> None:
    job, ref = at_algorithm(api)
    answered = follow_as_owner(api, job)
    assert answered.status_code == 200
    api.cluster.print(ref, b"epoch 1\n")
    assert next(piece for piece in answered.iter_encoded() if piece) == b"epoch 1\n"


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.ALGORITHM])
def test_the_owner_reads_no_other_stage(api: Api, stage: Stage) -> None:
    job, _ = at_algorithm(api)
    assert follow_as_owner(api, job, component=stage.value).status_code == 403


@pytest.mark.parametrize(
    "guard", [{"filtered": True}, {"checked": True}, {"hold": Hold.ALWAYS}, {"hold": Hold.ON_FINDINGS}]
)
@pytest.mark.parametrize("followed", [0, 1])
def test_the_owner_reads_nothing_where_a_filter_a_check_or_a_hold_is(
    api: Api, guard: dict[str, Any], followed: int
) -> None:
    job, ref = at_algorithm(api)
    api.cluster.print(ref, b"rows of patients\n")
    store: Any = api.app.store
    found = store.get(WorkflowId(job))
    guarded = replace(found, workflow=replace(found.workflow, limits=replace(found.workflow.limits, **guard)))
    store.get = lambda _: guarded
    signed = api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, follow=followed)
    answered = api.get("/logs", signed)
    assert answered.status_code == 403
    assert b"patients" not in answered.data


def test_the_owner_gets_no_published_log_that_is_for_the_operator(api: Api) -> None:
    url = api.app.storage.put("j/1/adminlogs/algorithm.log", [b"rows"], 4, "text/plain")
    job = api.finished(Manifest(admin_files=(ResultFile("adminlogs/algorithm.log", 4, "algorithmLog", url),)))
    for ref in api.cluster.present():
        api.cluster.vanish(ref)
    assert follow_as_owner(api, job).data == b""


def test_a_request_without_a_valid_signature_reads_nothing(api: Api) -> None:
    job, _ = at_algorithm(api)
    signed = api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, follow=1)
    assert api.get("/logs", {**signed, "nonce": api.nonce()}).status_code == 401
    assert api.get("/logs", {**signed, "owner": "0xanother"}).status_code in (401, 404)
    stranger = Api(api.app, OTHER_KEY)
    assert follow_as_owner(stranger, job).status_code == 404
    assert api.get("/logs", {"jobId": job, "follow": 1}).status_code == 400


def test_a_signature_is_used_once(api: Api) -> None:
    job, ref = at_algorithm(api)
    signed = api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, follow=1)
    api.cluster.finish(ref)
    api.get("/logs", signed, buffered=False).close()
    assert api.get("/logs", signed).status_code == 400


def test_a_freeze_ends_the_owners_stream(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_log, "HEARTBEAT", 0.0)
    job, _ = at_algorithm(api)
    followed = follow_as_owner(api, job)
    with api.app.store.begin() as tx:
        assert tx.freeze(Freeze("all", NOW, "operator", ""))
    assert followed.data == b""
    assert follow_as_owner(api, job).status_code == 403


def test_a_freeze_ends_the_owners_stream_of_a_log_that_never_rests(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_log, "HEARTBEAT", 0.0)
    monkeypatch.setattr(type(api.cluster), "follow", lambda *_: repeat(b"again\n"))
    job, _ = at_algorithm(api)
    pieces = (piece for piece in follow_as_owner(api, job).iter_encoded() if piece)
    assert [next(pieces), next(pieces)] == [b"again\n"] * 2
    with api.app.store.begin() as tx:
        assert tx.freeze(Freeze("all", NOW, "operator", ""))
    assert next(pieces, b"") == b""
