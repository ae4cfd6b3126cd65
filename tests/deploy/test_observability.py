"""The dashboard and the alerts: their form, their queries, and that each metric and label in them exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import promql_parser as promql
import pytest
import yaml
from support.deployment import ROOT, function_pods, of_kind
from support.schemas import errors

from functions.api.ocean import routes
from functions.instruments import OF_THE_RECORD, PUSHED, Instrument

FOLDER = ROOT / "k8s_install" / "observability"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
SERIES: dict[str, Instrument] = {name: each for each in (*OF_THE_RECORD, *PUSHED) for name in each.series}

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": "string", "pattern": "^([0-9]+(y|w|d|h|m|s|ms))+$"}
# What the operator's schema allows of a rule that alerts, and what we want of it beyond that.
RULE_SCHEMA = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PrometheusRule"},
        "metadata": {"type": "object", "required": ["name", "namespace", "labels"]},
        "spec": {
            "type": "object",
            "required": ["groups"],
            "additionalProperties": False,
            "properties": {
                "groups": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "rules"],
                        "additionalProperties": False,
                        "properties": {
                            "name": _TEXT,
                            "interval": _DURATION,
                            "rules": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "object",
                                    "required": ["alert", "expr", "labels", "annotations"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "alert": {"type": "string", "pattern": "^Sluice[A-Za-z]+$"},
                                        "expr": _TEXT,
                                        "for": _DURATION,
                                        "labels": {
                                            **_TEXTS,
                                            "required": ["severity"],
                                            "properties": {"severity": {"enum": ["critical", "warning", "info"]}},
                                        },
                                        "annotations": {**_TEXTS, "required": ["summary", "description"]},
                                    },
                                },
                            },
                        },
                    },
                }
            },
        },
    },
}
_POSITION = {"type": "object", "required": ["x", "y", "w", "h"], "additionalProperties": {"type": "integer"}}
_SOURCE = {"type": "object", "required": ["type", "uid"], "properties": {"uid": {"const": "${datasource}"}}}
PANEL_SCHEMA = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos"],
    "properties": {
        "id": {"type": "integer"},
        "type": {"enum": ["row", "stat", "timeseries"]},
        "title": _TEXT,
        "gridPos": _POSITION,
        "datasource": _SOURCE,
        "targets": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["refId", "expr", "datasource"], "properties": {"expr": _TEXT}},
        },
    },
    "if": {"properties": {"type": {"const": "row"}}},
    "else": {"required": ["targets", "datasource", "fieldConfig"]},
}
DASHBOARD_SCHEMA = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "schemaVersion": {"type": "integer", "minimum": 36},
        "panels": {"type": "array", "items": PANEL_SCHEMA},
        "templating": {"type": "object", "required": ["list"]},
    },
}
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in ALERTS["spec"]["groups"] for rule in group["rules"]]
EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES),
    *(pytest.param(t["expr"], id=f"{p['title']} {t['refId']}") for p in PANELS for t in p["targets"]),
]


def parsed(expression: str) -> Any:
    """The query as Prometheus' grammar has it, after Grafana has put in its variables."""
    return promql.parse(expression.replace("$__rate_interval", "5m").replace("$environment", ".*"))


def selectors(expression: str) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(parsed(expression), visit)
    return found


def labels_of(instrument: Instrument) -> set[str]:
    return {label.replace(".", "_") for label in instrument.labels} | {"le"}


def grouped(expression: str) -> Iterator[str]:
    for names in re.findall(r"\bby \(([^)]*)\)", expression):
        yield from (name.strip() for name in names.split(","))


def test_the_alerts_have_the_form_of_a_prometheus_rule() -> None:
    jsonschema.validate(ALERTS, RULE_SCHEMA)
    assert len({rule["alert"] for rule in RULES}) == len(RULES)


def test_the_dashboard_has_the_form_that_grafana_reads() -> None:
    jsonschema.validate(DASHBOARD, DASHBOARD_SCHEMA)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_no_two_panels_lie_on_each_other() -> None:
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_of_a_query_exists(expression: str) -> None:
    found = selectors(expression)
    assert found
    for selector in found:
        assert selector.name in SERIES
        assert {matcher.name for matcher in selector.matchers.matchers} <= labels_of(SERIES[selector.name])
    assert set(grouped(expression)) <= set().union(*(labels_of(SERIES[selector.name]) for selector in found))


def test_a_query_of_a_metric_that_does_not_exist_would_be_found() -> None:
    assert [each.name for each in selectors("rate(sluice_invented_total[5m])")] == ["sluice_invented_total"]
    assert "sluice_invented_total" not in SERIES
    with pytest.raises(ValueError, match="invalid"):
        parsed("sum by (rate(x[5m]))")


def test_every_metric_is_shown() -> None:
    shown = {selector.name for panel in PANELS for target in panel["targets"] for selector in selectors(target["expr"])}
    assert {each.name for each in SERIES.values()} == {SERIES[name].name for name in shown}


def test_a_metric_of_the_record_is_not_counted_once_per_process() -> None:
    """The sweep pushes it and a scraper reads it, so there may be several series of one value."""
    pushed = {name for each in PUSHED for name in each.series}
    for expression in (str(each.values[0]) for each in EXPRESSIONS):
        if not any(selector.name in pushed for selector in selectors(expression)):
            assert re.search(r"\b(max|min|absent)\b", expression), expression


def test_labels_of_an_alerts_text_come_from_its_query() -> None:
    for rule in RULES:
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= set(grouped(rule["expr"]))


def test_the_scrape_asks_the_route_with_a_bearer_token() -> None:
    (scrape,) = yaml.safe_load_all((FOLDER / "scrape.yaml").read_text())
    assert scrape["spec"]["metricsPath"] == routes.METRICS.path
    assert scrape["spec"]["authorization"]["credentials"].keys() == {"name", "key"}
    (target,) = scrape["spec"]["staticConfigs"][0]["targets"]
    assert target == f"{routes.METRICS.function}.sluice.svc.cluster.local"


def test_prometheus_may_call_the_pods_of_status_where_nothing_stands_before_them() -> None:
    (policy,) = yaml.safe_load_all((FOLDER / "scrape-ingress.yaml").read_text())
    assert errors(policy) == []
    pod = of_kind("eventing-only", "Deployment")["status"]
    assert policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    assert policy["spec"]["podSelector"] == pod["spec"]["selector"]
    (rule,) = policy["spec"]["ingress"]
    (port,) = function_pods("eventing-only")["status"]["containers"][0]["ports"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port["containerPort"]}]
    (own,) = of_kind("install", "NetworkPolicy")["functions"]["spec"]["ingress"]
    (known,) = own["from"]
    assert (
        known["namespaceSelector"]["matchExpressions"][0]["key"] in rule["from"][0]["namespaceSelector"]["matchLabels"]
    )


def test_the_functions_may_reach_the_collector() -> None:
    (policy,) = yaml.safe_load_all((FOLDER / "collector-egress.yaml").read_text())
    (own,) = (each for each in of_kind("install", "NetworkPolicy").values() if each["metadata"]["name"] == "functions")
    assert policy["metadata"]["namespace"] == own["metadata"]["namespace"]
    assert policy["spec"]["podSelector"] == own["spec"]["podSelector"]


def test_the_kustomization_names_every_file() -> None:
    plan = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    (generated,) = plan["configMapGenerator"]
    files = {*plan["resources"], *(each.partition("=")[2] for each in generated["files"]), "kustomization.yaml"}
    assert files == {path.name for path in FOLDER.iterdir()}
