"""The documentation's site: `make docs`. The repository's root is the source, so that links work here as on GitHub."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path

from functions.status.openapi import document

ROOT = Path(__file__).parents[1]

project = "Sluice"
version = release = installed_version("sluice-c2d")
html_title = f"Sluice {version}"
copyright = f"{datetime.now(UTC).year}, the Sluice authors. Apache-2.0"
html_theme = "furo"
html_show_sphinx = False

extensions = ["myst_parser", "sphinxcontrib.openapi"]
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist", "functions", "tests", "out"]
html_additional_pages = {"index": "index.html"}  # sends the site's root to docs/index.html
templates_path = ["_templates"]
myst_heading_anchors = 4  # links to headings, as GitHub makes them
nitpicky = True
linkcheck_ignore = [r"http://127\.0\.0\.1"]

# The page docs/openapi shows the document that GET /spec answers.
(ROOT / "build").mkdir(exist_ok=True)
(ROOT / "build/openapi.json").write_text(json.dumps(document()))
