"""Brings a database up to date: from nothing, from operator-service's schema, or from any state between.

Migrations add and never take away, so that programs of the earlier revision go on while the new one starts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from functions.store.pool import Connections, open_connections
from functions.store.ports import StoreUnavailable

if TYPE_CHECKING:
    import sqlalchemy as sa

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
# What all migrations together make of a new SQLite file; a test holds it against them.
SQLITE_SCHEMA = Path(__file__).with_name("sqlite_schema.sql")
_ALONE = Lock()  # Alembic keeps what it runs in variables of its modules
_LOCK = 0x51_01_CE  # any number that nobody else locks


def migrate(database_url: str) -> list[str]:
    """Apply what is missing, all of it or nothing. Returns what was applied. Safe beside itself.

    Raises StoreUnavailable.
    """
    steps = sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    with closing(open_connections(database_url, 1)) as connections:
        revision = _revision(connections)
        if revision is not None and revision not in {step.split("_")[0] for step in steps}:
            logger.warning("the database is newer than this program; migrations only add, so it is left as it is")
            return []
        if revision == steps[-1].split("_")[0]:
            return []
        # A laptop's new file: Alembic alone would take longer than all the rest of a start.
        if database_url.startswith("sqlite:") and _made_at_once(connections):
            return steps
    return upgrade(database_url, "head")


def upgrade(database_url: str, revision: str) -> list[str]:
    """Apply the migrations up to `revision`, all of them or none. Returns what was applied."""
    # It tells of its own plugins, already when it is loaded; what was applied is returned.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    applied: list[str] = []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))

    def remember(step: Any, **_: object) -> None:
        applied.append(Path(step.up_revision.path).stem)

    with _ALONE, _alembics(database_url) as connection:
        config.attributes.update(connection=connection, on_version_apply=remember)
        command.upgrade(config, revision)
    return applied


def _revision(connections: Connections) -> str | None:
    """None: nothing of ours is there, or nobody answers."""
    try:
        found = connections.read("SELECT version_num FROM alembic_version")
    except StoreUnavailable:
        return None
    return str(found[0]["version_num"]) if found else None


def _made_at_once(connections: Connections) -> bool:
    """Make the whole schema in an empty SQLite file; False if there is anything in it."""
    with connections.transaction() as session:
        if session.execute("SELECT 1 FROM sqlite_master LIMIT 1"):
            return False
        for statement in SQLITE_SCHEMA.read_text().strip().removesuffix(";").split(";\n"):
            session.execute(statement)
    return True


@contextmanager
def _alembics(database_url: str) -> Iterator[sa.Connection]:
    """A connection of the kind that Alembic wants, in a transaction that excludes all others."""
    import sqlalchemy as sa

    driver = open_connections(database_url, 1).driver
    sqlite = database_url.startswith("sqlite:")
    engine = sa.create_engine(
        "sqlite://" if sqlite else "postgresql+psycopg2://",
        creator=driver.connect,
        poolclass=sa.NullPool,
        hide_parameters=True,
        **({} if sqlite else {"isolation_level": "READ COMMITTED", "use_native_hstore": False}),
    )
    if sqlite:
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(driver.transaction))
    try:
        with engine.begin() as connection:
            if not sqlite:
                # of the transaction, not of the session: that would not hold through a pgbouncer
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            yield connection
    except sa.exc.DBAPIError as e:
        raise driver.problem(e.orig) from None
