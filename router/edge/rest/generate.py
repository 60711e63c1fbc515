"""The generate extension, for models with text in and text out: `{"text_input": "..."}` to `{"text_output": "..."}`.

A member that has the name of an input is its value; any other is a request parameter, as is each member of
`parameters`. Streaming needs models that answer more than once, which the runtimes do not offer.
"""

from typing import Any, Final

import orjson

from protos import inference_pb2
from router.edge.rest.decode import assemble
from router.edge.rest.elements import NameOf, pack, unpack
from router.edge.rest.encode import raws_of
from router.edge.rest.exchange import Request, Response
from router.edge.rest.parameters import mapping, write_parameters
from router.edge.rest.predict import compressed, predict
from router.tracing import http_origin
from serving.errors import InvalidRequest, Unimplemented
from serving.spec import Signature

_ORIGIN: Final = http_origin("POST", "/v2/models/{model}/generate")


async def generate(request: Request) -> Response:
    core = request.core
    signature = core.catalogue.described(request.model, request.version).signature
    _check_text(request.model, signature)
    members = mapping(await request.json(), "body")
    head = inference_pb2.ModelInferRequest(model_name=request.model, model_version=request.version)
    names = {tensor.name for tensor in signature.inputs}
    others = {name: value for name, value in members.items() if name not in names and name not in ("id", "parameters")}
    write_parameters(others, head.parameters, "body")
    write_parameters(mapping(members.get("parameters"), "parameters"), head.parameters, "parameters")
    raws = []
    for tensor in signature.inputs:
        if tensor.name not in members:
            raise InvalidRequest("is missing", field=tensor.name, remedy="send a string")
        head.inputs.add(name=tensor.name, datatype="BYTES", shape=[1] * len(signature.wire_shape(tensor)))
        raws.append(pack([members[tensor.name]], "BYTES", _always(tensor.name)))
    message = assemble(head, raws, core.settings.limits.max_message_bytes)
    answer = inference_pb2.ModelInferResponse.FromString(await predict(request, message, _ORIGIN))
    return await compressed(request, Response(orjson.dumps(_reply(answer, members.get("id")))))


def _always(name: str) -> NameOf:
    return lambda _: name


def _reply(answer: inference_pb2.ModelInferResponse, identity: object) -> dict[str, Any]:
    reply: dict[str, Any] = {"id": identity} if identity else {}
    reply |= {"model_name": answer.model_name, "model_version": answer.model_version}
    for output, raw in zip(answer.outputs, raws_of(answer), strict=True):
        texts = unpack(raw, "BYTES", output.name)
        reply[output.name] = texts[0] if len(texts) == 1 else texts
    return reply


def _check_text(model: str, signature: Signature) -> None:
    for tensor in (*signature.inputs, *signature.outputs):
        if tensor.datatype != "BYTES" or tensor.shape not in ((), (1,), (-1,)):
            raise Unimplemented(
                f"model {model} has the tensor {tensor}, generate is for one text in and one out",
                field=tensor.name,
                remedy="use the route infer",
            )


async def generate_stream(request: Request) -> Response:
    request.core.catalogue.pool(request.model, request.version)
    raise Unimplemented("no runtime answers in pieces", field="generate_stream", remedy="use the route generate")
