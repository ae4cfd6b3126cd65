"""The canary's program: it tries to reach what an algorithm must not reach.

The Job carries it as text and any image with Python runs it, so it imports the standard library only.
A target counts as reached when a connection is made; a refused one is not.
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

CONNECT_SECONDS = 4.0
ALL_SECONDS = 15.0  # for all attempts: a resolver asks several times before it gives a name up
# After this pause, targets that were reached are tried again: some network plugins are slower than a new Pod.
SETTLE_SECONDS = 10.0
EXIT_CODE_REACHED = 3


def connect(address: str, port: int) -> None:
    socket.create_connection((address, port), CONNECT_SECONDS).close()


def resolve(name: str) -> None:
    socket.getaddrinfo(name, 443)


def nameserver(file: str = "/etc/resolv.conf") -> str:
    with open(file) as lines:
        return next((line.split()[1] for line in lines if line.startswith("nameserver ")), "")


def attempts(environ: dict[str, str], dns: str) -> dict[str, Callable[[], None]]:
    """The attempts, by the name of their target."""
    api, api_port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    places = {
        "the cloud's metadata": "169.254.169.254:80",
        "the metadata of AWS over IPv6": "[fd00:ec2::254]:80",
        "the metadata of Alibaba Cloud": "100.100.100.200:80",
        "the metadata of Oracle Cloud": "192.0.0.192:80",
        "Azure's platform address": "168.63.129.16:80",
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
    """Make all attempts at once; the names of those that succeed within `seconds`."""
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


def probe(attempts: Mapping[str, Callable[[], object]], settle: float) -> dict[str, list[str]]:
    """Make all attempts, and those that succeed once more after `settle` seconds; the report."""
    reached = run(attempts, ALL_SECONDS)
    if reached:
        time.sleep(settle)
    still_reached = run({name: attempts[name] for name in reached}, ALL_SECONDS)
    return {"tried": sorted(attempts), "reached": reached, "still_reached": still_reached}


def main() -> None:
    found = probe(attempts(dict(os.environ), nameserver()), SETTLE_SECONDS)
    report = json.dumps(found)
    print(report)  # noqa: T201 - the Pod's log is its output
    with open(os.environ.get("TERMINATION_LOG", "/dev/termination-log"), "w") as file:
        file.write(report)
    sys.stdout.flush()
    os._exit(EXIT_CODE_REACHED if found["reached"] else 0)  # threads may still wait for names


if __name__ == "__main__":
    main()
