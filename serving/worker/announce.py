"""A loaded version in the link's words."""

import hashlib

from protos import link_pb2
from serving.bundle.bundle import Bundle
from serving.bundle.model_config import model_config
from serving.link.words import tensor_message
from serving.worker.predictor import Predictor


def model_message(handle: int, bundle: Bundle, predictor: Predictor, load_s: float) -> link_pb2.Model:
    """What the routers learn of a version. `handle` names it in the frames of this process's links."""
    signature, definition = predictor.signature, bundle.definition
    config = model_config(definition, signature, [bundle.spec.version])
    if predictor.plan is not None:
        config.parameters["compiled"].string_value = f"{predictor.plan.state}: {predictor.plan.text}"
    return link_pb2.Model(
        handle=handle,
        name=bundle.spec.name,
        version=bundle.spec.version,
        framework=definition.framework,
        batched=signature.batched,
        max_batch_rows=predictor.max_batch_rows,
        inputs=[tensor_message(tensor) for tensor in signature.inputs],
        outputs=[tensor_message(tensor) for tensor in signature.outputs],
        labels=definition.labels,
        default_timeout_s=definition.default_timeout_s,
        digest=bundle.digest,
        config=config.SerializeToString(),
        load_s=load_s,
        max_wait_s=predictor.max_wait_s,
        slo_latency_p99_s=definition.slo.latency_p99_s,
        response_cache=link_pb2.ResponseCache(
            enabled=definition.response_cache.enabled,
            max_bytes=definition.response_cache.max_bytes,
            ttl_s=definition.response_cache.ttl_s,
        ),
        collapse=definition.collapse or definition.response_cache.enabled,
        content=content_of(bundle),
    )


def content_of(bundle: Bundle) -> str:
    """sha256 of what decides a version's answers: its files and model.yaml, without what only people read or what
    only routes."""
    definition = bundle.definition.model_dump_json(exclude={"description", "owner", "labels"})
    return hashlib.sha256(f"{bundle.digest}\n{definition}".encode()).hexdigest()
