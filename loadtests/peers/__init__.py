"""The rivals, one file each; `served/` is what runs in their processes."""

from loadtests.peers import bentoml, fastapi, grpc_aio, kserve, litserve, mlserver, ray_serve, triton
from loadtests.peers.peer import Peer

PEERS: dict[str, Peer] = {
    module.PEER.name: module.PEER
    for module in (triton, mlserver, kserve, grpc_aio, fastapi, litserve, bentoml, ray_serve)
}
