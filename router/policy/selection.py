"""Which version answers a request.

The rule: an explicit version; else a label of that name; else, where the request names none, the label `stable` if it
is set, else the newest version that is ready, else the newest that is known (its requests wait for it).

`stable` holds even while its version is not ready: a label is an operator's decision, and quietly answering with
another version would undo it.
"""

from collections.abc import Mapping

from serving.spec import version_key

STABLE = "stable"


def choose_version(wanted: str, ready: Mapping[str, bool], labels: Mapping[str, str]) -> str | None:
    """The version for `wanted` ("" = none named), or None. `ready` maps every known version to whether it is ready."""
    if wanted:
        target = wanted if wanted in ready else labels.get(wanted, "")
        return target if target in ready else None
    if STABLE in labels:
        return labels[STABLE] if labels[STABLE] in ready else None
    candidates = [version for version, is_ready in ready.items() if is_ready] or list(ready)
    return max(candidates, key=version_key, default=None)
