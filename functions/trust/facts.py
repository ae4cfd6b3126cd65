"""The facts of history lines: digests and counts of what a workflow used and made, never contents."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from functions.trust import chain
from functions.workflow.model import Manifest, Record, ResultFile
from functions.workflow.reported_facts import digest_of

_ENCRYPTED = ".age"


def of_submission(record: Record) -> dict[str, str]:
    """Return who asked for what, and under which policy. What could be guessed is keyed with the workflow's salt."""
    submission, salt = record.submission, bytes.fromhex(record.workflow.salt)
    facts = {
        "document": chain.keyed(salt, msgspec.json.encode(submission.document, order="deterministic")),
        "owner": chain.salted(salt, submission.owner.lower()),
        "provider": chain.salted(salt, submission.provider.lower()),
    }
    if submission.policy:
        facts["policy"] = hashlib.sha256(submission.policy.encode()).hexdigest()
    return facts


def of_manifest(manifest: Manifest) -> dict[str, str]:
    """Return the digest over the consumer's files as they were before encryption, and their number.

    Those of a TES task are at the URLs that its client gave.
    """
    listed = [*(plain(file) for file in manifest.files), *delivered(manifest)]
    return {"outputs": digest_of(listed), "files": str(len(listed))}


def delivered(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the outputs of a TES task, each file once, without their URLs, which may hold access tokens."""
    found = {each.path: {"path": each.path, "sha256": each.sha256, "size": each.size} for each in manifest.delivered}
    return [found[path] for path in sorted(found)]


def plain(file: ResultFile) -> dict[str, Any]:
    """Return a published file as it was before it was encrypted, if it was."""
    if file.plain_sha256 is None:
        return {"path": file.path, "sha256": file.sha256 or "", "size": file.size}
    return {"path": file.path.removesuffix(_ENCRYPTED), "sha256": file.plain_sha256, "size": file.plain_size or 0}
