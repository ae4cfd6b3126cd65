"""The laptop as a user has it: a process that can be killed, and a client."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from functions.ethereum import sign

OWNER = "0xA78deb2Fa79463945C247991075E2a0e98Ba7A09"
API = "/api/v1/operator"
ROOT = Path(__file__).parents[2]
T = TypeVar("T")
_nonces = itertools.count(time.time_ns())


def until(read: Callable[[], T], right: Callable[[T], bool], seconds: float = 60) -> T:
    """The first reading that is right; fails when the time is over.

    The pauses grow with the wait, up to 0.2 s: a reading may cost as much CPU as what is waited for.
    """
    began = time.monotonic()
    while not right(value := read()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"not within {seconds} s; the last reading was {value!r}")
        time.sleep(min(0.02 + waited / 10, 0.2))
    return value


def document(code: str, *, inputs: list[str] | None = None, maxtime: int | None = None) -> dict[str, Any]:
    """A workflow whose algorithm is a shell script."""
    algorithm = {"container": {"entrypoint": "sh $ALGO", "image": "busybox", "tag": "1"}, "rawcode": code}
    data = [{"index": n, "id": f"did:op:{n}", "url": [url]} for n, url in enumerate(inputs or [])]
    compute = {"Instances": 1} | ({"maxtime": maxtime} if maxtime else {})
    return {"stages": [{"index": 0, "input": data, "compute": compute, "algorithm": algorithm, "output": {}}]}


class Client:
    """Speaks to a platform as Ocean's Provider does, and as its operator."""

    def __init__(self, url: str) -> None:
        self.url = url
        # One for each job, as of so many Providers.
        self._keys: dict[str, str] = {}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def submit(self, workflow: Mapping[str, Any], environment: str = "ocean-compute") -> str:
        """Returns the job's id."""
        nonce, key = next(_nonces), f"0x{secrets.token_hex(31):0>64}"
        body = {
            "workflow": workflow,
            "agreementId": f"0x{nonce:x}",
            "owner": OWNER,
            "providerSignature": sign(key, f"{OWNER}{nonce}"),
            "environment": environment,
            "nonce": nonce,
        }
        status, answer = self.call("POST", f"{API}/compute", body)
        assert status == 200, answer
        job = str(json.loads(answer)[0]["jobId"])
        self._keys[job] = key
        return job

    def stop(self, job: str) -> None:
        nonce = next(_nonces)
        signature = sign(self._keys[job], f"{OWNER}{job}{nonce}")
        body = {"owner": OWNER, "jobId": job, "nonce": nonce, "providerSignature": signature}
        status, answer = self.call("PUT", f"{API}/compute", body)
        assert status == 200, answer

    def info(self, job: str) -> dict[str, Any]:
        status, answer = self.call("GET", f"{API}/info?jobId={job}")
        assert status == 200, answer
        found: dict[str, Any] = json.loads(answer)
        return found

    def history(self, job: str) -> list[dict[str, Any]]:
        status, answer = self.call("GET", f"{API}/history?jobId={job}")
        assert status == 200, answer
        found: list[dict[str, Any]] = json.loads(answer)
        return found

    def finished(self, job: str, seconds: float = 30) -> dict[str, Any]:
        return until(lambda: self.info(job), lambda info: info["dateFinished"] is not None, seconds)

    def reached(self, job: str, phase: str) -> dict[str, Any]:
        return until(lambda: self.info(job), lambda info: info["phase"] == phase)

    def result(self, job: str, name: str) -> bytes:
        """A published file, by its name."""
        names = [file["filename"] for file in self.info(job)["results"]]
        query = f"index={names.index(name)}&owner={OWNER}&jobId={job}"
        status, body = self.call("GET", f"{API}/getResult?{query}&{self.signed(job)}")
        assert status == 200, body
        return body

    def signed(self, job: str) -> str:
        """The part of a query that proves whose it is."""
        nonce = next(_nonces)
        return f"nonce={nonce}&providerSignature={sign(self._keys[job], f'{OWNER}{job}{nonce}')}"


class Laptop(Client):
    """A platform in a process of its own, which may be killed and started again on its folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__("")
        self.folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            command = [sys.executable, "-m", "support.laptop", str(self.folder), *self._options]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 30)
        self.url = self._process.stdout.readline().decode().strip() if ready else ""
        assert self.url, "the platform did not start"

    def kill_platform(self) -> None:
        """kill -9 of the platform alone; what it started lives."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def kill_everything(self) -> None:
        """kill -9 of the platform and of all that it started."""
        if self._process is not None and "COVERAGE_PROCESS_CONFIG" in os.environ:
            self._process.terminate()  # coverage writes what it has measured
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        mark = str(self.folder).encode()
        while found := [pid for pid in pids() if mark in command_line(pid)]:
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._process is not None and self._process.pid in found:
                self.kill_platform()


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _serve(folder: str, *options: str) -> None:
    from functions.local.platform import Platform

    variables = dict(option.split("=", 1) for option in options)
    environments = variables.pop("environments", None)
    with Platform(
        Path(folder), tick=0.5, environments=Path(environments) if environments else None, variables=variables
    ) as platform:
        print(platform.url, flush=True)
        signal.pause()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
