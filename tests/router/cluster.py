"""A router core with replicas that a test plays by hand: real objects, no sockets, no clock but the test's."""

from collections.abc import Callable, Iterable

from protos import inference_pb2, link_pb2
from router.compose import compose
from router.edge.intake import inference_of
from router.link.peers import Agent
from router.replica import Replica
from router.request import Inference
from router.settings import Limits, RouterSettings
from router.tracing import Trace
from serving.errors import DodonaError
from serving.link.framing import DEFAULT_MAX_FRAME_BYTES, FrameReader, cut
from serving.status import Status


def model(name: str = "m", version: str = "1", handle: int = 1, **fields: object) -> link_pb2.Model:
    """A model as a worker announces it: one input x FP32[2], one output y FP32[1]."""
    return link_pb2.Model(
        name=name,
        version=version,
        handle=handle,
        framework="echo",
        batched=True,
        max_batch_rows=8,
        inputs=[link_pb2.TensorSpec(name="x", datatype="FP32", shape=[2])],
        outputs=[link_pb2.TensorSpec(name="y", datatype="FP32", shape=[1])],
        **fields,  # type: ignore[arg-type]
    )


def request(name: str = "m", version: str = "", rows: int = 1, **fields: object) -> bytes:
    """A serialised ModelInferRequest of `rows` rows."""
    message = inference_pb2.ModelInferRequest(model_name=name, model_version=version, **fields)  # type: ignore[arg-type]
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    message.raw_input_contents.append(bytes(8 * rows))
    return message.SerializeToString()


class Caller:
    """What one request came to."""

    def __init__(self) -> None:
        self.inference: Inference | None = None
        self.reply: bytes | None = None
        self.error: DodonaError | None = None

    def __repr__(self) -> str:
        if self.reply is not None:
            return f"reply {self.reply.decode()}"
        return f"{self.error.status.name}" if self.error else "waits"


class Worker:
    """The far end of a link: sees the frames the router writes, answers as the test says."""

    def __init__(self, cluster: "Cluster", name: str, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> None:
        self.cluster = cluster
        self.reader = FrameReader(max_frame_bytes)
        self.frames: list[int] = []
        """How many requests each Work frame held."""
        self.work: dict[int, bytes] = {}
        self.cancelled: list[int] = []
        hello = link_pb2.Hello(protocol_version=1, role=link_pb2.ROLE_WORKER, name=name, framework="echo")
        self.replica = Replica(
            hello,
            write=self._receive,
            soon=cluster.soon.append,
            clock=lambda: cluster.now,
            max_frame_bytes=max_frame_bytes,
        )
        cluster.core.peers.joined(self.replica, self._receive)

    def _receive(self, buffers: Iterable[bytes]) -> None:
        for envelope, payload in self.reader.feed(b"".join(buffers)):
            if envelope.work.ids:
                self.frames.append(len(envelope.work.ids))
            self.work.update(
                zip(envelope.work.ids, cut(payload, envelope.work.sizes), strict=True) if len(payload) else ()
            )
            self.cancelled += envelope.cancel.ids

    def say(self, payload: bytes = b"", **frame: object) -> None:
        self.cluster.core.peers.heard(self.replica, link_pb2.Envelope(**frame), memoryview(payload))  # type: ignore[arg-type]
        self.cluster.turn()

    def serve(self, *models: link_pb2.Model, window: int = 4) -> None:
        self.say(models=link_pb2.Models(models=models))
        for one in models:
            self.say(credit=link_pb2.Credit(handle=one.handle, window_rows=window))

    def answer(self, *ids: int, text: bytes = b"ok", handle: int = 1, infer_us: int = 7) -> None:
        """Results of one batch."""
        for number in ids:
            del self.work[number]
        results = link_pb2.Results(
            handle=handle,
            ids=ids,
            sizes=[len(text)] * len(ids),
            queue_us=[5] * len(ids),
            rows=len(ids),
            infer_us=infer_us,
        )
        self.say(text * len(ids), results=results)

    def refuse(self, number: int, status: Status, message: str = "no", handle: int = 1) -> None:
        self.work.pop(number, None)
        failure = link_pb2.Failure(index=0, status=status, message=message)
        self.say(results=link_pb2.Results(handle=handle, ids=[number], sizes=[0], queue_us=[0], failures=[failure]))

    def die(self) -> None:
        self.cluster.core.peers.left(self.replica)
        self.cluster.turn()


class ScheduledCall:
    def __init__(self, timers: list["ScheduledCall"], when: float, call: Callable[[], None]) -> None:
        self.timers, self.when, self.call = timers, when, call

    def cancel(self) -> None:
        if self in self.timers:
            self.timers.remove(self)


class Cluster:
    def __init__(self, limits: Limits | None = None, **settings: object) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.timers: list[ScheduledCall] = []
        self.core = compose(
            RouterSettings(limits=limits or Limits(), **settings),  # type: ignore[arg-type]
            clock=lambda: self.now,
            call_at=self._call_at,
        )

    def _call_at(self, when: float, call: Callable[[], None]) -> "ScheduledCall":
        timer = ScheduledCall(self.timers, when, call)
        self.timers.append(timer)
        return timer

    def turn(self) -> None:
        """The rest of this turn of the event loop."""
        while self.soon:
            self.soon.pop(0)()

    def advance(self, seconds: float) -> None:
        """Let time pass, running what was scheduled."""
        self.now += seconds
        while due := [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(due[0])
            due[0].call()
        self.turn()

    def agent(self, *entries: link_pb2.IndexEntry, name: str = "agent") -> Agent:
        agent = Agent(link_pb2.Hello(name=name, role=link_pb2.ROLE_AGENT), self.now)
        self.core.peers.joined(agent, lambda buffers: None)
        self.index(agent, *entries)
        return agent

    def index(self, agent: Agent, *entries: link_pb2.IndexEntry) -> None:
        envelope = link_pb2.Envelope(index=link_pb2.Index(entries=entries))
        self.core.peers.heard(agent, envelope, memoryview(b""))
        self.turn()

    def call(
        self,
        message: bytes | None = None,
        timeout_s: float | None = None,
        request_id: str = "r",
        tenant: str = "",
        *,
        turn: bool = True,
        traceparent: str = "",
        trace: Trace | None = None,
    ) -> Caller:
        """Send a request as an edge does; refusals at once raise."""
        caller = Caller()

        def reply(response: bytes) -> None:
            assert caller.reply is None
            assert caller.error is None
            caller.reply = response

        def fail(error: DodonaError) -> None:
            assert caller.reply is None
            assert caller.error is None
            caller.error = error

        caller.inference = inference_of(
            self.core,
            message if message is not None else request(),
            deadline=None if timeout_s is None else self.now + timeout_s,
            request_id=request_id,
            traceparent=traceparent,
            on_reply=reply,
            on_error=fail,
            tenant=tenant,
            trace=trace,
        )
        self.core.dispatcher.submit(caller.inference)
        if turn:
            self.turn()
        return caller
