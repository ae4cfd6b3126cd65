"""An operator-service database behind the API: upgraded over HTTP, its jobs answered, new ones accepted."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg2
import pytest
from support.api import ADMIN, API, Api, app

from functions.results.ports import Content, Storage
from functions.store.sql import SqlStore
from functions.store.values import Query
from functions.workflow.model import ResultFile

RECORDED = Path(__file__).parents[1] / "data/operator-service-database.sql"


class Elsewhere:
    """Stands for the web: a file holds its own URL, and is as long as the database says."""

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        return Content(iter([file.url.encode().ljust(file.size)]), file.size, close=lambda: None)


def adopt(url: str) -> None:
    plain = "\n".join(line for line in RECORDED.read_text().splitlines() if not line.startswith("\\"))
    connect: Any = psycopg2.connect
    with closing(connect(url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(plain)
        connection.commit()


def test_its_jobs_are_answered_as_before_and_new_ones_are_accepted(
    empty_postgres_url: str,
) -> None:
    adopt(empty_postgres_url)
    with closing(SqlStore(empty_postgres_url)) as store:
        api = Api(app(store, database_url=empty_postgres_url))
        api.app.storage = cast(Storage, Elsewhere())
        for _ in range(2):
            assert api.submit.post(f"{API}/pgsqlinit", headers=ADMIN).status_code == 200

        def ask(route: str, owner: str, job: str, **more: Any) -> Any:
            return api.get(route, api.signed(f"{owner}{job}", owner=owner, jobId=job, **more))

        seen = 0
        for record in store.find(Query()):
            owner, job = record.submission.owner, record.workflow.id
            (status,) = json.loads(ask("/compute", owner, job).text)
            assert float(status["dateFinished"]) > 0
            assert status["status"] in (31, 32, 41, 70)
            if status["results"]:
                seen += 1
                first = ask("/getResult", owner, job, index=0)
                assert (first.status_code, first.data.rstrip()) == (200, record.manifest.files[0].url.encode())
                assert ask("/getResult", "0xother", job, index=0).status_code == 404
        assert seen
        assert api.start()["status"] == 1


def test_an_image_without_the_migrations_answers_501_and_says_which_has_them(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alembic", None)
    api = Api(app(database_url=empty_postgres_url))
    answered = api.submit.post(f"{API}/pgsqlinit", headers=ADMIN)
    assert (answered.status_code, "k8s_install/migrate.yml" in answered.text) == (501, True)
