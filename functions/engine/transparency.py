"""Appends the heads of histories that have grown to one log, and signs its new size and root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.trust import merkle
from functions.trust.checkpoint import Checkpoint, sign
from functions.trust.signing import SigningKey
from functions.trust.statements import log_origin

if TYPE_CHECKING:
    from functions.engine.app import App

BATCH = 500


def extend(app: App, limit: int = BATCH) -> int:
    """Log up to `limit` histories that have grown, in one transaction. Returns how many leaves are new.

    Nothing is logged without a key, or while somebody else extends the log. Raises KeyInvalid.
    """
    settings = app.settings
    if not settings.signing_key:
        return 0
    with app.store.begin() as tx:
        size = tx.log.lock()
        leaves = tx.log.take_heads(limit) if size is not None else ()
        if size is None or not leaves:
            return 0
        nodes = merkle.append(size, [bytes.fromhex(leaf.data) for leaf in leaves], tx.log.node)
        grown = size + len(leaves)
        root = merkle.root(grown, lambda level, position: nodes.get((level, position)) or tx.log.node(level, position))
        earlier = [SigningKey(key.encode()) for key in (settings.earlier_signing_key,) if key]
        key = SigningKey(settings.signing_key.encode())
        note = sign(Checkpoint(log_origin(settings.origin), grown, root), key, earlier)
        tx.log.extend(size, leaves, nodes, root, note, app.clock())
    return len(leaves)
