"""Reads operator-service's parameters: required names, filters, pages, and the text that a Provider signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from functions.api.auth.signature import signed_message
from functions.api.http import HttpError
from functions.store.values import Query

PAGE = 1000  # the most jobs in one answer, and the default
_MAX_OFFSET = 10**9


def require(params: Mapping[str, Any], names: Sequence[str], route: str) -> None:
    """Raise HttpError for the first missing name, in operator-service's words."""
    if not params:
        raise HttpError(400, "payload seems empty.")
    for name in names:
        if name not in params:
            raise HttpError(400, f'"{name}" is required in the call to {route}')


def filter_value(params: Mapping[str, Any], name: str) -> str | None:
    """Return a filter's value; None where it is missing or, as in operator-service, shorter than 2 characters."""
    value = params.get(name)
    text = "" if value is None else str(value)
    return text if len(text) >= 2 else None


def message(params: Mapping[str, Any]) -> str:
    """Return what the Provider signs for this request, without the nonce."""
    return signed_message(params.get("owner"), filter_value(params, "jobId"))


def chain_id(params: Mapping[str, Any]) -> Any:
    """Return the chain as it was sent, in either spelling; None if there is none."""
    value = params.get("chainId", params.get("chain_id"))
    return None if value == "" else value


def query(params: Mapping[str, Any], *, unfinished: bool = False) -> Query:
    """Return the request's filters, all of which must match, and its page. Raises HttpError."""
    chain = chain_id(params)
    return Query(
        agreement_id=filter_value(params, "agreementId"),
        workflow=filter_value(params, "jobId"),
        owner=filter_value(params, "owner"),
        chain_id=None if chain is None else str(chain),
        unfinished=unfinished,
        limit=min(_count(params, "limit", PAGE), PAGE),
        offset=_count(params, "offset", 0),
    )


def _count(params: Mapping[str, Any], name: str, default: int) -> int:
    text = str(params.get(name, default))
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _MAX_OFFSET:
        raise HttpError(400, f"`{name}` must be a whole number from 0 to {_MAX_OFFSET}")
    return int(text)
