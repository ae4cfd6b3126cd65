"""`sluice doctor`: checks whether this machine, or a cluster, can run untrusted algorithms safely."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import click

from functions.cli.command_errors import FAILED, UNAVAILABLE, fail, printable
from functions.cli.options import json_option, print_json

if TYPE_CHECKING:
    from functions.cluster.kubernetes.canary import CanaryReport
    from functions.settings import Settings
    from functions.workflow.environment import Environment

PORT = 8050  # the default of `sluice up`
ENOUGH_DISK = 1 << 30  # bytes


class Check(NamedTuple):
    """The result of one check. `text` says what was found."""

    name: str
    ok: bool
    text: str


@click.command()
@click.option("--cluster", is_flag=True, help="Check the cluster that kubectl uses, instead of this machine.")
@click.option("--sandbox", is_flag=True, help="Run a program that tries to escape, in the place of an algorithm.")
@click.option("--namespace", default="ocean-compute", show_default=True, help="Namespace of the algorithms' Pods.")
@click.option("--image", help="Image of the canary Pod; must contain Python.  [default: SLUICE_IMAGE]")
@click.option("--public", default="1.1.1.1:443", show_default=True, help="A public address that accepts connections.")
@click.option("--try", "more", multiple=True, metavar="ADDRESS:PORT", help="Another address to try; may be repeated.")
@json_option
def doctor(
    cluster: bool,
    sandbox: bool,
    namespace: str,
    image: str | None,
    public: str,
    more: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check this machine, or the isolation of a cluster.

    Without --cluster, it checks whether this machine can run `sluice up`: Python, isolation of algorithms, the port,
    free disk space, and settings.

    With --cluster, it starts a canary: a Job with the labels and rights of an algorithm. The canary tries to reach DNS,
    the Kubernetes API, the cloud's metadata, its node, a Service and the Internet. It must not reach any of them.

    With --sandbox, a program in the place of an algorithm tries every known way out: system calls, devices, files,
    processes, sockets and, on this machine, its limits. With --cluster too, it runs as a Job there.

    \b
    Exit codes: 1 if a check failed. With --cluster also 2 if a setting is wrong, 3 if there is no cluster or it
    does not answer.

    \b
    Examples:
      sluice doctor
      sluice doctor --sandbox
      sluice doctor --cluster --image REGISTRY/sluice:VERSION --try 10.0.0.5:5432
    """
    if cluster:
        _check_cluster(namespace, image, public, more, sandbox, as_json)
        return
    checks = _sandbox() if sandbox else [_python(), _isolation(), _port(), _disk(), _settings()]
    _print(checks, as_json)
    sys.exit(0 if all(check.ok for check in checks) else FAILED)


def _check_cluster(
    namespace: str, image: str | None, public: str, more: tuple[str, ...], sandbox: bool, as_json: bool
) -> None:
    """Run a canary in the cluster and print what it reached. Ends the command if that is anything."""
    for address in (public, *more):
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            fail(f"expected an address with a port, such as 10.0.0.5:5432, not {address!r}")
    report = _send_canary(namespace, image, public, more, escapes=sandbox)
    targets = dict.fromkeys((*report.tried, *report.reached))  # a long list is only counted
    _print([_blocked(target, report) for target in targets], as_json)
    if sandbox:
        sys.exit(FAILED if report.reached else 0)
    _conclude(namespace, report, as_json)


def _print(checks: Sequence[Check], as_json: bool) -> None:
    if as_json:
        print_json({"ok": all(check.ok for check in checks), "checks": [check._asdict() for check in checks]})
        return
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        click.echo(printable(f"{'ok  ' if check.ok else 'BAD '} {check.name:<{width}}  {check.text}"))


# --- this machine ---------------------------------------------------------------------------


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is required)")


def _isolation() -> Check:
    from functions.local.isolation import Isolation, probe

    found = probe()
    return Check("isolation", found is not Isolation.NONE, found.text)


def _sandbox() -> list[Check]:
    """Run the escape probe, and programs that exceed their limits, with the best isolation of this machine."""
    from functions.local.isolation import probe
    from functions.local.sandbox_check import NoReport, check

    try:
        report = check(probe())
    except NoReport as e:
        fail(f"the check did not finish, so it proves nothing: {e}", FAILED)
    ways = [Check(name, name not in report.open, "open" if name in report.open else "closed") for name in report.tried]
    limits = [
        Check(f"limit: {name}", name not in report.exceeded, "exceeded" if name in report.exceeded else "held")
        for name in report.limits
    ]
    return [_isolation(), *ways, *limits]


def _port() -> Check:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", PORT))
        except OSError:
            return Check(
                "port", False, f"{PORT} is in use, perhaps by `sluice up`; `sluice up --port` takes another one"
            )
    return Check("port", True, f"{PORT} is free")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{free / (1 << 30):.1f} GiB free in this folder; `sluice up` keeps its files here"
    return Check("disk", free >= ENOUGH_DISK, text)


def _settings() -> Check:
    from functions.local.settings_check import check_settings
    from functions.variables import SettingsError

    try:
        check_settings()
    except SettingsError as e:
        return Check("settings", False, str(e))
    return Check("settings", True, "the environment variables have usable values")


# --- a cluster ------------------------------------------------------------------------------


def _send_canary(
    namespace: str, image: str | None, public: str, more: tuple[str, ...], *, escapes: bool
) -> CanaryReport:
    from functions.cli import terminal
    from functions.cluster.kubernetes import canary
    from functions.cluster.kubernetes.access import NoCluster, find_access
    from functions.cluster.kubernetes.client import Api
    from functions.cluster.ports import ClusterError
    from functions.settings import Settings
    from functions.variables import SettingsError

    try:
        settings = Settings.load()
        access = find_access(_kubeconfig(settings))
        environment = _environment(settings, namespace)
        name = f"canary-{uuid4().hex[:8]}"
        job = canary.manifest(name, environment, image or settings.image, public, more, escapes=escapes)
        with terminal.activity(f"waiting for the report of a canary Job in namespace {namespace} …"):
            return canary.run(Api(access, connections=1), job)
    except NoCluster:
        fail("no cluster is configured: set KUBECONFIG, or create ~/.kube/config", UNAVAILABLE)
    except SettingsError as e:
        fail(str(e))
    except ClusterError as e:
        fail(str(e), UNAVAILABLE)
    except canary.NoReport as e:
        fail(f"the check did not finish, so it proves nothing: {e}", FAILED)


def _kubeconfig(settings: Settings) -> str:
    """The kubeconfig that kubectl uses: KUBECONFIG, else the one in the home folder. Empty in a Pod."""
    usual = Path.home() / ".kube" / "config"
    return settings.kubeconfig or (str(usual) if usual.is_file() else "")


def _environment(settings: Settings, namespace: str) -> Environment:
    """The environment of that namespace from ENVIRONMENTS_FILE, with its nodes and runtime; else a default one."""
    from functions.environments import load
    from functions.workflow.environment import Environment

    known = load(settings).values() if settings.environments_file else ()
    return next((each for each in known if each.namespace == namespace), Environment(id=namespace))


def _blocked(target: str, report: CanaryReport) -> Check:
    if target not in report.reached:
        return Check(target, True, "blocked")
    return Check(target, False, "reached" if target in report.still_reached else "reached, in its first seconds only")


def _conclude(namespace: str, report: CanaryReport, as_json: bool) -> None:
    """End the command with a message if the canary has reached anything."""
    if report.reached and not report.still_reached:
        fail(
            f"the network of algorithms in {namespace} is open for some seconds after they start, because the network "
            "plugin applies policies late. A malicious algorithm can use that. Use another plugin (docs/deploy.md).",
            FAILED,
        )
    if report.reached:
        fail(
            f"algorithms in {namespace} are NOT isolated: do not run untrusted algorithms there. Apply "
            "k8s_install/network-policies.yml, and use a network plugin that enforces it (docs/deploy.md).",
            FAILED,
        )
    if not as_json:
        click.echo(f"algorithms in {namespace} can reach nothing")
