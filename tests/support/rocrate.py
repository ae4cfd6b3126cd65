"""roc-validator without a network: it reads the contexts from a cache that is filled from recorded files.

Run as `python -m support.rocrate CACHE` by the interpreter that has it. Each line of its standard input is a JSON list
of folder, profile, severity and the checks to skip; it answers with a line of findings. It takes 2 s to start.
Its many dependencies need other versions than ours, so `make .venv-crates/.ready` gives it an environment of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Validate = Callable[[Path, tuple[str, ...]], list[str]]
"""What is found in a folder, by profile, severity and skipped checks."""

CONTEXTS = Path(__file__).parents[1] / "data/ro-crate"
RECORDED = {
    "https://w3id.org/ro/crate/1.1/context": "ro-crate-1.1.jsonld",
    "https://w3id.org/ro/crate/1.2/context": "ro-crate-1.2.jsonld",
    "https://w3id.org/ro/terms/workflow-run/context": "workflow-run.jsonld",
}


def fill_cache(prefix: Path) -> None:
    """Put the recorded contexts into the validator's cache."""
    import requests
    from requests.adapters import HTTPAdapter
    from requests_cache import CachedSession  # type: ignore[import-not-found]

    class Recorded(HTTPAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
            response = requests.Response()
            response.status_code = 200
            response.url, response.request = request.url, request
            response.headers["Content-Type"] = "application/ld+json"
            response._content = (CONTEXTS / RECORDED[request.url]).read_bytes()
            response.raw = _Raw()
            return response

    session = CachedSession(cache_name=str(prefix), backend="sqlite", expire_after=-1)
    session.mount("https://", Recorded())
    for url in RECORDED:
        session.get(url)


class _Raw:
    """What requests_cache asks of the connection."""

    _request_url = None
    version, status, reason, headers, decode_content = 11, 200, "OK", None, False
    _fp = None

    def __getattr__(self, name: str) -> Any:
        return None


def validate(prefix: Path, crate: Path, profile: str, severity: str, skipped: list[str]) -> list[str]:
    """Return the findings."""
    from rocrate_validator import services  # type: ignore[import-not-found]
    from rocrate_validator.models import Severity, ValidationSettings  # type: ignore[import-not-found]

    settings = ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier=profile,
        offline=True,
        cache_path=str(prefix),
        requirement_severity=Severity[severity],
        skip_checks=skipped,
        abort_on_first=False,
    )
    result = services.validate(settings)
    return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]


@contextmanager
def roc_validator(interpreter: str, cache: Path) -> Iterator[Validate]:
    """Ask one process, which the interpreter runs."""
    command = [interpreter, "-m", "support.rocrate", str(cache)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=pipe, stdout=pipe, text=True) as process:
        asked, answered = process.stdin, process.stdout
        assert asked is not None
        assert answered is not None

        def ask(folder: Path, options: tuple[str, ...]) -> list[str]:
            print(json.dumps([str(folder), *options]), file=asked, flush=True)
            found: list[str] = json.loads(answered.readline())
            return found

        yield ask


if __name__ == "__main__":
    cache = Path(sys.argv[1])
    fill_cache(cache)
    for line in sys.stdin:
        folder, profile, severity, *skipped = json.loads(line)
        print(json.dumps(validate(cache, Path(folder), profile, severity, skipped)), flush=True)
