"""`pack`: a live model or a model file becomes a published, verified version of a repository.

The bundle is proved before anyone can see it: the runtime that will serve it loads it, its answers to the golden inputs
become the expected outputs, and where the model is in memory they must equal what it answers itself.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from serving.bundle.definition import Framework, TensorDefinition, is_name
from serving.bundle.describe import Description, Names
from serving.bundle.golden import Tolerance
from serving.bundle.manifest import Plain
from serving.bundle.packing import Evidence, Packed, Packing
from serving.bundle.publish import Overtaken, VersionTaken
from serving.bundle.sources.detect import source_of
from serving.bundle.sources.frames import spread_rows
from serving.errors import BundleError

# How often to start again when another publisher took the next version first.
_ATTEMPTS: Final = 20
_WRITABLE: Final = "name a folder that you may write to"


def pack(
    model: Any,
    *,
    name: str,
    repository: str | Path,
    version: str | None = None,
    framework: Framework | None = None,
    class_: str = "",
    inputs: Sequence[TensorDefinition] = (),
    outputs: Sequence[TensorDefinition] = (),
    columns: Names = (),
    labels: Names = (),
    golden_inputs: Any = None,
    golden_rows: int = 32,
    tolerance: Tolerance | Mapping[str, Tolerance] | None = None,
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Plain] | None = None,
    description: str = "",
    owner: str = "",
    device: str = "",
    batched: bool | None = None,
    max_batch_rows: int | None = None,
    max_wait_s: float | None = None,
    options: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Packed:
    """Publish a model: a path (.onnx, .ubj, .json, .py, a folder), an XGBoost model, an ONNX ModelProto, a scikit-learn
    estimator, or None for the echo framework.

    `version`: None = the next integer. `framework`: None = told by the model. `class_`, `inputs` and `outputs` are
    needed by framework python only. `columns` and `labels`: names of the input's and output's elements, or
    {tensor: names}. `golden_inputs`: an array, frame or {input: array}, examples first, of which `golden_rows` are
    kept, evenly spread; `tolerance` by output, None = the datatype's default. What is empty or None leaves an existing
    model.yaml as it is. Float inputs of a new model refuse NaN unless the model is XGBoost's, an estimator that answers
    a row of NaN, described in `inputs`, or has NaN in its `golden_inputs`.

    Raises VersionTaken if that version exists, BundleError for all else, naming field and remedy. Nothing is visible
    in the repository unless the whole version is.
    """
    _check_name(name, "name")
    if version is not None:
        _check_name(version, "version")
    packing = Packing(
        source_of(model, framework, spread_rows(golden_inputs, golden_rows)),
        _local(repository),
        name=name,
        description=Description(
            inputs=inputs,
            outputs=outputs,
            columns=columns,
            labels=labels,
            class_=class_,
            description=description,
            owner=owner,
            device=device,
            batched=batched,
            max_batch_rows=max_batch_rows,
            max_wait_s=max_wait_s,
            options=options,
        ),
        evidence=Evidence(
            golden_inputs=golden_inputs,
            golden_rows=golden_rows,
            tolerance=tolerance,
            metrics=metrics,
            training=training,
        ),
        now=now or datetime.now(UTC),
    )
    return _published(packing, version)


def _published(packing: Packing, version: str | None) -> Packed:
    """A publisher that lost a race starts again: on top of what the winner published."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return packing.publish(version)
        except Overtaken:
            continue
        except VersionTaken:
            if version is not None:
                raise
    return packing.publish(version)


def _check_name(text: str, field: str) -> None:
    if not is_name(text):
        raise BundleError(
            f"{text!r} is not allowed", field=field, remedy="use letters, digits, dot, dash and underscore, 128 at most"
        )


def _local(repository: str | Path) -> Path:
    text = str(repository)
    if "://" in text:
        raise BundleError(
            "models are published to a local folder", field="repository", remedy="pack locally, then copy the model"
        )
    root = Path(text)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{text} cannot be made: {error.strerror}", field="repository", remedy=_WRITABLE) from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise BundleError(f"{text} cannot be written to", field="repository", remedy=_WRITABLE)
    return root
