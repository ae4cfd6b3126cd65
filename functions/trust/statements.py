"""What the data holder states about a workflow, by digest: the release, and SLSA provenance beside it.

Both are in-toto statements about the same subjects: both editions of the crate, the manifests that bind their files,
and each released file, so that one file can be checked alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from functions.trust import facts
from functions.trust.attestation import SLSA_PROVENANCE, statement
from functions.trust.chain import spell_time
from functions.trust.checkpoint import log_origin
from functions.trust.crate import Crate
from functions.trust.requested_work import of_submission
from functions.trust.run_record import Edition, RunRecord
from functions.workflow.model import Phase, Stage

RELEASE = "https://sluice.dev/attestation/release/v1"
BUILD_TYPE = "https://sluice.dev/workflow/v1"
BUNDLE_TYPE = "application/vnd.in-toto.bundle"


def release(run: RunRecord, crates: Sequence[Crate]) -> dict[str, Any]:
    """Return the statement of what ran on what, who decided, and what left."""
    return statement(subjects(run, crates), RELEASE, _predicate(run))


def provenance(run: RunRecord, crates: Sequence[Crate]) -> dict[str, Any]:
    """Return the SLSA provenance v1 of the released files, for tools that know only that."""
    workflow = run.record.workflow
    ran = _ran(run)
    dependencies = [*ran["inputs"], *ran["images"], *([ran["algorithm"]] if ran["algorithm"] else [])]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"environment": workflow.environment, "document": _document_digest(crates)},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": f"{run.origin}software/sluice-{run.software}"},
            "metadata": {
                "invocationId": f"{run.origin}workflows/{run.job}/",
                "startedOn": _minute(run, workflow.created_at),
                "finishedOn": _minute(run, run.made_at),
            },
        },
    }
    return statement(subjects(run, crates), SLSA_PROVENANCE, predicate)


def subjects(run: RunRecord, crates: Sequence[Crate]) -> Mapping[str, str]:
    """Return the sha256 of each subject by its name; a file that is encrypted counts as both."""
    found: dict[str, str] = {}
    for crate in crates:
        found |= crate.digests
    for file in run.released:
        found[file.path] = file.sha256 or ""
        plain = facts.plain(file)
        found[str(plain["path"])] = str(plain["sha256"])
    for each in run.delivered:
        found[str(each["path"])] = str(each["sha256"])
    return found


def _predicate(run: RunRecord) -> dict[str, Any]:
    workflow = run.record.workflow
    stated: dict[str, Any] = {
        "job": run.job,
        "environment": workflow.environment,
        "verdict": run.release.value,
        "ran": _ran(run),
        "withheld": len(run.withheld),
        "history": {"steps": len(run.covered), "head": run.head},
        "log": {"origin": log_origin(run.origin)},
    }
    known = run.facts()
    if digest := known.get("policy"):
        names = ", ".join(_policy_names(run))
        stated["policy"] = {"name": names, "version": f"sha256:{digest}", "digest": {"sha256": digest}}
    if digest := known.get("checks"):
        stated["checks"] = {"digest": {"sha256": digest}, "verdict": workflow.findings.value or "pass"}
    if run.decisions:
        stated["decisions"] = [
            {
                "verdict": decision.verdict.value,
                "files": run.decided_release(decision),
                "digest": {"sha256": decision.digest},
            }
            for decision in run.decisions
        ]
    return stated


def _policy_names(run: RunRecord) -> Sequence[str]:
    from functions.trust import policy

    return policy.decode(run.record.submission.policy).names


def _ran(run: RunRecord) -> dict[str, Any]:
    """Resource descriptors of what ran and on what, with the digests that were found, not those that were asked for."""
    work = of_submission(run.record.submission)
    lines = [entry for entry, _ in run.covered if entry.before is Phase(Stage.ALGORITHM)]
    digests = [entry.facts["image"] for entry in lines if "image" in entry.facts]
    return {
        "images": [
            {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
            for name, digest in zip(work.images, digests, strict=False)
        ],
        "algorithm": {"name": work.title, "digest": {"sha256": run.algorithm}} if run.algorithm else None,
        "inputs": [{"name": file.path, "digest": {"sha256": file.sha256}} for file in run.inputs],
    }


def _document_digest(crates: Sequence[Crate]) -> str:
    found = {part.sha256 for crate in crates for part in crate.parts if part.path == "workflow/workflow.json"}
    return "".join(f"sha256:{digest}" for digest in found)


def _minute(run: RunRecord, at: Any) -> str:
    """Format a time. It is cut to the minute if results are guarded, because the consumer reads it too."""
    return f"{at:%Y-%m-%dT%H:%M}:00Z" if run.guarded else spell_time(at)


def payload_digest(body: bytes) -> str:
    """Return what the history keeps of a statement."""
    return hashlib.sha256(body).hexdigest()


EDITIONS = (Edition.HOLDER, Edition.CONSUMER)
