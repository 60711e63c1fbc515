"""Order of versions: natural, so that 1 < 2 < 10, 2024-01-31 < 2024-02-01, v1.9 < v1.10 and 2.0-rc1 < 2.0.

A version is any folder name. Runs of digits compare as numbers, all else as text; a number is newer than a text, so
that `test` is never the newest beside `3`. The suffixes -alpha, -beta, -rc, -pre, -preview, -dev and -snapshot make a
version older than the one without. Versions that compare alike (1 and 01) are ordered by their text.
"""

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

VersionKey: TypeAlias = tuple[tuple[tuple[int, int, str], ...], str]

_PART: Final = re.compile(r"[0-9]+|[^0-9]+")
_BEFORE_RELEASE: Final = re.compile(r"^[-.]?(alpha|beta|rc|preview|pre|dev|snapshot)\b", re.IGNORECASE)
_PRE, _END, _TEXT, _NUMBER = range(4)


def version_key(version: str) -> VersionKey:
    """Sort key of a version; the greatest is the newest."""
    parts = _PART.findall(version)
    ranked = [_ranked(part, first=index == 0) for index, part in enumerate(parts)]
    return (*ranked, (_END, 0, "")), version


def _ranked(part: str, *, first: bool) -> tuple[int, int, str]:
    if part[0] in "0123456789":
        return _NUMBER, int(part), ""
    if not first and _BEFORE_RELEASE.match(part):
        return _PRE, 0, part
    return _TEXT, 0, part


def in_order(versions: Iterable[str]) -> list[str]:
    """Oldest first."""
    return sorted(versions, key=version_key)


def next_version(versions: Iterable[str]) -> str:
    """The integer after the greatest integer among `versions`, 1 where there is none."""
    return str(max((int(version) for version in versions if re.fullmatch(r"[0-9]{1,18}", version)), default=0) + 1)
