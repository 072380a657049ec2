"""Write the tables of ``results/training/`` as one page: the mean of the seeds, and each recipe less the published one.

python -m experiments.training.table
"""

from __future__ import annotations

import pandas as pd

from al_rotate.storage.files import atomic_write

from .recipes import RECIPES
from .run import TABLES

REFERENCE = "published"
COMMAND = "python -m experiments.training.run --data PATH/TO/DATA"


def main() -> None:
    parts = [
        "# mAP of the same labels, by how they are trained on",
        f"    {COMMAND}\n    python -m experiments.training.table",
    ]
    parts += [
        "*less published*: the mean difference from the published recipe, over the seeds that both have (how many)."
    ]
    parts += [f"## {file.stem}\n\n{table(pd.read_csv(file))}" for file in sorted(TABLES.glob("*.csv"))]
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


if __name__ == "__main__":
    main()
