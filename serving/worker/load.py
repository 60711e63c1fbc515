"""From a model's folder to a predictor that has proven itself. Blocking; called in the loader's thread."""

from dataclasses import dataclass
from time import perf_counter

from serving.bundle.bundle import Bundle
from serving.bundle.open import open_bundle
from serving.errors import BundleError, DodonaError
from serving.policy.cost import RunCost
from serving.runtimes.registry import create
from serving.worker.golden import prove
from serving.worker.imports import import_lean
from serving.worker.predictor import Predictor
from serving.worker.settings import WorkerModel


@dataclass(frozen=True, slots=True)
class Loaded:
    bundle: Bundle
    predictor: Predictor
    cost: RunCost
    load_s: float


def load_version(model: WorkerModel, *, framework: str, threads: int) -> Loaded:
    """Digests, then the framework, then golden examples and warm-up; what was opened is closed again on failure.

    Raises DodonaError with the reason; whatever a framework raises becomes BundleError with its type and text.
    """
    begin = perf_counter()
    try:
        bundle = open_bundle(model.model_folder, model.version)
        predictor, cost = _predictor(bundle, framework, threads)
    except DodonaError:
        raise
    except BaseException as error:  # user code may raise anything: sys.exit(), asyncio.CancelledError
        raise BundleError(
            f"loading raised {type(error).__name__}: {error}", field="model", remedy="see the worker's log"
        ) from error
    return Loaded(bundle, predictor, cost, perf_counter() - begin)


def _predictor(bundle: Bundle, framework: str, threads: int) -> tuple[Predictor, RunCost]:
    definition = bundle.definition
    if definition.framework != framework:
        raise BundleError(
            f"is {definition.framework}, but this worker runs {framework}",
            field="model.yaml.framework",
            remedy="run it in a worker of its framework",
        )
    runtime = create(framework, threads=threads)
    import_lean(framework)
    signature = runtime.load(bundle)
    predictor = Predictor(bundle.spec, signature, runtime, definition.batching, framework)
    try:
        return predictor, prove(predictor, bundle)
    except BaseException:
        predictor.close()
        raise
