"""The routing table of proofs: the crate of a job, and the statements about it."""

from __future__ import annotations

from functions.api.http import Route
from functions.api.ocean.routes import PREFIX

CRATE = Route("status", "GET", f"{PREFIX}/crate")
ATTESTATION = Route("status", "GET", f"{PREFIX}/attestation")

TABLE = (CRATE, ATTESTATION)
