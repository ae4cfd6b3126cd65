"""The image, rehearsed: the steps of the Dockerfile carried out in folders, without a container engine.

A stage is a folder that stands for `/`. Absolute paths of the Dockerfile are replaced by paths in it. The base image is
this machine's Python, moved, and without bytecode, as in the official image. `pip` installs from this environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

NO_BYTECODE = shutil.ignore_patterns("__pycache__", "site-packages", "test", "idlelib", "config-*")
_OFFLINE_PIP = Path(__file__).with_name("offline_pip.py")
_FOLDERS = ("/opt/venv", "/usr/local", "/build", "/app")  # what may stand in a command


@dataclass
class Image:
    """A stage: its folder, and what the instructions said about containers of it."""

    root: Path
    environ: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    folder: str = "/"
    user: str = "root"
    labels: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        """Where an absolute path of the image lies on this machine."""
        return self.root / path.lstrip("/")

    def here(self, text: str) -> str:
        """A command or variable of the image, with the paths of this machine."""
        names = "|".join(map(re.escape, _FOLDERS))
        return re.sub(rf"(?<![\w/.-])({names})(?=[/:\s'\"|]|$)", lambda found: str(self.at(found[0])), text)

    def note(self, instruction: str, rest: str) -> None:
        """Take in an instruction that changes no file."""
        match instruction:
            case "ENV":
                for name, value in pairs(rest).items():
                    self.environ[name] = value.replace(f"${name}", self.environ.get(name, ""))
            case "LABEL":
                self.labels |= pairs(rest)
            case "USER":
                self.user = rest
            case "CMD":
                self.command = json.loads(rest)
            case "EXPOSE":
                pass
            case _:
                raise ValueError(f"the rehearsal does not know {instruction}")

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a container, with the paths of this machine."""
        return {name: self.here(value) for name, value in self.environ.items()}


def build(dockerfile: Path, folder: Path) -> dict[str, Image]:
    """Carry out all instructions; the stages by name."""
    stages: dict[str, Image] = {}
    current = Image(folder)
    for instruction, rest in instructions(dockerfile):
        match instruction:
            case "FROM":
                origin, _, name = rest.partition(" AS ")
                current = stages[name] = _start(stages.get(origin), folder / name)
            case "WORKDIR":
                current.folder = rest
                current.at(rest).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(current, rest.split(), stages, dockerfile.parent)
            case "RUN":
                _run(current, rest)
            case _:
                current.note(instruction, rest)
    return stages


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions with their arguments, each on one line, without comments."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "").splitlines()
    split = [line.split(maxsplit=1) for line in joined if line.strip()]
    return [(word, rest) for word, rest in split]


def pairs(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(text))


def _start(origin: Image | None, root: Path) -> Image:
    if origin is None:
        image = Image(root)
        _install_python(image)
        return image
    shutil.copytree(origin.root, root, symlinks=True, copy_function=os.link)
    _relocate(root, origin.root, root)
    return Image(root, dict(origin.environ), origin.folder, origin.user, dict(origin.labels), list(origin.command))


def _install_python(image: Image) -> None:
    """This machine's Python in /usr/local, with a `pip` that needs no network."""
    programs = image.at("/usr/local/bin")
    programs.mkdir(parents=True)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(Path(sys._base_executable).resolve(), programs / name)  # type: ignore[attr-defined]
    (programs / "python").symlink_to(name)
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, image.at(f"/usr/local/lib/{name}"), ignore=NO_BYTECODE, symlinks=True)
    image.at(f"/usr/local/lib/{name}/site-packages").mkdir(parents=True, exist_ok=True)
    pip = programs / "pip"
    pip.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(_OFFLINE_PIP))} "$@"\n')
    pip.chmod(0o755)


def _copy(image: Image, words: list[str], stages: Mapping[str, Image], context: Path) -> None:
    *options, target = words
    origin = context
    if options[0].startswith("--from="):
        origin = stages[options.pop(0).removeprefix("--from=")].root
    into_folder = target.endswith("/") or len(options) > 1
    place = image.at(target if target.startswith("/") else f"{image.folder}/{target}")
    for source in options:
        path = origin / source.lstrip("/")
        end = place / path.name if into_folder else place
        end.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            ignore = None if origin is not context else shutil.ignore_patterns("__pycache__")
            copy = shutil.copy2 if origin is context else os.link
            shutil.copytree(path, end, symlinks=True, dirs_exist_ok=True, ignore=ignore, copy_function=copy)
        else:
            shutil.copy(path, end)
        if origin is not context:
            _relocate(end, origin, image.root)


def _relocate(place: Path, old: Path, new: Path) -> None:
    """Let links, virtual environments and programs below `place` name the paths of their new stage."""
    for path in [place, *place.rglob("*")]:
        if path.is_symlink():
            target = os.readlink(path)
            if target.startswith(f"{old}/"):
                path.unlink()
                path.symlink_to(target.replace(str(old), str(new), 1))
        elif path.name == "pyvenv.cfg" or (path.parent.name == "bin" and path.read_bytes()[:2] == b"#!"):
            text, mode = path.read_text().replace(f"{old}/", f"{new}/"), path.stat().st_mode
            path.unlink()  # another stage may have the same file
            path.write_text(text)
            path.chmod(mode)


def _run(image: Image, command: str) -> None:
    environ = {"HOME": os.environ.get("HOME", "/"), **image.variables}
    done = subprocess.run(
        ["sh", "-ec", image.here(command)],
        cwd=image.at(image.folder),
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"RUN {command}\n{done.stdout}{done.stderr}")


@contextmanager
def written_bytecode(image: Image) -> Iterator[set[Path]]:
    """The bytecode files that Python writes below the image's folder in this block: one for each module without any."""
    before = set(image.root.rglob("*.pyc"))
    written: set[Path] = set()
    yield written
    written |= set(image.root.rglob("*.pyc")) - before
