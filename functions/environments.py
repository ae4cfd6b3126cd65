"""Reads the compute environments: from a YAML file, or one from operator-engine's variables.

docs/environments.md describes the file, and environments.schema.json beside this module is its JSON Schema. It is read
once per process: a changed file needs new revisions of the functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

import msgspec

from functions.settings import Settings
from functions.untrusted import HttpUrl, Malformed, parse_url
from functions.variables import SettingsError
from functions.workflow.destinations import prefix_problem
from functions.workflow.environment import NAMESPACE, Environment
from functions.workflow.quantity import LEAST_CORES, LEAST_MEMORY
from functions.workflow.stage_options import GIB
from functions.yaml_files import error_parts, explained, json_schema, read_list

_STORAGES = frozenset({"s3", "gs", "az"})
_BUCKET = re.compile(r"(s3|gs|az)://[^/?#]+")  # the form that configure compares URLs with

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # a part between dots of an object's name (RFC 1123)

# Prepares the types at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
msgspec.json.Decoder(list[Environment])


def load(settings: Settings, called: str = "ENVIRONMENTS_FILE") -> dict[str, Environment]:
    """Return the environments by id. Raises SettingsError with the path of the wrong key, `environments[0].maxJobs`.

    `called` names the file in errors, where somebody has given it otherwise than by its variable.
    """
    address = _consumer_address(settings)
    if not settings.environments_file:
        return _by_id([_from_variables(settings)], address)
    try:
        return _by_id(_from_file(settings.environments_file), address)
    except SettingsError as e:
        raise SettingsError(f"{called}: {e}") from None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the file."""
    return json_schema(Environment, "Sluice compute environments")


def _by_id(found: Sequence[Environment], address: str) -> dict[str, Environment]:
    environments: dict[str, Environment] = {}
    for environment in found:
        if not environment.consumer_address:
            environment = msgspec.structs.replace(environment, consumer_address=address)
        environments[environment.id] = environment
    return environments


def _from_file(path: str) -> Sequence[Environment]:
    found = read_list(path, Environment, "environments", "environment", "docs/environments.md")
    for index, environment in enumerate(found):
        for key, problem in _problems(environment):
            raise SettingsError(f"environments[{index}].{key} {problem}")
        if environment.id in {each.id for each in found[:index]}:
            raise SettingsError(f"environments[{index}].id {environment.id!r} is taken by an earlier environment")
    return found


def _problems(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield what the types cannot say: a key and what is wrong with its value."""
    if not environment.id.strip():
        yield "id", "must not be empty"
    numbers = {
        "cpuNumber": environment.cpu_number,
        "ramGB": environment.ram_gb,
        "diskGB": environment.disk_gb,
        "priceMin": environment.price_min,
    }
    yield from ((key, "must be a finite number") for key, value in numbers.items() if not isfinite(value))
    if environment.cpu_number < LEAST_CORES:
        yield "cpuNumber", f"must be at least {LEAST_CORES}"
    if environment.ram_gb * GIB < LEAST_MEMORY:
        yield "ramGB", f"must be at least {LEAST_MEMORY / GIB:.3f}"
    yield from _name_problems(environment)
    yield from _url_problems(environment)


def _name_problems(environment: Environment) -> Iterator[tuple[str, str]]:
    """Yield names that Kubernetes refuses: each workflow would fail when its first Job is created."""
    if not NAMESPACE.fullmatch(environment.namespace):
        wrong = "must be at most 63 of a-z, 0-9 and -, without - at an end"
        if environment.namespace == environment.id:
            yield "id", f"is also the name of the namespace, which {wrong}; set namespace"
        yield "namespace", wrong
    names = {
        "runtimeClass": environment.runtime_class,
        "pullSecret": environment.pull_secret,
        "storageClass": environment.storage_class,
        "queueName": environment.queue_name,
    }
    for key, name in names.items():
        if name and not all(map(_LABEL.fullmatch, name.split("."))):
            yield key, "must be the name of a Kubernetes object: a-z, 0-9, - and ."


def _url_problems(environment: Environment) -> Iterator[tuple[str, str]]:
    fetch, tes = environment.fetch, environment.tes
    # A password in these URLs is never sent. The credentials of a storage come from its Secret.
    public = {f"fetch.providers[{n}]": url for n, url in enumerate(fetch.providers)}
    for place, endpoints in (("fetch.endpoints", fetch.endpoints), ("tes.endpoints", tes.endpoints)):
        yield from (
            (f"{place}.{key}", "is no scheme of a storage: s3, gs or az") for key in endpoints.keys() - _STORAGES
        )
        public |= {f"{place}.{scheme}": url for scheme, url in endpoints.items()}
    gateways = {"fetch.ipfsGateway": fetch.ipfs_gateway, "fetch.arweaveGateway": fetch.arweave_gateway}
    metadata = {"fetch.metadataUri": fetch.metadata_uri} if fetch.metadata_uri else {}
    for key, text in {**public, **gateways, **metadata}.items():
        url = _http_url(text)
        if url is None:
            yield key, "must be an http: or https: URL"
        elif key in public and url.authorization:
            yield key, "must be a URL without user name and password"
    for n, bucket in enumerate(fetch.buckets):
        if not _BUCKET.fullmatch(bucket):
            yield f"fetch.buckets[{n}]", "must be a scheme and a bucket alone, such as s3://bucket"
    for n, prefix in enumerate(tes.outputs):
        if problem := prefix_problem(prefix):
            yield f"tes.outputs[{n}]", problem


def _http_url(text: str) -> HttpUrl | None:
    try:
        return parse_url(text)
    except Malformed:
        return None


# --- operator-engine's variables ------------------------------------------------------------

# Keys of the file and the variables that replace them; values convert to the keys' types.
_VARIABLES = {
    "cpuNumber": "nCPU",
    "cpuType": "cpuType",
    "gpuNumber": "nGPU",
    "gpuType": "gpuType",
    "ramGB": "ramGB",
    "diskGB": "diskGB",
    "priceMin": "priceMinute",
    "desc": "description",
    "maxJobs": "maxJobs",
    "storageExpiry": "STORAGE_EXPIRY",
    "storageClass": "STORAGE_CLASS",
    "pullSecret": "PULL_SECRET",
    "filterImage": "FILTERING_CONTAINER",
}
# operator-engine's limit of an algorithm, then operator-service's.
_DURATION = ("maxJobDuration", "ALGO_POD_TIMEOUT")


def _from_variables(settings: Settings) -> Environment:
    """Return the one environment that operator-engine's variables describe. Raises SettingsError."""
    variables = settings.legacy
    duration = next((name for name in _DURATION if variables.get(name)), _DURATION[0])
    names = {"id": "DEFAULT_NAMESPACE", **_VARIABLES, "maxJobDuration": duration, "pullPolicy": "PULL_POLICY"}
    # operator-engine's default policy. Old deployments use the tag `latest`, which must be pulled again.
    entry: dict[str, Any] = {"id": "ocean-compute", "pullPolicy": "Always"}
    entry |= {key: variables[name] for key, name in names.items() if variables.get(name)}
    if variables.get("NODE_SELECTOR"):
        entry["nodeSelector"] = {"scope": variables["NODE_SELECTOR"]}
    providers = variables.get("PROVIDER_URLS", "").split()
    entry["fetch"] = {"metadataUri": variables.get("AQUARIUS_URL", ""), "providers": providers}
    names |= {"fetch.metadataUri": "AQUARIUS_URL"} | {
        f"fetch.providers[{n}]": "PROVIDER_URLS" for n, _ in enumerate(providers)
    }
    try:
        environment = msgspec.convert(entry, Environment, strict=False)
    except msgspec.ValidationError as e:
        message, path = error_parts(e)
        raise SettingsError(f"{names.get(path[1:], path[1:])}{explained(message, '[0]' + path, Environment)}") from None
    for key, problem in _problems(environment):
        raise SettingsError(f"{names[key]} {problem}")
    return environment


def _consumer_address(settings: Settings) -> str:
    """Return the address of OPERATOR_PRIVATE_KEY, as operator-engine announces it; else OPERATOR_ADDRESS."""
    if not settings.operator_private_key:
        return settings.operator_address
    from functions.ethereum import address

    try:
        return address(settings.operator_private_key)
    except ValueError as e:
        raise SettingsError(f"OPERATOR_PRIVATE_KEY: {e}") from None
