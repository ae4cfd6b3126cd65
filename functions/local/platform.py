"""The platform: does in one process on loopback what Knative and a cluster do, by the same manifests.

It may be killed at any moment. When it is started again on the same folder, every workflow continues.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.local import generated_keys
from functions.local.http_server import Post, Server, function
from functions.local.isolation import Isolation, probe
from functions.local.knative_manifests import load, of_kind
from functions.local.leftovers import CLUSTER
from functions.local.supervisor_launcher import SupervisorLauncher

if TYPE_CHECKING:
    from functions.cluster.events import ApiServerEvent

FUNCTIONS = ("submit", "advance", "status")
DATABASE = "sluice.db"
ENVIRONMENTS = Path(__file__).with_name("environments.yaml")  # where the user names none
_THREADS = 8  # of the broker; also the connections of its HTTP pool


class PlatformError(Exception):
    """The platform cannot start. The message tells the user why, and what to do."""


def folder_variables(folder: Path, environments: Path, given: Set[str], *, temporary: bool = False) -> dict[str, str]:
    """Return the functions' environment variables for a folder: where its records, Jobs, results and key are.

    `given`: names of variables that the user has set. The folder's key is left out if they name another one.
    `temporary`: nothing in the folder has to outlast a power failure.
    """
    return {
        "DATABASE_URL": f"sqlite:///{folder / DATABASE}{'?synchronous=off' if temporary else ''}",
        "SLUICE_CLUSTER": "processes",
        "SLUICE_PROCESS_DIR": str(folder / CLUSTER),
        "RESULTS_URL": (folder / "results").as_uri(),
        "QUARANTINE_URL": (folder / "quarantine").as_uri(),
        "ENVIRONMENTS_FILE": str(environments.absolute()),
        **generated_keys.signing_settings(folder, given),
    }


class Platform:
    """Serves at `url` inside a `with`. There can be one per process and one per folder at a time.

    `tick`: seconds between two sweeps, whatever the tick's level. `end_stages`: the running stages end with
    the platform, even if it is killed; otherwise they continue and the next platform on the folder adopts them.
    `temporary`: if the platform is killed, its folder is removed. `shown`: files and folders that algorithms see
    besides programs. `variables`: settings that override the environment variables. Entering raises PlatformError and
    PortTaken.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        tick: float | None = None,
        environments: Path | None = None,
        require_isolation: bool = False,
        end_stages: bool = False,
        temporary: bool = False,
        shown: Sequence[Path] = (),
        variables: dict[str, str] | None = None,
    ) -> None:
        self._folder = folder.resolve()  # no link of its path may lead astray inside a sandbox
        self._port = port
        self._tick = tick
        self._environments = environments or ENVIRONMENTS
        self._require_isolation = require_isolation
        self._end_stages = end_stages
        self._temporary = temporary
        self._shown = shown
        self._variables = variables or {}
        self._stack = ExitStack()
        self._delivered = threading.Event()
        self.url = ""
        self.key_file: Path | None = None  # of the key that was made for this folder
        self.isolation = Isolation.NONE

    def __enter__(self) -> Platform:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def results(self) -> Path:
        """The folder of the published results."""
        return self._folder / "results"

    def wait(self, seconds: float) -> None:
        """Wait until an event was delivered since the last call, at most `seconds`. For one caller only."""
        self._delivered.wait(seconds)
        self._delivered.clear()

    def _start(self, stack: ExitStack) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.callback(os.close, _lock(self._folder))
        stack.callback(_set_environment(self._settings()))
        _discard_app()  # it may have been built with other settings
        stack.callback(_discard_app)
        launcher = SupervisorLauncher(self._folder / CLUSTER, temporary=self._temporary)
        stack.callback(launcher.close)
        gateway = self._server(stack, self._port)
        with ThreadPoolExecutor(1) as pool:  # the probe mostly waits for another process
            isolation = pool.submit(probe)
            servers = {name: self._server(stack) for name in FUNCTIONS}
            apps = {name: function(name) for name in FUNCTIONS}
            _check_settings(str(self._environments))
            _migrate(self._folder / DATABASE)
            self.isolation = isolation.result()
        self._check_isolation()
        for name, server in servers.items():
            server.start(apps[name])
        self._connect(stack, gateway, {name: server.url for name, server in servers.items()}, launcher)
        self.url = gateway.url

    def _check_isolation(self) -> None:
        """Raises PlatformError if algorithms cannot run, or not as they must."""
        from functions.local.launch_spec import unreachable

        if self.isolation is Isolation.SANDBOX:
            return
        if self._require_isolation:
            raise PlatformError(
                f"--require-isolation needs a full sandbox, but this machine grants only: {self.isolation.text}. "
                "Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, "
                "kernel.apparmor_restrict_unprivileged_userns), or start without --require-isolation"
            )
        if closed := unreachable(self._folder):
            raise PlatformError(
                f"algorithms run as the user nobody, who may not enter {closed}; choose a folder with --dir that "
                "everybody can reach, such as /var/lib/sluice, or start Sluice as an ordinary user"
            )

    def _connect(
        self, stack: ExitStack, gateway: Server, addresses: dict[str, str], launcher: SupervisorLauncher
    ) -> None:
        """Start the broker, the gateway, the kubelet and the ticker, and connect them to the functions."""
        from urllib3 import PoolManager, Timeout

        from functions.cluster.processes import tick_level
        from functions.local.broker import Broker
        from functions.local.gateway import Gateway, matches
        from functions.local.kubelet import Kubelet
        from functions.local.launch_spec import LaunchOptions
        from functions.local.ticker import Ticker
        from functions.local.triggers import parse_trigger
        from functions.settings import Settings

        manifests = load()
        http = PoolManager(maxsize=_THREADS, timeout=Timeout(connect=2, read=300))
        stack.callback(http.clear)
        post = Post(http)
        broker = Broker(post, workers=_THREADS, delivered=self._delivered.set)
        broker.start(parse_trigger(item, addresses) for item in of_kind(manifests, "Trigger"))
        stack.callback(broker.stop)
        ingress = self._server(stack)
        ingress.start(broker.app)
        settings = Settings.load()
        routes = matches(of_kind(manifests, "HTTPRoute"))
        gateway.start(Gateway(routes, addresses, http, settings.max_body, settings.client_seconds))
        folder = self._folder / CLUSTER
        options = LaunchOptions(self.isolation, self._folder, self._shown, ends_with_platform=self._end_stages)
        kubelet = Kubelet(folder, _announcer(post, ingress.url), options, launcher)
        kubelet.start()
        stack.callback(kubelet.stop, end_stages=self._end_stages)
        for source in of_kind(manifests, "PingSource"):
            ticker = Ticker(
                source, lambda message: post(ingress.url, message), lambda: tick_level(folder), every=self._tick
            )
            ticker.start()
            stack.callback(ticker.stop)

    def _server(self, stack: ExitStack, port: int = 0) -> Server:
        server = Server(port)
        stack.callback(server.stop)
        return server

    @property
    def visible(self) -> list[str] | None:
        """The files and folders of this machine that algorithms see; None if they see all that their user can read."""
        from functions.local.view import visible

        return visible(self._shown) if self.isolation is Isolation.SANDBOX else None

    @property
    def consumer_address(self) -> str:
        """The address that Providers are told to expect; empty without an operator's key."""
        from functions.ethereum import address
        from functions.settings import Settings

        key = Settings.load().operator_private_key
        return address(key) if key else ""

    def _settings(self) -> dict[str, str]:
        """The functions' environment variables. The caller's own cannot change where records, Jobs and results lie."""
        insecure = {"SIGNATURE_REQUIRED": "0", "SLUICE_OPEN_ADMIN": "1", "SLUICE_OPEN_TES": "1"}  # on loopback only
        chosen = {name: os.environ.get(name, value) for name, value in insecure.items()}
        given = {*os.environ, *self._variables}
        operator = generated_keys.operator_settings(self._folder, given)
        self.key_file = Path(operator["OPERATOR_PRIVATE_KEY_FILE"]) if operator else None
        of_folder = folder_variables(self._folder, self._environments, given, temporary=self._temporary)
        return {**chosen, **of_folder, **operator, **self._variables}


def _lock(folder: Path) -> int:
    """Lock the folder against other platforms; the kernel releases the lock when this process ends."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode() or "unknown"
        os.close(descriptor)
        raise PlatformError(
            f"another Sluice (process {owner}) uses {folder}; stop it, or choose another folder with --dir"
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _set_environment(variables: dict[str, str]) -> Callable[[], None]:
    """Set environment variables. Returns a function that restores the earlier values."""
    set_by_functions_framework = ("FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE")
    before = {name: os.environ.get(name) for name in (*variables, *set_by_functions_framework)}

    def restore() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    os.environ.update(variables)
    return restore


def _discard_app() -> None:
    """Close and discard the App of this process, if there is one."""
    from functions.engine.app import current_app

    if current_app.cache_info().currsize and "store" in (parts := vars(current_app())):
        parts["store"].close()
    current_app.cache_clear()


def _check_settings(environments: str) -> None:
    """Check all settings, so that mistakes show at the start. Raises PlatformError."""
    from functions.local.settings_check import check_settings
    from functions.variables import SettingsError

    try:
        check_settings(environments)
    except SettingsError as e:
        raise PlatformError(str(e)) from None


def _migrate(database: Path) -> None:
    """Create or upgrade the tables of DATABASE_URL, which is `database`. Raises PlatformError."""
    from functions.store.migrate import migrate
    from functions.store.ports import RefusedStatement, StoreUnavailable

    try:
        migrate(os.environ["DATABASE_URL"])
    except (StoreUnavailable, RefusedStatement) as e:
        raise PlatformError(f"{database}: {e}; choose another folder with --dir") from None


def _announcer(post: Post, broker: str) -> Callable[[ApiServerEvent], bool]:
    """Make the function that posts events to the broker, as ApiServerSource does, and returns whether it took them."""
    import msgspec

    from functions.local.broker import Message

    def announce(event: Any) -> bool:
        try:
            return post(broker, Message(event.headers, msgspec.json.encode(event.body))).status == 202
        except OSError:
            return False

    return announce
