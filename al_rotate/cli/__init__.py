"""The al-rotate command."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command of ``al-rotate``; see :mod:`al_rotate.cli.parser`.

    ``doctor`` comes first, because it also runs where packages that the other commands need are missing or broken.
    """
    words = sys.argv[1:] if argv is None else argv
    if words == ["doctor"]:
        from .doctor import main as doctor

        return doctor([])
    from .parser import run

    return run(words)
