"""The rules about files that hold other things: archives, serialised models, notebooks. Nothing is loaded or run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from functions.staging.check.output_files import OutputFile
from functions.staging.check.tables import parse_json
from functions.trust import disclosure

MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office file",
}
MODELS = frozenset((
    ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".h5", ".hdf5", ".keras", ".onnx", ".safetensors", ".rds", ".rda",
    ".rdata", ".npy", ".npz", ".model", ".bin", ".ckpt", ".mat", ".gguf",
))  # fmt: skip
_MODEL_MAGIC = {b"\x89HDF\r\n\x1a\n": "HDF5", b"\x93NUMPY": "NumPy", b"RDX": "R data", b"PAR1": "Parquet"}
_LISTED = 3


def archives(file: OutputFile, settings: disclosure.Archives) -> Iterator[str]:
    """Find archives; their listing, so far as it can be opened, is part of the finding."""
    if kind := archive_kind(file.head):
        from functions.staging.check.archives import listing

        yield f"{kind}: {'; '.join(listing(file.whole(), settings.depth, settings.ratio))}"


def archive_kind(head: bytes) -> str:
    """Return which kind of archive begins like this; empty if none does."""
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), "")


def models(file: OutputFile, settings: disclosure.Models) -> Iterator[str]:
    """Find serialised models and objects: they can hold the data they were made from, and run code when loaded."""
    if file.name in settings.allow:
        return
    if file.extension in MODELS:
        yield f"a model or serialised object ({file.extension})"
    for magic, kind in _MODEL_MAGIC.items():
        if file.head.startswith(magic):
            yield f"{kind} data"
    if _is_pickle(file.head):
        yield f"a Python pickle{_imports(file.whole())}"


def _is_pickle(head: bytes) -> bool:
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _imports(content: bytes) -> str:
    """List the names that a pickle would import when loaded. It is only disassembled."""
    import pickletools

    named: list[str] = []
    try:
        for opcode, argument, _ in islice(pickletools.genops(content), 100_000):
            if opcode.name in ("GLOBAL", "INST"):
                named.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                named.append("a name from its own text")
    except Exception:  # the disassembler raises whatever a damaged pickle makes it raise
        return ", damaged"
    return f" that imports {', '.join(dict.fromkeys(named[:_LISTED]))}" if named else ""


def notebooks(file: OutputFile) -> Iterator[str]:
    """Find notebooks that carry what was computed."""
    if file.extension != ".ipynb":
        return
    value = parse_json(file.whole())
    cells = value.get("cells", []) if isinstance(value, dict) else []
    if any(cell.get("outputs") for cell in cells):
        yield "cells with outputs"
    if any(cell.get("attachments") for cell in cells):
        yield "cells with attachments"
    if any(cell.get("execution_count") is not None for cell in cells):
        yield "cells that were run (execution counts)"
