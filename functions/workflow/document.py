"""Ocean's workflow document: its types and its validation.

The structs validate requests, define the schemas of the OpenAPI document, and are what the stages read. Fields that
old clients send and nothing reads (`nodeUri`, `brizoUri`, …) are accepted and dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from functions.workflow.field_checks import DID, check_id, check_sha256, check_url, depth_left, has_controls
from functions.workflow.quantity import LEAST_CORES, LEAST_MEMORY, parse_cores, parse_quantity

DIALECT = "dialect"  # the field by which the stages tell an Ocean document from a TES task
MAX_INPUTS = 256
MAX_URLS = 1024
MAX_DEPTH = 32
# Bytes. Linux takes 128 KiB as one argument, and each `$ALGO` and `$` of the entrypoint becomes longer.
MAX_ENTRYPOINT = 8192
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
CUSTOM_DATA = "algoCustomData.json"
Scheme = Literal["http", "https", "s3", "gs", "az", "ipfs", "ar", "file"]
SCHEMES: frozenset[str] = frozenset(get_args(Scheme))


class DocumentError(ValueError):
    """A document is refused: `path` into it (`$.stages[0].algorithm`) and what was expected there."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path}: expected {expected}")
        self.path = path
        self.expected = expected


class Remote(Struct, frozen=True, omit_defaults=True):
    """A file behind an Ocean Provider; `download` needs the operator's signature."""

    txId: str | None = None
    serviceId: str | int | None = None
    serviceEndpoint: str | None = None
    userdata: Any = None
    userData: Any = None
    algouserdata: Any = None


class _Files:
    """The `url` and `checksum` of an asset: each one text, a list, or nothing."""

    __slots__ = ()
    url: str | list[str] | None
    checksum: str | list[str] | None

    @property
    def urls(self) -> tuple[str, ...]:
        return _as_tuple(self.url)

    @property
    def checksums(self) -> tuple[str, ...]:
        return _as_tuple(self.checksum)


class Input(_Files, Struct, frozen=True, omit_defaults=True):
    """One data set: files by `url`, or `remote`. `checksum`: sha256 of each url, in the same order."""

    index: int = 0
    id: str = ""
    url: str | list[str] | None = None
    remote: Remote | None = None
    checksum: str | list[str] | None = None

    @property
    def folder(self) -> str:
        """The folder below /data/inputs: the id without `did:op:`, or the index if there is no id."""
        return self.id.removeprefix(DID) or str(self.index)


class Container(Struct, frozen=True, omit_defaults=True):
    entrypoint: str
    image: str = ""
    tag: str = "latest"
    checksum: str = ""

    @property
    def reference(self) -> str:
        """The image reference: by digest if the checksum is a `sha256:`, else by tag (as operator-engine)."""
        if self.checksum.startswith("sha256:"):
            return f"{self.image}@{self.checksum}"
        return f"{self.image}:{self.tag}"


class Algorithm(_Files, Struct, frozen=True, omit_defaults=True):
    """The algorithm: `rawcode`, files by `url`, or `remote`. `checksum`: sha256 of each file, in the same order."""

    container: Container
    id: str = ""
    rawcode: str | None = None
    url: str | list[str] | None = None
    remote: Remote | None = None
    checksum: str | list[str] | None = None
    algouserdata: Any = None
    algocustomdata: Any = msgspec.UNSET

    @property
    def folder(self) -> str:
        return self.id.removeprefix(DID)


class Resources(Struct, frozen=True, omit_defaults=True):
    """The resources that the workflow asks for; the environment's limits apply."""

    requests_cpu: str | float | None = None  # cores: `2`, `500m`
    requests_memory: str | None = None  # `512Mi`
    gpus: int | None = None


class Compute(Struct, frozen=True, omit_defaults=True):
    Instances: int = 1
    namespace: str | None = None
    maxtime: int | None = None  # seconds for the algorithm
    resources: Resources | None = None


class Output(Struct, frozen=True, omit_defaults=True):
    metadataUri: str | None = None
    publicKey: str | None = None  # age recipient (`age1…`): outputs are encrypted to it


class StageDocument(Struct, frozen=True, omit_defaults=True):
    algorithm: Algorithm
    compute: Compute
    input: Annotated[list[Input], Meta(max_length=MAX_INPUTS)]
    output: Output
    index: int = 0


class Definition(Struct, frozen=True, omit_defaults=True, tag_field=DIALECT, tag="ocean"):
    """A workflow document. As in Ocean today, `stages` has one entry."""

    stages: Annotated[list[StageDocument], Meta(min_length=1, max_length=1)]
    chainId: int | str | None = None

    @property
    def stage(self) -> StageDocument:
        return self.stages[0]


# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
msgspec.json.Decoder(Definition)


def parse(document: Any, *, schemes: frozenset[str] = SCHEMES) -> Definition:
    """Validate and convert a decoded JSON document.

    `schemes` are the URL schemes that may be fetched. Raises DocumentError with the path and what was expected.
    """
    if depth_left(document, MAX_DEPTH) < 0:
        raise DocumentError("$", f"at most {MAX_DEPTH} levels of nesting")
    try:
        definition = msgspec.convert(document, Definition)
    except msgspec.ValidationError as e:
        fault, _, path = str(e).partition(" - at `")
        expected = fault.removeprefix("Expected ").replace("Object missing required field", "the field")
        raise DocumentError(path.rstrip("`") or "$", expected) from None
    for path, expected in _problems(definition, schemes):
        raise DocumentError(path, expected)
    return definition


def _problems(definition: Definition, schemes: frozenset[str]) -> Iterator[tuple[str, str]]:
    stage = definition.stage
    at = "$.stages[0]"
    folders: set[str] = set()
    for n, item in enumerate(stage.input):
        here = f"{at}.input[{n}]"
        yield from check_id(item.id, f"{here}.id")
        if not item.id and not 0 <= item.index < 10**6:
            yield f"{here}.index", "a number from 0 to 999999 (it becomes a folder's name), or an `id`"
        yield from _input_problems(item, here, schemes)
        if item.folder == CUSTOM_DATA:
            yield f"{here}.id", f"another id: the algorithm's custom data is at inputs/{CUSTOM_DATA}"
        if item.folder in folders:
            yield f"{here}.id", "an id that no other input has (each id becomes a folder)"
        folders.add(item.folder)
    yield from _algorithm_problems(stage.algorithm, f"{at}.algorithm", schemes)
    if stage.compute.maxtime is not None and stage.compute.maxtime <= 0:
        yield f"{at}.compute.maxtime", "a number of seconds above 0"
    yield from _resource_problems(stage.compute.resources, f"{at}.compute.resources")
    if stage.output.metadataUri:
        yield from check_url(stage.output.metadataUri, f"{at}.output.metadataUri", frozenset({"http", "https"}))
    key = stage.output.publicKey
    if key is not None and not re.fullmatch(r"age1[02-9ac-hj-np-z]{58}", key):
        yield f"{at}.output.publicKey", "an age recipient: `age1` and 58 characters (bech32)"


def _input_problems(item: Input, here: str, schemes: frozenset[str]) -> Iterator[tuple[str, str]]:
    if (not item.urls) == (item.remote is None):
        yield here, "exactly one source: `url` (one or a list) or `remote`"
    if item.urls:
        yield from _url_problems(item.urls, item.checksums, here, schemes)
    yield from _checksum_problems(item.checksum, here)
    yield from _remote_problems(item.remote, item.id, here)


def _url_problems(
    urls: tuple[str, ...], checksums: tuple[str, ...], here: str, schemes: frozenset[str]
) -> Iterator[tuple[str, str]]:
    if len(urls) > MAX_URLS:
        yield f"{here}.url", f"at most {MAX_URLS} URLs"
    if checksums and len(checksums) != len(urls):
        yield f"{here}.checksum", "as many checksums as URLs"
    for n, url in enumerate(urls):
        yield from check_url(url, f"{here}.url[{n}]", schemes)


def _checksum_problems(checksum: str | list[str] | None, here: str) -> Iterator[tuple[str, str]]:
    for n, each in enumerate(_as_tuple(checksum)):
        yield from check_sha256(each, f"{here}.checksum[{n}]")


def _algorithm_problems(algorithm: Algorithm, at: str, schemes: frozenset[str]) -> Iterator[tuple[str, str]]:
    yield from check_id(algorithm.id, f"{at}.id")
    # With rawcode the Provider also sends `"url": null` or `""`, with remote `"rawcode": ""`.
    sources = [name for name in ("rawcode", "url", "remote") if getattr(algorithm, name)]
    # operator-service's samples have both rawcode and url; pod-configuration then uses rawcode.
    if len(sources) != 1 and sources != ["rawcode", "url"]:
        yield at, "exactly one source: `rawcode`, `url` or `remote`"
    if algorithm.urls:
        # With rawcode, nothing is fetched from the URLs, and the checksum is that of rawcode.
        checksums = () if algorithm.rawcode else algorithm.checksums
        yield from _url_problems(algorithm.urls, checksums, at, schemes)
    if algorithm.rawcode and len(algorithm.checksums) > 1:
        yield f"{at}.checksum", "one checksum, of `rawcode`"
    yield from _checksum_problems(algorithm.checksum, at)
    yield from _remote_problems(algorithm.remote, algorithm.id, at)
    yield from _container_problems(algorithm.container, f"{at}.container")


def _container_problems(container: Container, at: str) -> Iterator[tuple[str, str]]:
    if not container.entrypoint.strip() or has_controls(container.entrypoint):
        yield f"{at}.entrypoint", "a command on one line, such as `python3 $ALGO`"
    elif len(container.entrypoint.encode()) > MAX_ENTRYPOINT:
        yield f"{at}.entrypoint", f"a command of at most {MAX_ENTRYPOINT} bytes; put a longer program into `rawcode`"
    if not _IMAGE.fullmatch(container.image) or len(container.image) > 255:
        yield f"{at}.image", "the name of a container image, such as `python` or `ghcr.io/team/tool`"
    if not _TAG.fullmatch(container.tag):
        yield f"{at}.tag", "an image tag, such as `3.11`"
    if len(container.checksum) > 128 or has_controls(container.checksum):
        yield f"{at}.checksum", "`sha256:` and the image's digest, or nothing"


def _remote_problems(remote: Remote | None, did: str, at: str) -> Iterator[tuple[str, str]]:
    if remote is None:
        return
    if not did:
        yield f"{at}.id", "the DID of the asset, which `remote` needs"
    if not remote.txId:
        yield f"{at}.remote.txId", "the transaction that paid for the asset"
    if remote.serviceEndpoint:
        yield from check_url(remote.serviceEndpoint, f"{at}.remote.serviceEndpoint", frozenset({"http", "https"}))


def _resource_problems(asked: Resources | None, at: str) -> Iterator[tuple[str, str]]:
    for name, read, least, like in (
        ("requests_cpu", parse_cores, LEAST_CORES, "`1m`, such as `2` or `500m`"),
        ("requests_memory", parse_quantity, LEAST_MEMORY, "`16Mi`, such as `512Mi` or `2Gi`"),
    ):
        value = getattr(asked, name, None)
        try:
            if value is None or read(value) >= least:
                continue
        except ValueError:
            pass
        yield f"{at}.{name}", f"a Kubernetes quantity of at least {like}"


def _as_tuple(value: str | list[str] | None) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
