"""Read Kubernetes objects without trusting their shape.

A body may be forged or cut, so each function takes anything and none raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from functions.workflow.model import JobUid

Body = Mapping[str, Any]


def get_mapping(body: Any, *path: str) -> Body:
    """The mapping at `path`; empty where there is none."""
    for key in path:
        body = body.get(key) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}


def get_mappings(body: Body, key: str) -> list[Body]:
    """The mappings in the list at `key`."""
    value = body.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, Sequence) else []


def get_text(body: Body, key: str) -> str:
    """The string at `key`; empty where there is none."""
    value = body.get(key)
    return value if isinstance(value, str) else ""


def get_time(body: Body, key: str) -> datetime | None:
    """The timestamp at `key`, in UTC."""
    try:
        return datetime.fromisoformat(get_text(body, key)).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: a time zone that leaves the calendar
        return None


def name_of(body: Body) -> str:
    return get_text(get_mapping(body, "metadata"), "name")


def uid_of(body: Body) -> JobUid:
    return JobUid(get_text(get_mapping(body, "metadata"), "uid"))


def created_at(body: Body) -> datetime | None:
    return get_time(get_mapping(body, "metadata"), "creationTimestamp")


def controller_uid(pod: Body) -> JobUid | None:
    """The UID of the Job that controls a Pod."""
    for owner in get_mappings(get_mapping(pod, "metadata"), "ownerReferences"):
        if owner.get("kind") == "Job" and owner.get("controller") is True:
            return JobUid(get_text(owner, "uid"))
    return None


def is_being_deleted(body: Body) -> bool:
    return bool(get_mapping(body, "metadata").get("deletionTimestamp"))


def find_condition(body: Body, kind: str) -> Body:
    """The condition of that type, whatever its status; empty where there is none.

    Conditions come in any order: `Suspended` may stand before `Complete`.
    """
    for condition in get_mappings(get_mapping(body, "status"), "conditions"):
        if condition.get("type") == kind:
            return condition
    return {}


def true_condition(body: Body, kind: str) -> Body:
    """The condition of that type if its status is `"True"`; otherwise empty."""
    for condition in get_mappings(get_mapping(body, "status"), "conditions"):
        if condition.get("type") == kind and condition.get("status") == "True":
            return condition
    return {}
