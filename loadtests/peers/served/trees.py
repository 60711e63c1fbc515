"""The model, as every rival's process loads it: a function from rows (n, 30) FP32 to probabilities (n, k) FP32.

PEER_MODEL names the file: `.onnx` runs in ONNX Runtime, anything else as an XGBoost Booster. One thread each, because
the servers themselves are what the cores are for. This folder runs in the rivals' own environments and imports nothing
of Dodona.
"""

import os
from collections.abc import Callable

import numpy as np


def load(path: str = "") -> Callable[[np.ndarray], np.ndarray]:
    path = path or os.environ["PEER_MODEL"]
    if path.endswith(".onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed, wanted = session.get_inputs()[0].name, [session.get_outputs()[0].name]
        return lambda rows: session.run(wanted, {feed: rows})[0]
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=path)
    return lambda rows: booster.inplace_predict(rows, validate_features=False).reshape(len(rows), -1)
