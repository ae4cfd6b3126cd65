"""The API against its own OpenAPI document, with requests that schemathesis makes up."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from support.api import ADMIN, OWNER, Api, app
from support.tes import TesApi, tokens_file
from werkzeug.wrappers import Request

from functions.api.http import Route, Router
from functions.api.ocean import routes
from functions.api.proof import routes as proof
from functions.api.review import routes as review
from functions.api.tes import routes as tes
from functions.status import openapi
from functions.status.console import routes as console
from functions.status.main import ROUTER as STATUS
from functions.submit.main import ROUTER as SUBMIT
from functions.workflow.model import Manifest, ResultFile


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Api:
    folder = tmp_path_factory.mktemp("results")
    about: dict[str, Any] = {"results_url": f"file://{folder}", "database_url": f"sqlite:///{folder}/sluice.db"}
    return Api(app(**about, tes_tokens_file=tokens_file(folder, "alice"), tes_environment="ocean-compute"))


@pytest.fixture(scope="module")
def job(api: Api) -> str:
    url = api.app.storage.put("j/1/outputs/a.csv", [b"a,b\n"], 4, "text/csv")
    return api.finished(Manifest((ResultFile("outputs/a.csv", 4, "output", url, content_type="text/csv"),)))


@pytest.fixture(scope="module")
def schema(api: Api) -> Any:
    def gateway(environ: Any, start_response: Any) -> Iterable[bytes]:
        """As the HTTPRoute: what changes something goes to submit, the rest to status."""
        asked = Request(environ)
        ocean = asked.method in ("POST", "PUT", "DELETE") and asked.path.endswith(("/compute", "/pgsqlinit"))
        changes = ocean or (asked.method == "POST" and asked.path.startswith(tes.PREFIX))
        answered: Any = (api.submit if changes else api.status).application(environ, start_response)
        try:
            return list(answered)
        finally:
            if hasattr(answered, "close"):
                answered.close()  # as servers do; a log that is followed holds its place until then

    return schemathesis.openapi.from_wsgi("/spec", gateway)


@pytest.fixture(scope="module")
def task(api: Api) -> str:
    return TesApi(api.app, "alice").create()


def described(route: Route) -> str:
    """The path of a route as the document spells it."""
    return re.sub("<(.*?)>", r"{\1}", route.path)


load_all_checks()
# A body may be right by its schema and wrong by its signature: 400 is documented for both. A missing `Admin` header is
# 400 too, as operator-service answers it; test_signatures.py holds that nobody gets in without it.
EXCLUDED = CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection", "ignored_auth"])
OPERATIONS = [(described(route), route.method.lower()) for route in (*routes.TABLE, *tes.TABLE)]
MADE_UP = [
    pytest.param(*operation, mode, id=f"{operation[1]} {operation[0]} {mode.value}")
    for operation in OPERATIONS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if operation not in (("/", "get"), ("/healthz", "get"), (tes.SERVICE_INFO.path, "get"))
    or mode is GenerationMode.POSITIVE  # takes nothing that could be wrong
]
EXAMPLES = 100 if os.environ.get("SLUICE_LONG") else 10
enough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(("path", "method", "mode"), MADE_UP)
@enough
@given(st.data())
def test_made_up_requests_get_documented_answers(
    schema: Any, path: str, method: str, mode: GenerationMode, data: st.DataObject
) -> None:
    case = data.draw(schema[path][method].as_strategy(generation_mode=mode))
    # functions-framework itself answers such a path, with 404 in HTML.
    assume(not any("\n" in unquote(str(value)) for value in case.path_parameters.values()))
    case.call_and_validate(excluded_checks=EXCLUDED)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@enough
@given(st.data())
def test_authorised_requests_get_documented_answers(
    api: Api, schema: Any, job: str, task: str, path: str, method: str, data: st.DataObject
) -> None:
    """With a right signature, the admin's header, a token, and a job and a task that exist."""
    case = data.draw(schema[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    case.headers.update({"Admin": ADMIN["Admin"], "Authorization": "Bearer token-alice"})
    if "id" in case.path_parameters:
        case.path_parameters["id"] = task
    for place in (case.query, case.body):
        if isinstance(place, dict):
            place.update({name: value for name, value in {"jobId": job, "owner": OWNER}.items() if name in place})
        if isinstance(place, dict) and "providerSignature" in place:
            place.update(api.signed(f"{OWNER}{place.get('jobId', '')}", owner=OWNER))
    case.call_and_validate(excluded_checks=EXCLUDED)


def test_the_document_describes_exactly_the_routing_table() -> None:
    found = [(path, method.upper()) for path, item in openapi.document()["paths"].items() for method in item]
    tables = (*routes.TABLE, *review.TABLE, *proof.TABLE, *tes.TABLE)
    assert sorted(found) == sorted((described(route), route.method) for route in tables)
    assert set(openapi.DESCRIBED) == set(tables)


@pytest.mark.parametrize(
    ("function", "router", "others"),
    [
        ("submit", SUBMIT, {("/", "POST"), ("/healthz", "GET"), ("/readyz", "GET")}),  # events and probes
        (
            "status",
            STATUS,
            {("/readyz", "GET"), ("/spec", "GET"), ("/api/v1/docs/", "GET"), ("/api/v1/docs/<name>", "GET")}
            | {(route.path, route.method) for route in console.TABLE},
        ),
    ],
)
def test_a_function_serves_its_part_of_the_routing_table(
    function: str, router: Router, others: set[tuple[str, str]]
) -> None:
    served = {(rule.rule, method) for rule in router.rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    tables = (*routes.TABLE, *review.TABLE, *proof.TABLE, *tes.TABLE)
    assert served == others | {(route.path, route.method) for route in tables if route.function == function}


def test_the_document_is_openapi_3_1_and_names_what_validates(api: Api) -> None:
    spec = json.loads(api.status.get("/spec").text)
    assert spec["openapi"] == "3.1.0"
    assert {"Definition", "Algorithm", "Status", "Error"} <= set(spec["components"]["schemas"])


def test_the_documentation_loads_nothing_from_other_hosts(api: Api) -> None:
    page = api.status.get("/api/v1/docs/").text
    assert not re.search(r"https?://", page)
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert api.status.get(f"/api/v1/docs/{name}").status_code == 200
    for name in ("..%2f__init__.py", "none.js", "%00", "x" * 300):
        assert api.status.get(f"/api/v1/docs/{name}").status_code == 404
