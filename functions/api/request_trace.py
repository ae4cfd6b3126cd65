"""The span and the measurements of one request. Imported only where telemetry is on, or a client sends a trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request

from functions import log
from functions.instruments import REQUESTS
from functions.telemetry import Attributes, Span
from functions.workflow.trace_context import TraceContext, parse

if TYPE_CHECKING:
    from functions.telemetry import Telemetry

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}


class Outcome:
    """The status of the answer, once it is known."""

    status = 500


@contextmanager
def observed(telemetry: Telemetry | None, request: Request, route: str) -> Iterator[Outcome]:
    """Trace and measure the block that handles a request. The span joins the client's trace, or begins a new one.

    It has no path, query or header, because these may carry tokens. `route` is the template of the path.
    """
    parent = parse(request.headers.get("traceparent") or request.headers.get("ce-traceparent", ""))
    if telemetry is None:
        with _traced(parent):
            yield Outcome()
        return
    context = TraceContext(parent.trace_id if parent else _new_id(16), _new_id(8), parent.sampled if parent else True)
    outcome, began = Outcome(), datetime.now(UTC)
    try:
        with _traced(context):
            yield outcome
    finally:
        _tell(telemetry, request, route, context, parent, outcome.status, began)


def _tell(
    telemetry: Telemetry,
    request: Request,
    route: str,
    context: TraceContext,
    parent: TraceContext | None,
    status: int,
    began: datetime,
) -> None:
    ended = datetime.now(UTC)
    method = request.method if request.method in _METHODS else "_OTHER"
    labels = {"http.request.method": method, "http.route": route, "url.scheme": request.scheme}
    failed = {"error.type": str(status)} if status >= 500 else {}
    telemetry.measure(
        REQUESTS, (ended - began).total_seconds(), **labels, **failed, **{"http.response.status_code": str(status)}
    )
    if context.sampled:
        attributes: Attributes = {**labels, **failed, "http.response.status_code": status}
        within = parent.span_id if parent else ""
        error = str(status) if failed else ""
        telemetry.add(Span(f"{method} {route}", *context[:2], within, began, ended, attributes, "server", error))


@contextmanager
def _traced(context: TraceContext | None) -> Iterator[None]:
    """Add the trace to the block's log lines, and to the workflows that it submits."""
    token = log.TRACEPARENT.set(str(context) if context else "")
    try:
        yield
    finally:
        log.TRACEPARENT.reset(token)


def _new_id(size: int) -> str:
    return os.urandom(size).hex()
