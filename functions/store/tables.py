"""The tables. `jobs`, `envs` and `nonces` are operator-service's, with columns beside theirs; the rest is new.

For queries only: tables are made by the migrations, and a test holds these definitions against what those make.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from functions.workflow.model import Phase

QUEUED, FINISHED = Phase.QUEUED.value, Phase.FINISHED.value
# Named, because a violation of either is an answer and not an error.
AGREEMENT_INDEX = "ux_jobs_live_agreement"
IDEMPOTENCY_INDEX = "ux_jobs_idempotency_key"


class Utc(sa.types.TypeDecorator[datetime]):
    """Aware UTC datetimes, stored without a zone as operator-service stores them."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


metadata = sa.MetaData()


def _name(column: str, **options: Any) -> sa.Column[str]:
    return sa.Column(column, sa.String(255), **options)


def _workflow(**options: Any) -> sa.Column[str]:
    """Rows that go when their workflow's row is deleted by hand."""
    return sa.Column("workflow", sa.String(255), sa.ForeignKey("jobs.workflowid", ondelete="CASCADE"), **options)


jobs = sa.Table(
    "jobs",
    metadata,
    # operator-service's
    _name("agreementid", nullable=False),
    _name("workflowid", nullable=False),
    _name("owner"),
    sa.Column("status", sa.Integer),
    _name("statustext"),
    sa.Column("laststatusupdate", Utc),
    sa.Column("datecreated", Utc, nullable=False),
    sa.Column("datefinished", Utc),
    sa.Column("configlogurl", sa.Text),
    sa.Column("publishlogurl", sa.Text),
    sa.Column("algologurl", sa.Text),
    sa.Column("outputsurl", sa.Text),
    sa.Column("ddo", sa.Text),
    _name("namespace"),
    sa.Column("stopreq", sa.SmallInteger),
    sa.Column("removed", sa.SmallInteger),
    sa.Column("workflow", sa.Text),
    _name("provider"),
    # ours; each has a default, so that a row which operator-service inserts is a queued workflow, due at once
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    _name("job_uid"),
    sa.Column("wake_at", Utc),
    sa.Column("deadline", Utc),
    sa.Column("terms", sa.Text, nullable=False),
    sa.Column("halt", sa.Text),
    sa.Column("ending", sa.Text),
    sa.Column("expired", sa.Boolean, nullable=False),
    sa.Column("reported", sa.Boolean, nullable=False),
    sa.Column("admin_files", sa.Text),
    _name("chain_id"),
    _name("idempotency_key"),
    _name("origin"),
)
running = jobs.c.phase.not_in((QUEUED, FINISHED))

sa.Index("uniq_agreementid_workflowid", jobs.c.agreementid, jobs.c.workflowid, unique=True)  # operator-service's
sa.Index("ux_jobs_workflowid", jobs.c.workflowid, unique=True)


def _partial(name: str, *columns: Any, where: Any, unique: bool = False) -> None:
    sa.Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)


# Locks: what may be there once.
_partial(AGREEMENT_INDEX, jobs.c.agreementid, where=jobs.c.datefinished.is_(None), unique=True)
_partial(
    IDEMPOTENCY_INDEX,
    jobs.c.provider,
    jobs.c.idempotency_key,
    where=jobs.c.idempotency_key.is_not(None),
    unique=True,
)
# The sweep, the queue and the slots: each index holds no more rows than its question is about.
_partial("ix_jobs_wake", jobs.c.wake_at, where=jobs.c.wake_at.is_not(None))
_partial("ix_jobs_queued", jobs.c.namespace, jobs.c.datecreated, jobs.c.workflowid, where=jobs.c.phase == QUEUED)
_partial("ix_jobs_running", jobs.c.namespace, where=running)
# The lists, newest first (read backwards).
sa.Index("ix_jobs_owner", jobs.c.owner, jobs.c.datecreated, jobs.c.workflowid)
sa.Index("ix_jobs_provider", jobs.c.provider, jobs.c.datecreated, jobs.c.workflowid)
sa.Index("ix_jobs_created", jobs.c.datecreated, jobs.c.workflowid)
_partial("ix_jobs_unfinished", jobs.c.datecreated, jobs.c.workflowid, where=jobs.c.datefinished.is_(None))

envs = sa.Table(
    "envs",
    metadata,
    _name("namespace", nullable=False),
    sa.Column("status", sa.Text),
    sa.Column("lastping", Utc),
)
sa.Index("unique_namespace", envs.c.namespace, unique=True)

nonces = sa.Table(
    "nonces",
    metadata,
    _name("provider", nullable=False),
    _name("nonce"),  # as operator-service reads it: 19 digits
    sa.Column("nanoseconds", sa.BigInteger, nullable=False),
)
sa.Index("ux_nonces_provider", nonces.c.provider, unique=True)

stage_attempts = sa.Table(
    "stage_attempts",
    metadata,
    _workflow(primary_key=True),
    sa.Column("stage", sa.String(16), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("created_at", Utc, nullable=False),
    _name("job_uid"),
    sa.Column("ended_at", Utc),
    sa.Column("outcome", sa.String(16)),
    sa.Column("exit_code", sa.Integer),
    sa.Column("reason", sa.Text),
)

history = sa.Table(
    "history",
    metadata,
    _workflow(primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("before", sa.String(16), nullable=False),
    sa.Column("after", sa.String(16), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
)

# The outbox: effects that were decided and are not yet known to be carried out. `emit` goes to the outside,
# the rest to the cluster and the storage.
intents = sa.Table(
    "intents",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    _workflow(nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("stage", sa.String(16)),
    sa.Column("attempt", sa.Integer),
    sa.Column("event", sa.String(32)),
    sa.Column("due_at", Utc, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)
outgoing = intents.c.kind == "emit"
sa.Index("ix_intents_workflow", intents.c.workflow)
_partial("ix_intents_due", intents.c.due_at, where=~outgoing)
_partial("ix_intents_outgoing", intents.c.due_at, where=outgoing)

# One row per environment, locked while its slots are counted.
slots = sa.Table("slots", metadata, _name("environment", primary_key=True))

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
)
sa.Index("ix_dead_letters_at", dead_letters.c.at)
