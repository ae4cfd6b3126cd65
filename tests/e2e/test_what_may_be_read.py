"""What a document may have read from this machine: what the environment allows by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.laptop import Laptop, document

pytestmark = pytest.mark.xdist_group("e2e")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://127.0.0.1:9/a"])
def test_a_custom_environment_refuses_file_and_http_urls_at_submission(laptop: Laptop, url: str) -> None:
    with pytest.raises(AssertionError, match="expected a URL with one of the schemes"):
        laptop.submit(document("true", inputs=[url]), environment="closed")


def test_a_custom_environment_fetches_from_no_private_address(laptop: Laptop) -> None:
    info = laptop.finished(laptop.submit(document("true", inputs=["https://127.0.0.1:9/a"]), environment="closed"))
    assert (info["status"], info["reason"]) == (31, "DataForbidden")


def test_an_environment_that_allows_file_urls_reads_files(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("for all")
    job = laptop.submit(document("cat $INPUTS/0/0", inputs=[f"file://{tmp_path}/open"]))
    assert laptop.finished(job)["status"] == 70
    assert laptop.result(job, "algorithm.log") == b"for all"


# Wherever a later stage of its user might look for code.
PLANT = """
for folder in "$TMPDIR" "$HOME" "$PWD"; do
    for name in functions/__init__.py functions/staging/publish/program.py json.py sitecustomize.py \\
                .local/lib/python3.{11,12,13,14}/site-packages/planted.pth; do
        mkdir -p "$(dirname "$folder/$name")"
        echo "import pathlib; pathlib.Path('$MARK').touch()" > "$folder/$name"
    done
done
true  # the working directory may be read-only
"""


@pytest.mark.parametrize("environment", ["ocean-compute", "filtered"])
def test_no_later_stage_runs_code_that_an_algorithm_left(laptop: Laptop, tmp_path: Path, environment: str) -> None:
    mark = tmp_path / "escaped"
    body = document(f"MARK={mark}; {PLANT}")
    body["stages"][0]["algorithm"]["container"]["entrypoint"] = "bash $ALGO"
    assert laptop.finished(laptop.submit(body, environment=environment))["status"] == 70
    assert not mark.exists()
