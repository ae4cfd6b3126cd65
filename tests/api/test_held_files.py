"""A checker reads a held file: decrypted, safe to open in a browser, and recorded."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from support.api import ADMIN, Api
from support.held_api import ANNA, FILES, decide, decision, held, held_api, look
from support.world import MemoryStorage

from functions.results.age import encrypt
from functions.results.ports import Content, NotFound
from functions.store.values import HeldResults
from functions.workflow.model import Manifest, ResultFile, WorkflowId

CONTENT = b"island,count\nDream,124\n" * 5000  # several blocks of age


class Quarantine(MemoryStorage):
    """Opens the files that were put into it, and counts those that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, bytes] = {}
        self.opened = 0

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        if file.url not in self.kept:
            raise NotFound(file.url)
        kept = self.kept[file.url]
        self.opened += 1
        return Content(iter((kept[:1000], kept[1000:])), len(kept), self._close)

    def _close(self) -> None:
        self.opened -= 1


@pytest.fixture
def quarantine() -> Quarantine:
    return Quarantine()


@pytest.fixture
def api(quarantine: Quarantine) -> Api:
    made = held_api()
    made.app.quarantine = quarantine
    return made


def keep(api: Api, quarantine: Quarantine, job: str, index: int = 0) -> None:
    """Put a held file of the job where publish leaves it."""
    waiting = api.app.store.held(WorkflowId(job))
    assert waiting is not None
    quarantine.kept[waiting.manifest.files[index].url] = b"".join(encrypt([CONTENT], waiting.key.recipient))


def view(api: Api, job: str, index: int = 0, **key: str) -> Any:
    return look(api, f"/heldFile?jobId={job}&index={index}", **key)


def views(api: Api, job: str) -> list[tuple[str, str]]:
    """Who has read which file, from the history."""
    history: Any = api.get("/history", {"jobId": job}, headers=ADMIN).json
    return [(line["cause"], line["reason"]) for line in history if line["event"] == "file viewed"]


def test_a_checker_gets_the_file_decrypted_and_its_storage_is_closed(api: Api, quarantine: Quarantine) -> None:
    job = held(api)
    keep(api, quarantine, job)
    answer = view(api, job)
    assert (answer.status_code, answer.data) == (200, CONTENT)
    answer.close()
    assert quarantine.opened == 0


def test_a_browser_neither_runs_nor_shows_a_held_file(api: Api, quarantine: Quarantine) -> None:
    job = held(api)
    keep(api, quarantine, job, index=1)
    headers = view(api, job, index=1).headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == "attachment;filename=b.svg"
    assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_each_view_of_a_file_is_recorded_with_who_saw_it(api: Api, quarantine: Quarantine) -> None:
    job = held(api)
    keep(api, quarantine, job, index=1)
    for _ in range(2):
        assert view(api, job, index=1).status_code == 200
    assert views(api, job) == [(ANNA, "1"), (ANNA, "1")]


def test_the_view_is_recorded_before_anything_is_sent(api: Api) -> None:
    """Whoever asks for a file that cannot be sent may have seen it."""
    job = held(api)
    answer = view(api, job)
    assert (answer.status_code, answer.json) == (404, {"error": "the held file is no longer in the quarantine"})
    assert views(api, job) == [(ANNA, "0")]


def test_no_file_is_sent_once_a_decision_has_deleted_the_key(api: Api, quarantine: Quarantine) -> None:
    job = held(api)
    keep(api, quarantine, job)
    assert decide(api, decision(api, job, verdict="reject")).status_code == 200
    answer = view(api, job)
    assert (answer.status_code, answer.json) == (404, {"error": f"no results of a job {job} are held"})
    assert quarantine.opened == 0


def test_a_file_without_a_key_is_gone(api: Api, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch) -> None:
    job = held(api)
    keep(api, quarantine, job)
    waiting = api.app.store.held(WorkflowId(job))
    assert waiting is not None
    closed = replace(waiting, key=replace(waiting.key, identity=""))
    monkeypatch.setattr(api.app.store, "held", lambda _: closed)
    answer = view(api, job)
    assert (answer.status_code, answer.json) == (410, {"error": "the key of the held files is deleted"})
    assert views(api, job) == []


def test_a_file_is_shown_until_its_release_has_ended(api: Api, quarantine: Quarantine) -> None:
    job = held(api)
    keep(api, quarantine, job)
    assert decide(api, decision(api, job)).status_code == 200
    assert view(api, job).data == CONTENT


def test_a_job_that_is_rejected_meanwhile_shows_nothing(
    api: Api, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = held(api)
    keep(api, quarantine, job)
    waiting, rejection = api.app.store.held(WorkflowId(job)), decision(api, job, verdict="reject")

    def read_before_the_rejection(_: WorkflowId) -> HeldResults | None:
        monkeypatch.undo()
        assert decide(api, rejection).status_code == 200
        return waiting

    monkeypatch.setattr(api.app.store, "held", read_before_the_rejection)
    answer = view(api, job)
    assert (answer.status_code, answer.json) == (404, {"error": f"no results of a job {job} are held"})
    assert (quarantine.opened, views(api, job)) == (0, [])


def test_a_file_that_the_manifest_does_not_hold_is_named(api: Api, quarantine: Quarantine) -> None:
    job = held(api, Manifest(FILES[:1]))
    keep(api, quarantine, job)
    answer = view(api, job, index=1)
    assert (answer.status_code, answer.json) == (404, {"error": f"job {job} holds no file with the index 1"})
