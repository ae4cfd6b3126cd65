"""Readiness: a Pod with wrong settings or files gets no requests, so it replaces none that works."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from support.deployment import FUNCTIONS, environment, function_pods
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.api.http import Router
from functions.engine.app import App
from functions.settings import Settings
from functions.variables import SettingsError

READS_POLICIES = ("submit", "advance")  # the manifests mount the file into these alone


def asked(function: str, path: str, app: Callable[[], App]) -> int:
    router: Router = importlib.import_module(f"functions.{function}.main").ROUTER
    return router.answer(Request(EnvironBuilder(path).get_environ()), app).status_code


def good() -> App:
    return App(Settings())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_with_good_settings_is_ready_without_database_and_cluster(function: str) -> None:
    app = App(Settings(database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert asked(function, "/readyz", lambda: app) == 200
    assert vars(app).keys() & {"store", "cluster", "storage"} == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_with_a_wrong_setting_lives_is_not_ready_and_says_so_once(
    function: str, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong() -> App:
        raise SettingsError("THREADS must be a number")

    with caplog.at_level(logging.ERROR):
        assert [asked(function, path, wrong) for path in ("/readyz", "/readyz", "/healthz")] == [503, 503, 200]
    assert [record.getMessage() for record in caplog.records].count(
        "not ready: settings: THREADS must be a number"
    ) == 1
    assert asked(function, "/readyz", good) == 200


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_with_a_wrong_environments_file_is_not_ready(function: str, tmp_path: Path) -> None:
    file = tmp_path / "environments.yaml"
    file.write_text("- id: demo\n  cpuNumbers: 2\n")
    app = App(Settings(environments_file=str(file)))
    assert asked(function, "/readyz", lambda: app) == 503


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_that_reads_policies_is_not_ready_with_a_wrong_file(function: str, tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text("- id: demo\n  nothing: 2\n")
    app = App(Settings(policies_file=str(file)))
    assert asked(function, "/readyz", lambda: app) == (503 if function in READS_POLICIES else 200)


@pytest.mark.parametrize("others", ["- {id: another}\n", None])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_that_reads_policies_is_not_ready_if_an_environment_names_a_policy_that_does_not_exist(
    function: str, others: str | None, tmp_path: Path
) -> None:
    (tmp_path / "environments.yaml").write_text("- {id: demo, policy: strict}\n")
    if others:
        (tmp_path / "policies.yaml").write_text(others)
    policies = str(tmp_path / "policies.yaml") if others else ""
    app = App(Settings(environments_file=str(tmp_path / "environments.yaml"), policies_file=policies))
    assert asked(function, "/readyz", lambda: app) == (503 if function in READS_POLICIES else 200)


@pytest.mark.parametrize("overlay", ["base", "production", "eventing-only"])
def test_the_probes_ask_whether_the_process_lives_and_whether_its_settings_are_good(overlay: str) -> None:
    for function, pod in function_pods(overlay).items():
        (container,) = pod["containers"]
        probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")}
        assert probes == {"liveness": "/healthz", "readiness": "/readyz"}, function
        assert environment(pod)["FUNCTION_TARGET"]["value"] == function
