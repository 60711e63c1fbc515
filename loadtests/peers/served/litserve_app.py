"""A LitServe API with batching on, written as its documentation shows."""

import sys

import litserve
import numpy as np
import trees


class Trees(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.rows_to_answers = trees.load()

    def decode_request(self, request: dict) -> np.ndarray:
        return np.asarray(request["instances"], np.float32)

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(inputs)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.rows_to_answers(rows)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return [output[number : number + 1] for number in range(len(output))]

    def encode_response(self, output: np.ndarray) -> dict:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Trees(max_batch_size=32, batch_timeout=0.001)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
