"""The check stage: `python -m functions.staging.check --task FILE --volume DIR`.

Judges every output by the rules of the policy and writes `adminlogs/checks.json`. Exits with 0 if nothing was found,
with 10 if a person should look, with 11 if a rule blocks a file. Any other exit code is a crash, and another attempt
may help.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from functions import __version__
from functions.staging.check.output_files import OutputFile, walk
from functions.staging.check.rule_runner import check
from functions.staging.command_line import parse_arguments
from functions.staging.publish.tes_outputs import container_path, covered
from functions.staging.report import finish, log_to
from functions.trust import policy
from functions.trust.disclosure import Checks
from functions.trust.findings import CheckVerdict, PolicyVersion, Report, worst
from functions.untrusted import parse_json
from functions.workflow.stage_task import Task
from functions.workflow.tes_task import TesTask
from functions.workflow.volume_layout import CHECK_LOG, CHECKS_REPORT, INPUTS, OUTPUTS

EXIT_CODES = {CheckVerdict.PASS: 0, CheckVerdict.REVIEW: 10, CheckVerdict.BLOCK: 11}
REASONS = {CheckVerdict.PASS: "Completed", CheckVerdict.REVIEW: "Review", CheckVerdict.BLOCK: "Blocked"}


def run(task: Task, volume: Path, checker: str) -> Report:
    """Judge the outputs on the volume and write the report."""
    rules = policy.decode(bytes(task.policy).decode())
    outputs, inputs = _files(task, volume)
    checked = check(outputs, inputs, rules.checks or Checks())
    report = Report(
        policy=PolicyVersion(rules.names, policy.digest(rules)),
        checker=checker,
        verdict=worst(checked.files, at_least=CheckVerdict.REVIEW if checked.notes else CheckVerdict.PASS),
        files=checked.files,
        notes=checked.notes,
    )
    target = volume / CHECKS_REPORT
    draft = target.with_suffix(".draft")
    draft.write_bytes(msgspec.json.encode(report))
    draft.replace(target)
    return report


def _files(task: Task, volume: Path) -> tuple[list[OutputFile], Iterable[OutputFile]]:
    """Return the files that want to leave, and the data that they may be copies of."""
    if not isinstance(task.definition, TesTask):
        return list(walk(volume, OUTPUTS)), walk(volume, INPUTS)
    places = list(walk(volume, OUTPUTS))
    leaving = [file for file in places if covered(task.definition, file.path)]
    given = {each.path.rstrip("/") for each in task.definition.inputs}
    return leaving, [file for file in places if _is_given(container_path(file.path), given)]


def _is_given(path: str, inputs: set[str]) -> bool:
    """Whether a file is an input of the task, or in one."""
    return any(path == each or path.startswith(f"{each}/") for each in inputs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage from the command line and return its exit code."""
    given = parse_arguments("check", ("task", "volume"), arguments)
    volume = Path(given["volume"])
    os.umask(0o022)
    log_to(volume / CHECK_LOG)
    try:
        report = run(parse_json(Path(given["task"]).read_bytes(), Task), volume, f"sluice {__version__}")
        facts = _facts(report, volume)
    except Exception as e:
        # Only the kind of error: its text may quote data.
        return finish(1, "Crashed", f"{type(e).__name__} in check", volume)
    text = f"files: {len(report.files)}, findings: {report.findings}"
    return finish(EXIT_CODES[report.verdict], REASONS[report.verdict], text, volume, facts)


def _facts(report: Report, volume: Path) -> dict[str, str]:
    """The facts for the history: the digest of the report, and how many files it blocks."""
    content = (volume / CHECKS_REPORT).read_bytes()
    return {"checks": hashlib.sha256(content).hexdigest(), "blocked": str(len(report.blocked))}
