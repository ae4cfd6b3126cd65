"""Sends checkpoints of the log to places that the operator does not control: an archive, and witnesses.

The archive is a prefix of a storage, with one object for each checkpoint. Witnesses speak C2SP tlog-witness: they get
the newest checkpoint with the proof that it follows from the one they saw last, and answer with their cosignature.
Both may get the same checkpoint twice.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from functions.engine.sweep_settings import parse_witness
from functions.log import about
from functions.trust import merkle
from functions.trust.checkpoint import parse

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from functions.engine.app import App

logger = logging.getLogger(__name__)

BATCH = 100  # checkpoints that one sweep archives
SECONDS = 3.0  # to connect, to wait for each part of an answer, and to read its body
MAX_ANSWER = 64 << 10  # bytes; the rest is not read
CONTENT_TYPE = "text/plain; charset=utf-8"
SEEN_ANOTHER = 409  # the witness answers with the size that it saw last


def archive(app: App, in_time: Callable[[], bool]) -> int:
    """Write each checkpoint that the archive lacks as the object `checkpoints/SIZE`, while `in_time`. Returns how many.

    Raises StorageUnavailable and SettingsError.
    """
    place, written = app.settings.checkpoint_url, 0
    for size, note in app.store.log.uncopied(place, BATCH):
        if not in_time():
            break  # the next sweep goes on
        content = note.encode()
        app.checkpoints.put(f"checkpoints/{size}", [content], len(content), CONTENT_TYPE)
        _record(app, place, size, "")
        written += 1
    return written


def ask(app: App, setting: str) -> bool:
    """Ask a witness to cosign the newest checkpoint, unless it has. Returns whether it did now.

    `setting`: the witness as in WITNESSES, `URL KEY`. Raises SettingsError.
    """
    url, witness = parse_witness(setting)
    log = app.store.log
    note, seen = log.checkpoint(), log.copied(url)
    if note is None or parse(note).size <= seen:
        return False
    status, answer = _post(app, url, seen, note)
    if status == SEEN_ANOTHER and (seen := _parse_size(answer)) >= 0:
        if seen > parse(note).size:
            logger.error("a witness has seen a longer log than this one: was it restored?", extra=about(witness=url))
            return False
        status, answer = _post(app, url, seen, note)
    lines = witness.own_lines(note, answer) if status == 200 else ""
    if not lines:
        logger.warning("a witness did not cosign the log", extra=about(witness=url, status=status))
        return False
    _record(app, url, parse(note).size, lines)
    return True


def _record(app: App, place: str, size: int, cosignatures: str) -> None:
    with app.store.begin() as tx:
        tx.log.add_copy(place, size, cosignatures)


def _parse_size(text: str) -> int:
    """Return the size of the log in a witness's answer; -1 if the answer is not a size."""
    return int(text) if text.isascii() and text.strip().isdecimal() and len(text) <= 18 else -1


def _post(app: App, url: str, old: int, note: str) -> tuple[int, str]:
    """POST a checkpoint, with the proof that it follows from the one of `old` leaves.

    Returns the status and the text of the answer; status 0 without an answer.
    """
    import urllib3

    size = parse(note).size
    proof = merkle.consistency_proof(old, size, app.store.log.nodes) if old else []
    body = "\n".join((f"old {old}", *(b64encode(each).decode() for each in proof), "", note)).encode()
    try:
        with urllib3.PoolManager(timeout=urllib3.Timeout(SECONDS), retries=False) as http:
            response = http.request(
                "POST",
                f"{url}/add-checkpoint",
                body=body,
                headers={"Content-Type": CONTENT_TYPE},
                redirect=False,
                preload_content=False,
            )
            answer = _read(response).decode("utf-8", "replace")
            response.close()
    except (urllib3.exceptions.HTTPError, ValueError) as e:
        logger.warning("a witness did not answer: %s", type(e).__name__, extra=about(witness=url))
        return 0, ""
    return response.status, answer


def _read(response: BaseHTTPResponse) -> bytes:
    """Return the body as far as it comes in time: a witness that sends it slowly must not hold up the sweep."""
    body, ends = b"", monotonic() + SECONDS
    while len(body) < MAX_ANSWER and monotonic() < ends and (part := response.read1(MAX_ANSWER - len(body))):
        body += part
    return body
