"""What a caller may ask of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class OutputOptions(NamedTuple):
    """What is kept of a model's predictions; the fields are those of :class:`PredictOptions`."""

    score_thr: float | None = None
    class_scores: bool = False
    features: bool = False


@dataclass(frozen=True)
class PredictOptions:
    """Options of ``Detector.predict``, ``stream``, ``predict_views`` and ``predict_scenes``.

    Attributes:
        batch_size: images per forward pass. On a CPU up to four passes run at once and share the cores.
        workers: decoding threads; None for one per core, at most 8.
        score_thr: keep boxes with at least this score; not below the config's own threshold.
        progress: show a progress bar.
        out: folder to stream Parquet shards to. Finished shards there are not computed again: after a kill the same
            call resumes.
        class_scores: keep each box's score of every class.
        features: keep one vector per image (the neck's levels averaged over space and levels) and one per box (the
            levels sampled at its centre, averaged).
    """

    batch_size: int = 8
    workers: int | None = None
    score_thr: float | None = None
    progress: bool = True
    out: str | Path | None = None
    class_scores: bool = False
    features: bool = False

    @property
    def output(self) -> OutputOptions:
        return OutputOptions(self.score_thr, self.class_scores, self.features)
