"""KServe's Python model server with a custom model, written as its documentation shows."""

import os
import sys

import trees
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid


class Trees(Model):
    def load(self) -> bool:
        self.predict_rows = trees.load()
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers: dict | None = None) -> InferResponse:
        answers = self.predict_rows(payload.inputs[0].as_numpy().astype("float32", copy=False))
        output = InferOutput("probabilities", list(answers.shape), "FP32")
        output.set_data_from_numpy(answers, binary_data=payload.from_grpc or bool(payload.use_binary_outputs))
        return InferResponse(payload.id or generate_uuid(), self.name, [output])


if __name__ == "__main__":
    model = Trees(os.environ["PEER_NAME"])
    model.load()
    http_port, grpc_port = map(int, sys.argv.pop().split(","))
    ModelServer(http_port=http_port, grpc_port=grpc_port, enable_latency_logging=False).start([model])
