"""`sluice policy`: check a file of policies, and explain what it would mean for a document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import FAILED, fail, printable
from functions.cli.options import json_option, print_json

if TYPE_CHECKING:
    from datetime import date

    from functions.trust.policy import Policies, Policy
    from functions.workflow.tes_task import Document

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def policy() -> None:
    """Check the data holders' policies and explain what they mean.

    \b
    Example:
      sluice policy check policies.yaml
    """


@policy.command()
@click.argument("file", type=_FILE)
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check a file of policies. Exits with 2 if it is not valid, and names the key that is wrong.

    \b
    Example:
      sluice policy check policies.yaml
    """
    from functions.trust.policy import digest, of_written

    found = [{"id": each.id, "sha256": digest(of_written(each))} for each in _load(file).written]
    if as_json:
        print_json(found)
    else:
        click.echo("\n".join(f"{each['id']}  sha256 {each['sha256']}" for each in found))


@policy.command()
@click.argument("document", type=_FILE)
@click.option("--policies", "file", type=_FILE, required=True, help="The file of policies.")
@click.option("--default", "default", default="", metavar="ID", help="The policy of data sets that none names.")
@json_option
def explain(document: Path, file: Path, default: str, as_json: bool) -> None:
    """Say what would happen to DOCUMENT under the policies, and why. Exits with 1 if it would be refused.

    DOCUMENT is a workflow, or a task of GA4GH TES.

    \b
    Examples:
      sluice policy explain workflow.json --policies policies.yaml
      sluice policy explain task.json --policies policies.yaml
    """
    explained = _explain(document, file, default)
    if as_json:
        print_json(explained)
    else:
        click.echo("\n".join(f"{key:<12} {_text(value)}" for key, value in explained.items()))
    if explained["refused"]:
        raise SystemExit(FAILED)


def _explain(document: Path, file: Path, default: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    from functions.trust import admission

    definition = _definition(document)
    policies = _load(file)
    if default and policies.get(default) is None:
        known = ", ".join(each.id for each in policies.written)
        fail(f"--default: {file} has no policy {default!r}; it has: {known}")
    merged = policies.for_workflow(admission.data_sets(definition), default)
    return {
        "policies": list(merged.names),
        "refused": _refusal(merged, definition, datetime.now(UTC).date()),
        "checked": merged.checks is not None,
        "hold": merged.hold.value,
        "approvals": [{"needed": each.needed, "checkers": list(each.checkers)} for each in merged.approvals],
        "holdSeconds": merged.hold_seconds,
        "budgets": [{"policy": e.policy, "perOwner": e.per_owner, "days": e.days} for e in merged.budgets],
    }


def _definition(file: Path) -> Document:
    """Return the workflow or the task in a file, typed. Ends the command if it is neither."""
    from functions.cli.document_file import is_task, parse_file, refuse
    from functions.cli.submit import load_document
    from functions.cli.tes_run import local_urls
    from functions.workflow.document import DocumentError, parse
    from functions.workflow.tes_checks import accept

    kind = "workflow or task"
    try:
        content = parse_file(file)
        if not is_task(content):
            return load_document(file, lambda read: parse(read.standalone()))
        kind = "task"
        return accept(local_urls(content, file, None)).task
    except DocumentError as e:
        refuse(file, kind, e)


def _refusal(policy: Policy, definition: Document, today: date) -> str:
    """Return why the policy refuses the algorithm or an executor; empty if it refuses none, as far as is known."""
    from functions.trust import admission, allow_list
    from functions.workflow.tes_task import TesTask

    if not isinstance(definition, TesTask):
        refused = allow_list.refusal(policy, admission.candidate(definition), today)
        return refused.text if refused else ""
    for number, candidate in enumerate(admission.executors(definition), 1):
        if refused := allow_list.refusal(policy, candidate, today):
            return f"executor {number}: {refused.text}"
    return ""


def _load(file: Path) -> Policies:
    from functions.policies import load
    from functions.variables import SettingsError

    try:
        return load(str(file), str(file))
    except SettingsError as e:
        fail(str(e))


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case [] | "" | None:
            return "none"
        case list():
            return "; ".join(_text(each) for each in value)
        case dict():
            return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
        case _:
            return printable(value)
