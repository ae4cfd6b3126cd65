"""The composition root: builds the parts from the settings, once per process and only when they are needed.

Nothing heavy is imported, and nothing is connected, before a part is first used: functions-framework
imports a function in gunicorn's arbiter and then forks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from functions import log
from functions.engine import sweep_settings
from functions.settings import Settings
from functions.variables import SettingsError

if TYPE_CHECKING:
    from functions.cluster.ports import Cluster
    from functions.engine.transitions import Transitions
    from functions.results.ports import Storage
    from functions.store.ports import Store
    from functions.telemetry import Export, Telemetry
    from functions.trust.policy import Policies
    from functions.workflow.environment import Environment


def utc_now() -> datetime:
    return datetime.now(UTC)


class App:
    """The parts of one process, each made at its first use. A part that is passed in is used instead."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = lambda: uuid4().hex,
        new_salt: Callable[[], str] = lambda: os.urandom(32).hex(),
        environments: Mapping[str, Environment] | None = None,
        store: Store | None = None,
        cluster: Cluster | None = None,
        storage: Storage | None = None,
        quarantine: Storage | None = None,
        checkpoints: Storage | None = None,
        policies: Policies | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.new_id = new_id
        self.new_salt = new_salt
        if environments is not None:
            self.environments = environments
        if store is not None:
            self.store = store
        if cluster is not None:
            self.cluster = cluster
        if storage is not None:
            self.storage = storage
        if quarantine is not None:
            self.quarantine = quarantine
        if checkpoints is not None:
            self.checkpoints = checkpoints
        if policies is not None:
            self.policies = policies
        if telemetry is not None:
            self.telemetry = telemetry

    @cached_property
    def environments(self) -> Mapping[str, Environment]:
        """The compute environments by id."""
        from functions.environments import load

        return load(self.settings)

    @cached_property
    def store(self) -> Store:
        from functions.store.sql import SqlStore

        return SqlStore(self.settings.database, pool_size=self.settings.pool_size)

    @cached_property
    def storage(self) -> Storage:
        from functions.results.storage import open_storage

        return open_storage(self.settings)

    @cached_property
    def quarantine(self) -> Storage:
        """The storage of held results. Raises SettingsError if a policy holds results and QUARANTINE_URL is not set."""
        from functions.results.storage import open_quarantine

        return open_quarantine(self.settings)

    @cached_property
    def checkpoints(self) -> Storage:
        """The storage of the log's checkpoints. Raises SettingsError."""
        from functions.results.storage import open_checkpoints

        return open_checkpoints(self.settings)

    @cached_property
    def policies(self) -> Policies | None:
        """The data holders' policies; None without a file of them. Raises SettingsError."""
        environments = self.environments.values()
        if not self.settings.policies_file and not any(each.policy for each in environments):
            return None
        from functions.policies import check_named, load

        policies = load(self.settings.policies_file)
        check_named(policies, environments)
        return policies

    @cached_property
    def cluster(self) -> Cluster:
        match self.settings.cluster:
            case "kubernetes":
                from functions.cluster.kubernetes.cluster import KubernetesCluster

                return KubernetesCluster(self.settings)
            case "processes":
                from functions.cluster.processes import ProcessCluster

                return ProcessCluster(Path(self.settings.process_dir))
            case "memory":
                from functions.cluster.instant import InstantCluster

                return InstantCluster()
            case other:
                raise SettingsError(f"SLUICE_CLUSTER must be kubernetes, processes or memory, not {other!r}")

    @cached_property
    def telemetry(self) -> Telemetry | None:
        """The exporter of traces and metrics. None without an endpoint; nothing of it is imported then."""
        endpoint = self.settings.otlp_endpoint
        if not endpoint:
            return None
        from functions.telemetry import Telemetry

        service = self.settings.legacy.get("K_SERVICE", "")  # Knative sets it to the function's name

        def connect() -> Export:
            from functions import otlp  # takes long; telemetry's thread calls this

            return otlp.connect(endpoint, {"faas.name": service} if service else {})

        return Telemetry(connect)

    @cached_property
    def transitions(self) -> Transitions:
        from functions.engine.transitions import Transitions

        return Transitions(self)


@cache
def current_app() -> App:
    """The App of this process, from its environment variables. Raises SettingsError."""
    settings = Settings.load()
    log.setup(settings.log_level)
    sweep_settings.check(settings)
    return App(settings)
