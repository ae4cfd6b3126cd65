"""GET /metrics: what a scraper reads, and who may read it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.api import ADMIN, Api, app

from functions.engine.gauges import measured
from functions.instruments import OF_THE_RECORD, PUSHED, WORKFLOWS, Kind, Measurement
from functions.status.metrics import text

BEARER = {"Authorization": "Bearer myAdminPass"}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(app(results_url=f"file://{tmp_path}"))


def scraped(api: Api) -> dict[str, dict[tuple[str, ...], float]]:
    """The values by metric and labels, as Prometheus' own parser reads them."""
    answered = api.status.get("/metrics", headers=BEARER)
    assert (answered.status_code, answered.headers["Content-Type"]) == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
    )
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(answered.text)
    }


def test_workflows_are_counted_by_environment_and_phase(api: Api) -> None:
    api.start()
    api.app.clock.pass_(seconds=90)  # type: ignore[attr-defined]
    found = scraped(api)
    assert found["sluice_workflows"]["ocean-compute", "configure"] == 1
    assert found["sluice_workflows"]["ocean-compute", "algorithm"] == 0
    assert found["sluice_oldest_workflow_age_seconds"]["ocean-compute", "configure"] == 90
    assert found["sluice_oldest_workflow_age_seconds"]["mainnet", "queued"] == 0
    assert found["sluice_environment_slots"]["ocean-compute",] == 4


def test_dead_letters_and_the_tick_are_shown(api: Api) -> None:
    api.app.store.add_dead_letter("1", "why", {}, api.app.clock())
    found = scraped(api)
    assert (found["sluice_dead_letters"][()], found["sluice_freezes"][()]) == (1, 0)
    assert found["sluice_tick_level"][()] == 0
    assert found["sluice_open_effects"]["events",] == 0
    assert "sluice_hold_remaining_seconds" not in found


def test_every_metric_of_the_record_is_documented_once_and_described(api: Api) -> None:
    answered = api.status.get("/metrics", headers=BEARER).text
    names = re.findall(r"# TYPE (\S+) gauge", answered)
    assert len(names) == len(set(names))
    assert set(names) | {"sluice_hold_remaining_seconds"} == {each.prometheus for each in OF_THE_RECORD}


def test_measurements_have_the_labels_of_their_instruments(api: Api) -> None:
    api.start()
    for each in measured(api.app):
        assert tuple(each.labels) == each.instrument.labels


def test_names_follow_the_conventions() -> None:
    for each in (*OF_THE_RECORD, *PUSHED):
        assert re.fullmatch(r"[a-z][a-z_]*(\.[a-z_]+)+", each.name)
        assert each.prometheus.endswith("_total") == (each.kind is Kind.COUNTER)
        assert each.prometheus.endswith("_seconds") == (each.unit == "s")
        assert each.meaning.endswith(".")


def test_a_label_with_special_characters_is_escaped() -> None:
    _, line = text([Measurement(WORKFLOWS, 1, {"environment": 'a"b\\c\nd'})])
    assert line.strip() == 'sluice_workflows{environment="a\\"b\\\\c\\nd"} 1'


def test_an_operator_reads_metrics_with_the_admin_header_too(api: Api) -> None:
    assert api.status.get("/metrics", headers=ADMIN).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 400), ({"Authorization": "Bearer wrong"}, 401), ({"Authorization": "Bearer"}, 400), ({"Admin": "x"}, 401)],
)
def test_others_read_nothing(api: Api, headers: dict[str, str], status: int) -> None:
    answered = api.status.get("/metrics", headers=headers)
    assert answered.status_code == status
    assert "sluice_" not in answered.text
