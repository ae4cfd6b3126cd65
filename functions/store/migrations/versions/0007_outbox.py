"""Effects that were decided and are not yet carried out, the environments' locks, and events nobody could handle."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "intents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("workflow", sa.String(255), sa.ForeignKey("jobs.workflowid", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16)),
        sa.Column("attempt", sa.Integer),
        sa.Column("event", sa.String(32)),
        sa.Column("due_at", sa.DateTime, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.CheckConstraint("kind <> 'emit' OR event IS NOT NULL", name="ck_intents_event"),
        sa.CheckConstraint(
            "kind NOT IN ('create_job', 'delete_job') OR (stage IS NOT NULL AND attempt IS NOT NULL)",
            name="ck_intents_stage",
        ),
    )
    op.create_index("ix_intents_workflow", "intents", ["workflow"])
    for name, where in (("ix_intents_due", "kind <> 'emit'"), ("ix_intents_outgoing", "kind = 'emit'")):
        condition = sa.text(where)
        op.create_index(name, "intents", ["due_at"], postgresql_where=condition, sqlite_where=condition)
    op.create_table("slots", sa.Column("environment", sa.String(255), primary_key=True))
    op.create_table(
        "dead_letters",
        sa.Column("event_id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
    )
    op.create_index("ix_dead_letters_at", "dead_letters", ["at"])
