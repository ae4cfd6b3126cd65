"""The escape probe finds a way out that is open, and reports none that is closed."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from functions.cluster import escape_probe
from functions.cluster.escape_probe import EXIT_CODE_ESCAPED, MESSAGE_BYTES, probe
from functions.local import sandbox_check

ENOENT_CALL, GETPID, CLOSE = (5000, 5000), (39, 172), (3, 57)  # on x86_64, elsewhere


def is_open(attempt: Callable[[], object]) -> bool:
    return probe(iter([("way", attempt)]))["reached"] == ["way"]


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        yield path


@pytest.fixture
def tcp_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_all_ways_are_tried_and_those_without_an_error_are_reached() -> None:
    def closed(error: Exception) -> None:
        raise error

    ways: dict[str, Callable[[], object]] = {
        "open": lambda: None,
        "refused": partial(closed, PermissionError()),
        "absent": partial(closed, KeyError()),
        "open too": lambda: "what it returns does not matter",
    }
    report = probe(iter(ways.items()))
    assert report["tried"] == list(ways)
    assert report["reached"] == report["still_reached"] == ["open", "open too"]


def test_an_error_in_the_probe_does_not_count_as_a_closed_way() -> None:
    with pytest.raises(ZeroDivisionError):
        probe(iter([("way", lambda: 1 // 0)]))


def test_a_system_call_is_open_if_it_succeeds_or_fails_for_another_reason_than_a_missing_permission() -> None:
    assert is_open(partial(escape_probe.call, *GETPID, ()))
    assert is_open(partial(escape_probe.call, *CLOSE, (-1,)))  # EBADF
    assert not is_open(partial(escape_probe.call, *ENOENT_CALL, ()))  # ENOSYS


@pytest.mark.parametrize(("flags", "found"), [(0, True), (0x800, False)])  # CLONE_SIGHAND alone is refused
def test_a_child_in_a_new_namespace_is_a_way_out(flags: int, found: bool) -> None:
    program = f"from functions.cluster import escape_probe as e; e._NEWUSER = {flags}; e.clone_into_namespace()"
    # A process of its own: the child of one with threads could wait for a lock that another thread held.
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ended.returncode == 0) is found, ended.stderr
    assert found or "refused" in ended.stderr


def test_a_kind_of_socket_is_open_where_it_can_be_made() -> None:
    assert is_open(partial(escape_probe.open_socket, socket.AF_INET, socket.SOCK_STREAM, 0))
    assert not is_open(partial(escape_probe.open_socket, 99, socket.SOCK_STREAM, 0))


@pytest.mark.parametrize(
    ("effective", "bounding", "found"),
    [("0000000000000001", "0000000000000000", True), ("0000000000000000", "00000000000001ff", False)],
)
def test_only_a_capability_that_the_process_has_counts(
    monkeypatch: pytest.MonkeyPatch, effective: str, bounding: str, found: bool
) -> None:
    status = [("Name", "python"), ("CapEff", effective), ("CapBnd", bounding)]
    monkeypatch.setattr(escape_probe, "_status", lambda: iter(status))
    assert is_open(escape_probe.has_capability) is found


def test_the_status_of_this_process_is_read_by_name() -> None:
    status = dict(escape_probe._status())
    assert status["Pid"] == str(os.getpid())
    assert {"NoNewPrivs", "Seccomp", "CapEff"} <= status.keys()


def test_a_writable_file_is_found_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert not is_open(partial(escape_probe.find_writable, str(tmp_path)))
    (tmp_path / "empty" / "file").touch()
    assert escape_probe.find_writable(str(tmp_path)) == "file"


def test_a_file_is_readable_if_it_gives_a_byte(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert not is_open(partial(escape_probe.read, str(file)))
    file.touch()
    assert not is_open(partial(escape_probe.read, str(file)))
    file.write_bytes(b"x")
    assert is_open(partial(escape_probe.read, str(file)))


def test_a_disk_among_the_devices_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sda").touch()
    entries = list(os.scandir(tmp_path))
    monkeypatch.setattr(os, "scandir", lambda _: entries)
    assert not is_open(escape_probe.open_block_device)
    monkeypatch.setattr(stat, "S_ISBLK", stat.S_ISREG)  # a plain file stands for the disk
    assert is_open(escape_probe.open_block_device)


def test_a_device_that_could_be_made_is_removed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made: list[Path] = []

    def mknod(path: str, mode: int, device: int) -> None:
        assert stat.S_ISCHR(mode)
        made.append(Path(path))
        made[0].touch()

    monkeypatch.setattr(os, "mknod", mknod)
    assert is_open(escape_probe.make_device)
    assert [path.parent for path in made] == [tmp_path]
    assert not made[0].exists()


def test_a_process_that_did_not_start_this_one_is_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ["1", str(os.getpid()), str(os.getppid()), "self", "sys"]
    monkeypatch.setattr(os, "listdir", lambda _: [*ours, "4194305"])
    assert escape_probe.find_foreign_process() == "4194305"
    monkeypatch.setattr(os, "listdir", lambda _: ours)
    assert not is_open(escape_probe.find_foreign_process)


def test_a_folder_is_writable_if_a_new_file_fits_and_none_is_left(tmp_path: Path) -> None:
    assert is_open(partial(escape_probe.write_in, str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
    assert not is_open(partial(escape_probe.write_in, str(tmp_path / "absent")))


def test_a_private_folder_counts_if_it_holds_a_file_that_is_no_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "venv" / "bin"))
    assert not is_open(partial(escape_probe.list_private, str(tmp_path)))
    (tmp_path / "home").mkdir()
    assert not is_open(partial(escape_probe.list_private, str(tmp_path)))
    (tmp_path / "home" / "letter").touch()
    assert is_open(partial(escape_probe.list_private, str(tmp_path)))


def test_a_server_is_reachable_while_it_listens(unix_socket: str, tcp_server: str) -> None:
    assert is_open(partial(escape_probe.connect_local, unix_socket))
    assert not is_open(partial(escape_probe.connect_local, f"{unix_socket}-absent"))
    assert is_open(partial(escape_probe.connect, tcp_server))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    assert not is_open(partial(escape_probe.connect, address))


@pytest.mark.parametrize(("name", "found"), [("DATABASE_URL", True), ("aws_secret_key", True), ("PATH", False)])
def test_a_secret_is_known_by_the_name_of_its_variable(name: str, found: bool) -> None:
    assert is_open(partial(escape_probe.find_secret, {"HOME": "/", name: "x"})) is found


def test_each_bait_is_reached_where_there_is_no_sandbox() -> None:
    baits = {
        "a file of the machine",
        "a shared memory of the machine",
        "a socket of the machine",
        "an abstract socket of the machine",
        "a server on the machine's loopback",
    }
    with sandbox_check._bait() as bait:
        ways = [(name, attempt) for name, attempt in escape_probe.attempts_on_laptop(bait) if name in baits]
        assert set(probe(iter(ways))["reached"]) == baits


def test_every_way_has_a_name_of_its_own_and_baits_are_looked_for_only_where_they_are_laid() -> None:
    with sandbox_check._bait() as bait:
        laid = [name for name, _ in escape_probe.attempts({}, bait)]
    without = [name for name, _ in escape_probe.attempts({}, {})]
    assert len(set(laid)) == len(laid)
    assert laid[: len(without)] == without
    assert "a file of the machine" in laid
    assert "a file of the machine" not in without


@pytest.mark.parametrize(("ways", "whole"), [(3, True), (1000, False)])
def test_the_report_is_printed_and_fits_the_termination_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, ways: int, whole: bool
) -> None:
    message = tmp_path / "message"
    opened: list[str] = []

    def open_message(path: str, mode: str) -> object:
        opened.append(path)
        return message.open(mode)

    monkeypatch.setattr(sys, "argv", ["probe"])
    monkeypatch.setattr(escape_probe, "attempts", lambda *_: ((f"way {n}", _refuse) for n in range(ways)))
    monkeypatch.setattr(escape_probe, "open", open_message, raising=False)
    with pytest.raises(SystemExit) as ended:
        escape_probe.main()
    assert ended.value.code == 0
    printed, said = json.loads(capsys.readouterr().out), json.loads(message.read_text())
    assert printed == {"tried": [f"way {n}" for n in range(ways)], "reached": [], "still_reached": []}
    assert said == (printed if whole else {**printed, "tried": [f"{ways} ways out"]})
    assert message.stat().st_size <= MESSAGE_BYTES
    assert opened == ["/dev/termination-log"]


def test_an_open_way_ends_the_program_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[dict[str, str]] = []

    def attempts(environ: dict[str, str], bait: dict[str, str]) -> Iterator[tuple[str, Callable[[], object]]]:
        given.append(bait)
        yield "a file of the machine", lambda: None

    def no_pod(*_: object) -> object:
        raise PermissionError

    monkeypatch.setattr(sys, "argv", ["probe", '{"file": "/bait"}'])
    monkeypatch.setattr(escape_probe, "attempts", attempts)
    monkeypatch.setattr(escape_probe, "open", no_pod, raising=False)
    with pytest.raises(SystemExit) as ended:
        escape_probe.main()
    assert ended.value.code == EXIT_CODE_ESCAPED
    assert json.loads(capsys.readouterr().out)["reached"] == ["a file of the machine"]
    assert given == [{"file": "/bait"}]


def _refuse() -> None:
    raise PermissionError
