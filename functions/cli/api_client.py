"""Speaks to a server as Ocean's Provider does: signed requests of the operator API; and as its operator."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import urllib3

from functions.cli.errors import BAD_USE, NO_SERVER, Failure

API = "/api/v1/operator"
_PATIENCE = urllib3.Timeout(connect=5, read=60)


class Refused(Failure):
    """The server said no: `status` and why, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, NO_SERVER if status >= 500 else BAD_USE)
        self.status = status


class NoServer(Failure):
    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"no answer from {url} ({why}); is it up? `sluice up` starts one here", NO_SERVER)


class Client:
    """One server, one key. Methods raise Refused and NoServer."""

    def __init__(self, url: str, key: str, admin: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.operator = True  # until we are told that we are none
        self._key = key
        self._headers = {"Admin": admin} if admin else {}
        self._http = urllib3.PoolManager(timeout=_PATIENCE, retries=False)

    @cached_property
    def address(self) -> str:
        """The address of the key."""
        from functions.ethereum import address

        return address(self._key)

    # --- what everybody may ask ---------------------------------------------------------------

    def submit(self, workflow: Any, *, environment: str, agreement: str, owner: str, chain: Any = None) -> Any:
        """Start a job; its status object."""
        body = {"workflow": workflow, "agreementId": agreement, "environment": environment, "owner": owner}
        signed = {**body, **self._signature(owner), **({} if chain is None else {"chainId": chain})}
        return self._json("POST", "/compute", json=signed)[0]

    def jobs(self, owner: str | None = None) -> Any:
        """The status objects of an owner's jobs, newest first."""
        owner = owner or self.address
        return self._json("GET", "/compute", fields={"owner": owner, **self._signature(owner)})

    def job(self, job: str) -> Any:
        """The status object of one job. Raises Refused 404 if there is none."""
        found = self._json("GET", "/compute", fields={"jobId": job, **self._signature(None, job)})
        if not found:
            raise Refused(404, f"{self.url} knows no job {job}; `sluice list` shows yours")
        return found[0]

    def stop(self, job: str, owner: str) -> Any:
        return self._end("PUT", job, owner)

    def delete(self, job: str, owner: str) -> Any:
        return self._end("DELETE", job, owner)

    def environments(self) -> Any:
        return self._json("GET", "/environments")

    @contextmanager
    def result(
        self, job: str, owner: str, index: int, start: int = 0, known: str | None = None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """One published file as a stream: from byte `start` if the server can do that (206, else 200 and all of it).

        `known`: the sha256 of what we have; the answer is 304 if that is the file.
        """
        fields = {"owner": owner, "jobId": job, "index": str(index), **self._signature(owner, job)}
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

    # --- what operators may ask; on `sluice up` everybody is one --------------------------------

    def running(self) -> Any:
        return self._json("GET", "/runningjobs", fields={})

    def info(self, job: str) -> Any:
        """The status object with all attempts of all stages."""
        return self._json("GET", "/info", fields={"jobId": job})

    def history(self, job: str) -> Any:
        return self._json("GET", "/history", fields={"jobId": job})

    def dead_letters(self, limit: int) -> Any:
        return self._json("GET", "/dead-letters", fields={"limit": str(limit)})

    def log(self, job: str, stage: str) -> bytes:
        """What a stage has printed so far."""
        answer = self._send("GET", "/logs", fields={"jobId": job, "component": stage})
        if answer.status >= 400:
            raise self._refused("/logs", answer.status, answer.data)
        return answer.data

    # --- how ------------------------------------------------------------------------------------

    def _end(self, method: str, job: str, owner: str) -> Any:
        fields = {"owner": owner, "jobId": job, **self._signature(owner, job)}
        found = self._json(method, "/compute", fields=fields)
        if not found:
            raise Refused(404, f"{self.url} knows no job {job} of {owner}")
        return found[0]

    def _signature(self, owner: str | None, job: str | None = None) -> dict[str, str]:
        from functions.api.auth.signature import signed_message
        from functions.ethereum import sign

        nonce = str(time.time_ns())
        return {"nonce": nonce, "providerSignature": sign(self._key, signed_message(owner, job) + nonce)}

    def _json(self, method: str, path: str, **about: Any) -> Any:
        answer = self._send(method, path, **about)
        if answer.status >= 400:
            raise self._refused(path, answer.status, answer.data)
        try:
            return json.loads(answer.data)
        except ValueError:
            raise NoServer(self.url, "it speaks another language than Sluice") from None

    def _send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **about: Any
    ) -> urllib3.BaseHTTPResponse:
        if "fields" in about and method in ("PUT", "DELETE"):
            # In the query, as the Provider does; urllib3 would make a form of it.
            path += "?" + urlencode(about.pop("fields"))
        try:
            return self._http.request(
                method, self.url + API + path, headers={**self._headers, **(headers or {})}, redirect=False, **about
            )
        except urllib3.exceptions.HTTPError as e:
            raise NoServer(self.url, _why(e)) from None

    def _refused(self, path: str, status: int, body: bytes) -> Refused:
        at = self.url + API + path
        try:
            message = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            return Refused(status, f"{at} answered {status}")
        return Refused(status, f"{at}: {message}" if status == 404 else message)  # perhaps it is no address of Sluice's


def _why(error: Exception) -> str:
    match error:
        case urllib3.exceptions.NameResolutionError():
            return "its name is not known"
        case urllib3.exceptions.NewConnectionError():
            return "connection refused"
        case urllib3.exceptions.TimeoutError():
            return "it takes too long"
        case urllib3.exceptions.SSLError():
            return "no TLS there, or its certificate is not trusted"
        case _:
            return "the connection broke"
