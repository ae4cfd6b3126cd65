"""GET /metrics: the metrics of the record in Prometheus' text format.

It is for operators. A scraper sends the value of the `Admin` header as a bearer token: other headers it cannot send.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from werkzeug.wrappers import Response

from functions.api.auth.guard import is_admin, require_admin
from functions.api.http import Call, HttpError
from functions.engine.gauges import measured
from functions.instruments import Measurement

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BEARER = "bearer "


def metrics(call: Call) -> Response:
    """GET /metrics: send the metrics of the record, from one statement."""
    _require_scraper(call)
    return Response("".join(text(measured(call.app))), 200, content_type=CONTENT_TYPE)


def text(found: Iterable[Measurement]) -> Iterator[str]:
    """Yield the lines of Prometheus' text format; measurements of one instrument must stand together."""
    last = None
    for each in found:
        name = each.instrument.prometheus
        if each.instrument is not last:
            last = each.instrument
            yield f"# HELP {name} {last.meaning}\n# TYPE {name} {last.kind}\n"
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in each.labels.items())
        yield f"{name}{{{labels}}} {each.value:.15g}\n" if labels else f"{name} {each.value:.15g}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _require_scraper(call: Call) -> None:
    given = call.request.headers.get("Authorization", "")
    if not given.lower().startswith(_BEARER):
        require_admin(call)
    elif not is_admin(given[len(_BEARER) :].strip(), call.app.settings):
        raise HttpError(401, "the bearer token is not an operator's; send a value of ALLOWED_ADMINS")
