"""Appends the heads of histories that have grown to one log, and signs its new size and root.

Versions of policies, keys that replace others and freezes are leaves too: they decide what may run and leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.engine.sweep_settings import signing_keys
from functions.store.values import LogLeaf
from functions.trust import merkle, policy
from functions.trust.checkpoint import Checkpoint, log_origin, sign
from functions.trust.signing import key_id

if TYPE_CHECKING:
    from functions.engine.app import App

BATCH = 500


def announce(app: App) -> None:
    """Queue the policies of the file and a new key for the log, unless it has them.

    Raises SettingsError.
    """
    settings = app.settings
    policies = app.policies.written if app.policies else ()
    leaves = [LogLeaf("policy", each.id, policy.digest(policy.of_written(each))) for each in policies]
    if settings.earlier_signing_key:
        name = key_id(signing_keys(settings)[0].public)
        leaves.append(LogLeaf("key", name, name.removeprefix("sha256:")))
    new = app.store.log.unlogged(leaves)
    if new:
        with app.store.begin() as tx:
            for leaf in new:
                tx.log.wait(leaf)


def extend(app: App, limit: int = BATCH) -> int:
    """Log up to `limit` histories that have grown, and as many leaves that wait. Returns how many leaves are new.

    Nothing is logged without a key, or while somebody else extends the log. Raises SettingsError.
    """
    settings = app.settings
    if not settings.signing_key:
        return 0
    with app.store.begin() as tx:
        size = tx.log.lock()
        leaves = [*tx.log.take_waiting(limit), *tx.log.take_heads(limit)] if size is not None else ()
        if size is None or not leaves:
            return 0
        nodes, root = merkle.append(size, [bytes.fromhex(leaf.data) for leaf in leaves], tx.log.nodes)
        key, *earlier = signing_keys(settings)
        note = sign(Checkpoint(log_origin(settings.origin), size + len(leaves), root), key, earlier)
        tx.log.extend(size, leaves, nodes, root, note, app.clock())
    return len(leaves)
