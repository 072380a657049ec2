"""What several comparisons say together, as Markdown tables.

    python -m experiments.evidence.joint_tables agree scenes_images vhr10_images
    python -m experiments.evidence.joint_tables across scenes_images vhr10_images

- agree: whether halves of the seeds order the strategies alike (Spearman; the mean, least and most of all ways to halve
  them), and those of the better half, by the budget's own axis;
- across: differences from random, or from `--reference`, on the budgets' own axes, side by side, and in how many seeds
  they are above 0.

Names are those of the tables in experiments/results/comparisons/.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ..paths import TABLES
from . import analysis
from .analysis import AXES, REFERENCE, budget_axis
from .markdown import marked


def read(name: str, reference: str = REFERENCE) -> pd.DataFrame:
    """Read the complete cells of a comparison."""
    return analysis.complete(pd.read_parquet(TABLES / f"{name}.parquet"), reference)


def agree(names: list[str]) -> str:
    lines = ["| comparison | strategies | seeds | " + " | ".join(AXES) + " |", "|---" * 6 + "|"]
    for name in names:
        table = read(name)
        if (n_seeds := table["seed"].nunique()) < 2:
            raise ValueError(f"expected two seeds at least in {name}, to be halved, got {n_seeds}")
        by_axis = {axis: analysis.differences(table, axis) for axis in AXES}
        means = by_axis[budget_axis(table)].mean(axis=1)
        better = means.nlargest(-(-len(means) // 2)).index
        for which, strategies in ((f"{len(means)}", means.index), (f"the better {len(better)}", better)):
            cells = [_agreement_of_halves(of_seeds.loc[strategies].to_numpy()) for of_seeds in by_axis.values()]
            lines.append(f"| {name} | {which} | {n_seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def across(names: list[str], reference: str = REFERENCE) -> str:
    areas = on_own_axes(names, reference)
    lines = [
        f"| less {reference}'s | " + " | ".join(names) + " | mean | seeds ahead |",
        "|---" * (len(names) + 3) + "|",
    ]
    for strategy, mean in mean_differences(areas).items():
        rows = {
            name: of_strategies.loc[strategy]
            for name, of_strategies in areas.items()
            if strategy in of_strategies.index
        }
        cells = [marked(rows[name], bold="**") if name in rows else "" for name in names]
        cells.append("" if np.isnan(mean) else f"{100 * mean:+.1f}")
        ahead, total = (sum(row[column] for row in rows.values()) for column in ("seeds_better", "seeds"))
        lines.append(f"| `{strategy}` | {' | '.join(cells)} | {ahead:.0f}/{total:.0f} |")
    return "\n".join(lines)


def on_own_axes(names: list[str], reference: str = REFERENCE) -> dict[str, pd.DataFrame]:
    """The areas of each comparison on its budget's axis, without the reference, and the number of its seeds."""
    tables = {name: read(name, reference) for name in names}
    areas = {
        name: analysis.areas(table, budget_axis(table), reference).drop(index=reference)
        for name, table in tables.items()
    }
    return {name: rows.assign(seeds=tables[name]["seed"].nunique()) for name, rows in areas.items()}


def mean_differences(areas: dict[str, pd.DataFrame]) -> pd.Series:
    """Strategy -> mean difference, best first; then those that did not run in all comparisons, with NaN."""
    by_comparison = pd.DataFrame({name: rows["difference"] for name, rows in areas.items()})
    order = by_comparison.mean(axis=1).sort_values(ascending=False, kind="stable").index
    means = by_comparison.mean(axis=1, skipna=False)[order]
    return pd.concat([means.dropna(), means[means.isna()]])


def _agreement_of_halves(of_seeds: NDArray[np.float64]) -> str:
    """Spearman's rank correlation between halves of the columns: mean, least and most of all ways to halve them."""
    n_seeds, correlations = of_seeds.shape[1], []
    for chosen in combinations(range(n_seeds), n_seeds // 2):
        if 2 * len(chosen) == n_seeds and 0 not in chosen:
            continue  # the same halves, the other way round
        half = np.isin(range(n_seeds), chosen)
        correlations.append(stats.spearmanr(of_seeds[:, half].mean(axis=1), of_seeds[:, ~half].mean(axis=1)).statistic)
    return f"{np.mean(correlations):+.2f} ({min(correlations):+.2f} to {max(correlations):+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("agree", "across"))
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--reference", default=REFERENCE, help="of across (default: %(default)s)")
    args = parser.parse_args()
    print(agree(args.tables) if args.what == "agree" else across(args.tables, args.reference))


if __name__ == "__main__":
    main()
