"""A setting that would fail each request later is refused when `sluice up` starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from functions.cli.main import main
from functions.local.platform import Platform, PlatformError
from functions.local.settings_check import check_settings
from functions.store.ports import StoreUnavailable
from functions.variables import SettingsError

ROOT = Path(__file__).parents[2]
_DER = "MC4CAQAwBQYDK2VwBCIEIHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
KEY = f"-----BEGIN PRIVATE KEY-----\n{_DER}\n-----END PRIVATE KEY-----\n"
ISSUER = {"OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "sluice"}
WRONG = [
    ({"POLICIES_FILE": "/nowhere/hunter2"}, "POLICIES_FILE: cannot be read: No such file or directory"),
    ({"POLICIES_FILE": "policies.yaml"}, "POLICIES_FILE: policies[0].holds is not a known key; did you mean hold?"),
    ({"SIGNING_KEY": "hunter2"}, "SIGNING_KEY is not an Ed25519 key in PEM; make one with"),
    ({"SIGNING_KEY": KEY, "EARLIER_SIGNING_KEY": "hunter2"}, "EARLIER_SIGNING_KEY is not an Ed25519 key in PEM"),
    ({"TES_TOKENS_FILE": "/nowhere/hunter2"}, "TES_TOKENS_FILE names a file that cannot be read as text"),
    ({"TES_TOKENS_FILE": "policies.yaml"}, "TES_TOKENS_FILE, line 1: expected `<sha256 in hex> <owner>"),
    ({"OIDC_ISSUER": "https://issuer.example"}, "OIDC_AUDIENCE is not set; it is needed with OIDC_ISSUER"),
    ({**ISSUER, "OIDC_ISSUER": "hunter2"}, "OIDC_ISSUER must be a URL that begins with https://"),
    ({**ISSUER, "OIDC_ISSUER": "http://hunter2"}, "OIDC_ISSUER must be a URL that begins with https://"),
    ({**ISSUER, "OIDC_ISSUER": "https://[hunter2"}, "OIDC_ISSUER must be a URL that begins with https://"),
    ({**ISSUER, "OIDC_GROUPS": '["hunter2"]'}, "OIDC_GROUPS must be a JSON array of `group=environment`"),
    ({**ISSUER, "OIDC_JWKS_FILE": "/nowhere/hunter2"}, "OIDC_JWKS_FILE names a file that cannot be read as text"),
    ({**ISSUER, "OIDC_JWKS_FILE": "policies.yaml"}, "OIDC_JWKS_FILE must be a JSON Web Key Set"),
    ({"WITNESSES": '["https://hunter2"]'}, "WITNESSES: expected the URL of a witness, a space, and its key"),
    (
        {"ENVIRONMENTS_FILE": "environments.yaml", "POLICIES_FILE": "right.yaml"},
        "POLICIES_FILE has only x; the environment 'e' names the policy 'strict'",
    ),
    (
        {"ENVIRONMENTS_FILE": "environments.yaml"},
        "POLICIES_FILE is not set; the environment 'e' names the policy 'strict'",
    ),
    ({"ENVIRONMENTS_FILE": "policies.yaml"}, "ENVIRONMENTS_FILE: environments[0].data is not a known key"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("policies.yaml").write_text('- {id: x, data: ["did:op:x"], holds: never}\n')
    Path("right.yaml").write_text('- {id: x, data: ["did:op:x"]}\n')
    Path("environments.yaml").write_text("- {id: e, policy: strict}\n")


@pytest.mark.parametrize(("variables", "message"), WRONG)
def test_a_setting_that_cannot_be_used_is_refused_by_its_name(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        check_settings()
    assert str(refused.value).startswith(message)
    assert "hunter2" not in str(refused.value)


def test_settings_that_can_be_used_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("policies.yaml").write_text('- {id: x, data: ["did:op:x"]}\n')
    Path("tokens").write_text(f"{'0' * 64} alice\n")
    right = {"POLICIES_FILE": "policies.yaml", "TES_TOKENS_FILE": "tokens", "SIGNING_KEY": KEY}
    for name, value in {**right, **ISSUER, "OIDC_GROUPS": '["lab=x"]'}.items():
        monkeypatch.setenv(name, value)
    check_settings()


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["up", "--port", "0"], {"POLICIES_FILE": "nowhere"}, "Error: POLICIES_FILE: cannot be read"),
        (
            ["up", "--port", "0", "--dir", "file/x"],
            {},
            "Error: file/x: Not a directory; choose another folder with --dir",
        ),
        (
            ["up", "--port", "0", "--dir", "taken"],
            {},
            "Error: {taken}/sluice.db: file is not a database; choose another folder with --dir\n",
        ),
        (["up", "--port", "0", "--log", "file/x"], {}, "Error: file/x: Not a directory\n"),
    ],
)
def test_sluice_up_says_why_it_does_not_start(
    arguments: list[str], variables: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/sluice.db").write_text("something of mine " * 100)
    ended = subprocess.run(
        [sys.executable, "-c", "from functions.cli.main import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(message.replace("{taken}", str(tmp_path / "taken")))


def test_a_full_disk_at_the_start_is_told_with_the_file_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(url: str) -> None:
        raise StoreUnavailable("the database cannot do it now (database or disk is full)")

    monkeypatch.setattr("functions.store.migrate.migrate", full)
    with (
        pytest.raises(PlatformError, match=r"sluice.db: .*disk is full.; choose another folder"),
        Platform(tmp_path / "d"),
    ):
        pass


def test_sluice_doctor_calls_a_wrong_setting_a_failed_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICIES_FILE", "nowhere")
    ended = CliRunner().invoke(main, ["doctor", "--json"])
    checks = {each["name"]: each for each in json.loads(ended.stdout)["checks"]}
    assert ended.exit_code == 1
    assert checks["settings"] == {
        "name": "settings",
        "ok": False,
        "text": "POLICIES_FILE: cannot be read: No such file or directory",
    }
