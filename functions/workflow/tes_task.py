"""A GA4GH TES 1.1 task: its types. The stages read it, as they read Ocean's document.

A task is kept as it came, without nulls and without what only the server may set. functions/workflow/tes_checks.py
checks it at the door.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from posixpath import dirname
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from functions.workflow.container_paths import Places
from functions.workflow.document import DIALECT, Definition, DocumentError, parse

if TYPE_CHECKING:
    from functions.workflow.model import Submission

MAX_EXECUTORS = 64
MAX_FILES = 1000  # inputs, and outputs
MAX_VOLUMES = 100
MAX_TAGS = 1000
MAX_TEXT = 1 << 16  # characters of a name, a description, a tag
FOLDER_SCHEMES = ("file", "s3", "gs", "az")  # of storages that list what is below a URL
BACKEND_PARAMETERS = ("environment", "gpus", "maxtime", "use_entrypoint")
_IMAGE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
WILDCARDS = re.compile(r"[*?\[]")
FileType = Literal["FILE", "DIRECTORY"]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class _Part(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A part of a task in which a misspelt field would change what runs: unknown fields are refused."""


class Input(_Part, frozen=True):
    """One file or folder that is there before the first executor. `content` counts instead of `url`."""

    path: str
    url: str = ""
    content: str = ""
    type: FileType = "FILE"
    name: Text = ""
    description: Text = ""
    streamable: bool = False


class Output(_Part, frozen=True):
    """One file, folder or pattern that is delivered to `url` after the last executor."""

    path: str
    url: str
    path_prefix: str = ""
    type: FileType = "FILE"
    name: Text = ""
    description: Text = ""

    @property
    def is_pattern(self) -> bool:
        return bool(WILDCARDS.search(self.path))

    @property
    def is_file(self) -> bool:
        """Whether it is one file, which goes to the URL itself."""
        return self.type == "FILE" and not self.is_pattern

    @property
    def folder(self) -> str:
        """The folder that must exist before the first executor: of a pattern, that before its first wildcard part."""
        if self.is_pattern:
            return dirname(WILDCARDS.split(self.path, maxsplit=1)[0] + "*")
        return self.path if self.type == "DIRECTORY" else dirname(self.path)

    def covers(self, path: str) -> bool:
        """Whether the file at a container path is one that this output asks for."""
        wanted, given = self.path.strip("/").split("/"), path.strip("/").split("/")
        deeper = len(given) - len(wanted)
        fits = deeper > 0 if self.type == "DIRECTORY" else deeper == 0
        return fits and all(map(part_matches, given, wanted))

    def url_for(self, path: str) -> str:
        """Return where a file that this output covers goes. `path` is that in the container."""
        url = url_of(self.url)
        if self.is_pattern:
            rest = path.removeprefix(self.path_prefix)
        elif self.type == "DIRECTORY":
            rest = path.removeprefix(self.path.rstrip("/"))
        else:
            return url
        return f"{url.rstrip('/')}/{quote(rest.lstrip('/'))}"


class Executor(_Part, frozen=True):
    """One program in one image. `command` is argv; there is no shell."""

    image: str
    command: Annotated[list[str], Meta(min_length=1, max_length=10_000)]
    workdir: str = ""
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    env: dict[str, str] = {}
    ignore_error: bool = False


class Resources(_Part, frozen=True):
    """What the task asks for. Sizes are in GiB."""

    cpu_cores: int | None = None
    ram_gb: float | None = None
    disk_gb: float | None = None
    preemptible: bool = False
    zones: list[str] = []
    backend_parameters: dict[str, str] = {}
    backend_parameters_strict: bool = False


class TesTask(Struct, frozen=True, omit_defaults=True, tag_field=DIALECT, tag="tes"):
    """A whole task. Further fields on this level are ignored, as servers of later versions may define them."""

    executors: Annotated[list[Executor], Meta(min_length=1, max_length=MAX_EXECUTORS)]
    name: Text = ""
    description: Text = ""
    inputs: Annotated[list[Input], Meta(max_length=MAX_FILES)] = []
    outputs: Annotated[list[Output], Meta(max_length=MAX_FILES)] = []
    resources: Resources = Resources()
    volumes: Annotated[list[str], Meta(max_length=MAX_VOLUMES)] = []
    tags: Annotated[dict[str, Text], Meta(max_length=MAX_TAGS)] = {}

    @property
    def backend(self) -> dict[str, str]:
        """The supported backend parameters, with their keys in lower case."""
        given = self.resources.backend_parameters
        return {key.lower(): value for key, value in given.items() if key.lower() in BACKEND_PARAMETERS}

    @property
    def uses_entrypoint(self) -> bool:
        """Whether the images' own entrypoints run, with `command` as their arguments."""
        return self.backend.get("use_entrypoint", "").lower() == "true"

    @property
    def places(self) -> Places:
        """The paths that must exist in the executors' containers."""
        streams = (path for each in self.executors for path in (each.stdout, each.stderr) if path)
        return Places(
            input_files=tuple(each.path for each in self.inputs if each.type == "FILE"),
            input_folders=tuple(each.path for each in self.inputs if each.type == "DIRECTORY"),
            output_folders=tuple(each.folder for each in self.outputs),
            volumes=tuple(self.volumes),
            workdirs=tuple(each.workdir for each in self.executors if each.workdir),
            streams=tuple(streams),
        )


# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
msgspec.json.Decoder(TesTask)


Document = Definition | TesTask  # what the stages read


def document_of(submission: Submission) -> Document:
    """Return what was submitted, typed. Raises DocumentError for what we have not recorded."""
    return read(submission.document) if submission.dialect == "tes" else parse(submission.document)


def read(document: Mapping[str, Any]) -> TesTask:
    """Convert a task that was accepted before. Raises DocumentError if it was not recorded by us."""
    try:
        return msgspec.convert(document, TesTask)
    except msgspec.ValidationError as e:
        raise DocumentError("$", f"a task that was accepted before: {e}") from None


def part_matches(name: str, pattern: str) -> bool:
    """Whether a file name is what an output asks for. A leading dot must be in the pattern, as in a shell."""
    if not WILDCARDS.search(pattern):
        return name == pattern
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))


def url_of(text: str) -> str:
    """Return the URL of an input or output; a bare absolute path is a file."""
    return f"file://{quote(text)}" if text.startswith("/") else text


def is_image(reference: str) -> bool:
    """Whether it is a reference of a container image, such as `alpine` or `host:5000/a/b:1.0@sha256:…`."""
    return len(reference) <= 512 and bool(_IMAGE.fullmatch(reference))


def image_name(reference: str) -> str:
    """Return an image reference without its tag and digest."""
    found = _IMAGE.fullmatch(reference)
    return found["name"] if found else ""
