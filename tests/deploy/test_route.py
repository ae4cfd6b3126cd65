"""The HTTPRoute: which request from outside reaches which function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from support.deployment import SERVING, WITH_FUNCTIONS, of_kind

from functions.api.http import Route
from functions.api.ocean import routes
from functions.api.proof import routes as proof
from functions.api.review import routes as review
from functions.api.tes import routes as tes
from functions.status.console import routes as console
from functions.status.main import ROUTER as STATUS
from functions.submit.main import ROUTER as SUBMIT


def reached(name: str, method: str, path: str) -> str | None:
    """The function that the gateway calls, by Gateway API's precedence: exact before prefix, then the first."""
    hits = []
    for number, rule in enumerate(of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]):
        for match in rule["matches"]:
            wanted = match["path"]["value"]
            exact = match["path"]["type"] == "Exact"
            prefix = not exact and (path == wanted or path.startswith(f"{wanted}/"))
            if match.get("method", method) == method and ((exact and path == wanted) or prefix):
                hits.append((not exact, -len(wanted), "method" not in match, number, function_of(rule)))
    return min(hits)[-1] if hits else None


def function_of(rule: Mapping[str, Any]) -> str:
    (backend,) = rule["backendRefs"]
    for rewrite in rule.get("filters", []):
        host: str = rewrite["urlRewrite"]["hostname"]
        function, namespace, *_ = host.split(".")
        assert namespace == "sluice"
        return function
    return str(backend["name"])


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("POST", "/api/v1/operator/compute", "submit"),
        ("PUT", "/api/v1/operator/compute", "submit"),
        ("DELETE", "/api/v1/operator/compute", "submit"),
        ("GET", "/api/v1/operator/compute", "status"),
        ("POST", "/api/v1/operator/pgsqlinit", "submit"),
        ("GET", "/api/v1/operator/getResult", "status"),
        ("GET", "/api/v1/operator/environments", "status"),
        ("GET", "/api/v1/operator/runningjobs", "status"),
        ("GET", "/api/v1/docs/", "status"),
        ("GET", "/spec", "status"),
        ("GET", "/", "status"),
        ("POST", "/ga4gh/tes/v1/tasks/7%3Acancel", "submit"),
        ("OPTIONS", "/ga4gh/tes/v1/tasks/7:cancel", "status"),
        ("POST", "/dead-letters", None),
        ("GET", "/healthz", "status"),
    ],
)
def test_a_request_reaches_its_function(name: str, method: str, path: str, function: str | None) -> None:
    assert reached(name, method, path) == function


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_gateway_exposes_no_path_that_takes_events(name: str) -> None:
    for path in ("/", "/dead-letters", "//", "/api/v1/docs/", "/spec"):
        assert reached(name, "POST", path) in (None, "status")
    assert "advance" not in {function_of(r) for r in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]}


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_gateway_sends_every_route_of_the_routing_tables_to_its_function(name: str) -> None:
    reads = [Route("status", "GET", path) for path in ("/spec", "/api/v1/docs/", "/api/v1/docs/swagger-ui.css")]
    for route in (*routes.TABLE, *review.TABLE, *proof.TABLE, *console.TABLE, *tes.TABLE, *reads):
        assert reached(name, route.method, route.path) == route.function, route


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_gateway_names_no_path_that_its_function_does_not_serve(name: str) -> None:
    served = {rule.rule for router in (SUBMIT, STATUS) for rule in router.rules}
    for rule in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]:
        for match in rule["matches"]:
            path = match["path"]["value"]
            exact = match["path"]["type"] == "Exact"
            assert path in served if exact else any(each.startswith(f"{path}/") for each in served), path


def test_a_backend_in_another_namespace_has_its_grant() -> None:
    for name in ("kind", "production"):
        (grant,) = of_kind(name, "ReferenceGrant").values()
        for rule in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]:
            (backend,) = rule["backendRefs"]
            assert backend["namespace"] == grant["metadata"]["namespace"]
            assert {"group": "", "kind": "Service", "name": backend["name"]} in grant["spec"]["to"]
            assert function_of(rule) in ("submit", "status")


@pytest.mark.parametrize("name", ["base", "kind", "production"])
def test_the_timeout_of_the_route_equals_that_of_the_function(name: str) -> None:
    services = of_kind(name, "Service", SERVING)
    for rule in of_kind(name, "HTTPRoute")["sluice"]["spec"]["rules"]:
        seconds = services[function_of(rule)]["spec"]["template"]["spec"]["timeoutSeconds"]
        assert rule["timeouts"] == {"request": f"{seconds}s"}
