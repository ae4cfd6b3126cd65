"""F2, and F14 to F18: processes that are told to end, stall, are replaced, or die, beside others that go on."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from support.api import function
from support.death import Died, Fate, MortalStore
from support.laptop import until
from support.postgres import connect
from support.served import one_served
from support.world import World, record
from werkzeug.test import Client

from functions.advance import sweep as sweeping
from functions.store.migrate import MIGRATIONS, upgrade
from functions.store.ports import Store, StoreUnavailable
from functions.store.sql import SqlStore
from functions.workflow.decide import decide
from functions.workflow.model import Phase
from functions.workflow.observation import StopRequested

ALL = sorted(path.stem for path in (MIGRATIONS / "versions").glob("0*.py"))


# --- F14: SIGTERM in mid-request ------------------------------------------------------------


def test_f14_a_server_that_is_told_to_end_finishes_what_it_has_begun(
    postgres_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The request waits for the workflow's lock when SIGTERM comes; it is answered, and only then the process ends."""
    with closing(SqlStore(postgres_url)) as store:
        world = World(store=store)
        w = world.submit()
        world.end_job(w)
        headers, body = world.events[-1]
        environ = variables(postgres_url, tmp_path)
        with one_served("advance", **environ) as (port, process):
            answers: list[int] = []
            with store.begin() as holder:
                holder.lock(w)
                request = threading.Thread(target=lambda: answers.append(deliver(port, headers, body)))
                request.start()
                until(lambda: waiting_for_locks(store), lambda n: n == 1)
                process.send_signal(signal.SIGTERM)
                until(lambda: capfd.readouterr().err, lambda said: "Handling signal: term" in said)
                assert not answers
            request.join()
            assert answers == [204]
            assert process.wait(30) == 0
        assert list(world.lines(w))[2:] == ["configure succeeded"]


def waiting_for_locks(store: SqlStore) -> int:
    (row,) = store._read(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(row["n"])


# --- F15: a transaction stays open ----------------------------------------------------------


def test_f15_a_transaction_that_stalls_is_ended_by_the_database_and_leaves_nothing(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen process must not hold a workflow's lock; what it had half-written is gone."""
    with closing(SqlStore(postgres_url)) as store:
        world = World(store=store)
        w = world.submit()
        before = world.state(w)
        impatient = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '100ms'; "
        with monkeypatch.context() as patch:
            patch.setattr(store.pool.driver, "transaction", impatient)
            with pytest.raises(StoreUnavailable), store.begin() as tx:  # noqa: PT012
                current = tx.lock(w)
                assert current is not None
                tx.save(decide(current, StopRequested(), world.clock()), "stalled")
                until(lambda: others_in_transactions(postgres_url), lambda n: n == 0)
                tx.lock(w)
        assert world.state(w) == before
        world.run(w)
        assert world.state(w).finished


def others_in_transactions(url: str) -> int:
    asked = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    )
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(asked)
        return int(cursor.fetchone()[0])


# --- F16: two revisions at once -------------------------------------------------------------


@pytest.mark.parametrize("revision", [None, *ALL[:-1]], ids=["empty", *ALL[:-1]])
def test_f16_new_code_on_an_older_schema_says_what_to_run_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, revision: str | None
) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    if revision:
        upgrade(url, revision[:4])
    with closing(SqlStore(url)) as store:
        world = World(store=store)
        client = Client(function("advance", world.app))
        tick = {"ce-specversion": "1.0", "ce-type": "dev.knative.sources.ping", "ce-source": "/p", "ce-id": "1"}
        answered = client.post("/", headers=tick)
        assert (answered.status_code, answered.headers["Retry-After"]) == (503, "5")
        assert "sluice migrate" in caplog.text
        upgrade(url, "head")
        assert client.post("/", headers=tick).status_code == 204
        world.run(world.submit())


# --- F2: the same event to several processes ------------------------------------------------


def test_f2_an_event_that_reaches_two_processes_sixteen_times_at_once_is_one_transition(
    postgres_url: str, tmp_path: Path
) -> None:
    environ = variables(postgres_url, tmp_path)
    with (
        closing(SqlStore(postgres_url)) as store,
        one_served("advance", **environ) as (one, _),
        one_served("advance", **environ) as (other, _),
    ):
        world = World(store=store, max_jobs=100)
        for _ in range(20):
            w = world.submit()
            world.end_job(w)
            headers, body = world.events[-1]
            answers = at_once([partial(deliver, port, headers, body) for port in (one, other) * 8])
            assert set(answers) == {204}
            assert list(world.lines(w)) == ["submitted", "admitted", "configure succeeded"]


def variables(database: str, results: Path) -> dict[str, str]:
    """The variables of a function that is served beside the test."""
    return {
        "DATABASE_URL": database,
        "SLUICE_CLUSTER": "memory",
        "RESULTS_URL": results.as_uri(),
        "LOG_LEVEL": "ERROR",
    }


def deliver(port: int, headers: Mapping[str, str], body: Any) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/", json.dumps(body), dict(headers))
        return connection.getresponse().status


def at_once(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Threads that start together; their answers."""
    start = threading.Barrier(len(actions))

    def together(act: Callable[[], Any]) -> Any:
        start.wait()
        return act()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(together, actions))


# --- F17, F18: the sweep beside handlers, and half-way --------------------------------------


def test_f17_a_sweep_and_a_handler_at_once_make_one_transition(store: Store) -> None:
    for _ in range(10):
        world = World(store=store, max_jobs=100)
        w = world.app.transitions.submit(record(world.app, world.app.new_id()), "test").workflow.id
        world.end_job(w)
        event = world.events[-1]
        world.clock.sleep(60)
        at_once([partial(world.tick, 0), partial(world.receive, *event)])
        assert list(world.lines(w)) == ["submitted", "admitted", "configure succeeded"]
        assert set(world.cluster.created.values()) == {1}


@pytest.mark.parametrize("at", [1, 2, 5, 20, 60])
def test_f18_the_claims_of_a_dead_sweep_run_out(store: Store, at: int) -> None:
    world = World(store=store, max_jobs=100)
    ids = [world.app.transitions.submit(record(world.app, n), "test").workflow.id for n in range(12)]
    for w in ids:
        world.end_job(w)
    world.events.clear()
    world.clock.sleep(60)
    world.app.store = cast(Store, MortalStore(store, Fate(at), "store"))
    with suppress(Died):
        sweeping.sweep(world.app)
    world.app.store = store
    world.tick(sweeping.CLAIM.total_seconds())
    assert {world.state(w).phase for w in ids} == {Phase.ALGORITHM}
    assert set(world.cluster.created.values()) == {1}
