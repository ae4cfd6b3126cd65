"""What may be there once, what must always hold, and an index for each question that is asked again and again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_UNFINISHED = "datefinished IS NULL"
_PHASES = "'queued', 'configure', 'algorithm', 'filter', 'publish', 'finished'"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:  # SQLite can add a check only to a new table
        jobs.create_check_constraint("ck_jobs_phase", f"phase IN ({_PHASES})")
        jobs.create_check_constraint("ck_jobs_finished", "(phase = 'finished') = (datefinished IS NOT NULL)")
        jobs.create_check_constraint("ck_jobs_wakes_up", "phase = 'finished' OR wake_at IS NOT NULL")
        jobs.alter_column("datecreated", existing_type=sa.DateTime(), nullable=False)
    _index("ux_jobs_live_agreement", ["agreementid"], _UNFINISHED, unique=True)
    _index("ux_jobs_idempotency_key", ["provider", "idempotency_key"], "idempotency_key IS NOT NULL", unique=True)
    _index("ix_jobs_wake", ["wake_at"], "wake_at IS NOT NULL")
    _index("ix_jobs_queued", ["namespace", "datecreated", "workflowid"], "phase = 'queued'")
    _index("ix_jobs_running", ["namespace"], "phase NOT IN ('queued', 'finished')")
    _index("ix_jobs_unfinished", ["datecreated", "workflowid"], _UNFINISHED)
    op.create_index("ix_jobs_owner", "jobs", ["owner", "datecreated", "workflowid"])
    op.create_index("ix_jobs_provider", "jobs", ["provider", "datecreated", "workflowid"])
    op.create_index("ix_jobs_created", "jobs", ["datecreated", "workflowid"])


def _index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, "jobs", columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
