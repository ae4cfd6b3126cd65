"""What README and guide tell to type: files that are there, shell that is good, and what the manifests say too."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.deployment import FUNCTIONS, ROOT, SERVING, of_kind, pods, rendered
from support.kustomize import Manifest, render
from support.schemas import errors


def test_every_file_that_the_guide_names_exists() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    named = set(re.findall(r"(?<![\w/.-])(?:knative|k8s_install|examples|tests)/[\w./-]*\w", guide))
    assert len(named) > 15
    operators = {"knative/overlays/mine"}  # the operator's own copy
    assert [path for path in sorted(named - operators) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", ["README.md", "docs/deploy.md"])
def test_the_commands_of_the_guide_are_valid_shell(document: str) -> None:
    text = (ROOT / document).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) or re.findall(r"(?:^    .+\n)+", text, re.MULTILINE)
    assert len(blocks) > 3
    for block in blocks:
        checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True)
        assert checked.stderr == "", block


def commands(start: str) -> list[list[str]]:
    """The commands of the guide that begin so, split as a shell does."""
    guide = (ROOT / "docs/deploy.md").read_text().replace("\\\n", " ")
    return [shlex.split(line) for line in map(str.strip, guide.splitlines()) if line.startswith(start)]


def options(words: Sequence[str]) -> dict[str, list[str]]:
    """`--name value`, each with all its values; `--name` alone is empty."""
    found: dict[str, list[str]] = {}
    for word, following in pairwise([*words, "--"]):
        if word.startswith("--"):
            found.setdefault(word[2:], []).extend([] if following.startswith("--") else [following])
    return found


def test_the_guides_kn_commands_make_the_same_triggers() -> None:
    told = {}
    for _, _, _, name, *words in commands("kn trigger create"):
        given = options(words)
        told[name] = (given["sink"], dict(pair.split("=", 1) for pair in given["filter"]))
        assert given["broker"] == given["namespace"] == ["sluice"]
    made = {
        name: ([f"ksvc:{trigger['spec']['subscriber']['ref']['name']}"], trigger["spec"]["filter"]["attributes"])
        for name, trigger in of_kind("base", "Trigger").items()
    }
    assert told == made


def test_the_guides_kn_commands_make_the_same_sources() -> None:
    told = {words[4]: options(words) for words in commands("kn source apiserver create")}
    for name, source in of_kind("base", "ApiServerSource").items():
        given, spec = told[name], source["spec"]
        labels = ("".join(f":{k}={v}" for k, v in selected(each).items()) for each in spec["resources"])
        resources = [
            f"{r['kind']}:{r['apiVersion']}{label}" for r, label in zip(spec["resources"], labels, strict=True)
        ]
        assert given["resource"] == resources
        assert (given["mode"], given["service-account"]) == ([spec["mode"]], [spec["serviceAccountName"]])
        assert given["sink"] == ["broker:sluice:sluice"]
    (tick,) = commands("kn source ping create")
    spec = of_kind("base", "PingSource")["tick-hourly"]["spec"]
    assert (options(tick)["schedule"], options(tick)["data"]) == ([spec["schedule"]], [spec["data"]])


def selected(resource: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = resource.get("selector", {}).get("matchLabels", {})
    return labels


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_guides_kn_commands_make_the_same_functions(function: str) -> None:
    (template,) = commands("kn service create")
    (arguments,) = [words[2:] for words in commands("create ") if words[1] == function]
    values = {"$1": function, **{f"${n}": value for n, value in enumerate(arguments, 2)}}
    words = [each for word in template for each in (arguments[4:] if word == "${@:6}" else [word])]
    given = options([re.sub(r"\$\d", lambda found: values[found[0]], word) for word in words])

    service = of_kind("base", "Service", SERVING)[function]["spec"]["template"]
    spec, annotations, labels = service["spec"], service["metadata"]["annotations"], service["metadata"]["labels"]
    container = spec["containers"][0]
    # The network policies know a function by this label alone.
    assert given["label"] == [f"app.kubernetes.io/name={labels['app.kubernetes.io/name']}"]
    assert given["image"] == [container["image"]]
    assert given["pull-policy"] == [container["imagePullPolicy"]]
    assert given["service-account"] == [spec["serviceAccountName"]]
    assert given["concurrency-limit"] == [str(spec["containerConcurrency"])]
    assert given["timeout"] == [str(spec["timeoutSeconds"])]
    for option, annotation, default in (
        ("scale-min", "min-scale", ""),
        ("scale-max", "max-scale", ""),
        ("scale-utilization", "target-utilization-percentage", ""),
        ("scale-window", "window", "60s"),
    ):
        assert given[option] == [annotations.get(f"autoscaling.knative.dev/{annotation}", default)], option
    plain = [f"{entry['name']}={entry['value']}" for entry in container["env"] if "value" in entry]
    assert sorted(given["env"]) == sorted(plain)
    maps = {each["configMapRef"]["name"] for each in container["envFrom"]}
    assert given["env-from"] == [f"cm:{name}" for name in maps]
    assert set(given["mount"]) == set(mounts(spec))
    for kind in ("readiness", "liveness"):
        probe = container[f"{kind}Probe"]["httpGet"]
        assert given[f"probe-{kind}"] == [f"http::{probe['port']}:{probe['path']}"]
    assert {"cluster-local", "security-context"} <= given.keys()


def mounts(spec: Mapping[str, Any]) -> Iterator[str]:
    """The volumes of a Pod as kn names them."""
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in spec["containers"][0]["volumeMounts"]:
        match volumes[mount["name"]]:
            case {"configMap": {"name": name}}:
                yield f"{mount['mountPath']}=cm:{name}"
            case {"secret": {"secretName": name}}:
                yield f"{mount['mountPath']}=secret:{name}"
            case {"projected": {"sources": [{"secret": {"name": name}}, *_]}}:
                yield f"{mount['mountPath']}=secret:{name}"
            case {"emptyDir": _, "name": name}:
                yield f"{mount['mountPath']}=emptyDir:{name}"


def test_the_guide_names_the_container_of_the_migrate_job() -> None:
    (container,) = dict(pods("install"))["Job migrate"]["containers"]
    made = commands("kubectl set image --local -f k8s_install/migrate.yml")
    assert {command[6].split("=")[0] for command in made} == {container["name"]}


def yaml_blocks(document: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.fixture
def overlay_of_the_guide(tmp_path: Path) -> list[Manifest]:
    """What the guide's kustomization for Eventing without Serving renders, in a copy of the production overlay."""
    shutil.copytree(ROOT / "knative", tmp_path / "knative")
    folder = tmp_path / "knative/overlays/mine"
    shutil.copytree(ROOT / "knative/overlays/production", folder)
    (text,) = [block for block in yaml_blocks("docs/deploy.md") if "kind: Kustomization" in block]
    (folder / "kustomization.yaml").write_text(text)
    return render(folder)


def test_the_guides_production_without_serving_runs_stages_from_the_image_of_the_functions(
    overlay_of_the_guide: list[Manifest],
) -> None:
    made = {(obj["kind"], obj["metadata"]["name"]): obj for obj in overlay_of_the_guide}
    assert [errors(obj) for obj in overlay_of_the_guide if errors(obj)] == []
    assert "serving.knative.dev" not in str(overlay_of_the_guide)
    images = {made["Deployment", name]["spec"]["template"]["spec"]["containers"][0]["image"] for name in FUNCTIONS}
    settings = made["ConfigMap", "sluice-settings"]["data"]
    assert images == {settings["SLUICE_IMAGE"]}
    assert "dev.local" not in settings["SLUICE_IMAGE"]
    shipped = of_kind("production", "ConfigMap")["sluice-settings"]["data"]
    assert settings == {**shipped, "SLUICE_IMAGE": settings["SLUICE_IMAGE"]}
    assert {kind for kind, _ in made} >= {"Gateway", "PodDisruptionBudget", "PingSource", "ApiServerSource"}


def test_the_guides_commands_for_a_further_environment_make_what_the_first_one_has() -> None:
    (loop,) = re.findall(r"^for file in (.+); do\n +sed '(\S+)' (\S+) ", (ROOT / "docs/deploy.md").read_text(), re.M)
    files, change, path = loop
    first = [
        o for o in rendered("install") if "ocean-compute" in (o["metadata"].get("namespace"), o["metadata"]["name"])
    ]
    further: list[Manifest] = []
    for file in files.split():
        name = path.replace("$file", file)
        done = subprocess.run(["sed", change, name], cwd=ROOT, capture_output=True, text=True, check=True)
        further += yaml.safe_load_all(done.stdout)
    assert "ocean-compute" not in str(further)
    here = [o for o in further if "other" in (o["metadata"].get("namespace"), o["metadata"]["name"])]
    shared = {"Role", "RoleBinding", "NetworkPolicy", "ResourceQuota", "LimitRange", "Namespace"}
    from_kn = {("NetworkPolicy", "events"), ("RoleBinding", "sluice-events-kn")}
    expected = {
        (o["kind"], o["metadata"]["name"].replace("ocean-compute", "other")) for o in first if o["kind"] in shared
    }
    assert {(o["kind"], o["metadata"]["name"]) for o in here} == expected - from_kn
