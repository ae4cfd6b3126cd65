"""A client of the operator API: sends signed requests as Ocean's Provider does, and the operator's own requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3

from functions.cli.http_client import ApiError, HttpClient, ServerUnavailable, why
from functions.cli.options import THIS_MACHINE

API = "/api/v1/operator"
_LONGEST_EVENT = 1 << 20  # bytes of one line of a log's stream


class _ConsolePages(HttpClient):
    """The routes that the console's pages read."""

    prefix = "/console/api"


class Client(HttpClient):
    """Talks to one server with one key. Its methods return parsed JSON, and raise ApiError and ServerUnavailable."""

    prefix = API

    def __init__(self, url: str, key: str, admin: str | None = None) -> None:
        super().__init__(url, {"Admin": admin} if admin else {})
        self.operator = True  # until the server refuses an operator's request
        self._key = key

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

    def console_page(self, path: str, **fields: str) -> Any:
        """What a page of the console reads, as an operator sees it."""
        return _ConsolePages(self.url, self._headers)._json("GET", path, fields=fields)

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
            raise ServerUnavailable(self.url, why(e)) from None
        finally:
            answer.close()
            answer.release_conn()

    # --- proofs ---------------------------------------------------------------------------------

    def crate(self, job_id: str, edition: str | None = None) -> Iterator[bytes]:
        """The crate of a job, in pieces. `edition` defaults to the one that the caller may have."""
        return self._proof("/crate", job_id, edition)

    def attestation(self, job_id: str) -> Iterator[bytes]:
        """The signed statements about a job."""
        return self._proof("/attestation", job_id, None)

    def log_proof(self, head: str, since: int = 0) -> Any:
        """The place of a head in the log, the newest checkpoint, and how it follows from one of `since` leaves."""
        return self._json("GET", "/log/proof", fields={"head": head, **({"from": since} if since else {})})

    def _proof(self, path: str, job_id: str, edition: str | None) -> Iterator[bytes]:
        """Ask as an operator, then as the job's owner, then as a checker, until one of them is let in."""
        fields = {"jobId": job_id, **({"edition": edition} if edition else {})}
        answer = self._send("GET", path, fields=fields, preload_content=False)
        if answer.status in (400, 401) and not self._headers:
            owner = self.job(job_id)["owner"]
            signed = {"jobId": job_id, "owner": owner, **self._signature(owner, job_id)}
            answer = self._send("GET", path, fields=signed, preload_content=False)
        if answer.status in (401, 404) and not self._headers:
            asked = f"{path}?{urlencode(fields)}"
            answer = self._send("GET", asked, headers=self._as_checker(asked), preload_content=False)
        try:
            if answer.status >= 400:
                raise self._refused(path, answer.status, answer.read())
            yield from answer.stream(1 << 20)
        except urllib3.exceptions.HTTPError as e:
            raise ServerUnavailable(self.url, why(e)) from None
        finally:
            answer.close()
            answer.release_conn()

    # --- reviews --------------------------------------------------------------------------------

    def held(self) -> Any:
        """The jobs that wait for a decision: for a checker those whose policy names the key, for an operator all."""
        return self._json("GET", "/held", headers=self._as_checker("/held"))

    def held_job(self, job_id: str) -> Any:
        """The files of a held job, what the checks found, and what to sign."""
        path = f"/held/{quote(job_id, safe='')}"
        try:
            return self._json("GET", path, headers=self._as_checker(path))
        except ApiError as e:
            if e.status != 404:
                raise
            raise ApiError(404, f"{self.url} holds no results of job {job_id}{self.seen_by}") from None

    @property
    def seen_by(self) -> str:
        """The end of an error about held results: the key that was used. Empty for an operator, who sees all."""
        if self._headers:
            return ""
        laptop = " (a file with any text, on this laptop)" if urlsplit(self.url).hostname in THIS_MACHINE else ""
        keys = f"a checker's key with --key-file, or the operator's secret with --admin-file{laptop}"
        return f" that {self.address} may see; name {keys}"

    def held_file(self, job_id: str, index: int) -> bytes:
        """One held file, decrypted. The server records the view in the job's history."""
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
        from functions.api.auth.signature import CHECKER_SCHEME, checker_message
        from functions.ethereum import sign_text

        nonce = str(time.time_ns())
        signature = sign_text(self._key, checker_message("GET", API + path, nonce))
        return {"Authorization": f"{CHECKER_SCHEME}{nonce}:{signature}"}

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
