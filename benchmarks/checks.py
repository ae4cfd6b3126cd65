"""What the disclosure checks cost: one large CSV file, and the comparison with an input of a million rows.

Each run is a process of its own. Times are CPU time, because other processes may share the cores. `wc -l` on the same
file shows what reading alone costs. Last, how long it takes to prepare a submission whose data no policy names: without
policies, and beside a hundred of them. That it costs neither a statement nor a call is a test.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row, at_least, at_most
from functions.engine.app import App
from functions.settings import Settings
from functions.submit.new_workflow import prepare
from functions.trust.policy import Policies, WrittenPolicy
from functions.workflow.environment import Environment
from functions.workflow.model import Submission

MIB = 1 << 20
SIZE, SHORT_SIZE = 1 << 30, MIB // 2  # bytes of the output
ROWS, SHORT_ROWS = 1_000_000, 10_000  # of the input
SUBMISSIONS, SHORT_SUBMISSIONS = 2000, 20
HEADER = "no,value,age,sex,region,weight,height,group,date,note\n"
DOCUMENT = {
    "stages": [
        {
            "input": [{"id": "did:op:1", "url": ["https://data.example/other/1.csv"]}],
            "compute": {},
            "algorithm": {"rawcode": "print(1)", "container": {"entrypoint": "python3 $ALGO", "image": "python"}},
            "output": {},
        }
    ]
}
SUBMISSION = Submission("agreement", "0x1", "0x2", DOCUMENT, "secret")
ENVIRONMENT = Environment(id="ocean-compute")
_CHECK = """
import json, resource, sys, time
from pathlib import Path
from functions.staging.check.output_files import walk
from functions.staging.check.rule_runner import check
from functions.trust.disclosure import Checks
volume = Path(sys.argv[1])
begun = time.process_time()
check(list(walk(volume, "outputs")), walk(volume, "inputs"), Checks())
seconds = time.process_time() - begun
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def measure(short: bool = False) -> Iterator[Row]:
    size, rows = (SHORT_SIZE, SHORT_ROWS) if short else (SIZE, ROWS)
    for quoted in (False, True):
        with tempfile.TemporaryDirectory() as name:
            yield from _large_output(Path(name), size, quoted)
    with tempfile.TemporaryDirectory() as name:
        yield from _large_input(Path(name), rows)
    yield from _submissions(SHORT_SUBMISSIONS if short else SUBMISSIONS)


def _large_output(volume: Path, size: int, quoted: bool) -> Iterator[Row]:
    file = volume / "outputs" / "large.csv"
    _write(file, size=size, quoted=quoted)
    bytes_ = file.stat().st_size
    reading = _user_seconds(["wc", "-l", str(file)])
    seconds, memory = _checked(volume)
    what = f"checks: a CSV file of {bytes_ // MIB} MiB{' whose cells are all quoted' if quoted else ''}"
    yield Row(f"{what}, `wc -l`", bytes_ / 1e6 / max(reading, 0.01), "MB/s")
    yield Row(f"{what}, all rules", bytes_ / 1e6 / seconds, "MB/s", at_least(50))
    yield Row(f"{what}, most memory", memory / MIB, "MiB", at_most(128))


def _large_input(volume: Path, rows: int) -> Iterator[Row]:
    _write(volume / "inputs" / "0" / "0", rows=rows)
    table = volume / "outputs" / "means.csv"
    table.parent.mkdir()
    means = (f"{sex},r{n},{1000 + n},{n / 7 + 50:.3f}\n" for n in range(40) for sex in "mf")
    table.write_text("sex,region,n,mean\n" + "".join(means))
    seconds, memory = _checked(volume)
    what = f"checks: an input of {rows:,} rows"
    yield Row(f"{what}, compared", seconds, "s", at_most(10))
    yield Row(f"{what}, most memory", memory / MIB, "MiB", at_most(128))


def _submissions(count: int) -> Iterator[Row]:
    policies = Policies(tuple(WrittenPolicy(id=f"p{n}", data=(f"https://data.example/{n}/",)) for n in range(100)))
    times = {}
    for name, known in (("without policies", None), ("beside 100 policies for other data", policies)):
        app = App(Settings(cluster="memory", results_url="memory:"), policies=known)
        begun = time.process_time()
        for _ in range(count):
            prepare(app, SUBMISSION, ENVIRONMENT)
        times[name] = (time.process_time() - begun) / count * 1e6
    (without, alone), (beside, both) = times.items()
    yield Row(f"policies: a submission prepared, {without}", alone, "µs")
    yield Row(f"policies: the same, {beside}", both, "µs", at_most(2000))


def _checked(volume: Path) -> tuple[float, int]:
    """The seconds of CPU time and the bytes of memory that the checks take."""
    ran = subprocess.run([sys.executable, "-c", _CHECK, str(volume)], check=True, capture_output=True)
    seconds, memory = json.loads(ran.stdout)
    return seconds, memory


def _user_seconds(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def _write(file: Path, size: int = 0, rows: int = 0, quoted: bool = False) -> None:
    """Write a table of people: so many bytes, or so many rows."""
    dice = random.Random(1)
    people = [
        f"{dice.random() * 1e6:.3f},{dice.randint(18, 99)},{dice.choice('mf')},r{dice.randint(1, 40)},"
        f"{dice.gauss(70, 12):.2f},{dice.gauss(170, 9):.1f},g{dice.randint(1, 9)},"
        f"2024-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d},text {dice.randint(1, 999)}"
        for _ in range(10_000)
    ]
    mark, between = ('"', '","') if quoted else ("", ",")
    people = [between.join(row.split(",")) for row in people]
    file.parent.mkdir(parents=True)
    number = 0
    with file.open("w") as out:
        out.write(HEADER)
        while number < rows or out.tell() < size:
            out.writelines(f"{mark}{number + n}{between}{row}{mark}\n" for n, row in enumerate(people))
            number += len(people)
