"""The routing table of proofs: the crate of a job, the statements about it, and the log of all histories."""

from __future__ import annotations

from functions.api.http import Route
from functions.api.ocean.routes import PREFIX

CRATE = Route("status", "GET", f"{PREFIX}/crate")
ATTESTATION = Route("status", "GET", f"{PREFIX}/attestation")
CHECKPOINT = Route("status", "GET", f"{PREFIX}/log/checkpoint")
INCLUSION = Route("status", "GET", f"{PREFIX}/log/proof")
KEYS = Route("status", "GET", f"{PREFIX}/log/keys")

TABLE = (CRATE, ATTESTATION, CHECKPOINT, INCLUSION, KEYS)
