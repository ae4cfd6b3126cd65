"""JSON columns keep what is put into them, in operator-service's shapes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.records import record

from functions.store import json_columns
from functions.workflow.model import ResultFile, Submission

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
files = st.builds(
    ResultFile,
    path=texts.filter(bool),
    size=st.integers(0, 1 << 60),
    type=st.sampled_from(["output", "algorithmLog", "configrationLog", "publishLog", "filteringLog"]),
    url=texts,
    sha256=st.none() | texts,
    content_type=st.none() | texts,
)


@given(st.lists(files, max_size=4).map(tuple))
def test_a_manifest_comes_back_as_it_was_stored(listed: tuple[ResultFile, ...]) -> None:
    stored = json_columns.encode_files(listed)
    assert json_columns.decode_files(stored) == listed
    lazy = json_columns.LazyFiles(stored)
    assert (len(lazy), tuple(lazy), lazy[1:]) == (len(listed), listed, list(listed[1:]))


@given(st.dictionaries(texts, json_values, max_size=4), texts)
def test_a_document_comes_back_as_it_was_stored(document: dict[str, Any], secret: str) -> None:
    submission = Submission("a", "o", "p", document, secret)
    stored = json_columns.encode_document(record().workflow, submission)
    assert json_columns.decode_document(stored) == (document, secret)


@given(json_values | texts)
def test_any_old_column_is_read_without_an_error(anything: Any) -> None:
    for text in (json.dumps(anything), json.dumps({"spec": anything, "metadata": anything}), str(anything), None):
        asked, secret = json_columns.decode_document(text)
        assert isinstance(asked, dict)
        assert isinstance(secret, str)
        assert tuple(json_columns.LazyFiles(text)) == json_columns.decode_files(text)
    json_columns.decode_files(json.dumps([dict.fromkeys(("filename", "filesize", "url", "type", "path"), anything)]))


def test_stored_json_has_the_keys_that_operator_service_reads() -> None:
    new = record()
    stored = json.loads(json_columns.encode_document(new.workflow, new.submission) or "")
    assert list(stored) == ["apiVersion", "kind", "metadata", "spec"]
    assert stored["metadata"]["labels"] == {"workflow": new.workflow.id}
    assert stored["spec"]["metadata"] == new.submission.document
    file = ResultFile("outputs/plots/a.svg", 7, "output", "file:///a.svg")
    (entry,) = json.loads(json_columns.encode_files((file,)) or "")
    assert list(entry)[:4] == ["filename", "filesize", "url", "type"]
    assert entry["filename"] == "plots/a.svg"
