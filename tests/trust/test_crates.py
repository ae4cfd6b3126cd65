"""The crate of a workflow in every state: a valid bag, a graph that meets its profiles, and no secret."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from support.api import OWNER
from support.five_safes_rules import broken
from support.proofs import (
    CONTENTS,
    IMAGE,
    ProofApi,
    entity,
    finished_task,
    graph_of,
    held_job,
    held_proof_api,
    proof_api,
    published,
    rejected_job,
    released_job,
    unpacked,
)
from support.rocrate import Validate, roc_validator

from functions.cli.main import main
from functions.workflow.model import Manifest, Stage

STATES: dict[str, Callable[[], tuple[ProofApi, str]]] = {
    "finished": lambda: _made(proof_api(), ProofApi.finished),
    "failed": lambda: _made(proof_api(), ProofApi.failed),
    "failed with results": lambda: _made(proof_api(), lambda proofs: proofs.failed(CONTENTS)),
    "deleted": lambda: _made(proof_api(), ProofApi.deleted),
    "held": lambda: _made(held_proof_api(), held_job),
    "rejected": lambda: _made(held_proof_api(), rejected_job),
    "released": lambda: _made(held_proof_api(), released_job),
}
EDITIONS = ("holder", "consumer")


def _made(proofs: ProofApi, make: Callable[[ProofApi], str]) -> tuple[ProofApi, str]:
    return proofs, make(proofs)


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("state", STATES)
def test_each_crate_is_a_bag_that_sha512sum_verifies_and_meets_five_safes(
    state: str, edition: str, tmp_path: Path
) -> None:
    proofs, job = STATES[state]()
    bag = unpacked(proofs.crate(job, edition), tmp_path)
    assert (bag / "bagit.txt").read_text() == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    assert "External-Identifier: urn:uuid:" in (bag / "bag-info.txt").read_text()
    for manifest in ("manifest-sha512.txt", "tagmanifest-sha512.txt"):
        subprocess.run(["sha512sum", "--quiet", "-c", manifest], cwd=bag, check=True)
    named = {line.split("  ")[1] for line in (bag / "manifest-sha512.txt").read_text().splitlines()}
    assert named == {str(path.relative_to(bag)) for path in (bag / "data").rglob("*") if path.is_file()}
    assert broken(graph_of(bag)) == []


def test_the_same_record_makes_the_same_bytes() -> None:
    proofs, job = STATES["finished"]()
    assert proofs.crate(job) == proofs.crate(job)


def test_a_finished_crate_has_the_results_and_says_what_ran_on_what(tmp_path: Path) -> None:
    proofs, job = STATES["finished"]()
    bag = unpacked(proofs.crate(job), tmp_path)
    assert {path: (bag / "data" / path).read_bytes() for path in CONTENTS} == CONTENTS
    graph = graph_of(bag)
    (run,) = entity(graph, "CreateAction")
    (data,) = entity(graph, "DigitalDocument")
    (image,) = entity(graph, "ContainerImage")
    assert data["sha256"] == "ef" * 32
    assert image["sha256"] == IMAGE.removeprefix("sha256:")
    assert run["containerImage"] == {"@id": image["@id"]}
    assert {each["@id"] for each in run["result"]} == set(CONTENTS)
    statistics = next(each for each in graph["@graph"] if each["@id"] == "outputs/statistics.csv")
    assert statistics["sha256"] == hashlib.sha256(CONTENTS["outputs/statistics.csv"]).hexdigest()


@pytest.mark.parametrize("state", ["held", "rejected", "failed", "deleted"])
def test_what_did_not_leave_is_not_in_a_crate(state: str, tmp_path: Path) -> None:
    proofs, job = STATES[state]()
    for edition in EDITIONS:
        bag = unpacked(proofs.crate(job, edition), tmp_path / edition)
        assert not (bag / "data/outputs").exists()
        assert "result" not in entity(graph_of(bag), "CreateAction")[0]


def test_what_left_of_a_failed_run_is_the_result_of_its_action(tmp_path: Path) -> None:
    proofs, job = STATES["failed with results"]()
    bag = unpacked(proofs.crate(job), tmp_path)
    (run,) = entity(graph_of(bag), "CreateAction")
    assert run["actionStatus"].endswith("FailedActionStatus")
    assert {each["@id"] for each in run["result"]} == set(CONTENTS)
    assert {path: (bag / "data" / path).read_bytes() for path in CONTENTS} == CONTENTS


def test_the_holder_sees_what_is_withheld_and_who_decided_and_the_consumer_does_not(tmp_path: Path) -> None:
    proofs, job = STATES["rejected"]()
    holder = unpacked(proofs.crate(job), tmp_path / "h")
    withheld = [json.loads(line) for line in (holder / "data/withheld.jsonl").read_text().splitlines()]
    assert [each["path"] for each in withheld] == ["outputs/a.csv", "outputs/b.svg"]
    assert "urn:ethereum:0x" in (holder / "data/ro-crate-metadata.json").read_text()
    assert (holder / "data/decisions.jsonl").exists()
    consumer = unpacked(proofs.crate(job, "consumer"), tmp_path / "c")
    everything = "".join(path.read_text() for path in consumer.rglob("*") if path.is_file())
    for hidden in ("a.csv", "urn:ethereum:", "strict.yaml", OWNER, "withheld.jsonl", "history.jsonl"):
        assert hidden not in everything


def test_the_consumer_of_a_guarded_run_learns_times_to_the_minute(tmp_path: Path) -> None:
    proofs, job = STATES["held"]()
    consumer = graph_of(unpacked(proofs.crate(job, "consumer"), tmp_path / "c"))
    times = [value for each in consumer["@graph"] for name, value in each.items() if name in ("startTime", "endTime")]
    assert times
    assert all(time.endswith(":00+00:00") for time in times)


def test_a_held_crate_says_that_a_decision_is_wanted(tmp_path: Path) -> None:
    proofs, job = STATES["held"]()
    graph = graph_of(unpacked(proofs.crate(job), tmp_path))
    waiting = [each for each in entity(graph, "AssessAction") if "waits for a decision" in each["name"]]
    assert [each["actionStatus"] for each in waiting] == ["http://schema.org/PotentialActionStatus"]


def test_what_the_operators_filter_did_is_told_to_the_holder_alone(tmp_path: Path) -> None:
    proofs = proof_api()
    app = proofs.api.app
    app.environments = {
        name: replace(each, filter_image="f", filter_command=("/filter",)) for name, each in app.environments.items()
    }
    job = proofs.api.start()["jobId"]
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.FILTER):
        proofs.end(job, stage)
    counts = {"unfiltered": "ab" * 32, "removed": "2", "changed": "1", "added": "0"}
    proofs.end(job, Stage.PUBLISH, manifest=Manifest(published(app.storage, CONTENTS)), facts=counts)
    names = {}
    for edition in EDITIONS:
        bag = unpacked(proofs.crate(job, edition), tmp_path / edition)
        assert broken(graph_of(bag)) == []
        names[edition] = [each["name"] for each in entity(graph_of(bag), "AssessAction") if "filter" in each["name"]]
    name = "Disclosure check by the operator's filter"
    assert names == {"holder": [f"{name}: removed 2, changed 1, added 0"], "consumer": [name]}
    ended = CliRunner().invoke(main, ["verify", str(next((tmp_path / "holder").iterdir()))])
    assert "the operator's filter removed 2, changed 1, added 0" in ended.output


def test_secrets_and_addresses_of_data_are_not_in_a_crate(tmp_path: Path) -> None:
    proofs, job = STATES["finished"]()
    record = proofs.api.app.store.get(job)  # type: ignore[arg-type]
    assert record is not None
    bag = unpacked(proofs.crate(job), tmp_path)
    everything = "".join(path.read_text() for path in bag.rglob("*") if path.is_file())
    assert record.submission.secret not in everything
    document = json.loads((bag / "data/workflow/workflow.json").read_text())
    given = record.submission.document["stages"][0]["input"][0]
    for name in ("url", "remote"):
        if given.get(name):
            assert list(document["stages"][0]["input"][0][name]) == ["redacted"]


def test_many_outputs_are_listed_by_their_folder(tmp_path: Path) -> None:
    proofs = proof_api()
    job = proofs.finished({f"outputs/{n}.csv": b"%d" % n for n in range(301)})
    bag = unpacked(proofs.crate(job), tmp_path)
    assert entity(graph_of(bag), "CreateAction")[0]["result"] == {"@id": "outputs/"}
    assert len((bag / "manifest-sha512.txt").read_text().splitlines()) > 301
    assert broken(graph_of(bag)) == []


# --- roc-validator --------------------------------------------------------------------------------

VALIDATOR = os.environ.get("SLUICE_CRATES_PYTHON") or str(Path(__file__).parents[2] / ".venv-crates/bin/python")
LONG = "SLUICE_LONG" in os.environ
CRATE = ("ro-crate-1.2", "REQUIRED")  # takes three times as long as the others
PROCESS_RUN = ("process-run-crate-0.5", "RECOMMENDED", "ro-crate-1.1_5.3", "ro-crate-1.1_28.1")
NESTED = ("workflow-ro-crate-1.0", "REQUIRED")
NO_RESULT = ["process-run-crate-0.5_11.1: The Action SHOULD have a result"]
WITH_RESULT = ("finished", "failed with results", "released", "task")


@pytest.fixture(scope="module")
def validate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validate]:
    if shutil.which(VALIDATOR) is None:
        pytest.skip("roc-validator is not installed: `make .venv-crates/.ready`")
    with roc_validator(VALIDATOR, tmp_path_factory.mktemp("contexts") / "cache") as validate:
        yield validate


@pytest.mark.parametrize("edition", EDITIONS if LONG else EDITIONS[:1])
@pytest.mark.parametrize("state", [*STATES, "task"])
def test_roc_validator_finds_nothing(state: str, edition: str, tmp_path: Path, validate: Validate) -> None:
    proofs, job = STATES[state]() if state != "task" else finished_task()
    data = unpacked(proofs.crate(job, edition), tmp_path) / "data"
    assert validate(data, PROCESS_RUN) == ([] if state in WITH_RESULT else NO_RESULT)
    if LONG or state in ("finished", "task"):
        assert validate(data / "workflow", NESTED) == []
    if LONG or state == "task":
        assert validate(data, CRATE) == []
