"""Sluice's columns of `jobs`, its own tables, and the adoption of the rows that operator-service left.

Every new column of `jobs` has a default, so that operator-service's own INSERT still works. Such a row is a queued
workflow, which the next sweep finds.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

import sqlalchemy as sa
from alembic import op
from msgspec.structs import replace

from functions.store import history_rows
from functions.trust import canonical, chain
from functions.workflow.decision import HistoryEntry
from functions.workflow.model import Phase, WorkflowId

revision = "0002"
down_revision = "0001"

ALGORITHM_FAILED = 41  # Ocean's status
_PHASE_OF = {20: "configure", 30: "configure", 40: "algorithm", 50: "filter", 60: "publish"}  # any other: queued
_PHASES = "'queued', 'configure', 'algorithm', 'filter', 'check', 'publish', 'held', 'release', 'finished'"
_TAKES_A_SLOT = "phase NOT IN ('queued', 'held', 'release', 'finished')"
_UNFINISHED = "datefinished IS NULL"
_NONCE_UNITS = ((11, 10**9), (14, 10**6), (17, 10**3))  # below 10^n: nanoseconds in one unit
_LARGEST_NONCE = 2**63 - 1
# What operator-service records of a job.
_ADOPTED = (
    *("agreementid", "workflowid", "owner", "status", "statustext", "datecreated", "datefinished", "workflow"),
    *("namespace", "provider", "stopreq", "removed", "outputsurl"),
)


def upgrade() -> None:
    _add_columns()
    _create_attempts_and_history()
    _adopt_jobs()
    _constrain_jobs()
    _index_jobs()
    _adopt_nonces()
    _create_outbox()
    _create_holds()
    _create_tes_tasks()
    _create_log()
    _create_checkpoints()
    _protect_history()


# --- jobs -----------------------------------------------------------------------------------


def _add_columns() -> None:
    columns: list[sa.Column[object]] = [
        sa.Column("phase", sa.String(16), nullable=False, server_default="queued"),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("executor", sa.Integer, nullable=False, server_default="0"),
        sa.Column("ran_seconds", sa.Integer, nullable=False, server_default="0"),
        sa.Column("job_uid", sa.String(255)),
        sa.Column("job_created_at", sa.DateTime),
        sa.Column("waiting", sa.Text),
        sa.Column("runs_since", sa.DateTime),
        sa.Column("wake_at", sa.DateTime, server_default="1970-01-01 00:00:00.000000"),
        sa.Column("deadline", sa.DateTime),
        sa.Column("limits", sa.Text, nullable=False, server_default="{}"),
        sa.Column("halt", sa.Text),
        sa.Column("ending", sa.Text),
        sa.Column("expired", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("reported", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("admin_files", sa.Text),
        sa.Column("warnings", sa.Text),
        sa.Column("chain_id", sa.String(255)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("origin", sa.String(255)),
        sa.Column("adopted", sa.Boolean, nullable=False, server_default=sa.true()),  # Sluice's own INSERT says false
        sa.Column("findings", sa.String(8), nullable=False, server_default=""),
        sa.Column("held_until", sa.DateTime),
        sa.Column("head", sa.String(64), nullable=False, server_default=""),
        sa.Column("policy", sa.Text),
        sa.Column("traceparent", sa.String(55), nullable=False, server_default=""),
        sa.Column("dialect", sa.String(16), nullable=False, server_default="ocean"),
        sa.Column("salt", sa.String(64), nullable=False, server_default=""),
        sa.Column("evidence", sa.Text),
        sa.Column("logged_step", sa.Integer, nullable=False, server_default="0"),
    ]
    for column in columns:
        op.add_column("jobs", column)
    op.create_index("ux_jobs_workflowid", "jobs", ["workflowid"], unique=True)


def _constrain_jobs() -> None:
    with op.batch_alter_table("jobs") as jobs:  # SQLite can do this only by copying the table
        for name in ("agreement", "owner"):
            column = "agreementid" if name == "agreement" else "owner"
            jobs.add_column(sa.Column(f"{name}_key", sa.Text, sa.Computed(_comparable(column), persisted=True)))
        jobs.create_check_constraint("ck_jobs_phase", f"phase IN ({_PHASES})")
        jobs.create_check_constraint("ck_jobs_finished", "(phase = 'finished') = (datefinished IS NOT NULL)")
        jobs.create_check_constraint("ck_jobs_wakes_up", "phase = 'finished' OR wake_at IS NOT NULL")
        jobs.alter_column("datecreated", existing_type=sa.DateTime(), nullable=False)


def _comparable(column: str) -> str:
    """What functions.ethereum.comparable computes, in SQL. A test compares the two."""
    text, digits = f"lower({column})", "'0123456789abcdef'"
    bare = f"length({column}) IN (40, 64) AND trim({text}, {digits}) = ''"
    prefixed = f"length({column}) IN (42, 66) AND {text} LIKE '0x%' AND trim(substr({text}, 3), {digits}) = ''"
    return f"CASE WHEN {bare} THEN {text} WHEN {prefixed} THEN substr({text}, 3) ELSE {column} END"


def _index_jobs() -> None:
    """One index for each question that is asked again and again, and for what may be there only once."""
    _index("ux_jobs_live_agreement", "jobs", ["agreement_key"], _UNFINISHED, unique=True)
    _index(
        "ux_jobs_idempotency_key", "jobs", ["provider", "idempotency_key"], "idempotency_key IS NOT NULL", unique=True
    )
    _index("ix_jobs_wake", "jobs", ["wake_at"], "wake_at IS NOT NULL")
    _index("ix_jobs_queued", "jobs", ["namespace", "datecreated", "workflowid"], "phase = 'queued'")
    _index("ix_jobs_running", "jobs", ["namespace"], _TAKES_A_SLOT)
    _index("ix_jobs_held", "jobs", ["held_until"], "phase = 'held'")
    _index("ix_jobs_unlogged", "jobs", ["workflowid"], "step > logged_step")
    _index("ix_jobs_unfinished", "jobs", ["datecreated", "workflowid"], _UNFINISHED)
    _index(
        "ix_jobs_unsuccessful",
        "jobs",
        ["datecreated", "workflowid"],
        "phase = 'finished' AND (status <> 70 OR stopreq <> 0)",
    )
    _index("ix_jobs_dialect", "jobs", ["dialect", "datecreated", "workflowid"], "dialect <> 'ocean'")
    _index("ix_jobs_origin", "jobs", ["datecreated", "workflowid"], "origin IS NOT NULL")
    op.create_index("ix_jobs_environment", "jobs", ["namespace", "datecreated", "workflowid"])
    op.create_index("ix_jobs_agreement", "jobs", ["agreement_key", "datecreated", "workflowid"])
    op.create_index("ix_jobs_owner", "jobs", ["owner_key", "datecreated", "workflowid"])
    op.create_index("ix_jobs_created", "jobs", ["datecreated", "workflowid"])


def _index(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


# --- tables of our own ----------------------------------------------------------------------


def _workflow(*, primary_key: bool) -> sa.Column[str]:
    job = sa.ForeignKey("jobs.workflowid", ondelete="CASCADE")
    return sa.Column("workflow", sa.String(255), job, primary_key=primary_key, nullable=not primary_key)


def _create_attempts_and_history() -> None:
    op.create_table(
        "stage_attempts",
        _workflow(primary_key=True),
        sa.Column("stage", sa.String(16), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("executor", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("job_uid", sa.String(255)),
        sa.Column("started_at", sa.DateTime),  # of its container
        sa.Column("ended_at", sa.DateTime),
        sa.Column("outcome", sa.String(16)),
        sa.Column("exit_code", sa.Integer),
        sa.Column("reason", sa.Text),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="ck_stage_attempts_ended"),
    )
    op.create_table(
        "history",
        # Not a foreign key: the history stays when a row of `jobs` goes.
        sa.Column("workflow", sa.String(255), primary_key=True, nullable=False),
        sa.Column("step", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("facts", sa.Text),
        sa.Column("digest", sa.String(64), nullable=False, server_default=""),
    )


_POSTGRES_TRIGGERS = (
    """
    CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'lines of the history are never changed and never deleted'; END $$
    """,
    """
    CREATE TRIGGER history_lines_stay BEFORE UPDATE OR DELETE ON history
    FOR EACH ROW EXECUTE FUNCTION keep_history()
    """,
    """
    CREATE TRIGGER history_stays BEFORE TRUNCATE ON history
    FOR EACH STATEMENT EXECUTE FUNCTION keep_history()
    """,
)
_SQLITE_TRIGGERS = tuple(
    f"""
    CREATE TRIGGER history_lines_stay_on_{verb.lower()} BEFORE {verb} ON history
    BEGIN SELECT RAISE(ABORT, 'lines of the history are never changed and never deleted'); END
    """
    for verb in ("UPDATE", "DELETE")
)


def _protect_history() -> None:
    """Refuse every change of a line that is written."""
    is_postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _POSTGRES_TRIGGERS if is_postgres else _SQLITE_TRIGGERS:
        op.execute(" ".join(statement.split()))


def _create_log() -> None:
    """The log of all heads: its leaves, and the complete subtrees above them."""
    op.create_table(
        "log_leaves",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
        sa.Column("data", sa.String(64), nullable=False),
    )
    # In parts of 65,536 consecutive leaves: new leaves change only the newest part (functions/store/log_rows.py).
    parts = [sa.text("(position >> 16)"), sa.text("substr(data, 1, 16)")]
    op.create_index("ix_log_leaves_parts", "log_leaves", parts)
    _index("ix_log_leaves_no_heads", "log_leaves", ["data"], where="kind <> 'history'")
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )


def _create_checkpoints() -> None:
    """The signed checkpoints of the log, the leaves that wait for the next one, the copies, and the lock."""
    op.create_table(
        "log_checkpoints",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "log_waiting",  # leaves that the next sweep logs
        sa.Column("data", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(512), nullable=False),
    )
    op.create_table(
        "log_copies",  # which checkpoints archives and witnesses have, and what witnesses signed
        sa.Column("place", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("cosignatures", sa.Text, nullable=False),
    )
    op.create_index("ix_log_copies_size", "log_copies", ["size"])
    log = op.create_table(
        "log_size",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="ck_log_size_one_row"),
    )
    op.bulk_insert(log, [{"id": 1, "size": 0}])


def _create_holds() -> None:
    """Results that wait for a decision, the decisions, what is frozen, and what policies have counted."""
    op.create_table(
        "holds",
        _workflow(primary_key=True),
        sa.Column("identity", sa.Text),  # opens the quarantine; deleted before its files are
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("head", sa.String(64), nullable=False, server_default=""),
        sa.Column("manifest", sa.Text),
    )
    op.create_table(
        "decisions",
        _workflow(primary_key=True),
        sa.Column("by", sa.String(42), primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("text", sa.Text, nullable=False),  # as it was signed
        sa.Column("signature", sa.Text, nullable=False),
    )
    op.create_table(
        "freezes",
        sa.Column("scope", sa.String(512), primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "policy_runs",
        sa.Column("policy", sa.String(63), primary_key=True),
        sa.Column("owner", sa.String(255), primary_key=True),
        sa.Column("at", sa.DateTime, primary_key=True),
        sa.Column("workflow", sa.String(255), primary_key=True),
    )


def _create_tes_tasks() -> None:
    """What the lists of GA4GH TES filter by, and what only its tasks have. The task itself is in `jobs.workflow`."""
    beginning = sa.String(255, collation="C").with_variant(
        sa.String(255), "sqlite"
    )  # in bytewise order: a prefix is a range
    op.create_table(
        "tes_tasks",
        _workflow(primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_start", beginning, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),  # of the task, in bytes
        sa.Column("warnings", sa.Text),  # of its submission
        sa.Column("outputs", sa.Text),
        sa.Column("logs", sa.Text),
    )
    op.create_index("ix_tes_tasks_owner", "tes_tasks", ["owner", "created_at", "workflow"])
    op.create_index("ix_tes_tasks_created", "tes_tasks", ["created_at", "workflow"])
    op.create_index("ix_tes_tasks_state", "tes_tasks", ["state", "owner", "created_at", "workflow"])
    op.create_index("ix_tes_tasks_name", "tes_tasks", ["name_start", "owner"])
    op.create_table(
        "tes_tags",
        _workflow(primary_key=True),
        sa.Column("key", sa.String(32), primary_key=True),  # digests, because an index holds no long texts
        sa.Column("value", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    op.create_index("ix_tes_tags", "tes_tags", ["key", "value", "owner", "created_at", "workflow"])


def _create_tick() -> None:
    """The one row that says how often the tick comes: 0 never, 1 slow, 2 fast (functions/workflow/tick.py)."""
    tick = op.create_table(
        "tick",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("applied", sa.Integer, nullable=False),  # what the cluster was told last
        sa.CheckConstraint("id = 1", name="ck_tick_one_row"),
    )
    op.bulk_insert(tick, [{"id": 1, "level": 0, "applied": 0}])


def _create_outbox() -> None:
    """Effects that are decided and not yet carried out, the environments' locks, and events nobody could handle."""
    op.create_table(
        "intents",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        _workflow(primary_key=False),  # NULL: an event about a scope that was frozen or unfrozen
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16)),
        sa.Column("attempt", sa.Integer),
        sa.Column("executor", sa.Integer),
        sa.Column("event", sa.String(32)),
        sa.Column("scope", sa.String(512)),
        sa.Column("due_at", sa.DateTime, nullable=False),
        sa.Column("wake_at", sa.DateTime, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.CheckConstraint("kind <> 'emit' OR event IS NOT NULL", name="ck_intents_event"),
        sa.CheckConstraint("workflow IS NOT NULL OR (kind = 'emit' AND scope IS NOT NULL)", name="ck_intents_scope"),
        sa.CheckConstraint(
            "kind NOT IN ('create_job', 'delete_job') OR (stage IS NOT NULL AND attempt IS NOT NULL)",
            name="ck_intents_stage",
        ),
    )
    op.create_index("ix_intents_workflow", "intents", ["workflow"])
    _index("ix_intents_wake", "intents", ["wake_at"], "kind <> 'emit'")
    _index("ix_intents_outgoing", "intents", ["wake_at"], "kind = 'emit'")
    _create_tick()
    op.create_table("slots", sa.Column("environment", sa.String(255), primary_key=True))
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),  # in order of arrival
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
    )
    op.create_index("ix_dead_letters_at", "dead_letters", ["at"])
    op.create_index("ix_dead_letters_event", "dead_letters", ["event_id"])
    op.create_table(
        "used_nonces",
        sa.Column("nanoseconds", sa.BigInteger, primary_key=True, autoincrement=False),  # first: pruned by age
        sa.Column("provider", sa.String(255), primary_key=True),
    )


# --- adoption -------------------------------------------------------------------------------


def _adopt_jobs() -> None:
    """Finished jobs stay as they are. Unfinished ones end as lost: only operator-engine's memory knew what ran."""
    connection = op.get_bind()
    names = ("workflowid", "status", "statustext", "workflow", "phase", "step", "ending", "chain_id")
    times = ("datefinished", "datecreated", "wake_at")
    jobs = sa.table("jobs", *map(sa.column, names), *(sa.column(name, sa.DateTime) for name in times))
    now = datetime.now(UTC).replace(tzinfo=None)
    # A row without a date could neither be listed in order nor be waited for.
    connection.execute(sa.update(jobs).where(jobs.c.datecreated.is_(None)).values(datecreated=now))
    _record_adoptions(connection, now)
    connection.execute(
        sa.update(jobs)
        .where(jobs.c.datefinished.is_(None))
        .values(
            status=ALGORITHM_FAILED,
            statustext="Algorithm failed",
            datefinished=now,
            ending=json.dumps({"code": ALGORITHM_FAILED, "reason": "Lost"}),
        )
    )
    connection.execute(sa.update(jobs).values(phase="finished", wake_at=None))
    _fill_chain_ids(connection, jobs)


def _record_adoptions(connection: sa.Connection, now: datetime) -> None:
    """Write the first history line of each job, with the digest over all that operator-service has recorded of it."""
    found = connection.execute(sa.text("SELECT * FROM jobs")).mappings().all()
    lines = [_adoption(dict(row), now) for row in found]
    if not lines:
        return
    history = sa.table("history", *map(sa.column, lines[0]))
    connection.execute(sa.insert(history), lines)
    jobs = sa.table("jobs", *map(sa.column, ("workflowid", "step", "head")))
    update = sa.update(jobs).where(jobs.c.workflowid == sa.bindparam("workflow"))
    connection.execute(
        update.values(step=1, head=sa.bindparam("digest")),
        [{"workflow": line["workflow"], "digest": line["digest"]} for line in lines],
    )


def _adoption(row: dict[str, object], now: datetime) -> dict[str, object]:
    lost, status = row["datefinished"] is None, row["status"]
    code = status if isinstance(status, int) else 0
    before = {name: None if row.get(name) is None else str(row[name]) for name in _ADOPTED}
    entry = HistoryEntry(
        step=1,
        at=now.replace(tzinfo=UTC),
        before=Phase(_PHASE_OF.get(code, "queued")) if lost else Phase.FINISHED,
        after=Phase.FINISHED,
        status=ALGORITHM_FAILED if lost else code,
        event="lost" if lost else "adopted",
        reason="Lost" if lost else "",
        facts={"before": canonical.digest(before)},
    )
    job = WorkflowId(str(row["workflowid"]))
    digest = chain.digest(chain.line(job, entry, "migration", chain.genesis(job)))
    values = history_rows.history_values(job, replace(entry, digest=digest), "migration")
    return {**values, "at": now}


def _fill_chain_ids(connection: sa.Connection, jobs: sa.TableClause) -> None:
    """operator-service has the chain only in the document, where no index finds it."""
    found = connection.execute(sa.select(jobs.c.workflowid, jobs.c.workflow)).all()
    known = [{"id": id_, "chain": chain} for id_, document in found if (chain := _chain_id(document)) is not None]
    if known:
        update = sa.update(jobs).where(jobs.c.workflowid == sa.bindparam("id")).values(chain_id=sa.bindparam("chain"))
        connection.execute(update, known)


def _chain_id(document: str | None) -> str | None:
    try:
        chain = json.loads(document or "")["spec"]["metadata"]["chainId"]
        text = str(chain).encode().decode()  # raises on an unpaired surrogate
    except (ValueError, KeyError, TypeError):
        return None
    # No filter of a request can ask for a chain that the column cannot hold.
    return None if chain is None or len(text) > 255 or "\0" in text else text


def _adopt_nonces() -> None:
    """Keep one row per provider: its highest nonce, in nanoseconds. It and all below are refused.

    operator-service keeps texts of any unit in rows of any number.
    """
    connection = op.get_bind()
    op.add_column("nonces", sa.Column("nanoseconds", sa.BigInteger, nullable=False, server_default="0"))
    nonces = sa.table("nonces", *map(sa.column, ("provider", "nonce", "nanoseconds")))
    highest: dict[str, int] = {}
    for provider, nonce in connection.execute(sa.select(nonces.c.provider, nonces.c.nonce)):
        provider = provider.lower()  # as a recovered signer is spelled
        highest[provider] = max(highest.get(provider, 0), nanoseconds(nonce))
    connection.execute(sa.delete(nonces))
    if highest:
        rows = [{"provider": name, "nonce": str(value), "nanoseconds": value} for name, value in highest.items()]
        connection.execute(sa.insert(nonces), rows)
    op.create_index("ux_nonces_provider", "nonces", ["provider"], unique=True)


def nanoseconds(nonce: str | None) -> int:
    """The nonce, a time since 1970 in any unit, in nanoseconds. What is not a number counts as 0.

    Below 10^11 it is in seconds (with or without a fraction), below 10^14 in milliseconds, below 10^17 in
    microseconds, else in nanoseconds.
    """
    try:
        value = Decimal(nonce or "0")
    except InvalidOperation:
        return 0
    if not value.is_finite() or value < 0:
        return 0
    if value > _LARGEST_NONCE:  # of any size, such as 1e999999
        return _LARGEST_NONCE
    factor = next((factor for digits, factor in _NONCE_UNITS if value < 10**digits), 1)
    return min(int(value * factor), _LARGEST_NONCE)
