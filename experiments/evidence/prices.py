"""What the answers of a comparison would have taken at other prices, or drawn from nothing.

Which boxes were shown, and which images a budget bought, is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import pandas as pd

from al_rotate import CostModel

from ..comparison.cells import KINDS

# Predicted boxes corrected; each box drawn on its tile; photographs opened once, and each object drawn once.
Way = Literal["corrected", "tiles", "photographs"]

PHOTOGRAPH = 5.0  # seconds to open a whole photograph and look it over
COSTS: Mapping[str, CostModel] = {
    "12 s": CostModel(added=12.0),
    "35 s": CostModel(added=35.0),
    "35 s, moving 15 s, a look 4 s": CostModel(added=35.0, moved=15.0, relabelled=3.0, deleted=2.0, kept=4.0),
    "12 s, moving 8 s": CostModel(added=12.0, moved=8.0),
}
_AS_LONG = "12 s, a tile takes as long as a photograph"


def costs_of(table: pd.DataFrame) -> dict[str, CostModel]:
    """The prices that a comparison is counted at, by name.

    To look a tile over takes what it took in the comparison, where it is charged by its area (`cost` in
    :mod:`experiments.comparison.config`), but in the last of them.
    """
    image = float(table["image_seconds"].iloc[0]) if "image_seconds" in table else CostModel().image
    costs = {name: replace(cost, image=image) for name, cost in COSTS.items()}
    return {**costs, _AS_LONG: replace(COSTS["12 s"], image=PHOTOGRAPH)}


def recounted(table: pd.DataFrame, cost: CostModel, way: Way = "corrected") -> pd.Series:
    """The seconds spent by the end of each row's round, as if answers had cost so much.

    By whole photographs each tile bears its share of opening its photograph, and each of its boxes its share of an
    object. So they add up to what photographs at random would take that hold as many tiles.

    Args:
        table: of a comparison.
        cost: of images and corrections.
        way: to label.

    Raises:
        ValueError: for whole photographs, if the table is older than its columns for them.
    """
    n_images = table["asked"].map(len)
    if way == "corrected":
        spent = cost.image * n_images + sum(getattr(cost, kind) * table[f"asked_{kind}"] for kind in KINDS)
    else:
        spent = _from_nothing(table, "asked", cost, way, n_images)
    in_order = spent.groupby([table["name"], table["seed"], table["round"]]).sum().groupby(level=[0, 1]).cumsum()
    keys = pd.MultiIndex.from_frame(table[["name", "seed", "round"]])
    return pd.Series(in_order.reindex(keys).to_numpy(float), table.index)


def seconds_known(table: pd.DataFrame, cost: CostModel, way: Way) -> float:
    """The seconds that the labels known before the loop take from nothing: the mean over the seeds.

    Raises:
        ValueError: if the table is older than its columns for them.
    """
    _check(table, "known_images", "known_boxes")
    first = table.drop_duplicates("seed")
    return float(_from_nothing(first, "known", cost, way, first["known_images"]).mean())


def _from_nothing(table: pd.DataFrame, what: str, cost: CostModel, way: Way, n_images: pd.Series) -> pd.Series:
    if way == "tiles":
        return cost.image * n_images + cost.added * table[f"{what}_boxes"]
    _check(table, f"{what}_photographs", f"{what}_objects")
    return PHOTOGRAPH * table[f"{what}_photographs"] + cost.added * table[f"{what}_objects"]


def _check(table: pd.DataFrame, *columns: str) -> None:
    if missing := [name for name in columns if name not in table or table[name].isna().any()]:
        raise ValueError(
            f"expected the columns {', '.join(columns)} in each row, got rows without {', '.join(missing)}, of an "
            "earlier state of the code: move the table and its workspaces away and run the comparison again"
        )
