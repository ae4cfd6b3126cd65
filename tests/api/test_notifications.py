"""Notifications: operator-engine's payload and signature, from the outbox, never in the way."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPMessage

import pytest
from cloudevents.conversion import from_http
from cloudevents.http import CloudEvent
from coincurve import PublicKey
from support.api import ADMIN, API, NOW, Api, app
from support.held_api import KEYS, as_operator, decide, decision, fail_release, held, held_api, look
from support.receiver import Receiver
from werkzeug.test import Client

from functions import ethereum
from functions.advance import notifications
from functions.advance.sweep import sweep
from functions.cluster.ports import ClusterUnavailable
from functions.local.broker import Answer, Broker, Message
from functions.local.knative_manifests import load, of_kind
from functions.local.triggers import DeliverySpec, Trigger, parse_trigger
from functions.store.values import Outgoing
from functions.workflow.model import WorkflowId
from functions.workflow.tick import TickLevel

KEY = "0x" + "44" * 32


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def told(url: str) -> tuple[Api, str]:
    api = Api(app(notify_start_url=url, operator_private_key=KEY))
    return api, api.start()["jobId"]


def events(api: Api) -> list[Outgoing]:
    later = NOW + timedelta(minutes=1)
    return list(api.app.store.claim_events(later, later + timedelta(minutes=1), 10))


def test_a_start_is_notified_as_operator_engine_does(receiver: Receiver) -> None:
    api, job = told(receiver.url)
    (event,) = events(api)
    assert notifications.deliver(api.app, event)
    ((kind, sent),) = receiver.got
    record = api.app.store.get(WorkflowId(job))
    assert record is not None
    assert kind == "application/json"
    assert list(sent) == ["algoDID", "jobId", "secret", "DID", "signature"]
    assert (sent["algoDID"], sent["jobId"], sent["DID"]) == ("", job, ["did:op:1"])
    assert sent["secret"] == record.submission.secret


def test_the_signature_is_over_the_four_values_json_as_a_wallet_signs_a_text() -> None:
    signature = notifications.sign(KEY, "s3cret", ["did:op:1"], "job", None)
    text = b'"s3cret"["did:op:1"]"job"null'
    digest = ethereum.keccak(b"\x19Ethereum Signed Message:\n" + str(len(text)).encode() + text)
    raw = bytes.fromhex(signature)
    signer = PublicKey.from_signature_and_message(raw, digest, hasher=None).format(compressed=False)
    assert ethereum.keccak(signer[1:])[-20:].hex() == ethereum.address(KEY)[2:].lower()


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_refused_notification_stays_in_the_outbox(receiver: Receiver, status: int) -> None:
    receiver.status = status
    api, _ = told(receiver.url)
    (event,) = events(api)
    assert not notifications.deliver(api.app, event)
    assert len(receiver.got) == 1, "no redirect is followed"


def test_a_receiver_that_is_absent_or_silent_delays_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], 1):
            api, _ = told(f"http://127.0.0.1:{port}/")
            (event,) = events(api)
            assert not notifications.deliver(api.app, event)


def test_what_becomes_of_results_is_told_by_a_cloudevent_without_names(receiver: Receiver) -> None:
    api = Api(app(notify_hold_urls=(receiver.url, receiver.url)))
    job = api.start()["jobId"]
    event = Outgoing(7, WorkflowId(job), "held", 0, NOW)
    assert notifications.deliver(api.app, event)
    (kind, sent), again = receiver.got
    assert again == (kind, sent)
    assert kind == "application/cloudevents+json"
    read = from_http(CloudEvent, {"content-type": kind}, json.dumps(sent))
    assert (read["type"], read["id"], read["subject"]) == ("dev.sluice.workflow.held.v1", f"{job}/7", job)
    assert read.data["jobId"] == job
    assert api.jobs(job)[0]["owner"] not in json.dumps(sent)


def test_a_freeze_is_told_once_and_so_is_its_end(receiver: Receiver) -> None:
    api = Api(app(notify_hold_urls=(receiver.url,), allowed_admins=(ADMIN["Admin"],)))
    scope = {"scope": "data:did:op:1", "reason": "consent withdrawn"}
    for _ in range(2):
        assert api.submit.post(f"{API}/freeze", json=scope, headers=ADMIN).status_code == 200
    assert api.submit.delete(f"{API}/freeze", json=scope, headers=ADMIN).status_code == 200
    assert api.cluster.tick is TickLevel.FAST, "only a sweep delivers"
    sweep(api.app)
    told = [event for _, event in receiver.got]
    assert [(each["type"], each["subject"], each["data"]) for each in told] == [
        ("dev.sluice.workflow.frozen.v1", "data:did:op:1", {"scope": "data:did:op:1"}),
        ("dev.sluice.workflow.unfrozen.v1", "data:did:op:1", {"scope": "data:did:op:1"}),
    ]
    assert told[0]["id"] != told[1]["id"]
    assert api.app.store.undelivered(10) == []


def test_a_freeze_does_not_wait_for_a_cluster_that_cannot_be_reached() -> None:
    api = Api(app(notify_hold_urls=("http://127.0.0.1:1/",), allowed_admins=(ADMIN["Admin"],)))
    api.cluster.fail_next("set_tick", ClusterUnavailable("down"))
    assert api.submit.post(f"{API}/freeze", json={"scope": "all"}, headers=ADMIN).status_code == 200
    assert [freeze.scope for freeze in api.app.store.freezes()] == ["all"]


def test_what_nobody_could_be_told_of_is_shown_to_operators_and_its_checkers() -> None:
    api = held_api(notify_hold_urls=("http://127.0.0.1:1/",))
    job = held(api)
    api.submit.post(f"{API}/freeze", json={"scope": "all"}, headers=ADMIN)
    assert as_operator(api, "/held")["undelivered"] == [], "nothing has been tried yet"
    for _ in range(3):
        sweep(api.app)
        api.app.clock.pass_(seconds=60)  # type: ignore[attr-defined]
    shown = as_operator(api, "/held")["undelivered"]
    assert [(each["event"], each["about"]) for each in shown] == [("held", job), ("frozen", "all")]
    assert all(each["tries"] > 0 for each in shown)
    assert [each["about"] for each in look(api, "/held").json["undelivered"]] == [job]
    assert look(api, "/held", KEYS[2]).json == {"held": [], "undelivered": []}


def test_nobody_is_reminded_of_results_that_wait_no_longer(receiver: Receiver) -> None:
    def told() -> list[str]:
        sweep(api.app)
        kinds = [event["type"].split(".")[3] for _, event in receiver.got]
        receiver.got.clear()
        return kinds

    api = held_api(notify_hold_urls=(receiver.url,))
    job = held(api)
    api.app.clock.pass_(seconds=43_200)  # type: ignore[attr-defined]
    assert told() == ["held", "held"], "at the beginning, and at half of the time"
    other = held(api, agreementId="0xother")
    for each in (job, other):
        assert decide(api, decision(api, each, verdict="reject")).status_code == 200
    api.app.clock.pass_(seconds=86_400)  # type: ignore[attr-defined]
    assert sorted(told()) == ["held", "rejected", "rejected"], "the other job was held, and nobody is reminded of it"
    assert api.app.store.undelivered(10) == []


def test_a_release_that_fails_for_good_is_told_with_its_reason(receiver: Receiver) -> None:
    api = held_api(notify_hold_urls=(receiver.url,))
    job = held(api)
    assert look(api, "/held").json["held"][0]["releaseFailed"] is None
    assert decide(api, decision(api, job)).status_code == 200
    fail_release(api, job, reason="OutputRefused")
    sweep(api.app)
    told = [event for _, event in receiver.got if event["type"] == "dev.sluice.workflow.release-failed.v1"]
    failed = {"reason": "OutputRefused", "at": told[0]["data"]["releaseFailed"]["at"]}
    assert [(each["subject"], each["data"]["phase"], each["data"]["releaseFailed"]) for each in told] == [
        (job, "held", failed)
    ]
    for shown in (look(api, "/held").json["held"][0], look(api, f"/held/{job}").json):
        assert shown["releaseFailed"] == failed
    assert api.app.store.history(WorkflowId(job))[-1][0].reason == "OutputRefused"
    assert api.submit.post(f"{API}/release", json={"jobId": job}, headers=ADMIN).status_code == 200
    fail_release(api, job, reason="ResultUploadFailed")
    assert look(api, "/held").json["held"] == [], "it is being released, by the next attempt"


def test_a_broker_takes_what_is_told_and_no_trigger_of_ours_selects_it() -> None:
    api = Api(app())
    job = api.start()["jobId"]
    record = api.app.store.get(WorkflowId(job))
    assert record is not None
    event = notifications.hold_event(api.app, record, Outgoing(7, WorkflowId(job), "held", 0, NOW))
    got: list[Message] = []

    def send(url: str, message: Message) -> Answer:
        got.append(message)
        return Answer(202, {}, b"")

    took = threading.Event()
    shipped = [
        parse_trigger(each, {"advance": "http://ours", "submit": "http://ours"}) for each in of_kind(load(), "Trigger")
    ]
    theirs = Trigger("t", lambda each: each["type"] == event["type"], "http://theirs/", DeliverySpec())
    broker = Broker(send, workers=1, delivered=took.set)
    broker.start([*shipped, theirs])
    kind = "application/cloudevents+json"
    try:
        door = Client(broker.app)
        assert door.post("/", json=event, headers={"Content-Type": kind}).status_code == 202
        assert door.post("/", data=b"[" * 9000, headers={"Content-Type": kind}).status_code == 400
        assert took.wait(10)
    finally:
        broker.stop()
    assert [(m.attributes["type"], json.loads(m.body)["jobId"]) for m in got] == [(event["type"], job)]
    assert got[0].headers["content-type"] == "application/json"


SECRETS = ["whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]


def verifies(secret: str, headers: HTTPMessage, body: bytes) -> bool:
    """What a receiver does, by the specification of Standard Webhooks."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return expected in headers["webhook-signature"].split(" ")


def test_the_receivers_check_accepts_the_example_of_the_specification() -> None:
    headers = HTTPMessage()
    headers["webhook-id"], headers["webhook-timestamp"] = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
    headers["webhook-signature"] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert verifies("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, b'{"test": 2432232314}')


def test_a_hold_is_signed_as_a_standard_webhook_also_while_the_secret_is_replaced(receiver: Receiver) -> None:
    api = Api(app(notify_hold_urls=(receiver.url,), notify_hold_secret=" ".join(SECRETS)))
    job = WorkflowId(api.start()["jobId"])
    for tries in range(2):
        assert notifications.deliver(api.app, Outgoing(7, job, "held", tries, NOW))
    assert notifications.deliver(api.app, Outgoing(8, job, "released", 0, NOW))
    for headers, body in receiver.signed:
        assert [verifies(secret, headers, body) for secret in SECRETS] == [True, True]
        assert not verifies(SECRETS[0], headers, body + b" ")
        assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    once, again, other = (headers["webhook-id"] for headers, _ in receiver.signed)
    assert once == again != other


def test_the_id_of_a_signed_event_has_no_dots(receiver: Receiver) -> None:
    api = Api(app(notify_hold_urls=(receiver.url,), notify_hold_secret=SECRETS[0]))
    scope = "data:https://data.example/1.csv"
    assert notifications.deliver(api.app, Outgoing(7, WorkflowId(""), "frozen", 0, NOW, scope))
    ((headers, _),) = receiver.signed
    assert "." not in headers["webhook-id"]


@pytest.mark.parametrize("secret", ["x", "whsec_", "whsec_äöü", "whsec_c2hvcnQ=", SECRETS[0][6:], f"{SECRETS[0]} x"])
def test_a_bad_secret_is_never_replaced_by_no_signature(
    receiver: Receiver, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(app(notify_hold_urls=(receiver.url,), notify_hold_secret=secret))
    assert not notifications.deliver(api.app, Outgoing(7, WorkflowId(api.start()["jobId"]), "held", 0, NOW))
    assert receiver.got == []
    assert "NOTIFY_HOLD_SECRET must be" in caplog.text


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    api = Api(app(notify_hold_urls=(receiver.url,)))
    assert notifications.deliver(api.app, Outgoing(7, WorkflowId(api.start()["jobId"]), "held", 0, NOW))
    ((headers, _),) = receiver.signed
    assert "webhook-signature" not in headers


def test_an_event_that_one_of_two_receivers_refuses_is_told_to_both_again(receiver: Receiver) -> None:
    api = Api(app(notify_hold_urls=("http://127.0.0.1:1/", receiver.url)))
    job = api.start()["jobId"]
    assert not notifications.deliver(api.app, Outgoing(7, WorkflowId(job), "held", 0, NOW))
    assert len(receiver.got) == 1


def test_without_a_receiver_nothing_is_retried() -> None:
    api, job = told("")
    assert notifications.deliver(api.app, Outgoing(1, WorkflowId(job), "started", 0, NOW))
    api, _ = told("http://127.0.0.1:1/")
    assert notifications.deliver(api.app, Outgoing(1, WorkflowId("unknown"), "started", 0, NOW))
    assert notifications.deliver(api.app, Outgoing(1, WorkflowId("unknown"), "something else", 0, NOW))


def test_a_malformed_url_is_a_failed_delivery() -> None:
    api, _ = told("http://[broken/")
    (event,) = events(api)
    assert not notifications.deliver(api.app, event)
