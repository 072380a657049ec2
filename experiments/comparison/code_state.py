"""A digest of the code that decides what is queried, what answers cost, what is learnt and how it is measured.

Each row of a tidy table notes it, to tell rows of different states of the code apart. Nothing is run again because it
changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import al_rotate

from ..paths import EXPERIMENTS
from .config import digest

_LIBRARY = Path(al_rotate.__file__).parent
# What the digest covers: files, and packages with all modules below them.
COVERED: Mapping[str, Path] = {
    **{
        f"al_rotate/{name}": _LIBRARY / name
        for name in (
            "data/tiling",
            "detection/training/schedule.py",
            "evaluation/calibration.py",
            "evaluation/corrections.py",
            "evaluation/mean_ap.py",
            "evaluation/pseudo_labels.py",
            "evaluation/tolerance.py",
            "loop/context.py",
            "loop/simulated.py",
            "loop/steps.py",
            "sampling",
            "workspace/held_out.py",
        )
    },
    **{
        f"experiments/{name}": EXPERIMENTS / name
        for name in (
            "annotators/mistakes.py",
            "comparison/bootstrap.py",
            "comparison/cells.py",
            "comparison/controls.py",
            "learners",
        )
    },
}


def covered_files(covered: Mapping[str, Path] = COVERED) -> dict[str, Path]:
    """Name -> every file that the digest covers.

    Raises:
        FileNotFoundError: if a file or package is not there, or a package holds no modules.
    """
    files: dict[str, Path] = {}
    for name, path in covered.items():
        modules = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not modules or not modules[0].exists():
            raise FileNotFoundError(f"expected code at {path}, got none: name in COVERED where it went")
        files |= {f"{name}/{file.relative_to(path).as_posix()}" if path.is_dir() else name: file for file in modules}
    return files


@lru_cache
def code_digest() -> str:
    """The digest of the code as it is now."""
    return digest_of(covered_files())


def digest_of(files: Mapping[str, Path]) -> str:
    """A digest of names and contents, in whatever order."""
    return digest(*((name, file.read_text(encoding="utf-8")) for name, file in sorted(files.items())))
