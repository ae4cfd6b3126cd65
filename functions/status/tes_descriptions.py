"""Describes the routes of GA4GH TES for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from functions.api.http import Route
from functions.api.tes import routes
from functions.api.tes.list_query import MAX_PAGE, STATES
from functions.api.tes.task_view import View
from functions.status.route_description import Operation
from functions.workflow.tes_task import Executor, Input, Output, Resources, TesTask

State = Literal[
    "QUEUED", "INITIALIZING", "RUNNING", "COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELING", "CANCELED"
]


class ServiceType(TypedDict):
    """The kind of service, as GA4GH's service-info tells it."""

    group: str
    artifact: Literal["tes"]
    version: str


class Organization(TypedDict):
    """Who runs the service."""

    name: str
    url: str


class ServiceInfo(TypedDict):
    """The service. `storage`: URL prefixes that outputs may go to."""

    id: str
    name: str
    type: ServiceType
    organization: Organization
    version: str
    storage: list[str]
    tesResources_backend_parameters: list[str]
    contactUrl: NotRequired[str]


class CreateTaskResponse(TypedDict):
    """The id of the new task."""

    id: str


class CancelTaskResponse(TypedDict):
    """An object without fields."""


class ExecutorLog(TypedDict):
    """One executor that has run, or is certain to run. `exit_code` is -1 until it is known."""

    exit_code: int
    start_time: NotRequired[str]
    end_time: NotRequired[str]
    stdout: NotRequired[str]
    stderr: NotRequired[str]


class OutputFileLog(TypedDict):
    """One file that was delivered. `size_bytes` is a decimal number in a string."""

    url: str
    path: str
    size_bytes: str


class TaskLog(TypedDict):
    """What has happened to the task. `system_logs` only in FULL."""

    logs: list[ExecutorLog]
    outputs: list[OutputFileLog]
    metadata: dict[str, str]
    start_time: NotRequired[str]
    end_time: NotRequired[str]
    system_logs: NotRequired[list[str]]


class Task(TypedDict):
    """A task: `id` and `state` in MINIMAL; in BASIC and FULL also what the client sent, and the logs."""

    id: str
    state: State
    name: NotRequired[str]
    description: NotRequired[str]
    inputs: NotRequired[list[Input]]
    outputs: NotRequired[list[Output]]
    resources: NotRequired[Resources]
    executors: NotRequired[list[Executor]]
    volumes: NotRequired[list[str]]
    tags: NotRequired[dict[str, str]]
    logs: NotRequired[list[TaskLog]]
    creation_time: NotRequired[str]


class ListTasksResponse(TypedDict):
    """One page of tasks. `next_page_token` is absent on the last page."""

    tasks: list[Task]
    next_page_token: NotRequired[str]


_ALWAYS = (401, 408, 413, 503)  # a body is read on every route

OPERATIONS: Mapping[Route, Operation] = {
    routes.SERVICE_INFO: Operation("Describe the service", ServiceInfo, (408, 413, 503)),
    routes.CREATE: Operation(
        "Create a task",
        CreateTaskResponse,
        (400, 403, 415, 422, *_ALWAYS),
        body=TesTask,
        headers=("Idempotency-Key",),
        token=True,
    ),
    routes.LIST: Operation(
        "List the caller's tasks that match all filters, newest first",
        ListTasksResponse,
        (400, *_ALWAYS),
        ("view", "name_prefix", "state", "tag_key", "tag_value", "page_size", "page_token"),
        token=True,
    ),
    routes.TASK: Operation("Show a task", Task, (400, 404, *_ALWAYS), ("view",), in_path=("id",), token=True),
    routes.CANCEL: Operation(
        "Cancel a task; one that has ended stays as it is",
        CancelTaskResponse,
        (404, *_ALWAYS),
        in_path=("id",),
        token=True,
    ),
}

_TEXTS = {"type": "array", "items": {"type": "string"}, "maxItems": 100}
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "view": {"type": "string", "enum": [view.value for view in View], "default": View.MINIMAL.value},
    "name_prefix": {"type": "string"},
    "state": {"type": "string", "enum": list(STATES)},
    "tag_key": _TEXTS,
    "tag_value": {**_TEXTS, "description": "Paired with `tag_key` by position; empty: any value"},
    "page_size": {"type": "integer", "minimum": 1, "default": 256, "description": f"{MAX_PAGE} at most"},
    "page_token": {"type": "string", "description": "`next_page_token` of the page before"},
}
