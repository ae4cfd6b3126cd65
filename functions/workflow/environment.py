"""A compute environment: what it offers, what it allows, and the limits it grants a workflow.

The structs are the format of the environments file: `functions/environments.schema.json` is generated from them, so the
descriptions below are what an editor shows.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr, replace

from functions.workflow.document import Definition, DocumentError
from functions.workflow.model import Limits
from functions.workflow.quantity import LEAST_CORES, LEAST_MEMORY, parse_cores, parse_quantity
from functions.workflow.stage_options import (
    GIB,
    DeliveryOptions,
    FetchOptions,
    PublishOptions,
    above_zero,
    described,
    duration,
)
from functions.workflow.tes_task import TesTask

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # a name that Kubernetes accepts (RFC 1123)


class Environment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One entry of the environments file. Names as operator-engine announces them."""

    id: Annotated[str, Meta(min_length=1, description="What clients send as `environment`")]
    namespace: Annotated[str, described("Kubernetes namespace of its Jobs; the id if left out")] = ""
    cpu_number: Annotated[float, above_zero("Most CPU cores of a workflow")] = 1
    cpu_type: Annotated[str, described("Announced only")] = ""
    gpu_number: Annotated[int, Meta(ge=0, description="Most GPUs of a workflow")] = 0
    gpu_type: Annotated[str, described("Announced only")] = ""
    gpu_resource: Annotated[str, described("Kubernetes resource that is requested for a GPU")] = "nvidia.com/gpu"
    ram_gb: Annotated[float, above_zero("Most memory of a workflow, in GiB")] = field(default=1, name="ramGB")
    disk_gb: Annotated[float, above_zero("Volume for inputs, outputs and logs, in GiB")] = field(
        default=1, name="diskGB"
    )
    price_min: Annotated[float, Meta(ge=0, description="Price per minute; announced only")] = 0
    desc: Annotated[str, described("Description; announced only")] = ""
    max_jobs: Annotated[int, Meta(ge=0, description="Workflows that run at once; more are queued. 0 pauses it")] = 10
    max_job_duration: Annotated[int, duration("Seconds for the algorithm", 1)] = 60
    storage_expiry: Annotated[int, duration("Seconds that results are kept after the end; 0 keeps them")] = 0
    consumer_address: Annotated[str, described("Address that is paid; by default that of the operator's key")] = ""
    allowed_chain_id: Annotated[tuple[int, ...], described("Chains whose jobs are accepted; empty accepts all")] = ()
    stage_seconds: Annotated[int, duration("Seconds for configure, filter and publish, each", 1)] = 3600
    queue_seconds: Annotated[int, duration("Seconds that a workflow may wait for a slot")] = 86_400
    stuck_seconds: Annotated[int, duration("Seconds that a Pod may wait with a fatal reason")] = 60
    start_seconds: Annotated[int, duration("Seconds that a Pod may wait for admission, a node and its volume")] = 600
    attempts: Annotated[int, above_zero("Attempts of configure and of publish")] = 5
    filter_image: Annotated[str, described("Image that checks outputs before they are published; none: no filter")] = ""
    filter_command: Annotated[
        tuple[str, ...], described("Command of the filter; empty: the image's own entrypoint")
    ] = ()
    runtime_class: Annotated[str, described("Kubernetes RuntimeClass of its Pods")] = ""
    node_selector: Annotated[dict[str, str], described("Labels of the nodes that its Pods may use")] = {}
    tolerations: Annotated[tuple[dict[str, str | int], ...], described("Kubernetes tolerations of its Pods")] = ()
    pull_secret: Annotated[str, described("Name of an image pull Secret in its namespace")] = ""
    pull_secret_images: Annotated[
        tuple[str, ...],
        described(
            "Algorithms' images that are pulled with it: `registry/name`, or `registry/folder/` with all below it"
        ),
    ] = ()
    prefetch: Annotated[bool, described("Pull the algorithm's image while configure fetches the data")] = False
    pull_policy: Annotated[Literal["Always", "IfNotPresent", "Never"], described("imagePullPolicy of its Pods")] = (
        "IfNotPresent"
    )
    storage_class: Annotated[str, described("StorageClass of the volume; the cluster's default if left out")] = ""
    queue_name: Annotated[str, described("Kueue LocalQueue; Jobs are then created suspended")] = ""
    policy: Annotated[str, described("Id of the policy that counts for data sets that no policy names")] = ""
    run_as_user: Annotated[int, Meta(ge=1, description="User id of its Pods")] = 1000
    fetch: FetchOptions = FetchOptions()
    publish: PublishOptions = PublishOptions()
    tes: DeliveryOptions = DeliveryOptions()

    def __post_init__(self) -> None:
        """Default the namespace to the id."""
        force_setattr(self, "namespace", self.namespace or self.id)

    def accepts_chain(self, chain_id: int | str | None) -> bool:
        """Whether a job for this chain may run here; chain ids compare as numbers, whatever their JSON type."""
        return not self.allowed_chain_id or str(chain_id) in map(str, self.allowed_chain_id)


def grant(environment: Environment, definition: Definition) -> Limits:
    """Grant a workflow what it asks for, up to the environment's limits."""
    compute = definition.stage.compute
    asked = compute.resources
    memory = int(environment.ram_gb * GIB)
    cpu = environment.cpu_number
    gpus = environment.gpu_number
    if asked is not None:
        if asked.requests_memory:
            memory = min(memory, parse_quantity(asked.requests_memory))
        if asked.requests_cpu:
            cpu = min(cpu, parse_cores(asked.requests_cpu))
        if asked.gpus is not None:
            gpus = min(gpus, max(asked.gpus, 0))
    limit = environment.max_job_duration
    return replace(
        _limits(environment),
        algorithm_seconds=min(limit, compute.maxtime) if compute.maxtime else limit,
        cpu=max(cpu, LEAST_CORES),
        memory=max(memory, LEAST_MEMORY),
        gpus=gpus,
    )


def grant_task(environment: Environment, task: TesTask) -> Limits:
    """Grant a GA4GH TES task what it asks for. Raises DocumentError if that is more than the environment's limits.

    A task that asks for no cores and no memory gets all that a workflow may have.
    """
    asked, backend, at = task.resources, task.backend, "$.resources"
    cpu = _within(asked.cpu_cores, environment.cpu_number, f"{at}.cpu_cores", "cores")
    memory = _within(asked.ram_gb, environment.ram_gb, f"{at}.ram_gb", "GiB")
    _within(asked.disk_gb, environment.disk_gb, f"{at}.disk_gb", "GiB")
    seconds, gpus = (int(backend[name]) if name in backend else None for name in ("maxtime", "gpus"))
    at = f"{at}.backend_parameters"
    return replace(
        _limits(environment),
        algorithm_seconds=int(_within(seconds, environment.max_job_duration, f"{at}.maxtime", "seconds")) or 1,
        cpu=max(cpu, LEAST_CORES),
        memory=max(int(memory * GIB), LEAST_MEMORY),
        gpus=int(_within(gpus or 0, environment.gpu_number, f"{at}.gpus", "GPUs")),
        ignore_errors=tuple(executor.ignore_error for executor in task.executors),
    )


def _within(asked: float | None, most: float, path: str, unit: str) -> float:
    if asked is not None and asked > most:
        raise DocumentError(path, f"at most {most:.12g} {unit}, the environment's limit, not {asked:.12g}")
    return most if asked is None else asked


def _limits(environment: Environment) -> Limits:
    """Return the limits that no document changes."""
    return Limits(
        stage_seconds=environment.stage_seconds,
        queue_seconds=environment.queue_seconds,
        stuck_seconds=environment.stuck_seconds,
        start_seconds=environment.start_seconds,
        attempts=environment.attempts,
        filtered=bool(environment.filter_image or environment.filter_command),
        storage_expiry=environment.storage_expiry,
        disk=int(environment.disk_gb * GIB),
        namespace=environment.namespace,
    )
