"""Write the tables of ``results/training/`` as one page: the mean of the seeds, and each recipe less the published one.

python -m experiments.training.table
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from al_rotate.storage.files import atomic_write

from .recipes import RECIPES
from .run import TABLES

REFERENCE = "published"
PAIRS = (  # by which the default was decided, see docs/evidence.md
    ("cold", "published"),
    ("cold", "warm"),
    ("warm-restarted", "cold"),
    ("warm-restarted", "cold-long"),
)
COMMAND = "python -m experiments.training.run --data PATH/TO/DATA"


def main() -> None:
    parts = [
        "# mAP of the same labels, by how they are trained on",
        f"    {COMMAND}\n    python -m experiments.training.table",
    ]
    parts += [
        "*less published*: the mean difference from the published recipe, over the seeds that both have (how many)."
    ]
    read = {file.stem: pd.read_csv(file) for file in sorted(TABLES.glob("*.csv"))}
    parts += [f"## {name}\n\n{table(rows)}" for name, rows in read.items()]
    parts += [f"## All data sets\n\n{leads([*read.values()])}"]
    with atomic_write(TABLES / "README.md") as file:
        file.write("\n\n".join(parts) + "\n")


def table(rows: pd.DataFrame) -> str:
    """Return a Markdown table: a line for each recipe and number of images, in the order of the recipes.

    Args:
        rows: a row for each recipe, seed and number of images.

    Returns:
        Iterations of the training and of all since the first weights, the mAP of each seed in percent, their mean, and
        the mean difference from the published recipe over the seeds that both have.
    """
    lines = [
        "| recipe | images | iterations | in all | mAP by seed | mean | less published |",
        "|---|---|---|---|---|---|---|",
    ]
    measured = rows.assign(mAP=100 * rows["mAP"]).set_index(["recipe", "images", "seed"]).sort_index()
    for images in sorted(rows["images"].unique()):
        for recipe in RECIPES:
            if (recipe, images) not in measured.index.droplevel("seed"):
                continue
            own, other = measured.loc[(recipe, images)], measured.loc[(REFERENCE, images)]
            less = (own["mAP"] - other["mAP"]).dropna()
            seeds = ", ".join(f"{value:.1f}" for value in own["mAP"])
            counts = f"{own['iterations'].iloc[0]} | {own['iterations_in_all'].iloc[0]}"
            shown = "" if recipe == REFERENCE else f"{less.mean():+.1f} ({len(less)})"
            lines.append(f"| {recipe} | {images} | {counts} | {seeds} | {own['mAP'].mean():.1f} | {shown} |")
    return "\n".join(lines)


def leads(tables: Sequence[pd.DataFrame], images: int = 100) -> str:
    """Return a Markdown table of the pairs that decided: how far one recipe is ahead of another with so many images.

    Args:
        tables: of the data sets, with a row for each recipe, seed and number of images.
        images: labelled ones.

    Returns:
        The mean over the data sets in points of mAP, with 95 % intervals (t) over the seeds that all of them have.
    """
    lines = ["| with so many images | against | points | seeds |", "|---|---|---|---|"]
    for recipe, other in PAIRS:
        of_each = []
        for rows in tables:
            values = rows[rows["images"] == images].pivot(index="seed", columns="recipe", values="mAP")
            of_each.append(100 * (values[recipe] - values[other]))
        by_seed = pd.concat(of_each, axis=1).dropna().mean(axis=1)
        reach = stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std() / np.sqrt(len(by_seed))
        points = f"{by_seed.mean():+.1f} [{by_seed.mean() - reach:+.1f}, {by_seed.mean() + reach:+.1f}]"
        lines.append(f"| {recipe}, {images} | {other} | {points} | {len(by_seed)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
