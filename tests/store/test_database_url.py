"""The database's address, from one URL or from operator-service's variables, reaches the driver as it was meant."""

from __future__ import annotations

import pytest
from psycopg2.extensions import parse_dsn

from functions.settings import Settings
from functions.variables import SettingsError

NAMES = {"POSTGRES_USER": "us@er", "POSTGRES_PASSWORD": "p:/?#%&=+ w", "POSTGRES_PORT": "5433", "POSTGRES_DB": "a/b?c"}


@pytest.mark.parametrize("host", ["db.example", "10.0.0.1", "::1", "/var/run/postgresql"])
def test_operator_services_variables_may_hold_any_character(host: str) -> None:
    assert parse_dsn(Settings.load({**NAMES, "POSTGRES_HOST": host}).database) == {
        "host": host,
        "port": "5433",
        "user": "us@er",
        "password": "p:/?#%&=+ w",
        "dbname": "a/b?c",
    }


@pytest.mark.parametrize("url", ["mysql://u:secret@h/db", "sluice.db", "postgresql:/h/db"])
def test_an_unsupported_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(SettingsError, match="must begin with postgresql:// or sqlite:///") as refused:
        _ = Settings.load({"DATABASE_URL": url}).database
    assert "secret" not in str(refused.value)
