"""GA4GH TES tasks whose files lie in a bucket, and tasks whose outputs wait for a decision, on a real platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bucket import Bucket
from support.held_api import ANNA, KEYS, signed_decision
from support.laptop import API, Laptop, until
from support.serving import serving
from support.tes_http import TesHttp

from functions.api.auth.tokens import digest

pytestmark = pytest.mark.xdist_group("tes")

FINAL = ("COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED")
ENVIRONMENTS = """
- id: open
  ramGB: 0.1
  maxJobDuration: 60
  fetch: {{schemes: [s3], buckets: ["s3://data-in"], endpoints: {{s3: "{url}"}}}}
  tes: {{outputs: ["s3://data-out/{{owner}}/"], endpoints: {{s3: "{url}"}}}}
- id: anywhere
  ramGB: 0.1
  maxJobDuration: 60
  fetch: {{schemes: [s3], buckets: ["s3://data-in"], endpoints: {{s3: "{url}"}}}}
  tes: {{outputs: ["*"], endpoints: {{s3: "{url}"}}}}
- id: held
  ramGB: 0.1
  maxJobDuration: 60
  policy: strict
  fetch: {{schemes: [s3], buckets: ["s3://data-in"], endpoints: {{s3: "{url}"}}}}
  tes: {{outputs: ["s3://data-out/{{owner}}/"], endpoints: {{s3: "{url}"}}}}
"""
POLICIES = f"""
- id: strict
  hold: always
  checkers: [{{name: anna, address: "{ANNA}"}}]
"""


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    root = tmp_path_factory.mktemp("s3")
    for name in ("data-in/data/deep er", "data-out"):
        (root / name).mkdir(parents=True)
    (root / "data-in/data/a.csv").write_text("a\n")
    (root / "data-in/data/deep er/ü.csv").write_text("b\n")
    (root / "data-in/data2").write_text("of a neighbour\n")
    with serving(Bucket(root)) as server:
        yield server


@pytest.fixture(scope="module")
def laptop(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("storages")
    url = bucket.variables["AWS_ENDPOINT_URL"]
    (folder / "environments.yaml").write_text(ENVIRONMENTS.format(url=url))
    (folder / "policies.yaml").write_text(POLICIES)
    (folder / "tokens").write_text(f"{digest('token-ann')} ann\n")
    outputs = {f"TES_OUTPUT_{name}": value for name, value in bucket.variables.items()}
    variables = {**bucket.variables, **outputs, "POLICIES_FILE": folder / "policies.yaml"}
    variables |= {"environments": folder / "environments.yaml", "TES_TOKENS_FILE": folder / "tokens"}
    started = Laptop(folder / "sluice", *(f"{name}={value}" for name, value in variables.items()))
    started.start()
    yield started
    started.kill_everything()


@pytest.fixture
def http(laptop: Laptop) -> TesHttp:
    return TesHttp(laptop.url, {"Authorization": "Bearer token-ann"})


def created(http: TesHttp, environment: str, script: str, *outputs: dict[str, Any], **fields: Any) -> str:
    task = {
        "inputs": [{"path": "/in", "url": "s3://data-in/data", "type": "DIRECTORY"}],
        "outputs": list(outputs),
        "executors": [{"image": "alpine", "command": ["sh", "-c", script]}],
        "resources": {"backend_parameters": {"environment": environment}},
        **fields,
    }
    return str(http.call("POST", "/tasks", task)["id"])


def ended(http: TesHttp, id_: str) -> dict[str, Any]:
    """The task in FULL, after its end."""
    until(lambda: http.call("GET", f"/tasks/{id_}")["state"], lambda state: state in FINAL)
    return dict(http.call("GET", f"/tasks/{id_}?view=FULL"))


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_from_a_bucket_and_outputs_of_every_kind_go_to_one(http: TesHttp, bucket: Bucket) -> None:
    script = "cd /work; mkdir -p d/e; cat /in/a.csv '/in/deep er/ü.csv' >all.txt; cp -r /in/* d/e; ls /in >'l s.log'"
    outputs = (
        {"path": "/work/all.txt", "url": "s3://data-out/ann/1/all%20of%20it"},
        {"path": "/work/*.log", "path_prefix": "/work", "url": "s3://data-out/ann/1/logs/"},
        {"path": "/work/d", "url": "s3://data-out/ann/1/tree", "type": "DIRECTORY"},
    )
    task = ended(http, created(http, "open", script, *outputs, inputs=[
        {"path": "/in", "url": "s3://data-in/data", "type": "DIRECTORY"},
        {"path": "/one/file", "url": "s3://data-in/data/deep%20er/%C3%BC.csv"},
    ]))  # fmt: skip
    assert task["state"] == "COMPLETE", task
    assert files(bucket.root / "data-out/ann/1") == {
        "all of it": "a\nb\n",
        "logs/l s.log": "a.csv\ndeep er\n",
        "tree/e/a.csv": "a\n",
        "tree/e/deep er/ü.csv": "b\n",
    }
    assert {(each["url"], each["size_bytes"]) for each in task["logs"][0]["outputs"]} == {
        ("s3://data-out/ann/1/all%20of%20it", "4"),
        ("s3://data-out/ann/1/logs/l%20s.log", "14"),
        ("s3://data-out/ann/1/tree/e/a.csv", "2"),
        ("s3://data-out/ann/1/tree/e/deep%20er/%C3%BC.csv", "2"),
    }


def test_an_input_that_a_bucket_does_not_have_is_named_without_its_url(http: TesHttp) -> None:
    gone = [{"path": "/in/x", "url": "s3://data-in/gone-secret"}]
    task = ended(http, created(http, "open", "true", inputs=gone))
    (log,) = task["logs"]
    assert (task["state"], log["metadata"]["reason"]) == ("SYSTEM_ERROR", "DataUnavailable")
    assert log["system_logs"] == [
        "input /in/x: DataUnavailable",
        "ended: DataUnavailable (an input could not be fetched)",
    ]
    assert "secret" not in json.dumps(log)


def test_a_task_whose_bucket_does_not_exist_ends_soon_and_says_so(http: TesHttp) -> None:
    task = ended(
        http, created(http, "anywhere", "echo a >/work/a", {"path": "/work/a", "url": "s3://no-such-bucket/a"})
    )
    assert (task["state"], task["logs"][0]["metadata"]["reason"]) == ("SYSTEM_ERROR", "OutputRefused")
    assert "the bucket or folder of its URL may be missing" in task["logs"][0]["system_logs"][-1]


# --- held outputs ---------------------------------------------------------------------------


def held(laptop: Laptop, http: TesHttp, folder: str) -> tuple[str, Any]:
    """A task whose outputs are held, and what is held of it."""
    outputs = (
        {"path": "/work/*.csv", "path_prefix": "/work", "url": f"s3://data-out/ann/{folder}"},
        {"path": "/work/b.csv", "url": f"s3://data-out/ann/{folder}-copy/b"},
    )
    id_ = created(http, "held", "echo private; echo a >/work/a.csv; echo b >/work/b.csv; echo c >/work/c", *outputs)
    path = f"{API}/held/{id_}"
    until(lambda: laptop.call("GET", path)[0], lambda status: status == 200)
    return id_, json.loads(laptop.call("GET", path)[1])


def decide(laptop: Laptop, id_: str, shown: Any, verdict: str, withheld: str = "") -> None:
    decisions = [
        {
            "path": each["path"],
            "sha256": each["sha256"],
            "verdict": "withhold" if each["path"] == withheld else "release",
        }
        for each in shown["files"]
    ]
    body = signed_decision(shown, KEYS[0], job=id_, verdict=verdict, files=decisions, reason="because")
    status, answer = laptop.call("POST", f"{API}/decisions", body)
    assert status == 200, answer


def test_held_outputs_go_to_their_urls_after_the_decision_and_the_task_tells_nothing_before(
    laptop: Laptop, http: TesHttp, bucket: Bucket
) -> None:
    id_, shown = held(laptop, http, "held")
    task = http.call("GET", f"/tasks/{id_}?view=FULL")
    assert task["state"] == "RUNNING"
    (log,) = task["logs"]
    assert (log["outputs"], log["metadata"], log["system_logs"]) == ([], {"environment": "held"}, [])
    assert [set(each) & {"stdout", "stderr"} for each in log["logs"]] == [set()]
    assert [each["exit_code"] for each in log["logs"]] == [-1]
    assert not (bucket.root / "data-out/ann/held").exists()

    decide(laptop, id_, shown, "release")
    task = ended(http, id_)
    assert task["state"] == "COMPLETE"
    assert files(bucket.root / "data-out/ann/held") == {"a.csv": "a\n", "b.csv": "b\n"}
    assert files(bucket.root / "data-out/ann/held-copy") == {"b": "b\n"}
    assert {each["path"] for each in task["logs"][0]["outputs"]} == {"/work/a.csv", "/work/b.csv"}
    assert "private" not in json.dumps(task["logs"])


def test_only_the_files_that_a_decision_releases_are_delivered(laptop: Laptop, http: TesHttp, bucket: Bucket) -> None:
    id_, shown = held(laptop, http, "part")
    decide(laptop, id_, shown, "release", withheld="outputs/work/a.csv")
    task = ended(http, id_)
    assert task["state"] == "COMPLETE"
    assert files(bucket.root / "data-out/ann/part") == {"b.csv": "b\n"}


def test_a_refused_release_delivers_nothing(laptop: Laptop, http: TesHttp, bucket: Bucket) -> None:
    id_, shown = held(laptop, http, "refused")
    decide(laptop, id_, shown, "reject")
    task = ended(http, id_)
    assert task["state"] == "SYSTEM_ERROR"
    assert task["logs"][0]["outputs"] == []
    assert not (bucket.root / "data-out/ann/refused").exists()


def test_a_task_that_is_canceled_while_it_is_held_delivers_nothing(
    laptop: Laptop, http: TesHttp, bucket: Bucket
) -> None:
    id_, shown = held(laptop, http, "canceled")
    http.call("POST", f"/tasks/{id_}:cancel")
    assert ended(http, id_)["state"] == "CANCELED"
    body = signed_decision(shown, KEYS[0], job=id_, verdict="release", reason="too late")
    assert laptop.call("POST", f"{API}/decisions", body)[0] in (404, 409)
    assert http.call("GET", f"/tasks/{id_}")["state"] == "CANCELED"
    assert not (bucket.root / "data-out/ann/canceled").exists()
