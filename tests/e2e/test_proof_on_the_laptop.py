"""A real run on the laptop leaves a crate, a statement and a place in the log, which verify without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.laptop import Laptop, document, until

from functions.cli.main import main

pytestmark = pytest.mark.xdist_group("e2e")


def sluice(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_a_job_is_proven_from_its_submission_to_its_result(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(laptop.folder))  # where the command keeps its key
    job = laptop.submit(document("echo 1,2 > $OUTPUTS/counts.csv"))
    laptop.finished(job)
    out = [tmp_path / name for name in ("run.zip", "run.intoto.jsonl", "run.proof.json")]
    saving: list[str | Path] = [
        "crate",
        job,
        "--url",
        laptop.url,
        "--out",
        out[0],
        "--attestation",
        out[1],
        "--proof",
        out[2],
    ]
    # The next tick logs the job's history.
    until(lambda: sluice(*saving), lambda ended: ended.exit_code == 0)
    keys: Any = json.loads(laptop.call("GET", "/api/v1/operator/log/keys")[1])
    (tmp_path / "holder.pem").write_text(keys["keys"][0])
    verified = sluice("verify", out[0], "--attestation", out[1], "--key", tmp_path / "holder.pem", "--proof", out[2])
    assert verified.exit_code == 0, verified.output
    assert verified.output.count("proven") == 5
    facts = [line for line in (laptop.history(job)) if line["event"] in ("attested", "configure succeeded")]
    assert [line["event"] for line in facts] == ["configure succeeded", "attested"]
    bag = sluice("verify", out[0], "--json")
    assert json.loads(bag.output)["genuine"] is True


def test_the_proof_of_a_later_job_leads_from_a_checkpoint_that_somebody_has_kept(
    laptop: Laptop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(laptop.folder))
    files = {"--attestation": tmp_path / "run.intoto.jsonl", "--proof": tmp_path / "run.proof.json"}
    given = [part for pair in files.items() for part in pair]
    kept, key, bag = (tmp_path / name for name in ("kept", "holder.pem", "run.zip"))

    def proven(*more: str | Path) -> Result:
        """Save the proof of one more job."""
        job = laptop.submit(document("true"))
        laptop.finished(job)
        saving = ("crate", job, "--url", laptop.url, "--out", bag, *given, *more)
        return until(lambda: sluice(*saving), lambda ended: ended.exit_code == 0)

    proven()
    kept.write_bytes(laptop.call("GET", "/api/v1/operator/log/checkpoint")[1])
    key.write_text(json.loads(laptop.call("GET", "/api/v1/operator/log/keys")[1])["keys"][0])
    proven("--checkpoint", kept)
    verified = sluice("verify", bag, *given, "--key", key, "--checkpoint", kept)
    assert (verified.exit_code, "of your checkpoint: nothing in it was changed" in verified.output) == (0, True)
    key_as_checkpoint = sluice("crate", "job", "--url", laptop.url, "--out", bag, "--checkpoint", key)
    assert (key_as_checkpoint.exit_code, "not a checkpoint" in key_as_checkpoint.output) == (2, True)
