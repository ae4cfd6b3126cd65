"""Exports spans and measurements by OTLP over HTTP, with OpenTelemetry's SDK. Only telemetry's thread imports this.

The SDK reads its other variables itself: OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME, …
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from functions import __version__
from functions.instruments import QUEUE_TIME, STAGES, WORKFLOW_TIME, Instrument, Kind, Measurement
from functions.telemetry import Export, Span

# It logs the endpoint's URL. That nothing was exported, telemetry logs itself.
logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

_SCOPE = "sluice"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds. The short ones are those of the semantic conventions for HTTP servers.
_SHORT = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_LONG = (1, 5, 10, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)
_LASTING = (STAGES, QUEUE_TIME, WORKFLOW_TIME)
_SECONDS = 10  # for one export
_KINDS = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER}


def connect(endpoint: str, attributes: Mapping[str, str]) -> Export:
    """Return the function that exports to an OTLP endpoint. `attributes`: of the resource, this process."""
    return _Exporter(endpoint.rstrip("/"), attributes).export


class NotTaken(Exception):
    """The receiver does not answer, or refuses."""


class _Exporter:
    def __init__(self, endpoint: str, attributes: Mapping[str, str]) -> None:
        own = {"service.name": "sluice", "service.version": __version__, "service.instance.id": str(uuid4())}
        # Not Resource.create: its detectors run in a pool of threads, which refuses to start when the process ends.
        self._resource = Resource({**own, **attributes}).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope(_SCOPE, __version__)
        self._spans = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=_SECONDS)
        metrics = OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=_SECONDS)
        # Without an interval the reader has no thread: it exports when it is flushed.
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=math.inf)
        self._provider = MeterProvider([reader], self._resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter(_SCOPE)
        self._instruments: dict[str, Any] = {}

    def export(self, spans: Sequence[Span], measurements: Sequence[Measurement]) -> None:
        taken = self._spans.export([self._readable(span) for span in spans]) if spans else SpanExportResult.SUCCESS
        for each in measurements:
            self._record(each)
        if measurements:
            self._provider.force_flush(_SECONDS * 1000)
        if taken is not SpanExportResult.SUCCESS:
            raise NotTaken("the OTLP endpoint does not take spans")

    def _record(self, measured: Measurement) -> None:
        instrument, value, labels = measured
        if instrument.name not in self._instruments:
            self._instruments[instrument.name] = self._made(instrument)
        made = self._instruments[instrument.name]
        match instrument.kind:
            case Kind.COUNTER:
                made.add(value, dict(labels))
            case Kind.HISTOGRAM:
                made.record(value, dict(labels))
            case Kind.GAUGE:
                made.set(value, dict(labels))

    def _made(self, instrument: Instrument) -> Any:
        about = (instrument.name, instrument.unit, instrument.meaning)
        match instrument.kind:
            case Kind.COUNTER:
                return self._meter.create_counter(*about)
            case Kind.HISTOGRAM:
                bounds = _LONG if instrument in _LASTING else _SHORT
                return self._meter.create_histogram(*about, explicit_bucket_boundaries_advisory=bounds)
            case Kind.GAUGE:
                return self._meter.create_gauge(*about)

    def _readable(self, span: Span) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            _context(span.trace_id, span.span_id),
            _context(span.trace_id, span.parent) if span.parent else None,
            self._resource,
            dict(span.attributes),
            links=[Link(_context(*link)) for link in span.links],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=_nanoseconds(span.began),
            end_time=_nanoseconds(max(span.began, span.ended)),
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
