"""A wrong setting of proofs or notifications is refused when a process starts, not when a sweep first uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.proofs import proof_api
from support.witness import WitnessServer
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from functions import log
from functions.advance.sweep import sweep
from functions.engine import sweep_settings
from functions.engine.app import current_app
from functions.local.settings_check import check_settings
from functions.settings import Settings
from functions.variables import SettingsError

ROOT = Path(__file__).parents[2]
VERIFIER = WitnessServer(b"").verifier_key
SECRET = "whsec_" + "QUJD" * 12
WRONG = [
    ("CHECKPOINT_URL", "ipfs://hunter2", "CHECKPOINT_URL must begin with file:, s3:, gs: or az:"),
    ("CHECKPOINT_URL", "file:hunter2", "CHECKPOINT_URL: a file: URL must name an absolute path"),
    ("CHECKPOINT_URL", "s3:///hunter2", "CHECKPOINT_URL: a s3: URL must name a bucket"),
    ("CHECKPOINT_URL", "http://[hunter2", "CHECKPOINT_URL is not a URL"),
    ("WITNESSES", '["https://witness.example hunter2"]', "WITNESSES: not the Ed25519 key of a witness"),
    (
        "WITNESSES",
        json.dumps([f"hunter2 {VERIFIER}"]),
        "WITNESSES: expected the URL of a witness, a space, and its key",
    ),
    ("WITNESSES", json.dumps([f"https://[hunter2 {VERIFIER}"]), "WITNESSES: expected the URL of a witness"),
    ("NOTIFY_HOLD_URL", '["https://hooks.example/", "hunter2"]', "NOTIFY_HOLD_URL: each entry must be a URL"),
    ("NOTIFY_HOLD_URL", '["https://"]', "NOTIFY_HOLD_URL: each entry must be a URL with a host"),
    ("NOTIFY_HOLD_URL", '["https://:8080/hunter2"]', "NOTIFY_HOLD_URL: each entry must be a URL with a host"),
    ("NOTIFY_HOLD_URL", '["https://hooks.example:hunter2/"]', "NOTIFY_HOLD_URL: each entry must be a URL with a host"),
    ("NOTIFY_START_URL", "hunter2.example", "NOTIFY_START_URL must be a URL with a host"),
    ("NOTIFY_STOP_URL", "https://[hunter2", "NOTIFY_STOP_URL must be a URL with a host"),
    ("WITNESSES", json.dumps([f"https://user@ {VERIFIER}"]), "WITNESSES: expected the URL of a witness"),
    ("NOTIFY_HOLD_SECRET", "hunter2", "NOTIFY_HOLD_SECRET must be `whsec_` and 24 to 64 bytes in base64"),
    ("NOTIFY_HOLD_SECRET", f"{SECRET} whsec_hunter2", "NOTIFY_HOLD_SECRET must be `whsec_` and 24 to 64 bytes"),
]


@pytest.mark.parametrize(("variable", "value", "message"), WRONG)
def test_a_wrong_value_is_refused_by_its_name_and_never_quoted(variable: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sweep_settings.check(Settings.load({variable: value}))
    assert str(refused.value).startswith(message)
    assert "hunter2" not in str(refused.value)


def test_right_values_are_accepted() -> None:
    right = {
        "CHECKPOINT_URL": "s3://locked/log",
        "WITNESSES": json.dumps([f"https://witness.example/api {VERIFIER}"]),
        "NOTIFY_HOLD_URL": '["https://hooks.example/", "http://127.0.0.1:9000", "http://[::1]:9000/x"]',
        "NOTIFY_START_URL": "http://hooks.sluice.svc/started",
        "NOTIFY_HOLD_SECRET": f"{SECRET} {SECRET}",
    }
    sweep_settings.check(Settings.load(right))
    sweep_settings.check(Settings.load({}))


def test_each_function_refuses_to_serve_with_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from functions.status.main import ROUTER

    monkeypatch.setenv("NOTIFY_HOLD_SECRET", "hunter2")
    monkeypatch.setattr(log, "setup", lambda _: None)  # it would replace the handlers of the tests
    current_app.cache_clear()

    @Request.application
    def serve(request: Request) -> Response:
        return ROUTER.answer(request, current_app)

    answered = Client(serve).get("/api/v1/operator/environments")
    current_app.cache_clear()
    assert answered.status_code == 500
    assert "NOTIFY_HOLD_SECRET must be" in caplog.text
    assert "hunter2" not in caplog.text


SIGNED = [
    ("CHECKPOINT_URL", "s3://locked/hunter2"),
    ("WITNESSES", json.dumps([f"https://witness.example/hunter2 {VERIFIER}"])),
    ("EARLIER_SIGNING_KEY", "hunter2"),
]


@pytest.mark.parametrize(("variable", "value"), SIGNED)
def test_what_only_a_signing_key_makes_useful_is_refused_without_one(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sweep_settings.check_signer(Settings.load({variable: value}))
    assert str(refused.value).startswith(f"{variable} has no effect without SIGNING_KEY")
    assert "hunter2" not in str(refused.value)
    sweep_settings.check_signer(Settings.load({variable: value, "SIGNING_KEY": "x"}))


def test_only_the_function_that_signs_checkpoints_needs_a_signing_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from functions.local.http_server import function

    monkeypatch.setenv("CHECKPOINT_URL", tmp_path.as_uri())
    monkeypatch.delenv("SIGNING_KEY", raising=False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    monkeypatch.setattr(log, "setup", lambda _: None)  # it would replace the handlers of the tests
    current_app.cache_clear()
    event = {"ce-id": "1", "ce-source": "/x", "ce-specversion": "1.0", "ce-type": "unknown"}
    answered = function("advance").test_client().post("/", headers=event)
    assert answered.status_code == 500
    assert "CHECKPOINT_URL has no effect without SIGNING_KEY" in caplog.text
    assert function("submit").test_client().post("/api/v1/operator/compute").status_code == 400
    current_app.cache_clear()


@pytest.mark.parametrize("variables", [{}, {"SIGNING_KEY": ""}])
def test_on_a_laptop_only_an_empty_signing_key_is_refused(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`sluice up` makes a key if none is set."""
    for name in ("SIGNING_KEY", "SIGNING_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"CHECKPOINT_URL": tmp_path.as_uri(), **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="SIGNING_KEY") if variables else nullcontext():
        check_settings()


@pytest.mark.parametrize("command", [["up", "--port", "0"], ["doctor"]])
def test_sluice_up_and_doctor_name_a_wrong_setting(command: list[str], tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from functions.cli.main import main; main()", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WITNESSES": '["https://witness.example hunter2"]'},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert "WITNESSES: not the Ed25519 key of a witness" in ended.stdout + ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr


def test_settings_that_are_not_set_import_nothing() -> None:
    code = (
        "import sys; from functions.settings import Settings; before = set(sys.modules);"
        "from functions.engine import sweep_settings; sweep_settings.check(Settings.load({}));"
        "print(sorted(set(sys.modules) - before))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(found.stdout.replace("'", '"'))) <= {"functions.engine", "functions.engine.sweep_settings"}


@pytest.mark.parametrize("wrong", ["signing_key", "earlier_signing_key"])
def test_a_key_that_is_none_is_named_in_the_log_of_whoever_signs_and_told_to_nobody(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    proofs = proof_api()
    proofs.finished()
    object.__setattr__(proofs.api.app.settings, wrong, "hunter2")
    expected = f"{wrong.upper()} is not an Ed25519 key in PEM; make one with `openssl genpkey -algorithm ed25519`"
    with caplog.at_level("ERROR"):
        sweep(proofs.api.app)
    told = [record.getMessage() for record in caplog.records]
    assert f"a setting is wrong: {expected}" in told
    assert "internal error" not in told
    answered = proofs.api.get("/log/keys")
    assert answered.status_code == 500
    assert answered.json == {"error": "the service is configured wrongly; its log names the setting"}
    assert f"settings: {expected}" in caplog.text
    assert "hunter2" not in caplog.text
