"""Dodona itself, in the form that the bench measures: a whole cluster, router and one worker, with its defaults."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtests.bodies import grpc_load, json_load, rest_load
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

    def load(self, protocol: Protocol, row: Sequence[float], connections: int, streams: int = 1) -> Load:
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
def started(repository: Path, work: Path, front: str) -> Iterator[Dodona]:
    """Serve the repository for as long as the block lasts."""
    with subject(work, front, repository=repository) as under:
        yield Dodona(under)
