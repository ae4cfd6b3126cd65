"""What the functions share over HTTP: parameters, answers and routing."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.api import app
from werkzeug.datastructures import Headers
from werkzeug.routing import Rule
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from functions.api import http, json_answers
from functions.api.http import Call, HttpError, Router, read_body
from functions.cluster.ports import ClusterUnavailable
from functions.store.ports import StoreUnavailable
from functions.variables import SettingsError

JSON = {"Content-Type": "application/json"}
LIMIT = 1000


def request(method: str = "POST", path: str = "/", **options: Any) -> Request:
    return Request(EnvironBuilder(path, method=method, **options).get_environ())


def chunked(body: bytes) -> Request:
    """As gunicorn hands over a chunked body: no length, and a stream that ends."""
    environ = EnvironBuilder("/", method="POST", headers=Headers(JSON)).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    return Request({**environ, "wsgi.input": BytesIO(body), "wsgi.input_terminated": True})


def params(asked: Request) -> Any:
    return Call(asked, app(), {}, read_body(asked, LIMIT, 10)).params


def refusal(action: Callable[[], Any]) -> HttpError:
    with pytest.raises(HttpError) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_every_method_takes_parameters_from_the_query_or_else_from_the_json_body(method: str) -> None:
    body = json.dumps({"owner": "body", "nonce": 1})
    assert params(request(method, data=body, headers=JSON)) == {"owner": "body", "nonce": 1}
    assert params(request(method, query_string="owner=query", data=body, headers=JSON)) == {"owner": "query"}
    assert params(request(method)) == {}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"a": 1', JSON, 400),
        (b"[1]", JSON, 400),
        (b'"text"', JSON, 400),
        (b'{"a": NaN}', JSON, 400),
        (b'{"a": 1e999}', JSON, 400),
        (b'{"a": "\\ud800"}', JSON, 400),
        (b'{"a": "\xff"}', JSON, 400),
        (b'{"a": ["x\\u0000"]}', JSON, 400),
        (b'{"a\\u0000": 1}', JSON, 400),
        (b"[" * 900, JSON, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {}, 415),
        (b" " * (LIMIT + 1), JSON, 413),
    ],
)
def test_an_unusable_body_is_refused_with_a_fitting_code(body: bytes, headers: dict[str, str], status: int) -> None:
    assert refusal(lambda: params(request(data=body, headers=headers))).status == status


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert params(request(data=b'{"a": "\\\\u0000"}', headers=JSON)) == {"a": "\\u0000"}


def test_a_nul_in_the_query_is_refused() -> None:
    assert refusal(lambda: params(request("GET", query_string="owner=%00"))).status == 400


def test_a_chunked_body_is_read_completely_or_refused() -> None:
    fits = json.dumps({"a": "x" * (LIMIT - 9)}).encode()
    assert len(fits) == LIMIT
    assert params(chunked(fits)) == {"a": "x" * (LIMIT - 9)}
    too_long = chunked(fits + b" ")
    assert refusal(lambda: params(too_long)).status == 413
    assert too_long.get_data() == b"", "the framework must not read the rest into memory"


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_answers_are_json_as_python_writes_it_with_floats_as_strings(value: Any) -> None:
    def no_floats(item: Any) -> Any:
        if isinstance(item, float):
            return str(item)
        if isinstance(item, dict):
            return {key: no_floats(each) for key, each in item.items()}
        return [no_floats(each) for each in item] if isinstance(item, list) else item

    answered = json_answers.answer(value)
    assert answered.get_data(as_text=True) == json.dumps(no_floats(value))
    assert answered.headers["Content-type"] == "application/json"


@pytest.mark.parametrize(
    "pages", [[], [[]], [[1]], [[1], [2.5, "a"]], [[1], [], [{"a": 1.5}, 2], [None]], [[], [], [1]]]
)
def test_pages_are_answered_as_one_list_would_be(pages: list[list[Any]]) -> None:
    whole = json_answers.answer([each for page in pages for each in page])
    answered = json_answers.answer_pages(iter(pages))
    assert answered.get_data() == whole.get_data()
    assert answered.headers["Content-type"] == whole.headers["Content-type"]


def test_pages_are_taken_when_they_are_sent() -> None:
    taken, large = [], "x" * 100_000

    def pages() -> Iterator[list[str]]:
        for n in range(4):
            taken.append(n)
            yield [large]

    answered = json_answers.answer_pages(pages())
    assert taken == [0], "an error in the first page still has an answer of its own"
    sent = cast(Iterator[bytes], iter(answered.response))
    text = b""
    for count in range(1, 5):
        while text.count(b'"') < 2 * count:
            text += next(sent)
        assert taken == list(range(count)), "a page is taken when the one before has been sent"
    text += b"".join(sent)
    assert json.loads(text) == [large] * 4


def client(handler: Callable[[Call], Response]) -> Client:
    router = Router([Rule("/thing", endpoint=handler, methods=["GET"])])

    def application(environ: Any, start_response: Any) -> Any:
        return router.answer(Request(environ), app)(environ, start_response)

    return Client(application)


def fine(call: Call) -> Response:
    return json_answers.answer({"fine": True})


def test_unknown_paths_and_methods_are_answered_in_json_with_cors() -> None:
    nowhere = client(fine).get("/nowhere")
    assert (nowhere.status_code, nowhere.json) == (404, {"error": "Not Found: no such path"})
    wrong = client(fine).delete("/thing")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert wrong.json == {"error": "Method DELETE is not allowed here"}
    assert {each.headers["Access-Control-Allow-Origin"] for each in (nowhere, wrong)} == {"*"}


def test_trailing_slashes_are_not_accepted() -> None:
    assert client(fine).get("/thing/").status_code == 404


def test_head_and_options_work_wherever_get_does() -> None:
    head = client(fine).head("/thing")
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", "14")
    options = client(fine).options("/thing")
    assert (options.status_code, options.headers["Allow"]) == (200, "GET, HEAD, OPTIONS")
    assert "POST" in options.headers["Access-Control-Allow-Methods"], "a gateway asks one function for both"


def test_requests_beyond_the_limit_wait_for_their_turn_but_health_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Barrier(2), threading.Event()

    def slow(call: Call) -> Response:
        begun.wait(10)
        go_on.wait(10)
        return fine(call)

    rules = [Rule("/slow", endpoint=slow), Rule("/thing", endpoint=fine), Rule("/healthz", endpoint=http.healthz)]
    router, one = Router(rules), app(pool_size=1)
    asked = Client(lambda environ, start: router.answer(Request(environ), lambda: one)(environ, start)).get
    monkeypatch.setattr(http, "TURN", 0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asked, "/slow")
        begun.wait(10)
        assert (asked("/thing").status_code, asked("/healthz").status_code) == (503, 200)
        go_on.set()
        assert first.result().status_code == 200
    assert asked("/thing").status_code == 200


@pytest.mark.parametrize(
    ("error", "seconds"), [(StoreUnavailable("down"), "5"), (ClusterUnavailable("busy", retry_after=17), "17")]
)
def test_a_temporary_error_is_a_503_with_retry_after(error: Exception, seconds: str) -> None:
    def handler(call: Call) -> Response:
        raise error

    answered = client(handler).get("/thing")
    assert (answered.status_code, answered.headers["Retry-After"]) == (503, seconds)
    assert "down" not in answered.text
    assert "busy" not in answered.text


def test_an_internal_error_has_an_id_that_is_also_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(call: Call) -> Response:
        raise RuntimeError("postgresql://user:password@host/db")

    with caplog.at_level(logging.ERROR):
        answered = client(handler).get("/thing")
    assert answered.status_code == 500
    assert answered.json is not None
    assert answered.json["error"] == "internal error"
    assert "password" not in answered.text
    assert [vars(record)["fields"]["error_id"] for record in caplog.records] == [answered.json["id"]]


def test_the_log_but_not_the_answer_names_a_wrong_setting(caplog: pytest.LogCaptureFixture) -> None:
    def handler(call: Call) -> Response:
        raise SettingsError("THREADS must be a number")

    answered = client(handler).get("/thing")
    assert answered.status_code == 500
    assert "THREADS" not in answered.text
    assert "THREADS" in caplog.text
