"""The console's own files: pages, style and scripts. Nothing is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

from werkzeug.utils import send_from_directory
from werkzeug.wrappers import Response

from functions.api.http import Call, HttpError

FOLDER = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Only our own files run and style. No text becomes markup: Trusted Types are required, and no policy for them exists.
# Pictures are data: URLs, which share no origin with the page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cache-Control": "no-cache",  # ask each time; the ETag says whether it has changed
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
}


def index(call: Call) -> Response:
    """GET /console/: send the page."""
    return _file(call, "index.html")


def file(call: Call) -> Response:
    """GET /console/NAME: send one of the page's files."""
    return _file(call, call.captured["name"])


def _file(call: Call, name: str) -> Response:
    if name not in {each.name for each in FOLDER.iterdir()}:
        raise HttpError(404, "Not Found: no such path")
    kind = _TYPES[Path(name).suffix]
    response = send_from_directory(FOLDER, name, call.request.environ, mimetype=kind)
    response.headers.update(HEADERS)
    return response
