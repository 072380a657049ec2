"""Every table of docs/evidence.md, written anew from experiments/results/comparisons/, and its first figure.

    python experiments/evidence_page.py

A table there stands below a comment that says where it comes from: the name of a comparison, or what tables_together
is to be asked, such as ``<!-- pool scenes_boxes fresh -->``. The figure shows the table of ``<!-- across ... -->``.
"""

from __future__ import annotations

import argparse
import re

import numpy as np
from comparison_cells import RESULTS
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from report_comparison import HERE, axis, markdown, summary, verdict
from tables_together import WHAT, against, on_own_axes, ranked, read

PAGE = HERE.parent / "docs" / "evidence.md"
FIGURE = RESULTS / "across.jpg"
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


def overview(names: list[str]) -> Figure:
    """Differences from random in all comparisons, a row a strategy; full where the interval leaves out zero."""
    found = on_own_axes(names)
    order = [*ranked(found).index][::-1]
    figure, ax = plt.subplots(figsize=(11, 0.36 * len(order) + 1.2), layout="constrained")
    for k, (name, rows) in enumerate(found.items()):
        at = np.array([order.index(strategy) for strategy in rows.index]) + 0.6 * (0.5 - (k + 0.5) / len(found))
        x, sure = 100 * rows["difference"], [bool(verdict(row)) for _, row in rows.iterrows()]
        colour = plt.get_cmap("tab10")(k)
        ax.hlines(at, 100 * rows["low"], 100 * rows["high"], color=colour, lw=1, alpha=0.5)
        ax.scatter(x, at, 30, edgecolors=[colour], c=[colour if one else "white" for one in sure], zorder=3)
        ax.plot([], [], color=colour, lw=3, label=name)
    for k in range(1, len(order)):
        ax.axhline(k - 0.5, color="0.9", lw=0.8)
    ax.axvline(0, color="black", lw=0.8)
    ax.set(yticks=range(len(order)), yticklabels=order, ylim=(-0.6, len(order) - 0.4), xlim=(-13, 13))
    ax.set_xlabel("AULC less random's on the budget's own axis, points of mAP, with 95 % intervals")
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(renewed(page), encoding="utf-8")
    sides = re.search(r"<!-- across (.+) -->", page)
    assert sides, f"{PAGE} lacks the table of all comparisons"
    overview(sides[1].split()).savefig(FIGURE, dpi=110, pil_kwargs={"quality": 88})
    print(f"tables renewed: {PAGE}; figure: {FIGURE}")


if __name__ == "__main__":
    main()
