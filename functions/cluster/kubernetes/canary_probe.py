"""What the canary runs in the algorithm's place: it tries to reach what an algorithm must not.

Sent to the Pod as text, so that any image with Python will do: nothing but the standard library.
A connection that is refused has reached nobody; only one that is made counts.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

SECONDS = 4.0  # for one connection
ALL_SECONDS = 15.0  # for everything: a name is asked for several times before it counts as not found
SETTLE = 10.0  # what was reached is tried again after this: some network plugins are slower than a new Pod
REACHED = 3  # the exit code


def connect(address: str, port: int) -> None:
    socket.create_connection((address, port), SECONDS).close()


def resolve(name: str) -> None:
    socket.getaddrinfo(name, 443)


def nameserver(file: str = "/etc/resolv.conf") -> str:
    with open(file) as lines:
        return next((line.split()[1] for line in lines if line.startswith("nameserver ")), "")


def tries(environ: dict[str, str], dns: str) -> dict[str, Callable[[], None]]:
    """What is tried, by what it is called."""
    api, api_port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    places = {
        "the cloud's metadata": "169.254.169.254:80",
        "the Kubernetes API": f"{api}:{api_port}",
        "a Service of the cluster, its DNS": f"{dns}:53",
        "the kubelet of its node": f"{environ.get('NODE_ADDRESS', '')}:10250",
        "a public address": environ.get("PUBLIC_ADDRESS", ""),
    }
    found: dict[str, Callable[[], None]] = {
        f"{kind} ({name})": partial(resolve, name)
        for kind, name in (
            ("a name of the cluster", "kubernetes.default.svc.cluster.local."),
            ("a public name", "example.com."),
        )
    }
    given = [("a given address", place) for place in environ.get("MORE_ADDRESSES", "").split(",")]
    for kind, place in (*places.items(), *given):
        address, _, port = place.rpartition(":")
        if address:
            found[f"{kind} ({place})"] = partial(connect, address.strip("[]"), int(port))
    return found


def run(attempts: Mapping[str, Callable[[], object]], seconds: float) -> list[str]:
    """The names of the attempts that succeeded, all made at once."""
    reached: list[str] = []

    def attempt(name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError:
            return
        reached.append(name)

    threads = [threading.Thread(target=attempt, args=item, daemon=True) for item in attempts.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return sorted(reached)


def look(attempts: Mapping[str, Callable[[], object]], settle: float) -> dict[str, list[str]]:
    """The report: what was tried, what was reached at once, and what of it still later."""
    reached = run(attempts, ALL_SECONDS)
    if reached:
        time.sleep(settle)
    lasting = run({name: attempts[name] for name in reached}, ALL_SECONDS)
    return {"tried": sorted(attempts), "reached": reached, "lasting": lasting}


def main() -> None:
    found = look(tries(dict(os.environ), nameserver()), SETTLE)
    report = json.dumps(found)
    print(report)  # noqa: T201 - the Pod's log is its output
    with open(os.environ.get("TERMINATION_LOG", "/dev/termination-log"), "w") as file:
        file.write(report)
    sys.stdout.flush()
    os._exit(REACHED if found["reached"] else 0)  # threads may still wait for names


if __name__ == "__main__":
    main()
