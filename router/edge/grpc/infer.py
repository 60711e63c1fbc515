"""ModelInfer, the hot path: the message is routed as the bytes it came in and answered from the link's callback.

Per request: one look at the metadata, one decode of the routing fields, one Inference, no task, no coroutine.
"""

from functools import partial
from typing import Final

from router.core import Core
from router.edge.caching import cache_control, heed
from router.edge.grpc.rpc import identity
from router.edge.intake import inference_of
from router.front.calls import Metadata, Unary, UnaryCall
from router.policy.sharing import front_of
from router.refusals import StandingShed
from router.sharing.flights import Share
from router.tracing import grpc_origin
from serving.errors import DodonaError

_ORIGIN: Final = grpc_origin("ModelInfer")


def model_infer(core: Core) -> Unary:
    submit = core.dispatcher.submit
    cancel = core.dispatcher.cancel
    begin = core.tracer.begin if core.tracer is not None else None
    tenant_header = core.settings.fairness.tenant_header

    def start(call: UnaryCall) -> None:
        request_id, traceparent, tenant = identity(call.metadata, tenant_header)
        echo = (("x-request-id", request_id),)
        fail = partial(call.fail, metadata=echo)
        trace = begin(_ORIGIN, traceparent, call.metadata) if begin is not None else None
        try:
            inference = inference_of(
                core,
                call.message,
                deadline=call.deadline,
                request_id=request_id,
                traceparent=traceparent,
                on_reply=partial(call.reply, metadata=echo),
                on_error=fail,
                tenant=tenant,
                trace=trace,
            )
            if inference.share is not None:
                heed(inference, cache_control(call.metadata))
                inference.on_reply = partial(_reply, call, inference.share, echo)
            call.on_cancel = partial(cancel, inference)
            submit(inference)
        except DodonaError as error:
            call.on_cancel = None
            if trace is not None:
                trace.refused(error)
            elif isinstance(error, StandingShed):
                error.alike = _beginning
            fail(error)

    return Unary(start)


def _beginning(message: bytes) -> bytes:
    """All before the bytes of the tensor, where a message holds one only and ends with it: of the rest of the message
    nothing is read on the way to a refusal."""
    return front_of(message, 0)


def _reply(call: UnaryCall, share: Share, echo: Metadata, response: bytes) -> None:
    """Answer, and say so where the answer is not from a run of its own."""
    call.reply(response, (*echo, ("cache-status", share.status)) if share.status else echo)
