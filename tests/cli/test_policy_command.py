"""`sluice policy` checks a file of policies, and explains what it would mean for a document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.fake_api import Sluice

from functions.policies import load
from functions.trust.policy import digest, of_written

EXAMPLES = Path(__file__).parents[2] / "examples"
PENGUINS = EXAMPLES / "penguins" / "workflow.json"
TASK = EXAMPLES / "tes" / "task.json"
CHECKERS = [{"name": name, "address": f"0x{digit * 40}"} for name, digit in (("ann", "a"), ("bob", "b"))]


@pytest.fixture
def policies(tmp_path: Path) -> Any:
    """Writes a file of policies. Its data are the penguins' unless a policy says otherwise."""

    def write(*written: dict[str, Any]) -> Path:
        file = tmp_path / "policies.yaml"
        file.write_text(json.dumps([{"id": "p", "data": ["did:op:penguins-2007"], **each} for each in written]))
        return file

    return write


def explained(ended: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_valid_file_is_listed_with_the_digest_of_each_policy(sluice: Sluice, policies: Any) -> None:
    file = policies({}, {"id": "q", "hold": "always", "checkers": CHECKERS})
    digests = [digest(of_written(each)) for each in load(str(file)).written]
    ended = sluice("policy", "check", file)
    assert (ended.exit_code, ended.stdout) == (0, f"p  sha256 {digests[0]}\nq  sha256 {digests[1]}\n")
    as_json = sluice("policy", "check", file, "--json")
    assert json.loads(as_json.stdout) == [{"id": "p", "sha256": digests[0]}, {"id": "q", "sha256": digests[1]}]


def test_the_digest_of_a_policy_changes_with_what_it_asks_for(sluice: Sluice, policies: Any) -> None:
    before = sluice("policy", "check", policies({})).stdout
    assert sluice("policy", "check", policies({"rawCode": False})).stdout != before


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"hold": "always"}, "policies[0].checkers is missing; somebody must decide, as hold is always"),
        ({"rawcode": True}, "policies[0].rawcode is not a known key; did you mean rawCode"),
    ],
)
def test_an_invalid_file_is_refused_with_its_name_and_the_key(
    sluice: Sluice, policies: Any, written: dict[str, Any], message: str
) -> None:
    file = policies(written)
    for command in (["check", file], ["explain", PENGUINS, "--policies", file]):
        ended = sluice("policy", *command)
        assert ended.exit_code == 2
        assert f"Error: {file}: {message}" in ended.stderr
        assert ended.stdout == ""


def test_a_workflow_on_data_without_a_policy_may_run_and_its_results_leave(sluice: Sluice, policies: Any) -> None:
    file = policies({"data": ["did:op:others"], "rawCode": False, "hold": "always", "checkers": CHECKERS})
    ended = sluice("policy", "explain", PENGUINS, "--policies", file)
    assert ended.exit_code == 0
    assert ended.stdout.splitlines() == [
        "policies     none",
        "refused      none",
        "checked      no",
        "hold         never",
        "approvals    none",
        "holdSeconds  none",
        "budgets      none",
    ]


def test_the_policy_of_the_environment_counts_where_no_other_does(sluice: Sluice, policies: Any) -> None:
    file = policies({"data": [], "rawCode": False})
    ended = sluice("policy", "explain", PENGUINS, "--policies", file, "--default", "p", "--json")
    assert ended.exit_code == 1
    assert explained(ended)["policies"] == ["p"]


def test_a_default_that_no_policy_has_as_its_id_is_refused(sluice: Sluice, policies: Any) -> None:
    file = policies({}, {"id": "q", "data": []})
    ended = sluice("policy", "explain", PENGUINS, "--policies", file, "--default", "Q")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert f"Error: --default: {file} has no policy 'Q'; it has: p, q" in ended.stderr


def test_a_policy_that_holds_says_who_decides_and_how_long(sluice: Sluice, policies: Any) -> None:
    asked = {"hold": "always", "approvals": 2, "holdSeconds": 3600, "runs": {"perOwner": 3, "days": 7}}
    ended = sluice("policy", "explain", PENGUINS, "--policies", policies({**asked, "checks": {}, "checkers": CHECKERS}))
    assert ended.exit_code == 0
    a, b = (each["address"] for each in CHECKERS)
    assert ended.stdout.splitlines() == [
        "policies     p",
        "refused      none",
        "checked      yes",
        "hold         always",
        f"approvals    needed 2, checkers {a}; {b}",
        "holdSeconds  3600",
        "budgets      policy p, perOwner 3, days 7",
    ]


def test_the_policies_of_several_data_sets_are_explained_as_one(sluice: Sluice, policies: Any) -> None:
    first = {"hold": "on-findings", "checkers": CHECKERS[:1]}
    second = {"id": "q", "data": ["did:op:penguins-2008-2009"], "hold": "always", "checkers": CHECKERS[1:]}
    found = explained(sluice("policy", "explain", PENGUINS, "--policies", policies(first, second), "--json"))
    assert (found["policies"], found["hold"], found["checked"]) == (["p", "q"], "always", True)
    assert sorted(tuple(each["checkers"]) for each in found["approvals"]) == [
        (CHECKERS[0]["address"],),
        (CHECKERS[1]["address"],),
    ]


def test_a_workflow_that_a_policy_refuses_is_told_why_and_fails(sluice: Sluice, policies: Any) -> None:
    listed = {"algorithms": [{"did": "did:op:other", "sha256": "ab" * 32}]}
    ended = sluice("policy", "explain", PENGUINS, "--policies", policies(listed))
    assert ended.exit_code == 1
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("refused"))
    assert line.startswith("refused      the policy p does not list this algorithm; the sha256 of its bytes is ")


def test_a_document_that_is_not_a_workflow_is_refused_with_its_place(
    sluice: Sluice, policies: Any, tmp_path: Path
) -> None:
    document = tmp_path / "workflow.json"
    document.write_text('{"stages": [{"index": 0}]}')
    ended = sluice("policy", "explain", document, "--policies", policies({}))
    assert ended.exit_code == 2
    assert "workflow.json is not a valid workflow" in ended.stderr
    assert "$.stages[0]" in ended.stderr


def test_a_file_of_policies_that_is_missing_is_named(sluice: Sluice, tmp_path: Path) -> None:
    ended = sluice("policy", "explain", PENGUINS, "--policies", tmp_path / "none.yaml")
    assert ended.exit_code == 2
    assert "none.yaml" in ended.stderr


def test_a_task_is_explained_as_a_workflow_is(sluice: Sluice, policies: Any) -> None:
    data = {"data": [(EXAMPLES / "penguins").as_uri() + "/"]}
    free = sluice("policy", "explain", TASK, "--policies", policies({"data": ["did:op:others"]}), "--json")
    assert (free.exit_code, explained(free)["policies"]) == (0, [])
    held = sluice(
        *("policy", "explain", TASK, "--json"),
        *("--policies", policies({**data, "hold": "always", "checkers": CHECKERS})),
    )
    assert (held.exit_code, explained(held)["policies"], explained(held)["hold"]) == (0, ["p"], "always")


def test_a_task_with_an_executor_that_no_policy_lists_is_refused_with_its_number(
    sluice: Sluice, policies: Any, tmp_path: Path
) -> None:
    digest = f"sha256:{'ab' * 32}"
    listed = policies({"algorithms": [{"image": digest, "entrypoint": "wc /in/a"}], "data": ["https://data.example/"]})
    executors = [{"image": f"a@{digest}", "command": [program, "/in/a"]} for program in ("wc", "cat")]
    task = {"executors": executors, "inputs": [{"url": "https://data.example/a", "path": "/in/a"}]}
    (tmp_path / "task.json").write_text(json.dumps(task))
    ended = sluice("policy", "explain", tmp_path / "task.json", "--policies", listed, "--json")
    assert ended.exit_code == 1
    assert explained(ended)["refused"].startswith("executor 2: the policy p does not list this algorithm")


def test_a_task_that_is_not_valid_is_named_with_the_place(sluice: Sluice, policies: Any, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text('{"executors": []}')
    ended = sluice("policy", "explain", tmp_path / "task.json", "--policies", policies({}))
    assert ended.exit_code == 2
    assert "is not a valid task" in ended.stderr
    assert "$.executors" in ended.stderr
    assert "sluice tes run" not in ended.stderr


def test_a_file_that_cannot_be_parsed_is_called_neither_a_workflow_nor_a_task(
    sluice: Sluice, policies: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text('{"executors": [')
    ended = sluice("policy", "explain", tmp_path / "broken.json", "--policies", policies({}))
    assert ended.exit_code == 2
    assert "is not a valid workflow or task" in ended.stderr
