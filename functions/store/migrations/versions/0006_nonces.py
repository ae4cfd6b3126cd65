"""One row per provider, with its highest nonce as a number.

operator-service keeps text of any unit in rows of any number. A nonce is a time since 1970: below 10^11 it is in
seconds (with or without a fraction), below 10^14 in milliseconds, below 10^17 in microseconds, else in nanoseconds.
All become nanoseconds. What is no number counts as 0.
"""

from decimal import Decimal, InvalidOperation

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_UNITS = ((11, 10**9), (14, 10**6), (17, 10**3))  # below 10^n: so many nanoseconds in one
_LARGEST = 2**63 - 1


def upgrade() -> None:
    connection = op.get_bind()
    op.add_column("nonces", sa.Column("nanoseconds", sa.BigInteger, nullable=False, server_default="0"))
    nonces = sa.table(
        "nonces",
        sa.column("provider", sa.String),
        sa.column("nonce", sa.String),
        sa.column("nanoseconds", sa.BigInteger),
    )
    highest: dict[str, int] = {}
    for provider, nonce in connection.execute(sa.select(nonces.c.provider, nonces.c.nonce)):
        highest[provider] = max(highest.get(provider, 0), nanoseconds(nonce))
    connection.execute(sa.delete(nonces))
    if highest:
        rows = [{"provider": name, "nonce": str(value), "nanoseconds": value} for name, value in highest.items()]
        connection.execute(sa.insert(nonces), rows)
    op.create_index("ux_nonces_provider", "nonces", ["provider"], unique=True)


def nanoseconds(nonce: str | None) -> int:
    try:
        value = Decimal(nonce or "0")
    except InvalidOperation:
        return 0
    if not value.is_finite() or value < 0:
        return 0
    factor = next((factor for digits, factor in _UNITS if value < 10**digits), 1)
    return min(int(value * factor), _LARGEST)
