"""The server of one function, in the image: `FUNCTION_TARGET` says which (submit, advance or status).

This is gunicorn with our own settings. functions-framework's server closes idle connections after 2 s, which gives
Knative's proxy a 502, and takes its number of threads from the node's cores.
"""

import gc
import os
import socket
from pathlib import Path

from functions.api.server import Worker

_target = os.environ["FUNCTION_TARGET"]
_source = Path(__file__).parent / "functions" / _target / "main.py"

# Objects made by imports are never freed. Collecting them again and again takes a tenth of the start.
gc.set_threshold(10_000)


def _has_ipv6() -> bool:
    """Whether a socket of the Pod can listen on IPv6 and IPv4: a node's kernel may have the one or the other off."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
            return not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return False


wsgi_app = f"functions_framework:create_app('{_target}', '{_source}')"
# The wildcard of IPv6 takes IPv4 as well. Without a host gunicorn listens on IPv4 alone, and in a cluster whose Pods
# have IPv6 addresses no probe would reach it.
_host = "[::]" if _has_ipv6() else "0.0.0.0"  # noqa: S104 - the network policies say who may call
bind = f"{_host}:{os.environ.get('PORT', '8080')}"
forwarded_allow_ips = "127.0.0.1,::1,::ffff:127.0.0.1"  # Knative's proxy, also as an IPv6 socket names it
workers = 1  # Knative adds Pods
# THREADS equals containerConcurrency and the connections of the pool. The others keep /healthz answered while clients
# stall, each for at most CLIENT_SECONDS at a time (functions/api/server.py).
threads = int(os.environ.get("THREADS", "8")) + 16
Worker.head_seconds = int(os.environ.get("CLIENT_SECONDS", "10"))
worker_class = Worker
keepalive = 120
graceful_timeout = 55
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat must not wait for a disk
control_socket_disable = True
