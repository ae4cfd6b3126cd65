"""The review routes that read: what waits for a decision, and the held files themselves.

Checkers see the jobs whose policy names them. Operators see all of them, but no file. Each view of a file is a line
of the history.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from functions.api.auth.reviewer import Reviewer, require_reviewer
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer
from functions.api.review.answers import held_record, may_see, report_of, summary, to_decide
from functions.results.layout import plain_path
from functions.results.ports import NotFound
from functions.store.values import HeldResults, Outgoing
from functions.trust.chain import spell_time
from functions.workflow.decision import Verdict
from functions.workflow.model import Phase, Record
from functions.workflow.observation import FileViewed

PAGE = 1000
# A held file may be hostile: a browser must neither run nor embed it.
_HEADERS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


def held(call: Call) -> Response:
    """GET /held: list what waits for a decision, the earliest end first, and events that could not be delivered."""
    reviewer = require_reviewer(call)
    records = [record for record in call.app.store.holds(PAGE) if may_see(reviewer.address, record)]
    undelivered = [
        _plain_event(event) for event in call.app.store.undelivered(PAGE) if _may_know(call, reviewer, event)
    ]
    return answer({"held": [_summary(call, record) for record in records], "undelivered": undelivered})


def held_job(call: Call) -> Response:
    """GET /held/{job}: show what ran, the files, what the checks found, the decisions so far, and what to sign."""
    reviewer = require_reviewer(call)
    record, waiting = _visible(call, reviewer, call.captured["job"])
    shown = {**_summary(call, record), **_details(call, record, waiting), "ran": _ran(call, record)}
    return answer({**shown, "report": _plain(report_of(waiting))})


def held_file(call: Call) -> Response:
    """GET /heldFile?jobId=&index=: send one held file, decrypted, to a checker."""
    reviewer = require_reviewer(call)
    record, waiting = _visible(call, reviewer, str(call.request.args.get("jobId", "")))
    if not reviewer.address:
        raise HttpError(403, "only a checker may read held files")
    index = str(call.request.args.get("index", ""))
    if not index.isascii() or not index.isdigit() or int(index) >= len(waiting.manifest.files):
        raise HttpError(404, f"job {record.workflow.id} holds no file with the index {index}")
    file = waiting.manifest.files[int(index)]
    if not waiting.key.identity:
        raise HttpError(410, "the key of the held files is deleted")
    seen = call.app.transitions.apply(record.workflow.id, FileViewed(int(index)), cause=reviewer.address)
    if seen is not Verdict.APPLIED:  # it has ended meanwhile
        raise HttpError(404, f"no results of a job {record.workflow.id} are held")
    return _decrypted(call, waiting, int(index), plain_path(file.path))


def freezes(call: Call) -> Response:
    """GET /freeze: list what is frozen."""
    require_reviewer(call)
    listed = call.app.store.freezes()
    return answer([{"scope": f.scope, "at": spell_time(f.at), "by": f.by, "reason": f.reason} for f in listed])


def _decrypted(call: Call, waiting: HeldResults, index: int, path: str) -> Response:
    from functions.results.age import decrypt
    from functions.status.results import disposition

    try:
        content = call.app.quarantine.open(waiting.manifest.files[index])
    except NotFound:
        raise HttpError(404, "the held file is no longer in the quarantine") from None
    headers = {**_HEADERS, "Content-Type": "application/octet-stream", "Content-Disposition": disposition(path)}
    response = Response(decrypt(content.chunks, waiting.key.identity), 200, headers)
    response.call_on_close(content.close)
    return response


def _visible(call: Call, reviewer: Reviewer, job: str) -> tuple[Record, HeldResults]:
    record, waiting = held_record(call, job)
    if not may_see(reviewer.address, record):
        raise HttpError(404, f"no results of a job {job} are held")
    return record, waiting


def _may_know(call: Call, reviewer: Reviewer, event: Outgoing) -> bool:
    """An operator knows of every event, a checker of those about the jobs whose policy names the key."""
    if not reviewer.address:
        return True
    record = call.app.store.get(event.workflow) if event.workflow else None
    return record is not None and may_see(reviewer.address, record)


def _plain_event(event: Outgoing) -> dict[str, Any]:
    about = event.scope or event.workflow
    return {"event": event.kind, "about": about, "since": spell_time(event.due_at), "tries": event.tries}


def _summary(call: Call, record: Record) -> dict[str, Any]:
    waiting = call.app.store.held(record.workflow.id)
    report = report_of(waiting) if waiting else None
    return summary(call.app.store, record, report)


def _details(call: Call, record: Record, waiting: HeldResults) -> dict[str, Any]:
    compared = to_decide(record, waiting)
    files = [
        {
            "index": index,
            "path": plain_path(file.path),
            "size": file.plain_size,
            "sha256": file.plain_sha256,
            "blocked": plain_path(file.path) in compared.blocked,
        }
        for index, file in enumerate(waiting.manifest.files)
    ]
    stored = call.app.store.decisions(record.workflow.id)
    decided = [{"by": each.by, "at": spell_time(each.at), "text": each.text} for each in stored]
    return {"head": waiting.head, "files": files, "decisions": decided}


def _ran(call: Call, record: Record) -> dict[str, Any]:
    """The algorithm, the images and the inputs by digest, as far as the history states them. A laptop has no images."""
    from functions.status.proofs import run_of

    run = run_of(call.app, record)
    ended = (entry for entry, _ in run.covered if entry.before is Phase.ALGORITHM)  # an attempt, or an executor
    images = [entry.facts["image"] for entry in ended if "image" in entry.facts]
    inputs = [{"path": each.path, "size": each.size, "sha256": each.sha256} for each in run.inputs]
    return {"algorithm": run.algorithm, "images": list(dict.fromkeys(images)), "inputs": inputs}


def _plain(report: object) -> Any:
    import msgspec

    return msgspec.to_builtins(report)
