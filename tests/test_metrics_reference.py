"""docs/reference/metrics.md lists what the processes export, no more and no less."""

import re
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily

from router.metrics import RouterMetrics
from router.processes.exposition import ParentMetrics, add_balance
from router.processes.figures import Figures
from serving.metrics import Metrics
from serving.worker.metrics import WorkerMetrics

PAGE = Path(__file__).parent.parent / "docs/reference/metrics.md"


def documented(section: str) -> dict[str, tuple[str, list[str]]]:
    text = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    rows = next(part for part in text if part.startswith(section))
    found = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \|", rows, flags=re.MULTILINE)
    return {name: (kind, labels.split(", ") if labels else []) for name, kind, labels in found}


def exported(metrics: Metrics) -> dict[str, tuple[str, list[str]]]:
    labels = {
        family.name.removesuffix("_total"): list(family.label_names)
        for families in (metrics._counters, metrics._untyped, metrics._gauges, metrics._histograms)
        for family in families
    }
    return {
        metric.name + ("_total" if isinstance(metric, CounterMetricFamily) else ""): (metric.type, labels[metric.name])
        for metric in metrics.collect()
    }


@pytest.mark.parametrize(
    ("section", "metrics"), [("Router", RouterMetrics().metrics), ("Workers", WorkerMetrics().all)]
)
def test_page_and_processes_agree(section: str, metrics: Metrics) -> None:
    """Names, kinds and labels are a contract with dashboards."""
    assert documented(section) == exported(metrics)


def test_several_processes_and_the_page_agree() -> None:
    """Also of what the parent adds to the figures of its processes."""
    balance = Figures()
    add_balance(balance, {})
    added = {
        name + ("_total" if kind == "counter" else ""): (kind, ["process"])
        for name, (kind, _) in balance.families.items()
    }
    assert documented("Several router processes") == {**exported(ParentMetrics().metrics), **added}
