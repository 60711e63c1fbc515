"""How calls that may stay open for ever learn that the router drains, so that they do not hold it up.

The state is asked for, a few times a second and only while such a call is open: it costs nothing on the hot path and
leaves no list of listeners to keep true.
"""

import asyncio
from typing import Final

from router.core import Core
from serving.errors import Unavailable

POLL_INTERVAL_S: Final = 0.25


async def until_draining(core: Core) -> None:
    while not core.dispatcher.draining:  # noqa: ASYNC110  the state has no event, see above
        await asyncio.sleep(POLL_INTERVAL_S)


def drained() -> Unavailable:
    """How such a call ends."""
    return Unavailable("this router is draining", remedy="open the call again, to another replica")
