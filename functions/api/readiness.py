"""The endpoint of readiness probes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from functions.api.json_answers import answer
from functions.variables import SettingsError

if TYPE_CHECKING:
    from werkzeug.wrappers import Response

    from functions.engine.app import App

logger = logging.getLogger(__name__)


class Readiness:
    """Ready: the settings can be used, and so can the files that they name.

    A Pod that is not ready gets no requests, so a rollout with a wrong setting keeps the Pods that work. The database
    and the cluster are not checked. An outage of theirs would make all Pods unready, and clients would get no answer
    that names the cause.
    """

    def __init__(self, *loads: str) -> None:
        """`loads`: the properties of App that the function's requests need."""
        self._loads = loads
        self._told = ""

    def respond(self, app: Callable[[], App]) -> Response:
        """Answer 200 or 503. The log names a wrong setting once, because Knative asks each 25 ms while a Pod starts."""
        try:
            parts = app()
            for name in self._loads:
                getattr(parts, name)
        except SettingsError as error:
            if self._told != str(error):
                self._told = str(error)
                logger.error("not ready: settings: %s", error)
            return answer({"error": "the service is configured wrongly; its log names the setting"}, 503)
        return answer({"status": "ready"})
