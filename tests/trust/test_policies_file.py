"""The file of policies: read with errors in its own words, and described by its schema."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from functions.policies import load, schema
from functions.variables import SettingsError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "functions" / "policies.schema.json"
A = "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"


def read(tmp_path: Path, text: str) -> None:
    (tmp_path / "policies.yaml").write_text(text)
    load(str(tmp_path / "policies.yaml"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "must hold a list of at least one policy; see docs/trust.md"),
        ("- {id: p, holt: always}", r"policies\[0\].holt is not a known key; did you mean hold"),
        ("- {id: p, hold: sometimes}", r"policies\[0\].hold"),
        ("- {id: p, hold: always}", r"policies\[0\].checkers is missing; somebody must decide, as hold is always"),
        (f"- {{id: p, hold: always, approvals: 2, checkers: [{{name: a, address: '{A}'}}]}}", "must be at most 1"),
        (
            f"- {{id: p, checkers: [{{name: a, address: '{A}'}}, {{name: b, address: '{A}'}}]}}",
            "names one address twice",
        ),
        (
            f"- {{id: p, checkers: [{{name: a, address: '{A}'}}, {{name: a, address: '{A[:-1]}0'}}]}}",
            r"policies\[0\].checkers names 'a' twice",
        ),
        ("- {id: p, algorithms: [{did: 'did:op:1'}]}", r"algorithms\[0\].sha256 is missing"),
        (
            "- {id: p, publisherTrustedAlgorithms: [{did: x}]}",
            r"Algorithms\[0\].filesChecksum is missing",
        ),
        ("- {id: p}\n- {id: p}", r"policies\[1\].id 'p' is taken"),
        (
            "- {id: p, checks: {cells: {threshold: many}}}",
            r"checks.cells.threshold must be a whole number",
        ),
    ],
)
def test_an_error_names_the_key_and_what_it_must_be(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read(tmp_path, text)


def test_the_shipped_example_loads() -> None:
    (policy,) = load(str(ROOT / "examples" / "review" / "policies.yaml")).written
    assert policy.id == "penguins"


def test_without_a_file_there_are_no_policies() -> None:
    assert load("").written == ()


def test_the_shipped_schema_is_generated_from_the_types() -> None:
    """`UPDATE_DOCS=1` writes it anew."""
    generated = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        SCHEMA.write_text(generated)
    assert SCHEMA.read_text() == generated
