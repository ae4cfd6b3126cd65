"""A compute environment: what it offers, what it allows, and the terms it grants a workflow."""

from __future__ import annotations

from msgspec import Struct, field
from msgspec.structs import force_setattr

from functions.workflow.document import Definition
from functions.workflow.model import Limits
from functions.workflow.quantity import LEAST_CORES, LEAST_MEMORY, cores, quantity

GIB = 1 << 30


class FetchPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What configure may fetch, and how much of it. Bytes and seconds."""

    schemes: tuple[str, ...] = ("https", "s3", "gs", "az", "ipfs", "ar")
    allow_private_addresses: bool = False  # for a laptop or a closed network: turns the SSRF guard off
    max_bytes: int = 100 * GIB
    max_files: int = 10_000
    seconds: int = 3600
    ipfs_gateway: str = "https://ipfs.io"  # or a node's API, ending in /api/v0
    arweave_gateway: str = "https://arweave.net"
    buckets: tuple[str, ...] = ()  # `s3://name`: read with the operator's credentials; all others anonymously
    endpoints: dict[str, str] = {}  # by scheme: the URL of a storage that is not the cloud's own


class PublishPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be published. Bytes."""

    max_bytes: int = 100 * GIB
    max_files: int = 10_000  # each stands in the manifest, which every answer about the job carries
    max_file_bytes: int = 50 * GIB
    max_log_bytes: int = 10 * (1 << 20)


class Environment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One entry of the environments file (docs/environments.md). Names as operator-engine announces them."""

    id: str
    namespace: str = ""
    cpu_number: float = 1
    cpu_type: str = ""
    gpu_number: int = 0
    gpu_type: str = ""
    gpu_resource: str = "nvidia.com/gpu"
    ram_gb: float = field(default=1, name="ramGB")
    disk_gb: float = field(default=1, name="diskGB")
    price_min: float = 0
    desc: str = ""
    max_jobs: int = 10
    max_job_duration: int = 60  # seconds for the algorithm
    storage_expiry: int = 0  # seconds after the end; 0 keeps results
    consumer_address: str = ""
    allowed_chain_id: tuple[int, ...] = ()
    stage_seconds: int = 3600  # configure, filter and publish, each
    queue_seconds: int = 86_400
    stuck_seconds: int = 60
    start_seconds: int = 600
    attempts: int = 5
    filter_image: str = ""
    filter_command: tuple[str, ...] = ()  # the image's own entrypoint if empty
    runtime_class: str = ""
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, str | int], ...] = ()
    pull_secret: str = ""
    pull_policy: str = "IfNotPresent"
    storage_class: str = ""
    queue_name: str = ""  # Kueue LocalQueue; Jobs are then created suspended
    run_as_user: int = 1000
    fetch: FetchPolicy = FetchPolicy()
    publish: PublishPolicy = PublishPolicy()

    def __post_init__(self) -> None:
        """Its Jobs run in the Kubernetes namespace of its own name unless another is given."""
        force_setattr(self, "namespace", self.namespace or self.id)

    def accepts_chain(self, chain_id: int | str | None) -> bool:
        """Whether a job for this chain may run here; chain ids compare as numbers, whatever their JSON type."""
        return not self.allowed_chain_id or str(chain_id) in map(str, self.allowed_chain_id)


def grant(environment: Environment, definition: Definition) -> Limits:
    """The terms of one workflow: what it asks for, up to what the environment allows."""
    compute = definition.stage.compute
    asked = compute.resources
    memory = int(environment.ram_gb * GIB)
    cpu = environment.cpu_number
    gpus = environment.gpu_number
    if asked is not None:
        if asked.requests_memory:
            memory = min(memory, quantity(asked.requests_memory))
        if asked.requests_cpu:
            cpu = min(cpu, cores(asked.requests_cpu))
        if asked.gpus is not None:
            gpus = min(gpus, max(asked.gpus, 0))
    limit = environment.max_job_duration
    return Limits(
        algorithm_seconds=min(limit, compute.maxtime) if compute.maxtime else limit,
        stage_seconds=environment.stage_seconds,
        queue_seconds=environment.queue_seconds,
        stuck_seconds=environment.stuck_seconds,
        start_seconds=environment.start_seconds,
        attempts=environment.attempts,
        filtered=bool(environment.filter_image or environment.filter_command),
        storage_expiry=environment.storage_expiry,
        cpu=max(cpu, LEAST_CORES),
        memory=max(memory, LEAST_MEMORY),
        disk=int(environment.disk_gb * GIB),
        gpus=gpus,
        namespace=environment.namespace,
    )
