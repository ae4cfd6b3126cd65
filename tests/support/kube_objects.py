"""The state of a small Kubernetes API, as faithful as the tests need, with faults on demand.

It knows UIDs, resourceVersions, `AlreadyExists`, label selectors, preconditions, owners (an object is deleted with its
owner), finalizers as deletionTimestamps, status as a subresource, and one Pod for each Job that is not suspended.
A test says what Jobs do: `pod_state`, `job_condition`, `finish`.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import msgspec
from support.kube_answers import (
    TOKEN,
    VERBS,
    Answer,
    Fault,
    Object,
    failed,
    group_of,
    not_found,
    ok,
    status_answer,
    target_of,
)

Key = tuple[str, str, str]  # plural, namespace, name


class KubeObjects:
    """The API server, its garbage collector and a Job controller in one."""

    def __init__(self, namespace: str = "demo", clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`namespace` is the one that a test means where it names none. `clock` gives the objects' times."""
        self.namespace = namespace
        self.clock = clock
        self.objects: dict[Key, Object] = {}
        self.logs: dict[str, bytes] = {}  # by the Pod's Job
        self.calls: Counter[tuple[str, str]] = Counter()  # (verb, resource) as RBAC names them
        self.rights: set[tuple[str, str, str]] = set()  # (verb, group, resource) that the calls needed
        self.created: Counter[str] = Counter()  # Jobs that were created, by name
        self.lingering = False  # a deleted object stays, with a deletionTimestamp, until `reap`
        self.chance: Callable[[str, str], Fault | None] = lambda verb, resource: None  # further faults, by chance
        self._faults: dict[tuple[str, str], list[Fault]] = {}
        self._version = 100
        self.lock = threading.RLock()

    # --- what a test decides --------------------------------------------------------------------

    def fail_next(self, verb: str, plural: str, *faults: Fault) -> None:
        """Give these faults to the next calls of that kind, one each."""
        with self.lock:
            self._faults.setdefault((verb, plural), []).extend(faults)

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None:
        with self.lock:
            found = self.objects.get((plural, namespace or self.namespace, name))
            return None if found is None else _copy(found)

    def names(self, plural: str) -> list[str]:
        with self.lock:
            return sorted(name for found, _, name in self.objects if found == plural)

    def put(self, plural: str, body: Object) -> Object:
        """Create an object as somebody else."""
        with self.lock:
            return self._add(plural, body["metadata"].setdefault("namespace", self.namespace), body)

    def pod_of(self, job: str) -> str:
        """The name of the newest Pod of a Job."""
        with self.lock:
            pods = [name for plural, where, name in self.objects if (plural, where) == ("pods", self.namespace)]
            return [name for name in pods if name.startswith(f"{job}-")][-1]

    def pod_state(self, job: str, state: Object, phase: str = "Running", **status: Any) -> str:
        """Set the state of the container of the Job's newest Pod; the Pod's name."""
        with self.lock:
            name = self.pod_of(job)
            pod = self.objects[("pods", self.namespace, name)]
            pod["status"] |= {"phase": phase, "containerStatuses": [{"name": "main", "state": state}], **status}
            self._touch(pod)
            return name

    def terminate(self, job: str, code: int, reason: str = "", message: str = "", phase: str = "Running") -> str:
        """End the Job's program. The Job does not know yet. The Pod's name."""
        ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
        return self.pod_state(job, {"terminated": ended}, phase)

    def job_condition(self, job: str, *conditions: tuple[str, str], message: str = "", **status: Any) -> None:
        """Give the Job these true conditions (type, reason) and fields of its status."""
        with self.lock:
            found = self.objects[("jobs", self.namespace, job)]
            added = [{"type": k, "status": "True", "reason": r, "message": message} for k, r in conditions]
            found["status"] = {"terminating": 0, "conditions": added, **status}
            self._touch(found)

    def finish(self, job: str, code: int = 0, reason: str = "", message: str = "") -> None:
        """End the Job's program, and let the Job say so."""
        self.terminate(job, code, reason, message, phase="Failed" if code else "Succeeded")
        if code:
            self.job_condition(job, ("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy"), failed=1)
        else:
            self.job_condition(job, ("SuccessCriteriaMet", "x"), ("Complete", "CompletionsReached"), succeeded=1)

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        """Remove the object and what it owns."""
        with self.lock:
            gone = self.objects.pop((plural, namespace or self.namespace, name), None)
            if gone is None:
                return
            for key in [key for key, other in self.objects.items() if _owned_by(other, gone)]:
                self.remove(key[0], key[2], key[1])

    def reap(self) -> None:
        """Remove what is being deleted."""
        with self.lock:
            for plural, namespace, name in [k for k, o in self.objects.items() if "deletionTimestamp" in o["metadata"]]:
                self.remove(plural, name, namespace)

    def start_pod(self, job: str, namespace: str = "") -> None:
        """Create a Pod for the Job, as the Job controller does."""
        namespace = namespace or self.namespace
        owner = self.objects[("jobs", namespace, job)]
        uid = owner["metadata"]["uid"]
        labels = owner["spec"].get("template", {}).get("metadata", {}).get("labels", {})
        known = {"batch.kubernetes.io/job-name": job, "batch.kubernetes.io/controller-uid": uid}
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": True}
        metadata = {
            "name": f"{job}-{uuid4().hex[:5]}",
            "labels": {**labels, **known},
            "ownerReferences": [reference],
        }
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": self.now()}
        status = {"phase": "Pending", "conditions": [scheduled]}
        self._add("pods", namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})
        owner["status"] |= {"active": 1, "terminating": 0}

    def now(self) -> str:
        return self.clock().isoformat(timespec="seconds").replace("+00:00", "Z")

    # --- the API --------------------------------------------------------------------------------

    def answer(self, method: str, url: str, authorization: str | None, body: bytes) -> Answer:
        """Carry out a call; `url` may be a path with its query."""
        assert authorization == f"Bearer {TOKEN}"
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        namespace, plural, name, sub = target_of(parts.path)
        verb = VERBS.get(method, "get" if name else "list")
        resource = f"{plural}/{sub}" if sub else plural
        self.rights.add((verb, group_of(parts.path), resource))
        fault = self._fault(verb, resource)
        if fault is not None and not fault.after:
            return failed(fault)
        if sub == "log":
            return Answer(200, self._log(namespace, name, query))
        do: dict[str, Callable[[], Answer]] = {
            "create": lambda: self._post(plural, namespace, json.loads(body)),
            "get": lambda: self._get(plural, namespace, name),
            "list": lambda: self._list(plural, namespace, query),
            "delete": lambda: self._delete(plural, namespace, name, json.loads(body or b"{}")),
            "patch": lambda: self._patch(plural, namespace, name, sub, json.loads(body)),
        }
        with self.lock:
            done = do[verb]()
        return done if fault is None else failed(fault)

    def _fault(self, verb: str, resource: str) -> Fault | None:
        with self.lock:
            self.calls[(verb, resource)] += 1
            planned = self._faults.get((verb, resource))
            return planned.pop(0) if planned else self.chance(verb, resource)

    def _post(self, plural: str, namespace: str, body: Object) -> Answer:
        name = body["metadata"]["name"]
        found = self.objects.get((plural, namespace, name))
        if found is None:
            return ok(self._add(plural, namespace, body), 201)
        deleting = "object is being deleted: " if "deletionTimestamp" in found["metadata"] else ""
        return status_answer(409, f'{deleting}{plural} "{name}" already exists', "AlreadyExists")

    def _get(self, plural: str, namespace: str, name: str) -> Answer:
        found = self.objects.get((plural, namespace, name))
        return ok(found) if found else not_found(plural, name)

    def _log(self, namespace: str, pod: str, query: dict[str, str]) -> bytes:
        with self.lock:
            job = self.objects[("pods", namespace, pod)]["metadata"]["labels"]["batch.kubernetes.io/job-name"]
            lines = self.logs.get(job, b"").splitlines(keepends=True)
            tail = lines[-int(query["tailLines"]) :] if "tailLines" in query else lines
            return b"".join(tail)[: int(query["limitBytes"]) if "limitBytes" in query else None]

    def has_ended(self, pod: str) -> bool:
        """Whether the Pod's container has ended, or the Pod is gone."""
        with self.lock:
            found = self.find("pods", pod)
            return found is None or found["status"]["phase"] in ("Succeeded", "Failed")

    def _list(self, plural: str, namespace: str, query: dict[str, str]) -> Answer:
        wanted = dict(term.split("=", 1) for term in query.get("labelSelector", "").split(",") if term)
        found = [
            body
            for (kind, where, _), body in sorted(self.objects.items())
            if (kind, where) == (plural, namespace) and wanted.items() <= body["metadata"].get("labels", {}).items()
        ]
        return ok({"items": found[: int(query.get("limit", 0)) or None]})

    def _delete(self, plural: str, namespace: str, name: str, options: Object) -> Answer:
        found = self.objects.get((plural, namespace, name))
        if found is None:
            return not_found(plural, name)
        uid = options.get("preconditions", {}).get("uid")
        if uid and uid != found["metadata"]["uid"]:
            return status_answer(409, f"Precondition failed: UID in precondition: {uid}, UID in object meta: another")
        if not (self.lingering and options.get("propagationPolicy") == "Foreground"):
            self.remove(plural, name, namespace)
            return ok(found)
        self._mark_deleted(found)
        for other in self.objects.values():
            if _owned_by(other, found):
                self._mark_deleted(other)
        return ok(found)

    def _patch(self, plural: str, namespace: str, name: str, sub: str, body: Object) -> Answer:
        found = self.objects.get((plural, namespace, name))
        if found is None:
            return not_found(plural, name)
        if sub == "status":
            _merge(found.setdefault("status", {}), body["status"])
        else:
            _merge(found, {key: value for key, value in body.items() if key != "status"})
        self._touch(found)
        return ok(found)

    # --- inside ---------------------------------------------------------------------------------

    def _add(self, plural: str, namespace: str, body: Object) -> Object:
        added = _copy(body)
        metadata = added["metadata"]
        metadata |= {"uid": str(uuid4()), "creationTimestamp": self.now(), "namespace": namespace}
        self._touch(added)
        self.objects[(plural, namespace, metadata["name"])] = added
        if plural == "jobs":
            added.setdefault("status", {})
            self.created[metadata["name"]] += 1
            if not added["spec"].get("suspend"):
                self.start_pod(metadata["name"], namespace)
        return added

    def _touch(self, body: Object) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)

    def _mark_deleted(self, body: Object) -> None:
        body["metadata"].setdefault("deletionTimestamp", self.now())
        self._touch(body)


def _owned_by(body: Object, owner: Object) -> bool:
    uid = owner["metadata"]["uid"]
    return any(reference["uid"] == uid for reference in body["metadata"].get("ownerReferences", []))


def _merge(into: Object, patch: Object) -> None:
    """Apply a JSON merge patch."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _copy(body: Object) -> Object:
    """A copy of a JSON object; deepcopy takes ten times as long."""
    return msgspec.json.decode(msgspec.json.encode(body), type=dict)
