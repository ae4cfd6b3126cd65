"""Who may speak to a server on loopback: this machine's own pages and programs, nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

App = Callable[[Any, Any], Iterable[bytes]]
_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_REFUSAL = "only this machine's own pages and programs are served; call 127.0.0.1 or localhost"


def own_only(app: App) -> App:
    """The WSGI app, closed to pages of other sites.

    A browser reaches loopback for any page that it shows, directly or through a name that resolves to loopback. The
    functions allow every origin, as operator-service does, and a laptop asks for no signature that one must own.
    """

    def answer(environ: Any, start_response: Any) -> Iterable[bytes]:
        if _from_this_machine(environ):
            return app(environ, start_response)
        body = json.dumps({"error": _REFUSAL}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("403 FORBIDDEN", headers)
        return [body]

    return answer


def _from_this_machine(environ: Any) -> bool:
    named = [f"http://{environ.get('HTTP_HOST', '')}"]
    if "HTTP_ORIGIN" in environ:
        named.append(environ["HTTP_ORIGIN"])
    try:
        return all(urlsplit(url).hostname in _NAMES for url in named)
    except ValueError:
        return False
