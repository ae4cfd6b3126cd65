"""The routes of the log of all histories. They need no authentication.

The more people keep a checkpoint, the better it protects. A proof is given only to a caller who knows the head of a
history, and a head reveals nothing about its job.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, TypedDict

from werkzeug.wrappers import Response

from functions.api.http import Call, HttpError
from functions.api.json_answers import answer
from functions.trust import merkle, signing
from functions.trust.chain import spell_time
from functions.trust.checkpoint import log_origin, parse, verifier_key

_HEAD = re.compile("[0-9a-f]{64}")


class LogProof(TypedDict):
    """Hashes are 64 hex digits. `consistency` is empty without `from`."""

    head: str
    index: int
    inclusion: list[str]
    consistency: list[str]
    checkpoint: str


class LogKeys(TypedDict):
    """The newest key comes first. `succession`: each earlier key names the next one, signed."""

    origin: str
    keys: list[str]
    verifiers: list[str]
    succession: list[dict[str, Any]]


def checkpoint(call: Call) -> Response:
    """GET /log/checkpoint: the newest signed checkpoint."""
    return Response(_note(call), 200, {"Content-Type": "text/plain; charset=utf-8"})


def inclusion(call: Call) -> Response:
    """GET /log/proof?head=&from=: where a head is in the log, and that the log begins with one of `from` leaves."""
    head = str(call.params.get("head", ""))
    if not _HEAD.fullmatch(head):
        raise HttpError(400, "`head` must be 64 hex digits: the digest of a job's last history line")
    note = _note(call)
    log, size = call.app.store.log, parse(note).size
    index = log.position(head, size)
    if index is None:
        raise HttpError(
            404, "the log does not have this head yet; the next sweep appends it, so try again in a few seconds"
        )
    found: LogProof = {
        "head": head,
        "index": index,
        "inclusion": [each.hex() for each in merkle.inclusion_proof(index, size, log.nodes)],
        "consistency": [each.hex() for each in _consistency(call, size)],
        "checkpoint": note,
    }
    return answer(found)


def keys(call: Call) -> Response:
    """GET /log/keys: the public keys that sign checkpoints and statements."""
    from functions.status.proofs import signing_keys

    found, origin = signing_keys(call.app), log_origin(call.app.settings.origin)
    at = spell_time(call.app.clock())
    told: LogKeys = {
        "origin": origin,
        "keys": [signing.pem_of(key.public).decode() for key in found],
        "verifiers": [verifier_key(origin, key.public) for key in found],
        "succession": [signing.succession(old, new.public, at) for new, old in pairwise(found)],
    }
    return answer(told)


def _note(call: Call) -> str:
    note = call.app.store.log.checkpoint()
    if note is None:
        raise HttpError(404, "the log has no checkpoint yet; it needs SIGNING_KEY, and a sweep")
    return note


def _consistency(call: Call, size: int) -> list[bytes]:
    text = str(call.params.get("from", ""))
    if not text:
        return []
    if not text.isascii() or not text.isdigit() or len(text) > 18 or not 0 < int(text) <= size:
        raise HttpError(400, f"`from` must be the size of an earlier checkpoint, from 1 to {size}")
    return merkle.consistency_proof(int(text), size, call.app.store.log.nodes)
