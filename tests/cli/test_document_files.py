"""Documents in files: their relative paths, and their errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from functions.cli.document_file import Document, in_plain_words, read
from functions.workflow.document import DocumentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "flock"
    (made / "data").mkdir(parents=True)
    (made / "data" / "a b.csv").write_text("1")
    (made / "algorithm.py").write_text("print(1)")
    (tmp_path / "secret").write_text("not yours")
    return made


def workflow(data: Any = "data/a b.csv", algorithm: str = "algorithm.py") -> dict[str, Any]:
    return {
        "stages": [
            {
                "input": [{"id": "did:op:1", "url": data}],
                "algorithm": {"url": algorithm, "container": {"entrypoint": "python3 $ALGO", "image": "python"}},
                "compute": {},
                "output": {},
            }
        ]
    }


YAML = """
stages:
  - input:
      - id: 2024-01-31  # a date in YAML 1.1
        url: [data/a b.csv]
    algorithm:
      rawcode: |
        print(1)
        print(2)
      container: {entrypoint: python3 $ALGO, image: python}
    compute: {}
    output: {}
"""


def written(folder: Path, content: Any, name: str = "workflow.json") -> Document:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return read(folder / name)


def test_relative_paths_become_urls_of_the_file_server_which_serves_only_these_files(folder: Path) -> None:
    rewritten, files = written(folder, workflow()).served("http://127.0.0.1:1")
    stage = rewritten["stages"][0]
    assert stage["input"][0]["url"] == "http://127.0.0.1:1/data/a%20b.csv"
    assert stage["algorithm"]["url"] == "http://127.0.0.1:1/algorithm.py"
    assert files == {"/data/a b.csv": folder / "data" / "a b.csv", "/algorithm.py": folder / "algorithm.py"}


def test_a_file_url_may_be_relative_too_and_a_list_of_urls_is_resolved_one_by_one(folder: Path) -> None:
    rewritten, files = written(folder, workflow(["file:data/a%20b.csv", "https://example.org/x"])).served("http://h")
    assert rewritten["stages"][0]["input"][0]["url"] == ["http://h/data/a%20b.csv", "https://example.org/x"]
    assert len(files) == 2


def test_absolute_urls_stay_as_they_are(folder: Path) -> None:
    rewritten, files = written(folder, workflow("file:///srv/x", "https://example.org/a.py")).served("http://h")
    assert rewritten == workflow("file:///srv/x", "https://example.org/a.py")
    assert files == {}


def test_a_submitted_document_contains_its_algorithm_and_absolute_urls_of_its_data(folder: Path) -> None:
    stage = written(folder, workflow()).standalone()["stages"][0]
    assert stage["algorithm"]["rawcode"] == "print(1)"
    assert "url" not in stage["algorithm"]
    assert stage["input"][0]["url"] == (folder / "data" / "a b.csv").as_uri()


def test_the_body_of_a_post_is_a_document_too(folder: Path) -> None:
    document = written(folder, {"workflow": workflow(), "owner": "0x1", "environment": "ocean-compute"})
    assert document.request == {"owner": "0x1", "environment": "ocean-compute"}
    assert document.standalone()["stages"]


def test_a_document_may_be_yaml(folder: Path) -> None:
    (folder / "flock.yaml").write_text(YAML)
    stage = read(folder / "flock.yaml").standalone()["stages"][0]
    assert stage["algorithm"]["rawcode"] == "print(1)\nprint(2)\n"
    assert stage["input"][0]["url"] == [(folder / "data" / "a b.csv").as_uri()]
    assert stage["input"][0]["id"] == "2024-01-31"


def test_a_file_without_a_known_suffix_may_hold_either(folder: Path) -> None:
    assert written(folder, YAML, "flock").standalone()["stages"]
    assert written(folder, workflow(), "flock").standalone()["stages"]


@pytest.mark.parametrize("name", ["flock.yaml", "flock.json"])
def test_the_object_of_a_workflow_is_a_document(folder: Path, name: str) -> None:
    made = {"apiVersion": "oceanprotocol.com/v1alpha", "kind": "WorkFlow", "spec": {"metadata": workflow()}}
    assert written(folder, made, name).standalone()["stages"]
    with pytest.raises(DocumentError) as caught:
        written(folder, {**made, "spec": {"metadata": {"stages": "x"}}}, name).standalone()
    assert caught.value.path == "$.spec.metadata.stages"


def test_the_object_that_is_shipped_is_a_document() -> None:
    shipped = read(Path(__file__).parents[2] / "k8s_install" / "workflow-1.yaml").standalone()
    assert shipped["stages"][0]["algorithm"]["container"]["tag"] == "3.12-slim"


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        ("a: b: c", "line 1, column 5", "YAML (mapping values"),
        ("stages: &a []\nother: *a", "line 2, column 8", "YAML (aliases are refused)"),
        ("stages: []\nstages: []", "line 2, column 1", "YAML (the key 'stages' is given twice in one mapping)"),
        ("stages: [{index: 0, index: 1}]", "line 1, column 21", "YAML (the key 'index' is given twice"),
        ("stages: []\n---\nstages: []", "line 2, column 1", "but found another document"),
        ("stages: .nan", "", "JSON could hold"),
        ("stages: !!binary aGk=", "", "JSON could hold"),
        ("stages: !!python/object/apply:os.system [id]", "line 1, column 9", "YAML (could not determine a constructor"),
        ("[" * 10_000, "", "less nesting"),
        ("kind: Pod", "$.kind", "`WorkFlow`, not Pod"),
        ("kind: WorkFlow\nspec: {}", "$.spec.metadata", "the workflow"),
        ("stages: 3", "$.stages", "array"),
        ("just text", "$", "an object"),
        ("", "$", "an object"),
    ],
)
def test_an_invalid_yaml_file_is_refused_with_the_place_and_the_expectation(
    folder: Path, content: str, path: str, expected: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        written(folder, content, "flock.yaml").standalone()
    assert path in caught.value.path
    assert expected in caught.value.expected


def test_a_document_is_named_after_its_file_or_its_folder(folder: Path) -> None:
    assert written(folder, workflow()).name == "flock"
    assert written(folder, workflow(), "census.json").name == "census"


@pytest.mark.parametrize("path", ["../secret", "data/../../secret", "file:../secret", "file:%2e%2e/secret"])
def test_a_path_may_not_lead_out_of_the_documents_folder(folder: Path, path: str) -> None:
    with pytest.raises(DocumentError) as caught:
        written(folder, workflow(path)).served("http://h")
    assert caught.value.path == "$.stages[0].input[0].url"
    assert "below the document's folder" in caught.value.expected


def test_a_link_may_not_lead_out_of_the_documents_folder(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "secret")
    with pytest.raises(DocumentError, match="below the document's folder"):
        written(folder, workflow("link")).standalone()


@pytest.mark.parametrize(
    ("content", "path", "expected"),
    [
        ('{"a": 1,\n "b"}', "line 2, column 5", "JSON"),
        ([], "$", "an object"),
        ({"stages": "x"}, "$.stages", "array"),
        (workflow("data/none.csv"), "$.stages[0].input[0].url", "data/none.csv does not exist"),
        ({"workflow": {"stages": [{}]}}, "$.workflow.stages[0]", "algorithm"),
        (workflow(algorithm="gopher://x/y"), "$.stages[0].algorithm.url", "schemes"),
        (workflow(data=[None]), "$.stages[0].input[0].url", "str"),
    ],
)
def test_an_invalid_document_is_refused_with_the_path_and_the_expectation(
    folder: Path, content: Any, path: str, expected: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        written(folder, content).served("http://h")
    assert path in caught.value.path
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"stages": []}, "a list of at least one item"),
        ({"stages": [{}, {}]}, "a list of at most one item"),
        ({"stages": "x"}, "a list, not a text"),
        (workflow(data=[None]), "a text, not null"),
        (workflow(data=1), "a text or a list or null, not a whole number"),
        ({"stages": [{}]}, "the field `algorithm`"),
        (workflow(algorithm="gopher://x/y"), "a URL with one of the schemes ar, az, file, gs, http, https, ipfs, s3"),
    ],
)
def test_the_expectation_is_explained_without_pythons_names_of_types(folder: Path, content: Any, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        written(folder, content).served("http://h")
    assert in_plain_words(caught.value.expected) == said
