"""The configure stage: `python -m functions.staging.configure.program --task TASK.json --volume DIR`.

Lays the data sets, the algorithm and what belongs to them below DIR, in Ocean's layout. Ends 0, 31 (a data set
failed) or 32 (the algorithm failed); anything else is a crash and worth another attempt. Running it again, after
a death at any moment, gives the same tree.
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
from functions.staging.configure.download_plan import Item, Plan, Planner
from functions.staging.configure.fetch import Fetched, fetch, room
from functions.staging.configure.meter import Meter, replace
from functions.staging.guarded_http import Web
from functions.staging.progress import Tell, tell
from functions.staging.report import Failure, finish, log_to
from functions.staging.retry import RetryPolicy
from functions.workflow.codes import Code
from functions.workflow.document import CUSTOM_DATA, DocumentError, Input, parse
from functions.workflow.stage_task import Task

AT_ONCE = 4  # downloads
A = TypeVar("A")
B = TypeVar("B")

_DRAFTS = ".fetching"
_OWN = ("inputs", "transformations", "ddos", _DRAFTS)


class Configure:
    """One run of the stage."""

    def __init__(
        self, task: Task, volume: Path, web: Web, patience: RetryPolicy, credentials: Mapping[str, str], tell: Tell
    ) -> None:
        self._task = task
        self._volume = volume
        self._patience = patience
        self._meter = Meter(task.fetch, volume, tell)
        self._planner = Planner(task, web, patience, credentials, self._meter.wait)
        self._provenance: list[dict[str, str | int]] = []

    def lay_out(self) -> None:
        for name in _OWN:
            shutil.rmtree(self._volume / name, ignore_errors=True)
        for name in _OWN:
            (self._volume / name).mkdir(parents=True)
        (self._volume / "adminlogs").mkdir(exist_ok=True)
        # In a cluster the filter sees of the admin logs this folder alone.
        for name in ("outputs", "logs", "adminlogs/filter"):
            _writable(self._volume / name)

    def data(self) -> None:
        """Fetch the inputs. Raises Failure."""
        stage = self._task.definition.stage
        plans = self._at_once(self._plan, stage.input)
        for each, plan in zip(stage.input, plans, strict=True):
            self._keep_ddo(each.folder, plan)
        self._fetch_all([item for plan in plans for item in plan.items])
        if stage.algorithm.algocustomdata is not msgspec.UNSET:
            custom = json.dumps(stage.algorithm.algocustomdata).encode()
            replace(self._volume / "inputs" / CUSTOM_DATA, custom)

    def algorithm(self) -> None:
        """Fetch or write the algorithm. Raises Failure."""
        algorithm = self._task.definition.stage.algorithm
        target = self._volume / "transformations" / "algorithm"
        with named("algorithm"):
            plan = self._planner.algorithm()
        self._keep_ddo(algorithm.folder, plan)
        self._fetch_all(plan.items)
        target.chmod(0o755)  # an entrypoint may be `$ALGO` itself

    def close(self) -> None:
        """What is left to write once everything is there."""
        shutil.rmtree(self._volume / _DRAFTS)
        replace(
            self._volume / "provenance.json",
            json.dumps({"files": sorted(self._provenance, key=_path)}, indent=1).encode(),
        )

    def _plan(self, each: Input) -> Plan:
        with named(f"inputs/{each.folder}"):
            return self._planner.input(each)

    def _keep_ddo(self, folder: str, plan: Plan) -> None:
        if plan.ddo is not None and folder:
            replace(self._volume / "ddos" / folder, plan.ddo)

    def _fetch_all(self, items: Sequence[Item]) -> None:
        self._meter.expect(len(items))
        self._at_once(self._fetch_one, items)

    def _at_once(self, action: Callable[[A], B], things: Sequence[A]) -> list[B]:
        """`action` on each, several at once; the first failure stops the others and is raised."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = [pool.submit(action, thing) for thing in things]
            try:
                for future in as_completed(running):
                    future.result()
            except BaseException:
                self._meter.stop()
                pool.shutdown(cancel_futures=True)
                raise
            return [future.result() for future in running]

    def _fetch_one(self, item: Item) -> None:
        target = self._volume / item.path
        target.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        logging.info("%s: from %s", item.path, item.source.where)
        try:
            got = fetch(
                item.path, item.source, target, self._volume / _DRAFTS, self._meter, self._patience, item.sha256
            )
        except Failure as e:
            raise Failure(e.reason, f"{item.path}: {e.text}") from None
        logging.info("%s: %d bytes in %.3f s", item.path, got.size, time.monotonic() - began)
        self._record(item.path, got, item.source.kind)

    def _record(self, path: str, got: Fetched, kind: str) -> None:
        # Not the URL: the algorithm can read this file, and where a data set lies is not its business.
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self._provenance.append(
            {"path": path, "source": kind, "size": got.size, "sha256": got.sha256, "fetched_at": at}
        )


def _path(entry: Mapping[str, str | int]) -> str:
    return str(entry["path"])


def _writable(folder: Path) -> None:
    """Algorithm and filter may run as another user of the same group."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o2775)


@contextmanager
def named(name: str) -> Iterator[None]:
    """A Failure inside says what it was about."""
    try:
        yield
    except Failure as e:
        raise Failure(e.reason, f"{name}: {e.text}") from None


def run(
    task: Task,
    volume: Path,
    *,
    credentials: Mapping[str, str] | None = None,
    patience: RetryPolicy | None = None,
    web: Web | None = None,
    tell: Tell = tell,
) -> int:
    """Carry out the stage and return its exit code; the termination message says why."""
    patience = patience or RetryPolicy()
    try:
        with room():
            _check(task)
            stage = Configure(task, volume, web or Web.of(task.fetch, patience), patience, credentials or {}, tell)
            stage.lay_out()
            stage.data()
    except Failure as e:
        return finish(Code.DATA_FAILED, e.reason, e.text, volume)
    try:
        with room():
            stage.algorithm()
            stage.close()
    except Failure as e:
        reason = "AlgorithmUnavailable" if e.reason == "DataUnavailable" else e.reason
        return finish(Code.ALGORITHM_PROVISIONING_FAILED, reason, e.text, volume)
    return finish(0, "Completed", "data and algorithm are in place", volume)


def _check(task: Task) -> None:
    """The document was checked at the door; its ids become folders here, so it is checked again."""
    try:
        parse(msgspec.to_builtins(task.definition))
    except DocumentError as e:
        raise Failure("InvalidDocument", str(e)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="configure", description="Fetch the data sets and the algorithm of a workflow."
    )
    parser.add_argument("--task", type=Path, required=True, help="the task file (functions/workflow/stage_task.py)")
    parser.add_argument("--volume", type=Path, required=True, help="the workflow's volume, /data in a pod")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    log_to(options.volume / "adminlogs" / "configure.log")
    try:
        task = msgspec.json.decode(options.task.read_bytes(), type=Task)
        return run(task, options.volume, credentials=variables(os.environ.get("SLUICE_CREDENTIALS", ""), os.environ))
    except Exception as e:
        # The kind only: a text from deep inside may carry a URL with a password.
        return finish(1, "Crashed", f"{type(e).__name__} in configure", options.volume)
