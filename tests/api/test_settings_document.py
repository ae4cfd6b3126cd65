"""docs/settings.md lists what functions/settings.py reads. `UPDATE_DOCS=1` writes the table anew."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from functions.settings import Settings
from functions.variables import SettingsError

DOCUMENT = Path(__file__).parents[2] / "docs/settings.md"
_TABLE = re.compile(r"(?<=<!-- table -->\n).*(?=<!-- end -->)", re.DOTALL)


def table() -> str:
    rows = [row(field) for field in dataclasses.fields(Settings) if field.metadata]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows, ""])


def row(field: dataclasses.Field[Any]) -> str:
    variable, meaning = field.metadata["variable"], field.metadata["meaning"]
    missing = ", which may be missing" if field.metadata["optional"] else ""
    also = f"; or `{variable}_FILE`{missing}" if field.metadata["secret"] else ""
    return f"| `{variable}` | {shown(field.default)} | {meaning}{also} |"


def shown(default: Any) -> str:
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, tuple):
        return "`[]`"
    return "" if default == "" else f"`{default}`"


def test_the_table_of_settings_is_what_the_code_reads() -> None:
    written = DOCUMENT.read_text()
    if os.environ.get("UPDATE_DOCS"):
        written = _TABLE.sub(lambda _: table(), written)
        DOCUMENT.write_text(written)
    found = _TABLE.search(written)
    assert found is not None
    assert found[0] == table()


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("THREADS", "a whole number"),
        ("SIGNATURE_REQUIRED", "0 or 1"),
        ("SLUICE_CLUSTER", "one of kubernetes, processes, memory"),
        ("LOG_LEVEL", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL, WARN, FATAL"),
        ("PUBLIC_URL", "a URL with a host that begins with https:// or http://"),
        ("TES_ORGANIZATION_URL", "a URL with a host that begins with https:// or http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "a URL with a host that begins with https:// or http://"),
        ("ALLOWED_PROVIDERS", 'a JSON array of strings, such as ["0xabc…"]'),
        ("NOTIFY_HOLD_URL", 'a JSON array of strings, such as ["https://hooks.example/sluice"]'),
        ("OIDC_GROUPS", 'a JSON array of strings, such as ["lab=ocean-compute"]'),
        (
            "WITNESSES",
            'a JSON array of strings, such as ["https://witness.example/api witness.example/w1+0f1e2d3c+BAk…"]',
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_without_quoting_it(variable: str, expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({variable: "hunter2"})
    assert str(refused.value) == f"{variable} must be {expected}"


@pytest.mark.parametrize("wrong", ["0xabc", "1" * 42, "0x" + "g" * 40, "0x" + "1" * 41, " 0x" + "1" * 40])
def test_an_address_that_is_none_is_refused_without_quoting_it(wrong: str) -> None:
    form = "an address: 0x and 40 hexadecimal digits"
    for variable, text, place in (
        ("OPERATOR_ADDRESS", wrong, ""),
        ("ALLOWED_PROVIDERS", json.dumps(["0x" + "1" * 40, wrong]), ": each entry"),
    ):
        with pytest.raises(SettingsError) as refused:
            Settings.load({variable: text})
        assert str(refused.value) == f"{variable}{place} must be {form}"
    mixed = "0xAbCd" + "0" * 36
    found = Settings.load({"OPERATOR_ADDRESS": "", "ALLOWED_PROVIDERS": json.dumps([mixed, mixed.lower()])})
    assert (found.operator_address, found.allowed_providers) == ("", (mixed, mixed.lower()))


def test_only_the_file_of_an_optional_secret_may_be_missing(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    found = Settings.load({"NOTIFY_HOLD_SECRET_FILE": missing, "EARLIER_SIGNING_KEY_FILE": missing})
    assert (found.notify_hold_secret, found.earlier_signing_key) == ("", "")
    for variable in ("SIGNING_KEY_FILE", "ALLOWED_ADMINS_FILE", "DATABASE_URL_FILE"):
        with pytest.raises(SettingsError, match=f"{variable} names a file that cannot be read"):
            Settings.load({variable: missing})
    with pytest.raises(SettingsError, match="NOTIFY_HOLD_SECRET_FILE names a file that cannot be read"):
        Settings.load({"NOTIFY_HOLD_SECRET_FILE": str(tmp_path)})


@pytest.mark.parametrize(
    ("variable", "least", "most"),
    [
        ("POSTGRES_PORT", 1, 65535),
        ("THREADS", 1, 1000),
        ("MAX_BODY_BYTES", 1, 1 << 30),
        ("CLIENT_SECONDS", 1, 3600),
    ],
)
def test_a_number_out_of_range_is_refused_with_its_range(variable: str, least: int, most: int) -> None:
    for value in (least - 1, most + 1, -5, 10**30):
        with pytest.raises(SettingsError, match=f"^{variable} must be a whole number from {least} to {most}$"):
            Settings.load({variable: str(value)})
    for value in (least, most):
        Settings.load({variable: str(value)})


@pytest.mark.parametrize("variable", ["SIGNING_KEY", "ALLOWED_ADMINS", "NOTIFY_HOLD_SECRET"])
def test_the_file_of_a_secret_that_is_no_text_is_named(tmp_path: Path, variable: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=f"^{variable}_FILE names a file that cannot be read$"):
        Settings.load({f"{variable}_FILE": str(file)})


@pytest.mark.parametrize("level", ["WARN", "warn", "FATAL"])
def test_each_log_level_of_operator_engine_is_accepted(level: str) -> None:
    assert Settings.load({"LOG_LEVEL": level}).log_level == level


def test_a_log_level_may_have_small_letters_and_a_url_may_be_empty() -> None:
    settings = Settings.load({"LOG_LEVEL": "debug", "OTEL_EXPORTER_OTLP_ENDPOINT": "", "NOTIFY_START_URL": ""})
    assert (settings.log_level, settings.otlp_endpoint) == ("debug", "")
