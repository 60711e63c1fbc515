"""What workers announced of a model version."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from protos import link_pb2
from router.policy.sharing import SharingTerms
from serving.link.words import tensor_spec
from serving.spec import ModelSpec, Signature


@dataclass(frozen=True, slots=True)
class Served:
    spec: ModelSpec
    framework: str
    signature: Signature
    max_batch_rows: int
    max_wait_s: float
    labels: Mapping[str, str]
    default_timeout_s: float
    """0 = the router's default."""
    digest: str
    load_s: float
    config: bytes
    """inference.ModelConfig, serialised."""
    slo_latency_p99_s: float = 0.0
    """0 = none."""
    sharing: SharingTerms = field(default_factory=SharingTerms)


def _sharing(model: link_pb2.Model) -> SharingTerms:
    cache = model.response_cache
    return SharingTerms(
        collapse=model.collapse, keep=cache.enabled, max_bytes=cache.max_bytes, ttl_s=cache.ttl_s, content=model.content
    )


def served_of(model: link_pb2.Model) -> Served:
    return Served(
        spec=ModelSpec(model.name, model.version),
        framework=model.framework,
        signature=Signature(
            tuple(map(tensor_spec, model.inputs)), tuple(map(tensor_spec, model.outputs)), model.batched
        ),
        max_batch_rows=model.max_batch_rows,
        max_wait_s=model.max_wait_s,
        labels=dict(model.labels),
        default_timeout_s=model.default_timeout_s,
        digest=model.digest,
        load_s=model.load_s,
        config=model.config,
        slo_latency_p99_s=model.slo_latency_p99_s,
        sharing=_sharing(model),
    )
