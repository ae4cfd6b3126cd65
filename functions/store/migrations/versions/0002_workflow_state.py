"""What the rules know of a workflow, beside what operator-service stores of a job.

Every column has a default, so that operator-service's own INSERT still works: its job is then a queued
workflow which the next sweep finds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    columns: list[sa.Column[object]] = [
        sa.Column("phase", sa.String(16), nullable=False, server_default="queued"),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("job_uid", sa.String(255)),
        sa.Column("wake_at", sa.DateTime, server_default="1970-01-01 00:00:00.000000"),
        sa.Column("deadline", sa.DateTime),
        sa.Column("terms", sa.Text, nullable=False, server_default="{}"),
        sa.Column("halt", sa.Text),
        sa.Column("ending", sa.Text),
        sa.Column("expired", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("reported", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("admin_files", sa.Text),
        sa.Column("chain_id", sa.String(255)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("origin", sa.String(255)),
    ]
    for column in columns:
        op.add_column("jobs", column)
    op.create_index("ux_jobs_workflowid", "jobs", ["workflowid"], unique=True)
