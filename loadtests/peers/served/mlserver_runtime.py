"""A custom MLServer runtime, written as its documentation shows."""

import trees
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Trees(MLModel):
    async def load(self) -> bool:
        self.predict_rows = trees.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        answers = self.predict_rows(rows.astype("float32", copy=False))
        output = NumpyCodec.encode_output("probabilities", answers)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])
