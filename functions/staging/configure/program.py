"""The configure stage: `python -m functions.staging.configure --task TASK.json --volume DIR`.

Writes the data sets, the algorithm and their metadata below DIR, in Ocean's layout. Exits with 0, with 31 if a data
set failed, or with 32 if the algorithm failed; both are final. Any other exit code is a crash whose cause may go away,
so another attempt may help. After a crash at any moment, the next run produces the same tree.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from functions.staging.command_line import credentials_of, parse_arguments
from functions.staging.configure.budget import FetchBudget
from functions.staging.configure.download_plan import Item, Plan, Planner, needs_network
from functions.staging.configure.fetch import Fetched, disk_full_fails, fetch, write_atomically
from functions.staging.progress import ProgressReporter, Sink, print_line
from functions.staging.report import StageFailure, finish, log_to
from functions.staging.retry import RetryPolicy
from functions.untrusted import Malformed, parse_json
from functions.workflow.codes import Code
from functions.workflow.document import CUSTOM_DATA, DocumentError, Input, parse
from functions.workflow.reported_facts import is_algorithm, of_fetched
from functions.workflow.transfer_policies import ConfigureTask
from functions.workflow.volume_layout import (
    ADMIN_LOGS,
    ALGORITHM,
    CONFIGURE_LOG,
    DDOS,
    FILTER_FOLDER,
    INPUTS,
    LOGS,
    OUTPUTS,
    PROVENANCE,
    TRANSFORMATIONS,
)

if TYPE_CHECKING:
    from functions.staging.configure.network import Network
    from functions.staging.guarded_http import GuardedHttp

AT_ONCE = 4  # downloads
A = TypeVar("A")
B = TypeVar("B")

_DRAFTS = ".fetching"
_OWN = (INPUTS, TRANSFORMATIONS, DDOS, _DRAFTS)


class Configure:
    """One run of the stage."""

    def __init__(
        self,
        task: ConfigureTask,
        volume: Path,
        retries: RetryPolicy,
        credentials: Mapping[str, str],
        http: GuardedHttp | None,
        sink: Sink,
    ) -> None:
        self._task = task
        self._volume = volume
        self._retries = retries
        self._budget = FetchBudget(task.fetch, volume, ProgressReporter(sink))
        self._planner = Planner(task, self._network(credentials, http) if needs_network(task.definition) else None)
        self._provenance: list[dict[str, str | int]] = []

    def _network(self, credentials: Mapping[str, str], http: GuardedHttp | None) -> Network:
        from functions.staging.configure.network import Network
        from functions.staging.guarded_http import GuardedHttp

        http = http or GuardedHttp.for_policy(self._task.fetch, self._retries, self._budget.time_left)
        return Network(self._task, http, self._retries, credentials, self._budget.wait)

    def _make_folders(self) -> None:
        """Make the folders of the volume, without anything from an earlier attempt."""
        for name in _OWN:
            _remove(self._volume / name)
        for name in _OWN:
            (self._volume / name).mkdir(parents=True)
        (self._volume / ADMIN_LOGS).mkdir(exist_ok=True)
        # In a cluster, the filter can write to this folder of the admin logs only.
        for name in (OUTPUTS, LOGS, FILTER_FOLDER):
            _make_writable(self._volume / name)

    def data(self) -> None:
        """Make the folders and fetch the inputs. Raises StageFailure."""
        self._make_folders()
        stage = self._task.definition.stage
        plans = self._at_once(self._plan, stage.input)
        for each, plan in zip(stage.input, plans, strict=True):
            self._keep_ddo(each.folder, plan)
        self._fetch_all([item for plan in plans for item in plan.items])

    def algorithm(self) -> None:
        """Fetch or write the algorithm, then the provenance. Raises StageFailure."""
        algorithm = self._task.definition.stage.algorithm
        with _prefixed("algorithm"):
            plan = self._planner.algorithm()
        self._keep_ddo(algorithm.folder, plan)
        if algorithm.algocustomdata is not msgspec.UNSET:
            self._write(f"{INPUTS}/{CUSTOM_DATA}", msgspec.json.encode(algorithm.algocustomdata), "workflow")
        self._fetch_all(plan.items)
        self._check_allowed()
        (self._volume / ALGORITHM).chmod(0o755)  # an entrypoint may be `$ALGO` itself
        self._close()

    def _check_allowed(self) -> None:
        """Compare the fetched bytes with the policy's list of algorithms. Raises StageFailure before anything runs."""
        if bytes(self._task.policy) in (b"{}", b""):  # a Raw never equals bytes
            return
        from dataclasses import replace

        from functions.trust import admission, allow_list, policy

        files = tuple(str(each["sha256"]) for each in sorted(self._provenance, key=_path) if is_algorithm(_path(each)))
        candidate = replace(admission.candidate(self._task.definition), files=files)
        rules = policy.decode(bytes(self._task.policy).decode())
        if refused := allow_list.refusal(rules, candidate, datetime.now(UTC).date()):
            raise StageFailure(allow_list.REASON, refused.text)

    def _close(self) -> None:
        """Write the provenance, once every file is complete."""
        (self._volume / _DRAFTS).rmdir()
        content = {"files": sorted(self._provenance, key=_path)}
        encoded = msgspec.json.format(msgspec.json.encode(content), indent=1)
        write_atomically(self._volume / PROVENANCE, encoded)

    @property
    def facts(self) -> dict[str, str]:
        """What the history keeps: digests over the lists of fetched files, and the algorithm's own sha256."""
        return of_fetched(self._provenance)

    def _plan(self, each: Input) -> Plan:
        with _prefixed(f"inputs/{each.folder}"):
            return self._planner.input(each)

    def _keep_ddo(self, folder: str, plan: Plan) -> None:
        if plan.ddo is not None and folder:
            self._write(f"{DDOS}/{folder}", plan.ddo, "metadata")

    def _fetch_all(self, items: Sequence[Item]) -> None:
        self._budget.expect(len(items))
        self._at_once(self._fetch_one, items)

    def _at_once(self, action: Callable[[A], B], things: Sequence[A]) -> list[B]:
        """Run `action` on all `things`, several at once. The first failure stops the others and is raised."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = [pool.submit(action, thing) for thing in things]
            try:
                for future in as_completed(running):
                    future.result()
            except BaseException:
                self._budget.stop()
                pool.shutdown(cancel_futures=True)
                raise
            return [future.result() for future in running]

    def _fetch_one(self, item: Item) -> None:
        target = self._volume / item.path
        target.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        logging.info("%s: from %s", item.path, item.source.where)
        drafts = self._volume / _DRAFTS
        with _prefixed(item.path):
            got = fetch(item.path, item.source, target, drafts, self._budget, self._retries, item.sha256)
        logging.info("%s: %d bytes in %.3f s", item.path, got.size, time.monotonic() - began)
        self._record(item.path, got, item.source.kind)

    def _write(self, path: str, data: bytes, kind: str) -> None:
        write_atomically(self._volume / path, data)
        self._record(path, Fetched(len(data), hashlib.sha256(data).hexdigest()), kind)

    def _record(self, path: str, got: Fetched, kind: str) -> None:
        # Without the URL: the algorithm can read this file, and must not learn where a data set lies.
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._provenance.append(
            {"path": path, "source": kind, "size": got.size, "sha256": got.sha256, "fetched_at": at}
        )


def _path(entry: Mapping[str, str | int]) -> str:
    return str(entry["path"])


def _remove(folder: Path) -> None:
    """Remove what an earlier attempt left. A new volume has nothing, so that usually nothing is imported."""
    if folder.exists():
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _make_writable(folder: Path) -> None:
    """Make a folder that the group may write to: algorithm and filter may run as another user of that group."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o2775)


@contextmanager
def _prefixed(name: str) -> Iterator[None]:
    """Put `name` before the text of a StageFailure."""
    try:
        yield
    except StageFailure as e:
        raise StageFailure(e.reason, f"{name}: {e.text}") from None


def run(
    task: ConfigureTask,
    volume: Path,
    *,
    credentials: Mapping[str, str] | None = None,
    retries: RetryPolicy | None = None,
    http: GuardedHttp | None = None,
    sink: Sink = print_line,
) -> int:
    """Run the stage and return its exit code. The termination message gives the reason.

    Raises OSError and MemoryError: their cause may go away, so another attempt may help.
    """
    try:
        # `submit` has checked the document too. Here its ids become folders.
        parse(msgspec.to_builtins(task.definition))
    except DocumentError as e:
        code = Code.ALGORITHM_PROVISIONING_FAILED if ".algorithm" in e.path else Code.DATA_FAILED
        return finish(code, "InvalidDocument", str(e), volume)
    stage = Configure(task, volume, retries or RetryPolicy(), credentials or {}, http, sink)
    for code, phase in ((Code.DATA_FAILED, stage.data), (Code.ALGORITHM_PROVISIONING_FAILED, stage.algorithm)):
        try:
            with disk_full_fails():
                phase()
        except StageFailure as e:
            # A half-written file may have filled the disk, and on a laptop the termination message needs room there.
            _remove(volume / _DRAFTS)
            return finish(code, _reason(e, code), e.text, volume)
        except (OSError, MemoryError):
            raise
        except Exception as e:
            return finish(code, "InternalError", f"{type(e).__name__} in configure; please report this bug", volume)
    return finish(0, "Completed", "data and algorithm are in place", volume, stage.facts)


def _reason(failure: StageFailure, code: Code) -> str:
    """Return the reason, with `Algorithm` instead of `Data` for the algorithm's files."""
    if code is Code.ALGORITHM_PROVISIONING_FAILED and failure.reason.startswith("Data"):
        return f"Algorithm{failure.reason.removeprefix('Data')}"
    return failure.reason


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage from the command line and return its exit code."""
    given = parse_arguments("configure", ("task", "volume"), arguments)
    volume = Path(given["volume"])
    os.umask(0o022)
    log_to(volume / CONFIGURE_LOG)
    try:
        task = parse_json(Path(given["task"]).read_bytes(), ConfigureTask)
        credentials = credentials_of(os.environ)
    except Malformed as e:
        return finish(Code.DATA_FAILED, "InvalidTask", f"the task file cannot be used: {e}", volume)
    except UnicodeError:
        return finish(Code.DATA_FAILED, "NotConfigured", "a file in SLUICE_CREDENTIALS is not UTF-8 text", volume)
    except OSError as e:
        return finish(1, "Crashed", f"configure cannot start: {e.strerror}", volume)
    try:
        return run(task, volume, credentials=credentials)
    except (OSError, MemoryError) as e:
        # Only the kind of error: its text may contain a URL with a password.
        return finish(1, "Crashed", f"{type(e).__name__} in configure", volume)
