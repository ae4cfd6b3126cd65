"""The WorkFlow kind types what the functions read of a document, no more and no less."""

from __future__ import annotations

import copy
import json
import types
import typing
from typing import Any

import msgspec
import pytest
import yaml
from support.deployment import INSTALL, of_kind
from support.schemas import DATA, errors

from functions.cluster.kubernetes.workflow_status import workflow_status
from functions.workflow.document import Definition, parse
from functions.workflow.model import Ending, Limits, Phase, Workflow, WorkflowId

CRD = of_kind("install", "CustomResourceDefinition")["workflows.oceanprotocol.com"]
SCHEMA = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SAMPLE = yaml.safe_load((INSTALL / "workflow-1.yaml").read_text())


def workflow(document: Any) -> dict[str, Any]:
    return {**SAMPLE, "spec": {"metadata": document}}


def documents() -> list[Any]:
    """Documents as Providers and operator-service's users send them."""
    lines = (DATA / "provider-requests.jsonl").read_text().splitlines()
    bodies = [json.loads(line)["body"] for line in lines]
    found = [body["workflow"] for body in bodies if isinstance(body, dict) and "workflow" in body]
    return [SAMPLE["spec"]["metadata"], *found]


def test_the_kind_keeps_operator_engines_names() -> None:
    spec = CRD["spec"]
    assert (spec["group"], spec["scope"]) == ("oceanprotocol.com", "Namespaced")
    assert (spec["names"]["plural"], spec["names"]["kind"]) == ("workflows", "WorkFlow")
    (version,) = spec["versions"]
    assert version["name"] == "v1alpha"
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["Phase", "Age", "Reason"]


def test_the_schema_has_exactly_the_fields_that_are_read() -> None:
    compare(Definition, SCHEMA["properties"]["spec"]["properties"]["metadata"], "$")


def compare(kind: Any, node: dict[str, Any], at: str) -> None:
    """Walk the types and the schema together."""
    options, origin = alternatives(kind)
    if type(None) in options:
        assert node.get("nullable"), f"{at} may be null"
        options.remove(type(None))
    if len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], msgspec.Struct):
        fields = msgspec.structs.fields(options[0])
        assert {f.encode_name for f in fields} == node["properties"].keys(), at
        assert {f.encode_name for f in fields if f.required} == set(node.get("required", [])), at
        for field in fields:
            compare(field.type, node["properties"][field.encode_name], f"{at}.{field.encode_name}")
    elif len(options) == 1 and typing.get_origin(options[0]) is list:
        compare(typing.get_args(options[0])[0], node["items"], f"{at}[]")
    elif options == [typing.Any] or set(options) not in ({str}, {int}, {str, int}):
        assert node.get("x-kubernetes-preserve-unknown-fields"), f"{at} is {origin}"
    elif set(options) == {str, int}:
        assert node.get("x-kubernetes-int-or-string"), at
    else:
        assert node["type"] == {str: "string", int: "integer"}[options[0]], at


def alternatives(kind: Any) -> tuple[list[Any], Any]:
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [option for option in typing.get_args(kind) if option is not msgspec.UnsetType], kind
    return [kind], kind


@pytest.mark.parametrize("document", documents())
def test_the_schema_accepts_what_the_parser_accepts(document: Any) -> None:
    parse(document)
    assert errors(workflow(document)) == []


@pytest.mark.parametrize("document", documents())
def test_the_schema_prunes_no_field_that_the_parser_reads(document: Any) -> None:
    kept = pruned(document, SCHEMA["properties"]["spec"]["properties"]["metadata"])
    assert parse(kept) == parse(document)


def pruned(value: Any, node: dict[str, Any]) -> Any:
    """What the API server keeps of it."""
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, dict):
        known = node.get("properties", {})
        return {key: pruned(item, known[key]) for key, item in value.items() if key in known}
    return [pruned(item, node["items"]) for item in value] if isinstance(value, list) else value


def test_the_schema_refuses_what_is_not_a_workflow_document() -> None:
    bad = copy.deepcopy(SAMPLE["spec"]["metadata"])
    bad["stages"][0]["algorithm"]["rawcode"] = 1
    refused: list[Any] = [{}, {"stages": []}, bad]
    assert [document for document in refused if errors(workflow(document)) == []] == []


def test_the_status_that_is_written_is_in_the_schema() -> None:
    from datetime import UTC, datetime

    now = datetime(2026, 11, 22, tzinfo=UTC)
    running = Workflow(WorkflowId("w"), "ocean-compute", Limits(), now, phase=Phase.ALGORITHM, status=40)
    failed = Workflow(
        WorkflowId("w"),
        "ocean-compute",
        Limits(),
        now,
        phase=Phase.FINISHED,
        status=41,
        ending=Ending(41, "AlgorithmExit:3", 3),
        finished_at=now,
    )
    for each in (running, failed):
        written = {key: value for key, value in workflow_status(each).items() if value is not None}  # null removes
        assert errors({**SAMPLE, "status": written}) == []
        assert pruned(written, SCHEMA["properties"]["status"]) == written
