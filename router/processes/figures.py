"""The figures of a router's processes as those of one router: metrics and the protocol's statistics, added up.

A process is read as a whole (`Figures`), so that its figures belong together. Counters and histograms add up over the
processes; so do gauges, unless every process says the same of a shared thing. What a process that has ended had counted
stays in the sum (`Buried`), so no counter goes backwards when one is restarted. It stays as long as some process knows
the version that it is about: versions that come and go must not add up for ever.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson
from prometheus_client.core import Metric
from prometheus_client.registry import CollectorRegistry

from router.statistics import Statistics
from serving.spec import ModelSpec

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, str, Labels]
"""Family, sample, labels."""

_SHARED: Final = frozenset({"dodona_replicas", "dodona_link_peers", "python_info"})
"""Every process sees the same ones: the largest of what they say holds."""
_LEAST: Final = frozenset({"process_start_time_seconds", "process_max_fds"})
_COUNTED: Final = frozenset({"counter", "histogram"})


@dataclass(slots=True)
class Figures:
    """`families`: name -> (kind, text). `statistics`: of every version that is known, also of one without calls."""

    families: dict[str, tuple[str, str]] = field(default_factory=dict)
    samples: dict[Key, float] = field(default_factory=dict)
    statistics: dict[ModelSpec, Statistics] = field(default_factory=dict)

    def encode(self) -> bytes:
        return orjson.dumps(
            [
                self.families,
                [[*key, value] for key, value in self.samples.items()],
                [[spec.name, spec.version, one.columns()] for spec, one in self.statistics.items()],
            ]
        )

    @classmethod
    def decode(cls, body: bytes) -> "Figures":
        families, samples, statistics = orjson.loads(body)
        return cls(
            {name: (kind, text) for name, (kind, text) in families.items()},
            {
                (family, name, tuple((label, text) for label, text in labels)): value
                for family, name, labels, value in samples
            },
            {ModelSpec(name, version): Statistics.of_columns(columns) for name, version, columns in statistics},
        )

    def metrics(self) -> Iterator[Metric]:
        """In Prometheus' own form."""
        metrics = {name: Metric(name, text, kind) for name, (kind, text) in self.families.items()}
        for (family, name, labels), value in self.samples.items():
            metrics[family].add_sample(name, dict(labels), value)
        yield from metrics.values()


def read(registry: CollectorRegistry, statistics: Iterable[tuple[ModelSpec, Statistics]] = ()) -> Figures:
    """The figures of this process, now."""
    figures = Figures(statistics=dict(statistics))
    for metric in registry.collect():
        figures.families[metric.name] = (metric.type, metric.documentation)
        for sample in metric.samples:
            figures.samples[metric.name, sample.name, tuple(sample.labels.items())] = float(sample.value)
    return figures


class Buried:
    """What ended processes had counted."""

    def __init__(self) -> None:
        self._figures = Figures()

    def bury(self, last: Figures) -> None:
        """`last`: what the process said last."""
        counted = Figures(
            {name: family for name, family in last.families.items() if family[0] in _COUNTED},
            {key: value for key, value in last.samples.items() if last.families[key[0]][0] in _COUNTED},
            last.statistics,
        )
        self._figures = added([self._figures, counted])

    def with_living(self, living: Sequence[Figures]) -> Figures:
        """All of the router. Versions that nobody knows any more are forgotten, unless nobody knows any at all: then
        the processes have only just begun."""
        known = {spec for figures in living for spec in figures.statistics}
        if known:
            self._forget_all_but(known)
        total = added([self._figures, *living])
        total.statistics = {spec: one for spec, one in total.statistics.items() if spec in known}
        return total

    def _forget_all_but(self, known: set[ModelSpec]) -> None:
        self._figures.samples = {
            key: value
            for key, value in self._figures.samples.items()
            if (spec := _version_of(key)) is None or spec in known
        }
        self._figures.statistics = {spec: one for spec, one in self._figures.statistics.items() if spec in known}


def added(parts: Iterable[Figures]) -> Figures:
    """The sum, in the order in which series first appear."""
    total = Figures()
    for part in parts:
        total.families.update({name: one for name, one in part.families.items() if name not in total.families})
        for key, value in part.samples.items():
            before = total.samples.get(key)
            total.samples[key] = value if before is None else _one_of(key[0], before, value)
        for spec, statistics in part.statistics.items():
            total.statistics.setdefault(spec, Statistics()).add(statistics)
    return total


def _one_of(family: str, left: float, right: float) -> float:
    if family in _SHARED:
        return max(left, right)
    return min(left, right) if family in _LEAST else left + right


def _version_of(key: Key) -> ModelSpec | None:
    labels = dict(key[2])
    return ModelSpec(labels["model"], labels["version"]) if "model" in labels and "version" in labels else None
