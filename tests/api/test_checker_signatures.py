"""A checker's request counts only with a fresh signature over its own method, path and time."""

from __future__ import annotations

import pytest
from support.api import API, Api
from support.held_api import KEYS, held, held_api

from functions import ethereum
from functions.api.auth.signature import checker_message


@pytest.fixture
def api() -> Api:
    return held_api()


def ask(api: Api, header: str, path: str = "/held") -> tuple[int, str]:
    answer = api.status.get(f"{API}{path}", headers={"Authorization": header})
    assert answer.json is not None
    return answer.status_code, str(answer.json.get("error", ""))


def header(api: Api, path: str = "/held", *, method: str = "GET", seconds: float = 0) -> str:
    """A signature of the first checker, `seconds` after the server's time."""
    nonce = str(int((api.app.clock().timestamp() + seconds) * 10**9))
    signature = ethereum.sign_text(KEYS[0], checker_message(method, f"{API}{path}", nonce))
    return f"Checker {nonce}:{signature}"


def test_a_signature_counts_within_five_minutes_of_the_servers_time(api: Api) -> None:
    for seconds in (-299, 299):
        assert ask(api, header(api, seconds=seconds))[0] == 200
    for seconds in (-301, 301, -86_400):
        status, error = ask(api, header(api, seconds=seconds))
        assert (status, error) == (401, "the checker's signature is refused: its nonce is not the current time")


@pytest.mark.parametrize(
    "broken", ["", ":", "x:y", "1:", "1.5:0x00", "{nonce}:", "{nonce}:0x00", "{nonce}:no hex", "{nonce}"]
)
def test_a_malformed_signature_is_refused_and_not_quoted(api: Api, broken: str) -> None:
    status, error = ask(api, "Checker " + broken.format(nonce=int(api.app.clock().timestamp() * 10**9)))
    assert status == 401
    assert error.startswith("the checker's signature is refused: ")
    assert "0x00" not in error
    assert "no hex" not in error


def test_a_signature_of_another_request_lets_nobody_see_the_job(api: Api) -> None:
    job = held(api)
    assert ask(api, header(api, f"/held/{job}"), f"/held/{job}")[0] == 200
    for other in (header(api, "/held", seconds=1), header(api, f"/held/{job}", method="POST", seconds=2)):
        assert ask(api, other, f"/held/{job}") == (404, f"no results of a job {job} are held")
