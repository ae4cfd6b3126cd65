"""What a kubelet makes of a Pod, as far as tests need it."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.deployment import rendered
from support.dockerfile import Image
from support.kustomize import Manifest
from support.served import free_port, get_when_up


def kubernetes_expand(text: str, variables: Mapping[str, str]) -> str:
    """What the kubelet makes of a text (k8s.io/kubernetes/third_party/forked/golang/expansion)."""

    def expand(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return variables.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", expand, text, flags=re.DOTALL)


@dataclass
class Kubelet:
    """Gives a container what its Pod says: variables and files. `moved` maps paths to those of this machine."""

    overlay: str
    folder: Path
    image: Image
    images: Mapping[str, Image]  # by the name that Pods use
    moved: dict[str, str]
    made: Callable[[str], Manifest | None]  # Secrets that are in no overlay

    def variables(self, pod: Mapping[str, Any], namespace: str) -> dict[str, str]:
        found: dict[str, str] = {}
        (container,) = pod["containers"]
        for each in container.get("envFrom", []):
            found |= self.content("ConfigMap", namespace, each["configMapRef"]["name"])
        for entry in container.get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                found[entry["name"]] = self.content("Secret", namespace, reference["name"])[reference["key"]]
            else:
                found[entry["name"]] = entry["value"]
        return {name: self.here(kubernetes_expand(value, found)) for name, value in found.items()}

    def mount(self, pod: Mapping[str, Any], namespace: str) -> None:
        """Lay out the volumes; their paths are known to `here` from now on."""
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (container,) = pod["containers"]
        for mount in container["volumeMounts"]:
            place = self.folder / uuid4().hex
            match volumes[mount["name"]]:
                case {"persistentVolumeClaim": {"claimName": claim}}:
                    place = self.folder / str(claim) / mount.get("subPath", "")
                    place.mkdir(parents=True, exist_ok=True)
                case {"configMap": {"name": name}}:
                    self.write(place, self.content("ConfigMap", namespace, name))
                case {"secret": dict(secret)}:
                    self.write(place, self.secret_files(secret["secretName"], secret, namespace))
                case {"projected": {"sources": sources}}:
                    files = [self.secret_files(each["secret"]["name"], each["secret"], namespace) for each in sources]
                    self.write(place, {key: value for each in files for key, value in each.items()})
                case _:
                    place.mkdir()
            if mount["mountPath"] != "/tmp":
                self.moved[mount["mountPath"]] = str(place)

    def secret_files(self, name: str, source: Mapping[str, Any], namespace: str) -> dict[str, str]:
        """The files of a volume: all keys of a Secret, or those that `items` names. `optional` ones may be missing."""
        optional = source.get("optional", False)
        content = self.content("Secret", namespace, name, optional=optional)
        keys = [item["key"] for item in source.get("items", [])] or content
        return {key: content[key] for key in keys if key in content or not optional}

    def here(self, text: str) -> str:
        """The text with the names of this machine; the longest go first: /data/outputs before /data."""
        names = "|".join(map(re.escape, sorted(self.moved, key=len, reverse=True)))
        return re.sub(names, lambda found: self.moved[found[0]], text)

    def content(self, kind: str, namespace: str, name: str, optional: bool = False) -> dict[str, str]:
        for obj in rendered(self.overlay):
            metadata = obj["metadata"]
            if (obj["kind"], metadata.get("namespace"), metadata["name"]) == (kind, namespace, name):
                return dict(obj["data"] if kind == "ConfigMap" else obj["stringData"])
        if secret := self.made(name):
            return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
        assert optional, f"there is no {kind} {name} in {namespace}: the Pod would wait for ever"
        return {}

    def write(self, place: Path, content: Mapping[str, str]) -> None:
        place.mkdir()
        for name, value in content.items():
            (place / name).write_text(self.here(value))

    def run(self, pod: Mapping[str, Any], namespace: str) -> int:
        """Run the Pod's container to its end; the exit code."""
        self.mount(pod, namespace)
        (container,) = pod["containers"]
        image = self.images.get(container["image"])  # the algorithm's is another: it gets this machine's programs
        environ = {
            **(image.variables if image else {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}),
            "TERMINATION_LOG": str(self.folder / "termination-log"),
            **self.variables(pod, namespace),
        }
        command = [self.here(kubernetes_expand(word, environ)) for word in container["command"]]
        return subprocess.run(command, env=environ, cwd=self.folder, timeout=60).returncode

    @contextmanager
    def serve(self, pod: Mapping[str, Any], namespace: str, **environ: str) -> Iterator[str]:
        """Run the server of the Pod's image until the block ends; its address."""
        self.mount(pod, namespace)
        (container,) = pod["containers"]
        image, port = self.images[container["image"]], free_port()
        server = subprocess.Popen(
            [*map(image.here, image.command), "--bind", f"127.0.0.1:{port}"],
            env={**image.variables, **self.variables(pod, namespace), **environ},
            cwd=image.at(image.folder),
        )
        try:
            url = f"http://127.0.0.1:{port}"
            assert get_when_up(url + container["readinessProbe"]["httpGet"]["path"]) == 200
            yield url
        finally:
            server.terminate()
            server.wait(20)
