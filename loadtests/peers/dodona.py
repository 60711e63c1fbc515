"""Dodona itself, in the form that the bench measures: a whole cluster, router and one worker, with its defaults."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtests.bench.trial import Trial
from loadtests.bodies import Row, grpc_load, json_load, rest_load
from loadtests.h2load import Load
from loadtests.peers.peer import Protocol
from loadtests.processes import Usage
from loadtests.subject import Subject, subject

NAME = "dodona"
TITLE = "Dodona"
SETTINGS = "router and worker of `dodona up`, all settings at their defaults; the routing hop is in the figures"


class Dodona:
    """A started cluster."""

    name = NAME
    speaks: tuple[Protocol, ...] = ("grpc", "binary", "json")
    answers_vary = False
    inspected = True

    def __init__(self, under: Subject) -> None:
        self._under = under
        self.ready_s = under.ready_s
        self.pids = under.cluster.pids

    @property
    def grpc_address(self) -> str:
        return self._under.cluster.grpc_address

    @property
    def http_address(self) -> str:
        return self._under.cluster.http_address

    def load(self, protocol: Protocol, row: Row, connections: int, streams: int = 1) -> Load:
        """Raises ValueError for a protocol that it does not speak."""
        model = self._under.model
        match protocol:
            case "grpc":
                return grpc_load(self.grpc_address, model, row, connections=connections, streams=streams)
            case "binary":
                return rest_load(self.http_address, model, row, connections=connections)
            case "json":
                return json_load(self.http_address, model, row, connections=connections)
            case "instances":
                raise ValueError("the router speaks the protocol's JSON")

    def usage(self) -> Usage:
        return self._under.usage()

    def succeeded(self) -> int | None:
        """Requests answered rightly so far, by the router's count."""
        return self._under.succeeded()[0]


@contextmanager
def started(trial: Trial, work: Path, front: str, settings: Mapping[str, Any] | None = None) -> Iterator[Dodona]:
    """Serve the trial's model for as long as the block lasts. `settings`: those that are not to be at their defaults,
    in the form of dodona.yaml."""
    with subject(work, front, repository=trial.repository, model=trial.model.name, settings=settings) as under:
        yield Dodona(under)
