"""Features from a file in place of the detector's, which do not change from round to round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ....data import RotatedInstances
from ...budget import Budget
from ...context import QueryContext
from ..base import RankingStrategy, Rng
from .wrapper import Wrapper

__all__ = ["with_embeddings"]


def with_embeddings(strategy: RankingStrategy, file: str | Path, first: RankingStrategy | None = None) -> Wrapper:
    """Let a strategy compare images by embeddings of any source in place of the detector's image features.

    Features of objects (of `ppal`, `badge` and `object-coverage`) stay the detector's.

    Args:
        strategy: ranks.
        file: a Parquet file, or a folder of them, of `RotatedInstances` with image_features for all images of the pool
            and all labelled ones: ``RotatedInstances.empty(ids).replace(image_features=vectors).save(file)`` makes
            one, and ``predict(features=True)`` of another detector does, too.
        first: ranks by the embeddings in rounds that have no trained detector; None: images are drawn at random.

    Raises:
        FileNotFoundError: when it ranks, if there is no such file. A loop opens without it, to collect and to train.
        ValueError: when it ranks, for a file without image_features, or without one of the images.
    """
    path = Path(file).absolute()

    def ranker(candidates: RotatedInstances, rng: Rng, context: QueryContext, budget: Budget | None) -> pd.DataFrame:
        labelled = context.labels.image_ids
        vectors = _embeddings(path, [*candidates.image_ids, *labelled])
        pool = candidates.replace(image_features=vectors[: len(candidates)])
        features = vectors[len(candidates) :] if len(labelled) else None
        return strategy.rank(pool, rng, replace(context, features=features), budget)

    without_detector = None if first is None else with_embeddings(first, file)
    return Wrapper(ranker, strategy.needs | {"labels"}, strategy.figure, without_detector)


def _embeddings(path: Path, image_ids: Sequence[str]) -> NDArray[np.float32]:
    if not path.exists():
        raise FileNotFoundError(
            f"expected embeddings in {path}, which does not exist: give the option embeddings another file, or none"
        )
    embedded = RotatedInstances.load(path, {*image_ids})
    if missing := [image_id for image_id in image_ids if image_id not in embedded]:
        raise ValueError(
            f"expected an embedding of each of {len(image_ids)} images in {path}, got none of {len(missing)}, "
            f"e.g. {missing[0]!r}: embed them, or take them out of the workspace (al-rotate remove)"
        )
    vectors = embedded.image_features
    if vectors is None:
        if not image_ids:
            return np.zeros((0, 1), np.float32)
        raise ValueError(f"expected image_features in {path}, got {embedded!r}")
    return vectors[[embedded.position(image_id) for image_id in image_ids]]
