"""One answer does not need more memory than a Pod has, however many jobs and files it lists."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import urllib3
from support.api import OWNER, Api, app
from support.served import one_served

from functions.store.sql import SqlStore
from functions.workflow.model import Manifest, ResultFile

JOBS, FILES = 8, 10_000  # as many files as an environment allows a job by default
LIMIT = 384 << 20  # bytes: the Pod's, in knative/components/functions/status.yaml
ENVIRON = {"SIGNATURE_REQUIRED": "0", "SLUICE_CLUSTER": "memory"}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_list_with_very_many_files_is_complete_and_needs_less_than_half_of_a_pods_memory(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    database = request.getfixturevalue(f"{kind}_url")
    api = recorded(database, tmp_path)
    asked = api.signed(OWNER, owner=OWNER)
    with one_served("status", DATABASE_URL=database, **ENVIRON) as (port, process):
        url = f"http://127.0.0.1:{port}/api/v1/operator/compute"
        answered = urllib3.request("GET", url, fields=asked, timeout=100, retries=False)
        assert answered.status == 200, answered.data
        assert len(answered.data) > 30_000_000
        print(f"{kind}: {peak(process) >> 20} MiB at most")
        assert peak(process) < LIMIT / 2
    jobs = json.loads(answered.data)
    assert [len(job["results"]) for job in jobs] == [FILES] * JOBS


def recorded(database: str, folder: Path) -> Api:
    """The jobs in a database."""
    names = [f"outputs/{'folder' * 55}/{n:08d}.csv" for n in range(FILES)]
    manifest = Manifest(tuple(ResultFile(name, 1, "output", f"s3://bucket/{name}", "0" * 64) for name in names))
    with closing(SqlStore(database)) as store:
        api = Api(app(store, results_url=f"file://{folder}"))
        api.finished(manifest)
        (columns,) = map(tuple, store.pool.read("SELECT * FROM jobs"))
        kept = [name for name in columns if not name.endswith("_key") or name == "idempotency_key"]  # not generated
        copied = ", ".join("workflowid || '-' || %(n)s" if name == "workflowid" else name for name in kept)
        for n in range(1, JOBS):
            with store.pool.transaction() as session:
                session.execute(
                    f"INSERT INTO jobs ({', '.join(kept)}) SELECT {copied} FROM jobs LIMIT 1", {"n": str(n)}
                )
    return api


def peak(server: subprocess.Popen[bytes]) -> int:
    """The most resident bytes that the server's worker has had."""
    (worker,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    (line,) = [line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
