"""The tested version of each package for this Python, from the constraints that the set-up installs by."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PYTHONS = ((3, 10), (3, 14))  # the first and the last that are supported
CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"


def read_constraints(file: Path = CONSTRAINTS, python: tuple[int, int] = sys.version_info[:2]) -> dict[str, str]:
    """Read distribution -> version from lines like ``numpy==2.2.6`` or ``numpy==2.3.5; python_version >= "3.14"``.

    Comments, empty lines and the lines for other Pythons are skipped.

    Raises:
        ValueError: for a marker of another form.
    """
    versions = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        requirement, _, marker = (part.strip() for part in line.partition("#")[0].partition(";"))
        if requirement and _applies(marker, python, file):
            name, _, version = requirement.partition("==")
            versions[name] = version
    return versions


def _applies(marker: str, python: tuple[int, int], file: Path) -> bool:
    if not marker:
        return True
    if not (match := re.fullmatch(r'python_version (<|>=) "(\d+)\.(\d+)"', marker)):
        raise ValueError(f'{file}: expected a marker like python_version >= "3.14", got {marker}')
    bound = int(match[2]), int(match[3])
    return python < bound if match[1] == "<" else python >= bound


VERSIONS = read_constraints()


def pin(*distributions: str) -> str:
    """Pin distributions to their tested versions: ``"numpy==2.2.6 scipy==1.15.3"``."""
    return " ".join(f"{name}=={VERSIONS[name]}" for name in distributions)


def name_pythons() -> str:
    """Name the supported Pythons in words: ``3.10, 3.11, 3.12, 3.13 or 3.14``."""
    (major, first), (_, last) = PYTHONS
    names = [f"{major}.{minor}" for minor in range(first, last + 1)]
    return f"{', '.join(names[:-1])} or {names[-1]}"
