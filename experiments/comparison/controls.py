"""Controls that are no strategies of the library: a config calls them by name like those."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from al_rotate import RotatedInstances
from al_rotate.sampling import QueryContext, ScoreStrategy

__all__ = ["CONTROLS", "random_class"]


def random_class() -> ScoreStrategy:
    """Pick at random among the images in which people would be shown a box, with equal shares of predicted classes.

    The classes take turns, in an order that is drawn; each takes one of the images with a box of it that are left, at
    random. Images without a box come last, at random. A strategy that does no better than this has learnt to balance
    classes. With one class it is ``random-detected``, with other draws.
    """

    def score(candidates: RotatedInstances, rng: np.random.Generator | None, context: QueryContext) -> dict:
        if rng is None:
            raise ValueError("the strategy 'random-class' needs a random generator: rng=np.random.default_rng(seed)")
        drawn = np.empty(len(candidates))
        drawn[np.argsort(candidates.image_ids, kind="stable")] = rng.random(len(candidates))
        shown = context.showing.shown(candidates)
        turns = _take_turns(shown, drawn, rng)
        scores = drawn.copy()
        scores[turns] += np.arange(len(turns), 0, -1)
        return {"score": scores}

    return ScoreStrategy(score, figure=None)


CONTROLS: dict[str, Callable[[], ScoreStrategy]] = {"random-class": random_class}


def _take_turns(shown: RotatedInstances, drawn: NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    """The rows of all images with a box, in the order in which the classes take them."""
    rows_of = {number: np.unique(shown.image_index[shown.labels == number]) for number in np.unique(shown.labels)}
    queues = [iter(rows_of[number][np.argsort(-drawn[rows_of[number]])]) for number in rng.permutation(list(rows_of))]
    taken: dict[int, None] = {}
    while queues:
        left = []
        for queue in queues:
            row = next((int(row) for row in queue if int(row) not in taken), None)
            if row is not None:
                taken[row] = None
                left.append(queue)
        queues = left
    return list(taken)
