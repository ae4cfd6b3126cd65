"""The nonces that were used lately, each by itself, so that requests of one provider may overtake each other.

`nonces` keeps one row per provider: the highest nonce that is forgotten. It and all below are refused, so what was used
before this migration stays used.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "used_nonces",
        sa.Column("nanoseconds", sa.BigInteger, primary_key=True, autoincrement=False),  # first: forgotten by age
        sa.Column("provider", sa.String(255), primary_key=True),
    )
