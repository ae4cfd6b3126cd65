"""Reads job status objects, and follows a job to its end by polling.

It polls often at first and then less often, because each poll may cost the server several calls to its cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from functions.cli.options import THIS_MACHINE
from functions.workflow.codes import Code
from functions.workflow.model import Phase, Stop

if TYPE_CHECKING:
    from functions.cli.api_client import Client

# Seconds between two polls, first and longest, for a server on this machine and for one elsewhere.
_LOCAL, _REMOTE = (0.1, 0.5), (1.0, 5.0)
_GROWTH = 1.2
_GIVE_UP_AFTER = 60.0  # seconds without an answer


def follow(
    client: Client, job_id: str, give_up_after: float = _GIVE_UP_AFTER, pause: Callable[[float], object] = time.sleep
) -> Iterator[Any]:
    """Yield the job's status object each time it changes, until the job has ended.

    `pause` waits between two polls; it gets the longest wait in seconds. Server errors are retried for
    `give_up_after` seconds. Raises ServerUnavailable and ApiError.
    """
    from functions.cli.http_client import ApiError, ServerUnavailable

    known = None
    answered = time.monotonic()
    for seconds in _intervals(client.url):
        try:
            job = poll(client, job_id)
            answered = time.monotonic()
        except (ServerUnavailable, ApiError) as e:
            if (isinstance(e, ApiError) and e.status < 500) or time.monotonic() - answered > give_up_after:
                raise
            job = known
        if job != known:
            known = job
            yield job
            if has_ended(job):
                return
        pause(seconds)


def _intervals(url: str) -> Iterator[float]:
    local = urlsplit(url).hostname in THIS_MACHINE
    seconds, longest = _LOCAL if local else _REMOTE
    while True:
        yield seconds
        seconds = min(seconds * _GROWTH, longest)


def poll(client: Client, job_id: str) -> Any:
    """The status object of a job: with all attempts if the server accepts us as an operator, else without."""
    from functions.cli.http_client import ApiError

    if client.operator:
        try:
            return client.info(job_id)
        except ApiError as e:
            if e.status not in (400, 401):
                raise
            client.operator = False
    return client.job(job_id)


def running_details(client: Client, job_id: str) -> dict[str, Any]:
    """The `progress` of the running stage, and the `phase` if results are held, as far as the server tells us."""
    from functions.cli.http_client import ApiError

    try:
        info = client.info(job_id)
    except ApiError:
        return {}
    told = {"progress": info["progress"]} if info.get("progress") else {}
    return {**told, "phase": info["phase"]} if is_held(info) else told


def has_ended(job: Any) -> bool:
    return job.get("dateFinished") is not None  # /runningjobs leaves the field out


def is_held(job: Any) -> bool:
    """Whether the results of a job wait for a decision. Only operators are told."""
    return bool(job.get("phase") == Phase.HELD)


def succeeded(job: Any) -> bool:
    """Whether an ended job ran to its regular end. Status 70 is not enough: stopped jobs have it too."""
    return bool(job["status"] == Code.FINISHED and job["stopreq"] == 0)


def status_text(job: Any) -> str:
    """The state of a job in words. Unlike Ocean's text, it says so if a job was stopped or timed out."""
    text = str(job["statusText"]).strip()
    if has_ended(job) and job["status"] == Code.FINISHED and job["stopreq"]:
        text = "Stopped" if job["stopreq"] == Stop.REQUESTED else "Timed out"
    return f"{text}, results removed" if job.get("removed") else text


def attempts(job: Any) -> list[dict[str, Any]]:
    """All attempts of all stages: `stage`, `attempt`, `outcome` (None while it runs), `seconds`, `reason`."""
    return [
        {
            "stage": each["stage"],
            "attempt": each["attempt"],
            "outcome": each["outcome"],
            "seconds": round(float(each["ended"]) - float(each["created"]), 3) if each["ended"] else None,
            "reason": each["reason"],
        }
        for each in job.get("attempts", [])
    ]


def failed_stage_log(client: Client, job: Any) -> tuple[str, bytes]:
    """The last stage that did not succeed, and its log. Both are empty if all stages succeeded."""
    from functions.cli.http_client import ApiError

    failed = [each["stage"] for each in attempts(job) if each["outcome"] != "succeeded"]
    if not failed:
        return "", b""
    try:
        return failed[-1], client.log(job["jobId"], failed[-1])
    except ApiError:
        return failed[-1], b""
