"""Train three small models on real data and pack them as bundles: `python -m examples.train [--repository ./models]`.

| model | data (bundled with scikit-learn) | framework |
|---|---|---|
| breast-cancer | 30 measurements of 569 cell samples: benign or malignant | XGBoost |
| digits | 1,797 handwritten digits of 8 x 8 pixels | ONNX, converted from a scikit-learn pipeline |
| wine | 13 measurements of 178 wines: which of three cultivars | a Python class, `examples/python_model` |

A quarter of each data set is held out. Its rows are written as CSV, ready for `dodona predict NAME --file rows.csv`,
with what is true of them and what the model in memory said beside it.
"""

import argparse
import csv
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from examples.progress import step
from serving.bundle.definition import Framework, TensorDefinition
from serving.bundle.pack import pack
from serving.bundle.packing import Packed

Rows = NDArray[np.float32]
Outputs = Mapping[str, NDArray[Any]]

HERE = Path(__file__).parent
HELD_OUT = 0.25
SEED = 7


@dataclass(frozen=True)
class Trained:
    """A fitted model, ready to pack, and the held-out rows with what is true and what the model itself says."""

    name: str
    framework: Framework
    what: str
    model: Any
    columns: tuple[str, ...]
    rows: Rows
    truth: tuple[str, ...]
    said: tuple[str, ...]
    answers: Callable[[Outputs], list[str]]
    """Served outputs as the words of `truth`."""
    least_accuracy: float
    description: str
    declared: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `pack`: what the model's own file does not say."""

    @property
    def accuracy(self) -> float:
        return accuracy(self.said, self.truth)


def accuracy(answers: Sequence[str], truth: Sequence[str]) -> float:
    """Share of rows answered rightly."""
    return sum(answer == right for answer, right in zip(answers, truth, strict=True)) / len(truth)


def split(data: Any) -> tuple[Rows, Rows, NDArray[Any], NDArray[Any]]:
    from sklearn.model_selection import train_test_split

    rows = data.data.astype(np.float32)
    parts = train_test_split(rows, data.target, test_size=HELD_OUT, random_state=SEED, stratify=data.target)
    return parts[0], parts[1], parts[2], parts[3]


def breast_cancer() -> Trained:
    import xgboost
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    columns = tuple(str(name) for name in data.feature_names)
    classes = [str(name) for name in data.target_names]
    train, rows, target, truth = split(data)
    settings = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "nthread": 2, "seed": SEED}
    booster = xgboost.train(settings, xgboost.DMatrix(train, target, feature_names=list(columns)), num_boost_round=100)

    def answers(outputs: Outputs) -> list[str]:
        return [classes[int(p > 0.5)] for p in outputs["probability"].ravel()]

    said = answers({"probability": booster.inplace_predict(rows, validate_features=False)})
    return Trained(
        "breast-cancer",
        "xgboost",
        "cell sample",
        booster,
        columns,
        rows,
        tuple(classes[label] for label in truth),
        tuple(said),
        answers,
        least_accuracy=0.93,
        description="Probability that a cell sample is benign.",
    )


def digits() -> Trained:
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_digits()
    columns = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    train, rows, target, truth = split(data)
    network = MLPClassifier((64,), max_iter=60, learning_rate_init=0.005, tol=1e-3, random_state=SEED)
    model = make_pipeline(StandardScaler(), network).fit(train, target)

    def answers(outputs: Outputs) -> list[str]:
        return [str(label) for label in outputs["label"].ravel().tolist()]

    return Trained(
        "digits",
        "onnx",
        "8 x 8 image",
        model,
        columns,
        rows,
        tuple(map(str, truth.tolist())),
        tuple(answers({"label": model.predict(rows)})),
        answers,
        least_accuracy=0.95,
        description="Which digit a handwritten 8 x 8 image shows.",
        declared={"labels": {"probabilities": tuple(map(str, range(10)))}},
    )


def wine(folder: Path) -> Trained:
    """`folder` is where the files of the model are put together: the class and its weights."""
    from sklearn.datasets import load_wine
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    data = load_wine()
    columns = tuple(str(name) for name in data.feature_names)
    classes = [f"cultivar {number}" for number in range(1, 4)]
    train, rows, target, truth = split(data)
    scale = StandardScaler().fit(train)
    linear = LogisticRegression(max_iter=1000).fit(scale.transform(train), target)
    # (x - mean) / deviation * coefficients + intercept, as one matrix and one offset on raw measurements.
    weights = (linear.coef_ / scale.scale_).T.astype(np.float32)
    bias = (linear.intercept_ - linear.coef_ @ (scale.mean_ / scale.scale_)).astype(np.float32)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HERE / "python_model", folder, ignore=shutil.ignore_patterns("__pycache__"))
    np.savez(folder / "weights.npz", weights=weights, bias=bias, classes=np.array(classes))

    def answers(outputs: Outputs) -> list[str]:
        return [cultivar.decode() for cultivar in outputs["cultivar"].ravel().tolist()]

    return Trained(
        "wine",
        "python",
        "wine",
        folder,
        columns,
        rows,
        tuple(classes[label] for label in truth),
        tuple(classes[label] for label in linear.predict(scale.transform(rows))),
        answers,
        least_accuracy=0.93,
        description="Which cultivar a wine was made of.",
        declared={
            "class_": "model:WineClassifier",
            "inputs": [
                TensorDefinition(
                    name="measurements", datatype="FP32", shape=(len(columns),), columns=columns, allow_nan=False
                )
            ],
            "outputs": [
                TensorDefinition(name="cultivar", datatype="BYTES", shape=(1,)),
                TensorDefinition(name="probabilities", datatype="FP32", shape=(3,), labels=tuple(classes)),
            ],
        },
    )


def publish(trained: Trained, repository: Path, work: Path) -> Packed:
    """Pack the model and write its held-out rows to `work/<name>/`. Raises BundleError."""
    write_held_out(trained, work / trained.name)
    return pack(
        trained.model,
        name=trained.name,
        repository=repository,
        framework=trained.framework,
        columns=trained.columns,
        golden_inputs=trained.rows[:16],
        metrics={"held_out_accuracy": round(trained.accuracy, 4), "held_out_rows": len(trained.rows)},
        training={"rows": "scikit-learn's bundled data", "seed": SEED},
        description=trained.description,
        **trained.declared,
    )


def write_held_out(trained: Trained, folder: Path) -> None:
    """`rows.csv` (one column a feature) and `answers.csv` (what is true, what the model in memory said)."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "rows.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(trained.columns)
        table.writerows(trained.rows.tolist())
    with (folder / "answers.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("truth", "model"))
        table.writerows(zip(trained.truth, trained.said, strict=True))


def trainings(work: Path) -> dict[str, Callable[[], Trained]]:
    return {"breast-cancer": breast_cancer, "digits": digits, "wine": lambda: wine(work / "wine" / "files")}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.train", description="Train and pack the example models.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="breast-cancer, digits, wine (default: all)")
    parser.add_argument("--repository", type=Path, default=Path("models"), help="where bundles go (default: ./models)")
    parser.add_argument("--work", type=Path, default=Path(".dodona/examples"), help="where the held-out rows go")
    asked = parser.parse_args(arguments)
    known = trainings(asked.work)
    unknown = [name for name in asked.models if name not in known]
    if unknown:
        parser.error(f"there is no example {unknown[0]!r}; there are {', '.join(known)}")
    for name in asked.models or known:
        with step(f"train {name}") as note:
            trained = known[name]()
            note(f"{trained.accuracy:.1%} right on {len(trained.rows)} held-out rows")
        with step(f"pack {name}") as note:
            packed = publish(trained, asked.repository, asked.work)
            note(f"{packed.folder}, {packed.golden_rows} golden examples")
    print(f"held-out rows: {asked.work}/<model>/rows.csv; next: dodona up --repository {asked.repository}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
