"""The agent's side of the link to one router: tells it the index, takes operators' wishes."""

import os
import platform
from collections.abc import Callable, Iterable
from random import Random

from protos import link_pb2
from serving.agent.plan import VersionStatus
from serving.agent.settings import AgentSettings
from serving.link.client import LinkClient
from serving.link.framing import PROTOCOL_VERSION
from serving.link.words import state_message
from serving.status import Status


def index_frame(repository: str, versions: Iterable[VersionStatus], fault: str = "") -> link_pb2.Index:
    """`fault`: why the repository cannot be read now; `versions` are then the last that were seen."""
    return link_pb2.Index(
        repository=repository,
        fault=fault,
        entries=[
            link_pb2.IndexEntry(
                name=version.spec.name,
                version=version.spec.version,
                state=state_message(version.state),
                reason=version.reason,
                framework=version.framework,
                labels=dict(version.labels),
            )
            for version in versions
        ],
    )


class RouterLink:
    """`index` gives the frame to send to a router that welcomed us, None while nothing is known; `wish` is called with
    every Control frame. `name` is unique among all that dial the router."""

    def __init__(
        self,
        address: str,
        settings: AgentSettings,
        random: Random,
        *,
        name: str,
        index: Callable[[], link_pb2.Index | None],
        wish: Callable[["RouterLink", link_pb2.Control], None],
    ) -> None:
        self._settings = settings
        self._name = name
        self._index = index
        self._wish = wish
        self._client = LinkClient(address, self, random, max_frame_bytes=settings.max_frame_bytes)

    async def run(self) -> None:
        await self._client.run()

    def send_index(self) -> None:
        index = self._index()
        if index is not None:
            self._client.send(link_pb2.Envelope(index=index))

    def answer(self, control: int, status: Status, message: str) -> None:
        result = link_pb2.ControlResult(id=control, status=status, message=message)
        self._client.send(link_pb2.Envelope(control_result=result))

    # serving.link.client.Peer

    def hello(self) -> link_pb2.Hello:
        return link_pb2.Hello(
            protocol_version=PROTOCOL_VERSION,
            role=link_pb2.ROLE_AGENT,
            name=self._name,
            interpreter=f"{platform.python_implementation()} {platform.python_version()}",
            token=self._settings.token.get_secret_value(),
            pid=os.getpid(),
        )

    def welcomed(self, welcome: link_pb2.Welcome) -> None:  # noqa: ARG002 - the protocol's
        self.send_index()

    def received(self, envelope: link_pb2.Envelope, payload: memoryview) -> None:  # noqa: ARG002 - no agent's frame has one
        if envelope.WhichOneof("frame") == "control":
            self._wish(self, envelope.control)

    def lost(self, reason: str) -> None:
        """Nothing to do: the index is sent again on the next welcome."""
