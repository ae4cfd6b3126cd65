"""The server of one function, in the image: `FUNCTION_TARGET` says which (submit, advance or status).

gunicorn itself instead of functions-framework's server, which closes idle connections after 2 s (Knative's proxy keeps
them for 90 s, and gets a 502) and takes its number of threads from the node's cores.
"""

import gc
import os
from pathlib import Path

_target = os.environ["FUNCTION_TARGET"]
_source = Path(__file__).parent / "functions" / _target / "main.py"

# What imports make stays: looking through it again and again takes a tenth of the start (docs/performance.md).
gc.set_threshold(10_000)

wsgi_app = f"functions_framework:create_app('{_target}', '{_source}')"
bind = f":{os.environ.get('PORT', '8080')}"
workers = 1  # Knative adds Pods
threads = int(os.environ.get("THREADS", "8"))  # = containerConcurrency = connections of the pool
keepalive = 120
graceful_timeout = 55
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat must not wait for a disk
control_socket_disable = True
