"""Checks answers by the schema of a version of TES, strictly: no field but those of the schema, each of its type."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

STATES = ("QUEUED", "INITIALIZING", "RUNNING", "PAUSED", "COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED")
Fields = dict[str, Any]

_FILE: Fields = {"name": str, "description": str, "url": str, "path": str, "type": str}
_EXECUTOR: Fields = {
    **dict.fromkeys(("image", "workdir", "stdin", "stdout", "stderr"), str),
    "command": [str],
    "env": {str: str},
    "ignore_error": bool,
}
_RESOURCES: Fields = {"cpu_cores": int, "preemptible": bool, "ram_gb": float, "disk_gb": float, "zones": [str]}
_RESOURCES |= {"backend_parameters": {str: str}, "backend_parameters_strict": bool}
_EXECUTOR_LOG: Fields = {"exit_code": int, "start_time": datetime, "end_time": datetime}
_OUTPUT_LOG: Fields = {"url": str, "path": str, "size_bytes": str}


class Checker:
    """Checks the answers of one version. Each method returns what it has checked.

    Fields of 1.1 that a client has sent may be in answers to a client of 1.0.0, but no state of 1.1.
    """

    def __init__(self, version: str) -> None:
        self._states = (*STATES, "CANCELING", "PREEMPTED") if version == "1.1.0" else STATES
        self._input: Fields = {**_FILE, "streamable": bool}
        self._task: Fields = {
            **dict.fromkeys(("id", "name", "description"), str),
            "state": self._states,
            "outputs": [{**_FILE, "path_prefix": str}],
            "resources": _RESOURCES,
            "executors": [_EXECUTOR],
            "volumes": [str],
            "tags": {str: str},
            "creation_time": datetime,
        }

    def task(self, task: Any, view: str) -> Any:
        if view == "MINIMAL":
            _check(task, {"id": str, "state": self._states}, ("id", "state"))
            return task
        full = view == "FULL"
        executor = {**_EXECUTOR_LOG, **({"stdout": str, "stderr": str} if full else {})}
        log: Fields = {
            "logs": [executor],
            "metadata": {str: str},
            "start_time": datetime,
            "end_time": datetime,
            "outputs": [_OUTPUT_LOG],
            **({"system_logs": [str]} if full else {}),
        }
        inputs = [{**self._input, **({"content": str} if full else {})}]
        _check(task, {**self._task, "inputs": inputs, "logs": [log]}, ("id", "state", "executors", "logs"))
        assert len(task["logs"]) == 1
        for name in ("logs", "outputs"):
            assert name in task["logs"][0]
        assert all("exit_code" in each for each in task["logs"][0]["logs"])
        assert all({"url", "path", "size_bytes"} == set(each) for each in task["logs"][0]["outputs"])
        assert all(
            each["type"] in ("FILE", "DIRECTORY") for name in ("inputs", "outputs") for each in task.get(name, [])
        )
        return task

    def tasks(self, answer: Any, view: str) -> Any:
        assert set(answer) <= {"tasks", "next_page_token"}
        for task in answer["tasks"]:
            self.task(task, view)
        return answer

    def service_info(self, info: Any) -> Any:
        texts = ("id", "name", "description", "documentationUrl", "contactUrl", "environment", "version")
        fields: Fields = {
            **dict.fromkeys(texts, str),
            "type": {"group": str, "artifact": ("tes",), "version": str},
            "organization": {"name": str, "url": str},
            "createdAt": datetime,
            "updatedAt": datetime,
            "storage": [str],
            "tesResources_backend_parameters": [str],
        }
        _check(info, fields, ("id", "name", "type", "organization", "version"))
        assert re.match(r"https?://[^/]+", info["organization"]["url"])
        return info


def _check(value: Any, kind: Any, required: tuple[str, ...] = ()) -> None:
    """Compare with a kind: a type, the texts that are allowed, a list of one kind, or an object of kinds."""
    if isinstance(kind, tuple):
        assert value in kind, value
    elif isinstance(kind, list):
        assert isinstance(value, list), value
        for each in value:
            _check(each, kind[0])
    elif isinstance(kind, dict):
        assert isinstance(value, dict), value
        if str in kind:
            assert all(isinstance(each, str) for each in value.values()), value
            return
        assert set(value) <= set(kind), set(value) - set(kind)
        assert set(required) <= set(value), set(required) - set(value)
        for name, each in value.items():
            _check(each, kind[name])
    elif kind is datetime:
        assert datetime.fromisoformat(value).tzinfo is not None, value
    elif kind is float:
        assert type(value) in (int, float), value
    else:
        assert type(value) is kind, value
