"""The configure stage, run inside the test's process, and a server to fetch from."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.configuring import FEW_RETRIES, LOOPBACK, Configure, Outcome, task_of
from support.datahost import DataHost
from support.ocean_provider import Provider

from functions.staging.configure.program import run
from functions.staging.guarded_http import GuardedHttp
from functions.staging.retry import RetryPolicy
from functions.workflow.progress_line import Progress
from functions.workflow.stage_options import FetchOptions


@pytest.fixture
def told() -> list[Progress]:
    """What configure tells of its progress."""
    return []


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Progress]) -> Configure:
    volume = tmp_path / "data"
    monkeypatch.setenv("TERMINATION_LOG", str(volume / "termination-message"))

    def call(
        *inputs: dict[str, Any],
        algorithm: dict[str, Any] | None = None,
        output: dict[str, Any] | None = None,
        options: FetchOptions = LOOPBACK,
        retries: RetryPolicy = FEW_RETRIES,
        credentials: dict[str, str] | None = None,
        http: GuardedHttp | None = None,
    ) -> Outcome:
        (volume / "adminlogs").mkdir(parents=True, exist_ok=True)
        task = task_of(list(inputs), algorithm, output, options)
        told.clear()
        code = run(task, volume, credentials=credentials, retries=retries, http=http, sink=told.append)
        return Outcome(code, volume, told[-1] if told else None)

    return call


@pytest.fixture
def host() -> Iterator[DataHost]:
    with DataHost() as started:
        yield started


@pytest.fixture
def provider(host: DataHost) -> Provider:
    return Provider(host)


@pytest.fixture
def configure_listed(configure: Configure, host: DataHost) -> Configure:
    """Configure in an environment that lists the Provider."""
    return partial(configure, options=replace(LOOPBACK, providers=(host.url,)))
