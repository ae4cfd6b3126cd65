"""Reads the compute environments: from a YAML file, or one from operator-engine's variables.

docs/environments.md describes the file. Read once per process: a changed file needs new revisions of the functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from functions.settings import Settings, SettingsError
from functions.workflow.environment import GIB, Environment
from functions.workflow.quantity import LEAST_CORES, LEAST_MEMORY

_PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def load(settings: Settings, called: str = "ENVIRONMENTS_FILE") -> dict[str, Environment]:
    """The environments by id. Raises SettingsError, which says which entry is wrong and why.

    `called`: what it calls the file, where somebody has given it by another name than its variable's.
    """
    address = _consumer_address(settings)
    if not settings.environments_file:
        return _by_id([_from_variables(settings)], address)
    try:
        return _by_id(_from_file(settings.environments_file), address)
    except SettingsError as e:
        raise SettingsError(f"{called}: {e}") from None


def _by_id(found: Iterable[Environment], address: str) -> dict[str, Environment]:
    environments: dict[str, Environment] = {}
    for environment in found:
        _check(environment)
        if not environment.consumer_address:
            environment = msgspec.structs.replace(environment, consumer_address=address)
        if environment.id in environments:
            raise SettingsError(f"the id {environment.id!r} is there twice")
        environments[environment.id] = environment
    if not environments:
        raise SettingsError("lists no environment; see docs/environments.md")
    return environments


def _from_file(path: str) -> Iterable[Environment]:
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise SettingsError(f"cannot be read: {e.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise SettingsError(f"is not YAML: {e}") from None
    if not isinstance(content, list):
        raise SettingsError("must hold a list of environments; see docs/environments.md")
    for entry in content:
        name = entry.get("id", "?") if isinstance(entry, dict) else "?"
        yield _convert(entry, f"environment {name!r}")


def _check(environment: Environment) -> None:
    """What types do not say."""
    if not environment.id.strip():
        raise SettingsError("an entry has an empty id")
    for name in ("cpu_number", "ram_gb", "disk_gb", "max_job_duration", "stage_seconds", "attempts"):
        if getattr(environment, name) <= 0:
            raise SettingsError(f"environment {environment.id!r}: {name} must be above 0")
    for name in ("stuck_seconds", "start_seconds"):
        if getattr(environment, name) < 0:
            raise SettingsError(f"environment {environment.id!r}: {name} must not be below 0")
    if environment.cpu_number < LEAST_CORES or environment.ram_gb * GIB < LEAST_MEMORY:
        raise SettingsError(f"environment {environment.id!r}: cpuNumber must be at least 0.001, ramGB at least 0.016")
    if environment.max_jobs < 0:  # 0 pauses it: jobs are accepted and wait
        raise SettingsError(f"environment {environment.id!r}: max_jobs must not be below 0")
    if environment.pull_policy not in _PULL_POLICIES:
        raise SettingsError(f"environment {environment.id!r}: pullPolicy must be one of {', '.join(_PULL_POLICIES)}")


# --- operator-engine's variables ------------------------------------------------------------

# Fields that are a plain rename; the values convert to the fields' types.
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
# operator-service and operator-engine say how long an algorithm may run in two ways; the engine's counts.
_DURATION = ("maxJobDuration", "ALGO_POD_TIMEOUT")


def _from_variables(settings: Settings) -> Environment:
    """The one environment of an operator-engine: announced and limited as its variables say."""
    variables = settings.legacy
    entry: dict[str, Any] = {"id": variables.get("DEFAULT_NAMESPACE") or "ocean-compute"}
    entry |= {field: variables[name] for field, name in _VARIABLES.items() if variables.get(name)}
    duration = next((variables[name] for name in _DURATION if variables.get(name)), None)
    if duration:
        entry["maxJobDuration"] = duration
    # operator-engine's default, which also keeps old deployments' `latest` tags fresh.
    entry["pullPolicy"] = variables.get("PULL_POLICY") or "Always"
    if variables.get("NODE_SELECTOR"):
        entry["nodeSelector"] = {"scope": variables["NODE_SELECTOR"]}
    return _convert(entry, "environment from variables", strict=False, names=_VARIABLES)


def _consumer_address(settings: Settings) -> str:
    """The address of OPERATOR_PRIVATE_KEY, as operator-engine announces it; else OPERATOR_ADDRESS."""
    if not settings.operator_private_key:
        return settings.operator_address
    from functions.ethereum import address

    try:
        return address(settings.operator_private_key)
    except ValueError as e:
        raise SettingsError(f"OPERATOR_PRIVATE_KEY: {e}") from None


def _convert(entry: Any, what: str, *, strict: bool = True, names: Mapping[str, str] | None = None) -> Environment:
    try:
        return msgspec.convert(entry, Environment, strict=strict)
    except msgspec.ValidationError as e:
        expected, _, path = str(e).partition(" - at `")
        field = path.rstrip("`").removeprefix("$.")
        where = f"{what}: {(names or {}).get(field, field)}" if field else what
        raise SettingsError(f"{where}: {expected}") from None
