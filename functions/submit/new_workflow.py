"""Makes the record of a new workflow: checks the document, grants the limits, assigns the id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from functions.workflow.destinations import belongs_to_another
from functions.workflow.document import Definition, DocumentError, parse
from functions.workflow.environment import Environment, grant
from functions.workflow.model import Hold, Record, Submission, Workflow, WorkflowId
from functions.workflow.task_writer import size_and_limit

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.trust.policy import Policies, Policy

_NEEDED = ("algorithm", "compute", "input", "output")  # in operator-service's order


class Invalid(ValueError):
    """The document is refused; the message says where and why."""


def prepare(app: App, submission: Submission, environment: Environment, *, id: str | None = None) -> Record:
    """Return the record of a new workflow, with a new id unless `id` is given. Raises Invalid."""
    definition = _definition(submission.document, environment)
    _check_sources(definition, environment, submission.owner)
    workflow = Workflow(
        id=WorkflowId(id or app.new_id()),
        environment=environment.id,
        limits=grant(environment, definition),
        created_at=app.clock(),
        reported=submission.origin is not None,
    )
    record = Record(workflow, submission)
    if app.policies is not None:
        record = _under_policy(record, definition, environment, app.policies, app.settings.runs_images)
    check_quarantine(app, record)
    _check_size(record, definition, environment)
    return record


def _check_sources(definition: Definition, environment: Environment, owner: str) -> None:
    """Refuse URLs where outputs of GA4GH TES tasks go that belong to others. Raises Invalid."""
    if not environment.tes.outputs:
        return
    stage = definition.stage
    places = [
        *((f".input[{n}]", item.urls) for n, item in enumerate(stage.input)),
        (".algorithm", stage.algorithm.urls),
    ]
    for place, urls in places:
        if any(belongs_to_another(url, environment.tes.outputs, owner) for url in urls):
            raise Invalid(f"$.stages[0]{place}.url: expected a URL outside the places of other owners' outputs")


def check_quarantine(app: App, record: Record) -> None:
    """Raises SettingsError if results may be held and have no place to wait, before anything is recorded."""
    if record.workflow.limits.hold is not Hold.NEVER:
        from functions.results.storage import quarantine_url

        quarantine_url(app.settings)


def _under_policy(
    record: Record, definition: Definition, environment: Environment, policies: Policies, runs_images: bool
) -> Record:
    """Return the record with what the data holders ask for. Raises Invalid if they refuse the algorithm."""
    from functions.trust import admission, allow_list

    merged = policies.for_workflow(admission.data_sets(definition), environment.policy)
    candidate = admission.candidate(definition)
    refused = allow_list.refusal(merged, candidate, record.workflow.created_at.date())
    if refused:
        raise Invalid(f"$.stages[0].algorithm{admission.PLACES[refused.part]}: {refused.text}")
    images = (allow_list.pinned_image(merged, candidate),) if runs_images else ()
    return with_policy(record, merged, images)


def with_policy(record: Record, merged: Policy, images: tuple[str, ...]) -> Record:
    """Return the record with the policy, and the limits that follow from it. `images`: see Limits."""
    from functions.trust import policy

    limits = replace(
        record.workflow.limits,
        checked=merged.checks is not None,
        hold=merged.hold,
        hold_seconds=merged.hold_seconds or 0,
        images=images,
    )
    return Record(replace(record.workflow, limits=limits), replace(record.submission, policy=policy.encode(merged)))


def _check_size(record: Record, definition: Definition, environment: Environment) -> None:
    """Refuse a document that no Secret can hold. Raises Invalid."""
    size, most = size_and_limit(record, definition, environment)
    if size > most:
        raise Invalid(
            f"$: expected a document of at most {most} bytes for the stages, not {size}; "
            "put a large algorithm behind `url` instead of `rawcode`, and data into `input`"
        )


def _definition(document: Any, environment: Environment) -> Definition:
    """Run operator-service's checks, with its messages, then ours."""
    stages = document.get("stages")
    if not stages:
        raise Invalid("Missing stages")
    if not isinstance(stages, list) or len(stages) > 1:
        raise Invalid("Multiple stages are not supported yet")
    for name in _NEEDED:
        if not isinstance(stages[0], dict) or name not in stages[0]:
            raise Invalid(f"Missing {name} in stage 0")
    try:
        return parse(document, schemes=frozenset(environment.fetch.schemes))
    except DocumentError as e:
        raise Invalid(str(e)) from None
