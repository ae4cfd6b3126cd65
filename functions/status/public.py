"""The routes that anybody may read: the service, its environments, its documentation."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from werkzeug.utils import send_from_directory
from werkzeug.wrappers import Response

from functions import __version__
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer
from functions.api.ocean.requests import chain_id
from functions.status import views

# The release of operator-service whose API this is, shown at `/`.
_API_VERSION = "1.0.1"


def index(call: Call) -> Response:
    """GET /: describe the service, with operator-service's keys and our own version."""
    settings = call.app.settings
    service: views.Service = {
        "address": settings.operator_address or None,
        "algoTimeLimit": settings.legacy.get("ALGO_POD_TIMEOUT"),
        "software": "Operator service",
        "storageExpiry": settings.legacy.get("STORAGE_EXPIRY"),
        "version": _API_VERSION,
        "sluice": __version__,
    }
    return answer(service)


def environments(call: Call) -> Response:
    """GET /environments: list the environments, or those that accept a chain."""
    wanted = chain_id(call.params)
    running, now = call.app.store.running(), call.app.clock()
    return answer(
        [
            views.environment(offered, running.get(offered.id, 0), now)
            for offered in call.app.environments.values()
            if wanted is None or offered.accepts_chain(wanted)
        ]
    )


def spec(call: Call) -> Response:
    """GET /spec: send the OpenAPI document."""
    return answer_text(_document(), "application/json")


def docs(call: Call) -> Response:
    """GET /api/v1/docs/: show Swagger UI, served from a package rather than a CDN."""
    return answer_text(_PAGE, "text/html; charset=utf-8")


def docs_file(call: Call) -> Response:
    """GET /api/v1/docs/NAME: send one of Swagger UI's files."""
    import flask_swagger_ui

    folder = Path(flask_swagger_ui.__file__).parent / "dist"
    name = call.captured["name"]
    if name not in (file.name for file in folder.iterdir()):
        raise HttpError(404, "Not Found: no such path")
    return send_from_directory(folder, name, call.request.environ, max_age=86_400)


def answer_text(text: str, content_type: str) -> Response:
    return Response(text, 200, content_type=content_type)


@cache
def _document() -> str:
    import json

    from functions.status.openapi import document

    return json.dumps(document(), indent=1)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Sluice API</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="icon" type="image/png" href="favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "../../../spec", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null})</script>
</body>
</html>
"""
