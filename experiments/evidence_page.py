"""Every table of docs/evidence.md, written anew from experiments/results/comparisons/.

    python experiments/evidence_page.py

A table there stands below a comment that says where it comes from: the name of a comparison, or what tables_together
is to be asked, such as ``<!-- pool scenes_boxes fresh -->``.
"""

from __future__ import annotations

import argparse
import re

from report_comparison import HERE, axis, markdown, summary
from tables_together import WHAT, against, read

PAGE = HERE.parent / "docs" / "evidence.md"
_TABLE = re.compile(r"<!-- (?P<source>[^>]+) -->\n(?:\|.*\n)*")


def table(source: str) -> str:
    """The lines of one table.

    Args:
        source: ``NAME``, ``WHAT NAME NAME ...`` or ``against NAME REFERENCE``.
    """
    what, *names = source.split()
    if not names:
        found = read(what)
        return markdown(summary(found), axis(found), found["seed"].nunique()).strip()
    return against(names[:1], names[1]) if what == "against" else WHAT[what](names)


def renewed(page: str) -> str:
    """The page with each of its tables as the files have it now."""
    return _TABLE.sub(lambda one: f"<!-- {one['source']} -->\n{table(one['source'])}\n", page)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"tables renewed: {PAGE}")


if __name__ == "__main__":
    main()
