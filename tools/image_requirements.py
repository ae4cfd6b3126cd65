"""Print the requirements of the image's target `functions`, `migrate` or `otel` (see [tool.sluice.image])."""

import re
import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, target: str) -> list[str]:
    """The dependencies of the package without those that the target does not need, and those of its extra."""
    document = tomllib.loads(pyproject.read_text())
    only = document["tool"]["sluice"]["image"]
    left_out = {*only["workstation"], *(() if target == "migrate" else only["migrate"])}
    named = {re.match(r"[\w.-]+", text)[0]: text for text in document["project"]["dependencies"]}
    if unknown := left_out - named.keys():
        raise SystemExit(f"[tool.sluice.image] names {', '.join(sorted(unknown))}, which is no dependency")
    extra = document["project"]["optional-dependencies"]["otel"] if target == "otel" else []
    return [*(text for name, text in named.items() if name not in left_out), *extra]


if __name__ == "__main__":
    if sys.argv[1:] not in (["functions"], ["migrate"], ["otel"]):
        raise SystemExit(f"usage: {sys.argv[0]} functions|migrate|otel")
    print(*requirements(Path("pyproject.toml"), sys.argv[1]), sep="\n")
