"""The database computes the keys of agreements and owners exactly as `comparable` does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions.ethereum import comparable
from functions.store.sql import SqlStore

HEX = st.text("0123456789abcdefABCDEF", min_size=38, max_size=68)
ALMOST = st.text("09afAFgGxX ıİK", min_size=38, max_size=68)
ANY = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=70)
TEXTS = st.builds(str.__add__, st.sampled_from(["", "0x", "0X", "x", "00"]), HEX | ALMOST) | ANY
INSERT = "INSERT INTO jobs (agreementid, workflowid, owner) VALUES (%(text)s, 'w', %(text)s)"


@pytest.fixture(params=["sqlite", "postgres"])
def sql_store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"))) as store:
        yield store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example("0x" + "Ab" * 32)
@example("AB" * 20)
@example("0X" + "aB" * 20)
@example("ab" * 33)
@example("É" * 64)
@given(TEXTS)
def test_the_database_and_the_program_agree_on_keys(sql_store: SqlStore, text: str) -> None:
    class RollBack(Exception):
        pass

    with pytest.raises(RollBack), sql_store.pool.transaction() as session:  # noqa: PT012
        session.execute(INSERT, {"text": text})
        (row,) = session.execute("SELECT agreement_key, owner_key FROM jobs WHERE workflowid = 'w'")
        assert row == {"agreement_key": comparable(text), "owner_key": comparable(text)}
        raise RollBack


@given(st.text("0123456789abcdefABCDEF", min_size=40, max_size=40) | st.binary(min_size=32, max_size=32).map(bytes.hex))
def test_every_spelling_of_an_id_has_the_same_key(digits: str) -> None:
    spellings = (digits, digits.lower(), digits.upper(), "0x" + digits, "0X" + digits.upper())
    assert {comparable(spelling) for spelling in spellings} == {digits.lower()}


@given(ANY)
def test_comparing_twice_changes_nothing(text: str) -> None:
    assert comparable(comparable(text)) == comparable(text)
