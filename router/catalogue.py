"""What can be called: the versions that workers announced, and what agents say of those that are not ready.

State changes are plain synchronous methods (`announce`, `leave`, `set_index`); each returns nothing and drops the cache
of resolved names, so that the hot path is one dictionary look-up.

A version is known while a worker serves it or an agent wants it. A pool without replicas stays as long as an agent
says that its version is on its way (its requests wait), or while no agent is connected to say otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from protos import link_pb2
from router.metrics import RouterMetrics
from router.policy.fair import Shares
from router.policy.selection import choose_version
from router.pool import Pool, Seat
from router.replica import Replica
from router.served import Served, served_of
from serving.errors import ModelNotFound, Unavailable
from serving.spec import ModelSpec, State, version_key

_STATES = {
    link_pb2.STATE_UNAVAILABLE: State.UNAVAILABLE,
    link_pb2.STATE_LOADING: State.LOADING,
    link_pb2.STATE_READY: State.READY,
    link_pb2.STATE_UNLOADING: State.UNLOADING,
    link_pb2.STATE_FAILED: State.FAILED,
}
_ON_ITS_WAY = (State.LOADING, State.READY)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    name: str
    version: str
    """Empty where the model's folder itself is at fault."""
    state: State
    reason: str
    framework: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Catalogue:
    def __init__(self, metrics: RouterMetrics, shares: Shares | None = None) -> None:
        self._metrics = metrics
        self._shares = shares
        self._pools: dict[str, dict[str, Pool]] = {}
        self._indexes: dict[str, list[IndexEntry]] = {}
        self._resolved: dict[tuple[str, str], Pool] = {}

    # What edges ask.

    def pool(self, name: str, version: str = "") -> Pool:
        """The pool that answers. Raises ModelNotFound, or Unavailable where the version is known but cannot be."""
        pool = self._resolved.get((name, version))
        if pool is None:
            pool = self._resolved[name, version] = self._resolve(name, version)
        return pool

    def described(self, name: str, version: str = "") -> Served:
        """Raises as `pool` does, and Unavailable while the first replica is still loading."""
        pool = self.pool(name, version)
        if pool.served is None:
            raise Unavailable(f"model {pool.spec} is still loading", remedy="try again in a moment")
        return pool.served

    def is_ready(self, name: str, version: str = "") -> bool:
        try:
            return self.pool(name, version).ready
        except (ModelNotFound, Unavailable):
            return False

    def versions(self, name: str) -> list[str]:
        """Ready versions, oldest first."""
        pools = self._pools.get(name, {})
        return sorted((version for version, pool in pools.items() if pool.ready), key=version_key)

    def pools(self) -> list[Pool]:
        return [pool for versions in self._pools.values() for pool in versions.values()]

    def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """Every version that is served or that an agent knows of, by name and age."""
        entries = {(entry.name, entry.version): entry for entry in self._entries()}
        for pool in self.pools():
            key = (pool.spec.name, pool.spec.version)
            known = entries.get(key)
            framework = pool.served.framework if pool.served else known.framework if known else ""
            if pool.ready:
                entries[key] = IndexEntry(*key, State.READY, "", framework, known.labels if known else {})
            elif known is None or known.state is State.READY:
                entries[key] = IndexEntry(*key, State.UNAVAILABLE, "no replica is connected", framework)
        chosen = [entry for entry in entries.values() if not ready_only or entry.state is State.READY]
        return sorted(chosen, key=lambda entry: (entry.name, version_key(entry.version)))

    def labels(self, name: str) -> Mapping[str, str]:
        """Label -> version. What agents read in model.yaml now wins over what a worker read when it loaded."""
        for entry in self._entries():
            if entry.name == name and entry.labels:
                return entry.labels
        if any(entry.name == name for entry in self._entries()):
            return {}
        served = [pool.served for pool in self._pools.get(name, {}).values() if pool.served]
        newest = max(served, key=lambda one: version_key(one.spec.version), default=None)
        return newest.labels if newest else {}

    # What workers and agents say.

    def announce(self, replica: Replica, models: Iterable[link_pb2.Model]) -> list[Pool]:
        """The replica's whole set, replacing what it announced before. Returns the pools that lost it."""
        announced = {model.handle: model for model in models}
        lost = [seat for handle, seat in replica.seats.items() if handle not in announced]
        for seat in lost:
            self._remove_seat(seat)
        for handle, model in announced.items():
            if handle not in replica.seats:
                self._add_seat(replica, handle, served_of(model))
        self._settle()
        return [seat.pool for seat in lost]

    def leave(self, replica: Replica) -> list[Pool]:
        """The replica takes no more work. Returns the pools that lost it."""
        return self.announce(replica, ())

    def set_index(self, agent: str, index: link_pb2.Index) -> None:
        self._indexes[agent] = [
            IndexEntry(
                entry.name,
                entry.version,
                _STATES.get(entry.state, State.UNAVAILABLE),
                entry.reason,
                entry.framework,
                dict(entry.labels),
            )
            for entry in index.entries
        ]
        for entry in self._indexes[agent]:
            if entry.version and entry.state in _ON_ITS_WAY:
                self._pool_of(ModelSpec(entry.name, entry.version))
        self._settle()

    def agent_left(self, agent: str) -> None:
        """Its last word on what is wanted no longer counts; replicas that still serve go on."""
        self._indexes.pop(agent, None)
        self._settle()

    def orphans(self) -> list[Pool]:
        """Pools that nobody serves and no agent wants: their waiting requests are to be refused, then `forget`."""
        if not self._indexes:
            return []
        wanted = {(entry.name, entry.version) for entry in self._entries() if entry.state in _ON_ITS_WAY}
        return [pool for pool in self.pools() if not pool.ready and (pool.spec.name, pool.spec.version) not in wanted]

    def forget(self, pool: Pool) -> None:
        versions = self._pools[pool.spec.name]
        del versions[pool.spec.version]
        if not versions:
            del self._pools[pool.spec.name]
        self._metrics.forget(pool.spec)
        self._settle()

    def reason(self, name: str, version: str) -> str:
        """Why a version is not ready, in the agent's words; empty if nobody says."""
        for entry in self._entries():
            if entry.name == name and entry.version in (version, "") and entry.state is not State.READY:
                return entry.reason or entry.state.value.lower()
        return ""

    # Inside.

    def _entries(self) -> Iterator[IndexEntry]:
        for entries in self._indexes.values():
            yield from entries

    def _settle(self) -> None:
        self._resolved.clear()

    def _pool_of(self, spec: ModelSpec) -> Pool:
        versions = self._pools.setdefault(spec.name, {})
        pool = versions.get(spec.version)
        if pool is None:
            pool = versions[spec.version] = Pool(spec, self._metrics, self._shares)
        return pool

    def _add_seat(self, replica: Replica, handle: int, served: Served) -> None:
        pool = self._pool_of(served.spec)
        pool.served = served
        seat = Seat(pool, replica, handle)
        replica.seats[handle] = seat
        pool.seats.append(seat)

    @staticmethod
    def _remove_seat(seat: Seat) -> None:
        del seat.replica.seats[seat.handle]
        seat.pool.seats.remove(seat)

    def _resolve(self, name: str, version: str) -> Pool:
        pools = self._pools.get(name, {})
        chosen = choose_version(version, {key: pool.ready for key, pool in pools.items()}, self.labels(name))
        if chosen is not None:
            return pools[chosen]
        raise self._missing(name, version)

    def _missing(self, name: str, version: str) -> ModelNotFound | Unavailable:
        label = self.labels(name).get(version or "stable", "")
        entries = [entry for entry in self._entries() if entry.name == name]
        for entry in entries:
            if not version or entry.version in (version, label, ""):
                return Unavailable(
                    f"model {name} version {entry.version or 'any'} is {entry.state.value.lower()}: {entry.reason}",
                    remedy="`dodona models` shows the state of every model",
                )
        if not entries and name not in self._pools:
            return ModelNotFound(f"unknown model {name!r}", field="model_name", remedy=self._names())
        known = ", ".join(self.versions(name)) or "none"
        return ModelNotFound(
            f"model {name!r} has no version or label {version or 'stable'!r}",
            field="model_version",
            remedy=f"ready versions: {known}; leave it empty for the default",
        )

    def _names(self) -> str:
        names = sorted(self._pools)
        shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
        return f"known models: {shown}" if names else "no model is loaded, `dodona models` shows why"
