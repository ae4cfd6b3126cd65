"""A receiver of OTLP over HTTP on loopback, which decodes what it gets with OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.serving import serving

SECONDS = 20  # until a test gives up on what was not exported


@dataclass(frozen=True)
class ReceivedSpan:
    name: str
    trace_id: str
    span_id: str
    parent: str
    began: datetime
    ended: datetime
    attributes: dict[str, Any]
    error: str
    links: list[tuple[str, str]]


@dataclass
class Receiver:
    """What has arrived. `status`: what is answered."""

    url: str = ""
    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    metrics: dict[str, list[tuple[dict[str, Any], Any]]] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str) -> ReceivedSpan:
        """The first span of that name; waits until it arrives."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.named(name), SECONDS), f"no span {name}: {self.spans}"
            return self.named(name)[0]

    def wait_for_metric(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The last points of that metric: labels, and a number or the count of a histogram."""
        with self.changed:
            assert self.changed.wait_for(lambda: name in self.metrics, SECONDS), f"no {name}: {list(self.metrics)}"
            return self.metrics[name]

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self.changed:
            self.requests.append((path, headers, body))
            if self.status == 200 and path == "/v1/traces":
                self._take_spans(ExportTraceServiceRequest.FromString(body))
            elif self.status == 200:
                assert path == "/v1/metrics"
                self._take_metrics(ExportMetricsServiceRequest.FromString(body))
            self.changed.notify_all()

    def _take_spans(self, request: Any) -> None:
        for group in request.resource_spans:
            self.resource = _attributes(group.resource.attributes)
            for span in (span for scope in group.scope_spans for span in scope.spans):
                self.spans.append(
                    ReceivedSpan(
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        _time(span.start_time_unix_nano),
                        _time(span.end_time_unix_nano),
                        _attributes(span.attributes),
                        span.status.message if span.status.code == 2 else "",
                        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    )
                )

    def _take_metrics(self, request: Any) -> None:
        for group in request.resource_metrics:
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                data = getattr(metric, metric.WhichOneof("data"))
                self.metrics[metric.name] = [(_attributes(p.attributes), _value(p)) for p in data.data_points]


def _value(point: Any) -> Any:
    if hasattr(point, "explicit_bounds"):
        return point.count
    return point.as_double if point.WhichOneof("value") == "as_double" else point.as_int


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 10**9, UTC)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.take(self.path, dict(self.headers), body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        yield receiver
