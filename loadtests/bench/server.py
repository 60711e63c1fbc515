"""What the bench asks of a server under test: Dodona or a rival."""

from typing import Protocol as Shape

from loadtests.bodies import Row
from loadtests.h2load import Load
from loadtests.peers.peer import Protocol
from loadtests.processes import Usage


class Server(Shape):
    """A started server: Dodona or a rival."""

    name: str
    speaks: tuple[Protocol, ...]
    answers_vary: bool
    inspected: bool
    ready_s: float
    pids: dict[str, int]

    @property
    def grpc_address(self) -> str: ...
    @property
    def http_address(self) -> str: ...
    def load(self, protocol: Protocol, row: Row, connections: int, streams: int = 1) -> Load: ...
    def usage(self) -> Usage: ...
    def succeeded(self) -> int | None: ...
