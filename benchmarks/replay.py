"""A process of its own for benchmarks/events.py: replays recorded statements with bare psycopg2 in so many threads.

Prints how many times a second all of them were done. The recorded workflow's id is replaced by others, the id of the
intent by that of the row just inserted.
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
        connection = psycopg2.connect(plan["url"])  # type: ignore[no-untyped-call]
        cursor = connection.cursor()
        while True:
            with lock:
                workflow = next(todo, None)
            if workflow is None:
                connection.close()
                return
            _replay(connection, cursor, plan["statements"], workflow)

    began = time.perf_counter()
    with ThreadPoolExecutor(plan["at_once"]) as pool:
        list(pool.map(work, range(plan["at_once"])))
    print(len(plan["ids"]) / (time.perf_counter() - began))


def _replay(connection: Any, cursor: Any, statements: list[tuple[str, Any]], workflow: str) -> None:
    returned = None
    for statement, parameters in statements:
        if statement == "COMMIT":
            connection.commit()
        elif statement == "AUTOCOMMIT":
            connection.autocommit = True
        elif isinstance(parameters, list):
            cursor.executemany(statement, [_of(row, workflow, returned) for row in parameters])
        else:
            cursor.execute(statement, _of(parameters, workflow, returned))
            if cursor.description:
                rows = cursor.fetchall()
                returned = rows[0][0] if " RETURNING " in statement else returned
            if connection.autocommit:
                connection.autocommit = False


def _of(parameters: dict[str, Any], workflow: str, returned: Any) -> dict[str, Any]:
    new = {key: workflow if value == RECORDED else value for key, value in parameters.items()}
    return {**new, "_id": returned} if "_id" in new else new


if __name__ == "__main__":
    main(sys.argv[1])
