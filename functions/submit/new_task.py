"""Makes the record of a new GA4GH TES task: grants the limits, checks where its data come from and go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from functions.results.storage import storage_url
from functions.submit.new_workflow import check_quarantine, with_policy
from functions.variables import SettingsError
from functions.workflow.destinations import DestinationRefused, belongs_to_another, check, is_below, target
from functions.workflow.document import DocumentError
from functions.workflow.environment import Environment, grant_task
from functions.workflow.model import Record, Submission, Workflow, WorkflowId
from functions.workflow.task_writer import size_and_limit
from functions.workflow.tes_task import FOLDER_SCHEMES, Input, Output, TesTask, url_of

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.trust.policy import Policies
    from functions.workflow.tes_checks import AcceptedTask

PROVIDER = "tes"  # no signer of Ocean's requests has this name


def prepare(
    app: App, accepted: AcceptedTask, owner: str, environment: Environment, *, idempotency_key: str | None = None
) -> Record:
    """Return the record of a new task. Raises DocumentError, with the JSON path and what was expected there."""
    task, id_ = accepted.task, WorkflowId(app.new_id())
    for path, expected in _problems(task, environment, owner, (_results_url(app), app.settings.quarantine_url)):
        raise DocumentError(path, expected)
    workflow = Workflow(id_, environment.id, grant_task(environment, task), app.clock())
    submission = Submission(
        agreement_id=id_,
        owner=owner,
        provider=PROVIDER,
        document=accepted.kept,
        secret="",
        idempotency_key=idempotency_key,
        dialect="tes",
    )
    record = Record(workflow, submission)
    if app.policies is not None:
        record = _under_policy(record, task, environment, app.policies, app.settings.runs_images)
    check_quarantine(app, record)
    _check_size(record, task, environment)
    return record


def _results_url(app: App) -> str:
    """Return where results are kept; empty where that is not known here."""
    try:
        return storage_url(app.settings)
    except SettingsError:
        return ""


def _problems(task: TesTask, environment: Environment, owner: str, kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the JSON path of each URL that the environment does not allow, and what was expected there."""
    for n, each in enumerate(task.inputs):
        if not each.content:
            yield from ((f"$.inputs[{n}].url", expected) for expected in _input_problems(each, environment, owner))
    taken: dict[tuple[str, ...], str] = {}
    for n, output in enumerate(task.outputs):
        problems = _output_problems(output, environment, owner, kept, taken)
        yield from ((f"$.outputs[{n}].url", expected) for expected in problems)


def _input_problems(each: Input, environment: Environment, owner: str) -> Iterator[str]:
    """Yield what was expected as the URL of an input."""
    url, is_file = url_of(each.url), each.type == "FILE"
    known = [name for name in environment.fetch.schemes if is_file or name in FOLDER_SCHEMES]
    if urlsplit(url).scheme.lower() not in known:
        what = "a URL" if is_file else "the URL of a folder"
        yield f"{what} with one of the schemes {', '.join(known) or '(none)'}"
    if belongs_to_another(url, environment.tes.outputs, owner, folder=not is_file):
        yield "a URL outside the places of other owners' outputs"


def _output_problems(
    output: Output, environment: Environment, owner: str, kept: Sequence[str], taken: dict[tuple[str, ...], str]
) -> Iterator[str]:
    """Yield what was expected as the URL of an output.

    `kept`: where Sluice keeps results. `taken`: the places of earlier files and their paths; this one is added.
    """
    url = url_of(output.url)
    try:
        check(url, environment.tes.outputs, owner)
        forbidden = any(is_below(url, each) for each in kept)
        other = taken.setdefault(target(url), output.path) if output.is_file else output.path
    except DestinationRefused as e:
        yield str(e)
        return
    if forbidden:
        yield "a URL apart from where Sluice keeps results"
    if other != output.path:
        yield f"a URL of its own: {other} goes to the same place"


def _under_policy(
    record: Record, task: TesTask, environment: Environment, policies: Policies, runs_images: bool
) -> Record:
    """Return the record with what the data holders ask for. Raises DocumentError if they refuse an executor."""
    from functions.trust import admission, allow_list

    merged = policies.for_workflow(admission.data_sets(task), environment.policy)
    for n, candidate in enumerate(admission.executors(task)):
        if refused := allow_list.refusal(merged, candidate, record.workflow.created_at.date()):
            raise DocumentError(f"$.executors[{n}]", f"an executor that the data's policy allows: {refused.text}")
    images = [allow_list.pinned_image(merged, each) for each in admission.executors(task) if runs_images]
    return with_policy(record, merged, tuple(images))


def _check_size(record: Record, task: TesTask, environment: Environment) -> None:
    """Refuse a task that no Secret can hold. Raises DocumentError."""
    size, most = size_and_limit(record, task, environment)
    if size > most:
        raise DocumentError("$", f"a task of at most {most} bytes, not {size}; put a large `content` behind a `url`")
