"""`sluice run` of a workflow whose stages do nothing, compared with starting the programs of its stages alone.

And on `sluice up`: a GA4GH TES task with one executor, compared with an Ocean document with the same program, each from
its POST until it has ended, in turn.

The run includes the command line, the functions, the broker, a new database, isolation, three supervised stages and the
results on disk. The programs alone are configure, which has only the algorithm's text to write, `true` in a shell, and
publish, which has nothing to upload. Both are run in turn; the figures are medians.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Row, at_most
from benchmarks.serving import ROOT

RUNS, SHORT_RUNS = 7, 1
PAIRS, SHORT_PAIRS = 15, 1
POLL = 0.005  # seconds
TASK = {"executors": [{"image": "none", "command": ["true"]}]}
WORKFLOW: dict[str, Any] = {
    "stages": [
        {
            "index": 0,
            "input": [],
            "algorithm": {"rawcode": "pass", "container": {"entrypoint": "true", "image": "none"}},
            "compute": {},
            "output": {},
        }
    ]
}


def measure(short: bool = False) -> Iterator[Row]:
    runs = SHORT_RUNS if short else RUNS
    run, bare = [], []
    with tempfile.TemporaryDirectory() as name:
        for nth in range(runs + 1):  # the first is a warm-up
            folder = Path(name, str(nth))
            folder.mkdir()
            run.append(_run(folder))
            bare.append(_bare(folder))
    ours, floor = median(run[1:]), median(bare[1:])
    yield Row("laptop: three bare process starts", floor * 1000, "ms")
    yield Row("laptop: sluice run, three stages that do nothing", ours * 1000, "ms")
    yield Row("laptop: sluice run / bare starts", ours / floor, "×", at_most(3))
    yield from _both_dialects(SHORT_PAIRS if short else PAIRS)


def _both_dialects(pairs: int) -> Iterator[Row]:
    """Compare a TES task with an Ocean document on one server."""
    from functions.cli.api_client import Client
    from functions.cli.keys import new_key
    from functions.cli.tes_client import TesClient

    with _server() as url:
        client, tes = Client(url, new_key()), TesClient(url)
        (environment,) = client.environments()

        def document() -> Any:
            about = {"environment": environment["id"], "agreement": f"0x{secrets.token_hex(32)}"}
            return client.submit(WORKFLOW, **about, owner=client.address)["jobId"]

        timed: dict[str, list[float]] = {"document": [], "task": []}
        for _ in range(pairs + 1):  # the first is a warm-up
            timed["document"].append(_until_ended(client, document))
            timed["task"].append(_until_ended(client, lambda: tes.create(TASK)))
    documents, tasks = (median(found[1:]) for found in timed.values())
    yield Row("laptop: an Ocean document on sluice up, POST to end", documents * 1000, "ms")
    yield Row("laptop: a TES task with the same program, POST to end", tasks * 1000, "ms")
    yield Row("laptop: the task / the document", tasks / documents, "×", at_most(1.2))


def _until_ended(client: Any, submit: Callable[[], str]) -> float:
    from functions.cli.watch import has_ended

    began = time.perf_counter()
    job = submit()
    while not has_ended(client.info(job)):
        time.sleep(POLL)
    return time.perf_counter() - began


@contextmanager
def _server() -> Iterator[str]:
    """A `sluice up` of its own. Yields its URL."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "functions.cli.main", "up", "--port", "0", "--dir", folder, "--json"]
        server = subprocess.Popen(command, env=_environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        with server:
            try:
                said = "".join(iter(server.stdout.readline, "}\n")) if server.stdout else ""
                yield json.loads(said + "}")["url"]
            finally:
                server.terminate()


def _run(folder: Path) -> float:
    document = folder / "workflow.json"
    document.write_text(json.dumps(WORKFLOW))
    return _seconds([sys.executable, "-m", "functions.cli.main", "run", str(document), "--out", str(folder / "out")])


def _bare(folder: Path) -> float:
    volume, task = folder / "volume", folder / "task.json"
    results = (folder / "results").as_uri()
    task.write_text(json.dumps({"workflow": "w", "results": results, "definition": {"dialect": "ocean", **WORKFLOW}}))
    common = ["--task", str(task), "--volume", str(volume)]
    return sum(
        (
            _seconds([sys.executable, "-m", "functions.staging.configure", *common]),
            _seconds(["/bin/sh", "-c", "true"]),
            _seconds([sys.executable, "-m", "functions.staging.publish", *common, "--attempt", "1", "--scope", "all"]),
        )
    )


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=_environ(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.decode()[-500:]}")
    return time.perf_counter() - began


def _environ() -> dict[str, str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ
