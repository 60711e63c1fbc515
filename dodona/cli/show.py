"""How things look: rich for people, JSON with a stable schema for scripts."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from protos import admin_pb2

_WIDE: Final = 1000
_STYLES: Final = {"READY": "green", "LOADING": "yellow", "UNLOADING": "yellow", "UNAVAILABLE": "dim", "FAILED": "red"}


def console(*, error: bool = False) -> Console:
    """Lines are folded to the width of a terminal only: a file or a pipe gets them whole."""
    made = Console(stderr=error, highlight=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def print_json(value: object) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())


def state(text: str) -> str:
    return f"[{_STYLES.get(text, 'default')}]{text}[/]"


def table(columns: Iterable[str], rows: Sequence[Sequence[str]], wraps: Container[str] = ()) -> Table:
    """Cells are rich markup: escape what is not ours. They are never broken, but for those of the columns `wraps`,
    between words."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        widest = max((Text.from_markup(cell).cell_len for cell in (name, *(row[index] for row in rows))), default=0)
        made.add_column(name, no_wrap=name not in wraps, min_width=None if name in wraps else widest)
    for row in rows:
        made.add_row(*row)
    return made


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], sheds: Iterable[str] = (), wraps: Container[str] = ()
) -> int:
    """How many columns were printed: as many of `sheds` are left out, in that order, as are too many for the width.
    What is left and still too wide goes over the edge, where the terminal breaks it and nothing is lost."""
    out = console()
    whole, kept = list(rows), list(columns)
    for shed in (*sheds, None):
        made = table(kept, [[row[columns.index(name)] for name in kept] for row in whole], wraps)
        least = Measurement.get(out, out.options.update(width=_WIDE), made).minimum
        if shed is None or least <= out.width:
            break
        kept.remove(shed)
    out.width = max(out.width, least)
    out.print(made)
    return len(kept)


def print_models(models: Iterable[admin_pb2.ModelVersion]) -> None:
    print_table(
        ("model", "version", "framework", "state", "replicas", "requests", "failed", "waiting", "loaded in"),
        (
            (
                escape(model.name),
                escape(model.version) + (" *" if model.is_default else "") + _labels(model),
                escape(model.framework),
                state(model.state),
                str(model.replicas),
                str(model.succeeded + model.failed),
                f"[red]{model.failed}[/]" if model.failed else "0",
                str(model.pending),
                span(model.load_s) if model.load_s else "",
            )
            for model in models
        ),
        sheds=("loaded in", "waiting", "framework", "failed", "requests", "replicas"),
    )


def reasons(models: Iterable[admin_pb2.ModelVersion]) -> Iterator[str]:
    """A line for every version that has one: below the table, where there is room."""
    for model in models:
        if model.reason:
            version = f"/{model.version}" if model.version else ""
            yield f"{escape(model.name + version)} {state(model.state)}: {escape(model.reason)}"


def faults(workers: Iterable[admin_pb2.Worker]) -> Iterator[str]:
    """A line for every agent whose repository cannot be read: what serves goes on, what changes is not seen."""
    for worker in workers:
        if worker.fault:
            yield f"[red]{escape(worker.name)}: the repository cannot be read:[/] {escape(worker.fault)}"


def signatures(models: Iterable[admin_pb2.ModelVersion]) -> Iterator[str]:
    for model in models:
        if model.inputs or model.outputs:
            takes, gives = ", ".join(model.inputs), ", ".join(model.outputs)
            yield escape(f"{model.name}/{model.version} takes {takes}; gives {gives}")


def _labels(model: admin_pb2.ModelVersion) -> str:
    return f" [cyan]{escape(', '.join(model.labels))}[/]" if model.labels else ""


def print_workers(workers: Iterable[admin_pb2.Worker]) -> None:
    print_table(
        ("process", "role", "framework", "device", "pid", "connected", "models", "in flight", "metrics"),
        (
            (
                escape(worker.name) + (" [yellow]draining[/]" if worker.draining else ""),
                worker.role,
                worker.framework,
                worker.device,
                str(worker.pid),
                span(worker.connected_s),
                escape(", ".join(worker.models)),
                str(worker.in_flight),
                worker.metrics_address,
            )
            for worker in workers
        ),
        sheds=("metrics", "role", "device", "pid", "connected", "framework"),
        wraps=("models",),
    )


def span(seconds: float) -> str:
    """A duration for people: "0.8 s", "42 s", "3 min", "5 h", "2 d"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86_400, "d"), (3_600, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / (60 if unit == 'min' else size):.0f} {unit}"
    return f"{seconds:.0f} s"


def number(value: Any) -> str:
    """A cell of a table of predictions."""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def version_as_json(model: admin_pb2.ModelVersion) -> Mapping[str, object]:
    """Every field, whether set or not: a script must not look for keys in vain."""
    return {
        "name": model.name,
        "version": model.version,
        "framework": model.framework,
        "state": model.state,
        "reason": model.reason,
        "default": model.is_default,
        "labels": list(model.labels),
        "replicas": model.replicas,
        "pending": model.pending,
        "in_flight": model.in_flight,
        "succeeded": model.succeeded,
        "failed": model.failed,
        "inputs": list(model.inputs),
        "outputs": list(model.outputs),
        "load_s": model.load_s,
    }


def worker_as_json(worker: admin_pb2.Worker) -> Mapping[str, object]:
    return {
        "name": worker.name,
        "role": worker.role,
        "framework": worker.framework,
        "device": worker.device,
        "interpreter": worker.interpreter,
        "pid": worker.pid,
        "metrics_address": worker.metrics_address,
        "connected_s": worker.connected_s,
        "draining": worker.draining,
        "models": list(worker.models),
        "in_flight": worker.in_flight,
        "round_trip_s": worker.round_trip_s,
        "fault": worker.fault,
    }
