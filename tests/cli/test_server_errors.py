"""What a command says of a server that is away, refuses, or is another one."""

from __future__ import annotations

import socket

import pytest
import urllib3
from support.fake_api import FakeApi, Sluice

from functions.cli.http_client import why


@pytest.mark.parametrize(
    "command", [["status", "j1"], ["list"], ["stop", "j1"], ["logs", "j1"], ["results", "j1"], ["environments"]]
)
def test_an_unreachable_server_gives_exit_code_3_and_a_message_with_advice(sluice: Sluice, command: list[str]) -> None:
    ended = sluice(*command, "--url", "http://127.0.0.1:9")
    assert ended.exit_code == 3
    assert "sluice up" in ended.stderr
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("answer", [b"<html>", b'"text"', b"[1]", b"null", b"[" * 100_000, b"\xff"])
def test_an_answer_of_something_else_than_sluice_gives_exit_code_3(sluice: Sluice, api: FakeApi, answer: bytes) -> None:
    api.put("GET", "/environments", answer)
    ended = sluice("environments", "--url", api.url)
    assert (ended.exit_code, "not a Sluice server" in ended.stderr) == (3, True), ended.output


def test_a_server_that_redirects_is_named_with_the_other_url(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/environments", {}, 302)
    ended = sluice("environments", "--url", api.url)
    assert (ended.exit_code, "redirects to" in ended.stderr) == (3, True), ended.output


@pytest.mark.parametrize(("status", "code"), [(400, 2), (401, 2), (404, 2), (500, 3), (503, 3)])
def test_an_error_of_the_server_is_shown_in_its_own_words(sluice: Sluice, api: FakeApi, status: int, code: int) -> None:
    api.put("GET", "/environments", {"error": "not today"}, status)
    ended = sluice("environments", "--url", api.url)
    assert ended.exit_code == code
    assert "not today" in ended.stderr


def test_an_address_without_a_sluice_server_is_named_in_the_error(sluice: Sluice, api: FakeApi) -> None:
    ended = sluice("environments", "--url", f"{api.url}/foo")
    assert ended.exit_code == 2
    assert f"{api.url}/foo/api/v1/operator/environments: no such path" in ended.stderr
    ended = sluice("list", "--url", f"{api.url}/foo")
    assert "Signature" not in ended.stderr
    ended = sluice("environments", "--url", api.url.replace("http:", "https:"))
    assert (ended.exit_code, "the TLS handshake failed" in ended.stderr) == (3, True)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "no valid host and port"),
        ("https://:443", "no valid host and port"),
        ("http://a b", "no valid host and port"),
        ("http://[", "Invalid IPv6 URL"),
        ("http://x:99999", "Port out of range"),
        ("http://x:http", "Port could not be cast"),
        ("http://user:secret@x", "a user name in the URL is not supported"),
        ("http://x/?a=b", "has a query or a fragment"),
        ("localhost:8050", "does not begin with http://"),
        ("", "does not begin with http://"),
    ],
)
@pytest.mark.parametrize("given", ["option", "variable"])
def test_an_invalid_server_url_is_a_usage_error_that_says_what_is_wrong(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, url: str, said: str, given: str
) -> None:
    if given == "variable" and url:
        monkeypatch.setenv("SLUICE_URL", url)
        ended = sluice("environments")
    else:
        ended = sluice("environments", "--url", url)
    assert (ended.exit_code, said in ended.stderr) == (2, True), ended.output
    assert "http://127.0.0.1:8050" in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (urllib3.exceptions.NameResolutionError("nowhere", None, socket.gaierror()), "unknown host name"),  # type: ignore[arg-type]
        (urllib3.exceptions.NewConnectionError(None, "refused"), "connection refused"),  # type: ignore[arg-type]
        (urllib3.exceptions.ReadTimeoutError(None, "/", "slow"), "timed out"),  # type: ignore[arg-type]
        (urllib3.exceptions.SSLError("bad"), "the TLS handshake failed"),
        (urllib3.exceptions.ProtocolError("reset"), "the connection was lost"),
    ],
)
def test_the_reason_why_a_server_does_not_answer_is_told_in_words(error: Exception, said: str) -> None:
    assert why(error).startswith(said)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"\xff"])
def test_an_error_without_words_is_told_by_its_status(sluice: Sluice, api: FakeApi, body: bytes) -> None:
    api.put("GET", "/environments", body, 502)
    ended = sluice("environments", "--url", api.url)
    assert ended.exit_code == 3
    assert f"{api.url}/api/v1/operator/environments answered 502" in ended.stderr
