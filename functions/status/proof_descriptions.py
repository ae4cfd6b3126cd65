"""Describes the routes of proofs for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.api.http import Route
from functions.api.proof import routes as proof
from functions.status.route_description import Operation
from functions.status.transparency_log import LogKeys, LogProof
from functions.trust.run_record import Edition

_BODY = (408, 413, 415)
_READ = (400, 401, 403, 404, 408, 413, 415, 503)
_WHO = ("jobId!", "edition", "owner", "providerSignature", "nonce")

OPERATIONS: Mapping[Route, Operation] = {
    proof.CRATE: Operation(
        "Download the crate of a job: a ZIP of a BagIt bag with an RO-Crate",
        "application/zip",
        _READ,
        _WHO,
    ),
    proof.ATTESTATION: Operation(
        "Download the signed statements about a job, one DSSE envelope on each line",
        "application/vnd.in-toto.bundle",
        _READ,
        _WHO,
    ),
    proof.CHECKPOINT: Operation(
        "Show the newest signed checkpoint of the log of all histories (C2SP tlog-checkpoint)",
        "text/plain",
        (404, 503, *_BODY),
    ),
    proof.INCLUSION: Operation(
        "Prove that a history's head is in the log, and that the log begins with an earlier one",
        LogProof,
        (400, 404, 503, *_BODY),
        ("head!", "from"),
    ),
    proof.KEYS: Operation("Show the public keys that sign", LogKeys, (404, 503, *_BODY)),
}
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "head": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "The digest of a job's last history line"},
    "from": {"type": "integer", "minimum": 1, "description": "The size of an earlier checkpoint"},
    "edition": {
        "type": "string",
        "enum": [edition.value for edition in Edition],
        "description": "For operators and checkers; an owner gets the consumer's",
    },
}
