"""The attempts of each stage, and the history."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "stage_attempts",
        _workflow(),
        sa.Column("stage", sa.String(16), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("job_uid", sa.String(255)),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("outcome", sa.String(16)),
        sa.Column("exit_code", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ck_stage_attempts_ended"),
    )
    op.create_table(
        "history",
        _workflow(),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
    )


def _workflow() -> sa.Column[str]:
    return sa.Column("workflow", sa.String(255), sa.ForeignKey("jobs.workflowid", ondelete="CASCADE"), primary_key=True)
