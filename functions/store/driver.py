"""The port to one kind of database, and what its two drivers share. `sqlite` and `postgres` implement it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from functions.store.ports import AgreementInUse, StoreUnavailable

Row = Mapping[str, Any]
Statement = tuple[str, Mapping[str, Any]]  # SQL and its parameters, which are written `%(name)s`
# Unique indexes of `jobs` whose violation is an answer to the caller, not an error.
AGREEMENT_INDEX = "ux_jobs_live_agreement"
IDEMPOTENCY_INDEX = "ux_jobs_idempotency_key"


class Driver(Protocol):
    """Talks to one kind of database. Times are passed in as timezone-aware datetimes."""

    Error: type[Exception]  # base class of what the driver raises
    transaction: str  # SQL that opens a transaction
    single: str  # SQL that precedes a statement which is a transaction of its own

    def connect(self) -> Any:
        """Open a DB-API connection that starts no transaction by itself."""
        ...

    def run(self, connection: Any, statements: Sequence[Statement], opening: str = "") -> Any:
        """Run `opening`, then the statements in order until one fails. Returns the cursor of the last one.

        A driver that talks to a server sends them in one message.
        """
        ...

    def is_closed(self, connection: Any) -> bool:
        """Whether the server is gone or has closed the connection."""
        ...

    def roll_back(self, connection: Any) -> None:
        """Roll the open transaction back, if there is one."""
        ...

    def translate(self, error: Any) -> Exception:
        """The port's error for one of the driver's, without values, statements or addresses."""
        ...


def agreement_in_use(index: str) -> AgreementInUse:
    """The error that the violation of AGREEMENT_INDEX or IDEMPOTENCY_INDEX stands for."""
    if index == AGREEMENT_INDEX:
        return AgreementInUse("an unfinished workflow has this agreementId already")
    return AgreementInUse("a workflow was submitted with this idempotency key already")


def schema_outdated() -> StoreUnavailable:
    """The error that a missing table or column stands for."""
    return StoreUnavailable("the database's schema is older than this program; run `sluice migrate`")
