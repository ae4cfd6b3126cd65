"""The routes of the review room that change something: decide, release again, revoke, freeze.

A decision is signed by a checker's own key. The shared `Admin` value may reject, freeze and revoke, never release.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Response

from functions.api.auth.checker import ADMIN
from functions.api.auth.guard import require_admin
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer
from functions.api.review.answers import held_record, parsed, to_decide
from functions.store.values import Freeze, StoredDecision
from functions.trust import decisions, policy
from functions.trust.decisions import DecisionRefused, State
from functions.trust.freeze import ScopeInvalid, check_scope
from functions.workflow.decision import Verdict
from functions.workflow.model import Phase, WorkflowId
from functions.workflow.observation import HoldObservation, HoldRejected, HoldReleased, Revoked

LONGEST_REASON = 1000


def decide(call: Call) -> Response:
    """POST /decisions `{"decision": {…}, "signature": "0x…"}`: count a checker's decision about held results."""
    body = _body(call)
    if "decision" not in body:
        return _reject_as_operator(call, body)
    try:
        decision = decisions.parse(body["decision"])
    except DecisionRefused as e:
        raise HttpError(400, str(e)) from None
    record, held = held_record(call, decision.job)
    with call.app.store.begin() as tx:
        current = tx.lock(WorkflowId(decision.job))
        if current is None or current.phase is not Phase.HELD:
            raise HttpError(409, f"no decision about job {decision.job} is wanted any more")
        stored = list(tx.decisions(current.id))
        try:
            decisions.check(decision, str(body.get("signature", "")), to_decide(record, held), parsed(stored))
        except DecisionRefused as e:
            raise HttpError(403, str(e)) from None
        new = StoredDecision(decision.by, call.app.clock(), decision.text, str(body["signature"]))
        tx.add_decision(current.id, new)
    approvals = policy.decode(record.submission.policy).approvals
    result = decisions.result(approvals, parsed([*stored, new]))
    follows: HoldObservation | None = None
    if result.state is State.REJECTED:
        follows = HoldRejected(decision.digest)
    elif result.state is State.RELEASED:
        follows = HoldReleased(decision.digest)
    if follows is not None:
        call.app.transitions.apply(record.workflow.id, follows, cause=decision.by)
    given = {"given": result.given, "needed": result.needed}
    return answer({"jobId": decision.job, "state": result.state.value, "approvals": given})


def _reject_as_operator(call: Call, body: dict[str, Any]) -> Response:
    """An operator may reject, with `{"jobId", "verdict": "reject"}` and the `Admin` header."""
    require_admin(call)
    job = str(body.get("jobId", ""))
    if body.get("verdict") != "reject":
        raise HttpError(403, "an operator may only reject; a release needs the signatures of checkers")
    held_record(call, job)
    return _applied(call, job, HoldRejected())


def release(call: Call) -> Response:
    """POST /release `{"jobId"}`: try a decided release again after it has failed. Nothing new is decided."""
    require_admin(call)
    job = str(_body(call).get("jobId", ""))
    record, _ = held_record(call, job)
    approvals = policy.decode(record.submission.policy).approvals
    result = decisions.result(approvals, parsed(call.app.store.decisions(record.workflow.id)))
    if result.state is not State.RELEASED:
        raise HttpError(409, f"job {job} waits for decisions: {result.given} of {result.needed} are there")
    return _applied(call, job, HoldReleased())


def revoke(call: Call) -> Response:
    """POST /revoke `{"jobId"}`: take back what was published or released."""
    require_admin(call)
    job = str(_body(call).get("jobId", ""))
    if call.app.store.state(WorkflowId(job)) is None:
        raise HttpError(404, f"no job {job}")
    return _applied(call, job, Revoked())


def freeze(call: Call) -> Response:
    """POST /freeze `{"scope", "reason"}`: publish, release and download nothing of a scope until it is lifted."""
    require_admin(call)
    body = _body(call)
    reason = str(body.get("reason", ""))[:LONGEST_REASON]
    new = Freeze(_scope(body), call.app.clock(), ADMIN, reason)
    call.app.store.freeze(new)
    return answer({"scope": new.scope, "frozen": True})


def unfreeze(call: Call) -> Response:
    """DELETE /freeze `{"scope"}`: lift a freeze."""
    require_admin(call)
    scope = _scope(_body(call))
    if not call.app.store.unfreeze(scope):
        raise HttpError(404, f"{scope} is not frozen")
    return answer({"scope": scope, "frozen": False})


def _applied(call: Call, job: str, seen: HoldObservation) -> Response:
    verdict = call.app.transitions.apply(WorkflowId(job), seen, cause=ADMIN)
    if verdict not in (Verdict.APPLIED, Verdict.DUPLICATE):
        raise HttpError(409, f"job {job} is not in a state for this")
    return answer({"jobId": job, "verdict": verdict.value})


def _scope(body: dict[str, Any]) -> str:
    try:
        return check_scope(str(body.get("scope", "")))
    except ScopeInvalid as e:
        raise HttpError(400, f"`scope`: {e}") from None


def _body(call: Call) -> dict[str, Any]:
    value = call.params
    if not isinstance(value, dict):
        raise HttpError(400, "expected a JSON object")
    return value
