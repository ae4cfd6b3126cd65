"""Who calls: tokens of the file, and everybody on the laptop."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from support.api import app
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.api.auth import tokens
from functions.api.auth.principal import MAX_TOKEN, Principal, carries_token, require_principal
from functions.api.http import Call, HttpError
from functions.variables import SettingsError


def called(header: str | None, **settings: Any) -> Principal:
    headers = [] if header is None else [("Authorization", header)]
    return require_principal(Call(Request(EnvironBuilder(headers=headers).get_environ()), app(**settings), {}))


def refused(header: str | None, **settings: Any) -> HttpError:
    with pytest.raises(HttpError) as caught:
        called(header, **settings)
    return caught.value


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def test_a_bearer_token_of_the_file_names_its_owner_and_environments(token_file: Path) -> None:
    alice = called("Bearer secret-a", tes_tokens_file=str(token_file))
    assert alice == Principal("alice", frozenset({"lab", "other"}))
    assert alice.may_use("lab")
    assert not alice.may_use("ocean-compute")


def test_a_token_without_environments_may_use_all(token_file: Path) -> None:
    assert called("bearer secret-b", tes_tokens_file=str(token_file)).may_use("anything")


def test_the_token_is_the_password_of_basic_authentication(token_file: Path) -> None:
    for user in ("bob", "", "somebody else"):
        assert called(basic(user, "secret-b"), tes_tokens_file=str(token_file)).owner == "bob"


def test_a_line_may_make_an_admin(token_file: Path) -> None:
    assert called("Bearer secret-c", tes_tokens_file=str(token_file)).admin
    assert not called("Bearer secret-b", tes_tokens_file=str(token_file)).admin


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer " + "x" * (MAX_TOKEN + 1),
        "Bearer \xff\xfe",
        "Basic",
        "Basic %%%",
        "Basic " + b64encode(b"\xff\xfe").decode(),
        basic("None", "None"),
        basic("secret-a", ""),
        "Digest secret-a",
        f"Bearer {tokens.digest('secret-a')}",
        "Bearer a.b.c",
    ],
)
def test_anything_else_is_answered_with_401_and_what_to_send(header: str | None, token_file: Path) -> None:
    error = refused(header, tes_tokens_file=str(token_file))
    assert error.status == 401
    assert error.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Authorization: Bearer TOKEN" in error.message
    assert "secret" not in error.message


def test_without_a_file_and_an_issuer_nobody_gets_in() -> None:
    assert refused("Bearer secret-a").status == 401


def test_a_changed_file_is_read_again(token_file: Path) -> None:
    assert called("Bearer secret-b", tes_tokens_file=str(token_file)).owner == "bob"
    token_file.write_text(f"{tokens.digest('secret-d')} dora\n")
    assert refused("Bearer secret-b", tes_tokens_file=str(token_file)).status == 401
    assert called("Bearer secret-d", tes_tokens_file=str(token_file)).owner == "dora"
    token_file.write_text(f"{tokens.digest('secret-e')} emma\n")
    os.utime(token_file, (1, 1))  # another time, the same size
    assert called("Bearer secret-e", tes_tokens_file=str(token_file)).owner == "emma"


def test_a_swapped_secret_is_read_again(tmp_path: Path) -> None:
    """A mounted Secret is a link, which the kubelet points to another folder."""
    for name, secret in (("old", "secret-1"), ("new", "secret-2")):
        (tmp_path / name).write_text(f"{tokens.digest(secret)} bob\n")
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "tokens"
    link.symlink_to("old")
    assert called("Bearer secret-1", tes_tokens_file=str(link)).owner == "bob"
    link.unlink()
    link.symlink_to("new")
    assert refused("Bearer secret-1", tes_tokens_file=str(link)).status == 401


@pytest.mark.parametrize(
    "line",
    [
        "secret alice",
        f"{tokens.digest('x')}",
        f"{tokens.digest('x')} oidc:alice",
        f"{tokens.digest('x')} a/../b",
        f"{tokens.digest('x')} alice root",
    ],
)
def test_a_wrong_line_is_named_by_its_number_and_not_shown(line: str, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        called("Bearer x", tes_tokens_file=str(file))
    assert "TES_TOKENS_FILE, line 2: expected" in str(caught.value)
    assert line not in str(caught.value)


def test_a_missing_file_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TES_TOKENS_FILE"):
        called("Bearer x", tes_tokens_file=str(tmp_path / "missing"))


def test_a_written_line_reads_back() -> None:
    entry = tokens.Entry(tokens.digest("x"), "alice", frozenset({"b", "a"}), admin=True)
    assert tokens.parse([entry.line]) == [entry]
    assert entry.line.endswith(" alice environments=a,b admin")


def test_new_tokens_differ_and_are_long() -> None:
    made = {tokens.new_token() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 43


@pytest.mark.parametrize("header", [None, basic("None", "None"), "Bearer nonsense", "x"])
def test_an_open_server_ignores_what_the_request_carries(header: str | None) -> None:
    assert called(header, open_tes=True) == Principal("local")


def test_a_server_with_tokens_is_not_open(token_file: Path) -> None:
    assert refused(None, open_tes=True, tes_tokens_file=str(token_file)).status == 401
    assert refused(None, open_tes=True, oidc_issuer="https://issuer.example").status == 401


@pytest.mark.parametrize(
    ("headers", "carries"),
    [
        ({}, False),
        ({"Authorization": "Bearer x"}, True),
        ({"Authorization": "Basic eA=="}, True),
        ({"Authorization": "Checker 1:0x"}, False),
        ({"Authorization": "Bearer x", "Admin": "y"}, False),  # an operator, who says so
    ],
)
def test_a_request_with_the_admin_header_is_an_operators(headers: dict[str, str], carries: bool) -> None:
    assert carries_token(Call(Request(EnvironBuilder(headers=[*headers.items()]).get_environ()), app(), {})) is carries
