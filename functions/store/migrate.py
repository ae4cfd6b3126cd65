"""Brings a database to the newest schema: from nothing, from operator-service's tables, or from any earlier revision.

Migrations add and never remove, so that programs of the earlier revision keep working while new ones start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from functions.store.pool import ConnectionPool, open_pool
from functions.store.ports import StoreUnavailable
from functions.variables import SettingsError

if TYPE_CHECKING:
    import sqlalchemy as sa

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
# The schema that all migrations together make of a new SQLite file. A test compares the two.
SQLITE_SCHEMA = Path(__file__).with_name("sqlite_schema.sql")
_ALEMBIC = Lock()  # Alembic keeps its context in module variables, so one thread at a time may use it
_ADVISORY_LOCK = 0x51_01_CE  # any number that no other program locks


class MigrationsMissing(SettingsError):
    """The schema needs an upgrade, and Alembic is not installed: the image of the functions leaves it out."""


def migrate(database_url: str) -> list[str]:
    """Apply all missing migrations or none, and return their names. Concurrent calls wait for each other.

    Raises StoreUnavailable, RefusedStatement and MigrationsMissing.
    """
    names = sorted(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    with closing(open_pool(database_url, 1)) as pool:
        revision = _revision(pool)
        if revision is not None and revision not in {name.split("_")[0] for name in names}:
            logger.warning("the database is newer than this program; it is left as it is, because migrations only add")
            return []
        if revision == names[-1].split("_")[0]:
            return []
        # A new file on a laptop: importing Alembic would take longer than the rest of the start.
        if database_url.startswith("sqlite:") and _create_at_once(pool):
            return names
    return upgrade(database_url, "head")


def upgrade(database_url: str, revision: str) -> list[str]:
    """Apply the migrations up to `revision`, all or none, and return the names of those that were missing.

    Raises StoreUnavailable, RefusedStatement and MigrationsMissing.
    """
    # Set before the import, which already logs about plugins. The caller reports what was applied.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        from alembic import command
        from alembic.config import Config
    except ModuleNotFoundError:
        raise MigrationsMissing(
            "the database needs an upgrade, and this image has no Alembic: run `sluice migrate` in the image's target "
            "`migrate` (k8s_install/migrate.yml), or in an installation by pip"
        ) from None

    applied: list[str] = []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))

    def remember(step: Any, **_: object) -> None:
        applied.append(Path(step.up_revision.path).stem)

    with _ALEMBIC, _exclusive_connection(database_url) as connection:
        config.attributes.update(connection=connection, on_version_apply=remember)
        command.upgrade(config, revision)
    return applied


def _revision(pool: ConnectionPool) -> str | None:
    """The revision of the database. None if no migration was applied, or if nobody answers."""
    try:
        found = pool.read("SELECT version_num FROM alembic_version")
    except StoreUnavailable:
        return None
    return str(found[0]["version_num"]) if found else None


def _create_at_once(pool: ConnectionPool) -> bool:
    """Create the whole schema in an empty SQLite file. False if the file is not empty."""
    with pool.transaction() as session:
        if session.execute("SELECT 1 FROM sqlite_master LIMIT 1"):
            return False
        for statement in SQLITE_SCHEMA.read_text().strip().removesuffix(";").split(";\n"):
            session.write(statement)
    return True


@contextmanager
def _exclusive_connection(database_url: str) -> Iterator[sa.Connection]:
    """A SQLAlchemy connection, for Alembic, in a transaction that excludes all other migrations."""
    import sqlalchemy as sa

    driver = open_pool(database_url, 1).driver
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
                # A lock of the transaction: one of the session would not hold through a pgbouncer.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            yield connection
    except sa.exc.DBAPIError as e:
        raise driver.translate(e.orig) from None
