"""The routing table of operator-service's API.

The functions bind their handlers to it, the OpenAPI document describes it, and a test checks the HTTPRoute against it.
"""

from __future__ import annotations

from functions.api.http import Route

PREFIX = "/api/v1/operator"

START = Route("submit", "POST", f"{PREFIX}/compute")
STOP = Route("submit", "PUT", f"{PREFIX}/compute")
DELETE = Route("submit", "DELETE", f"{PREFIX}/compute")
UPGRADE = Route("submit", "POST", f"{PREFIX}/pgsqlinit")

JOBS = Route("status", "GET", f"{PREFIX}/compute")
RESULT = Route("status", "GET", f"{PREFIX}/getResult")
ENVIRONMENTS = Route("status", "GET", f"{PREFIX}/environments")
RUNNING_JOBS = Route("status", "GET", f"{PREFIX}/runningjobs")
JOB_IDS = Route("status", "GET", f"{PREFIX}/list")
INFO = Route("status", "GET", f"{PREFIX}/info")
LOGS = Route("status", "GET", f"{PREFIX}/logs")
HISTORY = Route("status", "GET", f"{PREFIX}/history")
DEAD_LETTERS = Route("status", "GET", f"{PREFIX}/dead-letters")
INDEX = Route("status", "GET", "/")
HEALTH = Route("status", "GET", "/healthz")
METRICS = Route("status", "GET", "/metrics")

# In the order of the OpenAPI document.
TABLE = (
    *(START, JOBS, STOP, DELETE, RESULT, ENVIRONMENTS),
    *(RUNNING_JOBS, JOB_IDS, INFO, LOGS, HISTORY, DEAD_LETTERS, UPGRADE, INDEX, HEALTH, METRICS),
)
