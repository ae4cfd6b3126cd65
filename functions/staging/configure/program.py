"""The configure stage: `python -m functions.staging.configure --task TASK.json --volume DIR`.

Writes the data sets, the algorithm and their metadata below DIR, in Ocean's layout. Exits with 0, with 31 if a data
set failed, or with 32 if the algorithm failed. Any other exit code is a crash, and another attempt may help. After a
crash at any moment, the next run produces the same tree.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from functions.settings import variables
from functions.staging.configure.budget import FetchBudget
from functions.staging.configure.download_plan import Item, Plan, Planner
from functions.staging.configure.fetch import Fetched, disk_full_fails, fetch, write_atomically
from functions.staging.guarded_http import GuardedHttp
from functions.staging.progress import ProgressReporter, Sink, print_line
from functions.staging.report import StageFailure, finish, log_to
from functions.staging.retry import RetryPolicy
from functions.workflow.codes import Code
from functions.workflow.document import CUSTOM_DATA, DocumentError, Input, parse
from functions.workflow.stage_task import Task
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

AT_ONCE = 4  # downloads
A = TypeVar("A")
B = TypeVar("B")

_DRAFTS = ".fetching"
_OWN = (INPUTS, TRANSFORMATIONS, DDOS, _DRAFTS)


class Configure:
    """One run of the stage."""

    def __init__(
        self,
        task: Task,
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
        http = http or GuardedHttp.for_policy(task.fetch, retries, self._budget.time_left)
        self._planner = Planner(task, http, retries, credentials, self._budget.wait)
        self._provenance: list[dict[str, str | int]] = []

    def make_folders(self) -> None:
        """Make the folders of the volume, without anything from an earlier attempt."""
        for name in _OWN:
            shutil.rmtree(self._volume / name, ignore_errors=True)
        for name in _OWN:
            (self._volume / name).mkdir(parents=True)
        (self._volume / ADMIN_LOGS).mkdir(exist_ok=True)
        # In a cluster, the filter can write to this folder of the admin logs only.
        for name in (OUTPUTS, LOGS, FILTER_FOLDER):
            _make_writable(self._volume / name)

    def data(self) -> None:
        """Fetch the inputs. Raises StageFailure."""
        stage = self._task.definition.stage
        plans = self._at_once(self._plan, stage.input)
        for each, plan in zip(stage.input, plans, strict=True):
            self._keep_ddo(each.folder, plan)
        self._fetch_all([item for plan in plans for item in plan.items])
        if stage.algorithm.algocustomdata is not msgspec.UNSET:
            custom = json.dumps(stage.algorithm.algocustomdata).encode()
            write_atomically(self._volume / INPUTS / CUSTOM_DATA, custom)

    def algorithm(self) -> None:
        """Fetch or write the algorithm. Raises StageFailure."""
        algorithm = self._task.definition.stage.algorithm
        target = self._volume / ALGORITHM
        with _prefixed("algorithm"):
            plan = self._planner.algorithm()
        self._keep_ddo(algorithm.folder, plan)
        self._fetch_all(plan.items)
        target.chmod(0o755)  # an entrypoint may be `$ALGO` itself

    def close(self) -> None:
        """Write the provenance, once every file is complete."""
        shutil.rmtree(self._volume / _DRAFTS)
        write_atomically(
            self._volume / PROVENANCE,
            json.dumps({"files": sorted(self._provenance, key=_path)}, indent=1).encode(),
        )

    def _plan(self, each: Input) -> Plan:
        with _prefixed(f"inputs/{each.folder}"):
            return self._planner.input(each)

    def _keep_ddo(self, folder: str, plan: Plan) -> None:
        if plan.ddo is not None and folder:
            write_atomically(self._volume / DDOS / folder, plan.ddo)

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

    def _record(self, path: str, got: Fetched, kind: str) -> None:
        # Without the URL: the algorithm can read this file, and must not learn where a data set lies.
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._provenance.append(
            {"path": path, "source": kind, "size": got.size, "sha256": got.sha256, "fetched_at": at}
        )


def _path(entry: Mapping[str, str | int]) -> str:
    return str(entry["path"])


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
    task: Task,
    volume: Path,
    *,
    credentials: Mapping[str, str] | None = None,
    retries: RetryPolicy | None = None,
    http: GuardedHttp | None = None,
    sink: Sink = print_line,
) -> int:
    """Run the stage and return its exit code. The termination message gives the reason."""
    retries = retries or RetryPolicy()
    try:
        with disk_full_fails():
            _check(task)
            stage = Configure(task, volume, retries, credentials or {}, http, sink)
            stage.make_folders()
            stage.data()
    except StageFailure as e:
        return finish(Code.DATA_FAILED, e.reason, e.text, volume)
    try:
        with disk_full_fails():
            stage.algorithm()
            stage.close()
    except StageFailure as e:
        reason = "AlgorithmUnavailable" if e.reason == "DataUnavailable" else e.reason
        return finish(Code.ALGORITHM_PROVISIONING_FAILED, reason, e.text, volume)
    return finish(0, "Completed", "data and algorithm are in place", volume)


def _check(task: Task) -> None:
    """Check the document again: its ids become folders here."""
    try:
        parse(msgspec.to_builtins(task.definition))
    except DocumentError as e:
        raise StageFailure("InvalidDocument", str(e)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage from the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="configure", description="Fetch the data sets and the algorithm of a workflow."
    )
    parser.add_argument("--task", type=Path, required=True, help="the task file (functions/workflow/stage_task.py)")
    parser.add_argument("--volume", type=Path, required=True, help="the workflow's volume, /data in a pod")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    log_to(options.volume / CONFIGURE_LOG)
    try:
        task = msgspec.json.decode(options.task.read_bytes(), type=Task)
        return run(task, options.volume, credentials=variables(os.environ.get("SLUICE_CREDENTIALS", ""), os.environ))
    except Exception as e:
        # Only the kind of error: its text may contain a URL with a password.
        return finish(1, "Crashed", f"{type(e).__name__} in configure", options.volume)
