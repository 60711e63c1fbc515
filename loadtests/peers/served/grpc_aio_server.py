"""grpc.aio with the Open Inference Protocol's one call, by hand: no queue, no batches, no metrics."""

import asyncio
import sys

import grpc
import numpy as np
import trees

from protos import inference_pb2


async def main() -> None:
    predict = trees.load()

    async def infer(
        request: inference_pb2.ModelInferRequest, _: grpc.aio.ServicerContext
    ) -> inference_pb2.ModelInferResponse:
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)
        answers = predict(rows)
        response = inference_pb2.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
        response.outputs.add(name="probabilities", datatype="FP32", shape=answers.shape)
        response.raw_output_contents.append(answers.tobytes())
        return response

    server = grpc.aio.server()
    call = grpc.unary_unary_rpc_method_handler(
        infer, inference_pb2.ModelInferRequest.FromString, inference_pb2.ModelInferResponse.SerializeToString
    )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": call})
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
