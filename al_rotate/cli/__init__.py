"""The al-rotate command."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command of ``al-rotate``; see :func:`al_rotate.cli.parser.run`.

    ``doctor`` and ``install-mm`` are started without the other commands, because they must run where packages that
    those need are broken or missing.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        if words[:1] == ["doctor"]:
            from .installation.doctor import main as doctor

            return doctor(words[1:])
        if words[:1] == ["install-mm"]:
            from .installation.install_mm import main as install_mm

            return install_mm(words[1:])
        from .parser import run

        return run(words)
    except SystemExit as exit:  # argparse's own, after --help or for arguments that it cannot parse
        return exit.code if isinstance(exit.code, int) else 0
