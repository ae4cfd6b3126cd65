"""The routing table of GA4GH TES 1.1."""

from __future__ import annotations

from functions.api.http import Route

PREFIX = "/ga4gh/tes/v1"

SERVICE_INFO = Route("status", "GET", f"{PREFIX}/service-info")
CREATE = Route("submit", "POST", f"{PREFIX}/tasks")
LIST = Route("status", "GET", f"{PREFIX}/tasks")
TASK = Route("status", "GET", f"{PREFIX}/tasks/<id>")
CANCEL = Route("submit", "POST", f"{PREFIX}/tasks/<id>:cancel")

TABLE = (SERVICE_INFO, CREATE, LIST, TASK, CANCEL)
