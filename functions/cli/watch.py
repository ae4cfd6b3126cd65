"""Follows a job to its end by asking the server: often at first, then rarely, for a look may cost it several calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from functions.workflow.codes import Code
from functions.workflow.model import Stop

if TYPE_CHECKING:
    from functions.cli.api_client import Client

# Seconds between two looks, at first and at most: of a server on this machine, and of one elsewhere.
_NEAR, _FAR = (0.1, 0.5), (1.0, 5.0)
_GROWTH = 1.2
_PATIENCE = 60.0  # seconds without an answer


def follow(
    client: Client, job: str, patience: float = _PATIENCE, pause: Callable[[float], object] = time.sleep
) -> Iterator[Any]:
    """What is known of the job whenever that changes; ends when the job has. Raises NoServer and Refused.

    `pause` is called between two looks with the seconds it may take at most.
    """
    from functions.cli.api_client import NoServer, Refused

    before = None
    answered = time.monotonic()
    for seconds in _pauses(client.url):
        try:
            seen = look(client, job)
            answered = time.monotonic()
        except (NoServer, Refused) as e:
            if (isinstance(e, Refused) and e.status < 500) or time.monotonic() - answered > patience:
                raise
            seen = before
        if seen != before:
            before = seen
            yield seen
            if over(seen):
                return
        pause(seconds)


def _pauses(url: str) -> Iterator[float]:
    """Growing: what has lasted will last."""
    near = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    seconds, longest = _NEAR if near else _FAR
    while True:
        yield seconds
        seconds = min(seconds * _GROWTH, longest)


def look(client: Client, job: str) -> Any:
    """The status object: with all attempts where we may see them, else as owners see it."""
    from functions.cli.api_client import Refused

    if client.operator:
        try:
            return client.info(job)
        except Refused as e:
            if e.status not in (400, 401):
                raise
            client.operator = False
    return client.job(job)


def progress(client: Client, job: str) -> dict[str, Any]:
    """How far configure or publish is (`progress`) and what the stage waits for (`waiting`), as far as we may see."""
    from functions.cli.api_client import Refused

    try:
        told = client.info(job)
    except Refused:
        return {}
    return {key: told[key] for key in ("progress", "waiting") if told.get(key)}


def over(seen: Any) -> bool:
    return seen.get("dateFinished") is not None  # /runningjobs leaves it out


def went_well(seen: Any) -> bool:
    """Whether a job that is over came to its end undisturbed. Ocean's 70 alone does not say that."""
    return bool(seen["status"] == Code.FINISHED and seen["stopreq"] == 0)


def words(seen: Any) -> str:
    """Where a job stands. Ocean calls also those finished that were stopped or ran out of time."""
    text = str(seen["statusText"]).strip()
    if over(seen) and seen["status"] == Code.FINISHED and seen["stopreq"]:
        text = "Stopped" if seen["stopreq"] == Stop.REQUESTED else "Timed out"
    return f"{text}, results removed" if seen.get("removed") else text


def stages(seen: Any) -> list[dict[str, Any]]:
    """The attempts of all stages: `stage`, `attempt`, `outcome` (None: it runs), `seconds`, `reason`."""
    return [
        {
            "stage": each["stage"],
            "attempt": each["attempt"],
            "outcome": each["outcome"],
            "seconds": round(float(each["ended"]) - float(each["created"]), 3) if each["ended"] else None,
            "reason": each["reason"],
        }
        for each in seen.get("attempts", [])
    ]


def telling_log(client: Client, seen: Any) -> tuple[str, bytes]:
    """The stage that did not succeed and what it printed; nothing where all did."""
    from functions.cli.api_client import Refused

    failed = [each["stage"] for each in stages(seen) if each["outcome"] != "succeeded"]
    if not failed:
        return "", b""
    try:
        return failed[-1], client.log(seen["jobId"], failed[-1])
    except Refused:
        return failed[-1], b""
