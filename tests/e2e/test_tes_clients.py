"""Clients of GA4GH TES on a real platform: py-tes itself, and tasks as cwl-tes, Nextflow and Cromwell send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import tes
from support.laptop import Laptop, until
from support.tes_http import TesHttp

pytestmark = pytest.mark.xdist_group("tes")

FINAL = ("COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED")


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    started = Laptop(tmp_path_factory.mktemp("clients") / "sluice")
    started.start()
    yield started
    started.kill_everything()


@pytest.fixture
def http(laptop: Laptop) -> TesHttp:
    return TesHttp(laptop.url)


@pytest.fixture
def client(laptop: Laptop) -> tes.HTTPClient:
    return tes.HTTPClient(laptop.url, timeout=10)


def ended(http: TesHttp, task: dict[str, Any]) -> dict[str, Any]:
    """The task in FULL, after its end."""
    id_ = http.call("POST", "/tasks", task)["id"]
    until(lambda: http.call("GET", f"/tasks/{id_}")["state"], lambda state: state in FINAL)
    return dict(http.call("GET", f"/tasks/{id_}?view=FULL"))


def answer_of(refused: pytest.ExceptionInfo[requests.HTTPError]) -> requests.Response:
    answer = refused.value.response
    assert answer is not None
    return answer


def logs(task: dict[str, Any]) -> Any:
    return task["logs"][0]["logs"]


# --- py-tes ---------------------------------------------------------------------------------


def whole(tmp_path: Path) -> tes.Task:
    """A task that uses every field of py-tes."""
    (tmp_path / "in.txt").write_text("from a file\n")
    return tes.Task(
        name="whole",
        description="every field",
        inputs=[
            tes.Input(path="/data/a.txt", content="from the request\n", name="a", description="d"),
            tes.Input(path="/data/b.txt", url=(tmp_path / "in.txt").as_uri(), type="FILE", streamable=False),
        ],
        outputs=[
            tes.Output(path="/out/both.txt", url=(tmp_path / "both.txt").as_uri(), name="o", type="FILE"),
            tes.Output(path="/out/*.part", url=(tmp_path / "parts").as_uri(), path_prefix="/out", type="FILE"),
        ],
        resources=tes.Resources(cpu_cores=1, ram_gb=0.25, disk_gb=0.5, preemptible=False, zones=["here"]),
        executors=[
            tes.Executor(
                image="alpine",
                command=["sh", "-c", "cat /data/a.txt /data/b.txt; echo $GREETING >&2; touch 1.part; exit 3"],
                workdir="/out",
                stdout="/vol/joined",
                env={"GREETING": "hello"},
                ignore_error=True,
            ),
            tes.Executor(image="alpine", command=["tee", "/out/both.txt"], stdin="/vol/joined", stderr="/out/err"),
        ],
        volumes=["/vol"],
        tags={"kind": "whole"},
    )


def test_py_tes_reads_service_info(client: tes.HTTPClient) -> None:
    info = client.get_service_info()
    assert info.type == {"group": "org.ga4gh", "artifact": "tes", "version": "1.1.0"}


def test_py_tes_runs_a_task_with_every_field(client: tes.HTTPClient, tmp_path: Path) -> None:
    id_ = client.create_task(whole(tmp_path))
    assert client.wait(id_, timeout=60).state == "COMPLETE"
    task = client.get_task(id_, "FULL")
    assert [log.exit_code for log in task.logs[0].logs] == [3, 0]
    assert task.logs[0].logs[0].stderr == "hello\n"
    assert task.logs[0].logs[1].stdout == "from the request\nfrom a file\n"
    assert (tmp_path / "both.txt").read_text() == "from the request\nfrom a file\n"
    assert (tmp_path / "parts/1.part").exists()
    delivered = {output.path: int(output.size_bytes) for output in task.logs[0].outputs}
    assert delivered == {"/out/both.txt": 29, "/out/1.part": 0}
    assert task.logs[0].end_time > task.logs[0].start_time
    assert client.get_task(id_, "BASIC").name == "whole"
    assert client.get_task(id_, "MINIMAL").state == "COMPLETE"


def test_py_tes_lists_tasks_page_by_page(client: tes.HTTPClient) -> None:
    ids = [client.create_task(tes.Task(executors=[tes.Executor(image="alpine", command=["true"])])) for _ in range(3)]
    page = client.list_tasks(view="BASIC", page_size=2)
    assert [task.id for task in page.tasks] == ids[:0:-1]
    page = client.list_tasks(page_size=1, page_token=page.next_page_token)
    assert [task.id for task in page.tasks] == ids[:1]


def test_py_tes_cancels_a_task(client: tes.HTTPClient) -> None:
    id_ = client.create_task(tes.Task(executors=[tes.Executor(image="alpine", command=["sleep", "60"])]))
    client.cancel_task(id_)
    state = until(lambda: str(client.get_task(id_, "MINIMAL").state), lambda state: state in FINAL)
    assert state == "CANCELED"
    client.cancel_task(id_)


def test_py_tes_is_told_of_a_wrong_task_and_of_an_unknown_one(client: tes.HTTPClient) -> None:
    with pytest.raises(requests.HTTPError) as unknown:
        client.get_task("nope")
    assert answer_of(unknown).status_code == 404
    with pytest.raises(requests.HTTPError) as wrong:
        client.create_task(tes.Task(executors=[tes.Executor(image="", command=["true"])]))
    assert answer_of(wrong).json()["error"].startswith("$.executors[0].image: expected")


@pytest.mark.parametrize("about", [{}, {"user": "None", "password": "None"}, {"token": "nonsense"}])
def test_py_tes_needs_no_token_on_a_laptop_and_may_send_any(about: dict[str, str], laptop: Laptop) -> None:
    assert tes.HTTPClient(laptop.url, **about).list_tasks(page_size=1) is not None


# --- tasks as other clients send them -------------------------------------------------------


def test_two_steps_of_cwl_tes_pass_files_through_a_shared_folder(http: TesHttp, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("hello\n")
    upper = {
        "name": "up",
        "description": "",
        "inputs": [{"url": (tmp_path / "in.txt").as_uri(), "path": "/var/lib/cwl/stg0361fb02/in.txt", "type": "FILE"}],
        "outputs": [
            {"url": (tmp_path / "up/upper.txt").as_uri(), "path": "/PKVUqu/upper.txt", "type": "FILE"},
            {"url": f"{(tmp_path / 'up').as_uri()}/", "path": "/PKVUqu", "type": "DIRECTORY"},
        ],
        "resources": {"cpu_cores": 1, "ram_gb": 0.5368710901209428, "disk_gb": 2.1474843604837712},
        "executors": [
            {
                "image": "alpine",
                "command": ["tr", "a-z", "A-Z"],
                "workdir": "/PKVUqu",
                "stdin": "/var/lib/cwl/stg0361fb02/in.txt",
                "stdout": "/PKVUqu/upper.txt",
                "env": {"HOME": "/PKVUqu", "TMPDIR": "/tmp"},
            }
        ],
        "tags": {"CWLDocumentId": "file:///srv/tool.cwl#upper"},
    }
    assert ended(http, upper)["state"] == "COMPLETE"
    path = "/var/lib/cwl/stgbfd8d505/upper.txt"
    count = {
        "name": "count",
        "inputs": [{"url": (tmp_path / "up/upper.txt").as_uri(), "path": path, "type": "FILE"}],
        "outputs": [{"url": (tmp_path / "count.txt").as_uri(), "path": "/PKVUqu/count.txt", "type": "FILE"}],
        "executors": [
            {"image": "alpine", "command": ["wc", "-c", path], "workdir": "/PKVUqu", "stdout": "/PKVUqu/count.txt"}
        ],
    }
    assert ended(http, count)["state"] == "COMPLETE"
    assert (tmp_path / "count.txt").read_text().split()[0] == "6"


def nextflow(work: Path, script: str) -> dict[str, Any]:
    """A task as nf-ga4gh sends it, with a work folder on this machine: bare paths instead of URLs."""
    work.mkdir()
    (work / ".command.sh").write_text(script)
    (work / ".command.run").write_text("bash /work/.command.sh; code=$?; printf $code > /work/.exitcode; exit $code\n")
    controls = (".command.out", ".command.err", ".command.log", ".exitcode")
    return {
        "name": "FOO (1)",
        "inputs": [
            {"url": f"{work}/{name}", "path": f"/work/{name}", "type": "FILE"}
            for name in (".command.sh", ".command.run")
        ],
        "outputs": [
            *(
                {"url": f"{work}/{name}", "path": f"/work/{name}"}
                for name in controls
                if name.endswith(("log", "code"))
            ),
            {"url": str(work), "path": "/work/*.txt", "path_prefix": "/work", "type": "FILE"},
        ],
        "resources": {"cpu_cores": 1, "ram_gb": 1.0, "backend_parameters_strict": False},
        "executors": [
            {
                "image": "quay.io/nextflow/bash",
                "command": ["bash", "-o", "pipefail", "-c", "bash /work/.command.run 2>&1 | tee /work/.command.log"],
                "workdir": "/work",
            }
        ],
    }


def test_a_process_of_nextflow_finds_its_files_and_its_exit_code_in_its_work_folder(
    http: TesHttp, tmp_path: Path
) -> None:
    task = ended(http, nextflow(tmp_path / "ab", "echo hello; echo out > a.txt; mv a.txt b.txt"))
    assert task["state"] == "COMPLETE"
    found = {
        file.name: file.read_text() for file in (tmp_path / "ab").iterdir() if not file.name.endswith(("sh", "run"))
    }
    assert found == {".command.log": "hello\n", ".exitcode": "0", "b.txt": "out\n"}


def test_a_failed_process_of_nextflow_has_its_control_files_and_its_exit_code_too(
    http: TesHttp, tmp_path: Path
) -> None:
    task = ended(http, nextflow(tmp_path / "cd", "echo oops; exit 7"))
    assert task["state"] == "EXECUTOR_ERROR"
    assert logs(task)[0]["exit_code"] == 7
    assert (tmp_path / "cd/.exitcode").read_text() == "7"
    assert (tmp_path / "cd/.command.log").read_text() == "oops\n"


def test_a_job_of_cromwell_leaves_its_return_code_beside_its_script(http: TesHttp, tmp_path: Path) -> None:
    execution = tmp_path / "execution"
    execution.mkdir()
    (execution / "script").write_text(f"echo hello; echo $? > {execution}/rc\n")
    files = [{"name": name, "url": f"{execution}/{name}", "path": f"{execution}/{name}"} for name in ("rc", "stdout")]
    task = {
        "name": "wf.task",
        "inputs": [{"url": f"{execution}/script", "path": f"{execution}/script", "type": "FILE"}],
        "outputs": files,
        "resources": {"preemptible": False, "backend_parameters": {"internal_path_prefix": str(execution)}},
        "executors": [
            {
                "image": "ubuntu:24.04",
                "command": ["/bin/bash", f"{execution}/script"],
                "workdir": None,
                "stdout": f"{execution}/stdout",
            }
        ],
        "tags": {"workflow_id": "w", "parent_workflow_id": None},
    }
    assert ended(http, task)["state"] == "COMPLETE"
    assert (execution / "rc").read_text() == "0\n"
    assert (execution / "stdout").read_text() == "hello\n"


def test_a_task_with_tokens_is_reached_by_its_owner_alone(tmp_path: Path) -> None:
    from functions.api.auth.tokens import digest

    file = tmp_path / "tokens"
    file.write_text("".join(f"{digest(f'token-{name}')} {name}\n" for name in ("alice", "bob")))
    laptop = Laptop(tmp_path / "sluice", f"TES_TOKENS_FILE={file}")
    laptop.start()
    try:
        alice, bob = (tes.HTTPClient(laptop.url, token=f"token-{name}") for name in ("alice", "bob"))
        basic = tes.HTTPClient(laptop.url, user="alice", password="token-alice")
        id_ = alice.create_task(tes.Task(executors=[tes.Executor(image="alpine", command=["true"])]))
        assert basic.wait(id_, timeout=60).state == "COMPLETE"
        assert bob.list_tasks().tasks == []
        status, answer = TesHttp(laptop.url, {"Authorization": "Bearer token-bob"}).send("GET", f"/tasks/{id_}")
        assert (status, json.loads(answer)) == (404, {"error": f"there is no task {id_}"})
        assert TesHttp(laptop.url).send("GET", "/tasks")[0] == 401
    finally:
        laptop.kill_everything()
