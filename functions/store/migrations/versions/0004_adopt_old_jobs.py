"""Jobs of operator-service: the finished ones stay as they are, the unfinished ones end as lost.

operator-engine keeps in its memory what runs, so nobody can take an unfinished job over.
"""

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ALGORITHM_FAILED = 41
_PHASES = {20: "configure", 30: "configure", 40: "algorithm", 50: "filter", 60: "publish"}  # else: queued


def upgrade() -> None:
    connection = op.get_bind()
    jobs = sa.table(
        "jobs",
        *(
            sa.column(name)
            for name in ("workflowid", "status", "statustext", "workflow", "phase", "step", "ending", "chain_id")
        ),
        sa.column("datefinished", sa.DateTime),
        sa.column("datecreated", sa.DateTime),
        sa.column("wake_at", sa.DateTime),
    )
    history = sa.table(
        "history",
        *(
            sa.column(name)
            for name in ("workflow", "step", "before", "after", "status", "event", "reason", "attempt", "cause")
        ),
        sa.column("at", sa.DateTime),
    )
    now = datetime.now(UTC).replace(tzinfo=None)
    # A row without a date could neither be listed in order nor waited for.
    connection.execute(sa.update(jobs).where(jobs.c.datecreated.is_(None)).values(datecreated=now))
    unfinished = jobs.c.datefinished.is_(None)
    before = sa.case(_PHASES, value=jobs.c.status, else_="queued")
    lost = sa.select(
        jobs.c.workflowid,
        sa.literal(1),
        before,
        sa.literal("finished"),
        sa.literal(ALGORITHM_FAILED),
        sa.literal("lost"),
        sa.literal("Lost"),
        sa.literal(0),
        sa.literal("migration"),
        sa.literal(now, sa.DateTime),
    ).where(unfinished)
    connection.execute(sa.insert(history).from_select([column.name for column in history.c], lost))
    connection.execute(
        sa.update(jobs)
        .where(unfinished)
        .values(
            status=ALGORITHM_FAILED,
            statustext="Algorithm failed",
            datefinished=now,
            step=1,
            ending=json.dumps({"code": ALGORITHM_FAILED, "reason": "Lost"}),
        )
    )
    connection.execute(sa.update(jobs).values(phase="finished", wake_at=None))
    _fill_chain_ids(connection, jobs)


def _fill_chain_ids(connection: sa.Connection, jobs: sa.TableClause) -> None:
    """Stands in the document only, where no index can find it."""
    found = connection.execute(sa.select(jobs.c.workflowid, jobs.c.workflow)).all()
    known = [{"id": id_, "chain": chain} for id_, document in found if (chain := _chain_id(document)) is not None]
    if known:
        update = sa.update(jobs).where(jobs.c.workflowid == sa.bindparam("id")).values(chain_id=sa.bindparam("chain"))
        connection.execute(update, known)


def _chain_id(document: str | None) -> str | None:
    try:
        chain = json.loads(document or "")["spec"]["metadata"]["chainId"]
    except (ValueError, KeyError, TypeError):
        return None
    return None if chain is None else str(chain)
