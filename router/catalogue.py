"""What can be called: the versions that workers announced, and what agents say of those that are not ready.

State changes are plain synchronous methods (`announce`, `leave`, `set_index`); each returns nothing and drops the cache
of resolved names, so that the hot path is one dictionary look-up.

A version is known while a worker serves it or an agent wants it. A pool without replicas stays as long as an agent
says that its version is on its way (its requests wait), or while no agent is connected to say otherwise. A router that
has just started knows nothing because nobody has dialled it yet; until then (`complete`) nothing is called unknown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from protos import link_pb2
from router.metrics import RouterMetrics
from router.policy.fair import Shares
from router.policy.replies import Replies
from router.policy.selection import STABLE, choose_version
from router.pool import Pool, Seat
from router.replica import Replica
from router.served import Served, served_of
from serving.errors import ModelNotFound, Unavailable
from serving.link.words import state_of
from serving.spec import ModelSpec, State, version_key

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
    def __init__(self, metrics: RouterMetrics, shares: Shares | None = None, replies: Replies | None = None) -> None:
        self._metrics = metrics
        self._shares = shares
        self._replies = replies or Replies(0)
        self._pools: dict[str, dict[str, Pool]] = {}
        self._indexes: dict[str, list[IndexEntry]] = {}
        self._entries: dict[str, list[IndexEntry]] = {}
        """Model name -> what all agents say of it."""
        self._resolved: dict[tuple[str, str], Pool] = {}
        self.complete = True
        """False while peers may still be on their way to a router that has just started."""

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

    def holds(self, pool: Pool) -> bool:
        """Whether the pool can still get replicas; False once it was forgotten."""
        return self._pools.get(pool.spec.name, {}).get(pool.spec.version) is pool

    def pools(self) -> list[Pool]:
        return [pool for versions in self._pools.values() for pool in versions.values()]

    def index(self, ready_only: bool = False) -> list[IndexEntry]:
        """Every version that is served or that an agent knows of, by name and age."""
        entries = {(entry.name, entry.version): entry for known in self._entries.values() for entry in known}
        for pool in self.pools():
            key = (pool.spec.name, pool.spec.version)
            known = entries.get(key)
            framework = pool.served.framework if pool.served else known.framework if known else ""
            if pool.ready:
                # An agent may say of what serves that its files can no longer be loaded: people must see that.
                reason = known.reason if known and known.state is State.READY else ""
                entries[key] = IndexEntry(*key, State.READY, reason, framework, known.labels if known else {})
            elif known is None or known.state is State.READY:
                entries[key] = IndexEntry(*key, State.UNAVAILABLE, "no replica is connected", framework)
        chosen = [entry for entry in entries.values() if not ready_only or entry.state is State.READY]
        return sorted(chosen, key=lambda entry: (entry.name, version_key(entry.version)))

    def labels(self, name: str) -> Mapping[str, str]:
        """Label -> version. What agents read in model.yaml now wins over what a worker read when it loaded."""
        known = self._entries.get(name, ())
        if known:
            return next((entry.labels for entry in known if entry.labels), {})
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
        new = [
            self._add_seat(replica, handle, served_of(announced[handle]))
            for handle in announced
            if handle not in replica.seats
        ]
        for pool in dict.fromkeys([seat.pool for seat in (*lost, *new)]):
            pool.replicas_changed(self._replies)
        self._settle()
        return [seat.pool for seat in lost]

    def leave(self, replica: Replica) -> list[Pool]:
        """The replica takes no more work. Returns the pools that lost it."""
        return self.announce(replica, ())

    def set_index(self, agent: str, index: link_pb2.Index) -> None:
        self.complete = True
        self._indexes[agent] = [
            IndexEntry(
                entry.name,
                entry.version,
                state_of(entry.state),
                entry.reason,
                entry.framework,
                dict(entry.labels),
            )
            for entry in index.entries
        ]
        for entry in self._indexes[agent]:
            if entry.version and entry.state in _ON_ITS_WAY:
                self._pool_of(ModelSpec(entry.name, entry.version))
        self._gather()

    def agent_left(self, agent: str) -> None:
        """Its last word on what is wanted no longer counts; replicas that still serve go on."""
        self._indexes.pop(agent, None)
        self._gather()

    def orphans(self) -> list[Pool]:
        """Pools that nobody serves and no agent wants: their waiting requests are to be refused, then `forget`."""
        if not self._indexes:
            return []
        return [pool for pool in self.pools() if not pool.ready and not self._on_its_way(pool.spec)]

    def forget(self, pool: Pool) -> None:
        versions = self._pools[pool.spec.name]
        del versions[pool.spec.version]
        if not versions:
            del self._pools[pool.spec.name]
        self._settle()

    def reason(self, name: str, version: str) -> str:
        """Why a version is not ready, in the agent's words; empty if nobody says."""
        for entry in self._entries.get(name, ()):
            if entry.version in (version, "") and entry.state is not State.READY:
                return entry.reason or entry.state.value.lower()
        return ""

    # Inside.

    def _gather(self) -> None:
        self._entries = {}
        for entries in self._indexes.values():
            for entry in entries:
                self._entries.setdefault(entry.name, []).append(entry)
        self._settle()

    def _on_its_way(self, spec: ModelSpec) -> bool:
        known = self._entries.get(spec.name, ())
        return any(entry.version == spec.version and entry.state in _ON_ITS_WAY for entry in known)

    def _settle(self) -> None:
        self._resolved.clear()

    def _pool_of(self, spec: ModelSpec) -> Pool:
        versions = self._pools.setdefault(spec.name, {})
        pool = versions.get(spec.version)
        if pool is None:
            pool = versions[spec.version] = Pool(spec, self._metrics, self._shares)
        return pool

    def _add_seat(self, replica: Replica, handle: int, served: Served) -> Seat:
        pool = self._pool_of(served.spec)
        pool.served = served
        seat = Seat(pool, replica, handle, served.sharing)
        replica.seats[handle] = seat
        pool.seats.append(seat)
        return seat

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
        label = self.labels(name).get(version or STABLE, "")
        entries = self._entries.get(name, ())
        for entry in entries:
            if entry.version in (version, label, "") or (not version and not label):
                return Unavailable(
                    f"model {name} version {entry.version or 'any'} is {entry.state.value.lower()}: {entry.reason}",
                    remedy="`dodona models` shows the state of every model",
                )
        if not self.complete:
            return Unavailable(
                f"model {name!r} version {version or 'any'} is not known yet: this router has just started",
                remedy="try again in a moment, or another router",
            )
        if not entries and name not in self._pools:
            return ModelNotFound(f"unknown model {name!r}", field="model_name", remedy=self._names())
        known = ", ".join(self.versions(name)) or "none"
        if label:
            return ModelNotFound(
                f"label {version or STABLE!r} of model {name!r} names version {label!r}, which is not there",
                field="model_version",
                remedy=f"ready versions: {known}; mend the label in model.yaml",
            )
        return ModelNotFound(
            f"model {name!r} has no version or label {version or STABLE!r}",
            field="model_version",
            remedy=f"ready versions: {known}; leave it empty for the default",
        )

    def _names(self) -> str:
        names = sorted(self._pools)
        shown = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
        return f"known models: {shown}" if names else "no model is loaded, `dodona models` shows why"
