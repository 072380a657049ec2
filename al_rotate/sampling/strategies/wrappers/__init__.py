"""Options that every named strategy has: each wraps it in another strategy that ranks by it."""

from __future__ import annotations

import inspect
from pathlib import Path

from ..base import RankingStrategy
from ..diversity import typiclust
from .embeddings import with_embeddings
from .scenes import few_of_a_scene
from .set_aside import without_duplicates, without_empties
from .start import start_with
from .wrapper import Wrapper

__all__ = ["COMMON", "Wrapper", "wrap"]


def wrap(
    strategy: RankingStrategy,
    start: tuple[str, RankingStrategy] | None = None,
    weak_below: float = 0.1,
    per_scene: int | None = None,
    scene: str | None = None,
    triage: float | None = None,
    audit: float = 0.1,
    duplicates: float | None = None,
    embeddings: str | Path | None = None,
) -> RankingStrategy:
    """Wrap a strategy by the options that all have, the first innermost; without any, return it as it is.

    Args:
        strategy: ranks.
        start, weak_below: the name and the strategy of the first rounds, see :func:`start_with`.
        per_scene, scene: see :func:`few_of_a_scene`.
        triage, audit: see :func:`without_empties`.
        duplicates: see :func:`without_duplicates`.
        embeddings: a file, see :func:`with_embeddings`; its features tell near-duplicates, too, and where no detector
            is trained yet the strategy of `start`, or `typiclust`, ranks by them.

    Raises:
        ValueError: for options out of range.
    """
    first = None
    if embeddings is not None:
        first = wrap(start[1] if start else typiclust(), per_scene=per_scene, scene=scene, duplicates=duplicates)
    if start is not None:
        strategy = start_with(*start, strategy, weak_below)
    if per_scene is not None:
        strategy = few_of_a_scene(strategy, per_scene, scene)
    if triage is not None:
        strategy = without_empties(strategy, triage, audit)
    if duplicates is not None:
        strategy = without_duplicates(strategy, duplicates)
    if embeddings is not None:
        strategy = with_embeddings(strategy, embeddings, first)
    return strategy


COMMON = tuple(inspect.signature(wrap).parameters)[1:]
