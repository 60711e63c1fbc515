"""The demo's tables: what was predicted, and what the cluster's own metrics say about it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from examples.calls import Asked

_INPUT_WIDTH = 28

Samples = dict[tuple[str, str], float]
"""(name of the series, model) -> value, added up over the other labels."""


def predictions(asked: Sequence[Asked]) -> Table:
    table = Table(title="predictions", title_justify="left", title_style="bold")
    for name in ("model", "ver.", "framework", "over", "input", "prediction", "expected"):
        table.add_column(name)
    for name in ("latency", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    for answer in asked:
        trained = answer.trained
        truth = trained.truth[0]
        table.add_row(
            trained.name,
            answer.version,
            trained.framework,
            answer.protocol,
            _shown(trained.columns, trained.rows[0].tolist()),
            f"[{'green' if answer.answer == truth else 'red'}]{answer.answer}[/]",
            truth,
            f"{answer.latency_s * 1000:.2f} ms",
            f"{answer.accuracy:.1%} of {len(answer.answers)}",
        )
    return table


def _shown(columns: Sequence[str], values: Sequence[float]) -> str:
    """As many of the features that are not zero as fit on the line, at least one."""
    telling = [f"{name} {value:g}" for name, value in zip(columns, values, strict=True) if value]
    shown = telling[0]
    for text in telling[1:]:
        if len(shown) + len(text) > _INPUT_WIDTH:
            break
        shown += f", {text}"
    return f"{shown}, ..."


def scrape(addresses: Iterable[str]) -> Samples:
    """The series of all processes with a `model` label. Raises OSError."""
    samples: Samples = defaultdict(float)
    for address in addresses:
        with urlopen(f"http://{address.removeprefix('http://')}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if "model" in sample.labels and "le" not in sample.labels:
                    bad = sample.labels.get("status", "OK") != "OK"
                    samples[f"{sample.name}{'!' if bad else ''}", sample.labels["model"]] += sample.value
    return samples


def metrics(router: Samples, workers: Samples, models: Iterable[str]) -> Table:
    """What the router and the workers counted, a line a model."""
    table = Table(title="metrics (scraped from /metrics)", title_justify="left", title_style="bold")
    table.add_column("model")
    columns = ("requests", "failed", "mean time", "rows", "batches", "rows a batch", "mean run", "load")
    for name in columns:
        table.add_column(name, justify="right")
    for model in models:
        requests = router["dodona_requests_total", model]
        failed = router["dodona_requests_total!", model]
        batches = workers["dodona_batch_rows_count", model]
        rows = workers["dodona_batch_rows_sum", model]
        table.add_row(
            model,
            f"{requests:.0f}",
            f"{failed:.0f}",
            _mean_ms(router, "dodona_request_seconds", model),
            f"{rows:.0f}",
            f"{batches:.0f}",
            f"{rows / batches:.1f}" if batches else "-",
            _mean_ms(workers, "dodona_infer_seconds", model),
            f"{workers['dodona_load_seconds', model]:.2f} s",
        )
    return table


def _mean_ms(samples: Samples, name: str, model: str) -> str:
    count = samples[f"{name}_count", model]
    return f"{samples[f'{name}_sum', model] / count * 1000:.3f} ms" if count else "-"
