"""A small Kubernetes API over real HTTP on loopback: as stateful as the tests need, with faults on demand.

What it keeps to: UIDs, resourceVersions, 409, label selectors, preconditions, owners (with them goes what they own),
finalizers as deletionTimestamps, status as a subresource, one Pod for each Job that is not suspended.
What Jobs do is said by the tests: `pod_state`, `job_condition`, `finish`.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

Object = dict[str, Any]
Key = tuple[str, str, str]  # plural, namespace, name


@dataclass
class Fault:
    """What one call gets instead of its answer. `after`: it is carried out all the same."""

    status: int = 500  # 0: the connection is cut; -1: no answer until `FakeKube.close`
    message: str = "fault"
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False


class FakeKube:
    """The API server, its garbage collector and a Job controller in one."""

    def __init__(self, tls: Path | None = None, namespace: str = "demo") -> None:
        """`tls`: a folder with kube-api-cert.pem and kube-api-key.pem (127.0.0.1), to be served with.

        `namespace` is the one that tests mean where they name none.
        """
        self.namespace = namespace
        self.objects: dict[Key, Object] = {}
        self.logs: dict[str, bytes] = {}  # by the Pod's Job
        self.calls: Counter[tuple[str, str]] = Counter()  # (verb, resource) as RBAC names them
        self.rights: set[tuple[str, str, str]] = set()  # (verb, group, resource): what the calls needed
        self.created: Counter[str] = Counter()  # Jobs that came to be, by name
        self.lingering = False  # what is deleted stays, with a deletionTimestamp, until `reap`
        self._faults: dict[tuple[str, str], list[Fault]] = {}
        self._version = 100
        self._lock = threading.RLock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "kube-api-cert.pem", tls / "kube-api-key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kubeconfig(self, folder: Path) -> str:
        """A kubeconfig for this server, written below `folder`."""
        path = folder / "kubeconfig"
        cluster = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
        user = {"name": "fake", "user": {"token": "not-a-secret"}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "fake"}
        path.write_text(json.dumps({**config, "clusters": [cluster], "contexts": [context], "users": [user]}))
        return str(path)

    # --- what tests say -------------------------------------------------------------------------

    def fail_next(self, verb: str, plural: str, *faults: Fault) -> None:
        """The next calls of that kind get these faults, one each."""
        with self._lock:
            self._faults.setdefault((verb, plural), []).extend(faults)

    def find(self, plural: str, name: str, namespace: str = "") -> Object | None:
        with self._lock:
            return deepcopy(self.objects.get((plural, namespace or self.namespace, name)))

    def names(self, plural: str) -> list[str]:
        with self._lock:
            return sorted(name for found, _, name in self.objects if found == plural)

    def put(self, plural: str, body: Object) -> Object:
        """Somebody else creates an object."""
        with self._lock:
            return self._add(plural, body["metadata"].setdefault("namespace", self.namespace), body)

    def pod_of(self, job: str) -> str:
        """The name of the newest Pod of a Job."""
        place = ("pods", self.namespace)
        with self._lock:
            return [n for p, ns, n in self.objects if (p, ns) == place and n.startswith(f"{job}-")][-1]

    def pod_state(self, job: str, state: Object, phase: str = "Running", **status: Any) -> str:
        """Set the state of the container of the Job's Pod; returns the Pod's name."""
        with self._lock:
            name = self.pod_of(job)
            pod = self.objects[("pods", self.namespace, name)]
            pod["status"] |= {"phase": phase, "containerStatuses": [{"name": "main", "state": state}], **status}
            self._touch(pod)
            return name

    def terminate(self, job: str, code: int, reason: str = "", message: str = "", phase: str = "Running") -> str:
        """The Job's program ends; the Job does not know yet."""
        ended = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message}
        return self.pod_state(job, {"terminated": ended}, phase)

    def job_condition(self, job: str, *conditions: tuple[str, str], message: str = "", **status: Any) -> None:
        with self._lock:
            found = self.objects[("jobs", self.namespace, job)]
            added = [{"type": k, "status": "True", "reason": r, "message": message} for k, r in conditions]
            found["status"] = {"terminating": 0, "conditions": added, **status}
            self._touch(found)

    def finish(self, job: str, code: int = 0, reason: str = "", message: str = "") -> None:
        """The Job's program ends, and the Job says so."""
        self.terminate(job, code, reason, message, phase="Failed" if code else "Succeeded")
        if code:
            self.job_condition(job, ("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy"), failed=1)
        else:
            self.job_condition(job, ("SuccessCriteriaMet", "x"), ("Complete", "CompletionsReached"), succeeded=1)

    def remove(self, plural: str, name: str, namespace: str = "") -> None:
        """The object is gone, and what it owns."""
        with self._lock:
            gone = self.objects.pop((plural, namespace or self.namespace, name), None)
            if gone is None:
                return
            uid = gone["metadata"]["uid"]
            for key, other in list(self.objects.items()):
                if any(o["uid"] == uid for o in other["metadata"].get("ownerReferences", [])):
                    self.remove(key[0], key[2], key[1])

    def reap(self) -> None:
        """What was being deleted is gone."""
        with self._lock:
            for plural, namespace, name in [k for k, o in self.objects.items() if "deletionTimestamp" in o["metadata"]]:
                self.remove(plural, name, namespace)

    # --- the API --------------------------------------------------------------------------------

    def fault(self, verb: str, plural: str) -> Fault | None:
        with self._lock:
            self.calls[(verb, plural)] += 1
            planned = self._faults.get((verb, plural))
            return planned.pop(0) if planned else None

    def post(self, plural: str, namespace: str, body: Object) -> tuple[int, Object]:
        with self._lock:
            held = self.objects.get((plural, namespace, body["metadata"]["name"]))
            if held is not None:
                deleting = "object is being deleted: " if "deletionTimestamp" in held["metadata"] else ""
                return 409, _status(409, f"{deleting}{plural} {body['metadata']['name']!r} already exists")
            return 201, self._add(plural, namespace, body)

    def get(self, plural: str, namespace: str, name: str) -> tuple[int, Object]:
        with self._lock:
            found = self.objects.get((plural, namespace, name))
            return (200, found) if found else (404, _status(404, f"{plural} {name!r} not found"))

    def log(self, namespace: str, pod: str, query: dict[str, str]) -> bytes:
        with self._lock:
            job = self.objects[("pods", namespace, pod)]["metadata"]["labels"]["batch.kubernetes.io/job-name"]
            lines = self.logs.get(job, b"").splitlines(keepends=True)
            tail = lines[-int(query["tailLines"]) :] if "tailLines" in query else lines
            return b"".join(tail)[: int(query["limitBytes"])]

    def list(self, plural: str, namespace: str, query: dict[str, str]) -> tuple[int, Object]:
        wanted = dict(term.split("=", 1) for term in query.get("labelSelector", "").split(",") if term)
        with self._lock:
            found = [
                body
                for (kind, where, _), body in sorted(self.objects.items())
                if (kind, where) == (plural, namespace) and wanted.items() <= body["metadata"].get("labels", {}).items()
            ]
        return 200, {"items": found[: int(query.get("limit", 0)) or None]}

    def delete(self, plural: str, namespace: str, name: str, options: Object) -> tuple[int, Object]:
        with self._lock:
            found = self.objects.get((plural, namespace, name))
            if found is None:
                return 404, _status(404, f"{plural} {name!r} not found")
            uid = options.get("preconditions", {}).get("uid")
            if uid and uid != found["metadata"]["uid"]:
                return 409, _status(409, "the UID in the precondition does not match")
            if self.lingering and options.get("propagationPolicy") == "Foreground":
                self._leave(found)
                for other in self.objects.values():
                    if any(o["uid"] == found["metadata"]["uid"] for o in other["metadata"].get("ownerReferences", [])):
                        self._leave(other)
            else:
                self.remove(plural, name, namespace)
            return 200, found

    def patch(self, plural: str, namespace: str, name: str, body: Object) -> tuple[int, Object]:
        with self._lock:
            found = self.objects.get((plural, namespace, name))
            if found is None:
                return 404, _status(404, f"{plural} {name!r} not found")
            _merge(found.setdefault("status", {}), body["status"])
            self._touch(found)
            return 200, found

    # --- inside ---------------------------------------------------------------------------------

    def _add(self, plural: str, namespace: str, body: Object) -> Object:
        added = deepcopy(body)
        metadata = added["metadata"]
        metadata |= {"uid": str(uuid4()), "creationTimestamp": now(), "namespace": namespace}
        self._touch(added)
        self.objects[(plural, namespace, metadata["name"])] = added
        if plural == "jobs":
            added.setdefault("status", {})
            self.created[metadata["name"]] += 1
            if not added["spec"].get("suspend"):
                self.start_pod(metadata["name"], namespace)
        return added

    def start_pod(self, job: str, namespace: str = "") -> None:
        """The Job controller makes a Pod."""
        namespace = namespace or self.namespace
        owner = self.objects[("jobs", namespace, job)]
        uid = owner["metadata"]["uid"]
        labels = owner["spec"].get("template", {}).get("metadata", {}).get("labels", {})
        known = {"batch.kubernetes.io/job-name": job, "batch.kubernetes.io/controller-uid": uid}
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": True}
        name = f"{job}-{uuid4().hex[:5]}"
        metadata = {"name": name, "labels": {**labels, **known}, "ownerReferences": [reference]}
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": "Pending"}}
        pod["status"]["conditions"] = [scheduled]  # type: ignore[index]
        self._add("pods", namespace, pod)
        owner["status"] |= {"active": 1, "terminating": 0}

    def _touch(self, body: Object) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)

    def _leave(self, body: Object) -> None:
        body["metadata"].setdefault("deletionTimestamp", now())
        self._touch(body)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _merge(into: Object, patch: Object) -> None:
    """JSON merge patch."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _status(code: int, message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


def _handler(server: FakeKube) -> type[_Handler]:
    class Handler(_Handler):
        kube = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    kube: FakeKube

    def log_message(self, *_: Any) -> None:
        pass

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        assert self.headers["Authorization"] == "Bearer not-a-secret"
        namespace, plural, name, sub = _app(url.path)
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(self.command, "get" if name else "list")
        resource = f"{plural}/{sub}" if sub else plural
        self.kube.rights.add((verb, _group(url.path), resource))
        fault = self.kube.fault(verb, resource)
        if fault is not None and not fault.after:
            self.answer_fault(fault)
            return
        if sub == "log":
            self.answer(200, self.kube.log(namespace, name, query))
            return
        do: dict[str, Callable[[], tuple[int, Object]]] = {
            "create": lambda: self.kube.post(plural, namespace, body),
            "get": lambda: self.kube.get(plural, namespace, name),
            "list": lambda: self.kube.list(plural, namespace, query),
            "delete": lambda: self.kube.delete(plural, namespace, name, body),
            "patch": lambda: self.kube.patch(plural, namespace, name, body),
        }
        status, found = do[verb]()
        if fault is not None:
            self.answer_fault(fault)
        else:
            self.answer(status, json.dumps(found).encode())

    do_GET = do_POST = do_DELETE = do_PATCH = handle_any

    def answer_fault(self, fault: Fault) -> None:
        if fault.status <= 0:
            if fault.status < 0:
                self.kube.closing.wait(30)
            self.close_connection = True
            return
        self.answer(fault.status, json.dumps(_status(fault.status, fault.message)).encode(), fault.headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _group(path: str) -> str:
    """The API group: /api is the core's, which has no name."""
    return path.split("/")[2] if path.startswith("/apis/") else ""


def _app(path: str) -> tuple[str, str, str, str]:
    """namespace, plural, name, subresource"""
    rest: Iterator[str] = iter(path.partition("/namespaces/")[2].split("/"))
    return next(rest), next(rest), next(rest, ""), next(rest, "")
