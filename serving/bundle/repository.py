"""A repository of models, looked at again and again: what is there, what is whole, what is wrong and why.

A scan reads names, sizes and stamps of everything, and the content of definitions and manifests only of models that
changed. It never judges digests: that is done when a version is opened. A version is complete when its manifest is
there and every file has its full size; in Triton's layout, which has no manifest, when nothing in it has changed for
`settle_s` seconds.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from serving.bundle.definition import NAME_RULE, is_name
from serving.bundle.layout import MANIFEST_FILE, is_hidden
from serving.bundle.manifest import MAX_MANIFEST_BYTES, IncompleteBundle, digest_of, parse_manifest, what_is_missing
from serving.bundle.model import ModelRead, read_model
from serving.bundle.snapshot import ModelSeen, Snapshot, VersionSeen, VersionState
from serving.bundle.store import Store, read, store_for
from serving.bundle.tree import File, Fingerprint, Folder, Listed, files_in, fingerprint, own_files, subfolders
from serving.errors import BundleError, Unavailable
from serving.spec import version_key

# A file this fresh may change again without its stamp changing, so what was read from it is not relied on.
_FRESH_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Known:
    """A model as the last scan saw it. `final`: the same folder gives the same again."""

    folder: Folder
    since_s: float
    seen: ModelSeen
    final: bool


class Repository:
    """`url` is a folder or any URL that fsspec reads. One thread at a time."""

    def __init__(
        self,
        url: str | Path,
        *,
        settle_s: float = 1.0,
        clock: Callable[[], float] = time.time,
        store: Store | None = None,
    ) -> None:
        """Raises ConfigurationError: the kind of URL is unknown. `clock` gives seconds since the epoch; `store` reads
        the repository where it is not fsspec that does."""
        self.url = str(url)
        self._store = store or store_for(url)
        self._settle_s = settle_s
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def model_folder(self, name: str) -> str:
        """What `open_bundle` takes to open a version of the model."""
        return f"{self.url.rstrip('/')}/{name}"

    def scan(self) -> Snapshot:
        """Raises Unavailable if the repository cannot be listed at all: what was seen before still holds then."""
        now_s = self._clock()
        known: dict[str, _Known] = {}
        try:
            for name, listed in self._store.folders():
                known[name] = self._look(name, listed, self._known.get(name), now_s)
        except OSError as error:
            raise Unavailable(
                f"cannot be listed: {_reason(error)}", field=f"repository {self.url}", remedy="check that it exists"
            ) from error
        self._known = known
        return Snapshot({name: model.seen for name, model in known.items()})

    def _look(self, name: str, listed: Listed, before: _Known | None, now_s: float) -> _Known:
        if isinstance(listed, OSError):
            return _unread(name, listed, before, now_s)
        same = before is not None and before.folder == listed
        if before is not None and same and before.final:
            return before
        since_s = before.since_s if before is not None and same else now_s
        times = _Times(now_s, since_s, self._settle_s)
        try:
            seen = self._model(name, listed, before, times)
        except OSError as error:
            return _unread(name, error, before, now_s)
        waiting = any(version.state is VersionState.INCOMPLETE for version in seen.versions)
        return _Known(listed, since_s, seen, not waiting and times.is_quiet(listed))

    def _model(self, name: str, folder: Folder, before: _Known | None, times: "_Times") -> ModelSeen:
        own = fingerprint(iter(own_files(folder).items()))
        if not is_name(name):
            return _faulty(name, f"{name!r} is no model name; use {NAME_RULE}", own, folder)
        try:
            found = read_model(name, folder, lambda path, limit: read(self._store, f"{name}/{path}", limit))
        except BundleError as error:
            return _faulty(name, str(error), own, folder)
        earlier = {seen.version: seen for seen in before.seen.versions} if before is not None else {}
        versions = tuple(
            self._version(f"{name}/{version}", found, folder, earlier.get(version), times)
            for version in found.versions(folder)
        )
        return ModelSeen(name, found.definition, "", versions, own)

    def _version(
        self, path: str, model: ModelRead, folder: Folder, before: VersionSeen | None, times: "_Times"
    ) -> VersionSeen:
        version = path.rpartition("/")[2]
        files = dict(files_in(subfolders(folder)[version]))
        mark = fingerprint(iter(files.items()))
        if not is_name(version):
            reason = f"{version!r} is no version name; use {NAME_RULE}"
            return VersionSeen(version, VersionState.BROKEN, reason, mark)
        if model.packed:
            return self._packed_version(path, files, mark)
        if before is not None and before.fingerprint == mark and before.state is VersionState.COMPLETE:
            return before
        waiting = times.unsettled(files)
        return VersionSeen(version, VersionState.INCOMPLETE if waiting else VersionState.COMPLETE, waiting, mark)

    def _packed_version(self, path: str, files: dict[str, File], mark: Fingerprint) -> VersionSeen:
        version = path.rpartition("/")[2]
        if MANIFEST_FILE not in files:
            reason = f"{MANIFEST_FILE} is missing: the copy is not complete"
            return VersionSeen(version, VersionState.INCOMPLETE, reason, mark)
        try:
            raw = read(self._store, f"{path}/{MANIFEST_FILE}", MAX_MANIFEST_BYTES)
            if files[MANIFEST_FILE].stamp == "":  # a store that does not say what changed, such as plain HTTP
                mark = (*mark, (MANIFEST_FILE, len(raw), digest_of(raw)))
            missing = what_is_missing(parse_manifest(raw), {name: file.size for name, file in files.items()})
        except IncompleteBundle as error:
            return VersionSeen(version, VersionState.INCOMPLETE, str(error), mark)
        except BundleError as error:
            return VersionSeen(version, VersionState.BROKEN, str(error), mark)
        except OSError as error:
            reason = f"{MANIFEST_FILE} cannot be read: {_reason(error)}"
            return VersionSeen(version, VersionState.INCOMPLETE, reason, mark)
        return VersionSeen(version, VersionState.INCOMPLETE if missing else VersionState.COMPLETE, missing, mark)


@dataclass(frozen=True, slots=True)
class _Times:
    now_s: float
    since_s: float
    """When the model's folder was first seen as it is now."""
    settle_s: float

    def unsettled(self, files: dict[str, File]) -> str:
        """Why a version without a manifest may still be in the middle of a copy, "" if it may not."""
        if not files:
            return "is empty so far"
        if self._unchanged(files.values(), self.settle_s):
            return ""
        return (
            f"changed less than {self.settle_s:g} s ago: without {MANIFEST_FILE} only time tells that a copy is"
            " complete"
        )

    def is_quiet(self, folder: Folder) -> bool:
        """Whether what was read from the folder holds as long as its stamps do."""
        files = [file for _, file in files_in(folder)]
        return all(file.stamp != "" for file in files) and self._unchanged(files, max(_FRESH_S, self.settle_s))

    def _unchanged(self, files: Collection[File], for_s: float) -> bool:
        """By the store's own times or, where it has none or its clock is ahead, since it was first seen."""
        newest_s = max((file.changed_s for file in files), default=0.0)
        return (newest_s > 0 and self.now_s - newest_s >= for_s) or self.now_s - self.since_s >= for_s


def _unread(name: str, error: OSError, before: _Known | None, now_s: float) -> _Known:
    """A folder that cannot be read now: the versions seen before are still known, so nothing looks removed."""
    text = f"cannot be read: {_reason(error)}"
    if before is None:
        return _Known({}, now_s, ModelSeen(name, None, text, (), ()), False)
    versions = tuple(replace(seen, state=VersionState.BROKEN, reason=text) for seen in before.seen.versions)
    return _Known({}, now_s, replace(before.seen, definition=None, error=text, versions=versions), False)


def _faulty(name: str, error: str, own: Fingerprint, folder: Folder) -> ModelSeen:
    """A model that cannot be served as its folder is; its versions stay in the index, each with the model's fault."""
    versions = tuple(
        VersionSeen(version, VersionState.BROKEN, error, fingerprint(files_in(inner)))
        for version, inner in sorted(subfolders(folder).items(), key=lambda pair: version_key(pair[0]))
        if not is_hidden(version)
    )
    return ModelSeen(name, None, error, versions, own)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
