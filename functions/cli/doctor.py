"""`sluice doctor`: is this machine, or that cluster, fit to run strangers' programs?"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from functions.cli.errors import BAD_USE, FAILED, NO_SERVER, fail

if TYPE_CHECKING:
    from functions.cluster.kubernetes.canary import CanaryReport
    from functions.settings import Settings
    from functions.workflow.environment import Environment

PORT = 8050
ENOUGH_DISK = 1 << 30


@click.command()
@click.option("--cluster", is_flag=True, help="Examine the cluster that kubectl talks to instead of this machine.")
@click.option("--namespace", default="ocean-compute", show_default=True, help="Where algorithms run there.")
@click.option("--image", help="Image of the canary, with Python in it.  [default: SLUICE_IMAGE]")
@click.option("--public", default="1.1.1.1:443", show_default=True, help="A public address that answers.")
@click.option("--try", "more", multiple=True, metavar="ADDRESS:PORT", help="A further address; may be repeated.")
def doctor(cluster: bool, namespace: str, image: str | None, public: str, more: tuple[str, ...]) -> None:
    """Check this machine for `sluice up`, or with --cluster whether algorithms are really shut in there.

    For the latter a Job is started in the algorithm's place, with its labels and its rights. It tries to reach names,
    the Kubernetes API, the cloud's metadata, its node, a Service and the Internet. It must not reach any of them.
    """
    if cluster:
        for address in (public, *more):
            if not address.rpartition(":")[0] or not address.rpartition(":")[2].isdigit():
                fail(f"{address!r} is not an address and a port, such as 10.0.0.5:5432")
        _examine_cluster(namespace, image, public, more)
    else:
        _examine_machine()


# --- this machine ---------------------------------------------------------------------------


def _examine_machine() -> None:
    checks: dict[str, Callable[[], tuple[bool, str]]] = {
        "python": _python,
        "isolation": _isolation,
        "port": _port,
        "disk": _disk,
    }
    fit = True
    for name, check in checks.items():
        well, text = check()
        fit &= well
        click.echo(f"{'ok  ' if well else 'BAD '} {name:<10} {text}")
    if not fit:
        sys.exit(FAILED)


def _python() -> tuple[bool, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    return sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)"


def _isolation() -> tuple[bool, str]:
    from functions.local.isolation import Isolation, probe

    found = probe()
    return found is not Isolation.NONE, found.text


def _port() -> tuple[bool, str]:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", PORT))
        except OSError:
            return False, f"{PORT} is taken, perhaps by a `sluice up`; another one with --port"
    return True, f"{PORT} is free"


def _disk() -> tuple[bool, str]:
    free = shutil.disk_usage(Path.cwd()).free
    return free >= ENOUGH_DISK, f"{free / (1 << 30):.1f} GiB free here (data, outputs and results lie in .sluice)"


# --- a cluster ------------------------------------------------------------------------------


def _examine_cluster(namespace: str, image: str | None, public: str, more: tuple[str, ...]) -> None:
    from functions.cluster.kubernetes import canary
    from functions.cluster.kubernetes.client import Api, NoCluster, access
    from functions.cluster.ports import ClusterError
    from functions.settings import Settings, SettingsError

    try:
        settings = Settings.load()
        environment = _environment(settings, namespace)
        job = canary.manifest(f"canary-{uuid4().hex[:8]}", environment, image or settings.image, public, more)
        click.echo(f"a canary in the algorithm's place, in {namespace} …", err=True)
        report = canary.run(Api(access(_kubeconfig(settings)), connections=1), job)
    except NoCluster:
        fail("no cluster: KUBECONFIG is not set, there is no ~/.kube/config, and this is no Pod with a service account")
    except SettingsError as e:
        fail(str(e), BAD_USE)
    except ClusterError as e:
        fail(str(e), NO_SERVER)
    except canary.NoReport as e:
        fail(f"nothing is proven: {e}", FAILED)
    _tell(namespace, report)


def _kubeconfig(settings: Settings) -> str:
    """As kubectl has it: KUBECONFIG, else the file in the home folder; in a Pod there is neither."""
    usual = Path.home() / ".kube" / "config"
    return settings.kubeconfig or (str(usual) if usual.is_file() else "")


def _environment(settings: Settings, namespace: str) -> Environment:
    """What the environments file says of that namespace, its nodes and runtime with it; without one, a plain one."""
    from functions.environments import load
    from functions.workflow.environment import Environment

    known = load(settings).values() if settings.environments_file else ()
    return next((each for each in known if each.namespace == namespace), Environment(id=namespace))


def _tell(namespace: str, report: CanaryReport) -> None:
    for target in report.tried:
        late = "" if target in report.still_reached else " (in its first seconds only)"
        click.echo(f"BAD  reached  {target}{late}" if target in report.reached else f"ok   shut     {target}")
    if report.reached and not report.still_reached:
        fail(
            f"algorithms in {namespace} are shut in only some seconds after they start: the network plugin is slower "
            "than a new Pod. A program that knows this gets out; use another plugin (docs/deploy.md).",
            FAILED,
        )
    if report.reached:
        fail(
            f"algorithms in {namespace} are NOT shut in: do not run strangers' programs there. Apply "
            "k8s_install/network-policies.yml, and use a network plugin that enforces it (docs/deploy.md).",
            FAILED,
        )
    click.echo(f"algorithms in {namespace} reach nothing")
