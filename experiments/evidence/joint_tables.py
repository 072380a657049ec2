"""What several comparisons say together, as the Markdown tables of docs/evidence.md.

    python -m experiments.evidence.joint_tables agree scenes_images vhr10_boxes
    python -m experiments.evidence.joint_tables of_seed scenes_images 5
    python -m experiments.evidence.joint_tables across scenes_images scenes_boxes vhr10_images vhr10_boxes
    python -m experiments.evidence.joint_tables pool scenes_boxes fresh
    python -m experiments.evidence.joint_tables against scenes_images --reference hybrid-root
    python -m experiments.evidence.joint_tables mistakes scenes_images noise
    python -m experiments.evidence.joint_tables change scenes_images batch_10 batch_40

- agree: whether halves of the seeds order the strategies alike (Spearman; the mean, least and most of all ways to halve
  them), and those of the better half, by the budget's own axis;
- of_seed: differences from random in one seed, and the mean of the others;
- across: differences from random on the budgets' own axes, side by side, and in how many seeds they are above 0;
- pool: two sets of seeds as one;
- against: differences from another strategy than random;
- mistakes: the same comparison with right and with wrong labels;
- change: each strategy's AULC over images in comparisons that differ in one setting, over the range that all of them
  cover, and of each seed.

Names are those of the tables in experiments/results/comparisons/.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from al_rotate.evaluation import learning_curves

from ..comparison.config import RECIPE
from ..paths import TABLES
from . import analysis
from .analysis import AXES, REFERENCE, budget_axis
from .markdown import difference, markdown, marked, summary


def read(name: str) -> pd.DataFrame:
    """Read the complete cells of a comparison."""
    return analysis.complete(pd.read_parquet(TABLES / f"{name}.parquet"))


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


def of_seed(names: list[str]) -> str:
    name, seed = names
    table = read(name)
    differences = analysis.differences(table, budget_axis(table))
    column = sorted(table["seed"].unique()).index(int(seed))
    own = differences[column].drop(REFERENCE).sort_values(ascending=False, kind="stable")
    others = differences.drop(columns=column).mean(axis=1)
    lines = ["| | " + " | ".join(f"`{strategy}`" for strategy in own.index) + " |", "|---" * (len(own) + 1) + "|"]
    for title, values in ((f"seed {seed}", own), ("the others", others[own.index])):
        lines.append(f"| {title} | {' | '.join(f'{100 * value:+.1f}' for value in values)} |")
    return "\n".join(lines)


def pool(names: list[str]) -> str:
    table = pd.concat(_shared_strategies(names), ignore_index=True)
    if table.duplicated(["name", "seed", "round"]).any():
        raise ValueError(f"expected comparisons with other seeds each, got the same in {' and '.join(names)}")
    n_seeds = table["seed"].nunique()
    return markdown(summary(table), budget_axis(table), n_seeds).strip().replace("strategy", f"{n_seeds} seeds", 1)


def against(names: list[str], reference: str) -> str:
    table = read(names[0])
    areas = {axis: analysis.areas(table, axis, reference) for axis in AXES}
    lines = [f"| AULC less `{reference}`'s | " + " | ".join(AXES) + " |", "|---" * 4 + "|"]
    for name in analysis.strategy_names(table):
        if name != reference:
            cells = [difference(areas[axis].loc[name], bold="**") for axis in AXES]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def mistakes(names: list[str]) -> str:
    right, wrong = _same_seeds(_shared_strategies(names, differ={"annotator"}))
    axis = budget_axis(right)
    of_right, of_wrong = analysis.areas(right, axis), analysis.areas(wrong, axis)
    ends = [table[table["round"] == table["round"].max()].groupby("name")["mAP"].mean() for table in (right, wrong)]
    lines = [
        "| strategy | AULC, right labels | with mistakes | loss | less random's, with mistakes | end, right "
        "| end, mistakes |",
        "|---" * 7 + "|",
    ]
    for name in analysis.strategy_names(wrong):
        aulc = [100 * areas.loc[name, "aulc"] for areas in (of_right, of_wrong)]
        paired = "" if name == REFERENCE else difference(of_wrong.loc[name], bold="**")
        points = [f"{value:.1f}" for value in (*aulc, aulc[0] - aulc[1])]
        cells = [*points, paired, *(f"{100 * end[name]:.1f}" for end in ends)]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def change(names: list[str]) -> str:
    differ = {"budget", "iterations", "warm_start"}
    tables = dict(zip(names, _same_seeds(_shared_strategies(names, differ)), strict=True))
    curves = {name: analysis.curves_by_seed(table, "images") for name, table in tables.items()}
    start, end = learning_curves.common_range(
        [x for by_strategy in curves.values() for of_seeds in by_strategy.values() for x, _ in of_seeds]
    )
    lines = [f"| AULC, {start:.0f} to {end:.0f} images | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for strategy in analysis.strategy_names(tables[names[0]]):
        cells = []
        for name in names:
            areas = [100 * float(learning_curves.area(x, y, start, end)) for x, y in curves[name][strategy]]
            cells.append(f"{np.mean(areas):.1f} ({', '.join(f'{value:.1f}' for value in areas)})")
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def across(names: list[str]) -> str:
    areas = on_own_axes(names)
    lines = ["| less random's | " + " | ".join(names) + " | mean | seeds ahead |", "|---" * (len(names) + 3) + "|"]
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


TABLES_BY_NAME = {
    "agree": agree,
    "of_seed": of_seed,
    "across": across,
    "pool": pool,
    "mistakes": mistakes,
    "change": change,
}


def on_own_axes(names: list[str]) -> dict[str, pd.DataFrame]:
    """The areas of each comparison on its budget's axis, without random, and the number of its seeds."""
    tables = {name: read(name) for name in names}
    areas = {name: analysis.areas(table, budget_axis(table)).drop(index=REFERENCE) for name, table in tables.items()}
    return {name: rows.assign(seeds=tables[name]["seed"].nunique()) for name, rows in areas.items()}


def mean_differences(areas: dict[str, pd.DataFrame]) -> pd.Series:
    """Strategy -> mean difference, best first; then those that did not run in all comparisons, with NaN."""
    by_comparison = pd.DataFrame({name: rows["difference"] for name, rows in areas.items()})
    order = by_comparison.mean(axis=1).sort_values(ascending=False, kind="stable").index
    means = by_comparison.mean(axis=1, skipna=False)[order]
    return pd.concat([means.dropna(), means[means.isna()]])


def _shared_strategies(names: list[str], differ: Collection[str] = ()) -> list[pd.DataFrame]:
    """The tables of these names, reduced to the strategies that all of them have with the same options.

    Raises:
        ValueError: if their recipes differ in anything but `differ`.
    """
    tables = [read(name) for name in names]
    recipes = [table.iloc[0][[*RECIPE, "budget"]].drop([*differ]).to_dict() for table in tables]
    if any(recipe != recipes[0] for recipe in recipes):
        raise ValueError(f"expected comparisons that differ in nothing but {sorted(differ)}, got {recipes}")
    strategies = [{*map(tuple, table[["name", "strategy", "options"]].to_numpy())} for table in tables]
    shared = {name for name, *_ in set.intersection(*strategies)}
    return [table[table["name"].isin(shared)] for table in tables]


def _same_seeds(tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    seeds = set.intersection(*({*table["seed"]} for table in tables))
    return [table[table["seed"].isin(seeds)] for table in tables]


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
    parser.add_argument("what", choices=(*TABLES_BY_NAME, "against"))
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--reference", default=REFERENCE, help="for `against`")
    args = parser.parse_args()
    if args.what == "against":
        print(against(args.tables, args.reference))
    else:
        print(TABLES_BY_NAME[args.what](args.tables))


if __name__ == "__main__":
    main()
