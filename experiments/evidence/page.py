"""Renew the tables and figures of docs/evidence.md and docs/older_comparisons.md from the tidy files.

    python -m experiments.evidence.page

The files are in experiments/results/comparisons/. Each table stands below a comment that names its source: a
comparison, or the arguments of experiments.evidence.joint_tables, such as ``<!-- agree scenes_images -->``. The figures
show the tables of ``<!-- across ... -->`` and of the first ``<!-- claim ... -->`` of a page. All that is said of the
latter, at all prices, goes to claim.md beside the files.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..paths import REPOSITORY, TABLES
from . import claim, joint_tables
from .analysis import budget_axis
from .figures import saved
from .markdown import markdown, summary, verdict

matplotlib.use("Agg")
PAGES = [REPOSITORY / "docs" / name for name in ("evidence.md", "older_comparisons.md")]
_CLAIM = re.compile(r"<!-- claim (.+) -->")
_BESIDE = re.compile(r"<!-- beside (.+) -->")
_TABLE = re.compile(r"<!-- (?P<source>[^>]+) -->\n(?:\|.*\n)*")


def table_of(source: str) -> str:
    """The lines of one table.

    Args:
        source: ``NAME``, ``WHAT NAME NAME ...``, or for :mod:`experiments.evidence.claim` ``beside NAME NAME ...``, and
            ``claim SECONDS CANDIDATE CONTROL NAME NAME ...`` at so many seconds a drawn box.
    """
    what, *names = source.split()
    if not names:
        table = joint_tables.read(what)
        return markdown(summary(table), budget_axis(table), table["seed"].nunique()).strip()
    if what == "claim":
        return claim.claim(*_claimed(names))
    if what == "beside":
        return claim.beside(claim.read_whole(names))
    return joint_tables.agree(names) if what == "agree" else joint_tables.across(names)


def _claimed(names: list[str]) -> tuple[dict[str, pd.DataFrame], str, str, str]:
    """Tables, candidate, control and price of what stands behind ``claim`` in a source."""
    seconds, candidate, control, *pools = names
    return {name: claim.read(name, candidate, control) for name in pools}, candidate, control, f"{seconds} s"


def renew(page: str) -> str:
    """The page with each of its tables as the files have it now."""
    return _TABLE.sub(lambda match: f"<!-- {match['source']} -->\n{table_of(match['source'])}\n", page)


def overview(names: list[str]) -> Figure:
    """Differences from random in all comparisons, one row per strategy; filled where the interval excludes zero."""
    areas = joint_tables.on_own_axes(names)
    order = [*joint_tables.mean_differences(areas).index][::-1]
    figure, ax = plt.subplots(figsize=(11, 0.36 * len(order) + 1.2), layout="constrained")
    for k, (name, rows) in enumerate(areas.items()):
        at = np.array([order.index(strategy) for strategy in rows.index]) + 0.6 * (0.5 - (k + 0.5) / len(areas))
        x, significant = 100 * rows["difference"], [bool(verdict(row)) for _, row in rows.iterrows()]
        colour = plt.get_cmap("tab10")(k)
        ax.hlines(at, 100 * rows["low"], 100 * rows["high"], color=colour, lw=1, alpha=0.5)
        ax.scatter(x, at, 30, edgecolors=[colour], c=[colour if full else "white" for full in significant], zorder=3)
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
    for file in PAGES:
        page = file.read_text(encoding="utf-8")
        file.write_text(renew(page), encoding="utf-8")
        print(f"tables renewed: {file}")
        for name, text in claims_of(page):
            (TABLES / f"{name}.md").write_text(text, encoding="utf-8")
        for name, figure in figures_of(page):
            figure.savefig(TABLES / f"{name}.jpg", dpi=110, pil_kwargs={"quality": 88})


def claims_of(page: str) -> Iterator[tuple[str, str]]:
    """Name and text of all that is said of the comparisons of a page's claim."""
    if claimed := _CLAIM.search(page):
        _, candidate, control, *pools = claimed[1].split()
        beside = compared[1].split() if (compared := _BESIDE.search(page)) else ()
        yield "claim", f"# All prices\n\n{claim.everything(pools, candidate, control, beside)}\n"


def figures_of(page: str) -> Iterator[tuple[str, Figure]]:
    """Names and figures of a page's first tables of a kind that has one."""
    if compared := re.search(r"<!-- across (.+) -->", page):
        yield "across", overview(compared[1].split())
    if claimed := _CLAIM.search(page):
        yield "claim", saved(*_claimed(claimed[1].split()))


if __name__ == "__main__":
    main()
