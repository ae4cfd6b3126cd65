"""Describes the routes of proofs for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.api.http import Route
from functions.api.proof import routes as proof
from functions.status.route_description import Operation
from functions.trust.run_record import Edition

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
}
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "edition": {
        "type": "string",
        "enum": [edition.value for edition in Edition],
        "description": "For operators and checkers; an owner gets the consumer's",
    },
}
