"""What was last seen of the running stage's container: why it waits, or since when it runs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("waiting", sa.Text))
    op.add_column("jobs", sa.Column("runs_since", sa.DateTime))
