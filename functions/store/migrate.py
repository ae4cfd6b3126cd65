"""Brings a database up to date: from nothing, from operator-service's schema, or from any state between.

Migrations add and never take away, so that programs of the earlier revision go on while the new one starts.
"""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa

from functions.store.engine import open_engine, translated

MIGRATIONS = Path(__file__).with_name("migrations")
_ALONE = Lock()  # Alembic keeps what it runs in variables of its modules
_LOCK = 0x51_01_CE  # any number that nobody else locks


def migrate(database_url: str) -> list[str]:
    """Apply what is missing, all of it or nothing. Returns what was applied. Safe beside itself.

    Raises StoreUnavailable.
    """
    # It tells of its own plugins, already when it is loaded; what was applied is returned.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    applied: list[str] = []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))

    def remember(step: Any, **_: object) -> None:
        applied.append(Path(step.up_revision.path).stem)

    engine = open_engine(database_url, pool_size=1, limits=False)
    try:
        with _ALONE, translated(), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # of the transaction, not of the session: that would not hold through a pgbouncer
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            config.attributes.update(connection=connection, on_version_apply=remember)
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    return applied
