"""What the database's errors mean; the same for every kind of database."""

from __future__ import annotations

from functions.store.ports import AgreementInUse, StoreUnavailable

# Named by the migrations, because a violation of either is an answer and not an error.
AGREEMENT_INDEX = "ux_jobs_live_agreement"
IDEMPOTENCY_INDEX = "ux_jobs_idempotency_key"


class RefusedStatement(Exception):
    """A mistake of ours: a statement that no retry can mend. Names the rule that it breaks, never the values."""


def taken(index: str) -> AgreementInUse:
    if index == AGREEMENT_INDEX:
        return AgreementInUse("an unfinished workflow has this agreementId already")
    return AgreementInUse("a workflow was submitted with this idempotency key already")


def outdated() -> StoreUnavailable:
    return StoreUnavailable("the database's schema is older than this program; run `sluice migrate`")
