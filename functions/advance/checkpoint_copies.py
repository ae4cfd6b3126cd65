"""Gives checkpoints of the log to those whom the operator cannot make forget: an archive, and witnesses.

The archive is a prefix of a storage, one object for each checkpoint. Witnesses speak C2SP tlog-witness: they get the
newest checkpoint with the proof that it follows from the one they saw last, and answer with their cosignature. Both may
get the same checkpoint twice.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import TYPE_CHECKING

from functions.log import about
from functions.trust import merkle
from functions.trust.checkpoint import CheckpointInvalid, Witness, parse
from functions.variables import SettingsError

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

BATCH = 100  # checkpoints that one sweep archives
SECONDS = 3.0  # for connecting and for each wait
LONGEST = 64 << 10  # bytes of an answer that are read
CONTENT_TYPE = "text/plain; charset=utf-8"
SEEN_ANOTHER = 409


def archive(app: App) -> int:
    """Write each checkpoint that the archive lacks as the object `checkpoints/SIZE`. Returns how many.

    Raises StorageUnavailable and SettingsError.
    """
    place = app.settings.checkpoint_url
    new = app.store.log.uncopied(place, BATCH)
    for size, note in new:
        content = note.encode()
        app.checkpoints.put(f"checkpoints/{size}", [content], len(content), CONTENT_TYPE)
        _record(app, place, size, "")
    return len(new)


def ask(app: App, spelled: str) -> bool:
    """Ask a witness, `URL KEY`, to cosign the newest checkpoint unless it has. True if it did. Raises SettingsError."""
    url, witness = _witness(spelled)
    log = app.store.log
    note, seen = log.checkpoint(), log.copied(url)
    if note is None or parse(note).size <= seen:
        return False
    status, answered = _post(app, url, seen, note)
    if status == SEEN_ANOTHER and (seen := _size(answered)) >= 0:
        if seen > parse(note).size:
            logger.error("a witness has seen a longer log than this one: was it restored?", extra=about(witness=url))
            return False
        status, answered = _post(app, url, seen, note)
    lines = witness.own_lines(note, answered) if status == 200 else ""
    if not lines:
        logger.warning("a witness did not cosign the log", extra=about(witness=url, status=status))
        return False
    _record(app, url, parse(note).size, lines)
    return True


def _record(app: App, place: str, size: int, cosignatures: str) -> None:
    with app.store.begin() as tx:
        tx.log.add_copy(place, size, cosignatures)


def _witness(spelled: str) -> tuple[str, Witness]:
    url, _, key = spelled.strip().partition(" ")
    try:
        witness = Witness.parse(key)
    except CheckpointInvalid as e:
        raise SettingsError(f"WITNESSES: {e}") from None
    if not url.startswith(("https://", "http://")):
        raise SettingsError("WITNESSES: expected the URL of a witness, a space, and its key")
    return url.rstrip("/"), witness


def _size(text: str) -> int:
    """Return the size that a witness answers with; -1 if it is none."""
    return int(text) if text.isascii() and text.strip().isdecimal() and len(text) <= 18 else -1


def _post(app: App, url: str, old: int, note: str) -> tuple[int, str]:
    """POST a checkpoint, with the proof that it follows from the one of `old` leaves. Status 0: it did not answer."""
    import urllib3

    size = parse(note).size
    proof = merkle.consistency_proof(old, size, app.store.log.node) if old else []
    lines = (f"old {old}", *(b64encode(each).decode() for each in proof), "", note)
    fields = {"Content-Type": CONTENT_TYPE}
    try:
        with urllib3.PoolManager(timeout=urllib3.Timeout(SECONDS), retries=False) as http:
            response = http.request(
                *("POST", f"{url}/add-checkpoint"),
                body="\n".join(lines).encode(),
                headers=fields,
                redirect=False,
                preload_content=False,
            )
            answered = response.read(LONGEST).decode("utf-8", "replace")
            response.close()
    except (urllib3.exceptions.HTTPError, ValueError) as e:
        logger.warning("a witness did not answer: %s", type(e).__name__, extra=about(witness=url))
        return 0, ""
    return response.status, answered
