from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.fake_api import KEY, FakeApi, Sluice, server
from support.serving import serving

from functions.cli.main import main


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    with serving(server(fake)):
        yield fake


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    return file


@pytest.fixture
def sluice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sluice:
    """Runs the command in this process, with a home folder of its own."""
    for variable in ("SLUICE_URL", "SLUICE_KEY_FILE", "SLUICE_ADMIN_FILE", "XDG_CONFIG_HOME", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, input: str = "") -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="sluice", input=input)

    return call
