"""Tree models compiled to ONNX Runtime: a source (`xgboost_trees`) gives an `Ensemble`, `onnx_trees` writes it as an
ONNX model, `session` runs that, `agreement` compares it with the framework's own answers on golden and generated
`rows`, `timing` measures both and `serving.policy.fastest` chooses. `two_ways` puts it together.

Another framework needs a source only.
"""
