"""What a parent and its processes say to each other."""

import asyncio
import socket

import pytest

from router.processes.channel import Channel, Gone, Word, frame, joined, parted, read_first


async def silent(_: Word, __: bytes) -> bytes:
    return await asyncio.get_running_loop().create_future()


async def shouted(_: Word, body: bytes) -> bytes:
    return body.upper()


def deaf(_: Word, __: bytes) -> None:
    pass


async def pair(left: Channel, right: Channel) -> None:
    for channel, end in zip((left, right), socket.socketpair(), strict=True):
        await channel.open(end)


def test_both_ask_and_answer():
    """Answers find their asks, large ones too, whoever asked."""

    async def scenario() -> None:
        left, right = Channel(shouted, deaf), Channel(shouted, deaf)
        await pair(left, right)
        bodies = [b"a", b"", b"b" * 1_000_000]
        asked = [channel.ask(Word.FIGURES, body, timeout_s=10) for body in bodies for channel in (left, right)]
        assert await asyncio.gather(*asked) == [body.upper() for body in bodies for _ in (left, right)]
        left.close()
        await right.gone
        await left.gone

    asyncio.run(scenario())


def test_the_end_of_the_other_fails_what_was_asked():
    """A process that dies leaves nobody waiting."""

    async def scenario() -> None:
        left, right = Channel(silent, deaf), Channel(silent, deaf)
        await pair(left, right)
        asked = asyncio.ensure_future(left.ask(Word.STATUS, timeout_s=10))
        await asyncio.sleep(0)
        right.close()
        with pytest.raises(Gone):
            await asked
        with pytest.raises(Gone):
            await left.ask(Word.STATUS, timeout_s=10)
        left.tell(Word.READY)

    asyncio.run(scenario())


def test_silence_is_given_up():
    """A process that is stuck does not stop the others; its late answer finds nobody."""

    async def scenario() -> None:
        left, right = Channel(silent, deaf), Channel(silent, deaf)
        await pair(left, right)
        with pytest.raises(TimeoutError):
            await left.ask(Word.STATUS, timeout_s=0.01)
        left.close()
        await right.gone

    asyncio.run(scenario())


def test_tells_come_in_order_before_the_end():
    """The last words of a process are heard."""
    heard: list[tuple[Word, bytes]] = []

    async def scenario() -> None:
        left, right = Channel(silent, deaf), Channel(silent, lambda word, body: heard.append((word, body)))
        await pair(left, right)
        left.tell(Word.READY, b"1")
        left.tell(Word.FIGURES, b"x" * 500_000)
        left.close()
        await right.gone

    asyncio.run(scenario())
    assert heard == [(Word.READY, b"1"), (Word.FIGURES, b"x" * 500_000)]


def test_the_first_frame_can_be_read_without_a_loop():
    """Settings are known before there is a loop."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame(0, Word.SETTINGS, 0, b"{}") + b"rest")
        assert read_first(theirs) == b"{}"
        assert theirs.recv(100) == b"rest"
        ours.close()
        with pytest.raises(Gone):
            read_first(theirs)


@pytest.mark.parametrize("bodies", [[], [b""], [b"a", b"", b"bc"]])
def test_joined_bodies_are_parted_again(bodies):
    """Also empty ones."""
    assert parted(joined(bodies)) == bodies
