"""The tested version of each package, from the constraints that the set-up installs by. Standard library only."""

from __future__ import annotations

from pathlib import Path

CONSTRAINTS = Path(__file__).with_name("constraints.txt")


def read_constraints(file: Path = CONSTRAINTS) -> dict[str, str]:
    """Read distribution -> version from lines like ``numpy==2.2.6``; comments and empty lines are skipped."""
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return {name: version for name, _, version in (line.partition("==") for line in lines if line)}


VERSIONS = read_constraints()


def pin(*distributions: str) -> str:
    """Pin distributions to their tested versions: ``"numpy==2.2.6 scipy==1.15.3"``."""
    return " ".join(f"{name}=={VERSIONS[name]}" for name in distributions)
