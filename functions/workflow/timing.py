"""All timing policy: when a stage is checked again, how long it may wait and run, and when it is given up."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from functions.backoff import Backoff
from functions.workflow.model import Limits, Phase, Stage, Workflow
from functions.workflow.observation import StageStuck
from functions.workflow.tick import FAST_WITHIN, MEDIUM_PERIOD, MEDIUM_WITHIN, SLOW_PERIOD

# The shortest pause between two checks: less than a fast tick's period, so each fast tick checks. The sweep also leaves
# a new intent alone for this long, because the handler that decided it is about to carry it out.
CHECK_AFTER = timedelta(seconds=10)
# A running container is checked again after as long as it has run, and after this pause at the latest. A lost event can
# thus double the time of a stage, but not more. Less than a slow tick's period, so each slow tick checks.
LONGEST_PAUSE = SLOW_PERIOD - timedelta(seconds=30)
# How long before a deadline a workflow is checked, so that the tick becomes medium, and later fast. Each is longer than
# the period of the level below, so a tick of that level still comes in time.
MEDIUM_LEAD = SLOW_PERIOD + timedelta(minutes=1)
FAST_LEAD = MEDIUM_PERIOD + timedelta(seconds=30)
# The longest pauses that keep the tick medium, and fast.
MEDIUM_PAUSE = MEDIUM_WITHIN - timedelta(seconds=90)
FAST_PAUSE = FAST_WITHIN - timedelta(seconds=15)
# How long an image error that no further pull can change must last: a registry's first answer may be wrong.
DEFINITIVE_PATIENCE = timedelta(seconds=10)
# Added to the Job's own activeDeadlineSeconds: time for a late event.
DEADLINE_SLACK = timedelta(minutes=5)
# The pauses before further attempts of configure and publish. Attempts mostly fail because a storage, a registry or a
# node is down for a while. Five attempts take 22 minutes or more.
ATTEMPT_PAUSES = Backoff(first=10, factor=6, longest=900)
# Reasons for which a Pod does not start, and which often pass: a quota frees up, a node joins, a volume is attached.
SLOW_STARTS = frozenset({"NoPod", "Unschedulable", "FailedMount"})
# How long the deletion of a Job may take before its stage counts as over (a lost node never answers).
HALT_PATIENCE = timedelta(minutes=5)


def pause(limits: Limits, attempt: int) -> float:
    """The seconds before a further attempt of a stage: longer and longer, up to the last that `may_follow`."""
    return ATTEMPT_PAUSES.delay((attempt - 1) % limits.attempts)


def may_follow(limits: Limits, stage: Stage, attempt: int) -> bool:
    """Whether the limits allow an attempt after this one.

    The attempts of a release that is asked for again are numbered on, so they end at each multiple of the limit.
    """
    return attempt % limits.attempts != 0 if stage is Stage.RELEASE else attempt < limits.attempts


def patience(limits: Limits, stuck: StageStuck) -> timedelta:
    """The time that a Pod may wait for that reason."""
    longest = timedelta(seconds=limits.start_seconds if stuck.reason in SLOW_STARTS else limits.stuck_seconds)
    return min(longest, DEFINITIVE_PATIENCE) if stuck.definitive else longest


def queue_deadline(w: Workflow) -> datetime:
    """When a workflow has waited for a slot, or for a queueing system, for too long."""
    return w.created_at + timedelta(seconds=w.limits.queue_seconds)


def creation_deadline(limits: Limits, due_at: datetime) -> datetime:
    """When the creation of a Job that was due at `due_at` is given up."""
    return due_at + timedelta(seconds=limits.queue_seconds)


def read_deadline(w: Workflow) -> datetime | None:
    """When a Job that cannot be read is given up. An outage must not fail a stage that runs well."""
    return w.deadline and w.deadline + timedelta(seconds=w.limits.queue_seconds)


def remaining(w: Workflow) -> Limits:
    """The limits of the current stage. The time of the algorithm stage counts for all its executors together."""
    return replace(w.limits, algorithm_seconds=max(1, w.limits.algorithm_seconds - w.ran_seconds))


def stage_seconds(limits: Limits, stage: Stage) -> int:
    """The time that the container of a stage may run."""
    return limits.algorithm_seconds if stage is Stage.ALGORITHM else limits.stage_seconds


def job_seconds(limits: Limits, stage: Stage) -> int:
    """The time that the Job may exist. Its clock includes the wait of its Pod; the stage's does not."""
    return limits.start_seconds + stage_seconds(limits, stage)


def stage_deadline(limits: Limits, stage: Stage, start: datetime) -> datetime:
    """When a stage that starts at `start` has taken too long, even if its Job's own deadline was never announced."""
    return start + timedelta(seconds=job_seconds(limits, stage)) + DEADLINE_SLACK


def due_at(w: Workflow) -> datetime | None:
    """When the current wait is over. While a Job is not created (quota, outage), its creation's deadline counts."""
    if w.deadline is None or not _uncreated(w):
        return w.deadline
    return creation_deadline(w.limits, w.deadline)


def results_expiry(limits: Limits, finished_at: datetime) -> datetime | None:
    """When the results are removed; None if they are kept for ever."""
    return finished_at + timedelta(seconds=limits.storage_expiry) if limits.storage_expiry else None


def next_check(w: Workflow, now: datetime) -> datetime | None:
    """When a sweep must check an unfinished workflow again, if nothing happens before."""
    end = due_at(w)
    if end is None:
        return now + CHECK_AFTER
    if w.phase in (Phase.QUEUED, Phase.HELD):
        return check_before(end, end - now, now)
    if w.stage is not None and w.deadline is not None and _uncreated(w):
        decided = w.deadline - DEADLINE_SLACK - timedelta(seconds=job_seconds(remaining(w), w.stage))
        return check_waiting(decided, end, now)
    if w.runs_since is not None and w.halt is None:
        return check_waiting(w.runs_since, end, now)
    return min(now + CHECK_AFTER, end)


def check_waiting(since: datetime, end: datetime, now: datetime) -> datetime:
    """When to check again something that lasts since `since` and may last until `end`: after a pause that grows."""
    return check_before(end, min(max(now - since, CHECK_AFTER), LONGEST_PAUSE), now)


def check_before(end: datetime, pause: timedelta, now: datetime) -> datetime:
    """The time after `pause`, but never after `end`, and early enough for the tick to be fast at `end`."""
    if now < end - MEDIUM_LEAD:
        return min(now + pause, end - MEDIUM_LEAD)
    if now < end - FAST_LEAD:
        return min(now + min(pause, MEDIUM_PAUSE), end - FAST_LEAD)
    return min(now + min(pause, FAST_PAUSE), end)


def _uncreated(w: Workflow) -> bool:
    return w.stage is not None and w.halt is None and w.job_uid is None
