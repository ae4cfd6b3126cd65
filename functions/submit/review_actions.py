"""The review routes that change something: decide, release again, revoke, freeze.

A decision is signed by a checker's own key. The shared `Admin` value may reject, freeze and revoke, never release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from functions.api.auth.guard import require_admin
from functions.api.auth.reviewer import ADMIN
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer
from functions.api.review.answers import held_record, result_of, to_decide
from functions.engine import holding
from functions.store.values import Freeze, StoredDecision
from functions.trust import decisions
from functions.trust.decisions import Decision, DecisionRefused, State
from functions.trust.freeze import ScopeInvalid, check_scope
from functions.workflow.decision import Verdict
from functions.workflow.model import Phase, Workflow, WorkflowId
from functions.workflow.observation import HoldObservation, HoldRejected, HoldReleased, Revoked

if TYPE_CHECKING:
    from functions.store.transaction_port import Transaction

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
    signature = str(body.get("signature", ""))
    outcome: list[decisions.Result] = []

    def count(tx: Transaction, current: Workflow) -> HoldObservation | None:
        if current.phase is not Phase.HELD:
            raise HttpError(409, f"job {current.id} no longer waits for a decision: its phase is {current.phase}")
        stored = list(tx.decisions(current.id))
        earlier = decisions.read_all(each.text for each in stored)
        try:
            decisions.check(decision, signature, to_decide(record, held), earlier)
        except DecisionRefused as e:
            raise HttpError(403, str(e)) from None
        new = StoredDecision(decision.by, call.app.clock(), decision.text, signature)
        tx.add_decision(current.id, new)
        outcome.append(result_of(record, [*stored, new]))
        return _follows(outcome[0].state, decision)

    call.app.transitions.apply_found(record.workflow.id, count, cause=decision.by)
    (result,) = outcome
    given = {"given": result.given, "needed": result.needed}
    return answer({"jobId": decision.job, "state": result.state.value, "approvals": given})


def _follows(state: State, decision: Decision) -> HoldObservation | None:
    """Return the observation that follows from the decisions so far; None while more are needed."""
    match state:
        case State.REJECTED:
            return HoldRejected(decision.digest)
        case State.RELEASED:
            return HoldReleased(decision.digest)
        case State.PENDING:
            return None


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
    result = result_of(record, call.app.store.decisions(record.workflow.id))
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
    holding.freeze(call.app, new)
    return answer({"scope": new.scope, "frozen": True})


def unfreeze(call: Call) -> Response:
    """DELETE /freeze `{"scope"}`: lift a freeze."""
    require_admin(call)
    scope = _scope(_body(call))
    if not holding.unfreeze(call.app, scope):
        raise HttpError(404, f"{scope} is not frozen")
    return answer({"scope": scope, "frozen": False})


def _applied(call: Call, job: str, observation: HoldObservation) -> Response:
    verdict = call.app.transitions.apply(WorkflowId(job), observation, cause=ADMIN)
    if verdict not in (Verdict.APPLIED, Verdict.DUPLICATE):
        found = call.app.store.get(WorkflowId(job))
        phase = f": its phase is {found.workflow.phase}" if found else ""
        raise HttpError(409, f"job {job} is not in a state for this{phase}")
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
