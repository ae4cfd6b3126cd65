"""Which rows of `jobs` a query finds, and in which pages they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from functions.ethereum import comparable
from functions.store.driver import Row
from functions.store.values import Query

NEWEST_FIRST = "ORDER BY datecreated DESC, workflowid DESC"
SIZES = """
    workflowid, coalesce(octet_length(workflow), 0) + coalesce(octet_length(outputsurl), 0)
    + coalesce(octet_length(admin_files), 0) AS bytes
"""


def select(columns: str, query: Query) -> tuple[str, Mapping[str, Any]]:
    """The statement that finds what `query` asks for, and its parameters."""
    asked = {
        "agreement_key": None if query.agreement_id is None else comparable(query.agreement_id),
        "workflowid": query.workflow,
        "owner_key": None if query.owner is None else comparable(query.owner),
        "chain_id": query.chain_id,
    }
    given = {column: value for column, value in asked.items() if value is not None}
    conditions = [f"{column} = %({column})s" for column in given]
    if query.provider is not None:
        given["provider"] = query.provider
        conditions.append("(provider = %(provider)s OR adopted)")
    if query.unfinished:
        conditions.append("datefinished IS NULL")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"""
        SELECT {columns} FROM jobs {where} {NEWEST_FIRST} LIMIT %(_limit)s OFFSET %(_offset)s
    """
    return statement, {**given, "_limit": query.limit, "_offset": query.offset}


def pages(sizes: Iterable[Row], max_bytes: int) -> Iterator[Sequence[str]]:
    """Group ids, in their order, into pages of one id or of at most `max_bytes`."""
    page: list[str] = []
    left = max_bytes
    for row in sizes:
        if page and row["bytes"] > left:
            yield page
            page, left = [], max_bytes
        page.append(row["workflowid"])
        left -= row["bytes"]
    if page:
        yield page
