"""What an operator does by hand: `sluice sweep` repairs, `sluice history` tells what happened and why."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner, Result
from support.api import function
from support.serving import serving
from support.world import World
from werkzeug.serving import make_server

from functions.cli.main import main
from functions.engine import app
from functions.store.sql import SqlStore
from functions.workflow.model import WorkflowId

UNREACHABLE = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
)


def sluice(*arguments: str, **environ: str) -> Result:
    app.current_app.cache_clear()
    try:
        return CliRunner().invoke(main, arguments, env=environ)
    finally:
        app.current_app.cache_clear()


@pytest.fixture
def forgotten(sqlite_url: str) -> WorkflowId:
    """A workflow whose Job has ended an hour ago, and nobody was told."""
    with closing(SqlStore(sqlite_url)) as store:
        world = World(store=store)
        world.clock.now = datetime.now(UTC) - timedelta(hours=1)
        return world.submit()


def test_sluice_sweep_continues_unannounced_work_and_then_finds_nothing(
    sqlite_url: str, forgotten: WorkflowId, tmp_path: Path
) -> None:
    environ = {"DATABASE_URL": sqlite_url, "SLUICE_CLUSTER": "memory", "RESULTS_URL": tmp_path.as_uri()}
    first = sluice("sweep", "--json", **environ)
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout) == {"configure moved on": 1}
    again = sluice("sweep", **environ)
    assert (again.exit_code, again.stdout) == (0, "nothing was due\n")
    with closing(SqlStore(sqlite_url)) as store:
        assert [(line.event, cause) for line, cause in store.history(forgotten)] == [
            ("submitted", "test"),
            ("admitted", "admission"),
            ("configure succeeded", "sweep"),
        ]


def test_sluice_sweep_on_a_laptops_folder_needs_no_settings(
    tmp_path: Path, sqlite_url: str, forgotten: WorkflowId
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    with mock.patch.dict(os.environ, clear=True):
        refused = sluice("sweep", "--dir", str(folder))
        assert (refused.exit_code, "it has no sluice.db" in refused.stderr) == (2, True)
        shutil.copy(sqlite_url.removeprefix("sqlite:///"), folder / "sluice.db")
        first = sluice("sweep", "--json", "--dir", str(folder))
        assert first.exit_code == 0, first.output
        assert json.loads(first.stdout) != {}
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["cluster"]


@pytest.mark.parametrize("cluster", ["none", "unreachable"])
def test_sluice_sweep_without_a_cluster_exits_with_3(sqlite_url: str, tmp_path: Path, cluster: str) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(UNREACHABLE)
    ended = sluice(
        "sweep",
        DATABASE_URL=sqlite_url,
        SLUICE_CLUSTER="kubernetes",
        RESULTS_URL=tmp_path.as_uri(),
        KUBECONFIG=str(kubeconfig) if cluster == "unreachable" else "",
        KUBERNETES_SERVICE_HOST="",
    )
    assert ended.exit_code == 3, ended.output
    assert "cluster" in ended.stderr


def test_sluice_sweep_exits_with_1_if_something_failed(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.advance.sweep.sweep", lambda app: {"failed": 1})
    ended = sluice("sweep", DATABASE_URL=sqlite_url, SLUICE_CLUSTER="memory", RESULTS_URL=tmp_path.as_uri())
    assert (ended.exit_code, ended.stdout) == (1, "failed: 1\n")


def test_sluice_sweep_says_when_the_database_is_not_there(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": f"sqlite:///{tmp_path}/none/x.db", "SLUICE_CLUSTER": "memory"}
    ended = sluice("sweep", **environ)
    assert ended.exit_code == 3
    assert "DATABASE_URL" in ended.output


def test_sluice_history_tells_each_step_and_what_caused_it(tmp_path: Path) -> None:
    world = World()
    world.app.settings = dataclasses.replace(world.app.settings, open_admin=True)
    w = world.submit()
    world.end_job(w)
    event_id = world.events[1][0]["ce-id"]  # the Pod has ended
    world.deliver()
    world.stop(w)
    world.run(w)
    with serving(make_server("127.0.0.1", 0, function("status", world.app), threaded=True)) as status:
        environ = {"HOME": str(tmp_path), "SLUICE_URL": f"http://127.0.0.1:{status.port}", "COLUMNS": "200"}
        shown = sluice("history", w, **environ)
        in_json = sluice("history", w, "--json", **environ)
    assert shown.exit_code == 0, shown.output
    for event in world.lines(w):
        assert event in shown.output
    assert event_id in in_json.stdout
    assert [line["step"] for line in json.loads(in_json.stdout)] == list(range(1, world.state(w).step + 1))
