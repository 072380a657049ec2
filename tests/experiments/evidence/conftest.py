"""A table of a comparison whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

SECONDS = np.array([0.0, 100, 200, 400, 800])


def _paced(
    of_seeds: dict[str, list[float]], lift: float = 0.0, noise: float = 0.0, straight: bool = False
) -> pd.DataFrame:
    """Arms that come to log(1 + seconds / 100) / 4 in so many times fewer seconds, a number for each seed.

    If `straight`, to log(seconds / 100) / 4, but to 0 at 0 seconds.

    Each box takes 5 s to check, and would take 10 s to draw. A photograph has two tiles, and 5 objects to 6 boxes.
    Known are 4 photographs with 8 tiles, 24 boxes and 20 objects.
    """
    n_boxes = np.diff(SECONDS / 5, prepend=0)
    curve = (lambda x: np.log(x, out=np.zeros_like(x), where=x > 0)) if straight else np.log1p
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "name": name,
                    "seed": seed,
                    "round": range(5),
                    "asked": [[f"{k}"] for k in range(5)],
                    "asked_boxes": n_boxes,
                    "asked_kept": n_boxes,
                    **{f"asked_{kind}": 0 for kind in ("added", "moved", "relabelled", "deleted")},
                    "asked_photographs": 0.5,
                    "asked_objects": n_boxes * 5 / 6,
                    "known_images": 8,
                    "known_boxes": 24,
                    "known_photographs": 4.0,
                    "known_objects": 20.0,
                    "mAP": (values := curve(faster * SECONDS / 100) / 4 + lift),
                    "resampled": [[value - noise, value + noise] for value in values],
                    "iterations": [100, 110, 120, 140, 180],
                    "loop": '{"pseudo_labels": true}' if name == "random-pseudo" else "{}",
                    "training": '{"least": 1, "most": 1}' if name == "random-short" else '{"least": 1, "most": 9}',
                    "code": "abc",
                }
            )
            for name, by_seed in of_seeds.items()
            for seed, faster in enumerate(by_seed)
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="session")
def paced() -> Callable[..., pd.DataFrame]:
    """See :func:`_paced`."""
    return _paced


@pytest.fixture(scope="session")
def straight() -> Callable[..., pd.DataFrame]:
    """See :func:`_paced`: straight over the logarithm of the seconds; an image takes none to look over."""
    return lambda *args, **options: _paced(*args, **options, straight=True).assign(image_seconds=0.0)
