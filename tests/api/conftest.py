from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, app
from support.console import sign_in
from support.issuer import Issuer
from support.serving import serving

from functions.api.auth import oidc, tokens


@pytest.fixture
def api() -> Api:
    return Api(app())


@pytest.fixture
def operator(api: Api) -> Api:
    """An API whose client has signed in to the console as an operator."""
    assert sign_in(api).status_code == 200
    return api


@pytest.fixture
def rounds() -> int:
    """A quarter of the mixed requests; the long profile sends 2 000."""
    return 500 if os.environ.get("SLUICE_LONG") else 40


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    lines = ["# who may call", f"{tokens.digest('secret-a')} alice environments=lab,other  # until June", ""]
    lines += [f"{tokens.digest('secret-b')} bob", f"{tokens.digest('secret-c')} carol admin"]
    path = tmp_path / "tokens"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setattr(oidc, "_KEYS", oidc._Keys())
    made = Issuer()
    with serving(made.server):
        yield made
