"""The routing table of the review API: what data holders read and decide about held results."""

from __future__ import annotations

from functions.api.http import Route
from functions.api.ocean.routes import PREFIX

HELD = Route("status", "GET", f"{PREFIX}/held")
HELD_JOB = Route("status", "GET", f"{PREFIX}/held/<job>")
HELD_FILE = Route("status", "GET", f"{PREFIX}/heldFile")
FREEZES = Route("status", "GET", f"{PREFIX}/freeze")

DECIDE = Route("submit", "POST", f"{PREFIX}/decisions")
RELEASE = Route("submit", "POST", f"{PREFIX}/release")
REVOKE = Route("submit", "POST", f"{PREFIX}/revoke")
FREEZE = Route("submit", "POST", f"{PREFIX}/freeze")
UNFREEZE = Route("submit", "DELETE", f"{PREFIX}/freeze")

TABLE = (HELD, HELD_JOB, HELD_FILE, FREEZES, DECIDE, RELEASE, REVOKE, FREEZE, UNFREEZE)
