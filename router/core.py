"""Everything an edge may ask of the router."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from protos import admin_pb2
from router.catalogue import Catalogue, IndexEntry
from router.control.operators import Operators
from router.dispatcher import Dispatcher
from router.link.peers import Peers
from router.metrics import RouterMetrics
from router.pool import Pool
from router.settings import RouterSettings
from router.shared_memory import SharedRegions
from router.tracing import Tracer
from router.whole import Alone, Whole
from serving.spec import State

_STARTING = (State.LOADING,)


@dataclass(slots=True)
class Core:
    settings: RouterSettings
    catalogue: Catalogue
    dispatcher: Dispatcher
    operators: Operators
    peers: Peers
    shared_memory: SharedRegions
    metrics: RouterMetrics
    clock: Callable[[], float]
    """Event-loop time, seconds."""
    started_at: float
    tracer: Tracer | None = None
    """None where tracing is off."""
    listeners: dict[str, str] = field(default_factory=dict)
    """Protocol -> bound address."""
    whole: Whole = field(default_factory=Alone)
    """The router's other processes."""

    @property
    def tenant_header(self) -> bytes:
        """As REST names it."""
        return self.settings.fairness.tenant_header.encode()

    @property
    def live(self) -> bool:
        return True

    @property
    def ready(self) -> bool:
        """Of all the router's processes: listening, not draining, some model known, none of those known on its way."""
        return self.ready_itself and self.whole.others_ready

    @property
    def ready_itself(self) -> bool:
        if self.dispatcher.draining or "grpc" not in self.listeners:
            return False
        entries = self.catalogue.index()
        return bool(entries) and all(entry.state not in _STARTING for entry in entries)

    def status(self) -> admin_pb2.StatusResponse:
        now = self.clock()
        return admin_pb2.StatusResponse(
            router=self.settings.name,
            version=version("dodona"),
            uptime_s=now - self.started_at,
            draining=self.dispatcher.draining,
            workers=self.peers.status(now),
            models=self._models(),
            listeners=[admin_pb2.Listener(protocol=name, address=at) for name, at in self.listeners.items()],
            pending=sum(pool.pending for pool in self.catalogue.pools()),
            in_flight=self.dispatcher.in_flight,
        )

    def _models(self) -> list[admin_pb2.ModelVersion]:
        pools = {(pool.spec.name, pool.spec.version): pool for pool in self.catalogue.pools()}
        return [self._model(entry, pools.get((entry.name, entry.version))) for entry in self.catalogue.index()]

    def _model(self, entry: IndexEntry, pool: Pool | None) -> admin_pb2.ModelVersion:
        labels = self.catalogue.labels(entry.name)
        row = admin_pb2.ModelVersion(
            name=entry.name,
            version=entry.version,
            framework=entry.framework,
            state=entry.state.value,
            reason=entry.reason,
            labels=_labels_of(labels, entry.version),
        )
        if pool is not None:
            self._add_figures(row, pool)
        return row

    def _add_figures(self, row: admin_pb2.ModelVersion, pool: Pool) -> None:
        row.replicas = pool.replicas
        row.is_default = self.catalogue.is_ready(row.name) and self.catalogue.pool(row.name) is pool
        row.pending = pool.pending
        row.in_flight = pool.in_flight
        row.succeeded = pool.statistics.succeeded
        row.failed = pool.statistics.failed
        if pool.served is not None:
            row.inputs.extend(map(str, pool.served.signature.inputs))
            row.outputs.extend(map(str, pool.served.signature.outputs))
            row.load_s = pool.served.load_s


def _labels_of(labels: Mapping[str, str], wanted: str) -> list[str]:
    return sorted(label for label, target in labels.items() if target == wanted)
