"""The image, as far as it can be tried without a container engine: the steps of its Dockerfile, really carried out."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.deployment import FUNCTIONS, ROOT
from support.dockerfile import Image, instructions, written_bytecode
from support.served import free_port, get_when_up

from functions.store.migrate import migrate

# The first test builds all stages.
pytestmark = [pytest.mark.xdist_group("image"), pytest.mark.timeout(600)]
MOST_BYTES = 130e6  # what the image may add to its base, which has about 125 MB (measured once at 181 MB at most)
WITHOUT_SOURCES = 0x1  # the flag of bytecode that is used whatever becomes of the sources; PEP 552
STAGES = sorted(f"functions.staging.{file.parent.name}" for file in (ROOT / "functions/staging").glob("*/__main__.py"))


@pytest.fixture(scope="session")
def image(stages: Mapping[str, Image]) -> Image:
    """What `docker build` without a target builds: the last stage."""
    return list(stages.values())[-1]


def python(image: Image, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [str(image.at("/opt/venv/bin/python")), *words]
    variables = {**image.variables, **environ}
    return subprocess.run(command, cwd=image.at("/app"), env=variables, capture_output=True, text=True, timeout=60)


def test_everything_that_the_dockerfile_copies_is_in_the_build_context() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copies = [rest for word, rest in instructions(ROOT / "Dockerfile") if word == "COPY" and "--from" not in rest]
    copied = {source for rest in copies for source in rest.split()[:-1]}
    assert copied == kept


def test_the_console_is_in_the_image(image: Image) -> None:
    folder = "functions/status/console/static"
    assert [file.name for file in image.at(f"/app/{folder}").iterdir()] != []
    assert {file.name for file in image.at(f"/app/{folder}").iterdir()} == {
        file.name for file in (ROOT / folder).iterdir()
    }


# --- bytecode -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_imports_no_module_without_bytecode(function: str, image: Image, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/sluice.db"
    migrate(database)
    port = free_port()
    environ = {"FUNCTION_TARGET": function, "DATABASE_URL": database, "SLUICE_CLUSTER": "memory"}
    log = tmp_path / "log"
    with written_bytecode(image) as written, log.open("wb") as output:
        server = subprocess.Popen(
            [*map(image.here, image.command), "--bind", f"127.0.0.1:{port}"],
            env={**image.variables, **environ},
            cwd=image.at(image.folder),
            stdout=output,
            stderr=output,
        )
        try:
            assert get_when_up(f"http://127.0.0.1:{port}/healthz") == 200, log.read_text()
        finally:
            server.terminate()
            assert server.wait(20) == 0
    assert written == set()


@pytest.mark.parametrize("program", STAGES)
def test_a_stage_program_imports_no_module_without_bytecode(program: str, image: Image) -> None:
    with written_bytecode(image) as written:
        done = python(image, "-m", program)
        assert "Traceback" not in done.stderr
        assert "No module" not in done.stderr
    assert written == set()


def test_a_module_without_bytecode_is_noticed(image: Image) -> None:
    (path,) = image.at("/usr/local/lib").glob("python3*/tabnanny.py")
    bytecode = Path(importlib.util.cache_from_source(str(path)))
    kept = bytecode.read_bytes()
    bytecode.unlink()
    try:
        with written_bytecode(image) as written:
            python(image, "-c", "import tabnanny")
        assert written == {bytecode}
    finally:
        bytecode.write_bytes(kept)


def test_bytecode_is_valid_whatever_becomes_of_the_times_of_the_sources(image: Image) -> None:
    for folder in ("/usr/local/lib", "/opt/venv", "/app"):
        files = list(image.at(folder).rglob("*.pyc"))
        assert len(files) > 50
        assert {file.read_bytes()[4] for file in files} == {WITHOUT_SOURCES}


# --- contents -------------------------------------------------------------------------------


def test_the_image_adds_little_to_its_base(image: Image) -> None:
    ours = [*image.at("/opt/venv").rglob("*"), *image.at("/app").rglob("*"), *image.at("/usr/local").rglob("*.pyc")]
    assert sum(file.stat().st_size for file in ours if file.is_file() and not file.is_symlink()) < MOST_BYTES


@pytest.mark.parametrize("package", ["kubernetes", "alembic", "sqlalchemy", "opentelemetry"])
def test_packages_that_no_function_needs_are_left_out(package: str, image: Image) -> None:
    assert "No module named" in python(image, "-c", f"import {package}").stderr


def test_the_variant_for_migrations_upgrades_a_database(
    stages: Mapping[str, Image], image: Image, empty_postgres_url: str
) -> None:
    refused = python(image, "-m", "functions.cli.main", "migrate", DATABASE_URL=empty_postgres_url)
    assert (refused.returncode, "no Alembic" in refused.stderr) == (2, True)
    with written_bytecode(stages["migrate"]) as written:
        done = python(stages["migrate"], "-m", "functions.cli.main", "migrate", DATABASE_URL=empty_postgres_url)
    assert done.returncode == 0, done.stderr
    assert written == set()
    again = python(image, "-m", "functions.cli.main", "migrate", DATABASE_URL=empty_postgres_url)
    assert (again.returncode, again.stdout) == (0, "the database is up to date\n")


def test_the_variant_for_telemetry_has_what_exports_it(stages: Mapping[str, Image]) -> None:
    with written_bytecode(stages["otel"]) as written:
        done = python(stages["otel"], "-c", "import functions.otlp")
    assert done.returncode == 0, done.stderr
    assert written == set()


def test_a_kubeconfig_in_the_image_is_refused_with_a_reason(image: Image) -> None:
    statement = "from functions.cluster.kubernetes.access import find_access; find_access('/nowhere')"
    assert "leaves the package kubernetes out" in python(image, "-c", statement).stderr


def test_everybody_can_read_what_runs(image: Image) -> None:
    """A checkout with a strict umask has files that the image's user could not read."""
    closed = [path for path in (*image.at("/app").rglob("*"),) if path.stat().st_mode & 0o004 == 0]
    assert closed == []
    assert image.user == "65532:65532"


def test_a_list_of_contents_can_be_made_from_what_is_installed(image: Image, tmp_path: Path) -> None:
    bom = tmp_path / "sbom.json"
    command = ["environment", "--pyproject", str(ROOT / "pyproject.toml"), "-o", str(bom), str(image.at("/opt/venv"))]
    subprocess.run([str(Path(sys.executable).with_name("cyclonedx-py")), *command], check=True, timeout=60)
    found = json.loads(bom.read_text())
    installed = {path.name.split("-")[0].lower() for path in image.at("/opt/venv").rglob("*.dist-info")}
    assert {part["name"].lower().replace("-", "_").replace(".", "_") for part in found["components"]} == installed
    assert found["metadata"]["component"]["name"] == "sluice-c2d"


def test_the_labels_name_what_the_image_is(image: Image) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "org.opencontainers.image."
    assert image.labels[f"{prefix}version"] == project["version"]
    assert image.labels[f"{prefix}licenses"] == project["license"]
    origins = {rest.split("@")[0] for word, rest in instructions(ROOT / "Dockerfile") if word == "FROM" and "@" in rest}
    assert origins == {image.labels[f"{prefix}base.name"].removeprefix("docker.io/library/")}


def test_base_images_are_named_by_their_digest() -> None:
    origins = [rest.partition(" AS ") for word, rest in instructions(ROOT / "Dockerfile") if word == "FROM"]
    ours = {name for _, _, name in origins}
    assert [origin for origin, _, _ in origins if origin not in ours and "@sha256:" not in origin] == []
