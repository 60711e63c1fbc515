"""The whole gRPC surface, walked with clients that Dodona did not write: tritonclient, grpcio, and its health and
reflection packages.

Each function takes the address of a router ("host:port") and the names of models that are ready there; the first is
used where one is enough. `SURFACE` lists those that any cluster must pass, `REPOSITORY` those that load and unload a
model, so need an agent. The models must take `rows` of at least 3 and no NaN.
"""

from collections.abc import Callable

from tests.conformance import grpc_errors, grpc_inference, grpc_models, grpc_services, grpc_streams
from tests.conformance.grpc_stubs import Models

Check = Callable[[str, Models], None]


SURFACE: tuple[Check, ...] = (
    grpc_models.health_and_metadata,
    grpc_models.models_are_described,
    grpc_models.statistics_count,
    grpc_models.the_index_lists_models,
    grpc_inference.infer_with_the_sync_client,
    grpc_inference.infer_with_callbacks,
    grpc_inference.infer_with_the_aio_client,
    grpc_inference.infer_with_kserve,
    grpc_inference.typed_contents,
    grpc_inference.classification,
    grpc_inference.request_ids,
    grpc_inference.cancelled_and_late_calls,
    grpc_streams.stream_with_the_sync_client,
    grpc_streams.stream_with_the_aio_client,
    grpc_streams.stream_errors,
    grpc_streams.a_long_stream,
    grpc_errors.what_is_not_offered,
    grpc_errors.malformed_messages,
    grpc_errors.wrong_requests,
    grpc_errors.bad_repository_requests,
    grpc_services.health_service,
    grpc_services.reflection_service,
    grpc_services.reflection_v1,
    grpc_services.admin_service,
)
REPOSITORY: tuple[Check, ...] = (grpc_models.unload_and_load, grpc_models.load_what_does_not_exist)
