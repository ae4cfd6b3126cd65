"""The scope of a freeze: everything, an environment, or a data set. Pure.

A scope is spelled `all`, `environment:<id>`, or `data:<DID or URL prefix>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from functions.trust import canonical, chain
from functions.trust.policy import Names, covers_data

ALL = "all"
LONGEST = 512  # characters
ENVIRONMENT, DATA = "environment:", "data:"


class ScopeInvalid(ValueError):
    """The text is not the scope of a freeze."""


def check_scope(scope: str) -> str:
    """Return the scope. Raises ScopeInvalid, which says how a scope is spelled."""
    named = any(scope.startswith(kind) and scope != kind for kind in (ENVIRONMENT, DATA))
    if (scope != ALL and not named) or len(scope) > LONGEST:
        what = "expected `all`, `environment:` and its id, or `data:` and a DID or a URL prefix"
        raise ScopeInvalid(f"{what}, {LONGEST} characters at most")
    return scope


def leaf(scope: str, at: datetime, is_frozen: bool) -> str:
    """Return the leaf of a freeze, or of its end, in the log: a digest of what its CloudEvent says."""
    return canonical.digest({"v": 1, "scope": scope, "at": chain.spell_time(at), "frozen": is_frozen})


def is_frozen(scopes: Iterable[str], environment: str, data: Sequence[Names]) -> bool:
    """Whether one of the scopes covers a workflow of this environment and these data sets."""
    return any(_covers(scope, environment, data) for scope in scopes)


def _covers(scope: str, environment: str, data: Sequence[Names]) -> bool:
    if scope.startswith(DATA):
        return any(covers_data(scope.removeprefix(DATA), name) for names in data for name in names)
    return scope in (ALL, f"{ENVIRONMENT}{environment}")
