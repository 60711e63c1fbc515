"""Who is connected over the link: replicas and agents by name, and what happens when they come, speak and go.

Pure state and synchronous steps; the sockets are in `router.link.server`.
"""

from protos import admin_pb2, link_pb2
from router.catalogue import Catalogue
from router.control.operators import Operators, Write
from router.dispatcher import Dispatcher
from router.metrics import RouterMetrics
from router.replica import Replica
from serving.link.framing import LinkError, cut


class Agent:
    __slots__ = ("connected_at", "fault", "hello", "name", "round_trip_s")

    def __init__(self, hello: link_pb2.Hello, connected_at: float) -> None:
        self.hello = hello
        self.name = hello.name
        self.connected_at = connected_at
        self.round_trip_s = 0.0
        self.fault = ""
        """Why its repository cannot be read now."""


class Peers:
    def __init__(
        self, catalogue: Catalogue, dispatcher: Dispatcher, operators: Operators, metrics: RouterMetrics
    ) -> None:
        self._catalogue = catalogue
        self._dispatcher = dispatcher
        self._operators = operators
        self._replicas: dict[str, Replica] = {}
        self._agents: dict[str, Agent] = {}
        metrics.peers.labels("worker").source = lambda: len(self._replicas)
        metrics.peers.labels("agent").source = lambda: len(self._agents)

    def joined(self, peer: Replica | Agent, write: Write) -> None:
        if isinstance(peer, Replica):
            self._replicas[peer.name] = peer
        else:
            self._agents[peer.name] = peer
            self._operators.joined(peer.name, write)

    def left(self, peer: Replica | Agent) -> None:
        """The connection is gone, by either side's wish or by accident."""
        if isinstance(peer, Replica):
            if self._replicas.get(peer.name) is peer:
                del self._replicas[peer.name]
            self._dispatcher.on_lost(peer)
        elif self._agents.get(peer.name) is peer:
            del self._agents[peer.name]
            self._operators.left(peer.name)
            self._catalogue.agent_left(peer.name)
        self._dispatcher.sweep()

    def heard(self, peer: Replica | Agent, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        """One frame from a peer that has said Hello. Raises LinkError where the frame is not for its role."""
        if isinstance(peer, Replica):
            self._from_replica(peer, envelope, payload)
        else:
            self._from_agent(peer, envelope)

    def _from_replica(self, replica: Replica, envelope: link_pb2.Envelope, payload: memoryview) -> None:
        frame = envelope.WhichOneof("frame")
        if frame == "results":
            results = envelope.results
            self._dispatcher.on_results(replica, results, cut(payload, results.sizes))
        elif frame == "credit":
            seat = replica.seats.get(envelope.credit.handle)
            if seat is not None:
                seat.window_rows = envelope.credit.window_rows
                self._dispatcher.refill(seat.pool)
        elif frame == "models":
            self._catalogue.announce(replica, () if replica.draining else envelope.models.models)
            self._dispatcher.sweep()
        elif frame == "draining":
            replica.draining = True
            self._catalogue.leave(replica)
            self._dispatcher.sweep()
        else:
            raise LinkError(f"frame {frame!r} is not for a worker to send")

    def _from_agent(self, agent: Agent, envelope: link_pb2.Envelope) -> None:
        frame = envelope.WhichOneof("frame")
        if frame == "index":
            agent.fault = envelope.index.fault
            self._catalogue.set_index(agent.name, envelope.index)
            self._dispatcher.sweep()
        elif frame == "control_result":
            self._operators.outcome(envelope.control_result)
        else:
            raise LinkError(f"frame {frame!r} is not for an agent to send")

    def status(self, now: float) -> list[admin_pb2.Worker]:
        peers: list[Replica | Agent] = [*self._replicas.values(), *self._agents.values()]
        return [_row(peer, now) for peer in peers]


def _row(peer: Replica | Agent, now: float) -> admin_pb2.Worker:
    hello = peer.hello
    row = admin_pb2.Worker(
        name=peer.name,
        role="worker" if isinstance(peer, Replica) else "agent",
        framework=hello.framework,
        device=hello.device,
        interpreter=hello.interpreter,
        pid=hello.pid,
        metrics_address=hello.metrics_address,
        connected_s=now - peer.connected_at,
        round_trip_s=peer.round_trip_s,
    )
    if isinstance(peer, Replica):
        row.draining = peer.draining
        row.models.extend(str(seat.pool.spec) for seat in peer.seats.values())
        row.in_flight = len(peer.in_flight)
    else:
        row.fault = peer.fault
    return row
