"""The server of one function, in the image: `FUNCTION_TARGET` says which (submit, advance or status).

This is gunicorn with our own settings. functions-framework's server closes idle connections after 2 s, which gives
Knative's proxy a 502, and takes its number of threads from the node's cores.
"""

import gc
import os
from pathlib import Path

from functions.api.server import Worker

_target = os.environ["FUNCTION_TARGET"]
_source = Path(__file__).parent / "functions" / _target / "main.py"

# Objects made by imports are never freed. Collecting them again and again takes a tenth of the start.
gc.set_threshold(10_000)

wsgi_app = f"functions_framework:create_app('{_target}', '{_source}')"
bind = f":{os.environ.get('PORT', '8080')}"
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
