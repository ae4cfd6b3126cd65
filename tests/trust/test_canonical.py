"""Canonical JSON has one spelling, that of RFC 8785."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from functions.trust import canonical

ascii_keys = st.text(st.characters(max_codepoint=127), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4),
)


@given(values)
def test_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    assert canonical.encode(value) == rfc8785.dumps(value)


@given(values)
def test_what_was_read_back_has_the_same_digest(value: Any) -> None:
    assert canonical.digest(json.loads(canonical.encode(value))) == canonical.digest(value)


@pytest.mark.parametrize("value", [1.0, 2**53, {"é": 1}, {1: 2}, "\ud800", {"a": [float("nan")]}, b"bytes"])
def test_what_has_no_one_spelling_is_refused(value: Any) -> None:
    with pytest.raises(canonical.NotCanonical):
        canonical.encode(value)
