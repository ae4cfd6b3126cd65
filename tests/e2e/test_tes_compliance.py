"""What GA4GH's compliance runner asks of a TES server, against real functions over HTTP, twice on one record.

The runner checks 23 cases for TES 1.1.0, and 16 of them for 1.0.0. All share one list of tasks. Unlike the runner,
each case cancels in the end what it has created: most cases wait for no task, and each that runs costs half a second
of CPU and delays the cases that do wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.laptop import Laptop, until
from support.tes_answers import Checker
from support.tes_http import TesHttp

pytestmark = pytest.mark.xdist_group("tes")

HELLO = {"image": "alpine", "command": ["echo", "hello"]}
FINAL = ("COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED")
OLD = ("1.0.0", "1.1.0")
NEW = ("1.1.0",)


class Runner:
    """Sends requests as the runner does, and checks every answer by the schema of a version."""

    def __init__(self, http: TesHttp, version: str) -> None:
        self.http = http
        self.check = Checker(version)
        self._created: list[str] = []

    def create(self, **task: Any) -> str:
        body = {"name": "CompTest", "description": "CompTest", "executors": [HELLO], **task}
        answer = self.http.call("POST", "/tasks", body)
        assert set(answer) == {"id"}
        self._created.append(str(answer["id"]))
        return self._created[-1]

    def cancel_all(self) -> None:
        for id_ in self._created:
            self.http.call("POST", f"/tasks/{id_}:cancel", {})

    def task(self, id: str, view: str) -> Any:
        return self.check.task(self.http.call("GET", f"/tasks/{id}?view={view}"), view)

    def tasks(self, query: str, view: str = "MINIMAL") -> Any:
        return self.check.tasks(self.http.call("GET", f"/tasks?view={view}&{query}"), view)

    def ended(self, id: str) -> str:
        """The state in which the task ends."""
        return str(until(lambda: self.task(id, "MINIMAL")["state"], lambda state: state in FINAL))


Case = Callable[[Runner], None]
CASES: dict[str, tuple[tuple[str, ...], Case]] = {}


def case(versions: tuple[str, ...]) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        CASES[function.__name__] = (versions, function)
        return function

    return register


# --- the cases ------------------------------------------------------------------------------


@case(OLD)
def service_info(tes: Runner) -> None:
    tes.check.service_info(tes.http.call("GET", "/service-info"))


@case(OLD)
def create_task(tes: Runner) -> None:
    tes.create()


@case(OLD)
def create_task_functional(tes: Runner) -> None:
    assert tes.ended(tes.create()) == "COMPLETE"


@case(OLD)
def create_task_inputs(tes: Runner) -> None:
    tes.create(inputs=[{"url": "s3://my-object-store/file-1", "path": "/data/file1", "type": "FILE"}])


@case(OLD)
def create_task_outputs(tes: Runner) -> None:
    tes.create(outputs=[{"url": "s3://my-object-store/outfile-1", "path": "/data/outfile", "type": "FILE"}])


@case(NEW)
def create_task_streamable(tes: Runner) -> None:
    about = {"name": "access-file", "description": "Access file resource via streaming", "streamable": True}
    tes.create(inputs=[{**about, "url": "s3://my-object-store/file-1", "path": "/data/file1", "type": "FILE"}])


@case(NEW)
def create_task_optional_filetype(tes: Runner) -> None:
    tes.create(
        inputs=[{"url": "s3://my-object-store/file-1", "path": "/data/file1"}],
        outputs=[{"url": "s3://my-object-store/outfile-1", "path": "/data/outfile"}],
    )


@case(NEW)
def create_task_backend_parameters(tes: Runner) -> None:
    given = {"VmSize": "Standard_D64_v3", "Caching": "ReadWrite"}
    tes.create(resources={"backend_parameters": given, "backend_parameters_strict": False})


@case(NEW)
def create_task_backend_parameters_negative(tes: Runner) -> None:
    strict = {"backend_parameters": {"INVALID": "PARAMETER"}, "backend_parameters_strict": True}
    answer = tes.http.call("POST", "/tasks", {"executors": [HELLO], "resources": strict}, status=400)
    assert answer["error"].startswith("$.resources.backend_parameters: expected")


@case(NEW)
def create_task_ignore_error(tes: Runner) -> None:
    """The runner reads the logs at once: they have an entry for each executor that is certain to run."""
    for ignored, count in ((False, 1), (True, 2)):
        missing = {"image": "alpine", "command": ["ERROR"], "ignore_error": ignored}
        id_ = tes.create(executors=[missing, HELLO])
        assert len(tes.task(id_, "FULL")["logs"][0]["logs"]) == count
        assert tes.ended(id_) == ("COMPLETE" if ignored else "EXECUTOR_ERROR")
        codes = [log["exit_code"] for log in tes.task(id_, "FULL")["logs"][0]["logs"]]
        assert codes == ([127, 0] if ignored else [127])


@case(OLD)
def get_task_minimal(tes: Runner) -> None:
    assert set(tes.task(tes.create(), "MINIMAL")) == {"id", "state"}


@case(OLD)
def get_task_basic(tes: Runner) -> None:
    tes.task(tes.create(), "BASIC")


@case(OLD)
def get_task_full(tes: Runner) -> None:
    tes.task(tes.create(), "FULL")


@case(OLD)
def list_tasks_minimal(tes: Runner) -> None:
    tes.create()
    tes.tasks("")


@case(OLD)
def list_tasks_basic(tes: Runner) -> None:
    tes.create()
    tes.tasks("", "BASIC")


@case(OLD)
def list_tasks_full(tes: Runner) -> None:
    tes.create()
    tes.tasks("", "FULL")


@case(OLD)
def list_tasks_page_size(tes: Runner) -> None:
    tes.create()
    tes.create()
    for size in (1, 2):
        assert len(tes.tasks(f"page_size={size}")["tasks"]) == size


@case(OLD)
def list_tasks_page_token(tes: Runner) -> None:
    second, first = tes.create(), tes.create()
    page = tes.tasks("page_size=1")
    assert [task["id"] for task in page["tasks"]] == [first]
    page = tes.tasks(f"page_size=1&page_token={page['next_page_token']}")
    assert [task["id"] for task in page["tasks"]] == [second]


@case(OLD)
def filter_task_by_name(tes: Runner) -> None:
    for name, prefix in (("e70dda48-ComplianceTest",) * 2, ("b51f4c41-ComplianceTest", "b51f4c41")):
        tes.create(name=name)
        assert tes.tasks(f"name_prefix={prefix}", "BASIC")["tasks"][0]["name"] == name
    tes.create(name="ComplianceTest-f9327c19")
    assert tes.tasks("name_prefix=f9327c19", "BASIC")["tasks"] == []


@case(NEW)
def filter_task_by_state(tes: Runner) -> None:
    id_ = tes.create()
    assert tes.ended(id_) == "COMPLETE"
    assert {"id": id_, "state": "COMPLETE"} in tes.tasks("state=COMPLETE")["tasks"]


@case(NEW)
def filter_task_by_tag(tes: Runner) -> None:
    tags = {"foo": "bar", "baz": "bat", "lorem": "ipsum", "task": "create"}
    tes.create(tags=tags)
    every = "&".join(f"tag_key={key}&tag_value={tags[key]}" for key in ("foo", "lorem", "task", "baz"))
    fewer_values = "tag_key=foo&tag_key=lorem&tag_key=baz&tag_value=bar&tag_value=ipsum"
    for query in (every, fewer_values):
        assert tes.tasks(query, "BASIC")["tasks"][0]["tags"] == tags
    one_too_many = "tag_key=foo&tag_key=lorem&tag_key=extra&tag_value=bar&tag_value=ipsum"
    unknown = "tag_key=tag_key_not_defined&tag_value=tag_value_not_defined"
    for query in (one_too_many, "tag_key=foo&tag_value=wrong_value", unknown):
        assert tes.tasks(query, "BASIC")["tasks"] == []
    tes.create(tags={"abcxyz": ""})
    assert tes.tasks("tag_key=abcxyz", "BASIC")["tasks"][0]["tags"] == {"abcxyz": ""}


@case(OLD)
def cancel_task(tes: Runner) -> None:
    assert tes.http.call("POST", f"/tasks/{tes.create()}:cancel", {}) == {}


@case(OLD)
def cancel_task_functional(tes: Runner) -> None:
    id_ = tes.create(executors=[{**HELLO, "command": ["sleep", "60"]}])
    assert tes.http.call("POST", f"/tasks/{id_}:cancel", {}) == {}
    assert tes.ended(id_) == "CANCELED"


# --- and how they run -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TesHttp]:
    laptop = Laptop(tmp_path_factory.mktemp("compliance") / "sluice")
    laptop.start()
    yield TesHttp(laptop.url)
    laptop.kill_everything()


RUNS = [
    pytest.param(version, name, id=f"{version} {name} {time}")
    for time in ("first", "again")
    for version in OLD
    for name, (versions, _) in CASES.items()
    if version in versions
]


@pytest.mark.parametrize(("version", "name"), RUNS)
def test_the_compliance_runners_case_passes(http: TesHttp, version: str, name: str) -> None:
    runner = Runner(http, version)
    CASES[name][1](runner)
    runner.cancel_all()


def test_all_cases_of_the_runner_are_here() -> None:
    counts = {version: sum(version in versions for versions, _ in CASES.values()) for version in OLD}
    assert counts == {"1.0.0": 16, "1.1.0": 23}
