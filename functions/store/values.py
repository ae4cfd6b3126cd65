"""The values of the record's port: what is read from it and written to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from functions.workflow.decision import AttemptEnd, Effect
from functions.workflow.model import (
    Ending,
    FetchedFile,
    Findings,
    JobUid,
    Manifest,
    Phase,
    Record,
    Stage,
    Stop,
    Waiting,
    WorkflowId,
)
from functions.workflow.tick import TickLevel


class Intent(Struct, frozen=True):
    """An effect that was decided and is not known to be carried out."""

    id: int
    workflow: WorkflowId
    effect: Effect
    tries: int
    due_at: datetime  # do not carry it out earlier; a failed try does not move it
    frozen: bool = False  # something is frozen; `freezes` says what


class Outgoing(Struct, frozen=True):
    """An event that is not delivered yet: about a workflow, or about a scope that was frozen or unfrozen."""

    id: int
    workflow: WorkflowId  # empty if it is about a scope
    kind: str
    tries: int
    due_at: datetime
    scope: str = ""


class Attempt(Struct, frozen=True):
    """One attempt of one stage, as it is recorded."""

    stage: Stage
    attempt: int
    created_at: datetime
    job_uid: JobUid | None = None
    end: AttemptEnd | None = None
    executor: int = 0  # its number, from 0, in a TES task


class Evidence(Struct, frozen=True):
    """The evidence of a proof beside the history: the fetched files, and the report of the disclosure checks."""

    fetched: tuple[FetchedFile, ...] = ()
    report: str = ""


class LogLeaf(Struct, frozen=True):
    """One leaf of the log. `kind`: what `data`, 64 hex digits, is a digest of; `subject`: which one.

    `history`: the head of a workflow's history; `policy`: a version of a policy; `key`: a key that replaces another;
    `frozen`, `unfrozen`: a freeze of a scope, and its end.
    """

    kind: str
    subject: str
    data: str


class HoldKey(Struct, frozen=True):
    """The age key of one workflow's quarantine. `identity` opens it; empty once it is deleted."""

    identity: str
    recipient: str


class HeldResults(Struct, frozen=True):
    """Results that wait for a decision, or waited. `head`: of the history when the hold began."""

    workflow: WorkflowId
    head: str
    key: HoldKey
    manifest: Manifest


class StoredDecision(Struct, frozen=True):
    """A decision as it was signed."""

    by: str  # the signer's address
    at: datetime  # by our clock
    text: str
    signature: str


class Freeze(Struct, frozen=True):
    """Nothing of this scope is published, released or downloaded: `all`, `environment:<id>`, `data:<did or url>`."""

    scope: str
    at: datetime
    by: str
    reason: str


class Query(Struct, frozen=True):
    """The conditions on records to find. All that are given must hold. The newest records come first.

    Spellings of one transaction id or one address are equal; see functions.ethereum.comparable.
    """

    agreement_id: str | None = None
    workflow: str | None = None
    owner: str | None = None
    provider: str | None = None  # the jobs that it submitted, and those of operator-service, which knew no provider
    chain_id: str | None = None
    unfinished: bool = False
    limit: int = 1000
    offset: int = 0


class Listing(Struct, frozen=True):
    """The conditions on summaries to list. All that are given must hold. The newest come first."""

    state: str | None = None  # one of functions.store.listing.STATES
    dialect: str | None = None  # one of functions.store.listing.DIALECTS
    environment: str | None = None
    owner: str | None = None
    id_prefix: str | None = None
    before: tuple[datetime, str] | None = None  # only those that are older than this workflow: its time and its id
    limit: int = 50


class Summary(Struct, frozen=True):
    """A workflow in a list: its state without its document and its files."""

    id: WorkflowId
    environment: str
    owner: str
    provider: str
    origin: str | None
    dialect: str
    phase: Phase
    attempt: int
    status: int
    stop: Stop
    ending: Ending | None
    waiting: Waiting | None
    runs_since: datetime | None
    created_at: datetime
    finished_at: datetime | None
    held_until: datetime | None
    findings: Findings


class TaskQuery(Struct, frozen=True):
    """The conditions on GA4GH TES tasks to find. All that are given must hold. The newest tasks come first."""

    owner: str | None = None
    name_prefix: str = ""
    state: str | None = None
    tags: Mapping[str, str] = {}  # an empty value: any value of a key that is there
    after: tuple[datetime, str] | None = None  # creation and id of the last task of the page before
    limit: int = 256


class TaskEntry(Struct, frozen=True):
    """A task as lists show it. `size`: of the whole task with its logs, in bytes."""

    id: WorkflowId
    owner: str
    state: str
    created_at: datetime
    size: int


class StoredTask(Struct, frozen=True):
    """Everything that is known of a task."""

    state: str
    record: Record
    attempts: Sequence[Attempt]


class Tick(Struct, frozen=True):
    """The level of the tick that the record needs, and the level that the cluster was told last."""

    level: TickLevel
    applied: TickLevel


class Count(Struct, frozen=True):
    """How many rows of a kind there are, and the earliest of their times.

    `workflows` by environment and phase, since their submission; `holds` until their end; `effects` and `events` since
    they are due; `dead letters`; `freezes`; `tick`, where the number is its level.
    """

    kind: str
    number: int
    earliest: datetime | None = None
    environment: str = ""
    phase: str = ""


class Slots(Struct, frozen=True):
    """The use of an environment's slots."""

    taken: int  # workflows that run
    queued: bool  # whether others wait for a slot
