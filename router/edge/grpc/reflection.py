"""grpc.reflection: clients such as grpcurl learn the services and their messages from the server itself.

Answers cover the files of the services served here and what those import, and nothing else the process has loaded:
everything is indexed once, from the modules themselves, because Dodona's messages live in a descriptor pool of their
own (protos.pool) and health and reflection in the default one.

v1 and v1alpha are the same on the wire and differ in the package name alone; v1's descriptor, which no Python package
brings, is derived from v1alpha's. None of these messages has extensions, so a look-up of one answers NOT_FOUND, and
the numbers of a known type are an empty list.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from protos import admin_pb2, inference_pb2
from router.edge.grpc.rpc import parse
from router.front.calls import Methods, Stream, StreamCall
from serving.status import Status

_ALPHA: Final = "grpc.reflection.v1alpha"
_V1: Final = "grpc.reflection.v1"
SERVICES: Final = (f"{_V1}.ServerReflection", f"{_ALPHA}.ServerReflection")


def reflection(services: Iterable[str]) -> Methods:
    """Path -> method; `services` are the names to list."""
    answers = Answers(services)

    async def run(call: StreamCall) -> None:
        async for message in call:
            await call.send(answers.answer(bytes(message)))

    return {f"/{service}/ServerReflectionInfo": Stream(run) for service in SERVICES}


class Answers:
    """The index, and the answer to one request; calls have no state."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = sorted(services)
        modules = (inference_pb2, admin_pb2, health_pb2, reflection_pb2)
        files = _with_imports([*(module.DESCRIPTOR for module in modules), _v1_file()])
        self._by_name = {file.name: file for file in files}
        self._by_symbol = {symbol: file for file in files for symbol in _symbols(file)}
        self._types = {kind.full_name for file in files for kind in _messages(file.message_types_by_name.values())}

    def answer(self, message: bytes) -> bytes:
        """A serialised ServerReflectionResponse. Raises InvalidRequest."""
        request: Any = parse(reflection_pb2.ServerReflectionRequest, message)
        response = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
        kind = request.WhichOneof("message_request")
        if kind == "list_services":
            for service in self._services:
                response.list_services_response.service.add(name=service)
        elif kind == "file_by_filename":
            _add_file(response, self._by_name.get(request.file_by_filename), request.file_by_filename)
        elif kind == "file_containing_symbol":
            symbol = request.file_containing_symbol
            _add_file(response, self._by_symbol.get(symbol.removeprefix(".")), symbol)
        elif kind == "all_extension_numbers_of_type":
            self._add_numbers(response, request.all_extension_numbers_of_type)
        elif kind == "file_containing_extension":
            asked = request.file_containing_extension
            _refuse(response, Status.NOT_FOUND, f"no extension {asked.extension_number} of {asked.containing_type!r}")
        else:
            _refuse(response, Status.INVALID_ARGUMENT, "the request asks for nothing; set one of message_request")
        return bytes(response.SerializeToString())

    def _add_numbers(self, response: Any, type_name: str) -> None:
        if type_name.removeprefix(".") in self._types:
            response.all_extension_numbers_response.base_type_name = type_name
        else:
            _refuse(response, Status.NOT_FOUND, f"no message type {type_name!r} is served here")


def _add_file(response: Any, file: FileDescriptor | None, name: str) -> None:
    """The file first, then everything it imports."""
    if file is None:
        _refuse(response, Status.NOT_FOUND, f"no file or symbol {name!r} is served here")
        return
    parts = [part.serialized_pb for part in _with_imports([file])]
    response.file_descriptor_response.file_descriptor_proto.extend(parts)


def _refuse(response: Any, status: Status, text: str) -> None:
    response.error_response.error_code = status
    response.error_response.error_message = text


def _with_imports(files: list[FileDescriptor]) -> list[FileDescriptor]:
    """The files and all they import, each once."""
    found = {file.name: file for file in files}
    for file in files:
        for imported in _with_imports(list(file.dependencies)):
            found.setdefault(imported.name, imported)
    return list(found.values())


def _symbols(file: FileDescriptor) -> Iterator[str]:
    """Full names of all that a file defines."""
    for service in file.services_by_name.values():
        yield service.full_name
        yield from (method.full_name for method in service.methods)
    for enum in file.enum_types_by_name.values():
        yield from _enum_symbols(enum)
    for kind in _messages(file.message_types_by_name.values()):
        yield kind.full_name
        yield from (field.full_name for field in kind.fields)
        yield from (oneof.full_name for oneof in kind.oneofs)
        for enum in kind.enum_types:
            yield from _enum_symbols(enum)


def _messages(kinds: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for kind in kinds:
        yield kind
        yield from _messages(kind.nested_types)


def _enum_symbols(enum: EnumDescriptor) -> Iterator[str]:
    """In protobuf the values of an enum are siblings of it, not children."""
    scope = enum.full_name.rpartition(".")[0]
    yield enum.full_name
    yield from (f"{scope}.{value.name}" for value in enum.values)


def _v1_file() -> FileDescriptor:
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace(_ALPHA, _V1)
    v1 = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    v1.name = "grpc/reflection/v1/reflection.proto"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(v1)
    return pool.FindFileByName(v1.name)
