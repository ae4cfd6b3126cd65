"""The routing table of the console: its files, its session, and what its pages read.

They serve this page alone and change with it, so they are not part of the API or of its OpenAPI document.
"""

from __future__ import annotations

from functions.api.http import Route

PREFIX = "/console"

INDEX = Route("status", "GET", f"{PREFIX}/")
FILE = Route("status", "GET", f"{PREFIX}/<name>")
SESSION = Route("status", "GET", f"{PREFIX}/api/session")
SIGN_IN = Route("status", "POST", f"{PREFIX}/api/session")
SIGN_OUT = Route("status", "DELETE", f"{PREFIX}/api/session")
OVERVIEW = Route("status", "GET", f"{PREFIX}/api/overview")
WORKFLOWS = Route("status", "GET", f"{PREFIX}/api/workflows")
WORKFLOW = Route("status", "GET", f"{PREFIX}/api/workflows/<job>")

TABLE = (INDEX, FILE, SESSION, SIGN_IN, SIGN_OUT, OVERVIEW, WORKFLOWS, WORKFLOW)
