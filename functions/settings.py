"""The settings. Functions, CLI and laptop read environment variables only here.

A setting is a field of `Settings` with its variable, default and meaning; docs/settings.md is tested against
them. Lists are JSON arrays, as in operator-service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from functions.variables import ADDRESS, HTTP, Allowed, SettingsError, parse, text_of


def setting(
    variable: str,
    default: Any,
    meaning: str,
    *,
    secret: bool = False,
    optional: bool = False,
    example: str = "",
    allowed: Allowed = None,
) -> Any:
    """Define a field of Settings. A secret may also be a file, named by `<variable>_FILE`, and is never shown.

    `optional`: this file may be missing, so that a mounted Secret may lack the key. `example`: an item of the list, for
    errors. `allowed`: see `variables.parse`.
    """
    told = {"variable": variable, "meaning": meaning, "secret": secret, "optional": optional}
    return field(default=default, repr=not secret, metadata={**told, "example": example, "allowed": allowed})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The values of all settings; `Settings.load()` reads them from the environment."""

    # the record
    database_url: str = setting(
        "DATABASE_URL", "", "`postgresql://…` or `sqlite:///path`; empty: from POSTGRES_*", secret=True
    )
    postgres_user: str = setting("POSTGRES_USER", "", "as operator-service")
    postgres_password: str = setting("POSTGRES_PASSWORD", "", "as operator-service", secret=True)
    postgres_host: str = setting("POSTGRES_HOST", "", "as operator-service")
    postgres_port: int = setting("POSTGRES_PORT", 5432, "as operator-service", allowed=range(1, 1 << 16))
    postgres_db: str = setting("POSTGRES_DB", "", "as operator-service")
    pool_size: int = setting(
        "THREADS", 8, "threads of a function's server, and connections of its pool", allowed=range(1, 1001)
    )

    # the cluster and the results
    cluster: str = setting(
        "SLUICE_CLUSTER",
        "kubernetes",
        "where Jobs run: `kubernetes`, `processes` or `memory`",
        allowed=("kubernetes", "processes", "memory"),
    )
    kubeconfig: str = setting("KUBECONFIG", "", "kubeconfig of the cluster; empty: the cluster we run in")
    process_dir: str = setting("SLUICE_PROCESS_DIR", "", "with `processes`: folder of their state")
    tick_broker: str = setting(
        "TICK_BROKER",
        "",
        "`namespace/name` of the Broker for ticks; empty: PingSource `tick` is not managed",
    )
    image: str = setting("SLUICE_IMAGE", "sluice:latest", "image of the configure and publish stages")
    results_url: str = setting(
        "RESULTS_URL", "", "storage of results: `s3://bucket/prefix`, `gs://`, `az://`, `ipfs://`, `file:///dir`"
    )
    storage_secret: str = setting(
        "STORAGE_SECRET", "sluice-storage", "Secret with the storage's credentials, mounted into publish"
    )
    tes_output_secret: str = setting(
        "TES_OUTPUT_SECRET",
        "sluice-tes-outputs",
        "Secret with the credentials of the storages that outputs of TES tasks go to, mounted into publish",
    )
    operator_secret: str = setting(
        "OPERATOR_SECRET", "sluice-operator", "Secret with the operator's private key, mounted into configure"
    )
    credentials_dir: str = setting(
        "SLUICE_CREDENTIALS", "", "folder of files named like the variables they replace (a mounted Secret)"
    )

    # who may do what
    signature_required: bool = setting("SIGNATURE_REQUIRED", True, "0: any valid signature is accepted (laptop only)")
    accept_unsigned_nonce: bool = setting(
        "ACCEPT_UNSIGNED_NONCE", False, "1: accept signatures over the bare message too; replayable"
    )
    allowed_providers: tuple[str, ...] = setting(
        "ALLOWED_PROVIDERS",
        (),
        "JSON array of the addresses that may sign, any case",
        example="0xabc…",
        allowed=ADDRESS,
    )
    allowed_admins: tuple[str, ...] = setting(
        "ALLOWED_ADMINS", (), "JSON array of values of the `Admin` header", secret=True, example="a long password"
    )
    open_admin: bool = setting(
        "SLUICE_OPEN_ADMIN", False, "1: admin routes without `Admin` header where no admins are set (laptop only)"
    )
    tes_tokens_file: str = setting(
        "TES_TOKENS_FILE", "", "file of the tokens of GA4GH TES, made by `sluice token new` (docs/tes.md)"
    )
    open_tes: bool = setting(
        "SLUICE_OPEN_TES", False, "1: TES without a token, where neither tokens nor an issuer are set (laptop only)"
    )
    tes_environment: str = setting(
        "TES_ENVIRONMENT", "", "environment of TES tasks that name none; empty: the only one that the caller may use"
    )
    tes_service_id: str = setting("TES_SERVICE_ID", "sluice", "`id` in TES's service-info")
    tes_service_name: str = setting("TES_SERVICE_NAME", "Sluice", "`name` in TES's service-info")
    tes_organization: str = setting("TES_ORGANIZATION", "Sluice", "name of the organization in TES's service-info")
    tes_organization_url: str = setting(
        "TES_ORGANIZATION_URL", "https://sluice.example", "URL of the organization", allowed=HTTP
    )
    tes_contact_url: str = setting("TES_CONTACT_URL", "", "`contactUrl` in TES's service-info; not `mailto:`")
    oidc_issuer: str = setting("OIDC_ISSUER", "", "URL of the OpenID Connect issuer whose JWTs are accepted as tokens")
    oidc_audience: str = setting("OIDC_AUDIENCE", "", "`aud` of those JWTs")
    oidc_jwks_file: str = setting("OIDC_JWKS_FILE", "", "file of the issuer's keys; empty: by discovery")
    oidc_groups_claim: str = setting("OIDC_GROUPS_CLAIM", "groups", "claim with the groups of a JWT's subject")
    oidc_groups: tuple[str, ...] = setting(
        "OIDC_GROUPS",
        (),
        "JSON array of `group=environment` that members may use; empty: everybody may use all",
        example="lab=ocean-compute",
    )
    oidc_admin_group: str = setting("OIDC_ADMIN_GROUP", "", "group whose members see the tasks of all owners")
    operator_address: str = setting(
        "OPERATOR_ADDRESS",
        "",
        "shown at `/`; without OPERATOR_PRIVATE_KEY also the environments' `consumerAddress`",
        allowed=ADDRESS,
    )
    operator_private_key: str = setting(
        "OPERATOR_PRIVATE_KEY", "", "signs notifications and downloads from Providers", secret=True
    )

    # the environments
    environments_file: str = setting(
        "ENVIRONMENTS_FILE",
        "",
        "YAML file of the environments; empty: operator-engine's variables",
    )

    # the data holders' policies, and results that are held
    policies_file: str = setting("POLICIES_FILE", "", "YAML file of the data holders' policies (docs/trust.md)")
    quarantine_url: str = setting(
        "QUARANTINE_URL", "", "where held results wait: like RESULTS_URL, and never below it", secret=True
    )
    notify_hold_urls: tuple[str, ...] = setting(
        "NOTIFY_HOLD_URL",
        (),
        "JSON array of URLs that get a CloudEvent when results are held, released, …",
        example="https://hooks.example/sluice",
        allowed=HTTP,
    )
    notify_hold_secret: str = setting(
        "NOTIFY_HOLD_SECRET",
        "",
        "`whsec_…`, signs these events as Standard Webhooks does; empty: unsigned (docs/trust.md)",
        secret=True,
        optional=True,
    )

    # proofs
    public_url: str = setting(
        "PUBLIC_URL",
        "https://sluice.example",
        "URL of this deployment; names it in crates, statements and checkpoints",
        allowed=HTTP,
    )
    holder_name: str = setting("HOLDER_NAME", "Data holder", "name of the data holder in crates")
    signing_key: str = setting(
        "SIGNING_KEY", "", "Ed25519 key (PEM) that signs statements and checkpoints (docs/trust.md)", secret=True
    )
    earlier_signing_key: str = setting(
        "EARLIER_SIGNING_KEY",
        "",
        "the key before SIGNING_KEY; signs too while it is replaced",
        secret=True,
        optional=True,
    )

    checkpoint_url: str = setting(
        "CHECKPOINT_URL", "", "storage that keeps each checkpoint of the log: as RESULTS_URL, not ipfs: (docs/trust.md)"
    )
    witnesses: tuple[str, ...] = setting(
        "WITNESSES",
        (),
        "JSON array of `URL KEY` of the witnesses that cosign the log's checkpoints (docs/trust.md)",
        example="https://witness.example/api witness.example/w1+0f1e2d3c+BAk…",
    )

    # results and notifications
    x_api_key: str = setting("X-API-KEY", "", "sent to the results' storage host", secret=True)
    client_id: str = setting("CLIENT-ID", "", "sent to the results' storage host", secret=True)
    notify_start_url: str = setting(
        "NOTIFY_START_URL", "", "gets a POST when a workflow starts, as in operator-engine", allowed=HTTP
    )
    notify_stop_url: str = setting(
        "NOTIFY_STOP_URL", "", "gets a POST when a workflow has ended, as in operator-engine", allowed=HTTP
    )

    # the rest
    max_body: int = setting(
        "MAX_BODY_BYTES", 1 << 20, "largest request body, in bytes", allowed=range(1, (1 << 30) + 1)
    )
    client_seconds: int = setting(
        "CLIENT_SECONDS",
        10,
        "seconds that a client may pause while it sends a request; its body may come at 32 KiB/s",
        allowed=range(1, 3601),
    )
    log_level: str = setting(
        "LOG_LEVEL",
        "INFO",
        "level of the JSON log",
        allowed=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "WARN", "FATAL"),  # as operator-engine
    )
    otlp_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "OTLP/HTTP receiver of traces and metrics, such as `http://collector:4318`; empty: none",
        allowed=HTTP,
    )

    # operator-engine's one environment, used when there is no environments file
    legacy: Mapping[str, str] = field(default_factory=dict, repr=False, metadata={})

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. Raises SettingsError."""
        hints = get_type_hints(cls)
        values: dict[str, Any] = {
            f.name: parse(told["variable"], text, hints[f.name], told["example"], told["allowed"])
            for f in fields(cls)
            if (told := f.metadata)
            and (text := text_of(environ, told["variable"], secret=told["secret"], optional=told["optional"]))
            is not None
        }
        return cls(**values, legacy=dict(environ))

    @property
    def origin(self) -> str:
        """Return the URL that names this deployment. It ends in `/`."""
        return f"{self.public_url.rstrip('/')}/"

    @property
    def runs_images(self) -> bool:
        """Whether algorithms run in the container images that are asked for."""
        return self.cluster == "kubernetes"

    @property
    def database(self) -> str:
        """Return the database's URL. Raises SettingsError."""
        from urllib.parse import quote, urlencode

        url = self.database_url
        if not url and self.postgres_host:
            # A host may be a folder of sockets or an IPv6 address, which only fit into options.
            options = {
                "host": self.postgres_host,
                "port": self.postgres_port,
                "user": self.postgres_user,
                "password": self.postgres_password,
            }
            url = f"postgresql:///{quote(self.postgres_db, safe='')}?{urlencode(options, quote_via=quote)}"
        if not url:
            raise SettingsError("DATABASE_URL is not set; for example postgresql://user:password@host:5432/sluice")
        if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg2://", "sqlite:///")):
            raise SettingsError("DATABASE_URL must begin with postgresql:// or sqlite:///")
        return url
