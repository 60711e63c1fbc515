"""An XGBoost Booster as ONNX, by onnxmltools: `python convert.py model.ubj model.onnx`. Output `probabilities` only."""

import sys

import onnx
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

booster = xgboost.Booster(model_file=sys.argv[1])
booster.feature_names = None  # onnxmltools takes numbered features only
model = convert_xgboost(booster, initial_types=[("input", FloatTensorType([None, booster.num_features()]))])
for output in list(model.graph.output):
    if output.name != "probabilities":
        model.graph.output.remove(output)
onnx.checker.check_model(model)
onnx.save(model, sys.argv[2])
