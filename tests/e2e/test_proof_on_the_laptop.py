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
