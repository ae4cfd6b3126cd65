"""GET /logs: the log of a stage as it is, or followed while it grows.

An operator reads every log. A consumer reads the algorithm's log of an own job, where nothing stands between the
algorithm and the consumer.
"""

from __future__ import annotations

import codecs
import json
import select
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain as one_after_another
from threading import Lock

from werkzeug.wrappers import Response

from functions.api.auth.guard import bound_to, consume, require_signer
from functions.api.auth.session import Role, session_of
from functions.api.http import Call, HttpError
from functions.api.ocean.requests import filter_value, message, require
from functions.api.watchdog import STOPPING
from functions.ethereum import comparable
from functions.results.ports import Content, NotFound
from functions.status.admin import MAX_LOG, job_of, printed
from functions.status.jobs import is_covered, own
from functions.status.log_stream import LogStream, Position
from functions.workflow import codes
from functions.workflow.model import Hold, Record, ResultFile, Stage, Workflow, WorkflowId

# At most this much is returned of a log that is not followed, from its end; and at most MAX_LOG bytes.
MAX_LINES = 10_000
STREAM_SECONDS = 240.0  # of one stream; a client goes on with `since`. Below the time-outs of gateways
HEARTBEAT = 15.0  # seconds of silence until a sign of life is sent, and between two checks of the reader's rights
EVENTS = "text/event-stream"
_PLAIN = "text/plain; charset=utf-8"
_SIGNED = ("owner", "providerSignature", "nonce", "jobId")
_LOG_TYPES = {
    Stage.CONFIGURE: "configrationLog",  # sic: clients depend on Ocean's spelling
    Stage.ALGORITHM: "algorithmLog",
    Stage.FILTER: "filteringLog",
    Stage.CHECK: "checkLog",
    Stage.PUBLISH: "publishLog",
    Stage.RELEASE: "releaseLog",
}


@dataclass(frozen=True)
class _Wanted:
    """The log that a request asks for. `owned`: by the job's owner, who gets only what is published."""

    call: Call
    record: Record
    stage: Stage
    owned: bool

    @property
    def allowed(self) -> bool:
        """Whether the reader may still read it: a freeze stops the owner."""
        freezes = self.call.app.store.freezes() if self.owned else ()
        return not (freezes and is_covered(self.record, [freeze.scope for freeze in freezes]))


class _Streams:
    """Counts the open streams of this process: each holds a thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = 0

    def open(self, most: int) -> None:
        """Count one more. Raises HttpError 503."""
        with self._lock:
            if self._open >= most:
                raise HttpError(503, f"{most} logs are being followed here; try again soon", {"Retry-After": "5"})
            self._open += 1

    def close(self) -> None:
        with self._lock:
            self._open -= 1


_STREAMS = _Streams()


def logs(call: Call) -> Response:
    """GET /logs?jobId=&component=&follow=&since=: send a stage's log.

    It comes from the stage's Job while that exists, else from the published file.
    """
    wanted = _wanted(call)
    if _flag(call, "follow"):
        return _followed(wanted, _since(call))
    if "since" in call.params:
        raise HttpError(400, "`since` needs `follow=1`")
    live = _live(wanted)
    if live is not None:
        return Response(live, 200, content_type=_PLAIN)
    published = _published(wanted, wanted.record)
    if published is None:
        raise HttpError(404, _no_log(wanted.record.workflow, wanted.stage))
    response = Response(published.chunks, 200, content_type=_PLAIN)
    response.call_on_close(published.close)
    return response


# --- who asks for what ----------------------------------------------------------------------


def _wanted(call: Call) -> _Wanted:
    session = session_of(call)
    if session and session.role is Role.CONSUMER:
        return _owned(call, _own_record(call, session.name), _stage(call))
    if "providerSignature" not in call.params:
        return _Wanted(call, job_of(call), _stage(call), owned=False)
    require(call.params, _SIGNED, "GET:/logs")
    signer = require_signer(call, message(call.params))
    stage = _stage(call)
    job = filter_value(call.params, "jobId")
    record = call.app.store.get(WorkflowId(job)) if job else None
    consume(call, signer)
    return _owned(call, own(record, call, bound_to(call, signer)), stage)


def _own_record(call: Call, owner: str) -> Record:
    """The workflow of somebody who has signed in to the console with a token."""
    job = filter_value(call.params, "jobId")
    record = call.app.store.get(WorkflowId(job)) if job else None
    if record is None or comparable(record.submission.owner) != comparable(owner):
        raise HttpError(404, f"there is no job {job}")
    return record


def _owned(call: Call, record: Record, stage: Stage) -> _Wanted:
    """What an owner may read. Raises HttpError 403."""
    wanted = _Wanted(call, record, stage, owned=True)
    if stage is not Stage.ALGORITHM or not _is_open(wanted.record.workflow) or not wanted.allowed:
        raise HttpError(403, f"The log of {stage} of job {wanted.record.workflow.id} is for the operator only")
    return wanted


def _is_open(workflow: Workflow) -> bool:
    """Whether nothing stands between the algorithm and the consumer: no filter, no check and no hold."""
    limits = workflow.limits
    return not (limits.filtered or limits.checked or limits.hold is not Hold.NEVER)


def _stage(call: Call) -> Stage:
    component = call.params.get("component", Stage.ALGORITHM)
    if component not in list(Stage):
        raise HttpError(400, f"`component` must be one of {', '.join(Stage)}")
    return Stage(component)


def _flag(call: Call, name: str) -> bool:
    value = str(call.params.get(name, "0"))
    if value not in ("0", "1"):
        raise HttpError(400, f"`{name}` must be 0 or 1")
    return value == "1"


def _since(call: Call) -> Position:
    """The position from which to go on: `since`, or what a browser sends when it connects again."""
    text = call.params.get("since", call.request.headers.get("Last-Event-ID", "0"))
    try:
        return Position.parse(str(text))
    except ValueError as e:
        raise HttpError(400, f"`since`: {e}") from None


# --- a log as it is -------------------------------------------------------------------------


def _live(wanted: _Wanted) -> Iterator[bytes] | None:
    call, record = wanted.call, wanted.record
    attempts = [each for each in call.app.store.attempts(record.workflow.id) if each.stage is wanted.stage]
    if not attempts:
        return None
    chunks = printed(call, record, attempts[-1], MAX_LINES)
    first = next(chunks, None)
    return None if first is None else one_after_another([first], chunks)


def _published(wanted: _Wanted, record: Record, since: int | None = None) -> Content | None:
    """The published log from byte `since` on, or else its end; None if there is none for this reader."""
    files = (*(() if wanted.owned else record.manifest.admin_files), *record.manifest.files)
    found = next((file for file in files if file.type == _LOG_TYPES[wanted.stage]), None)
    if found is None and wanted.stage is Stage.ALGORITHM:
        found = _of_last_executor(files)
    if found is None or record.workflow.removed or record.workflow.expired:
        return None
    start = max(0, found.size - MAX_LOG) if since is None else min(since, found.size)
    try:
        return wanted.call.app.storage.open(found, start, found.size)
    except NotFound:
        return None


def _of_last_executor(files: Iterable[ResultFile]) -> ResultFile | None:
    """What the last executor of a task printed; None if it was no task."""
    printed_by = [file for file in files if file.type == "executorLog" and file.path.endswith(".stdout.log")]
    return max(printed_by, key=lambda file: (len(file.path), file.path), default=None)  # 10 comes after 9


def _no_log(workflow: Workflow, stage: Stage) -> str:
    """Say why a job has no log of a stage."""
    if workflow.stage is stage:
        return f"No log of {stage} for job {workflow.id} yet: the stage is still running and has printed nothing"
    if not workflow.finished:
        state = f"the job is still running ({codes.text(workflow.status).strip()})"
        return f"No log of {stage} for job {workflow.id} yet: {state}"
    return f"No log of {stage} for job {workflow.id}"


# --- a log that is followed -----------------------------------------------------------------


def _followed(wanted: _Wanted, since: Position) -> Response:
    call = wanted.call
    stream = LogStream(call.app, wanted.record.workflow.id, wanted.stage, since)
    accepts = call.request.accept_mimetypes
    as_events = EVENTS in accepts.values() if call.request.headers.get("Accept") else False
    pieces = _pieces(wanted, stream, _is_gone(call))
    _STREAMS.open(max(1, call.app.settings.pool_size // 2))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    body = _events(wanted, stream, pieces) if as_events else pieces
    response = Response(body, 200, headers, content_type=EVENTS if as_events else _PLAIN)
    response.call_on_close(_STREAMS.close)
    return response


def _pieces(wanted: _Wanted, stream: LogStream, is_gone: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the log, and b"" at the start and after each HEARTBEAT of silence. Ends after STREAM_SECONDS."""
    began = beat = checked = time.monotonic()
    yield b""  # sends the headers
    for piece in stream:
        now = time.monotonic()
        if now - checked >= HEARTBEAT:
            checked = now
            if not wanted.allowed:
                return
        if piece or now - beat >= HEARTBEAT:
            beat = now
            yield piece
        if now - began >= STREAM_SECONDS or is_gone():
            return
    yield from _rest(wanted, stream)


def _rest(wanted: _Wanted, stream: LogStream) -> Iterator[bytes]:
    """Yield what was published of a log whose Job was gone too early."""
    record = wanted.call.app.store.get(wanted.record.workflow.id) if stream.missed and wanted.allowed else None
    published = _published(wanted, record, stream.position.offset) if record else None
    if published is None:
        return
    try:
        for chunk in published.chunks:
            stream.position = Position(stream.position.job, stream.position.offset + len(chunk))
            yield chunk
    finally:
        published.close()


def _events(wanted: _Wanted, stream: LogStream, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces as server-sent events.

    `data` is a JSON string, `id` the position behind it. Bytes that are not UTF-8 become lone surrogates, as Python's
    `surrogateescape` makes them. `end` says that nothing more comes; without it, a client connects again.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for piece in pieces:
        text = decoder.decode(piece)
        yield _event(stream.position, decoder, text) if text else b": \n\n"
    if stream.over:
        text = decoder.decode(b"", final=True)
        yield _event(stream.position, decoder, text) if text else b""
        yield f"event: end\ndata: {json.dumps({'stage': wanted.stage})}\n\n".encode()


def _event(position: Position, decoder: codecs.IncrementalDecoder, text: str) -> bytes:
    pending = len(decoder.getstate()[0])  # the begun character comes with the next piece
    at = Position(position.job, max(0, position.offset - pending))
    return f"id: {at}\ndata: {json.dumps(text)}\n\n".encode()


def _is_gone(call: Call) -> Callable[[], bool]:
    """Return a test of whether the client has closed its connection, or the process is told to end.

    While nothing is sent, no write tells the former.
    """
    environ = call.request.environ
    sock = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if sock is None:
        return STOPPING.is_set
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    return lambda: STOPPING.is_set() or bool(poller.poll(0))
