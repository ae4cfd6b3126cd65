"""Replays recorded messages of SQL statements with bare psycopg2, as a separate process for benchmarks/events.py.

Prints how many times a second all messages were executed. The recorded workflow's id is replaced by the ids of the
plan, and the intent's id by the one that was just read.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2

RECORDED = "f" * 32


def main(path: str) -> None:
    with open(path) as file:
        plan = json.load(file)
    todo, lock = iter(plan["ids"]), threading.Lock()

    def work(_: int) -> None:
        connection = psycopg2.connect(plan["url"])
        connection.autocommit = True  # BEGIN and COMMIT are among the statements
        cursor = connection.cursor()
        while True:
            with lock:
                workflow = next(todo, None)
            if workflow is None:
                connection.close()
                return
            _replay(cursor, plan["messages"], workflow)

    began = time.perf_counter()
    with ThreadPoolExecutor(plan["at_once"]) as pool:
        list(pool.map(work, range(plan["at_once"])))
    print(len(plan["ids"]) / (time.perf_counter() - began))


def _replay(cursor: Any, messages: list[list[tuple[str, Any]]], workflow: str) -> None:
    intent = None
    for message in messages:
        bound = [cursor.mogrify(statement, _of(parameters, workflow, intent)) for statement, parameters in message]
        cursor.execute(b"; ".join(bound))
        if cursor.description:
            rows = cursor.fetchall()
            intent = rows[0][0] if " FROM intents" in message[-1][0] else intent


def _of(parameters: dict[str, Any], workflow: str, intent: Any) -> dict[str, Any]:
    new = {key: workflow if value == RECORDED else value for key, value in parameters.items()}
    return {**new, "id": intent} if "id" in new else new


if __name__ == "__main__":
    main(sys.argv[1])
