"""`sluice logs --follow` and `sluice submit --wait --logs` against a fake server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_api import OWNER, FakeApi, Sluice, job

from functions.cli.command_errors import CommandError
from functions.cli.http_client import ApiError, ServerUnavailable
from functions.cli.log_commands import follow, lines

END = 'event: end\ndata: {"stage": "algorithm"}\n\n'


def stream(*pieces: bytes) -> bytes:
    """Server-sent events with these pieces, each after a sign of life, and an end."""
    events, offset = "", 0
    for piece in pieces:
        offset += len(piece)
        data = json.dumps(piece.decode("utf-8", "surrogateescape"))
        events += f": \n\nid: 1:{offset}\ndata: {data}\n\n"
    return (events + END).encode()


class Streams:
    """A client that gets one stream after another."""

    url = "http://fake"

    def __init__(self, *streams: list[Any]) -> None:
        self.streams = list(streams)
        self.since: list[str] = []

    def log_events(self, job: str, stage: str, since: str) -> Iterator[dict[str, str]]:
        self.since.append(since)
        for event in self.streams.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


def followed(*streams: list[Any]) -> tuple[list[bytes], list[str]]:
    """What is followed, and from which positions."""
    fake: Any = Streams(*streams)
    return list(follow(fake, "job1", "algorithm", pause=lambda seconds: None)), fake.since


def test_a_log_is_printed_unchanged_to_a_pipe(sluice: Sluice, api: FakeApi) -> None:
    log = "größe\r\n\x1b[2J".encode() + b"\xff\x00"
    api.put("GET", "/logs", stream(log[:3], log[3:]))
    ended = sluice("logs", "job1", "-f", "--stage", "publish", "--url", api.url)
    assert (ended.exit_code, ended.stdout_bytes) == (0, log)
    (asked,) = api.of("/logs")
    assert asked.params == {"jobId": "job1", "component": "publish", "follow": "1", "since": "0"}
    assert asked.headers["Accept"] == "text/event-stream"


def test_a_stream_that_ends_early_goes_on_where_it_was() -> None:
    first = [{"id": "1:2", "data": '"a\\n"'}]
    again = [ServerUnavailable("u", "lost")]
    last = [{"id": "1:4", "data": '"b\\n"'}, {"event": "end", "data": "{}"}]
    assert followed(first, again, last) == ([b"a\n", b"b\n"], ["0", "1:2", "1:2"])


def test_a_refusal_ends_the_command() -> None:
    with pytest.raises(ApiError):
        followed([ApiError(403, "for the operator only")])


@pytest.mark.parametrize("data", ["not json", "1", '"\\ud800"', "[" * 10_000])
def test_a_stream_of_unknown_form_is_an_error(data: str) -> None:
    fake: Any = Streams([{"id": "1:1", "data": data}])
    with pytest.raises(CommandError, match="unknown form"):
        next(follow(fake, "job1", "algorithm"))


def test_without_operator_rights_the_owner_signs(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/logs", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job(status=40)])
    ended = sluice("logs", "job1", "--follow", "--url", api.url)
    assert ended.exit_code == 2
    first, second = api.of("/logs")
    assert "providerSignature" not in first.params
    assert second.params["owner"] == OWNER
    assert second.params["providerSignature"].startswith("0x")


def test_a_log_is_split_into_lines() -> None:
    assert list(lines([b"a\nb", b"c\n\nd"])) == [b"a", b"bc", b"", b"d"]
    assert [len(line) for line in lines([b"x" * 70_000, b"y\n"])] == [70_000, 1]


def test_json_is_no_form_of_a_followed_log(sluice: Sluice, api: FakeApi) -> None:
    assert sluice("logs", "job1", "-f", "--json", "--url", api.url).exit_code == 2


def test_submit_prints_the_log_on_stderr_while_it_waits(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    document = {"stages": [{"index": 0, "input": [], "compute": {}, "output": {}, "algorithm": ALGORITHM}]}
    (tmp_path / "workflow.json").write_text(json.dumps(document))
    api.put("GET", "/environments", [{"id": "demo", "maxJobs": 1}])
    api.put("POST", "/compute", [job(status=1)])
    api.put("GET", "/info", job())
    api.put("GET", "/logs", stream(b"epoch 1\n", b"epoch 2\n"))
    ended = sluice("submit", "workflow.json", "--wait", "--logs", "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (0, "job1\n")
    assert "epoch 1\nepoch 2\n" in ended.stderr


def test_logs_of_a_submission_need_its_end_to_be_waited_for(sluice: Sluice, tmp_path: Path) -> None:
    ended = sluice("submit", tmp_path / "workflow.json", "--logs")
    assert (ended.exit_code, "--logs needs --wait" in ended.stderr) == (2, True)


ALGORITHM = {"container": {"image": "python", "tag": "3", "entrypoint": "python $ALGO"}, "rawcode": "print(1)"}
