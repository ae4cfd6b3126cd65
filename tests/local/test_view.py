"""Which folders of the machine the view of a sandbox shows: programs and what is named, never what lies beside them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from functions.local import view
from functions.local.view import Mount, conflict, task_view, visible


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with private files, and an empty PATH."""
    home = tmp_path / "people" / "alice"
    for name in ("Documents", ".ssh", ".local/share/keyrings", ".docker", "bin", "data"):
        (home / name).mkdir(parents=True)
    (home / ".docker" / "config.json").write_text("{}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", "")
    return home


def shown_below(folder: Path) -> list[str]:
    """The visible folders below a folder, as paths relative to it."""
    return [os.path.relpath(path, folder) for path in visible() if path.startswith(f"{folder.resolve()}/")]


def put_on_path(monkeypatch: pytest.MonkeyPatch, *folders: Path | str) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))


def test_without_a_path_only_the_systems_programs_and_python_are_visible(home: Path) -> None:
    python = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)}
    found = set(visible())
    assert "/usr" in found
    assert {path for path in found if path not in python} <= set(view._SYSTEM_FOLDERS)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("bin", ["bin"]),
        ("bin/../bin", ["bin"]),
        (".docker/bin", [".docker/bin", ".docker/lib"]),
        (".local/bin", [".local/bin", ".local/lib"]),
        (".", []),
        ("..", []),
    ],
)
def test_a_home_never_becomes_visible_as_a_whole(
    home: Path, monkeypatch: pytest.MonkeyPatch, entry: str, expected: list[str]
) -> None:
    for folder in (".docker/bin", ".docker/lib", ".local/bin", ".local/lib"):
        (home / folder).mkdir(parents=True)
    put_on_path(monkeypatch, f"{home}/{entry}")
    assert shown_below(home) == expected


def test_a_home_behind_a_link_never_becomes_visible_as_a_whole(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    put_on_path(monkeypatch, tmp_path / "link" / "bin", tmp_path / "link")
    assert shown_below(home) == ["bin"]


def test_an_installation_is_visible_as_a_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "work" / ".venv" / "bin").mkdir(parents=True)
    (home / "work" / ".venv" / "pyvenv.cfg").touch()
    (home / "work" / "data").mkdir()
    put_on_path(monkeypatch, home / "work" / ".venv" / "bin")
    assert shown_below(home) == ["work/.venv"]


def test_a_python_that_is_installed_into_a_home_shows_only_its_programs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "lib").mkdir()
    monkeypatch.setattr(sys, "base_prefix", str(home))
    assert shown_below(home) == ["bin", "lib"]


def test_relative_entries_of_the_path_are_ignored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    put_on_path(monkeypatch, "bin", "")
    assert shown_below(home) == []


def test_a_folder_that_is_named_by_a_link_is_found_by_both_names(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools" / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "tools")
    put_on_path(monkeypatch, tmp_path / "link" / "bin")
    mounts = mounts_of(tmp_path)
    assert Mount("bind", f"{tmp_path}/tools/bin", f"{tmp_path}/tools/bin") in mounts
    assert Mount("link", f"{tmp_path}/link/bin", text=f"{tmp_path}/tools/bin") in mounts


def mounts_of(tmp_path: Path, *shown: Path) -> list[Mount]:
    return view.view(
        tmp_path / "sluice" / "data",
        tmp_path / "sluice" / "scratch",
        platform=tmp_path / "sluice",
        user=(1000, 1000),
        shared_memory=1 << 20,
        shown=shown,
    )


def test_only_outputs_logs_and_temporary_folders_are_writable(home: Path, tmp_path: Path) -> None:
    writable = [mount.target for mount in mounts_of(tmp_path) if mount.writable and mount.kind != "device"]
    assert writable == ["/tmp", "/dev/shm", "/data/outputs", "/data/logs"]


def test_the_platforms_folder_is_closed_where_it_lies_in_a_shown_folder(home: Path, tmp_path: Path) -> None:
    mounts = mounts_of(tmp_path, tmp_path)
    assert mounts[-1] == Mount("tmpfs", str(tmp_path / "sluice"), size=4096, mode="000")
    assert not any(mount.target == str(tmp_path / "sluice") for mount in mounts_of(tmp_path))


def test_what_lies_in_the_platforms_folder_is_not_shown(home: Path, tmp_path: Path) -> None:
    inside = tmp_path / "sluice" / "results"
    inside.mkdir(parents=True)
    assert not any(mount.target == str(inside) for mount in mounts_of(tmp_path, inside))


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/no/such/folder", "does not exist"),
        ("/", "of their own"),
        ("/etc", "of their own"),
        ("/proc/self", "of their own"),
        ("/tmp", "of their own"),
        ("/usr/share", ""),
    ],
)
def test_a_folder_that_cannot_be_shown_is_refused(path: str, problem: str) -> None:
    assert problem in conflict(Path(path))
    assert bool(problem) == bool(conflict(Path(path)))


def test_a_place_of_a_task_never_uncovers_the_folder_of_the_platform(tmp_path: Path) -> None:
    platform, shown = tmp_path / "shown/platform", tmp_path / "shown"
    platform.mkdir(parents=True)
    place = (f"{shown}/new/place", str(tmp_path), True)
    mounts = task_view([place], platform=platform, user=(1, 1), shared_memory=1, shown=[shown])
    (last,) = [mount for mount in mounts if mount.target == str(platform)][-1:]
    assert (last.kind, last.mode) == ("tmpfs", "000")
    assert mounts[-1] == Mount("bind", place[0], place[1], writable=True)
