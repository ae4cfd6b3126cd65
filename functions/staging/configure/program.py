"""The configure stage: `python -m functions.staging.configure --task TASK.json --volume DIR`.

Writes the data sets, the algorithm and their metadata below DIR, in Ocean's layout. Exits with 0, with 31 if a data
set failed, or with 32 if the algorithm failed; both are final. Any other exit code is a crash whose cause may go away,
so another attempt may help. After a crash at any moment, the next run produces the same tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from functions.staging.command_line import credentials_of, parse_arguments
from functions.staging.configure.budget import FetchBudget
from functions.staging.configure.download_plan import Plan, Planner, needs_network
from functions.staging.configure.downloads import DRAFTS, Downloads, make_writable, path_of, prefixed, remove
from functions.staging.configure.fetch import disk_full_fails
from functions.staging.progress import ProgressReporter, Sink, print_line
from functions.staging.report import StageFailure, finish, log_to
from functions.staging.retry import RetryPolicy
from functions.untrusted import Malformed, parse_json
from functions.workflow.codes import Code
from functions.workflow.document import CUSTOM_DATA, Definition, DocumentError, Input, parse
from functions.workflow.reported_facts import is_algorithm, of_fetched
from functions.workflow.stage_options import ConfigureTask
from functions.workflow.volume_layout import (
    ADMIN_LOGS,
    ALGORITHM,
    CONFIGURE_LOG,
    DDOS,
    FILTER_FOLDER,
    INPUTS,
    LOGS,
    OUTPUTS,
    TRANSFORMATIONS,
)

if TYPE_CHECKING:
    from functions.staging.configure.network import Network
    from functions.staging.guarded_http import GuardedHttp

_OWN = (INPUTS, TRANSFORMATIONS, DDOS, DRAFTS)


class OceanInputs:
    """The data sets and the algorithm of an Ocean document."""

    def __init__(
        self,
        task: ConfigureTask,
        definition: Definition,
        volume: Path,
        downloads: Downloads,
        retries: RetryPolicy,
        credentials: Mapping[str, str],
        http: GuardedHttp | None,
        budget: FetchBudget,
    ) -> None:
        self._task = task
        self._definition = definition
        self._volume = volume
        self._retries = retries
        self._budget = budget
        self._downloads = downloads
        self._planner = Planner(definition, self._network(credentials, http) if needs_network(definition) else None)

    def _network(self, credentials: Mapping[str, str], http: GuardedHttp | None) -> Network:
        from functions.staging.configure.network import Network
        from functions.staging.guarded_http import GuardedHttp

        http = http or GuardedHttp.for_options(self._task.fetch, self._retries, self._budget.time_left)
        metadata_uri = self._definition.stage.output.metadataUri
        return Network(self._task.fetch, metadata_uri, http, self._retries, credentials, self._budget.wait)

    def _make_folders(self) -> None:
        """Make the folders of the volume, without anything from an earlier attempt."""
        for name in _OWN:
            remove(self._volume / name)
        for name in _OWN:
            (self._volume / name).mkdir(parents=True)
        (self._volume / ADMIN_LOGS).mkdir(exist_ok=True)
        # In a cluster, the filter can write to this folder of the admin logs only.
        for name in (OUTPUTS, LOGS, FILTER_FOLDER):
            make_writable(self._volume / name)

    def data(self) -> None:
        """Make the folders and fetch the inputs. Raises StageFailure."""
        self._make_folders()
        stage = self._definition.stage
        plans = self._downloads.at_once(self._plan, stage.input)
        for each, plan in zip(stage.input, plans, strict=True):
            self._keep_ddo(each.folder, plan)
        self._downloads.fetch_all([item for plan in plans for item in plan.items])

    def algorithm(self) -> None:
        """Fetch or write the algorithm, then the provenance. Raises StageFailure."""
        algorithm = self._definition.stage.algorithm
        with prefixed("algorithm"):
            plan = self._planner.algorithm()
        self._keep_ddo(algorithm.folder, plan)
        if algorithm.algocustomdata is not msgspec.UNSET:
            self._downloads.write(f"{INPUTS}/{CUSTOM_DATA}", msgspec.json.encode(algorithm.algocustomdata), "workflow")
        self._downloads.fetch_all(plan.items)
        self._check_allowed()
        (self._volume / ALGORITHM).chmod(0o755)  # an entrypoint may be `$ALGO` itself
        self._downloads.close()

    def _check_allowed(self) -> None:
        """Compare the fetched bytes with the policy's list of algorithms. Raises StageFailure before anything runs."""
        if bytes(self._task.policy) in (b"{}", b""):  # a Raw never equals bytes
            return
        from msgspec.structs import replace

        from functions.trust import admission, allow_list, policy

        fetched = sorted(self._downloads.fetched, key=path_of)
        files = tuple(str(each["sha256"]) for each in fetched if is_algorithm(path_of(each)))
        candidate = replace(admission.candidate(self._definition), files=files)
        rules = policy.decode(bytes(self._task.policy).decode())
        if refused := allow_list.refusal(rules, candidate, datetime.now(UTC).date()):
            raise StageFailure(allow_list.REASON, refused.text)

    def _plan(self, each: Input) -> Plan:
        with prefixed(f"inputs/{each.folder}"):
            return self._planner.input(each)

    def _keep_ddo(self, folder: str, plan: Plan) -> None:
        if plan.ddo is not None and folder:
            self._downloads.write(f"{DDOS}/{folder}", plan.ddo, "metadata")


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
    budget, retries = FetchBudget(task.fetch, volume, ProgressReporter(sink)), retries or RetryPolicy()
    downloads = Downloads(volume, budget, retries)
    try:
        phases = _phases(task, volume, downloads, retries, credentials or {}, http, budget)
    except DocumentError as e:
        code = Code.ALGORITHM_PROVISIONING_FAILED if ".algorithm" in e.path else Code.DATA_FAILED
        return finish(code, "InvalidDocument", str(e), volume)
    for code, phase in phases:
        try:
            with disk_full_fails():
                phase()
        except StageFailure as e:
            # A half-written file may have filled the disk, and on a laptop the termination message needs room there.
            remove(volume / DRAFTS)
            return finish(code, _reason(e, code), e.text, volume)
        except (OSError, MemoryError):
            raise
        except Exception as e:
            return finish(code, "InternalError", f"{type(e).__name__} in configure; please report this bug", volume)
    return finish(0, "Completed", "data and algorithm are in place", volume, of_fetched(downloads.fetched))


def _phases(
    task: ConfigureTask,
    volume: Path,
    downloads: Downloads,
    retries: RetryPolicy,
    credentials: Mapping[str, str],
    http: GuardedHttp | None,
    budget: FetchBudget,
) -> Sequence[tuple[Code, Callable[[], None]]]:
    """Return what the stage does, each with the exit code of its failure.

    The document is checked at the door too. Its ids and paths become folders here. Raises DocumentError.
    """
    given = msgspec.to_builtins(task.definition)
    if isinstance(task.definition, Definition):
        parse(given)
        ocean = OceanInputs(task, task.definition, volume, downloads, retries, credentials, http, budget)
        return ((Code.DATA_FAILED, ocean.data), (Code.ALGORITHM_PROVISIONING_FAILED, ocean.algorithm))
    from functions.staging.configure.tes_inputs import TesInputs
    from functions.workflow.tes_checks import accept

    accept(given)
    inputs = TesInputs(task.definition, volume, downloads, task.fetch, http, credentials, retries, budget)
    return ((Code.DATA_FAILED, inputs.data),)


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
