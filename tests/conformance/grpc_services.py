"""Checks of health, reflection and the admin API."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from protos import admin_pb2
from tests.conformance.grpc_stubs import OIP, PATIENCE_S, Models, call, connected


def health_service(address: str, models: Models) -> None:
    """grpc.health.v1: Check and Watch of the router, a service and a model."""
    with connected(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        serving = health_pb2.HealthCheckResponse.SERVING
        for name in ("", "inference.GRPCInferenceService", *models):
            request = health_pb2.HealthCheckRequest(service=name)
            assert check(request, timeout=PATIENCE_S).status == serving
            watching = watch(request, timeout=PATIENCE_S)
            assert next(watching).status == serving
            watching.cancel()
        unknown = health_pb2.HealthCheckRequest(service="no-such-model")
        with pytest.raises(grpc.RpcError) as error:
            check(unknown, timeout=PATIENCE_S)
        assert error.value.code() is grpc.StatusCode.NOT_FOUND
        watching = watch(unknown, timeout=PATIENCE_S)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watching.cancel()


def reflection_service(address: str, models: Models) -> None:
    """The reference reflection client finds every service, and a call built from nothing but its answers works."""
    with connected(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health", "dodona.admin.v1.Admin"} <= services
        pool = DescriptorPool(database)
        for service in services:
            assert pool.FindServiceByName(service).methods
        method = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelMetadata")
        request = GetMessageClass(method.input_type)(name=models[0])
        answer = channel.unary_unary(
            OIP + "ModelMetadata",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )(request, timeout=PATIENCE_S)
        assert answer.name == models[0]


def reflection_v1(address: str, models: Models) -> None:
    """The v1 service, which grpcurl tries first: several questions on one stream, an unknown name among them."""
    kind = reflection_pb2.ServerReflectionRequest
    questions = [
        kind(list_services=""),
        kind(file_containing_symbol="no.such.Symbol"),
        kind(file_containing_symbol="inference.GRPCInferenceService"),
        kind(file_by_filename="protos/model_config.proto"),
    ]
    with connected(address) as channel:
        ask = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=kind.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        listed, unknown, file, named = list(ask(iter(questions), timeout=PATIENCE_S))
        assert "grpc.reflection.v1.ServerReflection" in {one.name for one in listed.list_services_response.service}
        assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert len(file.file_descriptor_response.file_descriptor_proto) == 2
        assert len(named.file_descriptor_response.file_descriptor_proto) == 1


def admin_service(address: str, models: Models) -> None:
    """What `dodona status` reads."""
    with connected(address) as channel:
        status = call(channel, "/dodona.admin.v1.Admin/Status", admin_pb2.StatusRequest())
        assert not status.draining
        assert status.workers
        rows = {row.name: row for row in status.models if row.is_default}
        for name in models:
            assert rows[name].state == "READY"
            assert rows[name].replicas >= 1
