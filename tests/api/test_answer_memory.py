"""One answer does not need more memory than a Pod has, however many jobs and files it lists."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import urllib3
from support.api import OWNER, Api, app
from support.served import one_served

from functions.store.migrate import migrate
from functions.store.sql import SqlStore
from functions.workflow.model import Manifest, ResultFile

JOBS, FILES = 8, 10_000  # as many files as an environment allows a job by default
LIMIT = 384 << 20  # bytes: the Pod's, in knative/components/functions/status.yaml
ENVIRON = {"SIGNATURE_REQUIRED": "0", "SLUICE_CLUSTER": "memory"}


def test_a_list_with_very_many_files_is_complete_and_needs_less_than_half_of_a_pods_memory(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/sluice.db"
    api = recorded(database, tmp_path)
    asked = api.signed(OWNER, owner=OWNER)
    with one_served("status", DATABASE_URL=database, **ENVIRON) as (port, process):
        url = f"http://127.0.0.1:{port}/api/v1/operator/compute"
        answered = urllib3.request("GET", url, fields=asked, timeout=100, retries=False)
        assert answered.status == 200, answered.data
        assert len(answered.data) > 30_000_000
        assert peak(process) < LIMIT / 2
    jobs = json.loads(answered.data)
    assert [len(job["results"]) for job in jobs] == [FILES] * JOBS


def recorded(database: str, folder: Path) -> Api:
    """The jobs in a database."""
    migrate(database)
    names = [f"outputs/{'folder' * 55}/{n:08d}.csv" for n in range(FILES)]
    manifest = Manifest(tuple(ResultFile(name, 1, "output", f"s3://bucket/{name}", "0" * 64) for name in names))
    with closing(SqlStore(database)) as store:
        api = Api(app(store, results_url=f"file://{folder}"))
        api.finished(manifest)
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection, connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(jobs)")]
        copied = ", ".join(f"{name} || '-' || :n" if name == "workflowid" else name for name in columns)
        for n in range(1, JOBS):
            connection.execute(f"INSERT INTO jobs ({', '.join(columns)}) SELECT {copied} FROM jobs LIMIT 1", {"n": n})
    return api


def peak(server: subprocess.Popen[bytes]) -> int:
    """The most resident bytes that the server's worker has had."""
    (worker,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (line,) = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
