"""One sentence per image: why this one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["explain"]

# Columns whose higher values speak for an image, in the order in which they are named, and their words.
_PARTS = {
    "uncertainty": "uncertainty",
    "uncertainty_mean": "mean uncertainty",
    "uncertainty_max": "uncertainty of its worst box",
    "inconsistency": "disagreement between views",
    "instability": "movement between views",
    "missing_rate": "boxes lost in other views",
    "class_divergence": "distance from the labelled classes",
    "gradient": "expected gradient",
    "object_coverage": "variety of objects",
    "value": "uncertainty for what it takes of the budget",
    "diversity_gain": "distance from all labelled or picked before",
}
_COMMON = {
    "rank",
    "image_id",
    "score",
    "n_boxes",
    "n_shown",
    "empty",
    "placement",
    "placed",
    "expected_seconds",
    "expected_boxes",
    "emptiness",
}
_RULES = {
    "last": "no box is predicted: placed last",
    "first": "no box is predicted: placed first",
    "mean": "no box is predicted: placed as the mean image",
    "missed": "no box is predicted: placed by how often such images held something",
}
# Of images that a wrapped strategy did not rank: by these alone.
_SET_ASIDE = {
    "near-duplicate": "it nearly repeats {repeats}",
    "surely empty": "it holds no object with a probability of {emptiness:.0%}",
    "audit": "drawn at random to find missed objects, though it holds none with a probability of {emptiness:.0%}",
    "behind its scene's share": "other images of its scene come first",
}
_MOST = 3  # parts named in a sentence


def explain(ranking: pd.DataFrame, image_ids: Sequence[str] | None = None) -> list[str]:
    """Explain the ranks of images in words.

    A sentence names the parts of the score in which the image stands highest among all that were ranked, in percent;
    the class or rule that it was picked for; how many boxes people are shown, and how long they may take.

    Args:
        ranking: of `rank`, with all rows, since the percentages are among these; from older files, too. Your own
            columns are called by their names.
        image_ids: to explain; None: all, in the order of the ranking.

    Returns:
        One sentence per image.

    Raises:
        KeyError: for an image that is not ranked.

    >>> table = pd.DataFrame({"rank": [1, 2], "image_id": ["a", "b"], "n_boxes": [3, 1], "n_shown": [2, 0]})
    >>> explain(table.assign(uncertainty=[0.5, 0.25]), ["a"])
    ['Rank 1 of 2: the highest uncertainty; 2 boxes to correct.']
    """
    by_id = ranking.set_index("image_id")
    if image_ids is not None and (strange := [i for i in image_ids if i not in by_id.index]):
        raise KeyError(f"no image {strange[0]!r} in this ranking of {len(by_id)}")
    rows = by_id if image_ids is None else by_id.loc[list(image_ids)]
    numbers = [name for name in ranking.columns if _is_part(ranking, name)]
    parts = [*(name for name in _PARTS if name in numbers), *(name for name in numbers if name not in _PARTS)]
    parts.sort(key=lambda name: not _is_score(ranking, name))  # the ranking criterion comes first
    nothing_detected = not by_id["n_boxes"].any()
    n_drawn = int(ranking["drawn"].sum()) if "drawn" in ranking else 0
    above = {name: _above(ranking[name], rows[name]) for name in parts}
    sizes = len(by_id), n_drawn
    return [_sentence(row, k, sizes, above, nothing_detected) for k, (_, row) in enumerate(rows.iterrows())]


def _sentence(
    row: pd.Series, k: int, sizes: tuple[int, int], above: dict[str, np.ndarray], nothing_detected: bool
) -> str:
    """Explain the k-th row; `sizes` are how many images were ranked, and how many of them drawn at random."""
    size, n_drawn = sizes
    reasons = []
    rule = _RULES.get(row.get("placement", row.get("placed", "")))
    set_aside = _SET_ASIDE.get(row.get("placement", ""))
    if set_aside:
        reasons.append(set_aside.format(**row))
    elif rule and not nothing_detected:
        reasons.append(rule)
    else:
        percent = {name: values[k] for name, values in above.items() if not np.isnan(values[k])}
        best = sorted(percent, key=lambda name: -percent[name])[:_MOST]
        kept = [name for name in percent if name in best and (percent[name] >= 50 or len(best) == 1)]
        reasons += [_compare(_PARTS.get(name, name.replace("_", " ")), percent[name]) for name in kept]
    if row.get("start") == "diversity first":  # of the hybrid
        reasons.append("typical of images unlike all labelled or picked before, since the detector is still weak")
    elif isinstance(row.get("start"), str):
        reasons.append(f"picked by {row['start']}, since the detector is still weak")
    if isinstance(row.get("quota"), str) and row["quota"]:
        reasons.append(f"asked for the class {row['quota']}, of which there are few labels")
    if "calibrated" in row and not row["calibrated"] and not set_aside:
        reasons.append("scores are not calibrated yet")
    n_shown = int(row["n_shown"])
    effort = (
        "nothing is detected yet" if nothing_detected else f"{n_shown} box{'' if n_shown == 1 else 'es'} to correct"
    )
    if not nothing_detected and pd.notna(row.get("expected_seconds")):
        effort += f", about {row['expected_seconds']:.0f} s of labelling"
    if row.get("drawn"):  # its rank says nothing
        return f"{'; '.join([f'Drawn at random from {n_drawn} images', *reasons, effort])}."
    place = f"Rank {row['rank']:.0f} of {size}: " if pd.notna(row.get("rank")) else ""
    return f"{place}{'; '.join([*reasons, effort])}."


def _compare(name: str, percent: float) -> str:
    return f"the highest {name}" if percent == 100 else f"{name} above {int(percent)} % of the images"


def _above(column: pd.Series, rows: pd.Series) -> np.ndarray:
    """How many of the other values each one exceeds, in percent; NaN for a missing one."""
    others = np.sort(column.dropna().to_numpy(np.float64))
    values = rows.to_numpy(np.float64)
    below = np.searchsorted(others, values, "left") / max(len(others) - 1, 1) * 100
    return np.where(np.isnan(values), np.nan, below)


def _is_score(ranking: pd.DataFrame, name: str) -> bool:
    present = ranking[name].notna()
    return "score" in ranking and ranking.loc[present, name].tolist() == ranking.loc[present, "score"].tolist()


def _is_part(ranking: pd.DataFrame, name: str) -> bool:
    values = ranking[name]
    return (
        name not in _COMMON and pd.api.types.is_numeric_dtype(values) and values.dtype != bool and values.nunique() > 1
    )
