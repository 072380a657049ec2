"""A small comparison on the planted pool, and a table made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

import al_rotate as al
from al_rotate.data.formats import dota
from experiments.comparison.run import run

SMALL: dict[str, Any] = {
    "pool": "planted",
    "training": None,
    "budget": {"images": [10, 16, 22]},
    "seeds": [0, 1],
    "arms": {"random": None, "entropy-sum": {"strategy": "entropy", "options": {"how": "sum"}}},
}


def _write(folder: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def write_config() -> Callable[..., Path]:
    """Write the small comparison's config, with changes, to a folder."""
    return _write


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A folder in which the small comparison is finished, and its table."""
    folder = tmp_path_factory.mktemp("comparison")
    return folder, run(_write(folder), folder / "work", None, 2, results=folder / "results")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``photos/``: 24 photographs of 500 x 330 pixels in DOTA form, with a ship each somewhere."""
    folder, n, rng = tmp_path_factory.mktemp("data") / "photos", 24, np.random.default_rng(0)
    for name in ("images", "splits"):
        (folder / name).mkdir(parents=True)
    ids = [f"p{k:02d}" for k in range(n)]
    boxes = np.column_stack(
        [rng.uniform(40, 460, n), rng.uniform(40, 290, n), *np.full((2, n), [[30], [12]]), np.zeros(n)]
    )
    for image_id in ids:
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), rng.integers(0, 255, (330, 500, 3), np.uint8))
    dota.write(al.RotatedInstances(ids, range(n + 1), boxes, [0] * n, classes=("ship",)), folder / "labelTxt")
    (folder / "splits" / "train.txt").write_text("\n".join(ids[:18]))
    (folder / "splits" / "test.txt").write_text("\n".join(ids[18:]))
    return folder.parent


@pytest.fixture
def hand_made() -> pd.DataFrame:
    """Two strategies, two seeds, three rounds; `good` is 0.1 above random after the first."""
    rows = []
    for name, lead in (("random", 0.0), ("good", 0.1)):
        for seed in (0, 1):
            for number, height in enumerate((0.2, 0.3, 0.4)):
                value = height + lead * (number > 0) + 0.01 * seed
                draws = [value - 0.02, value, value + 0.02]
                row = {"name": name, "seed": seed, "round": number, "images": 10 * (number + 1), "mAP": value}
                queried = [f"{seed}-{number}-{k + (name == 'good')}" for k in range(2)]
                costs = {
                    "boxes": 50 * (number + 1),
                    "seconds": 100.0 * (number + 1),
                    "asked": queried,
                    "AP/ship": value,
                    "iterations": 100,
                }
                counts = dict.fromkeys(("empty", "added", "moved", "relabelled", "deleted"), number)
                counts = {f"asked_{key}": n for key, n in counts.items()}
                rows.append({**row, **costs, **counts, "resampled": draws, "query_s": 1.0})
    return pd.DataFrame(rows)
