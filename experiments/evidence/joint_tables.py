"""What several comparisons say together, as the Markdown of docs/evidence.md.

    python experiments/tables_together.py agree scenes_images vhr10_boxes
    python experiments/tables_together.py of_seed scenes_images 5
    python experiments/tables_together.py across scenes_images scenes_boxes vhr10_images vhr10_boxes
    python experiments/tables_together.py pool scenes_boxes fresh
    python experiments/tables_together.py against scenes_images --reference hybrid-root
    python experiments/tables_together.py mistakes scenes_images noise
    python experiments/tables_together.py change scenes_images batch_10 batch_40

agree: do the seeds' halves order the strategies alike (Spearman; the mean, least and most of all ways to halve them),
and those of the better half, by the budget's own axis? of_seed: differences from random in one seed, and the mean of
the others. across: differences from random on the budgets' own axes, side by side, and in how many seeds they are
above 0. pool: two blocks as one. against: differences from another strategy than random. mistakes: the same comparison
with right and with wrong labels. change: each strategy's AULC over images in comparisons that differ in one setting,
over what all of them cover, and of each seed. Names are those of the tables in experiments/results/comparisons/.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import comparison_tables as tables
import numpy as np
import pandas as pd
from comparison_cells import RECIPE, RESULTS
from numpy.typing import NDArray
from report_comparison import axis, difference, markdown, marked, summary
from scipy import stats

from al_rotate.evaluation import learning_curves as curves


def read(name: str) -> pd.DataFrame:
    return tables.complete(pd.read_parquet(RESULTS / f"{name}.parquet"))


def in_common(names: list[str], differ: set[str] = frozenset()) -> list[pd.DataFrame]:  # type: ignore[assignment]
    """The tables of these names with the strategies that all of them have, with the same options.

    Raises:
        ValueError: where their recipes differ in anything but `differ`.
    """
    found = [read(name) for name in names]
    recipes = [one.iloc[0][[*RECIPE, "budget"]].drop([*differ]).to_dict() for one in found]
    if any(recipe != recipes[0] for recipe in recipes):
        raise ValueError(f"expected comparisons that differ in nothing but {sorted(differ)}, got {recipes}")
    keys = [{*map(tuple, one[["name", "strategy", "options"]].to_numpy())} for one in found]
    shared = {name for name, *_ in set.intersection(*keys)}
    return [one[one["name"].isin(shared)] for one in found]


def same_seeds(found: list[pd.DataFrame]) -> list[pd.DataFrame]:
    seeds = set.intersection(*({*one["seed"]} for one in found))
    return [one[one["seed"].isin(seeds)] for one in found]


def agree(names: list[str]) -> str:
    lines = ["| comparison | strategies | seeds | " + " | ".join(tables.AXES) + " |", "|---" * 6 + "|"]
    for name in names:
        found = read(name)
        if (seeds := found["seed"].nunique()) < 2:
            raise ValueError(f"expected two seeds at least in {name}, to be halved, got {seeds}")
        of_axes = {one: tables.differences(found, one) for one in tables.AXES}
        means = of_axes[axis(found)].mean(axis=1)
        better = means.nlargest(-(-len(means) // 2)).index
        for which, rows in ((f"{len(means)}", means.index), (f"the better {len(better)}", better)):
            cells = [_halved(one.loc[rows].to_numpy()) for one in of_axes.values()]
            lines.append(f"| {name} | {which} | {seeds} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _halved(of_seeds: NDArray[np.float64]) -> str:
    """Spearman's rank correlation between halves of the columns: mean, least and most of all ways to halve them."""
    seeds, alike = of_seeds.shape[1], []
    for chosen in combinations(range(seeds), seeds // 2):
        if 2 * len(chosen) == seeds and 0 not in chosen:
            continue  # the same halves, the other way round
        half = np.isin(range(seeds), chosen)
        alike.append(stats.spearmanr(of_seeds[:, half].mean(axis=1), of_seeds[:, ~half].mean(axis=1)).statistic)
    return f"{np.mean(alike):+.2f} ({min(alike):+.2f} to {max(alike):+.2f})"


def of_seed(names: list[str]) -> str:
    found = read(names[0])
    areas = tables.differences(found, axis(found))
    column = sorted(found["seed"].unique()).index(int(names[1]))
    order = areas[column].drop(tables.REFERENCE).sort_values(ascending=False, kind="stable")
    others = areas.drop(columns=column).mean(axis=1)
    lines = ["| | " + " | ".join(f"`{name}`" for name in order.index) + " |", "|---" * (len(order) + 1) + "|"]
    for said, values in ((f"seed {names[1]}", order), ("the others", others[order.index])):
        lines.append(f"| {said} | {' | '.join(f'{100 * value:+.1f}' for value in values)} |")
    return "\n".join(lines)


def pool(names: list[str]) -> str:
    found = pd.concat(in_common(names), ignore_index=True)
    if found.duplicated(["name", "seed", "round"]).any():
        raise ValueError(f"expected comparisons with other seeds each, got the same in {' and '.join(names)}")
    seeds = found["seed"].nunique()
    return markdown(summary(found), axis(found), seeds).strip().replace("strategy", f"{seeds} seeds", 1)


def against(names: list[str], reference: str) -> str:
    lines = [f"| AULC less `{reference}`'s | " + " | ".join(tables.AXES) + " |", "|---" * 4 + "|"]
    found = read(names[0])
    areas = {one: tables.areas(found, one, reference) for one in tables.AXES}
    for name in tables.names(found):
        if name != reference:
            lines.append(
                f"| `{name}` | {' | '.join(difference(areas[one].loc[name], bold='**') for one in tables.AXES)} |"
            )
    return "\n".join(lines)


def mistakes(names: list[str]) -> str:
    right, wrong = same_seeds(in_common(names, {"annotator"}))
    own = axis(right)
    a, b = tables.areas(right, own), tables.areas(wrong, own)
    ends = [one[one["round"] == one["round"].max()].groupby("name")["mAP"].mean() for one in (right, wrong)]
    lines = [
        "| strategy | AULC, right labels | with mistakes | loss | less random's, with mistakes | end, right "
        "| end, mistakes |",
        "|---" * 7 + "|",
    ]
    for name in tables.names(wrong):
        values = [100 * one.loc[name, "aulc"] for one in (a, b)]
        paired = "" if name == tables.REFERENCE else difference(b.loc[name], bold="**")
        cells = [*values, values[0] - values[1], paired, *(100 * end[name] for end in ends)]
        lines.append(f"| `{name}` | " + " | ".join(c if isinstance(c, str) else f"{c:.1f}" for c in cells) + " |")
    return "\n".join(lines)


def change(names: list[str]) -> str:
    found = dict(zip(names, same_seeds(in_common(names, {"budget", "iterations", "warm_start"})), strict=True))
    by_seed = {name: tables.by_seed(one, "images") for name, one in found.items()}
    start, end = curves.common_range([x for one in by_seed.values() for of in one.values() for x, _ in of])
    lines = [f"| AULC, {start:.0f} to {end:.0f} images | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for strategy in tables.names(found[names[0]]):
        cells = []
        for name in names:
            areas = [100 * float(curves.area(x, y, start, end)) for x, y in by_seed[name][strategy]]
            cells.append(f"{np.mean(areas):.1f} ({', '.join(f'{value:.1f}' for value in areas)})")
        lines.append(f"| `{strategy}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def on_own_axes(names: list[str]) -> dict[str, pd.DataFrame]:
    """Of each comparison what :func:`comparison_tables.areas` says on its budget's axis, without random."""
    tidy = {name: read(name) for name in names}
    found = {name: tables.areas(one, axis(one)).drop(index=tables.REFERENCE) for name, one in tidy.items()}
    return {name: one.assign(seeds=tidy[name]["seed"].nunique()) for name, one in found.items()}


def ranked(found: dict[str, pd.DataFrame]) -> pd.Series:
    """Strategy -> mean difference, best first; then those that did not run in all comparisons, with NaN."""
    means = pd.DataFrame({name: one["difference"] for name, one in found.items()})
    known = means.mean(axis=1).sort_values(ascending=False, kind="stable")
    strict = means.mean(axis=1, skipna=False)[known.index]
    return pd.concat([strict.dropna(), strict[strict.isna()]])


def across(names: list[str]) -> str:
    found = on_own_axes(names)
    lines = ["| less random's | " + " | ".join(names) + " | mean | seeds ahead |", "|---" * (len(names) + 3) + "|"]
    for strategy, mean in ranked(found).items():
        rows = {name: one.loc[strategy] for name, one in found.items() if strategy in one.index}
        cells = [marked(rows[name], bold="**") if name in rows else "" for name in names]
        cells.append("" if np.isnan(mean) else f"{100 * mean:+.1f}")
        ahead, of = (sum(row[column] for row in rows.values()) for column in ("seeds_better", "seeds"))
        lines.append(f"| `{strategy}` | {' | '.join(cells)} | {ahead:.0f}/{of:.0f} |")
    return "\n".join(lines)


WHAT = {"agree": agree, "of_seed": of_seed, "across": across, "pool": pool, "mistakes": mistakes, "change": change}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*WHAT, "against"))
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--reference", default=tables.REFERENCE, help="for `against`")
    args = parser.parse_args()
    if args.what == "against":
        print(against(args.tables, args.reference))
    else:
        print(WHAT[args.what](args.tables))


if __name__ == "__main__":
    main()
