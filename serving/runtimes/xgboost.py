"""XGBoost through its native Booster: ubj or json, one FP32 input with all features, missing values as NaN."""

import json
import logging
from typing import Annotated, Any, Final

import numpy as np
from pydantic import Field

from serving.bundle.bundle import Bundle
from serving.bundle.definition import ModelDefinition
from serving.bundle.golden import read_golden
from serving.errors import BundleError
from serving.runtimes.base import Arrays
from serving.runtimes.compiled.ensemble import Ensemble
from serving.runtimes.compiled.two_ways import Compile, TwoWays, two_ways
from serving.runtimes.compiled.xgboost_trees import ensemble_of
from serving.runtimes.registry import missing_package
from serving.runtimes.signature import check_columns, reconcile
from serving.runtimes.xgboost_dense import DensePredictor
from serving.settings import Settings, validate
from serving.spec import Signature, TensorSpec

log = logging.getLogger(__name__)

_PROBABILITIES: Final = ("binary:logistic", "multi:softprob")
_FILES: Final = ("model.ubj", "model.json")


class XgboostOptions(Settings):
    nthread: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads of one run; 0 = the worker's `threads`."""
    best_iteration: bool = True
    """Whether a model trained with early stopping predicts with its best iteration, as scikit-learn's interface does;
    False: with all its trees."""
    compile: Compile = "auto"
    """Whether the trees also run on ONNX Runtime, on the CPU: auto = where they agree and are faster, off = never,
    force = always, and a model that cannot be compiled is refused."""


class XgboostRuntime:
    """One input (`input`, FP32, all features) and one output (`probability` or `prediction`, FP32); model.yaml may
    give them other names."""

    text_inputs: frozenset[str] = frozenset()

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._booster: Any = None
        self._dense: DensePredictor | None = None
        self.ways: TwoWays | None = None
        """Who answers; None before load and on a GPU."""
        self._rounds = (0, 0)
        self._input = self._output = ""
        self.device = "cpu"

    def load(self, bundle: Bundle) -> Signature:
        """Raises BundleError: no such file, not an XGBoost model, a missing GPU, tensors that differ from
        model.yaml."""
        try:
            import xgboost
        except ImportError as error:
            raise missing_package("xgboost", "xgboost", error) from error
        definition = bundle.definition
        options = validate(XgboostOptions, definition.options, where="model.yaml.options", error=BundleError)
        self._booster = self._read(xgboost, bundle)
        self.device = choose_device(definition.device, xgboost.build_info())
        self._booster.set_param({"nthread": options.nthread or self._threads, "device": self.device})
        best = self._booster.attr("best_iteration")
        self._rounds = (0, int(best) + 1) if options.best_iteration and best is not None else (0, 0)
        features = self._booster.num_features()
        probe = self._probe(xgboost, features)
        if self.device == "cpu":
            self._dense = DensePredictor.proven(self._booster, self._rounds, features, self._predict_any)
        signature = self._signature(features, probe.shape[1], definition)
        if self.device == "cpu":
            self.ways = self._compile(bundle, options, features)
        return signature

    def _compile(self, bundle: Bundle, options: XgboostOptions, features: int) -> TwoWays:
        golden = read_golden(bundle.folder)
        examples = golden.inputs.get(self._input) if golden else None
        if examples is not None and (examples.dtype != np.float32 or examples.shape[1:] != (features,)):
            examples = None
        ways = two_ways(
            "xgboost",
            self._dense or self._predict_any,
            self._ensemble,
            mode=options.compile,
            examples=examples,
            most_rows=bundle.definition.batching.max_batch_rows,
            threads=options.nthread or self._threads,
        )
        log.info(
            "compiled trees", extra={"model": str(bundle.spec), "state": ways.plan.state, "reason": ways.plan.text}
        )
        return ways

    def _ensemble(self) -> Ensemble:
        """Raises CannotCompileError."""
        return ensemble_of(self._booster.save_raw("ubj"), self._rounds)

    def _read(self, xgboost: Any, bundle: Bundle) -> Any:
        names = [bundle.definition.file] if bundle.definition.file else list(_FILES)
        path = next((bundle.folder / name for name in names if (bundle.folder / name).is_file()), None)
        if path is None:
            raise BundleError(
                f"there is no {' or '.join(names)} in version {bundle.spec.version}",
                field="model.yaml.file",
                remedy="save the Booster with save_model('model.ubj')",
            )
        try:
            return xgboost.Booster(model_file=str(path))
        except xgboost.core.XGBoostError as error:
            raise BundleError(
                f"XGBoost cannot load {path.name}: {str(error).splitlines()[0]}",
                field="model.yaml.file",
                remedy="save the Booster with save_model('model.ubj'); pickles are not read",
            ) from error

    def _probe(self, xgboost: Any, features: int) -> Any:
        try:
            return self._predict_any(np.zeros((2, features), np.float32))
        except xgboost.core.XGBoostError as error:
            raise BundleError(
                f"XGBoost cannot predict with this model: {str(error).splitlines()[0]}",
                field="model.yaml.file",
                remedy="tree boosters (gbtree, dart) are served; export others to ONNX",
            ) from error

    def _signature(self, features: int, columns: int, definition: ModelDefinition) -> Signature:
        objective = json.loads(self._booster.save_config())["learner"]["objective"]["name"]
        self._input = _only_name(definition, "inputs", "input")
        self._output = _only_name(definition, "outputs", "probability" if objective in _PROBABILITIES else "prediction")
        names = tuple(self._booster.feature_names or ())
        batched = definition.batching.enabled
        rows = () if batched else (-1,)  # a Booster always takes rows, also where requests are not put together
        signature = Signature(
            reconcile([TensorSpec(self._input, "FP32", (*rows, features), names)], definition.inputs, "inputs"),
            reconcile([TensorSpec(self._output, "FP32", (*rows, columns))], definition.outputs, "outputs"),
            batched,
        )
        check_columns(signature.inputs, "inputs")
        check_columns(signature.outputs, "outputs")
        return signature

    def predict(self, inputs: Arrays) -> Arrays:
        """FP32 [rows, features] to FP32 [rows, columns]. Raises what XGBoost raises."""
        rows = inputs[self._input]
        return {self._output: self.ways(rows) if self.ways is not None else self._predict_any(rows)}

    def _predict_any(self, rows: Any) -> Any:
        predicted = self._booster.inplace_predict(
            rows, iteration_range=self._rounds, missing=float("nan"), validate_features=False
        )
        return np.asarray(predicted, np.float32).reshape(len(rows), -1)

    def close(self) -> None:
        if self.ways is not None:
            self.ways.close()
        if self._dense is not None:
            self._dense.close()
        self._dense = self._booster = self.ways = None


def choose_device(device: str, build: dict[str, Any]) -> str:
    """Device for `auto | cpu | cuda:N`. Raises BundleError if a GPU is asked for and cannot be used."""
    if device == "cpu":
        return "cpu"
    index = 0 if device == "auto" else int(device.removeprefix("cuda:"))
    if build.get("USE_CUDA") and index < _gpus():
        return f"cuda:{index}"
    if device == "auto":
        return "cpu"
    lacks = f"there are {_gpus()} GPUs here" if build.get("USE_CUDA") else "the installed XGBoost is built without CUDA"
    raise BundleError(
        f"device {device} asked for, but {lacks}",
        field="model.yaml.device",
        remedy="install dodona[gpu] on a machine with that GPU, or set device: auto or cpu",
    )


def _gpus() -> int:
    """GPUs that the CUDA driver shows to this process; 0 where there is no driver."""
    import ctypes

    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def _only_name(definition: ModelDefinition, role: str, default: str) -> str:
    declared = getattr(definition, role)
    if len(declared) > 1:
        raise BundleError(
            f"an XGBoost model has one tensor here, model.yaml lists {len(declared)}",
            field=f"model.yaml.{role}",
            remedy="list one, with all features as its last dimension",
        )
    return declared[0].name if declared else default
