"""The status of several processes as that of one router."""

from collections.abc import Sequence

from protos import admin_pb2


def as_one(own: admin_pb2.StatusResponse, others: Sequence[admin_pb2.StatusResponse]) -> admin_pb2.StatusResponse:
    """`own` with what the others have in hand; workers and versions are the same ones, seen from several sides."""
    whole = admin_pb2.StatusResponse()
    whole.CopyFrom(own)
    whole.router = own.router
    peers = {(peer.name, peer.role): peer for peer in whole.workers}
    models = {(model.name, model.version): model for model in whole.models}
    listeners = {(listener.protocol, listener.address) for listener in whole.listeners}
    for other in others:
        whole.uptime_s = max(whole.uptime_s, other.uptime_s)
        whole.draining = whole.draining or other.draining
        whole.pending += other.pending
        whole.in_flight += other.in_flight
        for peer in other.workers:
            if (peer.name, peer.role) in peers:
                peers[peer.name, peer.role].in_flight += peer.in_flight
            else:  # still on its way to this process
                whole.workers.append(peer)
        for model in other.models:
            known = models.get((model.name, model.version))
            if known is None:
                whole.models.append(model)
                continue
            known.replicas = max(known.replicas, model.replicas)
            known.pending += model.pending
            known.in_flight += model.in_flight
            known.succeeded += model.succeeded
            known.failed += model.failed
        for listener in other.listeners:
            if (listener.protocol, listener.address) not in listeners:
                listeners.add((listener.protocol, listener.address))
                whole.listeners.append(listener)
    return whole
