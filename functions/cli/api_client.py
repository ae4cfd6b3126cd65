"""A client of the operator API: sends signed requests as Ocean's Provider does, and the operator's own requests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

import urllib3

from functions.cli.command_errors import UNAVAILABLE, USAGE_ERROR, CommandError, printable

API = "/api/v1/operator"
_LONGEST_MESSAGE = 2000  # characters of an error of the server that are shown
_LONGEST_EVENT = 1 << 20  # bytes of one line of a log's stream
_TIMEOUT = urllib3.Timeout(connect=5, read=60)


class ApiError(CommandError):
    """The server answered with an error: its HTTP `status` and its own message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, UNAVAILABLE if status >= 500 else USAGE_ERROR)
        self.status = status


class ServerUnavailable(CommandError):
    """The server does not answer, or is not a Sluice server."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"no answer from {url}: {why}; `sluice up` starts a server on this machine", UNAVAILABLE)


class Client:
    """Talks to one server with one key. Its methods return parsed JSON, and raise ApiError and ServerUnavailable."""

    def __init__(self, url: str, key: str, admin: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.operator = True  # until the server refuses an operator's request
        self._key = key
        self._headers = {"Admin": admin} if admin else {}
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    @cached_property
    def address(self) -> str:
        """The Ethereum address of the key."""
        from functions.ethereum import address

        return address(self._key)

    # --- requests of consumers and Providers ---------------------------------------------------

    def submit(self, workflow: Any, *, environment: str, agreement: str, owner: str, chain: Any = None) -> Any:
        """Start a job. Returns its status object."""
        body = {"workflow": workflow, "agreementId": agreement, "environment": environment, "owner": owner}
        signed = {**body, **self._signature(owner), **({} if chain is None else {"chainId": chain})}
        return self._json("POST", "/compute", json=signed)[0]

    def jobs(self, owner: str | None = None) -> Any:
        """The status objects of an owner's jobs, newest first."""
        owner = owner or self.address
        return self._json("GET", "/compute", fields={"owner": owner, **self._signature(owner)})

    def job(self, job_id: str) -> Any:
        """The status object of one job. Raises ApiError with status 404 if the server knows no such job."""
        found = self._json("GET", "/compute", fields={"jobId": job_id, **self._signature(None, job_id)})
        if not found:
            raise ApiError(404, f"{self.url} has no job {job_id}; `sluice list` shows your jobs")
        return found[0]

    def stop(self, job_id: str, owner: str) -> Any:
        return self._end("PUT", job_id, owner)

    def delete(self, job_id: str, owner: str) -> Any:
        return self._end("DELETE", job_id, owner)

    def environments(self) -> Any:
        return self._json("GET", "/environments")

    @contextmanager
    def result(
        self, job_id: str, owner: str, index: int, start: int = 0, known: str | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Open one published file as a stream.

        `start` is the first byte wanted. The status is 206 if the server skips to it, 200 if it sends the whole file.
        `known` is the sha256 of a local copy. The status is 304 if it is the server's file.
        """
        fields = {"owner": owner, "jobId": job_id, "index": str(index), **self._signature(owner, job_id)}
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        if known:
            headers["If-None-Match"] = f'"{known}"'
        answer = self._send("GET", "/getResult", fields=fields, headers=headers, preload_content=False)
        try:
            if answer.status >= 400:
                raise self._refused("/getResult", answer.status, answer.read())
            yield answer
        finally:
            answer.close()
            answer.release_conn()

    # --- requests of operators; `sluice up` accepts them from everybody -------------------------

    def running(self) -> Any:
        return self._json("GET", "/runningjobs", fields={})

    def info(self, job_id: str) -> Any:
        """The status object with all attempts of all stages."""
        return self._json("GET", "/info", fields={"jobId": job_id})

    def history(self, job_id: str) -> Any:
        return self._json("GET", "/history", fields={"jobId": job_id})

    def dead_letters(self, limit: int) -> Any:
        return self._json("GET", "/dead-letters", fields={"limit": str(limit)})

    def log(self, job_id: str, stage: str) -> bytes:
        """The log of a stage so far."""
        answer = self._send("GET", "/logs", fields={"jobId": job_id, "component": stage})
        if answer.status >= 400:
            raise self._refused("/logs", answer.status, answer.data)
        return answer.data

    def log_events(self, job_id: str, stage: str, since: str) -> Iterator[dict[str, str]]:
        """Follow the log of a stage: yield server-sent events (docs/api.md) until the server ends the stream.

        Asks as an operator first. If the server refuses that, asks as the owner of the job.
        """
        fields = {"jobId": job_id, "component": stage, "follow": "1", "since": since}
        if not self.operator:
            owner = self.job(job_id)["owner"]
            fields |= {"owner": owner, **self._signature(owner, job_id)}
        headers = {"Accept": "text/event-stream"}
        answer = self._send("GET", "/logs", fields=fields, headers=headers, preload_content=False)
        try:
            if answer.status in (400, 401) and self.operator:
                self.operator = False
                yield from self.log_events(job_id, stage, since)
            elif answer.status >= 400:
                raise self._refused("/logs", answer.status, answer.read())
            else:
                yield from _events(answer)
        except urllib3.exceptions.HTTPError as e:
            raise ServerUnavailable(self.url, _why(e)) from None
        finally:
            answer.close()
            answer.release_conn()

    # --- requests of the review room ------------------------------------------------------------

    def held(self) -> Any:
        """What waits for a decision: for a checker the jobs whose policy names the key, for an operator all."""
        return self._json("GET", "/held", headers=self._as_checker("/held"))

    def held_job(self, job_id: str) -> Any:
        """The files of a held job, what the checks found, and what to sign."""
        path = f"/held/{quote(job_id, safe='')}"
        return self._json("GET", path, headers=self._as_checker(path))

    def held_file(self, job_id: str, index: int) -> bytes:
        """One held file, decrypted. The server writes the look down in the job's history."""
        path = "/heldFile?" + urlencode({"jobId": job_id, "index": index})
        answer = self._send("GET", path, headers=self._as_checker(path))
        if answer.status >= 400:
            raise self._refused(path, answer.status, answer.data)
        return answer.data

    def decide(self, decision: dict[str, Any], signature: str) -> Any:
        """Send a signed decision about held results."""
        return self._json("POST", "/decisions", json={"decision": decision, "signature": signature})

    def reject_as_operator(self, job_id: str) -> Any:
        return self._json("POST", "/decisions", json={"jobId": job_id, "verdict": "reject"})

    def release_again(self, job_id: str) -> Any:
        return self._json("POST", "/release", json={"jobId": job_id})

    def revoke(self, job_id: str) -> Any:
        return self._json("POST", "/revoke", json={"jobId": job_id})

    def freeze(self, scope: str, reason: str) -> Any:
        return self._json("POST", "/freeze", json={"scope": scope, "reason": reason})

    def unfreeze(self, scope: str) -> Any:
        return self._json("DELETE", "/freeze", json={"scope": scope})

    def _as_checker(self, path: str) -> dict[str, str]:
        """The signature of a checker over one request; none for an operator, who sends the `Admin` header."""
        if self._headers:
            return {}
        from functions.api.auth.reader import SCHEME, text_to_sign
        from functions.ethereum import sign_text

        nonce = str(time.time_ns())
        return {"Authorization": f"{SCHEME}{nonce}:{sign_text(self._key, text_to_sign('GET', API + path, nonce))}"}

    def sign(self, text: str) -> str:
        """Sign a text as a wallet does (EIP-191)."""
        from functions.ethereum import sign_text

        return sign_text(self._key, text)

    # --- requests and answers -------------------------------------------------------------------

    def _end(self, method: str, job_id: str, owner: str) -> Any:
        fields = {"owner": owner, "jobId": job_id, **self._signature(owner, job_id)}
        found = self._json(method, "/compute", fields=fields)
        if not found:
            raise ApiError(404, f"{self.url} has no job {job_id} of {owner}")
        return found[0]

    def _signature(self, owner: str | None, job_id: str | None = None) -> dict[str, str]:
        from functions.api.auth.signature import signed_message
        from functions.ethereum import sign

        nonce = str(time.time_ns())
        return {"nonce": nonce, "providerSignature": sign(self._key, signed_message(owner, job_id) + nonce)}

    def _json(self, method: str, path: str, **about: Any) -> Any:
        """The parsed answer: an object, or a list of objects."""
        answer = self._send(method, path, **about)
        if answer.status >= 400:
            raise self._refused(path, answer.status, answer.data)
        if answer.status >= 300:
            raise ServerUnavailable(self.url, f"it redirects to {answer.headers.get('Location', 'another URL')}")
        try:
            value = json.loads(answer.data)
        except (ValueError, RecursionError):
            raise ServerUnavailable(self.url, "its answer is not JSON, so it is not a Sluice server") from None
        if not all(isinstance(each, dict) for each in (value if isinstance(value, list) else [value])):
            raise ServerUnavailable(self.url, "its answer has an unknown form, so it is not a Sluice server")
        return value

    def _send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **about: Any
    ) -> urllib3.BaseHTTPResponse:
        if "fields" in about and method in ("PUT", "DELETE"):
            # The Provider sends these in the query. urllib3 would send them as a form in the body.
            path += "?" + urlencode(about.pop("fields"))
        try:
            return self._http.request(
                method, self.url + API + path, headers={**self._headers, **(headers or {})}, redirect=False, **about
            )
        except urllib3.exceptions.HTTPError as e:
            raise ServerUnavailable(self.url, _why(e)) from None

    def _refused(self, path: str, status: int, body: bytes) -> ApiError:
        at = self.url + API + path
        try:
            message = printable(json.loads(body)["error"])[:_LONGEST_MESSAGE]
        except (ValueError, KeyError, TypeError):
            return ApiError(status, f"{at} answered {status}")
        return ApiError(status, f"{at}: {message}" if status == 404 else message)  # a 404 may mean a wrong --url


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[dict[str, str]]:
    """The server-sent events of an answer, without comments. Each field has one line here."""
    event: dict[str, str] = {}
    for line in _lines(answer):
        name, separator, value = line.partition(":")
        if not line:
            if event:
                yield event
            event = {}
        elif separator and name:
            event[name] = value.removeprefix(" ")


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    rest = b""
    while chunk := answer.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
        if len(rest) > _LONGEST_EVENT:
            return


def _why(error: Exception) -> str:
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "unknown host name"
        case urllib3.exceptions.NewConnectionError():
            return "connection refused"
        case urllib3.exceptions.TimeoutError():
            return "timed out"
        case urllib3.exceptions.SSLError():
            return "the TLS handshake failed; it serves plain http, or its certificate is not trusted"
        case _:
            return "the connection was lost"
