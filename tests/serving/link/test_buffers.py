import asyncio
import socket

from serving.link.buffers import widen


def send_buffer(link: socket.socket) -> int:
    return link.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


def test_unix_sockets_take_more_at_once() -> None:
    """As much as the kernel allows, and TCP is left to itself."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        before = send_buffer(theirs)
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        widen(transport)
        assert send_buffer(ours) >= before
        transport.close()
        theirs.close()

    asyncio.run(run())
