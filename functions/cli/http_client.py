"""Sends requests to a server and explains its errors."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import urllib3

from functions.cli.command_errors import UNAVAILABLE, USAGE_ERROR, CommandError, printable

_LONGEST_MESSAGE = 2000  # characters of an error of the server that are shown
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


class HttpClient:
    """Talks to one server below one `prefix`. Raises ApiError and ServerUnavailable."""

    prefix = ""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url.rstrip("/")
        self._headers = headers
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def carry(self, token: str) -> None:
        """Send the token of a principal with every request."""
        self._headers["Authorization"] = f"Bearer {token}"

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
                method,
                self.url + self.prefix + path,
                headers={**self._headers, **(headers or {})},
                redirect=False,
                **about,
            )
        except urllib3.exceptions.HTTPError as e:
            raise ServerUnavailable(self.url, why(e)) from None

    def _refused(self, path: str, status: int, body: bytes) -> ApiError:
        at = self.url + self.prefix + path
        try:
            message = printable(json.loads(body)["error"])[:_LONGEST_MESSAGE]
        except (ValueError, KeyError, TypeError):
            return ApiError(status, f"{at} answered {status}")
        return ApiError(status, f"{at}: {message}" if status == 404 else message)  # a 404 may mean a wrong --url


def why(error: Exception) -> str:
    """Say why a server has not answered."""
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
