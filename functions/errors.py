"""Errors that several layers share."""

from __future__ import annotations


class Unavailable(Exception):
    """A part cannot answer now (down, too slow, throttling); try again after `retry_after` seconds.

    The store, the cluster and the storage each have a subclass. The message is for operators: it may name hosts.
    """

    def __init__(self, message: str = "", retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BudgetUsedUp(Exception):
    """A policy allows no further workflow of this owner for now. The message names the policy."""
