"""A workflow on the laptop, with real functions, events and processes, is one trace at a real receiver."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.laptop import Laptop, document
from support.otlp_receiver import receiving

pytestmark = pytest.mark.xdist_group("e2e")


def test_all_stages_and_functions_are_in_one_trace(tmp_path: Path) -> None:
    with receiving() as receiver:
        laptop = Laptop(tmp_path / "platform", f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.url}")
        laptop.start()
        try:
            job = laptop.submit(document("sleep 0.3; echo done"))
            assert laptop.finished(job)["status"] == 70
            root = receiver.wait_for("workflow")
            for name in ("POST /api/v1/operator/compute", "queue", "configure", "algorithm", "publish"):
                assert receiver.wait_for(name).trace_id == root.trace_id
            algorithm = receiver.wait_for("algorithm")
        finally:
            laptop.kill_everything()
    # The events of Pods carry the context of their attempt; those of ticks carry none.
    assert root.trace_id in {span.trace_id for span in receiver.named("POST /")}
    (run,) = [span for span in receiver.named("run") if span.parent == algorithm.span_id]
    assert (run.ended - run.began).total_seconds() > 0.2
    assert root.began <= algorithm.began <= run.began <= run.ended <= root.ended
